//! How a link comes to be: the phases of [`Phase`], and the one law that in one attempt exactly one side's WireGuard
//! initiates. Two initiations that cross on the wire kill each other, and WireGuard then waits for five seconds.
//!
//! - Without a mediator, whoever knows an endpoint fires; the lower key 250 ms later, if the other side may know one of
//!   ours, and only if nothing came from it meanwhile.
//! - With a mediator, both sides get an introduction at the same instant, with a role each.
//! - Firing is to remove and re-add the peer with the endpoint, and to stage a Hello in it: the only way past WireGuard's
//!   five seconds, and success tells itself by a datagram. A reading in the same instant shows whether the other side
//!   has been quicker.

use embassy_time::{Duration, Instant};

use super::{Mesh, own::Side};
use crate::{
    CandidateKind, NatClass, Reason, Scope,
    limits::{
        ALONE_RETRY, ASK_YIELD, BACKOFF_CONFIGURED, BACKOFF_MAX, BACKOFF_MIN, CROSSED_PAUSE,
        FIRE_PATIENCE_MAX, FIRE_PATIENCE_MIN, FIRES_PER_ROUND, FIRST_CONTACT_YIELD, HELLO_REPEATS,
        INITIATION_BYTES, LATE_STEPS, MAX_READDS, MAX_WAIT, NATURAL_CYCLE, PRESUME, READ_LOST, ROUND_FIRST,
        ROUND_MAX, ROUND_MIN, ROUNDS, SESSION_DOUBT, SESSION_KEPT,
    },
    peer::{Asked, Failures, NOBODY, Pending, Phase, Place, Prepare, Wanted},
    record::{Claim, Origin},
    wire::{Intro, Role},
};

/// A round trip as long as nothing is known about it.
const UNKNOWN_RTT: Duration = Duration::from_millis(100);

/// Pauses between Hellos to a peer whose gossip does not answer, in seconds; the last one for good. One of them is just
/// longer than WireGuard takes to answer data with a keepalive.
const MUTE_PAUSES: [u64; 7] = [1, 2, 11, 30, 60, 120, 300];

/// How long a handshake of the other side's making is given, from the bytes that showed it.
fn patience(rtt: Duration) -> Duration {
    (rtt + rtt / 2).clamp(Duration::from_millis(150), Duration::from_secs(1))
}

/// Whether so many bytes came in messages of a session, whose sizes are multiples of 16; those of a handshake are not.
const fn is_data(bytes: u64) -> bool {
    bytes != 0 && bytes.is_multiple_of(16)
}

impl<const PEERS: usize> Mesh<PEERS> {
    /// The first reading since the peer or the interface is there.
    pub(super) fn start_link(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        if peer.link.phase.has_session() {
            return;
        }
        peer.link.began = now;
        if peer.view.stamp != 0 {
            // WireGuard has talked to it, perhaps before our restart: a Hello is cheaper than a session.
            peer.link.rx_at = peer.view.rx;
            if let Some(endpoint) = peer.view.endpoint {
                self.remember(place, endpoint);
            }
            self.enter(place, Phase::Presumed, now.saturating_add(PRESUME));
            self.request(place, Pending::HELLO);
        } else {
            self.pursue(place, now);
        }
    }

    /// Something new is known about how to reach a peer: an attempt that waits for it begins.
    pub(super) fn reconsider(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        if !peer.is_other() || peer.link.phase != Phase::Idle || !self.readings.had {
            return;
        }
        peer.link.round = 0;
        peer.link.candidate = 0;
        peer.link.failures = Failures::NONE;
        peer.asked = Asked::NOBODY;
        if peer.link.reason != Some(Reason::Connecting) {
            peer.link.began = now;
        }
        let after = if self.is_lower(place) { Duration::from_ticks(0) } else { self.ask_yield(place) };
        self.enter(place, Phase::Idle, now.saturating_add(after));
    }

    pub(super) fn reconsider_all(&mut self, now: Instant) {
        for place in 0..self.peers.len() as Place {
            self.reconsider(place, now);
        }
    }

    /// The higher key leaves asking to the lower, unless it can go without.
    fn ask_yield(&self, place: Place) -> Duration {
        if self.candidates(place, true).is_empty() { ASK_YIELD } else { Duration::from_ticks(0) }
    }

    /// A mediator has come up: peers that wait for one are tried at once.
    pub(super) fn mediator_appeared(&mut self, mediator: Place, now: Instant) {
        for place in 0..self.peers.len() as Place {
            let Some(peer) = self.peers.get_mut(place) else { continue };
            if peer.link.reason == Some(Reason::Isolated) {
                peer.link.reason = Some(Reason::NoEndpoint);
            }
            let waiting = peer.is_other() && peer.link.phase == Phase::Idle && place != mediator;
            if waiting && peer.held.claim.is_some() {
                self.reconsider(place, now);
            }
        }
    }

