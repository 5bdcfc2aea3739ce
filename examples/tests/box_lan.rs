//! The real daemons of one home, which find each other on its LAN.

mod common;

use core::net::SocketAddr;
use core::time::Duration;

use common::{LIMIT, connected, daemon, expect_all, expect_no_ping_lost, made, print_logs, status};
use serde_json::Value;
use wgautomesh_examples::mesh_box::{Attack, Attacked, CONFIG_PATH, Mesh, MeshConfig, NatKind, Started};

fn counter(mesh: &mut Mesh, at: usize, name: &str) -> u64 {
    status(mesh, at)["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter {name}"))
}

/// What it says of another node.
fn peer(mesh: &mut Mesh, at: usize, of: usize) -> Value {
    let key = mesh.nodes()[of].plan().private_key.public().base64();
    let status = status(mesh, at);
    let peers = status["peers"].as_array().unwrap();
    peers.iter().find(|peer| peer["key"] == key.as_str()).unwrap().clone()
}

/// Where a node's daemon says another one is, and how it came to know.
fn source(mesh: &mut Mesh, at: usize, of: usize) -> (String, String) {
    let peer = peer(mesh, at, of);
    let text = |field: &str| peer[field].as_str().unwrap_or_default().to_owned();
    (text("endpoint"), text("endpoint_source"))
}

fn expect_lan(mesh: &mut Mesh, a: usize, b: usize) {
    for (at, of) in [(a, b), (b, a)] {
        let (endpoint, source) = source(mesh, at, of);
        if !endpoint.starts_with("192.168.") || source != "lan" {
            print_logs(mesh);
            panic!("{at} has {of} at {endpoint}, {source}");
        }
    }
}

/// No internet, no public node, nobody else.
#[test]
fn two_nodes_of_one_home_need_nobody_else() {
    let config = MeshConfig {
        publics: 0,
        homes: 2,
        nodes_per_home: 2,
        lan_discovery: true,
        seed: 21,
        ..MeshConfig::default()
    };
    let mut mesh = made(config);
    mesh.start_daemons().unwrap();
    expect_all(&mut mesh, "two nodes on a LAN, and nobody else");
    // The echo comes through before the daemon has heard of it.
    mesh.idle(Duration::from_millis(300)).unwrap();
    expect_lan(&mut mesh, 0, 1);
    // One of them is started anew: it is found again.
    mesh.node(1).signal_daemon(common::TERM).unwrap();
    mesh.node(1).wait_daemon().unwrap();
    mesh.node(1).delete_interface().unwrap();
    mesh.node(1).create_interface().unwrap();
    mesh.measure_from_now().unwrap();
    mesh.node(1).start_daemon().unwrap();
    expect_all(&mut mesh, "one of them made anew");
    mesh.idle(Duration::from_millis(300)).unwrap();
    expect_lan(&mut mesh, 0, 1);
}

#[test]
fn the_nodes_of_each_home_talk_over_its_lan() {
    let config =
        MeshConfig { homes: 4, nodes_per_home: 2, lan_discovery: true, seed: 22, ..MeshConfig::default() };
    let mut mesh = connected(config);
    mesh.idle(Duration::from_secs(1)).unwrap();
    for (a, b) in [(1, 2), (3, 4)] {
        expect_lan(&mut mesh, a, b);
    }
    let (_, source) = source(&mut mesh, 1, 3);
    assert_ne!(source, "lan", "they are in two homes");
}

/// How long the attack lasts; in ordinary tests it is short.
fn attack_time() -> Duration {
    let seconds = std::env::var("WGAUTOMESH_ATTACK").ok().map(|text| text.parse().expect("seconds"));
    Duration::from_secs(seconds.unwrap_or(12))
}

/// Packets of the attacker in a second.
const ATTACK_RATE: u32 = 2_000;
/// Every node pings every other one so often.
const PING_PERIOD: Duration = Duration::from_millis(250);

/// Where the daemons of these pairs say that the other one is, and how they came to know.
fn sources(mesh: &mut Mesh, pairs: &[(usize, usize)]) -> Vec<(String, String)> {
    pairs.iter().flat_map(|&(a, b)| [source(mesh, a, b), source(mesh, b, a)]).collect()
}

