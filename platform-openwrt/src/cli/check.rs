//! `check`: everything that is wrong with a configuration, in one go.

use std::{path::Path, process::ExitCode};

use wgautomesh::cli::{FAILED, complain, gist, lines, print};

use crate::config::{Mesh, Meshes};

/// Checks one mesh, or all, for a binary with room for `capacity` peers. What `run` does first are the same calls, so success
/// here is success there.
pub(super) fn check(directory: &Path, name: Option<&str>, capacity: usize) -> ExitCode {
    let meshes = match Meshes::read(directory) {
        Ok(meshes) => meshes,
        Err(report) => {
            let code = super::unusable(&report);
            // About a file that could not even be read, there is nothing to sum up.
            if report.errors().all(|error| error.at.is_some()) {
                let summary = report.summary();
                complain(&format!("{}: wgautomesh does not start with this: {summary}\n", report.name()));
            }
            return code;
        }
    };
    complain(&lines(&meshes.report));
    let file = meshes.report.name().to_owned();
    let wanted = match name {
        None => meshes.list,
        Some(name) => match meshes.take(name) {
            Ok(mesh) => vec![mesh],
            Err(complaint) => return super::no_mesh(name, &format!("{file}: {complaint}")),
        },
    };
    let mut bad = false;
    let mut good = String::new();
    for mesh in wanted {
        // Whoever asks for one wants to know about that one.
        let counts = name.is_some() || mesh.is_enabled();
        match verdict(mesh, &file, capacity) {
            Ok(line) => good.push_str(&line),
            Err(line) => {
                complain(&line);
                bad |= counts;
            }
        }
    }
    let printed = print(&good);
    if bad { ExitCode::from(FAILED) } else { printed }
}

/// Says what there is to be said about a mesh, and gives the line that sums it up.
fn verdict(mesh: Mesh, file: &str, capacity: usize) -> Result<String, String> {
    let name = mesh.name().to_owned();
    let enabled = if mesh.is_enabled() { "" } else { "not enabled; " };
    let (config, report) = mesh.finish(capacity);
    complain(&lines(&report));
    match config {
        Some(config) => Ok(format!("{file}: {name}: {enabled}good: {}\n", gist(&config, &report))),
        None => Err(format!(
            "{file}: {name}: {enabled}wgautomesh does not start with this: {}\n",
            report.summary()
        )),
    }
}
