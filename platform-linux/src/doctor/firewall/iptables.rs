//! What `iptables-save` and `ip6tables-save` print, as rules: the arguments of the commands that would make them.

use super::{Chain, Condition, Policy, Rule, Ruleset, Test, Verdict};

/// Reads the rules of one family, 0 for IPv4 and 1 for IPv6.
pub(in crate::doctor) fn parse(text: &str, family: usize) -> Ruleset {
    let mut ruleset = Ruleset::default();
    let mut table = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = format!("{} {name}", if family == 0 { "ip" } else { "ip6" });
        } else if let Some(chain) = line.strip_prefix(':') {
            ruleset.chains.extend(read_chain(&table, chain, family));
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let (name, arguments) = rule.split_once(' ').unwrap_or((rule, ""));
            let name = format!("{table} {name}");
            if let Some(chain) = ruleset.chains.iter_mut().find(|chain| chain.name == name) {
                chain.rules.push(read_rule(&table, arguments));
            }
        }
    }
    ruleset
}

/// `INPUT DROP [0:0]`
fn read_chain(table: &str, line: &str, family: usize) -> Option<Chain> {
    let mut words = line.split_whitespace();
    let (name, policy) = (words.next()?, words.next()?);
    // Those of `nat` see packets too, and are not to drop any.
    let base = match (name, policy) {
        ("INPUT" | "PREROUTING", _) if table.ends_with(" nat") => None,
        ("INPUT" | "PREROUTING", "DROP") => Some(Policy::Drop),
        ("INPUT" | "PREROUTING", _) => Some(Policy::Accept),
        _ => None,
    };
    let families = [family == 0, family == 1];
    Some(Chain { name: format!("{table} {name}"), families, base, rules: Vec::new() })
}

/// `-i lo -p udp -m udp --dport 51820 -j ACCEPT`
fn read_rule(table: &str, arguments: &str) -> Rule {
    let words = words(arguments);
    let mut words = words.iter().map(String::as_str).peekable();
    let mut conditions: Vec<Condition> = Vec::new();
    let mut verdict = Verdict::Continue;
    let mut negated = false;
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_default();
        let test = match word {
            "!" => {
                negated = true;
                continue;
            }
            "-p" | "--protocol" => protocol(value()),
            "-i" | "--in-interface" => Test::Link(vec![pattern(value())]),
            "--dport" | "--destination-port" | "--dports" | "--destination-ports" => {
                ports(value()).map_or(Test::Unknown, Test::Port)
            }
            "--ctstate" | "--state" => states(value()),
            "-j" | "--jump" => {
                verdict = target(table, value());
                break;
            }
            "-g" | "--goto" => {
                verdict = Verdict::Goto(format!("{table} {}", value()));
                break;
            }
            // They ask for nothing by themselves: what they ask follows.
            "-m" | "--match" => match value() {
                "udp" | "tcp" | "conntrack" | "state" | "multiport" | "comment" => continue,
                _ => Test::Unknown,
            },
            "--comment" => {
                value();
                continue;
            }
            // Another match, with its arguments.
            _ => {
                while words.peek().is_some_and(|next| !next.starts_with('-') && *next != "!") {
                    words.next();
                }
                Test::Unknown
            }
        };
        conditions.push(Condition { test, negated: core::mem::take(&mut negated) });
    }
    Rule { conditions, verdict }
}

/// Splits as a shell does: a comment may be in quotes.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' => word.extend(characters.next()),
            ' ' if !quoted => words.extend(Some(core::mem::take(&mut word)).filter(|word| !word.is_empty())),
            c => word.push(c),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

fn protocol(name: &str) -> Test {
    Test::Constant(matches!(name, "udp" | "17" | "all" | "0"))
}

/// `eth+` is any that begins so.
fn pattern(name: &str) -> String {
    name.strip_suffix('+').map_or_else(|| name.into(), |beginning| format!("{beginning}*"))
}

/// `51820`, `1000:2000`, `53,500:600`; an end that is left out is the first or the last port.
fn ports(list: &str) -> Option<Vec<(u16, u16)>> {
    let port = |text: &str, absent| if text.is_empty() { Some(absent) } else { text.parse().ok() };
    list.split(',')
        .map(|part| match part.split_once(':') {
            Some((first, last)) => Some((port(first, 0)?, port(last, u16::MAX)?)),
            None => part.parse().ok().map(|port| (port, port)),
        })
        .collect()
}

