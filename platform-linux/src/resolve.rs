//! Endpoints given by name: looked up on threads of their own, so that a dead resolver delays nothing.
//!
//! ```text
//!            due, a place free          answer            5 min, or the peer was lost
//!   due ───────────────────────► asked ─────────► known ────────────────────────────► due
//!    ▲                             │ failure
//!    └──── after 1 s … 5 min ──────┘                (while the peer is connected: never)
//! ```
//!
//! A thread lives for one look-up; where no endpoint is a name, or all those peers are connected, there is none. Up to
//! 32 run at once, since the servers of one name may be dead while those of another answer: up to so many names,
//! none waits for another, and above that who has waited longest is next. Which address is used is the engine's
//! business: it gets all of them.

use core::net::SocketAddr;
use std::{io, net::ToSocketAddrs, os::fd::BorrowedFd, sync::Arc};

use wgautomesh_core::{Duration, Instant, PublicKey};

use crate::errands::Errands;

/// Look-ups under way at the same time. One whose servers are dead cannot be called off and keeps its place for as long
/// as the system's resolver tries, up to ten seconds for each server unless it is set otherwise. So there are as many as most
/// meshes have names; a thread that waits costs 30 kB of memory with glibc and 16 kB with musl, all of them 1 MB at most.
const PLACES: usize = 32;

/// `getaddrinfo` of glibc loads its modules on this stack; only the pages used are ever there.
const STACK: usize = 256 * 1024;

/// Between two failures, doubled from the first to the last.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// How old an answer may get while the peer is not connected.
const REFRESH: Duration = Duration::from_secs(300);

/// How old an answer must be to be asked for again because the peer was lost.
const SETTLED: Duration = Duration::from_secs(10);

