//! How records spread: a new one is pushed once, and digests of the whole set are compared now and then.
//!
//! Nothing is sent about what did not change. A pair of digests that differ because two nodes are configured with
//! different peers is reconciled a few times, and then left alone while both stand, but for once in a while.

use embassy_time::{Duration, Instant};
use heapless::Deque;

use super::{LogEndpoints, LogKey, Mesh};
use crate::{
    PublicKey,
    alarm::Alarm,
    limits::{
        BUCKETS, DIGEST_FIRST, DIGEST_STEADY, MAX_SUMMARY, PUSH_ALL, PUSH_DELAY, PUSH_ON, PUSH_SOME,
        READ_RESTING, RECONCILE_AGAIN, RECONCILE_SPACING, RECONCILE_TRIES, RECORD_LIFETIME, RECORD_REFRESH,
        WHOLE_SET,
    },
    peer::{Held, NOBODY, Peer, Pending, Place, Settling},
    record::Claim,
    stats::count,
    wire::{self, Entry, Malformed, SummaryEntry, SummaryHead},
};

/// How often ages of records are looked at.
const EXPIRY_CHECK: Duration = Duration::from_secs(60);

/// When gossip is due, and the digest of what is held.
pub(super) struct Gossip {
    /// XOR of the keyed hashes of all records held, our own included.
    pub(super) digest: u64,
    /// When new records are pushed.
    push_at: Alarm,
    /// When digests are compared with somebody.
    digest_at: Alarm,
    digest_interval: Duration,
    /// Before this no reconciliation of a large set is begun.
    reconcile_from: Instant,
    /// Before this none of a difference that is taken to be for good.
    again_from: Instant,
    /// When ages are looked at.
    expiry_at: Alarm,
    /// Records are marked for a batch.
    batches: bool,
    /// Peers that we added to WireGuard and that were dropped from the configuration.
    pub(super) removed: Deque<PublicKey, 16>,
}

/// A peer that is to be told which records we hold in some buckets.
pub(super) struct Reconciliation {
    pub(super) with: Place,
    /// One bit per bucket still to be sent.
    pub(super) buckets: u64,
}

impl Gossip {
    pub(super) const fn new() -> Self {
        Self {
            digest: 0,
            push_at: Alarm::unset(),
            digest_at: Alarm::unset(),
            digest_interval: Duration::from_ticks(0),
            reconcile_from: Instant::MIN,
            again_from: Instant::MIN,
            expiry_at: Alarm::unset(),
            batches: false,
            removed: Deque::new(),
        }
    }

    /// What nobody waits for is done when the interface is read anyway, so that it costs no wake-up of its own.
    pub(super) fn next(&self, reading: Alarm) -> Instant {
        let slip = |at: Instant| if reading.is_set() { at.max(reading.at()) } else { at };
        let digest = self.digest_at.at();
        let digest = if self.digest_interval < READ_RESTING { digest } else { slip(digest) };
        self.push_at.at().min(digest).min(slip(self.expiry_at.at()))
    }

    /// Nothing is due while there is no interface.
    pub(super) const fn stop(&mut self) {
        self.push_at.clear();
        self.digest_at.clear();
    }
}

/// Which part of the set a key belongs to, rising with the key. Keys are as good as random.
pub(super) const fn bucket(key: &PublicKey) -> usize {
    const { assert!(BUCKETS == 64) };
    (key.as_bytes()[0] >> 2) as usize
}

/// A pair of digests, folded: the same when both are the same.
const fn fold(ours: u64, theirs: u64) -> u32 {
    let mixed = ours.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ theirs;
    (mixed ^ (mixed >> 32)) as u32 | 1
}

/// Enough of a record's hash to tell two of the same order apart.
pub(super) const fn check(hash: u64) -> [u8; 2] {
    let [a, b, ..] = hash.to_le_bytes();
    [a, b]
}

impl<const PEERS: usize> Mesh<PEERS> {
    // ---- the set and its digest

    fn hash(&self, id: &PublicKey, claim: &Claim) -> u64 {
        let mut bytes = [0; 256];
        let Some(secret) = self.secrets.first() else { return 0 };
        let (head, tail) = bytes.split_at_mut(id.as_bytes().len());
        head.copy_from_slice(id.as_bytes());
        // A record takes at most 150 bytes.
        let encoded = postcard::to_slice(claim, tail).map_or(0, |b| b.len());
        let used = head.len() + encoded;
        secret.hash(&bytes[..used])
    }

