//! `genkey`: a new gossip secret.

use super::output::{FAILED, complain, print};
use base64ct::{Base64, Encoding as _};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// A secret as text: the base64 of 32 random bytes, which nobody can guess and which survives any editor and any shell.
const LENGTH: usize = 44;

/// Prints a new secret.
pub fn genkey() -> ExitCode {
    match new_secret() {
        Ok(secret) => {
            let mut line = Zeroizing::new(String::with_capacity(LENGTH + 1));
            line.push_str(&secret);
            line.push('\n');
            print(&line)
        }
        Err(complaint) => {
            complain(&complaint);
            ExitCode::from(FAILED)
        }
    }
}

/// A new secret.
///
/// # Errors
/// What to complain of, where the system gives no random numbers.
pub(super) fn new_secret() -> Result<Zeroizing<String>, String> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice())
        .map_err(|error| format!("wgautomesh: the system gives no random numbers: {error}\n"))?;
    let mut text = Zeroizing::new([0; LENGTH]);
    let text = Base64::encode(bytes.as_slice(), text.as_mut_slice()).expect("32 bytes are 44 characters");
    Ok(Zeroizing::new(text.to_owned()))
}
