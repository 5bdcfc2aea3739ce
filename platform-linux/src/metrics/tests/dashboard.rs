//! The dashboard for Grafana: that it can be imported, and asks for nothing that is not there.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{golden, parser::parse};

const DASHBOARD: &str = include_str!("../../../dist/grafana/wgautomesh.json");

/// A name, at the beginning of the text, and what follows.
fn name(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len()))
}

/// The metrics that a query names, each with the labels that it is chosen by.
fn selectors(query: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(at) = ["wgautomesh_", "process_"].iter().filter_map(|begin| rest.find(begin)).min() {
        let (metric, after) = name(&rest[at..]);
        rest = after;
        let mut labels = Vec::new();
        if let Some((inside, after)) = after.strip_prefix('{').and_then(|after| after.split_once('}')) {
            labels.extend(inside.split(',').map(|label| name(label.trim()).0));
            rest = after;
        }
        found.push((metric, labels));
    }
    found
}

/// The labels by which results are grouped, joined, or named.
fn grouped(query: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for word in ["by (", "on (", "without (", "group_left (", "ignoring ("] {
        for (at, _) in query.match_indices(word) {
            let inside = query[at + word.len()..].split(')').next().unwrap_or_default();
            found.extend(inside.split(',').map(str::trim).filter(|label| !label.is_empty()));
        }
    }
    found
}

/// Every value of a key, however deep.
fn all<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == key {
                    found.push(value);
                }
                all(value, key, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| all(value, key, found)),
        _ => {}
    }
}

fn texts<'v>(value: &'v Value, key: &str) -> Vec<&'v str> {
    let mut found = Vec::new();
    all(value, key, &mut found);
    found.into_iter().filter_map(Value::as_str).collect()
}

#[test]
fn it_asks_only_for_what_there_is() {
    let families = parse(&golden()).unwrap();
    let samples = || families.iter().flat_map(|family| &family.samples);
    let metrics: BTreeSet<&str> = samples().map(|sample| sample.name.as_str()).collect();
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut queries = texts(&dashboard["panels"], "expr");
    assert!(queries.len() >= 12, "{}", queries.len());
    queries.extend(
        dashboard["templating"]["list"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|v| v["query"]["query"].as_str()),
    );
    // Prometheus adds these two by itself.
    let added = ["instance", "job"];
    for query in queries {
        let selectors = selectors(query);
        assert!(!selectors.is_empty(), "{query}");
        let mut labels: BTreeSet<&str> = added.into();
        for (metric, chosen_by) in selectors {
            assert!(metrics.contains(metric), "{metric}: {query}");
            let of_metric: BTreeSet<&str> = samples()
                .filter(|sample| sample.name == metric)
                .flat_map(|sample| sample.labels.iter().map(|(name, _)| name.as_str()))
                .chain(added)
                .collect();
            for label in chosen_by {
                assert!(of_metric.contains(label), "{label} of {metric}: {query}");
            }
            labels.extend(of_metric);
        }
        for label in grouped(query) {
            assert!(labels.contains(label), "{label}: {query}");
        }
    }
    let labels: BTreeSet<&str> = samples()
        .flat_map(|sample| sample.labels.iter().map(|(name, _)| name.as_str()))
        .chain(added)
        .collect();
    for legend in texts(&dashboard["panels"], "legendFormat") {
        for label in legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap().trim()) {
            assert!(labels.contains(label), "{label}: {legend}");
        }
    }
}

/// As Grafana wants it: one variable for the data source, which everything is asked of, and no two panels in one place.
#[test]
fn it_can_be_imported() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    assert_eq!(dashboard["schemaVersion"], 39);
    assert!(dashboard["id"].is_null(), "a new one");
    assert!(dashboard["uid"].as_str().is_some_and(|uid| !uid.is_empty() && uid.len() <= 40));
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<&str> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
    assert_eq!(names, ["datasource", "instance", "interface"]);
    assert_eq!((&variables[0]["type"], &variables[0]["query"]), (&"datasource".into(), &"prometheus".into()));

    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let of = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(of("x") + of("w") <= 24 && of("w") > 0 && of("h") > 0, "{title}");
        for (x, y) in
            (of("x")..of("x") + of("w")).flat_map(|x| (of("y")..of("y") + of("h")).map(move |y| (x, y)))
        {
            assert!(taken.insert((x, y)), "{title} lies on another");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let query = target["expr"].as_str().unwrap();
            let chosen = query.matches("instance=~\"$instance\"").count();
            assert_eq!(chosen, selectors(query).len(), "{title}: {query}");
            let by_interface =
                selectors(query).iter().filter(|(metric, _)| metric.starts_with("wgautomesh_")).count();
            assert_eq!(query.matches("interface=~\"$interface\"").count(), by_interface, "{title}: {query}");
        }
    }
    for words in ["Peers", "RTT", "raffic", "reason", "dropped", "Wake-ups", "Memory"] {
        assert!(DASHBOARD.contains(words), "{words}");
    }
}
