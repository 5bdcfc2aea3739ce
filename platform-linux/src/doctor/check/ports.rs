//! Ports: whether WireGuard listens at its own, and whether the gossip's is free for the daemon.

use core::net::IpAddr;

use super::super::{
    facts::{BoundPort, Facts, MeshFacts, PortFacts},
    finding::Findings,
};

pub(super) fn check(facts: &Facts, mesh: &MeshFacts, out: &mut Findings) {
    wireguard(mesh, out);
    if let Some(wanted) = &facts.config.wanted {
        gossip(wanted.gossip_port, mesh, out);
    }
}

fn wireguard(mesh: &MeshFacts, out: &mut Findings) {
    const ID: &str = "wireguard-port";
    let Some(tunnel) = mesh.tunnel().filter(|tunnel| tunnel.listen_port != 0) else { return };
    // It opens its port when the link goes up.
    if !mesh.there().is_some_and(|link| link.up) {
        return;
    }
    let port = tunnel.listen_port;
    match &mesh.ports {
        Err(unseen) => out.skipped(ID, "the ports that are in use", unseen),
        Ok(ports) if ports.iter().any(|bound| bound.port == port) => {
            out.ok(ID, format!("something listens at UDP port {port}, as WireGuard should"));
        }
        // An interface that was made in another network namespace has its port there.
        Ok(_) => out.warning(
            ID,
            format!("{} is up, and nobody listens at its UDP port {port} here", mesh.interface),
            format!(
                "`ip link set {0} down` and `up` again, and look what it says; if {0} was made in another network \
                 namespace, its port is there",
                mesh.interface
            ),
        ),
    }
}

fn gossip(port: u16, mesh: &MeshFacts, out: &mut Findings) {
    const ID: &str = "gossip-port";
    match &mesh.gossip_port {
        PortFacts::Free => out.ok(ID, format!("UDP port {port} is free on {}", mesh.interface)),
        PortFacts::Taken => {
            let whose = match holder(port, mesh) {
                Some(program) => format!("{program} has it"),
                None => "another program has it".into(),
            };
            out.error(
                ID,
                format!("the daemon cannot have UDP port {port} on {}: {whose}", mesh.interface),
                "stop that program, or give all nodes another gossip_port",
            );
        }
        PortFacts::Unseen(unseen) => out.skipped(ID, &format!("whether UDP port {port} is free"), unseen),
        PortFacts::NotTried => {}
    }
}

/// The program that has a port, at an address that includes those of the interface.
fn holder(port: u16, mesh: &MeshFacts) -> Option<&str> {
    let own = |address: IpAddr| {
        mesh.there().is_some_and(|link| link.addresses.iter().any(|&(own, _)| own == address))
    };
    let includes =
        |bound: &&BoundPort| bound.port == port && (bound.address.is_unspecified() || own(bound.address));
    mesh.ports.as_ref().ok()?.iter().filter(includes).find_map(|bound| bound.program.as_deref())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ids, of_mesh, only};
    use super::*;
    use crate::doctor::{Severity, facts::Unseen, made_up};

    fn of(change: impl FnOnce(&mut MeshFacts)) -> Vec<crate::doctor::Finding> {
        of_mesh(check, &made_up::with(change))
    }

    #[test]
    fn somebody_must_listen_at_wireguards_port() {
        only(&of(|mesh| mesh.ports = Ok(Vec::new())), Severity::Warning, "wireguard-port");
        let unseen = || Err(Unseen::new("no /proc", "mount it"));
        only(&of(|mesh| mesh.ports = unseen()), Severity::Skipped, "wireguard-port");
        // Nothing is expected of one that is down; that is said elsewhere.
        let found = of(|mesh| {
            mesh.ports = Ok(Vec::new());
            mesh.link.as_mut().unwrap().as_mut().unwrap().up = false;
        });
        assert_eq!(ids(&found), []);
    }

    #[test]
    fn whoever_has_the_gossip_port_is_named() {
        let bound = |address: &str, program: Option<&str>| BoundPort {
            address: address.parse().unwrap(),
            port: 1666,
            inode: 9,
            program: program.map(Into::into),
        };
        for (bound, said) in [
            (bound("0.0.0.0", Some("socat (4711)")), "socat (4711) has it"),
            (bound("10.14.0.1", Some("socat (4711)")), "socat (4711) has it"),
            (bound("127.0.0.1", Some("socat (4711)")), "another program has it"),
            (bound("::", None), "another program has it"),
        ] {
            let found = of(|mesh| {
                mesh.gossip_port = PortFacts::Taken;
                mesh.ports.as_mut().unwrap().push(bound);
            });
            let found = only(&found, Severity::Error, "gossip-port");
            assert!(found.what.ends_with(said), "{found:?}");
        }
        let found = of(|mesh| mesh.gossip_port = PortFacts::Free);
        assert_eq!(found.iter().filter(|finding| finding.id == "gossip-port").count(), 1);
    }
}