/// What looks a name up; may block.
pub type LookUp = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The system's look-up: `/etc/hosts`, DNS, whatever it is set to.
///
/// # Errors
/// The resolver's; they are worth little more than their text.
pub fn system(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

/// A name whose addresses are wanted for a peer.
#[derive(Debug, Clone)]
pub struct Name {
    /// The peer.
    pub peer: PublicKey,
    /// The host name.
    pub host: Box<str>,
    /// The port, which goes into each address.
    pub port: u16,
    /// Addresses that are the peer's whatever the name means.
    pub beside: Box<[SocketAddr]>,
}

/// Keeps the addresses of names up to date.
pub struct Resolver {
    entries: Vec<Entry>,
    /// What the next entry will be numbered.
    next: usize,
    running: usize,
    look_up: Arc<LookUp>,
    errands: Errands<Answer>,
}

struct Entry {
    /// By which an answer finds it: those before it may have gone.
    number: usize,
    name: Name,
    state: State,
    connected: bool,
    asked_at: Option<Instant>,
    /// What follows the next failure; longer than [`FIRST_RETRY`] only while the name fails.
    retry: Duration,
    known: Vec<SocketAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Due(Instant),
    Asked,
    /// Nothing to do until the peer is lost.
    Idle,
}

struct Answer {
    entry: usize,
    result: io::Result<Vec<SocketAddr>>,
}

impl Resolver {
    /// Takes the names; all of them are due at `now`.
    ///
    /// # Errors
    /// When there is no file descriptor left.
    pub fn new(
        now: Instant,
        names: impl IntoIterator<Item = Name>,
        look_up: Arc<LookUp>,
    ) -> io::Result<Self> {
        let mut resolver =
            Self { entries: Vec::new(), next: 0, running: 0, look_up, errands: Errands::new()? };
        names.into_iter().for_each(|name| resolver.add(now, name, false));
        Ok(resolver)
    }

    fn add(&mut self, now: Instant, name: Name, connected: bool) {
        self.entries.push(Entry {
            number: self.next,
            name,
            state: State::Due(now),
            connected,
            asked_at: None,
            retry: FIRST_RETRY,
            known: Vec::new(),
        });
        self.next += 1;
    }

    /// Takes other names for a peer, in place of those that it had; what is known of one that stays is kept. New ones are
    /// due at `now`. Returns everything known of the peer.
    #[cfg(feature = "admin")]
    pub fn replace(
        &mut self,
        now: Instant,
        peer: &PublicKey,
        connected: bool,
        names: impl IntoIterator<Item = Name>,
    ) -> Vec<SocketAddr> {
        let (mut before, others) = core::mem::take(&mut self.entries)
            .into_iter()
            .partition::<Vec<_>, _>(|entry| entry.name.peer == *peer);
        self.entries = others;
        for name in names {
            let same = |entry: &Entry| (&entry.name.host, entry.name.port) == (&name.host, name.port);
            match before.iter().position(same) {
                Some(at) => self.entries.push(Entry { name, ..before.swap_remove(at) }),
                None => self.add(now, name, connected),
            }
        }
        self.addresses(peer)
    }

    /// Readable when there are answers.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.errands.fd()
    }

    /// A name of a peer's that could not be looked up, the last time and ever.
    #[cfg(feature = "admin")]
    pub(crate) fn failing(&self, peer: &PublicKey) -> Option<&str> {
        let failing =
            |entry: &&Entry| entry.name.peer == *peer && entry.known.is_empty() && entry.retry > FIRST_RETRY;
        self.entries.iter().find(failing).map(|entry| &*entry.name.host)
    }

    /// When [`Self::handle`] is to be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.running == PLACES {
            return None;
        }
        self.entries.iter().filter_map(|entry| entry.due()).min()
    }

    /// Says whether a peer is connected. A connected one's name is left alone.
    pub fn set_connected(&mut self, now: Instant, peer: &PublicKey, connected: bool) {
        for entry in self.entries.iter_mut().filter(|entry| entry.name.peer == *peer) {
            if core::mem::replace(&mut entry.connected, connected) == connected || entry.state == State::Asked
            {
                continue;
            }
            entry.state = match (connected, entry.asked_at) {
                (true, _) => State::Idle,
                (false, Some(at)) => State::Due(now.max(at.saturating_add(SETTLED))),
                (false, None) => State::Due(now),
            };
        }
    }

    /// Takes what was answered, handing over all addresses of each peer where they are not those of the last time, and
    /// begins what is due.
    pub fn handle(&mut self, now: Instant, mut found: impl FnMut(&PublicKey, &[SocketAddr])) {
        for Answer { entry, result } in self.errands.take() {
            self.running = self.running.saturating_sub(1);
            // It may have gone while it was asked.
            if let Some(entry) = self.entries.iter_mut().find(|known| known.number == entry)
                && entry.take(now, result)
            {
                let peer = entry.name.peer;
                found(&peer, &self.addresses(&peer));
            }
        }
        while self.running < PLACES {
            let due = self.entries.iter_mut().filter_map(|entry| Some((entry.due()?, entry)));
            // Who has waited longest: names that fail again and again do not keep the others waiting.
            let next = due.filter(|(due, _)| *due <= now).min_by_key(|(due, entry)| (*due, entry.number));
            let Some((_, entry)) = next else { return };
            entry.asked_at = Some(now);
            match ask(entry.number, &entry.name, &self.look_up, &self.errands) {
                Ok(()) => {
                    entry.state = State::Asked;
                    self.running += 1;
                }
                Err(error) => drop(entry.take(now, Err(error))),
            }
        }
    }
}

impl Resolver {
    /// Everything known of a peer, in the order of the configuration but for fixed addresses, which come first.
    fn addresses(&self, peer: &PublicKey) -> Vec<SocketAddr> {
        let entries = || self.entries.iter().filter(|entry| entry.name.peer == *peer);
        let fixed = entries().next().map(|entry| &*entry.name.beside).unwrap_or_default();
        fixed.iter().chain(entries().flat_map(|entry| &entry.known)).copied().collect()
    }
}

impl Entry {
    fn due(&self) -> Option<Instant> {
        match self.state {
            State::Due(at) => Some(at),
            State::Asked | State::Idle => None,
        }
    }

