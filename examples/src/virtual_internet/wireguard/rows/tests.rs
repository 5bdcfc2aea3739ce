//! The rows over the model, each a test of its own, in virtual time, and with several seeds.

use std::collections::VecDeque;

use super::*;
use crate::virtual_internet::ip;
use crate::virtual_internet::wireguard::{Device, Out, kind};

const START: Instant = Instant::from_secs(10_000);

struct Model {
    now: Instant,
    seed: u64,
    devices: [Device; 2],
    delay: Duration,
    cut: [bool; 2],
    /// Which generation of port each device has.
    port: [u16; 2],
    /// Arrival, receiving side, source, datagram. All delays are equal, so this is in order.
    flying: VecDeque<(Instant, Side, SocketAddr, Vec<u8>)>,
    wire: Vec<Seen>,
    heard: Vec<Heard>,
    pings: u32,
}

const fn key_of(side: Side) -> Key {
    [side as u8 + 1; 32]
}

const fn device(side: Side, seed: u64) -> (Key, u64) {
    (key_of(side), seed * 2 + side as u64)
}

impl Model {
    fn new(seed: u64) -> Self {
        let make = |side| {
            let (key, seed) = device(side, seed);
            Device::new(key, 51820, seed)
        };
        Self {
            now: START,
            seed,
            devices: [make(Side::A), make(Side::B)],
            delay: Duration::from_ticks(0),
            cut: [false; 2],
            port: [51820; 2],
            flying: VecDeque::new(),
            wire: Vec::new(),
            heard: Vec::new(),
            pings: 0,
        }
    }

    fn device(&mut self, side: Side) -> &mut Device {
        &mut self.devices[side as usize]
    }

    fn side_at(&self, endpoint: SocketAddr) -> Option<Side> {
        [Side::A, Side::B].into_iter().find(|side| self.endpoint(*side) == endpoint)
    }

    /// Everything that the devices want done now.
    fn settle(&mut self) {
        for side in [Side::A, Side::B] {
            let now = self.now;
            while let Some(out) = self.device(side).poll(now) {
                match out {
                    Out::Send { to, datagram } => {
                        let kind = kind(&datagram);
                        self.wire.push(Seen { at: now, from: side, to, kind, bytes: datagram.clone() });
                        if !self.cut[side as usize]
                            && let Some(target) = self.side_at(to)
                        {
                            let from = self.endpoint(side);
                            self.flying.push_back((now + self.delay, target, from, datagram));
                        }
                    }
                    Out::Deliver { packet, .. } => {
                        let payload = ip::payload(&packet).expect("a ping");
                        let number = u32::from_be_bytes(payload.try_into().expect("4 bytes"));
                        self.heard.push(Heard { at: now, by: side, number });
                    }
                }
            }
            let next = self.device(side).poll_timeout();
            assert!(next.is_none_or(|at| at > now), "after poll the next timeout is after now");
        }
    }
}

impl Bench for Model {
    fn slack(&self) -> Duration {
        Duration::from_ticks(0)
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        loop {
            let arrival = self.flying.front().map(|packet| packet.0);
            let timers = self.devices.iter().filter_map(Device::poll_timeout).min();
            let Some(next) = [arrival, timers].into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            self.now = next;
            while self.flying.front().is_some_and(|packet| packet.0 <= next)
                && let Some((_, to, from, datagram)) = self.flying.pop_front()
            {
                self.device(to).handle_datagram(next, from, &datagram);
            }
            self.settle();
        }
        self.now = end;
    }

    fn key(&self, side: Side) -> Key {
        key_of(side)
    }

