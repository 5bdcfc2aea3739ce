//! `init`: a configuration to begin with.

use crate::cli::genkey::new_secret;
use crate::cli::{complain, show};
use crate::config::{Endpoint, InterfaceName, filled};
use crate::import::write_peer;
use crate::wireguard::{Snapshot, System, WireGuard as _, own_address};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

/// Writes the sample with a new secret to `file`, where nothing is yet; with `interface`, for that one and with its peers.
pub(super) fn init(file: &Path, interface: Option<&InterfaceName>) -> ExitCode {
    show(write(file, interface))
}

/// What to print, or what to complain of.
fn write(file: &Path, interface: Option<&InterfaceName>) -> Result<String, String> {
    let name = file.display();
    // Nothing is asked of the interface for nothing. That nothing is overwritten is seen to below.
    if fs::symlink_metadata(file).is_ok() {
        return Err(there(file));
    }
    let mut peers = Peers::default();
    if let Some(interface) = interface {
        let cannot = |error: &dyn core::fmt::Display| format!("wgautomesh: {interface}: {error}\n");
        let mut system = System::new(interface.as_str()).map_err(|error| cannot(&error))?;
        peers = Peers::of(system.read().map_err(|error| cannot(&error))?);
    }
    let secret = new_secret()?;
    let text = match interface {
        Some(interface) => filled(interface, &secret, &peers.text),
        None => filled(&InterfaceName::parse("wg0").expect("it is one"), &secret, ""),
    };
    // Not through a link either, and never readable for others, not even for a moment.
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(file);
    let mut opened = opened.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => there(file),
        _ => format!("wgautomesh: {name}: cannot be written: {error}\n"),
    })?;
    if let Err(error) = opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all()) {
        // Half a configuration is of no use, and would be in the way of the next try.
        let _ = fs::remove_file(file);
        return Err(format!("wgautomesh: {name}: cannot be written: {error}\n"));
    }
    complain(&peers.left_out);
    let listed = match (interface, peers.count) {
        (None, _) => "no peers yet".into(),
        (Some(interface), 1) => format!("the one peer of {interface}"),
        (Some(interface), count) => format!("the {count} peers of {interface}"),
    };
    Ok(format!(
        "{name}: written, with a new secret and {listed}.\n\
         Every node of a mesh needs the same secret: where there is one already, put that into gossip_secret.\n\
         When all is filled in, `wgautomesh check {name}` says what is still wrong.\n"
    ))
}

fn there(file: &Path) -> String {
    let name = file.display();
    format!("wgautomesh: {name} is there already, and stays as it is; move it away, or name another file\n")
}

/// The peers of an interface, as sections of a configuration.
#[derive(Default)]
struct Peers {
    text: String,
    count: usize,
    left_out: String,
}

impl Peers {
    fn of(snapshot: &Snapshot) -> Self {
        let own = snapshot.interface().public_key;
        let text = format!("\n# This node, for the files of the others: pubkey = \"{own}\"\n");
        let mut peers = Self { text, ..Self::default() };
        for (reading, allowed_ips) in snapshot.peers() {
            let key = reading.key;
            let Some(address) = own_address(allowed_ips) else {
                peers.left_out.push_str(&format!(
                    "wgautomesh: {key:.8} is left out: none of its allowed IPs is a /32 or /128, an address of its own\n"
                ));
                continue;
            };
            let endpoint = reading.endpoint.map(Endpoint::Address);
            write_peer(&mut peers.text, &key, address, endpoint.as_ref(), None);
            peers.count += 1;
        }
        peers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgautomesh_core::{Interface, PublicKey};
    use wireguard_control::{AllowedIp, Key, PeerInfo};

    fn peer(key: u8, endpoint: Option<&str>, allowed_ips: &[(&str, u8)]) -> PeerInfo {
        let mut peer = PeerInfo::from_public_key(Key([key; 32]));
        peer.config.endpoint = endpoint.map(|endpoint| endpoint.parse().unwrap());
        let allowed = |&(ip, cidr): &(&str, u8)| AllowedIp { address: ip.parse().unwrap(), cidr };
        peer.config.allowed_ips = allowed_ips.iter().map(allowed).collect();
        peer
    }

    #[test]
    fn the_peers_of_the_interface_are_listed() {
        let interface =
            Interface { index: 1, public_key: PublicKey::from_bytes([9; 32]), listen_port: 33723 };
        let peers = [
            peer(1, Some("203.0.113.1:33723"), &[("192.168.7.0", 24), ("10.14.0.1", 32)]),
            peer(2, None, &[("0.0.0.0", 0)]),
            peer(3, Some("[2001:db8::1]:33723"), &[("fd14::3", 128)]),
        ];
        let peers = Peers::of(&Snapshot::new(interface, 0, peers));
        assert_eq!(
            peers.text,
            "\n# This node, for the files of the others: pubkey = \"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\"\n\
             \n[[peers]]\npubkey = \"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\"\naddress = \"10.14.0.1\"\n\
             endpoint = \"203.0.113.1:33723\"\n\
             \n[[peers]]\npubkey = \"AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=\"\naddress = \"fd14::3\"\n\
             endpoint = \"[2001:db8::1]:33723\"\n"
        );
        assert_eq!(peers.count, 2);
        assert_eq!(
            peers.left_out,
            "wgautomesh: AgICAgIC is left out: none of its allowed IPs is a /32 or /128, an address of its own\n"
        );
    }
}
