extern crate std;
use core::net::IpAddr;
use std::{collections::VecDeque, vec, vec::Vec};

use embedded_nal::UdpClientStack;

use super::*;
use crate::{Interface, PublicKey, SharedKey, testing::Counting};

const GOSSIP: u16 = 1666;
const PEER: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 2));

#[derive(Debug, PartialEq)]
struct Broken;

/// A stack with one socket, whose traffic the test plays.
#[derive(Default)]
struct Stack {
    bound: Option<u16>,
    incoming: VecDeque<Result<Vec<u8>, ()>>,
    sent: Vec<(SocketAddr, usize)>,
    refuses: bool,
}

impl UdpClientStack for Stack {
    type UdpSocket = ();
    type Error = Broken;

    fn socket(&mut self) -> Result<(), Broken> {
        Ok(())
    }

    fn connect(&mut self, (): &mut (), _: SocketAddr) -> Result<(), Broken> {
        Err(Broken)
    }

    fn send(&mut self, (): &mut (), _: &[u8]) -> nb::Result<(), Broken> {
        Err(nb::Error::Other(Broken))
    }

    fn receive(&mut self, (): &mut (), buffer: &mut [u8]) -> nb::Result<(usize, SocketAddr), Broken> {
        let datagram = self.incoming.pop_front().ok_or(nb::Error::WouldBlock)?;
        let datagram = datagram.map_err(|()| nb::Error::Other(Broken))?;
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        // As a dual-stack socket shows IPv4.
        let IpAddr::V4(from) = PEER else { return Err(nb::Error::Other(Broken)) };
        Ok((length, SocketAddr::new(from.to_ipv6_mapped().into(), GOSSIP)))
    }

    fn close(&mut self, (): ()) -> Result<(), Broken> {
        Ok(())
    }
}

impl UdpFullStack for Stack {
    fn bind(&mut self, (): &mut (), port: u16) -> Result<(), Broken> {
        self.bound.replace(port).map_or(Ok(()), |_| Err(Broken))
    }

    fn send_to(&mut self, (): &mut (), to: SocketAddr, datagram: &[u8]) -> nb::Result<(), Broken> {
        if self.refuses {
            return Err(nb::Error::Other(Broken));
        }
        self.sent.push((to, datagram.len()));
        Ok(())
    }
}

/// A mesh with one peer, which WireGuard has a session with.
fn mesh(now: Instant) -> Mesh<2> {
    let mut mesh = Mesh::new();
    mesh.set_secrets([SharedKey::derive(b"secret")]);
    let key = PublicKey::from_bytes([2; 32]);
    mesh.add_peer(now, key, PEER).expect("room for two");
    let public_key = PublicKey::from_bytes([1; 32]);
    mesh.handle_interface(now, Some(Interface { index: 1, public_key, listen_port: 51820 }));
    let reading =
        crate::PeerReading { key, endpoint: None, rx_bytes: 1, tx_bytes: 1, last_handshake: 1, keepalive: 0 };
    mesh.begin_reading();
    mesh.handle_reading(now, &reading, [(PEER, 32)]);
    mesh.end_reading(now);
    mesh
}

#[test]
fn binds_the_gossip_port_once() {
    let mut stack = Stack::default();
    assert!(Driver::bind(&mut stack, GOSSIP).is_ok());
    assert_eq!(stack.bound, Some(GOSSIP));
    assert_eq!(Driver::bind(&mut stack, GOSSIP).err(), Some(Broken));
}

#[test]
fn sends_datagrams_and_gives_back_the_rest() {
    let now = Instant::from_secs(1);
    for refuses in [false, true] {
        let mut stack = Stack { refuses, ..Stack::default() };
        let mut mesh = mesh(now);
        let mut driver = Driver::bind(&mut stack, GOSSIP).expect("free");
        let mut others = Vec::new();
        while let Some(output) = driver.poll(&mut stack, &mut mesh, now, &mut Counting(0)) {
            assert!(!matches!(output, Output::Datagram { .. }));
            others.push(output);
        }
        assert!(others.contains(&Output::Event(crate::Event::InterfaceUp)));
        // A datagram that the stack refuses is as good as lost.
        assert_eq!(mesh.counters().sent, 1);
        assert_eq!(stack.sent.len(), usize::from(!refuses));
        assert!(stack.sent.iter().all(|(to, len)| *to == SocketAddr::new(PEER, GOSSIP) && *len > 42));
    }
}

