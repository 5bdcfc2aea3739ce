//! The machine: a clock from the SysTick timer, the stack, and the way out. Everything that is `unsafe` or names a
//! register is in here.
//!
//! The emulator ends with the exit code given to [`exit`], so that a failure here is one on the host's command line.
use core::{
    cell::Cell,
    hint::black_box,
    panic::PanicInfo,
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
    task::Waker,
};

use cortex_m::peripheral::{SCB, SYST, syst::SystClkSource};
use cortex_m_rt::{ExceptionFrame, exception};
use critical_section::Mutex;
use embassy_time::Instant;
use embassy_time_driver::Driver;

/// Cycles of the processor in a microsecond: the board's clock is 25 MHz.
const CYCLES_PER_MICRO: u32 = 25;
/// Instructions in a microsecond, as the emulator is told to count (32 ns each).
const INSTRUCTIONS_PER_MICRO: u32 = 31;
/// Microseconds between two interrupts of the timer, and so the granularity of sleeping. Longer than any stretch with
/// interrupts off, or the clock would lose time.
const PERIOD: u64 = 10_000;
/// What the timer counts down from.
const RELOAD: u32 = PERIOD as u32 * CYCLES_PER_MICRO - 1;

/// Counts the periods of the SysTick timer. It is behind `embassy_time::Instant::now`, in microseconds.
struct SysTickClock {
    periods: Mutex<Cell<u64>>,
}

impl SysTickClock {
    const fn new() -> Self {
        Self { periods: Mutex::new(Cell::new(0)) }
    }
}

impl Driver for SysTickClock {
    fn now(&self) -> u64 {
        critical_section::with(|token| {
            let mut periods = self.periods.borrow(token).get();
            let mut left = SYST::get_current();
            if SCB::is_pendst_pending() {
                // The timer has wrapped and its interrupt waits for us: `left` may be from before or after that.
                left = SYST::get_current();
                periods += 1;
            }
            periods * PERIOD + u64::from((RELOAD - left) / CYCLES_PER_MICRO)
        })
    }

    /// A waker woken early polls again, so waking at once is within the contract. Nothing here is async; it would be a
    /// busy loop if it were.
    fn schedule_wake(&self, _at: u64, waker: &Waker) {
        waker.wake_by_ref();
    }
}

embassy_time_driver::time_driver_impl!(static CLOCK: SysTickClock = SysTickClock::new());

#[exception]
fn SysTick() {
    critical_section::with(|token| {
        let periods = CLOCK.periods.borrow(token);
        periods.set(periods.get() + 1);
    });
}

/// Starts the clock. Before that, time stands still.
pub(crate) fn start_clock(mut timer: SYST) {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(RELOAD);
    timer.clear_current();
    timer.enable_counter();
    timer.enable_interrupt();
}

/// Sleeps until the next interrupt, which is at most one period of the timer away.
pub(crate) fn sleep() {
    cortex_m::asm::wfi();
}

// The bounds of the stack as the linker script lays it out. Only their addresses mean anything.
unsafe extern "C" {
    static _stack_start: u32;
    static _stack_end: u32;
}

/// What was in use of the stack before it was last painted anew.
static DEEPEST: AtomicUsize = AtomicUsize::new(0);

/// The most of the stack that was ever in use, in bytes, interrupts included. The start-up code has painted all of it.
pub(crate) fn stack_used() -> usize {
    let bottom = &raw const _stack_end;
    let top = &raw const _stack_start;
    let used = top as usize - first_touched(bottom, top) as usize;
    DEEPEST.fetch_max(used, Ordering::Relaxed).max(used)
}

/// How much stack the machine has, in bytes: what the statics leave of the RAM.
pub(crate) fn stack_size() -> usize {
    (&raw const _stack_start) as usize - (&raw const _stack_end) as usize
}

/// The lowest word from `bottom` up that no longer has its paint, or `top`.
fn first_touched(bottom: *const u32, top: *const u32) -> *const u32 {
    let mut word = bottom;
    // SAFETY: both are in the stack's memory, which is aligned to words; reading what lies below the stack pointer is
    // a plain read of RAM.
    while word < top && unsafe { ptr::read_volatile(word) } == cortex_m_rt::STACK_PAINT_VALUE {
        word = word.wrapping_add(1);
    }
    word
}

/// What a call took.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    /// How deep the stack went below the caller's frame, in bytes, between [`MARGIN`] and [`PAINTED`].
    pub(crate) stack: usize,
    /// Instructions, to within [`INSTRUCTIONS_PER_MICRO`].
    pub(crate) instructions: u32,
}

impl Cost {
    /// The worse of both, in each respect.
    pub(crate) fn worse(self, other: Self) -> Self {
        Self { stack: self.stack.max(other.stack), instructions: self.instructions.max(other.instructions) }
    }
}

/// How far below the caller's frame a call is watched, in bytes.
const PAINTED: usize = 16 * 1024;

/// What is left unpainted for the painting itself, in bytes: no figure is smaller.
const MARGIN: usize = 256;

/// Calls `work` and says what it took. Interrupts wait meanwhile, so that both figures are those of `work` alone.
#[inline(never)]
pub(crate) fn measured<R>(work: impl FnOnce() -> R) -> (R, Cost) {
    cortex_m::interrupt::free(|_| {
        stack_used();
        let here = cortex_m::register::msp::read() as *mut u32;
        let end = (&raw const _stack_end).cast_mut();
        let bottom =
            if here as usize - end as usize > PAINTED { here.wrapping_byte_sub(PAINTED) } else { end };
        let mut word = bottom;
        while word < here.wrapping_byte_sub(MARGIN) {
            // SAFETY: below the stack pointer and below what this loop may call, where nothing lives while interrupts
            // are off.
            unsafe { ptr::write_volatile(word, cortex_m_rt::STACK_PAINT_VALUE) };
            word = word.wrapping_add(1);
        }
        let begin = Instant::now();
        let result = black_box(work());
        let took = Instant::now().saturating_duration_since(begin).as_micros() as u32;
        let stack = here as usize - first_touched(bottom, here.wrapping_byte_sub(MARGIN)) as usize;
        (result, Cost { stack, instructions: took * INSTRUCTIONS_PER_MICRO })
    })
}

/// Ends the emulator.
pub(crate) fn exit(success: bool) -> ! {
    semihosting::process::exit(i32::from(!success))
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    cortex_m::interrupt::disable();
    defmt::error!("{}", defmt::Display2Format(info));
    exit(false)
}

/// A fault: a stack that ran over its end into nowhere, or a wild pointer.
#[exception]
unsafe fn HardFault(_frame: &ExceptionFrame) -> ! {
    exit(false)
}
