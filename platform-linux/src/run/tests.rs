//! The loop's body over fakes: no socket, no interface, no clock.

use core::{
    cell::RefCell,
    convert::Infallible,
    net::{IpAddr, SocketAddr},
};
use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
    rc::Rc,
    sync::Arc,
};

use embedded_nal::{UdpClientStack, UdpFullStack, nb};
use rand_core::{TryCryptoRng, TryRng};
use rustix::event::{EventfdFlags, eventfd};
use wgautomesh_core::{
    Instant, Interface, Mesh, PeerAction, PublicKey, SharedKey, driver::RECEIVE_BUDGET, limits::LAN_DATAGRAM,
};
use wireguard_control::{Key, PeerInfo};

use super::{
    Node, RunError,
    adopt::Adopted,
    daemon::{Daemon, Parts, Ready, Stack},
    memory::Memory,
    names::Names,
};

use crate::{
    config::LanConfig,
    net::{
        lan::{Lan, LanPlace},
        opener::{Openers, Source},
    },
    resolve::{self, Resolver},
    watch::{Changes, Link, Watch},
    wireguard::{ReadError, Snapshot, WireGuard, fake::Fake},
};

#[cfg(all(feature = "admin", feature = "toml"))]
mod change;

const PEER: PublicKey = PublicKey::from_bytes([2; 32]);
const PEER_ADDRESS: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 9, 0, 2));

/// What the fakes and the test share.
#[derive(Default)]
struct World {
    wireguard: Fake,
    error: Option<fn() -> ReadError>,
    looks: usize,
    changes: Changes,
    incoming: VecDeque<(Vec<u8>, SocketAddr)>,
    sent: Vec<SocketAddr>,
    fwmark: u32,
    source: Option<Source>,
    no_openers: bool,
    listening: bool,
    openers_heard: VecDeque<(SocketAddr, Vec<u8>)>,
    links: Vec<Link>,
    lan_places: Vec<LanPlace>,
    lan_sent: Vec<(u32, IpAddr, Option<IpAddr>, usize)>,
    lan_heard: VecDeque<(u32, SocketAddr, Vec<u8>)>,
    binds: usize,
    port_taken: bool,
}

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<World>>);

/// The snapshot outlives the borrow of the world.
struct SharedWireGuard(Shared, Option<Snapshot>);

impl WireGuard for SharedWireGuard {
    fn read(&mut self) -> Result<&Snapshot, ReadError> {
        let mut world = self.0.0.borrow_mut();
        world.looks += 1;
        if let Some(error) = world.error {
            return Err(error());
        }
        world.wireguard.read()?;
        let interface = world.wireguard.interface.ok_or(ReadError::Absent)?;
        let fwmark = world.fwmark;
        Ok(self.1.insert(Snapshot::new(interface, fwmark, world.wireguard.peers.iter().cloned())))
    }

    fn apply(&mut self, key: &PublicKey, action: &PeerAction) -> Result<(), wgautomesh_core::ActionError> {
        self.0.0.borrow_mut().wireguard.apply(key, action)
    }
}

struct SharedWatch(Shared, OwnedFd);

impl Watch for SharedWatch {
    fn fd(&self) -> BorrowedFd<'_> {
        self.1.as_fd()
    }

    fn changes(&mut self) -> Changes {
        core::mem::take(&mut self.0.0.borrow_mut().changes)
    }

    fn addresses(&mut self) -> io::Result<Vec<IpAddr>> {
        Ok(vec![IpAddr::from([203, 0, 113, 1])])
    }

    fn links(&mut self) -> io::Result<Vec<Link>> {
        Ok(self.0.0.borrow().links.clone())
    }
}

impl UdpClientStack for Shared {
    type UdpSocket = ();
    type Error = io::Error;

