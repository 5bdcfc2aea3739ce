//! The WireGuard interface: reading its peers and changing them, by the kernel's netlink or a userspace socket.
//!
//! This is an adapter and holds no policy: what to change comes from the engine. It never creates an interface, never
//! starts a program, and never touches a peer, a preshared key, an allowed IP or an fwmark it was not told to.
//!
//! Reading the kernel is `wireguard-control`'s, and its [`PeerInfo`] is the peer of every backend. The rest is done beside
//! it, each for a reason:
//! - *Reading again*: an interface that was read once is read every few seconds, which with it costs a router more than all
//!   the rest of a quiet mesh. `dump` brings the same reading up to date.
//! - *Writing to the kernel*: its `apply` first creates the interface if it is absent, and cannot say UPDATE_ONLY, so that
//!   a peer which the administrator has just removed would come back. `kernel` sends the messages itself.
//! - *Userspace*: its socket has no time-out, so a hung device would hang the daemon; one endpoint with an IPv6 zone fails
//!   the whole reading; what it does not know it prints to standard output; and its `apply` starts `wireguard-go` when
//!   the socket is absent. `uapi` is a client without these, and only where the feature `userspace` is on: routers have the
//!   kernel's.

mod dump;
mod kernel;
pub(crate) mod route;
#[cfg_attr(not(feature = "userspace"), path = "no_userspace.rs")]
mod uapi;

#[cfg(test)]
pub(crate) mod fake;

use core::{fmt, net::IpAddr, net::SocketAddr};
use std::{io, os::fd::OwnedFd, path::PathBuf, time::UNIX_EPOCH};

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
use wgautomesh_core::{ActionError, Duration, Instant, Interface, PeerAction, PeerReading, PublicKey};
use wireguard_control::{InterfaceName, InvalidInterfaceName, PeerInfo};
use zeroize::Zeroize;

use crate::clock;

/// How long a reading may be used as what to restore when a peer is made anew: the settings of the administrator who
/// changes them in between would be lost.
const FRESH: Duration = Duration::from_millis(100);

/// A WireGuard interface.
pub trait WireGuard {
    /// Reads the interface and all its peers.
    ///
    /// # Errors
    /// See [`ReadError`]; most of them mean "not now".
    fn read(&mut self) -> Result<&Snapshot, ReadError>;

    /// Changes one peer.
    ///
    /// # Errors
    /// As the engine wants to hear them.
    fn apply(&mut self, key: &PublicKey, action: &PeerAction) -> Result<(), ActionError>;
}

