//! `check`: everything that is wrong with a configuration, in one go.

use super::meant_a_command;
use crate::cli::{FAILED, complain, gist, lines, print};
use crate::config::load;
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
