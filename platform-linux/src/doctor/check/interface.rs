//! The interface: whether it is there, is WireGuard's, is up, has a key and a port that stays.

use super::super::{
    facts::{Device, Facts, MeshFacts},
    finding::Findings,
};

pub(super) fn check(_: &Facts, mesh: &MeshFacts, out: &mut Findings) {
    let name = &mesh.interface;
    match &mesh.device {
        Device::Absent => {
            return out.error(
                "interface",
                format!("there is no interface {name}"),
                format!(
                    "make it, `wg-quick up {name}` for instance, or correct `interface` in the configuration"
                ),
            );
        }
        Device::NotWireGuard => {
            return out.error(
                "interface",
                format!("{name} is there, and no WireGuard answers for it"),
                "correct `interface` in the configuration: `wg show interfaces` lists those of WireGuard; a \
                 userspace WireGuard has to be running",
            );
        }
        Device::Unseen(unseen) => {
            out.skipped("wireguard", &format!("the keys, peers and port of {name}"), unseen);
        }
        Device::There(_) => out.ok("interface", format!("{name} is a WireGuard interface")),
    }
    if let Some(link) = mesh.there() {
        if link.up {
            out.ok("interface-up", format!("{name} is up"));
        } else {
            out.error("interface-up", format!("{name} is down"), format!("`ip link set {name} up`"));
        }
    }
    let Some(tunnel) = mesh.tunnel() else { return };
    match tunnel.key {
        Some(_) => out.ok("private-key", format!("{name} has a private key")),
        None => out.error(
            "private-key",
            format!("{name} has no private key, so it talks to nobody"),
            format!("`wg set {name} private-key FILE`, with what `wg genkey` prints in the file"),
        ),
    }
    match (tunnel.listen_port, mesh.port_is_fixed) {
        (0, _) => out.warning(
            "listen-port",
            format!("{name} has no listen port: the kernel takes another one each time"),
            format!("`wg set {name} listen-port 51820`, and ListenPort in its configuration"),
        ),
        (port, Some(false)) => out.warning(
            "listen-port",
            format!(
                "the configuration of {name} gives it no port: {port} is by chance, and the next one another"
            ),
            format!("write ListenPort = {port} into /etc/wireguard/{name}.conf"),
        ),
        (port, _) => out.ok("listen-port", format!("WireGuard's port is {port}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ids, of_mesh, only};
    use super::*;
    use crate::doctor::{
        Severity,
        facts::{Tunnel, Unseen},
        made_up,
    };

    fn with(change: impl FnOnce(&mut MeshFacts)) -> Vec<crate::doctor::Finding> {
        of_mesh(check, &made_up::with(change))
    }

    fn tunnel(change: impl FnOnce(&mut Tunnel)) -> Vec<crate::doctor::Finding> {
        with(|mesh| match &mut mesh.device {
            Device::There(tunnel) => change(tunnel),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn one_that_is_missing_is_all_there_is_to_say() {
        let absent = |mesh: &mut MeshFacts| {
            mesh.device = Device::Absent;
            mesh.link = Ok(None);
        };
        assert_eq!(ids(&with(absent)), [(Severity::Error, "interface")]);
        let other = with(|mesh| mesh.device = Device::NotWireGuard);
        assert_eq!(ids(&other), [(Severity::Error, "interface")]);
    }

    #[test]
    fn whoever_may_not_read_it_still_sees_whether_it_is_up() {
        let unseen = || Device::Unseen(Unseen::new("not permitted", "run it as root"));
        let found = with(|mesh| mesh.device = unseen());
        assert_eq!(ids(&found), [(Severity::Skipped, "wireguard"), (Severity::Ok, "interface-up")]);
    }

    #[test]
    fn down_is_an_error() {
        let found = with(|mesh| mesh.link.as_mut().unwrap().as_mut().unwrap().up = false);
        assert_eq!(only(&found, Severity::Error, "interface-up").fix, "`ip link set wg0 up`");
    }

    #[test]
    fn without_a_key_it_talks_to_nobody() {
        only(&tunnel(|tunnel| tunnel.key = None), Severity::Error, "private-key");
    }

    #[test]
    fn the_port_must_stay() {
        only(&tunnel(|tunnel| tunnel.listen_port = 0), Severity::Warning, "listen-port");
        let found = only(&with(|mesh| mesh.port_is_fixed = Some(false)), Severity::Warning, "listen-port");
        assert!(found.fix.contains("ListenPort = 51820"), "{found:?}");
        // Where nobody knows, nothing is said against it.
        let found = with(|mesh| mesh.port_is_fixed = None);
        assert_eq!(found.iter().filter(|finding| finding.severity == Severity::Ok).count(), 4);
    }
}
