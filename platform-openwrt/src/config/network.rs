//! The peers that netifd knows: the `wireguard_<interface>` sections of `/etc/config/network`.
//!
//! That file is not ours, and what is odd in it may be right for something else. So nothing in it is an error: a peer that
//! cannot be meshed is left out, with a warning where it is wrong and a note where it is just of another kind.

use super::value::switch;
use crate::uci::{self, Package, Section};
use core::net::IpAddr;
use std::path::Path;
use wgautomesh::config::{
    Draft, Endpoint, Fault, Field, Located, PeerDraft, PeerName, Position, Report, Severity,
    parse_mesh_address, parse_public_key, quoted, read_source,
};
use wgautomesh_core::PublicKey;

/// The file, in the directory of all configuration.
const FILE: &str = "network";

/// What netifd makes of a peer without a port.
const DEFAULT_PORT: &str = "51820";

/// Adds to `draft` the peers that its interface has in the file in `directory`, but for those that are `excluded` and those
/// that are more than `capacity`.
pub(super) fn add_peers(
    directory: &Path,
    draft: &mut Draft,
    excluded: &[PublicKey],
    capacity: usize,
    report: &mut Report,
) {
    let path = directory.join(FILE);
    let mut own = Report::new(path.to_string_lossy());
    match read_source(&path, &mut own) {
        Some(file) => add_peers_of(&file.bytes, &path, draft, excluded, capacity, report),
        None => {
            for finding in own.errors() {
                let what = format!("{} {}", path.display(), finding.fault.what);
                let fix = "add option peers_from_network '0' if the peers are not there";
                report.warn(draft.at, "peers_from_network", Fault::new(what, fix));
            }
        }
    }
}

/// As [`add_peers`], of the file's bytes.
pub(super) fn add_peers_of(
    bytes: &[u8],
    path: &Path,
    draft: &mut Draft,
    excluded: &[PublicKey],
    capacity: usize,
    report: &mut Report,
) {
    // Without a name there is nothing to look for, which is an error already.
    let Some(interface) = draft.interface.given().cloned() else { return };
    let source = report.add_source(path.to_string_lossy());
    // What is allowed and odd there is not our business.
    let mut own = Report::new("");
    // What is not UTF-8 is in names, and those of other things.
    let text = String::from_utf8_lossy(bytes);
    let Some(package) = uci::parse(&text, source, &mut own) else {
        for finding in own.errors() {
            let what = format!("{}; the peers in this file are left out", finding.fault.what);
            report.add(Severity::Warning, finding.at, "", Fault::new(what, finding.fault.fix.clone()));
        }
        return;
    };
    check_interface(&package, interface.value.as_str(), interface.at, path, report);
    let kind = format!("wireguard_{}", interface.value);
    for section in package.sections.iter().filter(|section| *section.kind == *kind) {
        add_peer(section, draft, excluded, report);
    }
    leave_out_too_many(draft, source, capacity, report);
}

/// As many as there is room for are meshed: more on the interface are no reason for none at all.
fn leave_out_too_many(draft: &mut Draft, source: u8, capacity: usize, report: &mut Report) {
    let all = draft.peers.len();
    // Too many in our own file are an error, which is told elsewhere.
    let own = draft.peers.iter().take_while(|peer| peer.at.source != source).count();
    let left_out = draft.peers.split_off(capacity.max(own).min(all));
    if let Some(first) = left_out.first() {
        let what = format!(
            "there are {all} peers, this build holds {capacity}: this one and those below are left out"
        );
        let fix = "give others option enabled '0' in a config peer section, and they make room";
        report.warn(first.at, "peer", Fault::new(what, fix));
    }
}

/// Most likely a slip, when netifd does not know the interface.
fn check_interface(package: &Package<'_>, name: &str, at: Position, path: &Path, report: &mut Report) {
    let interfaces = || package.sections.iter().filter(|section| &*section.kind == "interface");
    let is_wireguard =
        |section: &&Section<'_>| matches!(text(section, "proto"), Some("wireguard" | "amneziawg"));
    let found = interfaces().find(|section| section.name.as_deref() == Some(name));
    let what = match found {
        Some(section) if is_wireguard(&section) => return,
        Some(_) => format!("{} is not of proto wireguard in {}", quoted(name), path.display()),
        None => format!("{} is not in {}", quoted(name), path.display()),
    };
    let others: Vec<&str> = interfaces().filter(is_wireguard).filter_map(|s| s.name.as_deref()).collect();
    let fix = match others.as_slice() {
        [] => {
            "add the interface there, or option peers_from_network '0' if it is made by something else".into()
        }
        all => format!("did you mean {}?", all.join(" or ")),
    };
    report.warn(at, "interface", Fault::new(what, fix));
}

