//! What WireGuard shows: readings of the interface, and what follows from them.

use core::net::IpAddr;

use embassy_time::Instant;

use super::Mesh;
use crate::{
    ActionError, CandidateKind, Endpoint, PeerAction, PeerReading, PublicKey, Reason,
    alarm::Alarm,
    limits::{
        ENOUGH_UNANSWERED, HANDSHAKE_BYTES, INITIATION_BYTES, KEEPALIVE_BYTES, KEEPALIVES_HEARD, READ_BUSY,
        READ_FAST, READ_FREELY, READ_LOST, READ_RESTING, READ_SLOW, READ_SLOWLY_FOR, READ_SPACING_PER_PEER,
        RESPONSE_BYTES,
    },
    peer::{Pending, Phase, Place, View},
};

/// When the interface is read.
pub(super) struct Readings {
    /// When it was last read.
    pub(super) at: Instant,
    /// When it is to be read next, or to be asked for again.
    pub(super) next: Alarm,
    /// It is to be read before anything else goes out.
    pub(super) wanted: bool,
    /// At least one reading of this interface was made.
    pub(super) had: bool,
    /// User traffic was seen in the last one.
    pub(super) traffic: bool,
    /// The last one that showed something else than keepalives and new keys.
    restless_at: Instant,
    /// Our own addresses have changed since.
    pub(super) readdress: bool,
    /// Who is likely to be read next: an interface lists its peers in the order in which they were added, mostly ours.
    likely: Place,
}

impl Readings {
    pub(super) const fn new() -> Self {
        Self {
            at: Instant::MIN,
            next: Alarm::unset(),
            wanted: false,
            had: false,
            traffic: false,
            restless_at: Instant::MIN,
            readdress: false,
            likely: 0,
        }
    }

    pub(super) const fn want(&mut self) {
        self.wanted = true;
    }
}

impl<const PEERS: usize> Mesh<PEERS> {
    /// A reading of the interface begins.
    pub fn begin_reading(&mut self) {
        for (_, peer) in self.peers.iter_mut() {
            peer.view.seen = false;
            peer.view.best_prefix = 0;
            peer.view.best_is_own = false;
            peer.view.address_taken = false;
        }
        self.readings.traffic = false;
        self.readings.likely = 0;
    }

    /// One peer of the interface, configured or foreign, with its allowed IPs as (address, prefix length). A length that
    /// the address family does not have is ignored.
    pub fn handle_reading(
        &mut self,
        now: Instant,
        reading: &PeerReading,
        allowed_ips: impl IntoIterator<Item = (IpAddr, u8)>,
    ) {
        let reader = self.peers.find_near(&reading.key, self.readings.likely);
        self.readings.likely = reader.map_or(self.readings.likely, |place| place + 1);
        for (network, prefix) in allowed_ips {
            self.note_allowed_ip(reader, network, prefix);
        }
        let Some(peer) = reader.and_then(|place| self.peers.get_mut(place)) else { return };
        let view = &mut peer.view;
        view.seen = true;
        view.present = true;
        let endpoint = reading.endpoint.map(Endpoint::from);
        let moved = peer.link.phase.is_live() && view.endpoint.is_some() && endpoint != view.endpoint;
        if moved && !reader.is_some_and(|place| self.lan.is_trying(place)) {
            // It does not know that it has moved, perhaps: our Hello says where we see it.
            peer.pending.set(Pending::MOVED | Pending::HELLO);
            let on_lan = endpoint.is_some_and(|e| self.lan.is_on_link(e));
            peer.link.kind = if on_lan { CandidateKind::Lan } else { CandidateKind::Roamed };
            self.busy = true;
        }
        let before = core::mem::replace(&mut view.endpoint, endpoint);
        if reading.keepalive != view.keepalive {
            view.keepalive = reading.keepalive;
            // Somebody else has set it: that is the user's wish, and comes back after a re-add.
            if reading.keepalive != 0 && reading.keepalive != peer.link.keepalive {
                view.user_keepalive = reading.keepalive;
            }
        }
        if reading.last_handshake != view.stamp {
            view.stamp_changed = if self.readings.had { now } else { Instant::MIN };
            view.stamp = reading.last_handshake;
        }
        let sent = reading.tx_bytes.wrapping_sub(view.tx);
        // Gossip and new keys are no traffic of the user's.
        let gossiped = core::mem::take(&mut view.gossiped);
        if sent > HANDSHAKE_BYTES && !gossiped && peer.link.phase.is_live() {
            self.readings.traffic |= self.readings.had;
        }
        let unasked = view.rx == 0 && reading.rx_bytes != 0 && view.tx == 0 && before.is_none();
        let reached = unasked && self.readings.had && !peer.met && !peer.link.has_opened();
        view.tx = reading.tx_bytes;
        if reading.rx_bytes != view.rx {
            // A keepalive that was no answer, or new keys of the peer's making, which end with one.
            let came = reading.rx_bytes.wrapping_sub(view.rx);
            let heard = [(KEEPALIVE_BYTES, 0), (INITIATION_BYTES + KEEPALIVE_BYTES, RESPONSE_BYTES)];
            if heard.contains(&(came, sent)) {
                view.keepalives_heard = KEEPALIVES_HEARD.min(view.keepalives_heard + 1);
            } else {
                // WireGuard acknowledges data by a keepalive, ten seconds later: the next one of ours may be that.
                view.keepalives_heard = view.keepalives_heard.min(1);
            }
            view.rx = reading.rx_bytes;
            view.rx_changed = now;
            view.unanswered = 0;
        } else if sent == KEEPALIVE_BYTES && core::mem::take(&mut view.keepalives_heard) >= KEEPALIVES_HEARD {
            // Ours went out because the peer's did not come. Should it be well all the same, this says nothing until it has
            // sent them for a while again.
            view.unanswered = ENOUGH_UNANSWERED;
        } else if view.unanswered > 0 || sent > 2 * KEEPALIVE_BYTES {
            view.unanswered = view.unanswered.saturating_add(1);
        }
        if let Some(by) = endpoint.filter(|_| reached) {
            self.reached(by, now);
        }
    }

