//! The init script and rpcd's plugin under the shell that routers have (busybox ash), on a router of stubs that write down
//! what is asked of procd: `init/router.sh`.

mod common;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use common::{Folder, finished, is_there, platform, stdout};

const NETWORK: &str = "\
config interface 'wg0'
	option proto 'wireguard'
	option listen_port '51820'

config interface 'wg1'
	option proto 'wireguard'
";

const HOME: &str = "\
config mesh 'home'
	option interface 'wg0'
	option gossip_port '1666'
	option secret 'a secret that nobody is to see'
";

/// Stands in for the daemon: `check` and `status` say what the files `check.NAME` and `status.NAME` have in them, and fail
/// if there is `fails.NAME`.
const DAEMON: &str = r#"#!/bin/sh
printf '%s\n' "$*" >>"$ROOT/ran"
eval "name=\$$#"
cat "$ROOT/$1.$name" 2>/dev/null
[ ! -e "$ROOT/fails.$name" ]
"#;

/// Where things are on a router that are somewhere else in a test.
const PATHS: [&str; 7] = [
    "/usr/bin/wgautomesh",
    "/etc/config/wgautomesh",
    "/etc/config/network",
    "/etc/wgautomesh",
    "/etc/capabilities/",
    "/var/run/wgautomesh",
    "/sbin/ujail",
];

struct Router {
    folder: Folder,
}

impl Router {
    fn new(test: &str, meshes: &str) -> Self {
        let folder = Folder::new(test);
        folder.write("etc/config/wgautomesh", meshes);
        folder.write("etc/config/network", NETWORK);
        let router = Self { folder };
        router.program("usr/bin/wgautomesh", DAEMON);
        router.program("sbin/ujail", "");
        router.install("etc/init.d/wgautomesh");
        router.install("usr/libexec/rpcd/wgautomesh");
        fs::create_dir_all(router.root().join("var/run")).unwrap();
        router
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn program(&self, path: &str, text: &str) {
        let path = self.folder.write(path, text);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Installs one of our scripts.
    fn install(&self, path: &str) {
        let mut text = fs::read_to_string(platform().join("files").join(path)).unwrap();
        for path in PATHS {
            text = text.replace(path, &format!("{}{path}", self.root().display()));
        }
        self.folder.write("router.sh", include_str!("init/router.sh"));
        self.program(path, &text);
    }

    fn ash(&self, script: &str) -> Command {
        let mut command = Command::new("busybox");
        command.args(["ash", "-c", script]).env("ROOT", self.root());
        command
    }

    /// What `/etc/init.d/wgautomesh ACTION` asks for, a line each.
    fn init(&self, action: &str) -> Vec<String> {
        let _ = fs::remove_file(self.root().join("calls"));
        stdout(&mut self.ash(&format!(". \"$ROOT/router.sh\"; rc {action}")));
        self.lines("calls")
    }

    /// The lines of a file, as on a router.
    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.root().join(name)).unwrap_or_default();
        let text = text.replace(&self.root().display().to_string(), "");
        text.lines().map(str::to_owned).collect()
    }

    fn rpcd(&self, arguments: &str) -> String {
        let said =
            stdout(&mut self.ash(&format!("\"$ROOT/usr/libexec/rpcd/wgautomesh\" {arguments} </dev/null")));
        said.replace(&self.root().display().to_string(), "")
    }
}

fn of<'l>(lines: &'l [String], word: &str) -> Vec<&'l str> {
    lines.iter().map(String::as_str).filter(|line| line.starts_with(word)).collect()
}

/// The firewall's rules, one after the other, each as its options.
fn rules(lines: &[String]) -> Vec<String> {
    let mut rules = Vec::new();
    for line in lines {
        if line.starts_with("json_add_object") {
            rules.push(String::new());
        } else if let (Some(option), Some(rule)) = (line.strip_prefix("json_add_string "), rules.last_mut()) {
            rule.push_str(&option.replace('\'', ""));
            rule.push(';');
        }
    }
    rules
}

