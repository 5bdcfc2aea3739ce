//! One NAT, in the terms of RFC 4787, and the IPv6 firewall that stands where a NAT would.
//!
//! A NAT has *mappings* (an inside address and port, and the outside port that stands for it; in an
//! endpoint-dependent NAT one per remote address or endpoint) and in each mapping *sessions* (the remotes that
//! packets were exchanged with). Outbound packets make both. An inbound packet that filtering lets in makes a
//! session too, so **an answer leaves by the mapping the question came in on**, also through a NAT that would
//! have chosen another port for that remote.
//!
//! A session lives for [`NatConfig::unreplied`] until packets went both ways, then for [`NatConfig::stream`] after
//! the last one; a mapping lives as long as one of its sessions.
//!
//! | preset | mapping | filtering | what it is |
//! |---|---|---|---|
//! | [`NatConfig::full_cone`] | EIM | EIF | "full cone"; also a DMZ host |
//! | [`NatConfig::restricted_cone`] | EIM | ADF | "restricted cone" |
//! | [`NatConfig::port_restricted`] | EIM | APDF | the common home router |
//! | [`NatConfig::linux`] | APDM, port kept if it can be | APDF | Linux masquerade: as good as the one above until ports clash |
//! | [`NatConfig::symmetric`] | APDM, random ports | APDF | mobile carriers, clouds |

use core::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use embassy_time::{Duration, Instant};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use rustc_hash::FxHashMap as HashMap;

use super::ip::{Header, Proto};
use super::random::below;

mod firewall;
#[cfg(test)]
mod tests;

pub use firewall::Firewall;

/// When two packets from one inside address and port leave by the same outside port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mapping {
    /// Always (EIM).
    EndpointIndependent,
    /// When they go to the same address.
    AddressDependent,
    /// When they go to the same address and port (EDM, "symmetric").
    AddressAndPortDependent,
}

/// Whose packets may come in by a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Filtering {
    /// Anyone's (EIF).
    EndpointIndependent,
    /// Those of an address that the mapping has sent to (ADF).
    AddressDependent,
    /// Those of an address and port that the mapping has sent to (APDF).
    AddressAndPortDependent,
}

/// How the outside port of a new mapping is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortAllocation {
    /// The inside port where it is free, else a random one. In an endpoint-dependent NAT "free" means towards that
    /// remote, as in Linux: without clashes such a NAT behaves as an endpoint-independent one.
    Preserve,
    /// A random free one of 1024–65535.
    Random,
}

/// What kind of NAT it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatConfig {
    /// Mapping behaviour.
    pub mapping: Mapping,
    /// Filtering behaviour.
    pub filtering: Filtering,
    /// Port allocation.
    pub ports: PortAllocation,
    /// Whether inside hosts reach each other by the outside address.
    pub hairpin: bool,
    /// Life of a session with packets one way only.
    pub unreplied: Duration,
    /// Life of a session after its last packet, once there were packets both ways.
    pub stream: Duration,
    /// UDP does not pass at all (a hotel, an office).
    pub blocks_udp: bool,
    /// The NAT's own input is ACCEPT: an unsolicited packet from outside is confirmed in its connection table for
    /// `unreplied`, so an inside host's own packet to that remote gets *another* port (Linux with a default
    /// firewall policy; matters with [`PortAllocation::Preserve`] and endpoint-dependent mapping).
    pub confirms_unsolicited: bool,
}

impl NatConfig {
    /// A NAT of these kinds that keeps ports, has no hairpin and Linux's timers: 30 s and 120 s.
    #[must_use]
    pub const fn new(mapping: Mapping, filtering: Filtering) -> Self {
        Self {
            mapping,
            filtering,
            ports: PortAllocation::Preserve,
            hairpin: false,
            unreplied: Duration::from_secs(30),
            stream: Duration::from_secs(120),
            blocks_udp: false,
            confirms_unsolicited: false,
        }
    }

