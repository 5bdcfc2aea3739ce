//! The virtual internet in real time: a thread between the wan interfaces of all nodes.
//!
//! It reads raw IP packets from the TUN devices, hands them to [`Internet`], and writes what comes out at the time
//! it is due. Nothing but UDP and ICMP echo passes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use embassy_time::Instant;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::initiations::{Initiations, is_initiation};
use crate::virtual_internet::{HostId, Internet, ip};

/// How many packets are read from one node before the others have their turn.
const BATCH: usize = 32;

type Command = Box<dyn FnOnce(&mut Internet<Vec<u8>>) + Send>;

/// A running internet; it ends when this is dropped.
pub(crate) struct LiveInternet {
    commands: Option<Sender<Command>>,
    initiations: Arc<Mutex<Initiations>>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl LiveInternet {
    /// Starts it between these nodes: the host of each and the packet end of its wan, in the order in which `initiations`
    /// counts what they send; then strangers.
    pub(super) fn start(
        internet: Internet<Vec<u8>>,
        wans: Vec<(HostId, File)>,
        initiations: Initiations,
    ) -> io::Result<Self> {
        let (commands, receiver) = channel();
        let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let initiations = Arc::new(Mutex::new(initiations));
        let running = Running {
            internet,
            wans: wans.into_iter().enumerate().map(|(node, (host, wan))| Wan { node, host, wan }).collect(),
            initiations: Arc::clone(&initiations),
            receiver,
            wake: Arc::clone(&wake),
            start: std::time::Instant::now(),
        };
        let thread = std::thread::Builder::new().name("internet".into()).spawn(move || running.run())?;
        Ok(Self { commands: Some(commands), initiations, wake, thread: Some(thread) })
    }

    /// Looks at the count of handshake initiations, or begins it anew.
    pub(super) fn initiations<R>(&self, act: impl FnOnce(&mut Initiations) -> R) -> R {
        // Numbers, which a panic elsewhere leaves whole.
        act(&mut self.initiations.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at or changes the internet between two packets. `None` if its thread has ended.
    pub(crate) fn with<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Internet<Vec<u8>>) -> R + Send + 'static,
    ) -> Option<R> {
        let (sender, answer) = channel();
        let command: Command = Box::new(move |internet| {
            // The asker waits below.
            let _ = sender.send(act(internet));
        });
        self.commands.as_ref()?.send(command).ok()?;
        self.wake();
        answer.recv().ok()
    }

    fn wake(&self) {
        // It fails only when the counter is full, and then the thread is being woken already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

impl Drop for LiveInternet {
    fn drop(&mut self) {
        self.commands = None;
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Wan {
    node: usize,
    host: HostId,
    wan: File,
}

struct Running {
    internet: Internet<Vec<u8>>,
    wans: Vec<Wan>,
    initiations: Arc<Mutex<Initiations>>,
    receiver: Receiver<Command>,
    wake: Arc<OwnedFd>,
    start: std::time::Instant,
}

impl Running {
    fn run(mut self) {
        let mut buffer = vec![0; 65536];
        loop {
            let Ok(ready) = self.wait() else {
                return;
            };
            let now = self.now();
            if ready.first() == Some(&0) {
                let _ = rustix::io::read(&*self.wake, &mut [0_u8; 8][..]);
                loop {
                    match self.receiver.try_recv() {
                        Ok(command) => command(&mut self.internet),
                        Err(std::sync::mpsc::TryRecvError::Empty) => break,
                        Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                    }
                }
            }
            let mut gone = Vec::new();
            for at in ready.iter().filter_map(|at| at.checked_sub(1)) {
                if self.read(now, at, &mut buffer).is_err() {
                    gone.push(at);
                }
            }
            for at in gone.into_iter().rev() {
                self.wans.remove(at);
            }
            self.deliver();
        }
    }

    /// Sleeps until a packet comes, one is due, or somebody wakes us. 0 is the waker, the others follow.
    fn wait(&self) -> io::Result<Vec<usize>> {
        let mut fds = vec![PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN)];
        fds.extend(self.wans.iter().map(|wan| PollFd::new(&wan.wan, PollFlags::IN)));
        let timeout = self.internet.poll_timeout().map(|due| {
            let micros = due.as_micros().saturating_sub(self.now().as_micros());
            let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
            Timespec { tv_sec: seconds.cast_signed(), tv_nsec: micros.cast_signed() * 1000 }
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok((0..fds.len()).filter(|&at| !fds[at].revents().is_empty()).collect())
    }

    /// Takes packets from one node. An error means that its interface is gone for good.
    fn read(&mut self, now: Instant, at: usize, buffer: &mut [u8]) -> io::Result<()> {
        let Wan { node, host, wan } = &mut self.wans[at];
        for _ in 0..BATCH {
            let length = match wan.read(buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            // What is neither UDP nor an echo (router solicitations, reports) goes no further, as on most networks.
            if let Ok(header) = ip::parse(&buffer[..length]) {
                if let Some(datagram) = ip::udp_payload(&buffer[..length]).filter(|it| is_initiation(it)) {
                    self.initiations.lock().unwrap_or_else(PoisonError::into_inner).note(*node, datagram);
                }
                self.internet.send(now, *host, header, buffer[..length].to_vec());
            }
        }
        Ok(())
    }

    fn deliver(&mut self) {
        let now = self.now();
        while let Some(mut delivered) = self.internet.poll(now) {
            if ip::rewrite(&mut delivered.payload, &delivered.header).is_err() {
                continue;
            }
            if let Some(Wan { wan, .. }) = self.wans.iter_mut().find(|wan| wan.host == delivered.to) {
                // A full queue or an interface that is down loses packets, as it would elsewhere.
                let _ = wan.write(&delivered.payload);
            }
        }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}
