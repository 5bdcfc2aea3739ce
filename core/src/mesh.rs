//! The engine: one type, its inputs and its outputs. The rules are in the modules below it, by subject.

use core::net::{IpAddr, SocketAddr};

use embassy_time::{Duration, Instant};
use heapless::{Deque, Vec};
use rand_core::TryCryptoRng;

use crate::{
    AddPeerError, CandidateKind, Counters, Endpoint, Interface, LinkState, NodeStatus, PeerStatus, PublicKey,
    SharedKey,
    alarm::Alarm,
    limits::{
        LATEST, MAX_ANSWERS, MAX_INTRODUCTIONS, MAX_LOCAL_ADDRESSES, MAX_MAPPINGS, MAX_RECENT_PAIRS,
        MAX_RECONCILIATIONS, MAX_SECRETS, MAX_TELLS, OVERSLEPT, READ_LOST, WAITING_GRACE,
    },
    peer::{Asked, NOBODY, Peer, Pending, Phase, Place, Prepare},
    record::{Order, RecordEndpoint},
    table::Table,
};

mod asking;
mod candidates;
mod connect;
mod emit;
mod gossip;
mod knock;
mod lan;
mod links;
mod liveness;
#[cfg(feature = "map")]
mod map;
mod mediate;
mod memory;
mod observers;
mod openers;
mod own;
mod reading;
mod receive;
mod tell;

use gossip::Gossip;
use lan::Lan;
use links::Links;
#[cfg(feature = "map")]
pub use map::LinkTold;
use mediate::{Introduction, RecentPair};
use observers::Observers;
pub use openers::OPENER_MAGIC;
use openers::Openers;
use own::Own;
use reading::Readings;
use tell::PendingTell;
pub use tell::{Answer, AskError};

/// A node of the mesh, with room for `PEERS` peers, 1 to 65,534 (ourselves, if listed, included). Each place costs about
/// 640 bytes.
///
/// It owns no socket, no clock and no memory but its own. Its caller tells it what happened and does what it says:
///
/// - **Getters** take `&self`: [`peers`](Self::peers), [`node`](Self::node), [`counters`](Self::counters),
///   [`poll_timeout`](Self::poll_timeout), [`stored_records`](Self::stored_records), [`endpoints_of`](Self::endpoints_of).
/// - **What came in**: [`handle_interface`](Self::handle_interface),
///   [`handle_local_addresses`](Self::handle_local_addresses), [`handle_lan_links`](Self::handle_lan_links),
///   [`handle_port_mappings`](Self::handle_port_mappings), [`handle_datagram`](Self::handle_datagram),
///   [`handle_opener`](Self::handle_opener), [`handle_lan_datagram`](Self::handle_lan_datagram),
///   [`begin_reading`](Self::begin_reading) … [`end_reading`](Self::end_reading),
///   [`handle_action_error`](Self::handle_action_error), [`handle_stored_record`](Self::handle_stored_record),
///   [`handle_timeout`](Self::handle_timeout).
/// - **Commands**: [`set_secrets`](Self::set_secrets), [`set_secrets_after`](Self::set_secrets_after),
///   [`add_peer`](Self::add_peer),
///   [`release_peer`](Self::release_peer), [`remove_peer`](Self::remove_peer),
///   [`set_configured_endpoints`](Self::set_configured_endpoints), [`ask`](Self::ask),
///   [`ask_through`](Self::ask_through), `ask_links` (feature `map`), [`shutdown`](Self::shutdown).
/// - **What goes out**: [`poll`](Self::poll).
///
/// After every input, call `poll` until it returns `None`; then sleep until `poll_timeout`, or until something comes
/// in, whichever is first. Time is the caller's, monotonic, and never runs backwards; there is no wall clock. Calling
/// `handle_timeout` early is harmless.
///
/// Every input is handled in O(`PEERS`) steps at most, and no input makes it panic. What goes out after it is bounded
/// too: at most one datagram per peer and kind of message, with records as many as these take, and the introductions
/// that were asked for ([`MAX_INTRODUCTIONS`]). The same inputs and the same random numbers give the same outputs.
pub struct Mesh<const PEERS: usize> {
    peers: Table<PEERS>,
    /// The oldest first.
    secrets: Vec<SharedKey, MAX_SECRETS>,
    /// Which of them those are sent who have shown none.
    present: u8,
    interface: Option<Interface>,
    local: Vec<IpAddr, MAX_LOCAL_ADDRESSES>,
    /// Where gateways let others in to us.
    mapped: Vec<Endpoint, MAX_MAPPINGS>,
    own: Own,
    readings: Readings,
    gossip: Gossip,
    reconciling: Vec<gossip::Reconciliation, MAX_RECONCILIATIONS>,
    introductions: Deque<Introduction, MAX_INTRODUCTIONS>,
    refusal: Option<(Place, PublicKey)>,
    recent_pairs: Deque<RecentPair, MAX_RECENT_PAIRS>,
    openers: Openers,
    observers: Observers,
    lan: Lan,
    tells: Deque<PendingTell, MAX_TELLS>,
    /// Answers to our questions, until they are polled.
    answers: Deque<Answer, MAX_ANSWERS>,
    links: Links,
    news: News,
    /// Eighths of shots of the budget that were taken and are not refilled yet, and when that was last reckoned.
    shots: u32,
    shots_at: Instant,
    /// Random numbers that nobody is hurt by foreseeing: jitter, whom to compare digests with.
    dice: u64,
    /// How much later than it was asked for a wake-up came of late: how busy this machine is.
    late: Duration,
    /// No timer is due before this.
    next: Alarm,
    /// Where the next poll goes on.
    cursor: Place,
    /// Peers that have something pending, as far as there is room.
    due: Deque<Place, 32>,
    /// Others have too, or one of the queues.
    busy: bool,
    /// Live peers.
    live: usize,
    /// Whether WireGuard is to be changed.
    acting: bool,
    leaving: bool,
    counters: Counters,
}

