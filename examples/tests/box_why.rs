//! `wgautomesh why` as a person runs it, against real daemons.

mod common;

use core::time::Duration;

use common::{LIMIT, TERM, connected, daemon, made, print_logs};
use wgautomesh_examples::mesh_box::{Mesh, MeshConfig, NatKind};

const SECRET_PATH: &str = "/run/box/gossip_secret";

/// What the command prints of a node's link with another, and its exit status.
fn why(mesh: &mut Mesh, from: usize, peer: &str) -> (Option<i32>, String, String) {
    let daemon = daemon();
    let output = mesh.node(from).run(&[daemon.to_str().unwrap(), "why", peer]).unwrap();
    (output.code, output.stdout, output.stderr)
}

/// Waits until the command names this cause.
fn expect(mesh: &mut Mesh, from: usize, about: usize, cause: &str) -> serde_json::Value {
    let (daemon, peer) = (daemon(), mesh.nodes()[about].plan().mesh.to_string());
    let mut said = serde_json::Value::Null;
    let end = mesh.elapsed() + LIMIT;
    mesh.run_until(end, |mesh| {
        said = mesh.node(from).why(&daemon, &peer).unwrap().expect("it runs");
        said["cause"]["id"] == cause
    })
    .unwrap();
    if said["cause"]["id"] != cause {
        print_logs(mesh);
        panic!("{cause}: {said:#}");
    }
    let (code, text, _) = why(mesh, from, &peer);
    println!("{text}");
    assert_eq!(code, Some(0));
    assert!(text.ends_with(&format!("\nCause: {cause}\n")), "{text}");
    said
}

#[test]
fn a_pair_is_explained_while_it_works_and_after_it_has_stopped_working() {
    let mut mesh = connected(MeshConfig { homes: 2, seed: 31, ..MeshConfig::default() });
    let plan = mesh.nodes()[2].plan().clone();
    let key = plan.private_key.public().base64();
    for peer in [&plan.mesh.to_string(), &key, &key[..10]] {
        let (code, text, errors) = why(&mut mesh, 1, peer);
        assert_eq!((code, &*errors), (Some(0), ""));
        println!("{text}");
        let first = format!("{} ({}) is connected", &key[..8], plan.mesh);
        assert!(text.starts_with(&first), "{text}");
        // The other side was asked, and has said the same.
        assert!(text.contains(&format!("\n  {} about this node: connected", &key[..8])), "{text}");
    }
    let (code, text, errors) = why(&mut mesh, 1, "10.14.77.77");
    assert_eq!((code, &*text), (Some(1), ""));
    assert!(errors.contains("no peer has") && errors.contains(&plan.mesh.to_string()), "{errors}");

    mesh.node(2).signal_daemon(TERM).unwrap();
    mesh.node(2).wait_daemon().unwrap();
    expect(&mut mesh, 1, 2, "shut-down");

    // It comes back with a secret of its own.
    mesh.node(2).write_file(SECRET_PATH, "fedcba9876543210fedcba9876543210\n").unwrap();
    mesh.node(2).start_daemon().unwrap();
    let said = expect(&mut mesh, 1, 2, "other-secret");
    let others = said["asked"].as_array().unwrap();
    assert!(others.iter().any(|asked| asked["about"] == "peer" && !asked["answer"].is_null()), "{said:#}");
    expect(&mut mesh, 2, 1, "other-secret");
}

#[test]
fn nats_that_cannot_be_punched_are_named_on_both_sides() {
    let nats = vec![NatKind::EDM];
    let mut mesh = made(MeshConfig { publics: 2, homes: 2, nats, seed: 32, ..MeshConfig::default() });
    mesh.start_daemons().unwrap();
    mesh.run_until(Duration::from_secs(2), |_| false).unwrap();
    for (from, about) in [(2, 3), (3, 2)] {
        let said = expect(&mut mesh, from, about, "endpoint-dependent-nats");
        let asked = said["asked"].as_array().unwrap();
        let itself = asked.iter().find(|asked| asked["about"] == "node" && !asked["answer"].is_null());
        let itself = itself.unwrap_or_else(|| panic!("the other side says so, too: {said:#}"));
        assert_eq!(itself["answer"]["reason"]["id"], "endpoint-dependent-nat");
        assert!(itself["through"].is_string(), "{said:#}");
        assert!(said["history"].as_array().unwrap().iter().any(|entry| entry["outcome"] == "no-answer"));
    }
}
