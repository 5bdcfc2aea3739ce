//! The configuration: what a node is told by its administrator.
//!
//! *Parse, don't validate*: a [`Config`] that exists is right. It is made by [`load`] from a TOML file, or through a
//! [`Draft`] by another front end; either way everything that is wrong is reported in one go, each finding with its
//! place, the reason and the remedy.
//!
//! # The file
//! The TOML of the original wgautomesh, unchanged:
//!
//! | key | | meaning |
//! |---|---|---|
//! | `interface` | required | the WireGuard interface, which must be there or come later; it is never created |
//! | `gossip_port` | 1666 | UDP port of the gossip inside the mesh, the same on every node |
//! | `gossip_secret` | one of these two | the secret all nodes share |
//! | `gossip_secret_file` | | a file that holds it; line ends at its end are not part of the secret |
//! | `gossip_secret_next_file` | optional | a file with the secret that the mesh changes over to; new here |
//! | `gossip_secret_previous_file` | optional | a file with the secret that it has changed over from; new here |
//! | `persist_file` | optional | where to keep what was learned over a restart; without it nothing is kept |
//! | `state_commit` | optional | seconds that are at least between two writes of it, 600 if not given; new here |
//! | `lan_discovery` | optional | look for peers on the LAN |
//! | `lan_interfaces` | optional | only on these interfaces; new here |
//! | `lan_exclude` | optional | not on these; new here |
//! | `upnp_forward_external_port` | optional | the external port that the router is to forward: PCP, NAT-PMP, UPnP |
//! | `ipv6` | optional | of a fork; IPv6 is always on here |
//! | `metrics_listen` | optional | the address and TCP port at which Prometheus may fetch the metrics; new here |
//! | `peers_from_interface` | optional | the peers of the interface belong to the mesh too; new here |
//! | `[[peers]]` `pubkey` | required | the peer's public key |
//! | `[[peers]]` `address` | required | its address inside the mesh, IPv4 or IPv6 |
//! | `[[peers]]` `endpoint` | optional | where it can be reached: `ip:port`, `[ipv6]:port` or `name:port` |
//! | `[[peers]]` `name` | optional | what people call it; new here |
//!
//! Relative paths are relative to the directory the daemon is started in. Keys that are not known get a warning, as the
//! original ignores them. An entry with the node's own key is allowed: whoever lists every node lists itself; the
//! configuration does not know that key, the daemon does.

#[cfg(feature = "admin")]
mod difference;
mod draft;
mod endpoint;
#[cfg(all(feature = "admin", feature = "toml"))]
mod inspect;
mod report;
#[cfg(feature = "toml")]
mod sample;
mod secret;
mod source;
mod suggest;
mod syntax;
#[cfg(feature = "toml")]
mod toml;
mod values;

#[cfg(all(test, feature = "toml"))]
mod tests;

/// What the fuzz targets need from inside.
#[cfg(all(fuzzing, feature = "toml"))]
#[doc(hidden)]
pub mod fuzzing {
    use super::{Report, toml};

    /// Whether a daemon would start with these bytes.
    pub fn is_accepted(bytes: &[u8]) -> bool {
        let mut report = Report::new("fuzz.toml");
        toml::parse(bytes, &mut report).and_then(|draft| draft.finish(16, &mut report)).is_some()
    }

    /// Does with some bytes what [`super::load`] does with those of a file, and checks what must always hold.
    pub fn check(bytes: &[u8]) {
        let mut report = Report::new("fuzz.toml");
        let config = toml::parse(bytes, &mut report).and_then(|mut draft| {
            // No files are to be opened.
            draft.secret_file = super::Field::Absent;
            draft.finish(16, &mut report)
        });
        report.sort();
        assert_eq!(config.is_some(), !report.has_errors());
        assert!(report.lines().all(|line| !line.contains(['\n', '\u{1b}'])));
    }
}

#[cfg(feature = "admin")]
pub use difference::Difference;
pub use draft::{Draft, Field, PeerDraft};
pub use endpoint::Endpoint;
#[cfg(all(feature = "admin", feature = "toml"))]
pub use inspect::{Inspected, inspect};
pub use report::{Fault, Finding, Located, Position, Report, Severity, quoted};
#[cfg(feature = "toml")]
pub use sample::SAMPLE;
#[cfg(feature = "toml")]
pub(crate) use sample::filled;
pub use secret::{Secret, SecretFile, exposure, read_secret_file};
pub use source::{FileKey, Files, Lines, Source, decode, read_source, read_wiped};
pub use suggest::{meant, nearest};
pub use syntax::{Key, Syntax};
#[cfg(all(test, feature = "toml"))]
pub(crate) use toml::configuration;
#[cfg(feature = "toml")]
pub use toml::{files_of, interface_of, load, load_again};
pub use values::{
    InterfaceName, InterfacePattern, PORT_FIX, PeerName, StateCommit, parse_listen, parse_mesh_address,
    parse_path, parse_port, parse_public_key, port_of, short_key,
};

