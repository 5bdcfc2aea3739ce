//! Which running daemon a command is about.

use crate::cli::lines;
use crate::config::{InterfaceName, interface_of};
use crate::control::{directory, running};
use std::path::{Path, PathBuf};

/// Which daemon is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The one that meshes this interface.
    Interface(InterfaceName),
    /// The one that was started with this file.
    ConfiguredBy(PathBuf),
    /// The only one there is.
    TheOnlyOne,
}

impl Whose {
    /// The interface of that daemon, or what to complain of.
    pub(super) fn interface(&self) -> Result<InterfaceName, String> {
        match self {
            Self::Interface(name) => Ok(name.clone()),
            Self::ConfiguredBy(file) => interface_in(file),
            Self::TheOnlyOne => the_only_one(&directory()),
        }
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
