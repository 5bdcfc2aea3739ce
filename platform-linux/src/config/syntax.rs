//! What a front end calls things.
//!
//! The meaning of a configuration is checked in one place, [`Draft::finish`](super::Draft::finish), whatever it was written
//! in. Its messages must nevertheless name what the user wrote, and its remedies be lines that can be put into the file
//! as they stand.

/// What can be set, whatever a front end calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Key {
    /// The WireGuard interface.
    Interface,
    /// The UDP port of the gossip inside the mesh.
    GossipPort,
    /// The secret itself.
    Secret,
    /// The file that holds it.
    SecretFile,
    /// The file that holds the next secret.
    SecretNextFile,
    /// The file that holds the secret of before.
    SecretPreviousFile,
    /// Where to keep what was learned.
    PersistFile,
    /// How often that is written at most.
    StateCommit,
    /// Whether to look for peers on the LAN.
    LanDiscovery,
    /// Only on these interfaces.
    LanInterfaces,
    /// Not on these.
    LanExclude,
    /// The external port that the gateway is to forward.
    UpnpForwardExternalPort,
    /// Of a fork; without effect.
    Ipv6,
    /// Where metrics are given.
    MetricsListen,
    /// Whether the peers of the interface belong to the mesh.
    PeersFromInterface,
    /// The peers as such.
    Peers,
    /// A peer's public key.
    PeerKey,
    /// A peer's address inside the mesh.
    PeerAddress,
    /// Where a peer can be reached.
    PeerEndpoint,
    /// What people call a peer.
    PeerName,
}

/// The words of one kind of configuration file.
pub trait Syntax: Sync {
    /// What a finding calls a key, with the section in front where it is not at the top: `peers.pubkey`.
    fn name(&self, key: Key) -> &'static str;

    /// The line that gives a key a value, which is a text in every configuration that asks for one.
    fn set(&self, key: Key, value: &str) -> String;

    /// The line that switches something on.
    fn switch_on(&self, key: Key) -> String;

    /// What to add to a configuration without peers, as an imperative.
    fn add_peers(&self) -> &'static str;
}
