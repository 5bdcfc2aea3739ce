//! In place of the metrics, in a build without them: nothing is counted, and nobody asks.

use core::net::SocketAddr;
use std::os::fd::BorrowedFd;

use wgautomesh_core::{Event, Instant, PublicKey};

use crate::control::{Interest, status::Status};

/// Nothing.
pub(crate) struct Tally;

impl Tally {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn woke(&self) {}

    pub(crate) fn note(&self, _: &Event, _: usize, _: impl Fn(&PublicKey) -> bool) {}
}

/// Nobody's.
pub(crate) struct Server;

impl Server {
    pub(crate) fn new(_: Option<SocketAddr>, _: Instant) -> Self {
        Self
    }

    pub(crate) fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Interest)> {
        core::iter::empty()
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        None
    }

    pub(crate) fn handle(&self, _: Instant, _: impl FnMut() -> String) {}
}

/// Never asked for.
pub(crate) fn text(_: &Status, _: &Tally) -> String {
    String::new()
}
