//! Peers on the same LAN: beacons, challenges and proofs, and who is not believed.

extern crate std;

use core::net::{IpAddr, SocketAddr};
use std::{format, vec::Vec};

use super::{
    PORT,
    bench::{Bench, intro},
    key,
};
use crate::{
    ActionError, CandidateKind, Duration, Event, LanLink, LinkState, OPENER_MAGIC, Output, PeerAction,
    limits::{
        LAN_BAR, LAN_CHALLENGES_PER_SECOND, LAN_DATAGRAM, LAN_LIFETIME, LAN_PACKETS_PER_SECOND, LAN_REST,
        LAN_STEADY, LAN_TRIAL, MAX_DATAGRAM, MAX_LAN_LINKS, MAX_LAN_SIGHTINGS,
    },
    seal,
    testing::Dry,
    wire::{self, Hello, Kind, LanBeacon, LanChallenge, LanProof, Reader, Role},
};

const ETH: u32 = 3;
const LINKS: [LanLink; 2] = [
    LanLink { index: ETH, address: ip4(192, 168, 1, 10), prefix: 24 },
    LanLink { index: ETH, address: link_local(0x10), prefix: 64 },
];
const THERE: IpAddr = ip4(192, 168, 1, 20);

const fn ip4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(core::net::Ipv4Addr::new(a, b, c, d))
}

const fn link_local(last: u16) -> IpAddr {
    IpAddr::V6(core::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last))
}

fn endpoint(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, PORT)
}

/// Nodes 1 and 2 are peers on our LAN, as far as is told; those in `connected` are so, over the internet.
fn on_a_lan(connected: impl IntoIterator<Item = usize>) -> Bench<4> {
    let mut bench = Bench::connected(2, connected);
    bench.mesh.handle_lan_links(bench.now, &LINKS);
    bench.poll();
    bench.advance(Duration::from_secs(3));
    bench.forget();
    bench
}

fn beacon(bench: &Bench<4>, n: usize, address: IpAddr) -> Vec<u8> {
    let beacon = LanBeacon { from: key(n), address, port: PORT };
    bench.datagram(|writer| {
        writer.frame(Kind::LanBeacon, &beacon) && writer.pad_to(LAN_DATAGRAM - seal::HEADER)
    })
}

fn hear_on(bench: &mut Bench<4>, index: u32, from: IpAddr, datagram: &[u8]) {
    // The port means nothing.
    bench.mesh.handle_lan_datagram(bench.now, index, SocketAddr::new(from, 7), &mut datagram.to_vec());
    bench.poll();
}

/// The beacon of a node comes in from where it is.
fn hear(bench: &mut Bench<4>, n: usize, address: IpAddr) {
    let datagram = beacon(bench, n, address);
    hear_on(bench, ETH, address, &datagram);
}

fn opened(bench: &Bench<4>, datagram: &[u8]) -> (Kind, Vec<u8>) {
    let mut datagram = datagram.to_vec();
    let (frames, _) = seal::open(&bench.secrets, &mut datagram).expect("sealed with our secret");
    let (kind, body) = Reader::new(frames).next().expect("a frame").expect("well-formed");
    (kind.expect("of a known type"), body.to_vec())
}

/// The challenges sent, with where to.
fn challenges(bench: &Bench<4>) -> Vec<(IpAddr, LanChallenge)> {
    let challenge = |(_, _, to, bytes): &(u32, IpAddr, Option<IpAddr>, Vec<u8>)| {
        let (kind, body) = opened(bench, bytes);
        (kind == Kind::LanChallenge).then(|| (to.expect("to one"), wire::decode(&body).expect("well-formed")))
    };
    bench.lan.iter().filter_map(challenge).collect()
}

/// Node 1 proves what it was asked to.
fn prove(bench: &mut Bench<4>) {
    let (_, LanChallenge { token, address, .. }) = *challenges(bench).last().expect("a challenge");
    bench.hear_one(1, Kind::LanProof, &LanProof { token, address });
}

