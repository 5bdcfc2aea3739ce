//! What WireGuard shows: who owns an address, what was changed behind our back, and how often it is looked at.

extern crate std;

use core::net::IpAddr;
use std::{vec, vec::Vec};

use super::{
    bench::{Bench, Shown, reading},
    key, mesh_address,
};
use crate::{
    CandidateKind, Duration, Event, LinkState, Mesh, NatClass, PeerAction, Reason,
    limits::{KEEPALIVE_FROM_NAT, KEEPALIVE_SENDER, KEEPALIVE_TO_NAT, WAITING_GRACE},
    record::{Claim, Origin, RecordEndpoint},
    wire::{Hello, Kind},
};

fn allowed(texts: &[&str]) -> Vec<(IpAddr, u8)> {
    let parse = |text: &&str| {
        let (address, prefix) = text.split_once('/').expect("address/prefix");
        (address.parse().expect("an address"), prefix.parse().expect("a prefix length"))
    };
    texts.iter().map(parse).collect()
}

/// Whether node 1, at this address, is vouched for by WireGuard, and whether somebody else has its address for himself.
fn owns(address: &str, own: &[&str], foreign: &[&str]) -> (bool, bool) {
    let mut answers = Vec::new();
    // The order of peers in a reading means nothing.
    for foreign_first in [false, true] {
        let mut mesh = Mesh::<2>::new();
        let now = crate::Instant::from_secs(1);
        mesh.add_peer(now, key(1), address.parse().expect("an address")).expect("room");
        mesh.handle_interface(
            now,
            Some(crate::Interface { index: 1, public_key: key(0), listen_port: 51820 }),
        );
        let mut peers = [(reading(1, None), allowed(own)), (reading(5, None), allowed(foreign))];
        if foreign_first {
            peers.reverse();
        }
        mesh.begin_reading();
        for (reading, allowed_ips) in peers {
            mesh.handle_reading(now, &reading, allowed_ips);
        }
        mesh.end_reading(now);
        let place = mesh.peers.find(&key(1)).expect("just added");
        let view = mesh.peers.get(place).expect("just found").view;
        answers.push((view.owns_address, view.address_taken));
    }
    assert_eq!(answers[0], answers[1]);
    answers[0]
}

#[test]
fn the_longest_prefix_decides_who_owns_an_address() {
    const OWN: (bool, bool) = (true, false);
    const TAKEN: (bool, bool) = (false, true);
    const OTHER: (bool, bool) = (false, false);
    for (own, foreign, expected) in [
        (&["10.0.0.2/32"][..], &[][..], OWN),
        (&["10.0.0.2/32"], &["10.0.0.0/24", "0.0.0.0/0"], OWN),
        (&["10.0.0.0/24"], &["10.0.0.0/16"], OWN),
        (&["0.0.0.0/0"], &["10.0.1.0/24"], OWN),
        (&["10.0.0.9/32", "10.0.0.0/30"], &["10.0.0.0/29"], OWN),
        (&["10.0.0.0/24"], &["10.0.0.2/32"], TAKEN),
        (&["0.0.0.0/0"], &["10.0.0.2/32"], TAKEN),
        (&[], &["10.0.0.2/32"], TAKEN),
        (&["10.0.0.0/24"], &["10.0.0.0/25"], OTHER),
        (&["10.0.0.0/24"], &["10.0.0.128/25"], OWN),
        (&[], &["0.0.0.0/0"], OTHER),
        (&["10.0.0.9/32"], &[], OTHER),
        (&["::/0"], &[], OTHER),
        // No such prefix length.
        (&["10.0.0.2/33"], &[], OTHER),
        (&["10.0.0.2/32"], &["10.0.0.2/255"], OWN),
    ] {
        assert_eq!(owns("10.0.0.2", own, foreign), expected, "own {own:?}, foreign {foreign:?}");
    }
    for (own, foreign, expected) in [
        (&["fd00::2/128"][..], &["fd00::/64", "::/0"][..], OWN),
        (&["::/0"], &["fd00:1::/32"], OWN),
        (&["fd00::/64"], &["fd00::2/128"], TAKEN),
        (&["fd00::/64"], &["fd00::/65"], OTHER),
        (&["fd00::/127"], &["fd00::4/127"], OTHER),
        (&["fd00::2/127"], &["fd00::4/127"], OWN),
        (&["0.0.0.0/0"], &[], OTHER),
    ] {
        assert_eq!(owns("fd00::2", own, foreign), expected, "own {own:?}, foreign {foreign:?}");
    }
}

