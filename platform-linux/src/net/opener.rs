//! Openers: small UDP packets from WireGuard's own port, which open a NAT for WireGuard and disturb no handshake.
//!
//! The port is WireGuard's, so no UDP socket can have it: they are sent and heard by raw sockets, for which `CAP_NET_RAW` is
//! needed. WireGuard itself drops what it does not know, silently.
//!
//! - *Sending* takes a socket for each packet. Openers are few, and a raw socket that stays gets a copy of every UDP
//!   packet of this host, WireGuard's too, if only to filter it out. It is connected first: where the engine has not named the
//!   source address, the kernel then chooses it as for WireGuard's packets, and it must be known for the UDP checksum, which
//!   the kernel leaves to us.
//! - *Hearing* goes on only while it is wanted, with a filter in the kernel that lets nothing pass but openers to the port.
//!   What came in before the filter was set is recognised in the same way once more.
//!
//! This holds no policy: to whom, when and what is the engine's, and so is every judgement about what was heard.
//! A WireGuard interface that was moved here from another network namespace sends from where it was made; openers leave from
//! here.

use core::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    io::{Errno, Result},
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, getsockname, ipproto,
        recvfrom, send, socket_with,
        sockopt::{set_ip_ttl, set_ipv6_unicast_hops},
    },
};
use socket2::{SockFilter, SockRef};
use wgautomesh_core::OPENER_MAGIC;

use crate::{rtnl::field, wireguard::canonical};

/// The longest UDP payload that is sent or heard as an opener, in bytes. The engine's are about half of it.
pub const LONGEST: usize = 128;

/// Openers of one family taken in one call of [`Openers::receive`], so that a flood leaves time for everything else.
pub const RECEIVE_BUDGET: usize = 32;

const UDP_HEADER: usize = 8;
const LONGEST_IPV4_HEADER: usize = 60;

/// Where openers leave from: what WireGuard's packets have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// The listen port of the interface.
    pub port: u16,
    /// The fwmark of the interface, which may decide on the route; 0 for none.
    pub fwmark: u32,
}

/// Sends and hears openers, where that is allowed.
pub trait Openers {
    /// Whether it is.
    fn allowed(&self) -> bool;

    /// From where, from now on; without, nothing is sent and nothing heard.
    fn set_source(&mut self, source: Option<Source>);

    /// Sends one, from this address of the host or from the one that the system prefers, with this TTL or hop limit, or the
    /// system's. A failure is like a lost packet.
    fn send(&mut self, from: Option<IpAddr>, to: SocketAddr, hops: Option<u8>, payload: &[u8]);

    /// Starts or stops to hear those of others. Starting again what goes on already changes nothing.
    fn listen(&mut self, wanted: bool);

    /// To wait on.
    fn fds(&self) -> [Option<BorrowedFd<'_>>; 2];

    /// Hands over what has been heard: at most [`RECEIVE_BUDGET`] of each family, each with where it came from.
    fn receive(&mut self, handle: &mut dyn FnMut(SocketAddr, &mut [u8]));
}

/// Openers by raw sockets.
pub struct RawOpeners {
    refused: Option<Errno>,
    source: Option<Source>,
    listening: bool,
    listeners: [Option<OwnedFd>; 2],
}

impl RawOpeners {
    /// Tries whether raw sockets are allowed.
    #[must_use]
    pub fn new() -> Self {
        Self { refused: raw(true).err(), source: None, listening: false, listeners: [None, None] }
    }

    /// Why they are not.
    #[must_use]
    pub fn refused(&self) -> Option<Errno> {
        self.refused
    }

    fn try_send(&self, from: Option<IpAddr>, to: SocketAddr, hops: Option<u8>, payload: &[u8]) -> Result<()> {
        let source = self.source.ok_or(Errno::NOTCONN)?;
        let to = canonical(to);
        let socket = raw(to.is_ipv4())?;
        if source.fwmark != 0 && SockRef::from(&socket).set_mark(source.fwmark).is_err() {
            return Err(Errno::PERM);
        }
        match hops {
            Some(hops) if to.is_ipv4() => set_ip_ttl(&socket, hops.into())?,
            Some(_) => set_ipv6_unicast_hops(&socket, hops)?,
            None => {}
        }
        if let Some(from) = from {
            bind(&socket, &SocketAddr::new(from, 0))?;
        }
        connect(&socket, &to)?;
        let from = SocketAddr::try_from(getsockname(&socket)?)?.ip();
        let mut packet = [0; UDP_HEADER + LONGEST];
        let packet = datagram(&mut packet, (from, source.port), (to.ip(), to.port()), payload)
            .ok_or(Errno::MSGSIZE)?;
        send(&socket, packet, SendFlags::empty()).map(drop)
    }

    /// Makes the listeners as they should be. A family that this host lacks is left out.
    fn update(&mut self) {
        let port = self.source.filter(|_| self.listening).map(|source| source.port);
        self.listeners = [true, false].map(|is_v4| listener(is_v4, port?));
    }
}

impl Default for RawOpeners {
    fn default() -> Self {
        Self::new()
    }
}

impl Openers for RawOpeners {
    fn allowed(&self) -> bool {
        self.refused.is_none()
    }

