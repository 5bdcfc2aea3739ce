//! The command line: what every binary's commands are made of, and the whole one of a binary that reads TOML files.

mod genkey;
mod output;
#[cfg(feature = "toml")]
mod toml;

pub use genkey::genkey;
pub use output::{FAILED, USAGE, complain, print};
#[cfg(feature = "toml")]
pub use toml::main;
