//! An internet in plain code: hosts, homes behind NATs, carrier NATs, links that delay and lose.
//!
//! It serves twice. Under the simulator it carries the datagrams of thousands of engines in virtual time; under
//! the box it carries the raw IP packets of real daemons in real time. Both use the same code, because everything
//! here works on a small [`Header`] (protocol, addresses, ports or echo identifier, TTL) beside a payload it never
//! looks at; [`ip`] turns a raw packet into a header and writes a changed header back.
//!
//! It is not a TCP/IP stack: no TCP, no fragments, no ICMP errors, no bandwidth limits.
//!
//! Nothing here reads a clock, sleeps or draws entropy: the time is an argument, all chance comes from one seed.
//! The same calls give the same answers.
//!
//! ```
//! use embassy_time::{Duration, Instant};
//! use wgautomesh_examples::virtual_internet::{Header, HomeConfig, Internet, Link, NatConfig};
//!
//! let mut net: Internet<&str> = Internet::new(7);
//! let server = net.add_public(Link::delay(Duration::from_millis(10)));
//! let home = net.add_home(HomeConfig { nat: NatConfig::port_restricted(), ..HomeConfig::default() });
//! let laptop = net.add_host(home);
//!
//! let from = std::net::SocketAddr::new(net.address_v4(laptop).unwrap(), 51820);
//! let to = std::net::SocketAddr::new(net.address_v4(server).unwrap(), 51820);
//! net.send(Instant::from_secs(1), laptop, Header::udp(from, to), "hello");
//!
//! let at = net.poll_timeout().unwrap();
//! let seen = net.poll(at).unwrap();
//! assert_eq!((seen.to, seen.payload), (server, "hello"));
//! assert_ne!(seen.header.src, from, "the server sees the home's public address");
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | [`ip`] | raw IPv4/IPv6 packets with UDP or ICMP echo: parse, rewrite, checksums |
//! | [`nat`] | one NAT: mapping, filtering, timeouts, hairpin, port allocation; and an IPv6 firewall |
//! | [`link`] | delay, jitter, loss, reordering, duplication |
//! | [`net`] | the topology and the event queue |
//! | [`oracle`] | which pairs can be connected at all, by theory |
//! | [`wireguard`] | a model of WireGuard's states, timers and counters, without its cryptography |

pub mod ip;
pub mod link;
pub mod nat;
pub mod net;
pub mod oracle;
mod random;
pub mod wireguard;

pub use ip::{Header, Proto};
pub use link::{Link, Loss};
pub use nat::{Filtering, Mapping, NatConfig, PortAllocation};
pub use net::{Delivered, GatewayId, HomeConfig, HostId, Internet, Site};
pub use oracle::{PairKind, Side};
