//! Openers by real raw sockets, over the loop-back device of a network namespace of its own.

mod support;

use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use std::{net::UdpSocket, time::Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};
use support::{add_address, add_address_v6, in_namespaces, index, set_up, try_rtnetlink};
use wgautomesh::net::opener::{LONGEST, Openers as _, RECEIVE_BUDGET, RawOpeners, Source};

const OPENER: &[u8] = b"wgmo, what an opener begins with";
const FAMILIES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
const PORT: u16 = 51820;
const OTHER: u16 = 33723;

/// For what will come: as long as a busy machine may need.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn openers_go_and_come() {
    in_namespaces("openers_go_and_come", &[], || {
        set_up(index("lo"));
        sends_from_wireguards_port();
        hears_openers_and_nothing_else();
        takes_a_flood_in_portions();
        follows_the_port_of_the_interface();
        leaves_by_the_route_of_the_fwmark();
        leaves_from_the_address_that_is_named();
    });
}

fn openers(port: u16) -> RawOpeners {
    let mut openers = RawOpeners::new();
    assert!(openers.allowed(), "{:?}", openers.refused());
    openers.set_source(Some(Source { port, fwmark: 0 }));
    openers
}

fn udp(ip: IpAddr, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((ip, port)).expect("a free port");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket
}

/// Waits until something is there to receive.
fn is_ready(openers: &RawOpeners, patience: Duration) -> bool {
    let fds = openers.fds();
    let mut files: Vec<_> =
        fds.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let timeout = Timespec::try_from(patience).expect("a short time");
    poll(&mut files, Some(&timeout)).expect("poll") > 0
}

fn heard(openers: &mut RawOpeners) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut heard = Vec::new();
    openers.receive(&mut |from, payload| heard.push((from, payload.to_vec())));
    heard
}

fn sends_from_wireguards_port() {
    for ip in FAMILIES {
        // As WireGuard's: the port is taken.
        let _wireguard = udp(ip, PORT);
        let receiver = udp(ip, 0);
        let to = receiver.local_addr().expect("its address");
        let mut openers = openers(PORT);
        for (hops, length) in [(None, 0), (None, LONGEST), (Some(1), 33), (Some(255), 34)] {
            let payload = vec![0xa5; length];
            openers.send(None, to, hops, &payload);
            let mut buffer = [0; LONGEST + 1];
            // The kernel has found the checksum right.
            let (length, from) = receiver.recv_from(&mut buffer).expect("an opener");
            assert_eq!((&buffer[..length], from), (&payload[..], SocketAddr::new(ip, PORT)));
        }
    }
    // An IPv4 address in IPv6 form is one.
    let receiver = udp(FAMILIES[0], 0);
    let port = receiver.local_addr().expect("its address").port();
    openers(PORT).send(None, (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), port).into(), None, OPENER);
    receiver.recv_from(&mut [0; 64]).expect("an opener");
    // A short life is on the packet: byte 8 of the IPv4 header.
    let sniffer = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)).expect("a raw socket");
    sniffer.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    openers(PORT).send(None, (FAMILIES[0], port).into(), Some(3), OPENER);
    let mut packet = [0; 128];
    rustix::net::recv(&sniffer, &mut packet, rustix::net::RecvFlags::empty()).expect("the opener");
    assert_eq!(packet[8], 3);
    // None of these is worth more than a line in the log.
    let mut openers = openers(PORT);
    openers.send(None, ([203, 0, 113, 1], 1).into(), None, OPENER);
    openers.send(None, (FAMILIES[0], 1).into(), Some(0), OPENER);
    openers.send(None, (FAMILIES[0], 1).into(), None, &[0; LONGEST + 1]);
    openers.set_source(None);
    openers.send(None, (FAMILIES[0], 1).into(), None, OPENER);
}

fn hears_openers_and_nothing_else() {
    for ip in FAMILIES {
        let wireguard = udp(ip, PORT);
        let at = SocketAddr::new(ip, PORT);
        let mut openers = openers(PORT);
        let mut remote = self::openers(OTHER);
        remote.send(None, at, None, OPENER);
        let mut buffer = [0; 2048];
        wireguard.recv_from(&mut buffer).expect("the opener");
        assert_eq!(openers.fds().iter().flatten().count(), 0, "nothing is open that was not wanted");
        openers.listen(true);
        assert_eq!(heard(&mut openers), []);

        let stranger = udp(ip, 0);
        let too_long = [OPENER, &[0; LONGEST]].concat();
        for not_an_opener in [&b""[..], b"wgm", b"\x01\0\0\0 a handshake", &OPENER[1..], &too_long] {
            stranger.send_to(not_an_opener, at).expect("sent");
        }
        remote.send(None, SocketAddr::new(ip, OTHER), None, OPENER);
        assert!(!is_ready(&openers, Duration::ZERO), "the kernel lets nothing else pass");

        remote.send(None, at, None, OPENER);
        assert!(is_ready(&openers, PATIENCE));
        assert_eq!(heard(&mut openers), [(SocketAddr::new(ip, OTHER), OPENER.to_vec())]);
        // WireGuard gets all of it too, and drops it.
        while wireguard.recv_from(&mut buffer).expect("each of them").1.port() != OTHER {}

        openers.listen(false);
        assert_eq!(openers.fds().iter().flatten().count(), 0);
    }
}

