//! The messages, as they lie sealed inside the envelope ([`crate::seal`]).
//!
//! A datagram holds frames, `type 1 B | length 2 B little endian | body`. A frame of an unknown type is skipped. The
//! body is postcard; bytes after the last field we know are skipped too, so that a later version may append fields.
//! Values whose every bit matters (tokens, digests) are fixed-size, the rest are varints.
//!
//! | type | message | body |
//! |---|---|---|
//! | 1, 2 | Hello, HelloAck | [`Hello`] |
//! | 3 | Rumor | any number of: length 1 B, [`Entry`] |
//! | 4 | Buckets | [`BUCKETS`] digests of 8 B, little endian |
//! | 5 | Summary | any number of [`SummaryEntry`] after [`SummaryHead`] |
//! | 6 | Pull | any number of short ids: the first 8 B of a key |
//! | 7 | IntroReq | [`IntroReq`] |
//! | 8 | Intro | [`Intro`] |
//! | 9 | IntroNack | [`IntroNack`] |
//! | 10 | Ask | [`Ask`] |
//! | 11 | Tell | [`Tell`] |
//! | 12 | Bye | empty |
//! | 13 | Opener | [`Opener`], never in the tunnel |
//! | 14 | Observe | [`Observe`] |
//! | 15 | Observed | [`Observed`] |
//! | 16 | LanBeacon | [`LanBeacon`], on a LAN only |
//! | 17 | LanChallenge | [`LanChallenge`], on a LAN only |
//! | 18 | LanProof | [`LanProof`], in the tunnel only |
//! | 19 | Padding | anything |
//! | 20 | AskLinks | [`AskLinks`] |
//! | 21 | TellLinks | any number of [`LinkEntry`] after [`LinksHead`] |

use core::net::IpAddr;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

#[cfg(doc)]
use crate::limits::BUCKETS;
use crate::{Endpoint, PublicKey, record::Claim, record::Order};

/// The type of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Hello = 1,
    HelloAck = 2,
    Rumor = 3,
    Buckets = 4,
    Summary = 5,
    Pull = 6,
    IntroReq = 7,
    Intro = 8,
    IntroNack = 9,
    Ask = 10,
    Tell = 11,
    Bye = 12,
    Opener = 13,
    Observe = 14,
    Observed = 15,
    LanBeacon = 16,
    LanChallenge = 17,
    LanProof = 18,
    Padding = 19,
    AskLinks = 20,
    TellLinks = 21,
}

impl Kind {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Hello,
            2 => Self::HelloAck,
            3 => Self::Rumor,
            4 => Self::Buckets,
            5 => Self::Summary,
            6 => Self::Pull,
            7 => Self::IntroReq,
            8 => Self::Intro,
            9 => Self::IntroNack,
            10 => Self::Ask,
            11 => Self::Tell,
            12 => Self::Bye,
            13 => Self::Opener,
            14 => Self::Observe,
            15 => Self::Observed,
            16 => Self::LanBeacon,
            17 => Self::LanChallenge,
            18 => Self::LanProof,
            19 => Self::Padding,
            20 => Self::AskLinks,
            21 => Self::TellLinks,
            _ => return None,
        })
    }
}

/// "Are you there, this is how I see you, this is what I know." As HelloAck it answers one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// To be echoed; zero asks for no answer.
    pub(crate) token: [u8; 4],
    /// The token of the Hello that this answers; zero in a Hello.
    pub(crate) echo: [u8; 4],
    /// Digest of all records the sender holds.
    pub(crate) digest: [u8; 8],
    /// Which record of the receiver the sender holds; zero for none.
    pub(crate) holds: Order,
    /// Where the sender's WireGuard sees the receiver.
    pub(crate) seen: Option<Endpoint>,
    /// Hint of the newest secret the sender has.
    pub(crate) hint: u8,
    /// See [`Hello::LEAF`].
    pub(crate) flags: u8,
}

impl Hello {
    /// The sender has so few live peers that it depends on the receiver for news.
    pub(crate) const LEAF: u8 = 1;
}

