//! What is said about a configuration: findings, each with its place, and how they print.
//!
//! One finding is one line, `FILE:LINE:COLUMN: error: KEY: what is wrong; fix: what to do`, the form that editors
//! and `grep` understand. Nothing in here decides what is wrong.

use core::fmt;
use std::path::Path;

/// A place in a text: line and column, both counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// In which of the texts that a [`Report`] is about, from 0.
    pub source: u8,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters (not bytes), from 1.
    pub column: u32,
}

impl Position {
    /// The first character of the first text: where a finding about something absent is put.
    pub const START: Self = Self::new(1, 1);

    /// A place in the first text.
    pub const fn new(line: u32, column: u32) -> Self {
        Self { source: 0, line, column }
    }
}

/// A value and where it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub at: Position,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The daemon does not start with it.
    Error,
    /// The daemon starts, but this is very likely not what was meant.
    Warning,
    /// Right, but without the effect one might expect in this version.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// Why one value is refused, and what to write instead: what a parser of a single value returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong and why that matters, as a clause: `"1.2.3.4" has no port, ...`.
    pub what: String,
    /// What to do, as an imperative: `write "1.2.3.4:51820"`. Empty where nothing can be advised.
    pub fix: String,
}

impl Fault {
    /// A fault with its remedy.
    pub fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }
}

/// One thing found in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where; `None` when it concerns the file as a whole (it cannot be read, say).
    pub at: Option<Position>,
    /// The key it concerns, empty where it concerns none.
    pub key: String,
    /// What and why, and what to do.
    pub fault: Fault,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.severity)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.fault.what)?;
        if !self.fault.fix.is_empty() {
            write!(f, "; fix: {}", self.fault.fix)?;
        }
        Ok(())
    }
}

/// Everything found in one configuration, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Never empty.
    sources: Vec<String>,
    findings: Vec<Finding>,
}

impl Report {
    /// An empty report about `source`, the name of a file as the user gave it.
    pub fn new(source: impl Into<String>) -> Self {
        Self { sources: vec![source.into()], findings: Vec::new() }
    }

    /// The name of the file, as the user gave it.
    pub fn name(&self) -> &str {
        self.source(0)
    }

    /// Says that the configuration is also in `source`, and gives the number that stands for it in a [`Position`].
    pub fn add_source(&mut self, source: impl Into<String>) -> u8 {
        self.sources.push(source.into());
        u8::try_from(self.sources.len() - 1).unwrap_or(u8::MAX)
    }

    /// How to speak of a place in a finding about another one: with the file where that is another.
    pub fn place(&self, place: Position, from: Position) -> String {
        if place.source == from.source {
            format!("line {}", place.line)
        } else {
            format!("{}:{}", self.source(place.source), place.line)
        }
    }

    /// Adds a finding.
    pub fn add(&mut self, severity: Severity, at: Option<Position>, key: impl Into<String>, fault: Fault) {
        self.findings.push(Finding { severity, at, key: key.into(), fault });
    }

    /// Adds an error at a place.
    pub fn error(&mut self, at: Position, key: &str, fault: Fault) {
        self.add(Severity::Error, Some(at), key, fault);
    }

    /// Adds a warning at a place.
    pub fn warn(&mut self, at: Position, key: &str, fault: Fault) {
        self.add(Severity::Warning, Some(at), key, fault);
    }

    /// Adds a note at a place.
    pub fn note(&mut self, at: Position, key: &str, fault: Fault) {
        self.add(Severity::Note, Some(at), key, fault);
    }

    /// Whether anything found keeps the daemon from starting.
    pub fn has_errors(&self) -> bool {
        self.errors().next().is_some()
    }

    /// What keeps the daemon from starting.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.of(Severity::Error)
    }

    /// What is very likely not what was meant.
    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.of(Severity::Warning)
    }

    /// What is right but has no effect yet.
    pub fn notes(&self) -> impl Iterator<Item = &Finding> {
        self.of(Severity::Note)
    }

    /// Every finding, in the order of the text; those about the file as a whole first.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// One line per finding, as `check` prints them and `run` logs them.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.findings.iter().map(|finding| format!("{}: {finding}", self.place_of(finding)))
    }

    /// `FILE:LINE:COLUMN`, or only the file.
    pub fn place_of(&self, finding: &Finding) -> String {
        match finding.at {
            Some(Position { source, line, column }) => format!("{}:{line}:{column}", self.source(source)),
            None => self.source(0).to_owned(),
        }
    }

    /// "2 errors, 1 warning"; empty when there is nothing to count. Notes are not counted.
    pub fn summary(&self) -> String {
        let count = |n: usize, what: &str| match n {
            0 => None,
            1 => Some(format!("1 {what}")),
            n => Some(format!("{n} {what}s")),
        };
        let parts = [count(self.errors().count(), "error"), count(self.warnings().count(), "warning")];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Puts the findings into the order of the text, as a front end does when it has found everything.
    pub fn sort(&mut self) {
        self.findings.sort_by_key(|finding| (finding.at, finding.severity));
    }

    /// Keeps only the findings that `keep` wants.
    #[cfg(feature = "toml")]
    pub(super) fn retain(&mut self, keep: impl FnMut(&Finding) -> bool) {
        self.findings.retain(keep);
    }

    fn source(&self, number: u8) -> &str {
        self.sources.get(usize::from(number)).map_or("", |source| source)
    }

    fn of(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.severity == severity)
    }
}

/// Quotes a value from a file for a message: control characters escaped, long ones cut. What comes out can neither
/// start a new line in a log nor steer a terminal.
pub fn quoted(value: &str) -> String {
    quoted_up_to(value, 60)
}

/// As [`quoted`], but a path is only of use in full.
pub(super) fn quoted_path(path: &Path) -> String {
    quoted_up_to(&path.to_string_lossy(), usize::MAX)
}

fn quoted_up_to(value: &str, longest: usize) -> String {
    let mut out = String::from("\"");
    for (count, c) in value.chars().enumerate() {
        if count == longest {
            out.push_str("...");
            break;
        }
        if c == '"' || c.is_control() || is_format(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.push('"');
    out
}

/// Characters that print as nothing or as a plain space, or reorder what is around them: a message must show that they are there.
fn is_format(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
