//! The device: configuration, packets in and out, timers.

use core::cmp::Reverse;
use core::net::SocketAddr;
use std::collections::{BinaryHeap, VecDeque};

use embassy_time::{Duration, Instant};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use rustc_hash::FxHashMap as HashMap;

use super::allowed_ips::AllowedIps;
use super::message::{
    self, DATA_OVERHEAD, Data, INITIATION, Initiation, Message, RESPONSE, Response, Timestamp,
};
use super::peer::{HandshakeState, Keypair, NEVER, Peer, PeerChange, PeerInfo, Timer, WallClock};
use super::{
    AllowedIp, INITIATION_FLOOD, KEEPALIVE_TIMEOUT, Key, MAX_STAGED_PACKETS, MAX_TRIES, REJECT_AFTER_TIME,
    REKEY_AFTER_TIME, REKEY_TIMEOUT, REKEY_TIMEOUT_JITTER,
};
use crate::virtual_internet::ip;
use crate::virtual_internet::random::up_to;

#[cfg(test)]
mod tests;

/// What a device wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// Send a datagram from the device's port.
    Send {
        /// Where to.
        to: SocketAddr,
        /// What.
        datagram: Vec<u8>,
    },
    /// An IP packet came out of the tunnel.
    Deliver {
        /// From this peer; the packet's source is one of its allowed IPs.
        peer: Key,
        /// The packet, without padding.
        packet: Vec<u8>,
    },
}

/// Why a packet did not go into the tunnel. The kernel's error is in parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendError {
    /// Not an IP packet.
    NotIp,
    /// No peer has the destination among its allowed IPs (ENOKEY).
    NoRoute,
    /// The peer has no endpoint (EDESTADDRREQ). Nothing was queued and no clock was stamped.
    NoEndpoint,
    /// The interface is down.
    Down,
}

/// Counters that a real device does not show; tests and simulations do with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Initiations that left.
    pub initiations_sent: u64,
    /// Responses that left.
    pub responses_sent: u64,
    /// Initiations not made because one left, or a response did, less than 5 s before.
    pub initiations_suppressed: u64,
    /// Initiations refused because their timestamp was not newer.
    pub replays: u64,
    /// Initiations refused because another came less than 20 ms before.
    pub floods: u64,
    /// Handshake messages refused for any other reason: not for us, of nobody we know, to no handshake of ours.
    pub invalid_handshakes: u64,
    /// Data messages refused: no such session, too old, seen before, or from an address that is not the peer's.
    pub invalid_data: u64,
    /// Datagrams that are no WireGuard message.
    pub unknown: u64,
    /// Packets that were waiting for a session and were dropped: the queue was full, or the tries were over.
    pub staged_dropped: u64,
}

/// A WireGuard interface with its socket, as a state machine.
///
/// * **Getters**: [`peers`](Self::peers), [`peer`](Self::peer), [`counters`](Self::counters).
/// * **In**: [`handle_datagram`](Self::handle_datagram) from the underlay, [`send`](Self::send) from the host.
/// * **Commands**: [`configure`](Self::configure), [`set_up`](Self::set_up), [`set_wall_clock`](Self::set_wall_clock).
/// * **Out**: [`poll`](Self::poll) until it gives `None`, after each of the above and when
///   [`poll_timeout`](Self::poll_timeout) has come. Calling it early is harmless. Time must not run backwards; the
///   wall clock may.
#[derive(Clone, Debug)]
pub struct Device {
    key: Key,
    listen_port: u16,
    up: bool,
    rng: ChaCha8Rng,
    /// Wall clock minus `Instant`, µs.
    wall_offset: i64,
    peers: Vec<Option<Peer>>,
    free: Vec<u16>,
    by_key: HashMap<Key, u16>,
    allowed_ips: AllowedIps,
    /// Upper half of the next session index; the lower half is the peer's slot.
    generation: u16,
    /// At most one live entry per peer, under [`Peer::scheduled`]; others are stale and skipped.
    timers: BinaryHeap<Reverse<(u64, u16)>>,
    out: VecDeque<Out>,
    counters: Counters,
}