    /// Whether the addresses are others now.
    fn take(&mut self, now: Instant, result: io::Result<Vec<SocketAddr>>) -> bool {
        let Name { host, .. } = &self.name;
        let result = result.and_then(|addresses| {
            if addresses.is_empty() { Err(io::Error::other("it has no address")) } else { Ok(addresses) }
        });
        let (wait, changed) = match result {
            Ok(addresses) => {
                let addresses = alternate(addresses);
                if core::mem::replace(&mut self.retry, FIRST_RETRY) > FIRST_RETRY {
                    log::info!("{host}: found again");
                }
                let changed = addresses != self.known;
                self.known = addresses;
                (REFRESH, changed)
            }
            Err(error) => {
                if self.retry == FIRST_RETRY {
                    log::warn!("{host}: cannot be looked up: {error}; trying again");
                }
                let wait = self.retry;
                self.retry = LAST_RETRY.min(wait + wait);
                (wait, false)
            }
        };
        self.state = if self.connected { State::Idle } else { State::Due(now.saturating_add(wait)) };
        changed
    }
}

/// The addresses with the two families in turn, each in its order: whoever takes only the first few has some of both.
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (mut ones, mut others): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv4() == first);
    let mut all = Vec::with_capacity(ones.len() + others.len());
    ones.reverse();
    others.reverse();
    while !(ones.is_empty() && others.is_empty()) {
        all.extend(ones.pop().into_iter().chain(others.pop()));
    }
    all
}

