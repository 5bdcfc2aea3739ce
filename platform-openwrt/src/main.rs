//! wgautomesh for OpenWrt routers: the same runtime with less room.

use core::mem::MaybeUninit;
use std::{
    process::ExitCode,
    sync::{Mutex, PoisonError},
};

use wgautomesh_core::Mesh;

/// A mesh of this size is large for a home, and its engine small for a router.
const PEERS: usize = 128;

/// Made when the program starts: a finished one would take its size in the file, and so in flash.
static MESH: Mutex<MaybeUninit<Mesh<PEERS>>> = Mutex::new(MaybeUninit::uninit());

fn main() -> ExitCode {
    // Nobody else takes it, so it is neither held nor poisoned.
    let mut mesh = MESH.lock().unwrap_or_else(PoisonError::into_inner);
    wgautomesh::cli::main(mesh.write(Mesh::new()))
}
