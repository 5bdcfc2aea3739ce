extern crate std;
use core::fmt::Debug;
use std::vec::Vec;

use proptest::{collection, option, prelude::*};

use super::*;
use crate::{
    NatClass,
    record::{Origin, RecordEndpoint},
    testing::{any_claim, any_endpoint, any_key, any_order, at, bytes, cases, hex},
};

const fn key(byte: u8) -> PublicKey {
    PublicKey::from_bytes([byte; 32])
}

const KEY_1: &str = "0101010101010101010101010101010101010101010101010101010101010101";
const KEY_2: &str = "0202020202020202020202020202020202020202020202020202020202020202";
const KEY_3: &str = "0303030303030303030303030303030303030303030303030303030303030303";

/// A frame with one message is these bytes, and these bytes are that message. Blanks in `hex` stand between fields, and
/// `K1` to `K3` for keys.
fn golden<T: Serialize + DeserializeOwned + PartialEq + Debug>(kind: Kind, message: &T, expected: &str) {
    let expected = expected.replace("K1", KEY_1).replace("K2", KEY_2).replace("K3", KEY_3);
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer);
    assert!(writer.frame(kind, message));
    let len = writer.len();
    assert_eq!(hex(&buffer[..len]), expected.replace(' ', ""), "{kind:?}");
    let frame = bytes(&expected);
    let mut reader = Reader::new(&frame);
    let (read, body) = reader.next().expect("one frame").expect("well-formed");
    assert_eq!(read, Some(kind));
    assert_eq!(decode::<T>(body).as_ref(), Ok(message));
    assert_eq!(reader.next(), None);
}

fn hello() -> Hello {
    Hello {
        token: [1, 2, 3, 4],
        echo: [5, 6, 7, 8],
        digest: 0x0102_0304_0506_0708_u64.to_le_bytes(),
        holds: Order { incarnation: 2, seq: 300 },
        seen: Some(at("198.51.100.7:51820")),
        hint: 0xab,
        flags: Hello::LEAF,
    }
}

fn entry() -> Entry {
    let mut claim = Claim::new();
    claim.order = Order { incarnation: 1, seq: 2 };
    claim.set_nats(NatClass::EndpointIndependent, NatClass::Unknown);
    claim.degree = 7;
    claim.port = 51820;
    for (origin, endpoint) in [(Origin::Local, "192.168.1.2:51820"), (Origin::Reflexive, "[2001:db8::5]:443")]
    {
        claim.endpoints.push(RecordEndpoint::new(origin, at(endpoint))).expect("room for two");
    }
    Entry { id: key(1), age: 200, claim }
}

#[test]
fn golden_hello() {
    // token, echo, digest, incarnation, seq, Some, IPv4, address, port, hint, flags.
    let body = "01020304 05060708 0807060504030201 02 ac02 01 00 c6336407 ec9403 ab 01";
    golden(Kind::Hello, &hello(), &std::format!("01 1e00 {body}"));
    golden(Kind::HelloAck, &hello(), &std::format!("02 1e00 {body}"));
    let least = Hello {
        token: [0; 4],
        echo: [0; 4],
        digest: [0; 8],
        holds: Order::NONE,
        seen: None,
        hint: 0,
        flags: 0,
    };
    golden(Kind::Hello, &least, "01 1500 00000000 00000000 0000000000000000 00 00 00 00 00");
}

#[test]
fn golden_rumor() {
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer);
    assert!(writer.begin(Kind::Rumor) && writer.append_sized(&entry()) && writer.append_sized(&entry()));
    writer.end(0);
    let len = writer.len();
    // Length, id, age, incarnation, seq, NAT, flags, degree, port, two endpoints with origin, family, address, port.
    let one = "48 K1 c801 01 02 02 00 07 ec9403 02 00 00 c0a80102 ec9403 01 01 20010db8000000000000000000000005 bb03";
    let expected = std::format!("03 9200 {one} {one}").replace("K1", KEY_1).replace(' ', "");
    assert_eq!(hex(&buffer[..len]), expected);
    let mut body = &buffer[3..len];
    assert_eq!(take_sized::<Entry>(&mut body), Some(Ok(entry())));
    assert_eq!(take_sized::<Entry>(&mut body), Some(Ok(entry())));
    assert_eq!(take_sized::<Entry>(&mut body), None);
}

