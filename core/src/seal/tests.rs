extern crate std;
use std::vec::Vec;

use proptest::{collection, prelude::*};

use super::*;
use crate::testing::{Counting, Dry, bytes, cases, hex};

const SECRET: &[u8] = b"a secret that all share";

/// A datagram with these frames, its nonce from a random source that counts from 0.
fn sealed(secret: &[u8], frames: &[u8]) -> Vec<u8> {
    let mut buffer = [0; MAX_DATAGRAM];
    buffer[HEADER..HEADER + frames.len()].copy_from_slice(frames);
    let len = seal(&SharedKey::derive(secret), &mut buffer, frames.len(), &mut Counting(0)).expect("it fits");
    buffer[..len].to_vec()
}

/// Two keys with one hint, and two with different ones.
fn colliding() -> (SharedKey, SharedKey) {
    let first = SharedKey::derive(SECRET);
    let second = (0u32..10_000)
        .map(|n| SharedKey::derive(&n.to_le_bytes()))
        .find(|key| key.hint() == first.hint())
        .expect("one in 256 has the same hint");
    (first, second)
}

/// Both made by other implementations of BLAKE3 and of NaCl's secretbox.
#[test]
fn golden_key_and_datagram() {
    let key = SharedKey::derive(SECRET);
    assert_eq!(hex(&key.bytes), "8ca36e2cbe3aed31caf3b8a9e76e551469bbd27bc8d5eedd3db6a2ed76849285");
    assert_eq!(key.hint(), 0xcd);
    // A Hello that asks for nothing, and a goodbye.
    let frames = bytes("01 1500 00000000 00000000 0000000000000000 00 00 00 00 00 0c 0000");
    let expected = "01 cd 000102030405060708090a0b0c0d0e0f1011121314151617 \
        54ad52d46d6abdc0f779f90151498485 \
        91a711a354490bf6503b4b5feaaf5634e4402141c13ae094e97c6e";
    assert_eq!(hex(&sealed(SECRET, &frames)), expected.replace(' ', ""));
    let mut datagram = bytes(expected);
    let (opened, place) = open(&[key], &mut datagram).expect("it opens");
    assert_eq!((&opened[..], place), (&frames[..], 0));
}

#[test]
fn the_envelope_has_no_other_size() {
    assert_eq!(HEADER, 42);
    assert_eq!(sealed(SECRET, &[]).len(), HEADER);
    assert_eq!(sealed(SECRET, &[0; 100]).len(), HEADER + 100);
}

#[test]
fn says_why_it_does_not_open() {
    let keys = [SharedKey::derive(SECRET)];
    let mut good = sealed(SECRET, b"frames");
    let mut forged = sealed(b"another", b"frames");
    assert_eq!(open(&keys, &mut forged.clone()).err(), Some(OpenError::UnknownKey));
    forged[1] = good[1];
    assert_eq!(open(&keys, &mut forged).err(), Some(OpenError::Seal), "a hint can be had by looking");
    assert_eq!(open(&keys, &mut []).err(), Some(OpenError::Length));
    assert_eq!(open(&keys, &mut good[..HEADER - 1].to_vec()).err(), Some(OpenError::Length));
    assert_eq!(open(&keys, &mut good[..HEADER].to_vec()).err(), Some(OpenError::Seal));
    assert_eq!(open(&keys, &mut [VERSION; MAX_DATAGRAM + 1]).err(), Some(OpenError::Length));
    assert_eq!(open(&[], &mut good).err(), Some(OpenError::UnknownKey), "no secret, no gossip");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let keys = [SharedKey::derive(SECRET)];
    let good = sealed(SECRET, b"frames");
    for bit in 0..good.len() * 8 {
        let mut datagram = good.clone();
        datagram[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            0 => OpenError::Version,
            1 => OpenError::UnknownKey,
            _ => OpenError::Seal,
        };
        assert_eq!(open(&keys, &mut datagram).err(), Some(expected), "bit {bit}");
    }
}

