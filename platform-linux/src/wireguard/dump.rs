//! Bringing a reading of the kernel's WireGuard up to date, in place.
//!
//! A daemon in a quiet mesh does little else than read its interface every few seconds. `wireguard-control` opens two sockets
//! for it, asks anew for the number of WireGuard's netlink family, and builds and copies trees of attributes: some thousand
//! allocations for 32 peers. So it reads an interface when it is new, and afterwards the same [`Snapshot`] is filled from
//! the kernel's answer, without an allocation. Whatever is out of the ordinary here is an error, after which the whole
//! is read anew.

use core::{
    net::{Ipv6Addr, SocketAddr, SocketAddrV6},
    time::Duration,
};
use std::{io, os::fd::OwnedFd, time::UNIX_EPOCH};

use netlink_packet_wireguard::constants::{
    AF_INET as WG_AF_INET, AF_INET6 as WG_AF_INET6, WG_CMD_GET_DEVICE, WGALLOWEDIP_A_CIDR_MASK,
    WGALLOWEDIP_A_IPADDR, WGDEVICE_A_FWMARK, WGDEVICE_A_IFINDEX, WGDEVICE_A_LISTEN_PORT, WGDEVICE_A_PEERS,
    WGDEVICE_A_PUBLIC_KEY, WGPEER_A_ALLOWEDIPS, WGPEER_A_ENDPOINT, WGPEER_A_LAST_HANDSHAKE_TIME,
    WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, WGPEER_A_PRESHARED_KEY, WGPEER_A_PUBLIC_KEY, WGPEER_A_RX_BYTES,
    WGPEER_A_TX_BYTES,
};
use wgautomesh_core::PublicKey;
use wireguard_control::{AllowedIp, Key, PeerInfo, PeerStats};
use zeroize::Zeroize;

use super::{Snapshot, wipe};
use crate::rtnl::{self, Message, Request, attributes, field, kind, messages};

/// `struct genlmsghdr`: command, version, and two bytes for nothing.
const GENLMSG: usize = 4;
/// The family that knows the numbers of the others, its one command that is needed, and its attributes: `linux/genetlink.h`.
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// Beside an attribute's type there are flags: that it is nested, and the order of its bytes.
const NLA_TYPE: u16 = 0x3fff;
/// What netlink sends in one datagram to whoever has room for it.
const DATAGRAM: usize = 8 * 1024;

/// What asks the kernel.
pub(super) struct Dump {
    /// With the number of WireGuard's family. Not before it is needed, nor after an error.
    socket: Option<(OwnedFd, u16)>,
    /// Wiped after each datagram: the interface's private key is in it.
    buffer: Box<[u8; DATAGRAM]>,
}

impl Dump {
    pub(super) fn new() -> Self {
        Self { socket: None, buffer: Box::new([0; DATAGRAM]) }
    }

    /// Makes `snapshot` what its interface is now.
    ///
    /// # Errors
    /// When the kernel says no, or anything else than expected. What the snapshot has then is of no use.
    pub(super) fn refresh(&mut self, snapshot: &mut Snapshot) -> io::Result<()> {
        let (socket, family) = match self.socket.take() {
            Some(open) => open,
            None => open(&mut *self.buffer)?,
        };
        let index = snapshot.interface.index.to_ne_bytes();
        let question =
            Request::dump(family, &generic(WG_CMD_GET_DEVICE)).attribute(WGDEVICE_A_IFINDEX, &index);
        rtnl::ask(&socket, &question)?;
        let mut filling = Filling::new(snapshot);
        loop {
            let received = rtnl::receive(&socket, &mut *self.buffer)?.len();
            let datagram = &mut self.buffer[..received];
            let step = filling.take(datagram);
            datagram.zeroize();
            if step? == Step::Done {
                break;
            }
        }
        filling.finish();
        // After an error there may be more to receive, so only a socket without one is used again.
        self.socket = Some((socket, family));
        Ok(())
    }
}

/// The head of a request to a generic family, of its version 1.
const fn generic(command: u8) -> [u8; GENLMSG] {
    [command, 1, 0, 0]
}

