//! The process that is a node: it makes its namespaces, its wan and its WireGuard interface, starts the daemon, and
//! asks the other nodes for echoes, as its parent says.

use core::net::IpAddr;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::channel::Channel;
use super::launch::{self, Gate};
use super::namespace::{self, EnterError};
use super::netlink::{Netlink, link_index};
use super::probe::Prober;
use super::protocol::{Answer, Asked, Event, Request, Said, Setup, Usage};
use super::wireguard::{Interface, PeerStatus};

/// The word that makes our binary a node: `WORD PARENT-PID`, a [`Channel`] on standard input.
pub(crate) const WORD: &str = "__mesh_box_node";

/// A node's way out.
pub(super) const WAN: &str = "wan";

/// Runs as a node until the parent closes the channel.
pub(crate) fn run(arguments: &[String]) -> io::Result<()> {
    let [parent] = arguments else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = parent.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    let channel = Arc::new(Channel::from_fd(rustix::stdio::stdin().try_clone_to_owned()?));
    let entered = namespace::enter();
    // After the change of credentials, which forgets it.
    launch::die_with(parent)?;

    let (Asked { id, request }, _) = channel.receive()?;
    let made = entered.and_then(|()| match request {
        Request::Setup(setup) => Node::make(*setup, Arc::clone(&channel)),
        _ => Err(EnterError::Io("set up", io::ErrorKind::InvalidInput.into())),
    });
    match made {
        Ok((node, wan)) => {
            channel.send(&Said::Answer { id, answer: Answer::Done }, Some(wan.as_fd()))?;
            drop(wan);
            node.serve()
        }
        Err(error) => channel.send(&Said::Answer { id, answer: failed(&error) }, None),
    }
}

fn failed(error: &EnterError) -> Answer {
    let closed = match error {
        EnterError::Closed(closed) => Some(*closed),
        EnterError::Io(..) => None,
    };
    Answer::Failed { closed, text: error.to_string() }
}

struct Daemon {
    child: Child,
    /// Readable when it has ended.
    pidfd: OwnedFd,
}

struct Node {
    setup: Setup,
    channel: Arc<Channel>,
    /// None on a host that is in no mesh.
    interface: Option<Interface>,
    prober: Prober,
    daemon: Option<Daemon>,
}

impl Node {
    /// Makes everything that is there before the daemon.
    fn make(setup: Setup, channel: Arc<Channel>) -> Result<(Self, fs::File), EnterError> {
        let wan = namespace::open_wan(WAN)?;
        let interface = setup.wireguard.clone().map(Interface::new);
        let own = own_addresses(&setup);
        let prober = Prober::open(setup.mesh, own, setup.gossip_port, &setup.others)
            .map_err(|error| EnterError::Io("open the measuring sockets", error))?;
        let mut node = Self { setup, channel, interface, prober, daemon: None };
        node.connect_wan().map_err(|error| EnterError::Io("set up the wan", error))?;
        for (path, text) in &node.setup.files {
            write_file(path, text).map_err(|error| EnterError::Io("write the daemon's files", error))?;
        }
        if node.interface.is_some() {
            node.create_interface()?;
        }
        Ok((node, wan))
    }

    fn connect_wan(&self) -> io::Result<()> {
        let mut netlink = Netlink::open()?;
        netlink.set_up(link_index("lo")?, None)?;
        let index = link_index(WAN)?;
        for &(address, prefix) in &self.setup.wan {
            netlink.add_address(index, address, prefix)?;
        }
        netlink.set_up(index, Some(1500))?;
        self.set_default_routes(&mut netlink, index)
    }

    fn set_default_routes(&self, netlink: &mut Netlink, index: u32) -> io::Result<()> {
        let everything = [IpAddr::from([0; 4]), IpAddr::from([0_u16; 8])];
        for all in everything {
            if self.setup.wan.iter().any(|(address, _)| address.is_ipv4() == all.is_ipv4()) {
                netlink.set_device_route(index, all, 0)?;
            }
        }
        Ok(())
    }

    fn create_interface(&mut self) -> Result<(), EnterError> {
        let addresses = [(self.setup.mesh, self.setup.mesh_prefix)];
        let interface = self.interface.as_mut();
        let interface = interface.ok_or_else(|| EnterError::Io("create an interface", no_interface()))?;
        interface.create(self.setup.private_key, self.setup.listen_port, &addresses)
    }

    /// What WireGuard says of the peers.
    fn peers(&self) -> io::Result<Vec<PeerStatus>> {
        self.interface.as_ref().ok_or_else(no_interface)?.peers()
    }

