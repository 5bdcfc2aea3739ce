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

use wgautomesh::control::schema::FIELDS;

const HELP: &str = "\
Makes the manual pages and the shell completions of wgautomesh.

Usage: cargo manual --out DIR

They are written below DIR as they are installed below /usr. The pages carry the
day of SOURCE_DATE_EPOCH, or today.
";

/// Where each file belongs, below /usr, and how it is made.
fn files() -> [(&'static str, String); 6] {
    let help = help::read();
    let date = date::today();
    [
        ("share/man/man1/wgautomesh.1", pages::program(&help, &date)),
        ("share/man/man5/wgautomesh.toml.5", pages::configuration(&settings::read(), &date)),
        ("share/man/man5/wgautomesh-status.5", pages::status(FIELDS, &date)),
        ("share/bash-completion/completions/wgautomesh", bash::completion(&help)),
        ("share/zsh/vendor-completions/_wgautomesh", zsh::completion(&help)),
        ("share/fish/vendor_completions.d/wgautomesh.fish", fish::completion(&help)),
    ]
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