/// Events that concern no peer, and how many packets were dropped when that was last told.
struct News {
    interface_up: bool,
    interface_down: bool,
    key_elsewhere: bool,
    no_randomness: bool,
    randomness_fails: bool,
    dropped: bool,
    dropped_told: u32,
    dropped_told_at: Instant,
    /// What is worth storing has changed.
    store: bool,
    report_at: Alarm,
    /// When peers that are still not connected are told about.
    waiting_at: Alarm,
}

impl<const PEERS: usize> Mesh<PEERS> {
    /// A node without secrets, peers or interface: it does nothing until it has all three.
    ///
    /// Nothing in it is a one bit, so that a `static` that holds it, however many its peers, lies in `.bss` and takes
    /// no room in the program's file or in flash: an alarm that is unset, a budget of which nothing is spent and an
    /// own record that was never made are zeroes all through. (A test of the crate looks into its own program for it.)
    #[must_use]
    pub const fn new() -> Self {
        Self {
            peers: Table::new(),
            secrets: Vec::new(),
            present: 0,
            interface: None,
            local: Vec::new(),
            mapped: Vec::new(),
            own: Own::new(),
            readings: Readings::new(),
            gossip: Gossip::new(),
            reconciling: Vec::new(),
            introductions: Deque::new(),
            refusal: None,
            recent_pairs: Deque::new(),
            openers: Openers::new(),
            observers: Observers::new(),
            lan: Lan::new(),
            tells: Deque::new(),
            answers: Deque::new(),
            links: Links::new(),
            news: News {
                interface_up: false,
                interface_down: false,
                key_elsewhere: false,
                no_randomness: false,
                randomness_fails: false,
                dropped: false,
                dropped_told: 0,
                dropped_told_at: Instant::MIN,
                store: false,
                report_at: Alarm::unset(),
                waiting_at: Alarm::unset(),
            },
            shots: 0,
            shots_at: Instant::MIN,
            dice: 0,
            late: Duration::from_ticks(0),
            next: Alarm::unset(),
            cursor: 0,
            due: Deque::new(),
            busy: false,
            live: 0,
            acting: false,
            leaving: false,
            counters: Counters::new(),
        }
    }

    // ---- commands

    /// Sets the secrets: the present one, and while the mesh is changing over the next one after it. More than
    /// [`MAX_SECRETS`] are not kept. Datagrams sealed with either are accepted; each peer is sent the newest that
    /// it has shown, and the present one until it has shown any.
    ///
    /// What peers have shown of secrets that stay is kept, and those that are connected are told at once which there are.
    pub fn set_secrets(&mut self, secrets: impl IntoIterator<Item = SharedKey>) {
        self.take_secrets(secrets, 0);
    }

