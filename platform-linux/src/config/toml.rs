//! The TOML front end: bytes of a file in, a [`Draft`] out, every value with its line and column.
//!
//! It walks the spanned document of the `toml` crate rather than deserializing, since serde stops at the first error
//! and knows no place for one found later.

use super::Config;
use super::draft::{Draft, Field, PeerDraft};
use super::endpoint::Endpoint;
use super::report::{Fault, Located, Position, Report, Severity, quoted};
use super::secret::{Secret, exposure};
use super::source::{FileKey, Files, Lines, decode, read_source, read_source_from};
use super::suggest::meant;
use super::syntax::{Key, Syntax};
use super::values::{
    InterfaceName, InterfacePattern, PORT_FIX, PeerName, StateCommit, parse_listen, parse_mesh_address,
    parse_path, parse_public_key, port_of,
};
use ::toml::Spanned;
use ::toml::de::{DeArray, DeTable, DeValue};
use core::num::NonZeroU16;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The most mistakes of syntax that are reported: a file that is not TOML at all has one on each line.
const MOST_SYNTAX_ERRORS: usize = 20;

/// Reads, parses and checks a configuration file. `capacity` is the largest number of peers this binary can hold.
///
/// The report beside the configuration holds warnings and notes only.
///
/// # Errors
/// The report, with at least one error, when the daemon cannot start with this file.
pub fn load(path: &Path, capacity: usize) -> Result<(Config, Report), Report> {
    let mut report = Report::new(path.to_string_lossy());
    match read(path, capacity, Files::Prepared, &mut report, |_, _| ()) {
        Some(config) => Ok((config, report)),
        None => Err(report),
    }
}

/// As [`load`], for a daemon that runs with `present`: what it cannot change to without a restart is an error too.
///
/// # Errors
/// The report, with at least one error, when the daemon goes on as it is.
pub fn load_again(
    path: &Path,
    capacity: usize,
    files: Files,
    present: &Config,
) -> Result<(Config, Report), Report> {
    let mut report = Report::new(path.to_string_lossy());
    match read(path, capacity, files, &mut report, |draft, report| present.check_restart(draft, report)) {
        Some(config) => Ok((config, report)),
        None => Err(report),
    }
}

/// As [`load`], from where it is said, and with `change` made to what was read before it is judged.
pub(super) fn read(
    path: &Path,
    capacity: usize,
    files: Files,
    report: &mut Report,
    change: impl FnOnce(&mut Draft, &mut Report),
) -> Option<Config> {
    let config = read_source_from(&files, path, report).and_then(|file| {
        let mut draft = parse(&file.bytes, report)?;
        draft.files = files;
        if let Field::Given(Located { at, .. }) = draft.secret
            && let Some(exposed) = exposure(path, file.mode)
        {
            report.warn(at, "gossip_secret", exposed);
        }
        change(&mut draft, report);
        draft.finish(capacity, report)
    });
    report.sort();
    config.map(|config| Config { file: Some(path.into()), ..config })
}

/// Opens a configuration and the files that it names, for a daemon that may not. Those that cannot be opened are left to
/// the daemon, which says what is wrong with them; and so are relative paths, which are relative to where the daemon is.
///
/// # Errors
/// When the configuration itself cannot be opened.
pub fn files_of(path: &Path) -> io::Result<Vec<(FileKey, File)>> {
    let configuration = File::open(path)?;
    let mut unsaid = Report::new("");
    let draft = read_source_from(&Files::Handed(Vec::new()), path, &mut unsaid)
        .and_then(|source| parse(&source.bytes, &mut unsaid));
    let named = draft.iter().flat_map(|draft| {
        [
            (FileKey::Secret, &draft.secret_file),
            (FileKey::SecretNext, &draft.secret_next_file),
            (FileKey::SecretPrevious, &draft.secret_previous_file),
        ]
    });
    let opened = named.filter_map(|(key, path)| {
        let path = path.given().map(|path| &path.value).filter(|path| path.is_absolute())?;
        Some((key, File::open(path).ok()?))
    });
    Ok([(FileKey::Configuration, configuration)].into_iter().chain(opened).collect())
}

