//! Tests of the configuration beyond the corpus: values, what `load` hands out, and that no input can make it panic.

#[path = "../../tests/corpus/mutate.rs"]
mod mutate;

use super::toml::parse;
use super::*;
use core::net::{IpAddr, Ipv4Addr};
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use zeroize::Zeroizing;

/// Every file of the corpus.
fn corpus() -> &'static [Vec<u8>] {
    static CORPUS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    CORPUS.get_or_init(|| mutate::files(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config"), "toml"))
}

/// Bytes with a meaning in TOML.
const SPECIAL: &[u8] = b"[]{}=\"'\\#\n\r\t .,:_-+0x\0\xff\xc3";

/// What `load` does, without a file system: no secret file is opened.
fn check(bytes: &[u8]) -> (Option<Config>, Report) {
    let mut report = Report::new("test.toml");
    let config = parse(bytes, &mut report).and_then(|mut draft| {
        if !matches!(draft.secret_file, Field::Absent) {
            draft.secret_file = Field::Absent;
            let value = Secret::new(Zeroizing::new("0123456789abcdef".into())).unwrap();
            draft.secret = Field::Given(Located { value, at: Position::START });
        }
        draft.finish(16, &mut report)
    });
    (config, report)
}

/// What holds for every input at all.
fn check_holds(bytes: &[u8]) {
    let (config, report) = check(bytes);
    assert_eq!(config.is_some(), !report.has_errors(), "{:?}", report.findings());
    let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() + 1;
    for finding in report.findings() {
        let at = finding.at.unwrap_or(Position::START);
        assert!(at.line >= 1 && at.line as usize <= lines && at.column >= 1, "{finding:?}");
    }
    for line in report.lines() {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    if let Some(config) = config {
        assert!(!config.secret().reveal().is_empty());
        assert!(config.peers().len() <= 16);
        for (index, peer) in config.peers().iter().enumerate() {
            let before = &config.peers()[..index];
            assert!(
                before.iter().all(|other| other.key() != peer.key() && other.address() != peer.address())
            );
        }
    }
}

proptest! {
    // Twenty thousand take a second.
    #![proptest_config(mutate::settings(20_000))]

    #[test]
    fn no_mutation_of_the_corpus_panics(bytes in mutate::mutated(corpus(), SPECIAL)) {
        check_holds(&bytes);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(mutate::byte(SPECIAL), 0..200)) {
        check_holds(&bytes);
    }

    #[test]
    fn no_text_panics_a_value(text in "\\PC{0,80}|[0-9a-f.:\\[\\]%/]{0,40}") {
        let _ = InterfaceName::parse(&text);
        let _ = PeerName::parse(&text);
        let _ = parse_public_key(&text);
        let _ = parse_port(&text);
        if let Ok(address) = parse_mesh_address(&text) {
            prop_assert_eq!(address, address.to_canonical());
        }
        if let Ok(endpoint) = Endpoint::parse(&text) {
            // What is printed means the same when it is read again.
            prop_assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint));
        }
    }

    #[test]
    fn every_socket_address_is_an_endpoint_or_refused(ip in any::<IpAddr>(), port in any::<u16>()) {
        let parsed = Endpoint::parse(&SocketAddr::new(ip, port).to_string());
        let canonical = ip.to_canonical();
        let impossible = port == 0
            || canonical.is_unspecified()
            || canonical.is_multicast()
            || canonical == IpAddr::V4(Ipv4Addr::BROADCAST);
        if impossible {
            prop_assert!(parsed.is_err());
        } else {
            prop_assert_eq!(parsed, Ok(Endpoint::Address((canonical, port).into())));
        }
    }
}

#[test]
fn the_corpus_itself_holds() {
    for bytes in corpus() {
        check_holds(bytes);
    }
}

#[test]
fn a_configuration_holds_what_the_file_says() {
    let text = "\
        interface = \"wg-home\"\n\
        gossip_port = 1666\n\
        gossip_secret = \"a secret \\\"with\\\" quotes\"\n\
        persist_file = \"/var/lib/mesh\"\n\
        state_commit = 3600\n\
        lan_discovery = true\n\
        lan_interfaces = [\"eth0\", \"br-*\"]\n\
        lan_exclude = \"br-docker\"\n\
        upnp_forward_external_port = 33723\n\
        [[peers]]\n\
        pubkey = \"7Nm7pMmyS7Nts1MB+loyD8u84ODxHPTkDu+uqQR6yDk=\"\n\
        address = \"::ffff:10.14.1.2\"\n\
        endpoint = \"[::ffff:203.0.113.9]:51820\"\n\
        [[peers]]\n\
        name = \"bob\"\n\
        pubkey = \"lABn/axzD1jkFulX8c+K3B3CbKXORlIMDDoe8sQVxhs=\"\n\
        address = \"fd14::2\"\n\
        endpoint = \"bob.example.org:51821\"\n";
    let (config, report) = check(text.as_bytes());
    let config = config.unwrap();
    assert_eq!(config.interface().as_str(), "wg-home");
    assert_eq!(config.gossip_port().get(), 1666);
    assert_eq!(config.secret().reveal(), "a secret \"with\" quotes");
    assert_eq!(config.persist_file(), Some("/var/lib/mesh".as_ref()));
    assert_eq!(config.state_commit(), StateCommit::HOURLY);
    let lan = config.lan().unwrap();
    let names = ["eth0", "eth01", "br-lan", "br-docker"].map(|name| lan.names(name));
    assert_eq!(names, [Some(true), Some(false), Some(true), Some(false)]);
    assert_eq!(config.upnp_forward_external_port().map(core::num::NonZero::get), Some(33723));
    let [alice, bob] = config.peers() else { panic!("two peers") };
    assert_eq!(alice.key().to_string(), "7Nm7pMmyS7Nts1MB+loyD8u84ODxHPTkDu+uqQR6yDk=");
    assert_eq!(alice.address().to_string(), "10.14.1.2");
    assert_eq!(alice.endpoints()[0].to_string(), "203.0.113.9:51820");
    assert_eq!(alice.name(), None);
    assert_eq!(bob.address().to_string(), "fd14::2");
    let port = core::num::NonZero::new(51821).unwrap();
    assert_eq!(bob.endpoints(), [Endpoint::Name { host: "bob.example.org".into(), port }]);
    assert_eq!(bob.name().unwrap().as_str(), "bob");
    // A build without port mapping says so.
    assert_eq!(report.notes().count(), usize::from(!cfg!(feature = "portmap")));
    assert_eq!(report.warnings().count(), 0);
}

