//! `wgautomesh doctor` on machines that are well and on ones that are not: network namespaces with a real userspace WireGuard.
//!
//! Without `wireguard-go`, `nft`, user namespaces or /dev/net/tun it says so and does nothing; under CI that is a failure.

#[allow(dead_code, reason = "only its directory is wanted here")]
mod serving;
mod support;

use core::time::Duration;
use std::{
    fs::{self, Permissions},
    io::{Read as _, Write as _},
    net::UdpSocket,
    os::unix::{fs::PermissionsExt as _, net::UnixStream, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Instant,
};

use serving::Directory;
use support::{add_address, in_namespaces, index, set_up};
use wgautomesh::doctor::{Report, Severity};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wgautomesh");
const INTERFACE: &str = "wgd";
const SOCKET: &str = "/run/wireguard/wgd.sock";
const PORT: u16 = 51833;

const PRIVATE: &str = "e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a";
/// 32 times 0xa1, as WireGuard's protocol and as a configuration write it.
const PEER: [&str; 2] = [
    "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1",
    "oaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaE=",
];

#[test]
fn a_machine_is_examined() {
    in_namespaces("a_machine_is_examined", &["wireguard-go", "nft"], || {
        for arguments in [&["--make-rprivate", "/"][..], &["-t", "tmpfs", "tmpfs", "/run"]] {
            run("mount", arguments);
        }
        fs::create_dir("/run/wireguard").expect("a directory");
        set_up(index("lo"));
        // What is for the other nodes leaves by it.
        add_address(index("lo"), [203, 0, 113, 1], 24);
        let directory = Directory::new();
        let machine = Machine { directory: &directory.0 };
        machine.write("203.0.113.2:51820");

        machine.without_the_interface();
        let _wireguard = start_wireguard();
        machine.well();
        machine.behind_a_firewall();
        machine.with_a_secret_that_all_can_read();
        machine.with_an_endpoint_in_the_tunnel();
        machine.with_the_gossip_port_taken();
        machine.with_a_daemon();
    });
}

struct Machine<'a> {
    directory: &'a Path,
}

impl Machine<'_> {
    /// The configuration, with this endpoint of its one peer.
    fn write(&self, endpoint: &str) {
        let config = format!(
            "interface = \"{INTERFACE}\"\ngossip_secret_file = \"secret\"\n[[peers]]\npubkey = \"{}\"\n\
             name = \"alice\"\naddress = \"10.98.0.2\"\nendpoint = \"{endpoint}\"\n",
            PEER[1]
        );
        for (name, text) in [("mesh.toml", config.as_str()), ("secret", "0123456789abcdef\n")] {
            let path = self.directory.join(name);
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("its mode");
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.directory);
        command.env("WGAUTOMESH_RUNTIME_DIR", self.directory.join("run"));
        command
    }

    /// What is found, as both forms of the answer tell it.
    fn examine(&self) -> Report {
        let output = self.command(&["doctor", "--json", "mesh.toml"]).output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let report: Report = serde_json::from_slice(&output.stdout).expect("a report");
        assert_eq!(output.status.code(), Some(i32::from(!report.healthy)), "{report:#?}");
        let text = self.command(&["doctor", "mesh.toml"]).output().expect("it runs");
        assert_eq!(text.status.code(), output.status.code());
        let text = String::from_utf8(text.stdout).expect("text");
        assert!(text.lines().last().expect("a verdict").starts_with("wgd: "), "{text}");
        assert!(!text.contains('\u{1b}'), "no colours where there is no terminal");
        report
    }

    /// Expects these, and nothing else that is bad.
    #[track_caller]
    fn expect(&self, bad: &[(Severity, &str)]) -> Report {
        let report = self.examine();
        // Whatever this machine's clock is.
        let found = report.findings.iter().filter(|finding| finding.id != "clock");
        let is_bad = |severity| severity <= Severity::Warning || severity == Severity::Skipped;
        let found = found.filter(|finding| is_bad(finding.severity));
        let found: Vec<_> = found.map(|finding| (finding.severity, finding.id.as_str())).collect();
        assert_eq!(found, bad, "{report:#?}");
        report
    }

    fn without_the_interface(&self) {
        self.expect(&[(Severity::Error, "interface")]);
    }

    fn well(&self) {
        let report = self.expect(&[]);
        let fine: Vec<_> = report
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Ok)
            .map(|finding| finding.id.as_str())
            .collect();
        for id in [
            "config",
            "interface",
            "interface-up",
            "private-key",
            "listen-port",
            "own-address",
            "mesh-route",
            "allowed-ips",
            "endpoint-route",
            "wireguard-port",
            "gossip-port",
            "firewall",
            "mtu",
            "capabilities",
            "config-file",
            "secret-file",
        ] {
            assert!(fine.contains(&id), "{id}: {report:#?}");
        }
    }

    fn behind_a_firewall(&self) {
        nft("add table inet t; add chain inet t input { type filter hook input priority 0; policy accept; }");
        self.expect(&[]);
        nft(&format!("add rule inet t input udp dport {PORT} drop"));
        let report = self.expect(&[(Severity::Error, "firewall-wireguard")]);
        // The advice is right.
        let fix = &report.findings[0].fix;
        let command = fix.split('`').nth(1).expect("a command").strip_prefix("nft ").expect("of nft");
        nft(command);
        self.expect(&[]);
        nft("flush ruleset");
    }

    fn with_a_secret_that_all_can_read(&self) {
        let secret = self.directory.join("secret");
        fs::set_permissions(&secret, Permissions::from_mode(0o644)).expect("its mode");
        let report = self.expect(&[(Severity::Warning, "config")]);
        assert!(report.findings[0].fix.contains("chmod 600 secret"), "{report:#?}");
        fs::set_permissions(&secret, Permissions::from_mode(0o620)).expect("its mode");
        self.expect(&[(Severity::Warning, "secret-file")]);
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("its mode");
    }

    fn with_an_endpoint_in_the_tunnel(&self) {
        self.write("10.98.0.77:51820");
        self.expect(&[(Severity::Error, "endpoint-route")]);
        self.write("198.51.100.1:51820");
        self.expect(&[(Severity::Warning, "endpoint-route")]);
        self.write("203.0.113.2:51820");
    }

    fn with_the_gossip_port_taken(&self) {
        let socket = UdpSocket::bind("0.0.0.0:1666").expect("a free port");
        let report = self.expect(&[(Severity::Error, "gossip-port")]);
        let own = format!("({}) has it", std::process::id());
        assert!(report.findings[0].what.ends_with(&own), "{report:#?}");
        drop(socket);
    }

    fn with_a_daemon(&self) {
        let mut command = self.command(&["run", "mesh.toml"]);
        let _daemon = Running(command.stderr(Stdio::null()).spawn().expect("it runs"));
        wait_for(&self.directory.join("run/wgd.sock"));
        // Its peer is nowhere.
        let report = self.expect(&[(Severity::Warning, "peers-connected")]);
        let of = |id: &str| report.findings.iter().find(|finding| finding.id == id).expect("it is there");
        assert_eq!(of("capabilities").what, "the daemon has CAP_NET_ADMIN and CAP_NET_RAW");
        assert_eq!(of("control-directory").severity, Severity::Ok);
        assert_eq!(of("daemon").severity, Severity::Ok);
        assert!(!report.findings.iter().any(|finding| finding.id == "gossip-port"), "it is the daemon's");
    }
}

