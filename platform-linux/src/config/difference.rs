//! What one configuration changes in another, for a daemon that goes over from one to the other while it runs.
//!
//! [`Difference::between`] is all there is to decide; it touches nothing. What cannot be gone over to without a restart is an
//! error of the check before, see [`load_again`](super::load_again).

use super::draft::Draft;
use super::report::{Fault, Report, quoted, quoted_path};
use super::syntax::Key;
use super::values::StateCommit;
use super::{Config, GOSSIP_PORT, LanConfig, OtherSecret, Peer};
use core::fmt;
use core::net::SocketAddr;
use core::num::NonZeroU16;
use std::collections::BTreeMap;
use wgautomesh_core::PublicKey;

/// So many peers are named of those that something is said of.
const NAMED: usize = 8;

/// What is different. Its text says it in words, in one line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference<'c> {
    /// Peers that there were none of before.
    pub added: Vec<&'c Peer>,
    /// Peers that there are none of any more.
    pub removed: Vec<&'c Peer>,
    /// Peers that have another address inside the mesh.
    pub readdressed: Vec<&'c Peer>,
    /// Peers that have other endpoints, and the same address.
    pub endpoints: Vec<&'c Peer>,
    /// Peers that are called something else.
    pub names: Vec<&'c Peer>,
    /// Whether the secret is another.
    pub secret: bool,
    /// What has become of the one beside it, in words.
    pub other_secret: Option<&'static str>,
    /// How often the state file is written from now on.
    pub state_commit: Option<StateCommit>,
    /// Whether the peers of the interface belong to the mesh from now on.
    pub peers_from_interface: Option<bool>,
    /// Where peers are looked for on LANs from now on, if at all.
    pub lan: Option<Option<&'c LanConfig>>,
    /// The external port that is asked for from now on, if any.
    pub port_mapping: Option<Option<NonZeroU16>>,
}

impl<'c> Difference<'c> {
    /// What is to be done by who has the one and wants the other.
    #[must_use]
    pub fn between(from: &'c Config, to: &'c Config) -> Self {
        fn by_key(config: &Config) -> BTreeMap<&PublicKey, &Peer> {
            config.peers.iter().map(|peer| (&peer.key, peer)).collect()
        }
        let (before, after) = (by_key(from), by_key(to));
        let mut difference = Self {
            removed: from.peers.iter().filter(|peer| !after.contains_key(&peer.key)).collect(),
            secret: !from.secret.is(&to.secret),
            other_secret: other_secret(from.other_secret.as_ref(), to.other_secret.as_ref()),
            state_commit: (from.state_commit != to.state_commit).then_some(to.state_commit),
            peers_from_interface: (from.peers_from_interface != to.peers_from_interface)
                .then_some(to.peers_from_interface),
            lan: (from.lan != to.lan).then_some(to.lan.as_ref()),
            port_mapping: (from.upnp_forward_external_port != to.upnp_forward_external_port)
                .then_some(to.upnp_forward_external_port),
            ..Self::default()
        };
        for peer in &to.peers {
            let Some(old) = before.get(&peer.key) else {
                difference.added.push(peer);
                continue;
            };
            if old.address != peer.address {
                difference.readdressed.push(peer);
            } else if old.endpoints != peer.endpoints {
                difference.endpoints.push(peer);
            }
            if old.name != peer.name {
                difference.names.push(peer);
            }
        }
        difference
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing has changed");
        }
        let peers =
            [(&self.added, "added"), (&self.removed, "removed"), (&self.readdressed, "with another address")];
        let peers: Vec<String> = peers.into_iter().filter_map(|(peers, what)| some(peers, what)).collect();
        if !peers.is_empty() {
            write!(f, "peers: {}; ", peers.join(", "))?;
        }
        for (key, peers) in [("endpoints", &self.endpoints), ("names", &self.names)] {
            if let Some(changed) = some(peers, "changed") {
                write!(f, "{key}: {changed}; ")?;
            }
        }
        if self.secret {
            f.write_str("secret: changed; ")?;
        }
        if let Some(what) = self.other_secret {
            write!(f, "{what}; ")?;
        }
        if let Some(state_commit) = self.state_commit {
            write!(f, "state_commit: {} s; ", state_commit.duration().as_secs())?;
        }
        if let Some(on) = self.peers_from_interface {
            write!(f, "peers_from_interface: {}; ", if on { "on" } else { "off" })?;
        }
        if let Some(lan) = self.lan {
            write!(f, "lan_discovery: {}; ", Lan(lan))?;
        }
        match self.port_mapping {
            Some(Some(port)) => write!(f, "upnp_forward_external_port: {port}; ")?,
            Some(None) => f.write_str("upnp_forward_external_port: off; ")?,
            None => {}
        }
        f.write_str("nothing else")
    }
}

