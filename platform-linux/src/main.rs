//! The wgautomesh daemon and its commands.

use std::{process::ExitCode, sync::Mutex};

use wgautomesh_core::Mesh;

/// As many peers as one daemon of this build takes. A place costs address space; memory only once it is used.
const PEERS: usize = 1024;

static MESH: Mutex<Mesh<PEERS>> = Mutex::new(Mesh::new());

fn main() -> ExitCode {
    wgautomesh::cli::main(&MESH)
}
