//! What a client on the configuration socket sees, without an interface and, but for the last test, without a network.

use super::*;

/// A device whose interface swallows everything.
fn device() -> Device {
    let path = std::env::temp_dir().join(format!(
        "box-device-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let _ = std::fs::remove_file(&path);
    Device::new(File::options().read(true).write(true).open("/dev/null").unwrap(), listener)
}

fn set(device: &mut Device, lines: &str) -> String {
    device.answer(Instant::now(), &format!("set=1\n{lines}\n\n"))
}

fn get(device: &mut Device) -> String {
    device.answer(Instant::now(), "get=1\n\n")
}

/// The lines of one peer in what `get` answers.
fn lines_of(device: &mut Device, peer: &Key) -> Vec<String> {
    get(device)
        .lines()
        .skip_while(|line| *line != format!("public_key={}", peer.hex()))
        .skip(1)
        .take_while(|line| !line.starts_with("public_key=") && !line.starts_with("errno="))
        .map(String::from)
        .collect()
}

fn value(device: &mut Device, peer: &Key, key: &str) -> Option<String> {
    lines_of(device, peer).iter().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix('=')?.to_owned()))
}

#[test]
fn the_private_key_is_shown_and_our_own_peer_is_not_added() {
    let mut device = device();
    let private = Key([3; 32]);
    assert_eq!(set(&mut device, &format!("private_key={}\nfwmark=0", private.hex())), "errno=0\n\n");
    assert!(get(&mut device).contains(&format!("private_key={}\n", private.hex())));
    set(&mut device, &format!("public_key={}", private.public().hex()));
    assert!(!get(&mut device).contains("public_key="));
}

#[test]
fn an_endpoint_changes_in_place() {
    let mut device = device();
    let peer = Key([4; 32]);
    let index = |device: &Device| device.peers[0].index;
    set(&mut device, &format!("public_key={}\nendpoint=192.0.2.1:1\nallowed_ip=10.14.0.4/32", peer.hex()));
    let before = index(&device);
    set(&mut device, &format!("public_key={}\nupdate_only=true\nendpoint=[2001:db8::1]:2", peer.hex()));
    assert_eq!(value(&mut device, &peer, "endpoint").unwrap(), "[2001:db8::1]:2");
    assert_eq!(value(&mut device, &peer, "allowed_ip").unwrap(), "10.14.0.4/32");
    assert_eq!(index(&device), before, "the same peer");
    assert_eq!(device.peers.len(), 1);

    // Removed and added in one message: another one, which knows nothing.
    set(&mut device, &format!("public_key={0}\nremove=true\npublic_key={0}", peer.hex()));
    assert_eq!(value(&mut device, &peer, "endpoint"), None);
    assert_eq!(value(&mut device, &peer, "allowed_ip"), None);
    assert_ne!(index(&device), before);
}

#[test]
fn update_only_adds_nobody() {
    let mut device = device();
    let peer = Key([4; 32]).hex();
    assert_eq!(
        set(&mut device, &format!("public_key={peer}\nupdate_only=true\nallowed_ip=10.14.0.4/32")),
        "errno=0\n\n"
    );
    assert!(device.peers.is_empty());
    assert_eq!(device.io.allowed_ips.lookup([10, 14, 0, 4].into()), None);
}

#[test]
fn allowed_ips_add_up_move_and_are_replaced() {
    let mut device = device();
    let (a, b) = (Key([4; 32]), Key([5; 32]));
    set(&mut device, &format!("public_key={}\nallowed_ip=10.14.0.4/32\nallowed_ip=10.20.0.0/16", a.hex()));
    set(&mut device, &format!("public_key={}\nallowed_ip=10.30.0.0/16", a.hex()));
    let ranges = |device: &mut Device, peer| {
        lines_of(device, peer).iter().filter(|line| line.starts_with("allowed_ip=")).count()
    };
    assert_eq!(ranges(&mut device, &a), 3);
    set(&mut device, &format!("public_key={}\nallowed_ip=10.20.0.0/16", b.hex()));
    assert_eq!((ranges(&mut device, &a), ranges(&mut device, &b)), (2, 1));
    set(&mut device, &format!("public_key={}\nreplace_allowed_ips=true\nallowed_ip=10.14.0.9/32", a.hex()));
    assert_eq!(ranges(&mut device, &a), 1);
    set(&mut device, "replace_peers=true");
    assert!(!get(&mut device).contains("public_key="));
}

#[test]
fn a_refused_request_changes_nothing_and_says_why() {
    let mut device = device();
    assert_eq!(set(&mut device, "fwmark=5\nlisten_port=70000"), "errno=-22\n\n");
    assert_eq!(device.fwmark, 0);
    let taken = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    assert_eq!(set(&mut device, &format!("listen_port={port}")), "errno=-98\n\n");
}

#[test]
fn requests_follow_each_other_on_one_connection_and_in_pieces() {
    let mut device = device();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    device.clients.push(Client { stream: ours, input: Vec::new() });
    let read = |stream: &mut UnixStream| {
        let mut bytes = [0; 1000];
        let length = stream.read(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    theirs.write_all(b"set=1\nfwm").unwrap();
    assert!(device.serve_client(0, Instant::now()));
    theirs.write_all(b"ark=9\n\nget=1\n\n").unwrap();
    assert!(device.serve_client(0, Instant::now()));
    assert_eq!(read(&mut theirs), "errno=0\n\nlisten_port=0\nfwmark=9\nerrno=0\n\n");
    drop(theirs);
    assert!(!device.serve_client(0, Instant::now()), "a client that left is forgotten");
}

#[test]
fn two_devices_shake_hands_over_loopback_and_stamp_it_with_the_time_of_day() {
    let (mut a, mut b) = (device(), device());
    let (key_a, key_b) = (Key([6; 32]), Key([7; 32]));
    set(&mut a, &format!("private_key={}\nlisten_port=0", key_a.hex()));
    set(&mut b, &format!("private_key={}\nlisten_port=0", key_b.hex()));
    let (public_a, public_b) = (key_a.public(), key_b.public());
    set(&mut b, &format!("public_key={}\nallowed_ip=10.14.0.1/32", public_a.hex()));
    let keepalive = "persistent_keepalive_interval=25";
    let port = b.listen_port;
    let peer = format!("public_key={}\nendpoint=127.0.0.1:{port}\n{keepalive}", public_b.hex());
    assert_eq!(set(&mut a, &peer), "errno=0\n\n");

    let deadline = Instant::now() + Duration::from_secs(20);
    let (mut buffer, mut scratch) = (vec![0; 2048], vec![0; 2048]);
    while b.peers[0].last_handshake.is_none() {
        assert!(Instant::now() < deadline, "no handshake");
        for device in [&mut a, &mut b] {
            device.read_udp(Instant::now(), false, &mut buffer, &mut scratch);
        }
    }
    let wall = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for (device, peer) in [(&mut a, &public_b), (&mut b, &public_a)] {
        let stamp: u64 = value(device, peer, "last_handshake_time_sec").unwrap().parse().unwrap();
        assert!(wall.abs_diff(stamp) <= 20, "{stamp}");
    }
    assert_eq!(value(&mut a, &public_b, "tx_bytes").unwrap(), (148 + 32).to_string());
    let roamed = format!("127.0.0.1:{}", a.listen_port);
    assert_eq!(value(&mut b, &public_a, "endpoint"), Some(roamed));
}
