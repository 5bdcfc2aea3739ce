//! The daemon confines itself: once what it needs is open, it can start no program, write no file but what it keeps, and make no
//! call that it has no use for. What gets hold of it by a fault of ours, from the network say, has no more than that.
//!
//! | by | what fails from then on |
//! |---|---|
//! | Landlock (Linux 5.13) | opening a file for writing, and making, moving or removing one, but below the folders of the control socket and of `persist_file`; starting a program; signals to other processes |
//! | seccomp | calls to start a program, to look into others, to mount, to load modules, and the like: [`seccomp::DENIED`] |
//!
//! Reading stays as it is: the configuration is read again on a reload, and the C library's resolver reads what it likes.
//! A kernel without the one or the other is no fault, and is said. Both are tried out at once: what is to fail is attempted,
//! and that it does is what is logged.
//!
//! Both hold for the calling thread and those that it starts, so it comes before any other thread.

// A call of the system that is to fail.
#![allow(unsafe_code)]

mod files;
mod seccomp;

use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use crate::{config::Config, control, store::folder_of};

/// What came of it.
#[derive(Debug)]
struct Confined {
    /// That files elsewhere cannot be written, or why not.
    files: Result<(), String>,
    /// That programs cannot be started, or why not.
    calls: Result<(), String>,
}

/// Confines the daemon of a configuration for good, and logs what came of it.
pub(crate) fn enter(config: &Config) {
    let folders = folders(config);
    let Confined { files, calls } = confine(&folders);
    match files {
        Ok(()) => {
            let shown: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
            log::debug!("Landlock: nothing is written but below {}", shown.join(", "));
        }
        Err(why) => log::info!("not confined by Landlock: {why}"),
    }
    match calls {
        Ok(()) => log::debug!("seccomp: no programs are started"),
        Err(why) => log::info!("not confined by seccomp: {why}"),
    }
}

/// The folders that the daemon writes into.
fn folders(config: &Config) -> Vec<PathBuf> {
    let persist = config.persist_file().map(folder_of);
    // Without a folder for it there is no control socket to be taken away at the end.
    let control = Some(control::directory()).filter(|folder| folder.is_dir());
    control.into_iter().chain(persist).collect()
}

fn confine(folders: &[PathBuf]) -> Confined {
    Confined {
        files: files::restrict(folders).and_then(|()| writing_fails()),
        calls: seccomp::restrict().map_err(|error| error.to_string()).and_then(|()| starting_fails()),
    }
}

/// Tries what Landlock forbids. Everybody may write there, so that it is Landlock that says no.
fn writing_fails() -> Result<(), String> {
    match OpenOptions::new().write(true).open(Path::new("/dev/null")) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(format!("it could not be tried out: /dev/null: {error}")),
        Ok(_) => Err("it is on, and files can be written all the same".into()),
    }
}

/// Tries what seccomp forbids: to start the program at no address at all, which fails in any case, but not for this reason.
fn starting_fails() -> Result<(), String> {
    let none = core::ptr::null::<libc::c_char>();
    // SAFETY: without a filter the kernel finds nothing at the address 0 and says so.
    unsafe { libc::syscall(libc::SYS_execve, none, none, none) };
    match io::Error::last_os_error().raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM) => Ok(()),
        _ => Err("it is on, and programs can be started all the same".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{FileStore, Saved, Store as _};
    use std::{fs, process::Command, thread};

    /// In a thread: what is given up is given up by it alone.
    fn confined<T: Send + 'static>(folder: &Path, act: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let folder = folder.to_owned();
        let act = move || {
            let Confined { files, calls } = confine(&[folder]);
            let reason = [files.err(), calls.err()].into_iter().flatten().next();
            match reason {
                None => Some(act()),
                Some(reason) => {
                    assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}");
                    eprintln!("skipped: {reason}");
                    None
                }
            }
        };
        thread::spawn(act).join().expect("no panic")
    }

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("wgautomesh-sandbox-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_state_is_kept_and_nothing_else_is_written() {
        let (own, other) = (Scratch::new("own"), Scratch::new("other"));
        fs::write(other.0.join("there"), "as it was").unwrap();
        let (state, elsewhere) = (own.0.join("state"), other.0.clone());
        let result = confined(&own.0, move || {
            let mut store = FileStore::new(&state);
            assert_eq!(store.save("some").unwrap(), Saved::Written);
            // What is no state file is moved aside, within the folder.
            assert!(matches!(store.save("more").unwrap(), Saved::SetAside(_)));
            assert_eq!(fs::read_to_string(&state).unwrap(), "more");
            fs::remove_file(&state).unwrap();

            let denied = |result: io::Result<()>| {
                assert_eq!(result.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            };
            denied(fs::write(elsewhere.join("new"), "x"));
            denied(fs::write(elsewhere.join("there"), "x"));
            denied(fs::remove_file(elsewhere.join("there")));
            denied(fs::rename(elsewhere.join("there"), elsewhere.join("moved")));
            denied(fs::create_dir(elsewhere.join("folder")));
            denied(std::os::unix::fs::symlink("there", elsewhere.join("link")));
            assert!(FileStore::new(&elsewhere.join("state")).save("some").is_err());
            // Reading is as before.
            assert_eq!(fs::read_to_string(elsewhere.join("there")).unwrap(), "as it was");
        });
        if result.is_some() {
            assert_eq!(fs::read_to_string(other.0.join("there")).unwrap(), "as it was");
            assert_eq!(fs::read_dir(&other.0).unwrap().count(), 1);
        }
    }

    #[test]
    fn no_program_is_started_not_even_by_a_thread_of_it() {
        let own = Scratch::new("exec");
        confined(&own.0, || {
            let start = || Command::new("/bin/true").status().map(drop);
            assert_eq!(start().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            let by_another = thread::spawn(start).join().unwrap();
            assert_eq!(by_another.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        });
    }

    #[test]
    fn what_the_daemon_does_goes_on() {
        let own = Scratch::new("work");
        confined(&own.0, || {
            crate::resolve::system("localhost", 1).expect("names are looked up");
            let errands = crate::errands::Errands::new().expect("a descriptor");
            errands.begin("work", 64 * 1024, || 7).expect("threads are started");
            std::net::UdpSocket::bind("127.0.0.1:0").expect("sockets are made");
            crate::watch::Watch::links(&mut crate::watch::Rtnetlink::new("wg0").expect("rtnetlink"))
                .expect("links");
        });
    }

    #[test]
    fn a_folder_that_is_not_there_is_no_reason_to_lose_it_later() {
        let error =
            thread::spawn(|| files::restrict(&["/nowhere/at/all".into()])).join().unwrap().unwrap_err();
        assert!(error.starts_with("/nowhere/at/all"), "{error}");
    }

    /// Before it is confined, what is tried does not fail: else the trial would prove nothing.
    #[test]
    fn the_trials_tell() {
        assert!(writing_fails().is_err());
        assert!(starting_fails().is_err());
    }
}
