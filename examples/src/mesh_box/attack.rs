//! An attacker on a LAN: a host that is in no mesh and knows no secret keeps what it hears there, and sends it again, as it
//! was and changed, from its own address and from those of others.
//!
//! It runs as a process of its own on its host, and its packets take the way that any program's take there: it hears what the
//! network brings to it (broadcasts, multicasts, and what is for an address that it has), and sends through raw sockets, with
//! whatever source it likes.

use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::time::Duration;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::time::Instant;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::netlink::link_index;
use super::node_process::WAN;
use super::plan::GOSSIP_PORT;
use super::probe::{Instruction, gossip_filter, open_capture};
use crate::virtual_internet::ip;

/// The word that makes our binary an attacker: `WORD ATTACK`, where `ATTACK` is an [`Attack`] in JSON.
pub(crate) const WORD: &str = "__mesh_box_attack";

/// What was heard, for the next attack.
const HEARD_PATH: &str = "/run/box/heard";
/// More are not kept.
const MAX_HEARD: usize = 64;
/// How often it looks whether something came in, or is due.
const BURSTS_PER_SECOND: u32 = 200;
/// How long it waits for answers after its last packet.
const PATIENCE: Duration = Duration::from_millis(300);
/// Version and key hint, in clear at the beginning of each datagram.
const ENVELOPE: usize = 2;
/// The Ethernet frames of the LAN carry no more.
const MTU: usize = 1500;

/// What an attacker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attack {
    /// Keeps what it hears of gossip, until it has heard so many addresses, or the time is over.
    Listen {
        /// Addresses, IPv4 and IPv6 together.
        sources: usize,
        /// At most so long.
        limit: Duration,
    },
    /// Sends what it heard, again and again, and goes on listening.
    Replay {
        /// Packets per second; a machine that is too busy sends them later, not fewer of them.
        rate: u32,
        /// For so long.
        time: Duration,
        /// What is sent in which way comes from it.
        seed: u64,
    },
}

/// How an attack went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attacked {
    /// Whose broadcasts and multicasts were heard.
    pub sources: BTreeSet<IpAddr>,
    /// Datagrams that came to an address of the attacker's own.
    pub to_us: u32,
    /// Copies that were sent as they were heard, source and all.
    pub copies: u32,
    /// Copies from the attacker's own address.
    pub from_us: u32,
    /// Copies from any other address of the LAN.
    pub spoofed: u32,
    /// Copies with a bit of them changed.
    pub changed: u32,
    /// Garbage in the name of a node.
    pub garbage: u32,
}

impl Attacked {
    /// All that was sent.
    #[must_use]
    pub const fn sent(&self) -> u32 {
        self.copies + self.from_us + self.spoofed + self.changed + self.garbage
    }
}

/// A datagram that was heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Heard {
    from: SocketAddr,
    to: SocketAddr,
    payload: Vec<u8>,
}

impl Attack {
    /// The words that run it on a host.
    pub(crate) fn command(&self) -> io::Result<[String; 3]> {
        Ok(["/proc/self/exe".into(), WORD.into(), serde_json::to_string(self)?])
    }

    fn run(self) -> io::Result<Attacked> {
        let mut attacker = Attacker::new()?;
        match self {
            Self::Listen { sources, limit } => {
                let end = Instant::now() + limit;
                while attacker.report.sources.len() < sources && Instant::now() < end {
                    std::thread::sleep(Duration::from_secs(1) / BURSTS_PER_SECOND);
                    attacker.listen();
                }
                std::fs::create_dir_all("/run/box")?;
                std::fs::write(HEARD_PATH, serde_json::to_vec(&attacker.heard)?)?;
            }
            Self::Replay { rate, time, seed } => {
                attacker.heard = serde_json::from_slice(&std::fs::read(HEARD_PATH)?)?;
                attacker.replay(rate, time, &mut ChaCha8Rng::seed_from_u64(seed));
                std::thread::sleep(PATIENCE);
                attacker.listen();
            }
        }
        Ok(attacker.report)
    }
}

struct Attacker {
    capture: Socket,
    raw_v4: Socket,
    raw_v6: Socket,
    index: u32,
    /// Its first addresses, IPv4 and on the link.
    own_v4: Option<IpAddr>,
    own_v6: Option<IpAddr>,
    heard: Vec<Heard>,
    /// Who was heard and is not this host by now.
    nodes: Vec<SocketAddr>,
    report: Attacked,
}

