//! The figures for people: a line, a table, a picture.

use core::fmt::Write;

use super::{Document, Measured};
use crate::curve::{self, Curve};

/// Budgets of the idle mesh and of memory.
const GOSSIP_KB_PER_HOUR: f64 = 25.0;
const CPU_SECONDS_PER_HOUR: f64 = 0.2;
const WAKE_UPS_PER_SECOND: f64 = 0.3;
const RESIDENT_MB: f64 = 2.0;
/// Handshake initiations of a pair in a cold start, where none is lost: median and 99th percentile.
const INITIATIONS: (u32, u32) = (1, 2);
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
        "{}, {} ms, {} %: {} of {} complete, p50 {}, p95 {}{}{}",
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
        if row.cold { format!("; {}", row.summary.initiations) } else { String::new() },
    )
}

/// The whole table.
pub(super) fn markdown(document: &Document) -> String {
    let machine = &document.machine;
    let mut text = String::new();
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        text,
        "{}, {} cores; {}; WireGuard: {}; daemon: {}, {}{:.0} kB; box {}; made in {:.0} minutes.\n",
        machine.cpu,
        machine.cores,
        machine.kernel,
        machine.wireguard,
        machine.daemon,
        if machine.daemon_linked.is_empty() {
            String::new()
        } else {
            format!("{} linked, ", machine.daemon_linked)
        },
        machine.daemon_bytes as f64 / 1e3,
        machine.box_version,
        document.seconds / 60.0,
    );
    if !document.rows.is_empty() {
        text.push_str("| until all pairs talk | one way | loss | complete | p50 | p95 | budget | initiations of a pair, p50 / p99 |\n");
        text.push_str("|---|--:|--:|--:|--:|--:|---|---|\n");
    }
    for row in &document.rows {
        let budget = budget(row).map_or_else(String::new, |(text, met)| mark(&text, met));
        let _ = writeln!(
            text,
            "| {} | {} ms | {} % | {}/{} | {} | {} | {budget} | {} |",
            row.what,
            row.delay_ms,
            row.loss_percent,
            row.summary.complete,
            row.summary.runs,
            time(row.summary.all_ms_p50),
            time(row.summary.all_ms_p95),
            initiations(row),
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
        text.push_str(
            "\n| pairs that cannot be punched | one way | loss | explained after at most | as | budget |\n",
        );
        text.push_str("|---|--:|--:|--:|---|---|\n");
    }
    for row in asked {
        let most = row.explained_ms.iter().copied().reduce(|a, b| Some(a?.max(b?))).flatten();
        let budget = row.explained_budget_ms.map(f64::from).map_or_else(String::new, |wanted| {
            mark(&format!("≤ {} s", wanted / 1e3), most.is_some_and(|most| most <= wanted))
        });
        let (what, delay, loss, reasons) = (row.what, row.delay_ms, row.loss_percent, row.reasons.join(", "));
        let _ = writeln!(text, "| {what} | {delay} ms | {loss} % | {} | {reasons} | {budget} |", time(most));
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

/// What a pair has cost in a cold start; what is wanted of it is wanted where nothing is lost.
fn initiations(row: &Measured) -> String {
    let it = row.summary.initiations;
    let cost = format!("{} / {}", it.p50, it.p99);
    match (row.cold, row.loss_percent > 0.0) {
        (false, _) => String::new(),
        (true, true) => cost,
        (true, false) => mark(&cost, it.p50 <= INITIATIONS.0 && it.p99 <= INITIATIONS.1),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh_box::figures::machine::Machine;
    use crate::mesh_box::figures::{Memory, Resting};
    use crate::mesh_box::report::{Idle, Initiations, Summary};

    fn document() -> Document {
        let row = |name, all_ms: &[Option<f64>], budget_ms| Measured {
            name,
            what: "some homes",
            nodes: 7,
            delay_ms: 0.0,
            loss_percent: 0.0,
            summary: Summary {
                runs: all_ms.len(),
                complete: all_ms.iter().flatten().count(),
                all_ms_p50: all_ms[0],
                all_ms_p95: all_ms[1],
                half_ms_p50: None,
                half_ms_p95: None,
                initiations: Initiations { p50: 1, p99: 2, most: 3 },
            },
            budget_percentile: Some(95),
            budget_ms,
            cold: name == "homes-7",
            all_ms: all_ms.to_vec(),
            explained_ms: vec![Some(4000.0), all_ms[1].and(Some(4500.0))],
            explained_budget_ms: Some(5000),
            reasons: vec!["no-answer".into()],
            failures: Vec::new(),
            curve: vec![(0.1, 0.5), (0.2, 1.0)],
        };
        let idle = Idle {
            seconds: 300.0,
            gossip_bytes_per_hour_mean: 20_000.0,
            gossip_bytes_per_hour_max: 30_000.0,
            gossip_packets_per_hour_mean: 200.0,
            cpu_seconds_per_hour_mean: 0.3,
            cpu_seconds_per_hour_max: 0.4,
            wake_ups_per_second_mean: 0.25,
            wake_ups_per_second_max: 0.5,
        };
        let machine = Machine {
            cpu: "a processor".into(),
            cores: 2,
            kernel: "Linux".into(),
            wireguard: "embedded".into(),
            daemon: "other".into(),
            daemon_bytes: 1000,
            daemon_linked: "statically",
            box_version: "0",
        };
        let rows = vec![
            row("homes-7", &[Some(120.0), Some(300.0)], Some(500)),
            row("nat", &[Some(12_000.0), None], Some(500)),
            row("free", &[Some(1.0), Some(2.0)], None),
        ];
        let memory = vec![Memory { peers: 128, resident_bytes: 1_900_000 }];
        Document { machine, seconds: 60.0, rows, idle: Some(Resting { nodes: 16, idle }), memory }
    }

    #[test]
    fn a_table_says_what_was_wanted_and_whether_it_is_so() {
        let text = markdown(&document());
        let has = |line: &str| assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        has("| some homes | 0 ms | 0 % | 2/2 | 0.12 s | 0.30 s | p95 ≤ 0.5 s ✓ | 1 / 2 ✓ |");
        has("| some homes | 0 ms | 0 % | 1/2 | 12.0 s | never | **p95 ≤ 0.5 s ✗** |  |");
        has("| some homes | 0 ms | 0 % | 2/2 | 0.00 s | 0.00 s |  |  |");
        has("| gossip of an idle daemon, 16 nodes, over 300 s | 20.00 kB/h | 30.00 kB/h | ≤ 25 kB/h ✓ |");
        has("| resident memory, 128 peers | | 1.9 MB | ≤ 2 MB ✓ |");
        has("| some homes | 0 ms | 0 % | 4.50 s | no-answer | ≤ 5 s ✓ |");
        has("| some homes | 0 ms | 0 % | never | no-answer | **≤ 5 s ✗** |");
        assert!(text.contains("**≤ 0.2 s/h ✗**"), "{text}");
    }

    #[test]
    fn a_picture_has_the_curves_that_there_are() {
        let picture = picture(&document());
        assert_eq!(picture.matches("stroke-width=\"2\"").count(), 1);
        assert!(picture.contains("1 public + 6 homes"), "{picture}");
    }
}
