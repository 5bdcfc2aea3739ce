//! Reading a configuration for who only looks at it: perhaps without the right to read its secret, and also where it is wrong.

use super::draft::{Draft, Field};
use super::report::{Located, Report};
use super::secret::Secret;
use super::source::{Files, read_wiped};
use super::{Config, InterfaceName, toml};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What there is to see.
pub struct Inspected {
    /// The configuration, if there is no error in it. Its secret is made up where [`Self::unseen`] is true.
    pub config: Option<Config>,
    /// What is to be said of it; nothing of what this user may not read.
    pub report: Report,
    /// Whether this user may not read the file, or the one with its secret.
    pub unseen: bool,
    /// The interface it names, whatever else is wrong with it.
    pub interface: Option<InterfaceName>,
    /// The file with the secret, likewise.
    pub secret_file: Option<PathBuf>,
    /// The file for what is to be kept, likewise.
    pub persist_file: Option<PathBuf>,
}

/// Reads a configuration as [`load`](super::load) does. `capacity` is the largest number of peers this binary can hold.
pub fn inspect(path: &Path, capacity: usize) -> Inspected {
    let mut seen = Inspected {
        config: None,
        report: Report::new(path.to_string_lossy()),
        unseen: may_not_read(path),
        interface: None,
        secret_file: None,
        persist_file: None,
    };
    if seen.unseen {
        return seen;
    }
    let Inspected { report, unseen, interface, secret_file, persist_file, .. } = &mut seen;
    let config = toml::read(path, capacity, Files::Prepared, report, |draft, _| {
        let given = |field: &Field<PathBuf>| field.given().map(|path| path.value.clone());
        *interface = draft.interface.given().map(|name| name.value.clone());
        *secret_file = given(&draft.secret_file);
        *persist_file = given(&draft.persist_file);
        *unseen = secret_file.as_deref().is_some_and(may_not_read) && draft.secret.is_absent();
        if *unseen {
            make_up_the_secret(draft);
        }
        for other in [&mut draft.secret_next_file, &mut draft.secret_previous_file] {
            // Beside a secret that is made up nothing can be said of it either.
            *unseen |= other.given().is_some_and(|path| may_not_read(&path.value));
            if *unseen {
                *other = Field::Absent;
            }
        }
    });
    seen.config = config;
    seen
}

fn may_not_read(path: &Path) -> bool {
    read_wiped(path, 0).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// Nobody seals anything with it: it stands in for the one that is not to be judged.
fn make_up_the_secret(draft: &mut Draft) {
    let Field::Given(Located { at, .. }) = core::mem::take(&mut draft.secret_file) else { return };
    let value = Secret::new(Zeroizing::new("-".repeat(Secret::SHORT))).ok();
    draft.secret = value.map_or(Field::Absent, |value| Field::Given(Located { value, at }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_seen_whatever_is_wrong() {
        let folder = std::env::temp_dir().join(format!("wgautomesh-inspect-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("mesh.toml");
        let text = "interface = \"wg7\"\ngossip_port = 0\ngossip_secret_file = \"/nowhere/secret\"\npersist_file = \"state\"\n";
        std::fs::write(&file, text).unwrap();
        let seen = inspect(&file, 4);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(seen.config.is_none());
        assert_eq!(seen.report.errors().count(), 2, "{:?}", seen.report);
        assert_eq!(seen.interface.as_ref().map(InterfaceName::as_str), Some("wg7"));
        assert_eq!(seen.secret_file.as_deref(), Some(Path::new("/nowhere/secret")));
        assert_eq!(seen.persist_file.as_deref(), Some(Path::new("state")));
        assert!(!seen.unseen, "what is not there is not hidden");
    }
}
