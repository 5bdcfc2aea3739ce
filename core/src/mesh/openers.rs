//! Openers: small sealed packets that leave WireGuard's own port by a raw socket, and open the NATs on their way.
//!
//! WireGuard drops what it cannot read, so that they disturb nothing. With them the opener's WireGuard keeps still, all
//! candidates of a peer are tried side by side although WireGuard has one endpoint, and the initiator fires at the path on
//! which it hears the other side. They say which attempt they belong to and who sent them: a stranger cannot make one up,
//! one of an earlier attempt is no use, and whoever replays one within its attempt gains that a handshake is sent to the
//! wrong place once.
//!
//! ```text
//! "wgmo" | envelope as of any datagram ( one frame: Opener )
//! ```

use core::net::{IpAddr, SocketAddr};

use embassy_time::Instant;
use heapless::Vec;
use rand_core::TryCryptoRng;

use super::Mesh;
use crate::{
    CandidateKind, Endpoint, Output, PublicKey, Scope,
    limits::{FIRE_SPACING, MAX_OPENER_SERIES, MAX_READDS, OPENER_TIMES, OPENER_WINDOW, OPENERS_PER_SECOND},
    peer::{Pending, Phase, Place},
    seal::{self, HEADER},
    stats::count,
    wire::{self, Kind, Opener, Reader, Writer},
};

/// The first bytes of every opener, by which a socket filter tells it from what is WireGuard's: no message type of its.
pub const OPENER_MAGIC: [u8; 4] = *b"wgmo";

/// How far the initiator's openers go: out of its own network and a carrier's, and not as far as the other side's NAT, of
/// which some keep a connection for whatever they turn away and then give the inside another port.
const SHORT_WAY: u8 = 5;

/// Openers to be sent, and what may come in.
pub(super) struct Openers {
    /// The platform can send and receive them.
    pub(super) allowed: bool,
    series: Vec<Series, MAX_OPENER_SERIES>,
    /// A peer was heard from where nobody expected it: it gets one back.
    reply: Option<(Place, Endpoint)>,
    /// Until when the other sides' are expected.
    expected_until: Instant,
    /// How many came in the second that `received_in` is.
    received: u16,
    received_in: u64,
}

/// The openers of one attempt: at each of [`OPENER_TIMES`] one to each candidate.
struct Series {
    place: Place,
    began: Instant,
    /// Which of the times is next, or being worked through.
    turn: u8,
    /// The candidate whose opener is next, and from which of our addresses.
    candidate: u8,
    source: u8,
    due: bool,
    /// The peer is connected, as far as we know: its openers are sent all the same.
    live: bool,
}

impl Series {
    fn next(&self) -> Instant {
        let after = OPENER_TIMES.get(usize::from(self.turn)).copied().unwrap_or_default();
        self.began.saturating_add(after)
    }
}

impl Openers {
    pub(super) const fn new() -> Self {
        Self {
            allowed: false,
            series: Vec::new(),
            reply: None,
            expected_until: Instant::MIN,
            received: 0,
            received_in: 0,
        }
    }

    /// When the next ones are due that are not being sent already.
    pub(super) fn next(&self) -> Instant {
        self.series.iter().filter(|s| !s.due).map(Series::next).min().unwrap_or(Instant::MAX)
    }

    pub(super) fn forget(&mut self, place: Place) {
        self.series.retain(|s| s.place != place);
        self.reply = self.reply.filter(|(to, _)| *to != place);
    }

    pub(super) fn clear(&mut self) {
        self.series.clear();
        self.reply = None;
        self.expected_until = Instant::MIN;
    }
}

impl<const PEERS: usize> Mesh<PEERS> {
    /// Whether the caller can carry out [`Output::Opener`] and hands over what comes ([`handle_opener`](Self::handle_opener)):
    /// on Linux this takes a raw socket. At first it cannot. Without openers, connecting two nodes behind NATs takes a
    /// little longer.
    pub fn allow_openers(&mut self, now: Instant, allowed: bool) {
        if core::mem::replace(&mut self.openers.allowed, allowed) != allowed {
            self.openers.clear();
            self.refresh_own_soon(now);
        }
    }

    /// Whether an attempt is under way in which the other side's openers tell something. At other times they need not be
    /// listened for.
    #[must_use]
    pub fn expects_openers(&self, now: Instant) -> bool {
        self.openers.allowed && now < self.openers.expected_until
    }

