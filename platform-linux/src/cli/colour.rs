//! Whether a terminal reads what is printed, and may be shown colours.

use std::io::IsTerminal as _;

/// Whether standard output may have colours: it is a terminal that knows them, and nobody has asked for none
/// (<https://no-color.org>).
pub(super) fn colours() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stdout().is_terminal() && !is_dumb && !is_set("NO_COLOR")
}
