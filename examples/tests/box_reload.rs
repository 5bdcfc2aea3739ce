//! Real daemons that go by another configuration while they run.

mod common;

use core::time::Duration;
use std::time::SystemTime;

use common::{LIMIT, TERM, connected, daemon, expect_all, expect_no_ping_lost, made, print_logs, status};
use wgautomesh_examples::mesh_box::{CONFIG_PATH, Key, Mesh, MeshConfig, Output};

/// The two whose session nothing may touch, and the one that comes and goes.
const OLD: [usize; 2] = [0, 1];
const NEW: usize = 2;

fn key(mesh: &Mesh, at: usize) -> Key {
    mesh.nodes()[at].plan().private_key.public()
}

/// A configuration without the sections of these nodes.
fn without(mesh: &Mesh, config: &str, nodes: &[usize]) -> String {
    let gone: Vec<String> = nodes.iter().map(|&at| key(mesh, at).base64()).collect();
    let mut sections = config.split("\n[[peers]]\n");
    let top = sections.next().unwrap().to_owned();
    let stay = sections.filter(|section| !gone.iter().any(|key| section.contains(key.as_str())));
    stay.fold(top, |config, section| config + "\n[[peers]]\n" + section)
}

fn reload(mesh: &mut Mesh, at: usize, config: &str) -> Output {
    mesh.node(at).write_file(CONFIG_PATH, config).unwrap();
    let program = daemon().to_string_lossy().into_owned();
    mesh.node(at).run(&[&program, "reload", CONFIG_PATH]).unwrap()
}

fn expect_reloaded(mesh: &mut Mesh, at: usize, config: &str, what: &str) {
    let output = reload(mesh, at, config);
    if (output.code, output.stdout.lines().last()) != (Some(0), Some(&*format!("wg0: reloaded: {what}"))) {
        print_logs(mesh);
        panic!("{what}: {output:?}");
    }
}

/// What nodes say of each other's states, in the order of their peers.
fn states(mesh: &mut Mesh, at: usize) -> Vec<String> {
    let status = status(mesh, at);
    let peers = status["peers"].as_array().unwrap();
    peers.iter().map(|peer| peer["state"].as_str().unwrap().to_owned()).collect()
}

fn expect_states(mesh: &mut Mesh, at: usize, expected: &[&str]) {
    mesh.measure_from_now().unwrap();
    mesh.run_until(LIMIT, |mesh| states(mesh, at) == expected).unwrap();
    let found = states(mesh, at);
    if found != expected {
        print_logs(mesh);
        panic!("node {at}: {found:?} instead of {expected:?}");
    }
}

/// A session as WireGuard counts: since when, and how many bytes have come.
struct Session {
    stamp: Duration,
    received: u64,
}

/// That of each of the two with the other.
fn sessions(mesh: &mut Mesh) -> Vec<Session> {
    let of = |mesh: &mut Mesh, [at, other]: [usize; 2]| {
        let key = key(mesh, other);
        let peer = mesh.node(at).peers().unwrap().into_iter().find(|peer| peer.key == key).unwrap();
        Session { stamp: peer.last_handshake, received: peer.rx_bytes }
    };
    [OLD, [OLD[1], OLD[0]]].map(|pair| of(mesh, pair)).into()
}

/// They are the ones of before. WireGuard itself makes new keys after two minutes, which a busy machine may need for all this;
/// it does not forget what it has counted then, as it does where a peer is made anew.
fn expect_same(mesh: &mut Mesh, before: &[Session]) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    for (after, before) in sessions(mesh).iter().zip(before) {
        assert!(after.received >= before.received, "the peer was made anew");
        let old = now - before.stamp > Duration::from_secs(100);
        assert!(old || after.stamp == before.stamp, "{:?} instead of {:?}", after.stamp, before.stamp);
    }
}

