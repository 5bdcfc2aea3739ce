//! The status document: what the daemon says of itself and of each peer.
//!
//! Every field is described for people in `schema`, from which the manual page wgautomesh-status(5) is made.
//!
//! Durations are in the unit that the field's name ends in. What is not known is `null`. Fields may be added; those that
//! are here keep their meaning as long as [`VERSION`](super::VERSION) stays.

use core::net::{IpAddr, SocketAddr};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The answer to `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`VERSION`](super::VERSION)
    pub version: u32,
    /// The node that answers.
    pub node: Node,
    /// Every configured peer but the node itself, in the order of the configuration.
    pub peers: Vec<Peer>,
    /// What has been counted since the start, by a stable name in snake case. Those of packets wrap at 2^32.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
}

/// The node that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Version of the program.
    pub version: String,
    /// Its WireGuard interface.
    pub interface: String,
    /// Whether that interface is there now.
    pub interface_up: bool,
    /// Its public key in base64; unknown until the interface was there once.
    pub key: Option<String>,
    /// Its own address inside the mesh, where known.
    pub mesh_address: Option<IpAddr>,
    /// UDP port of the gossip inside the mesh.
    pub gossip_port: u16,
    /// UDP port of WireGuard on the underlay, where known.
    pub listen_port: Option<u16>,
    /// Since the daemon's start.
    pub uptime_s: u64,
    /// Whether it may use raw sockets (`CAP_NET_RAW`) to open NATs.
    #[serde(default)]
    pub openers: bool,
    /// What kind of NAT it is behind.
    pub nat: Nats,
    /// Where others see it, the one seen by most first.
    pub seen_at: Vec<SeenAt>,
    /// The gateway's port mapping; `null` where none is wanted.
    #[serde(default)]
    pub port_mapping: Option<PortMapping>,
    /// How far the mesh is with a new secret by this node's configuration; `null` where it has one secret only.
    #[serde(default)]
    pub rotation: Option<Rotation>,
}

/// How far a node is with a new secret, while it accepts two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rotation {
    /// The new one is the next one: `gossip_secret_next_file`.
    Next,
    /// The new one is its own, and it accepts the previous one too: `gossip_secret_previous_file`.
    Previous,
    /// Something this version does not know, from a newer daemon.
    #[serde(other)]
    Unknown,
}

/// What is in front of a node in each family of addresses, as a stable word: `open` (no NAT), `endpoint-independent`,
/// `endpoint-dependent`, or `translated` (a NAT of which too few have seen anything). `null` where nothing is known, or where it
/// has no such addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Nats {
    /// In IPv4.
    pub ipv4: Option<String>,
    /// In IPv6.
    pub ipv6: Option<String>,
}

/// What has come of asking the gateway for a port mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// Those that there are: one for each of IPv4 and IPv6 at most.
    pub mapped: Vec<Mapped>,
    /// Why there is none for IPv4, or why it could not be renewed.
    pub reason: Option<Reason>,
}

/// A port mapping, or a pinhole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapped {
    /// Where others reach this node.
    pub endpoint: SocketAddr,
    /// `PCP`, `NAT-PMP` or `UPnP`.
    pub protocol: String,
    /// Who gave it.
    pub gateway: IpAddr,
    /// How long it still lasts; it is renewed before.
    pub lease_s: u64,
}

/// An endpoint that peers see a node at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenAt {
    /// The endpoint.
    pub endpoint: SocketAddr,
    /// How many peers see it.
    pub peers: u32,
}

/// Where things stand with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PeerState {
    /// Nothing can be done now; the reason says what is waited for.
    Waiting,
    /// WireGuard has a session with it, and its gossip does not answer.
    Mute,
    /// An attempt is under way.
    Connecting,
    /// Traffic flows both ways, as far as is known.
    Connected,
    /// Something this version does not know, from a newer daemon.
    #[serde(other)]
    Unknown,
}

impl PeerState {
    /// The word in the document and in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Mute => "mute",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Unknown => "unknown",
        }
    }

    /// Whether traffic flows, as far as is known.
    pub const fn is_connected(self) -> bool {
        matches!(self, Self::Connected)
    }
}

/// A configured peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// What the configuration calls it.
    pub name: Option<String>,
    /// Its public key in base64.
    pub key: String,
    /// Its address inside the mesh.
    pub address: IpAddr,
    /// Where things stand.
    pub state: PeerState,
    /// Where WireGuard sends to.
    pub endpoint: Option<SocketAddr>,
    /// Where that endpoint was learned, as a stable word in kebab case: `configured`, `roamed`, ...
    pub endpoint_source: Option<String>,
    /// Round-trip time of the last probe, in microseconds.
    pub rtt_us: Option<u64>,
    /// Since the last handshake.
    pub handshake_age_s: Option<u64>,
    /// Bytes received from it, as WireGuard counts.
    pub rx_bytes: u64,
    /// Bytes sent to it, as WireGuard counts.
    pub tx_bytes: u64,
    /// Why it is not connected, or was not the last time it was not.
    pub reason: Option<Reason>,
    /// Where on a LAN it was heard and does not answer: not tried at present.
    #[serde(default)]
    pub lan_barred: Option<SocketAddr>,
    /// Who introduced it in the last attempt: the name or the short key of a peer.
    pub via: Option<String>,
    /// What the peer says is in front of it.
    #[serde(default)]
    pub nat: Nats,
    /// While this node accepts two secrets: whether the peer has shown that it has the newer one.
    #[serde(default)]
    pub has_newest_secret: Option<bool>,
}

/// Why a peer is not connected, or there is no port mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable, in kebab case: `no-answer`, `no-mediator`, ...
    pub id: String,
    /// For people, without a full stop.
    pub message: String,
}

impl Status {
    /// The document as one line of JSON.
    pub fn to_json(&self) -> String {
        // Strings, numbers and maps with string keys: nothing in these types can fail to become JSON.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }
}
