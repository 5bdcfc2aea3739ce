//! Peers on the same LAN find each other by beacons, with nobody's help.
//!
//! A beacon says who sends it, from which address and where its WireGuard listens, sealed with the mesh's secret. It proves
//! nothing: anybody on the LAN can keep one and send it again. So
//!
//! - one from another address than it says, or from outside of the link, is dropped;
//! - for a peer *without* a session it is one more candidate, the first to be tried, and the WireGuard handshake is the proof.
//!   As in any first contact, the lower key waits a moment for the higher, and sends it a beacon of its own meanwhile;
//! - a session that works is not moved by it. The peer is sent a challenge to where the beacon came from, and answers
//!   *through the tunnel*, which nobody else can. Then the session is moved, and a Hello must be echoed there, or it is moved
//!   back and the place is barred.
//!
//! ```text
//!               beacon                proof                      echo
//!   (nothing) ─────────► Known ────────────────────► Trying ──────────────► Known, and soon settled: forgotten
//!                        │   ▲  challenges, ever       │ none within LAN_TRIAL
//!    two handshakes in   │   │  more seldom            ▼
//!    vain, no session    └───┼──────────────────────► Barred
//!                            └─────────────────────────┘ its time is over
//! ```
//!
//! Nothing is sent in answer to what is not sealed, and never more bytes than came in: every datagram on the LAN has at
//! least [`LAN_DATAGRAM`] of them.

use core::net::{IpAddr, SocketAddr};

use embassy_time::Instant;
use heapless::{Deque, Vec};
use rand_core::TryCryptoRng;

use super::Mesh;
use crate::{
    CandidateKind, Endpoint, LanLink, Output, PublicKey, Scope,
    alarm::Alarm,
    limits::{
        FIRE_SPACING, LAN_BAR, LAN_CHALLENGE_AGAIN, LAN_CHALLENGE_DOUBLINGS, LAN_CHALLENGES_PER_SECOND,
        LAN_DATAGRAM, LAN_FIRES, LAN_LIFETIME, LAN_PACKETS_PER_SECOND, LAN_REST, LAN_SERIES, LAN_SOURCES,
        LAN_STEADY, LAN_TRIAL, MAX_LAN_LINKS, MAX_LAN_PROOFS, MAX_LAN_SIGHTINGS,
    },
    peer::{NOBODY, Pending, Phase, Place},
    seal::{self, HEADER},
    stats::count,
    wire::{self, Kind, LanBeacon, LanChallenge, LanProof, Reader, Writer},
};

/// Where a peer was heard on a LAN, and how far it is from being connected there.
#[derive(Clone, Copy)]
struct Sighting {
    place: Place,
    endpoint: Endpoint,
    /// The interface.
    index: u32,
    /// When it was last heard there.
    seen: Instant,
    state: State,
    /// When the state is over; in `Known` from when on the next challenge may be sent.
    until: Instant,
    /// What the challenge asks to have proven; zero for none.
    token: [u8; 4],
    /// A challenge is to be sent.
    challenge: bool,
    /// A beacon is to be sent there: the peer has yet to hear of us.
    answer: bool,
    /// Challenges without an answer, for their back-off.
    challenges: u8,
    /// Handshakes without an answer.
    fires: u8,
    /// Times that it was barred for these.
    rests: u8,
    /// Where the session was before it was moved, and what that was.
    before: Option<Endpoint>,
    kind_before: CandidateKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// A candidate.
    Known,
    /// The session was moved there, and a Hello is out.
    Trying,
    /// Not to be used.
    Barred,
}

/// Our places on LANs, and whom was heard there.
pub(super) struct Lan {
    links: Vec<LanLink, MAX_LAN_LINKS>,
    /// When the next beacons are due; unset while there is nobody to be found.
    beacons: Alarm,
    /// How many of the series were sent.
    series: u8,
    /// Beacons are being sent: of which link and secret the next one is.
    sending: bool,
    turn: u8,
    sightings: Vec<Sighting, MAX_LAN_SIGHTINGS>,
    proofs: Deque<(Place, LanProof), MAX_LAN_PROOFS>,
    /// The second that is being counted, what came in it by source, and the challenges that went out in it.
    second: u64,
    received: [u8; LAN_SOURCES],
    challenges: u8,
}

