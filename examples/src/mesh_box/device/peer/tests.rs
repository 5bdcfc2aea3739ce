//! The kernel's rules, one test each, in virtual time: `Peer` is told what time it is, and `Tunn`'s own clock decides
//! nothing here.

use super::*;

const MS: Duration = Duration::from_millis(1);
const NOTHING: [u8; 0] = [];

/// One end: a peer (that is, the other end as this one sees it) and what it has sent and delivered.
struct End {
    peer: Peer,
    private: Key,
    limiter: Arc<RateLimiter>,
    sent: Sent,
}

#[derive(Default)]
struct Sent {
    datagrams: Vec<(SocketAddr, Vec<u8>)>,
    delivered: Vec<Vec<u8>>,
}

impl Wire for Sent {
    fn send(&mut self, to: SocketAddr, datagram: &[u8]) {
        self.datagrams.push((to, datagram.to_vec()));
    }

    fn deliver(&mut self, _: &Key, packet: &[u8]) {
        self.delivered.push(packet.to_vec());
    }
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 33723))
}

/// Two ends that know each other; neither has an endpoint.
fn pair() -> (End, End, Instant) {
    let (a, b) = (Key([1; 32]), Key([2; 32]));
    (End::new(a, b.public()), End::new(b, a.public()), Instant::now())
}

/// Two ends with a session that `a` initiated.
fn connected() -> (End, End, Instant) {
    let (mut a, mut b, now) = pair();
    a.peer.endpoint = Some(address(2));
    a.send(now);
    exchange(&mut a, &mut b, now);
    assert_eq!(b.sent.delivered.len(), 1);
    b.sent.delivered.clear();
    (a, b, now)
}

impl End {
    fn new(private: Key, other: Key) -> Self {
        let limiter = Arc::new(RateLimiter::new(&PublicKey::from(private.public().0), u64::MAX));
        let peer = Peer::new(&private, other, Key([0; 32]), 7, &limiter);
        Self { peer, private, limiter, sent: Sent::default() }
    }

    /// Removes the peer and adds it again, with this endpoint.
    fn re_add(&mut self, endpoint: SocketAddr) {
        self.peer = Peer::new(&self.private, self.peer.key, Key([0; 32]), 8, &self.limiter);
        self.peer.endpoint = Some(endpoint);
    }

    fn send(&mut self, now: Instant) {
        self.peer.send(now, &packet(), &mut self.sent).unwrap();
    }

    fn keepalive(&mut self, now: Instant, seconds: u16) {
        self.peer.set_keepalive(now, seconds, &mut self.sent);
    }

    fn timeout(&mut self, now: Instant) {
        self.peer.handle_timeout(now, &mut self.sent);
    }

    fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let mut scratch = [0; 2048];
        match datagram[0] {
            1 => self.peer.handle_initiation(now, from, datagram, &mut self.sent),
            2 => {
                let receiver = index_at(datagram, 8).unwrap();
                self.peer.handle_response(now, from, receiver, datagram, &mut self.sent);
            }
            4 => self.peer.handle_data(now, from, datagram, &mut scratch, &mut self.sent),
            other => panic!("message type {other}"),
        }
    }

    /// Takes what was sent: message types.
    fn take(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.sent.datagrams).iter().map(|(_, datagram)| datagram[0]).collect()
    }

    /// Takes the one datagram that was sent.
    fn take_one(&mut self) -> Vec<u8> {
        let sent = core::mem::take(&mut self.sent.datagrams);
        assert_eq!(sent.len(), 1);
        sent.into_iter().next().unwrap().1
    }
}

/// 40 bytes of IPv4, so that padding shows.
fn packet() -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 17, 0, 0, 10, 14, 0, 1, 10, 14, 0, 2];
    packet.resize(40, 7);
    packet
}

/// Carries datagrams back and forth until there are none.
fn exchange(a: &mut End, b: &mut End, now: Instant) {
    while !a.sent.datagrams.is_empty() || !b.sent.datagrams.is_empty() {
        for (_, datagram) in core::mem::take(&mut a.sent.datagrams) {
            b.receive(now, address(1), &datagram);
        }
        for (_, datagram) in core::mem::take(&mut b.sent.datagrams) {
            a.receive(now, address(2), &datagram);
        }
    }
}

