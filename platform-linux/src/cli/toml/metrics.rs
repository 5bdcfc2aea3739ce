//! `metrics`: what a running daemon has counted, for Prometheus.

use super::{START, whose::Whose};
use crate::cli::{self, show};
use crate::control::Request;
use std::process::ExitCode;

/// Asks and shows.
pub(super) fn metrics(whose: &Whose) -> ExitCode {
    show(whose.interface().and_then(|interface| cli::ask(&interface, &Request::Metrics, START)))
}
