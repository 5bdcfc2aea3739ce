//! Questions between nodes: how do you stand with everybody? Answered a part at a time, or passed on by a mediator.
//!
//! A map of a mesh needs what every node knows of every other. To ask for each pair ([`super::tell`]) would take as many
//! questions as there are pairs; so one question is answered by one datagram, which says of up to [`MAX_LINKS_TOLD`] peers how it
//! stands with them in a few bytes each, and where the next part begins. Who asks keeps count; who answers keeps nothing. It is
//! asked only where a person wants a map ([`super::map`]).

use embassy_time::Instant;
use heapless::Vec;

use super::{
    Mesh, link_state,
    tell::{Matter, PendingTell},
};
use crate::{
    limits::{LINKS_PER_SECOND, MAX_LINKS_TOLD},
    peer::{NOBODY, Peer, Place},
    wire::{self, AskLinks, Kind, LinkEntry, LinksHead, Malformed, Writer},
};

/// What waits, and what the last questions have used up.
pub(super) struct Links {
    /// The last answer that came, until it is polled. While one waits, the next is dropped: who asked asks again.
    pub(super) told: Option<Told>,
    /// The token of our own questions; zero while nobody wants a map.
    pub(super) token: [u8; 4],
    questions: Turns,
    answers: Turns,
}

/// What was taken in one second.
#[derive(Clone, Copy)]
struct Turns {
    /// Of 256.
    second: u8,
    taken: u8,
}

/// An answer, for us or to be passed on.
pub(super) struct Told {
    /// Whom to pass it on to; [`NOBODY`] where it is for us.
    pub(super) to: Place,
    pub(super) head: LinksHead,
    pub(super) links: Vec<LinkEntry, MAX_LINKS_TOLD, u8>,
}

impl Links {
    pub(super) const fn new() -> Self {
        let none = Turns { second: 0, taken: 0 };
        Self { told: None, token: [0; 4], questions: none, answers: none }
    }

    /// Nothing is passed on to that place any more.
    pub(super) fn forget(&mut self, place: Place) {
        self.told.take_if(|told| told.to == place);
    }
}

impl Turns {
    /// Takes one of [`LINKS_PER_SECOND`].
    const fn take(&mut self, now: Instant) -> bool {
        let second = now.as_secs() as u8;
        if self.second != second {
            *self = Self { second, taken: 0 };
        }
        let left = self.taken < LINKS_PER_SECOND;
        self.taken += left as u8;
        left
    }
}

impl<const PEERS: usize> Mesh<PEERS> {
    /// A peer wants to know how somebody stands with all of its peers.
    pub(super) fn handle_ask_links(&mut self, now: Instant, from: Place, ask: &AskLinks) {
        let to = if Some(ask.to) == self.own_key() {
            Some(from)
        } else {
            // Passed on once: only the asker itself may give a question to a mediator.
            let is_askers = self.peers.get(from).is_some_and(|p| p.key == ask.asker);
            self.live_peer(&ask.to).filter(|to| is_askers && *to != from)
        };
        let Some(to) = to.filter(|_| self.links.questions.take(now)) else { return };
        // When full the question is dropped, and asked again.
        let _ = self.tells.push_back(PendingTell { to, what: Matter::Links(*ask) });
        self.busy = true;
    }

    /// Writes the answer to a question for us, or passes it on.
    pub(super) fn write_links(&self, ask: &AskLinks, writer: &mut Writer<'_>) -> bool {
        let Some(own) = self.own_key() else { return false };
        if ask.to != own {
            return writer.frame(Kind::AskLinks, ask);
        }
        let start = writer.len();
        let from = usize::from(ask.from);
        let end = from + MAX_LINKS_TOLD;
        let next = if self.peers.nth_key(end).is_some() { end } else { 0 };
        let next = u16::try_from(next).unwrap_or_default();
        let head = LinksHead { token: ask.token, asker: ask.asker, teller: own, next };
        let mut part =
            (from..end).map_while(|at| self.peers.nth_key(at)).filter_map(|place| self.peers.get(place));
        let written = writer.begin(Kind::TellLinks)
            && writer.append(&head)
            && part.all(|peer| peer.us || writer.append(&entry(peer)));
        if written {
            writer.end(start);
        } else {
            writer.truncate(start);
        }
        written
    }

    /// A part of an answer: for us, or to be passed on.
    pub(super) fn handle_tell_links(
        &mut self,
        now: Instant,
        from: Place,
        mut body: &[u8],
    ) -> Result<(), Malformed> {
        let head: LinksHead = wire::take(&mut body).ok_or(Malformed)??;
        let is_tellers = self.peers.get(from).is_some_and(|p| p.key == head.teller);
        let to = if Some(head.asker) == self.own_key() {
            // Whoever can tell us of itself is not to be told of by others.
            let wanted = self.links.token != [0; 4] && self.links.token == head.token;
            Some(NOBODY).filter(|_| wanted && (is_tellers || self.live_peer(&head.teller).is_none()))
        } else {
            self.live_peer(&head.asker).filter(|_| is_tellers && self.links.answers.take(now))
        };
        let Some(to) = to.filter(|_| self.links.told.is_none()) else { return Ok(()) };
        let mut links = Vec::new();
        while let Some(entry) = wire::take(&mut body) {
            // More than we would tell are not ours to pass on.
            let _ = links.push(entry?);
        }
        self.links.told = Some(Told { to, head, links });
        self.busy = true;
        Ok(())
    }

    /// Passes an answer on.
    pub(super) fn write_told(&mut self, writer: &mut Writer<'_>) -> Option<Place> {
        let Told { to, head, links } = self.links.told.take_if(|told| told.to != NOBODY)?;
        // In a buffer that is too small nothing is written, and nothing sent.
        let start = writer.len();
        let written = writer.begin(Kind::TellLinks)
            && writer.append(&head)
            && links.iter().all(|entry| writer.append(entry));
        if written {
            writer.end(start);
        } else {
            writer.truncate(start);
        }
        Some(to)
    }

    /// Whether the next question or answer would be dropped for want of room unless [`poll`](Self::poll) is called first.
    #[cfg(feature = "nal")]
    pub(crate) fn is_to_be_polled(&self) -> bool {
        self.links.told.is_some() || self.tells.is_full()
    }

    pub(super) fn live_peer(&self, key: &crate::PublicKey) -> Option<Place> {
        self.peers.find(key).filter(|place| self.peers.get(*place).is_some_and(Peer::is_live))
    }
}

/// How we stand with a peer, in short.
fn entry(peer: &Peer) -> LinkEntry {
    let link = &peer.link;
    let live = link.phase.is_live();
    let reason = link.reason.map_or(0, |reason| reason as u8 + 1);
    let rtt = link.rtt.as_micros().div_ceil(100);
    LinkEntry {
        id: peer.key.short().to_be_bytes(),
        state: link_state(link.phase) as u8,
        how: if live { link.kind as u8 } else { reason },
        rtt: if live { u16::try_from(rtt).unwrap_or(u16::MAX) } else { 0 },
    }
}
