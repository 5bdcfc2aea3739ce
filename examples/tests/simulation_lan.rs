//! LANs in virtual time: who finds whom there, what a Wi-Fi that keeps its clients apart does, and an attacker on the LAN
//! who hears everything, keeps it, sends it again and lies about its address.

use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use wgautomesh_core::{CandidateKind, Duration};
use wgautomesh_examples::{
    simulation::{
        node::{GOSSIP_PORT, Setup},
        world::World,
    },
    virtual_internet::{Filtering, GatewayId, Header, HomeConfig, HostId, Internet, Link, NatConfig, Site},
};

type Small = World<8>;

const PORT: u16 = 51820;
const SECOND: Duration = Duration::from_secs(1);

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// What the hosts of a test speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    /// And on their LAN nothing but link-local addresses.
    V6,
}
use Family::{V4, V6};

/// A home whose NAT turns its own hosts' packets round, so that they can talk without a LAN.
fn home(net: &mut Internet<Vec<u8>>) -> GatewayId {
    let nat = NatConfig::port_restricted().with_hairpin();
    let ipv6 = Some(Filtering::AddressAndPortDependent);
    net.add_home(HomeConfig { nat, ipv6, link: Link::delay(millis(5)), ..HomeConfig::default() })
}

/// A host with an address of this family.
fn host(net: &mut Internet<Vec<u8>>, home: GatewayId, family: Family) -> HostId {
    net.add_host_at(Site::Behind(home), Link::PERFECT, family == V4, family == V6)
}

/// The link-local address of a node, or of an attacker, by its number.
const fn link_local(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe00, number + 1)
}

/// A mesh of these hosts, all of which look for peers on their LANs, and know the endpoints of public ones. None runs yet.
fn mesh(net: Internet<Vec<u8>>, hosts: &[HostId], seed: u64) -> Small {
    let endpoint = |host: &HostId| match net.site(*host) {
        Site::Internet => {
            let address = net.address_v4(*host).or_else(|| net.address_v6(*host));
            address.map(|ip| SocketAddr::new(ip, PORT))
        }
        Site::Behind(_) => None,
    };
    let peers: Vec<_> = hosts.iter().map(endpoint).map(|e| e.into_iter().collect()).enumerate().collect();
    let setup = |(number, host): (usize, &HostId)| {
        // Behind one NAT each needs a port of its own.
        let port = if endpoint(host).is_some() { PORT } else { PORT + number as u16 };
        Setup { number, host: *host, port, peers: peers.clone() }
    };
    let setups = hosts.iter().enumerate().map(setup).collect();
    let mut world = World::new(net, setups, seed);
    for node in &mut world.nodes {
        node.lan = true;
        let (host, number) = (node.setup.host, node.setup.number as u16);
        let at_home = matches!(world.net.site(host), Site::Behind(_));
        node.link_local = (at_home && world.net.address_v4(host).is_none()).then(|| link_local(number));
    }
    world
}

fn start_all(world: &mut Small) {
    (0..world.nodes.len()).for_each(|node| world.start(node));
}

fn talk(world: &Small, a: usize, b: usize) -> bool {
    world.nodes[a].is_connected(b) && world.nodes[b].is_connected(a)
}

/// Where one node has another one on its LAN: a link-local address is on the interface of the one who has it.
fn on_lan(world: &Small, node: usize, peer: usize) -> Option<SocketAddr> {
    let port = world.nodes[peer].setup.port;
    let v4 = world.net.address_v4(world.nodes[peer].setup.host).map(|ip| SocketAddr::new(ip, port));
    let zone = world.nodes[node].lan_index();
    v4.or(world.nodes[peer].link_local.map(|ip| SocketAddrV6::new(ip, port, 0, zone).into()))
}

/// Both sides say that they talk over the LAN.
fn talk_on_lan(world: &Small, a: usize, b: usize) -> bool {
    let at = |node: usize, peer: usize| {
        let status = world.nodes[node].status_of(peer)?;
        let there = status.endpoint == Some(on_lan(world, node, peer)?);
        Some(there && status.kind == Some(CandidateKind::Lan))
    };
    talk(world, a, b) && at(a, b) == Some(true) && at(b, a) == Some(true)
}

fn endpoint(world: &Small, node: usize, peer: usize) -> Option<SocketAddr> {
    world.nodes[node].status_of(peer).and_then(|status| status.endpoint)
}

