//! The WireGuard interface, and the file that it may have been made from.

use std::path::{Path, PathBuf};

use super::super::facts::{Device, Tunnel, TunnelPeer, Unseen};
use crate::{
    config::read_wiped,
    wireguard::{ReadError, Snapshot, System, WireGuard as _},
};

/// A file of wg-quick is rarely longer than this.
const LARGEST_FILE: u64 = 1024 * 1024;

pub(super) fn look(interface: &str) -> Device {
    let mut system = match System::new(interface) {
        Ok(system) => system,
        Err(error) => return Device::Unseen(super::unseen(&error)),
    };
    match system.read() {
        Ok(snapshot) => Device::There(tunnel(snapshot)),
        Err(ReadError::Absent) => Device::Absent,
        Err(ReadError::NotWireGuard) => Device::NotWireGuard,
        Err(ReadError::Permission) => Device::Unseen(Unseen::new(
            "CAP_NET_ADMIN is needed, and for a userspace WireGuard the right to use its socket",
            super::AS_ROOT,
        )),
        Err(ReadError::Failed(error)) => Device::Unseen(super::unseen(&error)),
    }
}

fn tunnel(snapshot: &Snapshot) -> Tunnel {
    let interface = snapshot.interface();
    let peers = snapshot.peers().map(|(reading, allowed_ips)| TunnelPeer {
        key: reading.key,
        endpoint: reading.endpoint,
        allowed_ips: allowed_ips.collect(),
    });
    Tunnel {
        // An interface without a private key has the public key 0.
        key: Some(interface.public_key).filter(|key| key.as_bytes() != &[0; 32]),
        listen_port: interface.listen_port,
        fwmark: snapshot.fwmark(),
        peers: peers.collect(),
    }
}

/// Whether wg-quick's file gives the interface a port. A port that the kernel chose looks like any other.
pub(super) fn port_is_fixed(interface: &str) -> Option<bool> {
    let path: PathBuf = Path::new("/etc/wireguard").join(format!("{interface}.conf"));
    // It has the private key in it.
    let file = read_wiped(&path, LARGEST_FILE).ok()?;
    Some(gives_a_port(core::str::from_utf8(&file.bytes).ok()?))
}

fn gives_a_port(text: &str) -> bool {
    text.lines().any(|line| {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let value = value.split('#').next().unwrap_or_default();
        key.trim().eq_ignore_ascii_case("listenport")
            && value.trim().parse::<u16>().is_ok_and(|port| port != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_one_that_is_given() {
        for (text, expected) in [
            ("[Interface]\nListenPort = 51820\n", true),
            ("[Interface]\nlistenport=51820 # the usual\n", true),
            ("[Interface]\nListenPort = 0\n", false),
            ("[Interface]\n# ListenPort = 51820\n", false),
            ("[Interface]\nPrivateKey = x\n", false),
            ("", false),
        ] {
            assert_eq!(gives_a_port(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_not() {
        assert!(matches!(look("wg-not-there"), Device::Absent));
        assert!(matches!(look("lo"), Device::NotWireGuard | Device::Unseen(_)));
        assert_eq!(port_is_fixed("wg-not-there"), None);
    }
}