    fn socket(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn connect(&mut self, (): &mut (), _: SocketAddr) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn send(&mut self, (): &mut (), _: &[u8]) -> nb::Result<(), io::Error> {
        Err(nb::Error::Other(io::ErrorKind::Unsupported.into()))
    }

    fn receive(&mut self, (): &mut (), buffer: &mut [u8]) -> nb::Result<(usize, SocketAddr), io::Error> {
        let (datagram, from) = self.0.borrow_mut().incoming.pop_front().ok_or(nb::Error::WouldBlock)?;
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        Ok((length, from))
    }

    fn close(&mut self, (): ()) -> io::Result<()> {
        Ok(())
    }
}

impl UdpFullStack for Shared {
    fn bind(&mut self, (): &mut (), port: u16) -> io::Result<()> {
        assert_eq!(port, 1666);
        let mut world = self.0.borrow_mut();
        if world.port_taken {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        world.binds += 1;
        Ok(())
    }

    fn send_to(&mut self, (): &mut (), remote: SocketAddr, _: &[u8]) -> nb::Result<(), io::Error> {
        self.0.borrow_mut().sent.push(remote);
        Ok(())
    }
}

impl Stack for Shared {
    fn fd((): &()) -> Option<RawFd> {
        None
    }
}

impl Openers for Shared {
    fn allowed(&self) -> bool {
        !self.0.borrow().no_openers
    }

    fn set_source(&mut self, source: Option<Source>) {
        self.0.borrow_mut().source = source;
    }

    fn send(&mut self, _: Option<IpAddr>, _: SocketAddr, _: Option<u8>, _: &[u8]) {}

    fn listen(&mut self, wanted: bool) {
        self.0.borrow_mut().listening = wanted;
    }

    fn fds(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [None, None]
    }

    fn receive(&mut self, handle: &mut dyn FnMut(SocketAddr, &mut [u8])) {
        for (from, mut payload) in core::mem::take(&mut self.0.borrow_mut().openers_heard) {
            handle(from, &mut payload);
        }
    }
}

impl Lan for Shared {
    fn set_places(&mut self, places: &[LanPlace]) {
        self.0.borrow_mut().lan_places = places.to_vec();
    }

    fn send(&mut self, index: u32, from: IpAddr, to: Option<IpAddr>, payload: &[u8]) {
        self.0.borrow_mut().lan_sent.push((index, from, to, payload.len()));
    }

    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    fn receive(&mut self, handle: &mut dyn FnMut(u32, SocketAddr, &mut [u8])) {
        for (index, from, mut payload) in core::mem::take(&mut self.0.borrow_mut().lan_heard) {
            handle(index, from, &mut payload);
        }
    }
}

/// Counts: the tests depend on no random number.
struct Counter(u64);

impl TryRng for Counter {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.try_next_u64()? as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 += 1;
        Ok(self.0)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for byte in dst {
            *byte = self.try_next_u64()? as u8;
        }
        Ok(())
    }
}

impl TryCryptoRng for Counter {}

type TestDaemon<'m> = Daemon<'m, SharedWireGuard, SharedWatch, Shared, Shared, Counter, 4>;

fn at(millis: u64) -> Instant {
    Instant::from_millis(1_000_000 + millis)
}

fn mesh() -> Mesh<4> {
    let mut mesh = Mesh::new();
    mesh.set_secrets([SharedKey::derive(b"secret")]);
    mesh.add_peer(at(0), PEER, PEER_ADDRESS).expect("there is room");
    mesh.set_configured_endpoints(at(0), &PEER, &[([203, 0, 113, 2], 51820).into()]);
    mesh
}

fn daemon<'m>(mesh: &'m mut Mesh<4>, world: &Shared) -> TestDaemon<'m> {
    daemon_of(mesh, world, false)
}

fn daemon_of<'m>(mesh: &'m mut Mesh<4>, world: &Shared, adopting: bool) -> TestDaemon<'m> {
    built(mesh, world, Adopted::with(adopting, [PEER]), Names::default())
}

fn built<'m>(mesh: &'m mut Mesh<4>, world: &Shared, adopted: Adopted, names: Names) -> TestDaemon<'m> {
    resolving(mesh, world, adopted, names, None)
}

