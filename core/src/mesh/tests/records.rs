//! Which records are taken, which win, where they go, and when they are forgotten.

extern crate std;

use std::vec::Vec;

use super::{
    bench::{Bench, record},
    key, mesh_address,
};
use crate::{
    Duration, Event,
    limits::{
        BUCKETS, DIGEST_STEADY, MAX_INCARNATION_JUMP, RECONCILE_SPACING, RECORD_LIFETIME, RECORD_REFRESH,
        WHOLE_SET,
    },
    record::Order,
    wire::{Entry, Kind, SummaryEntry, SummaryHead},
};

const A: &str = "203.0.113.40:1000";
const B: &str = "203.0.113.41:1000";
const SHORTLY: Duration = Duration::from_millis(100);
const MINUTE: Duration = Duration::from_secs(60);

fn order<const N: usize>(bench: &Bench<N>, n: usize) -> Option<(u32, u32)> {
    bench.held(n).map(|claim| (claim.order.incarnation, claim.order.seq))
}

/// Whose records were sent to a peer.
fn subjects<const N: usize>(bench: &Bench<N>, to: usize) -> Vec<usize> {
    let all = bench.records_sent_to(to);
    all.iter().map(|entry| (0..8).find(|n| key(*n) == entry.id).expect("a node of ours")).collect()
}

#[test]
fn a_new_record_goes_once_to_everybody_but_who_brought_it() {
    let mut bench = Bench::<8>::connected(4, [1, 2, 3]);
    // The record of our own degree, of which this is not about.
    bench.advance(Duration::from_secs(3));
    bench.forget();
    bench.hear_records(1, &[record(4, 1, 1, A)]);
    assert!(bench.sent.iter().all(|sent| !sent.has(Kind::Rumor)), "it waits for company");
    bench.advance(SHORTLY);
    assert_eq!(
        (subjects(&bench, 1), subjects(&bench, 2), subjects(&bench, 3)),
        (Vec::new(), Vec::from([4]), Vec::from([4]))
    );
    bench.forget();
    bench.hear_records(2, &[record(4, 1, 1, A)]);
    bench.advance(SHORTLY);
    assert!(bench.sent.iter().all(|sent| !sent.has(Kind::Rumor)), "it is known");
}

#[test]
fn a_leaf_brings_nothing_to_who_is_well_connected() {
    let mut bench = Bench::<8>::new(4);
    bench.connect(1);
    bench.well_connected = true;
    bench.connect(2);
    bench.connect(3);
    bench.advance(Duration::from_secs(3));
    bench.forget();
    bench.hear_records(3, &[record(4, 1, 1, A)]);
    bench.advance(SHORTLY);
    assert_eq!((subjects(&bench, 1), subjects(&bench, 2)), (Vec::from([4]), Vec::new()));
}

/// While hundreds of links come up, every pair of them differs by what is on its way already.
#[test]
fn a_large_set_is_not_reconciled_with_everybody_at_once() {
    let mut bench = Bench::<80>::new(70);
    bench.connect(1);
    let all: Vec<_> = (10..10 + WHOLE_SET).map(|n| record(n, 1, 1, A)).collect();
    all.chunks(8).for_each(|some| bench.hear_records(1, some));
    bench.advance(Duration::from_secs(1));
    bench.digest = Some(1);
    bench.forget();
    let reconciled = |bench: &Bench<80>| bench.sent.iter().filter(|sent| sent.has(Kind::Buckets)).count();
    (2..6).for_each(|n| bench.connect(n));
    assert_eq!(reconciled(&bench), 1);
    bench.advance(RECONCILE_SPACING);
    bench.connect(6);
    assert_eq!(reconciled(&bench), 2);
    // A difference that is not on its way is found soon.
    bench.advance(DIGEST_STEADY);
    assert!(reconciled(&bench) > 2, "{} times", reconciled(&bench));
}

