//! Endpoints by name, over the system's resolver and a small DNS server, in namespaces of their own.

mod support;

use core::{
    net::SocketAddr,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};
use std::{fs, net::UdpSocket, process::Command, sync::Arc, thread, time::Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use support::{add_address, in_namespaces, index, set_up};
use wgautomesh::{
    clock,
    resolve::{Name, Resolver, system},
};
use wgautomesh_core::PublicKey;

const PORT: u16 = 51820;
const SERVER: [u8; 4] = [192, 0, 2, 53];
/// What the resolver waits for a server that does not answer, in all.
const DEAD: Duration = Duration::from_secs(8);

/// The last byte of the first address of `host.example`.
static FIRST: AtomicU8 = AtomicU8::new(1);

/// Answers: `host.example` has three addresses of one family and two of the other, `gone.example` does not exist, and
/// about everything else it says nothing.
fn serve(socket: &UdpSocket) -> Option<()> {
    let mut query = [0; 512];
    let (length, from) = socket.recv_from(&mut query).ok()?;
    let question = query.get(12..length)?;
    let name_end = question.iter().position(|&byte| byte == 0)?;
    let kind = *question.get(name_end + 2)?;
    let question = question.get(..name_end + 5)?;
    let first = FIRST.load(Ordering::Relaxed);
    let (code, answers): (u8, Vec<Vec<u8>>) = match question.get(1..5)? {
        b"host" if kind == 1 => (0, (first..first + 3).map(|last| vec![203, 0, 113, last]).collect()),
        b"host" if kind == 28 => {
            let ip = |last| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last].to_vec();
            (0, (first..first + 2).map(ip).collect())
        }
        b"gone" => (3, Vec::new()),
        _ => return Some(()),
    };
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1, 0, answers.len() as u8, 0, 0, 0, 0]);
    reply.extend(question);
    for answer in answers {
        // The name as in the question, its kind, IN, for no time at all.
        reply.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, answer.len() as u8]);
        reply.extend(answer);
    }
    socket.send_to(&reply, from).ok().map(|_| ())
}

/// Waits for the next addresses of anybody.
fn next(resolver: &mut Resolver) -> (PublicKey, Vec<SocketAddr>) {
    let mut found = Vec::new();
    while found.is_empty() {
        resolver.handle(clock::now(), |peer, addresses| found.push((*peer, addresses.to_vec())));
        if found.is_empty() {
            let timeout = Timespec::try_from(Duration::from_millis(100)).expect("a short time");
            poll(&mut [PollFd::new(&resolver.fd(), PollFlags::IN)], Some(&timeout)).expect("poll");
        }
    }
    found.remove(0)
}

#[test]
fn names_are_looked_up_beside_everything_else() {
    in_namespaces("names_are_looked_up_beside_everything_else", &[], || {
        set_up(index("lo"));
        add_address(index("lo"), SERVER, 32);
        // An /etc of our own: its files are symbolic links on some systems.
        let mounted = Command::new("mount").args(["-t", "tmpfs", "none", "/etc"]).status().expect("mount");
        assert!(mounted.success());
        fs::write("/etc/resolv.conf", "nameserver 192.0.2.53\noptions timeout:4 attempts:2\n").expect("ours");
        fs::write("/etc/nsswitch.conf", "hosts: files dns\n").expect("ours");
        fs::write("/etc/hosts", "127.0.0.1 localhost\n").expect("ours");
        let server = UdpSocket::bind(SocketAddr::from((SERVER, 53))).expect("nobody else is here");
        thread::spawn(move || {
            loop {
                serve(&server);
            }
        });

        let mut all = system("host.example", PORT).expect("it answers");
        all.sort();
        let expected = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "2001:db8::1", "2001:db8::2"];
        assert_eq!(all, expected.map(|ip| SocketAddr::new(ip.parse().expect("an address"), PORT)));
        system("gone.example", PORT).expect_err("it does not exist");

        let (dead, host) = (PublicKey::from_bytes([1; 32]), PublicKey::from_bytes([2; 32]));
        let name = |peer, host: &str| Name { peer, host: host.into(), port: PORT, beside: Box::default() };
        let names = [name(dead, "dead.example"), name(dead, "gone.example"), name(host, "host.example")];
        let start = Instant::now();
        let mut resolver = Resolver::new(clock::now(), names, Arc::new(system)).expect("an eventfd");
        let (peer, addresses) = next(&mut resolver);
        println!("beside a dead one: {:?}, {addresses:?}", start.elapsed());
        assert!(peer == host && start.elapsed() < DEAD / 2, "{:?}", start.elapsed());
        assert_eq!(addresses.len(), 5);
        assert_eq!(addresses.iter().take(4).filter(|a| a.is_ipv4()).count(), 2, "{addresses:?}");

        // The peer is there, moves, and is lost: its name is asked for again, and the dead one is in nobody's way.
        let now = clock::now();
        resolver.set_connected(now, &host, true);
        FIRST.store(101, Ordering::Relaxed);
        let later = now + wgautomesh_core::Duration::from_secs(60);
        resolver.set_connected(later, &host, false);
        resolver.handle(later, |_, _| ());
        let (peer, addresses) = next(&mut resolver);
        assert_eq!(peer, host);
        assert!(addresses.contains(&SocketAddr::from(([203, 0, 113, 101], PORT))), "{addresses:?}");
        assert!(start.elapsed() < DEAD, "{:?}", start.elapsed());
    });
}
