//! The daemon's end of the control socket: an object for a poll loop.
//!
//! Nothing here blocks and everything is bounded: clients, bytes of a request, time. A client that sends nothing, or
//! does not read its answer, holds one of [`MAX_CLIENTS`] places for [`PATIENCE`] and delays nobody but other clients.
//!
//! ```text
//!             accept          line complete          all written
//!  (free) ──────────► Asking ──────────────► Telling ───────────► (free)
//!                       │ └─────► Waiting ────────┘ │
//!                       │   answered   settled      │
//!                       │    later                  │
//!                       │ time-out, end of file, error
//!                       └──────────────► (free) ◄───┘
//! ```

use super::{Refusal, RefusalReason, Request, VERSION, socket_path};
use crate::config::InterfaceName;
use core::fmt;
use embassy_time::{Duration, Instant};
use rustix::event::{PollFd, PollFlags};
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use std::fs;
use std::io::{self, ErrorKind, Read};
#[cfg(feature = "admin")]
use std::os::fd::OwnedFd;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Clients served at the same time; more wait in the kernel's queue. People and a monitor or two: four is plenty.
pub const MAX_CLIENTS: usize = 4;

/// The longest request, its line end included.
const MAX_REQUEST: usize = 256;

/// From being accepted to the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a file descriptor is to be polled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Something to read, or somebody to accept.
    Readable,
    /// Room to write.
    Writable,
}

impl Interest {
    /// How `poll` is asked for it.
    pub(crate) fn of(self, fd: BorrowedFd<'_>) -> PollFd<'_> {
        let flags = match self {
            Self::Readable => PollFlags::IN,
            Self::Writable => PollFlags::OUT,
        };
        PollFd::from_borrowed_fd(fd, flags)
    }
}

/// Stands for a client whose answer comes later, with [`Server::settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

#[cfg(all(test, feature = "admin"))]
impl Ticket {
    /// One that no server has given.
    pub(crate) const fn for_test(number: u64) -> Self {
        Self(number)
    }
}

/// Why there is no control socket. The daemon works without one.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// Another daemon answers there: it meshes the same interface.
    InUse(PathBuf),
    /// What is at the socket's path is no socket, and will not be removed.
    NotASocket(PathBuf),
    /// The directory belongs to somebody else, or anybody may write into it, so anybody could put a false socket there.
    UnsafeDirectory(PathBuf),
    /// The system refused.
    Io {
        /// What it was about.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(f, "{}: another wgautomesh answers there", path.display()),
            Self::NotASocket(path) => {
                write!(f, "{}: something that is not a socket is in the way", path.display())
            }
            Self::UnsafeDirectory(path) => {
                write!(f, "{}: other users may write into this directory, or own it", path.display())
            }
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl core::error::Error for BindError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// The listening socket and its clients.
///
/// In a loop: poll [`Server::interests`], until [`Server::next_timeout`] at the latest; then call [`Server::handle`].
/// Calling `handle` without need is harmless.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the socket, so that only our own is removed at the end.
    identity: (u64, u64),
    clients: [Option<Client>; MAX_CLIENTS],
    next_ticket: u64,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    deadline: Instant,
    phase: Phase,
    /// Files that came with the request.
    #[cfg(feature = "admin")]
    files: Vec<OwnedFd>,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are four at the most, and a request needs no heap this way"
)]
enum Phase {
    /// The request as far as it has come.
    Asking { line: [u8; MAX_REQUEST], len: usize },
    /// Until it is settled, or time is up.
    Waiting(Ticket),
    /// The answer, and how much of it has gone.
    Telling { answer: Vec<u8>, sent: usize },
}

