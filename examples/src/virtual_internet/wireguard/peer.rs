//! What a device knows of one peer.

use core::net::SocketAddr;
use std::collections::VecDeque;

use super::message::Timestamp;
use super::{AllowedIp, Key};

/// Wall-clock time, as the handshake stamp shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallClock {
    /// Seconds since 1970.
    pub secs: u64,
    /// Below 10^9.
    pub nanos: u32,
}

/// One peer's part of a configuration message, with the meaning that the kernel's netlink gives it. What is `None`
/// stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerChange {
    /// Which peer.
    pub key: Key,
    /// Remove it.
    pub remove: bool,
    /// Do not make it if it is not there.
    pub update_only: bool,
    /// The peer's other ranges go.
    pub replace_allowed_ips: bool,
    /// New preshared key; all zeros is none.
    pub preshared_key: Option<Key>,
    /// New endpoint. There is no way to take one away but to remove the peer.
    pub endpoint: Option<SocketAddr>,
    /// Persistent keepalive in seconds; 0 is off.
    pub keepalive: Option<u16>,
    /// Ranges to add.
    pub allowed_ips: Vec<AllowedIp>,
}

impl PeerChange {
    /// Changes nothing; makes the peer if it is not there.
    #[must_use]
    pub const fn new(key: Key) -> Self {
        Self {
            key,
            remove: false,
            update_only: false,
            replace_allowed_ips: false,
            preshared_key: None,
            endpoint: None,
            keepalive: None,
            allowed_ips: Vec::new(),
        }
    }

    /// Removes the peer.
    #[must_use]
    pub fn remove(key: Key) -> Self {
        Self { remove: true, ..Self::new(key) }
    }

    /// With an endpoint.
    #[must_use]
    pub fn endpoint(self, endpoint: SocketAddr) -> Self {
        Self { endpoint: Some(endpoint), ..self }
    }

    /// With a persistent keepalive of `seconds`.
    #[must_use]
    pub fn keepalive(self, seconds: u16) -> Self {
        Self { keepalive: Some(seconds), ..self }
    }

    /// With one more range.
    #[must_use]
    pub fn allow(mut self, range: AllowedIp) -> Self {
        self.allowed_ips.push(range);
        self
    }

    /// With a preshared key.
    #[must_use]
    pub fn preshared_key(self, key: Key) -> Self {
        Self { preshared_key: Some(key), ..self }
    }
}

/// What a device says of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo<'a> {
    /// Its key.
    pub key: Key,
    /// Where packets to it go.
    pub endpoint: Option<SocketAddr>,
    /// Bytes of authenticated messages from it.
    pub rx_bytes: u64,
    /// Bytes of messages sent to it.
    pub tx_bytes: u64,
    /// When the last handshake was complete, by this device's wall clock at that time.
    pub last_handshake: Option<WallClock>,
    /// Persistent keepalive in seconds; 0 is off.
    pub keepalive: u16,
    /// Its ranges.
    pub allowed_ips: &'a [AllowedIp],
    /// Its preshared key.
    pub preshared_key: Option<Key>,
    /// Initiations that left for it since it was added. The kernel does not say this; simulations need it.
    pub initiations_sent: u32,
    /// There is a session that could carry a packet now. The kernel does not say this either.
    pub has_session: bool,
}

/// The kernel's five timers of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    Retransmit,
    SendKeepalive,
    NewHandshake,
    ZeroKeys,
    PersistentKeepalive,
}

impl Timer {
    pub(super) const ALL: [Self; 5] = [
        Self::Retransmit,
        Self::SendKeepalive,
        Self::NewHandshake,
        Self::ZeroKeys,
        Self::PersistentKeepalive,
    ];
}

/// A timer that is not set.
pub(super) const NEVER: u64 = u64::MAX;

