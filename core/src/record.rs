//! What a node publishes about itself, and the rules by which a newer record replaces an older one.
//!
//! A record is ordered by (incarnation, seq), compared as serial numbers. Only its subject makes a new one. A copy
//! heard from the subject's own tunnel beats every relayed copy, since WireGuard has proven who sent it. Relayed copies
//! carry an age and expire; they may not jump ahead without bound; and of two that claim to be the same, the one with
//! the higher hash wins everywhere, so that a lie cannot make nodes disagree for ever.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::{
    Endpoint, Scope,
    limits::{MAX_INCARNATION_JUMP, MAX_RECORD_ENDPOINTS},
};

/// Which of two records of one node is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Order {
    /// Raised by the subject when it meets a newer record of itself: after a restart, or against a lie.
    pub(crate) incarnation: u32,
    /// Raised with every change.
    pub(crate) seq: u32,
}

impl Order {
    /// Stands for "no record".
    pub(crate) const NONE: Self = Self { incarnation: 0, seq: 0 };

    /// The first one of a node that has just been started.
    pub(crate) const FIRST: Self = Self { incarnation: 1, seq: 1 };

    /// Serial comparison: half the numbers lie ahead, half behind.
    pub(crate) const fn is_newer_than(self, other: Self) -> bool {
        if self.incarnation != other.incarnation {
            return serial_newer(self.incarnation, other.incarnation);
        }
        serial_newer(self.seq, other.seq)
    }

    /// Whether a relayed record may follow one of `other`: a liar must not use up the numbers.
    pub(crate) const fn is_plausible_after(self, other: Self) -> bool {
        self.incarnation.wrapping_sub(other.incarnation) <= MAX_INCARNATION_JUMP
    }
}

const fn serial_newer(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

/// How the subject came by an endpoint of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) enum Origin {
    /// An address of its own interface.
    Local,
    /// Others see it there.
    Reflexive,
    /// A gateway lets in whatever is sent there: a port mapping, or over IPv6 a pinhole.
    Mapped,
}

/// One endpoint of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordEndpoint {
    /// 0 local, 1 reflexive, 2 mapped; others come from later versions and are passed on unread.
    origin: u8,
    /// The endpoint.
    pub(crate) endpoint: Endpoint,
}

impl RecordEndpoint {
    pub(crate) const fn new(origin: Origin, endpoint: Endpoint) -> Self {
        let origin = match origin {
            Origin::Local => 0,
            Origin::Reflexive => 1,
            Origin::Mapped => 2,
        };
        Self { origin, endpoint }
    }

    /// Its origin, if this version knows it.
    pub(crate) const fn origin(&self) -> Option<Origin> {
        match self.origin {
            0 => Some(Origin::Local),
            1 => Some(Origin::Reflexive),
            2 => Some(Origin::Mapped),
            _ => None,
        }
    }
}

/// What is in front of a node, as far as it has found out itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum NatClass {
    /// Nobody has told it yet where it is seen.
    #[default]
    Unknown,
    /// It is seen at an address of its own: no translation. A firewall may still be there.
    Open,
    /// Translated, and seen at the same endpoint by at least two nodes at different addresses.
    EndpointIndependent,
    /// Translated, and seen at different ports by different nodes ("symmetric").
    EndpointDependent,
    /// Translated; only one node has seen it.
    Translated,
}

impl NatClass {
    /// A stable, lower-case word for machine-readable output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Open => "open",
            Self::EndpointIndependent => "endpoint-independent",
            Self::EndpointDependent => "endpoint-dependent",
            Self::Translated => "translated",
        }
    }

    pub(crate) const fn to_wire(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Open => 1,
            Self::EndpointIndependent => 2,
            Self::EndpointDependent => 3,
            Self::Translated => 4,
        }
    }

    pub(crate) const fn from_wire(byte: u8) -> Self {
        match byte {
            1 => Self::Open,
            2 => Self::EndpointIndependent,
            3 => Self::EndpointDependent,
            4 => Self::Translated,
            _ => Self::Unknown,
        }
    }
}

/// What is in front of a node in each family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Nats {
    /// In IPv4.
    pub v4: NatClass,
    /// In IPv6.
    pub v6: NatClass,
}