/// A socket, and the number of WireGuard's family.
fn open(buffer: &mut [u8]) -> io::Result<(OwnedFd, u16)> {
    let socket = rtnl::open_generic()?;
    let question = Request::get(GENL_ID_CTRL, &generic(CTRL_CMD_GETFAMILY))
        .attribute(CTRL_ATTR_FAMILY_NAME, b"wireguard\0");
    rtnl::ask(&socket, &question)?;
    let answer = messages(rtnl::receive(&socket, buffer)?).next().ok_or_else(unexpected)?;
    let mut attributes = checked(&answer)?;
    let family = attributes.find_map(|(kind, value)| {
        (kind == CTRL_ATTR_FAMILY_ID).then(|| field(value, 0).map(u16::from_ne_bytes)).flatten()
    });
    Ok((socket, family.ok_or_else(unexpected)?))
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is not what was expected")
}

/// The attributes of a message that is no error.
fn checked<'b>(message: &Message<'b>) -> io::Result<impl Iterator<Item = (u16, &'b [u8])> + use<'b>> {
    match message.kind {
        kind::ERROR => Err(io::Error::from_raw_os_error(message.errno())),
        // The interface was changed in between: what comes does not fit together.
        _ if message.flags & rtnl::NLM_F_DUMP_INTR != 0 => Err(io::ErrorKind::Interrupted.into()),
        _ => Ok(attributes(message.body, GENLMSG)),
    }
}

#[derive(PartialEq, Eq)]
enum Step {
    More,
    Done,
}

/// A snapshot that is being filled anew.
struct Filling<'s> {
    snapshot: &'s mut Snapshot,
    /// How many of its peers are of now; the others are of before.
    filled: usize,
}

impl<'s> Filling<'s> {
    fn new(snapshot: &'s mut Snapshot) -> Self {
        // What an interface does not have is not said.
        snapshot.interface.public_key = PublicKey::from_bytes([0; 32]);
        snapshot.interface.listen_port = 0;
        snapshot.fwmark = 0;
        Self { snapshot, filled: 0 }
    }

    fn take(&mut self, datagram: &[u8]) -> io::Result<Step> {
        for message in messages(datagram) {
            if message.kind == kind::DONE {
                return match message.errno() {
                    0 => Ok(Step::Done),
                    errno => Err(io::Error::from_raw_os_error(errno)),
                };
            }
            for (kind, value) in checked(&message)? {
                self.device(kind & NLA_TYPE, value)?;
            }
        }
        Ok(Step::More)
    }

