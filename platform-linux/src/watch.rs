//! What changes on this machine: the WireGuard link coming and going, the other links and their addresses.
//!
//! The kernel tells of it by rtnetlink multicast, so nothing is asked periodically. Routes are not watched: WireGuard
//! looks them up per packet, and on IPv6 every router advertisement would wake the daemon.

use core::net::IpAddr;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{io::Errno, net::netdevice};
use wgautomesh_core::{Scope, scope};

use crate::rtnl::{self, Request, attributes, field, kind, messages};

const RTMGRP_LINK: u32 = 0x1;
const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;

/// `struct ifinfomsg` and `struct ifaddrmsg`.
const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;

const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;

/// Addresses that must not be published: duplicate on the link, not to be used for new flows (an IPv6 privacy address
/// out of date, say), or not yet checked.
const IFA_F_UNFIT: u32 = 0x08 | 0x20 | 0x40;

/// Links that carry packets inside packets: what others send to their addresses takes a way round, or comes back to us.
/// [`TUN`] is told by more than its kind. Not `ppp`, which is mostly the way to the internet.
const TUNNELS: [&[u8]; 14] = [
    b"wireguard",
    b"amneziawg",
    b"ovpn",
    b"ovpn-dco",
    b"gre",
    b"gretap",
    b"ip6gre",
    b"ip6gretap",
    b"ipip",
    b"ip6tnl",
    b"sit",
    b"vti",
    b"vti6",
    b"xfrm",
];

/// Links of programs. One that carries bare IP packets ([`ARPHRD_NONE`]) is a VPN's: OpenVPN's, Tailscale's, a userspace
/// WireGuard's. One that is like a network card (`tap`) may be one too, and may be the only card of a container or lead to
/// virtual machines.
const TUN: &[u8] = b"tun";

/// `linux/if.h` and `linux/if_arp.h`.
const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_POINTOPOINT: u32 = 0x10;
const IFF_RUNNING: u32 = 0x40;
const IFF_NOARP: u32 = 0x80;
const ARPHRD_NONE: u16 = 0xfffe;

/// What has changed since the last look.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Changes {
    /// The WireGuard link appeared, vanished, went up or down.
    pub link: bool,
    /// The machine's own addresses may be others.
    pub addresses: bool,
    /// Another link appeared, vanished, went up or down, or something less about it changed.
    pub others: bool,
}

/// A link of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is up and carries something.
    pub up: bool,
    /// Whether it leads to one other end, or to nobody: a tunnel, a modem, the loop-back.
    pub tunnel: bool,
    /// Its addresses with their prefix lengths, link-local ones too: none that is tentative or a duplicate.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// A source of [`Changes`].
pub trait Watch {
    /// Readable when there may be changes.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Takes what has changed, without waiting.
    fn changes(&mut self) -> Changes;

    /// The machine's own unicast addresses now, public ones first: not those of a tunnel, no loopback, no
    /// link-local, none that is deprecated, tentative or a duplicate.
    ///
    /// # Errors
    /// The kernel's.
    fn addresses(&mut self) -> io::Result<Vec<IpAddr>>;

    /// The machine's links now, in the kernel's order.
    ///
    /// # Errors
    /// The kernel's.
    fn links(&mut self) -> io::Result<Vec<Link>>;
}

/// [`Watch`] by rtnetlink.
pub struct Rtnetlink {
    events: OwnedFd,
    interface: String,
    /// The link's last known index: a rename shows by it.
    index: Option<u32>,
    buffer: Box<[u8; 8192]>,
}

impl Rtnetlink {
    /// Watches the link of this name.
    ///
    /// # Errors
    /// The kernel's, where there is no rtnetlink.
    pub fn new(interface: &str) -> io::Result<Self> {
        Ok(Self {
            events: rtnl::open(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR)?,
            interface: interface.into(),
            index: None,
            buffer: Box::new([0; 8192]),
        })
    }