/// Users of both ping each other once a second; returns how many of how many echoes were lost.
fn pings(world: &mut Small, a: usize, b: usize, seconds: u64) -> (u64, u64) {
    let echoes = |world: &Small| world.nodes[a].echoes + world.nodes[b].echoes;
    let before = echoes(world);
    for _ in 0..seconds {
        world.ping(a, b);
        world.ping(b, a);
        world.run(SECOND);
    }
    (2 * seconds - (echoes(world) - before), 2 * seconds)
}

fn expect_well(world: &Small) {
    assert_eq!(world.violations, []);
}

/// No internet, no names, no other peer; who starts first and who has the higher key differs.
#[test]
fn two_nodes_on_a_lan_find_each_other_unaided() {
    find_each_other_unaided(V4);
}

/// By multicast, and without any address but those of the link. Each keeps to its own interface of two: see [`on_lan`].
#[test]
fn two_nodes_on_an_ipv6_link_find_each_other_unaided() {
    find_each_other_unaided(V6);
}

fn find_each_other_unaided(family: Family) {
    let mut slowest = Duration::from_ticks(0);
    let mut slowest_again = slowest;
    for seed in 0..200 {
        let mut net = Internet::new(seed);
        let home = home(&mut net);
        let hosts = [(); 2].map(|()| net.add_host_at(Site::Behind(home), Link::PERFECT, family == V4, false));
        let mut world = mesh(net, &hosts, seed);
        world.watch_handshakes();
        let (first, later) = if seed % 2 == 0 { (0, 1) } else { (1, 0) };
        world.start(first);
        // At the same moment, within the first beacons, and long after them.
        let after = [0, 3, 100, 250, 750, 1_001, 30_000, 200_000][seed as usize / 2 % 8];
        world.run(millis(after));
        world.start(later);
        let begin = world.now();
        let done = world.run_while(SECOND * 3, millis(1), |world| talk_on_lan(world, 0, 1));
        assert!(done, "seed {seed}: {} {}", world.nodes[0].describe(1), world.nodes[1].describe(0));
        let took = world.now() - begin;
        assert!(took <= SECOND, "seed {seed}: {took:?}");
        slowest = slowest.max(took);
        let handshakes = world.handshakes().expect("they are watched");
        // Who is alone for long fires at nobody; together exactly one side initiates, once.
        assert_eq!(handshakes.of_pair(0, 1), 1, "seed {seed}");
        assert!(handshakes.crossed().is_empty(), "seed {seed}");
        world.run(SECOND * 60);
        assert!(talk_on_lan(&world, 0, 1), "seed {seed}");
        // One of them is made anew.
        world.stop(1, false);
        world.remake_device(1);
        world.run(millis(100));
        world.start(1);
        let begin = world.now();
        let done = world.run_while(SECOND * 3, millis(1), |world| talk_on_lan(world, 0, 1));
        assert!(done, "seed {seed}: {} {}", world.nodes[0].describe(1), world.nodes[1].describe(0));
        slowest_again = slowest_again.max(world.now() - begin);
        expect_well(&world);
    }
    println!(
        "slowest of 200: {} ms, and {} ms when one was made anew",
        slowest.as_millis(),
        slowest_again.as_millis()
    );
    assert!(slowest_again <= SECOND, "{slowest_again:?}");
}

/// 15 nodes in one home and a public one: every pair of the home talks over its LAN.
#[test]
fn a_whole_home_talks_over_its_lan() {
    let mut net = Internet::new(3);
    let public = net.add_public(Link::delay(millis(20)));
    let home = home(&mut net);
    let hosts: Vec<_> = core::iter::once(public).chain((0..7).map(|_| host(&mut net, home, V4))).collect();
    let mut world = mesh(net, &hosts, 3);
    start_all(&mut world);
    let all = |world: &Small| (1..8).all(|a| (1..8).all(|b| a == b || talk_on_lan(world, a, b)));
    let done = world.run_while(SECOND, millis(10), all);
    assert!(done, "{} connected", world.connected());
    expect_well(&world);
}

