//! Small draws from the seeded generator. A certain outcome draws nothing, so that switching a fault off does not
//! shift the random numbers of the others more than it must.

use embassy_time::Duration;
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

/// True with probability `p` (clamped to 0..=1).
pub(crate) fn chance(rng: &mut ChaCha8Rng, p: f32) -> bool {
    if p <= 0.0 {
        false
    } else if p >= 1.0 {
        true
    } else {
        f64::from(rng.next_u32()) < f64::from(p) * 4_294_967_296.0
    }
}

/// A number below `n`; 0 when `n` is 0. The bias of the multiplication is below 2^-32 · n.
pub(crate) fn below(rng: &mut ChaCha8Rng, n: u32) -> u32 {
    if n <= 1 {
        return 0;
    }
    ((u64::from(rng.next_u32()) * u64::from(n)) >> 32) as u32
}

/// A duration from zero to `max`, in whole microseconds.
pub(crate) fn up_to(rng: &mut ChaCha8Rng, max: Duration) -> Duration {
    let max = u32::try_from(max.as_micros()).unwrap_or(u32::MAX - 1);
    if max == 0 {
        return Duration::from_ticks(0);
    }
    Duration::from_micros(u64::from(below(rng, max.saturating_add(1))))
}