#[test]
fn records_of_strangers_are_neither_kept_nor_passed_on() {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    bench.advance(Duration::from_secs(3));
    bench.forget();
    let (digest, refused) = (bench.mesh.node().digest, bench.mesh.counters().refused_records);
    bench.hear_records(1, &[record(6, 1, 1, A), record(7, 1, 1, B)]);
    bench.advance(SHORTLY);
    assert_eq!(bench.mesh.node().digest, digest);
    assert_eq!(bench.mesh.counters().refused_records, refused + 2);
    assert!(bench.sent.iter().all(|sent| !sent.has(Kind::Rumor)));
}

#[test]
fn a_newer_record_wins_and_an_older_one_is_ignored() {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    for (incarnation, seq, expected) in [
        (1, 5, (1, 5)),
        (1, 4, (1, 5)),
        (1, 6, (1, 6)),
        (2, 0, (2, 0)),
        (1, 9, (2, 0)),
        (3, u32::MAX, (3, u32::MAX)),
        (3, 0, (3, 0)),
    ] {
        bench.hear_records(1, &[record(3, incarnation, seq, A)]);
        assert_eq!(order(&bench, 3), Some(expected), "after ({incarnation}, {seq})");
    }
}

#[test]
fn the_subjects_own_word_beats_what_others_say() {
    let mut bench = Bench::<8>::connected(2, [1, 2]);
    // A liar was there first, with a newer one.
    bench.hear_records(1, &[record(2, 500, 1, B)]);
    assert_eq!(order(&bench, 2), Some((500, 1)));
    bench.hear_records(2, &[record(2, 3, 1, A)]);
    assert_eq!(order(&bench, 2), Some((3, 1)));
    // Datagrams may overtake each other: an older one of its own is late.
    bench.hear_records(2, &[record(2, 2, 9, A)]);
    assert_eq!(order(&bench, 2), Some((3, 1)));
    // And what claims to be the same is not.
    bench.hear_records(1, &[record(2, 3, 1, B)]);
    assert_eq!(bench.held(2), Some(record(2, 3, 1, A).claim));
    assert!(bench.has_event(|e| *e == Event::RecordConflict { key: key(2) }));
}

#[test]
fn of_two_that_claim_to_be_the_same_the_same_one_wins_everywhere() {
    let mut winners = Vec::new();
    for (first, second) in [(A, B), (B, A)] {
        let mut bench = Bench::<8>::connected(3, [1, 2]);
        bench.hear_records(1, &[record(3, 1, 1, first)]);
        assert!(!bench.has_event(|e| matches!(e, Event::RecordConflict { .. })));
        bench.hear_records(2, &[record(3, 1, 1, second)]);
        assert!(bench.has_event(|e| *e == Event::RecordConflict { key: key(3) }));
        winners.push(bench.held(3));
    }
    assert_eq!(winners[0], winners[1]);
    assert!(winners[0].is_some());
}

#[test]
fn a_liar_cannot_use_up_the_incarnations() {
    let mut bench = Bench::<8>::connected(3, [1, 2]);
    bench.hear_records(1, &[record(3, 5, 1, A)]);
    let refused = bench.mesh.counters().refused_records;
    let most = 5 + MAX_INCARNATION_JUMP;
    bench.hear_records(1, &[record(3, most + 1, 1, A)]);
    assert_eq!((order(&bench, 3), bench.mesh.counters().refused_records), (Some((5, 1)), refused + 1));
    bench.hear_records(1, &[record(3, most, 1, A)]);
    assert_eq!((order(&bench, 3), bench.mesh.counters().refused_records), (Some((most, 1)), refused + 1));
    // Of its own number a node is master.
    bench.hear_records(2, &[record(2, 1, 1, A)]);
    bench.hear_records(2, &[record(2, 1 << 30, 1, A)]);
    assert_eq!(order(&bench, 2), Some((1 << 30, 1)));
}

