//! Openers, and what is said of NATs that no opener opens.

extern crate std;

use core::net::{IpAddr, SocketAddr};
use std::{vec, vec::Vec};

use super::{
    bench::{self, Bench, record},
    key,
};
use crate::{
    Duration, LinkState, NatClass, OPENER_MAGIC, PeerAction, Reason,
    limits::{OPENER_TIMES, OPENER_WINDOW, OPENERS_PER_SECOND, SERIES_PER_WINDOW},
    record::{Origin, RecordEndpoint},
    seal,
    testing::at,
    wire::{self, Intro, Kind, Opener, Reader, Role},
};

const ATTEMPT: [u8; 4] = [9, 9, 9, 1];
const SEEN: &str = "203.0.113.77:4321";

/// Node 1 is connected and introduces node 2, whose record names another endpoint.
fn introduced() -> Bench<4> {
    let mut bench = Bench::connected(2, [1]);
    bench.mesh.allow_openers(bench.now, true);
    bench.hear_records(1, &[record(2, 1, 1, "203.0.113.78:51820")]);
    bench.advance(Duration::from_millis(10));
    bench.forget();
    bench
}

fn intro(role: Role) -> Intro {
    Intro { attempt: ATTEMPT, wait_ms: 80, rtt_ms: 20, ..bench::intro(2, role, at(SEEN)) }
}

/// What an opener says, if it is one.
fn read(bench: &Bench<4>, opener: &[u8]) -> Option<Opener> {
    let mut sealed = opener.strip_prefix(&OPENER_MAGIC)?.to_vec();
    let (frames, _) = seal::open(&bench.secrets, &mut sealed).ok()?;
    match Reader::new(frames).next()?.ok()? {
        (Some(Kind::Opener), body) => wire::decode(body).ok(),
        _ => None,
    }
}

/// An opener as node `n` sends it.
fn opener(bench: &Bench<4>, n: usize, attempt: [u8; 4]) -> Vec<u8> {
    let from = key(n).short().to_be_bytes();
    let sealed = bench.datagram(|writer| writer.frame(Kind::Opener, &Opener { attempt, from, echo: [0; 4] }));
    [&OPENER_MAGIC[..], &sealed].concat()
}

/// The opener of node 2 comes in from there.
fn hear(bench: &mut Bench<4>, from: SocketAddr) {
    let mut opener = opener(bench, 2, ATTEMPT);
    bench.mesh.handle_opener(bench.now, from, &mut opener);
    bench.poll();
}

/// Where WireGuard was pointed for node 2.
fn fired(bench: &Bench<4>) -> Vec<Option<SocketAddr>> {
    let endpoint = |(to, action): &(_, PeerAction)| match action {
        PeerAction::Readd { endpoint } | PeerAction::Add { endpoint, .. } if *to == key(2) => Some(*endpoint),
        _ => None,
    };
    bench.actions.iter().filter_map(endpoint).collect()
}

#[test]
fn the_opener_opens_all_paths_and_its_wireguard_keeps_still() {
    let mut bench = introduced();
    bench.hear_one(1, Kind::Intro, &intro(Role::Open));
    bench.advance(Duration::from_millis(300));
    let targets: Vec<SocketAddr> = vec![at(SEEN).into(), at("203.0.113.78:51820").into()];
    let expected: Vec<_> = OPENER_TIMES.iter().flat_map(|_| targets.iter().map(|to| (*to, None))).collect();
    let sent: Vec<_> = bench.openers.iter().map(|(to, hops, _)| (*to, *hops)).collect();
    assert_eq!(sent, expected);
    for (_, _, bytes) in &bench.openers {
        let opener = read(&bench, bytes).expect("sealed with our secret");
        assert_eq!((opener.attempt, opener.from), (ATTEMPT, key(0).short().to_be_bytes()));
        // What WireGuard takes for its own begins with a number from 1 to 4.
        assert!(bytes.len() < 100 && bytes[0] > 4);
    }
    assert!(fired(&bench).iter().all(Option::is_none), "{:?}", bench.actions);
}

const SEEN_V6: &str = "[2001:db8:2::77]:4321";

/// The same on a host with a stable and a temporary IPv6 address.
fn introduced_with_two_addresses() -> (Bench<4>, [IpAddr; 2]) {
    let mut bench = introduced();
    let [stable, temporary, private] =
        ["2001:db8::1", "2001:db8::5e9", "fd00::1"].map(|ip| ip.parse().expect("an address"));
    let v4 = IpAddr::from([198, 51, 100, 1]);
    bench.mesh.handle_local_addresses(bench.now, &[v4, stable, temporary, private]);
    bench.advance(Duration::from_secs(3));
    bench.forget();
    (bench, [stable, temporary])
}

