//! Finding an internet gateway device: what is asked by multicast, and where the answer says its description is.
//!
//! `igd-next` can search too. It takes an answer from whoever is first, and it connects to where that one says; here only
//! the gateway itself counts, whose address the kernel's routes tell.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where devices listen.
pub(super) const PORT: u16 = 1900;
pub(super) const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
pub(super) const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xc);

/// The longest answer that is looked at.
pub(super) const MAX_ANSWER: usize = 2048;
/// The longest path of a URL.
const MAX_PATH: usize = 256;

/// What to look for. A device of version 2 has to answer to version 1; not all do to their own name.
pub(super) const TARGETS: [&str; 3] = [
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
];

/// A search to be sent to `host`. The longest wait before an answer is a second: nobody else is meant to answer.
pub(super) fn search(host: SocketAddr, target: &str) -> String {
    format!(
        "M-SEARCH * HTTP/1.1\r\nHOST: {}\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: {target}\r\n\r\n",
        host_of(host)
    )
}

/// As in a URL: without a scope.
pub(super) fn host_of(address: SocketAddr) -> String {
    SocketAddr::new(address.ip(), address.port()).to_string()
}

/// A part of the gateway that is reached by HTTP: a port of it, and a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// The TCP port.
    pub(super) port: u16,
    /// Begins with a slash; printable ASCII without spaces.
    pub(super) path: String,
}

/// Where the answer of this gateway says that its description is.
///
/// Over IPv4 it has to be at the gateway's own address. Over IPv6 the gateway is known by its link-local address and
/// tells another one of its own, so that any will do: only its port is used, and the connection goes to the gateway.
#[must_use]
pub(super) fn location(answer: &[u8], gateway: IpAddr) -> Option<Page> {
    let text = core::str::from_utf8(answer.get(..answer.len().min(MAX_ANSWER))?).ok()?;
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let mut status = lines.next()?.split(' ');
    if !status.next()?.starts_with("HTTP/1.") || status.next() != Some("200") {
        return None;
    }
    let mut locations = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("location").then_some(value.trim())
    });
    let location = locations.next()?;
    // Which of two is meant cannot be said.
    if locations.next().is_some() { None } else { absolute(location, gateway) }
}

/// Reads `http://ADDRESS[:PORT]/PATH`. Names are none: nothing is ever looked up for a gateway.
pub(super) fn absolute(url: &str, gateway: IpAddr) -> Option<Page> {
    let rest = url.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://")).and(url.get(7..))?;
    let slash = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(slash)?;
    let address: SocketAddr = match authority.parse() {
        Ok(address) => address,
        Err(_) => {
            let bare = authority.strip_prefix('[').map_or(Some(authority), |a| a.strip_suffix(']'))?;
            SocketAddr::new(
                bare.parse().ok().filter(|ip: &IpAddr| ip.is_ipv6() == authority.starts_with('['))?,
                80,
            )
        }
    };
    let known = match gateway {
        IpAddr::V4(_) => address.ip() == gateway,
        IpAddr::V6(_) => address.is_ipv6(),
    };
    if !known || address.port() == 0 {
        return None;
    }
    Some(Page { port: address.port(), path: checked(if path.is_empty() { "/" } else { path })? })
}

/// A path that can be put into a request line as it is.
fn checked(path: &str) -> Option<String> {
    let good = path.len() <= MAX_PATH && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    good.then(|| path.into())
}

