//! A router's configuration: whatever the bytes of its two files, there is a configuration for a mesh or at least one error,
//! nothing in the network's file is one, a report can be shown, and what is read can be written again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wgautomesh_openwrt::config::fuzzing;

fuzz_target!(|input: &[u8]| fuzzing::check(input));
