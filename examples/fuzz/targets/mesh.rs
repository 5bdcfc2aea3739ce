//! The whole engine as a member, a stranger and WireGuard may drive it: sealed and unsealed datagrams, openers, readings,
//! addresses and time, in any order. It must not panic, must come to rest after every input, and must always know when it
//! wants to be called again.
//!
//! The input is a row of steps: what (1 byte), from whom (1 byte), length (2 bytes, little endian), and as many bytes.

#![no_main]

use core::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use wgautomesh_core::{
    Duration, Instant, Interface, Mesh, OPENER_MAGIC, Output, PeerReading, PublicKey, SharedKey, fuzzing,
    limits::MAX_DATAGRAM,
};

const PEERS: usize = 6;

fn key(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

fn address(number: u8) -> IpAddr {
    [10, 0, 0, number].into()
}

/// An endpoint out of some bytes, missing ones as zeroes: mostly IPv4.
fn endpoint(bytes: &[u8]) -> SocketAddr {
    let at = |i: usize| bytes.get(i).copied().unwrap_or_default();
    let port = u16::from_be_bytes([at(1), at(2)]);
    if at(0) < 192 {
        ([at(3), at(4), at(5), at(6)], port).into()
    } else {
        let mut ip = [0; 16];
        ip.iter_mut().enumerate().for_each(|(i, byte)| *byte = at(3 + i));
        (ip, port).into()
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 2).map_or(0, |b| u64::from(b[0]) | u64::from(b[1]) << 8)
}

struct Bench {
    mesh: Mesh<PEERS>,
    now: Instant,
    rng: ChaCha8Rng,
    secret: SharedKey,
    /// What WireGuard shows of the peers.
    readings: [PeerReading; PEERS],
}

impl Bench {
    fn new() -> Self {
        let (secret, now) = (SharedKey::derive(b"of the fuzzer"), Instant::from_secs(1000));
        let mut mesh = Mesh::new();
        mesh.set_secrets([secret.clone()]);
        for peer in 1..=PEERS as u8 {
            mesh.add_peer(now, key(peer), address(peer)).expect("there is room");
        }
        mesh.allow_openers(now, true);
        mesh.set_configured_endpoints(now, &key(2), &[([203, 0, 113, 2], 51820).into()]);
        mesh.handle_local_addresses(now, &[[192, 168, 1, 7].into(), [203, 0, 113, 1].into()]);
        mesh.handle_interface(now, Some(Interface { index: 1, public_key: key(1), listen_port: 51820 }));
        let readings = core::array::from_fn(|i| PeerReading {
            key: key(i as u8 + 1),
            endpoint: None,
            rx_bytes: 0,
            tx_bytes: 0,
            last_handshake: 0,
            keepalive: 0,
        });
        Self { mesh, now, rng: ChaCha8Rng::seed_from_u64(1), secret, readings }
    }

    fn step(&mut self, what: u8, who: u8, bytes: &[u8]) {
        let who = who % PEERS as u8;
        match what % 8 {
            // What a member may send.
            0..=2 => {
                let mut datagram = [0; MAX_DATAGRAM];
                let len = fuzzing::seal(&self.secret, bytes, &mut datagram);
                self.mesh.handle_datagram(self.now, address(who + 1), &mut datagram[..len]);
            }
            // What any program on its host may send.
            3 => self.mesh.handle_datagram(self.now, address(who + 1), &mut bytes.to_vec()),
            4 => {
                let mut datagram = [0; MAX_DATAGRAM];
                datagram[..4].copy_from_slice(&OPENER_MAGIC);
                let frames = bytes.get(19..).unwrap_or_default();
                let len = 4 + fuzzing::seal(&self.secret, frames, &mut datagram[4..]);
                self.mesh.handle_opener(self.now, endpoint(bytes), &mut datagram[..len]);
            }
            5 => {
                let reading = &mut self.readings[usize::from(who)];
                reading.rx_bytes += number(bytes, 0);
                reading.tx_bytes += number(bytes, 2);
                reading.last_handshake += number(bytes, 4);
                reading.keepalive = number(bytes, 6) as u16;
                reading.endpoint = bytes.get(8..).filter(|b| !b.is_empty()).map(endpoint);
                self.read();
            }
            6 => {
                self.now += Duration::from_millis(number(bytes, 0) * (1 + u64::from(who) * 20));
                self.mesh.handle_timeout(self.now, &mut self.rng);
            }
            _ => {
                let addresses: Vec<_> = bytes.chunks(19).map(|b| endpoint(b).ip()).collect();
                self.mesh.handle_local_addresses(self.now, &addresses);
            }
        }
        self.rest();
    }

    fn read(&mut self) {
        self.mesh.begin_reading();
        for reading in self.readings.iter().filter(|r| r.key != key(1)) {
            let address = address(reading.key.as_bytes()[0]);
            self.mesh.handle_reading(self.now, reading, [(address, 32)]);
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
                        assert!(self.mesh.connected() < PEERS);
                        return;
                    }
                }
                Some(Output::Datagram { len, .. } | Output::Opener { len, .. }) => {
                    assert!(len <= MAX_DATAGRAM);
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
    while let Some((&[what, who, low, high], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(after.len());
        let (bytes, after) = after.split_at(length);
        bench.step(what, who, bytes);
        rest = after;
    }
});
