//! When the platform fails: actions that cannot be carried out, a random source that has run dry, and budgets that keep
//! anybody from being flooded by us.

extern crate std;

use core::net::SocketAddr;
use std::{collections::BTreeSet, vec::Vec};

use super::{bench::Bench, key, mesh_address};
use crate::{
    ActionError, Duration, Event, LinkState, Output, PeerAction, Reason,
    limits::{FIRST_CONTACT_YIELD, MAX_DATAGRAM, PEERS_PER_TARGET, TARGETS_PER_PEER, TARGETS_PER_SECOND},
    testing::Dry,
    wire::Kind,
};

fn endpoint(n: u8) -> SocketAddr {
    ([203, 0, 113, n], 4000).into()
}

/// The endpoints that WireGuard was to be given for a peer, in their order.
fn targets<const N: usize>(bench: &Bench<N>, n: usize) -> Vec<SocketAddr> {
    let of = bench.actions.iter().filter(|(k, _)| *k == key(n));
    let given = of.filter_map(|(_, action)| match action {
        PeerAction::Add { endpoint, .. } | PeerAction::Readd { endpoint } => *endpoint,
        _ => None,
    });
    given.collect()
}

const fn no_route(action: &PeerAction) -> Option<ActionError> {
    match action {
        PeerAction::Add { endpoint: Some(_), .. } | PeerAction::Readd { endpoint: Some(_) } => {
            Some(ActionError::RoutedIntoMesh)
        }
        _ => None,
    }
}

#[test]
fn an_endpoint_that_would_be_routed_into_the_mesh_gives_way_to_the_next() {
    let mut bench = Bench::<8>::new(1);
    bench.refuse = no_route;
    bench.mesh.set_configured_endpoints(bench.now, &key(1), &[endpoint(1), endpoint(2), endpoint(3)]);
    bench.advance(Duration::from_secs(10));
    assert_eq!(targets(&bench, 1), [endpoint(1), endpoint(2), endpoint(3)]);
    assert_eq!(bench.reason(1), Some(Reason::Unroutable));
    assert!(bench.has_event(|e| *e == Event::Waiting { key: key(1), reason: Reason::Unroutable }));

    // The network comes up: what is configured was not forgotten.
    bench.refuse = |_| None;
    bench.forget();
    bench.advance(Duration::from_secs(300));
    let tried: BTreeSet<_> = targets(&bench, 1).into_iter().collect();
    assert_eq!(tried, BTreeSet::from([endpoint(1), endpoint(2), endpoint(3)]));
}

#[test]
fn an_interface_that_cannot_be_changed_is_tried_seldom_and_told_once() {
    let mut bench = Bench::<8>::new(0);
    bench.refuse = |_| Some(ActionError::Failed);
    bench.mesh.add_peer(bench.now, key(1), mesh_address(1)).expect("room");
    bench.mesh.set_configured_endpoints(bench.now, &key(1), &[endpoint(1)]);
    // The bench itself sees to it that one input is answered by a bounded number of outputs.
    bench.poll();
    bench.advance(Duration::from_secs(600));
    assert_eq!(bench.reason(1), Some(Reason::ActionFailed));
    assert!(bench.actions.len() < 100, "{} tries in ten minutes", bench.actions.len());
    let told = bench.events.iter().filter(|e| matches!(e, Event::Waiting { .. })).count();
    assert!((1..=3).contains(&told), "{:?}", bench.events);
    bench.refuse = |_| None;
    bench.advance(Duration::from_secs(3600));
    assert!(bench.tunnel.contains_key(&key(1)));
}

#[test]
fn a_failed_action_ends_no_session() {
    let mut bench = Bench::<8>::new(1);
    bench.refuse = |action| matches!(action, PeerAction::SetKeepalive(_)).then_some(ActionError::Failed);
    bench.connect(1);
    assert_eq!(bench.state(1), LinkState::Connected);
    bench.forget();
    bench.advance(Duration::from_secs(600));
    assert_eq!(bench.state(1), LinkState::Connected);
    assert!(!bench.actions.iter().any(|(_, a)| matches!(a, PeerAction::Readd { .. })));
}

#[test]
fn a_peer_that_is_gone_is_added_again() {
    let mut bench = Bench::<8>::new(1);
    bench.mesh.set_configured_endpoints(bench.now, &key(1), &[endpoint(1)]);
    bench.advance(Duration::from_millis(1));
    bench.forget();
    // The user takes it out between a reading and what follows from it.
    bench.tunnel.remove(&key(1));
    let action = PeerAction::Readd { endpoint: Some(endpoint(1)) };
    bench.mesh.handle_action_error(bench.now, &key(1), &action, ActionError::NoPeer);
    bench.poll();
    assert!(bench.actions.iter().any(|(_, a)| matches!(a, PeerAction::Add { .. })), "{:?}", bench.actions);
}

