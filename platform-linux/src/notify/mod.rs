//! What the service manager is told, by systemd's protocol, sd_notify(3): that the daemon is ready, that it is alive, that
//! it ends. Without `NOTIFY_SOCKET` in the environment nobody is told anything.
//!
//! Being alive costs no wake-ups of its own where there are others: it is told at the first one after a quarter of the
//! watchdog's time, and only a daemon that has slept for half of it is woken for that.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    process,
};

use wgautomesh_core::{Duration, Instant};

/// The service manager, if there is one that wants to know.
pub(crate) struct Manager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Watchdog>,
}

impl Manager {
    /// As the environment says.
    pub(crate) fn from_env() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()).and_then(|path| {
            connect(&path)
                .inspect_err(|error| log::warn!("the service manager cannot be told anything: {error}"))
                .ok()
        });
        let setting = |name| env::var(name).ok();
        let watchdog = watchdog(setting("WATCHDOG_USEC"), setting("WATCHDOG_PID"), process::id());
        Self { watchdog: watchdog.filter(|_| socket.is_some()).map(Watchdog::new), socket }
    }

    /// Everything that is waited for can be waited for now.
    pub(crate) fn ready(&mut self, now: Instant) {
        self.tell("READY=1");
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.told = now;
        }
    }

    /// When [`Self::alive`] is to be called at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.watchdog.as_ref().map(|watchdog| watchdog.told.saturating_add(watchdog.latest))
    }

    /// To be called whenever the loop turns.
    pub(crate) fn alive(&mut self, now: Instant) {
        if self.watchdog.as_mut().is_some_and(|watchdog| watchdog.is_due(now)) {
            self.tell("WATCHDOG=1");
        }
    }

    /// The daemon ends, which may take a moment.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, what: &str) {
        let Some(socket) = &self.socket else { return };
        // A manager that does not listen will say so itself, by ending us.
        if let Err(error) = socket.send(what.as_bytes()) {
            log::debug!("the service manager could not be told {what}: {error}");
        }
    }
}

fn connect(path: &OsStr) -> io::Result<UnixDatagram> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(path)?,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "NOTIFY_SOCKET is no path")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // A manager that reads nothing keeps nobody from meshing.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// How often the manager wants to hear that the process `me` is alive, from its two settings.
fn watchdog(micros: Option<String>, of: Option<String>, me: u32) -> Option<Duration> {
    // The variables are inherited by whoever is started from a service.
    if of.is_some_and(|of| of.parse() != Ok(me)) {
        return None;
    }
    micros?.parse().ok().filter(|&micros| micros > 0).map(Duration::from_micros)
}

struct Watchdog {
    /// After this time it is told when there is occasion to.
    occasion: Duration,
    /// After this time it is told.
    latest: Duration,
    told: Instant,
}

impl Watchdog {
    fn new(interval: Duration) -> Self {
        Self { occasion: interval / 4, latest: interval / 2, told: Instant::MIN }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.told) >= self.occasion;
        if due {
            self.told = now;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn the_watchdog_is_for_this_process_and_no_other() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(watchdog(text("60000000"), None, 7), Some(Duration::from_secs(60)));
        assert_eq!(watchdog(text("60000000"), text("7"), 7), Some(Duration::from_secs(60)));
        for (micros, of) in [(Some("60000000"), Some("8")), (Some("60000000"), Some("")), (None, Some("7"))] {
            assert_eq!(watchdog(micros.and_then(text), of.and_then(text), 7), None, "{micros:?} {of:?}");
        }
        for micros in ["0", "", "soon", "-1"] {
            assert_eq!(watchdog(text(micros), None, 7), None, "{micros:?}");
        }
    }

    /// What woke the loop for something else is enough, and without that it is woken in time.
    #[test]
    fn it_is_told_when_there_is_occasion_and_in_time() {
        let (socket, manager) = UnixDatagram::pair().unwrap();
        manager.set_nonblocking(true).unwrap();
        let watchdog = Some(Watchdog::new(Duration::from_micros(400)));
        let mut told = Manager { socket: Some(socket), watchdog };
        let heard = || {
            let mut buffer = [0; 64];
            manager.recv(&mut buffer).ok().map(|length| String::from_utf8(buffer[..length].to_vec()).unwrap())
        };
        told.ready(at(1000));
        assert_eq!(heard().as_deref(), Some("READY=1"));
        assert_eq!(told.poll_timeout(), Some(at(1200)));
        for (now, said) in [(1000, None), (1099, None), (1100, Some("WATCHDOG=1")), (1199, None)] {
            told.alive(at(now));
            assert_eq!(heard().as_deref(), said, "{now}");
        }
        let latest = told.poll_timeout().unwrap();
        assert_eq!(latest, at(1300));
        told.alive(latest);
        assert_eq!(heard().as_deref(), Some("WATCHDOG=1"));
        assert!(told.poll_timeout().unwrap() > latest);
        told.stopping();
        assert_eq!(heard().as_deref(), Some("STOPPING=1"));
    }

    #[test]
    fn without_a_manager_nothing_is_done() {
        let mut nobody = Manager { socket: None, watchdog: None };
        nobody.ready(at(1));
        nobody.alive(at(2));
        nobody.stopping();
        assert_eq!(nobody.poll_timeout(), None);
    }

    #[test]
    fn what_is_no_socket_is_refused() {
        for path in ["", "relative", "vsock:2:1234", "/nonexistent/socket"] {
            assert!(connect(OsStr::new(path)).is_err(), "{path:?}");
        }
    }
}