/// Only the interface a file names, whatever else is wrong with it: enough to find the daemon's control socket.
///
/// # Errors
/// The report when there is no interface to be read from the file.
pub fn interface_of(path: &Path) -> Result<InterfaceName, Report> {
    let mut report = Report::new(path.to_string_lossy());
    let draft = read_source(path, &mut report).and_then(|file| parse(&file.bytes, &mut report));
    match draft.map(|draft| draft.interface) {
        Some(Field::Given(Located { value, .. })) => return Ok(value),
        Some(Field::Absent) => {
            let fix = "name one with --interface";
            report.error(Position::START, "interface", Fault::new("the file names no interface", fix));
        }
        Some(Field::Refused) | None => {}
    }
    report.sort();
    Err(report)
}

/// Parses the text of a file. `None` when there was too little order in it to go on.
pub(super) fn parse(bytes: &[u8], report: &mut Report) -> Option<Draft> {
    let text = decode(bytes, "TOML", report)?;
    if looks_like_wg_quick(text) {
        let what = "this is a wg-quick file (INI), which configures WireGuard itself; wgautomesh has a file of its own";
        let fix = "keep this one for wg-quick; `wgautomesh import` prints the TOML for it";
        report.add(Severity::Error, None, "", Fault::new(what, fix));
        return None;
    }
    let lines = Lines::new(text);
    let (document, mistakes) = DeTable::parse_recoverable(text);
    let mut broken_lines: Vec<u32> = Vec::new();
    let mut duplicates: Vec<(Position, &str)> = Vec::new();
    for mistake in mistakes.iter().take(MOST_SYNTAX_ERRORS) {
        let span = mistake.span().unwrap_or(text.len()..text.len());
        let at = lines.position(span.start);
        if mistake.message() == "duplicate key" {
            duplicates.push((at, text.get(span).unwrap_or_default()));
        } else if !broken_lines.contains(&at.line) {
            // The parser recovers and stumbles over the rest of the same line: one finding for it is enough.
            broken_lines.push(at.line);
            report.error(at, "", syntax(mistake.message(), lines.line(at.line)));
        }
    }
    if broken_lines.iter().any(|&line| lines.line(line).trim_start().starts_with('[')) {
        // Without its heading, what follows was taken for part of something else: anything said about it may be wrong.
        return None;
    }
    for (at, key) in duplicates {
        report.error(at, key, duplicate());
    }
    let before = report.findings().len();
    let draft = Walk { lines: &lines, report }.document(document.into_inner());
    if broken_lines.is_empty() {
        return Some(draft);
    }
    // What the parser made of a broken line, and what it lost by it, must not be held against the user a second time.
    let mut index = 0;
    report.retain(|finding| {
        index += 1;
        index <= before || finding.at.is_none_or(|at| !broken_lines.contains(&at.line))
    });
    None
}

/// wg-quick's sections; they are not TOML that means anything here, and what is in them must not be echoed.
fn looks_like_wg_quick(text: &str) -> bool {
    text.lines().map(str::trim).any(|line| {
        line.eq_ignore_ascii_case("[interface]")
            || line.eq_ignore_ascii_case("[peer]")
            || line.split('=').next().is_some_and(|key| key.trim().eq_ignore_ascii_case("privatekey"))
    })
}

fn duplicate() -> Fault {
    Fault::new("is there a second time, and a key can have one value only", "remove one of the two")
}

/// A mistake of syntax in the words of the parser, with a remedy for the ones people make.
fn syntax(message: &str, line: &str) -> Fault {
    let value = line.split_once('=').map(|(_, value)| value.trim());
    let fix = match value {
        Some(_) if message.contains("escape") => "use single quotes around a value with backslashes in it",
        Some("") => "give the key a value, or remove the line",
        Some(value) if value.starts_with(['“', '”', '‘', '’', '„', '«']) => {
            "use plain quotes (\"), not typographic ones"
        }
        Some(value) if value.starts_with('"') || value.starts_with('\'') => {
            "close the quotes at the end of the value, and write nothing but a comment after them"
        }
        Some("True" | "TRUE" | "False" | "FALSE" | "yes" | "no" | "on" | "off") => "write true or false",
        Some(value) if value.starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '-') => {
            "write a plain number, or put the value into quotes if it is text"
        }
        Some(_) => "put text values into quotes: key = \"value\"",
        None if line.trim_start().starts_with('[') => "write the heading of a peer as [[peers]]",
        None if line.contains(':') => "write key = value, this is TOML",
        None => "write key = value, one to a line; a comment begins with #",
    };
    let message = message.strip_suffix(", expected nothing").unwrap_or(message);
    Fault::new(format!("not TOML: {message}"), fix)
}

