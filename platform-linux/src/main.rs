//! The wgautomesh daemon.
fn main() {}