    /// As [`set_secrets`](Self::set_secrets), when the mesh has changed over: the present secret, and the one before it, with
    /// which whoever has shown no other is still sent to.
    ///
    /// In between lies what makes it safe to go from one secret to another node by node. While there is a next secret everybody
    /// understands it and nobody depends on it; from here on everybody uses it, and still understands the one before. So
    /// nodes may be one step apart at any time, whether they have heard of each other or have just started.
    pub fn set_secrets_after(&mut self, before: SharedKey, present: SharedKey) {
        self.take_secrets([before, present], 1);
    }

    fn take_secrets(&mut self, secrets: impl IntoIterator<Item = SharedKey>, present: u8) {
        let before = core::mem::take(&mut self.secrets);
        for secret in secrets.into_iter().take(MAX_SECRETS) {
            // There is room: no more than fit were taken.
            let _ = self.secrets.push(secret);
        }
        self.present = present;
        for (_, peer) in self.peers.iter_mut() {
            let shown = peer.secret.and_then(|shown| before.get(usize::from(shown)));
            let stays = shown.and_then(|shown| self.secrets.iter().position(|secret| secret.is(shown)));
            peer.secret = stays.map(|place| place as u8);
        }
        self.rehash();
        for place in 0..self.peers.len() as Place {
            if self.peers.get(place).is_some_and(Peer::is_live) {
                self.request(place, Pending::HELLO);
            }
        }
    }

    /// Configures a peer. An entry with our own key is ourselves, and is not connected to.
    ///
    /// # Errors
    /// See [`AddPeerError`]; nothing has changed then.
    pub fn add_peer(&mut self, now: Instant, key: PublicKey, address: IpAddr) -> Result<(), AddPeerError> {
        let place = self.peers.add(key, address)?;
        if self.interface.is_some_and(|i| i.public_key == key) {
            self.own.place = Some(place);
            if let Some(peer) = self.peers.get_mut(place) {
                peer.us = true;
            }
        } else if self.interface.is_some() {
            // The reading shows whether WireGuard knows the peer already, and starts the connecting.
            if let Some(peer) = self.peers.get_mut(place) {
                peer.link.since = now;
            }
            self.readings.want();
        }
        Ok(())
    }

    /// Gives WireGuard back what it had of a peer: the keepalive, and where there is no session an endpoint to begin with. For
    /// a peer that WireGuard had before this engine knew of it and that is about to be removed here: poll until `None`, then
    /// [`remove_peer`](Self::remove_peer). One that this engine added is removed there too, and needs nothing.
    pub fn release_peer(&mut self, key: &PublicKey) {
        let Some(place) = self.peers.find(key) else { return };
        let Some(peer) = self.peers.get_mut(place).filter(|p| p.is_other() && p.view.present && !p.view.ours)
        else {
            return;
        };
        let pending = peer.give_back();
        if pending != Pending::default() {
            self.request(place, pending);
        }
    }

    /// Drops a peer: it is no longer connected, gossiped about or listened to. WireGuard loses the peer only where this
    /// engine added it; sixteen such removals may wait to be polled. Returns whether it is gone: `false` where it was not
    /// configured, or where that many wait.
    #[must_use = "tells whether there was such a peer, and whether it is gone"]
    pub fn remove_peer(&mut self, now: Instant, key: &PublicKey) -> bool {
        let Some(place) = self.peers.find(key) else { return false };
        let ours = self.peers.get(place).is_some_and(|p| p.view.ours && p.view.present);
        if ours && self.gossip.removed.is_full() {
            return false;
        }
        if ours {
            // There is room, as just seen.
            let _ = self.gossip.removed.push_back(*key);
        }
        if self.own.place == Some(place) {
            self.own.place = None;
        }
        self.live -= usize::from(self.peers.get(place).is_some_and(Peer::is_live));
        self.news.store |= self.peers.get(place).is_some_and(|p| !p.good.is_empty());
        self.forget_place(place);
        self.peers.remove(place);
        self.rehash();
        self.note_degree(now);
        self.refresh_own_soon(now);
        true
    }

