//! The simulator: whole meshes in virtual time.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Instant as WallInstant,
};

use embassy_time::Duration;
use lexopt::prelude::*;
use wgautomesh_examples::{
    simulation::{
        chaos::{self, Clocks},
        cold::{Cold, Outcome, Sample, since_start},
        curve, matrix,
        parallel::in_parallel,
    },
    virtual_internet::NatConfig,
};

/// As `println!`, but a reader that has gone away (`| head`) ends the program instead of crashing it.
macro_rules! say {
    ($($arg:tt)*) => {
        if writeln!(std::io::stdout(), $($arg)*).is_err() {
            std::process::exit(0);
        }
    };
}

const HELP: &str = "\
cargo simulate [OPTIONS]             start a large mesh cold, in virtual time
cargo simulate chaos [OPTIONS]       random meshes of eight nodes with random faults
cargo simulate chaos --seed N        one of them again, with its history
cargo simulate matrix                every kind of NAT with every other: what connects, and how fast

A cold start:
  --nodes N        nodes in all [100]; up to 2500, or 10000 with --peers of at most 500
  --public N       of these, public ones [1 for each 50]
  --known N        public endpoints that each home is configured with [3]
  --peers N        peers configured per node [all]
  --nat KIND       of every home: full-cone, restricted, port-restricted, symmetric [port-restricted]
  --delay MS       one way between any two nodes [20]
  --loss PERCENT   [0]
  --talk           users send echo requests to everybody all the time
  --records        stop as soon as every node holds every record
  --limit S        give up after so much virtual time [60]
  --seed N         [1]
  --svg FILE       write a picture of the curve

Chaos:
  --seeds N        how many [500]
  --from N         the first one [0]
  --seed N         just this one, with everything that was done to it
  --clocks HOW     wall clocks: right, forward (jump forward only), any [any]

Both:
  --log NODE       what that node did and met (chaos: with --seed)
";

#[derive(Clone, Copy)]
enum Command {
    Cold,
    Chaos,
    Matrix,
}

struct Options {
    command: Command,
    cold: Cold,
    public: Option<usize>,
    peers: Option<usize>,
    limit: Duration,
    svg: Option<PathBuf>,
    seeds: u64,
    from: u64,
    seed: Option<u64>,
    clocks: Clocks,
    log: Option<usize>,
}

fn main() -> ExitCode {
    let options = match parse() {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("simulate: {error}; see --help");
            return ExitCode::from(2);
        }
    };
    // Engines with room for thousands of peers pass over the stack when they are made.
    let run = std::thread::Builder::new().stack_size(256 << 20).spawn(move || match options.command {
        Command::Cold => run_cold(options),
        Command::Chaos => run_chaos(&options),
        Command::Matrix => run_matrix(),
    });
    match run.map(std::thread::JoinHandle::join) {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(_)) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulate: no thread: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse() -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options {
        command: Command::Cold,
        cold: Cold {
            nodes: 100,
            public: 0,
            nat: NatConfig::port_restricted(),
            delay: Duration::from_millis(20),
            loss: 0.0,
            known: 3,
            peers: 0,
            talk: false,
            until_agreed: false,
            seed: 1,
            log: None,
        },
        public: None,
        peers: None,
        limit: Duration::from_secs(60),
        svg: None,
        seeds: 500,
        from: 0,
        seed: None,
        clocks: Clocks::Any,
        log: None,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(None),
            Long("nodes") => options.cold.nodes = parser.value()?.parse()?,
            Long("public") => options.public = Some(parser.value()?.parse()?),
            Long("known") => options.cold.known = parser.value()?.parse()?,
            Long("peers") => options.peers = Some(parser.value()?.parse()?),
            Long("nat") => {
                options.cold.nat = match parser.value()?.string()?.as_str() {
                    "full-cone" => NatConfig::full_cone(),
                    "restricted" => NatConfig::restricted_cone(),
                    "port-restricted" => NatConfig::port_restricted(),
                    "symmetric" => NatConfig::symmetric(),
                    other => return Err(format!("no NAT kind is called {other:?}").into()),
                }
            }
            Long("delay") => options.cold.delay = Duration::from_millis(parser.value()?.parse()?),
            Long("loss") => options.cold.loss = parser.value()?.parse::<f32>()? / 100.0,
            Long("talk") => options.cold.talk = true,
            Long("records") => options.cold.until_agreed = true,
            Long("limit") => options.limit = Duration::from_secs(parser.value()?.parse()?),
            Long("seed") => options.seed = Some(parser.value()?.parse()?),
            Long("svg") => options.svg = Some(parser.value()?.into()),
            Long("seeds") => options.seeds = parser.value()?.parse()?,
            Long("clocks") => {
                options.clocks = match parser.value()?.string()?.as_str() {
                    "right" => Clocks::Right,
                    "forward" => Clocks::Forward,
                    "any" => Clocks::Any,
                    other => return Err(format!("no clocks go {other:?}").into()),
                }
            }
            Long("from") => options.from = parser.value()?.parse()?,
            Long("log") => options.log = Some(parser.value()?.parse()?),
            Value(word) if word == "chaos" => options.command = Command::Chaos,
            Value(word) if word == "matrix" => options.command = Command::Matrix,
            _ => return Err(arg.unexpected()),
        }
    }
    let cold = &mut options.cold;
    cold.public = options.public.unwrap_or(cold.nodes.div_ceil(50)).min(cold.nodes);
    cold.peers = options.peers.unwrap_or(cold.nodes);
    cold.log = options.log.filter(|node| *node < cold.nodes);
    cold.seed = options.seed.unwrap_or(cold.seed);
    if cold.nodes < 2 || cold.nodes > 10_000 || (cold.nodes > 2500 && cold.peers > 500) {
        return Err("--nodes is 2 to 2500, or up to 10000 with --peers of at most 500".into());
    }
    if cold.public == 0 || cold.known == 0 {
        return Err("at least one node must be public, and known".into());
    }
    if cold.peers < cold.nodes && cold.most_peers() > cold.peers + 1 {
        let most = cold.most_peers() - 1;
        return Err(format!("a node would have {most} peers: fewer homes to a public node (--public)").into());
    }
    Ok(Some(options))
}

