//! A WireGuard device for machines whose kernel has none: a TUN interface, two UDP sockets and a UAPI socket around
//! `boringtun::noise::Tunn`, one thread.
//!
//! It behaves like the kernel's towards whoever configures it: a peer's endpoint is changed in place, a keepalive
//! from 0 to something is sent at once, `update_only` is honoured, handshake stamps are wall-clock time, a peer that
//! was removed and added is a new one. Towards its peers it keeps the kernel's timing (see [`peer`]). It is made for
//! the box and for tests: one packet at a time, no batching, and an interface under the sender's own control.
//!
//! Unlike the kernel it cannot answer a local sender with `EDESTADDRREQ`: a packet for a peer without endpoint, or
//! for no peer, is answered with ICMP "host unreachable" as the kernel does besides.

mod allowed_ips;
mod icmp;
mod peer;
mod uapi;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn};
use boringtun::x25519::{PublicKey, StaticSecret};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use self::allowed_ips::AllowedIps;
use self::peer::{Peer, Wire};
use self::uapi::{DeviceUpdate, PeerUpdate, Request};
use super::key::Key;
use super::{launch, namespace};

/// The word that makes our binary a device: `WORD PARENT-PID INTERFACE`.
pub(crate) const WORD: &str = "__mesh_box_device";

/// Where the configuration socket of an interface is.
pub(crate) fn socket_path(interface: &str) -> String {
    format!("/var/run/wireguard/{interface}.sock")
}

/// A client that sends more without an empty line is cut off.
const MAX_REQUEST: usize = 1 << 20;
/// How many packets are taken from one socket before the others have their turn.
const BATCH: usize = 64;

