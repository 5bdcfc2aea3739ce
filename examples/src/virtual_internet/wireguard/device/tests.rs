//! What needs more than two devices, an internet between them, or a look inside.

use core::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;
use crate::virtual_internet::wireguard::kind;
use crate::virtual_internet::{Header, HomeConfig, HostId, Internet, Link, NatConfig};

const START: Instant = Instant::from_secs(1000);
const PORT: u16 = 51820;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn mesh(node: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, (node >> 8) as u8, node as u8))
}

fn key(node: usize) -> Key {
    let mut key = [0xa5; 32];
    key[..8].copy_from_slice(&(node as u64).to_le_bytes());
    key
}

/// Devices on hosts of a virtual internet.
struct World {
    net: Internet<Vec<u8>>,
    hosts: Vec<HostId>,
    devices: Vec<Device>,
    now: Instant,
    /// Arrival, node, source, payload of UDP packets out of tunnels.
    heard: Vec<(Instant, usize, SocketAddr, Vec<u8>)>,
}

impl World {
    fn new() -> Self {
        let net = Internet::new(9);
        Self { net, hosts: Vec::new(), devices: Vec::new(), now: START, heard: Vec::new() }
    }

    fn add(&mut self, host: HostId) -> usize {
        assert_eq!(host.0 as usize, self.hosts.len(), "hosts and devices are numbered alike");
        let node = self.hosts.len();
        self.hosts.push(host);
        self.devices.push(Device::new(key(node), PORT, node as u64));
        node
    }

    fn public(&mut self, link: Link) -> usize {
        let host = self.net.add_public(link);
        self.add(host)
    }

    fn home(&mut self, nat: NatConfig) -> usize {
        let home = self.net.add_home(HomeConfig { nat, ..HomeConfig::default() });
        let host = self.net.add_host(home);
        self.add(host)
    }

    fn endpoint(&self, node: usize) -> SocketAddr {
        SocketAddr::new(self.net.address_v4(self.hosts[node]).unwrap(), PORT)
    }

    fn configure(&mut self, node: usize, change: PeerChange) {
        self.devices[node].configure(self.now, &[change]);
        self.settle(node);
    }

    fn peer(&self, other: usize) -> PeerChange {
        PeerChange::new(key(other)).allow(AllowedIp::host(mesh(other)))
    }

    fn say(&mut self, from: usize, to: usize, what: &[u8]) -> Result<(), SendError> {
        let port = |node| SocketAddr::new(mesh(node), 7);
        let sent = self.devices[from].send_udp(self.now, port(from), port(to), what);
        self.settle(from);
        sent
    }

