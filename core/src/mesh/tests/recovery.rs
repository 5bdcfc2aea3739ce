//! Peers that have moved, gone silent or lost us, and ourselves when we have moved.

extern crate std;

use core::net::IpAddr;
use std::vec;

use super::{
    bench::{Bench, behind_nat, intro, record},
    key,
};
use crate::{
    Duration, Instant, LinkState, NatClass, PeerAction, Reason,
    wire::{Hello, IntroReq, Kind, Role},
};

/// A home that is being asked in vain whether it is still there is somewhere else, perhaps: nobody is sent to where it was.
#[test]
fn nobody_is_introduced_to_a_peer_that_has_gone_silent() {
    let mut bench = Bench::<8>::connected(3, [1, 2, 3]);
    bench.advance(Duration::from_secs(20));
    bench.forget();
    bench.answering = vec![1];
    let request = IntroReq { target: key(2), round: 1, flags: 0 };
    bench.hear_one(1, Kind::IntroReq, &request);
    assert!(bench.sent_to(2).any(|sent| sent.has(Kind::Hello)), "it was not heard for long, and is asked");
    assert!(
        bench.sent_to(1).any(|sent| sent.has(Kind::Intro)),
        "as long as it may be there, they are introduced"
    );
    bench.forget();
    bench.advance(Duration::from_millis(500));
    bench.hear_one(1, Kind::IntroReq, &IntroReq { round: 2, ..request });
    assert!(bench.sent_to(1).any(|sent| sent.has(Kind::IntroNack)));
    assert!(!bench.sent_to(1).any(|sent| sent.has(Kind::Intro)));
}

#[test]
fn an_introduction_to_a_peer_that_does_not_hear_us_is_followed() {
    let intro = intro(2, Role::Initiate, crate::testing::at("203.0.113.99:7"));
    for heard in [true, false] {
        let mut bench = Bench::<8>::connected(2, [1, 2]);
        // Its daemon says goodbye, its WireGuard goes on.
        bench.answering = vec![1];
        bench.hear_bye(2);
        bench.advance(Duration::from_secs(7));
        assert_eq!(bench.state(2), LinkState::Mute);
        if heard {
            bench.tunnel.get_mut(&key(2)).expect("added").reading.rx_bytes += 32;
            bench.read();
        }
        bench.forget();
        bench.hear_one(1, Kind::Intro, &intro);
        assert_eq!(
            bench.actions.is_empty(),
            heard,
            "a session that works is left alone: {:?}",
            bench.actions
        );
    }
}

/// WireGuard in user space keeps the source address that it last used, also one that is gone.
#[test]
fn after_a_change_of_address_wireguard_is_given_its_endpoints_again() {
    let mut bench = Bench::<8>::connected(2, [1, 2]);
    bench.forget();
    bench.mesh.handle_local_addresses(bench.now, &[IpAddr::from([198, 51, 100, 2])]);
    bench.poll();
    for n in 1..=2 {
        let again = PeerAction::SetEndpoint(bench.endpoint_of(n));
        assert!(bench.actions.contains(&(key(n), again)), "{:?}", bench.actions);
        assert!(bench.sent_to(n).any(|sent| sent.has(Kind::Hello)));
    }
}

/// Both have lost each other, and only one knows it yet.
#[test]
fn who_is_summoned_by_a_peer_that_has_moved_follows_when_it_is_gone() {
    let moved = crate::testing::at("203.0.113.99:7");
    let intro = intro(2, Role::Initiate, moved);
    let mut bench = Bench::<8>::connected(2, [1, 2]);
    bench.mesh.allow_openers(bench.now, true);
    bench.advance(Duration::from_secs(5));
    bench.answering = vec![1];
    bench.forget();
    bench.hear_one(1, Kind::Intro, &intro);
    assert!(bench.openers.iter().any(|(to, ..)| *to == moved.into()));
    assert!(bench.actions.is_empty(), "it may be there still");
    bench.advance(Duration::from_millis(900));
    let fired = PeerAction::Readd { endpoint: Some(moved.into()) };
    assert_eq!(bench.actions.first(), Some(&(key(2), fired)));
}

