//! A stateful firewall that translates nothing: what a home has in front of its IPv6 addresses (RFC 6092).

use core::net::{IpAddr, SocketAddr};

use embassy_time::{Duration, Instant};
use rustc_hash::FxHashMap as HashMap;

use super::{Class, Filtering, Refused};
use crate::virtual_internet::ip::{Header, Proto};

/// The part of a remote that a permission covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Who {
    Anyone,
    Address(IpAddr),
    Endpoint(SocketAddr),
}

#[derive(Clone, Copy, Debug)]
struct Permission {
    expires: Instant,
    answered: bool,
}

/// A firewall with its table: an inside address and port that sends lets answers in.
#[derive(Clone, Debug)]
pub struct Firewall {
    filtering: Filtering,
    unreplied: Duration,
    stream: Duration,
    blocks_udp: bool,
    permissions: HashMap<(Class, SocketAddr, Who), Permission>,
    sweep_above: usize,
}

const SWEEP_AT_LEAST: usize = 256;

impl Firewall {
    /// A firewall with an empty table. A permission lives for `unreplied` after a packet, for `stream` once it was
    /// answered.
    #[must_use]
    pub fn new(filtering: Filtering, unreplied: Duration, stream: Duration, blocks_udp: bool) -> Self {
        Self {
            filtering,
            unreplied,
            stream,
            blocks_udp,
            permissions: HashMap::default(),
            sweep_above: SWEEP_AT_LEAST,
        }
    }

    /// Who may answer.
    #[must_use]
    pub const fn filtering(&self) -> Filtering {
        self.filtering
    }

    /// Whether UDP does not pass at all.
    #[must_use]
    pub const fn blocks_udp(&self) -> bool {
        self.blocks_udp
    }

    /// A packet from inside.
    ///
    /// # Errors
    /// [`Refused::Blocked`].
    pub fn outbound(&mut self, now: Instant, header: &Header) -> Result<(), Refused> {
        self.admit(header)?;
        if self.permissions.len() > self.sweep_above {
            self.permissions.retain(|_, p| p.expires > now);
            self.sweep_above = (2 * self.permissions.len()).max(SWEEP_AT_LEAST);
        }
        let key = (header.proto.into(), header.src, self.who(header.dst));
        let fresh = Permission { expires: now, answered: false };
        let permission = self.permissions.entry(key).or_insert(fresh);
        if permission.expires <= now {
            *permission = fresh;
        }
        permission.expires = now + if permission.answered { self.stream } else { self.unreplied };
        Ok(())
    }

    /// A packet from outside.
    ///
    /// # Errors
    /// [`Refused::Filtered`] unless the inside address and port has been sending, or [`Refused::Blocked`].
    pub fn inbound(&mut self, now: Instant, header: &Header) -> Result<(), Refused> {
        self.admit(header)?;
        let key = (header.proto.into(), header.dst, self.who(header.src));
        match self.permissions.get_mut(&key).filter(|p| p.expires > now) {
            Some(permission) => {
                permission.answered = true;
                permission.expires = now + self.stream;
                Ok(())
            }
            None => Err(Refused::Filtered),
        }
    }

    /// Forgets everything.
    pub fn reboot(&mut self) {
        self.permissions.clear();
    }

    fn admit(&self, header: &Header) -> Result<(), Refused> {
        if !header.src.is_ipv6() {
            Err(Refused::NotForUs)
        } else if self.blocks_udp && header.proto == Proto::Udp {
            Err(Refused::Blocked)
        } else {
            Ok(())
        }
    }

    const fn who(&self, remote: SocketAddr) -> Who {
        match self.filtering {
            Filtering::EndpointIndependent => Who::Anyone,
            Filtering::AddressDependent => Who::Address(remote.ip()),
            Filtering::AddressAndPortDependent => Who::Endpoint(remote),
        }
    }
}
