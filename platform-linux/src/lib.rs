//! The Linux runtime of wgautomesh.
pub mod config;
