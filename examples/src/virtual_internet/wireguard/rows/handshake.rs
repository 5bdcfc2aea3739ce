//! Initiations and responses: when they are made, when refused.

use super::*;
use Side::{A, B};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "connected_after_one_rtt_and_one_and_a_half",
        fact: "the initiator is up one RTT after its fire, the responder half an RTT later",
        seconds: 1,
        run: |bench| {
            bench.introduce();
            let number = bench.must_ping(A)?;
            let fired = bench.now();
            bench.run(DELAY * 2 - ms(1));
            require!(!bench.has_handshake(A), "A was up in less than an RTT");
            bench.run(ms(1) + bench.slack());
            require!(bench.has_handshake(A), "A is not up after an RTT");
            bench.run(DELAY + bench.slack());
            require!(bench.has_handshake(B), "B is not up after 1.5 RTT");
            let heard = bench.heard().iter().find(|h| h.number == number).map(|h| h.at);
            require!(
                heard.is_some_and(|at| bench.within(at, fired, DELAY * 3, DELAY * 3 + bench.slack())),
                "the queued packet arrived at {heard:?}, not 1.5 RTT after {fired:?}"
            );
            Ok(())
        },
    },
    Row {
        name: "the_responder_is_up_only_by_the_first_data",
        fact: "the responder's handshake stamp is set by the first data packet, not by the initiation",
        seconds: 3,
        run: |bench| {
            bench.introduce();
            bench.must_ping(A)?;
            bench.run_until_sent(B, Kind::Response, Instant::MIN, 1, DELAY * 3 / 2);
            // The response is on its way; what A sends from now on is lost.
            bench.cut(A, true);
            bench.run(secs(2));
            require!(bench.has_handshake(A), "A has its response");
            require!(!bench.has_handshake(B), "B counts a handshake that no data has confirmed");
            bench.cut(A, false);
            bench.must_ping(A)?;
            bench.run(DELAY + bench.slack());
            require!(bench.has_handshake(B), "B does not take data as confirmation");
            Ok(())
        },
    },
    Row {
        name: "an_initiator_confirms_at_once",
        fact: "with nothing queued the initiator sends a keepalive as soon as it has the response",
        seconds: 1,
        run: |bench| {
            bench.introduce();
            let start = bench.now();
            bench.configure(A, &[PeerChange::new(bench.key(B)).keepalive(25)]);
            bench.run(DELAY * 3 + bench.slack());
            let kinds: Vec<(Side, Kind)> = bench.wire().iter().map(|seen| (seen.from, seen.kind)).collect();
            let expected = [(A, Kind::Initiation), (B, Kind::Response), (A, Kind::Keepalive)];
            require!(kinds == expected, "on the wire: {kinds:?}");
            let sizes: Vec<usize> = bench.wire().iter().map(|seen| seen.bytes.len()).collect();
            require!(sizes == [148, 92, 32], "their sizes: {sizes:?}");
            require!(bench.is_connected(), "not connected since {start:?}");
            Ok(())
        },
    },
    Row {
        name: "an_initiation_is_repeated_after_5_0_to_5_33_s",
        fact: "REKEY_TIMEOUT is 5 s, with 0 to 333 ms of jitter",
        seconds: 22,
        run: |bench| {
            bench.introduce();
            bench.cut(B, true);
            bench.must_ping(A)?;
            bench.run(secs(22));
            let sent = bench.sent(A, Kind::Initiation, Instant::MIN);
            require!(sent.len() >= 4, "{} initiations in 22 s", sent.len());
            for pair in sent.windows(2) {
                let gap = pair[1].at - pair[0].at;
                require!(
                    bench.within(pair[1].at, pair[0].at, RETRANSMIT.0, RETRANSMIT.1),
                    "a gap of {} µs",
                    gap.as_micros()
                );
            }
            Ok(())
        },
    },
    Row {
        name: "an_initiator_gives_up_after_20_tries",
        fact: "after about 20 tries, 100 s, it stops and drops what was queued, until there is new traffic",
        seconds: 160,
        run: |bench| {
            bench.introduce();
            bench.cut(B, true);
            let number = bench.must_ping(A)?;
            let start = bench.now();
            bench.run(secs(150));
            let sent = bench.sent(A, Kind::Initiation, start);
            require!((19..=20).contains(&sent.len()), "{} tries", sent.len());
            let last = sent.last().map_or(start, |seen| seen.at);
            require!(
                bench.within(last, start, secs(90), secs(103)),
                "the last one {last:?}, begun {start:?}"
            );
            bench.cut(B, false);
            let again = bench.must_ping(A)?;
            bench.run(DELAY * 3 + bench.slack());
            require!(bench.has_heard(B, again), "new traffic does not begin anew");
            require!(!bench.has_heard(B, number), "the old packet was kept");
            Ok(())
        },
    },
    Row {
        name: "an_initiation_is_suppressed_for_5_s",
        fact: "no second initiation within 5 s of the last, whatever asks for one",
        seconds: 5,
        run: |bench| {
            bench.introduce();
            bench.cut(B, true);
            bench.must_ping(A)?;
            for _ in 0..9 {
                bench.run(ms(500));
                bench.must_ping(A)?;
                bench.touch(A);
                bench.configure(A, &[PeerChange::new(bench.key(B)).keepalive(0)]);
                bench.configure(A, &[PeerChange::new(bench.key(B)).keepalive(25)]);
            }
            let sent = bench.count(A, Kind::Initiation, Instant::MIN);
            require!(sent == 1, "{sent} initiations in 4.5 s");
            Ok(())
        },
    },
    Row {
        name: "a_response_stamps_the_clock",
        fact: "sending a response suppresses one's own initiations for 5 s too",
        seconds: 7,
        run: |bench| {
            bench.introduce();
            bench.must_ping(A)?;
            bench.run_until_sent(A, Kind::Initiation, Instant::MIN, 1, DELAY / 2);
            // A's initiation is on its way, what else it sends is lost: B has a session it may not use.
            bench.cut(A, true);
            bench.run_until_sent(B, Kind::Response, Instant::MIN, 1, DELAY);
            let start = bench.sent(B, Kind::Response, Instant::MIN).last().map(|seen| seen.at);
            let Some(start) = start else {
                return Err(Verdict::Broken("B did not respond".into()));
            };
            bench.must_ping(B)?;
            bench.run(ms(4800));
            bench.must_ping(B)?;
            require!(bench.count(B, Kind::Initiation, start) == 0, "B initiated within 5 s of its response");
            bench.run_until(start + secs(5) + ms(10));
            bench.must_ping(B)?;
            bench.run(ms(10) + bench.slack());
            require!(bench.count(B, Kind::Initiation, start) == 1, "B did not initiate after 5 s");
            Ok(())
        },
    },
    Row {
        name: "responses_are_never_suppressed",
        fact: "a response is sent although another handshake message was, less than 5 s before",
        seconds: 2,
        run: |bench| {
            bench.introduce();
            let start = bench.now();
            for number in 1..=4 {
                bench.re_add(A, bench.other_at_its_endpoint(A).keepalive(25));
                bench.run(ms(200));
                bench.run_until_sent(B, Kind::Response, start, number, ms(0));
            }
            let responses = bench.count(B, Kind::Response, start);
            require!(responses == 4, "{responses} responses to 4 initiations in 0.8 s");
            Ok(())
        },
    },
    Row {
        name: "a_retransmission_inside_the_window_is_not_armed_again",
        fact: "when the retransmit timer fires inside the 5 s, that side falls silent until there is new traffic",
        seconds: 21,
        run: |bench| {
            bench.introduce();
            bench.cut(A, true);
            bench.must_ping(A)?;
            let start = bench.now();
            bench.run(secs(3));
            // B's initiation reaches A; A's response is lost. It stamps A's clock at 3 s.
            bench.configure(B, &[bench.other_at_its_endpoint(B).keepalive(25)]);
            bench.run(DELAY * 2 + bench.slack());
            require!(bench.count(A, Kind::Response, start) == 1, "A did not respond");
            bench.cut(B, true);
            bench.run(secs(15));
            let sent = bench.count(A, Kind::Initiation, start);
            require!(sent == 1, "{sent} initiations of A: its retransmission was made or armed again");
            bench.must_ping(A)?;
            bench.run(ms(10) + bench.slack());
            require!(bench.count(A, Kind::Initiation, start) == 2, "new traffic does not wake it");
            Ok(())
        },
    },
    Row {
        name: "any_set_with_queued_packets_tries_an_initiation",
        fact: "a configuration message tries an initiation for queued packets, under the 5 s rule",
        seconds: 10,
        run: |bench| {
            // As above: A has a queued packet and no timer that would send it.
            bench.introduce();
            bench.cut(A, true);
            bench.must_ping(A)?;
            let start = bench.now();
            bench.run(secs(3));
            bench.configure(B, &[bench.other_at_its_endpoint(B).keepalive(25)]);
            bench.run(DELAY * 2);
            bench.cut(B, true);
            bench.run(ms(2700));
            bench.touch(A);
            bench.run(ms(10));
            require!(
                bench.count(A, Kind::Initiation, start) == 1,
                "5.8 s after A's, 2.8 s after its response"
            );
            bench.run(ms(2500));
            bench.touch(A);
            bench.run(ms(10) + bench.slack());
            require!(bench.count(A, Kind::Initiation, start) == 2, "no initiation from a set after 8.3 s");
            Ok(())
        },
    },
    Row {
        name: "crossing_initiations_kill_each_other",
        fact: "two initiations within one one-way delay: both responses are refused, no session for 5 s",
        seconds: 6,
        run: |bench| {
            // Long enough that the initiations cross on a slow machine too.
            let delay = DELAY + bench.slack();
            bench.set_delay(delay);
            let start = bench.now();
            bench.configure(A, &[bench.other_at_its_endpoint(A).keepalive(25)]);
            bench.run(delay / 2);
            bench.configure(B, &[bench.other_at_its_endpoint(B).keepalive(25)]);
            bench.run(secs(4));
            for side in [A, B] {
                let sent =
                    (bench.count(side, Kind::Initiation, start), bench.count(side, Kind::Response, start));
                require!(sent == (1, 1), "{side:?} sent (initiations, responses) {sent:?}");
                require!(!bench.has_handshake(side), "{side:?} has a session");
            }
            bench.run_until(start + secs(5));
            require!(!bench.has_handshake(A) && !bench.has_handshake(B), "a session within 5 s");
            Ok(())
        },
    },
    Row {
        name: "a_gap_above_the_one_way_delay_does_not_cross",
        fact: "who has heard the other's initiation responds instead of making its own: 1.5 RTT",
        seconds: 1,
        run: |bench| {
            bench.set_delay(DELAY);
            let start = bench.now();
            bench.configure(B, &[bench.other(B)]);
            bench.configure(A, &[bench.other_at_its_endpoint(A).keepalive(25)]);
            bench.run(DELAY + ms(5) + bench.slack());
            bench.configure(B, &[bench.other_at_its_endpoint(B).keepalive(25)]);
            bench.run(DELAY * 2 + bench.slack());
            require!(bench.is_connected(), "no session");
            require!(bench.count(B, Kind::Initiation, start) == 0, "B initiated too");
            Ok(())
        },
    },
    Row {
        name: "initiations_too_close_together_are_dropped",
        fact: "of two initiations within 20 ms (or one 16.8 ms step of the timestamp) the second is dropped",
        seconds: 2,
        run: |bench| {
            bench.introduce();
            for (gap, answered) in [(ms(8), 1), (ms(45), 2)] {
                bench.run(secs(1));
                let start = bench.now();
                bench.re_add(A, bench.other_at_its_endpoint(A).keepalive(25));
                bench.run(gap);
                bench.re_add(A, bench.other_at_its_endpoint(A).keepalive(25));
                bench.run(DELAY * 2 + bench.slack());
                let sent = bench.count(A, Kind::Initiation, start);
                require!(sent == 2, "A sent {sent} initiations");
                let seen = bench.count(B, Kind::Response, start);
                require!(seen == answered, "{seen} answers to two, {} ms apart", gap.as_millis());
            }
            Ok(())
        },
    },
    Row {
        name: "an_old_timestamp_is_a_replay",
        fact: "an initiation whose timestamp is not newer than the last is refused",
        seconds: 3,
        run: |bench| {
            bench.connect()?;
            let recorded = bench.sent(A, Kind::Initiation, Instant::MIN);
            let before = bench.must_dump(B)?;
            let start = bench.now();
            for seen in &recorded {
                bench.run(ms(500));
                bench.inject(B, "198.51.100.77:7777".parse().expect("an address"), &seen.bytes);
            }
            bench.run(ms(500));
            require!(bench.count(B, Kind::Response, start) == 0, "B answered a replay");
            let after = bench.must_dump(B)?;
            require!(
                (before.endpoint, before.rx_bytes) == (after.endpoint, after.rx_bytes),
                "B took it: {after:?}"
            );
            Ok(())
        },
    },
    Row {
        name: "a_readded_peer_forgets_the_replay_stamp",
        fact: "after remove and add a recorded initiation is answered, once",
        seconds: 3,
        run: |bench| {
            bench.connect()?;
            let recorded = bench.sent(A, Kind::Initiation, Instant::MIN).remove(0);
            bench.re_add(B, bench.other(B));
            for (n, answers) in [(1, 1), (2, 1)] {
                bench.inject(B, bench.endpoint(A), &recorded.bytes);
                bench.run(secs(1));
                let seen = bench.sent(B, Kind::Response, Instant::MIN).len() - 1;
                require!(seen == answers, "{seen} answers to {n} replays");
            }
            Ok(())
        },
    },
    Row {
        name: "a_clock_that_went_back_is_refused_but_may_respond",
        fact: "a peer whose wall clock went back cannot initiate; it can respond; the other's re-add mends it",
        seconds: 8,
        run: |bench| {
            bench.connect()?;
            bench.restart(A);
            if !bench.set_wall_clock(A, 3600) {
                return Err(Verdict::Skipped);
            }
            bench.run(secs(1));
            let start = bench.now();
            bench.configure(A, &[bench.other_at_its_endpoint(A)]);
            bench.must_ping(A)?;
            bench.run(secs(1));
            require!(bench.count(A, Kind::Initiation, start) == 1, "A did not initiate");
            require!(bench.count(B, Kind::Response, start) == 0, "B answered a clock of 1970");
            let mended = bench.now();
            bench.re_add(B, bench.other_at_its_endpoint(B).keepalive(25));
            bench.run(ms(300) + bench.slack());
            require!(bench.count(A, Kind::Response, mended) == 1, "A did not respond");
            require!(bench.is_connected(), "B's initiation did not mend it");
            bench.run(secs(5));
            bench.re_add(A, bench.other_at_its_endpoint(A).keepalive(25));
            bench.run(ms(300) + bench.slack());
            require!(bench.has_handshake(A), "the re-added peer still refuses the old clock");
            Ok(())
        },
    },
    Row {
        name: "the_handshake_stamp_is_the_time_of_the_handshake",
        fact: "latest-handshake is the time when the response came, and data does not move it",
        seconds: 3,
        run: |bench| {
            let before = bench.wall_clock(A);
            bench.introduce();
            bench.must_ping(A)?;
            bench.run(DELAY * 3 + bench.slack());
            let stamp = bench.must_dump(A)?.last_handshake.map(|stamp| stamp.secs);
            let after = bench.wall_clock(A);
            require!(stamp.is_some_and(|at| (before.secs..=after.secs).contains(&at)), "it says {stamp:?}");
            bench.run(ms(1500));
            for side in [A, B] {
                bench.must_ping(side)?;
                bench.run(DELAY + bench.slack());
            }
            let later = bench.must_dump(A)?.last_handshake.map(|stamp| stamp.secs);
            require!(later == stamp, "it moved from {stamp:?} to {later:?}");
            Ok(())
        },
    },
    Row {
        name: "the_handshake_stamp_is_wall_clock_time",
        fact: "latest-handshake is the device's own wall clock when the handshake was complete, and stays",
        seconds: 6,
        run: |bench| {
            const THEN: u64 = 2_000_000_000;
            if !bench.set_wall_clock(A, THEN) {
                return Err(Verdict::Skipped);
            }
            bench.connect()?;
            let stamp = bench.must_dump(A)?.last_handshake.map_or(0, |stamp| stamp.secs);
            require!((THEN..THEN + 2 + bench.slack().as_secs()).contains(&stamp), "the stamp says {stamp}");
            bench.set_wall_clock(A, 1000);
            bench.run(secs(1));
            let later = bench.must_dump(A)?.last_handshake.map_or(0, |stamp| stamp.secs);
            require!(later == stamp, "it moved from {stamp} to {later} with the clock");
            Ok(())
        },
    },
];
