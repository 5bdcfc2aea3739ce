//! Two engines of wgautomesh on an emulated Cortex-M4F: what a mesh takes on a microcontroller.
//!
//! Both live in static memory, made by `const fn`; there is no heap. They talk through a loop-back ([`tunnel`]) that
//! stands in for WireGuard and the network. The program lets them connect, stay connected, lose each other and find
//! each other again, and then prints the RAM, the stack and the instructions that this took. Whatever is not as it
//! should be ends it with a failure, which the emulator hands on as its exit code.
//!
//! It shows how to drive the engine without an operating system: wait for the timer, hand over what came, poll until
//! nothing is left. What is particular to the board is in [`machine`]. Run it with `cargo run --release` in its
//! directory (once: `rustup target add thumbv7em-none-eabihf`), with qemu-system-arm and defmt-print at hand.
#![no_std]
#![no_main]

mod machine;
mod node;
mod tunnel;

use core::mem::size_of;

use cortex_m_rt::entry;
use defmt_semihosting as _;
use embassy_time::{Duration, Instant};
use wgautomesh_core::Mesh;

use crate::{
    node::{Call, Node, PEERS},
    tunnel::{Loopback, Side},
};

/// The deepest that one call into the engine may use the stack, in bytes.
const STACK_BUDGET: usize = 4096;
/// What one more peer may cost in RAM, in bytes.
const PEER_BUDGET: usize = 640;

defmt::timestamp!("{=u64:us}", Instant::now().as_micros());

#[entry]
fn main() -> ! {
    // `entry` makes these plain `&'static mut`s; they never are on the stack.
    static mut LEFT: Mesh<PEERS> = Mesh::new();
    static mut RIGHT: Mesh<PEERS> = Mesh::new();
    static mut LOOPBACK: Loopback = Loopback::new();

    let Some(peripherals) = cortex_m::Peripherals::take() else { machine::exit(false) };
    machine::start_clock(peripherals.SYST);

    let mut bench =
        Bench { nodes: [Node::new(Side::Left, LEFT), Node::new(Side::Right, RIGHT)], loopback: LOOPBACK };
    let passed = bench.scenario() & bench.report();
    machine::exit(passed);
}

/// The two nodes and what is between them.
struct Bench {
    nodes: [Node; 2],
    loopback: &'static mut Loopback,
}

impl Bench {
    /// What is to happen, step by step. Returns whether it did.
    fn scenario(&mut self) -> bool {
        let now = Instant::now();
        for node in &mut self.nodes {
            node.start(now);
        }
        defmt::info!("only the left node knows where the other one is");
        self.until("connected", Duration::from_secs(3), |bench| bench.connected() == 2)
            && self.holds("connected", Duration::from_secs(300), |bench| bench.connected() == 2)
            && {
                defmt::info!("the cable is pulled");
                self.loopback.set_cut(true);
                // Who hears the keepalives misses them soon; who sends them hears nothing but new keys anyway.
                self.until("both have noticed", Duration::from_secs(240), |bench| bench.connected() == 0)
            }
            && {
                defmt::info!("and put back");
                self.loopback.set_cut(false);
                self.until("connected again", Duration::from_secs(60), |bench| bench.connected() == 2)
            }
    }

    /// How many of the two see the other as connected.
    fn connected(&self) -> usize {
        self.nodes.iter().map(Node::connected).sum()
    }

    /// Lets time pass until `reached`, for `limit` at most.
    fn until(&mut self, what: &str, limit: Duration, reached: fn(&Self) -> bool) -> bool {
        let begin = Instant::now();
        while !reached(self) {
            let now = self.step();
            if now.saturating_duration_since(begin) > limit {
                defmt::error!("not {} within {} s", what, limit.as_secs());
                return false;
            }
        }
        let took = Instant::now().saturating_duration_since(begin);
        defmt::info!("{} after {} ms", what, took.as_millis());
        true
    }

    /// Lets time pass for `span` and sees that `wanted` is always so.
    fn holds(&mut self, what: &str, span: Duration, wanted: fn(&Self) -> bool) -> bool {
        let begin = Instant::now();
        loop {
            let now = self.step();
            if !wanted(self) {
                defmt::error!(
                    "no longer {} after {} ms",
                    what,
                    now.saturating_duration_since(begin).as_millis()
                );
                return false;
            }
            if now.saturating_duration_since(begin) > span {
                defmt::info!("{} for {} s", what, span.as_secs());
                return true;
            }
        }
    }

    /// One turn of the loop: sleep, hand over what came, see to what is due, send what there is to send.
    fn step(&mut self) -> Instant {
        machine::sleep();
        let now = Instant::now();
        self.loopback.tick(now);
        while let Some((to, mut datagram)) = self.loopback.receive(now) {
            self.nodes[to as usize].receive(now, &mut datagram, self.loopback);
        }
        for node in &mut self.nodes {
            node.run(now, self.loopback);
        }
        now
    }

    /// Prints what it took. Returns whether all of it is within the budgets.
    fn report(&self) -> bool {
        let (eight, sixty_four, many) = (size_of::<Mesh<8>>(), size_of::<Mesh<64>>(), size_of::<Mesh<256>>());
        let per_peer = (many - sixty_four) / 192;
        defmt::info!("RAM: Mesh<8> {} B, Mesh<64> {} B, Mesh<256> {} B", eight, sixty_four, many);
        let (used, size) = (machine::stack_used(), machine::stack_size());
        defmt::info!(
            "stack: {} of {} B in use at the deepest, the stand-in for WireGuard included",
            used,
            size
        );
        let mut deepest = 0;
        for call in Call::ALL {
            let [left, right] = self.nodes.each_ref().map(|node| node.costs()[call as usize]);
            let cost = left.worse(right);
            defmt::info!(
                "{}: at most {} B of stack, about {} instructions",
                call,
                cost.stack,
                cost.instructions
            );
            deepest = deepest.max(cost.stack);
        }
        within("RAM of one more peer, B", per_peer, PEER_BUDGET)
            & within("deepest stack of one call into the engine, B", deepest, STACK_BUDGET)
    }
}

/// Prints a figure and whether it is within its budget.
fn within(what: &str, value: usize, budget: usize) -> bool {
    if value <= budget {
        defmt::info!("{}: {} (budget {})", what, value, budget);
    } else {
        defmt::error!("{}: {} is over the budget of {}", what, value, budget);
    }
    value <= budget
}
