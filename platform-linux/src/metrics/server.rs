//! The metrics by HTTP: an object for the daemon's poll loop, as the control socket's server is.
//!
//! Nothing here blocks and everything is bounded: clients, bytes of a request, time, and how often one is served, whoever
//! connects. A client that sends nothing, or does not read its answer, holds one of [`MAX_CLIENTS`] places for [`PATIENCE`]
//! and delays nobody but other clients.
//!
//! ```text
//!          accept          head complete          all written        read to its end
//!  (free) ────────► Asking ─────────────► Telling ───────────► (free) ◄───────── Leaving
//!                     │                      │  the request was not read whole      ▲ │
//!                     │                      └──────────────────────────────────────┘ │
//!                     └──► (free): time-out, end of file, error, here and from there ◄┘
//! ```
//!
//! Where it cannot listen, that is said once and tried again: the mesh does not depend on it. The address need not be there
//! yet, as that of this node in the mesh is not before its interface.

use core::net::SocketAddr;
use std::{
    io::{self, ErrorKind, Read as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::{AsFd as _, BorrowedFd},
};

use socket2::{Domain, Protocol, Socket, Type};
use wgautomesh_core::{Duration, Instant};

use super::http::{self, MAX_HEAD, Verdict};
use crate::control::{Flow, Interest, tell};

/// Clients served at the same time; more wait in the kernel's queue. A pair of Prometheus servers, and a person.
pub(super) const MAX_CLIENTS: usize = 4;

/// In the kernel's queue.
const BACKLOG: i32 = 16;

/// From being accepted to the end. As long as Prometheus waits where it is not told otherwise.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// One client more is accepted each time; after a pause, [`BURST`] at once. The text of a thousand peers takes milliseconds to
/// make, which nobody is to ask for without end.
pub(super) const INTERVAL: Duration = Duration::from_millis(100);
pub(super) const BURST: u32 = 8;

/// Between two attempts to listen.
pub(super) const RETRY: Duration = Duration::from_secs(60);

/// Read of a request that is refused, lest the answer be lost by the reset of a connection with bytes unread.
const MOST_DISCARDED: usize = 64 * 1024;

/// What is read at once.
const CHUNK: usize = 2048;

/// The listening socket and its clients.
///
/// In a loop: poll [`Server::interests`], until [`Server::next_timeout`] at the latest; then call [`Server::handle`].
/// Calling `handle` without need is harmless.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it is to listen.
    address: Option<SocketAddr>,
    listening: Listening,
    clients: [Option<Client>; MAX_CLIENTS],
    allowance: Allowance,
}

#[derive(Debug)]
enum Listening {
    /// Nobody wants it.
    Off,
    At(TcpListener),
    /// It could not, and said why.
    Later {
        at: Instant,
        said: String,
    },
}

#[derive(Debug)]
struct Client {
    stream: TcpStream,
    deadline: Instant,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// The request as far as it has come; at most [`MAX_HEAD`].
    Asking(Vec<u8>),
    /// The answer, how much of it has gone, and whether the request was read whole.
    Telling { answer: Vec<u8>, sent: usize, is_whole: bool },
    /// The answer has gone; how much has been read of what the request still brings.
    Leaving { discarded: usize },
}

impl Server {
    /// Listens at an address, if at any.
    pub(crate) fn new(address: Option<SocketAddr>, now: Instant) -> Self {
        let mut server = Self {
            address: None,
            listening: Listening::Off,
            clients: [const { None }; MAX_CLIENTS],
            allowance: Allowance::full(now),
        };
        server.listen_at(address, now);
        server
    }

    /// Listens at another address, or at none any more. Who is being served is served to the end.
    pub(crate) fn listen_at(&mut self, address: Option<SocketAddr>, now: Instant) {
        if self.address == address {
            return;
        }
        self.address = address;
        // First, since the other may take in this one's port.
        self.listening = Listening::Off;
        if let Some(address) = address {
            self.listening = Listening::try_at(address, now, None);
        }
    }

