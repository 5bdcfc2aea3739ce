//! In place of the port mapping, in a build without it.

use core::net::SocketAddr;
use std::os::fd::BorrowedFd;

use wgautomesh_core::Instant;

use crate::control::status;

/// There is none.
pub enum Mapper {}

impl Mapper {
    /// Never called.
    #[must_use]
    pub fn fds(&self) -> [Option<BorrowedFd<'_>>; 2] {
        match *self {}
    }

    /// Never called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match *self {}
    }

    /// Never called.
    pub fn set_source(&mut self, _: Instant, _: u16, _: u32) {
        match *self {}
    }

    /// Never called.
    pub fn network_changed(&mut self, _: Instant) {
        match *self {}
    }

    /// Never called.
    pub fn peer_lost(&mut self, _: Instant) {
        match *self {}
    }

    /// Never called.
    pub fn handle(&mut self, _: Instant) -> bool {
        match *self {}
    }

    /// Never called.
    pub fn endpoints(&self) -> impl Iterator<Item = SocketAddr> {
        core::iter::empty()
    }

    /// Never called.
    #[must_use]
    pub fn status(&self, _: Instant) -> status::PortMapping {
        match *self {}
    }

    /// Never called.
    pub fn stop(&mut self) {
        match *self {}
    }
}