#[test]
fn takes_a_bounded_number_at_a_time() {
    let now = Instant::from_secs(1);
    let mut stack = Stack::default();
    let mut mesh = mesh(now);
    let mut driver = Driver::bind(&mut stack, GOSSIP).expect("free");
    stack.incoming = vec![Ok(vec![1; 100]); RECEIVE_BUDGET + 5].into();
    assert_eq!(driver.receive(&mut stack, &mut mesh, now), Ok(RECEIVE_BUDGET));
    assert_eq!(driver.receive(&mut stack, &mut mesh, now), Ok(5));
    assert_eq!(driver.receive(&mut stack, &mut mesh, now), Ok(0));
    let counters = mesh.counters();
    assert_eq!(counters.dropped_stranger, 0, "the mapped address is the peer's");
    assert_eq!(counters.dropped_secret, RECEIVE_BUDGET as u32 + 5);
}

/// What has room for few is polled before more of it is taken.
#[test]
fn takes_no_more_questions_than_the_engine_keeps() {
    use crate::wire::{AskLinks, Kind, Writer};
    let now = Instant::from_secs(1);
    let mut stack = Stack::default();
    let mut mesh = mesh(now);
    let mut driver = Driver::bind(&mut stack, GOSSIP).expect("free");
    while driver.poll(&mut stack, &mut mesh, now, &mut Counting(0)).is_some() {}
    stack.sent.clear();
    let question = || {
        let [asker, to] = [2, 1].map(|n| PublicKey::from_bytes([n; 32]));
        let mut buffer = [0; MAX_DATAGRAM];
        let mut writer = Writer::new(&mut buffer[crate::seal::HEADER..]);
        assert!(writer.frame(Kind::AskLinks, &AskLinks { token: [1; 4], asker, to, from: 0 }));
        let len = writer.len();
        let sealed = crate::seal::seal(&SharedKey::derive(b"secret"), &mut buffer, len, &mut Counting(0));
        Ok(buffer[..sealed.expect("it fits")].to_vec())
    };
    stack.incoming = (0..10).map(|_| question()).collect();
    let mut taken = Vec::new();
    while !stack.incoming.is_empty() {
        taken.push(driver.receive(&mut stack, &mut mesh, now).expect("it works"));
        while driver.poll(&mut stack, &mut mesh, now, &mut Counting(0)).is_some() {}
    }
    assert_eq!(taken, [crate::limits::MAX_TELLS, crate::limits::MAX_TELLS, 2]);
    // The first answer goes out with what else there is to say to a peer that was heard.
    let answers = stack.sent.iter().filter(|(to, len)| *to == SocketAddr::new(PEER, GOSSIP) && *len > 100);
    assert!(answers.count() >= 10, "{:?}", stack.sent);
}

#[test]
fn a_datagram_that_is_too_long_is_not_cut_to_fit() {
    let now = Instant::from_secs(1);
    let mut stack = Stack::default();
    let mut mesh = mesh(now);
    let mut driver = Driver::bind(&mut stack, GOSSIP).expect("free");
    stack.incoming = vec![Ok(vec![1; MAX_DATAGRAM + 1]), Ok(vec![1; 9000]), Ok(vec![1; MAX_DATAGRAM])].into();
    assert_eq!(driver.receive(&mut stack, &mut mesh, now), Ok(3));
    assert_eq!((mesh.counters().dropped_length, mesh.counters().dropped_secret), (2, 1));
}

#[test]
fn an_error_of_the_stack_is_the_callers() {
    let now = Instant::from_secs(1);
    let mut stack = Stack::default();
    let mut mesh = mesh(now);
    let mut driver = Driver::bind(&mut stack, GOSSIP).expect("free");
    stack.incoming = vec![Ok(vec![1; 100]), Err(()), Ok(vec![1; 100])].into();
    assert_eq!(driver.receive(&mut stack, &mut mesh, now), Err(Broken));
    assert_eq!(driver.receive(&mut stack, &mut mesh, now), Ok(1), "and the next call goes on");
}

#[test]
fn what_came_before_the_socket_was_ready_is_thrown_away() {
    let mut stack = Stack::default();
    let mut driver = Driver::bind(&mut stack, GOSSIP).expect("free");
    stack.incoming = vec![Ok(vec![1; 100]); RECEIVE_BUDGET + 5].into();
    assert_eq!(driver.drain(&mut stack), RECEIVE_BUDGET);
    assert_eq!(driver.drain(&mut stack), 5);
    assert_eq!(driver.drain(&mut stack), 0);
}
