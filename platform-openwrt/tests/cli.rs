//! The binary as a router's owner and its init script meet it: what `run` does with the sections there are, and `status`
//! against real control sockets.

#[path = "../../platform-linux/tests/serving/mod.rs"]
mod serving;

use serving::{Directory, TABLE, while_serving};
use std::fs;
use std::process::{Command, Output};

const HOME: &str = "config mesh 'home'\n\toption interface 'wg0'\n\toption gossip_port '1666'\n\toption secret \
                    '0123456789abcdef'\n\toption peers_from_network '0'\n\toption peers_from_interface '1'\n";

fn work() -> String {
    HOME.replace("home", "work").replace("wg0", "wg1")
}

/// What the program says with this configuration.
fn wgautomesh(directory: &Directory, config: &str, arguments: &[&str]) -> Output {
    fs::write(directory.0.join("wgautomesh"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgautomesh-openwrt"));
    command.args(arguments).args(["-c", "."]).current_dir(&directory.0);
    command.env("WGAUTOMESH_RUNTIME_DIR", &directory.0).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap()
}

#[test]
fn help_and_version_need_nothing() {
    for (arguments, begins) in [
        (&["--help"][..], "wgautomesh connects the peers"),
        (&["run", "--help"], "Meshes the interface"),
        (&["check", "-h"], "Says everything"),
        (&["genkey", "--help"], "Prints a new random"),
        (&["status", "--help"], "Shows running wgautomeshes"),
        (&["--version"], concat!("wgautomesh ", env!("CARGO_PKG_VERSION"), "\n")),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wgautomesh-openwrt"));
        let output = command.args(arguments).env_clear().output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{arguments:?}");
        assert!(text(&output.stdout).starts_with(begins), "{arguments:?}");
    }
}

/// So that a fresh install, which starts the service, does no harm.
#[test]
fn what_is_not_enabled_ends_at_once_and_well() {
    let directory = Directory::new();
    let off = |text: &str| text.replace("option interface", "option enabled '0'\n\toption interface");
    let says = "home: not enabled in ./wgautomesh: nothing to do; `option enabled '1'` enables it\n";
    let both = off(HOME) + &off(&work());
    for (config, arguments, said) in [
        (&*off(HOME), &["run", "home"][..], says),
        // Whatever else is wrong with it.
        ("config mesh 'home'\n\toption enabled '0'\n\toption gossip_port '0'\n", &["run", "home"], says),
        (&both, &["run"], "no mesh is enabled in ./wgautomesh: nothing to do\n"),
    ] {
        let output = wgautomesh(&directory, config, arguments);
        let got = (output.status.code(), text(&output.stdout), text(&output.stderr));
        assert_eq!(got, (Some(0), "", said), "{arguments:?}");
    }
}

#[test]
fn one_process_runs_one_mesh() {
    let directory = Directory::new();
    let both = HOME.to_owned() + &work();
    for (arguments, said) in [
        (
            &["run"][..],
            "wgautomesh: there are several meshes (home, work): each wants a process of its own, `wgautomesh run home`\n",
        ),
        (&["run", "hme"], "wgautomesh: ./wgautomesh: there is no mesh \"hme\"; did you mean home?\n"),
        (
            &["check", "office"],
            "wgautomesh: ./wgautomesh: there is no mesh \"office\"; the file has home, work\n",
        ),
        (
            &["stauts"],
            "wgautomesh: ./wgautomesh: there is no mesh \"stauts\"; the file has home, work\n\
             wgautomesh: did you mean `wgautomesh status`? Any other word is the name of a mesh.\n",
        ),
        (
            &["status", "/etc/config/wgautomesh"],
            "wgautomesh: ./wgautomesh: there is no mesh \"/etc/config/wgautomesh\"; the file has home, work\n\
             wgautomesh: name a mesh, not a file; --config-dir names another directory than /etc/config\n",
        ),
    ] {
        let output = wgautomesh(&directory, &both, arguments);
        let got = (output.status.code(), text(&output.stdout), text(&output.stderr));
        assert_eq!(got, (Some(1), "", said), "{arguments:?}");
    }
}

#[test]
fn status_shows_one_mesh_or_all() {
    let directory = Directory::new();
    let both = HOME.to_owned() + &work();
    let of = |config: &str, arguments: &[&str]| {
        let output = wgautomesh(&directory, config, &[&["status"], arguments].concat());
        (output.status.code(), text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
    };
    let not_running = format!(
        "wgautomesh: wg1: no wgautomesh listens at {}/wg1.sock\nIs it running? `/etc/init.d/wgautomesh start` starts it.\n",
        directory.0.display()
    );
    while_serving(&directory.0, "wg0", |_| {
        let home = format!("home: {TABLE}");
        for arguments in [&["home"][..], &["-i", "wg0"]] {
            assert_eq!(of(&both, arguments), (Some(0), TABLE.into(), String::new()), "{arguments:?}");
        }
        assert_eq!(of(HOME, &[]), (Some(0), home.clone(), String::new()));
        assert_eq!(of(&both, &["work"]), (Some(1), String::new(), not_running.clone()));
        assert_eq!(of(&both, &[]), (Some(1), home.clone(), not_running.clone()));
        // Whatever is wrong with the mesh, as long as it has an interface.
        assert_eq!(of(&HOME.replace("1666", "0"), &["home"]).0, Some(0));

        let (code, json, _) = of(&both, &["--json"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((code, &json["version"]), (Some(1), &1.into()));
        let home_document = &json["meshes"]["home"];
        assert_eq!(home_document["node"]["interface"], "wg0");
        assert_eq!(
            json["meshes"]["work"],
            serde_json::json!({ "error": not_running.trim().replace('\n', " ") })
        );
        let (_, one, _) = of(&both, &["--json", "home"]);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&one).unwrap(), *home_document);

        while_serving(&directory.0, "wg1", |_| {
            let work = TABLE.replace("wg0", "wg1");
            assert_eq!(of(&both, &[]), (Some(0), format!("{home}\nwork: {work}"), String::new()));
        });
    });
    let off = HOME.replace("option interface", "option enabled '0'\n\toption interface");
    assert_eq!(of(&off, &[]), (Some(0), "no mesh is enabled in ./wgautomesh\n".into(), String::new()));
    assert_eq!(of(&off, &["--json"]).1, "{\"version\":1,\"meshes\":{}}\n");
}