fn run_cold(options: Options) -> bool {
    let cold = options.cold;
    let began = WallInstant::now();
    let terminal = std::io::stderr().is_terminal();
    let mut told = WallInstant::now();
    let mut progress = |sample: &Sample, pairs: usize| {
        if told.elapsed().as_secs() >= 2 {
            told = WallInstant::now();
            let end = if terminal { "\r" } else { "\n" };
            let at = sample.at.as_millis();
            eprint!(
                "{at:>6} ms: {} of {pairs} pairs, {} s passed{end}",
                sample.connected,
                began.elapsed().as_secs()
            );
            // Progress that cannot be shown is no reason to stop.
            let _ = std::io::stderr().flush();
        }
    };
    let room = cold.most_peers();
    let outcome = match room {
        ..=16 => cold.run::<16>(options.limit, &mut progress),
        17..=64 => cold.run::<64>(options.limit, &mut progress),
        65..=256 => cold.run::<256>(options.limit, &mut progress),
        257..=512 => cold.run::<512>(options.limit, &mut progress),
        513..=1024 => cold.run::<1024>(options.limit, &mut progress),
        _ => cold.run::<2500>(options.limit, &mut progress),
    };
    print_log(options.log, &outcome.log);
    report(&cold, &outcome, began.elapsed());
    if let Some(path) = &options.svg {
        let title = format!(
            "{} nodes, {} of them public, {} ms one way",
            cold.nodes,
            cold.public,
            cold.delay.as_millis()
        );
        if let Err(error) = std::fs::write(path, curve::svg(&title, &outcome)) {
            eprintln!("simulate: {}: {error}", path.display());
            return false;
        }
    }
    let done = if cold.until_agreed { outcome.agreed } else { outcome.all };
    done.is_some() && outcome.violations.is_empty()
}

fn report(cold: &Cold, outcome: &Outcome, took: core::time::Duration) {
    let show = |d: Option<Duration>| d.map_or("never".to_string(), |d| format!("{} ms", d.as_millis()));
    let connected = outcome.curve.last().map_or(0, |s| s.connected);
    say!(
        "{} nodes, {} public, {} ms one way, {} % loss, seed {}",
        cold.nodes,
        cold.public,
        cold.delay.as_millis(),
        cold.loss * 100.0,
        cold.seed
    );
    say!("  ordered pairs connected   {connected} of {}", outcome.pairs);
    say!("  half of them after        {}", show(outcome.half));
    say!("  95 % of them after        {}", show(outcome.most));
    say!("  all of them after         {}", show(outcome.all));
    if cold.peers >= cold.nodes {
        say!("  all records everywhere    {}", show(outcome.agreed));
    }
    say!("  gossip sent by a node     {} B mean, {} B at most", outcome.bytes_mean, outcome.bytes_most);
    if cold.until_agreed {
        say!("  by the rules of gossip    {} B, without greetings and introductions", cold.gossip_by_rule());
    }
    let unordered = outcome.pairs as f64 / 2.0;
    say!("  initiations per pair      {:.2}", outcome.initiations as f64 / unordered.max(1.0));
    let of_pairs = &outcome.initiations_of_pairs;
    if let Some(most) = of_pairs.last() {
        let at = |percent: usize| of_pairs[(of_pairs.len() - 1) * percent / 100];
        say!("                            {} median, {} at 99 %, {most} at most", at(50), at(99));
        say!("  initiations that crossed  {}", outcome.crossed);
    }
    if cold.talk {
        say!("  echo replies to users     {}", outcome.echoes);
    }
    say!("  simulated in              {:.1} s", took.as_secs_f64());
    for violation in outcome.violations.iter().take(5) {
        say!("  VIOLATION: node {} at {} ms: {}", violation.node, violation.at.as_millis(), violation.what);
    }
}

