//! The control socket: how a person asks a running daemon what it knows.
//!
//! `/run/wgautomesh/INTERFACE.sock`, a Unix stream socket of mode 0600. The protocol is one line in, one JSON document
//! out, end of file:
//!
//! ```text
//! > status\n
//! < {"version":1,"node":{...},"peers":[...],"counters":{...}}\n
//! ```
//!
//! Some answers are text, with a line that holds a full stop at its end: `table` gets the same as a table for people. So a command
//! needs no reader of JSON, which on a router is 45 kB, and shows all that a newer daemon has to say. A request that is not
//! known is answered with `{"version":1,"error":{"id":"...","message":"..."}}`.
//!
//! Where administrators are served there are also `metrics`, what Prometheus reads, as text; `map`, the whole mesh as a document;
//! `why PEER`, the document that says why a peer is connected or not, and `explain PEER`, the same as text; and `reload`. An
//! answer that takes a while, as the map's and those about a peer, for which others are asked first, is given later with a
//! [`Ticket`].
//!
//! [`Server`] is a plain object without a thread for the daemon's loop; it never blocks, whatever a client does.
//! [`fetch`] is the client's side, which blocks with a time-out. [`status`] has the document, [`render`] makes a table
//! of it.

mod client;
#[cfg(feature = "admin")]
pub mod explain;
#[cfg(feature = "admin")]
mod reload;
pub mod render;
#[cfg(feature = "admin")]
pub mod schema;
mod server;
pub mod status;
#[cfg(feature = "admin")]
pub mod why;

#[cfg(test)]
pub(crate) mod tests;

pub use client::{FetchError, fetch, running};
#[cfg(feature = "admin")]
pub use reload::{Handover, Reloaded};
#[cfg(feature = "admin")]
pub(crate) use server::refusal;
pub use server::{BindError, Interest, MAX_CLIENTS, Server, Ticket};
#[cfg(feature = "admin")]
pub(crate) use server::{Flow, tell};

use crate::config::InterfaceName;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// The version of the protocol and of every document in it. Fields may be added without a new one.
pub const VERSION: u32 = 1;

/// The variable that names another directory for the sockets than that of the system, for daemons that run without
/// root and for tests.
pub const DIRECTORY_VARIABLE: &str = "WGAUTOMESH_RUNTIME_DIR";

/// The directory of the sockets: [`DIRECTORY_VARIABLE`] if it is set, else that of the system: `/run/wgautomesh`, or
/// `/var/run/wgautomesh` where there is no `/run`, as on OpenWrt.
pub fn directory() -> PathBuf {
    match std::env::var_os(DIRECTORY_VARIABLE) {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => default_directory(Path::new("/")),
    }
}

fn default_directory(root: &Path) -> PathBuf {
    let run = root.join("run");
    if run.is_dir() { run } else { root.join("var/run") }.join("wgautomesh")
}

/// The path of the socket for one interface. The name of an interface is always a safe component of a path.
pub fn socket_path(directory: &Path, interface: &InterfaceName) -> PathBuf {
    directory.join(format!("{interface}.sock"))
}

/// Tells a whole text from one that was cut off.
const END_OF_TEXT: &str = ".\n";

/// An answer that is text for people, or for Prometheus.
pub(crate) fn for_people(text: String) -> String {
    text + END_OF_TEXT
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// The whole status: a [`status::Status`].
    Status,
    /// The status as a table for people: what [`render::table`] makes of it.
    Table,
    /// Go by the configuration file as it is now: the one that the daemon was started with, or one whose files are handed
    /// over. The answer is a [`Reloaded`].
    #[cfg(feature = "admin")]
    Reload(Option<Handover>),
    /// What Prometheus reads: the status, and more that is only counted.
    #[cfg(feature = "admin")]
    Metrics,
    /// The map of the mesh: a [`Map`](crate::map::Map). Its answer comes later, since others are asked first.
    #[cfg(feature = "admin")]
    Map,
    /// Why a peer is connected or not: a [`why::Why`]. It is named by its name, its mesh address, its key or the beginning of
    /// that.
    #[cfg(feature = "admin")]
    Why(String),
    /// The same as text for people: what [`explain::text`] makes of it.
    #[cfg(feature = "admin")]
    Explain(String),
}

impl Request {
    /// The words that are requests, as a refusal names them.
    #[cfg(not(feature = "admin"))]
    const KNOWN: &str = "\"status\" and \"table\"";
    #[cfg(feature = "admin")]
    const KNOWN: &str =
        "\"status\", \"table\", \"reload\", \"metrics\", \"map\", \"why PEER\" and \"explain PEER\"";

    /// The line that asks, without its end.
    pub fn line(&self) -> Cow<'static, str> {
        match self {
            Self::Status => "status".into(),
            Self::Table => "table".into(),
            #[cfg(feature = "admin")]
            Self::Reload(None) => "reload".into(),
            #[cfg(feature = "admin")]
            Self::Reload(Some(handover)) => format!("reload {}", handover.words()).into(),
            #[cfg(feature = "admin")]
            Self::Metrics => "metrics".into(),
            #[cfg(feature = "admin")]
            Self::Map => "map".into(),
            #[cfg(feature = "admin")]
            Self::Why(peer) => format!("why {peer}").into(),
            #[cfg(feature = "admin")]
            Self::Explain(peer) => format!("explain {peer}").into(),
        }
    }

    /// Reads a line without its end: a word, and what it is about.
    pub fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        match line.split_once(' ').unwrap_or((line, "")) {
            ("status", "") => Some(Self::Status),
            ("table", "") => Some(Self::Table),
            #[cfg(feature = "admin")]
            ("reload", "") => Some(Self::Reload(None)),
            #[cfg(feature = "admin")]
            ("reload", handed) => Handover::parse(handed).map(|handover| Self::Reload(Some(handover))),
            #[cfg(feature = "admin")]
            ("metrics", "") => Some(Self::Metrics),
            #[cfg(feature = "admin")]
            ("map", "") => Some(Self::Map),
            #[cfg(feature = "admin")]
            ("why", peer) if !peer.is_empty() => Some(Self::Why(peer.into())),
            #[cfg(feature = "admin")]
            ("explain", peer) if !peer.is_empty() => Some(Self::Explain(peer.into())),
            _ => None,
        }
    }

    /// The answer, where the status alone gives it.
    pub fn answer(&self, status: &status::Status) -> Option<String> {
        match self {
            Self::Status => Some(status.to_json()),
            Self::Table => Some(for_people(render::table(status))),
            #[cfg(feature = "admin")]
            Self::Metrics | Self::Reload(_) | Self::Map | Self::Why(_) | Self::Explain(_) => None,
        }
    }

    /// Whether the answer is text for people, which [`END_OF_TEXT`] ends, and not a document.
    const fn is_for_people(&self) -> bool {
        match self {
            Self::Status => false,
            #[cfg(feature = "admin")]
            Self::Map => false,
            Self::Table => true,
            #[cfg(feature = "admin")]
            Self::Why(_) => false,
            #[cfg(feature = "admin")]
            Self::Metrics | Self::Reload(_) | Self::Explain(_) => true,
        }
    }
}

/// The document that answers a request which was not understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// [`VERSION`]
    pub version: u32,
    /// What went wrong.
    pub error: RefusalReason,
}

/// Why a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalReason {
    /// Stable, in kebab case: `unknown-request`, `request-too-long`, `unknown-peer`, `ambiguous-peer`.
    pub id: String,
    /// For people.
    pub message: String,
}
