//! What a gateway's web server answers: no more than the caps, and the same in parts as in whole.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wgautomesh::portmap::fuzzing;

fuzz_target!(|input: &[u8]| fuzzing::http(input));
