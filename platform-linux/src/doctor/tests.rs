//! What is said of a machine with much wrong, to the letter.
//!
//! After a message was changed on purpose: `WGAUTOMESH_BLESS=1 cargo test -p wgautomesh --lib doctor`, and read the diff before
//! committing it.

use core::net::IpAddr;
use std::{env, fs, path::Path};

use super::{
    Report, check,
    facts::{Capabilities, Device, Facts, Out, PeerFacts, PortFacts, Unseen, Way},
    firewall::{Chain, Policy, Ruleset},
    made_up,
};
use crate::config::{Fault, Finding, Severity};

/// Most of what can be wrong at once.
fn ill() -> Facts {
    let mut facts = made_up::good();
    facts.config.said = vec![(
        "/etc/wgautomesh.toml:9:1".into(),
        Finding {
            severity: Severity::Warning,
            at: None,
            key: "gossip_secret_file".into(),
            fault: Fault::new("\"/etc/secret\" can be read by every user", "chmod 600 /etc/secret"),
        },
    )];
    let wanted = facts.config.wanted.as_mut().expect("wanted");
    let into = Way::By(Out { index: 7, name: "wg0".into(), mtu: Some(1500) });
    wanted.peers[1].endpoints[0].way = into;
    wanted.peers[1].unresolved = vec![("alice.example.org".into(), "no such name".into())];
    for number in 4..=9 {
        wanted.peers.push(PeerFacts {
            key: made_up::key(number),
            name: Some(format!("node-{number}")),
            address: IpAddr::from([10, 15, 0, number]),
            way: Way::Nowhere,
            endpoints: Vec::new(),
            unresolved: Vec::new(),
        });
    }
    let mesh = facts.mesh.as_mut().expect("an interface");
    let link = mesh.link.as_mut().expect("seen").as_mut().expect("there");
    link.mtu = Some(1200);
    match &mut mesh.device {
        Device::There(tunnel) => tunnel.peers[0].allowed_ips.clear(),
        other => panic!("{other:?}"),
    }
    mesh.port_is_fixed = Some(false);
    mesh.firewall = Ok(vec![Ruleset {
        chains: vec![Chain {
            name: "inet filter input".into(),
            families: [true, true],
            base: Some(Policy::Drop),
            rules: Vec::new(),
        }],
    }]);
    mesh.kernel.udp_timeout_stream = Some(20);
    mesh.gossip_port = PortFacts::Taken;
    mesh.daemon = Ok(None);
    facts.files[4].state = Err(Unseen::new("not permitted", "run it as root"));
    facts.clock.unix = 0;
    facts.capabilities = Ok(Capabilities(0));
    facts
}

fn report(facts: &Facts) -> Report {
    Report::new(facts.config.file.clone(), Some("wg0".into()), check::check(facts).sorted())
}

#[track_caller]
fn is_golden(file: &str, text: &str) {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctor/golden")).join(file);
    let text = text.replace(&format!("\"{}\"", env!("CARGO_PKG_VERSION")), "\"VERSION\"");
    if env::var_os("WGAUTOMESH_BLESS").is_some() {
        fs::write(&path, &text).expect("written");
    }
    assert_eq!(text, fs::read_to_string(&path).expect("a golden file"), "{}", path.display());
}

#[test]
fn the_text_is_as_it_was() {
    let text = report(&ill()).to_text(false);
    for line in text.lines() {
        assert!(line.chars().count() <= 80 || line.contains('`'), "{line}");
    }
    is_golden("ill.txt", &text);
    is_golden(
        "good.txt",
        &report(&made_up::good()).to_text(false).replace(env!("CARGO_PKG_VERSION"), "VERSION"),
    );
}

#[test]
fn the_document_is_as_it_was() {
    let report = report(&ill());
    let json = report.to_json();
    assert_eq!(serde_json::from_str::<Report>(&json).expect("its own document"), report);
    assert_eq!(json.lines().count(), 1);
    is_golden("ill.json", &(serde_json::to_string_pretty(&report).expect("JSON") + "\n"));
}