const WIREGUARD_RULE: &str = "type rule;proto udp;target ACCEPT;src wan;dest_port 51820;";
const GOSSIP_RULE: &str = "type rule;proto udp;target ACCEPT;src *;device wg0;direction in;dest_port 1666;";

#[test]
fn one_mesh_is_one_process() {
    if !is_there("busybox") {
        return;
    }
    let router = Router::new("init-one", HOME);
    let calls = router.init("start");
    let expected = "\
procd_open_instance 'home'
procd_set_param 'command' '/usr/bin/wgautomesh' 'run' 'home'
procd_set_param 'env' 'WGAUTOMESH_RUNTIME_DIR=/var/run/wgautomesh'
procd_set_param 'file' '/etc/config/wgautomesh'
procd_append_param 'file' '/etc/config/network'
procd_set_param 'respawn' '3600' '5' '0'
procd_set_param 'stdout' '1'
procd_set_param 'stderr' '1'
procd_open_data
json_add_array 'firewall'
json_add_object ''
json_add_string 'type' 'rule'
json_add_string 'proto' 'udp'
json_add_string 'target' 'ACCEPT'
json_add_string 'src' 'wan'
json_add_string 'dest_port' '51820'
json_close_object
json_add_object ''
json_add_string 'type' 'rule'
json_add_string 'proto' 'udp'
json_add_string 'target' 'ACCEPT'
json_add_string 'src' '*'
json_add_string 'device' 'wg0'
json_add_string 'direction' 'in'
json_add_string 'dest_port' '1666'
json_close_object
json_close_array
procd_close_data
procd_add_jail 'wgautomesh-home' 'ronly'
procd_add_jail_mount '/etc/config/wgautomesh' '/etc/config/network' '/etc/resolv.conf' '/etc/hosts'
procd_add_jail_mount_rw '/var/run/wgautomesh' '/etc/wgautomesh'
procd_set_param 'capabilities' '/etc/capabilities/wgautomesh.json'
procd_set_param 'no_new_privs' '1'
procd_close_instance
procd_add_reload_trigger 'wgautomesh' 'network'
procd_add_validation 'validate_mesh'
procd_set_config_changed 'firewall'";
    assert_eq!(calls.join("\n"), expected);
    assert_eq!(router.lines("ran"), ["check home"]);
    let state = fs::metadata(router.root().join("etc/wgautomesh")).unwrap();
    assert_eq!(state.permissions().mode() & 0o777, 0o700);
    assert!(router.root().join("var/run/wgautomesh").is_dir());
}

#[test]
fn as_installed_nothing_runs() {
    if !is_there("busybox") {
        return;
    }
    let shipped = fs::read_to_string(platform().join("files/etc/config/wgautomesh")).unwrap();
    let router = Router::new("init-shipped", &shipped);
    // Only what makes procd look again when the configuration is another.
    let triggers =
        ["procd_add_reload_trigger 'wgautomesh' 'network'", "procd_add_validation 'validate_mesh'"];
    assert_eq!(router.init("start"), triggers);
    assert!(router.init("stop").is_empty());
    assert!(router.lines("ran").is_empty());
    assert!(!router.root().join("etc/wgautomesh").exists());
    assert!(!router.root().join("var/run/wgautomesh").exists());

    // The same with the switch on is a mesh that wants a secret; nothing else is missing.
    let router = Router::new("init-shipped-on", &shipped.replace("enabled '0'", "enabled '1'"));
    assert_eq!(of(&router.init("start"), "procd_open_instance"), ["procd_open_instance 'home'"]);
}

