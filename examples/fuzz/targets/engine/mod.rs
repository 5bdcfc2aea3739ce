//! An engine and everything around it that it needs, for the targets that drive one.

use core::net::IpAddr;

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use wgautomesh_core::{
    Duration, Instant, Interface, Mesh, Output, PeerAction, PeerReading, PublicKey, SharedKey,
    limits::MAX_DATAGRAM,
};

/// As many outputs as no single input may lead to.
const OUTPUTS: usize = 1000;

/// The key of a peer, by number; number 1 is the engine itself.
pub(crate) fn key(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

/// Its address in the mesh.
pub(crate) fn address(number: u8) -> IpAddr {
    [10, 0, 0, number].into()
}

/// An engine, its time, and its WireGuard.
pub(crate) struct Bench<const PEERS: usize> {
    pub(crate) mesh: Mesh<PEERS>,
    pub(crate) now: Instant,
    pub(crate) secret: SharedKey,
    /// What WireGuard shows of the peers.
    pub(crate) readings: [PeerReading; PEERS],
    rng: ChaCha8Rng,
}

impl<const PEERS: usize> Bench<PEERS> {
    /// All peers are configured, and shown by WireGuard as `reading` says. `prepare` does the rest before the interface is
    /// there.
    pub(crate) fn new(reading: PeerReading, prepare: impl FnOnce(&mut Mesh<PEERS>, Instant)) -> Self {
        let (secret, now) = (SharedKey::derive(b"of the fuzzer"), Instant::from_secs(1000));
        let mut mesh = Mesh::new();
        mesh.set_secrets([secret.clone()]);
        for peer in 1..=PEERS as u8 {
            mesh.add_peer(now, key(peer), address(peer)).expect("there is room");
        }
        prepare(&mut mesh, now);
        mesh.handle_interface(now, Some(Interface { index: 1, public_key: key(1), listen_port: 51820 }));
        let readings = core::array::from_fn(|i| PeerReading { key: key(i as u8 + 1), ..reading });
        Self { mesh, now, secret, readings, rng: ChaCha8Rng::seed_from_u64(1) }
    }

    /// Time passes, as it does for a machine that sleeps meanwhile.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.mesh.handle_timeout(self.now, &mut self.rng);
    }

    /// Shows the engine what WireGuard has.
    pub(crate) fn read(&mut self) {
        self.mesh.begin_reading();
        for reading in self.readings.iter().filter(|r| r.key != key(1)) {
            let address = address(reading.key.as_bytes()[0]);
            self.mesh.handle_reading(self.now, reading, [(address, 32)]);
        }
        self.mesh.end_reading(self.now);
    }

    /// The next output.
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.mesh.poll(self.now, &mut self.rng, &mut [0; MAX_DATAGRAM])
    }

    /// Carries out what the engine wants until it rests, and shows each of its outputs.
    pub(crate) fn rest(&mut self, mut each: impl FnMut(&Output)) {
        let mut nothing_due = false;
        for _ in 0..OUTPUTS {
            let Some(output) = self.poll() else {
                if nothing_due {
                    return;
                }
                // What was due may have put something out.
                self.mesh.handle_timeout(self.now, &mut self.rng);
                nothing_due = self.mesh.poll_timeout().is_none_or(|at| at > self.now);
                continue;
            };
            nothing_due = false;
            each(&output);
            match output {
                Output::Datagram { len, .. } | Output::Opener { len, .. } => assert!(len <= MAX_DATAGRAM),
                Output::Peer { key, action } => self.act(&key, &action),
                Output::ReadInterface => self.read(),
                _ => {}
            }
        }
        panic!("it does not come to rest");
    }

    fn act(&mut self, key: &PublicKey, action: &PeerAction) {
        let Some(reading) = self.readings.iter_mut().find(|reading| reading.key == *key) else { return };
        match *action {
            PeerAction::Add { endpoint, .. } | PeerAction::Readd { endpoint } => reading.endpoint = endpoint,
            PeerAction::SetEndpoint(endpoint) => reading.endpoint = Some(endpoint),
            PeerAction::SetKeepalive(keepalive) => reading.keepalive = keepalive,
            _ => {}
        }
    }
}
