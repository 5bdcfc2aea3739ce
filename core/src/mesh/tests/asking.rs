//! Who is asked for an introduction, and in what order.

extern crate std;

use std::{vec, vec::Vec};

use super::{
    bench::{Bench, record},
    mesh_address,
};
use crate::{Duration, NatClass, wire::Kind};

/// Six are connected, 5 and 6 of them public ones, and all know of 7 by hearsay or better. Returns who is asked in one effort.
fn asked_for(age: u16) -> Vec<usize> {
    let mut bench = Bench::<16>::connected(7, 1..=6);
    for n in 1..=6 {
        let mut entry = record(n, 1, 1, "203.0.113.200:51820");
        let class = if n < 5 { NatClass::EndpointIndependent } else { NatClass::Open };
        entry.claim.set_nats(class, NatClass::Unknown);
        bench.hear_records(n, &[entry]);
    }
    bench.advance(Duration::from_secs(1));
    bench.forget();
    let mut subject = record(7, 1, 1, "203.0.113.7:51820");
    subject.claim.set_nats(NatClass::EndpointIndependent, NatClass::Unknown);
    subject.age = age;
    bench.hear_records(3, &[subject]);
    bench.advance(Duration::from_millis(1900));
    let asked = bench.sent.iter().filter(|sent| sent.has(Kind::IntroReq)).map(|sent| sent.to);
    asked.map(|to| (1..=6).find(|n| mesh_address(*n) == to).expect("a peer")).collect()
}

#[test]
fn each_is_asked_once_and_public_ones_first() {
    let asked = asked_for(100);
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(asked[..2].iter().all(|n| [5, 6].contains(n)), "{asked:?}");
    assert!(asked[2..].iter().all(|n| (1..5).contains(n)), "{asked:?}");
    let mut different = asked.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), 4, "{asked:?}");
}

/// A request may be lost.
#[test]
fn who_is_connected_to_it_is_asked_again() {
    let asked = asked_for(0);
    assert_eq!((asked[0], asked[2]), (3, 3), "{asked:?}");
    let mut others = vec![asked[1], asked[3]];
    others.sort_unstable();
    assert_eq!(others, [5, 6], "{asked:?}");
}
