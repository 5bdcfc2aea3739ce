//! Handshake initiations on the wire, by who sent them and to whom.
//!
//! They are seen where they leave the sender's wan, so that one which a NAT drops counts as well. Whom one is for is not
//! read from its destination, which may be a NAT's: its MAC says so (WireGuard's whitepaper, 5.4.4).

use blake2::digest::{KeyInit, Mac};
use blake2::{Blake2s256, Blake2sMac, Digest, digest::consts::U16};

use super::key::Key;

/// What an initiation begins with: its type, and three bytes that are reserved.
const TYPE: [u8; 4] = [1, 0, 0, 0];
/// How long one is.
const LENGTH: usize = 148;
/// As much of it is under the MAC that follows.
const SIGNED: usize = 116;

/// Whether a UDP datagram is one.
pub(super) fn is_initiation(datagram: &[u8]) -> bool {
    datagram.len() == LENGTH && datagram.starts_with(&TYPE)
}

/// Counts initiations.
pub(super) struct Initiations {
    /// The key of the MACs of what is for each node.
    keys: Vec<[u8; 32]>,
    /// By sender, then by whom they are for.
    counts: Vec<Vec<u32>>,
}

impl Initiations {
    /// Between nodes with these public keys.
    pub(super) fn new(nodes: impl Iterator<Item = Key>) -> Self {
        let keys: Vec<_> = nodes.map(mac_key).collect();
        let counts = vec![vec![0; keys.len()]; keys.len()];
        Self { keys, counts }
    }

    /// A UDP datagram has left this node.
    pub(super) fn note(&mut self, from: usize, datagram: &[u8]) {
        if !is_initiation(datagram) {
            return;
        }
        let (signed, rest) = datagram.split_at(SIGNED);
        let Some(to) = self.keys.iter().position(|key| rest.starts_with(&mac(key, signed))) else { return };
        if let Some(count) = self.counts.get_mut(from).and_then(|row| row.get_mut(to)) {
            *count += 1;
        }
    }

    pub(super) fn counts(&self) -> Vec<Vec<u32>> {
        self.counts.clone()
    }

    pub(super) fn forget(&mut self) {
        self.counts.iter_mut().flatten().for_each(|count| *count = 0);
    }
}

fn mac_key(public: Key) -> [u8; 32] {
    Blake2s256::new().chain_update(b"mac1----").chain_update(public.0).finalize().into()
}

fn mac(key: &[u8; 32], signed: &[u8]) -> [u8; 16] {
    // Any key of at most 32 bytes will do.
    let Ok(mac) = <Blake2sMac<U16> as KeyInit>::new_from_slice(key) else { return [0; 16] };
    mac.chain_update(signed).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use boringtun::noise::{Tunn, TunnResult};
    use boringtun::x25519::{PublicKey, StaticSecret};
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    #[test]
    fn an_initiation_is_counted_for_whom_it_is_made() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let keys: Vec<Key> = (0..3).map(|_| Key::generate(&mut rng)).collect();
        let mut tunnel = Tunn::new(
            StaticSecret::from(keys[0].0),
            PublicKey::from(keys[2].public().0),
            None,
            None,
            1,
            None,
        );
        let mut buffer = [0; 256];
        let TunnResult::WriteToNetwork(initiation) = tunnel.format_handshake_initiation(&mut buffer, false)
        else {
            panic!("no initiation")
        };
        let mut seen = Initiations::new(keys.iter().map(Key::public));
        seen.note(0, initiation);
        assert_eq!(seen.counts(), [[0, 0, 1], [0, 0, 0], [0, 0, 0]]);
        // For somebody else, of another type, of another length.
        initiation[120] ^= 1;
        seen.note(0, initiation);
        initiation[120] ^= 1;
        initiation[0] = 2;
        seen.note(0, initiation);
        initiation[0] = 1;
        let length = initiation.len();
        seen.note(0, &initiation[..length - 1]);
        assert_eq!(seen.counts()[0], [0, 0, 1]);
        seen.forget();
        assert_eq!(seen.counts()[0], [0, 0, 0]);
    }
}
