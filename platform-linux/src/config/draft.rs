//! From values that are each right to a configuration that is right as a whole.
//!
//! A [`Draft`] is what a front end (TOML here, UCI on a router) fills in with what it could read, each value with its
//! place. [`Draft::finish`] checks what only shows between values: what is missing, what is there twice, what
//! contradicts. It knows no file format.

use super::report::{Fault, Located, Position, Report, quoted};
use super::secret::{Secret, read_secret_file};
use super::values::{InterfaceName, InterfacePattern, PeerName, StateCommit, short_key};
use super::{Config, Endpoint, LanConfig, Peer};
use core::hash::Hash;
use core::net::IpAddr;
use core::num::NonZeroU16;
use std::collections::HashMap;
use std::path::PathBuf;
use wgautomesh_core::PublicKey;

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

    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    fn into_value(self) -> Option<T> {
        match self {
            Self::Given(located) => Some(located.value),
            Self::Absent | Self::Refused => None,
        }
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
    /// `endpoint`
    pub endpoint: Field<Endpoint>,
    /// `name`
    pub name: Field<PeerName>,
}

impl PeerDraft {
    /// An entry of which nothing has been read yet.
    pub fn new(at: Position) -> Self {
        Self { at, key: Field::Absent, address: Field::Absent, endpoint: Field::Absent, name: Field::Absent }
    }
}

/// A configuration as far as it could be read.
#[derive(Default)]
pub struct Draft {
    /// `interface`
    pub interface: Field<InterfaceName>,
    /// `gossip_port`
    pub gossip_port: Field<NonZeroU16>,
    /// `gossip_secret`
    pub secret: Field<Secret>,
    /// `gossip_secret_file`
    pub secret_file: Field<PathBuf>,
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
    /// `peers_from_interface`
    pub peers_from_interface: Field<bool>,
    /// `ipv6`, of a fork: IPv6 is always on here.
    pub ipv6: Field<bool>,
    /// `[[peers]]`, in the order of the file.
    pub peers: Vec<PeerDraft>,
}

const SECRET_FIX: &str = "run `wgautomesh genkey`, put the same line into a file on every node (mode 600) and name it \
                          in gossip_secret_file";

impl Draft {
    /// Checks the whole, reads the secret file, and makes the configuration if there is no error in `report` by then.
    ///
    /// `capacity` is the largest number of peers this binary can hold.
    pub fn finish(mut self, capacity: usize, report: &mut Report) -> Option<Config> {
        self.check_required(report);
        let secret = self.take_secret(report);
        self.note_inactive(report);
        self.check_lan(report);
        self.check_peers(capacity, report);
        if report.has_errors() {
            return None;
        }
        // With no error reported, nothing required is missing: each absence above was an error.
        Some(Config {
            interface: self.interface.into_value()?,
            gossip_port: self.gossip_port.into_value()?,
            secret: secret?,
            persist_file: self.persist_file.into_value(),
            state_commit: self.state_commit.into_value().unwrap_or_default(),
            lan: self.lan_discovery.into_value().unwrap_or(false).then_some(LanConfig {
                interfaces: self.lan_interfaces.into_value().unwrap_or_default(),
                exclude: self.lan_exclude.into_value().unwrap_or_default(),
            }),
            upnp_forward_external_port: self.upnp_forward_external_port.into_value(),
            peers_from_interface: self.peers_from_interface.into_value().unwrap_or(false),
            peers: self.peers.into_iter().map(finish_peer).collect::<Option<_>>()?,
        })
    }

    fn check_required(&self, report: &mut Report) {
        if self.interface.is_absent() {
            let what = "is missing: without it there is no tunnel to speak in";
            let fix = "add interface = \"wg0\", the name of the WireGuard interface of the mesh";
            report.error(Position::START, "interface", Fault::new(what, fix));
        }
        if self.gossip_port.is_absent() {
            let what = "is missing: the nodes need one common port to talk to each other inside the mesh";
            let fix = "add gossip_port = 1666, or the port that the other nodes have";
            report.error(Position::START, "gossip_port", Fault::new(what, fix));
        }
    }

