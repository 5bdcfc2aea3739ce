//! Raw IPv4 and IPv6 packets that carry UDP or an ICMP echo: parse to a [`Header`], write one back.
//!
//! Transport checksums are updated incrementally (RFC 1624), as a NAT does: a packet that arrived with a wrong
//! checksum leaves with a wrong one, and IPv4's "no checksum" stays so. The IPv4 header's own checksum is made anew.
//!
//! Not here: fragments, IPv4 options are skipped over, IPv6 extension headers, TCP, ICMP errors.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

#[cfg(test)]
mod tests;

const IPPROTO_ICMP: u8 = 1;
const IPPROTO_UDP: u8 = 17;
const IPPROTO_ICMPV6: u8 = 58;

/// The TTL that ordinary packets start with.
pub const DEFAULT_TTL: u8 = 64;

/// What a packet is, as far as a NAT cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Proto {
    /// UDP; the ports are UDP's.
    Udp,
    /// An echo request; the source port is its identifier, the destination port is 0.
    EchoRequest,
    /// An echo reply; the destination port is its identifier, the source port is 0.
    EchoReply,
}

/// The part of a packet that routers and NATs read and change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// What it is.
    pub proto: Proto,
    /// Where it comes from. An ICMP echo request has its identifier as the port.
    pub src: SocketAddr,
    /// Where it goes. An ICMP echo reply has its identifier as the port.
    pub dst: SocketAddr,
    /// Remaining hops. Each router takes one; at 0 the packet is dropped.
    pub ttl: u8,
}

impl Header {
    /// A UDP header with the usual TTL.
    #[must_use]
    pub const fn udp(src: SocketAddr, dst: SocketAddr) -> Self {
        Self { proto: Proto::Udp, src, dst, ttl: DEFAULT_TTL }
    }

    /// The header of an echo request with identifier `id`.
    #[must_use]
    pub const fn echo_request(src: IpAddr, dst: IpAddr, id: u16) -> Self {
        Self {
            proto: Proto::EchoRequest,
            src: SocketAddr::new(src, id),
            dst: SocketAddr::new(dst, 0),
            ttl: DEFAULT_TTL,
        }
    }

    /// The header of an answer to this packet: addresses swapped, an echo request becomes its reply.
    #[must_use]
    pub const fn reply(&self) -> Self {
        let proto = match self.proto {
            Proto::Udp => Proto::Udp,
            Proto::EchoRequest => Proto::EchoReply,
            Proto::EchoReply => Proto::EchoRequest,
        };
        Self { proto, src: self.dst, dst: self.src, ttl: DEFAULT_TTL }
    }
}

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// Shorter than its headers say.
    Truncated,
    /// Neither IPv4 nor IPv6, or a header length that cannot be.
    Malformed,
    /// A fragment; the virtual internet carries whole packets only.
    Fragment,
    /// Something else than UDP or an ICMP echo.
    Protocol,
    /// `rewrite` was given a header of another protocol or address family than the packet's.
    Mismatch,
}

impl core::fmt::Display for ParseError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Truncated => "packet shorter than its headers say",
            Self::Malformed => "not an IP packet",
            Self::Fragment => "fragment",
            Self::Protocol => "neither UDP nor ICMP echo",
            Self::Mismatch => "header of another protocol or family than the packet's",
        })
    }
}

impl core::error::Error for ParseError {}

/// Where things are in a packet that was parsed.
struct Layout {
    v6: bool,
    proto: Proto,
    /// Offset of the UDP or ICMP header.
    transport: usize,
    /// Where the packet ends by its own account; what follows is padding.
    end: usize,
}

