//! The engine of wgautomesh: it turns WireGuard interfaces that exist into a full mesh, with no server.
//!
//! Every node knows the keys and mesh addresses of its peers beforehand, and nothing else. Nodes tell each other, inside
//! the tunnels that work already, where they see one another; two that cannot reach each other, both behind NATs, are
//! introduced by a third one, one of them opens its NAT, and the other's WireGuard initiates.
//!
//! # What it is, and what it is not
//!
//! A state machine without I/O, in the manner of quinn-proto and smoltcp: one type, [`Mesh`], is told what happened and
//! says what is to be done. It has no sockets, no clock, no threads, no memory but its own, and no WireGuard: its
//! caller owns all of these, so the same engine runs on a server, a router, a microcontroller and in a simulator. It
//! is `no_std`, without an allocator and without unsafe code; its size is fixed by the number of peers that it has room
//! for, and [`Mesh::new`] is `const` and all zeroes, for a `static`.
//!
//! It carries no user traffic, makes no keys and creates no interface. A packet from the network cannot make it panic,
//! grow or take long. All randomness comes from the generator passed in: same inputs, same outputs.
//!
//! # Layers
//!
//! From below; each names only those above it in this list.
//!
//! | modules | what they know |
//! |---|---|
//! | [`limits`] | every bound and interval, why it is that, and what it costs |
//! | `key`, `addr`, `alarm`, `stats` | keys, endpoints and their scope, timers, counters |
//! | `record`, `wire`, `seal` | what a node publishes, the messages, the envelope |
//! | `input`, `output`, `status`, `stored` | the types of what goes in, what comes out, what can be looked at and what is kept |
//! | `peer`, `table` | one peer, as plain data with its state diagram; all of them, found by key or address |
//! | `mesh` | the rules, by subject: liveness, connecting, candidates, mediating, gossip, our own record, readings, memory, LANs |
//! | `driver` | feature `nal`: datagrams between a `Mesh` and any `embedded_nal::UdpFullStack` |
//!
//! # The loop
//!
//! 1. Tell the engine what came in: a datagram, a changed interface, a command, or that time has passed.
//! 2. Call [`Mesh::poll`] and do what it says, until it returns `None`.
//! 3. Sleep until [`Mesh::poll_timeout`], or until something comes in, whichever is first.
//!
//! # Example
//!
//! Two engines whose WireGuards (stand-ins here) have a session already, as after a restart of the daemons:
//!
//! ```
//! use core::net::IpAddr;
//!
//! use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
//! use wgautomesh_core::{
//!     Duration, Instant, Interface, Mesh, Output, PeerReading, PublicKey, SharedKey, limits::MAX_DATAGRAM,
//! };
//!
//! struct Node {
//!     mesh: Mesh<4>,
//!     address: IpAddr,
//!     /// The other node.
//!     peer: (PublicKey, IpAddr),
//!     rng: ChaCha8Rng,
//! }
//!
//! impl Node {
//!     fn new(now: Instant, number: u8, other: u8) -> Self {
//!         let key = |n| PublicKey::from_bytes([n; 32]);
//!         let address = |n| IpAddr::from([10, 0, 0, n]);
//!         let mut mesh = Mesh::new();
//!         mesh.set_secrets([SharedKey::derive(b"the secret of this mesh")]);
//!         mesh.add_peer(now, key(other), address(other)).expect("room for four");
//!         // The interface was found to be up.
//!         let interface = Interface { index: 1, public_key: key(number), listen_port: 51820 };
//!         mesh.handle_interface(now, Some(interface));
//!         let rng = ChaCha8Rng::seed_from_u64(number.into());
//!         Self { mesh, address: address(number), peer: (key(other), address(other)), rng }
//!     }
//!
//!     /// Does all that the engine wants now, and returns what it sends through the tunnel.
//!     fn poll(&mut self, now: Instant) -> Vec<Vec<u8>> {
//!         let mut buffer = [0; MAX_DATAGRAM];
//!         let mut sent = Vec::new();
//!         while let Some(output) = self.mesh.poll(now, &mut self.rng, &mut buffer) {
//!             match output {
//!                 // There is nobody else whose address `to` could be.
//!                 Output::Datagram { to: _, len } => sent.push(buffer[..len].to_vec()),
//!                 Output::ReadInterface => {
//!                     let reading = PeerReading {
//!                         key: self.peer.0,
//!                         endpoint: Some(([203, 0, 113, 9], 51820).into()),
//!                         rx_bytes: 240,
//!                         tx_bytes: 240,
//!                         last_handshake: 1,
//!                         keepalive: 25,
//!                     };
//!                     self.mesh.begin_reading();
//!                     self.mesh.handle_reading(now, &reading, [(self.peer.1, 32)]);
//!                     self.mesh.end_reading(now);
//!                 }
//!                 Output::Peer { key, action } => println!("WireGuard should {action:?} {key}"),
//!                 Output::Event(event) => println!("{}: {event:?}", self.address),
//!                 _ => {}
//!             }
//!         }
//!         sent
//!     }
//! }
//!
//! let mut now = Instant::from_secs(1);
//! let mut nodes = [Node::new(now, 1, 2), Node::new(now, 2, 1)];
//! while nodes.iter().any(|node| node.mesh.node().connected == 0) {
//!     assert!(now < Instant::from_secs(10), "it takes a moment");
//!     for (here, there) in [(0, 1), (1, 0)] {
//!         for mut datagram in nodes[here].poll(now) {
//!             let from = nodes[here].address;
//!             nodes[there].mesh.handle_datagram(now, from, &mut datagram);
//!         }
//!     }
//!     // A program would sleep until the first of these, or until a datagram comes.
//!     now += Duration::from_millis(5);
//!     for node in &mut nodes {
//!         if node.mesh.poll_timeout().is_some_and(|at| at <= now) {
//!             node.mesh.handle_timeout(now, &mut node.rng);
//!         }
//!     }
//! }
//! ```
//!
//! # Features
//!
//! `log` (default) or `defmt` for log lines, neither for none, with both `log`; `nal` for the driver over
//! `embedded_nal`; `map` for asking peers for all their links.
#![no_std]
#![forbid(unsafe_code)]

mod fmt;

mod addr;
mod alarm;
#[cfg(feature = "nal")]
pub mod driver;
mod input;
mod key;
pub mod limits;
mod mesh;
mod output;
mod peer;
mod record;
mod seal;
mod stats;
mod status;
mod stored;
mod table;
#[cfg(test)]
mod testing;
mod wire;

pub use addr::{Endpoint, Scope, scope};
pub use embassy_time::{Duration, Instant};
pub use input::{ActionError, AddPeerError, Interface, LanLink, PeerAction, PeerReading};
pub use key::{KeyError, PublicKey};
#[cfg(feature = "map")]
pub use mesh::LinkTold;
pub use mesh::{Answer, AskError, Mesh, OPENER_MAGIC};
pub use output::{CandidateKind, Event, Output, Reason};
pub use record::{NatClass, Nats};
pub use seal::SharedKey;
#[cfg(fuzzing)]
pub use seal::fuzzing;
pub use stats::Counters;
pub use status::{LinkState, NodeStatus, PeerStatus, Seen};
pub use stored::StoredRecord;