    fn set_source(&mut self, source: Option<Source>) {
        if self.source != source {
            self.source = source;
            self.update();
        }
    }

    fn send(&mut self, from: Option<IpAddr>, to: SocketAddr, hops: Option<u8>, payload: &[u8]) {
        if let Err(error) = self.try_send(from, to, hops, payload) {
            log::debug!("opener to {to}: {error}");
        }
    }

    fn listen(&mut self, wanted: bool) {
        let wanted = wanted && self.allowed();
        if self.listening != wanted {
            self.listening = wanted;
            self.update();
        }
    }

    fn fds(&self) -> [Option<BorrowedFd<'_>>; 2] {
        self.listeners.each_ref().map(|listener| listener.as_ref().map(OwnedFd::as_fd))
    }

    fn receive(&mut self, handle: &mut dyn FnMut(SocketAddr, &mut [u8])) {
        let Some(Source { port, .. }) = self.source else { return };
        for (listener, is_v4) in self.listeners.iter().zip([true, false]) {
            let Some(listener) = listener else { continue };
            for _ in 0..RECEIVE_BUDGET {
                let mut packet = [0; LONGEST_IPV4_HEADER + UDP_HEADER + LONGEST];
                let Ok((_, length, from)) = recvfrom(listener, &mut packet, RecvFlags::empty()) else {
                    break;
                };
                let from = from.and_then(|from| SocketAddr::try_from(from).ok());
                let packet = packet.get_mut(..length).unwrap_or_default();
                if let (Some(mut from), Some((from_port, payload))) = (from, opener(packet, is_v4, port)) {
                    from.set_port(from_port);
                    handle(from, payload);
                }
            }
        }
    }
}

/// A raw socket for UDP, under whose packets the kernel puts the IP header.
fn raw(is_v4: bool) -> Result<OwnedFd> {
    let family = if is_v4 { AddressFamily::INET } else { AddressFamily::INET6 };
    socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, Some(ipproto::UDP))
}

/// One that receives openers to this port.
fn listener(is_v4: bool, port: u16) -> Option<OwnedFd> {
    let socket = raw(is_v4).ok()?;
    SockRef::from(&socket).attach_filter(&filter(is_v4, port)).ok()?;
    Some(socket)
}

/// A UDP packet around the payload; `None` if that is too long.
fn datagram<'b>(
    buffer: &'b mut [u8; UDP_HEADER + LONGEST],
    (from, from_port): (IpAddr, u16),
    (to, to_port): (IpAddr, u16),
    payload: &[u8],
) -> Option<&'b [u8]> {
    let packet = buffer.get_mut(..UDP_HEADER + payload.len())?;
    let (header, body) = packet.split_first_chunk_mut::<UDP_HEADER>()?;
    body.copy_from_slice(payload);
    let length = (UDP_HEADER + payload.len()) as u16;
    header[0..2].copy_from_slice(&from_port.to_be_bytes());
    header[2..4].copy_from_slice(&to_port.to_be_bytes());
    header[4..6].copy_from_slice(&length.to_be_bytes());
    header[6..8].fill(0);
    // RFC 768 and RFC 8200, 8.1: over the addresses, protocol 17, the length, and the packet itself.
    let sum = sum_of_ip(from) + sum_of_ip(to) + 17 + u32::from(length) + sum(packet);
    // 0 would mean that there is none, which IPv6 and some translators do not take.
    let checksum = match !fold(sum) {
        0 => u16::MAX,
        checksum => checksum,
    };
    packet[6..8].copy_from_slice(&checksum.to_be_bytes());
    Some(packet)
}

fn sum_of_ip(ip: IpAddr) -> u32 {
    match ip {
        IpAddr::V4(ip) => sum(&ip.octets()),
        IpAddr::V6(ip) => sum(&ip.octets()),
    }
}

/// The sum of 16-bit words; no packet of ours is long enough to overflow it.
fn sum(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    bytes.chunks(2).map(word).sum()
}

fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}

