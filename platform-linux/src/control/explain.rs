//! Why a peer is connected or not, as text for people.
//!
//! ```text
//! bob (EtRoWBYC, 10.14.0.3) is not connected: bob's WireGuard answers, and no
//! wgautomesh does
//!
//! What to do
//!   - See whether it runs there: `wgautomesh status` at bob.
//!   ...
//!
//! What is known
//!   here  7Nm7pMmy, WireGuard port 51820, no NAT, seen at 198.51.100.7:51820
//!         by 3 peers
//!   bob   WireGuard port 51820, endpoint-independent NAT; may be reached at
//!         203.0.113.9:51820 (configured)
//!
//! What happened
//!   1m12s ago   initiated a handshake at 203.0.113.9:51820 (configured): no answer
//!
//! What others say
//!   dora about bob: connected for 3h12m, at 203.0.113.9:51820
//!
//! Cause: no-daemon
//! ```

use super::render::{duration, nats, plural, printable, round_trip, short};
use super::status::{PeerState, Reason};
use super::why::{Asked, Happening, Link, Node, Peer, Place, Said, Why};
use core::fmt::Write as _;
use core::net::SocketAddr;

/// A terminal's.
const WIDTH: usize = 80;

/// The text, ending in a line end. Prose is at most 80 columns wide.
pub fn text(why: &Why) -> String {
    let mut out = String::new();
    let name = label(&why.peer);
    paragraph(&mut out, "", "", &headline(why));
    if let Some(cause) = &why.cause
        && !cause.advice.is_empty()
    {
        out.push_str("\nWhat to do\n");
        for advice in &cause.advice {
            paragraph(&mut out, "  - ", "    ", &printable(advice));
        }
    }
    out.push_str("\nWhat is known\n");
    let width = name.chars().count().max("here".len());
    let mut side = |who: &str, known: &str| {
        let first = format!("  {who:<width$}  ");
        paragraph(&mut out, &first, &" ".repeat(width + 4), known);
    };
    side("here", &node(&why.node));
    side(&name, &peer(&why.peer));
    if let Some(traffic) = traffic(&why.link) {
        side("link", &traffic);
    }
    if !why.history.is_empty() {
        out.push_str("\nWhat happened\n");
        let ages: Vec<String> = why.history.iter().map(|entry| duration(entry.ago_s) + " ago").collect();
        let width = ages.iter().map(String::len).max().unwrap_or_default();
        for (entry, age) in why.history.iter().zip(&ages) {
            let first = format!("  {age:>width$}  ");
            paragraph(&mut out, &first, &" ".repeat(width + 4), &happening(entry));
        }
    }
    if !why.asked.is_empty() {
        out.push_str("\nWhat others say\n");
        for question in &why.asked {
            paragraph(&mut out, "  ", "    ", &asked(question, &name));
        }
    }
    if let Some(cause) = &why.cause {
        let _ = writeln!(out, "\nCause: {}", printable(&cause.id));
    }
    out
}

fn label(peer: &Peer) -> String {
    peer.name.as_deref().map_or_else(|| short(&peer.key), printable)
}

/// Whether they are connected and how, or why not.
fn headline(why: &Why) -> String {
    let Why { peer, link, cause, .. } = why;
    let who = match &peer.name {
        Some(name) => format!("{} ({}, {})", printable(name), short(&peer.key), peer.address),
        None => format!("{} ({})", short(&peer.key), peer.address),
    };
    let since = link.since_s.map(|since| format!(" for {}", duration(since))).unwrap_or_default();
    if let Some(cause) = cause {
        let trying = if link.state == PeerState::Connecting { ", and is being tried" } else { "" };
        return format!("{who} is not connected{since}{trying}: {}", printable(&cause.message));
    }
    let at =
        link.endpoint.map(|endpoint| format!(", at {}", place(endpoint, link.endpoint_source.as_deref())));
    let via = link.via.as_deref().map(|via| format!(", introduced by {}", printable(via)));
    let rtt = link.rtt_us.map(|rtt| format!(", {} there and back", round_trip(rtt)));
    let handshake = link.handshake_age_s.map(|age| format!(", last handshake {} ago", duration(age)));
    let parts = [at, via, rtt, handshake].into_iter().flatten().collect::<String>();
    format!("{who} is connected{since}{parts}")
}

/// An endpoint, and what it is.
fn place(endpoint: SocketAddr, source: Option<&str>) -> String {
    match source {
        Some(source) => format!("{endpoint} ({})", printable(source)),
        None => endpoint.to_string(),
    }
}