    /// Asks for all things of a kind, and looks at each.
    fn dump(&mut self, kind: u16, body: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
        // A socket of its own, so that events and answers do not mix.
        let socket = rtnl::open(0)?;
        rtnl::ask(&socket, &Request::dump(kind, body))?;
        loop {
            for message in messages(rtnl::receive(&socket, &mut self.buffer[..])?) {
                match message.kind {
                    kind::NEW_LINK | kind::NEW_ADDR => each(message.body),
                    kind::ERROR => return Err(io::Error::from_raw_os_error(message.errno())),
                    kind::DONE => return Ok(()),
                    _ => {}
                }
            }
        }
    }
}

/// Notes what one datagram of events says of the link `name`, last seen with `index`.
fn note(datagram: &[u8], name: &str, index: &mut Option<u32>, changes: &mut Changes) {
    for message in messages(datagram) {
        match message.kind {
            kind::NEW_LINK | kind::DEL_LINK => {
                let Some(this) = field(message.body, 4).map(u32::from_ne_bytes) else { continue };
                let named = attributes(message.body, IFINFOMSG).any(|(kind, value)| {
                    kind == IFLA_IFNAME && value.strip_suffix(&[0]) == Some(name.as_bytes())
                });
                if named || *index == Some(this) {
                    changes.link = true;
                    *index = (named && message.kind == kind::NEW_LINK).then_some(this);
                } else {
                    changes.others = true;
                }
            }
            kind::NEW_ADDR | kind::DEL_ADDR => changes.addresses = true,
            _ => {}
        }
    }
}

/// The link of one `RTM_NEWLINK` message, if it is a tunnel.
fn tunnel(body: &[u8]) -> Option<u32> {
    let hardware = u16::from_ne_bytes(field(body, 2)?);
    let index = u32::from_ne_bytes(field(body, 4)?);
    let (_, info) = attributes(body, IFINFOMSG).find(|&(attribute, _)| attribute == IFLA_LINKINFO)?;
    let (_, kind) = attributes(info, 0).find(|&(attribute, _)| attribute == IFLA_INFO_KIND)?;
    let kind = kind.strip_suffix(&[0]).unwrap_or(kind);
    (TUNNELS.contains(&kind) || (kind == TUN && hardware == ARPHRD_NONE)).then_some(index)
}

/// The address of one `RTM_NEWADDR` message, if it is one to publish.
fn fit(body: &[u8], tunnels: &[u32]) -> Option<IpAddr> {
    let (index, ip, _) = address_of(body)?;
    (!tunnels.contains(&index) && matches!(scope(ip), Scope::Private | Scope::Public)).then_some(ip)
}

/// The link of one `RTM_NEWLINK` message, without addresses.
fn link_of(body: &[u8]) -> Option<Link> {
    let flags = u32::from_ne_bytes(field(body, 8)?);
    let (_, name) = attributes(body, IFINFOMSG).find(|&(kind, _)| kind == IFLA_IFNAME)?;
    let hardware = u16::from_ne_bytes(field(body, 2)?);
    let one_end = hardware == ARPHRD_NONE || flags & (IFF_LOOPBACK | IFF_POINTOPOINT | IFF_NOARP) != 0;
    Some(Link {
        index: u32::from_ne_bytes(field(body, 4)?),
        name: String::from_utf8_lossy(name.strip_suffix(&[0])?).into_owned(),
        up: flags & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING,
        tunnel: one_end || tunnel(body).is_some(),
        addresses: Vec::new(),
    })
}

