//! The oracle against packets: every pair of kinds of NAT is set up and punched by brute force.

use core::net::SocketAddr;
use std::collections::HashMap;

use embassy_time::{Duration, Instant};

use super::*;
use crate::virtual_internet::{
    Filtering, Header, HomeConfig, HostId, Internet, Link, Mapping, NatConfig, PortAllocation, Site,
};

const START: Instant = Instant::from_secs(1000);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Open,
    Echo,
}

fn kinds() -> Vec<NatConfig> {
    use Filtering as F;
    use Mapping as M;
    let mut kinds = Vec::new();
    for mapping in [M::EndpointIndependent, M::AddressDependent, M::AddressAndPortDependent] {
        for filtering in [F::EndpointIndependent, F::AddressDependent, F::AddressAndPortDependent] {
            for ports in [PortAllocation::Preserve, PortAllocation::Random] {
                kinds.push(NatConfig { ports, ..NatConfig::new(mapping, filtering) });
            }
        }
    }
    kinds
}

fn few_kinds() -> [NatConfig; 5] {
    [
        NatConfig::full_cone(),
        NatConfig::restricted_cone(),
        NatConfig::port_restricted(),
        NatConfig { filtering: Filtering::EndpointIndependent, ..NatConfig::symmetric() },
        NatConfig::symmetric(),
    ]
}

/// A pair with a third host, and which family to use.
struct Trial {
    net: Internet<Word>,
    third: HostId,
    ends: [HostId; 2],
    ipv6: bool,
}

impl Trial {
    fn new(ipv6: bool, place: impl Fn(&mut Internet<Word>, usize) -> HostId) -> Self {
        let mut net = Internet::new(11);
        net.set_core(Link::delay(Duration::from_millis(20)));
        let third = net.add_host_at(Site::Internet, Link::PERFECT, true, true);
        let ends = [place(&mut net, 0), place(&mut net, 1)];
        Self { net, third, ends, ipv6 }
    }

    fn endpoint(&self, host: HostId) -> Option<SocketAddr> {
        let address = if self.ipv6 { self.net.address_v6(host) } else { self.net.address_v4(host) };
        // Different ports, as hosts behind one NAT need them.
        Some(SocketAddr::new(address?, 51820 + host.0 as u16))
    }

    fn send(&mut self, now: Instant, from: HostId, to: SocketAddr, word: Word) {
        let src = self.endpoint(from).expect("checked");
        self.net.send(now, from, Header::udp(src, to), word);
    }

    /// Where the third host sees both ends. `None`: it does not.
    fn reflexive(&mut self) -> Option<[SocketAddr; 2]> {
        let third = self.endpoint(self.third)?;
        let mut seen = HashMap::new();
        for host in self.ends {
            self.endpoint(host)?;
            self.send(START, host, third, Word::Open);
        }
        while let Some(at) = self.net.poll_timeout() {
            while let Some(got) = self.net.poll(at) {
                seen.insert(got.from, got.header.src);
            }
        }
        Some([*seen.get(&self.ends[0])?, *seen.get(&self.ends[1])?])
    }

    /// Sends openers by a plan of (milliseconds, end); whoever hears one echoes to where it heard it from. An echo
    /// that arrives proves both directions.
    fn punch(mut self, plan: &[(u64, usize)]) -> bool {
        let Some(reflexive) = self.reflexive() else {
            return false;
        };
        let begin = START + Duration::from_secs(1);
        let mut plan = plan.iter().map(|(ms, end)| (begin + Duration::from_millis(*ms), *end)).peekable();
        let mut echoed = false;
        loop {
            let next_plan = plan.peek().map(|p| p.0);
            let Some(at) = [next_plan, self.net.poll_timeout()].into_iter().flatten().min() else {
                return echoed;
            };
            while let Some((_, end)) = plan.next_if(|p| p.0 <= at) {
                self.send(at, self.ends[end], reflexive[1 - end], Word::Open);
            }
            while let Some(got) = self.net.poll(at) {
                match got.payload {
                    Word::Open if self.ends.contains(&got.to) => {
                        self.send(at, got.to, got.header.src, Word::Echo);
                    }
                    Word::Open => {}
                    Word::Echo => echoed |= self.ends.contains(&got.from),
                }
            }
        }
    }
}

