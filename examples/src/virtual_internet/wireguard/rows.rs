//! What WireGuard does, row by row, as experiments on two devices A and B.
//!
//! Each [`Row`] runs on any [`Bench`]: the [model](super::Device) in virtual time, or real implementations in real
//! time, whose bench says by [`Bench::slack`] how much later than right a time may be measured. Nothing is ever
//! allowed to be early.
//!
//! A bench starts with two devices that know nothing of each other and one way between them. Row by row a fresh one.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use embassy_time::{Duration, Instant};

use super::{AllowedIp, Key, Kind, PeerChange, SendError, WallClock};

mod handshake;
mod keepalive;
mod peers;
mod session;
#[cfg(test)]
mod tests;

/// One of the two devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its address inside the tunnel.
    #[must_use]
    pub const fn mesh_address(self) -> IpAddr {
        IpAddr::V4(match self {
            Self::A => Ipv4Addr::new(10, 77, 0, 1),
            Self::B => Ipv4Addr::new(10, 77, 0, 2),
        })
    }
}

/// A datagram that left a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// From which device.
    pub from: Side,
    /// Where to.
    pub to: SocketAddr,
    /// What it is.
    pub kind: Kind,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// A ping that came out of a device's tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When.
    pub at: Instant,
    /// At which device.
    pub by: Side,
    /// The number that [`Bench::ping`] gave it.
    pub number: u32,
}

/// What a device says of the other one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// Where packets to it go.
    pub endpoint: Option<SocketAddr>,
    /// Bytes from it.
    pub rx_bytes: u64,
    /// Bytes to it.
    pub tx_bytes: u64,
    /// The handshake stamp; `None` when it shows none.
    pub last_handshake: Option<WallClock>,
    /// How many allowed IPs it has.
    pub allowed_ips: usize,
    /// Persistent keepalive in seconds.
    pub keepalive: u16,
}

/// Two devices and a way between them.
pub trait Bench {
    /// How much later than right a measured time may be. Zero in virtual time.
    fn slack(&self) -> Duration;
    /// The time.
    fn now(&self) -> Instant;
    /// Lets time pass, and packets with it.
    fn run(&mut self, time: Duration);
    /// A device's public key.
    fn key(&self, side: Side) -> Key;
    /// Where a device's datagrams come from, and where it hears.
    fn endpoint(&self, side: Side) -> SocketAddr;
    /// One configuration message.
    fn configure(&mut self, side: Side, changes: &[PeerChange]);
    /// Whether a sender is told when its packet goes nowhere. If not, [`Bench::ping`] never fails.
    fn tells_senders(&self) -> bool {
        true
    }
    /// Sends one small UDP or echo packet into a side's tunnel, to the other's mesh address. Its 28 bytes of headers
    /// carry 4: the number, which is returned and counts from 0 per bench.
    ///
    /// # Errors
    /// What the host is told.
    fn ping(&mut self, side: Side) -> Result<u32, SendError>;
    /// What a side says of the other; `None` when it has no such peer.
    fn dump(&self, side: Side) -> Option<Dump>;
    /// All datagrams that left a device so far, lost ones too.
    fn wire(&self) -> &[Seen];
    /// All pings that arrived so far.
    fn heard(&self) -> &[Heard];
    /// The time each datagram takes from now on. A bench starts with 0.
    fn set_delay(&mut self, one_way: Duration);
    /// Loses all datagrams from a side from now on, or no longer.
    fn cut(&mut self, from: Side, lost: bool);
    /// Hands a datagram to a device now, as if from `src`.
    fn inject(&mut self, to: Side, src: SocketAddr, bytes: &[u8]);
    /// Moves a device's socket to another port; the answer is its new endpoint.
    fn rebind(&mut self, side: Side) -> SocketAddr;
    /// The device is made anew: same key, no peers, no memory.
    fn restart(&mut self, side: Side);
    /// What one host's wall clock says.
    fn wall_clock(&self, side: Side) -> WallClock;
    /// Sets one host's wall clock. False where that cannot be done: the row is then skipped.
    fn set_wall_clock(&mut self, side: Side, seconds: u64) -> bool;
}

/// Why a row did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It does not hold, and this is what was seen.
    Broken(String),
    /// This bench cannot run it.
    Skipped,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(what) => f.write_str(what),
            Self::Skipped => f.write_str("this bench cannot run it"),
        }
    }
}

