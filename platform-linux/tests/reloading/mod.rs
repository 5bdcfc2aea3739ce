//! A daemon that is to go by its file as it is now: by its command, by SIGHUP, and where it may not read the file itself.

use crate::serving::Directory;
use crate::text;
use core::time::Duration;
use rustix::process::{Pid, Signal, kill_process};

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

/// Whoever waits longer than this waits in vain.
const PATIENCE: Duration = Duration::from_secs(60);
const PARIS: &str = "pubkey = \"o+uvbKOyDG2IaGKsRLsN2uBac6WqhXTW3+BPI+1poxQ=\"\naddress = \"10.14.0.1\"\n";

/// A daemon for an interface that is not there, which needs no rights; it ends with the test.
struct Running {
    directory: Directory,
    daemon: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

fn top(directory: &Directory) -> String {
    format!("interface = \"wg-none\"\ngossip_secret_file = \"{}\"\n", directory.0.join("secret").display())
}

impl Running {
    /// With a file that has no peers. `credentials`: it is given copies of its files, as by a service manager.
    fn new(credentials: bool) -> Self {
        let directory = Directory::new();
        write(&directory.0.join("secret"), "0123456789abcdef\n");
        let file = directory.0.join("mesh.toml");
        write(&file, &top(&directory));
        let mut command = Command::new(crate::PROGRAM);
        command.arg("run").arg(&file).env("WGAUTOMESH_RUNTIME_DIR", &directory.0);
        if credentials {
            let copies = directory.0.join("copies");
            fs::create_dir(&copies).unwrap();
            for name in ["secret", "mesh.toml"] {
                fs::copy(directory.0.join(name), copies.join(name)).unwrap();
            }
            command.env("CREDENTIALS_DIRECTORY", copies);
        }
        let log = File::create(directory.0.join("log")).unwrap();
        let daemon = command.stderr(Stdio::from(log)).spawn().unwrap();
        let running = Self { directory, daemon };
        running.until(|running| running.ask(&["status"]).status.success());
        running
    }

    fn file(&self) -> PathBuf {
        self.directory.0.join("mesh.toml")
    }

    fn write(&self, more: &str) {
        write(&self.file(), &(top(&self.directory) + more));
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(crate::PROGRAM);
        command.args(arguments).env("WGAUTOMESH_RUNTIME_DIR", &self.directory.0);
        // As a command of a unit has it too.
        let copies = self.directory.0.join("copies");
        if copies.exists() {
            command.env("CREDENTIALS_DIRECTORY", copies);
        }
        command.output().unwrap()
    }

    /// What the command says, with the file as FILE: its exit status, its output, its complaints.
    fn reload(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = self.ask(&[&["reload"], arguments].concat());
        let plain = |bytes| text(bytes).replace(&*self.file().to_string_lossy(), "FILE");
        (output.status.code(), plain(&output.stdout), plain(&output.stderr))
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.directory.0.join("log")).unwrap();
        log.replace(&*self.file().to_string_lossy(), "FILE")
    }