fn set_to(bench: &Bench<4>, n: usize) -> Vec<SocketAddr> {
    let set = |(to, action): &(_, PeerAction)| match action {
        PeerAction::SetEndpoint(endpoint) if *to == key(n) => Some(*endpoint),
        _ => None,
    };
    bench.actions.iter().filter_map(set).collect()
}

fn fired_at(bench: &Bench<4>, n: usize) -> Vec<SocketAddr> {
    let fired = |(to, action): &(_, PeerAction)| match action {
        PeerAction::Add { endpoint, .. } | PeerAction::Readd { endpoint } if *to == key(n) => *endpoint,
        _ => None,
    };
    bench.actions.iter().filter_map(fired).collect()
}

fn kind_of(bench: &Bench<4>, n: usize) -> Option<CandidateKind> {
    bench.mesh.peers().find(|peer| peer.key == key(n)).expect("a peer of ours").kind
}

#[test]
fn beacons_go_out_three_at_the_start_and_then_one_a_minute() {
    let mut bench = Bench::<4>::new(2);
    let start = bench.now;
    bench.mesh.handle_lan_links(start, &LINKS);
    bench.advance(Duration::from_millis(2_000));
    assert_eq!(bench.lan.len(), 3 * LINKS.len());
    for (n, (index, from, to, bytes)) in bench.lan.iter().enumerate() {
        let link = LINKS[n % 2];
        assert_eq!((*index, *from, *to), (ETH, link.address, None));
        assert_eq!(bytes.len(), LAN_DATAGRAM);
        let (kind, body) = opened(&bench, bytes);
        let beacon: LanBeacon = wire::decode(&body).expect("well-formed");
        assert_eq!(kind, Kind::LanBeacon);
        assert_eq!(beacon, LanBeacon { from: key(0), address: link.address, port: PORT });
    }
    bench.forget();
    bench.advance(LAN_STEADY * 10);
    assert!((9 * 2..=12 * 2).contains(&bench.lan.len()), "{} in ten minutes", bench.lan.len());
    bench.forget();
    // The same links again are no news, others are.
    bench.mesh.handle_lan_links(bench.now, &LINKS);
    bench.advance(Duration::from_millis(10));
    assert_eq!(bench.lan.len(), 0);
    bench.mesh.handle_lan_links(bench.now, &LINKS[..1]);
    bench.advance(Duration::from_millis(2_000));
    assert_eq!(bench.lan.len(), 3);
    bench.forget();
    bench.mesh.handle_lan_links(bench.now, &[]);
    bench.advance(LAN_STEADY * 3);
    assert_eq!(bench.lan.len(), 0, "nobody is left to be found");
}

#[test]
fn a_beacon_is_for_nobody_while_the_interface_is_away_or_nothing_is_random() {
    let mut bench = on_a_lan([]);
    bench.mesh.handle_interface(bench.now, None);
    bench.advance(LAN_STEADY * 3);
    hear(&mut bench, 1, THERE);
    assert_eq!((bench.lan.len(), bench.mesh.counters().heard_beacons), (0, 0));
    let mut bench = Bench::<4>::new(1);
    bench.mesh.handle_lan_links(bench.now, &LINKS);
    bench.mesh.handle_timeout(bench.now, &mut Dry);
    let mut buffer = [0; MAX_DATAGRAM];
    while let Some(output) = bench.mesh.poll(bench.now, &mut Dry, &mut buffer) {
        assert!(!matches!(output, Output::Lan { .. }));
    }
}

#[test]
fn no_beacons_where_a_node_of_the_mesh_still_runs_the_original() {
    let mut bench = on_a_lan([1]);
    let until = bench.now + Duration::from_secs(600);
    let place = bench.mesh.peers.find(&key(2)).expect("configured");
    bench.mesh.peers.get_mut(place).expect("configured").link.muted_until = until;
    bench.advance(Duration::from_secs(590));
    assert_eq!(bench.lan.len(), 0);
    bench.advance(LAN_STEADY * 2);
    assert_ne!(bench.lan.len(), 0);
}

