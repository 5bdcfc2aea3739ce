//! The sample configuration: what can be set, each with its explanation. It is what `wgautomesh init` writes, and what the
//! manual page of the configuration is made of, so that a setting is explained once.

use super::InterfaceName;
use zeroize::Zeroizing;

/// The sample as it is shipped: right but for its secret, which is empty and refused, so that no mesh is made with one that
/// everybody knows.
pub const SAMPLE: &str = include_str!("../../dist/wgautomesh.toml");

const INTERFACE: &str = "\ninterface = \"wg0\"\n";
const SECRET: &str = "\ngossip_secret = \"\"\n";

/// The sample for an interface, with a secret, and with what is to stand at its end.
///
/// Neither the name nor the secret is quoted anew: they are not to have quotes or backslashes in them.
pub(crate) fn filled(interface: &InterfaceName, secret: &str, end: &str) -> Zeroizing<String> {
    // All of it at once: a growing string would leave copies of the secret behind.
    let room = SAMPLE.len() + InterfaceName::MAX_LEN + secret.len() + end.len();
    let mut text = Zeroizing::new(String::with_capacity(room));
    let (before, rest) = SAMPLE.split_once(INTERFACE).unwrap_or_default();
    let (between, after) = rest.split_once(SECRET).unwrap_or_default();
    for part in [
        before,
        "\ninterface = \"",
        interface.as_str(),
        "\"\n",
        between,
        "\ngossip_secret = \"",
        secret,
        "\"\n",
        after,
        end,
    ] {
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Report, toml};
    use super::*;

    fn name() -> InterfaceName {
        InterfaceName::parse("wg-home").unwrap()
    }

    #[test]
    fn two_lines_are_filled_in_and_nothing_else() {
        let filled = filled(&name(), "a secret that is long enough", "\n# the end\n");
        let expected = SAMPLE
            .replace("interface = \"wg0\"", "interface = \"wg-home\"")
            .replace("gossip_secret = \"\"", "gossip_secret = \"a secret that is long enough\"");
        assert_eq!(*filled, expected + "\n# the end\n");
    }

    #[test]
    fn fits_a_terminal() {
        for line in SAMPLE.lines() {
            assert!(line.len() <= 80 && line.is_ascii(), "{line}");
        }
    }

    /// What a report says of the sample with its examples switched on.
    fn said(text: &str) -> Vec<String> {
        let mut report = Report::new("sample.toml");
        if let Some(draft) = toml::parse(text.as_bytes(), &mut report) {
            draft.finish(4, &mut report);
        }
        report.sort();
        report.lines().collect()
    }

    #[test]
    fn every_example_is_right_and_every_key_has_one() {
        let filled = filled(&name(), "a secret that is long enough", "");
        let mut keys: Vec<&str> = Vec::new();
        let mut on = String::new();
        for line in filled.lines() {
            let setting = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ') && !rest.is_empty());
            let setting = setting.unwrap_or(line);
            if let Some((key, _)) = setting.split_once(" = ").filter(|_| !setting.starts_with('#')) {
                keys.push(key);
            } else if setting.starts_with("[[") {
                keys.push("peers");
            }
            // Beside the secret itself a file with it is a mistake, and the files with others are not there.
            if !setting.starts_with("gossip_secret_") {
                on.push_str(setting);
            }
            on.push('\n');
        }
        assert_eq!(said(&on), [""; 0]);
        let mut known: Vec<&str> = toml::TOP_KEYS.iter().chain(&toml::PEER_KEYS).copied().collect();
        keys.sort_unstable();
        known.sort_unstable();
        assert_eq!(keys, known);
    }

    #[test]
    fn as_it_is_shipped_it_starts_no_daemon() {
        let said = said(SAMPLE);
        assert!(said.iter().any(|line| line.contains("error: gossip_secret: is empty")), "{said:?}");
    }
}