/// A file of its own for one test.
pub(super) struct Temporary(pub(super) PathBuf);

impl Temporary {
    pub(super) fn new(name: &str, content: &[u8], mode: u32) -> Self {
        let path = std::env::temp_dir().join(format!("wgautomesh-{name}-{}", std::process::id()));
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn line_ends_at_the_end_of_a_secret_file_are_not_part_of_it() {
    for (content, secret) in [
        ("0123456789abcdef", "0123456789abcdef"),
        ("0123456789abcdef\n", "0123456789abcdef"),
        ("0123456789abcdef\r\n", "0123456789abcdef"),
        ("0123456789abcdef\n\n", "0123456789abcdef"),
        ("0123456789abcdef \n", "0123456789abcdef "),
        ("\n0123456789abcdef", "\n0123456789abcdef"),
        ("0123\n4567\n89abcdef\n", "0123\n4567\n89abcdef"),
    ] {
        let file = Temporary::new("secret-ends", content.as_bytes(), 0o600);
        let read = read_secret_file(&Files::Prepared, FileKey::Secret, &file.0).expect("a secret");
        assert_eq!(read.secret.reveal(), secret, "{content:?}");
        assert_eq!(read.exposed, None);
    }
}

#[test]
fn a_file_of_endless_length_is_not_read_to_its_end() {
    let fault =
        read_secret_file(&Files::Prepared, FileKey::Secret, "/dev/zero".as_ref()).err().expect("too large");
    assert!(fault.what.contains("larger than 64 KiB"), "{fault:?}");
    let report = load("/dev/zero".as_ref(), 16).err().expect("too large");
    assert_eq!(
        report.lines().collect::<Vec<_>>(),
        ["/dev/zero: error: is larger than 4 MiB: this cannot be a configuration"]
    );
}

#[test]
fn the_reasons_for_an_unreadable_file_are_told_apart() {
    use std::io::{Error, ErrorKind};
    let says = |error: Error| secret::why_unreadable(&error).0;
    assert_eq!(says(ErrorKind::PermissionDenied.into()), "permission denied");
    assert_eq!(says(ErrorKind::NotFound.into()), "there is no such file");
    // EIO in the words of the C library (glibc: "Input/output error", musl: "I/O error"), in lower case, and without the
    // number that `io::Error` appends.
    let said = says(Error::from_raw_os_error(5));
    assert!(["input/output error", "i/o error"].contains(&said.as_str()), "{said:?}");
}

#[test]
fn only_the_interface_can_be_asked_for() {
    let file = Temporary::new("interface-of", b"interface = \"wg7\"\ngossip_port = 0\n[[peers]]\n", 0o600);
    assert_eq!(interface_of(&file.0).unwrap().as_str(), "wg7");
    let file = Temporary::new("interface-of-none", b"gossip_port = 1\n", 0o600);
    let report = interface_of(&file.0).unwrap_err();
    assert_eq!(report.errors().count(), 1);
    assert_eq!(report.findings()[0].fault.fix, "name one with --interface");
}

#[test]
fn columns_count_characters() {
    let (_, report) = check("# öäü\nname = \"ö\"\n\"ö\" = { ö = 1 }\n".as_bytes());
    let places: Vec<String> = report.lines().filter(|line| line.contains("TOML")).collect();
    assert_eq!(places.len(), 1, "{places:?}");
    assert!(places[0].starts_with("test.toml:3:9: error: not TOML"), "{places:?}");
}

#[test]
fn what_is_quoted_can_do_no_harm() {
    assert_eq!(quoted("plain"), "\"plain\"");
    assert_eq!(quoted("a\"b\n\u{1b}[2J"), "\"a\\\"b\\n\\u{1b}[2J\"");
    assert_eq!(quoted("a\u{202e}b"), "\"a\\u{202e}b\"");
    assert_eq!(quoted(&"x".repeat(61)).len(), 60 + 3 + 2);
}
