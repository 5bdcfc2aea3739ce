//! Where a node with both families is seen in the one in which it has no session.

extern crate std;

use core::net::{IpAddr, SocketAddr};
use std::vec::Vec;

use super::{
    bench::{Bench, record},
    key,
};
use crate::{
    Duration, Endpoint, NatClass, OPENER_MAGIC, Reason,
    limits::{OBSERVE_AGAIN, OBSERVE_TRIES, OBSERVE_WAIT},
    record::{Claim, Origin, RecordEndpoint},
    testing::at,
    wire::{Hello, Intro, Kind, Observe, Observed, Opener, Role},
};

const OUR_V6: &str = "[2001:db8:1::5]:51820";
const SHORTLY: Duration = Duration::from_millis(500);

/// Where a peer's own interface is, in both families.
fn own_endpoints(n: usize) -> [Endpoint; 2] {
    let v6: SocketAddr = std::format!("[2001:db8::{n}]:51820").parse().expect("an endpoint");
    [SocketAddr::from(([203, 0, 113, n as u8], 51820)).into(), v6.into()]
}

/// A home with both families, whose peers see it over IPv6 alone; they can hear openers.
fn home(local: &[IpAddr], peers: impl IntoIterator<Item = usize>) -> Bench<8> {
    let mut bench = Bench::new(4);
    bench.mesh.allow_openers(bench.now, true);
    bench.mesh.handle_local_addresses(bench.now, local);
    for n in peers {
        meet(&mut bench, n);
    }
    bench
}

fn dual() -> [IpAddr; 2] {
    ["192.168.1.5".parse().expect("an address"), at(OUR_V6).ip()]
}

fn meet(bench: &mut Bench<8>, n: usize) {
    bench.connect(n);
    let hello = Hello { token: [0; 4], seen: Some(at(OUR_V6)), ..bench.hello() };
    bench.hear_one(n, Kind::Hello, &hello);
    let mut entry = record(n, 1, 1, "203.0.113.9:9");
    entry.claim.set_flags(Claim::OPENERS);
    let own = own_endpoints(n).map(|e| RecordEndpoint::new(Origin::Local, e));
    entry.claim.endpoints = own.into_iter().collect();
    bench.hear_records(n, &[entry]);
}

/// The questions that were put to a peer.
fn asked(bench: &Bench<8>, n: usize) -> Vec<[u8; 4]> {
    bench.sent_to(n).filter_map(|sent| sent.first::<Observe>(Kind::Observe)).map(|o| o.token).collect()
}

fn answer(bench: &mut Bench<8>, n: usize, seen: &str) {
    let token = *asked(bench, n).last().expect("it was asked");
    bench.hear_one(n, Kind::Observed, &Observed { token, seen: at(seen) });
    bench.advance(SHORTLY);
}

fn published(bench: &Bench<8>) -> (Vec<Endpoint>, NatClass, NatClass) {
    let claim = &bench.published.as_ref().expect("it was published").claim;
    (claim.of(Origin::Reflexive).collect(), claim.nat_of(true), claim.nat_of(false))
}

#[test]
fn a_peer_is_asked_by_an_opener_in_the_other_family() {
    let mut bench = home(&dual(), [1]);
    bench.advance(SHORTLY);
    assert_eq!(asked(&bench, 1).len(), 1);
    let [v4, _] = own_endpoints(1);
    assert!(!bench.openers.is_empty());
    for (to, hops, _) in &bench.openers {
        assert_eq!((Endpoint::from(*to), *hops), (v4, None), "all the way, and in that family only");
    }
    answer(&mut bench, 1, "198.51.100.7:4321");
    bench.advance(Duration::from_secs(3));
    assert_eq!(published(&bench), ([at("198.51.100.7:4321")].into(), NatClass::Translated, NatClass::Open));
    // Nothing has changed since: nothing is asked.
    bench.forget();
    bench.advance(Duration::from_secs(3600));
    assert_eq!((asked(&bench, 1).len(), bench.openers.len()), (0, 0));
}

#[test]
fn two_views_tell_what_kind_of_nat_it_is() {
    for (second, class) in [
        ("198.51.100.7:4321", NatClass::EndpointIndependent),
        ("198.51.100.7:4322", NatClass::EndpointDependent),
    ] {
        let mut bench = home(&dual(), [1, 2, 3]);
        bench.advance(SHORTLY);
        assert_eq!([1, 2, 3].map(|n| asked(&bench, n).len()), [1, 1, 0], "two are enough");
        answer(&mut bench, 1, "198.51.100.7:4321");
        answer(&mut bench, 2, second);
        bench.advance(Duration::from_secs(3));
        assert_eq!(published(&bench).1, class);
    }
}

#[test]
fn only_who_has_both_families_and_is_not_seen_in_one_asks() {
    let [v4, v6] = dual();
    let public = "198.51.100.1".parse().expect("an address");
    for local in [&[v4][..], &[v6], &[public, v6]] {
        let mut bench = home(local, [1, 2]);
        bench.advance(SHORTLY);
        assert!(asked(&bench, 1).is_empty() && bench.openers.is_empty(), "{local:?}");
    }
    // A session tells as well, and better.
    let mut bench = home(&dual(), []);
    bench.connect(2);
    let hello = Hello { token: [0; 4], seen: Some(at("198.51.100.7:1")), ..bench.hello() };
    bench.hear_one(2, Kind::Hello, &hello);
    meet(&mut bench, 1);
    bench.advance(SHORTLY);
    assert!(asked(&bench, 1).is_empty() && bench.openers.is_empty());
}

