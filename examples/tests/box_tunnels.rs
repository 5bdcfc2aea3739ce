//! The box without a daemon: peers and endpoints are given by hand, so that what fails here is the box.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::path::PathBuf;

use wgautomesh_examples::mesh_box::{
    BoxError, LISTEN_PORT, Mesh, MeshConfig, PeerUpdate, Underlay, WireGuardKind,
};

/// A mesh, or the loud end of the test: a machine that cannot run it must not look as if it had.
fn mesh(config: MeshConfig) -> Mesh {
    let config = MeshConfig { program: PathBuf::from(env!("CARGO_BIN_EXE_box")), ..config };
    match Mesh::new(&config) {
        Ok(mesh) => mesh,
        Err(BoxError::Closed(closed)) => panic!("this machine cannot run the box: {closed}"),
        Err(error) => panic!("{error}"),
    }
}

/// Gives every node all others as peers, with the endpoints that they have on the virtual internet: NATs keep ports.
fn connect(mesh: &mut Mesh) {
    let plans: Vec<_> = mesh.nodes().iter().map(|node| node.plan().clone()).collect();
    let outside = |plan: &wgautomesh_examples::mesh_box::NodePlan| {
        let (host, gateway) = (plan.host, plan.gateway);
        let address = mesh.internet(move |internet| match gateway {
            // A home without IPv4 has no NAT to be behind: its own address is what others see.
            Some(gateway) if internet.address_v4(host).is_some() => {
                IpAddr::V4(internet.nat(gateway).outside())
            }
            _ => internet.addresses(host)[0],
        });
        SocketAddr::new(address.unwrap(), LISTEN_PORT)
    };
    let endpoints: Vec<SocketAddr> = plans.iter().map(outside).collect();
    for at in 0..plans.len() {
        let mut peers = Vec::new();
        for other in (0..plans.len()).filter(|&other| other != at) {
            let mut peer = PeerUpdate::new(plans[other].private_key.public(), plans[other].mesh);
            peer.endpoint = Some(endpoints[other]);
            peer.keepalive = Some(25);
            peers.push(peer);
        }
        mesh.node(at).update_peers(peers).unwrap();
    }
}

fn all_pairs_talk(config: MeshConfig) {
    let mut mesh = mesh(config);
    mesh.measure_from_now().unwrap();
    connect(&mut mesh);
    let outcome = mesh.run_until_connected(Duration::from_secs(60)).unwrap();
    let peers: Vec<_> = (0..mesh.nodes().len()).map(|at| mesh.node(at).peers()).collect();
    assert!(outcome.is_complete(), "{:?}\n{peers:#?}", outcome.missing());
    println!("{:?}", outcome.pairs);
}

#[test]
fn homes_and_a_public_node_talk_through_nats() {
    all_pairs_talk(MeshConfig { homes: 2, ..MeshConfig::default() });
}

#[test]
fn the_same_with_an_ipv6_mesh_over_ipv6() {
    let underlay = Underlay::V6;
    all_pairs_talk(MeshConfig { homes: 2, underlay, mesh_ipv6: true, ..MeshConfig::default() });
}

#[test]
fn the_same_over_wireguard_go() {
    let program = "/usr/bin/wireguard-go";
    if !std::path::Path::new(program).exists() {
        assert!(std::env::var_os("CI").is_none(), "{program} is missing; CI installs it");
        eprintln!("SKIPPED: {program} is missing (apt-get install wireguard-go)");
        return;
    }
    let wireguard = WireGuardKind::Program(program.into());
    all_pairs_talk(MeshConfig { homes: 2, wireguard, ..MeshConfig::default() });
}

#[test]
fn a_host_that_gets_another_address_is_found_again_by_roaming() {
    let mut mesh = mesh(MeshConfig { homes: 1, ..MeshConfig::default() });
    mesh.measure_from_now().unwrap();
    connect(&mut mesh);
    assert!(mesh.run_until_connected(Duration::from_secs(60)).unwrap().is_complete());

    let home = mesh.nodes()[1].plan().host;
    let addresses =
        move |mesh: &Mesh| mesh.internet(move |internet| internet.addresses(home).to_vec()).unwrap();
    let before = addresses(&mesh);
    mesh.internet(move |internet| internet.renumber(home)).unwrap();
    assert_ne!(addresses(&mesh), before);
    mesh.renew_wan(1).unwrap();
    mesh.measure_from_now().unwrap();
    let outcome = mesh.run_until_connected(Duration::from_secs(60)).unwrap();
    assert!(outcome.is_complete(), "{:?}", outcome.missing());
}

#[test]
fn programs_run_inside_a_node_and_files_below_run_are_its_own() {
    let mut mesh = mesh(MeshConfig { publics: 2, homes: 0, ..MeshConfig::default() });
    mesh.node(0).write_file("/run/box/note", "hello").unwrap();
    let read = mesh.node(0).run(&["/bin/cat", "/run/box/note"]).unwrap();
    assert_eq!((read.code, read.stdout.as_str()), (Some(0), "hello"));
    let read = mesh.node(1).run(&["/bin/cat", "/run/box/note"]).unwrap();
    assert_eq!((read.code, read.stdout.as_str()), (Some(1), ""));
    assert!(mesh.node(1).run(&["/no/such/program"]).unwrap().code.is_some_and(|code| code != 0));
    assert!(!std::path::Path::new("/run/box/note").exists());
    // The daemon's configuration lists every node, with endpoints of the public ones.
    let config = mesh.node(0).config().unwrap();
    assert_eq!(config.matches("[[peers]]").count(), 2);
    assert_eq!(config.matches("endpoint = \"203.0.113.").count(), 2, "{config}");
}

#[test]
fn an_interface_can_be_deleted_and_made_again() {
    let mut mesh = mesh(MeshConfig { publics: 2, homes: 0, ..MeshConfig::default() });
    connect(&mut mesh);
    assert_eq!(mesh.node(0).peers().unwrap().len(), 1);
    mesh.node(0).delete_interface().unwrap();
    assert!(matches!(mesh.node(0).peers(), Err(BoxError::Node { .. })));
    mesh.node(0).create_interface().unwrap();
    assert_eq!(mesh.node(0).peers().unwrap(), []);
}
