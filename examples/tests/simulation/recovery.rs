//! How soon a mesh mends after what happens to real ones.

use core::net::IpAddr;

use embassy_time::Duration;
use wgautomesh_examples::simulation::{parallel::in_parallel, world::World};

use super::cold;

const NODES: usize = 7;
const HOME: usize = 1;

/// How long it took in milliseconds, with the seed: the median, the 95th percentile and the last one, which it prints.
fn distribution(mut took: Vec<(u64, u64)>) -> [(u64, u64); 3] {
    took.sort_unstable();
    let [p50, p95, last] = [50, 95, 100].map(|percent| took[took.len() * percent / 100 - 1]);
    println!("ms and seed: p50 {p50:?}, p95 {p95:?}, the last {last:?}");
    [p50, p95, last]
}

/// How long it takes until everybody sends to where the home is now and is heard there, `settled` after the mesh was complete.
fn router_found_after(seed: u64, settled: Duration) -> Option<Duration> {
    let step = Duration::from_millis(100);
    let mut world: World<8> = super::Cold { seed, ..cold(NODES, 1) }.world();
    (0..NODES).for_each(|node| world.start(node));
    let complete = NODES * (NODES - 1);
    assert!(world.run_while(step * 100, step, |world| world.connected() == complete), "complete at first");
    world.run(settled);

    let router = world.net.gateway_of(world.nodes[HOME].setup.host).expect("a home has a router");
    world.net.reboot(router, true);
    let new = IpAddr::from(world.net.nat(router).outside());
    let moved = world.now();
    let found = world.run_while(step * 6000, step, |world| {
        let mut others = (0..NODES).filter(|node| *node != HOME);
        others.all(|other| {
            let seen = world.nodes[other].status_of(HOME).and_then(|status| status.endpoint);
            seen.is_some_and(|endpoint| endpoint.ip() == new)
                && world.nodes[other].is_connected(HOME)
                && world.nodes[HOME].is_connected(other)
        })
    });
    assert_eq!(world.violations, []);
    found.then(|| world.now() - moved)
}

#[test]
fn a_home_whose_router_has_moved_is_found_though_nobody_sends() {
    let took = in_parallel(0..200, |seed| {
        // From before a keepalive was due, to long after it was known whose they are.
        let settled = Duration::from_millis(2000 + seed * 613 % 118_000);
        let found = router_found_after(seed, settled).unwrap_or_else(|| panic!("seed {seed}: never"));
        (found.as_millis(), seed)
    });
    let [_, p95, last] = distribution(took);
    assert!(p95.0 <= 25_000 && last.0 <= 30_000, "ms and seed: {p95:?}, {last:?}");
}

/// How long it takes until the only public node is connected to all, after it was switched off for a while and has come back
/// without any state, while all homes' users send to it.
fn server_back_after(seed: u64) -> Duration {
    let step = Duration::from_millis(20);
    let mut world: World<8> = super::Cold { seed, ..cold(NODES, 1) }.world();
    (0..NODES).for_each(|node| world.start(node));
    let complete = NODES * (NODES - 1);
    assert!(world.run_while(step * 500, step, |world| world.connected() == complete), "complete at first");
    let server = world.nodes[0].setup.host;
    let talk = |world: &mut World<8>, times: u64| {
        for _ in 0..times {
            (1..NODES).for_each(|home| world.ping(home, 0));
            world.run(step * 5);
        }
    };
    talk(&mut world, 20);
    world.net.set_up(server, false);
    talk(&mut world, 80 + seed % 100);
    world.net.set_up(server, true);
    world.reboot(0, None);
    let back = world.now();
    while world.connected() < complete {
        talk(&mut world, 1);
        assert!(world.now() - back < Duration::from_secs(60), "seed {seed}");
    }
    assert_eq!(world.violations, []);
    world.now() - back
}

#[test]
fn a_server_that_was_switched_off_is_found_soon() {
    let took = in_parallel(0..100, |seed| (server_back_after(seed).as_millis(), seed));
    let [p50, p95, _] = distribution(took);
    // WireGuard tries every five seconds, and six homes take turns.
    assert!(p50.0 <= 1200 && p95.0 <= 3300, "ms and seed: {p50:?}, {p95:?}");
}
