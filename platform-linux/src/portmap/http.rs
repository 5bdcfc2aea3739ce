//! One HTTP exchange with the gateway: one connection, to it and nowhere else, with everything capped.
//!
//! No redirects, no compression, no keep-alive, no proxy. An answer that is too long, too late or malformed is an error.

use core::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Instant,
};

use socket2::{Domain, Protocol, Socket, Type};

/// The longest head of an answer.
const MAX_HEAD: usize = 4096;
/// The longest body. Descriptions of real gateways are 2 to 12 kB.
pub(super) const MAX_BODY: usize = 48 * 1024;

/// An answer's status, and its body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    /// 200, say.
    pub(super) status: u16,
    /// Without any transfer coding.
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub(super) enum HttpError {
    /// The deadline has come.
    Late,
    /// More than is taken.
    TooLong,
    /// Not HTTP, or cut off.
    Malformed,
    /// The connection failed.
    Io(io::Error),
}

impl From<io::Error> for HttpError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Late,
            _ => Self::Io(error),
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("no complete answer in time"),
            Self::TooLong => f.write_str("its answer is too long"),
            Self::Malformed => f.write_str("its answer is not HTTP"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// The time that is left.
pub(super) fn left(deadline: Instant) -> Result<Duration, HttpError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(HttpError::Late) } else { Ok(left) }
}

