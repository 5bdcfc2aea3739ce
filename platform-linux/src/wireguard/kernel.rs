//! The kernel's WireGuard, by generic netlink.
//!
//! Reading is `wireguard-control`'s. It drops the interface's private key, which every dump carries, without wiping it from its
//! receive buffers; here only the copy that reaches us can be wiped. The daemon keeps its process undumpable for the rest.

use core::net::IpAddr;
use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use netlink_packet_generic::GenlMessage;
use netlink_packet_wireguard::{
    Wireguard, WireguardCmd,
    constants::{AF_INET, AF_INET6, WGPEER_F_REMOVE_ME, WGPEER_F_REPLACE_ALLOWEDIPS, WGPEER_F_UPDATE_ONLY},
    nlas::{WgAllowedIp, WgAllowedIpAttrs, WgDeviceAttrs, WgPeer, WgPeerAttrs},
};
use netlink_request::netlink_request_genl;
use rustix::io::Errno;
use wireguard_control::{Backend, InterfaceName};
use zeroize::Zeroize;

use super::{Change, Device, ReadError, Write};

/// Allowed IPs in one message: at most 40 bytes each, so that a message stays well below the 8 KiB that
/// `netlink-request` sends at once.
const ALLOWED_IPS: usize = 128;

pub(super) fn read(name: &InterfaceName) -> Result<Device, ReadError> {
    let mut device = wireguard_control::Device::get(name, Backend::Kernel).map_err(blame)?;
    if let Some(key) = &mut device.private_key {
        key.0.zeroize();
    }
    Ok(Device {
        public_key: device.public_key,
        listen_port: device.listen_port.unwrap_or(0),
        fwmark: device.fwmark.unwrap_or(0),
        peers: device.peers,
    })
}

fn blame(error: io::Error) -> ReadError {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NODEV) => ReadError::Absent,
        // Another kind of link; or the kernel has no WireGuard at all, and then the link is of another kind.
        Some(Errno::OPNOTSUPP | Errno::NOENT | Errno::PROTONOSUPPORT) => ReadError::NotWireGuard,
        Some(Errno::PERM | Errno::ACCESS) => ReadError::Permission,
        _ => ReadError::Failed(error),
    }
}

pub(super) fn apply(name: &InterfaceName, change: &Change<'_>) -> io::Result<()> {
    for message in messages(&name.as_str_lossy(), change) {
        netlink_request_genl(GenlMessage::from_payload(message), Some(NLM_F_REQUEST | NLM_F_ACK))?;
    }
    Ok(())
}

/// Removal and what is written first go in one message: the kernel carries it out under its lock, so that no packet
/// meets an interface without the peer. Allowed IPs that do not fit follow.
fn messages(interface: &str, change: &Change<'_>) -> Vec<Wireguard> {
    let message = |peers| Wireguard {
        cmd: WireguardCmd::SetDevice,
        nlas: vec![WgDeviceAttrs::IfName(interface.into()), WgDeviceAttrs::Peers(peers)],
    };
    let peer = |flags| vec![WgPeerAttrs::PublicKey(change.key), WgPeerAttrs::Flags(flags)];
    let mut first = Vec::new();
    if change.remove {
        first.push(WgPeer(peer(WGPEER_F_REMOVE_ME)));
    }
    let Some(Write { update_only, endpoint, keepalive, preshared_key, allowed_ips }) = &change.write else {
        return vec![message(first)];
    };
    // A peer just removed has none to replace; said all the same, so that the message alone defines the peer.
    let replace = if change.remove { WGPEER_F_REPLACE_ALLOWEDIPS } else { 0 };
    let mut attributes = peer(if *update_only { WGPEER_F_UPDATE_ONLY } else { replace });
    attributes.extend(preshared_key.map(|key| WgPeerAttrs::PresharedKey(*key)));
    attributes.extend(endpoint.map(WgPeerAttrs::Endpoint));
    attributes.extend(keepalive.map(WgPeerAttrs::PersistentKeepalive));
    let mut chunks = allowed_ips.chunks(ALLOWED_IPS);
    attributes.extend(chunks.next().map(encode));
    first.push(WgPeer(attributes));
    let rest = chunks.map(|chunk| {
        let mut attributes = peer(WGPEER_F_UPDATE_ONLY);
        attributes.push(encode(chunk));
        message(vec![WgPeer(attributes)])
    });
    core::iter::once(message(first)).chain(rest).collect()
}

