//! A small mesh over the simplest tunnel there can be. The simulator has the real thing.

extern crate std;

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use super::{PORT, SECRET, key, mesh_address};
use crate::{
    Duration, Event, Instant, Interface, LinkState, Mesh, Output, PeerAction, PeerReading, PublicKey,
    SharedKey, limits::MAX_DATAGRAM,
};

const DELAY: Duration = Duration::from_millis(10);
type Small = Mesh<8>;

/// A peer in the simplest WireGuard: a session comes to be when a first packet gets through, and then carries everything.
#[derive(Default, Clone)]
struct TunnelPeer {
    endpoint: Option<SocketAddr>,
    session: bool,
    keepalive: u16,
    rx: u64,
    tx: u64,
    stamp: u64,
}

pub(super) struct Node {
    pub(super) mesh: Small,
    key: PublicKey,
    pub(super) address: IpAddr,
    underlay: SocketAddr,
    natted: bool,
    opened: BTreeSet<SocketAddr>,
    tunnel: BTreeMap<PublicKey, TunnelPeer>,
    rng: ChaCha8Rng,
    pub(super) events: Vec<Event>,
    pub(super) initiations: usize,
    pub(super) actions: Vec<(PublicKey, PeerAction)>,
}

/// A packet under way: from node to node, with a datagram of the mesh or a handshake.
struct Packet {
    at: Instant,
    from: usize,
    to: SocketAddr,
    datagram: Option<Vec<u8>>,
}

pub(super) struct Net {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Node>,
    packets: VecDeque<Packet>,
}

