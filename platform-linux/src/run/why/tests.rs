//! Each cause as it comes to be: real engines over the model of WireGuard and the virtual internet, where one of them is then asked
//! for the reason, and asks the others as the daemon does.

use core::net::SocketAddr;

use crypto_secretbox::{
    Key, Nonce, XSalsa20Poly1305,
    aead::{AeadInPlace as _, KeyInit as _},
};
use wgautomesh_core::{Duration, Event, Instant, PublicKey};
use wgautomesh_examples::{
    simulation::{
        node::{GOSSIP_PORT, SECRET, Setup, address_of, key_of},
        world::World,
    },
    virtual_internet::{
        GatewayId, HomeConfig, Internet, Link, NatConfig, Site,
        wireguard::{AllowedIp, PeerChange},
    },
};

use super::{Facts, History, Inquiry, Machine, cause::Cause, document, select};
use crate::{
    control::{explain, status::PeerState, why::Why},
    run::{Node, names::Names},
};

const SECOND: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(10);
const PORT: u16 = 51820;
const NAMES: [&str; 6] = ["zero", "one", "two", "three", "four", "five"];

/// Where a node is.
#[derive(Clone, Copy)]
enum Place {
    /// On the internet; its endpoint is configured everywhere.
    Public,
    /// The same by IPv6 only, and nobody knows its endpoint.
    PublicV6,
    /// In a home behind this NAT.
    Home(NatConfig),
    /// In the home of that node.
    With(usize),
}

use Place::{Home, Public, PublicV6, With};

/// The usual NAT of a home.
const HOME: Place = Home(NatConfig::port_restricted());
const SYMMETRIC: Place = Home(NatConfig::symmetric());

struct Scene {
    world: World<8>,
    /// The home of each node.
    homes: Vec<Option<GatewayId>>,
}

impl Scene {
    /// A mesh of which nothing has been started. `shape` may change what the nodes are configured with.
    fn new(places: &[Place], shape: impl FnOnce(&mut Vec<Setup>)) -> Self {
        let mut net = Internet::new(1);
        net.set_core(Link::delay(Duration::from_millis(20)));
        let mut homes: Vec<Option<GatewayId>> = Vec::new();
        let mut hosts = Vec::new();
        for place in places {
            let home = match *place {
                Public | PublicV6 => None,
                Home(nat) => Some(net.add_home(HomeConfig { nat, ..HomeConfig::default() })),
                With(other) => homes[other],
            };
            homes.push(home);
            let site = home.map_or(Site::Internet, Site::Behind);
            let v6 = matches!(place, PublicV6);
            hosts.push(net.add_host_at(site, Link::PERFECT, !v6, v6 || matches!(place, Public)));
        }
        let known: Vec<Vec<SocketAddr>> = places
            .iter()
            .zip(&hosts)
            .map(|(place, host)| {
                let addresses = net.addresses(*host).iter().filter(|_| matches!(place, Public));
                addresses.map(|ip| SocketAddr::new(*ip, PORT)).collect()
            })
            .collect();
        let mut setups: Vec<Setup> = hosts
            .iter()
            .enumerate()
            .map(|(number, host)| Setup {
                number,
                host: *host,
                port: PORT + number as u16,
                peers: known.iter().cloned().enumerate().collect(),
            })
            .collect();
        for setup in &mut setups {
            for (peer, endpoints) in &mut setup.peers {
                endpoints.iter_mut().for_each(|endpoint| endpoint.set_port(PORT + *peer as u16));
            }
        }
        shape(&mut setups);
        let mut world = World::new(net, setups, 1);
        world.nodes.iter_mut().for_each(|node| node.events = Some(Vec::new()));
        Self { world, homes }
    }

    /// The same, and all daemons run.
    fn started(places: &[Place]) -> Self {
        Self::new(places, |_| ()).start()
    }

    fn start(mut self) -> Self {
        (0..self.world.nodes.len()).for_each(|node| self.world.start(node));
        self.after(5)
    }

    /// Some seconds later.
    fn after(mut self, seconds: u32) -> Self {
        self.world.run(SECOND * seconds);
        self
    }

