//! What `nft -j list ruleset` prints, as rules: libnftables-json(5).
//!
//! Whatever is not as expected becomes a condition or a verdict that is not known; nothing in it is an error but that it is
//! no JSON.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Chain, Condition, Policy, Rule, Ruleset, Test, Verdict};

/// Reads the whole ruleset; `None` where it is none.
pub(in crate::doctor) fn parse(json: &[u8]) -> Option<Ruleset> {
    let document: Value = serde_json::from_slice(json).ok()?;
    let objects = document.get("nftables")?.as_array()?;
    let sets = named_sets(objects);
    let mut ruleset = Ruleset::default();
    for chain in objects.iter().filter_map(|object| object.get("chain")) {
        ruleset.chains.extend(read_chain(chain));
    }
    for rule in objects.iter().filter_map(|object| object.get("rule")) {
        let Some(table) = table_of(rule) else { continue };
        let name = format!("{table} {}", text(rule, "chain").unwrap_or_default());
        let Some(chain) = ruleset.chains.iter_mut().find(|chain| chain.name == name) else { continue };
        chain.rules.extend(Reader { table: &table, sets: &sets }.rule(rule));
    }
    Some(ruleset)
}

/// The elements of each set, by `inet filter NAME`.
type Sets<'j> = BTreeMap<String, &'j [Value]>;

fn named_sets(objects: &[Value]) -> Sets<'_> {
    let sets = objects.iter().filter_map(|object| object.get("set"));
    sets.filter_map(|set| {
        let name = format!("{} {}", table_of(set)?, text(set, "name")?);
        Some((name, set.get("elem").and_then(Value::as_array).map_or(&[][..], Vec::as_slice)))
    })
    .collect()
}

fn text<'j>(object: &'j Value, key: &str) -> Option<&'j str> {
    object.get(key)?.as_str()
}

/// `inet filter`
fn table_of(object: &Value) -> Option<String> {
    Some(format!("{} {}", text(object, "family")?, text(object, "table")?))
}

fn read_chain(chain: &Value) -> Option<Chain> {
    let families = match text(chain, "family")? {
        "ip" => [true, false],
        "ip6" => [false, true],
        "inet" => [true, true],
        // Of links and bridges: what they drop is below what a port is about.
        _ => return None,
    };
    // Chains that translate addresses or choose routes drop nothing that they are made for.
    let filters = text(chain, "type") == Some("filter");
    let base = match (text(chain, "hook"), text(chain, "policy")) {
        (Some("input" | "prerouting"), Some("drop")) if filters => Some(Policy::Drop),
        (Some("input" | "prerouting"), _) if filters => Some(Policy::Accept),
        _ => None,
    };
    let name = format!("{} {}", table_of(chain)?, text(chain, "name")?);
    Some(Chain { name, families, base, rules: Vec::new() })
}

struct Reader<'r, 'j> {
    table: &'r str,
    sets: &'r Sets<'j>,
}

impl Reader<'_, '_> {
    /// A rule; a map of verdicts in it is several.
    fn rule(&self, rule: &Value) -> Vec<Rule> {
        let mut rules = Vec::new();
        let mut conditions: Vec<Condition> = Vec::new();
        let Some(statements) = rule.get("expr").and_then(Value::as_array) else {
            return vec![Rule { conditions, verdict: Verdict::Unknown }];
        };
        for statement in statements.iter().filter_map(Value::as_object) {
            let Some((kind, value)) = statement.iter().next() else { continue };
            match kind.as_str() {
                "match" => conditions.push(self.condition(value)),
                "vmap" => rules.extend(self.verdict_map(&conditions, value)),
                "counter" | "log" | "mangle" | "notrack" | "flow" => {}
                _ => match self.verdict(kind, value) {
                    Some(verdict) => rules.push(Rule { conditions: conditions.clone(), verdict }),
                    // A limit, a quota, an extension of iptables: it may match.
                    None => conditions.push(Test::Unknown.into()),
                },
            }
        }
        rules
    }

    fn verdict(&self, kind: &str, value: &Value) -> Option<Verdict> {
        let target = || text(value, "target").map(|chain| format!("{} {chain}", self.table));
        match kind {
            "accept" => Some(Verdict::Accept),
            "drop" | "reject" => Some(Verdict::Drop),
            "return" => Some(Verdict::Return),
            "continue" => Some(Verdict::Continue),
            "jump" => Some(Verdict::Jump(target()?)),
            "goto" => Some(Verdict::Goto(target()?)),
            "queue" => Some(Verdict::Unknown),
            _ => None,
        }
    }

