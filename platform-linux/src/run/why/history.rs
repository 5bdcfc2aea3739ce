//! What happened to each peer of late.
//!
//! Every peer has a list of its own, so that one that is tried for ever does not push out what is known of the others. A try
//! that is made again is counted with the first one. A list has [`LENGTH`] entries at the most, and grows as they come: a peer
//! that is connected and stays so takes two. With the room that a list grows ahead that is 1.5 kB for a peer at the most.

use std::collections::{BTreeMap, VecDeque};

use wgautomesh_core::{ActionError, CandidateKind, Duration, Endpoint, Event, Instant, PublicKey, Reason};

/// Of an effort this is each of its places with either role, and how the link was before.
pub(super) const LENGTH: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// The first time, and the last.
    pub(super) first: Instant,
    pub(super) last: Instant,
    pub(super) times: u32,
    pub(super) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Attempt {
        endpoint: Option<Endpoint>,
        kind: CandidateKind,
        initiator: bool,
        via: Option<PublicKey>,
    },
    Connected {
        endpoint: Option<Endpoint>,
        kind: CandidateKind,
        via: Option<PublicKey>,
        took: Duration,
    },
    Lost(Reason),
    Waiting(Reason),
    Moved {
        endpoint: Endpoint,
        kind: CandidateKind,
    },
    LanBarred(Endpoint),
    /// The system would not have the endpoint, or not change the peer.
    Refused {
        endpoint: Option<Endpoint>,
        error: ActionError,
    },
}

#[derive(Default)]
pub(super) struct History(BTreeMap<PublicKey, VecDeque<Entry>>);

impl History {
    /// What happened to a peer, in order.
    pub(super) fn of(&self, peer: &PublicKey) -> impl DoubleEndedIterator<Item = &Entry> {
        self.0.get(peer).into_iter().flatten()
    }

    /// Takes in an event of the engine, if it is about a peer.
    pub(super) fn note(&mut self, now: Instant, event: &Event) {
        let at = |endpoint: Option<core::net::SocketAddr>| endpoint.map(Endpoint::from);
        let (peer, what) = match *event {
            Event::Attempt { key, endpoint, kind, initiator, via, round: _ } => {
                (key, What::Attempt { endpoint: at(endpoint), kind, initiator, via })
            }
            Event::Connected { key, endpoint, kind, via, took } => {
                (key, What::Connected { endpoint: at(endpoint), kind, via, took })
            }
            Event::Lost { key, reason } => (key, What::Lost(reason)),
            Event::Waiting { key, reason } => (key, What::Waiting(reason)),
            Event::Moved { key, endpoint, kind } => (key, What::Moved { endpoint: endpoint.into(), kind }),
            Event::LanBarred { key, endpoint } => (key, What::LanBarred(endpoint.into())),
            _ => return,
        };
        self.push(now, peer, what);
    }

    /// Takes in that a change to a peer could not be made.
    pub(super) fn note_refused(
        &mut self,
        now: Instant,
        peer: PublicKey,
        endpoint: Option<Endpoint>,
        error: ActionError,
    ) {
        self.push(now, peer, What::Refused { endpoint, error });
    }

    /// Forgets everybody else.
    pub(super) fn retain(&mut self, is_peer: impl Fn(&PublicKey) -> bool) {
        self.0.retain(|peer, _| is_peer(peer));
    }

    /// Of how many peers there is something.
    pub(super) fn peers(&self) -> usize {
        self.0.len()
    }

    fn push(&mut self, now: Instant, peer: PublicKey, what: What) {
        let entries = self.0.entry(peer).or_default();
        // What is tried in turn is the same effort, until something else comes of it.
        let effort = entries.iter_mut().rev().take_while(|entry| entry.what.is_try() && what.is_try());
        let mut again = effort.into_iter().find(|entry| entry.what == what);
        if let Some(entry) = &mut again {
            entry.last = now;
            entry.times = entry.times.saturating_add(1);
            return;
        }
        if entries.len() >= LENGTH {
            entries.pop_front();
        }
        entries.push_back(Entry { first: now, last: now, times: 1, what });
    }
}

impl What {
    /// Whether it says that something was tried, and not yet what came of it.
    pub(super) const fn is_try(&self) -> bool {
        matches!(self, Self::Attempt { .. } | Self::Refused { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PublicKey = PublicKey::from_bytes([1; 32]);

    fn attempt(host: u8) -> Event {
        Event::Attempt {
            key: PEER,
            endpoint: Some(([203, 0, 113, host], 51820).into()),
            kind: CandidateKind::Configured,
            initiator: true,
            via: None,
            round: 1,
        }
    }

    #[test]
    fn tries_of_one_effort_are_counted_together() {
        let mut history = History::default();
        for (second, event) in [
            attempt(1),
            attempt(2),
            attempt(1),
            Event::Waiting { key: PEER, reason: Reason::NoAnswer },
            attempt(1),
            attempt(1),
        ]
        .iter()
        .enumerate()
        {
            history.note(Instant::from_secs(second as u64), event);
        }
        let seen: Vec<_> =
            history.of(&PEER).map(|e| (e.first.as_secs(), e.last.as_secs(), e.times)).collect();
        assert_eq!(seen, [(0, 2, 2), (1, 1, 1), (3, 3, 1), (4, 5, 2)]);
        assert_eq!(history.of(&PublicKey::from_bytes([2; 32])).count(), 0);
    }

    #[test]
    fn only_what_was_of_late_is_kept_and_of_whom_there_is() {
        let mut history = History::default();
        for round in 0..1000u64 {
            let now = Instant::from_secs(round);
            history.note(now, &attempt(round as u8));
            history.note(now, &Event::Lost { key: PEER, reason: Reason::Silent });
        }
        history.note(Instant::from_secs(5), &Event::OwnKeyElsewhere);
        assert_eq!((history.peers(), history.of(&PEER).count()), (1, LENGTH));
        assert_eq!(history.of(&PEER).next_back().map(|e| e.first.as_secs()), Some(999));
        assert!(size_of::<Entry>() * LENGTH <= 1152, "{} bytes", size_of::<Entry>());
        history.retain(|peer| *peer != PEER);
        assert_eq!(history.peers(), 0);
    }
}
