//! One device of the bench: its process, and what the process hands to its parent.
//!
//! A process makes namespaces, wan and device as a node of the box does, sends its parent the descriptors, and then
//! only waits: to make the device anew, or for the end.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::fs::{self, File};
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::{kernel_uapi, wan_address};
use crate::mesh_box::channel::Channel;
use crate::mesh_box::error::{BoxError, Closed};
use crate::mesh_box::key::Key;
use crate::mesh_box::namespace::{self, EnterError};
use crate::mesh_box::netlink::{Netlink, link_index};
use crate::mesh_box::wireguard::{INTERFACE, Interface, WireGuardKind};
use crate::mesh_box::{device, launch};
use crate::virtual_internet::wireguard::rows::Side;

/// The word that makes our binary a machine: `WORD PARENT-PID`, a [`Channel`] on standard input.
pub(crate) const WORD: &str = "__mesh_box_bench";

const WAN: &str = "wan";
/// The port of the sockets in the tunnel: echo's, though nothing echoes.
const PING_PORT: u16 = 7;
/// How long a device may take to open its UDP socket.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

/// Everything a machine has to know about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Setup {
    wireguard: WireGuardKind,
    private_key: Key,
    port: u16,
    wan: Ipv4Addr,
    mesh: IpAddr,
    other_mesh: IpAddr,
}

/// From the parent.
#[derive(Debug, Serialize, Deserialize)]
enum Request {
    /// First of all; answered with every [`Part`] in order.
    Make(Setup),
    /// Answered with [`Part::Configuration`].
    MakeDeviceAnew { port: u16 },
}

/// To the parent, each with a descriptor.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Part {
    /// The packet end of the wan.
    Wan,
    /// A connection to the device's configuration socket.
    Configuration,
    /// A UDP socket in the tunnel, connected to that of the other machine.
    Socket,
    /// A raw socket that hears the ICMP errors of this machine.
    Refusals,
    /// None of them, and no descriptor.
    Failed { closed: Option<Closed>, text: String },
}

/// The process of a machine. It ends with this, and the device and the namespaces with it.
struct Process {
    child: Child,
    channel: Channel,
    name: String,
    /// Everything that is printed there.
    log: File,
}

impl Process {
    fn send(&self, request: &Request) -> Result<(), BoxError> {
        self.channel.send(request, None).map_err(|error| self.broken(&error))
    }

    /// Takes the descriptor of a part, which must be the next.
    fn take(&self, wanted: &Part) -> Result<OwnedFd, BoxError> {
        match self.channel.receive().map_err(|error| self.broken(&error))? {
            (Part::Failed { closed: Some(closed), .. }, _) => Err(BoxError::Closed(closed)),
            (Part::Failed { closed: None, text }, _) => Err(self.error(&text)),
            (part, Some(fd)) if part == *wanted => Ok(fd),
            (part, _) => Err(self.error(&format!("{part:?} came instead of {wanted:?}"))),
        }
    }

    fn broken(&self, error: &io::Error) -> BoxError {
        self.error(&error.to_string())
    }

    fn error(&self, text: &str) -> BoxError {
        BoxError::Node { node: self.name.clone(), text: format!("{text}\n{}", self.log()) }
    }

