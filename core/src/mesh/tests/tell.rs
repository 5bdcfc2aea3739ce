//! Questions between nodes, and what is said of them.

extern crate std;

use std::vec::Vec;

use super::{key, net::Net};
use crate::{Answer, AskError, Duration, Event, LinkState, Reason};

/// What node 0 is told when it asks, in the order in which it comes.
fn told(net: &mut Net, ask: impl FnOnce(&mut Net) -> Result<u32, AskError>) -> Vec<Answer> {
    net.nodes[0].events.clear();
    let question = ask(net).expect("it can be asked");
    net.run(Duration::from_millis(500));
    let answers = net.nodes[0].events.iter().filter_map(|event| match event {
        Event::Answer(answer) => Some(*answer),
        _ => None,
    });
    let answers: Vec<_> = answers.collect();
    assert!(answers.iter().all(|answer| answer.question == question));
    answers
}

/// One public node and two homes.
fn connected() -> Net {
    let mut net = Net::new(&[true, false, true]);
    net.run(Duration::from_secs(2));
    assert_eq!(net.connected(), 6);
    net
}

#[test]
fn a_peer_says_how_it_stands_with_us_and_with_another() {
    let mut net = connected();
    for about in [0, 2] {
        let answers = told(&mut net, |net| net.nodes[0].mesh.ask(&key(1), &key(about)));
        let [answer] = answers[..] else { panic!("{answers:?}") };
        assert_eq!((answer.teller, answer.about), (key(1), key(about)));
        assert_eq!((answer.state, answer.reason), (Some(LinkState::Connected), None));
        assert!(answer.endpoint.is_some());
    }
}

#[test]
fn who_is_not_connected_is_asked_through_somebody_who_is() {
    let mut net = connected();
    // Node 2 forgets us: its side of the session is gone, and it does not answer.
    let now = net.now;
    assert!(net.nodes[2].mesh.remove_peer(now, &key(0)));
    net.run(Duration::from_secs(300));
    let link = net.nodes[0].mesh.peers().find(|peer| peer.key == key(2)).expect("configured");
    assert_ne!(link.state, LinkState::Connected);
    for through in [false, true] {
        let answers = told(&mut net, |net| match through {
            true => net.nodes[0].mesh.ask_through(&key(1), &key(2), &key(0)),
            false => net.nodes[0].mesh.ask(&key(2), &key(0)),
        });
        let [answer] = answers[..] else { panic!("{answers:?}") };
        assert_eq!((answer.teller, answer.about), (key(2), key(0)));
        assert_eq!((answer.state, answer.reason, answer.endpoint), (None, None, None), "it has no such peer");
        // And of whom it has.
        let answers = told(&mut net, |net| net.nodes[0].mesh.ask_through(&key(1), &key(2), &key(1)));
        assert_eq!(answers.first().map(|answer| answer.state), Some(Some(LinkState::Connected)));
    }
}

#[test]
fn nobody_is_asked_who_cannot_answer() {
    let mut net = connected();
    let mesh = &mut net.nodes[0].mesh;
    assert_eq!(mesh.ask(&key(7), &key(0)), Err(AskError::UnknownPeer));
    assert_eq!(mesh.ask_through(&key(7), &key(1), &key(0)), Err(AskError::UnknownPeer));
    for _ in 0..crate::limits::MAX_TELLS {
        assert!(mesh.ask(&key(1), &key(0)).is_ok());
    }
    assert_eq!(mesh.ask(&key(1), &key(0)), Err(AskError::Busy));
    let mut alone = Net::new(&[true, true, true]);
    alone.run(Duration::from_secs(2));
    let mesh = &mut alone.nodes[0].mesh;
    assert_eq!(mesh.ask(&key(1), &key(0)), Err(AskError::NotConnected));
    assert_eq!(mesh.ask_through(&key(2), &key(1), &key(0)), Err(AskError::NotConnected));
    let reasons: Vec<_> = mesh.peers().map(|peer| peer.reason).collect();
    assert!(reasons.contains(&Some(Reason::Isolated)), "{reasons:?}");
}
