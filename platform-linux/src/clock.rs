//! The engine's time: microseconds of `CLOCK_BOOTTIME`.
//!
//! That clock never runs backwards and, unlike `CLOCK_MONOTONIC`, counts the time a machine was suspended: NAT mappings
//! and sessions age then too. The wall clock is not read anywhere, but to tell a person that it is wrong.
//!
//! Whatever takes a time is called by way of the crate libc: rustix 1.1 takes a second of musl's for 64 bits wide on MIPS, where
//! it is 32, so that the clock is anything and no timer is set. Seconds since the boot fit into either.

// Two calls of the system with a structure each.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
};

#[cfg(test)]
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
#[cfg(any(test, feature = "admin"))]
use wgautomesh_core::Duration;
use wgautomesh_core::Instant;

const ZERO: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 0 };

/// The time since the machine was booted.
#[must_use]
pub fn now() -> Instant {
    Instant::from_micros(read(libc::CLOCK_BOOTTIME))
}

/// The processor time that all threads of this process have used.
#[cfg(feature = "admin")]
pub(crate) fn processor_time() -> Duration {
    Duration::from_micros(read(libc::CLOCK_PROCESS_CPUTIME_ID))
}

/// A clock, in microseconds.
fn read(clock: libc::clockid_t) -> u64 {
    let mut now = ZERO;
    // SAFETY: it writes this structure and nothing else. It fails only for a clock that is not there.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let micros = u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000;
    seconds.saturating_mul(1_000_000).saturating_add(micros)
}

/// The beginning of 2026, in seconds since 1970: this program is not older.
#[cfg(feature = "admin")]
pub(crate) const WRITTEN: i64 = 1_767_225_600;

/// Whether the wall clock shows a time before this program was written, as that of a router without a battery after its boot.
/// Nothing here minds, but WireGuard does: others take its handshakes for old ones that somebody repeats.
#[cfg(feature = "admin")]
pub(crate) fn is_wall_clock_wrong() -> bool {
    let shown = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // Before 1970 it is wrong as well.
    shown.map_or(true, |since| i64::try_from(since.as_secs()).is_ok_and(|seconds| seconds < WRITTEN))
}

/// Wakes the loop at an instant of [`now`]'s clock, with the kernel's precision instead of the millisecond of
/// `poll`, and at once when the instant has passed while the machine was suspended.
pub(crate) struct Alarm {
    timer: OwnedFd,
    armed: Option<Instant>,
}

impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self { timer: timerfd_create(TimerfdClockId::Boottime, flags)?, armed: None })
    }

    /// Makes the file readable from `at` on; `None` disarms it. Costs a system call only when `at` changes.
    pub(crate) fn set(&mut self, at: Option<Instant>) -> io::Result<()> {
        if self.armed == at {
            return Ok(());
        }
        let value = match at {
            None => ZERO,
            Some(at) => {
                // An all-zero time would disarm the timer.
                let micros = at.as_micros().max(1);
                // Both fit where a second has 64 bits: a u64 of microseconds is 2^44 seconds, and the remainder is below 10^9.
                // Where it has 32, no alarm is later than 68 years after the boot.
                libc::timespec {
                    tv_sec: (micros / 1_000_000) as _,
                    tv_nsec: (micros % 1_000_000 * 1_000) as _,
                }
            }
        };
        let time = libc::itimerspec { it_interval: ZERO, it_value: value };
        let timer = self.timer.as_raw_fd();
        // SAFETY: it reads this structure, and writes none where the old value goes.
        let result = unsafe {
            libc::timerfd_settime(timer, libc::TFD_TIMER_ABSTIME, &raw const time, core::ptr::null_mut())
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        self.armed = at;
        Ok(())
    }

    /// To be called once the file was readable: the alarm that has gone off is no longer set.
    pub(crate) fn clear(&mut self) {
        let mut expirations = [0u8; 8];
        // Not readable after all is no harm: the next `set` arms it anew.
        let _ = rustix::io::read(&self.timer, &mut expirations);
        self.armed = None;
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

/// Waits until one of these files is ready, but no longer than that, and tells whether one is. What tests use in place of
/// `poll` with a time-out, which is another one than was said on MIPS.
#[cfg(test)]
pub(crate) fn ready_within(files: &[PollFd<'_>], limit: Duration) -> bool {
    let mut alarm = Alarm::new().expect("timerfd");
    alarm.set(Some(now() + limit)).expect("settime");
    let mut files = files.to_vec();
    files.push(PollFd::new(&alarm, PollFlags::IN));
    poll(&mut files, None).expect("poll");
    files.iter().rev().skip(1).any(|file| !file.revents().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it has gone off by now.
    fn rings(alarm: &Alarm) -> bool {
        ready_within(&[PollFd::new(alarm, PollFlags::IN)], Duration::from_micros(0))
    }

    fn wait_for(alarm: &Alarm) {
        poll(&mut [PollFd::new(alarm, PollFlags::IN)], None).expect("poll");
    }

    #[test]
    fn goes_off_at_its_instant_and_not_when_disarmed() {
        let mut alarm = Alarm::new().expect("timerfd");
        assert!(!rings(&alarm), "never set");
        let at = now() + Duration::from_millis(2);
        alarm.set(Some(at)).expect("settime");
        wait_for(&alarm);
        assert!(now() >= at);
        assert!(rings(&alarm));
        alarm.clear();
        assert!(!rings(&alarm), "cleared");
        alarm.set(Some(Instant::from_micros(0))).expect("settime");
        wait_for(&alarm);
        assert!(rings(&alarm), "an instant in the past goes off at once");
        alarm.set(None).expect("settime");
        assert!(!rings(&alarm), "disarmed");
    }

    #[test]
    fn never_runs_backwards() {
        let mut last = now();
        for _ in 0..1_000 {
            let next = now();
            assert!(next >= last);
            last = next;
        }
    }
}
