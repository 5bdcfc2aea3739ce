//! Two real WireGuard devices and a way between them, in real time: the bench on which the rows of
//! [`crate::virtual_internet::wireguard::rows`] are checked against what they are rows about.
//!
//! Each device is a process in namespaces of its own, as a node of the box is, with a `wan` and a `wg0`. Its process
//! hands over everything that is needed to work with it (the packet end of the wan, a socket in the tunnel, a
//! connection for configuration), so that the thread that runs a row does everything else itself:
//!
//! ```text
//!            ┌──────── machine A ────────┐               ┌──────── machine B ────────┐
//!            │ socket ─ wg0 ─ wan (TUN)  │               │ wan (TUN) ─ wg0 ─ socket  │
//!            └───┬───────┬──────┬────────┘               └──────┬──────┬──────┬──────┘
//!            ping│   UAPI│      ╠═══════ delay, cut, seen ══════╣      │      │heard
//!            ────┴───────┴──────╨─────── one row's thread ──────╨──────┴──────┴────
//! ```
//!
//! That there is one thread is what makes rows exact that say "not before": packets move only while the row lets time
//! pass, so one that is due at 100 ms has not arrived when a row looks at 99 ms, however late the machine woke it up.
//! And as in the model, what a row does takes no time: [`Bench::now`] is when the row last let time pass, so that
//! nothing a device does in answer can seem early. A slow machine makes things late, never early.

mod kernel_uapi;
mod machine;

use core::cell::OnceCell;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration as StdDuration;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::path::Path;

use embassy_time::{Duration, Instant};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_settime};

use self::machine::{Machine, Starting};
use super::error::BoxError;
use super::key::Key;
use super::wireguard::{WireGuardKind, parse_peers};
use crate::virtual_internet::ip;
use crate::virtual_internet::wireguard::rows::{Bench, Dump, Heard, Seen, Side};
use crate::virtual_internet::wireguard::{self as model, AllowedIp, PeerChange, SendError, WallClock, kind};

pub(crate) use self::machine::{WORD, run};

/// How late a busy machine with two processors may be: the 300 ms within which a session must be made, nearly.
const SLACK: Duration = Duration::from_millis(250);
/// The same for the kernel's WireGuard, which is mostly checked in an emulated machine: several times slower.
const SLACK_EMULATED: Duration = Duration::from_millis(800);
/// Set where the machine is ours alone, and so is its wall clock.
const OWN_MACHINE: &str = "WGAUTOMESH_TEST_OWN_MACHINE";
/// What the kernel's WireGuard answers a sender: no peer has this address; the peer has no endpoint.
const ENOKEY: i32 = 126;
const EDESTADDRREQ: i32 = 89;
const FIRST_PORT: u16 = 51820;
/// How many packets are read at once before the clock is looked at again.
const BATCH: usize = 64;
/// A device that does not answer for so long is broken.
const ANSWER_TIMEOUT: StdDuration = StdDuration::from_secs(20);

/// A datagram on its way.
struct Flying {
    due: Instant,
    to: Side,
    packet: Vec<u8>,
}

/// Two devices, A and B, that know nothing of each other. Dropping it ends them.
///
/// The thread that makes it must live as long as it does, as with [`super::Mesh`].
///
/// A device that fails does so in the midst of a row, which cannot say it: ask [`DevicePair::into_failure`] after it.
pub struct DevicePair {
    machines: [Machine; 2],
    /// Zero of the clock.
    start: std::time::Instant,
    now: Instant,
    delay: Duration,
    cut: [bool; 2],
    /// In the order of their times: a row that shortens the delay would otherwise reorder packets.
    flying: VecDeque<Flying>,
    wire: Vec<Seen>,
    heard: Vec<Heard>,
    pings: u32,
    failure: OnceCell<BoxError>,
    /// What the wall clock said when it was set, and when that was.
    wall_clock: Option<(std::time::SystemTime, std::time::Instant)>,
}

