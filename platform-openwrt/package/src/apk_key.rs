//! Signatures as apk-tools 3 and OpenWrt's build system make them: ECDSA over the curve P-256, in a block behind what is signed.

use std::{fs, path::Path};

use p256::{
    ecdsa::{Signature, SigningKey, signature::hazmat::PrehashSigner as _},
    pkcs8::DecodePrivateKey as _,
};
use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

use crate::{
    adb::Schema,
    error::{Context as _, Error},
};

/// A secret key.
pub(crate) struct SecretKey {
    key: SigningKey,
}

/// What a signature block begins with: its version, and SHA-512.
const VERSION_AND_HASH: [u8; 2] = [0, 4];

/// The two ways in which OpenSSL writes a key down, of which the first may stand behind the curve's parameters.
const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----";
const PKCS8: &str = "-----BEGIN PRIVATE KEY-----";

impl SecretKey {
    /// Reads the file that `openssl ecparam -name prime256v1 -genkey` made.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = Zeroizing::new(fs::read_to_string(path).at(path)?);
        let key = if let Some(start) = text.find(SEC1) {
            p256::SecretKey::from_sec1_pem(&text[start..]).ok()
        } else {
            text.find(PKCS8).and_then(|start| p256::SecretKey::from_pkcs8_pem(&text[start..]).ok())
        };
        let key = key.ok_or_else(|| {
            let remedy = "is no key that apk can use (openssl ecparam -name prime256v1 -genkey -noout)";
            Error::Key(path.to_owned(), remedy)
        })?;
        Ok(Self { key: key.into() })
    }

    /// The content of the block that signs these values.
    pub(crate) fn sign(&self, schema: Schema, values: &[u8]) -> Result<Vec<u8>, Error> {
        let point = self.key.verifying_key().to_encoded_point(false);
        let mut block = VERSION_AND_HASH.to_vec();
        // By which the router finds the public key among those it has.
        block.extend(&Sha512::digest(point.as_bytes())[..16]);
        let signed = Sha512::new()
            .chain_update(schema.magic())
            .chain_update(&block)
            .chain_update(Sha512::digest(values));
        let signature: Signature = self.key.sign_prehash(&signed.finalize()).map_err(|_| Error::Signature)?;
        block.extend(signature.to_der().as_bytes());
        Ok(block)
    }
}
