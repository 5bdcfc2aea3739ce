//! Whole meshes in virtual time: the engine, the model of WireGuard and the virtual internet, and nothing else.
//!
//! | module | what it is |
//! |---|---|
//! | [`node`] | one node: an engine over a WireGuard device, as the daemon runs it |
//! | [`world`] | all nodes, the internet between them, time, and the invariants |
//! | [`handshakes`] | who sent handshake initiations to whom, and which of them crossed |
//! | [`chaos`] | random small meshes with random faults, from a seed |
//! | [`cold`] | large meshes that all start at once, and how fast they come up |
//! | [`curve`] | a picture of that |
//! | [`matrix`] | every kind of host with every other, against the oracle |
//! | [`parallel`] | many small simulations at once, on all cores |
//!
//! The same seed gives the same run, to the last bit: [`world::World::trace`] is a hash over everything that happened.

pub mod chaos;
pub mod cold;
pub mod curve;
pub mod handshakes;
pub mod matrix;
pub mod node;
pub mod parallel;
pub mod world;
