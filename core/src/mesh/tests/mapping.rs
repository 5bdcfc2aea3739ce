//! Port mappings: our own is published, and a peer's is where it is reached without punching.

extern crate std;

use super::{
    bench::{Bench, record},
    key,
};
use crate::{
    CandidateKind, Duration, NatClass,
    record::{Claim, Origin, RecordEndpoint},
    testing::at,
    wire::{Entry, Intro, IntroReq, Kind, Role},
};

const MAPPING: &str = "203.0.113.50:33723";
const SOON: Duration = Duration::from_secs(3);

fn published(bench: &Bench<8>) -> &Claim {
    &bench.published.as_ref().expect("it was published").claim
}

fn map(bench: &mut Bench<8>, mapped: &[&str]) {
    let mapped: std::vec::Vec<_> = mapped.iter().map(|m| m.parse().expect("an endpoint")).collect();
    bench.mesh.handle_port_mappings(bench.now, &mapped);
    bench.advance(SOON);
}

fn mapped(bench: &Bench<8>) -> std::vec::Vec<crate::Endpoint> {
    published(bench).of(Origin::Mapped).collect()
}

#[test]
fn a_mapping_is_published_and_withdrawn() {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    bench.advance(SOON);
    let before = published(&bench).clone();
    map(&mut bench, &[MAPPING]);
    assert_eq!(mapped(&bench), [at(MAPPING)]);
    assert_eq!(published(&bench).endpoints.len(), before.endpoints.len() + 1, "nothing else goes for it");
    // The same once more is no news.
    let order = published(&bench).order;
    map(&mut bench, &[MAPPING]);
    assert_eq!(published(&bench).order, order);
    map(&mut bench, &["203.0.113.51:33723", "[2001:db8::7]:51820"]);
    assert_eq!(mapped(&bench), [at("203.0.113.51:33723"), at("[2001:db8::7]:51820")]);
    map(&mut bench, &[]);
    assert_eq!(published(&bench).endpoints, before.endpoints);
}

#[test]
fn only_what_others_can_reach_is_published() {
    let mut bench = Bench::<8>::connected(3, [1]);
    for useless in ["10.0.0.1:33723", "100.64.0.1:33723", "203.0.113.50:0", "[fe80::1]:33723", "127.0.0.1:1"]
    {
        map(&mut bench, &[useless]);
        assert_eq!(mapped(&bench), [], "{useless}");
    }
    map(&mut bench, &["203.0.113.1:1", "203.0.113.2:1", "203.0.113.3:1"]);
    assert_eq!(mapped(&bench).len(), 2, "more than are kept");
}

#[test]
fn a_pinhole_is_published_once() {
    let mut bench = Bench::<8>::connected(3, [1]);
    // An IPv6 pinhole leads to an address of our own: it is in the record once, as the better of both.
    bench.mesh.handle_local_addresses(bench.now, &["2001:db8::7".parse().expect("an address")]);
    map(&mut bench, &["[2001:db8::7]:51820"]);
    let endpoints: std::vec::Vec<_> =
        published(&bench).endpoints.iter().filter(|e| e.endpoint == at("[2001:db8::7]:51820")).collect();
    assert_eq!(endpoints, [&RecordEndpoint::new(Origin::Mapped, at("[2001:db8::7]:51820"))]);
}

fn entry(n: usize, nat: NatClass, mapped: &[&str]) -> Entry {
    let mut entry = record(n, 1, 1, &std::format!("203.0.113.{}:7", 100 + n));
    entry.claim.set_nats(nat, NatClass::Unknown);
    for mapped in mapped {
        entry.claim.endpoints.push(RecordEndpoint::new(Origin::Mapped, at(mapped))).expect("room");
    }
    entry
}

#[test]
fn a_mapping_is_the_first_candidate_and_needs_no_introduction() {
    let mut bench = Bench::<8>::connected(3, [1]);
    for nat in [NatClass::EndpointDependent, NatClass::EndpointIndependent, NatClass::Unknown] {
        let mut record = entry(2, nat, &[MAPPING]);
        record.claim.order.seq += u32::from(nat.to_wire());
        bench.hear_records(1, &[record]);
        let place = bench.mesh.peers.find(&key(2)).expect("configured");
        let direct = bench.mesh.candidates(place, true);
        assert_eq!(direct.first(), Some(&(at(MAPPING), CandidateKind::Mapped)), "{nat:?}");
        let all = bench.mesh.candidates(place, false);
        assert_eq!(all.first(), direct.first());
        assert!(all.iter().any(|(_, kind)| *kind == CandidateKind::Published), "{all:?}");
    }
}

#[test]
fn every_other_round_aims_at_the_mapping() {
    for (round, kind) in
        [(1, CandidateKind::Mapped), (2, CandidateKind::Mediated), (3, CandidateKind::Mapped)]
    {
        let mut bench = Bench::<8>::connected(3, [1]);
        bench.hear_records(1, &[entry(2, NatClass::EndpointDependent, &[MAPPING])]);
        let intro = Intro {
            round,
            attempt: [round; 4],
            ..super::bench::intro(2, Role::Initiate, at("203.0.113.102:9"))
        };
        bench.hear_one(1, Kind::Intro, &intro);
        let place = bench.mesh.peers.find(&key(2)).expect("configured");
        let link = bench.mesh.peers.get(place).expect("configured").link;
        assert_eq!(link.kind, kind, "round {round}");
    }
}

/// What the engine, as mediator, tells nodes 1 and 2 when node 1 asks for the other in this round.
fn roles(one: Entry, two: Entry, round: u8) -> (Role, Role) {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    bench.hear_records(1, &[one]);
    bench.hear_records(2, &[two]);
    bench.forget();
    bench.hear_one(1, Kind::IntroReq, &IntroReq { target: key(2), round, flags: 0 });
    bench.advance(Duration::from_millis(10));
    let role = |n| {
        let intro: Intro = bench.sent_to(n).find_map(|s| s.first(Kind::Intro)).expect("introduced");
        intro.role().expect("a role")
    };
    (role(1), role(2))
}

#[test]
fn who_has_no_mapping_initiates_to_who_has() {
    use NatClass::{EndpointDependent as Hard, EndpointIndependent as Easy};
    let v6 = "[2001:db8::7]:51820";
    for (one, two, round, expected) in [
        ((Hard, None), (Easy, Some(MAPPING)), 1, (Role::Initiate, Role::Listen)),
        ((Easy, Some(MAPPING)), (Hard, None), 1, (Role::Listen, Role::Initiate)),
        ((Hard, Some(MAPPING)), (Easy, None), 1, (Role::Listen, Role::Initiate)),
        ((Hard, Some(MAPPING)), (Hard, None), 1, (Role::Listen, Role::Initiate)),
        // It did not work: the mapping is not what it was said to be, and the NATs alone decide.
        ((Hard, Some(MAPPING)), (Easy, None), 2, (Role::Initiate, Role::Open)),
        // Or its answer was lost.
        ((Hard, Some(MAPPING)), (Easy, None), 3, (Role::Open, Role::Initiate)),
        // Of no use to who has no IPv6.
        ((Hard, Some(v6)), (Easy, None), 1, (Role::Initiate, Role::Open)),
    ] {
        let of = |n, (nat, mapping): (_, Option<&str>)| entry(n, nat, mapping.as_slice());
        assert_eq!(roles(of(1, one), of(2, two), round), expected, "{one:?} {two:?} round {round}");
    }
}
