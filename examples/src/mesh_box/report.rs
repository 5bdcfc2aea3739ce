//! What came out: pairs and times of one run, and what several runs have in common.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use serde::Serialize;

use super::protocol::Usage;

/// Which ordered pairs had an echo, and when, counted from the start of the measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The nodes' names.
    pub names: Vec<String>,
    /// By asker, then by the asked. The diagonal is empty.
    pub pairs: Vec<Vec<Option<Duration>>>,
    /// Whether theory allows the pair at all: two endpoint-dependent NATs cannot be punched. The diagonal is false.
    pub possible: Vec<Vec<bool>>,
    /// Handshake initiations that left a node for another, NATs passed or not, by sender, then by whom they are for.
    pub initiations: Vec<Vec<u32>>,
}

impl Outcome {
    /// How many ordered pairs there are.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.names.len() * self.names.len().saturating_sub(1)
    }

    /// How many of them theory allows.
    #[must_use]
    pub fn total_possible(&self) -> usize {
        self.possible.iter().flatten().filter(|possible| **possible).count()
    }

    /// How many of them had an echo.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.pairs.iter().flatten().flatten().count()
    }

    /// Whether all that theory allows had one.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing().is_empty()
    }

    /// When this many ordered pairs had an echo; `None` if they have not. Zero pairs have it at zero.
    #[must_use]
    pub fn time_to(&self, pairs: usize) -> Option<Duration> {
        let mut times: Vec<Duration> = self.pairs.iter().flatten().flatten().copied().collect();
        times.sort_unstable();
        match pairs {
            0 => Some(Duration::ZERO),
            pairs => times.get(pairs - 1).copied(),
        }
    }

    /// When half of the possible pairs, rounded up, had an echo.
    #[must_use]
    pub fn time_to_half(&self) -> Option<Duration> {
        self.time_to(self.total_possible().div_ceil(2))
    }

    /// When the last of the possible pairs had its echo.
    #[must_use]
    pub fn time_to_all(&self) -> Option<Duration> {
        self.time_to(self.total_possible()).filter(|_| self.is_complete())
    }

    /// How many initiations each pair has cost that theory allows, both ways together.
    #[must_use]
    pub fn pair_initiations(&self) -> Vec<u32> {
        let mut pairs = Vec::new();
        for (from, row) in self.initiations.iter().enumerate() {
            for (to, sent) in row.iter().enumerate().take(from) {
                if self.possible[from][to] || self.possible[to][from] {
                    pairs.push(sent + self.initiations[to][from]);
                }
            }
        }
        pairs
    }

    /// The same where nothing is expected of the pairs of one node.
    #[must_use]
    pub fn without(mut self, node: usize) -> Self {
        for (from, row) in self.possible.iter_mut().enumerate() {
            for (to, possible) in row.iter_mut().enumerate() {
                *possible &= from != node && to != node;
            }
        }
        self
    }

    /// Possible pairs without an echo, as "a → b".
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (from, row) in self.pairs.iter().enumerate() {
            for (to, time) in row.iter().enumerate() {
                if self.possible[from][to] && time.is_none() {
                    missing.push(format!("{} → {}", self.names[from], self.names[to]));
                }
            }
        }
        missing
    }
}

/// How many handshake initiations crossed the wire for each pair of nodes, both ways and lost ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Initiations {
    /// Median.
    pub p50: u32,
    /// 99th percentile (nearest rank).
    pub p99: u32,
    /// The most that one pair needed.
    pub most: u32,
}

impl Initiations {
    /// From the numbers of all pairs.
    #[must_use]
    pub fn new(mut pairs: Vec<u32>) -> Self {
        pairs.sort_unstable();
        let rank = |percent: usize| {
            let rank = (pairs.len() * percent).div_ceil(100).max(1);
            pairs.get(rank - 1).copied().unwrap_or(0)
        };
        Self { p50: rank(50), p99: rank(99), most: rank(100) }
    }
}

/// Without a line end.
impl fmt::Display for Initiations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "initiations of a pair: median {}, 99th percentile {}, most {}",
            self.p50, self.p99, self.most
        )
    }
}

/// Something that was measured of a mesh: that it comes up, or comes back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// What: "cold start", and what else happens to it.
    pub what: &'static str,
    /// Ordered pairs with an echo.
    pub pairs_connected: usize,
    /// Ordered pairs that theory allows: two endpoint-dependent NATs cannot be punched.
    pub pairs_possible: usize,
    /// Ordered pairs.
    pub pairs_total: usize,
    /// When half of the possible ones had one, ms; `null` if never.
    pub half_ms: Option<f64>,
    /// When all possible ones had one, ms; `null` if never.
    pub all_ms: Option<f64>,
    /// The first possible pairs without one, at most 20.
    pub missing: Vec<String>,
    /// What the possible pairs have cost, until then.
    pub initiations: Initiations,
}

