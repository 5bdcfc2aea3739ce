//! Work that may block: on a thread of its own, with its result handed back to the loop.

use core::mem;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use rustix::event::{EventfdFlags, eventfd};

/// The results of work that is under way. They may come in any order, and after this is gone.
pub(crate) struct Errands<T> {
    done: Arc<Done<T>>,
}

struct Done<T> {
    // Not a channel: of each kind of those there is 6 kB on a router, and the loop wants a descriptor to wait for anyway.
    results: Mutex<Vec<T>>,
    wake: OwnedFd,
}

impl<T: Send + 'static> Errands<T> {
    /// # Errors
    /// When there is no file descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { done: Arc::new(Done { results: Mutex::new(Vec::new()), wake }) })
    }

    /// Readable when there are results.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.done.wake.as_fd()
    }

    /// Begins work on a thread of this name and with a stack of so many bytes.
    ///
    /// # Errors
    /// When there can be no other thread.
    pub(crate) fn begin(
        &self,
        name: &str,
        stack: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<()> {
        let done = Arc::clone(&self.done);
        let work = move || {
            let result = work();
            done.lock().push(result);
            let _ = rustix::io::write(&done.wake, &1u64.to_ne_bytes());
        };
        spawn(name, stack, Box::new(work)).map(drop)
    }

    /// What has come to its end since this was called last.
    pub(crate) fn take(&self) -> Vec<T> {
        // Before the results are taken, so that none is missed. Not readable is no error.
        let _ = rustix::io::read(&self.done.wake, &mut [0u8; 8]);
        mem::take(&mut *self.done.lock())
    }
}

impl<T> Done<T> {
    /// Nobody panics while holding it; whole results are there in any case.
    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread with a name. In a box, because on a router the machinery is 2 kB for each kind of closure.
///
/// # Errors
/// When there can be no other thread.
pub(crate) fn spawn(name: &str, stack: usize, work: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.into()).stack_size(stack).spawn(work)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use rustix::event::{PollFd, PollFlags};
    use wgautomesh_core::Duration;

    use super::*;
    use crate::clock;

    fn is_readable(errands: &Errands<u8>, seconds: u64) -> bool {
        clock::ready_within(&[PollFd::new(&errands.fd(), PollFlags::IN)], Duration::from_secs(seconds))
    }

    #[test]
    fn results_come_when_they_are_there_and_once() {
        let errands = Errands::new().expect("a descriptor");
        let (release, held) = mpsc::channel::<()>();
        let slow = move || {
            let _ = held.recv();
            1
        };
        errands.begin("slow", 64 * 1024, slow).expect("a thread");
        assert!(!is_readable(&errands, 0));
        assert!(errands.take().is_empty());
        errands.begin("fast", 64 * 1024, || 2).expect("a thread");
        assert!(is_readable(&errands, 30));
        assert_eq!(errands.take(), [2]);
        assert!(!is_readable(&errands, 0));
        drop(release);
        assert!(is_readable(&errands, 30));
        assert_eq!(errands.take(), [1]);
    }

    #[test]
    fn work_ends_in_peace_when_nobody_waits_any_more() {
        let errands = Errands::new().expect("a descriptor");
        let (release, held) = mpsc::channel::<()>();
        let (say, ended) = mpsc::channel();
        let work = move || {
            let _ = held.recv();
            let _ = say.send(());
        };
        errands.begin("late", 64 * 1024, work).expect("a thread");
        drop(errands);
        drop(release);
        ended.recv().expect("it ends");
    }
}