    fn is_connected(&self, a: usize, b: usize) -> bool {
        self.world.nodes[a].is_connected(b) && self.world.nodes[b].is_connected(a)
    }

    /// Asks a node why it is not connected to another.
    fn why(&mut self, from: usize, about: usize) -> Why {
        self.why_on(from, about, &Machine::default())
    }

    fn why_on(&mut self, from: usize, about: usize, machine: &Machine) -> Why {
        let mut history = History::default();
        let mut noted = 0;
        let inquiry = self.world.with_engine(from, |now, mesh| Inquiry::begin(now, mesh, key_of(about)));
        let mut inquiry = inquiry.expect("its daemon runs");
        while !inquiry.is_over(self.world.now()) {
            self.world.run(STEP);
            let events = self.world.nodes[from].events.clone().unwrap_or_default();
            for (at, event) in events.iter().skip(noted) {
                match event {
                    Event::Answer(answer) => {
                        self.world.with_engine(from, |_, mesh| inquiry.take(mesh, answer));
                    }
                    other => history.note(*at, other),
                }
            }
            noted = events.len();
        }
        for (at, event) in self.world.nodes[from].events.iter().flatten().skip(noted) {
            history.note(*at, event);
        }
        let now = self.world.now();
        let mesh = self.world.nodes[from].mesh.as_ref().expect("its daemon runs");
        let facts = Facts::collect(mesh, &history, &inquiry.asked, machine, &key_of(about), now);
        let node =
            Node { interface: "wg0".into(), gossip_port: GOSSIP_PORT, started: Instant::MIN, rotation: None };
        let names = Names::of_test((0..NAMES.len()).map(|n| (key_of(n), NAMES[n])));
        let why = document(&facts.expect("it is a peer"), &node, &names);
        assert_eq!(self.world.violations, []);
        println!("{}", explain::text(&why));
        why
    }

    /// That this is said of the two, by either.
    fn expect(&mut self, from: usize, about: usize, cause: Cause) -> Why {
        let why = self.why(from, about);
        assert_eq!(id(&why), Some(cause.id()), "{}", explain::text(&why));
        why
    }
}

fn id(why: &Why) -> Option<&str> {
    why.cause.as_ref().map(|cause| cause.id.as_str())
}

fn advice(why: &Why) -> String {
    why.cause.as_ref().map(|cause| cause.advice.join("\n")).unwrap_or_default()
}

/// What somebody says: about this node or the peer, how it stands, and why.
fn says<'w>(why: &'w Why, who: &str, about: &str) -> Option<(Option<PeerState>, Option<&'w str>)> {
    let asked = why.asked.iter().filter(|asked| asked.who == who && asked.about == about);
    let said = asked.filter_map(|asked| asked.answer.as_ref()).next()?;
    Some((said.state, said.reason.as_ref().map(|reason| reason.id.as_str())))
}

/// How often something happened, by what came of it.
fn happened(why: &Why, what: &str, outcome: Option<&str>) -> u32 {
    let these = why.history.iter().filter(|entry| entry.what == what && entry.outcome.as_deref() == outcome);
    these.map(|entry| entry.times).sum()
}

#[test]
fn a_connected_pair_is_told_how() {
    let mut scene = Scene::started(&[Public, HOME, HOME]);
    let why = scene.why(1, 2);
    assert_eq!((id(&why), why.link.state), (None, PeerState::Connected));
    assert_eq!(why.link.via.as_deref(), Some("zero"));
    assert!(why.link.rtt_us.is_some_and(|rtt| rtt > 0) && why.link.since_s.is_some());
    assert_eq!(why.node.seen_at.first().map(|seen| seen.endpoint), why.link.seen_at);
    assert_eq!(says(&why, "two", "node"), Some((Some(PeerState::Connected), None)));
    assert_eq!(why.asked.len(), 1, "nobody else is bothered");
    assert_eq!((happened(&why, "connected", None), happened(&why, "attempt", Some("no-answer"))), (1, 0));
    let why = scene.why(1, 0);
    assert_eq!((id(&why), why.link.endpoint_source.as_deref()), (None, Some("configured")));
}

