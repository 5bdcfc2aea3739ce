//! Why a peer is connected or not: what is remembered for that, who is asked, and the document that comes of it.
//!
//! ```text
//! engine's events ──► history ─┐
//! engine's status ─────────────┼─► facts ──► cause ──► document, or text
//! answers of others ► inquiry ─┘
//! ```
//!
//! Others are asked when a person asks, and never of ourselves; so the answer comes later: when all have answered, or after
//! one and a half seconds.

mod cause;
mod facts;
mod history;
mod inquiry;
mod select;
#[cfg(all(test, not(target_arch = "mips")))]
mod tests;

use core::net::SocketAddr;

use wgautomesh_core::{Answer, Endpoint, Event, Instant, LinkState, Mesh, PeerAction, PublicKey, Reason};

use super::{
    Node,
    names::Names,
    status::{nats, reason, state},
};
use crate::control::{self, Ticket, VERSION, explain, status::SeenAt, why};
use cause::Cause;
use facts::Facts;
pub(super) use facts::Machine;
use history::{Entry, History, What};
use inquiry::{About, Asked, Inquiry};

/// What is remembered, and the questions that are not answered yet.
pub(super) struct Desk {
    history: History,
    open: Vec<Open>,
}

/// A person who waits.
struct Open {
    ticket: Ticket,
    /// Wants text, else the document.
    for_people: bool,
    inquiry: Inquiry,
}

impl Desk {
    /// Nothing has happened yet.
    pub(super) fn new() -> Self {
        Self { history: History::default(), open: Vec::new() }
    }

    /// Takes in an event of the engine: for the history, or an answer.
    pub(super) fn note<const PEERS: usize>(&mut self, now: Instant, mesh: &mut Mesh<PEERS>, event: &Event) {
        if let Event::Answer(answer) = event {
            return self.take(mesh, answer);
        }
        self.history.note(now, event);
        if self.history.peers() > PEERS {
            // More than there is room for: some were removed.
            self.history.retain(|peer| mesh.peers().any(|known| known.key == *peer));
        }
    }

    /// Takes in that the interface could not be changed.
    pub(super) fn note_refused(
        &mut self,
        now: Instant,
        peer: &PublicKey,
        action: &PeerAction,
        error: wgautomesh_core::ActionError,
    ) {
        let endpoint = match *action {
            PeerAction::Add { endpoint, .. } | PeerAction::Readd { endpoint } => endpoint,
            PeerAction::SetEndpoint(endpoint) => Some(endpoint),
            _ => None,
        };
        self.history.note_refused(now, *peer, endpoint.map(Endpoint::from), error);
    }

    /// Whether nobody waits for anything.
    pub(super) const fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// When [`Self::next_answer`] is worth calling at the latest.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.open.iter().map(|open| open.inquiry.deadline).min()
    }

    /// Begins to find out. `Some` is an answer at once: that there is no such peer.
    pub(super) fn ask<const PEERS: usize>(
        &mut self,
        now: Instant,
        mesh: &mut Mesh<PEERS>,
        names: &Names,
        wanted: &str,
        for_people: bool,
        ticket: Ticket,
    ) -> Option<String> {
        let peers: Vec<_> = mesh.peers().collect();
        match select::peer(wanted, names, &peers) {
            Err(select::NotOne { id, message }) => Some(control::refusal(id, &message)),
            Ok(peer) => {
                let inquiry = Inquiry::begin(now, mesh, peer);
                self.open.push(Open { ticket, for_people, inquiry });
                None
            }
        }
    }

    /// About whom the next question is that can be answered now.
    pub(super) fn next(&self, now: Instant) -> Option<PublicKey> {
        self.open.iter().find(|open| open.inquiry.is_over(now)).map(|open| open.inquiry.peer)
    }

    /// The answer to it.
    pub(super) fn next_answer<const PEERS: usize>(
        &mut self,
        now: Instant,
        mesh: &Mesh<PEERS>,
        node: &Node,
        names: &Names,
        machine: &Machine,
    ) -> Option<(Ticket, String)> {
        let at = self.open.iter().position(|open| open.inquiry.is_over(now))?;
        let Open { ticket, for_people, inquiry } = self.open.swap_remove(at);
        let Inquiry { peer, asked, .. } = inquiry;
        let facts = Facts::collect(mesh, &self.history, &asked, machine, &peer, now);
        let answer = match facts.map(|facts| document(&facts, node, names)) {
            Some(why) if for_people => control::for_people(explain::text(&why)),
            Some(why) => why.to_json(),
            // It was removed meanwhile.
            None => control::refusal("unknown-peer", &format!("{peer} is no peer any more")),
        };
        Some((ticket, answer))
    }

    fn take<const PEERS: usize>(&mut self, mesh: &mut Mesh<PEERS>, answer: &Answer) {
        for open in &mut self.open {
            open.inquiry.take(mesh, answer);
        }
    }
}