impl Lan {
    pub(super) const fn new() -> Self {
        Self {
            links: Vec::new(),
            beacons: Alarm::unset(),
            series: 0,
            sending: false,
            turn: 0,
            sightings: Vec::new(),
            proofs: Deque::new(),
            second: 0,
            received: [0; LAN_SOURCES],
            challenges: 0,
        }
    }

    /// When something is due that no input brings.
    pub(super) fn next(&self) -> Instant {
        let trying = self.sightings.iter().filter(|s| s.state == State::Trying).map(|s| s.until);
        trying.min().unwrap_or(Instant::MAX).min(self.beacons.at())
    }

    /// Where a peer may be reached on a LAN, the places that others can route to before those of one link.
    pub(super) fn candidates(&self, place: Place) -> impl Iterator<Item = Endpoint> + '_ {
        let usable = move |s: &&Sighting| s.place == place && s.state == State::Known;
        let endpoints = self.sightings.iter().filter(usable).map(|s| s.endpoint);
        let of_link = |e: &Endpoint| e.scope() == Scope::Link;
        endpoints.clone().filter(move |e| !of_link(e)).chain(endpoints.filter(of_link))
    }

    /// Whether there is one.
    pub(super) fn knows(&self, place: Place) -> bool {
        self.candidates(place).next().is_some()
    }

    /// Where nothing comes through to a peer.
    pub(super) fn barred(&self, place: Place) -> Option<Endpoint> {
        self.sightings.iter().find(|s| s.place == place && s.state == State::Barred).map(|s| s.endpoint)
    }

    /// Whether an endpoint is on a LAN of ours.
    pub(super) fn is_on_link(&self, endpoint: Endpoint) -> bool {
        self.links.iter().any(|link| {
            covers(link, endpoint.ip()) && (endpoint.zone() == 0 || endpoint.zone() == link.index)
        })
    }

    /// Whether a peer's session has just been moved and may be moved back.
    pub(super) fn is_trying(&self, place: Place) -> bool {
        self.sightings.iter().any(|s| s.place == place && s.state == State::Trying)
    }

    pub(super) fn forget(&mut self, place: Place) {
        self.sightings.retain(|s| s.place != place);
        self.proofs.retain(|(to, _)| *to != place);
    }

    /// The interface is gone, or we are leaving. The links stay.
    pub(super) fn clear(&mut self) {
        self.sightings.clear();
        self.proofs.clear();
        self.beacons.clear();
        self.sending = false;
    }

    fn find(&mut self, place: Place, endpoint: Endpoint) -> Option<&mut Sighting> {
        self.sightings.iter_mut().find(|s| s.place == place && s.endpoint == endpoint)
    }

    /// Notes where a peer was heard. `true` where that is new.
    fn note(&mut self, new: Sighting) -> bool {
        if let Some(known) = self.find(new.place, new.endpoint) {
            known.seen = new.seen;
            return false;
        }
        if self.sightings.is_full() {
            let known = self.sightings.iter().enumerate().filter(|(_, s)| s.state == State::Known);
            let Some((oldest, _)) = known.min_by_key(|(_, s)| s.seen) else { return false };
            self.sightings.swap_remove(oldest);
        }
        self.sightings.push(new).is_ok()
    }

    fn is_own(&self, address: IpAddr, index: u32) -> bool {
        self.links.iter().any(|link| link.index == index && link.address == address)
    }

    /// From where to send to an endpoint on an interface.
    fn link_to(&self, endpoint: Endpoint, index: u32) -> Option<LanLink> {
        let v4 = endpoint.is_ipv4();
        self.links.iter().find(|l| l.index == index && l.address.is_ipv4() == v4).copied()
    }

    fn start_second(&mut self, now: Instant) {
        if core::mem::replace(&mut self.second, now.as_secs()) != now.as_secs() {
            self.received = [0; LAN_SOURCES];
            self.challenges = 0;
        }
    }

    /// Takes one datagram from what a source may send in this second.
    fn within_rate(&mut self, source: IpAddr, now: Instant) -> bool {
        self.start_second(now);
        let bits = match source {
            IpAddr::V4(v4) => v4.to_bits(),
            IpAddr::V6(v6) => v6.to_bits() as u32 ^ (v6.to_bits() >> 32) as u32,
        };
        // Fibonacci hashing (Knuth): neighbours get counters of their own.
        let at = (bits.wrapping_mul(0x9e37_79b9) >> 28) as usize % LAN_SOURCES;
        let Some(count) = self.received.get_mut(at) else { return false };
        *count = count.saturating_add(1);
        *count <= LAN_PACKETS_PER_SECOND
    }
}

