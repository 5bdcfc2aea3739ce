//! Datagrams from the tunnel: cheap checks first, then the seal, then frame by frame.

use core::net::IpAddr;

use embassy_time::{Duration, Instant};

use super::Mesh;
use crate::{
    Reason,
    limits::{ORIGINAL_PAUSE, PACKETS_BURST},
    peer::{Pending, Phase, Place},
    seal::{self, OpenError},
    stats::count,
    wire::{self, Hello, Kind, Malformed, Reader},
};

impl<const PEERS: usize> Mesh<PEERS> {
    /// A datagram came in on the tunnel socket. `from` is its source address: WireGuard has proven that it belongs to the
    /// peer whose allowed IP it is. The datagram is decrypted in place.
    pub fn handle_datagram(&mut self, now: Instant, from: IpAddr, datagram: &mut [u8]) {
        self.counters.received_bytes = self.counters.received_bytes.wrapping_add(datagram.len() as u64);
        if self.leaving {
            return;
        }
        let place = self.peers.find_address(from);
        let known =
            place.and_then(|p| self.peers.get(p)).is_some_and(|p| p.is_other() && p.view.owns_address);
        let Some(place) = place.filter(|_| known) else {
            count(&mut self.counters.dropped_stranger);
            return self.note_drop(now);
        };
        // What costs next to nothing to see through is not charged: any program on the peer's host can send it, and must not
        // use up what the peer itself may send.
        if let Err(error) = seal::look(&self.secrets, datagram) {
            return self.refuse_datagram(place, now, error, datagram);
        }
        if !self.within_allowance(place, now) {
            count(&mut self.counters.dropped_rate);
            return self.note_drop(now);
        }
        let (frames, secret) = match seal::open(&self.secrets, datagram) {
            Ok(opened) => opened,
            Err(error) => return self.refuse_datagram(place, now, error, datagram),
        };
        let secret = secret as u8;
        if let Some(peer) = self.peers.get_mut(place) {
            peer.secret = peer.secret.max(Some(secret));
            peer.view.rx_changed = now;
            // One that ran the original may have been replaced.
            peer.link.muted_until = Instant::MIN;
        }
        // The frames borrow the datagram, not us.
        match self.handle_frames(now, place, frames) {
            Ok(()) => count(&mut self.counters.received),
            Err(Malformed) => {
                count(&mut self.counters.dropped_malformed);
                self.note_drop(now);
            }
        }
    }

    fn refuse_datagram(&mut self, place: Place, now: Instant, error: OpenError, datagram: &mut [u8]) {
        count(match error {
            OpenError::Length => &mut self.counters.dropped_length,
            OpenError::Version => &mut self.counters.dropped_version,
            OpenError::UnknownKey => &mut self.counters.dropped_secret,
            OpenError::Seal => &mut self.counters.dropped_seal,
        });
        // To see whether it is the original's takes deciphering: once a second is enough to find out.
        let second = now.as_secs() as u8;
        let Some(peer) = self.peers.get_mut(place) else { return };
        if core::mem::replace(&mut peer.link.examined, second) != second {
            if seal::is_original(&self.secrets, datagram) {
                self.original_spoke(place, now);
            } else if matches!(error, OpenError::UnknownKey | OpenError::Seal) {
                self.other_secret(place, now);
            }
        }
        self.note_drop(now);
    }

    fn handle_frames(&mut self, now: Instant, from: Place, frames: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(frames);
        let mut bye = false;
        let mut asked = false;
        while let Some(frame) = reader.next() {
            let (kind, body) = frame?;
            let Some(kind) = kind else {
                count(&mut self.counters.skipped_frames);
                continue;
            };
            match kind {
                Kind::Hello | Kind::HelloAck => {
                    let hello: Hello = wire::decode(body)?;
                    asked |= hello.token != [0; 4];
                    self.handle_hello(now, from, kind, &hello);
                }
                Kind::Rumor => self.handle_rumor(now, from, body)?,
                Kind::Buckets => self.handle_buckets(from, body)?,
                Kind::Summary => self.handle_summary(now, from, body)?,
                Kind::Pull => self.handle_pull(from, body),
                Kind::IntroReq => self.handle_intro_request(now, from, &wire::decode(body)?),
                Kind::Intro => self.handle_intro(now, from, &wire::decode(body)?),
                Kind::IntroNack => self.handle_intro_nack(now, from, &wire::decode(body)?),
                Kind::Ask => self.handle_ask(now, from, &wire::decode(body)?),
                Kind::Tell => self.handle_tell(from, &wire::decode(body)?),
                Kind::AskLinks => self.handle_ask_links(now, from, &wire::decode(body)?),
                Kind::TellLinks => self.handle_tell_links(now, from, body)?,
                Kind::Bye => bye = true,
                Kind::Observe => self.handle_observe(now, from, &wire::decode(body)?),
                Kind::Observed => self.handle_observed(now, from, &wire::decode(body)?),
                Kind::LanProof => self.handle_lan_proof(now, from, &wire::decode(body)?),
                // Their place is outside of the tunnel.
                Kind::Opener | Kind::LanBeacon | Kind::LanChallenge => {
                    count(&mut self.counters.skipped_frames);
                }
                Kind::Padding => {}
            }
        }
        if bye {
            self.left(from, now);
        } else {
            self.greet(from, now, asked);
        }
        Ok(())
    }

