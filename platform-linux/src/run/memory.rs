//! When the state file is read and written: what the engine finds worth storing, on its way to the disk.
//!
//! Flash wears out, so that it is written only after a change and at most once in an interval that is configured, and when the daemon ends. A
//! disk may take seconds to say that something lies on it, so that this is waited for on a thread of its own.

use core::fmt;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use wgautomesh_core::{Duration, Instant, Mesh, PublicKey, StoredRecord};

use crate::{
    errands::spawn,
    store::{self, LoadError, SaveError, Saved, Store},
};

/// Before the first write where nothing was remembered: then there is nothing to fall back on.
const FIRST: Duration = Duration::from_secs(60);

/// What a write needs: 128 kB of text for a thousand peers are on the heap.
const STACK: usize = 128 * 1024;

/// This node's memory.
pub(super) struct Memory {
    keeper: Option<Arc<Mutex<Keeper>>>,
    /// What was remembered from before the start.
    records: Vec<StoredRecord>,
    /// Something is worth storing that is not stored.
    changed: bool,
    /// Between the start and the first write, and between two writes.
    interval: Duration,
    not_before: Instant,
    writing: Option<JoinHandle<()>>,
}

/// The store, and what was said about it.
struct Keeper {
    store: Box<dyn Store>,
    path: PathBuf,
    /// The last complaint, which is not repeated.
    said: Option<String>,
}

impl Memory {
    /// None: what is learned is forgotten at the end.
    pub(super) const fn none() -> Self {
        Self {
            keeper: None,
            records: Vec::new(),
            changed: false,
            interval: Duration::MAX,
            not_before: Instant::MIN,
            writing: None,
        }
    }

    /// What is in a store. `path` is what it is called in the log.
    pub(super) fn load(store: Box<dyn Store>, path: &Path, interval: Duration, now: Instant) -> Self {
        let mut keeper = Keeper { store, path: path.into(), said: None };
        let records = keeper.load();
        let pause = if records.is_empty() { FIRST.min(interval) } else { interval };
        Self {
            keeper: Some(Arc::new(Mutex::new(keeper))),
            records,
            changed: false,
            interval,
            not_before: now.saturating_add(pause),
            writing: None,
        }
    }

    /// What was remembered from before the start.
    pub(super) fn records(&self) -> &[StoredRecord] {
        &self.records
    }

    /// Tells the engine what was remembered of a peer that it did not have then.
    pub(super) fn recall<const PEERS: usize>(&self, now: Instant, mesh: &mut Mesh<PEERS>, key: &PublicKey) {
        for record in &self.records {
            if matches!(record, StoredRecord::Peer { key: of, .. } if of == key) {
                mesh.handle_stored_record(now, record);
            }
        }
    }

    /// Writes no more often than this from now on.
    #[cfg(feature = "admin")]
    pub(super) fn set_interval(&mut self, now: Instant, interval: Duration) {
        self.interval = interval;
        self.not_before = self.not_before.min(now.saturating_add(interval));
    }

    /// Something is worth storing.
    pub(super) fn note_change(&mut self) {
        self.changed = self.keeper.is_some();
    }

    /// When [`Self::handle`] is to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.changed.then_some(self.not_before)
    }

    /// Writes what is worth it, when it is time.
    pub(super) fn handle<const PEERS: usize>(&mut self, now: Instant, mesh: &Mesh<PEERS>) {
        if !self.changed || now < self.not_before {
            return;
        }
        self.not_before = now.saturating_add(self.interval);
        if self.writing.as_ref().is_some_and(|thread| !thread.is_finished()) {
            // A disk that has not been heard of for so long.
            return log::debug!("the state file is still being written");
        }
        self.wait();
        let Some(keeper) = self.keeper.clone() else { return };
        self.changed = false;
        let content = store::encode(mesh.stored_records());
        let work = move || keeper.lock().unwrap_or_else(PoisonError::into_inner).save(&content);
        match spawn("state file", STACK, Box::new(work)) {
            Ok(thread) => self.writing = Some(thread),
            Err(error) => {
                log::debug!("the state file is not written now: {error}");
                self.changed = true;
            }
        }
    }

    /// The last write.
    pub(super) fn finish<const PEERS: usize>(&mut self, mesh: &Mesh<PEERS>) {
        self.wait();
        if let Some(keeper) = self.keeper.take().filter(|_| self.changed) {
            let content = store::encode(mesh.stored_records());
            keeper.lock().unwrap_or_else(PoisonError::into_inner).save(&content);
        }
    }

    fn wait(&mut self) {
        if let Some(thread) = self.writing.take() {
            // It does not panic; if it did, there is nothing to be done about it.
            let _ = thread.join();
        }
    }
}

impl Keeper {
    fn load(&mut self) -> Vec<StoredRecord> {
        match self.store.load() {
            Ok(records) => records,
            Err(LoadError::Unreadable(error)) => {
                self.complain(&error);
                Vec::new()
            }
            Err(error) => {
                log::warn!("state file {}: {error}; starting without memory", Shown(&self.path));
                Vec::new()
            }
        }
    }

    fn save(&mut self, content: &str) {
        match self.store.save(content) {
            Ok(saved) => {
                if let Saved::SetAside(name) = saved {
                    let kept = self.path.with_file_name(name);
                    log::info!(
                        "state file {}: what was there is kept as {}",
                        Shown(&self.path),
                        Shown(&kept)
                    );
                }
                if self.said.take().is_some() {
                    log::info!("state file {}: written", Shown(&self.path));
                }
            }
            Err(error) => self.complain(&error),
        }
    }

    /// Says once what is wrong: the mesh goes on without memory.
    fn complain(&mut self, error: &SaveError) {
        let line = format!("state file {}: {error}", Shown(&self.path));
        if self.said.as_ref() != Some(&line) {
            log::warn!("{line}; until then, what is learned is forgotten at the end");
            self.said = Some(line);
        }
    }
}

/// A path in a line of the log.
struct Shown<'p>(&'p Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().to_string().escape_debug().fmt(f)
    }
}

#[cfg(test)]
mod tests;