    /// Our own addresses changed: every idle peer is worth a new try.
    pub(super) fn local_addresses_changed(&mut self, now: Instant) {
        self.reconsider_all(now);
        self.readings.readdress = true;
        self.readings.want();
    }

    /// The reading after that: WireGuard in user space goes on sending from an address that is gone until it is given the peer's
    /// endpoint again, and the kernel's does not mind. The peer learns of our new address by what we send, and we whether it
    /// still hears us.
    pub(super) fn readdress(&mut self, now: Instant) {
        for place in 0..self.peers.len() as Place {
            let Some(peer) = self.peers.get_mut(place).filter(|p| p.is_live() && p.view.endpoint.is_some())
            else {
                continue;
            };
            peer.link.target = peer.view.endpoint;
            self.request(place, Pending::ENDPOINT);
            self.probe_in_haste(place, now);
        }
    }

    /// Decides what to try next for a peer that is not connected.
    pub(super) fn pursue(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get(place) else { return };
        if !peer.is_other() {
            return;
        }
        if self.interface.is_none() {
            return self.rest(place, now, Reason::NoInterface, None);
        }
        if now < peer.link.muted_until {
            let until = peer.link.muted_until;
            return self.rest(place, now, Reason::OriginalProtocol, Some(until));
        }
        if peer.view.address_taken {
            return self.rest(place, now, Reason::AddressTaken, None);
        }
        let doubt = peer.link.doubt_until;
        let in_doubt = self.is_in_doubt(place, now);
        let first = peer.link.round == 0 && (!peer.configured.is_empty() || self.lan.knows(place));
        let known = peer.held.claim.is_some();
        let direct = !in_doubt && !self.candidates(place, true).is_empty();
        let mediator = if known { self.next_mediator(place) } else { NOBODY };
        if direct && (first || mediator == NOBODY) {
            self.contact(place, now);
        } else if !in_doubt && self.common_families(place) == [false; 2] {
            self.rest(place, now, Reason::NoCommonFamily, None);
        } else if mediator != NOBODY {
            self.ask_mediator(place, mediator, now);
        } else if in_doubt {
            let reason = self.peers.get(place).and_then(|p| p.link.reason).unwrap_or(Reason::Silent);
            let kept = self.peers.get(place).map_or(doubt, |p| p.link.since.saturating_add(SESSION_KEPT));
            self.rest(place, now, reason, Some(if now < doubt { doubt } else { kept }));
        } else if known && self.connected() > 0 {
            // Those who could introduce us are being asked at this moment whether they are still there: no event tells that they are.
            self.give_up(place, now, Reason::NotIntroduced);
        } else {
            self.stand_down(place, now);
            let reason = match self.connected() {
                _ if known => Reason::NoMediator,
                0 => Reason::Isolated,
                _ => Reason::NoEndpoint,
            };
            self.rest(place, now, reason, None);
        }
    }

    /// There is nowhere to go, and nobody to ask: WireGuard is not to go on initiating where nobody is, for ever where there is a
    /// keepalive; and should the peer come back with a clock that went back, it must not take that for a replay. As ever, a
    /// reading first shows whether something has just come in.
    pub(super) fn stand_down(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let armed = peer.view.present && peer.view.is_armed();
        if armed && now >= peer.link.doubt_until && !peer.keeps_session(now) {
            peer.link.prepare = Prepare::Disarm;
            self.readings.want();
        }
    }

    /// Whether a session that the peer may have still is not to be ended but by an introduction.
    pub(super) fn is_in_doubt(&self, place: Place, now: Instant) -> bool {
        self.peers.get(place).is_some_and(|p| now < p.link.doubt_until) || self.is_awaited(place, now)
    }

    /// Whether a peer that went silent can reach us whenever it wants, and we it only where it was: to fire there would do away
    /// with the session that it may have still.
    fn is_awaited(&self, place: Place, now: Instant) -> bool {
        self.behind_nat(place) == Some(Side::Theirs)
            && self.peers.get(place).is_some_and(|peer| {
                let mapped = peer.held.claim.as_ref().is_some_and(|c| c.of(Origin::Mapped).next().is_some());
                peer.keeps_session(now) && peer.configured.is_empty() && !mapped
            })
    }

