//! Takes from a program what is not needed to run it: everything that no segment loads, which is the section headers and
//! what only they refer to (symbols, comments, MIPS's procedure descriptors). OpenWrt calls that `sstrip`. Other strippers
//! leave the headers, and know only the machines they were built for.

use crate::error::Error;

/// Where things are in the two widths of ELF, in bytes from the start of the file header or of a program header.
struct Layout {
    word: usize,
    program_headers: usize,
    section_headers: usize,
    program_header_size: usize,
    section_count: usize,
    segment_offset: usize,
    segment_size: usize,
}

const LAYOUT_32: Layout = Layout {
    word: 4,
    program_headers: 28,
    section_headers: 32,
    program_header_size: 42,
    section_count: 48,
    segment_offset: 4,
    segment_size: 16,
};

const LAYOUT_64: Layout = Layout {
    word: 8,
    program_headers: 32,
    section_headers: 40,
    program_header_size: 54,
    section_count: 60,
    segment_offset: 8,
    segment_size: 32,
};

/// Strips a program.
pub(crate) fn strip(mut elf: Vec<u8>) -> Result<Vec<u8>, Error> {
    let end = loaded(&elf).ok_or(Error::Elf("is no ELF file, or is cut off"))?;
    let layout = layout(&elf).ok_or(Error::Elf("is no ELF file"))?;
    elf.truncate(end);
    for (at, len) in [(layout.section_headers, layout.word), (layout.section_count, 4)] {
        // The number of sections, and after it which one has their names.
        elf.get_mut(at..at + len).ok_or(Error::Elf("loads nothing"))?.fill(0);
    }
    Ok(elf)
}

/// The end of the last byte that the file header, the program headers or a segment take.
fn loaded(elf: &[u8]) -> Option<usize> {
    let layout = layout(elf)?;
    let headers = number(elf, layout.program_headers, layout.word)?;
    let size = number(elf, layout.program_header_size, 2)?;
    let count = number(elf, layout.program_header_size + 2, 2)?;
    let mut end = headers.checked_add(size.checked_mul(count)?)?;
    for index in 0..count {
        let header = headers + index * size;
        let offset = number(elf, header + layout.segment_offset, layout.word)?;
        let length = number(elf, header + layout.segment_size, layout.word)?;
        end = end.max(offset.checked_add(length)?);
    }
    (end <= elf.len()).then_some(end)
}

fn layout(elf: &[u8]) -> Option<Layout> {
    if !elf.starts_with(b"\x7fELF") {
        return None;
    }
    match elf.get(4)? {
        1 => Some(LAYOUT_32),
        2 => Some(LAYOUT_64),
        _ => None,
    }
}

/// The number of `len` bytes at `at`, in the file's byte order.
fn number(elf: &[u8], at: usize, len: usize) -> Option<usize> {
    let bytes = elf.get(at..at.checked_add(len)?)?;
    let add = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
    let number = match elf.get(5)? {
        1 => bytes.iter().rev().fold(0, add),
        _ => bytes.iter().fold(0, add),
    };
    number.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

    #[test]
    fn a_stripped_program_is_smaller_and_runs() {
        // This one: it has symbols.
        let whole = fs::read(std::env::current_exe().unwrap()).unwrap();
        let stripped = strip(whole.clone()).unwrap();
        assert!(stripped.len() < whole.len(), "{} of {}", stripped.len(), whole.len());
        let path = std::env::temp_dir().join(format!("stripped-{}", std::process::id()));
        fs::write(&path, &stripped).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let output = Command::new(&path).arg("--list").output();
        fs::remove_file(&path).unwrap();
        let output = output.unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("a_stripped_program"));
        // Nothing is left to take.
        assert_eq!(strip(stripped.clone()).unwrap(), stripped);
    }

    /// A program for a 32-bit big-endian machine: headers, a segment of 8 bytes, and 5 bytes that none loads.
    #[test]
    fn the_other_width_and_byte_order() {
        let mut elf = vec![0; 97];
        elf[..6].copy_from_slice(b"\x7fELF\x01\x02");
        elf[31] = 52; // program headers behind the file header
        elf[35] = 92; // section headers
        elf[43] = 32; // size of a program header
        elf[45] = 1; // one
        elf[49] = 3; // sections
        elf[51] = 2; // the one with the names
        elf[59] = 84; // the segment's offset
        elf[71] = 8; // its size
        let stripped = strip(elf.clone()).unwrap();
        assert_eq!(stripped.len(), 92);
        elf.truncate(92);
        (elf[35], elf[49], elf[51]) = (0, 0, 0);
        assert_eq!(stripped, elf);
    }

    #[test]
    fn what_is_no_program_is_refused() {
        for elf in [&b""[..], b"#!/bin/sh\n", b"\x7fELF\x02\x01", b"\x7fELF\x09\x01"] {
            assert!(strip(elf.to_vec()).is_err());
        }
        let mut cut_off = fs::read(std::env::current_exe().unwrap()).unwrap();
        cut_off.truncate(1000);
        assert!(strip(cut_off).is_err());
    }
}
