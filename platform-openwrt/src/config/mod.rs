//! The configuration of a router: the meshes of `/etc/config/wgautomesh`, with the peers of `/etc/config/network`.
//!
//! Each `config mesh` section is a mesh, with a process of its own. What it means is checked where that of the TOML file is,
//! by [`Draft::finish`]; here are the words of UCI.
//!
//! | `config mesh 'NAME'` | | meaning |
//! |---|---|---|
//! | `enabled` | default 1 | whether this mesh is to run |
//! | `interface` | required | the WireGuard interface, which must be there or come later; it is never created |
//! | `gossip_port` | 1666 | UDP port of the gossip inside the mesh, the same on every node |
//! | `secret` | one of these two | the secret all nodes share |
//! | `secret_file` | | a file that holds it; line ends at its end are not part of the secret |
//! | `secret_next_file` | optional | a file with the secret that the mesh changes over to |
//! | `secret_previous_file` | optional | a file with the secret that it has changed over from |
//! | `persist_file` | default `/etc/wgautomesh/NAME.state` | where to keep what was learned over a restart |
//! | `state_commit` | default 3600 | seconds that are at least between two writes of it: flash wears out |
//! | `lan_discovery` | default 0 | look for peers on the LAN |
//! | `list lan_interfaces` | optional | only on these interfaces |
//! | `list lan_exclude` | optional | not on these |
//! | `upnp_forward_external_port` | optional | the external port that the upstream router is to forward |
//! | `peers_from_network` | default 1 | the peers of the interface in `/etc/config/network` belong to the mesh |
//! | `peers_from_interface` | default 0 | those that are on the running interface, too |
//!
//! | `config peer` | | meaning |
//! |---|---|---|
//! | `mesh` | required where there are several | the mesh it belongs to |
//! | `enabled` | default 1 | 0 leaves a peer of `/etc/config/network` out of the mesh |
//! | `public_key` | required | the peer's public key |
//! | `address` | required | its address inside the mesh, IPv4 or IPv6 |
//! | `list endpoint` | optional | where it can be reached: `ip:port`, `[ipv6]:port` or `name:port` |
//! | `name` | default: the section's | what people call it |
//!
//! A peer that is in `/etc/config/network` too has from there what is not said of it here.
//!
//! As in OpenWrt's scripts, an empty option is none, 1, on, true, yes and enabled mean the same, and a list may be written as
//! one option with spaces.

mod network;
mod value;

/// What the fuzz target needs from inside.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

#[cfg(test)]
mod tests;

use crate::uci::{self, Section, Setting};
use std::path::{Path, PathBuf};
use wgautomesh::config::{
    Config, Draft, Endpoint, Fault, Field, InterfaceName, Key, Located, PeerDraft, PeerName, Position,
    Report, Secret, StateCommit, Syntax, decode, exposure, meant, nearest, parse_mesh_address, parse_path,
    parse_public_key, quoted, read_source,
};
use wgautomesh_core::PublicKey;
use zeroize::Zeroizing;

/// The file with the meshes, in the directory of all configuration.
pub const FILE: &str = "wgautomesh";

/// Where what was learned is kept: on flash, and kept over an upgrade of the system.
const STATE_FOLDER: &str = "/etc/wgautomesh";

/// What a file says.
pub struct Meshes {
    /// What was found that is about no mesh of its own; warnings only.
    pub report: Report,
    /// The meshes, in the order of the file; never none.
    pub list: Vec<Mesh>,
}

/// One mesh, as far as its section could be read.
pub struct Mesh {
    name: Box<str>,
    at: Position,
    enabled: Field<bool>,
    peers_from_network: Field<bool>,
    draft: Draft,
    /// Not in the mesh although they may be in `/etc/config/network`.
    excluded: Vec<PublicKey>,
    report: Report,
    directory: PathBuf,
}

