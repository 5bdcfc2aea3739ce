//! The state file: what is written is read again, whatever happens in between costs at most the memory.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::PathBuf,
};

use wgautomesh_core::PublicKey;

use super::{fake::FakeFolder, *};

const NAME: &str = "state";

/// In the original's format: one entry, the key in base64, then whatever belongs to it.
fn original() -> Vec<u8> {
    let mut bytes = 1u64.to_le_bytes().to_vec();
    bytes.extend(44u64.to_le_bytes());
    bytes.extend(key(7).to_string().as_bytes());
    bytes.extend([0, 0, 0, 0, 203, 0, 113, 7, 0xb5, 0x83, 1, 2, 3, 4, 5, 6, 7, 8]);
    bytes
}

fn key(n: u8) -> PublicKey {
    PublicKey::from_bytes([n; 32])
}

fn records(incarnation: u32, peers: u8) -> Vec<StoredRecord> {
    let peer = |n: u8| {
        let v6 = [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(n)];
        let endpoints = [([203, 0, 113, n], 51820).into(), (v6, 7).into()];
        StoredRecord::peer(key(n), endpoints.into_iter().take(1 + usize::from(n) % 2))
    };
    [StoredRecord::Incarnation(incarnation)].into_iter().chain((1..=peers).map(peer)).collect()
}

fn store(files: FakeFolder) -> FileStore<FakeFolder> {
    FileStore { files, name: NAME.into() }
}

fn load(files: FakeFolder) -> Result<Vec<StoredRecord>, LoadError> {
    store(files).load()
}

#[test]
fn a_file_is_in_a_folder() {
    for (path, folder) in [
        ("state", "."),
        ("kept/state", "kept"),
        ("/var/lib/state", "/var/lib"),
        ("/state", "/"),
        ("/", ""),
        ("", ""),
    ] {
        assert_eq!(folder_of(Path::new(path)), Path::new(folder), "{path:?}");
    }
}

#[test]
fn what_is_written_is_read() {
    for written in [records(0, 0), records(u32::MAX, 1), records(7, 200), vec![]] {
        let text = encode(written.clone());
        assert_eq!(parse(text.as_bytes()).expect("whole"), written, "{text}");
    }
    let golden = "wgautomesh state 1\nincarnation 7\npeer AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE= \
                  203.0.113.1:51820 [2001:db8::1]:7\ncheck ";
    assert!(encode(records(7, 1)).starts_with(golden));
}

#[test]
fn no_part_and_no_change_of_it_passes_for_it() {
    let text = encode(records(7, 3)).into_bytes();
    for end in 0..text.len() {
        assert!(matches!(parse(&text[..end]), Err(LoadError::Damaged)), "cut at {end}");
        let longer = [&text[..], &text[..=end]].concat();
        assert!(matches!(parse(&longer), Err(LoadError::Damaged)), "{end} bytes more");
    }
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut changed = text.clone();
            changed[at] ^= 1 << bit;
            assert!(parse(&changed).is_err(), "bit {bit} of byte {at}");
        }
    }
    for zeroed in [0..text.len(), 64..128, 100..text.len()] {
        let mut changed = text.clone();
        changed[zeroed.clone()].fill(0);
        assert!(matches!(parse(&changed), Err(LoadError::Damaged)), "{zeroed:?}");
    }
}

#[test]
fn what_is_not_ours_is_told_apart() {
    let foreign = |bytes: &[u8]| match parse(bytes) {
        Err(LoadError::Foreign(what)) => Some(what),
        _ => None,
    };
    assert_eq!(foreign(b"wgautomesh state 2\nanything\n"), Some(Foreign::Version));
    assert_eq!(foreign(&original()), Some(Foreign::Original));
    assert_eq!(foreign(b"{\"state\": 1}"), Some(Foreign::Unknown));
    assert_eq!(foreign(&[0xff; 1000]), Some(Foreign::Unknown));
    assert_eq!(foreign(b"\n"), Some(Foreign::Unknown));
}

