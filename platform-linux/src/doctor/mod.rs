//! The doctor: what of this machine stands in the way of what the configuration wants, and what to do about it.
//!
//! ```text
//! the system ── look ──► facts ── check ──► findings ──► text, JSON
//! ```
//!
//! `look` reads and judges nothing; `check` judges and reads nothing, so that each check is tested with facts that are made
//! up. Nothing is changed, and it works without a running daemon and, with less to see, without root's rights: what
//! could not be looked at is said, with what is missing for it.
//!
//! For the firewall alone it starts programs, `nft` and `iptables-save`: their rules can be read in no other way that does not
//! do again what they do.

mod check;
mod facts;
mod finding;
mod firewall;
mod look;
mod report;
mod text;

#[cfg(test)]
mod made_up;

pub use finding::{Finding, Severity};
pub use look::Subject;
pub use report::{Count, Report, VERSION};

/// Looks at this machine. It takes as long as the look-up of names, some seconds at the most.
#[must_use]
pub fn examine(subject: Subject) -> Report {
    let facts = look::look(subject);
    let interface = facts.mesh.as_ref().map(|mesh| mesh.interface.clone());
    Report::new(facts.config.file.clone(), interface, check::check(&facts).sorted())
}

#[cfg(test)]
mod tests;
