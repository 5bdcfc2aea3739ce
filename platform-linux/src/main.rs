//! The wgautomesh daemon and its commands.

use std::{
    process::ExitCode,
    sync::{Mutex, PoisonError},
};

use wgautomesh::cli::CAPACITY;
use wgautomesh_core::Mesh;

static MESH: Mutex<Mesh<CAPACITY>> = Mutex::new(Mesh::new());

fn main() -> ExitCode {
    // Nobody else takes it, so it is neither held nor poisoned.
    wgautomesh::cli::main(&mut MESH.lock().unwrap_or_else(PoisonError::into_inner))
}