#[test]
fn a_relayed_record_expires_a_quarter_of_an_hour_after_it_was_last_confirmed() {
    let mut bench = Bench::<8>::connected(4, [1]);
    bench.hear_records(1, &[record(2, 1, 1, A), Entry { age: 600, ..record(3, 1, 1, A) }]);
    let digest = bench.mesh.node().digest;
    bench.advance(Duration::from_secs(4 * 60));
    assert!(bench.held(2).is_some() && bench.held(3).is_some());
    bench.advance(2 * MINUTE);
    assert!(bench.held(2).is_some() && bench.held(3).is_none(), "ten minutes of age count");
    assert_ne!(bench.mesh.node().digest, digest);
    // Somebody has heard it from the subject a minute ago.
    bench.hear_records(1, &[Entry { age: 60, ..record(2, 1, 1, A) }]);
    bench.advance(RECORD_LIFETIME - 2 * MINUTE);
    assert!(bench.held(2).is_some());
    bench.advance(2 * MINUTE);
    assert!(bench.held(2).is_none());
}

#[test]
fn an_old_record_is_asked_for_again_before_it_expires() {
    let mut bench = Bench::<8>::connected(3, [1]);
    bench.hear_records(1, &[record(2, 1, 1, A)]);
    bench.advance(RECORD_REFRESH - 2 * MINUTE);
    assert!(!bench.sent.iter().any(|sent| sent.has(Kind::Pull)));
    bench.advance(4 * MINUTE);
    let pull = bench.sent_to(1).find(|sent| sent.has(Kind::Pull)).expect("it is asked for");
    let (_, body) = pull.frames.iter().find(|(kind, _)| *kind == Kind::Pull).expect("just seen");
    assert_eq!(body[..], key(2).short().to_be_bytes());
}

#[test]
fn a_record_that_has_expired_on_its_way_is_refused() {
    let mut bench = Bench::<8>::connected(3, [1]);
    let refused = bench.mesh.counters().refused_records;
    for age in [RECORD_LIFETIME.as_secs() as u16, u16::MAX] {
        bench.hear_records(1, &[Entry { age, ..record(2, 1, 1, A) }]);
    }
    assert_eq!((bench.held(2), bench.mesh.counters().refused_records), (None, refused + 2));
    bench.hear_records(1, &[Entry { age: RECORD_LIFETIME.as_secs() as u16 - 1, ..record(2, 1, 1, A) }]);
    assert!(bench.held(2).is_some());
}

#[test]
fn ages_go_on_with_the_record() {
    let mut bench = Bench::<8>::connected(4, [1, 2]);
    bench.hear_records(1, &[Entry { age: 100, ..record(3, 1, 1, A) }]);
    bench.hear_records(2, &[record(2, 1, 1, A)]);
    bench.advance(SHORTLY);
    let to_2: Vec<_> = bench.records_sent_to(2).into_iter().filter(|entry| entry.id == key(3)).collect();
    assert_eq!(to_2.iter().map(|entry| entry.age).collect::<Vec<_>>(), [100]);
    let to_1: Vec<_> = bench.records_sent_to(1).into_iter().filter(|entry| entry.id == key(2)).collect();
    assert_eq!(to_1.iter().map(|entry| entry.age).collect::<Vec<_>>(), [0], "heard from itself");
}

#[test]
fn a_record_that_is_asked_for_is_sent() {
    let mut bench = Bench::<8>::connected(4, [1, 2]);
    bench.hear_records(2, &[record(3, 1, 1, A)]);
    bench.advance(SHORTLY);
    bench.forget();
    bench.hear(1, |writer| {
        let ids = [key(0), key(3), key(4), key(7)];
        let written =
            writer.begin(Kind::Pull) && ids.iter().all(|id| writer.append(&id.short().to_be_bytes()));
        writer.end(0);
        written
    });
    assert_eq!(subjects(&bench, 1), [0, 3], "ours and the one we hold; of the others there is none");
}

