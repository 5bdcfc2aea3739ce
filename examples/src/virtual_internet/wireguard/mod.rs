//! A model of WireGuard: the states, timers and counters of the Linux kernel module, without its cryptography.
//!
//! A simulated success proves something only if the simulated WireGuard refuses what the real one refuses. So this
//! follows the kernel's handshake, timer and queue rules one by one; [`rows`] states each as an experiment over two
//! devices, which runs over this model in virtual time and can be run over any other implementation.
//!
//! Messages have their real types and sizes (148, 92, 32 + payload padded to 16) and carry in clear what the real
//! ones prove by cryptography: who sends, the timestamp, which ephemerals and which preshared key made a session.
//!
//! Not modelled: cookies and rate limits under load (the kernel starts them at 512 queued handshakes), fwmark, the
//! limits on the number of messages per key, and the 4 ms granularity of the kernel's clock.

mod allowed_ips;
mod device;
mod message;
mod peer;
pub mod rows;

pub use allowed_ips::AllowedIp;
pub use device::{Counters, Device, Out, SendError};
pub use message::{Kind, initiation, kind};
pub use peer::{PeerChange, PeerInfo, WallClock};

use embassy_time::Duration;

/// A public key. The model never needs the private one.
pub type Key = [u8; 32];

/// No second initiation to a peer within this time of the last handshake message sent to it.
pub const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// A retransmission comes up to this much later.
pub const REKEY_TIMEOUT_JITTER: Duration = Duration::from_millis(333);
/// An initiator makes a new session when the current one is this old and it sends.
pub const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
/// A session this old is not used.
pub const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
/// Who got data and had nothing to send says so after this time.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Initiations that are sent before an initiator gives up.
pub const MAX_TRIES: u32 = 20;
/// Packets that wait for a session, per peer; the kernel looks before it adds one, so 129 fit.
pub const MAX_STAGED_PACKETS: usize = 128;
/// A responder drops initiations of one peer that come closer together than this.
pub const INITIATION_FLOOD: Duration = Duration::from_millis(20);
