//! The status document described: every field, what it holds, and when it is `null`. The manual page wgautomesh-status(5) is
//! made from it, and a test holds it against the document.

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Where it is: names with dots between, `[]` for each element of a list.
    pub path: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// When it is `null`; `None` where it never is.
    pub null: Option<&'static str>,
    /// What it means, with its unit.
    pub text: &'static str,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Fields below it.
    Object,
    /// Elements, all alike.
    List,
    /// Text.
    String,
    /// A whole number, not below 0.
    Number,
    /// `true` or `false`.
    Boolean,
    /// An IP address, as text.
    Address,
    /// An IP address and a port, as text: `203.0.113.7:51820`, `[2001:db8::7]:51820`.
    Endpoint,
    /// A key of WireGuard in base64, as text.
    Key,
}

impl Kind {
    /// In a word or two.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::List => "list",
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "true or false",
            Self::Address => "address",
            Self::Endpoint => "address and port",
            Self::Key => "key",
        }
    }
}

const fn field(path: &'static str, kind: Kind, text: &'static str) -> Field {
    Field { path, kind, null: None, text }
}

const fn nullable(path: &'static str, kind: Kind, null: &'static str, text: &'static str) -> Field {
    Field { path, kind, null: Some(null), text }
}

const fn counter(path: &'static str, text: &'static str) -> Field {
    field(path, Kind::Number, text)
}

