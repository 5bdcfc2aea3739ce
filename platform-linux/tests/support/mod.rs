//! What the tests need of the system: namespaces and a little rtnetlink, without `ip`.

use std::{ffi::OsStr, process::Command};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice::name_to_index, recv, send,
    socket_with,
};

/// Set for the run inside the namespaces.
const INSIDE: &str = "WGAUTOMESH_TEST_INSIDE";

/// Runs `test`, the whole of the test of this name, in user, network and mount namespaces of its own: by running this program
/// again below `unshare`. Where that cannot be, or `programs` are missing, it says so; under CI that is a failure.
pub(crate) fn in_namespaces(name: &str, programs: &[&str], test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let missing = ["unshare", "mount"].iter().chain(programs).find(|program| !is_there(program));
    let reason = match missing {
        Some(program) => format!("{program} is not installed"),
        None if !std::path::Path::new("/dev/net/tun").exists() => "/dev/net/tun is not there".into(),
        None => match namespaced("true").status() {
            Ok(status) if status.success() => String::new(),
            _ => "user namespaces are closed".into(),
        },
    };
    if !reason.is_empty() {
        return skip(&reason);
    }
    let mut command = namespaced(std::env::current_exe().expect("this program"));
    command.args(["--exact", name, "--nocapture"]).env(INSIDE, "1");
    assert!(command.status().expect("unshare").success());
}

fn skip(reason: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}");
    eprintln!("skipped: {reason}");
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).exists())
}

fn namespaced(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--mount", "--"]).arg(program);
    command
}

/// The index of a link that must be there.
pub(crate) fn index(interface: &str) -> u32 {
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).expect("a socket");
    name_to_index(&socket, interface).expect("the interface")
}

/// `ip link set INDEX up`
pub(crate) fn set_up(index: u32) {
    const RTM_NEWLINK: u16 = 16;
    const IFF_UP: u32 = 1;
    let mut body = vec![0; 4];
    for field in [index, IFF_UP, IFF_UP] {
        body.extend(field.to_ne_bytes());
    }
    rtnetlink(RTM_NEWLINK, &body);
}

/// `ip addr add IP/PREFIX dev INDEX`
pub(crate) fn add_address(index: u32, ip: [u8; 4], prefix: u8) {
    const RTM_NEWADDR: u16 = 20;
    let mut body = vec![2, prefix, 0, 0];
    body.extend(index.to_ne_bytes());
    for attribute in [1u16, 2] {
        body.extend([8u16.to_ne_bytes(), attribute.to_ne_bytes()].concat());
        body.extend(ip);
    }
    rtnetlink(RTM_NEWADDR, &body);
}

/// `ip addr add IP/PREFIX dev INDEX nodad`
#[allow(dead_code, reason = "not every test has IPv6")]
pub(crate) fn add_address_v6(index: u32, ip: core::net::Ipv6Addr, prefix: u8) {
    const RTM_NEWADDR: u16 = 20;
    const IFA_F_NODAD: u8 = 2;
    let mut body = vec![10, prefix, IFA_F_NODAD, 0];
    body.extend(index.to_ne_bytes());
    for attribute in [1u16, 2] {
        body.extend([20u16.to_ne_bytes(), attribute.to_ne_bytes()].concat());
        body.extend(ip.octets());
    }
    rtnetlink(RTM_NEWADDR, &body);
}

/// Sends a request and expects an acknowledgement; else the errno.
pub(crate) fn try_rtnetlink(kind: u16, flags: u16, body: &[u8]) -> Result<(), i32> {
    const REQUEST_AND_ACK: u16 = 5;
    let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
    message.extend([kind.to_ne_bytes(), (REQUEST_AND_ACK | flags).to_ne_bytes()].concat());
    message.extend([0; 8]);
    message.extend(body);
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).expect("rtnetlink");
    send(&socket, &message, SendFlags::empty()).expect("a request");
    let mut answer = [0; 256];
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty()).expect("an answer");
    assert!(length >= 20, "{:?}", &answer[..length]);
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok(()),
        errno => Err(-errno),
    }
}

fn rtnetlink(kind: u16, body: &[u8]) {
    assert_eq!(try_rtnetlink(kind, 0, body), Ok(()));
}
