//! Everything the engine knows about one peer: what WireGuard shows of it, what it says of itself, and how far the
//! connecting has come. Plain data; the rules are in [`crate::mesh`].

use core::net::IpAddr;

use embassy_time::{Duration, Instant};
use heapless::Vec;

use crate::{
    CandidateKind, Endpoint, PublicKey, Reason,
    limits::{
        MAX_BUSY, MAX_CONFIGURED_ENDPOINTS, MAX_GOOD_ENDPOINTS, MAX_MEDIATORS, PACKETS_BURST,
        SERIES_PER_WINDOW, SESSION_KEPT,
    },
    record::{Claim, Order},
};

/// A peer's place in the table.
pub(crate) type Place = u16;

/// No peer.
pub(crate) const NOBODY: Place = Place::MAX;

/// Where a link stands, one peer at a time.
///
/// ```text
///                  +--------------------- Idle <----------------------------+
///    an endpoint   |                       | a mediator is live             | the round is over
///    of its own    v                       v                                |
///   Yielding ---> Firing <--- Waiting <--- Asking ---> Opening -------------+
///   lower key,      | reading    initiator    opener or     | rx moved      |
///   250 ms          | shows      waits        listener      v               |
///                   | no rx                               Heard ------------+
///                   v                                       |               |
///                 Fired ------------------------------------+---------------+
///                   | the peer's datagram comes             |
///                   v                                       v
///   Presumed ---> Greeting ----- our Hello is echoed ----> Live <---> Probing ---> Idle
///   stamp at start  |                                                  unanswered
///                   +---- session, and no echo ----> Mute
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No attempt runs; the deadline is the next one's time.
    Idle,
    /// WireGuard had a handshake before we started; a Hello is out.
    Presumed,
    /// First contact, and ours is the lower key: the other side goes first.
    Yielding,
    /// A mediator was asked.
    Asking,
    /// Introduced as initiator: the other side opens first.
    Waiting,
    /// About to fire, as soon as a reading shows that the other side has not.
    Firing,
    /// WireGuard was given an endpoint and our Hello.
    Fired,
    /// Introduced as opener or listener: the other side initiates.
    Opening,
    /// The round is over, if the next reading shows nothing new.
    Ending,
    /// Bytes came from the peer during the attempt: a session may be under way.
    Heard,
    /// A datagram of the peer came; our Hello is out.
    Greeting,
    /// The peer has echoed our Hello.
    Live,
    /// It is to do so again.
    Probing,
    /// WireGuard has a session and the peer's gossip does not answer.
    Mute,
}

impl Phase {
    /// Whether one phase may follow another. The whole table is in the tests.
    pub(crate) const fn may_become(self, next: Self) -> bool {
        match next {
            // It is given up, or the interface is gone; a session turns out to be there; our Hello is echoed.
            Self::Idle | Self::Mute | Self::Live => true,
            Self::Greeting => !self.is_live(),
            Self::Presumed => matches!(self, Self::Idle | Self::Mute),
            Self::Probing => matches!(self, Self::Live),
            // A new effort, or the next round of one.
            Self::Asking | Self::Yielding => {
                matches!(self, Self::Idle | Self::Asking | Self::Ending | Self::Greeting | Self::Mute)
            }
            // An introduction comes when it comes.
            Self::Waiting | Self::Opening => !self.has_session() || matches!(self, Self::Mute),
            Self::Firing => !self.is_live() && !matches!(self, Self::Presumed),
            Self::Fired => matches!(self, Self::Firing | Self::Ending),
            Self::Heard => {
                matches!(self, Self::Yielding | Self::Waiting | Self::Firing | Self::Opening | Self::Ending)
            }
            Self::Ending => matches!(self, Self::Fired | Self::Opening | Self::Heard),
        }
    }

    /// Whether the peer has echoed our Hello and was not given up since.
    pub(crate) const fn is_live(self) -> bool {
        matches!(self, Self::Live | Self::Probing)
    }

    /// Whether an attempt is at a point where WireGuard's counters tell something.
    pub(crate) const fn needs_readings(self) -> bool {
        matches!(self, Self::Fired | Self::Opening | Self::Heard | Self::Waiting | Self::Ending)
    }

    /// Whether an attempt is at a point where an opener may still be of use.
    pub(crate) const fn is_being_opened(self) -> bool {
        matches!(self, Self::Yielding | Self::Waiting | Self::Firing | Self::Fired | Self::Opening)
    }