#[test]
fn golden_summary() {
    let head = SummaryHead { bucket: 63, complete: true };
    let listed = SummaryEntry {
        id: key(1).short().to_be_bytes(),
        order: Order { incarnation: 1, seq: 128 },
        check: [0xaa, 0xbb],
    };
    let mut buffer = [0; 64];
    let mut writer = Writer::new(&mut buffer);
    assert!(writer.begin(Kind::Summary) && writer.append(&head) && writer.append(&listed));
    writer.end(0);
    let len = writer.len();
    assert_eq!(hex(&buffer[..len]), "05 0f00 3f 01 0101010101010101 01 8001 aabb".replace(' ', ""));
    let mut body = &buffer[3..len];
    assert_eq!(take::<SummaryHead>(&mut body), Some(Ok(head)));
    assert_eq!(take::<SummaryEntry>(&mut body), Some(Ok(listed)));
    assert_eq!(take::<SummaryEntry>(&mut body), None);
}

/// Buckets and Pull are rows of fixed-size numbers, whose bytes the mesh writes and reads itself.
#[test]
fn golden_numbers() {
    let mut buffer = [0; 64];
    let mut writer = Writer::new(&mut buffer);
    assert!(writer.begin(Kind::Buckets) && writer.append(&0x0102_0304_0506_0708_u64.to_le_bytes()));
    writer.end(0);
    let start = writer.len();
    assert!(writer.begin(Kind::Pull) && writer.append(&key(2).short().to_be_bytes()));
    writer.end(start);
    assert!(writer.begin(Kind::Bye));
    writer.end(start + 11);
    let len = writer.len();
    assert_eq!(
        hex(&buffer[..len]),
        "04 0800 0807060504030201  06 0800 0202020202020202  0c 0000".replace(' ', "")
    );
}

#[test]
fn golden_introductions() {
    let request = IntroReq { target: key(1), round: 2, flags: IntroReq::NO_SESSION };
    golden(Kind::IntroReq, &request, "07 2200 K1 02 01");
    let intro = Intro {
        attempt: [9, 8, 7, 6],
        round: 1,
        role: Role::Open.to_wire(),
        wait_ms: 130,
        rtt_ms: 5,
        about: key(2),
        seen: Some(at("203.0.113.9:1024")),
        flags: Intro::STALE,
    };
    golden(Kind::Intro, &intro, "08 3200 09080706 01 01 8201 05 K2 01 00 cb007109 8008 01");
    let unseen = Intro { seen: None, role: Role::Listen.to_wire(), ..intro };
    golden(Kind::Intro, &unseen, "08 2b00 09080706 01 02 8201 05 K2 00 01");
    let nack = IntroNack { target: key(3), reason: IntroNack::BUSY, retry_ms: 250 };
    golden(Kind::IntroNack, &nack, "09 2300 K3 02 fa01");
}

#[test]
fn golden_opener() {
    let opener = Opener { attempt: [9, 8, 7, 6], from: [1, 2, 3, 4, 5, 6, 7, 8], echo: [5, 4, 3, 2] };
    golden(Kind::Opener, &opener, "0d 1000 09080706 0102030405060708 05040302");
}

#[test]
fn golden_observations() {
    golden(Kind::Observe, &Observe { token: [9, 8, 7, 6] }, "0e 0400 09080706");
    let observed = Observed { token: [9, 8, 7, 6], seen: at("203.0.113.9:1024") };
    golden(Kind::Observed, &observed, "0f 0b00 09080706 00 cb007109 8008");
}