impl Step {
    /// Sums an outcome up.
    #[must_use]
    pub fn new(what: &'static str, outcome: &Outcome) -> Self {
        Self {
            what,
            pairs_connected: outcome.connected(),
            pairs_possible: outcome.total_possible(),
            pairs_total: outcome.total(),
            half_ms: outcome.time_to_half().map(ms),
            all_ms: outcome.time_to_all().map(ms),
            missing: outcome.missing().into_iter().take(20).collect(),
            initiations: Initiations::new(outcome.pair_initiations()),
        }
    }
}

/// Pairs and times, without a line end.
impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: Option<f64>| time.map_or_else(|| "never".into(), |ms| format!("{ms:.0} ms"));
        write!(
            formatter,
            "{}/{} pairs{}, half in {}, all in {}; {}",
            self.pairs_connected,
            self.pairs_total,
            match self.pairs_total - self.pairs_possible {
                0 => String::new(),
                impossible => format!(" ({impossible} of them cannot be punched)"),
            },
            time(self.half_ms),
            time(self.all_ms),
            self.initiations,
        )
    }
}

/// What the daemons say of the pairs that cannot be connected.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Explained {
    /// How many such ordered pairs there are.
    pub pairs: usize,
    /// For how many of them the daemon that asks has given a reason other than that it is trying.
    pub explained: usize,
    /// When the last of them was, ms after the start of the daemons; `null` if some are not.
    pub all_ms: Option<f64>,
    /// The reasons, by their ids in `status --json`, and of how many pairs each was the last one heard.
    pub reasons: BTreeMap<String, usize>,
}

/// What daemons need while nothing happens, over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Idle {
    /// How long they were watched, seconds.
    pub seconds: f64,
    /// UDP payload that a daemon sent from its gossip port, bytes per hour: mean.
    pub gossip_bytes_per_hour_mean: f64,
    /// The most that one daemon sent.
    pub gossip_bytes_per_hour_max: f64,
    /// The datagrams that it was in, per hour: mean.
    pub gossip_packets_per_hour_mean: f64,
    /// Processor time, seconds per hour: mean.
    pub cpu_seconds_per_hour_mean: f64,
    /// The most of one daemon.
    pub cpu_seconds_per_hour_max: f64,
    /// Wake-ups per second: mean.
    pub wake_ups_per_second_mean: f64,
    /// The most of one daemon.
    pub wake_ups_per_second_max: f64,
}

impl Idle {
    /// From what every daemon had used at the beginning and at the end.
    #[must_use]
    pub fn new(time: Duration, before: &[Usage], after: &[Usage]) -> Self {
        let seconds = time.as_secs_f64();
        let rates = |figure: fn(&Usage) -> u64, scale: f64| {
            let pairs = before.iter().zip(after);
            let rates: Vec<f64> = pairs
                .map(|(before, after)| figure(after).saturating_sub(figure(before)) as f64 * scale / seconds)
                .collect();
            let most = rates.iter().copied().fold(0.0, f64::max);
            (rates.iter().sum::<f64>() / rates.len().max(1) as f64, most)
        };
        let gossip = rates(|usage| usage.gossip_bytes, 3600.0);
        let cpu = rates(|usage| usage.cpu_ns, 3600.0 / 1e9);
        let wake_ups = rates(|usage| usage.wake_ups, 1.0);
        Self {
            seconds,
            gossip_bytes_per_hour_mean: gossip.0,
            gossip_bytes_per_hour_max: gossip.1,
            gossip_packets_per_hour_mean: rates(|usage| usage.gossip_packets, 3600.0).0,
            cpu_seconds_per_hour_mean: cpu.0,
            cpu_seconds_per_hour_max: cpu.1,
            wake_ups_per_second_mean: wake_ups.0,
            wake_ups_per_second_max: wake_ups.1,
        }
    }
}

