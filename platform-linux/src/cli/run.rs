//! `run`: the daemon.

use super::check::lines;
use super::output::{FAILED, complain};
use super::{CAPACITY, meant_a_command};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use wgautomesh::config::load;
use wgautomesh_core::Mesh;

/// In a static because of its size: the pages of places that no peer takes are never touched.
static MESH: Mutex<Mesh<CAPACITY>> = Mutex::new(Mesh::new());

/// Reads the configuration and meshes its interface until told to stop.
pub(crate) fn run(file: &Path) -> ExitCode {
    wgautomesh::log::init();
    let config = match load(file, CAPACITY) {
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
    let mut mesh = MESH.lock().unwrap_or_else(PoisonError::into_inner);
    match wgautomesh::run(&config, &mut mesh) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::from(FAILED)
        }
    }
}
