use proptest::prelude::*;

use super::*;

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

fn inside(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(192, 168, 1, host).into(), port)
}

fn remote(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(198, 51, 100, host).into(), port)
}

fn outside(port: u16) -> SocketAddr {
    SocketAddr::new(OUTSIDE.into(), port)
}

fn at(seconds: u64) -> Instant {
    Instant::from_secs(1000 + seconds)
}

struct Bench(Nat);

impl Bench {
    fn new(config: NatConfig) -> Self {
        Self(Nat::new(config, OUTSIDE, 5))
    }

    fn out(&mut self, now: u64, src: SocketAddr, dst: SocketAddr) -> SocketAddr {
        let header = self.0.outbound(at(now), &Header::udp(src, dst)).expect("passes");
        assert_eq!((header.src.ip(), header.dst), (OUTSIDE.into(), dst));
        header.src
    }

    fn inn(&mut self, now: u64, src: SocketAddr, dst: SocketAddr) -> Result<SocketAddr, Refused> {
        self.0.inbound(at(now), &Header::udp(src, dst)).map(|header| {
            assert_eq!(header.src, src);
            header.dst
        })
    }
}

fn kinds() -> impl Iterator<Item = NatConfig> {
    use Filtering as F;
    use Mapping as M;
    let mappings = [M::EndpointIndependent, M::AddressDependent, M::AddressAndPortDependent];
    let filters = [F::EndpointIndependent, F::AddressDependent, F::AddressAndPortDependent];
    let ports = [PortAllocation::Preserve, PortAllocation::Random];
    mappings.into_iter().flat_map(move |mapping| {
        filters.into_iter().flat_map(move |filtering| {
            ports.into_iter().map(move |ports| NatConfig { ports, ..NatConfig::new(mapping, filtering) })
        })
    })
}

#[test]
fn mapping_depends_on_what_it_should() {
    for config in kinds() {
        let mut nat = Bench::new(NatConfig { ports: PortAllocation::Random, ..config });
        let first = nat.out(0, inside(2, 51820), remote(1, 1));
        assert_eq!(nat.out(1, inside(2, 51820), remote(1, 1)), first, "{config:?}");
        let same_address = nat.out(1, inside(2, 51820), remote(1, 2)) == first;
        let other_address = nat.out(1, inside(2, 51820), remote(2, 1)) == first;
        let expected = match config.mapping {
            Mapping::EndpointIndependent => (true, true),
            Mapping::AddressDependent => (true, false),
            Mapping::AddressAndPortDependent => (false, false),
        };
        assert_eq!((same_address, other_address), expected, "{config:?}");
        assert_ne!(nat.out(1, inside(3, 51820), remote(1, 1)), first, "{config:?}");
    }
}

#[test]
fn filtering_depends_on_what_it_should() {
    for config in kinds() {
        let mut nat = Bench::new(config);
        let mapped = nat.out(0, inside(2, 51820), remote(1, 1));
        assert_eq!(nat.inn(1, remote(1, 1), mapped), Ok(inside(2, 51820)), "{config:?}");
        let same_address = nat.inn(1, remote(1, 2), mapped).is_ok();
        let other_address = nat.inn(1, remote(2, 1), mapped).is_ok();
        let expected = match config.filtering {
            Filtering::EndpointIndependent => (true, true),
            Filtering::AddressDependent => (true, false),
            Filtering::AddressAndPortDependent => (false, false),
        };
        assert_eq!((same_address, other_address), expected, "{config:?}");
        assert_eq!(nat.inn(1, remote(1, 1), outside(9)), Err(Refused::NoMapping), "{config:?}");
    }
}

#[test]
fn ports_are_kept_where_they_are_free() {
    let mut nat = Bench::new(NatConfig::port_restricted());
    assert_eq!(nat.out(0, inside(2, 51820), remote(1, 1)), outside(51820));
    let clash = nat.out(0, inside(3, 51820), remote(1, 1));
    assert_ne!(clash, outside(51820));
    assert_eq!(nat.out(0, inside(3, 51820), remote(2, 2)), clash, "the same for everyone, still");
    assert_eq!(nat.inn(1, remote(1, 1), clash), Ok(inside(3, 51820)));
    assert_eq!(nat.inn(1, remote(1, 1), outside(51820)), Ok(inside(2, 51820)));
}

