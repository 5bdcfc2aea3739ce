//! `status`: what a running daemon knows.

use super::check::lines;
use crate::cli::{FAILED, complain, print};
use crate::config::{InterfaceName, interface_of};
use crate::control::status::Status;
use crate::control::{FetchError, Request, VERSION, directory, fetch, render, running};
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The daemon answers within a turn of its loop; a machine under load gets some more.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which daemon is asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The one that meshes this interface.
    Interface(InterfaceName),
    /// The one that was started with this file.
    ConfiguredBy(PathBuf),
    /// The only one there is.
    TheOnlyOne,
}

/// Asks and shows.
pub(crate) fn status(whose: &Whose, json: bool) -> ExitCode {
    match ask(whose, json) {
        Ok(text) => print(&text),
        Err(complaint) => {
            complain(&complaint);
            ExitCode::from(FAILED)
        }
    }
}

/// The text to print, or what to complain of.
fn ask(whose: &Whose, json: bool) -> Result<String, String> {
    let directory = directory();
    let interface = match whose {
        Whose::Interface(name) => name.clone(),
        Whose::ConfiguredBy(file) => interface_in(file)?,
        Whose::TheOnlyOne => the_only_one(&directory)?,
    };
    let answer = fetch(&directory, &interface, Request::Status, PATIENCE).map_err(|error| {
        let advice = match error {
            FetchError::NotRunning(_) => "\nIs it running? `wgautomesh run FILE` starts it.",
            FetchError::NotAllowed(_) => "\nTry again as root.",
            _ => "",
        };
        format!("wgautomesh: {interface}: {error}{advice}\n")
    })?;
    if json {
        return Ok(answer);
    }
    match serde_json::from_str::<Status>(&answer) {
        Ok(status) if status.version == VERSION => Ok(render::table(&status)),
        _ => Err(format!(
            "wgautomesh: {interface}: the daemon is of another version than this command; try --json\n"
        )),
    }
}

fn interface_in(file: &Path) -> Result<InterfaceName, String> {
    interface_of(file).map_err(|report| {
        let mut complaint = lines(&report);
        if !file.exists() {
            let name = file.display();
            complaint.push_str(&format!("wgautomesh: for an interface write --interface {name}\n"));
        }
        complaint
    })
}

fn the_only_one(directory: &Path) -> Result<InterfaceName, String> {
    let shown = directory.display();
    let mut names = running(directory).map_err(|error| format!("wgautomesh: {shown}: {error}\n"))?;
    match (names.pop(), names.as_slice()) {
        (None, _) => {
            Err(format!("wgautomesh: there is no control socket in {shown}: no wgautomesh is running\n"))
        }
        (Some(name), []) => Ok(name),
        (Some(last), others) => {
            let all: Vec<&str> = others.iter().map(InterfaceName::as_str).chain([last.as_str()]).collect();
            let all = all.join(", ");
            Err(format!("wgautomesh: several are running ({all}): choose one with --interface\n"))
        }
    }
}
