//! Many small simulations at once, on all cores.

use core::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Does `job` for each number of the range, on as many threads as there are cores, and gives the results in the numbers'
/// order. Which thread does which depends on the machine; the results do not.
///
/// # Panics
/// Where a job does.
pub fn in_parallel<T: Send>(numbers: core::ops::Range<u64>, job: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let next = AtomicU64::new(numbers.start);
    let mut results: Vec<(u64, T)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores)
            .map(|_| {
                scope.spawn(|| {
                    let mine = core::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                    mine.take_while(|n| *n < numbers.end).map(|n| (n, job(n))).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|w| w.join().expect("a worker that panicked has said why")).collect()
    });
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