/// 2026-01-01.
const DEFAULT_WALL_CLOCK: i64 = 1_767_225_600_000_000;

impl Device {
    /// An interface without peers, up. All chance comes from `seed`. Its wall clock says 2026-01-01 at time 0.
    #[must_use]
    pub fn new(public_key: Key, listen_port: u16, seed: u64) -> Self {
        Self {
            key: public_key,
            listen_port,
            up: true,
            rng: ChaCha8Rng::seed_from_u64(seed),
            wall_offset: DEFAULT_WALL_CLOCK,
            peers: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::default(),
            allowed_ips: AllowedIps::default(),
            generation: 0,
            timers: BinaryHeap::new(),
            out: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    // Getters

    /// Its public key.
    #[must_use]
    pub const fn public_key(&self) -> &Key {
        &self.key
    }

    /// The port of its socket.
    #[must_use]
    pub const fn listen_port(&self) -> u16 {
        self.listen_port
    }

    /// All peers.
    pub fn peers(&self) -> impl Iterator<Item = PeerInfo<'_>> {
        self.peers.iter().flatten().map(Self::info)
    }

    /// One peer.
    #[must_use]
    pub fn peer(&self, key: &Key) -> Option<PeerInfo<'_>> {
        let slot = *self.by_key.get(key)?;
        self.peers.get(usize::from(slot))?.as_ref().map(Self::info)
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What its wall clock shows.
    #[must_use]
    pub fn wall_clock(&self, now: Instant) -> WallClock {
        let micros = (now.as_micros() as i64).saturating_add(self.wall_offset).max(0) as u64;
        WallClock { secs: micros / 1_000_000, nanos: (micros % 1_000_000) as u32 * 1000 }
    }

    fn info(peer: &Peer) -> PeerInfo<'_> {
        PeerInfo {
            key: peer.key,
            endpoint: peer.endpoint,
            rx_bytes: peer.rx_bytes,
            tx_bytes: peer.tx_bytes,
            last_handshake: peer.last_handshake,
            keepalive: peer.keepalive,
            allowed_ips: &peer.allowed_ips,
            preshared_key: peer.preshared_key.as_deref().copied(),
            initiations_sent: peer.initiations_sent,
            has_session: peer.keypairs.current.as_ref().is_some_and(|k| k.may_send),
        }
    }

    // Commands

    /// Applies changes to peers, in order, as one netlink message does.
    ///
    /// A change of our own key is ignored. Whatever the change, packets that wait for a session make the device try
    /// an initiation; a persistent keepalive switched on from 0 sends a keepalive at once.
    ///
    /// # Panics
    /// With more than 65,536 peers.
    pub fn configure(&mut self, now: Instant, changes: &[PeerChange]) {
        for change in changes {
            self.change(now.as_micros(), change);
        }
    }

    /// Takes the interface down or up. Down, all sessions and waiting packets go; peers stay.
    pub fn set_up(&mut self, now: Instant, up: bool) {
        if self.up == up {
            return;
        }
        self.up = up;
        for slot in self.slots() {
            let peer = self.at(slot);
            if up {
                let keepalive = peer.keepalive != 0;
                self.send_staged(now.as_micros(), slot);
                if keepalive {
                    self.send_keepalive(now.as_micros(), slot);
                }
            } else {
                peer.staged.clear();
                peer.timers = [NEVER; 5];
                peer.forget_keys();
                peer.last_sent_handshake = None;
            }
        }
    }

    /// Sets the host's wall clock, forwards or backwards.
    pub const fn set_wall_clock(&mut self, now: Instant, wall: WallClock) {
        let micros = wall.secs.saturating_mul(1_000_000) as i64 + (wall.nanos / 1000) as i64;
        self.wall_offset = micros.saturating_sub(now.as_micros() as i64);
    }

