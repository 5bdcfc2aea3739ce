//! The wall clock, which wgautomesh does not need. WireGuard does: it refuses a handshake that is stamped before the last one.

use super::super::{facts::Clock, finding::Findings};
use crate::clock::WRITTEN as FIRST;

/// The beginning of 2100.
const LAST: i64 = 4_102_444_800;

pub(super) fn check(clock: &Clock, out: &mut Findings) {
    const ID: &str = "clock";
    const FIX: &str = "set it, and keep it right: `timedatectl set-ntp true`, or chrony";
    if clock.unix < FIRST {
        return out.warning(
            ID,
            "the clock is years behind: peers that this node talked to before refuse it until it is past that time",
            FIX,
        );
    }
    if clock.unix >= LAST {
        return out.warning(
            ID,
            "the clock is far ahead: once it is right again, peers that this node talks to now will refuse it",
            FIX,
        );
    }
    match &clock.synchronised {
        Ok(true) => out.ok(ID, "the clock is kept right"),
        Ok(false) => out.note(
            ID,
            "the kernel does not know of anything that keeps the clock right; should it be set back, peers refuse \
             this node until it has caught up",
            FIX,
        ),
        Err(unseen) => out.skipped(ID, "whether anything keeps the clock right", unseen),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::only;
    use super::*;
    use crate::doctor::{
        Severity,
        facts::{Seen, Unseen},
    };

    fn of(unix: i64, synchronised: Seen<bool>) -> Vec<crate::doctor::Finding> {
        let mut out = Findings::default();
        check(&Clock { unix, synchronised }, &mut out);
        out.sorted()
    }

    #[test]
    fn it_must_be_of_these_times() {
        for unix in [-1, 0, FIRST - 1, LAST, i64::MAX] {
            only(&of(unix, Ok(true)), Severity::Warning, "clock");
        }
        for unix in [FIRST, LAST - 1] {
            assert_eq!(of(unix, Ok(true))[0].severity, Severity::Ok);
        }
    }

    #[test]
    fn one_that_nobody_keeps_is_worth_a_note() {
        only(&of(FIRST, Ok(false)), Severity::Note, "clock");
        only(&of(FIRST, Err(Unseen::new("not permitted", ""))), Severity::Skipped, "clock");
    }
}