/// The link, address and prefix length of one `RTM_NEWADDR` message, unless the address is unfit to be used.
fn address_of(body: &[u8]) -> Option<(u32, IpAddr, u8)> {
    let index = u32::from_ne_bytes(field(body, 4)?);
    let mut flags = u32::from(*body.get(2)?);
    let (mut address, mut local) = (None, None);
    for (kind, value) in attributes(body, IFADDRMSG) {
        match kind {
            IFA_ADDRESS => address = rtnl::ip(value),
            IFA_LOCAL => local = rtnl::ip(value),
            IFA_FLAGS => flags = field(value, 0).map_or(flags, u32::from_ne_bytes),
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the other end.
    let ip = local.or(address)?;
    (flags & IFA_F_UNFIT == 0).then_some((index, ip, *body.get(1)?))
}

impl Watch for Rtnetlink {
    fn fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    fn changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        // As many as a socket buffer holds at the most; what comes later is left to the next turn of the loop.
        for _ in 0..1024 {
            match rtnl::receive(&self.events, &mut self.buffer[..]) {
                Ok(datagram) => note(datagram, &self.interface, &mut self.index, &mut changes),
                Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                    // Events were lost: anything may have changed.
                    changes = Changes { link: true, addresses: true, others: true };
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        changes
    }

    fn addresses(&mut self) -> io::Result<Vec<IpAddr>> {
        let mut tunnels = Vec::from_iter(netdevice::name_to_index(&self.events, &self.interface).ok());
        self.dump(kind::GET_LINK, &[rtnl::AF_UNSPEC; IFINFOMSG], |body| {
            tunnels.extend(tunnel(body));
        })?;
        let mut addresses = Vec::new();
        self.dump(kind::GET_ADDR, &[rtnl::AF_UNSPEC; IFADDRMSG], |body| {
            addresses.extend(fit(body, &tunnels))
        })?;
        // Stable: within a scope the kernel's order stays, which is that of the interfaces.
        addresses.sort_by_key(|&ip| scope(ip) != Scope::Public);
        Ok(addresses)
    }

    fn links(&mut self) -> io::Result<Vec<Link>> {
        let mut links = Vec::new();
        self.dump(kind::GET_LINK, &[rtnl::AF_UNSPEC; IFINFOMSG], |body| {
            links.extend(link_of(body));
        })?;
        self.dump(kind::GET_ADDR, &[rtnl::AF_UNSPEC; IFADDRMSG], |body| {
            if let Some((index, ip, prefix)) = address_of(body)
                && let Some(link) = links.iter_mut().find(|link: &&mut Link| link.index == index)
            {
                link.addresses.push((ip, prefix));
            }
        })?;
        Ok(links)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(kind: u16, index: u32, name: &str) -> Vec<u8> {
        let mut info = [0; IFINFOMSG];
        info[4..8].copy_from_slice(&index.to_ne_bytes());
        let name = [name.as_bytes(), &[0]].concat();
        Request::get(kind, &info).attribute(IFLA_IFNAME, &name).bytes().to_vec()
    }

    fn address(index: u32, flags: u32, ip: &[u8]) -> Vec<u8> {
        let mut info = [0; IFADDRMSG];
        info[4..8].copy_from_slice(&index.to_ne_bytes());
        let request = Request::get(kind::NEW_ADDR, &info).attribute(IFA_ADDRESS, ip);
        request.attribute(IFA_FLAGS, &flags.to_ne_bytes()).bytes().to_vec()
    }

    #[test]
    fn only_the_named_link_counts() {
        const LINK: Changes = Changes { link: true, addresses: false, others: false };
        const OTHER: Changes = Changes { others: true, link: false, addresses: false };
        let mut index = None;
        for (kind, this, name, expected, known) in [
            (kind::NEW_LINK, 3, "wg1", OTHER, None),
            (kind::NEW_LINK, 4, "wg0", LINK, Some(4)),
            (kind::NEW_LINK, 4, "renamed", LINK, None),
            (kind::NEW_LINK, 4, "wg0", LINK, Some(4)),
            (kind::DEL_LINK, 3, "wg1", OTHER, Some(4)),
            (kind::DEL_LINK, 4, "wg0", LINK, None),
            (kind::NEW_LINK, 5, "wg0", LINK, Some(5)),
        ] {
            let mut changes = Changes::default();
            note(&link(kind, this, name), "wg0", &mut index, &mut changes);
            assert_eq!((changes, index), (expected, known), "{kind} {this} {name}");
        }
    }

    #[test]
    fn only_fit_addresses_are_told() {
        let public = [203, 0, 113, 7];
        let v6 = *b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01";
        let link_local = *b"\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x01";
        for (index, flags, ip, expected) in [
            (2, 0x80, &public[..], true),
            (9, 0x80, &public[..], false),
            (2, 0x80 | 0x20, &public[..], false),
            (2, 0x40, &v6[..], false),
            (2, 0x08, &v6[..], false),
            (2, 0x01, &v6[..], true),
            (2, 0x80, &[127, 0, 0, 1][..], false),
            (2, 0x80, &[10, 1, 2, 3][..], true),
            (2, 0x80, &[169, 254, 2, 3][..], false),
            (2, 0x80, &link_local[..], false),
            (2, 0x80, &[1, 2, 3][..], false),
        ] {
            let datagram = address(index, flags, ip);
            let found: Vec<_> = messages(&datagram).filter_map(|message| fit(message.body, &[9])).collect();
            assert_eq!(!found.is_empty(), expected, "{index} {flags:#x} {ip:?}");
        }
    }

    #[test]
    fn tunnels_are_told_by_their_kind() {
        const ARPHRD_ETHER: u16 = 1;
        const ARPHRD_PPP: u16 = 512;
        for (kind, hardware, expected) in [
            ("wireguard", ARPHRD_NONE, Some(7)),
            ("ovpn", ARPHRD_NONE, Some(7)),
            ("sit", 776, Some(7)),
            ("gretap", ARPHRD_ETHER, Some(7)),
            ("", ARPHRD_ETHER, None),
            ("bridge", ARPHRD_ETHER, None),
            ("ppp", ARPHRD_PPP, None),
            // Modems: by USB, where the driver has no kind, and by PCIe.
            ("", ARPHRD_NONE, None),
            ("wwan", ARPHRD_NONE, None),
            ("tun", ARPHRD_NONE, Some(7)),
            ("tun", ARPHRD_ETHER, None),
        ] {
            let mut info = [0; IFINFOMSG];
            info[2..4].copy_from_slice(&hardware.to_ne_bytes());
            info[4..8].copy_from_slice(&7u32.to_ne_bytes());
            let value = [kind.as_bytes(), &[0]].concat();
            let nested =
                [&((4 + value.len()) as u16).to_ne_bytes(), &IFLA_INFO_KIND.to_ne_bytes(), &value[..]]
                    .concat();
            let request = Request::get(kind::NEW_LINK, &info).attribute(IFLA_IFNAME, b"name\0");
            let request = request.attribute(IFLA_LINKINFO, &nested);
            let found = messages(request.bytes()).find_map(|m| tunnel(m.body));
            assert_eq!(found, expected, "{kind} {hardware}");
        }
    }

    #[test]
    fn the_local_end_of_a_point_to_point_link_is_ours() {
        let request = Request::get(kind::NEW_ADDR, &[0; IFADDRMSG]);
        let request =
            request.attribute(IFA_ADDRESS, &[203, 0, 113, 1]).attribute(IFA_LOCAL, &[203, 0, 113, 2]);
        let ip = messages(request.bytes()).find_map(|message| fit(message.body, &[]));
        assert_eq!(ip, Some(IpAddr::from([203, 0, 113, 2])));
    }

    #[test]
    fn the_kernel_answers() {
        let mut watch = Rtnetlink::new("wg0").expect("rtnetlink");
        let addresses = watch.addresses().expect("dump");
        assert!(
            addresses.iter().all(|&ip| matches!(scope(ip), Scope::Private | Scope::Public)),
            "{addresses:?}"
        );
        let links = watch.links().expect("dump");
        let lo = links.iter().find(|link| link.name == "lo").expect("every namespace has it");
        assert!(lo.tunnel, "{lo:?}");
        // Whatever other programs do to the links meanwhile, this one is not there.
        assert!(!watch.changes().link);
    }
}
