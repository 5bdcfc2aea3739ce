//! What the parent and a node say to each other.

use core::net::IpAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Closed;
use super::key::Key;
use super::wireguard::{PeerStatus, PeerUpdate, WireGuardKind};

/// Everything a node has to know about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) name: String,
    /// Addresses of the wan interface with their prefix lengths. Everything else is behind it.
    pub(crate) wan: Vec<(IpAddr, u8)>,
    pub(crate) mesh: IpAddr,
    pub(crate) mesh_prefix: u8,
    pub(crate) private_key: Key,
    pub(crate) listen_port: u16,
    pub(crate) gossip_port: u16,
    /// Nothing is made of it on a host that is in no mesh.
    pub(crate) wireguard: Option<WireGuardKind>,
    /// Files to write, with directories, below `/run`.
    pub(crate) files: Vec<(String, String)>,
    /// The program of the daemon and its arguments.
    pub(crate) daemon: Vec<String>,
    /// The other nodes: number in the mesh, key, mesh address.
    pub(crate) others: Vec<(usize, Key, IpAddr)>,
}

/// From the parent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// First of all; answered with [`Answer::Done`] and the packet end of the wan interface.
    Setup(Box<Setup>),
    CreateInterface,
    DeleteInterface,
    /// Comes with the read end of a pipe: the daemon runs when it is closed. Answered when it waits there.
    StartDaemon,
    /// A signal to the daemon, by number.
    SignalDaemon(i32),
    /// Runs a program to its end and returns what it printed.
    Run(Vec<String>),
    Peers,
    UpdatePeers(Vec<PeerUpdate>),
    /// Asks every peer for an echo until it answers, from now on.
    Probe(Probing),
    StopProbing,
    /// Pings every peer so often, whatever is answered; `None`: no more.
    Ping(Option<Duration>),
    /// How that went since it began.
    Pings,
    Usage,
    /// Replaces the addresses of the wan interface.
    SetWan(Vec<(IpAddr, u8)>),
    WriteFile {
        path: String,
        text: String,
    },
}

/// From when on a node asks a peer for echoes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Probing {
    /// At once.
    AtOnce,
    /// When there is a session.
    WithSession,
    /// These peers: when something came from them after now, so that the question itself moves nothing. All others as
    /// with a session.
    WhenHeard(Vec<usize>),
}

/// From a node, in answer to one request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Failed { closed: Option<Closed>, text: String },
    Output { code: Option<i32>, stdout: String, stderr: String },
    Peers(Vec<PeerStatus>),
    Usage(Usage),
    Pings(Vec<(usize, Pings)>),
}

/// Pings of one node to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pings {
    /// Echo requests.
    pub sent: u32,
    /// How many of them were answered.
    pub answered: u32,
}

impl Pings {
    /// How many were not answered.
    #[must_use]
    pub const fn lost(self) -> u32 {
        self.sent - self.answered
    }
}

/// What a daemon has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// Resident memory, bytes (`VmRSS`).
    pub resident_bytes: u64,
    /// The most it ever was (`VmHWM`).
    pub peak_bytes: u64,
    /// Processor time of all its threads, nanoseconds.
    pub cpu_ns: u64,
    /// UDP payload bytes sent from the gossip port, on any interface.
    pub gossip_bytes: u64,
    /// Datagrams they were in.
    pub gossip_packets: u64,
    /// How often any of its threads went to sleep of its own accord (voluntary context switches): so often it had
    /// been woken.
    pub wake_ups: u64,
}

/// From a node, unasked.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A peer answered an echo, at this CLOCK_MONOTONIC time in nanoseconds: the clock is the machine's, the same in
    /// every namespace.
    Echo { other: usize, at_ns: u64 },
    /// The daemon ended.
    DaemonEnded { code: Option<i32>, signal: Option<i32> },
}

/// A request with its number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) id: u64,
    pub(crate) request: Request,
}

/// What a node sends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    Answer { id: u64, answer: Answer },
    Event(Event),
}
