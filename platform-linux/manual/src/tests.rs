//! What is made, read by the programs that it is made for.

use crate::{documents, files, help, pages::Document};
use core::sync::atomic::{AtomicU32, Ordering};
use std::{
    collections::BTreeSet,
    env, fs,
    path::PathBuf,
    process::{Command, Output},
};

/// A directory of one test, with everything in it.
struct Made(PathBuf);

impl Made {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("wgautomesh-manual-{}-{number}", std::process::id()));
        crate::write(&path).unwrap();
        Self(path)
    }

    fn path(&self, end: &str) -> PathBuf {
        let name = files().into_iter().map(|(name, _)| name).find(|name| name.ends_with(end)).unwrap();
        self.0.join(name)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a program says, where it is installed. Under CI it has to be.
fn output(command: &mut Command) -> Option<Output> {
    let name = command.get_program().to_owned();
    match command.output() {
        Ok(output) => Some(output),
        Err(error) => {
            assert!(env::var_os("CI").is_none(), "{}: {error}", name.display());
            eprintln!("skipped: {}: {error}", name.display());
            None
        }
    }
}

fn text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap()
}

fn silent(command: &mut Command) {
    let Some(output) = output(command) else { return };
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("", ""), "{command:?}");
    assert!(output.status.success(), "{command:?}");
}

#[test]
fn the_pages_are_clean() {
    let made = Made::new();
    let pages = files().into_iter().map(|(name, _)| name).filter(|name| name.contains("/man/"));
    for page in &pages.collect::<Vec<_>>() {
        if let Some(output) = output(Command::new("mandoc").args(["-T", "lint"]).arg(made.path(page))) {
            // Which pages are installed here is nothing against this one.
            let found =
                text(&output.stdout).lines().filter(|line| !line.contains("referenced manual not found"));
            assert_eq!(found.collect::<Vec<_>>(), [""; 0]);
        }
        // What Debian reads them with.
        let man = &mut Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
            .arg(made.path(page))
            .env("MANWIDTH", "80");
        let Some(output) = output(man) else { continue };
        assert_eq!(text(&output.stderr), "", "{page}");
    }
}

/// What `--help` says is in the page, as a reader sees it.
#[test]
fn the_page_has_every_option_and_every_word() {
    let made = Made::new();
    let mandoc = &mut Command::new("mandoc");
    mandoc.args(["-T", "utf8", "-O", "width=1000"]).arg(made.path("wgautomesh.1"));
    let Some(page) = output(mandoc) else { return };
    // Without what makes it bold.
    let shown: String = {
        let mut shown: Vec<char> = Vec::new();
        for c in text(&page.stdout).chars() {
            if c == '\u{8}' {
                shown.pop();
            } else {
                shown.push(c);
            }
        }
        shown.into_iter().collect()
    };
    let shown: Vec<&str> = shown.split_whitespace().collect();
    let shown = plain(&shown.join(" "));
    for (command, help) in wgautomesh::cli::help() {
        // What each command does is said at length in its own help.
        let (before, rest) = help.split_once("Usage:\n").unwrap_or(("", help));
        let rest = rest.split_once("\n\n").filter(|_| command.is_none()).map_or(rest, |(_, rest)| rest);
        for word in plain(&format!("{before} {rest}")).split_whitespace().filter(|word| *word != "Usage") {
            assert!(shown.split_whitespace().any(|known| known == word), "{command:?}: {word}");
        }
    }
}

/// Words, and options, without punctuation. Titles are in capitals in a page.
fn plain(text: &str) -> String {
    let letters = |c: char| if c.is_alphanumeric() || "-_".contains(c) { c } else { ' ' };
    text.chars()
        .map(letters)
        .collect::<String>()
        .replace("Exit status", "")
        .replace("Options", "")
        .replace("Environment", "")
}

#[test]
fn every_setting_is_in_its_page() {
    let made = Made::new();
    let page = fs::read_to_string(made.path("wgautomesh.toml.5")).unwrap();
    let settings =
        wgautomesh::config::SAMPLE.lines().filter_map(|line| line.trim_start_matches('#').split_once(" = "));
    let keys: Vec<&str> = settings.map(|(key, _)| key).filter(|key| !key.contains(' ')).collect();
    assert!(keys.len() >= 16, "{keys:?}");
    for key in keys {
        assert!(page.contains(&format!("\n.It Ic {key} No = Ar ")), "{key}");
    }
}

#[test]
fn every_field_of_a_document_is_in_its_page() {
    let made = Made::new();
    for Document { command, fields, words, .. } in documents() {
        let page = fs::read_to_string(made.path(&format!("/wgautomesh-{command}.5"))).unwrap();
        for field in fields {
            assert!(page.contains(&format!("\n.It Ic \"{}\" Pq ", field.path)), "{}", field.path);
        }
        for (word, _) in words.into_iter().flat_map(|(_, words)| words) {
            assert!(page.contains(&format!("\n.It Ic \"{}\"\n", word.replace('-', "\\-"))), "{word}\n{page}");
        }
    }
}

