//! `status --watch`: what a running daemon knows, on a screen that is drawn again each second.
//!
//! [`frame`] makes the text of a screen from two statuses, the time between them and the size; it knows of no terminal.
//! [`changes`] says what has happened from one status to the next, and [`Terminal`] is what it is all drawn on.

mod changes;
#[cfg(test)]
mod picture;
mod terminal;

#[cfg(test)]
mod tests;

pub(super) use changes::changes;
pub(super) use terminal::{Terminal, Woken};

use crate::control::render::{duration, label, nats, plural, printable, round_trip};
use crate::control::status::{Peer, PeerState, Status};
use core::time::Duration;
use std::collections::HashMap;

/// The size of a screen, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// Something that happened while somebody watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Happened {
    /// How long ago.
    pub(super) ago: Duration,
    pub(super) what: String,
}

/// Two statuses, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Seen<'s> {
    /// None on the first screen, which has no rates then.
    pub(super) before: Option<&'s Status>,
    pub(super) now: &'s Status,
    /// From the one to the other.
    pub(super) between: Duration,
}

/// The most events that are shown.
const EVENTS: usize = 6;
/// Peers that are shown even where events have to go for it.
const FEWEST_PEERS: usize = 4;
/// Names longer than this are cut.
const WIDEST_NAME: usize = 16;

/// The screen's lines, at most as many and as long as fit; the newest event is the first. With colours where they are wanted.
pub(super) fn frame(seen: Seen<'_>, events: &[Happened], size: Size, colours: bool) -> Vec<String> {
    let mut lines = header(seen);
    // A line between the parts, the headings, a line for those that do not fit, and the last line, which says how it ends.
    let rest = size.rows.saturating_sub(lines.len() + 3);
    let mut events: Vec<Line> = events.iter().take(EVENTS).map(event).collect();
    let rows = rows(seen);
    let for_events =
        rest.saturating_sub(rows.len().max(FEWEST_PEERS).min(rest)).max(rest.saturating_sub(1) / 3);
    events.truncate(for_events.saturating_sub(1));
    let below = if events.is_empty() { 0 } else { events.len() + 1 };
    let room = rest.saturating_sub(below);
    lines.push(Line::default());
    lines.extend(peers(rows, room));
    if !events.is_empty() {
        lines.push(Line::default());
        lines.append(&mut events);
    }
    lines.truncate(size.rows.saturating_sub(1));
    let used = lines.len();
    lines.extend((used..size.rows.saturating_sub(1)).map(|_| Line::default()));
    lines.push(Line::of(Style::Dim, "q quits"));
    lines.iter().map(|line| line.text(size.columns, colours)).collect()
}

/// Who this is, where it is seen, and what goes through all its tunnels.
fn header(seen: Seen<'_>) -> Vec<Line> {
    let node = &seen.now.node;
    let peers = &seen.now.peers;
    let connected = peers.iter().filter(|peer| peer.state.is_connected()).count();
    let mut first = Line::of(Style::Bold, &printable(&node.interface));
    if let Some(address) = node.mesh_address {
        first.push(Style::Plain, &format!("  {address}"));
    }
    first.push(Style::Plain, &format!("  up {}  ", duration(node.uptime_s)));
    let all = connected == peers.len();
    first.push(
        if all { Style::Good } else { Style::Busy },
        &format!("{connected} of {} connected", plural(peers.len(), "peer")),
    );
    let mut second = Line::default();
    if !node.interface_up {
        second.push(Style::Bad, "the interface is not there: waiting for it");
    } else {
        let at = match node.seen_at.first() {
            Some(seen) => format!("at {}", seen.endpoint),
            None => "by nobody yet".into(),
        };
        second.push(Style::Plain, &format!("seen {at}; {}", nats(&node.nat)));
    }
    let traffic: Vec<_> = peers.iter().filter_map(|peer| rates(seen, peer)).collect();
    let [down, up] = [0, 1].map(|way| traffic.iter().map(|rates| rates[way]).sum::<u64>());
    let gossip = gossip(seen).map(|rate| format!("   gossip {}", per_second(rate))).unwrap_or_default();
    let third = if seen.before.is_some() {
        format!("down {}   up {}{gossip}", per_second(down), per_second(up))
    } else {
        "measuring".into()
    };
    vec![first, second, Line::of(Style::Plain, &third)]
}