fn be16(packet: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(packet.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn put16(packet: &mut [u8], at: usize, value: u16) -> Option<()> {
    packet.get_mut(at..at.checked_add(2)?)?.copy_from_slice(&value.to_be_bytes());
    Some(())
}

fn v4_at(packet: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = packet.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(octets.into())
}

fn v6_at(packet: &[u8], at: usize) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = packet.get(at..at.checked_add(16)?)?.try_into().ok()?;
    Some(octets.into())
}

fn layout(packet: &[u8]) -> Result<Layout, ParseError> {
    use ParseError::{Fragment, Malformed, Truncated};
    let first = *packet.first().ok_or(Truncated)?;
    let (v6, transport, end, next) = match first >> 4 {
        4 => {
            let header = usize::from(first & 0x0f) * 4;
            let total = usize::from(be16(packet, 2).ok_or(Truncated)?);
            if header < 20 || total < header {
                return Err(Malformed);
            }
            // More-fragments bit or an offset.
            if be16(packet, 6).ok_or(Truncated)? & 0x3fff != 0 {
                return Err(Fragment);
            }
            (false, header, total, *packet.get(9).ok_or(Truncated)?)
        }
        6 => {
            let payload = usize::from(be16(packet, 4).ok_or(Truncated)?);
            let next = *packet.get(6).ok_or(Truncated)?;
            if next == 44 {
                return Err(Fragment);
            }
            (true, 40, 40 + payload, next)
        }
        _ => return Err(Malformed),
    };
    // Both transports have a header of 8 bytes.
    if packet.len() < end {
        return Err(Truncated);
    }
    if end < transport + 8 {
        return Err(Malformed);
    }
    let proto = match (next, packet.get(transport), packet.get(transport + 1)) {
        (IPPROTO_UDP, _, _) => Proto::Udp,
        (IPPROTO_ICMP, Some(8), Some(0)) if !v6 => Proto::EchoRequest,
        (IPPROTO_ICMP, Some(0), Some(0)) if !v6 => Proto::EchoReply,
        (IPPROTO_ICMPV6, Some(128), Some(0)) if v6 => Proto::EchoRequest,
        (IPPROTO_ICMPV6, Some(129), Some(0)) if v6 => Proto::EchoReply,
        _ => return Err(ParseError::Protocol),
    };
    Ok(Layout { v6, proto, transport, end })
}

/// The header of a raw IP packet. Checksums are not looked at: the receiver's kernel does that.
///
/// # Errors
/// Anything but a whole UDP or ICMP echo packet.
pub fn parse(packet: &[u8]) -> Result<Header, ParseError> {
    let at = layout(packet)?;
    fields(packet, &at).ok_or(ParseError::Truncated)
}

/// What a raw packet carries as UDP; `None` for anything else.
#[must_use]
pub fn udp_payload(packet: &[u8]) -> Option<&[u8]> {
    let at = layout(packet).ok().filter(|at| at.proto == Proto::Udp)?;
    packet.get(at.transport + 8..at.end)
}

fn fields(packet: &[u8], at: &Layout) -> Option<Header> {
    let (src, dst, ttl): (IpAddr, IpAddr, u8) = if at.v6 {
        (v6_at(packet, 8)?.into(), v6_at(packet, 24)?.into(), *packet.get(7)?)
    } else {
        (v4_at(packet, 12)?.into(), v4_at(packet, 16)?.into(), *packet.get(8)?)
    };
    let (src_port, dst_port) = match at.proto {
        Proto::Udp => (be16(packet, at.transport)?, be16(packet, at.transport + 2)?),
        Proto::EchoRequest => (be16(packet, at.transport + 4)?, 0),
        Proto::EchoReply => (0, be16(packet, at.transport + 4)?),
    };
    Some(Header {
        proto: at.proto,
        src: SocketAddr::new(src, src_port),
        dst: SocketAddr::new(dst, dst_port),
        ttl,
    })
}

/// Gives the packet the addresses, ports (or echo identifier) and TTL of `to`, and mends its checksums.
///
/// # Errors
/// As [`parse`], and [`ParseError::Mismatch`]; the packet is then unchanged.
pub fn rewrite(packet: &mut [u8], to: &Header) -> Result<(), ParseError> {
    let at = layout(packet)?;
    if at.proto != to.proto || to.src.is_ipv6() != at.v6 || to.dst.is_ipv6() != at.v6 {
        return Err(ParseError::Mismatch);
    }
    write_fields(packet, &at, to).ok_or(ParseError::Truncated)
}

fn write_fields(packet: &mut [u8], at: &Layout, to: &Header) -> Option<()> {
    let addresses = if at.v6 { 8..40 } else { 12..20 };
    let ports = match at.proto {
        Proto::Udp => at.transport..at.transport + 4,
        Proto::EchoRequest | Proto::EchoReply => at.transport + 4..at.transport + 6,
    };
    // ICMPv4 has no pseudo-header: its checksum does not cover the addresses.
    let covers_addresses = at.v6 || at.proto == Proto::Udp;
    let old_sum = sum(packet.get(ports.clone())?)
        + if covers_addresses { sum(packet.get(addresses.clone())?) } else { 0 };

    match (to.src.ip(), to.dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            packet.get_mut(12..16)?.copy_from_slice(&src.octets());
            packet.get_mut(16..20)?.copy_from_slice(&dst.octets());
            *packet.get_mut(8)? = to.ttl;
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            packet.get_mut(8..24)?.copy_from_slice(&src.octets());
            packet.get_mut(24..40)?.copy_from_slice(&dst.octets());
            *packet.get_mut(7)? = to.ttl;
        }
        _ => return None,
    }
    match at.proto {
        Proto::Udp => {
            put16(packet, at.transport, to.src.port())?;
            put16(packet, at.transport + 2, to.dst.port())?;
        }
        Proto::EchoRequest => put16(packet, at.transport + 4, to.src.port())?,
        Proto::EchoReply => put16(packet, at.transport + 4, to.dst.port())?,
    }
    let new_sum = sum(packet.get(ports)?) + if covers_addresses { sum(packet.get(addresses)?) } else { 0 };

    let checksum_at = at.transport + if at.proto == Proto::Udp { 6 } else { 2 };
    let old = be16(packet, checksum_at)?;
    // A zero UDP checksum on IPv4 means "none"; on IPv6 it is invalid and stays so.
    if at.proto != Proto::Udp || old != 0 {
        let mut new = !fold(u64::from(!old) + u64::from(!fold(old_sum)) + new_sum);
        if at.proto == Proto::Udp && new == 0 {
            new = 0xffff;
        }
        put16(packet, checksum_at, new)?;
    }
    if !at.v6 {
        put16(packet, 10, 0)?;
        let header = !fold(sum(packet.get(..at.transport)?));
        put16(packet, 10, header)?;
    }
    Some(())
}

