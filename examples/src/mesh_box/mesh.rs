//! A whole mesh: the nodes, the internet between them, and the clock that measures how long they need.

use core::time::Duration;
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::error::BoxError;
use super::initiations::Initiations;
use super::internet::LiveInternet;
use super::node::Node;
use super::plan::{MeshConfig, NodePlan, Plan, wan_addresses};
use super::probe::monotonic_ns;
use super::protocol::{Answer, Event, Pings, Probing, Request, Usage};
use super::report::Outcome;
use crate::virtual_internet::{HostId, Internet, Site};

/// A running mesh. Dropping it ends every process it started.
///
/// The thread that makes it must live as long as it does: the kernel kills the nodes when that thread ends, so that
/// nothing is left behind whatever happens to the parent.
pub struct Mesh {
    // Before the nodes, so that it stops before their interfaces go.
    internet: LiveInternet,
    nodes: Vec<Node>,
    strangers: Vec<Node>,
    early_traffic: bool,
    /// CLOCK_MONOTONIC, ns.
    zero: u64,
    /// By asker, then by the asked: when the echo came back, CLOCK_MONOTONIC, ns.
    echoes: Vec<Vec<Option<u64>>>,
    /// Which of them theory allows.
    possible: Vec<Vec<bool>>,
    /// How many of those are not there yet.
    missing: usize,
}

impl Mesh {
    /// Makes the nodes and connects them: namespaces, wan, WireGuard interface, configuration files. No daemon runs.
    ///
    /// # Errors
    /// [`BoxError::Closed`] where the machine does not allow it, [`BoxError::Plan`] for a mesh that cannot be.
    pub fn new(config: &MeshConfig) -> Result<Self, BoxError> {
        let plan = Plan::new(config).map_err(BoxError::Plan)?;
        let spawn = |plan: &NodePlan| {
            Node::spawn(plan.clone(), &config.program, config.verbose, config.keep_logs.as_deref())
        };
        let mut nodes = plan.nodes.iter().map(spawn).collect::<Result<Vec<_>, _>>()?;
        let mut strangers = plan.strangers.iter().map(spawn).collect::<Result<Vec<_>, _>>()?;
        // All at once, then wait for all.
        let setups = (0..nodes.len()).map(|at| plan.setup(config, at));
        let setups = setups.chain((0..strangers.len()).map(|at| plan.stranger_setup(config, at)));
        let mut asked = Vec::with_capacity(nodes.len() + strangers.len());
        for (node, setup) in nodes.iter_mut().chain(&mut strangers).zip(setups) {
            asked.push(node.send(Request::Setup(Box::new(setup)), None)?);
        }
        let mut wans = Vec::with_capacity(asked.len());
        for (node, id) in nodes.iter_mut().chain(&mut strangers).zip(asked) {
            match node.answer(id)? {
                (Answer::Done, Some(wan)) => wans.push((node.plan().host, wan)),
                _ => return Err(BoxError::Gone { node: node.plan().name.clone() }),
            }
        }
        let echoes = vec![vec![None; nodes.len()]; nodes.len()];
        let possible = plan.possible();
        let initiations = Initiations::new(plan.nodes.iter().map(|node| node.private_key.public()));
        let internet = LiveInternet::start(plan.internet, wans, initiations)
            .map_err(BoxError::io("start the virtual internet"))?;
        let mut mesh = Self {
            internet,
            nodes,
            strangers,
            early_traffic: config.early_traffic,
            zero: monotonic_ns(),
            echoes,
            possible,
            missing: 0,
        };
        mesh.forget_echoes();
        Ok(mesh)
    }

    /// The nodes, public ones first.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node to do something with.
    ///
    /// # Panics
    /// Where there is no such node.
    pub fn node(&mut self, at: usize) -> &mut Node {
        &mut self.nodes[at]
    }

    /// A host in the first home that is in no mesh.
    ///
    /// # Panics
    /// Where there is no such host.
    pub fn stranger(&mut self, at: usize) -> &mut Node {
        &mut self.strangers[at]
    }