#[test]
fn a_peer_whose_address_somebody_else_has_is_not_listened_to() {
    let mut bench = Bench::<8>::connected(2, [1]);
    // WireGuard moves an allowed IP to whoever was given it last.
    bench.tunnel.get_mut(&key(1)).expect("added").allowed_ips.clear();
    bench
        .tunnel
        .insert(key(9), Shown { reading: reading(9, None), allowed_ips: vec![(mesh_address(1), 32)] });
    bench.read();
    bench.poll();
    assert!(bench.has_event(|e| matches!(e, Event::Lost { key: k, .. } if *k == key(1))));
    bench.forget();
    let hello = bench.hello();
    bench.hear_one(1, Kind::Hello, &hello);
    assert_eq!((bench.mesh.counters().dropped_stranger, bench.sent.len()), (1, 0));
    bench.answering.clear();
    bench.advance(Duration::from_secs(60) + WAITING_GRACE);
    assert_eq!((bench.state(1), bench.reason(1)), (LinkState::Waiting, Some(Reason::AddressTaken)));
    assert!(bench.actions.is_empty(), "what the user has set stays: {:?}", bench.actions);

    // The user takes it back.
    bench.tunnel.remove(&key(9));
    bench.tunnel.get_mut(&key(1)).expect("still there").allowed_ips = vec![(mesh_address(1), 32)];
    bench.answering = vec![1];
    bench.advance(Duration::from_secs(10));
    assert_eq!((bench.state(1), bench.reason(1)), (LinkState::Connected, None));
    assert!(bench.actions.is_empty(), "its session was still there: {:?}", bench.actions);
}

#[test]
fn an_address_that_is_free_again_is_noticed() {
    let mut bench = Bench::<8>::new(1);
    bench.mesh.set_configured_endpoints(bench.now, &key(1), &[bench.endpoint_of(1)]);
    bench.tunnel.get_mut(&key(1)).expect("added").allowed_ips.clear();
    bench
        .tunnel
        .insert(key(9), Shown { reading: reading(9, None), allowed_ips: vec![(mesh_address(1), 32)] });
    bench.advance(Duration::from_secs(120));
    assert_eq!(bench.reason(1), Some(Reason::AddressTaken));
    bench.tunnel.remove(&key(9));
    bench.forget();
    bench.advance(Duration::from_secs(11));
    assert!(
        bench
            .actions
            .iter()
            .any(|(k, a)| *k == key(1) && matches!(a, PeerAction::Readd { endpoint: Some(_) })),
        "{:?}, {:?}",
        bench.reason(1),
        bench.actions
    );
}

#[test]
fn a_peer_taken_out_of_the_interface_is_put_back() {
    let mut bench = Bench::<8>::connected(2, [1]);
    bench.tunnel.remove(&key(1));
    bench.advance(Duration::from_secs(6));
    assert!(bench.has_event(|e| matches!(e, Event::Lost { key: k, .. } if *k == key(1))));
    assert!(bench.actions.iter().any(|(k, a)| *k == key(1) && matches!(a, PeerAction::Add { .. })));
    assert!(bench.tunnel.contains_key(&key(1)));
}

