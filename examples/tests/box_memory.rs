//! Real daemons with a state file: after a power cut they meet where they were, whatever the configuration says.

mod common;

use core::time::Duration;

use common::{LIMIT, TERM, connected, expect_all, print_logs};
use wgautomesh_examples::mesh_box::{CONFIG_PATH, Mesh, MeshConfig};

const STATE: &str = "/run/box/state";

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
    for at in 0..mesh.nodes().len() {
        mesh.node(at).delete_interface().unwrap();
        mesh.node(at).create_interface().unwrap();
    }
    start_all(&mut mesh);
    let outcome = mesh.run_until_connected(LIMIT).unwrap();
    let Some(took) = outcome.time_to_all() else {
        print_logs(&mesh);
        panic!("after the power cut: {:?}", outcome.missing());
    };
    println!("after the power cut: {took:.0?}");
    // Two seconds are the promise for them to meet; all pairs, on a machine that is busy with other things.
    assert!(took <= Duration::from_secs(5), "{took:?}");
}
