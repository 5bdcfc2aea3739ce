//! Looking at the system: everything that [`Facts`] holds, one file for each kind of thing that is read.
//!
//! Nothing is judged here and nothing is changed; the gossip port is bound for a moment, which is how one finds out whether it
//! is free.

mod clock;
mod daemon;
mod device;
mod endpoints;
mod files;
mod firewall;
mod kernel;
mod link;
mod ports;
mod process;
mod program;
mod ways;

use core::net::IpAddr;
use std::{collections::BTreeSet, path::PathBuf};

use rustix::process::geteuid;
use wgautomesh_core::PublicKey;

use super::facts::{
    Configured, Device, Facts, MeshFacts, PeerFacts, PortFacts, Purpose, Tunnel, Unseen, Wanted, Way,
};
use crate::{
    config::{Config, Report},
    control,
    store::folder_of,
    wireguard::own_address,
};

/// What is to be looked at.
pub struct Subject {
    /// The configuration, as the user named it.
    pub file: PathBuf,
    /// What it wants, if it is right.
    pub config: Option<Config>,
    /// What is to be said of it.
    pub report: Report,
    /// Whether this user may not read it, or its secret.
    pub unseen: bool,
    /// The interface, where it is known.
    pub interface: Option<String>,
    /// The file with the secret, if it has one of its own.
    pub secret_file: Option<PathBuf>,
    /// The file for what is kept over a restart.
    pub persist_file: Option<PathBuf>,
}

/// What to do about most of what cannot be seen.
const AS_ROOT: &str = "run it as root";

/// Why something was not read, and as whom it would be.
fn unseen(error: &std::io::Error) -> Unseen {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => Unseen::new("not permitted", AS_ROOT),
        _ => Unseen::new(error.to_string(), ""),
    }
}

pub(super) fn look(subject: Subject) -> Facts {
    let said = subject.report.findings().iter();
    let said = said.map(|finding| (subject.report.place_of(finding), finding.clone())).collect();
    let why = match subject.config {
        Some(_) => "its secret may not be read",
        None => "it may not be read",
    };
    let mut config = Configured {
        file: subject.file.display().to_string(),
        said,
        unseen: subject.unseen.then(|| Unseen::new(why, AS_ROOT)),
        wanted: None,
    };
    // A daemon that runs tells which interface, where the configuration may not be read.
    let interface = subject.interface.or_else(daemon::only_one);
    let mesh = interface.map(|interface| mesh(interface, subject.config.as_ref(), &mut config));
    let named = [
        (Purpose::Config, Some(subject.file)),
        (Purpose::Secret, subject.secret_file),
        (Purpose::PersistFolder, subject.persist_file.as_deref().map(folder_of)),
        (Purpose::Persist, subject.persist_file),
        (Purpose::ControlFolder, Some(control::directory())),
    ];
    Facts {
        config,
        mesh,
        files: named.into_iter().filter_map(|(purpose, path)| Some(files::look(purpose, path?))).collect(),
        clock: clock::look(),
        user: geteuid().as_raw(),
        capabilities: process::capabilities("self"),
    }
}

fn mesh(interface: String, config: Option<&Config>, configured: &mut Configured) -> MeshFacts {
    let links = link::Links::new();
    let link = link::look(&interface);
    let device = device::look(&interface);
    configured.wanted = config.map(|config| wanted(config, device.tunnel(), &links));
    let daemon = daemon::look(&interface);
    let there = matches!(device, Device::There(_) | Device::Unseen(_));
    let gossip_port = match config {
        // Not while the daemon has it, nor where one may run that cannot be seen.
        Some(config) if there && matches!(daemon, Ok(None)) => {
            ports::try_gossip(&interface, config.gossip_port().get())
        }
        _ => PortFacts::NotTried,
    };
    let peers = configured.wanted.iter().flat_map(|wanted| &wanted.peers);
    let underlay: BTreeSet<String> = peers
        .flat_map(|peer| &peer.endpoints)
        .filter_map(|at| match &at.way {
            Way::By(out) => Some(out.name.clone()),
            _ => None,
        })
        .collect();
    MeshFacts {
        kernel: kernel::look(&interface, &underlay),
        port_is_fixed: device::port_is_fixed(&interface),
        device,
        link,
        firewall: firewall::look(),
        ports: ports::look(),
        gossip_port,
        daemon,
        interface,
    }
}

/// What a configuration wants, with the ways to each peer.
fn wanted(config: &Config, tunnel: Option<&Tunnel>, links: &link::Links) -> Wanted {
    let mut resolved = endpoints::resolve(config);
    let of_tunnel = |key: &PublicKey| tunnel?.peers.iter().find(|peer| peer.key == *key);
    let mut peer = |key: PublicKey, name: Option<String>, address: IpAddr| {
        let (found, unresolved) = resolved.remove(&key).unwrap_or_default();
        let now = of_tunnel(&key).and_then(|peer| peer.endpoint);
        let fwmark = tunnel.map_or(0, |tunnel| tunnel.fwmark);
        PeerFacts {
            key,
            name,
            address,
            way: ways::look(address, 0, links),
            endpoints: endpoints::look(&found, now, fwmark, links),
            unresolved,
        }
    };
    let listed = config
        .peers()
        .iter()
        .map(|listed| peer(*listed.key(), listed.name().map(ToString::to_string), listed.address()));
    let mut peers: Vec<PeerFacts> = listed.collect();
    let adopted =
        tunnel.into_iter().filter(|_| config.peers_from_interface()).flat_map(|tunnel| &tunnel.peers);
    for entry in adopted {
        let own = own_address(entry.allowed_ips.iter().copied());
        if let Some(address) = own.filter(|_| !peers.iter().any(|peer| peer.key == entry.key)) {
            peers.push(peer(entry.key, None, address));
        }
    }
    Wanted { gossip_port: config.gossip_port().get(), peers }
}
