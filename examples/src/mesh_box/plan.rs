//! The shape of a mesh: who is where on the virtual internet, with which addresses and keys, and the configuration
//! file of every node.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;
use core::time::Duration;
use std::path::PathBuf;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::key::Key;
use super::protocol::Setup;
use super::wireguard::{INTERFACE, WireGuardKind};
use crate::virtual_internet::{
    Filtering, GatewayId, HomeConfig, HostId, Internet, Link, Loss, Mapping, NatConfig, PortAllocation, Site,
};

/// The UDP port of WireGuard, the same in every node (in a home of several, the following ones too).
pub const LISTEN_PORT: u16 = 33723;
/// The UDP port of gossip inside the mesh.
pub const GOSSIP_PORT: u16 = 1666;
/// Where a node finds its configuration.
pub const CONFIG_PATH: &str = "/run/box/wgautomesh.toml";
const SECRET_PATH: &str = "/run/box/gossip_secret";
/// More do not fit into one setup message.
const MAX_NODES: usize = 500;

/// Which families the virtual internet carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underlay {
    /// IPv4 only.
    #[default]
    V4,
    /// Both. Homes have global IPv6 addresses behind a stateful firewall; public nodes are given by their IPv4 one.
    Dual,
    /// IPv6 only.
    V6,
}

/// The NAT in front of a home, by name: see [`NatKind::from_str`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NatKind(pub NatConfig);

impl NatKind {
    /// The names that are understood.
    pub const NAMES: &str = "eim-eif, eim-adf, eim-apdf, edm-eif, edm-adf, edm-apdf, edm (= edm-apdf), linux, each with +random, +hairpin or both if wanted";
    /// Endpoint-dependent: a random port for each remote, and only that remote is let in.
    pub const EDM: Self = Self(NatConfig::symmetric());
}

impl FromStr for NatKind {
    type Err = UnknownNat;

    /// `MAPPING-FILTERING`: mapping `eim` (endpoint-independent) or `edm` (endpoint-dependent, a random port for each
    /// remote), filtering `eif`, `adf` or `apdf`. `linux` is masquerading: endpoint-dependent, the port kept while free.
    /// `+random` after it: ports are not kept.
    fn from_str(name: &str) -> Result<Self, UnknownNat> {
        let (kind, hairpin) = name.strip_suffix("+hairpin").map_or((name, false), |kind| (kind, true));
        let (kind, random) = kind.strip_suffix("+random").map_or((kind, false), |kind| (kind, true));
        let (mapping, filtering) = match kind {
            "edm" => ("edm", "apdf"),
            "linux" => ("linux", "apdf"),
            kind => kind.split_once('-').ok_or(UnknownNat)?,
        };
        let filtering = match filtering {
            "eif" => Filtering::EndpointIndependent,
            "adf" => Filtering::AddressDependent,
            "apdf" => Filtering::AddressAndPortDependent,
            _ => return Err(UnknownNat),
        };
        let mut nat = match mapping {
            "eim" => NatConfig::new(Mapping::EndpointIndependent, filtering),
            "edm" => NatConfig { filtering, ..NatConfig::symmetric() },
            "linux" => NatConfig::linux(),
            _ => return Err(UnknownNat),
        };
        if random {
            nat.ports = PortAllocation::Random;
        }
        Ok(Self(if hairpin { nat.with_hairpin() } else { nat }))
    }
}

/// A NAT name that is not among [`NatKind::NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownNat;

impl fmt::Display for UnknownNat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "unknown NAT; known: {}", NatKind::NAMES)
    }
}

impl core::error::Error for UnknownNat {}

/// What mesh to make.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// Nodes with a public address, which every other node is given the endpoint of.
    pub publics: usize,
    /// Nodes behind NATs.
    pub homes: usize,
    /// How many of the `homes` nodes share one NAT.
    pub nodes_per_home: usize,
    /// The NATs of the homes, in turn.
    pub nats: Vec<NatKind>,
    /// More peers in every configuration, without an endpoint, that are switched off.
    pub absent: usize,
    /// More hosts in the first home that are in no mesh: without WireGuard, configuration and secret. They may send from any
    /// address.
    pub strangers: usize,
    /// Time for a packet from any home or public node to any other, one way.
    pub delay: Duration,
    /// Up to this much more, drawn for each packet.
    pub jitter: Duration,
    /// Probability that a packet is lost between two nodes, 0 to 1.
    pub loss: f64,
    /// Families of the virtual internet.
    pub underlay: Underlay,
    /// Mesh addresses: `fd14::/64` instead of `10.14.0.0/16`.
    pub mesh_ipv6: bool,
    /// Everything that is chance comes from it: keys, loss, ports.
    pub seed: u64,
    /// Whose WireGuard.
    pub wireguard: WireGuardKind,
    /// The daemon: run as `DAEMON /run/box/wgautomesh.toml` in every node. `None`: no daemon is ever started.
    pub daemon: Option<PathBuf>,
    /// `lan_discovery` in the configuration.
    pub lan_discovery: bool,
    /// More lines for the top of every configuration file.
    pub extra_config: String,
    /// Our own binary, the `box`: started again for every node. Under `cargo test` this must be the real binary
    /// (`env!("CARGO_BIN_EXE_box")`): a test harness has threads, and namespaces are for processes with one.
    pub program: PathBuf,
    /// Ask for echoes before there is a session, as an impatient user does.
    pub early_traffic: bool,
    /// Write what the nodes print to standard error, each line after the node's name and the time in seconds.
    pub verbose: bool,
    /// Keep what each node prints in a file here.
    pub keep_logs: Option<PathBuf>,
}

