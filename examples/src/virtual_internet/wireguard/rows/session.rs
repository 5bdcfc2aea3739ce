//! Sessions: their age, their end, what is counted and what waits for them.

use super::*;
use Side::{A, B};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "bytes_are_counted_whole",
        fact: "rx and tx count whole messages: 148, 92, and 32 + the payload padded to 16",
        seconds: 1,
        run: |bench| {
            bench.connect()?;
            let (a, b) = (bench.must_dump(A)?, bench.must_dump(B)?);
            // A ping has 32 bytes.
            let (from_a, from_b) = (148 + 64, 92);
            require!((a.tx_bytes, a.rx_bytes) == (from_a, from_b), "A counts {a:?}");
            require!((b.tx_bytes, b.rx_bytes) == (from_b, from_a), "B counts {b:?}");
            bench.configure(A, &[PeerChange::new(bench.key(B)).keepalive(25)]);
            bench.run(DELAY + bench.slack());
            let b = bench.must_dump(B)?;
            require!(b.rx_bytes == from_a + 32, "with a keepalive B counts {b:?}");
            Ok(())
        },
    },
    Row {
        name: "the_queue_keeps_the_newest_128",
        fact: "packets wait for a session, 128 of them; the oldest go first",
        seconds: 6,
        run: |bench| {
            bench.introduce();
            bench.cut(A, true);
            let mut last = 0;
            for _ in 0..300 {
                last = bench.must_ping(A)?;
            }
            bench.run(ms(100));
            bench.cut(A, false);
            bench.run(RETRANSMIT.1 + DELAY * 3 + bench.slack() * 2);
            let mut heard: Vec<u32> = bench.heard().iter().map(|heard| heard.number).collect();
            heard.sort_unstable();
            require!((128..=129).contains(&heard.len()), "{} packets arrived", heard.len());
            let first = last + 1 - heard.len() as u32;
            require!(heard.iter().copied().eq(first..=last), "not the newest ones: {heard:?}");
            Ok(())
        },
    },
    Row {
        name: "a_stale_session_is_made_anew_15_s_after_unanswered_data",
        fact: "when the peer has forgotten the session, that shows 15 s after sending data and hearing nothing",
        seconds: 50,
        run: |bench| {
            bench.connect()?;
            // By then B has answered with a keepalive.
            bench.run(secs(11));
            bench.restart(B);
            bench.configure(B, &[bench.other(B)]);
            let start = bench.now();
            bench.run(secs(20));
            require!(bench.count(A, Kind::Initiation, start) == 0, "without sending, A noticed");
            let sent = bench.now();
            bench.must_ping(A)?;
            bench.run(secs(5));
            let number = bench.must_ping(A)?;
            bench.run(secs(11) + bench.slack());
            let first = bench.sent(A, Kind::Initiation, sent).first().map(|seen| seen.at);
            let due = (secs(15), secs(15) + ms(334));
            require!(
                first.is_some_and(|at| bench.within(at, sent, due.0, due.1)),
                "a new initiation {first:?}, data sent {sent:?}"
            );
            require!(bench.count(B, Kind::Response, sent) == 1, "B did not respond");
            require!(!bench.has_heard(B, number), "what was sent in between arrived");
            Ok(())
        },
    },
    Row {
        name: "data_that_waited_for_its_session_counts_as_unanswered",
        fact: "the same holds for the very first data, although it is sent on receiving a response",
        seconds: 17,
        run: |bench| {
            bench.introduce();
            bench.must_ping(A)?;
            bench.run(DELAY * 3 + bench.slack());
            require!(bench.is_connected(), "no session");
            let sent = bench.sent(A, Kind::Data, Instant::MIN).first().map_or(Instant::MIN, |seen| seen.at);
            bench.cut(B, true);
            bench.run_until(sent + secs(15) + ms(334) + bench.slack());
            let again = bench.sent(A, Kind::Initiation, sent);
            require!(again.len() == 1, "{} new initiations", again.len());
            let due = (secs(15), secs(15) + ms(334));
            require!(bench.within(again[0].at, sent, due.0, due.1), "it left {:?}", again[0].at);
            Ok(())
        },
    },
    Row {
        name: "only_the_initiator_makes_a_new_session_after_120_s",
        fact: "REKEY_AFTER_TIME: 120 s, initiator only, when it sends",
        seconds: 135,
        run: |bench| {
            bench.connect()?;
            let born = bench.must_dump(A)?.last_handshake;
            let start = bench.now();
            while bench.now() < start + secs(131) {
                bench.must_ping(A)?;
                bench.must_ping(B)?;
                bench.run(secs(2));
            }
            require!(bench.count(B, Kind::Initiation, start) == 0, "the responder initiated");
            let sent = bench.sent(A, Kind::Initiation, start);
            require!(sent.len() == 1, "{} initiations of A", sent.len());
            require!(
                bench.within(sent[0].at, start, secs(119), secs(122)),
                "a new session {:?}, connected {start:?}",
                sent[0].at
            );
            require!(bench.must_dump(A)?.last_handshake > born, "the stamp did not move");
            Ok(())
        },
    },
    Row {
        name: "a_session_of_180_s_is_not_used",
        fact: "REJECT_AFTER_TIME: a session is dead after 180 s; the next packet waits for a new one",
        seconds: 185,
        run: |bench| {
            bench.connect()?;
            bench.run(secs(181));
            let start = bench.now();
            let number = bench.must_ping(A)?;
            bench.run(DELAY * 3 + bench.slack());
            let kinds: Vec<(Side, Kind)> = bench
                .wire()
                .iter()
                .filter(|seen| seen.at >= start)
                .map(|seen| (seen.from, seen.kind))
                .collect();
            let expected = [(A, Kind::Initiation), (B, Kind::Response), (A, Kind::Data)];
            require!(kinds == expected, "on the wire: {kinds:?}");
            require!(bench.has_heard(B, number), "the packet did not arrive");
            Ok(())
        },
    },
    Row {
        name: "the_responder_may_begin_a_new_session_after_180_s",
        fact: "roles are per handshake: when the old session is dead, whoever has a packet initiates",
        seconds: 185,
        run: |bench| {
            bench.connect()?;
            bench.run(secs(181));
            let start = bench.now();
            let number = bench.must_ping(B)?;
            bench.run(DELAY * 3 + bench.slack());
            require!(bench.count(B, Kind::Initiation, start) == 1, "B did not initiate");
            require!(bench.has_heard(A, number), "the packet did not arrive");
            Ok(())
        },
    },
    Row {
        name: "an_initiator_renews_on_receiving_after_165_s",
        fact: "15 s before a session's end its initiator makes a new one as soon as it receives data, and confirms it",
        seconds: 172,
        run: |bench| {
            bench.connect()?;
            let start = bench.now();
            bench.run(secs(166));
            require!(bench.count(A, Kind::Initiation, start) == 0, "an idle session was renewed");
            let born = bench.must_dump(B)?.last_handshake;
            let number = bench.must_ping(B)?;
            bench.run(DELAY + ms(5) + bench.slack());
            require!(bench.has_heard(A, number), "the old session does not carry any more");
            require!(bench.count(A, Kind::Initiation, start) == 1, "no new session on receiving");
            bench.run(DELAY * 3 + bench.slack());
            require!(bench.count(B, Kind::Response, start) == 1, "B did not respond");
            require!(
                bench.must_dump(B)?.last_handshake > born,
                "A, with nothing to send, did not confirm it"
            );
            Ok(())
        },
    },
];
