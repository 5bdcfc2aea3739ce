//! What goes out: one thing at a time, until nothing is left.

use core::net::SocketAddr;

use embassy_time::Instant;
use rand_core::TryCryptoRng;

use super::{
    Mesh,
    gossip::{self, check},
    mediate, tell,
};
use crate::{
    CandidateKind, Event, Output, PeerAction, Reason, SharedKey,
    limits::{MAX_DATAGRAM, MAX_SUMMARY},
    peer::{NOBODY, Peer, Pending, Place},
    seal::{self, HEADER},
    stats::count,
    wire::{Entry, Hello, Intro, IntroNack, Kind, SummaryEntry, SummaryHead, Writer},
};

impl<const PEERS: usize> Mesh<PEERS> {
    /// The next thing to do, or `None`. After every input, call it until `None`.
    ///
    /// A datagram is written into `buffer`, which must hold [`MAX_DATAGRAM`] bytes; with less, datagrams that do
    /// not fit are lost. If the random source fails, nothing is sent.
    #[must_use = "an output that is not carried out leaves the engine waiting for its effect"]
    pub fn poll<R: TryCryptoRng>(&mut self, now: Instant, rng: &mut R, buffer: &mut [u8]) -> Option<Output> {
        if let Some(event) = self.next_news(now) {
            return Some(Output::Event(event));
        }
        if core::mem::take(&mut self.news.store) {
            return Some(Output::Store);
        }
        // A reading must show what was done before it was asked for.
        if core::mem::take(&mut self.acting)
            && let Some(output) = self.next_act()
        {
            self.acting = true;
            return Some(output);
        }
        if let Some(key) = self.gossip.removed.pop_front() {
            return Some(Output::Peer { key, action: PeerAction::Remove });
        }
        if let Some(output) = self.next_opener(now, rng, buffer) {
            return Some(output);
        }
        if let Some(output) = self.next_lan(rng, buffer) {
            return Some(output);
        }
        if self.readings.wanted && self.interface.is_some() && !self.leaving && self.may_read(now) {
            self.readings.wanted = false;
            self.readings.next.set(now.saturating_add(crate::limits::READ_LOST));
            self.arm(self.readings.next.at());
            count(&mut self.counters.readings);
            return Some(Output::ReadInterface);
        }
        while let Some(place) = self.due.front().copied() {
            if let Some(output) = self.poll_peer(place, now, rng, buffer) {
                return Some(output);
            }
            self.due.pop_front();
        }
        if self.busy {
            let places = self.peers.len() as Place;
            for _ in 0..places {
                let place = if self.cursor < places { self.cursor } else { 0 };
                if let Some(output) = self.poll_peer(place, now, rng, buffer) {
                    return Some(output);
                }
                self.cursor = place + 1;
            }
            // All were looked through; what the queues hold needs no second look.
            self.busy = false;
        }
        if let Some(output) = self.poll_queues(now, rng, buffer) {
            return Some(output);
        }
        self.end_batches();
        // That nothing could be sent may be news.
        self.next_news(now).map(Output::Event)
    }

    /// The next change to WireGuard: of a peer that is noted, else of any.
    fn next_act(&mut self) -> Option<Output> {
        let noted = self.due.len();
        let all = if self.busy { self.peers.len() } else { 0 };
        for turn in 0..noted + all {
            let place = self.due.iter().nth(turn).copied().unwrap_or((turn.saturating_sub(noted)) as Place);
            if let Some(action) = self.next_action(place)
                && let Some(peer) = self.peers.get(place)
            {
                return Some(Output::Peer { key: peer.key, action });
            }
        }
        None
    }

