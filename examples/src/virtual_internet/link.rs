//! One direction of an access link: delay, jitter, loss in ones or in bursts, reordering, duplication.

use embassy_time::Duration;
use rand_chacha::ChaCha8Rng;

use super::random::{chance, up_to};

/// How packets get lost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each packet on its own, with this probability (0 to 1).
    Random(f32),
    /// Gilbert's model: a link has good and bad spells. In a bad one each packet is lost with probability `lost`.
    Burst {
        /// Probability, per packet, of going from good to bad.
        enter: f32,
        /// Probability, per packet, of going from bad to good; 1 / `leave` is the mean length of a bad spell.
        leave: f32,
        /// Probability of losing a packet in a bad spell.
        lost: f32,
    },
}

/// What a link does to packets in one direction. The same description serves both directions of an access link,
/// each with its own state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Time to cross, before jitter.
    pub delay: Duration,
    /// Added to each packet: a uniform draw from zero to this. Packets closer together than this may overtake.
    pub jitter: Duration,
    /// How packets get lost.
    pub loss: Loss,
    /// Probability that a packet is held back by `reorder_by`, so that later ones overtake it.
    pub reorder: f32,
    /// How long such a packet is held back.
    pub reorder_by: Duration,
    /// Probability that a packet arrives twice; the copy draws its own jitter.
    pub duplicate: f32,
}

impl Link {
    /// A link that changes nothing.
    pub const PERFECT: Self = Self {
        delay: Duration::from_ticks(0),
        jitter: Duration::from_ticks(0),
        loss: Loss::None,
        reorder: 0.0,
        reorder_by: Duration::from_ticks(0),
        duplicate: 0.0,
    };

    /// A link that only delays, by `delay` one way.
    #[must_use]
    pub const fn delay(delay: Duration) -> Self {
        Self { delay, ..Self::PERFECT }
    }

    /// The same link with random loss of probability `p`.
    #[must_use]
    pub const fn with_loss(self, p: f32) -> Self {
        Self { loss: Loss::Random(p), ..self }
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::PERFECT
    }
}

/// One direction of a link with its memory.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    /// What it does.
    pub link: Link,
    bad_spell: bool,
}

/// What became of a packet on a [`Lane`]: how long each copy took. Both `None`: lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Crossing {
    /// The packet's own crossing time, unless it was lost.
    pub first: Option<Duration>,
    /// The crossing time of a second copy.
    pub second: Option<Duration>,
}

impl Lane {
    /// A lane in a good spell.
    #[must_use]
    pub const fn new(link: Link) -> Self {
        Self { link, bad_spell: false }
    }

    /// Sends one packet over the lane.
    pub fn cross(&mut self, rng: &mut ChaCha8Rng) -> Crossing {
        if self.loses(rng) {
            return Crossing { first: None, second: None };
        }
        let mut first = self.link.delay + up_to(rng, self.link.jitter);
        if chance(rng, self.link.reorder) {
            first += self.link.reorder_by;
        }
        let second = chance(rng, self.link.duplicate).then(|| self.link.delay + up_to(rng, self.link.jitter));
        Crossing { first: Some(first), second }
    }

    fn loses(&mut self, rng: &mut ChaCha8Rng) -> bool {
        match self.link.loss {
            Loss::None => false,
            Loss::Random(p) => chance(rng, p),
            Loss::Burst { enter, leave, lost } => {
                if self.bad_spell {
                    self.bad_spell = !chance(rng, leave);
                } else {
                    self.bad_spell = chance(rng, enter);
                }
                self.bad_spell && chance(rng, lost)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;

    fn run(link: Link, packets: usize) -> Vec<Crossing> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut lane = Lane::new(link);
        (0..packets).map(|_| lane.cross(&mut rng)).collect()
    }

    #[test]
    fn a_perfect_link_takes_no_time_and_loses_nothing() {
        assert!(run(Link::PERFECT, 1000).iter().all(|c| c.first == Some(Duration::from_ticks(0))));
    }

    #[test]
    fn jitter_adds_from_zero_to_its_bound() {
        let link = Link { jitter: Duration::from_millis(4), ..Link::delay(Duration::from_millis(10)) };
        let times: Vec<u64> =
            run(link, 10_000).iter().filter_map(|c| c.first).map(|d| d.as_micros()).collect();
        assert!(times.iter().all(|t| (10_000..=14_000).contains(t)));
        assert!(times.iter().any(|t| *t < 10_100) && times.iter().any(|t| *t > 13_900));
    }

    #[test]
    fn random_loss_loses_its_share() {
        let lost = run(Link::PERFECT.with_loss(0.3), 20_000).iter().filter(|c| c.first.is_none()).count();
        assert!((5_700..6_300).contains(&lost), "{lost} of 20000 at 30 %");
    }

    #[test]
    fn bursts_lose_runs_of_their_mean_length() {
        let loss = Loss::Burst { enter: 0.01, leave: 0.1, lost: 1.0 };
        let seen = run(Link { loss, ..Link::PERFECT }, 100_000);
        let lost = seen.iter().filter(|c| c.first.is_none()).count();
        let runs = seen.windows(2).filter(|w| w[0].first.is_some() && w[1].first.is_none()).count();
        let mean = lost as f64 / runs as f64;
        assert!((8.0..12.0).contains(&mean), "mean run {mean}");
        // The share of bad time is enter / (enter + leave) = 9.1 %.
        assert!((7_500..11_000).contains(&lost), "{lost} of 100000");
    }

    #[test]
    fn duplicates_and_held_packets_come_at_their_rates() {
        let link = Link {
            duplicate: 0.1,
            reorder: 0.2,
            reorder_by: Duration::from_millis(30),
            ..Link::delay(Duration::from_millis(5))
        };
        let seen = run(link, 10_000);
        let twice = seen.iter().filter(|c| c.second.is_some()).count();
        let held = seen.iter().filter(|c| c.first == Some(Duration::from_millis(35))).count();
        assert!((850..1150).contains(&twice), "{twice}");
        assert!((1800..2200).contains(&held), "{held}");
    }
}
