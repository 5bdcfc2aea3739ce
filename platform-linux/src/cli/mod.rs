//! The command line: what every binary's commands are made of, and the whole one of a binary that reads TOML files.

#[cfg(feature = "toml")]
mod colour;
mod daemon;
mod findings;
mod genkey;
#[cfg(feature = "toml")]
mod live;
mod output;
#[cfg(feature = "toml")]
mod toml;
mod usage;

#[cfg(feature = "toml")]
use colour::{colours, painted};
pub use daemon::{ask, mesh};
pub use findings::{gist, lines};
pub use genkey::genkey;
pub use output::{FAILED, USAGE, complain, print, show};
#[cfg(feature = "toml")]
pub use toml::{CAPACITY, daemon, help, main};
pub use usage::{Usage, complain_of, interface};
