//! What happened since the start, counted: what no status shows, since it is over.

use std::collections::BTreeMap;

use wgautomesh_core::{Duration, Event, PublicKey, Reason};

/// The upper ends of the classes of [`Durations`], in milliseconds: a mesh within one network connects in tens of them, one
/// behind NATs in less than a second, and what takes minutes is in trouble.
pub(super) const CLASSES_MS: [u64; 10] = [50, 100, 250, 500, 1_000, 2_500, 5_000, 15_000, 60_000, 300_000];

/// How long things took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Durations {
    /// By the first class that each fits into.
    classes: [u64; CLASSES_MS.len()],
    count: u64,
    sum_us: u64,
}

impl Durations {
    fn add(&mut self, took: Duration) {
        let class = CLASSES_MS.iter().position(|&most| took <= Duration::from_millis(most));
        if let Some(counted) = class.and_then(|class| self.classes.get_mut(class)) {
            *counted += 1;
        }
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(took.as_micros());
    }

    /// For the end of each class, how many did not take longer.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.classes.iter().scan(0, |sum, counted| {
            *sum += counted;
            Some(*sum)
        });
        CLASSES_MS.into_iter().zip(counts)
    }

    /// How many there were.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// All of them together, in microseconds.
    pub(super) const fn sum_us(&self) -> u64 {
        self.sum_us
    }
}

/// How often there was each reason; no more entries than there are reasons.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reasons(Vec<(Reason, u64)>);

impl Reasons {
    fn add(&mut self, reason: Reason) {
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, counted)) => *counted += 1,
            None => {
                self.0.push((reason, 1));
                self.0.sort_unstable_by_key(|(reason, _)| reason.as_str());
            }
        }
    }

    /// Those that there were, by their id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(reason, counted)| (reason.as_str(), *counted))
    }
}

/// What happened with one peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PeerTally {
    /// Attempts in which this side's WireGuard initiated.
    pub(super) initiated: u64,
    /// Attempts in which this side opened, and the other's initiated.
    pub(super) opened: u64,
    /// Times that it was connected.
    pub(super) connects: u64,
    /// Times that a live session went to another endpoint.
    pub(super) moves: u64,
    /// By what it was lost.
    pub(super) losses: Reasons,
    /// Why it was not connected.
    pub(super) failures: Reasons,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    wakeups: u64,
    connecting: Durations,
    peers: BTreeMap<PublicKey, PeerTally>,
}

impl Tally {
    /// Nothing has happened.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The loop was woken.
    pub(crate) const fn woke(&mut self) {
        self.wakeups += 1;
    }

    /// Something happened in a mesh of so many peers. Who left it is forgotten when that makes room.
    pub(crate) fn note(&mut self, event: &Event, peers: usize, is_peer: impl Fn(&PublicKey) -> bool) {
        match event {
            Event::Attempt { key, initiator, .. } => {
                let peer = self.peer(*key, peers, is_peer);
                if *initiator { peer.initiated += 1 } else { peer.opened += 1 }
            }
            Event::Connected { key, took, .. } => {
                self.connecting.add(*took);
                self.peer(*key, peers, is_peer).connects += 1;
            }
            Event::Moved { key, .. } => self.peer(*key, peers, is_peer).moves += 1,
            Event::Lost { key, reason } => self.peer(*key, peers, is_peer).losses.add(*reason),
            // That an attempt begins is none, and counted as such.
            Event::Waiting { reason: Reason::Connecting, .. } => {}
            Event::Waiting { key, reason } => self.peer(*key, peers, is_peer).failures.add(*reason),
            _ => {}
        }
    }

    fn peer(&mut self, key: PublicKey, peers: usize, is_peer: impl Fn(&PublicKey) -> bool) -> &mut PeerTally {
        if self.peers.len() >= peers && !self.peers.contains_key(&key) {
            self.peers.retain(|key, _| is_peer(key));
        }
        self.peers.entry(key).or_default()
    }

    /// How often the loop was woken.
    pub(super) const fn wakeups(&self) -> u64 {
        self.wakeups
    }

    /// How long it took to connect a peer, from the begin of the attempt.
    pub(super) const fn connecting(&self) -> &Durations {
        &self.connecting
    }

    /// What happened with a peer, if anything did.
    pub(super) fn of(&self, key: &PublicKey) -> Option<&PeerTally> {
        self.peers.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    fn waiting(number: u8, reason: Reason) -> Event {
        Event::Waiting { key: key(number), reason }
    }

    #[test]
    fn reasons_are_counted_each_by_itself() {
        let mut tally = Tally::new();
        for reason in [Reason::NoAnswer, Reason::Connecting, Reason::Isolated, Reason::NoAnswer] {
            tally.note(&waiting(1, reason), 4, |_| true);
        }
        tally.note(&Event::Lost { key: key(1), reason: Reason::Silent }, 4, |_| true);
        let peer = tally.of(&key(1)).unwrap();
        assert_eq!(peer.failures.iter().collect::<Vec<_>>(), [("isolated", 1), ("no-answer", 2)]);
        assert_eq!(peer.losses.iter().collect::<Vec<_>>(), [("silent", 1)]);
        assert_eq!(tally.of(&key(2)), None);
    }

    #[test]
    fn durations_are_classed() {
        let mut durations = Durations::default();
        for millis in [0, 50, 51, 300_000, 300_001] {
            durations.add(Duration::from_millis(millis));
        }
        let counts: Vec<u64> = durations.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 3, 3, 3, 3, 3, 3, 3, 3, 4]);
        assert_eq!((durations.count(), durations.sum_us()), (5, 600_102_000));
    }

    /// Peers of the interface come and go as long as the daemon runs.
    #[test]
    fn who_left_takes_no_memory_for_good() {
        let mut tally = Tally::new();
        for number in 0..200 {
            let present = |key: &PublicKey| key.as_bytes()[0] >= number;
            tally.note(&waiting(number, Reason::NoAnswer), 2, present);
            assert!(tally.peers.len() <= 2, "{number}");
        }
        assert!(tally.of(&key(199)).is_some());
    }
}
