//! `wgautomesh import`: from a wg-quick file to a configuration of ours.
//!
//! A wg-quick file is what `wg-quick(8)` says: sections `[Interface]` and `[Peer]` with lines `Key = Value`, comments from
//! `#` on. What is taken are the peers' keys, addresses (the first /32 or /128 of `AllowedIPs`), endpoints and names. Names
//! are comments, by two customs: `# Name = x` in the section, and `### x` before it. The secrets in the file (private
//! key, preshared keys) are not read at all, and no line that may hold one is quoted.

use core::{fmt::Write as _, net::IpAddr};

use wgautomesh_core::PublicKey;

use crate::config::{
    Endpoint, Fault, InterfaceName, Located, PeerName, Position, Report, parse_mesh_address,
    parse_public_key, quoted,
};

/// What is known in each section, in lower case.
const INTERFACE_KEYS: [&str; 12] = [
    "address",
    "dns",
    "fwmark",
    "listenport",
    "mtu",
    "postdown",
    "postup",
    "predown",
    "preup",
    "privatekey",
    "saveconfig",
    "table",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    None,
    Interface,
    Peer,
}

struct Peer {
    at: Position,
    key: Option<Located<PublicKey>>,
    /// The key was there, and wrong, which was said.
    refused: bool,
    address: Option<Located<IpAddr>>,
    endpoint: Option<Endpoint>,
    name: Option<PeerName>,
}

/// The TOML for a wg-quick file. `None` where the report has an error.
///
/// The interface is called as the file is, `stem`.
pub fn convert(stem: &str, text: &str, report: &mut Report) -> Option<String> {
    let peers = read(text.strip_prefix('\u{feff}').unwrap_or(text), report);
    check(&peers, report);
    let interface = InterfaceName::parse(stem).unwrap_or_else(|_| {
        let what = format!("{} cannot be the name of an interface, so that wg0 is written", quoted(stem));
        report.warn(Position::START, "interface", Fault::new(what, "write the right one"));
        InterfaceName::parse("wg0").expect("it is one")
    });
    (!report.has_errors()).then(|| write(&interface, &peers))
}

fn read(text: &str, report: &mut Report) -> Vec<Peer> {
    let mut section = Section::None;
    let mut peers: Vec<Peer> = Vec::new();
    let mut heading_name = None;
    let mut seen = false;
    for (line, number) in text.lines().zip(1..) {
        let at = Position::new(number, 1);
        let (statement, comment) = match line.split_once('#') {
            Some((statement, comment)) => (statement.trim(), Some(comment)),
            None => (line.trim(), None),
        };
        if statement.is_empty() {
            match (comment.and_then(name_of), section) {
                (Some(Name::Heading(name)), _) => heading_name = Some((at, name)),
                (Some(Name::Field(name)), Section::Peer) => name_peer(peers.last_mut(), at, name, report),
                (Some(Name::Field(name)), _) => heading_name = Some((at, name)),
                (None, _) => {}
            }
        } else if statement.eq_ignore_ascii_case("[interface]") {
            (section, heading_name, seen) = (Section::Interface, None, true);
        } else if statement.eq_ignore_ascii_case("[peer]") {
            (section, seen) = (Section::Peer, true);
            peers.push(Peer { at, key: None, refused: false, address: None, endpoint: None, name: None });
            if let Some((at, name)) = heading_name.take() {
                name_peer(peers.last_mut(), at, name, report);
            }
        } else if let Some((key, value)) = statement.split_once('=').filter(|(key, _)| is_word(key.trim())) {
            let (key, value) = (key.trim(), value.trim());
            match (section, peers.last_mut()) {
                (Section::Peer, Some(peer)) => set(peer, at, key, value, report),
                (Section::None, _) => {
                    let fix = "put it below [Interface] or [Peer]";
                    report.error(at, key, Fault::new("stands before the first section", fix));
                }
                _ if INTERFACE_KEYS.iter().any(|known| key.eq_ignore_ascii_case(known)) => {}
                _ => unknown(at, key, report),
            }
        } else if statement.starts_with('[') {
            let what = "is a section that wg-quick does not know";
            report.error(at, "", Fault::new(what, "the sections are [Interface] and [Peer]"));
        } else {
            // Not quoted: it may be a key that slipped.
            report.error(
                at,
                "",
                Fault::new("is not a line of a wg-quick file", "write KEY = VALUE, or remove it"),
            );
        }
    }
    if !seen && !report.has_errors() {
        let what = "there is no [Interface] and no [Peer]: this is not a wg-quick file";
        report.error(Position::START, "", Fault::new(what, "name one, /etc/wireguard/wg0.conf for example"));
    }
    peers
}

/// Whether something can be the name of a setting, and no key.
fn is_word(text: &str) -> bool {
    (1..=24).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_')
}

enum Name<'t> {
    /// `# Name = x`
    Field(&'t str),
    /// `### x`
    Heading(&'t str),
}

/// A name in a comment, from behind its first `#`.
fn name_of(comment: &str) -> Option<Name<'_>> {
    if let Some(heading) = comment.strip_prefix("##").map(str::trim) {
        // As the well-known install script writes it.
        let name = heading.strip_prefix("Client ").unwrap_or(heading).trim();
        return (!name.is_empty() && !name.starts_with('#')).then_some(Name::Heading(name));
    }
    let (field, name) = comment.split_once(['=', ':'])?;
    let is_name = ["name", "friendly_name"].iter().any(|known| field.trim().eq_ignore_ascii_case(known));
    Some(name.trim()).filter(|name| is_name && !name.is_empty()).map(Name::Field)
}

