//! The engine on its LANs, as anybody there may drive it: what is sealed with the mesh's secret and what is not, from any
//! address on any link; proofs through the tunnel; links that come and go; time. It must not panic and must come to rest
//! after every input. And
//!
//! - what is not sealed with the secret changes nothing but the count of what was dropped;
//! - nothing is sent on a LAN to an address from which nothing sealed has come;
//! - no session is moved without a proof;
//! - whatever came before, a true beacon of a peer that is not on the LAN yet makes it a candidate there: it is answered or
//!   challenged.
//!
//! The input is a row of steps: what (1 byte), from whom (1 byte), length (1 byte), and as many bytes.

#![no_main]

mod engine;

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::collections::HashSet;

use engine::key;
use libfuzzer_sys::fuzz_target;
use wgautomesh_core::{
    Counters, Duration, Instant, LanLink, NodeStatus, Output, PeerAction, PeerReading, PeerStatus, SharedKey,
    fuzzing,
    limits::{LAN_DATAGRAM, MAX_DATAGRAM},
};

const PEERS: usize = 4;
const BEACON: u8 = 16;
const PADDING: u8 = 19;
const ENVELOPE: usize = 42;

/// The interface of the LAN that peers are on.
const LAN: u32 = 3;

/// Where nobody has spoken from before, and a WireGuard port of its own.
const NEWCOMER: SocketAddr = SocketAddr::new(IpAddr::V4(core::net::Ipv4Addr::new(192, 168, 1, 77)), 51877);

/// Far more than it takes until a peer is spoken to that has just been heard.
const PATIENCE: Duration = Duration::from_secs(10);

/// Neighbours by IPv4, by the link, and addresses of nobody here.
fn source(who: u8) -> IpAddr {
    match who % 8 {
        0..4 => [192, 168, 1, who].into(),
        4..6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, who.into()).into(),
        6 => [192, 168, 2, who].into(),
        _ => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, who.into()).into(),
    }
}

fn links(count: u8) -> Vec<LanLink> {
    let v4 = LanLink { index: LAN, address: [192, 168, 1, 250].into(), prefix: 24 };
    let v6 = LanLink { index: LAN, address: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 250).into(), prefix: 64 };
    let other = LanLink { index: 4, address: [192, 168, 2, 250].into(), prefix: count };
    [v4, v6, other].into_iter().take(usize::from(count % 4)).collect()
}

/// Sealed, and as long as all on a LAN are.
fn sealed(secret: &SharedKey, frames: &[u8]) -> Vec<u8> {
    let mut frames = frames.to_vec();
    let missing = (LAN_DATAGRAM - ENVELOPE).saturating_sub(frames.len() + 3);
    frames.extend([PADDING, missing as u8, 0]);
    frames.resize(frames.len() + missing, 0);
    let mut datagram = [0; MAX_DATAGRAM];
    let len = fuzzing::seal(secret, &frames, &mut datagram);
    datagram[..len].to_vec()
}

/// What a peer at [`NEWCOMER`] says: key, IPv4 address, and port as a variable-length integer.
fn true_beacon(peer: u8) -> Vec<u8> {
    let IpAddr::V4(ip) = NEWCOMER.ip() else { unreachable!("it is of IPv4") };
    let port = NEWCOMER.port();
    let port = [port as u8 | 0x80, (port >> 7) as u8 | 0x80, (port >> 14) as u8];
    let body = [&key(peer).as_bytes()[..], &[0], &ip.octets(), &port].concat();
    [&[BEACON, body.len() as u8, 0], &body[..]].concat()
}

struct Lan {
    bench: engine::Bench<PEERS>,
    /// From where something sealed has come.
    heard: HashSet<IpAddr>,
    /// Something sealed came through the tunnel: it may have been a proof.
    proven: bool,
}

impl Lan {
    fn new() -> Self {
        let reading = PeerReading {
            key: key(0),
            endpoint: Some(([203, 0, 113, 9], 51820).into()),
            rx_bytes: 0,
            tx_bytes: 0,
            last_handshake: 1,
            keepalive: 0,
        };
        let bench = engine::Bench::new(reading, |mesh, now| mesh.handle_lan_links(now, &links(3)));
        Self { bench, heard: HashSet::new(), proven: false }
    }