    /// Whether WireGuard has a session with the peer, or may have: then it is not to be re-added lightly.
    pub(crate) const fn has_session(self) -> bool {
        matches!(self, Self::Live | Self::Probing | Self::Presumed | Self::Greeting | Self::Mute)
    }
}

/// Whether the other side wants a new session, because it has lost the old one or never had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Not that we know.
    Nothing,
    /// It does, and initiates.
    Session,
    /// It does, and we are to initiate.
    Initiation,
}

/// What is to be done to WireGuard after an introduction, once a reading has shown that nothing came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prepare {
    /// Nothing, or it is done.
    Nothing,
    /// Open our NAT.
    Open,
    /// Keep still.
    Disarm,
}

/// What is to be put out for a peer at the next polls.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pending(u32);

impl Pending {
    /// Give WireGuard the peer, or its mesh address.
    pub(crate) const ADD: Self = Self(1);
    /// Remove and add it, with the endpoint in `link.target`.
    pub(crate) const READD: Self = Self(1 << 1);
    /// Set the keepalive to `link.keepalive`.
    pub(crate) const KEEPALIVE: Self = Self(1 << 2);
    /// Set the endpoint to `link.target`.
    pub(crate) const ENDPOINT: Self = Self(1 << 3);
    /// All changes to WireGuard.
    pub(crate) const ACTIONS: Self = Self(0xf);

    /// Send a Hello that asks for an echo.
    pub(crate) const HELLO: Self = Self(1 << 4);
    /// Send a HelloAck that echoes `link.echo`.
    pub(crate) const ACK: Self = Self(1 << 5);
    /// Send our own record.
    pub(crate) const RECORD: Self = Self(1 << 6);
    /// Send the records of the present push.
    pub(crate) const PUSH: Self = Self(1 << 7);
    /// Send the records that were asked for.
    pub(crate) const REPLY: Self = Self(1 << 8);
    /// Send all records.
    pub(crate) const SYNC: Self = Self(1 << 9);
    /// Send the digests of our buckets.
    pub(crate) const BUCKETS: Self = Self(1 << 10);
    /// Ask for the records that we want.
    pub(crate) const PULL: Self = Self(1 << 11);
    /// Ask `link.via` to introduce us to this peer. (The datagram goes to the mediator.)
    pub(crate) const ASK_INTRO: Self = Self(1 << 12);
    /// Say goodbye.
    pub(crate) const BYE: Self = Self(1 << 13);
    /// Ask it where it hears our openers from.
    pub(crate) const OBSERVE: Self = Self(1 << 15);
    /// All datagrams.
    pub(crate) const DATAGRAMS: Self = Self(0xbff0);

    /// Send one opener to the likeliest place: there is no room for a series.
    pub(crate) const OPENER: Self = Self(1 << 14);

    /// Tell that it is connected.
    pub(crate) const CONNECTED: Self = Self(1 << 16);
    /// Tell that it was lost.
    pub(crate) const LOST: Self = Self(1 << 17);
    /// Tell why it is not connected.
    pub(crate) const WAITING: Self = Self(1 << 18);
    /// Tell that an attempt begins.
    pub(crate) const ATTEMPT: Self = Self(1 << 19);
    /// Tell that WireGuard has moved it.
    pub(crate) const MOVED: Self = Self(1 << 20);
    /// Tell that two records of it are at odds.
    pub(crate) const CONFLICT: Self = Self(1 << 21);
    /// Tell that nothing comes through to it on the LAN.
    pub(crate) const LAN_BARRED: Self = Self(1 << 22);

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) const fn clear(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// Clears the flag and says whether it was set.
    pub(crate) const fn take(&mut self, flag: Self) -> bool {
        let had = self.has(flag);
        self.clear(flag);
        had
    }
}

