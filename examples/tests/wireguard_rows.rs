//! What the model of WireGuard is made after, checked against real ones: the same rows that run over the model in
//! virtual time run here in real time over two devices in namespaces, of wireguard-go and of the box's own kind; and of
//! the kernel's where `WGAUTOMESH_TEST_KERNEL` is `required`, as in the emulated machine of `.ci/kernel`.
//!
//! A row that does not hold is tried again, twice: on a busy machine a row may be late through no fault of a device.
//! One that is known not to hold is in a table below with the reason, and the test fails too when it does hold.
//!
//! Rows of more than 17 seconds run with `WGAUTOMESH_LONG=1` only, some three minutes; `WGAUTOMESH_ROW=name` runs
//! one. What was seen of each row is printed with `-- --nocapture`, the sum of it always.

use core::time::Duration;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use wgautomesh_examples::mesh_box::{BoxError, DevicePair, WireGuardKind};
use wgautomesh_examples::virtual_internet::wireguard::rows::{Row, Side, Verdict, rows};
use wgautomesh_examples::virtual_internet::wireguard::{AllowedIp, Kind, PeerChange};

/// A row that an implementation is known to break, and why that is so.
struct Exception {
    row: &'static str,
    /// How it is broken: the beginning of what the row says. Any other way is a fault.
    seen: &'static str,
    reason: &'static str,
}

const OF_WIREGUARD_GO: &[Exception] = &[Exception {
    row: "without_an_endpoint_a_ping_stamps_nothing",
    seen: "the refused packet was queued",
    reason: "behind a TUN interface it cannot refuse a packet, and queues it as any other",
}];

const OF_THE_EMBEDDED_DEVICE: &[Exception] = &[];

const OF_THE_KERNEL: &[Exception] = &[];

/// Rows that set the wall clock, where the machine lets them. It is everybody's, so they run one by one, after the others.
const OF_THE_WALL_CLOCK: [&str; 2] =
    ["a_clock_that_went_back_is_refused_but_may_respond", "the_handshake_stamp_is_wall_clock_time"];

const WIREGUARD_GO: &str = "/usr/bin/wireguard-go";
/// Longer rows run only when asked for, seconds.
const LONGEST: u32 = 17;
const TRIES: usize = 3;
/// Between the starts of two rows, so that 60 devices do not start at once.
const BETWEEN: Duration = Duration::from_millis(150);
/// The row that an emulated machine is too slow for: one initiation alone is more than the 20 ms of work that it is about.
const TOO_FAST_TO_EMULATE: &str = "initiations_too_close_together_are_dropped";
/// So many rows run at once in an emulated machine, which is slow. Otherwise all do.
const AT_ONCE_EMULATED: usize = 4;

#[test]
fn wireguard_go_does_what_the_rows_say() {
    if Path::new(WIREGUARD_GO).exists() {
        check("wireguard-go", &WireGuardKind::Program(WIREGUARD_GO.into()), OF_WIREGUARD_GO);
    } else {
        skip(&format!("{WIREGUARD_GO} is missing (apt-get install wireguard-go)"));
    }
}

#[test]
fn the_embedded_device_does_what_the_rows_say() {
    check("the embedded device", &WireGuardKind::Embedded, OF_THE_EMBEDDED_DEVICE);
}

#[test]
fn the_kernels_wireguard_does_what_the_rows_say() {
    if std::env::var("WGAUTOMESH_TEST_KERNEL").as_deref() == Ok("required") {
        check("the kernel's WireGuard", &WireGuardKind::Kernel, OF_THE_KERNEL);
    } else {
        println!(
            "skipped: the rows over the kernel's WireGuard are checked in the emulated machine of .ci/kernel"
        );
    }
}

/// What became of a row.
enum Outcome {
    /// Perhaps not at the first try: what was seen before.
    Held {
        before: Vec<String>,
    },
    /// Broken, as the table says.
    Excepted {
        reason: &'static str,
        seen: String,
    },
    /// Holds, although the table says that it does not.
    NoException,
    Broken {
        seen: Vec<String>,
    },
    /// The bench cannot run it.
    Skipped,
    TooLong,
}

fn check(name: &str, wireguard: &WireGuardKind, exceptions: &'static [Exception]) {
    if !bench_tells_wrong_from_right(wireguard) {
        return;
    }
    let long = std::env::var_os("WGAUTOMESH_LONG").is_some();
    let only = std::env::var("WGAUTOMESH_ROW").ok();
    let mut rows = rows();
    for exception in exceptions {
        assert!(rows.iter().any(|row| row.name == exception.row), "no row is named {}", exception.row);
    }
    rows.retain(|row| only.as_deref().is_none_or(|only| only == row.name));
    assert!(!rows.is_empty(), "no row is named {only:?}");
    // The longest first.
    rows.sort_by_key(|row| core::cmp::Reverse(row.seconds));

    let find = |row: &Row| exceptions.iter().find(|exception| exception.row == row.name);
    let (too_long, rows): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.seconds > LONGEST && !long && only.is_none());
    let (alone, together): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| OF_THE_WALL_CLOCK.contains(&row.name));
    let at_once = if *wireguard == WireGuardKind::Kernel { AT_ONCE_EMULATED } else { together.len() };

    let begin = Instant::now();
    let mut outcomes: Vec<_> = too_long.into_iter().map(|row| (row, Outcome::TooLong)).collect();
    let next = Mutex::new(together.into_iter());
    std::thread::scope(|scope| {
        let worker = |start| {
            std::thread::sleep(start);
            let mut outcomes = Vec::new();
            loop {
                // A statement of its own, so that the lock is not held for as long as the row takes.
                let row = next.lock().unwrap().next();
                let Some(row) = row else { return outcomes };
                outcomes.push((row, try_row(&row, wireguard, find(&row))));
            }
        };
        let start = |number| BETWEEN * u32::try_from(number).unwrap();
        let workers: Vec<_> = (0..at_once).map(|number| scope.spawn(move || worker(start(number)))).collect();
        workers.into_iter().for_each(|worker| outcomes.extend(worker.join().unwrap()));
    });
    for row in alone {
        outcomes.push((row, try_row(&row, wireguard, find(&row))));
    }
    report(name, &outcomes, begin.elapsed());
    let wrong = |outcome: &Outcome| matches!(outcome, Outcome::Broken { .. } | Outcome::NoException);
    let wrong: Vec<_> =
        outcomes.iter().filter(|(_, outcome)| wrong(outcome)).map(|(row, _)| row.name).collect();
    assert!(wrong.is_empty(), "{name} does not do what these rows say (above is what was seen): {wrong:?}");
}