    /// Moves the socket to another port.
    pub const fn set_listen_port(&mut self, port: u16) {
        self.listen_port = port;
    }

    // In

    /// An IP packet from the host, to be sent to whose address it is for.
    ///
    /// # Errors
    /// Why it was not even queued. `Ok` means that it was sent, or waits for a session.
    pub fn send(&mut self, now: Instant, packet: Vec<u8>) -> Result<(), SendError> {
        let (_, to, _) = ip::addresses(&packet).ok_or(SendError::NotIp)?;
        if !self.up {
            return Err(SendError::Down);
        }
        let slot = self.allowed_ips.lookup(to).ok_or(SendError::NoRoute)?;
        let peer = self.at(slot);
        if peer.endpoint.is_none() {
            return Err(SendError::NoEndpoint);
        }
        let mut dropped = 0;
        while peer.staged.len() > MAX_STAGED_PACKETS {
            peer.staged.pop_front();
            dropped += 1;
        }
        peer.staged.push_back(packet);
        self.counters.staged_dropped += dropped;
        self.send_staged(now.as_micros(), slot);
        Ok(())
    }

    /// As [`send`](Self::send), of a UDP datagram between mesh addresses.
    ///
    /// # Errors
    /// As `send`; [`SendError::NotIp`] also when the families differ or the payload is too long.
    pub fn send_udp(
        &mut self,
        now: Instant,
        src: SocketAddr,
        dst: SocketAddr,
        payload: &[u8],
    ) -> Result<(), SendError> {
        self.send(now, ip::udp(src, dst, payload).ok_or(SendError::NotIp)?)
    }

