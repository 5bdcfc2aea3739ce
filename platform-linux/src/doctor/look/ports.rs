//! UDP ports: those that are bound here, and whether the daemon could bind the gossip's.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::{fs, io};

use embedded_nal::{UdpClientStack as _, UdpFullStack as _};

use super::{
    super::facts::{BoundPort, PortFacts, Seen},
    process,
};
use crate::net::Tunnel;

/// Whether the port can be bound on the interface: by the very way in which the daemon does it.
pub(super) fn try_gossip(interface: &str, port: u16) -> PortFacts {
    let mut tunnel = Tunnel::new(interface);
    let bound = tunnel.socket().and_then(|mut socket| {
        tunnel.bind(&mut socket, port)?;
        tunnel.close(socket)
    });
    match bound {
        Ok(()) => PortFacts::Free,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => PortFacts::Taken,
        Err(error) => PortFacts::Unseen(super::unseen(&error)),
    }
}

/// Every bound port, with the program behind it where it can be seen.
pub(super) fn look() -> Seen<Vec<BoundPort>> {
    let v4 = fs::read_to_string("/proc/self/net/udp").map_err(|error| super::unseen(&error))?;
    // Not there without IPv6.
    let v6 = fs::read_to_string("/proc/self/net/udp6").unwrap_or_default();
    let mut ports: Vec<BoundPort> = v4.lines().chain(v6.lines()).filter_map(read).collect();
    let holders = process::socket_holders();
    for port in &mut ports {
        port.program = holders.get(&port.inode).cloned();
    }
    Ok(ports)
}

/// `  12: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 4711 2 0000000000000000 0`
fn read(line: &str) -> Option<BoundPort> {
    let mut words = line.split_whitespace().skip(1);
    let (address, port) = words.next()?.split_once(':')?;
    let inode = words.nth(7)?.parse().ok()?;
    Some(BoundPort { address: ip(address)?, port: u16::from_str_radix(port, 16).ok()?, inode, program: None })
}

/// Words of 32 bits in hexadecimal, each in the machine's order of bytes.
fn ip(text: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut octets = [0; 16];
            for (place, at) in octets.chunks_mut(4).zip([0, 8, 16, 24]) {
                place.copy_from_slice(&word(at)?);
            }
            Some(IpAddr::from(Ipv6Addr::from(octets)).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_port_that_is_bound_is_found_with_its_program() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = UdpSocket::bind(address) else { continue };
            let own = socket.local_addr().expect("an address");
            let ports = look().expect("/proc");
            let found = ports.iter().find(|bound| bound.port == own.port() && bound.address == own.ip());
            let program = found.expect("it is listed").program.clone().expect("it is ours");
            assert!(program.ends_with(&format!("({})", std::process::id())), "{program}");
        }
    }

    #[test]
    fn headings_and_nonsense_are_no_ports() {
        for line in [
            "",
            "   sl  local_address rem_address   st tx_queue",
            " 1: 0100007F:0035",
            " 1: xx:yy 0 0 0 0 0 0 0 0",
        ] {
            assert_eq!(read(line), None, "{line:?}");
        }
    }
}