    /// First contact, by an endpoint that needs nobody to open it.
    pub(super) fn contact(&mut self, place: Place, now: Instant) {
        if !self.aim(place, true) {
            return self.rest(place, now, Reason::NoEndpoint, None);
        }
        let yields = self.yields(place);
        let alone = self.connected() == 0
            && self.peers.get(place).is_some_and(|p| p.link.readds == 0 && !p.good.is_empty());
        let Some(peer) = self.peers.get_mut(place) else { return };
        peer.link.round = peer.link.round.saturating_add(1);
        peer.link.via = NOBODY;
        peer.link.initiator = true;
        peer.link.rx_at = peer.view.rx;
        peer.link.stamp_at = peer.view.stamp;
        peer.link.set_connecting();
        if alone {
            // Both sides may be behind NATs that were open to each other once: no harm is done by knocking.
            self.open_paths(place, now);
        }
        if self.peers.get(place).is_some_and(|p| p.link.readds > 0) {
            // Nothing came of the last one: perhaps our clock has gone back, and only the other side can.
            self.knock(place, now);
        }
        if yields {
            self.enter(place, Phase::Yielding, now.saturating_add(FIRST_CONTACT_YIELD));
        } else {
            self.fire_soon(place, now);
        }
    }

    /// Whether at first contact the other side goes first.
    pub(super) fn yields(&self, place: Place) -> bool {
        // Whom we hear on a LAN hears us there.
        let on_lan = self.peers.get(place).is_some_and(|p| p.link.kind == CandidateKind::Lan);
        self.is_lower(place) && (on_lan || self.may_be_known())
    }

    /// Whether somebody may know an endpoint of ours without having been told by us: the peer list, which is usually the
    /// same everywhere, names one for ourselves; or it does not list us and we have a public address.
    pub(super) fn may_be_known(&self) -> bool {
        let public = self.local.iter().any(|a| crate::scope(*a) == Scope::Public);
        match self.own_peer() {
            _ if !self.mapped.is_empty() => true,
            Some(us) => !us.configured.is_empty() || self.own.claim.is_open(),
            None => public || self.local.is_empty(),
        }
    }

    pub(super) fn is_lower(&self, place: Place) -> bool {
        match (self.own_key(), self.peers.get(place)) {
            (Some(own), Some(peer)) => own < peer.key,
            _ => false,
        }
    }

    /// Fires as soon as a reading has shown that the other side has not.
    pub(super) fn fire_soon(&mut self, place: Place, now: Instant) {
        self.enter(place, Phase::Firing, now.saturating_add(READ_LOST));
        self.readings.want();
    }

    /// Makes WireGuard initiate: remove, add with the endpoint, stage a Hello.
    fn fire(&mut self, place: Place, now: Instant) {
        if !self.may_fire(place, now) {
            // The next candidate, or the same when the budget has been refilled.
            let jitter = self.roll(200);
            if let Some(peer) = self.peers.get_mut(place) {
                peer.link.candidate = peer.link.candidate.wrapping_add(1);
            }
            let direct = self.peers.get(place).is_some_and(|p| p.link.via == NOBODY);
            self.aim(place, direct);
            return self.enter(place, Phase::Firing, now.saturating_add(Duration::from_millis(200 + jitter)));
        }
        crate::stats::count(&mut self.counters.fired);
        self.point_wireguard(place);
        let Some(peer) = self.peers.get_mut(place) else { return };
        peer.link.fired = now;
        peer.link.readds = peer.link.readds.saturating_add(1);
        peer.pending.set(Pending::ATTEMPT);
        self.enter(place, Phase::Fired, now.saturating_add(HELLO_REPEATS[0]));
        self.request(place, Pending::HELLO);
        self.read_soon(now);
    }

