//! Random small meshes with random faults, from a seed: the property test of the engine.
//!
//! A seed draws eight nodes (one to three of them public, the rest behind NATs of all kinds, some sharing a home or a
//! carrier, some with IPv6), delay, loss in ones or in bursts, users who talk through the tunnels whether they are there
//! yet or not, and a series of faults: daemons end and start, interfaces are made anew, machines reboot, clocks jump by 56
//! years, NATs reboot, hosts and homes get other addresses, links change, partitions come and go, each way on its own,
//! and machines leave the network for a while, the only public one too. Then the faults stop, and within [`SETTLE`] every
//! pair that the oracle calls connectable must be connected both ways, and all nodes must hold the same records.

use embassy_time::{Duration, Instant};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use super::world::World;
use crate::virtual_internet::{GatewayId, PairKind};

mod draw;
mod faults;

use draw::{Draw, Drawn, Talk, Weather};
use faults::Later;

/// Nodes of a random mesh.
pub const NODES: usize = 8;
/// Room in their engines: tight, so that full tables are met.
pub const PEERS: usize = 8;
/// How long faults go on.
pub const FAULTS: Duration = Duration::from_secs(60);
/// After the last fault, everything connectable is connected within this. Efforts that fail are repeated after 30, 60 and
/// 120 s, and with 30 % loss one more may fail.
pub const SETTLE: Duration = Duration::from_secs(300);
/// Users talk, and what follows a fault is done, at the end of such a slice of time.
const SLICE: Duration = Duration::from_millis(100);

/// What wall clocks do in a run. Everything else is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clocks {
    /// They are right, always.
    Right,
    /// They jump forward only: WireGuard minds nothing but a clock that goes back.
    Forward,
    /// They jump either way, and are anywhere after a reboot.
    Any,
}

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What is wrong; empty if nothing is.
    pub faults: Vec<String>,
    /// Hash of everything that happened.
    pub trace: u64,
    /// How long after the last fault everything was connected.
    pub settled: Option<Duration>,
    /// Pairs that the oracle calls connectable.
    pub connectable: usize,
    /// Pairs that it does not.
    pub hopeless: usize,
    /// Whether users talked.
    pub talks: bool,
    /// Handshake initiations that crossed on the wire.
    pub crossed: usize,
}

/// A random mesh.
pub struct Chaos {
    /// The mesh.
    pub world: World<PEERS>,
    rng: ChaCha8Rng,
    gateways: Vec<GatewayId>,
    public: usize,
    weather: Weather,
    clocks: Clocks,
    talks: Vec<Talk>,
    /// Slices of time passed.
    slices: u64,
    later: Vec<(Instant, Later)>,
    /// What was done to it.
    pub history: Vec<String>,
}