/// One record on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Whose record it is.
    pub(crate) id: PublicKey,
    /// Seconds since anybody heard it from its subject, as far as the sender knows; 0 first-hand.
    pub(crate) age: u16,
    /// The record itself.
    pub(crate) claim: Claim,
}

/// Which part of the set a Summary lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SummaryHead {
    /// The part, 0 to `BUCKETS - 1`.
    pub(crate) bucket: u8,
    /// Whether all records of the part are listed; else it is a stretch of them, and a missing one means nothing.
    pub(crate) complete: bool,
}

/// A record in a Summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SummaryEntry {
    /// The first eight bytes of the key.
    pub(crate) id: [u8; 8],
    /// Which record of it the sender holds.
    pub(crate) order: Order,
    /// The low 16 bits of the record's hash, to tell two of the same order apart.
    pub(crate) check: [u8; 2],
}

/// "Introduce me to that node."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IntroReq {
    /// The node to be introduced to.
    pub(crate) target: PublicKey,
    /// 1 for the first try; from 2 on roles may be swapped.
    pub(crate) round: u8,
    /// [`IntroReq::NO_SESSION`], [`IntroReq::REFUSED`].
    pub(crate) flags: u8,
}

impl IntroReq {
    /// The sender's WireGuard has no session with the target: waiting for one to be found dead is useless.
    pub(crate) const NO_SESSION: u8 = 1;
    /// Nobody takes the sender's initiations, it seems: the target is to initiate.
    pub(crate) const REFUSED: u8 = 2;
}

/// What a node does in an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Wait as told, then make WireGuard initiate.
    Initiate,
    /// Send at once to open one's own NAT, and let the other initiate.
    Open,
    /// Nothing needs opening: keep still and let the other initiate.
    Listen,
}

/// "You two, meet." Sent to both at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intro {
    /// The attempt, the same on both sides.
    pub(crate) attempt: [u8; 4],
    /// The round, from the request.
    pub(crate) round: u8,
    /// The receiver's [`Role`]: 0 initiate, 1 open, 2 listen.
    pub(crate) role: u8,
    /// How long the initiator waits, in milliseconds.
    pub(crate) wait_ms: u16,
    /// A guess at the round trip between the two, in milliseconds: by way of the mediator.
    pub(crate) rtt_ms: u16,
    /// The other node.
    pub(crate) about: PublicKey,
    /// Where the mediator's WireGuard sees the other node, if that is a public address.
    pub(crate) seen: Option<Endpoint>,
    /// See [`Intro::STALE`].
    pub(crate) flags: u8,
}

impl Intro {
    /// The other node has no session with the receiver: one that the receiver's WireGuard shows is stale.
    pub(crate) const STALE: u8 = 1;

    pub(crate) const fn role(&self) -> Option<Role> {
        Some(match self.role {
            0 => Role::Initiate,
            1 => Role::Open,
            2 => Role::Listen,
            _ => return None,
        })
    }
}

impl Role {
    pub(crate) const fn to_wire(self) -> u8 {
        match self {
            Self::Initiate => 0,
            Self::Open => 1,
            Self::Listen => 2,
        }
    }
}

/// "I cannot introduce you."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IntroNack {
    /// The node asked for.
    pub(crate) target: PublicKey,
    /// 0: not configured here; 1: not live here; 2: busy, ask again.
    pub(crate) reason: u8,
    /// With "busy": ask again after this many milliseconds.
    pub(crate) retry_ms: u16,
}

impl IntroNack {
    pub(crate) const UNKNOWN: u8 = 0;
    pub(crate) const NOT_LIVE: u8 = 1;
    pub(crate) const BUSY: u8 = 2;
}

/// "How do you stand with that node?" A mediator passes it on to whom it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// Comes back in the answer.
    pub(crate) token: [u8; 4],
    /// Who wants to know.
    pub(crate) asker: PublicKey,
    /// Who is asked.
    pub(crate) to: PublicKey,
    /// About whom.
    pub(crate) about: PublicKey,
}

