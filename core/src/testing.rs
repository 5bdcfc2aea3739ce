//! What the tests share: random sources that do as told, and values to try.

extern crate std;

use core::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
};
use std::vec::Vec;

use proptest::{
    array, collection,
    prelude::*,
    test_runner::{Config, RngSeed},
};
use rand_core::{TryCryptoRng, TryRng};

use crate::{
    Endpoint, NatClass, PublicKey,
    limits::MAX_RECORD_ENDPOINTS,
    record::{Claim, Order, Origin, RecordEndpoint},
};

/// So many cases, the same ones every time. `PROPTEST_RNG_SEED` asks for others, `PROPTEST_CASES` for more.
pub(crate) fn cases(cases: u32) -> Config {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if matches!(config.rng_seed, RngSeed::Random) {
        config.rng_seed = RngSeed::Fixed(20_261_123);
    }
    std::println!("{:?}, {} cases; PROPTEST_RNG_SEED={{number}} tries others", config.rng_seed, config.cases);
    config
}

/// A random source that counts: 0, 1, 2 and so on.
pub(crate) struct Counting(pub(crate) u8);

impl TryRng for Counting {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
        Ok(())
    }
}

impl TryCryptoRng for Counting {}

/// A random source that has none.
pub(crate) struct Dry;

/// It has none.
#[derive(Debug)]
pub(crate) struct IsDry;

impl core::fmt::Display for IsDry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("no randomness")
    }
}

impl core::error::Error for IsDry {}

impl TryRng for Dry {
    type Error = IsDry;

    fn try_next_u32(&mut self) -> Result<u32, IsDry> {
        Err(IsDry)
    }

    fn try_next_u64(&mut self) -> Result<u64, IsDry> {
        Err(IsDry)
    }

    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), IsDry> {
        Err(IsDry)
    }
}

impl TryCryptoRng for Dry {}

/// Bytes as the golden vectors give them; blanks are for the reader.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).expect("hex") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> std::string::String {
    bytes.iter().map(|byte| std::format!("{byte:02x}")).collect()
}

/// An endpoint written as people write them.
pub(crate) fn at(text: &str) -> Endpoint {
    text.parse::<SocketAddr>().expect("a socket address").into()
}

// ---- any value of a type

pub(crate) fn any_key() -> impl Strategy<Value = PublicKey> {
    array::uniform32(any::<u8>()).prop_map(PublicKey::from_bytes)
}

pub(crate) fn any_endpoint() -> impl Strategy<Value = Endpoint> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| Endpoint::new(ip, port))
}

/// Any order, and often one near the others.
pub(crate) fn any_order() -> impl Strategy<Value = Order> {
    let number = || prop_oneof![0u32..4, 1u32 << 16..(1 << 16) + 4, any::<u32>()];
    (number(), number()).prop_map(|(incarnation, seq)| Order { incarnation, seq })
}

pub(crate) fn any_claim() -> impl Strategy<Value = Claim> {
    let origin = prop_oneof![Just(Origin::Local), Just(Origin::Reflexive), Just(Origin::Mapped)];
    let endpoints = collection::vec((origin, any_endpoint()), 0..=MAX_RECORD_ENDPOINTS);
    (any_order(), any::<u8>(), any::<u8>(), any::<u16>(), endpoints).prop_map(
        |(order, nat, degree, port, endpoints)| {
            let mut claim = Claim::new();
            claim.order = order;
            claim.set_nats(NatClass::from_wire(nat & 0xf), NatClass::from_wire(nat >> 4));
            claim.degree = degree;
            claim.port = port;
            for (origin, endpoint) in endpoints {
                claim.endpoints.push(RecordEndpoint::new(origin, endpoint)).expect("no more than fit");
            }
            claim
        },
    )
}