    fn take_secret(&mut self, report: &mut Report) -> Option<Secret> {
        let (inline, file) = (core::mem::take(&mut self.secret), core::mem::take(&mut self.secret_file));
        if !inline.is_absent()
            && let Field::Given(Located { at, .. }) = &file
        {
            let what = "is given beside gossip_secret, and it is not clear which of the two holds";
            report.error(*at, "gossip_secret_file", Fault::new(what, "remove one of them"));
            return None;
        }
        match (inline, file) {
            (Field::Given(Located { value, at }), _) => {
                if let Some(caution) = value.caution(false) {
                    report.warn(at, "gossip_secret", caution);
                }
                Some(value)
            }
            (Field::Absent, Field::Given(Located { value: path, at })) => match read_secret_file(&path) {
                Ok(read) => {
                    let cautions = [read.exposed, read.secret.caution(true)];
                    for caution in cautions.into_iter().flatten() {
                        report.warn(at, "gossip_secret_file", caution);
                    }
                    Some(read.secret)
                }
                Err(fault) => {
                    report.error(at, "gossip_secret_file", fault);
                    None
                }
            },
            (Field::Absent, Field::Absent) => {
                let what = "neither gossip_secret nor gossip_secret_file is given: without a secret anyone could speak \
                            for this mesh";
                report.error(Position::START, "gossip_secret", Fault::new(what, SECRET_FIX));
                None
            }
            (Field::Refused, _) | (_, Field::Refused) => None,
        }
    }

    /// What is accepted and does nothing in this version.
    fn note_inactive(&self, report: &mut Report) {
        #[cfg(not(feature = "portmap"))]
        if let Field::Given(Located { value: port, at }) = self.upnp_forward_external_port {
            let what = "is accepted but not part of this build: no port is opened on the router";
            let fix =
                format!("forward UDP port {port} there by hand if this node is to be reached from outside");
            report.note(at, "upnp_forward_external_port", Fault::new(what, fix));
        }
        if let Field::Given(Located { at, .. }) = self.state_commit
            && self.persist_file.is_absent()
        {
            let what = "has no effect while nothing is kept over a restart";
            report.warn(at, "state_commit", Fault::new(what, "add persist_file, or remove it"));
        }
        if let Field::Given(Located { value: false, at }) = self.ipv6 {
            let what = "has no effect: IPv4 and IPv6 are both used wherever the host has them";
            report.note(at, "ipv6", Fault::new(what, "remove it"));
        }
    }

    fn check_lan(&self, report: &mut Report) {
        let on = !matches!(self.lan_discovery, Field::Absent | Field::Given(Located { value: false, .. }));
        let keys = [("lan_interfaces", &self.lan_interfaces), ("lan_exclude", &self.lan_exclude)];
        for (key, list) in keys {
            let Field::Given(Located { at, value }) = list else { continue };
            if !on {
                let fix = "add lan_discovery = true, or remove it";
                report.warn(
                    *at,
                    key,
                    Fault::new("has no effect while peers are not looked for on the LAN", fix),
                );
            }
            if key == "lan_interfaces" && value.is_empty() {
                let fix = "name interfaces; or remove it, and peers are looked for on every LAN";
                report.error(*at, key, Fault::new("is empty: peers would be looked for nowhere", fix));
            }
        }
        let Some(Located { at, value: named }) = self.lan_interfaces.given() else { return };
        if let Some(mesh) = self
            .interface
            .given()
            .filter(|mesh| named.iter().any(|pattern| pattern.to_string() == mesh.value.as_str()))
        {
            let what = format!("{} is the mesh itself, not a LAN", quoted(mesh.value.as_str()));
            report.error(*at, "lan_interfaces", Fault::new(what, "name the interface that the LAN is on"));
        }
        let excluded = self.lan_exclude.given().map(|list| &list.value[..]).unwrap_or_default();
        if let Some(both) = named.iter().find(|pattern| excluded.contains(pattern)) {
            let what = format!("{} is in lan_exclude too", quoted(&both.to_string()));
            report.error(*at, "lan_interfaces", Fault::new(what, "keep it in one of the two"));
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
            let fix = "add a [[peers]] entry with pubkey and address for every other node, or peers_from_interface = true";
            report.warn(Position::START, "peers", Fault::new(what, fix));
        }
        if let Some(first_too_many) = self.peers.get(capacity) {
            let what = format!(
                "there are {} peers, this build holds {capacity}; this entry is the first too many",
                self.peers.len()
            );
            let fix = format!("remove {} of them", self.peers.len() - capacity);
            report.error(first_too_many.at, "peers", Fault::new(what, fix));
        }
        for peer in &self.peers {
            if peer.key.is_absent() {
                let fix = "add pubkey = \"...\", what `wg show INTERFACE public-key` prints on that node";
                report.error(peer.at, "peers.pubkey", Fault::new("is missing from this peer", fix));
            }
            if peer.address.is_absent() {
                let fix = "add address = \"...\", the node's own address inside the mesh";
                report.error(peer.at, "peers.address", Fault::new("is missing from this peer", fix));
            }
        }
        self.check_duplicates(report);
        self.check_endpoints(report);
    }

