//! What `--help` prints, read back: paragraphs, lists, options, commands.
//!
//! A text consists of paragraphs with an empty line between them. What a paragraph is shows in its form:
//!
//! | begins with | is |
//! |---|---|
//! | `Usage:` | one command line on each line; or, with nothing behind it, a list of them |
//! | `Exit status:` | just that |
//! | a line that ends in `:`, with indented ones below | a list with a title |
//! | two blanks | a list: a term, two blanks or more, and its text, which goes on further to the right |
//! | four blanks | an example, to the letter |
//! | anything else | text |

/// The help of one command, or of the whole.
pub(crate) struct Page {
    /// `None` for the whole.
    pub(crate) command: Option<&'static str>,
    /// Command lines: `wgautomesh status [--json]`.
    pub(crate) usage: Vec<String>,
    pub(crate) blocks: Vec<Block>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Block {
    Text(String),
    Example(Vec<String>),
    List { title: Option<String>, items: Vec<Item> },
    ExitStatus(String),
}

/// What is explained, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) term: String,
    pub(crate) text: String,
}

/// An option with all its spellings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flag {
    /// `-i`
    pub(crate) short: Option<String>,
    /// `--interface`
    pub(crate) long: String,
    /// `NAME`
    pub(crate) value: Option<String>,
    pub(crate) text: String,
}

/// All of it.
pub(crate) struct Help {
    pub(crate) whole: Page,
    pub(crate) commands: Vec<Page>,
}

/// The program's help.
pub(crate) fn read() -> Help {
    let mut pages = wgautomesh::cli::help().map(|(command, text)| page(command, text));
    let whole = pages.next().expect("the help of the whole comes first");
    Help { whole, commands: pages.collect() }
}

fn page(command: Option<&'static str>, text: &str) -> Page {
    let mut page = Page { command, usage: Vec::new(), blocks: Vec::new() };
    for paragraph in text.trim_end().split("\n\n") {
        let lines: Vec<&str> = paragraph.lines().collect();
        let first = lines.first().copied().unwrap_or_default();
        if let Some(rest) = first.strip_prefix("Usage: ") {
            page.usage =
                [rest].iter().chain(lines.get(1..).unwrap_or_default()).map(|l| l.trim().into()).collect();
        } else if let Some(status) = paragraph.strip_prefix("Exit status: ") {
            page.blocks.push(Block::ExitStatus(joined(status)));
        } else if first.starts_with("    ") {
            page.blocks.push(Block::Example(lines.iter().map(|line| line.trim().to_owned()).collect()));
        } else if first.starts_with("  ") {
            page.blocks.push(Block::List { title: None, items: items(&lines) });
        } else if let Some((title, [below, ..])) = first.strip_suffix(':').zip(lines.get(1..))
            && below.starts_with("  ")
        {
            let items = items(lines.get(1..).unwrap_or_default());
            page.blocks.push(Block::List { title: Some(title.into()), items });
        } else {
            page.blocks.push(Block::Text(joined(paragraph)));
        }
    }
    page
}

fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn items(lines: &[&str]) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for line in lines {
        match (line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')), items.last_mut()) {
            (None, Some(item)) => {
                item.text.push(' ');
                item.text.push_str(line.trim());
            }
            (rest, _) => {
                let rest = rest.unwrap_or(line);
                let (term, text) = rest.split_once("  ").unwrap_or((rest, ""));
                items.push(Item { term: term.into(), text: text.trim().into() });
            }
        }
    }
    items
}

impl Page {
    fn items(&self) -> impl Iterator<Item = &Item> {
        let lists = self.blocks.iter().map(|block| match block {
            Block::List { items, .. } => items.as_slice(),
            _ => &[],
        });
        lists.flatten()
    }

    /// The options that are explained here.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        self.items().filter(|item| item.term.starts_with('-')).map(flag).collect()
    }

    /// The files that it takes: how they are called (`FILE`, `FILE.conf`), if it takes any.
    pub(crate) fn file(&self) -> Option<&str> {
        let words = self.usage.iter().flat_map(|line| line.split([' ', '[', ']', '|']));
        words.into_iter().find(|word| word.starts_with("FILE"))
    }
}

fn flag(item: &Item) -> Flag {
    let mut flag = Flag { short: None, long: String::new(), value: None, text: item.text.clone() };
    for word in item.term.split([' ', ',']).filter(|word| !word.is_empty()) {
        if word.starts_with("--") {
            flag.long = word.into();
        } else if word.starts_with('-') {
            flag.short = Some(word.into());
        } else {
            flag.value = Some(word.into());
        }
    }
    flag
}

impl Flag {
    /// The names of it, as they are typed.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.short.as_deref().into_iter().chain([self.long.as_str()])
    }
}

impl Help {
    /// What a command does, in a few words: as the usage of the whole has it.
    pub(crate) fn summary(&self, command: &str) -> &str {
        let line = format!("wgautomesh {command}");
        let found = self.usage().iter().find(|item| {
            item.term.strip_prefix(&line).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        });
        found.map_or("", |item| &item.text)
    }

    /// The command lines there are, each with what it does.
    pub(crate) fn usage(&self) -> &[Item] {
        let mut lists = self.whole.blocks.iter().filter_map(|block| match block {
            Block::List { title: Some(title), items } if title == "Usage" => Some(items.as_slice()),
            _ => None,
        });
        lists.next().unwrap_or_default()
    }

    /// What goes with every command: `--help` and the like.
    pub(crate) fn common(&self) -> Vec<Flag> {
        self.whole.flags()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_apart() {
        let text = "Shows\nall.\n\nUsage: wgautomesh show [--json] [-i NAME | FILE]\n       wgautomesh [FILE]\n\n  -i, --interface NAME   of\n                         this\n  FILE                   read\n\n    show | less\n\nEnvironment:\n  LOG    how much\n\nExit status: 0 shown;\n1 not.\n";
        let page = page(Some("show"), text);
        assert_eq!(page.usage, ["wgautomesh show [--json] [-i NAME | FILE]", "wgautomesh [FILE]"]);
        let item = |term: &str, text: &str| Item { term: term.into(), text: text.into() };
        assert_eq!(
            page.blocks,
            [
                Block::Text("Shows all.".into()),
                Block::List {
                    title: None,
                    items: vec![item("-i, --interface NAME", "of this"), item("FILE", "read")]
                },
                Block::Example(vec!["show | less".into()]),
                Block::List { title: Some("Environment".into()), items: vec![item("LOG", "how much")] },
                Block::ExitStatus("0 shown; 1 not.".into()),
            ]
        );
        let flag = Flag {
            short: Some("-i".into()),
            long: "--interface".into(),
            value: Some("NAME".into()),
            text: "of this".into(),
        };
        assert_eq!(page.flags(), [flag]);
        assert_eq!(page.file(), Some("FILE"));
    }

    #[test]
    fn every_command_has_a_summary_and_a_usage() {
        let help = read();
        assert!(help.commands.len() >= 6);
        for page in &help.commands {
            let command = page.command.unwrap();
            assert!(!help.summary(command).is_empty(), "{command}");
            assert!(!page.usage.is_empty(), "{command}");
        }
        let common: Vec<String> = help.common().iter().map(|flag| flag.long.clone()).collect();
        assert_eq!(common, ["--help", "--version"]);
    }
}
