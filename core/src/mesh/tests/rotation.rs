//! Two secrets while the mesh changes over: each peer is sent the newest that it has shown.

extern crate std;

use std::vec;

use super::{SECRET, bench::Bench, mesh_address};
use crate::{Duration, SharedKey, limits::MAX_SECRETS, wire::Hello, wire::Kind};

const NEXT: &[u8] = b"the secret of next year";

/// A node that was given the next secret as well, and whose peers 1 and 2 were not.
fn changing_over() -> Bench<8> {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    bench.secrets = vec![SharedKey::derive(SECRET), SharedKey::derive(NEXT)];
    bench.mesh.set_secrets(bench.secrets.clone());
    assert_ne!(bench.secrets[0].hint(), bench.secrets[1].hint());
    bench.poll();
    bench
}

/// Peer `n` says Hello under one secret, and knows another; which secret is the answer sealed with?
fn answer(bench: &mut Bench<8>, n: usize, sealed: usize, known: usize) -> usize {
    bench.forget();
    bench.seals_with = sealed;
    let hello = Hello { hint: bench.secrets[known].hint(), ..bench.hello() };
    bench.hear_one(n, Kind::Hello, &hello);
    let ack = bench.sent_to(n).find(|sent| sent.has(Kind::HelloAck)).expect("it is answered");
    assert_eq!(ack.first::<Hello>(Kind::HelloAck).map(|h| h.hint), Some(bench.secrets[1].hint()));
    ack.secret
}

#[test]
fn each_peer_is_sent_the_newest_that_it_has_shown() {
    let mut bench = changing_over();
    assert_eq!(answer(&mut bench, 1, 0, 0), 0, "it has the old one only");
    assert_eq!(answer(&mut bench, 1, 0, 1), 1, "it says that it knows the new one");
    assert_eq!(
        answer(&mut bench, 1, 0, 0),
        0,
        "it was set back, or this one was late: it understands the old one"
    );
    assert_eq!(answer(&mut bench, 1, 0, 1), 1, "it has it again");
    assert_eq!(answer(&mut bench, 2, 1, 1), 1, "it uses the new one");
    assert_eq!(bench.mesh.counters().dropped(), 0);
}

#[test]
fn links_live_through_the_whole_change() {
    let mut bench = changing_over();
    bench.advance(Duration::from_secs(600));
    assert_eq!(bench.mesh.node().connected, 2);
    bench.seals_with = 1;
    bench.advance(Duration::from_secs(600));
    assert_eq!(bench.mesh.node().connected, 2);
    bench.mesh.set_secrets([bench.secrets[1].clone()]);
    bench.advance(Duration::from_secs(600));
    assert_eq!(bench.mesh.node().connected, 2);
    assert_eq!(bench.mesh.counters().dropped(), 0);
}

/// Whoever has shown nothing since this node's start is sent what all have.
#[test]
fn after_the_change_everybody_is_sent_the_new_one_but_who_has_the_old_one_only() {
    let mut bench = changing_over();
    let [old, new] = [0, 1].map(|at| bench.secrets[at].clone());
    assert_eq!(answer(&mut bench, 1, 0, 0), 0);
    assert_eq!(answer(&mut bench, 2, 0, 1), 1);
    bench.answering.clear();
    bench.mesh.set_secrets_after(old, new);
    bench.forget();
    bench.poll();
    let first = |bench: &Bench<8>, n| bench.sent_to(n).next().map(|sent| sent.secret);
    assert_eq!(
        (first(&bench, 1), first(&bench, 2)),
        (Some(0), Some(1)),
        "what they have shown is not forgotten"
    );
    assert_eq!(answer(&mut bench, 2, 0, 0), 0, "it is still understood");
    assert_eq!(answer(&mut bench, 2, 0, 1), 1);
    bench.forget();
    bench.seals_with = 1;
    bench.connect(3);
    assert_eq!(first(&bench, 3), Some(1));
}

#[test]
fn connected_peers_are_told_at_once_which_secrets_there_are() {
    let mut bench = changing_over();
    bench.mesh.set_secrets([bench.secrets[0].clone()]);
    bench.forget();
    bench.poll();
    for n in [1, 2] {
        let hello = bench.sent_to(n).find(|sent| sent.has(Kind::Hello)).expect("it is told");
        assert_eq!(hello.first::<Hello>(Kind::Hello).map(|h| h.hint), Some(bench.secrets[0].hint()));
    }
}

#[test]
fn it_shows_who_has_the_new_one() {
    let mut bench = changing_over();
    let has = |bench: &Bench<8>| {
        [1, 2].map(|n| bench.mesh.peers().any(|peer| peer.key == super::key(n) && peer.has_newest_secret))
    };
    assert_eq!(has(&bench), [false, false]);
    answer(&mut bench, 1, 0, 1);
    assert_eq!(has(&bench), [true, false]);
    answer(&mut bench, 2, 1, 1);
    assert_eq!(has(&bench), [true, true]);
    bench.mesh.set_secrets([bench.secrets[1].clone()]);
    assert_eq!(has(&bench), [true, true]);
}

/// One pair of 256 has the same hint.
#[test]
fn secrets_with_the_same_hint_are_told_apart_by_what_they_seal() {
    let old = SharedKey::derive(SECRET);
    let twin = (0..).map(|n: u32| SharedKey::derive(&n.to_le_bytes())).find(|key| !key.is_told_from(&old));
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    bench.secrets = vec![old, twin.expect("one of 256")];
    bench.mesh.set_secrets(bench.secrets.clone());
    bench.poll();
    assert_eq!(answer(&mut bench, 1, 0, 0), 0);
    assert_eq!(answer(&mut bench, 1, 1, 0), 1);
    assert_eq!(bench.mesh.counters().dropped(), 0);
}

#[test]
fn the_old_secret_is_worth_nothing_once_it_is_taken_out() {
    let mut bench = changing_over();
    bench.answering.clear();
    bench.mesh.set_secrets([bench.secrets[1].clone()]);
    bench.poll();
    bench.forget();
    bench.seals_with = 0;
    let hello = bench.hello();
    bench.hear_one(1, Kind::Hello, &hello);
    assert_eq!(bench.mesh.counters().dropped_secret, 1);
    assert_eq!(bench.sent_to(1).count(), 0);
}

#[test]
fn more_secrets_than_there_is_room_for_are_not_kept() {
    let mut bench = changing_over();
    bench.secrets.push(SharedKey::derive(b"one too many"));
    bench.answering.clear();
    bench.mesh.set_secrets(bench.secrets.clone());
    bench.seals_with = MAX_SECRETS;
    let hello = bench.hello();
    bench.hear_one(1, Kind::Hello, &hello);
    assert_eq!(bench.mesh.counters().dropped_secret, 1);
}

#[test]
fn without_a_secret_nothing_is_sent_or_understood() {
    let mut bench = Bench::<8>::connected(3, [1]);
    let hello = bench.hello();
    let mut datagram = bench.datagram(|writer| writer.frame(Kind::Hello, &hello));
    bench.mesh.set_secrets([]);
    bench.mesh.handle_datagram(bench.now, mesh_address(1), &mut datagram);
    assert_eq!(bench.mesh.counters().dropped_secret, 1);
    bench.advance(Duration::from_secs(300));
    assert!(bench.sent.is_empty());
}