    fn next_news(&mut self, now: Instant) -> Option<Event> {
        let news = &mut self.news;
        if core::mem::take(&mut news.interface_down) {
            return Some(Event::InterfaceDown);
        }
        if core::mem::take(&mut news.interface_up) {
            return Some(Event::InterfaceUp);
        }
        if core::mem::take(&mut news.key_elsewhere) {
            return Some(Event::OwnKeyElsewhere);
        }
        if core::mem::take(&mut news.no_randomness) {
            return Some(Event::NoRandomness);
        }
        if core::mem::take(&mut news.dropped) {
            let dropped = self.counters.dropped();
            let packets = dropped.wrapping_sub(core::mem::replace(&mut news.dropped_told, dropped));
            news.dropped_told_at = now;
            if packets > 0 {
                return Some(Event::Dropped { packets });
            }
        }
        let answer = self.answers.pop_front().map(Event::Answer);
        #[cfg(feature = "map")]
        let answer = answer.or_else(|| self.next_link());
        answer
    }

    fn poll_peer<R: TryCryptoRng>(
        &mut self,
        place: Place,
        now: Instant,
        rng: &mut R,
        buffer: &mut [u8],
    ) -> Option<Output> {
        let peer = self.peers.get_mut(place)?;
        if peer.pending == Pending::default() {
            return None;
        }
        if peer.pending.take(Pending::OPENER)
            && let Some(output) = self.single_opener(place, now, rng, buffer)
        {
            return Some(output);
        }
        let peer = self.peers.get_mut(place)?;
        if now < peer.link.muted_until {
            peer.pending.clear(Pending::DATAGRAMS);
        }
        if peer.pending.has(Pending::DATAGRAMS)
            && let Some(output) = self.next_datagram(place, now, rng, buffer)
        {
            return Some(output);
        }
        self.next_event(place, now).map(Output::Event)
    }

    fn next_action(&mut self, place: Place) -> Option<PeerAction> {
        let peer = self.peers.get_mut(place)?;
        if !peer.pending.has(Pending::ACTIONS) {
            return None;
        }
        let endpoint = peer.view.endpoint.map(SocketAddr::from);
        if peer.pending.take(Pending::ADD) {
            peer.view.present = true;
            peer.view.owns_address = true;
            return Some(PeerAction::Add { address: peer.address, endpoint });
        }
        if peer.pending.take(Pending::READD) {
            return Some(PeerAction::Readd { endpoint });
        }
        if peer.pending.take(Pending::ENDPOINT)
            && let Some(endpoint) = peer.link.target
        {
            return Some(PeerAction::SetEndpoint(endpoint.into()));
        }
        if peer.pending.take(Pending::KEEPALIVE) {
            peer.view.keepalive = peer.link.keepalive;
            return Some(PeerAction::SetKeepalive(peer.link.keepalive));
        }
        None
    }

    /// Writes the next datagram to a peer: everything pending for it that fits.
    fn next_datagram<R: TryCryptoRng>(
        &mut self,
        place: Place,
        now: Instant,
        rng: &mut R,
        buffer: &mut [u8],
    ) -> Option<Output> {
        let frames = buffer.get_mut(HEADER..MAX_DATAGRAM.min(buffer.len())).unwrap_or_default();
        let mut writer = Writer::new(frames);
        let mut to = place;
        let mut token = [0; 4];
        if rng.try_fill_bytes(&mut token).is_err() {
            return self.no_randomness(place);
        }
        self.news.randomness_fails = false;
        // Zero stands for "no token".
        token[0] |= 1;
        self.write_hello(place, now, token, &mut writer);
        let peer = self.peers.get_mut(place)?;
        if peer.pending.take(Pending::BYE) {
            let start = writer.len();
            if writer.begin(Kind::Bye) {
                writer.end(start);
            }
        }
        if peer.pending.take(Pending::RECORD) {
            self.write_own(&mut writer);
        }
        for what in [Pending::PUSH, Pending::REPLY, Pending::SYNC] {
            if self.peers.get(place)?.pending.has(what) && self.write_records(place, what, now, &mut writer) {
                let peer = self.peers.get_mut(place)?;
                peer.pending.clear(what);
                peer.cursor = 0;
            }
        }
        if self.peers.get_mut(place)?.pending.take(Pending::OBSERVE)
            && let Some(observe) = self.observe(place)
            && !writer.frame(Kind::Observe, &observe)
        {
            self.peers.get_mut(place)?.pending.set(Pending::OBSERVE);
        }
        if self.peers.get(place)?.pending.has(Pending::BUCKETS) && self.write_buckets(&mut writer) {
            self.peers.get_mut(place)?.pending.clear(Pending::BUCKETS);
        }
        if self.peers.get(place)?.pending.has(Pending::PULL) && self.write_pull(&mut writer) {
            self.peers.get_mut(place)?.pending.clear(Pending::PULL);
        }
        if writer.is_empty() && self.peers.get_mut(place)?.pending.has(Pending::ASK_INTRO) {
            let via = self.peers.get(place)?.link.via;
            if self.peers.get(via).is_some_and(|m| m.is_live()) {
                to = via;
                self.write_asks(via, &mut writer);
            }
            // Written, or there is no mediator any more: either way it is over.
            self.peers.get_mut(place)?.pending.clear(Pending::ASK_INTRO);
        }
        if writer.is_empty() {
            // Nothing to say after all, or nothing that fits into so small a buffer.
            let peer = self.peers.get_mut(place)?;
            peer.pending.clear(Pending::DATAGRAMS);
            return None;
        }
        let len = writer.len();
        self.send(to, len, rng, buffer)
    }