/// We have moved and every link is dead: who is missed first asks those in vain who are missed a little later.
#[test]
fn who_could_introduce_nobody_and_has_come_back_is_asked_again_at_once() {
    for (comes_back, unknown_before) in [(false, false), (true, false), (true, true)] {
        let mut bench = Bench::<8>::connected(2, [1, 2]);
        bench.hear_records(1, &[record(2, 1, 1, "203.0.113.78:51820")]);
        bench.answering = vec![];
        bench.advance(Duration::from_secs(8));
        let places = [1, 2].map(|n| bench.mesh.peers.find(&key(n)).expect("a peer of ours"));
        bench.mesh.lose(places[1], bench.now, Reason::Silent);
        if unknown_before {
            // While it was switched off nobody could introduce us: that says nothing about what is between us.
            for _ in 0..8 {
                bench.mesh.give_up(places[1], bench.now, Reason::NotIntroduced);
            }
            bench.mesh.pursue(places[1], bench.now);
        }
        bench.advance(Duration::from_secs(3));
        assert!(bench.sent_to(1).any(|sent| sent.has(Kind::IntroReq)), "in vain");
        assert!(
            bench
                .actions
                .iter()
                .any(|(to, action)| *to == key(2) && matches!(action, PeerAction::Readd { .. }))
        );
        if comes_back {
            bench.mesh.lose(places[0], bench.now, Reason::Silent);
            bench.connect(1);
        }
        bench.answering = vec![1];
        bench.forget();
        bench.advance(Duration::from_secs(15));
        assert_eq!(bench.sent_to(1).any(|sent| sent.has(Kind::IntroReq)), comes_back);
    }
}

/// A pair that nobody knew for hours is tried as often, once somebody does, as any other.
#[test]
fn not_being_introduced_does_not_lengthen_the_pauses_of_later_efforts() {
    let mut bench = Bench::<8>::connected(2, [1]);
    bench.hear_records(1, &[record(2, 1, 1, "203.0.113.78:51820")]);
    let place = bench.mesh.peers.find(&key(2)).expect("a peer of ours");
    for _ in 0..10 {
        bench.mesh.give_up(place, bench.now, Reason::NotIntroduced);
    }
    bench.mesh.give_up(place, bench.now, Reason::NoAnswer);
    bench.forget();
    bench.advance(Duration::from_secs(40));
    assert!(bench.sent_to(1).any(|sent| sent.has(Kind::IntroReq)));
}

/// The only one who could introduce us is just being asked whether it is still there. It is, and nothing new comes up then.
#[test]
fn who_was_silent_for_a_moment_is_asked_a_little_later() {
    let mut bench = Bench::<8>::connected(2, [1]);
    bench.advance(Duration::from_secs(5));
    bench.answering = vec![];
    let place = |n: usize, bench: &Bench<8>| bench.mesh.peers.find(&key(n)).expect("a peer of ours");
    bench.mesh.probe(place(1, &bench), bench.now);
    bench.advance(Duration::from_millis(250));
    assert!(bench.mesh.peers.get(place(1, &bench)).is_some_and(|p| p.is_live() && !p.is_answering()));
    bench.hear_records(1, &[record(2, 1, 1, "203.0.113.78:51820")]);
    bench.mesh.pursue(place(2, &bench), bench.now);
    assert!(!bench.sent_to(1).any(|sent| sent.has(Kind::IntroReq)));
    bench.answering = vec![1];
    bench.advance(Duration::from_secs(5));
    assert_eq!(bench.state(1), LinkState::Connected);
    assert!(bench.sent_to(1).any(|sent| sent.has(Kind::IntroReq)), "{:?}", bench.reason(2));
}