#[test]
fn without_randomness_nothing_is_sent_and_that_is_told_once() {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    let sent = bench.mesh.counters().sent;
    let hello = bench.hello();
    let mut datagram = bench.datagram(|writer| writer.frame(Kind::Hello, &hello));
    let mut told = 0;
    for _ in 0..50 {
        for n in [1, 2] {
            bench.mesh.handle_datagram(bench.now, mesh_address(n), &mut datagram.clone());
        }
        let mut buffer = [0xee; MAX_DATAGRAM];
        let mut outputs = 0;
        while let Some(output) = bench.mesh.poll(bench.now, &mut Dry, &mut buffer) {
            assert!(!matches!(output, Output::Datagram { .. }));
            told += usize::from(output == Output::Event(Event::NoRandomness));
            outputs += 1;
            assert!(outputs < 100);
        }
        bench.now += Duration::from_secs(1);
        bench.mesh.handle_timeout(bench.now, &mut Dry);
    }
    assert_eq!((told, bench.mesh.counters().sent), (1, sent));
    assert!(bench.mesh.counters().no_randomness >= 50);
    // It works again, and then fails again.
    let hello = bench.hello();
    bench.hear_one(1, Kind::Hello, &hello);
    assert!(bench.mesh.counters().sent > sent);
    bench.mesh.handle_datagram(bench.now, mesh_address(1), &mut datagram);
    let mut buffer = [0; MAX_DATAGRAM];
    let outputs: Vec<_> = core::iter::from_fn(|| bench.mesh.poll(bench.now, &mut Dry, &mut buffer)).collect();
    assert!(outputs.contains(&Output::Event(Event::NoRandomness)), "{outputs:?}");
}

#[test]
fn too_small_a_buffer_loses_datagrams_and_nothing_else() {
    let mut bench = Bench::<8>::connected(2, [1]);
    let hello = bench.hello();
    for size in [0, 1, 41, 42, 45, 60] {
        let mut datagram = bench.datagram(|writer| writer.frame(Kind::Hello, &hello));
        bench.mesh.handle_datagram(bench.now, mesh_address(1), &mut datagram);
        let mut buffer = std::vec![0; size];
        let mut outputs = 0;
        let mut rng = crate::testing::Counting(0);
        while let Some(output) = bench.mesh.poll(bench.now, &mut rng, &mut buffer) {
            assert!(!matches!(output, Output::Datagram { .. }), "{size}");
            outputs += 1;
            assert!(outputs < 100, "{size}");
        }
    }
    bench.hear_one(1, Kind::Hello, &hello);
    assert!(bench.sent_to(1).any(|sent| sent.has(Kind::HelloAck)));
}

#[test]
fn shots_come_from_a_budget_that_is_refilled() {
    let mut bench = Bench::<2>::new(1);
    let place = bench.mesh.peers.find(&key(1)).expect("configured");
    let fire = |bench: &mut Bench<2>| {
        bench.mesh.peers.get_mut(place).expect("configured").link.target = Some(endpoint(1).into());
        bench.mesh.may_fire(place, bench.now)
    };
    let most = TARGETS_PER_PEER as usize * 2;
    for wait in [0, 1000, 60_000] {
        bench.now += Duration::from_millis(wait);
        let shots = (0..100).take_while(|_| fire(&mut bench)).count();
        let refilled = (wait * u64::from(TARGETS_PER_SECOND) / 1000) as usize;
        assert_eq!(shots, if wait == 0 { most } else { refilled.min(most) }, "after {wait} ms");
    }
    assert_eq!(bench.mesh.counters().over_budget, 3);
}

#[test]
fn few_peers_share_one_public_endpoint() {
    let mut bench = Bench::<8>::new(5);
    for n in 1..=5 {
        bench.mesh.set_configured_endpoints(bench.now, &key(n), &[endpoint(1)]);
    }
    bench.poll();
    // Ours is the lower key: the other side goes first.
    bench.advance(FIRST_CONTACT_YIELD + Duration::from_millis(50));
    let tried = (1..=5).filter(|n| !targets(&bench, *n).is_empty()).count();
    assert_eq!(tried, PEERS_PER_TARGET);
    assert!(bench.mesh.counters().over_budget >= 3);

    // In one's own network that is nobody's business but one's own.
    let mut bench = Bench::<8>::new(5);
    for n in 1..=5 {
        bench.mesh.set_configured_endpoints(bench.now, &key(n), &[([192, 168, 1, 1], 4000).into()]);
    }
    bench.poll();
    // Ours is the lower key: the other side goes first.
    bench.advance(FIRST_CONTACT_YIELD + Duration::from_millis(50));
    assert!((1..=5).all(|n| !targets(&bench, n).is_empty()));
}

/// Whatever becomes of it, an endpoint that does not answer sees few packets of ours.
#[test]
fn endpoints_that_do_not_answer_are_left_in_peace() {
    let mut bench = Bench::<8>::new(7);
    for n in 1..=7 {
        bench.mesh.set_configured_endpoints(bench.now, &key(n), &[endpoint(n as u8)]);
    }
    bench.poll();
    bench.advance(Duration::from_secs(3600));
    for n in 1..=7 {
        let shots = targets(&bench, n).len();
        std::println!("node {n}: {shots} re-adds in an hour");
        // One handshake of 148 bytes every 5 s is 30 B/s; it is to stay under 60.
        assert!(shots <= 3600 / 5, "{shots} in an hour");
    }
    // Each try is told, and else only what changes.
    let shots: usize = (1..=7).map(|n| targets(&bench, n).len()).sum();
    let tries = bench.events.iter().filter(|event| matches!(event, Event::Attempt { .. })).count();
    assert!(tries <= shots && bench.events.len() - tries < 50, "{tries} of {}", bench.events.len());
}
