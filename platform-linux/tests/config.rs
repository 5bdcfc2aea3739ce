//! The corpus of configurations: what `wgautomesh check` says about each file, to the letter.
//!
//! `tests/config/bad/*.toml` must be refused (exit status 1) and `tests/config/good/*.toml` accepted (0). Beside each
//! lies what is printed: `NAME.stderr`, and for the good ones `NAME.stdout`. In the files, `@DIR@` stands for a
//! directory with secrets of all kinds, and a first line `# mode: 644` for the mode of the file.
//!
//! After a message was changed on purpose: `WGAUTOMESH_BLESS=1 cargo test -p wgautomesh --test config`, and read the
//! diff before committing it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config");

#[test]
fn bad_files_are_refused_with_their_exact_messages() {
    let names = check_all("bad", 1);
    assert!(names >= 60, "only {names} bad files");
}

#[test]
fn good_files_are_accepted_with_their_exact_messages() {
    let names = check_all("good", 0);
    assert!(names >= 20, "only {names} good files");
}

/// A list longer than the capacity is too long to keep as a file.
#[test]
fn too_many_peers_are_refused_at_the_first_too_many() {
    let directory = Scratch::new("capacity");
    let list = |peers: u32| {
        let mut text =
            String::from("interface = \"wg0\"\ngossip_port = 1666\ngossip_secret = \"0123456789abcdef\"\n");
        for n in 0..peers {
            // The last of the 43 digits carries only four bits, so what varies comes before it.
            let address = core::net::Ipv4Addr::from(0x0a0e_0000 + n);
            text.push_str(&format!("[[peers]]\npubkey = \"{n:042}A=\"\naddress = \"{address}\"\n"));
        }
        text
    };
    directory.write("full.toml", list(1024).as_bytes(), 0o600);
    let full = check(directory.path(), "full.toml");
    assert_eq!(text(&full.stderr), "");
    assert_eq!(
        text(&full.stdout),
        "full.toml: good: interface wg0, gossip port 1666, 1024 peers, 0 with an endpoint\n"
    );

    directory.write("over.toml", list(1026).as_bytes(), 0o600);
    let over = check(directory.path(), "over.toml");
    assert_eq!(
        text(&over.stderr),
        "over.toml:3076:1: error: peers: there are 1026 peers, this build holds 1024; this entry is the first too \
         many; fix: remove 2 of them\nover.toml: wgautomesh does not start with this: 1 error\n"
    );
    assert_eq!(over.status.code(), Some(1));
}

/// `run` refuses what `check` refuses, with the same words.
#[test]
fn run_says_the_same_as_check() {
    let directory = Scratch::new("run");
    for name in ["many-mistakes", "secret-missing", "file-empty"] {
        let file = format!("{name}.toml");
        directory.write(&file, &fs::read(format!("{CORPUS}/bad/{file}")).unwrap(), 0o600);
        let checked = check(directory.path(), &file);
        for arguments in [vec!["run", &file], vec![&*file]] {
            let ran = wgautomesh(directory.path(), &arguments);
            assert_eq!(ran.status.code(), Some(1), "{arguments:?}");
            assert_eq!(text(&ran.stdout), "");
            // All but the verdict of `check` at the end.
            let expected: Vec<String> = text(&checked.stderr).lines().map(str::to_owned).collect();
            let said: Vec<String> = text(&ran.stderr).lines().map(str::to_owned).collect();
            assert_eq!(said[..], expected[..expected.len() - 1], "{arguments:?}");
        }
    }
}

/// No secret and no key that may be private is ever repeated.
#[test]
fn nothing_secret_is_printed() {
    let directory = Scratch::new("quiet");
    let secret = "a-very-secret-secret";
    for (number, line) in [
        format!("gossip_secret = \"{secret}"),
        format!("gossip_secret = {secret}"),
        format!("gossip_secret = \"{secret}\" \"{secret}\""),
        format!("gossip_secret = \"{secret}\"\ngossip_secret = \"{secret}\""),
        format!("gossip_secret = [\"{secret}\"]"),
        format!("gossip_secret : {secret}"),
        format!("gossip_secrets = \"{secret}\""),
        format!("gossip_secret = \"{secret}\\q\""),
        format!("[[peers]]\npubkey = \"{secret}\""),
        format!("[Interface]\nPrivateKey = {secret}"),
    ]
    .iter()
    .enumerate()
    {
        let name = format!("{number}.toml");
        directory.write(&name, format!("interface = \"wg0\"\ngossip_port = 0\n{line}\n").as_bytes(), 0o644);
        let output = check(directory.path(), &name);
        let said = text(&output.stderr) + &text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(!said.contains(secret), "{line}: {said}");
    }
}