#[test]
fn linux_keeps_a_port_per_remote() {
    let mut nat = Bench::new(NatConfig::linux());
    assert_eq!(nat.out(0, inside(2, 51820), remote(1, 1)), outside(51820));
    assert_eq!(nat.out(0, inside(3, 51820), remote(2, 2)), outside(51820), "another remote: no clash");
    assert_ne!(nat.out(0, inside(3, 51820), remote(1, 1)), outside(51820), "the same remote: a clash");
    assert_eq!(nat.inn(1, remote(1, 1), outside(51820)), Ok(inside(2, 51820)));
    assert_eq!(nat.inn(1, remote(2, 2), outside(51820)), Ok(inside(3, 51820)));
}

#[test]
fn a_confirmed_unsolicited_packet_costs_the_port() {
    for (confirms, kept) in [(false, true), (true, false)] {
        let config = NatConfig { confirms_unsolicited: confirms, ..NatConfig::linux() };
        let mut nat = Bench::new(config);
        nat.out(0, inside(2, 51820), remote(1, 1));
        assert_eq!(nat.inn(1, remote(2, 2), outside(51820)), Err(Refused::Filtered));
        assert_eq!(nat.out(2, inside(2, 51820), remote(2, 2)) == outside(51820), kept);
    }
    let mut nat = Bench::new(NatConfig { confirms_unsolicited: true, ..NatConfig::linux() });
    assert_eq!(nat.inn(1, remote(2, 2), outside(51820)), Err(Refused::NoMapping));
    assert_eq!(nat.out(32, inside(2, 51820), remote(2, 2)), outside(51820), "for 30 s only");
}

#[test]
fn an_unreplied_session_ends_after_30_s_and_a_two_way_one_after_120_s() {
    let mut nat = Bench::new(NatConfig { ports: PortAllocation::Random, ..NatConfig::port_restricted() });
    let first = nat.out(0, inside(2, 51820), remote(1, 1));
    assert_eq!(nat.out(29, inside(2, 51820), remote(1, 1)), first, "sending keeps it up");
    assert_eq!(nat.inn(59, remote(1, 1), first), Err(Refused::NoMapping));
    let second = nat.out(60, inside(2, 51820), remote(1, 1));
    assert_ne!(second, first);
    assert_eq!(nat.inn(61, remote(1, 1), second), Ok(inside(2, 51820)));
    assert_eq!(nat.inn(180, remote(1, 1), second), Ok(inside(2, 51820)), "119 s after the last");
    assert_eq!(nat.inn(300, remote(1, 1), second), Err(Refused::NoMapping), "120 s after the last");
}

#[test]
fn a_mapping_outlives_a_session_that_ended() {
    let mut nat = Bench::new(NatConfig::port_restricted());
    let mapped = nat.out(0, inside(2, 51820), remote(1, 1));
    nat.out(20, inside(2, 51820), remote(2, 2));
    assert_eq!(nat.inn(40, remote(1, 1), mapped), Err(Refused::Filtered));
    assert_eq!(nat.inn(40, remote(2, 2), mapped), Ok(inside(2, 51820)));
}

#[test]
fn a_reply_leaves_by_the_mapping_the_packet_came_in_on() {
    for config in kinds().filter(|c| c.filtering == Filtering::EndpointIndependent) {
        let mut nat = Bench::new(config);
        let mapped = nat.out(0, inside(2, 51820), remote(1, 1));
        assert_eq!(nat.inn(1, remote(2, 2), mapped), Ok(inside(2, 51820)));
        assert_eq!(nat.out(2, inside(2, 51820), remote(2, 2)), mapped, "{config:?}");
    }
}

#[test]
fn hairpin_shows_the_outside_address_and_obeys_the_filter() {
    let mut nat = Bench::new(NatConfig::port_restricted().with_hairpin());
    let a = nat.out(0, inside(2, 1111), remote(1, 1));
    let b = nat.out(0, inside(3, 2222), remote(1, 1));
    assert_eq!(nat.0.hairpin(at(1), &Header::udp(inside(2, 1111), b)), Err(Refused::Filtered));
    let back = nat.0.hairpin(at(2), &Header::udp(inside(3, 2222), a)).expect("a has sent to b by now");
    assert_eq!((back.src, back.dst), (b, inside(2, 1111)));

    let mut nat = Bench::new(NatConfig::full_cone());
    let b = nat.out(0, inside(3, 2222), remote(1, 1));
    assert_eq!(nat.0.hairpin(at(1), &Header::udp(inside(2, 1111), b)), Err(Refused::NoHairpin));
}

