//! The state file: whatever it is, it is refused or holds what is written back as it was; and the engine takes all of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wgautomesh::store::{encode, parse, with_checksum};
use wgautomesh_core::{Instant, Mesh, PublicKey};

fuzz_target!(|input: &[u8]| {
    // As it is, and with a checksum that the fuzzer cannot guess.
    let sealed = core::str::from_utf8(input).map(with_checksum).unwrap_or_default();
    for bytes in [input, sealed.as_bytes()] {
        let Ok(records) = parse(bytes) else { continue };
        let text = encode(records.clone());
        assert_eq!(parse(text.as_bytes()).expect("of our making"), records);
        let now = Instant::from_secs(1);
        let mut mesh = Mesh::<2>::new();
        mesh.add_peer(now, PublicKey::from_bytes([1; 32]), [10, 0, 0, 1].into()).expect("there is room");
        records.iter().for_each(|record| mesh.handle_stored_record(now, record));
        assert!(mesh.stored_records().count() <= 2);
    }
});
