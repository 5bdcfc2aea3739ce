//! What comes in: every bad datagram is counted where it belongs, changes nothing and gets no answer.

extern crate std;

use std::{vec, vec::Vec};

use proptest::{collection, prelude::*, sample::Index};

use super::{SECRET, bench::Bench, key, mesh_address};
use crate::{
    Counters, Duration, Event, LinkState, Reason, SharedKey,
    limits::{BUCKETS, MAX_DATAGRAM, ORIGINAL_PAUSE, PACKETS_BURST},
    seal::{HEADER, VERSION},
    testing::{any_claim, any_endpoint, any_order, cases},
    wire::{
        Ask, AskLinks, Entry, Hello, Intro, IntroNack, IntroReq, Kind, LinkEntry, LinksHead, SummaryEntry,
        SummaryHead, Tell, Writer,
    },
};

/// Everything of an engine that a bad datagram could change, apart from counters of received bytes.
fn outside(bench: &Bench<8>) -> impl PartialEq + core::fmt::Debug + use<> {
    let peers: Vec<_> = bench.mesh.peers().collect();
    (peers, bench.mesh.node(), bench.mesh.counters().sent, bench.mesh.counters().received)
}

type Counter = fn(&Counters) -> u32;

const LENGTH: Counter = |c| c.dropped_length;
const VERSION_: Counter = |c| c.dropped_version;
const SECRET_: Counter = |c| c.dropped_secret;
const SEAL: Counter = |c| c.dropped_seal;
const MALFORMED: Counter = |c| c.dropped_malformed;
const STRANGER: Counter = |c| c.dropped_stranger;
const RATE: Counter = |c| c.dropped_rate;

/// A datagram from `from` is dropped for that reason and no other, and nothing else happens.
#[track_caller]
fn dropped(bench: &mut Bench<8>, from: core::net::IpAddr, datagram: &[u8], counter: Counter) {
    let (state, before) = (outside(bench), *bench.mesh.counters());
    bench.mesh.handle_datagram(bench.now, from, &mut datagram.to_vec());
    bench.poll();
    let after = bench.mesh.counters();
    assert_eq!((counter(after), after.dropped()), (counter(&before) + 1, before.dropped() + 1));
    assert_eq!(outside(bench), state);
    assert!(bench.sent.is_empty() && bench.actions.is_empty() && bench.events.is_empty());
}

#[test]
fn bad_datagrams_are_counted_by_what_is_wrong() {
    let mut bench = Bench::<8>::connected(2, [1]);
    let from = mesh_address(1);
    let hello = bench.hello();
    let good = bench.datagram(|writer| writer.frame(Kind::Hello, &hello));

    for length in [0, 1, 2, HEADER - 1, MAX_DATAGRAM + 1] {
        dropped(&mut bench, from, &vec![VERSION; length], LENGTH);
    }
    for length in [HEADER, good.len() - 1] {
        dropped(&mut bench, from, &good[..length], SEAL);
    }
    for version in [0, 2, u8::MAX] {
        let mut other = good.clone();
        other[0] = version;
        dropped(&mut bench, from, &other, VERSION_);
    }
    for at in 1..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 1 << (at % 8);
        dropped(&mut bench, from, &flipped, if at == 1 { SECRET_ } else { SEAL });
        bench.advance(Duration::from_millis(10));
        bench.forget();
    }
    let ours = core::mem::replace(&mut bench.secrets, vec![SharedKey::derive(b"another")]);
    let foreign = bench.datagram(|writer| writer.frame(Kind::Hello, &hello));
    bench.secrets = ours;
    dropped(&mut bench, from, &foreign, SECRET_);
    let mut forged = foreign;
    forged[1] = good[1];
    dropped(&mut bench, from, &forged, SEAL);
}

#[test]
fn a_datagram_from_nobody_is_not_even_opened() {
    let mut bench = Bench::<8>::connected(3, [1]);
    bench.mesh.add_peer(bench.now, key(0), mesh_address(0)).expect("room for ourselves");
    bench.tunnel.get_mut(&key(3)).expect("added").allowed_ips.clear();
    bench.read();
    let hello = bench.hello();
    let good = bench.datagram(|writer| writer.frame(Kind::Hello, &hello));
    // WireGuard does not vouch for the address of node 3 any more; the action that mends it is not awaited.
    for from in [mesh_address(99), mesh_address(0), mesh_address(3), "::1".parse().expect("an address")] {
        let before = bench.mesh.counters().dropped_stranger;
        bench.mesh.handle_datagram(bench.now, from, &mut good.clone());
        assert_eq!(STRANGER(bench.mesh.counters()), before + 1, "{from}");
    }
    assert_eq!(bench.mesh.counters().dropped(), 4);
}

