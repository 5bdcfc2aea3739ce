//! "Host unreachable" for a packet that the device cannot send, as the kernel answers its own senders.

use core::net::IpAddr;

/// The answer to an IP packet, to be written back to the interface; `None` for what must not be answered (an ICMP
/// error, or no IP packet).
pub(super) fn host_unreachable(packet: &[u8]) -> Option<Vec<u8>> {
    match packet.first()? >> 4 {
        4 => v4(packet),
        6 => v6(packet),
        _ => None,
    }
}

fn v4(packet: &[u8]) -> Option<Vec<u8>> {
    let header = usize::from(packet[0] & 15) * 4;
    let is_error = *packet.get(9)? == 1 && !matches!(packet.get(header)?, 0 | 8);
    if is_error {
        return None;
    }
    // RFC 792: the header and 64 bits of what follows.
    let quoted = packet.get(..packet.len().min(header + 8))?;
    let mut answer = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0];
    answer.extend_from_slice(packet.get(16..20)?);
    answer.extend_from_slice(packet.get(12..16)?);
    answer.extend_from_slice(&[3, 1, 0, 0, 0, 0, 0, 0]);
    answer.extend_from_slice(quoted);
    let length = u16::try_from(answer.len()).ok()?;
    answer[2..4].copy_from_slice(&length.to_be_bytes());
    let sum = checksum(&[&answer[..20]]);
    answer[10..12].copy_from_slice(&sum);
    let sum = checksum(&[&answer[20..]]);
    answer[22..24].copy_from_slice(&sum);
    Some(answer)
}

fn v6(packet: &[u8]) -> Option<Vec<u8>> {
    // Errors have types below 128. Link-local chatter of the interface itself (router solicitations) goes nowhere.
    let is_error = *packet.get(6)? == 58 && *packet.get(40)? < 128;
    let to: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
    if is_error || IpAddr::from(to).is_multicast() {
        return None;
    }
    // RFC 4443: as much as fits into 1280 bytes.
    let quoted = &packet[..packet.len().min(1280 - 48)];
    let mut message = vec![1, 3, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(quoted);
    let length = u16::try_from(message.len()).ok()?.to_be_bytes();
    let from = packet.get(8..24)?;
    let sum = checksum(&[&to, from, &[0, 0], &length, &[0, 0, 0, 58], &message]);
    message[2..4].copy_from_slice(&sum);
    let mut answer = vec![0x60, 0, 0, 0, length[0], length[1], 58, 64];
    answer.extend_from_slice(&to);
    answer.extend_from_slice(from);
    answer.extend_from_slice(&message);
    Some(answer)
}

/// The Internet checksum over parts, each of even length except the last.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let mut sum: u32 = 0;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    let [_, _, high, low] = (!sum).to_be_bytes();
    [high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_answer_is_whole_and_no_error_is_answered() {
        let mut packet = vec![0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 10, 14, 0, 1, 10, 14, 0, 2];
        packet.extend_from_slice(&[6; 12]);
        let answer = host_unreachable(&packet).unwrap();
        assert_eq!(&answer[12..20], &[10, 14, 0, 2, 10, 14, 0, 1]);
        assert_eq!(&answer[20..22], &[3, 1]);
        assert_eq!(&answer[28..], &packet[..28]);
        assert_eq!(checksum(&[&answer[..20]]), [0, 0], "a right checksum sums up to nothing");
        assert_eq!(checksum(&[&answer[20..]]), [0, 0]);
        assert_eq!(host_unreachable(&answer), None);
    }

    #[test]
    fn an_ipv6_answer_is_whole_and_multicast_is_left_alone() {
        let mut packet = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
        packet.extend_from_slice(&[0xfd; 16]);
        packet.extend_from_slice(&[0xfc; 16]);
        packet.extend_from_slice(&[7; 8]);
        let answer = host_unreachable(&packet).unwrap();
        assert_eq!((&answer[8..24], &answer[24..40]), (&packet[24..40], &packet[8..24]));
        let sum = checksum(&[&answer[8..40], &[0, 0], &answer[4..6], &[0, 0, 0, 58], &answer[40..]]);
        assert_eq!(sum, [0, 0]);
        assert_eq!(host_unreachable(&answer), None);
        packet[24] = 0xff;
        assert_eq!(host_unreachable(&packet), None);
        assert_eq!(host_unreachable(&[]), None);
    }
}