    /// Removes and re-adds the peer with the endpoint in `link.target`.
    fn point_wireguard(&mut self, place: Place) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let action = if peer.view.present { Pending::READD } else { Pending::ADD };
        if !peer.view.present {
            peer.view.ours = true;
        }
        let user_keepalive = peer.view.user_keepalive;
        let view = &mut peer.view;
        (view.rx, view.tx, view.stamp, view.keepalive) = (0, 0, 0, 0);
        view.unanswered = 0;
        view.user_keepalive = user_keepalive;
        view.endpoint = peer.link.target;
        view.present = true;
        peer.link.keepalive = 0;
        peer.link.rx_at = 0;
        peer.link.stamp_at = 0;
        peer.link.doubt_until = Instant::MIN;
        peer.link.wanted = Wanted::Nothing;
        peer.pending.clear(Pending::ACTIONS);
        self.request(place, action);
    }

    /// WireGuard must not initiate: no endpoint, no keepalive, no handshake under way.
    ///
    /// The session of a link that went silent is kept for a while: should the peer be well and only be seen at another address
    /// than before, whatever it sends next by that session mends everything. What WireGuard sends by it goes where nobody
    /// answers, the initiations included that it makes of itself after a while.
    fn disarm(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        if !peer.view.present || peer.link.phase.has_session() {
            return;
        }
        if peer.keeps_session(now) {
            if peer.view.keepalive != 0 {
                peer.link.keepalive = 0;
                self.request(place, Pending::KEEPALIVE);
            }
            return;
        }
        peer.link.aim_nowhere();
        self.point_wireguard(place);
    }

    /// Both sides were told to meet.
    pub(super) fn handle_intro(&mut self, now: Instant, from: Place, intro: &Intro) {
        let (Some(place), Some(role)) = (self.peers.find(&intro.about), intro.role()) else { return };
        let Some(peer) = self.peers.get(place) else { return };
        if !peer.is_other() || !self.readings.had || now < peer.link.muted_until {
            return;
        }
        let repeated = peer.link.attempt == intro.attempt && peer.link.phase != Phase::Asking;
        match peer.link.phase {
            // Hearsay moves no live session: the peer is asked itself.
            Phase::Live | Phase::Probing => return self.let_in(place, from, intro, now),
            Phase::Presumed | Phase::Greeting => return,
            // The other side's daemon lives, and has lost us. Unless it was heard since our last Hello, so have we.
            Phase::Mute
                if intro.flags & Intro::STALE == 0
                    && (peer.view.rx_changed >= peer.link.fired
                        || now.saturating_duration_since(peer.link.fired) < patience(peer.link.rtt)) =>
            {
                return self.request(place, Pending::HELLO);
            }
            // An attempt that has begun goes on; the other plan's other side finds it under way.
            Phase::Fired | Phase::Firing | Phase::Heard
                if now.saturating_duration_since(peer.link.fired) < ROUND_MIN / 2 =>
            {
                return;
            }
            Phase::Waiting | Phase::Opening
                if peer.link.attempt < intro.attempt && peer.link.round >= intro.round =>
            {
                return;
            }
            _ if repeated => return,
            _ => {}
        }
        if self.common_families(place) == [false; 2] {
            // Neither record told enough when the mediator was asked.
            return self.rest(place, now, Reason::NoCommonFamily, None);
        }
        let wait = Duration::from_millis(u64::from(intro.wait_ms)).min(MAX_WAIT);
        let seen = intro.seen.filter(|e| e.scope() == Scope::Public);
        let Some(peer) = self.peers.get_mut(place) else { return };
        if peer.link.phase != Phase::Asking {
            peer.link.wanted = Wanted::Session;
        }
        if peer.link.round == 0 && peer.link.reason != Some(Reason::Connecting) {
            peer.link.began = now;
        }
        // Both sides go through their candidates in step, or one would open towards another place than the other comes
        // from. Every fourth round shifts it, so that each candidate is tried with either role.
        let turn = intro.round.saturating_sub(1);
        peer.link.candidate = turn.wrapping_add(turn / 4);
        // A port mapping needs nobody to be in step, and is given every other round, by the mediator too.
        if turn.is_multiple_of(2)
            && peer.held.claim.as_ref().is_some_and(|c| c.of(Origin::Mapped).next().is_some())
        {
            peer.link.candidate = 0;
        }
        peer.link.attempt = intro.attempt;
        peer.link.round = peer.link.round.max(intro.round);
        peer.link.via = from;
        peer.link.rtt_guess = intro.rtt_ms.min(MAX_WAIT.as_millis() as u16);
        peer.asked = Asked::NOBODY;
        peer.link.rx_at = peer.view.rx;
        peer.link.stamp_at = peer.view.stamp;
        // The other side may ask for the next round before ours has ended.
        self.recognise_obstacle(place, turn);
        let Some(peer) = self.peers.get_mut(place) else { return };
        peer.link.set_connecting();
        peer.link.initiator = role == Role::Initiate;
        peer.link.readds = 0;
        peer.mediated = seen.or(peer.mediated);
        let opens = role == Role::Open && self.openers.allowed;
        if role != Role::Listen && (opens || wait.as_ticks() > 0) {
            self.open_paths(place, now);
        }
        self.renew_observations(place, now);
        // The second fire is given twice the time of the first.
        let round = self.fire_patience(place) * 3;
        self.expect_openers(now.saturating_add(wait).saturating_add(round));
        match role {
            Role::Initiate => {
                if !self.aim(place, false) {
                    return self.give_up(place, now, Reason::NoEndpoint);
                }
                if wait.as_ticks() == 0 {
                    self.fire_soon(place, now);
                } else {
                    self.enter(place, Phase::Waiting, now.saturating_add(wait));
                    self.read_soon(now);
                }
            }
            Role::Open | Role::Listen => {
                // What is done to WireGuard waits for a reading: a handshake may have come in already.
                if let Some(peer) = self.peers.get_mut(place) {
                    let by_wireguard = role == Role::Open && !opens;
                    peer.link.prepare = if by_wireguard { Prepare::Open } else { Prepare::Disarm };
                }
                self.enter(place, Phase::Opening, now.saturating_add(wait).saturating_add(round));
                self.readings.want();
            }
        }
    }

    /// A live peer wants a new session with us: it has moved, or started anew. Our session stays as it is while it answers, and
    /// our NAT is opened towards where the peer is now. Were we to initiate, we do so as soon as it turns out to be gone.
    fn let_in(&mut self, place: Place, from: Place, intro: &Intro, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        peer.mediated = intro.seen.filter(|e| e.scope() == Scope::Public).or(peer.mediated);
        if peer.link.attempt != intro.attempt {
            peer.link.attempt = intro.attempt;
            peer.link.initiator = false;
            peer.link.via = from;
            let ours = intro.role() == Some(Role::Initiate);
            peer.link.wanted = if ours { Wanted::Initiation } else { Wanted::Session };
            self.open_paths(place, now);
        }
        self.probe_in_haste(place, now);
    }

    /// A live peer that wanted a new session, with us as initiator, is gone from where it was.
    pub(super) fn follow_summons(&mut self, place: Place, now: Instant) {
        let itself = self.peers.get(place).is_some_and(|p| p.link.via == place);
        if !itself && !self.aim(place, false) {
            return self.pursue(place, now);
        }
        let Some(peer) = self.peers.get_mut(place) else { return };
        if itself {
            // It has said from where it knocked.
            (peer.link.via, peer.link.wanted) = (NOBODY, Wanted::Session);
        }
        peer.link.round = 1;
        peer.link.readds = 0;
        peer.link.initiator = true;
        peer.link.set_connecting();
        self.fire_soon(place, now);
    }

    /// The reading after an introduction shows that nothing has come from the other side: we open, or keep still.
    fn prepare(&mut self, place: Place, now: Instant, how: Prepare) {
        let open = how == Prepare::Open && self.aim(place, false) && self.may_fire(place, now);
        if open {
            // Its one initiation opens our NAT, and is lost at the other's.
            self.point_wireguard(place);
            self.request(place, Pending::HELLO);
        } else if self.peers.get(place).is_some_and(|p| p.view.is_armed()) {
            self.disarm(place, now);
        }
        if let Some(peer) = self.peers.get_mut(place) {
            if !open && peer.link.round <= 1 {
                peer.link.aim_nowhere();
            }
            peer.pending.set(Pending::ATTEMPT);
            self.busy = true;
        }
        self.read_soon(now);
    }

    /// How long a handshake on its way is given before the next one is sent: its round trip and half as much again.
    pub(super) fn fire_patience(&self, place: Place) -> Duration {
        let rtt = self.peers.get(place).map_or(UNKNOWN_RTT, |p| p.link.rtt_or(UNKNOWN_RTT));
        (rtt + rtt / 2 + Duration::from_millis(100)).clamp(FIRE_PATIENCE_MIN, FIRE_PATIENCE_MAX)
            + self.slowness()
    }

    /// What a busy machine adds to the time that a handshake takes. A second initiation would not only be for nothing: it
    /// ends the handshake that is under way.
    pub(super) fn slowness(&self) -> Duration {
        self.late * LATE_STEPS
    }

    /// How long a round lasts, when a round trip takes so long.
    fn round_length(&self, rtt: Duration) -> Duration {
        (rtt * 4 + Duration::from_millis(300)).clamp(ROUND_MIN, ROUND_MAX)
    }

    /// A link's deadline has come.
    pub(super) fn link_timeout(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get(place) else { return };
        let link = peer.link;
        match link.phase {
            Phase::Idle => self.pursue(place, now),
            Phase::Presumed => self.lose(place, now, Reason::Silent),
            Phase::Yielding | Phase::Waiting => self.fire_soon(place, now),
            Phase::Firing => {
                // Either the reading was lost, or the budget was used up: once more.
                self.fire_soon(place, now);
            }
            Phase::Asking => self.mediator_failed(place, now),
            Phase::Fired => self.fired_timeout(place, now),
            Phase::Opening => self.end_round(place, now),
            Phase::Ending => self.next_round(place, now),
            Phase::Heard => {
                let Some(peer) = self.peers.get_mut(place) else { return };
                peer.link.rx_at = peer.view.rx;
                if peer.view.stamp != peer.link.stamp_at {
                    self.mute(place, now);
                } else if link.initiator {
                    self.fire_soon(place, now);
                } else {
                    self.end_round(place, now);
                }
            }
            Phase::Greeting => self.greeting_timeout(place, now),
            Phase::Live => self.enter(place, Phase::Live, Instant::MAX),
            Phase::Probing => self.probe_timeout(place, now),
            Phase::Mute => self.mute_timeout(place, now),
        }
    }

    fn fired_timeout(&mut self, place: Place, now: Instant) {
        let (patience, slowness) = (self.fire_patience(place), self.slowness());
        let Some(peer) = self.peers.get_mut(place) else { return };
        let link = &mut peer.link;
        let fired = link.fired;
        link.hellos = link.hellos.saturating_add(1);
        // A fire ends the handshake before it. Each is given longer than the last, should the round trip be longer than is
        // thought; without a mediator nothing is known of it.
        let fires = u32::from(link.readds.max(1));
        let length = if link.via == NOBODY {
            (ROUND_FIRST * (1 << (fires - 1).min(4)) + slowness).min(ROUND_MAX)
        } else {
            patience * fires.min(4)
        };
        match usize::from(link.hellos) {
            n @ 1..=2 if now < fired.saturating_add(length) => {
                let next = HELLO_REPEATS.get(n).copied().unwrap_or(length);
                self.request(place, Pending::HELLO);
                let next = fired.saturating_add(next.min(length)).max(now + Duration::from_millis(20));
                self.enter(place, Phase::Fired, next);
            }
            _ if peer.view.stamp != link.stamp_at => self.mute(place, now),
            _ => self.end_round(place, now),
        }
    }

    /// A round is over, unless the next reading shows that a handshake of the other side's has just come in: to disarm would
    /// kill it.
    fn end_round(&mut self, place: Place, now: Instant) {
        self.enter(place, Phase::Ending, now.saturating_add(READ_LOST));
        self.readings.want();
    }

    /// A round has failed. A mediated effort gets [`ROUNDS`], then backs off; one at an endpoint that needs nobody to open
    /// it gets [`MAX_READDS`] fires, then is left to WireGuard's own retries.
    fn next_round(&mut self, place: Place, now: Instant) {
        let barred = self.lan_fire_failed(place, now);
        let alone = self.connected() == 0;
        let Some(peer) = self.peers.get_mut(place) else { return };
        // Where it stood another one is now.
        peer.link.candidate = peer.link.candidate.wrapping_add(u8::from(!barred));
        let (round, readds, via, fired) = (peer.link.round, peer.link.readds, peer.link.via, peer.link.fired);
        if via == NOBODY {
            if readds + 1 == MAX_READDS && !alone {
                // WireGuard repeats the last one every five seconds. All who miss a server that was switched off do so at the same
                // time: it is found sooner when they take turns, and whoever finds it introduces the others.
                let turn = self.roll(NATURAL_CYCLE.as_millis());
                return self.enter(place, Phase::Idle, now.saturating_add(Duration::from_millis(turn)));
            }
            if readds < MAX_READDS {
                // With a mediator at hand this asks it.
                return self.pursue(place, now);
            }
            let settled = fired.saturating_add(NATURAL_CYCLE + Duration::from_secs(1));
            if now < settled {
                return self.enter(place, Phase::Fired, settled);
            }
            peer.link.readds = 0;
            return self.give_up(place, now, Reason::NoAnswer);
        }
        let again = peer.link.initiator && readds < FIRES_PER_ROUND;
        if again {
            // The hole that the opener made is there for half a minute: only our initiation or its answer was lost. Or it went
            // to the wrong place, where no opener has told the right one.
            if peer.link.kind != CandidateKind::Heard {
                self.aim(place, false);
            }
            return self.fire_soon(place, now);
        }
        self.disarm(place, now);
        let obstacle = self.recognise_obstacle(place, round);
        // Once with each role is enough where it takes a forgiving filter on one side and all paths are tried at a time; behind
        // one NAT there are more.
        let hard = obstacle == Some(Reason::EndpointDependentNat)
            && self.both_have_openers(place)
            && !self.same_public_address(place);
        let rounds = if hard { 2 } else { ROUNDS };
        if round > 0 && round.is_multiple_of(rounds) {
            return self.give_up(place, now, obstacle.unwrap_or(Reason::NoAnswer));
        }
        let Some(peer) = self.peers.get_mut(place) else { return };
        peer.asked = Asked::NOBODY;
        if self.is_lower(place) {
            return self.pursue(place, now);
        }
        self.enter(place, Phase::Idle, now.saturating_add(ASK_YIELD));
    }

    fn both_have_openers(&self, place: Place) -> bool {
        let claim = self.peers.get(place).and_then(|p| p.held.claim.as_ref());
        self.openers.allowed && claim.is_some_and(|c| c.has(Claim::OPENERS))
    }

    /// What stands between us and a peer that both have been introduced in vain, as far as both know what they are behind: in
    /// every family that both have.
    fn obstacle(&self, place: Place) -> Option<Reason> {
        let theirs = self.peers.get(place)?.held.claim.as_ref()?;
        if theirs.is_mapped_for(&self.own.claim) || self.own.claim.is_mapped_for(theirs) {
            return None;
        }
        let common = self.common_families(place);
        let mut obstacle = None;
        for v4 in [true, false].into_iter().zip(common).filter(|(_, common)| *common).map(|(v4, _)| v4) {
            let either = |class| self.own.claim.nat_of(v4) == class || theirs.nat_of(v4) == class;
            if either(NatClass::Open) {
                return None;
            } else if either(NatClass::EndpointDependent) {
                obstacle = obstacle.or(Some(Reason::EndpointDependentNat));
            } else if self.same_public_address_of(place, v4) {
                obstacle = Some(Reason::NoHairpin);
            } else if either(NatClass::Translated) {
                obstacle = Some(Reason::PerhapsEndpointDependentNat);
            } else {
                return None;
            }
        }
        obstacle
    }

    /// So many rounds of an effort have failed: what stands in the way may be said, while it is tried once more. What that is, as
    /// [`obstacle`](Self::obstacle).
    fn recognise_obstacle(&mut self, place: Place, failed: u8) -> Option<Reason> {
        let obstacle = self.obstacle(place);
        // What two have seen of a NAT is certain, and one failed round says that the other side's filter does not forgive it.
        // What one has seen is a guess, and takes two; behind one NAT there is more than one way to try.
        let needed = if obstacle == Some(Reason::EndpointDependentNat) { 1 } else { 2 };
        if let Some(peer) = self.peers.get_mut(place)
            && obstacle.is_some()
            && failed >= needed
        {
            peer.link.reason = obstacle;
        }
        obstacle
    }

    /// This effort has failed: the next one comes after a while, or with news.
    pub(super) fn give_up(&mut self, place: Place, now: Instant, reason: Reason) {
        let alone = self.connected() == 0;
        let Some(peer) = self.peers.get_mut(place) else { return };
        let failures = u32::from(peer.link.failures.add(reason != Reason::NotIntroduced).min(8));
        peer.asked = Asked::NOBODY;
        if failures == 0 && peer.link.via == NOBODY && reason == Reason::NoAnswer {
            // Nobody introduced us, and who could not at first may have come back meanwhile, as when we have moved and every link
            // was dead: no waiting then.
            let began = peer.link.began;
            if self.peers.iter().any(|(_, p)| p.is_answering() && p.link.since > began) {
                return self.pursue(place, now);
            }
        }
        let Some(peer) = self.peers.get_mut(place) else { return };
        // Nobody being connected to it yet is mended within seconds; a NAT that stays shut is not.
        let base = if reason == Reason::NotIntroduced { Duration::from_secs(1) } else { BACKOFF_MIN };
        // Where the configuration says that it can be reached, it will be again.
        let most = if peer.configured.is_empty() { BACKOFF_MAX } else { BACKOFF_CONFIGURED };
        let after = if alone { ALONE_RETRY } else { (base * (1 << failures)).min(most) };
        let doubt = peer.link.doubt_until;
        let after = self.jitter(after);
        let at = now.saturating_add(after);
        let at = if doubt > now { at.min(doubt) } else { at };
        self.rest(place, now, reason, Some(at));
    }

    /// Nothing can be done about a peer, until then or until something changes.
    fn rest(&mut self, place: Place, now: Instant, reason: Reason, until: Option<Instant>) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        peer.link.reason = Some(reason);
        if peer.link.told != Some(reason) {
            self.note_waiting(now);
        }
        self.enter(place, Phase::Idle, until.unwrap_or(Instant::MAX));
    }

    /// WireGuard has a session, and the peer's gossip does not answer.
    pub(super) fn mute(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        peer.link.doubt_until = Instant::MIN;
        peer.link.fired = now;
        peer.link.stamp_at = peer.view.stamp;
        if !matches!(peer.link.reason, Some(Reason::Left | Reason::OtherSecret)) {
            peer.link.reason = Some(Reason::NoGossip);
        }
        if peer.link.told != peer.link.reason {
            self.note_waiting(now);
        }
        self.set_keepalive(place);
        self.enter(place, Phase::Mute, now.saturating_add(Duration::from_secs(1)));
    }

    fn mute_timeout(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let asked = peer.link.fired;
        let waited = now.saturating_duration_since(asked);
        if peer.link.hellos > 0 && waited >= SESSION_DOUBT && peer.view.rx_changed < asked {
            // Not even WireGuard's own keepalive came: there is no session, or not on the other side.
            peer.link.round = 0;
            peer.link.began = now;
            peer.link.rx_at = peer.view.rx;
            return self.pursue(place, now);
        }
        peer.link.hellos = peer.link.hellos.saturating_add(1);
        peer.link.fired = now;
        let pause = MUTE_PAUSES.get(usize::from(peer.link.hellos)).or(MUTE_PAUSES.last()).copied();
        self.request(place, Pending::HELLO);
        let after = Duration::from_secs(pause.unwrap_or_default());
        self.enter(place, Phase::Mute, now.saturating_add(after));
    }

    /// A reading has come while the peer is not connected.
    pub(super) fn unconnected_reading(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        if peer.keeps_session(now) && is_data(peer.view.rx.wrapping_sub(peer.link.rx_at)) {
            return self.greet(place, now, false);
        }
        let (link, view) = (&mut peer.link, &peer.view);
        let rtt = link.rtt_or(UNKNOWN_RTT);
        let moved = view.rx > link.rx_at;
        let since_heard = now.saturating_duration_since(view.rx_changed);
        let stamped = view.stamp != link.stamp_at && view.stamp != 0;
        match link.phase {
            Phase::Firing if moved || (view.rx > 0 && since_heard < patience(rtt)) => {
                // The other side was quicker: a handshake of its making is under way, and a re-add would kill it.
                link.rx_at = view.rx;
                self.heard(place, now, rtt);
            }
            Phase::Firing => self.fire(place, now),
            Phase::Waiting | Phase::Opening | Phase::Yielding if moved => self.heard(place, now, rtt),
            Phase::Opening if link.prepare != Prepare::Nothing => {
                let how = core::mem::replace(&mut link.prepare, Prepare::Nothing);
                if view.rx > 0 && since_heard < patience(rtt) {
                    self.heard(place, now, rtt);
                } else {
                    self.prepare(place, now, how);
                }
            }
            Phase::Ending if view.rx > 0 && since_heard < patience(rtt) => self.heard(place, now, rtt),
            Phase::Ending => self.next_round(place, now),
            // WireGuard has made a new session with it by itself: perhaps the other side's gossip is back as well.
            Phase::Mute if stamped => {
                link.stamp_at = view.stamp;
                link.hellos = 0;
                self.enter(place, Phase::Mute, now.saturating_add(HELLO_REPEATS[0]));
            }
            Phase::Fired => {
                let waited = now.saturating_duration_since(link.fired);
                let crossed = view.rx.wrapping_sub(link.rx_at) == INITIATION_BYTES
                    && !stamped
                    && waited > rtt + rtt / 2 + Duration::from_millis(50);
                if crossed {
                    self.crossed(place, now);
                }
            }
            // A link we took for dead, and WireGuard hears the peer: its daemon is gone, its session is not.
            Phase::Idle | Phase::Asking if moved && link.doubt_until != Instant::MIN => self.mute(place, now),
            // Nothing is to be done, or somebody is being asked, and WireGuard has made a session by itself, of what users send:
            // what is left is to have our Hello echoed.
            Phase::Idle | Phase::Asking
                if moved && stamped && view.owns_address && now >= link.muted_until =>
            {
                self.greet(place, now, false);
            }
            // The peer's initiations arrive, and no session comes of them: what we answer is lost, or its clock went back
            // and WireGuard has refused the later ones. From our side it works.
            Phase::Idle if moved => {
                link.rx_at = view.rx;
                if let Some(endpoint) = view.endpoint {
                    self.remember(place, endpoint);
                }
                // Brought forward, and never put off: it would be for ever, where something comes all the time.
                let at = now.saturating_add(NATURAL_CYCLE).min(self.peers.deadline(place));
                self.enter(place, Phase::Idle, at);
            }
            Phase::Idle if link.prepare == Prepare::Disarm => {
                link.prepare = Prepare::Nothing;
                if view.rx == 0 || since_heard >= patience(rtt) {
                    self.disarm(place, now);
                }
            }
            _ => {}
        }
    }

    fn heard(&mut self, place: Place, now: Instant, rtt: Duration) {
        let initiator = self.peers.get(place).is_some_and(|p| p.link.initiator);
        // Who is to initiate waits for no longer than it must; who is not has nothing better to do, and on a busy machine a
        // handshake takes its time.
        let after = if initiator { patience(rtt) } else { self.round_length(rtt) };
        self.enter(place, Phase::Heard, now.saturating_add(after));
    }

    /// Both sides' initiations have crossed: the lower key gives way, the higher fires again.
    fn crossed(&mut self, place: Place, now: Instant) {
        debug!(
            "{}: handshakes crossed",
            super::LogKey(&self.peers.get(place).map_or(crate::PublicKey::from_bytes([0; 32]), |p| p.key))
        );
        if self.is_lower(place) {
            self.disarm(place, now);
            let round = self.round_length(UNKNOWN_RTT);
            self.enter(place, Phase::Opening, now.saturating_add(round));
        } else if let Some(peer) = self.peers.get_mut(place) {
            peer.link.rx_at = peer.view.rx;
            self.enter(place, Phase::Waiting, now.saturating_add(CROSSED_PAUSE));
        }
    }
}
