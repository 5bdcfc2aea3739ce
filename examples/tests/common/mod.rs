//! What the tests with the real daemon have in common.

use core::time::Duration;
use std::path::PathBuf;
use std::sync::OnceLock;

use wgautomesh_examples::mesh_box::{BoxError, Mesh, MeshConfig, build_daemon};

/// Far above what a mesh needs; a test that waits for it has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// The signal that ends a daemon.
pub(crate) const TERM: i32 = 15;

/// The daemon, built once for all tests of a file, as the tests themselves are: without a release's long link.
pub(crate) fn daemon() -> PathBuf {
    static DAEMON: OnceLock<PathBuf> = OnceLock::new();
    DAEMON.get_or_init(|| build_daemon("test").unwrap_or_else(|error| panic!("{error}"))).clone()
}

/// A mesh whose daemons have not started.
pub(crate) fn made(config: MeshConfig) -> Mesh {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_box"));
    match Mesh::new(&MeshConfig { program, daemon: Some(daemon()), ..config }) {
        Ok(mesh) => mesh,
        Err(BoxError::Closed(closed)) => panic!("this machine cannot run the box: {closed}"),
        Err(error) => panic!("{error}"),
    }
}

/// A mesh whose daemons have started and found each other.
pub(crate) fn connected(config: MeshConfig) -> Mesh {
    let mut mesh = made(config);
    mesh.start_daemons().unwrap();
    expect_all(&mut mesh, "cold start");
    mesh
}

/// Waits until all pairs talk, counted from the last start of the measurement.
pub(crate) fn expect_all(mesh: &mut Mesh, what: &str) {
    let outcome = mesh.run_until_connected(LIMIT).unwrap();
    if !outcome.is_complete() {
        for node in mesh.nodes() {
            eprintln!("--- {}", node.plan().name);
            node.log().iter().for_each(|line| eprintln!("{line}"));
        }
        panic!("{what}: {:?}", outcome.missing());
    }
    println!("{what}: {:.0?}", outcome.time_to_all().unwrap_or_default());
}