    /// All peers of the interface have been handed over.
    pub fn end_reading(&mut self, now: Instant) {
        let first = !core::mem::replace(&mut self.readings.had, true);
        self.readings.at = now;
        self.readings.wanted = false;
        for place in 0..self.peers.len() as Place {
            let deadline = self.peers.deadline(place);
            let Some(peer) = self.peers.get_mut(place) else { continue };
            let view = &mut peer.view;
            view.owns_address = view.seen && view.best_prefix > 0 && view.best_is_own;
            let full = if peer.address.is_ipv4() { 33 } else { 129 };
            view.address_taken = view.best_prefix == full && !view.best_is_own;
            if !view.seen {
                *view = View { user_keepalive: view.user_keepalive, ours: view.ours, ..View::new() };
            }
            if peer.us || self.leaving {
                continue;
            }
            let freed = peer.link.reason == Some(Reason::AddressTaken) && !view.address_taken;
            if freed {
                peer.link.reason = None;
            }
            let new = peer.link.phase == Phase::Idle
                && (freed || (deadline == Instant::MAX && peer.link.round == 0))
                && peer.link.reason.is_none();
            self.settle_peer(place, now);
            if first || new {
                self.start_link(place, now);
            } else {
                self.link_reading(place, now);
            }
        }
        if first {
            // WireGuard knows the peers from now on: who hears us may initiate at once.
            self.begin_beacons(now);
        }
        self.lan_reading(now);
        if core::mem::take(&mut self.readings.readdress) && !self.leaving {
            self.readdress(now);
        }
        self.schedule_reading(now);
        self.recompute_next();
    }

    /// The platform could not carry out an action on a peer.
    pub fn handle_action_error(
        &mut self,
        now: Instant,
        key: &PublicKey,
        action: &PeerAction,
        error: ActionError,
    ) {
        let Some(place) = self.peers.find(key) else { return };
        let Some(peer) = self.peers.get_mut(place) else { return };
        let endpoint = match action {
            PeerAction::Add { endpoint, .. } | PeerAction::Readd { endpoint } => *endpoint,
            PeerAction::SetEndpoint(endpoint) => Some(*endpoint),
            PeerAction::SetKeepalive(_) | PeerAction::Remove => None,
        };
        match error {
            ActionError::NoPeer => {
                peer.view.present = false;
                self.readings.want();
            }
            // Whatever could not be set, the session goes on.
            _ if peer.link.phase.has_session() => {
                if let Some(endpoint) = endpoint {
                    self.lan_refused(place, endpoint.into(), now);
                }
                self.read_soon(now);
            }
            ActionError::RoutedIntoMesh | ActionError::Unroutable if endpoint.is_some() => {
                self.read_soon(now);
                self.candidate_unroutable(place, now);
            }
            _ => {
                // What the view was told in advance did not come to be. Not at once: it would fail again.
                self.read_soon(now);
                self.give_up(place, now, Reason::ActionFailed);
            }
        }
    }

