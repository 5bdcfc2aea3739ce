//! What is done to a mesh and measured: that it comes up, and comes back after what happens to machines and networks.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde_json::Value;

use super::error::BoxError;
use super::mesh::Mesh;
use super::plan::{MeshConfig, NatKind};
use super::report::{Explained, Idle, Outcome, Run, Step, ms};

/// WireGuard's keepalive where NATs may be. What happens to an idle mesh comes at any moment between two of them.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(25);
/// How often daemons are asked for their reasons.
const ASK_PERIOD: Duration = Duration::from_millis(250);
/// Reasons that say what was not achieved, and not why: they are true of any pair at its beginning.
const UNEXPLAINED: [&str; 5] = ["connecting", "no-answer", "no-endpoint", "no-mediator", "not-introduced"];
const KILL: i32 = 9;
const TERM: i32 = 15;

/// What happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scenario {
    /// All daemons start at one instant. Every other scenario begins so too.
    #[default]
    Homes,
    /// The same with two nodes in each home.
    TwoPerHome,
    /// The same with one home whose NAT gives every remote another port; and what the daemons say of the pairs that
    /// cannot be connected.
    EdmHome,
    /// The first home gets another public address and its host another one of its own, as when it changes networks.
    AddressChange,
    /// The first home gets another public address, which only its router knows.
    RouterAddressChange,
    /// The NAT of the first home forgets all mappings.
    NatReboot,
    /// The daemon of the first public node ends, and is started again.
    PublicDaemonRestart,
    /// The first public node is switched off, and comes back without any state.
    PublicRestart,
    /// Nothing: what the daemons need when all is connected.
    Idle,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Homes,
        Self::TwoPerHome,
        Self::EdmHome,
        Self::AddressChange,
        Self::RouterAddressChange,
        Self::NatReboot,
        Self::PublicDaemonRestart,
        Self::PublicRestart,
        Self::Idle,
    ];

    /// Its word on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Homes => "homes",
            Self::TwoPerHome => "two-per-home",
            Self::EdmHome => "edm-home",
            Self::AddressChange => "address-change",
            Self::RouterAddressChange => "router-address-change",
            Self::NatReboot => "nat-reboot",
            Self::PublicDaemonRestart => "public-daemon-restart",
            Self::PublicRestart => "public-restart",
            Self::Idle => "idle",
        }
    }

    /// Whether nothing happens after the start, so that the start is what is measured.
    #[must_use]
    pub const fn is_cold_start(self) -> bool {
        matches!(self, Self::Homes | Self::TwoPerHome)
    }

    /// The mesh that it wants, where the user has not said otherwise.
    #[must_use]
    pub fn mesh(self) -> MeshConfig {
        let nodes_per_home = if self == Self::TwoPerHome { 2 } else { 1 };
        MeshConfig { nodes_per_home, ..MeshConfig::default() }
    }

    /// How long it lasts before or after what is measured, where the user has not said otherwise: see [`Trial::wait`].
    #[must_use]
    pub const fn wait(self) -> Duration {
        Duration::from_secs(if matches!(self, Self::Idle) { 300 } else { 10 })
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|scenario| scenario.name()).collect();
            format!("no scenario is called {name:?}; there are: {}", names.join(", "))
        })
    }
}

/// How a scenario is run.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What happens.
    pub scenario: Scenario,
    /// No user sends anything to or from the home that something happens to, until the mesh has mended itself.
    pub quiet: bool,
    /// Between the moment when all pairs talk and what happens then.
    pub settle: Duration,
    /// Up to so much more, drawn for each mesh.
    pub spread: Duration,
    /// How long the public node is away, or the idle mesh is watched.
    pub wait: Duration,
    /// After so long a step is given up.
    pub timeout: Duration,
}

impl Trial {
    /// With what is usual for the scenario.
    #[must_use]
    pub const fn new(scenario: Scenario) -> Self {
        Self {
            scenario,
            quiet: false,
            settle: Duration::from_secs(2),
            spread: Duration::ZERO,
            wait: scenario.wait(),
            timeout: Duration::from_secs(120),
        }
    }

