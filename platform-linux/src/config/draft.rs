//! From values that are each right to a configuration that is right as a whole.
//!
//! A [`Draft`] is what a front end (TOML here, UCI on a router) fills in with what it could read, each value with its
//! place. [`Draft::finish`] checks what only shows between values: what is missing, what is there twice, what
//! contradicts. It knows no file format.

use super::report::{Fault, Located, Position, Report, quoted};
use super::secret::{Secret, read_secret_file};
use super::source::{FileKey, Files};
use super::syntax::{Key, Syntax};
use super::values::{InterfaceName, InterfacePattern, PeerName, StateCommit, short_key};
use super::{Config, Endpoint, GOSSIP_PORT, LanConfig, OtherSecret, Peer};
use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU16;
use std::path::PathBuf;
use wgautomesh_core::{PublicKey, limits::MAX_CONFIGURED_ENDPOINTS};

/// What a front end found of one key.
#[derive(Debug, Default)]
pub enum Field<T> {
    /// The key is not there.
    #[default]
    Absent,
    /// It is there, was refused, and has been reported: nothing more is to be said about it.
    Refused,
    /// A right value.
    Given(Located<T>),
}

impl<T> Field<T> {
    /// The value and its place, if there is a right one.
    pub fn given(&self) -> Option<&Located<T>> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Refused => None,
        }
    }

    /// What came of reading a value: one that is wrong is reported.
    pub fn read(key: &str, at: Position, parsed: Result<T, Fault>, report: &mut Report) -> Self {
        match parsed {
            Ok(value) => Self::Given(Located { value, at }),
            Err(fault) => {
                report.error(at, key, fault);
                Self::Refused
            }
        }
    }

    /// Whether nothing was said about the key.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// As [`given`](Self::given), taken out.
    pub fn into_located(self) -> Option<Located<T>> {
        match self {
            Self::Given(located) => Some(located),
            Self::Absent | Self::Refused => None,
        }
    }

    fn into_value(self) -> Option<T> {
        self.into_located().map(|located| located.value)
    }
}

/// One peer as far as it could be read.
#[derive(Debug)]
pub struct PeerDraft {
    /// Where its entry begins.
    pub at: Position,
    /// `pubkey`
    pub key: Field<PublicKey>,
    /// `address`
    pub address: Field<IpAddr>,
    /// `endpoint`; none where it is absent, and where it was refused.
    pub endpoints: Vec<Located<Endpoint>>,
    /// `name`
    pub name: Field<PeerName>,
}

impl PeerDraft {
    /// An entry of which nothing has been read yet.
    pub fn new(at: Position) -> Self {
        Self { at, key: Field::Absent, address: Field::Absent, endpoints: Vec::new(), name: Field::Absent }
    }
}

/// A configuration as far as it could be read. The fields are called as the keys of the TOML file are.
pub struct Draft {
    /// What the front end calls things.
    pub syntax: &'static dyn Syntax,
    /// Where the configuration begins: where a finding about something absent is put.
    pub at: Position,
    /// Where the files that it names are read from.
    pub files: Files,
    /// `interface`
    pub interface: Field<InterfaceName>,
    /// `gossip_port`
    pub gossip_port: Field<NonZeroU16>,
    /// `gossip_secret`
    pub secret: Field<Secret>,
    /// `gossip_secret_file`
    pub secret_file: Field<PathBuf>,
    /// `gossip_secret_next_file`
    pub secret_next_file: Field<PathBuf>,
    /// `gossip_secret_previous_file`
    pub secret_previous_file: Field<PathBuf>,
    /// `persist_file`
    pub persist_file: Field<PathBuf>,
    /// `state_commit`; a front end for machines with little flash fills in a longer one where it is absent.
    pub state_commit: Field<StateCommit>,
    /// `lan_discovery`
    pub lan_discovery: Field<bool>,
    /// `lan_interfaces`
    pub lan_interfaces: Field<Vec<InterfacePattern>>,
    /// `lan_exclude`
    pub lan_exclude: Field<Vec<InterfacePattern>>,
    /// `upnp_forward_external_port`
    pub upnp_forward_external_port: Field<NonZeroU16>,
    /// `metrics_listen`
    pub metrics_listen: Field<SocketAddr>,
    /// `peers_from_interface`
    pub peers_from_interface: Field<bool>,
    /// `ipv6`, of a fork: IPv6 is always on here.
    pub ipv6: Field<bool>,
    /// `[[peers]]`, in the order of the file.
    pub peers: Vec<PeerDraft>,
}

