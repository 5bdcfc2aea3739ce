//! PCP and NAT-PMP side by side: one socket to the gateway, connected, so that only its packets come in and a port that is
//! closed there says so.
//!
//! ```text
//!   at 0, 250, 750, 1500 ms: PCP's MAP ────────────────► mapped, or it is given up
//!                            NAT-PMP's address ─────┐
//!                 from 250 ms on, if PCP has not yet┴─► NAT-PMP's mapping
//! ```

use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use std::{io, net::UdpSocket};

use super::{
    Handle, Mapping, Protocol, Wanted, Why,
    gateway::Route,
    is_public, natpmp,
    pcp::{self, Nonce},
};

const TIMES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(250), Duration::from_millis(750), Duration::from_millis(1500)];
/// Packets taken at a time.
const BURST: usize = 16;

/// What has come of one protocol.
enum State<T> {
    Asked,
    Known(T),
    Failed(Why),
}

/// The questions to one gateway.
pub(super) struct Asking<'w> {
    wanted: &'w Wanted,
    route: Route,
    socket: UdpSocket,
    /// Times of [`TIMES`] that have come.
    sent: usize,
    pcp: State<Mapping>,
    /// The external address first, then the mapping.
    address: State<IpAddr>,
    natpmp: State<Mapping>,
}