#[test]
fn the_users_keepalive_stands() {
    let mut bench = Bench::<8>::new(2);
    bench.tunnel.get_mut(&key(1)).expect("added").reading.keepalive = 7;
    bench.read();
    bench.connect(1);
    bench.connect(2);
    let set = |n: usize, bench: &Bench<8>| {
        let of = bench.actions.iter().rev().filter(move |(k, _)| *k == key(n));
        of.filter_map(|(_, a)| if let PeerAction::SetKeepalive(s) = a { Some(*s) } else { None }).next()
    };
    assert_eq!((set(1, &bench), set(2, &bench)), (None, Some(KEEPALIVE_SENDER)));
    // The user changes it while the link is up.
    bench.tunnel.get_mut(&key(2)).expect("added").reading.keepalive = 60;
    bench.forget();
    bench.advance(Duration::from_secs(60));
    assert_eq!(set(2, &bench), None);
    assert_eq!(bench.tunnel[&key(2)].reading.keepalive, 60);
}

#[test]
fn a_peer_that_roams_is_told() {
    let mut bench = Bench::<8>::connected(2, [1]);
    let endpoint = bench.endpoint_of(77);
    bench.tunnel.get_mut(&key(1)).expect("added").reading.endpoint = Some(endpoint);
    bench.advance(Duration::from_secs(6));
    assert!(bench.has_event(|e| *e == Event::Moved { key: key(1), endpoint, kind: CandidateKind::Roamed }));
    assert!(bench.actions.is_empty());
}

#[test]
fn an_idle_interface_is_read_seldom() {
    let mut bench = Bench::<8>::connected(1, [1]);
    // At first every five seconds, and then every twelve.
    for (seconds, expected) in [(25, 5..=7), (12, 1..=2), (600, 49..=55)] {
        let before = bench.mesh.counters().readings;
        bench.advance(Duration::from_secs(seconds));
        let readings = bench.mesh.counters().readings - before;
        assert!(expected.contains(&readings), "{readings} in {seconds} s");
    }
    // A user's traffic begins.
    bench.tunnel.get_mut(&key(1)).expect("added").reading.tx_bytes += 10_000;
    bench.tunnel.get_mut(&key(1)).expect("added").reading.rx_bytes += 10_000;
    bench.advance(Duration::from_secs(10));
    let before = bench.mesh.counters().readings;
    bench.advance(Duration::from_secs(25));
    let readings = bench.mesh.counters().readings - before;
    assert!((5..=7).contains(&readings), "{readings} in the 25 s after traffic");
}

#[test]
fn a_reading_that_does_not_come_is_asked_for_once_a_second() {
    let mut bench = Bench::<8>::new(1);
    let mut asked = 0;
    let end = bench.now + Duration::from_secs(10);
    let mut rng = crate::testing::Counting(0);
    while let Some(at) = bench.mesh.poll_timeout().filter(|at| *at <= end) {
        bench.mesh.handle_timeout(at, &mut rng);
        while let Some(output) = bench.mesh.poll(at, &mut rng, &mut [0; crate::limits::MAX_DATAGRAM]) {
            asked += usize::from(output == crate::Output::ReadInterface);
        }
    }
    assert!((5..=11).contains(&asked), "{asked} in ten seconds");
}

/// How many seconds until a connected peer is asked whether it is still there, when from now on WireGuard's counters of
/// bytes (received, sent) grow by so much every five seconds.
fn asked_after(bench: &mut Bench<8>, mut traffic: impl FnMut(u64) -> (u64, u64)) -> u64 {
    bench.forget();
    for second in (0..1200).step_by(5) {
        let (received, sent) = traffic(second);
        let shown = &mut bench.tunnel.get_mut(&key(1)).expect("added").reading;
        shown.rx_bytes += received;
        shown.tx_bytes += sent;
        bench.advance(Duration::from_secs(5));
        if bench.sent_to(1).any(|sent| sent.has(Kind::Hello)) {
            return second + 5;
        }
    }
    u64::MAX
}

/// One that compares no digests, so that each Hello is a question.
fn connected_for_long() -> Bench<8> {
    let mut bench = Bench::<8>::connected(1, [1]);
    bench.advance(Duration::from_secs(100));
    bench.answering.clear();
    bench.mesh.stop_comparing();
    bench
}