#[test]
fn a_peer_without_a_session_is_fired_at_where_it_was_heard() {
    // Ours is the lower key: the other has a moment to go first.
    let mut bench = on_a_lan([]);
    hear(&mut bench, 1, THERE);
    // It hears of us at once, and only it.
    let answers: Vec<_> =
        bench.lan.iter().map(|(index, from, to, bytes)| (*index, *from, *to, bytes.len())).collect();
    assert_eq!(answers, [(ETH, LINKS[0].address, Some(THERE), LAN_DATAGRAM)]);
    hear(&mut bench, 1, THERE);
    assert_eq!(bench.lan.len(), 1, "and once");
    bench.lan.clear();
    bench.advance(Duration::from_millis(240));
    assert_eq!(fired_at(&bench, 1), []);
    bench.advance(Duration::from_millis(20));
    assert_eq!(fired_at(&bench, 1), [endpoint(THERE)]);
    assert_eq!(challenges(&bench), []);
    let attempt = |e: &Event| matches!(e, Event::Attempt { initiator: true, endpoint: Some(e), .. } if *e == endpoint(THERE));
    assert!(bench.has_event(attempt));
    bench.connect_at(1, endpoint(THERE));
    assert_eq!((bench.state(1), kind_of(&bench, 1)), (LinkState::Connected, Some(CandidateKind::Lan)));
    bench.forget();
    // Once it is connected there, its beacons are nothing new.
    hear(&mut bench, 1, THERE);
    bench.advance(Duration::from_secs(30));
    assert_eq!((challenges(&bench).len(), bench.actions.len()), (0, 0));
}

#[test]
fn the_higher_key_fires_at_once_and_the_lower_does_not_cross_it() {
    let mut bench = on_a_lan([]);
    hear(&mut bench, 1, THERE);
    bench.advance(Duration::from_millis(5));
    // Node 1's handshake comes in while we wait.
    let shown = bench.tunnel.get_mut(&key(1)).expect("added");
    shown.reading.rx_bytes = 148;
    shown.reading.endpoint = Some(endpoint(THERE));
    // Ours would have fired after 250 ms. The other's is given 150 to come to its end.
    bench.advance(Duration::from_millis(390));
    assert_eq!(fired_at(&bench, 1), []);
}

#[test]
fn who_waits_elsewhere_is_found_on_the_lan() {
    let far: SocketAddr = "203.0.113.99:51820".parse().expect("an endpoint");
    for after in [0, 10, 40, 100, 300, 1_000, 5_000] {
        let mut bench = on_a_lan([]);
        bench.mesh.set_configured_endpoints(bench.now, &key(1), &[far]);
        bench.advance(Duration::from_millis(after));
        hear(&mut bench, 1, THERE);
        bench.advance(Duration::from_millis(900));
        assert!(fired_at(&bench, 1).contains(&endpoint(THERE)), "{after}: {:?}", fired_at(&bench, 1));
    }
}

#[test]
fn a_place_on_the_lan_that_does_not_answer_hides_no_other() {
    let far: SocketAddr = "203.0.113.99:51820".parse().expect("an endpoint");
    let mut bench = on_a_lan([]);
    hear(&mut bench, 1, THERE);
    bench.mesh.set_configured_endpoints(bench.now, &key(1), &[far]);
    bench.advance(Duration::from_millis(2_500));
    let fired = fired_at(&bench, 1);
    assert_eq!(fired.first(), Some(&endpoint(THERE)));
    assert!(fired.contains(&far), "{fired:?}");
    let barred = bench.mesh.peers().find(|p| p.key == key(1)).and_then(|p| p.lan_barred);
    assert_eq!(barred.map(SocketAddr::from), Some(endpoint(THERE)));
}

