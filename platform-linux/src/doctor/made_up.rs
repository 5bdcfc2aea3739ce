//! Facts of a good machine, for tests to change: `wg0` with this node, alice and bob, and a daemon that runs.

use std::collections::BTreeMap;

use wgautomesh_core::PublicKey;

use super::facts::{
    BoundPort, Capabilities, Clock, Configured, Daemon, Device, EndpointFacts, Facts, FileFacts, FileState,
    Kernel, Kind, LinkFacts, MeshFacts, Out, PeerFacts, PortFacts, Purpose, Tunnel, TunnelPeer, Wanted, Way,
};
use crate::control::{
    status::{Nats, Node, SeenAt, Status},
    tests,
};

/// Who asks.
pub(super) const USER: u32 = 1000;
/// Whom the daemon runs as.
pub(super) const DAEMON: u32 = 998;

pub(super) fn key(byte: u8) -> PublicKey {
    PublicKey::from_bytes([byte; 32])
}

pub(super) fn with(change: impl FnOnce(&mut MeshFacts)) -> Facts {
    let mut facts = good();
    change(facts.mesh.as_mut().expect("an interface"));
    facts
}

fn out(index: u32, name: &str, mtu: u32) -> Way {
    Way::By(Out { index, name: name.into(), mtu: Some(mtu) })
}

fn peer(number: u8, name: Option<&str>, endpoint: Option<&str>) -> PeerFacts {
    let way = if number == 1 { out(1, "lo", 65536) } else { out(7, "wg0", 1420) };
    let endpoints = endpoint.map(|endpoint| EndpointFacts {
        endpoint: endpoint.parse().expect("an endpoint"),
        host: None,
        way: out(2, "eth0", 1500),
    });
    PeerFacts {
        key: key(number),
        name: name.map(Into::into),
        address: [10, 14, 0, number].into(),
        way,
        endpoints: endpoints.into_iter().collect(),
        unresolved: Vec::new(),
    }
}

fn status() -> Status {
    let peer = |number: u8, name: Option<&str>| {
        tests::peer(name, &key(number).to_string(), &format!("10.14.0.{number}"))
    };
    Status {
        version: 1,
        node: Node {
            version: env!("CARGO_PKG_VERSION").into(),
            interface: "wg0".into(),
            interface_up: true,
            key: Some(key(1).to_string()),
            mesh_address: Some([10, 14, 0, 1].into()),
            gossip_port: 1666,
            listen_port: Some(51820),
            uptime_s: 61,
            openers: true,
            nat: Nats::default(),
            seen_at: vec![SeenAt { endpoint: ([203, 0, 113, 1], 51820).into(), peers: 2 }],
            port_mapping: None,
            rotation: None,
        },
        peers: vec![peer(2, Some("alice")), peer(3, None)],
        counters: BTreeMap::new(),
    }
}

pub(super) fn good() -> Facts {
    let allowed = |number: u8| TunnelPeer {
        key: key(number),
        endpoint: None,
        allowed_ips: vec![([10, 14, 0, number].into(), 32)],
    };
    let all = Ok(Capabilities(u64::MAX));
    let file = |purpose, path: &str, kind, mode, owner| FileFacts {
        purpose,
        path: path.into(),
        state: Ok(Some(FileState { kind, mode, owner })),
    };
    Facts {
        config: Configured {
            file: "/etc/wgautomesh.toml".into(),
            said: Vec::new(),
            unseen: None,
            wanted: Some(Wanted {
                gossip_port: 1666,
                peers: vec![
                    peer(1, Some("here"), None),
                    peer(2, Some("alice"), Some("203.0.113.2:51820")),
                    peer(3, None, None),
                ],
            }),
        },
        mesh: Some(MeshFacts {
            interface: "wg0".into(),
            link: Ok(Some(LinkFacts {
                index: 7,
                up: true,
                mtu: Some(1420),
                addresses: vec![([10, 14, 0, 1].into(), 24)],
            })),
            device: Device::There(Tunnel {
                key: Some(key(1)),
                listen_port: 51820,
                fwmark: 0,
                peers: vec![allowed(2), allowed(3)],
            }),
            port_is_fixed: Some(true),
            firewall: Ok(Vec::new()),
            kernel: Kernel {
                rp_filter: Some(2),
                underlay_rp_filter: vec![("eth0".into(), 2)],
                src_valid_mark: Some(0),
                udp_timeout_stream: Some(120),
            },
            ports: Ok(vec![BoundPort { address: [0, 0, 0, 0].into(), port: 51820, inode: 0, program: None }]),
            gossip_port: PortFacts::NotTried,
            daemon: Ok(Some(Daemon { status: status(), user: DAEMON, capabilities: all.clone() })),
        }),
        files: vec![
            file(Purpose::Config, "/etc/wgautomesh.toml", Kind::File, 0o600, 0),
            file(Purpose::Secret, "/etc/wgautomesh.secret", Kind::File, 0o600, 0),
            file(Purpose::PersistFolder, "/var/lib/wgautomesh", Kind::Directory, 0o700, DAEMON),
            file(Purpose::Persist, "/var/lib/wgautomesh/state", Kind::File, 0o600, DAEMON),
            file(Purpose::ControlFolder, "/run/wgautomesh", Kind::Directory, 0o755, 0),
        ],
        clock: Clock { unix: 1_795_564_800, synchronised: Ok(true) },
        user: USER,
        capabilities: all,
    }
}
