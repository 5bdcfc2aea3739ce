//! Our own record: what is published of us, when it changes, and what happens when somebody else publishes one.

use embassy_time::{Duration, Instant};
use heapless::Vec;

use super::Mesh;
use crate::{
    Endpoint, NatClass, Scope,
    alarm::Alarm,
    limits::{
        DEGREE_SHOWN, LEAF_DEGREE, MAX_RECORD_ENDPOINTS, MAX_REFUTATIONS, PUSH_DELAY, REFUTATION_PAUSE,
        REFUTATION_WINDOW,
    },
    peer::{Pending, Place},
    record::{Claim, Order, Origin, RecordEndpoint},
    status::Seen,
};

/// A change that moves no endpoint waits this long: it is of no use to anybody who is connecting at this moment.
const DETAIL_DELAY: Duration = Duration::from_secs(2);

/// So many peers must have reached us unasked before we say that everybody can: for one, a firewall may have had an
/// exception, or a state left over from before our start.
const REACHED_BY: u8 = 2;

/// Local and reflexive endpoints published, each.
const LOCAL_SHOWN: usize = 4;

/// One of the two ends of a link.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Ours,
    Theirs,
}

/// Our own record and what concerns it.
pub(super) struct Own {
    pub(super) claim: Claim,
    pub(super) hash: u64,
    /// The peer list's entry for ourselves.
    pub(super) place: Option<Place>,
    /// To be pushed with the next batch.
    pub(super) fresh: bool,
    /// Part of the batch being pushed.
    pub(super) pushing: bool,
    /// Somebody asked for it.
    pub(super) wanted_by_others: bool,
    /// Listed in the summary being read.
    pub(super) listed: bool,
    /// A record was published since the engine was made.
    published: bool,
    /// We have live peers enough not to depend on any one of them.
    pub(super) well_connected: bool,
    /// Since when the record lags behind in a detail.
    detail_since: Option<Instant>,
    /// When the record is made anew.
    due: Alarm,
    /// Peers that have reached us without our having sent them anything, by family.
    reached_v4: u8,
    reached_v6: u8,
    refutations: u8,
    refuted_since: Instant,
    /// Until when no further refutation is made.
    hushed_until: Instant,
}

impl Own {
    pub(super) const fn new() -> Self {
        Self {
            claim: Claim::new(),
            hash: 0,
            place: None,
            fresh: false,
            pushing: false,
            wanted_by_others: false,
            listed: false,
            published: false,
            well_connected: false,
            detail_since: None,
            due: Alarm::unset(),
            reached_v4: 0,
            reached_v6: 0,
            refutations: 0,
            refuted_since: Instant::MIN,
            hushed_until: Instant::MIN,
        }
    }

    pub(super) fn next(&self) -> Instant {
        self.due.at()
    }

    pub(super) const fn is_published(&self) -> bool {
        self.published
    }
}

impl<const PEERS: usize> Mesh<PEERS> {
    /// Something that the record tells has changed.
    pub(super) fn refresh_own_soon(&mut self, now: Instant) {
        self.refresh_own_by(now.saturating_add(PUSH_DELAY));
    }

    pub(super) fn refresh_own_by(&mut self, at: Instant) {
        self.own.due.set_by(at);
        self.arm(at);
    }

    /// A link came or went. Those few peers that we said we depend on, or now do, are told.
    pub(super) fn note_degree(&mut self, now: Instant) {
        self.refresh_own_soon(now);
        let connected = self.connected() >= LEAF_DEGREE;
        if core::mem::replace(&mut self.own.well_connected, connected) == connected {
            return;
        }
        for place in 0..self.peers.len() as Place {
            if self.peers.get(place).is_some_and(|p| p.is_live() && p.told_leaf == connected) {
                self.request(place, Pending::ACK);
            }
        }
    }

    pub(super) fn own_timeout(&mut self, now: Instant) {
        if self.own.due.take_due(now) {
            self.refresh_own(now);
        }
    }

