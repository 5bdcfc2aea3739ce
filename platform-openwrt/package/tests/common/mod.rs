//! For the tests of what is packed: folders of their own, and the programs of other people that judge it.
#![allow(dead_code, reason = "no test needs all of it")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The time stamp of what is packed.
pub(crate) const EPOCH: &str = "1764000000";
/// Stands in for the daemon: some text that does not compress to nothing.
pub(crate) const PROGRAM: &[u8] = include_bytes!("../package.rs");

/// The program under test.
pub(crate) fn packager() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_openwrt-package"));
    command.env("SOURCE_DATE_EPOCH", EPOCH);
    command
}

/// A copy of what is packed, and of a web interface if there is to be one.
pub(crate) fn source(folder: &Folder, with_luci: bool) -> PathBuf {
    let source = folder.path().join("source");
    fs::create_dir_all(&source).unwrap();
    stdout(Command::new("cp").arg("-r").arg(platform().join("files")).arg(&source));
    if with_luci {
        folder.write("source/luci/htdocs/luci-static/resources/view/wgautomesh/status.js", "'use strict';\n");
        folder.write("source/luci/root/usr/share/luci/menu.d/luci-app-wgautomesh.json", "{}\n");
        folder.write("source/luci/Makefile", "# not packed\n");
    }
    source
}

/// The folder with all that is packed.
pub(crate) fn platform() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// An empty folder that goes when the test has gone.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and the folders on the way to it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether a program is there. If not, says so: the test is then skipped, but not in CI, which installs all of them.
pub(crate) fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join(program).exists()) {
        return true;
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{program} is not installed");
    eprintln!("skipped: {program} is not installed");
    false
}

/// The standard output of a program that must succeed.
pub(crate) fn stdout(command: &mut Command) -> String {
    let output = finished(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// How a program ended.
pub(crate) fn finished(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}
