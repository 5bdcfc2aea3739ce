//! The only unsafe code of the box: three system calls that no safe wrapper covers.
//!
//! Everything else (mounts, netlink, SCM_RIGHTS, poll) goes through `rustix` and `socket2`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use rustix::ioctl::{IntegerSetter, Setter, ioctl, opcode};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// `struct ifreq` as TUNSETIFF reads it: a name and flags. The kernel copies the whole structure, which is 40
/// bytes on 64-bit machines and 32 on others; the larger one serves both.
#[repr(C, align(8))]
struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

const IFF_TUN: u16 = 0x0001;
const IFF_NO_PI: u16 = 0x1000;

/// `_IOW('T', 202, int)`: the size in the number is that of an int although an `ifreq` is passed.
const TUNSETIFF: rustix::ioctl::Opcode = opcode::write::<i32>(b'T', 202);

/// Makes the open `/dev/net/tun` file the packet end of the interface `name`, which is created if it is not there.
///
/// # Errors
/// What the kernel says: `EPERM` where the namespace does not belong to the caller, `EBUSY` where the interface is
/// in use, `InvalidInput` for a name over 15 bytes.
pub(crate) fn attach_tun(file: &File, name: &str) -> io::Result<()> {
    let mut request = InterfaceRequest { name: [0; 16], flags: IFF_TUN | IFF_NO_PI, rest: [0; 22] };
    if name.is_empty() || name.len() > 15 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: TUNSETIFF reads one `struct ifreq`; `InterfaceRequest` has its layout and at least its size, and it
    // lives until the call returns.
    unsafe { ioctl(file, Setter::<TUNSETIFF, InterfaceRequest>::new(request))? };
    Ok(())
}

/// `_IOW('T', 205, int)`, with the number itself and not a pointer to it.
const TUNSETLINK: rustix::ioctl::Opcode = opcode::write::<i32>(b'T', 205);

/// Bare IP packets, as of a modem.
const ARPHRD_RAWIP: usize = 519;

/// Makes the TUN interface of the file, which must be down, look like a modem's instead of a VPN's.
///
/// # Errors
/// `EBUSY` where it is up.
pub(crate) fn make_modem(tun: &File) -> io::Result<()> {
    // SAFETY: TUNSETLINK takes a number, and no pointer.
    unsafe { ioctl(tun, IntegerSetter::<TUNSETLINK>::new_usize(ARPHRD_RAWIP))? };
    Ok(())
}

/// Moves this process into new user, network and mount namespaces.
///
/// Must be called while the process has one thread; the kernel refuses otherwise (`EINVAL`).
///
/// # Errors
/// What the kernel says; `EPERM` or `ENOSPC` where user namespaces are closed.
pub(crate) fn leave_namespaces() -> io::Result<()> {
    let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNET | UnshareFlags::NEWNS;
    // SAFETY: `unshare` is unsafe only for CLONE_FILES, after which another thread's file descriptors would no
    // longer be ours. That flag is not in the set.
    unsafe { unshare_unsafe(flags)? };
    Ok(())
}
