//! Tests of the configuration beyond the corpus: what the files come to, and that no input breaks anything.

use super::*;
use crate::mutate;
use proptest::prelude::*;
use std::fs;
use std::sync::OnceLock;

/// Every pair of files of the corpus, with a NUL in between, as the fuzz target takes them.
fn corpus() -> &'static [Vec<u8>] {
    static CORPUS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    CORPUS.get_or_init(|| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config");
        let networks = mutate::files(folder, "network");
        let mut networks = networks.iter().cycle();
        let pair = |own: Vec<u8>| [&own[..], &[0], networks.next().unwrap()].concat();
        mutate::files(folder, "uci").into_iter().map(pair).collect()
    })
}

/// Bytes with a meaning in UCI.
const SPECIAL: &[u8] = b"'\"\\#;\n\r\t _-01.:/\0\xff\xc3";

proptest! {
    #![proptest_config(mutate::settings(10_000))]

    #[test]
    fn no_mutation_of_the_corpus_breaks_what_must_hold(bytes in mutate::mutated(corpus(), SPECIAL)) {
        fuzzing::check(&bytes);
    }

    #[test]
    fn no_bytes_break_what_must_hold(bytes in prop::collection::vec(mutate::byte(SPECIAL), 0..200)) {
        fuzzing::check(&bytes);
    }
}

#[test]
fn the_corpus_itself_holds() {
    corpus().iter().for_each(|bytes| fuzzing::check(bytes));
}

