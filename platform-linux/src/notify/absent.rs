//! In place of `notify` in a build without it: there is no service manager to tell anything.

use wgautomesh_core::Instant;

/// Nobody.
pub(crate) struct Manager;

impl Manager {
    pub(crate) fn from_env() -> Self {
        Self
    }

    pub(crate) fn ready(&self, _: Instant) {}

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    pub(crate) fn alive(&self, _: Instant) {}

    pub(crate) fn stopping(&self) {}
}
