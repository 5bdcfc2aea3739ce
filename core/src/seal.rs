//! The envelope: how a datagram is sealed with the mesh's secret.
//!
//! ```text
//! version 1 B | key hint 1 B | nonce 24 B | XSalsa20-Poly1305( frames )
//! ```
//!
//! The secret keeps strangers and other local programs out of the gossip. It does not say *which* member sent a
//! datagram: that is the tunnel's doing, whose source address WireGuard has proven.
//!
//! The key is derived as the original wgautomesh does, `blake3("wgautomesh: " + secret)`, so that one secret serves
//! both and a node that still runs the original can be recognised.

use crypto_secretbox::{
    Key, Nonce, Tag, XSalsa20Poly1305,
    aead::{AeadInPlace, KeyInit},
};
use rand_core::TryCryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::limits::MAX_DATAGRAM;

/// The protocol version, first byte of every datagram.
pub(crate) const VERSION: u8 = 1;

const NONCE: usize = 24;
const TAG: usize = 16;
/// Bytes before the sealed frames: version, key hint, nonce, tag.
pub(crate) const HEADER: usize = 2 + NONCE + TAG;

/// A gossip key, derived from the mesh's secret. Zeroized when dropped; never shown.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SharedKey {
    bytes: [u8; 32],
    hint: u8,
}

impl SharedKey {
    /// Derives the key from the secret that all nodes share. Any bytes will do; whether they are a *good* secret is for
    /// the configuration to judge.
    #[must_use]
    pub fn derive(secret: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"wgautomesh: ").update(secret);
        let mut bytes = *hasher.finalize().as_bytes();
        let key = Self::from_bytes(bytes);
        bytes.zeroize();
        key
    }

    fn from_bytes(bytes: [u8; 32]) -> Self {
        // One byte of a one-way function of the key: tells two secrets apart, helps nobody to guess one.
        let hint = blake3::derive_key("wgautomesh v1 key hint", &bytes)[0];
        Self { bytes, hint }
    }

    /// Whether the two can be told apart by their hints, one byte each: of 256 pairs of secrets one cannot. While a mesh changes
    /// over, nodes say by that which secrets they have.
    #[must_use]
    pub fn is_told_from(&self, other: &Self) -> bool {
        self.hint != other.hint
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }

    /// One byte that tells this key from another, most of the time.
    pub(crate) const fn hint(&self) -> u8 {
        self.hint
    }

    /// A 64-bit hash of some bytes that nobody without the key can foresee. In one piece: a hasher that takes several
    /// is 2 kB of stack.
    pub(crate) fn hash(&self, bytes: &[u8]) -> u64 {
        blake3::keyed_hash(&self.bytes, bytes).as_bytes().first_chunk().copied().map_or(0, u64::from_le_bytes)
    }

    fn cipher(&self) -> XSalsa20Poly1305 {
        XSalsa20Poly1305::new(Key::from_slice(&self.bytes))
    }
}

/// Why a datagram could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// Too short for an envelope, or longer than any datagram of ours.
    Length,
    /// Another protocol version.
    Version,
    /// Sealed with a key that we do not have.
    UnknownKey,
    /// The seal does not match.
    Seal,
}

/// Seals the frames that lie in `buffer[HEADER..HEADER + len]`, and returns the length of the datagram in `buffer`.
///
/// # Errors
/// That of the random source; the buffer's content is then not to be sent.
pub(crate) fn seal<R: TryCryptoRng>(
    key: &SharedKey,
    buffer: &mut [u8],
    len: usize,
    rng: &mut R,
) -> Result<usize, Option<R::Error>> {
    let Some(buffer) = buffer.get_mut(..HEADER + len) else { return Err(None) };
    let (head, frames) = buffer.split_at_mut(HEADER);
    head[0] = VERSION;
    head[1] = key.hint;
    rng.try_fill_bytes(&mut head[2..2 + NONCE]).map_err(Some)?;
    let (nonce, tag) = head[2..].split_at_mut(NONCE);
    let sealed = key.cipher().encrypt_in_place_detached(Nonce::from_slice(nonce), b"", frames);
    tag.copy_from_slice(&sealed.map_err(|_| None)?);
    Ok(HEADER + len)
}

/// What can be told of a datagram without deciphering it: whether [`open`] has a chance.
pub(crate) fn look(keys: &[SharedKey], datagram: &[u8]) -> Result<(), OpenError> {
    if datagram.len() > MAX_DATAGRAM {
        return Err(OpenError::Length);
    }
    match datagram.get(..HEADER) {
        None => Err(OpenError::Length),
        Some([VERSION, hint, ..]) if keys.iter().any(|key| key.hint == *hint) => Ok(()),
        Some([VERSION, ..]) => Err(OpenError::UnknownKey),
        Some(_) => Err(OpenError::Version),
    }
}

/// Opens a datagram in place with whichever of the keys fits, and returns the frames and the place of that key.
pub(crate) fn open<'a>(
    keys: &[SharedKey],
    datagram: &'a mut [u8],
) -> Result<(&'a mut [u8], usize), OpenError> {
    look(keys, datagram)?;
    let (head, frames) = datagram.split_at_mut(HEADER);
    let (nonce, tag) = head[2..].split_at(NONCE);
    let mut error = OpenError::UnknownKey;
    // Hints of two keys may be the same: then both are tried. A failed try leaves the frames as they were.
    for (place, key) in keys.iter().enumerate().filter(|(_, key)| key.hint == head[1]) {
        let (nonce, tag) = (Nonce::from_slice(nonce), Tag::from_slice(tag));
        if key.cipher().decrypt_in_place_detached(nonce, b"", frames, tag).is_ok() {
            return Ok((frames, place));
        }
        error = OpenError::Seal;
    }
    Err(error)
}

/// Whether this is a datagram of the original wgautomesh: `nonce | secretbox(bincode)` under the same key, where the
/// plain text begins with a little-endian u32 that names one of three messages. Destroys the datagram.
pub(crate) fn is_original(keys: &[SharedKey], datagram: &mut [u8]) -> bool {
    if datagram.len() < NONCE + TAG + 4 {
        return false;
    }
    let (nonce, sealed) = datagram.split_at_mut(NONCE);
    let (tag, text) = sealed.split_at_mut(TAG);
    keys.iter().any(|key| {
        let (nonce, tag) = (Nonce::from_slice(nonce), Tag::from_slice(tag));
        key.cipher().decrypt_in_place_detached(nonce, b"", text, tag).is_ok()
            && matches!(text, [0..=2, 0, 0, 0, ..])
    })
}

/// What the fuzz targets need from inside.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    use super::{HEADER, NONCE, SharedKey, VERSION, XSalsa20Poly1305};
    use crypto_secretbox::{Nonce, aead::AeadInPlace};

    /// Seals as many of the frames as fit, as a member may, and returns the length of the datagram. The nonce is zero.
    pub fn seal(key: &SharedKey, frames: &[u8], datagram: &mut [u8]) -> usize {
        let len = frames.len().min(datagram.len() - HEADER);
        let (head, sealed) = datagram[..HEADER + len].split_at_mut(HEADER);
        sealed.copy_from_slice(&frames[..len]);
        head.fill(0);
        (head[0], head[1]) = (VERSION, key.hint);
        let cipher: XSalsa20Poly1305 = key.cipher();
        let tag = cipher.encrypt_in_place_detached(&Nonce::default(), b"", sealed).expect("short enough");
        head[2 + NONCE..].copy_from_slice(&tag);
        HEADER + len
    }
}

#[cfg(test)]
mod tests;