impl core::ops::BitOr for Pending {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A peer as WireGuard showed it in the last reading.
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) rx: u64,
    pub(crate) tx: u64,
    pub(crate) stamp: u64,
    /// When rx was last seen to change, or the peer was last heard.
    pub(crate) rx_changed: Instant,
    /// Gossip has been sent since the last reading.
    pub(crate) gossiped: bool,
    /// Readings since more than keepalives was sent and rx has not changed.
    pub(crate) unanswered: u8,
    /// Keepalives of the peer's since one of ours, up to `KEEPALIVES_HEARD`.
    pub(crate) keepalives_heard: u8,
    /// When the handshake stamp was last seen to change.
    pub(crate) stamp_changed: Instant,
    pub(crate) keepalive: u16,
    /// The keepalive that the user had set, kept across our re-adding.
    pub(crate) user_keepalive: u16,
    pub(crate) present: bool,
    /// We have added the peer: it goes when the configuration drops it.
    pub(crate) ours: bool,
    /// Its mesh address is its own allowed IP by longest prefix.
    pub(crate) owns_address: bool,
    /// Another peer has the mesh address as its own /32 or /128.
    pub(crate) address_taken: bool,
    /// Shown in the reading under way.
    pub(crate) seen: bool,
    /// Length of the longest prefix seen so far in the reading under way, plus one; 0 for none.
    pub(crate) best_prefix: u8,
    /// Whether that was the peer's own.
    pub(crate) best_is_own: bool,
}

impl View {
    /// Whether WireGuard may initiate of itself, for a keepalive or for what a user sends.
    pub(crate) const fn is_armed(&self) -> bool {
        self.endpoint.is_some() || self.keepalive != 0
    }

    /// Whether the last keepalive was the peer's, and so the next one is to be.
    pub(crate) const fn hears_keepalives(&self) -> bool {
        self.keepalives_heard > 0
    }

    pub(crate) const fn new() -> Self {
        Self {
            endpoint: None,
            rx: 0,
            tx: 0,
            stamp: 0,
            rx_changed: Instant::MIN,
            gossiped: false,
            unanswered: 0,
            keepalives_heard: 0,
            stamp_changed: Instant::MIN,
            keepalive: 0,
            user_keepalive: 0,
            present: false,
            ours: false,
            owns_address: false,
            address_taken: false,
            seen: false,
            best_prefix: 0,
            best_is_own: false,
        }
    }
}

/// How far the connecting of a peer has come.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    pub(crate) phase: Phase,
    /// When it became connected, or stopped being so.
    pub(crate) since: Instant,
    /// When the present effort began.
    pub(crate) began: Instant,
    /// When WireGuard was last made to initiate.
    pub(crate) fired: Instant,
    /// Until when only an introduction may re-add the peer: its session may be well and its daemon not.
    pub(crate) doubt_until: Instant,
    /// Until when nothing is sent: it speaks the original's protocol.
    pub(crate) muted_until: Instant,
    /// `rx` when the attempt began.
    pub(crate) rx_at: u64,
    /// `stamp` when the attempt began.
    pub(crate) stamp_at: u64,
    /// Where to fire, or to set the endpoint.
    pub(crate) target: Option<Endpoint>,
    pub(crate) kind: CandidateKind,
    /// The attempt, as the mediator named it.
    pub(crate) attempt: [u8; 4],
    /// Measured round trip, smoothed; zero for none.
    pub(crate) rtt: Duration,
    /// The Hello that we want echoed, and when it was sent.
    pub(crate) token: [u8; 4],
    pub(crate) token_at: Instant,
    /// It was sent more than once.
    pub(crate) token_repeated: bool,
    /// The Hello that we are to echo.
    pub(crate) echo: [u8; 4],
    /// Who introduced us, or was asked to.
    pub(crate) via: Place,
    /// The new session that the peer wants, as `via` told us while it was connected; the peer itself may be that, by a knock from
    /// `target`.
    pub(crate) wanted: Wanted,
    /// Rounds since the peer was last connected.
    pub(crate) round: u8,
    /// Which candidate is next.
    pub(crate) candidate: u8,
    /// Re-adds in a row.
    pub(crate) readds: u8,
    pub(crate) failures: Failures,
    /// Hellos sent in this phase.
    pub(crate) hellos: u8,
    pub(crate) keepalive: u16,
    /// A guess at the round trip to the peer while there is no session, in milliseconds; 0 for none.
    pub(crate) rtt_guess: u16,
    pub(crate) reason: Option<Reason>,
    /// What the last `Waiting` event said.
    pub(crate) told: Option<Reason>,
    /// Whether this side is the initiator of the attempt.
    pub(crate) initiator: bool,
    pub(crate) prepare: Prepare,
    /// The second, of 256, in which a datagram that does not open was last tried as one of the original's.
    pub(crate) examined: u8,
    /// Series of openers sent in a stretch of time (the low three bits), and which stretch, of 32.
    pub(crate) opened: u8,
    /// Packets that may still be taken, and since when.
    pub(crate) allowance: u16,
    pub(crate) allowance_at: Instant,
}