#[test]
fn both_ipv6_addresses_open() {
    for role in [Role::Open, Role::Initiate] {
        let (mut bench, [stable, temporary]) = introduced_with_two_addresses();
        bench.hear_one(1, Kind::Intro, &Intro { seen: Some(at(SEEN_V6)), wait_ms: 500, ..intro(role) });
        bench.advance(Duration::from_millis(300));
        let to = |wanted: &str| -> Vec<_> {
            let wanted = at(wanted).into();
            let pairs = bench.openers.iter().zip(&bench.opened_from);
            pairs.filter(|((to, ..), _)| *to == wanted).map(|(_, from)| *from).collect()
        };
        assert_eq!(to(SEEN_V6), [Some(stable), Some(temporary), Some(stable), Some(temporary)], "{role:?}");
        assert_eq!(to("203.0.113.78:51820"), [None; 3], "IPv4 has one address");
    }
}

#[test]
fn without_leave_there_are_none_and_wireguard_opens() {
    let mut bench = introduced();
    bench.mesh.allow_openers(bench.now, false);
    bench.hear_one(1, Kind::Intro, &intro(Role::Open));
    assert!(!bench.mesh.expects_openers(bench.now));
    bench.advance(Duration::from_millis(300));
    assert!(bench.openers.is_empty());
    assert_eq!(fired(&bench), [Some(at(SEEN).into())]);
}

#[test]
fn the_initiator_fires_at_the_path_on_which_it_hears_the_other() {
    let heard: SocketAddr = "203.0.113.99:7".parse().expect("an endpoint");
    let mut bench = introduced();
    // Behind a NAT, where nobody knocks.
    bench.mesh.handle_local_addresses(bench.now, &[IpAddr::from([192, 168, 1, 10])]);
    bench.advance(Duration::from_secs(3));
    bench.forget();
    assert!(!bench.mesh.expects_openers(bench.now));
    bench.hear_one(1, Kind::Intro, &intro(Role::Initiate));
    assert!(bench.mesh.expects_openers(bench.now));
    bench.advance(Duration::from_millis(20));
    assert!(bench.openers.iter().all(|(_, hops, _)| hops.is_some()), "not as far as the other's NAT");
    assert_eq!(fired(&bench), [], "it waits for the other to open");
    // Not of this attempt, of another node, of ourselves, damaged.
    let mut damaged = opener(&bench, 2, ATTEMPT);
    damaged[50] ^= 1;
    let wrong =
        [opener(&bench, 2, [9, 9, 9, 2]), opener(&bench, 1, ATTEMPT), opener(&bench, 0, ATTEMPT), damaged];
    for mut wrong in wrong {
        bench.mesh.handle_opener(bench.now, heard, &mut wrong);
        bench.poll();
        assert_eq!(fired(&bench), []);
    }
    hear(&mut bench, heard);
    assert_eq!(fired(&bench), [Some(heard)]);
    // Another path is open as well: the handshake under way is not ended for it.
    bench.advance(Duration::from_millis(1));
    hear(&mut bench, at(SEEN).into());
    assert_eq!(fired(&bench), [Some(heard)]);
    assert_eq!(bench.mesh.counters().heard_openers, 2);
}

#[test]
fn unheard_the_initiator_fires_at_the_best_candidate() {
    let mut bench = introduced();
    bench.hear_one(1, Kind::Intro, &intro(Role::Initiate));
    bench.advance(Duration::from_millis(100));
    assert_eq!(fired(&bench), [Some(at(SEEN).into())]);
    // The other side is heard from elsewhere after all. Too soon after the first, a second initiation would only end it.
    bench.advance(Duration::from_millis(20));
    let heard_too_soon: SocketAddr = "203.0.113.98:7".parse().expect("an endpoint");
    hear(&mut bench, heard_too_soon);
    assert_eq!(fired(&bench), [Some(at(SEEN).into())]);
    bench.advance(Duration::from_millis(50));
    let heard: SocketAddr = "203.0.113.99:7".parse().expect("an endpoint");
    hear(&mut bench, heard);
    assert_eq!(fired(&bench), [Some(at(SEEN).into()), Some(heard)]);
}

#[test]
fn an_opener_from_nowhere_near_is_answered_once() {
    let heard: SocketAddr = "203.0.113.99:7".parse().expect("an endpoint");
    let mut bench = introduced();
    bench.hear_one(1, Kind::Intro, &intro(Role::Open));
    bench.advance(Duration::from_millis(20));
    bench.forget();
    hear(&mut bench, heard);
    assert_eq!(bench.openers.iter().map(|(to, ..)| *to).collect::<Vec<_>>(), [heard]);
    // Never into the mesh, nor to ourselves.
    for never in ["10.0.0.2:51820", "198.51.100.1:51820", "127.0.0.1:51820"] {
        bench.forget();
        hear(&mut bench, never.parse().expect("an endpoint"));
        assert!(bench.openers.is_empty(), "{never}");
    }
}

