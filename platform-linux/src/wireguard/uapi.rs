//! A userspace WireGuard, by its cross-platform configuration protocol over a Unix socket.
//!
//! <https://www.wireguard.com/xplatform/>. A connection per request, as `wg` does it; whoever does not answer within half
//! a second is not there. The text of a reading begins with the private key, so it passes through one small buffer
//! that is wiped.

use core::{fmt::Write as _, net::SocketAddr, time::Duration};
use std::{
    io::{self, Read, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
use socket2::{Domain, SockAddr, Socket, Type};
use wireguard_control::{Key, PeerInfo};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::{Zeroize, Zeroizing};

use super::{Change, Device, Write};

/// For each of connecting, sending, and receiving a piece of the answer. The devices answer from memory.
const PATIENCE: Duration = Duration::from_millis(500);

/// Read at once: the whole answer of a device with some forty peers, since each piece that is waited for is a wake-up. And more
/// than the longest line of an answer: a key's, with 78 characters.
const LINE: usize = 16 * 1024;

pub(super) struct Client {
    path: PathBuf,
}

impl Client {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Before connecting: a device that does not accept would hold us up there.
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(&SockAddr::unix(&self.path)?)?;
        Ok(UnixStream::from(std::os::fd::OwnedFd::from(socket)))
    }

    /// # Errors
    /// `NotFound` or `ConnectionRefused` when there is no such device.
    pub(super) fn read(&self) -> io::Result<Device> {
        let mut stream = self.connect()?;
        stream.write_all(b"get=1\n\n")?;
        let mut parser = Parser::default();
        lines(&mut stream, |line| parser.line(line))?;
        parser.finish()
    }

    pub(super) fn apply(&self, change: &Change<'_>) -> io::Result<()> {
        let request = encode(change);
        let mut stream = self.connect()?;
        stream.write_all(request.as_bytes())?;
        let mut errno = None;
        lines(&mut stream, |line| {
            if let Some(value) = line.strip_prefix("errno=") {
                errno = Some(parse(value)?);
            }
            Ok(())
        })?;
        check(errno)
    }
}

/// Hands over each line of an answer up to the empty one that ends it.
fn lines(stream: &mut impl Read, mut each: impl FnMut(&str) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = Zeroizing::new([0; LINE]);
    let mut filled = 0;
    loop {
        let read = match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        filled += read;
        let mut start = 0;
        while let Some(length) = buffer[start..filled].iter().position(|&byte| byte == b'\n') {
            let line = core::str::from_utf8(&buffer[start..start + length]).map_err(|_| malformed())?;
            if line.is_empty() {
                return Ok(());
            }
            each(line)?;
            start += length + 1;
        }
        if start == 0 && filled == LINE {
            return Err(malformed());
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the userspace WireGuard's answer is malformed")
}

fn parse<T: core::str::FromStr>(value: &str) -> io::Result<T> {
    value.parse().map_err(|_| malformed())
}

fn check(errno: Option<i32>) -> io::Result<()> {
    match errno {
        Some(0) => Ok(()),
        // Some devices give errno as negative numbers, as in the kernel.
        Some(errno) => Err(io::Error::from_raw_os_error(errno.saturating_abs())),
        None => Err(malformed()),
    }
}

#[derive(Default)]
struct Parser {
    public_key: Option<Key>,
    listen_port: u16,
    fwmark: u32,
    peers: Vec<PeerInfo>,
    stamp: Duration,
    errno: Option<i32>,
}

impl Parser {
    fn line(&mut self, line: &str) -> io::Result<()> {
        let (key, value) = line.split_once('=').ok_or_else(malformed)?;
        match key {
            "private_key" => {
                let mut private = Key::from_hex(value).map_err(|_| malformed())?;
                // All zero is how "none" is written. Not by `Key::get_public`: its table of multiples of the base point
                // is faster, for once in five seconds, and has 30 kB.
                self.public_key =
                    (private.0 != [0; 32]).then(|| Key(x25519(private.0, X25519_BASEPOINT_BYTES)));
                private.0.zeroize();
            }
            "listen_port" => self.listen_port = parse(value)?,
            "fwmark" => self.fwmark = parse(value)?,
            "errno" => self.errno = Some(parse(value)?),
            "public_key" => {
                let key = Key::from_hex(value).map_err(|_| malformed())?;
                self.peers.push(PeerInfo::from_public_key(key));
                self.stamp = Duration::ZERO;
            }
            _ => self.peer_line(key, value)?,
        }
        Ok(())
    }

    fn peer_line(&mut self, key: &str, value: &str) -> io::Result<()> {
        // What is new in the protocol is not for us.
        let Some(PeerInfo { config, stats }) = self.peers.last_mut() else { return Ok(()) };
        match key {
            "preshared_key" => {
                let key = Key::from_hex(value).map_err(|_| malformed())?;
                config.preshared_key = (key.0 != [0; 32]).then_some(key);
            }
            // An endpoint that cannot be understood must not hide the other peers.
            "endpoint" => config.endpoint = endpoint(value),
            "allowed_ip" => config.allowed_ips.push(parse(value)?),
            "persistent_keepalive_interval" => config.persistent_keepalive_interval = Some(parse(value)?),
            "rx_bytes" => stats.rx_bytes = parse(value)?,
            "tx_bytes" => stats.tx_bytes = parse(value)?,
            "last_handshake_time_sec" | "last_handshake_time_nsec" => {
                self.stamp = match key {
                    "last_handshake_time_sec" => Duration::new(parse(value)?, self.stamp.subsec_nanos()),
                    // A u32 of nanoseconds is at most four seconds, which `new` carries over.
                    _ => Duration::from_secs(self.stamp.as_secs())
                        .saturating_add(Duration::from_nanos(parse::<u32>(value)?.into())),
                };
                let at: Option<SystemTime> = UNIX_EPOCH.checked_add(self.stamp);
                stats.last_handshake_time = at.filter(|&at| at != UNIX_EPOCH);
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> io::Result<Device> {
        check(self.errno)?;
        Ok(Device {
            public_key: self.public_key,
            listen_port: self.listen_port,
            fwmark: self.fwmark,
            peers: self.peers,
        })
    }
}

/// An endpoint, which Go programs write with the name of the link in it if it is link-local: `[fe80::1%eth0]:51820`.
fn endpoint(value: &str) -> Option<SocketAddr> {
    let (address, port) = value.rsplit_once(':')?;
    let address = address.strip_prefix('[').map_or(Some(address), |inner| inner.strip_suffix(']'))?;
    let (address, zone) = address.split_once('%').unwrap_or((address, ""));
    let mut endpoint = SocketAddr::new(address.parse().ok()?, port.parse().ok()?);
    if let SocketAddr::V6(v6) = &mut endpoint
        && v6.ip().is_unicast_link_local()
    {
        v6.set_scope_id(zone.parse().ok().or_else(|| index_of(zone)).unwrap_or(0));
    }
    Some(endpoint)
}

/// The index of a link, if there is one of this name.
fn index_of(name: &str) -> Option<u32> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    netdevice::name_to_index(&socket, name).ok()
}

fn encode(change: &Change<'_>) -> Zeroizing<String> {
    let ips = change.write.as_ref().map_or(0, |write| write.allowed_ips.len());
    // Large enough to never move: what a string leaves behind when it grows cannot be wiped.
    let mut text = Zeroizing::new(String::with_capacity(512 + 64 * ips));
    // Writing to a string cannot fail.
    let _ = write_request(&mut text, change);
    text
}

fn write_request(text: &mut String, change: &Change<'_>) -> core::fmt::Result {
    text.push_str("set=1\n");
    if change.remove {
        write_key(text, "public_key", &change.key)?;
        text.push_str("remove=true\n");
    }
    if let Some(Write { update_only, endpoint, keepalive, preshared_key, allowed_ips }) = &change.write {
        write_key(text, "public_key", &change.key)?;
        if *update_only {
            text.push_str("update_only=true\n");
        }
        if let Some(key) = preshared_key {
            write_key(text, "preshared_key", key)?;
        }
        if let Some(endpoint) = endpoint {
            writeln!(text, "endpoint={endpoint}")?;
        }
        if let Some(seconds) = keepalive {
            writeln!(text, "persistent_keepalive_interval={seconds}")?;
        }
        for (ip, prefix) in allowed_ips {
            writeln!(text, "allowed_ip={ip}/{prefix}")?;
        }
    }
    text.push('\n');
    Ok(())
}

fn write_key(text: &mut String, name: &str, key: &[u8; 32]) -> core::fmt::Result {
    write!(text, "{name}=")?;
    key.iter().try_for_each(|byte| write!(text, "{byte:02x}"))?;
    text.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<Device> {
        let mut parser = Parser::default();
        lines(&mut text.as_bytes(), |line| parser.line(line))?;
        parser.finish()
    }

    const HEX: &str = "e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a";

    #[test]
    fn reads_all_that_matters() {
        let device = read(&format!(
            "private_key={HEX}\nlisten_port=12912\nfwmark=51820\nnew_in_2030=1\n\
             public_key={HEX}\npreshared_key={}\nendpoint=[abcd:23::33%2]:51820\nallowed_ip=192.168.4.4/32\n\
             allowed_ip=fd00::/64\nlast_handshake_time_sec=5\nlast_handshake_time_nsec=7\ntx_bytes=38333\nrx_bytes=2224\n\
             persistent_keepalive_interval=111\nprotocol_version=1\n\
             public_key={HEX}\nendpoint=nonsense\nlast_handshake_time_sec=0\nlast_handshake_time_nsec=0\n\
             persistent_keepalive_interval=0\nerrno=0\n\n",
            "11".repeat(32)
        ))
        .expect("it is right");
        let public = device.public_key.expect("derived");
        assert_eq!(public.to_base64(), "wVMuGz01CPx+vDVPpnliDzPyhxSVQuaExnt7DYE2Kyk=");
        assert_eq!((device.listen_port, device.fwmark, device.peers.len()), (12912, 51820, 2));
        let first = &device.peers[0];
        assert_eq!(first.config.preshared_key, Some(Key([0x11; 32])));
        assert_eq!(first.config.endpoint, Some("[abcd:23::33]:51820".parse().expect("an endpoint")));
        assert_eq!(first.config.allowed_ips.len(), 2);
        let reading = super::super::reading(first);
        assert_eq!((reading.rx_bytes, reading.tx_bytes, reading.keepalive), (2224, 38333, 111));
        assert_eq!(reading.last_handshake, 5_000_000_007);
        let second = super::super::reading(&device.peers[1]);
        assert_eq!((second.endpoint, second.last_handshake, second.keepalive), (None, 0, 0));
    }

    #[test]
    fn refuses_what_is_cut_or_malformed() {
        let right = format!("private_key={HEX}\npublic_key={HEX}\nallowed_ip=10.0.0.0/8\nerrno=0\n\n");
        assert!(read(&right).is_ok());
        for end in 0..right.len() {
            assert!(read(&right[..end]).is_err(), "{:?}", &right[..end]);
        }
        for wrong in [
            "\n",
            "errno=x\n\n",
            "listen_port=70000\nerrno=0\n\n",
            "nothing\nerrno=0\n\n",
            "private_key=11\n\n",
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        assert!(read(&"x".repeat(LINE + 1)).is_err(), "a line without end");
        assert_eq!(read("errno=1\n\n").err().and_then(|error| error.raw_os_error()), Some(1));
        assert_eq!(read("errno=-1\n\n").err().and_then(|error| error.raw_os_error()), Some(1));
        assert!(read("last_handshake_time_sec=18446744073709551615\nerrno=0\n\n").is_ok(), "before any peer");
        let far = format!(
            "public_key={HEX}\nlast_handshake_time_sec=18446744073709551615\n\
                           last_handshake_time_nsec=4294967295\nerrno=0\n\n"
        );
        assert_eq!(read(&far).expect("no panic").peers[0].stats.last_handshake_time, None);
    }

    #[test]
    fn lines_may_come_in_any_pieces() {
        struct Dribble<'t>(&'t [u8]);
        impl Read for Dribble<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let n = self.0.len().min(buffer.len()).min(3);
                buffer[..n].copy_from_slice(&self.0[..n]);
                self.0 = &self.0[n..];
                Ok(n)
            }
        }
        let text = (0..200).map(|i| format!("key{i}=value{i}\n")).collect::<String>() + "\nnot read";
        let mut read = String::new();
        lines(&mut Dribble(text.as_bytes()), |line| {
            read += line;
            read += "\n";
            Ok(())
        })
        .expect("it ends");
        assert_eq!(read + "\nnot read", text);
    }

    #[test]
    fn endpoints_with_a_zone() {
        for (text, expected) in [
            ("192.0.2.1:51820", Some("192.0.2.1:51820")),
            ("[fe80::1%eth0.5]:51820", Some("[fe80::1]:51820")),
            ("[fe80::1%1]:51820", Some("[fe80::1%1]:51820")),
            ("[fe80::1%lo]:51820", Some("[fe80::1%1]:51820")),
            ("[2001:db8::1]:1", Some("[2001:db8::1]:1")),
            ("[2001:db8::1:1", None),
            ("host:51820", None),
            ("192.0.2.1:", None),
            ("", None),
        ] {
            assert_eq!(endpoint(text), expected.map(|text| text.parse().expect("an endpoint")), "{text}");
        }
    }

    /// A device behind a socket that does with its first connection what the test wants.
    fn device(
        name: &str,
        serve: impl FnOnce(UnixStream) + Send + 'static,
    ) -> (Client, std::thread::JoinHandle<()>) {
        let path = std::env::temp_dir().join(format!("wgautomesh-{name}-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        let thread = std::thread::spawn(move || serve(listener.accept().expect("a connection").0));
        (Client::new(path), thread)
    }

    #[test]
    fn a_hung_device_holds_nobody_up_for_ever() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (client, thread) = device("hung", move |stream| {
            // Until the client has given up.
            let _ = held.recv();
            drop(stream);
        });
        let error = client.read().err().expect("no answer");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(release);
        thread.join().expect("no panic");
        std::fs::remove_file(&client.path).expect("the socket");
        assert_eq!(client.read().err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
    }

    #[test]
    fn a_left_over_socket_refuses() {
        let (client, thread) = device("left", drop);
        let error = client.read().err().expect("no answer");
        // It may be gone before it is asked, before it has read that, or after.
        let gone = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof];
        assert!(gone.contains(&error.kind()), "{error}");
        thread.join().expect("no panic");
        assert_eq!(client.read().err().map(|error| error.kind()), Some(io::ErrorKind::ConnectionRefused));
        std::fs::remove_file(&client.path).expect("the socket");
    }

    #[test]
    fn a_change_is_one_request_and_its_errno_the_result() {
        let (client, thread) = device("change", |mut stream| {
            let mut request = [0; 1024];
            let length = stream.read(&mut request).expect("a request");
            let key = "07".repeat(32);
            let expected = format!(
                "set=1\npublic_key={key}\nremove=true\npublic_key={key}\npreshared_key={}\n\
                 endpoint=[2001:db8::1]:7\npersistent_keepalive_interval=0\nallowed_ip=10.0.0.0/8\n\n",
                "09".repeat(32)
            );
            assert_eq!(core::str::from_utf8(&request[..length]), Ok(&*expected));
            stream.write_all(b"errno=-22\n\n").expect("an answer");
        });
        let write = Write {
            update_only: false,
            endpoint: Some("[2001:db8::1]:7".parse().expect("an endpoint")),
            keepalive: Some(0),
            preshared_key: Some(&[9; 32]),
            allowed_ips: vec![([10, 0, 0, 0].into(), 8)],
        };
        let change = Change { key: [7; 32], remove: true, write: Some(write) };
        assert_eq!(client.apply(&change).err().and_then(|error| error.raw_os_error()), Some(22));
        thread.join().expect("as expected");
        std::fs::remove_file(&client.path).expect("the socket");
    }
}
