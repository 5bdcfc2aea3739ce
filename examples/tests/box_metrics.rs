//! What Prometheus gets from a real daemon: through the mesh itself, and over the control socket.

mod common;

use common::{daemon, expect_all, made, print_logs};
use wgautomesh_examples::mesh_box::{CONFIG_PATH, MeshConfig};

/// A client that every machine has. It ends when the daemon hangs up.
const FETCH: &str =
    r#"exec 3<>"/dev/tcp/$1/9666" && printf 'GET %s HTTP/1.1\r\nHost: %s\r\n\r\n' "$2" "$1" >&3 && cat <&3"#;

/// The value of a series, of which the name and some of the labels are given.
fn value(metrics: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let line =
        metrics.lines().filter(of_name).find(|line| labels.iter().all(|label| line.contains(label)))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// The address is that of the node inside the mesh, which is not there before its interface.
#[test]
fn metrics_are_fetched_through_the_mesh() {
    let mut mesh = made(MeshConfig { publics: 1, homes: 1, seed: 21, ..MeshConfig::default() });
    let (server, home) = (mesh.nodes()[0].plan().clone(), mesh.nodes()[1].plan().clone());
    let address = server.mesh.to_string();
    let config = mesh.node(0).config().unwrap();
    mesh.node(0).write_file(CONFIG_PATH, &format!("metrics_listen = \"{address}:9666\"\n{config}")).unwrap();
    mesh.node(0).delete_interface().unwrap();
    mesh.start_daemons().unwrap();
    mesh.node(0).create_interface().unwrap();
    expect_all(&mut mesh, "a node that gives metrics");

    let mut fetch = |path: &str| mesh.node(1).run(&["bash", "-c", FETCH, "fetch", &address, path]).unwrap();
    let fetched = fetch("/metrics");
    let refused = fetch("/");
    if fetched.code != Some(0) {
        print_logs(&mesh);
    }
    assert_eq!((fetched.code, &*fetched.stderr), (Some(0), ""), "{fetched:?}");
    assert!(refused.stdout.starts_with("HTTP/1.1 404 Not Found\r\n"), "{refused:?}");
    let (head, body) = fetched.stdout.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");

    let peer = format!("public_key=\"{}\"", home.private_key.public().base64());
    let of_peer = |name| value(body, name, &[&peer, "interface=\"wg0\""]);
    assert_eq!(of_peer("wgautomesh_peer_up"), Some(1.0), "{body}");
    assert!(of_peer("wgautomesh_peer_rtt_seconds").is_some_and(|rtt| rtt > 0.0 && rtt < 60.0), "{body}");
    assert!(of_peer("wgautomesh_peer_connects_total").is_some_and(|times| times >= 1.0), "{body}");
    assert!(of_peer("wgautomesh_peer_received_bytes_total").is_some_and(|bytes| bytes > 0.0), "{body}");
    assert_eq!(value(body, "wgautomesh_peers", &["state=\"connected\""]), Some(1.0), "{body}");
    assert!(
        value(body, "wgautomesh_gossip_received_packets_total", &[]).is_some_and(|packets| packets > 0.0)
    );
    assert!(
        value(body, "process_resident_memory_bytes", &[]).is_some_and(|bytes| bytes > 100_000.0),
        "{body}"
    );
    assert!(value(body, "process_cpu_seconds_total", &[]).is_some_and(|seconds| seconds > 0.0), "{body}");

    // The same metrics over the control socket, which the other node has as well.
    let families = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect()
    };
    let daemon = daemon();
    let mut asked = |at| mesh.node(at).run(&[daemon.to_str().unwrap(), "metrics", CONFIG_PATH]).unwrap();
    let own = asked(0);
    assert_eq!((own.code, &*own.stderr), (Some(0), ""), "{own:?}");
    assert_eq!(families(&own.stdout), families(body));
    let others = asked(1);
    assert_eq!(value(&others.stdout, "wgautomesh_peer_up", &[]), Some(1.0), "{others:?}");
    let elsewhere =
        mesh.node(0).run(&["bash", "-c", FETCH, "fetch", &home.mesh.to_string(), "/metrics"]).unwrap();
    assert_ne!(elsewhere.code, Some(0), "nobody listens where nobody wants it: {elsewhere:?}");
}