impl Draft {
    /// A configuration of which nothing has been read yet.
    pub fn new(syntax: &'static dyn Syntax, at: Position) -> Self {
        Self {
            syntax,
            at,
            files: Files::Prepared,
            interface: Field::Absent,
            gossip_port: Field::Absent,
            secret: Field::Absent,
            secret_file: Field::Absent,
            secret_next_file: Field::Absent,
            secret_previous_file: Field::Absent,
            persist_file: Field::Absent,
            state_commit: Field::Absent,
            lan_discovery: Field::Absent,
            lan_interfaces: Field::Absent,
            lan_exclude: Field::Absent,
            upnp_forward_external_port: Field::Absent,
            metrics_listen: Field::Absent,
            peers_from_interface: Field::Absent,
            ipv6: Field::Absent,
            peers: Vec::new(),
        }
    }

    /// Checks the whole, reads the secret file, and makes the configuration if there is no error in `report` by then.
    ///
    /// `capacity` is the largest number of peers this binary can hold.
    pub fn finish(mut self, capacity: usize, report: &mut Report) -> Option<Config> {
        self.check_required(report);
        let secret = self.take_secret(report);
        let other_secret = self.take_other_secret(secret.as_ref(), report);
        self.note_inactive(report);
        self.check_lan(report);
        #[cfg(feature = "admin")]
        self.check_metrics(report);
        self.check_peers(capacity, report);
        if report.has_errors() {
            return None;
        }
        // With no error reported, nothing required is missing: each absence above was an error.
        Some(Config {
            interface: self.interface.into_value()?,
            gossip_port: self.gossip_port.into_value().unwrap_or(GOSSIP_PORT),
            secret: secret?,
            other_secret,
            persist_file: self.persist_file.into_value(),
            state_commit: self.state_commit.into_value().unwrap_or_default(),
            lan: self.lan_discovery.into_value().unwrap_or(false).then_some(LanConfig {
                interfaces: self.lan_interfaces.into_value().unwrap_or_default(),
                exclude: self.lan_exclude.into_value().unwrap_or_default(),
            }),
            upnp_forward_external_port: self.upnp_forward_external_port.into_value(),
            metrics_listen: self.metrics_listen.into_value(),
            peers_from_interface: self.peers_from_interface.into_value().unwrap_or(false),
            peers: self.peers.into_iter().map(finish_peer).collect::<Option<_>>()?,
            #[cfg(feature = "admin")]
            file: None,
        })
    }

    fn check_required(&self, report: &mut Report) {
        if self.interface.is_absent() {
            let what = "is missing: without it there is no tunnel to speak in";
            let add = self.syntax.set(Key::Interface, "wg0");
            let fix = format!("add {add}, the name of the WireGuard interface of the mesh");
            report.error(self.at, self.name(Key::Interface), Fault::new(what, fix));
        }
    }

