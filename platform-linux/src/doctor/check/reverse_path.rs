//! The reverse path filter: in its strict mode the kernel drops what comes in by another link than an answer would leave by.

use super::super::{
    facts::{Facts, MeshFacts, Way},
    finding::Findings,
};

const STRICT: u32 = 1;

pub(super) fn check(facts: &Facts, mesh: &MeshFacts, out: &mut Findings) {
    let name = &mesh.interface;
    let Some(link) = mesh.there() else { return };
    let astray = facts
        .others()
        .filter(|peer| peer.address.is_ipv4())
        .any(|peer| matches!(&peer.way, Way::By(way) if way.index != link.index));
    match mesh.kernel.rp_filter {
        Some(STRICT) if astray => out.warning(
            "rp-filter",
            format!(
                "rp_filter of {name} is strict, and not all peers are routed into {name}: what comes from the \
                 others by it is dropped"
            ),
            format!("mend the routes, or `sysctl -w net.ipv4.conf.{name}.rp_filter=2` (loose counts before strict)"),
        ),
        Some(STRICT) => out.ok("rp-filter", format!("rp_filter of {name} is strict, and the routes fit it")),
        Some(_) => out.ok("rp-filter", format!("rp_filter of {name} is not strict")),
        None => {}
    }
    // Answers to WireGuard's packets are looked up without the mark that they left with, unless the kernel is told.
    let marked = mesh.tunnel().is_some_and(|tunnel| tunnel.fwmark != 0);
    let strict = mesh.kernel.underlay_rp_filter.iter().find(|(_, filter)| *filter == STRICT);
    if let Some((by, _)) = strict.filter(|_| marked && mesh.kernel.src_valid_mark == Some(0)) {
        out.warning(
            "src-valid-mark",
            format!(
                "{name} has a fwmark, rp_filter of {by} is strict, and src_valid_mark is off: what comes back to \
                 WireGuard may be dropped"
            ),
            "`sysctl -w net.ipv4.conf.all.src_valid_mark=1`, as wg-quick does",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{of_mesh, only};
    use super::*;
    use crate::doctor::{
        Severity,
        facts::{Device, Out},
        made_up,
    };

    #[test]
    fn strict_is_bad_only_with_routes_that_do_not_fit() {
        let mut facts = made_up::with(|mesh| mesh.kernel.rp_filter = Some(1));
        assert_eq!(of_mesh(check, &facts)[0].severity, Severity::Ok);
        let alice = &mut facts.config.wanted.as_mut().unwrap().peers[1];
        alice.way = Way::By(Out { index: 2, name: "eth0".into(), mtu: None });
        only(&of_mesh(check, &facts), Severity::Warning, "rp-filter");
        facts.mesh.as_mut().unwrap().kernel.rp_filter = Some(2);
        assert_eq!(of_mesh(check, &facts)[0].severity, Severity::Ok);
    }

    #[test]
    fn a_fwmark_and_a_strict_underlay_need_the_mark_to_count() {
        let facts = |fwmark, filter, valid| {
            made_up::with(|mesh| {
                match &mut mesh.device {
                    Device::There(tunnel) => tunnel.fwmark = fwmark,
                    other => panic!("{other:?}"),
                }
                mesh.kernel.underlay_rp_filter = vec![("eth0".into(), filter)];
                mesh.kernel.src_valid_mark = Some(valid);
            })
        };
        only(&of_mesh(check, &facts(0xca6c, 1, 0)), Severity::Warning, "src-valid-mark");
        for (fwmark, filter, valid) in [(0, 1, 0), (0xca6c, 2, 0), (0xca6c, 1, 1)] {
            let found = of_mesh(check, &facts(fwmark, filter, valid));
            assert!(found.iter().all(|finding| finding.severity == Severity::Ok), "{found:?}");
        }
    }
}
