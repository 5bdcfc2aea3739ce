//! Every kind of host with every other: which pairs connect, how fast, and what is said of those that cannot.
//!
//! Each pair gets a mesh of its own: the two hosts, and one or two public nodes whose endpoints are configured
//! everywhere. All daemons start at once. [`crate::virtual_internet::oracle`] says whether the pair can be connected;
//! the engine must agree with it, both ways. Nothing is lost on the way and no time is drawn, so that the table is the
//! same on every machine.

use core::net::{IpAddr, SocketAddr};

use embassy_time::{Duration, Instant};
use wgautomesh_core::Reason;

use super::{
    node::Setup,
    parallel::in_parallel,
    world::{START, World},
};
use crate::virtual_internet::{
    Filtering, GatewayId, HomeConfig, HostId, Internet, Link, Mapping, NatConfig, PairKind, PortAllocation,
    Site,
};

mod table;

pub use table::table;

/// One way between any two nodes.
pub const DELAY: Duration = Duration::from_millis(20);
/// A pair that is not connected after this is not going to be: two efforts, and the pause between them.
pub const LIMIT: Duration = Duration::from_secs(45);
/// What the engine says of a pair is looked at this often.
const STEP: Duration = Duration::from_millis(5);
/// Room in the engines: two ends, at most two public nodes.
const PEERS: usize = 4;

/// What stands in front of a host, and which families it has.
#[derive(Clone, Debug, PartialEq)]
pub struct HostKind {
    /// What it is called in the table.
    pub name: String,
    /// NATs from the outermost to the nearest.
    nats: Vec<NatConfig>,
    v4: bool,
    v6: bool,
    /// Its IPv6 firewalls, where it has IPv6 and NATs.
    firewall: Filtering,
}

impl HostKind {
    fn behind(name: String, nats: Vec<NatConfig>) -> Self {
        Self { name, nats, v4: true, v6: false, firewall: Filtering::AddressAndPortDependent }
    }

    fn with_v6(self, firewall: Filtering, v4: bool) -> Self {
        Self { v4, v6: true, firewall, ..self }
    }

    fn is_carried(&self) -> bool {
        self.nats.len() > 1
    }

    fn is_stable(&self) -> bool {
        self.nats.iter().all(NatConfig::is_stable)
    }

    fn blocks_udp(&self) -> bool {
        self.nats.iter().any(|nat| nat.blocks_udp)
    }
}

const fn mapping_name(mapping: Mapping) -> &'static str {
    match mapping {
        Mapping::EndpointIndependent => "EIM",
        Mapping::AddressDependent => "ADM",
        Mapping::AddressAndPortDependent => "EDM",
    }
}

const fn filtering_name(filtering: Filtering) -> &'static str {
    match filtering {
        Filtering::EndpointIndependent => "EIF",
        Filtering::AddressDependent => "ADF",
        Filtering::AddressAndPortDependent => "APDF",
    }
}

/// A NAT as the table calls it: `EDM+APDF` with ports drawn, `EDM+APDF=` with ports kept.
fn nat_name(nat: &NatConfig) -> String {
    let keeps = if nat.ports == PortAllocation::Preserve { "=" } else { "" };
    format!("{}+{}{keeps}", mapping_name(nat.mapping), filtering_name(nat.filtering))
}

/// All home NATs: mapping, filtering, port allocation.
fn nats() -> Vec<NatConfig> {
    use Filtering as F;
    use Mapping as M;
    let mut nats = Vec::new();
    for mapping in [M::EndpointIndependent, M::AddressDependent, M::AddressAndPortDependent] {
        for filtering in [F::EndpointIndependent, F::AddressDependent, F::AddressAndPortDependent] {
            for ports in [PortAllocation::Preserve, PortAllocation::Random] {
                nats.push(NatConfig { ports, ..NatConfig::new(mapping, filtering) });
            }
        }
    }
    nats
}

/// The NATs that chains are made of: open to all, the usual, and the worst.
fn few_nats() -> [NatConfig; 3] {
    [
        NatConfig::full_cone(),
        NatConfig { ports: PortAllocation::Random, ..NatConfig::port_restricted() },
        NatConfig::symmetric(),
    ]
}