/// Both send openers at 0, 100 and 250 ms.
const BOTH: [(u64, usize); 6] = [(0, 0), (0, 1), (100, 0), (100, 1), (250, 0), (250, 1)];

/// Compares the oracle's word for a pair with what packets do: with openers from both sides, and with one opening
/// packet from one side and one initiation from the other, the better of the two choices of role.
fn check(ipv6: bool, by_oracle: bool, what: &str, place: impl Fn(&mut Internet<Word>, usize) -> HostId) {
    let trial = || Trial::new(ipv6, &place);
    assert_eq!(trial().punch(&BOTH), by_oracle, "openers from both: {what}");
    let roles = [[(0, 0), (100, 1)], [(0, 1), (100, 0)]];
    assert_eq!(roles.iter().any(|plan| trial().punch(plan)), by_oracle, "one opener, one initiator: {what}");
}

/// What may stand in front of a host: gateways from the outermost to the nearest.
fn fronts() -> Vec<Vec<NatConfig>> {
    let mut fronts = vec![vec![], vec![NatConfig { blocks_udp: true, ..NatConfig::full_cone() }]];
    fronts.extend(kinds().into_iter().map(|kind| vec![kind]));
    for carrier in few_kinds() {
        fronts.extend(few_kinds().into_iter().map(|home| vec![carrier, home]));
    }
    fronts
}

fn place(net: &mut Internet<Word>, front: &[NatConfig]) -> HostId {
    let mut behind = None;
    for (depth, nat) in front.iter().enumerate() {
        let carrier = depth + 1 < front.len();
        behind = Some(net.add_home(HomeConfig { nat: *nat, behind, carrier, ..HomeConfig::default() }));
    }
    net.add_host_at(behind.map_or(Site::Internet, Site::Behind), Link::PERFECT, true, false)
}

#[test]
fn every_pair_of_fronts_connects_exactly_when_the_oracle_says_so() {
    let fronts = fronts();
    let (mut yes, mut no) = (0, 0);
    for a in &fronts {
        for b in &fronts {
            let build = |net: &mut Internet<Word>, end: usize| place(net, if end == 0 { a } else { b });
            let trial = Trial::new(false, build);
            let kind = trial.net.pair(trial.ends[0], trial.ends[1]);
            assert_eq!(trial.net.pair(trial.ends[1], trial.ends[0]), kind, "the oracle is symmetric");
            let expected = kind.is_connectable();
            *(if expected { &mut yes } else { &mut no }) += 1;
            check(false, expected, &format!("{a:?} with {b:?}"), build);
        }
    }
    assert!(yes > 500 && no > 100, "{yes} pairs connect, {no} do not");
}

#[test]
fn two_homes_behind_one_carrier_need_its_hairpin() {
    let mut yes = 0;
    for carrier in kinds() {
        for hairpin in [false, true] {
            for home_a in few_kinds() {
                for home_b in few_kinds() {
                    let homes = [home_a, home_b];
                    let build = |net: &mut Internet<Word>, end: usize| {
                        // The first end makes the carrier, the second finds it.
                        let carrier = if end == 0 {
                            let nat = NatConfig { hairpin, ..carrier };
                            net.add_home(HomeConfig { nat, carrier: true, ..HomeConfig::default() })
                        } else {
                            GatewayId(0)
                        };
                        let behind = Some(carrier);
                        let home =
                            net.add_home(HomeConfig { nat: homes[end], behind, ..HomeConfig::default() });
                        net.add_host(home)
                    };
                    let trial = Trial::new(false, build);
                    let kind = trial.net.pair(trial.ends[0], trial.ends[1]);
                    assert!(matches!(kind, PairKind::Hairpin | PairKind::Unreachable), "{kind:?}");
                    yes += usize::from(kind.is_connectable());
                    let what = format!("{homes:?} behind {carrier:?}, hairpin {hairpin}");
                    check(false, kind.is_connectable(), &what, build);
                }
            }
        }
    }
    assert!(yes > 100, "{yes}");
}

