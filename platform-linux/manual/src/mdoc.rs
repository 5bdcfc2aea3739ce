//! The language of manual pages, mdoc(7): what a text looks like in it.

/// The widest line of text that a page has in its source.
const WIDTH: usize = 78;

/// A text as lines of text, a sentence on a line of its own, as the formatter wants it to know where sentences end.
pub(crate) fn text(text: &str) -> String {
    let mut lines = String::new();
    for sentence in sentences(text) {
        let mut width = 0;
        for word in sentence.split(' ') {
            let word = escaped(word);
            if width > 0 && width + 1 + word.len() > WIDTH {
                lines.push('\n');
                width = 0;
            }
            if width > 0 {
                lines.push(' ');
                width += 1;
            } else if word.starts_with(['.', '\'']) {
                // No macro.
                lines.push_str("\\&");
            }
            width += word.len();
            lines.push_str(&word);
        }
        lines.push('\n');
    }
    lines
}

fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut start = 0;
    for (end, _) in text.match_indices(['.', ':', '?']) {
        let mut after = text.get(end + 1..).unwrap_or_default().chars();
        let ends = text.get(end..).is_some_and(|rest| !rest.starts_with(':'));
        if ends && after.next() == Some(' ') && after.next().is_some_and(|c| c.is_uppercase() || c == '`') {
            sentences.push(text.get(start..=end).unwrap_or_default());
            start = end + 2;
        }
    }
    sentences.push(text.get(start..).unwrap_or_default());
    sentences
}

/// Characters that mean something else, and what is quoted as code.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open = false;
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '"' => out.push_str("\\(dq"),
            '`' => {
                out.push_str(if open { "\\(cq" } else { "\\(oq" });
                open = !open;
            }
            _ => out.push(c),
        }
    }
    out
}

/// A line of an example.
pub(crate) fn example(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    if line.starts_with(['.', '\'']) { format!("\\&{line}\n") } else { line + "\n" }
}

/// Words of a command line as arguments of a macro: options, placeholders, words as they are.
pub(crate) fn words(line: &str) -> String {
    let spaced = line.replace(',', " , ");
    let words = spaced.split_whitespace().map(|word| match word.strip_prefix('-') {
        Some(option) => format!("Fl {}", option.replace('-', "\\-")),
        None if word == "," || word == "|" => word.into(),
        None if word.starts_with(|c: char| c.is_uppercase()) => format!("Ar {word}"),
        None => format!("Cm {}", word.replace('-', "\\-")),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A command line as a synopsis: the program, then each part on a line of its own.
pub(crate) fn synopsis(line: &str) -> String {
    let mut out = String::from(".Nm\n");
    let mut rest = line.strip_prefix("wgautomesh").unwrap_or(line).trim();
    while !rest.is_empty() {
        let end = if rest.starts_with('[') { rest.find(']') } else { rest.find(" [") };
        let (part, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        match part.strip_prefix('[').and_then(|part| part.strip_suffix(']')) {
            Some(optional) => out.push_str(&format!(".Op {}\n", words(optional))),
            None => out.push_str(&format!(".{}\n", words(part))),
        }
        rest = after.trim();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_a_line() {
        assert_eq!(
            text("One. `Two` is 1.5, e.g. this. .x"),
            "One.\n\\(oqTwo\\(oq is 1.5, e.g. this. .x\n".replace("Two\\(oq", "Two\\(cq")
        );
        assert_eq!(text(".hidden \"x\" a\\b --c"), "\\&.hidden \\(dqx\\(dq a\\eb \\-\\-c\n");
        let long = "word ".repeat(40);
        assert!(text(long.trim()).lines().all(|line| line.len() <= WIDTH));
    }

    #[test]
    fn a_command_line_is_a_synopsis() {
        assert_eq!(
            synopsis("wgautomesh status [--json] [--interface NAME | FILE]"),
            ".Nm\n.Cm status\n.Op Fl \\-json\n.Op Fl \\-interface Ar NAME | Ar FILE\n"
        );
        assert_eq!(synopsis("wgautomesh import FILE.conf"), ".Nm\n.Cm import Ar FILE.conf\n");
        assert_eq!(words("-i, --interface NAME"), "Fl i , Fl \\-interface Ar NAME");
    }
}
