//! Where a peer may be reached: the endpoints known of it, best first.
//!
//! Each comes from a slot of its own (configured, what the mediator sees, what the peer publishes, where it worked),
//! so that nobody can push out what somebody else knows.

use core::net::IpAddr;

use embassy_time::Instant;
use heapless::Vec;

use super::Mesh;
use crate::{
    CandidateKind, Endpoint, NatClass, Reason, Scope,
    limits::{PEERS_PER_TARGET, TARGETS_PER_PEER, TARGETS_PER_SECOND},
    peer::{NOBODY, Phase, Place},
    record::{Claim, Origin},
};

/// A fire, in eighths of a shot. WireGuard repeats its 148 bytes for a while; an opener is 65 bytes once, and one eighth.
pub(super) const SHOT: u32 = 8;

/// All slots of a peer together: 6 of the record, 4 configured, 2 good, 1 mediated; and where it was heard on a LAN, which is
/// usually one address of each family.
const MAX_CANDIDATES: usize = 13 + LAN_CANDIDATES;
const LAN_CANDIDATES: usize = 4;

pub(super) type Candidates = Vec<(Endpoint, CandidateKind), MAX_CANDIDATES, u8>;

impl<const PEERS: usize> Mesh<PEERS> {
    /// The endpoints at which a peer may be reached. `direct` leaves out those that a NAT in front of the peer would keep
    /// closed to us without an introduction.
    pub(super) fn candidates(&self, place: Place, direct: bool) -> Candidates {
        let mut found = Candidates::new();
        let Some(peer) = self.peers.get(place) else { return found };
        for endpoint in self.lan.candidates(place).take(LAN_CANDIDATES) {
            // There is room for so many.
            let _ = found.push((endpoint, CandidateKind::Lan));
        }
        let mut add = |endpoint: Endpoint, kind| {
            if !found.iter().any(|(e, _)| *e == endpoint) && self.is_usable(endpoint) {
                // Full cannot be: there is room for every slot.
                let _ = found.push((endpoint, kind));
            }
        };
        let claim = peer.held.claim.as_ref();
        let reached =
            |e: &Endpoint| !direct || claim.is_some_and(|c| c.nat_of(e.is_ipv4()) == NatClass::Open);
        let behind_one_nat = !direct && self.same_public_address(place);
        let private = |claim: &Claim, add: &mut dyn FnMut(Endpoint, CandidateKind), near: bool| {
            let here = claim.of(Origin::Local).filter(|e| e.scope() == Scope::Private);
            here.filter(|e| self.is_near(*e) == near).for_each(|e| add(e, CandidateKind::Private));
        };
        if let Some(claim) = claim
            && behind_one_nat
        {
            private(claim, &mut add, true);
        }
        peer.configured.iter().for_each(|e| add(*e, CandidateKind::Configured));
        // Before its own public addresses, which a firewall may guard: this one is known to be let in to, by anybody.
        claim.iter().flat_map(|c| c.of(Origin::Mapped)).for_each(|e| add(e, CandidateKind::Mapped));
        if let Some(claim) = claim {
            let public = |e: &Endpoint| e.scope() == Scope::Public;
            let local = claim.of(Origin::Local).filter(public).filter(&reached);
            local.for_each(|e| add(e, CandidateKind::Global));
        }
        if !direct {
            peer.mediated.into_iter().for_each(|e| add(e, CandidateKind::Mediated));
        }
        if let Some(claim) = claim {
            claim.of(Origin::Reflexive).filter(&reached).for_each(|e| add(e, CandidateKind::Published));
        }
        if let Some(claim) = claim
            && behind_one_nat
        {
            // Two homes of one carrier rather than one home: the carrier's NAT comes first.
            private(claim, &mut add, false);
        }
        // With nobody to introduce us, a NAT that still knows us is worth a try; not one that shows everybody another endpoint now.
        let moved_on = |e: &&Endpoint| {
            claim.is_some_and(|c| {
                let reflexive = || c.of(Origin::Reflexive).filter(|r| r.is_ipv4() == e.is_ipv4());
                e.scope() == Scope::Public
                    && c.nat_of(e.is_ipv4()) == NatClass::EndpointIndependent
                    && reflexive().next().is_some()
                    && !c.endpoints.iter().any(|known| known.endpoint == **e)
            })
        };
        peer.good.iter().filter(|e| !moved_on(e)).for_each(|e| add(*e, CandidateKind::LastGood));
        found
    }

    /// Points `link.target` at the candidate whose turn it is. `false` where there is none.
    pub(super) fn aim(&mut self, place: Place, direct: bool) -> bool {
        let candidates = self.candidates(place, direct);
        let Some(peer) = self.peers.get_mut(place) else { return false };
        if candidates.is_empty() {
            return false;
        }
        let turn = usize::from(peer.link.candidate) % candidates.len();
        let Some((endpoint, kind)) = candidates.get(turn) else { return false };
        peer.link.target = Some(*endpoint);
        peer.link.kind = *kind;
        true
    }