    /// Makes a mesh, does it, and leaves the mesh running.
    ///
    /// Trials that run at the same time share a `turn`, and take it while they measure what another one's work would
    /// change. `watch` is called often, to show what goes on.
    ///
    /// # Errors
    /// Where the mesh could not be made or asked, see [`BoxError`]; that pairs did not talk is in the [`Run`].
    pub fn run(
        &self,
        config: &MeshConfig,
        turn: &Mutex<()>,
        watch: &mut dyn FnMut(&mut Mesh),
    ) -> Result<(Run, Mesh), BoxError> {
        let config = self.shaped(config)?;
        let mut running =
            Running { trial: self, config: &config, watch, before: Vec::new(), turn, guard: None };
        running.take_turn();
        let mut mesh = Mesh::new(&config)?;
        mesh.start_daemons()?;
        let cold = running.all_pairs(&mut mesh)?;
        if !cold.is_complete() || self.scenario.is_cold_start() {
            return running.finish(mesh, "cold start", &cold);
        }
        if self.scenario == Scenario::EdmHome {
            running.guard = None;
            let explained = running.explanations(&mut mesh)?;
            let (mut run, mesh) = running.finish(mesh, "cold start", &cold)?;
            run.explained = explained;
            return Ok((run, mesh));
        }
        running.before.push(Step::new("cold start", &cold));
        running.pause(&mut mesh, self.settle_time(config.seed))?;
        if self.is_hurried() {
            running.take_turn();
        }
        running.happen(mesh, &cold)
    }

    /// Whether what is measured after the start is a matter of milliseconds, and not of timers that run for seconds.
    fn is_hurried(&self) -> bool {
        !self.quiet && self.scenario != Scenario::RouterAddressChange
    }

    /// The mesh of this scenario: that there is a node that something can happen to.
    fn shaped(&self, config: &MeshConfig) -> Result<MeshConfig, BoxError> {
        let mut config = config.clone();
        let needed = |what: &str| Err(BoxError::Plan(format!("{} needs {what}", self.scenario)));
        match self.scenario {
            Scenario::PublicDaemonRestart | Scenario::PublicRestart if config.publics == 0 => {
                return needed("a public node");
            }
            Scenario::AddressChange | Scenario::RouterAddressChange | Scenario::NatReboot
                if config.homes == 0 =>
            {
                return needed("a home");
            }
            Scenario::EdmHome => {
                let others = config.nats.iter().copied().cycle();
                let count = config.homes.div_ceil(config.nodes_per_home.max(1));
                config.nats = [NatKind::EDM].into_iter().chain(others).take(count).collect();
            }
            _ => {}
        }
        Ok(config)
    }

    fn settle_time(&self, seed: u64) -> Duration {
        let share = f64::from(ChaCha8Rng::seed_from_u64(seed ^ 0x5e771e).next_u32()) / f64::from(u32::MAX);
        self.settle + self.spread.mul_f64(share)
    }
}

struct Running<'a> {
    trial: &'a Trial,
    config: &'a MeshConfig,
    watch: &'a mut dyn FnMut(&mut Mesh),
    before: Vec<Step>,
    turn: &'a Mutex<()>,
    guard: Option<MutexGuard<'a, ()>>,
}

