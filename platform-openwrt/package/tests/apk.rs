//! The packages and the index for apk-tools 3 as other programs read them: libsolv, which implements the format on its own;
//! a reader written from the format's description; and OpenSSL.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use common::{EPOCH, Folder, PROGRAM, finished, is_there, packager, platform, source, stdout};

const FILE: &str = concat!("wgautomesh-", env!("CARGO_PKG_VERSION"), "-r1.apk");
const LUCI: &str = concat!("luci-app-wgautomesh-", env!("CARGO_PKG_VERSION"), "-r1.apk");

/// Packs, with a key if there is to be one, and gives the folder of the feed.
fn pack(folder: &Folder, key: Option<&Path>) -> PathBuf {
    let program = folder.write("program", PROGRAM);
    let out = folder.path().join("out");
    let mut command = packager();
    command.args(["--arch", "mipsel_24kc", "--binary"]).arg(program).arg("--out").arg(&out);
    if let Some(key) = key {
        command.arg("--apk-key").arg(key);
    }
    stdout(command.arg("--source").arg(source(folder, true)));
    out.join("mipsel_24kc")
}

fn read(file: &Path, arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apk/read.py");
    stdout(Command::new("python3").arg(script).arg(file).args(arguments))
}

#[test]
fn an_apk_as_its_format_is_described() {
    if !is_there("python3") {
        return;
    }
    let folder = Folder::new("apk");
    let apk = pack(&folder, None).join(FILE);
    let shown = read(&apk, &[]);
    let (shown, scripts) = shown.split_at(shown.find("== ").unwrap());
    // Each file takes whole blocks of 4096 bytes.
    let lengths = |path: &str| fs::metadata(platform().join("files").join(path)).unwrap().len() as usize;
    let installed: usize = [
        "etc/capabilities/wgautomesh.json",
        "etc/config/wgautomesh",
        "etc/init.d/wgautomesh",
        "lib/upgrade/keep.d/wgautomesh",
        "usr/libexec/rpcd/wgautomesh",
    ]
    .map(lengths)
    .into_iter()
    .chain([PROGRAM.len(), 1, 1, 1])
    .map(|length| length.next_multiple_of(4096))
    .sum();
    let expected = format!(
        "\
name: wgautomesh
version: {}-r1
hashes: 20 bytes
description: Turns WireGuard interfaces into a full mesh Nodes tell each other, inside the tunnels, where they see one another. \
         Two nodes behind NATs are introduced by a third one, and punch through. There is no server.
arch: mipsel_24kc
license: (MIT OR Apache-2.0) AND LGPL-2.1-or-later
origin: wgautomesh
maintainer: the wgautomesh developers
installed-size: {installed}
depends: wireguard-tools
folder 0755 root:root /
folder 0755 root:root etc/
folder 0755 root:root etc/capabilities/
file 0644 root:root @ etc/capabilities/wgautomesh.json
folder 0755 root:root etc/config/
file 0600 root:root @ etc/config/wgautomesh
folder 0755 root:root etc/init.d/
file 0755 root:root @ etc/init.d/wgautomesh
folder 0755 root:root lib/
folder 0755 root:root lib/apk/
folder 0755 root:root lib/apk/packages/
file 0644 root:root @ lib/apk/packages/wgautomesh.conffiles
file 0644 root:root @ lib/apk/packages/wgautomesh.conffiles_static
file 0644 root:root @ lib/apk/packages/wgautomesh.list
folder 0755 root:root lib/upgrade/
folder 0755 root:root lib/upgrade/keep.d/
file 0644 root:root @ lib/upgrade/keep.d/wgautomesh
folder 0755 root:root usr/
folder 0755 root:root usr/bin/
file 0755 root:root @ usr/bin/wgautomesh
folder 0755 root:root usr/libexec/
folder 0755 root:root usr/libexec/rpcd/
file 0755 root:root @ usr/libexec/rpcd/wgautomesh
",
        env!("CARGO_PKG_VERSION"),
    );
    assert_eq!(shown, expected.replace('@', EPOCH));

    assert_eq!(read(&apk, &["usr/bin/wgautomesh"]).as_bytes(), PROGRAM);
    let record = |kind: &str| read(&apk, &[&format!("lib/apk/packages/wgautomesh.{kind}")]);
    assert_eq!(
        record("list"),
        "/etc/capabilities/wgautomesh.json\n/etc/config/wgautomesh\n/etc/init.d/wgautomesh\n\
         /lib/upgrade/keep.d/wgautomesh\n/usr/bin/wgautomesh\n/usr/libexec/rpcd/wgautomesh\n"
    );
    assert_eq!(record("conffiles"), "/etc/config/wgautomesh\n");
    let sum = stdout(Command::new("sha256sum").arg(platform().join("files/etc/config/wgautomesh")));
    let sum = sum.split(' ').next().unwrap();
    assert_eq!(record("conffiles_static"), format!("/etc/config/wgautomesh {sum}\n"));

    let scripts: Vec<&str> = scripts.split("== ").skip(1).collect();
    let named = |name: &str| scripts.iter().find_map(|script| script.strip_prefix(name)).unwrap_or_default();
    assert_eq!(scripts.len(), 3);
    assert!(named("post-install\n").contains("\ndefault_postinst\n"));
    assert!(named("post-upgrade\n").contains("\nexport PKG_UPGRADE=1\n"));
    assert!(named("pre-deinstall\n").ends_with("\nexport pkgname=\"wgautomesh\"\ndefault_prerm\n"));
    if is_there("busybox") {
        for (index, script) in scripts.iter().enumerate() {
            let (_, script) = script.split_once('\n').unwrap();
            let script = folder.write(&format!("script-{index}"), script);
            stdout(Command::new("busybox").args(["ash", "-n"]).arg(script));
        }
    }
}

