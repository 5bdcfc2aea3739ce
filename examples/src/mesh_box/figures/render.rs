//! The figures for people: a line, a table, a picture.

use core::fmt::Write;

use super::{Document, Measured};
use crate::curve::{self, Curve};

/// Budgets of the idle mesh and of memory.
const GOSSIP_KB_PER_HOUR: f64 = 25.0;
const CPU_SECONDS_PER_HOUR: f64 = 0.2;
const WAKE_UPS_PER_SECOND: f64 = 0.3;
const RESIDENT_MB: f64 = 2.0;
/// The rows whose curves are drawn: name, one-way delay, loss.
const DRAWN: [(&str, f64, f64); 5] = [
    ("homes-7", 0.0, 0.0),
    ("homes-16", 0.0, 0.0),
    ("homes-32", 0.0, 0.0),
    ("homes-7", 50.0, 0.0),
    ("homes-7", 50.0, 1.0),
];

/// One row in one line, for who watches.
pub(super) fn line(row: &Measured) -> String {
    format!(
        "{}, {} ms, {} %: {} of {} complete, p50 {}, p95 {}{}",
        row.name,
        row.delay_ms,
        row.loss_percent,
        row.summary.complete,
        row.summary.runs,
        time(row.summary.all_ms_p50),
        time(row.summary.all_ms_p95),
        budget(row).map_or_else(String::new, |(budget, met)| {
            format!(" (budget {budget}{})", if met { "" } else { ": MISSED" })
        }),
    )
}

/// The whole table.
pub(super) fn markdown(document: &Document) -> String {
    let machine = &document.machine;
    let mut text = String::new();
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        text,
        "{}, {} cores; {}; WireGuard: {}; daemon: {}, {} linked, {:.0} kB; box {}; made in {:.0} minutes.\n",
        machine.cpu,
        machine.cores,
        machine.kernel,
        machine.wireguard,
        machine.daemon,
        machine.daemon_linked,
        machine.daemon_bytes as f64 / 1e3,
        machine.box_version,
        document.seconds / 60.0,
    );
    if !document.rows.is_empty() {
        text.push_str("| until all pairs talk | one way | loss | complete | p50 | p95 | budget |\n");
        text.push_str("|---|--:|--:|--:|--:|--:|---|\n");
    }
    for row in &document.rows {
        let budget = budget(row).map_or_else(String::new, |(text, met)| mark(&text, met));
        let _ = writeln!(
            text,
            "| {} | {} ms | {} % | {}/{} | {} | {} | {budget} |",
            row.what,
            row.delay_ms,
            row.loss_percent,
            row.summary.complete,
            row.summary.runs,
            time(row.summary.all_ms_p50),
            time(row.summary.all_ms_p95),
        );
    }
    let mut figures = Vec::new();
    if let Some(resting) = &document.idle {
        let (nodes, idle) = (resting.nodes, &resting.idle);
        let mut add = |what: &str, mean: f64, most: f64, unit: &str, wanted: f64| {
            let what = format!("{what} of an idle daemon, {nodes} nodes, over {:.0} s", idle.seconds);
            let budget = mark(&format!("≤ {wanted} {unit}"), mean <= wanted);
            figures.push(format!("| {what} | {mean:.2} {unit} | {most:.2} {unit} | {budget} |"));
        };
        let kilo = |bytes: f64| bytes / 1e3;
        add(
            "gossip",
            kilo(idle.gossip_bytes_per_hour_mean),
            kilo(idle.gossip_bytes_per_hour_max),
            "kB/h",
            GOSSIP_KB_PER_HOUR,
        );
        add(
            "processor time",
            idle.cpu_seconds_per_hour_mean,
            idle.cpu_seconds_per_hour_max,
            "s/h",
            CPU_SECONDS_PER_HOUR,
        );
        add(
            "wake-ups",
            idle.wake_ups_per_second_mean,
            idle.wake_ups_per_second_max,
            "/s",
            WAKE_UPS_PER_SECOND,
        );
    }
    for memory in &document.memory {
        let megabytes = memory.resident_bytes as f64 / 1e6;
        // The budget is of a static binary: a C library that is loaded is no memory of the daemon's own.
        let budget = match (memory.peers, machine.daemon_linked) {
            (128, "statically") => mark(&format!("≤ {RESIDENT_MB} MB"), megabytes <= RESIDENT_MB),
            (128, _) => format!("≤ {RESIDENT_MB} MB, statically linked"),
            _ => String::new(),
        };
        figures.push(format!("| resident memory, {} peers | | {megabytes:.1} MB | {budget} |", memory.peers));
    }
    if !figures.is_empty() {
        text.push_str("\n| a daemon | mean | most | budget |\n|---|--:|--:|---|\n");
        figures.iter().for_each(|figure| {
            let _ = writeln!(text, "{figure}");
        });
    }
    let asked: Vec<_> = document.rows.iter().filter(|row| !row.explained_ms.is_empty()).collect();
    if !asked.is_empty() {
        text.push_str("\n| pairs that cannot be punched | one way | loss | explained after at most | as |\n|---|--:|--:|--:|---|\n");
    }
    for row in asked {
        let most = row.explained_ms.iter().copied().reduce(|a, b| Some(a?.max(b?))).flatten();
        let (what, delay, loss, most) = (row.what, row.delay_ms, row.loss_percent, time(most));
        let _ = writeln!(text, "| {what} | {delay} ms | {loss} % | {most} | {} |", row.reasons.join(", "));
    }
    text
}

/// The curves of cold starts.
pub(super) fn picture(document: &Document) -> String {
    let mut curves = Vec::new();
    for (name, delay, loss) in DRAWN {
        let row = document
            .rows
            .iter()
            .find(|row| (row.name, row.delay_ms, row.loss_percent) == (name, delay, loss));
        if let Some(row) = row {
            let way = match (delay > 0.0, loss > 0.0) {
                (false, _) => String::new(),
                (true, false) => format!(", {delay} ms one way"),
                (true, true) => format!(", {delay} ms one way, {loss} % loss"),
            };
            let label = format!("1 public + {} homes{way}", row.nodes - 1);
            curves.push(Curve { label, steps: row.curve.clone() });
        }
    }
    let ends = curves.iter().filter_map(|curve| curve.steps.last());
    let end = ends.map(|(at, _)| *at).fold(0.0, f64::max);
    let title = "Share of pairs that talk, all runs together";
    curve::svg(title, "seconds since all daemons started", end, &curves, &[])
}

/// What is wanted of a row, and whether it is so.
fn budget(row: &Measured) -> Option<(String, bool)> {
    let (percentile, ms) = (row.budget_percentile?, row.budget_ms?);
    let measured = if percentile == 50 { row.summary.all_ms_p50 } else { row.summary.all_ms_p95 };
    let text = format!("p{percentile} ≤ {} s", f64::from(ms) / 1e3);
    Some((text, measured.is_some_and(|measured| measured <= f64::from(ms))))
}

fn mark(budget: &str, met: bool) -> String {
    if met { format!("{budget} ✓") } else { format!("**{budget} ✗**") }
}

fn time(ms: Option<f64>) -> String {
    match ms {
        Some(ms) if ms < 9950.0 => format!("{:.2} s", ms / 1e3),
        Some(ms) => format!("{:.1} s", ms / 1e3),
        None => "never".into(),
    }
}
