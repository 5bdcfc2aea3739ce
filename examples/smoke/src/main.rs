//! The least that must work on a target before the daemon is worth trying there: start, allocate, use a thread, a
//! clock and a socket, and panic. Not a test of the daemon. Cross builds of std can link and print and still crash in
//! `thread::spawn` or in a panic (as static-pie does on MIPS), so this is run on every target that is built for.
//!
//! Without an argument it prints one line and ends with 0. With the argument `panic` it panics.
use core::time::Duration;
use std::{net::UdpSocket, process::ExitCode, thread, time::Instant};

/// Sends itself a datagram over loopback and returns what came.
fn echo(text: &str) -> std::io::Result<String> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.send_to(text.as_bytes(), socket.local_addr()?)?;
    let mut buffer = [0; 64];
    let (length, _) = socket.recv_from(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("panic") {
        panic!("asked to");
    }
    let started = Instant::now();
    let Ok(joined) = thread::spawn(|| echo("datagram")).join() else {
        eprintln!("the thread panicked");
        return ExitCode::FAILURE;
    };
    match joined {
        Ok(text) if text == "datagram" => {
            println!("thread, socket and clock work on {} ({:?})", std::env::consts::ARCH, started.elapsed());
            ExitCode::SUCCESS
        }
        Ok(text) => {
            eprintln!("sent \"datagram\", received {text:?}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("a socket failed: {error}");
            ExitCode::FAILURE
        }
    }
}