fn other_secret(from: Option<&OtherSecret>, to: Option<&OtherSecret>) -> Option<&'static str> {
    use OtherSecret::{Next, Previous};
    match (from, to) {
        (None, None) => None,
        (Some(Next(from)), Some(Next(to))) => (!from.is(to)).then_some("next secret: changed"),
        (Some(Previous(from)), Some(Previous(to))) => (!from.is(to)).then_some("previous secret: changed"),
        (None, Some(Next(_))) => Some("next secret: added"),
        (None, Some(Previous(_))) => Some("previous secret: added"),
        (Some(Next(_)), None) => Some("next secret: removed"),
        (Some(Previous(_)), None) => Some("previous secret: removed"),
        (Some(Next(_)), Some(Previous(_))) => Some("next secret: removed; previous secret: added"),
        (Some(Previous(_)), Some(Next(_))) => Some("previous secret: removed; next secret: added"),
    }
}

/// "2 added (paris, rome)"; nothing where there are none.
fn some(peers: &[&Peer], what: &str) -> Option<String> {
    let label = |peer: &&Peer| {
        peer.name.as_ref().map_or_else(|| format!("{:.8}", peer.key), |name| name.as_str().to_owned())
    };
    let mut named: Vec<String> = peers.iter().take(NAMED).map(label).collect();
    if peers.len() > NAMED {
        named.push(format!("{} more", peers.len() - NAMED));
    }
    (!peers.is_empty()).then(|| format!("{} {what} ({})", peers.len(), named.join(", ")))
}

/// Where peers are looked for, in words.
struct Lan<'c>(Option<&'c LanConfig>);

impl fmt::Display for Lan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(LanConfig { interfaces, exclude }) = self.0 else { return f.write_str("off") };
        let list = |patterns: &[super::InterfacePattern]| {
            patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        f.write_str("on")?;
        if !interfaces.is_empty() {
            write!(f, " {}", list(interfaces))?;
        }
        if !exclude.is_empty() {
            write!(f, " without {}", list(exclude))?;
        }
        Ok(())
    }
}

impl Config {
    /// Reports what a daemon that runs with this configuration cannot go over to: its sockets are made for the interface and
    /// the ports, and its state file is being written.
    pub(super) fn check_restart(&self, draft: &Draft, report: &mut Report) {
        let fix = "restart wgautomesh with this file, which costs no session; or put it back";
        let mut error = |key, at, what: String| {
            report.error(at, draft.syntax.name(key), Fault::new(what, fix));
        };
        if let Some(wanted) = draft.interface.given()
            && wanted.value != self.interface
        {
            let (new, old) = (quoted(wanted.value.as_str()), quoted(self.interface.as_str()));
            error(Key::Interface, wanted.at, format!("is {new}, and this daemon meshes {old}"));
        }
        let port = draft.gossip_port.given();
        let (at, wanted) = port.map_or((draft.at, GOSSIP_PORT), |port| (port.at, port.value));
        if wanted != self.gossip_port && (port.is_some() || draft.gossip_port.is_absent()) {
            error(
                Key::GossipPort,
                at,
                format!("is {wanted}, and this daemon listens at {}", self.gossip_port),
            );
        }
        let file = draft.persist_file.given();
        let wanted = file.map(|file| file.value.as_path());
        if wanted != self.persist_file() && (file.is_some() || draft.persist_file.is_absent()) {
            let words = |path: Option<&std::path::Path>| path.map_or("none".into(), quoted_path);
            let what = format!("is {}, and this daemon's is {}", words(wanted), words(self.persist_file()));
            error(Key::PersistFile, file.map_or(draft.at, |file| file.at), what);
        }
        let listen = draft.metrics_listen.given();
        let wanted = listen.map(|listen| listen.value);
        if wanted != self.metrics_listen && (listen.is_some() || draft.metrics_listen.is_absent()) {
            let words = |at: Option<SocketAddr>| at.map_or("none".into(), |at| format!("\"{at}\""));
            let what = format!("is {}, and this daemon's is {}", words(wanted), words(self.metrics_listen));
            error(Key::MetricsListen, listen.map_or(draft.at, |listen| listen.at), what);
        }
    }
}

#[cfg(all(test, feature = "toml"))]
mod tests {
    use super::super::tests::Temporary;
    use super::super::{Files, configuration, load_again};
    use super::*;