/// Everything that is known, with the cause.
fn document(facts: &Facts<'_>, node: &Node, names: &Names) -> why::Why {
    let Facts { now, peer, .. } = facts;
    let age = |at: Instant| now.saturating_duration_since(at).as_secs();
    let name = |key: &PublicKey| names.short(key);
    let port = |port: u16| Some(port).filter(|port| *port != 0);
    // Once it has answered by one way, what came of the others is not waited for.
    let told =
        |asked: &&Asked| asked.answer.is_some() || asked.about == About::Peer || facts.its_answer().is_none();
    let cause = Cause::of(facts).map(|cause| {
        let words = cause.words(facts, &node.interface, &name);
        why::Cause { id: cause.id().into(), message: words.message, advice: words.advice }
    });
    why::Why {
        version: VERSION,
        node: why::Node {
            key: facts.node.interface.map(|interface| interface.public_key.to_string()),
            address: facts.node.address,
            listen_port: facts.node.interface.and_then(|interface| port(interface.listen_port)),
            nat: nats(facts.node.nats),
            seen_at: facts
                .node
                .seen
                .iter()
                .map(|seen| SeenAt { endpoint: seen.endpoint.into(), peers: seen.peers.into() })
                .collect(),
        },
        peer: why::Peer {
            name: names.name(&peer.key).map(Into::into),
            key: peer.key.to_string(),
            address: peer.address,
            listen_port: port(peer.listen_port),
            nat: nats(peer.nats),
            endpoints: facts
                .endpoints
                .iter()
                .map(|(endpoint, kind)| why::Place { endpoint: *endpoint, source: kind.as_str().into() })
                .collect(),
        },
        link: why::Link {
            state: state(peer.state),
            since_s: peer.since.map(age),
            endpoint: peer.endpoint,
            endpoint_source: peer.kind.map(|kind| kind.as_str().into()),
            via: peer.via.as_ref().map(name),
            seen_at: peer.sees_us_at.map(Into::into),
            rtt_us: peer.rtt.filter(|_| facts.is_connected()).map(|rtt| rtt.as_micros()),
            handshake_age_s: peer.handshake_at.map(age),
            rx_bytes: peer.rx_bytes,
            tx_bytes: peer.tx_bytes,
            reason: peer.reason.map(reason),
        },
        cause,
        history: happenings(facts, &name),
        asked: facts.asked.iter().filter(|asked| told(asked)).map(|asked| said(asked, &name)).collect(),
    }
}

fn happenings(facts: &Facts<'_>, name: &dyn Fn(&PublicKey) -> String) -> Vec<why::Happening> {
    let age = |at: Instant| facts.now.saturating_duration_since(at).as_secs();
    let entries = &facts.history;
    let happening = |(at, entry): (usize, &&Entry)| {
        let base = |what| why::Happening {
            last_ago_s: age(entry.last),
            times: entry.times,
            ..why::Happening::new(what, age(entry.first))
        };
        let place = |endpoint: Option<Endpoint>| endpoint.map(SocketAddr::from);
        match entry.what {
            What::Attempt { endpoint, kind, initiator, via } => why::Happening {
                endpoint: place(endpoint),
                endpoint_source: endpoint.map(|_| kind.as_str().into()),
                role: Some(if initiator { "initiates" } else { "opens" }.into()),
                via: via.as_ref().map(name),
                outcome: Some(outcome(facts, at).into()),
                ..base("attempt")
            },
            What::Connected { endpoint, kind, via, took } => why::Happening {
                endpoint: place(endpoint),
                endpoint_source: Some(kind.as_str().into()),
                via: via.as_ref().map(name),
                took_ms: Some(took.as_millis()),
                ..base("connected")
            },
            What::Lost(why) => why::Happening { reason: Some(reason(why)), ..base("lost") },
            What::Waiting(why) => why::Happening { reason: Some(reason(why)), ..base("waiting") },
            What::Moved { endpoint, kind } => why::Happening {
                endpoint: place(Some(endpoint)),
                endpoint_source: Some(kind.as_str().into()),
                ..base("moved")
            },
            What::LanBarred(endpoint) => {
                why::Happening { endpoint: place(Some(endpoint)), ..base("lan-barred") }
            }
            What::Refused { endpoint, .. } => why::Happening { endpoint: place(endpoint), ..base("refused") },
        }
    };
    entries.iter().enumerate().map(happening).collect()
}

/// What came of an attempt shows in what came after it. Of several in one effort the last one decides.
fn outcome(facts: &Facts<'_>, at: usize) -> &'static str {
    let (before, after) = facts.history.split_at_checked(at).unwrap_or_default();
    let is_try = |entry: &&&Entry| entry.what.is_try();
    let effort = before.iter().rev().take_while(is_try).chain(after.iter().take_while(is_try));
    if after.first().map(|entry| entry.last) < effort.map(|entry| entry.last).max() {
        return "no-answer";
    }
    match after.iter().find(|entry| !entry.what.is_try()).map(|entry| entry.what) {
        Some(What::Connected { .. }) => "connected",
        Some(What::Waiting(Reason::NoGossip | Reason::OtherSecret | Reason::OriginalProtocol)) => "mute",
        None if facts.is_connected() => "connected",
        None if facts.peer.state == LinkState::Mute => "mute",
        None if facts.peer.state == LinkState::Connecting => "pending",
        _ => "no-answer",
    }
}

fn said(asked: &Asked, name: &dyn Fn(&PublicKey) -> String) -> why::Asked {
    why::Asked {
        who: name(&asked.teller),
        through: asked.through.as_ref().map(name),
        about: match asked.about {
            About::Us => "node",
            About::Peer => "peer",
        }
        .into(),
        answer: asked.answer.map(|answer| why::Said {
            state: answer.state.map(state),
            reason: answer.reason.map(reason),
            endpoint: answer.endpoint.map(Into::into),
            since_s: answer.since_s.into(),
        }),
    }
}