/// One repetition, as `--json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// What chance came from.
    pub seed: u64,
    /// What the run is about; the times of the run are those of this step.
    #[serde(flatten)]
    pub step: Step,
    /// What came before it.
    pub before: Vec<Step>,
    /// What is said of the pairs that cannot be connected; `null` where it was not asked for, or the daemon cannot say.
    pub explained: Option<Explained>,
    /// What an idle mesh needs; `null` where that was not measured.
    pub idle: Option<Idle>,
    /// Largest resident memory of a daemon when the run ended, bytes.
    pub daemon_resident_bytes_max: u64,
    /// Largest peak of a daemon, bytes.
    pub daemon_peak_bytes_max: u64,
    /// Mean processor time of a daemon, ms.
    pub daemon_cpu_ms_mean: f64,
    /// Mean UDP payload that a daemon sent from its gossip port, bytes.
    pub gossip_bytes_mean: f64,
    /// Mean number of datagrams it was in.
    pub gossip_packets_mean: f64,
    /// Each daemon, in the order of the nodes.
    pub daemons: Vec<Usage>,
    /// Time of each pair's first echo, ms, by asker, then by the asked; `null` on the diagonal and for none.
    pub pair_ms: Vec<Vec<Option<f64>>>,
    /// The nodes' names.
    pub nodes: Vec<String>,
    /// Handshake initiations of each pair that theory allows, both ways, in no order that matters.
    pub pair_initiations: Vec<u32>,
}

impl Run {
    /// Sums a run up that ended with this step.
    #[must_use]
    pub fn new(seed: u64, what: &'static str, outcome: &Outcome, daemons: Vec<Usage>) -> Self {
        let mean = |value: fn(&Usage) -> u64| {
            let sum: u64 = daemons.iter().map(value).sum();
            sum as f64 / daemons.len().max(1) as f64
        };
        Self {
            seed,
            step: Step::new(what, outcome),
            before: Vec::new(),
            explained: None,
            idle: None,
            daemon_resident_bytes_max: daemons.iter().map(|usage| usage.resident_bytes).max().unwrap_or(0),
            daemon_peak_bytes_max: daemons.iter().map(|usage| usage.peak_bytes).max().unwrap_or(0),
            daemon_cpu_ms_mean: mean(|usage| usage.cpu_ns) / 1e6,
            gossip_bytes_mean: mean(|usage| usage.gossip_bytes),
            gossip_packets_mean: mean(|usage| usage.gossip_packets),
            daemons,
            pair_ms: outcome.pairs.iter().map(|row| row.iter().map(|time| time.map(ms)).collect()).collect(),
            nodes: outcome.names.clone(),
            pair_initiations: outcome.pair_initiations(),
        }
    }

    /// Whether in every step all possible pairs talked, and all others were explained where that was asked for.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let explained = self.explained.as_ref();
        self.before.iter().chain([&self.step]).all(|step| step.all_ms.is_some())
            && explained.is_none_or(|explained| explained.explained == explained.pairs)
    }

    /// When the last pair talked, ms, if the run is complete.
    #[must_use]
    pub fn time_ms(&self) -> Option<f64> {
        self.step.all_ms.filter(|_| self.is_complete())
    }
}

/// Pairs, times, memory, processor, gossip: one line.
impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.before.is_empty() {
            write!(formatter, "{}: ", self.step.what)?;
        }
        write!(
            formatter,
            "{}; a daemon: {:.1} MB, {:.1} ms CPU, {:.0} B of gossip in {:.0} packets",
            self.step,
            self.daemon_resident_bytes_max as f64 / 1e6,
            self.daemon_cpu_ms_mean,
            self.gossip_bytes_mean,
            self.gossip_packets_mean,
        )?;
        if let Some(explained) = &self.explained {
            let reasons: Vec<String> =
                explained.reasons.iter().map(|(id, pairs)| format!("{pairs} {id}")).collect();
            let (reasons, when) = (reasons.join(", "), explained.all_ms);
            let when = when.map_or_else(|| "never all".into(), |ms| format!("all after {ms:.0} ms"));
            write!(formatter, "; {}/{} explained, {when}: {reasons}", explained.explained, explained.pairs)?;
        }
        if let Some(idle) = &self.idle {
            write!(
                formatter,
                "; idle for {:.0} s: {:.1} kB/h of gossip in {:.0} packets/h, {:.2} s/h CPU, {:.2} wake-ups/s",
                idle.seconds,
                idle.gossip_bytes_per_hour_mean / 1e3,
                idle.gossip_packets_per_hour_mean,
                idle.cpu_seconds_per_hour_mean,
                idle.wake_ups_per_second_mean,
            )?;
        }
        let steps = self.before.iter();
        steps.filter(|step| step.all_ms.is_none()).try_for_each(|step| {
            write!(formatter, "\n    {}: {step}", step.what)?;
            step.missing.iter().try_for_each(|pair| write!(formatter, "\n    no echo: {pair}"))
        })?;
        self.step.missing.iter().try_for_each(|pair| write!(formatter, "\n    no echo: {pair}"))
    }
}

