//! The files of a package, as they will lie on the router.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::error::{Context as _, Error};

/// Where programs are. Whether a file is one is not asked of the file, which may have come through a system that does not
/// keep that.
const PROGRAMS: [&str; 4] = ["/usr/bin/", "/usr/libexec/", "/etc/init.d/", "/etc/uci-defaults/"];

/// What may have a secret in it.
const PRIVATE: &str = "/etc/config/";

/// The files, by path.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<PathBuf, File>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct File {
    /// Its permissions.
    pub(crate) mode: u32,
    /// What is in it.
    pub(crate) content: Vec<u8>,
}

impl Tree {
    /// Adds what is in `folder` of this machine, to lie under `prefix` there. A folder that is not there has nothing in it.
    pub(crate) fn add_folder(&mut self, folder: &Path, prefix: &str) -> Result<(), Error> {
        if !folder.exists() {
            return Ok(());
        }
        for entry in fs::read_dir(folder).at(folder)? {
            let path = entry.at(folder)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                return Err(Error::Unpackable(path, "its name is not UTF-8"));
            };
            let there = format!("{prefix}/{name}");
            let kind = fs::symlink_metadata(&path).at(&path)?.file_type();
            if kind.is_dir() {
                self.add_folder(&path, &there)?;
            } else if kind.is_file() {
                self.add_file(&there, fs::read(&path).at(&path)?);
            } else {
                return Err(Error::Unpackable(path, "is neither a file nor a folder"));
            }
        }
        Ok(())
    }

    /// Adds a file. Its permissions follow from where it lies.
    pub(crate) fn add_file(&mut self, path: &str, content: Vec<u8>) {
        let mode = match path {
            path if path.starts_with(PRIVATE) => 0o600,
            path if PROGRAMS.iter().any(|folder| path.starts_with(folder)) => 0o755,
            _ => 0o644,
        };
        self.files.insert(path.into(), File { mode, content });
    }

    /// The files and their absolute paths, in the order of a tar archive: a folder's content follows the folder.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&Path, &File)> {
        // Paths are compared by their parts, not by their bytes: that is the order.
        self.files.iter().map(|(path, file)| (path.as_path(), file))
    }

    /// The absolute paths of the files that an upgrade must not replace after they were edited.
    pub(crate) fn conffiles(&self) -> impl Iterator<Item = &str> {
        self.files.keys().filter_map(|path| path.to_str()).filter(|path| path.starts_with(PRIVATE))
    }

    /// Whether there are no files.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The sum of the files' sizes, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.files.values().map(|file| file.content.len()).sum()
    }
}
