//! The binary as a user meets it: output streams, exit statuses, and `status` against a real control socket.

#[cfg(feature = "systemd")]
mod manager;
mod reloading;
mod serving;

use serving::{Directory, METRICS, TABLE, while_serving};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use wgautomesh::control::status::Status;

const PROGRAM: &str = env!("CARGO_BIN_EXE_wgautomesh");

fn wgautomesh(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_remove("WGAUTOMESH_RUNTIME_DIR");
    command
}

fn text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap()
}

#[test]
fn help_and_version_need_nothing() {
    for (arguments, begins) in [
        (&["--help"][..], "wgautomesh connects the peers"),
        (&["run", "--help"], "Meshes the interface"),
        (&["check", "-h"], "Says everything"),
        (&["init", "--help"], "Writes a configuration"),
        (&["import", "--help"], "Prints the configuration"),
        (&["genkey", "--help"], "Prints a new random"),
        (&["status", "--help"], "Shows a running wgautomesh"),
        (&["reload", "--help"], "Has a running wgautomesh"),
        (&["metrics", "--help"], "Prints the metrics"),
        (&["doctor", "--help"], "Checks this machine"),
        (&["why", "--help"], "Says why a peer is connected or not"),
        (&["--version"], concat!("wgautomesh ", env!("CARGO_PKG_VERSION"), "\n")),
    ] {
        let output = wgautomesh(arguments).env_clear().output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(text(&output.stdout).starts_with(begins), "{arguments:?}");
        assert_eq!(text(&output.stderr), "", "{arguments:?}");
    }
}

#[test]
fn nonsense_is_told_apart_from_failure() {
    let output = wgautomesh(&["--jsn"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "wgautomesh: unknown option \"--jsn\"; did you mean --json?\nTry `wgautomesh --help`.\n"
    );

    let directory = Directory::new();
    for arguments in [&["stauts"][..], &["check", "stauts"]] {
        let output = wgautomesh(arguments).current_dir(&directory.0).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            text(&output.stderr),
            "stauts: error: cannot be read: there is no such file; fix: create it, or correct the path\n\
             wgautomesh: did you mean `wgautomesh status`? Any other word is the path of a file.\n"
        );
    }
}