/// The answer to an [`Ask`]. A mediator passes it on to whom it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tell {
    /// From the question.
    pub(crate) token: [u8; 4],
    /// Who asked.
    pub(crate) asker: PublicKey,
    /// Who answers.
    pub(crate) teller: PublicKey,
    /// About whom.
    pub(crate) about: PublicKey,
    /// A [`crate::LinkState`] as its number, or 255 where the teller has no such peer.
    pub(crate) state: u8,
    /// A [`crate::Reason`] as its number plus one, or 0 for none.
    pub(crate) reason: u8,
    /// Where the teller sees that node.
    pub(crate) endpoint: Option<Endpoint>,
    /// How long it has been so, in seconds.
    pub(crate) since_s: u32,
}

/// "How do you stand with everybody?" A mediator passes it on to whom it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AskLinks {
    /// Comes back in the answer.
    pub(crate) token: [u8; 4],
    /// Who wants to know.
    pub(crate) asker: PublicKey,
    /// Who is asked.
    pub(crate) to: PublicKey,
    /// Where to begin: 0, or what the part before said.
    pub(crate) from: u16,
}

/// The begin of an answer to an [`AskLinks`], which is one datagram. A mediator passes it on to whom it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LinksHead {
    /// From the question.
    pub(crate) token: [u8; 4],
    /// Who asked.
    pub(crate) asker: PublicKey,
    /// Who answers.
    pub(crate) teller: PublicKey,
    /// Where the next part begins; 0 after the last one.
    pub(crate) next: u16,
}

/// How the teller stands with one of its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LinkEntry {
    /// The first eight bytes of the peer's key.
    pub(crate) id: [u8; 8],
    /// A [`crate::LinkState`] as its number.
    pub(crate) state: u8,
    /// While connected a [`crate::CandidateKind`] as its number; else a [`crate::Reason`] as its number plus one, or 0 for none.
    pub(crate) how: u8,
    /// The round trip in tenths of a millisecond, or 0 where it is not known.
    pub(crate) rtt: u16,
}

/// "Here I am, on this path." From WireGuard's port to WireGuard's port, outside of any tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Opener {
    /// The attempt, as the introduction named it; or a number of the sender's own.
    pub(crate) attempt: [u8; 4],
    /// The first eight bytes of the sender's key.
    pub(crate) from: [u8; 8],
    /// The number in the one that this one answers, or 0.
    pub(crate) echo: [u8; 4],
}

/// "Tell me where my next opener comes from."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Observe {
    /// What the opener will name as its attempt; not zero.
    pub(crate) token: [u8; 4],
}

/// "Your opener came from there." The answer to an [`Observe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Observed {
    /// From the question.
    pub(crate) token: [u8; 4],
    /// Where the opener came from.
    pub(crate) seen: Endpoint,
}

/// "Here I am." To everybody on a LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LanBeacon {
    /// The sender.
    pub(crate) from: PublicKey,
    /// The address it is sent from: from any other it is a copy, and of no use.
    pub(crate) address: IpAddr,
    /// The port of the sender's WireGuard.
    pub(crate) port: u16,
}

/// "If you are there, say so through the tunnel." To the place that a beacon came from, for a pair that has a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LanChallenge {
    /// Comes back in the proof.
    pub(crate) token: [u8; 4],
    /// The first eight bytes of the sender's key.
    pub(crate) from: [u8; 8],
    /// The address that it is sent to: at any other it is a copy, and gets no answer.
    pub(crate) address: IpAddr,
}

/// "I got it there." Through the tunnel, so that WireGuard proves who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LanProof {
    /// From the challenge.
    pub(crate) token: [u8; 4],
    /// The sender's address at which it was received.
    pub(crate) address: IpAddr,
}

