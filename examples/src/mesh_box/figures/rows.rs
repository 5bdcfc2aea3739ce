//! The rows of the table: which scenario, over which way, how often, and what is wanted of it.

use core::time::Duration;

use crate::mesh_box::plan::{MeshConfig, NatKind};
use crate::mesh_box::scenario::{KEEPALIVE, Scenario, Trial};
use crate::virtual_internet::{NatConfig, PortAllocation};

/// How often a row is repeated.
const REPETITIONS: u64 = 20;
/// How often for a sample.
const SAMPLE: u64 = 3;
/// How many meshes wait beside each other where a row is mostly waiting. They measure in turn.
const BESIDE: usize = 6;

/// What is wanted: this percentile of the time until all pairs talk, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    pub(super) percentile: u8,
    pub(super) ms: u32,
}

/// One row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Short, for programs and `--only`.
    pub(super) name: &'static str,
    /// For people.
    pub(super) what: &'static str,
    pub(super) trial: Trial,
    pub(super) mesh: MeshConfig,
    pub(super) budget: Option<Budget>,
    /// After so many milliseconds daemons are to know why a pair cannot be connected.
    pub(super) explained_ms: Option<u32>,
    pub(super) repetitions: u64,
    /// How many meshes at the same time.
    pub(super) beside: usize,
}

/// A kind of row, before the way between the nodes is chosen.
struct Kind {
    name: &'static str,
    what: &'static str,
    scenario: Scenario,
    quiet: bool,
    mesh: MeshConfig,
    /// Over the four ways of [`WAYS`].
    budgets: [Option<Budget>; 4],
    /// See [`Row::explained_ms`].
    explained_ms: Option<u32>,
    /// Which of the four.
    ways: &'static [usize],
}

/// One-way delay in milliseconds and loss in percent.
const WAYS: [(u64, u32); 4] = [(0, 0), (50, 0), (0, 1), (50, 1)];
const ALL_WAYS: &[usize] = &[0, 1, 2, 3];
/// The best and the worst, where the others would take too long.
const ENDS: &[usize] = &[0, 3];

const fn p50(ms: u32) -> Option<Budget> {
    Some(Budget { percentile: 50, ms })
}

const fn p95(ms: u32) -> Option<Budget> {
    Some(Budget { percentile: 95, ms })
}

/// All rows of the whole table, or of the sample.
pub(super) fn rows(quick: bool) -> Vec<Row> {
    let kinds = kinds();
    if !quick {
        return kinds.iter().flat_map(|kind| kind.ways.iter().map(|&way| row(kind, way))).collect();
    }
    let sampled = |kind: &&Kind| ["homes-7", "address-change"].contains(&kind.name);
    let sample = |kind| Row { repetitions: SAMPLE, ..row(kind, 0) };
    kinds.iter().filter(sampled).map(sample).collect()
}

fn row(kind: &Kind, way: usize) -> Row {
    let (delay, loss) = WAYS[way];
    let mesh = MeshConfig {
        delay: Duration::from_millis(delay),
        loss: f64::from(loss) / 100.0,
        ..kind.mesh.clone()
    };
    let spread = if kind.quiet { KEEPALIVE } else { Duration::ZERO };
    let trial = Trial { quiet: kind.quiet, spread, ..Trial::new(kind.scenario) };
    // A cold start leaves nothing to wait for.
    let beside = if kind.scenario.is_cold_start() { 1 } else { BESIDE };
    let (budget, explained_ms) = (kind.budgets[way], kind.explained_ms);
    Row {
        name: kind.name,
        what: kind.what,
        trial,
        mesh,
        budget,
        explained_ms,
        repetitions: REPETITIONS,
        beside,
    }
}