#[test]
fn two_meshes_are_two_processes() {
    if !is_there("busybox") {
        return;
    }
    let work = "config mesh 'work'\n\toption interface 'wg1'\n\toption gossip_port '1777'\n\
                \toption secret_file '/etc/secrets/work'\n\toption secret_next_file '/etc/secrets/next'\n\
                \toption secret_previous_file '/etc/secrets/before'\n\toption persist_file '/srv/state/work'\n\
                \toption peers_from_network 'off'\n";
    let peer = "config peer 'paris'\n\toption mesh 'home'\n\tlist endpoint '192.0.2.1:1'\n";
    let router = Router::new("init-two", &format!("{HOME}\n{work}\n{peer}"));
    let calls = router.init("start");
    let instances = ["procd_open_instance 'home'", "procd_open_instance 'work'"];
    assert_eq!(of(&calls, "procd_open_instance"), instances);
    assert_eq!(router.lines("ran"), ["check home", "check work"]);
    // One after the other, and each as a whole.
    let begin = calls.iter().position(|line| line == instances[1]).unwrap();
    let (home, work) = calls.split_at(begin);
    assert_eq!(of(home, "procd_close_instance").len(), 1);
    assert_eq!(of(work, "procd_close_instance").len(), 1);

    assert_eq!(
        of(work, "procd_set_param 'command'"),
        ["procd_set_param 'command' '/usr/bin/wgautomesh' 'run' 'work'"]
    );
    // Its own peers do not come from the network's configuration, but its secrets from files.
    let files = ["/etc/secrets/work", "/etc/secrets/next", "/etc/secrets/before"];
    assert_eq!(
        of(work, "procd_append_param"),
        files.map(|file| format!("procd_append_param 'file' '{file}'"))
    );
    assert_eq!(
        of(work, "procd_add_jail_mount '/etc/secrets"),
        files.map(|file| format!("procd_add_jail_mount '{file}'"))
    );
    assert_eq!(of(work, "procd_add_jail_mount_rw '/srv"), ["procd_add_jail_mount_rw '/srv/state'"]);
    // It has no listen_port, so WireGuard's port is another each time and cannot be opened.
    assert_eq!(rules(work), [GOSSIP_RULE.replace("wg0", "wg1").replace("1666", "1777")]);
    assert_eq!(rules(home), [WIREGUARD_RULE, GOSSIP_RULE]);
}

#[test]
fn an_invalid_section_is_said_and_harms_no_other() {
    if !is_there("busybox") {
        return;
    }
    let section = |name: &str, option: &str| {
        format!("config mesh '{name}'\n\toption interface 'wg1'\n\toption gossip_port '1666'\n\t{option}\n\n")
    };
    let meshes = section("port", "option gossip_port '70000'")
        + &section("interface", "option interface 'longer-than-names-are'")
        + &section("switch", "option enabled 'perhaps'")
        + &section("incomplete", "option secret ''")
        + &section("off", "option enabled '0'")
        + HOME;
    let router = Router::new("init-invalid", &meshes);
    router
        .folder
        .write("check.incomplete", "wgautomesh:20:1: error: secret: is missing\nand a second line\n");
    router.folder.write("fails.incomplete", "");
    router.folder.write("fails.off", "");
    let calls = router.init("start");
    assert_eq!(of(&calls, "procd_open_instance"), ["procd_open_instance 'home'"]);
    assert_eq!(router.lines("ran"), ["check incomplete", "check home"]);
    let complaint = |name: &str| {
        format!(
            "logger '{name}: NOT RUNNING: a value in its section of /etc/config/wgautomesh is not of its kind; \
             /usr/bin/wgautomesh check {name} says which'"
        )
    };
    assert_eq!(
        of(&calls, "logger"),
        [
            &*complaint("port"),
            &complaint("interface"),
            &complaint("switch"),
            "logger 'wgautomesh:20:1: error: secret: is missing'",
            "logger 'and a second line'",
            "logger 'incomplete: NOT RUNNING: the lines above say why'",
        ]
    );
}

