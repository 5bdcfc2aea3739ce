//! The daemon: one thread that waits for files and time, and one engine that it feeds.
//!
//! [`run`] sets up what touches the system and [`Daemon`] is the loop's body, over traits that the tests implement too.
//! Policy about peers is the engine's. What is decided here is only what is about this machine: when the interface is
//! there, when to look for it again, what to say in the log. Whatever fails is said once and tried again; it never stops
//! the mesh.

mod adopt;
mod daemon;
#[cfg(feature = "admin")]
mod map;
mod memory;
mod names;
#[cfg(all(feature = "admin", feature = "toml"))]
mod reload;
mod report;
mod signals;
mod status;
#[cfg_attr(not(feature = "admin"), path = "why/absent.rs")]
mod why;

#[cfg(test)]
mod tests;

use core::{fmt, net::SocketAddr};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{DumpableBehavior, set_dumpable_behavior},
};
use wgautomesh_core::{AddPeerError, Instant, Mesh, PublicKey};

use crate::{
    clock::{self, Alarm},
    config::{Config, Endpoint, OtherSecret, Peer},
    control::{self, BindError, Server, status::Rotation},
    metrics,
    net::{
        Tunnel,
        lan::{Lan, LanSockets},
        opener::RawOpeners,
    },
    notify, portmap,
    resolve::{self, Resolver},
    rng::SysRng,
    sandbox,
    store::FileStore,
    watch::Rtnetlink,
    wireguard::System,
};
use adopt::Adopted;
use daemon::{Daemon, Parts, Ready};
use memory::Memory;
use names::Names;
use signals::{Signals, Wish};