/// Checks every file of one half of the corpus; how many there were.
fn check_all(half: &str, status: i32) -> usize {
    let bless = std::env::var_os("WGAUTOMESH_BLESS").is_some_and(|value| value == "1");
    let corpus = Path::new(CORPUS).join(half);
    let directory = Scratch::new(half);
    directory.make_secrets();
    let mut names: Vec<String> = fs::read_dir(&corpus)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".toml").map(str::to_owned))
        .collect();
    names.sort();

    let mut complaints = String::new();
    for name in &names {
        let file = format!("{name}.toml");
        let source = fs::read(corpus.join(&file)).unwrap();
        let mode = if source.starts_with(b"# mode: ") {
            u32::from_str_radix(core::str::from_utf8(&source[8..11]).unwrap(), 8).unwrap()
        } else {
            0o600
        };
        let here = directory.path().to_str().unwrap();
        directory.write(&file, &replace(&source, b"@DIR@", here.as_bytes()), mode);
        let output = check(directory.path(), &file);
        if output.status.code() != Some(status) {
            complaints.push_str(&format!("{half}/{file}: {}, not {status}\n", output.status));
        }
        let streams = [("stderr", &output.stderr), ("stdout", &output.stdout)];
        for (stream, said) in streams {
            let said = text(said).replace(here, "@DIR@");
            if half == "bad" && stream == "stdout" {
                assert_eq!(said, "", "{file}");
                continue;
            }
            let expected = corpus.join(format!("{name}.{stream}"));
            if bless {
                fs::write(&expected, &said).unwrap();
            }
            let wanted = fs::read_to_string(&expected).unwrap_or_default();
            if said != wanted {
                complaints.push_str(&format!("{half}/{name}.{stream}:\n{}", diff(&wanted, &said)));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{complaints}\nIf this is meant, run again with WGAUTOMESH_BLESS=1.");
    names.len()
}

fn check(directory: &Path, file: &str) -> Output {
    wgautomesh(directory, &["check", file])
}

fn wgautomesh(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wgautomesh"))
        .args(arguments)
        .current_dir(directory)
        .env_remove("CREDENTIALS_DIRECTORY")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("what is printed is UTF-8")
}

fn replace(source: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// The lines that differ: messages are one line each, so lines are compared in order.
fn diff(wanted: &str, said: &str) -> String {
    let (wanted, said): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), said.lines().collect());
    let mut out = String::new();
    for line in wanted.iter().filter(|line| !said.contains(line)) {
        out.push_str(&format!("  - {line}\n"));
    }
    for line in said.iter().filter(|line| !wanted.contains(line)) {
        out.push_str(&format!("  + {line}\n"));
    }
    if out.is_empty() { "  the same lines in another order or number\n".into() } else { out }
}

/// A directory of one test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("config-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    fn make_secrets(&self) {
        fs::create_dir_all(self.0.join("secrets")).unwrap();
        let good = "R2jb5dvlSKnD0OzWcT2nC8n1";
        for (name, content, mode) in [
            ("good", format!("{good}\n").into_bytes(), 0o600),
            ("empty", Vec::new(), 0o600),
            ("newline", b"\r\n\n".to_vec(), 0o600),
            ("random", vec![0xff; 32], 0o600),
            ("large", vec![b'x'; 64 * 1024 + 1], 0o600),
            ("exposed", format!("{good}\n").into_bytes(), 0o644),
            ("group", format!("{good}\n").into_bytes(), 0o640),
            ("crlf", format!("{good}\r\n").into_bytes(), 0o600),
            ("lines", format!("{good}\n{good}\n").into_bytes(), 0o600),
            ("short", b"123456789012345\n".to_vec(), 0o600),
        ] {
            self.write(&format!("secrets/{name}"), &content, mode);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
