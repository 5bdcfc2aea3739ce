//! The file that a front end reads: its bytes, its text, and the places in it.

use super::report::{Fault, Position, Report, Severity};
use super::secret::why_unreadable;
use core::ops::Range;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The largest file that is read, in bytes: 1024 peers with every key take a quarter of a megabyte.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// A file as it is on the disk. It may hold secrets, and is wiped from memory when dropped.
pub struct Source {
    /// Its bytes.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Its mode, for [`exposure`](super::exposure). That of a credential is the owner's only: systemd gives read access by
    /// an ACL, whose mask shows as the group's bits although the group has no access.
    pub mode: u32,
}

/// The variable in which systemd names the directory with the files that it has prepared for a service.
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// What is to be read for `path`: where the service manager has prepared a credential that is called as the file is, that
/// one. So the unit of a daemon without root's rights can name the files that only root may read, and whoever checks a
/// configuration as root names the same. A line end alone is what the unit puts in place of a file that is not there.
fn prepared(path: &Path, credentials: Option<&OsStr>) -> Option<PathBuf> {
    let directory = Path::new(credentials.filter(|directory| !directory.is_empty())?);
    if path.starts_with(directory) {
        return Some(path.to_owned());
    }
    let credential = directory.join(path.file_name()?);
    let there = fs::metadata(&credential).is_ok_and(|metadata| metadata.is_file() && metadata.len() > 1);
    there.then_some(credential)
}

/// Reads a file that may hold secrets: of one that has more than `limit` bytes, one byte more than that.
///
/// # Errors
/// The system's.
pub fn read_wiped(path: &Path, limit: u64) -> io::Result<Source> {
    let credential = prepared(path, env::var_os(CREDENTIALS_VARIABLE).as_deref());
    let file = File::open(credential.as_deref().unwrap_or(path))?;
    let mut source = read_open(&file, limit)?;
    if credential.is_some() {
        source.mode &= !0o077;
    }
    Ok(source)
}

fn read_open(file: &File, limit: u64) -> io::Result<Source> {
    let metadata = file.metadata()?;
    // Room for all of it from the start: a growing vector would leave copies of a secret behind.
    let size = usize::try_from(metadata.len().min(limit)).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.max(64 * 1024) + 1));
    file.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(Source { bytes, mode: metadata.mode() })
}

/// Where the files of a configuration are read from.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Files {
    /// From the disk, as when the daemon starts: where the service manager has prepared a file, that.
    #[default]
    Prepared,
    /// From the disk, later on: what the service manager has prepared is still that of the start, and refused.
    #[cfg(feature = "admin")]
    Again,
    /// Somebody who may read them has opened those that are given here. The others are on the disk.
    #[cfg(feature = "admin")]
    Handed(Vec<(FileKey, File)>),
}

/// Which of the files of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKey {
    /// The configuration itself.
    Configuration,
    /// That with the secret.
    Secret,
    /// That with the next secret.
    SecretNext,
    /// That with the secret of before.
    SecretPrevious,
}

impl Files {
    /// Reads one of them, as [`read_wiped`] does.
    #[cfg_attr(not(feature = "admin"), expect(unused_variables, reason = "there is one way only"))]
    pub(super) fn read(&self, key: FileKey, path: &Path, limit: u64) -> io::Result<Source> {
        match self {
            Self::Prepared => read_wiped(path, limit),
            #[cfg(feature = "admin")]
            Self::Again => match prepared(path, env::var_os(CREDENTIALS_VARIABLE).as_deref()) {
                None => read_open(&File::open(path)?, limit),
                Some(_) => Err(io::ErrorKind::StaleNetworkFileHandle.into()),
            },
            #[cfg(feature = "admin")]
            Self::Handed(files) => match files.iter().find(|(of, _)| *of == key) {
                // Waiting for what is no file could take for ever.
                Some((_, file)) if !file.metadata()?.is_file() => {
                    Err(io::Error::other("it is no regular file"))
                }
                Some((_, file)) => read_open(file, limit),
                None => read_open(&File::open(path)?, limit),
            },
        }
    }
}

/// Reads a configuration. `None` where it cannot be read or is too large, which is in `report` then.
pub fn read_source(path: &Path, report: &mut Report) -> Option<Source> {
    read_source_from(&Files::Prepared, path, report)
}

/// As [`read_source`], from where it is said.
pub(super) fn read_source_from(files: &Files, path: &Path, report: &mut Report) -> Option<Source> {
    match files.read(FileKey::Configuration, path, LARGEST_FILE) {
        Ok(source) if source.bytes.len() as u64 > LARGEST_FILE => {
            let what = format!("is larger than {} MiB: this cannot be a configuration", LARGEST_FILE >> 20);
            report.add(Severity::Error, None, "", Fault::new(what, ""));
            None
        }
        Ok(source) => Some(source),
        Err(error) => {
            let (why, fix) = why_unreadable(&error);
            report.add(Severity::Error, None, "", Fault::new(format!("cannot be read: {why}"), fix));
            None
        }
    }
}

/// The UTF-8 text of a file of the kind `format`, without the mark that some editors put in front. `None` where it is
/// something else, which is in `report` then.
pub fn decode<'a>(bytes: &'a [u8], format: &str, report: &mut Report) -> Option<&'a str> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let what = format!("the file is UTF-16 text, {format} is UTF-8");
        report.error(Position::START, "", Fault::new(what, "save it as UTF-8"));
        return None;
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match core::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).and_then(|good| core::str::from_utf8(good).ok());
            let good = good.unwrap_or_default();
            let byte = bytes.get(good.len()).copied().unwrap_or_default();
            let what = format!("the byte 0x{byte:02x} is not UTF-8, and {format} is UTF-8");
            report.error(
                Lines::new(good).position(good.len()),
                "",
                Fault::new(what, "save the file as UTF-8"),
            );
            None
        }
    }
}

/// Where the lines of a text begin: from byte offsets to lines and columns.
pub struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    /// Finds the lines of a text.
    pub fn new(text: &'t str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(offset, _)| offset + 1);
        Self { text, starts: core::iter::once(0).chain(after_newlines).collect() }
    }

    /// The place of a byte, in the first source of a report.
    pub fn position(&self, offset: usize) -> Position {
        let line = self.starts.partition_point(|&start| start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or_default();
        // Spans lie on character boundaries; should one not, the column is that of the line's first character.
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count());
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Position::new(number(line), number(column + 1))
    }

    /// The text of a line, counted from 1, without its end.
    pub fn line(&self, number: u32) -> &'t str {
        let index = (number as usize).saturating_sub(1);
        let start = self.starts.get(index).copied().unwrap_or(self.text.len());
        let Range { start, end } = start..self.starts.get(index + 1).copied().unwrap_or(self.text.len());
        self.text.get(start..end).unwrap_or_default().trim_end_matches(['\r', '\n'])
    }
}
