//! A stand-in for WireGuard between two nodes, and the loop-back between them: what a node's engine sends comes out at
//! the other, some milliseconds later.
//!
//! It knows what the engine steers by: handshakes, staged packets, counters, keepalives, the five seconds between two
//! initiations, and that a re-added peer starts from nothing. It encrypts nothing, and it is no model of WireGuard's
//! finer timing; the simulator has one.
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use embassy_time::{Duration, Instant};
use heapless::{Deque, Vec};
use wgautomesh_core::{
    ActionError, Endpoint, Interface, PeerAction, PeerReading, PublicKey, limits::MAX_DATAGRAM,
};

/// One way through the loop-back.
const DELAY: Duration = Duration::from_millis(20);
/// WireGuard's shortest time between two initiations.
const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// Sizes of WireGuard's messages on the wire, as its counters show them; data messages add the last to their content.
const INITIATION: u64 = 148;
const RESPONSE: u64 = 92;
const DATA: u64 = 32;
/// What the inner IP and UDP headers add to a datagram.
const HEADERS: u64 = 28;

/// The content of a datagram.
pub(crate) type Datagram = Vec<u8, MAX_DATAGRAM>;

/// Which of the two nodes.
#[derive(Clone, Copy, PartialEq, Eq, defmt::Format)]
pub(crate) enum Side {
    /// The node with the lower key.
    Left,
    /// The other one, which is configured without an endpoint of its peer.
    Right,
}

impl Side {
    /// Both of them.
    pub(crate) const BOTH: [Self; 2] = [Self::Left, Self::Right];

    /// The one at the other end.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    /// The public key; made up, since nothing is encrypted.
    pub(crate) const fn key(self) -> PublicKey {
        PublicKey::from_bytes([self as u8 + 1; 32])
    }

    /// The address in the mesh.
    pub(crate) const fn address(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 14, 0, self as u8 + 1))
    }

    /// The endpoint outside of it.
    pub(crate) const fn endpoint(self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, self as u8 + 1)), 51820)
    }

    /// The WireGuard interface.
    pub(crate) const fn interface(self) -> Interface {
        Interface { index: 1, public_key: self.key(), listen_port: self.endpoint().port() }
    }
}

/// What goes through the loop-back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Initiation,
    Response,
    Data,
}

struct Packet {
    due: Instant,
    to: Side,
    kind: Kind,
    /// The session that it belongs to, or sets up.
    session: u32,
    /// Empty in a keepalive, and in a handshake.
    datagram: Datagram,
}

/// What one side's WireGuard knows of its peer.
struct Tunnel {
    /// The interface does not have the peer.
    absent: bool,
    /// As the engine keeps it: `None` is all zeros, which takes no place in flash.
    endpoint: Option<Endpoint>,
    keepalive: u16,
    session: Option<u32>,
    staged: Option<Datagram>,
    initiated: Option<Instant>,
    /// When anything was last sent or received, which puts the keepalive off.
    passed: Instant,
    rx: u64,
    tx: u64,
    last_handshake: u64,
}

impl Tunnel {
    /// The peer is there, and nothing has happened yet.
    const fn new(endpoint: Option<Endpoint>) -> Self {
        Self {
            absent: false,
            endpoint,
            keepalive: 0,
            session: None,
            staged: None,
            initiated: None,
            passed: Instant::MIN,
            rx: 0,
            tx: 0,
            last_handshake: 0,
        }
    }
}

/// Both sides' WireGuard and the wire between them.
pub(crate) struct Loopback {
    tunnels: [Tunnel; 2],
    wire: Deque<Packet, 8>,
    sessions: u32,
    cut: bool,
}

impl Loopback {
    /// Two interfaces, each with the other as a peer and no endpoint.
    pub(crate) const fn new() -> Self {
        let tunnels = [Tunnel::new(None), Tunnel::new(None)];
        Self { tunnels, wire: Deque::new(), sessions: 0, cut: false }
    }

    /// While cut, the wire loses every packet.
    pub(crate) fn set_cut(&mut self, cut: bool) {
        self.cut = cut;
    }

    /// What the interface of this side shows of its peer.
    pub(crate) fn reading(&self, side: Side) -> Option<PeerReading> {
        let tunnel = &self.tunnels[side as usize];
        (!tunnel.absent).then_some(PeerReading {
            key: side.other().key(),
            endpoint: tunnel.endpoint.map(SocketAddr::from),
            rx_bytes: tunnel.rx,
            tx_bytes: tunnel.tx,
            last_handshake: tunnel.last_handshake,
            keepalive: tunnel.keepalive,
        })
    }

