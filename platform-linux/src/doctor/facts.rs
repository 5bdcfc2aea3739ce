//! What was read from the system, without a judgement: what `look` fills in and `check` reads.

use core::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use wgautomesh_core::PublicKey;

use super::firewall::Ruleset;
use crate::config::{Finding, short_key};
use crate::control::status::Status;

/// Something that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unseen {
    /// What stood in the way.
    pub(super) why: String,
    /// What to do to have it looked at.
    pub(super) need: String,
}

impl Unseen {
    pub(super) fn new(why: impl Into<String>, need: impl Into<String>) -> Self {
        Self { why: why.into(), need: need.into() }
    }
}

/// What was seen, or why it was not.
pub(super) type Seen<T> = Result<T, Unseen>;

/// Everything that was read.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) config: Configured,
    /// What is about the interface, where it is known which one.
    pub(super) mesh: Option<MeshFacts>,
    pub(super) files: Vec<FileFacts>,
    pub(super) clock: Clock,
    /// The user who asks, and the capabilities of this process.
    pub(super) user: u32,
    pub(super) capabilities: Seen<Capabilities>,
}

/// The configuration.
#[derive(Debug, Clone)]
pub(super) struct Configured {
    /// Its name, as the user gave it.
    pub(super) file: String,
    /// What `check` says of it, each with its place.
    pub(super) said: Vec<(String, Finding)>,
    /// What of it this user may not read, which is not its fault: the whole file, or its secret.
    pub(super) unseen: Option<Unseen>,
    /// What it wants, where it is right.
    pub(super) wanted: Option<Wanted>,
}

/// What a right configuration wants.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) gossip_port: u16,
    /// Those listed, and with `peers_from_interface` those of the interface; this node itself may be among them.
    pub(super) peers: Vec<PeerFacts>,
}

/// A peer of the mesh.
#[derive(Debug, Clone)]
pub(super) struct PeerFacts {
    pub(super) key: PublicKey,
    pub(super) name: Option<String>,
    pub(super) address: IpAddr,
    /// Where what is for its address leaves.
    pub(super) way: Way,
    pub(super) endpoints: Vec<EndpointFacts>,
    /// Names in the configuration that have no address now, with the reason.
    pub(super) unresolved: Vec<(String, String)>,
}

impl PeerFacts {
    /// What people call it.
    pub(super) fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| short_key(&self.key))
    }
}

/// An endpoint of a peer, from the configuration or from WireGuard.
#[derive(Debug, Clone)]
pub(super) struct EndpointFacts {
    pub(super) endpoint: SocketAddr,
    /// The host in the configuration that has this address.
    pub(super) host: Option<String>,
    /// Where WireGuard's packets to it leave.
    pub(super) way: Way,
}

/// Where the kernel sends a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// Out by this link.
    By(Out),
    /// There is no route, or a forbidding one.
    Nowhere,
    /// The kernel was not asked, or gave no answer.
    Unknown,
}

/// A link by which a packet leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Out {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mtu: Option<u32>,
}

/// What is about the interface.
#[derive(Debug, Clone)]
pub(super) struct MeshFacts {
    pub(super) interface: String,
    pub(super) link: Seen<Option<LinkFacts>>,
    pub(super) device: Device,
    /// Whether wg-quick's file for the interface gives it a port; `None` where there is no such file, or it may not be read.
    pub(super) port_is_fixed: Option<bool>,
    pub(super) firewall: Seen<Vec<Ruleset>>,
    pub(super) kernel: Kernel,
    /// UDP ports that are bound in this network namespace.
    pub(super) ports: Seen<Vec<BoundPort>>,
    pub(super) gossip_port: PortFacts,
    /// The daemon of this interface, if one runs.
    pub(super) daemon: Seen<Option<Daemon>>,
}

/// The network link.
#[derive(Debug, Clone)]
pub(super) struct LinkFacts {
    pub(super) index: u32,
    pub(super) up: bool,
    pub(super) mtu: Option<u32>,
    /// Its addresses with their prefix lengths.
    pub(super) addresses: Vec<(IpAddr, u8)>,
}

/// WireGuard on the interface.
#[derive(Debug, Clone)]
pub(super) enum Device {
    Absent,
    NotWireGuard,
    Unseen(Unseen),
    There(Tunnel),
}

/// A WireGuard interface.
#[derive(Debug, Clone)]
pub(super) struct Tunnel {
    /// `None` where it has no private key.
    pub(super) key: Option<PublicKey>,
    pub(super) listen_port: u16,
    pub(super) fwmark: u32,
    pub(super) peers: Vec<TunnelPeer>,
}