/// With a name that is looked up in vain.
fn resolving<'m>(
    mesh: &'m mut Mesh<4>,
    world: &Shared,
    adopted: Adopted,
    names: Names,
    name: Option<resolve::Name>,
) -> TestDaemon<'m> {
    let fd = eventfd(0, EventfdFlags::CLOEXEC).expect("eventfd");
    let look_up = |_: &str, _| Err(io::ErrorKind::Unsupported.into());
    let parts = Parts {
        wireguard: SharedWireGuard(world.clone(), None),
        watch: SharedWatch(world.clone(), fd),
        stack: world.clone(),
        openers: world.clone(),
        rng: Counter(0),
        resolver: Resolver::new(at(0), name, Arc::new(look_up)).expect("eventfd"),
        memory: Memory::none(),
        adopted,
        mapper: None,
        lan: Some((LanConfig::default(), Box::new(world.clone()))),
    };
    let node = Node { interface: "wg0".into(), gossip_port: 1666, started: at(0), rotation: None };
    Daemon::new(mesh, node, names, parts)
}

fn interface(index: u32) -> Interface {
    Interface { index, public_key: PublicKey::from_bytes([1; 32]), listen_port: 51820 }
}

const NOTHING: Ready = Ready {
    alarm: false,
    watch: false,
    resolver: false,
    tunnel: false,
    openers: false,
    mapper: false,
    lan: false,
};
const WATCH: Ready = Ready { watch: true, ..NOTHING };
const TUNNEL: Ready = Ready { tunnel: true, ..NOTHING };

impl Shared {
    fn set_interface(&self, interface: Option<Interface>) {
        let mut world = self.0.borrow_mut();
        world.wireguard.interface = interface;
        world.changes.link = true;
    }

    fn binds(&self) -> usize {
        self.0.borrow().binds
    }
}

/// Lets the time pass that the loop asks for, up to `until`.
fn pass(daemon: &mut TestDaemon<'_>, until: Instant) {
    for _ in 0..10_000 {
        match daemon.poll_timeout().filter(|&at| at <= until) {
            Some(at) => daemon.turn(at, Ready { alarm: true, ..Ready::default() }).expect("a turn"),
            None => return,
        }
    }
    panic!("the loop spins at {until:?}");
}

#[test]
fn waits_for_the_interface_and_takes_each_new_one() {
    let (world, mut mesh) = (Shared::default(), mesh());
    let mut daemon = daemon(&mut mesh, &world);
    daemon.start(at(0)).expect("an absent interface is no error");
    pass(&mut daemon, at(60_000));
    assert_eq!((world.binds(), world.0.borrow().wireguard.readings), (0, 1), "it waits for an event");
    assert!(!daemon.status(at(60_000)).node.interface_up);

    world.set_interface(Some(interface(5)));
    daemon.turn(at(60_000), WATCH).expect("a turn");
    assert_eq!(world.binds(), 1);
    let status = daemon.status(at(61_000));
    assert!(status.node.interface_up);
    assert_eq!((status.node.listen_port, status.node.uptime_s), (Some(51820), 61));

    // The same again: nothing to do.
    world.set_interface(Some(interface(5)));
    daemon.turn(at(61_000), WATCH).expect("a turn");
    assert_eq!(world.binds(), 1);
    // Another index: the socket is bound to the old one.
    world.set_interface(Some(interface(6)));
    daemon.turn(at(62_000), WATCH).expect("a turn");
    assert_eq!(world.binds(), 2);
    world.set_interface(None);
    daemon.turn(at(63_000), WATCH).expect("a turn");
    assert!(!daemon.status(at(63_000)).node.interface_up);
    world.set_interface(Some(interface(6)));
    daemon.turn(at(64_000), WATCH).expect("a turn");
    assert_eq!(world.binds(), 3);
}

