//! The whole text to the letter, read by a strict parser of the format and by Prometheus' own, and the dashboard held
//! against it.

mod dashboard;
mod parser;

use std::{
    env,
    io::Write as _,
    process::{Command, Stdio},
};

use parser::{Family, parse};
use wgautomesh_core::{CandidateKind, Duration, Event, PublicKey, Reason};

use super::{Process, Tally, families};
use crate::control::{
    status::{PortMapping, Status},
    tests::sample,
};

/// After a metric was changed on purpose: `WGAUTOMESH_BLESS=1 cargo test -p wgautomesh --lib metrics`, and read the diff.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/metrics/tests/golden.prom");

fn key(text: &str) -> PublicKey {
    text.parse().unwrap()
}

/// A node on which a good deal has happened.
fn node() -> (Status, Tally, Process) {
    let mut status = sample();
    status.node.port_mapping = Some(PortMapping { mapped: Vec::new(), reason: None });
    status.counters = Tally::counters().zip(1_u64..).map(|(name, value)| (name.to_owned(), value)).collect();
    let mut tally = Tally::new();
    (0..1_234).for_each(|_| tally.woke());
    let dora = key(&status.peers[0].key);
    let nameless = key(&status.peers[1].key);
    let endpoint = ([203, 0, 113, 9], 51820).into();
    let connected = |millis| Event::Connected {
        key: dora,
        endpoint: Some(endpoint),
        kind: CandidateKind::Configured,
        via: None,
        took: Duration::from_millis(millis),
    };
    let kind = CandidateKind::Configured;
    let attempt =
        |key, initiator| Event::Attempt { key, endpoint: None, kind, initiator, via: None, round: 1 };
    for event in [
        attempt(dora, true),
        connected(73),
        Event::Lost { key: dora, reason: Reason::Silent },
        attempt(dora, false),
        attempt(dora, true),
        connected(1_734),
        Event::Moved { key: dora, endpoint, kind: CandidateKind::Roamed },
        Event::Waiting { key: nameless, reason: Reason::Connecting },
        attempt(nameless, true),
        Event::Waiting { key: nameless, reason: Reason::NoAnswer },
        Event::Waiting { key: nameless, reason: Reason::NoMediator },
        Event::Waiting { key: nameless, reason: Reason::NoAnswer },
        Event::Dropped { packets: 3 },
    ] {
        tally.note(&event, status.peers.len(), |_| true);
    }
    let process =
        Process { resident_bytes: Some(2_101_248), processor_time: Duration::from_micros(1_500_250) };
    (status, tally, process)
}

fn golden() -> String {
    let (status, tally, process) = node();
    families::text(&status, &tally, &process)
}

fn sample_of<'f>(families: &'f [Family], name: &str) -> Vec<(&'f [(String, String)], f64)> {
    let samples = families.iter().flat_map(|family| &family.samples);
    samples.filter(|s| s.name == name).map(|s| (s.labels.as_slice(), s.value)).collect()
}

