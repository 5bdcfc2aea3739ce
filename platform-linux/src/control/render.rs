//! The status as a table for people: 80 columns where names and endpoints allow it.
//!
//! ```text
//! wg0  7Nm7pMmy  10.14.0.1  gossip port 1666  WireGuard port 51820  up 3h12m
//! seen at 198.51.100.7:51820 by 3 peers; endpoint-independent NAT
//! 3 of 4 peers connected
//!
//! PEER      STATE      ENDPOINT            FROM        RTT    HANDSHAKE
//! bob       waiting    -                   -           -      -
//!   no-mediator: no connected peer could introduce us
//! alice     connected  203.0.113.9:51820   configured  12ms   1m12s
//! ```

use super::status::{Mapped, Nats, Node, Peer, PeerState, PortMapping, Rotation, Status};
use core::fmt::Write as _;

/// Names longer than this are cut; the JSON has them in full.
const WIDEST_NAME: usize = 24;

/// So many peers are named of those without the new secret; the JSON has them all.
const NAMED: usize = 8;

const HEADINGS: [&str; 6] = ["PEER", "STATE", "ENDPOINT", "FROM", "RTT", "HANDSHAKE"];

/// The table, ending in a line end. Peers that are not connected come first; what is the matter with several is said once,
/// below them. Then it goes by name.
pub fn table(status: &Status) -> String {
    let mut out = String::new();
    header(&mut out, &status.node);
    let connected = status.peers.iter().filter(|peer| peer.state.is_connected()).count();
    let _ = writeln!(out, "{connected} of {} connected", plural(status.peers.len(), "peer"));
    if status.node.rotation.is_some() {
        secrets(&mut out, status);
    }
    if status.peers.is_empty() {
        return out;
    }

    let mut entries: Vec<Entry> = status.peers.iter().map(Entry::new).collect();
    entries.sort_by(|a, b| a.order().cmp(&b.order()));
    let mut widths = HEADINGS.map(str::len);
    for Entry { cells, .. } in &entries {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    out.push('\n');
    line(&mut out, &HEADINGS.map(String::from), &widths);
    for alike in entries.chunk_by(|a, b| a.why.is_some() && a.why == b.why && a.peer.state == b.peer.state) {
        for Entry { cells, why, peer } in alike {
            line(&mut out, cells, &widths);
            if let (Some(why), [_]) = (why, alike) {
                let _ = writeln!(out, "  {why}");
            }
            if let Some(endpoint) = peer.lan_barred {
                let text = "on the LAN, and its WireGuard does not answer there: tried again later";
                let _ = writeln!(out, "  lan-no-answer: {endpoint} is {text}");
            }
        }
        if let [Entry { why: Some(why), .. }, _, ..] = alike {
            let _ = writeln!(out, "  these {}: {why}", alike.len());
        }
    }
    out
}

/// A peer as it is shown.
struct Entry<'s> {
    peer: &'s Peer,
    cells: [String; 6],
    why: Option<String>,
}

impl<'s> Entry<'s> {
    fn new(peer: &'s Peer) -> Self {
        Self { peer, cells: cells(peer), why: why(peer) }
    }

    /// Those that are not connected for one reason stand together, so that it is said once.
    fn order(&self) -> (bool, PeerState, Option<&str>, &[String], &str) {
        let Self { peer, cells, why } = self;
        (peer.state.is_connected(), peer.state, why.as_deref(), cells.get(..1).unwrap_or_default(), &peer.key)
    }
}

/// How far the mesh is with a new secret.
fn secrets(out: &mut String, status: &Status) {
    let has = |peer: &&Peer| peer.has_newest_secret == Some(true);
    let connected = || status.peers.iter().filter(|peer| peer.state.is_connected());
    let what = if status.node.rotation == Some(Rotation::Previous) { "present" } else { "next" };
    let (shown, of) = (connected().filter(has).count(), plural(connected().count(), "connected peer"));
    let _ = write!(out, "the {what} secret was shown by {shown} of {of}");
    let missing: Vec<String> = status.peers.iter().filter(|peer| !has(peer)).map(label).collect();
    if !missing.is_empty() {
        let more = missing.len().saturating_sub(NAMED);
        let named = missing.get(..missing.len() - more).unwrap_or_default().join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = write!(out, "; not by {named}{more}");
    }
    out.push('\n');
}

