//! Two engines of wgautomesh on an emulated Cortex-M4F.
#![no_std]
#![no_main]

mod machine;

use cortex_m_rt::entry;
use defmt_semihosting as _;
use embassy_time::Instant;
use wgautomesh_core as _;

defmt::timestamp!("{=u64:us}", Instant::now().as_micros());

#[entry]
fn main() -> ! {
    let Some(peripherals) = cortex_m::Peripherals::take() else { machine::exit(false) };
    machine::start_clock(peripherals.SYST);
    for _ in 0..10 {
        machine::sleep();
    }
    defmt::info!("hello");
    let (_, depth) = machine::with_stack_depth(|| defmt::info!("deep"));
    defmt::info!("stack {} of {}, {}", machine::stack_used(), machine::stack_size(), depth);
    machine::exit(true)
}