    /// Sets the endpoints that the configuration gives for a peer, in place of those given before; a name stands for all
    /// its addresses. The first [`MAX_CONFIGURED_ENDPOINTS`](crate::limits::MAX_CONFIGURED_ENDPOINTS) usable ones are
    /// kept. An unknown key is ignored.
    pub fn set_configured_endpoints(&mut self, now: Instant, key: &PublicKey, endpoints: &[SocketAddr]) {
        let Some(place) = self.peers.find(key) else { return };
        let Some(peer) = self.peers.get_mut(place) else { return };
        let before = peer.configured.clone();
        peer.configured.clear();
        for endpoint in endpoints {
            let endpoint = Endpoint::from(*endpoint);
            if endpoint.scope() != crate::Scope::Unusable && !peer.configured.contains(&endpoint) {
                let _ = peer.configured.push(endpoint);
            }
        }
        if peer.configured != before {
            self.reconsider(place, now);
        }
    }

    /// Says goodbye to the live peers and gives every other peer its last good endpoint back, so that WireGuard goes on by
    /// itself. Poll until `None`, and stop.
    pub fn shutdown(&mut self) {
        if core::mem::replace(&mut self.leaving, true) {
            return;
        }
        for (_, peer) in self.peers.iter_mut().filter(|(_, p)| p.is_other()) {
            peer.pending.clear(Pending::DATAGRAMS);
            if peer.link.phase.is_live() {
                peer.pending.set(Pending::BYE);
            } else if !peer.link.phase.has_session() && peer.view.present {
                let pending = peer.give_back();
                peer.pending.set(pending);
            }
        }
        self.peers.clear_deadlines();
        self.introductions.clear();
        self.openers.clear();
        self.leave_lan();
        self.refusal = None;
        self.busy = true;
        self.acting = true;
        self.recompute_next();
    }

    // ---- what came in

    /// The interface is as given, or gone. To be called once at the start and then whenever it changed: a new index, key
    /// or listen port.
    pub fn handle_interface(&mut self, now: Instant, interface: Option<Interface>) {
        if self.interface == interface {
            return;
        }
        let before = core::mem::replace(&mut self.interface, interface);
        let Some(interface) = interface else {
            self.news.interface_down = true;
            self.news.interface_up = false;
            self.reset_links(now);
            return;
        };
        if before.is_none_or(|b| b.index != interface.index || b.public_key != interface.public_key) {
            self.reset_links(now);
            self.news.interface_up = true;
            self.own.place = self.peers.find(&interface.public_key);
            for (place, peer) in self.peers.iter_mut() {
                peer.us = Some(place) == self.own.place;
            }
            if self.own.claim.order == Order::NONE {
                // Without a key it was nobody's.
                self.own.claim.order = Order::FIRST;
            }
            self.rehash();
            self.readings.want();
        }
        self.refresh_own_soon(now);
    }

    /// Our own addresses: those of interfaces that are up, tunnels, deprecated and temporary-out-of-date addresses left
    /// out. To be called at the start and whenever they changed. The first
    /// [`MAX_LOCAL_ADDRESSES`] usable ones are kept.
    pub fn handle_local_addresses(&mut self, now: Instant, addresses: &[IpAddr]) {
        let before = self.local.clone();
        self.local.clear();
        for address in addresses {
            let address = address.to_canonical();
            let usable = matches!(crate::scope(address), crate::Scope::Private | crate::Scope::Public);
            let in_mesh = self.peers.find_address(address).is_some();
            if usable && !in_mesh && !self.local.contains(&address) {
                let _ = self.local.push(address);
            }
        }
        if self.local != before {
            self.observers.clear();
            self.refresh_own_soon(now);
            if !before.is_empty() {
                self.local_addresses_changed(now);
            }
        }
    }

    /// The port mappings that there are now, in place of those of before; none when the last one was lost. Each is where a
    /// gateway lets anybody in to WireGuard's port: its own public address and the port it gave, or with an IPv6 pinhole our
    /// own. What is not public is of no use to others and is left out; of the rest the first [`MAX_MAPPINGS`] are kept.
    pub fn handle_port_mappings(&mut self, now: Instant, mapped: &[SocketAddr]) {
        let before = self.mapped.clone();
        self.mapped.clear();
        for endpoint in mapped.iter().map(|m| Endpoint::from(*m)) {
            if endpoint.scope() == crate::Scope::Public && !self.mapped.contains(&endpoint) {
                let _ = self.mapped.push(endpoint);
            }
        }
        if self.mapped != before {
            self.refresh_own_soon(now);
        }
    }

