//! Capabilities: those of the daemon that runs, else those that it would have if this user started it.

use super::super::{
    facts::{Capabilities, Facts, MeshFacts},
    finding::Findings,
};

const UNIT: &str = "start it as root, or by its systemd unit, or add `AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW` to yours";

pub(super) fn check(facts: &Facts, out: &mut Findings) {
    const ID: &str = "capabilities";
    match facts.mesh.as_ref().and_then(MeshFacts::running) {
        Some(daemon) => match &daemon.capabilities {
            Ok(capabilities) => of_daemon(*capabilities, out),
            Err(unseen) => out.skipped(ID, "the daemon's capabilities", unseen),
        },
        None => match &facts.capabilities {
            Ok(capabilities) => of_user(*capabilities, out),
            Err(unseen) => out.skipped(ID, "the capabilities of this process", unseen),
        },
    }
}

fn of_daemon(capabilities: Capabilities, out: &mut Findings) {
    const ID: &str = "capabilities";
    match (capabilities.net_admin(), capabilities.net_raw()) {
        (false, _) => {
            out.error(ID, "the daemon has no CAP_NET_ADMIN, so it cannot change WireGuard's peers", UNIT);
        }
        (true, false) => {
            let what = "the daemon has no CAP_NET_RAW: connecting through NATs takes longer, or fails";
            out.warning(ID, what, UNIT);
        }
        (true, true) => out.ok(ID, "the daemon has CAP_NET_ADMIN and CAP_NET_RAW"),
    }
}

fn of_user(capabilities: Capabilities, out: &mut Findings) {
    const ID: &str = "capabilities";
    match (capabilities.net_admin(), capabilities.net_raw()) {
        (true, true) => out.ok(ID, "a daemon that is started here has CAP_NET_ADMIN and CAP_NET_RAW"),
        (true, false) => out.note(ID, "a daemon that is started here would have no CAP_NET_RAW", UNIT),
        (false, _) => out.note(ID, "this user cannot run the daemon: it needs CAP_NET_ADMIN", UNIT),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::only;
    use super::*;
    use crate::doctor::{Severity, facts::Unseen, made_up};

    const ADMIN: u64 = 1 << 12;
    const RAW: u64 = 1 << 13;

    /// What is said of a daemon with the one, started by a user with the other.
    fn of(daemon: Option<u64>, user: u64) -> Vec<crate::doctor::Finding> {
        let mut facts = made_up::with(|mesh| match daemon {
            Some(capabilities) => {
                mesh.daemon.as_mut().unwrap().as_mut().unwrap().capabilities = Ok(Capabilities(capabilities));
            }
            None => mesh.daemon = Ok(None),
        });
        facts.capabilities = Ok(Capabilities(user));
        let mut out = Findings::default();
        check(&facts, &mut out);
        out.sorted()
    }

    #[test]
    fn those_of_a_running_daemon_count() {
        only(&of(Some(0), u64::MAX), Severity::Error, "capabilities");
        only(&of(Some(RAW), u64::MAX), Severity::Error, "capabilities");
        only(&of(Some(ADMIN), u64::MAX), Severity::Warning, "capabilities");
        assert_eq!(of(Some(ADMIN | RAW), 0)[0].severity, Severity::Ok);
    }

    #[test]
    fn else_those_of_whoever_asks_are_worth_a_note() {
        only(&of(None, 0), Severity::Note, "capabilities");
        only(&of(None, ADMIN), Severity::Note, "capabilities");
        assert_eq!(of(None, ADMIN | RAW)[0].severity, Severity::Ok);
    }

    #[test]
    fn what_cannot_be_seen_is_said() {
        let mut facts = made_up::with(|mesh| mesh.daemon = Ok(None));
        facts.capabilities = Err(Unseen::new("there is no /proc", "mount it"));
        let mut out = Findings::default();
        check(&facts, &mut out);
        only(&out.sorted(), Severity::Skipped, "capabilities");
    }
}