/// Where they say that it is.
fn endpoints(mesh: &mut Mesh, pairs: &[(usize, usize)]) -> Vec<String> {
    sources(mesh, pairs).into_iter().map(|(endpoint, _)| endpoint).collect()
}

/// What an attack came to, while the mesh went on.
fn ended(mesh: &mut Mesh, attack: Started, mut each_second: impl FnMut(&mut Mesh)) -> Attacked {
    while !mesh.stranger(0).poll_finished(&attack).unwrap() {
        mesh.idle(Duration::from_secs(1)).unwrap();
        each_second(mesh);
    }
    mesh.stranger(0).finish_attack(attack).unwrap()
}

/// A stranger on the LAN of three nodes keeps the beacons that it hears. Then one of the three leaves for another home, and
/// the stranger takes its address: so it can send that node's beacons from where they say that they are from. It does that,
/// and everything else that it can think of, while all nodes ping each other.
///
/// `WGAUTOMESH_ATTACK=600` lets it try for ten minutes.
#[test]
fn replayed_and_spoofed_beacons_cost_live_pairs_nothing() {
    let config = MeshConfig {
        homes: 4,
        nodes_per_home: 3,
        strangers: 1,
        lan_discovery: true,
        seed: 23,
        ..MeshConfig::default()
    };
    let mut mesh = made(config);
    // Each of three nodes from two addresses. Who comes too late for the first beacons waits a minute for the next ones.
    let listen = Attack::Listen { sources: 6, limit: LIMIT * 3 };
    let listening = mesh.stranger(0).start_attack(&listen).unwrap();
    mesh.idle(Duration::from_millis(500)).unwrap();
    mesh.start_daemons().unwrap();
    expect_all(&mut mesh, "three nodes in one home, one in another");
    let Attacked { sources: heard, .. } = ended(&mut mesh, listening, |_| ());
    println!("heard beacons from {heard:?}");
    assert_eq!(
        heard.iter().map(|ip| ip.is_ipv4()).collect::<Vec<_>>(),
        [true, true, true, false, false, false]
    );
    let left = mesh.internet({
        let host = mesh.nodes()[3].plan().host;
        move |internet| internet.address_v4(host)
    });
    let left = left.unwrap().unwrap();
    assert!(heard.contains(&left), "{left}");

    mesh.measure_change(|mesh| mesh.move_and_succeed(3, 4, 0)).unwrap();
    expect_all(&mut mesh, "one of the three in the other home");
    // Its two old neighbours talk over their LAN, it with them over the internet.
    let away = |mesh: &mut Mesh| {
        let there = sources(mesh, &[(1, 3), (2, 3)]);
        there.iter().all(|(endpoint, source)| !endpoint.starts_with("192.168.") && source != "lan")
    };
    mesh.measure_from_now().unwrap();
    mesh.run_until(LIMIT / 6, |mesh| away(mesh)).unwrap();
    if !away(&mut mesh) {
        print_logs(&mesh);
        panic!("{:?}", sources(&mut mesh, &[(1, 3), (2, 3)]));
    }
    mesh.idle(Duration::from_secs(2)).unwrap();
    expect_lan(&mut mesh, 1, 2);
    let pairs = [(1, 2), (1, 3), (2, 3)];
    println!("before the attack: {:?}", sources(&mut mesh, &pairs));
    let before = endpoints(&mut mesh, &pairs);
    let counters = ["heard_beacons", "dropped_lan", "sent_challenges", "moved_to_lan", "moved_back"];
    let count = |mesh: &mut Mesh| [1, 2].map(|at| counters.map(|name| counter(mesh, at, name)));
    let counted = count(&mut mesh);

    mesh.start_pings(PING_PERIOD).unwrap();
    let attack = Attack::Replay { rate: ATTACK_RATE, time: attack_time(), seed: 23 };
    let attacking = mesh.stranger(0).start_attack(&attack).unwrap();
    let attacked = ended(&mut mesh, attacking, |mesh| {
        let now = endpoints(mesh, &pairs);
        if now != before {
            print_logs(mesh);
            panic!("{now:?} instead of {before:?}");
        }
    });
    println!("{} packets of the attacker: {attacked:?}", attacked.sent());
    for (at, (now, before)) in [1, 2].into_iter().zip(count(&mut mesh).into_iter().zip(counted)) {
        let [heard, dropped, challenges, moved, moved_back] = core::array::from_fn(|n| now[n] - before[n]);
        println!(
            "node {at}: heard {heard} beacons that open, dropped {dropped} datagrams, sent {challenges} challenges"
        );
        assert!(heard > 0 && dropped > 0 && challenges > 0, "the attack did not reach node {at}");
        assert_eq!((moved, moved_back), (0, 0));
    }
    for kind in [attacked.copies, attacked.from_us, attacked.spoofed, attacked.changed, attacked.garbage] {
        assert!(kind > 0, "{attacked:?}");
    }
    // It did get challenges, for the address that it took, and few.
    assert!((1..attacked.sent() / 100).contains(&attacked.to_us), "{attacked:?}");

    expect_no_ping_lost(&mut mesh);
}

