//! The manual pages.

use wgautomesh::control::schema::{Absent, Field};

use crate::{
    help::{Block, Help, Item, Page},
    mdoc::{escaped, example, synopsis, text, words},
    settings::{Paragraph, What},
};

/// The commands whose documents have pages, as manuals list them.
const DOCUMENTS: [&str; 4] = ["doctor", "map", "status", "why"];

/// wgautomesh(1)
pub(crate) fn program(help: &Help, date: &str) -> String {
    let mut page = head("WGAUTOMESH 1", date);
    let mut blocks = help.whole.blocks.iter();
    let first = match blocks.next() {
        Some(Block::Text(text)) => text.trim_start_matches("wgautomesh ").trim_end_matches('.'),
        _ => "",
    };
    page.push_str(&format!(".Sh NAME\n.Nm wgautomesh\n.Nd {}\n.Sh SYNOPSIS\n", escaped(first)));
    for item in help.usage() {
        page.push_str(&synopsis(&item.term));
    }
    page.push_str(".Sh DESCRIPTION\n");
    let mut sections = String::new();
    let mut status = String::new();
    for block in blocks {
        match block {
            Block::List { title: Some(title), .. } if title == "Usage" => {}
            Block::List { title: Some(title), items } => {
                sections.push_str(&format!(".Sh {}\n{}", title.to_uppercase(), list(items)));
            }
            Block::ExitStatus(said) => status = format!(".Sh EXIT STATUS\n{}", text(said)),
            other => page.push_str(&self::block(other)),
        }
    }
    let (options, environment) =
        sections.split_at(sections.find(".Sh ENVIRONMENT").unwrap_or(sections.len()));
    page.push_str(options);
    page.push_str(".Sh COMMANDS\n");
    for command in &help.commands {
        page.push_str(&self::command(command));
    }
    page.push_str(environment);
    page.push_str(
        ".Sh FILES\n.Bl -tag -width Ds\n\
         .It Pa /etc/wgautomesh.toml\nThe configuration where no other is named, see\n.Xr wgautomesh.toml 5 .\n.El\n",
    );
    page.push_str(&status);
    let documents: String = DOCUMENTS.map(|document| format!(".Xr wgautomesh-{document} 5 ,\n")).concat();
    page.push_str(&format!(".Sh SEE ALSO\n{documents}.Xr wgautomesh.toml 5 ,\n.Xr wg 8 ,\n.Xr wg-quick 8\n"));
    page
}

/// wgautomesh.toml(5)
pub(crate) fn configuration(paragraphs: &[Paragraph], date: &str) -> String {
    let mut page = head("WGAUTOMESH.TOML 5", date);
    page.push_str(".Sh NAME\n.Nm wgautomesh.toml\n.Nd configuration of wgautomesh\n.Sh DESCRIPTION\n");
    page.push_str("A file in the format TOML, read by\n.Xr wgautomesh 1 .\n");
    let mut listing = false;
    let end = |page: &mut String, listing: &mut bool| {
        if core::mem::take(listing) {
            page.push_str(".El\n");
        }
    };
    for Paragraph { text: explanation, what } in paragraphs {
        match what {
            What::File => {
                end(&mut page, &mut listing);
                page.push_str(&text(explanation));
            }
            What::Section(name) => {
                end(&mut page, &mut listing);
                page.push_str(&format!(".Ss {}\\&\n{}", escaped(name), text(explanation)));
            }
            What::Setting(key, value) => {
                if !core::mem::replace(&mut listing, true) {
                    page.push_str(".Bl -tag -width Ds\n");
                }
                page.push_str(&format!(".It Ic {key} No = Ar {}\n{}", argument(value), text(explanation)));
            }
        }
    }
    end(&mut page, &mut listing);
    page.push_str(".Sh SEE ALSO\n.Xr wgautomesh 1\n");
    page
}