#[test]
fn a_live_session_is_moved_after_a_proof_and_not_before() {
    let mut bench = on_a_lan([1]);
    let before = bench.endpoint_of(1);
    hear(&mut bench, 1, THERE);
    let all = challenges(&bench);
    let (to, challenge) = all[0];
    assert_eq!((all.len(), to, challenge.address), (1, THERE, THERE));
    assert_eq!(challenge.from, key(0).short().to_be_bytes());
    assert_eq!(bench.lan.iter().map(|(.., bytes)| bytes.len()).max(), Some(LAN_DATAGRAM));
    assert_eq!(set_to(&bench, 1), []);
    // Another token, another address, another peer: no proof.
    for (from, token, address) in [
        (1, [1; 4], THERE),
        (1, [0; 4], THERE),
        (1, challenge.token, before.ip()),
        (2, challenge.token, THERE),
    ] {
        bench.hear_one(from, Kind::LanProof, &LanProof { token, address });
        assert_eq!(set_to(&bench, 1), [], "{from} {token:?} {address}");
    }
    prove(&mut bench);
    // What is sent after that asks for an echo, which node 1 gives here at once.
    assert_eq!(set_to(&bench, 1), [endpoint(THERE)]);
    assert!(bench.sent_to(1).any(|sent| sent.has(Kind::Hello)));
    bench.advance(Duration::from_millis(300));
    assert_eq!(kind_of(&bench, 1), Some(CandidateKind::Lan));
    let moved = Event::Moved { key: key(1), endpoint: endpoint(THERE), kind: CandidateKind::Lan };
    assert!(bench.has_event(|e| *e == moved), "{:?}", bench.events);
    // A second proof moves nothing.
    bench.forget();
    bench.hear_one(1, Kind::LanProof, &LanProof { token: challenge.token, address: THERE });
    bench.advance(LAN_BAR);
    assert_eq!((set_to(&bench, 1).len(), bench.state(1)), (0, LinkState::Connected));
}

#[test]
fn what_carries_nothing_is_left_again_within_a_second_and_barred_for_ten_minutes() {
    let mut bench = on_a_lan([1]);
    let before = bench.endpoint_of(1);
    hear(&mut bench, 1, THERE);
    bench.answering.clear();
    prove(&mut bench);
    assert_eq!(set_to(&bench, 1), [endpoint(THERE)]);
    bench.advance(LAN_TRIAL - Duration::from_millis(1));
    assert_eq!(set_to(&bench, 1), [endpoint(THERE)]);
    bench.answering.push(1);
    bench.advance(Duration::from_millis(1));
    assert_eq!(set_to(&bench, 1), [endpoint(THERE), before]);
    assert_eq!((bench.state(1), kind_of(&bench, 1)), (LinkState::Connected, Some(CandidateKind::Roamed)));
    let barred = Event::LanBarred { key: key(1), endpoint: endpoint(THERE) };
    assert!(bench.has_event(|e| *e == barred), "{:?}", bench.events);
    assert_eq!(bench.mesh.counters().moved_back, 1);
    bench.forget();
    for _ in 0..10 {
        bench.advance(LAN_BAR / 10 - Duration::from_millis(10));
        hear(&mut bench, 1, THERE);
    }
    assert_eq!((challenges(&bench).len(), set_to(&bench, 1).len()), (0, 0));
    bench.advance(LAN_STEADY * 2);
    hear(&mut bench, 1, THERE);
    assert_ne!(challenges(&bench).len(), 0);
}

#[test]
fn an_endpoint_that_cannot_be_set_is_not_tried_again_soon() {
    let mut bench = on_a_lan([1]);
    hear(&mut bench, 1, THERE);
    bench.refuse = |action| match action {
        PeerAction::SetEndpoint(to) if to.ip() == THERE => Some(ActionError::RoutedIntoMesh),
        _ => None,
    };
    prove(&mut bench);
    bench.advance(Duration::from_secs(60));
    assert_eq!(set_to(&bench, 1).first(), Some(&endpoint(THERE)));
    assert_eq!(set_to(&bench, 1).iter().filter(|e| e.ip() == THERE).count(), 1);
    assert_eq!((bench.state(1), bench.mesh.counters().moved_back), (LinkState::Connected, 1));
}

