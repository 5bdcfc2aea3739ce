//! The real daemons of one home, which find each other on its LAN.

mod common;

use core::time::Duration;

use common::{connected, daemon, expect_all, made, print_logs};
use wgautomesh_examples::mesh_box::{Mesh, MeshConfig};

/// Where a node's daemon says another one is, and how it came to know.
fn source(mesh: &mut Mesh, at: usize, of: usize) -> (String, String) {
    let (key, daemon) = (mesh.nodes()[of].plan().private_key.public().base64(), daemon());
    let status = mesh.node(at).status(&daemon).unwrap().expect("it runs");
    let peers = status["peers"].as_array().unwrap();
    let peer = peers.iter().find(|peer| peer["key"] == key.as_str()).unwrap();
    let text = |field: &str| peer[field].as_str().unwrap_or_default().to_owned();
    (text("endpoint"), text("endpoint_source"))
}

fn expect_lan(mesh: &mut Mesh, a: usize, b: usize) {
    for (at, of) in [(a, b), (b, a)] {
        let (endpoint, source) = source(mesh, at, of);
        if !endpoint.starts_with("192.168.") || source != "lan" {
            print_logs(mesh);
            panic!("{at} has {of} at {endpoint}, {source}");
        }
    }
}

/// No internet, no public node, nobody else.
#[test]
fn two_nodes_of_one_home_need_nobody_else() {
    let config = MeshConfig {
        publics: 0,
        homes: 2,
        nodes_per_home: 2,
        lan_discovery: true,
        seed: 21,
        ..MeshConfig::default()
    };
    let mut mesh = made(config);
    mesh.start_daemons().unwrap();
    expect_all(&mut mesh, "two nodes on a LAN, and nobody else");
    // The echo comes through before the daemon has heard of it.
    mesh.idle(Duration::from_millis(300)).unwrap();
    expect_lan(&mut mesh, 0, 1);
    // One of them is started anew: it is found again.
    mesh.node(1).signal_daemon(common::TERM).unwrap();
    mesh.node(1).wait_daemon().unwrap();
    mesh.node(1).delete_interface().unwrap();
    mesh.node(1).create_interface().unwrap();
    mesh.measure_from_now().unwrap();
    mesh.node(1).start_daemon().unwrap();
    expect_all(&mut mesh, "one of them made anew");
    mesh.idle(Duration::from_millis(300)).unwrap();
    expect_lan(&mut mesh, 0, 1);
}

#[test]
fn the_nodes_of_each_home_talk_over_its_lan() {
    let config =
        MeshConfig { homes: 4, nodes_per_home: 2, lan_discovery: true, seed: 22, ..MeshConfig::default() };
    let mut mesh = connected(config);
    mesh.idle(Duration::from_secs(1)).unwrap();
    for (a, b) in [(1, 2), (3, 4)] {
        expect_lan(&mut mesh, a, b);
    }
    let (_, source) = source(&mut mesh, 1, 3);
    assert_ne!(source, "lan", "they are in two homes");
}
