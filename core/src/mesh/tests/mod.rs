//! The engine from its outside, in small meshes. What takes many nodes or bad networks is the simulator's.

mod asking;
mod bench;
mod datagrams;
mod knock;
mod lan;
mod links;
mod mapping;
mod meeting;
mod memory;
mod net;
mod observers;
mod openers;
mod own;
mod platform;
mod readings;
mod records;
mod recovery;
mod rotation;
mod table;
mod tell;

use core::net::{IpAddr, Ipv4Addr};

use crate::PublicKey;

const SECRET: &[u8] = b"a secret that all share";
const PORT: u16 = 51820;

/// The key of the n-th node; a lower number is a lower key.
const fn key(n: usize) -> PublicKey {
    if n < 16 {
        return PublicKey::from_bytes([n as u8 * 16 + 1; 32]);
    }
    let mut bytes = [n as u8; 32];
    bytes[0] = 0xff;
    PublicKey::from_bytes(bytes)
}

const fn mesh_address(n: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, n as u8 + 1))
}
