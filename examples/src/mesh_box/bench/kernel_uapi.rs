//! The configuration socket that the kernel's WireGuard does not have: one connection on which the text protocol of the
//! devices in user space is spoken, translated from and to generic netlink.
//!
//! Requests become netlink messages one to one: what is said in one `set=1` reaches the kernel in one message, flags
//! included, which `wireguard-control` cannot say all of.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::UNIX_EPOCH;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use netlink_packet_generic::GenlMessage;
use netlink_packet_wireguard::{
    Wireguard, WireguardCmd,
    constants::{AF_INET, AF_INET6, WGPEER_F_REMOVE_ME, WGPEER_F_REPLACE_ALLOWEDIPS, WGPEER_F_UPDATE_ONLY},
    nlas::{WgAllowedIp, WgAllowedIpAttrs, WgDeviceAttrs, WgPeer, WgPeerAttrs},
};
use netlink_request::netlink_request_genl;
use wireguard_control::{Backend, Device};

use crate::mesh_box::key::Key;
use crate::mesh_box::wireguard::INTERFACE;

/// Opens a connection. It is served in this network namespace until it is closed.
pub(super) fn connect() -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    std::thread::Builder::new().spawn(move || {
        // The error is that nobody listens any more.
        let _ = serve(&ours);
    })?;
    Ok(theirs)
}

fn serve(stream: &UnixStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    loop {
        let mut request = Vec::new();
        loop {
            match lines.next().transpose()? {
                None => return Ok(()),
                Some(line) if line.is_empty() => break,
                Some(line) => request.push(line),
            }
        }
        let answered = match request.split_first() {
            Some((first, _)) if first == "get=1" => get(),
            Some((first, rest)) if first == "set=1" => set(rest).map(|()| String::new()),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        };
        let answer = match answered {
            Ok(text) => format!("{text}errno=0\n\n"),
            // EINVAL for what is not the kernel's own.
            Err(error) => format!("errno={}\n\n", error.raw_os_error().unwrap_or(22)),
        };
        (&*stream).write_all(answer.as_bytes())?;
    }
}

fn get() -> io::Result<String> {
    use core::fmt::Write as _;
    let name = INTERFACE.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut text = String::new();
    for peer in Device::get(&name, Backend::Kernel)?.peers {
        let stamp = peer.stats.last_handshake_time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let stamp = stamp.unwrap_or_default();
        let _ = writeln!(text, "public_key={}", Key(peer.config.public_key.0).hex());
        if let Some(endpoint) = peer.config.endpoint {
            let _ = writeln!(text, "endpoint={endpoint}");
        }
        let _ = writeln!(text, "last_handshake_time_sec={}", stamp.as_secs());
        let _ = writeln!(text, "last_handshake_time_nsec={}", stamp.subsec_nanos());
        let _ = writeln!(text, "rx_bytes={}\ntx_bytes={}", peer.stats.rx_bytes, peer.stats.tx_bytes);
        let keepalive = peer.config.persistent_keepalive_interval.unwrap_or(0);
        let _ = writeln!(text, "persistent_keepalive_interval={keepalive}");
        for range in peer.config.allowed_ips {
            let _ = writeln!(text, "allowed_ip={}/{}", range.address, range.cidr);
        }
    }
    Ok(text)
}

/// A peer as far as it has been read.
struct Change {
    flags: u32,
    attributes: Vec<WgPeerAttrs>,
    allowed_ips: Vec<WgAllowedIp>,
}

impl Change {
    fn into_peer(mut self) -> WgPeer {
        self.attributes.push(WgPeerAttrs::Flags(self.flags));
        if !self.allowed_ips.is_empty() {
            self.attributes.push(WgPeerAttrs::AllowedIps(self.allowed_ips));
        }
        WgPeer(self.attributes)
    }
}

