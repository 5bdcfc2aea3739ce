//! Knocks, from both sides: whoever replays, forges or floods gains nothing, and who is really there is called.

extern crate std;

use core::net::{IpAddr, SocketAddr};
use std::{vec, vec::Vec};

use super::{
    bench::{Bench, intro},
    key,
};
use crate::{
    Duration, Instant, LinkState, OPENER_MAGIC, PeerAction, PublicKey,
    limits::{
        CALL_BACK, CALL_BACKS_PER_SECOND, FIRE_PATIENCE_MIN, KNOCK_LEAD, KNOCK_WINDOW, LATE_STEPS, LATEST,
    },
    peer::{NOBODY, Phase, Wanted},
    seal,
    testing::{Counting, at},
    wire::{self, Kind, Opener, Reader, Role},
};

/// The number of a knock.
const NUMBER: [u8; 4] = [5, 6, 7, 8];
/// Where node 2 knocks from.
const THERE: &str = "203.0.113.200:4321";

/// Nodes 1 and 2 are connected, and we are at a public address.
fn called() -> Bench<4> {
    let mut bench = Bench::connected(2, [1, 2]);
    bench.mesh.allow_openers(bench.now, true);
    bench.advance(Duration::from_secs(1));
    bench.forget();
    bench
}

fn there() -> SocketAddr {
    at(THERE).into()
}

fn opener(bench: &Bench<4>, n: usize, attempt: [u8; 4], echo: [u8; 4]) -> Vec<u8> {
    let from = key(n).short().to_be_bytes();
    let sealed = bench.datagram(|writer| writer.frame(Kind::Opener, &Opener { attempt, from, echo }));
    [&OPENER_MAGIC[..], &sealed].concat()
}

fn hear(bench: &mut Bench<4>, from: SocketAddr, opener: &[u8]) {
    bench.mesh.handle_opener(bench.now, from, &mut opener.to_vec());
    bench.poll();
}

/// Node 2 knocks.
fn knock(bench: &mut Bench<4>, from: SocketAddr) {
    let knock = opener(bench, 2, NUMBER, [0; 4]);
    hear(bench, from, &knock);
}

/// The openers that were put out, as (where to, length, what it says); they are taken off the bench.
fn take_openers(bench: &mut Bench<4>) -> Vec<(SocketAddr, usize, Opener)> {
    bench.opened_from.clear();
    let sent = core::mem::take(&mut bench.openers);
    let read = |bytes: &[u8]| {
        let mut sealed = bytes.strip_prefix(&OPENER_MAGIC).expect("an opener").to_vec();
        let (frames, _) = seal::open(&bench.secrets, &mut sealed).expect("sealed with our secret");
        match Reader::new(frames).next() {
            Some(Ok((Some(Kind::Opener), body))) => wire::decode(body).expect("well-formed"),
            other => panic!("{other:?}"),
        }
    };
    sent.iter().map(|(to, _, bytes)| (*to, bytes.len(), read(bytes))).collect()
}

/// Node 2 knocks and is answered: the opener by which it proves that it is there.
fn echo(bench: &mut Bench<4>) -> Vec<u8> {
    knock(bench, there());
    let answers = take_openers(bench);
    let [(_, _, answer)] = &answers[..] else { panic!("{answers:?}") };
    opener(bench, 2, NUMBER, answer.attempt)
}

/// Asserts that nothing came of what was heard, neither at once nor for some time.
#[track_caller]
fn expect_nothing(bench: &mut Bench<4>) {
    let place = bench.mesh.peers.find(&key(2)).expect("a peer of ours");
    let link = bench.mesh.peers.get(place).expect("the same").link;
    assert_eq!((link.phase, link.via, link.wanted), (Phase::Live, NOBODY, Wanted::Nothing));
    assert_eq!(link.target, Some(bench.endpoint_of(2).into()));
    // A question would leave at once; what leaves later is what always does.
    assert!(bench.sent.is_empty(), "{:?}", bench.sent[0].frames);
    bench.advance(Duration::from_secs(2));
    assert_eq!(take_openers(bench), []);
    assert!(bench.actions.is_empty() && bench.events.is_empty(), "{:?} {:?}", bench.actions, bench.events);
    bench.forget();
}