impl DevicePair {
    /// Makes both, in some 30 ms. `program` is a binary that begins with [`super::run_if_part`].
    ///
    /// # Errors
    /// [`BoxError::Closed`] where the machine does not allow it; [`BoxError::Node`] where a device does not start or,
    /// being the kernel's, has no configuration socket.
    pub fn new(program: &Path, wireguard: &WireGuardKind) -> Result<Self, BoxError> {
        let start = |side| {
            // Fixed keys: nothing here depends on them.
            let private_key = Key([side as u8 * 8 + 0x40; 32]);
            Starting::spawn(program, wireguard, side, private_key, FIRST_PORT)
        };
        // Both at once, then wait for both.
        let (a, b) = (start(Side::A)?, start(Side::B)?);
        Ok(Self {
            machines: [a.finish()?, b.finish()?],
            start: std::time::Instant::now(),
            now: Instant::MIN,
            delay: Duration::MIN,
            cut: [false; 2],
            flying: VecDeque::new(),
            wire: Vec::new(),
            heard: Vec::new(),
            pings: 0,
            failure: OnceCell::new(),
            wall_clock: None,
        })
    }

    /// Ends it and says what went wrong with a device or the bench itself, if anything did. The row's verdict is then
    /// worth nothing.
    #[must_use]
    pub fn into_failure(mut self) -> Option<BoxError> {
        self.failure.take()
    }

    /// Whether all devices are of this kind.
    fn are(&self, kind: &WireGuardKind) -> bool {
        self.machines.iter().all(|machine| machine.wireguard == *kind)
    }

    const fn machine(&self, side: Side) -> &Machine {
        &self.machines[side as usize]
    }

    fn clock(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The first failure is the one that explains the others.
    fn note<T>(&self, side: Side, outcome: io::Result<T>) -> Option<T> {
        outcome
            .map_err(|error| {
                let text = format!("{error}; its log:\n{}", self.machine(side).log());
                // Already set: an earlier one.
                let _ = self.failure.set(BoxError::Node { node: format!("device {side:?}"), text });
            })
            .ok()
    }

    fn side_at(&self, endpoint: SocketAddr) -> Option<Side> {
        [Side::A, Side::B].into_iter().find(|side| self.endpoint(*side) == endpoint)
    }

    /// Takes in what has left the devices and their tunnels, without waiting.
    fn take_in(&mut self) {
        for side in [Side::A, Side::B] {
            let mut buffer = [0; 2048];
            for _ in 0..BATCH {
                match (&self.machine(side).wan).read(&mut buffer) {
                    Ok(length) => self.leaves(side, &buffer[..length]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
                        self.note::<()>(side, Err(error));
                        break;
                    }
                }
            }
            // An error of this socket is an ICMP answer to a ping, which is no failure of anything.
            while let Ok(length) = self.machine(side).socket.recv(&mut buffer) {
                if let Ok(number) = buffer[..length].try_into() {
                    let number = u32::from_be_bytes(number);
                    self.heard.push(Heard { at: self.clock(), by: side, number });
                }
            }
        }
    }

    /// A packet left a machine. Only the device's datagrams count: the kernel looks for routers on its own.
    fn leaves(&mut self, side: Side, packet: &[u8]) {
        let (Ok(header), Ok(bytes)) = (ip::parse(packet), ip::payload(packet)) else {
            return;
        };
        if header.src != self.endpoint(side) {
            return;
        }
        let at = self.clock();
        let seen = Seen { at, from: side, to: header.dst, kind: kind(bytes), bytes: bytes.to_vec() };
        self.wire.push(seen);
        if let Some(to) = self.side_at(header.dst).filter(|_| !self.cut[side as usize]) {
            let due = at + self.delay;
            let place = self.flying.partition_point(|flying| flying.due <= due);
            self.flying.insert(place, Flying { due, to, packet: packet.to_vec() });
        }
    }

    /// Writes a packet to a machine's wan. A full queue loses it, as a network does.
    fn arrive(&self, side: Side, packet: &[u8]) {
        match (&self.machine(side).wan).write(packet) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                self.note::<()>(side, Err(error));
            }
            _ => {}
        }
    }

    /// Sleeps until something comes or the time has come.
    fn wait(&self, until: Instant) {
        let micros = until.as_micros().saturating_sub(self.clock().as_micros());
        let timeout = Timespec::try_from(StdDuration::from_micros(micros))
            .unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(4);
        for machine in &self.machines {
            fds.push(PollFd::new(&machine.wan, PollFlags::IN));
            fds.push(PollFd::new(&machine.socket, PollFlags::IN));
        }
        // EINTR: the caller's loop comes back.
        let _ = poll(&mut fds, Some(&timeout));
    }

    /// Waits for the answer to a packet that cannot be sent, not for ever.
    fn is_refused(&self, side: Side) -> bool {
        let machine = self.machine(side);
        let mut fds = [PollFd::new(&machine.refusals, PollFlags::IN)];
        let timeout = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
        if poll(&mut fds, Some(&timeout)).is_err() {
            return false;
        }
        let mut packet = [0; 128];
        // After an IPv4 header without options: "destination unreachable", "host unreachable".
        (&machine.refusals)
            .read(&mut packet)
            .is_ok_and(|length| packet[..length].get(20..22) == Some(&[3, 1]))
    }

    /// One request over a device's configuration socket.
    fn ask(&self, side: Side, request: &str) -> io::Result<String> {
        let mut stream = &self.machine(side).configuration;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        while !answer.ends_with(b"\n\n") {
            match stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => answer.extend_from_slice(&chunk[..length]),
            }
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if answer.ends_with("errno=0\n\n") {
            Ok(answer)
        } else {
            Err(io::Error::other(format!("it answers {answer:?} to {request:?}")))
        }
    }
}

