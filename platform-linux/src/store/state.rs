//! The format of the state file: text, with its version first and a checksum last, so that a person can read it and a part
//! of it is never taken for the whole.
//!
//! ```text
//! wgautomesh state 1
//! incarnation 7
//! peer o+uvbKOyDG2IaGKsRLsN2uBac6WqhXTW3+BPI+1poxQ= 203.0.113.1:33723 [2001:db8::1]:33723
//! check 7d1fc2a2a59e5bd4a2b57b1f6fd05c11
//! ```
//!
//! Only what [`encode`] writes is read: a state file is this program's own, and anything else in it means that something
//! is wrong.

use core::{fmt::Write as _, net::SocketAddr};

use wgautomesh_core::{PublicKey, StoredRecord};

use super::{Foreign, LoadError};

const NAME: &str = "wgautomesh state ";
const FIRST_LINE: &str = "wgautomesh state 1\n";
const CHECK: &str = "check ";

/// Bytes of the hash that are kept: against accidents, not against anybody.
const CHECK_BYTES: usize = 16;

/// The content of a state file.
pub fn encode(records: impl IntoIterator<Item = StoredRecord>) -> String {
    let mut text = String::from(FIRST_LINE);
    for record in records {
        // Writing to a string cannot fail.
        let _ = match record {
            StoredRecord::Incarnation(incarnation) => writeln!(text, "incarnation {incarnation}"),
            StoredRecord::Peer { key, endpoints } => {
                let _ = write!(text, "peer {key}");
                for endpoint in &endpoints {
                    let _ = write!(text, " {endpoint}");
                }
                writeln!(text)
            }
            // The enum may grow: what is not known here is not kept.
            _ => Ok(()),
        };
    }
    let _ = writeln!(text, "{CHECK}{}", checksum(&text));
    text
}

/// Some text with what makes it a state file: for the fuzzer.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn with_checksum(lines: &str) -> String {
    let text = format!("{FIRST_LINE}{lines}\n");
    format!("{text}{CHECK}{}\n", checksum(&text))
}

/// What a state file says.
///
/// # Errors
/// When it is not one of this version, or not whole.
pub fn parse(bytes: &[u8]) -> Result<Vec<StoredRecord>, LoadError> {
    let Some(body) = bytes.strip_prefix(FIRST_LINE.as_bytes()) else { return Err(what_else(bytes)) };
    let text = core::str::from_utf8(bytes).map_err(|_| LoadError::Damaged)?;
    let body = text.get(text.len() - body.len()..).unwrap_or_default();
    let mut records = Vec::new();
    let mut rest = body;
    while let Some((line, after)) = rest.split_once('\n') {
        if let Some(check) = line.strip_prefix(CHECK) {
            let checked = text.get(..text.len() - rest.len()).unwrap_or_default();
            let whole = after.is_empty() && check == checksum(checked);
            return if whole { Ok(records) } else { Err(LoadError::Damaged) };
        }
        records.push(record(line).ok_or(LoadError::Damaged)?);
        rest = after;
    }
    Err(LoadError::Damaged)
}

fn record(line: &str) -> Option<StoredRecord> {
    if let Some(incarnation) = line.strip_prefix("incarnation ") {
        return Some(StoredRecord::Incarnation(incarnation.parse().ok()?));
    }
    let mut words = line.strip_prefix("peer ")?.split(' ');
    let key = words.next()?.parse().ok()?;
    let endpoints: Vec<_> = words.map(|word| word.parse::<SocketAddr>().ok()).collect::<Option<_>>()?;
    Some(StoredRecord::peer(key, endpoints))
}

fn checksum(text: &str) -> String {
    let hash = blake3::hash(text.as_bytes());
    hash.as_bytes().iter().take(CHECK_BYTES).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// What a file is that does not begin as ours do.
fn what_else(bytes: &[u8]) -> LoadError {
    // Cut short, or never written out: some file systems then show zeroes.
    if FIRST_LINE.as_bytes().starts_with(bytes) || bytes.iter().all(|&byte| byte == 0) {
        return LoadError::Damaged;
    }
    LoadError::Foreign(if bytes.starts_with(NAME.as_bytes()) {
        Foreign::Version
    } else if is_original(bytes) {
        Foreign::Original
    } else {
        Foreign::Unknown
    })
}

/// The original writes a map by bincode: the number of its entries, then the first key, which is a public key in base64
/// with its length before it; numbers are little-endian and of 64 bits.
fn is_original(bytes: &[u8]) -> bool {
    let number = |at: usize| bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes);
    let key = bytes.get(16..60).and_then(|key| core::str::from_utf8(key).ok());
    number(0).is_some_and(|entries| (1..1 << 20).contains(&entries))
        && number(8) == Some(44)
        && key.is_some_and(|key| key.parse::<PublicKey>().is_ok())
}
