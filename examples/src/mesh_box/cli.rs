//! The command line of `box`.

use core::time::Duration;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

use lexopt::prelude::*;
use serde::Serialize;

use super::daemon::find_daemon;
use super::error::BoxError;
use super::figures::{self, Order};
use super::mesh::Mesh;
use super::plan::{MeshConfig, NatKind, Underlay};
use super::report::{Run, Summary};
use super::scenario::{KEEPALIVE, Scenario, Trial};
use super::table::Table;
use super::wireguard::WireGuardKind;

const HELP: &str = "\
A real WireGuard mesh on this machine: real daemons, NATs that behave like NATs.

    cargo box [SCENARIO] [OPTIONS]
    cargo box table [OPTIONS]

What happens, once all daemons were started at one instant
    homes                  nothing else (without a scenario it is this one)
    two-per-home           the same, with --per-home 2
    edm-home               the same, with the first home behind an endpoint-dependent NAT; the daemons are asked why
                           the pairs that cannot be punched are not connected
    address-change         the first home gets another public address, and its host another one of its own
    router-address-change  the first home gets another public address, which only its router knows
    nat-reboot             the NAT of the first home forgets all mappings
    public-daemon-restart  the daemon of the first public node ends, and is started again
    public-restart         the first public node is switched off, and comes back without any state
    idle                   nothing else; what the daemons need meanwhile is measured

The mesh
    --public N             nodes with a public address (1)
    --homes N              nodes behind NATs (6)
    --per-home N           how many of them share one NAT (1)
    --nat KIND[,KIND…]     the NATs of the homes, in turn (eim-apdf): eim-eif, eim-adf, eim-apdf, edm-eif,
                           edm-adf, edm-apdf, edm, linux; after any +random (ports are not kept), +hairpin
    --absent N             more peers in every configuration that are switched off (0)
    --delay MS             from any node to any other, one way (0)
    --jitter MS            up to so much more for each packet (0)
    --loss PERCENT         of the packets between two nodes (0)
    --ipv6                 the internet carries IPv6 too
    --ipv6-only            the internet carries IPv6 only
    --mesh-ipv6            mesh addresses fd14::/64 instead of 10.14.0.0/16
    --seed N               keys, loss and ports come from it (1); each repetition takes the next one