#[test]
fn malformed_frames_are_counted() {
    let mut bench = Bench::<8>::connected(2, [1]);
    let from = mesh_address(1);
    let frames: [&[u8]; 7] = [
        &[1],
        &[1, 0],
        // A Hello of no bytes, a body longer than the datagram, a record cut short.
        &[1, 0, 0],
        &[12, 1, 0],
        &[3, 2, 0, 9, 9],
        // Too few digests, and a summary of nothing.
        &[4, 1, 0, 0],
        &[5, 0, 0],
    ];
    for bytes in frames {
        let datagram = bench.datagram(|writer| bytes.iter().all(|byte| writer.append(byte)));
        dropped(&mut bench, from, &datagram, MALFORMED);
    }
}

#[test]
fn what_later_versions_add_is_skipped() {
    let mut bench = Bench::<8>::connected(2, [1]);
    let hello = bench.hello();
    bench.hear(1, |writer| {
        let unknown = writer.append(&[200u8, 2, 0, 7, 7]);
        let start = writer.len();
        let longer = writer.begin(Kind::Hello) && writer.append(&hello) && writer.append(&[1u8, 2, 3]);
        writer.end(start);
        unknown && longer
    });
    assert_eq!(bench.mesh.counters().skipped_frames, 1);
    assert_eq!(bench.mesh.counters().dropped(), 0);
    let answer: Hello = bench.sent[0].first(Kind::HelloAck).expect("the Hello is answered");
    assert_eq!(answer.echo, hello.token);
}

#[test]
fn a_flood_is_dropped_before_it_is_opened_and_only_its_sender_suffers() {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    // What connecting took is refilled.
    bench.advance(Duration::from_secs(2));
    bench.forget();
    let datagram = bench.datagram(|writer| writer.frame(Kind::Ask, &[0u8; 3]));
    for _ in 0..PACKETS_BURST {
        bench.mesh.handle_datagram(bench.now, mesh_address(1), &mut datagram.clone());
    }
    assert_eq!(RATE(bench.mesh.counters()), 0);
    dropped(&mut bench, mesh_address(1), &datagram, RATE);
    dropped(&mut bench, mesh_address(2), &datagram, MALFORMED);
    bench.advance(Duration::from_millis(500));
    bench.forget();
    for _ in 0..PACKETS_BURST / 2 {
        bench.mesh.handle_datagram(bench.now, mesh_address(1), &mut datagram.clone());
    }
    assert_eq!(RATE(bench.mesh.counters()), 1, "half is refilled in half a second");
    dropped(&mut bench, mesh_address(1), &datagram, RATE);
}

/// Any program on a peer's host can send garbage through the tunnel: it must not use up what the peer itself may send.
#[test]
fn garbage_does_not_crowd_out_the_peer_that_it_comes_from() {
    let mut bench = Bench::<8>::connected(2, [1]);
    let hello = Hello { token: [7; 4], ..bench.hello() };
    for round in 0..10_000u32 {
        let mut garbage = [0; 200];
        garbage[..4].copy_from_slice(&(round | 1 << 9).to_le_bytes());
        garbage[0] = 2 + (round % 250) as u8;
        bench.mesh.handle_datagram(bench.now, mesh_address(1), &mut garbage);
    }
    assert_eq!(RATE(bench.mesh.counters()), 0);
    bench.forget();
    bench.hear_one(1, Kind::Hello, &hello);
    assert!(bench.sent_to(1).any(|sent| sent.has(Kind::HelloAck)), "the peer itself is heard");
}

/// As the original seals them: nonce | secretbox of bincode, here its first message.
fn of_the_original() -> Vec<u8> {
    use crypto_secretbox::{
        Key, Nonce, XSalsa20Poly1305,
        aead::{AeadInPlace, KeyInit},
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"wgautomesh: ").update(SECRET);
    let cipher = XSalsa20Poly1305::new(Key::from_slice(hasher.finalize().as_bytes()));
    let mut text = [0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5];
    let tag = cipher.encrypt_in_place_detached(Nonce::from_slice(&[3; 24]), b"", &mut text).expect("short");
    [&[3; 24][..], &tag, &text].concat()
}