    /// Does to the interface of this side what its engine asks for.
    pub(crate) fn act(&mut self, now: Instant, side: Side, action: PeerAction) -> Result<(), ActionError> {
        let tunnel = &mut self.tunnels[side as usize];
        match action {
            PeerAction::Add { endpoint, .. } if tunnel.absent => {
                *tunnel = Tunnel::new(endpoint.map(Endpoint::from))
            }
            PeerAction::Readd { endpoint } => *tunnel = Tunnel::new(endpoint.map(Endpoint::from)),
            PeerAction::Remove => *tunnel = Tunnel { absent: true, ..Tunnel::new(None) },
            _ if tunnel.absent => return Err(ActionError::NoPeer),
            PeerAction::SetEndpoint(endpoint) => tunnel.endpoint = Some(endpoint.into()),
            PeerAction::SetKeepalive(seconds) => {
                let from_none = core::mem::replace(&mut tunnel.keepalive, seconds) == 0 && seconds > 0;
                if from_none {
                    self.transmit(now, side, &[]);
                }
            }
            _ => return Err(ActionError::Failed),
        }
        Ok(())
    }

    /// The side's engine sends a datagram to its peer. WireGuard keeps the latest while it has no session.
    pub(crate) fn send(&mut self, now: Instant, side: Side, datagram: &[u8]) {
        let tunnel = &mut self.tunnels[side as usize];
        if tunnel.session.is_none() {
            tunnel.staged = Datagram::from_slice(datagram).ok();
        }
        self.transmit(now, side, datagram);
    }

    /// Sends within the session, a keepalive if there is nothing to send; without a session, tries to get one.
    fn transmit(&mut self, now: Instant, side: Side, datagram: &[u8]) {
        let tunnel = &mut self.tunnels[side as usize];
        if tunnel.absent || tunnel.endpoint.is_none() {
            return;
        }
        if let Some(session) = tunnel.session {
            tunnel.passed = now;
            tunnel.tx += data_size(datagram);
            self.put(now, side, Kind::Data, session, datagram);
        } else if tunnel.initiated.is_none_or(|at| now.saturating_duration_since(at) >= REKEY_TIMEOUT) {
            tunnel.initiated = Some(now);
            tunnel.tx += INITIATION;
            self.sessions += 1;
            self.put(now, side, Kind::Initiation, self.sessions, &[]);
        }
    }

    /// A full wire loses the packet, as a full queue anywhere would.
    fn put(&mut self, now: Instant, from: Side, kind: Kind, session: u32, datagram: &[u8]) {
        let due = now.saturating_add(DELAY);
        if !self.cut
            && let Ok(datagram) = Datagram::from_slice(datagram)
        {
            let _ = self.wire.push_back(Packet { due, to: from.other(), kind, session, datagram });
        }
    }

    /// Keepalives, and WireGuard's own retries, which go on while a datagram waits.
    pub(crate) fn tick(&mut self, now: Instant) {
        for side in Side::BOTH {
            let tunnel = &self.tunnels[side as usize];
            let pause = Duration::from_secs(tunnel.keepalive.into());
            let keepalive = tunnel.keepalive > 0 && now.saturating_duration_since(tunnel.passed) >= pause;
            if keepalive || (tunnel.session.is_none() && tunnel.staged.is_some()) {
                self.transmit(now, side, &[]);
            }
        }
    }

    /// Brings what has arrived by now; returns at the first datagram, with who it is for.
    pub(crate) fn receive(&mut self, now: Instant) -> Option<(Side, Datagram)> {
        while self.wire.front().is_some_and(|packet| packet.due <= now) {
            let packet = self.wire.pop_front()?;
            if self.arrive(now, &packet) && !packet.datagram.is_empty() {
                return Some((packet.to, packet.datagram));
            }
        }
        None
    }

    /// A packet arrives. Returns whether its content, if any, is for the inside.
    fn arrive(&mut self, now: Instant, packet: &Packet) -> bool {
        let side = packet.to;
        let tunnel = &mut self.tunnels[side as usize];
        if tunnel.absent {
            return false;
        }
        match packet.kind {
            Kind::Initiation => {
                tunnel.rx += INITIATION;
                tunnel.tx += RESPONSE;
                tunnel.session = Some(packet.session);
                tunnel.initiated = Some(now);
                tunnel.endpoint = Some(side.other().endpoint().into());
                self.put(now, side, Kind::Response, packet.session, &[]);
                false
            }
            Kind::Response => {
                tunnel.rx += RESPONSE;
                tunnel.session = Some(packet.session);
                tunnel.last_handshake = now.as_micros() * 1000;
                // What waited for the session, or else a keepalive: it tells the responder that the session is up.
                let staged = tunnel.staged.take();
                self.transmit(now, side, staged.as_deref().unwrap_or(&[]));
                false
            }
            Kind::Data => {
                let ours = tunnel.session == Some(packet.session);
                if ours {
                    tunnel.passed = now;
                    tunnel.rx += data_size(&packet.datagram);
                    tunnel.endpoint = Some(side.other().endpoint().into());
                    if tunnel.last_handshake == 0 {
                        tunnel.last_handshake = now.as_micros() * 1000;
                    }
                }
                ours
            }
        }
    }
}

/// The size of a data message on the wire; of a keepalive, if there is no content.
const fn data_size(datagram: &[u8]) -> u64 {
    if datagram.is_empty() { DATA } else { DATA + HEADERS + datagram.len() as u64 }
}
