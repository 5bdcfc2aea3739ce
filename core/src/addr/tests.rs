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

#[test]
fn a_link_local_endpoint_keeps_its_zone_and_sends_it_to_nobody() {
    let zoned = |zone| SocketAddrV6::new("fe80::a:b".parse().expect("an address"), 7, 0, zone);
    for zone in [0, 1, 3, 0x0102_0304, u32::MAX] {
        let endpoint = Endpoint::from(SocketAddr::from(zoned(zone)));
        assert_eq!(SocketAddr::from(endpoint), zoned(zone).into());
        assert_eq!((endpoint.ip(), endpoint.zone()), ((*zoned(zone).ip()).into(), zone));
        assert_eq!(endpoint.scope(), Scope::Link);
        let mut buffer = [0; 32];
        let sent = postcard::to_slice(&endpoint, &mut buffer).expect("it fits");
        let received: Endpoint = postcard::from_bytes(sent).expect("it decodes");
        assert_eq!((received.ip(), received.zone()), (endpoint.ip(), 0));
    }
    assert_ne!(Endpoint::from(SocketAddr::from(zoned(1))), Endpoint::from(SocketAddr::from(zoned(2))));
    // Only where it means something.
    let global = SocketAddrV6::new("2001:db8::1".parse().expect("an address"), 7, 0, 3);
    assert_eq!(Endpoint::from(SocketAddr::from(global)).zone(), 0);
    // What others write into the address is no zone of ours.
    for forged in ["[fe80:0:0:3::1]:7", "[fe80:1::1]:7", "[fe80:0:0:0100::1]:7", "[febf::1:0:0:0:1]:7"] {
        assert_eq!(endpoint(forged).scope(), Scope::Unusable, "{forged}");
        assert_eq!(endpoint(forged).zone(), 0, "{forged}");
    }
}