#[test]
fn who_ends_during_a_trial_leaves_the_session_where_it_was() {
    let mut bench = on_a_lan([1]);
    let before = bench.endpoint_of(1);
    hear(&mut bench, 1, THERE);
    bench.answering.clear();
    prove(&mut bench);
    bench.mesh.shutdown();
    bench.poll();
    assert_eq!(set_to(&bench, 1), [endpoint(THERE), before]);
}

#[test]
fn challenges_are_answered_through_the_tunnel_and_only_where_they_were_meant_for() {
    let mut bench = on_a_lan([1]);
    let challenge = |bench: &Bench<4>, from: usize, address| {
        let challenge = LanChallenge { token: [3; 4], from: key(from).short().to_be_bytes(), address };
        bench.datagram(|writer| {
            writer.frame(Kind::LanChallenge, &challenge) && writer.pad_to(LAN_DATAGRAM - seal::HEADER)
        })
    };
    let ours = LINKS[0].address;
    // At another address; to who is not connected; from a stranger.
    for (from, address) in [(1, THERE), (1, ip4(192, 168, 1, 11)), (2, ours), (7, ours)] {
        let datagram = challenge(&bench, from, address);
        hear_on(&mut bench, ETH, THERE, &datagram);
    }
    assert_eq!((bench.sent.len(), bench.lan.len()), (0, 0));
    let datagram = challenge(&bench, 1, ours);
    hear_on(&mut bench, ETH, THERE, &datagram);
    let proof: Option<LanProof> = bench.sent_to(1).next().and_then(|sent| sent.first(Kind::LanProof));
    assert_eq!(proof, Some(LanProof { token: [3; 4], address: ours }));
    assert_eq!(bench.lan.len(), 0, "nothing goes out on the LAN");
}

#[test]
fn beacons_in_the_tunnel_and_gossip_on_the_lan_mean_nothing() {
    let mut bench = on_a_lan([1]);
    bench.hear_one(1, Kind::LanBeacon, &LanBeacon { from: key(1), address: THERE, port: PORT });
    let hello = bench.hello();
    let datagram = bench
        .datagram(|writer| writer.frame(Kind::Hello, &hello) && writer.pad_to(LAN_DATAGRAM - seal::HEADER));
    hear_on(&mut bench, ETH, THERE, &datagram);
    assert_eq!((bench.lan.len(), bench.sent.len()), (0, 0));
    assert_eq!(bench.mesh.counters().dropped_lan, 1);
}