impl Attacker {
    fn new() -> io::Result<Self> {
        let index = link_index(WAN)?;
        // With IPPROTO_RAW the caller writes the IP header.
        let raw = |domain| {
            let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(255)))?;
            socket.bind_device(Some(WAN.as_bytes()))?;
            // A full queue must not stop it.
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        let raw_v4 = raw(Domain::IPV4)?;
        raw_v4.set_broadcast(true)?;
        // What the kernel takes as source is what the host's own programs send from.
        let own = |to: SocketAddr| {
            let any: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
            let socket = std::net::UdpSocket::bind(any).ok()?;
            socket.set_broadcast(true).ok()?;
            socket.connect(to).ok()?;
            // A network may learn from it where the address is.
            socket.send(&[0]).ok()?;
            Some(socket.local_addr().ok()?.ip())
        };
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        Ok(Self {
            capture: open_capture(&incoming(GOSSIP_PORT, index))?,
            raw_v4,
            raw_v6: raw(Domain::IPV6)?,
            index,
            // To "discard" (RFC 863), which nobody listens to.
            own_v4: own(([255; 4], 9).into()),
            own_v6: own(SocketAddrV6::new(all_nodes, 9, 0, index).into()),
            heard: Vec::new(),
            nodes: Vec::new(),
            report: Attacked::default(),
        })
    }

    /// Takes in what has come.
    fn listen(&mut self) {
        let mut buffer = [0; 2 * MTU];
        // Any error means that there is none now.
        while let Ok(length) = self.capture.read(&mut buffer) {
            let packet = &buffer[..length];
            let (Ok(header), Some(payload)) = (ip::parse(packet), ip::udp_payload(packet)) else { continue };
            if is_group(header.dst.ip()) {
                self.report.sources.insert(header.src.ip());
            } else {
                self.report.to_us += 1;
            }
            // What begins as an envelope does.
            if self.heard.len() < MAX_HEARD && payload.len() > ENVELOPE {
                self.heard.push(Heard { from: header.src, to: header.dst, payload: payload.to_vec() });
            }
        }
    }

    fn replay(&mut self, rate: u32, time: Duration, rng: &mut ChaCha8Rng) {
        let is_own = |address: SocketAddr| {
            let at: SocketAddr = match address.ip() {
                IpAddr::V4(v4) => (v4, 0).into(),
                IpAddr::V6(v6) => SocketAddrV6::new(v6, 0, 0, self.index).into(),
            };
            std::net::UdpSocket::bind(at).is_ok()
        };
        let sources: BTreeSet<_> = self.heard.iter().map(|it| it.from).collect();
        self.nodes = sources.into_iter().filter(|source| !is_own(*source)).collect();
        let start = Instant::now();
        let all = (time.as_micros() * u128::from(rate)) / 1_000_000;
        let mut number = 0;
        while number < all && !self.heard.is_empty() {
            let due = start.elapsed().as_micros() * u128::from(rate) / 1_000_000;
            while number < all && number < due {
                self.send_one(rng);
                number += 1;
            }
            self.listen();
            std::thread::sleep(Duration::from_secs(1) / BURSTS_PER_SECOND);
        }
    }

    /// One packet, in one of the ways that there are.
    fn send_one(&mut self, rng: &mut ChaCha8Rng) {
        let Heard { mut from, mut to, mut payload } = self.heard[draw(rng, self.heard.len())].clone();
        // To everybody, or to a node alone; not back to us, whom it may have been for.
        if draw(rng, 3) == 0 || !is_group(to.ip()) {
            let of_family: Vec<_> = self.nodes.iter().filter(|it| it.is_ipv4() == to.is_ipv4()).collect();
            let Some(node) = of_family.get(draw(rng, of_family.len())) else { return };
            to = **node;
        }
        let own = if from.is_ipv4() { self.own_v4 } else { self.own_v6 };
        let count = match draw(rng, 8) {
            0..3 => &mut self.report.copies,
            3 => {
                from.set_ip(own.unwrap_or(from.ip()));
                &mut self.report.from_us
            }
            4 => {
                from = SocketAddr::new(neighbour(from.ip(), rng), draw(rng, 1 << 16) as u16);
                &mut self.report.spoofed
            }
            5 | 6 => {
                let at = draw(rng, payload.len());
                payload[at] ^= 1 << draw(rng, 8);
                &mut self.report.changed
            }
            _ => {
                // Half of it begins as what it is a copy of does, and is as long.
                let kept = draw(rng, 2) * ENVELOPE;
                if kept == 0 {
                    payload.resize(1 + draw(rng, MTU - 100), 0);
                }
                rng.fill_bytes(&mut payload[kept..]);
                &mut self.report.garbage
            }
        };
        let Some(packet) = ip::udp(from, to, &payload) else { return };
        let (socket, target) = match to.ip() {
            IpAddr::V4(v4) => (&self.raw_v4, SocketAddr::from((v4, 0))),
            IpAddr::V6(v6) => (&self.raw_v6, SocketAddrV6::new(v6, 0, 0, self.index).into()),
        };
        // What does not go out, as with a full queue, is not counted.
        if socket.send_to(&packet, &target.into()).is_ok() {
            *count += 1;
        }
    }
}

/// An address of everybody on the LAN.
fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_multicast(),
    }
}

fn draw(rng: &mut ChaCha8Rng, below: usize) -> usize {
    rng.next_u32() as usize % below.max(1)
}

/// Some other address of the same network.
fn neighbour(address: IpAddr, rng: &mut ChaCha8Rng) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            [a, b, c, draw(rng, 256) as u8].into()
        }
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64 | u128::from(rng.next_u64())).into(),
    }
}

/// Gossip that comes in by this interface: [`gossip_filter`] sees what leaves this host too.
fn incoming(port: u16, index: u32) -> Vec<Instruction> {
    // Loads what is not of the packet but about it, at SKF_AD_OFF: at 4 its type, where PACKET_OUTGOING is 4, at 8 the
    // interface. The last instruction drops it.
    let gossip = gossip_filter(port);
    let to_end = u8::try_from(gossip.len() - 1).unwrap_or(u8::MAX);
    let mut filter = vec![
        (0x30, 0, 0, 0xffff_f004),
        (0x15, to_end + 2, 0, 4),
        (0x20, 0, 0, 0xffff_f008),
        (0x15, 0, to_end, index),
    ];
    filter.extend(gossip);
    filter
}

/// Runs as the attacker; prints an [`Attacked`] in JSON.
pub(crate) fn run(arguments: &[String]) -> io::Result<()> {
    let [attack] = arguments else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let attack: Attack = serde_json::from_str(attack)?;
    println!("{}", serde_json::to_string(&attack.run()?)?);
    Ok(())
}