#[test]
fn openers_leave_from_where_wireguard_sends() {
    let (world, mut mesh) = (Shared::default(), mesh());
    let mut daemon = daemon(&mut mesh, &world);
    daemon.start(at(0)).expect("an absent interface is no error");
    let mut expect = |now, interface, fwmark, source: Option<(u16, u32)>| {
        world.0.borrow_mut().fwmark = fwmark;
        world.set_interface(interface);
        daemon.turn(at(now), WATCH).expect("a turn");
        assert_eq!(world.0.borrow().source, source.map(|(port, fwmark)| Source { port, fwmark }), "{now}");
    };
    expect(1, None, 0, None);
    expect(2, Some(interface(5)), 0, Some((51820, 0)));
    expect(3, Some(interface(5)), 7, Some((51820, 7)));
    expect(4, Some(Interface { listen_port: 4, ..interface(5) }), 7, Some((4, 7)));
    // As it is while it is down.
    expect(5, Some(Interface { listen_port: 0, ..interface(5) }), 7, None);
    expect(6, Some(interface(6)), 0, Some((51820, 0)));
    expect(7, Some(Interface { public_key: PublicKey::from_bytes([0; 32]), ..interface(6) }), 0, None);
    expect(8, Some(interface(6)), 0, Some((51820, 0)));
    expect(9, None, 0, None);
}

/// That the engine's openers really leave is seen where there is a second node: in the box.
#[test]
fn openers_are_heard_where_they_are_allowed() {
    for allowed in [true, false] {
        let (world, mut mesh) = (Shared::default(), mesh());
        world.0.borrow_mut().no_openers = !allowed;
        world.set_interface(Some(interface(5)));
        let mut daemon = daemon(&mut mesh, &world);
        daemon.start(at(0)).expect("a start");
        pass(&mut daemon, at(5_000));
        assert_eq!(daemon.status(at(5_000)).node.openers, allowed);
        assert_eq!(world.0.borrow().listening, allowed, "its address is public: who knows it may knock");
        world.0.borrow_mut().openers_heard.push_back((([203, 0, 113, 3], 1).into(), b"garbage".into()));
        daemon.turn(at(5_000), Ready { openers: true, ..NOTHING }).expect("a turn");
        assert_eq!(world.0.borrow().openers_heard, []);
    }
}

fn eth0(up: bool) -> Link {
    let addresses = vec![([192, 168, 1, 7].into(), 24)];
    Link { index: 2, name: "eth0".into(), up, tunnel: false, addresses }
}

#[test]
fn beacons_leave_on_the_lans_that_there_are() {
    let (world, mut mesh) = (Shared::default(), mesh());
    world.set_interface(Some(interface(5)));
    world.0.borrow_mut().links = vec![eth0(false)];
    let mut daemon = daemon(&mut mesh, &world);
    daemon.start(at(0)).expect("a start");
    pass(&mut daemon, at(5_000));
    assert_eq!(world.0.borrow().lan_sent, []);
    world.0.borrow_mut().links = vec![eth0(true)];
    world.0.borrow_mut().changes.others = true;
    daemon.turn(at(5_000), WATCH).expect("a turn");
    pass(&mut daemon, at(7_000));
    let beacon = (2, IpAddr::from([192, 168, 1, 7]), None, LAN_DATAGRAM);
    assert_eq!(world.0.borrow().lan_sent, [beacon; 3]);
    assert_eq!(world.0.borrow().lan_places.len(), 1);
    // What comes in gets to the engine, which believes nothing of it.
    world.0.borrow_mut().lan_heard.push_back((2, ([192, 168, 1, 8], 1666).into(), vec![1; LAN_DATAGRAM]));
    daemon.turn(at(7_000), Ready { lan: true, ..NOTHING }).expect("a turn");
    assert_eq!(daemon.status(at(7_000)).counters.get("dropped_lan"), Some(&1));
    world.0.borrow_mut().links = vec![];
    world.0.borrow_mut().changes.others = true;
    daemon.turn(at(7_000), WATCH).expect("a turn");
    pass(&mut daemon, at(200_000));
    assert_eq!((world.0.borrow().lan_sent.len(), world.0.borrow().lan_places.len()), (3, 0));
}

#[test]
fn adds_the_configured_peer_and_again_to_a_new_interface() {
    let (world, mut mesh) = (Shared::default(), mesh());
    world.set_interface(Some(interface(5)));
    let mut daemon = daemon(&mut mesh, &world);
    daemon.start(at(0)).expect("a start");
    pass(&mut daemon, at(1_000));
    let adds = || {
        let is_add = |action: &PeerAction| matches!(action, PeerAction::Add { address: PEER_ADDRESS, .. });
        let world = world.0.borrow();
        world.wireguard.actions.iter().filter(|(key, action)| *key == PEER && is_add(action)).count()
    };
    assert_eq!(adds(), 1);
    world.0.borrow_mut().wireguard.peers.clear();
    world.set_interface(Some(interface(6)));
    daemon.turn(at(1_000), WATCH).expect("a turn");
    pass(&mut daemon, at(2_000));
    assert_eq!(adds(), 2);
}

