//! Large meshes that all start at once, and how fast they come up.

use core::net::SocketAddr;

use embassy_time::{Duration, Instant};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::{
    node::Setup,
    world::{START, World},
};
use crate::virtual_internet::{HomeConfig, Internet, Link, NatConfig};

/// A mesh to be started cold.
#[derive(Clone, Copy, Debug)]
pub struct Cold {
    /// Nodes in all.
    pub nodes: usize,
    /// Of these, public ones; the rest are behind a NAT each.
    pub public: usize,
    /// The NAT of every home.
    pub nat: NatConfig,
    /// One-way delay between any two nodes.
    pub delay: Duration,
    /// Probability that a packet is lost on its way.
    pub loss: f32,
    /// Each home is configured with this many of the public nodes' endpoints; the rest of the public nodes it knows by
    /// key alone.
    pub known: usize,
    /// Peers configured per node; all, if that is fewer than there are.
    pub peers: usize,
    /// Every user sends echo requests to all peers all the time, whether they are connected yet or not.
    pub talk: bool,
    /// Stop as soon as every node holds every record, connected or not.
    pub until_agreed: bool,
    /// What chance comes from.
    pub seed: u64,
    /// The node whose events and actions are to be kept.
    pub log: Option<usize>,
}

/// Handshakes are counted by pair up to this size.
pub const WATCHED: usize = 500;

/// Every user sends an echo request to every peer this often, once the daemons have had time for their first shot.
const TALK: Duration = Duration::from_millis(50);

/// Bytes of one record of a home as it is passed on, its share of the envelope included: 65 B, and 44 B for seventeen.
const RECORD_BYTES: u64 = 68;
/// Versions of a record that a home publishes at a cold start: with its own addresses, and with where it was seen.
const VERSIONS: u64 = 2;
/// Live peers to which a well connected node passes on what is new, whether they depend on it or not.
const PASSED_ON: u64 = 3;

/// The state of a mesh at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Time since all daemons were started.
    pub at: Duration,
    /// Ordered pairs connected.
    pub connected: usize,
}

/// What came of a cold start.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Ordered pairs that are configured both ways.
    pub pairs: usize,
    /// How they came up.
    pub curve: Vec<Sample>,
    /// When half, 95 % and all of them were connected.
    pub half: Option<Duration>,
    /// See `half`.
    pub most: Option<Duration>,
    /// See `half`.
    pub all: Option<Duration>,
    /// When every node held the same records, if all are configured with the same peers.
    pub agreed: Option<Duration>,
    /// Gossip sent by a node until then, in bytes of UDP payload: the mean, and the most by any node.
    pub bytes_mean: u64,
    /// See `bytes_mean`.
    pub bytes_most: u64,
    /// Handshake initiations that left, over all nodes.
    pub initiations: u64,
    /// The same for each pair, sorted; empty for meshes of more than [`WATCHED`] nodes.
    pub initiations_of_pairs: Vec<u32>,
    /// Initiations that crossed on the wire, likewise.
    pub crossed: usize,
    /// Echo replies that users got.
    pub echoes: u64,
    /// What the node did that was to be watched.
    pub log: Vec<(Instant, String)>,
    /// Engines' violations of their invariants.
    pub violations: Vec<super::node::Violation>,
}

