//! The real daemon among those who mean it no good, and its orderly end.
//!
//! As in `box_daemons`, no time is asserted that a busy machine could exceed; times are printed.

mod common;

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::time::Instant;

use common::{LIMIT, TERM, connected, daemon, expect_all, made};
use serde_json::Value;
use wgautomesh_examples::mesh_box::{Flood, GOSSIP_PORT, Mesh, MeshConfig, Node};

const RATE: u32 = 10_000;
/// How often garbage is reported at most.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

const PUBLIC: usize = 0;
const FLOODER: usize = 1;
const LATE: usize = 2;

/// The status document of a node's daemon.
fn status(node: &mut Node) -> Value {
    node.status(&daemon()).unwrap().unwrap_or_else(|| panic!("no status: {:#?}", node.log()))
}

/// How many gossip datagrams a daemon has dropped, for whatever reason.
fn dropped(node: &mut Node) -> u64 {
    let status = status(node);
    let counters = status["counters"].as_object().unwrap();
    let of_drops = counters.iter().filter(|(name, _)| name.starts_with("dropped_"));
    of_drops.map(|(_, value)| value.as_u64().unwrap()).sum()
}

/// How many datagrams a node's kernel has had no socket for.
fn without_a_socket(node: &mut Node) -> u64 {
    let snmp = node.run(&["/bin/cat", "/proc/net/snmp"]).unwrap().stdout;
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs.find(|(name, _)| *name == "NoPorts").unwrap().1.parse().unwrap()
}

/// The address of the public node on the underlay.
fn underlay(mesh: &Mesh) -> IpAddr {
    mesh.nodes()[PUBLIC].plan().endpoint.unwrap().ip()
}

#[test]
fn a_flood_of_garbage_slows_nothing_and_gets_no_answer() {
    let mut mesh = made(MeshConfig { homes: 2, seed: 7, ..MeshConfig::default() });
    let daemons_started = Instant::now();
    mesh.node(PUBLIC).start_daemon().unwrap();
    mesh.node(FLOODER).start_daemon().unwrap();
    mesh.measure_from_now().unwrap();
    let outcome = mesh
        .run_until(LIMIT, |mesh| {
            let pairs = mesh.outcome().pairs;
            pairs[PUBLIC][FLOODER].is_some() && pairs[FLOODER][PUBLIC].is_some()
        })
        .unwrap();
    assert!(outcome.pairs[PUBLIC][FLOODER].is_some(), "{:#?}", mesh.nodes()[PUBLIC].log());

    // From outside the tunnel it arrives at the machine, and at no socket.
    let (dropped_before, unclaimed_before) =
        (dropped(mesh.node(PUBLIC)), without_a_socket(mesh.node(PUBLIC)));
    let target = SocketAddr::new(underlay(&mesh), GOSSIP_PORT);
    let flood = Flood { target, rate: RATE, count: RATE / 2, seed: 7 };
    let started = mesh.node(FLOODER).start_flood(&flood).unwrap();
    let outside = mesh.node(FLOODER).finish_flood(started).unwrap();
    let unclaimed = without_a_socket(mesh.node(PUBLIC)) - unclaimed_before;
    println!("from the underlay: {outside:?}; {unclaimed} arrived and had no socket");
    assert!(outside.sent > 0 && unclaimed > 0, "{outside:?}");
    assert_eq!(outside.answer_bytes, 0, "{outside:?}");
    assert_eq!(dropped(mesh.node(PUBLIC)), dropped_before, "the daemon got some of it");

    // Through the tunnel it arrives at the daemon. It has begun when the other home starts.
    let before = mesh.node(PUBLIC).usage().unwrap();
    let target = SocketAddr::new(mesh.nodes()[PUBLIC].plan().mesh, GOSSIP_PORT);
    let flood = Flood { target, rate: RATE, count: 5 * RATE, seed: 8 };
    let started = mesh.node(FLOODER).start_flood(&flood).unwrap();
    let deadline = Instant::now() + LIMIT;
    while dropped(mesh.node(PUBLIC)) == dropped_before {
        assert!(Instant::now() < deadline, "no garbage arrives: {:#?}", mesh.nodes()[FLOODER].log());
    }
    mesh.measure_from_now().unwrap();
    mesh.node(LATE).start_daemon().unwrap();
    expect_all(&mut mesh, "a new node under the flood");
    let under_flood = !mesh.nodes()[FLOODER].has_finished(&started);
    let inside = mesh.node(FLOODER).finish_flood(started).unwrap();
    let after = mesh.node(PUBLIC).usage().unwrap();
    let dropped = dropped(mesh.node(PUBLIC)) - dropped_before;
    println!("through the tunnel: {inside:?}; {dropped} dropped; all pairs before its end: {under_flood}");
    println!(
        "the public node's daemon: {:?} of processor time, {} B of memory before, {} B after, {} datagrams sent",
        Duration::from_nanos(after.cpu_ns - before.cpu_ns),
        before.resident_bytes,
        after.resident_bytes,
        after.gossip_packets - before.gossip_packets,
    );
    assert!(inside.sent > 0, "{inside:?}");
    assert_eq!((inside.answers, inside.answer_bytes), (0, 0));
    // Not to another port either: what it says to its peers in this time is a fraction of what came.
    assert!((after.gossip_packets - before.gossip_packets) * 10 < dropped, "{before:?} {after:?}");

    // Nor is any of it kept.
    let grown = after.resident_bytes.saturating_sub(before.resident_bytes);
    assert!(grown < inside.sent_bytes / 16, "{before:?} {after:?}");
    // After it the mesh is whole.
    mesh.measure_from_now().unwrap();
    expect_all(&mut mesh, "after the flood");

    // One report at the first, then one in ten seconds.
    let node = &mesh.nodes()[PUBLIC];
    assert_eq!(node.daemon_ended(), None, "{:#?}", node.log());
    let reports = node.log().iter().filter(|line| line.contains("packets dropped")).count() as u64;
    let elapsed = daemons_started.elapsed();
    println!("{reports} reports in {elapsed:.1?}");
    let limit = 1 + elapsed.as_secs() / REPORT_INTERVAL.as_secs();
    assert!((1..=limit).contains(&reports), "{reports} in {elapsed:?}: {:#?}", node.log());
}

#[test]
fn daemons_that_are_told_to_end_leave_their_peers_talking() {
    let mut mesh = connected(MeshConfig { homes: 2, seed: 8, ..MeshConfig::default() });
    for at in [1, 2] {
        let told = Instant::now();
        mesh.node(at).signal_daemon(TERM).unwrap();
        let ended = mesh.node(at).wait_daemon().unwrap();
        let took = told.elapsed();
        println!("{} ended after {took:.1?}", mesh.nodes()[at].plan().name);
        assert_eq!((ended.code, ended.signal), (Some(0), None), "{:#?}", mesh.nodes()[at].log());
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    // The homes talk to each other and to the public node without a daemon of theirs.
    mesh.measure_from_now().unwrap();
    expect_all(&mut mesh, "without the homes' daemons");
    for at in [1, 2] {
        let peers = mesh.node(at).peers().unwrap();
        assert!(peers.iter().all(|peer| peer.endpoint.is_some()), "{peers:?}");
        assert!(mesh.nodes()[at].daemon_ended().is_some());
    }
}
