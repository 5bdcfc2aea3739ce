//! What a node publishes about itself, and what it does about records of itself that it did not make.

extern crate std;

use std::vec::Vec;

use super::{
    bench::{Bench, record},
    key, mesh_address,
};
use crate::{
    Duration, Event, NatClass,
    limits::{MAX_REFUTATIONS, PUSH_DELAY, REFUTATION_PAUSE, REFUTATION_WINDOW},
    record::{Claim, Order, Origin},
    testing::at,
    wire::{Hello, Kind},
};

const A: &str = "203.0.113.40:1000";
const SHORTLY: Duration = Duration::from_millis(100);
/// Long enough for a change of any detail to be published.
const SOON: Duration = Duration::from_secs(3);

/// The last record that was sent out.
fn published(bench: &Bench<8>) -> &Claim {
    &bench.published.as_ref().expect("it was published").claim
}

/// A peer passes on a record of ourselves that is so much newer than ours.
fn impersonated(bench: &mut Bench<8>, ahead: u32) -> Order {
    let ours = bench.mesh.own.claim.order;
    let theirs = record(0, ours.incarnation + ahead, ours.seq + 5, A);
    bench.hear_records(1, core::slice::from_ref(&theirs));
    bench.advance(SHORTLY);
    theirs.claim.order
}

#[test]
fn the_first_record_says_who_and_where_we_are() {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    bench.advance(SOON);
    let claim = published(&bench);
    assert_eq!(claim.port, super::PORT);
    assert_eq!(claim.of(Origin::Local).next(), Some(at("198.51.100.1:51820")));
    assert_eq!(claim.order.incarnation, 1);
    assert_ne!(bench.mesh.node().digest, 0);
}

/// An address that comes or goes is told to everybody before any timer but that of the batch has run out.
#[test]
fn a_change_of_our_addresses_is_published_at_once() {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    bench.advance(SOON);
    let (stays, comes) = ("198.51.100.1:51820", "198.51.100.77:51820");
    for expected in [&[stays, comes][..], &[stays], &[comes], &[]] {
        let expected: Vec<_> = expected.iter().map(|endpoint| at(endpoint)).collect();
        let addresses: Vec<_> = expected.iter().map(|endpoint| endpoint.ip()).collect();
        bench.forget();
        bench.mesh.handle_local_addresses(bench.now, &addresses);
        bench.poll();
        bench.advance(PUSH_DELAY + PUSH_DELAY);
        for n in [1, 2] {
            let records = bench.records_sent_to(n);
            let own = records.iter().rfind(|entry| entry.id == key(0));
            let local = own.map(|entry| entry.claim.of(Origin::Local).collect::<Vec<_>>());
            assert_eq!(local.as_ref(), Some(&expected), "node {n}");
        }
    }
}

#[test]
fn nothing_is_published_while_nothing_changes() {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    // Within minutes every peer has told that it holds the latest.
    bench.advance(Duration::from_secs(600));
    let order = published(&bench).order;
    bench.forget();
    bench.advance(Duration::from_secs(3600));
    assert_eq!(published(&bench).order, order);
    for sent in &bench.sent {
        assert!(!sent.has(Kind::Rumor), "at {} to {}: {:?}", sent.at, sent.to, sent.frames);
    }
}

#[test]
fn a_newer_record_of_ourselves_is_left_behind() {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    for ahead in [0, 1, 1000] {
        bench.forget();
        let theirs = impersonated(&mut bench, ahead);
        let ours = published(&bench).order;
        assert_eq!(ours, Order { incarnation: theirs.incarnation + 1, seq: 1 });
        // Everybody hears of it, also who brought the other one.
        for n in [1, 2] {
            assert!(bench.records_sent_to(n).iter().any(|entry| entry.claim.order == ours), "node {n}");
        }
    }
    assert!(!bench.has_event(|e| *e == Event::OwnKeyElsewhere));
}

#[test]
fn our_own_record_and_older_ones_are_no_threat() {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    bench.advance(SOON);
    let ours = bench.published.clone().expect("it was published");
    let mut older = ours.clone();
    older.claim.order.seq -= 1;
    bench.hear_records(1, &[ours.clone(), older]);
    bench.advance(SHORTLY);
    assert_eq!(bench.mesh.own.claim, ours.claim);
    // The same number on another content is: two nodes have our key, or one that lost its memory.
    let mut other = ours.clone();
    other.claim.degree += 1;
    bench.hear_records(1, &[other]);
    assert_eq!(bench.mesh.own.claim.order.incarnation, ours.claim.order.incarnation + 1);
}

