//! Makes the manual pages and the shell completions of wgautomesh, from what its `--help` prints and from its sample
//! configuration: `cargo manual --out DIR`.
//!
//! Nothing is explained here. What a text has to look like so that more than a text can be made of it is in [`help`] and
//! [`settings`].

mod bash;
mod date;
mod fish;
mod help;
mod mdoc;
mod pages;
mod settings;
mod zsh;

#[cfg(test)]
mod tests;

use std::{fs, io, path::Path, process::ExitCode};

use pages::Document;
use wgautomesh::control::schema::{self, CAUSES, DOCTOR, MAP, STATUS, WHY};

const HELP: &str = "\
Makes the manual pages and the shell completions of wgautomesh.

Usage: cargo manual --out DIR

They are written below DIR as they are installed below /usr. The pages carry the
day of SOURCE_DATE_EPOCH, or today.
";

/// Where each file belongs, below /usr, and how it is made.
fn files() -> Vec<(String, String)> {
    let help = help::read();
    let date = date::today();
    let mut files: Vec<_> = [
        ("share/man/man1/wgautomesh.1", pages::program(&help, &date)),
        ("share/man/man5/wgautomesh.toml.5", pages::configuration(&settings::read(), &date)),
        ("share/bash-completion/completions/wgautomesh", bash::completion(&help)),
        ("share/zsh/vendor-completions/_wgautomesh", zsh::completion(&help)),
        ("share/fish/vendor_completions.d/wgautomesh.fish", fish::completion(&help)),
    ]
    .map(|(name, text)| (name.into(), text))
    .into();
    for document in &documents() {
        let name = format!("share/man/man5/wgautomesh-{}.5", document.command);
        files.push((name, pages::document(document, &date)));
    }
    files
}

/// What is printed for programs.
fn documents() -> [Document; 4] {
    let reasons = schema::reasons().map(|(id, message)| (id, sentence(&message))).collect();
    let causes = CAUSES.iter().map(|(id, text)| (*id, (*text).into())).collect();
    let new = |command, what, fields| Document { command, what, fields, words: None };
    [
        Document {
            words: Some(("Reasons", reasons)),
            ..new("status", "what wgautomesh says of itself, in JSON", STATUS)
        },
        Document {
            words: Some(("Causes", causes)),
            ..new("why", "why a peer is connected or not, in JSON", WHY)
        },
        new("map", "every pair of a mesh, in JSON", MAP),
        new("doctor", "what is wrong with a machine, in JSON", DOCTOR),
    ]
}

/// A clause as a sentence.
fn sentence(clause: &str) -> String {
    let mut letters = clause.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).chain(['.']).collect()
}

fn write(out: &Path) -> io::Result<()> {
    for (name, text) in files() {
        let path = out.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut parser = lexopt::Parser::from_env();
    let mut out = None;
    loop {
        match parser.next() {
            Ok(None) => break,
            Ok(Some(lexopt::Arg::Long("out"))) => match parser.value() {
                Ok(folder) => out = Some(folder),
                Err(error) => return complain(&error),
            },
            Ok(Some(lexopt::Arg::Long("help") | lexopt::Arg::Short('h'))) => {
                print!("{HELP}");
                return ExitCode::SUCCESS;
            }
            Ok(Some(other)) => return complain(&other.unexpected()),
            Err(error) => return complain(&error),
        }
    }
    let Some(out) = out else { return complain(&"--out is missing") };
    match write(Path::new(&out)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manual: {}: {error}", Path::new(&out).display());
            ExitCode::FAILURE
        }
    }
}

fn complain(about: &dyn core::fmt::Display) -> ExitCode {
    eprintln!("manual: {about}\n\n{HELP}");
    ExitCode::from(2)
}
