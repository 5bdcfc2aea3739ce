//! The timers that belong to no peer.

use embassy_time::Instant;

/// When something is due, if at all.
///
/// "Not at all" is all zero bits, unlike `Instant::MAX` in its place: see [`Mesh::new`](crate::Mesh::new).
#[derive(Clone, Copy)]
pub(crate) struct Alarm(Option<Instant>);

impl Alarm {
    pub(crate) const fn unset() -> Self {
        Self(None)
    }

    /// When it is due; `Instant::MAX` for never.
    pub(crate) fn at(self) -> Instant {
        self.0.unwrap_or(Instant::MAX)
    }

    pub(crate) const fn is_set(self) -> bool {
        self.0.is_some()
    }

    /// Sets it to that time and no other; `Instant::MAX` unsets it.
    pub(crate) fn set(&mut self, at: Instant) {
        self.0 = Some(at).filter(|at| *at != Instant::MAX);
    }

    /// Makes it due at that time, unless it is earlier.
    pub(crate) fn set_by(&mut self, at: Instant) {
        self.set(self.at().min(at));
    }

    pub(crate) const fn clear(&mut self) {
        self.0 = None;
    }

    /// Whether it is due: then it is unset.
    pub(crate) fn take_due(&mut self, now: Instant) -> bool {
        let due = self.at() <= now;
        if due {
            self.0 = None;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_once_and_at_the_earliest_time() {
        let at = Instant::from_secs;
        let mut alarm = Alarm::unset();
        assert!(!alarm.is_set() && alarm.at() == Instant::MAX);
        assert!(!alarm.take_due(at(1_000_000)), "unset, it never comes");
        alarm.set_by(at(5));
        alarm.set_by(at(3));
        alarm.set_by(at(4));
        assert_eq!(alarm.at(), at(3));
        assert!(!alarm.take_due(at(2)));
        assert!(alarm.take_due(at(3)));
        assert!(!alarm.take_due(at(3)), "once");
        alarm.set(at(9));
        alarm.set(Instant::MAX);
        assert!(!alarm.is_set());
        alarm.set(at(9));
        alarm.clear();
        assert!(!alarm.is_set());
    }
}
