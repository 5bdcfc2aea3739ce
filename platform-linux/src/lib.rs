//! The Linux runtime of wgautomesh.

pub mod clock;
pub mod config;
pub mod control;
pub mod log;
pub mod net;
pub mod resolve;
pub mod rng;
mod rtnl;
mod run;
pub mod watch;
pub mod wireguard;

pub use run::{RunError, run};