#[test]
fn what_is_not_from_there_is_dropped() {
    let mut bench = on_a_lan([1]);
    let good = beacon(&bench, 1, THERE);
    let mut expected = 0;
    let mut dropped = |bench: &mut Bench<4>, index, from, bytes: &[u8], why: &str| {
        hear_on(bench, index, from, bytes);
        expected += 1;
        assert_eq!(bench.mesh.counters().dropped_lan, expected, "{why}");
        assert_eq!((bench.lan.len(), bench.actions.len()), (0, 0), "{why}");
    };
    dropped(&mut bench, ETH, ip4(192, 168, 1, 21), &good, "a copy from another address");
    dropped(&mut bench, ETH + 1, THERE, &good, "on another interface");
    dropped(&mut bench, ETH, ip4(192, 168, 2, 20), &good, "from another network");
    dropped(&mut bench, ETH, ip4(203, 0, 113, 1), &good, "from the internet");
    dropped(&mut bench, ETH, "2001:db8::1".parse().expect("an address"), &good, "from the other internet");
    dropped(&mut bench, ETH, THERE, &good[..good.len() - 1], "cut short");
    dropped(&mut bench, ETH, THERE, &[], "empty");
    let mut bytes = good.clone();
    bytes.push(0);
    dropped(&mut bench, ETH, THERE, &bytes, "longer");
    dropped(&mut bench, ETH, THERE, &[0; 1 << 16], "as long as can be");
    for at in [0, 1, 2, 40, 60, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bench.advance(Duration::from_secs(1));
        dropped(&mut bench, ETH, THERE, &bytes, &format!("byte {at}"));
    }
    // Nobody is at these; they are sealed well.
    for (address, port) in [(THERE, 0), (crate::testing::at("10.0.0.2:1").ip(), PORT)] {
        let beacon = LanBeacon { from: key(1), address, port };
        let bytes = bench.datagram(|writer| {
            writer.frame(Kind::LanBeacon, &beacon) && writer.pad_to(LAN_DATAGRAM - seal::HEADER)
        });
        hear_on(&mut bench, ETH, address, &bytes);
    }
    // A stranger with our secret, and our own key: nothing to drop, and nothing to do.
    hear(&mut bench, 9, THERE);
    hear(&mut bench, 0, THERE);
    hear_on(&mut bench, ETH, LINKS[0].address, &good);
    assert_eq!((bench.lan.len(), bench.actions.len()), (0, 0));
    assert_eq!(bench.mesh.counters().dropped(), 0, "a LAN's noise is reported to nobody");
    bench.advance(Duration::from_secs(1));
    bench.lan.clear();
    hear_on(&mut bench, ETH, THERE, &good);
    assert_eq!(bench.lan.len(), 1, "the real one");
    assert!(!good.starts_with(&OPENER_MAGIC));
}

#[test]
fn link_local_addresses_keep_their_interface_and_come_after_others() {
    let zoned = |zone| {
        SocketAddr::V6(core::net::SocketAddrV6::new([0xfe80, 0, 0, 0, 0, 0, 0, 0x20].into(), PORT, 0, zone))
    };
    let mut bench = on_a_lan([1]);
    hear(&mut bench, 2, link_local(0x20));
    bench.advance(Duration::from_millis(300));
    assert_eq!(fired_at(&bench, 2), [zoned(ETH)]);
    // With a session: the proof does not say on which link, and needs not.
    hear(&mut bench, 1, link_local(0x21));
    assert_eq!(challenges(&bench).len(), 1);
    bench.forget();
    hear(&mut bench, 1, THERE);
    bench.advance(Duration::from_secs(1));
    assert_eq!(
        challenges(&bench).iter().map(|(to, _)| *to).collect::<Vec<_>>(),
        [THERE; 3][..challenges(&bench).len()]
    );
    assert!(!challenges(&bench).is_empty());
}

#[test]
fn a_place_is_forgotten_when_no_beacon_comes_any_more() {
    let mut bench = on_a_lan([1]);
    hear(&mut bench, 1, THERE);
    bench.advance(LAN_LIFETIME + LAN_STEADY * 2);
    bench.forget();
    bench.advance(LAN_LIFETIME);
    assert_eq!(challenges(&bench), []);
    assert_eq!(bench.mesh.lan.candidates(bench.mesh.peers.find(&key(1)).expect("configured")).count(), 0);
    // And at once with its link.
    hear(&mut bench, 1, THERE);
    bench.mesh.handle_lan_links(bench.now, &LINKS[1..]);
    assert_eq!(bench.mesh.lan.candidates(bench.mesh.peers.find(&key(1)).expect("configured")).count(), 0);
}

#[test]
fn a_flood_from_one_source_is_dropped_undeciphered_and_keeps_no_other_away() {
    let mut bench = on_a_lan([1]);
    let good = beacon(&bench, 1, THERE);
    let attacker = ip4(192, 168, 1, 66);
    for _ in 0..10_000 {
        hear_on(&mut bench, ETH, attacker, &good);
    }
    assert_eq!(bench.mesh.counters().dropped_lan, 10_000);
    assert_eq!((bench.lan.len(), bench.sent.len(), bench.actions.len()), (0, 0, 0));
    hear_on(&mut bench, ETH, THERE, &good);
    assert_eq!(challenges(&bench).len(), 1);
}