#[test]
fn looks_ever_more_rarely_for_what_is_not_wireguard() {
    let (world, mut mesh) = (Shared::default(), mesh());
    world.0.borrow_mut().error = Some(|| ReadError::NotWireGuard);
    let mut daemon = daemon(&mut mesh, &world);
    daemon.start(at(0)).expect("no error");
    for (until, looks) in
        [(99, 1), (100, 2), (299, 2), (300, 3), (700, 4), (1_500, 5), (3_100, 6), (6_300, 7)]
    {
        pass(&mut daemon, at(until));
        assert_eq!(world.0.borrow().looks, looks, "{until} ms");
    }
    pass(&mut daemon, at(6_300 + 50_000));
    assert_eq!(world.0.borrow().looks, 17, "every five seconds");
    world.0.borrow_mut().error = None;
    world.0.borrow_mut().wireguard.interface = Some(interface(5));
    pass(&mut daemon, at(61_300));
    assert_eq!(world.binds(), 1);
}

#[test]
fn an_interface_without_key_or_a_taken_port_is_waited_for() {
    let (world, mut mesh) = (Shared::default(), mesh());
    let keyless = Interface { public_key: PublicKey::from_bytes([0; 32]), ..interface(5) };
    world.set_interface(Some(keyless));
    let mut daemon = daemon(&mut mesh, &world);
    daemon.start(at(0)).expect("no error");
    assert!(!daemon.status(at(0)).node.interface_up);
    world.0.borrow_mut().port_taken = true;
    world.0.borrow_mut().wireguard.interface = Some(interface(5));
    pass(&mut daemon, at(60_000));
    assert!(!daemon.status(at(60_000)).node.interface_up);
    world.0.borrow_mut().port_taken = false;
    pass(&mut daemon, at(65_000));
    assert!(daemon.status(at(65_000)).node.interface_up);
}

#[test]
fn a_reading_that_fails_later_does_not_take_the_interface_away() {
    let (world, mut mesh) = (Shared::default(), mesh());
    world.set_interface(Some(interface(5)));
    let mut daemon = daemon(&mut mesh, &world);
    daemon.start(at(0)).expect("a start");
    world.0.borrow_mut().error = Some(|| ReadError::Failed(io::ErrorKind::TimedOut.into()));
    pass(&mut daemon, at(20_000));
    assert!(daemon.status(at(20_000)).node.interface_up);
    world.0.borrow_mut().error = None;
    let before = world.0.borrow().wireguard.readings;
    pass(&mut daemon, at(40_000));
    assert!(world.0.borrow().wireguard.readings > before, "it is asked again");
    assert_eq!(world.binds(), 1);
}

#[test]
fn a_missing_right_ends_the_daemon() {
    let (world, mut mesh) = (Shared::default(), mesh());
    world.0.borrow_mut().error = Some(|| ReadError::Permission);
    let mut daemon = daemon(&mut mesh, &world);
    let error = daemon.start(at(0)).expect_err("it is of no use");
    assert!(matches!(error, RunError::Permission { .. }), "{error}");
    assert!(error.to_string().contains("CAP_NET_ADMIN"));
}

