//! In place of UPnP, in a build without it: no device is ever found.
#![allow(clippy::needless_pass_by_ref_mut)] // The signatures are those of the real thing.

use core::time::Duration;
use std::{io, net::UdpSocket, time::Instant};

use super::{Mapping, Wanted, Why, gateway::Route};

pub(super) const SSDP_PORT: u16 = 1900;

/// Where a device describes itself.
#[derive(Clone, Copy)]
pub(super) enum Page {}

/// A search that finds nothing.
pub(super) struct Search {
    pub(super) socket: UdpSocket,
    pub(super) found: Option<Page>,
}

impl Search {
    pub(super) fn new(_: Route, _: u16) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) const fn send(&mut self, _: Duration) {}

    pub(super) const fn receive(&mut self) {}

    pub(super) const fn due(&self) -> Option<Duration> {
        None
    }
}

pub(super) const fn map(_: &Wanted, _: &Route, page: &Page, _: Instant) -> Result<Mapping, Why> {
    match *page {}
}

pub(super) const fn open(_: &Wanted, _: &Route, page: &Page, _: Instant) -> Result<Mapping, Why> {
    match *page {}
}

pub(super) const fn remove(_: &Mapping, _: Instant) -> Result<(), Why> {
    Ok(())
}
