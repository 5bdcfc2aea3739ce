//! Finding the daemon to run: the one of this workspace, built if need be.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::BoxError;

/// The daemon to measure: the one named, or that of this workspace as it is shipped, built now.
pub(crate) fn find_daemon(named: Option<&Path>) -> Result<PathBuf, BoxError> {
    let Some(path) = named else {
        return build_daemon("dist");
    };
    // Nodes are started from here, but a relative path is confusing in a message.
    let daemon = std::path::absolute(path).map_err(BoxError::io("find the daemon"))?;
    if daemon.is_file() {
        Ok(daemon)
    } else {
        Err(BoxError::Daemon(format!("{}: there is no such file", daemon.display())))
    }
}

/// Builds the daemon of this workspace with cargo and returns the path of its binary.
///
/// The cargo is the one that runs us (`$CARGO`), else the one in `$PATH`. With `profile` "release" it is the binary
/// that would be installed; with "test" what `cargo test --workspace` has compiled is used again. Cargo's warnings go to
/// standard error.
///
/// # Errors
/// [`BoxError::Daemon`] when it does not build.
pub fn build_daemon(profile: &str) -> Result<PathBuf, BoxError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace)
        .args(["build", "--locked", "--quiet", "--bin", "wgautomesh"])
        // The features of dependencies depend on what is selected.
        .args(if profile == "test" { &["--workspace"][..] } else { &["--package", "wgautomesh"] })
        .args(["--profile", profile, "--message-format", "json-render-diagnostics"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let failed = |error: &dyn core::fmt::Display| {
        BoxError::Daemon(format!("the daemon could not be built: {error}\n(--daemon PATH takes a ready one)"))
    };
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    let mut binary = None;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            binary = executable(&line).or(binary);
        }
    }
    let status = child.wait().map_err(|error| failed(&error))?;
    if !status.success() {
        return Err(failed(&status));
    }
    binary.ok_or_else(|| failed(&"cargo named no binary"))
}

/// The path in one of cargo's messages, if it is about the daemon's binary.
fn executable(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let name = message.pointer("/target/name")?.as_str()?;
    let path = message.get("executable")?.as_str()?;
    (name == "wgautomesh").then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_found_among_messages() {
        let line =
            r#"{"reason":"compiler-artifact","target":{"name":"wgautomesh"},"executable":"/t/wgautomesh"}"#;
        assert_eq!(executable(line), Some(PathBuf::from("/t/wgautomesh")));
        let library = r#"{"reason":"compiler-artifact","target":{"name":"wgautomesh"},"executable":null}"#;
        assert_eq!(executable(library), None);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(executable("warning: no json"), None);
    }
}