use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU16;
use std::path::{Path, PathBuf};
use wgautomesh_core::PublicKey;

/// The gossip port where none is given, as in every sample of the original: nodes that name it meet those that do not.
pub const GOSSIP_PORT: NonZeroU16 = NonZeroU16::new(1666).unwrap();

/// A right configuration.
pub struct Config {
    interface: InterfaceName,
    gossip_port: NonZeroU16,
    secret: Secret,
    other_secret: Option<OtherSecret>,
    persist_file: Option<PathBuf>,
    state_commit: StateCommit,
    lan: Option<LanConfig>,
    upnp_forward_external_port: Option<NonZeroU16>,
    metrics_listen: Option<SocketAddr>,
    peers_from_interface: bool,
    peers: Vec<Peer>,
    /// What it was read from.
    #[cfg(feature = "admin")]
    file: Option<PathBuf>,
}

impl Config {
    /// The WireGuard interface of the mesh. Whether it exists is not known here.
    pub fn interface(&self) -> &InterfaceName {
        &self.interface
    }

    /// The UDP port of the gossip inside the mesh.
    pub fn gossip_port(&self) -> NonZeroU16 {
        self.gossip_port
    }

    /// The secret that all nodes share.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The secret that the mesh changes over to, or from.
    pub fn other_secret(&self) -> Option<&OtherSecret> {
        self.other_secret.as_ref()
    }

    /// Where to keep what was learned over a restart; nothing is kept where it is not given.
    pub fn persist_file(&self) -> Option<&Path> {
        self.persist_file.as_deref()
    }

    /// How often that is written at most.
    pub fn state_commit(&self) -> StateCommit {
        self.state_commit
    }

    /// Whether to look for peers on the LAN, and on which interfaces.
    pub fn lan(&self) -> Option<&LanConfig> {
        self.lan.as_ref()
    }

    /// The external port to ask the router for.
    pub fn upnp_forward_external_port(&self) -> Option<NonZeroU16> {
        self.upnp_forward_external_port
    }

    /// Where metrics are given to whoever connects; nowhere where it is not given.
    pub fn metrics_listen(&self) -> Option<SocketAddr> {
        self.metrics_listen
    }

    /// Whether the peers of the interface belong to the mesh, besides those of [`peers`](Self::peers).
    pub fn peers_from_interface(&self) -> bool {
        self.peers_from_interface
    }

    /// The peers: keys and addresses are each unique, and there are no more than the capacity the configuration was
    /// checked against. One of them may be this node itself.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// The file that it was read from, where it can be read again.
    #[cfg(feature = "admin")]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

/// A second secret, while a mesh changes over from one to another: both are accepted then.
pub enum OtherSecret {
    /// The one that comes: who has shown that he has it is sent it.
    Next(Secret),
    /// The one that goes: who has shown no other is still sent it.
    Previous(Secret),
}

/// On which interfaces peers are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LanConfig {
    /// Only on these, whatever they are; on all that look like a LAN where there are none.
    pub interfaces: Vec<InterfacePattern>,
    /// Not on these.
    pub exclude: Vec<InterfacePattern>,
}

impl LanConfig {
    /// Whether an interface is to be used or not; `None` where the names do not tell.
    pub fn names(&self, interface: &str) -> Option<bool> {
        let among = |patterns: &[InterfacePattern]| patterns.iter().any(|p| p.matches(interface));
        if among(&self.exclude) {
            Some(false)
        } else if self.interfaces.is_empty() {
            None
        } else {
            Some(among(&self.interfaces))
        }
    }
}

/// A configured peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    key: PublicKey,
    address: IpAddr,
    endpoints: Vec<Endpoint>,
    name: Option<PeerName>,
}

impl Peer {
    /// Its WireGuard public key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Its address inside the mesh; never an IPv4 address in IPv6 form.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Where it can be reached at first, as far as the administrator knows.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// What people call it.
    pub fn name(&self) -> Option<&PeerName> {
        self.name.as_ref()
    }
}
