//! Which peer an inner address belongs to: the longest prefix wins, and a prefix belongs to one peer at a time.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::{BTreeSet, HashMap};

use crate::mesh_box::key::Key;

/// An address range: the address has no bits beyond the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The range of `length` bits around an address; `None` if no such range exists.
    pub(crate) fn new(address: IpAddr, length: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(address) if length <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(address) if length <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
            _ => return None,
        };
        Some(Self { address, length })
    }

    /// Reads `ADDRESS/LENGTH`, or a lone address.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address.parse().ok()?, length.parse().ok()?),
            None => {
                let address: IpAddr = text.parse().ok()?;
                (address, if address.is_ipv4() { 32 } else { 128 })
            }
        };
        Self::new(address, length)
    }
}

impl core::fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "{}/{}", self.address, self.length)
    }
}

/// The table of one interface.
#[derive(Default)]
pub(crate) struct AllowedIps {
    owners: HashMap<Prefix, Key>,
    /// Lengths in use, so that a look-up tries no others. Lengths are never taken out: there are at most 129.
    lengths: BTreeSet<u8>,
}

impl AllowedIps {
    /// Gives a range to a peer, taking it from whoever had it.
    pub(crate) fn insert(&mut self, prefix: Prefix, peer: Key) {
        self.lengths.insert(prefix.length);
        self.owners.insert(prefix, peer);
    }

    /// Takes all ranges from a peer.
    pub(crate) fn remove_peer(&mut self, peer: &Key) {
        self.owners.retain(|_, owner| owner != peer);
    }

    /// The peer whose range with the longest prefix holds the address.
    pub(crate) fn lookup(&self, address: IpAddr) -> Option<Key> {
        self.lengths.iter().rev().find_map(|&length| self.owners.get(&Prefix::new(address, length)?).copied())
    }

    /// The ranges of a peer, in order.
    pub(crate) fn of_peer(&self, peer: &Key) -> Vec<Prefix> {
        let mut ranges: Vec<Prefix> =
            self.owners.iter().filter(|(_, owner)| *owner == peer).map(|(prefix, _)| *prefix).collect();
        ranges.sort_unstable();
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_prefix_wins_and_a_range_moves() {
        let (a, b, c) = (Key([1; 32]), Key([2; 32]), Key([3; 32]));
        let mut table = AllowedIps::default();
        for (range, peer) in [("0.0.0.0/0", a), ("10.14.0.0/16", b), ("10.14.0.7", c), ("fd00::/8", b)] {
            table.insert(Prefix::parse(range).unwrap(), peer);
        }
        let owner = |address: &str| table.lookup(address.parse().unwrap());
        assert_eq!(owner("192.0.2.1"), Some(a));
        assert_eq!(owner("10.14.9.9"), Some(b));
        assert_eq!(owner("10.14.0.7"), Some(c));
        assert_eq!(owner("fd12::1"), Some(b));
        assert_eq!(owner("2001:db8::1"), None);

        table.insert(Prefix::parse("10.14.0.7/32").unwrap(), a);
        assert_eq!(table.lookup("10.14.0.7".parse().unwrap()), Some(a));
        assert!(table.of_peer(&c).is_empty());
        table.remove_peer(&b);
        assert_eq!(table.lookup("10.14.9.9".parse().unwrap()), Some(a));
    }

    #[test]
    fn host_bits_are_cut_and_bad_ranges_refused() {
        assert_eq!(Prefix::parse("10.14.3.4/16").unwrap().to_string(), "10.14.0.0/16");
        assert_eq!(Prefix::parse("fd00::1").unwrap().to_string(), "fd00::1/128");
        for bad in ["10.0.0.0/33", "::/129", "10.0.0/8", "x", "10.0.0.1/-1", ""] {
            assert_eq!(Prefix::parse(bad), None, "{bad}");
        }
    }
}