/// A frame does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Writes frames into a buffer.
pub(crate) struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// Bytes written.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes a whole frame. `false`, and nothing written, where it does not fit.
    #[must_use]
    pub(crate) fn frame<T: Serialize>(&mut self, kind: Kind, body: &T) -> bool {
        let start = self.len;
        if self.begin(kind) && self.append(body) {
            self.end(start);
            return true;
        }
        self.len = start;
        false
    }

    /// Begins a frame of several parts; [`Self::end`] with the former length closes it.
    #[must_use]
    pub(crate) fn begin(&mut self, kind: Kind) -> bool {
        let Some(head) = self.buffer.get_mut(self.len..self.len + 3) else { return false };
        head.copy_from_slice(&[kind as u8, 0, 0]);
        self.len += 3;
        true
    }

    /// Appends one part of a frame. `false`, and nothing written, where it does not fit.
    #[must_use]
    pub(crate) fn append<T: Serialize>(&mut self, part: &T) -> bool {
        let Some(free) = self.buffer.get_mut(self.len..) else { return false };
        let Ok(written) = postcard::to_slice(part, free) else { return false };
        self.len += written.len();
        true
    }

    /// Appends one part of a frame, with its length in a byte before it.
    #[must_use]
    pub(crate) fn append_sized<T: Serialize>(&mut self, part: &T) -> bool {
        let start = self.len;
        if self.append(&0u8) && self.append(part) {
            let len = self.len - start - 1;
            if let (Ok(len), Some(place)) = (u8::try_from(len), self.buffer.get_mut(start)) {
                *place = len;
                return true;
            }
        }
        self.len = start;
        false
    }

    /// Closes the frame that was begun at `start`; a frame without a body is taken back.
    pub(crate) fn end(&mut self, start: usize) {
        let body = self.len.saturating_sub(start + 3);
        if let (Ok(body), Some(place)) = (u16::try_from(body), self.buffer.get_mut(start + 1..start + 3)) {
            place.copy_from_slice(&body.to_le_bytes());
        }
    }

    /// Fills up to a length with a frame that is skipped. `false`, and nothing written, where that does not fit, or less than
    /// such a frame is missing.
    #[must_use]
    pub(crate) fn pad_to(&mut self, len: usize) -> bool {
        let start = self.len;
        if len < start + 3 || len > self.buffer.len() || !self.begin(Kind::Padding) {
            return false;
        }
        if let Some(padding) = self.buffer.get_mut(self.len..len) {
            padding.fill(0);
            self.len = len;
        }
        self.end(start);
        true
    }

    /// Takes back everything from `start` on.
    pub(crate) const fn truncate(&mut self, start: usize) {
        self.len = start;
    }
}

/// A frame's type (`None` if unknown, to be skipped) and its body.
pub(crate) type Frame<'a> = (Option<Kind>, &'a [u8]);

/// Reads frames one by one.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(frames: &'a [u8]) -> Self {
        Self(frames)
    }

    /// The next frame.
    pub(crate) fn next(&mut self) -> Option<Result<Frame<'a>, Malformed>> {
        let [kind, a, b, rest @ ..] = self.0 else {
            if self.0.is_empty() {
                return None;
            }
            self.0 = &[];
            return Some(Err(Malformed));
        };
        let len = usize::from(u16::from_le_bytes([*a, *b]));
        let Some((body, rest)) = rest.split_at_checked(len) else {
            self.0 = &[];
            return Some(Err(Malformed));
        };
        self.0 = rest;
        Some(Ok((Kind::from_byte(*kind), body)))
    }
}

/// Decodes a body that is one message. Bytes after it are from a later version, and skipped.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    postcard::take_from_bytes(body).map(|(message, _)| message).map_err(|_| Malformed)
}

/// Takes the next part off a body of many.
pub(crate) fn take<T: DeserializeOwned>(body: &mut &[u8]) -> Option<Result<T, Malformed>> {
    if body.is_empty() {
        return None;
    }
    match postcard::take_from_bytes(body) {
        Ok((part, rest)) => {
            *body = rest;
            Some(Ok(part))
        }
        Err(_) => {
            *body = &[];
            Some(Err(Malformed))
        }
    }
}

/// Takes the next part, with its length in a byte before it, off a body of many.
pub(crate) fn take_sized<T: DeserializeOwned>(body: &mut &[u8]) -> Option<Result<T, Malformed>> {
    let (&len, rest) = body.split_first()?;
    let Some((part, rest)) = rest.split_at_checked(usize::from(len)) else {
        *body = &[];
        return Some(Err(Malformed));
    };
    *body = rest;
    Some(decode(part))
}

#[cfg(test)]
mod tests;