impl Net {
    /// Nodes behind a port-restricted NAT each where `natted` says so. Every node knows the endpoints of those that are not.
    pub(super) fn new(natted: &[bool]) -> Self {
        let now = Instant::from_secs(100);
        let count = natted.len();
        let mut nodes: Vec<Node> = natted
            .iter()
            .enumerate()
            .map(|(n, natted)| {
                let mut mesh = Small::new();
                mesh.set_secrets([SharedKey::derive(SECRET)]);
                for other in 0..count {
                    mesh.add_peer(now, key(other), mesh_address(other)).expect("room for all");
                }
                Node {
                    mesh,
                    key: key(n),
                    address: mesh_address(n),
                    underlay: SocketAddr::new(Ipv4Addr::new(203, 0, 113, n as u8 + 1).into(), PORT),
                    natted: *natted,
                    opened: BTreeSet::new(),
                    tunnel: BTreeMap::new(),
                    rng: ChaCha8Rng::seed_from_u64(n as u64),
                    events: Vec::new(),
                    initiations: 0,
                    actions: Vec::new(),
                }
            })
            .collect();
        let public: Vec<_> = nodes.iter().filter(|n| !n.natted).map(|n| (n.key, n.underlay)).collect();
        for (n, node) in nodes.iter_mut().enumerate() {
            for (key, endpoint) in &public {
                node.mesh.set_configured_endpoints(now, key, &[*endpoint]);
            }
            let local: IpAddr =
                if node.natted { Ipv4Addr::new(192, 168, n as u8, 2).into() } else { node.underlay.ip() };
            node.mesh.handle_local_addresses(now, &[local]);
            let interface = Interface { index: 7, public_key: node.key, listen_port: PORT };
            node.mesh.handle_interface(now, Some(interface));
        }
        Self { now, nodes, packets: VecDeque::new() }
    }

    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        for n in 0..self.nodes.len() {
            self.poll(n);
        }
        loop {
            let timers = self.nodes.iter().filter_map(|n| n.mesh.poll_timeout()).min();
            let packets = self.packets.front().map(|p| p.at);
            let Some(next) = timers.into_iter().chain(packets).min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            while self.packets.front().is_some_and(|p| p.at <= self.now) {
                if let Some(packet) = self.packets.pop_front() {
                    self.deliver(packet);
                }
            }
            for n in 0..self.nodes.len() {
                let (now, node) = (self.now, &mut self.nodes[n]);
                if node.mesh.poll_timeout().is_some_and(|at| at <= now) {
                    node.mesh.handle_timeout(now, &mut node.rng);
                    self.poll(n);
                    let again = self.nodes[n].mesh.poll_timeout();
                    assert!(
                        again.is_none_or(|at| at > now),
                        "node {n} wants to be called at {again:?} again"
                    );
                }
            }
        }
        self.now = end;
    }

    pub(super) fn poll(&mut self, n: usize) {
        let mut buffer = [0; MAX_DATAGRAM];
        for _ in 0..10_000 {
            let (now, node) = (self.now, &mut self.nodes[n]);
            let Some(output) = node.mesh.poll(now, &mut node.rng, &mut buffer) else { return };
            match output {
                Output::Datagram { to, len } => self.send(n, to, buffer[..len].to_vec()),
                Output::Opener { .. } => panic!("nobody has allowed openers"),
                Output::Lan { .. } => panic!("nobody has a LAN"),
                Output::Peer { key, action } => self.apply(n, key, action),
                Output::ReadInterface => self.read(n),
                Output::Store => {}
                Output::Event(event) => self.nodes[n].events.push(event),
            }
        }
        panic!("node {n} never runs out of outputs");
    }

    fn read(&mut self, n: usize) {
        let (now, node) = (self.now, &mut self.nodes[n]);
        node.mesh.begin_reading();
        for (key, peer) in &node.tunnel {
            let place = (0..8).find(|p| super::key(*p) == *key).expect("a key of ours");
            let reading = PeerReading {
                key: *key,
                endpoint: peer.endpoint,
                rx_bytes: peer.rx,
                tx_bytes: peer.tx,
                last_handshake: peer.stamp,
                keepalive: peer.keepalive,
            };
            node.mesh.handle_reading(now, &reading, [(mesh_address(place), 32)]);
        }
        node.mesh.end_reading(now);
    }

    fn apply(&mut self, n: usize, key: PublicKey, action: PeerAction) {
        let node = &mut self.nodes[n];
        node.actions.push((key, action));
        match action {
            PeerAction::Add { endpoint, .. } => node.tunnel.entry(key).or_default().endpoint = endpoint,
            PeerAction::Readd { endpoint } => {
                let live = node.mesh.peers().any(|p| p.key == key && p.state == LinkState::Connected);
                assert!(!live, "node {n} re-adds a live peer");
                node.tunnel.insert(key, TunnelPeer { endpoint, ..TunnelPeer::default() });
            }
            PeerAction::SetEndpoint(endpoint) => {
                node.tunnel.entry(key).and_modify(|p| p.endpoint = Some(endpoint));
            }
            PeerAction::SetKeepalive(keepalive) => {
                node.tunnel.entry(key).and_modify(|p| p.keepalive = keepalive);
            }
            PeerAction::Remove => {
                node.tunnel.remove(&key);
            }
        }
    }

    fn send(&mut self, n: usize, to: IpAddr, datagram: Vec<u8>) {
        let other = (0..self.nodes.len()).find(|i| mesh_address(*i) == to).expect("a mesh address");
        let key = key(other);
        let node = &mut self.nodes[n];
        let Some(peer) = node.tunnel.get_mut(&key) else { return };
        let Some(endpoint) = peer.endpoint else { return };
        peer.tx += 128;
        if !peer.session {
            node.initiations += 1;
        }
        node.opened.insert(endpoint);
        let packet = Packet { at: self.now + DELAY, from: n, to: endpoint, datagram: Some(datagram) };
        self.packets.push_back(packet);
    }

    fn deliver(&mut self, packet: Packet) {
        let from = self.nodes[packet.from].underlay;
        let from_key = self.nodes[packet.from].key;
        let from_address = self.nodes[packet.from].address;
        let Some(n) = self.nodes.iter().position(|n| n.underlay == packet.to) else { return };
        let (now, node) = (self.now, &mut self.nodes[n]);
        if node.natted && !node.opened.contains(&from) {
            return;
        }
        let Some(peer) = node.tunnel.get_mut(&from_key) else { return };
        peer.endpoint = Some(from);
        peer.rx += 128;
        peer.stamp = peer.stamp.max(1);
        peer.session = true;
        node.opened.insert(from);
        let own = node.key;
        // The simplest handshake: whoever is heard has a session at once.
        if let Some(theirs) = self.nodes[packet.from].tunnel.get_mut(&own) {
            theirs.session = true;
            theirs.stamp = theirs.stamp.max(1);
        }
        if let Some(mut datagram) = packet.datagram {
            self.nodes[n].mesh.handle_datagram(now, from_address, &mut datagram);
            self.poll(n);
        }
    }

    pub(super) fn connected(&self) -> usize {
        self.nodes.iter().map(|n| n.mesh.node().connected).sum()
    }
}
