//! Has the gateway let others in to WireGuard's port: by PCP, NAT-PMP or (feature `upnp`) UPnP IGD over IPv4, and pinholes
//! over IPv6.
//!
//! All that a gateway says is hostile input. [`Mapper`] lives in the loop, decides when to ask and never waits; each asking
//! is a thread of its own (`worker`), one at a time, that ends by itself within three seconds whatever the gateway does.
//! It talks to the next hop of the default route and to nobody else. What comes of it is a candidate of the engine's, no
//! more: if the gateway lied, peers try the other ones.

#[cfg(feature = "upnp")]
mod description;
mod gateway;
#[cfg(feature = "upnp")]
mod http;
#[cfg(feature = "upnp")]
mod igd;
mod mapper;
mod natpmp;
#[cfg(not(feature = "upnp"))]
mod no_upnp;
mod pcp;
#[cfg(feature = "upnp")]
mod provider;
#[cfg(feature = "upnp")]
mod search;
#[cfg(feature = "upnp")]
mod ssdp;
mod udp;
mod worker;

#[cfg(all(test, feature = "upnp"))]
mod hostile;

use core::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use wgautomesh_core::{Scope, scope};

#[cfg(feature = "upnp")]
use description::Service;
use gateway::Route;
pub use mapper::{Mapper, Work};
pub use worker::System;

/// What a build does for UPnP.
mod upnp {
    #[cfg(not(feature = "upnp"))]
    pub(super) use super::no_upnp::{Page, SSDP_PORT, Search, map, open, remove};
    #[cfg(feature = "upnp")]
    pub(super) use super::{
        igd::{map, open, remove},
        search::Search,
        ssdp::{PORT as SSDP_PORT, Page},
    };
}

/// The parsers of what gateways send, for fuzzing.
#[cfg(all(fuzzing, feature = "upnp"))]
#[doc(hidden)]
pub mod fuzzing {
    use core::net::IpAddr;

    use super::{description, http, natpmp, pcp, ssdp};

    const GATEWAY: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 168, 1, 1));

    /// An answer to a search. Whatever it says leads to the gateway or nowhere.
    pub fn ssdp(bytes: &[u8]) {
        if let Some(page) = ssdp::location(bytes, GATEWAY) {
            assert!(page.path.starts_with('/') && page.path.bytes().all(|b| b.is_ascii_graphic()));
            let _ = ssdp::resolve(&String::from_utf8_lossy(bytes), &page, GATEWAY);
        }
    }

    /// An answer of a web server, whole or in part.
    pub fn http(bytes: &[u8]) {
        let (part, whole) = (http::parse(bytes, false), http::parse(bytes, true));
        if let Ok(Some(response)) = &whole {
            assert!(response.body.len() <= http::MAX_BODY);
        }
        // What is complete does not change because nothing follows.
        if let Ok(Some(response)) = part {
            assert_eq!(whole.ok().flatten(), Some(response));
        }
    }

    /// A description.
    pub fn xml(bytes: &[u8]) {
        let page = ssdp::Page { port: 5000, path: "/a/b".into() };
        let services = description::services(bytes, &page, GATEWAY);
        assert_eq!(services.is_ok(), description::check(bytes).is_ok());
    }

    /// A packet of a PCP or NAT-PMP server.
    pub fn pcp(bytes: &[u8]) {
        let client = IpAddr::from([192, 168, 1, 2]);
        let map = pcp::Map { client, nonce: [7; 12], internal_port: 51820, external_port: 1, lifetime: 3600 };
        // Nothing to be asserted, and not to be optimized away.
        let _ = core::hint::black_box((map.answer(bytes), pcp::announcement(bytes), natpmp::answer(bytes)));
    }
}

/// How a mapping was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// RFC 6887.
    Pcp,
    /// RFC 6886.
    NatPmp,
    /// UPnP.
    Igd,
}

impl Protocol {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Igd => "UPnP",
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// WireGuard's port.
    internal_port: u16,
    /// The port that others are to send to. A gateway may give another one.
    external_port: u16,
    /// In seconds.
    lease: u32,
    /// Proves to a PCP server that a mapping is ours, after a restart too.
    nonce: pcp::Nonce,
    /// Of the WireGuard interface.
    fwmark: u32,
    /// What is to be taken back first.
    obsolete: Vec<Mapping>,
}