    /// Endpoint-independent mapping and filtering.
    #[must_use]
    pub const fn full_cone() -> Self {
        Self::new(Mapping::EndpointIndependent, Filtering::EndpointIndependent)
    }

    /// Endpoint-independent mapping, address-dependent filtering.
    #[must_use]
    pub const fn restricted_cone() -> Self {
        Self::new(Mapping::EndpointIndependent, Filtering::AddressDependent)
    }

    /// Endpoint-independent mapping, address-and-port-dependent filtering: the common home router.
    #[must_use]
    pub const fn port_restricted() -> Self {
        Self::new(Mapping::EndpointIndependent, Filtering::AddressAndPortDependent)
    }

    /// Linux masquerade: endpoint-dependent, but every mapping keeps its port while that is free.
    #[must_use]
    pub const fn linux() -> Self {
        Self::new(Mapping::AddressAndPortDependent, Filtering::AddressAndPortDependent)
    }

    /// Endpoint-dependent with a random port for every remote.
    #[must_use]
    pub const fn symmetric() -> Self {
        Self { ports: PortAllocation::Random, ..Self::linux() }
    }

    /// The same NAT with hairpin.
    #[must_use]
    pub const fn with_hairpin(self) -> Self {
        Self { hairpin: true, ..self }
    }

    /// Whether all remotes see one inside address and port at the same outside port, clashes of ports aside.
    #[must_use]
    pub const fn is_stable(&self) -> bool {
        matches!(self.mapping, Mapping::EndpointIndependent) || matches!(self.ports, PortAllocation::Preserve)
    }
}

impl Default for NatConfig {
    fn default() -> Self {
        Self::port_restricted()
    }
}

/// Why a NAT or firewall did not pass a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Refused {
    /// No mapping at that outside port.
    NoMapping,
    /// The mapping does not let this remote in.
    Filtered,
    /// UDP is blocked here.
    Blocked,
    /// To the outside address from inside, and the NAT has no hairpin.
    NoHairpin,
    /// No outside port left.
    PortsExhausted,
    /// Not an IPv4 packet for this NAT's outside address, or not an IPv6 packet for a firewall.
    NotForUs,
}

/// UDP ports and echo identifiers are numbered apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Class {
    Udp,
    Echo,
}

impl From<Proto> for Class {
    fn from(proto: Proto) -> Self {
        match proto {
            Proto::Udp => Self::Udp,
            Proto::EchoRequest | Proto::EchoReply => Self::Echo,
        }
    }
}

/// The part of a remote that the mapping depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum RemoteKey {
    Any,
    Address(Ipv4Addr),
    Endpoint(SocketAddrV4),
}

#[derive(Clone, Copy, Debug)]
struct MappingState {
    class: Class,
    inside: SocketAddrV4,
    key: RemoteKey,
    port: u16,
    /// The latest end of its sessions; [`Instant::MAX`] for a static forward.
    expires: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    mapping: usize,
    port: u16,
    expires: Instant,
    went_out: bool,
    came_in: bool,
}

/// A static port forward: packets to the outside port go to an inside address whoever sends them, and what that
/// address sends leaves by that port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The outside UDP port.
    pub outside_port: u16,
    /// Where its packets go.
    pub inside: SocketAddrV4,
}

#[derive(Clone, Copy)]
enum Direction {
    Out,
    In,
}

/// A NAT with its tables. Time must not run backwards between calls.
#[derive(Clone, Debug)]
pub struct Nat {
    config: NatConfig,
    outside: Ipv4Addr,
    rng: ChaCha8Rng,
    forwards: Vec<Forward>,
    mappings: Vec<MappingState>,
    /// Slots of `mappings` that may be used again.
    free: Vec<usize>,
    by_inside: HashMap<(Class, SocketAddrV4, RemoteKey), usize>,
    by_port: HashMap<(Class, u16), Vec<usize>>,
    /// By inside and remote.
    sessions: HashMap<(Class, SocketAddrV4, SocketAddrV4), Session>,
    /// By outside port and remote: the inside end of that session.
    by_outside: HashMap<(Class, u16, SocketAddrV4), SocketAddrV4>,
    /// Until when a mapping has been sending to an address (address-dependent filtering).
    talked: HashMap<(usize, Ipv4Addr), Instant>,
    /// Unsolicited packets that the NAT took for its own.
    confirmed: HashMap<(Class, u16, SocketAddrV4), Instant>,
    /// Dead entries are swept out when there are more sessions than this.
    sweep_above: usize,
}

