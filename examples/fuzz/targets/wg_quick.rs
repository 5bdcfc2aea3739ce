//! A wg-quick file: whatever it is, there is a TOML that is accepted or at least one error; and no private key of it is
//! in either.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wgautomesh::{
    config::{Report, fuzzing},
    import::convert,
};

/// In the corpus it stands where private and preshared keys do.
const SECRET: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";

fuzz_target!(|input: &[u8]| {
    let Ok(text) = core::str::from_utf8(input) else { return };
    let mut report = Report::new("fuzz.conf");
    let toml = convert("wg0", text, &mut report);
    report.sort();
    assert_eq!(toml.is_some(), !report.has_errors());
    // Where the fuzzer has put it behind another name, it is another thing.
    let hidden = text.lines().filter(|line| line.contains(SECRET)).all(|line| {
        let key = line.split('=').next().unwrap_or_default().trim();
        key.eq_ignore_ascii_case("PrivateKey") || key.eq_ignore_ascii_case("PresharedKey")
    });
    let said: Vec<String> = report.lines().chain(toml.clone()).collect();
    assert!(!hidden || said.iter().all(|line| !line.contains(SECRET)));
    if let Some(toml) = toml {
        fuzzing::check(toml.as_bytes());
        let secret = toml.replace(
            "gossip_secret_file = \"/etc/wgautomesh.secret\"",
            "gossip_secret = \"0123456789abcdef\"",
        );
        // Too many peers are another matter.
        if secret.matches("[[peers]]").count() <= 16 {
            assert!(fuzzing::is_accepted(secret.as_bytes()), "{secret}");
        }
    }
});
