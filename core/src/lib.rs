//! The engine of wgautomesh.
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
mod table;
#[cfg(test)]
mod testing;
mod wire;

pub use addr::{Endpoint, Scope, scope};
pub use embassy_time::{Duration, Instant};
pub use input::{ActionError, AddPeerError, Interface, PeerAction, PeerReading};
pub use key::{KeyError, PublicKey};
pub use mesh::{Answer, AskError, Mesh};
pub use output::{CandidateKind, Event, Output, Reason};
pub use record::NatClass;
pub use seal::SharedKey;
pub use stats::Counters;
pub use status::{LinkState, NodeStatus, PeerStatus, Seen};
