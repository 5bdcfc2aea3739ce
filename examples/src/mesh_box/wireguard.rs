//! The WireGuard interface of a node as its node process sees it: made, read, changed and deleted, whoever
//! implements it.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::{Instant, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use wireguard_control::{Backend, Device, DeviceUpdate, InterfaceName, PeerConfigBuilder};

use super::error::Closed;
use super::key::Key;
use super::launch::{self, Gate};
use super::netlink::{Netlink, link_index};
use super::{device, namespace::EnterError};

/// The name of the WireGuard interface in every node.
pub const INTERFACE: &str = "wg0";

/// A path MTU of 1500 less an IPv6 header, a UDP header and WireGuard's 32 bytes.
const MTU: u32 = 1420;
/// How long a device may take to open its socket. wireguard-go needs some 30 ms on a quiet machine.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Whose WireGuard the nodes run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WireGuardKind {
    /// The kernel's.
    Kernel,
    /// The device in this crate.
    Embedded,
    /// A program that is started as `PROGRAM -f wg0` and opens `/var/run/wireguard/wg0.sock`, as wireguard-go does.
    Program(String),
}

impl WireGuardKind {
    /// The kernel's if its module is loaded or built in: asking for more would need rights that we may not have. Else the
    /// device in this crate.
    #[must_use]
    pub fn of_this_machine() -> Self {
        if std::path::Path::new("/sys/module/wireguard").exists() { Self::Kernel } else { Self::Embedded }
    }
}

/// What an interface says of one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its public key.
    pub key: Key,
    /// Where datagrams to it go.
    pub endpoint: Option<SocketAddr>,
    /// Wall-clock time of the last handshake, since 1970; zero for none.
    pub last_handshake: Duration,
    /// Bytes received from it, handshakes included.
    pub rx_bytes: u64,
    /// Bytes sent to it, handshakes included.
    pub tx_bytes: u64,
    /// Seconds; 0 for off.
    pub keepalive: u16,
    /// Its ranges of inner addresses.
    pub allowed_ips: Vec<(IpAddr, u8)>,
}

/// What to change in one peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerUpdate {
    /// Its public key. A peer that is not there is added.
    pub key: Key,
    /// Take it away instead.
    pub remove: bool,
    /// Leave as it is, or set.
    pub endpoint: Option<SocketAddr>,
    /// Leave as it is, or set; seconds, 0 for off.
    pub keepalive: Option<u16>,
    /// Leave as it is, or set; zero for none.
    pub preshared_key: Option<Key>,
    /// Ranges of inner addresses to add to those it has.
    pub allowed_ips: Vec<(IpAddr, u8)>,
}

impl PeerUpdate {
    /// A peer with one inner address.
    #[must_use]
    pub fn new(key: Key, address: IpAddr) -> Self {
        let length = if address.is_ipv4() { 32 } else { 128 };
        let allowed_ips = vec![(address, length)];
        Self { key, remove: false, endpoint: None, keepalive: None, preshared_key: None, allowed_ips }
    }
}

/// The interface of this node.
pub(crate) struct Interface {
    kind: WireGuardKind,
    /// The process behind it, unless it is the kernel's.
    process: Option<Child>,
    exists: bool,
}

impl Interface {
    pub(crate) const fn new(kind: WireGuardKind) -> Self {
        Self { kind, process: None, exists: false }
    }

    pub(crate) const fn exists(&self) -> bool {
        self.exists
    }

