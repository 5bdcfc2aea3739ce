//! The daemon as a command, and the asking of a running one.

use super::{FAILED, complain, findings::logged};
use crate::config::{Config, InterfaceName, Report};
use crate::control::{FetchError, Request, directory, fetch};
use core::time::Duration;
use std::process::ExitCode;
use wgautomesh_core::Mesh;

/// The daemon answers within a turn of its loop; a machine under load gets some more.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says what there is to be said about a configuration, and meshes its interface until told to stop.
pub fn mesh<const PEERS: usize>(config: &Config, report: &Report, mesh: &mut Mesh<PEERS>) -> ExitCode {
    complain(&logged(report));
    match crate::run(config, mesh) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Asks the daemon of an interface. `start` is the command that starts one.
///
/// # Errors
/// What to complain of.
pub fn ask(interface: &InterfaceName, request: &Request, start: &str) -> Result<String, String> {
    fetch(&directory(), interface, request, PATIENCE).map_err(|error| {
        let advice = match error {
            FetchError::NotRunning(_) => format!("\nIs it running? `{start}` starts it."),
            FetchError::NotAllowed(_) => "\nTry again as root.".into(),
            FetchError::Refused(_) => "\nIt is of another version than this command.".into(),
            _ => String::new(),
        };
        format!("wgautomesh: {interface}: {error}{advice}\n")
    })
}