    const TOP: &str = "interface = \"wg0\"\ngossip_secret = \"a secret that is long enough\"\n";

    /// A peer by its number, with more settings.
    fn peer(number: u8, more: &str) -> String {
        let key = PublicKey::from_bytes([number; 32]);
        format!("[[peers]]\npubkey = \"{key}\"\naddress = \"10.14.0.{number}\"\n{more}\n")
    }

    #[test]
    fn each_change_is_found_and_said() {
        let paris = || peer(1, "name = \"paris\"");
        let rome = || peer(2, "name = \"rome\"\nendpoint = \"203.0.113.2:1\"");
        let one = || format!("{TOP}{}", paris());
        let two = || format!("{TOP}{}{}", paris(), rome());
        let top = |line: &str| format!("{TOP}{line}\n{}", paris());
        let many =
            |range: core::ops::Range<u8>| TOP.to_owned() + &range.map(|n| peer(n, "")).collect::<String>();
        let cases: Vec<(String, String, &str)> = vec![
            (two(), two(), "nothing has changed"),
            (two(), format!("{TOP}{}{}", rome(), paris()), "nothing has changed"),
            (one(), two(), "peers: 1 added (rome); nothing else"),
            (two(), one(), "peers: 1 removed (rome); nothing else"),
            (one(), format!("{TOP}{}", rome()), "peers: 1 added (rome), 1 removed (paris); nothing else"),
            (
                many(1..3),
                many(2..21),
                "peers: 18 added (AwMDAwMD, BAQEBAQE, BQUFBQUF, BgYGBgYG, BwcHBwcH, CAgICAgI, CQkJCQkJ, CgoKCgoK, 10 \
                 more), 1 removed (AQEBAQEB); nothing else",
            ),
            (
                two(),
                two().replace("10.14.0.2", "10.14.0.22").replace("203.0.113.2:1", "203.0.113.3:1"),
                "peers: 1 with another address (rome); nothing else",
            ),
            (
                two(),
                two().replace("203.0.113.2:1", "rome.example:1"),
                "endpoints: 1 changed (rome); nothing else",
            ),
            (two(), two().replace("endpoint", "#endpoint"), "endpoints: 1 changed (rome); nothing else"),
            (two(), two().replace("rome", "roma"), "names: 1 changed (roma); nothing else"),
            (two(), two().replace("name", "#name"), "names: 2 changed (AQEBAQEB, AgICAgIC); nothing else"),
            (one(), one().replace("a secret", "another secret"), "secret: changed; nothing else"),
            (
                top("persist_file = \"s\""),
                top("persist_file = \"s\"\nstate_commit = 300"),
                "state_commit: 300 s; nothing else",
            ),
            (one(), top("peers_from_interface = true"), "peers_from_interface: on; nothing else"),
            (top("peers_from_interface = true"), one(), "peers_from_interface: off; nothing else"),
            (one(), top("lan_discovery = true"), "lan_discovery: on; nothing else"),
            (top("lan_discovery = true"), top("lan_discovery = false"), "lan_discovery: off; nothing else"),
            (
                top("lan_discovery = true"),
                top("lan_discovery = true\nlan_interfaces = [\"eth0\", \"br-*\"]\nlan_exclude = \"br-x\""),
                "lan_discovery: on eth0, br-* without br-x; nothing else",
            ),
            #[cfg(feature = "portmap")]
            (
                one(),
                top("upnp_forward_external_port = 33723"),
                "upnp_forward_external_port: 33723; nothing else",
            ),
            #[cfg(feature = "portmap")]
            (
                top("upnp_forward_external_port = 33723"),
                one(),
                "upnp_forward_external_port: off; nothing else",
            ),
            (
                two(),
                format!("{TOP}lan_discovery = true\n{}", rome()).replace("rome", "roma"),
                "peers: 1 removed (paris); names: 1 changed (roma); lan_discovery: on; nothing else",
            ),
        ];
        for (from, to, words) in cases {
            let (old, new) = (configuration(&from), configuration(&to));
            let difference = Difference::between(&old, &new);
            assert_eq!(difference.to_string(), words, "{from}\n--- to\n{to}");
            assert_eq!(difference.is_empty(), words == "nothing has changed");
        }
    }

