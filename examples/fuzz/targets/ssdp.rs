//! An answer to the search for a UPnP gateway: what it leads to is at the gateway, or nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wgautomesh::portmap::fuzzing;

fuzz_target!(|input: &[u8]| fuzzing::ssdp(input));
