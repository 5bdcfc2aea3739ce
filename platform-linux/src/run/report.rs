//! What happened, as lines for the log: one for each thing that changed.

use log::Level;
use wgautomesh_core::{CandidateKind, Duration, Event, Reason};

use super::names::Names;

/// The line for an event, and how loud it is; `None` for what the loop says itself.
pub(super) fn line(event: &Event, names: &Names) -> Option<(Level, String)> {
    let via = |via: &Option<_>| {
        via.map_or_else(String::new, |key| format!(", introduced by {}", names.short(&key)))
    };
    let at = |endpoint: &Option<_>| endpoint.map_or_else(String::new, |endpoint| format!(" at {endpoint}"));
    Some(match event {
        // The loop knows more about these: why it is gone, which one came.
        Event::InterfaceUp | Event::InterfaceDown => return None,
        Event::Connected { key, endpoint, kind, via: by, took } => {
            let (peer, at, by) = (names.of(*key), at(endpoint), via(by));
            (Level::Info, format!("{peer}: connected{at} ({}{by}) after {}", source(*kind), seconds(*took)))
        }
        Event::Lost { key, reason } => {
            // A peer that says goodbye is as it should be.
            let level = if *reason == Reason::Left { Level::Info } else { Level::Warn };
            (level, format!("{}: no longer connected: {reason}", names.of(*key)))
        }
        // An attempt begins: the line is about how it ends.
        Event::Waiting { key, reason: reason @ Reason::Connecting } => {
            (Level::Debug, format!("{}: {reason}", names.of(*key)))
        }
        Event::Waiting { key, reason } => {
            (Level::Info, format!("{}: not connected: {reason}", names.of(*key)))
        }
        Event::Attempt { key, endpoint, initiator, via: by, round, kind: _ } => {
            let role = if *initiator { "initiating" } else { "opening" };
            let (peer, at, by) = (names.of(*key), at(endpoint), via(by));
            (Level::Debug, format!("{peer}: {role}{at}, round {round}{by}"))
        }
        Event::Moved { key, endpoint, kind: CandidateKind::Lan } => {
            (Level::Info, format!("{}: moved to {endpoint} (on the LAN)", names.of(*key)))
        }
        Event::Moved { key, endpoint, .. } => {
            (Level::Info, format!("{}: moved to {endpoint}", names.of(*key)))
        }
        Event::LanBarred { key, endpoint } => {
            let text = "is on the LAN, and WireGuard got no answer there (a firewall, or a Wi-Fi that keeps its clients apart?)";
            let peer = names.of(*key);
            (Level::Info, format!("{peer}: {text}: {endpoint} is not tried again for ten minutes"))
        }
        Event::OwnKeyElsewhere => {
            let text = "another machine speaks with this node's key: a key belongs on one machine, make a new one for the copy";
            (Level::Warn, text.into())
        }
        Event::RecordConflict { key } => {
            let text = "says different things at the same time: is its key used on two machines?";
            (Level::Warn, format!("{}: {text}", names.of(*key)))
        }
        Event::Dropped { packets } => (
            Level::Warn,
            format!(
                "{packets} gossip packets dropped: not from a configured peer, or not with this mesh's secret"
            ),
        ),
        Event::NoRandomness => {
            (Level::Error, "the system gives no random numbers: nothing is sent until it does".into())
        }
        // The enum may grow; a word is better than nothing.
        other => (Level::Info, format!("{other:?}")),
    })
}

fn source(kind: CandidateKind) -> &'static str {
    match kind {
        CandidateKind::Configured => "as configured",
        CandidateKind::Global => "its own address",
        CandidateKind::Mapped => "its port mapping",
        CandidateKind::Mediated => "seen by a peer",
        CandidateKind::Published => "as it says itself",
        CandidateKind::LastGood => "as before",
        CandidateKind::Private => "on its own network",
        CandidateKind::Roamed => "it reached us",
        CandidateKind::Lan => "on the LAN",
        other => other.as_str(),
    }
}