    /// Which secret what goes to a peer is sealed with: the newest that it has shown.
    pub(super) fn secret_for(&self, peer: &Peer) -> usize {
        usize::from(peer.secret.unwrap_or(self.present))
    }

    /// A peer, and the secret that what goes to it is sealed with.
    pub(super) fn sealing_for(&self, to: Place) -> Option<(&Peer, &SharedKey)> {
        let peer = self.peers.get(to)?;
        let secret = self.secrets.get(self.secret_for(peer))?;
        Some((peer, secret))
    }

    /// Seals what was written and counts it.
    fn send<R: TryCryptoRng>(
        &mut self,
        to: Place,
        len: usize,
        rng: &mut R,
        buffer: &mut [u8],
    ) -> Option<Output> {
        self.peers.get_mut(to)?.view.gossiped = true;
        let (peer, secret) = self.sealing_for(to)?;
        let address = peer.address;
        match seal::seal(secret, buffer, len, rng) {
            Ok(len) => {
                count(&mut self.counters.sent);
                self.counters.sent_bytes = self.counters.sent_bytes.wrapping_add(len as u64);
                Some(Output::Datagram { to: address, len })
            }
            Err(_) => self.no_randomness(to),
        }
    }

    fn no_randomness(&mut self, place: Place) -> Option<Output> {
        count(&mut self.counters.no_randomness);
        if !core::mem::replace(&mut self.news.randomness_fails, true) {
            self.news.no_randomness = true;
        }
        if let Some(peer) = self.peers.get_mut(place) {
            peer.pending.clear(Pending::DATAGRAMS);
        }
        None
    }

    fn write_hello(&mut self, place: Place, now: Instant, token: [u8; 4], writer: &mut Writer<'_>) {
        let digest = self.gossip.digest.to_le_bytes();
        let hint = self.secrets.last().map_or(0, |s| s.hint());
        let own_order = self.own.claim.order;
        let leaf = !self.own.well_connected;
        let Some(peer) = self.peers.get_mut(place) else { return };
        if !peer.pending.has(Pending::HELLO | Pending::ACK) {
            return;
        }
        let live = peer.link.phase.is_live();
        let mut hello = Hello {
            token: [0; 4],
            echo: [0; 4],
            digest,
            holds: peer.held.order(),
            seen: peer.view.endpoint,
            hint,
            flags: if leaf { Hello::LEAF } else { 0 },
        };
        peer.told_leaf = leaf;
        let ack = peer.pending.take(Pending::ACK);
        let asks = peer.pending.take(Pending::HELLO) || (ack && !live);
        if asks {
            // One token until it is echoed: were each message to bring a new one, two nodes that greet each other at the
            // same time would for ever be late with their echoes.
            if peer.link.token == [0; 4] {
                peer.link.token = token;
                peer.link.token_at = now;
                peer.link.token_repeated = false;
            } else {
                peer.link.token_repeated = true;
            }
            hello.token = peer.link.token;
        }
        if ack {
            hello.echo = peer.link.echo;
        }
        let kind = if ack { Kind::HelloAck } else { Kind::Hello };
        // The first frame of a datagram always fits.
        let _ = writer.frame(kind, &hello);
        if own_order.is_newer_than(peer.holds) || peer.holds == crate::record::Order::NONE {
            peer.pending.clear(Pending::RECORD);
            self.write_own(writer);
        }
    }

