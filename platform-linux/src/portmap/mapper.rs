//! When to ask, and what holds: the part in the loop.
//!
//! ```text
//!           port known            thread ends              half the lease, 10 min at most
//!   idle ───────────────► asking ─────────────► mapped ────────────────────────────────┐
//!    ▲                      │ ▲ failed, or 3.1 s: after 10 s … 10 min                  │
//!    │                      └─┘                                                        │
//!    └──── a link or address changed, a peer was lost, the gateway announces: sooner ◄─┘
//! ```

use core::net::{IpAddr, SocketAddr};
use std::{
    io,
    net::UdpSocket,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use wgautomesh_core::{Duration, Instant};

use super::{Failure, Mapping, Outcome, Wanted, Why, natpmp, pcp, worker};
use crate::{
    control::status,
    errands::{Errands, spawn},
};

/// What is asked for, in seconds.
const LEASE: u32 = 3600;
/// What a gateway gives is taken for at least and at most this long, in seconds.
const LEASES: (u32, u32) = (60, 86_400);
/// A mapping is looked after this often at least: an address of the gateway's that changes is not announced by all.
const CHECK: Duration = Duration::from_secs(600);
/// An asking that has not ended by then has failed.
const LATE: Duration = Duration::from_millis(3100);
/// Between two failures, doubled from the first to the last.
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LAST_RETRY: Duration = Duration::from_secs(600);
/// Between two askings that something else has hastened.
const PAUSE: Duration = Duration::from_secs(30);
/// A new address is given so long to settle, and others to follow.
const SETTLE: Duration = Duration::from_millis(500);
/// How long the exit waits for mappings to be taken back.
const FAREWELL: core::time::Duration = core::time::Duration::from_secs(1);
/// igd-next's SOAP and the XML parser on a 32-bit router take under 100 kB.
const STACK: usize = 512 * 1024;
const THREAD: &str = "port-mapping";
/// Announcements taken at a time.
const BURST: usize = 16;

/// What asks the gateway; may block, for three seconds at most.
pub trait Work: Send + Sync {
    /// Asks for what is wanted.
    fn map(&self, wanted: &Wanted) -> Outcome;

    /// Takes mappings back. Nothing can be done where that fails.
    fn unmap(&self, mappings: &[Mapping]);
}

/// A mapping, when it was confirmed and how long it lasts.
struct Held {
    mapping: Mapping,
    at: Instant,
    until: Instant,
}

struct Running {
    since: Instant,
    /// It was counted as failed already: what still comes of it is not looked at.
    given_up: bool,
}

/// Keeps mappings of WireGuard's port.
pub struct Mapper {
    wanted: Wanted,
    work: Arc<dyn Work>,
    /// IPv4's and IPv6's.
    held: [Option<Held>; 2],
    failure: Option<Failure>,
    /// What the log has said of it.
    said: Option<String>,
    running: Option<Running>,
    due: Option<Instant>,
    asked_at: Option<Instant>,
    failures: u32,
    failures_v6: u32,
    errands: Errands<Outcome>,
    announcements: Option<UdpSocket>,
}

impl Mapper {
    /// Will ask for this port. The secret is what the nonce is made of by which PCP servers know us again.
    ///
    /// # Errors
    /// When there is no file descriptor left.
    pub fn new(external_port: u16, secret: &[u8], work: Arc<dyn Work>) -> io::Result<Self> {
        let mut nonce = [0; 12];
        let key = blake3::derive_key("wgautomesh 2026 nonce of PCP mappings", secret);
        nonce.copy_from_slice(&key[..12]);
        Ok(Self {
            wanted: Wanted {
                internal_port: 0,
                external_port,
                lease: LEASE,
                nonce,
                fwmark: 0,
                obsolete: Vec::new(),
            },
            work,
            held: [None, None],
            failure: None,
            said: None,
            running: None,
            due: None,
            asked_at: None,
            failures: 0,
            failures_v6: 0,
            errands: Errands::new()?,
            // Without it an announcement is noticed some minutes later.
            announcements: worker::announcements().ok(),
        })
    }

    /// Readable when there is something to [`handle`](Self::handle).
    #[must_use]
    pub fn fds(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [Some(self.errands.fd()), self.announcements.as_ref().map(AsFd::as_fd)]
    }

    /// When [`handle`](Self::handle) is to be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let next = match &self.running {
            Some(running) if running.given_up => None,
            Some(running) => Some(running.since.saturating_add(LATE)),
            None => self.due,
        };
        self.held.iter().flatten().map(|held| held.until).chain(next).min()
    }

    /// WireGuard listens on this port, and marks its packets so.
    pub fn set_source(&mut self, now: Instant, port: u16, fwmark: u32) {
        if port == 0 || (port, fwmark) == (self.wanted.internal_port, self.wanted.fwmark) {
            return;
        }
        if port != self.wanted.internal_port {
            self.wanted.obsolete.extend(self.held.iter_mut().filter_map(Option::take).map(|h| h.mapping));
        }
        (self.wanted.internal_port, self.wanted.fwmark) = (port, fwmark);
        (self.failures, self.failures_v6) = (0, 0);
        self.due = Some(now);
    }

    /// The machine's addresses changed: it may be in another network.
    pub fn network_changed(&mut self, now: Instant) {
        (self.failures, self.failures_v6) = (0, 0);
        self.hasten(now.saturating_add(SETTLE));
    }

    /// A peer was lost: if our own address did not change, perhaps the gateway's.
    pub fn peer_lost(&mut self, now: Instant) {
        let earliest = self.asked_at.map_or(now, |at| at.saturating_add(PAUSE));
        self.hasten(now.saturating_add(SETTLE).max(earliest));
    }

    fn hasten(&mut self, at: Instant) {
        if self.wanted.internal_port != 0 {
            self.due = Some(self.due.map_or(at, |due| due.min(at)));
        }
    }

    /// Does what is to be done now. Whether [`endpoints`](Self::endpoints) may have changed.
    pub fn handle(&mut self, now: Instant) -> bool {
        self.hear(now);
        let before: Vec<_> = self.endpoints().collect();
        for outcome in self.errands.take() {
            if self.running.take().is_some_and(|running| !running.given_up) {
                self.take(now, outcome);
            }
        }
        if let Some(running) = &mut self.running
            && !running.given_up
            && running.since.saturating_add(LATE) <= now
        {
            running.given_up = true;
            self.failed(now, Failure { gateway: None, protocol: None, why: Why::Late });
        }
        for held in &mut self.held {
            if held.as_ref().is_some_and(|held| held.until <= now) {
                lost(held.take(), &"its lease has ended, and it was not renewed");
            }
        }
        if self.running.is_none() && self.due.is_some_and(|due| due <= now) {
            self.ask(now);
        }
        !self.endpoints().eq(before)
    }

    /// Where others are let in.
    pub fn endpoints(&self) -> impl Iterator<Item = SocketAddr> {
        self.held.iter().flatten().map(|held| held.mapping.external)
    }

    /// For the status document.
    #[must_use]
    pub fn status(&self, now: Instant) -> status::PortMapping {
        let mapped = |held: &Held| status::Mapped {
            endpoint: held.mapping.external,
            protocol: held.mapping.protocol.as_str().into(),
            gateway: held.mapping.gateway.gateway,
            lease_s: held.until.saturating_duration_since(now).as_secs(),
        };
        let reason =
            |failure: &Failure| status::Reason { id: failure.id().into(), message: failure.to_string() };
        status::PortMapping {
            mapped: self.held.iter().flatten().map(mapped).collect(),
            reason: self.failure.as_ref().map(reason),
        }
    }

    /// Takes the mappings back and waits for that, for a second at most.
    pub fn stop(&mut self) {
        let mut mappings = core::mem::take(&mut self.wanted.obsolete);
        mappings.extend(self.held.iter_mut().filter_map(Option::take).map(|held| held.mapping));
        if mappings.is_empty() {
            return;
        }
        let work = Arc::clone(&self.work);
        let done = Arc::new((Mutex::new(false), Condvar::new()));
        let theirs = Arc::clone(&done);
        let unmap = move || {
            work.unmap(&mappings);
            *theirs.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            theirs.1.notify_one();
        };
        if spawn(THREAD, STACK, Box::new(unmap)).is_ok() {
            let (done, told) = &*done;
            let waiting = done.lock().unwrap_or_else(PoisonError::into_inner);
            // Late: the lease ends it.
            let _ = told.wait_timeout_while(waiting, FAREWELL, |done| !*done);
        }
    }

    /// Whether an asking is under way.
    #[cfg(test)]
    pub(super) const fn is_asking(&self) -> bool {
        self.running.is_some()
    }

    /// What the gateway said the lease of the IPv4 mapping is.
    #[cfg(all(test, feature = "upnp"))]
    pub(super) fn lease(&self) -> Option<u32> {
        self.held[0].as_ref().map(|held| held.mapping.lease)
    }

    fn ask(&mut self, now: Instant) {
        self.due = None;
        self.asked_at = Some(now);
        let (work, wanted) = (Arc::clone(&self.work), self.wanted.clone());
        match self.errands.begin(THREAD, STACK, move || work.map(&wanted)) {
            Ok(()) => {
                self.wanted.obsolete.clear();
                self.running = Some(Running { since: now, given_up: false });
            }
            Err(error) => {
                let why = Why::Local(error.to_string());
                self.failed(now, Failure { gateway: None, protocol: None, why });
            }
        }
    }

    fn take(&mut self, now: Instant, outcome: Outcome) {
        let mut next = CHECK;
        let [v4, v6] = &mut self.held;
        match outcome.v6 {
            Some(Ok(mapping)) => {
                self.failures_v6 = 0;
                next = next.min(hold(v6, mapping, now));
            }
            // Most gateways open none, and most firewalls are punched easily.
            Some(Err(failure)) => {
                log::debug!("IPv6 pinhole: {failure}");
                next = next.min(retry(&mut self.failures_v6));
                if failure.is_final() {
                    lost(v6.take(), &failure);
                }
            }
            None => lost(v6.take(), &"this machine has no public IPv6 address any more"),
        }
        match outcome.v4 {
            Ok(mapping) => {
                if mapping.internal.port() != self.wanted.internal_port {
                    // WireGuard has changed its port meanwhile, and what is asked next is due already.
                    return self.wanted.obsolete.push(mapping);
                }
                next = next.min(hold(v4, mapping, now));
                self.failures = 0;
                self.failure = None;
                self.said = None;
                self.hasten(now.saturating_add(next));
            }
            Err(failure) => self.failed(now, failure),
        }
    }

    fn failed(&mut self, now: Instant, failure: Failure) {
        let wait = retry(&mut self.failures);
        // A mapping lasts as long as its lease, unless its gateway says otherwise or is another one now.
        let [held, _] = &mut self.held;
        let elsewhere =
            held.as_ref().is_some_and(|h| failure.gateway.is_some_and(|g| g != h.mapping.gateway.gateway));
        if failure.is_final() || elsewhere {
            lost(held.take(), &failure);
        }
        let line = failure.to_string();
        if held.is_none() && self.said.as_ref() != Some(&line) {
            if failure.why == Why::NoAnswer || matches!(failure.why, Why::Public(_)) {
                log::info!("no port mapping: {line}");
            } else {
                log::warn!("no port mapping: {line}");
            }
            self.said = Some(line);
        }
        self.failure = Some(failure);
        self.hasten(now.saturating_add(wait));
    }

    /// Announcements: whether they are news. Only a gateway's own count, and asking it shows what there is to them.
    fn hear(&mut self, now: Instant) {
        let Some(socket) = &self.announcements else { return };
        let mut news = false;
        for _ in 0..BURST {
            let mut buffer = [0; pcp::MAX_MESSAGE];
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { break };
            let message = buffer.get(..length).unwrap_or_default();
            news |= self.held.iter().flatten().any(|held| is_news(held, from.ip(), message, now));
        }
        if news {
            self.peer_lost(now);
        }
    }
}