    fn handle_hello(&mut self, now: Instant, from: Place, kind: Kind, hello: &Hello) {
        // Where the hints of two are the same, they say nothing.
        let mut hinted = (0..self.secrets.len()).filter(|at| self.secrets[*at].hint() == hello.hint);
        let newest = hinted.next().filter(|_| hinted.next().is_none());
        let own_order = self.own.claim.order;
        let Some(peer) = self.peers.get_mut(from) else { return };
        if let Some(newest) = newest {
            // It may have had a newer one, and have been set back: then it understands that one no more.
            peer.secret = Some(newest as u8);
        }
        peer.holds = hello.holds;
        peer.leaf = hello.flags & Hello::LEAF != 0;
        let seen_before = peer.sees_us_at;
        if hello.seen.is_some() {
            peer.sees_us_at = hello.seen;
        }
        let seen_changed = peer.sees_us_at != seen_before;
        let echoed = kind == Kind::HelloAck && peer.link.token != [0; 4] && hello.echo == peer.link.token;
        if hello.token != [0; 4] {
            peer.link.echo = hello.token;
            self.request(from, Pending::ACK);
        } else if own_order.is_newer_than(hello.holds) {
            self.request(from, Pending::RECORD);
        }
        if hello.holds.is_newer_than(own_order) {
            // Of before our restart: everybody holds it, and we must be newer to be heard.
            self.own_record_seen(now, hello.holds, false);
        }
        let digest = u64::from_le_bytes(hello.digest);
        if echoed {
            if let Some(peer) = self.peers.get_mut(from) {
                peer.digest = digest;
            }
            self.echoed(from, now);
        }
        if seen_changed && self.peers.get(from).is_some_and(|p| p.is_live()) {
            self.refresh_own_soon(now);
            let public = |e: Option<crate::Endpoint>| e.is_some_and(|e| e.scope() == crate::Scope::Public);
            if public(seen_before) && public(hello.seen) {
                // Our NAT has moved us, or its router: those who let nobody in whom they do not know hear us no more.
                self.probe_all(now);
            }
        }
        // The side that asked reconciles: it has the other's newest digest.
        self.compare_digests(from, digest, kind == Kind::HelloAck && hello.token == [0; 4], now);
    }

    /// It speaks the original's protocol: our packets would make it sleep for ten seconds each.
    fn original_spoke(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        peer.link.muted_until = now.saturating_add(ORIGINAL_PAUSE);
        peer.link.reason = Some(Reason::OriginalProtocol);
        peer.pending.clear(Pending::DATAGRAMS);
        let (until, news) = (peer.link.muted_until, peer.link.told != peer.link.reason);
        if news {
            self.note_waiting(now);
        }
        // Its session is well, and stays untouched.
        self.enter(place, Phase::Mute, until);
    }

    /// It speaks our protocol with a secret that is not ours. That keeps nothing from being tried: any program on the peer's host
    /// can send such a datagram.
    fn other_secret(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        if peer.link.phase.is_live() || now < peer.link.muted_until {
            return;
        }
        peer.link.reason = Some(Reason::OtherSecret);
        if peer.link.told != peer.link.reason {
            self.note_waiting(now);
        }
    }

    /// Whether a peer has not sent too much: a bucket of [`PACKETS_BURST`], refilled in a second.
    fn within_allowance(&mut self, place: Place, now: Instant) -> bool {
        let Some(peer) = self.peers.get_mut(place) else { return false };
        let link = &mut peer.link;
        let since = now.saturating_duration_since(link.allowance_at).min(Duration::from_secs(1));
        let refill = since.as_millis() * u64::from(PACKETS_BURST) / 1000;
        if refill > 0 {
            let allowance = u64::from(link.allowance) + refill;
            link.allowance = u16::try_from(allowance).unwrap_or(PACKETS_BURST).min(PACKETS_BURST);
            link.allowance_at = now;
        }
        let Some(rest) = link.allowance.checked_sub(1) else { return false };
        link.allowance = rest;
        true
    }
}
