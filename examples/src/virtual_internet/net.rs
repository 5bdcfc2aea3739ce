//! The topology and the event queue.
//!
//! Networks form a tree: the public internet, behind its gateways homes and carriers, behind a carrier's gateways
//! homes again. Hosts sit in any of them, and so does every gateway's outside address.
//!
//! ```text
//!   the internet ── host 203.0.113.1
//!        ├── carrier NAT 203.0.113.2 ── 100.64.0.0/16
//!        │        └── home NAT 100.64.0.2 ── 192.168.1.0/24 ── host 192.168.1.2
//!        └── home NAT 203.0.113.3 (IPv6 firewall) ── host 192.168.2.2, 2001:db8:0:3::2
//! ```
//!
//! A packet climbs until a network has its destination, and then goes down to it. Each host and each gateway hangs
//! on an access link of its own, crossed by everything that enters or leaves it; between the public network's
//! members lies the *core*, a link too. Routers and the core take TTL. A gateway looks at a packet at the instant
//! it would really pass, so timers and races between packets come out right.
//!
//! IPv6 addresses are global everywhere and pass firewalls instead of NATs. In a home, hosts also have link-local ones, of
//! their own choosing, which it learns from what they send. Broadcast, multicast and link-local addresses reach the other hosts of the same home and go no
//! further. A home's Wi-Fi may keep its clients apart ([`Internet::isolate`]), and an attacker there may send from any
//! address ([`Internet::send_spoofed`]).

use core::cmp::Reverse;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BinaryHeap;

use embassy_time::{Duration, Instant};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};

use super::ip::Header;
use super::link::{Lane, Link};
use super::nat::{Filtering, Firewall, Forward, Nat, NatConfig, Refused, v4_of};
use super::oracle::{self, PairKind, Side, Stage};

#[cfg(test)]
mod tests;

/// A host of the virtual internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub u32);

/// A gateway: a home's router or a carrier's NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GatewayId(pub u32);

/// Where a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Site {
    /// On the public internet.
    Internet,
    /// In the network behind a gateway.
    Behind(GatewayId),
}

/// A home (or, with `carrier`, a carrier's network) to be added.
#[derive(Clone, Copy, Debug)]
pub struct HomeConfig {
    /// Its NAT.
    pub nat: NatConfig,
    /// Its IPv6 firewall; `None`: no IPv6 here.
    pub ipv6: Option<Filtering>,
    /// Its access link.
    pub link: Link,
    /// Behind a carrier's NAT, or directly on the internet.
    pub behind: Option<GatewayId>,
    /// A carrier: hands out 100.64.0.0/10 instead of 192.168.0.0/16.
    pub carrier: bool,
}

impl Default for HomeConfig {
    fn default() -> Self {
        Self { nat: NatConfig::default(), ipv6: None, link: Link::PERFECT, behind: None, carrier: false }
    }
}

/// A packet that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered<P> {
    /// The host it arrived at.
    pub to: HostId,
    /// The host that sent it, which the receiver of a real packet would not know.
    pub from: HostId,
    /// The packet's header as it arrived, NATs passed.
    pub header: Header,
    /// What it carries.
    pub payload: P,
}

/// Why packets did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Dropped {
    /// Lost on a link.
    Loss,
    /// No network on the way knows the destination.
    NoRoute,
    /// The source is not an address of the sending host.
    Spoofed,
    /// The sender or the receiver is down.
    Down,
    /// A partition lies between.
    Partition,
    /// A home keeps its hosts apart.
    Isolated,
    /// Too many hops.
    TtlExpired,
    /// A NAT or firewall did not pass it.
    Refused(Refused),
}

/// Counters of a whole internet. Copies by duplication and broadcast count on their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets handed to [`Internet::send`].
    pub sent: u64,
    /// Packets that arrived.
    pub delivered: u64,
    /// Packets that did not, by reason.
    pub dropped: std::collections::BTreeMap<Dropped, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Host(HostId),
    Gateway(GatewayId),
}

