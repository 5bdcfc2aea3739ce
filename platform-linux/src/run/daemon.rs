//! One turn of the loop: from what has happened to the engine, and from the engine to what is done.
//!
//! ```text
//!             link event, or after a while           gossip socket bound
//!   Absent ──────────────────────────────► found ─────────────────────────► Up(index)
//!     ▲  ▲                                   │ not bound: said once            │
//!     │  └───────────────────────────────────┘                                 │
//!     └────────── gone, or no WireGuard any more; another index: ──────────────┘ and at once found again
//! ```

use core::{
    fmt,
    net::{IpAddr, SocketAddr},
};
use std::{
    io,
    os::fd::{BorrowedFd, RawFd},
};

use embedded_nal::UdpFullStack;
use rand_core::TryCryptoRng;
use wgautomesh_core::{
    Duration, Event, Instant, Interface, Mesh, Output, PeerAction, PublicKey, driver::Driver,
    limits::MAX_DATAGRAM,
};

#[cfg(feature = "admin")]
use super::map::Survey;
#[cfg(feature = "admin")]
use super::why::Machine;
use super::{Node, RunError, adopt::Adopted, memory::Memory, names::Names, report, status, why::Desk};
#[cfg(feature = "admin")]
use crate::{clock, control::for_people};
use crate::{
    config::LanConfig,
    control::{Request, Ticket, status::Status},
    metrics::{self, Tally},
    net::{
        lan::{self, Lan, LanPlace},
        opener::{Openers, Source},
    },
    portmap::Mapper,
    resolve::Resolver,
    watch::Watch,
    wireguard::{ReadError, Snapshot, WireGuard},
};

#[cfg(feature = "admin")]
mod change;

#[cfg(feature = "admin")]
pub(super) use change::Fresh;

/// Between two looks for an interface that is there and not usable yet: its userspace device has not made its socket, it
/// has no key, the gossip port is taken. Doubled from the first to the last; an event of the link starts over.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// A network whose sockets can be waited on.
pub(crate) trait Stack: UdpFullStack<Error = io::Error> {
    fn fd(socket: &Self::UdpSocket) -> Option<RawFd>;
}

impl Stack for crate::net::Tunnel {
    fn fd(socket: &Self::UdpSocket) -> Option<RawFd> {
        socket.as_raw_fd()
    }
}

/// What the loop works with.
pub(super) struct Parts<W, A, S, O, R> {
    pub(super) wireguard: W,
    pub(super) watch: A,
    pub(super) stack: S,
    pub(super) openers: O,
    pub(super) rng: R,
    pub(super) resolver: Resolver,
    pub(super) memory: Memory,
    pub(super) adopted: Adopted,
    /// Where the configuration wants a port mapping.
    pub(super) mapper: Option<Mapper>,
    /// Where peers are to be looked for, and the sockets for it.
    pub(super) lan: Option<(LanConfig, Box<dyn Lan>)>,
}

/// What to wait on.
pub(super) struct Fds<'d> {
    pub(super) watch: BorrowedFd<'d>,
    pub(super) resolver: BorrowedFd<'d>,
    pub(super) tunnel: Option<BorrowedFd<'d>>,
    pub(super) openers: [Option<BorrowedFd<'d>>; 2],
    pub(super) mapper: [Option<BorrowedFd<'d>>; 2],
    pub(super) lan: Vec<BorrowedFd<'d>>,
}

/// What was found ready.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Ready {
    pub(super) alarm: bool,
    pub(super) watch: bool,
    pub(super) resolver: bool,
    pub(super) tunnel: bool,
    pub(super) openers: bool,
    pub(super) mapper: bool,
    pub(super) lan: bool,
}

/// How it stands with the interface.
struct Link {
    /// The interface as the engine knows it.
    up: Option<Interface>,
    /// When to look for it again, without an event.
    retry_at: Option<Instant>,
    retry: Duration,
    /// The last complaint, which is not repeated.
    said: Option<String>,
}

