//! `cargo box table`: all figures of the box with one command, as a table for people, as JSON and as a picture.

mod machine;
mod render;
mod rows;

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use self::machine::Machine;
use self::rows::{Budget, Row};
use super::error::BoxError;
use super::plan::MeshConfig;
use super::report::{Idle, Run, Summary};
use super::scenario::Trial;
use super::wireguard::WireGuardKind;

/// Which part of the table, of what, and where to.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) daemon: PathBuf,
    pub(super) wireguard: WireGuardKind,
    /// A sample for machines that are busy with other things.
    pub(super) quick: bool,
    /// Rows whose name begins so.
    pub(super) only: Option<String>,
    pub(super) repetitions: Option<u64>,
    /// After so long a step is given up.
    pub(super) timeout: Duration,
    /// How long the idle mesh is watched.
    pub(super) wait: Option<Duration>,
    pub(super) seed: u64,
    pub(super) json: bool,
    /// Where `box.md`, `box.json` and `box.svg` are written; none of them otherwise.
    pub(super) out: Option<PathBuf>,
}

/// The whole of `box.json`.
#[derive(Debug, Serialize)]
struct Document {
    machine: Machine,
    /// How long it all took, seconds.
    seconds: f64,
    rows: Vec<Measured>,
    idle: Option<Resting>,
    memory: Vec<Memory>,
}

/// A row with its figures.
#[derive(Debug, Serialize)]
struct Measured {
    name: &'static str,
    what: &'static str,
    nodes: usize,
    delay_ms: f64,
    loss_percent: f64,
    summary: Summary,
    budget_percentile: Option<u8>,
    budget_ms: Option<u32>,
    /// It is a cold start: what a pair costs in handshake initiations is told of these.
    cold: bool,
    /// Time to all pairs of each run; `null` for one that did not come so far.
    all_ms: Vec<Option<f64>>,
    /// Of the runs where daemons were asked for it: the reasons given for pairs that cannot be connected, and when the
    /// last pair had one.
    explained_ms: Vec<Option<f64>>,
    explained_budget_ms: Option<u32>,
    reasons: Vec<String>,
    /// What was wrong, of the first runs that were not complete.
    failures: Vec<String>,
    /// Share of all ordered pairs of all runs that talk, over time in seconds: for the picture.
    #[serde(skip)]
    curve: Vec<(f64, f64)>,
}

/// What the daemons of an idle mesh need.
#[derive(Debug, Serialize)]
struct Resting {
    nodes: usize,
    #[serde(flatten)]
    idle: Idle,
}

/// Resident memory, the largest of all daemons of a mesh.
#[derive(Debug, Serialize)]
struct Memory {
    peers: usize,
    resident_bytes: u64,
}

/// Makes the table. Returns it for standard output, and whether every run was complete.
pub(super) fn run(order: &Order, say: &mut dyn FnMut(&str)) -> Result<(String, bool), BoxError> {
    if let Some(directory) = &order.out {
        // Before the hour, not after it.
        std::fs::create_dir_all(directory).map_err(BoxError::io("make the folder for the results"))?;
    }
    let began = Instant::now();
    let machine = Machine::new(&order.daemon, &order.wireguard);
    let wanted = |name: &str| order.only.as_deref().is_none_or(|only| name.starts_with(only));
    let mut document = Document { machine, seconds: 0.0, rows: Vec::new(), idle: None, memory: Vec::new() };
    let mut complete = true;
    for row in rows::rows(order.quick).iter().filter(|row| wanted(row.name)) {
        let started = Instant::now();
        let measured = measure(order, row)?;
        complete &= measured.summary.complete == measured.summary.runs;
        say(&format!("{} ({:.0} s)", render::line(&measured), started.elapsed().as_secs_f64()));
        for failure in &measured.failures {
            say(failure);
        }
        document.rows.push(measured);
    }
    if !order.quick && wanted("idle") {
        let (trial, mesh) = rows::idle();
        let run = single(order, &trial, mesh)?;
        complete &= run.is_complete();
        document
            .memory
            .push(Memory { peers: run.nodes.len(), resident_bytes: run.daemon_resident_bytes_max });
        document.idle = run.idle.map(|idle| Resting { nodes: run.nodes.len(), idle });
        say(&run.to_string());
    }
    if !order.quick && wanted("memory") {
        let (trial, mesh) = rows::many_peers();
        let peers = mesh.publics + mesh.homes + mesh.absent;
        let run = single(order, &trial, mesh)?;
        complete &= run.is_complete();
        document.memory.push(Memory { peers, resident_bytes: run.daemon_resident_bytes_max });
        say(&run.to_string());
    }
    document.seconds = began.elapsed().as_secs_f64();
    let json =
        serde_json::to_string_pretty(&document).map_err(|error| BoxError::io("write JSON")(error.into()))?;
    let markdown = render::markdown(&document);
    if let Some(directory) = &order.out {
        write(
            directory,
            &[("box.json", &json), ("box.md", &markdown), ("box.svg", &render::picture(&document))],
        )
        .map_err(BoxError::io("write the results"))?;
    }
    Ok((if order.json { json } else { markdown }, complete))
}

