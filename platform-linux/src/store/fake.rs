//! A folder on a disk that can lose its power: it stops at any operation, and what was not synced may be there then, in
//! part, or not.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
};

use super::folder::{Entry, Files};

/// Bytes that one `write` takes, so that there are several.
const PORTION: usize = 64;

/// A change to the names.
#[derive(Clone, Debug)]
enum Change {
    Set(OsString, usize),
    Remove(OsString),
    Rename(OsString, OsString, usize),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    content: Vec<u8>,
    /// What of it is on the disk for sure.
    synced: Option<Vec<u8>>,
}

/// The folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeFolder {
    inodes: Vec<Inode>,
    /// The names as programs see them, and as they are on the disk.
    names: BTreeMap<OsString, usize>,
    on_disk: BTreeMap<OsString, usize>,
    /// What was done to the names since they were synced.
    pending: Vec<Change>,
    /// Operations done so far.
    operations: usize,
    /// The operation at which the power goes.
    stop_at: Option<usize>,
    /// The operation that fails, with this error, while everything else goes on.
    fail_at: Option<(usize, io::ErrorKind)>,
}

impl FakeFolder {
    /// One with a file in it.
    pub(crate) fn with(name: &str, content: &[u8]) -> Self {
        let mut folder = Self::default();
        folder.inodes.push(Inode { content: content.to_vec(), synced: Some(content.to_vec()) });
        folder.names.insert(name.into(), 0);
        folder.on_disk.insert(name.into(), 0);
        folder
    }

    /// The same, with its power going at an operation.
    pub(crate) fn stopping_at(&self, operation: Option<usize>) -> Self {
        Self { stop_at: operation, operations: 0, ..self.clone() }
    }

    /// The same, with an operation that fails.
    pub(crate) fn failing_at(&self, operation: usize, error: io::ErrorKind) -> Self {
        Self { fail_at: Some((operation, error)), operations: 0, ..self.clone() }
    }

    /// How many operations were done.
    pub(crate) fn operations(&self) -> usize {
        self.operations
    }

    pub(crate) fn content(&self, name: &str) -> Option<&[u8]> {
        self.names.get(OsStr::new(name)).map(|inode| &self.inodes[*inode].content[..])
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.names.keys().filter_map(|name| name.to_str()).collect()
    }

    fn step(&mut self) -> io::Result<()> {
        let this = self.operations;
        self.operations += 1;
        if self.stop_at.is_some_and(|at| this >= at) {
            return Err(io::Error::other("there is no power"));
        }
        match self.fail_at {
            Some((at, error)) if at == this => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.pending.push(change);
    }

    /// All that may be found when the power is back: any of the changes to names that were not synced, and of content that
    /// was not synced nothing, a part, zeroes, or all.
    pub(crate) fn after_a_power_cut(&self) -> Vec<Self> {
        let mut found = Vec::new();
        for chosen in 0..1usize << self.pending.len() {
            let mut names = self.on_disk.clone();
            for (at, change) in self.pending.iter().enumerate() {
                if chosen >> at & 1 != 0 {
                    apply(&mut names, change);
                }
            }
            for damage in 0..4 {
                let inodes = self.inodes.iter().map(|inode| {
                    let content = inode.synced.clone().unwrap_or_else(|| match damage {
                        0 => Vec::new(),
                        1 => inode.content[..inode.content.len() / 2].to_vec(),
                        2 => vec![0; inode.content.len()],
                        _ => inode.content.clone(),
                    });
                    Inode { synced: Some(content.clone()), content }
                });
                let inodes = inodes.collect();
                found.push(Self { inodes, names: names.clone(), on_disk: names.clone(), ..Self::default() });
            }
        }
        found
    }
}

fn apply(names: &mut BTreeMap<OsString, usize>, change: &Change) {
    match change {
        Change::Set(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        Change::Remove(name) => {
            names.remove(name);
        }
        Change::Rename(from, to, inode) => {
            names.remove(from);
            names.insert(to.clone(), *inode);
        }
    }
}

impl Files for FakeFolder {
    type File = usize;

    fn read(&mut self, name: &OsStr, limit: usize) -> io::Result<Entry> {
        self.step()?;
        Ok(match self.names.get(name) {
            Some(inode) => Entry::File(self.inodes[*inode].content.iter().take(limit + 1).copied().collect()),
            None => Entry::Nothing,
        })
    }

    fn exists(&mut self, name: &OsStr) -> io::Result<bool> {
        self.step()?;
        Ok(self.names.contains_key(name))
    }

    fn create(&mut self, name: &OsStr) -> io::Result<usize> {
        self.step()?;
        if self.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.inodes.push(Inode::default());
        self.change(Change::Set(name.into(), self.inodes.len() - 1));
        Ok(self.inodes.len() - 1)
    }

    fn write(&mut self, file: &mut usize, bytes: &[u8]) -> io::Result<usize> {
        self.step()?;
        let portion = &bytes[..bytes.len().min(PORTION)];
        let inode = &mut self.inodes[*file];
        inode.content.extend_from_slice(portion);
        inode.synced = None;
        Ok(portion.len())
    }

    fn sync(&mut self, file: &usize) -> io::Result<()> {
        self.step()?;
        let inode = &mut self.inodes[*file];
        inode.synced = Some(inode.content.clone());
        Ok(())
    }

    fn rename(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        self.step()?;
        let inode = *self.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        self.change(Change::Rename(from.into(), to.into(), inode));
        Ok(())
    }

    fn remove(&mut self, name: &OsStr) -> io::Result<()> {
        self.step()?;
        if !self.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change(Change::Remove(name.into()));
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.step()?;
        self.on_disk = self.names.clone();
        self.pending.clear();
        Ok(())
    }
}
