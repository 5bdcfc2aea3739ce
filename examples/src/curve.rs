//! A picture of how something came up: shares of a whole over time, as SVG.

use core::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 44.0;
const TOP: f64 = 40.0;
const RIGHT: f64 = 20.0;
/// Of the curves, in turn.
const COLOURS: [&str; 6] = ["#1565c0", "#e65100", "#2e7d32", "#6a1b9a", "#00838f", "#ad1457"];

/// Steps up, from nothing at time zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// Stands in the legend; empty for none.
    pub label: String,
    /// From when on it is how high: seconds, in order, and shares from 0 to 1.
    pub steps: Vec<(f64, f64)>,
}

/// A moment worth a line of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// When, seconds.
    pub at: f64,
    /// What is written beside it.
    pub label: String,
}

/// Draws curves and marks under a title, up to the time `end` in seconds; `axis` says what time it is.
#[must_use]
pub fn svg(title: &str, axis: &str, end: f64, curves: &[Curve], marks: &[Mark]) -> String {
    let end = end.max(0.001);
    let tick = tick(end);
    let limit = (end / tick).ceil() * tick;
    let x = |t: f64| LEFT + t.min(limit) / limit * (WIDTH - LEFT - RIGHT);
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
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        WIDTH - RIGHT,
        HEIGHT - 8.0,
        escape(axis)
    ));
    let labelled = curves.iter().filter(|curve| !curve.label.is_empty()).count();
    for (number, curve) in curves.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let mut path = format!("M{:.1} {:.1}", x(0.0), y(0.0));
        let mut before = 0.0;
        for &(at, share) in curve.steps.iter().take_while(|(at, _)| *at <= limit) {
            if share != before {
                // Writing to a string cannot fail.
                let _ = write!(path, "H{:.1}V{:.1}", x(at), y(share));
                before = share;
            }
        }
        let _ = write!(path, "H{:.1}", x(end));
        line(&format!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"));
        if !curve.label.is_empty() {
            // Below on the right, where a curve that came up is not.
            let at = y(0.06) - 17.0 * (labelled - 1 - number.min(labelled - 1)) as f64;
            line(&format!(
                "<text x=\"{:.1}\" y=\"{at:.1}\" text-anchor=\"end\" fill=\"{colour}\">{}</text>",
                WIDTH - RIGHT - 6.0,
                escape(&curve.label)
            ));
        }
    }
    for mark in marks {
        let at = x(mark.at);
        line(&format!(
            "<path d=\"M{at:.1} {:.1}V{:.1}\" stroke=\"#2e7d32\" stroke-dasharray=\"4 3\"/>",
            y(1.0),
            y(0.0)
        ));
        line(&format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"#2e7d32\">{}</text>",
            at + 4.0,
            y(0.04),
            escape(&mark.label)
        ));
    }
    line("</svg>");
    out
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_end_at_the_edge_and_only_labelled_ones_are_in_the_legend() {
        let curve = |label: &str, steps: &[(f64, f64)]| Curve { label: label.into(), steps: steps.to_vec() };
        let picture = svg(
            "a & b",
            "seconds",
            1.0,
            &[curve("1 < 2", &[(0.5, 0.5), (0.5, 1.0)]), curve("", &[(0.25, 1.0), (7.0, 0.5)])],
            &[Mark { at: 0.5, label: "here".into() }],
        );
        assert!(picture.contains("a &amp; b") && picture.contains("1 &lt; 2") && picture.contains("here"));
        assert_eq!(picture.matches("stroke-width=\"2\"").count(), 2);
        // What is beyond the end of the picture is not in it.
        assert!(picture.contains("<path d=\"M56.0 316.0H217.0V40.0H700.0\""), "{picture}");
    }
}