    fn take_secret(&mut self, report: &mut Report) -> Option<Secret> {
        let (secret, secret_file) = (self.name(Key::Secret), self.name(Key::SecretFile));
        let (inline, file) = (core::mem::take(&mut self.secret), core::mem::take(&mut self.secret_file));
        if !inline.is_absent()
            && let Field::Given(Located { at, .. }) = &file
        {
            let what = format!("is given beside {secret}, and it is not clear which of the two holds");
            report.error(*at, secret_file, Fault::new(what, "remove one of them"));
            return None;
        }
        match (inline, file) {
            (Field::Given(Located { value, at }), _) => {
                if let Some(caution) = value.caution(false) {
                    report.warn(at, secret, caution);
                }
                Some(value)
            }
            (Field::Absent, Field::Given(path)) => {
                self.read_secret(FileKey::Secret, Key::SecretFile, &path, report)
            }
            (Field::Absent, Field::Absent) => {
                let what = format!(
                    "neither {secret} nor {secret_file} is given: without a secret anyone could speak for this mesh"
                );
                let fix = format!(
                    "run `wgautomesh genkey`, put the same line into a file on every node (mode 600) and name it in \
                     {secret_file}"
                );
                report.error(self.at, secret, Fault::new(what, fix));
                None
            }
            (Field::Refused, _) | (_, Field::Refused) => None,
        }
    }

    fn read_secret(
        &self,
        file: FileKey,
        key: Key,
        path: &Located<PathBuf>,
        report: &mut Report,
    ) -> Option<Secret> {
        match read_secret_file(&self.files, file, &path.value) {
            Ok(read) => {
                let cautions = [read.exposed, read.secret.caution(true)];
                for caution in cautions.into_iter().flatten() {
                    report.warn(path.at, self.name(key), caution);
                }
                Some(read.secret)
            }
            Err(fault) => {
                report.error(path.at, self.name(key), fault);
                None
            }
        }
    }

    /// The secret that the mesh changes over to, or from.
    fn take_other_secret(&mut self, present: Option<&Secret>, report: &mut Report) -> Option<OtherSecret> {
        let next = core::mem::take(&mut self.secret_next_file).into_located();
        let previous = core::mem::take(&mut self.secret_previous_file).into_located();
        let (key, file, path) = match (next, previous) {
            (Some(_), Some(previous)) => {
                let what = format!(
                    "is given beside {}: a mesh has two secrets at most",
                    self.name(Key::SecretNextFile)
                );
                let fix = "first change over everywhere from the one to the other, then to the next";
                report.error(previous.at, self.name(Key::SecretPreviousFile), Fault::new(what, fix));
                return None;
            }
            (Some(next), None) => (Key::SecretNextFile, FileKey::SecretNext, next),
            (None, Some(previous)) => (Key::SecretPreviousFile, FileKey::SecretPrevious, previous),
            (None, None) => return None,
        };
        let other = self.read_secret(file, key, &path, report)?;
        if let Some(present) = present
            && !other.key().is_told_from(&present.key())
        {
            let what = if other.is(present) {
                "holds the present secret"
            } else {
                "and the present secret cannot be told apart by one byte of their hashes, as it happens with one of 256"
            };
            let fix = "put there what `wgautomesh genkey` prints, the same on every node";
            report.error(path.at, self.name(key), Fault::new(what, fix));
            return None;
        }
        Some(if key == Key::SecretNextFile { OtherSecret::Next(other) } else { OtherSecret::Previous(other) })
    }

    /// What is accepted and does nothing in this version.
    fn note_inactive(&self, report: &mut Report) {
        #[cfg(not(feature = "portmap"))]
        if let Field::Given(Located { value: port, at }) = self.upnp_forward_external_port {
            let what = "is accepted but not part of this build: no port is opened on the router";
            let fix =
                format!("forward UDP port {port} there by hand if this node is to be reached from outside");
            report.note(at, self.name(Key::UpnpForwardExternalPort), Fault::new(what, fix));
        }
        if let Field::Given(Located { at, .. }) = self.state_commit
            && self.persist_file.is_absent()
        {
            let what = "has no effect while nothing is kept over a restart";
            let fix = format!("add {}, or remove it", self.name(Key::PersistFile));
            report.warn(at, self.name(Key::StateCommit), Fault::new(what, fix));
        }
        if let Field::Given(Located { value: false, at }) = self.ipv6 {
            let what = "has no effect: IPv4 and IPv6 are both used wherever the host has them";
            report.note(at, self.name(Key::Ipv6), Fault::new(what, "remove it"));
        }
    }

