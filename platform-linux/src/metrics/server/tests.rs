//! Real clients on loopback, and a time that the test passes in.

use core::{
    cell::Cell,
    net::{Ipv6Addr, SocketAddr},
};
use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

use rustix::event::PollFd;

use super::*;
use crate::clock;

const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

fn at(millis: u64) -> Instant {
    Instant::from_millis(1_000_000 + millis)
}

fn server() -> (Server, SocketAddr) {
    let server = Server::new(Some(([127, 0, 0, 1], 0).into()), at(0));
    let address = server.address().expect("a port on loopback");
    (server, address)
}

fn client(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(core::time::Duration::from_secs(30))).unwrap();
    stream
}

/// Waits until something can be done, but no longer than that; whether it can.
fn wait(server: &Server, limit: Duration) -> bool {
    let files: Vec<PollFd<'_>> = server.interests().map(|(fd, interest)| interest.of(fd)).collect();
    clock::ready_within(&files, limit)
}

/// Waits until something can be done, and does it; how often the metrics were made.
fn turn(server: &mut Server, now: Instant, text: &str) -> usize {
    assert!(wait(server, Duration::from_secs(30)), "nothing is ready");
    handle(server, now, text)
}

fn handle(server: &mut Server, now: Instant, text: &str) -> usize {
    let made = Cell::new(0);
    server.handle(now, || {
        made.set(made.get() + 1);
        text.to_owned()
    });
    made.get()
}

fn clients(server: &Server) -> usize {
    server.clients.iter().flatten().count()
}

/// All that a client is told, up to the end.
fn told(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    String::from_utf8(said).unwrap()
}

/// Turns the server in this thread while a client is told in another.
fn told_while_serving(server: &mut Server, mut stream: TcpStream, text: &str) -> String {
    let reader = std::thread::spawn(move || told(&mut stream));
    while clients(server) > 0 {
        turn(server, at(0), text);
    }
    reader.join().unwrap()
}

#[test]
fn a_scrape_is_answered_and_over() {
    let (mut server, address) = server();
    assert_eq!((server.next_timeout(), server.interests().count()), (None, 1));
    let mut prometheus = client(address);
    prometheus.write_all(GET).unwrap();
    while turn(&mut server, at(0), "up 1\n") == 0 {}
    let said = told(&mut prometheus);
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with("\r\n\r\nup 1\n"), "{said}");
    assert_eq!((clients(&server), server.next_timeout(), server.interests().count()), (0, None, 1));
}

/// More than any buffer of a socket holds.
#[test]
fn a_large_answer_goes_in_pieces() {
    let (mut server, address) = server();
    let mut prometheus = client(address);
    prometheus.write_all(GET).unwrap();
    let text = "x".repeat(12_000_000);
    while turn(&mut server, at(0), &text) == 0 {}
    assert_eq!(server.interests().filter(|(_, interest)| *interest == Interest::Writable).count(), 1);
    let said = told_while_serving(&mut server, prometheus, &text);
    assert!(said.ends_with(&text), "{} bytes", said.len());
}