    fn check_duplicates(&self, report: &mut Report) {
        for (at, first, key) in repeated(self.peers.iter().map(|peer| &peer.key)) {
            let what = format!("{}... is also the key of the peer at line {}", short_key(key), first.line);
            let fix = "remove one of the two entries, or give each node its own key";
            report.error(at, "peers.pubkey", Fault::new(what, fix));
        }
        for (at, first, address) in repeated(self.peers.iter().map(|peer| &peer.address)) {
            let what = format!(
                "{address} is also the address of the peer at line {}: WireGuard sends to only one of them",
                first.line
            );
            report.error(
                at,
                "peers.address",
                Fault::new(what, "give each peer its own address inside the mesh"),
            );
        }
        for (at, first, endpoint) in repeated(self.peers.iter().map(|peer| &peer.endpoint)) {
            let what = format!(
                "\"{endpoint}\" is also the endpoint of the peer at line {}: only one WireGuard can listen there",
                first.line
            );
            let fix = "give each its own port, or leave the key out for the one that has no port of its own";
            report.warn(at, "peers.endpoint", Fault::new(what, fix));
        }
        for (at, first, name) in repeated(self.peers.iter().map(|peer| &peer.name)) {
            let what =
                format!("{} is also the name of the peer at line {}", quoted(name.as_str()), first.line);
            report.warn(at, "peers.name", Fault::new(what, "give each peer a name of its own"));
        }
    }

    fn check_endpoints(&self, report: &mut Report) {
        let inside: HashMap<IpAddr, Position> =
            self.peers.iter().filter_map(|peer| peer.address.given()).map(|a| (a.value, a.at)).collect();
        for Located { value: endpoint, at } in self.peers.iter().filter_map(|peer| peer.endpoint.given()) {
            if let Some(caution) = endpoint.caution() {
                report.warn(*at, "peers.endpoint", caution);
            }
            if let Endpoint::Address(address) = endpoint
                && let Some(peer) = inside.get(&address.ip())
            {
                let what = format!(
                    "\"{endpoint}\" is inside the mesh (the address of the peer at line {}): the tunnel would be \
                     sent into itself",
                    peer.line
                );
                let fix = "give the address the peer has on the internet or on the LAN, or leave the key out";
                report.warn(*at, "peers.endpoint", Fault::new(what, fix));
            }
        }
    }
}

/// Values given more than once: where again, where first, and the value.
fn repeated<'a, T: Eq + Hash>(
    fields: impl Iterator<Item = &'a Field<T>>,
) -> Vec<(Position, Position, &'a T)> {
    let mut first: HashMap<&T, Position> = HashMap::new();
    let mut again = Vec::new();
    for Located { value, at } in fields.filter_map(Field::given) {
        match first.get(value) {
            Some(&before) => again.push((*at, before, value)),
            None => {
                first.insert(value, *at);
            }
        }
    }
    again
}

fn finish_peer(draft: PeerDraft) -> Option<Peer> {
    Some(Peer {
        key: draft.key.into_value()?,
        address: draft.address.into_value()?,
        endpoint: draft.endpoint.into_value(),
        name: draft.name.into_value(),
    })
}
