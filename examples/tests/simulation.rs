//! The engine in virtual time: every kind of NAT with every other, random meshes with random faults, and the promises
//! that need many nodes.

use std::{fs, path::Path, thread};

use embassy_time::Duration;
use wgautomesh_examples::{
    simulation::{
        chaos,
        cold::{Cold, Outcome},
        matrix,
        parallel::in_parallel,
    },
    virtual_internet::NatConfig,
};

/// Seeds of every run. `cargo simulate chaos --seeds N` makes more of them.
const SEEDS: u64 = 500;

/// Every pair that the oracle calls connectable connects, and no other; and as fast as the table beside this file says.
///
/// After a change of the engine that is meant: `WGAUTOMESH_BLESS=1 cargo test -p wgautomesh-examples --test simulation
/// matrix`, and read the diff before committing it.
#[test]
fn matrix_of_all_kinds_of_hosts() {
    let meetings: Vec<_> = [1, 2].into_iter().flat_map(matrix::run).collect();
    let wrong: Vec<String> =
        meetings.iter().filter(|m| !m.agrees()).take(10).map(|m| format!("{m:?}")).collect();
    assert!(wrong.is_empty(), "not as the oracle says:\n{}", wrong.join("\n"));

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
    let failures: Vec<String> = in_parallel(0..SEEDS, |seed| {
        let verdict = chaos::run(seed);
        (!verdict.faults.is_empty()).then(|| {
            let what = verdict.faults.join("\n    ");
            format!("seed {seed}: {what}\n    replay: cargo simulate chaos --seed {seed}")
        })
    })
    .into_iter()
    .flatten()
    .collect();
    assert!(failures.is_empty(), "{} of {SEEDS} seeds failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 107] {
        let (one, other) = (chaos::run(seed), chaos::run(seed));
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
        seed: 1,
        log: None,
    }
}

/// Engines pass over the stack when they are made.
fn run<const PEERS: usize>(cold: Cold) -> Outcome {
    thread::Builder::new()
        .stack_size(64 << 20)
        .spawn(move || cold.run::<PEERS>(Duration::from_secs(30), |_, _| {}))
        .expect("a thread")
        .join()
        .expect("a run that panicked has said why")
}

#[test]
fn a_star_loses_nobody() {
    let outcome = run::<64>(cold(64, 1));
    assert_eq!(outcome.violations, []);
    let all = outcome.all.expect("every pair is connected");
    assert!(all <= Duration::from_millis(2000), "64 nodes took {} ms", all.as_millis());
    assert!(outcome.agreed.is_some(), "every node holds every record");
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

#[test]
fn without_loss_hardly_a_handshake_is_wasted() {
    let outcome = run::<16>(cold(16, 1));
    assert_eq!(outcome.violations, []);
    // One by whoever initiates, and one that opens the other's NAT where both are behind one.
    let most = outcome.pairs as u64 / 2 * 2;
    assert!(
        outcome.initiations <= most,
        "{} initiations for {} pairs",
        outcome.initiations,
        outcome.pairs / 2
    );
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
        let run = move || idle_hour(public);
        let (bytes, readings) = thread::Builder::new()
            .stack_size(64 << 20)
            .spawn(run)
            .expect("a thread")
            .join()
            .expect("no panic");
        println!("{public} of 16 public: {bytes} bytes of gossip and {readings} readings an hour");
        assert!(bytes <= 25_000, "{bytes} bytes of gossip an hour");
        assert!(readings <= 800, "{readings} readings an hour");
    }
}
