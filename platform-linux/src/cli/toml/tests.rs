//! Tests of how a command line is read.

use super::help::Topic;
use super::map::Form;
use super::whose::Whose;
use super::{Command, meant_a_command, parse};
use crate::config::InterfaceName;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

fn read(words: &str) -> Result<Command, String> {
    let words: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
    parse([OsString::from("wgautomesh")].into_iter().chain(words)).map_err(|usage| usage.to_string())
}

#[test]
fn reads_what_it_should() {
    let file = |path: &str| PathBuf::from(path);
    let wg0 = || InterfaceName::parse("wg0").unwrap();
    let interface = || Whose::Interface(wg0());
    for (words, command) in [
        ("", Command::Run { file: file("/etc/wgautomesh.toml") }),
        ("mesh.toml", Command::Run { file: file("mesh.toml") }),
        ("run", Command::Run { file: file("/etc/wgautomesh.toml") }),
        ("run mesh.toml", Command::Run { file: file("mesh.toml") }),
        ("./run", Command::Run { file: file("./run") }),
        ("run run", Command::Run { file: file("run") }),
        ("-- mesh.toml", Command::Run { file: file("mesh.toml") }),
        ("run -- -mesh.toml", Command::Run { file: file("-mesh.toml") }),
        ("check", Command::Check { file: file("/etc/wgautomesh.toml") }),
        ("check check", Command::Check { file: file("check") }),
        ("import wg0.conf", Command::Import { file: file("wg0.conf") }),
        ("init", Command::Init { file: file("/etc/wgautomesh.toml"), interface: None }),
        ("init -i wg0 a.toml", Command::Init { file: file("a.toml"), interface: Some(wg0()) }),
        ("genkey", Command::Genkey),
        ("status", Command::Status { whose: Whose::TheOnlyOne, json: false }),
        ("status --json", Command::Status { whose: Whose::TheOnlyOne, json: true }),
        ("status --interface wg0", Command::Status { whose: interface(), json: false }),
        ("status --interface=wg0 --json", Command::Status { whose: interface(), json: true }),
        ("status -i wg0", Command::Status { whose: interface(), json: false }),
        ("status -iwg0", Command::Status { whose: interface(), json: false }),
        ("status a.toml", Command::Status { whose: Whose::ConfiguredBy(file("a.toml")), json: false }),
        ("status --watch", Command::Watch { whose: Whose::TheOnlyOne }),
        ("status -i wg0 --watch", Command::Watch { whose: interface() }),
        ("map", Command::Map { whose: Whose::TheOnlyOne, form: Form::Table }),
        ("map --svg -i wg0", Command::Map { whose: interface(), form: Form::Svg }),
        ("map --dot --dot", Command::Map { whose: Whose::TheOnlyOne, form: Form::Dot }),
        ("map a.toml --json", Command::Map { whose: Whose::ConfiguredBy(file("a.toml")), form: Form::Json }),
        ("map -h", Command::Help(Topic::Map)),
        ("reload", Command::Reload { whose: Whose::TheOnlyOne }),
        ("reload -i wg0", Command::Reload { whose: interface() }),
        ("reload a.toml", Command::Reload { whose: Whose::ConfiguredBy(file("a.toml")) }),
        ("metrics", Command::Metrics { whose: Whose::TheOnlyOne }),
        ("metrics -i wg0", Command::Metrics { whose: interface() }),
        ("metrics a.toml", Command::Metrics { whose: Whose::ConfiguredBy(file("a.toml")) }),
        ("doctor", Command::Doctor { file: file("/etc/wgautomesh.toml"), json: false }),
        ("doctor --json a.toml", Command::Doctor { file: file("a.toml"), json: true }),
        ("why bob", Command::Why { peer: "bob".into(), whose: Whose::TheOnlyOne, json: false }),
        (
            "why --json EtRo a.toml",
            Command::Why { peer: "EtRo".into(), whose: Whose::ConfiguredBy(file("a.toml")), json: true },
        ),
        ("why 10.1.1.1 -i wg0", Command::Why { peer: "10.1.1.1".into(), whose: interface(), json: false }),
        ("why --help", Command::Help(Topic::Why)),
        ("--help", Command::Help(Topic::General)),
        ("-h", Command::Help(Topic::General)),
        ("check --help", Command::Help(Topic::Check)),
        ("run -h", Command::Help(Topic::Run)),
        ("init --help", Command::Help(Topic::Init)),
        ("genkey --help", Command::Help(Topic::Genkey)),
        ("status --help", Command::Help(Topic::Status)),
        ("reload --help", Command::Help(Topic::Reload)),
        ("metrics --help", Command::Help(Topic::Metrics)),
        ("doctor --help", Command::Help(Topic::Doctor)),
        ("--version", Command::Version),
        ("-V", Command::Version),
        ("run --version", Command::Version),
    ] {
        assert_eq!(read(words), Ok(command), "{words:?}");
    }
}