#[test]
fn silence_means_something_where_a_keepalive_is_due() {
    let every = |period: u64, second: u64| if second.is_multiple_of(period) { 32 } else { 0 };
    // WireGuard puts off its own keepalive by one that it hears: one side sends them all.
    let bench = &mut connected_for_long();
    assert_eq!(asked_after(bench, |second| (every(25, second), 0)), u64::MAX, "the peer sends them");
    let after = asked_after(bench, |second| (if second == 0 { 32 } else { 0 }, 0));
    assert!((25..=40).contains(&after), "and then no more: asked after {after} s");
    let bench = &mut connected_for_long();
    let after = asked_after(bench, |second| (0, every(25, second)));
    assert!((150..=240).contains(&after), "we send them and hear nothing: asked after {after} s");
    // New keys every two minutes are a sign of life.
    let bench = &mut connected_for_long();
    let keys = |second: u64| if second.is_multiple_of(120) { (92, 180) } else { (0, every(25, second)) };
    assert_eq!(asked_after(bench, keys), u64::MAX);
    // Traffic that is not answered.
    let bench = &mut connected_for_long();
    let after = asked_after(bench, |_| (0, 1500));
    assert!(after <= 15, "asked after {after} s");
    // Ours goes out when the peer's did not come: that is asked about at once, and where it is well, not every time.
    let bench = &mut connected_for_long();
    assert_eq!(asked_after(bench, |second| (every(20, second), 0)), u64::MAX, "the peer sends them");
    bench.advance(Duration::from_secs(1));
    let after = asked_after(bench, |second| (0, if second == 0 { 32 } else { 0 }));
    assert!(after <= 10, "asked after {after} s");
    let bench = &mut connected_for_long();
    let in_turn = |second| (every(50, second), every(50, second + 25));
    assert_eq!(asked_after(bench, in_turn), u64::MAX, "both have the same interval, and send them in turn");
}

#[test]
fn a_link_with_nothing_in_its_way_needs_no_keepalive() {
    for (guarded, expected) in [(false, 0), (true, KEEPALIVE_SENDER)] {
        let mut bench = Bench::<8>::new(3);
        for n in 1..=3 {
            // Whom we have sent nothing reaches us; the guarded one had been called first.
            if guarded {
                bench.tunnel.get_mut(&key(n)).expect("added").reading.tx_bytes = 148;
                bench.read();
            }
            bench.connect(n);
            let mut entry = super::bench::record(n, 1, 1, "203.0.113.99:9");
            let here = crate::Endpoint::from(bench.endpoint_of(n));
            entry.claim.endpoints.clear();
            entry.claim.endpoints.push(RecordEndpoint::new(Origin::Local, here)).expect("room");
            entry.claim.set_flags(Claim::REACHABLE_V4);
            bench.hear_records(n, &[entry]);
            let hello = Hello { seen: Some(crate::testing::at("198.51.100.1:51820")), ..bench.hello() };
            bench.hear_one(n, Kind::Hello, &hello);
        }
        bench.advance(Duration::from_secs(20));
        let keepalives: Vec<u16> = bench.tunnel.values().map(|shown| shown.reading.keepalive).collect();
        assert_eq!(keepalives, [expected; 3], "guarded: {guarded}");
    }
}

