//! UPnP's internet gateway device: an IPv4 port mapping, or an IPv6 pinhole.
//!
//! Where the device is has been found by [`ssdp`](super::ssdp), what it offers is read here; the rest is `igd-next`'s, whose
//! requests a [`Bounded`] exchange carries.

use core::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::{collections::HashMap, time::Instant};

use igd_next::{
    AddPortError, GetExternalIpError, PinholeError, PortMappingProtocol::UDP, RemovePortError, RequestError,
    aio::Gateway,
};

use super::{
    Handle, Mapping, Protocol, Wanted, Why,
    description::{self, Service, Services},
    gateway::Route,
    http, is_public,
    provider::{Bounded, carried},
    ssdp::{Page, host_of},
};

/// What the mapping is called in the gateway's list.
const NAME: &str = "wgautomesh";
/// Other nodes at home may have the same configuration: so many ports from the configured one on are tried.
const PORTS: u16 = 4;

/// The arguments of the actions, as the standards have them since 2001: nothing that a gateway needs to be asked.
const ARGUMENTS: [(&str, &[&str]); 2] = [
    (
        "AddPortMapping",
        &[
            "NewRemoteHost",
            "NewExternalPort",
            "NewProtocol",
            "NewInternalPort",
            "NewInternalClient",
            "NewEnabled",
            "NewPortMappingDescription",
            "NewLeaseDuration",
        ],
    ),
    ("DeletePortMapping", &["NewRemoteHost", "NewExternalPort", "NewProtocol"]),
];

/// The gateway as `igd-next` is to see it.
fn gateway(route: &Route, service: &Service) -> Gateway<Bounded> {
    let schema =
        ARGUMENTS.map(|(action, names)| (action.into(), names.iter().map(|n| (*n).into()).collect()));
    Gateway {
        addr: route.at(service.control.port),
        root_url: "/".into(),
        // Not the gateway's text: where a request goes is the carrier's business.
        ipv6_firewall_control_url: Some("/".into()),
        control_url: "/".into(),
        control_schema_url: "/".into(),
        control_schema: HashMap::from(schema),
        service_type: service.kind.into(),
        provider: Bounded,
    }
}

fn services(route: &Route, page: &Page, deadline: Instant) -> Result<Services, Why> {
    let address = route.at(page.port);
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nAccept: text/xml\r\nConnection: close\r\n\r\n",
        page.path,
        host_of(address)
    );
    let response = http::exchange(route.source, address, request.as_bytes(), deadline)?;
    if response.status != 200 {
        return Err(Why::Bad(format!("HTTP status {}", response.status)));
    }
    Ok(description::services(&response.body, page, route.gateway)?)
}

/// Maps the port, or renews that.
pub(super) fn map(wanted: &Wanted, route: &Route, page: &Page, deadline: Instant) -> Result<Mapping, Why> {
    let mut last = Why::Bad("it has no service that forwards ports".into());
    for service in services(route, page, deadline)?.connections {
        match map_by(wanted, route, &service, deadline) {
            Ok(mapping) => return Ok(mapping),
            Err(why) => last = why,
        }
    }
    Err(last)
}

fn map_by(wanted: &Wanted, route: &Route, service: &Service, deadline: Instant) -> Result<Mapping, Why> {
    let igd = gateway(route, service);
    let address =
        carried(route, &service.control, deadline, igd.get_external_ip())?.map_err(why_no_address)?;
    if !address.is_ipv4() || !is_public(address) {
        return Err(Why::NotPublic(address));
    }
    let internal = SocketAddr::new(route.source, wanted.internal_port);
    let mut lease = wanted.lease;
    let (mut port, mut tries) = (wanted.external_port, 0);
    loop {
        tries += 1;
        let request = igd.add_port(UDP, port, internal, lease, NAME);
        match carried(route, &service.control, deadline, request)? {
            Ok(()) => break,
            Err(AddPortError::OnlyPermanentLeasesSupported) if lease != 0 => lease = 0,
            Err(AddPortError::PortInUse) if tries < PORTS && port < u16::MAX => port += 1,
            Err(AddPortError::SamePortValuesRequired) if port != internal.port() => port = internal.port(),
            Err(AddPortError::RequestError(error)) => return Err(by_request(error)),
            Err(refused) => return Err(Why::Refused(short(&refused.to_string()))),
        }
    }
    Ok(Mapping {
        protocol: Protocol::Igd,
        gateway: *route,
        external: SocketAddr::new(address, port),
        internal,
        // For good: it is looked after all the same.
        lease: if lease == 0 { wanted.lease } else { lease },
        epoch: None,
        handle: Handle::Igd(service.clone()),
    })
}

