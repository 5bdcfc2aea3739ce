//! The map as text: a line for each node, and in it a cell for each other node.
//!
//! ```text
//! wg0: 4 nodes, 5 of 6 pairs connected
//!
//!    NODE    NAT    ADDRESS       1        2        3        4
//! 1  paris   none   203.0.113.1   ·        D 12ms   D 20ms   D 21ms
//! 2  attic   EIM    198.51.100.7  D 12ms   ·        L 0.4ms  x
//! 3  cellar  EIM    198.51.100.7  D 20ms   L 0.4ms  ·        P 33ms
//! 4  phone   EDM    192.0.2.9     D 21ms   x        P 33ms   ·
//!
//! L on a LAN (1)   D direct (3)   P punched (1)   x not connected (1)
//! ```
//!
//! Where that is too wide a cell is one character and has no round trip; then the addresses go, and at last the columns are
//! shown in parts.

use super::order::groups;
use super::{How, Link, Map, Nat, Node};
use crate::control::render::round_trip;
use core::fmt::Write as _;
use std::collections::BTreeMap;

/// Columns that a terminal has at least.
const WIDTH: usize = 80;

/// The table, ending in a line end; with colours where a terminal is to show it.
pub fn table(map: &Map, colours: bool) -> String {
    let order = groups(map).into_iter().flat_map(|group| group.members).collect();
    let table = Table { map, order, links: by_pair(map), colours };
    let mut out = format!("{}: {}\n\n", map.interface, map.summary());
    table.matrix(&mut out);
    table.legend(&mut out);
    table.notes(&mut out);
    out
}

/// The link of each pair, in both orders.
fn by_pair(map: &Map) -> Vec<Vec<Option<&Link>>> {
    let mut all = vec![vec![None; map.nodes.len()]; map.nodes.len()];
    for link in &map.links {
        for (a, b) in [(link.a, link.b), (link.b, link.a)] {
            if let Some(place) = all.get_mut(a).and_then(|row| row.get_mut(b)) {
                *place = Some(link);
            }
        }
    }
    all
}

struct Table<'m> {
    map: &'m Map,
    /// Places in the order of the rows, and of the columns.
    order: Vec<usize>,
    links: Vec<Vec<Option<&'m Link>>>,
    colours: bool,
}

/// How much is shown.
#[derive(Clone, Copy)]
struct Shape {
    /// Names longer than this are cut.
    name: usize,
    addresses: bool,
    round_trips: bool,
    /// Blanks between two cells.
    gap: usize,
}

impl Shape {
    /// From the one that shows the most to the one that takes the least room.
    const ALL: [Self; 6] = [
        Self { name: 24, addresses: true, round_trips: true, gap: 2 },
        Self { name: 24, addresses: false, round_trips: true, gap: 2 },
        Self { name: 24, addresses: true, round_trips: false, gap: 1 },
        Self { name: 24, addresses: false, round_trips: false, gap: 1 },
        Self { name: 24, addresses: false, round_trips: false, gap: 0 },
        Self { name: 14, addresses: false, round_trips: false, gap: 0 },
    ];
}

