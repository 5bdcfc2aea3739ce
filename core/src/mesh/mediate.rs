//! Introducing two peers to each other: who opens, who initiates, and when.
//!
//! Both records are held first-hand and WireGuard shows where both are at this moment, so the mediator is who can decide.
//! It sends both their introduction at the same instant, and remembers the pair for two seconds: the second of two
//! requests for one pair gets the same plan.

use embassy_time::{Duration, Instant};

use super::Mesh;
use crate::{
    Endpoint, NatClass, Scope,
    limits::{MAX_WAIT, OPENER_MARGIN, PAIR_MEMORY, READ_FRESH},
    peer::{NOBODY, Peer, Pending, Place},
    record::Claim,
    stats::count,
    wire::{Intro, IntroNack, IntroReq, Role},
};

/// How long an asker is to wait while too many others are being introduced.
const BUSY_RETRY: Duration = Duration::from_millis(250);

/// A peer last heard longer ago than this is asked whether it is still there, before others are sent to it.
const HEARD_LATELY: Duration = Duration::from_secs(3);

/// A message of ours that is to go out: half of an introduction, or a refusal.
pub(super) struct Introduction {
    pub(super) to: Place,
    pub(super) about: Place,
    pub(super) what: Matter,
}

pub(super) enum Matter {
    Meet { attempt: [u8; 4], round: u8, role: Role, wait_ms: u16, rtt_ms: u16, flags: u8 },
    Refused { reason: u8, retry_ms: u16 },
}

impl Introduction {
    pub(super) const fn names(&self, place: Place) -> bool {
        self.to == place || self.about == place
    }
}

/// Two peers that were introduced a moment ago.
pub(super) struct RecentPair {
    initiator: Place,
    other: Place,
    attempt: [u8; 4],
    round: u8,
    at: Instant,
    listen: bool,
    /// Who asked and has no session with the other.
    without_session: Place,
    wait_ms: u16,
    rtt_ms: u16,
}

impl RecentPair {
    pub(super) const fn names(&self, place: Place) -> bool {
        self.initiator == place || self.other == place
    }

    const fn half_for(&self, to: Place) -> Introduction {
        let initiates = to == self.initiator;
        let role = match (initiates, self.listen) {
            (true, _) => Role::Initiate,
            (false, true) => Role::Listen,
            (false, false) => Role::Open,
        };
        Introduction {
            to,
            about: if initiates { self.other } else { self.initiator },
            what: Matter::Meet {
                attempt: self.attempt,
                round: self.round,
                role,
                wait_ms: self.wait_ms,
                rtt_ms: self.rtt_ms,
                flags: if self.without_session != NOBODY && self.without_session != to {
                    Intro::STALE
                } else {
                    0
                },
            },
        }
    }
}

/// What is in front of each of two peers, in the family in which they are to meet: of those that both have, where the least
/// stands between them; IPv6 where that is the same.
fn classes(a: &Peer, b: &Peer) -> (NatClass, NatClass) {
    let has = |p: &Peer, v4| p.held.claim.as_ref().is_none_or(|c| c.has_family(v4));
    let nat = |p: &Peer, v4| p.held.claim.as_ref().map(|c| c.nat_of(v4)).unwrap_or_default();
    let hard = |class| u8::from(class == NatClass::EndpointDependent);
    let between = |v4: &bool| match (nat(a, *v4), nat(b, *v4)) {
        (NatClass::Open, _) | (_, NatClass::Open) => 0,
        (a, b) => 1 + hard(a) + hard(b),
    };
    let family = [false, true].into_iter().filter(|v4| has(a, *v4) && has(b, *v4)).min_by_key(between);
    let v4 = family.unwrap_or(true);
    (nat(a, v4), nat(b, v4))
}

impl<const PEERS: usize> Mesh<PEERS> {
    /// A peer wants to be introduced to another.
    pub(super) fn handle_intro_request(&mut self, now: Instant, from: Place, request: &IntroReq) {
        let Some(target) =
            self.peers.find(&request.target).filter(|p| *p != from && Some(*p) != self.own.place)
        else {
            // One such refusal waits at a time: whoever else asks for a stranger runs into its own timeout.
            self.refusal = Some((from, request.target));
            self.busy = true;
            return count(&mut self.counters.refused_introductions);
        };
        if !self.peers.get(from).is_some_and(|p| p.is_live())
            || !self.peers.get(target).is_some_and(Peer::is_answering)
        {
            return self.refuse(from, target, IntroNack::NOT_LIVE, Duration::from_ticks(0));
        }
        let heard = self.peers.get(target).map_or(now, |p| p.view.rx_changed);
        // Whoever asks has reason to doubt that the other is where we see it.
        if now.saturating_duration_since(heard) > HEARD_LATELY {
            self.probe(target, now);
        }
        let recent = self.recent_pairs.iter().find(|pair| {
            pair.names(from)
                && pair.names(target)
                && pair.round >= request.round
                && now.saturating_duration_since(pair.at) < PAIR_MEMORY
        });
        if let Some(pair) = recent {
            let half = pair.half_for(from);
            // Full cannot be told from lost: the asker's timeout sees to both.
            let _ = self.introductions.push_back(half);
            self.busy = true;
            return;
        }
        if self.introductions.capacity() - self.introductions.len() < 3 {
            return self.refuse(from, target, IntroNack::BUSY, BUSY_RETRY);
        }
        let Some(pair) = self.plan(now, from, target, request) else { return };
        // There is room for both, as just seen.
        let _ = self.introductions.push_back(pair.half_for(from));
        let _ = self.introductions.push_back(pair.half_for(target));
        if self.recent_pairs.is_full() {
            self.recent_pairs.pop_front();
        }
        let _ = self.recent_pairs.push_back(pair);
        count(&mut self.counters.introduced);
        if now.saturating_duration_since(self.readings.at) > READ_FRESH {
            self.readings.want();
        }
        self.busy = true;
    }