    /// Creates it, with keys and port, without peers, its address set and up.
    pub(crate) fn create(
        &mut self,
        key: Key,
        port: u16,
        addresses: &[(IpAddr, u8)],
    ) -> Result<(), EnterError> {
        let mut netlink = Netlink::open().map_err(|error| EnterError::Io("open netlink", error))?;
        match self.kind.clone() {
            WireGuardKind::Kernel => {
                netlink.create_link(INTERFACE, "wireguard").map_err(|error| match error.raw_os_error() {
                    // EOPNOTSUPP: no such kind of link.
                    Some(95) => EnterError::Closed(Closed::KernelWireGuard),
                    _ => EnterError::Io("create a WireGuard interface", error),
                })?;
            }
            WireGuardKind::Embedded => {
                let mut command = Command::new("/proc/self/exe");
                command.arg(device::WORD).arg(std::process::id().to_string()).arg(INTERFACE);
                self.start(command).map_err(|error| EnterError::Io("start the embedded device", error))?;
            }
            WireGuardKind::Program(path) => {
                let mut command = launch::command(&path, Gate::Open);
                command.args(["-f", INTERFACE]).env("LOG_LEVEL", "error");
                self.start(command).map_err(|error| EnterError::Io("start userspace WireGuard", error))?;
            }
        }
        self.exists = true;
        self.set_up(&mut netlink, key, port, addresses)
            .map_err(|error| EnterError::Io("set up the WireGuard interface", error))
    }

    fn set_up(
        &self,
        netlink: &mut Netlink,
        key: Key,
        port: u16,
        addresses: &[(IpAddr, u8)],
    ) -> io::Result<()> {
        if self.kind == WireGuardKind::Kernel {
            let update =
                DeviceUpdate::new().set_private_key(wireguard_control::Key(key.0)).set_listen_port(port);
            update.apply(&name()?, Backend::Kernel)?;
        } else {
            uapi(&format!("set=1\nprivate_key={}\nlisten_port={port}\n\n", key.hex()))?;
        }
        let index = link_index(INTERFACE)?;
        for &(address, prefix) in addresses {
            netlink.add_address(index, address, prefix)?;
        }
        netlink.set_up(index, Some(MTU))
    }

