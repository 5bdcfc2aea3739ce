//! NAT-PMP, RFC 6886: what is the external address, and one UDP mapping.

use core::net::Ipv4Addr;

const ADDRESS: u8 = 0;
const MAP_UDP: u8 = 1;
const RESPONSE: u8 = 0x80;

/// The result of a server that has no external address.
pub(super) const NO_ADDRESS: u16 = 3;

/// Asks for the external address.
pub(super) const ADDRESS_REQUEST: [u8; 2] = [0, ADDRESS];

/// Asks for a mapping, for its renewal (the same again), or with lifetime 0 and external port 0 for its end.
pub(super) fn map_request(internal_port: u16, external_port: u16, lifetime: u32) -> [u8; 12] {
    let mut message = [0; 12];
    message[1] = MAP_UDP;
    message[4..6].copy_from_slice(&internal_port.to_be_bytes());
    message[6..8].copy_from_slice(&external_port.to_be_bytes());
    message[8..12].copy_from_slice(&lifetime.to_be_bytes());
    message
}

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Its external address. Comes unasked when that has changed.
    Address { ip: Ipv4Addr, epoch: u32 },
    /// A mapping, for so many seconds.
    Mapped { internal_port: u16, external_port: u16, lifetime: u32, epoch: u32 },
    /// It refuses, for a reason of section 3.5.
    Refused(u16),
}

/// Reads what came from the server; `None` if it is not NAT-PMP.
pub(super) fn answer(message: &[u8]) -> Option<Answer> {
    let head: &[u8; 4] = message.first_chunk()?;
    let operation = head[1] ^ RESPONSE;
    if head[0] != 0 || operation > MAP_UDP {
        return None;
    }
    let result = u16::from_be_bytes([head[2], head[3]]);
    if result != 0 {
        // A server that does not know the version leaves out the rest.
        return (message.len() <= 16).then_some(Answer::Refused(result));
    }
    let epoch = u32::from_be_bytes(*message.get(4..)?.first_chunk()?);
    if operation == ADDRESS {
        let rest: [u8; 4] = message.get(8..)?.try_into().ok()?;
        return Some(Answer::Address { ip: rest.into(), epoch });
    }
    let rest: [u8; 8] = message.get(8..)?.try_into().ok()?;
    Some(Answer::Mapped {
        internal_port: u16::from_be_bytes([rest[0], rest[1]]),
        external_port: u16::from_be_bytes([rest[2], rest[3]]),
        lifetime: u32::from_be_bytes([rest[4], rest[5], rest[6], rest[7]]),
        epoch,
    })
}

/// What a refusal means (section 3.5).
pub(super) const fn refusal(code: u16) -> &'static str {
    match code {
        1 => "unsupported version",
        2 => "not authorized",
        3 => "network failure: it has no address of its own",
        4 => "no resources",
        5 => "unsupported opcode",
        _ => "an unknown error",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The layouts of sections 3.2 and 3.3, filled in by hand.
    const ADDRESS_ANSWER: [u8; 12] = [0, 128, 0, 0, 0, 0, 1, 0, 203, 0, 113, 7];
    const MAP_ANSWER: [u8; 16] = [0, 129, 0, 0, 0, 0, 1, 0, 0xca, 0x6c, 0x83, 0xbb, 0, 0, 0x0e, 0x10];

    #[test]
    fn messages_are_as_the_rfc_draws_them() {
        assert_eq!(ADDRESS_REQUEST, [0, 0]);
        assert_eq!(map_request(51820, 33723, 3600), [0, 1, 0, 0, 0xca, 0x6c, 0x83, 0xbb, 0, 0, 0x0e, 0x10]);
        let ip = Ipv4Addr::new(203, 0, 113, 7);
        assert_eq!(answer(&ADDRESS_ANSWER), Some(Answer::Address { ip, epoch: 256 }));
        let mapped =
            Answer::Mapped { internal_port: 51820, external_port: 33723, lifetime: 3600, epoch: 256 };
        assert_eq!(answer(&MAP_ANSWER), Some(mapped));
    }

    #[test]
    fn refusals_are_told_apart() {
        for code in 1..=6 {
            let mut message = MAP_ANSWER;
            message[3] = code;
            assert_eq!(answer(&message), Some(Answer::Refused(code.into())));
            assert_eq!(answer(&message[..8]), Some(Answer::Refused(code.into())));
            assert!(!refusal(code.into()).is_empty());
        }
    }

    #[test]
    fn what_has_another_length_or_kind_is_none() {
        for message in [&ADDRESS_ANSWER[..], &MAP_ANSWER[..]] {
            for length in 0..message.len() {
                assert_eq!(answer(&message[..length]), None);
            }
            assert_eq!(answer(&[message, &[0]].concat()), None);
            for (at, value) in [(0, 2), (1, 0), (1, 1), (1, 130), (1, 255)] {
                let mut message = message.to_vec();
                message[at] = value;
                assert_eq!(answer(&message), None, "byte {at} is {value}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(message in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = answer(&message);
        }
    }
}
