//! What carries `igd-next`'s requests to the gateway.
//!
//! `igd-next` does the SOAP: the messages, their arguments, the errors. Its own HTTP clients wait for 10 s, leave from any
//! address, although IPv6 pinholes are given only to the address that asks for its own, and take answers of which the tree
//! that it builds is larger than a router's memory. None of that can be set; but its asynchronous API takes another client,
//! a [`Provider`]. This one is [`http`](super::http), bounded as that is, and hands back what
//! [`description::check`](super::description::check) found harmless. It waits within the thread that asks, so there is
//! nothing to run the futures on: each is ready when it is first polled.

use core::{
    cell::RefCell,
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};
use std::{io, time::Instant};

use igd_next::{RequestError, aio::Provider};

use super::{
    Why, description,
    gateway::Route,
    http::{self, HttpError},
    ssdp::{Page, host_of},
};

/// Where a request is to go, and what has become of it.
struct Carrier {
    route: Route,
    page: Page,
    deadline: Instant,
    failure: Option<Why>,
}

thread_local! {
    // A provider is a type without a value, so this is how it learns what it needs to know.
    static CARRIER: RefCell<Option<Carrier>> = const { RefCell::new(None) };
}

/// Carries requests within [`carried`], and none elsewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounded;

impl Provider for Bounded {
    // The address is in the carrier, with what a URL cannot say.
    async fn send_async(_url: &str, action: &str, body: &str) -> Result<String, RequestError> {
        CARRIER.with_borrow_mut(|carrier| {
            let failed = || RequestError::IoError(io::ErrorKind::NotConnected.into());
            let carrier = carrier.as_mut().ok_or_else(failed)?;
            carrier.exchange(action, body).map_err(|why| {
                carrier.failure = Some(why);
                failed()
            })
        })
    }
}

impl Carrier {
    fn exchange(&self, action: &str, body: &str) -> Result<String, Why> {
        let address = self.route.at(self.page.port);
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: text/xml; charset=\"utf-8\"\r\nSOAPAction: {action}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.page.path,
            host_of(address),
            body.len()
        );
        let response = http::exchange(self.route.source, address, request.as_bytes(), self.deadline)?;
        // UPnP's errors come with 500.
        if !matches!(response.status, 200 | 500) {
            return Err(Why::Bad(format!("HTTP status {}", response.status)));
        }
        description::check(&response.body)?;
        Ok(String::from_utf8_lossy(&response.body).into_owned())
    }
}

/// The result of `request`, whose exchange is with `page` of the gateway.
///
/// # Errors
/// Where the exchange fails, which says more than what `igd-next` makes of that.
pub(super) fn carried<T>(
    route: &Route,
    page: &Page,
    deadline: Instant,
    request: impl Future<Output = T>,
) -> Result<T, Why> {
    CARRIER.set(Some(Carrier { route: *route, page: page.clone(), deadline, failure: None }));
    let polled = pin!(request).poll(&mut Context::from_waker(Waker::noop()));
    let carrier = CARRIER.take();
    if let Some(why) = carrier.and_then(|carrier| carrier.failure) {
        return Err(why);
    }
    match polled {
        Poll::Ready(result) => Ok(result),
        Poll::Pending => Err(Why::Local("igd-next waits for something that is not a gateway".into())),
    }
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

#[cfg(test)]
mod tests {
    use core::{net::Ipv4Addr, time::Duration};
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use super::*;

    /// What `igd-next` would send comes to `page` of a server on the loopback, which answers so. What became of it, and what
    /// the server was sent.
    fn sent(answer: &'static str) -> (Result<Result<String, String>, Why>, String) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback address");
        let port = listener.local_addr().expect("bound").port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let (mut request, mut chunk) = (Vec::new(), [0; 1024]);
            while !request.ends_with(b"BODY") {
                let n = stream.read(&mut chunk).expect("a request");
                request.extend_from_slice(&chunk[..n]);
            }
            let _ = stream.write_all(answer.as_bytes());
            String::from_utf8(request).expect("text")
        });
        let localhost = Ipv4Addr::LOCALHOST.into();
        let route = Route { gateway: localhost, interface: 1, source: localhost };
        let page = Page { port, path: "/control".into() };
        let deadline = Instant::now() + Duration::from_secs(30);
        let request = async {
            let sent = Bounded::send_async("http://192.0.2.1/elsewhere", "\"urn:x#Do\"", "BODY").await;
            sent.map_err(|error| error.to_string())
        };
        (carried(&route, &page, deadline, request), server.join().expect("no panic"))
    }

    #[test]
    fn a_request_goes_to_the_page_and_nowhere_else() {
        for (status, body) in [("200 OK", "<a/>"), ("500 Internal Server Error", "<fault>é</fault>")] {
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").leak();
            let (result, request) = sent(answer);
            assert_eq!(result, Ok(Ok(body.into())));
            let (line, rest) = request.split_once("\r\n").expect("a head");
            assert_eq!(line, "POST /control HTTP/1.1");
            assert!(rest.contains("\r\nSOAPAction: \"urn:x#Do\"\r\nContent-Length: 4\r\n"), "{rest}");
        }
    }

    #[test]
    fn what_the_exchange_says_comes_before_what_is_made_of_it() {
        for (answer, why) in [
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\n<a/>", "HTTP status 404"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n<a>", "its answer is not XML, or too much of it"),
            ("SSH-2.0\r\n\r\n", "its answer is not HTTP"),
        ] {
            assert_eq!(sent(answer).0, Err(Why::Bad(why.into())), "{answer}");
        }
    }

    #[test]
    fn nothing_is_sent_outside_of_it() {
        let mut request = pin!(Bounded::send_async("http://127.0.0.1/", "", ""));
        let polled = request.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Err(RequestError::IoError(_)))));
    }
}