/// The content of a record, without whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) order: Order,
    /// Two [`NatClass`]es: that of IPv4 in the low half, that of IPv6 in the high one.
    nat: u8,
    /// See [`Claim::OPENERS`] and the others; unknown ones are passed on as they are.
    flags: u8,
    /// How many live peers the subject has, up to [`crate::limits::DEGREE_SHOWN`].
    pub(crate) degree: u8,
    /// The port its WireGuard listens on.
    pub(crate) port: u16,
    pub(crate) endpoints: Vec<RecordEndpoint, MAX_RECORD_ENDPOINTS, u8>,
}

impl Claim {
    /// The subject can send openers.
    pub(crate) const OPENERS: u8 = 1;
    /// Peers have reached it by IPv4, and by IPv6, without its having sent them anything first: there is no NAT or firewall
    /// before it that needs to be kept open.
    pub(crate) const REACHABLE_V4: u8 = 2;
    /// See [`REACHABLE_V4`](Self::REACHABLE_V4).
    pub(crate) const REACHABLE_V6: u8 = 4;

    /// The record of a node that knows nothing about itself yet, nor that it is to have one.
    pub(crate) const fn new() -> Self {
        Self { order: Order::NONE, nat: 0, flags: 0, degree: 0, port: 0, endpoints: Vec::new() }
    }

    /// Whether a flag is set.
    pub(crate) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) const fn set_flags(&mut self, flags: u8) {
        self.flags = flags;
    }

    pub(crate) const fn flags(&self) -> u8 {
        self.flags
    }

    /// What is in front of the subject in one family.
    pub(crate) const fn nat_of(&self, v4: bool) -> NatClass {
        NatClass::from_wire(if v4 { self.nat & 0xf } else { self.nat >> 4 })
    }

    /// The same in both.
    pub(crate) const fn nats(&self) -> Nats {
        Nats { v4: self.nat_of(true), v6: self.nat_of(false) }
    }

    pub(crate) const fn set_nats(&mut self, v4: NatClass, v6: NatClass) {
        self.nat = v4.to_wire() | v6.to_wire() << 4;
    }

    /// Whether nothing is translated in either family.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.nat_of(true), NatClass::Open) || matches!(self.nat_of(false), NatClass::Open)
    }

    /// Whether the subject may have addresses of a family. One that tells no endpoint at all may have either.
    pub(crate) fn has_family(&self, v4: bool) -> bool {
        self.endpoints.is_empty() || self.endpoints.iter().any(|e| e.endpoint.is_ipv4() == v4)
    }

    /// The endpoints the subject says are of this origin.
    pub(crate) fn of(&self, origin: Origin) -> impl Iterator<Item = Endpoint> {
        self.endpoints.iter().filter(move |e| e.origin() == Some(origin)).map(|e| e.endpoint)
    }

    /// Where others find the subject: the first public endpoint, IPv4 before IPv6.
    pub(crate) fn outside(&self) -> Option<Endpoint> {
        let public = self.endpoints.iter().map(|e| e.endpoint).filter(|e| e.scope() == Scope::Public);
        public.min_by_key(|e| !e.is_ipv4())
    }

    /// Whether the subject has a port mapping.
    pub(crate) fn is_mapped(&self) -> bool {
        self.of(Origin::Mapped).next().is_some()
    }

    /// Whether the subject has a port mapping that who published `other` can send to: one of a family that is in use there.
    pub(crate) fn is_mapped_for(&self, other: &Self) -> bool {
        self.of(Origin::Mapped).any(|m| other.endpoints.iter().any(|e| e.endpoint.is_ipv4() == m.is_ipv4()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn order(incarnation: u32, seq: u32) -> Order {
        Order { incarnation, seq }
    }

    #[test]
    fn newer_is_serial() {
        assert!(order(1, 2).is_newer_than(order(1, 1)));
        assert!(order(2, 0).is_newer_than(order(1, 9)));
        assert!(!order(1, 1).is_newer_than(order(1, 1)));
        assert!(order(1, 0).is_newer_than(order(1, u32::MAX)));
        assert!(order(0, 0).is_newer_than(order(u32::MAX, 0)));
        assert!(!order(u32::MAX, 0).is_newer_than(order(0, 0)));
    }

    #[test]
    fn a_jump_is_bounded() {
        assert!(order(1 << 16, 0).is_plausible_after(order(0, 5)));
        assert!(!order((1 << 16) + 1, 0).is_plausible_after(order(0, 5)));
    }
}