#[test]
fn a_daemon_that_was_killed() {
    let mut scene = Scene::started(&[Public, HOME, HOME]);
    scene.world.stop(2, true);
    let mut scene = scene.after(60);
    let why = scene.expect(1, 2, Cause::NoDaemon);
    assert_eq!(happened(&why, "lost", None), 1);
    // Not everybody misses it at the same time.
    scene = scene.after(60);
    scene.expect(0, 2, Cause::NoDaemon);
}

#[test]
fn a_daemon_that_was_shut_down() {
    let mut scene = Scene::started(&[Public, HOME, HOME]);
    scene.world.stop(2, false);
    let mut scene = scene.after(10);
    scene.expect(1, 2, Cause::ShutDown);
    scene.expect(0, 2, Cause::ShutDown);
}

#[test]
fn another_secret() {
    let mut scene = Scene::new(&[Public, HOME, HOME], |_| ());
    scene.world.nodes[2].secret = Some(b"not the one that all others have".to_vec());
    let mut scene = scene.start().after(30);
    scene.expect(0, 2, Cause::OtherSecret);
    scene.expect(2, 0, Cause::OtherSecret);
    // Of one that was not introduced: by what others say.
    let why = scene.expect(1, 2, Cause::OtherSecret);
    assert_eq!(says(&why, "zero", "peer"), Some((Some(PeerState::Mute), Some("other-secret"))));
}

#[test]
fn gossip_that_is_dropped_between_two() {
    let mut scene = Scene::new(&[Public, HOME, HOME], |_| ());
    for (node, other) in [(1, 2), (2, 1)] {
        scene.world.nodes[node].firewall = vec![address_of(other)];
    }
    let mut scene = scene.start().after(60);
    let why = scene.expect(1, 2, Cause::GossipBlocked);
    assert_eq!(says(&why, "zero", "peer").map(|said| said.0), Some(Some(PeerState::Connected)));
    assert_eq!(says(&why, "two", "node").and_then(|said| said.0), Some(PeerState::Mute));
    assert!(happened(&why, "attempt", Some("mute")) > 0, "{why:?}");
    scene.expect(2, 1, Cause::GossipBlocked);
}

#[test]
fn the_original_protocol() {
    let mut scene = Scene::started(&[Public, HOME, HOME]);
    scene.world.stop(2, true);
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"wgautomesh: ").update(SECRET);
    let cipher = XSalsa20Poly1305::new(Key::from_slice(hasher.finalize().as_bytes()));
    let mut text = [0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5];
    let tag = cipher.encrypt_in_place_detached(Nonce::from_slice(&[3; 24]), b"", &mut text).expect("short");
    let datagram = [&[3; 24][..], &tag, &text].concat();
    let (now, at) = (scene.world.now(), |node| SocketAddr::new(address_of(node), GOSSIP_PORT));
    for to in [0, 1] {
        let sent = scene.world.nodes[2].device.send_udp(now, at(2), at(to), &datagram);
        assert!(sent.is_ok(), "{sent:?}");
    }
    scene.world.ping(2, 1);
    let mut scene = scene.after(30);
    scene.expect(1, 2, Cause::OriginalProtocol);
}

#[test]
fn the_other_side_does_not_list_this_node() {
    let mut scene =
        Scene::new(&[Public, HOME, HOME], |setups| setups[2].peers.retain(|(peer, _)| *peer != 1));
    scene = scene.start().after(60);
    let why = scene.expect(1, 2, Cause::NotListedThere);
    assert_eq!(says(&why, "two", "node"), Some((None, None)));
    assert_eq!(says(&why, "zero", "peer").map(|said| said.0), Some(Some(PeerState::Connected)));
    let key = key_of(1).to_string();
    assert!(advice(&why).contains(&key), "it says what is to be added there: {}", advice(&why));
    assert!(happened(&why, "attempt", Some("no-answer")) + happened(&why, "attempt", Some("pending")) > 0);
}

