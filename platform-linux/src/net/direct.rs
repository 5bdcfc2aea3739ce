//! A UDP socket of a device from before it is bound to its port, on hosts with and without IPv6.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::{
    io,
    os::fd::{AsRawFd, RawFd},
};

use embedded_nal::nb;
use rustix::net::{RecvFlags, recvfrom};
use socket2::{Domain, Protocol, SockAddr, Type};

use super::mapped;

pub(super) struct Socket {
    socket: socket2::Socket,
    v6: bool,
}

impl Socket {
    pub(super) fn bind(device: &str, port: u16) -> io::Result<Self> {
        match Self::bind_domain(Domain::IPV6, device, (Ipv6Addr::UNSPECIFIED, port).into()) {
            Ok(socket) => Ok(Self { socket, v6: true }),
            // A port in use is in use with IPv4 too.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
            Err(_) => {
                let socket = Self::bind_domain(Domain::IPV4, device, (Ipv4Addr::UNSPECIFIED, port).into())?;
                Ok(Self { socket, v6: false })
            }
        }
    }

    fn bind_domain(domain: Domain, device: &str, address: SocketAddr) -> io::Result<socket2::Socket> {
        let socket = socket2::Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        if domain == Domain::IPV6 {
            socket.set_only_v6(false)?;
        }
        socket.bind_device(Some(device.as_bytes()))?;
        socket.bind(&address.into())?;
        Ok(socket)
    }

    pub(super) fn receive(&self, buffer: &mut [u8]) -> nb::Result<(usize, SocketAddr), io::Error> {
        let (_, length, from) =
            recvfrom(&self.socket, &mut *buffer, RecvFlags::empty()).map_err(|errno| to_nb(errno.into()))?;
        let from = from.and_then(|from| SocketAddr::try_from(from).ok());
        let from = from.ok_or(nb::Error::Other(io::ErrorKind::InvalidData.into()))?;
        Ok((length, from))
    }

    pub(super) fn send_to(&self, remote: SocketAddr, buffer: &[u8]) -> nb::Result<(), io::Error> {
        let remote = SockAddr::from(if self.v6 { mapped(remote) } else { remote });
        self.socket.send_to(buffer, &remote).map(drop).map_err(to_nb)
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn to_nb(error: io::Error) -> nb::Error<io::Error> {
    match error.kind() {
        io::ErrorKind::WouldBlock => nb::Error::WouldBlock,
        _ => nb::Error::Other(error),
    }
}