#[test]
fn without_ujail_there_is_no_jail() {
    if !is_there("busybox") {
        return;
    }
    let router = Router::new("init-no-jail", HOME);
    fs::remove_file(router.root().join("sbin/ujail")).unwrap();
    let calls = router.init("start");
    assert_eq!(of(&calls, "procd_open_instance"), ["procd_open_instance 'home'"]);
    assert!(of(&calls, "procd_add_jail").is_empty());
    assert!(of(&calls, "procd_set_param 'capabilities'").is_empty());
    assert!(of(&calls, "procd_set_param 'no_new_privs'").is_empty());

    // Nor where procd could not say what is to be in it.
    let router = Router::new("init-space", &format!("{HOME}\toption secret_file '/etc/my secret'\n"));
    let calls = router.init("start");
    assert!(of(&calls, "procd_add_jail").is_empty());
    assert_eq!(of(&calls, "logger").len(), 1);
    assert!(calls.iter().any(|line| line == "procd_append_param 'file' '/etc/my secret'"));
}

#[test]
fn the_firewall_is_told_when_the_ports_are_others_and_only_then() {
    if !is_there("busybox") {
        return;
    }
    let router = Router::new("init-firewall", HOME);
    let told = |action: &str| of(&router.init(action), "procd_set_config_changed 'firewall'").len();
    assert_eq!(told("start"), 1);
    assert_eq!(told("reload"), 0);
    router.folder.write("etc/config/network", NETWORK.replace("51820", "51821"));
    assert_eq!(told("reload"), 1);
    router.folder.write("etc/config/wgautomesh", HOME.replace("1666", "1667"));
    assert_eq!(told("reload"), 1);
    router.folder.write("etc/config/wgautomesh", format!("{HOME}\toption enabled '0'\n"));
    assert_eq!(told("reload"), 1);
    assert_eq!(told("stop"), 0);
    router.folder.write("etc/config/wgautomesh", HOME);
    assert_eq!(told("start"), 1);
    assert_eq!(told("stop"), 1);
    assert_eq!(told("stop"), 0);
    // After a boot there is no memory of it.
    fs::remove_dir_all(router.root().join("var/run/wgautomesh")).unwrap();
    assert_eq!(told("start"), 1);
}

#[test]
fn no_secret_is_on_a_command_line_or_in_the_log() {
    if !is_there("busybox") {
        return;
    }
    let router = Router::new("init-secret", HOME);
    router.init("start");
    for file in ["calls", "ran"] {
        assert!(!router.lines(file).is_empty());
        assert!(router.lines(file).iter().all(|line| !line.contains("secret")), "{file}");
    }
}

#[test]
fn the_status_of_all_meshes_for_the_web_interface() {
    if !is_there("busybox") {
        return;
    }
    let router = Router::new("rpcd", HOME);
    assert_eq!(router.rpcd("list"), "{\"status\":{}}\n");
    // The stand-in takes its last word for a mesh. It fails, as the daemon's does where one of several does not answer.
    let document = "{\"version\":1,\"meshes\":{\"home\":{\"error\":\"not running\"}}}\n";
    router.folder.write("status.--json", document);
    router.folder.write("fails.--json", "");
    assert_eq!(router.rpcd("call status"), document);
    assert_eq!(router.lines("ran"), ["status --json"]);

    // Where there is no document, why.
    router.folder.write("status.--json", "");
    router
        .folder
        .write("check.check", "wgautomesh:3:1: error: \"no\\such\" option\nand a second line\t\u{7}\n");
    router.folder.write("fails.check", "");
    assert_eq!(
        router.rpcd("call status"),
        "{\"meshes\":{\"/etc/config/wgautomesh\":{\"error\":\"wgautomesh:3:1: error: \\\"no\\\\such\\\" option and a second \
         line\"}}}\n"
    );

    let unknown = finished(&mut router.ash("\"$ROOT/usr/libexec/rpcd/wgautomesh\" call reboot </dev/null"));
    assert!(!unknown.status.success() && unknown.stdout.is_empty());
}

#[test]
fn the_shell_of_routers_can_read_the_scripts() {
    if !is_there("busybox") {
        return;
    }
    for script in ["etc/init.d/wgautomesh", "usr/libexec/rpcd/wgautomesh"] {
        stdout(Command::new("busybox").args(["ash", "-n"]).arg(platform().join("files").join(script)));
    }
}
