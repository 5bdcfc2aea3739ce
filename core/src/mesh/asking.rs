//! Asking for an introduction: whom, in what order, and for how long.

use embassy_time::{Duration, Instant};

use super::Mesh;
use crate::{
    Reason,
    limits::{MAX_MEDIATORS, MAX_WAIT, MEDIATOR_TIMEOUT},
    peer::{NOBODY, Peer, Pending, Phase, Place},
    wire::IntroNack,
};

impl<const PEERS: usize> Mesh<PEERS> {
    pub(super) fn ask_mediator(&mut self, place: Place, mediator: Place, now: Instant) {
        let patience = self
            .peers
            .get(mediator)
            .map_or(MEDIATOR_TIMEOUT, |m| MEDIATOR_TIMEOUT.max(m.link.rtt + m.link.rtt / 2));
        let Some(peer) = self.peers.get_mut(place) else { return };
        peer.link.via = mediator;
        peer.link.asked = peer.link.asked.saturating_add(1);
        peer.link.rx_at = peer.view.rx;
        peer.link.stamp_at = peer.view.stamp;
        peer.link.set_connecting();
        self.enter(place, Phase::Asking, now.saturating_add(patience));
        self.request(place, Pending::ASK_INTRO);
    }

    /// The live peer to be asked next: in every other place whoever has the peer's record from itself, since a request may just
    /// have been lost; else all others in turn, public ones first.
    pub(super) fn next_mediator(&self, place: Place) -> Place {
        let Some(peer) = self.peers.get(place) else { return NOBODY };
        let (asked, first) = (peer.link.asked, peer.held.mediator);
        let live = self.connected();
        if live == 0 || asked >= MAX_MEDIATORS || usize::from(asked) >= live.saturating_mul(2) {
            return NOBODY;
        }
        let knows = self.peers.get(first).is_some_and(Peer::is_answering);
        if knows && asked.is_multiple_of(2) {
            return first;
        }
        let mut turn = usize::from(if knows { asked / 2 } else { asked });
        // Not everybody begins with the same one, nor we with the same for each peer.
        let start = (peer.link.began.as_ticks() as usize).wrapping_add(usize::from(place));
        for public in [true, false] {
            let others = || {
                let fits = |p: Place, peer: &Peer| {
                    p != place && !(knows && p == first) && peer.is_answering() && peer.is_public() == public
                };
                self.peers.iter().filter(move |(p, peer)| fits(*p, peer)).map(|(p, _)| p)
            };
            let count = others().count();
            if turn < count {
                return others().nth(start.wrapping_add(turn) % count).unwrap_or(NOBODY);
            }
            turn -= count;
        }
        // Each has been asked once.
        let anybody = || self.peers.iter().find(|(p, peer)| *p != place && peer.is_answering());
        if knows { first } else { anybody().map_or(NOBODY, |(p, _)| p) }
    }

    /// A mediator cannot help.
    pub(super) fn handle_intro_nack(&mut self, now: Instant, from: Place, nack: &IntroNack) {
        let Some(place) = self.peers.find(&nack.target) else { return };
        let Some(peer) = self.peers.get_mut(place) else { return };
        if peer.link.phase != Phase::Asking || peer.link.via != from {
            return;
        }
        if nack.reason == IntroNack::BUSY {
            let after = Duration::from_millis(u64::from(nack.retry_ms)).min(MAX_WAIT);
            peer.link.asked = peer.link.asked.saturating_sub(1);
            let after = self.jitter(after);
            return self.enter(place, Phase::Asking, now.saturating_add(after));
        }
        if peer.held.mediator == from {
            peer.held.mediator = NOBODY;
        }
        self.mediator_failed(place, now);
    }

    /// The next mediator, or the end of this effort.
    pub(super) fn mediator_failed(&mut self, place: Place, now: Instant) {
        let mediator = self.next_mediator(place);
        if mediator != NOBODY {
            return self.ask_mediator(place, mediator, now);
        }
        if !self.is_in_doubt(place, now) && !self.candidates(place, true).is_empty() {
            return self.contact(place, now);
        }
        self.stand_down(place, now);
        self.give_up(place, now, Reason::NotIntroduced);
    }
}
