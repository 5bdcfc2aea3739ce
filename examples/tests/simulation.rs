//! The engine in virtual time: every kind of NAT with every other, random meshes with random faults, and the promises
//! that need many nodes.

use std::{fs, path::Path, thread};

use embassy_time::Duration;
use wgautomesh_examples::{
    simulation::{
        chaos::{self, Clocks},
        cold::{Cold, Outcome},
        matrix,
        node::Setup,
        parallel::in_parallel,
        world::World,
    },
    virtual_internet::{Filtering, HomeConfig, Internet, Link, NatConfig, Site},
};

#[path = "simulation/memory.rs"]
mod memory;
#[path = "simulation/recovery.rs"]
mod recovery;
#[path = "simulation/rotation.rs"]
mod rotation;

/// Seeds of every run. `cargo simulate chaos --seeds 100000` makes more of them.
const SEEDS: u64 = 2000;

/// Every pair that the oracle calls connectable connects, and no other; and as fast as the table beside this file says.
///
/// After a change of the engine that is meant: `WGAUTOMESH_BLESS=1 cargo test -p wgautomesh-examples --test simulation
/// matrix`, and read the diff before committing it.
#[test]
fn matrix_of_all_kinds_of_hosts() {
    let meetings: Vec<_> = matrix::SETTINGS.into_iter().flat_map(matrix::run).collect();
    let wrong: Vec<String> =
        meetings.iter().filter(|m| !m.agrees()).take(10).map(|m| format!("{m:?}")).collect();
    assert!(wrong.is_empty(), "not as the oracle says:\n{}", wrong.join("\n"));

    // Raw sockets or not, and whatever the NATs: one effort of a few rounds, without the pause after it.
    let slow: Vec<String> = meetings
        .iter()
        .filter(|m| m.up.is_some_and(|up| up > Duration::from_secs(5)))
        .map(|m| format!("{m:?}"))
        .collect();
    assert!(slow.is_empty(), "more than five seconds:\n{}", slow.join("\n"));

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/matrix.txt");
    let table = matrix::table(&meetings);
    if std::env::var_os("WGAUTOMESH_BLESS").is_some_and(|value| value == "1") {
        fs::write(&file, &table).unwrap();
    }
    let known = fs::read_to_string(&file).unwrap_or_default();
    let changed = known.lines().zip(table.lines()).filter(|(known, new)| known != new);
    let changed: Vec<String> = changed.take(20).map(|(known, new)| format!("-{known}\n+{new}")).collect();
    assert!(known == table, "\n{}\nIf this is meant, run again with WGAUTOMESH_BLESS=1.", changed.join("\n"));
}

#[test]
fn random_meshes_recover_from_random_faults() {
    let verdicts = in_parallel(0..SEEDS, |seed| chaos::run(seed, Clocks::Any));
    let failures: Vec<String> = verdicts
        .iter()
        .enumerate()
        .filter(|(_, verdict)| !verdict.faults.is_empty())
        .map(|(seed, verdict)| {
            let what = verdict.faults.join("\n    ");
            format!("seed {seed}: {what}\n    replay: cargo simulate chaos --seed {seed}")
        })
        .collect();
    assert!(failures.is_empty(), "{} of {SEEDS} seeds failed:\n{}", failures.len(), failures.join("\n"));

    // The bound for all of them leaves room for an effort that fails by loss and is repeated after a pause of minutes.
    let mut settled: Vec<_> = verdicts.iter().filter_map(|v| v.settled).collect();
    settled.sort_unstable();
    let most_of_them = settled[settled.len() * 95 / 100];
    assert!(most_of_them <= Duration::from_secs(60), "95 % settled within {} s", most_of_them.as_secs());
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 107] {
        let (one, other) = (chaos::run(seed, Clocks::Any), chaos::run(seed, Clocks::Any));
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}

fn cold(nodes: usize, public: usize) -> Cold {
    Cold {
        nodes,
        public,
        nat: NatConfig::port_restricted(),
        delay: Duration::from_millis(20),
        loss: 0.0,
        known: 3,
        peers: nodes,
        talk: false,
        until_agreed: false,
        seed: 1,
        log: None,
    }
}

/// Engines pass over the stack when they are made.
fn on_a_large_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = thread::Builder::new().stack_size(64 << 20).spawn(run).expect("a thread");
    thread.join().expect("a run that panicked has said why")
}

