//! Processes, by what /proc says of them.

use std::{collections::BTreeMap, fs, io};

use super::super::facts::{Capabilities, Seen};

/// The effective capabilities of a process, `self` or a number.
pub(super) fn capabilities(process: &str) -> Seen<Capabilities> {
    let status =
        fs::read_to_string(format!("/proc/{process}/status")).map_err(|error| super::unseen(&error))?;
    effective(&status).ok_or_else(|| super::unseen(&io::ErrorKind::InvalidData.into()))
}

fn effective(status: &str) -> Option<Capabilities> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok().map(Capabilities)
}

/// The programs that hold sockets, by the inode of the socket: those of this user, and for root all of them.
pub(super) fn socket_holders() -> BTreeMap<u64, String> {
    let mut holders = BTreeMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let path = process.path();
        let Some(number) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let files = fs::read_dir(path.join("fd")).into_iter().flatten().flatten();
        let inodes: Vec<u64> =
            files.filter_map(|file| inode(fs::read_link(file.path()).ok()?.to_str()?)).collect();
        if inodes.is_empty() {
            continue;
        }
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        holders.extend(inodes.into_iter().map(|inode| (inode, format!("{} ({number})", name.trim_end()))));
    }
    holders
}

/// `socket:[4711]`
fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::UdpSocket, os::fd::AsRawFd as _};

    #[test]
    fn capabilities_are_read_as_the_kernel_writes_them() {
        let status = "Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000003000\nCapBnd:\t0\n";
        assert_eq!(effective(status), Some(Capabilities(0x3000)));
        assert!(Capabilities(0x3000).net_admin() && Capabilities(0x3000).net_raw());
        assert_eq!(effective("Name:\tx\n"), None);
        capabilities("self").expect("everybody may read their own");
        capabilities("0").expect_err("there is no such process");
    }

    #[test]
    fn whoever_holds_a_socket_is_named() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).expect("a link");
        let inode = inode(link.to_str().expect("text")).expect("a socket's");
        let holders = socket_holders();
        let holder = holders.get(&inode).expect("this process");
        assert!(holder.ends_with(&format!(" ({})", std::process::id())), "{holder}");
    }
}
