//! Underlay endpoints: how they are kept, which scope they have, and which are never used.

use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

use serde::{Deserialize, Serialize};

/// Where an endpoint can be reached from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Scope {
    /// Never a place to send to: unspecified, loopback, multicast, broadcast, port 0.
    Unusable,
    /// One link: 169.254/16, fe80::/10. Needs an interface to mean anything.
    Link,
    /// One site: RFC 1918, RFC 6598 (carrier-grade NAT), unique local IPv6.
    Private,
    /// The internet. Documentation and benchmark ranges count as public, so that tests can use them.
    Public,
}

/// An underlay IP address and UDP port in 18 bytes (a `SocketAddr` takes 32).
///
/// IPv4 is kept in its v4-mapped form. A link-local IPv6 endpoint means something on one link only: the interface that its
/// scope id names lies in bytes of the address that are zero in all link-local addresses (RFC 4291, 2.5.6; as the BSDs do it),
/// so that it costs no room. It stays on this machine: what is sent to others is the address without it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    ip: [u8; 16],
    port: u16,
}

/// Where the scope id of a link-local address lies, in bits from the right: bytes 4 to 7.
const ZONE_SHIFT: u32 = 64;
const ZONE_BITS: u128 = (u32::MAX as u128) << ZONE_SHIFT;
/// The bits of a link-local address that are always zero: 11 to 64, of which the first belong to its prefix here.
const ZERO_BITS: u128 = ((1 << 48) - 1) << ZONE_SHIFT;

impl Endpoint {
    /// Wraps an address and a port. A link-local IPv6 address is of no known link then; see [`with_zone`](Self::with_zone).
    #[must_use]
    pub const fn new(ip: IpAddr, port: u16) -> Self {
        Self::with_zone(ip, port, 0)
    }

    /// The same on the link of the interface with this index (its scope id; 0 for none), which only link-local IPv6 addresses
    /// need.
    #[must_use]
    pub const fn with_zone(ip: IpAddr, port: u16, zone: u32) -> Self {
        let bits = match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            // Not an address that any link has, and it must not be taken for one with a zone.
            IpAddr::V6(v6) if v6.is_unicast_link_local() && v6.to_bits() & ZERO_BITS != 0 => 0,
            IpAddr::V6(v6) if v6.is_unicast_link_local() => v6.to_bits() | (zone as u128) << ZONE_SHIFT,
            IpAddr::V6(v6) => v6.to_bits(),
        };
        Self { ip: bits.to_be_bytes(), port }
    }

    /// The address, canonical: a v4-mapped address comes back as IPv4.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        let ip = Ipv6Addr::from_bits(u128::from_be_bytes(self.ip));
        if ip.is_unicast_link_local() {
            return IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !ZONE_BITS));
        }
        ip.to_canonical()
    }

    /// The index of the interface on whose link a link-local IPv6 endpoint is; 0 for any other endpoint, and where the link is
    /// not known.
    #[must_use]
    pub const fn zone(&self) -> u32 {
        let ip = Ipv6Addr::from_bits(u128::from_be_bytes(self.ip));
        if ip.is_unicast_link_local() { ((ip.to_bits() & ZONE_BITS) >> ZONE_SHIFT) as u32 } else { 0 }
    }

    /// The UDP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is an IPv4 endpoint.
    #[must_use]
    pub const fn is_ipv4(&self) -> bool {
        matches!(self.ip(), IpAddr::V4(_))
    }

    /// Where it can be reached from.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        if self.port == 0 { Scope::Unusable } else { scope(self.ip()) }
    }
}

/// Where an address can be reached from. See [`Scope`].
#[must_use]
pub const fn scope(ip: IpAddr) -> Scope {
    match ip {
        IpAddr::V4(v4) => scope_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => scope_v4(v4),
            None => scope_v6(v6),
        },
    }
}

const fn scope_v4(ip: Ipv4Addr) -> Scope {
    let [a, b, ..] = ip.octets();
    if a == 0 || a == 127 || a >= 224 {
        // 0/8, loopback, multicast, and 240/4 with the broadcast address in it.
        Scope::Unusable
    } else if ip.is_link_local() {
        Scope::Link
    } else if ip.is_private() || (a == 100 && b & 0xc0 == 64) {
        Scope::Private
    } else {
        Scope::Public
    }
}

const fn scope_v6(ip: Ipv6Addr) -> Scope {
    if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() {
        Scope::Unusable
    } else if ip.is_unicast_link_local() {
        Scope::Link
    } else if ip.is_unique_local() {
        Scope::Private
    } else {
        Scope::Public
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        let zone = match addr {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(v6) => v6.scope_id(),
        };
        Self::with_zone(addr.ip(), addr.port(), zone)
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(endpoint: Endpoint) -> Self {
        match endpoint.ip() {
            IpAddr::V4(ip) => (ip, endpoint.port).into(),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, endpoint.port, 0, endpoint.zone()).into(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Endpoint {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=[u8]}:{=u16}", self.ip, self.port);
    }
}

impl Serialize for Endpoint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Without its zone, which is nobody else's business: the form has no place for it.
        SocketAddr::from(*self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SocketAddr::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests;