fn run<const PEERS: usize>(cold: Cold) -> Outcome {
    on_a_large_stack(move || cold.run::<PEERS>(Duration::from_secs(30), |_, _| {}))
}

#[test]
fn a_star_loses_nobody() {
    let outcome = run::<64>(cold(64, 1));
    assert_eq!(outcome.violations, []);
    let all = outcome.all.expect("every pair is connected");
    assert!(all <= Duration::from_millis(2000), "64 nodes took {} ms", all.as_millis());
    assert!(outcome.agreed.is_some(), "every node holds every record");
}

/// Each home is configured with three of the twenty public nodes. `cargo simulate --nodes 1000 --public 20 --records` is the
/// same with more nodes, and takes minutes.
#[test]
fn every_record_is_everywhere_within_two_seconds() {
    let outcome = run::<300>(Cold { until_agreed: true, ..cold(300, 20) });
    assert_eq!(outcome.violations, []);
    let agreed = outcome.agreed.expect("every node holds every record");
    assert!(agreed <= Duration::from_millis(2000), "it took {} ms", agreed.as_millis());
}

/// More nodes than peers: everybody is still connected to all it is configured with.
#[test]
fn a_mesh_larger_than_its_peer_lists_comes_up() {
    let large = Cold { peers: 24, ..cold(200, 20) };
    assert!(large.most_peers() <= 64, "{} peers", large.most_peers());
    let outcome = run::<64>(large);
    assert_eq!(outcome.violations, []);
    assert!(outcome.all.is_some(), "every pair is connected: {:?}", outcome.curve.last());
}

#[test]
fn loss_delays_and_loses_nothing() {
    let outcome = run::<16>(Cold { loss: 0.1, ..cold(16, 2) });
    assert_eq!(outcome.violations, []);
    assert!(outcome.all.is_some(), "every pair is connected: {:?}", outcome.curve.last());
}

/// One initiation by whoever initiates. None of them cross, even though users try to talk to everybody from the start.
#[test]
fn without_loss_hardly_a_handshake_is_wasted() {
    for talk in [false, true] {
        let outcome = run::<16>(Cold { talk, ..cold(16, 1) });
        assert_eq!(outcome.violations, []);
        assert_eq!(outcome.crossed, 0, "users talk: {talk}");
        assert_eq!(outcome.echoes > 0, talk);
        let of_pairs = outcome.initiations_of_pairs;
        assert_eq!(of_pairs.len(), outcome.pairs / 2);
        let (median, most_of_them) = (of_pairs[of_pairs.len() / 2], of_pairs[of_pairs.len() * 99 / 100]);
        println!(
            "users talk: {talk}; initiations of a pair: median {median}, 99th percentile {most_of_them}"
        );
        assert!(median == 1 && most_of_them <= 2, "{of_pairs:?}");
    }
}

/// WireGuard minds a wall clock that goes back, and nothing else minds wall clocks at all.
#[test]
fn clocks_that_jump_forward_leave_no_trace() {
    let differ = in_parallel(0..50, |seed| {
        (seed, chaos::run(seed, Clocks::Right).trace, chaos::run(seed, Clocks::Forward).trace)
    });
    let differ: Vec<_> = differ.into_iter().filter(|(_, right, forward)| right != forward).collect();
    assert_eq!(differ, [], "cargo simulate chaos --clocks right --seed N, and with --clocks forward");
}

/// A router without a clock of its own boots in 1970. Everybody who knew it takes its initiations for old ones and says nothing,
/// and takes it for connected, or for quiet where it has said goodbye.
#[test]
fn a_router_that_boots_in_1970_is_back_at_once() {
    for gentle in [false, true] {
        let mut took = in_parallel(1..21, |seed| {
            let mut world: World<8> = Cold { seed, ..cold(7, 1) }.world();
            (0..7).for_each(|node| world.start(node));
            world.run(Duration::from_millis(5000 + seed * 700));
            assert_eq!(world.connected(), 7 * 6, "seed {seed}");
            if gentle {
                world.stop(4, false);
            }
            world.reboot(4, Some(86_400));
            let (start, step) = (world.now(), Duration::from_millis(10));
            let back = world.run_while(Duration::from_secs(60), step, |world| world.connected() == 7 * 6);
            assert!(back, "seed {seed}");
            assert_eq!(world.violations, [], "seed {seed}");
            (world.now() - start).as_millis()
        });
        took.sort_unstable();
        println!("gentle: {gentle}; ms: {took:?}");
        assert!(took.iter().all(|ms| *ms <= 2000), "gentle: {gentle}; ms: {took:?}");
    }
}