fn encode(allowed_ips: &[(IpAddr, u8)]) -> WgPeerAttrs {
    let one = |&(ip, prefix): &(IpAddr, u8)| {
        WgAllowedIp(vec![
            WgAllowedIpAttrs::Family(if ip.is_ipv4() { AF_INET } else { AF_INET6 }),
            WgAllowedIpAttrs::IpAddr(ip),
            WgAllowedIpAttrs::Cidr(prefix),
        ])
    };
    WgPeerAttrs::AllowedIps(allowed_ips.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NetlinkMessage;
    use netlink_request::max_netlink_buffer_length;
    use wgautomesh_core::{Interface, PeerAction, PublicKey};
    use wireguard_control::{AllowedIp, Key, PeerInfo};

    use super::super::Snapshot;
    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const PSK: [u8; 32] = [9; 32];

    /// What the kernel would read: the messages as bytes and back.
    fn sent(action: &PeerAction, allowed_ips: usize) -> Vec<Vec<WgPeer>> {
        let mut peer = PeerInfo::from_public_key(Key(KEY));
        peer.config.preshared_key = Some(Key(PSK));
        peer.config.persistent_keepalive_interval = Some(25);
        peer.config.endpoint = Some(([192, 0, 2, 9], 9).into());
        peer.config.allowed_ips = (0..allowed_ips)
            .map(|i| AllowedIp { address: IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, i as u16]), cidr: 128 })
            .collect();
        let interface =
            Interface { index: 1, public_key: PublicKey::from_bytes([1; 32]), listen_port: 51820 };
        let snapshot = Snapshot::new(interface, 0, [peer]);
        let change = Change::new(&PublicKey::from_bytes(KEY), action, &snapshot).expect("a change");
        let back = |wireguard: Wireguard| {
            let mut message = GenlMessage::from_payload(wireguard);
            message.set_resolved_family_id(30);
            let mut message = NetlinkMessage::from(message);
            message.finalize();
            assert!(message.buffer_len() <= max_netlink_buffer_length(), "{}", message.buffer_len());
            let mut bytes = vec![0; message.buffer_len()];
            message.serialize(&mut bytes);
            // The name with its NUL comes before the peers.
            assert_eq!(&bytes[24..28], b"wg0\0");
            let Wireguard { nlas, .. } = NetlinkMessage::<GenlMessage<Wireguard>>::deserialize(&bytes)
                .map(|message| match message.payload {
                    netlink_packet_core::NetlinkPayload::InnerMessage(message) => message.payload,
                    other => panic!("{other:?}"),
                })
                .expect("it reads back");
            nlas.into_iter().find_map(|nla| match nla {
                WgDeviceAttrs::Peers(peers) => Some(peers),
                _ => None,
            })
        };
        messages("wg0", &change).into_iter().map(|message| back(message).expect("peers")).collect()
    }

    fn count(peer: &WgPeer) -> usize {
        let lists = peer.iter().map(|attribute| match attribute {
            WgPeerAttrs::AllowedIps(ips) => ips.len(),
            _ => 0,
        });
        lists.sum()
    }

    #[test]
    fn readding_is_one_message_that_restores_everything() {
        let messages = sent(&PeerAction::Readd { endpoint: Some(([192, 0, 2, 1], 51820).into()) }, 1);
        let allowed = WgAllowedIp(vec![
            WgAllowedIpAttrs::Family(AF_INET6),
            WgAllowedIpAttrs::IpAddr("2001:db8::".parse().expect("an address")),
            WgAllowedIpAttrs::Cidr(128),
        ]);
        let removed = WgPeer(vec![WgPeerAttrs::PublicKey(KEY), WgPeerAttrs::Flags(WGPEER_F_REMOVE_ME)]);
        let added = WgPeer(vec![
            WgPeerAttrs::PublicKey(KEY),
            WgPeerAttrs::Flags(WGPEER_F_REPLACE_ALLOWEDIPS),
            WgPeerAttrs::PresharedKey(PSK),
            WgPeerAttrs::Endpoint(([192, 0, 2, 1], 51820).into()),
            WgPeerAttrs::PersistentKeepalive(0),
            WgPeerAttrs::AllowedIps(vec![allowed]),
        ]);
        assert_eq!(messages, [vec![removed, added]]);
    }

    #[test]
    fn readding_without_endpoint_leaves_none() {
        let messages = sent(&PeerAction::Readd { endpoint: None }, 1);
        assert!(!messages[0][1].iter().any(|attribute| matches!(attribute, WgPeerAttrs::Endpoint(_))));
    }

    #[test]
    fn many_allowed_ips_are_split_and_none_is_lost() {
        for n in [0, 1, ALLOWED_IPS, ALLOWED_IPS + 1, 1000] {
            let messages = sent(&PeerAction::Readd { endpoint: None }, n);
            assert_eq!(messages.len(), n.div_ceil(ALLOWED_IPS).max(1), "{n}");
            assert_eq!(messages.iter().flatten().map(count).sum::<usize>(), n);
            for later in messages[1..].iter().flatten() {
                assert_eq!(later[1], WgPeerAttrs::Flags(WGPEER_F_UPDATE_ONLY));
            }
        }
    }

    #[test]
    fn small_changes_say_update_only_and_nothing_else() {
        let endpoint = "[2001:db8::1]:4500".parse().expect("an endpoint");
        let start = [WgPeerAttrs::PublicKey(KEY), WgPeerAttrs::Flags(WGPEER_F_UPDATE_ONLY)];
        for (action, attribute) in [
            (PeerAction::SetEndpoint(endpoint), WgPeerAttrs::Endpoint(endpoint)),
            (PeerAction::SetKeepalive(25), WgPeerAttrs::PersistentKeepalive(25)),
        ] {
            let expected = start.iter().cloned().chain([attribute]).collect();
            let mut messages = sent(&action, 3);
            for attribute in &mut messages[0][0].0 {
                // An empty list of allowed IPs means "no change", and none is sent at all.
                assert!(!matches!(attribute, WgPeerAttrs::AllowedIps(_)));
            }
            assert_eq!(messages, [vec![WgPeer(expected)]], "{action:?}");
        }
    }

    #[test]
    fn adding_does_not_take_what_is_there() {
        let action = PeerAction::Add { address: IpAddr::from([10, 0, 0, 7]), endpoint: None };
        let messages = sent(&action, 3);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0][0][1], WgPeerAttrs::Flags(0));
        assert_eq!(count(&messages[0][0]), 1);
    }
}
