//! The real daemon in the box: meshes form, and come back after what happens to machines.
//!
//! Times asserted here are generous, for machines that are busy with other things; what the mesh really takes is
//! printed, and measured by `cargo box --json`.

mod common;

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use common::{
    LIMIT, TERM, connected, daemon, expect_all, expect_no_ping_lost, made, on_this_machine, print_logs,
    with_daemon,
};
use wgautomesh_examples::mesh_box::{
    CONFIG_PATH, INTERFACE, Key, Mesh, MeshConfig, NatKind, NodePlan, PeerUpdate, Run, Scenario, Trial,
    WireGuardKind,
};

const KILL: i32 = 9;

/// The handshake stamps that a node has of its peers, by key: wireguard-go lists its peers in any order.
fn stamps(mesh: &mut Mesh, at: usize) -> Vec<(Key, Duration)> {
    let mut stamps: Vec<_> =
        mesh.node(at).peers().unwrap().iter().map(|peer| (peer.key, peer.last_handshake)).collect();
    stamps.sort_unstable();
    stamps
}

/// Each scenario, with the embedded device and with wireguard-go.
macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[test]
            fn $name() {
                super::$name(super::WireGuardKind::Embedded);
            })+
        }
        mod wireguard_go {
            $(#[test]
            fn $name() {
                if let Some(wireguard) = crate::common::wireguard_go_program() {
                    super::$name(wireguard);
                }
            })+
        }
    };
}

scenarios!(
    three_public_nodes,
    a_public_node_and_four_homes,
    a_restart_of_a_daemon_costs_no_session,
    ten_restarts_lose_no_ping,
    a_node_that_lost_everything_comes_back,
    an_interface_that_is_deleted_and_made_again_is_meshed_again,
    a_router_that_changes_its_address_is_found_again,
    homes_keep_each_other_while_the_public_node_is_away,
);

fn three_public_nodes(wireguard: WireGuardKind) {
    connected(MeshConfig { wireguard, publics: 3, homes: 0, ..MeshConfig::default() });
}

fn a_public_node_and_four_homes(wireguard: WireGuardKind) {
    connected(MeshConfig { wireguard, homes: 4, seed: 2, ..MeshConfig::default() });
}

fn a_restart_of_a_daemon_costs_no_session(wireguard: WireGuardKind) {
    let mut mesh = connected(MeshConfig { wireguard, homes: 2, seed: 3, ..MeshConfig::default() });
    let before = stamps(&mut mesh, 1);
    mesh.node(1).signal_daemon(TERM).unwrap();
    let ended = mesh.node(1).wait_daemon().unwrap();
    assert_eq!(ended.code, Some(0), "{:?}", mesh.nodes()[1].log());

    // It left the peers working.
    mesh.measure_from_now().unwrap();
    expect_all(&mut mesh, "without the daemon");
    mesh.node(1).start_daemon().unwrap();
    mesh.idle(Duration::from_secs(3)).unwrap();
    assert_eq!(stamps(&mut mesh, 1), before, "{:?}", mesh.nodes()[1].log());
    mesh.measure_from_now().unwrap();
    expect_all(&mut mesh, "after the restart");
}

/// As when the program is replaced by a newer one: each daemon in turn ends and starts, while everybody pings everybody.
fn ten_restarts_lose_no_ping(wireguard: WireGuardKind) {
    let mut mesh = connected(MeshConfig { wireguard, homes: 2, seed: 21, ..MeshConfig::default() });
    let daemon = daemon();
    mesh.start_pings(Duration::from_millis(100)).unwrap();
    for at in (0..3).cycle().take(10) {
        mesh.node(at).signal_daemon(TERM).unwrap();
        assert_eq!(mesh.node(at).wait_daemon().unwrap().code, Some(0), "{:?}", mesh.nodes()[at].log());
        mesh.idle(Duration::from_millis(500)).unwrap();
        mesh.node(at).start_daemon().unwrap();
        let up = |mesh: &mut Mesh| {
            let status = mesh.node(at).status(&daemon).unwrap();
            let peers = status.and_then(|status| status["peers"].as_array().cloned());
            peers.is_some_and(|peers| {
                peers.len() == 2 && peers.iter().all(|peer| peer["state"] == "connected")
            })
        };
        mesh.measure_from_now().unwrap();
        mesh.run_until(LIMIT, up).unwrap();
        if !up(&mut mesh) {
            print_logs(&mesh);
            panic!("node {at} does not come back");
        }
        mesh.idle(Duration::from_millis(1200)).unwrap();
    }
    assert!(expect_no_ping_lost(&mut mesh) >= 1000);
}

