//! The document that says why a peer is connected or not: what is known on either side, what was tried, what others say, and
//! what a person can do about it.
//!
//! Units and absent values are as in [`status`](super::status), and so is what may change.

use super::status::{Nats, PeerState, Reason, SeenAt};
use core::net::{IpAddr, SocketAddr};
use serde::{Deserialize, Serialize};

/// The answer to `why`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// [`VERSION`](super::VERSION)
    pub version: u32,
    /// The node that answers.
    pub node: Node,
    /// The peer that was asked about.
    pub peer: Peer,
    /// How it stands between the two.
    pub link: Link,
    /// Why they are not connected; `null` while they are.
    pub cause: Option<Cause>,
    /// What happened between them of late, in order. What happened several times is one entry, and what is long ago is left
    /// out.
    pub history: Vec<Happening>,
    /// Who was asked, and what they say.
    pub asked: Vec<Asked>,
}

/// The node that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its public key in base64; unknown until the interface was there once.
    pub key: Option<String>,
    /// Its own address inside the mesh, where known.
    pub address: Option<IpAddr>,
    /// UDP port of WireGuard on the underlay, where known.
    pub listen_port: Option<u16>,
    /// What is in front of it.
    pub nat: Nats,
    /// Where others see it.
    pub seen_at: Vec<SeenAt>,
}

/// The peer that was asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// What the configuration calls it.
    pub name: Option<String>,
    /// Its public key in base64.
    pub key: String,
    /// Its address inside the mesh.
    pub address: IpAddr,
    /// UDP port of its WireGuard as it says itself, where known.
    pub listen_port: Option<u16>,
    /// What it says is in front of it.
    pub nat: Nats,
    /// Where it may be reached, as far as is known: the best first.
    pub endpoints: Vec<Place>,
}

/// A place where a peer may be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Where.
    pub endpoint: SocketAddr,
    /// Who says so: `configured`, `global`, `mapped`, `mediated`, `heard`, `published`, `last-good`, `private`, `roamed` or `lan`.
    pub source: String,
}

/// How it stands between two nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// How it stands.
    pub state: PeerState,
    /// For how long they have been connected, or not been; `null` where they never were.
    pub since_s: Option<u64>,
    /// Where WireGuard sends to.
    pub endpoint: Option<SocketAddr>,
    /// What that is, as in [`Place`].
    pub endpoint_source: Option<String>,
    /// Who introduced them in the last attempt: the name or the short key of a peer.
    pub via: Option<String>,
    /// Where the peer sees this node, while they are connected.
    pub seen_at: Option<SocketAddr>,
    /// Round trip inside the tunnel, in microseconds.
    pub rtt_us: Option<u64>,
    /// Since the last handshake.
    pub handshake_age_s: Option<u64>,
    /// Bytes received from it, as WireGuard counts; from the beginning whenever it is made to start over.
    pub rx_bytes: u64,
    /// Bytes sent to it, likewise.
    pub tx_bytes: u64,
    /// What the engine says of it, as in the status.
    pub reason: Option<Reason>,
}

/// Why they are not connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Stable, in kebab case: `no-daemon`, `other-secret`, ...
    pub id: String,
    /// For people, without a full stop; goes on after "not connected: ".
    pub message: String,
    /// What can be done about it, the most promising first: whole sentences.
    pub advice: Vec<String>,
}

/// One thing that happened. What does not apply is `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// What: `attempt`, `connected`, `lost`, `waiting`, `moved`, `lan-barred`, or `refused` where the system would not have an
    /// endpoint.
    pub what: String,
    /// How long ago, the first time.
    pub ago_s: u64,
    /// How long ago, the last time.
    pub last_ago_s: u64,
    /// How often.
    pub times: u32,
    /// Where to, or where it is.
    pub endpoint: Option<SocketAddr>,
    /// What that is, as in [`Place`].
    pub endpoint_source: Option<String>,
    /// Of an attempt, this side's part: `initiates` a handshake, or `opens` the NATs on the way and waits for the other's.
    pub role: Option<String>,
    /// Who introduced them: the name or the short key of a peer.
    pub via: Option<String>,
    /// Of an attempt, what came of it: `connected`, `mute` (WireGuard has answered, and gossip has not), `no-answer`, or `pending`.
    pub outcome: Option<String>,
    /// How long it took to be connected, in milliseconds.
    pub took_ms: Option<u64>,
    /// Why it was lost, or is being waited.
    pub reason: Option<Reason>,
}

impl Happening {
    /// What happened once, so long ago; the rest does not apply yet.
    pub fn new(what: &str, ago_s: u64) -> Self {
        Self {
            what: what.into(),
            ago_s,
            last_ago_s: ago_s,
            times: 1,
            endpoint: None,
            endpoint_source: None,
            role: None,
            via: None,
            outcome: None,
            took_ms: None,
            reason: None,
        }
    }
}

/// A question to another node, and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Who was asked: the name or the short key of a peer.
    pub who: String,
    /// Who passed the question on, likewise; `null` where it was asked itself.
    pub through: Option<String>,
    /// About whom: `node`, the one that answers here, or `peer`, the one of this document.
    pub about: String,
    /// What it says; `null` where no answer came in time.
    pub answer: Option<Said>,
}

/// What a node says of its link with another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// How it stands; `null` where that node has no such peer.
    pub state: Option<PeerState>,
    /// Why it is not connected.
    pub reason: Option<Reason>,
    /// Where it sees the other.
    pub endpoint: Option<SocketAddr>,
    /// For how long it has been so.
    pub since_s: u64,
}

impl Why {
    /// The document as one line of JSON.
    pub fn to_json(&self) -> String {
        // As in the status, nothing in these types can fail to become JSON.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }
}
