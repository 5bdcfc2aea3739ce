//! What connecting costs: in one attempt exactly one side initiates, and its initiation is the only one.
//!
//! Initiations that cross kill each other, and WireGuard then waits for five seconds: a mesh that comes up in less has
//! had none. Here they are counted on the wire, those included that came to nothing.

mod common;

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use common::connected;
use wgautomesh_examples::mesh_box::{Initiations, MeshConfig, Outcome, WireGuardKind};

/// Meshes for each setting: more than 100 pairs in all, so that a hundredth of them is at least one.
const MESHES: u64 = 5;
/// A mesh that has just come up may have initiations under way that nobody needs.
const AFTERWARDS: Duration = Duration::from_millis(100);
/// Meshes that came up side by side would measure each other.
static TURN: Mutex<()> = Mutex::new(());

fn expect_one_initiation(wireguard: &WireGuardKind, delay: u64, early_traffic: bool) {
    let mut pairs = Vec::new();
    for seed in 1..=MESHES {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let (wireguard, delay) = (wireguard.clone(), Duration::from_millis(delay));
        let mut mesh =
            connected(MeshConfig { wireguard, delay, early_traffic, seed, ..MeshConfig::default() });
        mesh.idle(AFTERWARDS).unwrap();
        let outcome = mesh.outcome();
        print_the_dear(seed, &outcome);
        pairs.extend(outcome.pair_initiations());
    }
    let mut counts = BTreeMap::<u32, usize>::new();
    pairs.iter().for_each(|pair| *counts.entry(*pair).or_default() += 1);
    println!("pairs by initiations, of {}: {counts:?}", pairs.len());
    let all = Initiations::new(pairs);
    assert!(all.p50 == 1 && all.p99 <= 2, "{all}: {counts:?}");
}

/// Pairs that needed more than one.
fn print_the_dear(seed: u64, outcome: &Outcome) {
    for (from, row) in outcome.initiations.iter().enumerate() {
        for (to, there) in row.iter().enumerate().take(from) {
            let back = outcome.initiations[to][from];
            if there + back > 1 {
                let (one, other) = (&outcome.names[from], &outcome.names[to]);
                println!("seed {seed}: {there} from {one} to {other}, {back} back");
            }
        }
    }
}

/// Each setting, with the embedded device and with wireguard-go.
macro_rules! settings {
    ($($name:ident: $delay:literal ms, early traffic $traffic:literal;)+) => {
        mod embedded {
            $(#[test]
            fn $name() {
                super::expect_one_initiation(&super::WireGuardKind::Embedded, $delay, $traffic);
            })+
        }
        mod wireguard_go {
            $(#[test]
            fn $name() {
                if let Some(wireguard) = crate::common::wireguard_go_program() {
                    super::expect_one_initiation(&wireguard, $delay, $traffic);
                }
            })+
        }
    };
}

settings! {
    without_delay: 0 ms, early traffic false;
    without_delay_and_with_traffic_from_the_start: 0 ms, early traffic true;
    at_50_ms: 50 ms, early traffic false;
    at_50_ms_and_with_traffic_from_the_start: 50 ms, early traffic true;
}