/// Connects from `source`, sends the request and reads the answer.
pub(super) fn exchange(
    source: IpAddr,
    gateway: SocketAddr,
    request: &[u8],
    deadline: Instant,
) -> Result<Response, HttpError> {
    let socket = Socket::new(Domain::for_address(gateway), Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&gateway.into(), left(deadline)?)?;
    let mut stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    loop {
        match parse(&bytes, false) {
            Ok(Some(response)) => return Ok(response),
            Ok(None) => {}
            Err(error) => return Err(error),
        }
        let mut chunk = [0; 2048];
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut chunk) {
            Ok(0) => return parse(&bytes, true)?.ok_or(HttpError::Malformed),
            Ok(n) => bytes.extend_from_slice(chunk.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads an answer as far as it has come; `None` where more is to come. `ended` says that nothing more will.
///
/// # Errors
/// See [`HttpError`]: what it is can be said before it has come in whole.
pub(super) fn parse(bytes: &[u8], ended: bool) -> Result<Option<Response>, HttpError> {
    let Some(end) = bytes.windows(4).take(MAX_HEAD).position(|w| w == b"\r\n\r\n") else {
        return if bytes.len() > MAX_HEAD { Err(HttpError::TooLong) } else { more(ended) };
    };
    let (head, body) = (bytes.get(..end).unwrap_or_default(), bytes.get(end + 4..).unwrap_or_default());
    let head = core::str::from_utf8(head).map_err(|_| HttpError::Malformed)?;
    let mut lines = head.split("\r\n");
    let status = status(lines.next().unwrap_or_default()).ok_or(HttpError::Malformed)?;
    let (mut length, mut chunked) = (None, false);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(HttpError::Malformed)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            let told: usize = value.parse().map_err(|_| HttpError::Malformed)?;
            if length.replace(told).is_some_and(|before| before != told) {
                return Err(HttpError::Malformed);
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.eq_ignore_ascii_case("chunked");
            if !chunked {
                return Err(HttpError::Malformed);
            }
        }
    }
    let body = if chunked {
        match unchunk(body)? {
            Some(body) => body,
            None => return more(ended),
        }
    } else {
        match length {
            Some(length) if length > MAX_BODY => return Err(HttpError::TooLong),
            None if body.len() > MAX_BODY => return Err(HttpError::TooLong),
            Some(length) => match body.get(..length) {
                Some(body) => body.to_vec(),
                None => return more(ended),
            },
            None if ended => body.to_vec(),
            None => return Ok(None),
        }
    };
    Ok(Some(Response { status, body }))
}

const fn more(ended: bool) -> Result<Option<Response>, HttpError> {
    if ended { Err(HttpError::Malformed) } else { Ok(None) }
}

fn status(line: &str) -> Option<u16> {
    let mut words = line.split(' ');
    let known = matches!(words.next()?, "HTTP/1.1" | "HTTP/1.0");
    let code = words.next().filter(|code| code.len() == 3)?.parse().ok()?;
    (known && code >= 200).then_some(code)
}

/// The body of a chunked answer; `None` where more is to come.
fn unchunk(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, HttpError> {
    // Each chunk costs five bytes besides its own: this bounds those of one byte each.
    if bytes.len() > 2 * MAX_BODY {
        return Err(HttpError::TooLong);
    }
    let mut body = Vec::new();
    loop {
        let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") else {
            return if bytes.len() > 64 { Err(HttpError::Malformed) } else { Ok(None) };
        };
        let size = bytes.get(..end).unwrap_or_default();
        let size = size.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        let size = core::str::from_utf8(size).map_err(|_| HttpError::Malformed)?;
        if size.is_empty() || size.len() > 6 || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(HttpError::Malformed);
        }
        let size = usize::from_str_radix(size, 16).map_err(|_| HttpError::Malformed)?;
        if size == 0 {
            return Ok(Some(body));
        }
        if body.len() + size > MAX_BODY {
            return Err(HttpError::TooLong);
        }
        let Some(chunk) = bytes.get(end + 2..end + 2 + size) else { return Ok(None) };
        body.extend_from_slice(chunk);
        bytes = bytes.get(end + 2 + size..).unwrap_or_default();
        match bytes.get(..2) {
            Some(b"\r\n") => bytes = bytes.get(2..).unwrap_or_default(),
            Some(_) => return Err(HttpError::Malformed),
            None => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<(u16, String)> {
        let response = parse(text.as_bytes(), true).ok()??;
        Some((response.status, String::from_utf8(response.body).expect("text")))
    }

    #[test]
    fn answers_are_read() {
        for (text, status, body) in [
            ("HTTP/1.1 200 OK\r\n\r\nabc", 200, "abc"),
            ("HTTP/1.0 500 Oh\r\nContent-Length: 2\r\n\r\nabc", 500, "ab"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, ""),
            (
                "HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
                200,
                "abc",
            ),
        ] {
            assert_eq!(read(text), Some((status, body.into())), "{text}");
            // Nothing is taken for whole before it is, where it says how long it is.
            if !text.ends_with("\r\n\r\nabc") || text.contains("Length") {
                let whole =
                    (0..=text.len()).find(|n| matches!(parse(&text.as_bytes()[..*n], false), Ok(Some(_))));
                assert!(whole.is_some_and(|n| n + 3 >= text.len()), "{text} {whole:?}");
            }
        }
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        for text in [
            "",
            "abc",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 OK\r\n\r\n",
            "HTTP/1.1 99 OK\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn no_more_than_the_caps_is_taken() {
        let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD));
        assert!(matches!(parse(head.as_bytes(), false), Err(HttpError::TooLong)));
        assert!(matches!(parse(&[b'x'; MAX_HEAD + 1], false), Err(HttpError::TooLong)));
        let told = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", MAX_BODY + 1);
        assert!(matches!(parse(told.as_bytes(), false), Err(HttpError::TooLong)));
        let untold = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX_BODY + 1));
        assert!(matches!(parse(untold.as_bytes(), false), Err(HttpError::TooLong)));
        let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
        let chunks = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}");
        assert!(matches!(parse(chunks.as_bytes(), false), Err(HttpError::TooLong)));
        let bytes = "1\r\nx\r\n".repeat(2 * MAX_BODY / 6 + 1);
        let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{bytes}");
        assert!(matches!(parse(bytes.as_bytes(), false), Err(HttpError::TooLong)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), ended: bool) {
            let _ = parse(&bytes, ended);
            let _ = parse(&[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &bytes[..]].concat(), ended);
        }
    }
}
