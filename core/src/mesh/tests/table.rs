//! Adding, removing and finding peers, with hardly any room.

extern crate std;

use core::net::{IpAddr, Ipv6Addr};
use std::{collections::BTreeMap, vec::Vec};

use proptest::{collection, prelude::*};

use super::{
    bench::{Bench, record},
    key, mesh_address,
};
use crate::{
    AddPeerError, Duration, Instant, Mesh, PeerAction, PublicKey, peer::NOBODY, table::Table, testing::cases,
};

const NOW: Instant = Instant::from_secs(1);

#[test]
fn a_full_table_takes_no_more() {
    let mut mesh = Mesh::<2>::new();
    assert_eq!(mesh.add_peer(NOW, key(1), mesh_address(1)), Ok(()));
    assert_eq!(mesh.add_peer(NOW, key(2), mesh_address(2)), Ok(()));
    assert_eq!(mesh.add_peer(NOW, key(3), mesh_address(3)), Err(AddPeerError::Full));
    // What is wrong with a peer is said before what is wrong with us.
    assert_eq!(mesh.add_peer(NOW, key(2), mesh_address(3)), Err(AddPeerError::DuplicateKey));
    assert_eq!(mesh.add_peer(NOW, key(3), mesh_address(1)), Err(AddPeerError::DuplicateAddress));
    assert_eq!(mesh.peers().count(), 2);
    assert!(mesh.remove_peer(NOW, &key(1)));
    assert!(!mesh.remove_peer(NOW, &key(1)));
    assert_eq!(mesh.add_peer(NOW, key(3), mesh_address(3)), Ok(()));
    assert_eq!(mesh.add_peer(NOW, key(1), mesh_address(1)), Err(AddPeerError::Full));
    let keys: Vec<_> = mesh.peers().map(|peer| peer.key).collect();
    assert!(keys.len() == 2 && keys.contains(&key(2)) && keys.contains(&key(3)));
}

#[test]
fn an_address_is_the_same_in_whatever_form() {
    let mut mesh = Mesh::<4>::new();
    let IpAddr::V4(v4) = mesh_address(1) else { panic!("IPv4") };
    let mapped = IpAddr::V6(v4.to_ipv6_mapped());
    assert_eq!(mesh.add_peer(NOW, key(1), mapped), Ok(()));
    assert_eq!(mesh.add_peer(NOW, key(2), mesh_address(1)), Err(AddPeerError::DuplicateAddress));
    assert_eq!(mesh.peers().next().map(|peer| peer.address), Some(mesh_address(1)));
    assert_eq!(mesh.peers.find_address(mapped), mesh.peers.find_address(mesh_address(1)));
}

#[test]
fn no_node_can_have_such_an_address() {
    let mut mesh = Mesh::<1>::new();
    for address in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"] {
        let parsed = address.parse().expect("an address");
        assert_eq!(mesh.add_peer(NOW, key(1), parsed), Err(AddPeerError::BadAddress), "{address}");
    }
    assert_eq!(mesh.add_peer(NOW, key(1), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into()), Ok(()));
}

#[test]
fn one_place_is_enough_for_a_mesh_of_two() {
    let mut bench = Bench::<1>::connected(1, [1]);
    bench.advance(Duration::from_secs(600));
    assert_eq!(bench.mesh.node().connected, 1);
}

/// The place of a peer that has gone is given to another, which must not inherit anything.
#[test]
fn a_place_that_is_used_again_is_as_new() {
    let mut bench = Bench::<2>::connected(2, [1]);
    bench.hear_records(1, &[record(1, 1, 1, "203.0.113.1:9"), record(2, 1, 1, "203.0.113.2:9")]);
    bench.advance(Duration::from_millis(10));
    assert!(bench.mesh.remove_peer(bench.now, &key(1)));
    bench.answering.clear();
    let second =
        bench.mesh.peers.find(&key(2)).and_then(|place| bench.mesh.peers.get(place)).expect("it stays");
    assert_eq!((second.held.bringer, second.held.mediator), (NOBODY, NOBODY));
    assert_eq!(second.link.via, NOBODY);
    bench.mesh.add_peer(bench.now, key(3), mesh_address(3)).expect("there is room again");
    let status = bench.mesh.peers().find(|peer| peer.key == key(3)).expect("it is there");
    assert_eq!((status.rtt, status.endpoint, status.handshake_at, bench.held(3)), (None, None, None, None));
    bench.poll();
    bench.advance(Duration::from_secs(1));
    bench.connect(3);
    assert_eq!(bench.mesh.node().connected, 1);
}