fn header(out: &mut String, node: &Node) {
    let mut parts = vec![printable(&node.interface)];
    parts.extend(node.key.as_deref().map(short));
    parts.extend(node.mesh_address.map(|address| address.to_string()));
    parts.push(format!("gossip port {}", node.gossip_port));
    parts.extend(node.listen_port.map(|port| format!("WireGuard port {port}")));
    parts.push(format!("up {}", duration(node.uptime_s)));
    let _ = writeln!(out, "{}", parts.join("  "));
    if !node.interface_up {
        let _ = writeln!(out, "the interface is not there: waiting for it");
    }
    let seen: Vec<String> = node
        .seen_at
        .iter()
        .map(|seen| format!("{} by {}", seen.endpoint, plural(seen.peers as usize, "peer")))
        .collect();
    let seen = if seen.is_empty() { "by nobody yet".into() } else { format!("at {}", seen.join(", ")) };
    let _ = writeln!(out, "seen {seen}; {}", nats(&node.nat));
    if let Some(mapping) = &node.port_mapping {
        port_mapping(out, mapping);
    }
}

/// What is in front of a node, in words.
pub(crate) fn nats(nats: &Nats) -> String {
    let words = |class: &str| match class {
        "open" => "no NAT".into(),
        "translated" => "a NAT of unknown kind".into(),
        kind => format!("{} NAT", printable(kind)),
    };
    match (nats.ipv4.as_deref(), nats.ipv6.as_deref()) {
        (None, None) => "NAT unknown".into(),
        (Some(one), None) | (None, Some(one)) => words(one),
        (Some(v4), Some(v6)) if v4 == v6 => words(v4),
        (Some(v4), Some(v6)) => format!("{} (IPv4), {} (IPv6)", words(v4), words(v6)),
    }
}

fn port_mapping(out: &mut String, mapping: &PortMapping) {
    for Mapped { endpoint, protocol, gateway, lease_s } in &mapping.mapped {
        let (protocol, lease) = (printable(protocol), duration(*lease_s));
        let _ = writeln!(out, "port mapping {endpoint} by {protocol} of {gateway}, for {lease}");
    }
    match &mapping.reason {
        Some(reason) if mapping.mapped.is_empty() => {
            let _ =
                writeln!(out, "no port mapping: {}: {}", printable(&reason.id), printable(&reason.message));
        }
        Some(reason) => {
            let _ = writeln!(out, "  not renewed: {}: {}", printable(&reason.id), printable(&reason.message));
        }
        None if mapping.mapped.is_empty() => {
            let _ = writeln!(out, "no port mapping yet");
        }
        None => {}
    }
}

/// What a peer is called in the table: its name, else the beginning of its key.
pub(crate) fn label(peer: &Peer) -> String {
    let Some(name) = &peer.name else { return short(&peer.key) };
    let name = printable(name);
    if name.chars().count() <= WIDEST_NAME {
        return name;
    }
    let mut cut: String = name.chars().take(WIDEST_NAME - 3).collect();
    cut.push_str("...");
    cut
}

pub(super) fn short(key: &str) -> String {
    printable(key).chars().take(8).collect()
}

fn cells(peer: &Peer) -> [String; 6] {
    let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".into());
    [
        label(peer),
        peer.state.as_str().into(),
        or_dash(peer.endpoint.map(|endpoint| endpoint.to_string())),
        or_dash(peer.endpoint_source.as_deref().map(printable)),
        or_dash(peer.rtt_us.map(round_trip)),
        or_dash(peer.handshake_age_s.map(duration)),
    ]
}

/// Why a peer is not connected: the stable word, which can be looked up, and the sentence.
fn why(peer: &Peer) -> Option<String> {
    if peer.state.is_connected() {
        return None;
    }
    let via = peer.via.as_deref().map(|via| format!("by way of {}", printable(via)));
    let tried = if peer.state == PeerState::Connecting { "being tried" } else { "last tried" };
    match (&peer.reason, via) {
        // The word and the sentence would only repeat the state.
        (Some(reason), via) if reason.id == "connecting" => via.map(|via| format!("connecting: {via}")),
        (Some(reason), None) => Some(format!("{}: {}", printable(&reason.id), printable(&reason.message))),
        (Some(reason), Some(via)) => {
            Some(format!("{}: {} ({tried} {via})", printable(&reason.id), printable(&reason.message)))
        }
        (None, via) => via.map(|via| format!("{tried} {via}")),
    }
}

fn line(out: &mut String, cells: &[String; 6], widths: &[usize; 6]) {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let _ = write!(text, "{cell:<width$}  ");
    }
    out.push_str(text.trim_end());
    out.push('\n');
}

/// "1.4ms", "38ms", "2.1s".
pub(crate) fn round_trip(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{}.{}ms", micros / 1000, micros % 1000 / 100),
        10_000..1_000_000 => format!("{}ms", micros / 1000),
        _ => format!("{}.{}s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

/// The two largest units: "42s", "1m12s", "3h05m", "12d4h".
pub(crate) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if days > 0 {
        format!("{days}d{}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h{:02}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m{:02}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

pub(crate) fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Text from a daemon, fit for a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