    fn refuse(&mut self, to: Place, about: Place, reason: u8, retry: Duration) {
        count(&mut self.counters.refused_introductions);
        let retry_ms = u16::try_from(retry.as_millis()).unwrap_or(u16::MAX);
        // When full the asker's timeout says the same.
        let _ = self.introductions.push_back(Introduction {
            to,
            about,
            what: Matter::Refused { reason, retry_ms },
        });
        self.busy = true;
    }

    /// Decides the roles: the first rule that distinguishes the two.
    fn plan(&mut self, now: Instant, asker: Place, target: Place, request: &IntroReq) -> Option<RecentPair> {
        let attempt = (self.roll(u64::from(u32::MAX)) as u32).max(1).to_le_bytes();
        let (a, b) = (self.peers.get(asker)?, self.peers.get(target)?);
        let (a_nat, b_nat) = classes(a, b);
        // From the second round on a firewall is reckoned with where there is no NAT.
        let first = request.round <= 1;
        // In every other round, that a gateway which has promised a mapping keeps none.
        let promised = !request.round.is_multiple_of(2);
        let mapped = |p: &Peer, for_whom: &Peer| match (&p.held.claim, &for_whom.held.claim) {
            (Some(claim), Some(other)) => promised && claim.is_mapped_for(other),
            _ => false,
        };
        let a_open = a_nat == NatClass::Open || mapped(a, b);
        let b_open = b_nat == NatClass::Open || mapped(b, a);
        let (a_hard, b_hard) = (a_nat == NatClass::EndpointDependent, b_nat == NatClass::EndpointDependent);
        let refused = request.flags & IntroReq::REFUSED != 0 && first && !a_hard;
        let (asker_initiates, listen) = if refused {
            // The other side's WireGuard takes nothing from it, and it does from the other side.
            (false, false)
        } else if request.flags & IntroReq::NO_SESSION != 0 && b_open && first {
            (true, true)
        } else if a_open != b_open {
            (b_open, first)
        } else if a_hard != b_hard {
            // What a node knows of its NAT may be wrong: those who came in by a mapping that was there already see it there too,
            // and one that gives every destination another port looks as if it did not. So, after two rounds, the other way.
            (a_hard != (request.round % 4 == 3), false)
        } else {
            // The lower key opens; the next time the other.
            let swap = request.round.is_multiple_of(2);
            ((a.key > b.key) != swap, a_open && first)
        };
        let (initiator, other) = if asker_initiates { (asker, target) } else { (target, asker) };
        let (opener, initiator_rtt) = if asker_initiates { (b, a.link.rtt) } else { (a, b.link.rtt) };
        // Time for the opener to hear of it and for its packet to leave its NAT.
        let opens_raw = opener.held.claim.as_ref().is_some_and(|c| c.has(Claim::OPENERS));
        let wait = if listen {
            Duration::from_ticks(0)
        } else if opens_raw {
            // Half of each round trip is their introduction's way. What the initiator sends takes its time as well.
            let (there, here) = (opener.link.rtt / 2, initiator_rtt / 2);
            Duration::from_ticks(there.as_ticks().saturating_sub(here.as_ticks())) + OPENER_MARGIN
        } else {
            // The opener's initiation must have come as far as the other's NAT, or it passes, and the two cross.
            opener.link.rtt + OPENER_MARGIN
        };
        let wait = wait.min(MAX_WAIT);
        let rtt = (a.link.rtt + b.link.rtt).min(MAX_WAIT);
        let millis = |d: Duration| u16::try_from(d.as_millis()).unwrap_or(u16::MAX);
        Some(RecentPair {
            initiator,
            other,
            attempt,
            round: request.round,
            at: now,
            listen,
            without_session: if request.flags & IntroReq::NO_SESSION != 0 { asker } else { NOBODY },
            wait_ms: millis(wait),
            rtt_ms: millis(rtt).max(1),
        })
    }

    /// Whether a peer may have addresses of a family, as far as we know.
    pub(super) fn may_have(&self, place: Place, v4: bool) -> bool {
        let claim = self.peers.get(place).and_then(|p| p.held.claim.as_ref());
        claim.is_none_or(|c| c.has_family(v4))
    }

    /// Where we see a peer, as others may use it: a public address.
    pub(super) fn sighting(&self, place: Place) -> Option<Endpoint> {
        self.peers.get(place)?.view.endpoint.filter(|e| e.scope() == Scope::Public)
    }

    /// What a request for an introduction says about us.
    pub(super) fn intro_request(&self, place: Place) -> Option<IntroReq> {
        let peer = self.peers.get(place)?;
        let flags = if peer.view.stamp == 0 { IntroReq::NO_SESSION } else { 0 };
        let flags = flags | if self.openers.refused { IntroReq::REFUSED } else { 0 };
        Some(IntroReq { target: peer.key, round: peer.link.round.saturating_add(1), flags })
    }

    /// Whether anything waits in [`Pending`] for a peer to be introduced by this one.
    pub(super) fn asks_by(&self, mediator: Place) -> impl Iterator<Item = Place> {
        self.peers
            .iter()
            .filter(move |(_, p)| p.pending.has(Pending::ASK_INTRO) && p.link.via == mediator)
            .map(|(place, _)| place)
    }
}
