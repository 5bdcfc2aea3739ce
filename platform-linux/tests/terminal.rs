//! The binary on a terminal: colours, and the screen of `status --watch`, after which all is as it was before.

mod serving;

use core::time::Duration;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serving::{Directory, status, while_serving, while_serving_this};
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use wgautomesh::control::render::table;
use wgautomesh::control::status::{Nats, Peer, PeerState};

/// Far above what anything takes.
const LIMIT: Duration = Duration::from_secs(60);

/// A terminal, and what was shown on it.
struct Terminal {
    master: OwnedFd,
    /// Kept open, so that what was shown last can be read after the program has ended.
    slave: File,
    shown: String,
}

impl Terminal {
    fn new(columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let terminal = Self { master, slave, shown: String::new() };
        terminal.resize(columns, rows);
        terminal
    }

    fn resize(&self, columns: u16, rows: u16) {
        tcsetwinsize(&self.master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })
            .unwrap();
    }

    fn start(&self, directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Child {
        let side = || Stdio::from(self.slave.try_clone().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_wgautomesh"));
        command.args(arguments).env_clear().env("WGAUTOMESH_RUNTIME_DIR", directory).env("TERM", "xterm");
        command.envs(variables.iter().copied()).stdin(side()).stdout(side()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Reads what comes until it has been shown so often.
    fn read_until(&mut self, text: &str, times: usize) {
        let mut buffer = [0; 4096];
        while self.shown.matches(text).count() < times {
            let timeout = Timespec { tv_sec: LIMIT.as_secs() as i64, tv_nsec: 0 };
            let mut files = [PollFd::from_borrowed_fd(rustix::fd::AsFd::as_fd(&self.master), PollFlags::IN)];
            assert_eq!(poll(&mut files, Some(&timeout)), Ok(1), "{text:?} is not shown: {:?}", self.shown);
            let read = rustix::io::read(&self.master, &mut buffer).unwrap();
            self.shown +=
                core::str::from_utf8(&buffer[..read]).expect("whole characters, as they are all ASCII here");
        }
    }

    fn modes(&self) -> LocalModes {
        tcgetattr(&self.slave).unwrap().local_modes
    }
}

#[test]
fn the_screen_is_drawn_again_and_leaves_the_terminal_as_it_was() {
    let directory = Directory::new();
    while_serving(&directory.0, "wg0", |_| {
        for end in [None, Some(&b"q"[..]), Some(b"\x03")] {
            let mut terminal = Terminal::new(100, 30);
            let before = terminal.modes();
            assert!(before.contains(LocalModes::ECHO | LocalModes::ICANON));
            let mut child = terminal.start(&directory.0, &["status", "--watch"], &[("NO_COLOR", "1")]);
            terminal.read_until("q quits", 2);
            assert!(!terminal.modes().intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
            assert!(terminal.shown.starts_with("\x1b[?1049h\x1b[?25l\x1b[H"), "{:?}", terminal.shown);
            let first = terminal.shown.split("q quits").next().unwrap();
            assert_eq!(first.matches("\r\n").count(), 29, "it fills the window: {first:?}");
            assert!(!first.contains("\x1b[3"), "no colours: {first:?}");
            // A key that means nothing, then another size.
            rustix::io::write(&terminal.master, b"x").unwrap();
            terminal.resize(60, 12);
            terminal.shown.clear();
            terminal.read_until("q quits", 2);
            let last = terminal.shown.split("q quits").nth(1).unwrap();
            assert_eq!(last.matches("\r\n").count(), 11, "{last:?}");
            match end {
                Some(keys) => assert_eq!(rustix::io::write(&terminal.master, keys), Ok(keys.len())),
                None => kill_process(Pid::from_child(&child), Signal::TERM).unwrap(),
            }
            assert_eq!(child.wait().unwrap().code(), Some(0), "{end:?}");
            terminal.read_until("\x1b[?25h\x1b[?1049l", 1);
            assert!(terminal.shown.ends_with("\x1b[?25h\x1b[?1049l"));
            assert_eq!(terminal.modes(), before, "{end:?}");
        }
    });
}

#[test]
fn without_a_terminal_or_a_daemon_it_says_so() {
    let directory = Directory::new();
    let nobody = Command::new(env!("CARGO_BIN_EXE_wgautomesh"))
        .args(["status", "--watch"])
        .env("WGAUTOMESH_RUNTIME_DIR", &directory.0)
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no wgautomesh is running"));
    while_serving(&directory.0, "wg0", |_| {
        let terminal = Terminal::new(80, 24);
        let mut command = Command::new(env!("CARGO_BIN_EXE_wgautomesh"));
        command.args(["status", "--watch"]).env("WGAUTOMESH_RUNTIME_DIR", &directory.0);
        // Its output is a file.
        let output = command.stdin(terminal.slave.try_clone().unwrap()).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
        assert!(String::from_utf8_lossy(&output.stderr).contains("--watch needs a terminal"));
    });
}

#[test]
fn the_status_has_colours_where_they_are_wanted() {
    let directory = Directory::new();
    let mut shown = status("wg0");
    shown.peers.push(Peer {
        name: Some("dora".into()),
        key: "lABn/axzD1jkFulX8c+K3B3CbKXORlIMDDoe8sQVxhs=".into(),
        address: [10, 14, 0, 2].into(),
        state: PeerState::Waiting,
        endpoint: None,
        endpoint_source: None,
        rtt_us: None,
        handshake_age_s: None,
        rx_bytes: 0,
        tx_bytes: 0,
        reason: None,
        lan_barred: None,
        via: None,
        nat: Nats::default(),
        has_newest_secret: None,
    });
    while_serving_this(&directory.0, &shown, |_| {
        for (variables, coloured) in [
            (&[][..], true),
            (&[("NO_COLOR", "1")], false),
            (&[("NO_COLOR", "")], true),
            (&[("TERM", "dumb")], false),
        ] {
            let mut terminal = Terminal::new(80, 24);
            let mut child = terminal.start(&directory.0, &["status"], variables);
            assert_eq!(child.wait().unwrap().code(), Some(0));
            let plain = table(&shown);
            terminal.read_until("\r\n", plain.lines().count());
            let painted = plain.replace("waiting", "\x1b[31mwaiting\x1b[0m");
            let expected = if coloured { painted } else { plain };
            assert_eq!(terminal.shown.replace("\r\n", "\n"), expected, "{variables:?}");
        }
    });
}