impl Table<'_> {
    fn matrix(&self, out: &mut String) {
        let fits = |shape: &Shape| {
            let (head, cell) = (self.head_widths(*shape), self.cell_width(*shape));
            total(&head) + self.order.len() * (cell + shape.gap) <= WIDTH + shape.gap
        };
        let [.., smallest] = Shape::ALL;
        let shape = Shape::ALL.into_iter().find(fits).unwrap_or(smallest);
        let (widths, cell) = (self.head_widths(shape), self.cell_width(shape));
        let room = WIDTH.saturating_sub(total(&widths)) / (cell + shape.gap);
        let columns: Vec<usize> = (0..self.order.len()).collect();
        for part in columns.chunks(if fits(&shape) { columns.len().max(1) } else { room.max(8) }) {
            self.headings(out, shape, &widths, cell, part);
            for (row, at) in self.order.iter().enumerate() {
                let Some(node) = self.map.nodes.get(*at) else { continue };
                let mut line = head_line(&self.head(row, node, shape), &widths);
                for column in part {
                    let text = self.cell(*at, *column, shape);
                    let _ = write!(line, "{}{}", self.painted(&text), blanks(&text, cell + shape.gap));
                }
                push_line(out, &line);
            }
            out.push('\n');
        }
    }

    /// The words over the columns, and their numbers: over narrow ones digit by digit.
    fn headings(&self, out: &mut String, shape: Shape, widths: &[usize; 4], cell: usize, part: &[usize]) {
        let words = ["", "NODE", "NAT", if shape.addresses { "ADDRESS" } else { "" }].map(String::from);
        let digits = self.order.len().to_string().len();
        let lines = if cell >= digits { 1 } else { digits };
        for line in (0..lines).rev() {
            let words = if line == 0 { words.clone() } else { Default::default() };
            let mut text = head_line(&words, widths);
            for column in part {
                let number = (column + 1).to_string();
                let shown = if lines == 1 {
                    number
                } else {
                    number.chars().rev().nth(line).unwrap_or(' ').to_string()
                };
                let _ = write!(text, "{shown}{}", blanks(&shown, cell + shape.gap));
            }
            push_line(out, &text);
        }
    }

    fn head(&self, row: usize, node: &Node, shape: Shape) -> [String; 4] {
        let nat = format!("{}{}", nat_word(node.nat()), if node.mapped { "+map" } else { "" });
        let address = node.outside.filter(|_| shape.addresses).map(|outside| outside.ip().to_string());
        [(row + 1).to_string(), node.short_label(shape.name), nat, address.unwrap_or_default()]
    }

    /// How wide the parts of a row are that come before the cells.
    fn head_widths(&self, shape: Shape) -> [usize; 4] {
        let mut widths = [0, 4, 3, if shape.addresses { 7 } else { 0 }];
        for (row, node) in
            self.order.iter().enumerate().filter_map(|(row, at)| Some((row, self.map.nodes.get(*at)?)))
        {
            for (width, text) in widths.iter_mut().zip(self.head(row, node, shape)) {
                *width = (*width).max(text.chars().count());
            }
        }
        widths
    }

    fn cell_width(&self, shape: Shape) -> usize {
        let places = 0..self.order.len();
        let cells =
            self.order.iter().flat_map(|at| places.clone().map(|column| self.cell(*at, column, shape)));
        cells.map(|text| text.chars().count()).max().unwrap_or(1)
    }

    /// What stands in the row of a node at a column.
    fn cell(&self, at: usize, column: usize, shape: Shape) -> String {
        let other = self.order.get(column).copied().unwrap_or_default();
        let link = self.links.get(at).and_then(|row| row.get(other)).copied().flatten();
        let Some(link) = link else { return "·".into() };
        let sign = sign(link.how);
        match link.rtt_us.filter(|_| shape.round_trips && link.how.is_connected()) {
            Some(rtt) => format!("{sign} {}", round_trip(rtt)),
            None => sign.into(),
        }
    }

    /// A cell in the colour of its sign.
    fn painted(&self, text: &str) -> String {
        let colour = match text.chars().next() {
            Some('L') => "32",
            Some('D') => "34",
            Some('P') => "33",
            Some('x') => "1;31",
            _ => "2",
        };
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.into() }
    }

    /// The signs that are in the table.
    fn legend(&self, out: &mut String) {
        let used = How::ALL.into_iter().filter(|how| self.map.count(*how) > 0);
        let signs = used.map(|how| {
            let (sign, words) = (sign(how), format!(" {} ({})", how.words(), self.map.count(how)));
            (self.painted(sign) + &words, sign.len() + words.chars().count())
        });
        wrap(out, "", signs, "   ");
        let has = |nat| self.map.nodes.iter().any(|node| node.nat() == nat);
        let kinds = [Nat::EndpointIndependent, Nat::EndpointDependent, Nat::Translated];
        let kinds =
            kinds.into_iter().filter(|nat| has(*nat)).map(|nat| format!("{} {}", nat_word(nat), nat.words()));
        let mapped = self.map.nodes.iter().any(|node| node.mapped).then(|| "+map with a port mapping".into());
        wrap(out, "", kinds.chain(mapped).map(plain), "   ");
    }

    /// Who is not connected and why, who did not answer, and what is missing.
    fn notes(&self, out: &mut String) {
        let mut apart: BTreeMap<String, Vec<(usize, Vec<String>)>> = BTreeMap::new();
        for (row, at) in self.order.iter().enumerate() {
            for other in self.order.iter().skip(row + 1) {
                let link = self.links.get(*at).and_then(|row| row.get(*other)).copied().flatten();
                let Some(link) = link.filter(|link| link.how == How::NotConnected) else { continue };
                let with = apart.entry(link.reasons().collect::<Vec<_>>().join(", ")).or_default();
                let label = self.label(*other);
                match with.last_mut().filter(|(last, _)| last == at) {
                    Some((_, others)) => others.push(label),
                    None => with.push((*at, vec![label])),
                }
            }
        }
        for (reason, pairs) in apart {
            let _ = writeln!(
                out,
                "\nnot connected: {}",
                if reason.is_empty() { "for no known reason" } else { &reason }
            );
            for (at, others) in pairs {
                wrap(out, &format!("  {} – ", self.label(at)), others.into_iter().map(plain), ", ");
            }
        }
        let silent: Vec<_> = self
            .order
            .iter()
            .filter(|at| self.map.nodes.get(**at).is_some_and(|node| !node.answered))
            .collect();
        if !silent.is_empty() {
            out.push_str("\ndid not answer, and are shown as others see them:\n");
            wrap(out, "  ", silent.into_iter().map(|at| plain(self.label(*at))), ", ");
        }
        if self.map.left_out > 0 {
            let _ = writeln!(out, "\n{} more peers are configured: too many for a map", self.map.left_out);
        }
    }

    fn label(&self, at: usize) -> String {
        self.map.nodes.get(at).map(Node::label).unwrap_or_default()
    }
}

