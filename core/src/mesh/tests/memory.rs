//! What outlives the engine, and what it makes of that.

extern crate std;

use core::net::SocketAddr;
use std::{vec, vec::Vec};

use super::{bench::Bench, key};
use crate::{
    Duration, PeerAction, StoredRecord,
    record::{Claim, Order},
    testing::at,
    wire::{Hello, Kind},
};

fn peer(n: usize, endpoints: &[&str]) -> StoredRecord {
    let endpoints = endpoints.iter().map(|e| e.parse::<SocketAddr>().expect("an endpoint")).collect();
    StoredRecord::Peer { key: key(n), endpoints }
}

fn stored<const N: usize>(bench: &Bench<N>) -> Vec<StoredRecord> {
    bench.mesh.stored_records().collect()
}

/// WireGuard finds peer 1 elsewhere.
fn move_to(bench: &mut Bench<8>, endpoint: &str) {
    let reading = &mut bench.tunnel.get_mut(&key(1)).expect("connected").reading;
    reading.endpoint = Some(at(endpoint).into());
    reading.rx_bytes += 32;
    bench.read();
    bench.poll();
}

#[test]
fn where_peers_were_reached_is_worth_storing_once() {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    assert_eq!(stored(&bench).len(), 3, "ourselves and two peers: {:?}", stored(&bench));
    assert!(stored(&bench).contains(&peer(1, &["203.0.113.1:51820"])));
    bench.poll();
    bench.forget();
    bench.advance(Duration::from_secs(24 * 3600));
    assert_eq!(bench.stores, 0, "nothing has changed");
    for _ in 0..3 {
        move_to(&mut bench, "203.0.113.77:9");
        move_to(&mut bench, "203.0.113.1:51820");
    }
    assert_eq!(bench.stores, 1, "to and fro is no news");
    move_to(&mut bench, "[2001:db8::7]:9");
    assert_eq!(bench.stores, 2);
    assert!(stored(&bench).contains(&peer(1, &["[2001:db8::7]:9", "203.0.113.1:51820"])), "newest first");
    bench.forget();
    move_to(&mut bench, "[fe80::7]:9");
    assert_eq!(bench.stores, 0, "without its interface it is nowhere");
    assert!(stored(&bench).contains(&peer(1, &["[2001:db8::7]:9"])));
    assert!(bench.mesh.remove_peer(bench.now, &key(1)));
    bench.poll();
    assert_eq!((bench.stores, stored(&bench).len()), (1, 2));
}

#[test]
fn a_peer_is_looked_for_where_it_was() {
    let mut bench = Bench::<8>::remembering(2, &[peer(2, &["203.0.113.77:9", "203.0.113.78:9"])]);
    bench.advance(Duration::from_secs(2));
    let fired: Vec<_> = bench.actions.iter().filter(|(_, action)| fires(action)).collect();
    for place in ["203.0.113.77:9", "203.0.113.78:9"] {
        let target = Some(SocketAddr::from(at(place)));
        assert!(
            fired.iter().any(|(k, action)| *k == key(2) && endpoint_of(action) == target),
            "{place}: {fired:?}"
        );
    }
    // What is stored of a peer that nobody met meanwhile is kept.
    assert_eq!(stored(&bench)[1..], [peer(2, &["203.0.113.77:9", "203.0.113.78:9"])]);
    // Where it turns out to be comes first, and what was remembered goes last.
    bench.connect(2);
    assert_eq!(stored(&bench)[1..], [peer(2, &["203.0.113.2:51820", "203.0.113.77:9"])]);
    bench.mesh.handle_stored_record(bench.now, &peer(2, &["203.0.113.99:9"]));
    assert_eq!(stored(&bench)[1..], [peer(2, &["203.0.113.2:51820", "203.0.113.77:9"])]);
}

fn fires(action: &PeerAction) -> bool {
    endpoint_of(action).is_some()
}

fn endpoint_of(action: &PeerAction) -> Option<SocketAddr> {
    match action {
        PeerAction::Add { endpoint, .. } | PeerAction::Readd { endpoint } => *endpoint,
        _ => None,
    }
}

#[test]
fn the_record_of_before_is_left_behind_without_being_told() {
    let mut bench = Bench::<8>::remembering(3, &[StoredRecord::Incarnation(4)]);
    bench.connect(1);
    let ours = bench.mesh.own.claim.order;
    assert_eq!(ours.incarnation, 5);
    // A peer that still has the old one changes nothing.
    let hello = Hello { holds: Order { incarnation: 4, seq: 1 << 30 }, ..bench.hello() };
    bench.hear_one(1, Kind::Hello, &hello);
    assert_eq!(bench.mesh.own.claim.order, ours);
    assert_eq!(stored(&bench)[0], StoredRecord::Incarnation(5));
    // It is too late for another one, and not for being taught by the mesh.
    bench.mesh.handle_stored_record(bench.now, &StoredRecord::Incarnation(100));
    assert_eq!(bench.mesh.own.claim.order, ours);
    bench.forget();
    bench.hear_one(1, Kind::Hello, &Hello { holds: Order { incarnation: 9, seq: 1 }, ..bench.hello() });
    assert_eq!((stored(&bench)[0].clone(), bench.stores), (StoredRecord::Incarnation(10), 1));
}

#[test]
fn the_numbers_may_run_over() {
    let mut bench = Bench::<8>::remembering(1, &[StoredRecord::Incarnation(u32::MAX)]);
    bench.connect(1);
    assert_eq!(bench.published.expect("to the peer").claim.order.incarnation, 0);
    assert_eq!(stored(&Bench::<8>::new(1))[0], StoredRecord::Incarnation(1));
}

#[test]
fn what_is_of_no_use_is_ignored() {
    let useless = ["127.0.0.1:9", "0.0.0.0:9", "224.0.0.1:9", "203.0.113.7:0", "[fe80::1]:9", "[::]:9"];
    let mut records: Vec<_> = useless.iter().map(|e| peer(1, &[e])).collect();
    // Nobody, and ourselves.
    records.extend([peer(7, &["203.0.113.7:9"]), peer(0, &["203.0.113.7:9"]), peer(1, &[])]);
    let bench = Bench::<8>::remembering(2, &records);
    assert_eq!(stored(&bench), vec![StoredRecord::Incarnation(1)]);
}

/// Who is reached unasked learns so although it remembers who reached it before.
#[test]
fn being_reachable_shows_after_a_restart_too() {
    let remembered = [peer(1, &["203.0.113.1:51820"]), peer(2, &["203.0.113.2:51820"])];
    let reachable = |remembered: &[StoredRecord], sent: bool| {
        let mut bench = Bench::<8>::remembering(3, remembered);
        // Ours is the lower key, so that the peers are faster.
        for n in [1, 2] {
            let shown = bench.tunnel.get_mut(&key(n)).expect("added");
            shown.reading.endpoint = None;
            shown.reading.tx_bytes = u64::from(sent);
            bench.read();
            bench.connect(n);
        }
        bench.advance(Duration::from_secs(5));
        bench.published.expect("to both").claim.has(Claim::REACHABLE_V4)
    };
    assert!(reachable(&[], false) && reachable(&remembered, false));
    assert!(!reachable(&remembered, true), "they may have answered");
}
