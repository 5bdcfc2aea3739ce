//! Garbage at a port: what a program on a node that does not know the gossip secret can send.
//!
//! It runs as a process of its own in the node, so that its packets take the way that any program's take: by the
//! tunnel to a mesh address, by the wan to an underlay address.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::time::Instant;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// The word that makes our binary a flooder: `WORD FLOOD`, where `FLOOD` is a [`Flood`] in JSON.
pub(crate) const WORD: &str = "__mesh_box_flood";

/// The longest datagram. With headers it fits the tunnel's MTU: nothing is fragmented.
const LONGEST: u32 = 1300;
/// How often the sender looks at the clock: so many times a second a burst of what is due by then goes out.
const BURSTS_PER_SECOND: u32 = 200;
/// How long answers are waited for after the last datagram.
const PATIENCE: Duration = Duration::from_millis(300);

/// Garbage to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flood {
    /// To this address and port.
    pub target: SocketAddr,
    /// Datagrams per second; a machine that is too busy sends them later, not fewer of them.
    pub rate: u32,
    /// Datagrams in all.
    pub count: u32,
    /// Contents and lengths come from it.
    pub seed: u64,
}

/// How a flood went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flooded {
    /// Datagrams that the kernel took.
    pub sent: u32,
    /// Their bytes.
    pub sent_bytes: u64,
    /// How long that took.
    pub took: Duration,
    /// Datagrams that came back, from anywhere.
    pub answers: u32,
    /// Their bytes.
    pub answer_bytes: u64,
}

impl Flood {
    /// The words that run it inside a node.
    pub(crate) fn command(&self) -> io::Result<[String; 3]> {
        Ok(["/proc/self/exe".into(), WORD.into(), serde_json::to_string(self)?])
    }

    fn run(&self) -> io::Result<Flooded> {
        let any = match self.target {
            SocketAddr::V4(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            SocketAddr::V6(_) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
        };
        // Not connected: an answer from another address or port counts too.
        let socket = UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut flooded =
            Flooded { sent: 0, sent_bytes: 0, took: Duration::ZERO, answers: 0, answer_bytes: 0 };
        let start = Instant::now();
        let mut number = 0;
        while number < self.count {
            let due = start.elapsed().as_micros() * u128::from(self.rate) / 1_000_000;
            while number < self.count && u128::from(number) < due {
                let garbage = garbage(number, &mut rng);
                // What does not go out, as with a full queue, is not counted; a flooder does not care.
                if socket.send_to(&garbage, self.target).is_ok() {
                    flooded.sent += 1;
                    flooded.sent_bytes += garbage.len() as u64;
                }
                number += 1;
            }
            flooded.take_answers(&socket);
            std::thread::sleep(Duration::from_secs(1) / BURSTS_PER_SECOND);
        }
        flooded.took = start.elapsed();
        std::thread::sleep(PATIENCE);
        flooded.take_answers(&socket);
        Ok(flooded)
    }
}

impl Flooded {
    fn take_answers(&mut self, socket: &UdpSocket) {
        let mut answer = [0; 2048];
        // Any error means that there is none now.
        while let Ok((length, _)) = socket.recv_from(&mut answer) {
            self.answers += 1;
            self.answer_bytes += length as u64;
        }
    }
}

/// Random bytes; of every two, one begins as a gossip datagram does, with version 1, and of those every other one
/// is zeros after that, as a naive forger would write.
fn garbage(number: u32, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let length = 1 + rng.next_u32() % LONGEST;
    let mut bytes = vec![0; length as usize];
    if number % 4 != 3 {
        rng.fill_bytes(&mut bytes);
    }
    if number % 2 == 1 {
        bytes[0] = 1;
    }
    bytes
}

/// Runs as the flooder; prints a [`Flooded`] in JSON.
pub(crate) fn run(arguments: &[String]) -> io::Result<()> {
    let [flood] = arguments else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flood: Flood = serde_json::from_str(flood)?;
    println!("{}", serde_json::to_string(&flood.run()?)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_counts_what_goes_out_and_what_comes_back() {
        let target = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let flood = Flood { target: target.local_addr().unwrap(), rate: 2_000, count: 100, seed: 1 };
        let flooder = std::thread::spawn(move || flood.run());
        let mut bytes = [0; 2048];
        let (mut received, mut lengths, mut versions) = (0, 0, 0);
        while received < 100 {
            let (length, from) = target.recv_from(&mut bytes).unwrap();
            assert!((1..=LONGEST as usize).contains(&length));
            received += 1;
            lengths += length as u64;
            versions += u32::from(bytes[0] == 1);
            if received == 1 {
                target.send_to(b"answer", from).unwrap();
            }
        }
        let flooded = flooder.join().unwrap().unwrap();
        assert_eq!((flooded.sent, flooded.sent_bytes), (100, lengths));
        assert_eq!((flooded.answers, flooded.answer_bytes), (1, 6));
        assert!(versions >= 50, "{versions}");
    }
}
