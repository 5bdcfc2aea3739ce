//! wgautomesh for OpenWrt.
fn main() {}