pub(super) struct Daemon<'m, W, A, S: Stack, O, R, const PEERS: usize> {
    mesh: &'m mut Mesh<PEERS>,
    node: Node,
    names: Names,
    parts: Parts<W, A, S, O, R>,
    driver: Option<Driver<S>>,
    link: Link,
    addresses: Vec<IpAddr>,
    places: Vec<LanPlace>,
    /// What others are being asked, for who waits for a map.
    #[cfg(feature = "admin")]
    survey: Option<Survey>,
    tally: Tally,
    desk: Desk,
}

impl<'m, W, A, S, O, R, const PEERS: usize> Daemon<'m, W, A, S, O, R, PEERS>
where
    W: WireGuard,
    A: Watch,
    S: Stack,
    O: Openers,
    R: TryCryptoRng,
{
    pub(super) fn new(
        mesh: &'m mut Mesh<PEERS>,
        node: Node,
        names: Names,
        parts: Parts<W, A, S, O, R>,
    ) -> Self {
        Self {
            mesh,
            node,
            names,
            parts,
            driver: None,
            link: Link::default(),
            addresses: Vec::new(),
            places: Vec::new(),
            #[cfg(feature = "admin")]
            survey: None,
            tally: Tally::new(),
            desk: Desk::new(),
        }
    }

    /// The first turn.
    pub(super) fn start(&mut self, now: Instant) -> Result<(), RunError> {
        self.mesh.allow_openers(now, self.parts.openers.allowed());
        for record in self.parts.memory.records() {
            self.mesh.handle_stored_record(now, record);
        }
        self.look(now)?;
        if self.link.up.is_none() {
            self.read_addresses(now);
        }
        self.read_lans(now);
        if let Some((config, _)) = &self.parts.lan
            && !config.interfaces.is_empty()
            && self.places.is_empty()
        {
            log::warn!(
                "lan_interfaces: none of them is there and has an address: peers on the LAN are looked for when one comes"
            );
        }
        self.turn(now, Ready { resolver: true, ..Ready::default() })
    }

    /// When [`Self::turn`] is to be called at the latest.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let Parts { resolver, memory, mapper, .. } = &self.parts;
        let mapper = mapper.as_ref().and_then(Mapper::poll_timeout);
        let timeouts = [
            self.mesh.poll_timeout(),
            resolver.poll_timeout(),
            memory.poll_timeout(),
            mapper,
            self.link.retry_at,
            #[cfg(feature = "admin")]
            self.survey.as_ref().map(Survey::poll_timeout),
            self.desk.poll_timeout(),
        ];
        timeouts.into_iter().flatten().min()
    }

    pub(super) fn fds(&self) -> Fds<'_> {
        let tunnel = self.driver.as_ref().and_then(|driver| S::fd(driver.socket()));
        // SAFETY: the driver's socket is open for as long as the driver, which this borrows.
        #[allow(unsafe_code)]
        let tunnel = tunnel.map(|fd| unsafe { BorrowedFd::borrow_raw(fd) });
        let Parts { watch, resolver, openers, mapper, lan, .. } = &self.parts;
        let mapper = mapper.as_ref().map(Mapper::fds).unwrap_or_default();
        let lan = lan.as_ref().map(|(_, lan)| lan.fds()).unwrap_or_default();
        Fds { watch: watch.fd(), resolver: resolver.fd(), tunnel, openers: openers.fds(), mapper, lan }
    }

    /// Takes in what is ready and does what the engine wants. Bounded: a flood at the gossip port
    /// keeps nothing else waiting, since a turn takes no more than `driver::RECEIVE_BUDGET` of its datagrams, and
    /// `opener::RECEIVE_BUDGET` openers of each family.
    pub(super) fn turn(&mut self, now: Instant, ready: Ready) -> Result<(), RunError> {
        self.tally.woke();
        if ready.watch {
            let changes = self.parts.watch.changes();
            if changes.link {
                self.link.retry = FIRST_RETRY;
                self.look(now)?;
            }
            if changes.addresses {
                self.read_addresses(now);
            }
            self.read_lans(now);
        }
        if self.link.retry_at.is_some_and(|at| at <= now) {
            self.look(now)?;
        }
        if ready.resolver || self.parts.resolver.poll_timeout().is_some_and(|at| at <= now) {
            let mesh = &mut *self.mesh;
            self.parts
                .resolver
                .handle(now, |peer, addresses| mesh.set_configured_endpoints(now, peer, addresses));
        }
        self.look_after_mapping(now, ready.mapper);
        if let Some(driver) = self.driver.as_mut().filter(|_| ready.tunnel) {
            // An error is about a packet sent before, or the device going down, which is an event of its own.
            if let Err(error) = driver.receive(&mut self.parts.stack, self.mesh, now) {
                log::debug!("gossip socket: {error}");
            }
        }
        if ready.openers {
            let mesh = &mut *self.mesh;
            self.parts.openers.receive(&mut |from, opener| mesh.handle_opener(now, from, opener));
        }
        if let Some((_, lan)) = self.parts.lan.as_mut().filter(|_| ready.lan) {
            let mesh = &mut *self.mesh;
            lan.receive(&mut |index, from, datagram| mesh.handle_lan_datagram(now, index, from, datagram));
        }
        if self.mesh.poll_timeout().is_some_and(|at| at <= now) {
            self.mesh.handle_timeout(now, &mut self.parts.rng);
        }
        self.carry_out(now)?;
        #[cfg(feature = "admin")]
        self.inquire(now)?;
        self.parts.memory.handle(now, self.mesh);
        Ok(())
    }

    fn look_after_mapping(&mut self, now: Instant, ready: bool) {
        if let Some(mapper) = &mut self.parts.mapper
            && (ready || mapper.poll_timeout().is_some_and(|at| at <= now))
            && mapper.handle(now)
        {
            let endpoints: Vec<_> = mapper.endpoints().collect();
            self.mesh.handle_port_mappings(now, &endpoints);
        }
    }

    /// Says goodbye, and writes down what is worth it. What fails now is nobody's concern any more.
    pub(super) fn stop(&mut self, now: Instant) {
        self.mesh.shutdown();
        if let Err(error) = self.carry_out(now) {
            log::debug!("{error}");
        }
        self.parts.memory.finish(self.mesh);
        if let Some(mapper) = &mut self.parts.mapper {
            mapper.stop();
        }
    }

    pub(super) fn status(&self, now: Instant) -> Status {
        let openers = self.parts.openers.allowed();
        let mapping = self.parts.mapper.as_ref().map(|mapper| mapper.status(now));
        status::document(self.mesh, &self.node, &self.names, openers, mapping, now)
    }

    pub(super) fn metrics(&self, now: Instant) -> String {
        metrics::text(&self.status(now), &self.tally)
    }

    /// What a request over the control socket gets; `None` where that comes later, by [`Self::settled`] or [`Self::next_answer`].
    #[cfg(feature = "admin")]
    pub(super) fn answer(&mut self, now: Instant, request: &Request, ticket: Ticket) -> Option<String> {
        match request {
            Request::Metrics => Some(for_people(self.metrics(now))),
            Request::Map => {
                match &mut self.survey {
                    Some(survey) => survey.join(ticket),
                    None => self.survey = Some(Survey::new(self.mesh, &self.names, ticket, now)),
                }
                None
            }
            Request::Why(peer) => self.desk.ask(now, self.mesh, &self.names, peer, false, ticket),
            Request::Explain(peer) => self.desk.ask(now, self.mesh, &self.names, peer, true, ticket),
            status => status.answer(&self.status(now)),
        }
    }

    /// What a request over the control socket gets.
    #[cfg(not(feature = "admin"))]
    pub(super) fn answer(&self, now: Instant, request: &Request, _: Ticket) -> Option<String> {
        request.answer(&self.status(now))
    }

    /// An answer that took a while.
    #[cfg(feature = "admin")]
    pub(super) fn next_answer(&mut self, now: Instant) -> Result<Option<(Ticket, String)>, RunError> {
        if self.desk.is_idle() {
            return Ok(None);
        }
        // What others are asked is to be on its way.
        self.carry_out(now)?;
        let Some(peer) = self.desk.next(now) else { return Ok(None) };
        let machine = self.machine(now, &peer);
        Ok(self.desk.next_answer(now, self.mesh, &self.node, &self.names, &machine))
    }

    /// What the machine has to say of a peer, besides the engine.
    #[cfg(feature = "admin")]
    fn machine(&mut self, now: Instant, peer: &PublicKey) -> Machine {
        let address = self.mesh.peers().find(|known| known.key == *peer).map(|known| known.address);
        let taken = |allowed: (IpAddr, u8)| Some(allowed.0) == address && matches!(allowed.1, 32 | 128);
        let snapshot = self.parts.wireguard.read().ok();
        let address_holder = snapshot.and_then(|snapshot| {
            let mut others = snapshot.peers().filter(|(reading, _)| reading.key != *peer);
            others.find_map(|(reading, mut ips)| ips.any(taken).then_some(reading.key))
        });
        Machine {
            clock_wrong: clock::is_wall_clock_wrong(),
            port_mapping: self.parts.mapper.as_ref().map(|mapper| mapper.status(now)),
            address_holder,
            failing_name: self.parts.resolver.failing(peer).map(Into::into),
        }
    }

    fn carry_out(&mut self, now: Instant) -> Result<(), RunError> {
        while let Some(output) = self.next_output(now) {
            match output {
                // Without a socket there is no interface to send by.
                Output::Datagram { .. } => {}
                Output::Opener { from, to, len, hops } => self.send_opener(from, to, hops, len),
                Output::Lan { index, from, to, len } => self.send_lan(index, from, to, len),
                Output::Peer { key, action } => self.apply(now, &key, &action),
                Output::ReadInterface => self.read(now)?,
                Output::Store => self.parts.memory.note_change(),
                Output::Event(event) => self.tell(now, &event),
                // The enum may grow.
                other => log::debug!("not carried out: {other:?}"),
            }
        }
        self.parts.openers.listen(self.mesh.expects_openers(now));
        Ok(())
    }

    fn send_opener(&mut self, from: Option<IpAddr>, to: SocketAddr, hops: Option<u8>, len: usize) {
        // Without an interface there is no port for it to leave from.
        let Some(driver) = &self.driver else { return };
        self.parts.openers.send(from, to, hops, driver.buffer().get(..len).unwrap_or_default());
    }

    fn send_lan(&mut self, index: u32, from: IpAddr, to: Option<IpAddr>, len: usize) {
        // Without an interface there is nothing to be found by.
        let (Some(driver), Some((_, lan))) = (&self.driver, &mut self.parts.lan) else { return };
        lan.send(index, from, to, driver.buffer().get(..len).unwrap_or_default());
    }

    fn next_output(&mut self, now: Instant) -> Option<Output> {
        let Parts { stack, rng, .. } = &mut self.parts;
        match &mut self.driver {
            Some(driver) => driver.poll(stack, self.mesh, now, rng),
            None => self.mesh.poll(now, rng, &mut [0; MAX_DATAGRAM]),
        }
    }

    fn apply(&mut self, now: Instant, key: &PublicKey, action: &PeerAction) {
        log::trace!("{}: {action:?}", self.names.of(*key));
        if let Err(error) = self.parts.wireguard.apply(key, action) {
            log::debug!("{}: {action:?}: {error:?}", self.names.of(*key));
            self.desk.note_refused(now, key, action, error);
            self.mesh.handle_action_error(now, key, action, error);
        }
    }

    fn tell(&mut self, now: Instant, event: &Event) {
        #[cfg(feature = "admin")]
        if matches!(event, Event::Link(_) | Event::LinksTold { .. }) {
            // Without a survey any more it is too late.
            self.survey.iter_mut().for_each(|survey| survey.hear(event, now));
            return;
        }
        let names = &self.names;
        self.tally.note(event, names.iter().count(), |key| names.contains(key));
        self.desk.note(now, self.mesh, event);
        match event {
            Event::Connected { key, .. } => self.parts.resolver.set_connected(now, key, true),
            Event::Lost { key, .. } => {
                self.parts.resolver.set_connected(now, key, false);
                if let Some(mapper) = &mut self.parts.mapper {
                    mapper.peer_lost(now);
                }
            }
            _ => {}
        }
        if let Some((level, line)) = report::line(event, &self.names) {
            log::log!(level, "{line}");
        }
    }

    /// Looks whether the interface is there, and tells the engine if that has changed.
    fn look(&mut self, now: Instant) -> Result<(), RunError> {
        self.link.retry_at = None;
        let Parts { wireguard, openers, mapper, memory, adopted, .. } = &mut self.parts;
        match wireguard.read() {
            Ok(snapshot) => {
                let interface = snapshot.interface();
                set_source(openers, mapper, source(snapshot), now);
                adopted.take(now, self.mesh, &mut self.names, memory, snapshot);
                self.found(now, interface);
                Ok(())
            }
            Err(error) => self.not_found(now, error),
        }
    }

    /// Reads the peers for the engine.
    fn read(&mut self, now: Instant) -> Result<(), RunError> {
        // A second time only if the first shows another interface than the engine knows.
        for _ in 0..2 {
            let Parts { wireguard, openers, mapper, memory, adopted, .. } = &mut self.parts;
            let snapshot = match wireguard.read() {
                Ok(snapshot) => snapshot,
                Err(error) => return self.not_found(now, error),
            };
            let interface = snapshot.interface();
            set_source(openers, mapper, source(snapshot), now);
            adopted.take(now, self.mesh, &mut self.names, memory, snapshot);
            if self.link.up == Some(interface) {
                self.mesh.begin_reading();
                for (reading, allowed_ips) in snapshot.peers() {
                    self.mesh.handle_reading(now, &reading, allowed_ips);
                }
                self.mesh.end_reading(now);
                self.link.recover(&self.node.interface);
                break;
            }
            self.found(now, interface);
        }
        Ok(())
    }

    fn found(&mut self, now: Instant, interface: Interface) {
        if self.link.up == Some(interface) {
            return;
        }
        // As it is between `ip link add` and `wg set`.
        if interface.public_key.as_bytes() == &[0; PublicKey::LEN] {
            self.link.complain(&self.node.interface, &"it has no private key yet");
            self.down(now);
            return self.link.try_later(now);
        }
        let name = &self.node.interface;
        if self.driver.is_none() || self.link.up.map(|up| up.index) != Some(interface.index) {
            // A socket stays bound to the index that its device had.
            self.driver = None;
            match Driver::bind(&mut self.parts.stack, self.node.gossip_port) {
                Ok(driver) => self.driver = Some(driver),
                Err(error) => {
                    let port = self.node.gossip_port;
                    self.link.complain(name, &format_args!("gossip port {port} cannot be used: {error}"));
                    self.down(now);
                    return self.link.try_later(now);
                }
            }
            let (key, port) = (interface.public_key, interface.listen_port);
            log::info!("{name}: found, this node is {key:.8}, WireGuard port {port}");
        }
        self.link = Link { up: Some(interface), ..Link::default() };
        // Who lists every node lists itself: its own name is nothing to look up.
        self.parts.resolver.set_connected(now, &interface.public_key, true);
        self.mesh.handle_interface(now, Some(interface));
        self.read_addresses(now);
    }

    fn not_found(&mut self, now: Instant, error: ReadError) -> Result<(), RunError> {
        let name = &self.node.interface;
        match error {
            ReadError::Permission if self.link.up.is_none() => {
                return Err(RunError::Permission { interface: name.clone() });
            }
            ReadError::Absent => {
                self.link.complain(name, &"there is no such interface; waiting for it");
                // Its coming is an event.
                self.down(now);
            }
            ReadError::NotWireGuard => {
                self.link.complain(name, &error);
                self.down(now);
                self.link.try_later(now);
            }
            ReadError::Permission | ReadError::Failed(_) => {
                self.link.complain(name, &format_args!("cannot be read: {error}"));
                // While it is up the engine asks again by itself.
                if self.link.up.is_none() {
                    self.link.try_later(now);
                }
            }
        }
        Ok(())
    }

    fn down(&mut self, now: Instant) {
        self.driver = None;
        self.link.up = None;
        self.parts.openers.set_source(None);
        self.mesh.handle_interface(now, None);
    }

    fn read_addresses(&mut self, now: Instant) {
        match self.parts.watch.addresses() {
            Ok(addresses) if addresses != self.addresses => {
                log::debug!("own addresses: {addresses:?}");
                self.mesh.handle_local_addresses(now, &addresses);
                self.addresses = addresses;
                if let Some(mapper) = &mut self.parts.mapper {
                    mapper.network_changed(now);
                }
            }
            Ok(_) => {}
            Err(error) => log::debug!("own addresses cannot be read: {error}"),
        }
    }

    /// The LANs that this machine is on, if peers are to be looked for there.
    fn read_lans(&mut self, now: Instant) {
        let Some((config, lan)) = &mut self.parts.lan else { return };
        let links = match self.parts.watch.links() {
            Ok(links) => links,
            Err(error) => return log::debug!("links cannot be read: {error}"),
        };
        let places = lan::choose(&links, config, &self.node.interface);
        if places == self.places {
            return;
        }
        let text: Vec<String> = places.iter().map(|p| format!("{} ({})", p.name, p.link.address)).collect();
        let text = if text.is_empty() { "no interface".into() } else { text.join(", ") };
        log::info!("looking for peers on the LAN: {text}");
        lan.set_places(&places);
        let links: Vec<_> = places.iter().map(|place| place.link).collect();
        self.mesh.handle_lan_links(now, &links);
        self.places = places;
    }
}

