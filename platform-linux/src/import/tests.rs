//! What people have in their wg-quick files, and what comes of it.

use super::*;

const PRIVATE: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
const A: &str = "o+uvbKOyDG2IaGKsRLsN2uBac6WqhXTW3+BPI+1poxQ=";
const B: &str = "/111nDbW0HWQb6Tr4OZ63S1nM4FpxVAg1Tcguz9SfQI=";
const C: &str = "lABn/axzD1jkFulX8c+K3B3CbKXORlIMDDoe8sQVxhs=";

fn converted(text: &str) -> (Option<String>, Vec<String>) {
    let mut report = Report::new("wg0.conf");
    let toml = convert("wg0", text, &mut report);
    report.sort();
    (toml, report.lines().collect())
}

#[test]
fn what_wg_quick_takes_is_taken() {
    let text = format!(
        "\u{feff}# my mesh\r\n[interface]\r\nPrivateKey = {PRIVATE} # secret\nListenPort=33723\nAddress = 10.14.0.9/16, fd14::9/64\n\
         PostUp = iptables -A FORWARD -i %i -j ACCEPT; echo a=b\nTable = off\n\n\
         ### Client paris\n[Peer]\nPublicKey = {A}\nPresharedKey = {PRIVATE}\nAllowedIPs = 192.168.7.0/24, 10.14.0.1/32\n\
         AllowedIPs = fd14::1/128\nEndpoint = vpn.example.org:33723\nPersistentKeepalive = 25\n\n\
         [PEER]\n# Name = attic 2\npublickey={B}\nallowedips=fd14::2\npersistentkeepalive=off\n\n\
         [Peer] # a gateway\nPublicKey = {C}\nAllowedIPs = 0.0.0.0/0, ::/0\n"
    );
    let (toml, said) = converted(&text);
    let expected = format!(
        "interface = \"wg0\"\n\
         gossip_port = 1666                                # the same on all nodes\n\
         gossip_secret_file = \"/etc/wgautomesh.secret\"     # made by `wgautomesh genkey`, the same on all nodes\n\
         \n[[peers]]\npubkey = \"{A}\"\naddress = \"10.14.0.1\"\nendpoint = \"vpn.example.org:33723\"\nname = \"paris\"\n\
         \n[[peers]]\npubkey = \"{B}\"\naddress = \"fd14::2\"\nname = \"attic 2\"\n"
    );
    assert_eq!(toml.as_deref(), Some(&*expected), "{said:?}");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("wg0.conf:24:1: warning: Peer: has no /32 or /128"), "{said:?}");
}

#[test]
fn mistakes_are_told_with_their_line_and_no_secret_is() {
    let text = format!(
        "{PRIVATE}\nMTU = 1420\n[Interface]\nPrivateKey {PRIVATE}\n{PRIVATE}\n[Peers]\nWibble = 1\n[Peer]\nPublicKey = abc\n\
         AllowedIPs = 10.14.0.1/33\nEndpoint = 203.0.113.1\nPersistentKeepalive = soon\n[Peer]\nAllowedIPs = 10.14.0.1/32\n\
         [Peer]\nPublicKey = {A}\nAllowedIPs = 10.14.0.1/32\n[Peer]\nPublicKey = {A}\nPublicKey = {A}\nAllowedIPs=0.0.0.0/32\n"
    );
    let (toml, said) = converted(&text);
    assert_eq!(toml, None);
    let all = said.join("\n");
    assert!(!all.contains(&PRIVATE[..12]), "{all}");
    let errors: Vec<u32> = said
        .iter()
        .filter(|line| line.contains(": error: "))
        .map(|line| line.split(':').nth(1).expect("a line").parse().expect("a number"))
        .collect();
    assert_eq!(errors, [1, 2, 4, 5, 6, 9, 10, 11, 12, 13, 17, 19, 20, 21], "{all}");
}

#[test]
fn what_is_no_wg_quick_file_is_refused() {
    for text in ["", "# nothing\n", "interface = \"wg0\"\n"] {
        let (toml, said) = converted(text);
        assert_eq!((toml, said.len()), (None, 1), "{said:?}");
    }
}

/// What is printed is a configuration: only the secret is missing.
#[cfg(feature = "toml")]
#[test]
fn what_is_printed_is_accepted() {
    let text = format!(
        "[Interface]\n[Peer]\n# Name = \"a\"\nPublicKey={A}\nAllowedIPs=10.0.0.1/32\nEndpoint=[2001:db8::1]:7\n"
    );
    let (toml, said) = converted(&text);
    let toml = toml.expect("it is right");
    assert!(said[0].contains(": warning: name: "), "{said:?}");
    let path = std::env::temp_dir().join(format!("wgautomesh-import-{}.toml", std::process::id()));
    let secret = "gossip_secret = \"0123456789abcdef\"";
    let file = "gossip_secret_file = \"/etc/wgautomesh.secret\"";
    std::fs::write(&path, toml.replace(file, secret)).expect("written");
    let loaded = crate::config::load(&path, 16);
    std::fs::remove_file(&path).expect("ours");
    assert_eq!(loaded.expect("accepted").0.peers().len(), 1);
}
