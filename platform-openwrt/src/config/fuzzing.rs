//! What must hold for any two files.

use super::{Meshes, network};
use crate::uci;
use std::path::Path;
use wgautomesh::config::{Field, Located, Position, Report, Secret};
use zeroize::Zeroizing;

/// Small, so that it is reached.
const CAPACITY: usize = 4;

/// Does with some bytes what a daemon does with those of its files, up to the first NUL and behind it, and checks what must
/// always hold. No file is opened.
pub fn check(bytes: &[u8]) {
    let mut files = bytes.splitn(2, |&byte| byte == 0);
    let (own, other) = (files.next().unwrap_or_default(), files.next().unwrap_or_default());
    check_syntax(own);
    check_syntax(other);
    match Meshes::parse(own, Path::new(""), Report::new("wgautomesh")) {
        Err(report) => {
            assert!(report.has_errors());
            check_report(&report);
        }
        Ok(meshes) => {
            assert!(!meshes.report.has_errors() && !meshes.list.is_empty());
            check_report(&meshes.report);
            meshes.list.into_iter().for_each(|mesh| check_mesh(mesh, other));
        }
    }
}

fn check_mesh(mesh: super::Mesh, network: &[u8]) {
    let super::Mesh { mut draft, mut report, excluded, .. } = mesh;
    let errors = report.errors().count();
    network::add_peers_of(network, Path::new("network"), &mut draft, &excluded, CAPACITY, &mut report);
    assert_eq!(report.errors().count(), errors, "what is in the network's file is no error");
    if !draft.secret_file.is_absent() {
        draft.secret_file = Field::Absent;
        if let Ok(value) = Secret::new(Zeroizing::new("0123456789abcdef".into())) {
            draft.secret = Field::Given(Located { value, at: Position::START });
        }
    }
    // Files of this machine are no input.
    (draft.secret_next_file, draft.secret_previous_file) = (Field::Absent, Field::Absent);
    let config = draft.finish(CAPACITY, &mut report);
    report.sort();
    check_report(&report);
    assert_eq!(config.is_some(), !report.has_errors());
    let Some(config) = config else { return };
    assert!(config.peers().len() <= CAPACITY && !config.secret().reveal().is_empty());
    for (index, peer) in config.peers().iter().enumerate() {
        let mut before = config.peers().iter().take(index);
        assert!(before.all(|other| other.key() != peer.key() && other.address() != peer.address()));
    }
}

/// Nothing in a report can begin a line of its own or steer a terminal.
fn check_report(report: &Report) {
    assert!(report.lines().all(|line| !line.contains(char::is_control)));
}

/// What is read means the same when it is written as `uci export` does.
pub fn check_syntax(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut report = Report::new("");
    let Some(package) = uci::parse(&text, 0, &mut report) else {
        assert!(report.has_errors());
        return check_report(&report);
    };
    let written = export(&package);
    let again = uci::parse(&written, 0, &mut report);
    assert_eq!(again.as_ref().map(export).as_ref(), Some(&written));
}

/// A file as `uci export` writes it.
fn export(package: &uci::Package<'_>) -> String {
    let mut out = String::new();
    for section in &package.sections {
        let name = section.name.as_deref().map(uci::quoted).unwrap_or_default();
        out += &format!("\nconfig {} {name}\n", uci::quoted(&section.kind));
        for setting in &section.settings {
            let command = if setting.list { "list" } else { "option" };
            for value in &setting.values {
                out += &format!("\t{command} {} {}\n", &*setting.name, uci::quoted(&value.value));
            }
        }
    }
    out
}