fn a_node_that_lost_everything_comes_back(wireguard: WireGuardKind) {
    let mut mesh = connected(MeshConfig { wireguard, homes: 2, seed: 4, ..MeshConfig::default() });
    mesh.node(2).signal_daemon(KILL).unwrap();
    assert_eq!(mesh.node(2).wait_daemon().unwrap().signal, Some(KILL));
    mesh.node(2).delete_interface().unwrap();
    mesh.node(2).create_interface().unwrap();
    mesh.measure_from_now().unwrap();
    mesh.node(2).start_daemon().unwrap();
    expect_all(&mut mesh, "after the node's restart");
}

fn an_interface_that_is_deleted_and_made_again_is_meshed_again(wireguard: WireGuardKind) {
    let mut mesh = connected(MeshConfig { wireguard, homes: 2, seed: 5, ..MeshConfig::default() });
    mesh.node(1).delete_interface().unwrap();
    mesh.idle(Duration::from_secs(1)).unwrap();
    assert_eq!(
        mesh.nodes()[1].daemon_ended(),
        None,
        "it waits for the interface: {:?}",
        mesh.nodes()[1].log()
    );
    mesh.node(1).create_interface().unwrap();
    mesh.measure_from_now().unwrap();
    expect_all(&mut mesh, "after the interface came back");
}

/// A scenario in small: shortly after all pairs talk, and with the public node away for a second.
fn tried(scenario: Scenario, quiet: bool, config: MeshConfig) -> Run {
    let second = Duration::from_secs(1);
    let trial = Trial { quiet, settle: second, wait: second, timeout: LIMIT, ..Trial::new(scenario) };
    let config = MeshConfig { nodes_per_home: scenario.mesh().nodes_per_home, ..config };
    let tried = trial.run(&with_daemon(config), &Mutex::new(()), &mut |_| ());
    let (run, mesh) = on_this_machine(tried);
    println!("{scenario}: {run}");
    if !run.is_complete() {
        print_logs(&mesh);
        panic!("{scenario}: {run}");
    }
    run
}

/// Not yet over wireguard-go: it goes on sending from the address that is gone until its endpoints are set again, which
/// the daemon does only when it gives a session up.
#[test]
fn a_home_that_changes_networks_is_found_again() {
    let config = MeshConfig { homes: 3, seed: 11, ..MeshConfig::default() };
    let run = tried(Scenario::AddressChange, true, config);
    assert_eq!((run.step.pairs_connected, run.before.len()), (12, 1));
}

fn a_router_that_changes_its_address_is_found_again(wireguard: WireGuardKind) {
    let config = MeshConfig { wireguard, homes: 3, seed: 12, ..MeshConfig::default() };
    tried(Scenario::RouterAddressChange, false, config);
}

fn homes_keep_each_other_while_the_public_node_is_away(wireguard: WireGuardKind) {
    let config = MeshConfig { wireguard, homes: 3, seed: 13, ..MeshConfig::default() };
    let run = tried(Scenario::PublicRestart, false, config);
    assert_eq!(run.before[1].pairs_possible, 6, "pairs of homes only: {:?}", run.before);
}

#[test]
fn a_public_daemon_that_is_restarted_costs_nobody_anything() {
    let run = tried(
        Scenario::PublicDaemonRestart,
        false,
        MeshConfig { homes: 2, seed: 14, ..MeshConfig::default() },
    );
    assert_eq!(run.before[1].pairs_possible, 6, "all pairs, by what WireGuard knows: {:?}", run.before);
}

#[test]
fn two_nodes_in_each_home() {
    let run = tried(Scenario::TwoPerHome, false, MeshConfig { homes: 4, seed: 15, ..MeshConfig::default() });
    assert_eq!(run.step.pairs_connected, 20);
}

