//! What the figures were measured on: they mean nothing without it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use crate::mesh_box::wireguard::WireGuardKind;

/// A machine and what ran on it. What could not be found out is empty.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    /// The processor's name.
    pub(super) cpu: String,
    /// How many of them are at hand.
    pub(super) cores: usize,
    /// Name and version of the kernel.
    pub(super) kernel: String,
    /// Whose WireGuard, and its version where it says it.
    pub(super) wireguard: String,
    /// Name and version of the daemon.
    pub(super) daemon: String,
    /// Size of its file, bytes.
    pub(super) daemon_bytes: u64,
    /// Whether it loads a C library.
    pub(super) daemon_linked: &'static str,
    /// Version of this program.
    pub(super) box_version: &'static str,
}

impl Machine {
    pub(super) fn new(daemon: &Path, wireguard: &WireGuardKind) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            cpu: model.map_or("", |(_, name)| name.trim()).to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            wireguard: match wireguard {
                WireGuardKind::Kernel => "the kernel's".into(),
                WireGuardKind::Embedded => "the box's own, over boringtun".into(),
                WireGuardKind::Program(path) => version(Path::new(path)),
            },
            daemon: version(daemon),
            daemon_bytes: fs::metadata(daemon).map_or(0, |data| data.len()),
            daemon_linked: linked(&fs::read(daemon).unwrap_or_default()),
            box_version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// What a program says of its version, else its name.
fn version(program: &Path) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let output =
        Command::new(program).arg("--version").output().ok().filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    match text.as_deref().and_then(|text| text.lines().next()).filter(|line| !line.is_empty()) {
        Some(line) => line.to_owned(),
        None => name,
    }
}

/// Whether an ELF file names an interpreter, which loads its libraries: a program header of type 3. Of 64-bit,
/// little-endian files only; others are not said anything about.
fn linked(file: &[u8]) -> &'static str {
    let number = |at: usize, length: usize| {
        let bytes = file.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte)))
    };
    if file.get(..6) != Some(b"\x7fELF\x02\x01") {
        return "";
    }
    let (Some(start), Some(size), Some(count)) = (number(0x20, 8), number(0x36, 2), number(0x38, 2)) else {
        return "";
    };
    let types = (0..count).map(|header| number(start.saturating_add(header * size), 4));
    if types.flatten().any(|kind| kind == 3) { "dynamically" } else { "statically" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_knows_itself() {
        let machine = Machine::new(Path::new("/proc/self/exe"), &WireGuardKind::Embedded);
        assert!(machine.cores > 0 && machine.kernel.len() > "Linux ".len(), "{machine:?}");
        assert!(machine.daemon_bytes > 0, "{machine:?}");
    }

    #[test]
    fn a_file_that_is_no_program_is_not_said_anything_about() {
        assert_eq!((linked(b""), linked(b"#!/bin/sh"), linked(b"\x7fELF\x02\x01")), ("", "", ""));
    }
}
