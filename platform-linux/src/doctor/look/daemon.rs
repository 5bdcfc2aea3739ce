//! The running daemon: its status by the control socket, and its process by who listens there.

use core::time::Duration;
use std::os::unix::net::UnixStream;

use rustix::net::sockopt::socket_peercred;

use super::{
    super::facts::{Daemon, Seen, Unseen},
    process,
};
use crate::{
    config::InterfaceName,
    control::{self, FetchError, Request, status::Status},
};

/// As the commands wait for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The interface of the only daemon that runs.
pub(super) fn only_one() -> Option<String> {
    match control::running(&control::directory()).ok()?.as_slice() {
        [only] => Some(only.to_string()),
        _ => None,
    }
}

/// The daemon of an interface, if one runs.
pub(super) fn look(interface: &str) -> Seen<Option<Daemon>> {
    let directory = control::directory();
    let name = InterfaceName::parse(interface).map_err(|fault| Unseen::new(fault.what, fault.fix))?;
    let answer = match control::fetch(&directory, &name, &Request::Status, PATIENCE) {
        Ok(answer) => answer,
        Err(FetchError::NotRunning(_)) => return Ok(None),
        Err(FetchError::NotAllowed(path)) => {
            let why = format!("{} is for root and the user the daemon runs as only", path.display());
            return Err(Unseen::new(why, super::AS_ROOT));
        }
        Err(error) => return Err(Unseen::new(error.to_string(), "look into the daemon's log")),
    };
    let status: Status = serde_json::from_str(&answer).map_err(|_| {
        Unseen::new("its answer is not understood", "restart it, if it is of another version")
    })?;
    // Whoever made the socket listen.
    let listener = UnixStream::connect(control::socket_path(&directory, &name))
        .and_then(|stream| Ok(socket_peercred(&stream)?))
        .map_err(|error| super::unseen(&error))?;
    let process = listener.pid.as_raw_nonzero().to_string();
    Ok(Some(Daemon { status, user: listener.uid.as_raw(), capabilities: process::capabilities(&process) }))
}