const SWEEP_AT_LEAST: usize = 256;

impl Nat {
    /// A NAT with the outside address `outside` and empty tables.
    #[must_use]
    pub fn new(config: NatConfig, outside: Ipv4Addr, seed: u64) -> Self {
        Self {
            config,
            outside,
            rng: ChaCha8Rng::seed_from_u64(seed),
            forwards: Vec::new(),
            mappings: Vec::new(),
            free: Vec::new(),
            by_inside: HashMap::default(),
            by_port: HashMap::default(),
            sessions: HashMap::default(),
            by_outside: HashMap::default(),
            talked: HashMap::default(),
            confirmed: HashMap::default(),
            sweep_above: SWEEP_AT_LEAST,
        }
    }

    /// What kind of NAT it is.
    #[must_use]
    pub const fn config(&self) -> &NatConfig {
        &self.config
    }

    /// Its outside address.
    #[must_use]
    pub const fn outside(&self) -> Ipv4Addr {
        self.outside
    }

    /// Sessions that have not ended.
    #[must_use]
    pub fn live_sessions(&self, now: Instant) -> usize {
        self.sessions.values().filter(|s| s.expires > now).count()
    }

    /// A packet from inside to outside.
    ///
    /// # Errors
    /// Why it does not pass.
    pub fn outbound(&mut self, now: Instant, header: &Header) -> Result<Header, Refused> {
        let (class, inside, remote) = self.admit(header)?;
        let port = self.map(now, class, inside, remote)?;
        Ok(Header {
            src: SocketAddr::new(self.outside.into(), port_as_source(header.proto, port)),
            ..*header
        })
    }

    /// A packet from outside to the outside address.
    ///
    /// # Errors
    /// Why it does not pass.
    pub fn inbound(&mut self, now: Instant, header: &Header) -> Result<Header, Refused> {
        let (class, remote, outside) = self.admit(header)?;
        if *outside.ip() != self.outside {
            return Err(Refused::NotForUs);
        }
        let inside = self.unmap(now, class, remote, outside.port())?;
        Ok(Header { dst: inside.into(), ..*header })
    }

    /// A packet from inside to the outside address: it goes back in.
    ///
    /// # Errors
    /// Why it does not pass.
    pub fn hairpin(&mut self, now: Instant, header: &Header) -> Result<Header, Refused> {
        if !self.config.hairpin {
            return Err(Refused::NoHairpin);
        }
        let out = self.outbound(now, header)?;
        self.inbound(now, &out)
    }

    /// Forwards an outside UDP port for good; it replaces an earlier forward of that port or inside address.
    pub fn add_forward(&mut self, forward: Forward) {
        self.remove_forward(forward.outside_port);
        if let Some(other) = self.forwards.iter().find(|f| f.inside == forward.inside) {
            self.remove_forward(other.outside_port);
        }
        self.forwards.push(forward);
    }

    /// Ends a forward. Sessions through it go on until they time out.
    pub fn remove_forward(&mut self, outside_port: u16) {
        self.forwards.retain(|f| f.outside_port != outside_port);
        let at_port = self.by_port.get(&(Class::Udp, outside_port)).map_or(&[][..], Vec::as_slice);
        for m in
            at_port.iter().copied().filter(|m| self.mappings[*m].expires == Instant::MAX).collect::<Vec<_>>()
        {
            let sessions = self.sessions.values().filter(|s| s.mapping == m).map(|s| s.expires);
            self.mappings[m].expires = sessions.max().unwrap_or(Instant::MIN);
        }
    }

