//! Where others see us in a family in which we have no session with anybody who could.
//!
//! WireGuard has one endpoint for each peer. A home with both families whose sessions all go by IPv6 is seen by nobody over
//! IPv4: it does not know how its NAT translates it, and cannot tell a node that has IPv4 alone where it is. It learns this
//! as a host does from STUN, from its own peers and by openers, without moving a session: it announces an opener through the
//! tunnel, sends it to the peer's endpoint in the other family, and is told through the tunnel where it came from.
//!
//! ```text
//!   us                                       a live peer, which can hear openers
//!    |------ Observe {token}, in the tunnel ------>|  listens for a while
//!    |------ Opener {token}, outside, IPv4 ------->|
//!    |<----- Observed {token, seen}, tunnel -------|  once
//! ```
//!
//! Two peers are asked, since two views tell what kind of NAT it is, and each only when something has changed: we have moved,
//! it has come up, or it has published another endpoint. A view is not kept up: it is taken anew when we are introduced to
//! somebody who needs it.

use embassy_time::Instant;
use heapless::Vec;

use super::Mesh;
use crate::{
    Endpoint, Scope,
    limits::{MAX_OBSERVERS, OBSERVE_AGAIN, OBSERVE_LISTEN, OBSERVE_TRIES, OBSERVE_WAIT},
    peer::{Peer, Pending, Place},
    record::{Claim, Origin},
    wire::{Observe, Observed},
};

/// The peers that we have asked.
pub(super) struct Observers {
    asked: Vec<Observer, MAX_OBSERVERS>,
    /// Those from this place on have not been asked yet.
    next: Place,
}

struct Observer {
    place: Place,
    /// The endpoint of the peer that our opener is for.
    to: Endpoint,
    /// When it was last asked, and how often for the present answer.
    at: Instant,
    tries: u8,
    /// The present answer is still to come.
    waiting: bool,
    seen: Option<Endpoint>,
}

impl Observer {
    fn is_overdue(&self, now: Instant) -> bool {
        self.tries == 0 || now >= self.at.saturating_add(OBSERVE_WAIT)
    }

    fn is_to_be_asked(&self, now: Instant) -> bool {
        self.waiting && self.tries < OBSERVE_TRIES && self.is_overdue(now)
    }

    /// It has been asked in vain.
    fn is_spent(&self, now: Instant) -> bool {
        self.waiting && self.tries >= OBSERVE_TRIES && self.is_overdue(now)
    }
}

impl Observers {
    pub(super) const fn new() -> Self {
        Self { asked: Vec::new(), next: 0 }
    }

    /// All that is known is of no use any more.
    pub(super) fn clear(&mut self) {
        self.asked.clear();
        self.next = 0;
    }

    pub(super) fn forget(&mut self, place: Place) {
        self.asked.retain(|o| o.place != place);
    }

    /// There is something new about a peer: it is worth asking, perhaps again.
    pub(super) fn reconsider(&mut self, place: Place) {
        self.next = self.next.min(place);
        self.asked.retain(|o| o.place != place || o.seen.is_some());
    }

    /// Where we are seen, and by whom.
    pub(super) fn sightings(&self) -> impl Iterator<Item = (Endpoint, Endpoint)> {
        self.asked.iter().filter_map(|o| Some((o.seen?, o.to)))
    }
}

impl<const PEERS: usize> Mesh<PEERS> {
    /// The family in which our addresses do not tell where we are seen, and no live peer does either. Only where we have both:
    /// else every session is of the family in question.
    pub(super) fn unseen_family(&self) -> Option<bool> {
        let has = |v4: bool| self.local.iter().any(|a| a.is_ipv4() == v4);
        if !(has(true) && has(false)) {
            return None;
        }
        [true, false].into_iter().find(|v4| {
            let ours = |ip| crate::scope(ip) == Scope::Public && ip.is_ipv4() == *v4;
            let seen = |p: &Peer| p.is_live() && p.sees_us_at.is_some_and(|e| ours(e.ip()));
            !self.local.iter().any(|ip| ours(*ip)) && !self.peers.iter().any(|(_, p)| seen(p))
        })
    }

