//! The identities of nodes: WireGuard public keys.

use core::{cmp::Ordering, fmt, str::FromStr};

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};

/// A WireGuard (Curve25519) public key: who a node is.
///
/// Ordered bytewise; "the lower key" in the connecting rules means this order. Shown and parsed as base64, the way
/// `wg` does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PublicKey([u8; 32]);

/// Why a text is not a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum KeyError {
    /// Not 44 characters of standard, padded base64.
    NotBase64,
    /// Decodes, but not to 32 bytes.
    WrongLength,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotBase64 => "not base64",
            Self::WrongLength => "not 32 bytes long",
        })
    }
}

impl core::error::Error for KeyError {}

impl PublicKey {
    /// Length of a key in bytes.
    pub const LEN: usize = 32;

    /// Wraps the 32 bytes of a key. Any 32 bytes are a Curve25519 public key.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight bytes, big endian: enough to name a configured node in a summary, where a clash costs one
    /// useless pull and nothing more.
    #[must_use]
    pub(crate) const fn short(&self) -> u64 {
        let k = &self.0;
        u64::from_be_bytes([k[0], k[1], k[2], k[3], k[4], k[5], k[6], k[7]])
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        // Two keys nearly always differ here already.
        self.short().cmp(&other.short()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 44];
        // 32 bytes are 44 characters of padded base64, so this cannot fail; an empty text would be harmless.
        f.pad(Base64::encode(&self.0, &mut text).unwrap_or_default())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0u8; 33];
        match Base64::decode(text, &mut bytes) {
            Ok(decoded) => decoded.try_into().map(Self).map_err(|_| KeyError::WrongLength),
            Err(base64ct::Error::InvalidLength) => Err(KeyError::WrongLength),
            Err(base64ct::Error::InvalidEncoding) => Err(KeyError::NotBase64),
        }
    }
}

impl From<[u8; 32]> for PublicKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn shows_and_parses_as_wg_does() {
        let key = PublicKey::from_bytes([0xfb; 32]);
        let text = "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=";
        assert_eq!(key.to_string(), text);
        assert_eq!(text.parse(), Ok(key));
    }

    #[test]
    fn refuses_what_is_not_a_key() {
        for (text, error) in [
            ("", KeyError::WrongLength),
            ("AAAA", KeyError::WrongLength),
            ("+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s", KeyError::NotBase64),
            ("+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7", KeyError::WrongLength),
            ("+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7", KeyError::WrongLength),
            ("-_v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=", KeyError::NotBase64),
        ] {
            let parsed: Result<PublicKey, _> = text.parse();
            assert_eq!(parsed, Err(error), "{text:?}");
        }
    }
}
