//! Why two nodes are not connected, from what is known; and what to say of it.

use wgautomesh_core::{ActionError, LinkState, NatClass, Nats, PublicKey, Reason};

use super::facts::Facts;

/// Each with an id that stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Nothing is known to be wrong yet.
    Connecting,
    /// The interface is not there.
    NoInterface,
    /// The interface gives the peer's mesh address to another peer.
    AddressTaken,
    /// There, the interface gives our mesh address to another peer.
    AddressTakenThere,
    /// It runs the original.
    OriginalProtocol,
    /// Its secret is not ours.
    OtherSecret,
    /// Its daemon said goodbye.
    ShutDown,
    /// WireGuard answers, and nobody hears of its daemon.
    NoDaemon,
    /// WireGuard answers, and its daemon is heard by way of others.
    GossipBlocked,
    /// It has no such peer as we are.
    NotListedThere,
    /// The system would not change the peer.
    InterfaceNotChanged,
    /// Its endpoint would be reached through the mesh.
    EndpointInTunnel,
    /// No route to any endpoint.
    NoRoute,
    /// Two nodes behind one NAT have the same port.
    SamePortBehindNat,
    /// As [`Reason::EndpointDependentNat`].
    EndpointDependentNats,
    /// As [`Reason::PerhapsEndpointDependentNat`].
    PerhapsEndpointDependentNats,
    /// As [`Reason::NoHairpin`].
    NoHairpin,
    /// As [`Reason::NoCommonFamily`].
    NoCommonFamily,
    /// Our clock is so wrong that others take our handshakes for old ones.
    ClockWrong,
    /// Nobody at all answers.
    UdpBlocked,
    /// The name that is configured as its endpoint has no address.
    NameNotFound,
    /// Nobody is connected, and no endpoint is configured for anybody.
    NoEndpoints,
    /// Nobody is connected who could tell where it is.
    Isolated,
    /// Nobody who is connected knows where it is.
    NobodyKnowsIt,
    /// Those who know of it are not connected to it.
    NobodyReachesIt,
    /// It is there, and handshakes between the two do not get through.
    PathBlocked,
    /// Its WireGuard does not answer.
    NoAnswer,
    /// It stopped answering just now.
    Silent,
}

/// What people are told.
pub(super) struct Words {
    /// Goes on after "not connected: ".
    pub(super) message: String,
    pub(super) advice: Vec<String>,
}

impl Cause {
    #[cfg(all(test, not(target_arch = "mips")))]
    pub(super) const ALL: [Self; 28] = [
        Self::Connecting,
        Self::NoInterface,
        Self::AddressTaken,
        Self::AddressTakenThere,
        Self::OriginalProtocol,
        Self::OtherSecret,
        Self::ShutDown,
        Self::NoDaemon,
        Self::GossipBlocked,
        Self::NotListedThere,
        Self::InterfaceNotChanged,
        Self::EndpointInTunnel,
        Self::NoRoute,
        Self::SamePortBehindNat,
        Self::EndpointDependentNats,
        Self::PerhapsEndpointDependentNats,
        Self::NoHairpin,
        Self::NoCommonFamily,
        Self::ClockWrong,
        Self::UdpBlocked,
        Self::NameNotFound,
        Self::NoEndpoints,
        Self::Isolated,
        Self::NobodyKnowsIt,
        Self::NobodyReachesIt,
        Self::PathBlocked,
        Self::NoAnswer,
        Self::Silent,
    ];

    /// `None` where they are connected.
    pub(super) fn of(facts: &Facts<'_>) -> Option<Self> {
        if facts.is_connected() {
            return None;
        }
        Some(Self::of_link(facts).or_else(|| Self::there(facts)).unwrap_or_else(|| Self::between(facts)))
    }

