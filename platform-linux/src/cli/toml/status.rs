//! `status`: what a running daemon knows.

use crate::cli::{self, lines, show};
use crate::config::{InterfaceName, interface_of};
use crate::control::{directory, running};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
    show(ask(whose, json))
}

/// The text to print, or what to complain of.
fn ask(whose: &Whose, json: bool) -> Result<String, String> {
    let directory = directory();
    let interface = match whose {
        Whose::Interface(name) => name.clone(),
        Whose::ConfiguredBy(file) => interface_in(file)?,
        Whose::TheOnlyOne => the_only_one(&directory)?,
    };
    cli::ask(&interface, json, "wgautomesh run FILE")
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
