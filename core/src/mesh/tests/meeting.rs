//! Meshes come to be, stay quiet, and survive what happens to a daemon.

extern crate std;

use core::net::Ipv4Addr;
use std::{collections::BTreeSet, vec::Vec};

use super::{mesh_address, net::Net};
use crate::{Duration, Event, PeerAction};

#[test]
fn two_public_nodes_meet_and_one_initiates() {
    let mut net = Net::new(&[false, false]);
    net.run(Duration::from_secs(1));
    assert_eq!(net.connected(), 2);
    let digests: BTreeSet<_> = net.nodes.iter().map(|n| n.mesh.node().digest).collect();
    assert_eq!(digests.len(), 1);
    assert_eq!(net.nodes.iter().filter(|n| n.initiations > 0).count(), 1);
}

#[test]
fn homes_meet_through_a_public_node() {
    let mut net = Net::new(&[false, true, true, true, true]);
    net.run(Duration::from_secs(2));
    for node in &net.nodes {
        for event in &node.events {
            std::println!("{}: {event:?}", node.address);
        }
    }
    assert_eq!(net.connected(), 5 * 4);
    let digests: BTreeSet<_> = net.nodes.iter().map(|n| n.mesh.node().digest).collect();
    assert_eq!(digests.len(), 1, "all hold the same records");
}

#[test]
fn an_idle_mesh_is_quiet() {
    let mut net = Net::new(&[false, true, true, true]);
    net.run(Duration::from_secs(600));
    let before: Vec<_> = net.nodes.iter().map(|n| n.mesh.counters().sent_bytes).collect();
    net.run(Duration::from_secs(3600));
    for (node, before) in net.nodes.iter().zip(before) {
        let bytes = node.mesh.counters().sent_bytes - before;
        std::println!("{}: {bytes} bytes of gossip in an idle hour", node.address);
        assert!(bytes < 100_000, "{bytes} bytes in an hour in which nothing happened");
    }
}

#[test]
fn a_restart_of_the_daemon_costs_no_session() {
    let mut net = Net::new(&[false, true, true]);
    net.run(Duration::from_secs(2));
    assert_eq!(net.connected(), 6);
    net.nodes[1].mesh.shutdown();
    net.poll(1);
    net.run(Duration::from_secs(1));
    let fresh = Net::new(&[false, true, true]).nodes.remove(1).mesh;
    net.nodes[1].mesh = fresh;
    net.nodes.iter_mut().for_each(|n| n.actions.clear());
    net.run(Duration::from_secs(8));
    assert_eq!(net.connected(), 6);
    for node in &net.nodes {
        let readded = node.actions.iter().any(|(_, a)| matches!(a, PeerAction::Readd { .. }));
        assert!(!readded, "{} re-added a peer: {:?}", node.address, node.actions);
    }
}

#[test]
fn garbage_is_counted_dropped_and_reported_seldom() {
    let mut net = Net::new(&[false, true]);
    net.run(Duration::from_secs(1));
    let sent = net.nodes[0].mesh.counters().sent;
    net.nodes[0].events.clear();
    let (now, stranger) = (net.now, Ipv4Addr::new(10, 0, 0, 99).into());
    for i in 0..1000u32 {
        let mut garbage = [i as u8; 100];
        net.nodes[0].mesh.handle_datagram(now, stranger, &mut garbage);
        net.nodes[0].mesh.handle_datagram(now, mesh_address(1), &mut garbage);
    }
    net.poll(0);
    assert_eq!(net.nodes[0].mesh.counters().sent, sent, "no answer to garbage");
    net.run(Duration::from_secs(5));
    let reports = net.nodes[0].events.iter().filter(|e| matches!(e, Event::Dropped { .. })).count();
    assert_eq!(reports, 1);
    let counters = net.nodes[0].mesh.counters();
    assert_eq!(counters.dropped_stranger, 1000);
    assert_eq!(counters.dropped_version + counters.dropped_secret, 1000, "{counters:?}");
}
