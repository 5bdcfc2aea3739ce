//! The configuration protocol: `get=1` and `set=1` over a unix socket, as wireguard-go and `wg` speak it.
//!
//! Parsing here is pure; what a request does to the device is in [`super::Device`].

use core::net::SocketAddr;

use super::allowed_ips::Prefix;
use crate::mesh_box::key::Key;

/// `errno` values of an answer.
pub(crate) const INVALID: i32 = 22;
pub(crate) const ADDRESS_IN_USE: i32 = 98;

/// One request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Get,
    Set(DeviceUpdate),
}

/// What a `set` changes; `None` leaves as it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct DeviceUpdate {
    pub(crate) private_key: Option<Key>,
    pub(crate) listen_port: Option<u16>,
    pub(crate) fwmark: Option<u32>,
    pub(crate) replace_peers: bool,
    pub(crate) peers: Vec<PeerUpdate>,
}

/// What a `set` changes in one peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PeerUpdate {
    pub(crate) key: Key,
    pub(crate) remove: bool,
    pub(crate) update_only: bool,
    pub(crate) preshared_key: Option<Key>,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) keepalive: Option<u16>,
    pub(crate) replace_allowed_ips: bool,
    pub(crate) allowed_ips: Vec<Prefix>,
}

impl PeerUpdate {
    /// Names a peer and changes nothing (it is added if it is not there).
    pub(crate) const fn new(key: Key) -> Self {
        Self {
            key,
            remove: false,
            update_only: false,
            preshared_key: None,
            endpoint: None,
            keepalive: None,
            replace_allowed_ips: false,
            allowed_ips: Vec::new(),
        }
    }
}

/// Reads one request without its closing empty line.
///
/// # Errors
/// [`INVALID`] for an unknown key, a bad value, or a peer's setting before any peer.
pub(crate) fn parse(text: &str) -> Result<Request, i32> {
    let mut lines = text.lines();
    match lines.next() {
        Some("get=1") => return Ok(Request::Get),
        Some("set=1") => {}
        _ => return Err(INVALID),
    }
    let mut update = DeviceUpdate::default();
    for line in lines {
        let (key, value) = line.split_once('=').ok_or(INVALID)?;
        if key == "public_key" {
            update.peers.push(PeerUpdate::new(Key::from_hex(value).ok_or(INVALID)?));
        } else if let Some(peer) = update.peers.last_mut() {
            set_in_peer(peer, key, value).ok_or(INVALID)?;
        } else {
            set_in_device(&mut update, key, value).ok_or(INVALID)?;
        }
    }
    Ok(Request::Set(update))
}

fn set_in_device(update: &mut DeviceUpdate, key: &str, value: &str) -> Option<()> {
    match key {
        "private_key" => update.private_key = Some(Key::from_hex(value)?),
        "listen_port" => update.listen_port = Some(value.parse().ok()?),
        "fwmark" => update.fwmark = Some(if value.is_empty() { 0 } else { value.parse().ok()? }),
        "replace_peers" => update.replace_peers = is_true(value)?,
        _ => return None,
    }
    Some(())
}

fn set_in_peer(peer: &mut PeerUpdate, key: &str, value: &str) -> Option<()> {
    match key {
        "remove" => peer.remove = is_true(value)?,
        "update_only" => peer.update_only = is_true(value)?,
        "preshared_key" => peer.preshared_key = Some(Key::from_hex(value)?),
        "endpoint" => peer.endpoint = Some(value.parse().ok()?),
        "persistent_keepalive_interval" => peer.keepalive = Some(value.parse().ok()?),
        "replace_allowed_ips" => {
            peer.replace_allowed_ips = is_true(value)?;
            // In order: ranges before this line of the same section are replaced too.
            peer.allowed_ips.clear();
        }
        "allowed_ip" => peer.allowed_ips.push(Prefix::parse(value)?),
        "protocol_version" => {
            if value != "1" {
                return None;
            }
        }
        _ => return None,
    }
    Some(())
}

/// The protocol knows no "false".
fn is_true(value: &str) -> Option<bool> {
    (value == "true").then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_set() {
        let key = Key([0xab; 32]);
        let text = format!(
            "set=1\nprivate_key={0}\nlisten_port=33723\nfwmark=7\nreplace_peers=true\npublic_key={0}\nupdate_only=true\n\
             preshared_key={0}\nendpoint=[2001:db8::1]:9\npersistent_keepalive_interval=25\n\
             replace_allowed_ips=true\nallowed_ip=10.14.0.2/32\nallowed_ip=fd00::/8\npublic_key={0}\nremove=true\n",
            key.hex()
        );
        let Ok(Request::Set(update)) = parse(&text) else { panic!("refused") };
        assert_eq!(
            (update.private_key, update.listen_port, update.fwmark),
            (Some(key), Some(33723), Some(7))
        );
        assert!(update.replace_peers);
        let [first, second] = &update.peers[..] else { panic!("{:?}", update.peers) };
        assert_eq!(first.endpoint, Some("[2001:db8::1]:9".parse().unwrap()));
        assert_eq!((first.keepalive, first.update_only, first.remove), (Some(25), true, false));
        assert_eq!(
            first.allowed_ips,
            ["10.14.0.2/32", "fd00::/8"].map(|range| Prefix::parse(range).unwrap())
        );
        assert!(second.remove);
        assert_eq!(parse("get=1\n"), Ok(Request::Get));
    }

    #[test]
    fn bad_requests_are_refused_whole() {
        let key = Key([1; 32]).hex();
        for bad in [
            "",
            "get=2",
            "set=1\nlisten_port=65536",
            "set=1\nprivate_key=00",
            "set=1\nendpoint=192.0.2.1:1",
            "set=1\nnonsense",
            &format!("set=1\npublic_key={key}\nendpoint=192.0.2.1"),
            &format!("set=1\npublic_key={key}\nallowed_ip=10.0.0.0/40"),
            &format!("set=1\npublic_key={key}\nremove=false"),
            &format!("set=1\npublic_key={key}\nlisten_port=1"),
            &format!("set=1\npublic_key={}", &key[1..]),
        ] {
            assert_eq!(parse(bad), Err(INVALID), "{bad}");
        }
    }
}
