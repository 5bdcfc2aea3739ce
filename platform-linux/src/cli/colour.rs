//! Whether a terminal reads what is printed, and may be shown colours.

use std::io::IsTerminal as _;

/// Whether standard output may have colours: it is a terminal that knows them, and nobody has asked for none
/// (<https://no-color.org>).
pub(super) fn colours() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stdout().is_terminal() && !is_dumb && !is_set("NO_COLOR")
}

/// The status as a table, with the words of its column STATE in colour. All else stays as the daemon wrote it.
pub(super) fn painted(table: &str) -> String {
    let mut out = String::new();
    let mut column = None;
    for line in table.split_inclusive('\n') {
        let place = column.and_then(|column: usize| line.char_indices().nth(column).map(|(at, _)| at));
        // What belongs to the row above it is indented.
        match place.filter(|_| !line.starts_with(' ')).and_then(|at| line.split_at_checked(at)) {
            Some((before, after)) => {
                let (word, rest) = after.split_at(after.find([' ', '\n']).unwrap_or(after.len()));
                match colour_of(word) {
                    Some(colour) => out.push_str(&format!("{before}\x1b[{colour}m{word}\x1b[0m{rest}")),
                    None => out.push_str(line),
                }
            }
            None => {
                out.push_str(line);
                if line.starts_with("PEER ") {
                    column = line.find("STATE");
                }
            }
        }
    }
    out
}

fn colour_of(state: &str) -> Option<&'static str> {
    Some(match state {
        "connected" => "32",
        "connecting" => "33",
        "waiting" | "mute" | "unknown" => "31",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::painted;

    #[test]
    fn only_the_states_are_coloured() {
        let table = "\
wg0  7Nm7pMmy  up 3h12m
2 of 4 peers connected

PEER       STATE       ENDPOINT
connected  waiting     -
  no-answer: connected or not
dörte      connecting  203.0.113.77:40001
waiting    connected   203.0.113.9:51820
alice      asleep      203.0.113.9:51820
";
        let expected = "\
wg0  7Nm7pMmy  up 3h12m
2 of 4 peers connected

PEER       STATE       ENDPOINT
connected  \x1b[31mwaiting\x1b[0m     -
  no-answer: connected or not
dörte      \x1b[33mconnecting\x1b[0m  203.0.113.77:40001
waiting    \x1b[32mconnected\x1b[0m   203.0.113.9:51820
alice      asleep      203.0.113.9:51820
";
        assert_eq!(painted(table), expected);
        assert_eq!(painted("PEER STATE\nx"), "PEER STATE\nx");
    }
}
