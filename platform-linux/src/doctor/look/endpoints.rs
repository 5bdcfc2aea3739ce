//! The endpoints of peers: those in the configuration, with their names looked up, and where WireGuard sends to now.

use core::net::SocketAddr;
use core::time::Duration;
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Instant,
};

use wgautomesh_core::PublicKey;

use super::{super::facts::EndpointFacts, link::Links, ways};
use crate::{
    config::{Config, Endpoint},
    resolve,
};

/// What the system's look-up gets, for all names together: it has no time-out of its own that would do for a person.
const PATIENCE: Duration = Duration::from_secs(5);
/// Names that are looked up at the same time.
const THREADS: usize = 32;

/// The endpoints of a peer with the host that each is of, and the hosts that have none.
type Resolved = (Vec<(SocketAddr, Option<String>)>, Vec<(String, String)>);

/// What the configuration says of each peer that it gives an endpoint.
pub(super) fn resolve(config: &Config) -> BTreeMap<PublicKey, Resolved> {
    let mut all: BTreeMap<PublicKey, Resolved> = BTreeMap::new();
    let mut open: BTreeMap<usize, (PublicKey, String, u16)> = BTreeMap::new();
    for (peer, endpoint) in
        config.peers().iter().flat_map(|peer| peer.endpoints().iter().map(move |endpoint| (peer, endpoint)))
    {
        match endpoint {
            Endpoint::Address(address) => all.entry(*peer.key()).or_default().0.push((*address, None)),
            Endpoint::Name { host, port } => {
                open.insert(open.len(), (*peer.key(), host.to_string(), port.get()));
            }
        }
    }
    let answers = look_up(&open);
    let end = Instant::now() + PATIENCE;
    while !open.is_empty()
        && let Ok((at, answer)) = answers.recv_timeout(end.saturating_duration_since(Instant::now()))
    {
        let Some((key, host, _)) = open.remove(&at) else { continue };
        let (found, unresolved) = all.entry(key).or_default();
        match answer {
            Ok(addresses) if addresses.is_empty() => unresolved.push((host, "none was found".into())),
            Ok(addresses) => found.extend(addresses.into_iter().map(|address| (address, Some(host.clone())))),
            Err(error) => unresolved.push((host, error.to_string())),
        }
    }
    for (key, host, _) in open.into_values() {
        all.entry(key).or_default().1.push((host, format!("no answer within {} s", PATIENCE.as_secs())));
    }
    all
}

type Answer = (usize, io::Result<Vec<SocketAddr>>);

/// Looks up all names at once. A look-up that hangs is left behind with its thread: the process ends soon.
fn look_up(names: &BTreeMap<usize, (PublicKey, String, u16)>) -> mpsc::Receiver<Answer> {
    let (tell, answers) = mpsc::channel();
    let queue: Vec<_> = names.iter().map(|(&at, (_, host, port))| (at, host.clone(), *port)).collect();
    let threads = queue.len().min(THREADS);
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..threads {
        let (tell, queue) = (tell.clone(), Arc::clone(&queue));
        thread::spawn(move || {
            let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            while let Some((at, host, port)) = next() {
                if tell.send((at, resolve::system(&host, port))).is_err() {
                    return;
                }
            }
        });
    }
    answers
}

/// The endpoints with the ways to them: those found, and the one that WireGuard has `now`.
pub(super) fn look(
    found: &[(SocketAddr, Option<String>)],
    now: Option<SocketAddr>,
    fwmark: u32,
    links: &Links,
) -> Vec<EndpointFacts> {
    let is_new = |now: &SocketAddr| !found.iter().any(|(endpoint, _)| endpoint == now);
    let all = now.filter(is_new).map(|now| (now, None)).into_iter().chain(found.iter().cloned());
    all.map(|(endpoint, host)| EndpointFacts { endpoint, host, way: ways::to(endpoint, fwmark, links) })
        .collect()
}