    pub(super) fn rehash_own(&mut self) {
        let hash = self.own_key().map_or(0, |key| self.hash(&key, &self.own.claim));
        self.gossip.digest ^= self.own.hash ^ hash;
        self.own.hash = hash;
    }

    /// The secret, our key or the set of peers changed.
    pub(super) fn rehash(&mut self) {
        self.gossip.digest = 0;
        self.own.hash = 0;
        self.rehash_own();
        for place in 0..self.peers.len() as Place {
            let hash = self
                .peers
                .get(place)
                .filter(|p| !p.us)
                .and_then(|p| p.held.claim.as_ref().map(|c| self.hash(&p.key, c)))
                .unwrap_or(0);
            if let Some(peer) = self.peers.get_mut(place) {
                peer.held.hash = hash;
                self.gossip.digest ^= hash;
            }
        }
    }

    fn forget_record(&mut self, place: Place) {
        if let Some(peer) = self.peers.get_mut(place) {
            self.gossip.digest ^= peer.held.hash;
            peer.held = Held::new();
        }
    }

    fn record_count(&self) -> usize {
        1 + self.peers.iter().filter(|(_, p)| p.held.claim.is_some()).count()
    }

    // ---- what came in

    /// A Hello or its answer says what the sender holds.
    pub(super) fn compare_digests(&mut self, place: Place, theirs: u64, initiator: bool, now: Instant) {
        let ours = self.gossip.digest;
        let Some(peer) = self.peers.get_mut(place) else { return };
        peer.digest = theirs;
        if ours == theirs || !initiator || !peer.link.phase.is_live() {
            return;
        }
        let for_good = peer.settled == fold(ours, theirs) && peer.settling.answered() >= RECONCILE_TRIES;
        if (for_good && now < self.gossip.again_from) || !self.may_reconcile(now) {
            return;
        }
        if for_good {
            self.gossip.again_from = now.saturating_add(RECONCILE_AGAIN);
        }
        let Some(peer) = self.peers.get_mut(place) else { return };
        if peer.settled != fold(ours, theirs) {
            peer.settled = fold(ours, theirs);
            peer.settling = Settling::NONE;
            // What has just come to differ is left alone for as long, once it has been tried enough.
            self.gossip.again_from = now.saturating_add(RECONCILE_AGAIN);
        }
        peer.settling.begin();
        self.request(place, Pending::BUCKETS);
    }

    /// Whether it is time for a reconciliation; if so, there is not another one soon.
    fn may_reconcile(&mut self, now: Instant) -> bool {
        if now < self.gossip.reconcile_from {
            return false;
        }
        if self.record_count() > WHOLE_SET {
            self.gossip.reconcile_from = now.saturating_add(RECONCILE_SPACING);
        }
        true
    }

    /// A link has come up: the whole set if it is small, else a reconciliation.
    pub(super) fn synchronise(&mut self, place: Place, now: Instant) {
        let whole = self.record_count() <= WHOLE_SET;
        let ours = self.gossip.digest;
        let Some(peer) = self.peers.get_mut(place) else { return };
        if peer.digest == ours {
            return;
        }
        if whole {
            peer.cursor = 0;
            self.request(place, Pending::SYNC);
        } else if self.may_reconcile(now) {
            self.request(place, Pending::BUCKETS);
        }
    }

    pub(super) fn handle_rumor(
        &mut self,
        now: Instant,
        from: Place,
        mut body: &[u8],
    ) -> Result<(), Malformed> {
        while let Some(entry) = wire::take_sized::<Entry>(&mut body) {
            self.handle_entry(now, from, entry?);
        }
        Ok(())
    }