impl Default for MeshConfig {
    /// One public node and six homes behind port-restricted NATs, no delay, no daemon.
    fn default() -> Self {
        Self {
            publics: 1,
            homes: 6,
            nodes_per_home: 1,
            nats: vec![NatKind(NatConfig::port_restricted())],
            absent: 0,
            strangers: 0,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            underlay: Underlay::default(),
            mesh_ipv6: false,
            seed: 1,
            wireguard: WireGuardKind::Embedded,
            daemon: None,
            lan_discovery: false,
            extra_config: String::new(),
            program: PathBuf::from("/proc/self/exe"),
            early_traffic: false,
            verbose: false,
            keep_logs: None,
        }
    }
}

/// One node as planned.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// `pub1`, `home1`, …
    pub name: String,
    /// Where it is on the virtual internet.
    pub host: HostId,
    /// The NAT in front of it.
    pub gateway: Option<GatewayId>,
    /// Its WireGuard key.
    pub private_key: Key,
    /// Its address in the mesh.
    pub mesh: IpAddr,
    /// The port of its WireGuard interface.
    pub listen_port: u16,
    /// The endpoint that the others are given.
    pub endpoint: Option<SocketAddr>,
}

/// The internet and the nodes on it.
pub(crate) struct Plan {
    pub(crate) internet: Internet<Vec<u8>>,
    pub(crate) nodes: Vec<NodePlan>,
    /// Hosts that are none; of a node they have the name and the host.
    pub(crate) strangers: Vec<NodePlan>,
}

impl Plan {
    /// Lays the mesh out. The error says what cannot be.
    pub(crate) fn new(config: &MeshConfig) -> Result<Self, String> {
        let count = config.publics + config.homes;
        if count == 0 || count + config.absent > MAX_NODES {
            return Err(format!(
                "{count} nodes: between 1 and {MAX_NODES} are possible, absent ones included"
            ));
        }
        if config.homes > 0 && (config.nats.is_empty() || config.nodes_per_home == 0) {
            return Err("homes need at least one kind of NAT and one node each".into());
        }
        let mut internet = Internet::new(config.seed);
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let (v4, v6) = (config.underlay != Underlay::V6, config.underlay != Underlay::V4);
        internet.set_core(core_link(config));
        let link = Link::PERFECT;
        let mut nodes = Vec::with_capacity(count);
        for number in 0..config.publics {
            let host = internet.add_host_at(Site::Internet, link, v4, v6);
            let address = if v4 { internet.address_v4(host) } else { internet.address_v6(host) };
            let endpoint = address.map(|address| SocketAddr::new(address, LISTEN_PORT));
            let name = format!("pub{}", number + 1);
            nodes.push(node(config, name, host, None, 0, endpoint, nodes.len(), &mut rng));
        }
        let mut gateway = None;
        let mut first_home = None;
        for number in 0..config.homes {
            let (home, inside) = (number / config.nodes_per_home, number % config.nodes_per_home);
            if inside == 0 {
                let nat = config.nats[home % config.nats.len()].0;
                let ipv6 = v6.then_some(Filtering::AddressAndPortDependent);
                let home = HomeConfig { nat, ipv6, link, ..HomeConfig::default() };
                gateway = Some(internet.add_home(home));
                first_home = first_home.or(gateway);
            }
            let Some(home) = gateway else {
                continue;
            };
            let host = internet.add_host_at(Site::Behind(home), link, v4, v6);
            let name = format!("home{}", number + 1);
            nodes.push(node(config, name, host, gateway, inside, None, nodes.len(), &mut rng));
        }
        let mut strangers = Vec::new();
        for number in 0..config.strangers {
            let home = first_home.ok_or("strangers need a home to be in")?;
            let host = internet.add_host_at(Site::Behind(home), link, v4, v6);
            internet.let_spoof(host);
            let name = format!("stranger{}", number + 1);
            strangers.push(node(config, name, host, first_home, 0, None, MAX_NODES + number, &mut rng));
        }
        Ok(Self { internet, nodes, strangers })
    }