/// A text and how wide it is.
fn plain(text: String) -> (String, usize) {
    let width = text.chars().count();
    (text, width)
}

/// Texts one after the other, on as many lines as that takes; the first begins with `begin`, and the others where that ends. Nothing
/// where there is no text.
fn wrap(out: &mut String, begin: &str, texts: impl Iterator<Item = (String, usize)>, between: &str) {
    let indent = begin.chars().count();
    let mut column = 0;
    for (text, width) in texts {
        if column == 0 {
            out.push_str(begin);
            column = indent;
        } else if column + between.len() + width > WIDTH {
            out.push_str(between.trim_end());
            let _ = write!(out, "\n{:indent$}", "");
            column = indent;
        } else {
            out.push_str(between);
            column += between.len();
        }
        out.push_str(&text);
        column += width;
    }
    if column > 0 {
        out.push('\n');
    }
}

const fn sign(how: How) -> &'static str {
    match how {
        How::Lan => "L",
        How::Direct => "D",
        How::Punched => "P",
        How::Connecting => "~",
        How::NotConnected => "x",
        How::Unknown => "?",
    }
}

const fn nat_word(nat: Nat) -> &'static str {
    match nat {
        Nat::Open => "none",
        Nat::EndpointIndependent => "EIM",
        Nat::Translated => "NAT",
        Nat::EndpointDependent => "EDM",
        Nat::Unknown => "?",
    }
}

/// The parts of a row before its cells, each in its width and two blanks after it.
fn head_line(parts: &[String; 4], widths: &[usize; 4]) -> String {
    let [number, rest @ ..] = parts;
    let [first, others @ ..] = widths;
    let mut line = format!("{number:>first$}  ");
    for (text, width) in rest.iter().zip(others).filter(|(_, width)| **width > 0) {
        let _ = write!(line, "{text:<width$}  ");
    }
    line
}

/// How wide [`head_line`] is.
fn total(widths: &[usize; 4]) -> usize {
    widths.iter().filter(|width| **width > 0).map(|width| width + 2).sum()
}

fn blanks(text: &str, width: usize) -> String {
    " ".repeat(width.saturating_sub(text.chars().count()))
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(line.trim_end());
    out.push('\n');
}