    fn own_entry(&self) -> Option<Entry> {
        Some(Entry { id: self.own_key()?, age: 0, claim: self.own.claim.clone() })
    }

    fn write_own(&self, writer: &mut Writer<'_>) {
        let Some(entry) = self.own_entry() else { return };
        let start = writer.len();
        if writer.begin(Kind::Rumor) && writer.append_sized(&entry) {
            writer.end(start);
        } else {
            writer.truncate(start);
        }
    }

    /// Writes the records of a batch from the peer's cursor on. `true` when all were written.
    fn write_records(&mut self, place: Place, what: Pending, now: Instant, writer: &mut Writer<'_>) -> bool {
        let start = writer.len();
        if !writer.begin(Kind::Rumor) {
            return false;
        }
        let empty = writer.len();
        let Some(receiver) = self.peers.get(place) else { return true };
        let mut cursor = receiver.cursor;
        let end = self.peers.len() as Place;
        let mut all = true;
        // The cursor's zero is our own record, and the places follow.
        while cursor <= end {
            let entry = if cursor == 0 {
                let ours = if what == Pending::PUSH {
                    self.own.pushing
                } else {
                    what != Pending::REPLY || self.own.wanted_by_others
                };
                self.own_entry().filter(|_| ours)
            } else {
                self.peers
                    .get(cursor - 1)
                    .filter(|p| cursor - 1 != place && !p.us && Self::is_for(&p.held, what, place))
                    .and_then(|p| self.entry_of(p, now))
            };
            if let Some(entry) = entry
                && !writer.append_sized(&entry)
            {
                all = false;
                break;
            }
            cursor += 1;
        }
        if let Some(peer) = self.peers.get_mut(place) {
            peer.cursor = cursor;
        }
        if writer.len() == empty {
            writer.truncate(start);
        } else {
            writer.end(start);
        }
        all
    }

    fn write_buckets(&self, writer: &mut Writer<'_>) -> bool {
        let start = writer.len();
        let written = writer.begin(Kind::Buckets)
            && self.bucket_digests().iter().all(|digest| writer.append(&digest.to_le_bytes()));
        if written {
            writer.end(start);
        } else {
            writer.truncate(start);
        }
        written
    }

    fn write_pull(&mut self, writer: &mut Writer<'_>) -> bool {
        let start = writer.len();
        if !writer.begin(Kind::Pull) {
            return false;
        }
        let empty = writer.len();
        let mut all = true;
        let wanted = self.peers.iter_mut().filter(|(_, p)| p.held.wanted);
        for (n, (_, peer)) in wanted.enumerate() {
            if n == MAX_SUMMARY || !writer.append(&peer.key.short().to_be_bytes()) {
                all = false;
                break;
            }
            peer.held.wanted = false;
        }
        if writer.len() == empty {
            writer.truncate(start);
        } else {
            writer.end(start);
        }
        all
    }

    /// Asks a mediator for all introductions that are to come from it.
    fn write_asks(&mut self, via: Place, writer: &mut Writer<'_>) {
        loop {
            let Some(place) = self.asks_by(via).next() else { return };
            let Some(request) = self.intro_request(place) else { return };
            if !writer.frame(Kind::IntroReq, &request) {
                return;
            }
            if let Some(peer) = self.peers.get_mut(place) {
                peer.pending.clear(Pending::ASK_INTRO);
            }
        }
    }