    fn handle_entry(&mut self, now: Instant, from: Place, entry: Entry) {
        if self.own_key() == Some(entry.id) {
            let same = entry.claim == self.own.claim;
            return self.own_record_seen(now, entry.claim.order, same);
        }
        let Some(place) = self.peers.find(&entry.id) else {
            return count(&mut self.counters.refused_records);
        };
        let first_hand = place == from;
        let age = Duration::from_secs(u64::from(entry.age));
        let confirmed = now.saturating_sub(age);
        if !first_hand && age >= RECORD_LIFETIME {
            return count(&mut self.counters.refused_records);
        }
        let hash = self.hash(&entry.id, &entry.claim);
        let Some(peer) = self.peers.get_mut(place) else { return };
        let held = &mut peer.held;
        let order = entry.claim.order;
        let mut conflict = false;
        let accept = match &held.claim {
            None => true,
            Some(known) if known.order == order => {
                let same = held.hash == hash;
                if same || first_hand {
                    held.confirmed = held.confirmed.max(confirmed);
                    held.first_hand |= first_hand;
                }
                conflict = !same;
                // Two that claim to be the same record: the subject's own word, else the higher hash, everywhere.
                !same && (first_hand || (!held.first_hand && hash > held.hash))
            }
            // The subject itself knows best, whatever was said about it; but datagrams may overtake each other.
            Some(known) if first_hand => !held.first_hand || order.is_newer_than(known.order),
            Some(known) => {
                let newer = order.is_newer_than(known.order);
                if newer && !order.is_plausible_after(known.order) {
                    count(&mut self.counters.refused_records);
                }
                newer && order.is_plausible_after(known.order)
            }
        };
        if conflict {
            peer.pending.set(Pending::CONFLICT);
            self.busy = true;
        }
        if entry.age == 0 && !first_hand {
            held.mediator = from;
        }
        if !accept {
            return;
        }
        let moved = held.claim.as_ref().is_none_or(|known| known.endpoints != entry.claim.endpoints);
        if moved {
            debug!("{} says it is at {}", LogKey(&entry.id), LogEndpoints(&entry.claim.endpoints));
        }
        self.gossip.digest ^= held.hash ^ hash;
        held.claim = Some(entry.claim);
        held.hash = hash;
        held.confirmed = if first_hand { now } else { confirmed };
        held.first_hand = first_hand;
        held.bringer = from;
        held.fresh = true;
        held.wanted = false;
        self.push_soon(now);
        if !self.gossip.expiry_at.is_set() {
            self.gossip.expiry_at.set(now.saturating_add(EXPIRY_CHECK));
            self.arm(self.gossip.expiry_at.at());
        }
        if moved {
            if first_hand && self.unseen_family().is_some() {
                self.observers.reconsider(place);
                self.refresh_own_soon(now);
            }
            self.reconsider(place, now);
            if !first_hand {
                // It tells others that it is elsewhere now, and us nothing: can it?
                self.probe(place, now);
            }
        }
    }

    /// The other side's digests of the parts: where they differ from ours, it is told what we hold.
    pub(super) fn handle_buckets(&mut self, from: Place, body: &[u8]) -> Result<(), Malformed> {
        if body.len() < BUCKETS * 8 {
            return Err(Malformed);
        }
        let ours = self.bucket_digests();
        let theirs = body.chunks_exact(8).map(|c| c.try_into().map_or(0, u64::from_le_bytes));
        let mut buckets = 0u64;
        for (i, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            if *ours != theirs {
                buckets |= 1 << i;
            }
        }
        if buckets == 0 {
            return Ok(());
        }
        if let Some(running) = self.reconciling.iter_mut().find(|r| r.with == from) {
            running.buckets |= buckets;
        } else {
            // When full, the next comparison of digests tries again.
            let _ = self.reconciling.push(Reconciliation { with: from, buckets });
        }
        self.busy = true;
        Ok(())
    }

    pub(super) fn bucket_digests(&self) -> [u64; BUCKETS] {
        let mut digests = [0; BUCKETS];
        if let Some(key) = self.own_key() {
            digests[bucket(&key)] ^= self.own.hash;
        }
        for (_, peer) in self.peers.iter().filter(|(_, p)| !p.us) {
            digests[bucket(&peer.key)] ^= peer.held.hash;
        }
        digests
    }

