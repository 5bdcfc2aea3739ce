//! What was found in a configuration, as text.

use crate::config::{Config, Report, Severity};
use log::Level;

/// A report as text.
pub fn lines(report: &Report) -> String {
    report.lines().map(|line| line + "\n").collect()
}

/// The same for who reads the log of a daemon: in the journal each line is filed by how bad it is.
pub(super) fn logged(report: &Report) -> String {
    let level = |severity| match severity {
        Severity::Error => Level::Error,
        Severity::Warning => Level::Warn,
        Severity::Note => Level::Info,
    };
    let lines = report.findings().iter().zip(report.lines());
    lines.map(|(finding, line)| format!("{}{line}\n", crate::log::mark(level(finding.severity)))).collect()
}

/// What a good configuration amounts to.
pub fn gist(config: &Config, report: &Report) -> String {
    let peers = config.peers().len();
    let reachable = config.peers().iter().filter(|peer| !peer.endpoints().is_empty()).count();
    let warnings = report.summary();
    format!(
        "interface {}, gossip port {}, {peers} peer{}, {reachable} with an endpoint{}{}{warnings}",
        config.interface(),
        config.gossip_port(),
        if peers == 1 { "" } else { "s" },
        if config.peers_from_interface() { ", and those of the interface" } else { "" },
        if warnings.is_empty() { "" } else { "; " },
    )
}