#[test]
fn only_the_answer_to_the_question_counts() {
    let mut bench = home(&dual(), [1, 2]);
    bench.advance(SHORTLY);
    let [token, other] = [1, 2].map(|n| asked(&bench, n)[0]);
    let seen = at("198.51.100.66:66");
    for (from, wrong) in [
        (1, Observed { token: other, seen }),
        (2, Observed { token, seen }),
        (3, Observed { token, seen }),
        (1, Observed { token: [0; 4], seen }),
        (1, Observed { token, seen: at("10.1.2.3:66") }),
        (1, Observed { token, seen: at("[2001:db8::66]:66") }),
    ] {
        bench.hear_one(from, Kind::Observed, &wrong);
        bench.advance(Duration::from_millis(50));
        assert!(!published(&bench).0.contains(&wrong.seen), "{wrong:?}");
    }
    // Nor does a second one.
    answer(&mut bench, 1, "198.51.100.7:4321");
    bench.hear_one(1, Kind::Observed, &Observed { token, seen });
    bench.advance(SHORTLY);
    assert_eq!(published(&bench).0[0], at("198.51.100.7:4321"));
}

#[test]
fn who_does_not_answer_is_asked_again_and_then_another() {
    let mut bench = home(&dual(), [1, 2, 3]);
    bench.advance((OBSERVE_WAIT + SHORTLY) * u32::from(OBSERVE_TRIES + 1));
    let tries = usize::from(OBSERVE_TRIES);
    assert_eq!([1, 2].map(|n| asked(&bench, n).len()), [tries; 2]);
    assert!(!asked(&bench, 3).is_empty());
    bench.advance(Duration::from_secs(60));
    bench.forget();
    bench.advance(Duration::from_secs(600));
    assert_eq!((1..=3).map(|n| asked(&bench, n).len()).sum::<usize>(), 0, "it is left at that");
    // Until we are elsewhere.
    let elsewhere = ["192.168.7.5".parse().expect("an address"), at(OUR_V6).ip()];
    bench.mesh.handle_local_addresses(bench.now, &elsewhere);
    bench.advance(SHORTLY);
    assert!(!asked(&bench, 1).is_empty());
}

#[test]
fn a_view_is_renewed_for_who_needs_it() {
    let mut bench = home(&dual(), [1]);
    bench.advance(SHORTLY);
    answer(&mut bench, 1, "198.51.100.7:4321");
    bench.hear_records(1, &[record(2, 1, 1, "203.0.113.77:51820")]);
    bench.advance(OBSERVE_AGAIN);
    bench.forget();
    let intro = |attempt| Intro { attempt, ..super::bench::intro(2, Role::Open, at("203.0.113.77:51820")) };
    bench.hear_one(1, Kind::Intro, &intro([1, 2, 3, 4]));
    bench.advance(SHORTLY);
    assert_eq!(asked(&bench, 1).len(), 1);
    answer(&mut bench, 1, "198.51.100.7:5555");
    assert_eq!(published(&bench).0, [at("198.51.100.7:5555")]);
    bench.forget();
    bench.advance(Duration::from_secs(600));
    assert!(asked(&bench, 1).is_empty());
}

/// The other part: an opener is answered if it was announced, once, and to its sender alone.
#[test]
fn an_announced_opener_is_answered_once() {
    let mut bench = Bench::<8>::connected(2, [1, 2]);
    bench.mesh.allow_openers(bench.now, true);
    let token = [4, 3, 2, 1];
    let from: SocketAddr = "198.51.100.7:4321".parse().expect("an endpoint");
    let hear = |bench: &mut Bench<8>, n: usize, attempt| {
        let opener = Opener { attempt, from: key(n).short().to_be_bytes(), echo: [0; 4] };
        let sealed = bench.datagram(|writer| writer.frame(Kind::Opener, &opener));
        let mut opener = [&OPENER_MAGIC[..], &sealed].concat();
        bench.mesh.handle_opener(bench.now, from, &mut opener);
        bench.poll();
        let told = bench.sent.iter().filter_map(|s| Some((s.to, s.first::<Observed>(Kind::Observed)?)));
        told.collect::<Vec<_>>()
    };
    assert!(hear(&mut bench, 1, token).is_empty(), "not announced");
    bench.hear_one(1, Kind::Observe, &Observe { token });
    assert!(hear(&mut bench, 2, token).is_empty(), "announced by another");
    assert!(hear(&mut bench, 1, [4, 3, 2, 2]).is_empty(), "not the one that was announced");
    let told = Observed { token, seen: from.into() };
    assert_eq!(hear(&mut bench, 1, token), [(super::mesh_address(1), told)]);
    assert_eq!(hear(&mut bench, 1, token).len(), 1, "and never again");
    assert_eq!(hear(&mut bench, 1, [0; 4]).len(), 1);
}

#[test]
fn a_peer_of_another_family_is_out_of_reach_until_that_changes() {
    let mut bench = home(&[dual()[1]], [1]);
    bench.hear_records(1, &[record(2, 1, 1, "203.0.113.77:51820")]);
    bench.advance(SHORTLY);
    assert_eq!(bench.reason(2), Some(Reason::NoCommonFamily));
    bench.forget();
    bench.advance(Duration::from_secs(600));
    assert!(bench.sent.iter().all(|sent| !sent.has(Kind::IntroReq)), "nobody is asked");
    bench.mesh.handle_local_addresses(bench.now, &dual());
    bench.advance(SHORTLY);
    assert!(bench.sent.iter().any(|sent| sent.has(Kind::IntroReq)));
}
