//! What the tests with the real daemon have in common.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use serde_json::Value;
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

/// What a node's daemon says of itself.
#[allow(dead_code, reason = "not every file of tests asks")]
pub(crate) fn status(mesh: &mut Mesh, at: usize) -> Value {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(status) = mesh.node(at).status(&daemon()).unwrap() {
            return status;
        }
        // One that was started a moment ago does not listen yet.
        assert!(Instant::now() < end, "no status: {:#?}", mesh.nodes()[at].log());
    }
}

/// No more pings; none was lost between any two nodes. So many there were.
#[allow(dead_code, reason = "not every file of tests pings")]
pub(crate) fn expect_no_ping_lost(mesh: &mut Mesh) -> u32 {
    let pings = mesh.stop_pings(LIMIT).unwrap();
    let (mut lost, mut sent) = (0, 0);
    for (from, row) in pings.iter().enumerate() {
        for (to, pings) in row.iter().enumerate().filter(|(to, _)| *to != from) {
            println!("{from} to {to}: {} of {} pings lost", pings.lost(), pings.sent);
            assert!(pings.sent > 0);
            (lost, sent) = (lost + pings.lost(), sent + pings.sent);
        }
    }
    println!("all pairs: {lost} of {sent} pings lost");
    if lost > 0 {
        print_logs(mesh);
        panic!("{lost} of {sent} pings lost");
    }
    sent
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
