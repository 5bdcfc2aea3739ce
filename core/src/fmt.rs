//! One set of log macros over `log` or `defmt`; with neither, they vanish.
//!
//! Where both features are on, `log` is used: features are additive, and a host build with all of them must link.
//! Only what a person would want to read is logged, and never a secret. Programs take [`crate::Event`]s instead.

#![macro_use]

macro_rules! log_at {
    ($level:ident, $($arg:expr),+) => {{
        #[cfg(feature = "log")]
        ::log::$level!($($arg),+);
        #[cfg(all(feature = "defmt", not(feature = "log")))]
        ::defmt::$level!($($arg),+);
        #[cfg(not(any(feature = "log", feature = "defmt")))]
        let _ = ($(&$arg),+);
    }};
}

macro_rules! debug { ($($arg:expr),+ $(,)?) => { log_at!(debug, $($arg),+) }; }
macro_rules! trace { ($($arg:expr),+ $(,)?) => { log_at!(trace, $($arg),+) }; }