/// Who is behind a NAT hears when a keepalive does not come, and can do something about it. The other side can only wait.
#[test]
fn keepalives_are_sent_towards_a_nat_rather_than_out_of_it() {
    let open = (NatClass::Open, "198.51.100.1:51820");
    let translated = (NatClass::EndpointIndependent, "203.0.113.200:7");
    let unknown = NatClass::Unknown;
    for (theirs, seen, expected) in [
        (translated.0, open.1, KEEPALIVE_TO_NAT),
        (open.0, translated.1, KEEPALIVE_FROM_NAT),
        (translated.0, translated.1, KEEPALIVE_SENDER),
        (open.0, open.1, KEEPALIVE_SENDER),
        (unknown, translated.1, KEEPALIVE_SENDER),
    ] {
        let mut bench = Bench::<8>::connected(1, [1]);
        let mut entry = super::bench::record(1, 1, 1, "203.0.113.1:51820");
        entry.claim.set_nats(theirs, unknown);
        bench.hear_records(1, &[entry]);
        let hello = Hello { seen: Some(crate::testing::at(seen)), ..bench.hello() };
        bench.hear_one(1, Kind::Hello, &hello);
        bench.advance(Duration::from_secs(20));
        assert_eq!(
            bench.tunnel[&key(1)].reading.keepalive,
            expected,
            "it is {theirs:?}, and we seen at {seen}"
        );
    }
}

#[test]
fn who_sees_itself_moved_asks_everybody() {
    let mut bench = Bench::<8>::connected(3, [1, 2, 3]);
    let seen = |bench: &mut Bench<8>, n, at| {
        let hello = Hello { seen: Some(crate::testing::at(at)), token: [0; 4], ..bench.hello() };
        bench.hear_one(n, Kind::Hello, &hello);
    };
    for n in 1..=3 {
        seen(&mut bench, n, "203.0.113.200:1");
    }
    bench.forget();
    seen(&mut bench, 2, "203.0.113.201:2");
    assert!((1..=3).all(|n| bench.sent_to(n).any(|sent| sent.has(Kind::Hello))));
    assert!(bench.actions.is_empty(), "nothing is touched that may be well: {:?}", bench.actions);
}

#[test]
fn after_a_sleep_everybody_is_asked() {
    let mut bench = Bench::<8>::connected(2, [1, 2]);
    bench.advance(Duration::from_secs(100));
    bench.forget();
    bench.now += Duration::from_secs(8 * 3600);
    bench.advance(Duration::from_ticks(0));
    assert!((1..=2).all(|n| bench.sent_to(n).any(|sent| sent.has(Kind::Hello))));
    assert!((1..=2).all(|n| bench.state(n) == LinkState::Connected), "they have answered");
}

/// Somebody else has removed the peer and added it again: a handshake that WireGuard has forgotten is none.
#[test]
fn a_peer_that_is_made_anew_has_had_no_handshake() {
    let mut bench = Bench::<8>::connected(2, [1, 2]);
    let handshake = |bench: &Bench<8>| {
        let status = bench.mesh.peers().find(|p| p.key == key(2)).expect("a peer of ours");
        (status.handshake_at.is_some(), status.had_handshake)
    };
    assert_eq!(handshake(&bench), (true, true));
    bench.tunnel.get_mut(&key(2)).expect("added").reading = reading(2, None);
    bench.read();
    assert_eq!(handshake(&bench), (false, false));
}

#[test]
fn a_prefix_covers_what_it_says_and_one_that_is_too_long_only_itself() {
    let covers = |network: &str, prefix, address: &str| {
        super::super::reading::covers(
            network.parse().expect("an address"),
            prefix,
            address.parse().expect("an address"),
        )
    };
    assert!(covers("10.0.0.0", 0, "192.0.2.1") && covers("::", 0, "2001:db8::1"));
    assert!(covers("10.1.0.0", 16, "10.1.2.3") && !covers("10.1.0.0", 16, "10.2.2.3"));
    assert!(covers("fe80::", 64, "fe80::1") && !covers("fe80::", 64, "fe80:0:0:1::1"));
    for prefix in [33, 129, u8::MAX] {
        assert!(
            covers("10.1.0.1", prefix, "10.1.0.1") && !covers("10.1.0.1", prefix, "10.1.0.2"),
            "{prefix}"
        );
    }
    for prefix in [129, u8::MAX] {
        assert!(covers("fe80::1", prefix, "fe80::1") && !covers("fe80::1", prefix, "fe80::2"), "{prefix}");
    }
    assert!(!covers("10.0.0.0", 0, "::"));
}