/// Opens a pinhole, or renews it.
pub(super) fn open(wanted: &Wanted, route: &Route, page: &Page, deadline: Instant) -> Result<Mapping, Why> {
    let Some(service) = services(route, page, deadline)?.firewall else {
        return Err(Why::Bad("it has no service that opens pinholes".into()));
    };
    let IpAddr::V6(source) = route.source else { return Err(Why::Bad("not IPv6".into())) };
    let client = SocketAddrV6::new(source, wanted.internal_port, 0, 0);
    let lease = wanted.lease.clamp(1, 86_400);
    let igd = gateway(route, &service);
    let request = igd.add_pinhole(UDP, client, lease);
    let id = carried(route, &service.control, deadline, request)?.map_err(why_no_pinhole)?;
    Ok(Mapping {
        protocol: Protocol::Igd,
        gateway: *route,
        external: client.into(),
        internal: client.into(),
        lease,
        epoch: None,
        handle: Handle::Pinhole(service, id),
    })
}

/// Takes back what [`map`] or [`open`] made.
pub(super) fn remove(mapping: &Mapping, deadline: Instant) -> Result<(), Why> {
    let route = &mapping.gateway;
    match &mapping.handle {
        Handle::Igd(service) => {
            let igd = gateway(route, service);
            let request = igd.remove_port(UDP, mapping.external.port());
            carried(route, &service.control, deadline, request)?.map_err(why_not_removed)
        }
        Handle::Pinhole(service, id) => {
            let igd = gateway(route, service);
            carried(route, &service.control, deadline, igd.remove_pinhole(*id))?.map_err(why_no_pinhole)
        }
        Handle::Pcp(_) | Handle::NatPmp => Ok(()),
    }
}

fn why_no_address(error: GetExternalIpError) -> Why {
    match error {
        GetExternalIpError::ActionNotAuthorized => Why::Refused(short(&error.to_string())),
        // As miniupnpd says that the address it has is a private one.
        GetExternalIpError::RequestError(RequestError::InvalidResponse(text))
            if text.contains("<NewExternalIPAddress></NewExternalIPAddress>") =>
        {
            Why::NO_ADDRESS
        }
        GetExternalIpError::RequestError(error) => by_request(error),
    }
}

fn why_no_pinhole(error: PinholeError) -> Why {
    match error {
        PinholeError::RequestError(error) => by_request(error),
        refused => Why::Refused(short(&refused.to_string())),
    }
}

fn why_not_removed(error: RemovePortError) -> Why {
    match error {
        RemovePortError::RequestError(error) => by_request(error),
        refused => Why::Refused(short(&refused.to_string())),
    }
}

/// What a failed request means. The text of an answer that is not understood is the gateway's, and is not repeated.
fn by_request(error: RequestError) -> Why {
    match error {
        RequestError::ErrorCode(code, text) => Why::Refused(format!("error {code}, {}", short(&text))),
        RequestError::UnsupportedAction(_) => Why::Bad("it lacks an action".into()),
        // The others are those of HTTP clients that are not in use.
        _ => Why::Bad("its answer is not what was asked for".into()),
    }
}

/// A text from outside: short, and fit for a log.
fn short(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(60).collect()
}