#[test]
fn a_flood_is_taken_in_portions_and_answered_with_nothing() {
    let (world, mut mesh) = (Shared::default(), mesh());
    world.set_interface(Some(interface(5)));
    let mut daemon = daemon(&mut mesh, &world);
    daemon.start(at(0)).expect("a start");
    let from = SocketAddr::new(PEER_ADDRESS, 1666);
    let stranger = SocketAddr::new([10, 9, 0, 77].into(), 1666);
    for i in 0..1_000u32 {
        let garbage = (0..i % 1_400).map(|at| (at * i) as u8).collect();
        world.0.borrow_mut().incoming.push_back((garbage, if i % 2 == 0 { from } else { stranger }));
    }
    let sent = world.0.borrow().sent.len();
    daemon.turn(at(0), TUNNEL).expect("a turn");
    assert_eq!(world.0.borrow().incoming.len(), 1_000 - RECEIVE_BUDGET);
    while !world.0.borrow().incoming.is_empty() {
        daemon.turn(at(0), TUNNEL).expect("a turn");
    }
    assert_eq!(world.0.borrow().sent.len(), sent);
    let counters = daemon.status(at(0)).counters;
    let dropped: u64 = counters.iter().filter(|(name, _)| name.starts_with("dropped")).map(|(_, n)| n).sum();
    assert_eq!(dropped, 1_000, "{counters:?}");
}

#[test]
fn ends_with_the_peer_as_wireguard_needs_it() {
    let (world, mut mesh) = (Shared::default(), mesh());
    world.set_interface(Some(interface(5)));
    let mut daemon = daemon(&mut mesh, &world);
    daemon.start(at(0)).expect("a start");
    pass(&mut daemon, at(700));
    daemon.stop(at(700));
    let world = world.0.borrow();
    let peer = world.wireguard.peers.first().expect("the peer stays");
    assert_eq!(peer.config.endpoint, Some(([203, 0, 113, 2], 51820).into()));
}

/// A peer on the interface.
fn peer(n: u8, allowed_ips: &[&str]) -> PeerInfo {
    let mut peer = PeerInfo::from_public_key(Key([n; 32]));
    peer.config.endpoint = Some(([203, 0, 113, n], 51820).into());
    peer.config.allowed_ips = allowed_ips.iter().map(|ip| ip.parse().expect("a network")).collect();
    peer
}

#[test]
fn the_peers_of_the_interface_are_adopted_and_let_go() {
    let key = |n: u8| PublicKey::from_bytes([n; 32]);
    let (world, mut mesh) = (Shared::default(), mesh());
    world.0.borrow_mut().wireguard.peers = vec![
        // Of the configuration, with another address there.
        peer(2, &["10.9.0.22/32"]),
        peer(3, &["192.168.3.0/24", "10.9.0.3/32", "10.9.0.33/32"]),
        peer(4, &["0.0.0.0/0"]),
        peer(5, &["10.9.0.2/32"]),
        peer(6, &["fd00::/64", "fd00::6/128"]),
    ];
    world.set_interface(Some(interface(5)));
    let mut daemon = daemon_of(&mut mesh, &world, true);
    daemon.start(at(0)).expect("a start");
    let meshed = |daemon: &TestDaemon<'_>| {
        daemon.status(at(1)).peers.iter().map(|p| p.address.to_string()).collect::<Vec<_>>()
    };
    pass(&mut daemon, at(1_000));
    assert_eq!(meshed(&daemon), ["10.9.0.3", "fd00::6"]);
    // One comes, and one goes.
    world.0.borrow_mut().wireguard.peers.push(peer(7, &["10.9.0.7/32"]));
    world.0.borrow_mut().wireguard.peers.retain(|p| p.config.public_key.0 != [3; 32]);
    pass(&mut daemon, at(8_000));
    assert_eq!(meshed(&daemon), ["fd00::6", "10.9.0.7"]);
    let world = world.0.borrow();
    assert!(world.wireguard.peers.iter().all(|p| p.config.public_key.0 != [3; 32]), "it is not put back");
    let touched = |n: u8| world.wireguard.actions.iter().any(|(k, _)| *k == key(n));
    assert!(touched(6) && !touched(4) && !touched(5));
}

