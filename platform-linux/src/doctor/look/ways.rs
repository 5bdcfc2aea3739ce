//! Where the kernel sends packets, as it says when asked.

use core::net::{IpAddr, SocketAddr};

use super::{super::facts::Way, link::Links};
use crate::wireguard::route;

/// The way to an address, with a fwmark or 0.
pub(super) fn look(address: IpAddr, fwmark: u32, links: &Links) -> Way {
    to(SocketAddr::new(address, 9), fwmark, links)
}

/// The way to an endpoint, which may have a scope.
pub(super) fn to(endpoint: SocketAddr, fwmark: u32, links: &Links) -> Way {
    match route::answer(endpoint, fwmark) {
        Ok(Ok(index)) => links.get(index).map_or(Way::Unknown, |out| Way::By(out.clone())),
        Ok(Err(_)) => Way::Nowhere,
        Err(_) => Way::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_oneself_is_the_loop_back() {
        let links = Links::new();
        let Way::By(out) = look([127, 0, 0, 1].into(), 0, &links) else { panic!("no way to oneself") };
        assert_eq!(out.name, "lo");
        assert_eq!(look([255, 255, 255, 255].into(), 0, &links), Way::Nowhere);
    }
}