/// The power goes after every single operation of a write, and the disk comes back in every state that it may be in.
#[test]
fn whenever_the_power_goes_there_is_the_old_memory_or_the_new_one() {
    let (old, new) = (records(7, 3), records(8, 4));
    let (old_text, new_text) = (encode(old.clone()), encode(new.clone()));
    let mut left_over = store(FakeFolder::with(NAME, old_text.as_bytes()).stopping_at(Some(4)));
    left_over.save("stopped in the middle").expect_err("no power");
    assert_eq!(left_over.files.names(), [NAME, "state.tmp"]);
    let mut cases = 0;
    for before in [
        FakeFolder::default(),
        FakeFolder::with(NAME, old_text.as_bytes()),
        left_over.files.stopping_at(None),
        // Damaged, the original's, another version's.
        FakeFolder::with(NAME, &old_text.as_bytes()[..50]),
        FakeFolder::with(NAME, &original()),
        FakeFolder::with(NAME, b"wgautomesh state 2\n"),
    ] {
        let had_old = before.content(NAME) == Some(old_text.as_bytes());
        let foreign = load(before.clone()).is_err_and(|e| matches!(e, LoadError::Foreign(_)));
        let was = before.content(NAME).map(<[u8]>::to_vec);
        for stop_at in 0.. {
            let mut writing = store(before.stopping_at(Some(stop_at)));
            let saved = writing.save(&new_text);
            for after in writing.files.after_a_power_cut() {
                cases += 1;
                let found = load(after.clone());
                let is_new = found.as_ref().is_ok_and(|found| *found == new);
                let is_old = found.as_ref().is_ok_and(|found| *found == old);
                let context = format!("stopped at {stop_at}: {after:?}");
                if saved.is_ok() {
                    assert!(is_new, "it was said to be on the disk; {context}");
                } else if had_old {
                    assert!(is_new || is_old, "{context}");
                } else {
                    // There was nothing before, and there may be nothing now.
                    assert!(
                        is_new || found.is_err() || found.is_ok_and(|found| found.is_empty()),
                        "{context}"
                    );
                }
                if foreign {
                    let kept =
                        [NAME, "state.foreign"].iter().any(|name| after.content(name) == was.as_deref());
                    assert!(kept, "what is not ours is lost; {context}");
                }
                // And the next write finds nothing in its way.
                let mut next = store(after);
                next.save(&new_text).unwrap_or_else(|error| panic!("{error}; {context}"));
                assert_eq!(next.load().expect("just written"), new);
                assert!(!next.files.names().contains(&"state.tmp"), "{:?}", next.files.names());
            }
            if saved.is_ok() {
                break;
            }
        }
    }
    println!("{cases} states of the disk");
    assert!(cases > 300, "{cases}");
}

#[test]
fn a_write_that_fails_leaves_what_was_there() {
    let (old, new) = (encode(records(7, 3)), encode(records(8, 4)));
    for fail_at in 0.. {
        let folder = FakeFolder::with(NAME, old.as_bytes());
        let mut failing = store(folder.failing_at(fail_at, io::ErrorKind::StorageFull));
        match failing.save(&new) {
            // Once it has its name it is there; only whether it stays is not known.
            Err(SaveError::System(_)) if failing.files.content(NAME) == Some(new.as_bytes()) => {}
            Err(SaveError::System(_)) => assert_eq!(failing.files.content(NAME), Some(old.as_bytes())),
            Ok(_) => break,
            other => panic!("{other:?}"),
        }
        assert_eq!(failing.files.names(), [NAME], "nothing is left lying about: {fail_at}");
    }
}

#[test]
fn the_same_again_is_not_written() {
    let text = encode(records(7, 3));
    let mut same = store(FakeFolder::with(NAME, text.as_bytes()));
    assert_eq!(same.save(&text).expect("nothing to do"), Saved::Unchanged);
    assert_eq!(same.files.operations(), 1, "it is read");
}