#[test]
fn libsolv_reads_packages_and_index() {
    if !is_there("apk2solv") || !is_there("dumpsolv") {
        return;
    }
    let folder = Folder::new("libsolv");
    let feed = pack(&folder, None);
    let dump = |what: &str, arguments: &[&Path]| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("apk2solv {what} | dumpsolv -a /dev/stdin"), "sh"]).args(arguments);
        let text = stdout(&mut command);
        let start = text.find("\nsolvable 1 ").unwrap_or_else(|| panic!("{text}"));
        text[start..].to_owned()
    };
    let packages = dump("\"$@\"", &[&feed.join(LUCI), &feed.join(FILE)]);
    let index = dump("-C -r <\"$1\"", &[&feed.join("packages.adb")]);
    for text in [&packages, &index] {
        let entries: Vec<&str> = text.split("\nsolvable ").skip(1).collect();
        assert_eq!(entries.len(), 2);
        let version = concat!("\nsolvable:evr: ", env!("CARGO_PKG_VERSION"), "-r1\n");
        let luci =
            ["solvable:name: luci-app-wgautomesh", "solvable:arch: noarch", "  luci-base", "  wgautomesh"];
        let daemon = ["solvable:name: wgautomesh", "solvable:arch: mipsel_24kc", "  wireguard-tools"];
        for (entry, lines) in entries.iter().zip([&luci[..], &daemon]) {
            assert!(entry.contains(version), "{entry}");
            for line in lines {
                assert!(entry.lines().any(|entry| entry == *line), "{line} in {entry}");
            }
        }
    }
    let size = fs::metadata(feed.join(FILE)).unwrap().len();
    assert!(index.contains(&format!("\nsolvable:downloadsize: {size}\n")), "{index}");
    assert_eq!(index.matches("(sha256)").count(), 2);
}

/// A router trusts a package because the index, which it trusts, has the hash of what the package says.
#[test]
fn the_index_vouches_for_the_packages() {
    if !is_there("python3") {
        return;
    }
    let folder = Folder::new("apk-index");
    let feed = pack(&folder, None);
    let index = read(&feed.join("packages.adb"), &[]);
    let of = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with("identity: ")).map(str::to_owned).collect()
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apk/read.py");
    let identity = |file: &str| {
        let output = finished(Command::new("python3").arg(&script).arg(feed.join(file)));
        of(&String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(of(&index), [identity(LUCI), identity(FILE)].concat());
    assert_eq!(of(&index).len(), 2);
}

#[test]
fn openssl_accepts_the_signature_and_no_other_index() {
    if !is_there("openssl") || !is_there("python3") {
        return;
    }
    // Both ways in which OpenSSL writes a key down.
    for (name, form) in
        [("sec1", "ec -in \"$1\" -out \"$2\""), ("pkcs8", "pkcs8 -topk8 -nocrypt -in \"$1\" -out \"$2\"")]
    {
        let folder = Folder::new(&format!("apk-signature-{name}"));
        let at = |name: &str| folder.path().join(name);
        let openssl = |arguments: &str, files: [&str; 2]| {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("openssl {arguments}"), "sh"]).args(files.map(at));
            finished(&mut command)
        };
        openssl("ecparam -name prime256v1 -genkey -out \"$1\"", ["made", "made"]);
        openssl(form, ["made", "key"]);
        openssl("ec -in \"$1\" -pubout -out \"$2\"", ["key", "public"]);
        let index = pack(&folder, Some(&at("key"))).join("packages.adb");
        let (signed, signature) = (at("signed"), at("signature"));
        let id = read(&index, &["signed", signed.to_str().unwrap(), signature.to_str().unwrap()]);
        let verify = "dgst -sha512 -verify \"$1\" -signature \"${2%/*}/signature\" \"$2\"";
        assert!(openssl(verify, ["public", "signed"]).status.success());

        // By this the router finds its key: a hash of the point on the curve, the last 65 bytes of the public key.
        let mut command = Command::new("sh");
        let point =
            "openssl ec -pubin -in \"$1\" -outform DER 2>/dev/null | tail -c 65 | sha512sum | cut -c 1-32";
        assert_eq!(id, stdout(command.args(["-c", point, "sh"]).arg(at("public"))));

        let mut other = fs::read(&signed).unwrap();
        *other.last_mut().unwrap() ^= 1;
        folder.write("signed", other);
        assert!(!openssl(verify, ["public", "signed"]).status.success());
    }
}
