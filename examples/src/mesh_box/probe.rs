//! The measuring instrument inside a node: do packets reach every peer and come back, and how much does the daemon
//! say?
//!
//! **Echoes.** An ICMP echo request to a peer's mesh address every 20 ms until it is answered. The other end's kernel
//! answers, no program of ours is in the way. As long as a pair has no WireGuard session such a request would itself
//! make WireGuard initiate, so by default a peer is asked only after its interface shows a handshake, or after a
//! datagram of its daemon came out of the tunnel. With early traffic it is asked from the start: what an impatient
//! user does. Where a mesh is to recover without any user's traffic, a peer is asked only after WireGuard has received
//! something from it: then the path is there, and the question does not make it.
//!
//! **Pings.** Echo requests at a steady rate, whatever is answered: what a user sees of a mesh to which something is done.
//!
//! **Gossip.** A packet socket counts the UDP payload that leaves from the gossip port, on every interface: what goes
//! into the tunnel is seen before encryption, beacons on the wan as they are. Packets to ourselves are left out.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::key::Key;
use super::protocol::{Event, Pings, Probing};
use crate::mesh_box::wireguard::PeerStatus;

/// How often an echo is asked for.
const PERIOD: Duration = Duration::from_millis(20);
const ETH_P_ALL: u16 = 3;
/// Marks our echo requests.
const ECHO_ID: u16 = 0x6d62;
/// Marks our pings.
const PING_ID: u16 = 0x6d63;

/// One of classic BPF: code, jumps, operand.
pub(super) type Instruction = (u16, u8, u8, u32);

/// A peer and how far it is.
struct Target {
    other: usize,
    key: Key,
    address: IpAddr,
    state: State,
    /// Its answers to pings, by their numbers.
    pinged: Vec<bool>,
}

/// Pings to everybody.
struct Pinging {
    period: Duration,
    next: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// No sign of a session yet.
    Silent,
    /// Nothing heard from it: the interface had received so many bytes, if it had been looked at.
    Unheard(Option<u64>),
    /// Being asked, next at this time.
    Asking(Instant),
    Answered,
}

impl State {
    /// Whether it is asked nothing until there is a sign of it.
    const fn is_waiting(self) -> bool {
        matches!(self, Self::Silent | Self::Unheard(_))
    }

    /// After a look at what WireGuard says of the peer.
    const fn after_look(self, now: Instant, peer: Option<&PeerStatus>) -> Self {
        match (self, peer) {
            (Self::Silent, Some(peer)) if !peer.last_handshake.is_zero() => Self::Asking(now),
            (Self::Unheard(None), Some(peer)) => Self::Unheard(Some(peer.rx_bytes)),
            (Self::Unheard(None), None) => Self::Unheard(Some(0)),
            (Self::Unheard(Some(before)), Some(peer)) if peer.rx_bytes > before => Self::Asking(now),
            // A peer that was removed and added again counts from zero.
            (Self::Unheard(Some(before)), Some(peer)) if peer.rx_bytes < before => {
                if peer.rx_bytes > 0 {
                    Self::Asking(now)
                } else {
                    Self::Unheard(Some(0))
                }
            }
            (state, _) => state,
        }
    }
}

/// See the module.
pub(crate) struct Prober {
    echo: Socket,
    capture: Socket,
    own: Vec<IpAddr>,
    v6: bool,
    targets: Vec<Target>,
    active: bool,
    /// Told apart by this, an echo from before the last start is not taken for one of now.
    epoch: u32,
    next_look: Instant,
    pinging: Option<Pinging>,
    pub(crate) gossip_bytes: u64,
    pub(crate) gossip_packets: u64,
}

impl Prober {
    /// Opens both sockets, in the node's network namespace.
    pub(crate) fn open(
        mesh: IpAddr,
        own: Vec<IpAddr>,
        gossip_port: u16,
        others: &[(usize, Key, IpAddr)],
    ) -> io::Result<Self> {
        let v6 = mesh.is_ipv6();
        let echo = if v6 {
            Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?
        } else {
            Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?
        };
        echo.set_nonblocking(true)?;
        let capture = open_capture(&gossip_filter(gossip_port))?;
        let targets = others
            .iter()
            .map(|&(other, key, address)| Target {
                other,
                key,
                address,
                state: State::Silent,
                pinged: Vec::new(),
            })
            .collect();
        Ok(Self {
            echo,
            capture,
            own,
            v6,
            targets,
            active: false,
            epoch: 0,
            next_look: Instant::now(),
            pinging: None,
            gossip_bytes: 0,
            gossip_packets: 0,
        })
    }

