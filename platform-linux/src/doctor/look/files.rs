//! Files: whose they are and who may do what with them. No symbolic link is followed where the daemon follows none.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::PathBuf};

use super::super::facts::{FileFacts, FileState, Kind, Purpose};

pub(super) fn look(purpose: Purpose, path: PathBuf) -> FileFacts {
    let metadata = match purpose {
        Purpose::Config | Purpose::Secret | Purpose::PersistFolder => fs::metadata(&path),
        Purpose::Persist | Purpose::ControlFolder => fs::symlink_metadata(&path),
    };
    let state = match metadata {
        Ok(metadata) => Ok(Some(FileState {
            kind: match () {
                () if metadata.is_file() => Kind::File,
                () if metadata.is_dir() => Kind::Directory,
                () => Kind::Other,
            },
            mode: metadata.mode() & 0o7777,
            owner: metadata.uid(),
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(super::unseen(&error)),
    };
    FileFacts { purpose, path, state }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_nothing_are_told_apart() {
        let root = look(Purpose::PersistFolder, "/".into()).state.expect("seen").expect("there");
        assert_eq!((root.kind, root.owner), (Kind::Directory, 0));
        assert_eq!(look(Purpose::Persist, "/nowhere/state".into()).state, Ok(None));
        assert_eq!(look(Purpose::Persist, "/dev/null".into()).state.unwrap().unwrap().kind, Kind::Other);
    }
}