/// Each family has half of the byte, so that a node with IPv4 alone writes what it always did.
#[test]
fn two_classes_share_a_byte() {
    for (v4, v6, byte) in [
        (NatClass::EndpointIndependent, NatClass::Unknown, 0x02),
        (NatClass::EndpointDependent, NatClass::Open, 0x13),
        (NatClass::Unknown, NatClass::Translated, 0x40),
    ] {
        let mut claim = Claim::new();
        claim.set_nats(v4, v6);
        assert_eq!((claim.nat_of(true), claim.nat_of(false)), (v4, v6));
        let mut bytes = [0; 64];
        assert_eq!(postcard::to_slice(&claim, &mut bytes).map(|b| b[2]), Ok(byte));
    }
}

#[test]
fn golden_lan() {
    let address = at("192.168.1.2:1").ip();
    let beacon = LanBeacon { from: key(1), address, port: 51820 };
    golden(Kind::LanBeacon, &beacon, "10 2800 K1 00 c0a80102 ec9403");
    let beacon = LanBeacon { address: at("[fe80::1]:1").ip(), ..beacon };
    golden(Kind::LanBeacon, &beacon, "10 3400 K1 01 fe800000000000000000000000000001 ec9403");
    let challenge = LanChallenge { token: [9, 8, 7, 6], from: [1, 2, 3, 4, 5, 6, 7, 8], address };
    golden(Kind::LanChallenge, &challenge, "11 1100 09080706 0102030405060708 00 c0a80102");
    golden(Kind::LanProof, &LanProof { token: [9, 8, 7, 6], address }, "12 0900 09080706 00 c0a80102");
}

#[test]
fn padding_fills_up_and_is_skipped() {
    for wanted in 20..44 {
        let mut buffer = [0xaa; 43];
        let mut writer = Writer::new(&mut buffer);
        assert!(writer.frame(Kind::Opener, &Opener { attempt: [1; 4], from: [2; 8], echo: [0; 4] }));
        let fits = (22..=43).contains(&wanted);
        assert_eq!((writer.pad_to(wanted), writer.len()), (fits, if fits { wanted } else { 19 }), "{wanted}");
        let len = writer.len();
        let mut reader = Reader::new(&buffer[..len]);
        assert!(matches!(reader.next(), Some(Ok((Some(Kind::Opener), _)))));
        if fits {
            assert!(
                matches!(reader.next(), Some(Ok((Some(Kind::Padding), body))) if body.iter().all(|b| *b == 0))
            );
        }
        assert_eq!(reader.next(), None);
    }
}

#[test]
fn golden_questions() {
    let ask = Ask { token: [1, 0, 0, 0], asker: key(1), to: key(2), about: key(3) };
    golden(Kind::Ask, &ask, "0a 6400 01000000 K1 K2 K3");
    let tell = Tell {
        token: [1, 0, 0, 0],
        asker: key(1),
        teller: key(2),
        about: key(3),
        state: crate::LinkState::Waiting as u8,
        reason: crate::Reason::NoMediator as u8 + 1,
        endpoint: Some(at("[2001:db8::1]:51820")),
        since_s: 3600,
    };
    golden(
        Kind::Tell,
        &tell,
        "0b 7d00 01000000 K1 K2 K3 00 03 01 01 20010db8000000000000000000000001 ec9403 901c",
    );
}

#[test]
fn golden_links() {
    let ask = AskLinks { token: [1, 0, 0, 0], asker: key(1), to: key(2), from: 64 };
    golden(Kind::AskLinks, &ask, "14 4500 01000000 K1 K2 40");
    let head = LinksHead { token: [1, 0, 0, 0], asker: key(1), teller: key(2), next: 128 };
    let on_lan = LinkEntry {
        id: key(1).short().to_be_bytes(),
        state: crate::LinkState::Connected as u8,
        how: crate::CandidateKind::Lan as u8,
        rtt: 300,
    };
    let waiting = LinkEntry {
        id: key(3).short().to_be_bytes(),
        state: crate::LinkState::Waiting as u8,
        how: crate::Reason::NoMediator as u8 + 1,
        rtt: 0,
    };
    let mut buffer = [0; 128];
    let mut writer = Writer::new(&mut buffer);
    assert!(writer.begin(Kind::TellLinks) && writer.append(&head));
    assert!(writer.append(&on_lan) && writer.append(&waiting));
    writer.end(0);
    let len = writer.len();
    let expected = std::format!(
        "15 5d00 01000000 {KEY_1} {} 8001  0101010101010101 02 09 ac02  0303030303030303 00 03 00",
        "02".repeat(32)
    );
    assert_eq!(hex(&buffer[..len]), expected.replace(' ', ""));
    let mut body = &buffer[3..len];
    assert_eq!(take::<LinksHead>(&mut body), Some(Ok(head)));
    assert_eq!(take::<LinkEntry>(&mut body), Some(Ok(on_lan)));
    assert_eq!(take::<LinkEntry>(&mut body), Some(Ok(waiting)));
    assert_eq!(take::<LinkEntry>(&mut body), None);
}

