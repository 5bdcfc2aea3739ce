//! Who is asked: the next hop of the default route, as the kernel tells it.
//!
//! Nobody else is. The kernel is asked as WireGuard asks it, with the interface's fwmark, so that the gateway found is the
//! one that WireGuard's packets pass.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::io;

use crate::rtnl::{self, attributes, field, kind, messages};

/// Addresses that everybody has to go through its gateway to. Nothing is ever sent there.
const FAR_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4));
const FAR_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30));

const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;

/// The way to the internet in one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) gateway: IpAddr,
    /// The interface that it is on.
    pub(super) interface: u32,
    /// Our own address on that way.
    pub(super) source: IpAddr,
}

impl Route {
    /// The gateway with a port, and with the scope where its address needs one.
    pub(super) const fn at(&self, port: u16) -> SocketAddr {
        match self.gateway {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                SocketAddr::V6(SocketAddrV6::new(ip, port, 0, self.interface))
            }
            ip => SocketAddr::new(ip, port),
        }
    }
}

/// The default route in each family, IPv4 first; `None` where there is none, or none that has a gateway.
pub(super) fn routes(fwmark: u32) -> [Option<Route>; 2] {
    [FAR_V4, FAR_V6].map(|far| route(far, fwmark).unwrap_or_default())
}

fn route(far: IpAddr, fwmark: u32) -> io::Result<Option<Route>> {
    let socket = rtnl::open(0)?;
    rtnl::ask(&socket, &crate::wireguard::route::question(SocketAddr::new(far, 9), fwmark))?;
    let mut buffer = [0; 1024];
    let message = messages(rtnl::receive(&socket, &mut buffer)?).next();
    Ok(message.filter(|message| message.kind == kind::NEW_ROUTE).and_then(|message| read(message.body)))
}

fn read(body: &[u8]) -> Option<Route> {
    let (mut gateway, mut interface, mut source) = (None, None, None);
    for (kind, value) in attributes(body, crate::wireguard::route::RTMSG) {
        match kind {
            RTA_OIF => interface = field(value, 0).map(u32::from_ne_bytes),
            RTA_GATEWAY => gateway = rtnl::ip(value),
            RTA_PREFSRC => source = rtnl::ip(value),
            _ => {}
        }
    }
    let (gateway, source) = (gateway?, source?);
    (gateway.is_ipv4() == source.is_ipv4()).then_some(Route { gateway, interface: interface?, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtnl::Request;

    fn answer(gateway: &[u8], source: &[u8]) -> Option<Route> {
        let request = Request::get(kind::NEW_ROUTE, &[0; crate::wireguard::route::RTMSG]);
        let request = request
            .attribute(RTA_OIF, &3_u32.to_ne_bytes())
            .attribute(RTA_GATEWAY, gateway)
            .attribute(RTA_PREFSRC, source);
        read(messages(request.bytes()).next()?.body)
    }

    #[test]
    fn the_next_hop_is_the_gateway() {
        let (gateway, source) = ([192, 168, 1, 1], [192, 168, 1, 2]);
        let route = Route { gateway: gateway.into(), interface: 3, source: source.into() };
        assert_eq!(answer(&gateway, &source), Some(route));
        assert_eq!(route.at(5351).to_string(), "192.168.1.1:5351");
        // On-link, by way of the other family, without an address of our own: nobody to ask.
        for (gateway, source) in [(&[][..], &source[..]), (&gateway, &[]), (&gateway, &[1; 16])] {
            assert_eq!(answer(gateway, source), None);
        }
    }

    #[test]
    fn a_link_local_gateway_has_its_scope() {
        let source = "2001:db8::2".parse().expect("an address");
        let gateway = "fe80::1".parse().expect("an address");
        assert_eq!(Route { gateway, interface: 3, source }.at(5351).to_string(), "[fe80::1%3]:5351");
        let gateway = "2001:db8::1".parse().expect("an address");
        assert_eq!(Route { gateway, interface: 3, source }.at(5351).to_string(), "[2001:db8::1]:5351");
    }

    #[test]
    fn the_kernel_answers() {
        // Whatever this machine has, it is an answer and no error.
        for far in [FAR_V4, FAR_V6] {
            if let Some(route) = route(far, 0).expect("rtnetlink") {
                assert_ne!(route.interface, 0);
            }
        }
    }
}