#[test]
fn nats_that_cannot_be_punched() {
    for (publics, cause) in [(2, Cause::EndpointDependentNats), (1, Cause::PerhapsEndpointDependentNats)] {
        let places: Vec<Place> =
            core::iter::repeat_n(Public, publics).chain([SYMMETRIC, SYMMETRIC]).collect();
        let mut scene = Scene::started(&places).after(30);
        for (from, about) in [(publics, publics + 1), (publics + 1, publics)] {
            let why = scene.expect(from, about, cause);
            assert!(advice(&why).contains(&format!("UDP port {}", PORT + from as u16)), "{}", advice(&why));
            assert!(advice(&why).contains(&format!("UDP port {}", PORT + about as u16)), "{}", advice(&why));
            // The other side has been asked, through who knows it, and says the same.
            assert_eq!(
                says(&why, NAMES[about], "node").and_then(|said| said.1),
                Some(cause.id().trim_end_matches('s'))
            );
        }
    }
}

#[test]
fn whose_nat_it_is_is_said() {
    let mut scene = Scene::started(&[Public, Public, SYMMETRIC, HOME]).after(30);
    let why = scene.expect(3, 2, Cause::EndpointDependentNats);
    let message = &why.cause.as_ref().expect("a cause").message;
    assert!(message.contains("two's shows"), "{message}");
    let why = scene.expect(2, 3, Cause::EndpointDependentNats);
    let message = &why.cause.as_ref().expect("a cause").message;
    assert!(message.contains("this node's shows"), "{message}");
}

#[test]
fn two_nodes_behind_one_nat_with_one_port() {
    let linux = Home(NatConfig::linux());
    for same in [true, false] {
        let places = [Public, Public, linux, With(2), HOME];
        let mut scene = Scene::new(&places, |setups| {
            if same {
                setups[3].port = setups[2].port;
            }
        })
        .start()
        .after(60);
        let clash: Vec<usize> = [2, 3].into_iter().filter(|node| !scene.is_connected(*node, 4)).collect();
        assert_eq!(clash.is_empty(), !same, "it is the port that keeps them apart: {clash:?}");
        for node in clash {
            let why = scene.expect(4, node, Cause::SamePortBehindNat);
            let message = &why.cause.as_ref().expect("a cause").message;
            assert!(message.contains("two") && message.contains("three"), "{message}");
            scene.expect(node, 4, Cause::SamePortBehindNat);
        }
    }
}

#[test]
fn no_family_in_common() {
    let mut scene = Scene::started(&[Public, HOME, PublicV6]).after(10);
    let why = scene.expect(1, 2, Cause::NoCommonFamily);
    let message = &why.cause.as_ref().expect("a cause").message;
    assert!(message.contains("this node has IPv4 only, and two has IPv6 only"), "{message}");
    scene.expect(2, 1, Cause::NoCommonFamily);
}

#[test]
fn one_nat_without_hairpinning() {
    let mut scene = Scene::new(&[Public, Public, HOME, With(2)], |_| ());
    // A Wi-Fi for guests.
    scene.world.net.isolate(scene.homes[2].expect("a home"), true);
    let mut scene = scene.start().after(60);
    scene.expect(2, 3, Cause::NoHairpin);
    scene.expect(3, 2, Cause::NoHairpin);
}

#[test]
fn udp_is_blocked() {
    let blocked = NatConfig { blocks_udp: true, ..NatConfig::port_restricted() };
    let mut scene = Scene::started(&[Public, Public, Home(blocked), HOME]).after(60);
    scene.expect(2, 0, Cause::UdpBlocked);
    scene.expect(2, 3, Cause::UdpBlocked);
    // From the other side: nobody knows it.
    scene.expect(3, 2, Cause::NobodyKnowsIt);
}

#[test]
fn the_only_one_that_all_know_is_away() {
    let mut scene = Scene::new(&[Public, HOME, HOME], |_| ());
    let host = scene.world.nodes[0].setup.host;
    scene.world.net.set_up(host, false);
    let mut scene = scene.start().after(60);
    scene.expect(1, 2, Cause::Isolated);
    let why = scene.expect(1, 0, Cause::NoAnswer);
    assert!(happened(&why, "attempt", Some("no-answer")) > 0);
    assert_eq!(why.asked, [], "there is nobody to ask");
}

#[test]
fn nobody_is_known_to_begin_with() {
    let mut scene = Scene::started(&[HOME, HOME]).after(10);
    scene.expect(0, 1, Cause::NoEndpoints);
}