    fn until(&self, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < end, "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How many peers the status lists.
    fn peers(&self) -> usize {
        let status: serde_json::Value =
            serde_json::from_slice(&self.ask(&["status", "--json"]).stdout).unwrap();
        status["peers"].as_array().unwrap().len()
    }
}

fn done(text: &str) -> (Option<i32>, String, String) {
    (Some(0), text.to_owned(), String::new())
}

fn refused(text: &str) -> (Option<i32>, String, String) {
    (Some(1), String::new(), text.to_owned())
}

#[test]
fn a_good_file_is_gone_by_and_a_bad_one_is_not() {
    let running = Running::new(false);
    assert_eq!(running.reload(&[]), unchanged(&running));
    running.write(&format!("[[peers]]\n{PARIS}name = \"paris\"\n"));
    assert_eq!(
        running.reload(&["-i", "wg-none"]),
        done("wg-none: reloaded: peers: 1 added (paris); nothing else\n")
    );
    assert_eq!(running.peers(), 1);

    running.write(&format!("persist_file = \"x\"\n[[peers]]\n{PARIS}\n[[peers]]\n{PARIS}"));
    let findings = "FILE:3:16: error: persist_file: is \"x\", and this daemon's is none; fix: restart wgautomesh with \
                    this file, which costs no session; or put it back\n\
                    FILE:9:10: error: peers.pubkey: o+uvbKOy... is also the key of the peer at line 5; fix: remove one \
                    of the two entries, or give each node its own key\n\
                    FILE:10:11: error: peers.address: 10.14.0.1 is also the address of the peer at line 6: WireGuard \
                    sends to only one of them; fix: give each peer its own address inside the mesh\n";
    let complaint = format!("{findings}wg-none: goes on as it was: 3 errors\n");
    for arguments in [&[][..], &[&*running.file().to_string_lossy()]] {
        assert_eq!(running.reload(arguments), refused(&complaint));
    }
    assert_eq!(running.peers(), 1);
    // It is in the log too, as often as it was wanted.
    let log = running.log();
    for line in findings.lines() {
        assert_eq!(log.matches(line).count(), 2, "{line}\n{log}");
    }
    assert!(log.contains("wg-none: reloaded: peers: 1 added (paris); nothing else"), "{log}");

    running.write(&format!("[[peers]]\n{PARIS}name = \"roma\"\n"));
    write(&running.directory.0.join("secret"), "another secret of it\n");
    assert_eq!(
        running.reload(&[&*running.file().to_string_lossy()]),
        done("wg-none: reloaded: names: 1 changed (roma); secret: changed; nothing else\n")
    );
}

/// No change yet, with the warning that there is no peer.
fn unchanged(running: &Running) -> (Option<i32>, String, String) {
    let check = running.ask(&["check", &running.file().to_string_lossy()]);
    let warning = text(&check.stderr).replace(&*running.file().to_string_lossy(), "FILE");
    assert!(warning.contains("there is no peer"), "{warning}");
    done(&format!("{warning}wg-none: reloaded: nothing has changed\n"))
}

#[test]
fn sighup_does_the_same() {
    let running = Running::new(false);
    let hang_up = || kill_process(Pid::from_child(&running.daemon), Signal::HUP).unwrap();
    running.write(&format!("[[peers]]\n{PARIS}"));
    hang_up();
    running.until(|running| {
        running.log().contains("wg-none: reloaded: peers: 1 added (o+uvbKOy); nothing else")
    });
    assert_eq!(running.peers(), 1);
    running.write("[[peers]\n");
    hang_up();
    running.until(|running| running.log().contains("wg-none: not reloaded: 1 error"));
    assert!(running.log().contains("FILE:3:"), "{}", running.log());
    assert_eq!(running.peers(), 1);
}

/// A daemon that a service manager has given copies goes by the files themselves, if somebody who may read them hands them
/// over; and says that it cannot by itself.
#[test]
fn a_daemon_with_copies_is_handed_the_files() {
    let running = Running::new(true);
    running.write(&format!("[[peers]]\n{PARIS}"));
    let copied = "the service manager has copied it for this daemon at the start, and does not copy it again; fix: use \
                  `systemctl reload`, or `wgautomesh reload FILE` as root\n";
    assert_eq!(
        running.reload(&[]),
        refused(&format!("FILE: error: cannot be read: {copied}wg-none: goes on as it was: 1 error\n"))
    );
    assert_eq!(running.peers(), 0);

    let file = running.file().to_string_lossy().into_owned();
    assert_eq!(
        running.reload(&[&file]),
        done("wg-none: reloaded: peers: 1 added (o+uvbKOy); nothing else\n")
    );
    assert_eq!(running.peers(), 1);
    write(&running.directory.0.join("secret"), "another secret of it\n");
    assert_eq!(running.reload(&[&file]), done("wg-none: reloaded: secret: changed; nothing else\n"));

    // One that is not there any more is not what it was at the start.
    fs::remove_file(running.directory.0.join("secret")).unwrap();
    let (status, _, complaint) = running.reload(&[&file]);
    assert_eq!(status, Some(1));
    assert!(
        complaint.contains("FILE:2:22: error: gossip_secret_file:") && complaint.contains("no such file"),
        "{complaint}"
    );
}
