//! The packages and the feed as other people's programs read them: Python's gzip and tarfile, GNU tar, signify.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use common::{EPOCH, Folder, PROGRAM, finished, is_there, packager, platform, source, stdout};

const FILE: &str = concat!("wgautomesh_", env!("CARGO_PKG_VERSION"), "-r1_mipsel_24kc.ipk");

/// Packs, and gives the folder of the feed.
fn pack(folder: &Folder, source: &Path) -> PathBuf {
    let program = folder.write("program", PROGRAM);
    let out = folder.path().join("out");
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/feed.sec");
    let mut command = packager();
    command.args(["--arch", "mipsel_24kc", "--binary"]).arg(program).arg("--out").arg(&out);
    stdout(command.arg("--source").arg(source).arg("--key").arg(key));
    out.join("mipsel_24kc")
}

fn read(ipk: &Path, arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ipk/read.py");
    stdout(Command::new("python3").arg(script).arg(ipk).args(arguments))
}

#[test]
fn an_ipk_as_python_reads_it() {
    if !is_there("python3") {
        return;
    }
    let folder = Folder::new("ipk");
    let ipk = pack(&folder, &source(&folder, false)).join(FILE);
    let expected = "\
ipk:
file 0644 0:0 @ ./debian-binary
file 0644 0:0 @ ./data.tar.gz
file 0644 0:0 @ ./control.tar.gz
data.tar.gz:
folder 0755 0:0 @ ./
folder 0755 0:0 @ ./etc/
folder 0755 0:0 @ ./etc/capabilities/
file 0644 0:0 @ ./etc/capabilities/wgautomesh.json
folder 0755 0:0 @ ./etc/config/
file 0600 0:0 @ ./etc/config/wgautomesh
folder 0755 0:0 @ ./etc/init.d/
file 0755 0:0 @ ./etc/init.d/wgautomesh
folder 0755 0:0 @ ./lib/
folder 0755 0:0 @ ./lib/upgrade/
folder 0755 0:0 @ ./lib/upgrade/keep.d/
file 0644 0:0 @ ./lib/upgrade/keep.d/wgautomesh
folder 0755 0:0 @ ./usr/
folder 0755 0:0 @ ./usr/bin/
file 0755 0:0 @ ./usr/bin/wgautomesh
folder 0755 0:0 @ ./usr/libexec/
folder 0755 0:0 @ ./usr/libexec/rpcd/
file 0755 0:0 @ ./usr/libexec/rpcd/wgautomesh
control.tar.gz:
folder 0755 0:0 @ ./
file 0644 0:0 @ ./conffiles
file 0644 0:0 @ ./control
file 0755 0:0 @ ./postinst
file 0755 0:0 @ ./postinst-pkg
file 0755 0:0 @ ./prerm
";
    assert_eq!(read(&ipk, &[]), expected.replace('@', EPOCH));

    for (path, packed) in [
        ("usr/bin/wgautomesh", PROGRAM.to_vec()),
        ("etc/init.d/wgautomesh", fs::read(platform().join("files/etc/init.d/wgautomesh")).unwrap()),
    ] {
        assert_eq!(read(&ipk, &["data.tar.gz", &format!("./{path}")]).as_bytes(), packed, "{path}");
    }
    assert_eq!(read(&ipk, &["control.tar.gz", "./conffiles"]), "/etc/config/wgautomesh\n");
    assert_eq!(read(&ipk, &["data.tar.gz", "./lib/upgrade/keep.d/wgautomesh"]), "/etc/wgautomesh/\n");
}

#[test]
fn the_control_file() {
    if !is_there("python3") {
        return;
    }
    let folder = Folder::new("control");
    let ipk = pack(&folder, &source(&folder, false)).join(FILE);
    let control = read(&ipk, &["control.tar.gz", "./control"]);
    // As ipkg-build counts it: the archive of the files, unpacked.
    let mut unpacked = Command::new("sh");
    unpacked.args(["-c", "tar -xzOf \"$1\" ./data.tar.gz | gzip -d | wc -c", "sh"]).arg(&ipk);
    let installed = stdout(&mut unpacked);
    let expected = format!(
        "\
Package: wgautomesh
Version: {}-r1
Depends: wireguard-tools
Source: wgautomesh
SourceName: wgautomesh
License: (MIT OR Apache-2.0) AND LGPL-2.1-or-later
Section: net
SourceDateEpoch: {EPOCH}
Maintainer: the wgautomesh developers
Architecture: mipsel_24kc
Installed-Size: {}
Description: Turns WireGuard interfaces into a full mesh
 Nodes tell each other, inside the tunnels, where they see one another. Two nodes
 behind NATs are introduced by a third one, and punch through. There is no server.
",
        env!("CARGO_PKG_VERSION"),
        installed.trim()
    );
    assert_eq!(control, expected);
}

