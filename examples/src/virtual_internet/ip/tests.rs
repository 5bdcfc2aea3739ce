use proptest::prelude::*;

use super::*;

fn v4(a: u8, port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(203, 0, 113, a).into(), port)
}

fn v6(a: u16, port: u16) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, a).into(), port)
}

#[test]
fn a_udp_packet_is_laid_out_as_the_standards_say() {
    let packet = udp(v4(1, 51820), v4(2, 1234), b"hi").unwrap();
    #[rustfmt::skip]
    let expected = [
        0x45, 0, 0, 30, 0, 0, 0x40, 0, 64, 17, 0xc2, 0xca, 203, 0, 113, 1, 203, 0, 113, 2,
        0xca, 0x6c, 0x04, 0xd2, 0, 10, 0x50, 0x2d, b'h', b'i',
    ];
    // The two checksums were computed by another program, from RFC 791 and RFC 768.
    assert_eq!(packet, expected);
    assert_eq!(checksums_right(&packet), Ok(true));
    assert_eq!(payload(&packet), Ok(&b"hi"[..]));
}

#[test]
fn what_is_not_a_whole_udp_or_echo_packet_is_refused() {
    let good = udp(v4(1, 1), v4(2, 2), b"payload").unwrap();
    for end in 0..good.len() {
        assert_eq!(parse(&good[..end]), Err(ParseError::Truncated), "cut at {end}");
    }
    let with = |at: usize, value: u8| {
        let mut packet = good.clone();
        packet[at] = value;
        parse(&packet)
    };
    assert_eq!(with(0, 0x55), Err(ParseError::Malformed));
    assert_eq!(with(0, 0x44), Err(ParseError::Malformed));
    assert_eq!(with(6, 0x20), Err(ParseError::Fragment));
    assert_eq!(with(7, 1), Err(ParseError::Fragment));
    assert_eq!(with(9, 6), Err(ParseError::Protocol));
    let mut destination_unreachable = echo(false, v4(1, 0).ip(), v4(2, 0).ip(), 1, 1, b"").unwrap();
    destination_unreachable[20] = 3;
    assert_eq!(parse(&destination_unreachable), Err(ParseError::Protocol));
}

#[test]
fn no_checksum_stays_none_and_a_wrong_one_stays_wrong() {
    let mut packet = udp(v4(1, 1), v4(2, 2), b"payload").unwrap();
    packet[26..28].fill(0);
    rewrite(&mut packet, &Header::udp(v4(9, 9), v4(2, 2))).unwrap();
    assert_eq!(packet[26..28], [0, 0]);
    assert_eq!(checksums_right(&packet), Ok(true));

    let mut packet = udp(v4(1, 1), v4(2, 2), b"payload").unwrap();
    packet[30] ^= 1;
    rewrite(&mut packet, &Header::udp(v4(9, 9), v4(2, 2))).unwrap();
    assert_eq!(checksums_right(&packet), Ok(false));
}

#[test]
fn a_header_of_another_kind_changes_nothing() {
    let packet = udp(v4(1, 1), v4(2, 2), b"payload").unwrap();
    for other in [Header::udp(v6(1, 1), v6(2, 2)), Header::echo_request(v4(1, 0).ip(), v4(2, 0).ip(), 7)] {
        let mut copy = packet.clone();
        assert_eq!(rewrite(&mut copy, &other), Err(ParseError::Mismatch));
        assert_eq!(copy, packet);
    }
}

fn endpoints() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let pair = (any::<u16>(), any::<u16>());
    prop_oneof![
        (any::<[u8; 4]>(), any::<[u8; 4]>(), pair)
            .prop_map(|(a, b, (p, q))| (SocketAddr::new(a.into(), p), SocketAddr::new(b.into(), q))),
        (any::<[u8; 16]>(), any::<[u8; 16]>(), pair)
            .prop_map(|(a, b, (p, q))| (SocketAddr::new(a.into(), p), SocketAddr::new(b.into(), q))),
    ]
}

proptest! {
    #[test]
    fn udp_survives_any_rewrite(
        (src, dst) in endpoints(), (src2, dst2) in endpoints(), ttl: u8,
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut packet = udp(src, dst, &body).unwrap();
        prop_assert_eq!(parse(&packet), Ok(Header::udp(src, dst)));
        prop_assert_eq!(checksums_right(&packet), Ok(true));
        let to = Header { ttl, ..Header::udp(src2, dst2) };
        if src.is_ipv4() == src2.is_ipv4() {
            rewrite(&mut packet, &to).unwrap();
            prop_assert_eq!(parse(&packet), Ok(to));
            prop_assert_eq!(checksums_right(&packet), Ok(true));
            prop_assert_eq!(payload(&packet), Ok(&body[..]));
        } else {
            prop_assert_eq!(rewrite(&mut packet, &to), Err(ParseError::Mismatch));
        }
    }

    #[test]
    fn an_echo_and_its_reply_survive_any_rewrite(
        (src, dst) in endpoints(), (src2, dst2) in endpoints(), reply: bool, seq: u16,
        body in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        prop_assume!(src.is_ipv4() == src2.is_ipv4());
        let header = |a: SocketAddr, b: SocketAddr| {
            let request = Header::echo_request(a.ip(), b.ip(), a.port());
            if reply { request.reply() } else { request }
        };
        let id = src.port();
        let (from, to) = if reply { (dst.ip(), src.ip()) } else { (src.ip(), dst.ip()) };
        let mut packet = echo(reply, from, to, id, seq, &body).unwrap();
        prop_assert_eq!(checksums_right(&packet), Ok(true));
        let seen = parse(&packet).unwrap();
        prop_assert_eq!(if reply { seen.dst.port() } else { seen.src.port() }, id);
        let new = header(src2, dst2);
        prop_assert_eq!(seen.proto, new.proto);
        rewrite(&mut packet, &new).unwrap();
        prop_assert_eq!(parse(&packet), Ok(new));
        prop_assert_eq!(checksums_right(&packet), Ok(true));
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), first in 0x40u8..0x70) {
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        let _ = payload(&bytes);
        let _ = checksums_right(&bytes);
        if let Ok(header) = parse(&bytes) {
            rewrite(&mut bytes, &header.reply()).ok();
            rewrite(&mut bytes, &header).unwrap();
            prop_assert_eq!(parse(&bytes), Ok(header));
        }
    }
}