/// Nodes hear each other's beacons, and nothing else gets through between them: their sessions by way of the internet stay.
#[test]
fn a_wifi_that_keeps_its_clients_apart_breaks_nothing() {
    let mut net = Internet::new(5);
    let public = net.add_public(Link::delay(millis(10)));
    let home = home(&mut net);
    net.isolate(home, true);
    let hosts = [public, host(&mut net, home, V4), host(&mut net, home, V4)];
    let mut world = mesh(net, &hosts, 5);
    start_all(&mut world);
    let begin = world.now();
    assert!(world.run_while(SECOND * 20, millis(10), |world| talk(world, 1, 2)), "by way of the NAT");
    println!("apart: connected after {} ms", (world.now() - begin).as_millis());
    let before = (endpoint(&world, 1, 2), endpoint(&world, 2, 1));
    let (lost, sent) = pings(&mut world, 1, 2, 600);
    assert_eq!(lost, 0, "of {sent}");
    assert_eq!((endpoint(&world, 1, 2), endpoint(&world, 2, 1)), before);
    // The other way round: the LAN opens, and the session moves there, and nothing is lost by that either.
    world.net.isolate(home, false);
    let (lost, sent) = pings(&mut world, 1, 2, 900);
    assert_eq!(lost, 0, "of {sent}");
    assert!(talk_on_lan(&world, 1, 2), "{}", world.nodes[1].describe(2));
    // And closes again: a session that was on it is found anew.
    world.net.isolate(home, true);
    let apart = |world: &Small| talk(world, 1, 2) && !talk_on_lan(world, 1, 2);
    assert!(world.run_while(SECOND * 120, millis(100), apart), "{}", world.nodes[1].describe(2));
    expect_well(&world);
}

/// The number of the attacker's own link-local address.
const ATTACKER: u16 = 66;

/// Public, home and away: nodes 1 and 2 live in one home, where the attacker is too; node 3 was there once, and left.
fn attacked(seed: u64, family: Family) -> (Small, HostId, Vec<(Header, Vec<u8>)>) {
    let mut net = Internet::new(seed);
    let public = net.add_host_at(Site::Internet, Link::delay(millis(10)), family == V4, family == V6);
    let (here, away) = (home(&mut net), home(&mut net));
    let [one, two, three, attacker] = [(); 4].map(|()| host(&mut net, here, family));
    let hosts = [public, one, two, three];
    let mut world = mesh(net, &hosts, seed);
    start_all(&mut world);
    world.run(SECOND * 150);
    assert!(talk_on_lan(&world, 1, 3), "{}", world.nodes[1].describe(3));
    world.net.move_host(hosts[3], Site::Behind(away), family == V4, family == V6);
    world.addresses_changed(3);
    let all = |world: &Small| world.connected() == 12;
    assert!(world.run_while(SECOND * 60, millis(100), all), "{}", world.nodes[1].describe(3));
    world.run(SECOND * 60);
    let captured = core::mem::take(&mut world.captured);
    let of_lan = |(header, _): &(Header, Vec<u8>)| header.dst.port() == GOSSIP_PORT;
    let beacons: Vec<_> = captured.into_iter().filter(of_lan).collect();
    let from_three = beacons.iter().map(|(header, _)| header.src).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(from_three.len(), 3, "it has heard all three: {from_three:?}");
    (world, attacker, beacons)
}

/// One packet of the attacker's: a copy as it was, from its own address, to one node only, or with something changed.
fn attack(world: &mut Small, attacker: HostId, beacons: &[(Header, Vec<u8>)], rng: &mut ChaCha8Rng) -> usize {
    let mut draw = |n: usize| (rng.next_u64() % n as u64) as usize;
    let (mut header, mut bytes) = beacons[draw(beacons.len())].clone();
    let own = world.net.address_v4(attacker).unwrap_or(link_local(ATTACKER).into());
    match draw(8) {
        0..4 => {}
        4 => header.src = SocketAddr::new(own, GOSSIP_PORT),
        5 => {
            let node = 1 + draw(2);
            header.dst.set_ip(on_lan(world, node, node).expect("an address").ip());
        }
        6 => {
            let at = draw(bytes.len());
            bytes[at] ^= 1 << draw(8);
        }
        _ => {
            let source = match own {
                IpAddr::V4(_) => [192, 168, 0, draw(256) as u8].into(),
                IpAddr::V6(_) => link_local(draw(256) as u16).into(),
            };
            header.src = SocketAddr::new(source, draw(65536) as u16);
        }
    }
    header.ttl = 1 + draw(255) as u8;
    let len = bytes.len();
    world.net.send_spoofed(world.now(), attacker, header, bytes);
    len
}

