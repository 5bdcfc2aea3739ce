//! The command line: what every binary's commands are made of, and the whole one of a binary that reads TOML files.

mod daemon;
mod findings;
mod genkey;
mod output;
#[cfg(feature = "toml")]
mod toml;
mod usage;

pub use daemon::{ask, mesh};
pub use findings::{gist, lines};
pub use genkey::genkey;
pub use output::{FAILED, USAGE, complain, print, show};
#[cfg(feature = "toml")]
pub use toml::{help, main};
pub use usage::{Usage, complain_of, interface};
