extern crate std;
use std::string::ToString;

use super::*;

fn endpoint(text: &str) -> Endpoint {
    text.parse::<SocketAddr>().expect("a socket address").into()
}

#[test]
fn scopes() {
    for (text, expected) in [
        ("0.0.0.0:1", Scope::Unusable),
        ("0.1.2.3:1", Scope::Unusable),
        ("127.0.0.1:1", Scope::Unusable),
        ("224.0.0.1:1", Scope::Unusable),
        ("255.255.255.255:1", Scope::Unusable),
        ("8.8.8.8:0", Scope::Unusable),
        ("[::]:1", Scope::Unusable),
        ("[::1]:1", Scope::Unusable),
        ("[ff02::1]:1", Scope::Unusable),
        ("[::ffff:127.0.0.1]:1", Scope::Unusable),
        ("169.254.1.1:1", Scope::Link),
        ("[fe80::1]:1", Scope::Link),
        ("10.0.0.1:1", Scope::Private),
        ("172.31.0.1:1", Scope::Private),
        ("192.168.0.1:1", Scope::Private),
        ("100.64.0.1:1", Scope::Private),
        ("100.127.255.255:1", Scope::Private),
        ("[fd00::1]:1", Scope::Private),
        ("[::ffff:10.0.0.1]:1", Scope::Private),
        ("100.128.0.1:1", Scope::Public),
        ("172.32.0.1:1", Scope::Public),
        ("8.8.8.8:53", Scope::Public),
        ("192.0.2.1:1", Scope::Public),
        ("198.18.0.1:1", Scope::Public),
        ("[2001:db8::1]:1", Scope::Public),
    ] {
        assert_eq!(endpoint(text).scope(), expected, "{text}");
    }
}

#[test]
fn mapped_addresses_are_canonical() {
    let mapped = endpoint("[::ffff:192.0.2.1]:7");
    assert_eq!(mapped, endpoint("192.0.2.1:7"));
    assert_eq!(mapped.to_string(), "192.0.2.1:7");
    assert!(mapped.is_ipv4());
}

#[test]
fn is_small() {
    assert_eq!(size_of::<Endpoint>(), 18);
    assert_eq!(size_of::<Option<Endpoint>>(), 20);
}
