//! The daemon under a service manager, which is this test: what it is told over `NOTIFY_SOCKET`.

use crate::serving::Directory;
use core::time::Duration;
use rustix::process::{Pid, Signal, kill_process};

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Child, Command, Stdio};

/// Ends the process with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whoever waits longer than this waits in vain.
const PATIENCE: Duration = Duration::from_secs(60);

fn hears_of_a_whole_life(manager: &UnixDatagram, address: OsString) {
    let directory = Directory::new();
    let file = directory.0.join("mesh.toml");
    // There is no such interface: it waits for one, as it would in a machine that boots, and needs no rights.
    fs::write(&file, "interface = \"wg-none\"\ngossip_secret = \"0123456789abcdef\"\n").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = || {
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer).expect("to be told something");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let mut command = Command::new(crate::PROGRAM);
    command.arg("run").arg(&file).stderr(Stdio::null()).env_remove("WATCHDOG_PID");
    command.env("WGAUTOMESH_RUNTIME_DIR", &directory.0).env("NOTIFY_SOCKET", address);
    let mut daemon = Running(command.env("WATCHDOG_USEC", "40000").spawn().unwrap());
    assert_eq!(heard(), "READY=1");
    for _ in 0..3 {
        assert_eq!(heard(), "WATCHDOG=1");
    }
    kill_process(Pid::from_child(&daemon.0), Signal::TERM).unwrap();
    let mut last = heard();
    while last == "WATCHDOG=1" {
        last = heard();
    }
    assert_eq!(last, "STOPPING=1");
    assert_eq!(daemon.0.wait().unwrap().code(), Some(0));
}

#[test]
fn at_a_path() {
    let directory = Directory::new();
    let path = directory.0.join("notify");
    hears_of_a_whole_life(&UnixDatagram::bind(&path).unwrap(), path.into());
}

#[test]
fn at_an_abstract_name() {
    let name = format!("wgautomesh-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    hears_of_a_whole_life(&UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}").into());
}