/// Whoever sees that a link is silent asks for an introduction, and the other one may know of nothing: its router has another
/// address now, and its next keepalive, by the session that it has, would have told all.
#[test]
fn the_session_of_a_peer_that_went_silent_is_kept_until_it_wants_another() {
    for asked_by_it in [false, true] {
        let mut bench = Bench::<8>::connected(2, [1, 2]);
        bench.mesh.allow_openers(bench.now, true);
        for n in 1..=2 {
            // There is no NAT before ourselves.
            let hello = Hello { seen: Some(crate::testing::at("198.51.100.1:51820")), ..bench.hello() };
            bench.hear_one(n, Kind::Hello, &hello);
        }
        bench.hear_records(1, &[behind_nat(2)]);
        bench.advance(Duration::from_secs(8));
        bench.answering = vec![1];
        let place = bench.mesh.peers.find(&key(2)).expect("a peer of ours");
        bench.mesh.lose(place, bench.now, Reason::Silent);
        if asked_by_it {
            // Nobody has answered our own question by then.
            bench.mesh.give_up(place, bench.now, Reason::NotIntroduced);
        }
        bench.poll();
        bench.forget();
        bench.hear_one(1, Kind::Intro, &intro(2, Role::Open, crate::testing::at("203.0.113.2:51820")));
        bench.advance(Duration::from_millis(50));
        let readded = |bench: &Bench<8>| {
            bench.actions.iter().any(|(to, a)| *to == key(2) && matches!(a, PeerAction::Readd { .. }))
        };
        assert_eq!(readded(&bench), asked_by_it, "{:?}", bench.actions);
        if asked_by_it {
            continue;
        }
        let quiet = (key(2), PeerAction::SetKeepalive(0));
        assert!(bench.actions.contains(&quiet), "it keeps still otherwise: {:?}", bench.actions);
        // Nothing comes of several rounds, and then the keepalive.
        bench.advance(Duration::from_secs(20));
        assert!(!readded(&bench), "{:?}", bench.actions);
        assert_ne!(bench.state(2), LinkState::Connected);
        let moved = crate::testing::at("203.0.113.99:7").into();
        let shown = bench.tunnel.get_mut(&key(2)).expect("added");
        shown.reading.rx_bytes += 32;
        shown.reading.endpoint = Some(moved);
        bench.answering = vec![1, 2];
        bench.forget();
        bench.read();
        bench.poll();
        assert!(bench.sent_to(2).any(|sent| sent.has(Kind::Hello)));
        assert_eq!(bench.state(2), LinkState::Connected);
        assert!(!readded(&bench), "{:?}", bench.actions);
    }
}

/// We had given up when WireGuard came through by itself, of what users send all the time: no reading is without some of it.
#[test]
fn a_session_that_wireguard_made_by_itself_is_taken_up_while_users_talk() {
    let mut bench = Bench::<8>::connected(2, [1, 2]);
    bench.advance(Duration::from_secs(20));
    bench.answering = vec![1];
    let place = bench.mesh.peers.find(&key(2)).expect("a peer of ours");
    bench.mesh.lose(place, bench.now, Reason::Silent);
    // It is not doubted any more that the old session is dead.
    bench.mesh.peers.get_mut(place).expect("a peer of ours").link.doubt_until = Instant::MIN;
    bench.mesh.give_up(place, bench.now, Reason::NoAnswer);
    bench.poll();
    assert_eq!(bench.state(2), LinkState::Waiting);
    bench.answering = vec![1, 2];
    let came = |bytes: u64, bench: &mut Bench<8>| {
        let reading = &mut bench.tunnel.get_mut(&key(2)).expect("it is on the interface").reading;
        reading.rx_bytes += bytes;
        reading.tx_bytes += bytes;
    };
    bench.tunnel.get_mut(&key(2)).expect("it is on the interface").reading.last_handshake += 60;
    came(92, &mut bench);
    for _ in 0..60 {
        came(640, &mut bench);
        bench.read();
        bench.poll();
        bench.advance(Duration::from_secs(1));
    }
    assert_eq!(bench.state(2), LinkState::Connected);
    let ended =
        bench.actions.iter().any(|(to, action)| *to == key(2) && matches!(action, PeerAction::Readd { .. }));
    assert!(!ended, "users' session was ended: {:?}", bench.actions);
}

