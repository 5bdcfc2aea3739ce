//! The state file: what a node remembers over a restart.
//!
//! It is a cache: without it a node has its configuration and nothing else, as at its first start. So whatever is wrong
//! with the file costs a warning and the memory, never the mesh; and it is written so that a power cut at any moment leaves
//! what was there before or what was to be written.
//!
//! ```text
//! FILE.tmp  ── create, write, fsync ──► rename to FILE ──► fsync the folder
//! ```
//!
//! What lies at the path and is not ours (the original wgautomesh's state, say, or a later version's) is not misread and
//! not overwritten: it is kept beside, as `FILE.foreign`. When to write is not decided here.

mod folder;
mod state;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use core::fmt;
use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
};

use rustix::io::Errno;
use wgautomesh_core::StoredRecord;

pub use folder::{Entry, Files, Folder};
#[cfg(fuzzing)]
pub use state::with_checksum;
pub use state::{encode, parse};

/// The largest state file that is read: 1024 peers with two endpoints each take 160 kB.
const LARGEST_FILE: usize = 1024 * 1024;

/// Where memory is kept.
pub trait Store: Send {
    /// What was saved last; nothing where nothing was.
    ///
    /// # Errors
    /// When there is something, and it is of no use. The memory is empty then.
    fn load(&mut self) -> Result<Vec<StoredRecord>, LoadError>;

    /// Keeps this, and only this. May take as long as the disk does.
    ///
    /// # Errors
    /// When it was not kept for sure; what was there before still is then, or this.
    fn save(&mut self, content: &str) -> Result<Saved, SaveError>;
}

/// What came of a save.
#[derive(Debug, PartialEq, Eq)]
pub enum Saved {
    /// It is on the disk.
    Written,
    /// It was there already.
    Unchanged,
    /// It is on the disk, and what was at its place is kept under this name.
    SetAside(OsString),
}

/// Why a state file is of no use.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// It was cut or changed: a write that was interrupted, or a failing disk.
    Damaged,
    /// Something else than a state file of this version.
    Foreign(Foreign),
    /// It cannot be read, or must not be.
    Unreadable(SaveError),
}

/// What a file is that is not a state file of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// Of another version of this program.
    Version,
    /// It looks like the original wgautomesh's.
    Original,
    /// Anything else.
    Unknown,
}

/// Why nothing was saved.
#[derive(Debug)]
#[non_exhaustive]
pub enum SaveError {
    /// The path has no folder or no name.
    Path,
    /// A symbolic link, a directory or a device is in its place.
    NotAFile,
    /// The file belongs to another user, who could make us believe anything.
    NotOurs,
    /// Something else's file is in its place, and another one is kept beside already.
    InTheWay,
    /// The system's.
    System(io::Error),
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "it is of another version of this program",
            Self::Original => "it looks like the original wgautomesh's, whose format differs",
            Self::Unknown => "it is not a state file",
        })
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged => f.write_str("it is damaged, probably by a power cut; it will be written anew"),
            Self::Foreign(what) => write!(f, "{what}; it will be kept beside, with .foreign after its name"),
            Self::Unreadable(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => f.write_str("it is no path of a file; name one, /var/lib/wgautomesh/state for example"),
            Self::NotAFile => {
                f.write_str("it is a symbolic link, a directory or a device; name a plain file, or a new one")
            }
            Self::NotOurs => f.write_str("it belongs to another user; remove it, or name another file"),
            Self::InTheWay => {
                f.write_str("something else's file is there, and another is kept beside with .foreign after its name; move one")
            }
            Self::System(error) => {
                let remedy = match Errno::from_io_error(error) {
                    Some(Errno::NOENT | Errno::NOTDIR) => "; make its folder, or name another",
                    Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => {
                        "; let this program write to its folder (StateDirectory= and ReadWritePaths= in a systemd unit), or \
                         name another"
                    }
                    _ => "",
                };
                write!(f, "{error}{remedy}")
            }
        }
    }
}

impl From<io::Error> for SaveError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// [`Store`] in a file.
pub struct FileStore<F> {
    files: F,
    name: OsString,
}

impl FileStore<Folder> {
    /// The store at this path, relative to the present directory. Nothing is opened yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_owned();
        Self { files: Folder::new(folder_of(path)), name }
    }
}

/// The folder that a file is in; none where the path is that of no file.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => PathBuf::from("."),
        Some(folder) => folder.into(),
        None => PathBuf::new(),
    }
}

impl<F: Files> FileStore<F> {
    fn beside(&self, suffix: &str) -> OsString {
        let mut name = self.name.clone();
        name.push(suffix);
        name
    }

    fn read(&mut self) -> Result<Option<Vec<u8>>, SaveError> {
        if self.name.is_empty() {
            return Err(SaveError::Path);
        }
        match self.files.read(&self.name, LARGEST_FILE)? {
            Entry::Nothing => Ok(None),
            Entry::File(bytes) => Ok(Some(bytes)),
            Entry::NotOurs => Err(SaveError::NotOurs),
            Entry::NotAFile => Err(SaveError::NotAFile),
        }
    }

    /// Puts the new file beside the old one, whole and on the disk.
    fn prepare(&mut self, name: &OsStr, content: &[u8]) -> io::Result<()> {
        let mut file = self.files.create(name)?;
        let mut rest = content;
        while !rest.is_empty() {
            match self.files.write(&mut file, rest)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => rest = rest.get(written..).unwrap_or_default(),
            }
        }
        self.files.sync(&file)
    }
}

impl<F: Files + Send> Store for FileStore<F> {
    fn load(&mut self) -> Result<Vec<StoredRecord>, LoadError> {
        match self.read() {
            Ok(None) => Ok(Vec::new()),
            Ok(Some(bytes)) => parse(&bytes),
            Err(error) => Err(LoadError::Unreadable(error)),
        }
    }

    fn save(&mut self, content: &str) -> Result<Saved, SaveError> {
        let before = self.read()?;
        if before.as_deref() == Some(content.as_bytes()) {
            return Ok(Saved::Unchanged);
        }
        let temporary = self.beside(".tmp");
        // Left over from a crash.
        if self.files.exists(&temporary)? {
            self.files.remove(&temporary)?;
        }
        let prepared = self.prepare(&temporary, content.as_bytes());
        let saved = prepared.map_err(SaveError::from).and_then(|()| {
            let mut saved = Saved::Written;
            if let Some(before) = before
                && let Err(LoadError::Foreign(_)) = parse(&before)
            {
                let aside = self.beside(".foreign");
                if self.files.exists(&aside)? {
                    return Err(SaveError::InTheWay);
                }
                self.files.rename(&self.name, &aside)?;
                // A disk may keep the next rename and forget this one.
                self.files.sync_folder()?;
                saved = Saved::SetAside(aside);
            }
            self.files.rename(&temporary, &self.name)?;
            Ok(saved)
        });
        match saved {
            Ok(saved) => {
                self.files.sync_folder()?;
                Ok(saved)
            }
            Err(error) => {
                // It is of no use to anybody. If this fails too, the next save removes it.
                let _ = self.files.remove(&temporary);
                Err(error)
            }
        }
    }
}
