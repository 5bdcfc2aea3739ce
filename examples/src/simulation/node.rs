//! One node: an engine over a WireGuard device, as the daemon runs it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use embassy_time::Instant;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use wgautomesh_core::{
    Event, Interface, LanLink, LinkState, Mesh, OPENER_MAGIC, Output, PeerAction, PeerReading, PeerStatus,
    PublicKey, Scope, SharedKey, StoredRecord, limits::MAX_DATAGRAM, scope,
};

use crate::virtual_internet::{
    HostId, Proto, ip,
    wireguard::{AllowedIp, Device, Out, PeerChange, WallClock, kind},
};

/// The gossip port of every simulated node.
pub const GOSSIP_PORT: u16 = 1666;
/// Everybody on an IPv6 link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The gossip secret of every simulated node.
pub const SECRET: &[u8] = b"one secret for all that is simulated";
const NEXT_SECRET: &[u8] = b"another secret that all change over to";

/// How far a node has gone from one secret to another, by its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rotation {
    /// It has the old one only.
    Old,
    /// It has the next one too.
    NextToo,
    /// The next one is its present one, and it still has the one before.
    Swapped,
    /// It has the new one only.
    New,
}

/// The key of a node by its number. Keys are in no order, as real ones are.
#[must_use]
pub fn key_of(number: usize) -> PublicKey {
    let mut bytes = [0; 32];
    ChaCha8Rng::seed_from_u64(0x6b65_7900 + number as u64).fill_bytes(&mut bytes);
    PublicKey::from_bytes(bytes)
}

/// The mesh address of a node by its number: 10.0.0.0/8.
#[must_use]
pub fn address_of(number: usize) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0001 + number as u32).into()
}

/// What a node is configured with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its number, which gives key and mesh address.
    pub number: usize,
    /// Where it is.
    pub host: HostId,
    /// The port of its WireGuard.
    pub port: u16,
    /// Its peers by number, and the endpoints configured for each. May contain itself.
    pub peers: Vec<(usize, Vec<SocketAddr>)>,
}

/// What a node's engine did that it must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The node.
    pub node: usize,
    /// When.
    pub at: Instant,
    /// What.
    pub what: String,
}

/// A node that runs: engine and WireGuard device.
pub struct Node<const PEERS: usize> {
    /// What it is configured with.
    pub setup: Setup,
    /// Its engine; `None` while the daemon does not run.
    pub mesh: Option<Box<Mesh<PEERS>>>,
    /// Its WireGuard.
    pub device: Device,
    /// When the engine said that a peer is connected, by the peer's number, for the first time.
    pub first_connected: Vec<Option<Instant>>,
    /// Gossip sent, in bytes of UDP payload, over all runs of the daemon.
    pub gossip_bytes: u64,
    /// Datagrams of gossip sent.
    pub gossip_packets: u64,
    /// How often the engine had something worth storing.
    pub stores: u64,
    /// Whether its daemon has a state file; what is in it, written whenever there is news, outlives reboots.
    pub remembers: bool,
    /// See `remembers`.
    pub memory: Vec<StoredRecord>,
    /// Times the interface was read.
    pub readings: u64,
    /// Which secrets it is configured with.
    pub rotation: Rotation,
    /// Whether its daemon may use raw sockets.
    pub openers: bool,
    /// Whether its daemon looks for peers on its LAN.
    pub lan: bool,
    /// Its link-local address, where there is IPv6 on its LAN.
    pub link_local: Option<Ipv6Addr>,
    /// Echo replies that the node's user got.
    pub echoes: u64,
    /// The gossip secret that its daemon is started with, where it is not that of all others.
    pub secret: Option<Vec<u8>>,
    /// Mesh addresses from which a firewall inside its tunnel lets no gossip through.
    pub firewall: Vec<IpAddr>,
    /// What its engine has told, if it is to be kept.
    pub events: Option<Vec<(Instant, Event)>>,
    index: u32,
    rng: ChaCha8Rng,
    seed: u64,
    runs: u64,
    keys: std::rc::Rc<std::collections::HashMap<PublicKey, usize>>,
    /// Everything that happened, hashed.
    pub(super) trace: u64,
    pub(super) log: Option<Vec<(Instant, String)>>,
}

/// What a node wants sent on the underlay.
pub(super) struct Underlay {
    /// From and to the LAN port, not WireGuard's.
    pub(super) lan: bool,
    /// From which of the host's addresses; else from the one that it prefers.
    pub(super) from: Option<IpAddr>,
    pub(super) to: SocketAddr,
    pub(super) hops: Option<u8>,
    pub(super) datagram: Vec<u8>,
}

