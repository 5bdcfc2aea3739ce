//! One engine on a bench: the test plays its WireGuard, its clock and all of its peers.

extern crate std;

use core::net::{IpAddr, SocketAddr};
use std::{collections::BTreeMap, format, vec, vec::Vec};

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::de::DeserializeOwned;

use super::{PORT, SECRET, key, mesh_address};
use crate::{
    ActionError, Duration, Endpoint, Event, Instant, Interface, LinkState, Mesh, NatClass, Output,
    PeerAction, PeerReading, PublicKey, Reason, SharedKey, StoredRecord,
    limits::MAX_DATAGRAM,
    record::{Claim, Order, Origin, RecordEndpoint},
    seal::{self, HEADER},
    testing::{Counting, at},
    wire::{self, Entry, Hello, Intro, Kind, Reader, Role, Writer},
};

/// More than the engine may ever put out after one input.
const OUTPUTS: usize = 300;

/// A datagram of the engine, opened.
pub(super) struct Sent {
    pub(super) at: Instant,
    pub(super) to: IpAddr,
    /// Which of the bench's keys it was sealed with.
    pub(super) secret: usize,
    pub(super) frames: Vec<(Kind, Vec<u8>)>,
}

/// A peer as the bench's WireGuard has it.
pub(super) struct Shown {
    pub(super) reading: PeerReading,
    pub(super) allowed_ips: Vec<(IpAddr, u8)>,
}

/// Node 0 of a mesh, and everything around it.
pub(super) struct Bench<const N: usize> {
    pub(super) mesh: Mesh<N>,
    pub(super) now: Instant,
    pub(super) tunnel: BTreeMap<PublicKey, Shown>,
    /// The secrets that there are, the newest last, and which of them the bench's peers seal with.
    pub(super) secrets: Vec<SharedKey>,
    pub(super) seals_with: usize,
    pub(super) sent: Vec<Sent>,
    /// Openers: where to, how many hops, and their bytes.
    pub(super) openers: Vec<(SocketAddr, Option<u8>, Vec<u8>)>,
    /// What went out on LANs: by which interface, from and to where, and the bytes.
    pub(super) lan: Vec<(u32, IpAddr, Option<IpAddr>, Vec<u8>)>,
    /// Which of our addresses each of them leaves from.
    pub(super) opened_from: Vec<Option<IpAddr>>,
    pub(super) events: Vec<Event>,
    /// How often something was worth storing.
    pub(super) stores: usize,
    pub(super) actions: Vec<(PublicKey, PeerAction)>,
    /// Which actions fail, and how.
    pub(super) refuse: fn(&PeerAction) -> Option<ActionError>,
    /// Peers that echo every Hello at once.
    pub(super) answering: Vec<usize>,
    /// What the peers say is their digest; the engine's own where it is `None`.
    pub(super) digest: Option<u64>,
    /// The peers say that they are well connected; they are leaves otherwise, as in a mesh so small they would be.
    pub(super) well_connected: bool,
    /// The newest record of the engine itself that it has sent.
    pub(super) published: Option<Entry>,
    rng: ChaCha8Rng,
}

impl<const N: usize> Bench<N> {
    /// With peers 1 to `peers` configured, each with an endpoint of its own, and none of them connected.
    pub(super) fn new(peers: usize) -> Self {
        Self::remembering(peers, &[])
    }

    /// The same, after a restart.
    pub(super) fn remembering(peers: usize, records: &[StoredRecord]) -> Self {
        let now = Instant::from_secs(1000);
        let mut mesh = Mesh::new();
        mesh.set_secrets([SharedKey::derive(SECRET)]);
        for n in 1..=peers {
            mesh.add_peer(now, key(n), mesh_address(n)).expect("room for all");
        }
        records.iter().for_each(|record| mesh.handle_stored_record(now, record));
        mesh.handle_local_addresses(now, &[IpAddr::from([198, 51, 100, 1])]);
        mesh.handle_interface(now, Some(Interface { index: 7, public_key: key(0), listen_port: PORT }));
        let mut bench = Self {
            mesh,
            now,
            tunnel: BTreeMap::new(),
            secrets: vec![SharedKey::derive(SECRET)],
            seals_with: 0,
            sent: Vec::new(),
            openers: Vec::new(),
            lan: Vec::new(),
            opened_from: Vec::new(),
            events: Vec::new(),
            stores: 0,
            actions: Vec::new(),
            refuse: |_| None,
            answering: Vec::new(),
            digest: None,
            well_connected: false,
            published: None,
            rng: ChaCha8Rng::seed_from_u64(1),
        };
        bench.poll();
        bench.advance(Duration::from_millis(100));
        bench
    }