impl Cold {
    /// Builds the mesh.
    #[must_use]
    pub fn world<const PEERS: usize>(&self) -> World<PEERS> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut net = Internet::new(self.seed);
        // A packet crosses two access links.
        let link = Link::delay(self.delay / 2).with_loss(self.loss / 2.0);
        let hosts: Vec<_> = (0..self.nodes)
            .map(|node| {
                if node < self.public {
                    net.add_public(link)
                } else {
                    let home = net.add_home(HomeConfig { nat: self.nat, link, ..HomeConfig::default() });
                    net.add_host(home)
                }
            })
            .collect();
        let endpoints: Vec<_> = hosts
            .iter()
            .take(self.public)
            .map(|h| net.address_v4(*h).map(|ip| SocketAddr::new(ip, 51820)))
            .collect();
        let setups = hosts
            .iter()
            .enumerate()
            .map(|(number, host)| {
                let known: Vec<usize> =
                    if number < self.public || self.known >= self.public || self.peers < self.nodes {
                        (0..self.public).collect()
                    } else {
                        (0..self.known).map(|_| rng.next_u64() as usize % self.public).collect()
                    };
                let peers = (0..self.nodes)
                    .filter(|peer| self.is_peer(number, *peer))
                    .map(|peer| {
                        let endpoint = endpoints.get(peer).copied().flatten();
                        (peer, endpoint.filter(|_| known.contains(&peer)).into_iter().collect())
                    })
                    .collect();
                Setup { number, host: *host, port: 51820, peers }
            })
            .collect();
        World::new(net, setups, self.seed)
    }

    /// Whether two nodes are configured with each other: everybody, or, where there are more nodes than peers, all public
    /// ones, each home with the [`known`](Self::known) public ones of its neighbourhood, and homes with those next to them.
    #[must_use]
    pub fn is_peer(&self, a: usize, b: usize) -> bool {
        if self.peers >= self.nodes {
            return true;
        }
        let homes = self.nodes - self.public;
        match (a.checked_sub(self.public), b.checked_sub(self.public)) {
            (None, None) => true,
            (Some(home), None) => self.serves(b, home),
            (None, Some(home)) => self.serves(a, home),
            (Some(a), Some(b)) => {
                let distance = a.abs_diff(b);
                distance.min(homes - distance) <= self.peers.saturating_sub(self.known + 1) / 2
            }
        }
    }

    /// Whether a public node is one of those that a home knows.
    fn serves(&self, public: usize, home: usize) -> bool {
        let first = home * self.public / (self.nodes - self.public);
        (public + self.public - first) % self.public < self.known
    }

    /// Bytes of gossip that a node sends, on average, until every node holds every record, by the rules alone: each version
    /// of a record goes from its subject to the public nodes that it knows, and from each public node, once, to those that
    /// depend on it (the homes that know it) and to three others. Greetings, introductions and what comes twice are
    /// not in it.
    #[must_use]
    pub fn gossip_by_rule(&self) -> u64 {
        let [nodes, public, known] = [self.nodes, self.public, self.known.min(self.public)].map(|n| n as u64);
        let homes = nodes - public;
        let dependents = homes * known / public.max(1);
        let copies = public * nodes * (dependents + PASSED_ON) + homes * known;
        VERSIONS * RECORD_BYTES * copies / nodes.max(1)
    }

    /// The most peers that any node has.
    #[must_use]
    pub fn most_peers(&self) -> usize {
        let count = |node| (0..self.nodes).filter(|peer| self.is_peer(node, *peer)).count();
        if self.peers >= self.nodes { self.nodes } else { count(0).max(count(self.nodes - 1)) }
    }

    /// Starts all daemons at once and watches until all pairs are connected, or for `limit`. `progress` is told now and
    /// then.
    pub fn run<const PEERS: usize>(
        &self,
        limit: Duration,
        mut progress: impl FnMut(&Sample, usize),
    ) -> Outcome {
        let mut world: World<PEERS> = self.world();
        if let Some(node) = self.log {
            world.keep_log(node);
        }
        if self.nodes <= WATCHED {
            world.watch_handshakes();
        }
        for node in 0..self.nodes {
            world.start(node);
        }
        let pairs =
            world.nodes.iter().map(|n| n.setup.peers.iter().filter(|p| p.0 != n.setup.number).count()).sum();
        let mut curve = Vec::new();
        let mut agreed = None;
        let step = Duration::from_millis(10);
        while since_start(world.now()) < limit {
            if self.talk && since_start(world.now()).as_millis().is_multiple_of(TALK.as_millis()) {
                talk(&mut world);
            }
            world.run(step);
            let at = since_start(world.now());
            let sample = Sample { at, connected: world.connected() };
            progress(&sample, pairs);
            curve.push(sample);
            if agreed.is_none() && self.peers >= self.nodes && one_digest(&world) {
                agreed = Some(at);
            }
            let all = self.until_agreed || sample.connected >= pairs;
            if all && (agreed.is_some() || self.peers < self.nodes) {
                break;
            }
        }
        let (initiations_of_pairs, crossed) = handshakes(&world);
        let reached = |count: usize| curve.iter().find(|s| s.connected >= count).map(|s| s.at);
        let bytes = || world.nodes.iter().map(|n| n.gossip_bytes);
        Outcome {
            pairs,
            half: reached(pairs.div_ceil(2)),
            most: reached((pairs * 95).div_ceil(100)),
            all: reached(pairs),
            agreed,
            bytes_mean: bytes().sum::<u64>() / self.nodes.max(1) as u64,
            bytes_most: bytes().max().unwrap_or(0),
            initiations: world.initiations(),
            initiations_of_pairs,
            crossed,
            echoes: world.nodes.iter().map(|n| n.echoes).sum(),
            log: self.log.map(|node| world.log(node).to_vec()).unwrap_or_default(),
            violations: core::mem::take(&mut world.violations),
            curve,
        }
    }
}

fn talk<const PEERS: usize>(world: &mut World<PEERS>) {
    for node in 0..world.nodes.len() {
        for peer in 0..world.nodes[node].setup.peers.len() {
            let to = world.nodes[node].setup.peers[peer].0;
            world.ping(node, to);
        }
    }
}

/// Initiations of each pair, sorted, and how many crossed.
fn handshakes<const PEERS: usize>(world: &World<PEERS>) -> (Vec<u32>, usize) {
    let Some(handshakes) = world.handshakes() else { return (Vec::new(), 0) };
    let of = |node: &super::node::Node<PEERS>| {
        let number = node.setup.number;
        let later = node.setup.peers.iter().map(|p| p.0).filter(|peer| *peer > number);
        later.map(|peer| handshakes.of_pair(number, peer)).collect::<Vec<_>>()
    };
    let mut all: Vec<u32> = world.nodes.iter().flat_map(of).collect();
    all.sort_unstable();
    (all, handshakes.crossed().len())
}

fn one_digest<const PEERS: usize>(world: &World<PEERS>) -> bool {
    let mut digests = world.nodes.iter().map(|n| n.digest());
    let first = digests.next();
    digests.all(|d| Some(d) == first)
}

/// A moment of the simulation, as time since the start.
#[must_use]
pub fn since_start(at: Instant) -> Duration {
    at.saturating_duration_since(START)
}
