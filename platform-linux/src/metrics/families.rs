//! Every metric: its name, its meaning, and where its value is from.

use wgautomesh_core::PublicKey;

use super::{
    Process, Tally,
    exposition::{Exposition, Kind, Labels},
    tally::PeerTally,
};
use crate::control::status::{Node, Peer, PeerState, Status};

/// One of the engine's counters: the name that the status has for it; that of the metric, with what distinguishes it from
/// others of the same family; and the help, with the first of a family.
type Counted = (&'static str, &'static str, Option<(&'static str, &'static str)>, &'static str);

/// The engine's counters.
const COUNTERS: [Counted; 28] = [
    ("sent", "wgautomesh_gossip_sent_packets_total", None, "Gossip packets sent through the tunnels."),
    ("sent_bytes", "wgautomesh_gossip_sent_bytes_total", None, "UDP payload of the gossip packets sent."),
    ("received", "wgautomesh_gossip_received_packets_total", None, "Gossip packets received and understood."),
    (
        "received_bytes",
        "wgautomesh_gossip_received_bytes_total",
        None,
        "UDP payload received at the gossip port, that of dropped packets included.",
    ),
    dropped("dropped_length", "length"),
    dropped("dropped_version", "version"),
    dropped("dropped_secret", "secret"),
    dropped("dropped_seal", "seal"),
    dropped("dropped_malformed", "malformed"),
    dropped("dropped_stranger", "stranger"),
    dropped("dropped_rate", "rate"),
    (
        "no_randomness",
        "wgautomesh_gossip_unsent_packets_total",
        None,
        "Gossip packets not sent for want of random numbers.",
    ),
    (
        "skipped_frames",
        "wgautomesh_skipped_frames_total",
        None,
        "Messages of a kind that this version does not know.",
    ),
    (
        "refused_records",
        "wgautomesh_refused_records_total",
        None,
        "Records refused: of unknown nodes, too old, or newer than can be.",
    ),
    introductions("introduced", "given"),
    introductions("refused_introductions", "refused"),
    ("fired", "wgautomesh_initiations_total", None, "Times that WireGuard was made to initiate."),
    (
        "over_budget",
        "wgautomesh_initiations_deferred_total",
        None,
        "Initiations put off since there had been too many of late.",
    ),
    ("sent_openers", "wgautomesh_openers_sent_total", None, "Bare packets sent to open a NAT."),
    (
        "heard_openers",
        "wgautomesh_openers_heard_total",
        None,
        "Openers of the other side of an attempt that came through.",
    ),
    (
        "dropped_openers",
        "wgautomesh_openers_dropped_total",
        None,
        "Openers dropped: too many, or not of this mesh.",
    ),
    ("sent_beacons", "wgautomesh_lan_beacons_sent_total", None, "Beacons sent on LANs."),
    ("heard_beacons", "wgautomesh_lan_beacons_heard_total", None, "Beacons of peers heard on LANs."),
    ("sent_challenges", "wgautomesh_lan_challenges_sent_total", None, "Challenges sent on LANs."),
    (
        "dropped_lan",
        "wgautomesh_lan_dropped_packets_total",
        None,
        "Packets dropped on LANs: from elsewhere, too many, of another mesh, or copies.",
    ),
    ("moved_to_lan", "wgautomesh_lan_moves_total", None, "Sessions moved to a LAN."),
    (
        "moved_back",
        "wgautomesh_lan_moves_undone_total",
        None,
        "Sessions moved back from a LAN, since nothing came through.",
    ),
    ("readings", "wgautomesh_interface_reads_total", None, "Times that the WireGuard interface was read."),
];

const fn dropped(counter: &'static str, reason: &'static str) -> Counted {
    let help = "Packets dropped at the gossip port, by reason.";
    (counter, "wgautomesh_gossip_dropped_packets_total", Some(("reason", reason)), help)
}

const fn introductions(counter: &'static str, result: &'static str) -> Counted {
    (
        counter,
        "wgautomesh_introductions_total",
        Some(("result", result)),
        "Introductions that peers asked for.",
    )
}

/// All of them.
pub(super) fn text(status: &Status, tally: &Tally, process: &Process) -> String {
    let mut out = Exposition::default();
    let interface = Labels::default().and("interface", &status.node.interface);
    node(&mut out, &interface, &status.node);
    peers_by_state(&mut out, &interface, &status.peers);
    peers(&mut out, &interface, &status.peers, tally);
    connecting(&mut out, &interface, tally);
    counters(&mut out, &interface, status);
    costs(&mut out, &interface, tally, process);
    out.into_text()
}

fn node(out: &mut Exposition, interface: &Labels, node: &Node) {
    let name = "wgautomesh_build_info";
    out.family(name, Kind::Gauge, "The version that runs.");
    out.sample(name, &interface.and("version", &node.version), 1);
    let name = "wgautomesh_node_info";
    out.family(name, Kind::Gauge, "This node; a value that is not known is empty.");
    let address = node.mesh_address.map(|address| address.to_string()).unwrap_or_default();
    let labels = interface.and("public_key", node.key.as_deref().unwrap_or_default());
    out.sample(name, &labels.and("mesh_address", &address), 1);
    let name = "wgautomesh_nat_info";
    out.family(
        name,
        Kind::Gauge,
        "What kind of NAT this node is behind, for each family of addresses of which it is known.",
    );
    for (family, class) in [("ipv4", &node.nat.ipv4), ("ipv6", &node.nat.ipv6)] {
        if let Some(class) = class {
            out.sample(name, &interface.and("family", family).and("class", class), 1);
        }
    }
    let mut single = |name, help, value| {
        out.family(name, Kind::Gauge, help);
        out.sample(name, interface, value);
    };
    single("wgautomesh_uptime_seconds", "Since the daemon was started.", node.uptime_s);
    single("wgautomesh_interface_up", "Whether the WireGuard interface is there.", node.interface_up.into());
    if let Some(mapping) = &node.port_mapping {
        let help = "Port mappings and pinholes that the gateway has given; absent where none is asked for.";
        single("wgautomesh_port_mappings", help, mapping.mapped.len() as u64);
    }
}

fn peers_by_state(out: &mut Exposition, interface: &Labels, peers: &[Peer]) {
    let name = "wgautomesh_peers";
    out.family(name, Kind::Gauge, "Configured peers, this node not counted, by state.");
    for state in [PeerState::Connected, PeerState::Connecting, PeerState::Mute, PeerState::Waiting] {
        let count = peers.iter().filter(|peer| peer.state == state).count();
        out.sample(name, &interface.and("state", state.as_str()), count);
    }
}

/// A peer with its labels and what happened with it.
struct Shown<'s> {
    labels: Labels,
    peer: &'s Peer,
    tally: PeerTally,
}

