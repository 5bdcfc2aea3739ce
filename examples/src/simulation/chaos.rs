//! Random small meshes with random faults, from a seed: the property test of the engine.
//!
//! A seed draws eight nodes (one to three of them public, the rest behind NATs of all kinds, some sharing a home or a
//! carrier), delay, loss, and a series of faults: daemons end and start, interfaces are made anew, machines reboot
//! with their clock in 1970, NATs reboot, partitions come and go. Then the faults stop, and within [`SETTLE`] every pair
//! that the oracle calls connectable must be connected both ways, and all nodes must hold the same records.

use core::net::SocketAddr;

use embassy_time::Duration;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::{node::Setup, world::World};
use crate::virtual_internet::{
    Filtering, GatewayId, HomeConfig, Internet, Link, Loss, Mapping, NatConfig, PairKind, PortAllocation,
};

/// Nodes of a random mesh.
pub const NODES: usize = 8;
/// Room in their engines: tight, so that full tables are met.
pub const PEERS: usize = 8;
/// How long faults go on.
pub const FAULTS: Duration = Duration::from_secs(60);
/// After the last fault, everything connectable is connected within this.
pub const SETTLE: Duration = Duration::from_secs(180);

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
}

/// A random mesh.
pub struct Chaos {
    /// The mesh.
    pub world: World<PEERS>,
    rng: ChaCha8Rng,
    gateways: Vec<GatewayId>,
    public: usize,
    /// What was done to it.
    pub history: Vec<String>,
}