    /// What the other side holds in one part: it gets what it lacks, and is asked for what we lack.
    pub(super) fn handle_summary(
        &mut self,
        now: Instant,
        from: Place,
        mut body: &[u8],
    ) -> Result<(), Malformed> {
        let head: SummaryHead = wire::take(&mut body).ok_or(Malformed)??;
        if let Some(peer) = self.peers.get_mut(from) {
            peer.settling.answer();
        }
        let own_short = self.own_key().map(|k| k.short());
        while let Some(entry) = wire::take::<SummaryEntry>(&mut body) {
            let entry = entry?;
            let short = u64::from_be_bytes(entry.id);
            if own_short == Some(short) {
                self.own.listed = true;
                if self.own.claim.order.is_newer_than(entry.order) {
                    self.own.wanted_by_others = true;
                    self.gossip.batches = true;
                    self.request(from, Pending::REPLY);
                } else {
                    // A newer record of ourselves: left behind by a higher incarnation.
                    let same = entry.check == check(self.own.hash);
                    self.own_record_seen(now, entry.order, same);
                }
                continue;
            }
            // A record of a node that we do not have is nothing to us.
            let Some(place) = self.peers.find_short(short) else { continue };
            let Some(peer) = self.peers.get_mut(place) else { continue };
            peer.held.listed = bucket(&peer.key) == usize::from(head.bucket);
            let ours = peer.held.order();
            if peer.held.claim.is_none() || entry.order.is_newer_than(ours) {
                peer.held.wanted = true;
                self.request(from, Pending::PULL);
            } else if ours.is_newer_than(entry.order) {
                peer.held.wanted_by_others = true;
                self.gossip.batches = true;
                self.request(from, Pending::REPLY);
            } else if entry.check != check(peer.held.hash) {
                // Two records at odds: the hash decides, once both have seen both.
                peer.held.wanted_by_others = true;
                self.gossip.batches = true;
                self.request(from, Pending::REPLY);
            }
        }
        let mut missing = false;
        // Only this part: a datagram can hold hundreds of empty summaries.
        for at in self.peers.stretch(head.bucket.into(), bucket) {
            let Some(place) = self.peers.nth_key(at) else { continue };
            let Some(peer) = self.peers.get_mut(place) else { continue };
            let here = peer.held.claim.is_some() && !peer.us;
            if here && !peer.held.listed && head.complete {
                peer.held.wanted_by_others = true;
                self.gossip.batches = true;
                missing = true;
            }
            peer.held.listed = false;
        }
        let own_here = self.own_key().is_some_and(|k| bucket(&k) == usize::from(head.bucket));
        if own_here && !self.own.listed && head.complete {
            self.own.wanted_by_others = true;
            self.gossip.batches = true;
            missing = true;
        }
        self.own.listed = false;
        if missing {
            self.request(from, Pending::REPLY);
        }
        Ok(())
    }

    pub(super) fn handle_pull(&mut self, from: Place, body: &[u8]) {
        let own_short = self.own_key().map(|k| k.short());
        for id in body.chunks_exact(8).take(MAX_SUMMARY) {
            let Ok(id) = id.try_into().map(u64::from_be_bytes) else { continue };
            if own_short == Some(id) {
                self.own.wanted_by_others = true;
                self.gossip.batches = true;
                self.request(from, Pending::REPLY);
            } else if let Some(place) = self.peers.find_short(id)
                && let Some(peer) = self.peers.get_mut(place)
                && peer.held.claim.is_some()
            {
                peer.held.wanted_by_others = true;
                self.gossip.batches = true;
                self.request(from, Pending::REPLY);
            }
        }
    }

    // ---- timers

    /// Something is to be pushed.
    pub(super) fn push_soon(&mut self, now: Instant) {
        self.gossip.push_at.set_by(now.saturating_add(PUSH_DELAY));
        self.arm(self.gossip.push_at.at());
        self.schedule_digest(now);
    }

    /// The set changed, or a link came up: digests are compared soon, and then ever more seldom.
    pub(super) fn schedule_digest(&mut self, now: Instant) {
        self.gossip.digest_interval = DIGEST_FIRST;
        let after = self.jitter(DIGEST_FIRST);
        self.gossip.digest_at.set(now.saturating_add(after));
        self.arm(self.gossip.digest_at.at());
    }

    pub(super) fn gossip_timeout(&mut self, now: Instant) {
        if self.gossip.push_at.take_due(now) {
            self.push(now);
        }
        if self.gossip.digest_at.take_due(now) {
            self.gossip.digest_interval = (self.gossip.digest_interval * 2).min(DIGEST_STEADY);
            let after = self.jitter(self.gossip.digest_interval);
            self.gossip.digest_at.set(now.saturating_add(after));
            self.offer_digest();
        }
        if self.gossip.expiry_at.take_due(now) {
            self.expire(now);
        }
    }

