//! Asking all peers how they stand with all others: what a person sees of the mesh.

use embassy_time::Duration;

use super::{
    AskError, Mesh,
    tell::{Matter, PendingTell},
};
use crate::{
    CandidateKind, Event, LinkState, PublicKey, Reason,
    peer::{NOBODY, Peer, Place},
    wire::{AskLinks, LinkEntry},
};

/// What a node says of its link with another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkTold {
    /// Who says so. A mediator could lie about it where we are not connected to it.
    pub teller: PublicKey,
    /// The other node: a peer of ours, or ourselves.
    pub about: PublicKey,
    /// How it stands.
    pub state: LinkState,
    /// What the teller reaches it by; `None` where it does not, or in a way this version does not know.
    pub kind: Option<CandidateKind>,
    /// Why they are not connected; `None` where they are, or for a reason this version does not know.
    pub reason: Option<Reason>,
    /// The round trip, where the teller has measured it.
    pub rtt: Option<Duration>,
}

impl<const PEERS: usize> Mesh<PEERS> {
    /// Whether answers to [`ask_links`](Self::ask_links) are wanted. Those to questions asked before this call are not, and
    /// until the first call none is.
    pub fn expect_links(&mut self, wanted: bool) {
        let token = (self.roll(u64::from(u32::MAX)) as u32).max(1).to_le_bytes();
        self.links.token = if wanted { token } else { [0; 4] };
        self.links.told.take_if(|told| told.to == NOBODY);
    }

    /// Asks `peer`, which is not ourselves, how it stands with all its peers, from one of its parts on (0 for the first). Where it
    /// is not connected the question goes through `via`, or through another if that is not connected either. Each part comes as an
    /// [`Event::Link`] for each of these that we know, and an [`Event::LinksTold`]; or never.
    ///
    /// # Errors
    /// See [`AskError`]. After [`AskError::Busy`] poll, and ask again.
    pub fn ask_links(
        &mut self,
        peer: &PublicKey,
        via: Option<&PublicKey>,
        from: u16,
    ) -> Result<(), AskError> {
        let other = |place: &Place| self.peers.get(*place).is_some_and(Peer::is_other);
        let place = self.peers.find(peer).filter(other).ok_or(AskError::UnknownPeer)?;
        let asker = self.own_key().ok_or(AskError::NotConnected)?;
        let via = via.filter(|_| self.live_peer(peer).is_none()).and_then(|via| self.live_peer(via));
        let to = via.or_else(|| self.way_to(place)).ok_or(AskError::NotConnected)?;
        let ask = AskLinks { token: self.links.token, asker, to: *peer, from };
        self.tells.push_back(PendingTell { to, what: Matter::Links(ask) }).map_err(|_| AskError::Busy)?;
        self.busy = true;
        Ok(())
    }

    /// The next link of an answer for us, then its end.
    pub(super) fn next_link(&mut self) -> Option<Event> {
        let told = self.links.told.as_mut().filter(|told| told.to == NOBODY)?;
        let teller = told.head.teller;
        while let Some(entry) = told.links.pop() {
            let short = u64::from_be_bytes(entry.id);
            let own = self.interface.map(|i| i.public_key).filter(|key| key.short() == short);
            let about = own.or_else(|| Some(self.peers.get(self.peers.find_short(short)?)?.key));
            // A node that only the teller has is not on our map.
            if let Some(about) = about.filter(|about| *about != teller)
                && let Some(link) = link_told(teller, about, &entry)
            {
                return Some(Event::Link(link));
            }
        }
        let next = Some(told.head.next).filter(|next| *next != 0);
        self.links.told = None;
        Some(Event::LinksTold { teller, next })
    }
}

/// What an entry says, in a state that this version knows.
fn link_told(teller: PublicKey, about: PublicKey, entry: &LinkEntry) -> Option<LinkTold> {
    let state = LinkState::from_wire(entry.state)?;
    let live = matches!(state, LinkState::Connected | LinkState::Probing);
    let reason = || entry.how.checked_sub(1).and_then(Reason::from_wire);
    Some(LinkTold {
        teller,
        about,
        state,
        kind: if live { CandidateKind::from_wire(entry.how) } else { None },
        reason: if live { None } else { reason() },
        rtt: (entry.rtt != 0).then(|| Duration::from_micros(u64::from(entry.rtt) * 100)),
    })
}
