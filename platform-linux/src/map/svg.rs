//! The map as a picture: nodes on a circle, those behind one NAT beside each other behind a wall, and a line for each pair.
//!
//! ```text
//!            no NAT                     wall: a NAT, which the lines to its nodes go through
//!           o  o  o                     on the far side of it the nodes, side by side
//!        o           |o                 lines of connected pairs bend towards the middle, so that their ends part;
//!         ---     ---                   LAN lines run along the circle, behind the wall
//! ```
//!
//! It reads on light and on dark grounds by itself, needs no font of its own and no script, and a browser shows of each line and
//! node what it is under the pointer.

use super::order::{Group, groups};
use super::{How, Link, Map, Nat, Node};
use core::f64::consts::{FRAC_PI_2, TAU};
use core::fmt::Write as _;

/// Up to this many nodes have room for two lines of text, which need not be turned.
const FEW: usize = 10;
/// Around the picture.
const MARGIN: f64 = 28.0;
const HEADER: f64 = 64.0;
/// From the circle to the wall, and to the text.
const TO_WALL: f64 = 17.0;
const TO_LABEL: f64 = 15.0;

const STYLE: &str = "\
svg{--ground:#fff;--ink:#1f2937;--dim:#6b7280;--edge:#e5e7eb;--lan:#15803d;--direct:#2563eb;--punched:#d97706;--none:#dc2626;\
--wall:#94a3b8;--hard:#b91c1c}\
@media(prefers-color-scheme:dark){svg{--ground:#0f172a;--ink:#e2e8f0;--dim:#94a3b8;--edge:#1e293b;--lan:#4ade80;\
--direct:#60a5fa;--punched:#fbbf24;--none:#f87171;--wall:#64748b;--hard:#f87171}}\
text{fill:var(--ink);font-family:system-ui,-apple-system,\"Segoe UI\",Roboto,\"DejaVu Sans\",sans-serif}\
.b{font-weight:600}.d{fill:var(--dim);font-weight:400}\
path{fill:none;stroke-linecap:round}\
.lan{stroke:var(--lan)}.direct{stroke:var(--direct)}.punched{stroke:var(--punched)}\
.connecting{stroke:var(--dim);stroke-dasharray:2 4}.not-connected{stroke:var(--none);stroke-dasharray:6 5}\
.wall{stroke:var(--wall)}.hard{stroke:var(--hard)}\
.l path:hover{opacity:1;stroke-width:4}\
circle{stroke:var(--ink);stroke-width:2;fill:var(--ground)}.o{fill:var(--ink)}.s{stroke:var(--dim);stroke-dasharray:2.5 2.5}\
.m{fill:var(--lan);stroke:var(--ground);stroke-width:1.5}.t{fill:none;stroke:var(--direct);stroke-width:2.5}";

/// The picture.
pub fn svg(map: &Map) -> String {
    let groups = groups(map);
    let layout = Layout::new(map, &groups);
    let mut out = String::new();
    let (width, height) = (layout.width, layout.height);
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-size=\"13\">"
    );
    let _ = writeln!(out, "<title>{}: {}</title>", escaped(&map.interface), map.summary());
    let _ = writeln!(out, "<style>{STYLE}</style>");
    let _ = writeln!(out, "<rect width=\"100%\" height=\"100%\" rx=\"14\" fill=\"var(--ground)\"/>");
    let _ = writeln!(
        out,
        "<text x=\"{MARGIN}\" y=\"44\" font-size=\"20\"><tspan class=\"b\">{}</tspan><tspan class=\"d\" dx=\"12\" font-size=\"15\">\
         {}</tspan></text>",
        escaped(&map.interface),
        map.summary()
    );
    lines(&mut out, map, &layout);
    for group in &groups {
        wall(&mut out, map, group, &layout);
    }
    for (at, node) in map.nodes.iter().enumerate() {
        marker(&mut out, at, node, &layout);
    }
    for group in &groups {
        for (place, at) in group.members.iter().enumerate() {
            if let Some(node) = map.nodes.get(*at) {
                label(&mut out, *at, node, place == 0, &layout);
            }
        }
    }
    legend(&mut out, map, &layout);
    out.push_str("</svg>\n");
    out
}

/// A place in the picture.
#[derive(Clone, Copy)]
struct Point {
    x: f64,
    y: f64,
}

/// Where everything is.
struct Layout {
    width: f64,
    height: f64,
    middle: Point,
    radius: f64,
    /// Of each node, by its place in the map: clockwise from the right.
    angles: Vec<f64>,
    /// Which group it is of.
    group_of: Vec<usize>,
    /// Of each node: where its lines are drawn to.
    gates: Vec<f64>,
    /// From one node to the next.
    step: f64,
    few: bool,
}

