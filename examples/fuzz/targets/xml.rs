//! A gateway's XML: within the limits, or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wgautomesh::portmap::fuzzing;

fuzz_target!(|input: &[u8]| fuzzing::xml(input));