/// As another user there is less to see, which is said, and nothing is held against the configuration.
#[test]
fn another_user_is_told_what_is_not_to_be_seen() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can become another user");
        return;
    }
    let directory = Directory::new();
    let program = directory.0.join("program");
    assert!(Command::new("cp").arg(PROGRAM).arg(&program).status().expect("cp").success());
    fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("its mode");
    let machine = Machine { directory: &directory.0 };
    machine.write("203.0.113.2:51820");
    let ask = || {
        let mut command = Command::new(&program);
        command.args(["doctor", "--json", "mesh.toml"]).current_dir(&directory.0);
        command.env("WGAUTOMESH_RUNTIME_DIR", directory.0.join("run"));
        let output = command.uid(65534).gid(65534).output().expect("it runs");
        let report: Report = serde_json::from_slice(&output.stdout).expect("a report");
        let about = report.findings.iter().filter(|finding| finding.id == "config");
        let about: Vec<_> = about.map(|finding| (finding.severity, finding.what.clone())).collect();
        (report.healthy, report.interface, about)
    };
    let hidden = |why: &str| vec![(Severity::Skipped, format!("mesh.toml: {why}"))];
    assert_eq!(ask(), (true, None, hidden("it may not be read")));
    // The rest of it is looked at where only the secret may not be read.
    fs::set_permissions(directory.0.join("mesh.toml"), Permissions::from_mode(0o644)).expect("its mode");
    assert_eq!(ask(), (false, Some("wgd".into()), hidden("its secret may not be read")));
}

/// Ends the process with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_wireguard() -> Running {
    let mut command = Command::new("wireguard-go");
    command.args(["-f", INTERFACE]).env("LOG_LEVEL", "error").env("WG_PROCESS_FOREGROUND", "1");
    let child = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("wireguard-go"));
    wait_for(Path::new(SOCKET));
    let mut stream = UnixStream::connect(SOCKET).expect("the socket");
    let request = format!(
        "set=1\nprivate_key={PRIVATE}\nlisten_port={PORT}\npublic_key={}\nallowed_ip=10.98.0.2/32\n\n",
        PEER[0]
    );
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).expect("an answer");
    assert_eq!(&answer[..length], b"errno=0\n\n");
    set_up(index(INTERFACE));
    add_address(index(INTERFACE), [10, 98, 0, 1], 24);
    // It opens its port once it has heard that the link is up.
    let begin = Instant::now();
    let port = format!(":{PORT:04X} ");
    while !fs::read_to_string("/proc/self/net/udp").expect("the sockets").contains(&port) {
        assert!(begin.elapsed() < Duration::from_secs(60), "wireguard-go does not listen");
        sleep(Duration::from_millis(5));
    }
    child
}

fn wait_for(socket: &Path) {
    let begin = Instant::now();
    while UnixStream::connect(socket).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{} does not come", socket.display());
        sleep(Duration::from_millis(5));
    }
}

fn nft(script: &str) {
    let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft");
    child.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("written");
    assert!(child.wait().expect("nft").success(), "{script}");
}

fn run(program: &str, arguments: &[&str]) {
    assert!(
        Command::new(program).args(arguments).status().expect(program).success(),
        "{program} {arguments:?}"
    );
}