    /// Makes our record anew, and publishes it if it says something else now.
    fn refresh_own(&mut self, now: Instant) {
        let Some(interface) = self.interface else { return };
        self.seek_observers(now);
        let seen = self.seen_at();
        let mut claim = self.own.claim.clone();
        claim.set_nats(self.classify(true, &seen), self.classify(false, &seen));
        claim.set_flags(self.own_flags());
        claim.degree = self.connected().min(DEGREE_SHOWN) as u8;
        claim.port = interface.listen_port;
        let reflexive = self.reflexive(&seen);
        claim.endpoints = Vec::new();
        let mut add = |origin, endpoint: Endpoint| {
            let known = claim.endpoints.iter().any(|e| e.endpoint == endpoint);
            if !known && claim.endpoints.len() < MAX_RECORD_ENDPOINTS {
                // There is room, as just seen.
                let _ = claim.endpoints.push(RecordEndpoint::new(origin, endpoint));
            }
        };
        // They come first: where there is one, nothing needs to be punched.
        self.mapped.iter().for_each(|e| add(Origin::Mapped, *e));
        if interface.listen_port != 0 {
            // Public addresses first: private ones only help within one network.
            for scope in [Scope::Public, Scope::Private] {
                let of_scope = self.local.iter().filter(|a| crate::scope(**a) == scope);
                for address in of_scope.take(LOCAL_SHOWN / 2) {
                    add(Origin::Local, Endpoint::new(*address, interface.listen_port));
                }
            }
        }
        for endpoint in reflexive {
            add(Origin::Reflexive, endpoint);
        }
        let before = &self.own.claim;
        // That nobody behind a NAT can punch it is what others want to know before they try.
        let hard = NatClass::EndpointDependent;
        let urgent = claim.endpoints != before.endpoints
            || claim.port != before.port
            || [true, false].iter().any(|v4| claim.nat_of(*v4) == hard && before.nat_of(*v4) != hard);
        let detail = [true, false].iter().any(|v4| claim.nat_of(*v4) != before.nat_of(*v4))
            || claim.degree != before.degree
            || claim.flags() != before.flags();
        let waited = self.own.detail_since.is_some_and(|at| now >= at.saturating_add(DETAIL_DELAY));
        if urgent || (detail && waited) {
            self.own.detail_since = None;
            self.publish_own(claim, now);
        } else if detail {
            let since = *self.own.detail_since.get_or_insert(now);
            let due = since.saturating_add(DETAIL_DELAY);
            self.own.due.set_by(due);
            self.arm(due);
        } else {
            self.own.detail_since = None;
        }
    }

    fn own_flags(&self) -> u8 {
        let reached = |count: u8, flag| if count >= REACHED_BY { flag } else { 0 };
        let openers = if self.openers.allowed { Claim::OPENERS } else { 0 };
        openers
            | reached(self.own.reached_v4, Claim::REACHABLE_V4)
            | reached(self.own.reached_v6, Claim::REACHABLE_V6)
    }

    /// A peer has reached us which we had sent nothing.
    pub(super) fn reached(&mut self, by: Endpoint, now: Instant) {
        if by.scope() != Scope::Public {
            return;
        }
        let count = if by.is_ipv4() { &mut self.own.reached_v4 } else { &mut self.own.reached_v6 };
        *count = count.saturating_add(1);
        if *count == REACHED_BY {
            self.refresh_own_soon(now);
        }
    }

    /// Whether nothing stands between us and a peer that would have to be kept open: neither of both is translated, and
    /// both have been reached by others unasked.
    pub(super) fn is_unguarded(&self, place: Place) -> bool {
        let Some(peer) = self.peers.get(place) else { return false };
        let (Some(endpoint), Some(ours), Some(claim)) =
            (peer.view.endpoint, peer.sees_us_at, peer.held.claim.as_ref())
        else {
            return false;
        };
        let flag = if endpoint.is_ipv4() { Claim::REACHABLE_V4 } else { Claim::REACHABLE_V6 };
        self.own.claim.has(flag)
            && claim.has(flag)
            && self.local.contains(&ours.ip())
            && claim.of(Origin::Local).any(|e| e == endpoint)
    }

    /// Which of us is behind a NAT, where the other one is not; by both records, so that the peer comes to the same answer.
    pub(super) fn behind_nat(&self, place: Place) -> Option<Side> {
        let peer = self.peers.get(place)?;
        let v4 = peer.view.endpoint?.is_ipv4();
        let (ours, theirs) = (self.own.claim.nat_of(v4), peer.held.claim.as_ref()?.nat_of(v4));
        match (ours, theirs) {
            (NatClass::Unknown, _) | (_, NatClass::Unknown) | (NatClass::Open, NatClass::Open) => None,
            (_, NatClass::Open) => Some(Side::Ours),
            (NatClass::Open, _) => Some(Side::Theirs),
            _ => None,
        }
    }

    fn publish_own(&mut self, mut claim: Claim, now: Instant) {
        self.news.store |= !self.own.published || claim.order.incarnation != self.own.claim.order.incarnation;
        if !core::mem::replace(&mut self.own.published, true) {
            // Others may hold a record of ours from before a restart. One that is newer is met and left behind; one of the
            // same order and another content would divide the mesh, so that our numbers begin anywhere.
            claim.order.seq = self.roll(1 << 30) as u32;
        }
        claim.order.seq = claim.order.seq.wrapping_add(1);
        self.own.claim = claim;
        self.rehash_own();
        self.own.fresh = true;
        self.push_soon(now);
    }