fn set_secrets<const PEERS: usize>(mesh: &mut Mesh<PEERS>, rotation: Rotation) {
    let [old, new] = [SECRET, NEXT_SECRET].map(SharedKey::derive);
    match rotation {
        Rotation::Old => mesh.set_secrets([old]),
        Rotation::NextToo => mesh.set_secrets([old, new]),
        Rotation::Swapped => mesh.set_secrets_after(old, new),
        Rotation::New => mesh.set_secrets([new]),
    }
}

impl<const PEERS: usize> Node<PEERS> {
    pub(super) fn new(
        setup: Setup,
        seed: u64,
        nodes: usize,
        keys: std::rc::Rc<std::collections::HashMap<PublicKey, usize>>,
    ) -> Self {
        let device = Device::new(*key_of(setup.number).as_bytes(), setup.port, seed ^ 1);
        Self {
            mesh: None,
            device,
            first_connected: vec![None; nodes],
            gossip_bytes: 0,
            gossip_packets: 0,
            stores: 0,
            remembers: false,
            memory: Vec::new(),
            readings: 0,
            rotation: Rotation::Old,
            openers: true,
            lan: false,
            link_local: None,
            echoes: 0,
            secret: None,
            firewall: Vec::new(),
            events: None,
            index: 1,
            rng: ChaCha8Rng::seed_from_u64(seed ^ 2),
            seed,
            runs: 0,
            keys,
            trace: 0xcbf2_9ce4_8422_2325,
            log: None,
            setup,
        }
    }

    /// Starts the daemon.
    pub(super) fn start(&mut self, now: Instant, local: &[IpAddr]) {
        self.runs += 1;
        self.rng = ChaCha8Rng::seed_from_u64(self.seed ^ (self.runs << 32));
        let mut mesh = Box::new(Mesh::new());
        set_secrets(&mut mesh, self.rotation);
        if let Some(secret) = &self.secret {
            mesh.set_secrets([SharedKey::derive(secret)]);
        }
        mesh.allow_openers(now, self.openers);
        for (number, endpoints) in &self.setup.peers {
            let key = key_of(*number);
            mesh.add_peer(now, key, address_of(*number)).expect("a simulated mesh has room for its peers");
            if !endpoints.is_empty() {
                mesh.set_configured_endpoints(now, &key, endpoints);
            }
        }
        self.memory.iter().for_each(|record| mesh.handle_stored_record(now, record));
        mesh.handle_local_addresses(now, local);
        mesh.handle_lan_links(now, &self.lan_links(local));
        mesh.handle_interface(now, Some(self.interface()));
        self.mesh = Some(mesh);
    }

    /// The interface that it is on its LAN by: another one on each machine, so that nobody can take over another's.
    #[must_use]
    pub const fn lan_index(&self) -> u32 {
        2 + self.setup.number as u32
    }

    /// Where it is on a LAN: homes hand out IPv4 networks of 256 addresses.
    pub(super) fn lan_links(&self, local: &[IpAddr]) -> Vec<LanLink> {
        let private = local.iter().filter(|ip| ip.is_ipv4() && scope(**ip) == Scope::Private);
        let of_link = self.link_local.map(|ip| (IpAddr::V6(ip), 64));
        let places = private.map(|ip| (*ip, 24)).chain(of_link).filter(|_| self.lan);
        places.map(|(address, prefix)| LanLink { index: self.lan_index(), address, prefix }).collect()
    }

    /// Where a datagram came from, as a socket says: with the interface, if the address is of a link.
    pub(super) const fn with_zone(&self, from: SocketAddr) -> SocketAddr {
        match from {
            SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => {
                SocketAddr::V6(SocketAddrV6::new(*v6.ip(), v6.port(), 0, self.lan_index()))
            }
            other => other,
        }
    }

    /// Checks what a socket would refuse: a link-local address on no link, or on one that is not there.
    pub(super) fn check_zone(&self, now: Instant, to: SocketAddr, faults: &mut Vec<Violation>) {
        if self.with_zone(to) != to {
            self.violation(now, &format!("sends to {to}, which is not on its link"), faults);
        }
    }