/// Why the daemon cannot run.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The interface may not be read or changed.
    Permission {
        /// The interface.
        interface: String,
    },
    /// Another daemon meshes this interface.
    AlreadyRunning(BindError),
    /// A peer of the configuration does not fit the engine.
    Peer(PublicKey, AddPeerError),
    /// The system refused something without which nothing works.
    System {
        /// What was wanted.
        what: &'static str,
        /// What it said.
        error: io::Error,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permission { interface } => write!(
                f,
                "{interface}: not permitted; run as root, or give the program CAP_NET_ADMIN \
                 (`AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW` in its systemd unit)"
            ),
            Self::AlreadyRunning(error) => write!(f, "{error}; stop it first"),
            Self::Peer(key, error) => write!(f, "peer {key}: {error}"),
            Self::System { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

impl core::error::Error for RunError {}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> RunError {
    move |error| RunError::System { what, error }
}

/// What is said of this node besides what the engine knows.
struct Node {
    interface: String,
    gossip_port: u16,
    started: Instant,
    rotation: Option<Rotation>,
}

/// Meshes the configured interface until SIGTERM or SIGINT.
///
/// `mesh` is a new engine, with room for the configured peers. The caller brings it because it is large and best lies in a
/// static.
///
/// # Errors
/// See [`RunError`]. What goes wrong later on is logged and tried again, except that the right to change the interface is
/// missing.
pub fn run<const PEERS: usize>(config: &Config, mesh: &mut Mesh<PEERS>) -> Result<(), RunError> {
    // Every reading of the interface carries its private key: no core dump, and no other process of this user's reads it.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        log::debug!("the process cannot be made undumpable: {error}");
    }
    let now = clock::now();
    let mut signals = Signals::new().map_err(system("signals"))?;
    #[cfg_attr(not(feature = "systemd"), expect(unused_mut, reason = "nobody is told anything"))]
    let mut manager = notify::Manager::from_env();
    let mut alarm = Alarm::new().map_err(system("timer"))?;
    let mut server = bind_control(config)?;
    #[cfg_attr(not(feature = "admin"), expect(unused_mut, reason = "nobody comes"))]
    let mut scrapes = metrics::Server::new(config.metrics_listen(), now);
    let interface = config.interface().as_str();
    configure(mesh, config, now)?;
    // Before there is any other thread.
    sandbox::enter(config);
    let resolver =
        Resolver::new(now, names_to_resolve(config), Arc::new(resolve::system)).map_err(system("eventfd"))?;
    let openers = RawOpeners::new();
    if let Some(error) = openers.refused() {
        log::info!(
            "no raw sockets ({error}): without CAP_NET_RAW, connecting through NATs takes a little longer"
        );
    }
    let parts = Parts {
        wireguard: System::new(interface).map_err(system("sockets"))?,
        watch: Rtnetlink::new(interface).map_err(system("rtnetlink"))?,
        stack: Tunnel::new(interface),
        openers,
        rng: SysRng,
        resolver,
        memory: match config.persist_file() {
            Some(path) => {
                Memory::load(Box::new(FileStore::new(path)), path, config.state_commit().duration(), now)
            }
            None => Memory::none(),
        },
        adopted: Adopted::new(config),
        mapper: mapper(config).map_err(system("eventfd"))?,
        lan: config.lan().map(|lan| {
            let sockets: Box<dyn Lan> = Box::new(LanSockets::new(config.gossip_port().get()));
            (lan.clone(), sockets)
        }),
    };
    let node = Node {
        interface: interface.into(),
        gossip_port: config.gossip_port().get(),
        started: now,
        rotation: rotation(config),
    };
    let peers = config.peers().len();
    log::info!("wgautomesh {}: meshing {interface}, {peers} peers configured", env!("CARGO_PKG_VERSION"));
    let mut daemon = Daemon::new(mesh, node, Names::new(config), parts);
    daemon.start(clock::now())?;
    #[cfg(all(feature = "admin", feature = "toml"))]
    let mut reload = reload::Reload::new(config, PEERS);
    // An interface that is not there yet is waited for: nobody else has to.
    manager.ready(clock::now());
    loop {
        let control_timeout = server.as_ref().and_then(Server::next_timeout);
        let timeouts =
            [daemon.poll_timeout(), control_timeout, scrapes.next_timeout(), manager.poll_timeout()];
        let deadline = timeouts.into_iter().flatten().min();
        alarm.set(deadline).map_err(system("timer"))?;
        let (ready, signalled, asked) = wait(&daemon.fds(), &signals, &alarm, server.as_ref(), &scrapes)?;
        if signalled {
            match signals.next() {
                Some(Wish::Stop) => break,
                #[cfg(all(feature = "admin", feature = "toml"))]
                Some(Wish::Reload) => {
                    let now = clock::now();
                    reload.reload(None, |difference, config, fresh| {
                        daemon.change(now, difference, config, fresh);
                    });
                }
                #[cfg(not(all(feature = "admin", feature = "toml")))]
                Some(Wish::Reload) => {
                    log::warn!("SIGHUP: restart the daemon to have it read its configuration again")
                }
                None => {}
            }
        }
        if ready.alarm {
            alarm.clear();
        }
        let now = clock::now();
        daemon.turn(now, ready)?;
        if let Some(server) = server.as_mut().filter(|_| asked || ready.alarm) {
            server.handle(now, |request, ticket| {
                #[cfg(all(feature = "admin", feature = "toml"))]
                if let control::Request::Reload(handover) = &request {
                    let reloaded = reload.reload(handover.as_ref(), |difference, config, fresh| {
                        daemon.change(now, difference, config, fresh);
                    });
                    return Some(reloaded.answer());
                }
                daemon.answer(now, &request, ticket)
            });
        }
        // After the requests, which these may be the answers to.
        #[cfg(feature = "admin")]
        if let Some(server) = &mut server {
            for (ticket, answer) in daemon.settled(now) {
                server.settle(ticket, answer);
            }
            while let Some((ticket, answer)) = daemon.next_answer(now)? {
                server.settle(ticket, answer);
            }
        }
        #[cfg(all(feature = "admin", feature = "toml"))]
        scrapes.listen_at(reload.present().metrics_listen(), now);
        if asked || ready.alarm {
            scrapes.handle(now, || daemon.metrics(now));
        }
        manager.alive(now);
    }
    manager.stopping();
    daemon.stop(clock::now());
    log::info!("{}: stopped, the peers go on as they are", config.interface());
    Ok(())
}

fn configure<const PEERS: usize>(
    mesh: &mut Mesh<PEERS>,
    config: &Config,
    now: Instant,
) -> Result<(), RunError> {
    set_secrets(mesh, config);
    for peer in config.peers() {
        mesh.add_peer(now, *peer.key(), peer.address())
            .map_err(|error| RunError::Peer(*peer.key(), error))?;
        mesh.set_configured_endpoints(now, peer.key(), &addresses(peer));
    }
    Ok(())
}

/// The keys that the gossip is sealed with.
fn set_secrets<const PEERS: usize>(mesh: &mut Mesh<PEERS>, config: &Config) {
    let present = config.secret().key();
    match config.other_secret() {
        None => mesh.set_secrets([present]),
        Some(OtherSecret::Next(next)) => mesh.set_secrets([present, next.key()]),
        Some(OtherSecret::Previous(previous)) => mesh.set_secrets_after(previous.key(), present),
    }
}

/// How far the change from one secret to another is by the configuration.
fn rotation(config: &Config) -> Option<Rotation> {
    config.other_secret().map(|other| match other {
        OtherSecret::Next(_) => Rotation::Next,
        OtherSecret::Previous(_) => Rotation::Previous,
    })
}

/// The endpoints of a peer that need no look-up.
fn addresses(peer: &Peer) -> Vec<SocketAddr> {
    let address = |endpoint: &Endpoint| match endpoint {
        Endpoint::Address(address) => Some(*address),
        Endpoint::Name { .. } => None,
    };
    peer.endpoints().iter().filter_map(address).collect()
}

fn names_to_resolve(config: &Config) -> impl Iterator<Item = resolve::Name> {
    config.peers().iter().flat_map(names_of)
}

fn names_of(peer: &Peer) -> impl Iterator<Item = resolve::Name> {
    peer.endpoints().iter().filter_map(move |endpoint| match endpoint {
        Endpoint::Name { host, port } => Some(resolve::Name {
            peer: *peer.key(),
            host: host.clone(),
            port: port.get(),
            beside: addresses(peer).into(),
        }),
        Endpoint::Address(_) => None,
    })
}

/// In a build without it the configuration's check has said so.
#[cfg(not(feature = "portmap"))]
fn mapper(_: &Config) -> io::Result<Option<portmap::Mapper>> {
    Ok(None)
}

#[cfg(feature = "portmap")]
fn mapper(config: &Config) -> io::Result<Option<portmap::Mapper>> {
    let port = config.upnp_forward_external_port();
    let secret = config.secret().reveal().as_bytes();
    port.map(|port| portmap::Mapper::new(port.get(), secret, Arc::new(portmap::System::default())))
        .transpose()
}

/// The control socket, without which the mesh works as well.
fn bind_control(config: &Config) -> Result<Option<Server>, RunError> {
    match Server::bind(&control::directory(), config.interface()) {
        Ok(server) => Ok(Some(server)),
        Err(error @ BindError::InUse(_)) => Err(RunError::AlreadyRunning(error)),
        Err(error) => {
            log::warn!("no control socket, `wgautomesh status` will not work: {error}");
            Ok(None)
        }
    }
}

/// Waits until a file is ready. Returns what is, whether a signal came, and whether the control socket, or who comes for the
/// metrics, wants something.
fn wait(
    fds: &daemon::Fds<'_>,
    signals: &Signals,
    alarm: &Alarm,
    server: Option<&Server>,
    scrapes: &metrics::Server,
) -> Result<(Ready, bool, bool), RunError> {
    fn readable(fd: BorrowedFd<'_>) -> PollFd<'_> {
        PollFd::from_borrowed_fd(fd, PollFlags::IN)
    }
    let [stop, reload] = signals.fds();
    let fixed = [stop, reload, alarm.as_fd(), fds.watch, fds.resolver];
    let asking = server.into_iter().flat_map(Server::interests).chain(scrapes.interests());
    let asking = asking.map(|(fd, interest)| interest.of(fd));
    let mut files: Vec<_> = fixed.into_iter().chain(fds.tunnel).map(readable).collect();
    let openers = files.len();
    files.extend(fds.openers.into_iter().flatten().map(readable));
    let mapper = files.len();
    files.extend(fds.mapper.into_iter().flatten().map(readable));
    let lan = files.len();
    files.extend(fds.lan.iter().copied().map(readable));
    let others = files.len();
    files.extend(asking);
    match poll(&mut files, None) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok((Ready::default(), true, false)),
        Err(error) => return Err(RunError::System { what: "poll", error: error.into() }),
    }
    let is_ready = |at: usize| files.get(at).is_some_and(|file| !file.revents().is_empty());
    let ready = Ready {
        alarm: is_ready(2),
        watch: is_ready(3),
        resolver: is_ready(4),
        tunnel: openers > 5 && is_ready(5),
        openers: (openers..mapper).any(is_ready),
        mapper: (mapper..lan).any(is_ready),
        lan: (lan..others).any(is_ready),
    };
    Ok((ready, is_ready(0) || is_ready(1), (others..files.len()).any(is_ready)))
}