    /// The same, and these of them connected.
    pub(super) fn connected(peers: usize, connected: impl IntoIterator<Item = usize>) -> Self {
        let mut bench = Self::new(peers);
        for n in connected {
            bench.connect(n);
        }
        bench.forget();
        bench
    }

    /// Forgets what was put out so far.
    pub(super) fn forget(&mut self) {
        self.sent.clear();
        self.openers.clear();
        self.lan.clear();
        self.opened_from.clear();
        self.events.clear();
        self.stores = 0;
        self.actions.clear();
    }

    // ---- the engine's surroundings

    /// Carries out all that the engine wants now.
    pub(super) fn poll(&mut self) {
        let mut buffer = [0; MAX_DATAGRAM];
        for _ in 0..OUTPUTS {
            match self.mesh.poll(self.now, &mut self.rng, &mut buffer) {
                Some(Output::Datagram { to, len }) => self.sent(to, &buffer[..len]),
                Some(Output::Opener { from, to, len, hops }) => {
                    self.opened_from.push(from);
                    self.openers.push((to, hops, buffer[..len].to_vec()));
                }
                Some(Output::Lan { index, from, to, len }) => {
                    self.lan.push((index, from, to, buffer[..len].to_vec()));
                }
                Some(Output::Peer { key, action }) => self.act(key, action),
                Some(Output::ReadInterface) => self.read(),
                Some(Output::Store) => self.stores += 1,
                Some(Output::Event(event)) => self.events.push(event),
                None => return,
            }
        }
        panic!("more than {OUTPUTS} outputs after one input");
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut answers = 0;
        while let Some(at) = self.mesh.poll_timeout().filter(|at| *at <= end) {
            answers = if at > self.now { 0 } else { answers + 1 };
            self.now = self.now.max(at);
            self.mesh.handle_timeout(self.now, &mut self.rng);
            let (again, received) = (self.mesh.poll_timeout(), self.mesh.counters().received);
            self.poll();
            // Only what came in meanwhile may be a reason to be called at once again, and not for ever.
            let heard = self.mesh.counters().received != received;
            let quiet = again == self.mesh.poll_timeout() && !heard;
            assert!(!quiet || again.is_none_or(|at| at > self.now), "wants to be called at {again:?} again");
            assert!(answers < 8, "wants to be called at {again:?} again and again");
        }
        self.now = end;
    }

    /// Shows the engine what WireGuard has.
    pub(super) fn read(&mut self) {
        self.mesh.begin_reading();
        for shown in self.tunnel.values() {
            self.mesh.handle_reading(self.now, &shown.reading, shown.allowed_ips.iter().copied());
        }
        self.mesh.end_reading(self.now);
    }

    fn act(&mut self, key: PublicKey, action: PeerAction) {
        self.actions.push((key, action));
        if let Some(error) = (self.refuse)(&action) {
            return self.mesh.handle_action_error(self.now, &key, &action, error);
        }
        let n = number(&key);
        match action {
            PeerAction::Add { address, endpoint } => {
                let new = Shown { reading: reading(n, endpoint), allowed_ips: vec![] };
                let shown = self.tunnel.entry(key).or_insert(new);
                shown.allowed_ips.retain(|(known, _)| *known != address);
                shown.allowed_ips.push((address, 32));
            }
            PeerAction::Readd { endpoint } => {
                let shown = self.tunnel.get_mut(&key).expect("it is only asked for where there is one");
                shown.reading = reading(n, endpoint);
            }
            PeerAction::SetEndpoint(endpoint) => {
                self.tunnel.entry(key).and_modify(|shown| shown.reading.endpoint = Some(endpoint));
            }
            PeerAction::SetKeepalive(keepalive) => {
                self.tunnel.entry(key).and_modify(|shown| shown.reading.keepalive = keepalive);
            }
            PeerAction::Remove => {
                self.tunnel.remove(&key);
            }
        }
    }