    /// Forgets every mapping and session, as a reboot does; forwards are configuration and stay. With `address`, it
    /// comes back with another outside address.
    pub fn reboot(&mut self, address: Option<Ipv4Addr>) {
        self.outside = address.unwrap_or(self.outside);
        self.mappings.clear();
        self.free.clear();
        self.by_inside.clear();
        self.by_port.clear();
        self.sessions.clear();
        self.by_outside.clear();
        self.talked.clear();
        self.confirmed.clear();
        self.sweep_above = SWEEP_AT_LEAST;
    }

    fn admit(&self, header: &Header) -> Result<(Class, SocketAddrV4, SocketAddrV4), Refused> {
        let (SocketAddr::V4(src), SocketAddr::V4(dst)) = (header.src, header.dst) else {
            return Err(Refused::NotForUs);
        };
        if self.config.blocks_udp && header.proto == Proto::Udp {
            return Err(Refused::Blocked);
        }
        Ok((header.proto.into(), src, dst))
    }

    const fn key(&self, remote: SocketAddrV4) -> RemoteKey {
        match self.config.mapping {
            Mapping::EndpointIndependent => RemoteKey::Any,
            Mapping::AddressDependent => RemoteKey::Address(*remote.ip()),
            Mapping::AddressAndPortDependent => RemoteKey::Endpoint(remote),
        }
    }

    /// The outside port for an outbound packet.
    fn map(
        &mut self,
        now: Instant,
        class: Class,
        inside: SocketAddrV4,
        remote: SocketAddrV4,
    ) -> Result<u16, Refused> {
        if let Some(port) = self.touch(now, class, inside, remote, Direction::Out) {
            return Ok(port);
        }
        let forward = self.forwards.iter().find(|f| class == Class::Udp && f.inside == inside).copied();
        let key = self.key(remote);
        let known = match forward {
            Some(forward) => Some(self.forward_mapping(forward)),
            None => self.by_inside.get(&(class, inside, key)).copied().filter(|m| {
                let mapping = &self.mappings[*m];
                mapping.expires > now && !self.in_session(now, class, mapping.port, remote)
            }),
        };
        let mapping = match known {
            Some(mapping) => mapping,
            None => {
                self.sweep(now);
                let port = self.allocate(now, class, inside.port(), key, remote)?;
                self.add_mapping(MappingState { class, inside, key, port, expires: now })
            }
        };
        self.add_session(now, mapping, remote, Direction::Out);
        Ok(self.mappings[mapping].port)
    }

    /// The inside address for an inbound packet.
    fn unmap(
        &mut self,
        now: Instant,
        class: Class,
        remote: SocketAddrV4,
        port: u16,
    ) -> Result<SocketAddrV4, Refused> {
        if let Some(inside) = self.by_outside.get(&(class, port, remote)).copied()
            && self.sessions.get(&(class, inside, remote)).is_some_and(|s| s.port == port)
            && self.touch(now, class, inside, remote, Direction::In).is_some()
        {
            return Ok(inside);
        }
        let forward = self.forwards.iter().find(|f| class == Class::Udp && f.outside_port == port).copied();
        let mapping = match forward {
            Some(forward) => self.forward_mapping(forward),
            None => match self.accepting_mapping(now, class, remote, port) {
                Ok(mapping) => mapping,
                Err(refused) => {
                    if self.config.confirms_unsolicited {
                        self.sweep(now);
                        self.confirmed.insert((class, port, remote), now + self.config.unreplied);
                    }
                    return Err(refused);
                }
            },
        };
        self.sweep(now);
        self.add_session(now, mapping, remote, Direction::In);
        Ok(self.mappings[mapping].inside)
    }

