//! Reading a firewall's rules: what becomes of a UDP packet that comes in.
//!
//! This is a reader, not the kernel. It knows the matches that rules about ports are made of (family, protocol, port, link,
//! state of the connection) and takes any other for one that may match or not. So there are three answers, and
//! none of them is proof: other things may drop packets as well (another program's eBPF, the provider's firewall).
//!
//! Rules come by [`nft`] and [`iptables`], and are followed here once for both.

pub(super) mod iptables;
pub(super) mod nft;

/// The rules of one program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ruleset {
    pub(super) chains: Vec<Chain>,
}

/// A chain of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    /// As it is called in findings and in jumps: `inet filter input`.
    pub(super) name: String,
    /// Whether it is about IPv4, and about IPv6.
    pub(super) families: [bool; 2],
    /// Where packets that come in begin: whether those that reach its end are dropped. `None` for one that is jumped to.
    pub(super) base: Option<Policy>,
    pub(super) rules: Vec<Rule>,
}

/// What becomes of a packet at the end of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Accept,
    Drop,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// All of them must match.
    pub(super) conditions: Vec<Condition>,
    pub(super) verdict: Verdict,
}

/// What a rule does with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    Drop,
    Jump(String),
    /// As a jump, without a way back.
    Goto(String),
    Return,
    /// It counts, logs or marks, and the next rule comes.
    Continue,
    /// It may be anything: a verdict from a map, a queue to a program.
    Unknown,
}

/// What a rule asks of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) test: Test,
    pub(super) negated: bool,
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    /// What holds or does not hold for every UDP packet.
    Constant(bool),
    /// 0 for IPv4, 1 for IPv6.
    Family(usize),
    /// The destination port is in one of these ranges.
    Port(Vec<(u16, u16)>),
    /// It came in by one of these links; `*` at the end stands for anything.
    Link(Vec<String>),
    /// The connection is new, or established.
    State { new: bool, established: bool },
    /// Something this reader does not know.
    Unknown,
}

impl From<Test> for Condition {
    fn from(test: Test) -> Self {
        Self { test, negated: false }
    }
}

/// A UDP packet that comes in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a> {
    /// Its destination port.
    pub(super) port: u16,
    /// 0 for IPv4, 1 for IPv6.
    pub(super) family: usize,
    /// The link it comes in by, where that is known.
    pub(super) link: Option<&'a str>,
    /// Whether this machine has sent something to where it comes from.
    pub(super) answer: bool,
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// No rule drops it, as far as can be read.
    Passes,
    /// A chain drops it, by its name.
    Dropped(String),
    /// A chain drops it unless a rule that is not understood accepts it first.
    Doubtful(String),
}

/// How deep jumps are followed: the kernel allows 16.
const DEPTH: u8 = 16;

/// What becomes of a packet in all of these.
pub(super) fn fate(rulesets: &[Ruleset], packet: Packet<'_>) -> Fate {
    let mut doubtful = None;
    for ruleset in rulesets {
        for chain in &ruleset.chains {
            let Some(policy) = chain.base.filter(|_| chain.families.get(packet.family) == Some(&true)) else {
                continue;
            };
            let mut walk = Walk { ruleset, packet, accepted_perhaps: false };
            let dropped = match walk.chain(chain, true, 0) {
                Step::Accept => false,
                Step::Drop => true,
                Step::End => policy == Policy::Drop,
            };
            match (dropped, walk.accepted_perhaps) {
                (false, _) => {}
                (true, false) => return Fate::Dropped(chain.name.clone()),
                (true, true) => doubtful = Some(chain.name.clone()),
            }
        }
    }
    doubtful.map_or(Fate::Passes, Fate::Doubtful)
}

/// How a chain or a rule was left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Accept,
    Drop,
    /// At its end, or by `return`.
    End,
}

struct Walk<'a> {
    ruleset: &'a Ruleset,
    packet: Packet<'a>,
    /// Whether a rule that may have matched accepts the packet.
    accepted_perhaps: bool,
}

