//! Cryptokey routing: which peer an address belongs to, by longest prefix.

use core::net::IpAddr;

use rustc_hash::FxHashMap as HashMap;

/// An address range of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllowedIp {
    /// Any address in it.
    pub address: IpAddr,
    /// Prefix length: 0–32 or 0–128; longer ones count as the longest.
    pub prefix: u8,
}

impl AllowedIp {
    /// The range of one address.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        Self { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }
}

/// Address family, prefix length and the address's bits in it, left-aligned.
type Range = (bool, u8, u128);

/// The device-wide table. A range belongs to one peer: who gets it last.
#[derive(Clone, Debug, Default)]
pub(super) struct AllowedIps {
    ranges: HashMap<Range, u16>,
    /// How many ranges there are of each prefix length, longest first, per family (IPv4, IPv6).
    lengths: [Vec<(u8, u32)>; 2],
}

const fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => (v4.to_bits() as u128) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

const fn masked(address: IpAddr, prefix: u8) -> Range {
    let mask = if prefix == 0 { 0 } else { u128::MAX << (128 - prefix as u32) };
    (address.is_ipv6(), prefix, bits(address) & mask)
}

fn range(allowed: AllowedIp) -> Range {
    masked(allowed.address, allowed.prefix.min(if allowed.address.is_ipv4() { 32 } else { 128 }))
}

impl AllowedIps {
    /// Gives a range to a peer; the answer is who had it.
    pub(super) fn insert(&mut self, allowed: AllowedIp, peer: u16) -> Option<u16> {
        let range = range(allowed);
        let before = self.ranges.insert(range, peer);
        if before.is_none() {
            let lengths = &mut self.lengths[usize::from(range.0)];
            match lengths.binary_search_by(|(length, _)| range.1.cmp(length)) {
                Ok(at) => lengths[at].1 += 1,
                Err(at) => lengths.insert(at, (range.1, 1)),
            }
        }
        before.filter(|other| *other != peer)
    }

    /// Takes a range away from a peer, if it is the peer's.
    pub(super) fn remove(&mut self, allowed: AllowedIp, peer: u16) {
        let range = range(allowed);
        if self.ranges.get(&range) == Some(&peer) {
            self.ranges.remove(&range);
            let lengths = &mut self.lengths[usize::from(range.0)];
            if let Ok(at) = lengths.binary_search_by(|(length, _)| range.1.cmp(length)) {
                lengths[at].1 -= 1;
                if lengths[at].1 == 0 {
                    lengths.remove(at);
                }
            }
        }
    }

    /// Whose an address is.
    pub(super) fn lookup(&self, address: IpAddr) -> Option<u16> {
        let lengths = &self.lengths[usize::from(address.is_ipv6())];
        lengths.iter().find_map(|(length, _)| self.ranges.get(&masked(address, *length)).copied())
    }

    /// Whether two ranges are the same one.
    pub(super) fn same(a: AllowedIp, b: AllowedIp) -> bool {
        range(a) == range(b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> AllowedIp {
        let (address, prefix) = text.split_once('/').unwrap();
        AllowedIp { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
    }

    #[test]
    fn the_longest_prefix_wins() {
        let mut table = AllowedIps::default();
        for (range, peer) in [("10.0.0.0/8", 1), ("10.1.0.0/16", 2), ("10.1.2.3/32", 3), ("0.0.0.0/0", 4)] {
            assert_eq!(table.insert(ip(range), peer), None);
        }
        table.insert(ip("fd00::/64"), 5);
        let who = |table: &AllowedIps, address: &str| table.lookup(address.parse().unwrap());
        assert_eq!(who(&table, "10.9.9.9"), Some(1));
        assert_eq!(who(&table, "10.1.9.9"), Some(2));
        assert_eq!(who(&table, "10.1.2.3"), Some(3));
        assert_eq!(who(&table, "192.0.2.1"), Some(4));
        assert_eq!(who(&table, "fd00::1"), Some(5));
        assert_eq!(who(&table, "fd01::1"), None, "0.0.0.0/0 is IPv4 only");
        table.remove(ip("10.1.2.3/32"), 9);
        assert_eq!(who(&table, "10.1.2.3"), Some(3), "not peer 9's");
        table.remove(ip("10.1.2.3/32"), 3);
        assert_eq!(who(&table, "10.1.2.3"), Some(2));
    }

    #[test]
    fn a_range_moves_to_who_gets_it_last() {
        let mut table = AllowedIps::default();
        assert_eq!(table.insert(ip("10.0.0.1/32"), 1), None);
        assert_eq!(table.insert(ip("10.0.0.1/32"), 1), None);
        assert_eq!(table.insert(ip("10.0.0.1/40"), 2), Some(1));
        assert_eq!(table.lookup("10.0.0.1".parse().unwrap()), Some(2));
    }
}
