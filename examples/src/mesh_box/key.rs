//! WireGuard keys of the nodes: made from a seed, so that a run can be repeated, and not for any other use.

use core::fmt;

use base64ct::{Base64, Encoding};
use boringtun::x25519::{PublicKey, StaticSecret};
use rand_core::Rng;
use serde::{Deserialize, Serialize};

/// 32 bytes: a private, public or preshared key.
///
/// `Debug` shows a public abbreviation only: the first six characters in base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// A new private key. The generator decides all of it: a seeded one gives the same key again.
    pub fn generate(rng: &mut impl Rng) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        // As `wg genkey` clamps it, so that every implementation shows the same private key.
        bytes[0] &= 248;
        bytes[31] = (bytes[31] & 127) | 64;
        Self(bytes)
    }

    /// The public key of this private key.
    #[must_use]
    pub fn public(&self) -> Self {
        Self(*PublicKey::from(&StaticSecret::from(self.0)).as_bytes())
    }

    /// As in configuration files: 44 characters.
    #[must_use]
    pub fn base64(&self) -> String {
        Base64::encode_string(&self.0)
    }

    /// As on a UAPI socket: 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads [`Key::hex`] back.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        Some(Self(bytes))
    }

    /// Whether all bytes are zero: "no key" in WireGuard's interfaces.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 32]
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({}…)", &self.public().base64()[..6])
    }
}