#[test]
fn what_is_not_ours_is_kept_once() {
    let text = encode(records(7, 3));
    let mut taken = store(FakeFolder::with(NAME, &original()));
    assert!(matches!(taken.load(), Err(LoadError::Foreign(Foreign::Original))));
    assert_eq!(taken.save(&text).expect("there is room"), Saved::SetAside("state.foreign".into()));
    assert_eq!(taken.files.content("state.foreign"), Some(&original()[..]));
    assert_eq!(taken.load().expect("ours"), records(7, 3));
    // Somebody went back to the original for a while.
    taken.files = FakeFolder::with(NAME, &original());
    let other = taken.files.create("state.foreign".as_ref()).expect("a new file");
    taken.files.sync(&other).expect("power");
    assert!(matches!(taken.save(&text), Err(SaveError::InTheWay)));
    assert_eq!(taken.files.content(NAME), Some(&original()[..]));
}

/// A real folder, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wgautomesh-store-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn store(&self) -> FileStore<Folder> {
        FileStore::new(&self.0.join(NAME))
    }

    fn path(&self) -> PathBuf {
        self.0.join(NAME)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_real_file_is_for_its_owner_only() {
    let scratch = Scratch::new("real");
    let mut store = scratch.store();
    assert_eq!(store.load().expect("nothing yet"), []);
    assert_eq!(store.save(&encode(records(7, 3))).expect("written"), Saved::Written);
    assert_eq!(store.load().expect("whole"), records(7, 3));
    let mode = |path: PathBuf| fs::metadata(path).expect("there").mode() & 0o7777;
    assert_eq!(mode(scratch.path()), 0o600);
    // One that is open to all is replaced, not written into; and a left-over is removed.
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o666)).expect("ours");
    fs::write(scratch.0.join("state.tmp"), "left over").expect("ours");
    let before = fs::metadata(scratch.path()).expect("there").ino();
    assert_eq!(store.save(&encode(records(8, 3))).expect("written"), Saved::Written);
    assert_eq!(mode(scratch.path()), 0o600);
    assert_ne!(fs::metadata(scratch.path()).expect("there").ino(), before);
    let names: Vec<_> =
        fs::read_dir(&scratch.0).expect("a folder").map(|e| e.expect("a name").file_name()).collect();
    assert_eq!(names, [NAME]);
    fs::write(scratch.path(), original()).expect("ours");
    assert_eq!(store.save(&encode(records(8, 3))).expect("written"), Saved::SetAside("state.foreign".into()));
    assert_eq!(fs::read(scratch.0.join("state.foreign")).expect("kept"), original());
}

#[test]
fn nothing_but_a_plain_file_is_touched() {
    let scratch = Scratch::new("plain");
    let mut store = scratch.store();
    let elsewhere = scratch.0.join("elsewhere");
    fs::write(&elsewhere, "precious").expect("ours");
    let pipe = |path: &Path| {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("a pipe");
    };
    let made: [&dyn Fn(&Path); 4] = [
        &|path| symlink(&elsewhere, path).expect("a link"),
        &|path| symlink("/dev/full", path).expect("a link"),
        &|path| fs::create_dir(path).expect("a folder"),
        &pipe,
    ];
    for make in made {
        make(&scratch.path());
        assert!(matches!(store.load(), Err(LoadError::Unreadable(SaveError::NotAFile))));
        assert!(matches!(store.save(&encode(records(7, 3))), Err(SaveError::NotAFile)));
        fs::remove_file(scratch.path()).or_else(|_| fs::remove_dir(scratch.path())).expect("ours");
    }
    // Neither is the temporary file written through a link.
    symlink(&elsewhere, scratch.0.join("state.tmp")).expect("a link");
    assert_eq!(store.save(&encode(records(7, 3))).expect("written"), Saved::Written);
    assert_eq!(fs::read(&elsewhere).expect("there"), b"precious");
}

/// Folders that not even root can write to, one that is not there, and paths of no file.
#[test]
fn where_nothing_can_be_written_the_remedy_is_told() {
    for (path, expected) in [
        ("/proc/wgautomesh-state", "name another"),
        ("/sys/wgautomesh-state", "let this program write to its folder"),
        ("/nonexistent/wgautomesh/state", "make its folder"),
        ("/dev/null/state", "make its folder"),
        ("/", "no path of a file"),
        ("..", "no path of a file"),
    ] {
        let mut store = FileStore::new(path.as_ref());
        let error = store.save(&encode(records(7, 3))).expect_err(path);
        let line = error.to_string();
        assert!(line.contains(expected) && !line.contains('\n'), "{path}: {line}");
    }
}
