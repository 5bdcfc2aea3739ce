//! A picture of how a mesh came up: connected pairs over time, as SVG.

use core::fmt::Write;

use super::cold::{Outcome, Sample};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 44.0;
const TOP: f64 = 40.0;
const RIGHT: f64 = 20.0;

/// Draws the curve of an outcome under a title.
#[must_use]
pub fn svg(title: &str, outcome: &Outcome) -> String {
    let end = outcome.curve.last().map_or(1.0, |s| seconds(s).max(0.001));
    let tick = tick(end);
    let limit = (end / tick).ceil() * tick;
    let x = |t: f64| LEFT + t / limit * (WIDTH - LEFT - RIGHT);
    let y = |share: f64| HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP);
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    line(&format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">"
    ));
    line(&format!("<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>"));
    line(&format!("<text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>", escape(title)));
    for percent in [0, 25, 50, 75, 100] {
        let at = y(f64::from(percent) / 100.0);
        line(&format!("<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#ddd\"/>", WIDTH - RIGHT));
        line(&format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %</text>",
            LEFT - 6.0,
            at + 4.0
        ));
    }
    let mut t = 0.0;
    while t <= limit * 1.0001 {
        line(&format!("<path d=\"M{0:.1} {1:.1}v5\" stroke=\"#888\"/>", x(t), HEIGHT - BOTTOM));
        line(&format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x(t),
            HEIGHT - BOTTOM + 19.0,
            label(t)
        ));
        t += tick;
    }
    line(&format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">seconds since all daemons started</text>",
        WIDTH - RIGHT,
        HEIGHT - 8.0
    ));
    let mut path = format!("M{:.1} {:.1}", x(0.0), y(0.0));
    let pairs = outcome.pairs.max(1) as f64;
    let mut before = 0;
    for sample in &outcome.curve {
        if sample.connected != before {
            // Writing to a string cannot fail.
            let _ = write!(path, "H{:.1}V{:.1}", x(seconds(sample)), y(sample.connected as f64 / pairs));
            before = sample.connected;
        }
    }
    let _ = write!(path, "H{:.1}", x(end));
    line(&format!("<path d=\"{path}\" fill=\"none\" stroke=\"#1565c0\" stroke-width=\"2\"/>"));
    if let Some(agreed) = outcome.agreed {
        let at = x(agreed.as_micros() as f64 / 1e6);
        line(&format!(
            "<path d=\"M{at:.1} {:.1}V{:.1}\" stroke=\"#2e7d32\" stroke-dasharray=\"4 3\"/>",
            y(1.0),
            y(0.0)
        ));
        line(&format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"#2e7d32\">all records everywhere</text>",
            at + 4.0,
            y(0.04)
        ));
    }
    line("</svg>");
    out
}

fn seconds(sample: &Sample) -> f64 {
    sample.at.as_micros() as f64 / 1e6
}

/// A round distance between ticks: about six of them.
fn tick(end: f64) -> f64 {
    let rough = end / 6.0;
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|t| *t >= rough).unwrap_or(power * 10.0)
}

fn label(t: f64) -> String {
    let text = format!("{t:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
