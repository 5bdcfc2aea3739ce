//! The firewall: whether it lets WireGuard's packets in, and the gossip that comes out of the tunnel.

use super::super::{
    facts::{Facts, MeshFacts, Way},
    finding::Findings,
    firewall::{Fate, Packet, Ruleset, fate},
};

const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

pub(super) fn check(facts: &Facts, mesh: &MeshFacts, out: &mut Findings) {
    const ID: &str = "firewall";
    let rulesets = match &mesh.firewall {
        Ok(rulesets) => rulesets,
        Err(unseen) => return out.skipped(ID, "the rules of the firewall", unseen),
    };
    let before = out.len();
    if let Some(tunnel) = mesh.tunnel().filter(|tunnel| tunnel.listen_port != 0) {
        wireguard(rulesets, tunnel.listen_port, underlay(facts), out);
    }
    if let Some(wanted) = &facts.config.wanted {
        let families = [true, false].map(|v4| facts.others().any(|peer| peer.address.is_ipv4() == v4));
        gossip(rulesets, wanted.gossip_port, &mesh.interface, families, out);
    }
    if out.len() == before {
        let what =
            match rulesets.iter().any(|ruleset| ruleset.chains.iter().any(|chain| chain.base.is_some())) {
                true => "no rule that could be read drops WireGuard's packets or the gossip",
                false => "there are no rules about what comes in",
            };
        out.ok(ID, what);
    }
}

/// The link by which most of the underlay is reached, where there is but one.
fn underlay(facts: &Facts) -> Option<&str> {
    let mut names = facts.others().flat_map(|peer| &peer.endpoints).filter_map(|at| match &at.way {
        Way::By(out) => Some(out.name.as_str()),
        _ => None,
    });
    let first = names.next()?;
    names.all(|name| name == first).then_some(first)
}

/// In which families packets meet a fate, and by which chain.
fn fates<'a>(
    rulesets: &[Ruleset],
    packet: impl Fn(usize) -> Packet<'a>,
    wanted: [bool; 2],
) -> impl Iterator<Item = (usize, Fate)> {
    let families = [0, 1].into_iter().filter(move |&family| wanted.get(family) == Some(&true));
    let all: Vec<_> = families.map(|family| (family, fate(rulesets, packet(family)))).collect();
    all.into_iter()
}

/// The chain that drops packets in some family, and those families in words.
fn blocked(fates: impl Iterator<Item = (usize, Fate)>) -> Option<(String, String)> {
    let mut chains: Vec<String> = Vec::new();
    let mut families: Vec<&str> = Vec::new();
    for (family, fate) in fates {
        if let Fate::Dropped(chain) = fate {
            families.extend(FAMILIES.get(family));
            if !chains.contains(&chain) {
                chains.push(chain);
            }
        }
    }
    (!chains.is_empty()).then(|| (chains.join(" and "), families.join(" and ")))
}

fn wireguard(rulesets: &[Ruleset], port: u16, link: Option<&str>, out: &mut Findings) {
    const ID: &str = "firewall-wireguard";
    let packet = |answer| move |family| Packet { port, family, link, answer };
    // Over which family peers come is theirs to choose.
    let both = [true, true];
    let open = |chain: &str| {
        format!(
            "accept UDP to port {port} in the chain {chain}{}",
            if chain.starts_with("inet ") {
                format!(": `nft insert rule {chain} udp dport {port} accept`")
            } else {
                String::new()
            }
        )
    };
    if let Some((chain, families)) = blocked(fates(rulesets, packet(true), both)) {
        out.error(
            ID,
            format!("the firewall may drop all of WireGuard's packets to UDP port {port} ({families}), answers too: chain {chain}"),
            open(&chain),
        );
    } else if let Some((chain, families)) = blocked(fates(rulesets, packet(false), both)) {
        out.warning(
            ID,
            format!(
                "the firewall may drop what peers send to UDP port {port} of their own accord ({families}): chain \
                 {chain}; it is reached only by those that it sends to first"
            ),
            open(&chain),
        );
    } else if let Some((_, Fate::Doubtful(chain))) =
        fates(rulesets, packet(false), both).find(|(_, fate)| matches!(fate, Fate::Doubtful(_)))
    {
        out.note(
            ID,
            format!(
                "chain {chain} drops what is sent to UDP port {port}, but for what some of its rules accept that \
                 depend on more than the port"
            ),
            format!("see to it that one of them accepts WireGuard's port {port}"),
        );
    }
}