    /// What is certain without asking anybody.
    fn of_link(facts: &Facts<'_>) -> Option<Self> {
        if facts.node.interface.is_none() {
            return Some(Self::NoInterface);
        }
        Some(match facts.reason()? {
            Reason::NoInterface => Self::NoInterface,
            Reason::AddressTaken => Self::AddressTaken,
            Reason::OriginalProtocol => Self::OriginalProtocol,
            Reason::OtherSecret => Self::OtherSecret,
            Reason::Left => Self::ShutDown,
            Reason::ActionFailed => Self::InterfaceNotChanged,
            Reason::Unroutable => match facts.refused() {
                Some((_, ActionError::RoutedIntoMesh)) => Self::EndpointInTunnel,
                _ => Self::NoRoute,
            },
            _ => return None,
        })
    }

    /// What the peer itself says, or does not.
    fn there(facts: &Facts<'_>) -> Option<Self> {
        let answer = facts.its_answer();
        if let Some(answer) = answer {
            match (answer.state, answer.reason) {
                (None, _) => return Some(Self::NotListedThere),
                (_, Some(Reason::AddressTaken)) => return Some(Self::AddressTakenThere),
                (_, Some(Reason::OtherSecret)) => return Some(Self::OtherSecret),
                _ => {}
            }
        }
        let mute = facts.reason() == Some(Reason::NoGossip) || facts.peer.state == LinkState::Mute;
        // That others are connected to it proves nothing: it takes them half a minute to miss it.
        mute.then(|| if answer.is_some() { Self::GossipBlocked } else { Self::NoDaemon })
    }

    /// What lies between the two.
    fn between(facts: &Facts<'_>) -> Self {
        let Some(reason) = facts.reason() else { return Self::Connecting };
        let alone = facts.node.connected == 0;
        match reason {
            Reason::Isolated
            | Reason::NoMediator
            | Reason::NoEndpoint
            | Reason::NotIntroduced
            | Reason::NoAnswer
                if facts.machine.failing_name.is_some() && !facts.is_given() =>
            {
                Self::NameNotFound
            }
            Reason::EndpointDependentNat | Reason::PerhapsEndpointDependentNat
                if facts.same_port().is_some() =>
            {
                Self::SamePortBehindNat
            }
            Reason::EndpointDependentNat => Self::EndpointDependentNats,
            Reason::PerhapsEndpointDependentNat => Self::PerhapsEndpointDependentNats,
            Reason::NoHairpin => Self::NoHairpin,
            Reason::NoCommonFamily => Self::NoCommonFamily,
            Reason::Isolated | Reason::NoMediator | Reason::NoEndpoint | Reason::NoAnswer if alone => {
                match () {
                    () if facts.machine.clock_wrong => Self::ClockWrong,
                    () if facts.given == 0 => Self::NoEndpoints,
                    () if facts.given > 1 && facts.hears_nobody() => Self::UdpBlocked,
                    () if reason == Reason::NoAnswer => Self::NoAnswer,
                    () => Self::Isolated,
                }
            }
            Reason::NoAnswer if facts.machine.clock_wrong => Self::ClockWrong,
            Reason::NoAnswer if facts.is_up() => Self::PathBlocked,
            // It was tried where it was last, for nobody knows better.
            Reason::NoAnswer if !facts.is_given() && facts.is_missed_by_others() => Self::NobodyReachesIt,
            Reason::NoAnswer => Self::NoAnswer,
            Reason::NoEndpoint | Reason::NotIntroduced | Reason::NoMediator => {
                Self::unknown_place(facts, reason)
            }
            Reason::Silent => Self::Silent,
            _ => Self::Connecting,
        }
    }

