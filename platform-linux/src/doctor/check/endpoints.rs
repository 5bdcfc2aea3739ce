//! Endpoints: where WireGuard's own packets go, which must not be into a tunnel, and the names that stand for them.

use super::{
    super::{
        facts::{Device, EndpointFacts, Facts, MeshFacts, PeerFacts, Unseen, Way},
        finding::Findings,
    },
    some_of,
};

pub(super) fn check(facts: &Facts, mesh: &MeshFacts, out: &mut Findings) {
    for peer in facts.others() {
        for (host, why) in &peer.unresolved {
            out.warning(
                "endpoint-name",
                format!("the name {host} of {} has no address: {why}", peer.label()),
                "correct the name, or see to this machine's DNS; the daemon goes on asking",
            );
        }
    }
    let all = || facts.others().flat_map(|peer| peer.endpoints.iter().map(move |endpoint| (peer, endpoint)));
    if all().next().is_none() {
        return;
    }
    if let Device::Unseen(_) = mesh.device {
        // Without the fwmark, which is WireGuard's secret to those who may not read it, the answers would be about others.
        let unseen = Unseen::new("WireGuard's fwmark is not known", "run it as root");
        return out.skipped("endpoint-route", "the ways to the endpoints", &unseen);
    }
    let (Some(_), Some(link)) = (mesh.tunnel(), mesh.there()) else { return };
    let before = out.len();
    let named = |(peer, at): (&PeerFacts, &EndpointFacts)| match &at.host {
        Some(host) => format!("{} of {} ({host})", at.endpoint, peer.label()),
        None => format!("{} of {}", at.endpoint, peer.label()),
    };
    let with = |wanted: &dyn Fn(&Way) -> bool| -> Vec<String> {
        all().filter(|(_, at)| wanted(&at.way)).map(named).collect()
    };
    let looped = with(&|way| matches!(way, Way::By(out) if out.index == link.index));
    if !looped.is_empty() {
        out.error(
            "endpoint-route",
            format!(
                "the way to {} leads into {}: WireGuard's packets would go into WireGuard",
                some_of(&looped),
                mesh.interface
            ),
            "give the endpoint a route of its own, `ip route add ADDRESS via GATEWAY dev LINK`, or an address \
             outside of the mesh; a default route into the tunnel needs a fwmark, as wg-quick sets it",
        );
    }
    let nowhere = with(&|way| *way == Way::Nowhere);
    if !nowhere.is_empty() {
        out.warning(
            "endpoint-route",
            format!("there is no route to {}", some_of(&nowhere)),
            "add one, or a default route, if this machine should reach it",
        );
    }
    if out.len() == before {
        out.ok("endpoint-route", "the ways to the endpoints lead around the tunnel");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ids, of_mesh, only};
    use super::*;
    use crate::doctor::{Severity, facts::Out, made_up};

    fn of(change: impl FnOnce(&mut Facts)) -> Vec<crate::doctor::Finding> {
        let mut facts = made_up::good();
        change(&mut facts);
        of_mesh(check, &facts)
    }

    fn alice(facts: &mut Facts) -> &mut PeerFacts {
        &mut facts.config.wanted.as_mut().unwrap().peers[1]
    }

    #[test]
    fn an_endpoint_inside_the_tunnel_is_an_error() {
        let wg0 = Way::By(Out { index: 7, name: "wg0".into(), mtu: Some(1420) });
        let found = of(|facts| alice(facts).endpoints[0].way = wg0);
        let found = only(&found, Severity::Error, "endpoint-route");
        assert!(found.what.starts_with("the way to 203.0.113.2:51820 of alice leads into wg0"), "{found:?}");
    }

    #[test]
    fn no_way_at_all_is_a_warning() {
        let found = of(|facts| alice(facts).endpoints[0].way = Way::Nowhere);
        only(&found, Severity::Warning, "endpoint-route");
    }

    #[test]
    fn names_without_an_address_are_named() {
        let found = of(|facts| {
            alice(facts).endpoints.clear();
            alice(facts).unresolved = vec![("alice.example.org".into(), "no such name".into())];
        });
        assert!(only(&found, Severity::Warning, "endpoint-name").what.contains("alice.example.org"));
    }

    #[test]
    fn without_the_fwmark_nobody_is_asked() {
        let unseen = || Device::Unseen(Unseen::new("not permitted", "run it as root"));
        let found = of(|facts| facts.mesh.as_mut().unwrap().device = unseen());
        only(&found, Severity::Skipped, "endpoint-route");
        // And without endpoints there is nothing to ask for.
        let found = of(|facts| alice(facts).endpoints.clear());
        assert_eq!(ids(&found), []);
    }
}
