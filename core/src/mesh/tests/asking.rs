//! Who is asked for an introduction, and in what order.

extern crate std;

use std::{collections::BTreeSet, vec::Vec};

use super::{
    bench::{Bench, behind_nat},
    key, mesh_address,
};
use crate::{
    Duration, NatClass, PeerAction,
    wire::{IntroNack, Kind},
};

/// Six are connected, 5 and 6 of them public ones, and 3 tells of 7, so many seconds after it was true.
fn told_of_another(age: u16) -> Bench<16> {
    let mut bench = Bench::<16>::connected(7, 1..=6);
    for n in 1..=6 {
        let mut entry = behind_nat(n);
        if n >= 5 {
            entry.claim.set_nats(NatClass::Open, NatClass::Unknown);
        }
        bench.hear_records(n, &[entry]);
    }
    bench.advance(Duration::from_secs(1));
    bench.forget();
    let mut subject = behind_nat(7);
    subject.age = age;
    bench.hear_records(3, &[subject]);
    bench
}

/// Who was asked for an introduction so far, one after the other.
fn asked<const N: usize>(bench: &Bench<N>) -> Vec<usize> {
    let asked = bench.sent.iter().filter(|sent| sent.has(Kind::IntroReq)).map(|sent| sent.to);
    asked.map(|to| (1..=6).find(|n| mesh_address(*n) == to).expect("a peer")).collect()
}

/// Lets time pass, and everybody who is asked refuse.
fn refuse(bench: &mut Bench<16>, reason: u8, duration: Duration) {
    let end = bench.now + duration;
    let mut refused = asked(bench).len();
    while bench.now < end {
        bench.advance(Duration::from_millis(10));
        for n in asked(bench).split_off(refused) {
            bench.hear_one(n, Kind::IntroNack, &IntroNack { target: key(7), reason, retry_ms: 0 });
            refused += 1;
        }
    }
}

#[test]
fn a_public_one_and_another_are_asked_in_turn() {
    let mut bench = told_of_another(100);
    bench.advance(Duration::from_millis(1900));
    let asked = asked(&bench);
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert_eq!(BTreeSet::from([asked[0], asked[2]]), BTreeSet::from([5, 6]), "{asked:?}");
    assert_eq!(BTreeSet::from_iter(&asked).len(), 4, "{asked:?}");
}

/// A request may be lost.
#[test]
fn who_is_connected_to_it_is_asked_again() {
    let mut bench = told_of_another(0);
    bench.advance(Duration::from_millis(1900));
    let asked = asked(&bench);
    assert_eq!((asked.len(), asked[0], asked[2]), (4, 3, 3), "{asked:?}");
    assert!([5, 6].contains(&asked[1]) && [1, 2, 4].contains(&asked[3]), "{asked:?}");
}

/// And not again, before two others, if it has lost the peer itself.
#[test]
fn who_refuses_is_not_asked_again_soon() {
    let mut bench = told_of_another(0);
    refuse(&mut bench, IntroNack::NOT_LIVE, Duration::from_millis(400));
    let asked = asked(&bench);
    assert_eq!((asked.len(), asked[0], BTreeSet::from_iter(&asked[..3]).len()), (4, 3, 3), "{asked:?}");
}

/// Whoever is connected to it only is found in time, however many there are.
#[test]
fn everybody_is_asked_at_last() {
    let mut bench = told_of_another(0);
    refuse(&mut bench, IntroNack::NOT_LIVE, Duration::from_secs(60));
    assert_eq!(BTreeSet::from_iter(asked(&bench)).len(), 6);
}

/// A mediator that has no time is waited for, and not for ever: one that lies would keep us from all others.
#[test]
fn who_never_has_time_is_passed_over() {
    let mut bench = told_of_another(0);
    refuse(&mut bench, IntroNack::BUSY, Duration::from_secs(20));
    let asked = asked(&bench);
    assert!(asked.iter().take(20).all(|n| *n == 3), "{asked:?}");
    assert!(BTreeSet::from_iter(&asked).len() > 3, "{asked:?}");
    assert!(asked.len() < 200, "asked {} times in twenty seconds", asked.len());
}

/// Somebody is being asked when WireGuard makes a session by itself: to be introduced would end it.
#[test]
fn who_is_there_needs_no_introduction() {
    let mut bench = told_of_another(0);
    bench.advance(Duration::from_millis(50));
    assert_eq!(asked(&bench), [3]);
    let reading = &mut bench.tunnel.get_mut(&key(7)).expect("it is on the interface").reading;
    (reading.rx_bytes, reading.last_handshake, reading.endpoint) =
        (732, 1, Some("203.0.113.7:51820".parse().expect("an endpoint")));
    bench.answering.push(7);
    bench.read();
    bench.poll();
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.state(7), crate::LinkState::Connected);
    assert_eq!(asked(&bench), [3]);
    assert!(!bench.actions.iter().any(|(_, action)| matches!(action, PeerAction::Readd { .. })));
}
