//! One node: an engine, its random numbers, and the calls into it, each measured.
use embassy_time::Instant;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use wgautomesh_core::{LinkState, Mesh, Output, SharedKey, limits::MAX_DATAGRAM};

use crate::{
    machine::{self, Cost},
    tunnel::{Datagram, Loopback, Side},
};

/// The capacity of the engines here.
pub(crate) const PEERS: usize = 8;

/// The calls into an engine.
#[derive(Clone, Copy, defmt::Format)]
pub(crate) enum Call {
    /// All that configures it.
    Configure,
    /// A datagram came.
    Datagram,
    /// A timer is due.
    Timeout,
    /// One turn of `poll`.
    Poll,
    /// A reading of the interface, or an action on it that failed.
    Reading,
}

impl Call {
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Configure, Self::Datagram, Self::Timeout, Self::Poll, Self::Reading];
}

/// What each kind of call took, at the worst.
pub(crate) type Costs = [Cost; Call::ALL.len()];

/// One node.
pub(crate) struct Node {
    side: Side,
    mesh: &'static mut Mesh<PEERS>,
    rng: ChaCha8Rng,
    costs: Costs,
}

impl Node {
    /// A node that knows nothing yet.
    pub(crate) fn new(side: Side, mesh: &'static mut Mesh<PEERS>) -> Self {
        // A device takes these from its random number generator; here each run is to be the same.
        let rng = ChaCha8Rng::seed_from_u64(side as u64);
        Self { side, mesh, rng, costs: Costs::default() }
    }

    /// Configures the engine and gives it its interface.
    pub(crate) fn start(&mut self, now: Instant) {
        let (side, peer) = (self.side, self.side.other());
        // Once per secret, and not a call into an engine: a device short of stack derives the key elsewhere and keeps it.
        let secret = SharedKey::derive(b"the secret that both nodes were given");
        self.call(Call::Configure, |mesh, _| {
            mesh.set_secrets([secret]);
            for node in Side::BOTH {
                if let Err(error) = mesh.add_peer(now, node.key(), node.address()) {
                    defmt::panic!("{}", error);
                }
            }
            if side == Side::Left {
                mesh.set_configured_endpoints(now, &peer.key(), &[peer.endpoint()]);
            }
            mesh.handle_local_addresses(now, &[side.endpoint().ip()]);
            mesh.handle_interface(now, Some(side.interface()));
        });
    }

    /// How many peers are connected.
    pub(crate) fn connected(&self) -> usize {
        let live = |state| matches!(state, LinkState::Connected | LinkState::Probing);
        self.mesh.peers().filter(|peer| live(peer.state)).count()
    }

    /// What the calls into the engine took.
    pub(crate) const fn costs(&self) -> &Costs {
        &self.costs
    }

    /// A datagram came out of the tunnel, from the peer.
    pub(crate) fn receive(&mut self, now: Instant, datagram: &mut Datagram, loopback: &mut Loopback) {
        let from = self.side.other().address();
        self.call(Call::Datagram, |mesh, _| mesh.handle_datagram(now, from, datagram));
        self.poll(now, loopback);
    }

    /// Sees to what is due.
    pub(crate) fn run(&mut self, now: Instant, loopback: &mut Loopback) {
        if self.mesh.poll_timeout().is_some_and(|at| at <= now) {
            self.call(Call::Timeout, |mesh, rng| mesh.handle_timeout(now, rng));
        }
        self.poll(now, loopback);
    }

    /// Does what the engine says until it has nothing left to say.
    fn poll(&mut self, now: Instant, loopback: &mut Loopback) {
        let mut buffer = [0; MAX_DATAGRAM];
        let side = self.side;
        while let Some(output) = self.call(Call::Poll, |mesh, rng| mesh.poll(now, rng, &mut buffer)) {
            match output {
                Output::Datagram { to, len } => {
                    if to == side.other().address() {
                        loopback.send(now, side, &buffer[..len]);
                    }
                }
                Output::Peer { key, action } => {
                    if let Err(error) = loopback.act(now, side, action) {
                        self.call(Call::Reading, |mesh, _| {
                            mesh.handle_action_error(now, &key, &action, error)
                        });
                    }
                }
                Output::ReadInterface => self.call(Call::Reading, |mesh, _| {
                    mesh.begin_reading();
                    if let Some(reading) = loopback.reading(side) {
                        mesh.handle_reading(now, &reading, [(side.other().address(), 32)]);
                    }
                    mesh.end_reading(now);
                }),
                Output::Event(event) => defmt::info!("{}: {}", side, defmt::Debug2Format(&event)),
                _ => {}
            }
        }
    }

    /// Calls into the engine and keeps the worst of what that took.
    fn call<R>(&mut self, what: Call, work: impl FnOnce(&mut Mesh<PEERS>, &mut ChaCha8Rng) -> R) -> R {
        let (mesh, rng) = (&mut *self.mesh, &mut self.rng);
        let (result, cost) = machine::measured(|| work(mesh, rng));
        let worst = &mut self.costs[what as usize];
        *worst = worst.worse(cost);
        result
    }
}
