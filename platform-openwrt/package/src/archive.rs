//! Archives that are the same bytes wherever and whenever they are made: what `tar --format=gnu --numeric-owner --owner=0
//! --group=0 --sort=name --mtime=@EPOCH` and `gzip -n` are for.

use std::io;

use tar::{Builder, EntryType, Header};
use zopfli::{Format, Options, compress};

/// An archive being written.
pub(crate) struct Archive {
    tar: Builder<Vec<u8>>,
    epoch: u32,
}

impl Archive {
    /// An empty one, whose entries will all be of this time.
    pub(crate) fn new(epoch: u32) -> Self {
        Self { tar: Builder::new(Vec::new()), epoch }
    }

    /// Adds a folder. `path` begins with `./` and ends with a slash.
    pub(crate) fn folder(&mut self, path: &str, mode: u32) -> io::Result<()> {
        self.entry(path, EntryType::Directory, mode, &[])
    }

    /// Adds a file. `path` begins with `./`, which is how opkg's own tools name a member.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entry(path, EntryType::Regular, mode, content)
    }

    fn entry(&mut self, path: &str, kind: EntryType, mode: u32, content: &[u8]) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.epoch.into());
        header.set_size(content.len() as u64);
        // Not by `set_path`, which takes the "./" away.
        let name = header.as_old_mut().name.get_mut(..path.len());
        name.ok_or_else(|| io::Error::other(format!("{path} is longer than a tar header has place for")))?
            .copy_from_slice(path.as_bytes());
        header.set_cksum();
        self.tar.append(&header, content)
    }

    /// The archive as it is.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        self.tar.into_inner()
    }
}

/// Compresses, without name and time.
pub(crate) fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    compressed(Format::Gzip, bytes)
}

/// Compresses, without anything around that.
pub(crate) fn deflate(bytes: &[u8]) -> io::Result<Vec<u8>> {
    compressed(Format::Deflate, bytes)
}

/// A matter of seconds, once; a router's flash is small for years. A program is of more kinds of bytes than the 15 blocks
/// that are the default.
fn compressed(format: Format, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let options = Options { maximum_block_splits: 40, ..Options::default() };
    compress(options, format, bytes, &mut out)?;
    Ok(out)
}
