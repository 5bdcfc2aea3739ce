//! Who sent handshake initiations to whom, and which of them crossed on the wire.

use std::collections::{BTreeMap, HashMap};

use embassy_time::Instant;
use wgautomesh_core::PublicKey;

use super::node::key_of;
use crate::virtual_internet::wireguard::initiation;

/// Initiations under way that are remembered, per direction. They come seconds apart, or tens of milliseconds at the least.
const UNDER_WAY: usize = 8;

/// Counts handshake initiations, by who sent them and to whom.
///
/// Two initiations cross when each side's arrives after the other side's has left: each then has forgotten its own, and
/// both answers are refused.
pub struct Handshakes {
    numbers: HashMap<PublicKey, usize>,
    ways: BTreeMap<(usize, usize), Way>,
    crossed: Vec<(Instant, usize, usize)>,
}

/// What one node has sent to one other.
#[derive(Debug, Default)]
struct Way {
    sent: u32,
    under_way: Vec<(u64, Instant)>,
    arrived: Option<Instant>,
}

impl Handshakes {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            numbers: (0..nodes).map(|n| (key_of(n), n)).collect(),
            ways: BTreeMap::new(),
            crossed: Vec::new(),
        }
    }

    fn read(&self, datagram: &[u8]) -> Option<(usize, usize, u64)> {
        let (from, to, id) = initiation(datagram)?;
        let number = |key| self.numbers.get(&PublicKey::from_bytes(key)).copied();
        Some((number(from)?, number(to)?, id))
    }

    pub(super) fn note_sent(&mut self, now: Instant, datagram: &[u8]) {
        let Some((from, to, id)) = self.read(datagram) else { return };
        let way = self.ways.entry((from, to)).or_default();
        way.sent += 1;
        if way.under_way.len() >= UNDER_WAY {
            way.under_way.remove(0);
        }
        way.under_way.push((id, now));
    }

    pub(super) fn note_arrived(&mut self, now: Instant, datagram: &[u8]) {
        let Some((from, to, id)) = self.read(datagram) else { return };
        let back = self.ways.get(&(to, from)).and_then(|way| way.arrived);
        let Some(way) = self.ways.get_mut(&(from, to)) else { return };
        // A copy that the network made is not under way any more.
        let Some(at) = way.under_way.iter().position(|(known, _)| *known == id) else { return };
        let (_, sent) = way.under_way.remove(at);
        way.arrived = Some(now);
        if back.is_some_and(|back| back > sent) {
            self.crossed.push((now, from, to));
        }
    }

    /// Pairs of initiations that crossed: when the second arrived, from whom and at whom.
    #[must_use]
    pub fn crossed(&self) -> &[(Instant, usize, usize)] {
        &self.crossed
    }

    /// How many initiations either side has sent to the other.
    #[must_use]
    pub fn of_pair(&self, a: usize, b: usize) -> u32 {
        [(a, b), (b, a)].iter().filter_map(|way| self.ways.get(way)).map(|way| way.sent).sum()
    }
}
