//! All that bears on whether two nodes are connected, put together.

use core::net::{IpAddr, SocketAddr};

use wgautomesh_core::{
    ActionError, Answer, CandidateKind, Instant, LinkState, Mesh, NatClass, Nats, NodeStatus, PeerStatus,
    PublicKey, Reason, Scope, scope,
};

use super::{
    history::{Entry, History, What},
    inquiry::{About, Asked},
};
use crate::control::status::PortMapping;

/// What the machine has to say, besides the engine.
#[derive(Debug, Clone, Default)]
pub(in crate::run) struct Machine {
    /// Its wall clock shows a time before this program was written.
    pub(in crate::run) clock_wrong: bool,
    /// As in the status.
    pub(in crate::run) port_mapping: Option<PortMapping>,
    /// Whose the peer's mesh address is on the interface, where it is another's.
    pub(in crate::run) address_holder: Option<PublicKey>,
    /// The name that is configured as the peer's endpoint, where it cannot be looked up.
    pub(in crate::run) failing_name: Option<String>,
}

pub(super) struct Facts<'f> {
    pub(super) now: Instant,
    pub(super) peer: PeerStatus,
    /// All peers, this one among them.
    pub(super) peers: Vec<PeerStatus>,
    /// How many peers there are endpoints configured for, this one included.
    pub(super) given: usize,
    pub(super) node: NodeStatus,
    /// Where the peer may be reached.
    pub(super) endpoints: Vec<(SocketAddr, CandidateKind)>,
    pub(super) history: Vec<&'f Entry>,
    pub(super) asked: &'f [Asked],
    pub(super) machine: &'f Machine,
}

impl<'f> Facts<'f> {
    /// `None` where there is no such peer, any more.
    pub(super) fn collect<const PEERS: usize>(
        mesh: &Mesh<PEERS>,
        history: &'f History,
        asked: &'f [Asked],
        machine: &'f Machine,
        peer: &PublicKey,
        now: Instant,
    ) -> Option<Self> {
        let peers: Vec<PeerStatus> = mesh.peers().collect();
        let given =
            |of: &&PeerStatus| mesh.endpoints_of(&of.key).any(|(_, kind)| kind == CandidateKind::Configured);
        Some(Self {
            now,
            peer: peers.iter().find(|p| p.key == *peer).copied()?,
            given: peers.iter().filter(given).count(),
            peers,
            node: mesh.node(),
            endpoints: mesh.endpoints_of(peer).collect(),
            history: history.of(peer).collect(),
            asked,
            machine,
        })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.peer.state.is_connected()
    }

    /// The engine's reason; while something is being tried once more, that of the last time.
    pub(super) fn reason(&self) -> Option<Reason> {
        let trying = matches!(self.peer.reason, None | Some(Reason::Connecting));
        let last = || {
            self.history.iter().rev().find_map(|entry| match entry.what {
                What::Waiting(reason) | What::Lost(reason) if reason != Reason::Connecting => Some(reason),
                _ => None,
            })
        };
        let connected_since = |reason: &Reason| {
            // What was before it was connected explains nothing.
            self.history.iter().rposition(|e| matches!(e.what, What::Connected { .. }))
                <= self
                    .history
                    .iter()
                    .rposition(|e| matches!(e.what, What::Waiting(r) | What::Lost(r) if r == *reason))
        };
        if trying { last().filter(connected_since).or(self.peer.reason) } else { self.peer.reason }
    }

    /// What the peer itself says of us, if it says anything.
    pub(super) fn its_answer(&self) -> Option<&Answer> {
        let mut of_us = self.asked.iter().filter(|asked| asked.about == About::Us);
        of_us.find_map(|asked| asked.answer.as_ref())
    }

    /// Others that say that they are connected to the peer.
    pub(super) fn connected_to_it(&self) -> impl Iterator<Item = PublicKey> {
        self.of_it(|state| state.is_some_and(LinkState::is_connected))
    }

    /// Others that say that they have no such peer.
    pub(super) fn without_it(&self) -> impl Iterator<Item = PublicKey> {
        self.of_it(|state| state.is_none())
    }

    /// What others that it is not connected to say of it.
    pub(super) fn said_of_it(&self) -> impl Iterator<Item = Reason> {
        let of_it = self.asked.iter().filter(|asked| asked.about == About::Peer);
        of_it.filter_map(|asked| asked.answer?.reason)
    }

    fn of_it(&self, wanted: impl Fn(Option<LinkState>) -> bool) -> impl Iterator<Item = PublicKey> {
        self.asked
            .iter()
            .filter(|asked| asked.about == About::Peer)
            .filter(move |asked| asked.answer.is_some_and(|answer| wanted(answer.state)))
            .map(|asked| asked.teller)
    }