impl Meshes {
    /// Reads the file in `directory`, which is `/etc/config` on a router. Neither secret files nor the network's are
    /// opened yet.
    ///
    /// # Errors
    /// The report when nothing can be made of the file. What is wrong with one mesh is kept with that mesh, and does not
    /// harm the others.
    pub fn read(directory: &Path) -> Result<Self, Report> {
        let path = directory.join(FILE);
        let mut report = Report::new(path.to_string_lossy());
        let Some(source) = read_source(&path, &mut report) else { return Err(report) };
        let meshes = Self::parse(&source.bytes, directory, report)?;
        Ok(meshes.warn_of_exposure(&path, source.mode))
    }

    /// As [`read`](Self::read), of the file's bytes.
    ///
    /// # Errors
    /// As there.
    pub fn parse(bytes: &[u8], directory: &Path, mut report: Report) -> Result<Self, Report> {
        let parsed = decode(bytes, "UCI", &mut report).and_then(|text| uci::parse(text, 0, &mut report));
        let Some(package) = parsed else {
            report.sort();
            return Err(report);
        };
        let mut walk = Walk { meshes: Vec::new(), directory, report };
        if let Some(name) = package.name.as_ref().filter(|name| &*name.value != FILE) {
            let what = format!("is {} here: this file is for {FILE} alone", quoted(&name.value));
            walk.report.warn(name.at, "package", Fault::new(what, "remove the line, and what is not for it"));
        }
        // A peer may stand above its mesh.
        let (meshes, others): (Vec<_>, Vec<_>) =
            package.sections.into_iter().partition(|section| &*section.kind == "mesh");
        meshes.into_iter().for_each(|section| walk.mesh(&section));
        for section in &others {
            match &*section.kind {
                "peer" => walk.peer(section),
                kind => walk.unknown_section(section.at, kind),
            }
        }
        let Walk { mut meshes, mut report, .. } = walk;
        if meshes.is_empty() && !report.has_errors() {
            let what = "there is no mesh";
            let fix = "add config mesh 'home', and below it option interface 'wg0' and option secret_file '/etc/wgautomesh/secret'";
            report.error(Position::START, "", Fault::new(what, fix));
        }
        report.sort();
        if report.has_errors() {
            return Err(report);
        }
        refuse_common_interfaces(&mut meshes);
        Ok(Self { report, list: meshes })
    }

    /// The mesh of a name.
    ///
    /// # Errors
    /// What to complain of.
    pub fn take(self, name: &str) -> Result<Mesh, String> {
        let fix = match (nearest(name, self.names()), self.names().collect::<Vec<_>>().join(", ")) {
            (Some(known), _) => format!("did you mean {known}?"),
            (None, all) => format!("the file has {all}"),
        };
        let mesh = self.list.into_iter().find(|mesh| &*mesh.name == name);
        mesh.ok_or_else(|| format!("there is no mesh {}; {fix}", quoted(name)))
    }

    /// The names of the meshes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(Mesh::name)
    }

    fn warn_of_exposure(mut self, path: &Path, mode: u32) -> Self {
        for mesh in &mut self.list {
            if let Field::Given(Located { at, .. }) = mesh.draft.secret
                && let Some(exposed) = exposure(path, mode)
            {
                mesh.report.warn(at, Uci.name(Key::Secret), exposed);
            }
        }
        self
    }
}

impl Mesh {
    /// The name of its section.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is to run. One of which that cannot be told does not, but with an error.
    pub fn is_enabled(&self) -> bool {
        self.enabled.given().is_none_or(|enabled| enabled.value)
    }

    /// Its interface, if there is a right one.
    pub fn interface(&self) -> Option<&InterfaceName> {
        self.draft.interface.given().map(|interface| &interface.value)
    }

