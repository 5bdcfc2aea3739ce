//! The live picture: a matrix of ordered pairs that fills up, drawn over itself on a terminal.

use core::time::Duration;
use std::io::{self, Write};

use super::report::Outcome;

/// More columns than this do not fit beside each other as numbers.
const NUMBERS_UP_TO: usize = 12;

/// Draws [`Outcome`]s, each over the one before.
pub struct Table {
    lines: usize,
}

impl Table {
    /// Nothing is drawn yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { lines: 0 }
    }

    /// Draws the matrix and a progress line.
    ///
    /// # Errors
    /// What writing says.
    pub fn draw(&mut self, out: &mut impl Write, outcome: &Outcome, elapsed: Duration) -> io::Result<()> {
        let text = render(outcome, elapsed);
        if self.lines > 0 {
            // Up to where the last one began; each line is cleared as it is written.
            write!(out, "\x1b[{}A", self.lines)?;
        }
        for line in text.lines() {
            writeln!(out, "\r{line}\x1b[K")?;
        }
        self.lines = text.lines().count();
        out.flush()
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

fn render(outcome: &Outcome, elapsed: Duration) -> String {
    use core::fmt::Write as _;
    let mut text = String::new();
    let numbers = outcome.names.len() <= NUMBERS_UP_TO;
    let width = outcome.names.iter().map(String::len).max().unwrap_or(0);
    if numbers {
        let _ = write!(text, "{:width$} ", "ms");
        for name in &outcome.names {
            let _ = write!(text, " {name:>6}");
        }
        text.push('\n');
    }
    for (from, row) in outcome.pairs.iter().enumerate() {
        let _ = write!(text, "{:width$} ", outcome.names[from]);
        for (to, time) in row.iter().enumerate() {
            let _ = match (numbers, time) {
                (true, _) if from == to => write!(text, "       "),
                (true, Some(time)) => write!(text, " \x1b[32m{:>6}\x1b[0m", time.as_millis()),
                (true, None) => write!(text, " {:>6}", if outcome.possible[from][to] { "·" } else { "×" }),
                (false, _) if from == to => write!(text, " "),
                (false, Some(_)) => write!(text, "\x1b[32m█\x1b[0m"),
                (false, None) => write!(text, "·"),
            };
        }
        text.push('\n');
    }
    let seconds = elapsed.as_secs_f64();
    let _ = writeln!(text, "{} of {} pairs talk after {seconds:.1} s", outcome.connected(), outcome.total());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(nodes: usize) -> Outcome {
        let names = (1..=nodes).map(|number| format!("home{number}")).collect();
        let mut pairs = vec![vec![None; nodes]; nodes];
        pairs[0][1] = Some(Duration::from_millis(321));
        let possible = vec![vec![true; nodes]; nodes];
        Outcome { names, pairs, possible, initiations: vec![vec![0; nodes]; nodes] }
    }

    #[test]
    fn a_small_mesh_shows_times_and_a_large_one_blocks() {
        let small = render(&outcome(3), Duration::from_millis(1500));
        assert_eq!(small.lines().count(), 5);
        assert!(small.contains("321") && small.ends_with("1 of 6 pairs talk after 1.5 s\n"), "{small}");
        let large = render(&outcome(30), Duration::ZERO);
        assert_eq!(large.lines().count(), 31);
        assert!(large.contains('█') && !large.contains("321"), "{large}");
    }

    #[test]
    fn the_second_picture_covers_the_first() {
        let mut out = Vec::new();
        let mut table = Table::new();
        table.draw(&mut out, &outcome(2), Duration::ZERO).unwrap();
        let first = out.len();
        table.draw(&mut out, &outcome(2), Duration::ZERO).unwrap();
        assert!(out[first..].starts_with(b"\x1b[4A"));
    }
}
