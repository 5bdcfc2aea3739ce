//! A corpus of configurations: what a program says about each, to the letter.
//!
//! Files in `bad` must be refused (exit status 1) and those in `good` accepted (0). Beside each lies what is printed:
//! `NAME.stderr`, and for the good ones `NAME.stdout`. In the files, `@DIR@` stands for a directory with secrets of all
//! kinds, and a first line `# mode: 644` for the mode of the file.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The files, and what is done with them.
pub(crate) struct Corpus {
    /// Where `bad` and `good` are.
    pub(crate) folder: &'static str,
    /// How the files' names end, with the dot.
    pub(crate) extension: &'static str,
    /// The program that checks them.
    pub(crate) program: &'static str,
    /// Puts a file where the program looks for it, and gives the command.
    pub(crate) place: fn(&Scratch, &Case) -> Vec<String>,
}

/// One file of the corpus.
pub(crate) struct Case {
    /// Where it is kept.
    pub(crate) path: PathBuf,
    /// Its bytes, with `@DIR@` filled in.
    pub(crate) bytes: Vec<u8>,
    /// The mode it wants.
    pub(crate) mode: u32,
}

impl Corpus {
    /// Checks every file of one half; how many there were.
    pub(crate) fn check_all(&self, half: &str, status: i32) -> usize {
        let bless = std::env::var_os("WGAUTOMESH_BLESS").is_some_and(|value| value == "1");
        let corpus = Path::new(self.folder).join(half);
        let directory = Scratch::new(half);
        directory.make_secrets();
        let mut names: Vec<String> = fs::read_dir(&corpus)
            .unwrap()
            .filter_map(|entry| {
                entry.unwrap().file_name().to_str()?.strip_suffix(self.extension).map(str::to_owned)
            })
            .collect();
        names.sort();

        let mut complaints = String::new();
        for name in &names {
            let file = format!("{name}{}", self.extension);
            let source = fs::read(corpus.join(&file)).unwrap();
            let mode = if source.starts_with(b"# mode: ") {
                u32::from_str_radix(core::str::from_utf8(&source[8..11]).unwrap(), 8).unwrap()
            } else {
                0o600
            };
            let here = directory.path().to_str().unwrap();
            let bytes = replace(&source, b"@DIR@", here.as_bytes());
            let command = (self.place)(&directory, &Case { path: corpus.join(&file), bytes, mode });
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            let output = run(self.program, directory.path(), &command);
            if output.status.code() != Some(status) {
                complaints.push_str(&format!("{half}/{file}: {}, not {status}\n", output.status));
            }
            let streams = [("stderr", &output.stderr), ("stdout", &output.stdout)];
            for (stream, said) in streams {
                let said = text(said).replace(here, "@DIR@");
                if half == "bad" && stream == "stdout" {
                    assert_eq!(said, "", "{file}");
                    continue;
                }
                let expected = corpus.join(format!("{name}.{stream}"));
                if bless {
                    fs::write(&expected, &said).unwrap();
                }
                let wanted = fs::read_to_string(&expected).unwrap_or_default();
                if said != wanted {
                    complaints.push_str(&format!("{half}/{name}.{stream}:\n{}", diff(&wanted, &said)));
                }
            }
        }
        assert!(
            complaints.is_empty(),
            "\n{complaints}\nIf this is meant, run again with WGAUTOMESH_BLESS=1."
        );
        names.len()
    }
}

/// What a program says in a directory.
pub(crate) fn run(program: &str, directory: &Path, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env_remove("CREDENTIALS_DIRECTORY")
        .output()
        .unwrap()
}

/// `run` says what `check` says about a bad configuration, but for the verdict at the end, and fails as it does.
pub(crate) fn refused_alike(ran: &Output, checked: &Output) {
    assert_eq!((ran.status.code(), &*text(&ran.stdout)), (checked.status.code(), ""));
    let expected: Vec<String> = text(&checked.stderr).lines().map(str::to_owned).collect();
    let said: Vec<String> = text(&ran.stderr).lines().map(str::to_owned).collect();
    assert_eq!(said[..], expected[..expected.len() - 1]);
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("what is printed is UTF-8")
}

fn replace(source: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// The lines that differ: messages are one line each, so lines are compared in order.
fn diff(wanted: &str, said: &str) -> String {
    let (wanted, said): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), said.lines().collect());
    let mut out = String::new();
    for line in wanted.iter().filter(|line| !said.contains(line)) {
        out.push_str(&format!("  - {line}\n"));
    }
    for line in said.iter().filter(|line| !wanted.contains(line)) {
        out.push_str(&format!("  + {line}\n"));
    }
    if out.is_empty() { "  the same lines in another order or number\n".into() } else { out }
}

/// A directory of one test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("config-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8], mode: u32) {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    fn make_secrets(&self) {
        fs::create_dir_all(self.0.join("secrets")).unwrap();
        let good = "R2jb5dvlSKnD0OzWcT2nC8n1";
        for (name, content, mode) in [
            ("good", format!("{good}\n").into_bytes(), 0o600),
            ("empty", Vec::new(), 0o600),
            ("newline", b"\r\n\n".to_vec(), 0o600),
            ("random", vec![0xff; 32], 0o600),
            ("large", vec![b'x'; 64 * 1024 + 1], 0o600),
            ("exposed", format!("{good}\n").into_bytes(), 0o644),
            ("group", format!("{good}\n").into_bytes(), 0o640),
            ("crlf", format!("{good}\r\n").into_bytes(), 0o600),
            ("lines", format!("{good}\n{good}\n").into_bytes(), 0o600),
            ("short", b"123456789012345\n".to_vec(), 0o600),
        ] {
            self.write(&format!("secrets/{name}"), &content, mode);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
