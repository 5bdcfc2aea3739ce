//! A map for a person who wants one: every connected peer is asked how it stands with all others, and what has been said after a
//! moment is the map. See [`crate::map`].
//!
//! ```text
//!   indirect                                   those that are not connected here
//!      │ one that is has said that it is connected to them; or nobody else is left to say so
//!      ▼
//!   to_ask ──► asked ──────────────► (answered) ──► the next part: to_ask
//!     ▲          │ nothing came: again        │ the last part
//!     └──────────┘                            ▼
//!                  all answered, or given up, or time is up: settled
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wgautomesh_core::{AskError, Duration, Event, Instant, LinkTold, Mesh, PublicKey, Scope};

use super::{Node, names::Names, status};
use crate::{
    control::Ticket,
    map::{self, MAX_NODES, Map, Says},
};

/// Whoever wants a map waits for so long at the most.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// A question that nobody has answered is asked again after this.
const AGAIN: Duration = Duration::from_millis(450);
/// Times a question is asked; of who is not connected, through another each time.
const TRIES: u8 = 3;
/// Questions that wait for an answer at the same time: their answers come in together, and must fit into the socket.
const AT_ONCE: usize = 32;

/// A question: which part of whose links.
struct Question {
    to: PublicKey,
    from: u16,
    tries: u8,
    /// When it was asked last.
    at: Instant,
}

/// What has been said so far.
pub(super) struct Survey {
    tickets: Vec<Ticket>,
    began: Instant,
    until: Instant,
    to_ask: VecDeque<Question>,
    /// Those who are not connected: asked through one that is connected to them, as soon as one has said so.
    indirect: Vec<Question>,
    asked: Vec<Question>,
    answered: BTreeSet<PublicKey>,
    /// By who says it, and of whom.
    said: BTreeMap<(PublicKey, PublicKey), Says>,
}

impl Survey {
    /// Begins to ask all peers.
    pub(super) fn new<const PEERS: usize>(
        mesh: &mut Mesh<PEERS>,
        names: &Names,
        ticket: Ticket,
        now: Instant,
    ) -> Self {
        mesh.expect_links(true);
        let connected: BTreeSet<_> =
            mesh.peers().filter(|peer| peer.state.is_connected()).map(|peer| peer.key).collect();
        // Who is left out of the map needs not be asked.
        let all =
            names.iter().take(MAX_NODES).map(|(key, _)| Question { to: *key, from: 0, tries: 0, at: now });
        let (direct, indirect): (Vec<_>, _) = all.partition(|question| connected.contains(&question.to));
        Self {
            tickets: vec![ticket],
            began: now,
            until: now.saturating_add(PATIENCE),
            to_ask: direct.into(),
            indirect,
            asked: Vec::new(),
            answered: BTreeSet::new(),
            said: BTreeMap::new(),
        }
    }

    /// Somebody else wants a map too, and gets the same.
    pub(super) fn join(&mut self, ticket: Ticket) {
        self.tickets.push(ticket);
    }

    /// Asks as far as the engine has room. Returns whether it is to be polled, and this called again.
    pub(super) fn ask<const PEERS: usize>(&mut self, mesh: &mut Mesh<PEERS>, now: Instant) -> bool {
        for place in (0..self.asked.len()).rev() {
            if self.asked.get(place).is_some_and(|question| question.at.saturating_add(AGAIN) <= now) {
                let late = self.asked.swap_remove(place);
                if late.tries < TRIES {
                    self.to_ask.push_back(late);
                }
            }
        }
        let nobody_else = self.to_ask.is_empty() && self.asked.is_empty();
        for place in (0..self.indirect.len()).rev() {
            if self
                .indirect
                .get(place)
                .is_some_and(|question| nobody_else || self.connected_to(question).is_some())
            {
                self.to_ask.push_back(self.indirect.swap_remove(place));
            }
        }
        while self.asked.len() < AT_ONCE
            && let Some(question) = self.to_ask.pop_front()
        {
            let via = self.connected_to(&question);
            match mesh.ask_links(&question.to, via.as_ref(), question.from) {
                Ok(()) => self.asked.push(Question { tries: question.tries + 1, at: now, ..question }),
                Err(AskError::Busy) => {
                    self.to_ask.push_front(question);
                    return true;
                }
                // Ourselves where we are listed, somebody who was removed just now, or nobody is connected at all.
                Err(_) => {}
            }
        }
        false
    }