    /// The descriptors to wait for.
    pub(crate) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.echo.as_fd(), self.capture.as_fd()]
    }

    /// Starts over.
    pub(crate) fn start(&mut self, now: Instant, probing: &Probing) {
        self.active = true;
        self.epoch += 1;
        self.next_look = now;
        for target in &mut self.targets {
            target.state = match probing {
                Probing::AtOnce => State::Asking(now),
                Probing::WhenHeard(others) if others.contains(&target.other) => State::Unheard(None),
                Probing::WithSession | Probing::WhenHeard(_) => State::Silent,
            };
        }
    }

    pub(crate) fn stop(&mut self) {
        self.active = false;
    }

    /// Pings every peer so often from now on; `None`: no more. What was counted before is forgotten when it begins.
    pub(crate) fn ping(&mut self, now: Instant, period: Option<Duration>) {
        if period.is_some() {
            self.targets.iter_mut().for_each(|target| target.pinged.clear());
        }
        self.pinging = period.map(|period| Pinging { period, next: now });
    }

    /// How the pings to each peer went.
    pub(crate) fn pings(&self) -> impl Iterator<Item = (usize, Pings)> {
        let count = |answers: usize| u32::try_from(answers).unwrap_or(u32::MAX);
        self.targets.iter().map(move |target| {
            let answered = target.pinged.iter().filter(|answered| **answered).count();
            (target.other, Pings { sent: count(target.pinged.len()), answered: count(answered) })
        })
    }

    /// Replaces the addresses of this node.
    pub(crate) fn set_own(&mut self, own: Vec<IpAddr>) {
        self.own = own;
    }

    /// When there is something to do without input.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let mut next = self.pinging.as_ref().map(|pinging| pinging.next);
        if !self.active {
            return next;
        }
        for target in &self.targets {
            let due = match target.state {
                State::Silent | State::Unheard(_) => self.next_look,
                State::Asking(due) => due,
                State::Answered => continue,
            };
            next = Some(next.map_or(due, |next: Instant| next.min(due)));
        }
        next
    }

    /// Whether it wants to know what WireGuard says now; it then wants to be told by [`Prober::handle_peers`].
    pub(crate) fn wants_peers(&self, now: Instant) -> bool {
        self.active && self.next_look <= now && self.targets.iter().any(|target| target.state.is_waiting())
    }

    /// Takes in what WireGuard says; nothing where the interface is gone.
    pub(crate) fn handle_peers(&mut self, now: Instant, peers: &[PeerStatus]) {
        // With many peers the answer is long: rarer then, so that looking costs a few percent at most.
        let pause = Duration::from_millis(2 * self.targets.len() as u64);
        // Nor need it be soon where the wait is for a keepalive.
        let idle = self.targets.iter().any(|target| matches!(target.state, State::Unheard(_)));
        let least = Duration::from_millis(if idle { 100 } else { 10 });
        self.next_look = now + pause.clamp(least, Duration::from_millis(200));
        for target in &mut self.targets {
            let peer = peers.iter().find(|peer| peer.key == target.key);
            target.state = target.state.after_look(now, peer);
        }
    }

    /// Sends the echo requests that are due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        // Late, all that are due go out: so many seconds, so many pings.
        while let Some(pinging) = self.pinging.as_mut().filter(|pinging| pinging.next <= now) {
            pinging.next += pinging.period;
            for target in &mut self.targets {
                let number = u32::try_from(target.pinged.len()).unwrap_or(u32::MAX);
                let request = echo_request(self.v6, PING_ID, number, target.other);
                // One that does not go out is lost.
                let _ = self.echo.send_to(&request, &SocketAddr::new(target.address, 0).into());
                target.pinged.push(false);
            }
        }
        if !self.active {
            return;
        }
        for target in &mut self.targets {
            let State::Asking(due) = target.state else {
                continue;
            };
            if due <= now {
                let request = echo_request(self.v6, ECHO_ID, self.epoch, target.other);
                // No route while the interface is gone, no endpoint yet: ask again.
                let _ = self.echo.send_to(&request, &SocketAddr::new(target.address, 0).into());
                target.state = State::Asking(now + PERIOD);
            }
        }
    }

    /// Reads what came in; returns the echoes of peers that had not answered before.
    pub(crate) fn handle_input(&mut self, now: Instant) -> Vec<Event> {
        let mut buffer = [0; 512];
        let mut events = Vec::new();
        while let Ok(length) = self.echo.read(&mut buffer) {
            let Some((id, number, other)) = echo_reply(self.v6, &buffer[..length]) else {
                continue;
            };
            let target = self.targets.iter_mut().find(|target| target.other == other);
            if id == PING_ID {
                let of_number = usize::try_from(number).unwrap_or(usize::MAX);
                if let Some(answered) = target.and_then(|target| target.pinged.get_mut(of_number)) {
                    *answered = true;
                }
                continue;
            }
            let epoch = number;
            if let Some(target) = target
                && self.active
                && epoch == self.epoch
                && target.state != State::Answered
            {
                target.state = State::Answered;
                events.push(Event::Echo { other, at_ns: monotonic_ns() });
            }
        }
        while let Ok(length) = self.capture.read(&mut buffer) {
            let Some(gossip) = gossip(&buffer[..length]) else {
                continue;
            };
            if self.own.contains(&gossip.destination) && self.own.contains(&gossip.source) {
                continue;
            }
            if self.own.contains(&gossip.source) {
                self.gossip_bytes += gossip.payload;
                self.gossip_packets += 1;
                continue;
            }
            let from = |target: &&mut Target| target.address == gossip.source;
            if let Some(target) = self.targets.iter_mut().find(from)
                && self.active
                && target.state.is_waiting()
            {
                target.state = State::Asking(now);
            }
        }
        events
    }
}

