//! Addresses inside the mesh: this node's own on the interface, and those of the peers, which the kernel must route into the
//! interface and WireGuard must give to the right peer.

use core::net::IpAddr;

use wgautomesh_core::PublicKey;

use super::{
    super::{
        facts::{Facts, LinkFacts, MeshFacts, PeerFacts, Tunnel, TunnelPeer, Way},
        finding::Findings,
    },
    some_of,
};
use crate::config::short_key;

pub(super) fn check(facts: &Facts, mesh: &MeshFacts, out: &mut Findings) {
    if let Some(link) = mesh.there() {
        own(facts, mesh, link, out);
        // One that is down has no routes, which is said already.
        if link.up {
            routes(facts, mesh, link, out);
        }
    }
    if let Some(tunnel) = mesh.tunnel() {
        allowed_ips(facts, mesh, tunnel, out);
    }
}

fn own(facts: &Facts, mesh: &MeshFacts, link: &LinkFacts, out: &mut Findings) {
    let name = &mesh.interface;
    let has = |address: IpAddr| link.addresses.iter().any(|&(own, _)| own == address);
    let key = mesh.tunnel().and_then(|tunnel| tunnel.key);
    let peers = || facts.config.wanted.iter().flat_map(|wanted| &wanted.peers);
    let entry = peers().find(|peer| Some(peer.key) == key);
    // What is there for the link itself is no address of a mesh.
    let addresses: Vec<String> = link
        .addresses
        .iter()
        .filter(|(address, _)| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .map(|(address, prefix)| format!("{address}/{prefix}"))
        .collect();
    match entry {
        Some(entry) if !has(entry.address) => out.error(
            "own-address",
            format!(
                "the configuration lists this node with {}, and {name} has {}",
                entry.address,
                if addresses.is_empty() { "no address".into() } else { addresses.join(", ") }
            ),
            format!(
                "`ip addr add {}/{} dev {name}`, or correct the list",
                entry.address,
                width(entry.address)
            ),
        ),
        Some(entry) => {
            out.ok("own-address", format!("{name} has {}, with which this node is listed", entry.address));
        }
        None if addresses.is_empty() => out.error(
            "own-address",
            format!("{name} has no address, so nobody can send to this node"),
            format!("`ip addr add ADDRESS/24 dev {name}`, with the address that the other nodes list"),
        ),
        // Each node may list itself, and need not.
        None if key.is_some() => {
            out.ok("own-address", format!("{name} has {}; this node is not listed", addresses.join(", ")));
        }
        None => out.ok("own-address", format!("{name} has {}", addresses.join(", "))),
    }
    let taken: Vec<_> = facts.others().filter(|peer| has(peer.address)).collect();
    for peer in taken.iter().filter(|_| key.is_some()) {
        out.error(
            "address-taken",
            format!("{} is listed as {}'s, and {name} has it itself", peer.address, peer.label()),
            "give each node an address of its own; and is the key in the list that node's, not this one's?",
        );
    }
}

/// The prefix length of a single address.
const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn routes(facts: &Facts, mesh: &MeshFacts, link: &LinkFacts, out: &mut Findings) {
    let name = &mesh.interface;
    let own = |peer: &PeerFacts| link.addresses.iter().any(|&(own, _)| own == peer.address);
    let routed: Vec<_> = facts.others().filter(|peer| peer.way != Way::Unknown && !own(peer)).collect();
    let mut astray: Vec<(String, Vec<&PeerFacts>)> = Vec::new();
    for &peer in &routed {
        let by = match &peer.way {
            Way::By(way) if way.index == link.index => continue,
            Way::By(way) => format!("by {}", way.name),
            Way::Nowhere | Way::Unknown => "nowhere".into(),
        };
        match astray.iter_mut().find(|(other, _)| *other == by) {
            Some((_, peers)) => peers.push(peer),
            None => astray.push((by, vec![peer])),
        }
    }
    for (by, peers) in &astray {
        let labels: Vec<String> =
            peers.iter().map(|peer| format!("{} ({})", peer.label(), peer.address)).collect();
        let fix = match peers[..] {
            [peer] => format!("`ip route add {}/{} dev {name}`", peer.address, width(peer.address)),
            _ => format!(
                "give {name} its address with the prefix length of the whole mesh, `ip addr add ADDRESS/24 dev \
                 {name}` for instance, or add routes: `ip route add PREFIX dev {name}`"
            ),
        };
        let what = match by.as_str() {
            "nowhere" => format!("there is no route to {}", some_of(&labels)),
            by => format!("what is for {} leaves {by}, not by {name}", some_of(&labels)),
        };
        out.error("mesh-route", what, fix);
    }
    if astray.is_empty() && !routed.is_empty() {
        out.ok("mesh-route", format!("every peer's address leads into {name}"));
    }
}

fn allowed_ips(facts: &Facts, mesh: &MeshFacts, tunnel: &Tunnel, out: &mut Findings) {
    let name = &mesh.interface;
    let before = out.len();
    let (mut missing, mut held): (Vec<String>, bool) = (Vec::new(), false);
    for peer in facts.others() {
        let Some(entry) = tunnel.peers.iter().find(|entry| entry.key == peer.key) else {
            missing.push(peer.label());
            continue;
        };
        match owner(tunnel, peer.address) {
            Some(owner) if owner.key == peer.key => held = true,
            Some(owner) => out.error(
                "allowed-ips",
                format!(
                    "WireGuard sends what is for {} ({}) to another peer, {}, and refuses what comes from {0}",
                    peer.label(),
                    peer.address,
                    label(facts, &owner.key)
                ),
                give(name, entry, peer.address),
            ),
            None => out.error(
                "allowed-ips",
                format!(
                    "WireGuard drops what is for {} ({}): that is not among the peer's allowed IPs",
                    peer.label(),
                    peer.address
                ),
                give(name, entry, peer.address),
            ),
        }
    }
    if !missing.is_empty() {
        let what = format!("{name} does not have {}", some_of(&missing));
        match mesh.running() {
            Some(_) => out.warning(
                "peers-missing",
                format!("{what}, and the daemon, which runs, should have added them"),
                "look into its log; was the configuration changed after it was started?",
            ),
            None => out.note("peers-missing", format!("{what} yet: the daemon adds them"), ""),
        }
    }
    if out.len() == before && held {
        out.ok("allowed-ips", "WireGuard gives every peer that it has its own address");
    }
}

/// The peer to which WireGuard sends what is for an address: that of the longest prefix.
fn owner(tunnel: &Tunnel, address: IpAddr) -> Option<&TunnelPeer> {
    let longest = |peer: &TunnelPeer| {
        let fitting = peer.allowed_ips.iter().filter(|&&(prefix, length)| covers(prefix, length, address));
        fitting.map(|&(_, length)| length).max()
    };
    let candidates = tunnel.peers.iter().filter_map(|peer| Some((longest(peer)?, peer)));
    candidates.max_by_key(|&(length, _)| length).map(|(_, peer)| peer)
}

/// Whether an address is in `prefix/length`.
fn covers(prefix: IpAddr, length: u8, address: IpAddr) -> bool {
    fn bits(address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
            IpAddr::V6(v6) => v6.to_bits(),
        }
    }
    let different = bits(prefix) ^ bits(address);
    prefix.is_ipv4() == address.is_ipv4() && different.leading_zeros() >= u32::from(length)
}