    fn endpoint(&self, side: Side) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::new(203, 0, 113, side as u8 + 1).into(), self.port[side as usize])
    }

    fn configure(&mut self, side: Side, changes: &[PeerChange]) {
        let now = self.now;
        self.device(side).configure(now, changes);
        self.settle();
    }

    fn ping(&mut self, side: Side) -> Result<u32, SendError> {
        let number = self.pings;
        self.pings += 1;
        let port = |side: Side| SocketAddr::new(side.mesh_address(), 7);
        let now = self.now;
        let sent = self.device(side).send_udp(now, port(side), port(side.other()), &number.to_be_bytes());
        self.settle();
        sent.map(|()| number)
    }

    fn dump(&self, side: Side) -> Option<Dump> {
        let peer = self.devices[side as usize].peer(&key_of(side.other()))?;
        Some(Dump {
            endpoint: peer.endpoint,
            rx_bytes: peer.rx_bytes,
            tx_bytes: peer.tx_bytes,
            last_handshake: peer.last_handshake,
            allowed_ips: peer.allowed_ips.len(),
            keepalive: peer.keepalive,
        })
    }

    fn wire(&self) -> &[Seen] {
        &self.wire
    }

    fn heard(&self) -> &[Heard] {
        &self.heard
    }

    fn set_delay(&mut self, one_way: Duration) {
        self.delay = one_way;
    }

    fn cut(&mut self, from: Side, lost: bool) {
        self.cut[from as usize] = lost;
    }

    fn inject(&mut self, to: Side, src: SocketAddr, bytes: &[u8]) {
        let now = self.now;
        self.device(to).handle_datagram(now, src, bytes);
        self.settle();
    }

    fn rebind(&mut self, side: Side) -> SocketAddr {
        self.port[side as usize] += 1;
        let port = self.port[side as usize];
        self.device(side).set_listen_port(port);
        self.endpoint(side)
    }

    fn restart(&mut self, side: Side) {
        self.seed += 1000;
        let (key, seed) = device(side, self.seed);
        *self.device(side) = Device::new(key, self.port[side as usize], seed);
    }

    fn wall_clock(&self, side: Side) -> WallClock {
        self.devices[side as usize].wall_clock(self.now)
    }

    fn set_wall_clock(&mut self, side: Side, seconds: u64) -> bool {
        let now = self.now;
        self.device(side).set_wall_clock(now, WallClock { secs: seconds, nanos: 0 });
        true
    }
}

fn check(name: &str) {
    let row = rows().into_iter().find(|row| row.name == name).expect("the row exists");
    for seed in 0..20 {
        let mut model = Model::new(seed);
        if let Err(verdict) = (row.run)(&mut model) {
            panic!("seed {seed}: {}: {verdict}", row.fact);
        }
    }
}

macro_rules! row_tests {
    ($($name:ident)+) => {
        $(#[test] fn $name() { check(stringify!($name)); })+

        #[test]
        fn every_row_is_tested() {
            let tested = [$(stringify!($name)),+];
            let rows: Vec<&str> = rows().iter().map(|row| row.name).collect();
            assert_eq!(rows, tested);
        }
    };
}

row_tests! {
    connected_after_one_rtt_and_one_and_a_half
    the_responder_is_up_only_by_the_first_data
    an_initiator_confirms_at_once
    an_initiation_is_repeated_after_5_0_to_5_33_s
    an_initiator_gives_up_after_20_tries
    an_initiation_is_suppressed_for_5_s
    a_response_stamps_the_clock
    responses_are_never_suppressed
    a_retransmission_inside_the_window_is_not_armed_again
    any_set_with_queued_packets_tries_an_initiation
    crossing_initiations_kill_each_other
    a_gap_above_the_one_way_delay_does_not_cross
    initiations_too_close_together_are_dropped
    an_old_timestamp_is_a_replay
    a_readded_peer_forgets_the_replay_stamp
    a_clock_that_went_back_is_refused_but_may_respond
    the_handshake_stamp_is_the_time_of_the_handshake
    the_handshake_stamp_is_wall_clock_time
    an_endpoint_change_while_pending_is_only_stored
    remove_and_add_passes_the_5_s
    remove_and_add_loses_the_session_and_the_settings
    update_only_does_not_make_a_peer
    without_an_endpoint_nothing_leaves
    without_an_endpoint_a_ping_stamps_nothing
    retransmissions_end_by_remove_and_add_without_endpoint
    an_authenticated_packet_moves_the_endpoint
    unknown_packets_are_dropped_in_silence
    keepalive_from_0_to_n_initiates_at_once
    keepalive_from_0_to_n_speaks_in_a_session
    keepalive_from_n_to_m_sends_nothing
    a_persistent_keepalive_comes_after_n_seconds_of_silence
    who_only_receives_sends_a_keepalive_after_10_s
    what_waited_at_the_responder_answers_the_first_data
    bytes_are_counted_whole
    the_queue_keeps_the_newest_128
    a_stale_session_is_made_anew_15_s_after_unanswered_data
    data_that_waited_for_its_session_counts_as_unanswered
    only_the_initiator_makes_a_new_session_after_120_s
    a_session_of_180_s_is_not_used
    the_responder_may_begin_a_new_session_after_180_s
    an_initiator_renews_on_receiving_after_165_s
}
