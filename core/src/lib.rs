//! The engine of wgautomesh.
#![no_std]
#![forbid(unsafe_code)]
