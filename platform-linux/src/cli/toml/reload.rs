//! `reload`: has a running daemon go by its configuration file as it is now.

use super::{START, whose::Whose};
use crate::cli::{self, show};
use crate::config::files_of;
use crate::control::{Handover, Reloaded, Request};
use std::process::ExitCode;

/// Asks for it, and shows what has come of it.
pub(super) fn reload(whose: &Whose) -> ExitCode {
    show(asked(whose))
}

fn asked(whose: &Whose) -> Result<String, String> {
    let interface = whose.interface()?;
    let handover = match whose {
        Whose::ConfiguredBy(file) => {
            let files =
                files_of(file).map_err(|error| format!("{}: cannot be read: {error}\n", file.display()));
            Some(Handover::new(file, files?))
        }
        Whose::Interface(_) | Whose::TheOnlyOne => None,
    };
    let answer = cli::ask(&interface, &Request::Reload(handover), START)?;
    match Reloaded::parse(&answer) {
        Some(Reloaded { done: true, text }) => Ok(text),
        Some(Reloaded { done: false, text }) => Err(text),
        None => Err(format!("wgautomesh: {interface}: the daemon's answer is none to this: {answer:?}\n")),
    }
}