/// The kinds of hosts that are paired with each other.
#[must_use]
pub fn kinds() -> Vec<HostKind> {
    use Filtering::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
    let nothing = |name: &str| HostKind::behind(name.to_string(), Vec::new());
    let mut kinds = vec![nothing("public")];
    kinds.extend(nats().into_iter().map(|nat| HostKind::behind(nat_name(&nat), vec![nat])));
    for carrier in few_nats() {
        for home in few_nats() {
            let name = format!("{} in {}", nat_name(&home), nat_name(&carrier));
            kinds.push(HostKind::behind(name, vec![carrier, home]));
        }
    }
    kinds.push(nothing("public, both families").with_v6(EndpointIndependent, true));
    kinds.push(nothing("public, IPv6 only").with_v6(EndpointIndependent, false));
    for firewall in [EndpointIndependent, AddressDependent, AddressAndPortDependent] {
        let name = format!("IPv6 only, {}", filtering_name(firewall));
        kinds.push(HostKind::behind(name, vec![NatConfig::symmetric()]).with_v6(firewall, false));
    }
    let [_, port_restricted, symmetric] = few_nats();
    for nats in [
        vec![NatConfig::port_restricted()],
        vec![port_restricted],
        vec![NatConfig { filtering: AddressDependent, ..symmetric }],
        vec![symmetric],
        vec![port_restricted, port_restricted],
    ] {
        let names: Vec<_> = nats.iter().rev().map(nat_name).collect();
        let name = format!("{} and IPv6, APDF", names.join(" in "));
        kinds.push(HostKind::behind(name, nats).with_v6(AddressAndPortDependent, true));
    }
    let blocked = NatConfig { blocks_udp: true, ..NatConfig::port_restricted() };
    kinds.push(HostKind::behind("UDP blocked".to_string(), vec![blocked]));
    kinds
}

/// Where the two hosts are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Together {
    /// Nothing in common.
    Apart,
    /// In one home.
    Home,
    /// In two homes of one carrier.
    Carrier,
    /// The same, and the homes have the same private network.
    CarrierAndSubnet,
}

/// Two hosts to be connected.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The two; the first has the lower node number, not the lower key.
    pub ends: [HostKind; 2],
    /// What they have in common; then they have the outermost NAT in common too.
    pub together: Together,
    /// What the whole mesh has.
    pub setting: Setting,
}

/// What all nodes of a mesh have beside the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Public nodes: one, or two at different addresses.
    pub public: usize,
    /// Hosts with both families know IPv6 endpoints of the public nodes only, and meet them so.
    pub by_ipv6: bool,
    /// Whether each end's daemon may use raw sockets.
    pub openers: [bool; 2],
}

/// In which all pairs are tried.
pub const SETTINGS: [Setting; 8] = [
    Setting { public: 1, by_ipv6: false, openers: [true, true] },
    Setting { public: 2, by_ipv6: false, openers: [true, true] },
    Setting { public: 1, by_ipv6: false, openers: [false, false] },
    Setting { public: 2, by_ipv6: false, openers: [false, false] },
    Setting { public: 1, by_ipv6: false, openers: [true, false] },
    Setting { public: 2, by_ipv6: false, openers: [true, false] },
    Setting { public: 1, by_ipv6: true, openers: [true, true] },
    Setting { public: 2, by_ipv6: true, openers: [true, true] },
];

/// What came of a pair.
#[derive(Clone, Debug)]
pub struct Meeting {
    /// The pair.
    pub pair: Pair,
    /// The row of the table that it counts in.
    pub group: &'static str,
    /// What the oracle says.
    pub oracle: PairKind,
    /// When both ends were connected.
    pub up: Option<Duration>,
    /// For a pair that was not: what each end says of it in the end, and since when it says so (or that it tries).
    pub said: [(Option<Reason>, Duration); 2],
    /// Initiations that both ends sent, to anybody.
    pub initiations: u64,
    /// What engines did that they must not.
    pub violations: usize,
}

