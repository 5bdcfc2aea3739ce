//! The map of a document: to the letter for a small mesh, and for a large one what must hold.

use super::order::groups;
use super::*;
use core::net::IpAddr;
use std::path::Path;

/// What a node is made of: name, NAT in IPv4, address outside.
fn node(name: &str, nat: &str, outside: &str) -> Node {
    let mut key: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    while key.len() < 43 {
        key.push('A');
    }
    Node {
        name: Some(name.into()),
        key: key + "=",
        answered: true,
        nat: Nats { ipv4: Some(nat).filter(|nat| !nat.is_empty()).map(Into::into), ipv6: None },
        outside: outside.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 51820)),
        mapped: false,
    }
}

fn connected(source: &str, rtt_us: u64) -> Says {
    Says {
        state: PeerState::Connected,
        endpoint_source: Some(source.into()),
        reason: None,
        rtt_us: Some(rtt_us).filter(|rtt| *rtt > 0),
    }
}

fn apart(reason: &str) -> Says {
    Says { state: PeerState::Waiting, endpoint_source: None, reason: Some(reason.into()), rtt_us: None }
}

const EDM: &str = "endpoint-dependent";
const EIM: &str = "endpoint-independent";

/// Five nodes of every kind, whose names are not harmless, and one that nobody knows anything of.
fn small() -> Map {
    let mut nodes = vec![
        node("paris", "open", "203.0.113.1"),
        node("attic", EIM, "198.51.100.7"),
        node("cellar <&> \"home\\\"", EIM, "198.51.100.7"),
        node("phone\x1b[31m", EDM, "192.0.2.9"),
        node("office", "translated", "2001:db8::5"),
        node("", "", ""),
    ];
    nodes[4].mapped = true;
    nodes[4].answered = false;
    nodes[5] = Node { name: None, answered: false, ..node("gone", "", "") };
    let mut said = BTreeMap::new();
    let mut both = |a: usize, b: usize, first: Says, second: Says| {
        said.insert((a, b), first);
        said.insert((b, a), second);
    };
    both(0, 1, connected("roamed", 12_300), connected("configured", 12_400));
    both(0, 2, connected("roamed", 0), connected("configured", 12_900));
    both(0, 3, connected("roamed", 48_000), connected("configured", 47_000));
    both(1, 2, connected("lan", 400), connected("lan", 410));
    both(1, 3, apart("endpoint-dependent-nat"), apart("endpoint-dependent-nat"));
    both(2, 3, connected("mediated", 61_000), connected("heard", 60_500));
    said.insert((0, 4), connected("mapped", 25_000));
    said.insert((1, 4), connected("mediated", 31_000));
    said.insert((2, 4), Says { state: PeerState::Connecting, ..apart("connecting") });
    for at in 0..4 {
        said.insert((at, 5), apart(if at == 0 { "no-answer" } else { "no-endpoint" }));
    }
    Map::new("wg0".into(), nodes, 0, said)
}

/// Made up: some public nodes, and homes of one to four behind every kind of NAT.
fn large(count: usize) -> Map {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut roll = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let cities = ["paris", "lisbon", "oslo", "vienna", "riga", "tokyo", "lima"];
    let rooms = ["attic", "cellar", "study", "kitchen"];
    let mut nodes: Vec<Node> = Vec::new();
    for (at, city) in cities.iter().enumerate().take(count / 8 + 1) {
        nodes.push(node(city, "open", &format!("203.0.113.{}", at + 1)));
    }
    let mut home = 0;
    while nodes.len() < count {
        home += 1;
        let nat = [EIM, EIM, EIM, EDM, "translated", EIM, EDM][home as usize % 7];
        for room in rooms.iter().take(1 + roll(4) as usize) {
            let mut node = node(&format!("{room}-{home}"), nat, &format!("198.51.100.{home}"));
            node.mapped = roll(9) == 0;
            node.answered = roll(12) != 0;
            nodes.push(node);
        }
    }
    nodes.truncate(count);
    let mut said = BTreeMap::new();
    for a in 0..count {
        for b in 0..count {
            let (first, second) = (&nodes[a], &nodes[b]);
            if a == b || !first.answered {
                continue;
            }
            let hard = |node: &Node| node.nat() == Nat::EndpointDependent;
            let same = first.outside.map(|o| o.ip()) == second.outside.map(|o| o.ip());
            let rtt = 4_000 + (a * 7 + b * 7 + a * b) as u64 % 90 * 1_000;
            let says = if same {
                connected("lan", 300)
            } else if first.is_reachable() || second.is_reachable() {
                connected("configured", rtt)
            } else if hard(first) && hard(second) || (a + b) % 97 == 0 {
                apart("endpoint-dependent-nat")
            } else {
                connected("mediated", rtt)
            };
            said.insert((a, b), says);
        }
    }
    Map::new("wg-mesh".into(), nodes, 0, said)
}