impl Bench for DevicePair {
    fn slack(&self) -> Duration {
        if self.are(&WireGuardKind::Kernel) { SLACK_EMULATED } else { SLACK }
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.take_in();
            let clock = self.clock();
            while self.flying.front().is_some_and(|flying| flying.due <= clock.min(end))
                && let Some(Flying { to, packet, .. }) = self.flying.pop_front()
            {
                self.arrive(to, &packet);
            }
            if clock >= end || self.failure.get().is_some() {
                break;
            }
            let next = self.flying.front().map_or(end, |flying| flying.due.min(end));
            self.wait(next);
        }
        self.now = self.clock();
    }

    fn key(&self, side: Side) -> model::Key {
        self.machine(side).private_key.public().0
    }

    fn endpoint(&self, side: Side) -> SocketAddr {
        SocketAddr::new(wan_address(side).into(), self.machine(side).port)
    }

    fn configure(&mut self, side: Side, changes: &[PeerChange]) {
        let request: String = changes.iter().map(in_uapi).collect();
        self.note(side, self.ask(side, &format!("set=1\n{request}\n")));
        self.take_in();
    }

    fn tells_senders(&self) -> bool {
        self.are(&WireGuardKind::Embedded) || self.are(&WireGuardKind::Kernel)
    }

    /// The kernel's WireGuard gives the sender an `errno`. A program behind a TUN interface cannot; it can answer with
    /// ICMP, which is waited for where it is to be expected. Which of the two errors it stands for is told by the
    /// allowed IPs.
    fn ping(&mut self, side: Side) -> Result<u32, SendError> {
        let number = self.pings;
        self.pings += 1;
        let machine = self.machine(side);
        while (&machine.refusals).read(&mut [0; 128]).is_ok() {}
        let send = || machine.socket.send(&number.to_be_bytes()).map_err(|error| (refusal(&error), error));
        // Any other error can only be the ICMP one of an earlier ping; this one is sent by the second try.
        let sent =
            send().or_else(|(refusal, error)| if refusal.is_some() { Err((refusal, error)) } else { send() });
        match sent {
            Err((Some(refusal), _)) => return Err(refusal),
            Err((None, error)) => self.note(side, Err(error)),
            Ok(_) => Some(()),
        };
        self.take_in();
        if !self.are(&WireGuardKind::Embedded) {
            return Ok(number);
        }
        match self.dump(side) {
            Some(dump) if dump.allowed_ips > 0 && dump.endpoint.is_some() => Ok(number),
            Some(dump) if dump.allowed_ips > 0 && self.is_refused(side) => Err(SendError::NoEndpoint),
            _ if self.is_refused(side) => Err(SendError::NoRoute),
            _ => Ok(number),
        }
    }

    fn dump(&self, side: Side) -> Option<Dump> {
        let answer = self.note(side, self.ask(side, "get=1\n\n"))?;
        let other = self.key(side.other());
        let peers = self.note(side, parse_peers(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into()))?;
        let peer = peers.into_iter().find(|peer| peer.key.0 == other)?;
        let stamp = peer.last_handshake;
        let last_handshake =
            (!stamp.is_zero()).then(|| WallClock { secs: stamp.as_secs(), nanos: stamp.subsec_nanos() });
        Some(Dump {
            endpoint: peer.endpoint,
            rx_bytes: peer.rx_bytes,
            tx_bytes: peer.tx_bytes,
            last_handshake,
            allowed_ips: peer.allowed_ips.len(),
            keepalive: peer.keepalive,
        })
    }

    fn wire(&self) -> &[Seen] {
        &self.wire
    }

    fn heard(&self) -> &[Heard] {
        &self.heard
    }

    fn set_delay(&mut self, one_way: Duration) {
        self.delay = one_way;
    }

    fn cut(&mut self, from: Side, lost: bool) {
        // What left the device before belongs to the time before.
        self.take_in();
        self.cut[from as usize] = lost;
    }

    fn inject(&mut self, to: Side, src: SocketAddr, bytes: &[u8]) {
        if let Some(packet) = ip::udp(src, self.endpoint(to), bytes) {
            self.arrive(to, &packet);
        }
        self.take_in();
    }

    fn rebind(&mut self, side: Side) -> SocketAddr {
        self.take_in();
        let port = self.machine(side).port + 1;
        self.note(side, self.ask(side, &format!("set=1\nlisten_port={port}\n\n")));
        self.machines[side as usize].port = port;
        self.endpoint(side)
    }

    fn restart(&mut self, side: Side) {
        self.take_in();
        if let Err(error) = self.machines[side as usize].make_device_anew() {
            let _ = self.failure.set(error);
        }
        // Starting a process takes time.
        self.now = self.clock();
    }

    fn wall_clock(&self, _: Side) -> WallClock {
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        WallClock { secs: time.as_secs(), nanos: time.subsec_nanos() }
    }

    /// The wall clock is the whole machine's: only where that is ours, and it is put right when the bench goes.
    fn set_wall_clock(&mut self, _: Side, seconds: u64) -> bool {
        if std::env::var_os(OWN_MACHINE).is_none() {
            return false;
        }
        self.wall_clock.get_or_insert((std::time::SystemTime::now(), std::time::Instant::now()));
        set_wall_clock(StdDuration::from_secs(seconds))
    }
}

