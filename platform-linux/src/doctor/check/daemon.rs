//! The running daemon: whether there is one, of this version, and whether others reach it.

use super::{
    super::{
        facts::{Facts, MeshFacts},
        finding::Findings,
    },
    some_of,
};
use crate::control::status::{Peer, Status};

pub(super) fn check(_: &Facts, mesh: &MeshFacts, out: &mut Findings) {
    const ID: &str = "daemon";
    let daemon = match &mesh.daemon {
        Ok(Some(daemon)) => daemon,
        Ok(None) => {
            return out.note(
                ID,
                format!(
                    "no wgautomesh runs for {}: whether peers can be reached shows only when one does",
                    mesh.interface
                ),
                "`wgautomesh run FILE`, or `systemctl start wgautomesh`",
            );
        }
        Err(unseen) => return out.skipped(ID, "the running daemon", unseen),
    };
    let Status { node, peers, .. } = &daemon.status;
    let own = env!("CARGO_PKG_VERSION");
    if node.version == own {
        out.ok(ID, format!("wgautomesh {own} runs for {}", mesh.interface));
    } else {
        out.warning(
            ID,
            format!("the daemon that runs is version {}, and this command is {own}", node.version),
            "restart the daemon, which costs no session: `systemctl restart wgautomesh`",
        );
    }
    reach(mesh, peers, out);
    if node.seen_at.is_empty() {
        return;
    }
    let seen: Vec<String> = node.seen_at.iter().map(|seen| seen.endpoint.to_string()).collect();
    out.ok("seen-at", format!("other nodes see this one at {}", some_of(&seen)));
}

fn reach(mesh: &MeshFacts, peers: &[Peer], out: &mut Findings) {
    const ID: &str = "peers-connected";
    let away: Vec<String> = peers
        .iter()
        .filter(|peer| !peer.state.is_connected())
        .map(|peer| peer.name.clone().unwrap_or_else(|| peer.key.chars().take(8).collect()))
        .collect();
    if peers.is_empty() {
        out.note(ID, "the daemon has no peers", "list them as [[peers]], or set peers_from_interface = true");
    } else if away.len() == peers.len() {
        out.warning(
            ID,
            format!("no peer is connected, of {}", peers.len()),
            format!("`wgautomesh status --interface {}` tells why", mesh.interface),
        );
    } else if !away.is_empty() {
        out.note(
            ID,
            format!(
                "{} of {} peers connected; not {}",
                peers.len() - away.len(),
                peers.len(),
                some_of(&away)
            ),
            format!("`wgautomesh status --interface {}` tells why", mesh.interface),
        );
    } else {
        out.ok(ID, format!("every peer is connected, which is {}", peers.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ids, of_mesh, only};
    use super::*;
    use crate::control::status::PeerState;
    use crate::doctor::{Severity, facts::Unseen, made_up};

    fn of(change: impl FnOnce(&mut Status)) -> Vec<crate::doctor::Finding> {
        of_mesh(
            check,
            &made_up::with(|mesh| change(&mut mesh.daemon.as_mut().unwrap().as_mut().unwrap().status)),
        )
    }

    #[test]
    fn one_that_does_not_run_is_no_fault() {
        let facts = made_up::with(|mesh| mesh.daemon = Ok(None));
        only(&of_mesh(check, &facts), Severity::Note, "daemon");
        let unseen = || Unseen::new("for root only", "run it as root");
        let facts = made_up::with(|mesh| mesh.daemon = Err(unseen()));
        only(&of_mesh(check, &facts), Severity::Skipped, "daemon");
    }

    #[test]
    fn another_version_is_to_be_restarted() {
        let found = of(|status| status.node.version = "0.0.9".into());
        assert!(only(&found, Severity::Warning, "daemon").what.contains("version 0.0.9"));
    }

    #[test]
    fn peers_that_are_away_are_named() {
        let found = of(|status| status.peers[0].state = PeerState::Waiting);
        let found = only(&found, Severity::Note, "peers-connected");
        assert_eq!(found.what, "1 of 2 peers connected; not alice");
        let found = of(|status| status.peers.iter_mut().for_each(|peer| peer.state = PeerState::Mute));
        only(&found, Severity::Warning, "peers-connected");
        only(&of(|status| status.peers.clear()), Severity::Note, "peers-connected");
    }

    #[test]
    fn where_nobody_sees_it_nothing_is_claimed() {
        let found = of(|status| status.node.seen_at.clear());
        assert_eq!(ids(&found), [(Severity::Ok, "daemon"), (Severity::Ok, "peers-connected")]);
    }
}