/// The longest answer fits with whatever else must be in the datagram.
#[test]
fn a_part_of_all_links_fits() {
    let mut buffer = [0; crate::limits::MAX_DATAGRAM - crate::seal::HEADER];
    let mut writer = Writer::new(&mut buffer);
    let head = LinksHead { token: [255; 4], asker: key(255), teller: key(255), next: u16::MAX };
    let entry = LinkEntry { id: [255; 8], state: 255, how: 255, rtt: u16::MAX };
    assert!(writer.begin(Kind::TellLinks) && writer.append(&head));
    assert!((0..crate::limits::MAX_LINKS_TOLD).all(|_| writer.append(&entry)));
}

#[test]
fn every_type_has_its_number_and_no_other_is_known() {
    let known = (0..=u8::MAX).filter_map(|byte| Kind::from_byte(byte).map(|kind| (byte, kind as u8)));
    assert!(known.eq((1..=21).map(|byte| (byte, byte))));
}

#[test]
fn roles_of_later_versions_are_unknown() {
    let intro = |role| Intro {
        attempt: [0; 4],
        round: 1,
        role,
        wait_ms: 0,
        rtt_ms: 0,
        about: key(1),
        seen: None,
        flags: 0,
    };
    for role in [Role::Initiate, Role::Open, Role::Listen] {
        assert_eq!(intro(role.to_wire()).role(), Some(role));
    }
    assert!((3..=u8::MAX).all(|role| intro(role).role().is_none()));
}

/// Nodes of different versions read each other's numbers.
#[test]
fn states_and_reasons_have_their_numbers_for_good() {
    use crate::{CandidateKind, LinkState, Reason};
    let states = [
        LinkState::Waiting,
        LinkState::Connecting,
        LinkState::Connected,
        LinkState::Probing,
        LinkState::Mute,
    ];
    for (number, state) in (0..).zip(states) {
        assert_eq!((state as u8, LinkState::from_wire(number)), (number, Some(state)));
    }
    assert!((5..=u8::MAX).all(|number| LinkState::from_wire(number).is_none()));
    let reasons = [
        Reason::NoInterface,
        Reason::NoEndpoint,
        Reason::NoMediator,
        Reason::Connecting,
        Reason::NoAnswer,
        Reason::NoGossip,
        Reason::Silent,
        Reason::Left,
        Reason::AddressTaken,
        Reason::NotIntroduced,
        Reason::Unroutable,
        Reason::ActionFailed,
        Reason::OriginalProtocol,
        Reason::EndpointDependentNat,
        Reason::PerhapsEndpointDependentNat,
        Reason::NoCommonFamily,
        Reason::Isolated,
        Reason::NoHairpin,
        Reason::OtherSecret,
    ];
    for (number, reason) in (0..).zip(reasons) {
        assert_eq!((reason as u8, Reason::from_wire(number)), (number, Some(reason)));
    }
    assert!((19..=u8::MAX).all(|number| Reason::from_wire(number).is_none()));
    let kinds = [
        CandidateKind::Configured,
        CandidateKind::Global,
        CandidateKind::Mapped,
        CandidateKind::Mediated,
        CandidateKind::Heard,
        CandidateKind::Published,
        CandidateKind::LastGood,
        CandidateKind::Private,
        CandidateKind::Roamed,
        CandidateKind::Lan,
    ];
    for (number, kind) in (0..).zip(kinds) {
        assert_eq!(kind as u8, number);
        #[cfg(feature = "map")]
        assert_eq!(CandidateKind::from_wire(number), Some(kind));
    }
    #[cfg(feature = "map")]
    assert!((10..=u8::MAX).all(|number| CandidateKind::from_wire(number).is_none()));
    let classes = [
        NatClass::Unknown,
        NatClass::Open,
        NatClass::EndpointIndependent,
        NatClass::EndpointDependent,
        NatClass::Translated,
    ];
    for (number, class) in (0..).zip(classes) {
        assert_eq!((class.to_wire(), NatClass::from_wire(number)), (number, class));
    }
    assert!((5..=u8::MAX).all(|number| NatClass::from_wire(number) == NatClass::Unknown));
}