fn try_row(row: &Row, wireguard: &WireGuardKind, exception: Option<&'static Exception>) -> Outcome {
    if *wireguard == WireGuardKind::Kernel && row.name == TOO_FAST_TO_EMULATE {
        return Outcome::Skipped;
    }
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let verdict = run_row(row, wireguard).unwrap_or_else(|error| Err(Verdict::Broken(error.to_string())));
        match (verdict, exception) {
            (Ok(()), None) => return Outcome::Held { before: seen },
            (Ok(()), Some(_)) => return Outcome::NoException,
            (Err(Verdict::Broken(what)), Some(exception)) if what.starts_with(exception.seen) => {
                return Outcome::Excepted { reason: exception.reason, seen: what };
            }
            (Err(Verdict::Broken(what)), _) => seen.push(what),
            (Err(_), _) => return Outcome::Skipped,
        }
    }
    Outcome::Broken { seen }
}

/// Runs a row on two devices of its own.
fn run_row(row: &Row, wireguard: &WireGuardKind) -> Result<Result<(), Verdict>, BoxError> {
    // In a machine without this repository it is somewhere else.
    let program = std::env::var_os("WGAUTOMESH_TEST_BOX").unwrap_or(env!("CARGO_BIN_EXE_box").into());
    let mut pair = DevicePair::new(Path::new(&program), wireguard)?;
    let verdict = (row.run)(&mut pair);
    match pair.into_failure() {
        Some(error) => Err(error),
        None => Ok(verdict),
    }
}

/// Runs a row that is false, before all others. True: it was found out. False: this machine has no bench.
fn bench_tells_wrong_from_right(wireguard: &WireGuardKind) -> bool {
    let row = Row {
        name: "an_initiation_is_answered_by_two_responses",
        fact: "it is not",
        seconds: 1,
        run: |bench| {
            let a = PeerChange::new(bench.key(Side::B))
                .allow(AllowedIp::host(Side::B.mesh_address()))
                .endpoint(bench.endpoint(Side::B));
            bench.configure(Side::A, &[a]);
            let b = PeerChange::new(bench.key(Side::A)).allow(AllowedIp::host(Side::A.mesh_address()));
            bench.configure(Side::B, &[b]);
            let _ = bench.ping(Side::A);
            bench.run(embassy_time::Duration::from_millis(500));
            let seen = |kind| bench.wire().iter().filter(|seen| seen.kind == kind).count();
            match (seen(Kind::Initiation), seen(Kind::Response)) {
                (1, 2) => Ok(()),
                (1, 1) => Err(Verdict::Broken("one".into())),
                other => Err(Verdict::Broken(format!("no handshake: {other:?}"))),
            }
        },
    };
    for _ in 0..TRIES {
        match run_row(&row, wireguard) {
            Err(BoxError::Closed(closed)) => {
                skip(&closed.to_string());
                return false;
            }
            Ok(Err(Verdict::Broken(seen))) if seen == "one" => return true,
            other => say(&format!("the bench is not well: {other:?}")),
        }
    }
    panic!("the bench does not work: see above");
}

/// A machine that cannot run this must not look as if it had.
fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    say(&format!("SKIPPED: the rows were not checked against a real WireGuard: {why}"));
}

/// Past the test harness, which keeps what a passing test prints to itself.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn report(name: &str, outcomes: &[(Row, Outcome)], took: Duration) {
    let mut text = format!("rows over {name}, {} s:\n", took.as_secs());
    let mut counts = [0; 4];
    for (row, outcome) in outcomes {
        let (count, line) = match outcome {
            Outcome::Held { before } if before.is_empty() => (0, None),
            Outcome::Held { before } => {
                (0, Some(format!("held at try {}, before: {}", before.len() + 1, before.join("; then "))))
            }
            Outcome::Excepted { reason, seen } => (1, Some(format!("excepted: {reason} ({seen})"))),
            Outcome::NoException => (3, Some("HOLDS, and its exception is out of date".into())),
            Outcome::Broken { seen } => (3, Some(format!("BROKEN: {}", seen.join("; then ")))),
            Outcome::Skipped => (2, Some("skipped: this bench cannot run it".into())),
            Outcome::TooLong => (2, Some(format!("skipped: {} s; WGAUTOMESH_LONG=1 runs it", row.seconds))),
        };
        counts[count] += 1;
        println!("{name}: {}: {}\n    {}", row.name, line.as_deref().unwrap_or("held"), row.fact);
        if let Some(line) = line {
            text += &format!("  {}: {line}\n", row.name);
        }
    }
    let [held, excepted, skipped, wrong] = counts;
    say(&format!("{text}  {held} held, {excepted} excepted, {skipped} skipped, {wrong} wrong"));
}