fn set(lines: &[String]) -> io::Result<()> {
    let message = message(lines).ok_or(io::ErrorKind::InvalidInput)?;
    netlink_request_genl(GenlMessage::from_payload(message), Some(NLM_F_REQUEST | NLM_F_ACK))?;
    Ok(())
}

/// `None` for what is not understood.
fn message(lines: &[String]) -> Option<Wireguard> {
    let mut nlas = vec![WgDeviceAttrs::IfName(INTERFACE.into())];
    let mut peers: Vec<Change> = Vec::new();
    for line in lines {
        let (key, value) = line.split_once('=')?;
        match key {
            "listen_port" => nlas.push(WgDeviceAttrs::ListenPort(value.parse().ok()?)),
            "public_key" => {
                let attributes = vec![WgPeerAttrs::PublicKey(Key::from_hex(value)?.0)];
                peers.push(Change { flags: 0, attributes, allowed_ips: Vec::new() });
            }
            _ => peer_line(peers.last_mut()?, key, value)?,
        }
    }
    if !peers.is_empty() {
        nlas.push(WgDeviceAttrs::Peers(peers.into_iter().map(Change::into_peer).collect()));
    }
    Some(Wireguard { cmd: WireguardCmd::SetDevice, nlas })
}

fn peer_line(peer: &mut Change, key: &str, value: &str) -> Option<()> {
    match key {
        "remove" => peer.flags |= WGPEER_F_REMOVE_ME,
        "update_only" => peer.flags |= WGPEER_F_UPDATE_ONLY,
        "replace_allowed_ips" => peer.flags |= WGPEER_F_REPLACE_ALLOWEDIPS,
        "preshared_key" => peer.attributes.push(WgPeerAttrs::PresharedKey(Key::from_hex(value)?.0)),
        "endpoint" => peer.attributes.push(WgPeerAttrs::Endpoint(value.parse().ok()?)),
        "persistent_keepalive_interval" => {
            peer.attributes.push(WgPeerAttrs::PersistentKeepalive(value.parse().ok()?));
        }
        "allowed_ip" => {
            let (address, prefix) = value.split_once('/')?;
            let address: core::net::IpAddr = address.parse().ok()?;
            peer.allowed_ips.push(WgAllowedIp(vec![
                WgAllowedIpAttrs::Family(if address.is_ipv4() { AF_INET } else { AF_INET6 }),
                WgAllowedIpAttrs::IpAddr(address),
                WgAllowedIpAttrs::Cidr(prefix.parse().ok()?),
            ]));
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(String::from).collect()
    }

    #[test]
    fn one_request_is_one_message() {
        let key = Key([7; 32]).hex();
        let text = format!(
            "public_key={key}\nremove=true\npublic_key={key}\nupdate_only=true\nendpoint=192.0.2.1:5\nallowed_ip=10.0.0.1/32\n"
        );
        let nlas = message(&lines(&text)).expect("understood").nlas;
        let removed = WgPeer(vec![WgPeerAttrs::PublicKey([7; 32]), WgPeerAttrs::Flags(WGPEER_F_REMOVE_ME)]);
        let allowed = WgAllowedIp(vec![
            WgAllowedIpAttrs::Family(AF_INET),
            WgAllowedIpAttrs::IpAddr([10, 0, 0, 1].into()),
            WgAllowedIpAttrs::Cidr(32),
        ]);
        let added = WgPeer(vec![
            WgPeerAttrs::PublicKey([7; 32]),
            WgPeerAttrs::Endpoint(([192, 0, 2, 1], 5).into()),
            WgPeerAttrs::Flags(WGPEER_F_UPDATE_ONLY),
            WgPeerAttrs::AllowedIps(vec![allowed]),
        ]);
        let expected = [WgDeviceAttrs::IfName("wg0".into()), WgDeviceAttrs::Peers(vec![removed, added])];
        assert_eq!(nlas, expected);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in ["remove=true", "public_key=07", "listen_port=x", "nonsense", "fwmark=1"] {
            assert_eq!(message(&lines(text)), None, "{text}");
        }
    }
}