fn lan_bytes(world: &Small, node: usize) -> (u32, u32, u32) {
    let counters = *world.nodes[node].mesh.as_ref().expect("it runs").counters();
    (counters.sent_challenges, counters.sent_beacons, counters.moved_to_lan)
}

/// Ten minutes of copies and lies, a hundred a second, against live pairs: one on the LAN, one whose other side left it.
#[test]
fn replayed_and_spoofed_beacons_lose_no_ping() {
    let (world, attacker, beacons) = attacked(9, V4);
    lose_no_ping(world, attacker, &beacons);
}

/// The same on an IPv6 link, where the attacker takes the address that the third node had there: what is sent to that node
/// comes to it.
#[test]
fn replayed_and_spoofed_beacons_on_an_ipv6_link_lose_no_ping() {
    let (mut world, attacker, beacons) = attacked(10, V6);
    let taken = link_local(3);
    let header = Header::udp(SocketAddr::new(taken.into(), 9), "[ff02::1]:9".parse().unwrap());
    world.net.send(world.now(), attacker, header, vec![0]);
    let world = lose_no_ping(world, attacker, &beacons);
    let challenges = world.captured.iter().filter(|(header, _)| header.dst.ip() == IpAddr::V6(taken)).count();
    println!("{challenges} challenges came to the attacker");
    assert!(challenges > 0);
    for (node, of) in [(1, 2), (2, 1)] {
        assert_eq!(endpoint(&world, node, of), on_lan(&world, node, of), "with the zone that it had");
    }
}

fn lose_no_ping(mut world: Small, attacker: HostId, beacons: &[(Header, Vec<u8>)]) -> Small {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let pairs = [(1, 2), (1, 3), (2, 3)];
    let before: Vec<_> = pairs.map(|(a, b)| (endpoint(&world, a, b), endpoint(&world, b, a))).to_vec();
    let start: u64 = world.nodes.iter().map(|n| n.echoes).sum();
    for _ in 0..600 {
        for (a, b) in pairs {
            world.ping(a, b);
            world.ping(b, a);
        }
        for _ in 0..100 {
            attack(&mut world, attacker, beacons, &mut rng);
            world.run(millis(10));
        }
        let now: Vec<_> = pairs.map(|(a, b)| (endpoint(&world, a, b), endpoint(&world, b, a))).to_vec();
        assert_eq!(now, before, "an endpoint was moved");
    }
    let echoes = world.nodes.iter().map(|n| n.echoes).sum::<u64>() - start;
    println!("60,000 packets of the attacker; {echoes} of 3600 echoes");
    assert_eq!(echoes, 3600);
    expect_well(&world);
    world
}

/// A million of them in a day: no endpoint changes, nothing is sent for what does not open, and little for what does.
#[test]
fn a_million_replays_in_a_day_move_nothing() {
    let (mut world, attacker, beacons) = attacked(11, V4);
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let pairs = [(1, 2), (1, 3), (2, 3)];
    let before: Vec<_> = pairs.map(|(a, b)| (endpoint(&world, a, b), endpoint(&world, b, a))).to_vec();
    let sent_before = [1, 2].map(|node| lan_bytes(&world, node));
    let mut attacked = 0;
    // 1,000,000 in 86,400 s: in bursts of 1000, so that the rates are reached too.
    for burst in 0..1000 {
        for _ in 0..1000 {
            attacked += attack(&mut world, attacker, &beacons, &mut rng);
            world.run(Duration::from_micros(500));
        }
        world.run(millis(85_900));
        let now: Vec<_> = pairs.map(|(a, b)| (endpoint(&world, a, b), endpoint(&world, b, a))).to_vec();
        assert_eq!(now, before, "burst {burst}: an endpoint was moved");
        assert_eq!(world.connected(), 12, "burst {burst}");
        world.captured.clear();
    }
    for (node, before) in [1, 2].into_iter().zip(sent_before) {
        let (challenges, beacons, moves) = lan_bytes(&world, node);
        let (challenges, sent, moves) = (challenges - before.0, beacons - before.1, moves - before.2);
        println!(
            "node {node}: {attacked} B from the attacker; {challenges} challenges of 160 B, {sent} beacons of its own"
        );
        assert_eq!(moves, 0);
        // What it makes them send is a small part of what it sends, and beacons are as many as ever.
        assert!(u64::from(challenges) * 160 < attacked as u64 / 20, "{challenges}");
        assert!((1200..2000).contains(&sent), "{sent}");
    }
    expect_well(&world);
}