/// Lets pass what [`opener`] takes: a classic BPF program, see the kernel's `Documentation/networking/filter.rst`.
/// A load from beyond the packet drops it.
fn filter(is_v4: bool, port: u16) -> [SockFilter; 9] {
    const LOAD_X_IP_HEADER_LENGTH: u16 = 0xb1; // ldxb 4*([k]&0xf)
    const LOAD_X: u16 = 0x01; // ldx #k
    const LOAD_HALF_WORD: u16 = 0x48; // ldh [x+k]
    const LOAD_WORD: u16 = 0x40; // ld [x+k]
    const JUMP_EQUAL: u16 = 0x15; // jeq #k, jt, jf
    const JUMP_GREATER: u16 = 0x25; // jgt #k, jt, jf
    const RETURN: u16 = 0x06; // ret #k: bytes to keep
    // Raw IPv4 sockets see the IP header, whose length varies; those of IPv6 see none.
    let skip_ip_header = if is_v4 { LOAD_X_IP_HEADER_LENGTH } else { LOAD_X };
    [
        SockFilter::new(skip_ip_header, 0, 0, 0),
        SockFilter::new(LOAD_HALF_WORD, 0, 0, 2),
        SockFilter::new(JUMP_EQUAL, 0, 5, port.into()),
        SockFilter::new(LOAD_HALF_WORD, 0, 0, 4),
        SockFilter::new(JUMP_GREATER, 3, 0, (UDP_HEADER + LONGEST) as u32),
        SockFilter::new(LOAD_WORD, 0, 0, UDP_HEADER as u32),
        SockFilter::new(JUMP_EQUAL, 0, 1, u32::from_be_bytes(OPENER_MAGIC)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// The source port and payload of what a raw socket received, if it is an opener to this port.
fn opener(packet: &mut [u8], is_v4: bool, port: u16) -> Option<(u16, &mut [u8])> {
    let skip = if is_v4 { usize::from(packet.first()? & 0xf) * 4 } else { 0 };
    let udp = packet.get_mut(skip..)?;
    let number = |at| field(udp, at).map(u16::from_be_bytes);
    let (from_port, to_port, length) = (number(0)?, number(2)?, usize::from(number(4)?));
    let payload = udp.get_mut(UDP_HEADER..length)?;
    let is_opener =
        to_port == port && from_port != 0 && payload.len() <= LONGEST && payload.starts_with(&OPENER_MAGIC);
    is_opener.then_some((from_port, payload))
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

    fn built(from: IpAddr, to: IpAddr, payload: &[u8]) -> Vec<u8> {
        let mut buffer = [0; UDP_HEADER + LONGEST];
        datagram(&mut buffer, (from, 51820), (to, 4660), payload).expect("it fits").to_vec()
    }

    #[test]
    fn headers_are_right() {
        let packet = built(V4, V4, b"wgmo!");
        // 51820, 4660, 13 bytes.
        assert_eq!(packet[..6], [0xca, 0x6c, 0x12, 0x34, 0, 13]);
        assert_eq!(packet[8..], *b"wgmo!");
        // By hand: c000+0201 twice, 11, d twice, ca6c, 1234, 7767, 6d6f, 2100.
        assert_eq!(
            packet[6..8],
            (!fold(0x18402 + 0x11 + 13 + 13 + 0xca6c + 0x1234 + 0x7767 + 0x6d6f + 0x2100)).to_be_bytes()
        );
    }

    #[test]
    fn a_receiver_finds_the_checksum_right() {
        for (from, to) in [(V4, V4), (V6, V6)] {
            for length in 0..=LONGEST {
                let payload: Vec<u8> = (0..length).map(|at| (at * length) as u8).collect();
                let packet = built(from, to, &payload);
                let total = sum_of_ip(from) + sum_of_ip(to) + 17 + packet.len() as u32 + sum(&packet);
                assert_eq!(fold(total), 0xffff, "{length}");
                assert_ne!(packet[6..8], [0, 0]);
            }
        }
        let mut buffer = [0; UDP_HEADER + LONGEST];
        assert!(datagram(&mut buffer, (V4, 1), (V4, 1), &[0; LONGEST + 1]).is_none());
    }

    #[test]
    fn a_checksum_of_zero_is_written_as_all_ones() {
        // The last word takes what is missing to 0xffff.
        let missing = !fold(sum_of_ip(V4) * 2 + 17 + 10 + 51820 + 4660 + 10);
        assert_eq!(built(V4, V4, &missing.to_be_bytes())[6..8], [0xff, 0xff]);
    }

    /// With an IPv4 header of so many words in front.
    fn with_ip(words: u8, packet: &[u8]) -> Vec<u8> {
        let mut whole = vec![0; usize::from(words) * 4];
        whole[0] = 0x40 | words;
        whole.extend(packet);
        whole
    }

    #[test]
    fn openers_are_told_from_the_rest() {
        let packet = built(V4, V4, b"wgmo and more");
        for mut received in [with_ip(5, &packet), with_ip(15, &packet)] {
            assert_eq!(opener(&mut received, true, 4660), Some((51820, &mut { *b"wgmo and more" }[..])));
            assert_eq!(opener(&mut received, true, 4661), None, "another port");
            for end in 0..received.len() {
                assert_eq!(opener(&mut received[..end].to_vec(), true, 4660), None, "cut at {end}");
            }
        }
        assert!(opener(&mut packet.clone(), false, 4660).is_some());
        assert_eq!(opener(&mut built(V6, V6, b"wgmO and more"), false, 4660), None);
        let mut from_nowhere = packet.clone();
        from_nowhere[..2].fill(0);
        assert_eq!(opener(&mut from_nowhere, false, 4660), None);
        for length in [0, 7, 8, 11, packet.len() as u16 + 1, u16::MAX] {
            let mut wrong = packet.clone();
            wrong[4..6].copy_from_slice(&length.to_be_bytes());
            assert_eq!(opener(&mut wrong, false, 4660), None, "{length}");
        }
    }
}
