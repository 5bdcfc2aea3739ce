//! As much of netlink as the daemon needs, by hand: requests of fixed size, messages and attributes.
//!
//! The crates for it decode every attribute of every link into owned trees, which costs 400 kB on a router and panics
//! are theirs; here a malformed message is simply the end of what can be read. What the messages *mean* is up to the
//! callers, `watch`, `wireguard::route` and `wireguard::dump`.

use core::net::IpAddr;
use std::{io, os::fd::OwnedFd};

use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind,
    netlink::{self, SocketAddrNetlink},
    recv, send, socket_with,
};

/// Message types, `linux/rtnetlink.h` and `linux/netlink.h`.
pub(crate) mod kind {
    pub(crate) const ERROR: u16 = 2;
    pub(crate) const DONE: u16 = 3;
    pub(crate) const NEW_LINK: u16 = 16;
    pub(crate) const DEL_LINK: u16 = 17;
    pub(crate) const GET_LINK: u16 = 18;
    pub(crate) const NEW_ADDR: u16 = 20;
    pub(crate) const DEL_ADDR: u16 = 21;
    pub(crate) const GET_ADDR: u16 = 22;
    pub(crate) const NEW_ROUTE: u16 = 24;
    pub(crate) const GET_ROUTE: u16 = 26;
}

pub(crate) const AF_UNSPEC: u8 = 0;
pub(crate) const AF_INET: u8 = 2;
pub(crate) const AF_INET6: u8 = 10;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
/// On a message of a dump: what it is about changed in between.
pub(crate) const NLM_F_DUMP_INTR: u16 = 0x10;
const HEADER: usize = 16;

/// A non-blocking, close-on-exec rtnetlink socket subscribed to the multicast `groups` (a mask of `RTMGRP_*`).
pub(crate) fn open(groups: u32) -> io::Result<OwnedFd> {
    // NETLINK_ROUTE is protocol 0, which is what no protocol means.
    open_protocol(None, groups)
}

/// As [`open`], for generic netlink: the families of subsystems such as WireGuard.
pub(crate) fn open_generic() -> io::Result<OwnedFd> {
    open_protocol(Some(netlink::GENERIC), 0)
}

fn open_protocol(protocol: Option<Protocol>, groups: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// Asks and waits for nothing: the kernel answers a request before `send` returns, so the answer can be received
/// from a non-blocking socket at once.
pub(crate) fn ask(socket: &OwnedFd, request: &Request) -> io::Result<()> {
    send(socket, request.bytes(), SendFlags::empty())?;
    Ok(())
}

/// Receives one datagram; an empty one if it was longer than the buffer, which the kernel avoids for buffers ≥ 8 KiB.
pub(crate) fn receive<'b>(socket: &OwnedFd, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    let (_, length) = recv(socket, &mut *buffer, RecvFlags::TRUNC)?;
    Ok(buffer.get(..length).unwrap_or_default())
}

/// One request, built in place.
pub(crate) struct Request {
    buffer: [u8; 96],
    length: usize,
}

impl Request {
    /// A request about one thing.
    pub(crate) fn get(kind: u16, body: &[u8]) -> Self {
        Self::new(kind, NLM_F_REQUEST, body)
    }

    /// A request for all things of a kind.
    pub(crate) fn dump(kind: u16, body: &[u8]) -> Self {
        Self::new(kind, NLM_F_REQUEST | NLM_F_DUMP, body)
    }

    fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut request = Self { buffer: [0; 96], length: HEADER };
        request.buffer[4..6].copy_from_slice(&kind.to_ne_bytes());
        request.buffer[6..8].copy_from_slice(&flags.to_ne_bytes());
        request.append(body);
        request
    }

    /// Adds an attribute. What does not fit is left out; every request of this crate fits by construction.
    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = (4 + value.len()) as u16;
        let ([a, b], [c, d]) = (length.to_ne_bytes(), kind.to_ne_bytes());
        self.append(&[a, b, c, d]);
        self.append(value);
        self
    }

    fn append(&mut self, bytes: &[u8]) {
        debug_assert!(self.length + bytes.len() <= self.buffer.len());
        if let Some(room) = self.buffer.get_mut(self.length..self.length + bytes.len()) {
            room.copy_from_slice(bytes);
            self.length = (self.length + bytes.len()).next_multiple_of(4);
        }
        let length = (self.length as u32).to_ne_bytes();
        self.buffer[..4].copy_from_slice(&length);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

/// A message of a datagram.
#[derive(Clone, Copy)]
pub(crate) struct Message<'b> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) body: &'b [u8],
}

impl Message<'_> {
    /// The errno of an [`kind::ERROR`] message, where 0 is an acknowledgement, or of a [`kind::DONE`] one.
    pub(crate) fn errno(&self) -> i32 {
        field(self.body, 0).map_or(0, i32::from_ne_bytes).wrapping_neg()
    }
}

/// The messages of a datagram, up to the first malformed one.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    core::iter::from_fn(move || {
        let length = u32::from_ne_bytes(field(datagram, 0)?) as usize;
        let kind = u16::from_ne_bytes(field(datagram, 4)?);
        let flags = u16::from_ne_bytes(field(datagram, 6)?);
        let body = datagram.get(HEADER..length)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, flags, body })
    })
}

/// The attributes (type, value) behind a message's fixed part of `skip` bytes, up to the first malformed one.
pub(crate) fn attributes(body: &[u8], skip: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = body.get(skip..).unwrap_or_default();
    core::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(field(rest, 0)?));
        let kind = u16::from_ne_bytes(field(rest, 2)?);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// `N` bytes at an offset.
pub(crate) fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// An address attribute: 4 or 16 bytes.
pub(crate) fn ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_back() {
        let request =
            Request::get(kind::GET_ROUTE, &[AF_INET; 12]).attribute(1, &[10, 0, 0, 1]).attribute(16, &[7]);
        let read: Vec<_> = messages(request.bytes()).collect();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].kind, kind::GET_ROUTE);
        let attributes: Vec<_> = attributes(read[0].body, 12).collect();
        assert_eq!(attributes, [(1, &[10, 0, 0, 1][..]), (16, &[7][..])]);
    }

    #[test]
    fn no_prefix_or_corruption_panics() {
        let request = Request::dump(kind::GET_ADDR, &[0; 8]).attribute(1, &[1; 16]);
        for end in 0..request.bytes().len() {
            for at in 0..end {
                for flip in [1, 0x80, 0xff] {
                    let mut bytes = request.bytes()[..end].to_vec();
                    bytes[at] ^= flip;
                    for message in messages(&bytes) {
                        message.errno();
                        attributes(message.body, 8).for_each(|(_, value)| assert!(value.len() <= end));
                    }
                }
            }
        }
    }

    #[test]
    fn a_zero_length_ends_the_walk() {
        assert_eq!(messages(&[0; 64]).count(), 0);
        assert_eq!(attributes(&[0; 64], 0).count(), 0);
    }
}