    /// What looks like an opener has come in at WireGuard's port, from there. It is decrypted in place.
    pub fn handle_opener(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        if self.leaving || !self.expects_openers(now) {
            return;
        }
        let second = now.as_secs();
        if core::mem::replace(&mut self.openers.received_in, second) != second {
            self.openers.received = 0;
        }
        self.openers.received = self.openers.received.saturating_add(1);
        if self.openers.received > OPENERS_PER_SECOND {
            return count(&mut self.counters.dropped_openers);
        }
        let Some(opener) = self.open_opener(datagram) else {
            return count(&mut self.counters.dropped_openers);
        };
        let Some(place) = self.peers.find_short(u64::from_be_bytes(opener.from)) else { return };
        let endpoint = Endpoint::from(from);
        let expected = self.peers.get(place).is_some_and(|p| p.link.attempt == opener.attempt);
        if expected && self.is_usable(endpoint) {
            count(&mut self.counters.heard_openers);
            self.opener_heard(place, endpoint, now);
        }
    }

    fn open_opener(&self, datagram: &mut [u8]) -> Option<Opener> {
        let sealed = datagram.get_mut(OPENER_MAGIC.len()..)?;
        let (frames, _) = seal::open(&self.secrets, sealed).ok()?;
        match Reader::new(frames).next()? {
            Ok((Some(Kind::Opener), body)) => wire::decode(body).ok(),
            _ => None,
        }
    }

    /// An opener of the attempt under way came from there: this path is open towards us.
    fn opener_heard(&mut self, place: Place, endpoint: Endpoint, now: Instant) {
        let known = self.candidates(place, false).iter().any(|(e, _)| *e == endpoint);
        let patience = self.fire_patience(place);
        let Some(peer) = self.peers.get_mut(place) else { return };
        let link = &mut peer.link;
        if !link.initiator {
            if !known && link.phase == Phase::Opening {
                self.openers.reply = Some((place, endpoint));
                self.busy = true;
            }
            return;
        }
        let waited = now.saturating_duration_since(link.fired);
        match link.phase {
            Phase::Waiting | Phase::Firing => {}
            // The first shot went to where nothing was heard, or there was no hole yet. One on its way along a path that was
            // heard is left alone: others may be open too, and each re-add would end the handshake before it.
            Phase::Fired
                if waited >= FIRE_SPACING
                    && ((link.kind != CandidateKind::Heard && link.target != Some(endpoint))
                        || waited > patience / 2)
                    && link.readds < MAX_READDS
                    && peer.view.rx == link.rx_at => {}
            _ => return,
        }
        link.target = Some(endpoint);
        link.kind = CandidateKind::Heard;
        if link.phase != Phase::Firing {
            self.fire_soon(place, now);
        }
    }

    /// Begins to open the way to and from a peer, on all paths.
    pub(super) fn open_paths(&mut self, place: Place, now: Instant) {
        if !self.openers.allowed {
            return;
        }
        // Whoever says where a peer is can make us send there: so much, and no more.
        let window = (now.as_secs() / OPENER_WINDOW.as_secs()) as u8;
        let Some(peer) = self.peers.get_mut(place) else { return };
        if !peer.link.take_series(window) {
            return count(&mut self.counters.over_budget);
        }
        let live = peer.is_live();
        self.openers.forget(place);
        let series = Series { place, began: now, turn: 0, candidate: 0, source: 0, due: true, live };
        if self.openers.series.push(series).is_err() {
            // One has to do.
            self.request(place, Pending::OPENER);
        }
        self.busy = true;
    }

    /// The other side's openers are worth listening for until then.
    pub(super) fn expect_openers(&mut self, until: Instant) {
        self.openers.expected_until = self.openers.expected_until.max(until);
    }

    pub(super) fn openers_timeout(&mut self, now: Instant) {
        for series in &mut self.openers.series {
            series.due |= series.next() <= now;
        }
    }

