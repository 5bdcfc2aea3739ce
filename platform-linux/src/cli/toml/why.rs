//! `why`: why a peer is connected or not.

use super::{START, whose::Whose};
use crate::cli::{self, Usage, show};
use crate::config::quoted;
use crate::control::Request;
use std::ffi::OsString;
use std::process::ExitCode;

/// No name, address or key is longer; and it fits into a request.
const LONGEST: usize = 128;

/// Asks and shows.
pub(super) fn why(peer: String, whose: &Whose, json: bool) -> ExitCode {
    let request = if json { Request::Why(peer) } else { Request::Explain(peer) };
    show(whose.interface().and_then(|interface| cli::ask(&interface, &request, START)))
}

/// The peer that the command line names.
pub(super) fn peer(word: Option<OsString>) -> Result<String, Usage> {
    let Some(word) = word else {
        return Err(Usage(
            "why wants a peer: its name, its mesh address, or the beginning of its key".into(),
        ));
    };
    let word = word.to_string_lossy();
    let word = word.trim();
    if word.is_empty() || word.len() > LONGEST || word.contains(char::is_control) {
        return Err(Usage(format!("{} is no name, no address and no key", quoted(word))));
    }
    Ok(word.to_owned())
}