/// A mapping that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    protocol: Protocol,
    gateway: Route,
    external: SocketAddr,
    internal: SocketAddr,
    /// In seconds.
    lease: u32,
    /// When the gateway lost its memory last, as seconds on its own clock.
    epoch: Option<u32>,
    handle: Handle,
}

/// What is needed to take a mapping back.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Handle {
    Pcp(pcp::Nonce),
    NatPmp,
    #[cfg(feature = "upnp")]
    Igd(Service),
    #[cfg(feature = "upnp")]
    Pinhole(Service, u16),
}

/// Why there is no mapping. The later ones say more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// There is no default route with a next hop.
    NoGateway,
    /// It does not speak the protocol.
    NoAnswer,
    /// Something on this machine.
    Local(String),
    /// It did not come to an end in time.
    Late,
    /// Its answer is none.
    Bad(String),
    /// It says no.
    Refused(String),
    /// Nothing is to be mapped: our own address is public.
    Public(IpAddr),
    /// The address that the gateway has is not one that others could send to; unspecified where it says that it has none.
    NotPublic(IpAddr),
}

/// Why there is no mapping, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    gateway: Option<IpAddr>,
    protocol: Option<Protocol>,
    why: Why,
}

impl Failure {
    /// A stable word in kebab case.
    #[must_use]
    pub const fn id(&self) -> &'static str {
        match self.why {
            Why::NoGateway => "no-gateway",
            Why::NoAnswer => "no-answer",
            Why::Local(_) => "local-error",
            Why::Late => "too-late",
            Why::Bad(_) => "bad-answer",
            Why::Refused(_) => "refused",
            Why::Public(_) => "not-needed",
            Why::NotPublic(_) => "gateway-behind-nat",
        }
    }

    /// Whether this says that a mapping which there was is gone.
    const fn is_final(&self) -> bool {
        matches!(self.why, Why::NoGateway | Why::Refused(_) | Why::Public(_) | Why::NotPublic(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |f: &mut fmt::Formatter<'_>| {
            match self.gateway {
                Some(gateway) => write!(f, "the gateway {gateway}")?,
                None => f.write_str("the gateway")?,
            }
            self.protocol.map_or(Ok(()), |protocol| write!(f, " ({})", protocol.as_str()))
        };
        match &self.why {
            Why::NoGateway => f.write_str("there is no default route by way of a gateway"),
            Why::NoAnswer => {
                by(&mut *f)?;
                f.write_str(if cfg!(feature = "upnp") {
                    " speaks neither PCP nor NAT-PMP nor UPnP, or has them switched off"
                } else {
                    " speaks neither PCP nor NAT-PMP, or has them switched off (this build does not speak UPnP)"
                })
            }
            Why::Local(error) => f.write_str(error),
            Why::Late => {
                by(&mut *f)?;
                f.write_str(" does not come to an end with its answer")
            }
            Why::Bad(what) => {
                by(&mut *f)?;
                write!(f, " does not make sense: {what}")
            }
            Why::Refused(what) => {
                by(&mut *f)?;
                write!(f, " refuses: {what}")
            }
            Why::Public(own) => write!(f, "none is needed: this machine's own address {own} is public"),
            Why::NotPublic(external) => {
                by(&mut *f)?;
                if external.is_unspecified() {
                    f.write_str(" has no public address: it may itself be behind another NAT")?;
                } else {
                    write!(f, " is itself behind another NAT: its external address is {external}")?;
                }
                f.write_str("; forward the port there too, or ask the provider for a public address")
            }
        }
    }
}

/// Of two protocols' failures, the one that says more.
fn worse(a: (Protocol, Why), b: (Protocol, Why)) -> (Protocol, Why) {
    if b.1 > a.1 { b } else { a }
}

impl Why {
    /// The gateway says that it has no address, or none that it would forward ports of.
    const NO_ADDRESS: Self = Self::NotPublic(IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED));
}

/// What came of asking.
#[derive(Debug)]
pub struct Outcome {
    v4: Result<Mapping, Failure>,
    /// `None` where this machine has no public IPv6 address.
    v6: Option<Result<Mapping, Failure>>,
}

/// Whether others can send to an external address. Also not public, besides what the engine says: the addresses between a
/// home and its provider's NAT where the home has IPv6 only (RFC 6333, RFC 7335).
fn is_public(ip: IpAddr) -> bool {
    let between = matches!(ip, IpAddr::V4(v4) if v4.octets()[..3] == [192, 0, 0]);
    scope(ip) == Scope::Public && !between
}