/// The only node that everybody can reach is gone for an hour: the homes lose nobody else, and it is back soon.
#[test]
fn homes_keep_each_other_without_their_only_public_node() {
    let mut world: World<8> = cold(8, 1).world();
    let connected = |world: &World<8>, first: usize| {
        (first..8).all(|a| (first..8).all(|b| a == b || world.nodes[a].is_connected(b)))
    };
    (0..8).for_each(|node| world.start(node));
    let second = Duration::from_secs(1);
    assert!(world.run_while(second * 5, second, |world| connected(world, 0)), "connected at first");
    let public = world.nodes[0].setup.host;
    world.net.set_up(public, false);
    let broken = world.run_while(second * 3600, second, |world| !connected(world, 1));
    assert!(!broken, "homes lost each other after {:?}", world.now());
    world.net.set_up(public, true);
    let back = world.now();
    // Alone, a node tries its last good endpoints every 20 s.
    let all = world.run_while(second * 45, second, |world| connected(world, 0));
    assert!(all, "it is not connected to all {} s after its return", (world.now() - back).as_secs());
    assert_eq!(world.violations, []);
}

/// Bytes of gossip and readings of the interface per node and hour, of 16 nodes to which nothing happens, the most of any.
fn idle_hour(public: usize) -> (u64, u64) {
    let mut world = cold(16, public).world::<16>();
    for node in 0..16 {
        world.start(node);
    }
    world.run(Duration::from_secs(120));
    assert_eq!(world.connected(), 16 * 15);
    let before: Vec<_> = world.nodes.iter().map(|node| (node.gossip_bytes, node.readings)).collect();
    world.run(Duration::from_secs(3600));
    assert_eq!(world.connected(), 16 * 15);
    let after = world.nodes.iter().zip(before);
    let spent = after.map(|(node, (bytes, readings))| (node.gossip_bytes - bytes, node.readings - readings));
    spent.reduce(|a, b| (a.0.max(b.0), a.1.max(b.1))).expect("there are nodes")
}

#[test]
fn an_idle_mesh_is_quiet() {
    for public in [1, 16] {
        let (bytes, readings) = on_a_large_stack(move || idle_hour(public));
        println!("{public} of 16 public: {bytes} bytes of gossip and {readings} readings an hour");
        assert!(bytes <= 25_000, "{bytes} bytes of gossip an hour");
        assert!(readings <= 800, "{readings} readings an hour");
    }
}

/// Two homes whose NATs cannot be punched, so that they have to meet by IPv6, through the firewalls there. Their hosts have a
/// stable and a temporary address and send from the latter; who introduces them has IPv4 only, and has seen neither.
#[test]
fn a_firewall_is_opened_for_both_ipv6_addresses() {
    // The initiator hears no openers, and fires at the address that is published first.
    for (first, second) in [(true, false), (false, true), (true, true)] {
        let link = Link::delay(Duration::from_millis(10));
        let mut net = Internet::new(1);
        let server = net.add_host_at(Site::Internet, link, true, false);
        let mut hosts = vec![server];
        for _ in 0..2 {
            let firewall = Some(Filtering::AddressAndPortDependent);
            let config =
                HomeConfig { nat: NatConfig::symmetric(), ipv6: firewall, link, ..HomeConfig::default() };
            let home = net.add_home(config);
            let host = net.add_host(home);
            net.add_address_v6(host).expect("the home has IPv6");
            hosts.push(host);
        }
        let endpoint = net.address_v4(server).map(|ip| (ip, 51820).into());
        let peers: Vec<_> =
            (0..3).map(|peer| (peer, endpoint.filter(|_| peer == 0).into_iter().collect())).collect();
        let setups = hosts.iter().enumerate().map(|(number, host)| Setup {
            number,
            host: *host,
            port: 51820,
            peers: peers.clone(),
        });
        let mut world = World::<4>::new(net, setups.collect(), 1);
        world.nodes[1].openers = first;
        world.nodes[2].openers = second;
        for node in 0..3 {
            world.start(node);
        }
        world.run(Duration::from_millis(1000));
        assert_eq!(world.violations, []);
        assert_eq!(world.connected(), 6, "raw sockets: {first}, {second}");
    }
}
