//! The LAN sockets: where beacons leave and come in, outside of the tunnel.
//!
//! Each interface that is a LAN has a UDP socket for each family, bound to it (`SO_BINDTODEVICE`) and to the gossip port,
//! which a host's firewall must let in from the LAN. What they send gets no further than the link: its TTL is 1. What they
//! bring proves nothing; the engine judges it.
//!
//! Which interfaces are LANs is decided here, by [`choose`]: a matter of this machine and its configuration.

use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::net::{RecvFlags, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};
use wgautomesh_core::{LanLink, Scope, limits::MAX_DATAGRAM, scope};

use crate::{config::LanConfig, watch::Link, wireguard::canonical};

/// Datagrams of one socket taken in one call of [`Lan::receive`], so that a flood leaves time for everything else.
pub const RECEIVE_BUDGET: usize = 32;

/// Everybody on an IPv6 link. Switches that filter multicast pass this group and may lose others.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// An address of an interface where peers are looked for, and the interface's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanPlace {
    /// What the engine is told.
    pub link: LanLink,
    /// The interface.
    pub name: String,
}

/// The interfaces on which peers are looked for: those that are named, else every one that is up, is no tunnel and has an
/// address that only a LAN has; with what is excluded left out. The mesh's own interface never is one.
pub fn choose(links: &[Link], config: &LanConfig, mesh: &str) -> Vec<LanPlace> {
    let mut places = Vec::new();
    for link in links.iter().filter(|link| link.up && link.name != mesh) {
        let wanted = match config.names(&link.name) {
            Some(named) => named,
            None => !link.tunnel && is_lan(&link.addresses),
        };
        if wanted {
            let of_family = |v4: bool| {
                let mut addresses = link.addresses.iter().filter(move |(ip, _)| ip.is_ipv4() == v4);
                // What the kernel takes as source: for a broadcast the first, for a multicast on the link one of the link.
                let link_local = addresses.clone().find(|(ip, _)| !v4 && scope(*ip) == Scope::Link);
                link_local.or_else(|| addresses.next())
            };
            for &(address, prefix) in [of_family(true), of_family(false)].into_iter().flatten() {
                let link_of_engine = LanLink { index: link.index, address, prefix };
                places.push(LanPlace { link: link_of_engine, name: link.name.clone() });
            }
        }
    }
    places
}

/// A LAN's addresses: private ones, or link-local ones and no others. With a public IPv4 address, or with nothing but
/// link-local ones beside public ones, it is a rented server's network, or may be.
fn is_lan(addresses: &[(IpAddr, u8)]) -> bool {
    let has = |wanted: fn(&IpAddr) -> bool| addresses.iter().any(|(ip, _)| wanted(ip));
    let public_v4 = has(|ip| ip.is_ipv4() && scope(*ip) == Scope::Public);
    let public = has(|ip| scope(*ip) == Scope::Public);
    let private = has(|ip| scope(*ip) == Scope::Private);
    let link_local = has(|ip| scope(*ip) == Scope::Link);
    !public_v4 && (private || (link_local && !public))
}

/// Sends and receives on LANs.
pub trait Lan {
    /// Where, from now on.
    fn set_places(&mut self, places: &[LanPlace]);

    /// Sends one to an address on the link of an interface, or to everybody there. A failure is like a lost packet.
    fn send(&mut self, index: u32, from: IpAddr, to: Option<IpAddr>, payload: &[u8]);

    /// To wait on.
    fn fds(&self) -> Vec<BorrowedFd<'_>>;

    /// Hands over what has come in, with the interface and where it came from: at most [`RECEIVE_BUDGET`] of each socket.
    fn receive(&mut self, handle: &mut dyn FnMut(u32, SocketAddr, &mut [u8]));
}

/// [`Lan`] by sockets of this host.
pub struct LanSockets {
    port: u16,
    sockets: Vec<LanSocket>,
    /// Complaints that were made, and are not repeated.
    said: Vec<String>,
}

struct LanSocket {
    index: u32,
    v4: bool,
    socket: Socket,
}

impl LanSockets {
    /// At this port, on no interface yet.
    #[must_use]
    pub fn new(port: u16) -> Self {
        Self { port, sockets: Vec::new(), said: Vec::new() }
    }