    fn serve(mut self) -> io::Result<()> {
        loop {
            let (asked, ended) = self.wait()?;
            let now = Instant::now();
            for event in self.prober.handle_input(now) {
                self.channel.send(&Said::Event(event), None)?;
            }
            if ended {
                self.reap()?;
            }
            if asked {
                let (Asked { id, request }, fd) = match self.channel.receive() {
                    Ok(received) => received,
                    // The parent is done with this node.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                    Err(error) => return Err(error),
                };
                if let Some(answer) = self.handle(now, id, request, fd) {
                    self.channel.send(&Said::Answer { id, answer }, None)?;
                }
            }
            self.look(now);
            self.prober.handle_timeout(now);
        }
    }

    /// Shows the measuring instrument what WireGuard says, if it wants to know.
    fn look(&mut self, now: Instant) {
        if self.prober.wants_peers(now) {
            let exists = self.interface.as_ref().is_some_and(Interface::exists);
            let peers = if exists { self.peers().unwrap_or_default() } else { Vec::new() };
            self.prober.handle_peers(now, &peers);
        }
    }

    /// Sleeps until there is something to do: a request, the end of the daemon.
    fn wait(&self) -> io::Result<(bool, bool)> {
        let [echo, capture] = self.prober.fds();
        let mut fds = vec![
            PollFd::new(&*self.channel, PollFlags::IN),
            PollFd::from_borrowed_fd(echo, PollFlags::IN),
            PollFd::from_borrowed_fd(capture, PollFlags::IN),
        ];
        fds.extend(self.daemon.as_ref().map(|daemon| PollFd::new(&daemon.pidfd, PollFlags::IN)));
        let timeout = self.prober.poll_timeout().map(|due| {
            let wait = due.saturating_duration_since(Instant::now());
            Timespec::try_from(wait).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 })
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let set = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        Ok((set(0), set(3)))
    }

    fn handle(&mut self, now: Instant, id: u64, request: Request, fd: Option<OwnedFd>) -> Option<Answer> {
        let outcome = match request {
            Request::Setup(_) => Err(io::ErrorKind::InvalidInput.into()),
            Request::CreateInterface => {
                return Some(self.create_interface().err().map_or(Answer::Done, |e| failed(&e)));
            }
            Request::DeleteInterface => {
                self.interface.as_mut().ok_or_else(no_interface).and_then(Interface::delete)
            }
            Request::StartDaemon => {
                fd.ok_or_else(|| io::ErrorKind::InvalidInput.into()).and_then(|gate| self.start_daemon(gate))
            }
            Request::SignalDaemon(number) => self.signal_daemon(number),
            Request::Run(program) => return self.run_program(id, program),
            Request::Peers => {
                return Some(self.peers().map_or_else(|error| io_failed(&error), Answer::Peers));
            }
            Request::UpdatePeers(peers) => {
                self.interface.as_ref().ok_or_else(no_interface).and_then(|it| it.update(&peers))
            }
            Request::Probe(probing) => {
                self.prober.start(now, &probing);
                // What is counted from now on is read before the answer, after which the parent changes things.
                self.look(now);
                Ok(())
            }
            Request::StopProbing => {
                self.prober.stop();
                Ok(())
            }
            Request::Ping(period) => {
                self.prober.ping(now, period);
                Ok(())
            }
            Request::Pings => return Some(Answer::Pings(self.prober.pings().collect())),
            Request::Usage => return Some(Answer::Usage(self.usage())),
            Request::SetWan(addresses) => self.set_wan(addresses),
            Request::WriteFile { path, text } => write_file(&path, &text),
        };
        Some(outcome.map_or_else(|error| io_failed(&error), |()| Answer::Done))
    }

    /// Starts the daemon up to the gate. Its output goes to our standard error, which is this node's log.
    fn start_daemon(&mut self, gate: OwnedFd) -> io::Result<()> {
        if self.daemon.is_some() {
            return Err(io::Error::other("the daemon is running"));
        }
        let (program, arguments) = self.setup.daemon.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = launch::command(program, Gate::UntilEndOfInput);
        let mut child = command.args(arguments).stdin(Stdio::from(gate)).stdout(Stdio::piped()).spawn()?;
        let pidfd = pidfd_open(pid(&child)?, PidfdFlags::empty())?;
        // It says that it is at the gate.
        if let Some(mut output) = child.stdout.take() {
            output.read_exact(&mut [0])?;
        }
        self.daemon = Some(Daemon { child, pidfd });
        Ok(())
    }

