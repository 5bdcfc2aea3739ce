//! The engine of wgautomesh.
#![no_std]
#![forbid(unsafe_code)]

mod fmt;

mod addr;
mod input;
mod key;
mod output;

pub use addr::{Endpoint, Scope, scope};
pub use embassy_time::{Duration, Instant};
pub use input::{ActionError, AddPeerError, Interface, PeerAction, PeerReading};
pub use key::{KeyError, PublicKey};
pub use output::{CandidateKind, Event, Output, Reason};