/// Where WireGuard was pointed anew for node 2.
fn fired(bench: &Bench<4>) -> Vec<Option<SocketAddr>> {
    let endpoint = |(to, action): &(PublicKey, PeerAction)| match action {
        PeerAction::Readd { endpoint } if *to == key(2) => Some(*endpoint),
        _ => None,
    };
    bench.actions.iter().filter_map(endpoint).collect()
}

/// Node 2 says goodbye; its WireGuard goes on.
fn leave(bench: &mut Bench<4>) {
    bench.answering = vec![1];
    bench.hear_bye(2);
    bench.advance(Duration::from_secs(20));
    assert_eq!(bench.state(2), LinkState::Mute);
    bench.forget();
}

#[test]
fn a_knock_is_answered_once_and_nothing_else_comes_of_it() {
    let mut bench = called();
    let knock = opener(&bench, 2, NUMBER, [0; 4]);
    hear(&mut bench, there(), &knock);
    let answers = take_openers(&mut bench);
    let [(to, len, answer)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((*to, *len), (there(), knock.len()), "it is no amplifier");
    assert_eq!((answer.echo, answer.from), (NUMBER, key(0).short().to_be_bytes()));
    assert!(answer.attempt != NUMBER && answer.attempt != [0; 4]);
    expect_nothing(&mut bench);
    assert_eq!(bench.state(2), LinkState::Connected);
}

/// The same number for the same peer in the same stretch of time, so that nothing is kept; not for another one.
#[test]
fn each_peer_is_to_echo_a_number_of_its_own() {
    let mut bench = called();
    let mut numbers = Vec::new();
    for n in [2, 2, 1] {
        let knock = opener(&bench, n, NUMBER, [0; 4]);
        hear(&mut bench, there(), &knock);
        numbers.push(take_openers(&mut bench)[0].2.attempt);
    }
    assert_eq!(numbers[0], numbers[1]);
    assert_ne!(numbers[0], numbers[2]);
    let of_another = opener(&bench, 2, NUMBER, numbers[2]);
    hear(&mut bench, there(), &of_another);
    expect_nothing(&mut bench);
}

#[test]
fn who_is_not_configured_or_has_not_the_secret_knocks_in_vain() {
    let mut bench = called();
    let stranger = opener(&bench, 9, NUMBER, [0; 4]);
    let ourselves = opener(&bench, 0, NUMBER, [0; 4]);
    let mut damaged = opener(&bench, 2, NUMBER, [0; 4]);
    damaged[50] ^= 1;
    for wrong in [stranger, ourselves, damaged] {
        hear(&mut bench, there(), &wrong);
        expect_nothing(&mut bench);
    }
}

#[test]
fn what_somebody_has_recorded_is_of_no_use_later() {
    let mut bench = called();
    let knock = opener(&bench, 2, NUMBER, [0; 4]);
    hear(&mut bench, there(), &knock);
    let number = take_openers(&mut bench)[0].2.attempt;
    let echo = opener(&bench, 2, NUMBER, number);
    bench.advance(KNOCK_WINDOW * 2);
    bench.forget();
    hear(&mut bench, there(), &echo);
    expect_nothing(&mut bench);
    // The knock gets an answer, as any: with a number that is not on the record.
    hear(&mut bench, there(), &knock);
    let answers = take_openers(&mut bench);
    assert_eq!(answers.len(), 1);
    assert_ne!(answers[0].2.attempt, number);
    expect_nothing(&mut bench);
}

#[test]
fn an_echo_is_good_for_a_while_and_not_for_long() {
    let window = KNOCK_WINDOW.as_secs();
    for (after, good) in [(0, true), (2 * window - 1, true), (2 * window, false)] {
        let mut bench = called();
        // From the beginning of a window.
        let begin = Instant::from_secs((bench.now.as_secs() / window + 1) * window);
        bench.advance(begin - bench.now);
        let echo = echo(&mut bench);
        bench.advance(Duration::from_secs(after));
        bench.forget();
        hear(&mut bench, there(), &echo);
        assert_eq!(bench.sent_to(2).any(|sent| sent.has(Kind::Hello)), good, "after {after} s");
    }
}

#[test]
fn a_forged_echo_does_nothing() {
    let mut bench = called();
    knock(&mut bench, there());
    let number = take_openers(&mut bench)[0].2.attempt;
    for bit in 0..32 {
        let mut forged = number;
        forged[bit / 8] ^= 1 << (bit % 8);
        let forged = opener(&bench, 2, NUMBER, forged);
        hear(&mut bench, there(), &forged);
        assert_eq!(take_openers(&mut bench), []);
    }
    // Not even ours, back at us.
    let mirrored = opener(&bench, 0, NUMBER, number);
    hear(&mut bench, there(), &mirrored);
    expect_nothing(&mut bench);
}

#[test]
fn so_many_knocks_are_answered_in_a_second_and_no_more() {
    let mut bench = called();
    let begin = Instant::from_secs(bench.now.as_secs() + 1);
    bench.advance(begin - bench.now);
    bench.forget();
    for _ in 0..2 {
        for i in 0..4 * u16::from(CALL_BACKS_PER_SECOND) {
            // From anywhere: it is what we send in all that is bounded.
            knock(&mut bench, SocketAddr::new(IpAddr::from([203, 0, 113, 200]), 1000 + i));
        }
        assert_eq!(take_openers(&mut bench).len(), usize::from(CALL_BACKS_PER_SECOND));
        bench.advance(Duration::from_secs(1));
    }
}

#[test]
fn a_knock_from_where_no_peer_can_be_is_not_answered() {
    let mut bench = called();
    // A peer's mesh address, our own WireGuard, and this machine.
    for never in ["10.0.0.2:51820", "198.51.100.1:51820", "127.0.0.1:51820"] {
        knock(&mut bench, never.parse().expect("an endpoint"));
        expect_nothing(&mut bench);
    }
    let echo = echo(&mut bench);
    for never in ["10.0.0.2:51820", "198.51.100.1:51820", "127.0.0.1:51820"] {
        hear(&mut bench, never.parse().expect("an endpoint"), &echo);
        expect_nothing(&mut bench);
    }
}

#[test]
fn a_live_session_that_answers_stays() {
    let mut bench = called();
    let echo = echo(&mut bench);
    // As often as it likes.
    for _ in 0..5 {
        bench.forget();
        hear(&mut bench, there(), &echo);
        assert!(bench.sent_to(2).any(|sent| sent.has(Kind::Hello)), "it is asked through its session");
        bench.advance(Duration::from_millis(500));
        assert_eq!((fired(&bench), bench.state(2)), (vec![], LinkState::Connected));
        assert!(bench.actions.is_empty() && bench.events.is_empty(), "{:?}", bench.actions);
    }
    bench.advance(Duration::from_secs(5));
    assert!(bench.actions.is_empty(), "{:?}", bench.actions);
}

#[test]
fn a_live_session_that_does_not_answer_is_made_anew_where_the_knock_came_from() {
    let mut bench = called();
    let echo = echo(&mut bench);
    bench.answering = vec![1];
    bench.forget();
    hear(&mut bench, there(), &echo);
    assert!(bench.actions.is_empty(), "it is asked first: {:?}", bench.actions);
    bench.advance(Duration::from_millis(300));
    assert_eq!(fired(&bench), []);
    // Until then the other side waits for it.
    bench.advance(CALL_BACK - Duration::from_millis(500));
    assert_eq!(fired(&bench).first(), Some(&Some(there())));
    assert_ne!(bench.state(2), LinkState::Connected);
}

#[test]
fn a_mute_session_that_answers_stays() {
    let mut bench = called();
    leave(&mut bench);
    let echo = echo(&mut bench);
    bench.answering = vec![1, 2];
    bench.forget();
    hear(&mut bench, there(), &echo);
    assert!(bench.sent_to(2).any(|sent| sent.has(Kind::Hello)));
    bench.advance(Duration::from_secs(2));
    assert_eq!((fired(&bench), bench.state(2)), (vec![], LinkState::Connected));
}

#[test]
fn a_mute_session_that_does_not_answer_is_made_anew_where_the_knock_came_from() {
    let mut bench = called();
    leave(&mut bench);
    let echo = echo(&mut bench);
    bench.forget();
    hear(&mut bench, there(), &echo);
    assert_eq!(fired(&bench), []);
    bench.advance(CALL_BACK - Duration::from_millis(200));
    assert_eq!(fired(&bench).first(), Some(&Some(there())));
}

/// Node 2's endpoint is configured, and what we fired there came to nothing: we knock.
fn knocking() -> (Bench<4>, [u8; 4]) {
    let mut bench = Bench::connected(2, [1]);
    bench.mesh.allow_openers(bench.now, true);
    bench.forget();
    bench.mesh.set_configured_endpoints(bench.now, &key(2), &[there()]);
    bench.poll();
    // The third follows at once; before the fourth it would wait for its turn.
    bench.advance(Duration::from_millis(600));
    let knocks = take_openers(&mut bench);
    let number = knocks.last().expect("it knocks").2.attempt;
    assert!(knocks.iter().all(|(to, _, opener)| *to == there() && opener.echo == [0; 4]), "{knocks:?}");
    assert!(!fired(&bench).is_empty());
    bench.forget();
    (bench, number)
}

/// Two nodes boot together, and the first initiation finds a WireGuard that has not been told of us: the second is all that it
/// takes, and must not be crossed by one that a knock has called for.
#[test]
fn a_handshake_under_way_has_its_time_before_we_knock() {
    for session in [false, true] {
        let mut bench = Bench::connected(2, [1]);
        // Behind a NAT: nobody else goes first.
        bench.mesh.handle_local_addresses(bench.now, &[IpAddr::from([192, 168, 1, 10])]);
        bench.mesh.allow_openers(bench.now, true);
        bench.advance(Duration::from_secs(3));
        bench.forget();
        bench.mesh.set_configured_endpoints(bench.now, &key(2), &[there()]);
        bench.poll();
        while fired(&bench).iter().flatten().count() < 2 {
            bench.advance(Duration::from_millis(1));
        }
        assert_eq!(take_openers(&mut bench), []);
        bench.advance(KNOCK_LEAD - Duration::from_millis(20));
        assert_eq!(take_openers(&mut bench), []);
        if session {
            bench.connect(2);
        }
        bench.advance(Duration::from_millis(100));
        assert_eq!(take_openers(&mut bench).is_empty(), session);
    }
}

#[test]
fn who_is_answered_proves_itself_and_keeps_still() {
    let (mut bench, number) = knocking();
    let answer = opener(&bench, 2, [4, 3, 2, 1], number);
    hear(&mut bench, there(), &answer);
    let proof = take_openers(&mut bench);
    let [(to, _, proof)] = &proof[..] else { panic!("{proof:?}") };
    assert_eq!((*to, proof.attempt, proof.echo), (there(), number, [4, 3, 2, 1]));
    bench.advance(CALL_BACK - Duration::from_millis(1));
    assert!(fired(&bench).iter().all(Option::is_none), "two initiations would cross: {:?}", bench.actions);
}

#[test]
fn an_answer_to_another_knock_does_not_stop_who_knocks() {
    let (mut bench, number) = knocking();
    let wrong = opener(&bench, 2, [4, 3, 2, 1], [number[0] ^ 1, number[1], number[2], number[3]]);
    hear(&mut bench, there(), &wrong);
    assert_eq!(take_openers(&mut bench), []);
    bench.advance(CALL_BACK);
    assert!(fired(&bench).iter().any(Option::is_some), "{:?}", bench.actions);
}

#[test]
fn only_who_may_be_known_listens_for_knocks() {
    let mut bench = called();
    assert!(bench.mesh.expects_openers(bench.now), "at a public address");
    bench.mesh.handle_local_addresses(bench.now, &[IpAddr::from([192, 168, 1, 10])]);
    bench.poll();
    bench.advance(Duration::from_secs(20));
    bench.forget();
    assert!(!bench.mesh.expects_openers(bench.now), "behind a NAT");
    knock(&mut bench, there());
    assert_eq!(take_openers(&mut bench), []);
    // A forwarded port, as the mesh's configuration tells.
    bench.mesh.add_peer(bench.now, key(0), IpAddr::from([10, 0, 0, 1])).expect("room");
    bench.mesh.set_configured_endpoints(bench.now, &key(0), &[at("198.51.100.1:51820").into()]);
    bench.poll();
    assert!(bench.mesh.expects_openers(bench.now));
    knock(&mut bench, there());
    assert_eq!(take_openers(&mut bench).len(), 1);
    bench.mesh.allow_openers(bench.now, false);
    assert!(!bench.mesh.expects_openers(bench.now), "it cannot");
}

/// Calls the engine when it has asked for it, and so much later.
fn call_late(bench: &mut Bench<4>, late: Duration) {
    let due = bench.mesh.poll_timeout().expect("it always wants something").max(bench.now);
    bench.now = due + late;
    bench.mesh.handle_timeout(bench.now, &mut Counting(0));
    bench.poll();
}

#[test]
fn a_busy_machine_gives_a_handshake_more_time() {
    let mut bench = Bench::<4>::connected(2, [1]);
    let place = bench.mesh.peers.find(&key(1)).expect("a peer of ours");
    let usual = bench.mesh.fire_patience(place);
    assert!(usual >= FIRE_PATIENCE_MIN);
    call_late(&mut bench, Duration::from_millis(100));
    assert_eq!(bench.mesh.fire_patience(place), usual + Duration::from_millis(100) * LATE_STEPS);
    // Less and less, as nothing is late any more.
    let mut before = bench.mesh.fire_patience(place);
    for _ in 0..60 {
        call_late(&mut bench, Duration::from_ticks(0));
        let now = bench.mesh.fire_patience(place);
        assert!(now < before || now == usual, "{now} after {before}");
        before = now;
    }
    assert!(before - usual < Duration::from_millis(1), "{before} instead of {usual}");
    // However late, no more than so much.
    for _ in 0..3 {
        call_late(&mut bench, Duration::from_secs(8));
        assert_eq!(bench.mesh.fire_patience(place), usual + LATEST * LATE_STEPS);
    }
}

/// A machine that has slept was not busy.
#[test]
fn a_machine_that_has_slept_is_as_patient_as_before() {
    let mut bench = Bench::<4>::connected(2, [1]);
    let place = bench.mesh.peers.find(&key(1)).expect("a peer of ours");
    let usual = bench.mesh.fire_patience(place);
    call_late(&mut bench, Duration::from_secs(3600));
    assert_eq!(bench.mesh.fire_patience(place), usual);
}

/// A fire that nothing is heard of is followed by the next one later, the later the engine was called before.
#[test]
fn a_busy_machine_fires_again_later() {
    let again = |late: Duration| {
        let mut bench = Bench::<4>::connected(2, [1]);
        call_late(&mut bench, late);
        bench.forget();
        bench.hear_one(1, Kind::Intro, &intro(2, Role::Initiate, at(THERE)));
        let mut times = Vec::new();
        while times.len() < 2 {
            bench.advance(Duration::from_millis(1));
            if !fired(&bench).is_empty() {
                times.push(bench.now);
                bench.forget();
            }
        }
        times[1] - times[0]
    };
    assert!(again(Duration::from_millis(200)) >= again(Duration::from_ticks(0)) + Duration::from_millis(150));
}
