//! What has happened between two statuses.

use crate::control::render::{label, nats, printable};
use crate::control::status::{Peer, Status};
use std::collections::HashMap;

/// One line for each thing that has changed. What came and went in between is not seen.
pub(in crate::cli) fn changes(before: &Status, now: &Status) -> Vec<String> {
    if now.node.uptime_s < before.node.uptime_s {
        // Whatever else is different is because of that.
        return vec!["the daemon was started again".into()];
    }
    let mut lines = Vec::new();
    match (before.node.interface_up, now.node.interface_up) {
        (true, false) => lines.push("the interface is gone".into()),
        (false, true) => lines.push("the interface is there".into()),
        _ => {}
    }
    let seen = |status: &Status| status.node.seen_at.first().map(|seen| seen.endpoint);
    if let Some(endpoint) = seen(now).filter(|endpoint| seen(before) != Some(*endpoint)) {
        lines.push(format!("this node is seen at {endpoint}"));
    }
    if now.node.nat != before.node.nat {
        lines.push(format!("this node: {}", nats(&now.node.nat)));
    }
    let earlier: HashMap<&str, &Peer> = before.peers.iter().map(|peer| (&*peer.key, peer)).collect();
    for peer in &now.peers {
        match earlier.get(&*peer.key) {
            Some(before) => lines.extend(change(before, peer)),
            None => lines.push(format!("{}: configured", label(peer))),
        }
    }
    let left = |gone: &&Peer| now.peers.iter().all(|peer| peer.key != gone.key);
    lines.extend(
        before.peers.iter().filter(left).map(|peer| format!("{}: no longer configured", label(peer))),
    );
    lines
}

fn change(before: &Peer, now: &Peer) -> Option<String> {
    let name = label(now);
    let at = now.endpoint.map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
    let reason = |peer: &Peer| peer.reason.as_ref().map(|reason| printable(&reason.message));
    match (before.state.is_connected(), now.state.is_connected()) {
        (false, true) => {
            let via = now.via.as_deref().map(|via| format!(", introduced by {}", printable(via)));
            Some(format!("{name}: connected{at}{}", via.unwrap_or_default()))
        }
        (true, false) => {
            let why = reason(now).map(|reason| format!(": {reason}")).unwrap_or_default();
            Some(format!("{name}: no longer connected{why}"))
        }
        (true, true) if now.endpoint != before.endpoint && now.endpoint.is_some() => {
            Some(format!("{name}: moved{}", at.replacen(" at ", " to ", 1)))
        }
        (false, false) if reason(now) != reason(before) => {
            // That it is tried once more is no news.
            let news = reason(now)
                .filter(|_| now.reason.as_ref().is_some_and(|reason| reason.id != "connecting"))?;
            Some(format!("{name}: {news}"))
        }
        _ => None,
    }
}
