//! The operating system's random source, for the engine.

pub use getrandom::SysRng;