#[test]
fn a_peer_that_speaks_the_originals_protocol_is_left_alone_for_ten_minutes() {
    let mut bench = Bench::<8>::connected(2, [1]);
    bench.mesh.handle_datagram(bench.now, mesh_address(2), &mut of_the_original());
    bench.poll();
    assert_eq!(bench.reason(2), Some(Reason::OriginalProtocol));
    assert_eq!(bench.state(2), LinkState::Mute);
    let began = bench.now;
    // Not even when somebody wants something of it.
    bench.hear_one(1, Kind::IntroReq, &IntroReq { target: key(2), round: 1, flags: 0 });
    bench.hear_one(1, Kind::Ask, &Ask { token: [1; 4], asker: key(1), to: key(2), about: key(1) });
    bench.advance(ORIGINAL_PAUSE - Duration::from_secs(1));
    assert_eq!(bench.sent_to(2).count(), 0);
    assert!(bench.has_event(|e| *e == Event::Waiting { key: key(2), reason: Reason::OriginalProtocol }));
    assert!(!bench.actions.iter().any(|(k, _)| *k == key(2)), "its session is well: {:?}", bench.actions);
    // By then it may have been replaced by one of ours.
    bench.advance(Duration::from_secs(400));
    let first = bench.sent_to(2).next().expect("it is tried again");
    assert!(first.at >= began + ORIGINAL_PAUSE && first.has(Kind::Hello));
}

/// Its WireGuard has answered; what it says cannot be read.
#[test]
fn a_peer_with_another_secret_is_told_from_one_without_a_daemon() {
    let mut bench = Bench::<8>::connected(2, [1]);
    bench.secrets.push(SharedKey::derive(b"another"));
    bench.seals_with = 1;
    let hello = bench.hello();
    let foreign = bench.datagram(|writer| writer.frame(Kind::Hello, &hello));
    let mut forged = foreign.clone();
    bench.seals_with = 0;
    forged[1] = bench.datagram(|writer| writer.frame(Kind::Hello, &hello))[1];
    for datagram in [foreign, forged] {
        let mut bench = Bench::<8>::connected(2, [1]);
        let said = |bench: &mut Bench<8>, from| {
            bench.mesh.handle_datagram(bench.now, mesh_address(from), &mut datagram.clone());
            bench.poll();
            bench.reason(from)
        };
        // Any program on a peer's host can send it: a peer that answers is well.
        assert_eq!((said(&mut bench, 1), bench.state(1)), (None, LinkState::Connected));
        assert_eq!(said(&mut bench, 2), Some(Reason::OtherSecret));
        // It is tried again as anybody else, and nothing else is said meanwhile.
        bench.tunnel.get_mut(&key(2)).expect("added").reading.last_handshake = 5;
        bench.read();
        bench.advance(Duration::from_secs(5));
        assert_eq!(bench.reason(2), Some(Reason::OtherSecret));
        assert!(bench.has_event(|e| *e == Event::Waiting { key: key(2), reason: Reason::OtherSecret }));
        assert!(!bench.has_event(|e| *e == Event::Waiting { key: key(2), reason: Reason::NoGossip }));
        bench.connect(2);
        assert_eq!(bench.reason(2), None);
    }
}

#[test]
fn a_peer_that_changed_over_to_our_protocol_is_answered_at_once() {
    let mut bench = Bench::<8>::connected(2, [1]);
    bench.mesh.handle_datagram(bench.now, mesh_address(2), &mut of_the_original());
    bench.poll();
    bench.advance(Duration::from_secs(5));
    assert_eq!(bench.sent_to(2).count(), 0);
    bench.connect(2);
}

// ---- whatever a member may send

/// That of the questions for all links which the bench has asked.
const OUR_TOKEN: [u8; 4] = [7; 4];

/// One frame of a member who wants to do harm, or of a later version.
#[derive(Debug, Clone)]
enum Frame {
    Raw(u8, Vec<u8>),
    Hello(Kind, Hello),
    Rumor(Vec<Entry>),
    Buckets(Vec<u64>),
    Summary(SummaryHead, Vec<SummaryEntry>),
    Pull(Vec<[u8; 8]>),
    IntroReq(IntroReq),
    Intro(Intro),
    IntroNack(IntroNack),
    Ask(Ask),
    Tell(Tell),
    AskLinks(AskLinks),
    TellLinks(LinksHead, Vec<LinkEntry>),
    Bye,
}

