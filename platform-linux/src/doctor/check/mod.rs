//! The checks: from facts to findings, without a look at the system. One file for each group of them.

mod addresses;
mod clock;
mod config;
mod conntrack;
mod daemon;
mod endpoints;
mod files;
mod firewall;
mod interface;
mod mtu;
mod ports;
mod reverse_path;
mod rights;

use super::{
    facts::{Facts, MeshFacts},
    finding::Findings,
};

/// All of them, in the order in which a person would look.
pub(super) fn check(facts: &Facts) -> Findings {
    type OfMesh = fn(&Facts, &MeshFacts, &mut Findings);
    const OF_MESH: [OfMesh; 9] = [
        interface::check,
        addresses::check,
        endpoints::check,
        ports::check,
        firewall::check,
        mtu::check,
        reverse_path::check,
        conntrack::check,
        daemon::check,
    ];
    let mut out = Findings::default();
    config::check(&facts.config, &mut out);
    if let Some(mesh) = &facts.mesh {
        for check in OF_MESH {
            check(facts, mesh, &mut out);
        }
    }
    rights::check(facts, &mut out);
    files::check(facts, &mut out);
    clock::check(&facts.clock, &mut out);
    out
}

/// "alice", "alice and bob", "alice, bob, carol and 97 more": in a large mesh one mistake is made with everybody.
fn some_of(labels: &[String]) -> String {
    const SHOWN: usize = 3;
    match labels {
        [] => String::new(),
        [one] => one.clone(),
        [all @ .., last] if all.len() <= SHOWN => format!("{} and {last}", all.join(", ")),
        [shown @ .., _] => {
            let shown = shown.get(..SHOWN).unwrap_or(shown);
            format!("{} and {} more", shown.join(", "), labels.len() - shown.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{finding::Finding, finding::Severity, made_up};
    use super::*;

    /// What a check says of facts.
    pub(super) fn of_mesh(check: fn(&Facts, &MeshFacts, &mut Findings), facts: &Facts) -> Vec<Finding> {
        let mut out = Findings::default();
        check(facts, facts.mesh.as_ref().expect("an interface"), &mut out);
        out.sorted()
    }

    /// How bad each finding is, and its identifier.
    pub(super) fn ids(findings: &[Finding]) -> Vec<(Severity, &str)> {
        findings.iter().map(|finding| (finding.severity, finding.id.as_str())).collect()
    }

    /// The one that is not fine, which must be the only one.
    #[track_caller]
    pub(super) fn only(findings: &[Finding], severity: Severity, id: &str) -> Finding {
        let bad: Vec<_> = findings.iter().filter(|finding| finding.severity != Severity::Ok).collect();
        let [one] = bad[..] else { panic!("{bad:#?}") };
        assert_eq!((one.severity, one.id.as_str()), (severity, id), "{one:?}");
        one.clone()
    }

    #[test]
    fn a_good_machine_is_good() {
        let findings = check(&made_up::good()).sorted();
        let bad: Vec<_> = findings.iter().filter(|finding| finding.severity != Severity::Ok).collect();
        assert!(bad.is_empty(), "{bad:#?}");
        assert!(findings.len() >= 14, "{findings:#?}");
    }

    /// An identifier is one for ever, and is easy to look up.
    #[test]
    fn identifiers_are_in_kebab_case() {
        for finding in check(&made_up::good()).sorted() {
            assert!(finding.id.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", finding.id);
        }
    }

    #[test]
    fn without_a_configuration_or_an_interface_nothing_is_made_up() {
        let mut facts = made_up::good();
        facts.mesh = None;
        facts.config.wanted = None;
        let findings = check(&facts).sorted();
        assert!(findings.iter().all(|finding| finding.severity == Severity::Ok), "{findings:#?}");
        assert!(!findings.iter().any(|finding| finding.id == "interface"), "{findings:#?}");
    }

    /// Of a link that is no WireGuard's there is nothing to say but that.
    #[test]
    fn another_kind_of_link_is_not_judged() {
        let facts = made_up::with(|mesh| {
            mesh.device = super::super::facts::Device::NotWireGuard;
            mesh.link.as_mut().unwrap().as_mut().unwrap().mtu = Some(65536);
            mesh.link.as_mut().unwrap().as_mut().unwrap().addresses.clear();
        });
        only(&check(&facts).sorted(), Severity::Error, "interface");
    }

    #[test]
    fn long_lists_are_cut() {
        let labels = ["a", "b", "c", "d", "e"].map(String::from);
        for (count, text) in [
            (0, ""),
            (1, "a"),
            (2, "a and b"),
            (3, "a, b and c"),
            (4, "a, b, c and d"),
            (5, "a, b, c and 2 more"),
        ] {
            assert_eq!(some_of(&labels[..count]), text);
        }
    }
}
