//! What the engine knows, as the document that `wgautomesh status` shows.

use std::collections::BTreeMap;

use wgautomesh_core::{Counters, Instant, LinkState, Mesh, NatClass, Nats, PeerStatus, PublicKey, Reason};

use super::{Node, names::Names};
use crate::control::{
    VERSION,
    status::{self, PeerState, Rotation, SeenAt, Status},
};

pub(super) fn document<const PEERS: usize>(
    mesh: &Mesh<PEERS>,
    node: &Node,
    names: &Names,
    openers: bool,
    port_mapping: Option<status::PortMapping>,
    now: Instant,
) -> Status {
    let peers: BTreeMap<PublicKey, PeerStatus> = mesh.peers().map(|peer| (peer.key, peer)).collect();
    let listed =
        names.iter().filter_map(|(key, name)| Some(peer(peers.get(key)?, name, names, node.rotation, now)));
    let this = mesh.node();
    Status {
        version: VERSION,
        node: status::Node {
            version: env!("CARGO_PKG_VERSION").into(),
            interface: node.interface.clone(),
            interface_up: this.interface.is_some(),
            key: this.interface.map(|interface| interface.public_key.to_string()),
            mesh_address: this.address,
            gossip_port: node.gossip_port,
            listen_port: this.interface.map(|interface| interface.listen_port).filter(|&port| port != 0),
            uptime_s: now.saturating_duration_since(node.started).as_secs(),
            openers,
            nat: nats(this.nats),
            seen_at: this
                .seen
                .iter()
                .map(|seen| SeenAt { endpoint: seen.endpoint.into(), peers: seen.peers.into() })
                .collect(),
            port_mapping,
            rotation: node.rotation,
        },
        peers: listed.collect(),
        counters: counters(mesh.counters()),
    }
}

fn peer(
    peer: &PeerStatus,
    name: Option<&str>,
    names: &Names,
    rotation: Option<Rotation>,
    now: Instant,
) -> status::Peer {
    status::Peer {
        name: name.map(Into::into),
        key: peer.key.to_string(),
        address: peer.address,
        state: state(peer.state),
        endpoint: peer.endpoint,
        endpoint_source: peer.kind.map(|kind| kind.as_str().into()),
        rtt_us: peer.rtt.map(|rtt| rtt.as_micros()),
        handshake_age_s: peer.handshake_at.map(|at| now.saturating_duration_since(at).as_secs()),
        rx_bytes: peer.rx_bytes,
        tx_bytes: peer.tx_bytes,
        reason: peer.reason.map(reason),
        lan_barred: peer.lan_barred.map(Into::into),
        via: peer.via.map(|key| names.short(&key)),
        nat: nats(peer.nats),
        has_newest_secret: rotation.map(|_| peer.has_newest_secret),
    }
}

pub(super) const fn state(state: LinkState) -> PeerState {
    match state {
        LinkState::Waiting => PeerState::Waiting,
        LinkState::Mute => PeerState::Mute,
        LinkState::Connecting => PeerState::Connecting,
        // A question now and then whether it is still there is no news.
        LinkState::Connected | LinkState::Probing => PeerState::Connected,
        _ => PeerState::Unknown,
    }
}

pub(super) fn reason(reason: Reason) -> status::Reason {
    status::Reason { id: reason.as_str().into(), message: reason.to_string() }
}

pub(super) fn nats(nats: Nats) -> status::Nats {
    let word = |class: NatClass| (class != NatClass::Unknown).then(|| class.as_str().into());
    status::Nats { ipv4: word(nats.v4), ipv6: word(nats.v6) }
}

fn counters(c: &Counters) -> BTreeMap<String, u64> {
    let all: [(&str, u64); 28] = [
        ("sent", c.sent.into()),
        ("sent_bytes", c.sent_bytes),
        ("received", c.received.into()),
        ("received_bytes", c.received_bytes),
        ("dropped_length", c.dropped_length.into()),
        ("dropped_version", c.dropped_version.into()),
        ("dropped_secret", c.dropped_secret.into()),
        ("dropped_seal", c.dropped_seal.into()),
        ("dropped_malformed", c.dropped_malformed.into()),
        ("dropped_stranger", c.dropped_stranger.into()),
        ("dropped_rate", c.dropped_rate.into()),
        ("skipped_frames", c.skipped_frames.into()),
        ("refused_records", c.refused_records.into()),
        ("introduced", c.introduced.into()),
        ("refused_introductions", c.refused_introductions.into()),
        ("sent_openers", c.sent_openers.into()),
        ("heard_openers", c.heard_openers.into()),
        ("dropped_openers", c.dropped_openers.into()),
        ("sent_beacons", c.sent_beacons.into()),
        ("heard_beacons", c.heard_beacons.into()),
        ("sent_challenges", c.sent_challenges.into()),
        ("dropped_lan", c.dropped_lan.into()),
        ("moved_to_lan", c.moved_to_lan.into()),
        ("moved_back", c.moved_back.into()),
        ("fired", c.fired.into()),
        ("over_budget", c.over_budget.into()),
        ("readings", c.readings.into()),
        ("no_randomness", c.no_randomness.into()),
    ];
    all.into_iter().map(|(name, value)| (name.into(), value)).collect()
}