    /// The time has come that [`poll_timeout`](Self::poll_timeout) named. The random numbers only spread load.
    pub fn handle_timeout<R: TryCryptoRng>(&mut self, now: Instant, rng: &mut R) {
        let mut seed = [0; 8];
        if self.dice == 0 && rng.try_fill_bytes(&mut seed).is_ok() {
            self.dice = u64::from_le_bytes(seed) | 1;
        }
        if self.next.at() > now {
            return;
        }
        let late = now.saturating_duration_since(self.next.at());
        if late > OVERSLEPT {
            self.wake_up(now);
        } else {
            self.late = late.min(LATEST).max(self.late * 7 / 8);
        }
        if !self.leaving {
            for place in 0..self.peers.len() as Place {
                if self.peers.deadline(place) <= now {
                    self.link_timeout(place, now);
                }
            }
            self.reading_timeout(now);
            self.gossip_timeout(now);
            self.own_timeout(now);
            self.openers_timeout(now);
            self.lan_timeout(now);
        }
        if self.news.waiting_at.take_due(now) {
            self.tell_waiting(now);
        }
        if self.news.report_at.take_due(now) {
            self.news.dropped = true;
        }
        self.recompute_next();
    }

    // ---- getters

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; `None` for not at all. After
    /// `handle_timeout(now)` it lies after `now`, or an output is pending.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        Some(self.next.at()).filter(|at| *at != Instant::MAX)
    }

    /// How many peers are connected: the same as [`NodeStatus::connected`], and nothing else looked at.
    #[must_use]
    pub const fn connected(&self) -> usize {
        self.live
    }

    /// A digest of all records held: two nodes with the same peers that know the same have the same.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.gossip.digest
    }

    /// All configured peers but ourselves, in no particular order.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus> {
        self.peers.iter().filter(|(_, p)| p.is_other()).map(|(place, peer)| {
            let link = &peer.link;
            let state = link_state(link.phase);
            PeerStatus {
                key: peer.key,
                address: peer.address,
                state,
                endpoint: peer.view.endpoint.map(SocketAddr::from),
                kind: peer.view.endpoint.map(|_| link.kind),
                rtt: (link.rtt.as_ticks() > 0).then_some(link.rtt),
                handshake_at: Some(peer.view.stamp_changed)
                    .filter(|at| peer.view.stamp != 0 && *at != Instant::MIN),
                had_handshake: peer.view.stamp != 0,
                rx_bytes: peer.view.rx,
                tx_bytes: peer.view.tx,
                reason: if link.phase.is_live() { None } else { link.reason },
                via: self.peers.get(link.via).map(|p| p.key),
                since: (link.since != Instant::MIN).then_some(link.since),
                nats: peer.held.claim.as_ref().map(crate::record::Claim::nats).unwrap_or_default(),
                listen_port: peer.held.claim.as_ref().map_or(0, |claim| claim.port),
                sees_us_at: peer.sees_us_at.filter(|_| link.phase.is_live()),
                lan_barred: self.lan.barred(place),
                outside: peer.held.claim.as_ref().and_then(crate::record::Claim::outside),
                mapped: peer.held.claim.as_ref().is_some_and(crate::record::Claim::is_mapped),
                has_newest_secret: peer
                    .secret
                    .is_some_and(|shown| usize::from(shown) + 1 == self.secrets.len()),
            }
        })
    }

    /// Where a peer may be reached as far as we know, best first, and what each place is; empty for a stranger.
    pub fn endpoints_of(&self, peer: &PublicKey) -> impl Iterator<Item = (SocketAddr, CandidateKind)> {
        let candidates = self.peers.find(peer).map(|place| self.candidates(place, false)).unwrap_or_default();
        candidates.into_iter().map(|(endpoint, kind)| (endpoint.into(), kind))
    }

    /// This node: its interface, and what others see of it.
    #[must_use]
    pub fn node(&self) -> NodeStatus {
        NodeStatus {
            interface: self.interface,
            address: self.own_peer().map(|p| p.address),
            seen: self.seen_at(),
            nats: self.own.claim.nats(),
            record: (self.own.claim.order.incarnation, self.own.claim.order.seq),
            peers: self.peers.iter().filter(|(_, p)| p.is_other()).count(),
            connected: self.connected(),
            digest: self.digest(),
        }
    }

    /// What was counted since the start.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    // ---- what the modules share

    /// Our own key, while we know it.
    fn own_key(&self) -> Option<PublicKey> {
        self.interface.map(|i| i.public_key)
    }

    /// The peer list's entry for ourselves.
    fn own_peer(&self) -> Option<&Peer> {
        self.peers.get(self.own.place?)
    }

    /// Something is pending for a peer.
    fn request(&mut self, place: Place, what: Pending) {
        if let Some(peer) = self.peers.get_mut(place)
            && (!self.leaving || what.has(Pending::BYE))
        {
            peer.pending.set(what);
            self.acting |= what.has(Pending::ACTIONS);
            // Beyond what is noted here, all peers are looked through.
            self.busy |= self.due.push_back(place).is_err();
        }
    }

    /// Brings a link to a phase that ends at the deadline.
    fn enter(&mut self, place: Place, phase: Phase, deadline: Instant) {
        if let Some(peer) = self.peers.get_mut(place) {
            if peer.link.phase != phase {
                debug_assert!(peer.link.phase.may_become(phase), "the table of phases holds");
                trace!("{} {:?} -> {:?}", LogKey(&peer.key), LogPhase(peer.link.phase), LogPhase(phase));
                peer.link.hellos = 0;
                if !matches!(phase, Phase::Idle | Phase::Opening) {
                    peer.link.prepare = Prepare::Nothing;
                }
            }
            let was_live = core::mem::replace(&mut peer.link.phase, phase).is_live();
            // One at most, and it was counted when it came up.
            self.live = self.live + usize::from(phase.is_live()) - usize::from(was_live);
            self.peers.set_deadline(place, deadline);
            self.arm(deadline);
        }
    }

    /// A timer is set.
    fn arm(&mut self, at: Instant) {
        self.next.set_by(at);
    }

    /// The machine has slept, or the program was stopped: sessions and NATs may be gone, and every wait is over.
    fn wake_up(&mut self, now: Instant) {
        self.probe_all(now);
        self.reconsider_all(now);
        self.begin_beacons(now);
    }

    fn recompute_next(&mut self) {
        let links = self.peers.next_deadline();
        self.next.set(links.min(self.news.report_at.at()).min(self.news.waiting_at.at()));
        if !self.leaving {
            let shared =
                self.readings.next.at().min(self.gossip.next(self.readings.next)).min(self.own.next());
            self.next.set_by(shared.min(self.openers.next()).min(self.lan.next()));
        }
    }

    /// A number below `bound` that spreads load; not for secrets.
    fn roll(&mut self, bound: u64) -> u64 {
        // splitmix64 (Steele, Lea, Flood 2014).
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    /// The duration, 20 % longer or shorter.
    fn jitter(&mut self, duration: Duration) -> Duration {
        let ticks = duration.as_ticks();
        Duration::from_ticks(ticks - ticks / 5 + self.roll(ticks / 5 * 2 + 1))
    }

    /// The reason why a peer is not connected has changed. Most such reasons last for milliseconds; those that stand for
    /// [`WAITING_GRACE`] are told.
    fn note_waiting(&mut self, now: Instant) {
        self.news.waiting_at.set_by(now.saturating_add(WAITING_GRACE));
        self.arm(self.news.waiting_at.at());
    }

    fn tell_waiting(&mut self, now: Instant) {
        for (_, peer) in self.peers.iter_mut().filter(|(_, p)| p.is_other()) {
            let link = &peer.link;
            let resting = matches!(link.phase, Phase::Idle | Phase::Mute);
            if !resting || link.reason.is_none() || link.told == link.reason {
                continue;
            }
            let told_at = link.began.saturating_add(WAITING_GRACE);
            if told_at <= now {
                peer.pending.set(Pending::WAITING);
                self.busy = true;
            } else {
                self.news.waiting_at.set_by(told_at);
            }
        }
    }

    /// A packet was dropped, and counted by the caller: it is reported some time.
    fn note_drop(&mut self, now: Instant) {
        if !self.news.report_at.is_set() && !self.news.dropped {
            let after = crate::limits::REPORT_INTERVAL;
            let first = self.news.dropped_told_at == Instant::MIN;
            let at = if first { now } else { self.news.dropped_told_at.saturating_add(after).max(now) };
            // The first drop waits for company too: a burst is one line.
            self.news.report_at.set(at.saturating_add(Duration::from_secs(1)));
            self.arm(self.news.report_at.at());
        }
    }

    /// The interface went or was made anew: every session is gone, and all that WireGuard showed.
    fn reset_links(&mut self, now: Instant) {
        let present = self.interface.is_some();
        for (_, peer) in self.peers.iter_mut() {
            let was_live = peer.link.phase.is_live();
            let mut view = crate::peer::View::new();
            view.user_keepalive = peer.view.user_keepalive;
            view.ours = peer.view.ours;
            peer.view = view;
            let mut link = crate::peer::Link::new();
            link.since = if was_live { now } else { peer.link.since };
            link.began = now;
            link.muted_until = peer.link.muted_until;
            link.reason = (!present).then_some(crate::Reason::NoInterface);
            peer.link = link;
            peer.pending = Pending::default();
            peer.sees_us_at = None;
            peer.mediated = None;
            if was_live {
                peer.pending.set(Pending::LOST);
                peer.link.reason = Some(crate::Reason::NoInterface);
                peer.link.told = peer.link.reason;
                self.busy = true;
            }
        }
        self.live = 0;
        self.openers.clear();
        self.observers.clear();
        self.lan.clear();
        self.peers.clear_deadlines();
        self.introductions.clear();
        self.reconciling.clear();
        self.readings = Readings::new();
        if present {
            self.readings.next.set(now.saturating_add(READ_LOST));
        }
        self.gossip.stop();
        self.recompute_next();
    }

    /// No other state names this place any more.
    fn forget_place(&mut self, place: Place) {
        for (_, peer) in self.peers.iter_mut() {
            if peer.asked.before() == place {
                peer.asked = Asked::NOBODY;
            }
            let link = &mut peer.link;
            for named in [&mut link.via, &mut peer.held.bringer, &mut peer.held.mediator] {
                if *named == place {
                    *named = NOBODY;
                }
            }
        }
        self.reconciling.retain(|r| r.with != place);
        self.recent_pairs.retain(|pair| !pair.names(place));
        self.introductions.retain(|intro| !intro.names(place));
        self.tells.retain(|tell| tell.to != place);
        self.links.forget(place);
        self.openers.forget_place(place);
        self.observers.forget(place);
        self.lan.forget(place);
        self.refusal = self.refusal.filter(|(to, _)| *to != place);
    }
}

