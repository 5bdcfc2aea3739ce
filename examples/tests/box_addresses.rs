//! A host of a mesh of real daemons gets one address more, and loses it: all others are told at once.

mod common;

use core::{net::IpAddr, time::Duration};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use common::{daemon, expect_all, on_this_machine, print_logs, with_daemon};
use wgautomesh_examples::mesh_box::{Mesh, MeshConfig};

/// A tenth of a second is the rule. What is not told at once comes out when two nodes compare what they hold, every 24 to
/// 36 seconds.
const AT_ONCE: Duration = Duration::from_secs(15);

/// The daemon, saying what it hears.
fn talkative() -> std::path::PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("talkative-daemon");
    let line = format!("#!/bin/sh\nWGAUTOMESH_LOG=debug exec '{}' \"$@\"\n", daemon().display());
    fs::write(&path, line).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Waits until the last that every other node has heard of the first one names this address, or does not.
fn expect_told(mesh: &mut Mesh, address: IpAddr, there: bool) {
    let of = format!("{:.8} says it is at", mesh.nodes()[0].plan().private_key.public().base64());
    let knows = |mesh: &Mesh, at: usize| {
        let log = mesh.nodes()[at].log();
        let last = log.iter().rfind(|line| line.contains(&of));
        last.is_some_and(|line| line.contains(&format!("{address}:")) == there)
    };
    let all_know = |mesh: &Mesh| (1..mesh.nodes().len()).all(|at| knows(mesh, at));
    mesh.run_until(AT_ONCE, |mesh| all_know(mesh)).unwrap();
    if !all_know(mesh) {
        print_logs(mesh);
        panic!("{of} {address}: not told (there: {there})");
    }
    println!(
        "{address} is {}: all others know after {:.0?}",
        if there { "there" } else { "gone" },
        mesh.elapsed()
    );
}

#[test]
fn an_address_that_comes_or_goes_is_told_to_all_at_once() {
    let config = MeshConfig { publics: 2, homes: 2, seed: 51, ..MeshConfig::default() };
    let config = MeshConfig { daemon: Some(talkative()), ..with_daemon(config) };
    let mut mesh = on_this_machine(Mesh::new(&config));
    mesh.start_daemons().unwrap();
    expect_all(&mut mesh, "cold start");
    let host = mesh.nodes()[0].plan().host;
    let addresses = mesh.internet(move |internet| internet.addresses(host).to_vec()).unwrap();
    let before: Vec<_> = addresses.into_iter().map(|address| (address, 32)).collect();
    let new = IpAddr::from([198, 51, 100, 77]);
    for there in [true, false] {
        let mut addresses = before.clone();
        addresses.extend(there.then_some((new, 32)));
        mesh.measure_change(|mesh| mesh.node(0).set_wan(addresses)).unwrap();
        expect_told(&mut mesh, new, there);
    }
    // What stayed has carried on.
    expect_all(&mut mesh, "afterwards");
}
