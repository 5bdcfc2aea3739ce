//! A control socket with a status behind it, as a daemon has it.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use embassy_time::Instant;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use wgautomesh::config::InterfaceName;
use wgautomesh::control::Server;
use wgautomesh::control::status::{Nats, Node, Status};

/// A directory of one test.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("wgautomesh-cli-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Turns a server in another thread while `asking` runs.
pub(crate) fn while_serving<T>(directory: &Path, interface: &str, asking: impl FnOnce(&Path) -> T) -> T {
    while_serving_this(directory, &status(interface), asking)
}

/// A status without peers.
pub(crate) fn status(interface: &str) -> Status {
    Status {
        version: 1,
        node: Node {
            version: "0.1.0".into(),
            interface: interface.into(),
            interface_up: true,
            key: None,
            mesh_address: None,
            gossip_port: 1666,
            listen_port: None,
            uptime_s: 61,
            openers: true,
            nat: Nats::default(),
            port_mapping: None,
            rotation: None,
            seen_at: Vec::new(),
        },
        peers: Vec::new(),
        counters: BTreeMap::new(),
    }
}

/// The same as [`while_serving`], with this status.
pub(crate) fn while_serving_this<T>(directory: &Path, status: &Status, asking: impl FnOnce(&Path) -> T) -> T {
    let name = InterfaceName::parse(&status.node.interface).unwrap();
    let mut server = Server::bind(directory, &name).unwrap();
    let path = server.path().to_owned();
    let done = AtomicBool::new(false);
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                server.handle(Instant::from_secs(1), |request, _| {
                    Some(request.answer(status).unwrap_or_else(|| answer_by_itself(&request.line())))
                });
                std::thread::sleep(core::time::Duration::from_millis(2));
            }
        });
        let _done = Done(&done);
        asking(&path)
    })
}

/// In place of its metrics.
pub(crate) const METRICS: &str = "wgautomesh_interface_up 1\n";

/// The table for the status of `wg0`.
#[allow(dead_code, reason = "not every file of tests looks at the table")]
pub(crate) const TABLE: &str =
    "wg0  gossip port 1666  up 1m01s\nseen by nobody yet; NAT unknown\n0 of 0 peers connected\n";

/// What the status alone does not answer: the metrics; else the request itself as a text, or that there is no such peer as `nobody`.
fn answer_by_itself(line: &str) -> String {
    if line == "metrics" {
        return format!("{METRICS}.\n");
    }
    if line.ends_with(" nobody") {
        let message = "no peer is called \\\"nobody\\\"";
        return format!(
            "{{\"version\":1,\"error\":{{\"id\":\"unknown-peer\",\"message\":\"{message}\"}}}}\n"
        );
    }
    format!("{line}\n.\n")
}