    fn settle(&mut self, node: usize) {
        while let Some(out) = self.devices[node].poll(self.now) {
            match out {
                Out::Send { to, datagram } => {
                    let header = Header::udp(self.endpoint(node), to);
                    self.net.send(self.now, self.hosts[node], header, datagram);
                }
                Out::Deliver { packet, .. } => {
                    let src = ip::parse(&packet).unwrap().src;
                    self.heard.push((self.now, node, src, ip::payload(&packet).unwrap().to_vec()));
                }
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timers = self.devices.iter().filter_map(Device::poll_timeout);
            let Some(next) = timers.chain(self.net.poll_timeout()).min().filter(|at| *at <= end) else {
                break;
            };
            self.now = next;
            while let Some(got) = self.net.poll(next) {
                let node = got.to.0 as usize;
                self.devices[node].handle_datagram(next, got.header.src, &got.payload);
                self.settle(node);
            }
            for node in 0..self.devices.len() {
                if self.devices[node].poll_timeout().is_some_and(|at| at <= next) {
                    self.settle(node);
                }
            }
        }
        self.now = end;
    }

    fn is_up(&self, a: usize, b: usize) -> bool {
        self.devices[a].peer(&key(b)).is_some_and(|peer| peer.last_handshake.is_some())
    }
}

#[test]
fn a_packet_from_an_address_that_is_not_its_peers_is_dropped() {
    let mut world = World::new();
    let (a, b) = (world.public(Link::PERFECT), world.public(Link::PERFECT));
    world.configure(a, world.peer(b).endpoint(world.endpoint(b)));
    world.configure(b, world.peer(a));
    // B knows a third peer, whose address A claims.
    world.configure(b, world.peer(7));
    let port = |node| SocketAddr::new(mesh(node), 7);
    world.devices[a].send_udp(START, port(7), port(b), b"spoofed").unwrap();
    world.devices[a].send_udp(START, port(a), port(b), b"honest").unwrap();
    world.devices[a].send_udp(START, port(9), port(b), b"nobody's").unwrap();
    world.settle(a);
    world.run(ms(500));
    let heard: Vec<_> = world.heard.iter().map(|h| h.3.as_slice()).collect();
    assert_eq!(heard, [b"honest"]);
    assert_eq!(world.devices[b].counters().invalid_data, 2);
    assert_eq!(world.devices[a].send_udp(START, port(a), port(9), b"x"), Err(SendError::NoRoute));
    assert_eq!(world.devices[a].send(START, b"no packet".to_vec()), Err(SendError::NotIp));
}

#[test]
fn a_range_that_another_peer_gets_is_no_longer_the_first_ones() {
    let mut world = World::new();
    let a = world.public(Link::PERFECT);
    let wide = AllowedIp { address: mesh(0), prefix: 8 };
    world.configure(a, world.peer(1).allow(wide));
    world.configure(a, world.peer(2).allow(wide));
    let ranges = |world: &World, peer| world.devices[a].peer(&key(peer)).unwrap().allowed_ips.to_vec();
    assert_eq!(ranges(&world, 1), [AllowedIp::host(mesh(1))]);
    assert_eq!(ranges(&world, 2), [AllowedIp::host(mesh(2)), wide]);
    world.configure(a, PeerChange { replace_allowed_ips: true, ..PeerChange::new(key(2)).allow(wide) });
    assert_eq!(ranges(&world, 2), [wide]);
    world.configure(a, PeerChange::remove(key(2)));
    assert_eq!(world.say(a, 3, b""), Err(SendError::NoRoute));
    assert_eq!(world.say(a, 1, b""), Err(SendError::NoEndpoint));
    world.configure(a, world.peer(a));
    assert_eq!(world.devices[a].peers().count(), 1, "our own key is ignored");
}

/// The two reasons for which a second initiation is dropped overlap: 20 ms between arrivals, and timestamps in steps
/// of 16.8 ms. The rows cannot tell them apart, the counters can.
#[test]
fn initiations_within_20_ms_are_floods_and_within_one_step_replays() {
    // 2^24 ns is not a divisor of a second: the steps begin anew in each.
    for (first, gap, (replays, floods)) in [
        (0, 10_000, (1, 0)),
        (10_000, 10_000, (0, 1)),
        (0, 17_000, (0, 1)),
        (0, 19_999, (0, 1)),
        (0, 20_000, (0, 0)),
        (990_000, 20_000, (0, 0)),
    ] {
        let mut world = World::new();
        let (a, b) = (world.public(Link::PERFECT), world.public(Link::PERFECT));
        world.configure(b, world.peer(a));
        world.run(Duration::from_micros(first));
        for wait in [gap, 0] {
            world.configure(a, PeerChange::remove(key(b)));
            world.configure(a, world.peer(b).endpoint(world.endpoint(b)).keepalive(25));
            world.run(Duration::from_micros(wait));
        }
        let counters = world.devices[b].counters();
        assert_eq!((counters.replays, counters.floods), (replays, floods), "{first} µs, {gap} µs later");
        assert_eq!(counters.responses_sent, if replays + floods == 0 { 2 } else { 1 });
    }
}

#[test]
fn data_is_taken_once_and_only_in_its_session_while_that_lives() {
    let mut world = World::new();
    let (a, b) = (world.public(Link::PERFECT), world.public(Link::PERFECT));
    world.configure(a, world.peer(b).endpoint(world.endpoint(b)).keepalive(25));
    world.configure(b, world.peer(a));
    world.run(ms(100));
    let now = world.now;
    let mut record = || {
        let port = |node| SocketAddr::new(mesh(node), 7);
        world.devices[a].send_udp(now, port(a), port(b), b"once").unwrap();
        match world.devices[a].poll(now) {
            Some(Out::Send { datagram, .. }) => datagram,
            other => panic!("{other:?}"),
        }
    };
    let (first, late, mut forged) = (record(), record(), record());
    let tag = forged.len() - 16;
    forged[tag] ^= 1;
    let from = world.endpoint(a);
    let moment = |seconds| now + Duration::from_secs(seconds);
    let device = &mut world.devices[b];
    for (at, datagram, refused) in [(0, &first, 0), (1, &first, 1), (1, &forged, 2), (180, &late, 3)] {
        device.handle_datagram(moment(at), from, datagram);
        assert_eq!(device.counters().invalid_data, refused);
    }
    let delivered = core::iter::from_fn(|| device.poll(now)).filter(|out| matches!(out, Out::Deliver { .. }));
    assert_eq!(delivered.count(), 1);
}

#[test]
fn keys_are_forgotten_after_540_s() {
    let mut world = World::new();
    let (a, b) = (world.public(Link::PERFECT), world.public(Link::PERFECT));
    world.configure(a, world.peer(b).endpoint(world.endpoint(b)));
    world.configure(b, world.peer(a));
    world.say(a, b, b"hello").unwrap();
    world.run(Duration::from_secs(539));
    for (node, other) in [(a, b), (b, a)] {
        assert!(world.devices[node].peer(&key(other)).unwrap().has_session);
    }
    world.run(Duration::from_secs(2));
    for (node, other) in [(a, b), (b, a)] {
        let peer = world.devices[node].peer(&key(other)).unwrap();
        assert!(!peer.has_session && peer.last_handshake.is_some(), "the stamp stays");
    }
}

#[test]
fn down_and_up_loses_sessions_and_queued_packets_and_keeps_peers() {
    let mut world = World::new();
    let (a, b) = (world.public(Link::PERFECT), world.public(Link::PERFECT));
    world.configure(a, world.peer(b).endpoint(world.endpoint(b)).keepalive(25));
    world.configure(b, world.peer(a));
    world.run(ms(100));
    assert!(world.is_up(a, b) && world.is_up(b, a));
    let now = world.now;
    world.devices[a].set_up(now, false);
    assert_eq!(world.say(a, b, b"down"), Err(SendError::Down));
    assert!(!world.devices[a].peer(&key(b)).unwrap().has_session);
    let before = world.devices[b].counters().responses_sent;
    world.run(Duration::from_secs(30));
    world.devices[a].set_up(world.now, true);
    world.settle(a);
    world.run(ms(100));
    assert_eq!(world.devices[b].counters().responses_sent, before + 1, "its keepalive brings it up at once");
    world.say(a, b, b"up").unwrap();
    world.run(ms(100));
    assert_eq!(world.heard.last().map(|h| h.3.as_slice()), Some(&b"up"[..]));
}

/// Facts: two real NATs, connected 63 ms after a raw opener from the WireGuard port, with no WireGuard packet from
/// that side; without it, not in 4 s.
#[test]
fn a_raw_opener_lets_the_others_initiation_in() {
    for (opens, connected) in [(true, true), (false, false)] {
        let mut world = World::new();
        world.net.set_core(Link::delay(ms(15)));
        let (third, a, b) = (
            world.public(Link::PERFECT),
            world.home(NatConfig::port_restricted()),
            world.home(NatConfig::port_restricted()),
        );
        for node in [a, b] {
            world.configure(third, world.peer(node));
            world.configure(node, world.peer(third).endpoint(world.endpoint(third)).keepalive(25));
        }
        world.run(ms(500));
        let seen = |world: &World, node| world.devices[third].peer(&key(node)).unwrap().endpoint.unwrap();
        let (at_a, at_b) = (seen(&world, a), seen(&world, b));
        world.configure(a, world.peer(b));
        if opens {
            let header = Header::udp(world.endpoint(a), at_b);
            world.net.send(world.now, world.hosts[a], header, vec![0xff; 24]);
            world.run(ms(20));
        }
        world.configure(b, world.peer(a).endpoint(at_a).keepalive(25));
        world.run(if opens { ms(45) } else { Duration::from_secs(4) });
        assert_eq!((world.is_up(a, b), world.is_up(b, a)), (connected, connected), "opens: {opens}");
        let a_to_b = world.devices[a].peer(&key(b)).unwrap();
        assert_eq!(a_to_b.initiations_sent, 0);
        assert_eq!(a_to_b.endpoint, connected.then_some(at_b));
    }
}

/// Facts: an endpoint inside the mesh is legal; the outer WireGuard adds 60 bytes over IPv4.
#[test]
fn an_endpoint_inside_the_mesh_works_and_costs_60_bytes() {
    // A reaches B by R: A's endpoint for B is a port of R's mesh address, which R's relay passes on to B.
    let mut world = World::new();
    let (a, b, r) = (world.public(Link::PERFECT), world.public(Link::PERFECT), world.public(Link::PERFECT));
    world.configure(r, world.peer(a));
    world.configure(a, world.peer(r).endpoint(world.endpoint(r)).keepalive(25));
    world.run(ms(100));
    let relay = SocketAddr::new(mesh(r), 4000);
    let inner = world.devices[a].clone();
    let mut outer = Device::new(key(b), PORT, 77);
    outer.configure(world.now, &[world.peer(a)]);

    let b_by_relay = world.peer(b).endpoint(relay);
    world.devices[a].configure(world.now, &[b_by_relay]);
    let (at_a, at_r) = (world.endpoint(a), world.endpoint(r));
    world.devices[a]
        .send_udp(world.now, SocketAddr::new(mesh(a), 7), SocketAddr::new(mesh(b), 7), &[1; 100])
        .unwrap();
    // The kernel routes what goes to a mesh address into the tunnel again: here the test does.
    let mut sizes = Vec::new();
    for _ in 0..4 {
        let now = world.now;
        while let Some(out) = world.devices[a].poll(now) {
            let Out::Send { to, datagram } = out else { continue };
            if to == relay {
                let size = datagram.len();
                let from = SocketAddr::new(mesh(a), PORT);
                world.devices[a].send_udp(now, from, relay, &datagram).unwrap();
                let Some(Out::Send { to, datagram }) = world.devices[a].poll(now) else {
                    panic!("nothing sent")
                };
                assert_eq!((to, kind(&datagram)), (at_r, message::Kind::Data));
                sizes.push((size, datagram.len() + 28));
                world.devices[r].handle_datagram(now, at_a, &datagram);
            }
        }
        while let Some(out) = world.devices[r].poll(now) {
            let Out::Deliver { packet, .. } = out else { continue };
            outer.handle_datagram(now, SocketAddr::new(mesh(r), 4001), ip::payload(&packet).unwrap());
        }
        while let Some(out) = outer.poll(now) {
            match out {
                Out::Send { datagram, .. } => world.devices[a].handle_datagram(now, relay, &datagram),
                Out::Deliver { packet, .. } => world.heard.push((
                    now,
                    b,
                    SocketAddr::new(mesh(a), 7),
                    ip::payload(&packet).unwrap().to_vec(),
                )),
            }
        }
    }
    assert_eq!(world.heard.len(), 1, "B got the packet by the relay");
    assert!(inner.peer(&key(b)).is_none() && world.is_up(a, b));
    for (size, on_the_wire) in sizes {
        // 20 + 8 + 32, and the inner packet's padding to 16.
        assert_eq!(on_the_wire, (size + 28).next_multiple_of(16) + 60, "a datagram of {size}");
    }
}

/// A full mesh in virtual time: every pair up and talking. Prints what it cost.
#[test]
fn a_mesh_of_120_talks() {
    const NODES: usize = 120;
    let mut world = World::new();
    for _ in 0..NODES {
        world.public(Link { jitter: ms(5), ..Link::delay(ms(20)) });
    }
    let began = std::time::Instant::now();
    for a in 0..NODES {
        for b in (0..NODES).filter(|b| *b != a) {
            // The lower one initiates.
            let peer = world.peer(b);
            let known = if a < b { peer.endpoint(world.endpoint(b)).keepalive(25) } else { peer };
            world.configure(a, known);
        }
    }
    world.run(Duration::from_secs(60));
    for a in 0..NODES {
        for b in (0..NODES).filter(|b| *b != a) {
            assert!(world.is_up(a, b), "{a} has no session with {b}");
        }
    }
    let sent = world.net.stats().sent;
    let sessions = NODES * (NODES - 1) / 2;
    assert!(sent >= sessions as u64 * 5, "a handshake, its confirmation and keepalives: {sent}");
    println!("{NODES} nodes, {sent} packets in {:?} for 60 s of virtual time", began.elapsed());
}

#[derive(Clone, Debug)]
enum Op {
    Wait(u64),
    Configure { node: usize, peer: usize, endpoint: bool, keepalive: Option<u16>, remove: bool },
    Say { from: usize, to: usize },
    Garbage { node: usize, bytes: Vec<u8> },
    Wall { node: usize, secs: u64 },
    Up { node: usize, up: bool },
}

fn op() -> impl Strategy<Value = Op> {
    let node = 0usize..3;
    prop_oneof![
        4 => (0u64..20_000_000).prop_map(Op::Wait),
        4 => (node.clone(), node.clone(), any::<bool>(), proptest::option::of(0u16..30), proptest::bool::weighted(0.2))
            .prop_map(|(node, peer, endpoint, keepalive, remove)| Op::Configure { node, peer, endpoint, keepalive, remove }),
        4 => (node.clone(), node.clone()).prop_map(|(from, to)| Op::Say { from, to }),
        1 => (node.clone(), proptest::collection::vec(0u8..6, 0..160)).prop_map(|(node, bytes)| Op::Garbage { node, bytes }),
        1 => (node.clone(), 0u64..4_000_000_000).prop_map(|(node, secs)| Op::Wall { node, secs }),
        1 => (node, any::<bool>()).prop_map(|(node, up)| Op::Up { node, up }),
    ]
}

proptest! {
    /// Whatever is done to three devices: no panic, no timer left behind, bounded queues, no initiation within 5 s of
    /// the last to one peer unless it was re-added or the interface went down.
    #[test]
    fn any_sequence_keeps_the_rules(ops in proptest::collection::vec(op(), 1..80)) {
        let mut world = World::new();
        for _ in 0..3 {
            world.public(Link::delay(ms(30)));
        }
        let mut last: HashMap<(usize, usize), (Instant, u32)> = HashMap::default();
        for op in ops {
            match op {
                Op::Wait(micros) => {
                    // In steps, so that each initiation is seen at its time.
                    let end = world.now + Duration::from_micros(micros);
                    while world.now < end {
                        world.run((end - world.now).min(ms(250)));
                        note(&world, &mut last)?;
                    }
                }
                Op::Configure { node, peer, endpoint, keepalive, remove } => {
                    let change = world.peer(peer);
                    let change = if endpoint { change.endpoint(world.endpoint(peer)) } else { change };
                    world.configure(node, PeerChange { keepalive, remove, ..change });
                    if remove {
                        last.remove(&(node, peer));
                    }
                }
                Op::Say { from, to } => drop(world.say(from, to, b"hello")),
                Op::Garbage { node, bytes } => {
                    let (now, from) = (world.now, world.endpoint(node));
                    world.devices[node].handle_datagram(now, from, &bytes);
                    world.settle(node);
                }
                Op::Wall { node, secs } => {
                    let now = world.now;
                    world.devices[node].set_wall_clock(now, WallClock { secs, nanos: 0 });
                }
                Op::Up { node, up } => {
                    let now = world.now;
                    world.devices[node].set_up(now, up);
                    world.settle(node);
                    if !up {
                        // The clock is reset, the count is not.
                        last.iter_mut().filter(|((from, _), _)| *from == node).for_each(|(_, seen)| seen.0 = Instant::MIN);
                    }
                }
            }
            note(&world, &mut last)?;
            for device in &world.devices {
                prop_assert!(device.poll_timeout().is_none_or(|at| at > world.now));
                prop_assert!(device.peers.iter().flatten().all(|peer| peer.staged.len() <= MAX_STAGED_PACKETS + 1));
                prop_assert!(device.timers.len() <= 64, "{} timers queued", device.timers.len());
            }
        }
    }
}

/// Checks the 5 s between initiations, to the 250 ms that tests look at.
fn note(world: &World, last: &mut HashMap<(usize, usize), (Instant, u32)>) -> Result<(), TestCaseError> {
    for (node, device) in world.devices.iter().enumerate() {
        for other in 0..3 {
            let Some(peer) = device.peer(&key(other)) else { continue };
            let (at, count) = last.get(&(node, other)).copied().unwrap_or((Instant::MIN, 0));
            let new = peer.initiations_sent.saturating_sub(count);
            if new > 0 {
                prop_assert!(new == 1, "{} initiations of {} to {} at once", new, node, other);
                let gap = world.now.saturating_duration_since(at);
                prop_assert!(gap >= ms(4750), "{} ms between initiations", gap.as_millis());
                last.insert((node, other), (world.now, peer.initiations_sent));
            }
        }
    }
    Ok(())
}