#[test]
fn two_hosts_of_one_home_reach_each_other_by_hairpin_too() {
    for nat in kinds() {
        for hairpin in [false, true] {
            let nat = NatConfig { hairpin, ..nat };
            let build = |net: &mut Internet<Word>, end: usize| {
                let home = match end {
                    0 => net.add_home(HomeConfig { nat, ..HomeConfig::default() }),
                    _ => GatewayId(0),
                };
                net.add_host(home)
            };
            let trial = Trial::new(false, build);
            assert_eq!(trial.net.pair(trial.ends[0], trial.ends[1]), PairKind::Lan);
            let [a, b] = trial.ends.map(|end| trial.net.side(end, false).expect("has IPv4"));
            check(false, pair(&a, &b, false).is_connectable(), &format!("{nat:?}"), build);
        }
    }
}

#[test]
fn ipv6_firewalls_are_always_punchable() {
    use Filtering::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
    let fronts: [&[Filtering]; 6] = [
        &[],
        &[EndpointIndependent],
        &[AddressDependent],
        &[AddressAndPortDependent],
        &[AddressAndPortDependent, AddressAndPortDependent],
        &[EndpointIndependent, AddressDependent],
    ];
    for a in fronts {
        for b in fronts {
            let build = |net: &mut Internet<Word>, end: usize| {
                let mut behind = None;
                let front = if end == 0 { a } else { b };
                for filtering in front {
                    let ipv6 = Some(*filtering);
                    // The worst of NATs in IPv4 does not matter.
                    let nat = NatConfig::symmetric();
                    behind = Some(net.add_home(HomeConfig { nat, ipv6, behind, ..HomeConfig::default() }));
                }
                net.add_host_at(behind.map_or(Site::Internet, Site::Behind), Link::PERFECT, true, true)
            };
            let trial = Trial::new(true, build);
            let kind = trial.net.pair(trial.ends[0], trial.ends[1]);
            let expected = if a.is_empty() || b.is_empty() { PairKind::Direct } else { PairKind::Punched };
            assert_eq!(kind, expected, "{a:?} with {b:?}");
            check(true, true, &format!("{a:?} with {b:?}"), build);
        }
    }
}

/// The table of the module's documentation, row by row.
#[test]
fn the_table_in_the_documentation_is_right() {
    let stage = |stable, filtering| {
        vec![Stage { gateway: None, stable, filtering, hairpin: false, blocks_udp: false }]
    };
    use Filtering::{AddressAndPortDependent as Apdf, AddressDependent as Adf, EndpointIndependent as Eif};
    let (open, stable, unstable) = (vec![], stage(true, Apdf), stage(false, Apdf));
    let rows: [(Side, [PairKind; 3]); 6] = [
        (vec![], [PairKind::Direct; 3]),
        (stage(true, Eif), [PairKind::Direct, PairKind::Punched, PairKind::Punched]),
        (stage(true, Adf), [PairKind::Direct, PairKind::Punched, PairKind::Punched]),
        (stage(true, Apdf), [PairKind::Direct, PairKind::Punched, PairKind::Unreachable]),
        (stage(false, Eif), [PairKind::Direct, PairKind::Punched, PairKind::Punched]),
        (stage(false, Apdf), [PairKind::Direct, PairKind::Unreachable, PairKind::Unreachable]),
    ];
    for (row, kinds) in rows {
        for (column, kind) in [&open, &stable, &unstable].into_iter().zip(kinds) {
            assert_eq!(pair(&row, column, false), kind, "{row:?} with {column:?}");
            assert_eq!(pair(column, &row, false), kind, "{column:?} with {row:?}");
        }
    }
    assert_eq!(pair(&stage(false, Adf), &stage(true, Adf), false), PairKind::Punched);
    assert_eq!(pair(&stage(false, Apdf), &stage(true, Adf), false), PairKind::Punched);
}
