//! The configuration file: whatever its bytes, there is a configuration or at least one error, and a report that can be
//! shown.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wgautomesh::config::fuzzing;

fuzz_target!(|input: &[u8]| fuzzing::check(input));