#[derive(Debug, Default)]
struct Network {
    /// The way up; `None` for the public internet.
    gateway: Option<GatewayId>,
    /// Who has an address here, or is the way to it (IPv6 of networks below).
    members: HashMap<IpAddr, Member>,
    /// For broadcast.
    hosts: Vec<HostId>,
    /// Numbers of addresses handed out.
    next_v4: u32,
    next_v6: u32,
    /// IPv4 network part; unused by the public internet.
    subnet: [u8; 2],
    /// Third octet of a home's network.
    third: u8,
    /// IPv6 is handed out here.
    ipv6: bool,
    /// Hosts do not reach each other, but by broadcast.
    isolated: bool,
}

#[derive(Debug)]
struct Host {
    net: usize,
    addresses: Vec<IpAddr>,
    /// Its link-local IPv6 address, since it was used.
    link_local: Option<IpAddr>,
    up: bool,
    /// It may send from any address.
    spoofs: bool,
    out: Lane,
    inn: Lane,
}

#[derive(Debug)]
struct Gateway {
    outer: usize,
    inner: usize,
    nat: Nat,
    firewall: Option<Firewall>,
    out: Lane,
    inn: Lane,
}

#[derive(Clone, Debug)]
struct Packet<P> {
    from: HostId,
    header: Header,
    payload: P,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// At a gateway from inside.
    Up(GatewayId),
    /// At a gateway from outside.
    Down(GatewayId),
    /// At a host.
    Arrive(HostId),
}

struct Queued<P> {
    at: Instant,
    /// Packets of one instant keep their order.
    order: u64,
    step: Step,
    packet: Packet<P>,
}

impl<P> PartialEq for Queued<P> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl<P> Eq for Queued<P> {}
impl<P> PartialOrd for Queued<P> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<P> Ord for Queued<P> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

const INTERNET: usize = 0;
/// The first octets of homes' networks.
const HOME: [u8; 2] = [192, 168];
/// A packet inside its own network has taken no time yet.
const NO_TIME: Duration = Duration::from_ticks(0);

/// A virtual internet that carries payloads of type `P`.
///
/// * **Topology**: [`add_public`](Self::add_public), [`add_home`](Self::add_home), [`add_host`](Self::add_host),
///   [`add_host_at`](Self::add_host_at).
/// * **In**: [`send`](Self::send); faults and changes: [`set_link`](Self::set_link), [`set_up`](Self::set_up),
///   [`block`](Self::block), [`reboot`](Self::reboot), [`move_host`](Self::move_host).
/// * **Out**: [`poll_timeout`](Self::poll_timeout) says when something happens next, [`poll`](Self::poll) gives what
///   arrived; call it until it gives `None`. Time must not run backwards.
pub struct Internet<P> {
    rng: ChaCha8Rng,
    nets: Vec<Network>,
    hosts: Vec<Host>,
    gateways: Vec<Gateway>,
    core: Lane,
    core_hops: u8,
    queue: BinaryHeap<Reverse<Queued<P>>>,
    order: u64,
    blocked: HashSet<(HostId, HostId)>,
    stats: Stats,
}

