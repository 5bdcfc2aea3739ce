//! `--help`, of the whole and of each command.

/// What help is wanted about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    General,
    Run,
    Check,
    Init,
    Import,
    Genkey,
    Status,
    Reload,
    Metrics,
    Doctor,
    Map,
    Why,
}

impl Topic {
    /// The topic of a command line on which `command` was given before `--help`.
    pub(crate) fn of(command: Option<&str>) -> Self {
        match command {
            Some("run") => Self::Run,
            Some("check") => Self::Check,
            Some("init") => Self::Init,
            Some("import") => Self::Import,
            Some("genkey") => Self::Genkey,
            Some("status") => Self::Status,
            Some("reload") => Self::Reload,
            Some("metrics") => Self::Metrics,
            Some("doctor") => Self::Doctor,
            Some("map") => Self::Map,
            Some("why") => Self::Why,
            _ => Self::General,
        }
    }
}

/// The text, at most 80 columns wide.
pub(crate) fn text(topic: Topic) -> &'static str {
    match topic {
        Topic::General => GENERAL,
        Topic::Run => RUN,
        Topic::Check => CHECK,
        Topic::Init => INIT,
        Topic::Import => IMPORT,
        Topic::Genkey => GENKEY,
        Topic::Status => STATUS,
        Topic::Reload => RELOAD,
        Topic::Metrics => METRICS,
        Topic::Doctor => DOCTOR,
        Topic::Map => MAP,
        Topic::Why => WHY,
    }
}

const GENERAL: &str = "\
wgautomesh connects the peers of a WireGuard interface with each other, directly
and through NATs, without a server.

Usage:
  wgautomesh [FILE]            mesh the interface that FILE names
  wgautomesh run [FILE]        the same
  wgautomesh check [FILE]      say everything that is wrong with FILE
  wgautomesh init [FILE]       write a commented FILE to begin with
  wgautomesh import FILE.conf  print the configuration for a wg-quick file
  wgautomesh genkey            print a new gossip secret
  wgautomesh status            show the peers of a running wgautomesh
  wgautomesh why PEER          say why a peer is connected or not
  wgautomesh map               show how all nodes reach each other
  wgautomesh doctor [FILE]     check this machine for what FILE wants
  wgautomesh reload            have it go by its configuration as it is now
  wgautomesh metrics           print its metrics for Prometheus
  wgautomesh COMMAND --help    more about one command

FILE is a TOML file, /etc/wgautomesh.toml if none is given. A first word that is
the name of a command is that command; write ./run for a file called \"run\".

Options:
  -h, --help       print this
  -V, --version    print the version

Environment:
  WGAUTOMESH_LOG           how much to log: error, warn, info (the default),
                           debug, trace or off; and how much of a part of the
                           program: info,wgautomesh::portmap=debug
  WGAUTOMESH_RUNTIME_DIR   where the control sockets are, instead of
                           /run/wgautomesh

Exit status: 0 done; 1 it could not be done; 2 the command line makes no sense.
";

const RUN: &str = "\
Meshes the interface that a configuration file names, until SIGTERM or SIGINT.

Usage: wgautomesh run [FILE]
       wgautomesh [FILE]

FILE is /etc/wgautomesh.toml if none is given. It needs CAP_NET_ADMIN, or root.
The interface may appear later and may come and go: it is never created here.
Log lines go to standard error; WGAUTOMESH_LOG sets how many. SIGHUP has it read
FILE again, as `wgautomesh reload` does.
";

const CHECK: &str = "\
Says everything that is wrong with a configuration file.

Usage: wgautomesh check [FILE]

FILE is /etc/wgautomesh.toml if none is given. Each finding is one line,

    FILE:LINE:COLUMN: error: KEY: what is wrong; fix: what to do

An error keeps the daemon from starting; a warning is most likely a mistake; a
note says what has no effect in this version.

Exit status: 0 exactly when `run` would start with this file, 1 otherwise.
";

const INIT: &str = "\
Writes a configuration to begin with: every setting with its explanation, and a
new gossip secret.

Usage: wgautomesh init [--interface NAME] [FILE]

  -i, --interface NAME   for this WireGuard interface, and with the peers that
                         it has: each with its key, its address (its first /32
                         or /128 allowed IP), and its endpoint

FILE is /etc/wgautomesh.toml if none is given. It must not be there yet: nothing
is ever overwritten. Only its owner can read it. To read the peers it needs
CAP_NET_ADMIN, or root.

Every node of a mesh needs the same secret. The first node makes it; copy it, or
the whole file, to the others.

Exit status: 0 written; 1 it could not be, and nothing has changed.
";

const IMPORT: &str = "\
Prints the configuration for a wg-quick file.

Usage: wgautomesh import FILE.conf

The interface is called as the file is. Each peer brings its public key, its
address (the first /32 or /128 of AllowedIPs), its Endpoint, and its name, where
a comment gives one: \"# Name = x\" in its section, or \"### x\" before it. Peers
without an address of their own are left out, with a warning. Private and
preshared keys are neither read nor printed; the file goes on being wg-quick's.

    wgautomesh import /etc/wireguard/wg0.conf > /etc/wgautomesh.toml

With peers_from_interface = true in the configuration, the peers of the
interface are meshed as they are, and need not be listed.

Exit status: 0 printed; 1 something is wrong with the file.
";

const GENKEY: &str = "\
Prints a new random gossip secret: 32 bytes in base64.

Usage: wgautomesh genkey

Every node of a mesh needs the same secret. To keep it from other users:

    (umask 077; wgautomesh genkey > /etc/wgautomesh.secret)

and in the configuration: gossip_secret_file = \"/etc/wgautomesh.secret\"
";

const STATUS: &str = "\
Shows a running wgautomesh: the node itself and what it knows of each peer.

