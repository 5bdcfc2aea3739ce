//! One request of HTTP/1.1 (RFC 9112) and its answer, as bytes: no more of it than fetching one page takes.

use super::exposition::MEDIA_TYPE;

/// The longest head of a request. That of Prometheus has half a kilobyte, or a whole one with a token in it.
pub(super) const MAX_HEAD: usize = 8 * 1024;

/// Where the metrics are.
const PATH: &str = "/metrics";

/// What to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The metrics.
    Metrics,
    /// It is no HTTP, or not as it should be.
    Malformed,
    /// Nothing is there.
    NotFound,
    /// Nothing is taken here.
    NotAllowed,
    /// The head goes on and on.
    TooLong,
    /// A version of HTTP that is spoken differently.
    Version,
}

/// A request as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) verdict: Verdict,
    /// Whether only the head of the answer is wanted.
    pub(super) head_only: bool,
}

/// Reads a request; `None` as long as its head has not come to its end. What follows the head is not looked at.
pub(super) fn read(bytes: &[u8]) -> Option<Request> {
    // An empty line or two before a request are to be overlooked.
    let start = bytes.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(bytes.len());
    let bytes = bytes.get(start..).unwrap_or_default();
    let mut head = Vec::new();
    let mut rest = bytes;
    loop {
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
            let too_long = Request { verdict: Verdict::TooLong, head_only: false };
            return (start + bytes.len() >= MAX_HEAD).then_some(too_long);
        };
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        match line.strip_suffix(b"\r").unwrap_or(line) {
            [] => break,
            line => head.push(line),
        }
    }
    let (first, fields) = head.split_first()?;
    let Some((method, target, version)) = request_line(first) else {
        return Some(Request { verdict: Verdict::Malformed, head_only: false });
    };
    Some(Request { verdict: verdict(method, target, version, fields), head_only: method == "HEAD" })
}

/// `GET /metrics HTTP/1.1`
fn request_line(line: &[u8]) -> Option<(&str, &str, &str)> {
    let mut words = core::str::from_utf8(line).ok()?.split(' ');
    let words = (words.next()?, words.next()?, words.next()?, words.next());
    match words {
        (method, target, version, None)
            if is_token(method.as_bytes()) && !target.is_empty() && version.starts_with("HTTP/") =>
        {
            Some((method, target, version))
        }
        _ => None,
    }
}

fn verdict(method: &str, target: &str, version: &str, fields: &[&[u8]]) -> Verdict {
    if !version.starts_with("HTTP/1.") {
        return Verdict::Version;
    }
    let mut hosts = 0;
    for field in fields {
        // A name, and nothing between it and the colon: so a line that continues the one before is refused as well.
        let name = field.split(|&byte| byte == b':').next().unwrap_or_default();
        if name.len() == field.len() || !is_token(name) {
            return Verdict::Malformed;
        }
        hosts += usize::from(name.eq_ignore_ascii_case(b"host"));
    }
    if hosts > 1 || (hosts == 0 && version != "HTTP/1.0") {
        return Verdict::Malformed;
    }
    if path(target) != Some(PATH) {
        return Verdict::NotFound;
    }
    if method == "GET" || method == "HEAD" { Verdict::Metrics } else { Verdict::NotAllowed }
}

/// The path of a target, which may be a whole URL, without the query.
fn path(target: &str) -> Option<&str> {
    let path = match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest.get(rest.find('/')?..)?,
        _ => target,
    };
    path.split('?').next()
}

fn is_token(bytes: &[u8]) -> bool {
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_of_token)
}

