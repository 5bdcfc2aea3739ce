//! Where a peer's WireGuard can be reached on the underlay: `ip:port`, `[ipv6]:port` or `name:port`.

use super::report::{Fault, quoted};
use super::values::{parse_port, why_no_host_has};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::num::NonZeroU16;
use wgautomesh_core::{Scope, scope};

/// A configured endpoint. An IPv4 address in IPv6 form is stored as IPv4.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An address, ready to use. The port is never 0; the address is neither unspecified, multicast nor broadcast.
    Address(SocketAddr),
    /// A name to be looked up, again and again, since what it means may change.
    Name {
        /// A host name: ASCII labels of letters, digits, `-` and `_`; at most 253 characters; no final dot needed.
        host: Box<str>,
        /// The port.
        port: NonZeroU16,
    },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl Endpoint {
    /// Reads an endpoint.
    ///
    /// # Errors
    /// When it has no port, no host, or names something that no packet can be sent to.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        const FORMS: &str =
            "write \"203.0.113.7:51820\", \"[2001:db8::7]:51820\" or \"host.example.org:51820\"";
        if text.is_empty() {
            let fix = "give \"HOST:PORT\", or leave it out for a peer without a fixed address";
            return Err(Fault::new("is empty", fix));
        }
        if text.contains(char::is_whitespace) {
            return Err(Fault::new(format!("{} has white space in it", quoted(text)), "remove it"));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let what = format!("{} is a URL, only HOST:PORT is wanted", quoted(text));
            let host_port = rest.split('/').next().unwrap_or(rest);
            let fix = match Self::parse(host_port) {
                Ok(endpoint) => format!("write \"{endpoint}\" without {}", quoted(&format!("{scheme}://"))),
                Err(_) => FORMS.into(),
            };
            return Err(Fault::new(what, fix));
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            let what = format!("{} has no port: WireGuard would not know where to send", quoted(text));
            return Err(Fault::new(
                what,
                format!("write \"[{text}]:51820\", with the peer's WireGuard port"),
            ));
        }
        if let Some(rest) = text.strip_prefix('[') {
            return bracketed(text, rest);
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            let what = format!("{} has no port: WireGuard would not know where to send", quoted(text));
            let fix = match host_of(text) {
                Ok(_) => format!("write \"{text}:51820\", with the peer's WireGuard port"),
                Err(_) => FORMS.into(),
            };
            return Err(Fault::new(what, fix));
        };
        if host.parse::<Ipv6Addr>().is_ok() {
            let what = format!("{} is an IPv6 address without brackets", quoted(text));
            return Err(Fault::new(what, format!("write \"[{host}]:{port}\"")));
        }
        if host.is_empty() {
            return Err(Fault::new(format!("{} has no host before the port", quoted(text)), FORMS));
        }
        if host.contains(':') {
            return Err(Fault::new(format!("{} has more than one \":\"", quoted(text)), FORMS));
        }
        let port = parse_port(port).map_err(|fault| within(text, fault))?;
        match host_of(host).map_err(|fault| within(text, fault))? {
            Host::Address(address) => reachable(text, address.into(), port),
            Host::Name => Ok(Self::Name { host: host.into(), port }),
        }
    }

    /// Why this endpoint will most likely be of no use although nothing about it is impossible.
    pub fn caution(&self) -> Option<Fault> {
        match self {
            Self::Address(address) if address.ip().is_loopback() => Some(Fault::new(
                format!(
                    "{address} is a loopback address: it is this very host, never a peer, and is not used"
                ),
                "give the peer's address on the internet or on the LAN, or leave it out",
            )),
            Self::Address(address) if scope(address.ip()) == Scope::Link => Some(Fault::new(
                format!("{address} is link-local: it means something on one link only, and is not used"),
                "give an address that is good beyond one link, or leave it out",
            )),
            Self::Address(address) if scope(address.ip()) == Scope::Unusable => Some(Fault::new(
                format!("{address} is in a reserved range where no host is, and is not used"),
                "give the peer's address on the internet or on the LAN, or leave it out",
            )),
            _ => None,
        }
    }
}

