//! `--help`, of the whole and of each command.

/// What help is wanted about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    General,
    Run,
    Check,
    Genkey,
    Status,
}

impl Topic {
    /// The topic of a command line on which `command` was given before `--help`.
    pub(super) fn of(command: Option<&str>) -> Self {
        match command {
            Some("run") => Self::Run,
            Some("check") => Self::Check,
            Some("genkey") => Self::Genkey,
            Some("status") => Self::Status,
            _ => Self::General,
        }
    }
}

/// The text, at most 80 columns wide.
pub(super) fn text(topic: Topic) -> &'static str {
    match topic {
        Topic::General => GENERAL,
        Topic::Run => RUN,
        Topic::Check => CHECK,
        Topic::Genkey => GENKEY,
        Topic::Status => STATUS,
    }
}

const GENERAL: &str = "\
wgautomesh connects the peers of a WireGuard interface with each other, directly
and through NATs, without a server.

Usage:
  wgautomesh [MESH]            mesh the interface of MESH
  wgautomesh run [MESH]        the same
  wgautomesh check [MESH]      say everything that is wrong with it, or with all
  wgautomesh genkey            print a new gossip secret
  wgautomesh status [MESH]     show the peers of a running wgautomesh, or of all
  wgautomesh COMMAND --help    more about one command

MESH is the name of a `config mesh` section in /etc/config/wgautomesh. A first
word that is the name of a command is that command.

Options:
  -c, --config-dir DIR   read DIR/wgautomesh and DIR/network, not /etc/config
  -h, --help             print this
  -V, --version          print the version

Environment:
  WGAUTOMESH_LOG           how much to log: error, warn, info (the default),
                           debug, trace or off
  WGAUTOMESH_RUNTIME_DIR   where the control sockets are, instead of
                           /var/run/wgautomesh

Exit status: 0 done; 1 it could not be done; 2 the command line makes no sense.
";

const RUN: &str = "\
Meshes the interface of one mesh, until SIGTERM or SIGINT.

Usage: wgautomesh run [-c DIR] [MESH]
       wgautomesh [-c DIR] [MESH]

MESH is needed where several are enabled: each wants a process of its own. With
`option enabled '0'` in its section, it says so and ends with 0. It needs
CAP_NET_ADMIN, or root. The interface may appear later and may come and go: it
is never created here. Log lines go to standard error; WGAUTOMESH_LOG sets how
many.
";

const CHECK: &str = "\
Says everything that is wrong with a mesh, or with all of them.

Usage: wgautomesh check [-c DIR] [MESH]

Each finding is one line,

    FILE:LINE:COLUMN: error: OPTION: what is wrong; fix: what to do

An error keeps the daemon of this mesh from starting; a warning is most likely a
mistake; a note says what has no effect. Peers in /etc/config/network that are
wrong are left out, with a warning.

Exit status: 0 exactly when `run` would start for this mesh, or for all that are
enabled; 1 otherwise.
";

const GENKEY: &str = "\
Prints a new random gossip secret: 32 bytes in base64.

Usage: wgautomesh genkey

Every node of a mesh needs the same secret:

    uci set wgautomesh.home.secret=\"$(wgautomesh genkey)\"
    uci commit wgautomesh
";

const STATUS: &str = "\
Shows running wgautomeshes: the node itself and what it knows of each peer.

Usage: wgautomesh status [--json] [-c DIR] [--interface NAME | MESH]

  -i, --interface NAME   the WireGuard interface that it meshes
  MESH                   the mesh; all that are enabled, if none is given
  --json                 the whole status as one JSON document

The document of all meshes has that of each in it, or why there is none:

    {\"version\":1,\"meshes\":{\"NAME\":{...},\"NAME\":{\"error\":\"...\"}}}

Peers that are not connected come first, each with the last reason. Only root,
and the user that the daemon runs as, may ask.

Exit status: 0 shown; 1 a wgautomesh did not answer.
";

#[cfg(test)]
mod tests {
    use super::{Topic, text};

    #[test]
    fn fits_a_terminal() {
        for topic in [Topic::General, Topic::Run, Topic::Check, Topic::Genkey, Topic::Status] {
            for line in text(topic).lines() {
                assert!(line.len() <= 80, "{topic:?}: {line}");
            }
        }
    }
}
