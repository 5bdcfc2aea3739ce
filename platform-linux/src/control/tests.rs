//! Tests of the control socket: documents to the letter, and a server that nobody can stall.

use super::render::table;
use super::status::{Nats, Node, Peer, PeerState, Reason, Rotation, SeenAt, Status};
use super::{
    BindError, FetchError, Interest, MAX_CLIENTS, Request, Server, VERSION, default_directory, fetch, running,
};
use crate::clock;
use crate::config::InterfaceName;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use embassy_time::{Duration, Instant};
use rustix::event::PollFd;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

const PATIENCE: core::time::Duration = core::time::Duration::from_secs(30);

fn name(text: &str) -> InterfaceName {
    InterfaceName::parse(text).unwrap()
}

/// A directory of one test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("wgautomesh-control-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A connected peer of whom no more is known.
pub(crate) fn peer(name: Option<&str>, key: &str, address: &str) -> Peer {
    Peer {
        name: name.map(str::to_owned),
        key: key.to_owned(),
        address: address.parse().unwrap(),
        state: PeerState::Connected,
        endpoint: None,
        endpoint_source: None,
        rtt_us: None,
        handshake_age_s: None,
        rx_bytes: 0,
        tx_bytes: 0,
        reason: None,
        lan_barred: None,
        via: None,
        nat: Nats::default(),
        has_newest_secret: None,
    }
}

pub(crate) fn sample() -> Status {
    Status {
        version: VERSION,
        node: Node {
            version: "0.1.0".into(),
            interface: "wg0".into(),
            interface_up: true,
            key: Some("7Nm7pMmyS7Nts1MB+loyD8u84ODxHPTkDu+uqQR6yDk=".into()),
            mesh_address: Some("10.14.0.1".parse().unwrap()),
            gossip_port: 1666,
            listen_port: Some(51820),
            uptime_s: 11_525,
            openers: true,
            nat: Nats { ipv4: Some("endpoint-independent".into()), ipv6: Some("open".into()) },
            port_mapping: None,
            rotation: None,
            seen_at: vec![
                SeenAt { endpoint: "198.51.100.7:51820".parse().unwrap(), peers: 2 },
                SeenAt { endpoint: "[2001:db8::7]:51820".parse().unwrap(), peers: 1 },
            ],
        },
        peers: vec![
            Peer {
                endpoint: Some("203.0.113.9:51820".parse().unwrap()),
                endpoint_source: Some("configured".into()),
                rtt_us: Some(12_345),
                handshake_age_s: Some(72),
                rx_bytes: 123_456,
                tx_bytes: 7_890,
                ..peer(Some("dora"), "lABn/axzD1jkFulX8c+K3B3CbKXORlIMDDoe8sQVxhs=", "10.14.0.2")
            },
            Peer {
                state: PeerState::Waiting,
                reason: Some(Reason {
                    id: "no-mediator".into(),
                    message: "no connected peer could introduce us".into(),
                }),
                ..peer(None, "EtRoWBYCdjqgXX0L+uWLg8KxNfIK8k9OTh30tL19bXU=", "10.14.0.3")
            },
            Peer {
                state: PeerState::Connecting,
                endpoint: Some("203.0.113.77:40001".parse().unwrap()),
                endpoint_source: Some("mediated".into()),
                reason: Some(Reason { id: "connecting".into(), message: "connecting".into() }),
                via: Some("dora".into()),
                ..peer(Some("bob"), "gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA=", "10.14.0.4")
            },
            Peer {
                state: PeerState::Connected,
                endpoint: Some("[2001:db8::4]:51820".parse().unwrap()),
                endpoint_source: Some("roamed".into()),
                rtt_us: Some(843),
                handshake_age_s: Some(3),
                ..peer(Some("alice"), "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=", "fd14::5")
            },
        ],
        counters: BTreeMap::from([("rx_datagrams".into(), 42), ("rx_bad".into(), 1)]),
    }
}

