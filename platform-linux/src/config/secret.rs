//! The gossip secret: the one thing in a configuration that must never be shown.

use super::report::{Fault, quoted_path};
use super::source::{FileKey, Files, Source};
use std::io;
use std::path::Path;
use wgautomesh_core::SharedKey;
use zeroize::Zeroizing;

/// The secret that all nodes of a mesh share. Never empty; wiped from memory when dropped.
///
/// It has no `Debug`, no `Display` and no `Clone`, so that it cannot end up in a log by accident.
pub struct Secret(Zeroizing<Box<str>>);

impl Secret {
    /// Below this many characters a secret can be guessed by trying.
    pub const SHORT: usize = 16;

    /// Takes a secret as it is, every character of it.
    ///
    /// # Errors
    /// When it is empty: an empty secret would be a mesh that anybody on the tunnel can speak in.
    pub fn new(text: Zeroizing<String>) -> Result<Self, Fault> {
        if text.is_empty() {
            return Err(Fault::new(
                "is empty, which would let anyone speak for this mesh",
                "put there what `wgautomesh genkey` prints, the same on every node",
            ));
        }
        // `into_boxed_str` may move the text and leave a copy behind; a fresh copy and a wiped original do not.
        Ok(Self(Zeroizing::new(Box::from(text.as_str()))))
    }

    /// The key that the gossip is sealed with.
    pub fn key(&self) -> SharedKey {
        SharedKey::derive(self.reveal().as_bytes())
    }

    /// Whether it is the same text.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.reveal() == other.reveal()
    }

    /// The secret, for deriving the key that seals the gossip.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What makes this secret weak or surprising, if anything. `from_file` tells where it came from.
    pub fn caution(&self, from_file: bool) -> Option<Fault> {
        let text = self.reveal();
        let chars = text.chars().count();
        if chars < Self::SHORT {
            let what =
                format!("is only {chars} character{}: it can be guessed", if chars == 1 { "" } else { "s" });
            return Some(Fault::new(what, "put what `wgautomesh genkey` prints on every node"));
        }
        if text.contains('\n') && from_file {
            let what = "has more than one line, and all of it is the secret";
            return Some(Fault::new(what, "if only one line is meant, remove the others"));
        }
        if text.trim() != text {
            let what = "begins or ends with white space, which is part of the secret";
            return Some(Fault::new(what, "remove it unless every node has it too"));
        }
        None
    }
}

/// The longest secret file that is read, in bytes: far more than any secret, far less than a disk.
const LARGEST_FILE: u64 = 64 * 1024;

/// A secret read from a file, and what to warn of about the file.
pub struct SecretFile {
    /// The secret, without the line ends at the end of the file.
    pub secret: Secret,
    /// That others can read the file, if so.
    pub exposed: Option<Fault>,
}

/// Reads the secret from a file. Line ends at the end of the file (`\n` or `\r\n`, any number of them, as a shell's
/// `$(cat FILE)` would have it) are not part of the secret; everything else is.
///
/// # Errors
/// When the file cannot be read, is not UTF-8, or holds no secret.
pub fn read_secret_file(files: &Files, key: FileKey, path: &Path) -> Result<SecretFile, Fault> {
    let Source { bytes, mode } = files.read(key, path, LARGEST_FILE).map_err(|error| {
        if error.kind() == io::ErrorKind::IsADirectory {
            let fix = "give the file in it that holds the secret";
            return Fault::new(format!("{} is a directory", quoted_path(path)), fix);
        }
        unreadable(path, &error)
    })?;
    let exposed = exposure(path, mode);
    if bytes.len() as u64 > LARGEST_FILE {
        let what = format!(
            "{} is larger than {} KiB: it cannot be a secret",
            quoted_path(path),
            LARGEST_FILE / 1024
        );
        return Err(Fault::new(what, "give the file that holds the secret"));
    }
    let Ok(text) = core::str::from_utf8(&bytes) else {
        return Err(Fault::new(
            format!("{} is not UTF-8 text", quoted_path(path)),
            "write what `wgautomesh genkey` prints into it, not raw random bytes",
        ));
    };
    let text = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
    let secret = Secret::new(text)
        .map_err(|fault| Fault { what: format!("{} {}", quoted_path(path), fault.what), ..fault })?;
    Ok(SecretFile { secret, exposed })
}

/// That others may read what holds a secret, if the mode says so.
pub fn exposure(path: &Path, mode: u32) -> Option<Fault> {
    let who = match (mode & 0o040 != 0, mode & 0o004 != 0) {
        (_, true) => "every user of this machine",
        (true, false) => "the file's group",
        (false, false) => return None,
    };
    let what = format!(
        "{} holds the secret and can be read by {who} (mode {:04o})",
        quoted_path(path),
        mode & 0o7777
    );
    Some(Fault::new(what, format!("chmod 600 {}", path.display().to_string().escape_debug())))
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    let (why, fix) = why_unreadable(error);
    Fault::new(format!("{} cannot be read: {why}", quoted_path(path)), fix)
}

/// The reason and the remedy for a file that cannot be read.
pub(super) fn why_unreadable(error: &io::Error) -> (String, &'static str) {
    match error.kind() {
        io::ErrorKind::NotFound => ("there is no such file".into(), "create it, or correct the path"),
        io::ErrorKind::NotADirectory => ("a part of the path is not a directory".into(), "correct the path"),
        io::ErrorKind::PermissionDenied => {
            ("permission denied".into(), "make it readable for the user that runs the daemon")
        }
        io::ErrorKind::IsADirectory => ("it is a directory".into(), "correct the path"),
        #[cfg(feature = "admin")]
        io::ErrorKind::StaleNetworkFileHandle => (
            "the service manager has copied it for this daemon at the start, and does not copy it again"
                .into(),
            "use `systemctl reload`, or `wgautomesh reload FILE` as root",
        ),
        _ => (plain(error), ""),
    }
}

/// An error of the system without the number that `io::Error` appends.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}
