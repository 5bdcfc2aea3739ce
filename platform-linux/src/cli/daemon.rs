//! The daemon as a command, and the asking of a running one.

use super::{FAILED, complain, lines};
use crate::config::{Config, InterfaceName, Report};
use crate::control::status::Status;
use crate::control::{FetchError, Request, VERSION, directory, fetch, render};
use core::time::Duration;
use std::process::ExitCode;
use wgautomesh_core::Mesh;

/// The daemon answers within a turn of its loop; a machine under load gets some more.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says what there is to be said about a configuration, and meshes its interface until told to stop.
pub fn mesh<const PEERS: usize>(config: &Config, report: &Report, mesh: &mut Mesh<PEERS>) -> ExitCode {
    complain(&lines(report));
    match crate::run(config, mesh) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Asks the daemon of an interface for its status: the JSON document. `start` is the command that starts one.
///
/// # Errors
/// What to complain of.
pub fn ask(interface: &InterfaceName, start: &str) -> Result<String, String> {
    fetch(&directory(), interface, Request::Status, PATIENCE).map_err(|error| {
        let advice = match error {
            FetchError::NotRunning(_) => format!("\nIs it running? `{start}` starts it."),
            FetchError::NotAllowed(_) => "\nTry again as root.".into(),
            _ => String::new(),
        };
        format!("wgautomesh: {interface}: {error}{advice}\n")
    })
}

/// The table for what [`ask`] got.
///
/// # Errors
/// What to complain of.
pub fn table(interface: &InterfaceName, answer: &str) -> Result<String, String> {
    match serde_json::from_str::<Status>(answer) {
        Ok(status) if status.version == VERSION => Ok(render::table(&status)),
        _ => Err(format!(
            "wgautomesh: {interface}: the daemon is of another version than this command; try --json\n"
        )),
    }
}