/// A directory of one test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str, own: &str, network: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wgautomesh-uci-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("wgautomesh"), own).unwrap();
        fs::write(path.join("network"), network).unwrap();
        Self(path)
    }

    fn config(&self, mesh: &str) -> Config {
        let meshes = Meshes::read(&self.0).unwrap_or_else(|report| panic!("{:?}", report.findings()));
        let (config, report) = meshes.take(mesh).unwrap_or_else(|e| panic!("{e}")).finish(16);
        config.unwrap_or_else(|| panic!("{:?}", report.findings()))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const ALICE: &str = "7Nm7pMmyS7Nts1MB+loyD8u84ODxHPTkDu+uqQR6yDk=";
const BOB: &str = "lABn/axzD1jkFulX8c+K3B3CbKXORlIMDDoe8sQVxhs=";
const CAROL: &str = "o+uvbKOyDG2IaGKsRLsN2uBac6WqhXTW3+BPI+1poxQ=";
const DAVE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The peers in a few words: key, address, endpoints, name.
fn peers(config: &Config) -> Vec<String> {
    let peer = |peer: &wgautomesh::config::Peer| {
        let endpoints: Vec<String> = peer.endpoints().iter().map(ToString::to_string).collect();
        let name = peer.name().map_or("-", PeerName::as_str);
        format!("{:.8} {} {endpoints:?} {name}", peer.key().to_string(), peer.address())
    };
    config.peers().iter().map(peer).collect()
}

#[test]
fn a_configuration_holds_what_the_file_says() {
    let own = format!(
        "config mesh 'home'\n\
         option enabled '1'\noption interface 'wg-home'\noption gossip_port '1666'\n\
         option secret 'a secret with '\\''quotes'\\'''\noption persist_file '/var/lib/mesh'\n\
         option state_commit '600'\n\
         option lan_discovery '1'\nlist lan_interfaces 'eth0'\nlist lan_interfaces 'br-*'\n\
         option lan_exclude 'br-docker br-guest'\noption upnp_forward_external_port '33723'\n\
         option peers_from_network '0'\noption peers_from_interface '1'\n\
         config peer\noption public_key '{ALICE}'\noption address '::ffff:10.14.1.2'\n\
         list endpoint '[::ffff:203.0.113.9]:51820'\nlist endpoint 'alice.example.org:51821'\n\
         config peer 'bob'\noption public_key '{BOB}'\noption address 'fd14::2'\n"
    );
    let config = Directory::new("holds", &own, "").config("home");
    assert_eq!(config.interface().as_str(), "wg-home");
    assert_eq!(config.gossip_port().get(), 1666);
    assert_eq!(config.secret().reveal(), "a secret with 'quotes'");
    assert_eq!(config.persist_file(), Some("/var/lib/mesh".as_ref()));
    assert_eq!(config.state_commit(), StateCommit::TEN_MINUTES);
    let lan = config.lan().unwrap();
    let names = ["eth0", "eth01", "br-lan", "br-docker", "br-guest"].map(|name| lan.names(name));
    assert_eq!(names, [Some(true), Some(false), Some(true), Some(false), Some(false)]);
    assert_eq!(config.upnp_forward_external_port().map(core::num::NonZero::get), Some(33723));
    assert!(config.peers_from_interface());
    assert_eq!(
        peers(&config),
        [
            "7Nm7pMmy 10.14.1.2 [\"203.0.113.9:51820\", \"alice.example.org:51821\"] -",
            "lABn/axz fd14::2 [] bob"
        ]
    );
}

#[test]
fn what_is_not_said_has_its_default() {
    let own = "config mesh 'home'\noption interface 'wg0'\noption gossip_port '1666'\noption secret '0123456789abcdef'\n\
               option persist_file ''\n";
    let config =
        Directory::new("defaults", own, "config interface wg0\noption proto wireguard\n").config("home");
    assert_eq!(config.persist_file(), Some("/etc/wgautomesh/home.state".as_ref()));
    assert_eq!(config.state_commit(), StateCommit::HOURLY);
    assert_eq!((config.lan(), config.upnp_forward_external_port()), (None, None));
    assert!(!config.peers_from_interface());
}

#[test]
fn the_peers_of_the_network_belong_to_the_mesh() {
    let own = format!(
        "config mesh 'home'\noption interface 'wg0'\noption gossip_port '1666'\noption secret '0123456789abcdef'\n\
         config peer 'a'\noption public_key '{ALICE}'\nlist endpoint '203.0.113.1:1'\n\
         config peer\noption public_key '{BOB}'\noption enabled '0'\n"
    );
    let network = format!(
        "config interface 'wg0'\noption proto 'wireguard'\n\
         config wireguard_wg0\noption public_key '{ALICE}'\nlist allowed_ips '192.168.2.0/24'\nlist allowed_ips \
         '10.14.0.2/32'\noption endpoint_host 'alice.example.org'\noption description 'alice'\n\
         config wireguard_wg0\noption public_key '{BOB}'\nlist allowed_ips '10.14.0.3/32'\n\
         config wireguard_wg0\noption public_key '{CAROL}'\noption allowed_ips '0.0.0.0/0 fd14::4'\n\
         option endpoint_host '2001:db8::4'\noption endpoint_port '51821'\noption description 'carol'\n\
         config wireguard_wg0\noption public_key '{DAVE}'\nlist allowed_ips '10.14.0.5/32'\noption disabled '1'\n\
         config wireguard_wg1\noption public_key '{DAVE}'\nlist allowed_ips '10.14.0.6/32'\n"
    );
    let directory = Directory::new("network", &own, &network);
    assert_eq!(
        peers(&directory.config("home")),
        ["7Nm7pMmy 10.14.0.2 [\"203.0.113.1:1\"] a", "o+uvbKOy fd14::4 [\"[2001:db8::4]:51821\"] carol"]
    );
    // With what is said of it here only, alice has no address.
    let own = own.replace("option interface", "option peers_from_network '0'\noption interface");
    fs::write(directory.0.join("wgautomesh"), own).unwrap();
    let mesh = Meshes::read(&directory.0).ok().unwrap().list.pop().unwrap();
    let (config, report) = mesh.finish(16);
    assert!(config.is_none());
    assert_eq!(report.errors().map(|error| &*error.key).collect::<Vec<_>>(), ["peer.address"]);
}

#[test]
fn a_missing_network_costs_its_peers_only() {
    let own = format!(
        "config mesh 'home'\noption interface 'wg0'\noption gossip_port '1666'\noption secret '0123456789abcdef'\n\
         config peer\noption public_key '{ALICE}'\noption address '10.14.0.2'\n"
    );
    let directory = Directory::new("no-network", &own, "");
    fs::remove_file(directory.0.join("network")).unwrap();
    let mesh = Meshes::read(&directory.0).ok().unwrap().take("home").ok().unwrap();
    let (config, report) = mesh.finish(16);
    assert_eq!(config.unwrap().peers().len(), 1);
    let shown = directory.0.display();
    assert_eq!(
        report.lines().next().unwrap(),
        format!(
            "{shown}/wgautomesh:1:1: warning: peers_from_network: {shown}/network cannot be read: there is no such file; \
             fix: add option peers_from_network '0' if the peers are not there"
        )
    );
}

/// A mesh's name that holds lines is not to be repeated as a suggestion.
#[test]
fn a_report_holds_no_lines_of_a_mesh_that_is_not_there() {
    let text = "config mesh 'home'\nconfig peer\noption mesh 'some\n\tthing else'\n";
    fuzzing::check(&[text.as_bytes(), &[0]].concat());
}

/// One that is disabled may share its interface with another.
#[test]
fn two_meshes_cannot_have_one_interface() {
    let mesh = |name: &str, more: &str| {
        format!(
            "config mesh '{name}'\noption interface 'wg0'\noption gossip_port '1666'\noption secret '0123456789abcdef'\n\
             option peers_from_network '0'\noption peers_from_interface '1'\n{more}"
        )
    };
    for (more, errors) in [
        (
            "",
            &[
                "f:8:18: error: interface: wg0 is also the interface of home at line 1; fix: give each mesh an interface of \
               its own, or disable one of them",
            ][..],
        ),
        ("option enabled '0'\n", &[]),
    ] {
        let text = mesh("home", "") + &mesh("work", more);
        let parsed = Meshes::parse(text.as_bytes(), Path::new("/nowhere"), Report::new("f"));
        let [home, work] = <[Mesh; 2]>::try_from(parsed.ok().unwrap().list).ok().unwrap();
        assert!(home.finish(16).0.is_some());
        let (config, report) = work.finish(16);
        assert_eq!(config.is_some(), errors.is_empty());
        let said: Vec<String> = report.errors().map(ToString::to_string).collect();
        let wanted: Vec<&str> = errors.iter().map(|line| line.split_once(": ").unwrap().1).collect();
        assert_eq!(said, wanted);
    }
}