impl Chaos {
    /// Draws a mesh.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = Draw(&mut rng);
        let mut net = Internet::new(seed);
        let loss = if draw.one_in(2) { Loss::None } else { Loss::Random(draw.below(31) as f32 / 200.0) };
        // Each packet crosses two access links, so that one way takes up to 400 ms and loses up to 30 %.
        let link = |draw: &mut Draw<'_>| Link {
            delay: Duration::from_millis(if draw.one_in(2) { draw.below(20) } else { draw.below(201) }),
            jitter: Duration::from_millis(draw.below(10)),
            loss,
            reorder: if draw.one_in(4) { 0.05 } else { 0.0 },
            reorder_by: Duration::from_millis(30),
            duplicate: if draw.one_in(4) { 0.02 } else { 0.0 },
        };
        let public = 1 + draw.below(3) as usize;
        let mut gateways = Vec::new();
        let mut hosts = Vec::new();
        let mut carrier = None;
        for node in 0..NODES {
            let host = if node < public {
                net.add_public(link(&mut draw))
            } else if node > public && draw.one_in(6) && !gateways.is_empty() {
                // A second node in a home that is there already.
                net.add_host(gateways[draw.below(gateways.len() as u64) as usize])
            } else {
                let behind = if draw.one_in(6) {
                    Some(*carrier.get_or_insert_with(|| {
                        net.add_home(HomeConfig {
                            nat: draw.nat(true),
                            carrier: true,
                            ..HomeConfig::default()
                        })
                    }))
                } else {
                    None
                };
                let ipv6 = None;
                let nat = draw.nat(false);
                let home =
                    net.add_home(HomeConfig { nat, ipv6, link: link(&mut draw), behind, carrier: false });
                gateways.push(home);
                net.add_host(home)
            };
            hosts.push(host);
        }
        let peers: Vec<_> = hosts
            .iter()
            .enumerate()
            .map(|(number, host)| {
                let endpoint = net.address_v4(*host).filter(|_| number < public);
                (number, endpoint.map(|ip| SocketAddr::new(ip, port_of(number))).into_iter().collect())
            })
            .collect();
        let setups = hosts
            .iter()
            .enumerate()
            .map(|(number, host)| Setup { number, host: *host, port: port_of(number), peers: peers.clone() })
            .collect();
        let mut world = World::new(net, setups, seed);
        for node in &mut world.nodes {
            // One in four may not use raw sockets.
            node.openers = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (2 * node.setup.number) & 3 != 0;
        }
        Self { world, rng, gateways, public, history: Vec::new() }
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

    /// Makes faults for [`FAULTS`], then ends them all.
    pub fn torment(&mut self) {
        let mut left = FAULTS.as_millis();
        while left > 0 {
            let pause = (500 + Draw(&mut self.rng).below(9000)).min(left);
            left -= pause;
            self.world.run(Duration::from_millis(pause));
            self.fault();
        }
        self.world.net.unblock_all();
        for node in 0..NODES {
            if self.world.nodes[node].mesh.is_none() {
                self.world.start(node);
            }
        }
    }

    fn fault(&mut self) {
        let mut draw = Draw(&mut self.rng);
        let node = draw.below(NODES as u64) as usize;
        let kind = draw.below(8);
        let wall = if draw.one_in(2) { Some(draw.below(2_000_000_000)) } else { None };
        let other = draw.below(NODES as u64) as usize;
        let gateway = (!self.gateways.is_empty())
            .then(|| self.gateways[draw.below(self.gateways.len() as u64) as usize]);
        let new_address = draw.one_in(2);
        let at = self.world.now().as_millis() - super::world::START.as_millis();
        let running = self.world.nodes[node].mesh.is_some();
        let what = match kind {
            0 if running => {
                self.world.stop(node, false);
                format!("node {node}: daemon ends")
            }
            1 if running => {
                self.world.stop(node, true);
                format!("node {node}: daemon is killed")
            }
            0..=2 if !running => {
                self.world.start(node);
                format!("node {node}: daemon starts")
            }
            2 => {
                self.world.stop(node, false);
                self.world.start(node);
                format!("node {node}: daemon restarts")
            }
            3 => {
                self.world.remake_device(node);
                format!("node {node}: interface is made anew")
            }
            4 => {
                self.world.reboot(node, wall);
                format!("node {node}: machine reboots, clock at {wall:?}")
            }
            5 => {
                self.world.set_wall_clock(node, wall.unwrap_or(0));
                format!("node {node}: clock jumps to {wall:?}")
            }
            6 => {
                let (a, b) = (self.world.nodes[node].setup.host, self.world.nodes[other].setup.host);
                self.world.net.block(a, b);
                format!("nothing passes from {node} to {other}")
            }
            _ => {
                self.world.net.unblock_all();
                let Some(gateway) = gateway else { return };
                self.world.net.reboot(gateway, new_address);
                format!("partitions end, {gateway:?} reboots, new address: {new_address}")
            }
        };
        self.history.push(format!("{:>6}.{:03} s {what}", at / 1000, at % 1000));
    }

    /// Waits for everything to be well again.
    pub fn settle(&mut self) -> Option<Duration> {
        let from = self.world.now();
        let pairs = self.connectable();
        let ok = self.world.run_while(SETTLE, Duration::from_millis(100), |world| is_settled(world, &pairs));
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

const fn port_of(number: usize) -> u16 {
    // Different ports behind one NAT, as the oracle assumes.
    51820 + number as u16
}

/// Runs a seed.
#[must_use]
pub fn run(seed: u64) -> Verdict {
    let mut chaos = Chaos::new(seed);
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
    }
}

/// Draws from a generator.
struct Draw<'a>(&'a mut ChaCha8Rng);

impl Draw<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn nat(&mut self, carrier: bool) -> NatConfig {
        let mapping = match self.below(5) {
            0 => Mapping::AddressAndPortDependent,
            1 => Mapping::AddressDependent,
            _ => Mapping::EndpointIndependent,
        };
        let filtering = match self.below(4) {
            0 => Filtering::EndpointIndependent,
            1 => Filtering::AddressDependent,
            _ => Filtering::AddressAndPortDependent,
        };
        // An endpoint-dependent NAT that keeps ports counts as stable only while no ports clash, and behind a carrier they do:
        // a home that reboots with another address meets its own old mappings.
        let clashes = carrier && mapping != Mapping::EndpointIndependent;
        let random = self.one_in(2) || clashes;
        NatConfig {
            ports: if random { PortAllocation::Random } else { PortAllocation::Preserve },
            hairpin: self.one_in(2),
            blocks_udp: self.one_in(40),
            ..NatConfig::new(mapping, filtering)
        }
    }
}
