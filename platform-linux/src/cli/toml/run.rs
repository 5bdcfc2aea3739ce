//! `run`: the daemon.

use super::meant_a_command;
use crate::cli::{FAILED, complain, findings::logged};
use crate::config::load;
use std::path::Path;
use std::process::ExitCode;
use wgautomesh_core::Mesh;

/// Reads the configuration and meshes its interface until told to stop.
pub(super) fn run<const PEERS: usize>(file: &Path, mesh: &mut Mesh<PEERS>) -> ExitCode {
    crate::log::init();
    match load(file, PEERS) {
        Ok((config, report)) => crate::cli::mesh(&config, &report, mesh),
        Err(report) => {
            complain(&logged(&report));
            complain(&meant_a_command(file).unwrap_or_default());
            ExitCode::from(FAILED)
        }
    }
}