/// What OpenWrt's own functions are called with, and nothing on a machine that only makes an image.
#[test]
fn the_scripts_of_the_package() {
    if !is_there("python3") || !is_there("busybox") {
        return;
    }
    let folder = Folder::new("scripts");
    let ipk = pack(&folder, &source(&folder, false)).join(FILE);
    let functions = "default_postinst() { echo postinst \"$@\"; }\ndefault_prerm() { echo prerm \"$@\"; }\n";
    folder.write("root/lib/functions.sh", functions);
    let run = |name: &str, variables: &[(&str, &Path)]| {
        let script = folder.write(name, read(&ipk, &["control.tar.gz", &format!("./{name}")]));
        stdout(
            Command::new("busybox").arg("ash").arg(&script).arg("configure").envs(variables.iter().copied()),
        )
    };
    let root = folder.path().join("root");
    let at = |name: &str| folder.path().join(name).display().to_string();
    assert_eq!(
        run("postinst", &[("IPKG_INSTROOT", &root)]),
        format!("postinst {} configure\n", at("postinst"))
    );
    assert_eq!(run("prerm", &[("IPKG_INSTROOT", &root)]), format!("prerm {} configure\n", at("prerm")));
    assert_eq!(run("postinst", &[("IPKG_INSTROOT", &root), ("IPKG_NO_SCRIPT", Path::new("1"))]), "");
    // Here is no router.
    assert_eq!(run("postinst-pkg", &[("IPKG_INSTROOT", &root)]), "");
    assert_eq!(run("postinst-pkg", &[]), "");
}

#[test]
fn the_same_bytes_from_another_folder_at_another_time() {
    let (one, other) = (Folder::new("same-one"), Folder::new("same-other"));
    let first = pack(&one, &source(&one, true));
    let copy = source(&other, true);
    // Times, permissions and the order of a folder's entries are of the machine, not of the package.
    let mut stir = Command::new("sh");
    stir.arg("-c")
        .arg("cd \"$1/files/etc/config\" && mv wgautomesh x && touch z && mv x wgautomesh && rm z")
        .arg("sh");
    stdout(stir.arg(&copy));
    stdout(Command::new("find").arg(&copy).args(["-exec", "touch", "-d", "2001-02-03", "{}", "+"]));
    stdout(Command::new("chmod").args(["-R", "go-rwx,-x+X"]).arg(&copy));
    let second = pack(&other, &copy);

    let names = |folder: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let luci = concat!("luci-app-wgautomesh_", env!("CARGO_PKG_VERSION"), "-r1_all.ipk");
    let apk = concat!("wgautomesh-", env!("CARGO_PKG_VERSION"), "-r1.apk");
    let luci_apk = concat!("luci-app-wgautomesh-", env!("CARGO_PKG_VERSION"), "-r1.apk");
    assert_eq!(
        names(&first),
        ["Packages", "Packages.gz", "Packages.sig", luci_apk, luci, "packages.adb", apk, FILE]
    );
    assert_eq!(names(&first), names(&second));
    for name in names(&first) {
        let (one, other) = (fs::read(first.join(&name)).unwrap(), fs::read(second.join(&name)).unwrap());
        assert!(one == other, "{name:?} differs");
    }
}

#[test]
fn the_web_interface_is_laid_out_as_luci_s_own() {
    if !is_there("python3") {
        return;
    }
    let folder = Folder::new("luci");
    let feed = pack(&folder, &source(&folder, true));
    let ipk = feed.join(concat!("luci-app-wgautomesh_", env!("CARGO_PKG_VERSION"), "-r1_all.ipk"));
    let listing = read(&ipk, &[]);
    let files: Vec<&str> = listing
        .lines()
        .filter(|line| line.starts_with("file"))
        .filter_map(|line| line.rsplit(' ').next())
        .collect();
    assert_eq!(
        files,
        [
            "./debian-binary",
            "./data.tar.gz",
            "./control.tar.gz",
            "./usr/share/luci/menu.d/luci-app-wgautomesh.json",
            "./www/luci-static/resources/view/wgautomesh/status.js",
            "./control",
            "./postinst",
            "./postinst-pkg",
            "./prerm",
        ]
    );
    let control = read(&ipk, &["control.tar.gz", "./control"]);
    assert!(
        control.contains("\nDepends: luci-base, wgautomesh\n") && control.contains("\nArchitecture: all\n")
    );
    assert!(read(&ipk, &["control.tar.gz", "./postinst-pkg"]).contains("/tmp/luci-indexcache*"));

    // Without one, the rest is packed, and it is said.
    let without = Folder::new("no-luci");
    let mut command = packager();
    command.args(["--arch", "x86_64", "--binary"]).arg(without.write("program", PROGRAM));
    command.arg("--source").arg(source(&without, false)).arg("--out").arg(without.path().join("out"));
    assert!(stdout(&mut command).contains("luci-app-wgautomesh: skipped, there is no "));
    assert_eq!(fs::read_dir(without.path().join("out/x86_64")).unwrap().count(), 5);
}

