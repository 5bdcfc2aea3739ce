use core::net::SocketAddr;

use super::*;
use crate::virtual_internet::ip::Proto;
use crate::virtual_internet::link::Loss;

const PORT: u16 = 51820;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn start() -> Instant {
    Instant::from_secs(1000)
}

fn v4(net: &Internet<u32>, host: HostId) -> SocketAddr {
    SocketAddr::new(net.address_v4(host).expect("has IPv4"), PORT)
}

fn v6(net: &Internet<u32>, host: HostId) -> SocketAddr {
    SocketAddr::new(net.address_v6(host).expect("has IPv6"), PORT)
}

/// Everything that arrives, with when.
fn run(net: &mut Internet<u32>) -> Vec<(Instant, Delivered<u32>)> {
    let mut seen = Vec::new();
    while let Some(at) = net.poll_timeout() {
        while let Some(delivered) = net.poll(at) {
            seen.push((at, delivered));
        }
    }
    seen
}

/// What one packet becomes.
fn one(
    net: &mut Internet<u32>,
    now: Instant,
    from: HostId,
    src: SocketAddr,
    dst: SocketAddr,
) -> Option<Delivered<u32>> {
    net.send(now, from, Header::udp(src, dst), 7);
    let mut seen = run(net);
    assert!(seen.len() <= 1, "{seen:?}");
    seen.pop().map(|(_, delivered)| delivered)
}

#[test]
fn a_path_takes_the_sum_of_its_links() {
    let mut net = Internet::new(1);
    let a = net.add_public(Link::delay(ms(3)));
    let home = net.add_home(HomeConfig { link: Link::delay(ms(20)), ..HomeConfig::default() });
    let b = net.add_host_at(Site::Behind(home), Link::delay(ms(1)), true, false);
    net.set_core(Link::delay(ms(100)));
    let (src, dst) = (v4(&net, b), v4(&net, a));
    net.send(start(), b, Header::udp(src, dst), 0);
    let (at, seen) = run(&mut net).remove(0);
    assert_eq!(at, start() + ms(124));
    assert_eq!((seen.to, seen.from), (a, b));
    let (src, dst) = (dst, seen.header.src);
    net.send(at, a, Header::udp(src, dst), 0);
    assert_eq!(run(&mut net).remove(0).0, start() + ms(248), "and the same back");
}

#[test]
fn a_carrier_nat_over_a_home_nat_translates_twice() {
    let mut net = Internet::new(1);
    let server = net.add_public(Link::PERFECT);
    let carrier = net.add_home(HomeConfig { carrier: true, ..HomeConfig::default() });
    let home = net.add_home(HomeConfig { behind: Some(carrier), ..HomeConfig::default() });
    let laptop = net.add_host(home);
    assert!(matches!(net.nat(home).outside().octets(), [100, 64..=127, _, _]));
    let (src, dst) = (v4(&net, laptop), v4(&net, server));
    let seen = one(&mut net, start(), laptop, src, dst).expect("arrives");
    assert_eq!(seen.header.src.ip(), net.nat(carrier).outside());
    let back = one(&mut net, start(), server, dst, seen.header.src).expect("the answer comes back");
    assert_eq!((back.to, back.header.dst), (laptop, src));
    assert_eq!(net.side(laptop, false).map(|side| side.len()), Some(2));
}

#[test]
fn a_private_address_leads_nowhere_from_outside() {
    let mut net = Internet::new(1);
    let server = net.add_public(Link::PERFECT);
    let home = net.add_home(HomeConfig::default());
    let laptop = net.add_host(home);
    let (src, dst) = (v4(&net, server), v4(&net, laptop));
    assert_eq!(one(&mut net, start(), server, src, dst), None);
    assert_eq!(net.stats().dropped.get(&Dropped::NoRoute), Some(&1));
}

#[test]
fn two_hosts_of_one_home_talk_directly_and_hear_broadcasts() {
    let mut net = Internet::new(1);
    let home = net.add_home(HomeConfig { link: Link::PERFECT.with_loss(1.0), ..HomeConfig::default() });
    let other = net.add_home(HomeConfig::default());
    let (a, b, c) = (net.add_host(home), net.add_host(home), net.add_host(other));
    let (src, dst) = (v4(&net, a), v4(&net, b));
    let seen = one(&mut net, start(), a, src, dst).expect("arrives");
    assert_eq!(seen.header.src, src, "no NAT between them");
    for group in ["255.255.255.255:9", "224.0.0.1:9"] {
        let seen = one(&mut net, start(), a, src, group.parse().unwrap()).expect("arrives");
        assert_eq!(seen.to, b, "not at {c:?}, in another home");
    }
    assert_eq!(net.neighbours(a).collect::<Vec<_>>(), [b]);
    assert_eq!(net.pair(a, b), PairKind::Lan);
}