    /// Chooses who gets the new records.
    fn push(&mut self, now: Instant) {
        if self.peers.iter().any(|(_, p)| p.pending.has(Pending::PUSH)) {
            // The last batch is still going out: nothing was polled in between.
            self.gossip.push_at.set(now.saturating_add(PUSH_DELAY));
            return;
        }
        self.gossip.batches = true;
        self.own.pushing = core::mem::take(&mut self.own.fresh);
        for (_, peer) in self.peers.iter_mut() {
            peer.held.pushing = core::mem::take(&mut peer.held.fresh);
        }
        let live = self.connected() as u64;
        let share = match self.own.pushing {
            true if live <= PUSH_ALL as u64 => live,
            true => PUSH_SOME as u64,
            false => PUSH_ON as u64,
        };
        // Others' records come to who is well connected by others, not by way of its leaves.
        let pass_on = self.own.pushing || self.own.well_connected;
        for place in 0..self.peers.len() as Place {
            let Some(peer) = self.peers.get(place).filter(|p| p.is_live()) else { continue };
            if peer.leaf || (pass_on && (share >= live || self.roll(live) < share)) {
                if let Some(peer) = self.peers.get_mut(place)
                    && !peer.pending.has(Pending::REPLY | Pending::SYNC)
                {
                    peer.cursor = 0;
                }
                self.request(place, Pending::PUSH);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn stop_comparing(&mut self) {
        self.gossip.digest_at.clear();
    }

    /// Compares digests with one live peer, by a Hello.
    fn offer_digest(&mut self) {
        let live = self.connected();
        if live == 0 {
            return;
        }
        let skip = self.roll(live as u64) as usize;
        let chosen = self.peers.iter().filter(|(_, p)| p.is_live()).map(|(place, _)| place).nth(skip);
        if let Some(place) = chosen {
            self.request(place, Pending::HELLO);
        }
    }

    /// Forgets relayed records that nobody has confirmed for long, and asks again for those of peers we miss.
    fn expire(&mut self, now: Instant) {
        let mut relayed = false;
        let mut refresh = false;
        for place in 0..self.peers.len() as Place {
            let Some(peer) = self.peers.get_mut(place) else { continue };
            if peer.us || peer.held.claim.is_none() {
                continue;
            }
            if peer.link.phase.is_live() {
                peer.held.confirmed = now;
                continue;
            }
            relayed = true;
            let age = now.saturating_duration_since(peer.held.confirmed);
            if age >= RECORD_LIFETIME {
                self.forget_record(place);
            } else if age >= RECORD_REFRESH {
                peer.held.wanted = true;
                refresh = true;
            }
        }
        if refresh {
            let live = self.connected().max(1);
            let skip = self.roll(live as u64) as usize;
            let chosen = self.peers.iter().filter(|(_, p)| p.is_live()).map(|(place, _)| place).nth(skip);
            if let Some(place) = chosen {
                self.request(place, Pending::PULL);
            }
        }
        if relayed || self.peers.iter().any(|(_, p)| p.is_live()) {
            self.gossip.expiry_at.set(now.saturating_add(EXPIRY_CHECK));
            self.arm(self.gossip.expiry_at.at());
        }
    }

    // ---- what is to be sent

    /// The record of a peer as it goes out; `None` where there is none, or it has expired.
    pub(super) fn entry_of(&self, peer: &Peer, now: Instant) -> Option<Entry> {
        let claim = peer.held.claim.as_ref()?;
        let age = if peer.held.first_hand && peer.link.phase.is_live() {
            0
        } else {
            now.saturating_duration_since(peer.held.confirmed).as_secs()
        };
        let age = u16::try_from(age).unwrap_or(u16::MAX);
        (Duration::from_secs(u64::from(age)) < RECORD_LIFETIME).then(|| Entry {
            id: peer.key,
            age,
            claim: claim.clone(),
        })
    }

    /// All copies of a batch are out.
    pub(super) fn end_batches(&mut self) {
        if !core::mem::take(&mut self.gossip.batches) {
            return;
        }
        if !self.peers.iter().any(|(_, p)| p.pending.has(Pending::PUSH)) {
            self.own.pushing = false;
            self.peers.iter_mut().for_each(|(_, p)| p.held.pushing = false);
        }
        if !self.peers.iter().any(|(_, p)| p.pending.has(Pending::REPLY)) {
            self.own.wanted_by_others = false;
            self.peers.iter_mut().for_each(|(_, p)| p.held.wanted_by_others = false);
        }
    }

    /// Whether the record at a place is for that receiver.
    pub(super) fn is_for(held: &Held, what: Pending, receiver: Place) -> bool {
        if what == Pending::PUSH {
            held.pushing && held.bringer != receiver
        } else if what == Pending::REPLY {
            held.wanted_by_others
        } else {
            held.bringer != receiver || held.bringer == NOBODY
        }
    }
}