#[test]
fn whatever_is_replayed_is_answered_ever_more_seldom() {
    let mut bench = on_a_lan([1]);
    let good = beacon(&bench, 1, THERE);
    let (mut received, seconds) = (0, 600);
    for _ in 0..seconds {
        for _ in 0..u32::from(LAN_PACKETS_PER_SECOND) * 2 {
            hear_on(&mut bench, ETH, THERE, &good);
            received += 1;
        }
        bench.advance(Duration::from_secs(1));
    }
    let challenges = challenges(&bench).len();
    assert!((1..40).contains(&challenges), "{challenges} challenges for {received} copies");
    assert!(challenges <= seconds * usize::from(LAN_CHALLENGES_PER_SECOND));
    assert_eq!((bench.state(1), set_to(&bench, 1).len()), (LinkState::Connected, 0));
}

#[test]
fn the_state_is_fixed_whatever_is_heard() {
    let mut bench = on_a_lan([1]);
    for last in 30..230 {
        hear(&mut bench, 1 + usize::from(last) % 2, ip4(192, 168, 1, last));
        bench.advance(Duration::from_millis(10));
    }
    let place = |n| bench.mesh.peers.find(&key(n)).expect("configured");
    let known: usize = [1, 2].map(|n| bench.mesh.lan.candidates(place(n)).count()).iter().sum();
    assert!(known <= MAX_LAN_SIGHTINGS, "{known}");
    assert_eq!((bench.state(1), set_to(&bench, 1).len()), (LinkState::Connected, 0));
    let many: Vec<LanLink> =
        (1..100).map(|n| LanLink { index: n, address: ip4(10, 9, n as u8, 1), prefix: 24 }).collect();
    bench.mesh.handle_lan_links(bench.now, &many);
    bench.forget();
    bench.advance(Duration::from_millis(1));
    assert_eq!(bench.lan.len(), MAX_LAN_LINKS);
}

#[test]
fn a_session_moved_by_the_other_side_is_on_the_lan_as_well() {
    let mut bench = on_a_lan([1]);
    bench.tunnel.get_mut(&key(1)).expect("added").reading.endpoint = Some(endpoint(THERE));
    bench.read();
    bench.poll();
    let moved = Event::Moved { key: key(1), endpoint: endpoint(THERE), kind: CandidateKind::Lan };
    assert!(bench.has_event(|e| *e == moved), "{:?}", bench.events);
    assert!(bench.sent_to(1).any(|sent| sent.first::<Hello>(Kind::Hello).is_some()));
}

/// We leave the LAN, and whoever is still there reaches us from elsewhere before we have given it up.
#[test]
fn who_reaches_us_from_elsewhere_is_not_said_to_be_on_the_lan() {
    let mut bench = on_a_lan([1]);
    bench.tunnel.get_mut(&key(1)).expect("added").reading.endpoint = Some(endpoint(THERE));
    bench.read();
    bench.poll();
    assert_eq!(kind_of(&bench, 1), Some(CandidateKind::Lan));
    bench.answering.clear();
    bench.mesh.handle_lan_links(bench.now, &[]);
    bench.mesh.handle_local_addresses(bench.now, &[ip4(198, 51, 100, 2)]);
    bench.advance(Duration::from_millis(50));
    assert_eq!(bench.state(1), LinkState::Probing);
    bench.forget();
    let elsewhere = bench.endpoint_of(1);
    let shown = &mut bench.tunnel.get_mut(&key(1)).expect("added").reading;
    (shown.endpoint, shown.rx_bytes) = (Some(elsewhere), shown.rx_bytes + 96);
    bench.read();
    bench.answering.push(1);
    bench.advance(Duration::from_secs(1));
    assert_eq!((bench.state(1), kind_of(&bench, 1)), (LinkState::Connected, Some(CandidateKind::Roamed)));
    let moved = Event::Moved { key: key(1), endpoint: elsewhere, kind: CandidateKind::Roamed };
    assert!(bench.has_event(|e| *e == moved), "{:?}", bench.events);
}