    fn check_lan(&self, report: &mut Report) {
        let on = !matches!(self.lan_discovery, Field::Absent | Field::Given(Located { value: false, .. }));
        let keys = [(Key::LanInterfaces, &self.lan_interfaces), (Key::LanExclude, &self.lan_exclude)];
        for (key, list) in keys {
            let Field::Given(Located { at, value }) = list else { continue };
            if !on {
                let what = "has no effect while peers are not looked for on the LAN";
                let fix = format!("add {}, or remove it", self.syntax.switch_on(Key::LanDiscovery));
                report.warn(*at, self.name(key), Fault::new(what, fix));
            }
            if key == Key::LanInterfaces && value.is_empty() {
                let fix = "name interfaces; or remove it, and peers are looked for on every LAN";
                report.error(
                    *at,
                    self.name(key),
                    Fault::new("is empty: peers would be looked for nowhere", fix),
                );
            }
        }
        let Some(Located { at, value: named }) = self.lan_interfaces.given() else { return };
        let key = self.name(Key::LanInterfaces);
        if let Some(mesh) = self
            .interface
            .given()
            .filter(|mesh| named.iter().any(|pattern| pattern.to_string() == mesh.value.as_str()))
        {
            let what = format!("{} is the mesh itself, not a LAN", quoted(mesh.value.as_str()));
            report.error(*at, key, Fault::new(what, "name the interface that the LAN is on"));
        }
        let excluded = self.lan_exclude.given().map(|list| &list.value[..]).unwrap_or_default();
        if let Some(both) = named.iter().find(|pattern| excluded.contains(pattern)) {
            let what = format!("{} is in {} too", quoted(&both.to_string()), self.name(Key::LanExclude));
            report.error(*at, key, Fault::new(what, "keep it in one of the two"));
        }
    }

    #[cfg(feature = "admin")]
    fn check_metrics(&self, report: &mut Report) {
        if let Some(Located { value, at }) =
            self.metrics_listen.given().filter(|l| l.value.ip().is_unspecified())
        {
            let what = format!(
                "\"{value}\" is every address of this host: whoever can connect to any of them reads who is in the mesh"
            );
            let fix = format!(
                "name the address that Prometheus comes to, \"127.0.0.1:{0}\" or this node's in the mesh for instance",
                value.port()
            );
            report.warn(*at, self.name(Key::MetricsListen), Fault::new(what, fix));
        }
    }

    fn check_peers(&self, capacity: usize, report: &mut Report) {
        // One that was refused would have given some.
        let from_interface = match &self.peers_from_interface {
            Field::Given(Located { value, .. }) => *value,
            Field::Absent => false,
            Field::Refused => true,
        };
        if self.peers.is_empty() && !from_interface {
            let what = "there is no peer, so there is nothing to mesh";
            report.warn(self.at, self.name(Key::Peers), Fault::new(what, self.syntax.add_peers()));
        }
        if let Some(first_too_many) = self.peers.get(capacity) {
            let what = format!(
                "there are {} peers, this build holds {capacity}; this entry is the first too many",
                self.peers.len()
            );
            let fix = format!("remove {} of them", self.peers.len() - capacity);
            report.error(first_too_many.at, self.name(Key::Peers), Fault::new(what, fix));
        }
        for peer in &self.peers {
            if peer.key.is_absent() {
                let add = self.syntax.set(Key::PeerKey, "...");
                let fix = format!("add {add}, what `wg show INTERFACE public-key` prints on that node");
                report.error(peer.at, self.name(Key::PeerKey), Fault::new("is missing from this peer", fix));
            }
            if peer.address.is_absent() {
                let add = self.syntax.set(Key::PeerAddress, "...");
                let fix = format!("add {add}, the node's own address inside the mesh");
                report.error(
                    peer.at,
                    self.name(Key::PeerAddress),
                    Fault::new("is missing from this peer", fix),
                );
            }
        }
        self.check_duplicates(report);
        self.check_endpoints(report);
    }