/// `[ipv6]:port`, of which `rest` is what follows the first bracket.
fn bracketed(text: &str, rest: &str) -> Result<Endpoint, Fault> {
    let Some((inner, after)) = rest.split_once(']') else {
        return Err(Fault::new(format!("{} has a \"[\" that is not closed", quoted(text)), "add the \"]\""));
    };
    // A zone is dropped here; only link-local addresses have one, and those get a caution.
    let bare = inner.split_once('%').map_or(inner, |(address, _zone)| address);
    let Ok(address) = bare.parse::<Ipv6Addr>() else {
        let what = format!("{} has something in brackets that is not an IPv6 address", quoted(text));
        let fix = if host_of(inner).is_ok() {
            format!("write \"{inner}{after}\" without brackets")
        } else {
            "write \"[2001:db8::7]:51820\"".into()
        };
        return Err(Fault::new(what, fix));
    };
    if after.is_empty() {
        let what = format!("{} has no port: WireGuard would not know where to send", quoted(text));
        return Err(Fault::new(what, format!("write \"[{bare}]:51820\", with the peer's WireGuard port")));
    }
    let Some(port) = after.strip_prefix(':') else {
        let what = format!("{} has {} after the bracket instead of a port", quoted(text), quoted(after));
        return Err(Fault::new(what, format!("write \"[{bare}]:51820\", with the peer's WireGuard port")));
    };
    let port = parse_port(port).map_err(|fault| within(text, fault))?;
    reachable(text, address.into(), port)
}

/// An address and a port that something can be sent to.
fn reachable(text: &str, address: IpAddr, port: NonZeroU16) -> Result<Endpoint, Fault> {
    let address = address.to_canonical();
    match why_no_host_has(address) {
        Some(why) if !address.is_loopback() => Err(Fault::new(
            format!("{} is {why}: nothing can be reached there", quoted(text)),
            "give the address the peer has, or leave it out for a peer without a fixed address",
        )),
        _ => Ok(Endpoint::Address(SocketAddr::new(address, port.get()))),
    }
}

/// Makes a fault about a part into one about the whole.
fn within(text: &str, fault: Fault) -> Fault {
    Fault { what: format!("{} {}", quoted(text), fault.what), fix: fault.fix }
}

/// What stands before the port: an IPv4 address, or a name that could exist.
enum Host {
    Address(Ipv4Addr),
    Name,
}

fn host_of(host: &str) -> Result<Host, Fault> {
    if let Ok(address) = host.parse() {
        return Ok(Host::Address(address));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or(name);
    // Resolvers take "10.1" and "0x7f.1" for addresses (inet_aton); nobody writing such a thing means that.
    if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") {
        return Err(Fault::new(
            "looks like an IPv4 address but is none",
            "write four numbers from 0 to 255 with dots between, without leading zeros, and the port",
        ));
    }
    if !name.is_ascii() {
        let fix = "write the name in its ASCII form, the one that begins with \"xn--\"";
        return Err(Fault::new("has a host name with letters that DNS does not know", fix));
    }
    let fix = "check the spelling: letters, digits, \"-\", and \".\" between the parts";
    if let Some(c) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
        return Err(Fault::new(format!("has {c:?} in the host name"), fix));
    }
    if name.len() > 253 {
        return Err(Fault::new("has a host name longer than 253 characters", fix));
    }
    if let Some(label) = name.split('.').find(|label| label.is_empty() || label.len() > 63) {
        let what = if label.is_empty() { "an empty part" } else { "a part longer than 63 characters" };
        return Err(Fault::new(format!("has a host name with {what}"), fix));
    }
    if name.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
        return Err(Fault::new("has a host name with a part that begins or ends with \"-\"", fix));
    }
    Ok(Host::Name)
}
