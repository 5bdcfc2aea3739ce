//! `peers_from_interface`: whoever administers the interface has said who is in the mesh.
//!
//! With every reading of the interface, peers that are new on it and have an address of their own (their first allowed IP
//! that is a /32 or /128) become peers of the mesh, and those that were taken off it leave. Peers of the configuration
//! file stay as they are there. A peer without such an address (a gateway to some network, say) is left alone, and so is
//! one whose address is another's.

use std::collections::BTreeSet;

use wgautomesh_core::{AddPeerError, Instant, Mesh, PublicKey};

use super::{memory::Memory, names::Names};
use crate::{
    config::Config,
    wireguard::{Snapshot, own_address},
};

/// Who was adopted, and who was not.
pub(super) struct Adopted {
    wanted: bool,
    /// In the configuration file.
    configured: BTreeSet<PublicKey>,
    adopted: BTreeSet<PublicKey>,
    /// Left alone, which was said.
    left: BTreeSet<PublicKey>,
}

impl Adopted {
    /// As the configuration wants it.
    pub(super) fn new(config: &Config) -> Self {
        let configured = config.peers().iter().map(|peer| *peer.key());
        Self::with(config.peers_from_interface(), configured)
    }

    pub(super) fn with(wanted: bool, configured: impl IntoIterator<Item = PublicKey>) -> Self {
        let configured = configured.into_iter().collect();
        Self { wanted, configured, adopted: BTreeSet::new(), left: BTreeSet::new() }
    }

    /// Takes in what a reading shows.
    pub(super) fn take<const PEERS: usize>(
        &mut self,
        now: Instant,
        mesh: &mut Mesh<PEERS>,
        names: &mut Names,
        memory: &Memory,
        snapshot: &Snapshot,
    ) {
        if !self.wanted {
            return;
        }
        let mut seen = 0;
        for (reading, allowed_ips) in snapshot.peers() {
            let key = reading.key;
            if self.adopted.contains(&key) {
                seen += 1;
                continue;
            }
            if self.configured.contains(&key) {
                continue;
            }
            let added = own_address(allowed_ips).map(|address| (address, mesh.add_peer(now, key, address)));
            match added {
                Some((address, Ok(()))) => {
                    log::info!("{key:.8}: taken from the interface, with address {address}");
                    if let Some(endpoint) = reading.endpoint {
                        mesh.set_configured_endpoints(now, &key, &[endpoint]);
                    }
                    memory.recall(now, mesh, &key);
                    names.add(key);
                    self.left.remove(&key);
                    self.adopted.insert(key);
                    seen += 1;
                }
                Some((address, Err(error))) => self.leave(key, format_args!("{address}: {error}"), error),
                None => self.leave_nameless(key),
            }
        }
        if seen < self.adopted.len() {
            self.drop_absent(now, mesh, names, snapshot);
        }
    }

    /// The configuration is another one now. Those who were adopted and are in it stay adopted until they are
    /// [let go](Self::let_go).
    #[cfg(feature = "admin")]
    pub(super) fn reconfigure(&mut self, config: &Config) {
        self.wanted = config.peers_from_interface();
        self.configured = config.peers().iter().map(|peer| *peer.key()).collect();
        self.left.clear();
    }

    /// Who is adopted and is not to be any more: everybody where nobody is to be.
    #[cfg(feature = "admin")]
    pub(super) fn unwanted(&self) -> Vec<PublicKey> {
        self.adopted.iter().filter(|_| !self.wanted).copied().collect()
    }

    /// Who was adopted.
    #[cfg(feature = "admin")]
    pub(super) fn adopted(&self) -> impl Iterator<Item = &PublicKey> {
        self.adopted.iter()
    }

    /// It is no adopted one any more, if it was.
    #[cfg(feature = "admin")]
    pub(super) fn let_go(&mut self, key: &PublicKey) {
        self.adopted.remove(key);
    }

    fn leave(&mut self, key: PublicKey, why: core::fmt::Arguments<'_>, error: AddPeerError) {
        if !self.left.insert(key) {
            return;
        }
        match error {
            AddPeerError::Full => log::warn!("{key:.8} is on the interface and not meshed: {error}"),
            _ => log::warn!("{key:.8} is on the interface and not meshed: {why}"),
        }
    }

    fn leave_nameless(&mut self, key: PublicKey) {
        if self.left.insert(key) {
            log::info!(
                "{key:.8} is on the interface and not meshed: none of its allowed IPs is a /32 or /128"
            );
        }
    }

    /// Who was taken off the interface is not put back.
    fn drop_absent<const PEERS: usize>(
        &mut self,
        now: Instant,
        mesh: &mut Mesh<PEERS>,
        names: &mut Names,
        snapshot: &Snapshot,
    ) {
        let present: BTreeSet<PublicKey> = snapshot.peers().map(|(reading, _)| reading.key).collect();
        self.left.retain(|key| present.contains(key));
        self.adopted.retain(|key| {
            if present.contains(key) || !mesh.remove_peer(now, key) {
                return true;
            }
            log::info!("{key:.8}: taken off the interface, and not meshed any more");
            names.remove(key);
            false
        });
    }
}
