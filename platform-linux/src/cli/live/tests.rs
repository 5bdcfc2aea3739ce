//! The screen to the letter, at the size of every terminal and with more than that has room for.

use super::*;
use crate::control::status::{Nats, Node, Reason, SeenAt};
use std::collections::BTreeMap;

const SIZE: Size = Size { columns: 80, rows: 24 };
const SECOND: Duration = Duration::from_secs(1);

fn peer(name: &str, state: PeerState) -> Peer {
    let connected = state == PeerState::Connected;
    Peer {
        name: Some(name.into()),
        key: format!("{name}Key="),
        address: [10, 14, 0, 2].into(),
        state,
        endpoint: connected.then(|| ([203, 0, 113, 9], 51820).into()),
        endpoint_source: None,
        rtt_us: connected.then_some(12_345),
        handshake_age_s: connected.then_some(72),
        rx_bytes: 1_000_000,
        tx_bytes: 50_000,
        reason: (!connected)
            .then(|| Reason { id: "no-answer".into(), message: "its WireGuard does not answer".into() }),
        lan_barred: None,
        via: None,
        nat: Nats::default(),
        has_newest_secret: None,
    }
}

fn status(peers: Vec<Peer>) -> Status {
    Status {
        version: 1,
        node: Node {
            version: "0.1.0".into(),
            interface: "wg0".into(),
            interface_up: true,
            key: None,
            mesh_address: Some([10, 14, 0, 1].into()),
            gossip_port: 1666,
            listen_port: Some(51820),
            uptime_s: 11_525,
            openers: true,
            nat: Nats { ipv4: Some("endpoint-independent".into()), ipv6: None },
            seen_at: vec![SeenAt { endpoint: ([198, 51, 100, 7], 51820).into(), peers: 2 }],
            rotation: None,
            port_mapping: None,
        },
        peers,
        counters: BTreeMap::from([("sent_bytes".into(), 1_000), ("received_bytes".into(), 500)]),
    }
}

fn pair() -> (Status, Status) {
    let peers = vec![
        peer("dora", PeerState::Connected),
        peer("bob\x1b[2J\u{7}", PeerState::Waiting),
        peer("alice", PeerState::Connected),
        peer("a-name-that-is-far-too-long-for-a-column", PeerState::Connecting),
    ];
    let before = status(peers);
    let mut now = before.clone();
    now.peers[0].rx_bytes += 1_250_000;
    now.peers[0].tx_bytes += 940;
    now.peers[2].tx_bytes += 12_400;
    now.counters.insert("sent_bytes".into(), 1_120);
    (before, now)
}

fn shown(seen: Seen<'_>, events: &[Happened], size: Size) -> String {
    let lines = frame(seen, events, size, false);
    assert_eq!(lines.len(), size.rows);
    for line in &lines {
        assert!(line.chars().count() <= size.columns, "{line}");
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    }
    lines.join("\n")
}