impl Running<'_> {
    /// Waits until no other trial measures; none begins to before the next pause, or the end.
    fn take_turn(&mut self) {
        if self.guard.is_none() {
            // Nothing is guarded that another thread's panic could have left half done.
            self.guard = Some(self.turn.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Waits for all pairs that can talk, until there is nothing left to wait for.
    fn all_pairs(&mut self, mesh: &mut Mesh) -> Result<Outcome, BoxError> {
        mesh.run_until(self.trial.timeout, |mesh| {
            (self.watch)(mesh);
            mesh.is_connected() || mesh.nodes().iter().all(|node| node.daemon_ended().is_some())
        })
    }

    /// Lets time pass, which others may use.
    fn pause(&mut self, mesh: &mut Mesh, time: Duration) -> Result<(), BoxError> {
        self.guard = None;
        let end = mesh.elapsed() + time;
        mesh.run_until(end, |mesh| {
            (self.watch)(mesh);
            false
        })?;
        Ok(())
    }

    fn finish(self, mut mesh: Mesh, what: &'static str, outcome: &Outcome) -> Result<(Run, Mesh), BoxError> {
        let usage = mesh.usage()?;
        let mut run = Run::new(self.config.seed, what, outcome, usage);
        run.before = self.before;
        Ok((run, mesh))
    }

    /// What happens to a mesh that is connected.
    fn happen(mut self, mut mesh: Mesh, cold: &Outcome) -> Result<(Run, Mesh), BoxError> {
        // Public nodes come first.
        let home = self.config.publics;
        let what = match self.trial.scenario {
            Scenario::AddressChange => {
                self.change(&mut mesh, home, move |mesh| {
                    reboot_router(mesh, home, true)?;
                    let host = mesh.nodes()[home].plan().host;
                    mesh.internet(move |internet| internet.renumber(host))?;
                    mesh.renew_wan(home)
                })?;
                "address change"
            }
            Scenario::RouterAddressChange => {
                self.change(&mut mesh, home, move |mesh| reboot_router(mesh, home, true))?;
                "the router's address change"
            }
            Scenario::NatReboot => {
                self.change(&mut mesh, home, move |mesh| reboot_router(mesh, home, false))?;
                "NAT reboot"
            }
            Scenario::PublicDaemonRestart => {
                mesh.node(0).signal_daemon(TERM)?;
                mesh.node(0).wait_daemon()?;
                self.meanwhile(&mut mesh, None)?;
                mesh.measure_change(|mesh| mesh.node(0).start_daemon())?;
                "restart of the public daemon"
            }
            Scenario::PublicRestart => {
                let host = mesh.nodes()[0].plan().host;
                mesh.node(0).signal_daemon(KILL)?;
                mesh.node(0).wait_daemon()?;
                mesh.node(0).delete_interface()?;
                mesh.internet(move |internet| internet.set_up(host, false))?;
                self.meanwhile(&mut mesh, Some(0))?;
                mesh.node(0).create_interface()?;
                mesh.internet(move |internet| internet.set_up(host, true))?;
                mesh.measure_change(|mesh| mesh.node(0).start_daemon())?;
                "restart of the public node"
            }
            Scenario::Idle => {
                let before = mesh.usage()?;
                let from = mesh.elapsed();
                self.pause(&mut mesh, self.trial.wait)?;
                let idle = Idle::new(mesh.elapsed() - from, &before, &mesh.usage()?);
                let (mut run, mesh) = self.finish(mesh, "cold start", cold)?;
                (run.idle, run.before) = (Some(idle), Vec::new());
                return Ok((run, mesh));
            }
            Scenario::Homes | Scenario::TwoPerHome | Scenario::EdmHome => "nothing",
        };
        let outcome = self.all_pairs(&mut mesh)?;
        self.finish(mesh, what, &outcome)
    }

    fn change(
        &self,
        mesh: &mut Mesh,
        home: usize,
        change: impl FnOnce(&mut Mesh) -> Result<(), BoxError>,
    ) -> Result<(), BoxError> {
        if self.trial.quiet { mesh.measure_quiet_change(home, change) } else { mesh.measure_change(change) }
    }

    /// Somebody is away for a time. All others still talk at its end.
    fn meanwhile(&mut self, mesh: &mut Mesh, away: Option<usize>) -> Result<(), BoxError> {
        self.pause(mesh, self.trial.wait)?;
        self.take_turn();
        mesh.measure_from_now()?;
        let of_others = |mesh: &Mesh| match away {
            Some(away) => mesh.outcome().without(away),
            None => mesh.outcome(),
        };
        mesh.run_until(self.trial.timeout, |mesh| {
            (self.watch)(mesh);
            of_others(mesh).is_complete()
        })?;
        self.before.push(Step::new("while it is away", &of_others(mesh)));
        Ok(())
    }

    /// Asks the daemons of pairs that cannot be connected for the reason, until all have one.
    fn explanations(&mut self, mesh: &mut Mesh) -> Result<Option<Explained>, BoxError> {
        let Some(daemon) = &self.config.daemon else {
            return Ok(None);
        };
        let outcome = mesh.outcome();
        let keys: Vec<String> =
            mesh.nodes().iter().map(|node| node.plan().private_key.public().base64()).collect();
        let pairs = (0..keys.len()).flat_map(|from| (0..keys.len()).map(move |to| (from, to)));
        let hopeless: Vec<_> =
            pairs.filter(|&(from, to)| from != to && !outcome.possible[from][to]).collect();
        let mut reasons = BTreeMap::new();
        let mut all = None;
        loop {
            for from in 0..keys.len() {
                let mut asked = hopeless.iter().filter(|pair| pair.0 == from).peekable();
                if asked.peek().is_none() {
                    continue;
                }
                let Some(status) = mesh.node(from).status(daemon)? else {
                    return Ok(None);
                };
                for &(from, to) in asked {
                    if let Some(reason) = reason(&status, &keys[to]) {
                        reasons.insert((from, to), reason);
                    }
                }
            }
            if reasons.len() == hopeless.len() {
                all = Some(ms(mesh.elapsed()));
            }
            if all.is_some() || mesh.elapsed() >= self.trial.timeout {
                break;
            }
            self.pause(mesh, ASK_PERIOD)?;
        }
        let mut counted = BTreeMap::new();
        for reason in reasons.values() {
            *counted.entry(reason.clone()).or_default() += 1;
        }
        let (pairs, explained) = (hopeless.len(), reasons.len());
        Ok(Some(Explained { pairs, explained, all_ms: all, reasons: counted }))
    }
}

/// The router of a home loses its table, and perhaps its address.
fn reboot_router(mesh: &Mesh, home: usize, new_address: bool) -> Result<(), BoxError> {
    let plan = mesh.nodes()[home].plan();
    let Some(gateway) = plan.gateway else {
        return Err(BoxError::Plan(format!("{} is behind no router", plan.name)));
    };
    mesh.internet(move |internet| internet.reboot(gateway, new_address))
}

/// Why a daemon is not connected to a peer, if it says why.
fn reason(status: &Value, key: &str) -> Option<String> {
    let peers = status["peers"].as_array()?;
    let peer = peers.iter().find(|peer| peer["key"] == key)?;
    let id = peer["reason"]["id"].as_str()?;
    (peer["state"] != "connected" && !UNEXPLAINED.contains(&id)).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_understood() {
        for scenario in Scenario::ALL {
            assert_eq!(scenario.name().parse(), Ok(scenario));
        }
        assert!("home".parse::<Scenario>().unwrap_err().contains("edm-home"));
    }

    #[test]
    fn a_mesh_without_the_node_that_it_happens_to_is_refused() {
        let without = |publics, homes| MeshConfig { publics, homes, ..MeshConfig::default() };
        let shaped = |scenario, config| Trial::new(scenario).shaped(&config);
        assert!(shaped(Scenario::NatReboot, without(2, 0)).is_err());
        assert!(shaped(Scenario::PublicRestart, without(0, 2)).is_err());
        assert!(shaped(Scenario::Homes, without(2, 0)).is_ok());
    }

    #[test]
    fn one_home_is_endpoint_dependent_and_the_others_as_they_were() {
        let config = MeshConfig { homes: 4, ..MeshConfig::default() };
        let usual = config.nats[0];
        let shaped = Trial::new(Scenario::EdmHome).shaped(&config).unwrap();
        assert_eq!(shaped.nats, [NatKind::EDM, usual, usual, usual]);
    }

    #[test]
    fn connecting_and_no_answer_explain_nothing() {
        let status = |state: &str, id: &str| serde_json::json!({ "peers": [{ "key": "k", "state": state, "reason": { "id": id } }] });
        let id = "endpoint-dependent-nat";
        assert_eq!(reason(&status("waiting", id), "k").as_deref(), Some(id));
        assert_eq!(reason(&status("waiting", id), "other"), None);
        assert_eq!(
            reason(&status("connecting", id), "k").as_deref(),
            Some(id),
            "known while it is tried once more"
        );
        assert_eq!(reason(&status("connecting", "connecting"), "k"), None);
        assert_eq!(reason(&status("connected", id), "k"), None);
        assert_eq!(reason(&status("waiting", "no-answer"), "k"), None);
        assert_eq!(reason(&serde_json::json!({}), "k"), None);
    }
}
