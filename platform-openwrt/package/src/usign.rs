//! Signatures as OpenWrt's usign and OpenBSD's signify make them: Ed25519, in files of two lines.

use std::{fs, path::Path};

use base64ct::{Base64, Encoding as _};
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

use crate::error::{Context as _, Error};

/// A secret key without a password.
pub(crate) struct SecretKey {
    /// By which the router finds the public key among those it has.
    fingerprint: [u8; 8],
    key: SigningKey,
}

/// What precedes the fingerprint in a file of a secret key: algorithm, key derivation, its rounds, salt, check sum.
const FINGERPRINT: usize = 2 + 2 + 4 + 16 + 8;
/// And then the seed and the public key.
const SEED: usize = FINGERPRINT + 8;
const SECRET_KEY: usize = SEED + 64;

impl SecretKey {
    /// Reads the file that `signify -G -n` or `usign -G` made.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = Zeroizing::new(fs::read_to_string(path).at(path)?);
        Self::parse(&text).map_err(|why| Error::Key(path.to_owned(), why))
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let encoded = text.lines().nth(1).ok_or("has no second line, so is no key of signify or usign")?;
        let mut bytes = Zeroizing::new([0; SECRET_KEY]);
        match Base64::decode(encoded.trim(), &mut *bytes) {
            Ok(decoded) if decoded.len() == SECRET_KEY => {}
            _ => return Err("is not as long as a secret key of signify or usign"),
        }
        if !bytes.starts_with(b"EdBK") {
            return Err("is of another kind than Ed25519");
        }
        if bytes[4..8] != [0; 4] {
            return Err("is protected by a password; use a key without (signify -G -n)");
        }
        if Sha512::digest(&bytes[SEED..])[..8] != bytes[24..FINGERPRINT] {
            return Err("is damaged: its check sum is wrong");
        }
        let mut fingerprint = [0; 8];
        fingerprint.copy_from_slice(&bytes[FINGERPRINT..SEED]);
        let mut seed = Zeroizing::new([0; 32]);
        seed.copy_from_slice(&bytes[SEED..SEED + 32]);
        let key = SigningKey::from_bytes(&seed);
        if key.verifying_key().as_bytes()[..] != bytes[SEED + 32..] {
            return Err("is damaged: its public key is that of another secret key");
        }
        Ok(Self { fingerprint, key })
    }

    /// The text of the file that goes with `message`.
    pub(crate) fn sign(&self, message: &[u8]) -> String {
        let mut signature = b"Ed".to_vec();
        signature.extend(self.fingerprint);
        signature.extend(self.key.sign(message).to_bytes());
        let fingerprint = u64::from_be_bytes(self.fingerprint);
        format!("untrusted comment: signed by key {fingerprint:x}\n{}\n", Base64::encode_string(&signature))
    }
}

/// Lengthens a text by empty lines until every usign can verify it.
///
/// Its SHA-512 is wrong where the last block has room for the end mark but not for the length too, just at the border. What
/// is hashed is the text behind 64 bytes of signature and key. OpenWrt's own feeds are padded by the same rule.
pub(crate) fn pad(text: &mut String) {
    if matches!((64 + text.len()) % 128, 110 | 111) {
        text.push_str("\n\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `signify-openbsd -G -n`, for these tests.
    const KEY: &str = include_str!("../tests/feed.sec");

    #[test]
    fn a_text_whose_hash_usign_gets_wrong_is_lengthened() {
        for length in 0..300 {
            let mut text = "x".repeat(length);
            pad(&mut text);
            let wrong = |length: usize| matches!((64 + length) % 128, 110 | 111);
            assert!(!wrong(text.len()), "{length}");
            assert_eq!(text.len() == length, !wrong(length), "{length}");
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_is_refused_with_the_reason() {
        assert!(SecretKey::parse(KEY).is_ok());
        let changed = |at: usize, to: u8| {
            let (comment, encoded) = KEY.trim().split_once('\n').unwrap();
            let mut bytes = Base64::decode_vec(encoded).unwrap();
            bytes[at] = to;
            SecretKey::parse(&format!("{comment}\n{}\n", Base64::encode_string(&bytes))).err().unwrap()
        };
        assert!(changed(0, b'R').contains("another kind"));
        assert!(changed(7, 42).contains("password"));
        assert!(changed(24, 0).contains("check sum"));
        assert!(changed(SEED, 0).contains("check sum"));
        assert!(SecretKey::parse("untrusted comment: a key\nRWQ=\n").err().unwrap().contains("long"));
        assert!(SecretKey::parse("").err().unwrap().contains("second line"));
    }
}
