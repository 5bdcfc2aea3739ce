//! Links, addresses and routes by rtnetlink: the five requests a node needs, so that no `ip` has to be there.
//!
//! Not a netlink library: requests are built by hand, only the acknowledgement is read back.

use core::net::IpAddr;
use std::io::{self, Read, Write};

use socket2::{Domain, Protocol, Socket, Type};

const AF_NETLINK: i32 = 16;
const NETLINK_ROUTE: i32 = 0;

const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;

const IFF_UP: u32 = 1;
/// No duplicate address detection: nothing on a TUN device would answer, and it costs a second or two.
const IFA_F_NODAD: u8 = 2;

const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RTN_UNICAST: u8 = 1;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;

/// A connection to the kernel's routing tables of this network namespace.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens the connection.
    ///
    /// # Errors
    /// What `socket` says.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = Socket::new(Domain::from(AF_NETLINK), Type::RAW, Some(Protocol::from(NETLINK_ROUTE)))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Creates a link of a `kind` that needs no parameters, such as "wireguard".
    ///
    /// # Errors
    /// `EOPNOTSUPP` where the kernel has no such kind, `EEXIST` where the name is taken.
    pub(crate) fn create_link(&mut self, name: &str, kind: &str) -> io::Result<()> {
        let mut body = link_header(0, 0, 0);
        attribute(&mut body, IFLA_IFNAME, &zero_ended(name));
        let mut info = Vec::new();
        attribute(&mut info, IFLA_INFO_KIND, kind.as_bytes());
        attribute(&mut body, IFLA_LINKINFO, &info);
        self.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &body)
    }

    /// Deletes a link.
    ///
    /// # Errors
    /// `ENODEV` where there is none with this index.
    pub(crate) fn delete_link(&mut self, index: u32) -> io::Result<()> {
        self.request(RTM_DELLINK, 0, &link_header(index, 0, 0))
    }

    /// Sets a link up, and its MTU in bytes if one is given.
    ///
    /// # Errors
    /// `ENODEV` where there is none with this index, `EINVAL` for an MTU out of its range.
    pub(crate) fn set_up(&mut self, index: u32, mtu: Option<u32>) -> io::Result<()> {
        let mut body = link_header(index, IFF_UP, IFF_UP);
        if let Some(mtu) = mtu {
            attribute(&mut body, IFLA_MTU, &mtu.to_ne_bytes());
        }
        self.request(RTM_NEWLINK, 0, &body)
    }

    /// Adds an address, with the route to its prefix that the kernel makes of it.
    ///
    /// # Errors
    /// `EEXIST` where it is there already.
    pub(crate) fn add_address(&mut self, index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        self.request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &address_body(index, address, prefix))
    }

    /// Takes an address away.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` where it is not there.
    pub(crate) fn delete_address(&mut self, index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        self.request(RTM_DELADDR, 0, &address_body(index, address, prefix))
    }

    /// Sends everything for `destination`/`prefix` out of a device, without a gateway.
    ///
    /// # Errors
    /// `ENETDOWN` where the link is down.
    pub(crate) fn set_device_route(&mut self, index: u32, destination: IpAddr, prefix: u8) -> io::Result<()> {
        let (family, scope) = match destination {
            IpAddr::V4(_) => (2, RT_SCOPE_LINK),
            IpAddr::V6(_) => (10, RT_SCOPE_UNIVERSE),
        };
        let mut body =
            vec![family, prefix, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST, 0, 0, 0, 0];
        if prefix > 0 {
            attribute(&mut body, RTA_DST, &octets(destination));
        }
        attribute(&mut body, RTA_OIF, &index.to_ne_bytes());
        self.request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &body)
    }

    fn request(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.sequence += 1;
        let length = u32::try_from(16 + body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut message = Vec::with_capacity(16 + body.len());
        message.extend_from_slice(&length.to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&(NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&0_u32.to_ne_bytes());
        message.extend_from_slice(body);
        self.socket.write_all(&message)?;

        let mut answer = [0; 4096];
        let length = self.socket.read(&mut answer)?;
        // One acknowledgement: nlmsghdr (16 bytes), then the negative errno, 0 for done.
        let answer = &answer[..length];
        let kind = answer.get(4..6).and_then(|bytes| Some(u16::from_ne_bytes(bytes.try_into().ok()?)));
        let error = answer.get(16..20).and_then(|bytes| Some(i32::from_ne_bytes(bytes.try_into().ok()?)));
        let (Some(NLMSG_ERROR), Some(error)) = (kind, error) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match error {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(-error)),
        }
    }
}

/// The index of an interface of this namespace.
///
/// # Errors
/// `ENODEV` where there is none of this name.
pub(crate) fn link_index(name: &str) -> io::Result<u32> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(&socket, name)?)
}

fn link_header(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    for value in [index, flags, change] {
        body.extend_from_slice(&value.to_ne_bytes());
    }
    body
}

fn address_body(index: u32, address: IpAddr, prefix: u8) -> Vec<u8> {
    let family = if address.is_ipv4() { 2 } else { 10 };
    let mut body = vec![family, prefix, if family == 10 { IFA_F_NODAD } else { 0 }, RT_SCOPE_UNIVERSE];
    body.extend_from_slice(&index.to_ne_bytes());
    attribute(&mut body, IFA_LOCAL, &octets(address));
    attribute(&mut body, IFA_ADDRESS, &octets(address));
    body
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn zero_ended(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// Appends one attribute, padded to four bytes. Names and addresses are far below the 64 kB an attribute can hold.
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend_from_slice(&length.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}