    /// Starts a device and waits for its socket.
    fn start(&mut self, mut command: Command) -> io::Result<()> {
        // Left behind by a device that was killed: it would be taken for the new one's.
        let _ = std::fs::remove_file(device::socket_path(INTERFACE));
        let mut child = command.stdin(std::process::Stdio::null()).stdout(io::stderr()).spawn()?;
        let deadline = Instant::now() + START_TIMEOUT;
        while UnixStream::connect(device::socket_path(INTERFACE)).is_err() {
            if let Some(status) = child.try_wait()? {
                return Err(io::Error::other(format!("it ended at once: {status}")));
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.process = Some(child);
        Ok(())
    }

    /// Deletes it, as an admin's `ip link delete` would.
    pub(crate) fn delete(&mut self) -> io::Result<()> {
        self.exists = false;
        if let Some(mut process) = self.process.take() {
            // The interface ends with the process that holds its packet end.
            process.kill()?;
            process.wait()?;
            let _ = std::fs::remove_file(device::socket_path(INTERFACE));
            return Ok(());
        }
        Netlink::open()?.delete_link(link_index(INTERFACE)?)
    }

    /// What it says of its peers.
    pub(crate) fn peers(&self) -> io::Result<Vec<PeerStatus>> {
        if self.kind == WireGuardKind::Kernel {
            let device = Device::get(&name()?, Backend::Kernel)?;
            return Ok(device.peers.iter().map(from_kernel).collect());
        }
        parse_peers(&uapi("get=1\n\n")?).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Changes peers.
    pub(crate) fn update(&self, peers: &[PeerUpdate]) -> io::Result<()> {
        if self.kind == WireGuardKind::Kernel {
            let update =
                peers.iter().fold(DeviceUpdate::new(), |update, peer| update.add_peer(for_kernel(peer)));
            return update.apply(&name()?, Backend::Kernel);
        }
        uapi(&format!("set=1\n{}\n", peers.iter().map(for_uapi).collect::<String>())).map(|_| ())
    }
}

fn name() -> io::Result<InterfaceName> {
    INTERFACE.parse().map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// One request over the configuration socket.
fn uapi(request: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(device::socket_path(INTERFACE))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 8192];
    while !answer.ends_with(b"\n\n") {
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => answer.extend_from_slice(&chunk[..length]),
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    match answer.lines().find_map(|line| line.strip_prefix("errno=")) {
        Some("0") => Ok(answer),
        errno => Err(io::Error::other(format!("WireGuard refused: errno {}", errno.unwrap_or("missing")))),
    }
}

/// The peers in the answer to a `get=1`; `None` for what is none.
pub(crate) fn parse_peers(answer: &str) -> Option<Vec<PeerStatus>> {
    let mut peers: Vec<PeerStatus> = Vec::new();
    for line in answer.lines().filter(|line| !line.is_empty()) {
        let (key, value) = line.split_once('=')?;
        if key == "public_key" {
            peers.push(PeerStatus {
                key: Key::from_hex(value)?,
                endpoint: None,
                last_handshake: Duration::ZERO,
                rx_bytes: 0,
                tx_bytes: 0,
                keepalive: 0,
                allowed_ips: Vec::new(),
            });
            continue;
        }
        let Some(peer) = peers.last_mut() else {
            continue;
        };
        match key {
            "endpoint" => peer.endpoint = Some(value.parse().ok()?),
            "last_handshake_time_sec" => peer.last_handshake += Duration::from_secs(value.parse().ok()?),
            "last_handshake_time_nsec" => peer.last_handshake += Duration::from_nanos(value.parse().ok()?),
            "rx_bytes" => peer.rx_bytes = value.parse().ok()?,
            "tx_bytes" => peer.tx_bytes = value.parse().ok()?,
            "persistent_keepalive_interval" => peer.keepalive = value.parse().ok()?,
            "allowed_ip" => {
                let (address, length) = value.split_once('/')?;
                peer.allowed_ips.push((address.parse().ok()?, length.parse().ok()?));
            }
            _ => {}
        }
    }
    Some(peers)
}

fn for_uapi(peer: &PeerUpdate) -> String {
    use core::fmt::Write as _;
    let mut text = format!("public_key={}\n", peer.key.hex());
    if peer.remove {
        text.push_str("remove=true\n");
        return text;
    }
    if let Some(key) = peer.preshared_key {
        let _ = writeln!(text, "preshared_key={}", key.hex());
    }
    if let Some(endpoint) = peer.endpoint {
        let _ = writeln!(text, "endpoint={endpoint}");
    }
    for (address, length) in &peer.allowed_ips {
        let _ = writeln!(text, "allowed_ip={address}/{length}");
    }
    if let Some(seconds) = peer.keepalive {
        let _ = writeln!(text, "persistent_keepalive_interval={seconds}");
    }
    text
}

fn for_kernel(peer: &PeerUpdate) -> PeerConfigBuilder {
    let mut builder = PeerConfigBuilder::new(&wireguard_control::Key(peer.key.0));
    if peer.remove {
        return builder.remove();
    }
    if let Some(key) = peer.preshared_key {
        builder = builder.set_preshared_key(wireguard_control::Key(key.0));
    }
    if let Some(endpoint) = peer.endpoint {
        builder = builder.set_endpoint(endpoint);
    }
    for &(address, length) in &peer.allowed_ips {
        builder = builder.add_allowed_ip(address, length);
    }
    match peer.keepalive {
        Some(seconds) => builder.set_persistent_keepalive_interval(seconds),
        None => builder,
    }
}

fn from_kernel(peer: &wireguard_control::PeerInfo) -> PeerStatus {
    let stamp = peer.stats.last_handshake_time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    PeerStatus {
        key: Key(peer.config.public_key.0),
        endpoint: peer.config.endpoint,
        last_handshake: stamp.unwrap_or_default(),
        rx_bytes: peer.stats.rx_bytes,
        tx_bytes: peer.stats.tx_bytes,
        keepalive: peer.config.persistent_keepalive_interval.unwrap_or(0),
        allowed_ips: peer.config.allowed_ips.iter().map(|range| (range.address, range.cidr)).collect(),
    }
}