#[test]
fn the_table_to_the_letter() {
    let shown = table(&sample());
    assert_eq!(
        shown,
        "\
wg0  7Nm7pMmy  10.14.0.1  gossip port 1666  WireGuard port 51820  up 3h12m
seen at 198.51.100.7:51820 by 2 peers, [2001:db8::7]:51820 by 1 peer; endpoint-independent NAT (IPv4), no NAT (IPv6)
2 of 4 peers connected

PEER      STATE       ENDPOINT             FROM        RTT    HANDSHAKE
EtRoWBYC  waiting     -                    -           -      -
  no-mediator: no connected peer could introduce us
bob       connecting  203.0.113.77:40001   mediated    -      -
  connecting: by way of dora
alice     connected   [2001:db8::4]:51820  roamed      0.8ms  3s
dora      connected   203.0.113.9:51820    configured  12ms   1m12s
"
    );
}

/// Below the peer that it is about, connected elsewhere or not; in the JSON as an address.
#[test]
fn a_place_on_the_lan_that_does_not_answer_is_named() {
    let mut status = sample();
    status.peers[0].lan_barred = Some("192.168.1.9:51820".parse().unwrap());
    status.peers[1].lan_barred = Some("[fe80::9%3]:51820".parse().unwrap());
    let shown = table(&status);
    let rows = |from: &str| {
        let at = shown.find(from).unwrap();
        shown[at..].lines().skip(1).take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let text = "on the LAN, and its WireGuard does not answer there: tried again later";
    assert_eq!(
        rows("EtRoWBYC  waiting"),
        [
            "  no-mediator: no connected peer could introduce us".to_owned(),
            format!("  lan-no-answer: [fe80::9%3]:51820 is {text}"),
        ]
    );
    assert_eq!(rows("dora      connected"), [format!("  lan-no-answer: 192.168.1.9:51820 is {text}")]);
    assert_eq!(shown.matches("lan-no-answer").count(), 2);
    assert!(status.to_json().contains(r#""lan_barred":"[fe80::9%3]:51820""#));
    let read: Status = serde_json::from_str(&status.to_json()).unwrap();
    assert_eq!(read, status, "with its zone");
}

#[test]
fn what_is_in_front_of_the_node_is_shown_in_words() {
    let mut status = sample();
    for (v4, v6, words) in [
        (None, None, "NAT unknown"),
        (Some("open"), None, "no NAT"),
        (Some("open"), Some("open"), "no NAT"),
        (None, Some("translated"), "a NAT of unknown kind"),
        (Some("endpoint-dependent"), Some("open"), "endpoint-dependent NAT (IPv4), no NAT (IPv6)"),
    ] {
        status.node.nat = Nats { ipv4: v4.map(Into::into), ipv6: v6.map(Into::into) };
        assert!(table(&status).contains(&format!(" by 1 peer; {words}\n")), "{words}");
    }
}

/// What stands in the way is said as soon as it is known, not when the last try has failed.
#[test]
fn a_known_obstacle_is_shown_while_it_is_tried_once_more() {
    let mut status = sample();
    status.peers[2].reason =
        Some(Reason { id: "endpoint-dependent-nat".into(), message: "cannot be punched".into() });
    let shown = table(&status);
    assert!(
        shown.contains("\n  endpoint-dependent-nat: cannot be punched (being tried by way of dora)\n"),
        "{shown}"
    );
    status.peers[2].state = PeerState::Waiting;
    assert!(table(&status).contains("(last tried by way of dora)\n"));
}

#[test]
fn the_table_of_a_node_that_waits() {
    let mut status = sample();
    status.peers.clear();
    status.node = Node {
        interface_up: false,
        key: None,
        mesh_address: None,
        listen_port: None,
        seen_at: Vec::new(),
        nat: Nats::default(),
        uptime_s: 5,
        ..status.node
    };
    assert_eq!(
        table(&status),
        "\
wg0  gossip port 1666  up 5s
the interface is not there: waiting for it
seen by nobody yet; NAT unknown
0 of 0 peers connected
"
    );
}

/// The longest IPv4 endpoint and a name of usual length leave a line within a terminal's 80 columns.
#[test]
fn a_usual_table_fits_a_terminal() {
    let mut status = sample();
    status.peers.truncate(1);
    status.peers[0] = Peer {
        name: Some("thirteen-char".into()),
        endpoint: Some("203.113.113.113:51820".parse().unwrap()),
        state: PeerState::Connecting,
        reason: Some(Reason { id: "x".into(), message: "y".into() }),
        ..status.peers[0].clone()
    };
    for line in table(&status).lines().skip(3) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

/// What is the matter with many is said once, and those who are well come after all who are not.
#[test]
fn a_hundred_peers_are_readable() {
    let mut status = sample();
    let reason = |id: &str, message: &str| Some(Reason { id: id.into(), message: message.into() });
    let numbered = |number: usize| {
        let mut key = String::from("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        key.replace_range(..4, &format!("n{number:03}"));
        let name = format!("node{number:02}");
        Peer {
            rtt_us: Some(12_345),
            handshake_age_s: Some(72),
            endpoint: Some(format!("203.0.113.{number}:51820").parse().unwrap()),
            endpoint_source: Some("mediated".into()),
            ..peer(Some(&name), &key, &format!("10.14.1.{number}"))
        }
    };
    status.peers = (1..=100).map(numbered).collect();
    for (number, peer) in status.peers.iter_mut().enumerate() {
        let (state, why, via) = match number % 10 {
            3 => (PeerState::Waiting, reason("endpoint-dependent-nat", "cannot be punched"), None),
            5 if number < 50 => {
                (PeerState::Waiting, reason("no-answer", "nothing comes back"), Some("node01"))
            }
            5 => (PeerState::Waiting, reason("no-answer", "nothing comes back"), Some("node02")),
            7 if number < 10 => {
                (PeerState::Connecting, reason("no-answer", "nothing comes back"), Some("node01"))
            }
            _ => continue,
        };
        *peer = Peer {
            state,
            reason: why,
            via: via.map(Into::into),
            endpoint: None,
            rtt_us: None,
            ..peer.clone()
        };
    }
    let shown = table(&status);
    let lines: Vec<&str> = shown.lines().skip(5).collect();
    assert_eq!(lines.len(), 100 + 4, "one line for each, and one for each reason:\n{shown}");
    let said = |place: usize| lines[place];
    assert_eq!(said(10), "  these 10: endpoint-dependent-nat: cannot be punched");
    assert_eq!(said(16), "  these 5: no-answer: nothing comes back (last tried by way of node01)");
    assert_eq!(said(22), "  these 5: no-answer: nothing comes back (last tried by way of node02)");
    assert_eq!(said(24), "  no-answer: nothing comes back (being tried by way of node01)");
    let names = |lines: &[&str]| lines.iter().map(|line| line[..6].to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&lines[..3]), ["node04", "node14", "node24"]);
    assert_eq!(names(&lines[25..28]), ["node01", "node02", "node03"]);
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{shown}");
}

#[test]
fn how_far_the_mesh_is_with_a_new_secret_is_shown() {
    let mut status = sample();
    assert!(!table(&status).contains("secret"));
    status.node.rotation = Some(Rotation::Next);
    for (peer, has) in status.peers.iter_mut().zip([true, false, false, false]) {
        peer.has_newest_secret = Some(has);
    }
    let shown = table(&status);
    let lines: Vec<&str> = shown.lines().skip(2).take(2).collect();
    assert_eq!(
        lines,
        [
            "2 of 4 peers connected",
            "the next secret was shown by 1 of 2 connected peers; not by EtRoWBYC, bob, alice"
        ]
    );
    for peer in &mut status.peers {
        peer.has_newest_secret = Some(true);
    }
    status.node.rotation = Some(Rotation::Previous);
    assert!(table(&status).contains("\nthe present secret was shown by 2 of 2 connected peers\n"));
    let many: Vec<Peer> =
        (0..20).map(|n| Peer { name: Some(format!("p{n:02}")), ..status.peers[1].clone() }).collect();
    status.peers = many.into_iter().map(|peer| Peer { has_newest_secret: Some(false), ..peer }).collect();
    assert!(
        table(&status)
            .contains(" 0 of 0 connected peers; not by p00, p01, p02, p03, p04, p05, p06, p07 and 12 more\n")
    );
    let json = status.to_json();
    assert!(json.contains(r#""rotation":"previous""#) && json.contains(r#""has_newest_secret":false"#));
    assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
    let newer = json.replace(r#""rotation":"previous""#, r#""rotation":"beyond""#);
    assert_eq!(serde_json::from_str::<Status>(&newer).unwrap().node.rotation, Some(Rotation::Unknown));
}

#[test]
fn the_table_obeys_no_terminal_codes() {
    let mut status = sample();
    status.peers[0].name = Some("\u{1b}[2Jx\n".into());
    status.peers[1].reason = Some(Reason { id: "\r".into(), message: "\u{7}".into() });
    assert!(!table(&status).contains(|c: char| c.is_control() && c != '\n'));
    assert_eq!(table(&status).lines().count(), table(&sample()).lines().count());
    status.peers[0].name = Some("ö".repeat(63));
    assert!(table(&status).contains(&format!("{}...  ", "ö".repeat(21))));
}

#[test]
fn the_json_to_the_letter() {
    let mut status = sample();
    status.peers.truncate(2);
    assert_eq!(
        status.to_json(),
        concat!(
            r#"{"version":1,"node":{"version":"0.1.0","interface":"wg0","interface_up":true,"#,
            r#""key":"7Nm7pMmyS7Nts1MB+loyD8u84ODxHPTkDu+uqQR6yDk=","mesh_address":"10.14.0.1","gossip_port":1666,"#,
            r#""listen_port":51820,"uptime_s":11525,"openers":true,"nat":{"ipv4":"endpoint-independent","ipv6":"open"},"seen_at":["#,
            r#"{"endpoint":"198.51.100.7:51820","peers":2},{"endpoint":"[2001:db8::7]:51820","peers":1}],"port_mapping":null,"rotation":null},"peers":["#,
            r#"{"name":"dora","key":"lABn/axzD1jkFulX8c+K3B3CbKXORlIMDDoe8sQVxhs=","address":"10.14.0.2","#,
            r#""state":"connected","endpoint":"203.0.113.9:51820","endpoint_source":"configured","rtt_us":12345,"#,
            r#""handshake_age_s":72,"rx_bytes":123456,"tx_bytes":7890,"reason":null,"lan_barred":null,"via":null,"nat":{"ipv4":null,"ipv6":null},"has_newest_secret":null},"#,
            r#"{"name":null,"key":"EtRoWBYCdjqgXX0L+uWLg8KxNfIK8k9OTh30tL19bXU=","address":"10.14.0.3","#,
            r#""state":"waiting","endpoint":null,"endpoint_source":null,"rtt_us":null,"handshake_age_s":null,"#,
            r#""rx_bytes":0,"tx_bytes":0,"#,
            r#""reason":{"id":"no-mediator","message":"no connected peer could introduce us"},"lan_barred":null,"via":null,"nat":{"ipv4":null,"ipv6":null},"has_newest_secret":null}],"#,
            r#""counters":{"rx_bad":1,"rx_datagrams":42}}"#,
            "\n"
        )
    );
    assert_eq!(serde_json::from_str::<Status>(&status.to_json()).unwrap(), status);
}

#[test]
fn a_newer_daemon_is_understood() {
    let newer =
        sample().to_json().replace("\"connecting\",\"endpoint\"", "\"dreaming\",\"mood\":7,\"endpoint\"");
    let status: Status = serde_json::from_str(&newer).unwrap();
    assert_eq!(status.peers[2].state, PeerState::Unknown);
    assert!(table(&status).contains("bob       unknown"));
}

#[test]
fn the_port_mapping_is_shown_and_why_there_is_none() {
    let mut status = sample();
    let mut lines = |mapped: &[&str], reason: Option<&str>| {
        let mapped = mapped.iter().map(|endpoint| crate::control::status::Mapped {
            endpoint: endpoint.parse().unwrap(),
            protocol: "PCP".into(),
            gateway: [192, 168, 1, 1].into(),
            lease_s: 3599,
        });
        let reason = reason.map(|id| Reason { id: id.into(), message: "so it says".into() });
        status.node.port_mapping =
            Some(crate::control::status::PortMapping { mapped: mapped.collect(), reason });
        let json: Status = serde_json::from_str(&status.to_json()).unwrap();
        assert_eq!(json, status);
        let table = table(&status);
        table
            .lines()
            .skip(2)
            .take_while(|line| !line.contains("peers connected"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(lines(&[], None), "no port mapping yet");
    assert_eq!(lines(&[], Some("refused")), "no port mapping: refused: so it says");
    assert_eq!(
        lines(&["203.0.113.7:33723", "[2001:db8::7]:51820"], Some("no-answer")),
        "port mapping 203.0.113.7:33723 by PCP of 192.168.1.1, for 59m59s\n\
         port mapping [2001:db8::7]:51820 by PCP of 192.168.1.1, for 59m59s\n  not renewed: no-answer: so it says"
    );
    // A daemon of before knows nothing of it.
    let older = sample().to_json().replace(",\"port_mapping\":null", "");
    assert_eq!(serde_json::from_str::<Status>(&older).unwrap().node.port_mapping, None);
}

/// Ends [`serve`] when the asking side is done or has failed: a test that fails must not hang.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Polls and handles until `done`, which another thread sets; the time passed in stands still.
fn serve(server: &mut Server, answer: impl Fn(&Request) -> String, done: &AtomicBool) {
    while !done.load(Ordering::Acquire) {
        let fds: Vec<PollFd<'_>> = server.interests().map(|(fd, interest)| interest.of(fd)).collect();
        clock::ready_within(&fds, Duration::from_millis(10));
        drop(fds);
        server.handle(Instant::from_secs(1), |request, _| Some(answer(&request)));
    }
}

#[test]
fn asks_and_answers() {
    let directory = Directory::new();
    let wg0 = name("wg0");
    let mut server = Server::bind(&directory.0, &wg0).unwrap();
    let mode = fs::metadata(server.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(running(&directory.0).unwrap(), core::slice::from_ref(&wg0));

    // Larger than any socket buffer, so that it goes in many pieces.
    let mut large = sample();
    large.node.nat.ipv4 = Some("n".repeat(4_000_000));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&mut server, |request| request.answer(&large).unwrap(), &done));
        let _done = Done(&done);
        let said = fetch(&directory.0, &wg0, &Request::Status, PATIENCE);
        let for_people = fetch(&directory.0, &wg0, &Request::Table, PATIENCE);
        let other = fetch_line(&directory.0, "stats\n");
        let latin1 = fetch_line(&directory.0, "\u{fc}\n");
        let long = fetch_line(&directory.0, &"x".repeat(1000));
        assert_eq!(said.unwrap(), large.to_json());
        assert_eq!(for_people.unwrap(), table(&large));
        let known = Request::KNOWN.replace('"', "\\\"");
        let unknown = format!(
            "{{\"version\":1,\"error\":{{\"id\":\"unknown-request\",\"message\":\"this version knows the requests \
             {known}\"}}}}\n"
        );
        assert_eq!(other, unknown);
        assert_eq!(latin1, unknown);
        assert!(long.contains("request-too-long"), "{long}");
    });
}

fn fetch_line(directory: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(directory.join("wg0.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // What is beyond the longest request is not read, so writing it may fail.
    let _ = stream.write_all(line.as_bytes());
    let mut said = Vec::new();
    // Closing with bytes unread resets the connection, after the answer.
    let _ = stream.read_to_end(&mut said);
    String::from_utf8(said).unwrap()
}

/// Turns the server until nothing more happens: a client's bytes are there as soon as its write has returned.
fn turn(server: &mut Server, now: Instant) -> usize {
    let mut asked = 0;
    server.handle(now, |_, _| {
        asked += 1;
        Some("answer\n".into())
    });
    asked
}

#[test]
fn silent_clients_hold_their_place_for_a_while_only() {
    let directory = Directory::new();
    let mut server = Server::bind(&directory.0, &name("wg0")).unwrap();
    let path = server.path().to_owned();
    let start = Instant::from_secs(100);
    assert_eq!(server.next_timeout(), None);
    let mut silent: Vec<UnixStream> = (0..MAX_CLIENTS).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let mut late = UnixStream::connect(&path).unwrap();
    late.write_all(b"status\n").unwrap();
    assert_eq!(turn(&mut server, start), 0);
    // All places are taken: the listener is not even polled, and the late one is not heard.
    assert_eq!(server.interests().count(), MAX_CLIENTS);
    assert!(server.interests().all(|(_, interest)| interest == Interest::Readable));
    let timeout = server.next_timeout().unwrap();
    assert_eq!(timeout, start + Duration::from_secs(5));
    silent[0].write_all(b"sta").unwrap();
    assert_eq!(turn(&mut server, timeout - Duration::from_millis(1)), 0);

    // Time is up: they are let go, and the late one gets its turn.
    assert_eq!(turn(&mut server, timeout), 0);
    assert_eq!(turn(&mut server, timeout), 1);
    let mut said = String::new();
    late.read_to_string(&mut said).unwrap();
    assert_eq!(said, "answer\n");
    for stream in &mut silent {
        // Hung up on: end of file, or a reset where something was left unread.
        assert!(!matches!(stream.read(&mut [0; 8]), Ok(1..)));
    }
    assert_eq!(server.next_timeout(), None);
    assert_eq!(server.interests().count(), 1);
}

#[test]
fn a_client_that_does_not_read_delays_nobody() {
    let directory = Directory::new();
    let mut server = Server::bind(&directory.0, &name("wg0")).unwrap();
    let mut deaf = UnixStream::connect(server.path()).unwrap();
    deaf.write_all(b"status\n").unwrap();
    let now = Instant::from_secs(1);
    server.handle(now, |_, _| Some("x".repeat(10_000_000)));
    let waiting: Vec<Interest> = server.interests().map(|(_, interest)| interest).collect();
    assert_eq!(waiting, [Interest::Readable, Interest::Writable]);
    let mut brisk = UnixStream::connect(server.path()).unwrap();
    brisk.write_all(b"status\n").unwrap();
    assert_eq!(turn(&mut server, now), 1);
    let mut said = String::new();
    brisk.read_to_string(&mut said).unwrap();
    assert_eq!(said, "answer\n");
    assert_eq!(turn(&mut server, now + Duration::from_secs(5)), 0);
    assert_eq!(server.interests().count(), 1);
}

#[test]
fn an_answer_may_come_later() {
    let directory = Directory::new();
    let mut server = Server::bind(&directory.0, &name("wg0")).unwrap();
    let start = Instant::from_secs(1);
    let mut tickets = Vec::new();
    let mut clients: Vec<UnixStream> = (0..3)
        .map(|_| {
            let mut client = UnixStream::connect(server.path()).unwrap();
            client.write_all(b"status\n").unwrap();
            server.handle(start, |_, ticket| {
                tickets.push(ticket);
                None
            });
            client
        })
        .collect();
    // Who waits is not polled, and is not heard a second time.
    assert_eq!(server.interests().count(), 1);
    assert_eq!(turn(&mut server, start), 0);
    let mut said = String::new();
    server.settle(tickets[1], "second\n".into());
    clients[1].read_to_string(&mut said).unwrap();
    assert_eq!(said, "second\n");
    // More than fits goes on as any answer does.
    server.settle(tickets[0], "x".repeat(10_000_000));
    assert_eq!(server.interests().filter(|(_, interest)| *interest == Interest::Writable).count(), 1);
    let timeout = server.next_timeout().unwrap();
    assert_eq!(turn(&mut server, timeout), 0);
    assert_eq!(server.next_timeout(), None);
    // Too late, and once more: nobody is there.
    server.settle(tickets[2], "third\n".into());
    server.settle(tickets[1], "second\n".into());
    assert_eq!(clients[2].read_to_string(&mut said).unwrap(), 0);
}

#[test]
fn clients_that_go_away_free_their_place() {
    let directory = Directory::new();
    let mut server = Server::bind(&directory.0, &name("wg0")).unwrap();
    let now = Instant::from_secs(1);
    for _ in 0..3 * MAX_CLIENTS {
        let mut gone = UnixStream::connect(server.path()).unwrap();
        gone.write_all(b"stat").unwrap();
        gone.shutdown(Shutdown::Both).unwrap();
        drop(gone);
        assert_eq!(turn(&mut server, now), 0);
        assert_eq!(server.interests().count(), 1);
    }
    // One that asks and leaves is answered into the void.
    let mut gone = UnixStream::connect(server.path()).unwrap();
    gone.write_all(b"status\n").unwrap();
    drop(gone);
    assert_eq!(turn(&mut server, now), 1);
    assert_eq!(server.interests().count(), 1);
}

#[test]
fn a_request_may_come_in_pieces() {
    let directory = Directory::new();
    let mut server = Server::bind(&directory.0, &name("wg0")).unwrap();
    let mut client = UnixStream::connect(server.path()).unwrap();
    let now = Instant::from_secs(1);
    for piece in ["st", "at", "us", "\r"] {
        client.write_all(piece.as_bytes()).unwrap();
        assert_eq!(turn(&mut server, now), 0);
    }
    client.write_all(b"\n").unwrap();
    assert_eq!(turn(&mut server, now), 1);
}

#[test]
fn a_living_daemon_keeps_its_socket_and_a_dead_one_leaves_it() {
    let directory = Directory::new();
    let wg0 = name("wg0");
    let first = Server::bind(&directory.0, &wg0).unwrap();
    let path = first.path().to_owned();
    assert!(matches!(Server::bind(&directory.0, &wg0), Err(BindError::InUse(at)) if at == path));
    // Another interface is another daemon.
    let other = Server::bind(&directory.0, &name("wg1")).unwrap();
    assert_eq!(running(&directory.0).unwrap(), [wg0.clone(), name("wg1")]);
    drop(other);

    drop(first);

    // A daemon that was killed leaves a socket that nobody listens on.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    assert!(matches!(fetch(&directory.0, &wg0, &Request::Status, PATIENCE), Err(FetchError::NotRunning(_))));
    let second = Server::bind(&directory.0, &wg0).unwrap();
    drop(second);
    assert!(!path.exists());
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 0, "no temporary name is left");
}

#[test]
fn only_the_own_socket_is_removed() {
    let directory = Directory::new();
    let server = Server::bind(&directory.0, &name("wg0")).unwrap();
    let path = server.path().to_owned();
    fs::remove_file(&path).unwrap();
    let successor = Server::bind(&directory.0, &name("wg0")).unwrap();
    drop(server);
    assert!(path.exists());
    drop(successor);
    assert!(!path.exists());
}

#[test]
fn unsafe_places_are_refused() {
    let directory = Directory::new();
    let wg0 = name("wg0");
    fs::write(directory.0.join("wg0.sock"), "precious").unwrap();
    assert!(matches!(Server::bind(&directory.0, &wg0), Err(BindError::NotASocket(_))));
    assert_eq!(fs::read_to_string(directory.0.join("wg0.sock")).unwrap(), "precious");

    let made = directory.0.join("made");
    drop(Server::bind(&made, &wg0).unwrap());
    assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o755);

    let open = directory.0.join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(Server::bind(&open, &wg0), Err(BindError::UnsafeDirectory(at)) if at == open));

    let link = directory.0.join("link");
    std::os::unix::fs::symlink(&made, &link).unwrap();
    assert!(matches!(Server::bind(&link, &wg0), Err(BindError::UnsafeDirectory(_))));

    let long = directory.0.join("n".repeat(100));
    assert!(matches!(Server::bind(&long, &wg0), Err(BindError::Io { .. })));
}

#[test]
fn the_client_tells_failures_apart() {
    let directory = Directory::new();
    let wg0 = name("wg0");
    let short = core::time::Duration::from_millis(20);
    let ask = |request: &Request, patience| fetch(&directory.0, &wg0, request, patience);
    assert!(matches!(ask(&Request::Status, PATIENCE), Err(FetchError::NotRunning(_))));
    assert_eq!(running(&directory.0.join("none")).unwrap(), []);

    let mut server = Server::bind(&directory.0, &wg0).unwrap();
    // Nobody turns the server.
    assert!(matches!(ask(&Request::Status, short), Err(FetchError::TimedOut)));

    let (status, table) = (&Request::Status, &Request::Table);
    for (request, answer, whole) in [
        (status, "{\"half\"", None),
        (status, "", None),
        (status, "{}\n", Some("{}\n")),
        (table, "", None),
        (table, "half", None),
        (table, "one line\n", None),
        (table, "one line\n\n", None),
        (table, "one line\n\nanother.\n.\n", Some("one line\n\nanother.\n")),
    ] {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| serve(&mut server, |_| answer.to_owned(), &done));
            let _done = Done(&done);
            let said = ask(request, PATIENCE);
            match said {
                Ok(text) => assert_eq!(Some(&*text), whole),
                Err(error) => {
                    assert!(
                        whole.is_none() && matches!(error, FetchError::Incomplete),
                        "{answer:?}: {error}"
                    );
                }
            }
        });
    }

    // As a daemon of before answers a request that it does not know.
    let refusal = "{\"version\":1,\"error\":{\"id\":\"unknown-request\",\"message\":\"a \\\"word\\\"\"}}\n";
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&mut server, |_| refusal.to_owned(), &done));
        let _done = Done(&done);
        match ask(table, PATIENCE) {
            Err(FetchError::Refused(why)) => {
                assert_eq!(why, "{\"id\":\"unknown-request\",\"message\":\"a \\\"word\\\"\"}");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn the_sockets_are_where_the_system_has_such_things() {
    let root = std::env::temp_dir().join(format!("wgautomesh-root-{}", std::process::id()));
    fs::create_dir_all(root.join("var/run")).unwrap();
    assert_eq!(default_directory(&root), root.join("var/run/wgautomesh"));
    fs::create_dir(root.join("run")).unwrap();
    assert_eq!(default_directory(&root), root.join("run/wgautomesh"));
    fs::remove_dir_all(&root).unwrap();
}

#[cfg(feature = "admin")]
mod handing_over {
    use super::super::{Handover, Reloaded};
    use super::*;
    use crate::config::FileKey;
    use std::fs::File;

    /// What a daemon finds in the files that came with a request, and what the asking side is told.
    fn said(request: &Request) -> Reloaded {
        let directory = Directory::new();
        let wg0 = name("wg0");
        let mut server = Server::bind(&directory.0, &wg0).unwrap();
        let answer = |request: &Request| {
            let Request::Reload(handover) = request else { panic!("{request:?}") };
            let Some(handover) = handover else {
                return Reloaded { done: true, text: "nothing came\n".into() }.answer();
            };
            let Some(files) = handover.files().unwrap() else {
                return Reloaded { done: false, text: "not all came\n".into() }.answer();
            };
            let mut text = format!("{}\n", handover.name().display());
            for (key, mut file) in files {
                text.push_str(&format!("{key:?}: "));
                file.read_to_string(&mut text).unwrap();
            }
            Reloaded { done: true, text }.answer()
        };
        let done = AtomicBool::new(false);
        let said = std::thread::scope(|scope| {
            scope.spawn(|| serve(&mut server, answer, &done));
            let _done = Done(&done);
            fetch(&directory.0, &wg0, request, PATIENCE)
        });
        Reloaded::parse(&said.unwrap()).unwrap()
    }

    #[test]
    fn files_come_with_a_request() {
        let directory = Directory::new();
        let file = |name: &str, text: &str| {
            let path = directory.0.join(name);
            fs::write(&path, text).unwrap();
            File::open(path).unwrap()
        };
        let both = || {
            vec![
                (FileKey::Configuration, file("a.toml", "a = 1\n")),
                (FileKey::Secret, file("a.secret", "hush\n")),
            ]
        };
        let handed = |name: &str, files| Request::Reload(Some(Handover::new(Path::new(name), files)));
        let done = |text: &str| Reloaded { done: true, text: text.into() };
        assert_eq!(said(&Request::Reload(None)), done("nothing came\n"));
        assert_eq!(
            said(&handed("/etc/a b.toml", both())),
            done("/etc/a b.toml\nConfiguration: a = 1\nSecret: hush\n")
        );
        let only = vec![(FileKey::Configuration, file("a.toml", "a = 1\n"))];
        assert_eq!(said(&handed("a.toml", only)), done("a.toml\nConfiguration: a = 1\n"));
        // A name that would not fit keeps its end, and ends no line.
        let long = format!("/{}\u{fc}/x\ny.toml", "\u{e4}".repeat(500));
        let shown = said(&handed(&long, both()));
        let shown = shown.text.lines().next().unwrap();
        assert!(shown.ends_with("\u{e4}\u{fc}/x?y.toml") && shown.len() <= 140, "{shown}");
    }

    #[test]
    fn a_request_without_its_files_is_known_by_that() {
        let directory = Directory::new();
        let wg0 = name("wg0");
        let mut server = Server::bind(&directory.0, &wg0).unwrap();
        let mut asked = |line: &str| {
            let mut client = UnixStream::connect(server.path()).unwrap();
            client.write_all(line.as_bytes()).unwrap();
            let mut found = None;
            server.handle(Instant::from_secs(1), |request, _| {
                let Request::Reload(Some(handover)) = request else { panic!("{request:?}") };
                found = Some(handover.files().unwrap().is_some());
                Some(String::new())
            });
            found
        };
        assert_eq!(asked("reload configuration /etc/a.toml\n"), Some(false));
        // Not a request at all.
        for line in ["reload x /etc/a.toml\n", "reload configuration\n", "reload configuration, a\n"] {
            assert_eq!(asked(line), None, "{line}");
        }
    }

    #[test]
    fn an_answer_is_read_back() {
        for (done, text) in [(true, "wg0: reloaded\n"), (false, "a\n.b\n"), (false, "")] {
            let reloaded = Reloaded { done, text: text.into() };
            let answer = reloaded.answer();
            assert_eq!(Reloaded::parse(answer.strip_suffix(".\n").unwrap()), Some(reloaded));
        }
        assert_eq!(Reloaded::parse("perhaps\n"), None);
    }
}