    /// Takes one shot from the budget: whether WireGuard may be pointed at the target now.
    pub(super) fn may_fire(&mut self, place: Place, now: Instant) -> bool {
        let Some(target) = self.peers.get(place).and_then(|p| p.link.target) else { return false };
        self.within_budget(place, target, SHOT, now)
    }

    /// Takes some eighths of a shot from the budget: whether anything may be sent there for a peer that is not connected.
    pub(super) fn within_budget(
        &mut self,
        place: Place,
        target: Endpoint,
        eighths: u32,
        now: Instant,
    ) -> bool {
        let refill = now
            .saturating_duration_since(self.shots_at)
            .as_millis()
            .saturating_mul(u64::from(TARGETS_PER_SECOND * SHOT))
            / 1000;
        if refill > 0 {
            self.shots = self.shots.saturating_sub(u32::try_from(refill).unwrap_or(u32::MAX));
            self.shots_at = now;
        }
        let sharing = self.peers.iter().filter(|(other, p)| {
            *other != place
                && p.link.target == Some(target)
                && matches!(p.link.phase, Phase::Fired | Phase::Opening | Phase::Live)
        });
        let spent = self.shots >= TARGETS_PER_PEER * SHOT * PEERS as u32;
        if spent || (target.scope() == Scope::Public && sharing.count() >= PEERS_PER_TARGET) {
            crate::stats::count(&mut self.counters.over_budget);
            return false;
        }
        self.shots += eighths;
        true
    }

    /// The kernel would not send to a candidate: the next one, or none. It is not forgotten: a route may come to be.
    pub(super) fn candidate_unroutable(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        if peer.link.phase == Phase::Opening {
            // The other side initiates all the same, and the next round opens towards another one.
            return;
        }
        let direct = peer.link.via == NOBODY;
        peer.link.candidate = peer.link.candidate.wrapping_add(1);
        peer.link.readds = peer.link.readds.saturating_sub(1);
        let turn = usize::from(peer.link.candidate);
        let all_tried = turn.is_multiple_of(self.candidates(place, direct).len().max(1));
        if !all_tried && self.aim(place, direct) {
            self.fire_soon(place, now);
        } else {
            self.give_up(place, now, Reason::Unroutable);
        }
    }

    /// Whether a candidate is one that we may ever send to.
    pub(super) fn is_usable(&self, endpoint: Endpoint) -> bool {
        let ip = endpoint.ip();
        match endpoint.scope() {
            Scope::Unusable => return false,
            // Only WireGuard itself can have told us of one: what others send has no zone.
            Scope::Link => return endpoint.zone() != 0,
            Scope::Private | Scope::Public => {}
        }
        // A mesh address inside WireGuard inside WireGuard would work, and hide that nothing else does.
        if self.peers.find_address(ip).is_some() {
            return false;
        }
        let ourselves = self.interface.is_some_and(|i| i.listen_port == endpoint.port());
        if ourselves && self.local.contains(&ip) {
            return false;
        }
        self.has_family(ip.is_ipv4())
    }

    /// Whether we may have addresses of a family. Where none at all is known, the caller does not tell us, and both may work.
    pub(super) fn has_family(&self, v4: bool) -> bool {
        self.local.is_empty() || self.local.iter().any(|ours| ours.is_ipv4() == v4)
    }

    /// The families in which we and a peer may reach each other: IPv4, and IPv6.
    pub(super) fn common_families(&self, place: Place) -> [bool; 2] {
        let Some(peer) = self.peers.get(place) else { return [false; 2] };
        let others = || peer.configured.iter().chain(&peer.good).chain(&peer.mediated);
        [true, false].map(|v4| {
            let claimed = match &peer.held.claim {
                Some(claim) => claim.has_family(v4),
                None => others().next().is_none(),
            };
            self.has_family(v4) && (claimed || others().any(|e| e.is_ipv4() == v4))
        })
    }

    /// Whether a private endpoint looks like one of our own network: the same /24, or /64.
    fn is_near(&self, endpoint: Endpoint) -> bool {
        self.local.iter().any(|ours| match (*ours, endpoint.ip()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => a.to_bits() >> 8 == b.to_bits() >> 8,
            (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() >> 64 == b.to_bits() >> 64,
            _ => false,
        })
    }

    /// Whether we and the peer are seen at the same public address: behind the same NAT.
    pub(super) fn same_public_address(&self, place: Place) -> bool {
        [true, false].into_iter().any(|v4| self.same_public_address_of(place, v4))
    }

    /// The same in one family.
    pub(super) fn same_public_address_of(&self, place: Place, v4: bool) -> bool {
        let Some(peer) = self.peers.get(place) else { return false };
        let theirs =
            peer.mediated.into_iter().chain(peer.held.claim.iter().flat_map(|c| c.of(Origin::Reflexive)));
        let ours = || self.own.claim.of(Origin::Reflexive);
        theirs.into_iter().filter(|t| t.is_ipv4() == v4).any(|t| ours().any(|o| o.ip() == t.ip()))
    }
}