#[test]
fn says_what_makes_no_sense() {
    for (words, complaint) in [
        ("a.toml b.toml", "one argument too many: \"b.toml\""),
        ("check a b", "one argument too many: \"b\""),
        ("import", "import wants a wg-quick file, /etc/wireguard/wg0.conf for example"),
        ("init --json", "the option --json does not go with this command"),
        (
            "init -i wg/0",
            "--interface \"wg/0\" cannot be an interface: '/' is not allowed in a name; give the \
             WireGuard interface as `ip link` shows it, \"wg0\" for instance",
        ),
        ("why", "why wants a peer: its name, its mesh address, or the beginning of its key"),
        ("why a b c", "one argument too many: \"c\""),
        ("genkey 32", "one argument too many: \"32\""),
        ("--halp", "unknown option \"--halp\"; did you mean --help?"),
        ("--frobnicate", "unknown option \"--frobnicate\""),
        ("-x", "unknown option \"-x\""),
        ("metrics --json", "the option --json does not go with this command"),
        ("metrics --interface wg0 a.toml", "give either --interface or a file, not both"),
        ("--json", "the option --json does not go with this command"),
        ("run --interface wg0", "the option --interface does not go with this command"),
        ("status --interface", "missing argument for option '--interface'"),
        (
            "status --interface wg/0",
            "--interface \"wg/0\" cannot be an interface: '/' is not allowed in a name; give the \
                                     WireGuard interface as `ip link` shows it, \"wg0\" for instance",
        ),
        ("status --interface wg0 a.toml", "give either --interface or a file, not both"),
        ("map --svg --dot", "give one of --dot, --svg and --json"),
        ("status --watch --json", "give either --watch or --json"),
        ("status --svg", "the option --svg does not go with this command"),
        ("reload --interface wg0 a.toml", "give either --interface or a file, not both"),
        ("reload --json", "the option --json does not go with this command"),
        ("status --json=yes", "unexpected argument for option '--json': \"yes\""),
    ] {
        assert_eq!(read(words), Err(complaint.to_owned()), "{words:?}");
    }
    let empty = parse([OsString::from("wgautomesh"), OsString::new()]).unwrap_err();
    assert_eq!(empty.to_string(), "the name of the file is empty");
}

/// A path need not be text.
#[test]
fn a_path_may_be_any_bytes() {
    use std::os::unix::ffi::OsStringExt as _;
    let odd = OsString::from_vec(vec![b'm', 0xff, b'.']);
    let command = parse([OsString::from("wgautomesh"), OsString::from("check"), odd.clone()]).unwrap();
    assert_eq!(command, Command::Check { file: odd.into() });
}

#[test]
fn suggests_a_command_only_for_a_file_that_is_not_there() {
    let suggested = |word: &str| meant_a_command(Path::new(word));
    assert!(suggested("stauts").unwrap().contains("`wgautomesh status`"));
    assert!(suggested("help").unwrap().contains("`wgautomesh --help`"));
    assert_eq!(suggested("mesh.toml"), None);
    assert_eq!(suggested("/dev/null"), None);
}
