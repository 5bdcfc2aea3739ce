//! Tests of how a command line is read.

use super::*;
use wgautomesh::config::InterfaceName;

fn read(words: &str) -> Result<(Command, PathBuf), String> {
    let words: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
    parse([OsString::from("wgautomesh")].into_iter().chain(words)).map_err(|usage| usage.to_string())
}

#[test]
fn reads_what_it_should() {
    let mesh = |name: &str| Some(name.to_owned());
    let status = |whose, json| Command::Status { whose, json };
    let interface = || status::Whose::Interface(InterfaceName::parse("wg0").unwrap());
    for (words, command) in [
        ("", Command::Run { mesh: None }),
        ("home", Command::Run { mesh: mesh("home") }),
        ("run", Command::Run { mesh: None }),
        ("run home", Command::Run { mesh: mesh("home") }),
        ("run run", Command::Run { mesh: mesh("run") }),
        ("check", Command::Check { mesh: None }),
        ("check home", Command::Check { mesh: mesh("home") }),
        ("genkey", Command::Genkey),
        ("status", status(status::Whose::All, false)),
        ("status --json", status(status::Whose::All, true)),
        ("status --json home", status(status::Whose::Mesh("home".into()), true)),
        ("status -i wg0", status(interface(), false)),
        ("status --interface=wg0 --json", status(interface(), true)),
        ("--help", Command::Help(help::Topic::General)),
        ("run -h", Command::Help(help::Topic::Run)),
        ("check --help", Command::Help(help::Topic::Check)),
        ("genkey --help", Command::Help(help::Topic::Genkey)),
        ("status --help", Command::Help(help::Topic::Status)),
        ("--version", Command::Version),
        ("-V", Command::Version),
    ] {
        assert_eq!(read(words), Ok((command, "/etc/config".into())), "{words:?}");
    }
    for words in ["-c x check home", "check --config-dir=x home", "check home -cx"] {
        assert_eq!(read(words), Ok((Command::Check { mesh: mesh("home") }, "x".into())), "{words:?}");
    }
}

#[test]
fn says_what_makes_no_sense() {
    for (words, complaint) in [
        ("home work", "one argument too many: \"work\""),
        ("check a b", "one argument too many: \"b\""),
        ("genkey 32", "one argument too many: \"32\""),
        ("--halp", "unknown option \"--halp\"; did you mean --help?"),
        ("--frobnicate", "unknown option \"--frobnicate\""),
        ("--json", "the option --json does not go with this command"),
        ("run --interface wg0", "the option --interface does not go with this command"),
        ("check -c", "missing argument for option '-c'"),
        ("status --interface wg0 home", "give either --interface or a mesh, not both"),
    ] {
        assert_eq!(read(words), Err(complaint.to_owned()), "{words:?}");
    }
}

#[test]
fn suggests_what_was_meant() {
    for (word, hint) in [
        ("stauts", "wgautomesh: did you mean `wgautomesh status`? Any other word is the name of a mesh.\n"),
        ("help", "wgautomesh: did you mean `wgautomesh --help`?\n"),
        (
            "mesh.toml",
            "wgautomesh: name a mesh, not a file; --config-dir names another directory than /etc/config\n",
        ),
    ] {
        assert_eq!(meant_a_command(word).as_deref(), Some(hint));
    }
    assert_eq!(meant_a_command("home"), None);
}