/// Each counter that the engine has is a metric, and each of those is one that it has.
#[cfg(feature = "admin")]
#[test]
fn every_counter_is_a_metric() {
    let (world, mut mesh) = (Shared::default(), mesh());
    world.set_interface(Some(interface(5)));
    let mut daemon = daemon(&mut mesh, &world);
    daemon.start(at(0)).expect("a start");
    pass(&mut daemon, at(5_000));
    let counted: Vec<String> = daemon.status(at(5_000)).counters.into_keys().collect();
    let mut known: Vec<&str> = crate::metrics::Tally::counters().collect();
    known.sort_unstable();
    assert_eq!(counted, known);
    let described =
        crate::control::schema::STATUS.iter().filter_map(|field| field.path.strip_prefix("counters."));
    assert_eq!(counted, described.collect::<Vec<_>>());
    let text = asked(&mut daemon, 5_000, "metrics");
    let value = |name: &str| -> f64 {
        let line =
            text.lines().find(|line| line.starts_with(&format!("{name}{{interface=\"wg0\"}} "))).expect(name);
        line.rsplit_once(' ').expect("a value").1.parse().expect("a number")
    };
    assert_eq!(value("wgautomesh_interface_up"), 1.0);
    assert_eq!(value("wgautomesh_uptime_seconds"), 5.0);
    assert!(value("wgautomesh_wakeups_total") > 1.0);
}

/// Others would be asked first; here is nobody to ask.
#[cfg(feature = "admin")]
#[test]
fn a_map_comes_later() {
    use crate::control::{Request, Ticket};

    let (world, mut mesh) = (Shared::default(), mesh());
    world.set_interface(Some(interface(5)));
    let mut daemon = daemon(&mut mesh, &world);
    daemon.start(at(0)).expect("a start");
    pass(&mut daemon, at(5_000));
    assert_eq!(daemon.settled(at(5_000)), []);
    for ticket in [1, 2] {
        assert_eq!(daemon.answer(at(5_000), &Request::Map, Ticket::for_test(ticket)), None);
    }
    assert!(daemon.poll_timeout().is_some_and(|due| due <= at(5_000)));
    daemon.turn(at(5_000), Ready { alarm: true, ..NOTHING }).expect("a turn");
    let [(first, map), (second, same)] = &daemon.settled(at(5_000))[..] else { panic!("both get it") };
    assert_eq!((*first, *second), (Ticket::for_test(1), Ticket::for_test(2)));
    assert!(map == same && map.starts_with("{\"version\":1,\"interface\":\"wg0\",\"nodes\":[{"), "{map}");
    assert_eq!(daemon.settled(at(5_000)), []);
}

/// Asks as a person does, by the control socket, and lets so much time pass as it takes.
#[cfg(feature = "admin")]
fn asked(daemon: &mut TestDaemon<'_>, now: u64, line: &str) -> String {
    use core::sync::atomic::{AtomicU32, Ordering};
    use std::{
        io::{Read as _, Write as _},
        os::unix::{fs::PermissionsExt as _, net::UnixStream},
    };
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("wgautomesh-run-{}-{number}", std::process::id()));
    std::fs::create_dir(&directory).expect("a directory");
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).expect("ours");
    let name = crate::config::InterfaceName::parse("wg0").expect("a name");
    let mut server = crate::control::Server::bind(&directory, &name).expect("a socket");
    let mut client = UnixStream::connect(server.path()).expect("it listens");
    client.write_all(format!("{line}\n").as_bytes()).expect("it reads");
    server.handle(at(now), |request, ticket| daemon.answer(at(now), &request, ticket));
    let mut now = at(now);
    loop {
        while let Some((ticket, answer)) = daemon.next_answer(now).expect("no error") {
            server.settle(ticket, answer);
        }
        // Whoever has its answer is let go.
        if server.next_timeout().is_none() {
            break;
        }
        now = daemon.poll_timeout().expect("somebody waits");
        daemon.turn(now, Ready { alarm: true, ..Ready::default() }).expect("a turn");
    }
    let mut said = String::new();
    client.read_to_string(&mut said).expect("the whole answer");
    drop(server);
    std::fs::remove_dir_all(&directory).expect("ours");
    said
}