    /// Takes the peers of `/etc/config/network`, reads the secret, and checks the whole. There is a configuration exactly
    /// if there is no error in the report.
    ///
    /// `capacity` is the largest number of peers this binary can hold.
    pub fn finish(self, capacity: usize) -> (Option<Config>, Report) {
        let Self { peers_from_network, mut draft, excluded, mut report, directory, .. } = self;
        if peers_from_network.given().is_none_or(|wanted| wanted.value) {
            network::add_peers(&directory, &mut draft, &excluded, capacity, &mut report);
        }
        let config = draft.finish(capacity, &mut report);
        report.sort();
        (config, report)
    }
}

/// Two processes would take turns in changing the peers.
fn refuse_common_interfaces(meshes: &mut [Mesh]) {
    for index in 1..meshes.len() {
        let (before, rest) = meshes.split_at_mut(index);
        let Some(mesh) = rest.first_mut().filter(|mesh| mesh.is_enabled()) else { continue };
        let Some(Located { value, at }) = mesh.draft.interface.given() else { continue };
        if let Some(other) = before.iter().find(|mesh| mesh.is_enabled() && mesh.interface() == Some(value)) {
            let what = format!("{value} is also the interface of {} at line {}", other.name, other.at.line);
            let fix = "give each mesh an interface of its own, or disable one of them";
            mesh.report.error(*at, Uci.name(Key::Interface), Fault::new(what, fix));
        }
    }
}

/// What is called how in the file.
struct Uci;

impl Syntax for Uci {
    fn name(&self, key: Key) -> &'static str {
        match key {
            Key::Interface => "interface",
            Key::Secret => "secret",
            Key::SecretFile => "secret_file",
            Key::SecretNextFile => "secret_next_file",
            Key::SecretPreviousFile => "secret_previous_file",
            Key::PersistFile => "persist_file",
            Key::StateCommit => "state_commit",
            Key::LanDiscovery => "lan_discovery",
            Key::LanInterfaces => "lan_interfaces",
            Key::LanExclude => "lan_exclude",
            Key::UpnpForwardExternalPort => "upnp_forward_external_port",
            Key::PeersFromInterface => "peers_from_interface",
            Key::Peers => "peer",
            Key::PeerKey => "peer.public_key",
            Key::PeerAddress => "peer.address",
            Key::PeerEndpoint => "peer.endpoint",
            Key::PeerName => "peer.name",
            // There is no option for the rest.
            _ => "",
        }
    }

    fn set(&self, key: Key, value: &str) -> String {
        let command = match key {
            Key::LanInterfaces | Key::LanExclude | Key::PeerEndpoint => "list",
            _ => "option",
        };
        format!("{command} {} {}", last_part(self.name(key)), uci::quoted(value))
    }

    fn switch_on(&self, key: Key) -> String {
        self.set(key, "1")
    }

    fn add_peers(&self) -> &'static str {
        "add peers to the interface in /etc/config/network, or a config peer section with public_key and address for every \
         other node"
    }
}

fn last_part(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

const MESH_OPTIONS: [&str; 15] = [
    "enabled",
    "interface",
    "gossip_port",
    "secret",
    "secret_file",
    "secret_next_file",
    "secret_previous_file",
    "persist_file",
    "state_commit",
    "lan_discovery",
    "lan_interfaces",
    "lan_exclude",
    "upnp_forward_external_port",
    "peers_from_network",
    "peers_from_interface",
];
const PEER_OPTIONS: [&str; 6] = ["mesh", "enabled", "public_key", "address", "endpoint", "name"];

/// What people write from the habit of other files, and what it is called here.
const SYNONYMS: [(&str, &str); 22] = [
    ("allowed_ips", "address"),
    ("description", "name"),
    ("device", "interface"),
    ("disabled", "enabled"),
    ("endpoint_host", "endpoint"),
    ("endpoint_port", "endpoint"),
    ("endpoints", "endpoint"),
    ("gossip_secret", "secret"),
    ("gossip_secret_file", "secret_file"),
    ("gossip_secret_next_file", "secret_next_file"),
    ("gossip_secret_previous_file", "secret_previous_file"),
    ("host", "endpoint"),
    ("ifname", "interface"),
    ("ip", "address"),
    ("ipaddr", "address"),
    ("key", "public_key"),
    ("network", "interface"),
    ("password", "secret"),
    ("port", "gossip_port"),
    ("pubkey", "public_key"),
    ("publickey", "public_key"),
    ("upnp", "upnp_forward_external_port"),
];

const SECTIONS: [&str; 2] = ["mesh", "peer"];
const SECTION_SYNONYMS: [(&str, &str); 5] =
    [("interface", "mesh"), ("main", "mesh"), ("node", "peer"), ("peers", "peer"), (FILE, "mesh")];

/// The walk through a file.
struct Walk<'d> {
    meshes: Vec<Mesh>,
    directory: &'d Path,
    /// About no mesh of its own.
    report: Report,
}

