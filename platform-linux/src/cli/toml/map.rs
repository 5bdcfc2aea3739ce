//! `map`: the whole mesh, as the asked node and those that it can ask know it.

use super::{START, whose::Whose};
use crate::cli::{self, FAILED, complain, print};
use crate::control::Request;
use crate::map::{self, Map};
use std::process::ExitCode;

/// What the map is shown as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Form {
    /// For people, in a terminal.
    #[default]
    Table,
    Dot,
    Svg,
    Json,
}

impl Form {
    /// That of an option, by its name.
    pub(super) fn parse(word: &str) -> Self {
        match word {
            "dot" => Self::Dot,
            "svg" => Self::Svg,
            "json" => Self::Json,
            _ => Self::Table,
        }
    }
}

/// Asks and shows.
pub(super) fn map(whose: &Whose, form: Form) -> ExitCode {
    match whose.interface().and_then(|interface| cli::ask(&interface, &Request::Map, START)) {
        Ok(text) => show(&text, form),
        Err(complaint) => {
            complain(&complaint);
            ExitCode::from(FAILED)
        }
    }
}

fn show(document: &str, form: Form) -> ExitCode {
    // As the daemon says it: one of a later version may say more.
    if form == Form::Json {
        return print(document);
    }
    match serde_json::from_str::<Map>(document) {
        Ok(map) => print(&match form {
            Form::Dot => map::dot(&map),
            Form::Svg => map::svg(&map),
            Form::Table | Form::Json => map::table(&map, cli::colours()),
        }),
        Err(error) => {
            complain(&format!("wgautomesh: the daemon's map cannot be read: {error}\n"));
            ExitCode::from(FAILED)
        }
    }
}