#[test]
fn the_index_says_what_lies_beside_it() {
    let folder = Folder::new("index");
    let feed = pack(&folder, &source(&folder, true));
    let index = fs::read_to_string(feed.join("Packages")).unwrap();
    let entries: Vec<&str> = index.trim_end().split("\n\n").collect();
    assert_eq!(entries.len(), 2);
    for (entry, name) in entries.iter().zip(["wgautomesh", "luci-app-wgautomesh"]) {
        let field = |name: &str| {
            let start = format!("{name}: ");
            entry.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default()
        };
        assert_eq!(field("Package"), name);
        let file = feed.join(field("Filename"));
        assert_eq!(fs::metadata(&file).unwrap().len().to_string(), field("Size"));
        let sum = stdout(Command::new("sha256sum").arg(&file));
        assert_eq!(sum.split(' ').next(), Some(field("SHA256sum")));
        // What the control file says, and in between where the file is: opkg reads no field behind the description.
        let mut control = Command::new("sh");
        control.args(["-c", "tar -xzOf \"$1\" ./control.tar.gz | tar -xzOf - ./control", "sh"]).arg(&file);
        let without: String = entry
            .lines()
            .filter(|line| {
                !["Filename: ", "Size: ", "SHA256sum: "].iter().any(|field| line.starts_with(field))
            })
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(without, stdout(&mut control));
        let last = entry.lines().rev().find(|line| !line.starts_with(' ')).unwrap();
        assert!(last.starts_with("Description: "), "{last}");
    }
    let mut unpacked = Command::new("gzip");
    assert_eq!(stdout(unpacked.arg("-dc").arg(feed.join("Packages.gz"))), index);
}

#[test]
fn signify_accepts_the_signature_and_no_other_index() {
    if !is_there("signify-openbsd") {
        return;
    }
    let folder = Folder::new("signature");
    let feed = pack(&folder, &source(&folder, true));
    let public = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/feed.pub");
    let verify = || {
        let mut signify = Command::new("signify-openbsd");
        signify.args(["-V", "-q", "-p"]).arg(&public).arg("-m").arg(feed.join("Packages"));
        finished(signify.arg("-x").arg(feed.join("Packages.sig"))).status.success()
    };
    assert!(verify());
    // The fingerprint that the router looks for its key by, in usign's spelling.
    let signature = fs::read_to_string(feed.join("Packages.sig")).unwrap();
    assert!(signature.starts_with("untrusted comment: signed by key abdcb23414406796\n"), "{signature}");

    let index = fs::read_to_string(feed.join("Packages")).unwrap();
    folder.write("out/mipsel_24kc/Packages", index.replace("Section: net", "Section: new"));
    assert!(!verify());
}

#[test]
fn the_sizes_are_shown() {
    let folder = Folder::new("sizes");
    let program = folder.write("program", PROGRAM);
    let mut command = packager();
    command
        .args(["--arch", "mips_24kc", "--binary"])
        .arg(&program)
        .arg("--out")
        .arg(folder.path().join("out"));
    let said = stdout(command.arg("--source").arg(source(&folder, true)));
    let feed = folder.path().join("out/mips_24kc");
    let size = |name: &str| fs::metadata(feed.join(name)).unwrap().len().to_string();
    for (package, arch) in [("wgautomesh", "mips_24kc"), ("luci-app-wgautomesh", "all")] {
        let row: Vec<&str> = said
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .find(|words| words.starts_with(&[package, arch]))
            .unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(row[2], size(&format!("{package}_{version}-r1_{arch}.ipk")));
        assert_eq!(row[3], size(&format!("{package}-{version}-r1.apk")));
        let ipk = feed.join(format!("{package}_{version}-r1_{arch}.ipk"));
        let mut unpack = Command::new("sh");
        unpack.args(["-c", "tar -xzOf \"$1\" ./data.tar.gz | tar -xzOf - | wc -c", "sh"]).arg(ipk);
        assert_eq!(row[4], stdout(&mut unpack).trim());
    }
}

