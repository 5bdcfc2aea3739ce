//! The corpus of configurations: what `wgautomesh check` says about each file, to the letter.
//!
//! The files are in `tests/config`; `corpus` says how they are kept.
//!
//! After a message was changed on purpose: `WGAUTOMESH_BLESS=1 cargo test -p wgautomesh --test config`, and read the
//! diff before committing it.

mod corpus;

use corpus::{Corpus, Scratch, refused_alike, run, text};
use std::fs;
use std::path::Path;
use std::process::Output;

const PROGRAM: &str = env!("CARGO_BIN_EXE_wgautomesh");
const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config");

const CORPUS: Corpus = Corpus {
    folder: FILES,
    extension: ".toml",
    program: PROGRAM,
    place: |directory, case| {
        let file = case.path.file_name().unwrap().to_str().unwrap();
        directory.write(file, &case.bytes, case.mode);
        vec!["check".into(), file.into()]
    },
};

#[test]
fn bad_files_are_refused_with_their_exact_messages() {
    let names = CORPUS.check_all("bad", 1);
    assert!(names >= 60, "only {names} bad files");
}

#[test]
fn good_files_are_accepted_with_their_exact_messages() {
    let names = CORPUS.check_all("good", 0);
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
        directory.write(&file, &fs::read(format!("{FILES}/bad/{file}")).unwrap(), 0o600);
        let checked = check(directory.path(), &file);
        for arguments in [vec!["run", &file], vec![&*file]] {
            let ran = run(PROGRAM, directory.path(), &arguments);
            refused_alike(&ran, &checked);
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

fn check(directory: &Path, file: &str) -> Output {
    run(PROGRAM, directory, &["check", file])
}