#[test]
fn a_forward_lets_anyone_in_and_its_host_leaves_by_it() {
    let SocketAddr::V4(target) = inside(2, 51820) else { unreachable!() };
    for config in kinds() {
        let mut nat = Bench::new(config);
        nat.0.add_forward(Forward { outside_port: 4500, inside: target });
        assert_eq!(nat.inn(0, remote(1, 1), outside(4500)), Ok(inside(2, 51820)), "{config:?}");
        assert_eq!(nat.out(0, inside(2, 51820), remote(1, 1)), outside(4500), "{config:?}");
        assert_eq!(nat.out(0, inside(2, 51820), remote(7, 7)), outside(4500), "{config:?}");
        assert_ne!(nat.out(0, inside(3, 4500), remote(1, 1)), outside(4500), "the port is taken");
        nat.0.remove_forward(4500);
        assert_eq!(nat.inn(1, remote(1, 1), outside(4500)), Ok(inside(2, 51820)), "live sessions stay");
        assert_eq!(nat.inn(200, remote(1, 1), outside(4500)), Err(Refused::NoMapping), "{config:?}");
        nat.0.add_forward(Forward { outside_port: 4501, inside: target });
        nat.0.reboot(None);
        assert_eq!(nat.inn(201, remote(3, 3), outside(4501)), Ok(inside(2, 51820)), "{config:?}");
    }
}

#[test]
fn a_reboot_forgets_and_may_change_the_address() {
    let mut nat = Bench::new(NatConfig::full_cone());
    let mapped = nat.out(0, inside(2, 51820), remote(1, 1));
    nat.0.reboot(None);
    assert_eq!(nat.inn(1, remote(1, 1), mapped), Err(Refused::NoMapping));
    nat.0.reboot(Some(Ipv4Addr::new(203, 0, 113, 10)));
    let header = nat.0.outbound(at(2), &Header::udp(inside(2, 51820), remote(1, 1))).expect("passes");
    assert_eq!(header.src.ip(), Ipv4Addr::new(203, 0, 113, 10));
    assert_eq!(nat.inn(3, remote(1, 1), mapped), Err(Refused::NotForUs));
}

#[test]
fn blocked_udp_blocks_udp_and_lets_echoes_through() {
    let mut nat = Nat::new(NatConfig { blocks_udp: true, ..NatConfig::default() }, OUTSIDE, 1);
    assert_eq!(nat.outbound(at(0), &Header::udp(inside(2, 1), remote(1, 1))), Err(Refused::Blocked));
    assert_eq!(nat.inbound(at(0), &Header::udp(remote(1, 1), outside(1))), Err(Refused::Blocked));
    let request = Header::echo_request(inside(2, 0).ip(), remote(1, 0).ip(), 77);
    let out = nat.outbound(at(0), &request).expect("passes");
    let back = nat.inbound(at(0), &out.reply()).expect("passes");
    assert_eq!(back, Header { ttl: back.ttl, ..request.reply() });
}

#[test]
fn echo_identifiers_and_udp_ports_do_not_clash() {
    let mut nat = Nat::new(NatConfig::port_restricted(), OUTSIDE, 1);
    nat.outbound(at(0), &Header::udp(inside(2, 77), remote(1, 1))).expect("passes");
    let ping = |host| Header::echo_request(inside(host, 0).ip(), remote(1, 0).ip(), 77);
    assert_eq!(nat.outbound(at(0), &ping(2)).expect("passes").src, outside(77));
    let other = nat.outbound(at(0), &ping(3)).expect("passes");
    assert_ne!(other.src, outside(77), "two hosts with one identifier");
    assert_eq!(nat.inbound(at(0), &other.reply()).expect("passes").dst, inside(3, 77));
}

#[test]
fn all_ports_can_be_used_and_no_more() {
    let mut nat = Nat::new(NatConfig::symmetric(), OUTSIDE, 1);
    let send = |nat: &mut Nat, n: u32, now: u64| {
        let dst = SocketAddr::new(Ipv4Addr::from_bits(0xc633_6400 + n).into(), 1);
        nat.outbound(at(now), &Header::udp(inside(2, 5), dst)).map(|h| h.src.port())
    };
    let mut seen = std::collections::HashSet::new();
    for n in 0..64_512 {
        assert!(seen.insert(send(&mut nat, n, 0).expect("a port is left")));
    }
    assert_eq!(send(&mut nat, 70_000, 1), Err(Refused::PortsExhausted));
    assert!(send(&mut nat, 70_000, 30).is_ok(), "after their time they are free again");
}

