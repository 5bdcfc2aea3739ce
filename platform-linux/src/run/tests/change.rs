//! Going over to another configuration while the loop runs.

use super::*;
use crate::{
    config::{Config, Difference, configuration},
    run::{configure, daemon::Fresh},
};

const TOP: &str = "interface = \"wg0\"\ngossip_secret = \"a secret that is long enough\"\n";

/// A configuration with these lines at the top, and with these peers.
fn config(top: &str, peers: &[u8]) -> Config {
    let mut text = format!("{TOP}{top}\n");
    for n in peers {
        let key = PublicKey::from_bytes([*n; 32]);
        text += &format!("[[peers]]\npubkey = \"{key}\"\naddress = \"10.9.0.{n}\"\nname = \"peer {n}\"\n");
    }
    configuration(&text)
}

fn started<'m>(mesh: &'m mut Mesh<4>, world: &Shared, config: &Config) -> TestDaemon<'m> {
    configure(mesh, config, at(0)).expect("there is room");
    let mut daemon = built(mesh, world, Adopted::new(config), Names::new(config));
    world.set_interface(Some(interface(5)));
    daemon.start(at(0)).expect("a start");
    pass(&mut daemon, at(1_000));
    daemon
}

fn change(daemon: &mut TestDaemon<'_>, world: &Shared, now: Instant, from: &Config, to: &Config) {
    let fresh = Fresh { lan: Box::new(world.clone()), mapper: None };
    daemon.change(now, &Difference::between(from, to), to, fresh);
    pass(daemon, now + wgautomesh_core::Duration::from_millis(500));
}

/// Who is in the mesh, by the last part of the address, with the name.
fn meshed(daemon: &TestDaemon<'_>) -> Vec<(String, Option<String>)> {
    let status = daemon.status(at(1));
    let last = |address: IpAddr| address.to_string().rsplit('.').next().unwrap_or_default().to_owned();
    status.peers.into_iter().map(|peer| (last(peer.address), peer.name)).collect()
}

fn numbers(daemon: &TestDaemon<'_>) -> Vec<String> {
    meshed(daemon).into_iter().map(|(number, _)| number).collect()
}

/// Who is on the interface.
fn on_interface(world: &Shared) -> Vec<u8> {
    let mut numbers: Vec<u8> =
        world.0.borrow().wireguard.peers.iter().map(|peer| peer.config.public_key.0[0]).collect();
    numbers.sort_unstable();
    numbers
}

/// What was done to a peer of the interface since this was asked last.
fn done_to(world: &Shared, n: u8) -> usize {
    let mut world = world.0.borrow_mut();
    let count =
        world.wireguard.actions.iter().filter(|(key, _)| *key == PublicKey::from_bytes([n; 32])).count();
    world.wireguard.actions.retain(|(key, _)| *key != PublicKey::from_bytes([n; 32]));
    count
}

#[test]
fn peers_come_and_go_and_those_of_others_stay_on_the_interface() {
    let (world, mut mesh) = (Shared::default(), Mesh::new());
    let mut theirs = peer(3, &["10.9.0.3/32"]);
    theirs.config.persistent_keepalive_interval = Some(15);
    world.0.borrow_mut().wireguard.peers = vec![theirs];
    let (from, to) = (config("", &[2, 3, 4]), config("", &[5, 4]));
    let mut daemon = started(&mut mesh, &world, &from);
    assert_eq!(on_interface(&world), [2, 3, 4]);
    done_to(&world, 4);

    change(&mut daemon, &world, at(2_000), &from, &to);
    assert_eq!(numbers(&daemon), ["5", "4"], "in the order of the file");
    assert_eq!(on_interface(&world), [3, 4, 5]);
    assert_eq!(done_to(&world, 4), 0);
    let there = world.0.borrow().wireguard.peers.iter().find(|p| p.config.public_key.0[0] == 3).cloned();
    assert_eq!(there.and_then(|p| p.config.persistent_keepalive_interval), Some(15));
    // Nobody is put back, and nobody is taken off later.
    pass(&mut daemon, at(60_000));
    assert_eq!(on_interface(&world), [3, 4, 5]);

    change(&mut daemon, &world, at(60_000), &to, &from);
    assert_eq!(
        (numbers(&daemon), on_interface(&world)),
        (vec!["2".into(), "3".into(), "4".into()], vec![2, 3, 4])
    );
}

/// More than may wait to be taken off the interface at once would be: there is no such room with four places, but it is the same
/// that is done for each.
#[test]
fn all_may_go_at_once_and_others_take_their_places() {
    let (world, mut mesh) = (Shared::default(), Mesh::new());
    let (from, to) = (config("", &[2, 3, 4, 5]), config("", &[6, 7, 8, 9]));
    let mut daemon = started(&mut mesh, &world, &from);
    change(&mut daemon, &world, at(2_000), &from, &to);
    assert_eq!(numbers(&daemon), ["6", "7", "8", "9"]);
    assert_eq!(on_interface(&world), [6, 7, 8, 9]);
}

