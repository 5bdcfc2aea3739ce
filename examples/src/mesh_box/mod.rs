//! A mesh in a box: real daemons, real WireGuard, NATs that behave like NATs, on one machine and without root.
//!
//! Every node is a process in its own user, network and mount namespaces. Its one way out is `wan`, a TUN interface
//! whose packet end the parent holds; between these ends the parent plays the Internet
//! ([`crate::virtual_internet`]) in real time. In the node runs WireGuard, the kernel's or one in user space, and the
//! daemon, unchanged: it finds an interface `wg0`, a configuration file and an empty `/run`.
//!
//! ```text
//!   parent ─ box ──────────────────────────── virtual internet (thread): NATs, delay, loss
//!     │ channel (requests, echoes, log)            ║ raw IP packets
//!   ┌─┴────────── node: user + net + mount namespaces ──────────┐
//!   │ probe ── echoes ──▶ wg0 ◀── UAPI or netlink ── daemon     │   × N
//!   │                      ║ UDP 33723 ── wan (TUN) ═══════════▶╫═▶
//!   └───────────────────────────────────────────────────────────┘
//! ```
//!
//! What is measured, and from when, is written at [`Mesh::start_daemons`] (the barrier) and in the module `probe`
//! (echoes, gossip). The same box is the bench of the end-to-end tests: see [`Mesh`] and [`Node`].
//!
//! It is no container runtime: nodes share the machine's files, processes and clock.

mod attack;
mod bench;
mod channel;
mod cli;
mod daemon;
mod device;
mod error;
mod figures;
mod flood;
mod initiations;
mod internet;
mod key;
mod launch;
mod mesh;
mod namespace;
mod netlink;
mod node;
mod node_process;
mod plan;
mod probe;
mod protocol;
mod report;
mod scenario;
mod sys;
mod table;
mod wireguard;

use std::process::ExitCode;

pub use self::attack::{Attack, Attacked};
pub use self::bench::DevicePair;
pub use self::cli::main;
pub use self::daemon::build_daemon;
pub use self::error::{BoxError, Closed};
pub use self::flood::{Flood, Flooded};
pub use self::key::Key;
pub use self::mesh::Mesh;
pub use self::node::{Ended, Node, Output, Started};
pub use self::plan::{
    CONFIG_PATH, GOSSIP_PORT, LISTEN_PORT, MeshConfig, NatKind, NodePlan, Underlay, UnknownNat,
};
pub use self::protocol::{Pings, Usage};
pub use self::report::{Explained, Idle, Initiations, Outcome, Run, Step, Summary};
pub use self::scenario::{Scenario, Trial};
pub use self::table::Table;
pub use self::wireguard::{INTERFACE, PeerStatus, PeerUpdate, WireGuardKind};

/// Takes over if this process was started to be a part of a mesh: a node, a WireGuard device, a flooder, an attacker, the last step
/// before a daemon. `None`: it was not.
///
/// The very first thing in `main` of every binary that [`MeshConfig::program`] may name, while there is one thread.
#[must_use]
pub fn run_if_part() -> Option<ExitCode> {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let (word, rest) = arguments.split_first()?;
    let outcome = match word.as_str() {
        attack::WORD => attack::run(rest),
        bench::WORD => bench::run(rest),
        node_process::WORD => node_process::run(rest),
        device::WORD => Err(device::run(rest)),
        flood::WORD => flood::run(rest),
        launch::WORD => Err(launch::run(rest)),
        _ => return None,
    };
    Some(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("box: {error}");
            ExitCode::FAILURE
        }
    })
}
