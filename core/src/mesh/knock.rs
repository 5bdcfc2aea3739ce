//! Knocking: how a node whose initiations come to nothing gets the other side to initiate.
//!
//! WireGuard refuses an initiation whose stamp is not after the last one it saw from that peer, and says nothing. A router that
//! has no clock of its own boots in 1970: none of its initiations is taken by anybody who knew it before, until it is told the
//! time, which it may need the mesh for. Its *answers* are taken, so the other side has to initiate; but that one holds the
//! peer for connected, or quiet, and hears nothing at all.
//!
//! So whoever has fired at an endpoint in vain sends openers there, with a number of its own. Whoever hears one from a peer that
//! it has no attempt with sends one back, with another number, and does nothing else: what it heard may be an old one that
//! somebody has recorded. Only who echoes that number is there, now, and wants a new session. Not even this moves a session
//! which is live: the peer is asked through it, and initiated to where it knocked when it does not answer there.
//!
//! ```text
//! in 1970                                  in the present
//!    | --- initiation --------------------- > |   refused
//!    | --- opener: number n --------------- > |
//!    | < ---------- opener: number m, echo n  |   nothing is kept: m is made of a salt, the peer and the time
//!    | --- opener: number n, echo m ------- > |   probes its session, if it has one
//!   keeps still                               |
//!    | < -------------------------- initiation|
//! ```

use embassy_time::Instant;

use super::{
    Mesh,
    openers::{Purpose, Single},
};
use crate::{
    CandidateKind, Endpoint,
    limits::{CALL_BACK, CALL_BACKS_PER_SECOND, KNOCK_WINDOW, PROBE_MAX, PROBE_MIN},
    peer::{NOBODY, Pending, Phase, Place, Prepare, Wanted},
    stats::count,
    wire::Opener,
};

impl<const PEERS: usize> Mesh<PEERS> {
    /// What was fired at a peer's endpoint has come to nothing.
    pub(super) fn knock(&mut self, place: Place, now: Instant) {
        if !self.openers.allowed {
            return;
        }
        let number = self.number();
        let Some(peer) = self.peers.get_mut(place) else { return };
        if peer.link.readds <= 1 {
            peer.link.attempt = number;
        }
        self.begin_series(place, Purpose::Knock, now);
        self.expect_openers(now.saturating_add(CALL_BACK));
    }

    fn number(&mut self) -> [u8; 4] {
        (self.roll(u64::from(u32::MAX)) as u32).max(1).to_le_bytes()
    }

    /// The number that a peer is to echo in this window of time. Nothing is kept of who knocked.
    fn challenge(&mut self, place: Place, window: u64) -> Option<[u8; 4]> {
        if self.openers.salt == 0 {
            self.openers.salt = self.roll(u64::MAX) | 1;
        }
        let key = self.peers.get(place)?.key.short();
        let mut bytes = [0; 24];
        let parts = [self.openers.salt, key, window];
        bytes.chunks_exact_mut(8).zip(parts).for_each(|(to, part)| to.copy_from_slice(&part.to_le_bytes()));
        let hash = self.secrets.first()?.hash(&bytes) as u32;
        Some(hash.max(1).to_le_bytes())
    }

    /// An opener has come from a peer that we have no such attempt with.
    pub(super) fn knocked(&mut self, place: Place, from: Endpoint, number: [u8; 4], now: Instant) {
        if !self.may_be_called(place) || self.openers.called_back >= CALL_BACKS_PER_SECOND {
            return;
        }
        let Some(attempt) = self.challenge(place, now.as_secs() / KNOCK_WINDOW.as_secs()) else { return };
        self.openers.called_back += 1;
        self.openers.reply = Some(Single { place, to: from, attempt, echo: number });
        self.busy = true;
    }

    /// An opener has come that answers one of ours.
    pub(super) fn echo_heard(&mut self, place: Place, from: Endpoint, opener: &Opener, now: Instant) {
        let Some(peer) = self.peers.get(place) else { return };
        let link = &peer.link;
        let waiting = link.via == NOBODY && link.attempt == opener.echo && link.phase.is_being_opened();
        if waiting {
            count(&mut self.counters.heard_openers);
            return self.called_back(place, from, opener.attempt, now);
        }
        let window = now.as_secs() / KNOCK_WINDOW.as_secs();
        let fresh = [window, window.saturating_sub(1)]
            .into_iter()
            .any(|window| self.challenge(place, window) == Some(opener.echo));
        if fresh && self.may_be_called(place) {
            count(&mut self.counters.heard_openers);
            self.call(place, from, now);
        }
    }

    /// The other side has heard our knock and will initiate: two initiations might cross.
    fn called_back(&mut self, place: Place, from: Endpoint, echo: [u8; 4], now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        self.openers.reply = Some(Single { place, to: from, attempt: peer.link.attempt, echo });
        self.busy = true;
        if peer.link.phase != Phase::Opening {
            peer.link.initiator = false;
            peer.link.prepare = Prepare::Disarm;
            self.enter(place, Phase::Opening, now.saturating_add(CALL_BACK));
            self.readings.want();
        }
        self.openers.refused = true;
        self.expect_openers(now.saturating_add(CALL_BACK));
    }

    /// Whether a knock tells anything: no attempt is under way.
    fn may_be_called(&self, place: Place) -> bool {
        let phase = self.peers.get(place).map_or(Phase::Greeting, |p| p.link.phase);
        matches!(
            phase,
            Phase::Live | Phase::Probing | Phase::Mute | Phase::Presumed | Phase::Idle | Phase::Asking
        )
    }

    /// A peer is there, at this moment, and wants a session.
    fn call(&mut self, place: Place, to: Endpoint, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let link = &mut peer.link;
        if link.wanted == Wanted::Initiation && link.via == place {
            return;
        }
        (link.via, link.wanted) = (place, Wanted::Initiation);
        (link.target, link.kind) = (Some(to), CandidateKind::Heard);
        match link.phase {
            Phase::Live | Phase::Probing => self.probe_in_haste(place, now),
            Phase::Mute => {
                // Its session may work without its daemon; but that is there now, and answers through it if it does.
                let patience = (link.rtt * 2).clamp(PROBE_MIN, PROBE_MAX);
                self.enter(place, Phase::Presumed, now.saturating_add(patience * 2));
                self.request(place, Pending::HELLO);
            }
            Phase::Presumed => {}
            _ => self.follow_summons(place, now),
        }
    }
}
