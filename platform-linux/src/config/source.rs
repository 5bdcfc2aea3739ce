//! The file that a front end reads: its bytes, its text, and the places in it.

use super::report::{Fault, Position, Report, Severity};
use super::secret::why_unreadable;
use core::ops::Range;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use zeroize::Zeroizing;

/// The largest file that is read, in bytes: 1024 peers with every key take a quarter of a megabyte.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// A file as it is on the disk. It may hold secrets, and is wiped from memory when dropped.
pub struct Source {
    /// Its bytes.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Its mode, for [`exposure`](super::exposure).
    pub mode: u32,
}

/// Reads a file that may hold secrets: of one that has more than `limit` bytes, one byte more than that.
///
/// # Errors
/// The system's.
pub fn read_wiped(path: &Path, limit: u64) -> io::Result<Source> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    // Room for all of it from the start: a growing vector would leave copies of a secret behind.
    let size = usize::try_from(metadata.len().min(limit)).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.max(64 * 1024) + 1));
    file.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(Source { bytes, mode: metadata.mode() })
}

/// Reads a configuration. `None` where it cannot be read or is too large, which is in `report` then.
pub fn read_source(path: &Path, report: &mut Report) -> Option<Source> {
    match read_wiped(path, LARGEST_FILE) {
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