/// A peer that WireGuard has.
#[derive(Debug, Clone)]
pub(super) struct TunnelPeer {
    pub(super) key: PublicKey,
    /// Where it sends to now.
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) allowed_ips: Vec<(IpAddr, u8)>,
}

impl Device {
    /// The WireGuard interface, where it could be read.
    pub(super) fn tunnel(&self) -> Option<&Tunnel> {
        match self {
            Self::There(tunnel) => Some(tunnel),
            _ => None,
        }
    }
}

impl MeshFacts {
    /// The WireGuard interface, where it could be read.
    pub(super) fn tunnel(&self) -> Option<&Tunnel> {
        self.device.tunnel()
    }

    /// The link, where there is one that may be WireGuard's: of any other nothing is to be said but that.
    pub(super) fn there(&self) -> Option<&LinkFacts> {
        let may_be = !matches!(self.device, Device::Absent | Device::NotWireGuard);
        self.link.as_ref().ok().and_then(Option::as_ref).filter(|_| may_be)
    }

    /// The daemon, where one is known to run.
    pub(super) fn running(&self) -> Option<&Daemon> {
        self.daemon.as_ref().ok().and_then(Option::as_ref)
    }
}

impl Facts {
    /// The peers but for this node itself.
    pub(super) fn others(&self) -> impl Iterator<Item = &PeerFacts> {
        let own = self.mesh.as_ref().and_then(MeshFacts::tunnel).and_then(|tunnel| tunnel.key);
        let peers = self.config.wanted.iter().flat_map(|wanted| &wanted.peers);
        peers.filter(move |peer| Some(peer.key) != own)
    }
}

/// Settings of the kernel: `None` where this kernel has no such setting.
#[derive(Debug, Clone, Default)]
pub(super) struct Kernel {
    /// `net.ipv4.conf.{all,INTERFACE}.rp_filter`, the larger of which counts.
    pub(super) rp_filter: Option<u32>,
    /// The same of the links that WireGuard's packets come in by, with their names.
    pub(super) underlay_rp_filter: Vec<(String, u32)>,
    /// `net.ipv4.conf.{all,LINK}.src_valid_mark`, the larger of the first and any link's of the underlay.
    pub(super) src_valid_mark: Option<u32>,
    /// `net.netfilter.nf_conntrack_udp_timeout_stream`, in seconds.
    pub(super) udp_timeout_stream: Option<u32>,
}

/// A UDP port that is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BoundPort {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// 0 for a socket of the kernel, as its WireGuard has.
    pub(super) inode: u64,
    /// Whose it is, as far as can be seen.
    pub(super) program: Option<String>,
}

/// Whether the gossip port can be bound on the interface, as the daemon does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PortFacts {
    /// It can.
    Free,
    /// Somebody has it.
    Taken,
    /// It was not tried: there is no interface, or the daemon itself has it.
    NotTried,
    /// It cannot, for another reason.
    Unseen(Unseen),
}

/// A running daemon.
#[derive(Debug, Clone)]
pub(super) struct Daemon {
    pub(super) status: Status,
    pub(super) user: u32,
    pub(super) capabilities: Seen<Capabilities>,
}

/// The effective capabilities of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capabilities(pub(super) u64);

impl Capabilities {
    const NET_ADMIN: u32 = 12;
    const NET_RAW: u32 = 13;

    pub(super) fn net_admin(self) -> bool {
        self.0 >> Self::NET_ADMIN & 1 == 1
    }

    pub(super) fn net_raw(self) -> bool {
        self.0 >> Self::NET_RAW & 1 == 1
    }
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Config,
    Secret,
    Persist,
    /// The directory that the persist file is in.
    PersistFolder,
    /// The directory of the control sockets.
    ControlFolder,
}

/// A file, or a directory.
#[derive(Debug, Clone)]
pub(super) struct FileFacts {
    pub(super) purpose: Purpose,
    pub(super) path: PathBuf,
    /// `None` where there is nothing.
    pub(super) state: Seen<Option<FileState>>,
}

/// Whose a file is, and who may do what with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileState {
    pub(super) kind: Kind,
    /// The permission bits.
    pub(super) mode: u32,
    pub(super) owner: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Other,
}

/// The wall clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clock {
    /// Seconds since 1970; negative before.
    pub(super) unix: i64,
    /// Whether the kernel says that something keeps it right.
    pub(super) synchronised: Seen<bool>,
}
