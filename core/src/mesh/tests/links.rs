//! Questions for all links: answered in parts, passed on once, bounded, and believed no more than need be.

extern crate std;

use core::net::SocketAddr;
use std::{vec, vec::Vec};

use super::{bench::Bench, key};
use crate::{
    CandidateKind, Duration, LinkState,
    limits::{LINKS_PER_SECOND, MAX_LINKS_TOLD},
    wire::{self, AskLinks, Kind, LinkEntry, LinksHead, Writer},
};

const TOKEN: [u8; 4] = [1, 2, 3, 4];

fn ask(asker: usize, to: usize, from: u16) -> AskLinks {
    AskLinks { token: TOKEN, asker: key(asker), to: key(to), from }
}

fn head(asker: usize, teller: usize) -> LinksHead {
    LinksHead { token: TOKEN, asker: key(asker), teller: key(teller), next: 0 }
}

fn entry(about: usize, state: LinkState, how: u8, rtt: u16) -> LinkEntry {
    LinkEntry { id: key(about).short().to_be_bytes(), state: state as u8, how, rtt }
}

fn write(writer: &mut Writer<'_>, head: &LinksHead, entries: &[LinkEntry]) -> bool {
    let start = writer.len();
    let written =
        writer.begin(Kind::TellLinks) && writer.append(head) && entries.iter().all(|e| writer.append(e));
    writer.end(start);
    written
}

/// The answers that were sent to a peer.
fn told<const N: usize>(bench: &Bench<N>, to: usize) -> Vec<(LinksHead, Vec<LinkEntry>)> {
    let frames = bench.sent_to(to).flat_map(|sent| &sent.frames).filter(|(kind, _)| *kind == Kind::TellLinks);
    let read = |body: &[u8]| {
        let mut body = body;
        let head = wire::take(&mut body).expect("a head").expect("well-formed");
        let entries = core::iter::from_fn(|| wire::take(&mut body));
        (head, entries.map(|entry| entry.expect("well-formed")).collect())
    };
    frames.map(|(_, body)| read(body)).collect()
}

/// Whom a question was sent to.
fn asked<const N: usize>(bench: &Bench<N>, to: usize) -> Vec<AskLinks> {
    bench.sent_to(to).filter_map(|sent| sent.first(Kind::AskLinks)).collect()
}

#[test]
fn says_of_each_peer_how_it_stands() {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    let lan = SocketAddr::from(([203, 0, 113, 2], 9));
    bench.mesh.peers.iter_mut().for_each(|(_, peer)| peer.link.rtt = Duration::from_micros(1_234));
    bench.tunnel.get_mut(&key(2)).expect("connected").reading.endpoint = Some(lan);
    bench.hear_one(1, Kind::AskLinks, &ask(1, 0, 0));
    let waiting = bench.reason(3).expect("it is not connected");
    let [(head_told, entries)] = &told(&bench, 1)[..] else { panic!("one answer") };
    assert_eq!(*head_told, head(1, 0));
    let (connected, how) = (LinkState::Connected, CandidateKind::Roamed as u8);
    let expected = [
        entry(1, connected, how, 13),
        entry(2, connected, how, 13),
        entry(3, bench.state(3), waiting as u8 + 1, 0),
    ];
    assert_eq!(entries[..], expected);
}

#[test]
fn a_large_mesh_is_told_in_parts() {
    let mut bench = Bench::<128>::connected(100, [1]);
    let mut parts = vec![];
    let mut from = 0;
    loop {
        bench.forget();
        bench.hear_one(1, Kind::AskLinks, &ask(1, 0, from));
        let [(head, entries)] = &told(&bench, 1)[..] else { panic!("one answer to each question") };
        parts.push(entries.len());
        from = head.next;
        if from == 0 {
            break;
        }
    }
    assert_eq!(parts, [MAX_LINKS_TOLD, 100 - MAX_LINKS_TOLD]);
    // Beyond the end there is nothing, and nothing after it.
    bench.forget();
    bench.hear_one(1, Kind::AskLinks, &ask(1, 0, u16::MAX));
    assert_eq!(told(&bench, 1), [(head(1, 0), vec![])]);
}