/// After a restart we begin with 1 again, and the first peer that says what it holds of us tells us better.
#[test]
fn what_a_peer_holds_of_us_is_left_behind() {
    let mut bench = Bench::<8>::connected(3, [1]);
    let holds = Order { incarnation: 4, seq: 17 };
    let hello = Hello { holds, ..bench.hello() };
    bench.hear_one(1, Kind::Hello, &hello);
    assert_eq!(bench.mesh.own.claim.order, Order { incarnation: 5, seq: 1 });
}

#[test]
fn a_quarrel_over_our_key_is_told_and_slowed_down() {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    bench.advance(SOON);
    for _ in 0..MAX_REFUTATIONS {
        impersonated(&mut bench, 1);
    }
    assert!(!bench.has_event(|e| *e == Event::OwnKeyElsewhere), "up to here it may be an accident");
    let theirs = impersonated(&mut bench, 1);
    assert!(bench.has_event(|e| *e == Event::OwnKeyElsewhere));
    assert_eq!(published(&bench).order.incarnation, theirs.incarnation + 1);

    bench.forget();
    let before = published(&bench).order;
    for _ in 0..10 {
        impersonated(&mut bench, 1);
        bench.advance(Duration::from_secs(5));
    }
    assert_eq!(published(&bench).order, before, "hushed");
    assert!(!bench.has_event(|e| *e == Event::OwnKeyElsewhere));
    bench.advance(REFUTATION_PAUSE);
    let theirs = impersonated(&mut bench, 1);
    assert_eq!(published(&bench).order.incarnation, theirs.incarnation + 1, "once in a while we insist");
    assert!(bench.has_event(|e| *e == Event::OwnKeyElsewhere));

    // When it has been quiet for long, it may be an accident again.
    bench.advance(REFUTATION_WINDOW);
    bench.forget();
    impersonated(&mut bench, 1);
    assert!(!bench.has_event(|e| *e == Event::OwnKeyElsewhere));
}

/// Peers 1 and 2 see us there.
fn class(seen: [&str; 2]) -> NatClass {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    for (n, seen) in [1, 2].into_iter().zip(seen).filter(|(_, seen)| !seen.is_empty()) {
        let hello = Hello { seen: Some(at(seen)), ..bench.hello() };
        bench.hear_one(n, Kind::Hello, &hello);
    }
    bench.advance(SOON);
    let nats = bench.mesh.node().nats;
    assert_eq!(published(&bench).nats(), nats);
    // Each case is of one family.
    if nats.v4 == NatClass::Unknown { nats.v6 } else { nats.v4 }
}

#[test]
fn what_is_in_front_of_us_is_told_by_how_others_see_us() {
    for (seen, expected) in [
        (["", ""], NatClass::Unknown),
        (["198.51.100.1:51820", "198.51.100.1:51820"], NatClass::Open),
        (["203.0.113.99:7", ""], NatClass::Translated),
        (["203.0.113.99:7", "203.0.113.99:7"], NatClass::EndpointIndependent),
        (["203.0.113.99:7", "203.0.113.99:8"], NatClass::EndpointDependent),
        // Where somebody in our own network sees us says nothing.
        (["203.0.113.99:7", "192.168.1.5:51820"], NatClass::Translated),
    ] {
        assert_eq!(class(seen), expected, "{seen:?}");
    }
}

#[test]
fn an_entry_for_ourselves_is_no_peer() {
    let mut bench = Bench::<8>::connected(2, [1]);
    bench.mesh.add_peer(bench.now, key(0), mesh_address(0)).expect("room");
    bench.poll();
    bench.advance(Duration::from_secs(60));
    assert_eq!(bench.mesh.node().address, Some(mesh_address(0)));
    assert_eq!(bench.mesh.node().peers, 2);
    assert!(bench.actions.iter().all(|(k, _)| *k != key(0)));
    assert!(bench.sent.iter().all(|sent| sent.to != mesh_address(0)));
    assert!(bench.mesh.remove_peer(bench.now, &key(0)));
    assert_eq!(bench.mesh.node().address, None);
}
