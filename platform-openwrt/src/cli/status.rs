//! `status`: what the running daemons know.

use core::fmt::Write as _;
use std::{path::Path, process::ExitCode};

use wgautomesh::{
    cli::{FAILED, ask, complain, lines, print, show},
    config::InterfaceName,
    control::{Request, VERSION},
};

use crate::config::Meshes;

/// What starts a daemon.
const START: &str = "/etc/init.d/wgautomesh start";

/// Which daemon is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The one of this interface.
    Interface(InterfaceName),
    /// The one of this mesh.
    Mesh(String),
    /// Those of all meshes that are enabled.
    All,
}

/// Asks and shows.
pub(super) fn status(directory: &Path, whose: &Whose, json: bool) -> ExitCode {
    let shown = match whose {
        Whose::Interface(interface) => one(interface, json),
        Whose::Mesh(name) => match interface_of(directory, name) {
            Ok(interface) => one(&interface, json),
            Err(code) => return code,
        },
        Whose::All => {
            let meshes = match Meshes::read(directory) {
                Ok(meshes) => meshes,
                Err(report) => return super::unusable(&report),
            };
            return all(&meshes, json);
        }
    };
    show(shown)
}

fn one(interface: &InterfaceName, json: bool) -> Result<String, String> {
    let request = if json { Request::Status } else { Request::Table };
    ask(interface, &request, START)
}

/// The interface of a mesh, whatever else is wrong with it.
fn interface_of(directory: &Path, name: &str) -> Result<InterfaceName, ExitCode> {
    let meshes = Meshes::read(directory).map_err(|report| super::unusable(&report))?;
    let file = meshes.report.name().to_owned();
    let mesh = match meshes.take(name) {
        Ok(mesh) => mesh,
        Err(complaint) => return Err(super::no_mesh(name, &format!("{file}: {complaint}"))),
    };
    let interface = mesh.interface().cloned();
    interface.ok_or_else(|| {
        complain(&format!("wgautomesh: {file}: {name} has no interface; name one with --interface\n"));
        ExitCode::from(FAILED)
    })
}

fn all(meshes: &Meshes, json: bool) -> ExitCode {
    complain(&lines(&meshes.report));
    let mut answers = Vec::new();
    for mesh in meshes.list.iter().filter(|mesh| mesh.is_enabled()) {
        let answer = match mesh.interface() {
            Some(interface) => one(interface, json),
            None => Err(format!("wgautomesh: {}: it has no interface\n", mesh.name())),
        };
        answers.push((mesh.name(), answer));
    }
    let failed = answers.iter().any(|(_, answer)| answer.is_err());
    let text = if json { document(&answers) } else { tables(&answers, meshes.report.name()) };
    let printed = print(&text);
    if failed { ExitCode::from(FAILED) } else { printed }
}

type Answer<'m> = (&'m str, Result<String, String>);

/// One table after the other. What cannot be shown is complained of.
fn tables(answers: &[Answer<'_>], file: &str) -> String {
    if answers.is_empty() {
        return format!("no mesh is enabled in {file}\n");
    }
    let mut out = String::new();
    for (name, answer) in answers {
        match answer {
            Ok(table) => {
                let gap = if out.is_empty() { "" } else { "\n" };
                // Writing to a string cannot fail.
                let _ = write!(out, "{gap}{name}: {table}");
            }
            Err(complaint) => complain(complaint),
        }
    }
    out
}

/// All of it in one JSON document, as the LuCI app takes it: the answer of each daemon as it is, or why there is none.
fn document(answers: &[Answer<'_>]) -> String {
    // A string cannot fail to become JSON.
    let string = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let meshes = answers.iter().map(|(name, answer)| match answer {
        Ok(answer) => format!("{}:{}", string(name), answer.trim()),
        Err(complaint) => {
            let complaint = complaint.lines().collect::<Vec<_>>().join(" ");
            format!("{}:{{\"error\":{}}}", string(name), string(&complaint))
        }
    });
    format!("{{\"version\":{VERSION},\"meshes\":{{{}}}}}\n", meshes.collect::<Vec<_>>().join(","))
}
