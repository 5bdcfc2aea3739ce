//! The documents described that commands print with `--json`: every field, what it holds, and when it is `null` or left out.
//! The manual pages wgautomesh-status(5), wgautomesh-why(5), wgautomesh-map(5) and wgautomesh-doctor(5) are made from it, and
//! tests hold it against the documents.

mod doctor;
mod map;
mod status;
mod why;

#[cfg(test)]
mod tests;

pub use doctor::DOCTOR;
pub use map::MAP;
pub use status::STATUS;
pub use why::{CAUSES, WHY};

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Where it is: names with dots between, `[]` for each element of a list.
    pub path: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// When it does not hold that.
    pub absent: Absent,
    /// What it means, with its unit.
    pub text: &'static str,
}

/// When a field does not hold what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Absent {
    /// It always does.
    Never,
    /// It is `null` then.
    Null(&'static str),
    /// It is not there then.
    LeftOut(&'static str),
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
    Field { path, kind, absent: Absent::Never, text }
}

const fn nullable(path: &'static str, kind: Kind, null: &'static str, text: &'static str) -> Field {
    Field { path, kind, absent: Absent::Null(null), text }
}

const fn optional(path: &'static str, kind: Kind, left_out: &'static str, text: &'static str) -> Field {
    Field { path, kind, absent: Absent::LeftOut(left_out), text }
}

const fn counter(path: &'static str, text: &'static str) -> Field {
    field(path, Kind::Number, text)
}

const VERSION: &str = "The version of the document, 1. Fields may be added without a new one.";

const NAT: &str = "For IPv4: open (no NAT), endpoint-independent, endpoint-dependent, or translated (a NAT of which too few \
                   have seen anything).";
const NAT_UNKNOWN: &str = "where nothing is known, or there are no such addresses";

/// Every `reason.id` of a peer, and the sentence that it comes with.
pub fn reasons() -> impl Iterator<Item = (&'static str, String)> {
    wgautomesh_core::Reason::ALL.into_iter().map(|reason| (reason.as_str(), reason.to_string()))
}