#[test]
fn a_nat_that_forgets_everything_is_passed_again() {
    tried(Scenario::NatReboot, false, MeshConfig { homes: 3, seed: 16, ..MeshConfig::default() });
}

#[test]
fn a_nat_that_comes_back_with_other_ports_is_passed_again() {
    let nats = vec!["eim-apdf+random".parse::<NatKind>().unwrap()];
    tried(Scenario::NatReboot, false, MeshConfig { homes: 3, nats, seed: 17, ..MeshConfig::default() });
}

#[test]
fn pairs_that_cannot_be_punched_are_explained_and_all_others_are_up() {
    let run = tried(Scenario::EdmHome, false, MeshConfig { homes: 3, seed: 18, ..MeshConfig::default() });
    // The first home and each of the two others, both ways.
    assert_eq!((run.step.pairs_connected, run.step.pairs_possible), (8, 8));
    let explained = run.explained.unwrap();
    assert_eq!((explained.pairs, explained.explained), (4, 4), "{explained:?}");
}

#[test]
fn what_an_idle_mesh_needs_is_measured() {
    let run =
        tried(Scenario::Idle, false, MeshConfig { homes: 2, absent: 5, seed: 19, ..MeshConfig::default() });
    let idle = run.idle.unwrap();
    assert!(idle.seconds >= 1.0 && idle.cpu_seconds_per_hour_max < 3600.0, "{idle:?}");
}