/// Reconciliations of a pair of digests that the other side has answered (the low seven bits), and whether an answer is awaited.
#[derive(Clone, Copy)]
pub(crate) struct Settling(u8);

impl Settling {
    pub(crate) const NONE: Self = Self(0);
    const AWAITED: u8 = 0x80;

    pub(crate) const fn answered(self) -> u8 {
        self.0 & !Self::AWAITED
    }

    pub(crate) const fn begin(&mut self) {
        self.0 |= Self::AWAITED;
    }

    /// Something of the answer has come; it may be several datagrams.
    pub(crate) const fn answer(&mut self) {
        let answered = self.answered();
        if self.0 & Self::AWAITED != 0 {
            self.0 = if answered < !Self::AWAITED { answered + 1 } else { answered };
        }
    }
}

/// Efforts given up in a row, for the back-off. Those in which nobody could introduce us are counted for themselves (the high
/// four bits): they say nothing about what is between us.
#[derive(Clone, Copy)]
pub(crate) struct Failures(u8);

impl Failures {
    pub(crate) const NONE: Self = Self(0);

    /// One more: how many there were before, up to 15.
    pub(crate) const fn add(&mut self, introduced: bool) -> u8 {
        let shift = if introduced { 0 } else { 4 };
        let before = (self.0 >> shift) & 0xf;
        if before < 0xf {
            self.0 += 1 << shift;
        }
        if introduced {
            self.0 &= 0xf;
        }
        before
    }
}

/// Who was asked for an introduction in one go. It has no alignment, and fits where nothing else would.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    /// The last but one; the last one is the link's `via`.
    before: [u8; 2],
    /// How often somebody was asked (the low three bits), and how often somebody had no time.
    counts: u8,
}

impl Asked {
    pub(crate) const NOBODY: Self = Self { before: NOBODY.to_le_bytes(), counts: 0 };
    const ONCE: u8 = 1;
    const BUSY_ONCE: u8 = 8;

    /// How often somebody was asked.
    pub(crate) fn len(self) -> usize {
        usize::from(self.counts % Self::BUSY_ONCE)
    }

    /// One more is asked, and this one was asked last.
    pub(crate) fn push(&mut self, last: Place) {
        self.before = last.to_le_bytes();
        if self.len() < MAX_MEDIATORS {
            self.counts += Self::ONCE;
        }
    }

    pub(crate) const fn before(self) -> Place {
        Place::from_le_bytes(self.before)
    }

    /// Whoever was asked last has no time: that does not count, unless it was so too often.
    pub(crate) fn put_off(&mut self) -> bool {
        let patient = self.counts / Self::BUSY_ONCE < MAX_BUSY && self.len() > 0;
        if patient {
            self.counts += Self::BUSY_ONCE - Self::ONCE;
        }
        patient
    }
}

const _: () = assert!(MAX_MEDIATORS < 8 && MAX_BUSY < 32, "they share a byte");

impl Link {
    pub(crate) const fn new() -> Self {
        Self {
            phase: Phase::Idle,
            since: Instant::MIN,
            began: Instant::MIN,
            fired: Instant::MIN,
            doubt_until: Instant::MIN,
            muted_until: Instant::MIN,
            rx_at: 0,
            stamp_at: 0,
            target: None,
            kind: CandidateKind::Roamed,
            attempt: [0; 4],
            rtt_guess: 0,
            rtt: Duration::from_ticks(0),
            token: [0; 4],
            token_at: Instant::MIN,
            token_repeated: false,
            echo: [0; 4],
            via: NOBODY,
            wanted: Wanted::Nothing,
            round: 0,
            candidate: 0,
            readds: 0,
            failures: Failures::NONE,
            hellos: 0,
            keepalive: 0,
            reason: None,
            told: None,
            initiator: false,
            prepare: Prepare::Nothing,
            opened: 0,
            examined: u8::MAX,
            allowance: PACKETS_BURST,
            allowance_at: Instant::MIN,
        }
    }

    /// Takes one series of openers from the budget of a stretch of time.
    pub(crate) const fn take_series(&mut self, window: u8) -> bool {
        if self.opened >> 3 != window & 0x1f {
            self.opened = window << 3;
        }
        let left = self.opened & 7 < SERIES_PER_WINDOW;
        self.opened += left as u8;
        left
    }

