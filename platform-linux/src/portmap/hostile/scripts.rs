//! What gateways do.

use super::{ADDRESS, Arc, Duration, EXTERNAL, INTERNAL, Place, Script, Tcp, TcpStream, Udp, Write, thread};

fn udp(answer: impl Fn(&Place, &[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Option<Udp> {
    Some(Arc::new(answer))
}

fn web(answer: impl Fn(&Place, &str, &mut TcpStream) + Send + Sync + 'static) -> Option<Tcp> {
    Some(Arc::new(answer))
}

const fn script(name: &'static str) -> Script {
    Script { name, pcp: None, ssdp: None, web: None, spoofs: false }
}

/// One that speaks PCP and NAT-PMP, and answers so.
fn pcp(name: &'static str, answer: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Script {
    Script { pcp: udp(move |_, request| answer(request)), ..script(name) }
}

/// PCP's answer to a request, with this result, lease and external endpoint; `None` to other packets.
fn pcp_answer(request: &[u8], result: u8, lease: u32, ip: [u8; 16], port: u16) -> Option<Vec<u8>> {
    if request.len() != 60 || request[0] != 2 {
        return None;
    }
    let mut answer = request.to_vec();
    answer[1] |= 0x80;
    answer[3] = result;
    answer[4..8].copy_from_slice(&lease.to_be_bytes());
    answer[8..24].fill(0);
    answer[11] = 77;
    answer[42..44].copy_from_slice(&port.to_be_bytes());
    answer[44..60].copy_from_slice(&ip);
    Some(answer)
}

fn v4(ip: [u8; 4]) -> [u8; 16] {
    core::net::Ipv4Addr::from(ip).to_ipv6_mapped().octets()
}

/// A PCP server that gives this.
fn gives(name: &'static str, lease: u32, ip: [u8; 16], port: u16) -> Script {
    pcp(name, move |request| pcp_answer(request, 0, lease, ip, port).into_iter().collect())
}

fn refuses(name: &'static str, result: u8) -> Script {
    pcp(name, move |request| pcp_answer(request, result, 30, [0; 16], 0).into_iter().collect())
}

/// A NAT-PMP server: its address and what it answers to a request for a mapping. It does not know PCP.
fn natpmp(
    name: &'static str,
    address: [u8; 4],
    map: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static,
) -> Script {
    pcp(name, move |request| match request {
        [0, 0] => vec![[&[0, 128, 0, 0, 0, 0, 0, 9], &address[..]].concat()],
        [0, 1, ..] => map(request),
        _ => vec![vec![0, 0x81, 0, 1, 0, 0, 0, 9]],
    })
}

fn natpmp_mapped(internal: u16, external: u16, lease: u32) -> Vec<u8> {
    let mut answer = vec![0, 129, 0, 0, 0, 0, 0, 9];
    answer.extend(internal.to_be_bytes());
    answer.extend(external.to_be_bytes());
    answer.extend(lease.to_be_bytes());
    answer
}

/// A UPnP device that answers searches with these headers.
fn ssdp(name: &'static str, headers: impl Fn(&Place) -> String + Send + Sync + 'static) -> Script {
    let answer = move |place: &Place, _: &[u8]| {
        vec![format!("HTTP/1.1 200 OK\r\nST: x\r\n{}\r\n\r\n", headers(place)).into_bytes()]
    };
    Script { ssdp: udp(answer), web: web(device_page), ..script(name) }
}

fn at_home(place: &Place) -> String {
    format!("LOCATION: http://{}/rootDesc.xml", place.web)
}

/// A device whose web server does this, whatever it is asked.
fn serves(name: &'static str, answer: impl Fn(&Place, &mut TcpStream) + Send + Sync + 'static) -> Script {
    Script { web: web(move |place, _, stream| answer(place, stream)), ..ssdp(name, at_home) }
}

/// A device that describes itself well, and answers commands so.
fn soap(name: &'static str, answer: impl Fn(&Place, &str, &mut TcpStream) + Send + Sync + 'static) -> Script {
    let web = web(move |place, request, stream| {
        if request.starts_with("GET") {
            device_page(place, request, stream)
        } else {
            answer(place, request, stream)
        }
    });
    Script { web, ..ssdp(name, at_home) }
}

fn device_page(_: &Place, _: &str, stream: &mut TcpStream) {
    ok(stream, &description("/ctl"));
}

fn description(control: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><root><device><serviceList><service>\
         <serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>\
         <SCPDURL>/scpd</SCPDURL><controlURL>{control}</controlURL>\
         </service></serviceList></device></root>"
    )
}

fn put(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

fn ok(stream: &mut TcpStream, body: &str) {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    put(stream, head.as_bytes());
    put(stream, body.as_bytes());
}

/// Goes on for as long as anybody reads it.
fn endless(stream: &mut TcpStream, start: &str, chunk: &[u8], pause: Duration) {
    put(stream, start.as_bytes());
    let begun = std::time::Instant::now();
    while stream.write_all(chunk).is_ok() && begun.elapsed() < Duration::from_secs(12) {
        thread::sleep(pause);
    }
}

fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

fn envelope(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>{body}\
         </s:Body></s:Envelope>"
    )
}

fn response(action: &str, body: &str) -> String {
    envelope(&format!("<u:{action}Response xmlns:u=\"x\">{body}</u:{action}Response>"))
}

fn fault(code: &str, text: &str) -> String {
    let error = format!(
        "<UPnPError><errorCode>{code}</errorCode><errorDescription>{text}</errorDescription></UPnPError>"
    );
    envelope(&format!(
        "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>{error}</detail></s:Fault>"
    ))
}

fn external(ip: &str) -> String {
    response("GetExternalIPAddress", &format!("<NewExternalIPAddress>{ip}</NewExternalIPAddress>"))
}

fn fails(stream: &mut TcpStream, body: &str) {
    let head = format!("HTTP/1.1 500 Internal Server Error\r\nContent-Length: {}\r\n\r\n", body.len());
    put(stream, head.as_bytes());
    put(stream, body.as_bytes());
}

/// A device with a good address, which answers so to be asked for a mapping.
fn adds(name: &'static str, answer: impl Fn(&Place, &str, &mut TcpStream) + Send + Sync + 'static) -> Script {
    soap(name, move |place, request, stream| {
        if request.contains("#GetExternalIPAddress\"") {
            ok(stream, &external("203.0.113.7"));
        } else if request.contains("#DeletePortMapping\"") {
            ok(stream, &response("DeletePortMapping", ""));
        } else {
            answer(place, request, stream);
        }
    })
}

/// A device with this external address.
fn has_address(name: &'static str, ip: &'static str) -> Script {
    soap(name, move |_, _, stream| ok(stream, &external(ip)))
}

const BOMB: &str = "<!DOCTYPE lolz [<!ENTITY a \"lollollollol\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">\
    <!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;\"><!ENTITY d \"&c;&c;&c;&c;&c;&c;&c;&c;\">]>";
const NO_PAUSE: Duration = Duration::ZERO;
const SLOW: Duration = Duration::from_millis(100);
const HEAD: &str = "HTTP/1.1 200 OK\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
/// An element that begins 10,000 times and never ends.
fn nested() -> String {
    "<a>".repeat(10_000)
}

/// Scripts, and what each is counted as.
pub(super) fn bad() -> Vec<(Script, &'static str)> {
    let mut all = by_udp();
    all.extend(by_search());
    all.extend(by_page());
    all.extend(by_command());
    all
}

fn by_udp() -> Vec<(Script, &'static str)> {
    let good = || v4(ADDRESS);
    let spoofed = gives("answers come from elsewhere", 3600, good(), EXTERNAL);
    vec![
        (script("everything is closed"), "no-answer"),
        (pcp("silence", |_| vec![]), "no-answer"),
        (pcp("garbage", |_| vec![vec![0xa5; 60], vec![0; 3], vec![2; 1100]]), "no-answer"),
        (pcp("empty packets", |_| vec![vec![]; 3]), "no-answer"),
        (pcp("huge packets", |_| vec![vec![2; 60_000]]), "no-answer"),
        (pcp("a flood", |_| vec![vec![2; 60]; 2000]), "no-answer"),
        (pcp("an echo", |request| vec![request.to_vec()]), "no-answer"),
        (
            pcp("another's nonce", |request| {
                let mut answer = pcp_answer(request, 0, 3600, v4(ADDRESS), EXTERNAL);
                answer.iter_mut().for_each(|answer| answer[24] ^= 1);
                answer.into_iter().collect()
            }),
            "no-answer",
        ),
        (
            pcp("cut off", |request| {
                let answer = pcp_answer(request, 0, 3600, v4(ADDRESS), EXTERNAL);
                answer.into_iter().flat_map(|answer| (0..60).map(move |n| answer[..n].to_vec())).collect()
            }),
            "no-answer",
        ),
        (
            pcp("version 3", |request| {
                let mut answer = pcp_answer(request, 0, 3600, v4(ADDRESS), EXTERNAL);
                answer.iter_mut().for_each(|answer| answer[0] = 3);
                answer.into_iter().collect()
            }),
            "no-answer",
        ),
        (Script { spoofs: true, ..spoofed }, "no-answer"),
        (gives("lease 0", 0, good(), EXTERNAL), "bad-answer"),
        (gives("port 0", 3600, good(), 0), "bad-answer"),
        (gives("external ::", 3600, [0; 16], EXTERNAL), "bad-answer"),
        (gives("external IPv6", 3600, core::net::Ipv6Addr::LOCALHOST.octets(), EXTERNAL), "bad-answer"),
        (gives("external 0.0.0.0", 3600, v4([0; 4]), EXTERNAL), "gateway-behind-nat"),
        (gives("external loopback", 3600, v4([127, 0, 0, 1]), EXTERNAL), "gateway-behind-nat"),
        (gives("external 10/8", 3600, v4([10, 0, 0, 1]), EXTERNAL), "gateway-behind-nat"),
        (gives("external 192.168/16", 3600, v4([192, 168, 9, 9]), EXTERNAL), "gateway-behind-nat"),
        (gives("external CGNAT", 3600, v4([100, 64, 0, 1]), EXTERNAL), "gateway-behind-nat"),
        (gives("external link-local", 3600, v4([169, 254, 1, 1]), EXTERNAL), "gateway-behind-nat"),
        (gives("external DS-Lite", 3600, v4([192, 0, 0, 2]), EXTERNAL), "gateway-behind-nat"),
        (gives("external multicast", 3600, v4([224, 0, 0, 1]), EXTERNAL), "gateway-behind-nat"),
        (gives("external broadcast", 3600, v4([255; 4]), EXTERNAL), "gateway-behind-nat"),
        (refuses("not authorized", 2), "refused"),
        (refuses("no resources", 8), "refused"),
        (refuses("an unknown result", 255), "refused"),
        (refuses("no external address", 7), "gateway-behind-nat"),
        (natpmp("NAT-PMP behind a NAT", [192, 168, 0, 1], |_| vec![]), "gateway-behind-nat"),
        (natpmp("NAT-PMP that maps nothing", ADDRESS, |_| vec![]), "no-answer"),
        (natpmp("NAT-PMP refuses", ADDRESS, |_| vec![vec![0, 129, 0, 2, 0, 0, 0, 9]]), "refused"),
        (natpmp("NAT-PMP has no resources", ADDRESS, |_| vec![vec![0, 129, 0, 4, 0, 0, 0, 9]]), "refused"),
        (natpmp("NAT-PMP of another port", ADDRESS, |_| vec![natpmp_mapped(1, 2, 3600)]), "no-answer"),
        (natpmp("NAT-PMP lease 0", ADDRESS, |_| vec![natpmp_mapped(INTERNAL, EXTERNAL, 0)]), "bad-answer"),
        (natpmp("NAT-PMP port 0", ADDRESS, |_| vec![natpmp_mapped(INTERNAL, 0, 3600)]), "bad-answer"),
        (
            pcp("NAT-PMP maps before it is asked", |_| vec![natpmp_mapped(INTERNAL, EXTERNAL, 3600)]),
            "no-answer",
        ),
    ]
}

fn by_search() -> Vec<(Script, &'static str)> {
    let elsewhere = |place: &Place| format!("LOCATION: http://{}/rootDesc.xml", place.canary);
    vec![
        (ssdp("a location elsewhere", elsewhere), "no-answer"),
        (
            ssdp("a location by name", |place| format!("LOCATION: http://localhost:{}/", place.web.port())),
            "no-answer",
        ),
        (ssdp("a location by https", |place| format!("LOCATION: https://{}/", place.web)), "no-answer"),
        (
            ssdp("a location behind a user", |place| {
                format!("LOCATION: http://{}@{}/", place.web, place.canary)
            }),
            "no-answer",
        ),
        (ssdp("no location", |_| "SERVER: x".into()), "no-answer"),
        (ssdp("two locations", |place| format!("{}\r\n{}", at_home(place), at_home(place))), "no-answer"),
        (
            ssdp("a location that splits the request", |place| {
                format!("LOCATION: http://{}/ HTTP/1.1 x", place.web)
            }),
            "no-answer",
        ),
        (
            ssdp("a long answer", |place| format!("X: {}\r\n{}", "x".repeat(9000), at_home(place))),
            "no-answer",
        ),
        (ssdp("a closed port", |place| format!("LOCATION: http://{}:1/", place.web.ip())), "bad-answer"),
        (Script { spoofs: true, ..ssdp("a search answered by another", at_home) }, "no-answer"),
        (
            Script {
                ssdp: udp(|_, _| vec![vec![b'x'; 100]; 2000]),
                ..script("a flood of answers to the search")
            },
            "no-answer",
        ),
    ]
}

fn by_page() -> Vec<(Script, &'static str)> {
    let page =
        |name, page: fn() -> String| (serves(name, move |_, stream| ok(stream, &page())), "bad-answer");
    let raw = |name, bytes: &'static [u8]| (serves(name, move |_, stream| put(stream, bytes)), "bad-answer");
    vec![
        (serves("no answer to a request", |_, _| thread::sleep(Duration::from_secs(5))), "too-late"),
        (serves("a slow head", |_, s| endless(s, HEAD, b"x", SLOW)), "too-late"),
        (serves("a slow body", |_, s| endless(s, "HTTP/1.1 200 OK\r\n\r\n", b"<", SLOW)), "too-late"),
        (serves("slow chunks", |_, s| endless(s, CHUNKED, b"1\r\nx\r\n", SLOW)), "too-late"),
        (serves("an endless head", |_, s| endless(s, HEAD, &[b'x'; 4096], NO_PAUSE)), "bad-answer"),
        (serves("endless headers", |_, s| endless(s, HEAD, b"a: b\r\n", NO_PAUSE)), "bad-answer"),
        (
            serves("an endless body", |_, s| endless(s, "HTTP/1.1 200 OK\r\n\r\n", &[b' '; 4096], NO_PAUSE)),
            "bad-answer",
        ),
        (serves("endless chunks", |_, s| endless(s, CHUNKED, b"1\r\nx\r\n", NO_PAUSE)), "bad-answer"),
        (
            serves("a huge body", |_, s| {
                endless(s, "HTTP/1.1 200 OK\r\nContent-Length: 4294967296\r\n\r\n", &[b' '; 4096], NO_PAUSE)
            }),
            "bad-answer",
        ),
        raw("a bad chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nx"),
        raw("an unending chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\nx"),
        raw("compression", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n\x1f\x8b"),
        raw("a body cut off", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<root>"),
        raw("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
        raw("not HTTP", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        raw("HTTP 0.9", b"<root/>"),
        raw("only promises", b"HTTP/1.1 100 Continue\r\n\r\n"),
        raw("an error", b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"),
        (serves("a closed connection", |_, _| {}), "bad-answer"),
        (serves("a reset", |_, stream| reset(stream)), "bad-answer"),
        (
            serves("a redirect", |place, stream| {
                put(
                    stream,
                    format!(
                        "HTTP/1.1 301 Moved\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
                        place.canary
                    )
                    .as_bytes(),
                );
            }),
            "bad-answer",
        ),
        (
            serves("a redirect with a description", |place, stream| {
                let body = description("/ctl");
                put(
                    stream,
                    format!(
                        "HTTP/1.1 302 Found\r\nLocation: http://{}/\r\nContent-Length: {}\r\n\r\n{body}",
                        place.canary,
                        body.len()
                    )
                    .as_bytes(),
                );
            }),
            "bad-answer",
        ),
        page("no XML", || "{}".into()),
        page("a bomb", || format!("{BOMB}<root>&d;</root>")),
        page("nesting", nested),
        page("many elements", || format!("<root>{}</root>", "<a/>".repeat(12_000))),
        page("many attributes", || {
            format!("<root {}/>", (0..4000).map(|n| format!("a{n}='' ")).collect::<String>())
        }),
        page("a long name", || format!("<{}/>", "x".repeat(40_000))),
        page("no services", || "<root><device/></root>".into()),
        (
            serves("not UTF-8", |_, s| {
                put(s, b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n<r>\xff\xfe\xff</")
            }),
            "bad-answer",
        ),
        (
            serves("an entity elsewhere", |place, s| {
                ok(
                    s,
                    &format!(
                        "<!DOCTYPE r [<!ENTITY x SYSTEM \"http://{}/\">]><root>&x;</root>",
                        place.canary
                    ),
                );
            }),
            "bad-answer",
        ),
        (
            serves("control elsewhere", |place, s| {
                ok(s, &description(&format!("http://{}/ctl", place.canary)))
            }),
            "bad-answer",
        ),
        (
            serves("a base elsewhere", |place, s| {
                let base = format!("<root><URLBase>http://{}/</URLBase>", place.canary);
                ok(s, &description("/ctl").replace("<root>", &base));
            }),
            "bad-answer",
        ),
    ]
}

fn by_command() -> Vec<(Script, &'static str)> {
    let says = |name, body: fn() -> String| soap(name, move |_, _, stream| ok(stream, &body()));
    vec![
        (soap("no answer to a command", |_, _, _| thread::sleep(Duration::from_secs(5))), "too-late"),
        (
            soap("a slow answer to a command", |_, _, s| endless(s, "HTTP/1.1 200 OK\r\n\r\n", b"<", SLOW)),
            "too-late",
        ),
        (
            soap("an endless answer to a command", |_, _, s| {
                endless(s, "HTTP/1.1 200 OK\r\n\r\n", &[b' '; 4096], NO_PAUSE)
            }),
            "bad-answer",
        ),
        (says("a megabyte of elements", || envelope(&"<a/>".repeat(250_000))), "bad-answer"),
        (says("nesting in a command", nested), "bad-answer"),
        (says("a bomb in a command", || format!("{BOMB}<root>&d;</root>")), "bad-answer"),
        (says("an answer without a body", || "<root/>".into()), "bad-answer"),
        (says("an answer to another command", || response("GetStatusInfo", "")), "bad-answer"),
        (says("a web page", || "<html><body><p>Log in</p></body></html>".into()), "bad-answer"),
        (soap("a reset after a command", |_, _, stream| reset(stream)), "bad-answer"),
        (
            soap("a redirected command", |place, _, stream| {
                put(
                    stream,
                    format!(
                        "HTTP/1.1 307 Moved\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
                        place.canary
                    )
                    .as_bytes(),
                );
            }),
            "bad-answer",
        ),
        (has_address("UPnP behind a NAT", "192.168.0.1"), "gateway-behind-nat"),
        (has_address("UPnP behind a carrier's NAT", "100.100.1.1"), "gateway-behind-nat"),
        (has_address("UPnP without an address", "0.0.0.0"), "gateway-behind-nat"),
        (has_address("UPnP with an IPv6 address", "2001:db8::1"), "gateway-behind-nat"),
        (has_address("UPnP with a name", "home.example"), "bad-answer"),
        (has_address("UPnP with nothing", ""), "gateway-behind-nat"),
        (soap("not authorized", |_, _, s| fails(s, &fault("606", "Action not authorized"))), "refused"),
        (soap("a long fault", |_, _, s| fails(s, &fault("501", &"\u{1b}x".repeat(10)))), "bad-answer"),
        (soap("a fault of many words", |_, _, s| fails(s, &fault("501", &"word\n".repeat(5000)))), "refused"),
        (soap("a fault without a number", |_, _, s| fails(s, &fault("many", "x"))), "bad-answer"),
        (adds("no answer to the last command", |_, _, _| thread::sleep(Duration::from_secs(5))), "too-late"),
        (adds("every port is taken", |_, _, s| fails(s, &fault("718", "ConflictInMappingEntry"))), "refused"),
        (
            adds("permanent leases, and none of them", |_, _, s| {
                fails(s, &fault("725", "OnlyPermanentLeasesSupported"))
            }),
            "refused",
        ),
        (
            adds("the same port, and not that", |_, _, s| fails(s, &fault("724", "SamePortValuesRequired"))),
            "refused",
        ),
        (adds("a reset at the last command", |_, _, stream| reset(stream)), "bad-answer"),
        (adds("nonsense at the last command", |_, _, s| ok(s, &response("AddNothing", ""))), "bad-answer"),
    ]
}

/// Scripts, the protocol that works, the external port, and the lease.
pub(super) fn good_by_udp() -> Vec<(Script, &'static str, u16, u32)> {
    vec![
        (gives("PCP", 1800, v4(ADDRESS), 40_000), "PCP", 40_000, 1800),
        (gives("a lease of a second", 1, v4(ADDRESS), 40_000), "PCP", 40_000, 1),
        (gives("a lease for ever", u32::MAX, v4(ADDRESS), 40_000), "PCP", 40_000, u32::MAX),
        (natpmp("NAT-PMP", ADDRESS, |_| vec![natpmp_mapped(INTERNAL, 40_001, 900)]), "NAT-PMP", 40_001, 900),
    ]
}

pub(super) fn good_by_upnp() -> Vec<(Script, &'static str, u16, u32)> {
    let mapped = |s: &mut TcpStream| ok(s, &response("AddPortMapping", ""));
    let on = |name, condition: fn(&str) -> bool, code: &'static str| {
        adds(
            name,
            move |_, request, s| if condition(request) { mapped(s) } else { fails(s, &fault(code, "x")) },
        )
    };
    vec![
        (adds("UPnP", move |_, _, s| mapped(s)), "UPnP", EXTERNAL, 3600),
        (on("permanent leases only", |r| r.contains("<NewLeaseDuration>0<"), "725"), "UPnP", EXTERNAL, 3600),
        (
            on("a port that is taken", |r| r.contains("<NewExternalPort>33725<"), "718"),
            "UPnP",
            EXTERNAL + 2,
            3600,
        ),
        (on("the same port only", |r| r.contains("<NewExternalPort>51820<"), "724"), "UPnP", INTERNAL, 3600),
    ]
}
