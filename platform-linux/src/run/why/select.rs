//! Which peer is meant.

use core::net::IpAddr;

use wgautomesh_core::{PeerStatus, PublicKey};

use crate::{config::nearest, run::names::Names};

/// So many are listed where it is not clear.
const LISTED: usize = 10;

/// Why it is not one peer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotOne {
    /// `unknown-peer` or `ambiguous-peer`
    pub(super) id: &'static str,
    /// With those that it may have been.
    pub(super) message: String,
}

/// The peer with this name, mesh address or key, or with a key that begins so. What is one of the first three is not taken for the
/// last.
pub(super) fn peer(wanted: &str, names: &Names, peers: &[PeerStatus]) -> Result<PublicKey, NotOne> {
    let address: Option<IpAddr> = wanted.parse().ok();
    let exact = |peer: &&PeerStatus| {
        names.name(&peer.key) == Some(wanted)
            || Some(peer.address) == address
            || peer.key.to_string() == wanted
    };
    let mut found: Vec<&PeerStatus> = peers.iter().filter(exact).collect();
    if found.is_empty() {
        let begins = |peer: &&PeerStatus| !wanted.is_empty() && peer.key.to_string().starts_with(wanted);
        found = peers.iter().filter(begins).collect();
    }
    match found[..] {
        [one] => Ok(one.key),
        [] => Err(unknown(wanted, names, peers)),
        _ => {
            let message = format!("{wanted:?} may be any of these: {}", list(&found, names));
            Err(NotOne { id: "ambiguous-peer", message })
        }
    }
}

fn unknown(wanted: &str, names: &Names, peers: &[PeerStatus]) -> NotOne {
    let known = peers.iter().filter_map(|peer| names.name(&peer.key));
    let message = match nearest(wanted, known) {
        Some(near) => {
            format!("no peer has the name, the address or the key {wanted:?}; did you mean {near:?}?")
        }
        None if peers.is_empty() => {
            format!("no peer has the name, the address or the key {wanted:?}: there is none")
        }
        None => {
            let all: Vec<&PeerStatus> = peers.iter().collect();
            format!(
                "no peer has the name, the address or the key {wanted:?}; there are: {}",
                list(&all, names)
            )
        }
    };
    NotOne { id: "unknown-peer", message }
}

fn list(peers: &[&PeerStatus], names: &Names) -> String {
    let mut shown: Vec<String> =
        peers.iter().map(|peer| format!("{} {}", names.of(peer.key), peer.address)).collect();
    shown.sort_unstable();
    let more = shown.len().saturating_sub(LISTED);
    shown.truncate(LISTED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    shown.join(", ") + &more
}
