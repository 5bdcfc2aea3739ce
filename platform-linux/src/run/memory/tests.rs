//! When it is written, and that nothing waits for the disk.

use std::sync::mpsc;

use wgautomesh_core::PublicKey;

use super::*;

/// What the store was given, and what it is to do.
#[derive(Default)]
struct Disk {
    content: Vec<StoredRecord>,
    saved: Vec<String>,
    error: Option<fn() -> SaveError>,
    held: Option<mpsc::Receiver<()>>,
}

struct FakeStore(Arc<Mutex<Disk>>);

impl Store for FakeStore {
    fn load(&mut self) -> Result<Vec<StoredRecord>, LoadError> {
        let disk = self.0.lock().expect("no panic before");
        match disk.error {
            Some(error) => Err(LoadError::Unreadable(error())),
            None => Ok(disk.content.clone()),
        }
    }

    fn save(&mut self, content: &str) -> Result<Saved, SaveError> {
        let mut disk = self.0.lock().expect("no panic before");
        if let Some(held) = &disk.held {
            let _ = held.recv();
        }
        disk.saved.push(content.into());
        disk.error.map_or(Ok(Saved::Written), |error| Err(error()))
    }
}

fn at(seconds: u64) -> Instant {
    Instant::from_secs(1_000 + seconds)
}

const TEN_MINUTES: Duration = Duration::from_secs(600);

fn memory(disk: &Arc<Mutex<Disk>>) -> Memory {
    memory_every(disk, TEN_MINUTES)
}

fn memory_every(disk: &Arc<Mutex<Disk>>, interval: Duration) -> Memory {
    Memory::load(Box::new(FakeStore(Arc::clone(disk))), "/state".as_ref(), interval, at(0))
}

fn mesh() -> Mesh<4> {
    let mut mesh = Mesh::new();
    let key = PublicKey::from_bytes([2; 32]);
    mesh.add_peer(at(0), key, [10, 0, 0, 2].into()).expect("there is room");
    mesh.handle_stored_record(at(0), &StoredRecord::peer(key, [([203, 0, 113, 2], 51820).into()]));
    mesh
}

/// Lets time pass with a change every so often; how many times it was written after each ten minutes.
fn writes(disk: &Arc<Mutex<Disk>>, memory: &mut Memory, every: u64, until: u64) -> Vec<usize> {
    let mesh = mesh();
    let mut written = Vec::new();
    for second in 0..=until {
        if second % every == 0 {
            memory.note_change();
        }
        memory.handle(at(second), &mesh);
        memory.wait();
        if second % 600 == 0 {
            written.push(disk.lock().expect("no panic before").saved.len());
        }
    }
    written
}

#[test]
fn at_most_once_in_ten_minutes_and_only_after_a_change() {
    let known = Disk { content: vec![StoredRecord::Incarnation(3)], ..Disk::default() };
    for (content, expected) in [(known, [0, 1, 2, 3]), (Disk::default(), [0, 1, 2, 3])] {
        let disk = Arc::new(Mutex::new(content));
        let mut memory = memory(&disk);
        assert_eq!(writes(&disk, &mut memory, 1, 1800), expected);
        memory.changed = false;
        assert_eq!(memory.poll_timeout(), None, "nothing to wake up for");
        memory.handle(at(90_000), &mesh());
        memory.finish(&mesh());
        assert_eq!(disk.lock().expect("no panic before").saved.len(), expected[3], "nothing was new");
    }
}

#[test]
fn at_most_as_often_as_is_configured() {
    let known = Disk { content: vec![StoredRecord::Incarnation(3)], ..Disk::default() };
    let disk = Arc::new(Mutex::new(known));
    let mut memory = memory_every(&disk, Duration::from_secs(3600));
    let written = writes(&disk, &mut memory, 1, 7200);
    assert_eq!(written, [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2]);
}

#[test]
fn the_first_memory_comes_early_and_the_end_is_written_at_once() {
    let disk = Arc::new(Mutex::new(Disk::default()));
    let mut memory = memory(&disk);
    memory.note_change();
    assert_eq!(memory.poll_timeout(), Some(at(60)));
    memory.finish(&mesh());
    let saved = disk.lock().expect("no panic before").saved.clone();
    assert_eq!(saved, [store::encode(mesh().stored_records())]);
    assert!(saved[0].contains("203.0.113.2:51820"));
}

#[test]
fn a_disk_that_hangs_holds_nothing_up() {
    let (release, held) = mpsc::channel();
    let disk = Arc::new(Mutex::new(Disk { held: Some(held), ..Disk::default() }));
    let (mut memory, mesh) = (memory(&disk), mesh());
    for second in 0..2_000 {
        memory.note_change();
        memory.handle(at(second), &mesh);
    }
    assert!(memory.poll_timeout().is_some(), "it will be tried again");
    // One for the write under way; then the last one goes through by itself.
    release.send(()).expect("it is waited for");
    drop(release);
    memory.finish(&mesh);
    assert_eq!(disk.lock().expect("no panic before").saved.len(), 2);
}

#[test]
fn a_store_of_no_use_is_told_once_and_costs_nothing_else() {
    let read_only = || SaveError::System(std::io::ErrorKind::ReadOnlyFilesystem.into());
    let disk = Arc::new(Mutex::new(Disk { error: Some(read_only), ..Disk::default() }));
    let mut memory = memory(&disk);
    assert!(memory.records().is_empty());
    let said = |memory: &Memory| {
        let keeper = memory.keeper.as_ref().expect("it is kept");
        keeper.lock().expect("no panic before").said.clone()
    };
    let first = said(&memory);
    assert!(first.as_deref().is_some_and(|line| line.contains("/state")), "{first:?}");
    assert_eq!(writes(&disk, &mut memory, 1, 1200).last(), Some(&2), "it is tried");
    assert_eq!(said(&memory), first, "the same line is not repeated");
    disk.lock().expect("no panic before").error = None;
    writes(&disk, &mut memory, 1, 1900);
    assert_eq!(said(&memory), None);
}

#[test]
fn without_a_file_nothing_is_kept() {
    let mut memory = Memory::none();
    memory.note_change();
    assert_eq!(memory.poll_timeout(), None);
    memory.finish(&mesh());
}
