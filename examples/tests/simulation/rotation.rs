//! From one secret to another while the mesh works, node by node, with one of them down from before the beginning.

use embassy_time::{Duration, Instant};
use wgautomesh_examples::simulation::{node::Rotation, parallel::in_parallel, world::World};

use super::cold;

const NODES: usize = 6;
/// It is down while the others change over.
const DOWN: usize = 4;
const STEP: Duration = Duration::from_millis(50);

/// Numbers that look random, for the order in which things happen.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A mesh that changes over, in which nobody may lose anybody.
struct Change {
    world: World<8>,
    dice: Dice,
    pings: u64,
    /// Until when a node that was started anew need not be connected to all.
    excused: [Instant; NODES],
    seed: u64,
}

impl Change {
    fn is_up(&self, node: usize) -> bool {
        self.world.nodes[node].mesh.is_some()
    }

    /// Lets time pass in which everybody sends to everybody, and looks at all pairs again and again.
    fn run(&mut self, duration: Duration) {
        let end = self.world.now() + duration;
        while self.world.now() < end {
            for a in (0..NODES).filter(|a| *a != DOWN) {
                for b in (0..NODES).filter(|b| *b != a && *b != DOWN) {
                    self.world.ping(a, b);
                    self.pings += 1;
                }
            }
            self.world.run(STEP);
            let now = self.world.now();
            for a in 0..NODES {
                for b in (0..NODES).filter(|b| *b != a) {
                    let excused = self.excused[a].max(self.excused[b]) > now;
                    let both = self.is_up(a) && self.is_up(b) && !excused;
                    let rotations = [a, b].map(|at| self.world.nodes[at].rotation);
                    assert!(
                        !both || self.world.nodes[a].is_connected(b),
                        "seed {}, {:?}: {a} has lost {b}: {rotations:?}, {}",
                        self.seed,
                        now,
                        self.world.nodes[a].describe(b)
                    );
                }
            }
        }
    }

    /// Everybody but these goes to the next step, one after the other, and some are started anew meanwhile.
    fn step(&mut self, rotation: Rotation, not: &[usize]) {
        let mut waiting: Vec<usize> = (0..NODES).filter(|node| !not.contains(node)).collect();
        while !waiting.is_empty() {
            let next = waiting.swap_remove(self.dice.roll(waiting.len() as u64) as usize);
            self.world.rotate(next, rotation);
            if self.dice.roll(3) == 0 {
                // It is no longer known what it or the others have shown.
                let node = self.dice.roll(NODES as u64) as usize;
                if node != DOWN {
                    self.world.stop(node, self.dice.roll(2) == 0);
                    self.world.start(node);
                    self.excused[node] = self.world.now() + Duration::from_secs(2);
                }
            }
            let pause = [0, 100, 3_000, 40_000][self.dice.roll(4) as usize] + self.dice.roll(100);
            self.run(Duration::from_millis(pause));
        }
        self.run(Duration::from_secs(5));
    }
}

fn change(seed: u64) {
    let mut world: World<8> = super::Cold { seed, ..cold(NODES, 2) }.world();
    (0..NODES).filter(|node| *node != DOWN).for_each(|node| world.start(node));
    let complete = (NODES - 1) * (NODES - 2);
    assert!(world.run_while(STEP * 400, STEP, |world| world.connected() == complete), "complete at first");
    let now = world.now();
    let mut change = Change { world, dice: Dice(seed), pings: 0, excused: [now; NODES], seed };
    let shown = |change: &Change, node: usize, by: usize| {
        change.world.nodes[node].status_of(by).is_some_and(|status| status.has_newest_secret)
    };

    change.step(Rotation::NextToo, &[DOWN]);
    for a in (0..NODES).filter(|a| *a != DOWN) {
        for b in (0..NODES).filter(|b| *b != a) {
            assert_eq!(shown(&change, a, b), b != DOWN, "seed {seed}: what {a} knows of {b}");
        }
    }
    change.step(Rotation::Swapped, &[DOWN]);

    // It comes back and has the old one only: nobody has waited for it, and everybody talks with it.
    change.world.start(DOWN);
    let since = change.world.now();
    let complete = NODES * (NODES - 1);
    assert!(
        change.world.run_while(STEP * 200, STEP, |world| world.connected() == complete),
        "seed {seed}: it is not found again: {}",
        change.world.connected()
    );
    change.excused[DOWN] = since;
    change.run(Duration::from_secs(60));
    let understood = |change: &Change| (0..NODES).filter(|a| *a != DOWN).any(|a| shown(change, a, DOWN));
    assert!(!understood(&change), "seed {seed}");
    change.world.rotate(DOWN, Rotation::NextToo);
    change.run(Duration::from_secs(1));
    assert!(understood(&change), "seed {seed}");
    change.world.rotate(DOWN, Rotation::Swapped);
    change.run(Duration::from_secs(1));
    change.step(Rotation::New, &[]);

    assert_eq!(change.world.violations, []);
    let echoes: u64 = change.world.nodes.iter().map(|node| node.echoes).sum();
    // The last are still on their way.
    let under_way = (NODES * NODES) as u64;
    assert!(change.pings - echoes <= under_way, "seed {seed}: {echoes} of {}", change.pings);
}

#[test]
fn nobody_loses_anybody_while_the_secret_is_changed() {
    in_parallel(0..60, change);
}

/// Going back is as safe as going on.
#[test]
fn a_change_may_be_called_off() {
    in_parallel(0..20, |seed| {
        let mut world: World<8> = super::Cold { seed, ..cold(NODES, 2) }.world();
        (0..NODES).filter(|node| *node != DOWN).for_each(|node| world.start(node));
        let complete = (NODES - 1) * (NODES - 2);
        assert!(world.run_while(STEP * 400, STEP, |world| world.connected() == complete));
        let now = world.now();
        let mut change = Change { world, dice: Dice(seed), pings: 0, excused: [now; NODES], seed };
        for rotation in [Rotation::NextToo, Rotation::Swapped, Rotation::NextToo, Rotation::Old] {
            change.step(rotation, &[DOWN]);
        }
        assert_eq!(change.world.violations, []);
    });
}
