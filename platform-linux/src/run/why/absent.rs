//! In place of `why` in a build without it: nothing is remembered, and nobody asks.

use wgautomesh_core::{ActionError, Event, Instant, Mesh, PeerAction, PublicKey};

pub(super) struct Desk;

impl Desk {
    pub(super) fn new() -> Self {
        Self
    }

    pub(super) fn note<const PEERS: usize>(&self, _: Instant, _: &Mesh<PEERS>, _: &Event) {}

    pub(super) fn note_refused(&self, _: Instant, _: &PublicKey, _: &PeerAction, _: ActionError) {}

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