/// Why the interface cannot be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no interface of this name.
    Absent,
    /// There is a link of this name, and neither the kernel's WireGuard nor a userspace one answers for it.
    NotWireGuard,
    /// `CAP_NET_ADMIN` is needed (or the right to use the userspace socket).
    Permission,
    /// Anything else.
    Failed(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is no such interface"),
            Self::NotWireGuard => {
                f.write_str("it is not a WireGuard interface, or its userspace WireGuard is not running")
            }
            Self::Permission => f.write_str("not permitted: CAP_NET_ADMIN is needed"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ReadError {}

/// The interface and its peers at one moment.
pub struct Snapshot {
    interface: Interface,
    fwmark: u32,
    peers: Vec<PeerInfo>,
}

impl Snapshot {
    /// Takes what was read. A peer may come in several pieces, one after the other, as the kernel sends those with many
    /// allowed IPs: only the first has more than the key and allowed IPs.
    pub(crate) fn new(interface: Interface, fwmark: u32, pieces: impl IntoIterator<Item = PeerInfo>) -> Self {
        let mut peers: Vec<PeerInfo> = Vec::new();
        for mut piece in pieces {
            match peers.last_mut() {
                Some(last) if last.config.public_key == piece.config.public_key => {
                    last.config.allowed_ips.append(&mut piece.config.allowed_ips);
                }
                _ => peers.push(piece),
            }
        }
        Self { interface, fwmark, peers }
    }

    /// The interface.
    #[must_use]
    pub fn interface(&self) -> Interface {
        self.interface
    }

    /// The interface's fwmark, 0 for none: WireGuard's own packets carry it, and routes may depend on it.
    #[must_use]
    pub fn fwmark(&self) -> u32 {
        self.fwmark
    }

    /// Each peer of the interface with its allowed IPs (address, prefix length).
    pub fn peers(&self) -> impl Iterator<Item = (PeerReading, impl Iterator<Item = (IpAddr, u8)>)> {
        self.peers.iter().map(|peer| {
            let allowed_ips = peer.config.allowed_ips.iter().map(|ip| (ip.address, ip.cidr));
            (reading(peer), allowed_ips)
        })
    }

    fn find(&self, key: &PublicKey) -> Option<&PeerInfo> {
        self.peers.iter().find(|peer| peer.config.public_key.0 == *key.as_bytes())
    }
}

/// The address that is a peer's own: its first allowed IP that is a single address.
pub(crate) fn own_address(mut allowed_ips: impl Iterator<Item = (IpAddr, u8)>) -> Option<IpAddr> {
    let own = allowed_ips.find(|(ip, prefix)| *prefix == if ip.is_ipv4() { 32 } else { 128 });
    own.map(|(address, _)| address)
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.peers.iter_mut().for_each(wipe);
    }
}

/// Wipes what is secret about a peer.
fn wipe(peer: &mut PeerInfo) {
    if let Some(key) = &mut peer.config.preshared_key {
        key.0.zeroize();
    }
}

fn reading(peer: &PeerInfo) -> PeerReading {
    // The kernel gives whole nanoseconds, a userspace device may give seconds only: they are compared, not added.
    let stamp = peer.stats.last_handshake_time.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    PeerReading {
        key: PublicKey::from_bytes(peer.config.public_key.0),
        endpoint: peer.config.endpoint.map(canonical),
        rx_bytes: peer.stats.rx_bytes,
        tx_bytes: peer.stats.tx_bytes,
        last_handshake: stamp.map_or(0, |stamp| u64::try_from(stamp.as_nanos()).unwrap_or(u64::MAX)),
        keepalive: peer.config.persistent_keepalive_interval.unwrap_or(0),
    }
}

/// IPv4 as IPv4, also where it comes in IPv6 form.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match (addr, addr.ip().to_canonical()) {
        (SocketAddr::V6(_), ip @ IpAddr::V4(_)) => SocketAddr::new(ip, addr.port()),
        _ => addr,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Backend {
    Kernel,
    Userspace,
}

/// The interface of this name in this network namespace, whatever runs it.
///
/// A userspace socket that answers comes first; else it is the kernel's. Which of them is decided anew with every
/// reading, since either may come and go.
pub struct System {
    name: InterfaceName,
    uapi: uapi::Client,
    dump: dump::Dump,
    backend: Backend,
    /// Any socket will do to ask for the index of a link.
    links: OwnedFd,
    snapshot: Option<(Instant, Snapshot)>,
    failing: bool,
}

impl System {
    /// An interface by its name, which need not be there yet.
    ///
    /// # Errors
    /// When the name cannot be that of a Linux interface, or no socket can be made.
    pub fn new(name: &str) -> io::Result<Self> {
        Self::with_uapi_directory(name, "/var/run/wireguard".into())
    }

    /// As [`Self::new`], with the directory that holds `NAME.sock`.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn with_uapi_directory(name: &str, directory: PathBuf) -> io::Result<Self> {
        let invalid =
            |error: InvalidInterfaceName| io::Error::new(io::ErrorKind::InvalidInput, error.to_string());
        Ok(Self {
            name: name.parse().map_err(invalid)?,
            uapi: uapi::Client::new(directory.join(format!("{name}.sock"))),
            dump: dump::Dump::new(),
            backend: Backend::Kernel,
            links: socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?,
            snapshot: None,
            failing: false,
        })
    }

    /// The index of the link now.
    fn index(&self) -> Option<u32> {
        netdevice::name_to_index(&self.links, &self.name.as_str_lossy()).ok()
    }

    /// The interface as it is now, where `before` was the last time.
    fn take(&mut self, before: Option<Snapshot>) -> Result<Snapshot, ReadError> {
        let index = self.index().ok_or(ReadError::Absent)?;
        let (backend, device) = match self.uapi.read() {
            Ok(device) => (Backend::Userspace, device),
            // No socket, or one left over from a device that is gone.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                let before = before.filter(|before| before.interface.index == index);
                if let Some(mut snapshot) = before.filter(|_| self.backend == Backend::Kernel) {
                    match self.dump.refresh(&mut snapshot) {
                        Ok(()) => return Ok(snapshot),
                        Err(error) => log::debug!("{}: it is read anew: {error}", self.name),
                    }
                }
                (Backend::Kernel, kernel::read(&self.name)?)
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(ReadError::Permission);
            }
            Err(error) => return Err(ReadError::Failed(error)),
        };
        // Made anew in between: the peers may be those of either.
        if self.index() != Some(index) {
            return Err(ReadError::Absent);
        }
        self.backend = backend;
        let interface = Interface {
            index,
            // A new interface has no key yet, which nobody can tell from the key 0.
            public_key: PublicKey::from_bytes(device.public_key.map_or([0; 32], |key| key.0)),
            listen_port: device.listen_port,
        };
        Ok(Snapshot::new(interface, device.fwmark, device.peers))
    }

    fn try_apply(&mut self, key: &PublicKey, action: &PeerAction) -> Result<(), ActionError> {
        let must_be_fresh = matches!(action, PeerAction::Readd { .. });
        let fresh = |taken: &Instant| clock::now().saturating_duration_since(*taken) < FRESH;
        if !self.snapshot.as_ref().is_some_and(|(taken, _)| !must_be_fresh || fresh(taken)) {
            self.read().map_err(|_| ActionError::Failed)?;
        }
        let Some((_, snapshot)) = &self.snapshot else { return Err(ActionError::Failed) };
        let endpoint = match *action {
            PeerAction::Add { endpoint, .. } | PeerAction::Readd { endpoint } => endpoint,
            PeerAction::SetEndpoint(endpoint) => Some(endpoint),
            _ => None,
        };
        if let Some(endpoint) = endpoint {
            route::check(endpoint, snapshot.interface.index, snapshot.fwmark)?;
        }
        let change = Change::new(key, action, snapshot)?;
        let done = match self.backend {
            Backend::Kernel => kernel::apply(&self.name, &change),
            Backend::Userspace => self.uapi.apply(&change),
        };
        match done {
            Ok(()) => {
                if core::mem::take(&mut self.failing) {
                    log::info!("{}: changing peers works again", self.name);
                }
                Ok(())
            }
            Err(error) => {
                if !core::mem::replace(&mut self.failing, true) {
                    log::warn!("{}: cannot change peers: {error}", self.name);
                }
                Err(ActionError::Failed)
            }
        }
    }
}