fn takes_a_flood_in_portions() {
    for ip in FAMILIES {
        let mut openers = openers(PORT);
        openers.listen(true);
        let mut remote = self::openers(OTHER);
        let start = Instant::now();
        for _ in 0..2 * RECEIVE_BUDGET {
            remote.send(None, (ip, PORT).into(), None, OPENER);
        }
        eprintln!("{ip}: {:?} for an opener", start.elapsed() / (2 * RECEIVE_BUDGET as u32));
        let mut left = 2 * RECEIVE_BUDGET;
        while left > 0 {
            assert!(is_ready(&openers, PATIENCE));
            let portion = heard(&mut openers).len();
            assert!(portion <= RECEIVE_BUDGET.min(left), "{portion}");
            left -= portion;
        }
    }
}

fn follows_the_port_of_the_interface() {
    for ip in FAMILIES {
        let mut openers = openers(PORT);
        openers.listen(true);
        let mut remote = self::openers(OTHER);
        remote.send(None, (ip, PORT).into(), None, OPENER);
        openers.set_source(Some(Source { port: PORT + 1, fwmark: 0 }));
        assert_eq!(heard(&mut openers), [], "it was for the port before");
        remote.send(None, (ip, PORT).into(), None, OPENER);
        assert!(!is_ready(&openers, Duration::ZERO));
        remote.send(None, (ip, PORT + 1).into(), None, OPENER);
        assert!(is_ready(&openers, PATIENCE));
        assert_eq!(heard(&mut openers).len(), 1);
        // The interface goes, and comes back.
        openers.set_source(None);
        assert_eq!(openers.fds().iter().flatten().count(), 0);
        openers.set_source(Some(Source { port: PORT, fwmark: 0 }));
        remote.send(None, (ip, PORT).into(), None, OPENER);
        assert!(is_ready(&openers, PATIENCE));
        assert_eq!(heard(&mut openers).len(), 1);
    }
}

/// An address that only packets with the mark have a route to: `ip rule add fwmark 77 lookup 77` and
/// `ip route add local 203.0.113.1 dev lo src 10.98.0.1 table 77`.
fn leaves_by_the_route_of_the_fwmark() {
    const RTM_NEWRULE: u16 = 32;
    const RTM_NEWROUTE: u16 = 24;
    const CREATE: u16 = 0x400;
    const MARK: u32 = 77;
    let attribute =
        |kind: u16, value: [u8; 4]| [&8u16.to_ne_bytes()[..], &kind.to_ne_bytes(), &value].concat();
    add_address(index("lo"), [10, 98, 0, 1], 32);
    // struct fib_rule_hdr: IPv4, table 77, action "to table"; FRA_FWMARK.
    let mut rule = vec![2, 0, 0, 0, MARK as u8, 0, 0, 1, 0, 0, 0, 0];
    rule.extend(attribute(10, MARK.to_ne_bytes()));
    assert_eq!(try_rtnetlink(RTM_NEWRULE, CREATE, &rule), Ok(()));
    // struct rtmsg: IPv4/32, table 77, static, scope host, local; RTA_DST, RTA_OIF, RTA_PREFSRC.
    let mut route = vec![2, 32, 0, 0, MARK as u8, 4, 254, 2, 0, 0, 0, 0];
    route.extend(attribute(1, [203, 0, 113, 1]));
    route.extend(attribute(4, index("lo").to_ne_bytes()));
    route.extend(attribute(7, [10, 98, 0, 1]));
    assert_eq!(try_rtnetlink(RTM_NEWROUTE, CREATE, &route), Ok(()));

    let receiver = udp(IpAddr::V4(Ipv4Addr::UNSPECIFIED), OTHER);
    let to = SocketAddr::from(([203, 0, 113, 1], OTHER));
    let mut openers = openers(PORT);
    openers.send(None, to, None, b"without the mark");
    openers.set_source(Some(Source { port: PORT, fwmark: MARK }));
    openers.send(None, to, None, b"with it");
    let mut buffer = [0; 64];
    let (length, from) = receiver.recv_from(&mut buffer).expect("an opener");
    assert_eq!((&buffer[..length], from), (&b"with it"[..], ([10, 98, 0, 1], PORT).into()));
}

/// A host with a stable and a temporary address.
fn leaves_from_the_address_that_is_named() {
    let [stable, temporary, remote] = [1, 2, 3].map(|n| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n));
    for ip in [stable, temporary, remote] {
        add_address_v6(index("lo"), ip, 128);
    }
    let receiver = udp(remote.into(), OTHER);
    let to = SocketAddr::from((remote, OTHER));
    let mut openers = openers(PORT);
    let mut buffer = [0; LONGEST + 1];
    for (length, ip) in [(0, stable), (1, temporary), (LONGEST, stable), (61, temporary)] {
        openers.send(Some(ip.into()), to, None, &vec![0xa5; length]);
        // The kernel has found the checksum right, which is over the addresses too.
        let (received, from) = receiver.recv_from(&mut buffer).expect("an opener");
        assert_eq!((received, from), (length, (ip, PORT).into()));
    }
    // One that is not ours, not any more, or of the other family, is like a lost packet.
    for other in [IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9)), Ipv4Addr::LOCALHOST.into()] {
        openers.send(Some(other), to, None, OPENER);
    }
    openers.send(Some(stable.into()), to, None, b"the last");
    let (length, from) = receiver.recv_from(&mut buffer).expect("an opener");
    assert_eq!((&buffer[..length], from), (&b"the last"[..], (stable, PORT).into()));
}
