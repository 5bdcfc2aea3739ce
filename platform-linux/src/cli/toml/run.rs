//! `run`: the daemon.

use super::check::lines;
use super::meant_a_command;
use crate::cli::{FAILED, complain};
use crate::config::load;
use std::path::Path;
use std::process::ExitCode;
use wgautomesh_core::Mesh;

/// Reads the configuration and meshes its interface until told to stop.
pub(super) fn run<const PEERS: usize>(file: &Path, mesh: &mut Mesh<PEERS>) -> ExitCode {
    crate::log::init();
    let config = match load(file, PEERS) {
        Ok((config, report)) => {
            complain(&lines(&report));
            config
        }
        Err(report) => {
            complain(&lines(&report));
            complain(&meant_a_command(file).unwrap_or_default());
            return ExitCode::from(FAILED);
        }
    };
    match crate::run(&config, mesh) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::from(FAILED)
        }
    }
}
