//! `run`: the daemon of one mesh.

use std::{path::Path, process::ExitCode};

use wgautomesh::cli::{FAILED, complain, lines};
use wgautomesh_core::Mesh;

use crate::config::Meshes;

/// Reads the configuration and meshes the interface of one mesh until told to stop.
pub(super) fn run<const PEERS: usize>(
    directory: &Path,
    name: Option<&str>,
    engine: &mut Mesh<PEERS>,
) -> ExitCode {
    wgautomesh::log::init();
    let meshes = match Meshes::read(directory) {
        Ok(meshes) => meshes,
        Err(report) => return super::unusable(&report),
    };
    complain(&lines(&meshes.report));
    let name = match name {
        Some(name) => name.to_owned(),
        None => match the_only_one(&meshes) {
            Ok(Some(name)) => name,
            Ok(None) => {
                log::info!("no mesh is enabled in {}: nothing to do", meshes.report.name());
                return ExitCode::SUCCESS;
            }
            Err(complaint) => {
                complain(&complaint);
                return ExitCode::from(FAILED);
            }
        },
    };
    let file = meshes.report.name().to_owned();
    let mesh = match meshes.take(&name) {
        Ok(mesh) => mesh,
        Err(complaint) => return super::no_mesh(&name, &format!("{file}: {complaint}")),
    };
    if !mesh.is_enabled() {
        log::info!("{name}: not enabled in {file}: nothing to do; `option enabled '1'` enables it");
        return ExitCode::SUCCESS;
    }
    let (config, report) = mesh.finish(PEERS);
    match config {
        Some(config) => wgautomesh::cli::mesh(&config, &report, engine),
        None => super::unusable(&report),
    }
}

/// The mesh that is meant by no name; none where none is enabled.
fn the_only_one(meshes: &Meshes) -> Result<Option<String>, String> {
    let enabled = meshes.list.iter().filter(|mesh| mesh.is_enabled());
    let names: Vec<&str> = enabled.map(crate::config::Mesh::name).collect();
    match names.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some((*one).to_owned())),
        several => Err(format!(
            "wgautomesh: there are several meshes ({}): each wants a process of its own, `wgautomesh run {}`\n",
            several.join(", "),
            names[0]
        )),
    }
}