#[test]
fn every_secret_is_new_and_good() {
    let directory = Directory::new();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let output = wgautomesh(&["genkey"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let line = text(&output.stdout).to_owned();
        assert_eq!((line.len(), line.lines().count()), (45, 1));
        assert!(!seen.contains(&line));
        // What it prints is a secret that `check` has nothing to say against.
        let secret = directory.0.join("secret");
        fs::write(&secret, &line).unwrap();
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        let config = "interface = \"wg0\"\ngossip_port = 1666\ngossip_secret_file = \"secret\"\n[[peers]]\n\
                      pubkey = \"7Nm7pMmyS7Nts1MB+loyD8u84ODxHPTkDu+uqQR6yDk=\"\naddress = \"10.14.0.2\"\n";
        fs::write(directory.0.join("mesh.toml"), config).unwrap();
        let checked = wgautomesh(&["check", "mesh.toml"]).current_dir(&directory.0).output().unwrap();
        assert_eq!((checked.status.code(), text(&checked.stderr)), (Some(0), ""));
        seen.push(line);
    }
}

/// Whoever reads may stop reading, and a full disk must not look like success.
#[test]
fn a_closed_pipe_is_no_failure_and_a_full_disk_is() {
    for arguments in [&["--help"][..], &["--version"], &["genkey"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = wgautomesh(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{arguments:?}");

        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = wgautomesh(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(
            text(&output.stderr).starts_with("wgautomesh: cannot write to standard output: "),
            "{arguments:?}"
        );
    }
    // Nobody to complain to either.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(wgautomesh(&["--jsn"]).stderr(writer).status().unwrap().code(), Some(2));
}

/// journald files a line by the number in front. Anybody else is told in words.
#[test]
fn lines_carry_their_priority_in_the_journal_only() {
    use std::os::unix::fs::MetadataExt;

    let directory = Directory::new();
    fs::write(
        directory.0.join("mesh.toml"),
        "interface = \"wg0\"\ngossip_secret = \"0123456789abcdef\"\nkey = 1\ngossip_port = 0\n",
    )
    .unwrap();
    let said = |stream: &dyn Fn(&File) -> String| {
        let path = directory.0.join("stderr");
        let file = File::create(&path).unwrap();
        let mut command = wgautomesh(&["run", "mesh.toml"]);
        command.env("JOURNAL_STREAM", stream(&file)).env("WGAUTOMESH_LOG", "info,wgautomesh=loud");
        let status = command.current_dir(&directory.0).stderr(file).status().unwrap();
        assert_eq!(status.code(), Some(1));
        fs::read_to_string(path).unwrap()
    };
    let own = said(&|file| {
        let stat = file.metadata().unwrap();
        format!("{}:{}", stat.dev(), stat.ino())
    });
    let marks: Vec<&str> = own.lines().map(|line| line.get(..3).unwrap()).collect();
    assert!(own.lines().count() >= 3, "{own}");
    for (line, mark) in own.lines().zip(marks) {
        let expected = if line.contains(": error: ") { "<3>" } else { "<4>" };
        assert_eq!(mark, expected, "{line}");
    }
    assert!(
        own.starts_with("<4>WGAUTOMESH_LOG=\"info,wgautomesh=loud\": \"loud\" is no level; use error, "),
        "{own}"
    );
    let inherited = said(&|_| "8:1".into());
    assert!(inherited.starts_with("warning: WGAUTOMESH_LOG="), "{inherited}");
    let plain = |text: &str| {
        text.lines()
            .skip(1)
            .map(|line| line.trim_start_matches(['<', '3', '4', '>']).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(plain(&own), inherited.lines().skip(1).collect::<Vec<_>>());
}

fn status(directory: &Path, arguments: &[&str]) -> Output {
    let all: Vec<&str> = ["status"].iter().chain(arguments).copied().collect();
    wgautomesh(&all).env("WGAUTOMESH_RUNTIME_DIR", directory).current_dir(directory).output().unwrap()
}

#[test]
fn status_finds_the_daemon() {
    let directory = Directory::new();
    fs::write(directory.0.join("mesh.toml"), "interface = \"wg0\"\n").unwrap();
    while_serving(&directory.0, "wg0", |_| {
        for arguments in [&[][..], &["--interface", "wg0"], &["mesh.toml"]] {
            let output = status(&directory.0, arguments);
            assert_eq!((text(&output.stdout), text(&output.stderr)), (TABLE, ""), "{arguments:?}");
            assert_eq!(output.status.code(), Some(0));
        }
        let json = status(&directory.0, &["--json"]);
        let parsed: Status = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!((parsed.version, parsed.node.interface.as_str()), (1, "wg0"));

        let metrics = wgautomesh(&["metrics"]).env("WGAUTOMESH_RUNTIME_DIR", &directory.0).output().unwrap();
        assert_eq!((text(&metrics.stdout), text(&metrics.stderr)), (METRICS, ""));
        assert_eq!(metrics.status.code(), Some(0));

        while_serving(&directory.0, "wg1", |_| {
            let output = status(&directory.0, &[]);
            assert_eq!(
                (output.status.code(), text(&output.stderr)),
                (Some(1), "wgautomesh: several are running (wg0, wg1): choose one with --interface\n")
            );
            assert_eq!(status(&directory.0, &["-i", "wg1"]).status.code(), Some(0));
        });
    });
}

#[test]
fn why_shows_what_the_daemon_says() {
    let directory = Directory::new();
    let why = |arguments: &[&str]| {
        let all: Vec<&str> = ["why"].iter().chain(arguments).copied().collect();
        let mut command = Command::new(PROGRAM);
        command.args(all).env("WGAUTOMESH_RUNTIME_DIR", &directory.0).output().unwrap()
    };
    let shown = |output: &Output| {
        (output.status.code(), text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
    };
    while_serving(&directory.0, "wg0", |_| {
        let done = |stdout: &str| (Some(0), stdout.to_owned(), String::new());
        assert_eq!(shown(&why(&["my laptop"])), done("explain my laptop\n"));
        assert_eq!(shown(&why(&["-i", "wg0", "10.1.1.1"])), done("explain 10.1.1.1\n"));
        assert_eq!(shown(&why(&["bob", "--json"])), done("why bob\n.\n"));
        // That there is no such peer is no fault of the daemon's version.
        let complaint = "wgautomesh: wg0: no peer is called \"nobody\"\n".to_owned();
        assert_eq!(shown(&why(&["nobody"])), (Some(1), String::new(), complaint.clone()));
        assert_eq!(shown(&why(&["nobody", "--json"])), (Some(1), String::new(), complaint));
    });
    let (code, _, complaint) = shown(&why(&["bob", "-i", "wg0"]));
    assert!(code == Some(1) && complaint.contains("Is it running?"), "{complaint}");
    assert_eq!(why(&[]).status.code(), Some(2));
    assert_eq!(why(&["a\nb"]).status.code(), Some(2));
}

#[test]
fn status_without_a_daemon_says_so() {
    let directory = Directory::new();
    let shown = directory.0.display();
    for (arguments, complaint) in [
        (&[][..], format!("wgautomesh: there is no control socket in {shown}: no wgautomesh is running\n")),
        (
            &["-i", "wg0"],
            format!(
                "wgautomesh: wg0: no wgautomesh listens at {shown}/wg0.sock\n\
                 Is it running? `wgautomesh run FILE` starts it.\n"
            ),
        ),
        (
            &["wg0"],
            "wg0: error: cannot be read: there is no such file; fix: create it, or correct the path\n\
             wgautomesh: for an interface write --interface wg0\n"
                .into(),
        ),
    ] {
        let output = status(&directory.0, arguments);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), &*complaint), "{arguments:?}");
        assert_eq!(text(&output.stdout), "");
    }
}

/// Neither the mode of the socket nor, where that was opened, the daemon lets another user ask.
#[test]
fn another_user_may_not_ask() {
    if !is_root() {
        eprintln!("SKIPPED: only root can become another user");
        return;
    }
    let directory = Directory::new();
    // Where the other user can start it. Copied by another process: a descriptor for writing, inherited for a moment by
    // what other tests start, would make it "busy".
    let program = directory.0.join("program");
    assert!(Command::new("cp").arg(PROGRAM).arg(&program).status().unwrap().success());
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    while_serving(&directory.0, "wg0", |socket| {
        let ask = || {
            let mut command = Command::new(&program);
            command.args(["status"]).env("WGAUTOMESH_RUNTIME_DIR", &directory.0).current_dir("/");
            let output = command.uid(65534).gid(65534).output().unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let (code, said) = ask();
        assert_eq!(code, Some(1));
        assert!(
            said.contains("is for root and the user the daemon runs as only\nTry again as root.\n"),
            "{said}"
        );
        fs::set_permissions(socket, Permissions::from_mode(0o666)).unwrap();
        let (code, said) = ask();
        assert_eq!(code, Some(1));
        assert!(said.contains("the daemon hung up"), "{said}");
    });
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_wg_quick_file_is_imported_without_its_secrets() {
    let directory = Directory::new();
    let file = directory.0.join("wg-home.conf");
    let secret = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
    let key = "o+uvbKOyDG2IaGKsRLsN2uBac6WqhXTW3+BPI+1poxQ=";
    let good = format!(
        "[Interface]\nPrivateKey = {secret}\n### paris\n[Peer]\nPublicKey = {key}\nAllowedIPs = 10.14.0.1/32\n"
    );
    fs::write(&file, &good).unwrap();
    let output = wgautomesh(&["import", file.to_str().unwrap()]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let toml = text(&output.stdout);
    assert!(toml.starts_with("interface = \"wg-home\"\n"), "{toml}");
    assert!(
        toml.ends_with(&format!("pubkey = \"{key}\"\naddress = \"10.14.0.1\"\nname = \"paris\"\n")),
        "{toml}"
    );
    assert!(!toml.contains(secret));

    fs::write(&file, good + "Endpoint = 203.0.113.1\n").unwrap();
    let output = wgautomesh(&["import", file.to_str().unwrap()]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    let said = text(&output.stderr);
    assert!(said.starts_with(&format!("{}:7:1: error: Endpoint: ", file.display())), "{said}");
    assert!(!said.contains(secret));
    assert_eq!(wgautomesh(&["import"]).output().unwrap().status.code(), Some(2));
    assert_eq!(wgautomesh(&["import", "/nonexistent"]).output().unwrap().status.code(), Some(1));
}

#[test]
fn init_writes_what_check_accepts_and_nobody_else_reads() {
    let directory = Directory::new();
    let init = |arguments: &[&str]| {
        let all: Vec<&str> = ["init"].iter().chain(arguments).copied().collect();
        wgautomesh(&all).current_dir(&directory.0).output().unwrap()
    };
    let file = directory.0.join("mesh.toml");
    let output = init(&["mesh.toml"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    assert!(text(&output.stdout).starts_with("mesh.toml: written, with a new secret and no peers yet.\n"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    let checked = wgautomesh(&["check", "mesh.toml"]).current_dir(&directory.0).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    assert!(text(&checked.stderr).contains("there is no peer"), "{}", text(&checked.stderr));

    // The secret is new each time, and is not shown.
    let secret = |file: &Path| {
        let text = fs::read_to_string(file).unwrap();
        let line = text.lines().find(|line| line.starts_with("gossip_secret = ")).unwrap();
        line.trim_start_matches("gossip_secret = ").to_owned()
    };
    assert_eq!(secret(&file).len(), 46);
    assert!(!text(&output.stdout).contains(secret(&file).trim_matches('"')));
    assert_eq!(init(&["other.toml"]).status.code(), Some(0));
    assert_ne!(secret(&file), secret(&directory.0.join("other.toml")));
}

#[test]
fn init_touches_nothing_that_is_there() {
    let directory = Directory::new();
    let inside = |name: &str| directory.0.join(name);
    fs::write(inside("mesh.toml"), "as it was").unwrap();
    std::os::unix::fs::symlink("nowhere", inside("link.toml")).unwrap();
    let refused = |arguments: &[&str], complaint: &str| {
        let output = wgautomesh(arguments).current_dir(&directory.0).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""), "{arguments:?}");
        assert_eq!(text(&output.stderr), format!("wgautomesh: {complaint}\n"), "{arguments:?}");
    };
    for name in ["mesh.toml", "link.toml"] {
        let complaint =
            format!("{name} is there already, and stays as it is; move it away, or name another file");
        refused(&["init", name], &complaint);
    }
    assert_eq!(fs::read_to_string(inside("mesh.toml")).unwrap(), "as it was");
    let no_folder = "no/mesh.toml: cannot be written: No such file or directory (os error 2)";
    refused(&["init", "no/mesh.toml"], no_folder);
    refused(&["init", "--interface", "wg-not-there", "new.toml"], "wg-not-there: there is no such interface");
    let mut left: Vec<_> = fs::read_dir(&directory.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["link.toml", "mesh.toml"]);
}

/// As under a unit with `LoadCredential=`: the daemon's user may not read the files themselves.
#[test]
fn a_credential_is_read_in_place_of_the_file_that_it_is_called_after() {
    let directory = Directory::new();
    let credentials = directory.0.join("credentials");
    fs::create_dir(&credentials).unwrap();
    let config =
        "interface = \"wg0\"\ngossip_secret_file = \"etc/mesh.secret\"\npeers_from_interface = true\n";
    fs::write(credentials.join("mesh.toml"), config).unwrap();
    fs::write(credentials.join("mesh.secret"), "0123456789abcdef").unwrap();
    // The mask of the ACL that systemd sets.
    for name in ["mesh.toml", "mesh.secret"] {
        fs::set_permissions(credentials.join(name), Permissions::from_mode(0o440)).unwrap();
    }
    let check = |file: &str| {
        let mut command = wgautomesh(&["check", file]);
        command.current_dir(&directory.0).env("CREDENTIALS_DIRECTORY", &credentials);
        let output = command.output().unwrap();
        (output.status.code(), text(&output.stdout).to_owned() + text(&output.stderr))
    };
    let good = |file: &str| {
        let gist =
            "good: interface wg0, gossip port 1666, 0 peers, 0 with an endpoint, and those of the interface";
        (Some(0), format!("{file}: {gist}\n"))
    };
    assert_eq!(check("etc/mesh.toml"), good("etc/mesh.toml"));
    assert_eq!(check("credentials/mesh.toml").0, Some(0));

    // What is not there is not made up, and a line end alone stands for none.
    fs::create_dir(directory.0.join("etc")).unwrap();
    let secret = directory.0.join("etc/mesh.secret");
    fs::write(&secret, "fedcba9876543210").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(credentials.join("mesh.secret"), Permissions::from_mode(0o600)).unwrap();
    fs::write(credentials.join("mesh.secret"), "\n").unwrap();
    assert_eq!(check("etc/mesh.toml"), good("etc/mesh.toml"));
    fs::remove_file(secret).unwrap();
    let (code, said) = check("etc/mesh.toml");
    assert_eq!(code, Some(1));
    assert!(said.contains("\"etc/mesh.secret\" cannot be read: there is no such file"), "{said}");
}
