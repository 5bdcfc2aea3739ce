//! The Linux runtime of wgautomesh.

pub mod clock;
pub mod net;
pub mod rng;
mod rtnl;
pub mod watch;
pub mod wireguard;