    #[test]
    fn what_becomes_of_the_secret_beside_it_is_said() {
        let files = ["next-a", "next-b"].map(|name| Temporary::new(name, name.repeat(9).as_bytes(), 0o600));
        let paths = files.each_ref().map(|file| file.0.to_str().unwrap().to_owned());
        let with = |key: &str, of: usize| {
            configuration(&format!("{TOP}gossip_secret_{key}_file = \"{}\"\n{}", paths[of], peer(1, "")))
        };
        let none = || configuration(&format!("{TOP}{}", peer(1, "")));
        for (from, to, words) in [
            (none(), none(), "nothing has changed"),
            (none(), with("next", 0), "next secret: added; nothing else"),
            (with("next", 0), with("next", 0), "nothing has changed"),
            (with("next", 0), with("next", 1), "next secret: changed; nothing else"),
            (
                with("next", 0),
                with("previous", 1),
                "next secret: removed; previous secret: added; nothing else",
            ),
            (with("previous", 0), with("previous", 1), "previous secret: changed; nothing else"),
            (
                with("previous", 0),
                with("next", 0),
                "previous secret: removed; next secret: added; nothing else",
            ),
            (with("previous", 0), none(), "previous secret: removed; nothing else"),
            (with("next", 0), none(), "next secret: removed; nothing else"),
            (none(), with("previous", 0), "previous secret: added; nothing else"),
        ] {
            assert_eq!(Difference::between(&from, &to).to_string(), words);
        }
    }

    /// What `load_again` says of a file, to a daemon that was started with another one.
    fn said(name: &str, start: &str, text: &str, capacity: usize) -> Vec<String> {
        let present = configuration(start);
        let file = Temporary::new(name, text.as_bytes(), 0o600);
        let shown = file.0.to_string_lossy().into_owned();
        match load_again(&file.0, capacity, Files::Again, &present) {
            Ok(_) => Vec::new(),
            Err(report) => report.lines().map(|line| line.replace(&shown, "FILE")).collect(),
        }
    }

    #[test]
    fn what_needs_a_restart_is_an_error_with_its_place() {
        let start = format!("{TOP}gossip_port = 1777\npersist_file = \"/var/lib/s\"\n{}", peer(1, ""));
        assert_eq!(said("same", &start, &start, 32), [""; 0]);
        let fix = "fix: restart wgautomesh with this file, which costs no session; or put it back";
        let all = start.replace("wg0", "wg1").replace("1777", "1888").replace("/var/lib/s", "/var/lib/t");
        assert_eq!(
            said("other", &start, &all, 32),
            [
                format!("FILE:1:13: error: interface: is \"wg1\", and this daemon meshes \"wg0\"; {fix}"),
                format!("FILE:3:15: error: gossip_port: is 1888, and this daemon listens at 1777; {fix}"),
                format!(
                    "FILE:4:16: error: persist_file: is \"/var/lib/t\", and this daemon's is \"/var/lib/s\"; {fix}"
                ),
            ]
        );
        let none = format!("{TOP}{}", peer(1, ""));
        assert_eq!(
            said("none", &start, &none, 32),
            [
                format!("FILE:1:1: error: gossip_port: is 1666, and this daemon listens at 1777; {fix}"),
                format!("FILE:1:1: error: persist_file: is none, and this daemon's is \"/var/lib/s\"; {fix}"),
            ]
        );
        let start = format!("{TOP}metrics_listen = \"127.0.0.1:9\"\n{}", peer(1, ""));
        assert_eq!(
            said("metrics", &start, &none, 32),
            [format!(
                "FILE:1:1: error: metrics_listen: is none, and this daemon's is \"127.0.0.1:9\"; {fix}"
            )]
        );
        let start = format!("{TOP}gossip_port = 1777\npersist_file = \"/var/lib/s\"\n{}", peer(1, ""));
        // What is wrong in itself is not also held against the daemon's own.
        let wrong = start.replace("1777", "\"x\"").replace("\"/var/lib/s\"", "7");
        let wrong = said("wrong", &start, &wrong, 32);
        assert_eq!(wrong.len(), 2, "{wrong:#?}");
        assert!(wrong.iter().all(|line| !line.contains("daemon")), "{wrong:#?}");
    }

    #[test]
    fn there_is_room_for_as_many_as_at_the_start() {
        let three = format!("{TOP}{}{}{}", peer(1, ""), peer(2, ""), peer(3, ""));
        let two = format!("{TOP}{}{}", peer(1, ""), peer(2, ""));
        assert_eq!(said("fits", &two, &three, 3), [""; 0]);
        assert_eq!(
            said("full", &two, &three, 2),
            [
                "FILE:11:1: error: peers: there are 3 peers, this build holds 2; this entry is the first too many; \
              fix: remove 1 of them"
            ]
        );
    }
}