/// Compares a text with a file of `golden/`. After a change that is meant: `WGAUTOMESH_BLESS=1 cargo test -p wgautomesh map`
/// writes the files anew; look at the difference.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/map/golden").join(name);
    if std::env::var_os("WGAUTOMESH_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, text).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        known == text,
        "{}:\n{text}\nIf this is meant, run again with WGAUTOMESH_BLESS=1.",
        path.display()
    );
}

#[test]
fn the_document_to_the_letter() {
    let map = small();
    golden("small.json", &map.to_json());
    assert_eq!(serde_json::from_str::<Map>(&map.to_json()).unwrap(), map);
}

#[test]
fn the_table_to_the_letter() {
    golden("small.txt", &table(&small(), false));
    golden("five.txt", &table(&large(5), false));
    golden("large.txt", &table(&large(50), false));
}

#[test]
fn the_graph_to_the_letter() {
    golden("small.dot", &dot(&small()));
}

#[test]
fn the_picture_to_the_letter() {
    golden("small.svg", &svg(&small()));
}

/// Where `WGAUTOMESH_SCREENSHOTS` names a directory they are left there, to be looked at.
#[test]
fn the_picture_of_any_mesh_has_everything_once_and_is_well_formed() {
    for map in [small(), Map::new("wg0".into(), vec![node("alone", "", "")], 0, BTreeMap::new())]
        .into_iter()
        .chain([2, 5, 11, 12, 50, 120].map(large))
    {
        let picture = svg(&map);
        if let Some(directory) = std::env::var_os("WGAUTOMESH_SCREENSHOTS") {
            let name = format!("map-{}-{}.svg", map.interface, map.nodes.len());
            std::fs::write(Path::new(&directory).join(name), &picture).unwrap();
        }
        let shown = map.links.iter().filter(|link| link.how != How::Unknown).count();
        assert_eq!(picture.matches("<path d=").count(), shown);
        let names = picture.matches("text-anchor").count();
        assert_eq!(names, map.nodes.len() * if map.nodes.len() <= 10 { 2 } else { 1 });
        expect_well_formed(&picture);
        assert_eq!(picture, svg(&map), "the same each time");
    }
}

/// Every tag is closed in its order, and nothing but our own tags and entities is in it.
fn expect_well_formed(picture: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = picture;
    while let Some((text, after)) = rest.split_once('<') {
        for entity in text.split('&').skip(1) {
            let name = entity.split(';').next().unwrap();
            assert!(["amp", "lt", "gt", "quot"].contains(&name), "{entity}");
        }
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        let (tag, after) = after.split_once('>').expect("a tag has an end");
        let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap();
        assert!(
            ["svg", "title", "style", "rect", "text", "tspan", "g", "path", "circle"].contains(&name),
            "{tag}"
        );
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        rest = after;
    }
    assert_eq!((open.len(), rest), (0, "\n"));
}

