//! What nodes remember over a restart, and how seldom they have something to write down.

use embassy_time::Duration;
use wgautomesh_examples::simulation::world::World;

use super::{cold, on_a_large_stack};

const NODES: usize = 12;

/// Servers that were configured years ago and have moved since, and homes: all lose power at once. How long it takes
/// until every node has met another, and until all pairs are connected.
fn after_a_power_cut(public: usize, remembering: bool) -> (Option<Duration>, Option<Duration>) {
    let mut world: World<NODES> = cold(NODES, public).world();
    for node in 0..NODES {
        world.nodes[node].remembers = remembering;
        world.start(node);
    }
    world.run(Duration::from_secs(60));
    assert_eq!(world.connected(), NODES * (NODES - 1));
    for node in 0..public {
        // Nobody is there.
        world.configure_endpoints(node, &[([203, 0, 113, 250], 51820).into()]);
        if node % 2 == 1 {
            world.configure_endpoints(node, &[]);
        }
    }
    for node in 0..NODES {
        world.stop(node, true);
    }
    // NATs have forgotten everybody.
    world.run(Duration::from_secs(600));
    for node in 0..NODES {
        world.reboot(node, None);
    }
    let start = world.now();
    let step = Duration::from_millis(10);
    let met = world.run_while(step * 3000, step, |world| {
        (0..NODES).all(|a| (0..NODES).any(|b| a != b && world.nodes[a].is_connected(b)))
    });
    let met = met.then(|| world.now() - start);
    let all = world.run_while(step * 3000, step, |world| world.connected() == NODES * (NODES - 1));
    assert_eq!(world.violations, []);
    (met, all.then(|| world.now() - start))
}

#[test]
fn nodes_whose_configured_endpoints_are_all_stale_meet_where_they_were() {
    for public in [1, 3] {
        let (met, all) = on_a_large_stack(move || after_a_power_cut(public, true));
        println!("{public} of {NODES} public: all have met {met:?}, all pairs {all:?}");
        assert!(met.is_some_and(|t| t <= Duration::from_secs(2)), "{met:?}");
        assert!(all.is_some_and(|t| t <= Duration::from_secs(2)), "{all:?}");
    }
    let (met, _) = on_a_large_stack(|| after_a_power_cut(3, false));
    assert_eq!(met, None, "without memory nobody can meet");
}

#[test]
fn nothing_is_written_in_a_day_in_which_nothing_happens() {
    let written = on_a_large_stack(|| {
        let mut world: World<NODES> = cold(NODES, 2).world();
        (0..NODES).for_each(|node| world.start(node));
        world.run(Duration::from_secs(60));
        assert_eq!(world.connected(), NODES * (NODES - 1));
        let before: Vec<_> = world.nodes.iter().map(|node| node.stores).collect();
        assert!(before.iter().all(|stores| *stores > 0), "{before:?}");
        world.run(Duration::from_secs(24 * 3600));
        assert_eq!(world.connected(), NODES * (NODES - 1));
        world.nodes.iter().zip(before).map(|(node, before)| node.stores - before).sum::<u64>()
    });
    assert_eq!(written, 0);
}
