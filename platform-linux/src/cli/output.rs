//! Writing to standard output and standard error without `println!`, which panics when nobody reads.

use std::io::{self, Write};
use std::process::ExitCode;

/// Exit status when what was asked for could not be done.
pub const FAILED: u8 = 1;
/// Exit status of a command line that makes no sense.
pub const USAGE: u8 = 2;

/// Writes `text` to standard output and gives the exit status for it: 0, also when the reader has gone (`| head`), and
/// failure when the text could not be stored where it should (a full disk), which a script must notice.
pub fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("wgautomesh: cannot write to standard output: {error}\n"));
            ExitCode::from(FAILED)
        }
    }
}

/// Prints what was asked for, or complains that it could not be had, and gives the exit status.
pub fn show(asked: Result<String, String>) -> ExitCode {
    match asked {
        Ok(text) => print(&text),
        Err(complaint) => {
            complain(&complaint);
            ExitCode::from(FAILED)
        }
    }
}

/// Writes `text` to standard error. If that fails there is nowhere left to say so.
pub fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