impl Chaos {
    /// Draws a mesh.
    #[must_use]
    pub fn new(seed: u64, clocks: Clocks) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let Drawn { net, setups, gateways, public, weather, talks } = Draw(&mut rng).mesh(seed);
        let mut world = World::new(net, setups, seed);
        world.watch_handshakes();
        for node in &mut world.nodes {
            // One in four may not use raw sockets.
            node.openers = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (2 * node.setup.number) & 3 != 0;
            // And every other one has a state file, which is a mesh of stale memories after some faults.
            node.remembers = seed.wrapping_mul(0xd6e8_feb8_6659_fd93) >> (32 + node.setup.number) & 1 != 0;
        }
        let (slices, later, history) = (0, Vec::new(), Vec::new());
        Self { world, rng, gateways, public, weather, clocks, talks, slices, later, history }
    }

    /// Starts all nodes, within two seconds of each other.
    pub fn start(&mut self) {
        let mut order: Vec<_> = (0..NODES).map(|n| (Draw(&mut self.rng).below(2000), n)).collect();
        order.sort_unstable();
        let mut passed = 0;
        for (at, node) in order {
            self.world.run(Duration::from_millis(at - passed));
            passed = at;
            self.world.start(node);
        }
    }

    /// Lets time pass, in whole slices, until it is over or the condition holds. Returns whether it held.
    fn pass(&mut self, duration: Duration, done: impl Fn(&World<PEERS>) -> bool) -> bool {
        let end = self.world.now() + duration;
        while self.world.now() < end {
            self.world.run(SLICE);
            self.slices += 1;
            for at in 0..self.talks.len() {
                let Talk { from, to, every, first } = self.talks[at];
                if self.slices % every == first {
                    self.world.ping(from, to);
                }
            }
            let now = self.world.now();
            self.catch_up(now);
            if done(&self.world) {
                return true;
            }
        }
        false
    }

    /// Makes faults for [`FAULTS`], then ends them all.
    pub fn torment(&mut self) {
        let end = self.world.now() + FAULTS;
        while self.world.now() < end {
            let pause = Duration::from_millis(500 + Draw(&mut self.rng).below(6000));
            self.pass(pause, |_| false);
            self.fault();
        }
        self.world.net.unblock_all();
        self.catch_up(Instant::MAX);
        for node in 0..NODES {
            if self.world.nodes[node].mesh.is_none() {
                self.world.start(node);
            }
        }
    }

    /// Waits for everything to be well again.
    pub fn settle(&mut self) -> Option<Duration> {
        let from = self.world.now();
        let pairs = self.connectable();
        let ok = self.pass(SETTLE, |world| is_settled(world, &pairs));
        ok.then(|| self.world.now().saturating_duration_since(from))
    }

    /// Pairs that the oracle calls connectable, and that this engine knows how to connect.
    fn connectable(&self) -> Vec<(usize, usize, PairKind)> {
        let mut pairs = Vec::new();
        for a in 0..NODES {
            for b in a + 1..NODES {
                let kind =
                    self.world.net.pair(self.world.nodes[a].setup.host, self.world.nodes[b].setup.host);
                if kind.is_connectable() && self.has_way_in(a) && self.has_way_in(b) {
                    pairs.push((a, b, kind));
                }
            }
        }
        pairs
    }

    /// Whether a node can reach a public one: without that nobody introduces it.
    fn has_way_in(&self, node: usize) -> bool {
        (0..self.public).any(|p| {
            p == node || {
                let (a, b) = (self.world.nodes[node].setup.host, self.world.nodes[p].setup.host);
                self.world.net.pair(a, b).is_connectable()
            }
        })
    }
}

fn is_settled(world: &World<PEERS>, pairs: &[(usize, usize, PairKind)]) -> bool {
    let connected =
        pairs.iter().all(|(a, b, _)| world.nodes[*a].is_connected(*b) && world.nodes[*b].is_connected(*a));
    connected && same_digest(world)
}

fn same_digest(world: &World<PEERS>) -> bool {
    let mut digests = world.nodes.iter().filter(|n| n.connected() > 0).filter_map(|n| n.digest());
    let first = digests.next();
    digests.all(|d| Some(d) == first)
}

/// Runs a seed.
#[must_use]
pub fn run(seed: u64, clocks: Clocks) -> Verdict {
    let mut chaos = Chaos::new(seed, clocks);
    chaos.start();
    chaos.torment();
    let settled = chaos.settle();
    verdict(&chaos, settled)
}

/// Judges a mesh after [`Chaos::settle`].
#[must_use]
pub fn verdict(chaos: &Chaos, settled: Option<Duration>) -> Verdict {
    let world = &chaos.world;
    let mut faults: Vec<String> = world
        .violations
        .iter()
        .take(5)
        .map(|v| format!("node {} at {} ms: {}", v.node, v.at.as_millis(), v.what))
        .collect();
    let pairs = chaos.connectable();
    if settled.is_none() {
        for (a, b, kind) in &pairs {
            for (from, to) in [(a, b), (b, a)] {
                if !world.nodes[*from].is_connected(*to) {
                    let why = world.nodes[*from].describe(*to);
                    faults.push(format!("node {from} is not connected to {to} ({kind:?}): {why}"));
                }
            }
        }
        if !same_digest(world) {
            let digests: Vec<_> = world.nodes.iter().map(|n| n.digest()).collect();
            faults.push(format!("records differ: {digests:x?}"));
        }
    }
    Verdict {
        faults,
        trace: world.trace(),
        settled,
        connectable: pairs.len(),
        hopeless: NODES * (NODES - 1) / 2 - pairs.len(),
        talks: !chaos.talks.is_empty(),
        crossed: world.handshakes().map_or(0, |h| h.crossed().len()),
    }
}