/// Resolves a reference found on a page: absolute, or relative to it.
pub(super) fn resolve(reference: &str, base: &Page, gateway: IpAddr) -> Option<Page> {
    let reference = reference.trim();
    if reference.is_empty() || reference.starts_with("//") {
        return None;
    }
    if reference.contains("://") {
        return absolute(reference, gateway);
    }
    let path = if reference.starts_with('/') {
        checked(reference)?
    } else {
        let folder = base.path.split('?').next()?.rsplit_once('/')?.0;
        checked(&format!("{folder}/{reference}"))?
    };
    Some(Page { port: base.port, path })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 1));

    fn page(port: u16, path: &str) -> Option<Page> {
        Some(Page { port, path: path.into() })
    }

    fn answer(location: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nST: x\r\nLocation: {location}\r\nUSN: y\r\n\r\n")
    }

    #[test]
    fn a_location_at_the_gateway_is_taken() {
        for (url, expected) in [
            ("http://192.168.1.1:5000/rootDesc.xml", page(5000, "/rootDesc.xml")),
            ("HTTP://192.168.1.1/a?b=c", page(80, "/a?b=c")),
            ("http://192.168.1.1:5000", page(5000, "/")),
        ] {
            assert_eq!(location(answer(url).as_bytes(), GATEWAY), expected, "{url}");
        }
        let v6 = "fe80::1".parse().expect("an address");
        for url in ["http://[2001:db8::1]:5000/x", "http://[fe80::1]:5000/x"] {
            assert_eq!(location(answer(url).as_bytes(), v6), page(5000, "/x"), "{url}");
        }
        assert_eq!(location(answer("http://[2001:db8::1]/x").as_bytes(), v6), page(80, "/x"));
        assert_eq!(location(answer("http://192.168.1.1/x").as_bytes(), v6), None);
    }

    #[test]
    fn any_other_location_is_not() {
        for url in [
            "http://192.168.1.2:5000/",
            "http://203.0.113.1/",
            "http://127.0.0.1:22/",
            "http://router.lan/",
            "http://localhost/",
            "https://192.168.1.1/",
            "ftp://192.168.1.1/",
            "http://user@192.168.1.1/",
            "http://192.168.1.1@203.0.113.1/",
            "http://192.168.1.1.example/",
            "http://192.168.1.1:0/",
            "http://192.168.1.1:65536/",
            "http://192.168.1.1:5000:6000/",
            "http://[::ffff:192.168.1.1]:5000/",
            "http://0300.168.1.1/",
            "http://3232235777/",
            "http://192.168.1/",
            "http://192.168.1.1:80/a b",
            "http://192.168.1.1:80/a#b",
            "http://192.168.1.1:80/\u{e4}",
            "http:/192.168.1.1/",
            "//192.168.1.1/",
            "/rootDesc.xml",
            "",
            "http://",
        ] {
            assert_eq!(location(answer(url).as_bytes(), GATEWAY), None, "{url}");
        }
        let long = format!("http://192.168.1.1/{}", "a".repeat(MAX_PATH));
        assert_eq!(location(answer(&long).as_bytes(), GATEWAY), None);
    }

    #[test]
    fn only_a_good_answer_counts() {
        let good = answer("http://192.168.1.1:5000/");
        for (from, to) in [
            ("HTTP/1.1 200", "HTTP/1.1 302"),
            ("HTTP/1.1 200 OK", "NOTIFY * HTTP/1.1"),
            ("Location", "Location: http://192.168.1.1:1/\r\nLocation"),
            ("Location", "X\r\n\r\nLocation"),
            ("Location", "Al"),
        ] {
            let bad = good.replace(from, to);
            assert_eq!(location(bad.as_bytes(), GATEWAY), None, "{bad}");
        }
        assert_eq!(location(&[0xff; 100], GATEWAY), None);
        assert_eq!(location(b"", GATEWAY), None);
    }

    #[test]
    fn references_stay_at_the_gateway() {
        let base = Page { port: 5000, path: "/igd/desc.xml".into() };
        for (reference, expected) in [
            ("/ctl/IPConn", page(5000, "/ctl/IPConn")),
            (" ctl ", page(5000, "/igd/ctl")),
            ("http://192.168.1.1:6000/ctl", page(6000, "/ctl")),
            ("http://192.168.1.2:6000/ctl", None),
            ("//192.168.1.2/ctl", None),
            ("", None),
            ("/a\r\nHost: b", None),
        ] {
            assert_eq!(resolve(reference, &base, GATEWAY), expected, "{reference}");
        }
    }

    #[test]
    fn a_search_names_its_target() {
        let group = SocketAddr::new(GROUP_V6.into(), PORT);
        assert_eq!(
            search(group, "x"),
            "M-SEARCH * HTTP/1.1\r\nHOST: [ff02::c]:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: x\r\n\r\n"
        );
    }

    proptest! {
        #[test]
        fn no_answer_leads_elsewhere(text in "HTTP/1\\.1 200\r\nLOCATION: http://\\PC{0,60}") {
            if let Some(page) = location(text.as_bytes(), GATEWAY) {
                prop_assert!(text.contains("http://192.168.1.1"), "{page:?}");
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = location(&bytes, GATEWAY);
        }
    }
}
