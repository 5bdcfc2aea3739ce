//! Keepalives, asked for and not.

use super::*;
use Side::{A, B};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "keepalive_from_0_to_n_initiates_at_once",
        fact: "persistent-keepalive 0 → N sends a keepalive at once; without a session that means an initiation",
        seconds: 1,
        run: |bench| {
            bench.introduce();
            bench.run(ms(100));
            require!(bench.wire().is_empty(), "an endpoint alone made it send");
            let start = bench.now();
            bench.configure(A, &[PeerChange::new(bench.key(B)).keepalive(25)]);
            bench.run(ms(5) + bench.slack());
            require!(bench.count(A, Kind::Initiation, start) == 1, "no initiation");
            Ok(())
        },
    },
    Row {
        name: "keepalive_from_0_to_n_speaks_in_a_session",
        fact: "persistent-keepalive 0 → N in a session sends a keepalive at once",
        seconds: 1,
        run: |bench| {
            bench.connect()?;
            let start = bench.now();
            bench.configure(A, &[PeerChange::new(bench.key(B)).keepalive(25)]);
            bench.run(ms(5) + bench.slack());
            require!(bench.count(A, Kind::Keepalive, start) == 1, "no keepalive");
            require!(bench.count(A, Kind::Initiation, start) == 0, "an initiation");
            Ok(())
        },
    },
    Row {
        name: "keepalive_from_n_to_m_sends_nothing",
        fact: "persistent-keepalive N → M sends nothing",
        seconds: 2,
        run: |bench| {
            bench.connect()?;
            bench.configure(A, &[PeerChange::new(bench.key(B)).keepalive(25)]);
            bench.run(ms(200) + bench.slack());
            let start = bench.now();
            for seconds in [20, 30, 20] {
                bench.configure(A, &[PeerChange::new(bench.key(B)).keepalive(seconds)]);
                bench.run(ms(200));
            }
            let sent = bench.wire().iter().filter(|seen| seen.from == A && seen.at >= start).count();
            require!(sent == 0, "{sent} packets");
            Ok(())
        },
    },
    Row {
        name: "a_persistent_keepalive_comes_after_n_seconds_of_silence",
        fact: "a persistent keepalive is sent N s after the last authenticated packet of either direction",
        seconds: 15,
        run: |bench| {
            bench.connect()?;
            bench.configure(A, &[PeerChange::new(bench.key(B)).keepalive(4)]);
            let start = bench.now();
            bench.run(secs(2));
            bench.must_ping(B)?;
            let last = bench.now() + DELAY;
            bench.run(ms(10_500));
            let sent = bench.sent(A, Kind::Keepalive, start + ms(1000));
            require!(sent.len() == 2, "{} keepalives in 10.5 s of silence", sent.len());
            require!(
                bench.within(sent[0].at, last, secs(4), secs(4)),
                "the first {:?} after {last:?}",
                sent[0].at
            );
            let since = sent[0].at;
            require!(bench.within(sent[1].at, since, secs(4), secs(4)), "the second {:?}", sent[1].at);
            Ok(())
        },
    },
    Row {
        name: "who_only_receives_sends_a_keepalive_after_10_s",
        fact: "KEEPALIVE_TIMEOUT: data that nothing was sent in answer to is answered by a keepalive after 10 s",
        seconds: 22,
        run: |bench| {
            bench.connect()?;
            bench.run(secs(11));
            let start = bench.now();
            bench.must_ping(A)?;
            bench.run(secs(11));
            let sent = bench.sent(B, Kind::Keepalive, start);
            require!(sent.len() == 1, "{} keepalives of B", sent.len());
            let due = secs(10) + DELAY;
            require!(bench.within(sent[0].at, start, due, due), "it left {:?}", sent[0].at);
            require!(bench.count(A, Kind::Keepalive, start) == 0, "A answered a keepalive with one");
            Ok(())
        },
    },
    Row {
        name: "what_waited_at_the_responder_answers_the_first_data",
        fact: "packets that the first data lets a responder send count as its answer: no keepalive follows",
        seconds: 11,
        run: |bench| {
            bench.introduce();
            let first = bench.must_ping(A)?;
            bench.run_until_sent(B, Kind::Response, Instant::MIN, 1, DELAY * 3 / 2);
            // The response is on its way. B's packet must wait for A's.
            let second = bench.must_ping(B)?;
            bench.run(DELAY * 3 + bench.slack());
            require!(bench.has_heard(B, first) && bench.has_heard(A, second), "the pings did not arrive");
            bench.run(ms(10_500));
            let sent = [A, B].map(|side| bench.count(side, Kind::Keepalive, Instant::MIN));
            require!(sent == [1, 0], "A and B sent {sent:?} keepalives");
            Ok(())
        },
    },
];
