//! wgautomesh for OpenWrt routers: the same runtime with less room.

use std::{
    process::ExitCode,
    sync::{Mutex, OnceLock},
};

use wgautomesh_core::Mesh;

/// A mesh of this size is large for a home, and its engine small for a router.
const PEERS: usize = 128;

/// Made when the program starts: in the file it would take its size in flash.
static MESH: OnceLock<Mutex<Mesh<PEERS>>> = OnceLock::new();

fn main() -> ExitCode {
    wgautomesh::cli::main(MESH.get_or_init(|| Mutex::new(Mesh::new())))
}