    fn verdict_map(&self, conditions: &[Condition], map: &Value) -> Vec<Rule> {
        let (Some(key), Some(data)) = (map.get("key"), map.pointer("/data/set").and_then(Value::as_array))
        else {
            return vec![Rule { conditions: conditions.to_vec(), verdict: Verdict::Unknown }];
        };
        let entries = data.iter().filter_map(|entry| {
            let value = entry.get(0)?;
            let (kind, argument) = entry.get(1)?.as_object()?.iter().next()?;
            let mut all = conditions.to_vec();
            all.push(self.test(key, value).into());
            Some(Rule { conditions: all, verdict: self.verdict(kind, argument).unwrap_or(Verdict::Unknown) })
        });
        entries.collect()
    }

    fn condition(&self, value: &Value) -> Condition {
        let (Some(left), Some(right)) = (value.get("left"), value.get("right")) else {
            return Test::Unknown.into();
        };
        match text(value, "op") {
            Some("==" | "in") => self.test(left, right).into(),
            Some("!=") => Condition { test: self.test(left, right), negated: true },
            _ => Test::Unknown.into(),
        }
    }

    fn test(&self, left: &Value, right: &Value) -> Test {
        if let Some(payload) = left.get("payload") {
            return match (text(payload, "protocol"), text(payload, "field")) {
                (Some("udp" | "th"), Some("dport")) => self.ports(right).map_or(Test::Unknown, Test::Port),
                (Some("ip"), Some("protocol")) | (Some("ip6"), Some("nexthdr")) => self.protocol(right),
                (Some("udp" | "th" | "ip" | "ip6"), _) => Test::Unknown,
                (
                    Some("tcp" | "udplite" | "sctp" | "dccp" | "icmp" | "icmpv6" | "igmp" | "esp" | "ah"),
                    _,
                ) => Test::Constant(false),
                _ => Test::Unknown,
            };
        }
        match (
            left.pointer("/meta/key").and_then(Value::as_str),
            left.pointer("/ct/key").and_then(Value::as_str),
        ) {
            (Some("iif" | "iifname"), _) => self.words(right).map_or(Test::Unknown, Test::Link),
            (Some("l4proto"), _) => self.protocol(right),
            (Some("nfproto"), _) => match self.words(right).as_deref() {
                Some([family]) if family == "ipv4" => Test::Family(0),
                Some([family]) if family == "ipv6" => Test::Family(1),
                _ => Test::Unknown,
            },
            // It is for this machine alone.
            (Some("pkttype"), _) => match self.words(right) {
                Some(kinds) => Test::Constant(kinds.iter().any(|kind| kind == "host" || kind == "unicast")),
                None => Test::Unknown,
            },
            (_, Some("state")) => match self.words(right) {
                Some(states) => Test::State {
                    new: states.iter().any(|state| state == "new"),
                    established: states.iter().any(|state| state == "established"),
                },
                None => Test::Unknown,
            },
            _ => Test::Unknown,
        }
    }

    fn protocol(&self, right: &Value) -> Test {
        const UDP: u64 = 17;
        let values = self.values(right);
        let is_udp = |value: &&Value| value.as_str() == Some("udp") || value.as_u64() == Some(UDP);
        if values.iter().any(is_udp) {
            Test::Constant(true)
        } else if !values.is_empty() && values.iter().all(|value| value.is_string() || value.is_u64()) {
            Test::Constant(false)
        } else {
            Test::Unknown
        }
    }

    /// What a right side stands for: itself, or the elements of a set. Empty where that is not known.
    fn values<'v>(&'v self, right: &'v Value) -> Vec<&'v Value> {
        let elements = match right {
            Value::String(name) if name.starts_with('@') => {
                let name = format!("{} {}", self.table, name.trim_start_matches('@'));
                self.sets.get(&name).copied().unwrap_or_default()
            }
            Value::Array(list) => list.as_slice(),
            Value::Object(object) => match object.get("set") {
                Some(Value::Array(list)) => list.as_slice(),
                Some(one) => core::slice::from_ref(one),
                None => core::slice::from_ref(right),
            },
            one => core::slice::from_ref(one),
        };
        // An element with a time-out or a comment is wrapped.
        elements.iter().map(|element| element.pointer("/elem/val").unwrap_or(element)).collect()
    }