impl<const PEERS: usize> Mesh<PEERS> {
    /// Our places on LANs where peers are to be looked for; none at first. To be called at the start and whenever they
    /// changed. The first [`MAX_LAN_LINKS`] usable ones are kept. What makes a network a LAN is up to the caller.
    pub fn handle_lan_links(&mut self, now: Instant, links: &[LanLink]) {
        let mut fresh: Vec<LanLink, MAX_LAN_LINKS> = Vec::new();
        for link in links {
            let address = link.address.to_canonical();
            let usable =
                crate::scope(address) != Scope::Unusable && self.peers.find_address(address).is_none();
            if usable && !fresh.iter().any(|l| (l.index, l.address) == (link.index, address)) {
                let _ = fresh.push(LanLink { address, ..*link });
            }
        }
        if self.lan.links == fresh {
            return;
        }
        self.lan.links = fresh;
        let Lan { links, sightings, .. } = &mut self.lan;
        // One under trial is put back when its time is over.
        let there = |s: &Sighting| links.iter().any(|l| l.index == s.index && covers(l, s.endpoint.ip()));
        sightings.retain(|s| s.state == State::Trying || there(s));
        self.begin_beacons(now);
    }

    /// A datagram came in at the LAN port, on the interface with this index. It is decrypted in place.
    pub fn handle_lan_datagram(&mut self, now: Instant, index: u32, from: SocketAddr, datagram: &mut [u8]) {
        if self.leaving || self.interface.is_none() || !self.readings.had {
            return;
        }
        let from = from.ip().to_canonical();
        if self.lan.is_own(from, index) {
            // Our own beacon comes back.
            return;
        }
        if self.read_lan_datagram(now, index, from, datagram).is_none() {
            count(&mut self.counters.dropped_lan);
        }
    }

    /// `None` where it is dropped: what costs nothing to see comes first.
    fn read_lan_datagram(
        &mut self,
        now: Instant,
        index: u32,
        from: IpAddr,
        datagram: &mut [u8],
    ) -> Option<()> {
        let on_link = self.lan.links.iter().any(|link| link.index == index && covers(link, from));
        if !on_link || datagram.len() < LAN_DATAGRAM || seal::look(&self.secrets, datagram).is_err() {
            return None;
        }
        if !self.lan.within_rate(from, now) {
            return None;
        }
        let (frames, _) = seal::open(&self.secrets, datagram).ok()?;
        let (kind, body) = Reader::new(frames).next()?.ok()?;
        match kind? {
            Kind::LanBeacon => {
                let beacon: LanBeacon = wire::decode(body).ok()?;
                (beacon.address == from).then(|| self.handle_beacon(now, index, &beacon))
            }
            Kind::LanChallenge => {
                let challenge: LanChallenge = wire::decode(body).ok()?;
                self.lan.is_own(challenge.address, index).then(|| self.handle_challenge(&challenge))
            }
            _ => None,
        }
    }