/// The same after we have given it up: it is introduced to us, and comes.
#[test]
fn who_was_on_the_lan_and_is_met_elsewhere_is_not_said_to_be_there() {
    let mut bench = on_a_lan([2]);
    bench.mesh.allow_openers(bench.now, true);
    hear(&mut bench, 1, THERE);
    bench.advance(Duration::from_millis(300));
    bench.connect_at(1, endpoint(THERE));
    assert_eq!(kind_of(&bench, 1), Some(CandidateKind::Lan));
    bench.answering.retain(|n| *n != 1);
    bench.mesh.handle_lan_links(bench.now, &[]);
    bench.mesh.handle_local_addresses(bench.now, &[ip4(198, 51, 100, 2)]);
    bench.advance(Duration::from_secs(5));
    assert_ne!(bench.state(1), LinkState::Connected);
    let elsewhere = bench.endpoint_of(1);
    bench.hear_one(2, Kind::Intro, &intro(1, Role::Open, elsewhere.into()));
    bench.advance(Duration::from_millis(10));
    bench.forget();
    bench.connect_at(1, elsewhere);
    bench.advance(Duration::from_secs(10));
    assert_eq!(kind_of(&bench, 1), Some(CandidateKind::Roamed), "{:?}", bench.events);
    let lan = |e: &Event| matches!(e, Event::Connected { kind: CandidateKind::Lan, .. });
    assert!(!bench.has_event(lan), "{:?}", bench.events);
}

fn barred(bench: &Bench<4>, n: usize) -> Option<SocketAddr> {
    let peer = bench.mesh.peers().find(|peer| peer.key == key(n)).expect("a peer of ours");
    peer.lan_barred.map(SocketAddr::from)
}

/// Two handshakes in vain, and for as long as others are tried before it. Nothing was moved, of which there would be an event.
#[test]
fn where_a_peer_does_not_answer_is_said_until_it_is_tried_again() {
    let mut bench = on_a_lan([]);
    hear(&mut bench, 1, THERE);
    bench.advance(Duration::from_millis(300));
    assert_eq!((fired_at(&bench, 1).len(), barred(&bench, 1)), (1, None));
    while fired_at(&bench, 1).len() < 2 {
        assert_eq!(barred(&bench, 1), None);
        bench.advance(Duration::from_millis(10));
    }
    bench.advance(Duration::from_secs(2));
    assert_eq!([1, 2].map(|n| barred(&bench, n)), [Some(endpoint(THERE)), None]);
    assert!(!bench.has_event(|e| matches!(e, Event::LanBarred { .. })), "{:?}", bench.events);
    let since = bench.now;
    while barred(&bench, 1).is_some() {
        bench.advance(Duration::from_secs(1));
        assert!(bench.now - since <= LAN_REST + LAN_STEADY * 2, "for ever");
    }
    assert!(bench.now - since >= LAN_REST - Duration::from_secs(3), "{:?}", bench.now - since);
}

/// A firewall that lets nobody in lets its own host out.
#[test]
fn who_reaches_us_from_where_it_did_not_answer_is_not_said_not_to() {
    for from in [THERE, link_local(0x20)] {
        let mut bench = on_a_lan([]);
        hear(&mut bench, 1, THERE);
        bench.advance(Duration::from_millis(2_500));
        assert_eq!(barred(&bench, 1), Some(endpoint(THERE)));
        bench.connect_at(1, endpoint(from));
        bench.read();
        assert_eq!((kind_of(&bench, 1), barred(&bench, 1)), (Some(CandidateKind::Lan), None), "{from}");
    }
}