    /// Whether it is known to be running and in the mesh, whatever is between us.
    pub(super) fn is_up(&self) -> bool {
        self.its_answer().is_some() || self.connected_to_it().next().is_some()
    }

    /// Whether others were asked, and none of them is connected to it.
    pub(super) fn is_missed_by_others(&self) -> bool {
        let of_it = |asked: &Asked| asked.about == About::Peer && asked.answer.is_some();
        self.asked.iter().any(of_it) && !self.is_up()
    }

    /// Whether an endpoint is configured for it.
    pub(super) fn is_given(&self) -> bool {
        self.endpoints.iter().any(|(_, kind)| *kind == CandidateKind::Configured)
    }

    /// The port of its WireGuard, as it says itself, or as is configured; 0 where neither is known.
    pub(super) fn its_port(&self) -> u16 {
        let given = self.endpoints.iter().find(|(_, kind)| *kind == CandidateKind::Configured);
        let said = Some(self.peer.listen_port).filter(|port| *port != 0);
        said.or(given.map(|(endpoint, _)| endpoint.port())).unwrap_or(0)
    }

    /// Whether they ever were connected, as far as we remember.
    pub(super) fn was_connected(&self) -> bool {
        self.history.iter().any(|e| matches!(e.what, What::Connected { .. } | What::Lost(_)))
    }

    /// How the last change to the peer that could not be made was refused.
    pub(super) fn refused(&self) -> Option<(Option<SocketAddr>, ActionError)> {
        self.history.iter().rev().find_map(|entry| match entry.what {
            What::Refused { endpoint, error } => Some((endpoint.map(SocketAddr::from), error)),
            _ => None,
        })
    }

    /// Whether nothing has come from anybody, ever.
    pub(super) fn hears_nobody(&self) -> bool {
        self.peers.iter().all(|peer| peer.rx_bytes == 0 && !peer.had_handshake)
    }

    /// Whether our NAT, and the peer's, shows every destination another port, as far as is known.
    pub(super) fn depends(&self) -> [bool; 2] {
        let dependent = |nats: Nats| [nats.v4, nats.v6].contains(&NatClass::EndpointDependent);
        [dependent(self.node.nats), dependent(self.peer.nats)]
    }

    /// Another node behind the same NAT as the peer, or as we are, whose WireGuard has the same port, where that NAT is not known to
    /// show everybody the same endpoint. Many NATs keep the port of the first and give the second one another for every destination.
    pub(super) fn same_port(&self) -> Option<SamePort> {
        let kind = |nats: Nats, class| [nats.v4, nats.v6].contains(&class);
        let unsteady = |nats| kind(nats, NatClass::EndpointDependent) || kind(nats, NatClass::Translated);
        let near = |port: u16, public: &[IpAddr]| {
            self.peers.iter().find(|other| {
                let seen = other.endpoint.map(|endpoint| endpoint.ip().to_canonical());
                other.key != self.peer.key
                    && other.listen_port == port
                    && port != 0
                    && seen.is_some_and(|ip| public.contains(&ip))
            })
        };
        let theirs = Some(self.peer.listen_port).filter(|_| unsteady(self.peer.nats));
        if let Some(port) = theirs
            && let Some(other) = near(port, &self.public_addresses())
        {
            return Some(SamePort { port, nodes: [self.peer.key, other.key] });
        }
        let interface = self.node.interface.filter(|_| unsteady(self.node.nats))?;
        let here: Vec<IpAddr> = self.node.seen.iter().map(|seen| seen.endpoint.ip()).collect();
        // Whom we reach in our own network we do not see where others do.
        let beside = |other: &&PeerStatus| {
            let inside = |endpoint: SocketAddr| scope(endpoint.ip()) == Scope::Private;
            other.key != self.peer.key
                && other.listen_port == interface.listen_port
                && other.endpoint.is_some_and(inside)
        };
        let other = near(interface.listen_port, &here).or_else(|| self.peers.iter().find(beside))?;
        Some(SamePort { port: interface.listen_port, nodes: [interface.public_key, other.key] })
    }

    /// Where the peer is seen from outside.
    fn public_addresses(&self) -> Vec<IpAddr> {
        use CandidateKind::{LastGood, Mediated, Published};
        let seen = |kind| matches!(kind, Mediated | Published | LastGood);
        let public = |ip: &IpAddr| scope(*ip) == Scope::Public;
        self.endpoints
            .iter()
            .filter(|(_, kind)| seen(*kind))
            .map(|(e, _)| e.ip().to_canonical())
            .filter(public)
            .collect()
    }
}

/// Two nodes behind one NAT with one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SamePort {
    pub(super) port: u16,
    pub(super) nodes: [PublicKey; 2],
}
