//! Gateways of all kinds, each at a loopback address of its own, against the whole of the port mapping but the routes.
//!
//! Bad ones are counted as failed in time, end the thread that asks in time, and lead nowhere else: what they point at is
//! a canary, which nobody may come to.

mod scripts;

use core::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Arc,
    thread,
    time::Instant,
};

use rustix::event::{PollFd, PollFlags};

use super::{Mapper, System, gateway::Route};
use crate::{clock, control::status};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const CANARY: Ipv4Addr = Ipv4Addr::new(127, 9, 9, 9);
const INTERNAL: u16 = 51820;
const EXTERNAL: u16 = 33723;
/// What a good gateway says its address is.
const ADDRESS: [u8; 4] = [203, 0, 113, 7];

/// By when the mapper has counted a failure, and the thread has ended.
const COUNTED: Duration = Duration::from_millis(3100);
const ENDED: Duration = Duration::from_millis(10_100);
/// The machine that runs the tests may be busy.
const SLACK: Duration = Duration::from_millis(400);

type Udp = Arc<dyn Fn(&Place, &[u8]) -> Vec<Vec<u8>> + Send + Sync>;
type Tcp = Arc<dyn Fn(&Place, &str, &mut TcpStream) + Send + Sync>;

/// A gateway: what it answers.
#[derive(Clone)]
struct Script {
    name: &'static str,
    /// At the port of PCP and NAT-PMP; `None` is closed.
    pcp: Option<Udp>,
    ssdp: Option<Udp>,
    web: Option<Tcp>,
    /// Answers by UDP come from another address.
    spoofs: bool,
}

/// Where things are, for answers to name.
struct Place {
    web: SocketAddr,
    canary: SocketAddr,
}