impl Meeting {
    /// Whether the engine did what the oracle says.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.up.is_some() == self.oracle.is_connectable() && self.violations == 0
    }
}

/// All kinds of hosts with all, in either order; and hosts that have a NAT in common. Where the setting is about hosts with both
/// families, those with all.
#[must_use]
pub fn pairs(setting: Setting) -> Vec<Pair> {
    let kinds = kinds();
    if setting.by_ipv6 {
        let both = |kind: &HostKind| kind.v4 && kind.v6;
        let all = kinds.iter().flat_map(|a| kinds.iter().map(|b| [a.clone(), b.clone()]));
        return all
            .filter(|[a, b]| both(a) || both(b))
            .map(|ends| Pair { ends, together: Together::Apart, setting })
            .collect();
    }
    let mut pairs: Vec<Pair> = kinds
        .iter()
        .flat_map(|a| kinds.iter().map(|b| [a.clone(), b.clone()]))
        .map(|ends| Pair { ends, together: Together::Apart, setting })
        .collect();
    for hairpin in [false, true] {
        for nat in nats() {
            let home = HostKind::behind(nat_name(&nat), vec![NatConfig { hairpin, ..nat }]);
            pairs.push(Pair { ends: [home.clone(), home], together: Together::Home, setting });
        }
        for carrier in few_nats() {
            let carrier = NatConfig { hairpin, ..carrier };
            for homes in few_nats().into_iter().flat_map(|a| few_nats().map(|b| [a, b])) {
                let ends = homes.map(|home| {
                    let name = format!("{} in {}", nat_name(&home), nat_name(&carrier));
                    HostKind::behind(name, vec![carrier, home])
                });
                for together in [Together::Carrier, Together::CarrierAndSubnet] {
                    pairs.push(Pair { ends: ends.clone(), together, setting });
                }
            }
        }
    }
    pairs
}

/// Connects all [`pairs`], on all cores.
#[must_use]
pub fn run(setting: Setting) -> Vec<Meeting> {
    let pairs = pairs(setting);
    in_parallel(0..pairs.len() as u64, |n| pairs[n as usize].connect(n))
}

impl Pair {
    /// Starts the mesh and watches until the pair is connected, or for [`LIMIT`].
    #[must_use]
    pub fn connect(&self, seed: u64) -> Meeting {
        let mut world = self.world(seed);
        for node in 0..world.nodes.len() {
            world.start(node);
        }
        let [a, b] = [self.setting.public, self.setting.public + 1];
        let oracle = world.net.pair(world.nodes[a].setup.host, world.nodes[b].setup.host);
        let mut said = [Said::new(), Said::new()];
        let up = world.run_while(LIMIT, STEP, |world| {
            said[0].note(world.now(), world.nodes[a].status_of(b).and_then(|p| p.reason));
            said[1].note(world.now(), world.nodes[b].status_of(a).and_then(|p| p.reason));
            world.nodes[a].is_connected(b) && world.nodes[b].is_connected(a)
        });
        Meeting {
            group: self.group(oracle),
            oracle,
            up: up.then(|| world.now().saturating_duration_since(START)),
            said: said.map(|said| (said.reason, said.since.saturating_duration_since(START))),
            initiations: [a, b].iter().map(|n| world.nodes[*n].device.counters().initiations_sent).sum(),
            violations: world.violations.len(),
            pair: self.clone(),
        }
    }