/// What is called how in the file.
struct Toml;

impl Syntax for Toml {
    fn name(&self, key: Key) -> &'static str {
        match key {
            Key::Interface => "interface",
            Key::GossipPort => "gossip_port",
            Key::Secret => "gossip_secret",
            Key::SecretFile => "gossip_secret_file",
            Key::SecretNextFile => "gossip_secret_next_file",
            Key::SecretPreviousFile => "gossip_secret_previous_file",
            Key::PersistFile => "persist_file",
            Key::StateCommit => "state_commit",
            Key::LanDiscovery => "lan_discovery",
            Key::LanInterfaces => "lan_interfaces",
            Key::LanExclude => "lan_exclude",
            Key::UpnpForwardExternalPort => "upnp_forward_external_port",
            Key::Ipv6 => "ipv6",
            Key::MetricsListen => "metrics_listen",
            Key::PeersFromInterface => "peers_from_interface",
            Key::Peers => "peers",
            Key::PeerKey => "peers.pubkey",
            Key::PeerAddress => "peers.address",
            Key::PeerEndpoint => "peers.endpoint",
            Key::PeerName => "peers.name",
        }
    }

    fn set(&self, key: Key, value: &str) -> String {
        format!("{} = \"{value}\"", last_part(self.name(key)))
    }

    fn switch_on(&self, key: Key) -> String {
        format!("{} = true", self.name(key))
    }

    fn add_peers(&self) -> &'static str {
        "add a [[peers]] entry with pubkey and address for every other node, or peers_from_interface = true"
    }
}

pub(super) const TOP_KEYS: [&str; 16] = [
    "interface",
    "gossip_port",
    "gossip_secret",
    "gossip_secret_file",
    "gossip_secret_next_file",
    "gossip_secret_previous_file",
    "persist_file",
    "state_commit",
    "lan_discovery",
    "lan_interfaces",
    "lan_exclude",
    "upnp_forward_external_port",
    "metrics_listen",
    "ipv6",
    "peers_from_interface",
    "peers",
];
pub(super) const PEER_KEYS: [&str; 4] = ["pubkey", "address", "endpoint", "name"];

/// What people write from the habit of other tools, and what it is called here.
const SYNONYMS: [(&str, &str); 18] = [
    ("allowed_ips", "address"),
    ("allowedips", "address"),
    ("device", "interface"),
    ("host", "endpoint"),
    ("ifname", "interface"),
    ("ip", "address"),
    ("key", "pubkey"),
    ("listen_metrics", "metrics_listen"),
    ("metrics", "metrics_listen"),
    ("node", "peers"),
    ("nodes", "peers"),
    ("password", "gossip_secret"),
    ("port", "gossip_port"),
    ("public_key", "pubkey"),
    ("publickey", "pubkey"),
    ("secret", "gossip_secret"),
    ("secret_file", "gossip_secret_file"),
    ("upnp", "upnp_forward_external_port"),
];

/// The walk through a document.
struct Walk<'a, 't> {
    lines: &'a Lines<'t>,
    report: &'a mut Report,
}

type Entry<'t> = Spanned<DeValue<'t>>;

