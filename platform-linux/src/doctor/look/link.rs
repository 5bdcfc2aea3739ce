//! Network links, by rtnetlink: whether one is up, its addresses, its MTU.

use std::{collections::BTreeMap, io};

use super::super::facts::{LinkFacts, Out, Seen};
use crate::{
    rtnl::{self, Request, attributes, field, kind, messages},
    watch::{Link, Rtnetlink, Watch as _},
};

/// `struct ifinfomsg`
const IFINFOMSG: usize = 16;
const IFLA_MTU: u16 = 4;

/// The link of a name, if there is one.
pub(super) fn look(name: &str) -> Seen<Option<LinkFacts>> {
    let links = all().map_err(|error| super::unseen(&error))?;
    Ok(links.into_iter().find(|link| link.name == name).map(|link| LinkFacts {
        index: link.index,
        up: link.up,
        mtu: mtu(link.index).ok().flatten(),
        addresses: link.addresses,
    }))
}

fn all() -> io::Result<Vec<Link>> {
    // It watches one link by its name; here only the list of all is wanted.
    Rtnetlink::new("")?.links()
}

fn mtu(index: u32) -> io::Result<Option<u32>> {
    let mut body = [0; IFINFOMSG];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    let socket = rtnl::open(0)?;
    rtnl::ask(&socket, &Request::get(kind::GET_LINK, &body))?;
    let mut buffer = [0; 8192];
    let message = messages(rtnl::receive(&socket, &mut buffer)?).next();
    let message = message.filter(|message| message.kind == kind::NEW_LINK).ok_or(io::ErrorKind::NotFound)?;
    let mtu = attributes(message.body, IFINFOMSG).find(|&(kind, _)| kind == IFLA_MTU);
    Ok(mtu.and_then(|(_, value)| field(value, 0)).map(u32::from_ne_bytes))
}

/// All links, to say by which of them something leaves.
pub(super) struct Links(BTreeMap<u32, Out>);

impl Links {
    pub(super) fn new() -> Self {
        let links = all().unwrap_or_default().into_iter();
        let out =
            |link: Link| Out { index: link.index, name: link.name, mtu: mtu(link.index).ok().flatten() };
        Self(links.map(|link| (link.index, out(link))).collect())
    }

    pub(super) fn get(&self, index: u32) -> Option<&Out> {
        self.0.get(&index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_back_is_as_everywhere() {
        let lo = look("lo").expect("rtnetlink").expect("it is in every namespace");
        assert!(lo.mtu.is_some_and(|mtu| mtu >= 1280), "{lo:?}");
        assert_eq!(Links::new().get(lo.index).map(|out| out.name.as_str()), Some("lo"));
        assert!(look("wg-not-there").expect("rtnetlink").is_none());
    }
}