fn seconds(took: Duration) -> String {
    let millis = took.as_millis();
    format!("{}.{:02} s", millis / 1_000, millis % 1_000 / 10)
}

#[cfg(test)]
mod tests {
    use wgautomesh_core::PublicKey;

    use super::*;

    #[test]
    fn lines_name_the_peer_and_the_reason() {
        let key = PublicKey::from_bytes([0; 32]);
        let names = Names::default();
        let endpoint = Some(([203, 0, 113, 5], 51820).into());
        let took = Duration::from_millis(1_234);
        for (event, level, expected) in [
            (
                Event::Connected { key, endpoint, kind: CandidateKind::Mediated, via: Some(key), took },
                Level::Info,
                "AAAAAAAA: connected at 203.0.113.5:51820 (seen by a peer, introduced by AAAAAAAA) after 1.23 s",
            ),
            (
                Event::Lost { key, reason: Reason::Silent },
                Level::Warn,
                "AAAAAAAA: no longer connected: it stopped answering",
            ),
            (
                Event::Lost { key, reason: Reason::Left },
                Level::Info,
                "AAAAAAAA: no longer connected: it shut down",
            ),
            (
                Event::Waiting { key, reason: Reason::NoMediator },
                Level::Info,
                "AAAAAAAA: not connected: no connected peer could introduce us",
            ),
            (
                Event::Attempt {
                    key,
                    endpoint,
                    kind: CandidateKind::Configured,
                    initiator: true,
                    via: None,
                    round: 2,
                },
                Level::Debug,
                "AAAAAAAA: initiating at 203.0.113.5:51820, round 2",
            ),
            (
                Event::Moved { key, endpoint: ([192, 168, 1, 7], 51820).into(), kind: CandidateKind::Lan },
                Level::Info,
                "AAAAAAAA: moved to 192.168.1.7:51820 (on the LAN)",
            ),
            (
                Event::LanBarred { key, endpoint: ([192, 168, 1, 7], 51820).into() },
                Level::Info,
                "AAAAAAAA: is on the LAN, and WireGuard got no answer there (a firewall, or a Wi-Fi that keeps its clients \
                 apart?): 192.168.1.7:51820 is not tried again for ten minutes",
            ),
        ] {
            assert_eq!(line(&event, &names), Some((level, expected.to_string())));
        }
        assert_eq!(line(&Event::InterfaceUp, &names), None);
    }

    /// Whoever searches the log for a peer, by its name or by its key, finds all that became of it, and why.
    #[test]
    fn every_change_of_a_peer_is_one_line_with_its_name_its_key_and_the_reason() {
        let key = PublicKey::from_bytes([0; 32]);
        let names = Names::one(key, "attic");
        let address = ([203, 0, 113, 5], 51820).into();
        let endpoint = Some(address);
        let (kind, took) = (CandidateKind::Heard, Duration::from_millis(5));
        for (event, reason) in [
            (Event::Connected { key, endpoint, kind, via: Some(key), took }, "heard"),
            (Event::Lost { key, reason: Reason::Silent }, "it stopped answering"),
            (Event::Waiting { key, reason: Reason::NoGossip }, "its wgautomesh does not"),
            (Event::Waiting { key, reason: Reason::Connecting }, "connecting"),
            (
                Event::Attempt { key, endpoint, kind, initiator: false, via: None, round: 1 },
                "opening at 203.0.113.5:51820",
            ),
            (Event::Moved { key, endpoint: address, kind: CandidateKind::Roamed }, "203.0.113.5:51820"),
            (Event::LanBarred { key, endpoint: address }, "WireGuard got no answer there"),
            (Event::RecordConflict { key }, "different things"),
        ] {
            let (_, line) = line(&event, &names).expect("a line");
            assert!(line.starts_with("attic (AAAAAAAA): "), "{line}");
            assert!(line.contains(reason) && !line.contains('\n'), "{line}");
        }
    }
}
