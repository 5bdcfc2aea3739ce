//! The map in the language of Graphviz.

use super::order::groups;
use super::{How, Map, Nat, Node};
use core::fmt::Write as _;

/// The map as an undirected graph. Nodes behind one NAT are in one box; pairs of which nothing is known have no line.
pub fn dot(map: &Map) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "graph {} {{", quoted(&map.interface));
    let title = format!("{}: {}", map.interface, map.summary());
    let _ = writeln!(
        out,
        "  graph [label={}, labelloc=t, layout=fdp, overlap=false, splines=true];",
        quoted(&title)
    );
    out.push_str("  node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"sans-serif\"];\n");
    for (number, group) in groups(map).iter().enumerate() {
        let boxed = group.behind.is_some();
        let indent = if boxed { "    " } else { "  " };
        if let Some(address) = group.behind {
            let label = format!("{address}\n{}", group.nat.words());
            let _ = writeln!(out, "  subgraph cluster_{number} {{");
            let _ = writeln!(out, "    label={}; style=rounded; color=gray;", quoted(&label));
        }
        for (at, node) in group.members.iter().filter_map(|at| Some((at, map.nodes.get(*at)?))) {
            let _ = writeln!(out, "{indent}n{at} [{}];", attributes(*at, node));
        }
        if boxed {
            out.push_str("  }\n");
        }
    }
    for link in &map.links {
        let style = match link.how {
            How::Lan => "color=\"#15803d\", penwidth=2",
            How::Direct => "color=\"#2563eb\"",
            How::Punched => "color=\"#d97706\"",
            How::Connecting => "color=gray, style=dashed",
            How::NotConnected => "color=\"#dc2626\", style=dashed",
            How::Unknown => continue,
        };
        let tip = quoted(&link.sentence(&map.nodes));
        let _ = writeln!(out, "  n{} -- n{} [{style}, tooltip={tip}];", link.a, link.b);
    }
    out.push_str("}\n");
    out
}

fn attributes(at: usize, node: &Node) -> String {
    let nat = node.nat();
    let mut label = node.label();
    if let Some(outside) = node.outside.filter(|_| nat == Nat::Open) {
        label += &format!("\n{}", outside.ip());
    }
    let mut text = format!("label={}", quoted(&label));
    text += match nat {
        Nat::Open => ", fillcolor=\"#dbeafe\"",
        Nat::EndpointDependent => ", fillcolor=\"#fee2e2\"",
        _ => "",
    };
    if !node.answered {
        text += ", style=\"rounded,dashed\"";
    }
    if at == 0 {
        text += ", penwidth=3";
    }
    text
}

/// A string of the language. A backslash would begin an escape of Graphviz's own, a line end is one.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            // No label is read as HTML, where it begins with an angle; in a tool that gets that wrong nothing is lost.
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