    /// Whether openers were sent in the stretch of time when that was last done.
    pub(crate) const fn has_opened(&self) -> bool {
        self.opened & 7 != 0
    }

    /// Nothing is sent there before it has reached us; where it was reached before says nothing then.
    pub(crate) const fn aim_nowhere(&mut self) {
        (self.target, self.kind) = (None, CandidateKind::Roamed);
    }

    /// An attempt is under way. What is known to stand in its way goes on being so.
    pub(crate) fn set_connecting(&mut self) {
        let known = matches!(
            self.reason,
            Some(
                Reason::EndpointDependentNat
                    | Reason::PerhapsEndpointDependentNat
                    | Reason::NoHairpin
                    | Reason::OtherSecret
            )
        );
        if !known {
            self.reason = Some(Reason::Connecting);
        }
    }

    /// The round trip as far as it is known; `or` where it is not.
    pub(crate) fn rtt_or(&self, or: Duration) -> Duration {
        // What was measured may have been on another path: two laptops of one home, before one of them left.
        let guess = Duration::from_millis(u64::from(self.rtt_guess));
        Some(self.rtt.max(guess)).filter(|d| d.as_ticks() > 0).unwrap_or(or)
    }
}

/// What is known of a peer's record, and where it stands in gossip.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) claim: Option<Claim>,
    /// Its keyed hash, part of the set's digest.
    pub(crate) hash: u64,
    /// When anybody last heard it from its subject, as far as we know.
    pub(crate) confirmed: Instant,
    /// Who brought it.
    pub(crate) bringer: Place,
    /// Who brought it fresh from its subject: the first mediator to ask.
    pub(crate) mediator: Place,
    /// Heard from the subject's own tunnel.
    pub(crate) first_hand: bool,
    /// To be pushed with the next batch.
    pub(crate) fresh: bool,
    /// Part of the batch being pushed.
    pub(crate) pushing: bool,
    /// Somebody asked for it.
    pub(crate) wanted_by_others: bool,
    /// We ask for it.
    pub(crate) wanted: bool,
    /// Listed in the summary being read.
    pub(crate) listed: bool,
}

impl Held {
    pub(crate) const fn new() -> Self {
        Self {
            claim: None,
            hash: 0,
            confirmed: Instant::MIN,
            bringer: NOBODY,
            mediator: NOBODY,
            first_hand: false,
            fresh: false,
            pushing: false,
            wanted_by_others: false,
            wanted: false,
            listed: false,
        }
    }

    /// Which record is held.
    pub(crate) fn order(&self) -> Order {
        self.claim.as_ref().map_or(Order::NONE, |claim| claim.order)
    }
}

/// One configured peer.
pub(crate) struct Peer {
    pub(crate) key: PublicKey,
    pub(crate) address: IpAddr,
    /// The place is free: the peer was removed.
    pub(crate) vacant: bool,
    /// The entry is ourselves.
    pub(crate) us: bool,
    /// It was reached since our start. What is in `good` may be from before.
    pub(crate) met: bool,
    pub(crate) pending: Pending,
    pub(crate) view: View,
    pub(crate) link: Link,
    pub(crate) held: Held,
    /// Who was asked in this go for an introduction to it.
    pub(crate) asked: Asked,
    /// Endpoints by who vouches for them, so that nobody can push out what somebody else knows.
    pub(crate) configured: Vec<Endpoint, MAX_CONFIGURED_ENDPOINTS, u8>,
    /// Where it worked, newest first.
    pub(crate) good: Vec<Endpoint, MAX_GOOD_ENDPOINTS, u8>,
    pub(crate) mediated: Option<Endpoint>,
    /// Where the peer's WireGuard sees us.
    pub(crate) sees_us_at: Option<Endpoint>,
    /// Which record of ours it holds.
    pub(crate) holds: Order,
    /// Its digest when it last told us.
    pub(crate) digest: u64,
    /// The pair of digests, folded, that was last reconciled.
    pub(crate) settled: u32,
    pub(crate) settling: Settling,
    /// It said that it depends on us for news.
    pub(crate) leaf: bool,
    /// We said so to it.
    pub(crate) told_leaf: bool,
    /// How far the records for it have been sent.
    pub(crate) cursor: Place,
    /// Which of our secrets is the newest that it has shown, as far as it has shown any.
    pub(crate) secret: Option<u8>,
}