impl<'w> Asking<'w> {
    pub(super) fn new(wanted: &'w Wanted, route: Route, port: u16) -> io::Result<Self> {
        let socket = UdpSocket::bind(SocketAddr::new(route.source, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(route.at(port))?;
        // NAT-PMP is of IPv4.
        let natpmp = if route.source.is_ipv4() { State::Asked } else { State::Failed(Why::NoAnswer) };
        Ok(Self { wanted, route, socket, sent: 0, pcp: State::Asked, address: State::Asked, natpmp })
    }

    pub(super) const fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Sends what is due this long after the start.
    pub(super) fn send(&mut self, elapsed: Duration) {
        while TIMES.get(self.sent).is_some_and(|at| *at <= elapsed) {
            self.sent += 1;
            if matches!(self.pcp, State::Asked) {
                self.put(&map(self.wanted, &self.route).encode());
            }
            if matches!(self.natpmp, State::Asked) {
                match self.address {
                    State::Asked => self.put(&natpmp::ADDRESS_REQUEST),
                    State::Known(_) if self.sent > 1 => self.ask_natpmp(),
                    _ => {}
                }
            }
        }
    }

    /// When the next packet is due.
    pub(super) fn due(&self) -> Option<Duration> {
        TIMES.get(self.sent).copied().filter(|_| !self.is_settled())
    }

    fn ask_natpmp(&mut self) {
        if !matches!(self.pcp, State::Known(_)) {
            let Wanted { internal_port, external_port, lease, .. } = *self.wanted;
            self.put(&natpmp::map_request(internal_port, external_port, lease));
        }
    }

    fn put(&mut self, message: &[u8]) {
        if let Err(error) = self.socket.send(message) {
            self.failed(&error);
        }
    }

    /// Takes what has come in.
    pub(super) fn receive(&mut self) {
        for _ in 0..BURST {
            let mut buffer = [0; pcp::MAX_MESSAGE + 1];
            match self.socket.recv(&mut buffer) {
                Ok(n) => self.take(buffer.get(..n).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.failed(&error),
            }
        }
    }

    fn failed(&mut self, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::WouldBlock => {}
            // Nothing listens there.
            io::ErrorKind::ConnectionRefused => self.fail(|| Why::NoAnswer),
            _ => self.fail(|| Why::Local(error.to_string())),
        }
    }

    fn fail(&mut self, why: impl Fn() -> Why) {
        if matches!(self.pcp, State::Asked) {
            self.pcp = State::Failed(why());
        }
        if matches!(self.natpmp, State::Asked) {
            self.natpmp = State::Failed(why());
        }
    }

    fn take(&mut self, message: &[u8]) {
        if matches!(self.pcp, State::Asked)
            && let Some(answer) = map(self.wanted, &self.route).answer(message)
        {
            self.pcp = match answer {
                pcp::Answer::Mapped(mapped) => match self.judge(&mapped) {
                    Ok(mapping) => State::Known(mapping),
                    Err(why) => State::Failed(why),
                },
                pcp::Answer::Refused(pcp::NO_ADDRESS) => State::Failed(Why::NO_ADDRESS),
                pcp::Answer::Refused(code) => State::Failed(Why::Refused(pcp::refusal(code).into())),
                pcp::Answer::OtherVersion => State::Failed(Why::NoAnswer),
            };
            if matches!((&self.pcp, &self.address), (State::Failed(_), State::Known(_))) {
                self.ask_natpmp();
            }
            return;
        }
        if matches!(self.natpmp, State::Asked)
            && let Some(answer) = natpmp::answer(message)
        {
            self.take_natpmp(answer);
        }
    }

    fn take_natpmp(&mut self, answer: natpmp::Answer) {
        match (answer, &self.address) {
            (natpmp::Answer::Refused(code), _) => {
                self.natpmp = State::Failed(match code {
                    1 | 5 => Why::NoAnswer,
                    natpmp::NO_ADDRESS => Why::NO_ADDRESS,
                    _ => Why::Refused(natpmp::refusal(code).into()),
                });
            }
            (natpmp::Answer::Address { ip, .. }, State::Asked) => {
                let ip = IpAddr::V4(ip);
                if is_public(ip) {
                    self.address = State::Known(ip);
                    if matches!(self.pcp, State::Failed(_)) {
                        self.ask_natpmp();
                    }
                } else {
                    self.natpmp = State::Failed(Why::NotPublic(ip));
                }
            }
            (
                natpmp::Answer::Mapped { internal_port, external_port, lifetime, epoch },
                State::Known(address),
            ) if internal_port == self.wanted.internal_port => {
                self.natpmp = if external_port == 0 || lifetime == 0 {
                    State::Failed(Why::Bad("a mapping that is none".into()))
                } else {
                    State::Known(self.mapping(
                        Protocol::NatPmp,
                        SocketAddr::new(*address, external_port),
                        lifetime,
                        epoch,
                        Handle::NatPmp,
                    ))
                };
            }
            _ => {}
        }
    }

    /// Whether what a PCP server gave is of use.
    fn judge(&self, mapped: &pcp::Mapped) -> Result<Mapping, Why> {
        let (ip, port) = mapped.external;
        let external = SocketAddr::new(ip, port);
        if port == 0 || mapped.lifetime == 0 || ip.is_ipv4() != self.route.source.is_ipv4() {
            return Err(Why::Bad("a mapping that is none".into()));
        }
        let handle = Handle::Pcp(self.wanted.nonce);
        let mapping = self.mapping(Protocol::Pcp, external, mapped.lifetime, mapped.epoch, handle);
        if !is_public(ip) {
            // It is of no use to anybody.
            let _ = self.socket.send(&deletion(&mapping, self.wanted.nonce));
            return Err(Why::NotPublic(ip));
        }
        Ok(mapping)
    }

    const fn mapping(
        &self,
        protocol: Protocol,
        external: SocketAddr,
        lease: u32,
        epoch: u32,
        handle: Handle,
    ) -> Mapping {
        Mapping {
            protocol,
            gateway: self.route,
            external,
            internal: SocketAddr::new(self.route.source, self.wanted.internal_port),
            lease,
            epoch: Some(epoch),
            handle,
        }
    }

    /// Nothing more is waited for.
    pub(super) fn is_settled(&self) -> bool {
        self.is_mapped() || matches!((&self.pcp, &self.natpmp), (State::Failed(_), State::Failed(_)))
    }

    pub(super) const fn is_mapped(&self) -> bool {
        matches!(self.pcp, State::Known(_)) || matches!(self.natpmp, State::Known(_))
    }

    pub(super) fn result(self) -> Result<Mapping, (Protocol, Why)> {
        let of = |state, protocol| match state {
            State::Known(mapping) => Ok(mapping),
            State::Failed(why) => Err((protocol, why)),
            State::Asked => Err((protocol, Why::NoAnswer)),
        };
        let first = of(self.pcp, Protocol::Pcp);
        first.or_else(|a| of(self.natpmp, Protocol::NatPmp).map_err(|b| super::worse(a, b)))
    }
}

fn map(wanted: &Wanted, route: &Route) -> pcp::Map {
    pcp::Map {
        client: route.source,
        nonce: wanted.nonce,
        internal_port: wanted.internal_port,
        // Over IPv6 there is nothing to translate.
        external_port: if route.source.is_ipv4() { wanted.external_port } else { wanted.internal_port },
        lifetime: wanted.lease,
    }
}

fn deletion(mapping: &Mapping, nonce: Nonce) -> [u8; 60] {
    let (client, internal_port) = (mapping.internal.ip(), mapping.internal.port());
    pcp::Map { client, nonce, internal_port, external_port: 0, lifetime: 0 }.encode()
}

/// Takes a mapping back. Nobody waits for the answer: the lease ends it in any case.
pub(super) fn remove(mapping: &Mapping, pcp_port: u16) -> io::Result<()> {
    let socket = UdpSocket::bind(SocketAddr::new(mapping.internal.ip(), 0))?;
    socket.connect(mapping.gateway.at(pcp_port))?;
    match mapping.handle {
        Handle::Pcp(nonce) => drop(socket.send(&deletion(mapping, nonce))?),
        Handle::NatPmp => drop(socket.send(&natpmp::map_request(mapping.internal.port(), 0, 0))?),
        #[cfg(feature = "upnp")]
        Handle::Igd(_) | Handle::Pinhole(..) => {}
    }
    Ok(())
}
