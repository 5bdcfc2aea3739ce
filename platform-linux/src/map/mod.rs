//! The map of a mesh: every node, and of every pair how it stands, as far as the node that is asked could find out.
//!
//! [`Map`] is the document that a daemon answers `map` with: one line of JSON, which `wgautomesh map --json` prints. [`table`],
//! [`dot`] and [`svg`] make of it what people look at. They are functions of the document alone: the same document, the same
//! text. Names are text from configuration files, and end up in none of them as markup or as a terminal's commands.
//!
//! Fields may be added to the document; those that are here keep their meaning as long as [`VERSION`](crate::control::VERSION)
//! stays. What is not known is `null`, or left out where that is said.

mod dot;
mod order;
mod svg;
mod table;

#[cfg(test)]
mod tests;

pub use dot::dot;
pub use svg::svg;
pub use table::table;

use crate::control::status::{Nats, PeerState};
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most nodes on a map. Of so many there are 32,640 pairs, and the document has up to 6 MB.
pub const MAX_NODES: usize = 256;

/// The answer to `map`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// [`VERSION`](crate::control::VERSION)
    pub version: u32,
    /// The WireGuard interface of the node that was asked.
    pub interface: String,
    /// The node that was asked, then its peers in the order of the configuration.
    pub nodes: Vec<Node>,
    /// Peers beyond [`MAX_NODES`], which are not on the map.
    pub left_out: usize,
    /// Every pair of nodes once.
    pub links: Vec<Link>,
}

/// A node of the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// What the configuration of the node that was asked calls it.
    pub name: Option<String>,
    /// Its public key in base64.
    pub key: String,
    /// Whether it said itself how it stands with its peers. What is known of a node that did not is what others say, and what
    /// its last record says: it may run an older version, or nobody reaches it.
    pub answered: bool,
    /// What is in front of it.
    pub nat: Nats,
    /// Where others find it, as its record says: its public endpoint, of IPv4 if it has one.
    pub outside: Option<SocketAddr>,
    /// Whether a gateway lets others in to it (a port mapping, or a pinhole).
    pub mapped: bool,
}

/// A pair of nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The one node, by its place in [`Map::nodes`], counted from 0.
    pub a: usize,
    /// The other node, whose place is higher.
    pub b: usize,
    /// How they reach each other.
    pub how: How,
    /// The round trip in microseconds, where one of them has measured it.
    pub rtt_us: Option<u64>,
    /// What the first node says; left out where it did not say anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub a_says: Option<Says>,
    /// What the second node says; left out where it did not say anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b_says: Option<Says>,
}

/// How two nodes reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum How {
    /// On a network of their own.
    Lan,
    /// At an address at which one of them lets everybody in: there is no NAT before it, or one that forwards its port.
    Direct,
    /// Through the NATs before both of them.
    Punched,
    /// Not yet: an attempt is under way, or one of them has not noticed yet that there is something new.
    Connecting,
    /// Not at all, as all say that were heard.
    NotConnected,
    /// Neither of them said anything.
    Unknown,
}

/// What one node of a pair says of the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Says {
    /// Where things stand.
    pub state: PeerState,
    /// What it reaches the other one by, as a stable word in kebab case: `configured`, `roamed`, ...; left out while it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_source: Option<String>,
    /// Why they are not connected, as a stable word in kebab case: `no-answer`, `no-mediator`, ...; left out while they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The round trip that it has measured, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<u64>,
}

impl Map {
    /// Puts together what was said. `said` has it by the place of who says it and of whom it is about.
    pub fn new(
        interface: String,
        nodes: Vec<Node>,
        left_out: usize,
        mut said: BTreeMap<(usize, usize), Says>,
    ) -> Self {
        let mut links = Vec::new();
        for (a, first) in nodes.iter().enumerate() {
            for (b, second) in nodes.iter().enumerate().skip(a + 1) {
                let (a_says, b_says) = (said.remove(&(a, b)), said.remove(&(b, a)));
                let both = [&a_says, &b_says].into_iter().flatten();
                let rtt_us = both.filter_map(|says| says.rtt_us).min();
                let how = How::of([first, second], [a_says.as_ref(), b_says.as_ref()]);
                links.push(Link { a, b, how, rtt_us, a_says, b_says });
            }
        }
        Self { version: crate::control::VERSION, interface, nodes, left_out, links }
    }

