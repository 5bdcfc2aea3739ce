//! Memory: what of this node's knowledge outlives it. The caller keeps it; this says what, and when that has changed.

use core::net::SocketAddr;

use embassy_time::Instant;

use super::Mesh;
use crate::{Endpoint, Scope, StoredRecord, limits::MAX_GOOD_ENDPOINTS, peer::Place, record::Order};

impl<const PEERS: usize> Mesh<PEERS> {
    /// What is worth storing now. [`Output::Store`](crate::Output::Store) tells when it has changed.
    pub fn stored_records(&self) -> impl Iterator<Item = StoredRecord> {
        let order = self.own.claim.order;
        let ours = (order != Order::NONE).then_some(StoredRecord::Incarnation(order.incarnation));
        let peers = self.peers.iter().filter(|(_, peer)| peer.is_other());
        let peers = peers.filter(|(_, peer)| peer.good.iter().any(|e| is_lasting(*e))).map(|(_, peer)| {
            let lasting = peer.good.iter().filter(|e| is_lasting(**e));
            StoredRecord::peer(peer.key, lasting.map(|e| SocketAddr::from(*e)))
        });
        ours.into_iter().chain(peers)
    }

    /// Something that was stored before a restart. To be handed over as soon as the peer is configured, and the
    /// incarnation before the interface is; later it is of no use, and ignored. So is what is about a peer that is not
    /// configured any more.
    pub fn handle_stored_record(&mut self, now: Instant, record: &StoredRecord) {
        match record {
            StoredRecord::Incarnation(last) if !self.own.is_published() => {
                self.own.claim.order = Order { incarnation: last.wrapping_add(1), ..Order::FIRST };
                self.rehash();
            }
            StoredRecord::Incarnation(_) => {}
            StoredRecord::Peer { key, endpoints } => {
                let Some(place) = self.peers.find(key) else { return };
                let Some(peer) = self.peers.get_mut(place) else { return };
                let before = peer.good.len();
                for endpoint in endpoints.iter().map(|e| Endpoint::from(*e)).filter(|e| is_lasting(*e)) {
                    // What has worked since the start is newer.
                    if !peer.good.contains(&endpoint) && peer.good.push(endpoint).is_err() {
                        break;
                    }
                }
                if peer.good.len() > before {
                    self.reconsider(place, now);
                }
            }
        }
    }

    /// A peer was reached at, or from, this endpoint.
    pub(super) fn remember(&mut self, place: Place, endpoint: Endpoint) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        peer.met = true;
        if peer.good.first() == Some(&endpoint) {
            return;
        }
        // One that goes to and fro between two places is no news.
        self.news.store |= !peer.good.contains(&endpoint) && is_lasting(endpoint);
        peer.good.retain(|known| *known != endpoint);
        peer.good.truncate(MAX_GOOD_ENDPOINTS - 1);
        // There is room: the oldest was taken out just now.
        let _ = peer.good.insert(0, endpoint);
    }
}

/// Whether an endpoint means the same after a restart: a link-local one is nothing without its interface.
fn is_lasting(endpoint: Endpoint) -> bool {
    matches!(endpoint.scope(), Scope::Private | Scope::Public)
}