    /// A datagram arrived at the LAN port.
    pub(super) fn receive_lan(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let index = self.lan_index();
        if let Some(mesh) = &mut self.mesh {
            mesh.handle_lan_datagram(now, index, from, &mut datagram.to_vec());
        }
    }

    fn interface(&self) -> Interface {
        Interface {
            index: self.index,
            public_key: key_of(self.setup.number),
            listen_port: self.device.listen_port(),
        }
    }

    /// Configures other endpoints for a peer, for now and for the next start. A node that is not a peer changes nothing.
    pub(super) fn set_configured_endpoints(&mut self, now: Instant, of: usize, endpoints: &[SocketAddr]) {
        let Some((_, known)) = self.setup.peers.iter_mut().find(|(number, _)| *number == of) else { return };
        *known = endpoints.to_vec();
        if let Some(mesh) = &mut self.mesh {
            mesh.set_configured_endpoints(now, &key_of(of), endpoints);
        }
    }

    /// Goes to another step of the change of secrets, for now and for the next start.
    pub(super) fn rotate(&mut self, rotation: Rotation) {
        self.rotation = rotation;
        if let Some(mesh) = &mut self.mesh {
            set_secrets(mesh, rotation);
        }
    }

    /// The user sends an echo request to another node's mesh address.
    pub(super) fn ping(&mut self, now: Instant, to: usize) {
        let request = ip::echo(false, address_of(self.setup.number), address_of(to), 1, 1, &[]);
        // What WireGuard refuses because it has no such peer or no endpoint, the user is told.
        let _ = request.map(|packet| self.device.send(now, packet));
    }

    /// Ends the daemon: as SIGTERM does, or as SIGKILL does.
    pub(super) fn stop(
        &mut self,
        now: Instant,
        kill: bool,
        out: &mut Vec<Underlay>,
        faults: &mut Vec<Violation>,
    ) {
        if let Some(mesh) = &mut self.mesh
            && !kill
        {
            mesh.shutdown();
            self.work(now, out, faults);
        }
        self.mesh = None;
    }

    /// Makes the interface anew: all sessions and peers are gone.
    pub(super) fn remake_device(&mut self, now: Instant) {
        self.index += 1;
        let wall = self.device.wall_clock(now);
        let key = *key_of(self.setup.number).as_bytes();
        self.device = Device::new(key, self.setup.port, self.seed ^ u64::from(self.index) << 8);
        self.device.set_wall_clock(now, wall);
        let interface = self.interface();
        if let Some(mesh) = &mut self.mesh {
            mesh.handle_interface(now, None);
            mesh.handle_interface(now, Some(interface));
        }
    }

    /// Sets the machine's wall clock.
    pub(super) fn set_wall_clock(&mut self, now: Instant, seconds: u64) {
        self.device.set_wall_clock(now, WallClock { secs: seconds, nanos: 0 });
    }

    /// When it wants to work next.
    pub(super) fn next(&self) -> Option<Instant> {
        let mesh = self.mesh.as_ref().and_then(|m| m.poll_timeout());
        mesh.into_iter().chain(self.device.poll_timeout()).min()
    }