/// A document that a command prints with `--json`.
pub(crate) struct Document {
    /// Its command.
    pub(crate) command: &'static str,
    /// What it is, for the page's first line.
    pub(crate) what: &'static str,
    pub(crate) fields: &'static [Field],
    /// A heading, and words with what each of them means.
    pub(crate) words: Option<(&'static str, Vec<(&'static str, String)>)>,
}

/// wgautomesh-status(5) and the like
pub(crate) fn document(document: &Document, date: &str) -> String {
    let Document { command, what, fields, words } = document;
    let mut page = head(&format!("WGAUTOMESH-{} 5", command.to_uppercase()), date);
    page.push_str(&format!(
        ".Sh NAME\n.Nm wgautomesh-{command}\n.Nd {}\n.Sh DESCRIPTION\n\
         One document on one line, printed by\n.Ic wgautomesh {command} \\-\\-json .\n",
        escaped(what)
    ));
    page.push_str(&text(
        "Fields may be added; those that are here keep their meaning as long as the version stays. Behind a name, [] stands for \
         each element of a list.",
    ));
    page.push_str(".Bl -tag -width Ds\n");
    for Field { path, kind, absent, text: explanation } in *fields {
        let absent = match absent {
            Absent::Null(when) => format!(" It is null {when}."),
            Absent::LeftOut(when) => format!(" It is left out {when}."),
            _ => String::new(),
        };
        let kind = kind.as_str();
        page.push_str(&format!(
            ".It Ic {} Pq {kind}\n{}",
            argument(path),
            text(&format!("{explanation}{absent}"))
        ));
    }
    page.push_str(".El\n");
    if let Some((heading, words)) = words {
        page.push_str(&format!(".Ss {}\n.Bl -tag -width Ds\n", escaped(heading)));
        for (word, explanation) in words {
            page.push_str(&format!(".It Ic {}\n{}", argument(word), text(explanation)));
        }
        page.push_str(".El\n");
    }
    let others = DOCUMENTS.into_iter().filter(|other| other != command);
    let others: String = others.map(|other| format!(".Xr wgautomesh-{other} 5 ,\n")).collect();
    page.push_str(&format!(".Sh SEE ALSO\n.Xr wgautomesh 1 ,\n{}", others.trim_end_matches(" ,\n")));
    page.push('\n');
    page
}

/// A value as one argument of a macro.
fn argument(value: &str) -> String {
    format!("\"{}\"", escaped(value))
}

fn head(title: &str, date: &str) -> String {
    format!(
        ".\\\" Made by `cargo manual` from what --help prints and from the sample configuration.\n\
         .Dd {date}\n.Dt {title}\n.Os\n"
    )
}

fn command(page: &Page) -> String {
    let mut out = format!(".Ss {}\n", page.command.unwrap_or_default());
    for (index, line) in page.usage.iter().enumerate() {
        let synopsis = synopsis(line);
        // Outside of a synopsis the name begins no line by itself.
        out.push_str(if index > 0 { ".br\n" } else { "" });
        out.push_str(&synopsis);
    }
    for block in &page.blocks {
        out.push_str(".Pp\n");
        out.push_str(&self::block(block));
    }
    // A list and an example bring their own distance.
    out.replace(".Pp\n.Bl", ".Bl").replace(".Pp\n.Bd", ".Bd")
}

fn block(block: &Block) -> String {
    match block {
        Block::Text(words) => text(words),
        Block::Example(lines) => {
            let lines: String = lines.iter().map(|line| example(line)).collect();
            format!(".Bd -literal -offset indent\n{lines}.Ed\n")
        }
        Block::List { items, .. } => list(items),
        Block::ExitStatus(status) => text(&format!("Exit status: {status}")),
    }
}

fn list(items: &[Item]) -> String {
    let mut out = String::from(".Bl -tag -width Ds\n");
    for Item { term, text: explanation } in items {
        let term = if term.contains('_') { format!("Ev {term}") } else { words(term) };
        out.push_str(&format!(".It {term}\n{}", text(explanation)));
    }
    out + ".El\n"
}