#[test]
fn a_node_that_was_never_there() {
    let mut scene = Scene::new(&[Public, HOME, HOME], |_| ());
    (0..2).for_each(|node| scene.world.start(node));
    let mut scene = scene.after(10);
    let why = scene.expect(1, 2, Cause::NobodyKnowsIt);
    assert!(advice(&why).contains(&key_of(2).to_string()));
    // The same of one that the others have not in their lists.
    let mut scene =
        Scene::new(&[Public, HOME, HOME], |setups| setups[0].peers.retain(|(peer, _)| *peer != 2));
    (0..2).for_each(|node| scene.world.start(node));
    let mut scene = scene.after(10);
    let why = scene.expect(1, 2, Cause::NobodyKnowsIt);
    assert!(
        advice(&why).contains("Add two to the peers at zero, which does not have it."),
        "{}",
        advice(&why)
    );
}

#[test]
fn a_node_that_went_away() {
    let mut scene = Scene::started(&[Public, HOME, HOME]);
    let host = scene.world.nodes[2].setup.host;
    scene.world.net.set_up(host, false);
    let mut scene = scene.after(240);
    let why = scene.expect(1, 2, Cause::NobodyReachesIt);
    assert!(advice(&why).contains("nobody who knew it is connected to it any more"), "{}", advice(&why));
    assert_eq!(happened(&why, "connected", None), 1);
    assert_eq!(happened(&why, "lost", None), 1);
}

#[test]
fn a_server_that_is_switched_off() {
    let mut scene = Scene::new(&[Public, Public, HOME], |_| ());
    let host = scene.world.nodes[1].setup.host;
    scene.world.net.set_up(host, false);
    let mut scene = scene.start().after(60);
    let why = scene.expect(2, 1, Cause::NoAnswer);
    assert_eq!(says(&why, "zero", "peer"), Some((Some(PeerState::Waiting), Some("no-answer"))));
    assert!(why.history.iter().any(|entry| entry.endpoint_source.as_deref() == Some("configured")));
}

#[test]
fn a_firewall_between_two_that_are_well() {
    let mut scene = Scene::new(&[Public, Public, HOME], |_| ());
    let [a, b] = [1, 2].map(|node| scene.world.nodes[node].setup.host);
    scene.world.net.block(a, b);
    scene.world.net.block(b, a);
    let mut scene = scene.start().after(60);
    let why = scene.expect(2, 1, Cause::PathBlocked);
    assert_eq!(says(&why, "zero", "peer").map(|said| said.0), Some(Some(PeerState::Connected)));
    assert!(says(&why, "one", "node").is_some(), "it says itself that it is well");
}

#[test]
fn the_address_is_another_peers() {
    let mut scene = Scene::started(&[Public, HOME, HOME]);
    let taken = [PeerChange::new([9; 32]).allow(AllowedIp::host(address_of(2)))];
    let now = scene.world.now();
    scene.world.nodes[1].device.configure(now, &taken);
    let mut scene = scene.after(60);
    let machine = Machine { address_holder: Some(key_of(5)), ..Machine::default() };
    let why = scene.why_on(1, 2, &machine);
    assert_eq!(id(&why), Some(Cause::AddressTaken.id()));
    assert!(advice(&why).contains("away from five"), "{}", advice(&why));
    // And the peer is told, if it asks.
    scene.expect(2, 1, Cause::AddressTakenThere);
}

#[test]
fn the_interface_is_gone() {
    let mut scene = Scene::started(&[Public, HOME]);
    scene.world.with_engine(1, |now, mesh| mesh.handle_interface(now, None));
    let mut scene = scene.after(1);
    scene.expect(1, 0, Cause::NoInterface);
}

