//! What the process costs, as the kernel counts it.

use std::fs;

use wgautomesh_core::Duration;

use crate::clock;

/// What it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    /// Memory that is really there. Not known where there is no `/proc`.
    pub(super) resident_bytes: Option<u64>,
    /// Processor time of all its threads since it was started.
    pub(super) processor_time: Duration,
}

impl Process {
    /// What it costs now.
    pub(super) fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").ok();
        Self {
            resident_bytes: status.as_deref().and_then(resident_bytes),
            processor_time: clock::processor_time(),
        }
    }
}

/// The line `VmRSS:     1234 kB`, where a kB has 1024 bytes.
fn resident_bytes(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_found_among_the_rest() {
        let status = "Name:\tx\nVmHWM:\t    3000 kB\nVmRSS:\t    2052 kB\nRssAnon:\t 100 kB\n";
        assert_eq!(resident_bytes(status), Some(2_101_248));
        for other in ["", "VmRSS:\n", "VmRSS: many kB\n", "VmRSS: 5 MB\n", "VmRSS: 18446744073709551615 kB\n"]
        {
            assert_eq!(resident_bytes(other), None, "{other:?}");
        }
    }

    #[test]
    fn this_process_costs_something() {
        let before = Process::read();
        assert!(before.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{before:?}");
        let mut sum = 0_u64;
        while Process::read().processor_time <= before.processor_time {
            sum = core::hint::black_box(sum.wrapping_add(1));
        }
    }
}
