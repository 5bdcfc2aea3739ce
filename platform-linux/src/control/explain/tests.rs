//! The text and the document, to the letter.

use std::{fs, path::Path};

use super::text;
use crate::control::{
    VERSION,
    status::{Nats, PeerState, Reason, SeenAt},
    why::{Asked, Cause, Happening, Link, Node, Peer, Place, Said, Why},
};

fn reason(id: &str, message: &str) -> Reason {
    Reason { id: id.into(), message: message.into() }
}

pub(in crate::control) fn connected() -> Why {
    Why {
        version: VERSION,
        node: Node {
            key: Some("7Nm7pMmyS7Nts1MB+loyD8u84ODxHPTkDu+uqQR6yDk=".into()),
            address: Some("10.14.0.1".parse().unwrap()),
            listen_port: Some(51820),
            nat: Nats { ipv4: Some("endpoint-independent".into()), ipv6: None },
            seen_at: vec![SeenAt { endpoint: "198.51.100.7:51820".parse().unwrap(), peers: 3 }],
        },
        peer: Peer {
            name: Some("bob".into()),
            key: "gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA=".into(),
            address: "10.14.0.4".parse().unwrap(),
            listen_port: Some(51821),
            nat: Nats { ipv4: Some("endpoint-independent".into()), ipv6: Some("open".into()) },
            endpoints: vec![
                Place { endpoint: "203.0.113.77:40001".parse().unwrap(), source: "mediated".into() },
                Place { endpoint: "[2001:db8::4]:51821".parse().unwrap(), source: "global".into() },
            ],
        },
        link: Link {
            state: PeerState::Connected,
            since_s: Some(11_525),
            endpoint: Some("203.0.113.77:40001".parse().unwrap()),
            endpoint_source: Some("mediated".into()),
            via: Some("dora".into()),
            seen_at: Some("198.51.100.7:51820".parse().unwrap()),
            rtt_us: Some(12_345),
            handshake_age_s: Some(72),
            rx_bytes: 123_456,
            tx_bytes: 1,
            reason: None,
        },
        cause: None,
        history: vec![
            Happening {
                endpoint: Some("203.0.113.77:40001".parse().unwrap()),
                endpoint_source: Some("mediated".into()),
                role: Some("initiates".into()),
                via: Some("dora".into()),
                outcome: Some("connected".into()),
                ..Happening::new("attempt", 11_526)
            },
            Happening {
                endpoint: Some("203.0.113.77:40001".parse().unwrap()),
                endpoint_source: Some("mediated".into()),
                via: Some("dora".into()),
                took_ms: Some(284),
                ..Happening::new("connected", 11_525)
            },
        ],
        asked: vec![Asked {
            who: "bob".into(),
            through: None,
            about: "node".into(),
            answer: Some(Said {
                state: Some(PeerState::Connected),
                reason: None,
                endpoint: Some("198.51.100.7:51820".parse().unwrap()),
                since_s: 11_525,
            }),
        }],
    }
}

pub(in crate::control) fn not_connected() -> Why {
    let why = connected();
    Why {
        peer: Peer { nat: Nats { ipv4: Some("endpoint-dependent".into()), ipv6: None }, ..why.peer },
        link: Link {
            state: PeerState::Waiting,
            since_s: Some(192),
            endpoint: None,
            endpoint_source: None,
            seen_at: None,
            rtt_us: None,
            handshake_age_s: None,
            rx_bytes: 0,
            tx_bytes: 0,
            reason: Some(reason("endpoint-dependent-nat", "the NATs between us cannot be punched")),
            ..why.link
        },
        cause: Some(Cause {
            id: "endpoint-dependent-nats".into(),
            message: "the NATs between them cannot be punched: bob's shows every destination another port"
                .into(),
            advice: vec![
                "Forward UDP port 51821 in the router of bob, or turn on UPnP there.".into(),
                "IPv6.".into(),
            ],
        }),
        history: vec![
            Happening {
                reason: Some(reason("silent", "it stopped answering")),
                ..Happening::new("lost", 192)
            },
            Happening {
                times: 3,
                last_ago_s: 12,
                role: Some("opens".into()),
                via: Some("dora".into()),
                outcome: Some("no-answer".into()),
                ..Happening::new("attempt", 190)
            },
            Happening {
                endpoint: Some("203.0.113.77:40001".parse().unwrap()),
                endpoint_source: Some("heard".into()),
                role: Some("initiates".into()),
                outcome: Some("no-answer".into()),
                ..Happening::new("attempt", 188)
            },
            Happening { endpoint: Some("10.14.0.9:1".parse().unwrap()), ..Happening::new("refused", 100) },
            Happening {
                endpoint: Some("192.168.1.9:51821".parse().unwrap()),
                endpoint_source: Some("lan".into()),
                ..Happening::new("moved", 5)
            },
            Happening {
                endpoint: Some("192.168.1.9:51821".parse().unwrap()),
                ..Happening::new("lan-barred", 4)
            },
            Happening {
                reason: Some(reason("no-answer", "its WireGuard does not answer")),
                ..Happening::new("waiting", 2)
            },
            // Of a newer daemon.
            Happening { reason: Some(reason("so", "it says")), ..Happening::new("flown", 1) },
        ],
        asked: vec![
            Asked {
                who: "dora".into(),
                through: None,
                about: "peer".into(),
                answer: Some(Said {
                    state: Some(PeerState::Connected),
                    reason: None,
                    endpoint: Some("203.0.113.77:40009".parse().unwrap()),
                    since_s: 3600,
                }),
            },
            Asked {
                who: "eve".into(),
                through: None,
                about: "peer".into(),
                answer: Some(Said { state: None, reason: None, endpoint: None, since_s: 0 }),
            },
            Asked { who: "bob".into(), through: Some("dora".into()), about: "node".into(), answer: None },
        ],
        ..why
    }
}

/// That this is what a file beside this one says. `WGAUTOMESH_BLESS=1` writes it anew: read the difference before committing it.
fn expect(file: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/control/explain").join(file);
    if std::env::var_os("WGAUTOMESH_BLESS").is_some_and(|value| value == "1") {
        fs::write(&path, made).unwrap();
    }
    assert_eq!(
        made,
        fs::read_to_string(&path).unwrap(),
        "{file}: if this is meant, run again with WGAUTOMESH_BLESS=1"
    );
}

#[test]
fn the_texts_to_the_letter() {
    expect("connected.txt", &text(&connected()));
    expect("not_connected.txt", &text(&not_connected()));
}

#[test]
fn the_document_to_the_letter() {
    expect("not_connected.json", &(serde_json::to_string_pretty(&not_connected()).unwrap() + "\n"));
    for why in [connected(), not_connected()] {
        let line = why.to_json();
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(serde_json::from_str::<Why>(&line).unwrap(), why);
    }
}

/// Names and reasons come from elsewhere.
#[test]
fn the_text_obeys_no_terminal_codes() {
    let mut why = not_connected();
    why.peer.name = Some("\u{1b}[2Jx\n".into());
    why.cause.as_mut().unwrap().advice.push("\u{1b}[31m".into());
    why.cause.as_mut().unwrap().message.push('\u{7}');
    why.asked[0].who = "\r".into();
    why.history[0].what = "\u{1b}".into();
    assert!(!text(&why).contains(|c: char| c.is_control() && c != '\n'), "{}", text(&why));
}

#[test]
fn the_text_fits_a_terminal() {
    for why in [connected(), not_connected()] {
        for line in text(&why).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