impl Layout {
    fn new(map: &Map, groups: &[Group]) -> Self {
        let count = map.nodes.len();
        let few = count <= FEW;
        // Between two groups is as much room again as between two nodes.
        let gap = if groups.len() > 1 { 0.9 } else { 0.0 };
        let slots = count as f64 + gap * groups.len() as f64;
        let step = TAU / slots.max(1.0);
        let room = if few { 0.0 } else { slots * 17.0 / TAU };
        let radius = room.max(if few { 170.0 } else { 180.0 + 1.6 * count as f64 });
        let mut angles = vec![0.0; count];
        let mut group_of = vec![0; count];
        let mut gates = vec![0.0; count];
        // The middle of the first group is on top.
        let first = groups.first().map_or(0, |group| group.members.len());
        let mut angle = -FRAC_PI_2 - step * (first as f64 - 1.0) / 2.0;
        for (number, group) in groups.iter().enumerate() {
            // What has no NAT has nothing to share.
            let middle = angle + step * (group.members.len() as f64 - 1.0) / 2.0;
            for at in &group.members {
                let places = (angles.get_mut(*at), group_of.get_mut(*at), gates.get_mut(*at));
                if let (Some(place), Some(of), Some(gate)) = places {
                    (*place, *of) = (angle, number);
                    *gate = if group.nat == Nat::Open { angle } else { middle };
                }
                angle += step;
            }
            angle += step * gap;
        }
        // How far the labels reach in each direction; the lines of many bend within the circle, which is seen as a whole.
        let least = if few { 0.0 } else { radius + 24.0 };
        let reach = |towards: &dyn Fn(f64, f64) -> f64| {
            let nodes = map.nodes.iter().zip(&angles);
            nodes.map(|(node, angle)| towards(*angle, label_width(node, few))).fold(least, f64::max)
        };
        let far = |width: f64| radius + TO_LABEL + width;
        let beside = reach(&|angle, width| {
            let cos = angle.cos().abs();
            if few { radius * cos + 24.0 + width } else { cos * far(width) }
        });
        let above = reach(&|angle, width| -angle.sin() * if few { radius } else { far(width) });
        let below = reach(&|angle, width| angle.sin() * if few { radius } else { far(width) });
        let (above, below) =
            if few { (above + 54.0, below.max(0.4 * radius) + 54.0) } else { (above, below) };
        let width = (2.0 * (beside + MARGIN)).max(legend_width(map) + 2.0 * MARGIN).max(520.0);
        let middle = Point { x: width / 2.0, y: HEADER + above };
        let height = middle.y + below + LEGEND;
        Self { width, height, middle, radius, angles, group_of, gates, step, few }
    }

    fn angle(&self, at: usize) -> f64 {
        self.angles.get(at).copied().unwrap_or_default()
    }

    /// The place at this angle, so far from the middle.
    fn at(&self, angle: f64, radius: f64) -> Point {
        Point { x: self.middle.x + radius * angle.cos(), y: self.middle.y + radius * angle.sin() }
    }

    /// Where the lines of a node are drawn to.
    fn gate(&self, at: usize) -> Point {
        self.at(self.gates.get(at).copied().unwrap_or_default(), self.radius * 0.3)
    }

    fn node(&self, at: usize) -> Point {
        self.at(self.angle(at), self.radius)
    }
}

/// Room below the circle for the legend.
const LEGEND: f64 = 78.0;

/// The lines, those that are to be seen last and so on top.
fn lines(out: &mut String, map: &Map, layout: &Layout) {
    for how in [How::Punched, How::Direct, How::Connecting, How::Lan, How::NotConnected] {
        let links: Vec<_> = map.links.iter().filter(|link| link.how == how).collect();
        if links.is_empty() {
            continue;
        }
        // Many lines make a cloud, in which each is faint; broken ones are what one looks for.
        let (faintest, weight) = match how {
            How::NotConnected | How::Lan => (0.55, 120.0),
            _ => (0.14, 60.0),
        };
        let opacity = (weight / links.len() as f64).clamp(faintest, 0.9);
        let stroke = if layout.few || how == How::Lan { 2.0 } else { 1.0 };
        let class = how.as_str();
        let _ = writeln!(out, "<g class=\"l {class}\" stroke-width=\"{stroke}\">");
        for link in links {
            let tip = escaped(&link.sentence(&map.nodes));
            let path = path(link, layout);
            let _ = writeln!(out, "<path d=\"{path}\" opacity=\"{opacity:.2}\"><title>{tip}</title></path>");
        }
        out.push_str("</g>\n");
    }
}