    /// The next opener to be sent.
    pub(super) fn next_opener<R: TryCryptoRng>(
        &mut self,
        now: Instant,
        rng: &mut R,
        buffer: &mut [u8],
    ) -> Option<Output> {
        if let Some((place, to)) = self.openers.reply.take()
            && let Some(output) = self.write_opener(place, None, to, rng, buffer)
        {
            return Some(output);
        }
        while let Some(at) = self.openers.series.iter().position(|s| s.due) {
            let series = &self.openers.series[at];
            let (place, turn, candidate, source) =
                (series.place, series.turn, usize::from(series.candidate), series.source);
            let pending =
                series.live || self.peers.get(place).is_some_and(|p| p.link.phase.is_being_opened());
            let candidates =
                if pending { self.candidates(place, false) } else { super::candidates::Candidates::new() };
            if let Some((to, _)) = candidates.get(candidate) {
                let from = self.source(*to, turn, source);
                let series = &mut self.openers.series[at];
                let Some(from) = from else {
                    (series.candidate, series.source) = (series.candidate + 1, 0);
                    continue;
                };
                series.source += 1;
                if let Some(output) = self.budgeted_opener(place, from, *to, now, rng, buffer) {
                    return Some(output);
                }
                continue;
            }
            let series = &mut self.openers.series[at];
            series.turn += 1;
            (series.candidate, series.source) = (0, 0);
            series.due = false;
            if !pending || usize::from(series.turn) >= OPENER_TIMES.len() {
                self.openers.series.swap_remove(at);
            } else {
                let next = series.next();
                self.arm(next);
            }
        }
        None
    }

    /// The address that the opener to an endpoint leaves from, at one of [`OPENER_TIMES`]; the next one for each `nth`, until
    /// there is none. `Some(None)` is the one that the system prefers.
    ///
    /// A host has several global IPv6 addresses, as a rule a stable and a temporary one. Others may know it by either, and
    /// a firewall in front of it lets in at one only whom that very one has written to. The first time both open, and then each
    /// does once more, so that the four of a series are no more than [`OPENER_WINDOW`] has room for.
    fn source(&self, to: Endpoint, turn: u8, nth: u8) -> Option<Option<IpAddr>> {
        let global = |a: &&IpAddr| a.is_ipv6() && crate::scope(**a) == Scope::Public;
        let mut ours = self.local.iter().filter(global).copied();
        match (ours.next(), ours.next()) {
            (Some(first), Some(second)) if !to.is_ipv4() && to.scope() == Scope::Public => {
                match (turn, nth) {
                    (0 | 1, 0) => Some(Some(first)),
                    (0, 1) | (2, 0) => Some(Some(second)),
                    _ => None,
                }
            }
            _ => (nth == 0).then_some(None),
        }
    }

    /// The only opener that a peer gets for whose series there was no room.
    pub(super) fn single_opener<R: TryCryptoRng>(
        &mut self,
        place: Place,
        now: Instant,
        rng: &mut R,
        buffer: &mut [u8],
    ) -> Option<Output> {
        let (to, _) = *self.candidates(place, false).first()?;
        self.budgeted_opener(place, None, to, now, rng, buffer)
    }

    fn budgeted_opener<R: TryCryptoRng>(
        &mut self,
        place: Place,
        from: Option<IpAddr>,
        to: Endpoint,
        now: Instant,
        rng: &mut R,
        buffer: &mut [u8],
    ) -> Option<Output> {
        self.within_budget(place, to, 1, now).then(|| self.write_opener(place, from, to, rng, buffer))?
    }

    fn write_opener<R: TryCryptoRng>(
        &mut self,
        place: Place,
        source: Option<IpAddr>,
        to: Endpoint,
        rng: &mut R,
        buffer: &mut [u8],
    ) -> Option<Output> {
        let from = self.own_key().as_ref().map(PublicKey::short)?.to_be_bytes();
        let (peer, secret) = self.sealing_for(place)?;
        let (magic, sealed) = buffer.split_first_chunk_mut()?;
        *magic = OPENER_MAGIC;
        let mut writer = Writer::new(sealed.get_mut(HEADER..)?);
        if !writer.frame(Kind::Opener, &Opener { attempt: peer.link.attempt, from }) {
            return None;
        }
        let len = writer.len();
        let len = seal::seal(secret, sealed, len, rng).ok()? + OPENER_MAGIC.len();
        let hops = peer.link.initiator.then_some(SHORT_WAY);
        count(&mut self.counters.sent_openers);
        Some(Output::Opener { from: source, to: to.into(), len, hops })
    }
}