    fn device(&mut self, kind: u16, value: &[u8]) -> io::Result<()> {
        let interface = &mut self.snapshot.interface;
        match kind {
            WGDEVICE_A_PUBLIC_KEY => interface.public_key = PublicKey::from_bytes(exactly(value)?),
            WGDEVICE_A_LISTEN_PORT => interface.listen_port = u16::from_ne_bytes(exactly(value)?),
            WGDEVICE_A_FWMARK => self.snapshot.fwmark = u32::from_ne_bytes(exactly(value)?),
            WGDEVICE_A_PEERS => {
                for (_, peer) in attributes(value, 0) {
                    self.peer(peer)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A peer, or a piece of one with many allowed IPs, which come one after the other.
    fn peer(&mut self, piece: &[u8]) -> io::Result<()> {
        let key = attributes(piece, 0).find(|(kind, _)| kind & NLA_TYPE == WGPEER_A_PUBLIC_KEY);
        let key = Key(exactly(key.ok_or_else(unexpected)?.1)?);
        let peer = self.place(key);
        for (kind, value) in attributes(piece, 0) {
            match kind & NLA_TYPE {
                WGPEER_A_PRESHARED_KEY => peer.config.preshared_key = Some(Key(exactly(value)?)),
                WGPEER_A_ENDPOINT => peer.config.endpoint = Some(endpoint(value).ok_or_else(unexpected)?),
                WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL => {
                    peer.config.persistent_keepalive_interval = Some(u16::from_ne_bytes(exactly(value)?));
                }
                WGPEER_A_LAST_HANDSHAKE_TIME => {
                    let since = since_epoch(value).ok_or_else(unexpected)?;
                    peer.stats.last_handshake_time =
                        UNIX_EPOCH.checked_add(since).filter(|at| *at != UNIX_EPOCH);
                }
                WGPEER_A_RX_BYTES => peer.stats.rx_bytes = u64::from_ne_bytes(exactly(value)?),
                WGPEER_A_TX_BYTES => peer.stats.tx_bytes = u64::from_ne_bytes(exactly(value)?),
                WGPEER_A_ALLOWEDIPS => {
                    for (_, allowed_ip) in attributes(value, 0) {
                        peer.config.allowed_ips.push(parse_allowed_ip(allowed_ip).ok_or_else(unexpected)?);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Where what is said of a peer goes.
    fn place(&mut self, key: Key) -> &mut PeerInfo {
        let peers = &mut self.snapshot.peers;
        let continued = self
            .filled
            .checked_sub(1)
            .filter(|&last| peers.get(last).is_some_and(|p| p.config.public_key == key));
        let at = continued.unwrap_or(self.filled);
        if continued.is_none() {
            self.filled += 1;
            match peers.get_mut(at) {
                Some(before) => {
                    wipe(before);
                    before.config.public_key = key;
                    before.config.preshared_key = None;
                    before.config.endpoint = None;
                    before.config.persistent_keepalive_interval = None;
                    // Its room is kept: most of the time there is the same peer in it.
                    before.config.allowed_ips.clear();
                    before.stats = PeerStats::default();
                }
                None => peers.push(PeerInfo::from_public_key(key)),
            }
        }
        &mut peers[at]
    }

    /// Those who were not mentioned are no longer there.
    fn finish(self) {
        let gone = self.snapshot.peers.drain(self.filled..);
        gone.for_each(|mut peer| wipe(&mut peer));
    }
}

fn exactly<const N: usize>(value: &[u8]) -> io::Result<[u8; N]> {
    value.try_into().map_err(|_| unexpected())
}

/// `struct sockaddr_in` or `sockaddr_in6`.
fn endpoint(value: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(field(value, 2)?);
    match u16::from_ne_bytes(field(value, 0)?) {
        WG_AF_INET => Some(SocketAddr::from((field::<4>(value, 4)?, port))),
        WG_AF_INET6 => {
            let flow = u32::from_be_bytes(field(value, 4)?);
            let ip = Ipv6Addr::from(field::<16>(value, 8)?);
            let scope = u32::from_ne_bytes(field(value, 24)?);
            Some(SocketAddrV6::new(ip, port, flow, scope).into())
        }
        _ => None,
    }
}

/// `struct __kernel_timespec`; one before the epoch is none.
fn since_epoch(value: &[u8]) -> Option<Duration> {
    let seconds = u64::try_from(i64::from_ne_bytes(field(value, 0)?)).unwrap_or(0);
    let nanoseconds = u32::try_from(i64::from_ne_bytes(field(value, 8)?)).ok()?;
    (nanoseconds < 1_000_000_000).then(|| Duration::new(seconds, nanoseconds))
}

fn parse_allowed_ip(value: &[u8]) -> Option<AllowedIp> {
    let (mut address, mut cidr) = (None, None);
    for (kind, value) in attributes(value, 0) {
        match kind & NLA_TYPE {
            WGALLOWEDIP_A_IPADDR => address = Some(rtnl::ip(value)?),
            WGALLOWEDIP_A_CIDR_MASK => cidr = Some(*value.first()?),
            _ => {}
        }
    }
    Some(AllowedIp { address: address?, cidr: cidr? })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use netlink_packet_core::{NLM_F_MULTIPART, NetlinkMessage};
    use netlink_packet_generic::GenlMessage;
    use netlink_packet_wireguard::{
        Wireguard, WireguardCmd,
        nlas::{WgAllowedIp, WgAllowedIpAttrs, WgDeviceAttrs, WgPeer, WgPeerAttrs},
    };
    use proptest::prelude::*;
    use wgautomesh_core::Interface;
    use wireguard_control::Device;

    use super::*;

    /// A message as the kernel sends it.
    fn message(nlas: Vec<WgDeviceAttrs>) -> Vec<u8> {
        let mut message = GenlMessage::from_payload(Wireguard { cmd: WireguardCmd::GetDevice, nlas });
        message.set_resolved_family_id(30);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_MULTIPART;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    fn done(errno: i32) -> Vec<u8> {
        [&20_u32.to_ne_bytes()[..], &kind::DONE.to_ne_bytes(), &[2, 0], &[0; 8], &errno.to_ne_bytes()]
            .concat()
    }

    /// What the kernel says of a peer, in as many pieces as its allowed IPs are cut into.
    fn pieces(key: u8, is_rich: bool, number: u32, ips: &[(u8, u8)], cut: usize) -> Vec<WgPeer> {
        let key = WgPeerAttrs::PublicKey([key; 32]);
        let mut first = vec![key.clone(), WgPeerAttrs::PresharedKey([if is_rich { 7 } else { 0 }; 32])];
        let stamp = Duration::new(u64::from(number) * u64::from(is_rich), 5 * u32::from(is_rich));
        first.push(WgPeerAttrs::LastHandshake(SystemTime::UNIX_EPOCH + stamp));
        first.push(WgPeerAttrs::PersistentKeepalive(number as u16));
        first.push(WgPeerAttrs::TxBytes(u64::from(number) << 31));
        first.push(WgPeerAttrs::RxBytes(u64::from(number) << 9));
        if is_rich {
            let v6 = SocketAddrV6::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), 51820, 0, number & 7);
            let v4 = SocketAddr::from(([192, 0, 2, number as u8], 4500));
            first.push(WgPeerAttrs::Endpoint(if number & 1 == 0 { v4 } else { v6.into() }));
        }
        let one = |&(last, cidr): &(u8, u8)| {
            let v6 = Ipv6Addr::new(0xfd14, 0, 0, 0, 0, 0, 0, last.into()).into();
            let address = if last & 1 == 0 { [10, 14, 0, last].into() } else { v6 };
            WgAllowedIp(vec![
                WgAllowedIpAttrs::Family(if last & 1 == 0 { WG_AF_INET } else { WG_AF_INET6 }),
                WgAllowedIpAttrs::IpAddr(address),
                WgAllowedIpAttrs::Cidr(cidr),
            ])
        };
        let mut chunks = ips.chunks(cut).map(|ips| WgPeerAttrs::AllowedIps(ips.iter().map(one).collect()));
        first.extend(chunks.next());
        let rest: Vec<WgPeer> = chunks.map(|ips| WgPeer(vec![key.clone(), ips])).collect();
        [vec![WgPeer(first)], rest].concat()
    }

    fn empty() -> Snapshot {
        Snapshot::new(
            Interface { index: 3, public_key: PublicKey::from_bytes([9; 32]), listen_port: 9 },
            9,
            core::iter::empty(),
        )
    }

    fn fill(snapshot: &mut Snapshot, datagrams: &[Vec<u8>]) -> io::Result<()> {
        let mut filling = Filling::new(snapshot);
        for datagram in datagrams {
            if filling.take(datagram)? == Step::Done {
                filling.finish();
                return Ok(());
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    proptest! {
        /// The same as `wireguard-control` makes of it, over and over in the same snapshot.
        #[test]
        fn shows_what_wireguard_control_reads(
            readings in prop::collection::vec((
                any::<Option<(u8, u16, u32)>>(),
                prop::collection::btree_map(
                    any::<u8>(),
                    (any::<bool>(), any::<u32>(), prop::collection::vec((any::<u8>(), 0..=32_u8), 0..9)),
                    0..6,
                ),
                1..4_usize,
            ), 1..5),
        ) {
            let mut snapshot = empty();
            for (device, peers, cut) in readings {
                let mut head = vec![WgDeviceAttrs::IfIndex(3), WgDeviceAttrs::IfName("wg0".into())];
                if let Some((key, port, fwmark)) = device {
                    head.push(WgDeviceAttrs::PrivateKey([key; 32]));
                    head.push(WgDeviceAttrs::PublicKey([key; 32]));
                    head.push(WgDeviceAttrs::ListenPort(port));
                    head.push(WgDeviceAttrs::Fwmark(fwmark));
                }
                let pieces: Vec<WgPeer> =
                    peers.iter().flat_map(|(key, (rich, number, ips))| pieces(*key, *rich, *number, ips, cut)).collect();
                // The first piece in the message with the device, the next two together, the others one by one.
                let mut datagrams = Vec::new();
                let mut all = head.clone();
                head.push(WgDeviceAttrs::Peers(pieces.iter().take(1).cloned().collect()));
                datagrams.push(message(head));
                let second = WgDeviceAttrs::Peers(pieces.iter().skip(1).take(2).cloned().collect());
                datagrams.push(message(vec![second]));
                for piece in pieces.iter().skip(3) {
                    datagrams.push(message(vec![WgDeviceAttrs::Peers(vec![piece.clone()])]));
                }
                datagrams.push(done(0));
                fill(&mut snapshot, &datagrams).expect("it is right");

                all.push(WgDeviceAttrs::Peers(pieces));
                let theirs = Device::try_from(&all[..]).expect("it is right");
                let interface = Interface {
                    index: 3,
                    public_key: PublicKey::from_bytes(theirs.public_key.map_or([0; 32], |key| key.0)),
                    listen_port: theirs.listen_port.unwrap_or(0),
                };
                let theirs = Snapshot::new(interface, theirs.fwmark.unwrap_or(0), theirs.peers);
                prop_assert_eq!(snapshot.interface, theirs.interface);
                prop_assert_eq!(snapshot.fwmark, theirs.fwmark);
                prop_assert_eq!(&snapshot.peers, &theirs.peers);
            }
        }
    }

    fn one_peer() -> Vec<u8> {
        let peers = pieces(1, true, 1, &[(2, 32), (3, 128)], 9);
        message(vec![WgDeviceAttrs::ListenPort(51820), WgDeviceAttrs::Peers(peers)])
    }

    #[test]
    fn what_is_cut_or_damaged_is_an_error_or_less_and_no_panic() {
        let right = one_peer();
        for end in 0..right.len() {
            // What is left of a message that does not fit into its datagram is not looked at.
            assert!(fill(&mut empty(), &[right[..end].to_vec()]).is_err());
            for flip in [1, 0x80, 0xff] {
                let mut damaged = right.clone();
                damaged[end] ^= flip;
                let mut snapshot = empty();
                // Not the kernel's doing; there is no more to assert than that it ends.
                let _ = fill(&mut snapshot, &[damaged, done(0)]);
                assert!(snapshot.peers.len() <= 1);
            }
        }
    }

    #[test]
    fn an_answer_that_is_an_error_or_does_not_fit_together_is_none() {
        let error = |kind: u16, errno: i32| {
            let mut bytes = done(-errno);
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            fill(&mut empty(), &[one_peer(), bytes]).err().and_then(|error| error.raw_os_error())
        };
        assert_eq!(error(kind::ERROR, 19), Some(19));
        assert_eq!(error(kind::DONE, 12), Some(12));
        assert_eq!(error(kind::DONE, 0), None);
        let mut changed = one_peer();
        changed[6..8].copy_from_slice(&(NLM_F_MULTIPART | rtnl::NLM_F_DUMP_INTR).to_ne_bytes());
        let error = fill(&mut empty(), &[changed, done(0)]).expect_err("it changed");
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn who_is_gone_is_gone() {
        let mut snapshot = empty();
        fill(&mut snapshot, &[one_peer(), done(0)]).expect("it is right");
        assert_eq!(snapshot.peers.len(), 1);
        fill(&mut snapshot, &[message(vec![WgDeviceAttrs::Peers(vec![])]), done(0)]).expect("it is right");
        assert_eq!(snapshot.peers.len(), 0);
        assert_eq!((snapshot.interface.listen_port, snapshot.fwmark), (0, 0));
        assert_eq!(snapshot.interface.index, 3);
    }
}