/// It was connected, and comes back from a reboot in 1970: the other side's WireGuard takes its handshakes for old ones.
#[test]
fn a_clock_that_went_back() {
    let mut scene = Scene::new(&[Public, HOME], |_| ());
    scene.world.nodes.iter_mut().for_each(|node| node.openers = false);
    // Long enough for all that was sent to be answered.
    let mut scene = scene.start().after(30);
    assert!(scene.is_connected(0, 1));
    // Whom it knew is not told that it is back. Nor does its WireGuard try by itself, as it would for a keepalive or an answer
    // that is due: that, the one whose clock is wrong would take.
    scene.world.stop(0, true);
    let mut quiet = PeerChange::new(*key_of(1).as_bytes()).keepalive(0);
    quiet.update_only = true;
    let now = scene.world.now();
    scene.world.nodes[0].device.configure(now, &[quiet]);
    scene.world.reboot(1, Some(86_400));
    let mut scene = scene.after(60);
    let right = scene.why(1, 0);
    assert_ne!(right.link.state, PeerState::Connected);
    let wrong = scene.why_on(1, 0, &Machine { clock_wrong: true, ..Machine::default() });
    assert_eq!(id(&wrong), Some(Cause::ClockWrong.id()), "{right:?}");
}

#[test]
fn what_is_being_tried_is_said_as_such() {
    let mut scene = Scene::new(&[Public, HOME], |_| ());
    (0..2).for_each(|node| scene.world.start(node));
    let why = scene.why(1, 0);
    assert_eq!((id(&why), why.link.state), (Some(Cause::Connecting.id()), PeerState::Connecting));
    assert_eq!(why.asked, []);
}

#[test]
fn a_peer_may_be_named_in_many_ways() {
    let scene = Scene::started(&[Public, HOME, HOME]);
    let peers: Vec<_> = scene.world.nodes[0].mesh.as_ref().expect("it runs").peers().collect();
    let names = Names::of_test([(key_of(1), "one"), (key_of(2), "two")]);
    let chosen = |wanted: &str| select::peer(wanted, &names, &peers);
    let key = key_of(2).to_string();
    for wanted in ["two", &address_of(2).to_string(), &key, &key[..8], &key[..20]] {
        assert_eq!(chosen(wanted), Ok(key_of(2)), "{wanted}");
    }
    let unknown = chosen("twoo").unwrap_err();
    assert_eq!((unknown.id, unknown.message.ends_with("did you mean \"two\"?")), ("unknown-peer", true));
    let unknown = chosen("10.0.0.99").unwrap_err();
    assert_eq!(unknown.id, "unknown-peer");
    for peer in [1, 2] {
        assert!(
            unknown.message.contains(&format!("{} {}", names.of(key_of(peer)), address_of(peer))),
            "{unknown:?}"
        );
    }
    // One name for two, and the beginning of two keys.
    let twice = Names::of_test([(key_of(1), "same"), (key_of(2), "same")]);
    let both = select::peer("same", &twice, &peers).unwrap_err();
    assert_eq!(both.id, "ambiguous-peer");
    for peer in [1, 2] {
        assert!(both.message.contains(&address_of(peer).to_string()), "{both:?}");
    }
    assert!(select::peer("", &names, &peers).is_err());
}

/// Whatever it is, there is something to say and something to do.
#[test]
fn every_cause_has_its_words() {
    let scene = Scene::started(&[Public, HOME, HOME]);
    let mesh = scene.world.nodes[1].mesh.as_ref().expect("it runs");
    let (history, machine) = (History::default(), Machine::default());
    let facts = Facts::collect(mesh, &history, &[], &machine, &key_of(2), scene.world.now());
    let facts = facts.expect("it is a peer");
    let mut ids = Vec::new();
    for cause in Cause::ALL {
        let words = cause.words(&facts, "wg0", &|key: &PublicKey| format!("{key:.8}"));
        assert!(!words.message.is_empty() && !words.message.ends_with('.'), "{cause:?}: {}", words.message);
        assert!(!words.advice.is_empty(), "{cause:?}");
        for advice in &words.advice {
            let whole = advice.starts_with(char::is_uppercase) && advice.ends_with(['.', '?', '=']);
            assert!(whole && !advice.contains("  "), "{cause:?}: {advice}");
        }
        assert!(cause.id().chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{cause:?}");
        assert!(!ids.contains(&cause.id()), "{cause:?}");
        ids.push(cause.id());
    }
    ids.sort_unstable();
    let described: Vec<_> = crate::control::schema::CAUSES.iter().map(|(id, _)| *id).collect();
    assert_eq!(described, ids, "each is in the manual, in this order");
}