/// Where a handshake is. What it means that there is one state for both roles: consuming the peer's initiation
/// overwrites our own, and the response to ours is then refused.
///
/// ```text
///             send initiation                response to it
///    Zeroed ──────────────────▶ Created ───────────────────▶ session, Zeroed
///       │                          │
///       └──────────┬───────────────┘
///                  │ peer's initiation: answered at once
///                  ▼
///        session (to be confirmed), Zeroed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum HandshakeState {
    #[default]
    Zeroed,
    CreatedInitiation,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Handshake {
    pub(super) state: HandshakeState,
    /// Names our handshake to the peer.
    pub(super) index: u32,
    pub(super) ephemeral: u64,
    /// The greatest timestamp of an initiation from the peer; not newer is a replay.
    pub(super) latest_timestamp: Timestamp,
    /// When the last initiation of the peer was accepted, µs.
    pub(super) last_consumed: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Keypair {
    pub(super) local_index: u32,
    pub(super) remote_index: u32,
    /// Stands for the session's keys.
    pub(super) session: u64,
    /// µs.
    pub(super) birth: u64,
    pub(super) initiator: bool,
    pub(super) may_send: bool,
    pub(super) next_counter: u64,
    /// The greatest counter seen plus one, and which of the 128 below it were seen. (The kernel's window is 8128.)
    pub(super) seen_end: u64,
    pub(super) seen: u128,
}

impl Keypair {
    pub(super) const fn new(local: u32, remote: u32, session: u64, birth: u64, initiator: bool) -> Self {
        Self {
            local_index: local,
            remote_index: remote,
            session,
            birth,
            initiator,
            may_send: true,
            next_counter: 0,
            seen_end: 0,
            seen: 0,
        }
    }

    /// Whether a counter is new; it is then noted.
    pub(super) fn accept(&mut self, counter: u64) -> bool {
        let Some(end) = counter.checked_add(1) else {
            return false;
        };
        if end > self.seen_end {
            let shift = u32::try_from(end - self.seen_end).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(shift).unwrap_or(0) | 1;
            self.seen_end = end;
            return true;
        }
        let Some(bit) = u32::try_from(self.seen_end - end).ok().and_then(|back| 1u128.checked_shl(back))
        else {
            return false;
        };
        let new = self.seen & bit == 0;
        self.seen |= bit;
        new
    }
}

/// The three sessions of a peer. Rarely more than one is there.
#[derive(Clone, Debug, Default)]
pub(super) struct Keypairs {
    pub(super) current: Option<Box<Keypair>>,
    pub(super) previous: Option<Box<Keypair>>,
    /// A responder's new session, until the initiator's first packet confirms it.
    pub(super) next: Option<Box<Keypair>>,
}

impl Keypairs {
    /// A handshake made a session.
    pub(super) fn add(&mut self, new: Keypair) {
        if new.initiator {
            self.previous = match self.next.take() {
                Some(next) => Some(next),
                None => self.current.take(),
            };
            self.current = Some(Box::new(new));
        } else {
            self.next = Some(Box::new(new));
            self.previous = None;
        }
    }

    /// A packet came in the session with that index. True if it was the unconfirmed one, which is now the current.
    pub(super) fn confirm(&mut self, local_index: u32) -> bool {
        if self.next.as_ref().is_none_or(|next| next.local_index != local_index) {
            return false;
        }
        self.previous = self.current.take();
        self.current = self.next.take();
        true
    }

    pub(super) fn find(&mut self, local_index: u32) -> Option<&mut Keypair> {
        [&mut self.current, &mut self.next, &mut self.previous]
            .into_iter()
            .filter_map(|keypair| keypair.as_deref_mut())
            .find(|keypair| keypair.local_index == local_index)
    }
}

/// One peer. In a mesh of thousands there are millions of these: what few peers have is boxed.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) key: Key,
    pub(super) preshared_key: Option<Box<Key>>,
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) allowed_ips: Vec<AllowedIp>,
    pub(super) keepalive: u16,
    pub(super) rx_bytes: u64,
    pub(super) tx_bytes: u64,
    pub(super) last_handshake: Option<WallClock>,
    /// When the last handshake message left, µs. `None`: long ago.
    pub(super) last_sent_handshake: Option<u64>,
    pub(super) attempts: u32,
    pub(super) initiations_sent: u32,
    pub(super) need_another_keepalive: bool,
    pub(super) sent_lastminute_handshake: bool,
    /// When each fires, µs; [`NEVER`].
    pub(super) timers: [u64; 5],
    /// The time under which the device's queue of timers has this peer, µs; [`NEVER`].
    pub(super) scheduled: u64,
    pub(super) handshake: Handshake,
    pub(super) keypairs: Keypairs,
    /// Packets that wait for a session; an empty one is a keepalive.
    pub(super) staged: VecDeque<Vec<u8>>,
}

impl Peer {
    pub(super) const fn new(key: Key) -> Self {
        Self {
            key,
            preshared_key: None,
            endpoint: None,
            allowed_ips: Vec::new(),
            keepalive: 0,
            rx_bytes: 0,
            tx_bytes: 0,
            last_handshake: None,
            last_sent_handshake: None,
            attempts: 0,
            initiations_sent: 0,
            need_another_keepalive: false,
            sent_lastminute_handshake: false,
            timers: [NEVER; 5],
            scheduled: NEVER,
            handshake: Handshake {
                state: HandshakeState::Zeroed,
                index: 0,
                ephemeral: 0,
                latest_timestamp: [0; 12],
                last_consumed: None,
            },
            keypairs: Keypairs { current: None, previous: None, next: None },
            staged: VecDeque::new(),
        }
    }

    pub(super) const fn is_set(&self, timer: Timer) -> bool {
        self.timers[timer as usize] != NEVER
    }

    pub(super) const fn unset(&mut self, timer: Timer) {
        self.timers[timer as usize] = NEVER;
    }

    /// Forgets session and handshake, but not the timestamp that guards against replays.
    pub(super) fn forget_keys(&mut self) {
        self.handshake.state = HandshakeState::Zeroed;
        self.keypairs = Keypairs::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_is_accepted_once() {
        let mut keypair = Keypair::new(1, 2, 3, 0, true);
        for (counter, new) in [
            (0, true),
            (0, false),
            (5, true),
            (3, true),
            (3, false),
            (4, true),
            (132, true),
            (5, false),
            (4, false),
            (6, true),
            (1000, true),
            (132, false),
            (u64::MAX, false),
        ] {
            assert_eq!(keypair.accept(counter), new, "{counter}");
        }
    }

    #[test]
    fn a_peer_stays_small() {
        assert!(size_of::<Peer>() <= 400, "{} bytes", size_of::<Peer>());
    }
}
