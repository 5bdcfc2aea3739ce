//! What the engine tells its caller: what to send, what to do to WireGuard, and what happened.

use core::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use embassy_time::Duration;

#[cfg(feature = "map")]
use crate::LinkTold;
use crate::{Answer, PeerAction, PublicKey};

/// One thing for the caller to do. See [`crate::Mesh::poll`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an output that is not carried out leaves the engine waiting for its effect"]
#[non_exhaustive]
pub enum Output {
    /// Send the first `len` bytes of the buffer to the gossip port of this mesh address, from the tunnel socket. A
    /// failure to send needs no answer: WireGuard without a session or a route fails like a lost packet.
    Datagram {
        /// The mesh address of the peer.
        to: IpAddr,
        /// Bytes of the buffer to send.
        len: usize,
    },
    /// Send the first `len` bytes of the buffer to this endpoint from WireGuard's own port, by a raw socket. Only after
    /// [`crate::Mesh::allow_openers`]. A failure needs no answer.
    Opener {
        /// Which of our own addresses it leaves from; `None` for the one that the system prefers.
        from: Option<IpAddr>,
        /// Where to.
        to: SocketAddr,
        /// Bytes of the buffer to send.
        len: usize,
        /// How many routers it may pass (TTL, hop limit); `None` for as many as any packet.
        hops: Option<u8>,
    },
    /// Send the first `len` bytes of the buffer on a LAN, from this address on this interface, to the port that LAN datagrams
    /// are received at. Only after [`crate::Mesh::handle_lan_links`]. A failure needs no answer.
    Lan {
        /// The index of the interface.
        index: u32,
        /// The address to send from.
        from: IpAddr,
        /// Where to on this link; `None` for everybody there: broadcast over IPv4, the link's all-nodes group (ff02::1) over IPv6.
        to: Option<IpAddr>,
        /// Bytes of the buffer to send.
        len: usize,
    },
    /// Change a peer of the interface. If that fails, say so with [`crate::Mesh::handle_action_error`].
    Peer {
        /// The peer.
        key: PublicKey,
        /// What to change.
        action: PeerAction,
    },
    /// Read the interface now and hand it over: [`crate::Mesh::begin_reading`], one
    /// [`crate::Mesh::handle_reading`] per peer, [`crate::Mesh::end_reading`]. Without an answer the engine asks again
    /// after a second.
    ReadInterface,
    /// What is worth keeping over a restart has changed. Take it from [`crate::Mesh::stored_records`] and store it; there is no
    /// hurry, and no need to do it each time.
    Store,
    /// Something happened that a person may want to know.
    Event(Event),
}

/// What a candidate endpoint is: who vouches for it. Its numbers are part of the wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
#[non_exhaustive]
pub enum CandidateKind {
    /// Given in the configuration.
    Configured,
    /// A public address that the peer says is its own.
    Global,
    /// Where the peer's gateway lets in what is sent to it: a port mapping or a pinhole.
    Mapped,
    /// What the mediator of the attempt sees at this moment.
    Mediated,
    /// The peer's opener came from there in this attempt.
    Heard,
    /// Where the peer says that others see it.
    Published,
    /// Where it was last connected.
    LastGood,
    /// An address on the peer's own network, when both are behind the same public address.
    Private,
    /// WireGuard found it by itself: the peer reached us from there.
    Roamed,
    /// On a LAN of ours: the peer was heard there.
    Lan,
}

impl CandidateKind {
    #[cfg(feature = "map")]
    pub(crate) fn from_wire(byte: u8) -> Option<Self> {
        [
            Self::Configured,
            Self::Global,
            Self::Mapped,
            Self::Mediated,
            Self::Heard,
            Self::Published,
            Self::LastGood,
            Self::Private,
            Self::Roamed,
            Self::Lan,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }

    /// A stable, lower-case word for machine-readable output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Global => "global",
            Self::Mapped => "mapped",
            Self::Mediated => "mediated",
            Self::Heard => "heard",
            Self::Published => "published",
            Self::LastGood => "last-good",
            Self::Private => "private",
            Self::Roamed => "roamed",
            Self::Lan => "lan",
        }
    }
}

