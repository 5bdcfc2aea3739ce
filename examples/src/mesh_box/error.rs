//! What can go wrong with the box, and what to do about it.

use core::fmt;
use std::io;

use serde::{Deserialize, Serialize};

/// Something that the box needs and this machine does not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Closed {
    /// `unshare(CLONE_NEWUSER | …)` was refused.
    UserNamespaces,
    /// `/dev/net/tun` does not exist, or its driver is not in the kernel.
    TunMissing,
    /// `/dev/net/tun` may not be opened by this user.
    TunForbidden,
    /// `--wireguard kernel`, and the kernel has no WireGuard.
    KernelWireGuard,
}

impl Closed {
    /// What a person can do to open it, in lines without indentation.
    #[must_use]
    pub fn advice(self) -> String {
        match self {
            Self::UserNamespaces => user_namespace_advice(),
            Self::TunMissing => {
                "there is no /dev/net/tun. Load the driver:\n    sudo modprobe tun\nIn a container, \
                 give it the device: docker run --device /dev/net/tun …"
                    .into()
            }
            Self::TunForbidden => {
                "/dev/net/tun may not be opened by this user; elsewhere its mode is 0666:\n    \
                 sudo chmod 0666 /dev/net/tun\nor run the box as root."
                    .into()
            }
            Self::KernelWireGuard => {
                "this kernel has no WireGuard:\n    sudo modprobe wireguard\nor let the box \
                 bring its own: --wireguard embedded"
                    .into()
            }
        }
    }
}

fn user_namespace_advice() -> String {
    let mut text = String::from("user namespaces are closed here.");
    let settings = [
        ("/proc/sys/user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=15000"),
        ("/proc/sys/user/max_net_namespaces", "0", "sudo sysctl -w user.max_net_namespaces=15000"),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ];
    let mut found = false;
    for (path, closed, command) in settings {
        if std::fs::read_to_string(path).is_ok_and(|value| value.trim() == closed) {
            text.push_str(if found { "\nand:\n    " } else { " Open them:\n    " });
            text.push_str(command);
            found = true;
        }
    }
    if !found {
        text.push_str(
            " No sysctl says so (user.max_user_namespaces, kernel.unprivileged_userns_clone and\n\
             kernel.apparmor_restrict_unprivileged_userns were looked at), so it is likely a container's filter:\n    \
             docker run --security-opt seccomp=unconfined --cap-add SYS_ADMIN --device /dev/net/tun …",
        );
    }
    text.push_str("\nOr run the box as root.");
    text
}

impl fmt::Display for Closed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.advice())
    }
}

/// Why a mesh in a box could not be made or asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum BoxError {
    /// The machine lacks something; the value says what to do.
    Closed(Closed),
    /// A request to one node failed. The text comes from inside it.
    Node {
        /// The node's name.
        node: String,
        /// What it said.
        text: String,
    },
    /// A node's process ended without being asked to.
    Gone {
        /// The node's name.
        node: String,
    },
    /// The daemon binary could not be built or found.
    Daemon(String),
    /// The shape of the mesh cannot be: too many nodes, no such node, an unknown NAT.
    Plan(String),
    /// A system call of the parent failed.
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl BoxError {
    /// The exit code of `box`: 77, by which test harnesses know a skip, where the machine lacks something; 70 for
    /// everything else that kept the mesh from running at all.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Closed(_) => 77,
            _ => 70,
        }
    }

    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

impl fmt::Display for BoxError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(closed) => closed.fmt(formatter),
            Self::Node { node, text } => write!(formatter, "{node}: {text}"),
            Self::Gone { node } => write!(formatter, "{node}: its process ended"),
            Self::Daemon(text) | Self::Plan(text) => formatter.write_str(text),
            Self::Io { doing, source } => write!(formatter, "{doing}: {source}"),
        }
    }
}

impl core::error::Error for BoxError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
