//! `map --json`.

use super::{Field, Kind, NAT, NAT_UNKNOWN, VERSION, field, nullable, optional};

const SILENT: &str = "where it did not say anything";
const APART: &str = "while they are not connected, or where it is not known";
const TOGETHER: &str = "while they are connected, or where it is not known";
const UNMEASURED: &str = "where it was not measured";

/// The document of `map --json`, in its order.
pub const MAP: &[Field] = &[
    field("version", Kind::Number, VERSION),
    field("interface", Kind::String, "The WireGuard interface of the node that was asked."),
    field("nodes", Kind::List, "The node that was asked, then its peers in the order of the configuration."),
    nullable(
        "nodes[].name",
        Kind::String,
        "where the configuration gives none",
        "What the configuration of the node that was asked calls it.",
    ),
    field("nodes[].key", Kind::Key, "Its public key."),
    field(
        "nodes[].answered",
        Kind::Boolean,
        "Whether it said itself how it stands with its peers. Of a node that did not, what others say is known, and what \
         its last record says: it may run an older version, or nobody reaches it.",
    ),
    field("nodes[].nat", Kind::Object, "What kind of NAT it is behind."),
    nullable("nodes[].nat.ipv4", Kind::String, NAT_UNKNOWN, NAT),
    nullable("nodes[].nat.ipv6", Kind::String, NAT_UNKNOWN, "The same for IPv6."),
    nullable(
        "nodes[].outside",
        Kind::Endpoint,
        "where its record is not known, or has none",
        "Where others find it, as its record says: its public endpoint, of IPv4 if it has one.",
    ),
    field(
        "nodes[].mapped",
        Kind::Boolean,
        "Whether a gateway lets others in to it: by a port mapping, or a pinhole.",
    ),
    field("left_out", Kind::Number, "How many peers are not on the map, which has room for 256 nodes."),
    field("links", Kind::List, "Every pair of nodes once."),
    field("links[].a", Kind::Number, "The one node, by its place in nodes, counted from 0."),
    field("links[].b", Kind::Number, "The other node, whose place is higher."),
    field(
        "links[].how",
        Kind::String,
        "How they reach each other: lan, on a network of their own; direct, at an address at which one of them lets \
         everybody in; punched, through the NATs before both; connecting; not-connected, as all say that were heard; \
         unknown, where neither said anything.",
    ),
    nullable("links[].rtt_us", Kind::Number, UNMEASURED, "The round trip, in microseconds."),
    optional("links[].a_says", Kind::Object, SILENT, "What the first node says."),
    field("links[].a_says.state", Kind::String, "How it stands, as peers[].state in wgautomesh-status(5)."),
    optional(
        "links[].a_says.endpoint_source",
        Kind::String,
        APART,
        "What it reaches the other by, as peers[].endpoint_source there.",
    ),
    optional(
        "links[].a_says.reason",
        Kind::String,
        TOGETHER,
        "Why they are not connected, as peers[].reason.id there.",
    ),
    optional(
        "links[].a_says.rtt_us",
        Kind::Number,
        UNMEASURED,
        "The round trip that it measured, in microseconds.",
    ),
    optional("links[].b_says", Kind::Object, SILENT, "What the second node says."),
    field("links[].b_says.state", Kind::String, "As links[].a_says.state."),
    optional("links[].b_says.endpoint_source", Kind::String, APART, "As links[].a_says.endpoint_source."),
    optional("links[].b_says.reason", Kind::String, TOGETHER, "As links[].a_says.reason."),
    optional("links[].b_says.rtt_us", Kind::Number, UNMEASURED, "The same, in microseconds."),
];
