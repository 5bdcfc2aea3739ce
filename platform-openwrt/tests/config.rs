//! The corpus of configurations: what `wgautomesh check` says about each pair of files, to the letter.
//!
//! `tests/config/bad/NAME.uci` and `tests/config/good/NAME.uci` are an `/etc/config/wgautomesh` each; `NAME.network` beside it
//! is the `/etc/config/network`, which otherwise has the interface and no peers. `corpus` says how they are kept.
//!
//! After a message was changed on purpose: `WGAUTOMESH_BLESS=1 cargo test -p wgautomesh-openwrt --test config`, and read the
//! diff before committing it.

#[path = "../../platform-linux/tests/corpus/mod.rs"]
mod corpus;

use corpus::{Corpus, Scratch, refused_alike, run, text};
use std::fs;
use std::process::Output;

const PROGRAM: &str = env!("CARGO_BIN_EXE_wgautomesh-openwrt");
const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config");
const NETWORK: &str = "config interface 'wg0'\n\toption proto 'wireguard'\n";

const CORPUS: Corpus = Corpus {
    folder: FILES,
    extension: ".uci",
    program: PROGRAM,
    place: |directory, case| {
        directory.write("wgautomesh", &case.bytes, case.mode);
        let network = fs::read(case.path.with_extension("network"));
        directory.write("network", &network.unwrap_or_else(|_| NETWORK.into()), 0o600);
        ["check", "-c", "."].map(String::from).into()
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
    assert!(names >= 35, "only {names} good files");
}

const GOOD: &str = "config mesh 'home'\n\toption interface 'wg0'\n\toption gossip_port '1666'\n\toption secret \
                    '0123456789abcdef'\n";

/// A list longer than the capacity is too long to keep as a file.
#[test]
fn too_many_peers_are_told_at_the_first_too_many() {
    let directory = Scratch::new("capacity");
    let section = |kind: &str, option: &str, n: u32| {
        // The last of the 43 digits carries only four bits, so what varies comes before it.
        let address = core::net::Ipv4Addr::from(0x0a0e_0000 + n);
        format!("config {kind}\n\toption public_key '{n:042}A='\n\toption {option} '{address}'\n")
    };
    let say = |own: u32, network: u32| {
        let own: String = (0..own).map(|n| section("peer", "address", n)).collect();
        let peers: String = (90..network).map(|n| section("wireguard_wg0", "allowed_ips", n)).collect();
        directory.write("wgautomesh", format!("{GOOD}{own}").as_bytes(), 0o600);
        directory.write("network", format!("{NETWORK}{peers}").as_bytes(), 0o600);
        let output = check(&directory, &[]);
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let full = "./wgautomesh: home: good: interface wg0, gossip port 1666, 128 peers, 0 with an endpoint";
    assert_eq!(say(100, 128), (Some(0), format!("{full}\n"), String::new()));
    assert_eq!(
        say(130, 0),
        (
            Some(1),
            String::new(),
            "./wgautomesh:389:1: error: peer: there are 130 peers, this build holds 128; this entry is the first too many; \
             fix: remove 2 of them\n./wgautomesh: home: wgautomesh does not start with this: 1 error\n"
                .into()
        )
    );
    // Those of the interface are not there for the mesh alone, and are left out.
    assert_eq!(
        say(100, 130),
        (
            Some(0),
            format!("{full}; 1 warning\n"),
            "./network:117:1: warning: peer: there are 130 peers, this build holds 128: this one and those below are left \
             out; fix: give others option enabled '0' in a config peer section, and they make room\n"
                .into()
        )
    );
}

/// A mesh that cannot start harms no other.
#[test]
fn each_mesh_is_checked_by_itself() {
    let directory = Scratch::new("several");
    let work = GOOD.replace("home", "work").replace("wg0", "wg1").replace("1666", "0");
    directory.write("wgautomesh", format!("{GOOD}{work}").as_bytes(), 0o600);
    directory.write("network", NETWORK.replace("wg0", "wg1").as_bytes(), 0o600);
    let good = "./wgautomesh: home: good: interface wg0, gossip port 1666, 0 peers, 0 with an endpoint; 2 warnings\n";
    let bad = "./wgautomesh: work: wgautomesh does not start with this: 1 error, 1 warning\n";
    for (name, code, stdout, verdict) in
        [(None, 1, good, bad), (Some("home"), 0, good, ""), (Some("work"), 1, "", bad)]
    {
        let output = check(&directory, name.as_slice());
        assert_eq!((output.status.code(), &*text(&output.stdout)), (Some(code), stdout), "{name:?}");
        let said = text(&output.stderr);
        let verdicts: Vec<&str> =
            said.split_inclusive('\n').filter(|line| !line.contains("; fix: ")).collect();
        assert_eq!(verdicts.concat(), verdict, "{name:?}");
    }
}

/// `run` refuses what `check` refuses, with the same words.
#[test]
fn run_says_the_same_as_check() {
    let directory = Scratch::new("run");
    directory.write("network", NETWORK.as_bytes(), 0o600);
    for name in ["many-mistakes", "secret-missing", "file-empty", "syntax-unclosed-quote"] {
        directory.write("wgautomesh", &fs::read(format!("{FILES}/bad/{name}.uci")).unwrap(), 0o600);
        let checked = check(&directory, &[]);
        for arguments in [&["run", "-c", "."][..], &["-c", "."], &["-c", ".", "run", "home"]] {
            let ran = run(PROGRAM, directory.path(), arguments);
            refused_alike(&ran, &checked);
        }
    }
}

/// No secret and no key that may be private is ever repeated.
#[test]
fn nothing_secret_is_printed() {
    let directory = Scratch::new("quiet");
    let secret = "a-very+secret/secret=";
    for line in [
        format!("option secret '{secret}"),
        format!("option secret {secret} {secret}"),
        format!("option secret\n{secret}"),
        format!("option secret '{secret}'\n{secret}=x"),
        format!("option secret = '{secret}'"),
        format!("list secret '{secret}'\nlist secret '{secret}'"),
        format!("option secrets '{secret}'\noption gossip_port 0"),
        format!("option secret \u{2018}{secret}\u{2019}"),
        format!("secret '{secret}'"),
        format!("gossip_secret=\"{secret}\""),
        format!("option gossip_port '{secret}\n'; option x 'y"),
        format!("config peer\noption public_key '{secret}'"),
        format!("[Interface]\nPrivateKey = {secret}"),
    ] {
        directory.write("wgautomesh", format!("{GOOD}{line}\n").as_bytes(), 0o644);
        let network = format!(
            "{NETWORK}\toption private_key '{secret}\nconfig wireguard_wg0\n\toption preshared_key '{secret}'\n"
        );
        for network in [network.clone(), network.replacen(&format!("'{secret}"), &format!("'{secret}'"), 1)] {
            directory.write("network", network.as_bytes(), 0o600);
            let output = check(&directory, &[]);
            let said = text(&output.stderr) + &text(&output.stdout);
            assert_eq!(output.status.code(), Some(1), "{line}");
            assert!(!said.contains(secret), "{line}: {said}");
        }
    }
}

fn check(directory: &Scratch, mesh: &[&str]) -> Output {
    run(PROGRAM, directory.path(), &[&["check", "-c", "."], mesh].concat())
}