fn label(facts: &Facts, key: &PublicKey) -> String {
    facts.others().find(|peer| peer.key == *key).map_or_else(|| short_key(key), PeerFacts::label)
}

/// The command that gives a peer an address besides those that it has.
fn give(interface: &str, peer: &TunnelPeer, address: IpAddr) -> String {
    let all = peer.allowed_ips.iter().map(|(prefix, length)| format!("{prefix}/{length}"));
    let all: Vec<String> = all.chain([format!("{address}/{}", width(address))]).collect();
    format!("`wg set {interface} peer {} allowed-ips {}`", peer.key, all.join(","))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ids, of_mesh, only};
    use super::*;
    use crate::doctor::{
        Severity,
        facts::{Device, Out},
        made_up::{self, key},
    };

    fn of(change: impl FnOnce(&mut Facts)) -> Vec<crate::doctor::Finding> {
        let mut facts = made_up::good();
        change(&mut facts);
        of_mesh(check, &facts)
    }

    fn link(facts: &mut Facts) -> &mut LinkFacts {
        facts.mesh.as_mut().unwrap().link.as_mut().unwrap().as_mut().unwrap()
    }

    fn tunnel(facts: &mut Facts) -> &mut Tunnel {
        match &mut facts.mesh.as_mut().unwrap().device {
            Device::There(tunnel) => tunnel,
            other => panic!("{other:?}"),
        }
    }

    fn peers(facts: &mut Facts) -> &mut Vec<PeerFacts> {
        &mut facts.config.wanted.as_mut().unwrap().peers
    }

    #[test]
    fn an_interface_without_an_address_is_reached_by_nobody() {
        let found = of(|facts| {
            peers(facts).retain(|peer| peer.key != key(1));
            link(facts).addresses = vec![("fe80::1".parse().unwrap(), 64)];
        });
        only(&found, Severity::Error, "own-address");
    }

    #[test]
    fn this_node_must_have_the_address_that_the_list_gives_it() {
        let found = of(|facts| link(facts).addresses = vec![("10.14.0.9".parse().unwrap(), 24)]);
        let found = only(&found, Severity::Error, "own-address");
        assert_eq!(found.what, "the configuration lists this node with 10.14.0.1, and wg0 has 10.14.0.9/24");
        // Who is not listed may have any.
        let found = of(|facts| {
            peers(facts).retain(|peer| peer.key != key(1));
            link(facts).addresses = vec![("10.14.0.9".parse().unwrap(), 24)];
        });
        assert_eq!(found.iter().filter(|finding| finding.severity != Severity::Ok).count(), 0, "{found:#?}");
    }

    #[test]
    fn no_two_nodes_have_one_address() {
        let found = of(|facts| link(facts).addresses.push(("10.14.0.2".parse().unwrap(), 24)));
        let found = only(&found, Severity::Error, "address-taken");
        assert!(found.what.contains("alice"), "{found:?}");
    }

    #[test]
    fn peers_must_be_routed_into_the_interface() {
        let eth0 = || Way::By(Out { index: 2, name: "eth0".into(), mtu: Some(1500) });
        let found = of(|facts| peers(facts)[1].way = eth0());
        let found = only(&found, Severity::Error, "mesh-route");
        assert_eq!(found.what, "what is for alice (10.14.0.2) leaves by eth0, not by wg0");
        assert_eq!(found.fix, "`ip route add 10.14.0.2/32 dev wg0`");

        let found = of(|facts| peers(facts).iter_mut().for_each(|peer| peer.way = Way::Nowhere));
        let found = only(&found, Severity::Error, "mesh-route");
        assert_eq!(found.what, "there is no route to alice (10.14.0.2) and AwMDAwMD (10.14.0.3)");

        // Nobody was asked: nothing is known.
        let found = of(|facts| peers(facts).iter_mut().for_each(|peer| peer.way = Way::Unknown));
        assert!(!ids(&found).iter().any(|(_, id)| *id == "mesh-route"), "{found:#?}");
    }

    #[test]
    fn an_interface_that_is_down_has_no_routes_to_be_blamed_for() {
        let found = of(|facts| {
            peers(facts).iter_mut().for_each(|peer| peer.way = Way::Nowhere);
            link(facts).up = false;
        });
        assert!(!ids(&found).iter().any(|(_, id)| *id == "mesh-route"), "{found:#?}");
    }

    #[test]
    fn an_address_belongs_to_the_peer_with_the_longest_prefix() {
        // Bob has the whole network as well, which takes nothing from alice.
        let network = |last: u8, length| ([10, 14, 0, last].into(), length);
        let found = of(|facts| tunnel(facts).peers[1].allowed_ips.push(network(0, 24)));
        assert_eq!(found.iter().filter(|finding| finding.severity != Severity::Ok).count(), 0, "{found:#?}");

        let found = of(|facts| {
            tunnel(facts).peers[0].allowed_ips = vec![network(0, 28)];
            tunnel(facts).peers[1].allowed_ips.push(network(2, 32));
        });
        let found = only(&found, Severity::Error, "allowed-ips");
        assert!(found.what.starts_with("WireGuard sends what is for alice (10.14.0.2) to another peer"));
        assert_eq!(found.fix, format!("`wg set wg0 peer {} allowed-ips 10.14.0.0/28,10.14.0.2/32`", key(2)));

        let found = of(|facts| tunnel(facts).peers[0].allowed_ips.clear());
        let found = only(&found, Severity::Error, "allowed-ips");
        assert!(found.what.starts_with("WireGuard drops what is for alice"), "{found:?}");
    }

    #[test]
    fn a_peer_that_wireguard_does_not_have_is_the_daemons_to_add() {
        let missing = |running: bool| {
            of(|facts| {
                tunnel(facts).peers.remove(0);
                if !running {
                    facts.mesh.as_mut().unwrap().daemon = Ok(None);
                }
            })
        };
        only(&missing(false), Severity::Note, "peers-missing");
        only(&missing(true), Severity::Warning, "peers-missing");
    }

    #[test]
    fn prefixes_are_of_one_family() {
        for (prefix, length, address, expected) in [
            ("0.0.0.0", 0, "10.1.2.3", true),
            ("0.0.0.0", 0, "fd00::1", false),
            ("::", 0, "fd00::1", true),
            ("10.0.0.0", 8, "10.255.0.1", true),
            ("10.0.0.0", 8, "11.0.0.1", false),
            ("fd00::", 127, "fd00::1", true),
            ("fd00::", 128, "fd00::1", false),
        ] {
            let covered = covers(prefix.parse().unwrap(), length, address.parse().unwrap());
            assert_eq!(covered, expected, "{prefix}/{length} {address}");
        }
    }
}
