//! Files: whose they are, and who else may change them. That others may read a secret is said with the configuration.

use super::super::{
    facts::{Facts, FileFacts, FileState, Kind, MeshFacts, Purpose},
    finding::Findings,
};

const OTHERS_WRITE: u32 = 0o022;
const ALL_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

pub(super) fn check(facts: &Facts, out: &mut Findings) {
    for file in &facts.files {
        match (&file.state, file.purpose) {
            (Err(unseen), _) => out.skipped(id(file), &file.path.display().to_string(), unseen),
            (Ok(state), Purpose::Config | Purpose::Secret) => settings(facts, file, *state, out),
            (Ok(state), Purpose::Persist) => persist(facts, file, *state, out),
            (Ok(state), Purpose::PersistFolder) => persist_folder(file, *state, out),
            (Ok(state), Purpose::ControlFolder) => control_folder(facts, file, *state, out),
        }
    }
}

const fn id(file: &FileFacts) -> &'static str {
    match file.purpose {
        Purpose::Config => "config-file",
        Purpose::Secret => "secret-file",
        Purpose::Persist => "persist-file",
        Purpose::PersistFolder => "persist-directory",
        Purpose::ControlFolder => "control-directory",
    }
}

/// Whether a user may own what the daemon trusts: root, the daemon's own, and whoever asks.
fn is_trusted(facts: &Facts, owner: u32) -> bool {
    let daemon = facts.mesh.as_ref().and_then(MeshFacts::running).map(|daemon| daemon.user);
    owner == 0 || owner == facts.user || Some(owner) == daemon
}

fn settings(facts: &Facts, file: &FileFacts, state: Option<FileState>, out: &mut Findings) {
    let path = file.path.display();
    // That it is missing is said with the configuration.
    let Some(state) = state else { return };
    if state.mode & OTHERS_WRITE != 0 {
        out.warning(
            id(file),
            format!("{path} can be changed by other users (mode {:04o})", state.mode),
            format!("`chmod go-w {path}`"),
        );
    } else if !is_trusted(facts, state.owner) {
        out.warning(
            id(file),
            format!("{path} belongs to the user {}, who can change it", state.owner),
            format!("`chown root {path}`"),
        );
    } else {
        out.ok(id(file), format!("nobody else can change {path}"));
    }
}

fn persist(facts: &Facts, file: &FileFacts, state: Option<FileState>, out: &mut Findings) {
    let path = file.path.display();
    let Some(state) = state else { return };
    let daemon = facts.mesh.as_ref().and_then(MeshFacts::running).map(|daemon| daemon.user);
    match daemon {
        _ if state.kind != Kind::File => out.warning(
            id(file),
            format!("{path} is no plain file, so nothing is kept there"),
            "move it away, or correct persist_file",
        ),
        // The daemon takes root's and its own.
        Some(daemon) if state.owner != daemon && state.owner != 0 => out.warning(
            id(file),
            format!("{path} belongs to the user {}, and the daemon is {daemon}: it is not used", state.owner),
            format!("`chown {daemon} {path}`"),
        ),
        _ if state.mode & OTHERS_WRITE != 0 => out.warning(
            id(file),
            format!("{path} can be changed by other users (mode {:04o})", state.mode),
            format!("`chmod 600 {path}`"),
        ),
        _ => out.ok(id(file), format!("{path} keeps what was learned")),
    }
}

fn persist_folder(file: &FileFacts, state: Option<FileState>, out: &mut Findings) {
    let path = file.path.display();
    match state {
        None => out.warning(
            id(file),
            format!("the directory {path} is not there, so persist_file cannot be written"),
            format!("`mkdir {path}`, for the user that the daemon runs as"),
        ),
        Some(state) if state.kind != Kind::Directory => {
            out.warning(id(file), format!("{path} is no directory"), "correct persist_file");
        }
        Some(state) if state.mode & ALL_WRITE != 0 && state.mode & STICKY == 0 => out.warning(
            id(file),
            format!("every user may replace files in {path} (mode {:04o})", state.mode),
            format!("`chmod o-w {path}`"),
        ),
        Some(_) => {}
    }
}