#[test]
fn a_mediator_passes_on_questions_of_the_asker_and_answers_of_the_teller() {
    let mut bench = Bench::<8>::connected(4, [1, 2, 3]);
    bench.hear_one(1, Kind::AskLinks, &ask(1, 2, 64));
    assert_eq!(asked(&bench, 2), [ask(1, 2, 64)]);
    // Not another's, nor to who is not connected, to a stranger, or back.
    bench.forget();
    bench.hear_one(3, Kind::AskLinks, &ask(1, 2, 0));
    bench.hear_one(1, Kind::AskLinks, &ask(1, 4, 0));
    bench.hear_one(1, Kind::AskLinks, &ask(1, 6, 0));
    bench.hear_one(1, Kind::AskLinks, &ask(1, 1, 0));
    assert!((1..=4).all(|n| asked(&bench, n).is_empty()));

    let answer = [entry(1, LinkState::Waiting, 3, 0), entry(0, LinkState::Connected, 1, 500)];
    bench.hear(2, |writer| write(writer, &head(1, 2), &answer));
    assert_eq!(told(&bench, 1), [(head(1, 2), answer.to_vec())], "as it was, strangers of ours included");
    bench.forget();
    bench.hear(3, |writer| write(writer, &head(1, 2), &answer));
    bench.hear(2, |writer| write(writer, &head(4, 2), &answer));
    bench.hear(2, |writer| write(writer, &head(6, 2), &answer));
    assert!((1..=4).all(|n| told(&bench, n).is_empty()));
}

/// The next one is asked for again, which costs less than room for many.
#[test]
fn one_answer_waits_at_a_time() {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    let answer = [entry(1, LinkState::Waiting, 3, 0)];
    bench.hear(2, |writer| write(writer, &head(1, 2), &answer) && write(writer, &head(1, 2), &[]));
    assert_eq!(told(&bench, 1), [(head(1, 2), answer.to_vec())]);
    // It is for nobody any more.
    bench.forget();
    let mut datagram = bench.datagram(|writer| write(writer, &head(1, 2), &answer));
    bench.mesh.handle_datagram(bench.now, super::mesh_address(2), &mut datagram);
    assert!(bench.mesh.remove_peer(bench.now, &key(1)));
    bench.poll();
    assert!(told(&bench, 1).is_empty());
}

#[test]
fn a_member_that_goes_on_asking_gets_so_much_a_second() {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    let most = usize::from(LINKS_PER_SECOND);
    for second in 0..3 {
        bench.forget();
        for _ in 0..2 * most {
            bench.hear_one(1, Kind::AskLinks, &ask(1, 0, 0));
            bench.hear_one(1, Kind::AskLinks, &ask(1, 2, 0));
            bench.hear(2, |writer| write(writer, &head(1, 2), &[]));
        }
        let (from_us, from_2): (Vec<_>, Vec<_>) =
            told(&bench, 1).into_iter().partition(|(head, _)| head.teller == key(0));
        assert_eq!(from_us.len() + asked(&bench, 2).len(), most, "questions in second {second}");
        assert_eq!(from_2.len(), most, "answers in second {second}");
        bench.advance(Duration::from_secs(1));
    }
    // Four wait for a poll; the rest is dropped.
    bench.forget();
    bench.hear(1, |writer| (0..10).all(|_| writer.frame(Kind::AskLinks, &ask(1, 0, 0))));
    assert_eq!(told(&bench, 1).len(), crate::limits::MAX_TELLS);
}

#[test]
fn what_is_cut_short_is_malformed() {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    let before = bench.mesh.counters().dropped_malformed;
    bench.hear(2, |writer| {
        let start = writer.len();
        let written = writer.begin(Kind::TellLinks) && writer.append(&head(1, 2)) && writer.append(&[0u8; 5]);
        writer.end(start);
        written
    });
    bench.hear(2, |writer| {
        let begun = writer.begin(Kind::TellLinks);
        writer.end(0);
        begun
    });
    assert_eq!(bench.mesh.counters().dropped_malformed, before + 2);
    assert!(told(&bench, 1).is_empty());
}

#[cfg(feature = "map")]
mod asking {
    use super::*;
    use crate::{AskError, Event, LinkTold, Reason, mesh::tests::net::Net};

    /// Asks peer `to`, and returns the token.
    fn begin(bench: &mut Bench<8>, to: usize) -> [u8; 4] {
        bench.mesh.expect_links(true);
        assert_eq!(bench.mesh.ask_links(&key(to), None, 0), Ok(()));
        bench.poll();
        bench.mesh.links.token
    }

    #[test]
    fn an_answer_comes_as_events() {
        let mut bench = Bench::<8>::connected(4, [1, 2]);
        let token = begin(&mut bench, 2);
        assert_eq!(asked(&bench, 2), [AskLinks { token, asker: key(0), to: key(2), from: 0 }]);
        let answer = [
            entry(0, LinkState::Connected, CandidateKind::Lan as u8, 7),
            entry(3, LinkState::Waiting, Reason::NoAnswer as u8 + 1, 0),
            // Of a later version, a stranger, in a state that nobody knows, and itself.
            entry(4, LinkState::Probing, 200, 1),
            entry(6, LinkState::Connected, 0, 1),
            LinkEntry { state: 200, ..entry(1, LinkState::Connected, 0, 1) },
            entry(2, LinkState::Connected, 0, 1),
        ];
        bench.forget();
        let head = LinksHead { token, next: 64, ..head(0, 2) };
        bench.hear(2, |writer| write(writer, &head, &answer));
        let link = |about, state| LinkTold {
            teller: key(2),
            about: key(about),
            state,
            kind: None,
            reason: None,
            rtt: None,
        };
        let rtt = |tenths: u64| Some(Duration::from_micros(100 * tenths));
        let expected = [
            Event::Link(LinkTold { rtt: rtt(1), ..link(4, LinkState::Probing) }),
            Event::Link(LinkTold { reason: Some(Reason::NoAnswer), ..link(3, LinkState::Waiting) }),
            Event::Link(LinkTold {
                kind: Some(CandidateKind::Lan),
                rtt: rtt(7),
                ..link(0, LinkState::Connected)
            }),
            Event::LinksTold { teller: key(2), next: Some(64) },
        ];
        assert_eq!(bench.events, expected);
    }

