use proptest::prelude::*;

use super::*;

const REQUEST: Map = Map {
    client: IpAddr::V4(Ipv4Addr::new(192, 168, 1, 2)),
    nonce: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    internal_port: 51820,
    external_port: 33723,
    lifetime: 3600,
};

/// The layouts of figures 2 and 9 (request), 3 and 10 (response) of RFC 6887, filled in by hand.
#[rustfmt::skip]
const REQUEST_BYTES: [u8; 60] = [
    2, 1, 0, 0,  0, 0, 0x0e, 0x10,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 168, 1, 2,
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    17, 0, 0, 0,  0xca, 0x6c, 0x83, 0xbb,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0,
];
#[rustfmt::skip]
const RESPONSE_BYTES: [u8; 60] = [
    2, 0x81, 0, 0,  0, 0, 0x07, 0x08,  0, 0, 1, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    17, 0, 0, 0,  0xca, 0x6c, 0x83, 0xbc,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 7,
];

fn with(at: usize, value: u8) -> [u8; 60] {
    let mut message = RESPONSE_BYTES;
    message[at] = value;
    message
}

#[test]
fn a_request_is_as_the_rfc_draws_it() {
    assert_eq!(REQUEST.encode(), REQUEST_BYTES);
    let v6 = Map { client: "2001:db8::7".parse().expect("an address"), ..REQUEST }.encode();
    assert_eq!(v6[8..24], *b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07");
    assert_eq!(v6[44..60], [0; 16]);
}

#[test]
fn an_answer_is_as_the_rfc_draws_it() {
    let expected = Mapped { external: ([203, 0, 113, 7].into(), 33724), lifetime: 1800, epoch: 256 };
    assert_eq!(REQUEST.answer(&RESPONSE_BYTES), Some(Answer::Mapped(expected)));
    // Options may follow.
    let options = [&RESPONSE_BYTES[..], &[1, 0, 0, 0]].concat();
    assert_eq!(REQUEST.answer(&options), Some(Answer::Mapped(expected)));
}

#[test]
fn refusals_are_told_apart() {
    for code in 2..=u8::MAX {
        assert_eq!(REQUEST.answer(&with(3, code)), Some(Answer::Refused(code)));
        assert!(!refusal(code).is_empty());
    }
    assert_eq!(REQUEST.answer(&with(3, 1)), Some(Answer::OtherVersion));
    // RFC 6886, section 3.5, as a NAT-PMP server answers a PCP request.
    assert_eq!(REQUEST.answer(&[0, 0x81, 0, 1, 0, 0, 0, 9]), Some(Answer::OtherVersion));
}

#[test]
fn what_is_not_an_answer_to_the_request_is_none() {
    for (at, value) in
        [(0, 1), (0, 3), (1, 1), (1, 0x80), (1, 0x82), (24, 9), (35, 0), (36, 6), (40, 0), (41, 0)]
    {
        assert_eq!(REQUEST.answer(&with(at, value)), None, "byte {at}");
    }
    for length in 0..60 {
        assert_eq!(REQUEST.answer(&RESPONSE_BYTES[..length]), None, "{length} bytes");
    }
    assert_eq!(REQUEST.answer(&[&RESPONSE_BYTES[..], &[0; 3]].concat()), None);
    assert_eq!(REQUEST.answer(&[&RESPONSE_BYTES[..], &[0; 1044]].concat()), None);
    assert_eq!(REQUEST.answer(&REQUEST_BYTES), None, "our own request");
}

#[test]
fn announcements_carry_the_epoch() {
    let mut message = [0; HEADER];
    message[..4].copy_from_slice(&[2, 0x80, 0, 0]);
    message[8..12].copy_from_slice(&77_u32.to_be_bytes());
    assert_eq!(announcement(&message), Some(77));
    for (at, value) in [(0, 1), (1, 0), (1, 0x81), (3, 1)] {
        let mut message = message;
        message[at] = value;
        assert_eq!(announcement(&message), None);
    }
    assert_eq!(announcement(&message[..20]), None);
}

/// Section 8.5.
#[test]
fn a_server_that_began_anew_is_noticed() {
    for (before, now, elapsed, same) in [
        (100, 200, 100, true),
        (100, 99, 0, true),
        (100, 98, 0, false),
        (1000, 5, 600, false),
        (100, 160, 60, true),
        (100, 157, 60, true),
        (100, 130, 60, false),
        (100, 1000, 60, false),
        (u32::MAX, 0, 10, false),
        (0, u32::MAX, u32::MAX, true),
    ] {
        assert_eq!(is_same_epoch(before, now, elapsed), same, "{before} {now} {elapsed}");
    }
}

proptest! {
    #[test]
    fn no_message_makes_it_panic(message in proptest::collection::vec(any::<u8>(), 0..1200), at in 0..60_usize, value: u8) {
        let _ = (REQUEST.answer(&message), announcement(&message));
        let _ = REQUEST.answer(&with(at, value));
    }
}