impl Frame {
    /// Whether it fitted.
    fn write(&self, writer: &mut Writer<'_>) -> bool {
        let start = writer.len();
        let many = |writer: &mut Writer<'_>, kind, write: &dyn Fn(&mut Writer<'_>) -> bool| {
            let written = writer.begin(kind) && write(writer);
            if written {
                writer.end(start);
            } else {
                writer.truncate(start);
            }
            written
        };
        match self {
            Self::Raw(kind, body) => {
                let len = (body.len() as u16).to_le_bytes();
                let written =
                    writer.append(&[*kind, len[0], len[1]]) && body.iter().all(|b| writer.append(b));
                if !written {
                    writer.truncate(start);
                }
                written
            }
            Self::Hello(kind, hello) => writer.frame(*kind, hello),
            Self::Rumor(all) => many(writer, Kind::Rumor, &|w| all.iter().all(|e| w.append_sized(e))),
            Self::Buckets(all) => {
                many(writer, Kind::Buckets, &|w| all.iter().all(|digest| w.append(&digest.to_le_bytes())))
            }
            Self::Summary(head, all) => {
                many(writer, Kind::Summary, &|w| w.append(head) && all.iter().all(|e| w.append(e)))
            }
            Self::Pull(all) => many(writer, Kind::Pull, &|w| all.iter().all(|id| w.append(id))),
            Self::IntroReq(message) => writer.frame(Kind::IntroReq, message),
            Self::Intro(message) => writer.frame(Kind::Intro, message),
            Self::IntroNack(message) => writer.frame(Kind::IntroNack, message),
            Self::Ask(message) => writer.frame(Kind::Ask, message),
            Self::Tell(message) => writer.frame(Kind::Tell, message),
            Self::AskLinks(message) => writer.frame(Kind::AskLinks, message),
            Self::TellLinks(head, all) => {
                many(writer, Kind::TellLinks, &|w| w.append(head) && all.iter().all(|e| w.append(e)))
            }
            Self::Bye => writer.frame(Kind::Bye, &()),
        }
    }
}

/// Keys around the bench: ourselves, five peers of whom three are connected, and a stranger.
fn some_key() -> impl Strategy<Value = crate::PublicKey> {
    (0usize..7).prop_map(key)
}

fn token() -> impl Strategy<Value = [u8; 4]> {
    prop_oneof![Just([0; 4]), Just(OUR_TOKEN), any::<[u8; 4]>()]
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let seen = || proptest::option::of(any_endpoint());
    let id = || some_key().prop_map(|key| key.short().to_be_bytes());
    prop_oneof![
        (any::<u8>(), collection::vec(any::<u8>(), 0..60)).prop_map(|(kind, body)| Frame::Raw(kind, body)),
        (any::<bool>(), token(), token(), any::<[u8; 8]>(), any_order(), seen(), any::<[u8; 2]>()).prop_map(
            |(ack, token, echo, digest, holds, seen, [hint, flags])| Frame::Hello(
                if ack { Kind::HelloAck } else { Kind::Hello },
                Hello { token, echo, digest, holds, seen, hint, flags }
            )
        ),
        collection::vec(
            (some_key(), any::<u16>(), any_claim()).prop_map(|(id, age, claim)| Entry { id, age, claim }),
            0..4
        )
        .prop_map(Frame::Rumor),
        collection::vec(any::<u64>(), BUCKETS - 1..BUCKETS + 2).prop_map(Frame::Buckets),
        (
            any::<u8>(),
            any::<bool>(),
            collection::vec(
                (id(), any_order(), any::<[u8; 2]>()).prop_map(|(id, order, check)| SummaryEntry {
                    id,
                    order,
                    check
                }),
                0..9
            )
        )
            .prop_map(|(bucket, complete, all)| Frame::Summary(SummaryHead { bucket, complete }, all)),
        collection::vec(id(), 0..9).prop_map(Frame::Pull),
        (some_key(), any::<u8>(), any::<u8>()).prop_map(|(target, round, flags)| Frame::IntroReq(IntroReq {
            target,
            round,
            flags
        })),
        (token(), any::<u8>(), 0u8..4, any::<u16>(), any::<u16>(), some_key(), seen()).prop_map(
            |(attempt, round, role, wait_ms, rtt_ms, about, seen)| Frame::Intro(Intro {
                attempt,
                round,
                role,
                wait_ms,
                rtt_ms,
                about,
                seen,
                flags: round & 1,
            })
        ),
        (some_key(), 0u8..4, any::<u16>())
            .prop_map(|(target, reason, retry_ms)| Frame::IntroNack(IntroNack { target, reason, retry_ms })),
        (token(), some_key(), some_key(), some_key()).prop_map(|(token, asker, to, about)| Frame::Ask(Ask {
            token,
            asker,
            to,
            about
        })),
        (token(), some_key(), some_key(), some_key(), any::<[u8; 2]>(), seen(), any::<u32>()).prop_map(
            |(token, asker, teller, about, [state, reason], endpoint, since_s)| Frame::Tell(Tell {
                token,
                asker,
                teller,
                about,
                state: state % 8,
                reason,
                endpoint,
                since_s
            })
        ),
        (token(), some_key(), some_key(), any::<u16>()).prop_map(|(token, asker, to, from)| Frame::AskLinks(
            AskLinks { token, asker, to, from: from % 9 }
        )),
        (
            (token(), some_key(), some_key(), any::<u16>()),
            collection::vec((id(), 0u8..6, any::<u8>(), any::<u16>()), 0..80)
        )
            .prop_map(|((token, asker, teller, next), all)| {
                let entry = |(id, state, how, rtt)| LinkEntry { id, state, how: how % 24, rtt };
                let all = all.into_iter().map(entry).collect();
                Frame::TellLinks(LinksHead { token, asker, teller, next }, all)
            }),
        Just(Frame::Bye),
    ]
}

