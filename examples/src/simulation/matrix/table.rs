//! The matrix as text. `+` in a NAT's name joins its mapping and its filtering, `=` says that it keeps ports, `in` puts a
//! home's NAT behind a carrier's.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use embassy_time::Duration;

use super::{Meeting, SETTINGS, Together, kinds};

/// Times by kind of pair, what is said of those that cannot be connected, and all pairs one by one.
#[must_use]
pub fn table(meetings: &[Meeting]) -> String {
    let mut text = String::new();
    for setting in SETTINGS {
        let of: Vec<&Meeting> = meetings.iter().filter(|m| m.pair.setting == setting).collect();
        if of.is_empty() {
            continue;
        }
        let public = if setting.public == 1 { "One public node" } else { "Two public nodes" };
        let openers = match setting.openers {
            [true, true] => "raw sockets",
            [false, false] => "no raw sockets",
            _ => "raw sockets at one end (the row's)",
        };
        // Writing to a string cannot fail.
        let meet = if setting.by_ipv6 { ", met by IPv6 where there is any" } else { "" };
        let _ = writeln!(text, "{public}{meet}, {openers}, {} pairs", of.len());
        times(&mut text, &of);
        said(&mut text, &of);
        each(&mut text, &of);
    }
    text
}

fn percentile(sorted: &[u64], percent: usize) -> u64 {
    sorted.get((sorted.len().saturating_sub(1) * percent).div_ceil(100)).copied().unwrap_or(0)
}

fn by_group<'a>(meetings: &[&'a Meeting], connectable: bool) -> BTreeMap<&'static str, Vec<&'a Meeting>> {
    let mut groups: BTreeMap<&'static str, Vec<&Meeting>> = BTreeMap::new();
    for meeting in meetings.iter().filter(|m| m.oracle.is_connectable() == connectable) {
        groups.entry(meeting.group).or_default().push(meeting);
    }
    groups
}

fn times(text: &mut String, meetings: &[&Meeting]) {
    let _ = writeln!(
        text,
        "\n{:<28} {:>6} {:>9} {:>7} {:>7} {:>7} {:>7}",
        "can be connected", "pairs", "connected", "p50 ms", "p95", "p99", "most"
    );
    for (group, of) in by_group(meetings, true) {
        let mut times: Vec<u64> = of.iter().filter_map(|m| m.up).map(|d| d.as_millis()).collect();
        times.sort_unstable();
        let at = |percent| percentile(&times, percent);
        let _ = writeln!(
            text,
            "{group:<28} {:>6} {:>9} {:>7} {:>7} {:>7} {:>7}",
            of.len(),
            times.len(),
            at(50),
            at(95),
            at(99),
            at(100)
        );
    }
}

fn said(text: &mut String, meetings: &[&Meeting]) {
    let _ = writeln!(
        text,
        "\n{:<28} {:>6} {:>9} {:>7} {:>7} {:>7}   what the ends say, and since when",
        "cannot be connected", "pairs", "connected", "p50 ms", "p95", "most"
    );
    for (group, of) in by_group(meetings, false) {
        let mut times: Vec<u64> =
            of.iter().flat_map(|m| m.said).map(|(_, since)| since.as_millis()).collect();
        times.sort_unstable();
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for (reason, _) in of.iter().flat_map(|m| m.said) {
            *reasons.entry(reason.map_or("nothing", |r| r.as_str())).or_default() += 1;
        }
        let reasons: Vec<String> = reasons.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
        let at = |percent| percentile(&times, percent);
        let _ = writeln!(
            text,
            "{group:<28} {:>6} {:>9} {:>7} {:>7} {:>7}   {}",
            of.len(),
            of.iter().filter(|m| m.up.is_some()).count(),
            at(50),
            at(95),
            at(100),
            reasons.join(", ")
        );
    }
}

/// Rows and columns are kinds of hosts; the row's host has the lower number.
fn each(text: &mut String, meetings: &[&Meeting]) {
    let kinds = kinds();
    let _ = write!(text, "\n{:<31}", "ms until connected");
    for column in 1..=kinds.len() {
        let _ = write!(text, "{column:>6}");
    }
    text.push('\n');
    let apart: Vec<&&Meeting> = meetings.iter().filter(|m| m.pair.together == Together::Apart).collect();
    for (number, kind) in kinds.iter().enumerate() {
        let _ = write!(text, "{:>2} {:<28}", number + 1, kind.name);
        for other in &kinds {
            let cell = apart.iter().find(|m| m.pair.ends[0] == *kind && m.pair.ends[1] == *other);
            let _ = write!(text, "{:>6}", cell.map_or(String::new(), |m| show(m)));
        }
        text.push('\n');
    }
    let _ = writeln!(text, "\n{:<56} {:>10} {:>8}", "behind one NAT, ms", "no hairpin", "hairpin");
    let mut rows: Vec<(String, [String; 2])> = Vec::new();
    for meeting in meetings.iter().filter(|m| m.pair.together != Together::Apart) {
        let [a, b] = &meeting.pair.ends;
        let name = match meeting.pair.together {
            Together::Home => format!("two hosts behind {}", a.name),
            Together::CarrierAndSubnet => format!("{} with {}, same subnet", a.name, b.name),
            _ => format!("{} with {}", a.name, b.name),
        };
        let column = usize::from(a.nats[0].hairpin);
        match rows.iter_mut().find(|(known, _)| *known == name) {
            Some((_, cells)) => cells[column] = show(meeting),
            None => {
                let mut cells = [String::new(), String::new()];
                cells[column] = show(meeting);
                rows.push((name, cells));
            }
        }
    }
    for (name, [without, with]) in rows {
        let _ = writeln!(text, "{name:<56} {without:>10} {with:>8}");
    }
    text.push('\n');
}

/// The time; `-` for a pair that cannot be connected and is not; `!` before what the oracle did not expect.
fn show(meeting: &Meeting) -> String {
    let wrong = if meeting.agrees() { "" } else { "!" };
    let time = meeting.up.map_or("-".to_string(), |up: Duration| up.as_millis().to_string());
    format!("{wrong}{time}")
}