/// A fact and the experiment that shows it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// A name, also of its test.
    pub name: &'static str,
    /// The fact in a sentence.
    pub fact: &'static str,
    /// About how long it takes in real time, seconds.
    pub seconds: u32,
    /// The experiment.
    pub run: fn(&mut dyn Bench) -> Result<(), Verdict>,
}

/// All rows.
#[must_use]
pub fn rows() -> Vec<Row> {
    [handshake::ROWS, peers::ROWS, keepalive::ROWS, session::ROWS].concat()
}

/// One-way delay in most rows.
const DELAY: Duration = Duration::from_millis(50);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Fails the row unless the condition holds.
macro_rules! require {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err($crate::virtual_internet::wireguard::rows::Verdict::Broken(format!($($why)+)));
        }
    };
}
use require;

/// What rows say often.
impl dyn Bench + '_ {
    /// The other as a peer: key and mesh address.
    fn other(&self, side: Side) -> PeerChange {
        PeerChange::new(self.key(side.other())).allow(AllowedIp::host(side.other().mesh_address()))
    }

    /// The same with its endpoint.
    fn other_at_its_endpoint(&self, side: Side) -> PeerChange {
        self.other(side).endpoint(self.endpoint(side.other()))
    }

    /// Lets time pass up to an instant; none if that is past.
    fn run_until(&mut self, end: Instant) {
        self.run(end.checked_duration_since(self.now()).unwrap_or(ms(0)));
    }

    /// Lets time pass until a side has sent so many messages of a kind since a time, or for `latest` and the slack.
    fn run_until_sent(&mut self, side: Side, kind: Kind, since: Instant, count: usize, latest: Duration) {
        let end = self.now() + latest + self.slack();
        while self.count(side, kind, since) < count && self.now() < end {
            self.run(ms(1));
        }
    }

    /// A change of nothing.
    fn touch(&mut self, side: Side) {
        let change = PeerChange { update_only: true, ..PeerChange::new(self.key(side.other())) };
        self.configure(side, &[change]);
    }

    /// The other, removed and added in one message.
    fn re_add(&mut self, side: Side, change: PeerChange) {
        let remove = PeerChange::remove(self.key(side.other()));
        self.configure(side, &[remove, change]);
    }

    /// A knows B's endpoint, B knows A's key only. Packets take `DELAY`.
    fn introduce(&mut self) {
        self.set_delay(DELAY);
        self.configure(Side::A, &[self.other_at_its_endpoint(Side::A)]);
        self.configure(Side::B, &[self.other(Side::B)]);
    }

    /// Introduced, and a session made by A with a ping.
    fn connect(&mut self) -> Result<(), Verdict> {
        self.introduce();
        self.must_ping(Side::A)?;
        self.run(ms(300) + self.slack());
        require!(self.is_connected(), "no session 300 ms after a ping at 50 ms one way");
        Ok(())
    }

    fn must_ping(&mut self, side: Side) -> Result<u32, Verdict> {
        self.ping(side).map_err(|e| Verdict::Broken(format!("a ping was refused: {e:?}")))
    }

    fn has_handshake(&self, side: Side) -> bool {
        self.dump(side).is_some_and(|dump| dump.last_handshake.is_some())
    }

    fn is_connected(&self) -> bool {
        self.has_handshake(Side::A) && self.has_handshake(Side::B)
    }

    fn must_dump(&self, side: Side) -> Result<Dump, Verdict> {
        self.dump(side).ok_or_else(|| Verdict::Broken(format!("{side:?} does not have its peer")))
    }

    /// What left a side since a time, of one kind.
    fn sent(&self, side: Side, kind: Kind, since: Instant) -> Vec<Seen> {
        let wanted = |seen: &&Seen| seen.from == side && seen.kind == kind && seen.at >= since;
        self.wire().iter().filter(wanted).cloned().collect()
    }

    fn count(&self, side: Side, kind: Kind, since: Instant) -> usize {
        self.sent(side, kind, since).len()
    }

    fn has_heard(&self, side: Side, number: u32) -> bool {
        self.heard().iter().any(|heard| heard.by == side && heard.number == number)
    }

    /// Whether `at` is from `earliest` to `latest` after `since`, slack allowed at the end.
    fn within(&self, at: Instant, since: Instant, earliest: Duration, latest: Duration) -> bool {
        at >= since + earliest && at <= since + latest + self.slack()
    }
}

/// 5 s and the most that a retransmission comes later.
const RETRANSMIT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_millis(5334));