    /// Another record of ourselves exists. A newer one, or another of the same age, is left behind by raising our
    /// incarnation: it is ours of before a restart, or a lie.
    pub(super) fn own_record_seen(&mut self, now: Instant, order: Order, same: bool) {
        let ours = self.own.claim.order;
        if !order.is_newer_than(ours) && (order != ours || same) {
            return;
        }
        if now < self.own.hushed_until {
            return;
        }
        if now.saturating_duration_since(self.own.refuted_since) > REFUTATION_WINDOW
            || self.own.refuted_since == Instant::MIN
        {
            self.own.refuted_since = now;
            self.own.refutations = 0;
        }
        self.own.refutations = self.own.refutations.saturating_add(1);
        if self.own.refutations > MAX_REFUTATIONS {
            self.own.hushed_until = now.saturating_add(REFUTATION_PAUSE);
            self.news.key_elsewhere = true;
        }
        let mut claim = self.own.claim.clone();
        claim.order = Order { incarnation: order.incarnation.wrapping_add(1), seq: 0 };
        self.publish_own(claim, now);
    }

    /// Where we are seen at public addresses, and the endpoint of who sees us there, if WireGuard shows one.
    fn sightings(&self) -> impl Iterator<Item = (Endpoint, Option<Endpoint>)> {
        let live = self.peers.iter().filter(|(_, p)| p.is_live());
        let by_wireguard = live.filter_map(|(_, p)| Some((p.sees_us_at?, p.view.endpoint)));
        let by_openers = self.observers.sightings().map(|(at, by)| (at, Some(by)));
        by_wireguard.chain(by_openers).filter(|(at, _)| at.scope() == Scope::Public)
    }

    /// Where live peers see us at public addresses, the most agreed on first.
    pub(super) fn seen_at(&self) -> Vec<Seen, 4> {
        let mut seen: Vec<Seen, 4> = Vec::new();
        for (endpoint, _) in self.sightings() {
            if let Some(known) = seen.iter_mut().find(|s| s.endpoint == endpoint) {
                known.peers = known.peers.saturating_add(1);
            } else {
                // More than four places are not shown: the first ones come from whoever was there first.
                let _ = seen.push(Seen { endpoint, peers: 1 });
            }
        }
        seen.sort_unstable_by(|a, b| b.peers.cmp(&a.peers).then(a.endpoint.cmp(&b.endpoint)));
        seen
    }

    /// What is published of that: each family's most agreed on, or two of the only one.
    fn reflexive(&self, seen: &[Seen]) -> Vec<Endpoint, 2> {
        let first = |v4: bool| {
            let now = seen.iter().map(|s| s.endpoint).find(|e| e.is_ipv4() == v4);
            // Nobody sees us in that family; what was seen before is still the best guess.
            let before = || self.own.claim.of(Origin::Reflexive).find(|e| e.is_ipv4() == v4);
            now.or_else(before).filter(|_| self.has_family(v4))
        };
        let mut all: Vec<Endpoint, 2> = Vec::new();
        let before: Vec<Endpoint, 2> = self.own.claim.of(Origin::Reflexive).take(2).collect_up_to();
        let firsts = [first(true), first(false)].into_iter().flatten();
        let others = seen.iter().map(|s| s.endpoint).chain(before.into_iter().filter(|_| seen.is_empty()));
        for endpoint in firsts.chain(others) {
            if !all.contains(&endpoint) && !all.is_full() {
                // There is room, as just seen.
                let _ = all.push(endpoint);
            }
        }
        all
    }

    /// What is in front of us in one family, from what others see.
    fn classify(&self, v4: bool, seen: &[Seen]) -> NatClass {
        if !self.has_family(v4) {
            return NatClass::Unknown;
        }
        let Some(most) = seen.iter().find(|s| s.endpoint.is_ipv4() == v4) else {
            return self.own.claim.nat_of(v4);
        };
        if self.local.contains(&most.endpoint.ip()) {
            return NatClass::Open;
        }
        // Only observers at public addresses of their own tell two mappings apart.
        let mut first: Option<(Endpoint, Endpoint)> = None;
        for (at, observer) in self.sightings().filter(|(at, _)| at.is_ipv4() == v4) {
            let Some(observer) = observer.filter(|e| e.scope() == Scope::Public) else { continue };
            match first {
                None => first = Some((at, observer)),
                Some((before, by)) if by.ip() != observer.ip() => {
                    return if at == before {
                        NatClass::EndpointIndependent
                    } else {
                        NatClass::EndpointDependent
                    };
                }
                Some(_) => {}
            }
        }
        NatClass::Translated
    }
}

/// `collect()` into a heapless vector panics when it is full; this stops.
trait CollectUpTo: Iterator + Sized {
    fn collect_up_to<const N: usize>(self) -> Vec<Self::Item, N> {
        let mut all = Vec::new();
        for item in self {
            if all.push(item).is_err() {
                break;
            }
        }
        all
    }
}

impl<I: Iterator> CollectUpTo for I {}