impl WireGuard for System {
    fn read(&mut self) -> Result<&Snapshot, ReadError> {
        let before = self.snapshot.take().map(|(_, snapshot)| snapshot);
        let snapshot = self.take(before)?;
        Ok(&self.snapshot.insert((clock::now(), snapshot)).1)
    }

    fn apply(&mut self, key: &PublicKey, action: &PeerAction) -> Result<(), ActionError> {
        self.try_apply(key, action)
    }
}

/// What a backend could read.
struct Device {
    public_key: Option<wireguard_control::Key>,
    listen_port: u16,
    fwmark: u32,
    peers: Vec<PeerInfo>,
}

/// A change to one peer, with all that a backend needs to know for it.
struct Change<'s> {
    key: [u8; 32],
    /// Remove the peer, before all else.
    remove: bool,
    /// What to write then, if anything.
    write: Option<Write<'s>>,
}

struct Write<'s> {
    /// Do nothing if the peer is not there.
    update_only: bool,
    endpoint: Option<SocketAddr>,
    keepalive: Option<u16>,
    preshared_key: Option<&'s [u8; 32]>,
    /// Added to those the peer has.
    allowed_ips: Vec<(IpAddr, u8)>,
}

impl<'s> Change<'s> {
    fn new(key: &PublicKey, action: &PeerAction, snapshot: &'s Snapshot) -> Result<Self, ActionError> {
        let update = Write {
            update_only: true,
            endpoint: None,
            keepalive: None,
            preshared_key: None,
            allowed_ips: Vec::new(),
        };
        let (remove, write) = match *action {
            PeerAction::Add { address, endpoint } => {
                let prefix = if address.is_ipv4() { 32 } else { 128 };
                (
                    false,
                    Some(Write {
                        update_only: false,
                        endpoint,
                        allowed_ips: vec![(address, prefix)],
                        ..update
                    }),
                )
            }
            PeerAction::Readd { endpoint } => {
                let config = &snapshot.find(key).ok_or(ActionError::NoPeer)?.config;
                let write = Write {
                    update_only: false,
                    endpoint,
                    keepalive: Some(0),
                    preshared_key: config.preshared_key.as_ref().map(|key| &key.0),
                    allowed_ips: config.allowed_ips.iter().map(|ip| (ip.address, ip.cidr)).collect(),
                };
                (true, Some(write))
            }
            PeerAction::SetEndpoint(endpoint) => (false, Some(Write { endpoint: Some(endpoint), ..update })),
            PeerAction::SetKeepalive(seconds) => (false, Some(Write { keepalive: Some(seconds), ..update })),
            PeerAction::Remove => (true, None),
            // The enum may grow; what this adapter does not know it has not done.
            _ => return Err(ActionError::Failed),
        };
        Ok(Self { key: *key.as_bytes(), remove, write })
    }
}
