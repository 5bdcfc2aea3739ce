//! A packet of a PCP or NAT-PMP server.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wgautomesh::portmap::fuzzing;

fuzz_target!(|input: &[u8]| fuzzing::pcp(input));