#[test]
fn a_screen_to_the_letter() {
    let (before, now) = pair();
    let events = [(7, "dora: connected at 203.0.113.9:51820"), (190, "the daemon was started again")]
        .map(|(ago, what)| Happened { ago: Duration::from_secs(ago), what: what.into() });
    let seen = Seen { before: Some(&before), now: &now, between: SECOND };
    assert_eq!(
        shown(seen, &events, Size { rows: 16, ..SIZE }),
        "\
wg0  10.14.0.1  up 3h12m  2 of 4 peers connected
seen at 198.51.100.7:51820; endpoint-independent NAT
down 1.2 MB/s   up 13 kB/s   gossip 120 B/s

PEER              STATE       RTT   DOWN/s  UP/s  HANDSHAKE  ENDPOINT
bob?[2J?          waiting     -     0       0     -          no-answer
a-name-that-is-…  connecting  -     0       0     -          no-answer
alice             connected   12ms  0       12k   1m12s      203.0.113.9:51820
dora              connected   12ms  1.2M    940   1m12s      203.0.113.9:51820

    7s ago  dora: connected at 203.0.113.9:51820
 3m10s ago  the daemon was started again



q quits"
    );
}

#[test]
fn the_first_screen_has_no_rates() {
    let (before, _) = pair();
    let text = shown(Seen { before: None, now: &before, between: SECOND }, &[], SIZE);
    assert!(text.contains("\nmeasuring\n"), "{text}");
    assert!(text.contains("alice             connected   12ms  -       -     1m12s"), "{text}");
}

#[test]
fn a_hundred_peers_show_the_broken_and_the_busiest() {
    let mut peers: Vec<_> = (0..100).map(|n| peer(&format!("node{n:02}"), PeerState::Connected)).collect();
    peers[42] = peer("broken", PeerState::Waiting);
    let before = status(peers);
    let mut now = before.clone();
    now.peers[77].rx_bytes += 5_000;
    now.peers[91].rx_bytes += 9_000;
    let events: Vec<_> =
        (1..20).map(|ago| Happened { ago: SECOND * ago, what: format!("event {ago}") }).collect();
    let seen = Seen { before: Some(&before), now: &now, between: SECOND };
    let text = shown(seen, &events, SIZE);
    let lines: Vec<_> = text.lines().collect();
    let names: Vec<_> = lines[5..].iter().map(|line| line.split(' ').next().unwrap()).take(5).collect();
    assert_eq!(names, ["broken", "node91", "node77", "node00", "node01"], "{text}");
    let more = lines.iter().position(|line| line.starts_with("+ ")).unwrap();
    assert_eq!(lines[more], format!("+ {} more", 100 - (more - 5)));
    assert!(text.contains("event 1\n") && text.contains("event 4\n") && !text.contains("event 9"), "{text}");
    assert!(lines[lines.len() - 2].contains("event"), "nothing is wasted:\n{text}");
    assert_eq!(lines.last(), Some(&"q quits"));
}

/// Eight nodes of a family and its servers, one of which cannot be reached, and what a backup is doing.
#[test]
fn the_picture_in_the_readme_is_as_it_was() {
    let named = |number: u8, name: &str, rtt_us: u64, state| Peer {
        endpoint: (state == PeerState::Connected).then(|| ([203, 0, 113, number], 51820).into()),
        rtt_us: (state == PeerState::Connected).then_some(rtt_us),
        handshake_age_s: (state == PeerState::Connected).then_some(u64::from(number) * 17 % 120),
        ..peer(name, state)
    };
    let mut peers = vec![
        named(1, "paris", 11_800, PeerState::Connected),
        named(2, "oslo", 31_200, PeerState::Connected),
        named(7, "attic", 640, PeerState::Connected),
        named(7, "cellar", 480, PeerState::Connected),
        named(9, "grandma", 18_400, PeerState::Connected),
        named(12, "office", 24_900, PeerState::Connected),
        named(20, "laptop", 0, PeerState::Connecting),
        named(21, "phone", 0, PeerState::Waiting),
    ];
    peers[2].endpoint = Some(([192, 168, 1, 20], 51820).into());
    peers[3].endpoint = Some(([192, 168, 1, 21], 51820).into());
    peers[6].reason = Some(Reason { id: "connecting".into(), message: "connecting".into() });
    peers[7].reason = Some(Reason { id: "endpoint-dependent-nat".into(), message: String::new() });
    let before = status(peers);
    let mut now = before.clone();
    for (peer, down, up) in [(0, 2_310_000, 41_200), (2, 1_840, 97_300), (4, 640, 910), (5, 128, 128)] {
        now.peers[peer].rx_bytes += down;
        now.peers[peer].tx_bytes += up;
    }
    let events = [
        (2, "laptop: no longer connected: it stopped answering"),
        (41, "attic: moved to 192.168.1.20:51820"),
        (43, "attic: connected at 203.0.113.7:51820, introduced by paris"),
        (190, "phone: the NATs between us cannot be punched"),
    ]
    .map(|(ago, what)| Happened { ago: Duration::from_secs(ago), what: what.into() });
    let size = Size { columns: 80, rows: 20 };
    let lines = frame(Seen { before: Some(&before), now: &now, between: SECOND }, &events, size, true);
    let svg = picture::picture(&lines, size);
    let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/live/golden/watch.svg"));
    if std::env::var_os("WGAUTOMESH_BLESS").is_some() {
        std::fs::write(path, &svg).unwrap();
    }
    assert_eq!(svg, std::fs::read_to_string(path).unwrap(), "{}", path.display());
}

/// However small a window is, it is filled and not exceeded.
#[test]
fn any_size_will_do() {
    let (before, now) = pair();
    let events = vec![Happened { ago: SECOND, what: "something".into() }; 10];
    for rows in 1..40 {
        for columns in [1, 7, 40, 80, 200] {
            shown(
                Seen { before: Some(&before), now: &now, between: SECOND },
                &events,
                Size { columns, rows },
            );
        }
    }
}

#[test]
fn colours_change_nothing_but_colours() {
    let (before, now) = pair();
    let seen = Seen { before: Some(&before), now: &now, between: SECOND };
    let plain = frame(seen, &[], SIZE, false).join("\n");
    let mut coloured = frame(seen, &[], SIZE, true).join("\n");
    assert!(coloured.contains("\x1b[32mconnected\x1b[0m") && coloured.contains("\x1b[31mwaiting\x1b[0m"));
    while let Some((start, rest)) = coloured.split_once("\x1b[") {
        coloured = format!("{start}{}", rest.split_once('m').unwrap().1);
    }
    assert_eq!(coloured, plain);
}

#[test]
fn rates_are_of_the_time_that_passed_and_survive_a_new_counter() {
    assert_eq!(rate(1_000, 4_000, Duration::from_secs(3)), 1_000);
    assert_eq!(rate(4_000, 1_000, SECOND), 1_000, "WireGuard counts from zero again");
    assert_eq!(rate(0, u64::MAX, Duration::ZERO), u64::MAX);
    for (bytes, text) in [
        (0, "0 B/s"),
        (999, "999 B/s"),
        (1_000, "1.0 kB/s"),
        (9_990, "9.9 kB/s"),
        (12_999, "12 kB/s"),
        (1_250_000, "1.2 MB/s"),
        (125_000_000_000, "125 GB/s"),
    ] {
        assert_eq!(per_second(bytes), text);
    }
}

#[test]
fn what_has_changed_is_told_once() {
    let (before, now) = pair();
    assert_eq!(changes(&before, &now), [""; 0], "traffic is no news");
    let mut later = now.clone();
    later.peers[0] = Peer { endpoint: Some(([192, 168, 1, 7], 51820).into()), ..later.peers[0].clone() };
    later.peers[1] = peer("bob\x1b[2J\u{7}", PeerState::Connected);
    later.peers[1].via = Some("dora".into());
    later.peers[2] = peer("alice", PeerState::Waiting);
    later.peers[3] = peer("new", PeerState::Waiting);
    later.node.seen_at[0].endpoint = ([198, 51, 100, 8], 1).into();
    later.node.nat.ipv4 = Some("open".into());
    assert_eq!(
        changes(&now, &later),
        [
            "this node is seen at 198.51.100.8:1",
            "this node: no NAT",
            "dora: moved to 192.168.1.7:51820",
            "bob?[2J?: connected at 203.0.113.9:51820, introduced by dora",
            "alice: no longer connected: its WireGuard does not answer",
            "new: configured",
            "a-name-that-is-far-to...: no longer configured",
        ]
    );
    let reason = |id: &str| Some(Reason { id: id.into(), message: format!("because of {id}") });
    let mut again = later.clone();
    again.peers[2].reason = reason("connecting");
    assert_eq!(changes(&later, &again), [""; 0], "that it is tried again is no news");
    again.peers[2].reason = reason("no-mediator");
    assert_eq!(changes(&later, &again), ["alice: because of no-mediator"]);
    again.node.interface_up = false;
    assert_eq!(changes(&later, &again)[0], "the interface is gone");
    again.node.uptime_s = 3;
    assert_eq!(changes(&later, &again), ["the daemon was started again"]);
}
