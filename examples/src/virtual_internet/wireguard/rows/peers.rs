//! What configuration does: endpoints, re-adding, roaming, what goes nowhere.

use super::*;
use Side::{A, B};

fn nowhere() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(198, 51, 100, 99).into(), 9)
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "an_endpoint_change_while_pending_is_only_stored",
        fact: "the new endpoint is used at the next retransmission, 5.0 to 5.33 s after the last",
        seconds: 7,
        run: |bench| {
            bench.introduce();
            bench.configure(A, &[bench.other(A).endpoint(nowhere())]);
            bench.must_ping(A)?;
            let start = bench.now();
            bench.run(secs(1));
            bench.configure(A, &[bench.other_at_its_endpoint(A)]);
            bench.run(RETRANSMIT.1 - secs(1) + bench.slack());
            let sent = bench.sent(A, Kind::Initiation, start);
            require!(sent.len() == 2, "{} initiations", sent.len());
            require!(sent[1].to == bench.endpoint(B), "the second went to {}", sent[1].to);
            require!(bench.within(sent[1].at, start, RETRANSMIT.0, RETRANSMIT.1), "it left {:?}", sent[1].at);
            bench.run(DELAY * 3 + bench.slack());
            require!(bench.is_connected(), "no session by the new endpoint");
            Ok(())
        },
    },
    Row {
        name: "remove_and_add_passes_the_5_s",
        fact: "removing and re-adding the peer is the only way past the 5 s, and one message may hold both",
        seconds: 2,
        run: |bench| {
            bench.introduce();
            bench.configure(A, &[bench.other(A).endpoint(nowhere())]);
            bench.must_ping(A)?;
            bench.run(secs(1));
            let start = bench.now();
            bench.re_add(A, bench.other_at_its_endpoint(A).keepalive(25));
            bench.run(DELAY * 3 + bench.slack());
            require!(bench.is_connected(), "no session 1.5 RTT after remove and add");
            let first = bench.sent(A, Kind::Initiation, start).first().map(|seen| seen.at);
            require!(first.is_some_and(|at| bench.within(at, start, ms(0), ms(0))), "it left {first:?}");
            Ok(())
        },
    },
    Row {
        name: "remove_and_add_loses_the_session_and_the_settings",
        fact: "a re-added peer has no session, no preshared key, no allowed IPs, no endpoint and zero counters",
        seconds: 3,
        run: |bench| {
            let secret = [7; 32];
            bench.set_delay(DELAY);
            bench.configure(A, &[bench.other_at_its_endpoint(A).preshared_key(secret)]);
            bench.configure(B, &[bench.other(B).preshared_key(secret)]);
            bench.must_ping(A)?;
            bench.run(ms(300) + bench.slack());
            require!(bench.is_connected(), "no session with a preshared key");
            bench.re_add(A, PeerChange::new(bench.key(B)));
            let dump = bench.must_dump(A)?;
            let blank = Dump {
                endpoint: None,
                rx_bytes: 0,
                tx_bytes: 0,
                last_handshake: None,
                allowed_ips: 0,
                keepalive: 0,
            };
            require!(dump == blank, "left over: {dump:?}");
            let refused = bench.ping(A);
            require!(
                refused == Err(SendError::NoRoute) || !bench.tells_senders(),
                "a ping gives {refused:?}"
            );
            bench.configure(A, &[bench.other_at_its_endpoint(A)]);
            let start = bench.now();
            bench.must_ping(A)?;
            bench.run(secs(1));
            require!(bench.count(B, Kind::Response, start) == 1, "B did not respond");
            require!(!bench.has_handshake(A), "a session without the preshared key");
            Ok(())
        },
    },
    Row {
        name: "update_only_does_not_make_a_peer",
        fact: "UPDATE_ONLY changes a peer that is there and makes none that is not",
        seconds: 1,
        run: |bench| {
            let update = PeerChange { update_only: true, ..bench.other_at_its_endpoint(A).keepalive(25) };
            bench.configure(A, core::slice::from_ref(&update));
            bench.run(ms(100));
            require!(bench.dump(A).is_none(), "a peer was made");
            require!(bench.wire().is_empty(), "something was sent");
            bench.configure(A, &[PeerChange::new(bench.key(B))]);
            bench.configure(A, &[update]);
            require!(bench.must_dump(A)?.keepalive == 25, "it did not update");
            Ok(())
        },
    },
    Row {
        name: "without_an_endpoint_nothing_leaves",
        fact: "a peer without an endpoint cannot initiate (EDESTADDRREQ); a keepalive to it still stamps the 5 s",
        seconds: 7,
        run: |bench| {
            bench.set_delay(DELAY);
            bench.configure(A, &[bench.other(A)]);
            bench.configure(B, &[bench.other(B)]);
            let start = bench.now();
            let refused = bench.ping(A);
            require!(
                refused == Err(SendError::NoEndpoint) || !bench.tells_senders(),
                "a ping gives {refused:?}"
            );
            bench.configure(A, &[PeerChange::new(bench.key(B)).keepalive(25)]);
            bench.run(secs(1));
            require!(bench.wire().is_empty(), "something was sent");
            bench.configure(A, &[bench.other_at_its_endpoint(A)]);
            bench.must_ping(A)?;
            bench.run(ms(3900));
            require!(bench.wire().is_empty(), "the keepalive did not stamp the clock");
            bench.run(ms(500) + bench.slack());
            let first = bench.sent(A, Kind::Initiation, start).first().map(|seen| seen.at);
            require!(
                first.is_some_and(|at| bench.within(at, start, RETRANSMIT.0, RETRANSMIT.1)),
                "the first initiation left {first:?}, the keepalive was set {start:?}"
            );
            Ok(())
        },
    },
    Row {
        name: "without_an_endpoint_a_ping_stamps_nothing",
        fact: "a packet refused for want of an endpoint is not queued and stamps no clock",
        seconds: 1,
        run: |bench| {
            bench.set_delay(DELAY);
            bench.configure(A, &[bench.other(A)]);
            bench.configure(B, &[bench.other(B)]);
            let refused = bench.ping(A);
            require!(
                refused == Err(SendError::NoEndpoint) || !bench.tells_senders(),
                "a ping gives {refused:?}"
            );
            bench.configure(A, &[bench.other_at_its_endpoint(A)]);
            bench.run(ms(100));
            require!(bench.wire().is_empty(), "the refused packet was queued");
            bench.must_ping(A)?;
            bench.run(DELAY * 3 + bench.slack());
            require!(bench.is_connected(), "the refused packet stamped the clock");
            Ok(())
        },
    },
    Row {
        name: "retransmissions_end_by_remove_and_add_without_endpoint",
        fact: "they go on every 5 s unless the peer is disarmed: removed, and added without an endpoint",
        seconds: 30,
        run: |bench| {
            bench.introduce();
            bench.cut(B, true);
            bench.must_ping(A)?;
            let start = bench.now();
            bench.run(secs(12));
            let sent = bench.count(A, Kind::Initiation, start);
            require!(sent == 3, "{sent} initiations in 12 s");
            bench.re_add(A, bench.other(A));
            bench.run(secs(18));
            let sent = bench.count(A, Kind::Initiation, start);
            require!(sent == 3, "{sent} initiations, disarmed after 3");
            Ok(())
        },
    },
    Row {
        name: "an_authenticated_packet_moves_the_endpoint",
        fact: "any authenticated packet, handshake or data, moves the peer's endpoint to its source",
        seconds: 3,
        run: |bench| {
            bench.introduce();
            bench.must_ping(A)?;
            bench.run(DELAY + ms(5) + bench.slack());
            let seen = bench.must_dump(B)?.endpoint;
            require!(seen == Some(bench.endpoint(A)), "after an initiation: {seen:?}");
            bench.run(ms(300));
            let moved = bench.rebind(A);
            bench.must_ping(A)?;
            bench.run(DELAY + bench.slack());
            let seen = bench.must_dump(B)?.endpoint;
            require!(seen == Some(moved), "after data from {moved}: {seen:?}");
            let number = bench.must_ping(B)?;
            bench.run(DELAY + bench.slack());
            require!(bench.has_heard(A, number), "what B sends does not follow");
            Ok(())
        },
    },
    Row {
        name: "unknown_packets_are_dropped_in_silence",
        fact: "packets of unknown type that reach the WireGuard port change nothing and get no answer",
        seconds: 2,
        run: |bench| {
            bench.connect()?;
            let before = (bench.must_dump(B)?, bench.wire().len());
            for first in [0, 5, 77, 255] {
                for length in [0, 1, 4, 32, 92, 148, 600] {
                    let mut bytes = vec![0; length];
                    if let Some(byte) = bytes.first_mut() {
                        *byte = first;
                    }
                    bench.inject(B, nowhere(), &bytes);
                    bench.inject(B, bench.endpoint(A), &bytes);
                }
            }
            bench.run(secs(1));
            require!((bench.must_dump(B)?, bench.wire().len()) == before, "something happened");
            let number = bench.must_ping(A)?;
            bench.run(DELAY + bench.slack());
            require!(bench.has_heard(B, number), "the session suffered");
            Ok(())
        },
    },
];
