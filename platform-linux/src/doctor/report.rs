//! What the doctor says, as one document.
//!
//! ```json
//! {
//!   "version": 1,
//!   "program": "0.1.0",
//!   "file": "/etc/wgautomesh.toml",
//!   "interface": "wg0",
//!   "healthy": false,
//!   "count": {"error": 1, "warning": 0, "note": 0, "skipped": 0, "ok": 12},
//!   "findings": [
//!     {"id": "interface", "severity": "error", "what": "there is no interface wg0", "fix": "make it ..."}
//!   ]
//! }
//! ```
//!
//! Fields may be added, and identifiers; those that are here keep their meaning as long as [`VERSION`] stays. The texts are
//! for people and may change at any time.

use serde::{Deserialize, Serialize};

use super::finding::{Finding, Severity};

/// The version of the document.
pub const VERSION: u32 = 1;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`]
    pub version: u32,
    /// Version of the program.
    pub program: String,
    /// The configuration, as it was named.
    pub file: String,
    /// The interface; `null` where the configuration does not tell.
    pub interface: Option<String>,
    /// Whether there is no error.
    pub healthy: bool,
    /// How many findings there are of each kind.
    pub count: Count,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
}

/// How many findings there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Of [`Severity::Error`].
    pub error: usize,
    /// Of [`Severity::Warning`].
    pub warning: usize,
    /// Of [`Severity::Note`].
    pub note: usize,
    /// Of [`Severity::Skipped`].
    pub skipped: usize,
    /// Of [`Severity::Ok`].
    pub ok: usize,
}

impl Report {
    pub(super) fn new(file: String, interface: Option<String>, findings: Vec<Finding>) -> Self {
        let mut count = Count::default();
        for finding in &findings {
            *match finding.severity {
                Severity::Error => &mut count.error,
                Severity::Warning => &mut count.warning,
                Severity::Note => &mut count.note,
                Severity::Skipped => &mut count.skipped,
                Severity::Ok => &mut count.ok,
            } += 1;
        }
        let program = env!("CARGO_PKG_VERSION").into();
        Self { version: VERSION, program, file, interface, healthy: count.error == 0, count, findings }
    }

    /// The document as one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings, numbers and flags: nothing in these types can fail to become JSON.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The same for people.
    #[must_use]
    pub fn to_text(&self, coloured: bool) -> String {
        super::text::render(self, coloured)
    }
}
