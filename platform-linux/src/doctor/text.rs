//! What the doctor says, for people: one paragraph for each finding, 80 columns wide, and the verdict.
//!
//! ```text
//! error    interface: there is no interface wg0
//!          fix: make it, `wg-quick up wg0` for instance
//! ok       config: /etc/wgautomesh.toml is right
//!
//! wg0: 1 error
//! ```

use super::finding::{Finding, Severity};
use super::report::Report;

const WIDTH: usize = 80;

/// Where the texts begin: behind the longest word for a severity.
const INDENT: usize = 9;

/// Ends in a line end.
pub(super) fn render(report: &Report, coloured: bool) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        paragraph(&mut out, finding, coloured);
    }
    out.push('\n');
    let subject = report.interface.as_deref().unwrap_or(&report.file);
    out.push_str(&format!("{subject}: {}\n", verdict(report)));
    out
}

fn paragraph(out: &mut String, finding: &Finding, coloured: bool) {
    let Finding { id, severity, what, fix } = finding;
    let word = format!("{severity:<INDENT$}");
    match colour(*severity).filter(|_| coloured) {
        Some(code) => {
            // Only the word itself, or the space behind it would be coloured by some terminals.
            let (word, space) = word.split_at(severity.as_str().len());
            out.push_str(&format!("\x1b[{code}m{word}\x1b[0m{space}"));
        }
        None => out.push_str(&word),
    }
    wrap(out, &format!("{id}: {}", printable(what)));
    if !fix.is_empty() {
        out.push_str(&" ".repeat(INDENT));
        wrap(out, &format!("fix: {}", printable(fix)));
    }
}

/// Bold red, yellow, cyan, none, green.
const fn colour(severity: Severity) -> Option<&'static str> {
    match severity {
        Severity::Error => Some("1;31"),
        Severity::Warning => Some("33"),
        Severity::Note => Some("36"),
        Severity::Skipped => None,
        Severity::Ok => Some("32"),
    }
}

/// Writes a text from column [`INDENT`] on. What stands between backticks is to be copied, and is never broken.
fn wrap(out: &mut String, text: &str) {
    let mut column = INDENT;
    for (index, word) in words(text).into_iter().enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(INDENT));
            column = INDENT;
        } else if index > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
}

/// What a text can be broken between.
fn words(text: &str) -> Vec<&str> {
    let (mut words, mut start, mut quoted) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '`' => quoted = !quoted,
            ' ' if !quoted => {
                words.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    words.extend(text.get(start..));
    words
}

/// Names and paths from the system may hold anything.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// "good", "2 errors, 1 warning; 3 things could not be looked at".
fn verdict(report: &Report) -> String {
    let plural = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        count => Some(format!("{count} {what}s")),
    };
    let count = report.count;
    let bad: Vec<String> =
        [plural(count.error, "error"), plural(count.warning, "warning")].into_iter().flatten().collect();
    let said = match (bad.is_empty(), count.skipped) {
        (false, _) => bad.join(", "),
        (true, 0) => "good".into(),
        (true, _) => "good, as far as could be seen".into(),
    };
    match plural(count.skipped, "thing") {
        Some(things) => format!("{said}; {things} could not be looked at"),
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity, what: &str, fix: &str) -> Finding {
        Finding { id: "id".into(), severity, what: what.into(), fix: fix.into() }
    }

    fn report(findings: Vec<Finding>) -> Report {
        Report::new("mesh.toml".into(), Some("wg0".into()), findings)
    }

    #[test]
    fn lines_are_filled_and_commands_are_kept_whole() {
        let words = "word ".repeat(20);
        let command =
            "`a command that is to be copied as it is, however long it may be, and it is quite long`";
        let text = render(&report(vec![finding(Severity::Error, words.trim(), command)]), false);
        assert_eq!(
            text,
            format!(
                "error    id: {}\n         {}\n         fix:\n         {command}\n\nwg0: 1 error\n",
                "word ".repeat(13).trim(),
                "word ".repeat(7).trim()
            )
        );
    }

    #[test]
    fn only_the_word_is_coloured() {
        let findings = vec![finding(Severity::Ok, "as it should be", "")];
        assert_eq!(render(&report(findings.clone()), false), "ok       id: as it should be\n\nwg0: good\n");
        assert_eq!(
            render(&report(findings), true),
            "\u{1b}[32mok\u{1b}[0m       id: as it should be\n\nwg0: good\n"
        );
    }

    #[test]
    fn nothing_steers_the_terminal() {
        let text = render(&report(vec![finding(Severity::Note, "a\u{1b}[2Jb\nc", "d\re")]), false);
        assert!(text.starts_with("note     id: a?[2Jb?c\n         fix: d?e\n"), "{text}");
    }

    #[test]
    fn the_verdict_counts() {
        use Severity::{Error, Note, Ok, Skipped, Warning};
        for (severities, expected) in [
            (&[][..], "good"),
            (&[Note, Ok], "good"),
            (&[Skipped], "good, as far as could be seen; 1 thing could not be looked at"),
            (&[Warning], "1 warning"),
            (
                &[Error, Error, Warning, Skipped, Skipped],
                "2 errors, 1 warning; 2 things could not be looked at",
            ),
        ] {
            let report = report(severities.iter().map(|&severity| finding(severity, "", "")).collect());
            assert_eq!(verdict(&report), expected);
            assert_eq!(report.healthy, !severities.contains(&Error));
        }
    }
}