/// Runs as a device until it is killed; comes back only with an error.
pub(crate) fn run(arguments: &[String]) -> io::Error {
    let [parent, interface] = arguments else {
        return io::ErrorKind::InvalidInput.into();
    };
    let outcome = parent
        .parse()
        .map_err(|_| io::ErrorKind::InvalidInput.into())
        .and_then(launch::die_with)
        .and_then(|()| Device::open(interface))
        .and_then(Device::serve);
    match outcome {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

/// What the peers write to: apart from them, so that both can be borrowed at once.
struct Io {
    tun: File,
    udp4: Option<UdpSocket>,
    udp6: Option<UdpSocket>,
    allowed_ips: AllowedIps,
}

impl Wire for Io {
    fn send(&mut self, to: SocketAddr, datagram: &[u8]) {
        let socket = if to.is_ipv4() { &self.udp4 } else { &self.udp6 };
        if let Some(socket) = socket {
            // As lossy as the network behind it.
            let _ = socket.send_to(datagram, to);
        }
    }

    fn deliver(&mut self, from: &Key, packet: &[u8]) {
        let genuine = source(packet).and_then(|address| self.allowed_ips.lookup(address)) == Some(*from);
        if genuine {
            let _ = self.tun.write(packet);
        }
    }
}

/// A device: one interface and its peers.
struct Device {
    io: Io,
    listener: UnixListener,
    clients: Vec<Client>,
    private_key: Key,
    public_key: Key,
    listen_port: u16,
    fwmark: u32,
    limiter: Arc<RateLimiter>,
    peers: Vec<Peer>,
    next_index: u32,
}

/// A connection on the configuration socket. Any number of requests may follow each other on one.
struct Client {
    stream: UnixStream,
    input: Vec<u8>,
}

impl Device {
    fn open(interface: &str) -> io::Result<Self> {
        let tun = namespace::open_tun(interface).map_err(|error| io::Error::other(error.to_string()))?;
        let path = socket_path(interface);
        let path = Path::new(&path);
        std::fs::create_dir_all(path.parent().unwrap_or(path))?;
        // Left behind by one that was killed.
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Self::new(tun, listener))
    }

    /// Without keys, port and peers.
    fn new(tun: File, listener: UnixListener) -> Self {
        let none = Key([0; 32]);
        Self {
            io: Io { tun, udp4: None, udp6: None, allowed_ips: AllowedIps::default() },
            listener,
            clients: Vec::new(),
            private_key: none,
            public_key: none,
            listen_port: 0,
            fwmark: 0,
            limiter: limiter(&none),
            peers: Vec::new(),
            next_index: 1,
        }
    }

    fn serve(mut self) -> io::Result<core::convert::Infallible> {
        let mut buffer = vec![0; 65536];
        let mut scratch = vec![0; 65536];
        loop {
            let ready = self.wait()?;
            let now = Instant::now();
            if ready.tun {
                self.read_tun(now, &mut buffer)?;
            }
            if ready.udp4 {
                self.read_udp(now, false, &mut buffer, &mut scratch);
            }
            if ready.udp6 {
                self.read_udp(now, true, &mut buffer, &mut scratch);
            }
            if ready.listener {
                while let Ok((stream, _)) = self.listener.accept() {
                    stream.set_nonblocking(true)?;
                    self.clients.push(Client { stream, input: Vec::new() });
                }
            }
            // From the last: those before keep their places when one goes.
            for at in ready.clients.into_iter().rev() {
                if !self.serve_client(at, now) {
                    self.clients.swap_remove(at);
                }
            }
            for peer in &mut self.peers {
                if peer.poll_timeout().is_some_and(|due| due <= now) {
                    peer.handle_timeout(now, &mut self.io);
                }
            }
        }
    }

    /// Sleeps until something can be read or a timer is due.
    fn wait(&self) -> io::Result<Ready> {
        let due = self.peers.iter().filter_map(Peer::poll_timeout).min();
        let timeout = due.map(|due| timespec(due.saturating_duration_since(Instant::now())));
        let mut fds = vec![
            PollFd::new(&self.io.tun, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
            // In place of a socket that is not open: something that is never ready for nothing.
            self.io.udp4.as_ref().map_or_else(|| PollFd::new(&self.listener, PollFlags::empty()), read_poll),
            self.io.udp6.as_ref().map_or_else(|| PollFd::new(&self.listener, PollFlags::empty()), read_poll),
        ];
        fds.extend(self.clients.iter().map(|client| PollFd::new(&client.stream, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let set = |at: usize| !fds[at].revents().is_empty();
        Ok(Ready {
            tun: set(0),
            listener: set(1),
            udp4: set(2),
            udp6: set(3),
            clients: (0..self.clients.len()).filter(|at| set(at + 4)).collect(),
        })
    }

    fn read_tun(&mut self, now: Instant, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..BATCH {
            let length = match self.io.tun.read(buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // EIO: the interface is down for the moment.
                Err(error) if error.raw_os_error() == Some(5) => break,
                Err(error) => return Err(error),
            };
            let packet = &buffer[..length];
            let owner = Tunn::dst_address(packet).and_then(|address| self.io.allowed_ips.lookup(address));
            let peer = owner.and_then(|key| self.peers.iter_mut().find(|peer| peer.key == key));
            let sent = peer.is_some_and(|peer| peer.send(now, packet, &mut self.io).is_ok());
            if !sent && let Some(answer) = icmp::host_unreachable(packet) {
                let _ = self.io.tun.write(&answer);
            }
        }
        Ok(())
    }

    fn read_udp(&mut self, now: Instant, v6: bool, buffer: &mut [u8], scratch: &mut [u8]) {
        for _ in 0..BATCH {
            let socket = if v6 { &self.io.udp6 } else { &self.io.udp4 };
            // An error is either "nothing left" or an ICMP answer to something sent; neither concerns a peer.
            let Some(Ok((length, from))) = socket.as_ref().map(|socket| socket.recv_from(buffer)) else {
                break;
            };
            self.handle_datagram(now, from, &buffer[..length], scratch);
        }
    }

    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], scratch: &mut [u8]) {
        let Ok(packet) = Tunn::parse_incoming_packet(bytes) else {
            return;
        };
        let by_index = |index: u32| move |peer: &&mut Peer| peer.index == index >> 8;
        let mut peers = self.peers.iter_mut();
        match packet {
            Packet::HandshakeInit(packet) => {
                // The cheap check first: only who knows our key gets us to do the arithmetic below.
                if self.limiter.verify_packet(Some(from.ip()), bytes, &mut [0; 64]).is_err() {
                    return;
                }
                let (private, public) =
                    (StaticSecret::from(self.private_key.0), PublicKey::from(self.public_key.0));
                let Ok(half) = parse_handshake_anon(&private, &public, &packet) else {
                    return;
                };
                if let Some(peer) = peers.find(|peer| peer.key.0 == half.peer_static_public) {
                    peer.handle_initiation(now, from, bytes, &mut self.io);
                }
            }
            Packet::HandshakeResponse(packet) => {
                if let Some(peer) = peers.find(by_index(packet.receiver_idx)) {
                    peer.handle_response(now, from, packet.receiver_idx, bytes, &mut self.io);
                }
            }
            Packet::PacketCookieReply(packet) => {
                if let Some(peer) = peers.find(by_index(packet.receiver_idx)) {
                    peer.handle_cookie(from, bytes);
                }
            }
            Packet::PacketData(packet) => {
                if let Some(peer) = peers.find(by_index(packet.receiver_idx)) {
                    peer.handle_data(now, from, bytes, scratch, &mut self.io);
                }
            }
        }
    }

    /// Reads from a client and answers what is complete; false when it is done with.
    fn serve_client(&mut self, at: usize, now: Instant) -> bool {
        let mut chunk = [0; 4096];
        loop {
            let client = &mut self.clients[at];
            match client.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(length) => client.input.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
            if client.input.len() > MAX_REQUEST {
                return false;
            }
            while let Some(end) = find_empty_line(&self.clients[at].input) {
                let request: Vec<u8> = self.clients[at].input.drain(..end).collect();
                let answer = self.answer(now, &String::from_utf8_lossy(&request));
                let stream = &self.clients[at].stream;
                // An answer for hundreds of peers may not fit into the socket's buffer at once.
                let sent = stream.set_nonblocking(false).and_then(|()| {
                    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
                    (&*stream).write_all(answer.as_bytes())?;
                    stream.set_nonblocking(true)
                });
                if sent.is_err() {
                    return false;
                }
            }
        }
    }

    fn answer(&mut self, now: Instant, request: &str) -> String {
        let outcome = uapi::parse(request.trim_end()).and_then(|request| match request {
            Request::Get => Ok(self.describe()),
            Request::Set(update) => self.apply(now, update).map(|()| String::new()),
        });
        match outcome {
            Ok(text) => format!("{text}errno=0\n\n"),
            Err(errno) => format!("errno=-{errno}\n\n"),
        }
    }

    fn describe(&self) -> String {
        use core::fmt::Write as _;
        let mut text = String::new();
        let mut line = |key: &str, value: &dyn core::fmt::Display| {
            let _ = writeln!(text, "{key}={value}");
        };
        if !self.private_key.is_zero() {
            line("private_key", &self.private_key.hex());
        }
        line("listen_port", &self.listen_port);
        if self.fwmark != 0 {
            line("fwmark", &self.fwmark);
        }
        for peer in &self.peers {
            line("public_key", &peer.key.hex());
            line("preshared_key", &peer.preshared_key.hex());
            line("protocol_version", &1);
            if let Some(endpoint) = peer.endpoint {
                line("endpoint", &endpoint);
            }
            let stamp = peer.last_handshake.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let stamp = stamp.unwrap_or_default();
            line("last_handshake_time_sec", &stamp.as_secs());
            line("last_handshake_time_nsec", &stamp.subsec_nanos());
            line("tx_bytes", &peer.tx_bytes);
            line("rx_bytes", &peer.rx_bytes);
            line("persistent_keepalive_interval", &peer.keepalive);
            for range in self.io.allowed_ips.of_peer(&peer.key) {
                line("allowed_ip", &range);
            }
        }
        text
    }

    fn apply(&mut self, now: Instant, update: DeviceUpdate) -> Result<(), i32> {
        if let Some(port) = update.listen_port
            && (port != self.listen_port || self.io.udp4.is_none())
        {
            self.bind(port).map_err(|_| uapi::ADDRESS_IN_USE)?;
        }
        if let Some(mark) = update.fwmark {
            self.fwmark = mark;
            self.set_marks();
        }
        if let Some(key) = update.private_key {
            self.set_private_key(key);
        }
        if update.replace_peers {
            self.peers.clear();
            self.io.allowed_ips = AllowedIps::default();
        }
        for peer in update.peers {
            self.apply_peer(now, peer);
        }
        Ok(())
    }

    fn apply_peer(&mut self, now: Instant, update: PeerUpdate) {
        if update.key == self.public_key {
            return;
        }
        let mut at = self.peers.iter().position(|peer| peer.key == update.key);
        if update.remove {
            if let Some(at) = at {
                self.peers.remove(at);
                self.io.allowed_ips.remove_peer(&update.key);
            }
            return;
        }
        if at.is_none() && !update.update_only {
            let none = Key([0; 32]);
            self.peers.push(Peer::new(&self.private_key, update.key, none, self.next_index, &self.limiter));
            self.next_index = self.next_index.wrapping_add(1);
            at = Some(self.peers.len() - 1);
        }
        let Some(peer) = at.map(|at| &mut self.peers[at]) else {
            return;
        };
        if let Some(preshared) = update.preshared_key
            && preshared != peer.preshared_key
        {
            peer.rekey(&self.private_key, preshared, &self.limiter);
        }
        if let Some(endpoint) = update.endpoint {
            peer.endpoint = Some(endpoint);
        }
        if update.replace_allowed_ips {
            self.io.allowed_ips.remove_peer(&update.key);
        }
        for range in update.allowed_ips {
            self.io.allowed_ips.insert(range, update.key);
        }
        if let Some(seconds) = update.keepalive {
            peer.set_keepalive(now, seconds, &mut self.io);
        }
        peer.flush(now, &mut self.io);
    }

    fn set_private_key(&mut self, key: Key) {
        if key == self.private_key {
            return;
        }
        self.private_key = key;
        self.public_key = key.public();
        self.limiter = limiter(&self.public_key);
        self.peers.retain(|peer| peer.key != self.public_key);
        for peer in &mut self.peers {
            peer.rekey(&key, peer.preshared_key, &self.limiter);
        }
    }

    /// Opens both sockets on one port; 0 lets the system choose.
    fn bind(&mut self, port: u16) -> io::Result<()> {
        (self.io.udp4, self.io.udp6) = (None, None);
        let udp4 = open_udp(Domain::IPV4, (Ipv4Addr::UNSPECIFIED, port).into())?;
        let port = udp4.local_addr()?.port();
        // A machine may have no IPv6 at all.
        self.io.udp6 = open_udp(Domain::IPV6, (Ipv6Addr::UNSPECIFIED, port).into()).ok();
        self.io.udp4 = Some(udp4);
        self.listen_port = port;
        self.set_marks();
        Ok(())
    }

    fn set_marks(&self) {
        for socket in [&self.io.udp4, &self.io.udp6].into_iter().flatten() {
            if let Err(error) = SockRef::from(socket).set_mark(self.fwmark) {
                eprintln!("fwmark: {error}");
            }
        }
    }
}

/// What [`Device::wait`] found.
struct Ready {
    tun: bool,
    listener: bool,
    udp4: bool,
    udp6: bool,
    clients: Vec<usize>,
}

fn read_poll(socket: &UdpSocket) -> PollFd<'_> {
    PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)
}

fn open_udp(domain: Domain, address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Never under load: the kernel asks for cookies from 512 queued handshakes on, which the box does not reach.
fn limiter(public: &Key) -> Arc<RateLimiter> {
    Arc::new(RateLimiter::new(&PublicKey::from(public.0), u64::MAX))
}

fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 })
}

fn find_empty_line(input: &[u8]) -> Option<usize> {
    input.windows(2).position(|pair| pair == b"\n\n").map(|at| at + 2)
}

fn source(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(12..16)?).ok()?)),
        6 => Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(8..24)?).ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
