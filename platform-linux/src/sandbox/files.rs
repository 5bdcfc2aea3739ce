//! Landlock: what can be done to files.

use std::path::PathBuf;

use landlock::{
    ABI, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetError, RulesetStatus, Scope,
};

/// What this knows of: a newer kernel has more to forbid, an older one less, and then does without.
const KNOWN: ABI = ABI::V6;

/// Restricts writing to what is below these folders, and starting programs altogether. Says why where it does not.
pub(super) fn restrict(folders: &[PathBuf]) -> Result<(), String> {
    let mut open = Vec::new();
    for folder in folders {
        // It may be made later, by whoever mounts a disk there: without it nothing could be kept then.
        open.push(PathFd::new(folder).map_err(|_| format!("{} is not there yet", folder.display()))?);
    }
    match enforce(open) {
        Ok(RulesetStatus::NotEnforced) => Err("the kernel has none".into()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn enforce(folders: Vec<PathFd>) -> Result<RulesetStatus, RulesetError> {
    let writing = AccessFs::from_write(KNOWN);
    // No devices, and nothing to another folder.
    let kept: BitFlags<AccessFs> = AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeSock
        | AccessFs::RemoveFile;
    let ruleset =
        Ruleset::default().handle_access(writing | AccessFs::Execute)?.scope(Scope::Signal)?.create()?;
    let ruleset = ruleset
        .add_rules(folders.into_iter().map(|folder| Ok::<_, RulesetError>(PathBeneath::new(folder, kept))))?;
    Ok(ruleset.restrict_self()?.ruleset)
}