impl Peer {
    /// Whether it is connected, and no question of ours has gone unanswered since it was last heard.
    pub(crate) const fn is_answering(&self) -> bool {
        matches!(self.link.phase, Phase::Live)
            || (matches!(self.link.phase, Phase::Probing) && self.link.hellos == 0)
    }

    /// Whether anybody can reach it without being introduced, as far as is known: most are connected to it then.
    pub(crate) fn is_public(&self) -> bool {
        !self.configured.is_empty() || self.held.claim.as_ref().is_some_and(Claim::is_open)
    }

    pub(crate) const fn new(key: PublicKey, address: IpAddr) -> Self {
        Self {
            key,
            address,
            vacant: false,
            us: false,
            met: false,
            pending: Pending(0),
            view: View::new(),
            link: Link::new(),
            held: Held::new(),
            asked: Asked::NOBODY,
            configured: Vec::new(),
            good: Vec::new(),
            mediated: None,
            sees_us_at: None,
            holds: Order::NONE,
            digest: 0,
            settled: 0,
            settling: Settling::NONE,
            leaf: false,
            told_leaf: false,
            cursor: 0,
            secret: None,
        }
    }

    /// Wants back what WireGuard needs to go on by itself: the user's keepalive, and where there is no session an endpoint to
    /// begin with. Returns what is to be put out for it.
    pub(crate) fn give_back(&mut self) -> Pending {
        let mut pending = Pending::default();
        if !self.link.phase.has_session() {
            self.link.target = self.configured.first().or_else(|| self.good.first()).copied();
            if self.link.target.is_some() && self.view.endpoint.is_none() {
                pending.set(Pending::ENDPOINT);
            }
        }
        self.link.keepalive = self.view.user_keepalive;
        if self.link.keepalive != self.view.keepalive {
            pending.set(Pending::KEEPALIVE);
        }
        pending
    }

    /// Whether this is a peer to be connected to.
    pub(crate) const fn is_other(&self) -> bool {
        !self.vacant && !self.us
    }

    /// Whether it has echoed our Hello and was not given up since.
    pub(crate) const fn is_live(&self) -> bool {
        self.is_other() && self.link.phase.is_live()
    }

    /// Whether WireGuard still has the session of a link that went silent not long ago, and the other side too for all we know:
    /// the peer was not re-added since.
    pub(crate) fn keeps_session(&self, now: Instant) -> bool {
        let (link, view) = (&self.link, &self.view);
        let lost = !link.phase.has_session() && link.since != Instant::MIN && !view.address_taken;
        lost && now < link.since.saturating_add(SESSION_KEPT)
            && link.wanted == Wanted::Nothing
            && view.present
            && view.stamp != 0
            && view.stamp == link.stamp_at
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{format, string::String};

    use super::Phase::{self, *};

    const ALL: [Phase; 14] = [
        Idle, Presumed, Yielding, Asking, Waiting, Firing, Fired, Opening, Ending, Heard, Greeting, Live,
        Probing, Mute,
    ];

    /// Rows: from; columns: to, in the same order. Every step of every simulation is held against it, too.
    const TABLE: &str = "
        Idle     - P Y A W F . O . . G L . M
        Presumed I - . . . . . . . . G L . M
        Yielding I . - . W F . O . H G L . M
        Asking   I . Y - W F . O . . G L . M
        Waiting  I . . . - F . O . H G L . M
        Firing   I . . . W - F O . H G L . M
        Fired    I . . . W F - O E . G L . M
        Opening  I . . . W F . - E H G L . M
        Ending   I . Y A W F F O - H G L . M
        Heard    I . . . W F . O E - G L . M
        Greeting I . Y A . F . . . . - L . M
        Live     I . . . . . . . . . . - P M
        Probing  I . . . . . . . . . . L - M
        Mute     I P Y A W F . O . . G L . -
    ";

    #[test]
    fn the_table_of_phases() {
        let mut table = String::new();
        for from in ALL {
            let mut row = format!("{:8}", format!("{from:?}"));
            for to in ALL {
                let name = format!("{to:?}");
                row += match () {
                    () if from == to => " -",
                    () if from.may_become(to) => &name[..1],
                    () => " .",
                };
            }
            table += &row;
        }
        let squeezed = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        assert_eq!(squeezed(&table), squeezed(TABLE), "{table}");
    }
}