Usage: wgautomesh status [--json | --watch] [--interface NAME | FILE]

  -i, --interface NAME   the WireGuard interface that it meshes
  FILE                   the configuration file it was started with
  --json                 the whole status as one JSON document, as
                         wgautomesh-status(5) describes it
  --watch                a screen that is drawn again each second: the peers,
                         their round trips and traffic, and what has happened;
                         q or Ctrl-C ends it

Neither NAME nor FILE is needed where only one wgautomesh runs. Peers that are
not connected come first, each with the last reason. Only root, and the user
that the daemon runs as, may ask. A terminal gets colours, unless NO_COLOR is
set.

Exit status: 0 shown; 1 no wgautomesh answered.
";

const RELOAD: &str = "\
Has a running wgautomesh go by its configuration as it is now.

Usage: wgautomesh reload [--interface NAME | FILE]

  -i, --interface NAME   the WireGuard interface that it meshes: it reads the
                         file again that it was started with
  FILE                   the configuration to go by, for the interface that it
                         names; it is read here, and its secret file too

Neither is needed where only one wgautomesh runs. Where systemd runs it, use
`systemctl reload`: what it reads itself are copies from its start.

The file is checked first. With an error in it nothing changes, and what is
wrong is said. Else only what is different is done, and said; no other session
is touched. Peers can be added up to 1024. Everything can change but the
interface, gossip_port and persist_file: these need a restart, which costs no
session either, and another of them is an error here.

A peer that is not in the file any more leaves the mesh. It leaves WireGuard too
if this wgautomesh has added it there since it was started. One that was there
before stays, with its own keepalive: to be removed, if it is, by hand.

Exit status: 0 it goes by the file; 1 nothing has changed.
";

const METRICS: &str = "\
Prints the metrics of a running wgautomesh in Prometheus' text format.

Usage: wgautomesh metrics [--interface NAME | FILE]

  -i, --interface NAME   the WireGuard interface that it meshes
  FILE                   the configuration file it was started with

Neither is needed where only one wgautomesh runs. Prometheus itself fetches them
from the address that metrics_listen names in the configuration. Each metric is
printed with what it means. Counters begin at 0 when the daemon is started. Only
root, and the user that the daemon runs as, may ask.

Exit status: 0 printed; 1 no wgautomesh answered.
";

const DOCTOR: &str = "\
Checks this machine for what a configuration wants: each finding with its fix.

Usage: wgautomesh doctor [--json] [FILE]

  --json   the findings as one JSON document, as wgautomesh-doctor(5)
           describes it

FILE is /etc/wgautomesh.toml if none is given. It looks at the configuration;
the interface, its keys, ports and addresses; the ways to the peers and to their
endpoints; the firewall, MTU and reverse path filter; the clock; capabilities,
and the owners and modes of files; and a wgautomesh that runs. Nothing is
changed. To read the firewall it starts nft and iptables-save, where they are.

Root sees most. What could not be looked at is listed as skipped, with what to
do about that. What it says of a firewall is what may happen: it is no proof.

  error     the mesh cannot work, or not with all peers
  warning   most likely not as it was meant
  note      worth knowing

Exit status: 0 there is no error; 1 there is one.
";

const MAP: &str = "\
Shows the whole mesh as a running wgautomesh knows it: who is behind what NAT,
and how each pair of nodes reaches each other.

Usage: wgautomesh map [--dot | --svg | --json] [--interface NAME | FILE]

  -i, --interface NAME   the WireGuard interface that it meshes
  FILE                   the configuration file it was started with
  --dot                  as a graph for Graphviz
  --svg                  as a picture, for a browser
  --json                 as one JSON document, as wgautomesh-map(5) describes it

Neither NAME nor FILE is needed where only one wgautomesh runs. It asks all
peers how they stand with all others, directly or through one that is connected
to them, and answers after 1.5 seconds at the latest. A node that does not
answer, being of an older version or reached by nobody, is shown as others see
it.

    wgautomesh map --svg > mesh.svg

In the table a node has a row and a column: L is a pair on one LAN, D one of
which one node is reachable from everywhere, P one that punched its NATs, ~ one
that is being connected, x one that is not connected, with the reasons below,
and ? one that nobody said anything of. EIM is an endpoint-independent NAT, EDM
an endpoint-dependent (\"symmetric\") one.

Exit status: 0 shown; 1 no wgautomesh answered.
";

const WHY: &str = "\
Says why a peer is connected or not, and what can be done about it.

Usage: wgautomesh why PEER [--json] [--interface NAME | FILE]

  PEER                   its name, its mesh address, its public key, or the
                         beginning of that
  -i, --interface NAME   the WireGuard interface that is meshed
  FILE                   the configuration file of the wgautomesh to ask
  --json                 all of it as one JSON document, as
                         wgautomesh-why(5) describes it

It shows what either side is seen as, what was tried of late and what came of
it, and what the peer itself and others say: they are asked through those that
are connected, for a second and a half at most. Neither --interface nor FILE is
needed where only one wgautomesh runs. Only root, and the user that the daemon
runs as, may ask.

Exit status: 0 it was said, whether connected or not; 1 no wgautomesh answered,
or there is no such peer.
";

#[cfg(test)]
mod tests {
    use super::super::help;

    #[test]
    fn fits_a_terminal() {
        for (command, text) in help() {
            for line in text.lines() {
                assert!(line.len() <= 80, "{command:?}: {line}");
            }
        }
    }

    #[test]
    fn every_command_has_its_own() {
        for (command, text) in help() {
            let usage = format!("Usage: wgautomesh {}", command.unwrap_or_default());
            assert_eq!(text.contains(&usage), command.is_some(), "{command:?}");
        }
    }
}