    /// What the process of a node is told.
    pub(crate) fn setup(&self, config: &MeshConfig, at: usize) -> Setup {
        let node = &self.nodes[at];
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed ^ 0x5ec2e7);
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != at);
        Setup {
            name: node.name.clone(),
            wan: self.wan(node.host),
            mesh: node.mesh,
            mesh_prefix: if config.mesh_ipv6 { 64 } else { 16 },
            private_key: node.private_key,
            listen_port: node.listen_port,
            gossip_port: GOSSIP_PORT,
            wireguard: Some(config.wireguard.clone()),
            files: vec![(CONFIG_PATH.into(), self.toml(config)), (SECRET_PATH.into(), Key(secret).base64())],
            daemon: config
                .daemon
                .iter()
                .map(|path| path.to_string_lossy().into_owned())
                .chain([CONFIG_PATH.into()])
                .collect(),
            others: others.map(|(other, node)| (other, node.private_key.public(), node.mesh)).collect(),
        }
    }

    /// What the process of a stranger is told.
    pub(crate) fn stranger_setup(&self, config: &MeshConfig, at: usize) -> Setup {
        let NodePlan { name, host, private_key, mesh, listen_port, .. } = self.strangers[at].clone();
        Setup {
            name,
            wan: self.wan(host),
            mesh,
            mesh_prefix: if config.mesh_ipv6 { 64 } else { 16 },
            private_key,
            listen_port,
            gossip_port: GOSSIP_PORT,
            wireguard: None,
            files: Vec::new(),
            daemon: Vec::new(),
            others: Vec::new(),
        }
    }

    /// Which ordered pairs can be connected at all, whatever the daemons do.
    pub(crate) fn possible(&self) -> Vec<Vec<bool>> {
        let connectable = |a: &NodePlan, b: &NodePlan| {
            a.host != b.host && self.internet.pair(a.host, b.host).is_connectable()
        };
        self.nodes.iter().map(|a| self.nodes.iter().map(|b| connectable(a, b)).collect()).collect()
    }

    /// The addresses of a host with the prefix lengths of the networks they are in.
    pub(crate) fn wan(&self, host: HostId) -> Vec<(IpAddr, u8)> {
        wan_addresses(&self.internet, host)
    }

    /// The configuration file, the same for all: every node is listed, each finds itself.
    fn toml(&self, config: &MeshConfig) -> String {
        use fmt::Write as _;
        let mut text = format!(
            "interface = \"{INTERFACE}\"\ngossip_port = {GOSSIP_PORT}\ngossip_secret_file = \"{SECRET_PATH}\"\n\
             lan_discovery = {}\n{}{}",
            config.lan_discovery,
            // It leads to one other end, and counts as no LAN otherwise.
            if config.lan_discovery { "lan_interfaces = [\"wan\"]\n" } else { "" },
            config.extra_config
        );
        let mut peer = |key: &Key, address: IpAddr, endpoint: Option<SocketAddr>| {
            let key = key.public().base64();
            let _ = write!(text, "\n[[peers]]\npubkey = \"{key}\"\naddress = \"{address}\"\n");
            if let Some(endpoint) = endpoint {
                let _ = writeln!(text, "endpoint = \"{endpoint}\"");
            }
        };
        for node in &self.nodes {
            peer(&node.private_key, node.mesh, node.endpoint);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed ^ 0xab5e27);
        for number in self.nodes.len()..self.nodes.len() + config.absent {
            peer(&Key::generate(&mut rng), mesh_address(config, number), None);
        }
        text
    }
}

/// The addresses of a host, each with the length of the prefix that is on its own link.
pub(crate) fn wan_addresses(internet: &Internet<Vec<u8>>, host: HostId) -> Vec<(IpAddr, u8)> {
    let home = matches!(internet.site(host), Site::Behind(_));
    let length = |address: &IpAddr| match (address, home) {
        (IpAddr::V4(_), true) => 24,
        (IpAddr::V4(_), false) => 32,
        (IpAddr::V6(_), _) => 64,
    };
    internet.addresses(host).iter().map(|address| (*address, length(address))).collect()
}

/// What lies between any two sites; access links and home networks add nothing.
fn core_link(config: &MeshConfig) -> Link {
    let time = |duration: Duration| {
        embassy_time::Duration::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    };
    #[expect(clippy::cast_possible_truncation, reason = "a probability needs no more precision")]
    let loss = config.loss.clamp(0.0, 1.0) as f32;
    Link {
        delay: time(config.delay),
        jitter: time(config.jitter),
        loss: if loss > 0.0 { Loss::Random(loss) } else { Loss::None },
        ..Link::PERFECT
    }
}

#[expect(clippy::too_many_arguments, reason = "a constructor in all but name, called twice")]
fn node(
    config: &MeshConfig,
    name: String,
    host: HostId,
    gateway: Option<GatewayId>,
    inside: usize,
    endpoint: Option<SocketAddr>,
    number: usize,
    rng: &mut ChaCha8Rng,
) -> NodePlan {
    let mesh = mesh_address(config, number);
    let listen_port = LISTEN_PORT + u16::try_from(inside).unwrap_or(0);
    NodePlan { name, host, gateway, private_key: Key::generate(rng), mesh, listen_port, endpoint }
}

fn mesh_address(config: &MeshConfig, number: usize) -> IpAddr {
    // Numbers stay below MAX_NODES.
    let last = u16::try_from(number + 1).unwrap_or(u16::MAX);
    if config.mesh_ipv6 {
        return IpAddr::V6(Ipv6Addr::new(0xfd14, 0, 0, 0, 0, 0, 0, last));
    }
    let [high, low] = last.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, 14, high, low))
}
