//! The daemon that runs is confined, with all its threads, and does its work all the same.

#[allow(dead_code, reason = "only its directory is wanted here")]
mod serving;

use core::time::Duration;
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};
use serving::Directory;

const PROGRAM: &str = env!("CARGO_BIN_EXE_wgautomesh");

/// Ends the process with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn soon<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        match look() {
            Some(found) => return found,
            None => assert!(begin.elapsed() < Duration::from_secs(60), "{what} does not come"),
        }
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_daemon_is_confined_and_serves() {
    let directory = Directory::new();
    let inside = |name: &str| directory.0.join(name);
    // An interface that never comes is waited for; a name keeps a thread busy now and then.
    let config = "interface = \"wg-never\"\ngossip_secret = \"0123456789abcdef\"\npersist_file = \"state/file\"\n\
                  [[peers]]\npubkey = \"oaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaE=\"\naddress = \"10.98.0.2\"\n\
                  endpoint = \"localhost:51820\"\n";
    fs::create_dir(inside("state")).unwrap();
    fs::write(inside("mesh.toml"), config).unwrap();
    fs::set_permissions(inside("mesh.toml"), Permissions::from_mode(0o600)).unwrap();
    let command = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(&directory.0).env("WGAUTOMESH_RUNTIME_DIR", inside("run"));
        command
    };
    let log = fs::File::create(inside("log")).unwrap();
    let mut daemon = command(&["run", "mesh.toml"]);
    daemon.env("WGAUTOMESH_LOG", "debug").stdout(Stdio::null()).stderr(log);
    let mut daemon = Running(daemon.spawn().unwrap());

    let log = || fs::read_to_string(inside("log")).unwrap();
    let socket = inside("run/wg-never.sock");
    soon("the control socket", || socket.exists().then_some(()));
    let said = soon("a word about seccomp", || Some(log()).filter(|log| log.contains("seccomp")));
    if said.contains("not confined by") {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{said}");
        eprintln!("skipped: {said}");
        return;
    }
    let run = inside("run").display().to_string();
    assert!(said.contains(&format!("Landlock: nothing is written but below {run}, state")), "{said}");

    let status = command(&["status", "mesh.toml"]).output().unwrap();
    assert!(status.status.success(), "{status:?}");
    // What the process costs is read from /proc, which nobody else may of one that is not to be looked into.
    let metrics = command(&["metrics", "mesh.toml"]).output().unwrap();
    let text = String::from_utf8_lossy(&metrics.stdout);
    assert!(text.contains("\nprocess_resident_memory_bytes "), "{metrics:?}");
    for thread in fs::read_dir(format!("/proc/{}/task", daemon.0.id())).unwrap() {
        // One may have ended meanwhile.
        let Ok(status) = fs::read_to_string(thread.unwrap().path().join("status")) else { continue };
        for line in ["NoNewPrivs:\t1\n", "Seccomp:\t2\n"] {
            assert!(status.contains(line), "{line}{status}");
        }
    }

    let pid = Pid::from_child(&daemon.0);
    kill_process(pid, Signal::TERM).unwrap();
    assert!(daemon.0.wait().unwrap().success(), "{}", log());
    assert!(!socket.exists(), "what it made it takes away");
}
