//! What is worth keeping over a restart.

use core::net::SocketAddr;

use heapless::Vec;

use crate::{PublicKey, limits::MAX_GOOD_ENDPOINTS};

/// One piece of a node's memory: out by [`Mesh::stored_records`](crate::Mesh::stored_records), and back in, after a restart,
/// by [`Mesh::handle_stored_record`](crate::Mesh::handle_stored_record). It holds no time: nobody can tell how long the
/// machine was off.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoredRecord {
    /// The incarnation of our own record. Starting above it, we need not be told by others what they still hold of us.
    Incarnation(u32),
    /// Where a peer was reached, newest first.
    Peer {
        /// The peer.
        key: PublicKey,
        /// Endpoints over which there was a session.
        endpoints: Vec<SocketAddr, MAX_GOOD_ENDPOINTS>,
    },
}

impl StoredRecord {
    /// Where a peer was reached, newest first. The first [`MAX_GOOD_ENDPOINTS`] are kept.
    #[must_use]
    pub fn peer(key: PublicKey, endpoints: impl IntoIterator<Item = SocketAddr>) -> Self {
        let mut kept = Vec::new();
        for endpoint in endpoints {
            if kept.push(endpoint).is_err() {
                break;
            }
        }
        Self::Peer { key, endpoints: kept }
    }
}