#[test]
fn the_text_to_the_letter() {
    let text = golden();
    if env::var_os("WGAUTOMESH_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(GOLDEN, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(GOLDEN).unwrap());
}

#[test]
fn the_text_keeps_to_the_format_and_to_the_conventions() {
    let families = parse(&golden()).unwrap();
    for Family { name, kind, help, samples } in &families {
        assert!(help.ends_with('.'), "{name}: {help}");
        assert!(name.starts_with("wgautomesh_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}: {kind}");
        if name.ends_with("_info") {
            assert!(samples.iter().all(|sample| sample.value == 1.0), "{name}");
        }
        for unit in ["_ms", "_us", "_milliseconds", "_kilobytes", "_percent"] {
            assert!(!name.contains(unit), "{name}: base units only");
        }
        for sample in samples {
            let has = |label| sample.labels.iter().any(|(name, _)| name == label);
            assert_eq!(has("interface"), name.starts_with("wgautomesh_"), "{name}");
            let peer = name.starts_with("wgautomesh_peer_");
            assert_eq!(
                (has("peer"), has("public_key") && name != "wgautomesh_node_info"),
                (peer, peer),
                "{name}"
            );
        }
    }
    // Nothing that was counted is forgotten.
    let (status, ..) = node();
    let values: Vec<f64> = families.iter().flat_map(|family| &family.samples).map(|s| s.value).collect();
    for (counter, value) in &status.counters {
        assert!(values.contains(&(*value as f64)), "{counter}");
    }
    let failures = sample_of(&families, "wgautomesh_peer_failures_total");
    let reason = |(labels, value): &(&[(String, String)], f64)| (labels.last().unwrap().1.clone(), *value);
    let failures: Vec<_> = failures.iter().map(reason).collect();
    assert_eq!(failures, [("no-answer".to_owned(), 2.0), ("no-mediator".to_owned(), 1.0)]);
}

/// A name may be anything that a configuration, or a newer one, lets through: it comes out as it went in, and is in no
/// other place.
#[test]
fn hostile_names_stay_within_their_quotes() {
    let (mut status, tally, process) = node();
    for name in [
        "\"} 1\nwgautomesh_peer_up{peer=\"x",
        "back\\slash\\",
        "\\\"",
        "line\nend\n",
        "\\n",
        "# HELP x\n",
        "\u{1b}[2J\r\0",
        "ö {a=\"b\"} 7",
        "",
    ] {
        status.peers[0].name = Some(name.into());
        status.node.interface = name.into();
        let families = parse(&families::text(&status, &tally, &process)).unwrap();
        let up = sample_of(&families, "wgautomesh_peer_up");
        assert_eq!(up.len(), status.peers.len(), "{name:?}");
        let label = |label: &str| &up[0].0.iter().find(|(name, _)| name == label).unwrap().1;
        assert_eq!((label("peer"), label("interface")), (&name.to_owned(), &name.to_owned()));
    }
}

/// What is not known is not there, and makes nothing wrong.
#[test]
fn a_node_without_interface_and_peers_has_metrics() {
    let (mut status, ..) = node();
    status.peers.clear();
    status.counters.clear();
    status.node.key = None;
    status.node.mesh_address = None;
    status.node.interface_up = false;
    status.node.port_mapping = None;
    status.node.nat = Default::default();
    let process = Process { resident_bytes: None, processor_time: Duration::from_micros(0) };
    let families = parse(&families::text(&status, &Tally::new(), &process)).unwrap();
    assert_eq!(sample_of(&families, "wgautomesh_interface_up")[0].1, 0.0);
    assert_eq!(sample_of(&families, "wgautomesh_peers").iter().map(|(_, count)| count).sum::<f64>(), 0.0);
    for absent in ["wgautomesh_port_mappings", "process_resident_memory_bytes"] {
        assert!(families.iter().all(|family| family.name != absent), "{absent}");
    }
}

/// A thousand peers are scraped in a moment, and the text stays within what a client reads.
#[test]
fn a_thousand_peers_are_a_few_megabytes() {
    let (mut status, tally, process) = node();
    let peer = status.peers[0].clone();
    status.peers = vec![peer; 1_024];
    assert!(families::text(&status, &tally, &process).len() < 4 * 1024 * 1024);
}

/// As Prometheus' own library for Python reads it.
#[test]
fn prometheus_reads_the_text() {
    let script = "import sys\n\
                  from prometheus_client.parser import text_string_to_metric_families as parse\n\
                  for family in parse(sys.stdin.read()):\n    \
                      print(family.name, family.type, len(family.samples))\n";
    // The system's, for which the system's packages are.
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut python = match command.spawn() {
        Ok(python) => python,
        Err(error) => return skipped(&error),
    };
    python.stdin.take().unwrap().write_all(golden().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    if complaint.contains("No module named 'prometheus_client'") {
        return skipped(&complaint.lines().last().unwrap_or_default());
    }
    assert!(output.status.success(), "{complaint}");
    let read = String::from_utf8(output.stdout).unwrap();
    let expected: String = parse(&golden())
        .unwrap()
        .iter()
        .map(|family| {
            // It takes the end off the name of a counter.
            let name = family.name.strip_suffix("_total").unwrap_or(&family.name);
            format!("{name} {} {}\n", family.kind, family.samples.len())
        })
        .collect();
    assert_eq!(read, expected);
}

/// Under CI nothing is skipped.
fn skipped(why: &dyn core::fmt::Display) {
    assert!(env::var_os("CI").is_none(), "{why}");
    eprintln!("SKIPPED: {why} (apt-get install python3-prometheus-client)");
}