#[test]
fn an_unknown_frame_is_skipped() {
    let frames = bytes("c8 0300 aabbcc 0c 0000");
    let mut reader = Reader::new(&frames);
    assert_eq!(reader.next(), Some(Ok((None, &[0xaa, 0xbb, 0xcc][..]))));
    assert_eq!(reader.next(), Some(Ok((Some(Kind::Bye), &[][..]))));
    assert_eq!(reader.next(), None);
}

#[test]
fn fields_of_later_versions_are_skipped() {
    let mut buffer = [0; 128];
    let mut writer = Writer::new(&mut buffer);
    assert!(writer.append(&hello()) && writer.append(&[1u8, 2, 3]));
    let len = writer.len();
    assert_eq!(decode::<Hello>(&buffer[..len]), Ok(hello()));

    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer);
    assert!(writer.append_sized(&(entry(), [1u8, 2, 3])) && writer.append_sized(&entry()));
    let len = writer.len();
    let mut body = &buffer[..len];
    assert_eq!(take_sized::<Entry>(&mut body), Some(Ok(entry())));
    assert_eq!(take_sized::<Entry>(&mut body), Some(Ok(entry())), "the next one is found all the same");
    assert_eq!(take_sized::<Entry>(&mut body), None);
}

#[test]
fn what_is_cut_short_is_malformed_and_ends_the_reading() {
    let whole = bytes("0c 0000 c8 0200 aabb");
    for cut in [1, 2, 4, 5, 6, 7] {
        let mut reader = Reader::new(&whole[..cut]);
        let first = reader.next();
        assert_eq!(first.is_some_and(|frame| frame.is_err()), cut < 3, "{cut}");
        if cut > 3 {
            assert_eq!(reader.next(), Some(Err(Malformed)), "{cut}");
        }
        assert_eq!(reader.next(), None, "{cut}");
    }
    // A part that ends too soon, and one whose own length goes beyond the body.
    let mut body: &[u8] = &[3, 1, 2];
    assert_eq!(take_sized::<Entry>(&mut body), Some(Err(Malformed)));
    assert_eq!(take_sized::<Entry>(&mut body), None);
    let mut body: &[u8] = &[7];
    assert_eq!(take::<SummaryHead>(&mut body), Some(Err(Malformed)));
    assert_eq!(take::<SummaryHead>(&mut body), None);
}

#[test]
fn what_does_not_fit_leaves_nothing_behind() {
    let mut buffer = [0; 40];
    let mut writer = Writer::new(&mut buffer);
    assert!(writer.frame(Kind::Hello, &hello()));
    let before = writer.len();
    assert!(!writer.frame(Kind::Hello, &hello()));
    assert!(!writer.append_sized(&entry()));
    assert_eq!(writer.len(), before);
    let mut none = Writer::new(&mut []);
    assert!(!none.begin(Kind::Bye) && none.is_empty());
}

#[test]
fn a_record_is_never_too_long_for_its_length_byte() {
    let mut claim = Claim::new();
    claim.order = Order { incarnation: u32::MAX, seq: u32::MAX };
    claim.degree = u8::MAX;
    claim.port = u16::MAX;
    while claim
        .endpoints
        .push(RecordEndpoint::new(Origin::Local, at("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")))
        .is_ok()
    {}
    let mut buffer = [0; 300];
    let mut writer = Writer::new(&mut buffer);
    assert!(writer.append_sized(&Entry { id: key(255), age: u16::MAX, claim: claim.clone() }));
    let longest = writer.len();
    assert!(longest < 220, "{longest}");
    // What is hashed is the record without id and age, in a buffer of 256 with the id before it.
    assert!(postcard::to_slice(&claim, &mut [0; 256 - 32]).is_ok());
}

fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(message: &T) -> Result<(), TestCaseError> {
    let mut buffer = [0; 512];
    let mut writer = Writer::new(&mut buffer);
    prop_assert!(writer.frame(Kind::Bye, message));
    let len = writer.len();
    let decoded = decode::<T>(&buffer[3..len]);
    prop_assert_eq!(decoded.as_ref(), Ok(message));
    // Cut anywhere it does not decode, and does no harm.
    for cut in 3..len {
        prop_assert_eq!(decode::<T>(&buffer[3..cut]), Err(Malformed));
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn decode_undoes_encode(
        token: [u8; 4], echo: [u8; 4], digest: [u8; 8], age: u16, numbers: [u8; 3], shorts: [u16; 2], since_s: u32,
        id: [u8; 8], check: [u8; 2], complete: bool, order in any_order(), claim in any_claim(),
        seen in option::of(any_endpoint()), address: IpAddr, keys in [any_key(), any_key(), any_key()],
    ) {
        let [a, b, c] = keys;
        let [x, y, z] = numbers;
        let [wait_ms, rtt_ms] = shorts;
        same(&Hello { token, echo, digest, holds: order, seen, hint: x, flags: y })?;
        same(&Entry { id: a, age, claim })?;
        same(&SummaryHead { bucket: x, complete })?;
        same(&SummaryEntry { id, order, check })?;
        same(&IntroReq { target: a, round: x, flags: y })?;
        same(&Intro { attempt: token, round: x, role: y, wait_ms, rtt_ms, about: b, seen, flags: z })?;
        same(&IntroNack { target: c, reason: z, retry_ms: wait_ms })?;
        same(&Opener { attempt: token, from: id, echo: token })?;
        same(&LanBeacon { from: c, address, port: rtt_ms })?;
        same(&LanChallenge { token, from: id, address })?;
        same(&LanProof { token: echo, address })?;
        same(&Ask { token, asker: a, to: b, about: c })?;
        same(&Tell { token, asker: a, teller: b, about: c, state: x, reason: y, endpoint: seen, since_s })?;
        same(&AskLinks { token, asker: a, to: b, from: age })?;
        same(&LinksHead { token, asker: b, teller: c, next: wait_ms })?;
        same(&LinkEntry { id, state: x, how: y, rtt: rtt_ms })?;
    }

    #[test]
    fn frames_come_out_as_they_went_in(
        frames in collection::vec((any::<u8>(), collection::vec(any::<u8>(), 0..40)), 0..20),
    ) {
        let mut all = Vec::new();
        for (kind, body) in &frames {
            all.push(*kind);
            all.extend((body.len() as u16).to_le_bytes());
            all.extend(body);
        }
        let mut reader = Reader::new(&all);
        for (kind, body) in &frames {
            prop_assert_eq!(reader.next(), Some(Ok((Kind::from_byte(*kind), &body[..]))));
        }
        prop_assert_eq!(reader.next(), None);
    }

    #[test]
    fn any_bytes_are_read_to_their_end(input in collection::vec(any::<u8>(), 0..1200)) {
        let mut reader = Reader::new(&input);
        let mut rest = input.len() + 1;
        while let Some(frame) = reader.next() {
            prop_assert!(rest > 0);
            rest -= 1;
            let Ok((_, mut body)) = frame else { continue };
            let _ = (decode::<Hello>(body), decode::<Intro>(body), decode::<Ask>(body), decode::<Tell>(body));
            let _ = (decode::<AskLinks>(body), decode::<LinksHead>(body), decode::<LinkEntry>(body));
            let mut parts = body.len();
            while take_sized::<Entry>(&mut body).is_some() {
                prop_assert!(parts > 0);
                parts -= 1;
            }
        }
    }
}
