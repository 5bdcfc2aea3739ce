//! `status`: what a running daemon knows.

use super::{START, whose::Whose};
use crate::cli::{self, show};
use crate::control::Request;
use std::process::ExitCode;

/// Asks and shows.
pub(super) fn status(whose: &Whose, json: bool) -> ExitCode {
    let request = if json { Request::Status } else { Request::Table };
    let text = whose.interface().and_then(|interface| cli::ask(&interface, &request, START));
    let text = if json || !cli::colours() { text } else { text.map(|table| cli::painted(&table)) };
    show(text)
}