fn write(directory: &Path, files: &[(&str, &str)]) -> std::io::Result<()> {
    files
        .iter()
        .try_for_each(|(name, text)| std::fs::write(directory.join(name), format!("{}\n", text.trim_end())))
}

/// One mesh that is measured alone.
fn single(order: &Order, trial: &Trial, mesh: MeshConfig) -> Result<Run, BoxError> {
    let trial = Trial { timeout: order.timeout, wait: order.wait.unwrap_or(trial.wait), ..trial.clone() };
    let (run, _) = trial.run(&config(order, mesh, 0), &Mutex::new(()), &mut |_| ())?;
    Ok(run)
}

fn config(order: &Order, mesh: MeshConfig, repetition: u64) -> MeshConfig {
    MeshConfig {
        daemon: Some(order.daemon.clone()),
        wireguard: order.wireguard.clone(),
        seed: order.seed.wrapping_add(repetition),
        ..mesh
    }
}

/// All repetitions of a row, some of them at the same time.
fn measure(order: &Order, row: &Row) -> Result<Measured, BoxError> {
    let repetitions = order.repetitions.unwrap_or(row.repetitions);
    let trial = Trial { timeout: order.timeout, ..row.trial.clone() };
    let (next, turn, done) = (AtomicU64::new(0), Mutex::new(()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        // A mesh has to stay with the thread that made it.
        for _ in 0..row.beside {
            scope.spawn(|| {
                loop {
                    let repetition = next.fetch_add(1, Ordering::Relaxed);
                    if repetition >= repetitions {
                        return;
                    }
                    let config = config(order, row.mesh.clone(), repetition);
                    let run = trial.run(&config, &turn, &mut |_| ()).map(|(run, _)| run);
                    if run.is_err() {
                        // It would fail again.
                        next.store(repetitions, Ordering::Relaxed);
                    }
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(run);
                }
            });
        }
    });
    let runs = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut runs = runs.into_iter().collect::<Result<Vec<Run>, BoxError>>()?;
    runs.sort_unstable_by_key(|run| run.seed);
    Ok(Measured::new(row, &runs))
}

impl Measured {
    fn new(row: &Row, runs: &[Run]) -> Self {
        let explained = || runs.iter().filter_map(|run| run.explained.as_ref());
        let mut reasons: Vec<String> =
            explained().flat_map(|explained| explained.reasons.keys().cloned()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        let failed = runs.iter().filter(|run| !run.is_complete());
        Self {
            name: row.name,
            what: row.what,
            nodes: row.mesh.publics + row.mesh.homes,
            delay_ms: row.mesh.delay.as_secs_f64() * 1e3,
            loss_percent: row.mesh.loss * 100.0,
            summary: Summary::new(runs),
            budget_percentile: row.budget.map(|Budget { percentile, .. }| percentile),
            budget_ms: row.budget.map(|Budget { ms, .. }| ms),
            cold: row.trial.scenario.is_cold_start(),
            all_ms: runs.iter().map(Run::time_ms).collect(),
            explained_ms: explained().map(|explained| explained.all_ms).collect(),
            explained_budget_ms: row.explained_ms,
            reasons,
            failures: failed.take(3).map(|run| format!("    seed {}: {run}", run.seed)).collect(),
            curve: curve(runs),
        }
    }
}

/// The pairs of all runs together: after how many seconds which share of those that can talk does.
fn curve(runs: &[Run]) -> Vec<(f64, f64)> {
    let mut times: Vec<f64> =
        runs.iter().flat_map(|run| run.pair_ms.iter().flatten().flatten()).copied().collect();
    times.sort_unstable_by(f64::total_cmp);
    let possible: usize = runs.iter().map(|run| run.step.pairs_possible).sum();
    let share = |count: usize| (count + 1) as f64 / possible.max(1) as f64;
    times.iter().enumerate().map(|(at, ms)| (ms / 1e3, share(at).min(1.0))).collect()
}
