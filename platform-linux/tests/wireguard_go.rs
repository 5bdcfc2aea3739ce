//! The WireGuard adapter against a real userspace WireGuard: `wireguard-go`, in namespaces of its own.
//!
//! Without `wireguard-go`, user namespaces or /dev/net/tun it says so and does nothing; under CI that is a failure.

mod support;

use core::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Instant,
};

use support::{add_address, in_namespaces, index, set_up};
use wgautomesh::wireguard::{ReadError, System, WireGuard as _};
use wgautomesh_core::{ActionError, PeerAction, PublicKey};

const INTERFACE: &str = "wgt";
const SOCKET: &str = "/var/run/wireguard/wgt.sock";

const PRIVATE: &str = "e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a";
const A: [u8; 32] = [0xa1; 32];
const B: [u8; 32] = [0xb2; 32];
const C: [u8; 32] = [0xc3; 32];

#[test]
fn changes_what_it_is_told_and_nothing_else() {
    in_namespaces("changes_what_it_is_told_and_nothing_else", &["wireguard-go"], inside);
}

/// Ends the process with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start() -> Running {
    let mut command = Command::new("wireguard-go");
    command.args(["-f", INTERFACE]).env("LOG_LEVEL", "error").env("WG_PROCESS_FOREGROUND", "1");
    let child = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("wireguard-go"));
    let begin = Instant::now();
    while UnixStream::connect(SOCKET).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(60), "wireguard-go does not come up");
        sleep(Duration::from_millis(5));
    }
    child
}

/// A request as the administrator's tools send it.
fn uapi(request: &str) -> String {
    let mut stream = UnixStream::connect(SOCKET).expect("the socket");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    let mut buffer = [0; 4096];
    while !answer.ends_with("\n\n") {
        let length = stream.read(&mut buffer).expect("an answer");
        assert!(length > 0, "cut: {answer}");
        answer += core::str::from_utf8(&buffer[..length]).expect("text");
    }
    assert!(answer.contains("errno=0\n"), "{request}: {answer}");
    answer
}