/// All of them, in the order of the document.
pub const FIELDS: &[Field] = &[
    field("version", Kind::Number, "The version of the document, 1. Fields may be added without a new one."),
    field("node", Kind::Object, "The node that answers."),
    field("node.version", Kind::String, "The version of the program."),
    field("node.interface", Kind::String, "Its WireGuard interface."),
    field("node.interface_up", Kind::Boolean, "Whether that interface is there now."),
    nullable("node.key", Kind::Key, "while the interface is not there", "Its public key."),
    nullable(
        "node.mesh_address",
        Kind::Address,
        "where the configuration does not list this node",
        "Its own address inside the mesh.",
    ),
    field("node.gossip_port", Kind::Number, "The UDP port of the gossip inside the mesh."),
    nullable(
        "node.listen_port",
        Kind::Number,
        "while the interface is not there, or has no port",
        "The UDP port of WireGuard outside of the mesh.",
    ),
    field("node.uptime_s", Kind::Number, "Seconds since the daemon was started."),
    field("node.openers", Kind::Boolean, "Whether it may use raw sockets (CAP_NET_RAW) to open NATs."),
    field("node.nat", Kind::Object, "What kind of NAT it is behind."),
    nullable("node.nat.ipv4", Kind::String, NAT_UNKNOWN, NAT),
    nullable("node.nat.ipv6", Kind::String, NAT_UNKNOWN, "The same for IPv6."),
    field("node.seen_at", Kind::List, "Where peers see it, the endpoint seen by most first."),
    field("node.seen_at[].endpoint", Kind::Endpoint, "The endpoint."),
    field("node.seen_at[].peers", Kind::Number, "How many peers see it there."),
    nullable("node.port_mapping", Kind::Object, "where none is wanted", "The gateway's port mapping."),
    field(
        "node.port_mapping.mapped",
        Kind::List,
        "The mappings that there are: one for each of IPv4 and IPv6 at most.",
    ),
    field("node.port_mapping.mapped[].endpoint", Kind::Endpoint, "Where others reach this node by it."),
    field("node.port_mapping.mapped[].protocol", Kind::String, "PCP, NAT-PMP or UPnP."),
    field("node.port_mapping.mapped[].gateway", Kind::Address, "Who gave it."),
    field(
        "node.port_mapping.mapped[].lease_s",
        Kind::Number,
        "Seconds that it still lasts; it is renewed before.",
    ),
    nullable(
        "node.port_mapping.reason",
        Kind::Object,
        "where nothing is wrong",
        "Why there is no mapping for IPv4, or why it could not be renewed.",
    ),
    field("node.port_mapping.reason.id", Kind::String, "A stable word: refused, no-answer, ..."),
    field("node.port_mapping.reason.message", Kind::String, "The same for people."),
    nullable(
        "node.rotation",
        Kind::String,
        "while it has one secret only",
        "How far it is with a new secret: next, while that is in gossip_secret_next_file; previous, when it is its own and the \
         one before is in gossip_secret_previous_file.",
    ),
    field(
        "peers",
        Kind::List,
        "The configured peers, without the node itself, in the order of the configuration.",
    ),
    nullable(
        "peers[].name",
        Kind::String,
        "where the configuration gives none",
        "What the configuration calls it.",
    ),
    field("peers[].key", Kind::Key, "Its public key."),
    field("peers[].address", Kind::Address, "Its address inside the mesh."),
    field(
        "peers[].state",
        Kind::String,
        "connected: traffic flows both ways. connecting: an attempt is under way. mute: its WireGuard answers and its \
         wgautomesh does not. waiting: nothing can be done now.",
    ),
    nullable("peers[].endpoint", Kind::Endpoint, "while WireGuard has none", "Where WireGuard sends to."),
    nullable(
        "peers[].endpoint_source",
        Kind::String,
        "while nothing is known of it",
        "Where that endpoint was learned: configured, global (an address of its own), mapped (its port mapping), mediated \
         (a peer sees it there), heard (its packets came from there), published (it says it is seen there), last-good, \
         private (on its own network), roamed (it reached us from there) or lan.",
    ),
    nullable(
        "peers[].rtt_us",
        Kind::Number,
        "until it was measured",
        "Round-trip time through the tunnel, in microseconds.",
    ),
    nullable(
        "peers[].handshake_age_s",
        Kind::Number,
        "where none was seen since the daemon was started",
        "Seconds since the last handshake.",
    ),
    field("peers[].rx_bytes", Kind::Number, "Bytes received from it, as WireGuard counts."),
    field("peers[].tx_bytes", Kind::Number, "Bytes sent to it, as WireGuard counts."),
    nullable(
        "peers[].reason",
        Kind::Object,
        "where there never was one",
        "Why it is not connected, or was not the last time it was not.",
    ),
    field("peers[].reason.id", Kind::String, "A stable word: no-answer, no-mediator, ..."),
    field("peers[].reason.message", Kind::String, "The same for people."),
    nullable(
        "peers[].lan_barred",
        Kind::Endpoint,
        "where there is no such place",
        "Where on a LAN it was heard and its WireGuard did not answer: not tried at present.",
    ),
    nullable(
        "peers[].via",
        Kind::String,
        "where nobody did",
        "Who introduced it in the last attempt: the name of a peer, or the first characters of its key.",
    ),
    field("peers[].nat", Kind::Object, "What kind of NAT it says it is behind."),
    nullable("peers[].nat.ipv4", Kind::String, NAT_UNKNOWN, "As node.nat.ipv4."),
    nullable("peers[].nat.ipv6", Kind::String, NAT_UNKNOWN, "The same for IPv6."),
    nullable(
        "peers[].has_newest_secret",
        Kind::Boolean,
        "while this node has one secret only",
        "Whether it has shown that it has the newer of the two.",
    ),
    field(
        "counters",
        Kind::Object,
        "What was counted since the start. Those of packets begin anew at 0 after 4294967295.",
    ),
    counter(
        "counters.dropped_lan",
        "Packets dropped on LANs: from elsewhere, too many, of another mesh, or copies.",
    ),
    counter("counters.dropped_length", "Gossip packets dropped: too short or too long."),
    counter("counters.dropped_malformed", "Gossip packets dropped: opened, and malformed inside."),
    counter("counters.dropped_openers", "Openers dropped: too many, or not of this mesh."),
    counter("counters.dropped_rate", "Gossip packets dropped: too many from one peer."),
    counter("counters.dropped_seal", "Gossip packets dropped: forged, or damaged."),
    counter("counters.dropped_secret", "Gossip packets dropped: sealed with another secret."),
    counter(
        "counters.dropped_stranger",
        "Gossip packets dropped: not from the mesh address of a configured peer.",
    ),
    counter(
        "counters.dropped_version",
        "Gossip packets dropped: of a version of the protocol that is not spoken.",
    ),
    counter("counters.fired", "Times that WireGuard was made to initiate."),
    counter("counters.heard_beacons", "Beacons of peers heard on LANs."),
    counter("counters.heard_openers", "Openers of the other side of an attempt that came through."),
    counter("counters.introduced", "Introductions given to peers."),
    counter("counters.moved_back", "Sessions moved back from a LAN, since nothing came through."),
    counter("counters.moved_to_lan", "Sessions moved to a LAN."),
    counter("counters.no_randomness", "Gossip packets not sent for want of random numbers."),
    counter("counters.over_budget", "Initiations put off since there had been too many of late."),
    counter("counters.readings", "Times that the interface was read."),
    counter("counters.received", "Gossip packets received and understood."),
    counter(
        "counters.received_bytes",
        "Bytes of UDP payload received at the gossip port, those dropped included.",
    ),
    counter("counters.refused_introductions", "Introductions refused to peers."),
    counter("counters.refused_records", "Records refused: of unknown nodes, too old, or newer than can be."),
    counter("counters.sent", "Gossip packets sent."),
    counter("counters.sent_beacons", "Beacons sent on LANs."),
    counter("counters.sent_bytes", "Their bytes of UDP payload."),
    counter("counters.sent_challenges", "Challenges sent on LANs."),
    counter("counters.sent_openers", "Bare packets sent to open a NAT."),
    counter("counters.skipped_frames", "Messages of a kind that this version does not know."),
];