/// Also where the request goes on after what is refused: the answer is not lost by a reset.
#[test]
fn what_is_refused_gets_its_answer() {
    let post =
        [&b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n"[..], &[b'x'; 9_000]].concat();
    for (request, answer) in [
        (post, "405 Method Not Allowed"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\nmore".to_vec(), "404 Not Found"),
        (b"nonsense\r\n\r\n".to_vec(), "400 Bad Request"),
        (vec![b'x'; 3 * MAX_HEAD], "431 Request Header Fields Too Large"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), "505 HTTP Version Not Supported"),
    ] {
        let (mut server, address) = server();
        let mut stream = client(address);
        stream.write_all(&request).unwrap();
        while clients(&server) == 0 {
            assert_eq!(turn(&mut server, at(0), ""), 0);
        }
        let said = told_while_serving(&mut server, stream, "");
        assert!(said.starts_with(&format!("HTTP/1.1 {answer}\r\n")), "{answer}: {said}");
    }
}

#[test]
fn a_request_may_come_in_pieces() {
    let (mut server, address) = server();
    let mut slow = client(address);
    slow.set_nodelay(true).unwrap();
    turn(&mut server, at(0), "");
    let (last, before) = GET.split_last().unwrap();
    for byte in before {
        slow.write_all(&[*byte]).unwrap();
        assert_eq!(turn(&mut server, at(0), ""), 0);
    }
    slow.write_all(&[*last]).unwrap();
    assert_eq!(turn(&mut server, at(0), "up 1\n"), 1);
    assert!(told(&mut slow).ends_with("up 1\n"));
}

#[test]
fn silent_clients_hold_their_place_for_a_while_only() {
    let (mut server, address) = server();
    let mut silent: Vec<TcpStream> = (0..MAX_CLIENTS).map(|_| client(address)).collect();
    while clients(&server) < MAX_CLIENTS {
        turn(&mut server, at(0), "");
    }
    let mut late = client(address);
    late.write_all(GET).unwrap();
    // All places are taken: the listener is not even polled, and the late one is not heard.
    assert_eq!(server.interests().count(), MAX_CLIENTS);
    assert_eq!(server.next_timeout(), Some(at(0) + PATIENCE));
    silent[0].write_all(b"GET /metr").unwrap();
    assert_eq!(turn(&mut server, at(0) + PATIENCE - Duration::from_millis(1), ""), 0);
    assert_eq!(clients(&server), MAX_CLIENTS);

    // Time is up: they are let go, and the late one gets its turn.
    let now = at(0) + PATIENCE;
    handle(&mut server, now, "");
    while turn(&mut server, now, "up 1\n") == 0 {}
    assert!(told(&mut late).ends_with("up 1\n"));
    for stream in &mut silent {
        // Hung up on: end of file, or a reset where something was left unread.
        assert!(!matches!(stream.read(&mut [0; 8]), Ok(1..)));
    }
    assert_eq!(clients(&server), 0);
}

#[test]
fn a_client_that_does_not_read_delays_nobody() {
    let (mut server, address) = server();
    let mut deaf = client(address);
    deaf.write_all(GET).unwrap();
    while turn(&mut server, at(0), &"x".repeat(12_000_000)) == 0 {}
    assert_eq!(clients(&server), 1);
    let mut brisk = client(address);
    brisk.write_all(GET).unwrap();
    while turn(&mut server, at(0), "up 1\n") == 0 {}
    assert!(told(&mut brisk).ends_with("up 1\n"));
    assert_eq!(handle(&mut server, at(0) + PATIENCE, ""), 0);
    assert_eq!(clients(&server), 0);
}

/// A request that is refused and goes on for ever is read for a while.
#[test]
fn an_endless_request_is_let_go() {
    let (mut server, address) = server();
    let mut endless = client(address);
    let writer = std::thread::spawn(move || {
        let mut written = 0;
        // Until it is hung up on.
        while let Ok(more) = endless.write(&[b'x'; 4_096]) {
            written += more;
        }
        written
    });
    let end = clock::now() + Duration::from_secs(60);
    // All of it may happen in one turn, so that there is nothing to wait for after it.
    while !writer.is_finished() {
        assert!(clock::now() < end, "it is listened to for ever: {server:?}");
        wait(&server, Duration::from_millis(10));
        assert_eq!(handle(&mut server, at(0), ""), 0);
    }
    assert!(writer.join().unwrap() >= MAX_HEAD);
    assert_eq!(clients(&server), 0);
}

#[test]
fn clients_that_go_away_free_their_place() {
    let (mut server, address) = server();
    for number in 0..3 * MAX_CLIENTS as u64 {
        let now = at(number * 1_000);
        let mut gone = client(address);
        gone.write_all(b"GET /metr").unwrap();
        gone.shutdown(Shutdown::Both).unwrap();
        drop(gone);
        turn(&mut server, now, "");
        while clients(&server) > 0 {
            turn(&mut server, now, "");
        }
        assert_eq!(server.interests().count(), 1);
    }
}

/// Whoever asks without end is served at a bounded rate, and costs no wake-up in between.
#[test]
fn there_is_a_limit_to_how_often_metrics_are_made() {
    let (mut server, address) = server();
    let ask = |server: &mut Server, now, most: u32| {
        let mut made = 0;
        while made < most {
            let mut stream = client(address);
            stream.write_all(GET).unwrap();
            let before = made;
            while made == before {
                made += turn(server, now, "up 1\n") as u32;
            }
            assert!(told(&mut stream).ends_with("up 1\n"));
        }
    };
    ask(&mut server, at(0), BURST);
    // Nobody is served now, and nothing is polled.
    let mut waiting = client(address);
    waiting.write_all(GET).unwrap();
    assert_eq!((server.interests().count(), server.next_timeout()), (0, Some(at(0) + INTERVAL)));
    assert_eq!(handle(&mut server, at(99), "up 1\n"), 0);
    assert_eq!(server.interests().count(), 0);
    // One more, and none after it.
    let now = at(0) + INTERVAL;
    let mut made = handle(&mut server, now, "up 1\n");
    while made == 0 {
        made += turn(&mut server, now, "up 1\n");
    }
    assert!(told(&mut waiting).ends_with("up 1\n"));
    assert_eq!(server.interests().count(), 0);
    // After a pause as many as at first, and no more.
    let now = at(3_600_000);
    handle(&mut server, now, "");
    ask(&mut server, now, BURST);
    assert_eq!(server.interests().count(), 0);
}

/// The mesh goes on without, and it listens once it can.
#[test]
fn a_port_that_is_taken_is_tried_again() {
    // An address that no other test uses, which might take the port meanwhile.
    let other = TcpListener::bind("127.0.0.3:0").unwrap();
    let address = other.local_addr().unwrap();
    let mut server = Server::new(Some(address), at(0));
    assert_eq!((server.address(), server.interests().count()), (None, 0));
    assert_eq!(server.next_timeout(), Some(at(0) + RETRY));
    handle(&mut server, at(0) + RETRY, "");
    assert_eq!((server.address(), server.next_timeout()), (None, Some(at(0) + RETRY + RETRY)));
    let Listening::Later { said, .. } = &server.listening else { panic!("{server:?}") };
    assert!(said.contains("give metrics_listen another port"), "{said}");
    drop(other);
    handle(&mut server, at(0) + RETRY + RETRY, "");
    assert_eq!((server.address(), server.next_timeout()), (Some(address), None));
}

/// As this node's own in the mesh, which comes with the interface.
#[test]
fn an_address_may_come_later() {
    let mut addresses = vec![SocketAddr::from(([192, 0, 2, 77], 0))];
    // Where the machine has IPv6 at all.
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        addresses.push(("2001:db8::77".parse::<Ipv6Addr>().unwrap(), 0).into());
    }
    for address in addresses {
        let server = Server::new(Some(address), at(0));
        assert_eq!(server.address().map(|at| at.ip()), Some(address.ip()), "{server:?}");
    }
}

/// As a configuration that is read again may want it. Who is being served notices nothing.
#[test]
fn it_listens_elsewhere_when_told() {
    let (mut server, before) = server();
    let mut served = client(before);
    served.write_all(GET).unwrap();
    let text = "x".repeat(12_000_000);
    while turn(&mut server, at(0), &text) == 0 {}
    // The same again: the port that the system chose stays.
    server.listen_at(Some(([127, 0, 0, 1], 0).into()), at(0));
    assert_eq!(server.address(), Some(before));
    server.listen_at(Some(([127, 0, 0, 2], 0).into()), at(0));
    assert_eq!(server.address().map(|at| at.ip()), Some([127, 0, 0, 2].into()));
    assert_eq!(server.interests().count(), 2);
    server.listen_at(None, at(0));
    assert_eq!((server.address(), server.interests().count()), (None, 1));
    assert!(told_while_serving(&mut server, served, &text).ends_with(&text));
}

#[test]
fn nothing_is_listened_at_where_nobody_wants_it() {
    let mut server = Server::new(None, at(0));
    assert_eq!((server.interests().count(), server.next_timeout()), (0, None));
    assert_eq!(handle(&mut server, at(0), ""), 0);
}
