//! Real daemons with a state file: after a power cut they meet where they were, whatever the configuration says.

mod common;

use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;

use common::{LIMIT, TERM, connected, expect_all, print_logs};
use wgautomesh_examples::mesh_box::{CONFIG_PATH, Mesh, MeshConfig};

const STATE: &str = "/run/box/state";
/// So soon after a power cut they have met.
const PROMISED: Duration = Duration::from_secs(2);
/// On a machine that lets the mesh wait for less than this, all its threads together, a time is the mesh's own doing.
const QUIET: Duration = Duration::from_millis(500);
/// So many power cuts are tried on one that does not.
const ATTEMPTS: u32 = 5;

/// How long each thread of this test and of what it has started has been ready to run, and was not.
fn waits() -> BTreeMap<String, Duration> {
    let processes: BTreeMap<u32, u32> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            // After the name, which may contain anything: the state, and the parent.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((id, parent))
        })
        .collect();
    let is_ours = |id: u32| {
        let line = core::iter::successors(Some(id), |id| processes.get(id).copied());
        line.take(processes.len() + 1).any(|id| id == std::process::id())
    };
    let threads = |id: u32| fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let ours = processes.keys().copied().filter(|id| is_ours(*id)).flat_map(threads);
    ours.filter_map(|thread| {
        // Time on a processor, time in its queue, both in nanoseconds.
        let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let waited = times.split_whitespace().nth(1)?.parse().ok()?;
        Some((thread.path().to_string_lossy().into_owned(), Duration::from_nanos(waited)))
    })
    .collect()
}

/// How long all of them together have waited since; `None` where the kernel does not count it.
fn waited_since(before: &BTreeMap<String, Duration>) -> Option<Duration> {
    let of_before = |thread: &String| before.get(thread).copied().unwrap_or_default();
    let since = waits().into_iter().map(|(thread, wait)| wait.saturating_sub(of_before(&thread)));
    (!before.is_empty()).then(|| since.sum())
}

/// All lose their sessions, and their daemons start from what they have written down. How long it takes until all pairs talk,
/// and how long they had to wait for a processor.
fn power_cut(mesh: &mut Mesh) -> (Duration, Option<Duration>) {
    for at in 0..mesh.nodes().len() {
        mesh.node(at).delete_interface().unwrap();
        mesh.node(at).create_interface().unwrap();
    }
    let before = waits();
    start_all(mesh);
    let outcome = mesh.run_until_connected(LIMIT).unwrap();
    let waited = waited_since(&before);
    let Some(took) = outcome.time_to_all() else {
        print_logs(mesh);
        panic!("after the power cut: {:?}", outcome.missing());
    };
    (took, waited)
}

/// Runs a line of shell in every node.
fn everywhere(mesh: &mut Mesh, line: &str) -> Vec<String> {
    (0..mesh.nodes().len())
        .map(|at| {
            let done = mesh.node(at).run(&["/bin/sh", "-c", line]).unwrap();
            assert_eq!(done.code, Some(0), "{line}: {done:?}");
            done.stdout
        })
        .collect()
}

fn stop_all(mesh: &mut Mesh) {
    for at in 0..mesh.nodes().len() {
        mesh.node(at).signal_daemon(TERM).unwrap();
        assert_eq!(mesh.node(at).wait_daemon().unwrap().code, Some(0), "{:?}", mesh.nodes()[at].log());
    }
}

fn start_all(mesh: &mut Mesh) {
    mesh.measure_from_now().unwrap();
    (0..mesh.nodes().len()).for_each(|at| mesh.node(at).start_daemon().unwrap());
}

#[test]
fn after_a_power_cut_nodes_with_stale_endpoints_meet_where_they_were() {
    let mut mesh = connected(MeshConfig { publics: 2, homes: 3, seed: 31, ..MeshConfig::default() });
    stop_all(&mut mesh);
    // What lies there is the original's.
    everywhere(&mut mesh, &format!("printf '\\001\\0\\0\\0\\0\\0\\0\\0,\\0\\0\\0\\0\\0\\0\\0' > {STATE}"));
    everywhere(&mut mesh, &format!("sed -i '1i persist_file = \"{STATE}\"' {CONFIG_PATH}"));
    start_all(&mut mesh);
    expect_all(&mut mesh, "with a state file");
    mesh.idle(Duration::from_secs(1)).unwrap();
    stop_all(&mut mesh);
    for state in everywhere(&mut mesh, &format!("ls -l {STATE} | cut -c 1-10; cat {STATE}")) {
        assert!(state.starts_with("-rw-------\nwgautomesh state 1\nincarnation "), "{state}");
        assert_eq!(state.matches("\npeer ").count(), 4, "{state}");
    }
    everywhere(&mut mesh, &format!("test -s {STATE}.foreign && ! test -e {STATE}.tmp"));

    // A network in which nobody is.
    everywhere(
        &mut mesh,
        &format!("sed -i 's/^endpoint = .*/endpoint = \"203.0.113.250:51820\"/' {CONFIG_PATH}"),
    );
    // That they meet in time is judged only where nothing keeps the processors from them. `simulation/memory.rs` asks the same
    // of twelve nodes in virtual time, wherever it runs.
    for attempt in 1..=ATTEMPTS {
        let (took, waited) = power_cut(&mut mesh);
        println!(
            "after power cut {attempt}: {took:.0?}; all threads together waited {waited:?} for a processor"
        );
        if took <= PROMISED {
            return;
        }
        if waited.is_some_and(|waited| waited <= QUIET) {
            print_logs(&mesh);
            panic!("{took:?} instead of {PROMISED:?}, on a quiet machine");
        }
        stop_all(&mut mesh);
    }
    println!("this machine is too busy for a judgement");
}
