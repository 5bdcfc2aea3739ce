//! The gateway's XML: which services its description names, and whether any other document of it is harmless to read.
//!
//! The parser is `xml-rs`, which `igd-next` uses too. What it gets is short, and has no document type: so no entities, and
//! no expansion of them.

use core::net::IpAddr;

use xml::reader::{EventReader, ParserConfig, XmlEvent};

use super::ssdp::{Page, absolute, resolve};

/// Elements within elements; a real description has eight.
const MAX_DEPTH: usize = 16;
/// Elements in all: real descriptions have some two hundred.
const MAX_ELEMENTS: usize = 1500;
/// The longest text of one that is read.
const MAX_TEXT: usize = 512;
/// Services of each kind that are looked at.
const MAX_SERVICES: usize = 3;

/// Forwards IPv4 ports.
const CONNECTIONS: [&str; 3] = [
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];
/// Opens IPv6 pinholes.
const FIREWALL: &str = "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1";

/// A service of the gateway, and where it is controlled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    /// Its type: one of those that are known here.
    pub(super) kind: &'static str,
    /// Where it takes its commands.
    pub(super) control: Page,
}

/// What a gateway offers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Services {
    /// For IPv4.
    pub(super) connections: Vec<Service>,
    /// For IPv6.
    pub(super) firewall: Option<Service>,
}

/// Why a document is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// The elements of a document, one event at a time, within the limits.
fn events(document: &[u8], mut each: impl FnMut(XmlEvent)) -> Result<(), Unreadable> {
    // No document that a gateway has reason to send has one; entities and what comes of them begin there.
    if document.windows(2).any(|w| w == b"<!") && !only_comments(document) {
        return Err(Unreadable);
    }
    let config = ParserConfig::new().trim_whitespace(true).cdata_to_characters(true).ignore_comments(true);
    let (mut depth, mut elements) = (0, 0);
    for event in EventReader::new_with_config(document, config) {
        let event = event.map_err(|_| Unreadable)?;
        match &event {
            XmlEvent::StartElement { attributes, .. } => {
                depth += 1;
                elements += 1 + attributes.len();
                if depth > MAX_DEPTH || elements > MAX_ELEMENTS {
                    return Err(Unreadable);
                }
            }
            XmlEvent::EndElement { .. } => depth -= 1,
            _ => {}
        }
        each(event);
    }
    Ok(())
}

/// Whether everything that begins like a declaration is a comment or CDATA.
fn only_comments(document: &[u8]) -> bool {
    document.windows(2).enumerate().filter(|(_, w)| *w == b"<!").all(|(at, _)| {
        let rest = document.get(at + 2..).unwrap_or_default();
        rest.starts_with(b"--") || rest.starts_with(b"[CDATA[")
    })
}

/// Whether a document is well-formed, and small enough to be given to who builds a tree of it.
///
/// # Errors
/// It is not.
pub(super) fn check(document: &[u8]) -> Result<(), Unreadable> {
    events(document, drop)
}

/// Reads the description found at `page` of the gateway. Services that are controlled from elsewhere are left out.
///
/// # Errors
/// Where it is not XML, or not within the limits.
pub(super) fn services(document: &[u8], page: &Page, gateway: IpAddr) -> Result<Services, Unreadable> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    let mut base = page.clone();
    let mut text = String::new();
    let (mut kind, mut control) = (None, None);
    events(document, |event| match event {
        XmlEvent::StartElement { name, .. } => {
            text.clear();
            if name.local_name == "service" {
                (kind, control) = (None, None);
            }
        }
        XmlEvent::Characters(more) if text.len() + more.len() <= MAX_TEXT => text.push_str(&more),
        XmlEvent::EndElement { name } => {
            match name.local_name.as_str() {
                "URLBase" => base = absolute(text.trim(), gateway).unwrap_or_else(|| page.clone()),
                "serviceType" => kind = known(text.trim()),
                "controlURL" => control = Some(core::mem::take(&mut text)),
                "service" => found.extend(kind.take().zip(control.take())),
                _ => {}
            }
            text.clear();
        }
        _ => {}
    })?;
    let mut services = Services::default();
    for (kind, control) in found {
        let Some(control) = resolve(&control, &base, gateway) else { continue };
        let service = Service { kind, control };
        if kind == FIREWALL {
            services.firewall.get_or_insert(service);
        } else if services.connections.len() < MAX_SERVICES {
            services.connections.push(service);
        }
    }
    Ok(services)
}

