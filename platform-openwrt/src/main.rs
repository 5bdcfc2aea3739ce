//! wgautomesh for OpenWrt routers: the same runtime with less room.

use std::{process::ExitCode, sync::Mutex};

use wgautomesh_core::Mesh;

/// A mesh of this size is large for a home, and its engine small for a router.
const PEERS: usize = 128;

static MESH: Mutex<Mesh<PEERS>> = Mutex::new(Mesh::new());

fn main() -> ExitCode {
    wgautomesh::cli::main(&MESH)
}