#[test]
fn an_initiation_is_repeated_after_5_to_5_33_s_and_not_before() {
    let (mut a, _, now) = pair();
    a.peer.endpoint = Some(address(2));
    a.send(now);
    assert_eq!(a.take(), [1]);
    a.send(now + 4999 * MS);
    a.keepalive(now + 4999 * MS, 25);
    assert_eq!(a.take(), NOTHING);
    let due = a.peer.poll_timeout().unwrap() - now;
    assert!((5000 * MS..=5333 * MS).contains(&due), "{due:?}");
    a.timeout(now + due);
    assert_eq!(a.take(), [1]);
}

#[test]
fn after_18_repetitions_it_gives_up_and_a_new_packet_starts_over() {
    let (mut a, _, mut now) = pair();
    a.peer.endpoint = Some(address(2));
    a.send(now);
    let mut initiations = a.take().len();
    while let Some(due) = a.peer.timers[Timer::Retransmit as usize] {
        now = due;
        a.timeout(now);
        initiations += a.take().len();
    }
    assert_eq!(initiations, 20);
    assert!(a.peer.staged.is_empty());
    a.send(now + REKEY_TIMEOUT);
    assert_eq!(a.take(), [1]);
}

#[test]
fn a_response_stamps_the_clock_and_is_not_suppressed_itself() {
    let (mut a, mut b, now) = pair();
    a.peer.endpoint = Some(address(2));
    a.send(now);
    let initiation = a.take_one();
    b.receive(now, address(1), &initiation);
    assert_eq!(b.take(), [2]);
    // No session until the first data: what b sends waits, and may not initiate.
    b.send(now + 4999 * MS);
    assert_eq!(b.take(), NOTHING);
    b.send(now + 5000 * MS);
    assert_eq!(b.take(), [1]);
    // Answering is possible right after initiating.
    a.re_add(address(2));
    a.send(now + 5030 * MS);
    let initiation = a.take_one();
    b.receive(now + 5030 * MS, address(1), &initiation);
    assert_eq!(b.take(), [2]);
}

#[test]
fn a_retransmission_inside_the_suppression_window_is_not_armed_again() {
    let (mut a, mut b, now) = pair();
    (a.peer.endpoint, b.peer.endpoint) = (Some(address(2)), Some(address(1)));
    b.send(now);
    a.take();
    b.take();
    // b answers an initiation one second before its own retransmission is due.
    a.send(now + 4000 * MS);
    let initiation = a.take_one();
    b.receive(now + 4000 * MS, address(1), &initiation);
    assert_eq!(b.take(), [2]);
    let due = b.peer.timers[Timer::Retransmit as usize].unwrap();
    b.timeout(due);
    assert_eq!(b.take(), NOTHING);
    assert_eq!(b.peer.timers[Timer::Retransmit as usize], None);
}

#[test]
fn keepalive_from_zero_initiates_at_once_and_a_change_of_it_does_not() {
    let (mut a, _, now) = pair();
    a.peer.endpoint = Some(address(2));
    a.keepalive(now, 25);
    assert_eq!(a.take(), [1]);
    let later = now + 10_000 * MS;
    a.keepalive(later, 10);
    a.keepalive(later, 0);
    assert_eq!(a.take(), NOTHING);
    a.keepalive(later, 25);
    assert_eq!(a.take(), [1]);
}

#[test]
fn a_new_endpoint_is_only_stored_while_an_initiation_is_pending() {
    let (mut a, _, now) = pair();
    a.peer.endpoint = Some(address(2));
    a.send(now);
    a.take();
    a.peer.endpoint = Some(address(3));
    a.peer.flush(now + MS, &mut a.sent);
    assert_eq!(a.take(), NOTHING);
    let due = a.peer.poll_timeout().unwrap();
    a.timeout(due);
    assert_eq!(a.sent.datagrams[0].0, address(3));
}