impl<const PEERS: usize> Default for Mesh<PEERS> {
    fn default() -> Self {
        Self::new()
    }
}

const fn link_state(phase: Phase) -> LinkState {
    match phase {
        Phase::Idle => LinkState::Waiting,
        Phase::Live => LinkState::Connected,
        Phase::Probing => LinkState::Probing,
        Phase::Mute => LinkState::Mute,
        Phase::Presumed
        | Phase::Yielding
        | Phase::Asking
        | Phase::Waiting
        | Phase::Firing
        | Phase::Fired
        | Phase::Opening
        | Phase::Ending
        | Phase::Heard
        | Phase::Greeting => LinkState::Connecting,
    }
}

/// A key in a log line, by its first characters, on every log backend.
struct LogKey<'a>(&'a PublicKey);

impl core::fmt::Display for LogKey<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:.8}", self.0)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for LogKey<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=[u8]:02x}", self.0.as_bytes()[..4]);
    }
}

/// What a record says where its subject is, in a log line, on every log backend.
struct LogEndpoints<'a>(&'a [RecordEndpoint]);

impl core::fmt::Display for LogEndpoints<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|e| e.endpoint)).finish()
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for LogEndpoints<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        self.0.iter().for_each(|e| defmt::write!(f, "{} ", e.endpoint));
    }
}

/// A phase in a log line, on every log backend.
struct LogPhase(Phase);

impl core::fmt::Debug for LogPhase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for LogPhase {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=u8}", self.0 as u8);
    }
}

#[cfg(test)]
mod tests;
