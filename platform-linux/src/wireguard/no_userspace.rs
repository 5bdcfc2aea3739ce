//! In place of `uapi` in a build without it: there is no userspace device.

use std::{io, path::PathBuf};

use super::{Change, Device};

pub(super) struct Client;

impl Client {
    pub(super) fn new(_: PathBuf) -> Self {
        Self
    }

    /// # Errors
    /// `NotFound`, always.
    pub(super) fn read(&self) -> io::Result<Device> {
        Err(io::ErrorKind::NotFound.into())
    }

    pub(super) fn apply(&self, _: &Change<'_>) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }
}