    fn signal_daemon(&self, number: i32) -> io::Result<()> {
        let daemon = self.daemon.as_ref().ok_or_else(|| io::Error::other("no daemon is running"))?;
        let signal = Signal::from_named_raw(number).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(kill_process(pid(&daemon.child)?, signal)?)
    }

    fn reap(&mut self) -> io::Result<()> {
        use std::os::unix::process::ExitStatusExt as _;
        let Some(daemon) = &mut self.daemon else {
            return Ok(());
        };
        let Some(status) = daemon.child.try_wait()? else {
            return Ok(());
        };
        self.daemon = None;
        let event = Event::DaemonEnded { code: status.code(), signal: status.signal() };
        self.channel.send(&Said::Event(event), None)
    }

    /// Runs a program beside; a thread answers when it has ended.
    fn run_program(&self, id: u64, program: Vec<String>) -> Option<Answer> {
        let Some((program, arguments)) = program.split_first() else {
            return Some(io_failed(&io::ErrorKind::InvalidInput.into()));
        };
        let mut command: Command = launch::command(program, Gate::Open);
        command.args(arguments);
        let channel = Arc::clone(&self.channel);
        std::thread::spawn(move || {
            let answer = match command.output() {
                Ok(output) => Answer::Output {
                    code: output.status.code(),
                    stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                    stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
                },
                Err(error) => io_failed(&error),
            };
            // It fails only when the parent is gone, and then so are we.
            let _ = channel.send(&Said::Answer { id, answer }, None);
        });
        None
    }

    fn set_wan(&mut self, addresses: Vec<(IpAddr, u8)>) -> io::Result<()> {
        let mut netlink = Netlink::open()?;
        let index = link_index(WAN)?;
        let before = core::mem::replace(&mut self.setup.wan, addresses);
        for &(address, prefix) in before.iter().filter(|known| !self.setup.wan.contains(known)) {
            netlink.delete_address(index, address, prefix)?;
        }
        for &(address, prefix) in self.setup.wan.iter().filter(|new| !before.contains(new)) {
            netlink.add_address(index, address, prefix)?;
        }
        // The routes of a family go with its last address.
        self.set_default_routes(&mut netlink, index)?;
        self.prober.set_own(own_addresses(&self.setup));
        Ok(())
    }

    fn usage(&self) -> Usage {
        let mut usage = Usage {
            gossip_bytes: self.prober.gossip_bytes,
            gossip_packets: self.prober.gossip_packets,
            ..Usage::default()
        };
        if let Some(daemon) = &self.daemon {
            let process = Path::new("/proc").join(daemon.child.id().to_string());
            let status = fs::read_to_string(process.join("status")).unwrap_or_default();
            let kilobytes = |field: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(field))?;
                line.trim().trim_end_matches(" kB").parse::<u64>().ok()
            };
            usage.resident_bytes = kilobytes("VmRSS:").unwrap_or(0) * 1024;
            usage.peak_bytes = kilobytes("VmHWM:").unwrap_or(0) * 1024;
            usage.cpu_ns = sum_of_threads(&process, cpu_ns);
            usage.wake_ups = sum_of_threads(&process, voluntary_switches);
        }
        usage
    }
}

fn own_addresses(setup: &Setup) -> Vec<IpAddr> {
    setup.wan.iter().map(|(address, _)| *address).chain([setup.mesh]).collect()
}

/// A figure of all threads of a process that are there now. One that ends meanwhile counts nothing.
fn sum_of_threads(process: &Path, figure: fn(&Path) -> Option<u64>) -> u64 {
    let threads = fs::read_dir(process.join("task")).into_iter().flatten();
    threads.flatten().filter_map(|thread| figure(&thread.path())).sum()
}

/// The first number of `schedstat` is time on a processor in nanoseconds; `stat` has only ticks.
fn cpu_ns(thread: &Path) -> Option<u64> {
    fs::read_to_string(thread.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()
}

fn voluntary_switches(thread: &Path) -> Option<u64> {
    let status = fs::read_to_string(thread.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    line.trim().parse().ok()
}

fn no_interface() -> io::Error {
    io::Error::other("this host is in no mesh")
}

fn io_failed(error: &io::Error) -> Answer {
    Answer::Failed { closed: None, text: error.to_string() }
}

fn pid(child: &Child) -> io::Result<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn write_file(path: &str, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = Path::new(path);
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, text)?;
    // Some daemons refuse a secret that others can read.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}
