//! A picture of how a simulated mesh came up.

use embassy_time::Duration;

use super::cold::Outcome;
use crate::curve::{self, Curve, Mark};

/// Draws the curve of an outcome under a title.
#[must_use]
pub fn svg(title: &str, outcome: &Outcome) -> String {
    let pairs = outcome.pairs.max(1) as f64;
    let steps = outcome.curve.iter().map(|sample| (seconds(sample.at), sample.connected as f64 / pairs));
    let curve = Curve { label: String::new(), steps: steps.collect() };
    let end = outcome.curve.last().map_or(1.0, |sample| seconds(sample.at));
    let agreed =
        outcome.agreed.map(|agreed| Mark { at: seconds(agreed), label: "all records everywhere".into() });
    curve::svg(title, "seconds since all daemons started", end, &[curve], agreed.as_slice())
}

fn seconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e6
}