/// Whether the hosts of the first home reach each other by more than broadcasts.
fn isolate(mesh: &Mesh, isolated: bool) {
    let home = mesh.nodes().iter().find_map(|node| node.plan().gateway).unwrap();
    mesh.internet(move |internet| internet.isolate(home, isolated)).unwrap();
}

/// A Wi-Fi that keeps its clients apart, and a router that turns their packets round: they hear of each other on the LAN,
/// and talk by way of the router.
#[test]
fn a_wifi_that_keeps_its_clients_apart_breaks_no_session() {
    let nats = vec!["eim-apdf+hairpin".parse::<NatKind>().unwrap()];
    let config = MeshConfig {
        homes: 2,
        nodes_per_home: 2,
        nats,
        lan_discovery: true,
        seed: 24,
        ..MeshConfig::default()
    };
    let mut mesh = made(config);
    isolate(&mesh, true);
    mesh.start_daemons().unwrap();
    expect_all(&mut mesh, "two clients that are kept apart");
    mesh.start_pings(PING_PERIOD).unwrap();
    let before = endpoints(&mut mesh, &[(1, 2)]);
    println!("{before:?}");
    assert!(before.iter().all(|endpoint| endpoint.starts_with("203.0.113.")), "{before:?}");
    let tried = |mesh: &mut Mesh| {
        [(1, 2), (2, 1)].iter().all(|&(at, of)| {
            counter(mesh, at, "heard_beacons") > 0
                && (counter(mesh, at, "sent_challenges") > 0 || !peer(mesh, at, of)["lan_barred"].is_null())
        })
    };
    mesh.measure_from_now().unwrap();
    mesh.run_until(LIMIT, tried).unwrap();
    assert!(tried(&mut mesh), "they do not know of each other: {:?}", [1, 2].map(|at| status(&mut mesh, at)));
    mesh.idle(Duration::from_secs(5)).unwrap();
    assert_eq!(endpoints(&mut mesh, &[(1, 2)]), before);
    for at in [1, 2] {
        assert_eq!(counter(&mut mesh, at, "moved_to_lan"), 0);
    }
    expect_no_ping_lost(&mut mesh);
}

/// Two of its clients, and nobody else: `status` says where the other one is, and that nothing comes back from there.
#[test]
fn status_names_the_place_on_the_lan_that_does_not_answer() {
    let config = MeshConfig {
        publics: 0,
        homes: 2,
        nodes_per_home: 2,
        lan_discovery: true,
        seed: 25,
        ..MeshConfig::default()
    };
    let mut mesh = made(config);
    isolate(&mesh, true);
    mesh.start_daemons().unwrap();
    let program = daemon().to_string_lossy().into_owned();
    for (at, of) in [(0, 1), (1, 0)] {
        let barred = |mesh: &mut Mesh| peer(mesh, at, of)["lan_barred"].as_str().map(str::to_owned);
        mesh.run_until(LIMIT, |mesh| barred(mesh).is_some()).unwrap();
        let table = mesh.node(at).run(&[&program, "status", CONFIG_PATH]).unwrap().stdout;
        println!("{table}");
        let Some(line) = table.lines().find(|line| line.contains("lan-no-answer")) else {
            print_logs(&mesh);
            panic!("{table}");
        };
        let (before, rest) = line.split_once(" is ").unwrap();
        let endpoint: SocketAddr = before.strip_prefix("  lan-no-answer: ").unwrap().parse().unwrap();
        assert_eq!(rest, "on the LAN, and its WireGuard does not answer there: tried again later");
        assert_eq!(endpoint.port(), mesh.nodes()[of].plan().listen_port);
    }
}