/// What must hold whatever came: the digest is that of the records held, and only configured nodes have any.
fn check_state(bench: &Bench<8>) -> Result<(), TestCaseError> {
    let held = bench.mesh.peers.iter().filter(|(_, p)| !p.us).fold(0, |digest, (_, p)| digest ^ p.held.hash);
    prop_assert_eq!(bench.mesh.gossip.digest, held ^ bench.mesh.own.hash);
    for (_, peer) in bench.mesh.peers.iter() {
        prop_assert_eq!(peer.held.claim.is_some(), peer.held.hash != 0);
    }
    prop_assert_eq!(bench.mesh.peers().count(), 5);
    Ok(())
}

proptest! {
    #![proptest_config(cases(2000))]

    /// No panic, a bounded number of outputs after each input (the bench counts), no endless calling, and a sound state.
    #[test]
    fn whatever_a_member_sends_is_survived(
        inputs in collection::vec((1usize..6, collection::vec(any_frame(), 1..6), 0u64..3000), 1..12),
    ) {
        let mut bench = Bench::<8>::connected(5, [1, 2, 3]);
        bench.mesh.links.token = OUR_TOKEN;
        for (from, frames, pause) in inputs {
            bench.hear(from, |writer| frames.iter().filter(|frame| frame.write(writer)).count() < usize::MAX);
            check_state(&bench)?;
            for sent in &bench.sent {
                let to = (1..=5).find(|n| mesh_address(*n) == sent.to);
                prop_assert!(to.is_some(), "to {}, whom nobody has configured", sent.to);
            }
            bench.forget();
            bench.advance(Duration::from_millis(pause));
            check_state(&bench)?;
        }
    }

    /// The same with bytes that are hardly ever frames.
    #[test]
    fn raw_bytes_under_the_right_key_are_survived(
        inputs in collection::vec((1usize..6, collection::vec(any::<u8>(), 0..MAX_DATAGRAM - HEADER)), 1..8),
        cut: Index,
    ) {
        let mut bench = Bench::<8>::connected(5, [1, 2, 3]);
        for (from, bytes) in &inputs {
            bench.hear(*from, |writer| bytes.iter().all(|byte| writer.append(byte)));
            check_state(&bench)?;
        }
        // And a sound one, cut anywhere, from somebody who is about to be removed.
        let hello = bench.hello();
        let datagram = bench.datagram(|writer| writer.frame(Kind::Hello, &hello));
        let cut = cut.index(datagram.len());
        bench.mesh.handle_datagram(bench.now, mesh_address(1), &mut datagram[..cut].to_vec());
        prop_assert!(bench.mesh.remove_peer(bench.now, &key(1)));
        bench.poll();
        bench.advance(Duration::from_secs(60));
        prop_assert_eq!(bench.mesh.peers().count(), 4);
    }
}