    fn check_duplicates(&self, report: &mut Report) {
        let peers = || self.peers.iter();
        for (at, first, key) in repeated(peers().filter_map(|peer| peer.key.given())) {
            let first = report.place(first, at);
            let what = format!("{}... is also the key of the peer at {first}", short_key(key));
            let fix = "remove one of the two entries, or give each node its own key";
            report.error(at, self.name(Key::PeerKey), Fault::new(what, fix));
        }
        for (at, first, address) in repeated(peers().filter_map(|peer| peer.address.given())) {
            let first = report.place(first, at);
            let what = format!(
                "{address} is also the address of the peer at {first}: WireGuard sends to only one of them"
            );
            let fix = "give each peer its own address inside the mesh";
            report.error(at, self.name(Key::PeerAddress), Fault::new(what, fix));
        }
        for (at, first, name) in repeated(peers().filter_map(|peer| peer.name.given())) {
            let first = report.place(first, at);
            let what = format!("{} is also the name of the peer at {first}", quoted(name.as_str()));
            report.warn(at, self.name(Key::PeerName), Fault::new(what, "give each peer a name of its own"));
        }
    }

    fn check_endpoints(&self, report: &mut Report) {
        let key = self.name(Key::PeerEndpoint);
        let all = || self.peers.iter().flat_map(|peer| &peer.endpoints);
        // One that is there twice for the same peer does no harm.
        let once = self.peers.iter().flat_map(|peer| {
            let all = peer.endpoints.iter().enumerate();
            all.filter(|(index, one)| {
                peer.endpoints.iter().take(*index).all(|other| other.value != one.value)
            })
        });
        for (at, first, endpoint) in repeated(once.map(|(_, one)| one)) {
            let first = report.place(first, at);
            let what = format!(
                "\"{endpoint}\" is also the endpoint of the peer at {first}: only one WireGuard can listen there"
            );
            let fix = "give each its own port, or leave it out for the one that has no port of its own";
            report.warn(at, key, Fault::new(what, fix));
        }
        for one_too_many in self.peers.iter().filter_map(|peer| peer.endpoints.get(MAX_CONFIGURED_ENDPOINTS))
        {
            let what = format!("is one too many: {MAX_CONFIGURED_ENDPOINTS} are used of each peer");
            report.warn(
                one_too_many.at,
                key,
                Fault::new(what, "keep those that are the most likely to work"),
            );
        }
        let inside: Vec<&Located<IpAddr>> =
            self.peers.iter().filter_map(|peer| peer.address.given()).collect();
        for Located { value: endpoint, at } in all() {
            if let Some(caution) = endpoint.caution() {
                report.warn(*at, key, caution);
            }
            if let Endpoint::Address(address) = endpoint
                && let Some(peer) = inside.iter().find(|peer| peer.value == address.ip())
            {
                let peer = report.place(peer.at, *at);
                let what = format!(
                    "\"{endpoint}\" is inside the mesh (the address of the peer at {peer}): the tunnel would be sent \
                     into itself"
                );
                let fix = "give the address the peer has on the internet or on the LAN, or leave it out";
                report.warn(*at, key, Fault::new(what, fix));
            }
        }
    }

    fn name(&self, key: Key) -> &'static str {
        self.syntax.name(key)
    }
}

/// Values given more than once: where again, where first, and the value.
///
/// They are looked for one by one: a thousand peers are few, and a hash map of each kind of value is 2 kB on a router.
fn repeated<'a, T: Eq>(values: impl Iterator<Item = &'a Located<T>>) -> Vec<(Position, Position, &'a T)> {
    let mut first: Vec<&Located<T>> = Vec::new();
    let mut again = Vec::new();
    for located in values {
        match first.iter().find(|before| before.value == located.value) {
            Some(before) => again.push((located.at, before.at, &located.value)),
            None => first.push(located),
        }
    }
    again
}

fn finish_peer(draft: PeerDraft) -> Option<Peer> {
    Some(Peer {
        key: draft.key.into_value()?,
        address: draft.address.into_value()?,
        endpoints: draft.endpoints.into_iter().map(|endpoint| endpoint.value).collect(),
        name: draft.name.into_value(),
    })
}
