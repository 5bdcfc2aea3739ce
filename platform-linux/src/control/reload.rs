//! The request to read the configuration again, and what comes of it.
//!
//! ```text
//! > reload\n                                                 the daemon reads the file it was started with
//! > reload configuration,gossip_secret_file /etc/wg.toml\n   and with it the two files, opened, as SCM_RIGHTS
//! < done\nwg0: reloaded: peers: 1 added (paris); nothing else\n.\n
//! ```
//!
//! Files are handed over since a daemon that is not root has only copies of them, which its service manager made when it
//! started.

use super::Request;
use crate::config::FileKey;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use core::mem::MaybeUninit;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// What each file is called in a request.
const WORDS: [(FileKey, &str); 4] = [
    (FileKey::Configuration, "configuration"),
    (FileKey::Secret, "gossip_secret_file"),
    (FileKey::SecretNext, "gossip_secret_next_file"),
    (FileKey::SecretPrevious, "gossip_secret_previous_file"),
];

/// The longest name of a file in a request, in bytes: of a longer one its end.
const LONGEST_NAME: usize = 140;

/// The files of a configuration, opened by somebody who may read them.
#[derive(Debug, Clone)]
pub struct Handover {
    name: String,
    keys: Vec<FileKey>,
    files: Arc<[OwnedFd]>,
}

/// Two are the same if they are of the same files: what a descriptor stands for cannot be compared.
impl PartialEq for Handover {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.keys) == (&other.name, &other.keys)
    }
}

impl Eq for Handover {}

impl Handover {
    /// Of these files, of which the configuration is called `name`.
    #[must_use]
    pub fn new(name: &Path, files: Vec<(FileKey, File)>) -> Self {
        let mut name: String =
            name.to_string_lossy().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        if name.len() > LONGEST_NAME {
            let start = (name.len() - LONGEST_NAME..).find(|at| name.is_char_boundary(*at));
            name.drain(..start.unwrap_or_default());
        }
        let (keys, files): (Vec<_>, Vec<_>) =
            files.into_iter().map(|(key, file)| (key, OwnedFd::from(file))).unzip();
        Self { name, keys, files: files.into() }
    }

    /// What the configuration is called.
    #[must_use]
    pub fn name(&self) -> &Path {
        Path::new(&self.name)
    }

    /// The files; `None` where not all of those have come that the request names.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn files(&self) -> io::Result<Option<Vec<(FileKey, File)>>> {
        if self.files.len() != self.keys.len() {
            return Ok(None);
        }
        let open = |(key, file): (&FileKey, &OwnedFd)| Ok((*key, File::from(file.try_clone()?)));
        self.keys.iter().zip(self.files.iter()).map(open).collect::<io::Result<_>>().map(Some)
    }

    pub(super) fn words(&self) -> String {
        let word = |key: &FileKey| WORDS.iter().find(|(of, _)| of == key).map_or("", |(_, word)| word);
        format!("{} {}", self.keys.iter().map(word).collect::<Vec<_>>().join(","), self.name)
    }

    /// Reads what [`words`](Self::words) makes; the files come another way.
    pub(super) fn parse(words: &str) -> Option<Self> {
        let (keys, name) = words.split_once(' ')?;
        let key = |word: &str| WORDS.iter().find(|(_, of)| *of == word).map(|(key, _)| *key);
        let keys = keys.split(',').map(key).collect::<Option<Vec<_>>>()?;
        (!name.is_empty()).then(|| Self { name: name.to_owned(), keys, files: Arc::new([]) })
    }

    pub(super) fn take(&mut self, files: Vec<OwnedFd>) {
        self.files = files.into();
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.files.iter().map(AsFd::as_fd)
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Whether the daemon goes by the file now. Else nothing has changed.
    pub done: bool,
    /// What has changed, or why nothing has: lines for people.
    pub text: String,
}

impl Reloaded {
    const DONE: &str = "done\n";
    const REFUSED: &str = "refused\n";

    /// The text that answers.
    pub(crate) fn answer(&self) -> String {
        super::for_people([if self.done { Self::DONE } else { Self::REFUSED }, &self.text].concat())
    }

    /// Reads an answer; `None` where it is none to this request.
    #[must_use]
    pub fn parse(answer: &str) -> Option<Self> {
        let done = answer.strip_prefix(Self::DONE).map(|text| (true, text));
        let (done, text) = done.or_else(|| Some((false, answer.strip_prefix(Self::REFUSED)?)))?;
        Some(Self { done, text: text.to_owned() })
    }
}

/// Sends a request with the files that go with it. Returns whether there are any: else nothing is sent.
pub(super) fn send(stream: &UnixStream, line: &str, request: &Request) -> io::Result<bool> {
    let Request::Reload(Some(handover)) = request else { return Ok(false) };
    let files: Vec<BorrowedFd<'_>> = handover.descriptors().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(WORDS.len()))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(stream, &[IoSlice::new(line.as_bytes())], &mut ancillary, SendFlags::NOSIGNAL)?;
    // So short a line goes at once or not at all.
    if sent == line.len() { Ok(true) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Reads what there is, and files that go with it: no more than a request has.
pub(super) fn receive(stream: &UnixStream, bytes: &mut [u8], files: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(WORDS.len()))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(stream, &mut [IoSliceMut::new(bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = message {
            // The others are closed.
            files.extend(came.take(WORDS.len().saturating_sub(files.len())));
        }
    }
    Ok(received)
}
