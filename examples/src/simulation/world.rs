//! All nodes, the internet between them, time, and the invariants.

use core::{
    cmp::Reverse,
    net::{IpAddr, SocketAddr},
};
use std::{
    collections::{BinaryHeap, HashMap},
    rc::Rc,
};

use embassy_time::{Duration, Instant};
use wgautomesh_core::Mesh;

use super::{
    handshakes::Handshakes,
    node::{Node, Rotation, Setup, Underlay, Violation, key_of},
};
use crate::virtual_internet::{Header, HostId, Internet};

/// When every simulation begins. Not zero: nothing may depend on it.
pub const START: Instant = Instant::from_secs(1000);

/// A simulated mesh.
///
/// Build it with an [`Internet`] and the nodes' [`Setup`]s, [`start`](Self::start) nodes, and
/// [`run`](Self::run) for some virtual time. Faults are made between runs.
pub struct World<const PEERS: usize> {
    /// The internet. Hosts must be the nodes', in the same order as the setups.
    pub net: Internet<Vec<u8>>,
    /// The nodes, by number.
    pub nodes: Vec<Node<PEERS>>,
    /// What arrived at hosts that are no nodes: all that an attacker on a LAN hears.
    pub captured: Vec<(Header, Vec<u8>)>,
    /// What engines did that they must not. Empty, if all is well.
    pub violations: Vec<Violation>,
    now: Instant,
    /// When which node wants to work.
    queue: BinaryHeap<Reverse<(Instant, usize)>>,
    /// The first entry of each node in the queue. Others of that node are passed over: it wanted to work later, once.
    queued: Vec<Instant>,
    hosts: HashMap<HostId, usize>,
    /// At which of several addresses a node was last reached by a remote: WireGuard answers from there.
    reached_at: HashMap<(usize, SocketAddr), IpAddr>,
    underlay: Vec<Underlay>,
    handshakes: Option<Handshakes>,
}