#[test]
fn where_a_part_differs_both_sides_say_what_they_hold() {
    let mut bench = Bench::<8>::connected(4, [1, 2]);
    bench.hear_records(2, &[record(3, 2, 7, A)]);
    bench.advance(SHORTLY);
    bench.forget();
    // A peer that holds nothing at all.
    bench.hear(1, |writer| {
        let written = writer.begin(Kind::Buckets) && (0..BUCKETS).all(|_| writer.append(&[0u8; 8]));
        writer.end(0);
        written
    });
    let listed: Vec<_> = bench
        .sent_to(1)
        .flat_map(|sent| &sent.frames)
        .filter(|(kind, _)| *kind == Kind::Summary)
        .flat_map(|(_, body)| {
            let (head, mut body) = postcard::take_from_bytes::<SummaryHead>(body).expect("a head");
            assert!(head.complete);
            let mut all = Vec::new();
            while let Some(entry) = crate::wire::take::<SummaryEntry>(&mut body) {
                all.push((entry.expect("well-formed").id, head.bucket));
            }
            all
        })
        .collect();
    for n in [0, 3] {
        let id = key(n);
        assert!(
            listed.contains(&(id.short().to_be_bytes(), id.as_bytes()[0] >> 2)),
            "node {n} in {listed:?}"
        );
    }
    bench.forget();
    // It holds a newer one than we do, and lacks one that we have.
    bench.hear(1, |writer| {
        let head = SummaryHead { bucket: key(3).as_bytes()[0] >> 2, complete: true };
        let newer = SummaryEntry {
            id: key(3).short().to_be_bytes(),
            order: Order { incarnation: 2, seq: 8 },
            check: [0; 2],
        };
        let first = writer.begin(Kind::Summary) && writer.append(&head) && writer.append(&newer);
        writer.end(0);
        let start = writer.len();
        let head = SummaryHead { bucket: key(0).as_bytes()[0] >> 2, complete: true };
        let second = writer.begin(Kind::Summary) && writer.append(&head);
        writer.end(start);
        first && second
    });
    let sent = bench.sent_to(1).next().expect("it is answered");
    assert!(sent.has(Kind::Pull) && sent.has(Kind::Rumor), "{:?}", sent.frames);
    assert_eq!(subjects(&bench, 1), [0]);
}

/// Whether the two digests are reconciled at each of some comparisons, when the other side answers or does not.
fn reconciled(bench: &mut Bench<8>, digest: u64, comparisons: usize, answers: bool) -> usize {
    bench.digest = Some(digest);
    let compared = |bench: &mut Bench<8>| {
        bench.forget();
        bench.advance(DIGEST_STEADY * 2);
        assert!(bench.sent_to(1).any(|sent| sent.has(Kind::Hello)), "digests are compared");
        let asked = bench.sent_to(1).any(|sent| sent.has(Kind::Buckets));
        if asked && answers {
            // A part in which both hold nothing.
            bench.hear_one(1, Kind::Summary, &SummaryHead { bucket: 1, complete: true });
        }
        asked
    };
    (0..comparisons).filter(|_| compared(bench)).count()
}

/// Peer lists may differ for ever: then so do the digests. A reconciliation may be lost, so that there are a few.
#[test]
fn a_difference_is_reconciled_a_few_times_and_left_alone_while_it_stands() {
    let mut bench = Bench::<8>::connected(2, [1]);
    bench.advance(Duration::from_secs(5));
    for digest in [1, 2] {
        // In each comparison's two minutes there may be two of them.
        let asked = reconciled(&mut bench, digest, 4, true);
        assert!((2..=4).contains(&asked), "{asked}");
        let later = reconciled(&mut bench, digest, 30, true);
        assert!((2..=6).contains(&later), "once in ten minutes, of 60: {later}");
    }
}

#[test]
fn a_difference_is_reconciled_until_the_other_side_answers() {
    let mut bench = Bench::<8>::connected(2, [1]);
    bench.advance(Duration::from_secs(5));
    assert_eq!(reconciled(&mut bench, 1, 12, false), 12);
}

#[test]
fn a_peer_that_leaves_the_configuration_takes_its_record_along() {
    let mut bench = Bench::<8>::connected(3, [1]);
    let before = bench.mesh.node().digest;
    bench.hear_records(1, &[record(2, 1, 1, A)]);
    assert_ne!(bench.mesh.node().digest, before);
    assert!(bench.mesh.remove_peer(bench.now, &key(2)));
    assert_eq!(bench.mesh.node().digest, before);
    bench.mesh.add_peer(bench.now, key(2), mesh_address(2)).expect("room again");
    assert_eq!(bench.held(2), None);
}