    /// Nobody introduces us: what keeps others from it is what is to be mended.
    fn unknown_place(facts: &Facts<'_>, reason: Reason) -> Self {
        if facts.is_up() {
            // Whoever knows it has only just come.
            return Self::Connecting;
        }
        let of_others = facts.said_of_it().find_map(|reason| match reason {
            Reason::OtherSecret => Some(Self::OtherSecret),
            Reason::OriginalProtocol => Some(Self::OriginalProtocol),
            Reason::Left => Some(Self::ShutDown),
            Reason::NoGossip => Some(Self::NoDaemon),
            _ => None,
        });
        of_others.unwrap_or(if reason == Reason::NoEndpoint {
            Self::NobodyKnowsIt
        } else {
            Self::NobodyReachesIt
        })
    }

    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::NoInterface => "no-interface",
            Self::AddressTaken => "address-taken",
            Self::AddressTakenThere => "address-taken-there",
            Self::OriginalProtocol => "original-protocol",
            Self::OtherSecret => "other-secret",
            Self::ShutDown => "shut-down",
            Self::NoDaemon => "no-daemon",
            Self::GossipBlocked => "gossip-blocked",
            Self::NotListedThere => "not-listed-there",
            Self::InterfaceNotChanged => "interface-not-changed",
            Self::EndpointInTunnel => "endpoint-in-tunnel",
            Self::NoRoute => "no-route",
            Self::SamePortBehindNat => "same-port-behind-nat",
            Self::EndpointDependentNats => "endpoint-dependent-nats",
            Self::PerhapsEndpointDependentNats => "perhaps-endpoint-dependent-nats",
            Self::NoHairpin => "no-hairpin",
            Self::NoCommonFamily => "no-common-family",
            Self::ClockWrong => "clock-wrong",
            Self::UdpBlocked => "udp-blocked",
            Self::NameNotFound => "name-not-found",
            Self::NoEndpoints => "no-endpoints",
            Self::Isolated => "isolated",
            Self::NobodyKnowsIt => "nobody-knows-it",
            Self::NobodyReachesIt => "nobody-reaches-it",
            Self::PathBlocked => "path-blocked",
            Self::NoAnswer => "no-answer",
            Self::Silent => "silent",
        }
    }

    /// In words. `name` says what a peer is called, and how this node's interface is.
    pub(super) fn words(
        self,
        facts: &Facts<'_>,
        interface: &str,
        name: &dyn Fn(&PublicKey) -> String,
    ) -> Words {
        let peer = &name(&facts.peer.key);
        let key = facts.peer.key;
        let address = facts.peer.address;
        let (message, advice) = match self {
            Self::Connecting => ("nothing is known to stand in the way".into(), vec!["Ask again in a few seconds.".into()]),
            Self::NoInterface => (
                format!("the interface {interface} is not there, or is no WireGuard interface with a key"),
                vec![format!("Bring it up: `wg-quick up {interface}`, or whatever made it. The daemon waits for it.")],
            ),
            Self::AddressTaken => {
                let holder = facts.machine.address_holder.as_ref().map_or("another peer".into(), name);
                (
                    format!("the interface {interface} has {peer}'s address {address} as an allowed IP of {holder}"),
                    vec![
                        format!("Take {address} away from {holder}: `wg show {interface} allowed-ips` shows who has what."),
                        "If the other one is right, correct the address in the configuration.".into(),
                    ],
                )
            }
            Self::AddressTakenThere => (
                format!("at {peer}, the interface has this node's mesh address as an allowed IP of another peer"),
                vec![format!("At {peer}, take it away from that peer: `wg show all allowed-ips` shows who has what.")],
            ),
            Self::OriginalProtocol => (
                format!("{peer} runs the original wgautomesh, whose protocol is another"),
                vec![format!("Put this version on {peer} too; its configuration file stays as it is.")],
            ),
            Self::OtherSecret => {
                let other = facts.peers.iter().filter(|p| p.reason == Some(Reason::OtherSecret)).count();
                let whose = match facts.node.connected {
                    0 if other > 1 => "It is this node's that differs, as it seems: nobody else has it either.".into(),
                    0 => format!("Whether it is {peer}'s or this node's that is wrong does not show here."),
                    _ => format!("It is {peer}'s that differs: this node and others have the same."),
                };
                (
                    format!("{peer}'s WireGuard answers, and its gossip secret is not the one of this node"),
                    vec![
                        whose,
                        "Give both the same (gossip_secret, or what is in gossip_secret_file).".into(),
                    ],
                )
            }
            Self::ShutDown => (
                format!("wgautomesh was shut down at {peer}"),
                vec![
                    format!("Start it there again. The tunnel goes on without it, as long as {peer} keeps its address."),
                ],
            ),
            Self::NoDaemon => (
                format!("{peer}'s WireGuard answers, and no wgautomesh does"),
                vec![
                    format!("See whether it runs there: `wgautomesh status` at {peer}."),
                    "Compare gossip_port in both configurations.".into(),
                    format!("See whether a firewall at {peer} drops UDP on the WireGuard interface itself."),
                ],
            ),
            Self::GossipBlocked => (
                format!("{peer}'s WireGuard answers and its wgautomesh runs, and what the two send each other inside the tunnel is lost"),
                vec![
                    "Compare gossip_port in both configurations.".into(),
                    format!(
                        "See whether a firewall, here or at {peer}, drops UDP on the WireGuard interface itself, or from this \
                         one address."
                    ),
                    format!("See whether {peer} has this node's mesh address, and this node {peer}'s, as in each other's allowed IPs."),
                ],
            ),
            Self::NotListedThere => (
                format!("{peer} does not know this node"),
                vec![format!(
                    "Add this node to the peers in the configuration of {peer}, with its public key{} and its mesh address.",
                    facts.node.interface.map_or(String::new(), |i| format!(" {}", i.public_key))
                )],
            ),
            Self::InterfaceNotChanged => (
                format!("the peer could not be changed on the interface {interface}"),
                vec![
                    "The daemon's log says at level debug what the system had against it (WGAUTOMESH_LOG=debug).".into(),
                    "It needs CAP_NET_ADMIN, or root.".into(),
                ],
            ),
            Self::EndpointInTunnel => (
                format!("{} is routed into the tunnel itself", refused_endpoint(facts)),
                vec![
                    format!(
                        "Keep it out of the routes of {interface}: an allowed IP that covers it, 0.0.0.0/0 for example, needs an \
                         fwmark and a rule, as wg-quick makes them; or a route to that address by way of the real gateway."
                    ),
                    format!("Or configure an endpoint for {peer} that is not inside the mesh."),
                ],
            ),
            Self::NoRoute => (
                format!("there is no route to {}", refused_endpoint(facts)),
                vec![
                    "See whether this machine has a default route, and an address of that family (IPv4, IPv6).".into(),
                    format!("See whether the endpoint configured for {peer} is right."),
                ],
            ),
            Self::SamePortBehindNat => {
                let same = facts.same_port();
                let port = same.map_or(0, |same| same.port);
                let who = same.map_or([peer.clone(), "another node".into()], |same| {
                    same.nodes.map(|node| {
                        if facts.node.interface.is_some_and(|i| i.public_key == node) { "this node".into() } else { name(&node) }
                    })
                });
                (
                    format!(
                        "{} and {} are behind one NAT with the same WireGuard port {port}, so that it gives one of them another \
                         port for every destination",
                        who[0], who[1]
                    ),
                    vec![format!("Give each node behind one NAT a WireGuard port of its own (ListenPort) at {} or {}.", who[0], who[1])],
                )
            }
            Self::EndpointDependentNats | Self::PerhapsEndpointDependentNats => {
                let whose = match facts.depends() {
                    [true, true] => format!("both, this node's and {peer}'s, show"),
                    [true, false] => "this node's shows".into(),
                    [false, true] => format!("{peer}'s shows"),
                    [false, false] => "probably one of them shows".into(),
                };
                let mut advice = open_a_port(facts, peer);
                if self == Self::PerhapsEndpointDependentNats {
                    advice.push(
                        "One node alone has seen the NATs so far: a second one that both can reach, at another public address, \
                         makes it certain, and may find a way."
                            .into(),
                    );
                }
                advice.push("IPv6 on both sides needs none of that.".into());
                (format!("the NATs between them cannot be punched: {whose} every destination another port"), advice)
            }
            Self::NoHairpin => (
                "both are behind one NAT that does not send back what comes from inside (no hairpinning), and neither answers at \
                 its own address"
                    .into(),
                vec![
                    "Put both on one network, or let their networks reach each other: a guest Wi-Fi keeps its clients apart.".into(),
                    "Or turn on NAT loopback (hairpin NAT) in the router.".into(),
                    "With lan_discovery = true they find each other on the LAN by themselves.".into(),
                ],
            ),
            Self::NoCommonFamily => (
                format!("this node has {}, and {peer} has {}", families(&facts.node.nats), other_families(&facts.node.nats)),
                vec!["Give either of them an address of the other family.".into()],
            ),
            Self::ClockWrong => (
                "this machine's clock is years behind, and others take its handshakes for old ones that somebody repeats".into(),
                vec!["Set the clock, and let it be kept right (NTP).".into()],
            ),
            Self::UdpBlocked => (
                "nobody answers this node, whoever it is: UDP seems to be blocked here".into(),
                vec![
                    "See whether the firewall of this machine lets UDP out and the answers in.".into(),
                    "See whether this network lets UDP out at all: many offices and hotels do not. One public node with its \
                     WireGuard at a port that is let out (53, 123, 443) helps there."
                        .into(),
                ],
            ),
            Self::NameNotFound => {
                let host = facts.machine.failing_name.as_deref().unwrap_or("its name");
                (
                    format!("{host}, which is configured as {peer}'s endpoint, has no address that could be found"),
                    vec![
                        format!("Look it up with `getent ahosts {host}`: is it spelled right, does the DNS of this machine work?"),
                        "It is looked up again every five minutes at least.".into(),
                    ],
                )
            }
            Self::NoEndpoints => (
                "nobody is connected, and no endpoint is configured for any peer: somebody has to be known for a start".into(),
                vec!["Configure the endpoint of at least one peer that has a public address, here or at the others.".into()],
            ),
            Self::Isolated => (
                "no peer is connected that could tell where it is".into(),
                vec![
                    "Ask about the peers with an endpoint first: `wgautomesh status` shows why they are not connected.".into(),
                    format!("Or configure an endpoint for {peer}."),
                    "See whether the firewall, or this network, drops UDP.".into(),
                ],
            ),
            Self::NobodyKnowsIt => {
                let without: Vec<String> = facts.without_it().map(|key| name(&key)).collect();
                let mut advice = vec![format!("See whether {peer} is switched on and its wgautomesh runs.")];
                if !without.is_empty() {
                    advice.push(format!("Add {peer} to the peers at {}, which {} not have it.", without.join(", "), if without.len() == 1 { "does" } else { "do" }));
                }
                advice.push(format!("See whether its key in the configuration is right: it is {key} here."));
                advice.push(format!("Or configure an endpoint for {peer}, if it has a public address."));
                ("no endpoint is configured, and no connected peer knows where it is".into(), advice)
            }
            Self::NobodyReachesIt => {
                let first = if facts.was_connected() {
                    format!("See whether {peer} is still switched on and online: nobody who knew it is connected to it any more.")
                } else {
                    format!("See whether {peer} is switched on and online.")
                };
                ("none of the peers that could tell where it is are connected to it".into(), vec![first])
            }
            Self::PathBlocked => {
                let by = facts.connected_to_it().map(|key| name(&key)).next();
                let by = by.map_or(String::new(), |by| format!(" and connected to {by}"));
                let mut advice = vec![format!(
                    "See whether a firewall drops UDP between the two: {} at {peer}, {} here.",
                    port(facts.its_port()),
                    port(facts.node.interface.map_or(0, |i| i.listen_port))
                )];
                advice.push(format!("See whether WireGuard at {peer} has this node's key as a peer, and the same preshared key, if any."));
                if facts.is_given() {
                    advice.push(format!("See whether the endpoint configured for {peer} is right."));
                }
                (format!("{peer} is up{by}, and handshakes between it and this node get no answer"), advice)
            }
            Self::NoAnswer => {
                let mut advice = vec![
                    format!("See whether {peer} is switched on and its WireGuard interface is up."),
                    format!("See whether a firewall there lets in {}.", port(facts.its_port())),
                    format!("See whether WireGuard at {peer} has this node's key as a peer, and the same preshared key, if any."),
                ];
                if facts.is_given() {
                    advice.push("See whether the endpoint configured for it is right.".into());
                }
                if facts.node.connected == 0 {
                    advice.push("Nobody else answers either: see whether the firewall, or this network, drops UDP.".into());
                }
                let either = if facts.is_missed_by_others() { ", and not to those who were asked either" } else { "" };
                (format!("{peer}'s WireGuard does not answer{either}"), advice)
            }
            Self::Silent => (
                format!("{peer} stopped answering a moment ago, and is being looked for"),
                vec!["Ask again in half a minute.".into()],
            ),
        };
        let mut advice: Vec<String> = advice;
        if let Some(endpoint) = facts.peer.lan_barred {
            let endpoint = core::net::SocketAddr::from(endpoint);
            advice.push(format!(
                "{peer} is on the LAN as well, at {endpoint}, and its WireGuard did not answer there: a firewall, or a Wi-Fi that \
                 keeps its clients apart?"
            ));
        }
        Words { message, advice }
    }
}