    /// Introductions, reconciliations and questions.
    fn poll_queues<R: TryCryptoRng>(
        &mut self,
        now: Instant,
        rng: &mut R,
        buffer: &mut [u8],
    ) -> Option<Output> {
        loop {
            let frames = buffer.get_mut(HEADER..MAX_DATAGRAM.min(buffer.len())).unwrap_or_default();
            let mut writer = Writer::new(frames);
            let to = self
                .write_introductions(&mut writer)
                .or_else(|| self.write_observed(&mut writer))
                .or_else(|| self.write_refusal(&mut writer))
                .or_else(|| self.write_lan_proof(&mut writer))
                .or_else(|| self.write_summaries(&mut writer))
                .or_else(|| self.write_tell(&mut writer))
                .or_else(|| self.write_told(&mut writer))?;
            let len = writer.len();
            let muted = self.peers.get(to).is_none_or(|p| now < p.link.muted_until);
            if len > 0
                && !muted
                && let Some(output) = self.send(to, len, rng, buffer)
            {
                return Some(output);
            }
        }
    }

    fn write_introductions(&mut self, writer: &mut Writer<'_>) -> Option<Place> {
        let introduction = self.introductions.pop_front()?;
        let to = introduction.to;
        let about = self.peers.get(introduction.about).map(|p| p.key);
        let Some(about) = about else { return Some(to) };
        let _ = match introduction.what {
            mediate::Matter::Meet { attempt, round, role, wait_ms, rtt_ms, flags } => writer.frame(
                Kind::Intro,
                &Intro {
                    attempt,
                    round,
                    role: role.to_wire(),
                    wait_ms,
                    rtt_ms,
                    about,
                    seen: self.sighting(introduction.about).filter(|e| self.may_have(to, e.is_ipv4())),
                    flags,
                },
            ),
            mediate::Matter::Refused { reason, retry_ms } => {
                writer.frame(Kind::IntroNack, &IntroNack { target: about, reason, retry_ms })
            }
        };
        Some(to)
    }

    /// Tells a peer where its opener came from.
    fn write_observed(&mut self, writer: &mut Writer<'_>) -> Option<Place> {
        let (to, observed) = self.openers.observed.pop_front()?;
        let _ = writer.frame(Kind::Observed, &observed);
        Some(to)
    }

    fn write_refusal(&mut self, writer: &mut Writer<'_>) -> Option<Place> {
        let (to, target) = self.refusal.take()?;
        let nack = IntroNack { target, reason: IntroNack::UNKNOWN, retry_ms: 0 };
        let _ = writer.frame(Kind::IntroNack, &nack);
        Some(to)
    }

    /// Lists what we hold in the next buckets of a reconciliation.
    fn write_summaries(&mut self, writer: &mut Writer<'_>) -> Option<Place> {
        let running = self.reconciling.first()?;
        let (with, mut buckets) = (running.with, running.buckets);
        while buckets != 0 {
            let bucket = buckets.trailing_zeros();
            if !self.write_summary(bucket as u8, writer) {
                break;
            }
            buckets &= buckets - 1;
        }
        if buckets == 0 || writer.is_empty() {
            self.reconciling.swap_remove(0);
        } else if let Some(running) = self.reconciling.first_mut() {
            running.buckets = buckets;
        }
        Some(with)
    }