    /// The live mapping at an outside port that lets in a remote it has no session with. Where several share the
    /// port, the one used last.
    fn accepting_mapping(
        &self,
        now: Instant,
        class: Class,
        remote: SocketAddrV4,
        port: u16,
    ) -> Result<usize, Refused> {
        let at_port = self.by_port.get(&(class, port)).map_or(&[][..], Vec::as_slice);
        let live = || at_port.iter().copied().filter(|m| self.mappings[*m].expires > now);
        let accepts = |m: &usize| match self.config.filtering {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => self.talked.get(&(*m, *remote.ip())).is_some_and(|t| *t > now),
            Filtering::AddressAndPortDependent => false,
        };
        match live().filter(accepts).max_by_key(|m| (self.mappings[*m].expires, *m)) {
            Some(mapping) => Ok(mapping),
            None if live().next().is_some() => Err(Refused::Filtered),
            None => Err(Refused::NoMapping),
        }
    }

    /// The mapping that stands for a forward; made when it is first used.
    fn forward_mapping(&mut self, forward: Forward) -> usize {
        let Forward { outside_port: port, inside } = forward;
        let found = self.by_port.get(&(Class::Udp, port)).and_then(|at_port| {
            at_port
                .iter()
                .copied()
                .find(|m| self.mappings[*m].expires == Instant::MAX && self.mappings[*m].inside == inside)
        });
        found.unwrap_or_else(|| {
            // Under no key of `by_inside`: when the forward is removed, nothing of it may be left there.
            self.insert_mapping(MappingState {
                class: Class::Udp,
                inside,
                key: RemoteKey::Any,
                port,
                expires: Instant::MAX,
            })
        })
    }

    fn add_mapping(&mut self, state: MappingState) -> usize {
        let index = self.insert_mapping(state);
        self.by_inside.insert((state.class, state.inside, state.key), index);
        index
    }

    fn insert_mapping(&mut self, state: MappingState) -> usize {
        let index = match self.free.pop() {
            Some(index) => {
                self.mappings[index] = state;
                index
            }
            None => {
                self.mappings.push(state);
                self.mappings.len() - 1
            }
        };
        self.by_port.entry((state.class, state.port)).or_default().push(index);
        index
    }

    /// Counts a packet of a live session and gives its outside port.
    fn touch(
        &mut self,
        now: Instant,
        class: Class,
        inside: SocketAddrV4,
        remote: SocketAddrV4,
        direction: Direction,
    ) -> Option<u16> {
        let session = self.sessions.get_mut(&(class, inside, remote)).filter(|s| s.expires > now)?;
        match direction {
            Direction::Out => session.went_out = true,
            Direction::In => session.came_in = true,
        }
        let both = session.went_out && session.came_in;
        session.expires = now + if both { self.config.stream } else { self.config.unreplied };
        let session = *session;
        self.extend(session, remote);
        Some(session.port)
    }

    fn add_session(&mut self, now: Instant, mapping: usize, remote: SocketAddrV4, direction: Direction) {
        let MappingState { class, inside, port, .. } = self.mappings[mapping];
        let session = Session {
            mapping,
            port,
            expires: now + self.config.unreplied,
            went_out: matches!(direction, Direction::Out),
            came_in: matches!(direction, Direction::In),
        };
        if let Some(dead) = self.sessions.insert((class, inside, remote), session)
            && dead.port != port
            && self.by_outside.get(&(class, dead.port, remote)) == Some(&inside)
        {
            self.by_outside.remove(&(class, dead.port, remote));
        }
        self.by_outside.insert((class, port, remote), inside);
        self.extend(session, remote);
    }

    /// A mapping lives as long as its sessions, and so does its permission for a remote's address.
    fn extend(&mut self, session: Session, remote: SocketAddrV4) {
        let mapping = &mut self.mappings[session.mapping];
        mapping.expires = mapping.expires.max(session.expires);
        if self.config.filtering == Filtering::AddressDependent && session.went_out {
            let until = self.talked.entry((session.mapping, *remote.ip())).or_insert(session.expires);
            *until = (*until).max(session.expires);
        }
    }