What runs in it
    --daemon PATH          any daemon that takes wgautomesh's TOML (the one of this workspace, built now)
    --wireguard WHOSE      kernel, embedded, or the path of a program like wireguard-go
                           (the kernel's if it has one, else embedded)
    --lan                  lan_discovery = true in the configuration: the nodes of a home find each other there
    --config LINE          one more line at the top of every configuration file

Measuring
    --timeout S            give up after so long (120)
    --repeat N             make the mesh N times (1)
    --traffic              users send from the start, not only when there is a session
    --quiet                no user sends anything to or from the home that something happens to, until its mesh
                           has mended itself
    --settle S             from the moment when all pairs talk to what happens then (2; --quiet: up to 25 more)
    --wait S               how long the public node is away (10), or the idle mesh is watched (300)
    --hold S               keep it running when it is connected (0)
    --json                 one JSON object on standard output
    --verbose              what the nodes print, on standard error
    --keep-logs DIR        the same, in one file per node

table measures all scenarios, some over a longer and worse way too, and prints a table; the whole takes about an hour.
It takes --daemon, --wireguard, --timeout, --seed, --json, --repeat (20), --wait, and
    --quick                a sample: two rows, three times each
    --only NAME            rows whose names begin so: homes, two-per-home, edm-home, address-change, router-, nat-,
                           public-, idle, memory
    --out DIR              writes box.md, box.json and box.svg there

Exit code: 0 all pairs talk, 1 some do not, 2 a wrong option, 70 the mesh could not be made, 77 this machine does
not allow it (what to do is printed).
";

/// What to do with a mesh.
struct Options {
    /// The table of all figures instead of one scenario.
    table: bool,
    quick: bool,
    only: Option<String>,
    out: Option<PathBuf>,
    config: MeshConfig,
    trial: Trial,
    wireguard: Option<WireGuardKind>,
    wait: Option<Duration>,
    hold: Duration,
    repeat: Option<u64>,
    json: bool,
}

/// Runs the command line; the exit code is as `--help` says.
#[must_use]
pub fn main() -> ExitCode {
    let options = match parse() {
        Ok(Some(options)) => options,
        Ok(None) => {
            print(HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("box: {error}\n(--help shows all options)");
            return ExitCode::from(2);
        }
    };
    let done = if options.table { run_table(options) } else { run(options) };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("box: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn parse() -> Result<Option<Options>, lexopt::Error> {
    let mut parser = lexopt::Parser::from_env();
    let mut arguments = parser.raw_args()?;
    // What to do comes first: it decides what the options change.
    let word = arguments.peek().and_then(|word| word.to_str()).filter(|word| !word.starts_with('-'));
    let word = word.map(str::to_owned);
    if word.is_some() {
        arguments.next();
    }
    let table = word.as_deref() == Some("table");
    let scenario = match word.filter(|_| !table) {
        Some(word) => word.parse::<Scenario>()?,
        None => Scenario::default(),
    };
    let mut options = Options {
        table,
        quick: false,
        only: None,
        out: None,
        config: scenario.mesh(),
        trial: Trial::new(scenario),
        wireguard: None,
        wait: None,
        hold: Duration::ZERO,
        repeat: None,
        json: false,
    };
    let (config, trial) = (&mut options.config, &mut options.trial);
    while let Some(argument) = parser.next()? {
        if table && !of_table(&argument) {
            return Err(argument.unexpected());
        }
        match argument {
            Long("public") => config.publics = parser.value()?.parse()?,
            Long("homes") => config.homes = parser.value()?.parse()?,
            Long("per-home") => config.nodes_per_home = parser.value()?.parse()?,
            Long("nat") => {
                let kinds = parser.value()?.string()?;
                config.nats =
                    kinds.split(',').map(str::parse).collect::<Result<Vec<NatKind>, _>>().map_err(custom)?;
            }
            Long("absent") => config.absent = parser.value()?.parse()?,
            Long("delay") => config.delay = milliseconds(&mut parser)?,
            Long("jitter") => config.jitter = milliseconds(&mut parser)?,
            Long("loss") => {
                let percent: f64 = parser.value()?.parse()?;
                if !(0.0..=100.0).contains(&percent) {
                    return Err("--loss takes a percentage, 0 to 100".into());
                }
                config.loss = percent / 100.0;
            }
            Long("ipv6") => config.underlay = Underlay::Dual,
            Long("ipv6-only") => config.underlay = Underlay::V6,
            Long("mesh-ipv6") => config.mesh_ipv6 = true,
            Long("seed") => config.seed = parser.value()?.parse()?,
            Long("daemon") => config.daemon = Some(PathBuf::from(parser.value()?)),
            Long("wireguard") => {
                options.wireguard = Some(match parser.value()?.string()?.as_str() {
                    "kernel" => WireGuardKind::Kernel,
                    "embedded" => WireGuardKind::Embedded,
                    path => WireGuardKind::Program(path.to_owned()),
                });
            }
            Long("lan") => config.lan_discovery = true,
            Long("config") => {
                config.extra_config.push_str(&parser.value()?.string()?);
                config.extra_config.push('\n');
            }
            Long("timeout") => trial.timeout = seconds(&mut parser)?,
            Long("quiet") => (trial.quiet, trial.spread) = (true, KEEPALIVE),
            Long("settle") => trial.settle = seconds(&mut parser)?,
            Long("wait") => options.wait = Some(seconds(&mut parser)?),
            Long("repeat") => options.repeat = Some(parser.value()?.parse()?),
            Long("quick") if table => options.quick = true,
            Long("only") if table => options.only = Some(parser.value()?.string()?),
            Long("out") if table => options.out = Some(PathBuf::from(parser.value()?)),
            Long("traffic") => config.early_traffic = true,
            Long("hold") => options.hold = seconds(&mut parser)?,
            Long("json") => options.json = true,
            Long("verbose") | Short('v') => config.verbose = true,
            Long("keep-logs") => config.keep_logs = Some(PathBuf::from(parser.value()?)),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    trial.wait = options.wait.unwrap_or(trial.wait);
    Ok(Some(options))
}

/// The table decides on everything else itself.
fn of_table(argument: &lexopt::Arg<'_>) -> bool {
    matches!(
        argument,
        Long(
            "daemon"
                | "wireguard"
                | "timeout"
                | "seed"
                | "json"
                | "repeat"
                | "wait"
                | "quick"
                | "only"
                | "out"
                | "help",
        ) | Short('h')
    )
}

fn custom(error: super::plan::UnknownNat) -> lexopt::Error {
    lexopt::Error::Custom(Box::new(error))
}

fn seconds(parser: &mut lexopt::Parser) -> Result<Duration, lexopt::Error> {
    let seconds: f64 = parser.value()?.parse()?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "a time is 0 or more and not endless".into())
}

fn milliseconds(parser: &mut lexopt::Parser) -> Result<Duration, lexopt::Error> {
    Ok(seconds(parser)? / 1000)
}

/// The whole of `--json`.
#[derive(Serialize)]
struct Document<'a> {
    scenario: &'a str,
    quiet: bool,
    public: usize,
    homes: usize,
    delay_ms: f64,
    jitter_ms: f64,
    loss_percent: f64,
    wireguard: &'a WireGuardKind,
    daemon: &'a str,
    early_traffic: bool,
    summary: Summary,
    runs: &'a [Run],
}

fn run_table(options: Options) -> Result<bool, BoxError> {
    let order = Order {
        daemon: find_daemon(options.config.daemon.as_deref())?,
        wireguard: options.wireguard.unwrap_or_else(WireGuardKind::of_this_machine),
        quick: options.quick,
        only: options.only,
        repetitions: options.repeat,
        timeout: options.trial.timeout,
        wait: options.wait,
        seed: options.config.seed,
        json: options.json,
        out: options.out,
    };
    let (text, complete) = figures::run(&order, &mut |line| eprintln!("{line}"))?;
    print(&format!("{text}\n"));
    Ok(complete)
}

fn run(mut options: Options) -> Result<bool, BoxError> {
    let daemon = find_daemon(options.config.daemon.as_deref())?;
    let daemon_name = daemon.display().to_string();
    options.config.daemon = Some(daemon);
    options.config.wireguard = options.wireguard.take().unwrap_or_else(WireGuardKind::of_this_machine);

    let mut runs = Vec::new();
    let repeat = options.repeat.unwrap_or(1);
    for repetition in 0..repeat {
        let mut config = options.config.clone();
        config.seed = config.seed.wrapping_add(repetition);
        let run = one_run(&config, &options)?;
        if !options.json {
            print(&format!("{run}\n"));
        }
        runs.push(run);
    }
    let summary = Summary::new(&runs);
    let complete = summary.complete == summary.runs;
    if options.json {
        let document = Document {
            scenario: options.trial.scenario.name(),
            quiet: options.trial.quiet,
            public: options.config.publics,
            homes: options.config.homes,
            delay_ms: options.config.delay.as_secs_f64() * 1000.0,
            jitter_ms: options.config.jitter.as_secs_f64() * 1000.0,
            loss_percent: options.config.loss * 100.0,
            wireguard: &options.config.wireguard,
            daemon: &daemon_name,
            early_traffic: options.config.early_traffic,
            summary,
            runs: &runs,
        };
        let text =
            serde_json::to_string(&document).map_err(|error| BoxError::io("write JSON")(error.into()))?;
        print(&format!("{text}\n"));
    } else if repeat > 1 {
        let time = |ms: Option<f64>| ms.map_or_else(|| "never".into(), |ms| format!("{ms:.0} ms"));
        print(&format!(
            "{} of {} runs complete; all pairs: median {}, 95th percentile {}; {}\n",
            summary.complete,
            summary.runs,
            time(summary.all_ms_p50),
            time(summary.all_ms_p95),
            summary.initiations
        ));
    }
    Ok(complete)
}

/// To standard output; that nobody reads it any more is no error of ours.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

fn one_run(config: &MeshConfig, options: &Options) -> Result<Run, BoxError> {
    let live = !options.json && !config.verbose && io::stdout().is_terminal();
    let mut table = Table::new();
    let mut drawn = Duration::ZERO;
    let mut ended = Vec::new();
    let mut watch = |mesh: &mut Mesh| {
        let elapsed = mesh.elapsed();
        // Ten pictures a second; more would be work that the daemons' machine does not have. The clock of a mesh starts
        // again when something happens to it.
        if live && (drawn.is_zero() || elapsed.abs_diff(drawn) >= Duration::from_millis(100)) {
            drawn = elapsed;
            // A terminal that went away is no reason to stop.
            let _ = table.draw(&mut io::stdout(), &mesh.outcome(), elapsed);
        }
        for node in mesh.nodes() {
            let name = &node.plan().name;
            if let Some(end) = node.daemon_ended()
                && !end.expected
                && !ended.contains(name)
            {
                ended.push(name.clone());
                eprintln!("box: {name}: the daemon ended ({})", describe(end));
                for line in node.log().iter().rev().take(5).rev() {
                    eprintln!("    {line}");
                }
            }
        }
    };
    let (run, mut mesh) = options.trial.run(config, &Mutex::new(()), &mut watch)?;
    if live {
        let _ = table.draw(&mut io::stdout(), &mesh.outcome(), mesh.elapsed());
    }
    if !options.hold.is_zero() {
        let mut text = format!("holding for {} s; into a node:\n", options.hold.as_secs_f64());
        for node in mesh.nodes() {
            let enter = "nsenter --preserve-credentials -U -m -n -t";
            text.push_str(&format!("{:>8} | {enter} {}\n", node.plan().name, node.process_id()));
        }
        let _ = io::stderr().write_all(text.as_bytes());
        mesh.idle(options.hold)?;
    }
    Ok(run)
}

fn describe(end: super::node::Ended) -> String {
    match (end.code, end.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "for no known reason".into(),
    }
}
