//! Looking for the UPnP device that the gateway is: asked of the gateway and of the group, answered by the gateway only.

use core::{
    net::{IpAddr, SocketAddr, SocketAddrV6},
    time::Duration,
};
use std::{io, net::UdpSocket};

use socket2::{Domain, Socket, Type};

use super::{
    gateway::Route,
    ssdp::{self, Page},
};

const SEARCHES: [Duration; 2] = [Duration::ZERO, Duration::from_millis(400)];
/// Packets taken at a time.
const BURST: usize = 16;

/// A search for the device of one gateway.
pub(super) struct Search {
    pub(super) socket: UdpSocket,
    route: Route,
    port: u16,
    sent: usize,
    pub(super) found: Option<Page>,
}

impl Search {
    pub(super) fn new(route: Route, port: u16) -> io::Result<Self> {
        let socket = match route.gateway {
            IpAddr::V4(_) => Socket::from(UdpSocket::bind(SocketAddr::new(route.source, 0))?),
            // From the link-local address: the answer then comes from the gateway's, by which it is known.
            IpAddr::V6(_) => {
                let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
                socket.set_only_v6(true)?;
                socket.set_multicast_if_v6(route.interface)?;
                socket
            }
        };
        if let IpAddr::V4(source) = route.source {
            socket.set_multicast_if_v4(&source)?;
            socket.set_multicast_ttl_v4(2)?;
        }
        socket.set_nonblocking(true)?;
        Ok(Self { socket: socket.into(), route, port, sent: 0, found: None })
    }

    pub(super) fn send(&mut self, elapsed: Duration) {
        let group = match self.route.gateway {
            IpAddr::V4(_) => SocketAddr::new(ssdp::GROUP_V4.into(), self.port),
            IpAddr::V6(_) => SocketAddrV6::new(ssdp::GROUP_V6, self.port, 0, self.route.interface).into(),
        };
        while SEARCHES.get(self.sent).is_some_and(|at| *at <= elapsed) {
            self.sent += 1;
            // Devices of version 1 hear the group only; to the gateway alone is what UPnP 1.1 provides for.
            for to in [self.route.at(self.port), group] {
                for target in ssdp::TARGETS {
                    // Where one way is closed the other may do.
                    let _ = self.socket.send_to(ssdp::search(to, target).as_bytes(), to);
                }
            }
        }
    }

    pub(super) fn receive(&mut self) {
        let mut buffer = [0; ssdp::MAX_ANSWER];
        for _ in 0..BURST {
            let Ok((length, from)) = self.socket.recv_from(&mut buffer) else { return };
            if from.ip() == self.route.gateway && self.found.is_none() {
                self.found = ssdp::location(buffer.get(..length).unwrap_or_default(), self.route.gateway);
            }
        }
    }

    pub(super) fn due(&self) -> Option<Duration> {
        SEARCHES.get(self.sent).copied().filter(|_| self.found.is_none())
    }
}