#[cfg(feature = "admin")]
impl<W, A, S, O, R, const PEERS: usize> Daemon<'_, W, A, S, O, R, PEERS>
where
    W: WireGuard,
    A: Watch,
    S: Stack,
    O: Openers,
    R: TryCryptoRng,
{
    /// Asks what there is to be asked now.
    fn inquire(&mut self, now: Instant) -> Result<(), RunError> {
        while let Some(survey) = &mut self.survey {
            let again = survey.ask(self.mesh, now);
            self.carry_out(now)?;
            if !again {
                break;
            }
        }
        Ok(())
    }

    /// Who waits for an answer that has become ready, and the answer.
    pub(super) fn settled(&mut self, now: Instant) -> Vec<(Ticket, String)> {
        let Some(survey) = self.survey.take_if(|survey| survey.is_over(now)) else { return Vec::new() };
        let mapped = self.parts.mapper.as_ref().is_some_and(|mapper| mapper.endpoints().next().is_some());
        let (tickets, map) = survey.settle(self.mesh, &self.node, &self.names, mapped);
        let text = map.to_json();
        tickets.into_iter().map(|ticket| (ticket, text.clone())).collect()
    }
}

fn set_source<O: Openers>(
    openers: &mut O,
    mapper: &mut Option<Mapper>,
    source: Option<Source>,
    now: Instant,
) {
    openers.set_source(source);
    if let (Some(mapper), Some(Source { port, fwmark })) = (mapper, source) {
        mapper.set_source(now, port, fwmark);
    }
}

/// Where WireGuard's packets leave from; without a port, from nowhere.
fn source(snapshot: &Snapshot) -> Option<Source> {
    let source = Source { port: snapshot.interface().listen_port, fwmark: snapshot.fwmark() };
    Some(source).filter(|source| source.port != 0)
}

impl Default for Link {
    fn default() -> Self {
        Self { up: None, retry_at: None, retry: FIRST_RETRY, said: None }
    }
}

impl Link {
    fn try_later(&mut self, now: Instant) {
        self.retry_at = Some(now.saturating_add(self.retry));
        self.retry = LAST_RETRY.min(self.retry + self.retry);
    }

    /// Says what is wrong, once. An interface that comes passes through several states on its way: after the first complaint,
    /// another is only worth a line when it lasts.
    fn complain(&mut self, interface: &str, about: &dyn fmt::Display) {
        let line = format!("{interface}: {about}");
        let news = match &self.said {
            None => true,
            Some(said) => *said != line && (self.up.is_some() || self.retry == LAST_RETRY),
        };
        if news {
            log::warn!("{line}");
            self.said = Some(line);
        }
    }

    fn recover(&mut self, interface: &str) {
        if self.said.take().is_some() {
            log::info!("{interface}: can be read again");
        }
    }
}