#[test]
fn peers_come_and_go_and_others_do_not_notice() {
    let mut mesh = made(MeshConfig { homes: 2, seed: 41, ..MeshConfig::default() });
    let all = mesh.node(0).config().unwrap();
    let two = without(&mesh, &all, &[NEW]);
    let alone = without(&mesh, &all, &OLD);
    for at in OLD {
        mesh.node(at).write_file(CONFIG_PATH, &two).unwrap();
    }
    mesh.node(NEW).write_file(CONFIG_PATH, &alone).unwrap();
    mesh.start_daemons().unwrap();
    for at in OLD {
        expect_states(&mut mesh, at, &["connected"]);
    }
    expect_states(&mut mesh, NEW, &[]);
    mesh.start_pings(Duration::from_millis(100)).unwrap();
    let before = sessions(&mut mesh);

    // It is added everywhere, and everybody is added to it.
    let added = |mesh: &Mesh, nodes: &[usize]| {
        let names: Vec<String> = nodes.iter().map(|&at| key(mesh, at).base64()[..8].to_owned()).collect();
        format!("peers: {} added ({}); nothing else", names.len(), names.join(", "))
    };
    for (at, new) in [(0, &[NEW][..]), (1, &[NEW]), (NEW, &OLD)] {
        let what = added(&mesh, new);
        expect_reloaded(&mut mesh, at, &all, &what);
    }
    mesh.measure_from_now().unwrap();
    expect_all(&mut mesh, "the new one with all");
    expect_same(&mut mesh, &before);

    // A bad file changes nothing, and says why.
    let bad = all.replace("gossip_port = 1666", "gossip_port = 1667");
    let output = reload(&mut mesh, 1, &bad);
    assert_eq!(output.code, Some(1), "{output:?}");
    let why = format!(
        "{CONFIG_PATH}:2:15: error: gossip_port: is 1667, and this daemon listens at 1666; fix: restart"
    );
    assert!(output.stderr.contains(&why), "{output:?}");
    let logged = |mesh: &mut Mesh| mesh.nodes()[1].log().iter().any(|line| line.contains(&why));
    mesh.measure_from_now().unwrap();
    mesh.run_until(LIMIT, logged).unwrap();
    assert!(logged(&mut mesh), "{:#?}", mesh.nodes()[1].log());
    expect_states(&mut mesh, 1, &["connected", "connected"]);
    expect_same(&mut mesh, &before);

    // It goes again. That it leaves WireGuard is seen there.
    let key_of_new = key(&mesh, NEW);
    for at in OLD {
        let what = format!("peers: 1 removed ({}); nothing else", &key_of_new.base64()[..8]);
        expect_reloaded(&mut mesh, at, &two, &what);
        assert_eq!(states(&mut mesh, at).len(), 1);
        let peers = mesh.node(at).peers().unwrap();
        assert!(peers.iter().all(|peer| peer.key != key_of_new), "{peers:?}");
    }
    mesh.idle(Duration::from_secs(3)).unwrap();
    for at in OLD {
        expect_states(&mut mesh, at, &["connected"]);
        assert_eq!(mesh.node(at).peers().unwrap().len(), 1, "nobody puts it back");
    }
    expect_same(&mut mesh, &before);

    let pings = mesh.stop_pings(LIMIT / 6).unwrap();
    for [at, other] in [OLD, [OLD[1], OLD[0]]] {
        let pings = pings[at][other];
        println!("{at} to {other}: {} of {} pings lost", pings.lost(), pings.sent);
        assert!(pings.sent > 0);
        assert_eq!(pings.lost(), 0);
    }
}

/// Who is down from before the next secret is known to anybody, until it has become everybody's.
const DOWN: usize = 3;

/// The files of a node at a step of the change of secrets: which the next and the previous ones are.
fn secrets(config: &str, present: &str, beside: Option<(&str, &str)>) -> String {
    let file = |key: &str, name: &str| format!("gossip_secret{key}_file = \"/run/box/{name}\"\n");
    let (before, rest) = config.split_once("gossip_secret_file = ").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    let beside = beside.map(|(key, name)| file(key, name)).unwrap_or_default();
    [before, &file("", present), &beside, after].concat()
}