fn hex(key: [u8; 32]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The sorted lines about a peer that do not change by themselves; `None` if it is not there.
fn peer(key: [u8; 32]) -> Option<Vec<String>> {
    let all = uapi("get=1\n\n");
    let (_, after) = all.split_once(&format!("public_key={}\n", hex(key)))?;
    let own = after.lines().take_while(|line| !line.starts_with("public_key=") && !line.is_empty());
    let stable = ["endpoint=", "preshared_key=", "allowed_ip=", "persistent_keepalive_interval="];
    let mut own: Vec<_> =
        own.filter(|line| stable.iter().any(|key| line.starts_with(key))).map(String::from).collect();
    own.sort();
    Some(own)
}

fn key(bytes: [u8; 32]) -> PublicKey {
    PublicKey::from_bytes(bytes)
}

fn inside() {
    run("mount", &["--make-rprivate", "/"]);
    run("mount", &["-t", "tmpfs", "tmpfs", "/run"]);
    std::fs::create_dir("/run/wireguard").expect("a directory");
    set_up(1);
    let mut wireguard = System::new(INTERFACE).expect("sockets");
    assert!(matches!(wireguard.read(), Err(ReadError::Absent)));

    let device = start();
    let snapshot = wireguard.read().expect("it is there");
    assert_eq!(snapshot.interface().public_key, key([0; 32]), "no key yet");
    assert_eq!(snapshot.peers().count(), 0);

    let allowed: String = (0..300).map(|i| format!("allowed_ip=10.{}.{}.0/24\n", i / 256, i % 256)).collect();
    uapi(&format!(
        "set=1\nprivate_key={PRIVATE}\nlisten_port=51833\nfwmark=77\n\
         public_key={}\npreshared_key={}\nendpoint=127.0.0.2:1111\npersistent_keepalive_interval=25\n{allowed}\
         public_key={}\nallowed_ip=fd00:5::/64\nendpoint=127.0.0.3:2222\npersistent_keepalive_interval=7\n\n",
        hex(A),
        "5e".repeat(32),
        hex(B)
    ));
    let before = peer(A).expect("the peer");
    let foreign = peer(B).expect("the other peer");
    reads(&mut wireguard);

    readds(&mut wireguard, &before);
    changes_only_what_is_there(&mut wireguard);
    refuses_endpoints_without_a_way(&mut wireguard);

    assert_eq!(peer(B), Some(foreign), "a peer that nobody asked about");
    let device_lines = uapi("get=1\n\n");
    for line in ["listen_port=51833\n", "fwmark=77\n"] {
        assert!(device_lines.contains(line), "{line}");
    }

    drop(device);
    let begin = Instant::now();
    while !matches!(wireguard.read(), Err(ReadError::Absent)) {
        assert!(begin.elapsed() < Duration::from_secs(60), "the interface does not go");
        sleep(Duration::from_millis(5));
    }
    assert_eq!(wireguard.apply(&key(A), &PeerAction::SetKeepalive(1)), Err(ActionError::Failed));
}

fn reads(wireguard: &mut System) {
    let snapshot = wireguard.read().expect("it is there");
    let interface = snapshot.interface();
    assert_eq!(interface.public_key.to_string(), "wVMuGz01CPx+vDVPpnliDzPyhxSVQuaExnt7DYE2Kyk=");
    assert_eq!(interface.listen_port, 51833);
    assert_eq!(interface.index, index(INTERFACE));
    let peers: Vec<_> = snapshot.peers().map(|(reading, ips)| (reading, ips.count())).collect();
    let (reading, ips) = peers.iter().find(|(reading, _)| reading.key == key(A)).expect("the peer");
    assert_eq!((reading.endpoint, reading.keepalive, *ips), (Some(local(2, 1111)), 25, 300));
    assert_eq!((reading.rx_bytes, reading.last_handshake), (0, 0));
}

fn readds(wireguard: &mut System, before: &[String]) {
    let with = |endpoint: Option<&str>| {
        let mut expected: Vec<_> =
            before.iter().filter(|line| !line.starts_with("endpoint=")).cloned().collect();
        expected.extend(endpoint.map(|endpoint| format!("endpoint={endpoint}")));
        for line in &mut expected {
            if line.starts_with("persistent_keepalive_interval=") {
                *line = "persistent_keepalive_interval=0".into();
            }
        }
        expected.sort();
        Some(expected)
    };
    wireguard.apply(&key(A), &PeerAction::Readd { endpoint: Some(local(9, 9999)) }).expect("done");
    assert_eq!(peer(A), with(Some("127.0.0.9:9999")));
    // What the administrator changes meanwhile is what is restored, once the last reading is not fresh any more.
    sleep(Duration::from_millis(150));
    uapi(&format!("set=1\npublic_key={}\nallowed_ip=192.168.7.0/24\n\n", hex(A)));
    wireguard.apply(&key(A), &PeerAction::Readd { endpoint: None }).expect("done");
    let mut expected = with(None).expect("lines");
    expected.push("allowed_ip=192.168.7.0/24".into());
    expected.sort();
    assert_eq!(peer(A), Some(expected));
    assert_eq!(wireguard.apply(&key(C), &PeerAction::Readd { endpoint: None }), Err(ActionError::NoPeer));
    assert_eq!(peer(C), None);
}

fn changes_only_what_is_there(wireguard: &mut System) {
    let before = peer(A).expect("the peer");
    wireguard.apply(&key(A), &PeerAction::SetEndpoint(local(4, 4444))).expect("done");
    wireguard.apply(&key(A), &PeerAction::SetKeepalive(21)).expect("done");
    let mut expected: Vec<_> =
        before.iter().filter(|line| !line.starts_with("persistent_")).cloned().collect();
    expected.extend(["endpoint=127.0.0.4:4444".into(), "persistent_keepalive_interval=21".into()]);
    expected.sort();
    assert_eq!(peer(A), Some(expected));

    // Removed by the administrator: it stays so.
    let _ = wireguard.apply(&key(C), &PeerAction::SetEndpoint(local(4, 4444)));
    let _ = wireguard.apply(&key(C), &PeerAction::SetKeepalive(25));
    assert_eq!(peer(C), None);

    let add =
        PeerAction::Add { address: IpAddr::V4(Ipv4Addr::new(10, 99, 1, 3)), endpoint: Some(local(5, 5555)) };
    wireguard.apply(&key(C), &add).expect("done");
    let lines = peer(C).expect("the new peer");
    for line in ["allowed_ip=10.99.1.3/32", "endpoint=127.0.0.5:5555"] {
        assert!(lines.iter().any(|found| found == line), "{line}: {lines:?}");
    }
    wireguard.apply(&key(C), &PeerAction::Remove).expect("done");
    assert_eq!(peer(C), None);
}

fn refuses_endpoints_without_a_way(wireguard: &mut System) {
    let before = peer(A);
    let set = |endpoint: SocketAddr| PeerAction::SetEndpoint(endpoint);
    let nowhere = SocketAddr::from(([192, 0, 2, 1], 51820));
    assert_eq!(wireguard.apply(&key(A), &set(nowhere)), Err(ActionError::Unroutable));
    set_up(index(INTERFACE));
    add_address(index(INTERFACE), [10, 98, 0, 1], 24);
    let inside = SocketAddr::from(([10, 98, 0, 2], 51820));
    for action in [
        set(inside),
        PeerAction::Readd { endpoint: Some(inside) },
        PeerAction::Add { address: inside.ip(), endpoint: Some(inside) },
    ] {
        assert_eq!(wireguard.apply(&key(A), &action), Err(ActionError::RoutedIntoMesh), "{action:?}");
    }
    assert_eq!(peer(A), before);
}

fn local(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], port))
}

/// Runs a program that must succeed.
fn run(program: &str, arguments: &[&str]) {
    assert!(
        Command::new(program).args(arguments).status().expect(program).success(),
        "{program} {arguments:?}"
    );
}
