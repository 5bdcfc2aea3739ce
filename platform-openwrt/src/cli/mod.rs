//! The command line: as on Linux, but that what is named is a mesh and not a file.

mod check;
mod help;
mod run;
mod status;

#[cfg(test)]
mod tests;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use wgautomesh::{
    cli::{FAILED, Usage, complain, complain_of, genkey, lines, print},
    config::{Report, nearest},
};
use wgautomesh_core::Mesh;

/// Where the configuration of everything is.
const DIRECTORY: &str = "/etc/config";

/// The words that are commands; any other first word is a mesh.
const COMMANDS: [&str; 4] = ["run", "check", "genkey", "status"];

/// The options there are, for a word about one that is not.
const OPTIONS: [&str; 5] = ["--help", "--version", "--config-dir", "--interface", "--json"];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Run { mesh: Option<String> },
    Check { mesh: Option<String> },
    Genkey,
    Status { whose: status::Whose, json: bool },
    Help(help::Topic),
    Version,
}

/// Does what the command line asks for: the whole of a binary.
///
/// `mesh` is the engine that `run` uses; its capacity is the binary's.
pub fn main<const PEERS: usize>(mesh: &mut Mesh<PEERS>) -> ExitCode {
    let (command, directory) = match parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(usage) => return complain_of(&usage),
    };
    match command {
        Command::Run { mesh: name } => run::run(&directory, name.as_deref(), mesh),
        Command::Check { mesh: name } => check::check(&directory, name.as_deref(), PEERS),
        Command::Genkey => genkey(),
        Command::Status { whose, json } => status::status(&directory, &whose, json),
        Command::Help(topic) => print(help::text(topic)),
        Command::Version => print(concat!("wgautomesh ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

fn usage(error: lexopt::Error) -> Usage {
    Usage::from_error(error, &OPTIONS)
}

/// Reads a command line, of which the first word is the name of the program. The path is the directory of the
/// configuration.
fn parse(args: impl IntoIterator<Item = OsString, IntoIter: 'static>) -> Result<(Command, PathBuf), Usage> {
    use lexopt::prelude::{Long, Short, Value};

    let mut parser = lexopt::Parser::from_iter(args);
    let mut directory = PathBuf::from(DIRECTORY);
    let mut command: Option<&'static str> = None;
    let mut mesh: Option<String> = None;
    let mut interface: Option<OsString> = None;
    let mut json = false;
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Short('h') | Long("help") => return Ok((Command::Help(help::Topic::of(command)), directory)),
            Short('V') | Long("version") => return Ok((Command::Version, directory)),
            Short('c') | Long("config-dir") => directory = parser.value().map_err(usage)?.into(),
            Short('i') | Long("interface") if command == Some("status") => {
                interface = Some(parser.value().map_err(usage)?);
            }
            Long("json") if command == Some("status") => json = true,
            // Only the very first word can be a command: a mesh called "run" is meshed by `wgautomesh run run`.
            Value(word) if command.is_none() && mesh.is_none() => {
                match COMMANDS.iter().find(|&&known| word == known) {
                    Some(known) => command = Some(known),
                    None => mesh = Some(as_name(word)),
                }
            }
            Value(word) if mesh.is_none() && command != Some("genkey") => mesh = Some(as_name(word)),
            other => return Err(usage(other.unexpected())),
        }
    }
    let command = match command {
        Some("check") => Command::Check { mesh },
        Some("genkey") => Command::Genkey,
        Some("status") => Command::Status { whose: whose(interface, mesh)?, json },
        _ => Command::Run { mesh },
    };
    Ok((command, directory))
}

/// What is no text is the name of no mesh either.
fn as_name(word: OsString) -> String {
    word.to_string_lossy().into_owned()
}

fn whose(interface: Option<OsString>, mesh: Option<String>) -> Result<status::Whose, Usage> {
    match (interface, mesh) {
        (Some(_), Some(_)) => Err(Usage("give either --interface or a mesh, not both".into())),
        (Some(name), None) => wgautomesh::cli::interface(&name).map(status::Whose::Interface),
        (None, Some(name)) => Ok(status::Whose::Mesh(name)),
        (None, None) => Ok(status::Whose::All),
    }
}

/// A word to add when there is no mesh of a name that may have been meant as a command.
fn meant_a_command(word: &str) -> Option<String> {
    if word == "help" || word == "version" {
        return Some(format!("wgautomesh: did you mean `wgautomesh --{word}`?\n"));
    }
    if word.contains(['/', '.']) {
        return Some(
            "wgautomesh: name a mesh, not a file; --config-dir names another directory than /etc/config\n"
                .into(),
        );
    }
    let command = nearest(word, COMMANDS)?;
    Some(format!("wgautomesh: did you mean `wgautomesh {command}`? Any other word is the name of a mesh.\n"))
}

/// Complains of a mesh that is not there.
fn no_mesh(name: &str, complaint: &str) -> ExitCode {
    complain(&format!("wgautomesh: {complaint}\n{}", meant_a_command(name).unwrap_or_default()));
    ExitCode::from(FAILED)
}

/// Complains of a configuration that cannot be used at all.
fn unusable(report: &Report) -> ExitCode {
    complain(&lines(report));
    ExitCode::from(FAILED)
}