impl fmt::Display for CandidateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a peer is not connected. Its numbers are part of the wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
#[non_exhaustive]
pub enum Reason {
    /// The WireGuard interface is not there.
    NoInterface,
    /// Nobody has told us where the peer is: no endpoint configured, no record, no mediator.
    NoEndpoint,
    /// No live peer that could introduce us, and no endpoint of the peer's is known to answer.
    NoMediator,
    /// An attempt is under way.
    Connecting,
    /// WireGuard's handshake got no answer.
    NoAnswer,
    /// WireGuard's handshake worked and the peer's gossip does not answer: its daemon is not running, or its secret or
    /// gossip port differs.
    NoGossip,
    /// It was connected, and probes stopped being answered.
    Silent,
    /// It said that it is shutting down.
    Left,
    /// The interface gives the peer's mesh address to another peer (allowed IPs).
    AddressTaken,
    /// The mediator does not know the peer, or has no live session with it.
    NotIntroduced,
    /// Every endpoint known would be routed into the mesh itself, or has no route.
    Unroutable,
    /// The platform could not change the interface.
    ActionFailed,
    /// It speaks the original wgautomesh's protocol, which this one cannot talk to.
    OriginalProtocol,
    /// One of both is behind a NAT that shows every destination another port, and the other's lets nobody in whom it does not
    /// expect from that very port: the two cannot be punched.
    EndpointDependentNat,
    /// It looks like that; one of both has been seen by one node only, which does not tell for sure.
    PerhapsEndpointDependentNat,
    /// It has addresses of IPv4 or IPv6 alone, and this node has none of that kind.
    NoCommonFamily,
    /// No peer at all is connected, so that nobody can tell where it is.
    Isolated,
    /// Both are behind one NAT, which does not send back what comes from inside for its own public address, and neither answers
    /// at addresses of its own.
    NoHairpin,
    /// WireGuard's handshake worked, and the peer's gossip is sealed with a secret that is not ours.
    OtherSecret,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::NoInterface,
        Self::NoEndpoint,
        Self::NoMediator,
        Self::Connecting,
        Self::NoAnswer,
        Self::NoGossip,
        Self::Silent,
        Self::Left,
        Self::AddressTaken,
        Self::NotIntroduced,
        Self::Unroutable,
        Self::ActionFailed,
        Self::OriginalProtocol,
        Self::EndpointDependentNat,
        Self::PerhapsEndpointDependentNat,
        Self::NoCommonFamily,
        Self::Isolated,
        Self::NoHairpin,
        Self::OtherSecret,
    ];

    pub(crate) fn from_wire(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == byte)
    }

    /// A stable, lower-case id for machine-readable output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoInterface => "no-interface",
            Self::NoEndpoint => "no-endpoint",
            Self::NoMediator => "no-mediator",
            Self::Connecting => "connecting",
            Self::NoAnswer => "no-answer",
            Self::NoGossip => "no-gossip",
            Self::Silent => "silent",
            Self::Left => "left",
            Self::AddressTaken => "address-taken",
            Self::NotIntroduced => "not-introduced",
            Self::Unroutable => "unroutable",
            Self::ActionFailed => "action-failed",
            Self::OriginalProtocol => "original-protocol",
            Self::EndpointDependentNat => "endpoint-dependent-nat",
            Self::PerhapsEndpointDependentNat => "perhaps-endpoint-dependent-nat",
            Self::NoCommonFamily => "no-common-family",
            Self::Isolated => "isolated",
            Self::NoHairpin => "no-hairpin",
            Self::OtherSecret => "other-secret",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoInterface => "the WireGuard interface is not there",
            Self::NoEndpoint => {
                "no endpoint is configured and no connected peer knows it: not running, or connected to nobody that we know"
            }
            Self::NoMediator => "no connected peer could introduce us",
            Self::Connecting => "connecting",
            Self::NoAnswer => "its WireGuard does not answer",
            Self::NoGossip => {
                "its WireGuard answers and its wgautomesh does not: not running, another secret or another gossip port"
            }
            Self::Silent => "it stopped answering",
            Self::Left => "it shut down",
            Self::AddressTaken => "the interface gives its mesh address to another peer",
            Self::NotIntroduced => "the peers asked to introduce us are not connected to it",
            Self::Unroutable => "no known endpoint has a route outside the mesh",
            Self::ActionFailed => "the WireGuard interface could not be changed",
            Self::OriginalProtocol => "it runs the original wgautomesh, whose protocol differs",
            Self::EndpointDependentNat => {
                "the NATs between us cannot be punched, since one shows every destination another port: \
                 forward WireGuard's port on one side"
            }
            Self::PerhapsEndpointDependentNat => {
                "the NATs between us cannot be punched; probably one shows every destination another port: \
                 forward WireGuard's port on one side"
            }
            Self::NoCommonFamily => {
                "one of the two has only IPv4 and the other only IPv6: give either an address of the other kind"
            }
            Self::Isolated => {
                "no endpoint is configured and no peer is connected that could tell where it is: if those with \
                 endpoints do not answer either, see whether UDP is blocked here"
            }
            Self::NoHairpin => {
                "both are behind one NAT, which lets neither reach the other by its public address (no hairpinning), and \
                 their own addresses do not answer: put both on one network, or turn on NAT loopback in that router"
            }
            Self::OtherSecret => "its WireGuard answers and its gossip secret is another than ours",
        })
    }
}