#[test]
fn a_peer_with_another_address_is_added_with_that() {
    let (world, mut mesh) = (Shared::default(), Mesh::new());
    let from = config("", &[2, 3]);
    let text = format!(
        "{TOP}[[peers]]\npubkey = \"{PEER}\"\naddress = \"10.9.0.22\"\n[[peers]]\npubkey = \"{}\"\naddress = \
         \"10.9.0.2\"\n",
        PublicKey::from_bytes([3; 32])
    );
    let to = configuration(&text);
    let mut daemon = started(&mut mesh, &world, &from);
    change(&mut daemon, &world, at(2_000), &from, &to);
    // Each has what the other had.
    assert_eq!(meshed(&daemon), [("22".into(), None), ("2".into(), None)]);
    let allowed = |n: u8| {
        let world = world.0.borrow();
        let peer = world.wireguard.peers.iter().find(|peer| peer.config.public_key.0[0] == n);
        let ips = &peer.expect("it is there").config.allowed_ips;
        ips.iter().map(|ip| ip.address.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((allowed(2), allowed(3)), (vec!["10.9.0.22".into()], vec!["10.9.0.2".into()]));
}

#[test]
fn who_was_taken_from_the_interface_may_be_named_and_makes_room_for_the_file() {
    let (world, mut mesh) = (Shared::default(), Mesh::new());
    world.0.borrow_mut().wireguard.peers =
        vec![peer(3, &["10.9.0.3/32"]), peer(4, &["10.9.0.4/32"]), peer(13, &["10.9.0.5/32"])];
    let none = config("peers_from_interface = true", &[]);
    let mut daemon = started(&mut mesh, &world, &none);
    assert_eq!(meshed(&daemon), [("3".into(), None), ("4".into(), None), ("5".into(), None)]);
    done_to(&world, 3);

    // One of them is named now, and somebody else has the address of another.
    let two = config("peers_from_interface = true", &[3, 5]);
    change(&mut daemon, &world, at(2_000), &none, &two);
    let named = |n: u8| (n.to_string(), Some(format!("peer {n}")));
    assert_eq!(meshed(&daemon), [named(3), named(5), ("4".into(), None)]);
    assert_eq!(done_to(&world, 3), 0, "its session goes on");
    assert!(on_interface(&world).contains(&13), "it is not ours");

    // As many as there is room for: the last that was taken from the interface gives way.
    let four = config("peers_from_interface = true", &[3, 5, 6, 7]);
    change(&mut daemon, &world, at(4_000), &two, &four);
    assert_eq!(meshed(&daemon), [3, 5, 6, 7].map(named));

    // And comes back when there is room again.
    change(&mut daemon, &world, at(6_000), &four, &two);
    assert_eq!(numbers(&daemon), ["3", "5", "4"]);
    let off = config("", &[3, 5]);
    change(&mut daemon, &world, at(8_000), &two, &off);
    assert_eq!(meshed(&daemon), [3, 5].map(named));
    assert_eq!(on_interface(&world), [3, 4, 5, 13]);
    pass(&mut daemon, at(60_000));
    assert_eq!(numbers(&daemon), ["3", "5"]);
}

#[test]
fn a_peer_is_looked_for_where_the_file_says_now() {
    let (world, mut mesh) = (Shared::default(), Mesh::new());
    let (from, to) = (config("", &[2]), config("", &[2]));
    let with = |endpoint: &str| {
        configuration(&format!(
            "{TOP}[[peers]]\npubkey = \"{PEER}\"\naddress = \"10.9.0.2\"\nendpoint = \"{endpoint}\"\n"
        ))
    };
    let mut daemon = started(&mut mesh, &world, &from);
    let asked = |world: &Shared, endpoint: &str| {
        let endpoint = Some(endpoint.parse().expect("an endpoint"));
        world.0.borrow().wireguard.actions.iter().any(|(key, action)| {
            *key == PEER && matches!(action, PeerAction::Readd { endpoint: at } | PeerAction::Add { endpoint: at, .. } if *at == endpoint)
        })
    };
    change(&mut daemon, &world, at(2_000), &from, &to);
    assert!(!asked(&world, "203.0.113.9:51820"));
    let there = with("203.0.113.9:51820");
    change(&mut daemon, &world, at(4_000), &to, &there);
    pass(&mut daemon, at(8_000));
    assert!(asked(&world, "203.0.113.9:51820"), "{:?}", world.0.borrow().wireguard.actions);
    let elsewhere = with("203.0.113.10:51820");
    change(&mut daemon, &world, at(60_000), &there, &elsewhere);
    // Where an attempt is under way it is brought to its end.
    pass(&mut daemon, at(300_000));
    assert!(asked(&world, "203.0.113.10:51820"));
}

#[test]
fn lans_are_looked_at_or_not() {
    let (world, mut mesh) = (Shared::default(), Mesh::new());
    world.0.borrow_mut().links = vec![eth0(true)];
    let (on, off) = (config("lan_discovery = true", &[2]), config("", &[2]));
    let elsewhere = config("lan_discovery = true\nlan_interfaces = [\"br-lan\"]", &[2]);
    let mut daemon = started(&mut mesh, &world, &on);
    let places = |world: &Shared| world.0.borrow().lan_places.len();
    assert_eq!(places(&world), 1);
    change(&mut daemon, &world, at(2_000), &on, &elsewhere);
    assert_eq!(places(&world), 0);
    change(&mut daemon, &world, at(4_000), &elsewhere, &on);
    assert_eq!(places(&world), 1);
    change(&mut daemon, &world, at(6_000), &on, &off);
    let sent = world.0.borrow().lan_sent.len();
    pass(&mut daemon, at(200_000));
    assert_eq!(world.0.borrow().lan_sent.len(), sent);
    change(&mut daemon, &world, at(200_000), &off, &on);
    pass(&mut daemon, at(210_000));
    assert!(world.0.borrow().lan_sent.len() > sent);
}