#[test]
fn wireguard_loses_a_peer_only_where_we_added_it() {
    let removed = |bench: &Bench<8>| bench.actions.contains(&(key(1), PeerAction::Remove));
    let mut bench = Bench::<8>::connected(1, []);
    assert!(bench.mesh.remove_peer(bench.now, &key(1)));
    bench.poll();
    assert!(removed(&bench) && bench.tunnel.is_empty());

    // This one was on the interface before us.
    let mut theirs = Bench::<8>::new(0);
    theirs.tunnel = Bench::<8>::new(1).tunnel;
    theirs.mesh.add_peer(theirs.now, key(1), mesh_address(1)).expect("room");
    theirs.poll();
    assert!(theirs.mesh.remove_peer(theirs.now, &key(1)));
    theirs.poll();
    assert!(!removed(&theirs) && theirs.tunnel.contains_key(&key(1)));
}

/// What was done to it so that it would be reached is undone: it is its owner's again.
#[test]
fn a_peer_that_was_there_before_gets_back_what_it_had() {
    let mut bench = Bench::<8>::new(0);
    bench.tunnel = Bench::<8>::new(1).tunnel;
    let theirs = ([203, 0, 113, 1], 9).into();
    let had = |bench: &Bench<8>| {
        let reading = bench.tunnel[&key(1)].reading;
        (reading.endpoint, reading.keepalive)
    };
    let shown = bench.tunnel.get_mut(&key(1)).expect("it is there");
    (shown.reading.endpoint, shown.reading.keepalive) = (Some(theirs), 15);
    bench.mesh.add_peer(bench.now, key(1), mesh_address(1)).expect("room");
    bench.mesh.set_configured_endpoints(bench.now, &key(1), &[theirs]);
    bench.poll();
    bench.advance(Duration::from_secs(10));
    assert_ne!(had(&bench), (Some(theirs), 15), "it is kept from calling us");
    bench.mesh.release_peer(&key(1));
    bench.poll();
    assert_eq!(had(&bench), (Some(theirs), 15));
    assert!(bench.mesh.remove_peer(bench.now, &key(1)));
    bench.advance(Duration::from_secs(60));
    assert_eq!(had(&bench), (Some(theirs), 15));
}