impl Drop for DevicePair {
    fn drop(&mut self) {
        if let Some((then, since)) = self.wall_clock {
            let then = then.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            set_wall_clock(then + since.elapsed());
        }
    }
}

fn set_wall_clock(since_1970: StdDuration) -> bool {
    Timespec::try_from(since_1970).is_ok_and(|time| clock_settime(ClockId::Realtime, time).is_ok())
}

fn refusal(error: &io::Error) -> Option<SendError> {
    match error.raw_os_error() {
        Some(ENOKEY) => Some(SendError::NoRoute),
        Some(EDESTADDRREQ) => Some(SendError::NoEndpoint),
        _ => None,
    }
}

/// Its address on the virtual internet.
const fn wan_address(side: Side) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, side as u8 + 1)
}

fn in_uapi(change: &PeerChange) -> String {
    use core::fmt::Write as _;
    let mut text = format!("public_key={}\n", Key(change.key).hex());
    if change.remove {
        text.push_str("remove=true\n");
        return text;
    }
    if change.update_only {
        text.push_str("update_only=true\n");
    }
    if let Some(key) = change.preshared_key {
        let _ = writeln!(text, "preshared_key={}", Key(key).hex());
    }
    if let Some(endpoint) = change.endpoint {
        let _ = writeln!(text, "endpoint={endpoint}");
    }
    if change.replace_allowed_ips {
        text.push_str("replace_allowed_ips=true\n");
    }
    for AllowedIp { address, prefix } in &change.allowed_ips {
        let _ = writeln!(text, "allowed_ip={address}/{prefix}");
    }
    if let Some(seconds) = change.keepalive {
        let _ = writeln!(text, "persistent_keepalive_interval={seconds}");
    }
    text
}
