//! The tunnel socket: UDP at the gossip port, bound to the WireGuard device.
//!
//! What comes in by it has passed WireGuard, so a source address proves who sent it; what other links bring to the port never
//! gets here. (What local programs send to this host's own mesh address does, since Linux takes it for the device's own:
//! but from this very address, which is no peer's.) The engine's driver uses the socket through the `embedded-nal` traits, over either of
//! two stacks:
//! - `std-embedded-nal`, wherever it will do. It can only bind `[::]:port`, before the device is known to the socket: what
//!   arrived in that moment, from anywhere, is thrown away.
//! - one of our own over `socket2`, which sets the device first. It is for hosts without IPv6 and for a port that another
//!   mesh's daemon on this host uses at its own device.
//!
//! Outside the tunnel there are only [`opener`] and [`lan`].

mod direct;
pub mod lan;
pub mod opener;

use core::net::{IpAddr, SocketAddr};
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
};

use embedded_nal::{UdpClientStack, UdpFullStack, nb};
use rustix::io::Errno;
use socket2::SockRef;

use crate::wireguard::canonical;

type StdSocket = <std_embedded_nal::Stack as UdpClientStack>::UdpSocket;

/// The network inside one WireGuard device.
pub struct Tunnel {
    device: String,
    stack: std_embedded_nal::Stack,
}

impl Tunnel {
    /// The network inside the device of this name, which must be there when a socket is bound.
    #[must_use]
    pub fn new(device: &str) -> Self {
        Self { device: device.into(), stack: std_embedded_nal::Stack }
    }

    fn bind_std(&mut self, port: u16) -> io::Result<StdSocket> {
        let mut socket = self.stack.socket()?;
        self.stack.bind(&mut socket, port)?;
        let fd = socket.as_raw_fd().ok_or(io::ErrorKind::NotConnected)?;
        // SAFETY: the socket is bound, so it owns this open descriptor, and it outlives the borrow.
        #[allow(unsafe_code)]
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        SockRef::from(&fd).bind_device(Some(self.device.as_bytes()))?;
        self.drain(&mut socket);
        Ok(socket)
    }

    /// Throws away what came in before the socket was bound to the device. A receive buffer of the usual 208 KiB holds
    /// fewer packets than this; when more come, they come by the device.
    fn drain(&mut self, socket: &mut StdSocket) {
        for _ in 0..1024 {
            if matches!(self.stack.receive(socket, &mut [0]), Err(nb::Error::WouldBlock)) {
                return;
            }
        }
    }
}

/// A socket in the tunnel.
#[derive(Default)]
pub struct TunnelSocket(State);

#[derive(Default)]
enum State {
    #[default]
    Closed,
    Std(StdSocket),
    Direct(direct::Socket),
}

impl TunnelSocket {
    /// To wait on, once it is bound.
    #[must_use]
    pub fn as_raw_fd(&self) -> Option<RawFd> {
        match &self.0 {
            State::Closed => None,
            State::Std(socket) => socket.as_raw_fd(),
            State::Direct(socket) => Some(socket.as_raw_fd()),
        }
    }
}

/// Errors after which the other stack may do: no IPv6, and a port in use, as it seems, by all devices.
fn worth_another_try(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL | Errno::ADDRINUSE | Errno::PROTONOSUPPORT))
}

impl UdpClientStack for Tunnel {
    type UdpSocket = TunnelSocket;
    type Error = io::Error;

    fn socket(&mut self) -> io::Result<TunnelSocket> {
        Ok(TunnelSocket::default())
    }

    /// Not offered: the tunnel socket speaks to all peers.
    fn connect(&mut self, _: &mut TunnelSocket, _: SocketAddr) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Not offered, as [`Self::connect`].
    fn send(&mut self, _: &mut TunnelSocket, _: &[u8]) -> nb::Result<(), io::Error> {
        Err(nb::Error::Other(io::ErrorKind::NotConnected.into()))
    }

    fn receive(
        &mut self,
        socket: &mut TunnelSocket,
        buffer: &mut [u8],
    ) -> nb::Result<(usize, SocketAddr), io::Error> {
        let (length, from) = match &mut socket.0 {
            State::Closed => return Err(nb::Error::Other(io::ErrorKind::NotConnected.into())),
            State::Std(socket) => self.stack.receive(socket, buffer)?,
            State::Direct(socket) => socket.receive(buffer)?,
        };
        Ok((length, canonical(from)))
    }