    fn handle_beacon(&mut self, now: Instant, index: u32, beacon: &LanBeacon) {
        // Members that we are not configured with are nothing to us.
        let Some(place) = self.peers.find(&beacon.from) else { return };
        let endpoint = Endpoint::with_zone(beacon.address, beacon.port, index);
        let Some(peer) = self.peers.get(place).filter(|p| p.is_other()) else { return };
        if endpoint.scope() == Scope::Unusable || self.peers.find_address(endpoint.ip()).is_some() {
            return;
        }
        count(&mut self.counters.heard_beacons);
        if peer.is_live() && peer.view.endpoint.is_some_and(|e| self.lan.is_on_link(e)) {
            // It is where it should be.
            return;
        }
        let new = self.lan.note(Sighting {
            place,
            endpoint,
            index,
            seen: now,
            state: State::Known,
            until: Instant::MIN,
            token: [0; 4],
            challenge: false,
            answer: false,
            challenges: 0,
            fires: 0,
            rests: 0,
            before: None,
            kind_before: CandidateKind::Roamed,
        });
        if peer.is_live() {
            self.challenge_all(now);
        } else if new {
            self.answer_beacon(place, endpoint, now);
            self.lan_contact(place, now);
        }
    }

    /// The higher key fires at once, if it knows that we are here: so that it need not wait for our next beacon, nor that
    /// come at the moment at which we give up waiting for it, and the two handshakes cross.
    fn answer_beacon(&mut self, place: Place, endpoint: Endpoint, now: Instant) {
        self.lan.start_second(now);
        let room = self.lan.challenges < LAN_CHALLENGES_PER_SECOND;
        if room && self.is_lower(place) {
            self.lan.challenges += 1;
            if let Some(sighting) = self.lan.find(place, endpoint) {
                sighting.answer = true;
            }
        }
    }

    /// A peer without a session was heard in a new place on a LAN: it is tried there at once, unless a handshake with it is
    /// under way already.
    fn lan_contact(&mut self, place: Place, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let link = &mut peer.link;
        let elsewhere = link.via == NOBODY && link.kind != CandidateKind::Lan && peer.view.rx == link.rx_at;
        match link.phase {
            Phase::Idle => return self.reconsider(place, now),
            // Its daemon lives.
            Phase::Mute => return self.request(place, Pending::HELLO),
            Phase::Yielding | Phase::Asking => {}
            Phase::Fired | Phase::Ending if elsewhere => {
                if now.saturating_duration_since(link.fired) < FIRE_SPACING {
                    // Perhaps an answer is on its way. If not, this comes next.
                    link.candidate = u8::MAX;
                    return;
                }
            }
            Phase::Firing if elsewhere => {}
            _ => return,
        }
        link.round = 0;
        link.readds = 0;
        self.enter(place, Phase::Idle, Instant::MAX);
        self.reconsider(place, now);
    }

    /// A handshake with a peer got no answer. Where it was on a LAN, the other candidates come first after a few of these.
    /// Whether it is no candidate any more.
    pub(super) fn lan_fire_failed(&mut self, place: Place, now: Instant) -> bool {
        let Some(link) = self.peers.get(place).map(|p| &p.link) else { return false };
        let Some(target) = link.target.filter(|_| link.kind == CandidateKind::Lan) else { return false };
        let Some(sighting) = self.lan.find(place, target) else { return false };
        sighting.fires += 1;
        if sighting.fires < LAN_FIRES {
            return false;
        }
        sighting.fires = 0;
        sighting.state = State::Barred;
        sighting.until = now.saturating_add((LAN_REST * (1 << sighting.rests.min(5))).min(LAN_BAR));
        sighting.rests = sighting.rests.saturating_add(1);
        true
    }