    fn sent(&mut self, to: IpAddr, datagram: &[u8]) {
        let mut datagram = datagram.to_vec();
        let (frames, secret) = seal::open(&self.secrets, &mut datagram).expect("sealed with one of ours");
        let mut reader = Reader::new(frames);
        let mut all = Vec::new();
        while let Some(frame) = reader.next() {
            let (kind, body) = frame.expect("well-formed");
            all.push((kind.expect("of a known type"), body.to_vec()));
        }
        assert!(!all.is_empty(), "an empty datagram");
        for entry in entries(&all).into_iter().filter(|entry| entry.id == key(0)) {
            self.published = Some(entry);
        }
        let sent = Sent { at: self.now, to, secret, frames: all };
        let from = (1..16).find(|n| mesh_address(*n) == to).filter(|n| self.answering.contains(n));
        let asked = sent.first::<Hello>(Kind::Hello).or_else(|| sent.first::<Hello>(Kind::HelloAck));
        self.sent.push(sent);
        if let Some(from) = from
            && let Some(asked) = asked.filter(|hello| hello.token != [0; 4])
        {
            let ack = Hello { echo: asked.token, token: [0; 4], ..self.hello() };
            self.tell(from, |writer| writer.frame(Kind::HelloAck, &ack));
        }
    }

    // ---- the peers' part

    /// A Hello of a peer that holds all that we have published.
    pub(super) fn hello(&self) -> Hello {
        Hello {
            token: [1, 2, 3, 4],
            echo: [0; 4],
            digest: self.digest.unwrap_or(self.mesh.node().digest).to_le_bytes(),
            holds: self.published.as_ref().map_or(Order::NONE, |entry| entry.claim.order),
            seen: None,
            hint: self.secrets.get(self.seals_with).map_or(0, SharedKey::hint),
            flags: if self.well_connected { 0 } else { Hello::LEAF },
        }
    }