fn states(list: &str) -> Test {
    let has = |state| list.split(',').any(|word| word == state);
    Test::State { new: has("NEW"), established: has("ESTABLISHED") }
}

fn target(table: &str, name: &str) -> Verdict {
    match name {
        "ACCEPT" => Verdict::Accept,
        "DROP" | "REJECT" | "TARPIT" => Verdict::Drop,
        "RETURN" => Verdict::Return,
        "QUEUE" | "NFQUEUE" => Verdict::Unknown,
        // Targets that go on with the next rule.
        "LOG" | "NFLOG" | "ULOG" | "MARK" | "CONNMARK" | "CT" | "NOTRACK" | "SET" | "TRACE" | "TOS"
        | "DSCP" | "TTL" | "HL" | "CHECKSUM" | "CLASSIFY" | "TCPMSS" | "AUDIT" | "SECMARK"
        | "CONNSECMARK" => Verdict::Continue,
        chain => Verdict::Jump(format!("{table} {chain}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Fate, Packet, fate};
    use super::*;

    const USUAL: &str = "\
# Generated by iptables-save v1.8.9
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 7777 -j DROP
COMMIT
*nat
:PREROUTING DROP [0:0]
COMMIT
*filter
:INPUT DROP [12:3456]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ports - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -i wg+ -j ACCEPT
-A INPUT -s 203.0.113.0/24 -j DROP
-A INPUT -p tcp -m multiport --dports 22,80,443,500:600 -j ACCEPT
-A INPUT ! -i eth0 -p udp -m udp --dport 9999 -j ACCEPT
-A INPUT -p udp -m comment --comment \"-j ACCEPT for all \\\" of it\" -j ports
-A INPUT -p udp -m limit --limit 5/sec -m udp --dport 4444 -j ACCEPT
-A INPUT -j LOG --log-prefix \"dropped: \"
-A ports -p udp -m multiport --dports 51820,60000:60010 -j ACCEPT
COMMIT
";

    #[test]
    fn the_usual_rules_are_understood() {
        let ruleset = parse(USUAL, 0);
        let of = |port, link, answer| {
            fate(core::slice::from_ref(&ruleset), Packet { port, family: 0, link: Some(link), answer })
        };
        let dropped = || Fate::Dropped("ip filter INPUT".into());
        for (port, link, answer, expected) in [
            (51820, "eth0", false, Fate::Passes),
            (60001, "eth0", false, Fate::Passes),
            (1666, "eth0", false, dropped()),
            (1666, "eth0", true, Fate::Passes),
            (1666, "wg0", false, Fate::Passes),
            (1666, "lo", false, Fate::Passes),
            (500, "eth0", false, dropped()),
            (9999, "eth0", false, dropped()),
            (9999, "eth1", false, Fate::Passes),
            (4444, "eth0", false, Fate::Doubtful("ip filter INPUT".into())),
            (7777, "wg0", true, Fate::Dropped("ip raw PREROUTING".into())),
        ] {
            assert_eq!(of(port, link, answer), expected, "{port} {link}");
        }
        let v6 = Packet { port: 1, family: 1, link: None, answer: false };
        assert_eq!(fate(&[ruleset], v6), Fate::Passes, "these are of IPv4");
    }

    #[test]
    fn ports_are_read_in_all_their_forms() {
        for (text, expected) in [
            ("53", Some(vec![(53, 53)])),
            ("53,500:600", Some(vec![(53, 53), (500, 600)])),
            (":1023", Some(vec![(0, 1023)])),
            ("1024:", Some(vec![(1024, 65535)])),
            ("domain", None),
            ("70000", None),
            ("", None),
        ] {
            assert_eq!(ports(text), expected, "{text}");
        }
    }

    #[test]
    fn nothing_that_is_no_rule_is_one() {
        for text in ["", "-A INPUT -j DROP", "*filter\n:INPUT", "*filter\n-A INPUT -j DROP"] {
            assert_eq!(parse(text, 0), Ruleset::default(), "{text:?}");
        }
        // A rule that ends in the middle does nothing that it does not say.
        let ruleset = parse("*filter\n:INPUT DROP [0:0]\n-A INPUT -p\n-A INPUT -p udp -j\n", 1);
        let [chain] = &ruleset.chains[..] else { panic!("{ruleset:?}") };
        assert_eq!((chain.name.as_str(), chain.families), ("ip6 filter INPUT", [false, true]));
        assert_eq!(chain.rules.len(), 2);
        assert_eq!(chain.rules[1].verdict, Verdict::Jump("ip6 filter ".into()));
    }
}