fn node(node: &Node) -> String {
    let seen: Vec<String> = node
        .seen_at
        .iter()
        .map(|seen| format!("{} by {}", seen.endpoint, plural(seen.peers as usize, "peer")))
        .collect();
    let seen = if seen.is_empty() { "by nobody".into() } else { format!("at {}", seen.join(", ")) };
    let parts = [
        node.key.as_deref().map(short),
        node.listen_port.map(|port| format!("WireGuard port {port}")),
        Some(nats(&node.nat)),
        Some(format!("seen {seen}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn peer(peer: &Peer) -> String {
    let endpoints: Vec<String> =
        peer.endpoints.iter().map(|Place { endpoint, source }| place(*endpoint, Some(source))).collect();
    let endpoints = match endpoints.is_empty() {
        true => "no endpoint is known".into(),
        false => format!("may be reached at {}", endpoints.join(", ")),
    };
    let parts = [
        peer.listen_port.map(|port| format!("WireGuard port {port}")),
        Some(nats(&peer.nat)),
        Some(endpoints),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What WireGuard has counted, where that tells something.
fn traffic(link: &Link) -> Option<String> {
    let seen = link.seen_at.map(|at| format!("it sees this node at {at}"));
    let counted = (link.rx_bytes, link.tx_bytes) != (0, 0);
    let counted = counted.then(|| {
        format!(
            "WireGuard has received {} and sent {}",
            plural_bytes(link.rx_bytes),
            plural_bytes(link.tx_bytes)
        )
    });
    let parts: Vec<String> = seen.into_iter().chain(counted).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn plural_bytes(bytes: u64) -> String {
    plural(usize::try_from(bytes).unwrap_or(usize::MAX), "byte")
}

fn happening(entry: &Happening) -> String {
    let at = entry.endpoint.map(|endpoint| place(endpoint, entry.endpoint_source.as_deref()));
    let via =
        entry.via.as_deref().map(|via| format!(", introduced by {}", printable(via))).unwrap_or_default();
    let why = entry.reason.as_ref().map(reason).unwrap_or_default();
    let to = |word: &str| at.as_ref().map(|at| format!(" {word} {at}")).unwrap_or_default();
    let said = match entry.what.as_str() {
        "attempt" => {
            let did = match entry.role.as_deref() {
                Some("opens") => format!("opened the way{} and waited for its handshake", to("to")),
                _ => format!("sent a handshake{}", to("to")),
            };
            let outcome = match entry.outcome.as_deref() {
                Some("connected") => "it worked".into(),
                Some("mute") => "WireGuard answered, and wgautomesh did not".into(),
                Some("pending") => "nothing yet".into(),
                Some("no-answer") | None => "no answer".into(),
                Some(other) => printable(other),
            };
            format!("{did}{via}: {outcome}")
        }
        "connected" => {
            let took = entry.took_ms.map(|ms| format!(", after {}", round_trip(ms.saturating_mul(1000))));
            format!("connected{}{via}{}", to("at"), took.unwrap_or_default())
        }
        "lost" => format!("lost: {why}"),
        "waiting" => format!("not connected: {why}"),
        "moved" => format!("moved{}", to("to")),
        "lan-barred" => format!("heard on the LAN{}, where its WireGuard does not answer", to("at")),
        "refused" => format!("the system refused the endpoint{}", to("")),
        // Of a newer daemon.
        other => format!("{}{}{via} {why}", printable(other), to("at")),
    };
    if entry.times <= 1 {
        return said;
    }
    let last = match entry.last_ago_s < entry.ago_s {
        true => format!(", last {} ago", duration(entry.last_ago_s)),
        false => String::new(),
    };
    format!("{said} ({} times{last})", entry.times)
}

/// What the matter was, without what to do about it: that is said above.
fn reason(reason: &Reason) -> String {
    printable(reason.message.split([':', ',']).next().unwrap_or(&reason.message))
}

fn asked(question: &Asked, peer: &str) -> String {
    let who = printable(&question.who);
    let through = question.through.as_deref().map(|by| format!(", asked through {}", printable(by)));
    let about = if question.about == "node" { "this node" } else { peer };
    let said = match &question.answer {
        None => "no answer in time".into(),
        Some(Said { state: None, .. }) => "not among its peers".into(),
        Some(Said { state: Some(state), reason: why, endpoint, since_s }) => {
            let since = if *since_s > 0 { format!(" for {}", duration(*since_s)) } else { String::new() };
            let at = endpoint.map(|endpoint| format!(", at {endpoint}")).unwrap_or_default();
            let why = why.as_ref().map(|why| format!(": {}", reason(why))).unwrap_or_default();
            format!("{}{since}{at}{why}", state.as_str())
        }
    };
    format!("{who}{} about {about}: {said}", through.unwrap_or_default())
}

/// Breaks words into lines. A word that is longer than a line stays whole.
fn paragraph(out: &mut String, first: &str, indent: &str, words: &str) {
    let mut line = String::from(first);
    let mut empty = true;
    for word in words.split_whitespace() {
        let space = usize::from(!empty);
        if !empty && line.chars().count() + space + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{}", line.trim_end());
            line = String::from(indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

#[cfg(test)]
pub(super) mod tests;
