//! The map that real daemons make of their mesh: every pair of it, as it is.

mod common;

use core::time::Duration;
use std::time::Instant;

use common::{LIMIT, connected, daemon, print_logs};
use serde_json::Value;
use wgautomesh_examples::mesh_box::{CONFIG_PATH, Mesh, MeshConfig, NatKind};

const KILL: i32 = 9;
const NODES: usize = 8;

/// What the `map` command of a node prints.
fn printed(mesh: &mut Mesh, at: usize, option: &str) -> String {
    let daemon = daemon();
    let asked = Instant::now();
    let words = [daemon.to_str().unwrap(), "map", option, CONFIG_PATH];
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let ran = mesh.node(at).run(&words).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    println!("map {option} of node {at}: {:.0?}", asked.elapsed());
    ran.stdout
}

/// Of each pair of nodes, by their numbers in the mesh, how they reach each other. `None` where a node is not on the map.
fn pairs(mesh: &Mesh, map: &Value) -> Option<Vec<((usize, usize), String)>> {
    let number = |place: &Value| {
        let key = &map["nodes"][place.as_u64()? as usize]["key"];
        mesh.nodes().iter().position(|node| key == node.plan().private_key.public().base64().as_str())
    };
    let mut pairs = Vec::new();
    for link in map["links"].as_array()? {
        let (a, b) = (number(&link["a"])?, number(&link["b"])?);
        pairs.push(((a.min(b), a.max(b)), link["how"].as_str()?.to_owned()));
    }
    pairs.sort();
    Some(pairs)
}

/// Nodes 0 and 1 are public. The first home is behind an endpoint-dependent NAT, the second and the third behind friendlier ones, and
/// each has two nodes on its LAN.
fn expected() -> Vec<((usize, usize), String)> {
    let home = |node: usize| node / 2;
    let how = |a: usize, b: usize| match (home(a), home(b)) {
        (0, _) => "direct",
        (a, b) if a == b => "lan",
        (1, _) => "not-connected",
        _ => "punched",
    };
    (0..NODES).flat_map(|a| (a + 1..NODES).map(move |b| ((a, b), how(a, b).into()))).collect()
}

/// How many nodes are behind a NAT of this kind.
fn count(map: &Value, kind: &str) -> usize {
    map["nodes"].as_array().unwrap().iter().filter(|node| node["nat"]["ipv4"] == kind).count()
}

/// Waits until a node's map is as it is expected to be.
fn expect_map(mesh: &mut Mesh, at: usize, expected: &[((usize, usize), String)]) -> Value {
    let end = Instant::now() + LIMIT;
    loop {
        let map: Value = serde_json::from_str(&printed(mesh, at, "--json")).unwrap();
        let found = pairs(mesh, &map);
        // What is in front of a node takes a while to get about.
        let nats = (count(&map, "open"), count(&map, "endpoint-dependent"));
        if found.as_deref() == Some(expected) && nats == (2, 2) {
            return map;
        }
        if Instant::now() > end {
            print_logs(mesh);
            panic!("node {at}: {found:?}\n{map:#}");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_node_knows_of_all_pairs_and_of_who_is_gone() {
    let kind = |name: &str| name.parse::<NatKind>().unwrap();
    let config = MeshConfig {
        publics: 2,
        homes: 6,
        nodes_per_home: 2,
        nats: vec![NatKind::EDM, kind("eim-apdf"), kind("eim-apdf")],
        lan_discovery: true,
        seed: 61,
        ..MeshConfig::default()
    };
    let mut mesh = connected(config);
    // As a public node sees it; as one behind the hard NAT does, who is not connected to most; and as one of the others.
    for at in [0, 2, 7] {
        let map = expect_map(&mut mesh, at, &expected());
        let nodes = map["nodes"].as_array().unwrap();
        assert!(nodes.iter().all(|node| node["answered"] == true), "through others too: {map:#}");
        // Two of each home are behind the same address.
        let outside: Vec<_> =
            nodes.iter().map(|node| node["outside"].as_str().unwrap().split(':').next()).collect();
        let same = |address| outside.iter().filter(|other| *other == address).count();
        assert_eq!(outside.iter().map(same).max(), Some(2), "{outside:?}");
    }
    let table = printed(&mut mesh, 2, "");
    println!("{table}");
    assert!(table.starts_with("wg0: 8 nodes, 20 of 28 pairs connected\n"), "{table}");
    assert!(printed(&mut mesh, 2, "--dot").starts_with("graph \"wg0\" {\n"));
    let picture = printed(&mut mesh, 2, "--svg");
    assert_eq!(picture.matches("<path d=").count(), 28);

    // A daemon that is gone says nothing; what others say of it, and its record, is left.
    mesh.node(7).signal_daemon(KILL).unwrap();
    mesh.node(7).wait_daemon().unwrap();
    let map: Value = serde_json::from_str(&printed(&mut mesh, 0, "--json")).unwrap();
    let silent: Vec<_> =
        map["nodes"].as_array().unwrap().iter().filter(|node| node["answered"] == false).collect();
    assert_eq!(silent.len(), 1, "{map:#}");
    assert_eq!(silent[0]["key"], mesh.nodes()[7].plan().private_key.public().base64().as_str());
    assert!(silent[0]["outside"].is_string(), "{map:#}");
}
