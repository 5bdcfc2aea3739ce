//! The driver: moves datagrams between a [`Mesh`] and any [`embedded_nal::UdpFullStack`].
//!
//! The same code runs over the sockets of a Unix host and over an embedded network stack. It binds the gossip port, hands
//! over what comes in and sends what the engine wants sent; everything else that the engine puts out is the caller's.
//!
//! What it is *not*: a check of where datagrams come from. The socket must only get what comes out of the tunnel: on a
//! host it is bound to the WireGuard device right after [`Driver::bind`], and drained with [`Driver::drain`] of what came
//! in between.

use core::net::SocketAddr;

use embassy_time::Instant;
use embedded_nal::{UdpFullStack, nb};
use rand_core::TryCryptoRng;

use crate::{Mesh, Output, limits::MAX_DATAGRAM};

/// Datagrams taken in one call of [`Driver::receive`], so that a flood leaves time for everything else.
pub const RECEIVE_BUDGET: usize = 64;

/// A gossip socket on a stack.
pub struct Driver<S: UdpFullStack> {
    socket: S::UdpSocket,
    port: u16,
    buffer: [u8; MAX_DATAGRAM + 1],
}

impl<S: UdpFullStack> Driver<S> {
    /// Opens a socket and binds it to the gossip port.
    ///
    /// # Errors
    /// Those of the stack.
    pub fn bind(stack: &mut S, port: u16) -> Result<Self, S::Error> {
        let mut socket = stack.socket()?;
        stack.bind(&mut socket, port)?;
        Ok(Self { socket, port, buffer: [0; MAX_DATAGRAM + 1] })
    }

    /// The socket, to set options on it and to wait for it.
    pub const fn socket(&self) -> &S::UdpSocket {
        &self.socket
    }

    /// What the engine wrote for the last output of [`Driver::poll`]: the bytes of an [`Output::Opener`].
    pub const fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    /// Throws away what has come in so far, at most [`RECEIVE_BUDGET`] datagrams at a call. Returns how many.
    pub fn drain(&mut self, stack: &mut S) -> usize {
        (0..RECEIVE_BUDGET).take_while(|_| stack.receive(&mut self.socket, &mut self.buffer).is_ok()).count()
    }

    /// Hands what has come in to the engine, at most [`RECEIVE_BUDGET`] datagrams, and fewer where the engine has no room for
    /// more answers of one kind before it is polled. Poll the engine afterwards. Returns how many there were.
    ///
    /// # Errors
    /// Those of the stack, an empty socket not among them.
    pub fn receive<const PEERS: usize>(
        &mut self,
        stack: &mut S,
        mesh: &mut Mesh<PEERS>,
        now: Instant,
    ) -> Result<usize, S::Error> {
        for received in 0..RECEIVE_BUDGET {
            match stack.receive(&mut self.socket, &mut self.buffer) {
                Ok((len, from)) => {
                    // A longer datagram than any of ours fills the buffer, and is counted as too long.
                    let datagram = self.buffer.get_mut(..len).unwrap_or_default();
                    mesh.handle_datagram(now, from.ip().to_canonical(), datagram);
                    if mesh.is_to_be_polled() {
                        return Ok(received + 1);
                    }
                }
                Err(nb::Error::WouldBlock) => return Ok(received),
                Err(nb::Error::Other(error)) => return Err(error),
            }
        }
        Ok(RECEIVE_BUDGET)
    }

    /// The engine's next output that is not a datagram; datagrams are sent on the way. `None` when nothing is left.
    ///
    /// A datagram that the stack refuses is lost, as it could be on the wire: the engine repeats what matters.
    pub fn poll<const PEERS: usize, R: TryCryptoRng>(
        &mut self,
        stack: &mut S,
        mesh: &mut Mesh<PEERS>,
        now: Instant,
        rng: &mut R,
    ) -> Option<Output> {
        loop {
            match mesh.poll(now, rng, &mut self.buffer)? {
                Output::Datagram { to, len } => {
                    let datagram = self.buffer.get(..len).unwrap_or_default();
                    let sent = stack.send_to(&mut self.socket, SocketAddr::new(to, self.port), datagram);
                    if sent.is_err() {
                        trace!("a datagram was not sent");
                    }
                }
                other => return Some(other),
            }
        }
    }
}

#[cfg(test)]
mod tests;
