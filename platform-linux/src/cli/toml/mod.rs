//! The command line of a binary that reads TOML files: what was asked for, and one file for each thing that can be.

mod check;
mod doctor;
mod help;
mod import;
mod init;
mod map;
mod metrics;
mod reload;
mod run;
mod status;
mod watch;
mod whose;
mod why;

use super::{Usage, complain_of, genkey, print};
use crate::config::{InterfaceName, nearest};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wgautomesh_core::Mesh;
use whose::Whose;

/// Where the configuration is when the command line does not say: where the original wgautomesh looks.
const DEFAULT_FILE: &str = "/etc/wgautomesh.toml";

/// As many peers as one daemon for servers takes. A place costs nothing in the file, and memory only once it is used.
pub const CAPACITY: usize = 1024;

const VERSION: &str = concat!("wgautomesh ", env!("CARGO_PKG_VERSION"), "\n");

/// How a daemon is started, for who asks one that does not run.
const START: &str = "wgautomesh run FILE";

/// The words that are commands; any other first word is a file.
const COMMANDS: &[&str] =
    &["run", "check", "init", "import", "genkey", "status", "why", "map", "doctor", "reload", "metrics"];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Run { file: PathBuf },
    Check { file: PathBuf },
    Init { file: PathBuf, interface: Option<InterfaceName> },
    Import { file: PathBuf },
    Genkey,
    Status { whose: Whose, json: bool },
    Reload { whose: Whose },
    Doctor { file: PathBuf, json: bool },
    Metrics { whose: Whose },
    Map { whose: Whose, form: map::Form },
    Watch { whose: Whose },
    Why { peer: String, whose: Whose, json: bool },
    Help(help::Topic),
    Version,
}

/// The options there are, for a word about one that is not.
const OPTIONS: [&str; 7] = ["--help", "--version", "--interface", "--json", "--watch", "--dot", "--svg"];

/// What `--help` prints: of the whole, and of each command with its name, in the order in which the whole names them. The
/// manual page and the completions of shells are made from it.
pub fn help() -> impl Iterator<Item = (Option<&'static str>, &'static str)> {
    let topics = core::iter::once(None).chain(COMMANDS.iter().copied().map(Some));
    topics.map(|command| (command, help::text(help::Topic::of(command))))
}

fn usage(error: lexopt::Error) -> Usage {
    Usage::from_error(error, &OPTIONS)
}

/// Does what the command line asks for: the whole of a binary.
///
/// `mesh` is the engine that `run` uses; its capacity is the binary's. It is large and best lies in a static, where the
/// pages of places that no peer takes are never touched.
///
/// ```no_run
/// use std::{
///     process::ExitCode,
///     sync::{Mutex, PoisonError},
/// };
/// use wgautomesh_core::Mesh;
///
/// static MESH: Mutex<Mesh<16>> = Mutex::new(Mesh::new());
///
/// fn main() -> ExitCode {
///     wgautomesh::cli::main(&mut MESH.lock().unwrap_or_else(PoisonError::into_inner))
/// }
/// ```
pub fn main<const PEERS: usize>(mesh: &mut Mesh<PEERS>) -> ExitCode {
    match parse(std::env::args_os()) {
        Ok(Command::Run { file }) => run::run(&file, mesh),
        Ok(Command::Check { file }) => check::check(&file, PEERS),
        Ok(Command::Init { file, interface }) => init::init(&file, interface.as_ref()),
        Ok(Command::Import { file }) => import::import(&file),
        Ok(Command::Genkey) => genkey(),
        Ok(Command::Status { whose, json }) => status::status(&whose, json),
        Ok(Command::Reload { whose }) => reload::reload(&whose),
        Ok(Command::Metrics { whose }) => metrics::metrics(&whose),
        Ok(Command::Map { whose, form }) => map::map(&whose, form),
        Ok(Command::Watch { whose }) => watch::watch(&whose),
        Ok(Command::Doctor { file, json }) => doctor::doctor(&file, json, PEERS),
        Ok(Command::Why { peer, whose, json }) => why::why(peer, &whose, json),
        Ok(Command::Help(topic)) => print(help::text(topic)),
        Ok(Command::Version) => print(VERSION),
        Err(usage) => complain_of(&usage),
    }
}

/// The daemon alone, by the command line of `run`: the whole of a binary that has no commands for people. Those would be half
/// of its file, and what is in the file is resident.
pub fn daemon<const PEERS: usize>(mesh: &mut Mesh<PEERS>) -> ExitCode {
    match parse(std::env::args_os()) {
        Ok(Command::Run { file }) => run::run(&file, mesh),
        Ok(Command::Help(_)) => print(help::text(help::Topic::Run)),
        Ok(Command::Version) => print(VERSION),
        Ok(_) => {
            complain_of(&Usage("this is the daemon alone: the commands are those of `wgautomesh`".into()))
        }
        Err(usage) => complain_of(&usage),
    }
}