    /// Starts all daemons at one instant, which is the zero of the measurement.
    ///
    /// Every daemon's process exists before, with its namespaces, and waits one step before it becomes the daemon:
    /// at the read of a pipe. Closing that pipe is the barrier. So the time a daemon takes to load and to read its
    /// configuration counts, for ours as for others, and none of them has sent anything before zero.
    ///
    /// # Errors
    /// [`BoxError::Node`] where a daemon runs already or cannot be started.
    pub fn start_daemons(&mut self) -> Result<(), BoxError> {
        let (reader, writer) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|error| BoxError::io("make a pipe")(error.into()))?;
        let mut asked = Vec::with_capacity(self.nodes.len());
        for node in &mut self.nodes {
            asked.push(node.send(Request::StartDaemon, Some(reader.as_fd()))?);
        }
        for (node, id) in self.nodes.iter_mut().zip(asked) {
            node.answer(id)?;
        }
        drop(reader);
        self.measure_from_now()?;
        self.zero = monotonic_ns();
        drop(writer);
        Ok(())
    }

    /// Forgets all echoes and starts the clock again, for what happens next to a running mesh.
    ///
    /// # Errors
    /// [`BoxError::Gone`].
    pub fn measure_from_now(&mut self) -> Result<(), BoxError> {
        self.measure_change(|_| Ok(()))
    }

    /// Changes something, and measures from the beginning of the change: users ask for echoes as soon as it is done.
    ///
    /// # Errors
    /// [`BoxError::Gone`], and what `change` says.
    pub fn measure_change(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<(), BoxError>,
    ) -> Result<(), BoxError> {
        self.stop_probing()?;
        self.zero = monotonic_ns();
        change(self)?;
        let probing = if self.early_traffic { Probing::AtOnce } else { Probing::WithSession };
        self.nodes.iter_mut().try_for_each(|node| node.probe(probing.clone()))
    }

    /// As [`Mesh::measure_change`], but nobody sends anything between `quiet` and another node until the other one has
    /// been heard from: what is measured is what the mesh does by itself.
    ///
    /// # Errors
    /// [`BoxError::Gone`], and what `change` says.
    pub fn measure_quiet_change(
        &mut self,
        quiet: usize,
        change: impl FnOnce(&mut Self) -> Result<(), BoxError>,
    ) -> Result<(), BoxError> {
        self.stop_probing()?;
        let count = self.nodes.len();
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let unheard = if at == quiet { (0..count).collect() } else { vec![quiet] };
            node.probe(Probing::WhenHeard(unheard))?;
        }
        self.zero = monotonic_ns();
        change(self)
    }

    fn stop_probing(&mut self) -> Result<(), BoxError> {
        for node in &mut self.nodes {
            // Echoes of before come no more once it has answered.
            node.stop_probing()?;
            while node.next_event().is_some() {}
        }
        self.forget_echoes();
        Ok(())
    }

    /// Waits until every ordered pair that theory allows has had an echo, or `limit` has passed since the start of the measurement.
    ///
    /// # Errors
    /// [`BoxError::Gone`].
    pub fn run_until_connected(&mut self, limit: Duration) -> Result<Outcome, BoxError> {
        self.run_until(limit, |mesh| mesh.is_connected())
    }

    /// As [`Mesh::run_until_connected`], until something else is so. It is asked after every event, and at least every
    /// 100 ms.
    ///
    /// # Errors
    /// [`BoxError::Gone`].
    pub fn run_until(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> Result<Outcome, BoxError> {
        loop {
            self.take_events();
            let elapsed = self.elapsed();
            if done(self) || elapsed >= limit {
                return Ok(self.outcome());
            }
            self.wait((limit - elapsed).min(Duration::from_millis(100)))?;
        }
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// [`BoxError::Gone`].
    pub fn idle(&mut self, time: Duration) -> Result<(), BoxError> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.wait(left.min(Duration::from_millis(100)))?;
            self.take_events();
        }
        Ok(())
    }

    /// Users on all nodes ping all others so often from now on, whatever is answered.
    ///
    /// # Errors
    /// [`BoxError::Gone`].
    pub fn start_pings(&mut self, period: Duration) -> Result<(), BoxError> {
        self.nodes.iter_mut().try_for_each(|node| node.ping(Some(period)))
    }

    /// No more pings. Waits for answers that are still on their way, at most so long. By asker, then by the asked.
    ///
    /// # Errors
    /// [`BoxError::Gone`].
    pub fn stop_pings(&mut self, patience: Duration) -> Result<Vec<Vec<Pings>>, BoxError> {
        self.nodes.iter_mut().try_for_each(|node| node.ping(None))?;
        let end = Instant::now() + patience;
        loop {
            let mut all = vec![vec![Pings::default(); self.nodes.len()]; self.nodes.len()];
            for (row, node) in all.iter_mut().zip(&mut self.nodes) {
                for (other, pings) in node.pings()? {
                    if let Some(slot) = row.get_mut(other) {
                        *slot = pings;
                    }
                }
            }
            if all.iter().flatten().all(|pings| pings.lost() == 0) || Instant::now() >= end {
                return Ok(all);
            }
            self.idle(Duration::from_millis(20))?;
        }
    }

    /// Time since the measurement began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(monotonic_ns().saturating_sub(self.zero))
    }

    /// Whether every ordered pair that theory allows has had an echo since the measurement began.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.missing == 0
    }

    /// What has been measured up to now.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let since_zero = |at: &u64| Duration::from_nanos(at.saturating_sub(self.zero));
        let pairs = self.echoes.iter().map(|row| row.iter().map(|at| at.as_ref().map(since_zero)).collect());
        let names = self.nodes.iter().map(|node| node.plan().name.clone()).collect();
        let initiations = self.internet.initiations(|seen| seen.counts());
        Outcome { names, pairs: pairs.collect(), possible: self.possible.clone(), initiations }
    }

    /// What every daemon has used, in the order of the nodes.
    ///
    /// # Errors
    /// [`BoxError::Gone`].
    pub fn usage(&mut self) -> Result<Vec<Usage>, BoxError> {
        self.nodes.iter_mut().map(Node::usage).collect()
    }

    /// Looks at or changes the virtual internet between two packets: links, blocks, reboots of NATs.
    ///
    /// # Errors
    /// [`BoxError::Gone`] if its thread has ended.
    pub fn internet<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Internet<Vec<u8>>) -> R + Send + 'static,
    ) -> Result<R, BoxError> {
        self.internet.with(act).ok_or_else(|| BoxError::Gone { node: "the virtual internet".into() })
    }

    /// Gives the host of a node what the virtual internet now says are its addresses, after a change there.
    ///
    /// # Errors
    /// See [`Node`].
    ///
    /// # Panics
    /// Where there is no such node.
    pub fn renew_wan(&mut self, at: usize) -> Result<(), BoxError> {
        let host: HostId = self.nodes[at].plan().host;
        let addresses = self.internet(move |internet| wan_addresses(internet, host))?;
        self.nodes[at].set_wan(addresses)
    }

    /// A node moves to the network of another one, and a stranger takes the address that it had there.
    ///
    /// # Errors
    /// See [`Node`]; [`BoxError::Plan`] where the other one is behind no NAT, or nobody has an IPv4 address.
    ///
    /// # Panics
    /// Where there is no such node or stranger.
    pub fn move_and_succeed(&mut self, at: usize, to: usize, stranger: usize) -> Result<(), BoxError> {
        let (host, heir) = (self.nodes[at].plan().host, self.strangers[stranger].plan().host);
        let home = self.nodes[to].plan().gateway;
        let done = self.internet(move |internet| {
            let (site, left) = (Site::Behind(home?), internet.address_v4(host)?);
            internet.move_host(host, site, true, internet.address_v6(host).is_some());
            let addresses = internet.addresses(heir).iter().copied().chain([left]).collect();
            internet.set_addresses(heir, addresses);
            Some(wan_addresses(internet, heir))
        })?;
        let of_heir =
            done.ok_or_else(|| BoxError::Plan("nowhere to move to, or no address to leave".into()))?;
        self.renew_wan(at)?;
        self.strangers[stranger].set_wan(of_heir)
    }

    /// Sleeps until a node says something, at most so long, and takes it in.
    fn wait(&mut self, limit: Duration) -> Result<(), BoxError> {
        let timeout = Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let mut fds: Vec<PollFd<'_>> =
            self.nodes.iter().map(|node| PollFd::new(node.channel(), PollFlags::IN)).collect();
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(BoxError::io("wait for the nodes")(error.into())),
        }
        let ready: Vec<usize> = (0..fds.len()).filter(|&at| !fds[at].revents().is_empty()).collect();
        for at in ready {
            self.nodes[at].receive()?;
        }
        Ok(())
    }

    fn forget_echoes(&mut self) {
        self.internet.initiations(Initiations::forget);
        self.echoes.iter_mut().flatten().for_each(|echo| *echo = None);
        self.missing = self.possible.iter().flatten().filter(|possible| **possible).count();
    }

    fn take_events(&mut self) {
        for (at, node) in self.nodes.iter_mut().enumerate() {
            while let Some(event) = node.next_event() {
                if let Event::Echo { other, at_ns } = event
                    && let Some(echo) = self.echoes[at].get_mut(other)
                {
                    let first = echo.replace(at_ns).is_none();
                    self.missing -= usize::from(first && self.possible[at][other]);
                }
            }
        }
    }
}