fn add_peer(section: &Section<'_>, draft: &mut Draft, excluded: &[PublicKey], report: &mut Report) {
    if text(section, "disabled").is_some_and(|value| switch(value) == Ok(true)) {
        return;
    }
    let option = |name: &str| format!("{}.{name}", &*section.kind);
    let left_out = |mut fault: Fault| {
        fault.what.push_str(": the peer is left out");
        fault
    };
    let Some(key) = located(section, "public_key") else {
        let fault = Fault::new("is missing", "add it, or remove the section");
        return report.warn(section.at, &option("public_key"), left_out(fault));
    };
    let key = match parse_public_key(key.value) {
        Ok(value) => Located { value, at: key.at },
        Err(fault) => return report.warn(key.at, &option("public_key"), left_out(fault)),
    };
    if excluded.contains(&key.value) {
        return;
    }
    let endpoint = endpoint(section).and_then(|Located { value, at }| match Endpoint::parse(&value) {
        Ok(value) => Some(Located { value, at }),
        Err(fault) => {
            report.warn(at, &option("endpoint_host"), fault);
            None
        }
    });
    let name = located(section, "description")
        .or(section.name.as_deref().map(|value| Located { value, at: section.at }));
    let name =
        match name.map(|Located { value, at }| PeerName::parse(value).map(|value| Located { value, at })) {
            Some(Ok(name)) => Field::Given(name),
            // It was not written for us.
            Some(Err(_)) | None => Field::Absent,
        };
    let address = own_address(section);

    if let Some(peer) =
        draft.peers.iter_mut().find(|peer| peer.key.given().is_some_and(|k| k.value == key.value))
    {
        if peer.at.source == section.at.source {
            let what = format!("is also the key of the peer at {}", report.place(peer.at, key.at));
            let fault = Fault::new(what, "remove one of the two");
            return report.warn(key.at, &option("public_key"), left_out(fault));
        }
        // What is said of it in our own file goes before.
        if let (Field::Absent, Some(address)) = (&peer.address, address) {
            peer.address = Field::Given(address);
        }
        if peer.endpoints.is_empty() {
            peer.endpoints.extend(endpoint);
        }
        if peer.name.is_absent() {
            peer.name = name;
        }
        return;
    }
    let Some(address) = address else {
        let what = "has no /32 or /128, and so no address of its own in the mesh";
        let fix = "add one if the peer is to be meshed";
        return report.note(section.at, &option("allowed_ips"), left_out(Fault::new(what, fix)));
    };
    let same = |peer: &&PeerDraft| peer.address.given().is_some_and(|other| other.value == address.value);
    if let Some(other) = draft.peers.iter().find(same) {
        let what = format!(
            "{} is also the address of the peer at {}",
            address.value,
            report.place(other.at, address.at)
        );
        let fault = Fault::new(what, "give each peer its own address inside the mesh");
        return report.warn(address.at, &option("allowed_ips"), left_out(fault));
    }
    draft.peers.push(PeerDraft {
        key: Field::Given(key),
        address: Field::Given(address),
        endpoints: endpoint.into_iter().collect(),
        name,
        ..PeerDraft::new(section.at)
    });
}

/// An option with one value.
fn located<'s>(section: &'s Section<'_>, name: &str) -> Option<Located<&'s str>> {
    let Located { value, at } = section.get(name)?.single()?;
    Some(Located { value, at: *at })
}

fn text<'s>(section: &'s Section<'_>, name: &str) -> Option<&'s str> {
    located(section, name).map(|option| option.value)
}

/// The endpoint as netifd puts it together.
fn endpoint(section: &Section<'_>) -> Option<Located<String>> {
    let Located { value: host, at } = located(section, "endpoint_host")?;
    let port = text(section, "endpoint_port").unwrap_or(DEFAULT_PORT);
    let value = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    Some(Located { value, at })
}

/// The first of the allowed IPs that is a single address.
fn own_address(section: &Section<'_>) -> Option<Located<IpAddr>> {
    let all = section.get("allowed_ips")?.values.iter();
    let mut words = all.flat_map(|item| item.value.split_ascii_whitespace().map(|word| (word, item.at)));
    words.find_map(|(word, at)| {
        let (address, prefix) = word.split_once('/').unwrap_or((word, ""));
        let value = parse_mesh_address(address).ok()?;
        // Of the address as it is written: an IPv4 one in IPv6 form has 128 bits.
        let full = if address.contains(':') { "128" } else { "32" };
        (prefix.is_empty() || prefix == full).then_some(Located { value, at })
    })
}
