//! The single values of a configuration: an interface, a key, a mesh address, a name.
//!
//! Each is parsed once, from text, into a type that cannot hold a wrong one; a refusal is a [`Fault`] that says why
//! and what to write instead. Checks *between* values are in `draft`.

use super::report::{Fault, quoted};
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU16;
use std::path::PathBuf;
use wgautomesh_core::{Duration, PublicKey};

/// The name of a network interface, as the kernel accepts it: 1 to 15 bytes, no white space, no `/`, no `:`, and
/// neither `.` nor `..`. So it is always safe as one component of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InterfaceName(Box<str>);

impl InterfaceName {
    /// The kernel's IFNAMSIZ without the closing NUL.
    pub const MAX_LEN: usize = 15;

    /// Checks and takes a name.
    ///
    /// # Errors
    /// When the kernel would not accept such a name.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        const FIX: &str = "give the WireGuard interface as `ip link` shows it, \"wg0\" for instance";
        if text.is_empty() {
            return Err(Fault::new("is empty", FIX));
        }
        if text.len() > Self::MAX_LEN {
            let what = format!("{} is {} bytes long, Linux allows 15", quoted(text), text.len());
            return Err(Fault::new(what, FIX));
        }
        let wrong = |c: char| c.is_ascii_whitespace() || c.is_ascii_control() || matches!(c, '/' | ':');
        if let Some(c) = text.chars().find(|&c| wrong(c) || c == '\u{a0}') {
            let what = format!("{} cannot be an interface: {c:?} is not allowed in a name", quoted(text));
            return Err(Fault::new(what, FIX));
        }
        if matches!(text, "." | "..") {
            return Err(Fault::new(format!("{} cannot be the name of an interface", quoted(text)), FIX));
        }
        Ok(Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of an interface, or the beginning of several with a `*` after it: `br-*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InterfacePattern {
    name: InterfaceName,
    open: bool,
}

impl InterfacePattern {
    /// Checks and takes a name or a pattern.
    ///
    /// # Errors
    /// When the kernel would not accept such a name, or a `*` is anywhere but at the end.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        const FIX: &str = "give interfaces as `ip link` shows them, \"eth0\" or \"br-*\" for instance";
        let (name, open) = text.strip_suffix('*').map_or((text, false), |name| (name, true));
        if name.is_empty() && open {
            let fix = "name interfaces, or remove it; lan_discovery switches it off everywhere";
            return Err(Fault::new("\"*\" stands for all interfaces", fix));
        }
        if name.contains('*') {
            return Err(Fault::new(format!("{} has a * before its end", quoted(text)), FIX));
        }
        let name = InterfaceName::parse(name).map_err(|fault| Fault::new(fault.what, FIX))?;
        Ok(Self { name, open })
    }

    /// Whether an interface is meant.
    pub fn matches(&self, interface: &str) -> bool {
        if self.open { interface.starts_with(self.name.as_str()) } else { interface == self.name.as_str() }
    }
}

impl fmt::Display for InterfacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, if self.open { "*" } else { "" })
    }
}

/// Reads a public key in base64, 44 characters, as `wg` prints it.
///
/// The refusals never repeat the text: what was pasted may be a private key.
///
/// # Errors
/// When the text is not the canonical base64 of 32 bytes, or is the all-zero key.
pub fn parse_public_key(text: &str) -> Result<PublicKey, Fault> {
    const FIX: &str =
        "give what `wg show INTERFACE public-key` prints on the peer: 44 characters ending in \"=\"";
    if text.is_empty() {
        return Err(Fault::new("is empty, so the peer could not be told from any other", FIX));
    }
    if text.trim() != text {
        return Err(Fault::new(
            "has white space before or after the key",
            "remove the white space around the key",
        ));
    }
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Fault::new("is in hexadecimal, keys are given in base64", FIX));
    }
    if text.contains(['-', '_']) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)) {
        let what = "is in the URL-safe base64 alphabet (\"-\" and \"_\"), WireGuard uses \"+\" and \"/\"";
        return Err(Fault::new(what, FIX));
    }
    if let Some(c) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '/' | '=')) {
        return Err(Fault::new(format!("is not base64: {c:?} does not belong to it"), FIX));
    }
    if text.len() != 44 {
        return Err(Fault::new(format!("has {} characters, a public key in base64 has 44", text.len()), FIX));
    }
    let Ok(key) = text.parse::<PublicKey>() else {
        return Err(Fault::new("is not the base64 of 32 bytes: it was cut or mistyped", FIX));
    };
    if key.as_bytes() == &[0; PublicKey::LEN] {
        return Err(Fault::new("is the all-zero key, which WireGuard refuses", FIX));
    }
    Ok(key)
}

/// The first eight characters of a key in base64: enough to tell the peers of a mesh apart, and what the status and the
/// log show for a peer without a name.
pub fn short_key(key: &PublicKey) -> String {
    let mut text = key.to_string();
    text.truncate(8);
    text
}

/// What people call a peer: 1 to 63 characters, all of them printable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerName(Box<str>);

impl PeerName {
    /// The longest name, in characters: that of a DNS label, since many will be host names.
    pub const MAX_CHARS: usize = 63;

    /// Checks and takes a name.
    ///
    /// # Errors
    /// When it is empty, too long, or would disturb a line of a log or a table.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        const FIX: &str = "give a short name such as \"alice\", or leave it out";
        if text.trim().is_empty() {
            return Err(Fault::new("is empty", FIX));
        }
        if text.trim() != text {
            return Err(Fault::new(format!("{} has white space around it", quoted(text)), "remove it"));
        }
        let chars = text.chars().count();
        if chars > Self::MAX_CHARS {
            let what =
                format!("{} is {chars} characters long, the most is {}", quoted(text), Self::MAX_CHARS);
            return Err(Fault::new(what, FIX));
        }
        // `quoted` knows which characters do not print as themselves.
        if quoted(text).contains('\\') && !text.contains('\\') && !text.contains('"') {
            let what = format!("{} holds a character that does not print", quoted(text));
            return Err(Fault::new(what, FIX));
        }
        if text.contains(['\\', '"']) {
            return Err(Fault::new(format!("{} holds a quote or a backslash", quoted(text)), FIX));
        }
        Ok(Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a peer's address inside the mesh. An IPv4 address in IPv6 form becomes IPv4.
///
/// # Errors
/// When it is not an address, or one that no single host can have.
pub fn parse_mesh_address(text: &str) -> Result<IpAddr, Fault> {
    const FIX: &str = "give the peer's own address inside the mesh, \"10.14.0.2\" for instance";
    if text.is_empty() {
        return Err(Fault::new("is empty", FIX));
    }
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err(not_an_address(text, FIX));
    };
    let address = address.to_canonical();
    match why_no_host_has(address) {
        Some(why) => Err(Fault::new(format!("{address} is {why}, not the address of one peer"), FIX)),
        None => Ok(address),
    }
}

/// What `text` is, given that it is no plain address.
fn not_an_address(text: &str, fix: &str) -> Fault {
    if text.trim().parse::<IpAddr>().is_ok() {
        return Fault::new(format!("{} has white space around it", quoted(text)), "remove it");
    }
    if let Some((address, _)) = text.split_once('/')
        && let Ok(address) = address.parse::<IpAddr>()
    {
        let what = format!("{} has a prefix length, but this is one address, not a network", quoted(text));
        return Fault::new(what, format!("write \"{address}\""));
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        let what = format!("{} has a port; gossip uses gossip_port on every node", quoted(text));
        return Fault::new(what, format!("write \"{}\"", socket.ip()));
    }
    if let Some((address, _)) = text.split_once('%')
        && let Ok(address) = address.parse::<IpAddr>()
    {
        let what = format!("{} has a zone; the interface is known already", quoted(text));
        return Fault::new(what, format!("write \"{address}\""));
    }
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(Ok(address)) = inner.map(str::parse::<IpAddr>) {
        return Fault::new(
            format!("{} has brackets, which only an endpoint needs", quoted(text)),
            format!("write \"{address}\""),
        );
    }
    let why = if text.split('.').any(|part| part.len() > 1 && part.starts_with('0')) {
        "a part with a leading zero is not allowed"
    } else {
        "names are not looked up here"
    };
    Fault::new(format!("{} is not an IP address ({why})", quoted(text)), fix)
}

/// Why no single host can have an address, if so: what makes one useless as a mesh address and as an endpoint.
pub(super) fn why_no_host_has(address: IpAddr) -> Option<&'static str> {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    match address {
        a if a.is_unspecified() => Some("the unspecified address"),
        a if a.is_loopback() => Some("a loopback address"),
        a if a.is_multicast() => Some("a multicast address"),
        _ if broadcast => Some("the broadcast address"),
        _ => None,
    }
}

/// Takes a number for a port.
///
/// # Errors
/// When it is not one from 1 to 65535.
pub fn port_of(number: i128) -> Result<NonZeroU16, Fault> {
    match u16::try_from(number).map(NonZeroU16::new) {
        Ok(Some(port)) => Ok(port),
        Ok(None) => Err(Fault::new("is 0, which is not a port", PORT_FIX)),
        Err(_) => Err(Fault::new(format!("is {number}, outside of the range of a UDP port"), PORT_FIX)),
    }
}

/// What to do about a port that is none.
pub const PORT_FIX: &str = "give a number from 1 to 65535";

/// Reads where to listen: `ip:port` or `[ipv6]:port`, an address of this host.
///
/// # Errors
/// When it is anything else.
pub fn parse_listen(text: &str) -> Result<SocketAddr, Fault> {
    const FORMS: &str = "write \"127.0.0.1:9666\" or \"[::1]:9666\"";
    if text.is_empty() {
        return Err(Fault::new("is empty", "give an address and a port, or remove it"));
    }
    let Ok(address) = text.parse::<SocketAddr>() else {
        let (what, fix) = if let Ok(address) = text.parse::<IpAddr>() {
            ("has no port", format!("write \"{}\"", SocketAddr::new(address, 9666)))
        } else if let Some((host, port)) = text.rsplit_once(':').filter(|(_, port)| parse_port(port).is_ok())
        {
            match host {
                "" => ("has no address before the port", format!("write \"127.0.0.1:{port}\"")),
                "localhost" => {
                    ("has a name, and names are not looked up here", format!("write \"127.0.0.1:{port}\""))
                }
                _ => ("has something before the port that is not an IP address", FORMS.into()),
            }
        } else {
            ("is not an address with a port", FORMS.into())
        };
        return Err(Fault::new(format!("{} {what}", quoted(text)), fix));
    };
    let ip = address.ip().to_canonical();
    if address.port() == 0 {
        return Err(Fault::new(format!("{} has port 0, which is not a port", quoted(text)), PORT_FIX));
    }
    match why_no_host_has(ip) {
        Some(why) if !ip.is_loopback() && !ip.is_unspecified() => {
            Err(Fault::new(format!("{} is {why}, and nobody can be reached there", quoted(text)), FORMS))
        }
        _ => Ok(address),
    }
}

/// Takes text for the path of a file.
///
/// # Errors
/// When it cannot be one.
pub fn parse_path(text: &str) -> Result<PathBuf, Fault> {
    if text.is_empty() {
        return Err(Fault::new("is empty", "give the path of a file, or remove it"));
    }
    if text.contains('\0') {
        return Err(Fault::new("holds a NUL, which no path can", "give the path of a file"));
    }
    Ok(PathBuf::from(text))
}

/// What is at least between two writes of the state file: flash wears out. A whole number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateCommit(u32);

impl StateCommit {
    /// On a machine with a disk.
    pub const TEN_MINUTES: Self = Self(600);
    /// On a router.
    pub const HOURLY: Self = Self(3600);

    pub(super) const FIX: &str = "give a number of seconds from 60 to 604800, which is a week";

    /// From a number of seconds.
    ///
    /// # Errors
    /// Where that is below a minute or above a week.
    pub fn from_secs(seconds: i128) -> Result<Self, Fault> {
        match u32::try_from(seconds) {
            Ok(seconds @ 60..=604_800) => Ok(Self(seconds)),
            Ok(0..60) => Err(Fault::new(
                format!("is {seconds} s: the state file would be written too often"),
                Self::FIX,
            )),
            _ => Err(Fault::new("is no time of up to a week", Self::FIX)),
        }
    }

    /// From text: digits only.
    ///
    /// # Errors
    /// Where it is anything else, or not within the limits.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Fault::new(format!("is {}, which is not a number", quoted(text)), Self::FIX));
        }
        Self::from_secs(text.parse().unwrap_or(i128::MAX))
    }

    /// The same as a time.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl Default for StateCommit {
    fn default() -> Self {
        Self::TEN_MINUTES
    }
}

/// Reads the port of an endpoint from text: 1 to 65535, digits only.
///
/// # Errors
/// When it is anything else.
pub fn parse_port(text: &str) -> Result<NonZeroU16, Fault> {
    if text.is_empty() {
        return Err(Fault::new("has an empty port", PORT_FIX));
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Fault::new(format!("has the port {}, which is not a number", quoted(text)), PORT_FIX));
    }
    match text.parse::<u16>().map(NonZeroU16::new) {
        Ok(Some(port)) => Ok(port),
        Ok(None) => Err(Fault::new("has port 0, to which nothing can be sent", PORT_FIX)),
        Err(_) => {
            Err(Fault::new(format!("has the port {}, but 65535 is the highest", quoted(text)), PORT_FIX))
        }
    }
}