    /// Peers whose sessions are elsewhere are to prove that they are where their beacons came from.
    fn challenge_all(&mut self, now: Instant) {
        self.lan.start_second(now);
        let Lan { sightings, challenges, .. } = &mut self.lan;
        for at in 0..sightings.len() {
            let Some(Sighting { place, endpoint, state, until, .. }) = sightings.get(at).copied() else {
                return;
            };
            let on_link = endpoint.scope() == Scope::Link;
            // WireGuard in user space may not know zones, and the other address is as good.
            let outranked =
                on_link && sightings.iter().any(|s| s.place == place && s.endpoint.scope() != Scope::Link);
            let live = self.peers.get(place).is_some_and(|p| p.link.phase == Phase::Live);
            if state != State::Known || now < until || outranked || !live {
                continue;
            }
            if *challenges >= LAN_CHALLENGES_PER_SECOND {
                return;
            }
            *challenges += 1;
            let Some(sighting) = sightings.get_mut(at) else { return };
            let doublings = sighting.challenges.min(LAN_CHALLENGE_DOUBLINGS);
            sighting.challenges = sighting.challenges.saturating_add(1);
            sighting.until = now.saturating_add(LAN_CHALLENGE_AGAIN * (1 << doublings));
            sighting.challenge = true;
        }
    }

    fn handle_challenge(&mut self, challenge: &LanChallenge) {
        let Some(place) = self.peers.find_short(u64::from_be_bytes(challenge.from)) else { return };
        if self.peers.get(place).is_some_and(|p| p.is_live()) {
            let proof = LanProof { token: challenge.token, address: challenge.address };
            // Where there is no room it comes again.
            let _ = self.lan.proofs.push_back((place, proof));
            self.busy = true;
        }
    }

    /// The next proof, through the tunnel.
    pub(super) fn write_lan_proof(&mut self, writer: &mut Writer<'_>) -> Option<Place> {
        let (to, proof) = self.lan.proofs.pop_front()?;
        let _ = writer.frame(Kind::LanProof, &proof);
        Some(to)
    }

    /// A peer is where its beacon came from: its session is moved there, and a Hello must come back.
    pub(super) fn handle_lan_proof(&mut self, now: Instant, from: Place, proof: &LanProof) {
        let Some(peer) = self.peers.get_mut(from).filter(|p| p.is_live()) else { return };
        let of_peer = self.lan.sightings.iter_mut().filter(|s| s.place == from && s.state == State::Known);
        let matching = |s: &&mut Sighting| s.token == proof.token && s.endpoint.ip() == proof.address;
        let Some(sighting) = of_peer.filter(|s| s.token != [0; 4]).find(matching) else { return };
        sighting.token = [0; 4];
        sighting.challenge = false;
        sighting.challenges = 0;
        if peer.view.endpoint == Some(sighting.endpoint) {
            return;
        }
        sighting.before = peer.view.endpoint;
        sighting.kind_before = peer.link.kind;
        sighting.state = State::Trying;
        sighting.until = now.saturating_add(LAN_TRIAL);
        let until = sighting.until;
        let endpoint = sighting.endpoint;
        // One that was sent before may be echoed by the old way.
        peer.link.token = [0; 4];
        self.move_session(from, Some(endpoint), CandidateKind::Lan);
        self.arm(until);
    }