    /// What to poll for. At most [`MAX_CLIENTS`] + 1.
    pub(crate) fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Interest)> {
        // Who cannot be served now is left in the queue, or a poll would return at once for ever.
        let serves = self.clients.iter().any(Option::is_none) && self.allowance.exhausted.is_none();
        let listener = match &self.listening {
            Listening::At(listener) if serves => Some((listener.as_fd(), Interest::Readable)),
            _ => None,
        };
        let clients = self.clients.iter().flatten().map(|client| match client.phase {
            Phase::Asking(_) | Phase::Leaving { .. } => (client.stream.as_fd(), Interest::Readable),
            Phase::Telling { .. } => (client.stream.as_fd(), Interest::Writable),
        });
        listener.into_iter().chain(clients)
    }

    /// When [`Server::handle`] is to be called at the latest, if at all.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let retry = match self.listening {
            Listening::Later { at, .. } => Some(at),
            Listening::Off | Listening::At(_) => None,
        };
        let deadlines = self.clients.iter().flatten().map(|client| client.deadline);
        deadlines.chain(retry).chain(self.allowance.exhausted).min()
    }

    /// Accepts, reads, answers and lets go, as far as it goes without waiting. `metrics` makes the text; it is called at
    /// most [`MAX_CLIENTS`] times, and over time no more than once in an [`INTERVAL`].
    pub(crate) fn handle(&mut self, now: Instant, mut metrics: impl FnMut() -> String) {
        if let (Listening::Later { at, said }, Some(address)) = (&mut self.listening, self.address)
            && *at <= now
        {
            let said = core::mem::take(said);
            self.listening = Listening::try_at(address, now, Some(said));
        }
        self.accept(now);
        for place in &mut self.clients {
            if let Some(client) = place
                && (client.deadline <= now || client.advance(&mut metrics).is_break())
            {
                *place = None;
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        let Listening::At(listener) = &self.listening else { return };
        for place in self.clients.iter_mut().filter(|place| place.is_none()) {
            if !self.allowance.refill(now) {
                return;
            }
            match listener.accept() {
                Ok((stream, _)) => {
                    self.allowance.take(now);
                    if stream.set_nonblocking(true).is_ok() {
                        let (deadline, phase) = (now.saturating_add(PATIENCE), Phase::Asking(Vec::new()));
                        *place = Some(Client { stream, deadline, phase });
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Who has gone again.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                // No descriptor is left, say: the poll would return at once for ever.
                Err(_) => return self.allowance.exhaust(now),
            }
        }
    }

    /// Where it listens.
    #[cfg(test)]
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match &self.listening {
            Listening::At(listener) => listener.local_addr().ok(),
            Listening::Off | Listening::Later { .. } => None,
        }
    }
}

impl Listening {
    /// Listens, or tries again later; `said` is the complaint of before.
    fn try_at(address: SocketAddr, now: Instant, said: Option<String>) -> Self {
        let error = match listen(address) {
            Ok(listener) => {
                log::info!("metrics: http://{address}/metrics");
                return Self::At(listener);
            }
            Err(error) => error,
        };
        let advice = match error.kind() {
            ErrorKind::AddrInUse => "; give metrics_listen another port, one for each daemon",
            ErrorKind::PermissionDenied => "; give metrics_listen a port from 1024 on",
            _ => "",
        };
        let line = format!("metrics: cannot listen at {address}: {error}{advice}");
        if said.as_ref() != Some(&line) {
            log::warn!("{line}; trying again each minute");
        }
        Self::Later { at: now.saturating_add(RETRY), said: line }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    // A connection of before that is not quite over keeps nobody from the port.
    socket.set_reuse_address(true)?;
    if address.is_ipv4() {
        socket.set_freebind_v4(true)?;
    } else {
        // As it is written, and nothing else.
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// How many clients may still be accepted: a token bucket.
#[derive(Debug)]
struct Allowance {
    left: u32,
    /// When the last one was given.
    since: Instant,
    /// When there is one again, if there is none.
    exhausted: Option<Instant>,
}

impl Allowance {
    const fn full(now: Instant) -> Self {
        Self { left: BURST, since: now, exhausted: None }
    }

    /// Gives what time has earned; whether there is any.
    fn refill(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.since).as_micros() / INTERVAL.as_micros();
        if earned > 0 {
            self.left = BURST.min(self.left.saturating_add(u32::try_from(earned).unwrap_or(BURST)));
            self.since = now;
        }
        if self.left > 0 {
            self.exhausted = None;
        }
        self.left > 0
    }

    fn take(&mut self, now: Instant) {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.exhaust(now);
        }
    }

    fn exhaust(&mut self, now: Instant) {
        (self.left, self.since) = (0, now);
        self.exhausted = Some(now.saturating_add(INTERVAL));
    }
}

impl Client {
    /// Goes on until it would have to wait; breaks when there is nothing left to do for this client.
    fn advance(&mut self, metrics: &mut impl FnMut() -> String) -> Flow {
        loop {
            match &mut self.phase {
                Phase::Asking(head) => match ask(&mut self.stream, head)? {
                    None => return Flow::Continue(()),
                    Some(request) => {
                        // Only who gets what it wants is known to have said no more than that.
                        let is_whole = request.verdict == Verdict::Metrics;
                        let answer = http::answer(request, &mut *metrics);
                        self.phase = Phase::Telling { answer, sent: 0, is_whole };
                    }
                },
                Phase::Telling { answer, sent, is_whole } => {
                    let flow = tell(&mut self.stream, answer, sent);
                    if flow.is_continue() || *is_whole || *sent < answer.len() {
                        return flow;
                    }
                    if self.stream.shutdown(Shutdown::Write).is_err() {
                        return Flow::Break(());
                    }
                    self.phase = Phase::Leaving { discarded: 0 };
                }
                Phase::Leaving { discarded } => return discard(&mut self.stream, discarded),
            }
        }
    }
}

/// Reads what has come of the request.
fn ask(stream: &mut TcpStream, head: &mut Vec<u8>) -> core::ops::ControlFlow<(), Option<http::Request>> {
    use core::ops::ControlFlow::{Break, Continue};
    let mut chunk = [0; CHUNK];
    loop {
        let room = CHUNK.min(MAX_HEAD.saturating_sub(head.len()));
        match stream.read(chunk.get_mut(..room).unwrap_or_default()) {
            Ok(0) => return Break(()),
            Ok(read) => head.extend_from_slice(chunk.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Continue(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return Break(()),
        }
        // A head of the greatest length is answered in any case.
        if let Some(request) = http::read(head) {
            return Continue(Some(request));
        }
    }
}

/// Reads on until the other side has seen the answer and closes.
fn discard(stream: &mut TcpStream, discarded: &mut usize) -> Flow {
    let mut chunk = [0; CHUNK];
    while *discarded < MOST_DISCARDED {
        match stream.read(&mut chunk) {
            Ok(0) => return Flow::Break(()),
            Ok(read) => *discarded += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Flow::Continue(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Flow::Break(()),
        }
    }
    Flow::Break(())
}

#[cfg(test)]
mod tests;
