//! One peer of the embedded device: boringtun's cryptography with the kernel's timing.
//!
//! `Tunn` holds the handshake and the sessions. When to initiate, what to keep back, and what counts as an answer
//! follows the kernel module here, because a mesh lives by exactly these rules and `Tunn`'s own differ (it answers
//! an initiation and at once sends its own; it has no jitter; its keepalive cannot be changed; a response to an
//! initiation that a crossing one has overwritten still works). So `Tunn` is never asked for its timers' opinion:
//!
//! ```text
//!                  packet to send, no session          5 s + 0–333 ms without a response
//!      (idle) ───────────────────────────▶ initiated ◀──────────────┐
//!        ▲          unless < 5 s since     │   │   └────────────────┘ ≤ 18 times, not re-armed if < 5 s
//!        │          the last one           │   │                       since a response was sent
//!        │ initiation received: own one    │   │ response received
//!        ├─────────────────────────────────┘   ▼
//!        └──▶ responded ─── first data ───▶ session (120 s: the initiator renews it; 180 s: dead)
//! ```
//!
//! Not like the kernel: a changed preshared key ends the session (`Tunn` takes one only at birth), and after 90 s of
//! unanswered initiations an older session is forgotten.

use core::hash::BuildHasher;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};

use crate::mesh_box::key::Key;

const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
const REKEY_TIMEOUT_JITTER_MS: u64 = 334;
const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// 90 s of tries.
const MAX_HANDSHAKE_ATTEMPTS: u32 = 18;
const MAX_STAGED_PACKETS: usize = 128;
/// A second initiation within this is taken for a flood.
const INITIATION_INTERVAL: Duration = Duration::from_millis(20);
const KEEPALIVE_LENGTH: usize = 32;
/// What a handshake message needs; it grows with the packets that are sent.
const BUFFER: usize = 2048;

/// Where packets of a peer go.
pub(crate) trait Wire {
    /// A datagram for the underlay.
    fn send(&mut self, to: SocketAddr, datagram: &[u8]);
    /// A packet out of the tunnel, whose sender claims to be of this peer.
    fn deliver(&mut self, from: &Key, packet: &[u8]);
}

/// Indexes [`Peer::timers`].
#[derive(Clone, Copy)]
enum Timer {
    Retransmit,
    Keepalive,
    NewHandshake,
    ZeroKeys,
    PersistentKeepalive,
}

const TIMERS: [Timer; 5] =
    [Timer::Retransmit, Timer::Keepalive, Timer::NewHandshake, Timer::ZeroKeys, Timer::PersistentKeepalive];

/// A session that both ends have confirmed, as far as we can know.
struct Session {
    born: Instant,
    initiator: bool,
}

/// The peer has no endpoint: the kernel answers a sender with `EDESTADDRREQ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoEndpoint;

/// The state of one peer.
pub(crate) struct Peer {
    pub(crate) key: Key,
    pub(crate) preshared_key: Key,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) keepalive: u16,
    pub(crate) last_handshake: Option<SystemTime>,
    pub(crate) rx_bytes: u64,
    pub(crate) tx_bytes: u64,
    /// 24 bits that are in the upper part of every session index of this peer.
    pub(crate) index: u32,
    tunn: Tunn,
    staged: VecDeque<Vec<u8>>,
    session: Option<Session>,
    /// Sender index of the one initiation whose response would be accepted.
    awaited: Option<u32>,
    /// Our index of a session that we answered for and that has carried no data yet.
    unconfirmed: Option<(u32, Instant)>,
    last_sent_handshake: Option<Instant>,
    last_received_initiation: Option<Instant>,
    attempts: u32,
    sent_last_minute_handshake: bool,
    need_another_keepalive: bool,
    timers: [Option<Instant>; TIMERS.len()],
    jitter: RandomState,
    jitter_count: u64,
    buffer: Vec<u8>,
}