/// An administrator has put the peers on the interface, as wg-quick does, and named none of them anywhere else. One of them is
/// no member: the way to a network.
#[test]
fn the_peers_of_the_interface_are_meshed_without_being_named() {
    let mut mesh = made(MeshConfig { homes: 2, seed: 20, ..MeshConfig::default() });
    let plans: Vec<_> = mesh.nodes().iter().map(|node| node.plan().clone()).collect();
    let gateway = PeerUpdate {
        allowed_ips: vec![([192, 0, 2, 0].into(), 24)],
        ..PeerUpdate::new(Key([7; 32]), [192, 0, 2, 1].into())
    };
    for (at, own) in plans.iter().enumerate() {
        let config = mesh.node(at).config().unwrap();
        let required = config
            .lines()
            .filter(|line| ["interface", "gossip_secret"].iter().any(|key| line.starts_with(key)));
        let lines: Vec<_> = required.chain(["peers_from_interface = true"]).collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        mesh.node(at).write_file(CONFIG_PATH, &lines.join("\n")).unwrap();
        let others = plans.iter().filter(|plan| plan.name != own.name);
        let member = |plan: &NodePlan| PeerUpdate {
            endpoint: plan.endpoint,
            ..PeerUpdate::new(plan.private_key.public(), plan.mesh)
        };
        mesh.node(at).update_peers(others.map(member).chain([gateway.clone()]).collect()).unwrap();
    }
    mesh.start_daemons().unwrap();
    expect_all(&mut mesh, "peers from the interface");
    // Two homes among them, of which none knew the other's endpoint.
    let daemon = daemon();
    for at in 0..plans.len() {
        let connected = |mesh: &mut Mesh| {
            let status = mesh.node(at).status(&daemon).unwrap().expect("it runs");
            status["peers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|peer| peer["state"] == "connected")
                .collect::<Vec<_>>()
        };
        mesh.run_until(LIMIT, |mesh| connected(mesh) == [true, true]).unwrap();
        assert_eq!(connected(&mut mesh), [true, true], "{:#?}", mesh.nodes()[at].log());
        let peers = mesh.node(at).peers().unwrap();
        let gateway = peers.iter().find(|peer| peer.key == gateway.key).unwrap();
        assert_eq!(gateway.allowed_ips, [([192, 0, 2, 0].into(), 24)], "left alone");
        assert_eq!((gateway.endpoint, gateway.keepalive), (None, 0));
    }
}

#[test]
fn commands_work_inside_a_node() {
    let mut mesh = connected(MeshConfig { homes: 2, seed: 6, ..MeshConfig::default() });
    let daemon = daemon();
    let daemon = daemon.to_str().unwrap();
    let check = mesh.node(0).run(&[daemon, "check", CONFIG_PATH]).unwrap();
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(mesh.node(0).usage().unwrap().gossip_bytes > 0);
    for at in 0..3 {
        expect_nat(&mut mesh, at, daemon);
        expect_status(&mut mesh, at, daemon);
    }
}

/// The daemon of a node finds out what is in front of it, and says it once it has published it.
fn expect_nat(mesh: &mut Mesh, at: usize, daemon: &str) {
    let plan = mesh.nodes()[at].plan();
    let expected = if plan.endpoint.is_some() { "open" } else { "endpoint-independent" };
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let status = mesh.node(at).status(Path::new(daemon)).unwrap().unwrap();
        let nat = &status["node"]["nat"];
        if nat["ipv4"] == expected && nat["ipv6"].is_null() {
            return;
        }
        assert!(Instant::now() < deadline, "{expected} expected: {status}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The daemon of a node says that both its peers are connected, to programs and to people.
fn expect_status(mesh: &mut Mesh, at: usize, daemon: &str) {
    let plans: Vec<_> = mesh.nodes().iter().map(|node| node.plan().clone()).collect();
    let key = |plan: &NodePlan| plan.private_key.public().base64();
    let others = || plans.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, plan)| plan);

    let status = mesh.node(at).status(Path::new(daemon)).unwrap().unwrap();
    assert_eq!(status["version"], 1);
    assert_eq!(status["node"]["interface"], INTERFACE);
    assert_eq!(status["node"]["key"], key(&plans[at]).as_str());
    assert_eq!(status["node"]["mesh_address"], plans[at].mesh.to_string().as_str());
    let peers = status["peers"].as_array().unwrap();
    assert_eq!(peers.len(), 2, "{status}");
    for (peer, plan) in peers.iter().zip(others()) {
        assert_eq!(peer["key"], key(plan).as_str(), "in the order of the configuration");
        assert_eq!(peer["address"], plan.mesh.to_string().as_str());
        assert_eq!(peer["state"], "connected", "{peer}");
        assert!(peer["rtt_us"].as_u64().is_some_and(|rtt| rtt > 0), "{peer}");
        let endpoint: SocketAddr = peer["endpoint"].as_str().unwrap().parse().unwrap();
        match plan.endpoint {
            Some(configured) => assert_eq!(endpoint, configured),
            None => {
                let gateway = plan.gateway.unwrap();
                let outside = mesh.internet(move |internet| internet.nat(gateway).outside()).unwrap();
                assert_eq!(endpoint.ip(), IpAddr::V4(outside));
            }
        }
    }

    let table = mesh.node(at).run(&[daemon, "status", CONFIG_PATH]).unwrap();
    assert_eq!(table.code, Some(0), "{table:?}");
    println!("{}", table.stdout);
    let words = if plans[at].endpoint.is_some() { "; no NAT\n" } else { "; endpoint-independent NAT\n" };
    assert!(table.stdout.contains(words), "{table:?}");
    assert!(table.stdout.contains("\n2 of 2 peers connected\n"), "{table:?}");
    for plan in others() {
        let line = table.stdout.lines().find(|line| line.starts_with(&key(plan)[..8])).unwrap();
        let cells: Vec<&str> = line.split_whitespace().collect();
        let [_, state, endpoint, _, rtt, _] = cells[..] else { panic!("{line}") };
        assert_eq!(state, "connected");
        assert!(endpoint.parse::<SocketAddr>().is_ok(), "{line}");
        assert!(rtt.ends_with('s'), "{line}");
    }
}

#[test]
fn the_sample_configurations_are_accepted() {
    let directory = std::env::temp_dir().join(format!("box-configs-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let secret = directory.join("gossip_secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef\n").unwrap();
    let mut checked = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/configs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.replace("/etc/wgautomesh/gossip_secret", secret.to_str().unwrap());
        let copy = directory.join(path.file_name().unwrap());
        std::fs::write(&copy, text).unwrap();
        let output = std::process::Command::new(daemon()).arg("check").arg(&copy).output().unwrap();
        assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
        println!("{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
        checked += 1;
    }
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(checked, 3);
}