    fn complain(&mut self, about: &dyn fmt::Display) {
        let line = about.to_string();
        if !self.said.contains(&line) {
            log::warn!("{line}");
            self.said.push(line);
        }
    }
}

fn bind(name: &str, index: u32, v4: bool, port: u16) -> io::Result<Socket> {
    let (domain, any): (_, IpAddr) = if v4 {
        (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into())
    } else {
        (Domain::IPV6, Ipv6Addr::UNSPECIFIED.into())
    };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    // First: the port may be in use on other devices, by the tunnel socket for one.
    socket.bind_device(Some(name.as_bytes()))?;
    if v4 {
        socket.set_broadcast(true)?;
        socket.set_ttl_v4(1)?;
    } else {
        socket.set_only_v6(true)?;
        socket.set_unicast_hops_v6(1)?;
        socket.set_multicast_hops_v6(1)?;
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_loop_v6(false)?;
    }
    socket.bind(&SocketAddr::new(any, port).into())?;
    Ok(socket)
}

impl Lan for LanSockets {
    fn set_places(&mut self, places: &[LanPlace]) {
        let wanted =
            |index, v4| places.iter().any(|p| (p.link.index, p.link.address.is_ipv4()) == (index, v4));
        self.sockets.retain(|socket| wanted(socket.index, socket.v4));
        for LanPlace { link, name } in places {
            let (index, v4) = (link.index, link.address.is_ipv4());
            if self.sockets.iter().any(|socket| (socket.index, socket.v4) == (index, v4)) {
                continue;
            }
            match bind(name, index, v4, self.port) {
                Ok(socket) => self.sockets.push(LanSocket { index, v4, socket }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    let port = self.port;
                    self.complain(&format_args!(
                        "{name}: port {port} is in use, by another mesh perhaps: no LAN discovery there; give one of the two \
                         another gossip_port, or exclude {name} with lan_exclude in one"
                    ));
                }
                Err(error) => self.complain(&format_args!("{name}: no LAN discovery there: {error}")),
            }
        }
    }

