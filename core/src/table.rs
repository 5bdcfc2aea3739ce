//! The peers, found by place, by key or by mesh address.

use core::{net::IpAddr, ops::Range};

use embassy_time::Instant;
use heapless::Vec;

use crate::{
    AddPeerError, PublicKey,
    addr::{Scope, scope},
    peer::{Peer, Place},
};

/// Up to `PEERS` peers whose places stay as they are while they live.
///
/// Look-ups by key and by address are binary searches over two orders of 2 B per peer.
pub(crate) struct Table<const PEERS: usize> {
    peers: Vec<Peer, PEERS>,
    /// When each peer's phase is over; `Instant::MAX` for never. Beside the peers rather than in them: the next one is looked
    /// for all the time, and a peer is large.
    deadlines: Vec<Instant, PEERS>,
    by_key: Vec<Place, PEERS>,
    by_address: Vec<Place, PEERS>,
}

impl<const PEERS: usize> Table<PEERS> {
    pub(crate) const fn new() -> Self {
        // A place is a u16, and its highest value means "nobody".
        const { assert!(PEERS > 0 && PEERS < Place::MAX as usize) };
        Self { peers: Vec::new(), deadlines: Vec::new(), by_key: Vec::new(), by_address: Vec::new() }
    }

    /// Adds a peer and returns its place.
    pub(crate) fn add(&mut self, key: PublicKey, address: IpAddr) -> Result<Place, AddPeerError> {
        let address = address.to_canonical();
        if matches!(scope(address), Scope::Unusable) {
            return Err(AddPeerError::BadAddress);
        }
        let Err(at_key) = self.search_key(&key) else { return Err(AddPeerError::DuplicateKey) };
        let Err(at_address) = self.search_address(address) else {
            return Err(AddPeerError::DuplicateAddress);
        };
        let peer = Peer::new(key, address);
        let place = if let Some(free) = self.peers.iter().position(|p| p.vacant) {
            self.peers[free] = peer;
            self.set_deadline(free as Place, Instant::MAX);
            free
        } else {
            self.peers.push(peer).map_err(|_| AddPeerError::Full)?;
            // There is room for as many as there are peers.
            let _ = self.deadlines.push(Instant::MAX);
            self.peers.len() - 1
        };
        let place = place as Place;
        // Both orders have room: they hold at most the peers that are not vacant.
        let _ = self.by_key.insert(at_key, place);
        let _ = self.by_address.insert(at_address, place);
        Ok(place)
    }

    /// Frees a peer's place.
    pub(crate) fn remove(&mut self, place: Place) {
        if let Some(peer) = self.peers.get_mut(usize::from(place)) {
            peer.vacant = true;
            self.set_deadline(place, Instant::MAX);
            self.by_key.retain(|p| *p != place);
            self.by_address.retain(|p| *p != place);
        }
    }

    /// Places in use or once in use: 0 to this.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// When a peer's phase is over; `Instant::MAX` for never.
    pub(crate) fn deadline(&self, place: Place) -> Instant {
        self.deadlines.get(usize::from(place)).copied().unwrap_or(Instant::MAX)
    }

    pub(crate) fn set_deadline(&mut self, place: Place, at: Instant) {
        if let Some(deadline) = self.deadlines.get_mut(usize::from(place)) {
            *deadline = at;
        }
    }

    /// The first of all deadlines.
    pub(crate) fn next_deadline(&self) -> Instant {
        self.deadlines.iter().copied().min().unwrap_or(Instant::MAX)
    }

    pub(crate) fn clear_deadlines(&mut self) {
        self.deadlines.fill(Instant::MAX);
    }

    pub(crate) fn get(&self, place: Place) -> Option<&Peer> {
        self.peers.get(usize::from(place)).filter(|p| !p.vacant)
    }

    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut Peer> {
        self.peers.get_mut(usize::from(place)).filter(|p| !p.vacant)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Place, &Peer)> + Clone {
        self.peers.iter().enumerate().filter(|(_, p)| !p.vacant).map(|(i, p)| (i as Place, p))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Place, &mut Peer)> {
        self.peers.iter_mut().enumerate().filter(|(_, p)| !p.vacant).map(|(i, p)| (i as Place, p))
    }

    pub(crate) fn find(&self, key: &PublicKey) -> Option<Place> {
        self.search_key(key).ok().map(|at| self.by_key[at])
    }

    /// [`find`](Self::find), looking at that place first.
    pub(crate) fn find_near(&self, key: &PublicKey, likely: Place) -> Option<Place> {
        let there = self.get(likely).is_some_and(|p| p.key == *key);
        if there { Some(likely) } else { self.find(key) }
    }

    pub(crate) fn find_address(&self, address: IpAddr) -> Option<Place> {
        self.search_address(address.to_canonical()).ok().map(|at| self.by_address[at])
    }

    /// The first configured peer whose key begins with these eight bytes.
    pub(crate) fn find_short(&self, short: u64) -> Option<Place> {
        let at = self.by_key.partition_point(|p| self.peers[usize::from(*p)].key.short() < short);
        let place = *self.by_key.get(at)?;
        (self.peers[usize::from(place)].key.short() == short).then_some(place)
    }

    /// The stretch of the order of keys where `part`, which rises along it, has this value.
    pub(crate) fn stretch(&self, value: usize, part: impl Fn(&PublicKey) -> usize) -> Range<usize> {
        let of = |place: &Place| part(&self.peers[usize::from(*place)].key);
        let start = self.by_key.partition_point(|place| of(place) < value);
        start..self.by_key.partition_point(|place| of(place) <= value)
    }

    /// Who comes there in the order of keys.
    pub(crate) fn nth_key(&self, at: usize) -> Option<Place> {
        self.by_key.get(at).copied()
    }

    fn search_key(&self, key: &PublicKey) -> Result<usize, usize> {
        self.by_key.binary_search_by(|p| self.peers[usize::from(*p)].key.cmp(key))
    }

    fn search_address(&self, address: IpAddr) -> Result<usize, usize> {
        self.by_address.binary_search_by(|p| self.peers[usize::from(*p)].address.cmp(&address))
    }
}
