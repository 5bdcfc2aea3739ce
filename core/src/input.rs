//! What the caller tells the engine: configuration, and what WireGuard and the machine show.

use core::net::{IpAddr, SocketAddr};

use crate::PublicKey;

/// The WireGuard interface as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Interface {
    /// The kernel's index, or for a userspace device any number that changes when the device is made anew. A changed
    /// index means that every session and every peer setting is gone.
    pub index: u32,
    /// Our own public key. A configured peer with this key is ourselves.
    pub public_key: PublicKey,
    /// The UDP port WireGuard listens on; 0 while it is not yet known.
    pub listen_port: u16,
}

/// A place on a LAN: one address of one interface of this machine. See [`crate::Mesh::handle_lan_links`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanLink {
    /// The interface's index.
    pub index: u32,
    /// The address that beacons leave from: the one that the system chooses for a broadcast, or a multicast, on this
    /// interface.
    pub address: IpAddr,
    /// The length of its network's prefix: a source outside of it is not on this link.
    pub prefix: u8,
}

/// One peer as WireGuard shows it in one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerReading {
    /// The peer's key.
    pub key: PublicKey,
    /// Where WireGuard sends to.
    pub endpoint: Option<SocketAddr>,
    /// Bytes received from the peer, handshakes included.
    pub rx_bytes: u64,
    /// Bytes sent to the peer, handshakes included.
    pub tx_bytes: u64,
    /// The stamp of the last handshake in nanoseconds, 0 for none. It is compared with its former value and never with
    /// a clock.
    pub last_handshake: u64,
    /// The persistent keepalive interval in seconds, 0 for off.
    pub keepalive: u16,
}

/// A change to one peer of the interface, which the platform carries out at once.
///
/// The peer's preshared key and allowed IPs are the user's: every action keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PeerAction {
    /// Add the peer with its mesh address (as /32 or /128) as allowed IP; or only that address, where the interface has
    /// the peer and nobody else has the address as his own.
    Add {
        /// The peer's address in the mesh.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        address: IpAddr,
        /// Where to send to; `None` keeps WireGuard from initiating.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        endpoint: Option<SocketAddr>,
    },
    /// Remove the peer and add it again in one step, with preshared key and allowed IPs as they were, persistent
    /// keepalive 0, and this endpoint. It is the only way past WireGuard's five seconds between handshakes, and
    /// with no endpoint the only way to stop its retries. Never asked for while the session works.
    Readd {
        /// Where to send to; `None` keeps WireGuard from initiating.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        endpoint: Option<SocketAddr>,
    },
    /// Set the endpoint, if the peer is still there.
    SetEndpoint(#[cfg_attr(feature = "defmt", defmt(Debug2Format))] SocketAddr),
    /// Set the persistent keepalive in seconds, if the peer is still there.
    SetKeepalive(u16),
    /// Remove the peer. Only asked for when a peer which the engine itself added leaves the configuration.
    Remove,
}

/// Why an action on a peer could not be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ActionError {
    /// The kernel would route the endpoint into the WireGuard interface itself.
    RoutedIntoMesh,
    /// There is no route to the endpoint (an IPv6 endpoint on a host without IPv6, say).
    Unroutable,
    /// The peer is no longer on the interface.
    NoPeer,
    /// Anything else: permission, the interface gone. The platform says more in its own log.
    Failed,
}

/// Why a peer cannot be configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum AddPeerError {
    /// All `PEERS` places are taken.
    Full,
    /// This key is configured already.
    DuplicateKey,
    /// Another peer has this mesh address.
    DuplicateAddress,
    /// Not a unicast address.
    BadAddress,
}

impl core::fmt::Display for AddPeerError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Full => "this build has no room for more peers",
            Self::DuplicateKey => "a peer with this key is configured already",
            Self::DuplicateAddress => "another peer has this mesh address",
            Self::BadAddress => "not an address that a node can have",
        })
    }
}

impl core::error::Error for AddPeerError {}