/// CLOCK_MONOTONIC in nanoseconds.
pub(crate) fn monotonic_ns() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the box does not run on MIPS")]
    let time = clock_gettime(ClockId::Monotonic);
    // Both are positive: the clock starts with the machine.
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// A packet socket for what passes this filter, on all interfaces.
pub(super) fn open_capture(filter: &[Instruction]) -> io::Result<Socket> {
    let protocol = Protocol::from(i32::from(ETH_P_ALL.to_be()));
    let capture = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))?;
    let filter: Vec<_> = filter.iter().map(|&(code, yes, no, k)| SockFilter::new(code, yes, no, k)).collect();
    capture.attach_filter(&filter)?;
    capture.set_nonblocking(true)?;
    Ok(capture)
}

/// One of ours: its number is the epoch, or that of the ping.
fn echo_request(v6: bool, id: u16, number: u32, other: usize) -> Vec<u8> {
    let mut message = vec![if v6 { 128 } else { 8 }, 0, 0, 0];
    message.extend_from_slice(&id.to_be_bytes());
    message.extend_from_slice(&[0, 0]);
    message.extend_from_slice(&number.to_be_bytes());
    message.extend_from_slice(&u32::try_from(other).unwrap_or(u32::MAX).to_be_bytes());
    if !v6 {
        // For ICMPv6 the kernel does it, as it needs the addresses.
        let sum: u32 =
            message.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = !u16::try_from((sum >> 16) + (sum & 0xffff)).unwrap_or(0);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    message
}

/// The identifier, the number and the peer of a reply to one of our requests. IPv4 raw sockets give the IP header too.
fn echo_reply(v6: bool, packet: &[u8]) -> Option<(u16, u32, usize)> {
    let start = if v6 { 0 } else { usize::from(packet.first()? & 15) * 4 };
    let message = packet.get(start..)?;
    let kind = if v6 { 129 } else { 0 };
    let id = u16::from_be_bytes(message.get(4..6)?.try_into().ok()?);
    if *message.first()? != kind || ![ECHO_ID, PING_ID].contains(&id) {
        return None;
    }
    let number = |at: usize| Some(u32::from_be_bytes(message.get(at..at + 4)?.try_into().ok()?));
    Some((id, number(8)?, usize::try_from(number(12)?).ok()?))
}

/// A datagram from somebody's gossip port.
struct Gossip {
    source: IpAddr,
    destination: IpAddr,
    payload: u64,
}

fn gossip(packet: &[u8]) -> Option<Gossip> {
    let v4 = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
    let v6 = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
    let (source, destination, udp) =
        if packet.first()? >> 4 == 4 { (v4(12)?, v4(16)?, 20) } else { (v6(8)?, v6(24)?, 40) };
    let length = u16::from_be_bytes(packet.get(udp + 4..udp + 6)?.try_into().ok()?);
    Some(Gossip { source, destination, payload: u64::from(length).checked_sub(8)? })
}

/// Lets UDP from this source port through, over IPv4 without options or IPv6 without extension headers, and nothing
/// else: the node's process sleeps while users' packets pass.
pub(super) fn gossip_filter(port: u16) -> [Instruction; 13] {
    // Classic BPF: load byte 0x30, load half word 0x28, and 0x54, jump if equal 0x15, return 0x06.
    let load_byte = |at| (0x30, 0, 0, at);
    let load_half = |at| (0x28, 0, 0, at);
    let jump = |value, yes, no| (0x15, yes, no, value);
    let port = u32::from(port);
    [
        load_byte(0),
        (0x54, 0, 0, 0xf0),
        jump(0x40, 0, 4),
        load_byte(9),
        jump(17, 0, 7),
        load_half(20),
        jump(port, 4, 5),
        load_byte(6),
        jump(17, 0, 3),
        load_half(40),
        jump(port, 0, 1),
        (0x06, 0, 0, 512),
        (0x06, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs classic BPF as far as our filter uses it.
    fn passes(port: u16, packet: &[u8]) -> bool {
        let program = gossip_filter(port);
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let (code, yes, no, k) = program[at];
            at += 1;
            match code {
                0x30 => accumulator = u32::from(packet[k as usize]),
                0x28 => {
                    accumulator = u32::from(u16::from_be_bytes([packet[k as usize], packet[k as usize + 1]]))
                }
                0x54 => accumulator &= k,
                0x15 => at += usize::from(if accumulator == k { yes } else { no }),
                _ => return k > 0,
            }
        }
    }

    #[test]
    fn the_filter_passes_gossip_only() {
        let mut v4 = vec![0; 40];
        v4[0] = 0x45;
        v4[9] = 17;
        v4[20..22].copy_from_slice(&1666_u16.to_be_bytes());
        assert!(passes(1666, &v4));
        assert!(!passes(1667, &v4));
        v4[9] = 6;
        assert!(!passes(1666, &v4));
        let mut v6 = vec![0; 60];
        v6[0] = 0x60;
        v6[6] = 17;
        v6[40..42].copy_from_slice(&1666_u16.to_be_bytes());
        assert!(passes(1666, &v6));
        v6[6] = 58;
        assert!(!passes(1666, &v6));
        assert!(!passes(1666, &[0; 60]));
    }

    #[test]
    fn a_quiet_peer_is_asked_when_it_has_been_heard() {
        let now = Instant::now();
        let peer = |rx_bytes| PeerStatus {
            key: Key([1; 32]),
            endpoint: None,
            last_handshake: Duration::from_secs(1),
            rx_bytes,
            tx_bytes: 0,
            keepalive: 25,
            allowed_ips: Vec::new(),
        };
        let after = |looks: &[Option<u64>]| {
            looks.iter().fold(State::Unheard(None), |state, rx_bytes| {
                state.after_look(now, rx_bytes.map(peer).as_ref())
            })
        };
        assert!(after(&[Some(500), Some(500), None]) == State::Unheard(Some(500)));
        assert!(after(&[Some(500), Some(532)]) == State::Asking(now));
        assert!(after(&[Some(500), Some(0)]) == State::Unheard(Some(0)));
        assert!(after(&[Some(500), Some(0), Some(92)]) == State::Asking(now));
        assert!(after(&[None, Some(148)]) == State::Asking(now));
        assert!(State::Silent.after_look(now, Some(&peer(0))) == State::Asking(now));
    }

    #[test]
    fn a_reply_is_known_again() {
        let mut reply = vec![0x45; 20];
        let mut message = echo_request(false, ECHO_ID, 3, 40);
        let sum: u32 = message.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        assert_eq!((sum >> 16) + (sum & 0xffff), 0xffff, "a right checksum sums up to all ones");
        assert_eq!(echo_reply(false, &[&reply[..], &message].concat()), None, "a request is no reply");
        message[0] = 0;
        reply.extend_from_slice(&message);
        assert_eq!(echo_reply(false, &reply), Some((ECHO_ID, 3, 40)));
        let mut message = echo_request(true, PING_ID, 7, 1);
        message[0] = 129;
        assert_eq!(echo_reply(true, &message), Some((PING_ID, 7, 1)));
        assert_eq!(echo_reply(true, &message[..9]), None);
    }
}
