//! What is said: findings, and how bad each is.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::facts::Unseen;

/// How bad a finding is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Severity {
    /// The mesh cannot work, or not with all peers.
    Error,
    /// It works, and something is very likely not as it was meant, or makes it worse.
    Warning,
    /// Worth knowing.
    Note,
    /// It could not be looked at; the remedy is what to do to have it looked at.
    Skipped,
    /// It was looked at, and is as it should be.
    Ok,
}

impl Severity {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
            Self::Skipped => "skipped",
            Self::Ok => "ok",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about: a stable word in kebab case. One check may find several things.
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, as a clause.
    pub what: String,
    /// What to do, as an imperative. Empty where there is nothing to do, or nothing to advise.
    pub fix: String,
}

/// Collects findings.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn error(&mut self, id: &str, what: impl Into<String>, fix: impl Into<String>) {
        self.add(Severity::Error, id, what.into(), fix.into());
    }

    pub(super) fn warning(&mut self, id: &str, what: impl Into<String>, fix: impl Into<String>) {
        self.add(Severity::Warning, id, what.into(), fix.into());
    }

    pub(super) fn note(&mut self, id: &str, what: impl Into<String>, fix: impl Into<String>) {
        self.add(Severity::Note, id, what.into(), fix.into());
    }

    /// Says that `subject` was not looked at.
    pub(super) fn skipped(&mut self, id: &str, subject: &str, unseen: &Unseen) {
        self.add(Severity::Skipped, id, format!("{subject}: {}", unseen.why), unseen.need.clone());
    }

    pub(super) fn ok(&mut self, id: &str, what: impl Into<String>) {
        self.add(Severity::Ok, id, what.into(), String::new());
    }

    pub(super) fn add(&mut self, severity: Severity, id: &str, what: String, fix: String) {
        self.0.push(Finding { id: id.into(), severity, what, fix });
    }

    /// How many there are, to see whether a check found something.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them, the worst first, else in the order in which they were found.
    pub(super) fn sorted(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|finding| finding.severity);
        self.0
    }
}