/// Gives the samples of one peer, each with its labels and its value.
type Samples<'f> = &'f dyn Fn(&Shown<'_>, &mut dyn FnMut(&Labels, f64));

fn peers(out: &mut Exposition, interface: &Labels, peers: &[Peer], tally: &Tally) {
    let shown: Vec<Shown<'_>> = peers.iter().map(|peer| shown(interface, peer, tally)).collect();
    let mut family = |name: &str, kind, help: &str, samples: Samples<'_>| {
        out.family(name, kind, help);
        for one in &shown {
            samples(one, &mut |labels, value| out.sample(name, labels, value));
        }
    };
    family("wgautomesh_peer_info", Kind::Gauge, "A configured peer.", &|one, sample| {
        sample(&one.labels.and("mesh_address", &one.peer.address.to_string()), 1.0);
    });
    family("wgautomesh_peer_up", Kind::Gauge, "Whether traffic flows both ways.", &|one, sample| {
        sample(&one.labels, one.peer.state.is_connected().into());
    });
    let help = "Why a peer is not connected; absent while it is.";
    family("wgautomesh_peer_down_info", Kind::Gauge, help, &|one, sample| {
        if let Some(reason) = one.peer.reason.as_ref().filter(|_| !one.peer.state.is_connected()) {
            sample(&one.labels.and("reason", &reason.id), 1.0);
        }
    });
    let help = "Where the endpoint that WireGuard sends to was learned; absent until one is known.";
    family("wgautomesh_peer_endpoint_info", Kind::Gauge, help, &|one, sample| {
        if let Some(kind) = &one.peer.endpoint_source {
            sample(&one.labels.and("kind", kind), 1.0);
        }
    });
    let help = "Round-trip time of the last probe through the tunnel; absent until there was one.";
    family("wgautomesh_peer_rtt_seconds", Kind::Gauge, help, &|one, sample| {
        if let Some(rtt) = one.peer.rtt_us {
            sample(&one.labels, seconds(rtt));
        }
    });
    let help =
        "Since the last handshake of WireGuard; absent where none was seen since the daemon was started.";
    family("wgautomesh_peer_handshake_age_seconds", Kind::Gauge, help, &|one, sample| {
        if let Some(age) = one.peer.handshake_age_s {
            sample(&one.labels, age as f64);
        }
    });
    let help = "Bytes received from a peer, as WireGuard counts them.";
    family("wgautomesh_peer_received_bytes_total", Kind::Counter, help, &|one, sample| {
        sample(&one.labels, one.peer.rx_bytes as f64);
    });
    let help = "Bytes sent to a peer, as WireGuard counts them.";
    family("wgautomesh_peer_sent_bytes_total", Kind::Counter, help, &|one, sample| {
        sample(&one.labels, one.peer.tx_bytes as f64);
    });
    let help = "Attempts to connect a peer, by who initiates: this side, or the other while this side opens its NAT.";
    family("wgautomesh_peer_attempts_total", Kind::Counter, help, &|one, sample| {
        sample(&one.labels.and("role", "initiator"), one.tally.initiated as f64);
        sample(&one.labels.and("role", "opener"), one.tally.opened as f64);
    });
    family(
        "wgautomesh_peer_connects_total",
        Kind::Counter,
        "Times that a peer was connected.",
        &|one, sample| {
            sample(&one.labels, one.tally.connects as f64);
        },
    );
    let help = "Times that a live session went to another endpoint.";
    family("wgautomesh_peer_moves_total", Kind::Counter, help, &|one, sample| {
        sample(&one.labels, one.tally.moves as f64);
    });
    let help = "Times that a connected peer was lost, by reason; those that there were.";
    family("wgautomesh_peer_losses_total", Kind::Counter, help, &|one, sample| {
        for (reason, count) in one.tally.losses.iter() {
            sample(&one.labels.and("reason", reason), count as f64);
        }
    });
    let help = "Times that a peer turned out not to be connected for another reason than before; those that there were.";
    family("wgautomesh_peer_failures_total", Kind::Counter, help, &|one, sample| {
        for (reason, count) in one.tally.failures.iter() {
            sample(&one.labels.and("reason", reason), count as f64);
        }
    });
}

