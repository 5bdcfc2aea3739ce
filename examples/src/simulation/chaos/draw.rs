//! What a seed draws: the nodes, their NATs and links, and who of their users talks to whom.

use core::net::SocketAddr;

use embassy_time::Duration;
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use super::NODES;
use crate::{
    simulation::node::Setup,
    virtual_internet::{
        Filtering, GatewayId, HomeConfig, HostId, Internet, Link, Loss, Mapping, NatConfig, PortAllocation,
        Site,
    },
};

/// Draws from a generator.
pub(super) struct Draw<'a>(pub(super) &'a mut ChaCha8Rng);

/// A mesh as drawn.
pub(super) struct Drawn {
    pub(super) net: Internet<Vec<u8>>,
    pub(super) setups: Vec<Setup>,
    pub(super) gateways: Vec<GatewayId>,
    /// So many of the nodes are public, the first ones.
    pub(super) public: usize,
    pub(super) weather: Weather,
    pub(super) talks: Vec<Talk>,
}

/// What all links of a mesh have in common.
#[derive(Clone, Copy)]
pub(super) struct Weather {
    loss: Loss,
}

/// A user who sends echo requests through the tunnel, whether or not anybody is connected.
#[derive(Clone, Copy)]
pub(super) struct Talk {
    pub(super) from: usize,
    pub(super) to: usize,
    /// Every so many slices of time, beginning with this one.
    pub(super) every: u64,
    pub(super) first: u64,
}

impl Draw<'_> {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound.max(1)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        let at = self.below(all.len() as u64) as usize;
        all.get(at).copied()
    }

    pub(super) fn mesh(&mut self, seed: u64) -> Drawn {
        let mut net = Internet::new(seed);
        let weather = self.weather();
        let public = 1 + self.below(3) as usize;
        // IPv6 everywhere or nowhere: where only some have it, who is connected to all public nodes by IPv6 is seen by nobody
        // in IPv4, and those without IPv6 cannot be introduced to it.
        let dual = self.one_in(4);
        let mut gateways = Vec::new();
        let mut hosts = Vec::new();
        let mut carrier = None;
        for node in 0..NODES {
            let host = if node < public {
                net.add_host_at(Site::Internet, self.link(weather), true, dual)
            } else if node > public && self.one_in(6) && !gateways.is_empty() {
                // A second node in a home that is there already.
                net.add_host(gateways[self.below(gateways.len() as u64) as usize])
            } else {
                let behind = if self.one_in(6) {
                    Some(*carrier.get_or_insert_with(|| {
                        net.add_home(HomeConfig {
                            nat: self.nat(true),
                            ipv6: dual.then(|| self.filtering()),
                            carrier: true,
                            ..HomeConfig::default()
                        })
                    }))
                } else {
                    None
                };
                let ipv6 = dual.then(|| self.filtering());
                let nat = self.nat(false);
                let home =
                    net.add_home(HomeConfig { nat, ipv6, link: self.link(weather), behind, carrier: false });
                gateways.push(home);
                net.add_host(home)
            };
            hosts.push(host);
        }
        let setups = setups(&net, &hosts, public);
        let talks = if self.one_in(2) { self.talks() } else { Vec::new() };
        Drawn { net, setups, gateways, public, weather, talks }
    }

    fn weather(&mut self) -> Weather {
        // Each packet crosses two access links, so that one way loses up to 30 %.
        let loss = match self.below(3) {
            0 => Loss::None,
            1 => Loss::Random(self.below(31) as f32 / 200.0),
            // Spells of 1 to 5 packets, 15 % of all at the most.
            _ => Loss::Burst {
                enter: self.below(36) as f32 / 1000.0,
                leave: (20 + self.below(81)) as f32 / 100.0,
                lost: 1.0,
            },
        };
        Weather { loss }
    }

    pub(super) fn link(&mut self, weather: Weather) -> Link {
        // One way takes up to 400 ms.
        Link {
            delay: Duration::from_millis(if self.one_in(2) { self.below(20) } else { self.below(201) }),
            jitter: Duration::from_millis(self.below(10)),
            loss: weather.loss,
            reorder: if self.one_in(4) { 0.05 } else { 0.0 },
            reorder_by: Duration::from_millis(30),
            duplicate: if self.one_in(4) { 0.05 } else { 0.0 },
        }
    }

    fn filtering(&mut self) -> Filtering {
        match self.below(4) {
            0 => Filtering::EndpointIndependent,
            1 => Filtering::AddressDependent,
            _ => Filtering::AddressAndPortDependent,
        }
    }

    fn nat(&mut self, carrier: bool) -> NatConfig {
        let mapping = match self.below(5) {
            0 => Mapping::AddressAndPortDependent,
            1 => Mapping::AddressDependent,
            _ => Mapping::EndpointIndependent,
        };
        let filtering = self.filtering();
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

    /// Six users: a chat every three seconds, or a call.
    fn talks(&mut self) -> Vec<Talk> {
        let talk = |draw: &mut Self| {
            let every = if draw.one_in(4) { 1 } else { 30 };
            Talk {
                from: draw.below(NODES as u64) as usize,
                to: draw.below(NODES as u64) as usize,
                every,
                first: draw.below(every),
            }
        };
        (0..6).map(|_| talk(self)).collect()
    }
}

fn setups(net: &Internet<Vec<u8>>, hosts: &[HostId], public: usize) -> Vec<Setup> {
    let endpoints = |number: usize, host: HostId| {
        let shown = if number < public { net.addresses(host) } else { &[] };
        shown.iter().map(|ip| SocketAddr::new(*ip, port_of(number))).collect()
    };
    let peers: Vec<_> = hosts.iter().enumerate().map(|(n, host)| (n, endpoints(n, *host))).collect();
    hosts
        .iter()
        .enumerate()
        .map(|(number, host)| Setup { number, host: *host, port: port_of(number), peers: peers.clone() })
        .collect()
}

const fn port_of(number: usize) -> u16 {
    // Different ports behind one NAT, as the oracle assumes.
    51820 + number as u16
}