#[test]
fn ipv6_passes_a_firewall_untranslated() {
    let mut net = Internet::new(1);
    let server = net.add_host_at(Site::Internet, Link::PERFECT, true, true);
    let apdf = Some(Filtering::AddressAndPortDependent);
    let carrier = net.add_home(HomeConfig { carrier: true, ipv6: apdf, ..HomeConfig::default() });
    let home = net.add_home(HomeConfig { behind: Some(carrier), ipv6: apdf, ..HomeConfig::default() });
    let laptop = net.add_host(home);
    let (inside, outside) = (v6(&net, laptop), v6(&net, server));
    assert_eq!(one(&mut net, start(), server, outside, inside), None);
    let refused = Dropped::Refused(Refused::Filtered);
    assert_eq!(net.stats().dropped.get(&refused), Some(&1));
    let seen = one(&mut net, start(), laptop, inside, outside).expect("out is free");
    assert_eq!(seen.header.src, inside);
    let back = one(&mut net, start(), server, outside, inside).expect("an answer");
    assert_eq!(back.to, laptop);

    let temporary = net.add_address_v6(laptop).expect("the home has IPv6");
    let src = SocketAddr::new(temporary, PORT);
    assert_eq!(one(&mut net, start(), laptop, src, outside).expect("arrives").header.src, src);
}

#[test]
fn an_echo_goes_through_a_nat_and_back() {
    let mut net = Internet::new(1);
    let server = net.add_public(Link::PERFECT);
    let home = net.add_home(HomeConfig::default());
    let laptop = net.add_host(home);
    let request = Header::echo_request(v4(&net, laptop).ip(), v4(&net, server).ip(), 99);
    net.send(start(), laptop, request, 0);
    let seen = run(&mut net).remove(0).1;
    net.send(start(), server, seen.header.reply(), 0);
    let back = run(&mut net).remove(0).1;
    assert_eq!((back.to, back.header.proto, back.header.dst.port()), (laptop, Proto::EchoReply, 99));
}

#[test]
fn a_low_ttl_opens_the_own_nat_and_gets_no_further() {
    let mut net = Internet::new(1);
    let (home, far) = (net.add_home(HomeConfig::default()), net.add_home(HomeConfig::default()));
    let a = net.add_host(home);
    let remote = SocketAddr::new(net.nat(far).outside().into(), PORT);
    let src = v4(&net, a);
    for (ttl, reached) in [(1, (0, 0)), (3, (1, 0)), (5, (1, 0)), (6, (1, 0)), (7, (1, 1))] {
        net.reboot(home, false);
        let before = net.stats().clone();
        net.send(start(), a, Header { ttl, ..Header::udp(src, remote) }, 0);
        run(&mut net);
        let opened = net.nat(home).live_sessions(start()) as u64;
        let refused = Dropped::Refused(Refused::NoMapping);
        let count = |stats: &Stats| stats.dropped.get(&refused).copied().unwrap_or(0);
        let arrived = count(net.stats()) - count(&before);
        assert_eq!((opened, arrived), reached, "TTL {ttl}");
    }
}

#[test]
fn partitions_are_one_way_and_end() {
    let mut net = Internet::new(1);
    let (a, b) = (net.add_public(Link::PERFECT), net.add_public(Link::PERFECT));
    let (at_a, at_b) = (v4(&net, a), v4(&net, b));
    net.block(a, b);
    assert_eq!(one(&mut net, start(), a, at_a, at_b), None);
    assert!(one(&mut net, start(), b, at_b, at_a).is_some());
    net.unblock(a, b);
    assert!(one(&mut net, start(), a, at_a, at_b).is_some());
}

#[test]
fn who_is_down_or_lies_about_its_address_is_not_heard() {
    let mut net = Internet::new(1);
    let (a, b) = (net.add_public(Link::PERFECT), net.add_public(Link::PERFECT));
    let (at_a, at_b) = (v4(&net, a), v4(&net, b));
    assert_eq!(one(&mut net, start(), a, at_b, at_a), None);
    net.set_up(b, false);
    assert_eq!(one(&mut net, start(), a, at_a, at_b), None);
    assert_eq!(one(&mut net, start(), b, at_b, at_a), None);
    net.set_up(b, true);
    assert!(one(&mut net, start(), a, at_a, at_b).is_some());
    let dropped = &net.stats().dropped;
    assert_eq!((dropped.get(&Dropped::Spoofed), dropped.get(&Dropped::Down)), (Some(&1), Some(&2)));
}

#[test]
fn who_may_spoof_is_heard_under_any_address_and_answered_under_its_own() {
    let mut net = Internet::new(1);
    let home = net.add_home(HomeConfig::default());
    let (victim, attacker) = (net.add_host(home), net.add_host(home));
    let link_local = |n: u16| SocketAddr::new([0xfe80, 0, 0, 0, 0, 0, 0, n].into(), 9);
    let all: SocketAddr = "[ff02::1]:9".parse().unwrap();
    // The network learns where a link-local address is from who sends from it.
    assert!(one(&mut net, start(), victim, link_local(1), all).is_some());
    net.let_spoof(attacker);
    assert!(one(&mut net, start(), attacker, link_local(2), all).is_some());
    let at_victim = v4(&net, victim);
    for (from, to) in
        [("192.168.0.77:9".parse().unwrap(), at_victim), (link_local(1), all), (link_local(3), all)]
    {
        let seen = one(&mut net, start(), attacker, from, to).expect("arrives");
        assert_eq!((seen.to, seen.header.src), (victim, from));
    }
    for (n, host) in [(1, Some(victim)), (2, Some(attacker)), (3, None)] {
        let from = if n == 1 { attacker } else { victim };
        let source = link_local(if n == 1 { 2 } else { 1 });
        let seen = one(&mut net, start(), from, source, link_local(n));
        assert_eq!(seen.map(|seen| seen.to), host, "fe80::{n}");
    }
}

