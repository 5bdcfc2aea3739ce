//! `import`: the configuration for a wg-quick file.

use crate::cli::{FAILED, complain, lines, print};
use crate::config::{Report, read_wiped};
use crate::import::convert;
use std::path::Path;
use std::process::ExitCode;

/// The largest file that is read, in bytes: thousands of peers.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// Prints the TOML for `file`, and what was left out of it on standard error.
pub(super) fn import(file: &Path) -> ExitCode {
    let name = file.display();
    // It holds private keys, which are not to stay in memory.
    let bytes = match read_wiped(file, LARGEST_FILE) {
        Ok(source) => source.bytes,
        Err(error) => {
            complain(&format!("{name}: cannot be read: {error}\n"));
            return ExitCode::from(FAILED);
        }
    };
    let text = match core::str::from_utf8(&bytes) {
        Ok(text) if bytes.len() as u64 <= LARGEST_FILE => text,
        _ => {
            complain(&format!("{name}: is not a wg-quick file: too large, or not text\n"));
            return ExitCode::from(FAILED);
        }
    };
    let mut report = Report::new(file.to_string_lossy());
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let converted = convert(&stem, text, &mut report);
    report.sort();
    complain(&lines(&report));
    match converted {
        Some(toml) => print(&toml),
        None => ExitCode::from(FAILED),
    }
}
