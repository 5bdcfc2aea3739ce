//! What the engine shows of itself: getters' types.

use core::net::{IpAddr, SocketAddr};

use embassy_time::{Duration, Instant};
use heapless::Vec;

use crate::{CandidateKind, Endpoint, Interface, Nats, PublicKey, Reason};

/// How it stands with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
#[non_exhaustive]
pub enum LinkState {
    /// Nothing is being done: see the reason.
    Waiting = 0,
    /// An attempt is under way.
    Connecting = 1,
    /// Traffic flows both ways.
    Connected = 2,
    /// Traffic did flow; the peer is being asked whether it still does.
    Probing = 3,
    /// WireGuard has a session with the peer, and the peer's gossip does not answer.
    Mute = 4,
}

impl LinkState {
    /// A stable, lower-case word for machine-readable output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Probing => "probing",
            Self::Mute => "mute",
        }
    }

    /// Whether traffic flows both ways, as far as is known. A question now and then whether it still does is no news.
    #[must_use]
    pub const fn is_connected(self) -> bool {
        matches!(self, Self::Connected | Self::Probing)
    }

    pub(crate) const fn from_wire(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Waiting,
            1 => Self::Connecting,
            2 => Self::Connected,
            3 => Self::Probing,
            4 => Self::Mute,
            _ => return None,
        })
    }
}

/// One configured peer. Ourselves, where listed, are not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStatus {
    /// Its key.
    pub key: PublicKey,
    /// Its address in the mesh.
    pub address: IpAddr,
    /// How it stands.
    pub state: LinkState,
    /// Where WireGuard sends to, as last read.
    pub endpoint: Option<SocketAddr>,
    /// What that endpoint is; meaningful while connected or connecting.
    pub kind: Option<CandidateKind>,
    /// Round trip of gossip through the tunnel, smoothed; `None` until measured.
    pub rtt: Option<Duration>,
    /// When a new handshake was last seen; `None` where it was before our time, or never.
    pub handshake_at: Option<Instant>,
    /// Whether WireGuard has ever completed a handshake with it.
    pub had_handshake: bool,
    /// Bytes received, as last read.
    pub rx_bytes: u64,
    /// Bytes sent, as last read.
    pub tx_bytes: u64,
    /// Why it is not connected; `None` while it is.
    pub reason: Option<Reason>,
    /// Who introduced us last.
    pub via: Option<PublicKey>,
    /// Since when it is (or is not) connected; `None` if it never changed.
    pub since: Option<Instant>,
    /// What the peer says is in front of it.
    pub nats: Nats,
    /// The port that the peer says its WireGuard listens on; 0 while we do not know.
    pub listen_port: u16,
    /// Where the peer sees us.
    pub sees_us_at: Option<Endpoint>,
    /// Where on a LAN of ours it was heard, and nothing came through: not tried at present.
    pub lan_barred: Option<Endpoint>,
    /// Where others find it, as it says itself: the first of its public endpoints, IPv4 before IPv6.
    pub outside: Option<Endpoint>,
    /// Whether it says that a gateway lets in whatever is sent there.
    pub mapped: bool,
    /// Whether it has shown that it has the newest of our secrets.
    pub has_newest_secret: bool,
}

/// An endpoint that peers see us at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Seen {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// How many live peers see us there.
    pub peers: u16,
}

/// This node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStatus {
    /// The interface, while it is there.
    pub interface: Option<Interface>,
    /// Our address in the mesh, if the peer list has an entry for ourselves.
    pub address: Option<IpAddr>,
    /// Where live peers see us, the most agreed on first.
    pub seen: Vec<Seen, 4>,
    /// What is in front of us.
    pub nats: Nats,
    /// Our own record as (incarnation, sequence number): how often it was made anew after a clash, and how often it
    /// changed since.
    pub record: (u32, u32),
    /// Peers configured, ourselves not counted.
    pub peers: usize,
    /// Peers connected.
    pub connected: usize,
    /// Digest of all records held. Two nodes with the same peers hold the same.
    pub digest: u64,
}
