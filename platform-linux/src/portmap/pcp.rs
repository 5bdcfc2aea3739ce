//! The Port Control Protocol, RFC 6887: one MAP request for UDP, its answer, and announcements.
//!
//! Written by hand, as is [`natpmp`](super::natpmp): together they are four messages of fixed size. The crates for them
//! either bring an asynchronous runtime (`crab_nat`, 129 kB on a router) or everything there is (`portmapper`, 2.5 MB).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where the server listens, for NAT-PMP too.
pub(super) const SERVER_PORT: u16 = 5351;
/// Where clients hear announcements.
pub(super) const CLIENT_PORT: u16 = 5350;
/// The longest message there may be.
pub(super) const MAX_MESSAGE: usize = 1100;

const VERSION: u8 = 2;
const ANNOUNCE: u8 = 0;
const MAP: u8 = 1;
const RESPONSE: u8 = 0x80;
const UDP: u8 = 17;
const HEADER: usize = 24;
const MAP_LENGTH: usize = HEADER + 36;

/// The result of a server that has no external address.
pub(super) const NO_ADDRESS: u8 = 7;

/// What a mapping is known by: its client proves with it that it has made it.
pub(super) type Nonce = [u8; 12];

/// A request to map, to renew (the same again), or with lifetime 0 to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Map {
    /// Our own address, which has to be the packet's source.
    pub(super) client: IpAddr,
    pub(super) nonce: Nonce,
    pub(super) internal_port: u16,
    /// A wish.
    pub(super) external_port: u16,
    /// In seconds.
    pub(super) lifetime: u32,
}

/// What a server gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mapped {
    pub(super) external: (IpAddr, u16),
    /// In seconds.
    pub(super) lifetime: u32,
    /// Seconds since the server lost its state.
    pub(super) epoch: u32,
}

/// An answer to a [`Map`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Mapped(Mapped),
    /// The server refuses, for a reason of section 7.4.
    Refused(u8),
    /// It only speaks another version: NAT-PMP, as it happens.
    OtherVersion,
}

const fn mapped_form(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

impl Map {
    pub(super) fn encode(&self) -> [u8; MAP_LENGTH] {
        // No preference for an address, in the family of ours.
        let any = match self.client {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let mut message = [0; MAP_LENGTH];
        message[0] = VERSION;
        message[1] = MAP;
        message[4..8].copy_from_slice(&self.lifetime.to_be_bytes());
        message[8..24].copy_from_slice(&mapped_form(self.client));
        message[24..36].copy_from_slice(&self.nonce);
        message[36] = UDP;
        message[40..42].copy_from_slice(&self.internal_port.to_be_bytes());
        message[42..44].copy_from_slice(&self.external_port.to_be_bytes());
        message[44..60].copy_from_slice(&mapped_form(any));
        message
    }

    /// Reads what came from the server; `None` if it is no answer to this request.
    pub(super) fn answer(&self, message: &[u8]) -> Option<Answer> {
        let head: &[u8; 4] = message.first_chunk()?;
        if message.len() > MAX_MESSAGE {
            return None;
        }
        if head[0] != VERSION {
            // NAT-PMP's "unsupported version" (its result is at the same place), or a PCP of another version saying so.
            let refused = head[1] & RESPONSE != 0 && head[3] == 1;
            return refused.then_some(Answer::OtherVersion);
        }
        if head[1] != MAP | RESPONSE || !message.len().is_multiple_of(4) {
            return None;
        }
        let body: &[u8; 36] = message.get(HEADER..)?.first_chunk()?;
        let ours =
            body[..12] == self.nonce && body[12] == UDP && body[16..18] == self.internal_port.to_be_bytes();
        if !ours {
            return None;
        }
        match head[3] {
            0 => {}
            1 => return Some(Answer::OtherVersion),
            refusal => return Some(Answer::Refused(refusal)),
        }
        let port = u16::from_be_bytes([body[18], body[19]]);
        let ip: [u8; 16] = *body.last_chunk()?;
        Some(Answer::Mapped(Mapped {
            external: (Ipv6Addr::from(ip).to_canonical(), port),
            lifetime: u32::from_be_bytes(*message.get(4..)?.first_chunk()?),
            epoch: u32::from_be_bytes(*message.get(8..)?.first_chunk()?),
        }))
    }
}

/// The epoch of an announcement: the server has begun anew, or one of its addresses has changed.
pub(super) fn announcement(message: &[u8]) -> Option<u32> {
    let head: &[u8; HEADER] = message.first_chunk()?;
    let good = message.len() <= MAX_MESSAGE
        && message.len().is_multiple_of(4)
        && head[0] == VERSION
        && head[1] == ANNOUNCE | RESPONSE
        && head[3] == 0;
    good.then(|| u32::from_be_bytes([head[8], head[9], head[10], head[11]]))
}

/// What a refusal means (section 7.4).
pub(super) const fn refusal(code: u8) -> &'static str {
    match code {
        2 => "not authorized",
        3 => "malformed request",
        4 => "unsupported opcode",
        5 => "unsupported option",
        6 => "malformed option",
        7 => "network failure: it has no address of its own",
        8 => "no resources",
        9 => "unsupported protocol",
        10 => "quota exceeded",
        11 => "cannot provide this external port",
        12 => "our address is not what it sees: there is another NAT between us",
        13 => "excessive remote peers",
        _ => "an unknown error",
    }
}

/// Whether the server still has the state that it had when it said `before`, going by what it says `elapsed` seconds later
/// (section 8.5).
pub(super) const fn is_same_epoch(before: u32, now: u32, elapsed: u32) -> bool {
    if now < before.saturating_sub(1) {
        return false;
    }
    let passed = now.saturating_sub(before);
    elapsed.saturating_add(2) >= passed - passed / 16 && passed.saturating_add(2) >= elapsed - elapsed / 16
}

#[cfg(test)]
mod tests;