    /// The mesh, not started.
    #[must_use]
    pub fn world(&self, seed: u64) -> World<PEERS> {
        // All delay is in the core, so that hosts of one home are near each other.
        let mut net = Internet::new(seed);
        net.set_core(Link::delay(DELAY));
        let mut hosts: Vec<HostId> = (0..self.setting.public)
            .map(|_| net.add_host_at(Site::Internet, Link::PERFECT, true, true))
            .collect();
        hosts.extend(self.place(&mut net));
        let endpoints: Vec<Vec<SocketAddr>> = hosts[..self.setting.public]
            .iter()
            .map(|host| net.addresses(*host).iter().map(|ip| SocketAddr::new(*ip, port_of(*host))).collect())
            .collect();
        let known_to = |node: usize| {
            let by_ipv6 = self.setting.by_ipv6 && net.addresses(hosts[node]).iter().any(IpAddr::is_ipv6);
            let known = |of: usize| endpoints.get(of).cloned().unwrap_or_default().into_iter();
            let known = |of| known(of).filter(|e| !by_ipv6 || e.is_ipv6()).collect();
            (0..hosts.len()).map(|n| (n, known(n))).collect()
        };
        let setups = hosts
            .iter()
            .enumerate()
            .map(|(number, host)| Setup {
                number,
                host: *host,
                port: port_of(*host),
                peers: known_to(number),
            })
            .collect();
        let mut world = World::new(net, setups, seed);
        for (node, openers) in world.nodes.iter_mut().skip(self.setting.public).zip(self.setting.openers) {
            node.openers = openers;
        }
        world
    }

    fn place(&self, net: &mut Internet<Vec<u8>>) -> [HostId; 2] {
        let mut shared: Vec<GatewayId> = Vec::new();
        self.ends.each_ref().map(|kind| {
            let in_common = match self.together {
                Together::Apart => 0,
                Together::Home => kind.nats.len(),
                Together::Carrier | Together::CarrierAndSubnet => 1,
            };
            if self.together == Together::CarrierAndSubnet && !shared.is_empty() {
                // Every eighth home has the same private network.
                for _ in 0..7 {
                    net.add_home(HomeConfig::default());
                }
            }
            let mut behind = None;
            for (depth, nat) in kind.nats.iter().enumerate() {
                let gateway = match shared.get(depth).copied().filter(|_| depth < in_common) {
                    Some(gateway) => gateway,
                    None => net.add_home(HomeConfig {
                        nat: *nat,
                        ipv6: kind.v6.then_some(kind.firewall),
                        link: Link::PERFECT,
                        behind,
                        carrier: depth + 1 < kind.nats.len(),
                    }),
                };
                if shared.len() <= depth {
                    shared.push(gateway);
                }
                behind = Some(gateway);
            }
            net.add_host_at(behind.map_or(Site::Internet, Site::Behind), Link::PERFECT, kind.v4, kind.v6)
        })
    }

    fn group(&self, oracle: PairKind) -> &'static str {
        let [a, b] = &self.ends;
        let unstable = usize::from(!a.is_stable()) + usize::from(!b.is_stable());
        let v6 = a.v6 && b.v6;
        match oracle {
            PairKind::Unreachable if a.blocks_udp() || b.blocks_udp() => "UDP blocked",
            PairKind::Unreachable if !(v6 || (a.v4 && b.v4)) => "no family in common",
            PairKind::Unreachable if self.together != Together::Apart => "one carrier, not punchable",
            PairKind::Unreachable => "not punchable",
            PairKind::Lan => "one home",
            PairKind::Hairpin if self.together == Together::CarrierAndSubnet => "one carrier, same subnet",
            PairKind::Hairpin => "one carrier, hairpin",
            PairKind::Direct if v6 => "direct, IPv6",
            PairKind::Direct => "direct",
            PairKind::Punched if v6 => "punched, IPv6",
            PairKind::Punched if a.is_carried() || b.is_carried() => "punched, carrier NAT",
            PairKind::Punched if unstable == 0 => "punched",
            PairKind::Punched if unstable == 1 => "punched, EDM on one side",
            PairKind::Punched => "punched, EDM on both",
        }
    }
}

fn port_of(host: HostId) -> u16 {
    // Different ports behind one NAT, as the oracle assumes.
    51820 + host.0 as u16
}

/// What an engine says of a peer, attempts aside.
struct Said {
    reason: Option<Reason>,
    since: Instant,
}

impl Said {
    const fn new() -> Self {
        Self { reason: None, since: START }
    }

    fn note(&mut self, now: Instant, reason: Option<Reason>) {
        if reason != self.reason && reason.is_some_and(|r| r != Reason::Connecting) {
            (self.reason, self.since) = (reason, now);
        }
    }
}