#[test]
fn remove_and_add_is_the_way_past_the_five_seconds() {
    let (mut a, mut b, now) = pair();
    a.peer.endpoint = Some(address(9));
    a.send(now);
    a.take();
    a.re_add(address(2));
    a.send(now + 30 * MS);
    assert_eq!(a.sent.datagrams.len(), 1);
    exchange(&mut a, &mut b, now + 30 * MS);
    assert_eq!(b.sent.delivered, [packet()]);
}

#[test]
fn two_initiations_within_20_ms_are_a_flood() {
    let (mut a, mut b, now) = pair();
    for (at, answered) in [(0, true), (19, false), (20, true)] {
        a.re_add(address(2));
        a.send(now + at * MS);
        let initiation = a.take_one();
        b.receive(now + at * MS, address(1), &initiation);
        assert_eq!(b.take(), if answered { vec![2] } else { vec![] }, "{at} ms");
    }
}

#[test]
fn crossing_initiations_kill_each_other() {
    let (mut a, mut b, now) = pair();
    (a.peer.endpoint, b.peer.endpoint) = (Some(address(2)), Some(address(1)));
    a.send(now);
    b.send(now);
    let (from_a, from_b) = (a.take_one(), b.take_one());
    b.receive(now, address(1), &from_a);
    a.receive(now, address(2), &from_b);
    let (from_a, from_b) = (a.take_one(), b.take_one());
    assert_eq!((from_a[0], from_b[0]), (2, 2));
    b.receive(now, address(1), &from_a);
    a.receive(now, address(2), &from_b);
    assert_eq!((a.take(), b.take()), (vec![], vec![]));
    assert_eq!((a.peer.last_handshake, b.peer.last_handshake), (None, None));
}

#[test]
fn the_stamp_comes_with_the_response_and_with_the_first_data() {
    let (mut a, mut b, now) = pair();
    a.peer.endpoint = Some(address(2));
    a.keepalive(now, 25);
    let initiation = a.take_one();
    b.receive(now, address(1), &initiation);
    let response = b.take_one();
    assert_eq!((a.peer.last_handshake, b.peer.last_handshake), (None, None));
    a.receive(now, address(2), &response);
    assert!(a.peer.last_handshake.is_some());
    assert_eq!(b.peer.last_handshake, None);
    let keepalive = a.take_one();
    b.receive(now, address(1), &keepalive);
    assert!(b.peer.last_handshake.is_some());
    // As the kernel counts: the whole datagrams.
    assert_eq!((a.peer.tx_bytes, a.peer.rx_bytes), (148 + 32, 92));
    assert_eq!((b.peer.tx_bytes, b.peer.rx_bytes), (92, 148 + 32));
    a.send(now);
    assert_eq!(a.peer.tx_bytes, 148 + 32 + 32 + 48, "40 bytes are padded to 48");
}

#[test]
fn what_waits_takes_the_place_of_the_confirming_keepalive() {
    let (mut a, mut b, now) = pair();
    a.peer.endpoint = Some(address(2));
    a.send(now);
    a.send(now);
    let initiation = a.take_one();
    b.receive(now, address(1), &initiation);
    let response = b.take_one();
    a.receive(now, address(2), &response);
    assert_eq!(a.take(), [4, 4]);
}

#[test]
fn any_genuine_packet_moves_the_endpoint_and_others_do_not() {
    let (mut a, mut b, now) = connected();
    assert_eq!(b.peer.endpoint, Some(address(1)));
    a.send(now);
    let data = a.take_one();
    b.receive(now, address(77), &data);
    assert_eq!(b.peer.endpoint, Some(address(77)));
    // A replay of it, and a forgery.
    b.receive(now, address(78), &data);
    a.send(now);
    let mut forged = a.take_one();
    *forged.last_mut().unwrap() ^= 1;
    b.receive(now, address(78), &forged);
    assert_eq!(b.peer.endpoint, Some(address(77)));
    assert_eq!(b.sent.delivered.len(), 1);
}

