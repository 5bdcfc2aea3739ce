//! The MTU of the interface: WireGuard's header and the outer ones must fit around each packet on the way to each peer.

use super::super::{
    facts::{Facts, MeshFacts, Way},
    finding::Findings,
};

/// Outer IP, UDP, and WireGuard's header and tag.
const AROUND_V4: u32 = 20 + 8 + 32;
const AROUND_V6: u32 = 40 + 8 + 32;

/// What a link with IPv6 carries at least, RFC 8200, section 5: the kernel has no IPv6 on one with less.
const LEAST_V6: u32 = 1280;

/// The longest gossip datagram with its UDP and IPv6 headers. With less, it comes in pieces.
const GOSSIP: u32 = 1200 + 8 + 40;

pub(super) fn check(facts: &Facts, mesh: &MeshFacts, out: &mut Findings) {
    const ID: &str = "mtu";
    let name = &mesh.interface;
    let Some((link, mtu)) = mesh.there().and_then(|link| Some((link, link.mtu?))) else { return };
    // The narrowest way to any peer, with what goes around a packet there.
    let ways = facts.others().flat_map(|peer| &peer.endpoints).filter_map(|at| match &at.way {
        Way::By(out) if out.index != link.index => {
            let around = if at.endpoint.is_ipv4() { AROUND_V4 } else { AROUND_V6 };
            Some((out.mtu?.saturating_sub(around), &out.name, out.mtu?, around))
        }
        _ => None,
    });
    let before = out.len();
    if let Some((most, by, outer, around)) = ways.min_by_key(|&(most, ..)| most)
        && mtu > most
    {
        out.warning(
            ID,
            format!(
                "the MTU of {name} is {mtu}, and {by}'s {outer} leaves {most} for it ({around} go around each \
                 packet): long packets are cut in pieces or lost"
            ),
            format!("`ip link set {name} mtu {most}`, and MTU = {most} in its configuration"),
        );
    }
    let has_v6 = facts.others().any(|peer| peer.address.is_ipv6())
        || link.addresses.iter().any(|(address, _)| address.is_ipv6());
    if mtu < LEAST_V6 && has_v6 {
        out.error(
            ID,
            format!("the MTU of {name} is {mtu}, and IPv6 needs {LEAST_V6}: there is none on it"),
            format!("`ip link set {name} mtu {LEAST_V6}`, or more"),
        );
    } else if mtu < GOSSIP {
        out.note(
            ID,
            format!("the MTU of {name} is {mtu}: gossip of up to {GOSSIP} bytes is cut in pieces"),
            format!("`ip link set {name} mtu 1420`, if the way to the peers allows it"),
        );
    }
    if out.len() == before {
        out.ok(ID, format!("the MTU of {name} is {mtu}"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{of_mesh, only};
    use super::*;
    use crate::doctor::{Severity, facts::Out, made_up};

    /// The MTU of the interface and of the way, and whether that is IPv6's.
    fn of(inner: u32, outer: u32, v6: bool) -> Vec<crate::doctor::Finding> {
        let mut facts = made_up::good();
        let alice = &mut facts.config.wanted.as_mut().unwrap().peers[1];
        alice.endpoints[0].way = Way::By(Out { index: 2, name: "eth0".into(), mtu: Some(outer) });
        if v6 {
            alice.endpoints[0].endpoint = "[2001:db8::2]:51820".parse().unwrap();
        }
        facts.mesh.as_mut().unwrap().link.as_mut().unwrap().as_mut().unwrap().mtu = Some(inner);
        of_mesh(check, &facts)
    }

    #[test]
    fn all_headers_must_fit_around() {
        for (inner, outer, v6, most) in [
            (1420, 1500, true, None),
            (1440, 1500, false, None),
            (1441, 1500, false, Some("mtu 1440")),
            (1421, 1500, true, Some("mtu 1420")),
            (1420, 1492, true, Some("mtu 1412")),
            (1420, 1492, false, None),
        ] {
            let found = of(inner, outer, v6);
            match most {
                Some(most) => {
                    let found = only(&found, Severity::Warning, "mtu");
                    assert!(found.fix.contains(most), "{found:?}");
                }
                None => assert_eq!(found[0].severity, Severity::Ok, "{inner} {outer} {found:?}"),
            }
        }
    }

    #[test]
    fn ipv6_needs_its_least() {
        let mut facts = made_up::good();
        let set = |facts: &mut Facts, mtu| {
            facts.mesh.as_mut().unwrap().link.as_mut().unwrap().as_mut().unwrap().mtu = Some(mtu);
        };
        set(&mut facts, 1200);
        only(&of_mesh(check, &facts), Severity::Note, "mtu");
        facts.config.wanted.as_mut().unwrap().peers[1].address = "fd14::2".parse().unwrap();
        only(&of_mesh(check, &facts), Severity::Error, "mtu");
        set(&mut facts, 1280);
        assert_eq!(of_mesh(check, &facts)[0].severity, Severity::Ok);
    }
}