/// What its status says of the newer secret: by how many it was shown, of how many that are connected.
fn shown(mesh: &mut Mesh, at: usize) -> Option<String> {
    let program = daemon().to_string_lossy().into_owned();
    let table = mesh.node(at).run(&[&program, "status", CONFIG_PATH]).unwrap().stdout;
    table.lines().find_map(|line| line.split_once(" secret was shown by ").map(|(_, shown)| shown.to_owned()))
}

fn expect_shown(mesh: &mut Mesh, at: usize, expected: &str) {
    mesh.measure_from_now().unwrap();
    mesh.run_until(LIMIT, |mesh| shown(mesh, at).as_deref() == Some(expected)).unwrap();
    assert_eq!(shown(mesh, at).as_deref(), Some(expected), "node {at}");
}

#[test]
fn the_secret_is_changed_while_everybody_pings_and_one_daemon_is_down() {
    let mut mesh = connected(MeshConfig { homes: 3, seed: 42, ..MeshConfig::default() });
    let old = mesh.node(0).config().unwrap();
    let start = "old";
    for at in 0..mesh.nodes().len() {
        let present = mesh.node(at).run(&["/bin/sh", "-c", "cat /run/box/gossip_secret"]).unwrap().stdout;
        mesh.node(at).write_file("/run/box/old", &present).unwrap();
        mesh.node(at).write_file("/run/box/new", "the secret that all change over to\n").unwrap();
    }
    let steps = [
        (secrets(&old, start, Some(("_next", "new"))), "next secret: added"),
        (
            secrets(&old, "new", Some(("_previous", "old"))),
            "secret: changed; next secret: removed; previous secret: added",
        ),
        (secrets(&old, "new", None), "previous secret: removed"),
    ];
    let step = |mesh: &mut Mesh, at: usize, number: usize| {
        let (config, what) = &steps[number];
        expect_reloaded(mesh, at, config, &format!("{what}; nothing else"));
    };
    mesh.node(DOWN).signal_daemon(TERM).unwrap();
    mesh.node(DOWN).wait_daemon().unwrap();
    mesh.start_pings(Duration::from_millis(100)).unwrap();

    (0..DOWN).for_each(|at| step(&mut mesh, at, 0));
    let down = mesh.nodes()[DOWN].plan().private_key.public().base64();
    for at in 0..DOWN {
        // What has no daemon has a session all the same, or counts as mute: in any case it has shown nothing.
        mesh.measure_from_now().unwrap();
        let others = format!("; not by {}", &down[..8]);
        let done = |mesh: &mut Mesh| {
            shown(mesh, at).is_some_and(|shown| shown.starts_with("2 of ") && shown.ends_with(&others))
        };
        mesh.run_until(LIMIT, done).unwrap();
        assert!(done(&mut mesh), "node {at}: {:?}", shown(&mut mesh, at));
    }
    (0..DOWN).for_each(|at| step(&mut mesh, at, 1));

    // It comes back with what it had, and everybody understands it.
    mesh.node(DOWN).start_daemon().unwrap();
    for at in 0..=DOWN {
        expect_states(&mut mesh, at, &["connected"; DOWN]);
    }
    (0..2).for_each(|number| step(&mut mesh, DOWN, number));
    (0..=DOWN).for_each(|at| expect_shown(&mut mesh, at, "3 of 3 connected peers"));
    (0..=DOWN).for_each(|at| step(&mut mesh, at, 2));
    mesh.idle(Duration::from_secs(2)).unwrap();
    for at in 0..=DOWN {
        expect_states(&mut mesh, at, &["connected"; DOWN]);
        assert_eq!(shown(&mut mesh, at), None);
    }
    expect_no_ping_lost(&mut mesh);
}
