//! Real daemons that are given endpoints by name, while the name servers of most of them are dead.

mod common;

use core::time::Duration;
use std::time::Instant;

use common::{TERM, daemon, expect_all, made, print_logs};
use wgautomesh_examples::mesh_box::{CONFIG_PATH, Mesh, MeshConfig};

/// Peers with a name that no server answers for.
const DEAD: usize = 12;
/// Far above what anything takes that waits for no look-up.
const AT_ONCE: Duration = Duration::from_secs(15);
/// A server that is not there, asked five times for thirty seconds each, which is the longest that can be set.
const RESOLVER: &str = "nameserver 192.0.2.53\noptions timeout:30 attempts:5\n";
/// How many threads of the programs in this network namespace look a name up.
const LOOK_UPS: &str = "for process in /proc/[0-9]*; do \
                        if [ \"$(readlink $process/ns/net)\" = \"$(readlink /proc/self/ns/net)\" ]; then \
                        cat $process/task/*/comm; fi; done 2>/dev/null | grep -c '^look-up$'";

fn shell(mesh: &mut Mesh, at: usize, line: &str) -> String {
    let done = mesh.node(at).run(&["/bin/sh", "-c", line]).unwrap();
    assert_eq!(done.code, Some(0), "{line}: {done:?}");
    done.stdout
}

/// An /etc of its own, where the names of the public nodes are in `hosts` and everything else is asked of a server that
/// is not there; and a configuration in which the peers with the dead names come first.
fn give_names(mesh: &mut Mesh, at: usize) {
    let endpoints: Vec<_> = mesh.nodes().iter().filter_map(|node| node.plan().endpoint).collect();
    let mut config = mesh.node(at).config().unwrap();
    let mut hosts = String::from("127.0.0.1 localhost\n");
    for (number, endpoint) in endpoints.iter().enumerate() {
        hosts += &format!("{} public{number}.example\n", endpoint.ip());
        config =
            config.replace(&endpoint.to_string(), &format!("public{number}.example:{}", endpoint.port()));
    }
    let mut sections = config.split("\n[[peers]]");
    let top = sections.next().unwrap().to_owned();
    let sections: Vec<_> = sections.collect();
    let (nodes, absent) = sections.split_at(mesh.nodes().len());
    assert_eq!(absent.len(), DEAD);
    let mut config = top;
    for (number, section) in absent.iter().enumerate() {
        config += &format!("\n[[peers]]{section}endpoint = \"dead{number}.example:33723\"\n");
    }
    nodes.iter().for_each(|section| config += &format!("\n[[peers]]{section}"));
    shell(mesh, at, "mount -t tmpfs none /etc");
    let files = [
        ("/etc/hosts", &*hosts),
        ("/etc/nsswitch.conf", "hosts: files dns\n"),
        ("/etc/resolv.conf", RESOLVER),
    ];
    for (path, text) in files.into_iter().chain([(CONFIG_PATH, &*config)]) {
        mesh.node(at).write_file(path, text).unwrap();
    }
}

#[test]
fn names_that_hang_delay_nothing_else() {
    let mut mesh = made(MeshConfig { publics: 2, homes: 1, absent: DEAD, seed: 41, ..MeshConfig::default() });
    let count = mesh.nodes().len();
    (0..count).for_each(|at| give_names(&mut mesh, at));
    mesh.start_daemons().unwrap();
    expect_all(&mut mesh, &format!("beside {DEAD} names that hang"));
    for at in 0..count {
        let hanging = shell(&mut mesh, at, LOOK_UPS);
        if hanging.trim() != DEAD.to_string() {
            print_logs(&mesh);
            panic!("{at}: {hanging} look-ups hang, {:?} after the start", mesh.elapsed());
        }
        let asked = Instant::now();
        let status = mesh.node(at).status(&daemon()).unwrap().expect("it runs");
        println!("status: {:.0?}", asked.elapsed());
        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
        let peers = status["peers"].as_array().unwrap();
        assert_eq!(peers.iter().filter(|peer| peer["state"] == "connected").count(), count - 1, "{status}");
    }
    for at in 0..count {
        let told = Instant::now();
        mesh.node(at).signal_daemon(TERM).unwrap();
        assert_eq!(mesh.node(at).wait_daemon().unwrap().code, Some(0), "{:?}", mesh.nodes()[at].log());
        println!("end: {:.0?}", told.elapsed());
        assert!(told.elapsed() < AT_ONCE, "{:?}", told.elapsed());
    }
}
