//! `check`: everything that is wrong with a configuration, in one go.

use super::meant_a_command;
use crate::cli::{FAILED, complain, print};
use crate::config::{Config, Report, load};
use std::path::Path;
use std::process::ExitCode;

/// Checks `file` for a binary with room for `capacity` peers. What `run` does first is the same call, so success here is success there.
pub(super) fn check(file: &Path, capacity: usize) -> ExitCode {
    match load(file, capacity) {
        Ok((config, report)) => {
            complain(&lines(&report));
            print(&format!("{}: good: {}\n", file.display(), gist(&config, &report)))
        }
        Err(report) => {
            complain(&lines(&report));
            complain(&meant_a_command(file).unwrap_or_default());
            // About a file that could not even be read, there is nothing to sum up.
            if report.errors().all(|error| error.at.is_some()) {
                let name = file.display();
                complain(&format!("{name}: wgautomesh does not start with this: {}\n", report.summary()));
            }
            ExitCode::from(FAILED)
        }
    }
}

/// A report as text.
pub(super) fn lines(report: &Report) -> String {
    report.lines().map(|line| line + "\n").collect()
}

/// What a good configuration amounts to.
fn gist(config: &Config, report: &Report) -> String {
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
