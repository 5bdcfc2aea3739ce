//! Live means: the peer has echoed our Hello. When links become live, how they are watched, and when they end.

use embassy_time::{Duration, Instant};

use super::{Mesh, own::Side};
use crate::{
    CandidateKind, Reason,
    limits::{
        ENOUGH_UNANSWERED, HELLO_REPEATS, KEEPALIVE, KEEPALIVE_FROM_NAT, KEEPALIVE_SENDER, KEEPALIVE_TO_NAT,
        PROBE_MAX, PROBE_MIN, PROBES, SESSION_DOUBT, SILENT_BUSY, SILENT_IDLE, SILENT_SENDER,
        SILENT_UNGUARDED,
    },
    peer::{Asked, Failures, NOBODY, Peer, Pending, Phase, Place, Wanted},
};

impl<const PEERS: usize> Mesh<PEERS> {
    /// A datagram of the peer has come, so WireGuard has a session: whatever phase it was, the rest is to have our
    /// Hello echoed.
    pub(super) fn greet(&mut self, place: Place, now: Instant, asked: bool) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        if peer.link.phase.is_live() || peer.link.phase == Phase::Greeting {
            return;
        }
        if peer.link.phase == Phase::Idle && peer.link.reason != Some(Reason::Connecting) {
            peer.link.began = now;
        }
        peer.link.doubt_until = Instant::MIN;
        // Who is there needs no introduction, which would have the other side begin another session.
        peer.pending.clear(Pending::ASK_INTRO);
        // An answer to its Hello carries ours.
        if !asked {
            self.request(place, Pending::HELLO);
        }
        self.enter(place, Phase::Greeting, now.saturating_add(HELLO_REPEATS[0]));
        // The answer says where we see the peer, which only a reading shows.
        self.readings.want();
    }

    pub(super) fn greeting_timeout(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        peer.link.hellos = peer.link.hellos.saturating_add(1);
        match peer.link.hellos {
            0..=2 => {
                let after = HELLO_REPEATS[1] * u32::from(peer.link.hellos);
                self.request(place, Pending::HELLO);
                self.enter(place, Phase::Greeting, now.saturating_add(after));
            }
            3 => {
                // Whether there is a session at all is for a reading to tell.
                self.readings.want();
                self.enter(place, Phase::Greeting, now.saturating_add(HELLO_REPEATS[0]));
            }
            // What came was the last of a session that a re-add of ours had just ended.
            _ if peer.view.stamp == 0 => {
                peer.link.reason = Some(Reason::NoAnswer);
                self.pursue(place, now);
            }
            _ => self.mute(place, now),
        }
    }

    /// The peer has echoed our Hello.
    pub(super) fn echoed(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let sample = now.saturating_duration_since(peer.link.token_at).max(Duration::from_ticks(1));
        let link = &mut peer.link;
        // Which of several sendings was echoed is not known (Karn and Partridge 1987), so that it is an upper bound then; and the
        // first Hello of all has waited for a handshake.
        if link.rtt.as_ticks() == 0 {
            link.rtt = if link.fired != Instant::MIN { sample / 2 } else { sample };
        } else if sample < link.rtt {
            link.rtt = (link.rtt + sample) / 2;
        } else if !link.token_repeated {
            link.rtt = (link.rtt * 7 + sample) / 8;
        }
        link.token = [0; 4];
        link.wanted = Wanted::Nothing;
        if link.via == place {
            link.via = NOBODY;
        }
        peer.view.rx_changed = now;
        let was_live = link.phase.is_live();
        if !was_live {
            // What we have initiated was taken, if there was nothing else that it can have come of.
            self.openers.refused &= !link.initiator || link.fired == Instant::MIN;
            link.since = now;
            link.reason = None;
            link.told = None;
            link.round = 0;
            link.candidate = 0;
            link.readds = 0;
            link.failures = Failures::NONE;
            peer.asked = Asked::NOBODY;
            link.doubt_until = Instant::MIN;
            peer.pending.set(Pending::CONNECTED);
        }
        self.enter(place, Phase::Live, Instant::MAX);
        self.lan_echoed(place, now);
        if !was_live {
            self.busy = true;
            self.set_keepalive(place);
            self.readings.want();
            self.note_degree(now);
            self.synchronise(place, now);
            self.observers.reconsider(place);
            self.mediator_appeared(place, now);
            self.schedule_digest(now);
        }
    }

    /// WireGuard keeps the NATs on the way open: with the user's interval where there is one, else with ours; not at all where
    /// there is nothing to be kept open.
    pub(super) fn set_keepalive(&mut self, place: Place) {
        let unguarded = self.is_unguarded(place);
        let behind_nat = self.behind_nat(place);
        let lower = self.is_lower(place);
        let Some(peer) = self.peers.get_mut(place) else { return };
        let interval = match peer.view.user_keepalive {
            0 if unguarded => 0,
            0 => match behind_nat {
                Some(Side::Ours) => KEEPALIVE_FROM_NAT,
                Some(Side::Theirs) => KEEPALIVE_TO_NAT,
                None if lower => KEEPALIVE_SENDER,
                None => KEEPALIVE,
            },
            user => user,
        };
        if peer.view.keepalive != interval {
            peer.link.keepalive = interval;
            self.request(place, Pending::KEEPALIVE);
        }
    }

    /// A reading has come for a link that is or was in use.
    pub(super) fn link_reading(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        if !peer.link.phase.is_live() {
            return self.unconnected_reading(place, now);
        }
        if !peer.view.present {
            // Somebody took the peer out of the interface, and with it the session.
            return self.lose(place, now, Reason::Silent);
        }
        if peer.view.address_taken {
            // What we hear from there is another's now, and what we send goes to him.
            return self.lose(place, now, Reason::AddressTaken);
        }
        if let Some(endpoint) = peer.view.endpoint {
            if peer.link.wanted != Wanted::Initiation || peer.link.via != place {
                peer.link.target = Some(endpoint);
            }
            if peer.link.kind == CandidateKind::Roamed && self.lan.is_on_link(endpoint) {
                peer.link.kind = CandidateKind::Lan;
            }
            self.remember(place, endpoint);
        }
        let Some(peer) = self.peers.get(place) else { return };
        let view = &peer.view;
        let silent = now.saturating_duration_since(view.rx_changed);
        let bearable = match view.keepalive {
            _ if view.unanswered >= ENOUGH_UNANSWERED => SILENT_BUSY,
            0 => SILENT_UNGUARDED,
            _ if view.hears_keepalives() => SILENT_IDLE,
            _ => SILENT_SENDER,
        };
        if silent >= bearable {
            self.probe(place, now);
        }
        self.set_keepalive(place);
    }

    /// Asks a live peer for an echo.
    pub(super) fn probe(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get(place) else { return };
        if peer.link.phase != Phase::Live {
            return;
        }
        let patience = (peer.link.rtt * 2).clamp(PROBE_MIN, PROBE_MAX);
        self.enter(place, Phase::Probing, now.saturating_add(patience));
        self.request(place, Pending::HELLO);
    }

    /// The same where there is reason to think that the path is broken: two questions are enough.
    pub(super) fn probe_in_haste(&mut self, place: Place, now: Instant) {
        self.probe(place, now);
        if let Some(peer) = self.peers.get_mut(place)
            && peer.link.phase == Phase::Probing
        {
            peer.link.hellos = peer.link.hellos.max(PROBES - 2);
        }
    }

    /// Something has changed that may have broken any path: we have moved, or slept.
    pub(super) fn probe_all(&mut self, now: Instant) {
        for place in 0..self.peers.len() as Place {
            self.probe_in_haste(place, now);
        }
    }

    pub(super) fn probe_timeout(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        peer.link.hellos = peer.link.hellos.saturating_add(1);
        if peer.link.hellos >= PROBES {
            return self.lose(place, now, Reason::Silent);
        }
        let patience = (peer.link.rtt * 2).clamp(PROBE_MIN, PROBE_MAX);
        self.request(place, Pending::HELLO);
        self.enter(place, Phase::Probing, now.saturating_add(patience));
    }

    /// A link is no longer live, or what was taken for one is not: connecting begins anew.
    pub(super) fn lose(&mut self, place: Place, now: Instant, reason: Reason) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let was_live = peer.link.phase.is_live();
        // WireGuard was heard just now, or we do not know when: its session may be well, and only its daemon is not.
        let silent = now.saturating_duration_since(peer.view.rx_changed);
        let doubtful = peer.view.present && (peer.link.phase == Phase::Presumed || silent < SILENT_BUSY);
        let link = &mut peer.link;
        let summoned = link.wanted == Wanted::Initiation && (was_live || link.via == place);
        if link.wanted == Wanted::Initiation {
            link.wanted = Wanted::Session;
        }
        let doubtful = doubtful && !(summoned && link.via == place);
        link.reason = Some(reason);
        link.began = now;
        link.token = [0; 4];
        link.round = 0;
        peer.asked = Asked::NOBODY;
        link.rx_at = peer.view.rx;
        link.stamp_at = peer.view.stamp;
        link.doubt_until = if doubtful { now.saturating_add(SESSION_DOUBT) } else { Instant::MIN };
        if was_live {
            link.since = now;
            link.told = Some(reason);
            peer.pending.set(Pending::LOST);
            peer.sees_us_at = None;
        }
        let via = peer.link.via;
        peer.held.first_hand = false;
        self.enter(place, Phase::Idle, Instant::MAX);
        if was_live {
            self.busy = true;
            self.note_degree(now);
            self.refresh_own_soon(now);
        }
        if summoned && (via == place || self.peers.get(via).is_some_and(Peer::is_live)) {
            return self.follow_summons(place, now);
        }
        self.pursue(place, now);
    }

    /// The peer has said goodbye: its session goes on without it.
    pub(super) fn left(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let was_live = peer.link.phase.is_live();
        peer.link.reason = Some(Reason::Left);
        peer.link.told = Some(Reason::Left);
        peer.link.began = now;
        if was_live {
            peer.link.since = now;
            peer.pending.set(Pending::LOST);
            peer.sees_us_at = None;
            self.busy = true;
        }
        self.mute(place, now);
        if let Some(peer) = self.peers.get_mut(place) {
            // It shuts down: no Hello before it may be back.
            peer.link.hellos = 2;
            let at = now.saturating_add(Duration::from_secs(5));
            self.enter(place, Phase::Mute, at);
        }
        self.note_degree(now);
    }
}
