//! Counters of what came, went and was dropped, each with its reason.

/// What the engine has counted since it was made. They wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Counters {
    /// Datagrams sent.
    pub sent: u32,
    /// Their bytes of UDP payload.
    pub sent_bytes: u64,
    /// Datagrams received, opened and understood.
    pub received: u32,
    /// Bytes of UDP payload received, dropped ones included.
    pub received_bytes: u64,
    /// Dropped: shorter than an envelope or longer than a datagram.
    pub dropped_length: u32,
    /// Dropped: a protocol version that we do not speak.
    pub dropped_version: u32,
    /// Dropped: sealed with a secret that is not ours.
    pub dropped_secret: u32,
    /// Dropped: does not open. Forged, or damaged.
    pub dropped_seal: u32,
    /// Dropped: opened, and a frame in it is malformed.
    pub dropped_malformed: u32,
    /// Dropped: not from a configured peer's mesh address, or the interface gives that address to another peer.
    pub dropped_stranger: u32,
    /// Dropped: too many from one peer.
    pub dropped_rate: u32,
    /// Frames of an unknown type, skipped.
    pub skipped_frames: u32,
    /// Records refused: of unknown nodes, expired, or newer than is plausible.
    pub refused_records: u32,
    /// Introductions given to others.
    pub introduced: u32,
    /// Introductions refused to others.
    pub refused_introductions: u32,
    /// Openers sent.
    pub sent_openers: u32,
    /// Openers of the other side of an attempt received.
    pub heard_openers: u32,
    /// Openers dropped: too many, or they do not open.
    pub dropped_openers: u32,
    /// Beacons sent on LANs.
    pub sent_beacons: u32,
    /// Beacons of peers heard on LANs.
    pub heard_beacons: u32,
    /// Challenges sent on LANs.
    pub sent_challenges: u32,
    /// Dropped on a LAN: from elsewhere, too many, of another mesh, or a copy. Not among [`dropped`](Self::dropped): other
    /// meshes on the same LAN are nothing to be told of.
    pub dropped_lan: u32,
    /// Sessions moved to the LAN.
    pub moved_to_lan: u32,
    /// Of those, moved back because nothing came through.
    pub moved_back: u32,
    /// Times WireGuard was made to initiate.
    pub fired: u32,
    /// Fires put off because the budget of targets was used up.
    pub over_budget: u32,
    /// Readings of the interface asked for.
    pub readings: u32,
    /// Datagrams not sent because the random source failed.
    pub no_randomness: u32,
}

impl Counters {
    /// All packets dropped, whatever the reason.
    #[must_use]
    pub const fn dropped(&self) -> u32 {
        self.dropped_length
            .wrapping_add(self.dropped_version)
            .wrapping_add(self.dropped_secret)
            .wrapping_add(self.dropped_seal)
            .wrapping_add(self.dropped_malformed)
            .wrapping_add(self.dropped_stranger)
            .wrapping_add(self.dropped_rate)
    }

    pub(crate) const fn new() -> Self {
        Self {
            sent: 0,
            sent_bytes: 0,
            received: 0,
            received_bytes: 0,
            dropped_length: 0,
            dropped_version: 0,
            dropped_secret: 0,
            dropped_seal: 0,
            dropped_malformed: 0,
            dropped_stranger: 0,
            dropped_rate: 0,
            skipped_frames: 0,
            refused_records: 0,
            introduced: 0,
            refused_introductions: 0,
            sent_openers: 0,
            heard_openers: 0,
            dropped_openers: 0,
            sent_beacons: 0,
            heard_beacons: 0,
            sent_challenges: 0,
            dropped_lan: 0,
            moved_to_lan: 0,
            moved_back: 0,
            fired: 0,
            over_budget: 0,
            readings: 0,
            no_randomness: 0,
        }
    }
}

/// Adds one to a counter that may wrap.
pub(crate) const fn count(counter: &mut u32) {
    *counter = counter.wrapping_add(1);
}
