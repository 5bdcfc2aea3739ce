//! The machine's own addresses as rtnetlink tells them, in a network namespace of its own.

mod support;

use core::{net::IpAddr, time::Duration};
use std::fs::{File, OpenOptions};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use support::{add_address, in_namespaces, index, set_up, try_rtnetlink};
use wgautomesh::watch::{Rtnetlink, Watch as _};

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const CREATE: u16 = 0x400;
const NO_DAD: u8 = 0x02;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut all = [&((4 + value.len()) as u16).to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    all.resize(all.len().next_multiple_of(4), 0);
    all
}

/// `ip link add NAME type veth`: two ends, of which this one is a network card like another.
fn add_veth(name: &str) {
    let info = [attribute(1, b"veth")].concat();
    let body = [vec![0; 16], attribute(3, &[name.as_bytes(), &[0]].concat()), attribute(18, &info)].concat();
    assert_eq!(try_rtnetlink(RTM_NEWLINK, CREATE, &body), Ok(()));
}

fn change_v6(kind: u16, device: u32, last: u8, valid: u32, preferred: u32) {
    let ip = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    let cache = [preferred.to_ne_bytes(), valid.to_ne_bytes(), [0; 4], [0; 4]].concat();
    let body = [
        vec![10, 64, NO_DAD, 0],
        device.to_ne_bytes().to_vec(),
        attribute(1, &ip),
        attribute(2, &ip),
        attribute(6, &cache),
    ]
    .concat();
    let flags = if kind == RTM_NEWADDR { CREATE | 0x100 } else { 0 };
    assert_eq!(try_rtnetlink(kind, flags, &body), Ok(()));
}

/// Whether the kernel says by itself that the addresses may have changed; of links it says something at any time.
fn changed(watch: &mut Rtnetlink) -> bool {
    let timeout = Timespec::try_from(Duration::from_secs(20)).expect("a short time");
    while poll(&mut [PollFd::from_borrowed_fd(watch.fd(), PollFlags::IN)], Some(&timeout)).expect("poll") > 0
    {
        if watch.changes().addresses {
            return true;
        }
    }
    false
}

fn addresses(watch: &mut Rtnetlink) -> Vec<String> {
    watch.addresses().expect("a dump").iter().map(IpAddr::to_string).collect()
}

/// `struct ifreq` as TUNSETIFF reads it: 40 bytes.
#[repr(C, align(8))]
struct TunRequest {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

const IFF_TUN: u16 = 1;
const IFF_TAP: u16 = 2;
const IFF_NO_PI: u16 = 0x1000;
const ARPHRD_RAWIP: usize = 519;

/// A link by `/dev/net/tun`, gone with the file.
fn add_tun(name: &str, kind: u16) -> File {
    const TUNSETIFF: rustix::ioctl::Opcode = rustix::ioctl::opcode::write::<i32>(b'T', 202);
    let tun = OpenOptions::new().read(true).write(true).open("/dev/net/tun").expect("it was looked for");
    let mut request = TunRequest { name: [0; 16], flags: kind | IFF_NO_PI, rest: [0; 22] };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: TUNSETIFF reads one `struct ifreq`, whose layout and size the request has.
    let made =
        unsafe { rustix::ioctl::ioctl(&tun, rustix::ioctl::Setter::<TUNSETIFF, TunRequest>::new(request)) };
    made.expect("a tun device");
    tun
}

/// Makes such a link that is down one of another hardware.
fn set_hardware(tun: &File, hardware: usize) {
    const TUNSETLINK: rustix::ioctl::Opcode = rustix::ioctl::opcode::write::<i32>(b'T', 205);
    // SAFETY: TUNSETLINK takes a number, and no pointer.
    let set =
        unsafe { rustix::ioctl::ioctl(tun, rustix::ioctl::IntegerSetter::<TUNSETLINK>::new_usize(hardware)) };
    set.expect("it is down");
}

#[test]
fn what_is_published_is_what_others_can_use() {
    in_namespaces("what_is_published_is_what_others_can_use", &[], || {
        set_up(index("lo"));
        add_veth("lan");
        let lan = index("lan");
        let mut watch = Rtnetlink::new("wg0").expect("rtnetlink");
        assert_eq!(addresses(&mut watch), [""; 0]);
        set_up(lan);
        watch.changes();
        add_address(lan, [192, 168, 7, 1], 24);
        assert!(changed(&mut watch), "at once");
        assert_eq!(addresses(&mut watch), ["192.168.7.1"]);
        change_v6(RTM_NEWADDR, lan, 1, u32::MAX, u32::MAX);
        assert!(changed(&mut watch));
        assert_eq!(addresses(&mut watch), ["2001:db8::1", "192.168.7.1"]);
        // Its prefix is not announced any more: it lives on for what uses it.
        change_v6(RTM_NEWADDR, lan, 1, 3600, 0);
        assert!(changed(&mut watch));
        assert_eq!(addresses(&mut watch), ["192.168.7.1"]);
        change_v6(RTM_NEWADDR, lan, 2, u32::MAX, u32::MAX);
        change_v6(RTM_DELADDR, lan, 1, 0, 0);
        assert!(changed(&mut watch));
        assert_eq!(addresses(&mut watch), ["2001:db8::2", "192.168.7.1"]);

        // The mesh's own interface, another VPN's, a modem that carries bare IP packets, and a container's card, which is
        // the way out of it.
        let tuns = [("wg0", IFF_TUN), ("vpn", IFF_TUN), ("modem", IFF_TUN), ("card", IFF_TAP)];
        let tuns = tuns.map(|(name, kind)| add_tun(name, kind));
        set_hardware(&tuns[2], ARPHRD_RAWIP);
        for (name, last) in [("wg0", 10), ("vpn", 11), ("modem", 12), ("card", 13)] {
            set_up(index(name));
            add_address(index(name), [10, 14, 0, last], 24);
        }
        assert_eq!(addresses(&mut watch), ["2001:db8::2", "192.168.7.1", "10.14.0.12", "10.14.0.13"]);
    });
}
