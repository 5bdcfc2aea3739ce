//! Going over to another configuration while the daemon runs: what is different is done, and nothing else is touched.

use core::net::SocketAddr;

use rand_core::TryCryptoRng;
use wgautomesh_core::{AddPeerError, Instant, PublicKey};

use super::{Daemon, Ready, Stack};
use crate::{
    config::{Config, Difference, LanConfig, Peer},
    net::{lan::Lan, opener::Openers},
    portmap::Mapper,
    run::{addresses, names_of, rotation, set_secrets},
    watch::Watch,
    wireguard::WireGuard,
};

/// What had to be made for a change, and could have failed.
pub(in crate::run) struct Fresh {
    pub(in crate::run) lan: Box<dyn Lan>,
    /// Where another port mapping is wanted than before.
    pub(in crate::run) mapper: Option<Mapper>,
}

impl<W, A, S, O, R, const PEERS: usize> Daemon<'_, W, A, S, O, R, PEERS>
where
    W: WireGuard,
    A: Watch,
    S: Stack,
    O: Openers,
    R: TryCryptoRng,
{
    /// Goes over to a configuration. The difference is the one between it and that of before.
    pub(in crate::run) fn change(
        &mut self,
        now: Instant,
        difference: &Difference<'_>,
        config: &Config,
        fresh: Fresh,
    ) {
        for peer in difference.removed.iter().chain(&difference.readdressed) {
            self.drop_peer(now, peer.key());
        }
        if difference.secret || difference.other_secret.is_some() {
            set_secrets(self.mesh, config);
        }
        self.node.rotation = rotation(config);
        self.parts.adopted.reconfigure(config);
        for key in self.parts.adopted.unwanted() {
            // One that the file names now stays as it is.
            if !config.peers().iter().any(|peer| *peer.key() == key) {
                log::info!("{key:.8}: of the interface, and not meshed any more");
                self.drop_peer(now, &key);
            }
        }
        for peer in difference.added.iter().chain(&difference.readdressed) {
            self.take_in(now, peer);
        }
        for peer in &difference.endpoints {
            self.point(now, peer);
        }
        self.names.rename(config, self.parts.adopted.adopted());
        if let Some(state_commit) = difference.state_commit {
            self.parts.memory.set_interval(now, state_commit.duration());
        }
        if let Some(lan) = difference.lan {
            self.look_on(now, lan, fresh.lan);
        }
        if difference.port_mapping.is_some() {
            self.map_by(now, fresh.mapper);
        }
        // Shows who is adopted from now on, and to the port mapping where WireGuard listens.
        let looked =
            self.look(now).and_then(|()| self.turn(now, Ready { resolver: true, ..Ready::default() }));
        self.say_later(looked);
    }

    /// A peer leaves the mesh, and WireGuard if this daemon has added it there.
    fn drop_peer(&mut self, now: Instant, key: &PublicKey) {
        self.mesh.release_peer(key);
        let carried_out = self.carry_out(now);
        self.say_later(carried_out);
        let _ = self.mesh.remove_peer(now, key);
        // WireGuard loses it before the interface is looked at again, where it would be found.
        let carried_out = self.carry_out(now);
        self.say_later(carried_out);
        self.parts.resolver.replace(now, key, false, []);
        self.parts.adopted.let_go(key);
    }

    /// A peer comes into the mesh. As at the start, the configuration comes before the interface: those who were adopted give
    /// way.
    fn take_in(&mut self, now: Instant, peer: &Peer) {
        let (key, address) = (*peer.key(), peer.address());
        while let Err(error) = self.mesh.add_peer(now, key, address) {
            let of = |key: PublicKey| self.mesh.peers().find(|known| known.key == key);
            let adopted = || self.parts.adopted.adopted().copied();
            if error == AddPeerError::DuplicateKey && of(key).is_some_and(|known| known.address == address) {
                // It was adopted: its session goes on.
                self.parts.adopted.let_go(&key);
                break;
            }
            let rival = match error {
                AddPeerError::DuplicateKey => adopted().find(|other| *other == key),
                AddPeerError::DuplicateAddress => {
                    adopted().find(|other| of(*other).is_some_and(|known| known.address == address))
                }
                AddPeerError::Full => adopted().next(),
                _ => None,
            };
            let Some(rival) = rival else {
                return log::error!("peer {key}: {error}");
            };
            self.drop_peer(now, &rival);
        }
        self.parts.memory.recall(now, self.mesh, &key);
        self.point(now, peer);
    }

    /// A peer is to be found where the configuration says.
    fn point(&mut self, now: Instant, peer: &Peer) {
        let key = peer.key();
        // Our own name is nothing to look up.
        let us = self.link.up.is_some_and(|up| up.public_key == *key);
        let connected = us || self.mesh.peers().any(|peer| peer.key == *key && peer.state.is_connected());
        let mut known: Vec<SocketAddr> = self.parts.resolver.replace(now, key, connected, names_of(peer));
        if known.is_empty() {
            known = addresses(peer);
        }
        self.mesh.set_configured_endpoints(now, key, &known);
    }

    /// Peers are looked for on these LANs.
    fn look_on(&mut self, now: Instant, config: Option<&LanConfig>, fresh: Box<dyn Lan>) {
        let Some(config) = config else {
            self.parts.lan = None;
            self.places.clear();
            return self.mesh.handle_lan_links(now, &[]);
        };
        let lan = self.parts.lan.take().map_or(fresh, |(_, lan)| lan);
        self.parts.lan = Some((config.clone(), lan));
        self.read_lans(now);
    }

    /// The gateway is asked by this from now on. What it has given is given back, which takes a second at most.
    fn map_by(&mut self, now: Instant, mapper: Option<Mapper>) {
        if let Some(before) = &mut self.parts.mapper {
            before.stop();
        }
        self.parts.mapper = mapper;
        self.mesh.handle_port_mappings(now, &[]);
    }

    /// What ends the daemon will come up again in its next turn.
    fn say_later(&self, result: Result<(), crate::RunError>) {
        if let Err(error) = result {
            log::debug!("{}: {error}", self.node.interface);
        }
    }
}