/// Source, destination and length of any IP packet, whatever it carries; bytes after the length are padding. `None`
/// when it is shorter than it says, or no IP packet.
#[must_use]
pub fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr, usize)> {
    let (src, dst, length): (IpAddr, IpAddr, usize) = match packet.first()? >> 4 {
        4 => (v4_at(packet, 12)?.into(), v4_at(packet, 16)?.into(), be16(packet, 2)?.into()),
        6 => (v6_at(packet, 8)?.into(), v6_at(packet, 24)?.into(), 40 + usize::from(be16(packet, 4)?)),
        _ => return None,
    };
    (20..=packet.len()).contains(&length).then_some((src, dst, length))
}

/// A whole UDP packet with right checksums. `None` when the families differ or the payload is too long.
#[must_use]
pub fn udp(src: SocketAddr, dst: SocketAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(payload.len().checked_add(8)?).ok()?;
    let mut packet = ip_header(src.ip(), dst.ip(), length, IPPROTO_UDP, IPPROTO_UDP)?;
    let transport = packet.len();
    for field in [src.port(), dst.port(), length, 0] {
        packet.extend_from_slice(&field.to_be_bytes());
    }
    packet.extend_from_slice(payload);
    let checksum = match transport_checksum(&packet, transport, IPPROTO_UDP)? {
        0 => 0xffff,
        other => other,
    };
    put16(&mut packet, transport + 6, checksum)?;
    Some(packet)
}

