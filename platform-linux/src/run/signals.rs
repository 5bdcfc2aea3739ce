//! Signals, as files to wait on.

use std::{
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    low_level::pipe,
};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// SIGTERM or SIGINT: end.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

pub(super) struct Signals {
    stop: UnixStream,
    reload: UnixStream,
}

impl Signals {
    /// Takes over the signals of the process, for good.
    pub(super) fn new() -> io::Result<Self> {
        let (stop, sender) = UnixStream::pair()?;
        pipe::register(SIGINT, sender.try_clone()?)?;
        pipe::register(SIGTERM, sender)?;
        let (reload, sender) = UnixStream::pair()?;
        pipe::register(SIGHUP, sender)?;
        stop.set_nonblocking(true)?;
        reload.set_nonblocking(true)?;
        Ok(Self { stop, reload })
    }

    pub(super) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.stop.as_fd(), self.reload.as_fd()]
    }

    /// The next wish. Ending comes first.
    pub(super) fn next(&mut self) -> Option<Wish> {
        let mut bytes = [0; 16];
        [(&mut self.stop, Wish::Stop), (&mut self.reload, Wish::Reload)]
            .into_iter()
            .find_map(|(file, wish)| matches!(file.read(&mut bytes), Ok(1..)).then_some(wish))
    }
}

#[cfg(test)]
mod tests {
    use rustix::{
        event::{PollFd, PollFlags, poll},
        process::{Signal, getpid, kill_process},
    };

    use super::*;

    #[test]
    fn signals_become_readable_files() {
        let mut signals = Signals::new().expect("signals");
        assert_eq!(signals.next(), None);
        for (signal, file, wish) in
            [(Signal::HUP, 1, Wish::Reload), (Signal::TERM, 0, Wish::Stop), (Signal::INT, 0, Wish::Stop)]
        {
            kill_process(getpid(), signal).expect("kill");
            poll(&mut [PollFd::new(&signals.fds()[file], PollFlags::IN)], None).expect("poll");
            assert_eq!(signals.next(), Some(wish));
            assert_eq!(signals.next(), None);
        }
    }
}