#[test]
fn a_live_peer_that_wants_a_new_session_is_let_in() {
    let mut bench = Bench::<4>::connected(2, [1, 2]);
    bench.mesh.allow_openers(bench.now, true);
    // We were introduced to it once.
    let place = bench.mesh.peers.find(&key(2)).expect("a peer of ours");
    bench.mesh.peers.get_mut(place).expect("the same").link.via =
        bench.mesh.peers.find(&key(1)).expect("another");
    bench.forget();
    bench.hear_one(1, Kind::Intro, &intro(Role::Initiate));
    assert!(bench.openers.iter().any(|(to, ..)| *to == at(SEEN).into()));
    assert!(bench.actions.is_empty(), "the session is not touched: {:?}", bench.actions);
    assert!(bench.sent_to(2).any(|sent| sent.has(Kind::Hello)), "and is asked whether it works");
    bench.advance(Duration::from_millis(300));
    assert_eq!(bench.state(2), LinkState::Connected);
}

/// A member that invents introductions to a victim's address.
#[test]
fn a_liar_cannot_make_us_flood_anybody() {
    for (seen, each) in [(SEEN, OPENER_TIMES.len()), (SEEN_V6, 4)] {
        let (mut bench, _) = introduced_with_two_addresses();
        // Over two whole stretches of time, from the beginning of one.
        let window = OPENER_WINDOW.as_secs();
        let begin = crate::Instant::from_secs((bench.now.as_secs() / window + 1) * window);
        bench.advance(begin - bench.now);
        bench.forget();
        for n in 0..4 * window as u32 {
            let (attempt, seen) = ((n + 1).to_le_bytes(), Some(at(seen)));
            let round = 1 + (n % 4) as u8;
            bench.hear_one(1, Kind::Intro, &Intro { attempt, round, seen, ..intro(Role::Open) });
            bench.advance(Duration::from_millis(500));
        }
        let victim: Vec<_> = bench.openers.iter().filter(|(to, ..)| *to == at(seen).into()).collect();
        let bytes: usize = victim.iter().map(|(.., bytes)| bytes.len()).sum();
        assert_eq!(victim.len(), 2 * each * usize::from(SERIES_PER_WINDOW), "{seen}");
        let rate = bytes as u64 / (2 * window);
        assert!(rate <= 60, "{seen}: {rate} B/s");
    }
}

#[test]
fn a_flood_of_openers_is_dropped_undeciphered() {
    let mut bench = introduced();
    bench.hear_one(1, Kind::Intro, &intro(Role::Initiate));
    let from: SocketAddr = "203.0.113.99:7".parse().expect("an endpoint");
    let limit = u32::from(OPENERS_PER_SECOND);
    for _ in 0..limit {
        bench.mesh.handle_opener(bench.now, from, &mut [0x55; 61]);
    }
    assert_eq!(bench.mesh.counters().dropped_openers, limit);
    hear(&mut bench, from);
    assert_eq!((fired(&bench).len(), bench.mesh.counters().heard_openers), (0, 0), "one too many");
    // It fires all the same.
    bench.advance(Duration::from_millis(100));
    assert_eq!(fired(&bench).len(), 1);
}

/// Of many attempts at the same time, those for whose series there is no room get one opener each.
#[test]
fn no_attempt_is_without_an_opener() {
    const PEERS: usize = crate::limits::MAX_OPENER_SERIES + 8;
    let key = |n: usize| {
        let mut bytes = [n as u8 + 2; 32];
        bytes[0] = 0xee;
        crate::PublicKey::from_bytes(bytes)
    };
    let mut bench = Bench::<{ PEERS + 2 }>::connected(1, [1]);
    bench.mesh.allow_openers(bench.now, true);
    for n in 0..PEERS {
        let address = core::net::Ipv4Addr::new(10, 0, 1, n as u8).into();
        bench.mesh.add_peer(bench.now, key(n), address).expect("room");
    }
    bench.poll();
    bench.forget();
    for n in 0..PEERS {
        let seen = at(&std::format!("203.0.113.{}:{}", n, 4000 + n));
        let intro =
            Intro { about: key(n), attempt: [1, 2, 3, n as u8], seen: Some(seen), ..intro(Role::Open) };
        bench.hear_one(1, Kind::Intro, &intro);
    }
    let mut targets: Vec<_> = bench.openers.iter().map(|(to, ..)| *to).collect();
    targets.sort_unstable();
    targets.dedup();
    assert_eq!(targets.len(), PEERS);
}

