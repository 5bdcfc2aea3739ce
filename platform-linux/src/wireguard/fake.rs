//! A WireGuard in memory, for the tests of the loop.

use core::net::IpAddr;

use wgautomesh_core::{ActionError, Interface, PeerAction, PublicKey};
use wireguard_control::{AllowedIp, Key, PeerInfo};

use super::{ReadError, Snapshot, WireGuard};

/// Peers as they were set, and every action in order.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) interface: Option<Interface>,
    pub(crate) peers: Vec<PeerInfo>,
    pub(crate) actions: Vec<(PublicKey, PeerAction)>,
    pub(crate) readings: usize,
    /// Which actions fail, and how.
    pub(crate) refuse: Option<fn(&PeerAction) -> Option<ActionError>>,
    snapshot: Option<Snapshot>,
}

impl WireGuard for Fake {
    fn read(&mut self) -> Result<&Snapshot, ReadError> {
        self.readings += 1;
        let interface = self.interface.ok_or(ReadError::Absent)?;
        Ok(self.snapshot.insert(Snapshot::new(interface, 0, self.peers.iter().cloned())))
    }

    fn apply(&mut self, key: &PublicKey, action: &PeerAction) -> Result<(), ActionError> {
        self.actions.push((*key, *action));
        if let Some(error) = self.refuse.and_then(|refuse| refuse(action)) {
            return Err(error);
        }
        let key = Key(*key.as_bytes());
        let found = self.peers.iter().position(|peer| peer.config.public_key == key);
        match (*action, found) {
            (PeerAction::Add { address, endpoint }, _) => {
                let mut peer = PeerInfo::from_public_key(key);
                peer.config.endpoint = endpoint;
                let cidr = if matches!(address, IpAddr::V4(_)) { 32 } else { 128 };
                peer.config.allowed_ips.push(AllowedIp { address, cidr });
                self.peers.push(peer);
            }
            (PeerAction::Readd { endpoint }, Some(at)) => {
                self.peers[at].config.endpoint = endpoint;
                self.peers[at].config.persistent_keepalive_interval = Some(0);
            }
            (PeerAction::SetEndpoint(endpoint), Some(at)) => self.peers[at].config.endpoint = Some(endpoint),
            (PeerAction::SetKeepalive(n), Some(at)) => {
                self.peers[at].config.persistent_keepalive_interval = Some(n)
            }
            (PeerAction::Remove, Some(at)) => drop(self.peers.remove(at)),
            _ => return Err(ActionError::NoPeer),
        }
        Ok(())
    }
}