const NAT: &str = "For IPv4: open (no NAT), endpoint-independent, endpoint-dependent, or translated (a NAT of which too few \
                   have seen anything).";
const NAT_UNKNOWN: &str = "where nothing is known, or there are no such addresses";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::{Mapped, PortMapping, Reason, Rotation, Status};
    use crate::control::tests::sample;
    use serde_json::Value;
    use std::collections::BTreeMap;

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
        let counters = FIELDS.iter().filter_map(|field| field.path.strip_prefix("counters."));
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
        status.counters.clear();
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

    #[test]
    fn the_document_has_exactly_these_fields() {
        let mut mapped = full();
        if let Some(mapping) = &mut mapped.node.port_mapping {
            mapping.reason = None;
        }
        let documents =
            [full(), mapped, bare()].map(|status| serde_json::from_str::<Value>(&status.to_json()).unwrap());
        let known: BTreeMap<&str, &Field> = FIELDS.iter().map(|field| (field.path, field)).collect();
        assert_eq!(known.len(), FIELDS.len(), "none is there twice");
        // Null somewhere, and something else somewhere.
        let mut seen: BTreeMap<String, (bool, bool)> = BTreeMap::new();
        for document in &documents {
            let mut found = Vec::new();
            walk(document, "", &mut found);
            for (path, value) in found {
                let field = known.get(&*path).unwrap_or_else(|| panic!("{path} is not described"));
                let seen = seen.entry(path.clone()).or_default();
                if value.is_null() {
                    assert!(field.null.is_some(), "{path} is null");
                    seen.0 = true;
                } else {
                    assert!(holds(field.kind, value), "{path} is {value}, not a {}", field.kind.as_str());
                    seen.1 = true;
                }
            }
        }
        for field in FIELDS {
            let (null, value) = seen.get(field.path).unwrap_or_else(|| panic!("{} is not there", field.path));
            assert!(value, "{} is always null", field.path);
            assert_eq!(*null, field.null.is_some(), "{}", field.path);
        }
    }

    #[test]
    fn everything_is_explained() {
        for field in FIELDS {
            assert!(field.text.len() > 5 && field.text.ends_with(['.']), "{field:?}");
            assert!(field.null.is_none_or(|null| !null.ends_with('.')), "{field:?}");
            // What is measured names its unit.
            for (end, unit) in [("_s", "econds"), ("_us", "icroseconds"), ("_bytes", "ytes")] {
                assert!(!field.path.ends_with(end) || field.text.contains(unit), "{field:?}");
            }
        }
    }
}