fn gossip(rulesets: &[Ruleset], port: u16, interface: &str, families: [bool; 2], out: &mut Findings) {
    const ID: &str = "firewall-gossip";
    let packet = |answer| move |family| Packet { port, family, link: Some(interface), answer };
    let open = |chain: &str| {
        format!(
            "accept UDP to port {port} from {interface} in the chain {chain}{}",
            if chain.starts_with("inet ") {
                format!(": `nft insert rule {chain} iifname {interface} udp dport {port} accept`")
            } else {
                String::new()
            }
        )
    };
    if let Some((chain, families)) = blocked(fates(rulesets, packet(true), families)) {
        out.error(
            ID,
            format!("the firewall may drop the gossip from {interface}, UDP port {port} ({families}): chain {chain}"),
            open(&chain),
        );
    } else if let Some((chain, families)) = blocked(fates(rulesets, packet(false), families)) {
        out.warning(
            ID,
            format!(
                "the firewall may drop gossip from {interface} to UDP port {port} that no answer is to ({families}): \
                 chain {chain}"
            ),
            open(&chain),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{of_mesh, only};
    use super::*;
    use crate::doctor::{
        Severity,
        facts::Unseen,
        firewall::{Chain, Policy, Rule, Test, Verdict},
        made_up,
    };

    fn of(rules: &[(&[Test], Verdict)]) -> Vec<crate::doctor::Finding> {
        let rules = rules.iter().map(|(tests, verdict)| Rule {
            conditions: tests.iter().cloned().map(Into::into).collect(),
            verdict: verdict.clone(),
        });
        let chain = Chain {
            name: "inet filter input".into(),
            families: [true, true],
            base: Some(Policy::Drop),
            rules: rules.collect(),
        };
        of_mesh(check, &made_up::with(|mesh| mesh.firewall = Ok(vec![Ruleset { chains: vec![chain] }])))
    }

    fn port(port: u16) -> Test {
        Test::Port(vec![(port, port)])
    }

    fn wg0() -> Test {
        Test::Link(vec!["wg0".into()])
    }

    const ANSWERS: Test = Test::State { new: false, established: true };

    #[test]
    fn what_lets_everything_in_is_fine() {
        for rules in [
            &[(&[][..], Verdict::Accept)][..],
            &[(&[port(51820)], Verdict::Accept), (&[wg0()], Verdict::Accept)],
            &[(&[Test::Link(vec!["eth0".into()])], Verdict::Accept), (&[wg0(), port(1666)], Verdict::Accept)],
        ] {
            let found = of(rules);
            assert!(found.iter().all(|finding| finding.severity == Severity::Ok), "{found:#?}");
        }
    }

    #[test]
    fn dropping_all_is_an_error_for_both_ports() {
        let found = of(&[]);
        let ids: Vec<_> = found.iter().map(|finding| (finding.severity, finding.id.as_str())).collect();
        assert_eq!(ids, [(Severity::Error, "firewall-wireguard"), (Severity::Error, "firewall-gossip")]);
        assert!(found.iter().all(|finding| finding.what.contains(" may ")), "{found:?}");
    }

    #[test]
    fn letting_answers_in_is_a_warning() {
        let found = of(&[(&[ANSWERS], Verdict::Accept), (&[wg0()], Verdict::Accept)]);
        let found = only(&found, Severity::Warning, "firewall-wireguard");
        assert!(
            found.fix.contains("`nft insert rule inet filter input udp dport 51820 accept`"),
            "{found:?}"
        );

        let found = of(&[(&[ANSWERS], Verdict::Accept), (&[port(51820)], Verdict::Accept)]);
        only(&found, Severity::Warning, "firewall-gossip");
    }

    #[test]
    fn a_rule_before_the_answers_drops_those_too() {
        let found =
            of(&[(&[port(51820)], Verdict::Drop), (&[ANSWERS], Verdict::Accept), (&[], Verdict::Accept)]);
        only(&found, Severity::Error, "firewall-wireguard");
    }

    #[test]
    fn what_is_not_understood_is_a_note() {
        let found = of(&[(&[Test::Unknown, port(51820)], Verdict::Accept), (&[wg0()], Verdict::Accept)]);
        only(&found, Severity::Note, "firewall-wireguard");
    }

    #[test]
    fn rules_that_may_not_be_read_are_not_judged() {
        let unseen = Unseen::new("not permitted", "run it as root");
        let facts = made_up::with(|mesh| mesh.firewall = Err(unseen));
        only(&of_mesh(check, &facts), Severity::Skipped, "firewall");
    }
}
