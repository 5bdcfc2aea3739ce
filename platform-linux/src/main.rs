//! The wgautomesh daemon and its commands.

use std::{
    process::ExitCode,
    sync::{Mutex, PoisonError},
};

use wgautomesh_core::Mesh;

/// As many peers as one daemon of this build takes. A place costs nothing in the file, and memory only once it is used.
const PEERS: usize = 1024;

static MESH: Mutex<Mesh<PEERS>> = Mutex::new(Mesh::new());

fn main() -> ExitCode {
    // Nobody else takes it, so it is neither held nor poisoned.
    wgautomesh::cli::main(&mut MESH.lock().unwrap_or_else(PoisonError::into_inner))
}