#[test]
fn a_rebooted_gateway_has_forgotten_and_may_have_moved() {
    let mut net = Internet::new(1);
    let server = net.add_public(Link::PERFECT);
    let home = net.add_home(HomeConfig { nat: NatConfig::full_cone(), ..HomeConfig::default() });
    let laptop = net.add_host(home);
    let (src, dst) = (v4(&net, laptop), v4(&net, server));
    let before = one(&mut net, start(), laptop, src, dst).expect("arrives").header.src;
    net.reboot(home, true);
    assert_eq!(one(&mut net, start(), server, dst, before), None, "the old address is nobody's");
    let after = one(&mut net, start(), laptop, src, dst).expect("arrives").header.src;
    assert_ne!(after.ip(), before.ip());
    net.reboot(home, false);
    assert_eq!(one(&mut net, start(), server, dst, after), None);
    let again = one(&mut net, start(), laptop, src, dst).expect("arrives").header.src;
    assert_eq!(again, after);
}

#[test]
fn a_host_that_moves_is_found_where_it_is() {
    let mut net = Internet::new(1);
    let server = net.add_public(Link::PERFECT);
    let home =
        net.add_home(HomeConfig { ipv6: Some(Filtering::EndpointIndependent), ..HomeConfig::default() });
    let laptop = net.add_host(home);
    let old = net.addresses(laptop).to_vec();
    net.move_host(laptop, Site::Internet, true, true);
    assert_eq!((net.site(laptop), net.pair(server, laptop)), (Site::Internet, PairKind::Direct));
    assert!(net.addresses(laptop).iter().all(|a| !old.contains(a)));
    let (src, dst) = (v4(&net, server), v4(&net, laptop));
    assert_eq!(one(&mut net, start(), server, src, dst).expect("arrives").to, laptop);
    net.renumber(laptop);
    assert_eq!(one(&mut net, start(), server, src, dst), None, "the old address is gone");
}

#[test]
fn a_forwarded_port_is_open() {
    let mut net = Internet::new(1);
    let server = net.add_public(Link::PERFECT);
    let home = net.add_home(HomeConfig { nat: NatConfig::symmetric(), ..HomeConfig::default() });
    let laptop = net.add_host(home);
    let SocketAddr::V4(inside) = v4(&net, laptop) else { unreachable!() };
    net.add_forward(home, Forward { outside_port: 4500, inside });
    let src = v4(&net, server);
    let dst = SocketAddr::new(net.nat(home).outside().into(), 4500);
    assert_eq!(one(&mut net, start(), server, src, dst).expect("arrives").to, laptop);
    net.remove_forward(home, 4500);
    assert_eq!(one(&mut net, start() + Duration::from_secs(60), server, src, dst), None);
}

#[test]
fn addresses_do_not_repeat_and_count_as_public() {
    let mut net: Internet<u32> = Internet::new(1);
    let mut seen = HashSet::default();
    for _ in 0..3000 {
        let host = net.add_host_at(Site::Internet, Link::PERFECT, true, true);
        for address in net.addresses(host) {
            assert!(seen.insert(*address), "{address} twice");
            if let IpAddr::V4(v4) = address {
                assert!(!v4.is_private() && !v4.is_link_local() && !v4.is_multicast(), "{v4}");
            }
        }
    }
}

/// A trace of a thousand packets on bad links, as one string.
fn trace(seed: u64) -> String {
    let mut net = Internet::new(seed);
    let link = Link {
        jitter: ms(30),
        loss: Loss::Burst { enter: 0.02, leave: 0.2, lost: 0.9 },
        reorder: 0.05,
        reorder_by: ms(60),
        duplicate: 0.05,
        ..Link::delay(ms(40))
    };
    let server = net.add_public(link);
    let hosts: Vec<HostId> = (0..4)
        .map(|_| {
            let nat = NatConfig::symmetric();
            let home = net.add_home(HomeConfig { nat, link, ..HomeConfig::default() });
            net.add_host(home)
        })
        .collect();
    let dst = v4(&net, server);
    for n in 0..1000u32 {
        let host = hosts[n as usize % 4];
        let src = v4(&net, host);
        net.send(start() + ms(u64::from(n)), host, Header::udp(src, dst), n);
    }
    let seen = run(&mut net);
    assert!(seen.len() > 500 && seen.len() < 1000, "{}", seen.len());
    format!("{seen:?}{:?}", net.stats())
}

#[test]
fn one_seed_one_trace() {
    assert_eq!(trace(3), trace(3));
    assert_ne!(trace(3), trace(4));
}