/// Whatever is built for an architecture is built as the program is. Stands in for the compiler and for cargo-zigbuild.
#[test]
fn other_things_can_be_built_as_the_program_is() {
    let folder = Folder::new("cargo");
    let sysroot = folder.path().join("sysroot");
    folder.write("sysroot/lib/rustlib/src/rust/library/std/Cargo.toml", "");
    folder.write("cargo", "");
    // Installed by another process: a descriptor for writing, inherited for a moment by what other tests start, would make
    // it "busy".
    let program = |name: &str, script: String| {
        let written = folder.write(&format!("{name}.sh"), script);
        let path = folder.path().join(name);
        stdout(Command::new("install").args(["-m", "755"]).arg(written).arg(&path));
        path
    };
    let rustc = program("rustc", format!("#!/bin/sh\necho '{}'\n", sysroot.display()));
    let zigbuild = "#!/bin/sh\necho \"$@\" \"[$RUSTFLAGS]\"\ncase \" $* \" in *' fail '*) exit 7 ;; esac\n";
    let zigbuild = program("cargo-zigbuild", zigbuild.into());
    let cargo = |arguments: &[&str]| {
        let mut command = packager();
        command.args(arguments).env("RUSTC", &rustc).env("CARGO_ZIGBUILD", &zigbuild);
        command.env("CARGO_HOME", "/home").env("CARGO_TARGET_DIR", "/target");
        command
    };
    let remap = format!(
        "--remap-path-prefix=/home=cargo --remap-path-prefix={}/lib/rustlib/src/rust=std",
        sysroot.display()
    );
    let built = |arguments: &[&str]| stdout(&mut cargo(arguments));
    assert_eq!(
        built(&["--arch", "mips_24kc", "--cargo", "zigbuild", "--package", "other"]),
        format!(
            "mips_24kc: building for mips-unknown-linux-musl with {}\nzigbuild --target mips-unknown-linux-musl \
             --target-dir /target/openwrt-build -Zbuild-std=std,panic_abort -Z build-std-features=optimize_for_size -Z panic-immediate-abort \
             --package other [-C relocation-model=static -C force-unwind-tables=no {remap}]\n",
            rustc.display()
        )
    );
    // Those who test catch panics.
    let tested = built(&["--arch", "mips_24kc", "--cargo", "test", "--", "--skip", "x"]);
    assert!(
        tested.contains(" -Zbuild-std=std -Z build-std-features=optimize_for_size -- --skip x "),
        "{tested}"
    );
    assert!(tested.contains(&format!("[-C relocation-model=static {remap}]")), "{tested}");
    // For each of them, and a failure is one.
    let all = built(&["--arch", "x86_64", "--arch", "arm_cortex-a9", "--cargo", "zigbuild"]);
    assert_eq!(all.matches("[-C link-self-contained=no ").count(), 2, "{all}");
    assert_eq!(
        finished(&mut cargo(&["--arch", "x86_64", "--cargo", "zigbuild", "fail"])).status.code(),
        Some(1)
    );
    assert_eq!(finished(&mut cargo(&["--arch", "x86_64", "--cargo"])).status.code(), Some(2));
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let folder = Folder::new("refused");
    let program = folder.write("program", PROGRAM);
    let complaint = |arguments: &[&str], code: i32| {
        let mut command = packager();
        command.args(arguments).arg("--out").arg(folder.path().join("out"));
        let output = finished(&mut command);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let program = program.to_str().unwrap();
    assert!(complaint(&[], 2).contains("--arch is missing"));
    assert!(complaint(&["--arch", "mips"], 2).contains("there is mipsel_24kc, mips_24kc, "));
    assert!(complaint(&["--arch", "all", "--binary", program], 2).contains("one --arch"));
    let key = ["--arch", "x86_64", "--binary", program, "--key", program];
    assert!(complaint(&key, 1).contains("no key of signify") || complaint(&key, 1).contains("not as long"));
    assert!(complaint(&["--arch", "x86_64", "--binary", "/nowhere"], 1).contains("/nowhere: "));
    let key = ["--arch", "x86_64", "--binary", program, "--apk-key", program];
    assert!(complaint(&key, 1).contains("no key that apk can use"));
    let nothing = ["--arch", "x86_64", "--binary", program, "--source", "/nowhere"];
    assert!(complaint(&nothing, 1).contains("/nowhere/files: "));

    folder.write("linked/files/etc/config/wgautomesh", "");
    std::os::unix::fs::symlink("wgautomesh", folder.path().join("linked/files/etc/config/link")).unwrap();
    let linked = folder.path().join("linked");
    let linked = ["--arch", "x86_64", "--binary", program, "--source", linked.to_str().unwrap()];
    assert!(complaint(&linked, 1).contains("neither a file nor a folder"));
}
