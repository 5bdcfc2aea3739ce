//! The engine on its LANs, as anybody there may drive it: what is sealed with the mesh's secret and what is not, from any
//! address on any link; proofs through the tunnel; links that come and go; time. It must not panic, must come to rest after
//! every input, sends no more bytes on the LAN than came in but for its own beacons, and moves no live session without a
//! proof.
//!
//! The input is a row of steps: what (1 byte), from whom (1 byte), length (1 byte), and as many bytes.

#![no_main]

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use wgautomesh_core::{
    Duration, Instant, Interface, LanLink, Mesh, Output, PeerAction, PeerReading, PublicKey, SharedKey,
    fuzzing,
    limits::{LAN_DATAGRAM, MAX_DATAGRAM},
};

const PEERS: usize = 4;
const PADDING: u8 = 19;
const ENVELOPE: usize = 42;

fn key(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

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
    let v4 = LanLink { index: 3, address: [192, 168, 1, 250].into(), prefix: 24 };
    let v6 = LanLink { index: 3, address: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 250).into(), prefix: 64 };
    let other = LanLink { index: 4, address: [192, 168, 2, 250].into(), prefix: count };
    [v4, v6, other].into_iter().take(usize::from(count % 4)).collect()
}

struct Bench {
    mesh: Mesh<PEERS>,
    now: Instant,
    rng: ChaCha8Rng,
    secret: SharedKey,
    readings: [PeerReading; PEERS],
    /// Bytes that came in on LANs, and that went out to one there.
    received: usize,
    sent: usize,
    /// A proof came in since the last look.
    proven: bool,
}

impl Bench {
    fn new() -> Self {
        let (secret, now) = (SharedKey::derive(b"of the fuzzer"), Instant::from_secs(1000));
        let mut mesh = Mesh::new();
        mesh.set_secrets([secret.clone()]);
        for peer in 1..=PEERS as u8 {
            mesh.add_peer(now, key(peer), [10, 0, 0, peer].into()).expect("there is room");
        }
        mesh.handle_interface(now, Some(Interface { index: 1, public_key: key(1), listen_port: 51820 }));
        mesh.handle_lan_links(now, &links(3));
        let readings = core::array::from_fn(|i| PeerReading {
            key: key(i as u8 + 1),
            endpoint: Some(([203, 0, 113, 9], 51820).into()),
            rx_bytes: 0,
            tx_bytes: 0,
            last_handshake: 1,
            keepalive: 0,
        });
        let rng = ChaCha8Rng::seed_from_u64(1);
        Self { mesh, now, rng, secret, readings, received: 0, sent: 0, proven: false }
    }

    fn step(&mut self, what: u8, who: u8, bytes: &[u8]) {
        let from = SocketAddr::new(source(who), 1666);
        let peer: IpAddr = [10, 0, 0, 2 + who % 3].into();
        let mut datagram = [0; MAX_DATAGRAM];
        match what % 6 {
            0 | 1 => {
                let mut frames = bytes.to_vec();
                let missing = (LAN_DATAGRAM - ENVELOPE).saturating_sub(frames.len() + 3);
                frames.extend([PADDING, missing as u8, 0]);
                frames.resize(frames.len() + missing, 0);
                let len = fuzzing::seal(&self.secret, &frames, &mut datagram);
                self.received += len;
                self.mesh.handle_lan_datagram(
                    self.now,
                    3 + u32::from(what / 6 % 2),
                    from,
                    &mut datagram[..len],
                );
            }
            2 => {
                self.received += bytes.len();
                self.mesh.handle_lan_datagram(self.now, 3, from, &mut bytes.to_vec());
            }
            3 => {
                let len = fuzzing::seal(&self.secret, bytes, &mut datagram);
                self.proven = true;
                self.mesh.handle_datagram(self.now, peer, &mut datagram[..len]);
            }
            4 => {
                self.now += Duration::from_millis(u64::from(who) * (1 + bytes.len() as u64 * 20));
                self.mesh.handle_timeout(self.now, &mut self.rng);
            }
            _ => self.mesh.handle_lan_links(self.now, &links(who)),
        }
        self.rest();
    }

    fn read(&mut self) {
        self.mesh.begin_reading();
        for reading in self.readings.iter().filter(|r| r.key != key(1)) {
            let number = reading.key.as_bytes()[0];
            self.mesh.handle_reading(self.now, reading, [([10, 0, 0, number].into(), 32)]);
        }
        self.mesh.end_reading(self.now);
    }

    fn rest(&mut self) {
        let mut buffer = [0; MAX_DATAGRAM];
        for _ in 0..1000 {
            match self.mesh.poll(self.now, &mut self.rng, &mut buffer) {
                None => {
                    self.mesh.handle_timeout(self.now, &mut self.rng);
                    if self.mesh.poll_timeout().is_none_or(|at| at > self.now) {
                        return;
                    }
                }
                Some(Output::Lan { to, len, .. }) => {
                    assert_eq!(len, LAN_DATAGRAM);
                    self.sent += if to.is_some() { len } else { 0 };
                }
                Some(Output::Peer { key, action: PeerAction::SetEndpoint(to) }) => {
                    assert!(self.proven, "{key} is moved to {to}");
                    self.readings[usize::from(key.as_bytes()[0]) - 1].endpoint = Some(to);
                }
                Some(Output::ReadInterface) => self.read(),
                Some(_) => {}
            }
        }
        panic!("it does not come to rest");
    }
}

fuzz_target!(|input: &[u8]| {
    let mut bench = Bench::new();
    bench.rest();
    let mut rest = input;
    while let Some((&[what, who, length], after)) = rest.split_first_chunk() {
        let (bytes, after) = after.split_at(usize::from(length).min(after.len()));
        bench.step(what, who, bytes);
        rest = after;
    }
});