/// The options that a text of `--help` has, found without the parser that the files are made with.
fn options_in(help: &str) -> BTreeSet<&str> {
    let words = help.split(|c: char| c.is_whitespace() || "[],=|`".contains(c));
    words.filter(|word| word.len() > 1 && word.starts_with('-')).collect()
}

/// The words that a shell offers.
fn offered(output: &Output) -> BTreeSet<&str> {
    assert_eq!(text(&output.stderr), "");
    text(&output.stdout).lines().map(|line| line.split('\t').next().unwrap_or_default()).collect()
}

/// Asks a shell for its completion of each command with each dash, and of a first word.
fn completes(ask: impl Fn(&[&str]) -> Option<Output>) {
    for (command, help) in wgautomesh::cli::help() {
        let words: Vec<&str> = command.into_iter().collect();
        let mut options = options_in(help);
        options.extend(["-h", "--help", "-V", "--version"]);
        let long = ask(&[&words[..], &["--"]].concat());
        let Some(long) = long else { return };
        let short = ask(&[&words[..], &["-"]].concat()).unwrap();
        let offered: BTreeSet<&str> = offered(&long).union(&offered(&short)).copied().collect();
        assert_eq!(offered, options, "{command:?}");
    }
    let first = ask(&[""]).unwrap();
    for command in wgautomesh::cli::help().filter_map(|(command, _)| command) {
        assert!(offered(&first).contains(command), "{command}");
    }
    let name = ask(&["status", "--interface", "l"]).unwrap();
    assert!(offered(&name).contains("lo"), "{name:?}");
    for (command, file, other) in [("check", "mesh.toml", "wg0.conf"), ("import", "wg0.conf", "mesh.toml")] {
        let files = ask(&[command, ""]).unwrap();
        let at = |wanted: &str| text(&files.stdout).lines().position(|line| line.starts_with(wanted));
        // Some shells offer other files too, after those that fit.
        assert!(
            at(file).is_some_and(|file| at(other).is_none_or(|other| file < other)),
            "{command}: {files:?}"
        );
    }
    assert_eq!(text(&ask(&["genkey", ""]).unwrap().stdout), "");
}

#[test]
fn bash_completes() {
    let made = Made::new();
    let file = made.path("completions/wgautomesh");
    fs::write(made.0.join("mesh.toml"), "").unwrap();
    fs::write(made.0.join("wg0.conf"), "").unwrap();
    silent(Command::new("bash").arg("-n").arg(&file));
    completes(|words| {
        let script = r#"source "$1"; shift; COMP_WORDS=(wgautomesh "$@"); COMP_CWORD=$#; _wgautomesh; printf '%s\n' "${COMPREPLY[@]}""#;
        let bash = &mut Command::new("bash");
        output(bash.args(["--norc", "-c", script, "bash"]).arg(&file).args(words).current_dir(&made.0))
            .map(without_empty)
    });
    // As bash splits it.
    let script = r#"source "$1"; COMP_WORDS=(wgautomesh status --interface = l); COMP_CWORD=4; _wgautomesh; printf '%s\n' "${COMPREPLY[@]}""#;
    let joint = output(Command::new("bash").args(["--norc", "-c", script, "bash"]).arg(&file)).unwrap();
    assert!(offered(&joint).contains("lo"));
}

/// An array without elements is printed as one line.
fn without_empty(mut output: Output) -> Output {
    if output.stdout == b"\n" {
        output.stdout.clear();
    }
    output
}

#[test]
fn fish_completes() {
    let made = Made::new();
    let file = made.path(".fish");
    fs::write(made.0.join("mesh.toml"), "").unwrap();
    fs::write(made.0.join("wg0.conf"), "").unwrap();
    silent(Command::new("fish").arg("-n").arg(&file));
    completes(|words| {
        let line = format!("wgautomesh {}", words.join(" "));
        let fish = &mut Command::new("fish");
        fish.args(["--no-config", "-c", "source $argv[1]; complete -C $argv[2]"]).arg(&file).arg(line);
        output(fish.current_dir(&made.0).env("HOME", &made.0))
    });
}

/// zsh completes on a terminal only: what it is told is looked at.
#[test]
fn zsh_is_told_every_option() {
    let made = Made::new();
    let file = made.path("_wgautomesh");
    silent(Command::new("zsh").arg("-n").arg(&file));
    let told = fs::read_to_string(&file).unwrap();
    for (command, help) in wgautomesh::cli::help() {
        let heading = format!("\n    {})\n", command.unwrap_or("*"));
        let (_, branch) = told.split_once(&heading).unwrap();
        let (branch, _) = branch.split_once(";;").unwrap();
        let mut options = options_in(help);
        options.extend(["-h", "--help", "-V", "--version"]);
        for option in options {
            let spelt = [")", "=", "+", "["].map(|end| format!("{option}{end}"));
            assert!(
                spelt[1..].iter().any(|spelt| branch.contains(&format!("){spelt}"))),
                "{command:?}: {option}"
            );
        }
        if let Some(command) = command {
            let summary = help::read();
            assert!(told.contains(&format!("'{command}:{}'", summary.summary(command))), "{command}");
        }
    }
}