fn ask(entry: usize, name: &Name, look_up: &Arc<LookUp>, errands: &Errands<Answer>) -> io::Result<()> {
    let (name, look_up) = (name.clone(), Arc::clone(look_up));
    errands.begin("look-up", STACK, move || Answer { entry, result: look_up(&name.host, name.port) })
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use rustix::event::{PollFd, PollFlags};

    use super::*;
    use crate::clock;

    const A: PublicKey = PublicKey::from_bytes([1; 32]);
    const B: PublicKey = PublicKey::from_bytes([2; 32]);

    fn at(seconds: u64) -> Instant {
        Instant::from_secs(1_000 + seconds)
    }

    fn name(peer: PublicKey, host: &str) -> Name {
        Name { peer, host: host.into(), port: 51820, beside: Box::default() }
    }

    fn names(count: usize, host: &str) -> impl Iterator<Item = Name> {
        (0..count).map(move |i| name(PublicKey::from_bytes([100 + i as u8; 32]), host))
    }

    fn address(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 51820).into()
    }

    /// Waits until there are answers.
    fn wait(resolver: &Resolver) {
        let answers = resolver.fd();
        let ready = clock::ready_within(&[PollFd::new(&answers, PollFlags::IN)], Duration::from_secs(30));
        assert!(ready, "no answer comes");
    }

    /// Waits for `answers` answers and takes them at `now`.
    fn settle(resolver: &mut Resolver, now: Instant, answers: usize) -> Vec<(PublicKey, Vec<SocketAddr>)> {
        let mut found = Vec::new();
        let left = resolver.running - answers;
        while resolver.running > left {
            wait(resolver);
            resolver.handle(now, |peer, addresses| found.push((*peer, addresses.to_vec())));
        }
        found
    }

    fn begin(resolver: &mut Resolver, now: Instant) {
        resolver.handle(now, |_, _| panic!("nothing was asked yet"));
    }

    #[test]
    fn a_peer_keeps_what_else_is_known_of_it() {
        let look_up = |host: &str, _| Ok(vec![address(if host == "a.example" { 1 } else { 2 })]);
        let both =
            ["a.example", "b.example"].map(|host| Name { beside: [address(9)].into(), ..name(A, host) });
        let mut resolver = Resolver::new(at(0), both, Arc::new(look_up)).expect("resolver");
        begin(&mut resolver, at(0));
        let found = settle(&mut resolver, at(0), 2);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], (A, vec![address(9), address(1), address(2)]));
    }

    /// A look-up that hangs until the test lets it go, by itself or with all others; it fails then.
    fn hanging() -> (mpsc::Sender<()>, impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync) {
        let (release, held) = mpsc::channel();
        let held = Mutex::new(held);
        let look_up = move |host: &str, port| match host {
            "dead.example" => {
                let _ = held.lock().expect("no panic before").recv();
                Err(io::ErrorKind::TimedOut.into())
            }
            _ => Ok(vec![SocketAddr::from(([192, 0, 2, 1], port))]),
        };
        (release, look_up)
    }

    #[test]
    fn a_dead_resolver_delays_no_other_and_not_the_caller() {
        let (release, look_up) = hanging();
        let names = [name(A, "dead.example"), name(B, "b.example")];
        let mut resolver = Resolver::new(at(0), names, Arc::new(look_up)).expect("resolver");
        assert_eq!(resolver.poll_timeout(), Some(at(0)));
        begin(&mut resolver, at(0));
        assert_eq!(settle(&mut resolver, at(0), 1), [(B, vec![address(1)])]);
        assert_eq!(resolver.poll_timeout(), Some(at(300)), "only the name that is known");
        drop(release);
        assert_eq!(settle(&mut resolver, at(40), 1), []);
        assert_eq!(resolver.poll_timeout(), Some(at(41)));
    }

    #[test]
    fn failures_are_repeated_ever_more_rarely() {
        let look_up = |_: &str, _| Ok(Vec::new());
        let mut resolver = Resolver::new(at(0), [name(A, "a.example")], Arc::new(look_up)).expect("resolver");
        let mut now = at(0);
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            begin(&mut resolver, now);
            assert_eq!(settle(&mut resolver, now, 1), []);
            let next = resolver.poll_timeout().expect("another try");
            assert_eq!(next.duration_since(now).as_secs(), wait);
            now = next;
        }
    }

    #[test]
    fn a_connected_peer_is_left_alone_until_it_is_lost() {
        let count = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&count);
        let look_up = move |_: &str, _| {
            let mut count = counted.lock().expect("no panic before");
            *count += 1;
            Ok(vec![address(*count)])
        };
        let mut resolver = Resolver::new(at(0), [name(A, "a.example")], Arc::new(look_up)).expect("resolver");
        begin(&mut resolver, at(0));
        assert_eq!(settle(&mut resolver, at(0), 1), [(A, vec![address(1)])]);
        resolver.set_connected(at(1), &A, true);
        assert_eq!(resolver.poll_timeout(), None);
        resolver.set_connected(at(2), &A, false);
        assert_eq!(resolver.poll_timeout(), Some(at(10)), "a peer that flaps does not flood the resolver");
        resolver.set_connected(at(3), &A, true);
        resolver.set_connected(at(1_000), &A, false);
        assert_eq!(resolver.poll_timeout(), Some(at(1_000)));
        begin(&mut resolver, at(1_000));
        // Connected while asked: the answer counts, and is the last one.
        resolver.set_connected(at(1_001), &A, true);
        assert_eq!(settle(&mut resolver, at(1_002), 1), [(A, vec![address(2)])]);
        assert_eq!(resolver.poll_timeout(), None);
        assert_eq!(*count.lock().expect("no panic before"), 2);
    }

    #[test]
    #[cfg(feature = "admin")]
    fn names_may_be_exchanged_while_they_are_asked_for() {
        let (release, look_up) = hanging();
        let names = [name(A, "dead.example"), name(A, "a.example"), name(B, "b.example")];
        let mut resolver = Resolver::new(at(0), names, Arc::new(look_up)).expect("resolver");
        begin(&mut resolver, at(0));
        assert_eq!(settle(&mut resolver, at(0), 2).len(), 2);
        // The one that hangs goes, one that is known stays, and one is new.
        let fixed = |host: &str| Name { beside: [address(9)].into(), ..name(A, host) };
        let known = resolver.replace(at(1), &A, false, ["c.example", "a.example"].map(fixed));
        assert_eq!(known, [address(9), address(1)]);
        assert_eq!(resolver.poll_timeout(), Some(at(1)));
        begin(&mut resolver, at(1));
        drop(release);
        // What the old one came to is nobody's.
        assert_eq!(settle(&mut resolver, at(2), 2), [(A, vec![address(9), address(1), address(1)])]);
        assert_eq!(resolver.replace(at(3), &A, true, []), []);
        assert_eq!(resolver.poll_timeout(), Some(at(300)), "b.example");
        // A new name of a connected peer is looked up once, so that it is seen to be right.
        resolver.replace(at(4), &A, true, [name(A, "d.example")]);
        begin(&mut resolver, at(4));
        assert_eq!(settle(&mut resolver, at(4), 1), [(A, vec![address(1)])]);
        assert_eq!(resolver.poll_timeout(), Some(at(300)));
    }

    #[test]
    fn the_first_addresses_are_of_both_families() {
        let [a, b, c] = [1, 2, 3].map(address);
        let [x, y] = [1, 2].map(|last| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], 51820)));
        assert_eq!(alternate(vec![a, b, c, x, y]), [a, x, b, y, c]);
        assert_eq!(alternate(vec![x, y, a]), [x, a, y]);
        assert_eq!(alternate(vec![a]), [a]);
    }

    #[test]
    fn the_same_answer_is_told_once() {
        let look_up = |_: &str, _| Ok(vec![address(1)]);
        let mut resolver = Resolver::new(at(0), [name(A, "a.example")], Arc::new(look_up)).expect("resolver");
        begin(&mut resolver, at(0));
        assert_eq!(settle(&mut resolver, at(0), 1).len(), 1);
        begin(&mut resolver, at(300));
        assert_eq!(settle(&mut resolver, at(300), 1), []);
    }

    /// As many names whose servers do not answer as a mesh of this size may have.
    const HUNG: usize = 30;

    #[test]
    fn many_that_hang_delay_no_other() {
        let (_release, look_up) = hanging();
        let all = names(HUNG, "dead.example").chain([name(A, "a.example"), name(B, "b.example")]);
        let mut resolver = Resolver::new(at(0), all, Arc::new(look_up)).expect("resolver");
        begin(&mut resolver, at(0));
        let mut found = settle(&mut resolver, at(0), 2);
        found.sort();
        assert_eq!(found, [(A, vec![address(1)]), (B, vec![address(1)])]);
    }

    #[test]
    fn few_look_ups_run_at_once() {
        let (_release, look_up) = hanging();
        let all = names(2 * PLACES, "a.example").chain(names(2 * PLACES, "dead.example"));
        let mut resolver = Resolver::new(at(0), all, Arc::new(look_up)).expect("resolver");
        begin(&mut resolver, at(0));
        assert_eq!(resolver.running, PLACES);
        let mut found = 0;
        while found < 2 * PLACES {
            wait(&resolver);
            resolver.handle(at(0), |_, _| found += 1);
            assert_eq!((resolver.running, resolver.poll_timeout()), (PLACES, None));
        }
    }

    #[test]
    fn who_has_waited_longest_is_next() {
        let (release, look_up) = hanging();
        let mut resolver =
            Resolver::new(at(0), names(PLACES + 2, "dead.example"), Arc::new(look_up)).expect("resolver");
        begin(&mut resolver, at(0));
        for (second, next) in [(0, PLACES), (2, PLACES + 1)] {
            // One fails, and is to be tried again a second later: at two it is due as well.
            release.send(()).expect("it is waited for");
            while resolver.entries.iter().filter(|entry| entry.asked_at.is_some()).count() == next {
                wait(&resolver);
                resolver.handle(at(second), |_, _| panic!("none is found"));
            }
            assert!(resolver.entries[next].state == State::Asked);
        }
    }

    #[test]
    fn the_system_knows_itself() {
        let found = system("localhost", 7).expect("localhost is in every /etc/hosts");
        assert!(found.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 7), "{found:?}");
    }
}