impl Server {
    /// Listens for `interface` in `directory`, which is made if it is not there. A socket that nobody listens on any
    /// more, left by a daemon that was killed, is replaced.
    ///
    /// # Errors
    /// When somebody else listens there, or the place is not safe, or the system refuses.
    pub fn bind(directory: &Path, interface: &InterfaceName) -> Result<Self, BindError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| BindError::Io { path, error }
        };
        prepare_directory(directory)?;
        let path = socket_path(directory, interface);
        check_vacant(&path)?;

        // Made under a name of its own and moved: whoever finds the socket finds it listening and with its mode set.
        let temporary = directory.join(format!(".{interface}.{}", std::process::id()));
        remove_if_there(&temporary).map_err(io(&temporary))?;
        let listener = UnixListener::bind(&temporary).map_err(io(&temporary))?;
        let finish = || {
            fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600))?;
            listener.set_nonblocking(true)?;
            let metadata = fs::symlink_metadata(&temporary)?;
            fs::rename(&temporary, &path)?;
            Ok((metadata.dev(), metadata.ino()))
        };
        let identity = finish().map_err(|error| {
            let _ = fs::remove_file(&temporary);
            BindError::Io { path: path.clone(), error }
        })?;
        Ok(Self { listener, path, identity, clients: [const { None }; MAX_CLIENTS], next_ticket: 0 })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What to poll for. At most [`MAX_CLIENTS`] + 1.
    pub fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Interest)> {
        // Without a free place the queue is left alone, or a poll would return at once for ever.
        let listener = self.has_place().then(|| (self.listener.as_fd(), Interest::Readable));
        let clients = self.clients.iter().flatten().filter_map(|client| match client.phase {
            Phase::Asking { .. } => Some((client.stream.as_fd(), Interest::Readable)),
            Phase::Waiting(_) => None,
            Phase::Telling { .. } => Some((client.stream.as_fd(), Interest::Writable)),
        });
        listener.into_iter().chain(clients)
    }

    /// When [`Server::handle`] is to be called at the latest, if at all.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.clients.iter().flatten().map(|client| client.deadline).min()
    }

    /// Accepts, reads, answers and lets go, as far as it goes without waiting. `answer` makes the document for a
    /// request; it is called at most [`MAX_CLIENTS`] times. Where it makes none, the client waits until its ticket is settled.
    ///
    /// The number of system calls is bounded: per client a request's worth of reads and an answer's worth of writes.
    pub fn handle(&mut self, now: Instant, mut answer: impl FnMut(Request, Ticket) -> Option<String>) {
        self.accept(now);
        for place in &mut self.clients {
            let next_ticket = &mut self.next_ticket;
            let mut answer = |request| {
                let ticket = Ticket(*next_ticket);
                *next_ticket += 1;
                answer(request, ticket).ok_or(ticket)
            };
            if let Some(client) = place
                && (client.deadline <= now || client.advance(&mut answer).is_break())
            {
                *place = None;
            }
        }
    }

    /// Gives the answer that a client waits for, and sends what goes without waiting. Nothing happens if the client's time was
    /// up before.
    pub fn settle(&mut self, ticket: Ticket, answer: String) {
        let waits = |place: &&mut Option<Client>| {
            place
                .as_ref()
                .is_some_and(|client| matches!(client.phase, Phase::Waiting(other) if other == ticket))
        };
        let Some(place) = self.clients.iter_mut().find(waits) else { return };
        if let Some(client) = place
            && client.begin(answer).is_break()
        {
            *place = None;
        }
    }

    fn has_place(&self) -> bool {
        self.clients.iter().any(Option::is_none)
    }

    fn accept(&mut self, now: Instant) {
        for place in &mut self.clients {
            if place.is_some() {
                continue;
            }
            // Whatever keeps us from accepting (nobody there, no descriptor left), the next poll asks again.
            let Ok((stream, _)) = self.listener.accept() else { return };
            if !may_ask(&stream) || stream.set_nonblocking(true).is_err() {
                continue;
            }
            let phase = Phase::Asking { line: [0; MAX_REQUEST], len: 0 };
            *place = Some(Client {
                stream,
                deadline: now.saturating_add(PATIENCE),
                phase,
                #[cfg(feature = "admin")]
                files: Vec::new(),
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Only the socket we made: a successor may have put its own there already.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether there is more to do for a client.
pub(crate) type Flow = core::ops::ControlFlow<()>;

impl Client {
    /// Goes on until it would have to wait; breaks when there is nothing left to do for this client.
    fn advance(&mut self, answer: &mut impl FnMut(Request) -> Result<String, Ticket>) -> Flow {
        #[cfg(feature = "admin")]
        let mut stream = WithFiles { stream: &self.stream, files: &mut self.files };
        #[cfg(not(feature = "admin"))]
        let mut stream = &self.stream;
        match &mut self.phase {
            Phase::Asking { line, len } => match ask(&mut stream, line, len, answer)? {
                None => Flow::Continue(()),
                Some(Ok(reply)) => self.begin(reply),
                Some(Err(ticket)) => {
                    self.phase = Phase::Waiting(ticket);
                    Flow::Continue(())
                }
            },
            Phase::Waiting(_) => Flow::Continue(()),
            Phase::Telling { answer, sent } => tell(&mut self.stream, answer, sent),
        }
    }

    /// Sends what goes of the answer without waiting.
    fn begin(&mut self, answer: String) -> Flow {
        let answer = answer.into_bytes();
        let mut sent = 0;
        tell(&mut self.stream, &answer, &mut sent)?;
        self.phase = Phase::Telling { answer, sent };
        Flow::Continue(())
    }
}

/// What a client asks with.
trait Asking: Read {
    /// Gives a request what else has come with it.
    fn complete(&mut self, request: Request) -> Request {
        request
    }
}

#[cfg(not(feature = "admin"))]
impl Asking for &UnixStream {}

/// A stream, and the files that have come by it.
#[cfg(feature = "admin")]
struct WithFiles<'c> {
    stream: &'c UnixStream,
    files: &'c mut Vec<OwnedFd>,
}

#[cfg(feature = "admin")]
impl Read for WithFiles<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        super::reload::receive(self.stream, room, self.files)
    }
}

#[cfg(feature = "admin")]
impl Asking for WithFiles<'_> {
    fn complete(&mut self, mut request: Request) -> Request {
        if let Request::Reload(Some(handover)) = &mut request {
            handover.take(core::mem::take(self.files));
        }
        request
    }
}