#[test]
fn keys_with_one_hint_are_both_tried() {
    let (first, second) = colliding();
    let keys = [first, second];
    for (place, key) in keys.iter().enumerate() {
        let mut buffer = [7; HEADER + 6];
        let len = seal(key, &mut buffer, 6, &mut Counting(0)).expect("it fits");
        let (frames, found) = open(&keys, &mut buffer[..len]).expect("one of them opens it");
        assert_eq!((&frames[..], found), (&[7; 6][..], place));
    }
}

#[test]
fn without_randomness_nothing_is_sealed() {
    let key = SharedKey::derive(SECRET);
    assert!(matches!(seal(&key, &mut [0; 100], 10, &mut Dry), Err(Some(_))));
}

#[test]
fn a_buffer_that_is_too_small_is_refused() {
    let key = SharedKey::derive(SECRET);
    assert!(matches!(seal(&key, &mut [0; HEADER + 9], 10, &mut Counting(0)), Err(None)));
}

#[test]
fn a_keyed_hash_is_nobody_elses() {
    let (a, b) = (SharedKey::derive(b"a"), SharedKey::derive(b"b"));
    assert_ne!(a.hash(b"x"), b.hash(b"x"));
    assert_ne!(a.hash(b"x"), a.hash(b"y"));
    assert_eq!(a.hash(b"x"), SharedKey::derive(b"a").hash(b"x"));
}

/// A datagram as the original makes them: nonce, then NaCl's secretbox of a message in bincode.
fn original(secret: &[u8], text: &[u8]) -> Vec<u8> {
    let nonce = [0x5a; NONCE];
    let mut sealed = text.to_vec();
    let tag = SharedKey::derive(secret)
        .cipher()
        .encrypt_in_place_detached(Nonce::from_slice(&nonce), b"", &mut sealed)
        .expect("short enough");
    [&nonce[..], &tag, &sealed].concat()
}

#[test]
fn the_original_is_recognised_by_key_and_format() {
    let keys = [SharedKey::derive(b"next"), SharedKey::derive(SECRET)];
    for variant in 0..=2 {
        assert!(is_original(&keys, &mut original(SECRET, &[variant, 0, 0, 0, 9, 9])), "{variant}");
    }
    assert!(!is_original(&keys, &mut original(SECRET, &[3, 0, 0, 0, 9, 9])), "it has three messages");
    assert!(!is_original(&keys, &mut original(SECRET, &[0, 0, 0, 1, 9, 9])));
    assert!(!is_original(&keys, &mut original(SECRET, &[0, 0, 0])), "too short for any");
    assert!(!is_original(&keys, &mut original(b"another", &[0, 0, 0, 0, 9, 9])));
    assert!(!is_original(&keys, &mut sealed(SECRET, &[0, 0, 0, 0, 9, 9])), "one of ours");
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn open_undoes_seal(
        secret in collection::vec(any::<u8>(), 1..40),
        frames in collection::vec(any::<u8>(), 0..MAX_DATAGRAM - HEADER),
    ) {
        let mut datagram = sealed(&secret, &frames);
        let keys = [SharedKey::derive(b"another"), SharedKey::derive(&secret)];
        let (opened, place) = open(&keys, &mut datagram).expect("it opens");
        prop_assert_eq!((&opened[..], place), (&frames[..], 1));
    }

    #[test]
    fn any_bytes_do_not_open(mut input in collection::vec(any::<u8>(), 0..MAX_DATAGRAM + 10), ours: bool) {
        let keys = [SharedKey::derive(SECRET)];
        if let [version, hint, ..] = &mut input[..] && ours {
            (*version, *hint) = (VERSION, keys[0].hint());
        }
        prop_assert!(open(&keys, &mut input.clone()).is_err());
        prop_assert!(!is_original(&keys, &mut input));
    }
}
