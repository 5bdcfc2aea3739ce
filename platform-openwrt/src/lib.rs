//! wgautomesh for OpenWrt routers: the runtime of [`wgautomesh`], configured by UCI, and as small as can be.

pub mod cli;
pub mod config;
pub mod uci;

#[cfg(test)]
#[path = "../../platform-linux/tests/corpus/mutate.rs"]
mod mutate;
