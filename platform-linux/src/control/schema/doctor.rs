//! `doctor --json`.

use super::{Field, Kind, VERSION, field, nullable};

/// The document of `doctor --json`, in its order.
pub const DOCTOR: &[Field] = &[
    field("version", Kind::Number, VERSION),
    field("program", Kind::String, "The version of the program."),
    field("file", Kind::String, "The configuration, as it was named."),
    nullable(
        "interface",
        Kind::String,
        "where the configuration does not tell",
        "The WireGuard interface that it is for.",
    ),
    field("healthy", Kind::Boolean, "Whether no finding is an error."),
    field("count", Kind::Object, "How many findings there are of each severity."),
    field("count.error", Kind::Number, "The mesh cannot work, or not with all peers."),
    field(
        "count.warning",
        Kind::Number,
        "Something is very likely not as it was meant, or makes the mesh worse.",
    ),
    field("count.note", Kind::Number, "Worth knowing."),
    field("count.skipped", Kind::Number, "It could not be looked at."),
    field("count.ok", Kind::Number, "It was looked at, and is as it should be."),
    field("findings", Kind::List, "What was found, the worst first."),
    field(
        "findings[].id",
        Kind::String,
        "What it is about, a stable word: interface, mesh-route, endpoint-route, ... One check may find several things.",
    ),
    field("findings[].severity", Kind::String, "error, warning, note, skipped or ok: see count."),
    field("findings[].what", Kind::String, "What was found. The text may change."),
    field(
        "findings[].fix",
        Kind::String,
        "What to do; of what was skipped, how to have it looked at. Empty where there is nothing to do. The text may change.",
    ),
];