/// The running gateway; it ends with this.
struct Gateway {
    route: Route,
    system: System,
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Gateway {
    fn start(script: &Script, number: usize, canary: SocketAddr) -> Self {
        let ip = IpAddr::V4(Ipv4Addr::new(127, 7, (number >> 8) as u8, (number & 0xff) as u8));
        let stop = Arc::new(AtomicBool::new(false));
        let web = TcpListener::bind((ip, 0)).expect("a loopback address");
        let place = Arc::new(Place { web: web.local_addr().expect("bound"), canary });
        let mut threads = Vec::new();
        let mut udp = |answer: &Option<Udp>| {
            let socket = UdpSocket::bind((ip, 0)).expect("a loopback address");
            let port = socket.local_addr().expect("bound").port();
            if let Some(answer) = answer.clone() {
                let from = script.spoofs.then(|| UdpSocket::bind((CANARY, 0)).expect("a loopback address"));
                let (stop, place) = (Arc::clone(&stop), Arc::clone(&place));
                threads
                    .push(thread::spawn(move || serve_udp(&socket, from.as_ref(), &answer, &place, &stop)));
            }
            port
        };
        let (pcp_port, ssdp_port) = (udp(&script.pcp), udp(&script.ssdp));
        if let Some(answer) = script.web.clone() {
            let (stop, place) = (Arc::clone(&stop), Arc::clone(&place));
            threads.push(thread::spawn(move || serve_web(&web, &answer, &place, &stop)));
        }
        let route = Route { gateway: ip, interface: 1, source: CLIENT };
        let system = System { pcp_port, ssdp_port, routes: Some([Some(route), None]) };
        Self { route, system, stop, threads }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve_udp(socket: &UdpSocket, from: Option<&UdpSocket>, answer: &Udp, place: &Place, stop: &AtomicBool) {
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
        for answer in answer(place, &buffer[..length]) {
            let _ = from.unwrap_or(socket).send_to(&answer, client);
        }
    }
}

fn serve_web(listener: &TcpListener, answer: &Tcp, place: &Arc<Place>, stop: &AtomicBool) {
    listener.set_nonblocking(true).expect("non-blocking");
    while !stop.load(Ordering::Relaxed) {
        let Ok((mut stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        stream.set_nonblocking(false).expect("blocking");
        stream.set_read_timeout(Some(Duration::from_secs(4))).expect("a timeout");
        stream.set_write_timeout(Some(Duration::from_secs(4))).expect("a timeout");
        let (answer, place) = (Arc::clone(answer), Arc::clone(place));
        thread::spawn(move || {
            let request = read_request(&mut stream);
            answer(&place, &request, &mut stream);
        });
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() >= length.map_or(0, |length| length.parse().expect("our own request")) {
                return text;
            }
        }
        match stream.read(&mut buffer) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&buffer[..n]),
            _ => return text,
        }
    }
}

/// What came of it, and how long that took.
struct Run {
    status: status::PortMapping,
    lease: Option<u32>,
    counted: Duration,
    ended: Duration,
    /// The longest that the loop was held up.
    blocked: Duration,
}

/// Runs a mapper against a gateway until the first asking is over.
fn run(script: &Script, number: usize, canary: SocketAddr) -> (Run, Gateway, Mapper) {
    let gateway = Gateway::start(script, number, canary);
    let mut mapper =
        Mapper::new(EXTERNAL, b"a secret", Arc::new(gateway.system.clone())).expect("a descriptor");
    let start = Instant::now();
    mapper.set_source(clock::now(), INTERNAL, 0);
    let (mut counted, mut blocked) = (None, Duration::ZERO);
    loop {
        let before = Instant::now();
        mapper.handle(clock::now());
        blocked = blocked.max(before.elapsed());
        let status = mapper.status(clock::now());
        if counted.is_none() && (status.reason.is_some() || !status.mapped.is_empty()) {
            counted = Some(start.elapsed());
        }
        if let Some(counted) = counted
            && !mapper.is_asking()
        {
            let lease = mapper.lease();
            return (Run { status, lease, counted, ended: start.elapsed(), blocked }, gateway, mapper);
        }
        assert!(start.elapsed() < Duration::from_secs(15), "{}: does not end", script.name);
        let [wake, _] = mapper.fds();
        let wake = wake.expect("it has one");
        clock::ready_within(&[PollFd::new(&wake, PollFlags::IN)], embassy_time::Duration::from_millis(10));
    }
}

#[test]
fn no_hostile_gateway_gets_anywhere() {
    let canary = TcpListener::bind((CANARY, 0)).expect("a loopback address");
    canary.set_nonblocking(true).expect("non-blocking");
    let at = canary.local_addr().expect("bound");
    let canary_udp = UdpSocket::bind(at).expect("a loopback address");
    canary_udp.set_nonblocking(true).expect("non-blocking");

    let scripts = scripts::bad();
    assert!(scripts.len() >= 60, "{} scripts", scripts.len());
    let start = Instant::now();
    let runs: Vec<_> = scripts
        .iter()
        .enumerate()
        .map(|(number, (script, _))| {
            let script = script.clone();
            (script.name, thread::spawn(move || run(&script, number + 1, at).0))
        })
        .collect();
    for ((name, run), (_, expected)) in runs.into_iter().zip(&scripts) {
        let run = run.join().unwrap_or_else(|_| panic!("{name}: panicked"));
        assert_eq!(run.status.mapped, [], "{name}");
        let reason = run.status.reason.expect("a failure has a reason");
        assert_eq!(reason.id, *expected, "{name}: {}", reason.message);
        assert!(reason.message.len() < 300 && !reason.message.contains('\n'), "{name}: {}", reason.message);
        assert!(run.counted <= COUNTED + SLACK, "{name}: counted after {:?}", run.counted);
        assert!(run.ended <= ENDED, "{name}: ended after {:?}", run.ended);
        assert!(run.blocked < SLACK, "{name}: the loop was held up for {:?}", run.blocked);
    }
    assert!(canary.accept().is_err(), "somebody was sent elsewhere");
    assert!(canary_udp.recv(&mut [0; 64]).is_err(), "somebody was sent elsewhere");
    eprintln!("{} gateways, {:?}", scripts.len(), start.elapsed());
}

/// The control of the above: with the same means, mappings are made, and taken back.
#[test]
fn good_gateways_are_used_by_udp() {
    use_all(1000, scripts::good_by_udp());
}

#[test]
fn good_gateways_are_used_by_upnp() {
    use_all(1100, scripts::good_by_upnp());
}

fn use_all(first: usize, scripts: Vec<(Script, &'static str, u16, u32)>) {
    let nowhere = SocketAddr::new(CANARY.into(), 9);
    for (number, (script, protocol, port, lease)) in scripts.into_iter().enumerate() {
        let (run, gateway, mut mapper) = run(&script, first + number, nowhere);
        let name = script.name;
        let [mapped] = &run.status.mapped[..] else { panic!("{name}: {:?}", run.status.reason) };
        assert_eq!((mapped.protocol.as_str(), mapped.endpoint), (protocol, (ADDRESS, port).into()), "{name}");
        assert_eq!(mapped.gateway, gateway.route.gateway, "{name}");
        assert_eq!(run.lease, Some(lease), "{name}");
        assert_eq!(run.status.reason, None, "{name}");
        mapper.stop();
        assert_eq!(mapper.endpoints().count(), 0, "{name}");
    }
}