    /// Hands over a datagram of a peer; nothing is polled.
    fn tell(&mut self, from: usize, frames: impl FnOnce(&mut Writer<'_>) -> bool) {
        let mut datagram = self.datagram(frames);
        self.mesh.handle_datagram(self.now, mesh_address(from), &mut datagram);
    }

    /// A datagram with these frames.
    pub(super) fn datagram(&self, frames: impl FnOnce(&mut Writer<'_>) -> bool) -> Vec<u8> {
        let mut buffer = [0; MAX_DATAGRAM];
        let mut writer = Writer::new(&mut buffer[HEADER..]);
        assert!(frames(&mut writer), "it fits");
        let len = writer.len();
        let len =
            seal::seal(&self.secrets[self.seals_with], &mut buffer, len, &mut Counting(0)).expect("it fits");
        buffer[..len].to_vec()
    }

    /// A peer sends a datagram with these frames; the engine does what it wants.
    pub(super) fn hear(&mut self, from: usize, frames: impl FnOnce(&mut Writer<'_>) -> bool) {
        self.tell(from, frames);
        self.poll();
    }

    /// A peer sends one message.
    pub(super) fn hear_one<T: serde::Serialize>(&mut self, from: usize, kind: Kind, message: &T) {
        self.hear(from, |writer| writer.frame(kind, message));
    }

    /// A peer's daemon says goodbye; its WireGuard goes on.
    pub(super) fn hear_bye(&mut self, from: usize) {
        self.hear(from, |writer| {
            let start = writer.len();
            let begun = writer.begin(Kind::Bye);
            writer.end(start);
            begun
        });
    }

    /// A peer passes on records.
    pub(super) fn hear_records(&mut self, from: usize, entries: &[Entry]) {
        self.hear(from, |writer| {
            let start = writer.len();
            let written = writer.begin(Kind::Rumor) && entries.iter().all(|entry| writer.append_sized(entry));
            writer.end(start);
            written
        });
    }

    /// WireGuard gets a session with a peer, which says Hello until it is connected.
    pub(super) fn connect(&mut self, n: usize) {
        self.connect_at(n, self.endpoint_of(n));
    }

    /// The same, seen there.
    pub(super) fn connect_at(&mut self, n: usize, endpoint: SocketAddr) {
        let shown = self.tunnel.get_mut(&key(n)).expect("the engine has added it");
        shown.reading.endpoint = Some(endpoint);
        shown.reading.rx_bytes += 240;
        shown.reading.last_handshake += 1;
        self.read();
        self.answering.push(n);
        let hello = self.hello();
        self.hear_one(n, Kind::Hello, &hello);
        self.poll();
        assert_eq!(self.state(n), LinkState::Connected, "node {n}");
    }

    /// Where the bench's WireGuard sees a peer.
    pub(super) fn endpoint_of(&self, n: usize) -> SocketAddr {
        SocketAddr::new(IpAddr::from([203, 0, 113, n as u8]), PORT)
    }

    // ---- what can be asked

    pub(super) fn state(&self, n: usize) -> LinkState {
        self.mesh.peers().find(|peer| peer.key == key(n)).expect("a peer of ours").state
    }

    pub(super) fn reason(&self, n: usize) -> Option<Reason> {
        self.mesh.peers().find(|peer| peer.key == key(n)).expect("a peer of ours").reason
    }

    /// Which record of a peer the engine holds, if any.
    pub(super) fn held(&self, n: usize) -> Option<Claim> {
        let place = self.mesh.peers.find(&key(n))?;
        self.mesh.peers.get(place)?.held.claim.clone()
    }

    /// What was sent to a peer.
    pub(super) fn sent_to(&self, n: usize) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(move |sent| sent.to == mesh_address(n))
    }

    /// All records that were sent to a peer.
    pub(super) fn records_sent_to(&self, n: usize) -> Vec<Entry> {
        self.sent_to(n).flat_map(|sent| entries(&sent.frames)).collect()
    }

    pub(super) fn has_event(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(wanted)
    }
}

impl Sent {
    /// The first message of a kind.
    pub(super) fn first<T: DeserializeOwned>(&self, kind: Kind) -> Option<T> {
        let (_, body) = self.frames.iter().find(|(k, _)| *k == kind)?;
        Some(wire::decode(body).expect("well-formed"))
    }

    pub(super) fn has(&self, kind: Kind) -> bool {
        self.frames.iter().any(|(k, _)| *k == kind)
    }
}

fn entries(frames: &[(Kind, Vec<u8>)]) -> Vec<Entry> {
    let mut all = Vec::new();
    for (_, body) in frames.iter().filter(|(kind, _)| *kind == Kind::Rumor) {
        let mut body = &body[..];
        while let Some(entry) = wire::take_sized::<Entry>(&mut body) {
            all.push(entry.expect("well-formed"));
        }
    }
    all
}

fn number(wanted: &PublicKey) -> usize {
    (0..=255).find(|n| key(*n) == *wanted).expect("a key of ours")
}

/// A peer without a session.
pub(super) fn reading(n: usize, endpoint: Option<SocketAddr>) -> PeerReading {
    PeerReading { key: key(n), endpoint, rx_bytes: 0, tx_bytes: 0, last_handshake: 0, keepalive: 0 }
}

/// A record of node `n`.
pub(super) fn record(n: usize, incarnation: u32, seq: u32, reflexive: &str) -> Entry {
    let mut claim = Claim::new();
    claim.order = Order { incarnation, seq };
    claim.port = PORT;
    claim.endpoints.push(RecordEndpoint::new(Origin::Reflexive, at(reflexive))).expect("room for one");
    Entry { id: key(n), age: 0, claim }
}

/// The record of node `n`, which only an introduction leads to.
pub(super) fn behind_nat(n: usize) -> Entry {
    let mut entry = record(n, 1, 1, &format!("203.0.113.{n}:51820"));
    entry.claim.set_nats(NatClass::EndpointIndependent, NatClass::Unknown);
    entry
}

/// An introduction to node `n`, which the mediator sees there.
pub(super) fn intro(n: usize, role: Role, seen: Endpoint) -> Intro {
    Intro {
        attempt: [7; 4],
        round: 1,
        role: role.to_wire(),
        wait_ms: 0,
        rtt_ms: 10,
        about: key(n),
        seen: Some(seen),
        flags: 0,
    }
}