impl<'t> Walk<'_, 't> {
    fn document(mut self, table: DeTable<'t>) -> Draft {
        let mut draft = Draft::new(&Toml, Position::START);
        for (key, value) in table {
            let at = self.lines.position(key.span().start);
            match key.get_ref().as_ref() {
                "interface" => draft.interface = self.text("interface", value, InterfaceName::parse),
                "gossip_port" => draft.gossip_port = self.port("gossip_port", value),
                "gossip_secret" => draft.secret = self.secret(value),
                "gossip_secret_file" => draft.secret_file = self.path("gossip_secret_file", value),
                "gossip_secret_next_file" => {
                    draft.secret_next_file = self.path("gossip_secret_next_file", value);
                }
                "gossip_secret_previous_file" => {
                    draft.secret_previous_file = self.path("gossip_secret_previous_file", value);
                }
                "persist_file" => draft.persist_file = self.path("persist_file", value),
                "state_commit" => draft.state_commit = self.state_commit(value),
                "lan_discovery" => draft.lan_discovery = self.boolean("lan_discovery", value),
                "lan_interfaces" => draft.lan_interfaces = self.interfaces("lan_interfaces", value),
                "lan_exclude" => draft.lan_exclude = self.interfaces("lan_exclude", value),
                "upnp_forward_external_port" => {
                    draft.upnp_forward_external_port = self.port("upnp_forward_external_port", value);
                }
                "metrics_listen" => {
                    draft.metrics_listen = self.text("metrics_listen", value, parse_listen);
                }
                "peers_from_interface" => {
                    draft.peers_from_interface = self.boolean("peers_from_interface", value);
                }
                "ipv6" => draft.ipv6 = self.boolean("ipv6", value),
                "peers" => draft.peers = self.peers(value),
                unknown => self.unknown(at, unknown, None),
            }
        }
        draft
    }

    fn peers(&mut self, value: Entry<'t>) -> Vec<PeerDraft> {
        let at = self.at(&value);
        match value.into_inner() {
            DeValue::Array(entries) => self.peer_entries(entries),
            DeValue::Table(_) => {
                let what = "is one table, but there can be many peers";
                self.report.error(at, "peers", Fault::new(what, "write [[peers]] with two brackets"));
                // An entry is there, if only a wrong one: "there is no peer" would be wrong too.
                vec![PeerDraft { key: Field::Refused, address: Field::Refused, ..PeerDraft::new(at) }]
            }
            other => {
                let fix = "write each peer as [[peers]] with pubkey and address below";
                self.report.error(at, "peers", Fault::new(format!("is {}, not a list", kind(&other)), fix));
                vec![PeerDraft { key: Field::Refused, address: Field::Refused, ..PeerDraft::new(at) }]
            }
        }
    }

    fn peer_entries(&mut self, entries: DeArray<'t>) -> Vec<PeerDraft> {
        let mut peers = Vec::with_capacity(entries.len());
        for entry in entries {
            let at = self.at(&entry);
            let mut peer = PeerDraft::new(at);
            match entry.into_inner() {
                DeValue::Table(table) => {
                    for (key, value) in table {
                        let at = self.lines.position(key.span().start);
                        match key.get_ref().as_ref() {
                            "pubkey" => peer.key = self.text("peers.pubkey", value, parse_public_key),
                            "address" => peer.address = self.text("peers.address", value, parse_mesh_address),
                            "endpoint" => {
                                let endpoint = self.text("peers.endpoint", value, Endpoint::parse);
                                peer.endpoints = endpoint.into_located().into_iter().collect();
                            }
                            "name" => peer.name = self.text("peers.name", value, PeerName::parse),
                            unknown => self.unknown(at, unknown, Some("peers")),
                        }
                    }
                }
                other => {
                    let fix = "write each peer as [[peers]] with pubkey and address below";
                    let what = format!("has {} where a peer should be", kind(&other));
                    self.report.error(at, "peers", Fault::new(what, fix));
                    (peer.key, peer.address) = (Field::Refused, Field::Refused);
                }
            }
            peers.push(peer);
        }
        peers
    }

    /// A key that is not known, at the top or in a section. The original ignores such keys, so it is no error.
    fn unknown(&mut self, at: Position, key: &str, section: Option<&str>) {
        let (here, there) =
            if section.is_some() { (&PEER_KEYS[..], &TOP_KEYS[..]) } else { (&TOP_KEYS[..], &PEER_KEYS[..]) };
        let known = |keys| meant(key, &SYNONYMS, keys);
        let fix = match (known(here), known(there)) {
            (Some(known), _) => format!("did you mean {known}?"),
            (None, Some(known)) if section.is_some() => {
                format!("{known} belongs above the first [[peers]]")
            }
            (None, Some(known)) => format!("{known} belongs below a [[peers]] heading"),
            (None, None) => "remove it".into(),
        };
        let full = match section {
            Some(section) => format!("{section}.{key}"),
            None => key.to_owned(),
        };
        let full = quoted(&full);
        let full = full.trim_matches('"');
        self.report.warn(at, full, Fault::new("is not known and has no effect", fix));
    }

    fn text<T>(&mut self, key: &str, value: Entry<'t>, parse: fn(&str) -> Result<T, Fault>) -> Field<T> {
        let at = self.at(&value);
        let parsed = match value.into_inner() {
            DeValue::String(text) => parse(&text),
            other => {
                let fix = match &other {
                    DeValue::Array(_) | DeValue::Table(_) => format!("write {} = \"...\"", last_part(key)),
                    _ => format!("write {} = \"...\" with quotes", last_part(key)),
                };
                Err(Fault::new(format!("is {}, not a string", kind(&other)), fix))
            }
        };
        self.field(key, at, parsed)
    }

    fn secret(&mut self, value: Entry<'t>) -> Field<Secret> {
        let at = self.at(&value);
        let parsed = match value.into_inner() {
            // An owned string was put together from escapes; a borrowed one lies in the file's text, wiped by `load`.
            DeValue::String(text) => Secret::new(Zeroizing::new(text.into_owned())),
            other => {
                let fix = "write gossip_secret = \"...\" with quotes";
                Err(Fault::new(format!("is {}, not a string", kind(&other)), fix))
            }
        };
        self.field("gossip_secret", at, parsed)
    }

    fn path(&mut self, key: &str, value: Entry<'t>) -> Field<PathBuf> {
        self.text(key, value, parse_path)
    }

    /// A list of interfaces, or one.
    fn interfaces(&mut self, key: &str, value: Entry<'t>) -> Field<Vec<InterfacePattern>> {
        let at = self.at(&value);
        let entries = match value.into_inner() {
            DeValue::Array(entries) => entries,
            DeValue::String(one) => {
                return match InterfacePattern::parse(&one) {
                    Ok(pattern) => Field::Given(Located { value: vec![pattern], at }),
                    Err(fault) => self.field(key, at, Err(fault)),
                };
            }
            other => {
                let fix = format!("write {key} = [\"eth0\"], each interface in quotes");
                let fault = Fault::new(format!("is {}, not a list of interfaces", kind(&other)), fix);
                return self.field(key, at, Err(fault));
            }
        };
        let mut patterns = Vec::with_capacity(entries.len());
        let mut refused = false;
        for entry in entries {
            match self.text(key, entry, InterfacePattern::parse) {
                Field::Given(pattern) => patterns.push(pattern.value),
                _ => refused = true,
            }
        }
        if refused { Field::Refused } else { Field::Given(Located { value: patterns, at }) }
    }

    fn boolean(&mut self, key: &str, value: Entry<'t>) -> Field<bool> {
        let at = self.at(&value);
        let parsed = match value.into_inner() {
            DeValue::Boolean(value) => Ok(value),
            other => {
                let fix = "write true or false, without quotes";
                Err(Fault::new(format!("is {}, not true or false", kind(&other)), fix))
            }
        };
        self.field(key, at, parsed)
    }

    fn port(&mut self, key: &str, value: Entry<'t>) -> Field<NonZeroU16> {
        let at = self.at(&value);
        let parsed = match value.into_inner() {
            DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => port_of(number),
                Err(_) => Err(Fault::new("is far outside of the range of a UDP port", PORT_FIX)),
            },
            DeValue::String(text) if text.parse::<NonZeroU16>().is_ok() => {
                let fix = format!("write {key} = {text} without quotes");
                Err(Fault::new("is a string, not a number", fix))
            }
            other => Err(Fault::new(format!("is {}, not a whole number", kind(&other)), PORT_FIX)),
        };
        self.field(key, at, parsed)
    }

    fn state_commit(&mut self, value: Entry<'t>) -> Field<StateCommit> {
        let at = self.at(&value);
        let parsed = match value.into_inner() {
            // What is too long for this is too long a time as well.
            DeValue::Integer(number) => StateCommit::from_secs(
                i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX),
            ),
            DeValue::String(text) if StateCommit::parse(&text).is_ok() => {
                let fix = format!("write state_commit = {text} without quotes");
                Err(Fault::new("is a string, not a number", fix))
            }
            other => Err(Fault::new(format!("is {}, not a whole number", kind(&other)), StateCommit::FIX)),
        };
        self.field("state_commit", at, parsed)
    }

    fn field<T>(&mut self, key: &str, at: Position, parsed: Result<T, Fault>) -> Field<T> {
        Field::read(key, at, parsed, self.report)
    }

    fn at(&self, value: &Entry<'t>) -> Position {
        self.lines.position(value.span().start)
    }
}

fn last_part(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The configuration that a text is, for tests.
#[cfg(test)]
pub(crate) fn configuration(text: &str) -> Config {
    let mut report = Report::new("test.toml");
    let config = parse(text.as_bytes(), &mut report).and_then(|draft| draft.finish(32, &mut report));
    config.unwrap_or_else(|| panic!("{:#?}", report.lines().collect::<Vec<_>>()))
}