impl Peer {
    /// A peer that was just added: no endpoint, no session, no memory of replayed stamps.
    pub(crate) fn new(
        private: &Key,
        key: Key,
        preshared: Key,
        index: u32,
        limiter: &Arc<RateLimiter>,
    ) -> Self {
        let index = index & 0x00ff_ffff;
        Self {
            key,
            preshared_key: preshared,
            endpoint: None,
            keepalive: 0,
            last_handshake: None,
            rx_bytes: 0,
            tx_bytes: 0,
            index,
            tunn: new_tunn(private, key, preshared, index, limiter),
            staged: VecDeque::new(),
            session: None,
            awaited: None,
            unconfirmed: None,
            last_sent_handshake: None,
            last_received_initiation: None,
            attempts: 0,
            sent_last_minute_handshake: false,
            need_another_keepalive: false,
            timers: [None; TIMERS.len()],
            jitter: RandomState::new(),
            jitter_count: 0,
            buffer: vec![0; BUFFER],
        }
    }

    /// Forgets the session and starts over with other keys.
    pub(crate) fn rekey(&mut self, private: &Key, preshared: Key, limiter: &Arc<RateLimiter>) {
        self.preshared_key = preshared;
        self.tunn = new_tunn(private, self.key, preshared, self.index, limiter);
        self.session = None;
        self.awaited = None;
        self.unconfirmed = None;
    }