    fn close(&mut self, socket: TunnelSocket) -> io::Result<()> {
        match socket.0 {
            State::Std(socket) => self.stack.close(socket),
            State::Closed | State::Direct(_) => Ok(()),
        }
    }
}

impl UdpFullStack for Tunnel {
    fn bind(&mut self, socket: &mut TunnelSocket, port: u16) -> io::Result<()> {
        let state = match self.bind_std(port) {
            Ok(bound) => State::Std(bound),
            Err(error) if worth_another_try(&error) => {
                let bound = direct::Socket::bind(&self.device, port)?;
                log::debug!("{}: the gossip socket is made without std-embedded-nal: {error}", self.device);
                State::Direct(bound)
            }
            Err(error) => return Err(error),
        };
        socket.0 = state;
        Ok(())
    }

    fn send_to(
        &mut self,
        socket: &mut TunnelSocket,
        remote: SocketAddr,
        buffer: &[u8],
    ) -> nb::Result<(), io::Error> {
        match &mut socket.0 {
            State::Closed => Err(nb::Error::Other(io::ErrorKind::NotConnected.into())),
            // Its socket is an IPv6 one.
            State::Std(socket) => self.stack.send_to(socket, mapped(remote), buffer),
            State::Direct(socket) => socket.send_to(remote, buffer),
        }
    }
}

/// IPv4 in the form in which an IPv6 socket sends it.
fn mapped(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(v4) => SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), v4.port()),
        SocketAddr::V6(_) => addr,
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn receive(stack: &mut Tunnel, socket: &mut TunnelSocket) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 64];
        let (length, from) = nb::block!(stack.receive(socket, &mut buffer)).expect("a datagram");
        (buffer[..length].to_vec(), from)
    }

    /// A port that was free a moment ago, and its other user until dropped.
    fn port() -> u16 {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.local_addr().expect("its address").port()
    }

    /// The loop-back device stands for the tunnel; binding an unbound socket to a device needs no right since Linux 5.7.
    #[test]
    fn speaks_over_either_stack() {
        let mut stack = Tunnel::new("lo");
        let port = port();
        let mut first = stack.socket().expect("a socket");
        assert!(matches!(stack.receive(&mut first, &mut [0]), Err(nb::Error::Other(_))), "not bound yet");
        stack.bind(&mut first, port).expect("bind");
        let other = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let other_addr = other.local_addr().expect("its address");
        for wanted in ["direct", "either"] {
            let mut socket = match wanted {
                "direct" => TunnelSocket(State::Direct(direct::Socket::bind("lo", 0).expect("bind"))),
                _ => core::mem::take(&mut first),
            };
            assert!(socket.as_raw_fd().is_some());
            assert!(
                matches!(stack.receive(&mut socket, &mut [0; 9]), Err(nb::Error::WouldBlock)),
                "{wanted}"
            );
            stack.send_to(&mut socket, other_addr, b"ping").expect("send");
            let mut buffer = [0; 9];
            let (length, from) = other.recv_from(&mut buffer).expect("a datagram");
            assert_eq!(&buffer[..length], b"ping");
            other.send_to(b"pong", from).expect("send");
            // From IPv4, in the form of IPv4.
            assert_eq!(receive(&mut stack, &mut socket), (b"pong".to_vec(), other_addr), "{wanted}");
            stack.close(socket).expect("close");
        }
    }

    #[test]
    fn two_meshes_may_use_one_port_each_at_its_device() {
        let port = port();
        let mut stack = Tunnel::new("lo");
        let mut first = stack.socket().expect("a socket");
        stack.bind(&mut first, port).expect("bind");
        // The same port at the same device: an error, not two receivers.
        let mut second = stack.socket().expect("a socket");
        let error = stack.bind(&mut second, port).expect_err("in use");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(second.as_raw_fd().is_none());
    }

    #[test]
    fn an_absent_device_is_an_error() {
        let mut stack = Tunnel::new("no-such-device");
        let mut socket = stack.socket().expect("a socket");
        assert!(stack.bind(&mut socket, port()).is_err());
    }
}
