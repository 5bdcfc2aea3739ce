//! Asking for an introduction: whom, in what order, and for how long.

use embassy_time::{Duration, Instant};

use super::Mesh;
use crate::{
    Reason,
    limits::{MAX_MEDIATORS, MAX_WAIT, MEDIATOR_TIMEOUT, MIN_BUSY},
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
        peer.asked.push(core::mem::replace(&mut peer.link.via, mediator));
        peer.link.rx_at = peer.view.rx;
        peer.link.stamp_at = peer.view.stamp;
        peer.link.set_connecting();
        self.enter(place, Phase::Asking, now.saturating_add(patience));
        self.request(place, Pending::ASK_INTRO);
    }

    /// The live peer to be asked next: in every other place whoever has the peer's record from itself, since a request may just
    /// have been lost. In between by chance, and not one of the last two, so that few of them are asked one after the other, and
    /// all of many in time: in turn one of those that anybody can reach, who are connected to most, and one of the rest, which
    /// may be the only one that is connected to the peer.
    pub(super) fn next_mediator(&mut self, place: Place) -> Place {
        let Some(peer) = self.peers.get(place) else { return NOBODY };
        let (asked, last, first) = (peer.asked, peer.link.via, peer.held.mediator);
        let live = self.connected();
        if live == 0 || asked.len() >= MAX_MEDIATORS || asked.len() >= live.saturating_mul(2) {
            return NOBODY;
        }
        let knows = self.peers.get(first).is_some_and(Peer::is_answering);
        if knows && asked.len().is_multiple_of(2) {
            return first;
        }
        let turn = if knows { asked.len() / 2 } else { asked.len() };
        let public = turn.is_multiple_of(2);
        let dice = self.roll(u64::MAX);
        let answering = || self.peers.iter().filter(|(p, peer)| *p != place && peer.is_answering());
        let is_new = |p: Place| p != last && p != asked.before() && !(knows && p == first);
        for public in [public, !public] {
            let others =
                || answering().filter(|(p, peer)| is_new(*p) && peer.is_public() == public).map(|(p, _)| p);
            if let Some(chosen) = dice.checked_rem(others().count() as u64) {
                return others().nth(chosen as usize).unwrap_or(NOBODY);
            }
        }
        let again = || answering().map(|(p, _)| p);
        again().find(|p| *p != last).or_else(|| again().next()).unwrap_or(NOBODY)
    }

    /// A mediator cannot help.
    pub(super) fn handle_intro_nack(&mut self, now: Instant, from: Place, nack: &IntroNack) {
        let Some(place) = self.peers.find(&nack.target) else { return };
        let Some(peer) = self.peers.get_mut(place) else { return };
        if peer.link.phase != Phase::Asking || peer.link.via != from {
            return;
        }
        if nack.reason == IntroNack::BUSY && peer.asked.put_off() {
            let after = Duration::from_millis(u64::from(nack.retry_ms)).clamp(MIN_BUSY, MAX_WAIT);
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