impl Walk<'_> {
    fn mesh(&mut self, section: &Section<'_>) {
        let at = section.at;
        let Some(name) = section.name.as_deref() else {
            let fix = "write config mesh 'home', or what it is to be called";
            self.report.error(at, "mesh", Fault::new("has no name", fix));
            return;
        };
        // What it says is about the same file.
        let path = self.directory.join(FILE);
        let mut report = Report::new(path.to_string_lossy());
        let mut draft = Draft::new(&Uci, at);
        let (mut enabled, mut peers_from_network) = (Field::Absent, Field::Absent);
        for setting in &section.settings {
            let mut reader = value::Reader { setting, report: &mut report };
            match &*setting.name {
                "enabled" => enabled = reader.switch("enabled"),
                "interface" => draft.interface = reader.one("interface", InterfaceName::parse),
                "gossip_port" => draft.gossip_port = reader.one("gossip_port", value::port),
                // A value in pieces is wiped by what holds it, one in one piece with the file's text.
                "secret" => {
                    draft.secret = reader.one("secret", |text| Secret::new(Zeroizing::new(text.to_owned())));
                }
                "secret_file" => draft.secret_file = reader.one("secret_file", parse_path),
                "secret_next_file" => draft.secret_next_file = reader.one("secret_next_file", parse_path),
                "secret_previous_file" => {
                    draft.secret_previous_file = reader.one("secret_previous_file", parse_path);
                }
                "persist_file" => draft.persist_file = reader.one("persist_file", parse_path),
                "state_commit" => draft.state_commit = reader.one("state_commit", StateCommit::parse),
                "lan_discovery" => draft.lan_discovery = reader.switch("lan_discovery"),
                "lan_interfaces" => draft.lan_interfaces = reader.patterns("lan_interfaces"),
                "lan_exclude" => draft.lan_exclude = reader.patterns("lan_exclude"),
                "upnp_forward_external_port" => {
                    draft.upnp_forward_external_port = reader.one("upnp_forward_external_port", value::port);
                }
                "peers_from_network" => peers_from_network = reader.switch("peers_from_network"),
                "peers_from_interface" => draft.peers_from_interface = reader.switch("peers_from_interface"),
                _ => unknown(setting, None, &mut report),
            }
        }
        if draft.persist_file.is_absent() {
            let value = Path::new(STATE_FOLDER).join(format!("{name}.state"));
            draft.persist_file = Field::Given(Located { value, at });
        }
        if draft.state_commit.is_absent() {
            draft.state_commit = Field::Given(Located { value: StateCommit::HOURLY, at });
        }
        let (name, directory) = (name.into(), self.directory.into());
        let excluded = Vec::new();
        self.meshes.push(Mesh { name, at, enabled, peers_from_network, draft, excluded, report, directory });
    }

    fn peer(&mut self, section: &Section<'_>) {
        let Some(index) = self.mesh_of(section) else { return };
        let Some(mesh) = self.meshes.get_mut(index) else { return };
        let report = &mut mesh.report;
        let mut peer = PeerDraft::new(section.at);
        let mut enabled = Field::Absent;
        for setting in &section.settings {
            let mut reader = value::Reader { setting, report };
            match &*setting.name {
                "mesh" => {}
                "enabled" => enabled = reader.switch("peer.enabled"),
                "public_key" => peer.key = reader.one("peer.public_key", parse_public_key),
                "address" => peer.address = reader.one("peer.address", parse_mesh_address),
                "endpoint" => {
                    peer.endpoints = reader.all("peer.endpoint", Endpoint::parse).unwrap_or_default()
                }
                "name" => peer.name = reader.one("peer.name", PeerName::parse),
                _ => unknown(setting, Some("peer"), report),
            }
        }
        if let Some(Ok(value)) = section.name.as_deref().map(PeerName::parse)
            && peer.name.is_absent()
        {
            peer.name = Field::Given(Located { value, at: section.at });
        }
        if enabled.given().is_some_and(|enabled| !enabled.value) {
            mesh.excluded.extend(peer.key.given().map(|key| key.value));
        } else {
            mesh.draft.peers.push(peer);
        }
    }

    /// The mesh that a peer belongs to. A peer of none harms no mesh.
    fn mesh_of(&mut self, section: &Section<'_>) -> Option<usize> {
        let no_effect = "and the peer has no effect";
        let Some(setting) = section.get("mesh") else {
            if self.meshes.len() > 1 {
                let what = format!("is missing, {no_effect}: there are {} meshes", self.meshes.len());
                let all: Vec<String> = self.meshes.iter().map(|mesh| uci::quoted(&mesh.name)).collect();
                let fix = format!("add option mesh {}", all.join(" or "));
                self.report.warn(section.at, "peer.mesh", Fault::new(what, fix));
                return None;
            }
            // Where there is no mesh, that is said already.
            return Some(0);
        };
        let Some(Located { value: name, at }) = setting.single() else {
            let what = format!("is a list of several, {no_effect}");
            self.report.warn(
                setting.at,
                "peer.mesh",
                Fault::new(what, "write a config peer section for each mesh"),
            );
            return None;
        };
        let found = self.meshes.iter().position(|mesh| *mesh.name == **name);
        if found.is_none() {
            let what = format!("there is no mesh {}, {no_effect}", quoted(name));
            let known = self.meshes.iter().map(|mesh| &*mesh.name);
            let fix = match nearest(name, known) {
                Some(known) => format!("did you mean {known}?"),
                // What is to be written down stands there as it is, so that it must not hold lines.
                None if name.contains(char::is_control) => "name another".into(),
                None => format!("add config mesh {}, or name another", uci::quoted(name)),
            };
            self.report.warn(*at, "peer.mesh", Fault::new(what, fix));
        }
        found
    }

    fn unknown_section(&mut self, at: Position, kind: &str) {
        let fix = match meant(kind, &SECTION_SYNONYMS, &SECTIONS) {
            Some(known) => format!("did you mean config {known}?"),
            None => "remove it".into(),
        };
        let what = format!("config {} is not known and has no effect", quoted(kind));
        self.report.warn(at, "", Fault::new(what, fix));
    }
}

/// An option that is not known, of a mesh or of the section called `section`.
fn unknown(setting: &Setting<'_>, section: Option<&str>, report: &mut Report) {
    let (here, there) = match section {
        Some(_) => (&PEER_OPTIONS[..], &MESH_OPTIONS[..]),
        None => (&MESH_OPTIONS[..], &PEER_OPTIONS[..]),
    };
    let known = |options| meant(&setting.name, &SYNONYMS, options);
    let fix = match (known(here), known(there)) {
        (Some(known), _) => format!("did you mean {known}?"),
        (None, Some(known)) => {
            format!("{known} belongs in config {}", if section.is_some() { "mesh" } else { "peer" })
        }
        (None, None) => "remove it".into(),
    };
    let name = match section {
        Some(section) => format!("{section}.{}", &*setting.name),
        None => setting.name.to_string(),
    };
    report.warn(setting.at, &name, Fault::new("is not known and has no effect", fix));
}