fn path(link: &Link, layout: &Layout) -> String {
    let (a, b) = (layout.node(link.a), layout.node(link.b));
    let group = |at: usize| layout.group_of.get(at);
    if link.how == How::Lan && group(link.a) == group(link.b) {
        // Along the circle, behind the wall; around those who stand between.
        let (from, to) = (layout.angle(link.a), layout.angle(link.b));
        let steps = ((to - from).abs() / layout.step).round();
        let inside = layout.radius - 4.0 * (steps - 1.0).clamp(0.0, 2.5);
        let bend = layout
            .at((from + to) / 2.0, inside + (layout.radius - layout.radius * ((to - from) / 2.0).cos()));
        return format!("M{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}", a.x, a.y, bend.x, bend.y, b.x, b.y);
    }
    if layout.few {
        // Bent a little towards the middle.
        let bend = |a: f64, b: f64, middle: f64| middle + ((a + b) / 2.0 - middle) * 0.72;
        let (x, y) = (bend(a.x, b.x, layout.middle.x), bend(a.y, b.y, layout.middle.y));
        return format!("M{:.1} {:.1}Q{x:.1} {y:.1} {:.1} {:.1}", a.x, a.y, b.x, b.y);
    }
    // By way of their groups, so that the lines from one NAT to another become a bundle.
    let (from, to) = (layout.gate(link.a), layout.gate(link.b));
    format!(
        "M{:.1} {:.1}C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}",
        a.x, a.y, from.x, from.y, to.x, to.y, b.x, b.y
    )
}

/// The NAT before a group: the lines to its nodes go through it.
fn wall(out: &mut String, map: &Map, group: &Group, layout: &Layout) {
    let angles = || group.members.iter().map(|at| layout.angle(*at));
    if group.nat == Nat::Open || group.nat == Nat::Unknown {
        return;
    }
    let overhang = (layout.step * 0.36).min(0.16);
    let from = angles().fold(f64::INFINITY, f64::min) - overhang;
    let to = angles().fold(f64::NEG_INFINITY, f64::max) + overhang;
    let radius = layout.radius - TO_WALL;
    let (start, end) = (layout.at(from, radius), layout.at(to, radius));
    let large = u8::from(to - from > TAU / 2.0);
    let look = wall_look(group.nat);
    let address = group.behind.map(|address| format!(" {address}")).unwrap_or_default();
    let _ = writeln!(
        out,
        "<path {look} d=\"M{:.1} {:.1}A{radius:.1} {radius:.1} 0 {large} 1 {:.1} {:.1}\">\
         <title>{}{address}</title></path>",
        start.x,
        start.y,
        end.x,
        end.y,
        group.nat.words()
    );
    let mapped = |at: &&usize| map.nodes.get(**at).is_some_and(|node| node.mapped);
    for at in group.members.iter().filter(mapped) {
        let Point { x, y } = layout.at(layout.angle(*at), radius);
        let _ = writeln!(
            out,
            "<circle class=\"m\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"><title>port mapping</title></circle>"
        );
    }
}

fn marker(out: &mut String, at: usize, node: &Node, layout: &Layout) {
    let Point { x, y } = layout.node(at);
    let radius = if layout.few { 8.0 } else { 5.5 };
    let class = if !node.answered {
        "s"
    } else if node.nat() == Nat::Open {
        "o"
    } else {
        "i"
    };
    if at == 0 {
        let _ = writeln!(out, "<circle class=\"t\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{:.1}\"/>", radius + 4.0);
    }
    let mut tip = format!("{}, {}", node.label(), node.nat().words());
    if let Some(outside) = node.outside {
        tip += &format!(", {outside}");
    }
    if !node.answered {
        tip += ", did not answer";
    }
    let _ = writeln!(
        out,
        "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"><title>{}</title></circle>",
        escaped(&tip)
    );
}

/// The name of a node, and where it is: of those behind one address beside the first.
fn label(out: &mut String, at: usize, node: &Node, is_first: bool, layout: &Layout) {
    let angle = layout.angle(at);
    let name = escaped(&node.short_label(24));
    let class = if at == 0 {
        "b"
    } else if node.answered {
        "n"
    } else {
        "d"
    };
    let address = node.outside.map(|outside| outside.ip().to_string());
    let to_label = TO_LABEL + if at == 0 { 4.0 } else { 0.0 };
    if layout.few {
        let Point { x, y } = layout.at(angle, layout.radius + to_label + 3.0);
        let sideways = angle.cos();
        let anchor = match sideways {
            ..-0.25 => "end",
            0.25.. => "start",
            _ => "middle",
        };
        // Two lines, beside the node, above or below it.
        let y = y + if angle.sin() < -0.9 {
            -16.0
        } else if angle.sin() > 0.9 {
            14.0
        } else {
            -1.0
        };
        let second = match address {
            Some(address) => format!("{address} · {}", node.nat().words()),
            None => node.nat().words().into(),
        };
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"15\" class=\"{class}\">{name}</text>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" font-size=\"12\" class=\"d\">{second}</text>",
            y + 16.0
        );
        return;
    }
    let Point { x, y } = layout.at(angle, layout.radius + to_label);
    let degrees = angle.to_degrees();
    let left = angle.cos() < 0.0;
    let (turn, anchor) = if left { (degrees + 180.0, "end") } else { (degrees, "start") };
    let address = address.filter(|_| is_first || node.nat() == Nat::Open);
    let address =
        address.map(|a| format!("<tspan class=\"d\" font-size=\"11\">{a}</tspan>")).unwrap_or_default();
    let (before, after) =
        if left { (address + "  ", String::new()) } else { (String::new(), "  ".to_string() + &address) };
    let _ = writeln!(
        out,
        "<text transform=\"translate({x:.1} {y:.1}) rotate({turn:.1})\" dy=\"4.5\" text-anchor=\"{anchor}\" class=\"{class}\" \
         xml:space=\"preserve\">{}{name}{}</text>",
        if before.len() > 2 { before } else { String::new() },
        if after.len() > 2 { after } else { String::new() },
    );
}