    fn step(&mut self, what: u8, who: u8, bytes: &[u8]) {
        let (from, index) = (source(who), LAN + u32::from(what / 6 % 2));
        match what % 6 {
            0 | 1 => {
                let datagram = sealed(&self.bench.secret, bytes);
                self.hear(index, from, datagram);
            }
            2 => {
                let stranger = SharedKey::derive(b"of somebody else");
                self.reject(index, from, bytes.to_vec());
                self.reject(index, from, sealed(&stranger, bytes));
                // As a member seals, with one byte changed.
                let mut copy = sealed(&self.bench.secret, bytes);
                let at = bytes.len() * 7 % copy.len();
                copy[at] ^= 1 << (who % 8);
                self.reject(index, from, copy);
            }
            3 => {
                let mut datagram = [0; MAX_DATAGRAM];
                let len = fuzzing::seal(&self.bench.secret, bytes, &mut datagram);
                self.proven = true;
                let peer = engine::address(2 + who % 3);
                self.bench.mesh.handle_datagram(self.bench.now, peer, &mut datagram[..len]);
            }
            4 => self.bench.pass(Duration::from_millis(u64::from(who) * (1 + bytes.len() as u64 * 20))),
            _ => self.bench.mesh.handle_lan_links(self.bench.now, &links(who)),
        }
        self.rest(|_| ());
    }

    fn hear(&mut self, index: u32, from: IpAddr, mut datagram: Vec<u8>) {
        self.heard.insert(from);
        self.bench.mesh.handle_lan_datagram(
            self.bench.now,
            index,
            SocketAddr::new(from, 1666),
            &mut datagram,
        );
    }

    /// Everything that the engine shows of itself.
    fn state(&self) -> (NodeStatus, Vec<PeerStatus>, Counters, Option<Instant>) {
        let mesh = &self.bench.mesh;
        let mut counters = *mesh.counters();
        counters.dropped_lan = 0;
        (mesh.node(), mesh.peers().collect(), counters, mesh.poll_timeout())
    }

    /// What is not sealed with the secret comes to an engine at rest.
    fn reject(&mut self, index: u32, from: IpAddr, mut datagram: Vec<u8>) {
        let before = self.state();
        self.bench.mesh.handle_lan_datagram(
            self.bench.now,
            index,
            SocketAddr::new(from, 1666),
            &mut datagram,
        );
        assert_eq!(self.state(), before);
        assert_eq!(self.bench.poll(), None);
    }

    fn rest(&mut self, mut each: impl FnMut(&Output)) {
        let (heard, proven) = (&self.heard, self.proven);
        self.bench.rest(|output| {
            match output {
                Output::Lan { to, len, .. } => {
                    assert_eq!(*len, LAN_DATAGRAM);
                    assert!(to.is_none_or(|to| heard.contains(&to)), "{to:?} has said nothing");
                }
                Output::Peer { key, action: PeerAction::SetEndpoint(to) } => {
                    assert!(proven, "{key} is moved to {to}");
                }
                _ => {}
            }
            each(output);
        });
    }

    /// Long afterwards a peer comes to the LAN.
    fn welcome(&mut self, peer: u8) {
        self.bench.pass(Duration::from_secs(3600));
        self.bench.mesh.handle_lan_links(self.bench.now, &[]);
        self.rest(|_| ());
        self.bench.mesh.handle_lan_links(self.bench.now, &links(3));
        self.rest(|_| ());
        let of = |lan: &Self| lan.bench.mesh.peers().find(|p| p.key == key(peer)).expect("it is configured");
        let before = of(self);
        let settled = |endpoint: SocketAddr| {
            links(3).iter().any(|link| match (link.address, endpoint.ip()) {
                (IpAddr::V4(ours), IpAddr::V4(theirs)) => ours.octets()[..3] == theirs.octets()[..3],
                (IpAddr::V6(_), IpAddr::V6(theirs)) => theirs.is_unicast_link_local(),
                _ => false,
            })
        };
        if before.endpoint.is_some_and(settled) {
            return;
        }
        let heard = self.bench.mesh.counters().heard_beacons;
        let datagram = sealed(&self.bench.secret, &true_beacon(peer));
        self.hear(LAN, NEWCOMER.ip(), datagram);
        assert_eq!(self.bench.mesh.counters().heard_beacons, heard + 1);
        // Either comes only of a candidate that was noted.
        let mut spoken_to = false;
        let limit = self.bench.now + PATIENCE;
        loop {
            self.rest(|output| {
                spoken_to |= matches!(output, Output::Lan { to: Some(to), .. } if *to == NEWCOMER.ip());
            });
            let Some(at) = self.bench.mesh.poll_timeout().filter(|at| *at <= limit && !spoken_to) else {
                break;
            };
            self.bench.pass(at.saturating_duration_since(self.bench.now));
        }
        assert!(spoken_to, "neither answered nor challenged: {before:?}");
    }
}

fuzz_target!(|input: &[u8]| {
    let mut lan = Lan::new();
    lan.rest(|_| ());
    let mut rest = input;
    while let Some((&[what, who, length], after)) = rest.split_first_chunk() {
        let (bytes, after) = after.split_at(usize::from(length).min(after.len()));
        lan.step(what, who, bytes);
        rest = after;
    }
    let last = input.last().copied().unwrap_or_default();
    lan.welcome(2 + last % 3);
});