/// A reading that still showed it would have it adopted by whoever takes the peers of the interface.
#[test]
fn a_removed_peer_has_left_before_the_next_reading() {
    let mut bench = Bench::<8>::connected(1, []);
    assert!(bench.mesh.remove_peer(bench.now, &key(1)));
    bench.mesh.add_peer(bench.now, key(2), mesh_address(2)).expect("room");
    let mut rng = crate::testing::Counting(0);
    let mut buffer = [0; crate::limits::MAX_DATAGRAM];
    let outputs = core::iter::from_fn(|| bench.mesh.poll(bench.now, &mut rng, &mut buffer));
    let order: Vec<_> = outputs
        .filter_map(|output| match output {
            crate::Output::ReadInterface => Some("read"),
            crate::Output::Peer { action: PeerAction::Remove, .. } => Some("remove"),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["remove", "read"]);
}

#[test]
fn removals_that_wait_are_bounded() {
    let mut bench = Bench::<32>::new(0);
    let many = |n: u8| (PublicKey::from_bytes([n + 100; 32]), IpAddr::from([10, 1, 0, n + 1]));
    for (key, address) in (0..20).map(many) {
        bench.mesh.add_peer(bench.now, key, address).expect("room");
    }
    // All are added to WireGuard, which the bench does not keep a list of.
    let mut added = 0;
    let mut rng = crate::testing::Counting(0);
    let mut buffer = [0; crate::limits::MAX_DATAGRAM];
    while let Some(output) = bench.mesh.poll(bench.now, &mut rng, &mut buffer) {
        added += usize::from(matches!(output, crate::Output::Peer { action: PeerAction::Add { .. }, .. }));
        if output == crate::Output::ReadInterface {
            bench.mesh.begin_reading();
            bench.mesh.end_reading(bench.now);
        }
    }
    assert_eq!(added, 20);
    let gone = |bench: &mut Bench<32>| {
        (0..20).map(many).filter(|(key, _)| bench.mesh.remove_peer(bench.now, key)).count()
    };
    assert_eq!(gone(&mut bench), 16);
    assert_eq!(bench.mesh.peers().count(), 4, "the others are still configured");
    let actions = core::iter::from_fn(|| bench.mesh.poll(bench.now, &mut rng, &mut buffer));
    let removals =
        actions.filter(|o| matches!(o, crate::Output::Peer { action: PeerAction::Remove, .. })).count();
    assert_eq!(removals, 16);
    assert_eq!(gone(&mut bench), 4);
}

proptest! {
    #![proptest_config(cases(512))]

    /// Against the plainest model there is.
    #[test]
    fn finds_what_was_added_and_nothing_else(
        steps in collection::vec((any::<bool>(), 0u8..8, 0u8..8), 1..60),
    ) {
        let key = |n: u8| {
            // Two by two the short ids are the same.
            let mut bytes = [n / 2 * 40; 32];
            bytes[31] = n;
            PublicKey::from_bytes(bytes)
        };
        let address = |n: u8| IpAddr::from([10, 0, 0, n + 1]);
        let mut table = Table::<4>::new();
        let mut model = BTreeMap::new();
        for (add, k, a) in steps {
            if add {
                let expected = if model.contains_key(&k) {
                    Err(AddPeerError::DuplicateKey)
                } else if model.values().any(|known| *known == a) {
                    Err(AddPeerError::DuplicateAddress)
                } else if model.len() == 4 {
                    Err(AddPeerError::Full)
                } else {
                    model.insert(k, a);
                    Ok(())
                };
                prop_assert_eq!(table.add(key(k), address(a)).map(|_| ()), expected);
            } else if let Some(place) = table.find(&key(k)) {
                table.remove(place);
                prop_assert!(model.remove(&k).is_some());
            } else {
                prop_assert!(!model.contains_key(&k));
            }
            for n in 0..8 {
                let found = table.find(&key(n)).and_then(|place| table.get(place)).map(|peer| (peer.key, peer.address));
                prop_assert_eq!(found, model.get(&n).map(|a| (key(n), address(*a))));
                let owner = table.find_address(address(n)).and_then(|place| table.get(place)).map(|peer| peer.key);
                prop_assert_eq!(owner, model.iter().find(|(_, a)| **a == n).map(|(k, _)| key(*k)));
                let short = table.find_short(key(n).short()).and_then(|place| table.get(place));
                let known = model.keys().any(|k| k / 2 == n / 2);
                prop_assert_eq!(short.map(|peer| peer.key.short()), known.then(|| key(n).short()));
            }
            for half in 0..2 {
                let part = |key: &PublicKey| usize::from(key.as_bytes()[31] > 3);
                let found: Vec<_> = table.stretch(half, part).filter_map(|at| table.nth_key(at)).collect();
                prop_assert_eq!(found.len(), model.keys().filter(|k| usize::from(**k > 3) == half).count());
                prop_assert!(found.iter().all(|place| table.get(*place).is_some_and(|p| part(&p.key) == half)));
            }
            prop_assert_eq!(table.iter().count(), model.len());
            prop_assert!(table.len() <= 4);
        }
    }
}