#[test]
fn a_peer_without_endpoint_cannot_be_sent_to_but_a_keepalive_stamps_the_clock() {
    let (mut a, _, now) = pair();
    assert_eq!(a.peer.send(now, &packet(), &mut a.sent), Err(NoEndpoint));
    assert!(a.peer.staged.is_empty());
    assert_eq!(a.peer.poll_timeout(), None);
    a.keepalive(now, 25);
    assert_eq!(a.take(), NOTHING);
    a.peer.endpoint = Some(address(2));
    a.send(now + 4999 * MS);
    assert_eq!(a.take(), NOTHING);
    a.send(now + 5000 * MS);
    assert_eq!(a.take(), [1]);
}

#[test]
fn a_stale_session_is_made_again_15_s_after_unanswered_data() {
    let (mut a, _, now) = connected();
    a.send(now);
    assert_eq!(a.take(), [4]);
    a.send(now + 9000 * MS);
    assert_eq!(a.take(), [4]);
    let due = a.peer.timers[Timer::NewHandshake as usize].unwrap() - now;
    assert!((15_000 * MS..=15_333 * MS).contains(&due), "{due:?}");
    a.timeout(now + due);
    assert_eq!(a.take(), [1]);
}

#[test]
fn received_data_is_acknowledged_within_10_s_by_an_empty_packet() {
    let (mut a, mut b, now) = connected();
    a.send(now);
    exchange(&mut a, &mut b, now);
    b.timeout(now + 9999 * MS);
    assert_eq!(b.take(), NOTHING);
    b.timeout(now + 10_000 * MS);
    assert_eq!(b.take_one().len(), 32);
}

#[test]
fn a_persistent_keepalive_is_counted_from_the_last_packet() {
    let (mut a, mut b, now) = connected();
    a.keepalive(now, 25);
    assert_eq!(a.take_one().len(), 32);
    b.send(now + 20_000 * MS);
    exchange(&mut a, &mut b, now + 20_000 * MS);
    a.timeout(now + 30_000 * MS);
    assert_eq!(a.take_one().len(), 32, "the passive keepalive after 10 s");
    a.timeout(now + 54_999 * MS);
    assert_eq!(a.take(), NOTHING);
    a.timeout(now + 55_000 * MS);
    assert_eq!(a.take_one().len(), 32);
}

#[test]
fn after_120_s_the_initiator_renews_and_the_responder_does_not() {
    let (mut a, mut b, now) = connected();
    let later = now + REKEY_AFTER_TIME;
    b.send(later);
    assert_eq!(b.take(), [4]);
    a.send(later);
    assert_eq!(a.take(), [4, 1]);
}

#[test]
fn after_180_s_a_session_is_dead() {
    let (mut a, _, now) = connected();
    a.send(now + REJECT_AFTER_TIME - MS);
    assert_eq!(a.take(), [4, 1]);
    let (_, mut b, now) = connected();
    b.send(now + REJECT_AFTER_TIME);
    assert_eq!(b.take(), [1]);
}

#[test]
fn preshared_keys_must_agree() {
    let (mut a, mut b, now) = pair();
    let (private, limiter) = (a.private, Arc::clone(&a.limiter));
    a.peer.rekey(&private, Key([9; 32]), &limiter);
    a.peer.endpoint = Some(address(2));
    a.send(now);
    exchange(&mut a, &mut b, now);
    assert!(b.sent.delivered.is_empty());

    let (private, limiter) = (b.private, Arc::clone(&b.limiter));
    b.peer.rekey(&private, Key([9; 32]), &limiter);
    let due = a.peer.poll_timeout().unwrap();
    a.timeout(due);
    exchange(&mut a, &mut b, due);
    assert_eq!(b.sent.delivered, [packet()]);
}

#[test]
fn the_queue_drops_the_oldest() {
    let (mut a, mut b, now) = pair();
    a.peer.endpoint = Some(address(2));
    for number in 0..=MAX_STAGED_PACKETS {
        let mut packet = packet();
        packet[39] = u8::try_from(number).unwrap();
        a.peer.send(now, &packet, &mut a.sent).unwrap();
    }
    exchange(&mut a, &mut b, now);
    assert_eq!(b.sent.delivered.len(), MAX_STAGED_PACKETS);
    assert_eq!(b.sent.delivered[0][39], 1);
}