/// The peer's initiations come in all the time, and no session of them: we try as soon as if they were few.
#[test]
fn initiations_that_come_to_nothing_put_nothing_off() {
    let mut bench = Bench::<8>::connected(2, [1]);
    bench.hear_records(1, &[behind_nat(2)]);
    bench.advance(Duration::from_secs(60));
    let place = bench.mesh.peers.find(&key(2)).expect("a peer of ours");
    bench.mesh.give_up(place, bench.now, Reason::NoAnswer);
    bench.poll();
    bench.forget();
    for _ in 0..10 {
        bench.tunnel.get_mut(&key(2)).expect("it is on the interface").reading.rx_bytes += 148;
        bench.read();
        bench.poll();
        bench.advance(Duration::from_secs(1));
    }
    assert!(bench.sent_to(1).any(|sent| sent.has(Kind::IntroReq)), "it is tried again");
}

/// What is kept for whoever may be well is not kept for ever.
#[test]
fn a_session_that_nothing_came_by_for_half_a_minute_is_given_up() {
    let mut bench = Bench::<8>::connected(2, [1, 2]);
    bench.mesh.allow_openers(bench.now, true);
    bench.hear_records(1, &[behind_nat(2)]);
    bench.advance(Duration::from_secs(8));
    bench.answering = vec![1];
    let place = bench.mesh.peers.find(&key(2)).expect("a peer of ours");
    bench.mesh.lose(place, bench.now, Reason::Silent);
    bench.poll();
    bench.advance(Duration::from_secs(31));
    bench.mesh.reconsider(place, bench.now);
    bench.advance(Duration::from_millis(500));
    bench.forget();
    bench.hear_one(1, Kind::Intro, &intro(2, Role::Open, crate::testing::at("203.0.113.2:51820")));
    bench.advance(Duration::from_millis(50));
    assert!(bench.actions.contains(&(key(2), PeerAction::Readd { endpoint: None })), "{:?}", bench.actions);
}

/// A node was shut down, and nobody knows where it could be: WireGuard would try for ever where it was, because of the keepalive,
/// and take the node for an attacker when it comes back in 1970.
#[test]
fn who_is_nowhere_is_left_alone() {
    let mut bench = Bench::<8>::connected(2, [1, 2]);
    bench.hear_bye(2);
    bench.answering = vec![1];
    let place = bench.mesh.peers.find(&key(2)).expect("a peer of ours");
    bench.mesh.peers.get_mut(place).expect("a peer of ours").good.clear();
    bench.advance(Duration::from_secs(1));
    assert_ne!(bench.tunnel[&key(2)].reading.keepalive, 0, "its WireGuard may be well without its daemon");
    bench.advance(Duration::from_secs(60));
    let shown = &bench.tunnel[&key(2)].reading;
    assert_eq!((shown.endpoint, shown.keepalive), (None, 0), "{:?}", bench.actions);
    assert_ne!(bench.state(2), LinkState::Connected);
    // Once is enough.
    bench.forget();
    bench.advance(Duration::from_secs(600));
    assert!(!bench.actions.iter().any(|(to, _)| *to == key(2)), "{:?}", bench.actions);
}

/// A NAT shows everybody the same endpoint, and another than when we last got through to it: that one is nobody's.
#[test]
fn where_a_nat_was_seen_before_it_changed_is_no_candidate() {
    for (class, expected) in [(NatClass::EndpointIndependent, false), (NatClass::Translated, true)] {
        let mut bench = Bench::<8>::connected(2, [1, 2]);
        let place = bench.mesh.peers.find(&key(2)).expect("a peer of ours");
        let old = crate::Endpoint::from(bench.endpoint_of(2));
        assert!(bench.mesh.candidates(place, true).iter().any(|(e, _)| *e == old), "it got through there");
        let mut entry = record(2, 1, 1, "203.0.113.99:7");
        entry.claim.set_nats(class, NatClass::Unknown);
        bench.hear_records(2, &[entry]);
        let kept = bench.mesh.candidates(place, true).iter().any(|(e, _)| *e == old);
        assert_eq!(kept, expected, "{class:?}");
    }
}
