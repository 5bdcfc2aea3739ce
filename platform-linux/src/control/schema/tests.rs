//! What is described is what there is: every field of every document, and nothing else.

use super::*;
use crate::control::explain::tests::{connected, not_connected};
use crate::control::status::{Mapped, PortMapping, Reason, Rotation, Status};
use crate::control::tests::sample;
use crate::control::why::Why;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A status in which everything is there somewhere.
fn full() -> Status {
    let mut status = sample();
    let reason = Some(Reason { id: "x".into(), message: "y".into() });
    let mapped = Mapped {
        endpoint: "203.0.113.7:33723".parse().unwrap(),
        protocol: "PCP".into(),
        gateway: [192, 168, 1, 1].into(),
        lease_s: 7,
    };
    status.node.port_mapping = Some(PortMapping { mapped: vec![mapped], reason: reason.clone() });
    status.peers[0].reason = reason;
    status.peers[0].lan_barred = Some("[fe80::9%3]:51820".parse().unwrap());
    status.peers[0].nat = status.node.nat.clone();
    status.node.rotation = Some(Rotation::Next);
    status.peers[0].has_newest_secret = Some(true);
    let counters = STATUS.iter().filter_map(|field| field.path.strip_prefix("counters."));
    status.counters = counters.map(|name| (name.to_owned(), 1)).collect();
    status
}

/// The same with nothing in it that need not be.
fn bare() -> Status {
    let mut status = sample();
    status.node.key = None;
    status.node.mesh_address = None;
    status.node.listen_port = None;
    status.node.nat = Default::default();
    status.counters = full().counters;
    status.peers[1].reason = None;
    status
}

/// What each path holds, in the order of the document.
fn walk<'v>(value: &'v Value, path: &str, found: &mut Vec<(String, &'v Value)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                found.push((path.clone(), value));
                walk(value, &path, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| walk(value, &format!("{path}[]"), found)),
        _ => {}
    }
}

fn holds(kind: Kind, value: &Value) -> bool {
    let text = |good: fn(&str) -> bool| value.as_str().is_some_and(good);
    match kind {
        Kind::Object => value.is_object(),
        Kind::List => value.is_array(),
        Kind::String => value.is_string(),
        Kind::Number => value.is_u64(),
        Kind::Boolean => value.is_boolean(),
        Kind::Address => text(|text| text.parse::<core::net::IpAddr>().is_ok()),
        Kind::Endpoint => text(|text| text.parse::<core::net::SocketAddr>().is_ok()),
        Kind::Key => text(|text| text.parse::<wgautomesh_core::PublicKey>().is_ok()),
    }
}

/// Documents that have everything between them: each field with what it is for, and if it may be absent, without it too.
fn are_described(documents: &[Value], fields: &[Field]) {
    let known: BTreeMap<&str, &Field> = fields.iter().map(|field| (field.path, field)).collect();
    assert_eq!(known.len(), fields.len(), "none is there twice");
    let (mut held, mut null, mut left_out) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for document in documents {
        let mut found = Vec::new();
        walk(document, "", &mut found);
        for (path, value) in &found {
            let field = known.get(&**path).unwrap_or_else(|| panic!("{path} is not described"));
            if value.is_null() {
                null.insert(field.path);
            } else {
                assert!(holds(field.kind, value), "{path} is {value}, not a {}", field.kind.as_str());
                held.insert(field.path);
            }
        }
        // Left out of an object that is there.
        for field in fields {
            let (parent, _) = field.path.rsplit_once('.').unwrap_or(("", field.path));
            let count =
                |of: &str| found.iter().filter(|(path, value)| path == of && !value.is_null()).count();
            let parents = match parent.strip_suffix("[]") {
                Some(list) => found
                    .iter()
                    .filter(|(path, _)| path == list)
                    .filter_map(|(_, list)| list.as_array())
                    .map(Vec::len)
                    .sum(),
                None if parent.is_empty() => 1,
                None => count(parent),
            };
            if found.iter().filter(|(path, _)| path == field.path).count() < parents {
                left_out.insert(field.path);
            }
        }
    }
    for field in fields {
        assert!(held.contains(field.path), "{} is never there", field.path);
        let absent = (null.contains(field.path), left_out.contains(field.path));
        let described = match field.absent {
            Absent::Never => (false, false),
            Absent::Null(_) => (true, false),
            Absent::LeftOut(_) => (false, true),
        };
        assert_eq!(absent, described, "{}: null, left out", field.path);
    }
}

fn read(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

#[test]
fn the_status_has_exactly_these_fields() {
    let mut mapped = full();
    if let Some(mapping) = &mut mapped.node.port_mapping {
        mapping.reason = None;
    }
    are_described(&[full(), mapped, bare()].map(|status| read(&status.to_json())), STATUS);
}

#[test]
fn the_reasons_have_exactly_these_fields() {
    let mut bare = connected();
    bare.node = crate::control::why::Node { key: None, address: None, listen_port: None, ..bare.node };
    bare.node.nat = Default::default();
    bare.peer =
        crate::control::why::Peer { name: None, listen_port: None, nat: Default::default(), ..bare.peer };
    bare.link.since_s = None;
    bare.link.via = None;
    let mut full = not_connected();
    full.node.nat = connected().peer.nat;
    if let Some(answer) = full.asked.iter_mut().find_map(|asked| asked.answer.as_mut()) {
        answer.reason = full.link.reason.clone();
    }
    are_described(&[bare, full, connected()].map(|why: Why| read(&why.to_json())), WHY);
}

#[test]
fn the_map_has_exactly_these_fields() {
    let mut map = read(include_str!("../../map/golden/small.json"));
    map["nodes"][0]["nat"]["ipv6"] = "open".into();
    are_described(&[map], MAP);
}

#[test]
fn what_the_doctor_says_has_exactly_these_fields() {
    let ill = read(include_str!("../../doctor/golden/ill.json"));
    let mut unknown = ill.clone();
    unknown["interface"] = Value::Null;
    are_described(&[ill, unknown], DOCTOR);
}

#[test]
fn everything_is_explained() {
    for field in [STATUS, WHY, MAP, DOCTOR].concat() {
        assert!(field.text.len() > 5 && field.text.ends_with('.'), "{field:?}");
        if let Absent::Null(when) | Absent::LeftOut(when) = field.absent {
            assert!(!when.ends_with('.'), "{field:?}");
        }
        // What is measured names its unit.
        for (end, unit) in
            [("_s", "econds"), ("_ms", "illiseconds"), ("_us", "icroseconds"), ("_bytes", "ytes")]
        {
            assert!(!field.path.ends_with(end) || field.text.contains(unit), "{field:?}");
        }
    }
    for (id, text) in CAUSES {
        assert!(text.len() > 5 && text.ends_with('.'), "{id}");
    }
}