impl<P: Clone> Internet<P> {
    /// An internet with nobody on it. All chance (loss, jitter, NAT ports) comes from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let public = Network { ipv6: true, ..Network::default() };
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            nets: vec![public],
            hosts: Vec::new(),
            gateways: Vec::new(),
            core: Lane::new(Link::PERFECT),
            core_hops: 4,
            queue: BinaryHeap::new(),
            order: 0,
            blocked: HashSet::default(),
            stats: Stats::default(),
        }
    }

    // Topology

    /// Adds a host on the public internet with an IPv4 address.
    pub fn add_public(&mut self, link: Link) -> HostId {
        self.add_host_at(Site::Internet, link, true, false)
    }

    /// Adds a host to a home, with an IPv4 address, an IPv6 address where the home has IPv6, and a perfect link.
    ///
    /// # Panics
    /// On a gateway of another internet.
    pub fn add_host(&mut self, home: GatewayId) -> HostId {
        let v6 = self.nets[self.gateways[home.0 as usize].inner].ipv6;
        self.add_host_at(Site::Behind(home), Link::PERFECT, true, v6)
    }

    /// Adds a host anywhere, with addresses of the families asked for (IPv6 only where the site has it).
    ///
    /// # Panics
    /// On a gateway of another internet, or when a home has no address left.
    pub fn add_host_at(&mut self, site: Site, link: Link, v4: bool, v6: bool) -> HostId {
        let id = HostId(u32::try_from(self.hosts.len()).expect("fewer than 2^32 hosts"));
        let net = self.net_of(site);
        let lane = Lane::new(link);
        self.hosts.push(Host {
            net,
            addresses: Vec::new(),
            link_local: None,
            up: true,
            spoofs: false,
            out: lane.clone(),
            inn: lane,
        });
        self.nets[net].hosts.push(id);
        let addresses = self.fresh_addresses(net, v4, v6);
        self.set_addresses(id, addresses);
        id
    }

    /// Adds a home or a carrier's network.
    ///
    /// # Panics
    /// On a gateway of another internet.
    pub fn add_home(&mut self, config: HomeConfig) -> GatewayId {
        let number = u32::try_from(self.gateways.len()).expect("fewer than 2^32 gateways");
        let id = GatewayId(number);
        let outer = config.behind.map_or(INTERNET, |g| self.gateways[g.0 as usize].inner);
        let outside = self.fresh_v4(outer);
        self.nets[outer].members.insert(outside.into(), Member::Gateway(id));
        let inner = self.nets.len();
        // Homes' private networks overlap in reality; here every eighth is the same.
        let (subnet, third) =
            if config.carrier { ([100, 64 + (number % 64) as u8], 0) } else { (HOME, (number % 8) as u8) };
        self.nets.push(Network {
            gateway: Some(id),
            next_v4: 1,
            next_v6: 1,
            subnet,
            third,
            ipv6: config.ipv6.is_some(),
            ..Network::default()
        });
        let lane = Lane::new(config.link);
        let seed = self.rng.next_u64();
        let NatConfig { unreplied, stream, blocks_udp, .. } = config.nat;
        self.gateways.push(Gateway {
            outer,
            inner,
            nat: Nat::new(config.nat, outside, seed),
            firewall: config.ipv6.map(|kind| Firewall::new(kind, unreplied, stream, blocks_udp)),
            out: lane.clone(),
            inn: lane,
        });
        id
    }

    /// The link between the public internet's members; crossed once by every packet between two of them.
    pub const fn set_core(&mut self, link: Link) {
        self.core.link = link;
    }

    /// A host's addresses, in no particular order.
    ///
    /// # Panics
    /// On a host of another internet, here and in all methods that take one.
    #[must_use]
    pub fn addresses(&self, host: HostId) -> &[IpAddr] {
        &self.hosts[host.0 as usize].addresses
    }

    /// A host's IPv4 address.
    #[must_use]
    pub fn address_v4(&self, host: HostId) -> Option<IpAddr> {
        self.addresses(host).iter().copied().find(IpAddr::is_ipv4)
    }

    /// A host's first IPv6 address.
    #[must_use]
    pub fn address_v6(&self, host: HostId) -> Option<IpAddr> {
        self.addresses(host).iter().copied().find(IpAddr::is_ipv6)
    }

    /// Where a host is.
    #[must_use]
    pub fn site(&self, host: HostId) -> Site {
        self.nets[self.hosts[host.0 as usize].net].gateway.map_or(Site::Internet, Site::Behind)
    }

    /// Who else is in the host's own network.
    pub fn neighbours(&self, host: HostId) -> impl Iterator<Item = HostId> + '_ {
        self.nets[self.hosts[host.0 as usize].net].hosts.iter().copied().filter(move |h| *h != host)
    }

    /// How many hosts there are; their ids count from 0.
    #[must_use]
    pub const fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// The gateway that a host is behind; the nearest, where there are several. `None` on the internet itself.
    #[must_use]
    pub fn gateway_of(&self, host: HostId) -> Option<GatewayId> {
        let net = self.hosts[host.0 as usize].net;
        self.gateways.iter().position(|g| g.inner == net).map(|n| GatewayId(n as u32))
    }

    /// A gateway's NAT.
    ///
    /// # Panics
    /// On a gateway of another internet, here and in all methods that take one.
    #[must_use]
    pub fn nat(&self, gateway: GatewayId) -> &Nat {
        &self.gateways[gateway.0 as usize].nat
    }

    /// What became of all packets so far.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    // Faults and changes

    /// Changes a host's access link, both directions.
    pub fn set_link(&mut self, host: HostId, link: Link) {
        let host = &mut self.hosts[host.0 as usize];
        (host.out.link, host.inn.link) = (link, link);
    }

    /// Changes a gateway's access link, both directions.
    pub fn set_home_link(&mut self, gateway: GatewayId, link: Link) {
        let gateway = &mut self.gateways[gateway.0 as usize];
        (gateway.out.link, gateway.inn.link) = (link, link);
    }

    /// Switches a host on or off. Off, it neither sends nor receives.
    pub fn set_up(&mut self, host: HostId, up: bool) {
        self.hosts[host.0 as usize].up = up;
    }

    /// Lets a host send from any address, as an attacker on a LAN may. Its link-local one is then the first that it sends from.
    pub fn let_spoof(&mut self, host: HostId) {
        self.hosts[host.0 as usize].spoofs = true;
    }

    /// Keeps the hosts of a home apart, as some Wi-Fi does with its clients: they reach the gateway, and each other only by
    /// broadcast and multicast (the worst kind, which lets them hear of each other).
    pub fn isolate(&mut self, home: GatewayId, isolated: bool) {
        let net = self.gateways[home.0 as usize].inner;
        self.nets[net].isolated = isolated;
    }

    /// Blocks packets one way, from `from` to `to`.
    pub fn block(&mut self, from: HostId, to: HostId) {
        self.blocked.insert((from, to));
    }

    /// Ends a block.
    pub fn unblock(&mut self, from: HostId, to: HostId) {
        self.blocked.remove(&(from, to));
    }

    /// Ends all blocks.
    pub fn unblock_all(&mut self) {
        self.blocked.clear();
    }

    /// Reboots a gateway: it forgets all sessions, and may come back with another outside address.
    pub fn reboot(&mut self, gateway: GatewayId, new_address: bool) {
        let outer = self.gateways[gateway.0 as usize].outer;
        let address = new_address.then(|| {
            let old = self.gateways[gateway.0 as usize].nat.outside();
            self.nets[outer].members.remove(&old.into());
            let new = self.fresh_v4(outer);
            self.nets[outer].members.insert(new.into(), Member::Gateway(gateway));
            new
        });
        let gateway = &mut self.gateways[gateway.0 as usize];
        gateway.nat.reboot(address);
        if let Some(firewall) = &mut gateway.firewall {
            firewall.reboot();
        }
    }

    /// Forwards an outside UDP port of a gateway for good.
    pub fn add_forward(&mut self, gateway: GatewayId, forward: Forward) {
        self.gateways[gateway.0 as usize].nat.add_forward(forward);
    }

    /// Ends a forward.
    pub fn remove_forward(&mut self, gateway: GatewayId, outside_port: u16) {
        self.gateways[gateway.0 as usize].nat.remove_forward(outside_port);
    }

    /// Gives a host other addresses, which must fit where it is. They are taken from whoever had them.
    pub fn set_addresses(&mut self, host: HostId, addresses: Vec<IpAddr>) {
        let net = self.hosts[host.0 as usize].net;
        for address in core::mem::take(&mut self.hosts[host.0 as usize].addresses) {
            self.unregister(net, address, host);
        }
        for address in &addresses {
            self.register(net, *address, host);
        }
        self.hosts[host.0 as usize].addresses = addresses;
    }

    /// Gives a host fresh addresses of the families it has.
    pub fn renumber(&mut self, host: HostId) {
        let net = self.hosts[host.0 as usize].net;
        let (v4, v6) = (self.address_v4(host).is_some(), self.address_v6(host).is_some());
        let addresses = self.fresh_addresses(net, v4, v6);
        self.set_addresses(host, addresses);
    }

    /// Adds a second IPv6 address to a host (a temporary one, RFC 8981). `None` where there is no IPv6.
    pub fn add_address_v6(&mut self, host: HostId) -> Option<IpAddr> {
        let net = self.hosts[host.0 as usize].net;
        let address = self.fresh_addresses(net, false, true).pop()?;
        self.register(net, address, host);
        self.hosts[host.0 as usize].addresses.push(address);
        Some(address)
    }

    /// Moves a host to another site, where it gets fresh addresses.
    pub fn move_host(&mut self, host: HostId, site: Site, v4: bool, v6: bool) {
        self.set_addresses(host, Vec::new());
        let old = self.hosts[host.0 as usize].net;
        self.nets[old].hosts.retain(|h| *h != host);
        let net = self.net_of(site);
        self.hosts[host.0 as usize].net = net;
        self.nets[net].hosts.push(host);
        let addresses = self.fresh_addresses(net, v4, v6);
        self.set_addresses(host, addresses);
    }

    // Packets

    /// Sends a packet from a host. Its source must be one of the host's addresses, unless it may spoof.
    pub fn send(&mut self, now: Instant, from: HostId, header: Header, payload: P) {
        self.stats.sent += 1;
        let (src, home) = (header.src.ip(), self.is_home(self.hosts[from.0 as usize].net));
        let host = &mut self.hosts[from.0 as usize];
        if home && is_link_local(src) {
            host.link_local = host.link_local.filter(|_| host.spoofs).or(Some(src));
        } else if host.up && !host.spoofs && !host.addresses.contains(&src) {
            return self.drop_packet(Dropped::Spoofed);
        }
        self.send_spoofed(now, from, header, payload);
    }

    /// Sends a packet from a host, whatever its source. Not among [`Stats::sent`].
    pub fn send_spoofed(&mut self, now: Instant, from: HostId, header: Header, payload: P) {
        let host = &mut self.hosts[from.0 as usize];
        if !host.up {
            return self.drop_packet(Dropped::Down);
        }
        let net = host.net;
        let crossing = host.out.cross(&mut self.rng);
        let packet = Packet { from, header, payload };
        self.copies(crossing, packet, |this, taken, packet| this.route(now, net, taken, packet));
    }

    /// When the next packet moves; `None` while none is under way.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse(next)| next.at)
    }

    /// Moves packets up to `now` and gives the next one that arrived. Call it until it gives `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Delivered<P>> {
        while self.queue.peek().is_some_and(|Reverse(next)| next.at <= now) {
            let Reverse(Queued { at, step, packet, .. }) = self.queue.pop()?;
            match step {
                Step::Up(gateway) => self.up(at, gateway, packet),
                Step::Down(gateway) => self.down(at, gateway, packet),
                Step::Arrive(host) => {
                    if let Some(delivered) = self.arrive(host, packet) {
                        return Some(delivered);
                    }
                }
            }
        }
        None
    }

    // The oracle

    /// The NATs in front of a host for a family, nearest first. `None` when it has no address of the family.
    #[must_use]
    pub fn side(&self, host: HostId, ipv6: bool) -> Option<Side> {
        let address = if ipv6 { self.address_v6(host) } else { self.address_v4(host) };
        address?;
        let stages = self.gateways_above(self.hosts[host.0 as usize].net).map(|id| {
            let gateway = &self.gateways[id.0 as usize];
            if ipv6 {
                let firewall = gateway.firewall.as_ref();
                Stage {
                    gateway: Some(id),
                    stable: true,
                    filtering: firewall.map_or(Filtering::AddressAndPortDependent, Firewall::filtering),
                    hairpin: false,
                    blocks_udp: firewall.is_none_or(Firewall::blocks_udp),
                }
            } else {
                Stage { gateway: Some(id), ..Stage::from(gateway.nat.config()) }
            }
        });
        Some(stages.collect())
    }

    /// How a pair can be connected, if at all: the better of both families. See [`oracle`] for what is assumed.
    #[must_use]
    pub fn pair(&self, a: HostId, b: HostId) -> PairKind {
        let net = self.hosts[a.0 as usize].net;
        if net == self.hosts[b.0 as usize].net && self.is_home(net) {
            let shares = |v6| self.side(a, v6).is_some() && self.side(b, v6).is_some();
            if shares(false) || shares(true) {
                return PairKind::Lan;
            }
        }
        [false, true]
            .into_iter()
            .filter_map(|v6| Some(oracle::pair(&self.side(a, v6)?, &self.side(b, v6)?, v6)))
            .min()
            .unwrap_or(PairKind::Unreachable)
    }

    // Inside

    fn net_of(&self, site: Site) -> usize {
        match site {
            Site::Internet => INTERNET,
            Site::Behind(gateway) => self.gateways[gateway.0 as usize].inner,
        }
    }

    /// Neither the internet nor a carrier's network: its hosts are neighbours.
    fn is_home(&self, net: usize) -> bool {
        self.nets[net].subnet == HOME
    }

    /// The gateways from a network to the public internet.
    fn gateways_above(&self, net: usize) -> impl Iterator<Item = GatewayId> + '_ {
        core::iter::successors(self.nets[net].gateway, |id| {
            self.nets[self.gateways[id.0 as usize].outer].gateway
        })
    }

    fn register(&mut self, net: usize, address: IpAddr, host: HostId) {
        self.nets[net].members.insert(address, Member::Host(host));
        if address.is_ipv6() {
            let way: Vec<GatewayId> = self.gateways_above(net).collect();
            for gateway in way {
                let outer = self.gateways[gateway.0 as usize].outer;
                self.nets[outer].members.insert(address, Member::Gateway(gateway));
            }
        }
    }

    fn unregister(&mut self, net: usize, address: IpAddr, host: HostId) {
        if self.nets[net].members.get(&address) != Some(&Member::Host(host)) {
            return;
        }
        self.nets[net].members.remove(&address);
        if address.is_ipv6() {
            let way: Vec<GatewayId> = self.gateways_above(net).collect();
            for gateway in way {
                let outer = self.gateways[gateway.0 as usize].outer;
                self.nets[outer].members.remove(&address);
            }
        }
    }

    fn fresh_addresses(&mut self, net: usize, v4: bool, v6: bool) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        if v4 {
            addresses.push(self.fresh_v4(net).into());
        }
        if v6 && self.nets[net].ipv6 {
            let site = self.nets[net].gateway.map_or(0, |g| g.0 + 1);
            self.nets[net].next_v6 += 1;
            let host = self.nets[net].next_v6;
            let part = |n: u32| ((n >> 16) as u16, n as u16);
            let ((s0, s1), (h0, h1)) = (part(site), part(host));
            addresses.push(Ipv6Addr::new(0x2001, 0xdb8, s0, s1, 0, 0, h0, h1).into());
        }
        addresses
    }

    fn fresh_v4(&mut self, net: usize) -> Ipv4Addr {
        let is_home = self.is_home(net);
        let network = &mut self.nets[net];
        network.next_v4 += 1;
        let n = network.next_v4;
        if net == INTERNET {
            return public_v4(n);
        }
        if is_home {
            assert!(n < 255, "a home has 253 addresses");
            return Ipv4Addr::new(192, 168, network.third, n as u8);
        }
        assert!(n < 65_535, "a carrier has 65533 addresses");
        let [a, b] = network.subnet;
        Ipv4Addr::new(a, b, (n >> 8) as u8, n as u8)
    }

    fn drop_packet(&mut self, reason: Dropped) {
        *self.stats.dropped.entry(reason).or_default() += 1;
    }

    fn enqueue(&mut self, at: Instant, step: Step, packet: Packet<P>) {
        self.order += 1;
        self.queue.push(Reverse(Queued { at, order: self.order, step, packet }));
    }

    /// Goes on with each copy that a link let through.
    fn copies(
        &mut self,
        crossing: super::link::Crossing,
        packet: Packet<P>,
        mut go_on: impl FnMut(&mut Self, Duration, Packet<P>),
    ) {
        let Some(first) = crossing.first else {
            return self.drop_packet(Dropped::Loss);
        };
        if let Some(second) = crossing.second {
            go_on(self, second, packet.clone());
        }
        go_on(self, first, packet);
    }

    /// A packet in a network, `taken` after `now`.
    fn route(&mut self, now: Instant, net: usize, taken: Duration, packet: Packet<P>) {
        let target = packet.header.dst.ip();
        if is_link_local(target) {
            let has_it = |h: &&HostId| self.hosts[h.0 as usize].link_local == Some(target);
            let host = self.nets[net].hosts.iter().find(has_it).copied().filter(|_| !self.nets[net].isolated);
            return match host {
                Some(host) => self.descend(now, taken, Member::Host(host), packet),
                None => self.drop_packet(Dropped::NoRoute),
            };
        }
        match self.nets[net].members.get(&target).copied() {
            // Between two of them directly, not by way of the gateway.
            Some(Member::Host(_)) if self.nets[net].isolated && self.is_here(net, packet.header.src.ip()) => {
                self.drop_packet(Dropped::Isolated);
            }
            Some(member) if net == INTERNET => self.cross_core(now, taken, member, packet),
            Some(member) => self.descend(now, taken, member, packet),
            None if is_group(target) => self.broadcast(now, net, taken, &packet),
            None => match self.nets[net].gateway {
                Some(gateway) if taken == NO_TIME => self.up(now, gateway, packet),
                Some(gateway) => self.enqueue(now + taken, Step::Up(gateway), packet),
                None => self.drop_packet(Dropped::NoRoute),
            },
        }
    }

    /// Whether an address is that of a host in this network.
    fn is_here(&self, net: usize, address: IpAddr) -> bool {
        matches!(self.nets[net].members.get(&address), Some(Member::Host(_)))
    }

    fn broadcast(&mut self, now: Instant, net: usize, taken: Duration, packet: &Packet<P>) {
        if !self.is_home(net) {
            return self.drop_packet(Dropped::NoRoute);
        }
        for host in self.nets[net].hosts.clone() {
            if host != packet.from {
                self.descend(now, taken, Member::Host(host), packet.clone());
            }
        }
    }

    fn cross_core(&mut self, now: Instant, taken: Duration, member: Member, mut packet: Packet<P>) {
        // The last router delivers a packet whose TTL it brought to 1.
        match packet.header.ttl.checked_sub(self.core_hops) {
            Some(ttl) if ttl > 0 => packet.header.ttl = ttl,
            _ => return self.drop_packet(Dropped::TtlExpired),
        }
        let crossing = self.core.cross(&mut self.rng);
        self.copies(crossing, packet, |this, more, packet| this.descend(now, taken + more, member, packet));
    }

    /// Over a member's access link, down to it.
    fn descend(&mut self, now: Instant, taken: Duration, member: Member, packet: Packet<P>) {
        let (lane, step) = match member {
            Member::Host(id) => (&mut self.hosts[id.0 as usize].inn, Step::Arrive(id)),
            Member::Gateway(id) => (&mut self.gateways[id.0 as usize].inn, Step::Down(id)),
        };
        let crossing = lane.cross(&mut self.rng);
        self.copies(crossing, packet, |this, more, packet| this.enqueue(now + taken + more, step, packet));
    }

    /// A packet at a gateway from inside, at `now`.
    fn up(&mut self, now: Instant, id: GatewayId, mut packet: Packet<P>) {
        if !take_hop(&mut packet.header) {
            return self.drop_packet(Dropped::TtlExpired);
        }
        let gateway = &mut self.gateways[id.0 as usize];
        let header = packet.header;
        let passed = if header.dst.is_ipv6() {
            match &mut gateway.firewall {
                Some(firewall) => firewall.outbound(now, &header).map(|()| header),
                None => return self.drop_packet(Dropped::NoRoute),
            }
        } else if v4_of(header.dst.ip()) == Some(gateway.nat.outside()) {
            match gateway.nat.hairpin(now, &header) {
                Ok(header) => {
                    packet.header = header;
                    let inner = gateway.inner;
                    return self.route(now, inner, NO_TIME, packet);
                }
                Err(refused) => return self.drop_packet(Dropped::Refused(refused)),
            }
        } else {
            gateway.nat.outbound(now, &header)
        };
        match passed {
            Ok(header) => {
                packet.header = header;
                let outer = gateway.outer;
                let crossing = gateway.out.cross(&mut self.rng);
                self.copies(crossing, packet, |this, taken, packet| this.route(now, outer, taken, packet));
            }
            Err(refused) => self.drop_packet(Dropped::Refused(refused)),
        }
    }

    /// A packet at a gateway from outside, at `now`.
    fn down(&mut self, now: Instant, id: GatewayId, mut packet: Packet<P>) {
        if !take_hop(&mut packet.header) {
            return self.drop_packet(Dropped::TtlExpired);
        }
        let gateway = &mut self.gateways[id.0 as usize];
        let inner = gateway.inner;
        let passed = match &mut gateway.firewall {
            Some(firewall) if packet.header.dst.is_ipv6() => {
                firewall.inbound(now, &packet.header).map(|()| packet.header)
            }
            _ => gateway.nat.inbound(now, &packet.header),
        };
        let header = match passed {
            Ok(header) => header,
            Err(refused) => return self.drop_packet(Dropped::Refused(refused)),
        };
        packet.header = header;
        // What the NAT let in but nobody here has goes nowhere, not back up.
        match self.nets[inner].members.get(&header.dst.ip()).copied() {
            Some(member) => self.descend(now, NO_TIME, member, packet),
            None => self.drop_packet(Dropped::NoRoute),
        }
    }

    fn arrive(&mut self, to: HostId, packet: Packet<P>) -> Option<Delivered<P>> {
        let Packet { from, header, payload } = packet;
        let host = &self.hosts[to.0 as usize];
        let target = header.dst.ip();
        let reason = if !host.up || !self.hosts[from.0 as usize].up {
            Dropped::Down
        } else if !self.blocked.is_empty() && self.blocked.contains(&(from, to)) {
            Dropped::Partition
        } else if !is_group(target) && !host.addresses.contains(&target) && host.link_local != Some(target) {
            // It gave up the address while the packet was under way.
            Dropped::NoRoute
        } else {
            self.stats.delivered += 1;
            return Some(Delivered { to, from, header, payload });
        };
        self.drop_packet(reason);
        None
    }
}

/// The `n`-th public address, from 1: two documentation networks, then the benchmark range. All count as public.
fn public_v4(n: u32) -> Ipv4Addr {
    match n {
        1..=254 => Ipv4Addr::new(203, 0, 113, n as u8),
        255..=508 => Ipv4Addr::new(198, 51, 100, (n - 254) as u8),
        _ => {
            let n = n - 508;
            assert!(n < 1 << 17, "198.18.0.0/15 has 131072 addresses");
            Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + n)
        }
    }
}

/// Broadcast or multicast.
fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_broadcast() || v4.is_multicast() || (v4.is_private() && v4.octets()[3] == 255)
        }
        IpAddr::V6(v6) => v6.is_multicast(),
    }
}

const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// One router's share of the TTL.
const fn take_hop(header: &mut Header) -> bool {
    if header.ttl <= 1 {
        return false;
    }
    header.ttl -= 1;
    true
}