fn is_news(held: &Held, from: IpAddr, message: &[u8], now: Instant) -> bool {
    if from != held.mapping.gateway.gateway {
        return false;
    }
    let (epoch, other) = match (pcp::announcement(message), natpmp::answer(message)) {
        (Some(epoch), _) => (epoch, false),
        (_, Some(natpmp::Answer::Address { ip, epoch })) => {
            (epoch, held.mapping.external.ip() != IpAddr::V4(ip))
        }
        _ => return false,
    };
    let elapsed = u32::try_from(now.saturating_duration_since(held.at).as_secs()).unwrap_or(u32::MAX);
    other || held.mapping.epoch.is_none_or(|before| !pcp::is_same_epoch(before, epoch, elapsed))
}

/// Keeps a mapping; when to look after it.
fn hold(held: &mut Option<Held>, mapping: Mapping, now: Instant) -> Duration {
    let lease = mapping.lease.clamp(LEASES.0, LEASES.1);
    let lasts = Duration::from_secs(lease.into());
    let before = held.as_ref().map(|held| &held.mapping);
    let same = before.is_some_and(|b| {
        (b.external, b.protocol, b.gateway.gateway)
            == (mapping.external, mapping.protocol, mapping.gateway.gateway)
    });
    if !same {
        let now_also = if before.is_some() { " now" } else { "" };
        log::info!(
            "port mapping: {} leads here{now_also} ({} of the gateway {}, for {lease} s)",
            mapping.external,
            mapping.protocol.as_str(),
            mapping.gateway.gateway
        );
    }
    *held = Some(Held { mapping, at: now, until: now.saturating_add(lasts) });
    lasts / 2
}

/// How long to wait after one failure more.
fn retry(failures: &mut u32) -> Duration {
    let wait = FIRST_RETRY * (1 << (*failures).min(8));
    *failures = failures.saturating_add(1);
    LAST_RETRY.min(wait)
}

fn lost(held: Option<Held>, why: &dyn core::fmt::Display) {
    if let Some(held) = held {
        log::warn!("port mapping: {} does not lead here any more: {why}", held.mapping.external);
    }
}

#[cfg(test)]
mod tests;