    /// Somebody who says that it is connected to whom a question is for, and another each time.
    fn connected_to(&self, question: &Question) -> Option<PublicKey> {
        let connected = |((_, about), says): &(&(_, PublicKey), &Says)| {
            *about == question.to && says.state.is_connected()
        };
        let mut tellers: Vec<_> =
            self.said.iter().filter(connected).map(|((teller, _), _)| *teller).collect();
        let turn = usize::from(question.tries).checked_rem(tellers.len())?;
        Some(tellers.swap_remove(turn))
    }

    /// Takes in what the engine has heard.
    pub(super) fn hear(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Link(link) => {
                self.said.insert((link.teller, link.about), says(link));
            }
            Event::LinksTold { teller, next } => {
                let is_answered = |question: &Question| question.to == *teller;
                let Some(place) = self.asked.iter().position(is_answered) else { return };
                let question = self.asked.swap_remove(place);
                match next.filter(|next| *next > question.from) {
                    Some(from) => self.to_ask.push_front(Question { from, tries: 0, at: now, ..question }),
                    None => {
                        self.answered.insert(*teller);
                    }
                }
            }
            _ => {}
        }
    }

    /// When there is something to be done for it without an event; in the past for at once.
    pub(super) fn poll_timeout(&self) -> Instant {
        let again = self.asked.iter().map(|question| question.at.saturating_add(AGAIN));
        let room = self.asked.len() < AT_ONCE && !self.to_ask.is_empty();
        let at_once = Some(self.began).filter(|_| room || self.asked.is_empty());
        again.chain([self.until]).chain(at_once).min().unwrap_or(self.until)
    }

    /// Whether nobody is to be heard any more.
    fn is_done(&self) -> bool {
        self.to_ask.is_empty() && self.indirect.is_empty() && self.asked.is_empty()
    }

    /// Whether nothing more is to come.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until <= now || self.is_done()
    }

    /// Who waits for the map, and the map.
    pub(super) fn settle<const PEERS: usize>(
        mut self,
        mesh: &mut Mesh<PEERS>,
        node: &Node,
        names: &Names,
        mapped: bool,
    ) -> (Vec<Ticket>, Map) {
        mesh.expect_links(false);
        let this = mesh.node();
        let own = this.interface.map(|interface| interface.public_key);
        let name = |key: &PublicKey| names.iter().find(|(other, _)| *other == key)?.1.map(Into::into);
        let public = |seen: &&wgautomesh_core::Seen| seen.endpoint.scope() == Scope::Public;
        let seen = this.seen.iter().filter(public).min_by_key(|seen| !seen.endpoint.is_ipv4());
        let mut nodes = vec![map::Node {
            name: own.as_ref().and_then(name),
            key: own.map(|key| key.to_string()).unwrap_or_default(),
            answered: true,
            nat: status::nats(this.nats),
            outside: seen.map(|seen| seen.endpoint.into()),
            mapped,
        }];
        // Nobody has the key of zeroes, which stands for ourselves while the interface is not there.
        let own = own.unwrap_or(PublicKey::from_bytes([0; PublicKey::LEN]));
        let mut places = BTreeMap::from([(own, 0)]);
        let peers: BTreeMap<_, _> = mesh.peers().map(|peer| (peer.key, peer)).collect();
        let listed: Vec<_> = names.iter().filter_map(|(key, _)| peers.get(key)).collect();
        for peer in listed.iter().take(MAX_NODES - 1) {
            places.insert(peer.key, nodes.len());
            nodes.push(map::Node {
                name: name(&peer.key),
                key: peer.key.to_string(),
                answered: self.answered.contains(&peer.key),
                nat: status::nats(peer.nats),
                outside: peer.outside.map(Into::into),
                mapped: peer.mapped,
            });
            let ours = LinkTold {
                teller: own,
                about: peer.key,
                state: peer.state,
                kind: peer.kind,
                reason: peer.reason,
                rtt: peer.rtt,
            };
            self.said.insert((own, peer.key), says(&ours));
        }
        let left_out = listed.len() + 1 - nodes.len();
        let place = |key: &PublicKey| places.get(key).copied();
        let said = self.said.into_iter();
        let said = said.filter_map(|((teller, about), says)| Some(((place(&teller)?, place(&about)?), says)));
        (self.tickets, Map::new(node.interface.clone(), nodes, left_out, said.collect()))
    }
}

fn says(link: &LinkTold) -> Says {
    let state = status::state(link.state);
    let connected = state.is_connected();
    Says {
        state,
        endpoint_source: link.kind.filter(|_| connected).map(|kind| kind.as_str().into()),
        reason: link.reason.filter(|_| !connected).map(|reason| reason.as_str().into()),
        rtt_us: link.rtt.filter(|_| connected).map(|rtt| rtt.as_micros()),
    }
}

#[cfg(test)]
mod tests;
