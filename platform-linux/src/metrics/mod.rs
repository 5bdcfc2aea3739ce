//! Metrics for Prometheus: what the status says, what was counted, and what the process costs, in the text format.
//!
//! They are had over the control socket (`wgautomesh metrics`) and, where the configuration wants it, by HTTP.
//!
//! | module | what it knows |
//! |---|---|
//! | [`tally`] | what happened, counted per peer |
//! | [`process`] | what the process costs |
//! | [`exposition`] | the text format, and nothing of what is written in it |
//! | [`families`] | every metric: its name, its meaning, and where its value is from |
//! | [`http`] | one request and its answer, as bytes |
//! | [`server`] | the listening socket and its clients, for the daemon's loop |
//!
//! The names follow Prometheus' conventions: `wgautomesh_` in front, base units, `_total` for what only grows, and what is a
//! word is a label of a series that is 1 (`_info`). Every series carries the label `interface`, every one about a peer
//! `public_key` and `peer` too, which is what people call it. No wall clock is read, so that a moment is given as its age.

mod exposition;
mod families;
mod http;
mod process;
mod server;
mod tally;

#[cfg(test)]
mod tests;

pub(crate) use process::Process;
pub(crate) use server::Server;
pub(crate) use tally::Tally;

use crate::control::status::Status;

/// The text that Prometheus reads.
pub(crate) fn text(status: &Status, tally: &Tally) -> String {
    families::text(status, tally, &Process::read())
}
