//! The makefile for OpenWrt's build system, under GNU make with stand-ins for what it includes: what it installs is what the
//! packages have in them.

mod common;

use std::{fs, path::Path, process::Command};

use common::{Folder, is_there, platform, stdout};

/// OpenWrt's commands for installing, as its rules.mk has them.
const RULES: &str = "\
INCLUDE_DIR := $(TOPDIR)
INSTALL_DIR := install -d -m0755
INSTALL_BIN := install -m0755
INSTALL_CONF := install -m0600
INSTALL_DATA := install -m0644
CP := cp -fpR
";
const PACKAGE: &str = "\
define BuildPackage
prepare: ; $(call Build/Prepare)
show: ; @echo '$(PKG_VERSION) $(RUST_PKG_FEATURES) / $(Build/Compile)'
install-files: ; $(call Package/$(1)/install,$(OUT))
endef
Build/Compile/Cargo = $(1) $(2)
";

#[test]
fn the_build_system_installs_what_the_packages_have() {
    if !is_there("make") {
        return;
    }
    let folder = Folder::new("buildroot");
    folder.write("top/rules.mk", RULES);
    folder.write("top/package.mk", PACKAGE);
    folder.write("top/feeds/packages/lang/rust/rust-package.mk", "");
    folder.write("built/bin/wgautomesh-openwrt", "program");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let make = |target: &str| {
        let mut command = Command::new("make");
        command.arg("-C").arg(platform()).args(["--no-print-directory", target]);
        command.arg(format!("TOPDIR={}", at("top"))).arg(format!("OUT={}", at("installed")));
        command
            .arg(format!("PKG_INSTALL_DIR={}", at("built")))
            .arg(format!("PKG_BUILD_DIR={}", at("sources")));
        stdout(&mut command)
    };

    let said = make("show");
    let (version, rest) = said.trim().split_once(' ').unwrap();
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    assert_eq!(rest, "wgautomesh/upnp / platform-openwrt --bin wgautomesh-openwrt");

    make("install-files");
    let list = |folder: &Path| {
        let mut find = Command::new("find");
        let lines = stdout(find.arg(folder).args(["-type", "f", "-printf", "%P %m\n"]));
        let mut lines: Vec<String> = lines.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let modes = [
        "etc/capabilities/wgautomesh.json 644",
        "etc/config/wgautomesh 600",
        "etc/init.d/wgautomesh 755",
        "usr/bin/wgautomesh 755",
        "usr/libexec/rpcd/wgautomesh 755",
    ];
    let installed = list(&folder.path().join("installed"));
    assert_eq!(installed, modes);
    // Nothing has been forgotten, but the list of what is kept over an upgrade: the build system makes it from "conffiles".
    let path = |line: &String| line.split(' ').next().unwrap().to_owned();
    let packed = list(&platform().join("files"));
    let mut packed: Vec<String> =
        packed.iter().map(path).filter(|path| !path.starts_with("lib/upgrade/")).collect();
    packed.push("usr/bin/wgautomesh".into());
    packed.sort();
    assert_eq!(installed.iter().map(path).collect::<Vec<_>>(), packed);

    // And what it builds from is there.
    make("prepare");
    for file in ["Cargo.lock", "LICENSE-MIT", "platform-openwrt/Cargo.toml", "core/Cargo.toml"] {
        assert!(fs::exists(folder.path().join("sources").join(file)).unwrap(), "{file}");
    }
}