/// Reads what has come of the request. Once the line is complete, the answer or the ticket for it.
fn ask(
    stream: &mut impl Asking,
    line: &mut [u8; MAX_REQUEST],
    len: &mut usize,
    answer: &mut impl FnMut(Request) -> Result<String, Ticket>,
) -> core::ops::ControlFlow<(), Option<Result<String, Ticket>>> {
    use core::ops::ControlFlow::{Break, Continue};
    loop {
        let Some(room) = line.get_mut(*len..).filter(|room| !room.is_empty()) else {
            return Continue(Some(Ok(refusal("request-too-long", "a request is one short line"))));
        };
        match stream.read(room) {
            Ok(0) => return Break(()),
            Ok(read) => *len += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Continue(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return Break(()),
        }
        let so_far = line.get(..*len).unwrap_or_default();
        if let Some(end) = so_far.iter().position(|&byte| byte == b'\n') {
            let text = so_far.get(..end).and_then(|text| core::str::from_utf8(text).ok());
            return Continue(Some(match text.and_then(Request::parse) {
                Some(request) => answer(stream.complete(request)),
                None => {
                    let message = format!("this version knows the requests {}", Request::KNOWN);
                    Ok(refusal("unknown-request", &message))
                }
            }));
        }
    }
}

/// Writes what fits. Breaks when all has gone, or can no longer go.
pub(crate) fn tell(stream: &mut impl io::Write, answer: &[u8], sent: &mut usize) -> Flow {
    loop {
        let Some(rest) = answer.get(*sent..).filter(|rest| !rest.is_empty()) else { return Flow::Break(()) };
        match stream.write(rest) {
            Ok(0) => return Flow::Break(()),
            Ok(written) => *sent += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Flow::Continue(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return Flow::Break(()),
        }
    }
}

/// The document for a request that is not answered.
pub(crate) fn refusal(id: &str, message: &str) -> String {
    let document =
        Refusal { version: VERSION, error: RefusalReason { id: id.to_owned(), message: message.to_owned() } };
    let mut text = serde_json::to_string(&document).unwrap_or_default();
    text.push('\n');
    text
}

/// Whether a client is root or our own user: beyond the mode of the socket, which an odd umask, a move of the file or a
/// shared directory could undo.
fn may_ask(stream: &UnixStream) -> bool {
    socket_peercred(stream).is_ok_and(|peer| peer.uid.is_root() || peer.uid == geteuid())
}

/// Makes the directory, or sees to it that nobody else can put a socket into the one that is there.
fn prepare_directory(directory: &Path) -> Result<(), BindError> {
    let io = |error| BindError::Io { path: directory.to_owned(), error };
    match fs::DirBuilder::new().mode(0o755).create(directory) {
        // The mode above is cut by the umask; the directory holds nothing secret and is to be seen.
        Ok(()) => fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).map_err(io)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io(error)),
    }
    let metadata = fs::symlink_metadata(directory).map_err(io)?;
    let ours = metadata.uid() == 0 || metadata.uid() == geteuid().as_raw();
    if !metadata.is_dir() || !ours || metadata.mode() & 0o002 != 0 {
        return Err(BindError::UnsafeDirectory(directory.to_owned()));
    }
    Ok(())
}

/// Sees to it that nobody listens at `path`.
fn check_vacant(path: &Path) -> Result<(), BindError> {
    let io = |error| BindError::Io { path: path.to_owned(), error };
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(BindError::InUse(path.to_owned())),
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(()),
        Err(error) => Err(io(error)),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
