//! Questions between nodes: how do you stand with that one? Answered at once, or passed on by a mediator.

use embassy_time::Instant;

use super::{Mesh, link_state};
use crate::{
    Endpoint, PublicKey, Reason,
    peer::{Peer, Place},
    status::LinkState,
    wire::{Ask, AskLinks, Tell},
};

/// A question or an answer that is to go out.
pub(super) struct PendingTell {
    pub(super) to: Place,
    pub(super) what: Matter,
}

pub(super) enum Matter {
    Question(Ask),
    Answer(Tell),
    /// A question for all links: for us, or to be passed on.
    Links(AskLinks),
}

/// Why a question cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum AskError {
    /// No peer with this key is configured.
    UnknownPeer,
    /// Neither that peer nor anybody who could pass the question on is connected.
    NotConnected,
    /// Too many questions wait already.
    Busy,
}

impl core::fmt::Display for AskError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::UnknownPeer => "no peer with this key is configured",
            Self::NotConnected => "neither that peer nor anybody who could pass the question on is connected",
            Self::Busy => "too many questions wait already",
        })
    }
}

impl core::error::Error for AskError {}

/// In place of a state: the teller has no such peer.
const NO_PEER: u8 = u8::MAX;

/// What a peer says of its link with another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The number that [`Mesh::ask`] gave.
    pub question: u32,
    /// Who says so. A mediator could lie about it.
    pub teller: PublicKey,
    /// The node in question.
    pub about: PublicKey,
    /// How it stands; `None` where the teller has no such peer.
    pub state: Option<LinkState>,
    /// Why it is not connected; `None` where it is, or for a reason this version does not know.
    pub reason: Option<Reason>,
    /// Where the teller sees that node.
    pub endpoint: Option<Endpoint>,
    /// For how long it has been so, in seconds.
    pub since_s: u32,
}

impl<const PEERS: usize> Mesh<PEERS> {
    /// Asks `peer` how it stands with `about` (ourselves, say); through a mediator if `peer` is not connected. The answer
    /// comes as [`Event::Answer`](crate::Event::Answer) with the number returned here, or never.
    ///
    /// # Errors
    /// See [`AskError`].
    pub fn ask(&mut self, peer: &PublicKey, about: &PublicKey) -> Result<u32, AskError> {
        let place = self.peers.find(peer).ok_or(AskError::UnknownPeer)?;
        let through = self.way_to(place).ok_or(AskError::NotConnected)?;
        self.question(through, peer, about)
    }

    /// The same through this mediator, whether `peer` is connected or not.
    ///
    /// # Errors
    /// See [`AskError`].
    pub fn ask_through(
        &mut self,
        mediator: &PublicKey,
        peer: &PublicKey,
        about: &PublicKey,
    ) -> Result<u32, AskError> {
        let through = self.peers.find(mediator).ok_or(AskError::UnknownPeer)?;
        if !self.peers.get(through).is_some_and(|p| p.is_live()) {
            return Err(AskError::NotConnected);
        }
        self.question(through, peer, about)
    }

    fn question(&mut self, through: Place, peer: &PublicKey, about: &PublicKey) -> Result<u32, AskError> {
        let asker = self.own_key().ok_or(AskError::NotConnected)?;
        let question = (self.roll(u64::from(u32::MAX)) as u32).max(1);
        let ask = Ask { token: question.to_le_bytes(), asker, to: *peer, about: *about };
        self.tells
            .push_back(PendingTell { to: through, what: Matter::Question(ask) })
            .map_err(|_| AskError::Busy)?;
        self.busy = true;
        Ok(question)
    }

    /// Whom a question to a peer is given: the peer itself, or who could pass it on.
    pub(super) fn way_to(&self, place: Place) -> Option<Place> {
        let is_live = |place: &Place| self.peers.get(*place).is_some_and(Peer::is_live);
        let known = self.peers.get(place).map(|p| p.held.mediator);
        let anybody = || self.peers.iter().find(|(_, p)| p.is_live()).map(|(place, _)| place);
        Some(place).filter(is_live).or_else(|| known.filter(is_live)).or_else(anybody)
    }

    pub(super) fn handle_ask(&mut self, now: Instant, from: Place, ask: &Ask) {
        let Some(sender) = self.peers.get(from).map(|p| p.key) else { return };
        // Passed on once: only the asker itself may give a question to a mediator.
        if ask.asker != sender && Some(ask.to) != self.own_key() {
            return;
        }
        let pending = if Some(ask.to) == self.own_key() {
            let Some(tell) = self.tell(now, ask) else { return };
            PendingTell { to: from, what: Matter::Answer(tell) }
        } else {
            let Some(to) = self.peers.find(&ask.to) else { return };
            if !self.peers.get(to).is_some_and(|p| p.is_live()) {
                return;
            }
            PendingTell { to, what: Matter::Question(*ask) }
        };
        // When full the question is dropped: a person asks again.
        let _ = self.tells.push_back(pending);
        self.busy = true;
    }

    /// Our own view of a pair.
    fn tell(&self, now: Instant, ask: &Ask) -> Option<Tell> {
        let teller = self.own_key()?;
        let stranger = Tell {
            token: ask.token,
            asker: ask.asker,
            teller,
            about: ask.about,
            state: NO_PEER,
            reason: 0,
            endpoint: None,
            since_s: 0,
        };
        let Some(peer) = self.peers.find(&ask.about).and_then(|p| self.peers.get(p)) else {
            return Some(stranger);
        };
        let reason = if peer.link.phase.is_live() { None } else { peer.link.reason };
        let since = now.saturating_duration_since(peer.link.since).as_secs();
        Some(Tell {
            state: link_state(peer.link.phase) as u8,
            reason: reason.map_or(0, |r| r as u8 + 1),
            endpoint: peer.view.endpoint,
            since_s: if peer.link.since == Instant::MIN {
                0
            } else {
                u32::try_from(since).unwrap_or(u32::MAX)
            },
            ..stranger
        })
    }

    /// An answer: for us, or to be passed on.
    pub(super) fn handle_tell(&mut self, from: Place, tell: &Tell) {
        if Some(tell.asker) == self.own_key() {
            let state = LinkState::from_wire(tell.state);
            if state.is_none() && tell.state != NO_PEER {
                return;
            }
            self.answers_event(Answer {
                question: u32::from_le_bytes(tell.token),
                teller: tell.teller,
                about: tell.about,
                state,
                reason: tell.reason.checked_sub(1).and_then(Reason::from_wire),
                endpoint: tell.endpoint,
                since_s: tell.since_s,
            });
            return;
        }
        let Some(sender) = self.peers.get(from).map(|p| p.key) else { return };
        if tell.teller != sender {
            return;
        }
        let Some(to) = self.peers.find(&tell.asker) else { return };
        if self.peers.get(to).is_some_and(|p| p.is_live()) {
            let _ = self.tells.push_back(PendingTell { to, what: Matter::Answer(*tell) });
            self.busy = true;
        }
    }

    fn answers_event(&mut self, answer: Answer) {
        if self.answers.is_full() {
            self.answers.pop_front();
        }
        // There is room: the oldest was taken out just now.
        let _ = self.answers.push_back(answer);
    }
}