/// The answer. `metrics` makes their text; it is called only for a request that gets them.
pub(super) fn answer(request: Request, metrics: impl FnOnce() -> String) -> Vec<u8> {
    let (status, body) = match request.verdict {
        Verdict::Metrics => ("200 OK", metrics()),
        Verdict::Malformed => ("400 Bad Request", "This is no request of HTTP/1.1.\n".into()),
        Verdict::NotFound => {
            ("404 Not Found", format!("The metrics are at {PATH}, and nothing else is here.\n"))
        }
        Verdict::NotAllowed => ("405 Method Not Allowed", "The metrics are to be fetched with GET.\n".into()),
        Verdict::TooLong => {
            ("431 Request Header Fields Too Large", "That is more than a request takes.\n".into())
        }
        Verdict::Version => ("505 HTTP Version Not Supported", "HTTP/1.1 is spoken here.\n".into()),
    };
    let (media_type, length) =
        (if status == "200 OK" { MEDIA_TYPE } else { "text/plain; charset=utf-8" }, body.len());
    let allow = if request.verdict == Verdict::NotAllowed { "Allow: GET, HEAD\r\n" } else { "" };
    // Without a date, as from every server without a clock.
    let mut answer = format!(
        "HTTP/1.1 {status}\r\n{allow}Content-Type: {media_type}\r\nContent-Length: {length}\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    );
    if !request.head_only {
        answer.push_str(&body);
    }
    answer.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict_of(request: &str) -> Option<Verdict> {
        read(request.as_bytes()).map(|request| request.verdict)
    }

    #[test]
    fn requests_are_told_apart() {
        for (request, verdict) in [
            ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", Verdict::Metrics),
            ("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", Verdict::Metrics),
            ("GET /metrics?x=y HTTP/1.1\r\nhOST:\r\n\r\n", Verdict::Metrics),
            ("GET http://x:9666/metrics HTTP/1.1\r\nHost: x:9666\r\n\r\n", Verdict::Metrics),
            ("\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", Verdict::Metrics),
            ("GET /metrics HTTP/1.0\n\n", Verdict::Metrics),
            ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1", Verdict::Metrics),
            ("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Any: \u{fc}:\u{1}\r\n\r\n", Verdict::Metrics),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", Verdict::NotFound),
            ("GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n", Verdict::NotFound),
            ("GET /../metrics HTTP/1.1\r\nHost: x\r\n\r\n", Verdict::NotFound),
            ("GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", Verdict::NotFound),
            ("GET file:///metrics HTTP/1.1\r\nHost: x\r\n\r\n", Verdict::NotFound),
            ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", Verdict::NotFound),
            ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", Verdict::NotAllowed),
            ("get /metrics HTTP/1.1\r\nHost: x\r\n\r\n", Verdict::NotAllowed),
            ("GET /metrics HTTP/2.0\r\nHost: x\r\n\r\n", Verdict::Version),
            ("PRI * HTTP/2.0\r\n\r\n", Verdict::Version),
            ("GET /metrics HTTP/1.1\r\n\r\n", Verdict::Malformed),
            ("GET /metrics HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", Verdict::Malformed),
            ("GET /metrics HTTP/1.1\r\nHost : x\r\n\r\n", Verdict::Malformed),
            ("GET /metrics HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", Verdict::Malformed),
            ("GET /metrics HTTP/1.1\r\nHost: x\r\nwords\r\n\r\n", Verdict::Malformed),
            ("GET /metrics\r\n\r\n", Verdict::Malformed),
            ("GET  /metrics HTTP/1.1\r\nHost: x\r\n\r\n", Verdict::Malformed),
            ("GET /metrics HTTP/1.1 x\r\nHost: x\r\n\r\n", Verdict::Malformed),
            ("G\u{1}T /metrics HTTP/1.1\r\nHost: x\r\n\r\n", Verdict::Malformed),
            ("status\r\n\r\n", Verdict::Malformed),
            ("\u{16}\u{3}\u{1}\n\n", Verdict::Malformed),
        ] {
            assert_eq!(verdict_of(request), Some(verdict), "{request:?}");
        }
    }

    /// Whatever has come, every beginning of it is waited on, and nothing before the end is answered.
    #[test]
    fn a_request_ends_where_its_head_ends() {
        let request = b"\r\nGET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
        for length in 0..request.len() {
            assert_eq!(read(&request[..length]), None, "{length}");
        }
        assert!(read(request).is_some());
        for endless in ["x", "\r\n", "GET /metrics HTTP/1.1\r\n", "a: b\n"] {
            let long = endless.repeat(MAX_HEAD / endless.len() + 1);
            assert_eq!(verdict_of(&long[..MAX_HEAD - 1]), None, "{endless:?}");
            assert_eq!(verdict_of(&long[..MAX_HEAD]), Some(Verdict::TooLong), "{endless:?}");
        }
    }

    #[test]
    fn answers_to_the_letter() {
        let text = |verdict, head_only| {
            String::from_utf8(answer(Request { verdict, head_only }, || "up 1\n".into())).unwrap()
        };
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: 5\r\n\
                    X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n";
        assert_eq!(text(Verdict::Metrics, false), format!("{head}up 1\n"));
        assert_eq!(text(Verdict::Metrics, true), head);
        assert_eq!(
            text(Verdict::NotAllowed, false),
            "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 40\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n\
             The metrics are to be fetched with GET.\n"
        );
        for verdict in [Verdict::Malformed, Verdict::NotFound, Verdict::TooLong, Verdict::Version] {
            let nobody = || panic!("no metrics are to be made");
            let said = String::from_utf8(answer(Request { verdict, head_only: false }, nobody)).unwrap();
            let (head, body) = said.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{said}");
        }
    }
}