impl Walk<'_> {
    /// Follows a chain; `certain` tells whether the packet gets here for sure.
    fn chain(&mut self, chain: &Chain, certain: bool, depth: u8) -> Step {
        for rule in &chain.rules {
            let certain = match self.matches(rule) {
                Some(false) => continue,
                Some(true) => certain,
                None => false,
            };
            let step = match &rule.verdict {
                Verdict::Continue => continue,
                Verdict::Accept => Step::Accept,
                Verdict::Drop => Step::Drop,
                Verdict::Return => Step::End,
                Verdict::Unknown => {
                    self.accepted_perhaps = true;
                    continue;
                }
                Verdict::Jump(name) | Verdict::Goto(name) => {
                    let target = self.ruleset.chains.iter().find(|chain| chain.name == *name);
                    let Some(target) = target.filter(|_| depth < DEPTH) else {
                        self.accepted_perhaps = true;
                        continue;
                    };
                    match (self.chain(target, certain, depth + 1), &rule.verdict) {
                        (Step::End, Verdict::Jump(_)) => continue,
                        (step, _) => step,
                    }
                }
            };
            if certain {
                return step;
            }
            // What may drop is passed over: lists of addresses that are kept out are in every firewall. What may accept
            // is remembered. A `return` that may match leaves the rest of the chain to be seen.
            self.accepted_perhaps |= step == Step::Accept;
        }
        Step::End
    }

    /// Whether a rule matches; `None` where that cannot be told.
    fn matches(&self, rule: &Rule) -> Option<bool> {
        let mut all = Some(true);
        for condition in &rule.conditions {
            match self.holds(&condition.test).map(|holds| holds != condition.negated) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => all = None,
            }
        }
        all
    }

    fn holds(&self, test: &Test) -> Option<bool> {
        let packet = self.packet;
        match test {
            Test::Constant(holds) => Some(*holds),
            Test::Family(family) => Some(packet.family == *family),
            Test::Port(ranges) => {
                Some(ranges.iter().any(|&(first, last)| (first..=last).contains(&packet.port)))
            }
            Test::Link(names) => match packet.link {
                Some(link) => Some(names.iter().any(|name| match name.strip_suffix('*') {
                    Some(beginning) => link.starts_with(beginning),
                    None => name == link,
                })),
                // From outside it does not come by the loop-back.
                None if names.iter().all(|name| name == "lo") => Some(false),
                None => None,
            },
            Test::State { new, established } => Some(if packet.answer { *established } else { *new }),
            Test::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: u16 = 51820;

    fn rule(tests: &[Test], verdict: Verdict) -> Rule {
        Rule { conditions: tests.iter().cloned().map(Condition::from).collect(), verdict }
    }

    fn input(policy: Policy, rules: Vec<Rule>) -> Chain {
        Chain { name: "inet filter input".into(), families: [true, true], base: Some(policy), rules }
    }

    fn target(name: &str, rules: Vec<Rule>) -> Chain {
        Chain { name: name.into(), families: [true, true], base: None, rules }
    }

    fn packet() -> Packet<'static> {
        Packet { port: PORT, family: 0, link: Some("eth0"), answer: false }
    }

    fn of(chains: Vec<Chain>) -> Fate {
        fate(&[Ruleset { chains }], packet())
    }

    fn dropped() -> Fate {
        Fate::Dropped("inet filter input".into())
    }

    fn doubtful() -> Fate {
        Fate::Doubtful("inet filter input".into())
    }

    fn port(number: u16) -> Test {
        Test::Port(vec![(number, number)])
    }

    #[test]
    fn the_policy_decides_what_no_rule_does() {
        assert_eq!(of(vec![]), Fate::Passes);
        assert_eq!(of(vec![input(Policy::Accept, vec![])]), Fate::Passes);
        assert_eq!(of(vec![input(Policy::Drop, vec![])]), dropped());
        // A chain that nothing jumps to, and one of the other family.
        assert_eq!(of(vec![target("x", vec![rule(&[], Verdict::Drop)])]), Fate::Passes);
        let v6 = Chain { families: [false, true], ..input(Policy::Drop, vec![]) };
        assert_eq!(of(vec![v6.clone()]), Fate::Passes);
        let packet = Packet { family: 1, ..packet() };
        assert_eq!(fate(&[Ruleset { chains: vec![v6] }], packet), dropped());
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        for (rules, expected) in [
            (vec![rule(&[port(PORT)], Verdict::Accept)], Fate::Passes),
            (vec![rule(&[port(22)], Verdict::Accept)], dropped()),
            (vec![rule(&[Test::Port(vec![(1, 9), (50000, 60000)])], Verdict::Accept)], Fate::Passes),
            (vec![rule(&[port(PORT)], Verdict::Drop), rule(&[port(PORT)], Verdict::Accept)], dropped()),
            (vec![rule(&[port(PORT)], Verdict::Continue)], dropped()),
            (vec![rule(&[Test::Constant(false)], Verdict::Accept)], dropped()),
            (vec![rule(&[Test::Family(0)], Verdict::Accept)], Fate::Passes),
            (vec![rule(&[Test::Family(1)], Verdict::Accept)], dropped()),
        ] {
            assert_eq!(of(vec![input(Policy::Drop, rules.clone())]), expected, "{rules:?}");
        }
    }

    #[test]
    fn what_is_not_understood_makes_it_doubtful_only_where_it_accepts() {
        let odd = || rule(&[Test::Unknown], Verdict::Accept);
        assert_eq!(of(vec![input(Policy::Drop, vec![odd()])]), doubtful());
        assert_eq!(of(vec![input(Policy::Accept, vec![odd()])]), Fate::Passes);
        let blocked = rule(&[Test::Unknown], Verdict::Drop);
        assert_eq!(of(vec![input(Policy::Accept, vec![blocked.clone()])]), Fate::Passes);
        assert_eq!(of(vec![input(Policy::Drop, vec![blocked])]), dropped());
        assert_eq!(of(vec![input(Policy::Drop, vec![rule(&[], Verdict::Unknown)])]), doubtful());
        // It does not matter what else a rule asks for, once one thing does not hold.
        let never = rule(&[Test::Unknown, port(22)], Verdict::Accept);
        assert_eq!(of(vec![input(Policy::Drop, vec![never])]), dropped());
    }

    #[test]
    fn every_chain_must_let_it_pass() {
        let open = input(Policy::Accept, vec![rule(&[], Verdict::Accept)]);
        let closed = Chain { name: "ip raw PREROUTING".into(), ..input(Policy::Drop, vec![]) };
        assert_eq!(of(vec![open, closed]), Fate::Dropped("ip raw PREROUTING".into()));
    }

    #[test]
    fn jumps_come_back_and_gotos_do_not() {
        let ports = target("ports", vec![rule(&[port(PORT)], Verdict::Accept)]);
        let none = target("none", vec![rule(&[port(22)], Verdict::Accept)]);
        let returns = target("returns", vec![rule(&[], Verdict::Return), rule(&[], Verdict::Accept)]);
        let all = |rules| of(vec![input(Policy::Drop, rules), ports.clone(), none.clone(), returns.clone()]);
        let jump = |name: &str| rule(&[], Verdict::Jump(name.into()));
        let goto = |name: &str| rule(&[], Verdict::Goto(name.into()));
        assert_eq!(all(vec![jump("ports")]), Fate::Passes);
        assert_eq!(all(vec![jump("none")]), dropped());
        assert_eq!(all(vec![jump("none"), jump("ports")]), Fate::Passes);
        assert_eq!(all(vec![goto("none"), jump("ports")]), dropped());
        assert_eq!(all(vec![jump("returns")]), dropped());
        assert_eq!(all(vec![rule(&[Test::Unknown], Verdict::Jump("ports".into()))]), doubtful());
        assert_eq!(all(vec![jump("not there")]), doubtful());
        // Even a loop, which the kernel refuses, ends.
        let mut chain = input(Policy::Drop, vec![]);
        chain.rules = vec![rule(&[], Verdict::Jump(chain.name.clone()))];
        assert_eq!(of(vec![chain]), doubtful());
    }

    #[test]
    fn answers_pass_where_connections_are_tracked() {
        let tracked = rule(&[Test::State { new: false, established: true }], Verdict::Accept);
        let ruleset = Ruleset { chains: vec![input(Policy::Drop, vec![tracked])] };
        assert_eq!(fate(core::slice::from_ref(&ruleset), packet()), dropped());
        assert_eq!(fate(&[ruleset], Packet { answer: true, ..packet() }), Fate::Passes);
    }

    #[test]
    fn links_are_told_by_name() {
        for (names, link, expected) in [
            (&["eth0"][..], Some("eth0"), Fate::Passes),
            (&["lo", "eth0"], Some("eth0"), Fate::Passes),
            (&["eth*"], Some("eth0"), Fate::Passes),
            (&["wg0"], Some("eth0"), dropped()),
            (&["lo"], None, dropped()),
            (&["eth0"], None, doubtful()),
        ] {
            let names = names.iter().map(|&name| name.into()).collect();
            let chains = vec![input(Policy::Drop, vec![rule(&[Test::Link(names)], Verdict::Accept)])];
            let packet = Packet { link, ..packet() };
            assert_eq!(fate(&[Ruleset { chains }], packet), expected, "{link:?}");
        }
        let condition = Condition { test: Test::Link(vec!["eth0".into()]), negated: true };
        let rules = vec![Rule { conditions: vec![condition], verdict: Verdict::Drop }];
        assert_eq!(of(vec![input(Policy::Accept, rules)]), Fate::Passes);
    }
}