    /// The instant at which [`Peer::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.iter().flatten().min().copied()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant, wire: &mut impl Wire) {
        for timer in TIMERS {
            if self.timers[timer as usize].is_some_and(|due| due <= now) {
                self.timers[timer as usize] = None;
                self.expired(timer, now, wire);
            }
        }
    }

    fn expired(&mut self, timer: Timer, now: Instant, wire: &mut impl Wire) {
        match timer {
            Timer::Retransmit if self.attempts > MAX_HANDSHAKE_ATTEMPTS => {
                self.timers[Timer::Keepalive as usize] = None;
                self.staged.clear();
                if self.timers[Timer::ZeroKeys as usize].is_none() {
                    self.arm(Timer::ZeroKeys, now, REJECT_AFTER_TIME * 3);
                }
            }
            Timer::Retransmit => {
                self.attempts += 1;
                self.initiate(now, wire);
            }
            Timer::Keepalive => {
                self.send_keepalive(now, wire);
                if core::mem::take(&mut self.need_another_keepalive) {
                    self.arm(Timer::Keepalive, now, KEEPALIVE_TIMEOUT);
                }
            }
            Timer::NewHandshake => self.start_handshake(now, wire),
            Timer::ZeroKeys => {
                self.session = None;
                self.unconfirmed = None;
                self.awaited = None;
            }
            Timer::PersistentKeepalive if self.keepalive > 0 => self.send_keepalive(now, wire),
            Timer::PersistentKeepalive => {}
        }
    }

    /// A packet from the interface.
    ///
    /// # Errors
    /// Without an endpoint the packet is dropped and nothing is initiated.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        packet: &[u8],
        wire: &mut impl Wire,
    ) -> Result<(), NoEndpoint> {
        if self.endpoint.is_none() {
            return Err(NoEndpoint);
        }
        if self.staged.len() >= MAX_STAGED_PACKETS {
            self.staged.pop_front();
        }
        self.staged.push_back(packet.to_vec());
        self.flush(now, wire);
        Ok(())
    }

    /// Sends what waits, or initiates so that it can be sent. Nothing waits: nothing happens.
    pub(crate) fn flush(&mut self, now: Instant, wire: &mut impl Wire) {
        if self.staged.is_empty() {
            return;
        }
        let usable = self.session.as_ref().is_some_and(|session| now - session.born < REJECT_AFTER_TIME);
        if !usable || self.tunn.time_since_last_handshake().is_none() {
            self.start_handshake(now, wire);
            return;
        }
        let mut data_sent = false;
        while let Some(mut packet) = self.staged.pop_front() {
            let length = packet.len();
            // Padded as the kernel does, so that counters and packet sizes are the same.
            packet.resize(length.next_multiple_of(16), 0);
            if self.buffer.len() < packet.len() + KEEPALIVE_LENGTH {
                self.buffer.resize(packet.len() + KEEPALIVE_LENGTH, 0);
            }
            let TunnResult::WriteToNetwork(datagram) = self.tunn.encapsulate(&packet, &mut self.buffer)
            else {
                continue;
            };
            if let Some(endpoint) = self.endpoint {
                wire.send(endpoint, datagram);
                self.tx_bytes += datagram.len() as u64;
                data_sent |= length > 0;
            }
        }
        self.authenticated_sent(now);
        if data_sent && self.timers[Timer::NewHandshake as usize].is_none() {
            let wait = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + self.jitter();
            self.arm(Timer::NewHandshake, now, wait);
        }
        if self.session.as_ref().is_some_and(|s| s.initiator && now - s.born >= REKEY_AFTER_TIME) {
            self.start_handshake(now, wire);
        }
    }

    /// Sends an empty packet, or initiates if it cannot be sent yet.
    fn send_keepalive(&mut self, now: Instant, wire: &mut impl Wire) {
        if self.staged.is_empty() {
            self.staged.push_back(Vec::new());
        }
        self.flush(now, wire);
    }

    /// Sets the persistent keepalive, seconds; from 0 to something sends one at once.
    pub(crate) fn set_keepalive(&mut self, now: Instant, seconds: u16, wire: &mut impl Wire) {
        let at_once = self.keepalive == 0 && seconds > 0;
        self.keepalive = seconds;
        if at_once {
            self.send_keepalive(now, wire);
        }
    }

    fn start_handshake(&mut self, now: Instant, wire: &mut impl Wire) {
        self.attempts = 0;
        self.initiate(now, wire);
    }

    /// Sends an initiation unless a handshake message was sent less than 5 s ago.
    fn initiate(&mut self, now: Instant, wire: &mut impl Wire) {
        if self.last_sent_handshake.is_some_and(|sent| now - sent < REKEY_TIMEOUT) {
            return;
        }
        self.last_sent_handshake = Some(now);
        self.refresh_clock();
        let TunnResult::WriteToNetwork(datagram) =
            self.tunn.format_handshake_initiation(&mut self.buffer, true)
        else {
            return;
        };
        self.awaited = index_at(datagram, 4);
        if let Some(endpoint) = self.endpoint {
            wire.send(endpoint, datagram);
            self.tx_bytes += datagram.len() as u64;
        }
        self.authenticated_sent(now);
        let wait = REKEY_TIMEOUT + self.jitter();
        self.arm(Timer::Retransmit, now, wait);
    }

    /// An initiation that names this peer.
    pub(crate) fn handle_initiation(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
        wire: &mut impl Wire,
    ) {
        if self.last_received_initiation.is_some_and(|last| now - last < INITIATION_INTERVAL) {
            return;
        }
        self.refresh_clock();
        let result = self.tunn.decapsulate(Some(from.ip()), bytes, &mut self.buffer);
        let TunnResult::WriteToNetwork(response) = result else {
            return;
        };
        if response.len() == COOKIE_LENGTH {
            wire.send(from, response);
            return;
        }
        // The initiation is genuine. Our own pending one, if any, is overwritten by it: its response will be refused.
        self.awaited = None;
        self.last_received_initiation = Some(now);
        self.endpoint = Some(from);
        self.unconfirmed = index_at(response, 4).map(|index| (index, now));
        wire.send(from, response);
        self.last_sent_handshake = Some(now);
        self.rx_bytes += bytes.len() as u64;
        self.tx_bytes += response.len() as u64;
        self.authenticated_received(now);
        self.authenticated_sent(now);
        self.arm(Timer::ZeroKeys, now, REJECT_AFTER_TIME * 3);
    }

    /// A response to the initiation with `receiver` as its sender index.
    pub(crate) fn handle_response(
        &mut self,
        now: Instant,
        from: SocketAddr,
        receiver: u32,
        bytes: &[u8],
        wire: &mut impl Wire,
    ) {
        if self.awaited != Some(receiver) {
            return;
        }
        self.refresh_clock();
        let result = self.tunn.decapsulate(Some(from.ip()), bytes, &mut self.buffer);
        let TunnResult::WriteToNetwork(keepalive) = result else {
            return;
        };
        let Ok(keepalive) = <[u8; KEEPALIVE_LENGTH]>::try_from(&*keepalive) else {
            wire.send(from, keepalive);
            return;
        };
        self.awaited = None;
        self.endpoint = Some(from);
        self.rx_bytes += bytes.len() as u64;
        self.session = Some(Session { born: now, initiator: true });
        self.authenticated_received(now);
        self.arm(Timer::ZeroKeys, now, REJECT_AFTER_TIME * 3);
        self.handshake_complete();
        // The first data confirms the session to the other end: what waits, else the keepalive that `Tunn` made.
        if self.staged.is_empty() {
            wire.send(from, &keepalive);
            self.tx_bytes += KEEPALIVE_LENGTH as u64;
            self.authenticated_sent(now);
        } else {
            self.flush(now, wire);
        }
    }

    /// A cookie: `Tunn` keeps it for the next initiation.
    pub(crate) fn handle_cookie(&mut self, from: SocketAddr, bytes: &[u8]) {
        let _ = self.tunn.decapsulate(Some(from.ip()), bytes, &mut self.buffer);
    }

    /// A data packet for the session `receiver` of ours. The scratch space is at least as long as the datagram.
    pub(crate) fn handle_data(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
        scratch: &mut [u8],
        wire: &mut impl Wire,
    ) {
        let packet: &[u8] = match self.tunn.decapsulate(Some(from.ip()), bytes, scratch) {
            TunnResult::Done => &[],
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => packet,
            TunnResult::Err(_) | TunnResult::WriteToNetwork(_) => return,
        };
        self.endpoint = Some(from);
        self.rx_bytes += bytes.len() as u64;
        // The first data on a session that we answered for: now both ends have it.
        let confirmed = self.unconfirmed.take_if(|(index, _)| Some(*index) == index_at(bytes, 4));
        if let Some((_, born)) = confirmed {
            self.session = Some(Session { born, initiator: false });
            self.handshake_complete();
        }
        let last_minute = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT;
        let old = self.session.as_ref().is_some_and(|s| s.initiator && now - s.born >= last_minute);
        if old && !core::mem::replace(&mut self.sent_last_minute_handshake, true) {
            self.start_handshake(now, wire);
        }
        self.authenticated_received(now);
        if !packet.is_empty() {
            if self.timers[Timer::Keepalive as usize].is_none() {
                self.arm(Timer::Keepalive, now, KEEPALIVE_TIMEOUT);
            } else {
                self.need_another_keepalive = true;
            }
            wire.deliver(&self.key, packet);
        }
        // Last, so that it counts as the answer to what has just come.
        if confirmed.is_some() {
            self.flush(now, wire);
        }
    }

    fn handshake_complete(&mut self) {
        self.timers[Timer::Retransmit as usize] = None;
        self.attempts = 0;
        self.sent_last_minute_handshake = false;
        self.last_handshake = Some(SystemTime::now());
    }

    fn authenticated_sent(&mut self, now: Instant) {
        self.timers[Timer::Keepalive as usize] = None;
        self.traversal(now);
    }

    fn authenticated_received(&mut self, now: Instant) {
        self.timers[Timer::NewHandshake as usize] = None;
        self.traversal(now);
    }

    fn traversal(&mut self, now: Instant) {
        if self.keepalive > 0 {
            self.arm(Timer::PersistentKeepalive, now, Duration::from_secs(self.keepalive.into()));
        }
    }

    fn arm(&mut self, timer: Timer, now: Instant, after: Duration) {
        self.timers[timer as usize] = Some(now + after);
    }

    /// 0 to 333 ms: two ends that started together do not stay together.
    fn jitter(&mut self) -> Duration {
        self.jitter_count += 1;
        Duration::from_millis(self.jitter.hash_one(self.jitter_count) % REKEY_TIMEOUT_JITTER_MS)
    }

    /// `Tunn` reads the clock only in `update_timers`, which also wants to act. In a buffer of this size an
    /// initiation does not fit, so it leaves its state as it is; a keepalive fits, and is thrown away.
    fn refresh_clock(&mut self) {
        let _ = self.tunn.update_timers(&mut [0; 64]);
    }
}

const COOKIE_LENGTH: usize = 64;

fn new_tunn(private: &Key, key: Key, preshared: Key, index: u32, limiter: &Arc<RateLimiter>) -> Tunn {
    let preshared = (!preshared.is_zero()).then_some(preshared.0);
    let (private, key) = (StaticSecret::from(private.0), PublicKey::from(key.0));
    Tunn::new(private, key, preshared, None, index, Some(Arc::clone(limiter)))
}

fn index_at(datagram: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(datagram.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests;