/// Bytes of gossip per second, both ways.
fn gossip(seen: Seen<'_>) -> Option<u64> {
    let count = |status: &Status| -> Option<u64> {
        Some(status.counters.get("sent_bytes")? + status.counters.get("received_bytes")?)
    };
    Some(rate(count(seen.before?)?, count(seen.now)?, seen.between))
}

/// What came from a peer and went to it, per second.
fn rates(seen: Seen<'_>, peer: &Peer) -> Option<[u64; 2]> {
    let before = seen.before?.peers.iter().find(|before| before.key == peer.key)?;
    Some([
        rate(before.rx_bytes, peer.rx_bytes, seen.between),
        rate(before.tx_bytes, peer.tx_bytes, seen.between),
    ])
}

/// Counters begin again at zero when WireGuard is given the peer anew.
fn rate(before: u64, now: u64, between: Duration) -> u64 {
    let bytes = now.checked_sub(before).unwrap_or(now);
    let micros = between.as_micros().max(1);
    u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

/// A peer as a row.
struct Row {
    connected: bool,
    traffic: u64,
    cells: [(Style, String); 7],
}

const HEADINGS: [&str; 7] = ["PEER", "STATE", "RTT", "DOWN/s", "UP/s", "HANDSHAKE", "ENDPOINT"];

/// All peers, those first that are not connected, then by name.
fn rows(seen: Seen<'_>) -> Vec<Row> {
    let before: HashMap<&str, &Peer> =
        seen.before.into_iter().flat_map(|status| &status.peers).map(|peer| (&*peer.key, peer)).collect();
    let mut peers: Vec<(String, &Peer)> = seen.now.peers.iter().map(|peer| (label(peer), peer)).collect();
    peers.sort_by(|(a, first), (b, second)| {
        let rank = |peer: &Peer| (peer.state.is_connected(), peer.state);
        rank(first).cmp(&rank(second)).then_with(|| a.cmp(b)).then_with(|| first.key.cmp(&second.key))
    });
    let row = |(name, peer): (String, &Peer)| {
        let rates = before.get(&*peer.key).map(|before| {
            [(before.rx_bytes, peer.rx_bytes), (before.tx_bytes, peer.tx_bytes)]
                .map(|(before, now)| rate(before, now, seen.between))
        });
        let connected = peer.state.is_connected();
        let or_dash = |text: Option<String>| (Style::Plain, text.unwrap_or_else(|| "-".into()));
        let speed = |way: usize| {
            let rate = rates.and_then(|rates| rates.get(way).copied());
            let style = if rate.unwrap_or_default() == 0 { Style::Dim } else { Style::Plain };
            let text = rate.map(scaled).map(|(number, prefix)| number + prefix);
            (style, text.unwrap_or_else(|| "-".into()))
        };
        let reason = peer.reason.as_ref().filter(|_| !connected).map(|reason| printable(&reason.id));
        let place = reason.or_else(|| peer.endpoint.map(|endpoint| endpoint.to_string()));
        Row {
            connected,
            traffic: rates.map_or(0, |rates| rates.iter().sum()),
            cells: [
                (Style::Plain, cut(&name, WIDEST_NAME)),
                (state_style(peer.state), peer.state.as_str().into()),
                or_dash(peer.rtt_us.map(round_trip)),
                speed(0),
                speed(1),
                or_dash(peer.handshake_age_s.map(duration)),
                or_dash(place),
            ],
        }
    };
    peers.into_iter().map(row).collect()
}

/// The table. Where not all have room, of those that are connected the busiest are shown.
fn peers(mut rows: Vec<Row>, room: usize) -> Vec<Line> {
    let all = rows.len();
    if all > room {
        // Stable: among those that are at rest it stays in the order of the names.
        rows.sort_by_key(|row| (row.connected, core::cmp::Reverse(row.traffic)));
        rows.truncate(room.saturating_sub(1));
    }
    let mut widths = HEADINGS.map(str::len);
    for row in &rows {
        for (width, (_, text)) in widths.iter_mut().zip(&row.cells) {
            *width = (*width).max(text.chars().count());
        }
    }
    let mut headings = Line::default();
    for (heading, width) in HEADINGS.iter().zip(widths) {
        headings.push(Style::Dim, &format!("{heading:<width$}  "));
    }
    let line = |row: &Row| {
        let mut line = Line::default();
        for ((style, text), width) in row.cells.iter().zip(widths) {
            line.push(*style, text);
            line.push(Style::Plain, &" ".repeat(width + 2 - text.chars().count().min(width)));
        }
        line
    };
    let mut lines: Vec<_> = [headings].into_iter().chain(rows.iter().map(line)).collect();
    if let Some(more @ 1..) = all.checked_sub(rows.len()) {
        lines.push(Line::of(Style::Dim, &format!("+ {more} more")));
    }
    lines
}

fn event(happened: &Happened) -> Line {
    let mut line = Line::of(Style::Dim, &format!("{:>6} ago  ", duration(happened.ago.as_secs())));
    line.push(Style::Plain, &happened.what);
    line
}

const fn state_style(state: PeerState) -> Style {
    match state {
        PeerState::Connected => Style::Good,
        PeerState::Connecting => Style::Busy,
        PeerState::Waiting | PeerState::Mute | PeerState::Unknown => Style::Bad,
    }
}

/// "0 B/s", "940 B/s", "1.2 kB/s", "12 MB/s".
fn per_second(bytes: u64) -> String {
    let (number, unit) = scaled(bytes);
    format!("{number} {unit}B/s")
}

/// A number and a prefix of its unit: two digits or three.
fn scaled(bytes: u64) -> (String, &'static str) {
    let mut scale = 1;
    let mut prefix = "";
    for next in ["k", "M", "G"] {
        if bytes / scale >= 1000 {
            (scale, prefix) = (scale * 1000, next);
        }
    }
    let whole = bytes / scale;
    if scale > 1 && whole < 10 {
        (format!("{whole}.{}", bytes % scale * 10 / scale), prefix)
    } else {
        (whole.to_string(), prefix)
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.into();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Dim,
    Bold,
    Good,
    Busy,
    Bad,
}

/// A line of pieces.
#[derive(Default)]
struct Line(Vec<(Style, String)>);

impl Line {
    fn of(style: Style, text: &str) -> Self {
        Self(vec![(style, text.into())])
    }

    fn push(&mut self, style: Style, text: &str) {
        self.0.push((style, text.into()));
    }

    /// What of it fits, without blanks at its end.
    fn text(&self, columns: usize, colours: bool) -> String {
        let mut left = columns;
        let mut out = String::new();
        let mut blanks = String::new();
        for (style, text) in &self.0 {
            let shown: String = text.chars().take(left).collect();
            left -= shown.chars().count();
            let solid = shown.trim_end();
            if solid.is_empty() {
                blanks.push_str(&shown);
                continue;
            }
            out.push_str(&core::mem::take(&mut blanks));
            match style.code().filter(|_| colours) {
                Some(code) => out.push_str(&format!("\x1b[{code}m{solid}\x1b[0m")),
                None => out.push_str(solid),
            }
            blanks.extend(core::iter::repeat_n(' ', shown.chars().count() - solid.chars().count()));
        }
        out
    }
}

impl Style {
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Dim => Some("2"),
            Self::Bold => Some("1"),
            Self::Good => Some("32"),
            Self::Busy => Some("33"),
            Self::Bad => Some("31"),
        }
    }
}