    fn allocate(
        &mut self,
        now: Instant,
        class: Class,
        wanted: u16,
        key: RemoteKey,
        remote: SocketAddrV4,
    ) -> Result<u16, Refused> {
        if self.config.ports == PortAllocation::Preserve && self.may_keep(now, class, wanted, key, remote) {
            return Ok(wanted);
        }
        // Random tries find one at once unless most are taken; then look at each.
        for _ in 0..64 {
            let port = 1024 + below(&mut self.rng, 64_512) as u16;
            if self.is_unused(now, class, port) {
                return Ok(port);
            }
        }
        (1024..=u16::MAX).find(|p| self.is_unused(now, class, *p)).ok_or(Refused::PortsExhausted)
    }

    fn is_forwarded(&self, class: Class, port: u16) -> bool {
        class == Class::Udp && self.forwards.iter().any(|f| f.outside_port == port)
    }

    /// Nobody uses the port towards anyone.
    fn is_unused(&self, now: Instant, class: Class, port: u16) -> bool {
        let mapped = self.by_port.get(&(class, port));
        !self.is_forwarded(class, port)
            && mapped.is_none_or(|all| all.iter().all(|m| self.mappings[*m].expires <= now))
    }

    /// Nobody uses the port in a way that would be mistaken for a mapping with `key` that talks to `remote`.
    fn may_keep(&self, now: Instant, class: Class, port: u16, key: RemoteKey, remote: SocketAddrV4) -> bool {
        if self.is_forwarded(class, port) {
            return false;
        }
        if key == RemoteKey::Any {
            return self.is_unused(now, class, port);
        }
        let own_there = self.confirmed.get(&(class, port, remote)).is_some_and(|until| *until > now);
        let mapping_there = self.by_port.get(&(class, port)).is_some_and(|at_port| {
            at_port.iter().map(|m| &self.mappings[*m]).any(|m| m.expires > now && m.key == key)
        });
        !self.in_session(now, class, port, remote) && !own_there && !mapping_there
    }

    /// A live session has that outside port and remote.
    fn in_session(&self, now: Instant, class: Class, port: u16, remote: SocketAddrV4) -> bool {
        self.by_outside.get(&(class, port, remote)).is_some_and(|inside| {
            let session = self.sessions.get(&(class, *inside, remote));
            session.is_some_and(|s| s.expires > now && s.port == port)
        })
    }

    /// Throws out what is dead, when there is much of it. A dead entry that is still there does no harm: every
    /// look-up checks the time.
    fn sweep(&mut self, now: Instant) {
        if self.sessions.len() + self.confirmed.len() <= self.sweep_above {
            return;
        }
        self.sessions.retain(|_, s| s.expires > now);
        let sessions = &self.sessions;
        self.by_outside.retain(|(class, port, remote), inside| {
            sessions.get(&(*class, *inside, *remote)).is_some_and(|s| s.port == *port)
        });
        self.talked.retain(|_, until| *until > now);
        self.confirmed.retain(|_, until| *until > now);
        let mappings = &self.mappings;
        self.by_inside.retain(|_, m| mappings[*m].expires > now);
        self.by_port.retain(|_, at_port| {
            at_port.retain(|m| mappings[*m].expires > now);
            !at_port.is_empty()
        });
        self.free = (0..self.mappings.len()).filter(|m| self.mappings[*m].expires <= now).collect();
        self.sweep_above = (2 * (self.sessions.len() + self.confirmed.len())).max(SWEEP_AT_LEAST);
    }
}

/// An echo reply has no identifier at its source.
const fn port_as_source(proto: Proto, port: u16) -> u16 {
    match proto {
        Proto::Udp | Proto::EchoRequest => port,
        Proto::EchoReply => 0,
    }
}

/// The IPv4 part of an address.
pub(crate) const fn v4_of(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    }
}
