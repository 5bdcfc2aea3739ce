//! Running a program that lists something: no shell, an absolute path, an empty environment, a time-out.

use core::time::Duration;
use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

/// The most that is read of what it prints: lists of a hundred thousand addresses that are kept out exist.
const LARGEST_OUTPUT: u64 = 32 * 1024 * 1024;

/// Where programs for administrators are.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// The program of this name, if it is installed.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    DIRECTORIES.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.is_file())
}

/// What a program prints.
///
/// # Errors
/// The system's; where it ends with another status than 0, its last words; where it takes longer than `patience`.
pub(super) fn output(program: &Path, arguments: &[&str], patience: Duration) -> io::Result<Vec<u8>> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (tell, told) = mpsc::channel();
    // Both at once: a program that waits for one of them to be read would not end.
    for stream in [0, 1] {
        let tell = tell.clone();
        let mut source: Box<dyn io::Read + Send> = match stream {
            0 => Box::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?),
            _ => Box::new(child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?),
        };
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = source.as_mut().take(LARGEST_OUTPUT).read_to_end(&mut bytes);
            tell.send((stream, read.map(|_| bytes)))
        });
    }
    drop(tell);
    let end = std::time::Instant::now() + patience;
    let mut streams: [io::Result<Vec<u8>>; 2] = [Ok(Vec::new()), Ok(Vec::new())];
    for _ in 0..2 {
        let left = end.saturating_duration_since(std::time::Instant::now());
        match told.recv_timeout(left) {
            Ok((0, read)) => streams[0] = read,
            Ok((_, read)) => streams[1] = read,
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
    let status = child.wait()?;
    let [out, error] = streams;
    if status.success() {
        return out;
    }
    let error = error.unwrap_or_default();
    let last = String::from_utf8_lossy(&error).lines().last().unwrap_or_default().to_owned();
    Err(io::Error::other(if last.is_empty() { status.to_string() } else { last }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn sh(script: &str, patience: Duration) -> io::Result<Vec<u8>> {
        output(&find("sh").expect("every machine has one"), &["-c", script], patience)
    }

    #[test]
    fn what_it_prints_is_what_is_had() {
        assert_eq!(sh("printf all", LONG).expect("output"), b"all");
        assert_eq!(
            sh("yes | head -c 300000; yes | head -c 300000 >&2", LONG).expect("output").len(),
            300_000
        );
        assert_eq!(
            sh("echo $HOME$LC_ALL", LONG).expect("output"),
            b"C\n",
            "nothing else is in its environment"
        );
    }

    #[test]
    fn a_failure_is_told_in_its_own_words() {
        assert_eq!(
            sh("echo first >&2; echo not permitted >&2; exit 3", LONG).unwrap_err().to_string(),
            "not permitted"
        );
        assert_eq!(sh("exit 3", LONG).unwrap_err().to_string(), "exit status: 3");
        assert!(output(Path::new("/nowhere/nft"), &[], LONG).is_err());
        assert_eq!(find("no-such-program-as-this"), None);
    }

    #[test]
    fn one_that_hangs_is_ended() {
        let error = sh("exec sleep 1000", Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
