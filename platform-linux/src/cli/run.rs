//! `run`: the daemon.

use super::check::lines;
use super::meant_a_command;
use super::output::{FAILED, complain};
use crate::config::load;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use wgautomesh_core::Mesh;

/// Reads the configuration and meshes its interface until told to stop.
pub(super) fn run<const PEERS: usize>(file: &Path, mesh: &Mutex<Mesh<PEERS>>) -> ExitCode {
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
    // Nobody else takes it, so it is neither held nor poisoned.
    let mut mesh = mesh.lock().unwrap_or_else(PoisonError::into_inner);
    match crate::run(&config, &mut mesh) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::from(FAILED)
        }
    }
}