fn kinds() -> Vec<Kind> {
    let mesh = MeshConfig::default;
    let kind = |name, what, scenario: Scenario| {
        let mesh = scenario.mesh();
        Kind { name, what, scenario, quiet: false, mesh, budgets: [None; 4], explained_ms: None, ways: ENDS }
    };
    let mut moving = NatConfig::port_restricted();
    moving.ports = PortAllocation::Random;
    vec![
        Kind {
            budgets: [p50(500), p95(1200), None, p95(2500)],
            ways: ALL_WAYS,
            ..kind("homes-7", "1 public + 6 homes, cold", Scenario::Homes)
        },
        Kind {
            mesh: MeshConfig { homes: 15, ..mesh() },
            ways: ALL_WAYS,
            ..kind("homes-16", "1 public + 15 homes, cold", Scenario::Homes)
        },
        Kind {
            mesh: MeshConfig { homes: 31, ..mesh() },
            budgets: [p50(1500), None, None, None],
            ..kind("homes-32", "1 public + 31 homes, cold", Scenario::Homes)
        },
        Kind {
            ways: ALL_WAYS,
            ..kind("two-per-home", "1 public + 3 homes of two nodes, cold", Scenario::TwoPerHome)
        },
        // With one observer it is a guess after two rounds; two see it at once.
        Kind {
            explained_ms: Some(5000),
            ..kind("edm-home", "1 public + 5 homes + 1 home behind EDM, cold", Scenario::EdmHome)
        },
        Kind {
            mesh: MeshConfig { publics: 2, ..mesh() },
            explained_ms: Some(3000),
            ..kind("edm-home-2", "2 public + 5 homes + 1 home behind EDM, cold", Scenario::EdmHome)
        },
        Kind {
            budgets: [p95(2000); 4],
            ways: ALL_WAYS,
            ..kind(
                "address-change",
                "one of 6 homes changes its address, its host sees it",
                Scenario::AddressChange,
            )
        },
        Kind {
            budgets: [p95(7000); 4],
            ways: ALL_WAYS,
            ..kind(
                "router-address-change",
                "the same, only its router knows, with traffic",
                Scenario::RouterAddressChange,
            )
        },
        Kind {
            quiet: true,
            budgets: [p95(30_000); 4],
            ways: ALL_WAYS,
            ..kind("router-address-change-idle", "the same, idle", Scenario::RouterAddressChange)
        },
        kind("nat-reboot", "the NAT of one of 6 homes loses its table, with traffic", Scenario::NatReboot),
        Kind { quiet: true, ..kind("nat-reboot-idle", "the same, idle", Scenario::NatReboot) },
        Kind {
            mesh: MeshConfig { nats: vec![NatKind(moving)], ..mesh() },
            ..kind(
                "nat-reboot-ports",
                "the same NAT comes back with other ports, with traffic",
                Scenario::NatReboot,
            )
        },
        kind(
            "public-daemon-restart",
            "the daemon of the only public node is away for 10 s",
            Scenario::PublicDaemonRestart,
        ),
        kind("public-restart", "the only public node is away for 10 s", Scenario::PublicRestart),
    ]
}

/// The mesh whose daemons are watched while nothing happens.
pub(super) fn idle() -> (Trial, MeshConfig) {
    // What follows a cold start is over by then.
    let trial = Trial { settle: Duration::from_secs(60), ..Trial::new(Scenario::Idle) };
    (trial, MeshConfig { homes: 15, ..MeshConfig::default() })
}

/// The mesh whose daemons have 128 peers, themselves included.
pub(super) fn many_peers() -> (Trial, MeshConfig) {
    (Trial::new(Scenario::Homes), MeshConfig { absent: 121, ..MeshConfig::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_is_there_twice() {
        let rows = rows(false);
        let mut keys: Vec<_> =
            rows.iter().map(|row| (row.name, row.mesh.delay, row.mesh.loss.to_bits())).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), rows.len());
        assert!(rows.iter().all(|row| row.repetitions == REPETITIONS));
    }

    #[test]
    fn the_sample_is_small() {
        let names: Vec<_> = rows(true).iter().map(|row| (row.name, row.repetitions)).collect();
        assert_eq!(names, [("homes-7", 3), ("address-change", 3)]);
    }
}