#[test]
fn memory_follows_what_is_alive() {
    let mut nat = Nat::new(NatConfig { confirms_unsolicited: true, ..NatConfig::symmetric() }, OUTSIDE, 1);
    for n in 0..100_000u32 {
        let dst = SocketAddr::new(Ipv4Addr::from_bits(0xc633_6400 + n).into(), 1);
        let now = at(u64::from(n) / 10);
        nat.outbound(now, &Header::udp(inside(2, 5), dst)).expect("passes");
        let refused = nat.inbound(now, &Header::udp(dst, outside(1)));
        assert_eq!(refused, Err(Refused::NoMapping));
    }
    // 10 a second for 30 s are alive; twice that, at two kinds of entries, before the next sweep.
    let sizes = [nat.sessions.len(), nat.by_outside.len(), nat.by_inside.len(), nat.confirmed.len()];
    assert!(sizes.iter().all(|n| *n <= 1300), "{sizes:?}");
    assert!(nat.mappings.len() <= 1300, "{}", nat.mappings.len());
}

#[test]
fn a_firewall_lets_in_only_answers() {
    let v6 = |n: u16, port| SocketAddr::new([0x2001, 0xdb8, 0, 0, 0, 0, 0, n].map(u16::from).into(), port);
    let (host, peer) = (v6(1, 10), v6(2, 20));
    let mk = |f| Firewall::new(f, Duration::from_secs(30), Duration::from_secs(120), false);
    for (filtering, same_address, other_address) in [
        (Filtering::EndpointIndependent, true, true),
        (Filtering::AddressDependent, true, false),
        (Filtering::AddressAndPortDependent, false, false),
    ] {
        let mut wall = mk(filtering);
        assert_eq!(wall.inbound(at(0), &Header::udp(peer, host)), Err(Refused::Filtered));
        wall.outbound(at(0), &Header::udp(host, peer)).expect("out is free");
        assert_eq!(wall.inbound(at(1), &Header::udp(peer, host)), Ok(()));
        assert_eq!(wall.inbound(at(1), &Header::udp(v6(2, 21), host)).is_ok(), same_address);
        assert_eq!(wall.inbound(at(1), &Header::udp(v6(3, 20), host)).is_ok(), other_address);
    }
    let mut wall = mk(Filtering::AddressAndPortDependent);
    wall.outbound(at(0), &Header::udp(host, peer)).expect("out is free");
    assert_eq!(wall.inbound(at(30), &Header::udp(peer, host)), Err(Refused::Filtered), "unreplied: 30 s");
    wall.outbound(at(31), &Header::udp(host, peer)).expect("out is free");
    wall.inbound(at(32), &Header::udp(peer, host)).expect("an answer");
    assert_eq!(wall.inbound(at(151), &Header::udp(peer, host)), Ok(()), "two-way: 120 s");
    assert_eq!(wall.inbound(at(271), &Header::udp(peer, host)), Err(Refused::Filtered));
}

proptest! {
    /// Whatever happens, a packet that comes in reaches the host whose packet last left by that port for that
    /// remote, and two inside endpoints are never shown to one remote as one outside endpoint at one time.
    #[test]
    fn no_two_hosts_look_alike_and_answers_go_home(
        kind in 0usize..18,
        steps in proptest::collection::vec((0u64..20, 1u8..4, 0u16..3, 1u8..4, 0u16..3, any::<bool>()), 1..200),
    ) {
        let config = kinds().nth(kind).unwrap();
        let mut nat = Nat::new(config, OUTSIDE, 3);
        let mut now = at(0);
        // (outside port, remote) -> (inside, last time it sent or heard)
        let mut shown: HashMap<(u16, SocketAddr), (SocketAddr, Instant)> = HashMap::default();
        for (wait, host, port, peer, peer_port, sends) in steps {
            now += Duration::from_secs(wait);
            let (src, dst) = (inside(host, 5000 + port), remote(peer, 7000 + peer_port));
            if sends {
                let out = nat.outbound(now, &Header::udp(src, dst)).unwrap();
                let key = (out.src.port(), dst);
                if let Some((other, last)) = shown.insert(key, (src, now)) {
                    prop_assert!(
                        other == src || now >= last + config.unreplied,
                        "{:?} and {:?} both left by {} for {}", other, src, key.0, dst
                    );
                }
                prop_assert_eq!(nat.inbound(now, &Header::udp(dst, out.src)).map(|h| h.dst), Ok(src));
            } else {
                let to = outside(5000 + port);
                if let Ok(header) = nat.inbound(now, &Header::udp(dst, to)) {
                    shown.insert((5000 + port, dst), (header.dst, now));
                    let answer = nat.outbound(now, &Header::udp(header.dst, dst)).unwrap();
                    prop_assert_eq!(answer.src, to, "the answer leaves by another port");
                }
            }
        }
    }
}
