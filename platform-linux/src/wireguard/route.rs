//! Where the kernel would send a packet to an endpoint.
//!
//! An endpoint inside the mesh would have WireGuard's packets go into WireGuard's own interface, for ever. The kernel
//! refuses to send them and says so nowhere; so it is asked beforehand, with the interface's fwmark, as WireGuard itself asks.
//!
//! A WireGuard interface that was made in another network namespace and moved here sends from where it was made. That does
//! not show, so the answer is about the wrong namespace there: such an interface needs a route for its endpoints here too.

use core::net::{IpAddr, SocketAddr};
use std::io;

use rustix::io::Errno;
use wgautomesh_core::ActionError;

use crate::rtnl::{self, Message, Request, attributes, field, kind, messages};

/// `struct rtmsg`.
pub(crate) const RTMSG: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_MARK: u16 = 16;

/// `RTN_UNICAST` and `RTN_LOCAL`: the kinds of route over which a packet reaches somebody.
const DELIVERING: [u8; 2] = [1, 2];

/// Refuses an endpoint that the interface with this index cannot send to.
pub(super) fn check(endpoint: SocketAddr, interface: u32, fwmark: u32) -> Result<(), ActionError> {
    match answer(endpoint, fwmark) {
        Ok(verdict) => {
            verdict.and_then(|out| if out == interface { Err(ActionError::RoutedIntoMesh) } else { Ok(()) })
        }
        // The question could not be asked (a sandbox, say): WireGuard is asked by trying.
        Err(_) => Ok(()),
    }
}

/// The index of the link a packet to `endpoint` leaves by.
pub(crate) fn answer(endpoint: SocketAddr, fwmark: u32) -> io::Result<Result<u32, ActionError>> {
    let socket = rtnl::open(0)?;
    rtnl::ask(&socket, &question(endpoint, fwmark))?;
    let mut buffer = [0; 1024];
    let message = messages(rtnl::receive(&socket, &mut buffer)?).next();
    Ok(verdict(message.ok_or(io::ErrorKind::InvalidData)?))
}

pub(crate) fn question(endpoint: SocketAddr, fwmark: u32) -> Request {
    let mut body = [0; RTMSG];
    let request = match endpoint.ip().to_canonical() {
        IpAddr::V4(ip) => {
            [body[0], body[1]] = [rtnl::AF_INET, 32];
            Request::get(kind::GET_ROUTE, &body).attribute(RTA_DST, &ip.octets())
        }
        IpAddr::V6(ip) => {
            [body[0], body[1]] = [rtnl::AF_INET6, 128];
            Request::get(kind::GET_ROUTE, &body).attribute(RTA_DST, &ip.octets())
        }
    };
    let request = match endpoint {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => request.attribute(RTA_OIF, &v6.scope_id().to_ne_bytes()),
        _ => request,
    };
    if fwmark == 0 { request } else { request.attribute(RTA_MARK, &fwmark.to_ne_bytes()) }
}

fn verdict(message: Message<'_>) -> Result<u32, ActionError> {
    match message.kind {
        kind::NEW_ROUTE if message.body.get(7).is_some_and(|kind| DELIVERING.contains(kind)) => {
            let out = attributes(message.body, RTMSG).find(|&(kind, _)| kind == RTA_OIF);
            Ok(out.and_then(|(_, index)| field(index, 0)).map_or(0, u32::from_ne_bytes))
        }
        kind::NEW_ROUTE => Err(ActionError::Unroutable),
        // Not allowed to ask, or out of memory: no verdict about the endpoint. Index 0 is no link.
        kind::ERROR
            if matches!(
                Errno::from_raw_os_error(message.errno()),
                Errno::PERM | Errno::NOMEM | Errno::NOBUFS
            ) =>
        {
            Ok(0)
        }
        // No route, a prohibiting or a black one, or a kernel without IPv6.
        kind::ERROR => Err(ActionError::Unroutable),
        _ => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(request: &Request) -> Message<'_> {
        messages(request.bytes()).next().expect("a message")
    }

    #[test]
    fn asks_as_wireguard_does() {
        let request = question("[::ffff:192.0.2.1]:51820".parse().expect("endpoint"), 0xca6c);
        let message = parse(&request);
        assert_eq!((message.body[0], message.body[1]), (rtnl::AF_INET, 32));
        let attributes: Vec<_> = attributes(message.body, RTMSG).collect();
        assert_eq!(attributes, [(RTA_DST, &[192, 0, 2, 1][..]), (RTA_MARK, &0xca6c_u32.to_ne_bytes()[..])]);
    }

    #[test]
    fn reads_the_answers() {
        let route = |kind: u8| {
            let mut body = [0; RTMSG];
            body[7] = kind;
            Request::get(kind::NEW_ROUTE, &body).attribute(RTA_OIF, &7_u32.to_ne_bytes())
        };
        assert_eq!(verdict(parse(&route(1))), Ok(7));
        assert_eq!(verdict(parse(&route(2))), Ok(7));
        for broadcast_and_black in [3, 5, 6, 7, 8] {
            assert_eq!(verdict(parse(&route(broadcast_and_black))), Err(ActionError::Unroutable));
        }
        let error = |errno: Errno| {
            let mut body = [0; 20];
            body[..4].copy_from_slice(&(-errno.raw_os_error()).to_ne_bytes());
            Request::get(kind::ERROR, &body)
        };
        for errno in [Errno::NETUNREACH, Errno::HOSTUNREACH, Errno::INVAL, Errno::ACCESS, Errno::AFNOSUPPORT]
        {
            assert_eq!(verdict(parse(&error(errno))), Err(ActionError::Unroutable), "{errno:?}");
        }
        assert_eq!(verdict(parse(&error(Errno::PERM))), Ok(0));
    }

    #[test]
    fn the_kernel_knows_the_way_to_itself() {
        let out = answer("127.0.0.1:9".parse().expect("endpoint"), 0).expect("rtnetlink").expect("a route");
        assert_eq!(check("127.0.0.1:9".parse().expect("endpoint"), out, 0), Err(ActionError::RoutedIntoMesh));
        assert_eq!(check("127.0.0.1:9".parse().expect("endpoint"), out + 1, 0), Ok(()));
        let multicast = "255.255.255.255:9".parse().expect("endpoint");
        assert_eq!(check(multicast, out + 1, 0), Err(ActionError::Unroutable));
    }
}
