//! `run`: the daemon.

use super::check::lines;
use super::output::{FAILED, complain};
use super::{CAPACITY, meant_a_command};
use std::path::Path;
use std::process::ExitCode;
use wgautomesh::config::load;

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
    complain(&format!(
        "wgautomesh: this build has no daemon in it, {} cannot be meshed\n",
        config.interface()
    ));
    ExitCode::from(FAILED)
}