/// A whole ICMP echo request, or its reply, with right checksums. `None` when the families differ or the payload
/// is too long.
#[must_use]
pub fn echo(reply: bool, src: IpAddr, dst: IpAddr, id: u16, seq: u16, payload: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(payload.len().checked_add(8)?).ok()?;
    let mut packet = ip_header(src, dst, length, IPPROTO_ICMP, IPPROTO_ICMPV6)?;
    let transport = packet.len();
    let kind = match (src.is_ipv6(), reply) {
        (false, false) => 8,
        (false, true) => 0,
        (true, false) => 128,
        (true, true) => 129,
    };
    packet.extend_from_slice(&[kind, 0, 0, 0]);
    packet.extend_from_slice(&id.to_be_bytes());
    packet.extend_from_slice(&seq.to_be_bytes());
    packet.extend_from_slice(payload);
    let protocol = if src.is_ipv6() { IPPROTO_ICMPV6 } else { IPPROTO_ICMP };
    let checksum = transport_checksum(&packet, transport, protocol)?;
    put16(&mut packet, transport + 2, checksum)?;
    Some(packet)
}

/// What a UDP packet carries, or an echo after its sequence number.
///
/// # Errors
/// As [`parse`].
pub fn payload(packet: &[u8]) -> Result<&[u8], ParseError> {
    let at = layout(packet)?;
    packet.get(at.transport + 8..at.end).ok_or(ParseError::Truncated)
}

/// Whether all checksums of a packet that parses are right.
///
/// # Errors
/// As [`parse`].
pub fn checksums_right(packet: &[u8]) -> Result<bool, ParseError> {
    let at = layout(packet)?;
    let header_right = at.v6 || packet.get(..at.transport).is_some_and(|header| fold(sum(header)) == 0xffff);
    let protocol = match (at.proto, at.v6) {
        (Proto::Udp, _) => IPPROTO_UDP,
        (_, true) => IPPROTO_ICMPV6,
        (_, false) => IPPROTO_ICMP,
    };
    let none = at.proto == Proto::Udp && !at.v6 && be16(packet, at.transport + 6) == Some(0);
    let whole = packet.get(..at.end).ok_or(ParseError::Truncated)?;
    Ok(header_right && (none || transport_checksum(whole, at.transport, protocol) == Some(0)))
}

fn ip_header(src: IpAddr, dst: IpAddr, payload: u16, v4_protocol: u8, v6_protocol: u8) -> Option<Vec<u8>> {
    let mut packet = Vec::with_capacity(48 + usize::from(payload));
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            packet.extend_from_slice(&[0x45, 0]);
            packet.extend_from_slice(&payload.checked_add(20)?.to_be_bytes());
            // No identification; "don't fragment".
            packet.extend_from_slice(&[0, 0, 0x40, 0, DEFAULT_TTL, v4_protocol, 0, 0]);
            packet.extend_from_slice(&src.octets());
            packet.extend_from_slice(&dst.octets());
            let checksum = !fold(sum(&packet));
            put16(&mut packet, 10, checksum)?;
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            packet.extend_from_slice(&[0x60, 0, 0, 0]);
            packet.extend_from_slice(&payload.to_be_bytes());
            packet.extend_from_slice(&[v6_protocol, DEFAULT_TTL]);
            packet.extend_from_slice(&src.octets());
            packet.extend_from_slice(&dst.octets());
        }
        _ => return None,
    }
    Some(packet)
}

/// The checksum over a packet's transport part as it stands: 0 when its checksum field is right, the value for the
/// field when that is 0.
fn transport_checksum(packet: &[u8], transport: usize, protocol: u8) -> Option<u16> {
    let body = packet.get(transport..)?;
    let pseudo = match protocol {
        IPPROTO_ICMP => 0,
        _ => {
            let addresses = if transport == 40 && packet.first()? >> 4 == 6 { 8..40 } else { 12..20 };
            sum(packet.get(addresses)?) + body.len() as u64 + u64::from(protocol)
        }
    };
    Some(!fold(pseudo + sum(body)))
}

/// Sum of big-endian 16-bit words; an odd last byte counts as a high one. Cannot overflow: a packet has < 2^16 words.
fn sum(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(2);
    let whole: u64 = words.by_ref().map(|w| u64::from(w[0]) << 8 | u64::from(w[1])).sum();
    whole + words.remainder().first().map_or(0, |last| u64::from(*last) << 8)
}

/// Ones' complement folding to 16 bits.
const fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