fn shown<'s>(interface: &Labels, peer: &'s Peer, tally: &Tally) -> Shown<'s> {
    let short = peer.key.get(..8).unwrap_or(&peer.key);
    let labels = interface.and("public_key", &peer.key).and("peer", peer.name.as_deref().unwrap_or(short));
    let key: Option<PublicKey> = peer.key.parse().ok();
    let tally = key.and_then(|key| tally.of(&key)).cloned().unwrap_or_default();
    Shown { labels, peer, tally }
}

fn connecting(out: &mut Exposition, interface: &Labels, tally: &Tally) {
    let durations = tally.connecting();
    let name = "wgautomesh_connect_duration_seconds";
    out.family(
        name,
        Kind::Histogram,
        "From the begin of the attempts, or from the start, to a connected peer.",
    );
    let (bucket, sum, count) = (format!("{name}_bucket"), format!("{name}_sum"), format!("{name}_count"));
    for (most_ms, fitting) in durations.cumulative() {
        let most = seconds(most_ms * 1_000).to_string();
        out.sample(&bucket, &interface.and("le", &most), fitting);
    }
    out.sample(&bucket, &interface.and("le", "+Inf"), durations.count());
    out.sample(&sum, interface, seconds(durations.sum_us()));
    out.sample(&count, interface, durations.count());
}

fn counters(out: &mut Exposition, interface: &Labels, status: &Status) {
    let mut begun = "";
    for (counter, name, label, help) in COUNTERS {
        if name != begun {
            out.family(name, Kind::Counter, help);
            begun = name;
        }
        let Some(value) = status.counters.get(counter) else { continue };
        match label {
            Some((label, word)) => out.sample(name, &interface.and(label, word), value),
            None => out.sample(name, interface, value),
        }
    }
}

fn costs(out: &mut Exposition, interface: &Labels, tally: &Tally, process: &Process) {
    let name = "wgautomesh_wakeups_total";
    out.family(name, Kind::Counter, "Times that the daemon was woken, by a packet, an event or a timer.");
    out.sample(name, interface, tally.wakeups());
    // These are called the same in every process, and have no labels.
    let name = "process_cpu_seconds_total";
    out.family(name, Kind::Counter, "Total user and system CPU time spent in seconds.");
    out.sample(name, &Labels::default(), seconds(process.processor_time.as_micros()));
    if let Some(resident) = process.resident_bytes {
        let name = "process_resident_memory_bytes";
        out.family(name, Kind::Gauge, "Resident memory size in bytes.");
        out.sample(name, &Labels::default(), resident);
    }
}

/// Fit for a sample: exact to the microsecond for 285 years.
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
impl Tally {
    /// The names that the engine's counters have in the status.
    pub(crate) fn counters() -> impl Iterator<Item = &'static str> {
        COUNTERS.into_iter().map(|(counter, ..)| counter)
    }
}
