//! The Linux runtime of wgautomesh: everything that the engine, [`wgautomesh_core`], leaves to its platform.
//!
//! [`run()`] is the daemon; the modules below it are its adapters, [`config`] and [`control`] what people touch, and
//! [`cli`] a whole program over them (with the feature `toml`), so that a binary is little more than a choice of capacity.

pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
#[cfg(feature = "admin")]
pub mod doctor;
mod errands;
pub mod import;
pub mod log;
#[cfg(feature = "admin")]
pub mod map;
#[cfg_attr(not(feature = "admin"), path = "metrics/absent.rs")]
mod metrics;
pub mod net;
#[cfg_attr(not(feature = "systemd"), path = "notify/absent.rs")]
mod notify;
#[cfg_attr(not(feature = "portmap"), path = "portmap/absent.rs")]
pub mod portmap;
pub mod resolve;
pub mod rng;
mod rtnl;
mod run;
#[cfg_attr(not(feature = "sandbox"), path = "sandbox/absent.rs")]
mod sandbox;
pub mod store;
pub mod watch;
pub mod wireguard;

pub use run::{RunError, run};