fn refused_endpoint(facts: &Facts<'_>) -> String {
    match facts.refused() {
        Some((Some(endpoint), _)) => format!("its endpoint {endpoint}"),
        _ => "its endpoint".into(),
    }
}

/// The port of a WireGuard, as far as it is known.
fn port(port: u16) -> String {
    if port == 0 { "WireGuard's UDP port".into() } else { format!("UDP port {port}") }
}

/// How either side can be made to be reachable.
fn open_a_port(facts: &Facts<'_>, peer: &str) -> Vec<String> {
    let ours = facts.node.interface.map_or(0, |interface| interface.listen_port);
    let here = match &facts.machine.port_mapping {
        None => format!(
            "Let this node be reached: forward {} in its router; or turn on UPnP, NAT-PMP or PCP in the router, and set \
             upnp_forward_external_port here.",
            port(ours)
        ),
        Some(mapping) => {
            let why =
                mapping.reason.as_ref().map_or(String::new(), |reason| format!(" ({})", reason.message));
            format!(
                "The router has given no port mapping{why}: turn on UPnP, NAT-PMP or PCP in it, or forward {} to this node.",
                port(ours)
            )
        }
    };
    let there = format!("Or do that at {peer}, for {}: one side is enough.", port(facts.its_port()));
    // The side whose NAT is to blame first.
    match facts.depends() {
        [false, true] => vec![
            format!(
                "Let {peer} be reached: forward {} in its router, or turn on UPnP, NAT-PMP or PCP there and set upnp_forward_external_port.",
                port(facts.its_port())
            ),
            "Or do that here: one side is enough.".into(),
        ],
        _ => vec![here, there],
    }
}

fn families(nats: &Nats) -> &'static str {
    match (nats.v4, nats.v6) {
        (NatClass::Unknown, NatClass::Unknown) => "addresses of one family only",
        (_, NatClass::Unknown) => "IPv4 only",
        _ => "IPv6 only",
    }
}

fn other_families(nats: &Nats) -> &'static str {
    match families(nats) {
        "IPv4 only" => "IPv6 only",
        "IPv6 only" => "IPv4 only",
        _ => "only the other",
    }
}