fn run_matrix() -> bool {
    let began = WallInstant::now();
    let meetings: Vec<_> = matrix::SETTINGS.into_iter().flat_map(matrix::run).collect();
    say!("{}", matrix::table(&meetings).trim_end());
    let wrong = meetings.iter().filter(|m| !m.agrees()).count();
    say!(
        "\n{} pairs, {wrong} not as the oracle says; in {:.1} s",
        meetings.len(),
        began.elapsed().as_secs_f64()
    );
    wrong == 0
}

fn run_chaos(options: &Options) -> bool {
    if let Some(seed) = options.seed {
        return replay(options, seed);
    }
    let began = WallInstant::now();
    let mut settled = Vec::new();
    let (mut failed, mut connectable, mut hopeless) = (0, 0, 0);
    // Without users who talk, and with them: meshes, and initiations that crossed.
    let (mut meshes, mut crossed) = ([0, 0], [0, 0]);
    let verdicts = in_parallel(options.from..options.from + options.seeds, |seed| {
        let verdict = chaos::run(seed, options.clocks);
        if !verdict.faults.is_empty() {
            say!("seed {seed}: {}", verdict.faults.join("\n    "));
            say!("    again: cargo simulate chaos --seed {seed}");
        }
        verdict
    });
    for verdict in verdicts {
        connectable += verdict.connectable;
        hopeless += verdict.hopeless;
        settled.extend(verdict.settled.map(|d| d.as_millis()));
        failed += usize::from(!verdict.faults.is_empty());
        meshes[usize::from(verdict.talks)] += 1;
        crossed[usize::from(verdict.talks)] += verdict.crossed;
    }
    settled.sort_unstable();
    let at = |p: usize| settled.get(settled.len().saturating_sub(1) * p / 100).copied().unwrap_or(0);
    say!("{} seeds, {failed} failed; {connectable} pairs connectable, {hopeless} not", options.seeds);
    say!(
        "settled after the last fault: p50 {} ms, p95 {} ms, p99 {} ms, most {} ms",
        at(50),
        at(95),
        at(99),
        at(100)
    );
    let per_mesh = |n: usize| crossed[n] as f64 / f64::from(meshes[n].max(1));
    say!("handshakes crossed: {:.2} per mesh, {:.2} where users talk", per_mesh(0), per_mesh(1));
    say!("simulated in {:.1} s", began.elapsed().as_secs_f64());
    failed == 0
}

fn replay(options: &Options, seed: u64) -> bool {
    let log = options.log;
    let mut chaos = chaos::Chaos::new(seed, options.clocks);
    if let Some(node) = log {
        chaos.world.keep_log(node);
    }
    chaos.start();
    chaos.torment();
    for node in &chaos.world.nodes {
        let host = node.setup.host;
        let front: Vec<String> = chaos
            .world
            .net
            .side(host, false)
            .unwrap_or_default()
            .iter()
            .filter_map(|stage| stage.gateway)
            .map(|gateway| {
                let config = chaos.world.net.nat(gateway).config();
                format!(
                    "{gateway:?} {:?}/{:?}, ports {:?}, hairpin {}{}",
                    config.mapping,
                    config.filtering,
                    config.ports,
                    config.hairpin,
                    if config.blocks_udp { ", blocks UDP" } else { "" }
                )
            })
            .collect();
        say!("node {}: {:?} {}", node.setup.number, chaos.world.net.addresses(host), front.join(" behind "));
    }
    for line in &chaos.history {
        say!("{line}");
    }
    let settled = chaos.settle();
    print_log(log, log.map_or(&[], |node| chaos.world.log(node)));
    for node in &chaos.world.nodes {
        if let Some(status) = node.mesh.as_ref().map(|m| m.node()) {
            let (incarnation, seq) = status.record;
            say!(
                "node {}: {} connected, NAT {} and {}, record {incarnation}.{seq}, seen at {:?}",
                node.setup.number,
                status.connected,
                status.nats.v4.as_str(),
                status.nats.v6.as_str(),
                status.seen
            );
        }
    }
    let verdict = chaos::verdict(&chaos, settled);
    match verdict.settled {
        Some(after) => {
            say!("settled {} ms after the last fault; trace {:016x}", after.as_millis(), verdict.trace)
        }
        None => say!("NOT settled; trace {:016x}", verdict.trace),
    }
    for fault in &verdict.faults {
        say!("{fault}");
    }
    verdict.faults.is_empty()
}

fn print_log(node: Option<usize>, log: &[(embassy_time::Instant, String)]) {
    let Some(node) = node else { return };
    for (at, what) in log {
        let at = since_start(*at).as_millis();
        say!("{:>6}.{:03} s node {node}: {what}", at / 1000, at % 1000);
    }
}