/// After which round, and how long until it is said that NATs are in the way, and how, when we and the peer are behind such; or both
/// behind one.
fn obstacle(ours: NatClass, theirs: NatClass, one: bool) -> (u8, u64, Option<Reason>) {
    let mut bench = introduced();
    bench.mesh.own.claim.set_nats(ours, NatClass::Unknown);
    if one {
        let reflexive = RecordEndpoint::new(Origin::Reflexive, at("203.0.113.77:1234"));
        bench.mesh.own.claim.endpoints.push(reflexive).expect("room");
    }
    let mut entry = record(2, 1, 2, "203.0.113.78:51820");
    entry.claim.set_nats(theirs, NatClass::Unknown);
    bench.hear_records(1, &[entry]);
    let start = bench.now;
    let mut rounds = 0;
    for _ in 0..200 {
        let asked = bench.sent_to(1).find_map(|sent| sent.first::<wire::IntroReq>(Kind::IntroReq));
        bench.forget();
        if let Some(asked) = asked {
            let role = if asked.round % 2 == 1 { Role::Open } else { Role::Initiate };
            let attempt = [9, 9, asked.round, 1];
            // As with 50 ms from any node to any other.
            bench.hear_one(
                1,
                Kind::Intro,
                &Intro { attempt, round: asked.round, rtt_ms: 200, ..intro(role) },
            );
            rounds = asked.round;
        }
        // Nobody else's measurements change what we are.
        bench.mesh.own.claim.set_nats(ours, NatClass::Unknown);
        bench.advance(Duration::from_millis(50));
        let reason = bench.reason(2);
        if !matches!(reason, Some(Reason::Connecting) | None) {
            return (rounds, (bench.now - start).as_millis(), reason);
        }
    }
    (rounds, u64::MAX, bench.reason(2))
}

#[test]
fn nats_that_cannot_be_punched_are_recognised() {
    use NatClass::{EndpointDependent, EndpointIndependent, Open, Translated};
    for (ours, theirs, one, expected, rounds, within) in [
        (EndpointIndependent, EndpointDependent, false, Reason::EndpointDependentNat, 1, 2000),
        (EndpointDependent, EndpointDependent, false, Reason::EndpointDependentNat, 1, 2000),
        (EndpointDependent, Translated, false, Reason::EndpointDependentNat, 1, 2000),
        (Translated, EndpointIndependent, false, Reason::PerhapsEndpointDependentNat, 2, 4000),
        (EndpointIndependent, EndpointIndependent, true, Reason::NoHairpin, 2, 4000),
        (Translated, EndpointIndependent, true, Reason::NoHairpin, 2, 4000),
        (EndpointDependent, EndpointIndependent, true, Reason::EndpointDependentNat, 1, 2000),
        (EndpointIndependent, EndpointIndependent, false, Reason::NoAnswer, 4, 8000),
        (EndpointDependent, Open, false, Reason::NoAnswer, 4, 8000),
    ] {
        let case = std::format!("{ours:?} and {theirs:?}{}", if one { ", behind one" } else { "" });
        let (round, after, reason) = obstacle(ours, theirs, one);
        assert_eq!(reason, Some(expected), "{case}");
        assert_eq!(round, rounds, "{case}");
        assert!(after <= within, "{case}: after {after} ms");
    }
}

/// The two sides' rounds do not end at the same instant, and whoever is first asks for the next.
#[test]
fn a_round_that_the_other_side_has_ended_counts_as_failed() {
    for (theirs, expected) in [
        (
            NatClass::EndpointDependent,
            [Reason::Connecting, Reason::EndpointDependentNat, Reason::EndpointDependentNat],
        ),
        (NatClass::Translated, [Reason::Connecting, Reason::Connecting, Reason::PerhapsEndpointDependentNat]),
    ] {
        let mut bench = introduced();
        bench.mesh.own.claim.set_nats(NatClass::EndpointIndependent, NatClass::Unknown);
        let mut entry = record(2, 1, 2, "203.0.113.78:51820");
        entry.claim.set_nats(theirs, NatClass::Unknown);
        bench.hear_records(1, &[entry]);
        for (round, reason) in (1..).zip(expected) {
            let attempt = [9, 9, round, 1];
            bench.hear_one(1, Kind::Intro, &Intro { attempt, round, ..intro(Role::Open) });
            assert_eq!(bench.reason(2), Some(reason), "{theirs:?}, as round {round} begins");
            bench.advance(Duration::from_millis(200));
        }
    }
}
