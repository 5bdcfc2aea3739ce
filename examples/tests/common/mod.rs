//! What the tests with the real daemon have in common.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use wgautomesh_examples::mesh_box::{BoxError, Mesh, MeshConfig, WireGuardKind, build_daemon};

/// Far above what a mesh needs; a test that waits for it has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// The signal that ends a daemon.
#[allow(dead_code, reason = "not every file of tests ends one")]
pub(crate) const TERM: i32 = 15;

/// The daemon, built once for all tests of a file, as the tests themselves are: without a release's long link.
pub(crate) fn daemon() -> PathBuf {
    static DAEMON: OnceLock<PathBuf> = OnceLock::new();
    DAEMON.get_or_init(|| build_daemon("test").unwrap_or_else(|error| panic!("{error}"))).clone()
}

/// What the nodes of a mesh are made of, under test.
pub(crate) fn with_daemon(config: MeshConfig) -> MeshConfig {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_box"));
    MeshConfig { program, daemon: Some(daemon()), ..config }
}

/// A mesh whose daemons have not started.
pub(crate) fn made(config: MeshConfig) -> Mesh {
    on_this_machine(Mesh::new(&with_daemon(config)))
}

/// What came out, or the loud end of the test: a machine that cannot run the box must not look as if it had.
pub(crate) fn on_this_machine<T>(made: Result<T, BoxError>) -> T {
    match made {
        Ok(made) => made,
        Err(BoxError::Closed(closed)) => panic!("this machine cannot run the box: {closed}"),
        Err(error) => panic!("{error}"),
    }
}

/// A mesh whose daemons have started and found each other.
#[allow(dead_code, reason = "not every file of tests begins with one")]
pub(crate) fn connected(config: MeshConfig) -> Mesh {
    let mut mesh = made(config);
    mesh.start_daemons().unwrap();
    expect_all(&mut mesh, "cold start");
    mesh
}

/// What all nodes have printed.
pub(crate) fn print_logs(mesh: &Mesh) {
    for node in mesh.nodes() {
        eprintln!("--- {}", node.plan().name);
        node.log().iter().for_each(|line| eprintln!("{line}"));
    }
}

/// Waits until all pairs talk, counted from the last start of the measurement.
pub(crate) fn expect_all(mesh: &mut Mesh, what: &str) {
    let outcome = mesh.run_until_connected(LIMIT).unwrap();
    if !outcome.is_complete() {
        print_logs(mesh);
        panic!("{what}: {:?}", outcome.missing());
    }
    println!("{what}: {:.0?}", outcome.time_to_all().unwrap_or_default());
}

/// Debian's wireguard-go; loudly none where it is not installed.
#[allow(dead_code, reason = "not every file of tests runs over it")]
pub(crate) fn wireguard_go_program() -> Option<WireGuardKind> {
    let program = "/usr/bin/wireguard-go";
    if Path::new(program).exists() {
        return Some(WireGuardKind::Program(program.into()));
    }
    assert!(std::env::var_os("CI").is_none(), "{program} is missing; CI installs it");
    eprintln!("SKIPPED: {program} is missing (apt-get install wireguard-go)");
    None
}
