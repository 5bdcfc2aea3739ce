//! `doctor`: what of this machine stands in the way of a configuration.

use crate::cli::{FAILED, print};
use crate::config::{InterfaceName, inspect};
use crate::doctor::{Subject, examine};
use std::io::{IsTerminal as _, stdout};
use std::path::Path;
use std::process::ExitCode;

/// Looks and tells, for a binary with room for `capacity` peers.
pub(super) fn doctor(file: &Path, json: bool, capacity: usize) -> ExitCode {
    let seen = inspect(file, capacity);
    let report = examine(Subject {
        file: file.to_owned(),
        config: seen.config,
        report: seen.report,
        unseen: seen.unseen,
        interface: seen.interface.as_ref().map(InterfaceName::to_string),
        secret_file: seen.secret_file,
        persist_file: seen.persist_file,
    });
    let printed = print(&if json { report.to_json() } else { report.to_text(is_coloured()) });
    if report.healthy { printed } else { ExitCode::from(FAILED) }
}

/// Whether colours are wanted: on a terminal, unless NO_COLOR says no (<https://no-color.org>).
fn is_coloured() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