/// Graphviz reads it, where that is installed.
#[test]
fn graphviz_reads_the_graph() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    for map in [small(), large(50)] {
        let graph = dot(&map);
        assert_eq!(graph.matches(" -- ").count(), map.links.iter().filter(|l| l.how != How::Unknown).count());
        // Parsed only: no layout is made.
        let child = Command::new("gvpr")
            .arg("BEG_G{print(nNodes($G))}")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("SKIPPED: gvpr is missing (apt-get install graphviz)");
            continue;
        };
        child.stdin.take().unwrap().write_all(graph.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), map.nodes.len().to_string());
    }
}

#[test]
fn tables_fit_a_terminal_as_far_as_they_can() {
    for (count, width) in [(2, 80), (5, 80), (12, 80), (30, 80), (50, 80), (120, 80), (256, 80)] {
        let map = large(count);
        let text = table(&map, false);
        for line in text.lines() {
            assert!(line.chars().count() <= width, "{count}: {line}");
        }
        // Every pair twice, and every node once for itself.
        let (matrix, _) = text.split_once(" (").expect("the legend has numbers");
        let cells = matrix.chars().filter(|c| "LDP~x?".contains(*c)).count();
        assert_eq!(matrix.matches('·').count(), count, "{text}");
        assert!(cells >= count * (count - 1), "{count}: {text}");
    }
    assert!(!table(&small(), false).contains('\x1b'));
    assert!(table(&small(), true).contains("\x1b[1;31mx\x1b[0m"));
}

#[test]
fn how_two_nodes_reach_each_other_is_told_by_both() {
    let open = node("a", "open", "203.0.113.1");
    let (home, other) = (node("b", EIM, "198.51.100.1"), node("c", EDM, "198.51.100.2"));
    let mapped = Node { mapped: true, ..other.clone() };
    let (there, lan) = (connected("roamed", 1), connected("lan", 1));
    let connecting = Says { state: PeerState::Connecting, ..apart("connecting") };
    let no = apart("no-answer");
    for (nodes, says, how) in [
        ([&home, &other], [None, None], How::Unknown),
        ([&home, &other], [Some(&there), Some(&there)], How::Punched),
        ([&home, &other], [None, Some(&there)], How::Punched),
        ([&home, &open], [Some(&there), Some(&there)], How::Direct),
        ([&mapped, &home], [Some(&there), None], How::Direct),
        ([&home, &other], [Some(&connected("configured", 0)), Some(&there)], How::Direct),
        ([&home, &other], [Some(&there), Some(&lan)], How::Lan),
        ([&open, &other], [Some(&lan), None], How::Lan),
        ([&home, &other], [Some(&there), Some(&no)], How::Connecting),
        ([&home, &other], [Some(&connecting), Some(&no)], How::Connecting),
        ([&home, &other], [Some(&no), Some(&no)], How::NotConnected),
        ([&home, &other], [None, Some(&no)], How::NotConnected),
    ] {
        assert_eq!(How::of(nodes, says), how, "{says:?}");
    }
}

#[test]
fn those_behind_one_address_are_beside_each_other() {
    let map = small();
    let shown: Vec<Vec<String>> = groups(&map)
        .iter()
        .map(|group| group.members.iter().map(|at| map.nodes[*at].label()).collect())
        .collect();
    assert_eq!(
        shown,
        [
            vec!["paris"],
            vec!["attic", "cellar <&> \"home\\\""],
            vec!["office"],
            vec!["phone?[31m"],
            vec!["goneAAAA"]
        ]
    );
}

/// A document of a later version, with more in it, is read as far as it is known.
#[test]
fn more_in_the_document_does_no_harm() {
    let mut value: serde_json::Value = serde_json::from_str(&small().to_json()).unwrap();
    value["weather"] = "fine".into();
    value["nodes"][0]["uptime_s"] = 7.into();
    value["links"][0]["a_says"]["state"] = "asleep".into();
    let map: Map = serde_json::from_value(value).unwrap();
    assert_eq!(map.links[0].a_says.as_ref().map(|says| says.state), Some(PeerState::Unknown));
}