    fn log(&self) -> String {
        let length = self.log.metadata().map_or(0, |data| usize::try_from(data.len()).unwrap_or(0));
        let mut text = vec![0; length];
        // What cannot be read is not worth an error on top of the one it would explain.
        let read = self.log.read_at(&mut text, 0).unwrap_or(0);
        String::from_utf8_lossy(&text[..read]).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A machine that is being made.
pub(super) struct Starting {
    process: Process,
    setup: Setup,
}

impl Starting {
    /// Starts its process.
    pub(super) fn spawn(
        program: &Path,
        wireguard: &WireGuardKind,
        side: Side,
        private_key: Key,
        port: u16,
    ) -> Result<Self, BoxError> {
        let (ours, theirs) = Channel::pair().map_err(BoxError::io("make a channel"))?;
        let log = memfd_create("log", MemfdFlags::CLOEXEC)
            .map_err(|error| BoxError::io("make a file in memory")(error.into()))?;
        let log = File::from(log);
        let errors = log.try_clone().map_err(BoxError::io("share a file"))?;
        let child = Command::new(program)
            .args([WORD, &std::process::id().to_string()])
            .stdin(Stdio::from(theirs.into_fd()))
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .map_err(BoxError::io("start the process of a device"))?;
        let process = Process { child, channel: ours, name: format!("device {side:?}"), log };
        let setup = Setup {
            wireguard: wireguard.clone(),
            private_key,
            port,
            wan: wan_address(side),
            mesh: side.mesh_address(),
            other_mesh: side.other().mesh_address(),
        };
        process.send(&Request::Make(setup.clone()))?;
        Ok(Self { process, setup })
    }

    /// Waits until it is made.
    pub(super) fn finish(self) -> Result<Machine, BoxError> {
        let Self { process, setup } = self;
        Ok(Machine {
            wan: process.take(&Part::Wan)?.into(),
            configuration: process.take(&Part::Configuration)?.into(),
            socket: process.take(&Part::Socket)?.into(),
            refusals: process.take(&Part::Refusals)?.into(),
            private_key: setup.private_key,
            port: setup.port,
            wireguard: setup.wireguard,
            process,
        })
    }
}

/// A machine as the parent has it.
pub(super) struct Machine {
    pub(super) wan: File,
    pub(super) configuration: UnixStream,
    pub(super) socket: UdpSocket,
    pub(super) refusals: Socket,
    pub(super) private_key: Key,
    /// Where the device listens. Who moves it says so here.
    pub(super) port: u16,
    pub(super) wireguard: WireGuardKind,
    process: Process,
}

impl Machine {
    /// Ends the device and makes another with the same key, at the port it has now.
    pub(super) fn make_device_anew(&mut self) -> Result<(), BoxError> {
        self.process.send(&Request::MakeDeviceAnew { port: self.port })?;
        self.configuration = self.process.take(&Part::Configuration)?.into();
        Ok(())
    }

    /// What device and process printed.
    pub(super) fn log(&self) -> String {
        self.process.log()
    }
}

/// Runs as a machine until the parent closes the channel.
pub(crate) fn run(arguments: &[String]) -> io::Result<()> {
    let [parent] = arguments else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = parent.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    let channel = Channel::from_fd(rustix::stdio::stdin().try_clone_to_owned()?);
    let entered = namespace::enter();
    // After the change of credentials, which forgets it.
    launch::die_with(parent)?;

    let (Request::Make(setup), _) = channel.receive()? else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut interface = Interface::new(setup.wireguard.clone());
    if let Err(error) = entered.and_then(|()| make(&setup, &mut interface, &channel)) {
        return fail(&channel, &error);
    }
    loop {
        let port = match channel.receive() {
            Ok((Request::MakeDeviceAnew { port }, _)) => port,
            Ok(_) => return Err(io::ErrorKind::InvalidInput.into()),
            // The parent is done.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let deleted = interface.delete().map_err(|error| EnterError::Io("end the device", error));
        let setup = Setup { port, ..setup.clone() };
        if let Err(error) = deleted.and_then(|()| make_device(&setup, &mut interface, &channel)) {
            return fail(&channel, &error);
        }
    }
}

fn fail(channel: &Channel, error: &EnterError) -> io::Result<()> {
    let closed = match error {
        EnterError::Closed(closed) => Some(*closed),
        EnterError::Io(..) => None,
    };
    channel.send(&Part::Failed { closed, text: error.to_string() }, None)
}

fn make(setup: &Setup, interface: &mut Interface, channel: &Channel) -> Result<(), EnterError> {
    let wan = namespace::open_tun(WAN)?;
    connect_wan(setup.wan).map_err(|error| EnterError::Io("set up the wan", error))?;
    let send = |part, fd: &dyn AsFd| {
        channel.send(&part, Some(fd.as_fd())).map_err(|error| EnterError::Io("hand over", error))
    };
    send(Part::Wan, &wan)?;
    make_device(setup, interface, channel)?;
    // A socket outlives the interface that its address is of.
    let socket = open_socket(setup).map_err(|error| EnterError::Io("open a socket in the tunnel", error))?;
    send(Part::Socket, &socket)?;
    let refusals = open_refusals().map_err(|error| EnterError::Io("open a raw socket", error))?;
    send(Part::Refusals, &refusals)
}

fn make_device(setup: &Setup, interface: &mut Interface, channel: &Channel) -> Result<(), EnterError> {
    interface.create(setup.private_key, setup.port, &[(setup.mesh, 24)])?;
    wait_for_port(setup.port).map_err(|error| EnterError::Io("wait for the device's UDP socket", error))?;
    let configuration = match setup.wireguard {
        WireGuardKind::Kernel => kernel_uapi::connect(),
        _ => UnixStream::connect(device::socket_path(INTERFACE)),
    };
    let configuration =
        configuration.map_err(|error| EnterError::Io("connect to the configuration socket", error))?;
    channel
        .send(&Part::Configuration, Some(configuration.as_fd()))
        .map_err(|error| EnterError::Io("hand over", error))
}

fn connect_wan(address: Ipv4Addr) -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    netlink.set_up(link_index("lo")?, None)?;
    let index = link_index(WAN)?;
    netlink.add_address(index, address.into(), 24)?;
    netlink.set_up(index, Some(1500))?;
    netlink.set_device_route(index, Ipv4Addr::UNSPECIFIED.into(), 0)
}

fn open_socket(setup: &Setup) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((setup.mesh, PING_PORT))?;
    socket.connect((setup.other_mesh, PING_PORT))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn open_refusals() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// wireguard-go opens its UDP socket when it hears from the kernel that its interface is up, and drops what comes from
/// the interface before.
fn wait_for_port(port: u16) -> io::Result<()> {
    let deadline = Instant::now() + OPEN_TIMEOUT;
    let wanted = format!("00000000:{port:04X} ");
    // A line is "number: address:port peer …" in hexadecimal; sockets for IPv6 are in a file of their own.
    while !fs::read_to_string("/proc/self/net/udp")?.contains(&wanted) {
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
