//! The wall clock, which nothing else of this program reads.

// A call of the system with a structure.
#![allow(unsafe_code)]

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::facts::Clock;

pub(super) fn look() -> Clock {
    let seconds = |since: core::time::Duration| i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let unix = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => seconds(since),
        Err(before) => -seconds(before.duration()),
    };
    Clock { unix, synchronised: is_synchronised().map_err(|error| super::unseen(&error)) }
}

/// Whether the kernel was told by anything that the clock is right.
fn is_synchronised() -> io::Result<bool> {
    let mut timex = core::mem::MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: all zeroes is a `timex` that asks for no change. The call writes this structure and nothing else.
    let state = unsafe { libc::adjtimex(timex.as_mut_ptr()) };
    match state {
        -1 => Err(io::Error::last_os_error()),
        state => Ok(state != libc::TIME_ERROR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers() {
        if let Err(error) = is_synchronised() {
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "a sandbox may forbid it");
        }
    }
}