fn known(kind: &str) -> Option<&'static str> {
    CONNECTIONS.into_iter().chain([FIREWALL]).find(|known| *known == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 168, 1, 1));

    fn page(port: u16, path: &str) -> Page {
        Page { port, path: path.into() }
    }

    fn read(document: &str) -> Result<Services, Unreadable> {
        services(document.as_bytes(), &page(5000, "/rootDesc.xml"), GATEWAY)
    }

    fn service(kind: &str, control: &str) -> String {
        format!("<service><serviceType>{kind}</serviceType><controlURL>{control}</controlURL></service>")
    }

    fn document(head: &str, services: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><!-- of a gateway --><root xmlns=\"urn:schemas-upnp-org:device-1-0\">{head}<device>\
             <deviceList><device><serviceList>{services}</serviceList></device></deviceList></device></root>"
        )
    }

    #[test]
    fn services_are_found() {
        let all = [
            service("urn:schemas-upnp-org:service:Layer3Forwarding:1", "/ctl/L3F"),
            service(CONNECTIONS[1], "/ctl/IPConn"),
            service(FIREWALL, "http://192.168.1.1:6000/ctl/IP6FCtl"),
            service(CONNECTIONS[2], "ppp"),
        ];
        let found = read(&document("", &all.concat())).expect("readable");
        let expected = [
            Service { kind: CONNECTIONS[1], control: page(5000, "/ctl/IPConn") },
            Service { kind: CONNECTIONS[2], control: page(5000, "/ppp") },
        ];
        assert_eq!(found.connections, expected);
        assert_eq!(found.firewall, Some(Service { kind: FIREWALL, control: page(6000, "/ctl/IP6FCtl") }));
        let base = "<URLBase>http://192.168.1.1:7000/igd/</URLBase>";
        let found = read(&document(base, &service(CONNECTIONS[0], "ctl"))).expect("readable");
        assert_eq!(found.connections, [Service { kind: CONNECTIONS[0], control: page(7000, "/igd/ctl") }]);
    }

    #[test]
    fn services_elsewhere_are_left_out() {
        for control in
            ["http://203.0.113.1/ctl", "http://router/ctl", "//203.0.113.1/", "", "http://192.168.1.1:0/"]
        {
            let found = read(&document("", &service(CONNECTIONS[0], control))).expect("readable");
            assert_eq!(found, Services::default(), "{control}");
        }
        // A base elsewhere is none.
        let base = "<URLBase>http://203.0.113.1/</URLBase>";
        let found = read(&document(base, &service(CONNECTIONS[0], "/ctl"))).expect("readable");
        assert_eq!(found.connections, [Service { kind: CONNECTIONS[0], control: page(5000, "/ctl") }]);
        let many = service(CONNECTIONS[0], "/ctl").repeat(50);
        assert_eq!(read(&document("", &many)).expect("readable").connections.len(), MAX_SERVICES);
    }

    #[test]
    fn bombs_are_not_read() {
        let lol =
            "<!DOCTYPE lolz [<!ENTITY lol \"lol\"><!ENTITY lol2 \"&lol;&lol;&lol;&lol;&lol;&lol;&lol;\">]>";
        for bad in [
            String::new(),
            "no xml".into(),
            "<root>".into(),
            "<root></device>".into(),
            format!("{lol}<root>&lol2;</root>"),
            "<!DOCTYPE root SYSTEM \"http://203.0.113.1/x\"><root/>".into(),
            "<root>&undefined;</root>".into(),
            format!("{}{}", "<a>".repeat(MAX_DEPTH + 1), "</a>".repeat(MAX_DEPTH + 1)),
            format!("<r>{}</r>", "<a/>".repeat(MAX_ELEMENTS)),
            format!("<r {}/>", (0..MAX_ELEMENTS).map(|n| format!("a{n}='' ")).collect::<String>()),
        ] {
            assert_eq!(read(&bad), Err(Unreadable), "{bad:.60}");
            assert_eq!(check(bad.as_bytes()), Err(Unreadable));
        }
        // What is too long for one text is not read in part.
        let long = document("", &service(CONNECTIONS[0], &"/x".repeat(MAX_TEXT)));
        assert_eq!(read(&long), Ok(Services::default()));
    }

    #[test]
    fn no_corruption_makes_it_panic() {
        let good = document("", &service(CONNECTIONS[0], "/ctl")).into_bytes();
        for at in 0..good.len() {
            for byte in [0, b'<', b'>', b'&', b'"', 0xff] {
                let mut bad = good.clone();
                bad[at] = byte;
                let _ = services(&bad, &page(5000, "/"), GATEWAY);
            }
            let _ = services(&good[..at], &page(5000, "/"), GATEWAY);
        }
    }
}
