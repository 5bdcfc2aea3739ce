//! From an ordinary process into a machine of its own: user, network and mount namespaces.
//!
//! The order of the steps is what makes them work for an unprivileged user; each says why.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change};
use rustix::process::{getgid, getuid};

use super::error::Closed;
use super::sys;

/// What kept a process from becoming a node.
pub(crate) enum EnterError {
    Closed(Closed),
    Io(&'static str, io::Error),
}

impl EnterError {
    fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io(doing, error)
    }
}

impl core::fmt::Display for EnterError {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Closed(closed) => closed.fmt(formatter),
            Self::Io(doing, error) => write!(formatter, "{doing}: {error}"),
        }
    }
}

/// Moves the calling process, which must have one thread, into a machine with nothing but a loop-back interface and
/// an empty `/run`. It is root there, whoever it was before.
pub(crate) fn enter() -> Result<(), EnterError> {
    // Read before: afterwards they are the overflow id until the maps are written.
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    sys::leave_namespaces().map_err(|error| match error.raw_os_error() {
        // EPERM, ENOSPC, EUSERS: closed by policy or by a limit. ENOSYS, EINVAL: not in this kernel.
        Some(1 | 28 | 87 | 38 | 22) => EnterError::Closed(Closed::UserNamespaces),
        _ => EnterError::Io("unshare", error),
    })?;
    // Without "deny" an unprivileged user may not write the group map: setgroups could drop a group that is there
    // to take rights away.
    fs::write("/proc/self/setgroups", "deny").map_err(map_error)?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1")).map_err(map_error)?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1")).map_err(map_error)?;

    // Nothing mounted here may reach the machine outside.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|error| EnterError::Io("mount / private", error.into()))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", "/run", "tmpfs", flags, Some(c"mode=755"))
        .map_err(|error| EnterError::Io("mount a tmpfs on /run", error.into()))?;
    // UAPI sockets are looked for in /var/run. Where that is no link to /run, make it one place.
    let var_run = Path::new("/var/run");
    if var_run.is_dir() && fs::canonicalize(var_run).is_ok_and(|path| path != Path::new("/run")) {
        mount_bind_recursive("/run", var_run)
            .map_err(|error| EnterError::Io("mount /run on /var/run", error.into()))?;
    }
    // The /sys that was there shows the interfaces of the namespace it was mounted in. Where a container has parts
    // of it hidden the kernel refuses a fresh one; nothing in the box depends on it, only daemons that look there.
    let _ = mount("sysfs", "/sys", "sysfs", flags | MountFlags::NOEXEC | MountFlags::RDONLY, None);
    Ok(())
}

/// Some distributions let `unshare` through and refuse the maps (AppArmor on Ubuntu 24.04).
fn map_error(error: io::Error) -> EnterError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => EnterError::Closed(Closed::UserNamespaces),
        _ => EnterError::Io("write the user and group maps", error),
    }
}

/// Creates the TUN interface `name` and returns its packet end.
///
/// The device is opened here, in the new namespaces: a descriptor from before belongs to the old ones, and
/// TUNSETIFF on it fails with EPERM.
pub(crate) fn open_tun(name: &str) -> Result<fs::File, EnterError> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun").map_err(|error| {
        match (error.kind(), error.raw_os_error()) {
            // ENODEV, ENXIO: the node is there, the driver is not.
            (io::ErrorKind::NotFound, _) | (_, Some(19 | 6)) => EnterError::Closed(Closed::TunMissing),
            (io::ErrorKind::PermissionDenied, _) => EnterError::Closed(Closed::TunForbidden),
            _ => EnterError::Io("open /dev/net/tun", error),
        }
    })?;
    sys::attach_tun(&file, name).map_err(EnterError::io("create a TUN interface"))?;
    rustix::io::ioctl_fionbio(&file, true)
        .map_err(|error| EnterError::Io("make the TUN interface non-blocking", error.into()))?;
    Ok(file)
}

/// IN6_ADDR_GEN_MODE_RANDOM of the kernel.
const RANDOM_ADDRESS: &str = "3";

/// The way out of a node, as [`open_tun`]; a daemon must take its addresses for the machine's own, not for a VPN's.
pub(crate) fn open_wan(name: &str) -> Result<fs::File, EnterError> {
    let wan = open_tun(name)?;
    sys::make_modem(&wan).map_err(EnterError::io("make the TUN interface a modem's"))?;
    // A modem's link-local address comes from its hardware address. That of a TUN interface is zero, and the nodes of a LAN would
    // all have the same one.
    match fs::write(format!("/proc/sys/net/ipv6/conf/{name}/addr_gen_mode"), RANDOM_ADDRESS) {
        // This kernel has no IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        written => written.map_err(EnterError::io("have a random link-local address"))?,
    }
    Ok(wan)
}