    fn send(&mut self, index: u32, from: IpAddr, to: Option<IpAddr>, payload: &[u8]) {
        let v4 = from.is_ipv4();
        let Some(of_link) = self.sockets.iter().find(|s| (s.index, s.v4) == (index, v4)) else { return };
        let to = match to {
            Some(IpAddr::V4(to)) => SocketAddr::from((to, self.port)),
            Some(IpAddr::V6(to)) => SocketAddrV6::new(to, self.port, 0, index).into(),
            None if v4 => (Ipv4Addr::BROADCAST, self.port).into(),
            None => SocketAddrV6::new(ALL_NODES, self.port, 0, index).into(),
        };
        if let Err(error) = of_link.socket.send_to(payload, &to.into()) {
            log::debug!("LAN datagram to {to}: {error}");
        }
    }

    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.sockets.iter().map(|socket| socket.socket.as_fd()).collect()
    }

    fn receive(&mut self, handle: &mut dyn FnMut(u32, SocketAddr, &mut [u8])) {
        let mut buffer = [0; MAX_DATAGRAM + 1];
        for LanSocket { index, socket, .. } in &self.sockets {
            for _ in 0..RECEIVE_BUDGET {
                // An error is about the device going down, which is an event of its own.
                let Ok((_, length, from)) = recvfrom(socket, &mut buffer[..], RecvFlags::empty()) else {
                    break;
                };
                let Some(from) = from.and_then(|from| SocketAddr::try_from(from).ok()) else { continue };
                // A longer datagram than any of ours fills the buffer, and is dropped as too long.
                handle(*index, canonical(from), buffer.get_mut(..length).unwrap_or_default());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::InterfacePattern;

    fn link(index: u32, name: &str, addresses: &[&str]) -> Link {
        let parse = |text: &&str| {
            let (ip, prefix) = text.split_once('/').expect("address/prefix");
            (ip.parse().expect("an address"), prefix.parse().expect("a length"))
        };
        let addresses = addresses.iter().map(parse).collect();
        Link { index, name: name.into(), up: true, tunnel: false, addresses }
    }

    fn patterns(texts: &[&str]) -> Vec<InterfacePattern> {
        texts.iter().map(|text| InterfacePattern::parse(text).expect("a pattern")).collect()
    }

    fn chosen(links: &[Link], only: &[&str], except: &[&str]) -> Vec<String> {
        let config = LanConfig { interfaces: patterns(only), exclude: patterns(except) };
        choose(links, &config, "wg0").iter().map(|p| format!("{} {}", p.name, p.link.address)).collect()
    }

    #[test]
    fn lans_are_told_from_rented_networks() {
        for (addresses, expected) in [
            (&["192.168.1.7/24", "fe80::7/64", "2001:db8::7/64"][..], &["192.168.1.7", "fe80::7"][..]),
            (&["10.0.0.7/8"], &["10.0.0.7"]),
            (&["169.254.3.7/16", "fe80::7/64"], &["169.254.3.7", "fe80::7"]),
            (&["fe80::7/64"], &["fe80::7"]),
            (&["fd00::7/64", "2001:db8::7/64"], &["fd00::7"]),
            (&["fd00::7/64", "fe80::7/64"], &["fe80::7"]),
            (&["203.0.113.7/24", "fe80::7/64"], &[]),
            (&["203.0.113.7/24", "10.0.0.7/8", "fe80::7/64"], &[]),
            (&["2001:db8::7/64", "fe80::7/64"], &[]),
            (&["2001:db8::7/64"], &[]),
            (&[], &[]),
        ] {
            let expected: Vec<_> = expected.iter().map(|address| format!("eth0 {address}")).collect();
            assert_eq!(chosen(&[link(2, "eth0", addresses)], &[], &[]), expected, "{addresses:?}");
        }
    }

    #[test]
    fn names_decide_where_there_are_any() {
        let tunnel = Link { tunnel: true, ..link(3, "tun0", &["10.8.0.1/24"]) };
        let down = Link { up: false, ..link(4, "eth1", &["10.7.0.1/24"]) };
        let links = [
            link(1, "wg0", &["10.14.0.1/16"]),
            link(2, "eth0", &["192.168.1.7/24"]),
            tunnel,
            down,
            link(5, "docker0", &["172.17.0.1/16"]),
            link(6, "wan", &["203.0.113.7/24"]),
        ];
        let [eth0, tun0, docker0, wan] =
            ["eth0 192.168.1.7", "tun0 10.8.0.1", "docker0 172.17.0.1", "wan 203.0.113.7"].map(String::from);
        for (only, except, expected) in [
            (&[][..], &[][..], &[&eth0, &docker0][..]),
            (&[], &["docker*", "br-*"], &[&eth0]),
            (&["wan", "tun0", "wg0", "eth1", "eth9"], &[], &[&tun0, &wan]),
            (&["e*", "wan"], &["wan*"], &[&eth0]),
        ] {
            assert!(chosen(&links, only, except).iter().eq(expected.iter().copied()), "{only:?} {except:?}");
        }
    }

    /// The loop-back device stands for a LAN.
    #[test]
    fn sockets_come_and_go_with_their_places() {
        let free = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = free.expect("a free port").port();
        let place = |address: &str| LanPlace {
            link: LanLink { index: 1, address: address.parse().expect("an address"), prefix: 8 },
            name: "lo".into(),
        };
        let mut lan = LanSockets::new(port);
        lan.set_places(&[place("127.0.0.1")]);
        assert_eq!(lan.fds().len(), 1);
        lan.send(1, [127, 0, 0, 1].into(), Some([127, 0, 0, 1].into()), b"beacon");
        let mut received = Vec::new();
        lan.receive(&mut |index, from, payload| received.push((index, from, payload.to_vec())));
        assert_eq!(received, [(1, ([127, 0, 0, 1], port).into(), b"beacon".to_vec())]);
        // Neither by another interface, nor where there is none; and no crash for a second daemon.
        lan.send(2, [127, 0, 0, 1].into(), None, b"nothing");
        let mut second = LanSockets::new(port);
        second.set_places(&[place("127.0.0.1")]);
        assert_eq!((second.fds().len(), second.said.len()), (0, 1));
        assert!(second.said[0].contains("gossip_port"), "{:?}", second.said);
        lan.set_places(&[]);
        assert_eq!(lan.fds().len(), 0);
        second.set_places(&[place("127.0.0.1")]);
        assert_eq!(second.fds().len(), 1);
    }
}
