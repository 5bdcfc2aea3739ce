//! A mesh in a box.
fn main() {}
