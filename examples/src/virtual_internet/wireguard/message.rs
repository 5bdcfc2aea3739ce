//! The model's messages: real types and sizes, contents in clear.

use super::Key;

/// Length of a handshake initiation.
pub(super) const INITIATION: usize = 148;
/// Length of a handshake response.
pub(super) const RESPONSE: usize = 92;
/// What a data message adds to its padded payload: header and tag.
pub(super) const DATA_OVERHEAD: usize = 32;

const DATA_HEADER: usize = 16;

/// What a datagram claims to be, by its first four bytes and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Handshake initiation.
    Initiation,
    /// Handshake response.
    Response,
    /// A data message with nothing in it.
    Keepalive,
    /// A data message.
    Data,
    /// Anything else, which WireGuard drops in silence.
    Other,
}

/// Tells what a datagram is; right for real WireGuard datagrams too.
#[must_use]
pub fn kind(datagram: &[u8]) -> Kind {
    match (datagram.first_chunk(), datagram.len()) {
        (Some([1, 0, 0, 0]), INITIATION) => Kind::Initiation,
        (Some([2, 0, 0, 0]), RESPONSE) => Kind::Response,
        (Some([4, 0, 0, 0]), DATA_OVERHEAD) => Kind::Keepalive,
        (Some([4, 0, 0, 0]), length) if length > DATA_OVERHEAD => Kind::Data,
        _ => Kind::Other,
    }
}

/// Of a model's handshake initiation: who sent it, to whom, and a number that no other has. A real one keeps the first two
/// to itself. `None` for any other datagram.
#[must_use]
pub fn initiation(datagram: &[u8]) -> Option<(Key, Key, u64)> {
    match decode(datagram)? {
        Message::Initiation(it) => Some((it.initiator, it.responder, it.ephemeral)),
        _ => None,
    }
}

/// A TAI64N timestamp; later ones compare greater.
pub(super) type Timestamp = [u8; 12];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Initiation {
    pub(super) sender: u32,
    /// Whom it is for; the real one proves it by mac1.
    pub(super) responder: Key,
    pub(super) initiator: Key,
    pub(super) ephemeral: u64,
    pub(super) timestamp: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) sender: u32,
    pub(super) receiver: u32,
    /// The initiation's, to which it answers.
    pub(super) initiator_ephemeral: u64,
    pub(super) ephemeral: u64,
    /// The digest of the responder's preshared key.
    pub(super) preshared: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Data<'a> {
    pub(super) receiver: u32,
    pub(super) counter: u64,
    /// What the real one proves by its tag: the session's key.
    pub(super) session: u64,
    /// With padding.
    pub(super) payload: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    Initiation(Initiation),
    Response(Response),
    Data(Data<'a>),
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// `None` for what a real WireGuard would drop unread.
pub(super) fn decode(datagram: &[u8]) -> Option<Message<'_>> {
    match kind(datagram) {
        Kind::Initiation => Some(Message::Initiation(Initiation {
            sender: u32_at(datagram, 4)?,
            responder: datagram.get(8..40)?.try_into().ok()?,
            initiator: datagram.get(40..72)?.try_into().ok()?,
            ephemeral: u64_at(datagram, 72)?,
            timestamp: datagram.get(80..92)?.try_into().ok()?,
        })),
        Kind::Response => Some(Message::Response(Response {
            sender: u32_at(datagram, 4)?,
            receiver: u32_at(datagram, 8)?,
            initiator_ephemeral: u64_at(datagram, 12)?,
            ephemeral: u64_at(datagram, 20)?,
            preshared: u64_at(datagram, 28)?,
        })),
        Kind::Keepalive | Kind::Data => {
            let tag = datagram.len().checked_sub(16)?;
            Some(Message::Data(Data {
                receiver: u32_at(datagram, 4)?,
                counter: u64_at(datagram, 8)?,
                session: u64_at(datagram, tag)?,
                payload: datagram.get(DATA_HEADER..tag)?,
            }))
        }
        Kind::Other => None,
    }
}

impl Initiation {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(INITIATION);
        out.extend_from_slice(&[1, 0, 0, 0]);
        out.extend_from_slice(&self.sender.to_le_bytes());
        out.extend_from_slice(&self.responder);
        out.extend_from_slice(&self.initiator);
        out.extend_from_slice(&self.ephemeral.to_le_bytes());
        out.extend_from_slice(&self.timestamp);
        out.resize(INITIATION, 0);
        out
    }
}

impl Response {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(RESPONSE);
        out.extend_from_slice(&[2, 0, 0, 0]);
        out.extend_from_slice(&self.sender.to_le_bytes());
        out.extend_from_slice(&self.receiver.to_le_bytes());
        out.extend_from_slice(&self.initiator_ephemeral.to_le_bytes());
        out.extend_from_slice(&self.ephemeral.to_le_bytes());
        out.extend_from_slice(&self.preshared.to_le_bytes());
        out.resize(RESPONSE, 0);
        out
    }
}

impl Data<'_> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let padded = self.payload.len().next_multiple_of(16);
        let mut out = Vec::with_capacity(padded + DATA_OVERHEAD);
        out.extend_from_slice(&[4, 0, 0, 0]);
        out.extend_from_slice(&self.receiver.to_le_bytes());
        out.extend_from_slice(&self.counter.to_le_bytes());
        out.extend_from_slice(self.payload);
        out.resize(DATA_HEADER + padded, 0);
        out.extend_from_slice(&self.session.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decode_undoes_encode(
            sender: u32, receiver: u32, responder: Key, initiator: Key, ephemeral: u64, other: u64,
            timestamp: Timestamp, preshared: u64, payload in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let initiation = Initiation { sender, responder, initiator, ephemeral, timestamp };
            let bytes = initiation.encode();
            prop_assert_eq!((bytes.len(), kind(&bytes)), (148, Kind::Initiation));
            prop_assert_eq!(decode(&bytes), Some(Message::Initiation(initiation)));

            let response = Response { sender, receiver, initiator_ephemeral: ephemeral, ephemeral: other, preshared };
            let bytes = response.encode();
            prop_assert_eq!((bytes.len(), kind(&bytes)), (92, Kind::Response));
            prop_assert_eq!(decode(&bytes), Some(Message::Response(response)));

            let bytes = Data { receiver, counter: ephemeral, session: other, payload: &payload }.encode();
            prop_assert_eq!(bytes.len(), 32 + payload.len().next_multiple_of(16));
            let Some(Message::Data(data)) = decode(&bytes) else { panic!("not data") };
            prop_assert_eq!((data.receiver, data.counter, data.session), (receiver, ephemeral, other));
            prop_assert!(data.payload.starts_with(&payload));
            prop_assert!(data.payload[payload.len()..].iter().all(|b| *b == 0));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), first in 0u8..6) {
            let mut bytes = bytes;
            if bytes.len() >= 4 {
                bytes[..4].copy_from_slice(&[first, 0, 0, 0]);
            }
            prop_assert_eq!(decode(&bytes).is_none(), kind(&bytes) == Kind::Other);
        }
    }
}
