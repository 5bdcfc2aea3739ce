//! `genkey`: a new gossip secret.

use super::output::{FAILED, complain, print};
use base64ct::{Base64, Encoding as _};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// Prints the base64 of 32 random bytes: a secret that nobody can guess and that survives any editor and any shell.
pub fn genkey() -> ExitCode {
    let mut bytes = Zeroizing::new([0; 32]);
    if let Err(error) = getrandom::fill(bytes.as_mut_slice()) {
        complain(&format!("wgautomesh: the system gives no random numbers: {error}\n"));
        return ExitCode::from(FAILED);
    }
    let mut text = Zeroizing::new([b'\n'; 45]);
    // 32 bytes are 44 characters of padded base64, which leaves the line end in the last place.
    let fits = Base64::encode(bytes.as_slice(), text.as_mut_slice()).is_ok();
    match core::str::from_utf8(text.as_slice()) {
        Ok(line) if fits => print(line),
        _ => ExitCode::from(FAILED),
    }
}
