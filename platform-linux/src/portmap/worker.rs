//! One asking: all protocols side by side, three seconds at most.
//!
//! ```text
//!   0 ──── PCP, NAT-PMP and UPnP's search, in both families, in one poll ────► mapped, refused, or 1.6 s
//!     └─► where that did not map and a device was found: its description and its commands ────► 2.9 s
//! ```

use core::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use std::{io, net::UdpSocket, time::Instant};

use rustix::event::{PollFd, PollFlags, poll};
use socket2::{Domain, Socket, Type};

use super::{
    Failure, Mapping, Outcome, Protocol, Wanted, Why, Work,
    gateway::{self, Route},
    is_public, pcp,
    udp::{self, Asking},
    upnp::{self, Page, Search},
    worse,
};
use crate::clock::{self, Alarm};

/// When whoever has not answered is not waited for any more, if another one has.
const PATIENCE: Duration = Duration::from_millis(700);
/// When nobody is.
const SILENCE: Duration = Duration::from_millis(1600);
/// When everything ends.
const END: Duration = Duration::from_millis(2900);
/// How long taking mappings back may take, at the exit of the program.
const REMOVAL: Duration = Duration::from_millis(900);

/// [`Work`] on the network that this machine is on.
#[derive(Debug, Clone)]
pub struct System {
    pub(super) pcp_port: u16,
    pub(super) ssdp_port: u16,
    /// In place of the kernel's.
    pub(super) routes: Option<[Option<Route>; 2]>,
}

impl Default for System {
    fn default() -> Self {
        Self { pcp_port: pcp::SERVER_PORT, ssdp_port: upnp::SSDP_PORT, routes: None }
    }
}

/// All that is asked of one gateway.
struct Family<'w> {
    route: Route,
    asking: Result<Asking<'w>, Why>,
    search: Option<Search>,
}

impl<'w> Family<'w> {
    fn new(wanted: &'w Wanted, route: Route, system: &System) -> Self {
        Self {
            route,
            asking: Asking::new(wanted, route, system.pcp_port).map_err(|e| Why::Local(e.to_string())),
            search: Search::new(route, system.ssdp_port).ok(),
        }
    }

    fn is_mapped(&self) -> bool {
        self.asking.as_ref().is_ok_and(Asking::is_mapped)
    }

    fn found(&self) -> Option<&Page> {
        self.search.as_ref()?.found.as_ref()
    }

    fn is_done(&self, elapsed: Duration) -> bool {
        let settled = self.asking.as_ref().map_or(true, Asking::is_settled);
        let patient = elapsed < PATIENCE;
        self.is_mapped() || (self.found().is_some() && (settled || !patient))
    }
}

impl Work for System {
    fn map(&self, wanted: &Wanted) -> Outcome {
        let start = Instant::now();
        self.unmap(&wanted.obsolete);
        let [v4, v6] = self.routes.unwrap_or_else(|| gateway::routes(wanted.fwmark));
        let v6 = v6.filter(|route| is_public(route.source));
        // With an address of its own that everybody can reach, there is nothing to be let in to.
        let public = v4.map(|route| route.source).filter(|ip| is_public(*ip));
        let v4 = v4.filter(|_| public.is_none());
        let mut families: Vec<_> =
            [v4, v6].into_iter().flatten().map(|route| Family::new(wanted, route, self)).collect();
        ask(&mut families, start);
        let (mut of_v4, mut of_v6) = (None, None);
        for family in families {
            let is_v4 = family.route.source.is_ipv4();
            let result = conclude(wanted, family, start + END);
            *(if is_v4 { &mut of_v4 } else { &mut of_v6 }) = Some(result);
        }
        let why = public.map_or(Why::NoGateway, Why::Public);
        let none = Failure { gateway: None, protocol: None, why };
        Outcome { v4: of_v4.unwrap_or(Err(none)), v6: of_v6 }
    }

    fn unmap(&self, mappings: &[Mapping]) {
        let deadline = Instant::now() + REMOVAL;
        for mapping in mappings {
            let result = match mapping.protocol {
                Protocol::Igd => upnp::remove(mapping, deadline),
                _ => udp::remove(mapping, self.pcp_port).map_err(|e| Why::Local(e.to_string())),
            };
            if let Err(why) = result {
                log::debug!("port mapping {}: not taken back: {why:?}", mapping.external);
            }
        }
    }
}

/// Asks by UDP, until all have answered or have had their time.
fn ask(families: &mut [Family<'_>], start: Instant) {
    // A file for the time, as rustix's own time-out is not what it is told on 32-bit MIPS: see `clock`.
    let Ok(mut alarm) = Alarm::new() else { return };
    loop {
        let elapsed = start.elapsed();
        if elapsed >= SILENCE || families.iter().all(|family| family.is_done(elapsed)) {
            return;
        }
        let mut due = SILENCE;
        for family in families.iter_mut() {
            if let Ok(asking) = &mut family.asking {
                asking.send(elapsed);
                due = due.min(asking.due().unwrap_or(SILENCE));
            }
            if let Some(search) = &mut family.search {
                search.send(elapsed);
                due = due.min(search.due().unwrap_or(SILENCE));
            }
        }
        if elapsed < PATIENCE {
            due = due.min(PATIENCE);
        }
        let sockets = families.iter().flat_map(|family| {
            let asking = family.asking.as_ref().ok().filter(|a| !a.is_settled()).map(Asking::socket);
            // An answer that is there already is enough.
            let search = family.search.as_ref().filter(|s| s.found.is_none()).map(|s| &s.socket);
            asking.into_iter().chain(search)
        });
        let mut files: Vec<_> = sockets.map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        let wait = due.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
        let wait = wgautomesh_core::Duration::from_micros(wait.as_micros() as u64);
        if alarm.set(Some(clock::now().saturating_add(wait))).is_err() {
            return;
        }
        files.push(PollFd::new(&alarm, PollFlags::IN));
        let _ = poll(&mut files, None);
        for family in families.iter_mut() {
            if let Ok(asking) = &mut family.asking {
                asking.receive();
            }
            if let Some(search) = &mut family.search {
                search.receive();
            }
        }
    }
}

/// What came of a family, after UPnP if need be.
fn conclude(wanted: &Wanted, family: Family<'_>, deadline: Instant) -> Result<Mapping, Failure> {
    let route = family.route;
    let page = family.found().cloned();
    let by_udp = match family.asking {
        Ok(asking) => asking.result(),
        Err(why) => Err((Protocol::Pcp, why)),
    };
    let result = match (by_udp, page) {
        (Err(failure), Some(page)) => {
            let by_igd = match route.source {
                IpAddr::V4(_) => upnp::map(wanted, &route, &page, deadline),
                IpAddr::V6(_) => upnp::open(wanted, &route, &page, deadline),
            };
            by_igd.map_err(|why| worse(failure, (Protocol::Igd, why)))
        }
        (result, _) => result,
    };
    result.map_err(|(protocol, why)| Failure {
        gateway: Some(route.gateway),
        protocol: (why != Why::NoAnswer).then_some(protocol),
        why,
    })
}

/// A socket that hears the announcements of PCP and NAT-PMP servers. They are sent to all hosts.
pub(super) fn announcements() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // Other programs listen there too.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(Ipv4Addr::new(224, 0, 0, 1).into(), pcp::CLIENT_PORT).into())?;
    Ok(socket.into())
}
