//! A virtual internet, a mesh in a box on it, and a simulator.

pub mod curve;
pub mod mesh_box;
pub mod simulation;
pub mod virtual_internet;