    /// A datagram that arrived at the device's port.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        if !self.up {
            return;
        }
        let now = now.as_micros();
        match message::decode(datagram) {
            Some(Message::Initiation(initiation)) => self.initiation_arrived(now, from, &initiation),
            Some(Message::Response(response)) => self.response_arrived(now, from, &response),
            Some(Message::Data(data)) => self.data_arrived(now, from, &data),
            None => self.counters.unknown += 1,
        }
    }

    // Out

    /// When `poll` has something to do next, if nothing comes in. May be too early, never too late.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.out.is_empty() {
            return Some(Instant::MIN);
        }
        self.timers.peek().map(|Reverse((at, _))| Instant::from_micros(*at))
    }

    /// Fires the timers that are due and gives the next thing to do.
    #[must_use]
    pub fn poll(&mut self, now: Instant) -> Option<Out> {
        self.fire(now.as_micros());
        self.out.pop_front()
    }

    // Configuration

    fn change(&mut self, now: u64, change: &PeerChange) {
        let known = self.by_key.get(&change.key).copied();
        if change.remove {
            if let Some(slot) = known {
                self.remove(slot);
            }
            return;
        }
        let slot = match known {
            Some(slot) => slot,
            None if change.update_only || change.key == self.key => return,
            None => self.add(change.key),
        };
        if let Some(key) = change.preshared_key {
            self.at(slot).preshared_key = (key != [0; 32]).then(|| Box::new(key));
        }
        if change.endpoint.is_some() {
            self.at(slot).endpoint = change.endpoint;
        }
        if change.replace_allowed_ips {
            for range in core::mem::take(&mut self.at(slot).allowed_ips) {
                self.allowed_ips.remove(range, slot);
            }
        }
        for range in &change.allowed_ips {
            self.allow(slot, *range);
        }
        if let Some(keepalive) = change.keepalive {
            let before = core::mem::replace(&mut self.at(slot).keepalive, keepalive);
            if before == 0 && keepalive != 0 && self.up {
                self.send_keepalive(now, slot);
            }
        }
        if self.up {
            self.send_staged(now, slot);
        }
    }

    fn add(&mut self, key: Key) -> u16 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.peers.push(None);
            u16::try_from(self.peers.len() - 1).expect("at most 65536 peers")
        });
        self.peers[usize::from(slot)] = Some(Peer::new(key));
        self.by_key.insert(key, slot);
        slot
    }

    fn remove(&mut self, slot: u16) {
        let Some(peer) = self.peers[usize::from(slot)].take() else {
            return;
        };
        for range in peer.allowed_ips {
            self.allowed_ips.remove(range, slot);
        }
        self.by_key.remove(&peer.key);
        self.free.push(slot);
    }

    fn allow(&mut self, slot: u16, range: AllowedIp) {
        if let Some(other) = self.allowed_ips.insert(range, slot) {
            self.at(other).allowed_ips.retain(|own| !AllowedIps::same(*own, range));
        }
        let ranges = &mut self.at(slot).allowed_ips;
        if !ranges.iter().any(|own| AllowedIps::same(*own, range)) {
            ranges.push(range);
        }
    }

    fn slots(&self) -> Vec<u16> {
        (0..=u16::MAX).zip(&self.peers).filter(|(_, peer)| peer.is_some()).map(|(slot, _)| slot).collect()
    }

    /// The peer in a slot that is in use.
    fn at(&mut self, slot: u16) -> &mut Peer {
        self.peers[usize::from(slot)].as_mut().expect("slots come from tables that know live peers only")
    }

    // Messages in

    fn initiation_arrived(&mut self, now: u64, from: SocketAddr, initiation: &Initiation) {
        let slot = match self.by_key.get(&initiation.initiator) {
            Some(slot) if initiation.responder == self.key => *slot,
            _ => {
                self.counters.invalid_handshakes += 1;
                return;
            }
        };
        let handshake = &mut self.at(slot).handshake;
        if initiation.timestamp <= handshake.latest_timestamp {
            self.counters.replays += 1;
            return;
        }
        if handshake.last_consumed.is_some_and(|last| now < last + INITIATION_FLOOD.as_micros()) {
            self.counters.floods += 1;
            return;
        }
        handshake.latest_timestamp = initiation.timestamp;
        handshake.last_consumed = Some(now);
        self.at(slot).endpoint = Some(from);
        self.send_response(now, slot, initiation);
        self.received(now, slot, INITIATION);
    }

    fn response_arrived(&mut self, now: u64, from: SocketAddr, response: &Response) {
        let slot = response.receiver as u16;
        let ours = self.peers.get(usize::from(slot)).and_then(Option::as_ref).is_some_and(|peer| {
            peer.handshake.state == HandshakeState::CreatedInitiation
                && peer.handshake.index == response.receiver
                && peer.handshake.ephemeral == response.initiator_ephemeral
                && preshared_digest(peer) == response.preshared
        });
        if !ours {
            self.counters.invalid_handshakes += 1;
            return;
        }
        let peer = self.at(slot);
        peer.endpoint = Some(from);
        peer.handshake.state = HandshakeState::Zeroed;
        let session = session_of(response.initiator_ephemeral, response.ephemeral, response.preshared);
        peer.keypairs.add(Keypair::new(response.receiver, response.sender, session, now, true));
        self.session_derived(now, slot);
        self.handshake_complete(now, slot);
        // Before what is sent now: packets are encrypted and sent by other threads, which are not that fast. So first
        // data that is not answered makes a new handshake, as any does.
        self.received(now, slot, RESPONSE);
        // Sends what waits, or else a keepalive: the responder may not send before it has heard one.
        self.send_keepalive(now, slot);
    }

    fn data_arrived(&mut self, now: u64, from: SocketAddr, data: &Data<'_>) {
        let slot = data.receiver as u16;
        let accepted = self
            .peers
            .get_mut(usize::from(slot))
            .and_then(Option::as_mut)
            .and_then(|peer| peer.keypairs.find(data.receiver))
            .is_some_and(|keypair| {
                keypair.session == data.session
                    && !has_passed(now, keypair.birth, REJECT_AFTER_TIME)
                    && keypair.accept(data.counter)
            });
        if !accepted {
            self.counters.invalid_data += 1;
            return;
        }
        let peer = self.at(slot);
        peer.endpoint = Some(from);
        let confirmed = peer.keypairs.confirm(data.receiver);
        if confirmed {
            self.handshake_complete(now, slot);
        }
        self.refresh_before_the_end(now, slot);
        let length = data.payload.len() + DATA_OVERHEAD;
        if data.payload.is_empty() {
            self.received(now, slot, length);
        } else {
            self.received(now, slot, 0);
            self.data_received(now, slot);
            self.deliver(slot, data, length);
        }
        // Last, for the reason given at a response: what is sent now answers what has just come.
        if confirmed {
            self.send_staged(now, slot);
        }
    }

    /// Lets a packet out of the tunnel if it comes from one of the peer's addresses.
    fn deliver(&mut self, slot: u16, data: &Data<'_>, length: usize) {
        match ip::addresses(data.payload) {
            Some((src, _, end)) if self.allowed_ips.lookup(src) == Some(slot) => {
                let peer = self.at(slot);
                peer.rx_bytes += length as u64;
                let deliver = Out::Deliver { peer: peer.key, packet: data.payload[..end].to_vec() };
                self.out.push_back(deliver);
            }
            _ => self.counters.invalid_data += 1,
        }
    }

    // Messages out

    /// An initiation, unless a handshake message left for the peer within 5 s. This is the only way to one.
    fn initiate(&mut self, now: u64, slot: u16, is_retry: bool) {
        let peer = self.at(slot);
        if !is_retry {
            peer.attempts = 0;
        }
        if peer.last_sent_handshake.is_some_and(|last| !has_passed(now, last, REKEY_TIMEOUT)) {
            // A retransmission that ends here is not armed again.
            self.counters.initiations_suppressed += 1;
            return;
        }
        peer.last_sent_handshake = Some(now);
        let responder = peer.key;
        let ephemeral = self.rng.next_u64();
        let timestamp = self.timestamp(now);
        let index = self.new_index(slot);
        let initiation = Initiation { sender: index, responder, initiator: self.key, ephemeral, timestamp };
        let peer = self.at(slot);
        peer.handshake.state = HandshakeState::CreatedInitiation;
        peer.handshake.index = index;
        peer.handshake.ephemeral = ephemeral;
        self.traversed(now, slot);
        self.at(slot).unset(Timer::SendKeepalive);
        if self.transmit(slot, initiation.encode()) {
            self.counters.initiations_sent += 1;
            self.at(slot).initiations_sent += 1;
        }
        let retry = REKEY_TIMEOUT + self.jitter();
        self.arm(slot, Timer::Retransmit, now + retry.as_micros());
    }

    fn send_response(&mut self, now: u64, slot: u16, initiation: &Initiation) {
        let index = self.new_index(slot);
        let ephemeral = self.rng.next_u64();
        let peer = self.at(slot);
        peer.last_sent_handshake = Some(now);
        // One state for both roles: whatever initiation of ours was under way is over.
        peer.handshake.state = HandshakeState::Zeroed;
        let preshared = preshared_digest(peer);
        let session = session_of(initiation.ephemeral, ephemeral, preshared);
        peer.keypairs.add(Keypair::new(index, initiation.sender, session, now, false));
        let response = Response {
            sender: index,
            receiver: initiation.sender,
            initiator_ephemeral: initiation.ephemeral,
            ephemeral,
            preshared,
        };
        self.session_derived(now, slot);
        self.traversed(now, slot);
        self.at(slot).unset(Timer::SendKeepalive);
        if self.transmit(slot, response.encode()) {
            self.counters.responses_sent += 1;
        }
    }

    /// What waits goes out; if nothing does, a keepalive.
    fn send_keepalive(&mut self, now: u64, slot: u16) {
        let peer = self.at(slot);
        if peer.staged.is_empty() {
            peer.staged.push_back(Vec::new());
        }
        self.send_staged(now, slot);
    }

    /// Sends what waits, or tries to get a session for it.
    fn send_staged(&mut self, now: u64, slot: u16) {
        let peer = self.at(slot);
        if peer.staged.is_empty() {
            return;
        }
        let usable = peer.keypairs.current.as_mut().is_some_and(|keypair| {
            keypair.may_send &= !has_passed(now, keypair.birth, REJECT_AFTER_TIME);
            keypair.may_send
        });
        if !usable {
            return self.initiate(now, slot, false);
        }
        let packets = core::mem::take(&mut peer.staged);
        self.traversed(now, slot);
        self.at(slot).unset(Timer::SendKeepalive);
        let mut data_sent = false;
        for packet in packets {
            let Some(keypair) = self.at(slot).keypairs.current.as_mut() else {
                break;
            };
            let (receiver, session) = (keypair.remote_index, keypair.session);
            let counter = keypair.next_counter;
            keypair.next_counter += 1;
            let sent = self.transmit(slot, Data { receiver, counter, session, payload: &packet }.encode());
            data_sent |= sent && !packet.is_empty();
        }
        if data_sent && !self.at(slot).is_set(Timer::NewHandshake) {
            let wait = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + self.jitter();
            self.arm(slot, Timer::NewHandshake, now + wait.as_micros());
        }
        let old = self.at(slot).keypairs.current.as_ref();
        if old.is_some_and(|k| k.may_send && k.initiator && has_passed(now, k.birth, REKEY_AFTER_TIME)) {
            self.initiate(now, slot, false);
        }
    }

    /// False when the peer has no endpoint.
    fn transmit(&mut self, slot: u16, datagram: Vec<u8>) -> bool {
        let peer = self.at(slot);
        let Some(to) = peer.endpoint else {
            return false;
        };
        peer.tx_bytes += datagram.len() as u64;
        self.out.push_back(Out::Send { to, datagram });
        true
    }

    // What follows from a message

    /// An authenticated message of `counted` bytes came in.
    fn received(&mut self, now: u64, slot: u16, counted: usize) {
        let peer = self.at(slot);
        peer.rx_bytes += counted as u64;
        peer.unset(Timer::NewHandshake);
        self.traversed(now, slot);
    }

    /// An authenticated message went out or came in.
    fn traversed(&mut self, now: u64, slot: u16) {
        let keepalive = u64::from(self.at(slot).keepalive);
        if keepalive != 0 {
            self.arm(slot, Timer::PersistentKeepalive, now + keepalive * 1_000_000);
        }
    }

    fn data_received(&mut self, now: u64, slot: u16) {
        let peer = self.at(slot);
        if peer.is_set(Timer::SendKeepalive) {
            peer.need_another_keepalive = true;
        } else {
            self.arm(slot, Timer::SendKeepalive, now + KEEPALIVE_TIMEOUT.as_micros());
        }
    }

    fn session_derived(&mut self, now: u64, slot: u16) {
        self.arm(slot, Timer::ZeroKeys, now + 3 * REJECT_AFTER_TIME.as_micros());
    }

    /// The session is confirmed: on the initiator by the response, on the responder by the first data message.
    fn handshake_complete(&mut self, now: u64, slot: u16) {
        let stamp = self.wall_clock(Instant::from_micros(now));
        let peer = self.at(slot);
        peer.unset(Timer::Retransmit);
        peer.attempts = 0;
        peer.sent_lastminute_handshake = false;
        peer.last_handshake = Some(stamp);
    }

    /// An initiator that only receives makes a new session, once, shortly before the old one ends.
    fn refresh_before_the_end(&mut self, now: u64, slot: u16) {
        let peer = self.at(slot);
        let soon = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT;
        let old = peer.keypairs.current.as_ref();
        if !peer.sent_lastminute_handshake
            && old.is_some_and(|k| k.may_send && k.initiator && has_passed(now, k.birth, soon))
        {
            peer.sent_lastminute_handshake = true;
            self.initiate(now, slot, false);
        }
    }

    // Timers

    fn arm(&mut self, slot: u16, timer: Timer, at: u64) {
        let peer = self.at(slot);
        peer.timers[timer as usize] = at;
        self.schedule(slot);
    }

    /// Sees to it that the queue of timers has the peer's earliest one. Later ones do not move an entry that is
    /// there: it fires early, finds nothing due, and is queued anew.
    fn schedule(&mut self, slot: u16) {
        let peer = self.at(slot);
        let first = peer.timers.into_iter().min().unwrap_or(NEVER);
        if first < peer.scheduled {
            peer.scheduled = first;
            self.timers.push(Reverse((first, slot)));
        }
    }

    fn fire(&mut self, now: u64) {
        while let Some(&Reverse((at, slot))) = self.timers.peek()
            && at <= now
        {
            self.timers.pop();
            let Some(peer) = self.peers[usize::from(slot)].as_mut().filter(|peer| peer.scheduled == at)
            else {
                continue;
            };
            peer.scheduled = NEVER;
            let mut due: Vec<Timer> =
                Timer::ALL.into_iter().filter(|t| peer.timers[*t as usize] <= now).collect();
            due.sort_by_key(|timer| peer.timers[*timer as usize]);
            for timer in due {
                // One that fired before may have unset it.
                if self.at(slot).timers[timer as usize] <= now {
                    self.at(slot).unset(timer);
                    self.expired(now, slot, timer);
                }
            }
            self.schedule(slot);
        }
    }

    fn expired(&mut self, now: u64, slot: u16, timer: Timer) {
        let peer = self.at(slot);
        match timer {
            Timer::Retransmit if peer.attempts + 1 >= MAX_TRIES => {
                peer.unset(Timer::SendKeepalive);
                let dropped = core::mem::take(&mut peer.staged).len() as u64;
                let armed = peer.is_set(Timer::ZeroKeys);
                self.counters.staged_dropped += dropped;
                if !armed {
                    self.session_derived(now, slot);
                }
            }
            Timer::Retransmit => {
                peer.attempts += 1;
                self.initiate(now, slot, true);
            }
            Timer::SendKeepalive => {
                let another = core::mem::take(&mut peer.need_another_keepalive);
                self.send_keepalive(now, slot);
                if another {
                    self.arm(slot, Timer::SendKeepalive, now + KEEPALIVE_TIMEOUT.as_micros());
                }
            }
            Timer::NewHandshake => self.initiate(now, slot, false),
            Timer::ZeroKeys => peer.forget_keys(),
            Timer::PersistentKeepalive => {
                if peer.keepalive != 0 {
                    self.send_keepalive(now, slot);
                }
            }
        }
    }

    // Small things

    /// TAI64N of the wall clock, its nanoseconds rounded down to 2^24 (16.8 ms) as the kernel does.
    fn timestamp(&self, now: u64) -> Timestamp {
        let WallClock { secs, nanos } = self.wall_clock(Instant::from_micros(now));
        let mut out = Timestamp::default();
        out[..8].copy_from_slice(&(secs + (1 << 62) + 10).to_be_bytes());
        out[8..].copy_from_slice(&(nanos & !0x00ff_ffff).to_be_bytes());
        out
    }

    fn new_index(&mut self, slot: u16) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        u32::from(self.generation) << 16 | u32::from(slot)
    }

    fn jitter(&mut self) -> Duration {
        up_to(&mut self.rng, REKEY_TIMEOUT_JITTER)
    }
}

/// Whether at least `age` has passed since `since`; both times in µs.
const fn has_passed(now: u64, since: u64, age: Duration) -> bool {
    since + age.as_micros() <= now
}

/// Stands for what the preshared key does to a session. Not a cryptographic digest, nor need it be.
fn preshared_digest(peer: &Peer) -> u64 {
    peer.preshared_key.as_deref().map_or(0, |key| key.iter().fold(1, |h, byte| mix(h ^ u64::from(*byte))))
}

fn session_of(initiator: u64, responder: u64, preshared: u64) -> u64 {
    mix(mix(mix(initiator) ^ responder) ^ preshared)
}

/// A round of splitmix64.
const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