fn name_peer(peer: Option<&mut Peer>, at: Position, name: &str, report: &mut Report) {
    let Some(peer) = peer else { return };
    match PeerName::parse(name) {
        Ok(name) => peer.name = Some(name),
        Err(fault) => report.warn(at, "name", Fault { fix: "it is left out".into(), ..fault }),
    }
}

fn unknown(at: Position, key: &str, report: &mut Report) {
    report.warn(at, key, Fault::new("is not known to wg-quick, and is left out", ""));
}

fn set(peer: &mut Peer, at: Position, key: &str, value: &str, report: &mut Report) {
    match &*key.to_ascii_lowercase() {
        "publickey" => match parse_public_key(value) {
            Ok(value) if peer.key.is_none() && !peer.refused => peer.key = Some(Located { value, at }),
            Ok(_) => {
                let fix = "begin each peer with [Peer]";
                report.error(at, "PublicKey", Fault::new("is there a second time in this section", fix));
            }
            Err(fault) => {
                peer.refused = true;
                report.error(at, "PublicKey", fault);
            }
        },
        "allowedips" => {
            for network in value.split(',').map(str::trim).filter(|network| !network.is_empty()) {
                allow(peer, at, network, report);
            }
        }
        "endpoint" => match Endpoint::parse(value) {
            Ok(endpoint) => peer.endpoint = Some(endpoint),
            Err(fault) => report.error(at, "Endpoint", fault),
        },
        "persistentkeepalive" => {
            if !value.eq_ignore_ascii_case("off") && value.parse::<u16>().is_err() {
                let fix = "write 25, another number up to 65535, or off";
                report.error(at, "PersistentKeepalive", Fault::new("is no number of seconds", fix));
            }
        }
        "presharedkey" => {}
        _ => unknown(at, key, report),
    }
}

/// One network of `AllowedIPs`: the first that is a single address is the peer's.
fn allow(peer: &mut Peer, at: Position, network: &str, report: &mut Report) {
    let (address, prefix) = match network.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (network, None),
    };
    let parsed: Option<IpAddr> = address.parse().ok();
    let full = if parsed.is_some_and(|ip| ip.is_ipv4()) { 32 } else { 128 };
    let length = prefix.map_or(Some(full), |prefix| prefix.parse::<u8>().ok());
    let (Some(_), Some(length)) = (parsed, length.filter(|length| *length <= full)) else {
        let what = format!("{} is no network", quoted(network));
        return report.error(at, "AllowedIPs", Fault::new(what, "write 10.14.0.1/32 or fd00::1/128, say"));
    };
    if length < full || peer.address.is_some() {
        return;
    }
    match parse_mesh_address(address) {
        Ok(value) => peer.address = Some(Located { value, at }),
        Err(fault) => report.error(at, "AllowedIPs", fault),
    }
}

fn check(peers: &[Peer], report: &mut Report) {
    for (index, peer) in peers.iter().enumerate() {
        let Some(key) = &peer.key else {
            if !peer.refused {
                let fix = "add PublicKey = ..., or remove the section";
                report.error(peer.at, "PublicKey", Fault::new("is missing from this peer", fix));
            }
            continue;
        };
        let before = || peers.get(..index).unwrap_or_default().iter();
        if let Some(first) = before().filter_map(|p| p.key.as_ref()).find(|k| k.value == key.value) {
            let what = format!("is also the key of the peer at line {}", first.at.line);
            report.error(key.at, "PublicKey", Fault::new(what, "remove one of the two"));
        }
        let Some(address) = &peer.address else {
            let what = "has no /32 or /128 among its AllowedIPs, and is left out: it has no address of its own in the mesh";
            report.warn(peer.at, "Peer", Fault::new(what, ""));
            continue;
        };
        if let Some(first) = before().filter_map(|p| p.address.as_ref()).find(|a| a.value == address.value) {
            let what = format!("{} is also of the peer at line {}", address.value, first.at.line);
            report.error(address.at, "AllowedIPs", Fault::new(what, "give each peer an address of its own"));
        }
    }
}

fn write(interface: &InterfaceName, peers: &[Peer]) -> String {
    let mut text = format!(
        "interface = {}\n\
         gossip_port = 1666                                # the same on all nodes\n\
         gossip_secret_file = \"/etc/wgautomesh.secret\"     # made by `wgautomesh genkey`, the same on all nodes\n",
        in_quotes(interface.as_str())
    );
    let mut names: Vec<&str> = Vec::new();
    for peer in peers {
        let (Some(key), Some(address)) = (&peer.key, &peer.address) else { continue };
        // Two of one name would be told apart by nobody.
        let name = peer.name.as_ref().map(PeerName::as_str).filter(|name| !names.contains(name));
        names.extend(name);
        write_peer(&mut text, &key.value, address.value, peer.endpoint.as_ref(), name);
    }
    text
}

/// The section for one peer.
pub(crate) fn write_peer(
    text: &mut String,
    key: &PublicKey,
    address: IpAddr,
    endpoint: Option<&Endpoint>,
    name: Option<&str>,
) {
    // Writing to a string cannot fail.
    let _ = write!(text, "\n[[peers]]\npubkey = \"{key}\"\naddress = \"{address}\"\n");
    if let Some(endpoint) = endpoint {
        let _ = writeln!(text, "endpoint = \"{endpoint}\"");
    }
    if let Some(name) = name {
        let _ = writeln!(text, "name = {}", in_quotes(name));
    }
}

/// A string of TOML.
pub(crate) fn in_quotes(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests;