/// Reads a command line, of which the first word is the name of the program.
fn parse(args: impl IntoIterator<Item = OsString, IntoIter: 'static>) -> Result<Command, Usage> {
    use lexopt::prelude::{Long, Short, Value};

    let mut parser = lexopt::Parser::from_iter(args);
    let mut command: Option<&'static str> = None;
    let mut file: Option<PathBuf> = None;
    let mut interface: Option<OsString> = None;
    let mut json = false;
    let mut watch = false;
    let mut form = None;
    let mut peer: Option<OsString> = None;
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help(help::Topic::of(command))),
            Short('V') | Long("version") => return Ok(Command::Version),
            Short('i') | Long("interface")
                if matches!(command, Some("status" | "reload" | "metrics" | "map" | "why" | "init")) =>
            {
                interface = Some(parser.value().map_err(usage)?)
            }
            Long("json") if matches!(command, Some("status" | "doctor" | "why")) => json = true,
            Long("watch") if command == Some("status") => watch = true,
            Long(word @ ("json" | "dot" | "svg")) if command == Some("map") => {
                let wanted = map::Form::parse(word);
                if form.is_some_and(|form| form != wanted) {
                    return Err(Usage("give one of --dot, --svg and --json".into()));
                }
                form = Some(wanted);
            }
            // Only the very first word can be a command: `wgautomesh check run` checks a file called "run".
            Value(word) if command.is_none() && file.is_none() => {
                match COMMANDS.iter().find(|&&known| word == known) {
                    Some(known) => command = Some(known),
                    None => file = Some(as_path(word)?),
                }
            }
            Value(word) if command == Some("why") && peer.is_none() => peer = Some(word),
            Value(word) if file.is_none() && command != Some("genkey") => file = Some(as_path(word)?),
            other => return Err(usage(other.unexpected())),
        }
    }
    let file_or_default = |file: Option<PathBuf>| file.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    Ok(match command {
        Some("check") => Command::Check { file: file_or_default(file) },
        Some("init") => Command::Init {
            file: file_or_default(file),
            interface: interface.map(|name| super::interface(&name)).transpose()?,
        },
        Some("import") => match file {
            Some(file) => Command::Import { file },
            None => {
                return Err(Usage(
                    "import wants a wg-quick file, /etc/wireguard/wg0.conf for example".into(),
                ));
            }
        },
        Some("genkey") => Command::Genkey,
        Some("status") if watch && json => return Err(Usage("give either --watch or --json".into())),
        Some("status") if watch => Command::Watch { whose: whose(interface, file)? },
        Some("status") => Command::Status { whose: whose(interface, file)?, json },
        Some("reload") => Command::Reload { whose: whose(interface, file)? },
        Some("metrics") => Command::Metrics { whose: whose(interface, file)? },
        Some("map") => Command::Map { whose: whose(interface, file)?, form: form.unwrap_or_default() },
        Some("doctor") => Command::Doctor { file: file_or_default(file), json },
        Some("why") => Command::Why { peer: why::peer(peer)?, whose: whose(interface, file)?, json },
        _ => Command::Run { file: file_or_default(file) },
    })
}

fn as_path(word: OsString) -> Result<PathBuf, Usage> {
    if word.is_empty() {
        return Err(Usage("the name of the file is empty".into()));
    }
    Ok(PathBuf::from(word))
}

fn whose(interface: Option<OsString>, file: Option<PathBuf>) -> Result<Whose, Usage> {
    match (interface, file) {
        (Some(_), Some(_)) => Err(Usage("give either --interface or a file, not both".into())),
        (Some(name), None) => super::interface(&name).map(Whose::Interface),
        (None, Some(file)) => Ok(Whose::ConfiguredBy(file)),
        (None, None) => Ok(Whose::TheOnlyOne),
    }
}

/// A word to add when a file is not there although it may have been meant as a command.
fn meant_a_command(file: &Path) -> Option<String> {
    let word = file.to_str().filter(|_| !file.exists())?;
    if word == "help" || word == "version" {
        return Some(format!("wgautomesh: did you mean `wgautomesh --{word}`?\n"));
    }
    let command = nearest(word, COMMANDS.iter().copied())?;
    Some(format!("wgautomesh: did you mean `wgautomesh {command}`? Any other word is the path of a file.\n"))
}

#[cfg(test)]
mod tests;
