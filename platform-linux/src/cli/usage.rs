//! Command lines that make no sense.

use crate::config::{InterfaceName, nearest, quoted};
use core::fmt;
use std::ffi::OsStr;

/// Why a command line makes no sense, with what to do instead.
#[derive(Debug, PartialEq, Eq)]
pub struct Usage(pub String);

impl Usage {
    /// What is wrong with a command line of a program that knows `options`.
    pub fn from_error(error: lexopt::Error, options: &[&str]) -> Self {
        Self(match error {
            lexopt::Error::UnexpectedOption(option) => match nearest(&option, options.iter().copied()) {
                Some(known) if known != option => {
                    format!("unknown option {}; did you mean {known}?", quoted(&option))
                }
                Some(known) => format!("the option {known} does not go with this command"),
                None => format!("unknown option {}", quoted(&option)),
            },
            lexopt::Error::UnexpectedArgument(word) => {
                format!("one argument too many: {}", quoted(&word.to_string_lossy()))
            }
            other => other.to_string(),
        })
    }
}

/// The value of `--interface`.
///
/// # Errors
/// Where no interface can be called that.
pub fn interface(name: &OsStr) -> Result<InterfaceName, Usage> {
    InterfaceName::parse(&name.to_string_lossy())
        .map_err(|fault| Usage(format!("--interface {}; {}", fault.what, fault.fix)))
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Complains of a command line, and gives the exit status for it.
pub fn complain_of(usage: &Usage) -> std::process::ExitCode {
    super::complain(&format!("wgautomesh: {usage}\nTry `wgautomesh --help`.\n"));
    std::process::ExitCode::from(super::USAGE)
}
