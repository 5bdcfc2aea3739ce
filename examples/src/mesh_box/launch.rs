//! The short life of a program before it becomes another one: bound to its parent, and held at the barrier.
//!
//! Every daemon and every WireGuard device of the box is started through here. Doing this after `fork` and before
//! `exec` would need unsafe code; a re-execution of our own binary does not.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// The word that makes our binary one of these: `WORD PARENT-PID GATE PROGRAM ARGUMENT…`
pub(crate) const WORD: &str = "__mesh_box_launch";

/// How a program is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// At once.
    Open,
    /// When its standard input reaches its end: one pipe holds any number of programs, and closing it lets all of
    /// them go at the same instant.
    UntilEndOfInput,
}

/// The command that starts `program`: killed when the calling thread ends, standard input empty.
pub(crate) fn command(program: &str, gate: Gate) -> Command {
    let mut command = Command::new("/proc/self/exe");
    let gate = if gate == Gate::Open { "open" } else { "wait" };
    command.arg(WORD).arg(std::process::id().to_string()).arg(gate).arg(program).stdin(Stdio::null());
    command
}

/// Asks the kernel to kill this process when its parent, which must be `parent`, ends.
///
/// # Errors
/// When the parent has ended already.
pub(crate) fn die_with(parent: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have ended before the line above.
    let alive = getppid().is_some_and(|pid| pid.as_raw_nonzero().get().unsigned_abs() == parent);
    if alive { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
}

/// Runs as the launcher; comes back only with an error.
pub(crate) fn run(arguments: &[String]) -> io::Error {
    let [parent, gate, program, rest @ ..] = arguments else {
        return io::ErrorKind::InvalidInput.into();
    };
    let Ok(parent) = parent.parse() else {
        return io::ErrorKind::InvalidInput.into();
    };
    if let Err(error) = die_with(parent) {
        return error;
    }
    if gate == "wait" {
        // A byte on standard output says that the gate is reached; then wait for the end of the input.
        if let Err(error) = io::Write::write_all(&mut io::stdout(), b"\n").and_then(|()| {
            io::Write::flush(&mut io::stdout())?;
            io::stdin().read(&mut [0]).map(|_| ())
        }) {
            return error;
        }
        // What the program itself prints goes where its errors go: the node's log.
        if let Err(error) = rustix::stdio::dup2_stdout(rustix::stdio::stderr()) {
            return error.into();
        }
    }
    Command::new(program).args(rest).stdin(Stdio::null()).exec()
}