fn control_folder(facts: &Facts, file: &FileFacts, state: Option<FileState>, out: &mut Findings) {
    let path = file.path.display();
    // The daemon makes it.
    let Some(state) = state else { return };
    if state.kind != Kind::Directory || state.mode & ALL_WRITE != 0 || !is_trusted(facts, state.owner) {
        out.warning(
            id(file),
            format!(
                "{path} belongs to the user {} with mode {:04o}: others could put a false control socket there, so \
                 the daemon makes none",
                state.owner, state.mode
            ),
            format!("`chmod 755 {path}`, and let it belong to root or to the user that the daemon runs as"),
        );
    } else {
        out.ok(id(file), format!("nobody else can put a control socket into {path}"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::only;
    use super::*;
    use crate::doctor::{
        Finding, Severity,
        facts::{Seen, Unseen},
        made_up,
    };

    fn of(purpose: Purpose, state: Seen<Option<FileState>>) -> Vec<Finding> {
        let mut facts = made_up::good();
        facts.files = vec![FileFacts { purpose, path: "/path".into(), state }];
        let mut out = Findings::default();
        check(&facts, &mut out);
        out.sorted()
    }

    fn there(kind: Kind, mode: u32, owner: u32) -> Seen<Option<FileState>> {
        Ok(Some(FileState { kind, mode, owner }))
    }

    #[test]
    fn only_those_who_are_trusted_may_change_what_the_daemon_reads() {
        for (purpose, id) in [(Purpose::Config, "config-file"), (Purpose::Secret, "secret-file")] {
            for (mode, owner, good) in [
                (0o600, 0, true),
                (0o644, 0, true),
                (0o600, made_up::DAEMON, true),
                (0o600, made_up::USER, true),
                (0o600, 4711, false),
                (0o620, 0, false),
                (0o602, 0, false),
            ] {
                let found = of(purpose, there(Kind::File, mode, owner));
                if good {
                    assert_eq!(found[0].severity, Severity::Ok, "{found:?}");
                } else {
                    only(&found, Severity::Warning, id);
                }
            }
            assert_eq!(of(purpose, Ok(None)), []);
        }
    }

    #[test]
    fn the_state_file_must_be_the_daemons() {
        let found = of(Purpose::Persist, there(Kind::File, 0o600, made_up::DAEMON));
        assert_eq!(found[0].severity, Severity::Ok);
        for state in [
            there(Kind::File, 0o600, 4711),
            there(Kind::File, 0o602, made_up::DAEMON),
            there(Kind::Other, 0o600, made_up::DAEMON),
        ] {
            only(&of(Purpose::Persist, state), Severity::Warning, "persist-file");
        }
        assert_eq!(of(Purpose::Persist, Ok(None)), []);
        for state in [Ok(None), there(Kind::File, 0o755, 0), there(Kind::Directory, 0o777, 0)] {
            only(&of(Purpose::PersistFolder, state), Severity::Warning, "persist-directory");
        }
        assert_eq!(of(Purpose::PersistFolder, there(Kind::Directory, 0o1777, 0)), []);
    }

    #[test]
    fn nobody_else_may_put_a_control_socket() {
        let found = of(Purpose::ControlFolder, there(Kind::Directory, 0o755, 0));
        assert_eq!(found[0].severity, Severity::Ok);
        for state in [there(Kind::Directory, 0o1777, 0), there(Kind::Directory, 0o755, 4711)] {
            only(&of(Purpose::ControlFolder, state), Severity::Warning, "control-directory");
        }
        let unseen = Err(Unseen::new("permission denied", "run it as root"));
        only(&of(Purpose::ControlFolder, unseen), Severity::Skipped, "control-directory");
    }
}