    #[test]
    fn only_what_was_asked_is_heard_and_of_the_peer_itself_where_that_is_connected() {
        let mut bench = Bench::<8>::connected(3, [1, 2]);
        let answer = [entry(1, LinkState::Connected, 0, 1)];
        let tell = |bench: &mut Bench<8>, from, teller, token| {
            bench.forget();
            let head = LinksHead { token, ..head(0, teller) };
            bench.hear(from, |writer| write(writer, &head, &answer));
            bench.events.len()
        };
        assert_eq!(tell(&mut bench, 2, 2, [0; 4]), 0, "nobody has asked");
        let token = begin(&mut bench, 3);
        assert_eq!(asked(&bench, 1).len() + asked(&bench, 2).len(), 1, "through one who is connected");
        assert_eq!(tell(&mut bench, 2, 2, TOKEN), 0, "another question");
        assert_eq!(tell(&mut bench, 1, 2, token), 0, "of another who is connected");
        assert_eq!(tell(&mut bench, 1, 3, token), 2, "of one who is not");
        assert_eq!(tell(&mut bench, 2, 2, token), 2);
        bench.mesh.expect_links(true);
        assert_eq!(tell(&mut bench, 2, 2, token), 0, "an old question");
        bench.mesh.expect_links(false);
        assert_eq!(tell(&mut bench, 2, 2, [0; 4]), 0, "nobody wants to know any more");
    }

    /// Who asks may know better than we who is connected to whom.
    #[test]
    fn a_mediator_can_be_named() {
        let mut bench = Bench::<8>::connected(5, [1, 2, 3]);
        bench.mesh.expect_links(true);
        for (to, via, expected) in [(5, 2, 2), (5, 3, 3), (1, 3, 1), (5, 4, 1), (5, 6, 1), (5, 5, 1)] {
            bench.forget();
            assert_eq!(bench.mesh.ask_links(&key(to), Some(&key(via)), 0), Ok(()));
            bench.poll();
            let through: Vec<_> = (1..6).filter(|n| !asked(&bench, *n).is_empty()).collect();
            assert_eq!(through, [expected], "{to} via {via}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_said() {
        let mut bench = Bench::<8>::connected(3, []);
        bench.mesh.expect_links(true);
        bench.mesh.add_peer(bench.now, key(0), super::super::mesh_address(0)).expect("room");
        for n in [0, 6] {
            assert_eq!(bench.mesh.ask_links(&key(n), None, 0), Err(AskError::UnknownPeer));
        }
        assert_eq!(bench.mesh.ask_links(&key(1), None, 0), Err(AskError::NotConnected));
        bench.connect(1);
        let asked: Vec<_> = (0..6).map(|_| bench.mesh.ask_links(&key(1), None, 0).is_ok()).collect();
        assert_eq!(asked, [true, true, true, true, false, false]);
        bench.poll();
        assert_eq!(bench.mesh.ask_links(&key(1), None, 0), Ok(()));
    }

    /// One node of five asks all others, and knows every pair from both of its sides.
    #[test]
    fn a_node_learns_of_all_pairs() {
        let mut net = Net::new(&[false, true, true, true, true]);
        net.run(Duration::from_secs(2));
        net.nodes[3].events.clear();
        net.nodes[3].mesh.expect_links(true);
        for n in [0, 1, 2, 4] {
            assert_eq!(net.nodes[3].mesh.ask_links(&key(n), None, 0), Ok(()));
        }
        net.poll(3);
        net.run(Duration::from_millis(100));
        let connected = |teller, about| {
            net.nodes[3].events.iter().any(|event| match event {
                Event::Link(link) => {
                    (link.teller, link.about, link.state) == (key(teller), key(about), LinkState::Connected)
                }
                _ => false,
            })
        };
        for teller in [0, 1, 2, 4] {
            assert!((0..5).all(|about| about == teller || connected(teller, about)), "{teller}");
        }
        let ends = net.nodes[3].events.iter().filter(|e| matches!(e, Event::LinksTold { next: None, .. }));
        assert_eq!(ends.count(), 4);
    }
}
