//! What others say: the peer itself is asked how it stands with us, and some of those that are connected, how they stand with the
//! peer. Whoever says that it is connected to the peer is then asked to pass the first question on.

use wgautomesh_core::{Answer, Duration, Instant, LinkState, Mesh, PublicKey};

/// An answer comes within a round trip or two, or never.
const PATIENCE: Duration = Duration::from_millis(1500);

/// So many of those that are connected are asked about the peer: as many questions as the engine has room for, less the one to
/// the peer itself.
const ASKED: usize = wgautomesh_core::limits::MAX_TELLS - 1;

/// A question and its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    number: u32,
    /// Who is asked.
    pub(super) teller: PublicKey,
    /// By way of whom, where that was for us to say.
    pub(super) through: Option<PublicKey>,
    pub(super) about: About,
    pub(super) answer: Option<Answer>,
}

/// About whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Us,
    Peer,
}

/// The questions about one peer.
pub(super) struct Inquiry {
    pub(super) peer: PublicKey,
    pub(super) asked: Vec<Asked>,
    pub(super) deadline: Instant,
}

impl Inquiry {
    /// Asks.
    pub(super) fn begin<const PEERS: usize>(now: Instant, mesh: &mut Mesh<PEERS>, peer: PublicKey) -> Self {
        let mut inquiry = Self { peer, asked: Vec::new(), deadline: now.saturating_add(PATIENCE) };
        let Some(us) = mesh.node().interface.map(|interface| interface.public_key) else { return inquiry };
        let link = mesh.peers().find(|link| link.key == peer);
        if link.is_some_and(|link| link.state.is_connected()) {
            inquiry.note(mesh.ask(&peer, &us).ok(), peer, None, About::Us);
            return inquiry;
        }
        // Who introduced us last knows most, and then whoever is nearest.
        let via = link.and_then(|link| link.via);
        let mut live: Vec<_> =
            mesh.peers().filter(|other| other.key != peer && other.state.is_connected()).collect();
        live.sort_by_key(|other| (Some(other.key) != via, other.rtt, other.key));
        for other in live.iter().take(ASKED) {
            inquiry.note(mesh.ask(&other.key, &peer).ok(), other.key, None, About::Peer);
        }
        if let Some(first) = live.first() {
            let question = mesh.ask_through(&first.key, &peer, &us);
            inquiry.note(question.ok(), peer, Some(first.key), About::Us);
        }
        inquiry
    }

    /// Takes in an answer, if it is to one of these questions.
    pub(super) fn take<const PEERS: usize>(&mut self, mesh: &mut Mesh<PEERS>, answer: &Answer) {
        let Some(asked) = self.asked.iter_mut().find(|asked| asked.number == answer.question) else { return };
        asked.answer = Some(*answer);
        let (teller, about) = (asked.teller, asked.about);
        let connected = answer.state.is_some_and(LinkState::is_connected);
        let passes_on = |asked: &Asked| asked.about == About::Us && asked.through == Some(teller);
        if about == About::Peer && connected && !self.asked.iter().any(passes_on) {
            let us = mesh.node().interface.map(|interface| interface.public_key);
            let question = us.and_then(|us| mesh.ask_through(&teller, &self.peer, &us).ok());
            self.note(question, self.peer, Some(teller), About::Us);
        }
    }

    /// Whether all has been said, or time is up.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let said = |about| self.asked.iter().any(|asked| asked.about == about && asked.answer.is_some());
        let all =
            self.asked.iter().filter(|asked| asked.about == About::Peer).all(|asked| asked.answer.is_some());
        now >= self.deadline || self.asked.is_empty() || (all && said(About::Us))
    }

    fn note(&mut self, number: Option<u32>, teller: PublicKey, through: Option<PublicKey>, about: About) {
        self.asked.extend(number.map(|number| Asked { number, teller, through, about, answer: None }));
    }
}
