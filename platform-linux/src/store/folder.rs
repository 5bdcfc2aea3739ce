//! One folder of the file system, in operations that each do one thing.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _, Write as _},
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::PathBuf,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags},
    io::Errno,
};

/// What lies under a name.
pub enum Entry {
    /// Nothing does.
    Nothing,
    /// A plain file of ours, up to the limit and one byte more.
    File(Vec<u8>),
    /// A plain file of another user's.
    NotOurs,
    /// Something else.
    NotAFile,
}

/// The files of one folder, as the store needs them; no symbolic link is followed.
pub trait Files {
    /// A new file that is being written.
    type File;

    /// Reads a file, up to the limit and one byte more.
    ///
    /// # Errors
    /// The system's.
    fn read(&mut self, name: &OsStr, limit: usize) -> io::Result<Entry>;
    /// Whether anything has this name.
    ///
    /// # Errors
    /// The system's.
    fn exists(&mut self, name: &OsStr) -> io::Result<bool>;
    /// A new file that only its owner may read and write. Nothing may be there.
    ///
    /// # Errors
    /// The system's.
    fn create(&mut self, name: &OsStr) -> io::Result<Self::File>;
    /// Writes as much as goes, and says how much.
    ///
    /// # Errors
    /// The system's.
    fn write(&mut self, file: &mut Self::File, bytes: &[u8]) -> io::Result<usize>;
    /// Returns when the file's content is on the disk.
    ///
    /// # Errors
    /// The system's.
    fn sync(&mut self, file: &Self::File) -> io::Result<()>;
    /// In one step: what was there is replaced.
    ///
    /// # Errors
    /// The system's.
    fn rename(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()>;
    /// Takes a name away.
    ///
    /// # Errors
    /// The system's.
    fn remove(&mut self, name: &OsStr) -> io::Result<()>;
    /// Returns when the names are on the disk.
    ///
    /// # Errors
    /// The system's.
    fn sync_folder(&mut self) -> io::Result<()>;
}

/// A real one. It is opened anew for each operation on its names: it may be made, or mounted, after us.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(CWD, &self.path, flags, Mode::empty())?)
    }
}

impl Files for Folder {
    type File = File;

    fn read(&mut self, name: &OsStr, limit: usize) -> io::Result<Entry> {
        // Not blocking: what is there may be a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(self.open()?, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(Entry::Nothing),
            Err(Errno::LOOP | Errno::NXIO) => return Ok(Entry::NotAFile),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(Entry::NotAFile);
        }
        let us = rustix::process::geteuid().as_raw();
        if metadata.uid() != us && metadata.uid() != 0 {
            return Ok(Entry::NotOurs);
        }
        let mut bytes = Vec::new();
        file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Entry::File(bytes))
    }

    fn exists(&mut self, name: &OsStr) -> io::Result<bool> {
        // Not `statat`, whose way to the system's function is one that ends in a crash in a static program for MIPS.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(self.open()?, name, flags, Mode::empty()) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn create(&mut self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self.open()?, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
        match file.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.write(file, bytes),
            result => result,
        }
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        let folder = self.open()?;
        Ok(rustix::fs::renameat(&folder, from, &folder, to)?)
    }

    fn remove(&mut self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(self.open()?, name, AtFlags::empty())?)
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        match rustix::fs::fsync(self.open()?) {
            // Some file systems know no such thing, and keep names and content in step.
            Err(Errno::INVAL) => Ok(()),
            result => Ok(result?),
        }
    }
}
