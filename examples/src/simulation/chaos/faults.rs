//! What is done to a mesh.

use embassy_time::{Duration, Instant};

use super::{Chaos, Clocks, NODES, draw::Draw};
use crate::{
    simulation::world::START,
    virtual_internet::{Mapping, PortAllocation, Site, wireguard::WallClock},
};

/// 56 years: how far a router that boots in 1970 is from today.
const JUMP: u64 = 56 * 31_556_952;

/// What follows a fault after a while.
#[derive(Clone, Copy)]
pub(super) enum Later {
    /// Everybody learns a public node's new addresses, as from dynamic DNS.
    Publish(usize),
    /// A machine is on the network again.
    Return(usize),
}

impl Chaos {
    /// Something happens to some node or gateway.
    pub(super) fn fault(&mut self) {
        let mut draw = Draw(&mut self.rng);
        let node = draw.below(NODES as u64) as usize;
        let kind = draw.below(12);
        let wall = draw.below(2_000_000_000);
        let other = draw.below(NODES as u64) as usize;
        let gateway = draw.one_of(&self.gateways);
        let coin = draw.one_in(2);
        let pause = Duration::from_millis(draw.below(30_000));
        let link = draw.link(self.weather);
        let host = self.world.nodes[node].setup.host;
        let running = self.world.nodes[node].mesh.is_some();
        let what = match kind {
            0 if running => {
                self.world.stop(node, coin);
                format!("node {node}: daemon {}", if coin { "is killed" } else { "ends" })
            }
            0 | 1 if !running => {
                self.world.start(node);
                format!("node {node}: daemon starts")
            }
            1 => {
                self.world.stop(node, coin);
                self.world.start(node);
                format!("node {node}: daemon restarts, {}", if coin { "killed" } else { "in order" })
            }
            2 => {
                self.world.remake_device(node);
                format!("node {node}: interface is made anew")
            }
            3 => {
                let wall = Some(wall).filter(|_| coin && self.clocks == Clocks::Any);
                self.world.reboot(node, wall);
                format!("node {node}: machine reboots, clock at {wall:?}")
            }
            4 => self.jump(node, coin),
            5 | 6 => {
                let to = self.world.nodes[other].setup.host;
                self.world.net.block(host, to);
                format!("nothing passes from {node} to {other}")
            }
            7 => {
                self.world.net.unblock_all();
                "partitions end".to_string()
            }
            8 => {
                let Some(gateway) = gateway else { return };
                self.world.net.reboot(gateway, coin);
                format!("{gateway:?} reboots, new address: {coin}")
            }
            9 => match self.address_changes(node, coin, other, pause) {
                Some(what) => what,
                None => return,
            },
            10 => {
                // Rather a public node than not: the others are to keep each other meanwhile.
                let node = if coin { node % self.public } else { node };
                let host = self.world.nodes[node].setup.host;
                self.world.net.set_up(host, false);
                self.later.push((self.world.now() + pause, Later::Return(node)));
                format!("node {node}: off the network for {} ms", pause.as_millis())
            }
            _ => {
                match gateway.filter(|_| coin) {
                    Some(gateway) => self.world.net.set_home_link(gateway, link),
                    None => self.world.net.set_link(host, link),
                }
                format!("link of {:?}: {link:?}", gateway.filter(|_| coin).ok_or(node))
            }
        };
        self.tell(&what);
    }

    fn jump(&mut self, node: usize, forward: bool) -> String {
        let years = if forward { "+56" } else { "-56" };
        let now = self.world.now();
        let device = &mut self.world.nodes[node].device;
        let wall = device.wall_clock(now).secs;
        let to = match self.clocks {
            Clocks::Any if forward => wall + JUMP,
            Clocks::Any => wall.saturating_sub(JUMP),
            // Later than 2200 the stamp of a handshake, in nanoseconds, would end.
            Clocks::Forward if wall < 3 * JUMP => wall + JUMP,
            Clocks::Forward | Clocks::Right => wall,
        };
        // By whole seconds: WireGuard's timestamps are rounded to 16.8 ms, and where the steps are decides races.
        device.set_wall_clock(now, WallClock { secs: to, ..device.wall_clock(now) });
        format!("node {node}: clock jumps by {years} years from {wall}")
    }

    /// A machine gets other addresses, or moves to another home.
    fn address_changes(&mut self, node: usize, moves: bool, to: usize, after: Duration) -> Option<String> {
        let host = self.world.nodes[node].setup.host;
        if node < self.public {
            self.world.net.renumber(host);
            self.world.addresses_changed(node);
            self.later.push((self.world.now() + after, Later::Publish(node)));
            let addresses = self.world.net.addresses(host);
            return Some(format!("node {node}: now {addresses:?}, known in {} ms", after.as_millis()));
        }
        let site = if moves {
            Site::Behind(*self.gateways.get(to % self.gateways.len())?)
        } else {
            self.world.net.site(host)
        };
        if self.clashes(site) || self.clashes(self.world.net.site(host)) {
            return None;
        }
        let v6 = self.world.net.address_v6(host).is_some();
        self.world.net.move_host(host, site, true, v6 || moves);
        self.world.addresses_changed(node);
        Some(format!("node {node}: at {site:?}, now {:?}", self.world.net.addresses(host)))
    }

    /// Whether a host that comes with the port it had under another address finds it taken by its own old mapping, where
    /// that matters: such a NAT is not what the oracle takes it for until the old mapping has died.
    fn clashes(&self, site: Site) -> bool {
        let Site::Behind(gateway) = site else { return false };
        let nat = self.world.net.nat(gateway).config();
        nat.mapping != Mapping::EndpointIndependent && nat.ports == PortAllocation::Preserve
    }

    /// Does what is due of what follows faults.
    pub(super) fn catch_up(&mut self, until: Instant) {
        while let Some(at) = self.later.iter().position(|(at, _)| *at <= until) {
            let (_, what) = self.later.remove(at);
            match what {
                Later::Publish(node) => {
                    self.world.publish_endpoints(node);
                    self.tell(&format!("node {node}: its new addresses are known"));
                }
                Later::Return(node) => {
                    let host = self.world.nodes[node].setup.host;
                    self.world.net.set_up(host, true);
                    self.tell(&format!("node {node}: on the network again"));
                }
            }
        }
    }

    fn tell(&mut self, what: &str) {
        let at = self.world.now().as_millis() - START.as_millis();
        self.history.push(format!("{:>6}.{:03} s {what}", at / 1000, at % 1000));
    }
}
