//! A terminal that is drawn on: as it was before when this is dropped.

use super::Size;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::stdio::{stdin, stdout};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Instant;

/// To the alternate screen, where nothing is scrolled away, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// Where no size can be had, as on some serial lines.
const USUAL: Size = Size { columns: 80, rows: 24 };

/// Why a wait was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Woken {
    /// It is time.
    Due,
    /// The window has another size now.
    Resized,
    /// Enough was seen: a key, a signal, or nobody is there any more.
    Quit,
}

/// Standard input and output, taken over.
pub(in crate::cli) struct Terminal {
    before: Termios,
    /// A signal came that ends programs.
    ended: Arc<AtomicBool>,
}

impl Terminal {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// Where input or output is none, or refuses.
    pub(in crate::cli) fn take() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        // Output is asked too: it may be a file where input is a terminal.
        tcgetattr(stdout())?;
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGHUP, SIGINT, SIGQUIT] {
            signal_hook::flag::register(signal, Arc::clone(&ended))?;
        }
        // Only to be woken by it.
        signal_hook::flag::register(SIGWINCH, Arc::new(AtomicBool::new(false)))?;
        let mut raw = before.clone();
        // Keys come one by one and unseen. Ctrl-C comes as a key, so that nothing ends this program but itself.
        raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        let terminal = Self { before, ended };
        say(ENTER)?;
        Ok(terminal)
    }

    /// The size at this moment.
    pub(in crate::cli) fn size(&self) -> Size {
        match tcgetwinsize(stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                Size { columns: size.ws_col.into(), rows: size.ws_row.into() }
            }
            _ => USUAL,
        }
    }

    /// Draws a screen. What was there goes line by line, so that nothing flickers.
    ///
    /// # Errors
    /// Where nobody is there any more.
    pub(in crate::cli) fn draw(&self, lines: &[String]) -> io::Result<()> {
        let text = lines.join("\x1b[K\r\n");
        say(&format!("\x1b[H{text}\x1b[K\x1b[J"))
    }

    /// Waits until that time, or for something else to do.
    pub(in crate::cli) fn wait(&self, until: Instant) -> Woken {
        loop {
            if self.ended.load(Ordering::Relaxed) {
                return Woken::Quit;
            }
            let left = until.saturating_duration_since(Instant::now());
            let mut files = [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
            match poll(&mut files, Some(&timespec(left))) {
                Ok(0) => return Woken::Due,
                Ok(_) => match key() {
                    Some(b'q' | b'Q' | 3) | None => return Woken::Quit,
                    Some(_) => {}
                },
                Err(Errno::INTR) if !self.ended.load(Ordering::Relaxed) => return Woken::Resized,
                Err(Errno::INTR) => {}
                Err(_) => return Woken::Quit,
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Where that fails nobody is there to see it.
        let _ = say(LEAVE);
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.before);
    }
}

/// A key; none where there is no terminal any more.
fn key() -> Option<u8> {
    let mut byte = [0];
    match rustix::io::read(stdin(), &mut byte) {
        Ok(1) => byte.first().copied(),
        // Somebody else has read it.
        Err(Errno::INTR | Errno::AGAIN) => Some(0),
        _ => None,
    }
}

fn timespec(duration: Duration) -> Timespec {
    // Rounded up to a millisecond: a wait that is too short would be repeated at once.
    let millis = u64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    Timespec::try_from(Duration::from_millis(millis)).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