    /// A datagram arrived at WireGuard's port.
    pub(super) fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        if let Some(log) = &mut self.log {
            let kind = kind(datagram);
            log.push((now, format!("<- {from} {kind:?} {}", datagram.len())));
        }
        if datagram.starts_with(&OPENER_MAGIC)
            && let Some(mesh) = &mut self.mesh
        {
            mesh.handle_opener(now, from, &mut datagram.to_vec());
        }
        self.device.handle_datagram(now, from, datagram);
    }

    /// Does everything there is to do now.
    pub(super) fn work(&mut self, now: Instant, out: &mut Vec<Underlay>, faults: &mut Vec<Violation>) {
        for round in 0.. {
            let mut idle = true;
            while let Some(action) = self.device.poll(now) {
                idle = false;
                match action {
                    Out::Send { to, datagram } => {
                        if let Some(log) = &mut self.log {
                            log.push((now, format!("-> {to} {:?} {}", kind(&datagram), datagram.len())));
                        }
                        out.push(Underlay { lan: false, from: None, to, hops: None, datagram });
                    }
                    Out::Deliver { packet, .. } => self.deliver(now, packet),
                }
            }
            if let Some(mesh) = &mut self.mesh {
                if mesh.poll_timeout().is_some_and(|at| at <= now) {
                    mesh.handle_timeout(now, &mut self.rng);
                    idle = false;
                }
                let mut buffer = [0; MAX_DATAGRAM];
                while let Some(output) =
                    self.mesh.as_mut().and_then(|m| m.poll(now, &mut self.rng, &mut buffer))
                {
                    idle = false;
                    self.carry_out(now, output, &buffer, out, faults);
                }
            }
            if idle {
                break;
            }
            if round > 10_000 {
                self.violation(now, "never comes to rest", faults);
                break;
            }
        }
        if let Some(mesh) = &self.mesh
            && mesh.poll_timeout().is_some_and(|at| at <= now)
        {
            self.violation(now, "the next timeout is not after now, and nothing is pending", faults);
        }
    }

    fn violation(&self, now: Instant, what: &str, faults: &mut Vec<Violation>) {
        faults.push(Violation { node: self.setup.number, at: now, what: what.to_string() });
    }

    fn deliver(&mut self, now: Instant, packet: Vec<u8>) {
        let Ok(header) = ip::parse(&packet) else { return };
        let Ok(payload) = ip::payload(&packet) else { return };
        match header.proto {
            Proto::EchoRequest => {
                let reply = ip::echo(true, header.dst.ip(), header.src.ip(), 1, 1, payload);
                let _ = reply.map(|packet| self.device.send(now, packet));
                return;
            }
            Proto::EchoReply => {
                self.echoes += 1;
                return;
            }
            Proto::Udp if header.dst.port() != GOSSIP_PORT || self.firewall.contains(&header.src.ip()) => {
                return;
            }
            Proto::Udp => {}
        }
        self.mix(now, payload.len() as u64);
        if let Some(mesh) = &mut self.mesh {
            mesh.handle_datagram(now, header.src.ip(), &mut payload.to_vec());
        }
    }

    fn carry_out(
        &mut self,
        now: Instant,
        output: Output,
        buffer: &[u8],
        out: &mut Vec<Underlay>,
        faults: &mut Vec<Violation>,
    ) {
        match output {
            Output::Datagram { to, len } => {
                self.gossip_bytes += len as u64;
                self.gossip_packets += 1;
                self.mix(now, len as u64 ^ 0x5e17d);
                let from = SocketAddr::new(address_of(self.setup.number), GOSSIP_PORT);
                // Without a session or an endpoint WireGuard refuses or keeps it, which the engine reckons with.
                let _ = self.device.send_udp(now, from, SocketAddr::new(to, GOSSIP_PORT), &buffer[..len]);
            }
            Output::Opener { from, to, len, hops } => {
                self.mix(now, 0x09e4);
                if let Some(log) = &mut self.log {
                    log.push((now, format!("-> {to} opener, {hops:?} hops")));
                }
                if !self.openers {
                    self.violation(now, "sends openers without being allowed to", faults);
                }
                self.check_candidate(now, to, faults);
                out.push(Underlay { lan: false, from, to, hops, datagram: buffer[..len].to_vec() });
            }
            Output::Lan { index, from, to, len } => {
                self.mix(now, 0x1a4);
                if !self.lan || index != self.lan_index() {
                    self.violation(now, "sends on a LAN that it is not on", faults);
                }
                let everybody = if from.is_ipv4() { Ipv4Addr::BROADCAST.into() } else { ALL_NODES.into() };
                let to = self.with_zone(SocketAddr::new(to.unwrap_or(everybody), GOSSIP_PORT));
                let datagram = buffer[..len].to_vec();
                out.push(Underlay { lan: true, from: Some(from), to, hops: Some(1), datagram });
            }
            Output::Peer { key, action } => self.apply(now, key, action, faults),
            Output::ReadInterface => self.read(now),
            Output::Store => {
                self.stores += 1;
                if self.remembers {
                    self.memory = self.mesh.iter().flat_map(|mesh| mesh.stored_records()).collect();
                }
            }
            Output::Event(event) => self.note(now, event),
            other => self.violation(now, &format!("an output nobody knows: {other:?}"), faults),
        }
    }

    fn apply(&mut self, now: Instant, key: PublicKey, action: PeerAction, faults: &mut Vec<Violation>) {
        self.mix(now, 0xac71);
        if let Some(log) = &mut self.log {
            log.push((now, format!("{:?} {action:?}", self.keys.get(&key))));
        }
        let raw = *key.as_bytes();
        if let PeerAction::Readd { endpoint } | PeerAction::Add { endpoint, .. } = action
            && let Some(endpoint) = endpoint
        {
            self.check_candidate(now, endpoint, faults);
        }
        match action {
            PeerAction::Add { address, endpoint } => {
                let range = AllowedIp::host(address);
                let mut change = PeerChange::new(raw).allow(range);
                change.endpoint = endpoint;
                self.device.configure(now, &[change]);
            }
            PeerAction::Readd { endpoint } => {
                let live = self.mesh.as_ref().is_some_and(|m| {
                    m.peers()
                        .any(|p| p.key == key && matches!(p.state, LinkState::Connected | LinkState::Probing))
                });
                if live {
                    self.violation(now, "a live peer is re-added", faults);
                }
                let mut again = PeerChange::new(raw);
                if let Some(peer) = self.device.peer(&raw) {
                    again.allowed_ips = peer.allowed_ips.to_vec();
                    again.preshared_key = peer.preshared_key;
                }
                again.endpoint = endpoint;
                self.device.configure(now, &[PeerChange::remove(raw), again]);
            }
            PeerAction::SetEndpoint(endpoint) => {
                let mut change = PeerChange::new(raw).endpoint(endpoint);
                change.update_only = true;
                self.device.configure(now, &[change]);
            }
            PeerAction::SetKeepalive(seconds) => {
                let mut change = PeerChange::new(raw).keepalive(seconds);
                change.update_only = true;
                self.device.configure(now, &[change]);
            }
            PeerAction::Remove => self.device.configure(now, &[PeerChange::remove(raw)]),
            other => self.violation(now, &format!("an action nobody knows: {other:?}"), faults),
        }
    }

    /// Addresses that must never be sent to.
    fn check_candidate(&self, now: Instant, endpoint: SocketAddr, faults: &mut Vec<Violation>) {
        let ip = endpoint.ip();
        let in_mesh = matches!(ip, IpAddr::V4(v4) if v4.octets()[0] == 10);
        let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
        if ip.is_loopback()
            || ip.is_multicast()
            || ip.is_unspecified()
            || broadcast
            || endpoint.port() == 0
            || in_mesh
        {
            self.violation(now, &format!("fires at {endpoint}"), faults);
        }
    }

    fn read(&mut self, now: Instant) {
        self.readings += 1;
        let Some(mesh) = &mut self.mesh else { return };
        mesh.begin_reading();
        for peer in self.device.peers() {
            let stamp = peer.last_handshake.map_or(0, |w| w.secs * 1_000_000_000 + u64::from(w.nanos));
            let reading = PeerReading {
                key: PublicKey::from_bytes(peer.key),
                endpoint: peer.endpoint,
                rx_bytes: peer.rx_bytes,
                tx_bytes: peer.tx_bytes,
                last_handshake: stamp,
                keepalive: peer.keepalive,
            };
            mesh.handle_reading(now, &reading, peer.allowed_ips.iter().map(|r| (r.address, r.prefix)));
        }
        mesh.end_reading(now);
    }

    fn note(&mut self, now: Instant, event: Event) {
        if let Event::Connected { key, .. } = event
            && let Some(number) = self.keys.get(&key)
        {
            self.first_connected[*number].get_or_insert(now);
            self.mix(now, *number as u64);
        }
        if let Some(log) = &mut self.log {
            log.push((now, format!("{event:?}")));
        }
        if let Some(events) = &mut self.events {
            events.push((now, event));
        }
    }

    /// FNV-1a over what happened and when.
    fn mix(&mut self, now: Instant, what: u64) {
        for value in [now.as_micros(), what] {
            self.trace = (self.trace ^ value).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// How it stands with that node, by the engine. `None` while the daemon does not run, and for a stranger.
    #[must_use]
    pub fn status_of(&self, number: usize) -> Option<PeerStatus> {
        let address = address_of(number);
        self.mesh.as_ref()?.peers().find(|p| p.address == address)
    }

    /// Whether the engine has a live link to that node.
    #[must_use]
    pub fn is_connected(&self, number: usize) -> bool {
        self.status_of(number).is_some_and(|p| matches!(p.state, LinkState::Connected | LinkState::Probing))
    }

    /// How many live links the engine has.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.mesh.as_ref().map_or(0, |m| m.connected())
    }

    /// The digest of its records.
    #[must_use]
    pub fn digest(&self) -> Option<u64> {
        self.mesh.as_ref().map(|m| m.digest())
    }

    /// One line about a peer, for people who look for a fault.
    #[must_use]
    pub fn describe(&self, number: usize) -> String {
        format!("{:?}", self.status_of(number))
    }
}