/// How wide a label is, about.
fn label_width(node: &Node, few: bool) -> f64 {
    let address = node.outside.map_or(0, |outside| outside.ip().to_string().len()) as f64;
    let name = width(&node.short_label(24));
    if few {
        (name * 15.0).max((address + 3.0 + node.nat().words().len() as f64) * 0.56 * 12.0)
    } else {
        name * 13.0 + (address + 3.0) * 0.56 * 11.0
    }
}

/// How wide a text is, about, in its font's size. What is not Latin may be as wide as high.
fn width(text: &str) -> f64 {
    text.chars().map(|c| if u32::from(c) < 0x2e80 { 0.57 } else { 1.05 }).sum()
}

/// What is explained below the picture.
#[derive(Clone, Copy)]
enum Sample {
    Line(How),
    Node(Nat),
}

/// Room for a sample, and between two entries.
const SAMPLE: f64 = 34.0;
const APART: f64 = 22.0;

/// What the lines mean, and what stands before the nodes; and how many there are of each.
fn entries(map: &Map) -> [Vec<(Sample, String)>; 2] {
    let lines = How::ALL.map(|how| (Sample::Line(how), how.words(), map.count(how)));
    let of = |nat| map.nodes.iter().filter(|node| node.nat() == nat).count();
    let nodes = Nat::ALL.map(|nat| (Sample::Node(nat), nat.words(), of(nat)));
    let shown = |entries: &[(Sample, &str, usize)]| {
        let some = entries.iter().filter(|(_, _, count)| *count > 0);
        some.map(|(sample, words, count)| (*sample, format!("{words} ({count})"))).collect()
    };
    [shown(&lines), shown(&nodes)]
}

fn legend_width(map: &Map) -> f64 {
    let row = |row: &Vec<(Sample, String)>| {
        row.iter().map(|(_, text)| SAMPLE + width(text) * 13.0 + APART).sum::<f64>()
    };
    entries(map).iter().map(row).fold(0.0, f64::max) - APART
}

fn legend(out: &mut String, map: &Map, layout: &Layout) {
    for (row, y) in entries(map).iter().zip([layout.height - 46.0, layout.height - 20.0]) {
        let mut x = MARGIN;
        for (sample, text) in row {
            let middle = y - 4.5;
            let _ = match sample {
                // Nothing is drawn for it.
                Sample::Line(How::Unknown) => Ok(()),
                Sample::Line(how) => {
                    let class = how.as_str();
                    writeln!(
                        out,
                        "<path class=\"{class}\" stroke-width=\"2.5\" d=\"M{x:.1} {middle:.1}h26\"/>"
                    )
                }
                Sample::Node(nat @ (Nat::Open | Nat::Unknown)) => {
                    let class = if *nat == Nat::Open { "o" } else { "s" };
                    let x = x + 13.0;
                    writeln!(out, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{middle:.1}\" r=\"5.5\"/>")
                }
                Sample::Node(nat) => {
                    let look = wall_look(*nat);
                    writeln!(out, "<path {look} d=\"M{:.1} {middle:.1}h22\"/>", x + 2.0)
                }
            };
            x += SAMPLE;
            let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
            x += width(text) * 13.0 + APART;
        }
    }
}

/// How a wall is drawn.
const fn wall_look(nat: Nat) -> &'static str {
    match nat {
        Nat::EndpointDependent => "class=\"hard\" stroke-width=\"4\"",
        Nat::Translated => "class=\"wall\" stroke-width=\"4\" stroke-dasharray=\"5 6\"",
        _ => "class=\"wall\" stroke-width=\"4\"",
    }
}

/// Text between tags.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no way to say them, and they would end the document for a reader.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            c => out.push(c),
        }
    }
    out
}