    fn words(&self, right: &Value) -> Option<Vec<String>> {
        let words: Option<Vec<String>> =
            self.values(right).into_iter().map(|value| value.as_str().map(Into::into)).collect();
        words.filter(|words| !words.is_empty())
    }

    fn ports(&self, right: &Value) -> Option<Vec<(u16, u16)>> {
        let port = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
        let range = |value: &Value| match value.get("range") {
            Some(range) => Some((port(range.get(0)?)?, port(range.get(1)?)?)),
            None => port(value).map(|port| (port, port)),
        };
        let named = matches!(right, Value::String(name) if name.starts_with('@'));
        let ranges: Option<Vec<_>> = self.values(right).into_iter().map(range).collect();
        // A named set that is empty holds no port; one that is not there is not known.
        ranges.filter(|ranges| !ranges.is_empty() || named && self.is_set(right))
    }

    fn is_set(&self, right: &Value) -> bool {
        let name = right.as_str().unwrap_or_default().trim_start_matches('@');
        self.sets.contains_key(&format!("{} {name}", self.table))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Fate, Packet, fate};
    use super::*;

    /// What `nft -j list ruleset` makes of a server's usual rules.
    const USUAL: &str = include_str!("tests/usual.json");

    fn of(ruleset: &Ruleset, port: u16, link: &str, answer: bool) -> [Fate; 2] {
        [0, 1].map(|family| {
            fate(core::slice::from_ref(ruleset), Packet { port, family, link: Some(link), answer })
        })
    }

    fn dropped() -> [Fate; 2] {
        [Fate::Dropped("inet filter input".into()), Fate::Dropped("inet filter input".into())]
    }

    const PASSES: [Fate; 2] = [Fate::Passes, Fate::Passes];

    #[test]
    fn the_usual_rules_are_understood() {
        let ruleset = parse(USUAL.as_bytes()).expect("a ruleset");
        assert_eq!(of(&ruleset, 51820, "eth0", false), PASSES);
        assert_eq!(of(&ruleset, 33723, "eth0", false), PASSES, "by the named set");
        assert_eq!(of(&ruleset, 60001, "eth0", false), PASSES, "by the range");
        assert_eq!(of(&ruleset, 1666, "eth0", false), dropped());
        assert_eq!(of(&ruleset, 22, "eth0", false), dropped(), "TCP's port is another");
        assert_eq!(of(&ruleset, 1666, "eth0", true), PASSES);
        assert_eq!(of(&ruleset, 1666, "wg0", false), PASSES);
        assert_eq!(of(&ruleset, 1666, "lo", false), PASSES);
        // Over IPv4 only, and by a chain that is jumped to.
        assert_eq!(of(&ruleset, 4500, "eth0", false), [Fate::Passes, dropped()[1].clone()]);
        // Within a limit.
        let doubtful = Fate::Doubtful("inet filter input".into());
        assert_eq!(of(&ruleset, 500, "eth0", false), [doubtful.clone(), doubtful]);
        assert_eq!(of(&ruleset, 7777, "eth0", false), dropped(), "dropped before the port is accepted");
    }

    #[test]
    fn what_is_no_ruleset_is_none() {
        for text in ["", "{}", "[]", "{\"nftables\":1}", "Error: no permission"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"{\"nftables\":[]}"), Some(Ruleset::default()));
    }

    /// Whatever a newer nft prints: no panic, and what is not understood is not taken for a rule that accepts or drops.
    #[test]
    fn any_part_of_it_may_be_missing() {
        let document: Value = serde_json::from_str(USUAL).expect("JSON");
        let objects = document["nftables"].as_array().expect("a list");
        for (at, object) in objects.iter().enumerate() {
            let mut fewer = objects.clone();
            fewer.remove(at);
            let text = serde_json::json!({ "nftables": fewer }).to_string();
            assert!(parse(text.as_bytes()).is_some(), "without {object}");
        }
        for key in [
            "expr", "left", "right", "op", "payload", "key", "data", "elem", "hook", "family", "set",
            "target",
        ] {
            let text = USUAL.replace(&format!("\"{key}\""), "\"other\"");
            let ruleset = parse(text.as_bytes()).expect("still a ruleset");
            for fate in of(&ruleset, 51820, "eth0", false) {
                assert!(!matches!(fate, Fate::Dropped(_)), "without {key}: {fate:?}");
            }
        }
    }
}