    /// The document as one line of JSON.
    pub fn to_json(&self) -> String {
        // Strings, numbers and lists: nothing in these types can fail to become JSON.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// How many pairs reach each other in this way.
    fn count(&self, how: How) -> usize {
        self.links.iter().filter(|link| link.how == how).count()
    }

    /// A sentence about the whole.
    fn summary(&self) -> String {
        let connected = self.links.iter().filter(|link| link.how.is_connected()).count();
        let (nodes, pairs) = (self.nodes.len(), self.links.len());
        let s = |count: usize| if count == 1 { "" } else { "s" };
        format!("{nodes} node{}, {connected} of {pairs} pair{} connected", s(nodes), s(pairs))
    }
}

impl Node {
    /// What it is called: its name, else the beginning of its key; without control characters.
    fn label(&self) -> String {
        let name: String = match &self.name {
            Some(name) => name.clone(),
            None => self.key.chars().take(8).collect(),
        };
        name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
    }

    /// The label, cut to so many characters.
    fn short_label(&self, width: usize) -> String {
        let label = self.label();
        if label.chars().count() <= width {
            return label;
        }
        label.chars().take(width.saturating_sub(1)).chain(['…']).collect()
    }

    /// What is in front of it where it is least: that decides who reaches it.
    fn nat(&self) -> Nat {
        let class = |word: &Option<String>| match word.as_deref() {
            Some("open") => Nat::Open,
            Some("endpoint-independent") => Nat::EndpointIndependent,
            Some("endpoint-dependent") => Nat::EndpointDependent,
            Some(_) => Nat::Translated,
            None => Nat::Unknown,
        };
        // In IPv4 is where NATs are; without it the other family tells.
        match class(&self.nat.ipv4) {
            Nat::Unknown => class(&self.nat.ipv6),
            known => known,
        }
    }

    /// Whether everybody reaches it unasked.
    fn is_reachable(&self) -> bool {
        self.mapped || self.nat() == Nat::Open
    }
}

/// What is in front of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Nat {
    Open,
    EndpointIndependent,
    Translated,
    EndpointDependent,
    Unknown,
}

impl Nat {
    const ALL: [Self; 5] =
        [Self::Open, Self::EndpointIndependent, Self::Translated, Self::EndpointDependent, Self::Unknown];

    /// In words.
    const fn words(self) -> &'static str {
        match self {
            Self::Open => "no NAT",
            Self::EndpointIndependent => "endpoint-independent NAT",
            Self::Translated => "NAT of unknown kind",
            Self::EndpointDependent => "endpoint-dependent NAT",
            Self::Unknown => "not known",
        }
    }
}

impl How {
    const ALL: [Self; 6] =
        [Self::Lan, Self::Direct, Self::Punched, Self::Connecting, Self::NotConnected, Self::Unknown];

    /// The word in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Direct => "direct",
            Self::Punched => "punched",
            Self::Connecting => "connecting",
            Self::NotConnected => "not-connected",
            Self::Unknown => "unknown",
        }
    }

    /// In words.
    const fn words(self) -> &'static str {
        match self {
            Self::Lan => "on a LAN",
            Self::Direct => "direct",
            Self::Punched => "punched",
            Self::Connecting => "connecting",
            Self::NotConnected => "not connected",
            Self::Unknown => "not known",
        }
    }

    /// Whether traffic flows.
    pub const fn is_connected(self) -> bool {
        matches!(self, Self::Lan | Self::Direct | Self::Punched)
    }

    fn of(nodes: [&Node; 2], says: [Option<&Says>; 2]) -> Self {
        let said = || says.into_iter().flatten();
        let sources = || said().filter_map(|says| says.endpoint_source.as_deref());
        if said().next().is_none() {
            Self::Unknown
        } else if said().all(|says| says.state.is_connected()) {
            if sources().any(|source| matches!(source, "lan" | "private")) {
                Self::Lan
            } else if nodes.into_iter().any(Node::is_reachable)
                || sources().any(|source| matches!(source, "configured" | "global" | "mapped"))
            {
                Self::Direct
            } else {
                Self::Punched
            }
        } else if said().any(|says| says.state.is_connected() || says.state == PeerState::Connecting) {
            Self::Connecting
        } else {
            Self::NotConnected
        }
    }
}

impl Link {
    /// Both nodes and how they reach each other, for people.
    fn sentence(&self, nodes: &[Node]) -> String {
        let label = |at: usize| nodes.get(at).map(Node::label).unwrap_or_default();
        let mut text = format!("{} – {}: {}", label(self.a), label(self.b), self.how.words());
        if let Some(rtt) = self.rtt_us.filter(|_| self.how.is_connected()) {
            text += &format!(", {}", crate::control::render::round_trip(rtt));
        }
        for reason in self.reasons() {
            text += &format!(", {reason}");
        }
        text
    }

    /// Why they are not connected, each reason once.
    fn reasons(&self) -> impl Iterator<Item = &str> {
        let [a, b] = [&self.a_says, &self.b_says].map(|says| says.as_ref()?.reason.as_deref());
        let apart = self.how == How::NotConnected;
        a.into_iter().chain(b.filter(|b| Some(*b) != a)).filter(move |_| apart)
    }
}
