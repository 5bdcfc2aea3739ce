//! The sample configuration, read back: what can be set, with its explanation.
//!
//! It consists of paragraphs with an empty line between them. Lines that begin with `# ` are text; one below them is a
//! setting, or the heading of a section, with a `#` in front where it is an example.

/// One paragraph.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Paragraph {
    pub(crate) text: String,
    pub(crate) what: What,
}

/// What a paragraph explains.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum What {
    File,
    /// `[[peers]]`
    Section(String),
    /// `gossip_port`, and a value for it.
    Setting(String, String),
}

/// The program's sample.
pub(crate) fn read() -> Vec<Paragraph> {
    paragraphs(wgautomesh::config::SAMPLE)
}

fn paragraphs(sample: &str) -> Vec<Paragraph> {
    sample.trim_end().split("\n\n").map(paragraph).collect()
}

fn paragraph(text: &str) -> Paragraph {
    let mut paragraph = Paragraph { text: String::new(), what: What::File };
    for line in text.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            if !paragraph.text.is_empty() {
                paragraph.text.push(' ');
            }
            paragraph.text.push_str(text);
            continue;
        }
        let line = line.strip_prefix('#').unwrap_or(line);
        paragraph.what = match line.split_once(" = ") {
            Some((key, value)) => What::Setting(key.into(), value.into()),
            None => What::Section(line.into()),
        };
    }
    paragraph
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_taken_apart() {
        let sample = "# What this\n# is.\n\n# A port.\nport = 7\n\n# Others.\n#[[peers]]\n\n# Its name.\n#name = \"x\"\n";
        let paragraph = |text: &str, what| Paragraph { text: text.into(), what };
        let setting = |key: &str, value: &str| What::Setting(key.into(), value.into());
        assert_eq!(
            paragraphs(sample),
            [
                paragraph("What this is.", What::File),
                paragraph("A port.", setting("port", "7")),
                paragraph("Others.", What::Section("[[peers]]".into())),
                paragraph("Its name.", setting("name", "\"x\"")),
            ]
        );
    }

    #[test]
    fn everything_is_explained() {
        for paragraph in read() {
            assert!(paragraph.text.len() > 10 && paragraph.text.ends_with('.'), "{paragraph:?}");
        }
    }
}