    /// Whether the last reading is long enough ago for another; else that comes as soon as it is.
    pub(super) fn may_read(&mut self, now: Instant) -> bool {
        let spacing = READ_SPACING_PER_PEER * self.peers.len().saturating_sub(READ_FREELY) as u32;
        let earliest = self.readings.at.saturating_add(spacing);
        if !self.readings.had || now >= earliest {
            return true;
        }
        self.readings.next.set_by(earliest);
        self.arm(earliest);
        false
    }

    pub(super) fn reading_timeout(&mut self, now: Instant) {
        if self.interface.is_some() && self.readings.next.take_due(now) {
            self.readings.wanted = true;
            self.readings.next.set(now.saturating_add(READ_LOST));
        }
    }

    /// The next reading: soon while an attempt hangs on what WireGuard shows, else seldom.
    fn schedule_reading(&mut self, now: Instant) {
        let urgent = self.peers.iter().any(|(_, p)| p.is_other() && p.link.phase.needs_readings());
        let awaited = || self.peers.iter().any(|(_, p)| p.is_other() && p.keeps_session(now));
        if urgent || self.readings.traffic || self.readings.restless_at == Instant::MIN {
            self.readings.restless_at = now;
        }
        let after = if urgent {
            READ_FAST
        } else if self.readings.traffic || awaited() {
            READ_BUSY
        } else if now < self.readings.restless_at.saturating_add(READ_SLOWLY_FOR) {
            READ_SLOW
        } else {
            READ_RESTING
        };
        self.readings.next.set(now.saturating_add(after));
        self.arm(self.readings.next.at());
    }

    /// A phase began that hangs on WireGuard's counters: the next reading must not be far.
    pub(super) fn read_soon(&mut self, now: Instant) {
        self.readings.next.set_by(now.saturating_add(READ_FAST));
        self.arm(self.readings.next.at());
    }

    /// Longest prefix match, as WireGuard does: the peer with the longest allowed IP that covers an address owns it.
    fn note_allowed_ip(&mut self, reader: Option<Place>, network: IpAddr, prefix: u8) {
        let full = if network.is_ipv4() { 32 } else { 128 };
        if prefix > full {
            return;
        }
        let note = |place: Place, view: &mut View| {
            if prefix + 1 > view.best_prefix {
                view.best_prefix = prefix + 1;
                view.best_is_own = reader == Some(place);
            }
        };
        if prefix == full {
            let own = reader.filter(|place| self.peers.get(*place).is_some_and(|p| p.address == network));
            if let Some(place) = own.or_else(|| self.peers.find_address(network))
                && let Some(peer) = self.peers.get_mut(place)
            {
                note(place, &mut peer.view);
            }
            return;
        }
        for (place, peer) in self.peers.iter_mut() {
            if covers(network, prefix, peer.address) {
                note(place, &mut peer.view);
            }
        }
    }

    /// The interface gets the peer, or its mesh address, if it has not.
    fn settle_peer(&mut self, place: Place, now: Instant) {
        let deadline = self.peers.deadline(place);
        let Some(peer) = self.peers.get_mut(place) else { return };
        if peer.view.address_taken {
            peer.link.reason = Some(Reason::AddressTaken);
            if peer.link.told != peer.link.reason {
                self.note_waiting(now);
            }
            return;
        }
        // An interface that could not be changed a moment ago is tried again together with the next effort.
        let failed = peer.link.reason == Some(Reason::ActionFailed) && now < deadline;
        if !failed && (!peer.view.present || !peer.view.owns_address) {
            if !peer.view.present {
                peer.view.ours = true;
            }
            self.request(place, Pending::ADD);
        }
    }
}

/// Whether the network covers the address. A prefix that is longer than an address is one of all its bits.
pub(super) fn covers(network: IpAddr, prefix: u8, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(n), IpAddr::V4(a)) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(prefix.into())).unwrap_or(0);
            n.to_bits() & mask == a.to_bits() & mask
        }
        (IpAddr::V6(n), IpAddr::V6(a)) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(prefix.into())).unwrap_or(0);
            n.to_bits() & mask == a.to_bits() & mask
        }
        _ => false,
    }
}