    fn write_summary(&self, bucket: u8, writer: &mut Writer<'_>) -> bool {
        let start = writer.len();
        let first = writer.is_empty();
        let own =
            self.own_key().filter(|k| gossip::bucket(k) == usize::from(bucket)).map(|key| SummaryEntry {
                id: key.short().to_be_bytes(),
                order: self.own.claim.order,
                check: check(self.own.hash),
            });
        let entries = || {
            let of_bucket = self.peers.stretch(bucket.into(), gossip::bucket);
            let of_bucket =
                of_bucket.filter_map(|at| self.peers.get(self.peers.nth_key(at)?)).filter(|p| !p.us);
            own.into_iter().chain(of_bucket.filter(|p| p.held.claim.is_some()).map(|p| SummaryEntry {
                id: p.key.short().to_be_bytes(),
                order: p.held.order(),
                check: check(p.held.hash),
            }))
        };
        let total = entries().count();
        let complete = total <= MAX_SUMMARY;
        let skip = if complete { 0 } else { (self.counters.sent as usize) % total };
        let head = SummaryHead { bucket, complete };
        let written = writer.begin(Kind::Summary)
            && writer.append(&head)
            && entries().cycle().skip(skip).take(total.min(MAX_SUMMARY)).all(|e| writer.append(&e));
        if written {
            writer.end(start);
        } else if first && !complete {
            // As much as fits is enough: the rest comes another time.
            writer.end(start);
            return true;
        } else {
            writer.truncate(start);
        }
        written
    }

    fn write_tell(&mut self, writer: &mut Writer<'_>) -> Option<Place> {
        let pending = self.tells.pop_front()?;
        let _ = match &pending.what {
            tell::Matter::Question(ask) => writer.frame(Kind::Ask, ask),
            tell::Matter::Answer(tell) => writer.frame(Kind::Tell, tell),
            tell::Matter::Links(ask) => self.write_links(ask, writer),
        };
        Some(pending.to)
    }

    fn next_event(&mut self, place: Place, now: Instant) -> Option<Event> {
        let via = self.peers.get(place).map_or(NOBODY, |p| p.link.via);
        let via = self.peers.get(via).map(|p| p.key);
        let on_lan = self.peers.get(place)?.view.endpoint.is_some_and(|e| self.lan.is_on_link(e));
        let peer = self.peers.get_mut(place)?;
        let key = peer.key;
        let endpoint = peer.view.endpoint.map(SocketAddr::from);
        if peer.pending.take(Pending::LOST) {
            // What it was lost by: an effort to mend it is under way already.
            let reason = peer.link.told.unwrap_or(Reason::Silent);
            return Some(Event::Lost { key, reason });
        }
        if peer.pending.take(Pending::ATTEMPT) {
            return Some(Event::Attempt {
                key,
                // An opener whose WireGuard keeps still has none.
                endpoint: endpoint.filter(|_| peer.link.initiator || peer.view.endpoint == peer.link.target),
                kind: peer.link.kind,
                initiator: peer.link.initiator,
                via,
                round: peer.link.round,
            });
        }
        if peer.pending.take(Pending::CONNECTED) && peer.link.phase.is_live() {
            peer.pending.clear(Pending::WAITING | Pending::MOVED);
            let took = now.saturating_duration_since(peer.link.began);
            if endpoint.map(crate::Endpoint::from) != peer.link.target {
                peer.link.kind = if on_lan { CandidateKind::Lan } else { CandidateKind::Roamed };
            }
            return Some(Event::Connected { key, endpoint, kind: peer.link.kind, via, took });
        }
        if peer.pending.take(Pending::WAITING)
            && let Some(reason) = peer.link.reason.filter(|_| !peer.link.phase.is_live())
            && peer.link.told != Some(reason)
        {
            peer.link.told = Some(reason);
            return Some(Event::Waiting { key, reason });
        }
        if peer.pending.take(Pending::MOVED)
            && let Some(endpoint) = endpoint
        {
            return Some(Event::Moved { key, endpoint, kind: peer.link.kind });
        }
        if peer.pending.take(Pending::LAN_BARRED)
            && let Some(endpoint) = self.lan.barred(place)
        {
            return Some(Event::LanBarred { key, endpoint: endpoint.into() });
        }
        let peer = self.peers.get_mut(place)?;
        if peer.pending.take(Pending::CONFLICT) {
            return Some(Event::RecordConflict { key });
        }
        None
    }
}
