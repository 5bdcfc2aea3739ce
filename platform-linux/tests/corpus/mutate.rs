//! Files of a corpus with a few edits, for tests that no input breaks a front end.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::fs;
use std::path::{Path, PathBuf};

/// The bytes of every file with this extension in both halves of the corpus.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = ["bad", "good"]
        .iter()
        .flat_map(|half| fs::read_dir(Path::new(folder).join(half)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// A few edits of bytes: replaced, removed, inserted, or a piece of another file put in.
pub(crate) fn mutated(corpus: &'static [Vec<u8>], special: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let file = prop::sample::select(corpus);
    let piece = (prop::sample::select(corpus), any::<prop::sample::Index>(), 1..40_usize);
    let edit = (any::<prop::sample::Index>(), 0..5_u8, byte(special), piece);
    (file, prop::collection::vec(edit, 1..6)).prop_map(|(mut bytes, edits)| {
        for (place, kind, byte, (other, from, len)) in edits {
            let place = place.index(bytes.len() + 1);
            match kind {
                0 if place < bytes.len() => bytes[place] = byte,
                1 if place < bytes.len() => drop(bytes.remove(place)),
                2 => bytes.truncate(place),
                3 => {
                    let from = from.index(other.len() + 1);
                    let piece = &other[from..(from + len).min(other.len())];
                    bytes.splice(place..place, piece.iter().copied());
                }
                _ => bytes.insert(place, byte),
            }
        }
        bytes
    })
}

/// Bytes with a meaning in the format more often than others.
pub(crate) fn byte(special: &'static [u8]) -> impl Strategy<Value = u8> {
    prop_oneof![3 => prop::sample::select(special), 1 => any::<u8>()]
}

/// The same cases on every run, at least this many, unless PROPTEST_RNG_SEED asks for others; a failure prints its smallest
/// input. WGAUTOMESH_CASES is how many where a machine is emulated, and each takes long.
pub(crate) fn settings(cases: u32) -> ProptestConfig {
    let mut settings = ProptestConfig::default();
    let few = std::env::var("WGAUTOMESH_CASES").ok().and_then(|cases| cases.parse().ok());
    settings.cases = few.unwrap_or_else(|| settings.cases.max(cases));
    settings.failure_persistence = None;
    if settings.rng_seed == RngSeed::Random {
        settings.rng_seed = RngSeed::Fixed(20_261_123);
    }
    settings
}
