//! The asking end of the control socket.

use super::{END_OF_TEXT, Request, socket_path};
use crate::config::InterfaceName;
use core::fmt;
use core::time::Duration;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The most that is read: 1024 peers take half a megabyte.
const LARGEST_ANSWER: u64 = 16 * 1024 * 1024;

/// Why there was no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum FetchError {
    /// No daemon meshes this interface: no socket, or nobody behind it.
    NotRunning(PathBuf),
    /// The socket is for root and for the user the daemon runs as.
    NotAllowed(PathBuf),
    /// The daemon did not answer in time.
    TimedOut,
    /// The daemon hung up without an answer, or with half of one.
    Incomplete,
    /// The daemon does not know the request, as one of before may not: its reason.
    Refused(String),
    /// The daemon knows the request, and there is no answer to it: its reason.
    #[cfg(feature = "admin")]
    Declined(String),
    /// Something else went wrong.
    Io(io::Error),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning(path) => write!(f, "no wgautomesh listens at {}", path.display()),
            Self::NotAllowed(path) => {
                write!(f, "{} is for root and the user the daemon runs as only", path.display())
            }
            Self::TimedOut => f.write_str("the daemon did not answer in time"),
            Self::Incomplete => f.write_str("the daemon hung up in the middle of its answer"),
            Self::Refused(message) => write!(f, "the daemon refused: {message}"),
            #[cfg(feature = "admin")]
            Self::Declined(message) => f.write_str(message),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for FetchError {}

impl FetchError {
    fn from_io(error: io::Error, path: &Path) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::NotFound | Kind::ConnectionRefused => Self::NotRunning(path.to_owned()),
            Kind::PermissionDenied => Self::NotAllowed(path.to_owned()),
            Kind::WouldBlock | Kind::TimedOut => Self::TimedOut,
            Kind::ConnectionReset | Kind::BrokenPipe => Self::Incomplete,
            _ => Self::Io(error),
        }
    }
}

/// Asks the daemon of `interface` and returns its answer, one line of JSON or text for people. Waits up to `patience` for each part of it.
///
/// # Errors
/// When no daemon answers, or not with what was asked for.
pub fn fetch(
    directory: &Path,
    interface: &InterfaceName,
    request: &Request,
    patience: Duration,
) -> Result<String, FetchError> {
    let path = socket_path(directory, interface);
    let answer = exchange(&path, request, patience).map_err(|error| FetchError::from_io(error, &path))?;
    // Each document is one line: the end of it tells a whole one from one that was cut off.
    let mut text = String::from_utf8(answer).map_err(|_| FetchError::Incomplete)?;
    if !text.ends_with('\n') {
        return Err(FetchError::Incomplete);
    }
    if let Some(why) = refusal(&text) {
        #[cfg(feature = "admin")]
        if let Some(message) = declined(&text) {
            return Err(FetchError::Declined(message));
        }
        return Err(FetchError::Refused(why));
    }
    if request.is_for_people() {
        let whole = text.strip_suffix(END_OF_TEXT).ok_or(FetchError::Incomplete)?;
        text.truncate(whole.len());
    }
    Ok(text)
}

/// Why a request was refused, if the answer is a [`Refusal`](super::Refusal): its reason, as it is spelled in JSON.
fn refusal(answer: &str) -> Option<String> {
    let rest = answer.strip_prefix("{\"version\":")?.trim_start_matches(|c: char| c.is_ascii_digit());
    Some(rest.strip_prefix(",\"error\":")?.trim_end().trim_end_matches('}').to_owned() + "}")
}

/// The message of a [`Refusal`](super::Refusal) of something that the daemon does know how to answer.
#[cfg(feature = "admin")]
fn declined(answer: &str) -> Option<String> {
    let refusal: super::Refusal = serde_json::from_str(answer).ok()?;
    (refusal.error.id != "unknown-request").then_some(refusal.error.message)
}

fn exchange(path: &Path, request: &Request, patience: Duration) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let line = format!("{}\n", request.line());
    #[cfg(feature = "admin")]
    let sent = super::reload::send(&stream, &line, request)?;
    #[cfg(not(feature = "admin"))]
    let sent = false;
    if !sent {
        stream.write_all(line.as_bytes())?;
    }
    let mut answer = Vec::new();
    stream.take(LARGEST_ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The interfaces that have a socket in `directory`, by name. Whether anybody listens there shows when asking.
///
/// # Errors
/// When the directory cannot be read; that it is not there is no error, only no daemon.
pub fn running(directory: &Path) -> io::Result<Vec<InterfaceName>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names: Vec<InterfaceName> = entries
        .flatten()
        .filter_map(|entry| InterfaceName::parse(entry.file_name().to_str()?.strip_suffix(".sock")?).ok())
        .collect();
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    Ok(names)
}
