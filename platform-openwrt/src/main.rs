//! The wgautomesh daemon and its commands, for OpenWrt routers.

use std::{
    process::ExitCode,
    sync::{Mutex, PoisonError},
};

use wgautomesh_core::Mesh;

/// A mesh of this size is large for a home, and its engine small for a router.
const PEERS: usize = 128;

static MESH: Mutex<Mesh<PEERS>> = Mutex::new(Mesh::new());

fn main() -> ExitCode {
    // Nobody else takes it, so it is neither held nor poisoned.
    wgautomesh_openwrt::cli::main(&mut MESH.lock().unwrap_or_else(PoisonError::into_inner))
}