    /// Asks those who can tell where we are in the family in which we do not know, if there is one.
    pub(super) fn seek_observers(&mut self, now: Instant) {
        let Some(v4) = self.unseen_family().filter(|_| self.openers.allowed) else {
            return self.observers.clear();
        };
        let peers = &self.peers;
        self.observers
            .asked
            .retain(|o| o.to.is_ipv4() == v4 && peers.get(o.place).is_some_and(Peer::is_live));
        self.observers.asked.retain(|o| !(o.seen.is_none() && o.is_spent(now)));
        while !self.observers.asked.is_full()
            && let Some((place, to)) = self.next_observer(v4)
        {
            self.observers.next = place + 1;
            let new = Observer { place, to, at: Instant::MIN, tries: 0, waiting: true, seen: None };
            // There is room, as just seen.
            let _ = self.observers.asked.push(new);
        }
        self.ask_observers(now);
    }

    /// We are introduced to somebody who can only reach us where nobody has seen us for a while: the NAT may have forgotten.
    pub(super) fn renew_observations(&mut self, place: Place, now: Instant) {
        let Some(v4) = self.unseen_family() else { return };
        if self.common_families(place) != [v4, !v4] {
            return;
        }
        for observer in &mut self.observers.asked {
            if now >= observer.at.saturating_add(OBSERVE_AGAIN) {
                (observer.tries, observer.waiting) = (0, true);
            }
        }
        self.ask_observers(now);
    }

    fn next_observer(&self, v4: bool) -> Option<(Place, Endpoint)> {
        let first = self.observers.next;
        self.peers.iter().filter(|(place, p)| *place >= first && p.is_live()).find_map(|(place, peer)| {
            let claim = peer.held.claim.as_ref().filter(|c| c.has(Claim::OPENERS))?;
            // What is before a NAT answers to whom it does not know; of what is behind one there is no saying.
            let own = claim.of(Origin::Local).chain(peer.configured.iter().copied());
            let to = own.into_iter().find(|e| e.is_ipv4() == v4 && e.scope() == Scope::Public)?;
            let known = self.observers.asked.iter().any(|o| o.place == place || o.to.ip() == to.ip());
            (!known && self.is_usable(to)).then_some((place, to))
        })
    }

    fn ask_observers(&mut self, now: Instant) {
        while let Some(observer) = self.observers.asked.iter_mut().find(|o| o.is_to_be_asked(now)) {
            observer.at = now;
            observer.tries += 1;
            let (place, to) = (observer.place, observer.to);
            let token = (self.roll(u64::from(u32::MAX)) as u32).max(1).to_le_bytes();
            if let Some(peer) = self.peers.get_mut(place) {
                // An attempt is for peers that are not live, and begins with a name of its own.
                peer.link.attempt = token;
            }
            self.request(place, Pending::OBSERVE);
            self.open_way(place, to, now);
            // To see whether there was an answer.
            self.refresh_own_by(now.saturating_add(OBSERVE_WAIT));
        }
    }

    /// What asks a peer to look out for our opener.
    pub(super) fn observe(&self, place: Place) -> Option<Observe> {
        self.peers.get(place).map(|p| Observe { token: p.link.attempt })
    }

    /// A peer wants to know where an opener of its comes from.
    pub(super) fn handle_observe(&mut self, now: Instant, from: Place, observe: &Observe) {
        let Some(peer) = self.peers.get_mut(from).filter(|p| p.is_live()) else { return };
        if self.openers.allowed {
            peer.link.attempt = observe.token;
            self.expect_openers(now.saturating_add(OBSERVE_LISTEN));
        }
    }

    /// The opener of a live peer: it is told once where that came from.
    pub(super) fn observed(&mut self, place: Place, seen: Endpoint) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let token = core::mem::take(&mut peer.link.attempt);
        if token != [0; 4] {
            // When full the peer asks once more.
            let _ = self.openers.observed.push_back((place, Observed { token, seen }));
            self.busy = true;
        }
    }

    /// Where a peer has heard our opener from.
    pub(super) fn handle_observed(&mut self, now: Instant, from: Place, observed: &Observed) {
        let expected = self.peers.get(from).is_some_and(|p| p.link.attempt == observed.token);
        let observer = self.observers.asked.iter_mut().find(|o| o.place == from);
        let Some(observer) = observer.filter(|o| {
            expected && observed.seen.is_ipv4() == o.to.is_ipv4() && observed.seen.scope() == Scope::Public
        }) else {
            return;
        };
        observer.seen = Some(observed.seen);
        observer.waiting = false;
        self.openers.forget(from);
        if let Some(peer) = self.peers.get_mut(from) {
            peer.link.attempt = [0; 4];
        }
        self.refresh_own_soon(now);
    }
}
