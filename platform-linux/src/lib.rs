//! The Linux runtime of wgautomesh.
pub mod config;
pub mod control;
pub mod log;
