//! What stands between `igd-next` and the gateway.
//!
//! `igd-next` does the SOAP: the messages, their arguments, the errors. It reads up to 1 MiB of an answer and builds a tree
//! of it, which for the shortest elements is some 60 MB, more than a router has; it waits for 10 s; its connection leaves
//! from any address, and IPv6 pinholes are given only to the address that asks for its own. None of that can be set. So it
//! is given a listener on the loopback instead, for one request. The guard passes that on to the gateway, bounded as
//! [`http`](super::http) is, and hands back what [`description::check`](super::description::check) found harmless.

use core::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Instant,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    Why, description,
    gateway::Route,
    http::{self, HttpError},
    ssdp::{Page, host_of},
};

/// The longest request of `igd-next` that is passed on: its longest is under 1 kB.
const MAX_REQUEST: usize = 8 * 1024;
/// How often a guard that nobody has turned to looks whether anybody will.
const LOOK: Duration = Duration::from_millis(20);
const STACK: usize = 128 * 1024;

/// Where a guarded request of `igd-next` is to go: the guard's listener, and a path that nobody else can guess. So another
/// program of this machine that connects gets nothing.
pub(super) struct Door {
    pub(super) address: SocketAddr,
    pub(super) path: String,
}

/// Runs `request` with a door to `page` of the gateway.
pub(super) fn guarded<T>(
    route: &Route,
    page: &Page,
    deadline: Instant,
    request: impl FnOnce(Door) -> Result<T, Why>,
) -> Result<T, Why> {
    http::left(deadline)?;
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).map_err(|_| Why::Local("no random numbers".into()))?;
    let path = format!("/{:032x}", u128::from_ne_bytes(secret));
    let local = |error: io::Error| Why::Local(format!("loopback: {error}"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(local)?;
    listener.set_nonblocking(true).map_err(local)?;
    let address = listener.local_addr().map_err(local)?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (known, done) = (&path, &done);
        // The listener goes with the guard: who comes too late is not to wait for anybody.
        let serve = move || serve(&listener, known, route, page, deadline, done);
        let guard = thread::Builder::new()
            .name("gateway-guard".into())
            .stack_size(STACK)
            .spawn_scoped(scope, serve)
            .map_err(local)?;
        let result = request(Door { address, path: path.clone() });
        done.store(true, Ordering::Relaxed);
        match guard.join() {
            // What the guard has seen says more than that `igd-next` was cut off.
            Ok(Err(why)) if result.is_err() => Err(why),
            _ => result,
        }
    })
}

fn serve(
    listener: &TcpListener,
    path: &str,
    route: &Route,
    page: &Page,
    deadline: Instant,
    done: &AtomicBool,
) -> Result<(), Why> {
    while !done.load(Ordering::Relaxed) && Instant::now() < deadline {
        let look = Timespec { tv_sec: 0, tv_nsec: LOOK.as_nanos() as _ };
        let _ = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&look));
        let Ok((mut stream, _)) = listener.accept() else { continue };
        if stream.set_nonblocking(false).is_err() {
            continue;
        }
        // Not the one that is waited for: the next one.
        let Some((action, body)) = request(&mut stream, path, deadline) else { continue };
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: text/xml; charset=\"utf-8\"\r\nSOAPAction: {action}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            page.path,
            host_of(route.at(page.port)),
            body.len()
        );
        let response = http::exchange(route.source, route.at(page.port), request.as_bytes(), deadline)?;
        // UPnP's errors come with 500.
        if !matches!(response.status, 200 | 500) {
            return Err(Why::Bad(format!("HTTP status {}", response.status)));
        }
        description::check(&response.body)?;
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            response.body.len()
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&response.body);
        return Ok(());
    }
    Ok(())
}

/// The SOAP action and the body of the request that comes, if it knows the path.
fn request(stream: &mut TcpStream, path: &str, deadline: Instant) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let start = format!("POST {path} ");
    loop {
        // Who is another one is sent away as soon as that shows.
        let known = bytes.len().min(start.len());
        if bytes.get(..known) != start.as_bytes().get(..known) || bytes.len() > MAX_REQUEST {
            return None;
        }
        if let Some(request) = read(&bytes) {
            return Some(request);
        }
        stream.set_read_timeout(Some(http::left(deadline).ok()?.min(Duration::from_millis(500)))).ok()?;
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk).ok()? {
            0 => return None,
            n => bytes.extend_from_slice(chunk.get(..n)?),
        }
    }
}

/// The action and the body of a request, once it is complete.
fn read(bytes: &[u8]) -> Option<(String, String)> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = core::str::from_utf8(bytes.get(..end)?).ok()?;
    let header = |wanted: &str| {
        head.split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then(|| value.trim()))
    };
    let length: usize = header("content-length")?.parse().ok()?;
    let body = bytes.get(end + 4..)?.get(..length)?;
    Some((header("soapaction")?.into(), core::str::from_utf8(body).ok()?.into()))
}

/// Whether `igd-next`'s requests would go to a proxy, which it takes from the environment and which cannot be switched off.
/// The gateway is not to be found there.
pub(super) fn is_proxied() -> bool {
    ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
        .into_iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

impl From<HttpError> for Why {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Late => Self::Late,
            HttpError::Io(_) | HttpError::TooLong | HttpError::Malformed => Self::Bad(error.to_string()),
        }
    }
}

impl From<description::Unreadable> for Why {
    fn from(_: description::Unreadable) -> Self {
        Self::Bad("its answer is not XML, or too much of it".into())
    }
}