    fn move_session(&mut self, place: Place, to: Option<Endpoint>, kind: CandidateKind) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        peer.link.target = to;
        peer.link.kind = kind;
        peer.view.endpoint = to;
        self.request(place, Pending::ENDPOINT | Pending::HELLO);
    }

    /// A peer has echoed a Hello: if its session was just moved, it works there.
    pub(super) fn lan_echoed(&mut self, place: Place, now: Instant) {
        let trying = |s: &&mut Sighting| s.place == place && s.state == State::Trying;
        let Some(sighting) = self.lan.sightings.iter_mut().find(trying) else { return };
        sighting.state = State::Known;
        // WireGuard may have moved it back, by a packet that was on its way: then it is tried again.
        sighting.until = now.saturating_add(LAN_TRIAL * 5);
        if let Some(peer) = self.peers.get_mut(place) {
            peer.pending.set(Pending::MOVED);
            self.busy = true;
        }
        count(&mut self.counters.moved_to_lan);
        self.readings.want();
    }

    /// The platform could not set an endpoint. If a session was to be moved there, it is where it was.
    pub(super) fn lan_refused(&mut self, place: Place, endpoint: Endpoint, now: Instant) {
        if self.lan.find(place, endpoint).is_some_and(|s| s.state == State::Trying) {
            self.put_back(place, now);
        }
    }

    /// Nothing came through on the LAN.
    fn put_back(&mut self, place: Place, now: Instant) {
        let trying = |s: &&mut Sighting| s.place == place && s.state == State::Trying;
        let Some(sighting) = self.lan.sightings.iter_mut().find(trying) else { return };
        sighting.state = State::Barred;
        sighting.until = now.saturating_add(LAN_BAR);
        let Sighting { before, kind_before, endpoint, .. } = *sighting;
        count(&mut self.counters.moved_back);
        let Some(peer) = self.peers.get_mut(place).filter(|p| p.is_live()) else { return };
        peer.pending.set(Pending::LAN_BARRED);
        self.busy = true;
        if peer.view.endpoint == Some(endpoint) {
            self.move_session(place, before, kind_before);
        }
    }

    /// Sessions that were moved a moment ago and have not proven themselves are left where they were.
    pub(super) fn leave_lan(&mut self) {
        for at in 0..self.lan.sightings.len() {
            let Some(sighting) = self.lan.sightings.get(at).filter(|s| s.state == State::Trying) else {
                continue;
            };
            if let Some(peer) = self.peers.get_mut(sighting.place).filter(|p| p.is_live()) {
                peer.link.target = sighting.before;
                peer.pending.set(Pending::ENDPOINT);
            }
        }
        self.lan.clear();
    }

    /// WireGuard was read: whoever is connected on the LAN by now is settled.
    pub(super) fn lan_reading(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(sighting) = self.lan.sightings.get(at) {
            let (place, trying) = (sighting.place, sighting.state == State::Trying);
            let endpoint = self.peers.get(place).filter(|p| p.is_live()).and_then(|p| p.view.endpoint);
            // Also who did not answer us there: it has reached us.
            if !trying && endpoint.is_some_and(|e| self.lan.is_on_link(e)) {
                if let Some(peer) = self.peers.get_mut(place) {
                    peer.link.kind = CandidateKind::Lan;
                }
                self.lan.sightings.swap_remove(at);
            } else {
                at += 1;
            }
        }
        self.challenge_all(now);
    }

    /// Something has changed: everybody on our LANs is to know that we are here.
    pub(super) fn begin_beacons(&mut self, now: Instant) {
        if self.interface.is_some() && self.readings.had && !self.lan.links.is_empty() && !self.leaving {
            self.lan.series = 0;
            self.lan.beacons.set(now);
            self.arm(now);
        }
    }

    pub(super) fn lan_timeout(&mut self, now: Instant) {
        while let Some(trying) =
            self.lan.sightings.iter().find(|s| s.state == State::Trying && s.until <= now).map(|s| s.place)
        {
            self.put_back(trying, now);
        }
        if !self.lan.beacons.take_due(now) {
            return;
        }
        let after = |at: usize| LAN_SERIES.get(at).copied();
        let sent = usize::from(self.lan.series);
        let next = match (after(sent), after(sent + 1)) {
            (Some(this), Some(next)) => next - this,
            _ => self.jitter(LAN_STEADY),
        };
        self.lan.series = self.lan.series.saturating_add(1).min(LAN_SERIES.len() as u8);
        if !self.lan.links.is_empty() {
            self.lan.beacons.set(now.saturating_add(next));
        }
        for sighting in self.lan.sightings.iter_mut() {
            if sighting.state == State::Barred && sighting.until <= now {
                sighting.state = State::Known;
                sighting.challenges = 0;
            }
        }
        self.lan
            .sightings
            .retain(|s| s.state != State::Known || now.saturating_duration_since(s.seen) < LAN_LIFETIME);
        // A node that runs the original listens at this port too, and sleeps for ten seconds after each packet of ours.
        let original = self.peers.iter().any(|(_, p)| now < p.link.muted_until);
        self.lan.sending = !original && self.interface.is_some_and(|i| i.listen_port != 0);
        self.lan.turn = 0;
    }

    /// The next beacon or challenge.
    pub(super) fn next_lan<R: TryCryptoRng>(&mut self, rng: &mut R, buffer: &mut [u8]) -> Option<Output> {
        while self.lan.sending {
            let (turn, secrets) = (usize::from(self.lan.turn), self.secrets.len().max(1));
            let Some(link) = self.lan.links.get(turn / secrets).copied() else {
                self.lan.sending = false;
                break;
            };
            self.lan.turn += 1;
            if let Some(output) = self.write_beacon(&link, None, turn % secrets, rng, buffer) {
                return Some(output);
            }
        }
        while let Some(sighting) = self.lan.sightings.iter_mut().find(|s| s.answer) {
            sighting.answer = false;
            let Sighting { place, endpoint, index, .. } = *sighting;
            let secret = self.peers.get(place).map_or(0, |peer| self.secret_for(peer));
            if let Some(link) = self.lan.link_to(endpoint, index)
                && let Some(output) = self.write_beacon(&link, Some(endpoint.ip()), secret, rng, buffer)
            {
                return Some(output);
            }
        }
        while let Some(at) = self.lan.sightings.iter().position(|s| s.challenge) {
            if let Some(sighting) = self.lan.sightings.get_mut(at) {
                sighting.challenge = false;
            }
            if let Some(output) = self.write_challenge(at, rng, buffer) {
                return Some(output);
            }
        }
        None
    }

    fn write_beacon<R: TryCryptoRng>(
        &mut self,
        link: &LanLink,
        to: Option<IpAddr>,
        secret: usize,
        rng: &mut R,
        buffer: &mut [u8],
    ) -> Option<Output> {
        let interface = self.interface?;
        let beacon =
            LanBeacon { from: interface.public_key, address: link.address, port: interface.listen_port };
        let len = padded(buffer, Kind::LanBeacon, &beacon)?;
        let len = seal::seal(self.secrets.get(secret)?, buffer, len, rng).ok()?;
        count(&mut self.counters.sent_beacons);
        Some(Output::Lan { index: link.index, from: link.address, to, len })
    }

    fn write_challenge<R: TryCryptoRng>(
        &mut self,
        at: usize,
        rng: &mut R,
        buffer: &mut [u8],
    ) -> Option<Output> {
        let from = self.own_key().as_ref().map(PublicKey::short)?.to_be_bytes();
        let Sighting { place, endpoint, index, .. } = *self.lan.sightings.get(at)?;
        let here = self.lan.link_to(endpoint, index)?.address;
        let mut token = [0; 4];
        rng.try_fill_bytes(&mut token).ok()?;
        // Zero stands for "no token".
        token[0] |= 1;
        let to = endpoint.ip();
        let len = padded(buffer, Kind::LanChallenge, &LanChallenge { token, from, address: to })?;
        let (_, secret) = self.sealing_for(place)?;
        let len = seal::seal(secret, buffer, len, rng).ok()?;
        self.lan.sightings.get_mut(at)?.token = token;
        count(&mut self.counters.sent_challenges);
        Some(Output::Lan { index, from: here, to: Some(to), len })
    }
}

/// Writes a message where the envelope wants it, as long as all on a LAN are. Returns the length of the frames.
fn padded<T: serde::Serialize>(buffer: &mut [u8], kind: Kind, message: &T) -> Option<usize> {
    let mut writer = Writer::new(buffer.get_mut(HEADER..)?);
    (writer.frame(kind, message) && writer.pad_to(LAN_DATAGRAM - HEADER)).then(|| writer.len())
}

/// Whether an address is of the link's network.
fn covers(link: &LanLink, address: IpAddr) -> bool {
    super::reading::covers(link.address, link.prefix, address)
}