/// Percentiles over runs.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// How many runs.
    pub runs: usize,
    /// How many of them connected every pair that theory allows, in every step.
    pub complete: usize,
    /// Median time to all pairs, ms; `null` when half of the runs or more never got there.
    pub all_ms_p50: Option<f64>,
    /// 95th percentile (nearest rank) of it.
    pub all_ms_p95: Option<f64>,
    /// Median time to half of the pairs, ms.
    pub half_ms_p50: Option<f64>,
    /// 95th percentile of it.
    pub half_ms_p95: Option<f64>,
    /// What the pairs of all runs have cost.
    pub initiations: Initiations,
}

impl Summary {
    /// Over all runs; one that never got there counts as the longest.
    #[must_use]
    pub fn new(runs: &[Run]) -> Self {
        let all: Vec<_> = runs.iter().map(Run::time_ms).collect();
        let half: Vec<_> = runs.iter().map(|run| run.step.half_ms).collect();
        Self {
            runs: runs.len(),
            complete: runs.iter().filter(|run| run.is_complete()).count(),
            all_ms_p50: percentile(&all, 50),
            all_ms_p95: percentile(&all, 95),
            half_ms_p50: percentile(&half, 50),
            half_ms_p95: percentile(&half, 95),
            initiations: Initiations::new(
                runs.iter().flat_map(|run| &run.pair_initiations).copied().collect(),
            ),
        }
    }
}

/// In milliseconds, for people and JSON.
pub(super) fn ms(time: Duration) -> f64 {
    // To a hundredth: more is noise.
    (time.as_secs_f64() * 1e5).round() / 100.0
}

/// Nearest rank: the smallest value that `percent` of all are not above. `None` values are above all others.
fn percentile(values: &[Option<f64>], percent: usize) -> Option<f64> {
    let mut known: Vec<f64> = values.iter().flatten().copied().collect();
    known.sort_unstable_by(f64::total_cmp);
    let rank = (values.len() * percent).div_ceil(100).max(1);
    known.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(times: [[Option<u64>; 3]; 3]) -> Outcome {
        let pairs = times.iter().map(|row| row.iter().map(|ms| ms.map(Duration::from_millis)).collect());
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let possible = (0..3).map(|from| (0..3).map(|to| from != to).collect()).collect();
        let initiations = vec![vec![0; 3]; 3];
        Outcome { names, pairs: pairs.collect(), possible, initiations }
    }

    #[test]
    fn times_are_counted_over_ordered_pairs() {
        let whole =
            outcome([[None, Some(10), Some(20)], [Some(30), None, Some(40)], [Some(50), Some(60), None]]);
        assert!(whole.is_complete());
        assert_eq!(whole.time_to_half(), Some(Duration::from_millis(30)));
        assert_eq!(whole.time_to_all(), Some(Duration::from_millis(60)));
        let part = outcome([[None, Some(10), None], [Some(30), None, Some(40)], [None, Some(60), None]]);
        assert_eq!((part.connected(), part.total()), (4, 6));
        assert_eq!(part.time_to_all(), None);
        assert_eq!(part.missing(), ["a → c", "c → a"]);
    }

    #[test]
    fn an_impossible_pair_is_not_waited_for() {
        let mut part = outcome([[None, Some(10), None], [Some(30), None, Some(40)], [None, Some(60), None]]);
        part.possible[0][2] = false;
        assert_eq!((part.is_complete(), part.time_to_all()), (false, None));
        part.possible[2][0] = false;
        assert_eq!((part.total_possible(), part.missing()), (4, vec![]));
        assert_eq!(part.time_to_all(), Some(Duration::from_millis(60)));
    }

    #[test]
    fn initiations_are_counted_over_pairs_that_can_be() {
        let mut part = outcome([[None; 3]; 3]);
        part.initiations = vec![vec![0, 1, 9], vec![1, 0, 0], vec![9, 1, 0]];
        part.possible[0][2] = false;
        part.possible[2][0] = false;
        assert_eq!(part.pair_initiations(), [2, 1]);
        let of = |pairs: &[u32]| Initiations::new(pairs.to_vec());
        assert_eq!(of(&[]), Initiations::default());
        assert_eq!(of(&[5, 1, 1, 2]), Initiations { p50: 1, p99: 5, most: 5 });
        let mut many = vec![1; 199];
        many.push(7);
        assert_eq!(of(&many), Initiations { p50: 1, p99: 1, most: 7 });
    }

    #[test]
    fn a_run_that_never_got_there_is_the_slowest() {
        assert_eq!(percentile(&[Some(3.0), Some(1.0), Some(2.0)], 50), Some(2.0));
        assert_eq!(percentile(&[Some(3.0), Some(1.0), None], 50), Some(3.0));
        assert_eq!(percentile(&[Some(3.0), None, None], 50), None);
        assert_eq!(percentile(&[Some(3.0)], 95), Some(3.0));
        assert_eq!(percentile(&[], 50), None);
    }
}