impl<const PEERS: usize> World<PEERS> {
    /// A world in which no daemon runs yet. All chance comes from the seed, and that of the internet from its own.
    #[must_use]
    pub fn new(net: Internet<Vec<u8>>, setups: Vec<Setup>, seed: u64) -> Self {
        let keys = Rc::new((0..setups.len()).map(|n| (key_of(n), n)).collect::<HashMap<_, _>>());
        let count = setups.len();
        let hosts = setups.iter().map(|s| (s.host, s.number)).collect();
        let nodes = setups
            .into_iter()
            .map(|setup| {
                let own = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (setup.number as u64) << 40;
                Node::new(setup, own, count, Rc::clone(&keys))
            })
            .collect();
        Self {
            net,
            nodes,
            captured: Vec::new(),
            violations: Vec::new(),
            now: START,
            queue: BinaryHeap::new(),
            queued: vec![Instant::MAX; count],
            hosts,
            reached_at: HashMap::new(),
            underlay: Vec::new(),
            handshakes: None,
        }
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Keeps a log of events and actions of a node, for [`Node::describe`]'s readers.
    pub fn keep_log(&mut self, node: usize) {
        self.nodes[node].log = Some(Vec::new());
    }

    /// What a node's log holds.
    #[must_use]
    pub fn log(&self, node: usize) -> &[(Instant, String)] {
        self.nodes[node].log.as_deref().unwrap_or_default()
    }

    /// Keeps count of handshake initiations from now on.
    pub fn watch_handshakes(&mut self) {
        self.handshakes = Some(Handshakes::new(self.nodes.len()));
    }

    /// The count of handshake initiations, if they are watched.
    #[must_use]
    pub const fn handshakes(&self) -> Option<&Handshakes> {
        self.handshakes.as_ref()
    }

    /// Starts a node's daemon.
    pub fn start(&mut self, node: usize) {
        let local = self.net.addresses(self.nodes[node].setup.host).to_vec();
        self.nodes[node].start(self.now, &local);
        self.work(node);
    }

    /// Ends a node's daemon, gently or not.
    pub fn stop(&mut self, node: usize, kill: bool) {
        let mut out = core::mem::take(&mut self.underlay);
        self.nodes[node].stop(self.now, kill, &mut out, &mut self.violations);
        self.underlay = out;
        self.flush(node);
    }

    /// Deletes a node's interface and makes it anew.
    pub fn remake_device(&mut self, node: usize) {
        self.nodes[node].remake_device(self.now);
        self.work(node);
    }

    /// A node's machine reboots: daemon, interface and all; its wall clock may be wrong then.
    pub fn reboot(&mut self, node: usize, wall_clock: Option<u64>) {
        self.stop(node, true);
        self.nodes[node].remake_device(self.now);
        if let Some(seconds) = wall_clock {
            self.nodes[node].set_wall_clock(self.now, seconds);
        }
        self.start(node);
    }

    /// A node's addresses changed: its daemon hears of it, as by rtnetlink.
    pub fn addresses_changed(&mut self, node: usize) {
        let local = self.net.addresses(self.nodes[node].setup.host).to_vec();
        let now = self.now;
        let links = self.nodes[node].lan_links(&local);
        if let Some(mesh) = &mut self.nodes[node].mesh {
            mesh.handle_local_addresses(now, &local);
            mesh.handle_lan_links(now, &links);
        }
        self.work(node);
    }

    /// The name that is configured for a node's endpoints stands for its present addresses: everybody hears of it.
    pub fn publish_endpoints(&mut self, of: usize) {
        let setup = &self.nodes[of].setup;
        let port = setup.port;
        let addresses = self.net.addresses(setup.host).iter();
        let endpoints: Vec<_> = addresses.map(|ip| SocketAddr::new(*ip, port)).collect();
        self.configure_endpoints(of, &endpoints);
    }

    /// Everybody is configured with these endpoints of a node, now and at the next start.
    pub fn configure_endpoints(&mut self, of: usize, endpoints: &[SocketAddr]) {
        for node in 0..self.nodes.len() {
            self.nodes[node].set_configured_endpoints(self.now, of, endpoints);
            self.work(node);
        }
    }

    /// A node's configuration goes to another step of the change of secrets: it is reloaded, or read at the next start.
    pub fn rotate(&mut self, node: usize, rotation: Rotation) {
        self.nodes[node].rotate(rotation);
        self.work(node);
    }

    /// Does something with a node's engine, if its daemon runs, and what the engine then wants.
    pub fn with_engine<T>(
        &mut self,
        node: usize,
        act: impl FnOnce(Instant, &mut Mesh<PEERS>) -> T,
    ) -> Option<T> {
        let done = self.nodes[node].mesh.as_mut().map(|mesh| act(self.now, mesh));
        self.work(node);
        done
    }

    /// A user on a node's machine sends an echo request to another node, through the tunnel.
    pub fn ping(&mut self, node: usize, to: usize) {
        self.nodes[node].ping(self.now, to);
        self.work(node);
    }

    /// Runs for some virtual time.
    pub fn run(&mut self, duration: Duration) {
        let end = self.now.saturating_add(duration);
        self.run_until(end);
    }

    /// Runs until the condition holds, which is looked at whenever `interval` has passed, or the time is over. Returns
    /// whether it held.
    pub fn run_while(
        &mut self,
        duration: Duration,
        interval: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> bool {
        let end = self.now.saturating_add(duration);
        while self.now < end {
            let step = self.now.saturating_add(interval).min(end);
            self.run_until(step);
            if done(self) {
                return true;
            }
        }
        false
    }

    fn run_until(&mut self, end: Instant) {
        loop {
            let packet = self.net.poll_timeout();
            let node = self.queue.peek().map(|Reverse((at, _))| *at);
            let Some(next) = packet.into_iter().chain(node).min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            if packet.is_some_and(|at| at <= self.now) {
                while let Some(delivered) = self.net.poll(self.now) {
                    if !self.hosts.contains_key(&delivered.to) {
                        self.captured.push((delivered.header, delivered.payload));
                        continue;
                    }
                    if let Some(node) = self.hosts.get(&delivered.to).copied()
                        && delivered.header.dst.port() == self.nodes[node].setup.port
                    {
                        if let Some(handshakes) = &mut self.handshakes {
                            handshakes.note_arrived(self.now, &delivered.payload);
                        }
                        let Header { src, dst, .. } = delivered.header;
                        if self.net.addresses(delivered.to).iter().filter(|a| a.is_ipv6()).count() > 1 {
                            self.reached_at.insert((node, src), dst.ip());
                        }
                        let src = self.nodes[node].with_zone(src);
                        self.nodes[node].receive(self.now, src, &delivered.payload);
                        self.work(node);
                    } else if let Some(node) = self.hosts.get(&delivered.to).copied()
                        && delivered.header.dst.port() == super::node::GOSSIP_PORT
                    {
                        let src = self.nodes[node].with_zone(delivered.header.src);
                        self.nodes[node].receive_lan(self.now, src, &delivered.payload);
                        self.work(node);
                    }
                }
            }
            while let Some(Reverse((at, node))) = self.queue.peek().copied()
                && at <= self.now
            {
                self.queue.pop();
                if self.queued[node] == at {
                    self.queued[node] = Instant::MAX;
                    self.work(node);
                }
            }
        }
        self.now = end;
    }

    /// Lets a node do everything there is to do.
    fn work(&mut self, node: usize) {
        let mut out = core::mem::take(&mut self.underlay);
        self.nodes[node].work(self.now, &mut out, &mut self.violations);
        self.underlay = out;
        self.flush(node);
        self.wake(node);
    }

    fn wake(&mut self, node: usize) {
        let Some(at) = self.nodes[node].next() else { return };
        let at = at.max(self.now + Duration::from_ticks(1));
        if at < self.queued[node] {
            self.queued[node] = at;
            self.queue.push(Reverse((at, node)));
        }
    }

    /// Sends what a node's WireGuard wants sent.
    fn flush(&mut self, node: usize) {
        let setup = &self.nodes[node].setup;
        let (host, port) = (setup.host, setup.port);
        for Underlay { lan, from, to, hops, datagram } in self.underlay.drain(..) {
            let port = if lan { super::node::GOSSIP_PORT } else { port };
            if let Some(handshakes) = self.handshakes.as_mut().filter(|_| !lan) {
                handshakes.note_sent(self.now, &datagram);
            }
            self.nodes[node].check_zone(self.now, to, &mut self.violations);
            let v4 = to.is_ipv4();
            let on_link = matches!(to.ip(), IpAddr::V6(v6) if v6.is_unicast_link_local());
            // Of several the latest, as hosts prefer their temporary IPv6 addresses (RFC 6724, rule 7).
            let preferred = self.net.addresses(host).iter().rfind(|a| a.is_ipv4() == v4).copied();
            let of_link = self.nodes[node].link_local.map(IpAddr::V6);
            let preferred = if on_link { of_link } else { preferred };
            let reached_at = self.reached_at.get(&(node, to)).copied();
            let reached_at = reached_at.filter(|ip| self.net.addresses(host).contains(ip));
            if let Some(from) = from.or(reached_at).or(preferred) {
                // Which interface it leaves by is no part of a packet.
                let mut header =
                    Header::udp(SocketAddr::new(from, port), SocketAddr::new(to.ip(), to.port()));
                header.ttl = hops.unwrap_or(header.ttl);
                self.net.send(self.now, host, header, datagram);
            }
        }
    }

    /// A hash over everything that happened. The same seeds give the same.
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.nodes.iter().fold(0, |all, node| all.rotate_left(7) ^ node.trace)
    }

    /// Ordered pairs whose engines say that they are connected.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.nodes.iter().map(Node::connected).sum()
    }

    /// Handshake initiations that left, over all nodes.
    #[must_use]
    pub fn initiations(&self) -> u64 {
        self.nodes.iter().map(|n| n.device.counters().initiations_sent).sum()
    }
}