#[cfg(feature = "admin")]
#[test]
fn why_names_an_endpoint_that_cannot_be_sent_to() {
    use wgautomesh_core::ActionError;
    for (error, cause) in
        [(ActionError::RoutedIntoMesh, "endpoint-in-tunnel"), (ActionError::Unroutable, "no-route")]
    {
        let (world, mut mesh) = (Shared::default(), mesh());
        world.set_interface(Some(interface(5)));
        let refuse: fn(&PeerAction) -> Option<ActionError> = match error {
            ActionError::RoutedIntoMesh => |action| is_aimed(action).then_some(ActionError::RoutedIntoMesh),
            _ => |action| is_aimed(action).then_some(ActionError::Unroutable),
        };
        world.0.borrow_mut().wireguard.refuse = Some(refuse);
        let mut daemon = daemon(&mut mesh, &world);
        daemon.start(at(0)).expect("a start");
        pass(&mut daemon, at(30_000));
        let said = asked(&mut daemon, 30_000, "why 10.9.0.2");
        let why: crate::control::why::Why = serde_json::from_str(&said).expect("a document");
        let found = why.cause.expect("it is not connected");
        assert_eq!(found.id, cause);
        assert!(found.message.contains("203.0.113.2:51820"), "{}", found.message);
        assert!(why.history.iter().any(|entry| entry.what == "refused" && entry.times > 0));
        let text = asked(&mut daemon, 30_000, "explain 10.9.0.2");
        assert!(text.ends_with(&format!("\nCause: {cause}\n.\n")), "{text}");
    }
}

#[cfg(feature = "admin")]
fn is_aimed(action: &PeerAction) -> bool {
    matches!(action, PeerAction::Add { endpoint: Some(_), .. } | PeerAction::Readd { endpoint: Some(_) })
}

#[cfg(feature = "admin")]
#[test]
fn why_says_whose_the_address_is_and_which_peers_there_are() {
    let (world, mut mesh) = (Shared::default(), mesh());
    let mut foreign = PeerInfo::from_public_key(Key([7; 32]));
    foreign.config.allowed_ips.push("10.9.0.2/32".parse().expect("a network"));
    world.0.borrow_mut().wireguard.peers.push(foreign);
    world.set_interface(Some(interface(5)));
    let mut daemon = daemon(&mut mesh, &world);
    daemon.start(at(0)).expect("a start");
    pass(&mut daemon, at(10_000));
    let said = asked(&mut daemon, 10_000, &format!("why {PEER}"));
    let why: crate::control::why::Why = serde_json::from_str(&said).expect("a document");
    let cause = why.cause.expect("it is not connected");
    assert_eq!(cause.id, "address-taken");
    let holder = format!("{:.8}", PublicKey::from_bytes([7; 32]));
    assert!(cause.message.ends_with(&format!("10.9.0.2 as an allowed IP of {holder}")), "{}", cause.message);
    let refusal: crate::control::Refusal =
        serde_json::from_str(&asked(&mut daemon, 10_000, "why nobody")).expect("a document");
    assert_eq!(refusal.error.id, "unknown-peer");
    assert!(refusal.error.message.contains("10.9.0.2"), "{}", refusal.error.message);
}

#[cfg(feature = "admin")]
#[test]
fn why_names_a_name_that_cannot_be_looked_up() {
    let (world, mut mesh) = (Shared::default(), mesh());
    mesh.set_configured_endpoints(at(0), &PEER, &[]);
    world.set_interface(Some(interface(5)));
    let name =
        resolve::Name { peer: PEER, host: "bob.example.net".into(), port: 51820, beside: Box::default() };
    let mut daemon = resolving(&mut mesh, &world, Adopted::with(false, [PEER]), Names::default(), Some(name));
    daemon.start(at(0)).expect("a start");
    {
        // The look-up fails, on its own thread.
        use rustix::event::{PollFd, PollFlags};
        let answered = [PollFd::from_borrowed_fd(daemon.fds().resolver, PollFlags::IN)];
        crate::clock::ready_within(&answered, wgautomesh_core::Duration::from_secs(60));
    }
    daemon.turn(at(100), Ready { resolver: true, ..NOTHING }).expect("a turn");
    let said = asked(&mut daemon, 500, "why 10.9.0.2");
    let why: crate::control::why::Why = serde_json::from_str(&said).expect("a document");
    let cause = why.cause.expect("it is not connected");
    assert_eq!(cause.id, "name-not-found");
    assert!(cause.message.starts_with("bob.example.net, "), "{}", cause.message);
}