/// Something that happened, for status, logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The interface is there (again): its peers are being connected.
    InterfaceUp,
    /// The interface is gone.
    InterfaceDown,
    /// Traffic flows both ways: the peer has echoed our Hello.
    Connected {
        /// The peer.
        key: PublicKey,
        /// Where WireGuard sends to, as last read.
        endpoint: Option<SocketAddr>,
        /// What that endpoint is.
        kind: CandidateKind,
        /// Who introduced us, if anybody.
        via: Option<PublicKey>,
        /// From the begin of the attempt, or from the start.
        took: Duration,
    },
    /// A connected peer is no longer so.
    Lost {
        /// The peer.
        key: PublicKey,
        /// Why.
        reason: Reason,
    },
    /// The reason why a peer is not connected has changed.
    Waiting {
        /// The peer.
        key: PublicKey,
        /// Why.
        reason: Reason,
    },
    /// An attempt begins, or another try within one: this side initiates (or opens, and lets the other initiate). What became of
    /// the last one shows in what comes next: a further one is due to its having come to nothing.
    Attempt {
        /// The peer.
        key: PublicKey,
        /// Where to, if this side sends first.
        endpoint: Option<SocketAddr>,
        /// What that endpoint is.
        kind: CandidateKind,
        /// Whether this side initiates.
        initiator: bool,
        /// Who introduced us, if anybody.
        via: Option<PublicKey>,
        /// 1 for the first try since the peer was last connected.
        round: u8,
    },
    /// A live peer has another endpoint now: WireGuard has moved it by itself, or we have, to a LAN.
    Moved {
        /// The peer.
        key: PublicKey,
        /// The new endpoint.
        endpoint: SocketAddr,
        /// What that endpoint is.
        kind: CandidateKind,
    },
    /// A peer is on our LAN, as it has proven, and nothing came through there: its session stays where it was, and the place
    /// is not tried again for ten minutes.
    LanBarred {
        /// The peer.
        key: PublicKey,
        /// Where on the LAN.
        endpoint: SocketAddr,
    },
    /// Another machine publishes records under our own key: the key was copied, or an old record circulates.
    OwnKeyElsewhere,
    /// Two different records of the same age exist for a peer: its key is used twice, or somebody lies.
    RecordConflict {
        /// The peer.
        key: PublicKey,
    },
    /// Packets were dropped since the last such event, which comes at most every ten seconds.
    Dropped {
        /// How many.
        packets: u32,
    },
    /// The random source fails; nothing is sent until it works.
    NoRandomness,
    /// A peer has answered a question asked with [`crate::Mesh::ask`].
    Answer(Answer),
    /// A peer says how it stands with one of its own, after [`crate::Mesh::ask_links`].
    #[cfg(feature = "map")]
    Link(LinkTold),
    /// A peer has answered [`crate::Mesh::ask_links`]: that was one part of its links.
    #[cfg(feature = "map")]
    LinksTold {
        /// Who says so.
        teller: PublicKey,
        /// Where the next part begins; `None` after the last one.
        next: Option<u16>,
    },
}
