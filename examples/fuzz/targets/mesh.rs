//! The whole engine as a member, a stranger and WireGuard may drive it: sealed and unsealed datagrams, openers, readings,
//! addresses and time, in any order. It must not panic, must come to rest after every input, and must always know when it
//! wants to be called again.
//!
//! The input is a row of steps: what (1 byte), from whom (1 byte), length (2 bytes, little endian), and as many bytes.

#![no_main]

mod engine;

use core::net::SocketAddr;

use engine::{address, key};
use libfuzzer_sys::fuzz_target;
use wgautomesh_core::{Duration, OPENER_MAGIC, PeerReading, fuzzing, limits::MAX_DATAGRAM};

const PEERS: usize = 6;

type Bench = engine::Bench<PEERS>;

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

fn bench() -> Bench {
    let nothing = PeerReading {
        key: key(0),
        endpoint: None,
        rx_bytes: 0,
        tx_bytes: 0,
        last_handshake: 0,
        keepalive: 0,
    };
    Bench::new(nothing, |mesh, now| {
        mesh.allow_openers(now, true);
        mesh.expect_links(true);
        mesh.set_configured_endpoints(now, &key(2), &[([203, 0, 113, 2], 51820).into()]);
        mesh.handle_local_addresses(now, &[[192, 168, 1, 7].into(), [203, 0, 113, 1].into()]);
    })
}

fn step(bench: &mut Bench, what: u8, who: u8, bytes: &[u8]) {
    let who = who % PEERS as u8;
    match what % 8 {
        // What a member may send.
        0..=2 => {
            let mut datagram = [0; MAX_DATAGRAM];
            let len = fuzzing::seal(&bench.secret, bytes, &mut datagram);
            bench.mesh.handle_datagram(bench.now, address(who + 1), &mut datagram[..len]);
        }
        // What any program on its host may send.
        3 => bench.mesh.handle_datagram(bench.now, address(who + 1), &mut bytes.to_vec()),
        4 => {
            let mut datagram = [0; MAX_DATAGRAM];
            datagram[..4].copy_from_slice(&OPENER_MAGIC);
            let frames = bytes.get(19..).unwrap_or_default();
            let len = 4 + fuzzing::seal(&bench.secret, frames, &mut datagram[4..]);
            bench.mesh.handle_opener(bench.now, endpoint(bytes), &mut datagram[..len]);
        }
        5 => {
            let reading = &mut bench.readings[usize::from(who)];
            reading.rx_bytes += number(bytes, 0);
            reading.tx_bytes += number(bytes, 2);
            reading.last_handshake += number(bytes, 4);
            reading.keepalive = number(bytes, 6) as u16;
            reading.endpoint = bytes.get(8..).filter(|b| !b.is_empty()).map(endpoint);
            bench.read();
        }
        6 => bench.pass(Duration::from_millis(number(bytes, 0) * (1 + u64::from(who) * 20))),
        _ => {
            let addresses: Vec<_> = bytes.chunks(19).map(|b| endpoint(b).ip()).collect();
            bench.mesh.handle_local_addresses(bench.now, &addresses);
        }
    }
    bench.rest(|_| ());
    assert!(bench.mesh.connected() < PEERS);
}

fuzz_target!(|input: &[u8]| {
    let mut bench = bench();
    bench.rest(|_| ());
    let mut rest = input;
    while let Some((&[what, who, low, high], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(after.len());
        let (bytes, after) = after.split_at(length);
        step(&mut bench, what, who, bytes);
        rest = after;
    }
});
