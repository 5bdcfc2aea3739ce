//! How a survey goes on, comes to its end, and what becomes of what was said.

use wgautomesh_core::{CandidateKind, Interface, LinkState, Reason};

use super::*;
use crate::map::How;

fn key(n: u8) -> PublicKey {
    PublicKey::from_bytes([n; 32])
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(1_000_000 + millis)
}

fn names(count: u8) -> Names {
    let mut names = Names::default();
    (2..2 + count).for_each(|n| names.add(key(n)));
    names
}

/// Node 1, whose peers are 2 and so on; none is connected.
fn mesh(count: u8) -> Mesh<8> {
    let mut mesh = Mesh::new();
    for n in 2..2 + count {
        mesh.add_peer(at(0), key(n), [10, 0, 0, n].into()).expect("there is room");
    }
    mesh.handle_interface(at(0), Some(Interface { index: 1, public_key: key(1), listen_port: 51820 }));
    mesh
}

fn node() -> Node {
    Node { interface: "wg0".into(), gossip_port: 1666, started: at(0), rotation: None }
}

fn link(teller: u8, about: u8, state: LinkState) -> Event {
    let connected = state == LinkState::Connected;
    Event::Link(LinkTold {
        teller: key(teller),
        about: key(about),
        state,
        kind: connected.then_some(CandidateKind::Configured),
        reason: (!connected).then_some(Reason::NoAnswer),
        rtt: connected.then_some(Duration::from_millis(7)),
    })
}

fn end(teller: u8, next: Option<u16>) -> Event {
    Event::LinksTold { teller: key(teller), next }
}

/// One of three peers who were asked at the same time.
fn three_asked() -> (Mesh<8>, Survey) {
    let mut mesh = mesh(3);
    let mut survey = Survey::new(&mut mesh, &names(3), Ticket::for_test(1), at(0));
    // As if they had been connected.
    survey.asked = survey.indirect.drain(..).map(|question| Question { tries: 1, ..question }).collect();
    (mesh, survey)
}

fn places(survey: &Survey) -> Vec<(PublicKey, u16)> {
    survey.asked.iter().chain(&survey.to_ask).map(|question| (question.to, question.from)).collect()
}

#[test]
fn where_nobody_is_connected_it_is_over_at_once() {
    let mut mesh = mesh(3);
    let mut survey = Survey::new(&mut mesh, &names(3), Ticket::for_test(1), at(0));
    assert!(!survey.is_over(at(0)) && survey.poll_timeout() <= at(0), "there is somebody to ask");
    assert!(!survey.ask(&mut mesh, at(0)));
    assert!(survey.is_over(at(0)) && survey.poll_timeout() <= at(0));
    survey.join(Ticket::for_test(2));
    let (tickets, map) = survey.settle(&mut mesh, &node(), &names(3), true);
    assert_eq!(tickets, [Ticket::for_test(1), Ticket::for_test(2)]);
    assert_eq!((map.nodes.len(), map.links.len(), map.left_out), (4, 6, 0));
    assert!(map.nodes[0].answered && map.nodes[0].mapped && map.nodes[1..].iter().all(|node| !node.answered));
    // What this node knows itself is on it.
    assert!(map.links.iter().all(|link| (link.a == 0) == (link.how != How::Unknown)), "{map:?}");
}

#[test]
fn what_both_sides_say_is_on_the_map() {
    let (mut mesh, mut survey) = three_asked();
    for event in [
        link(2, 1, LinkState::Connected),
        link(2, 3, LinkState::Connected),
        link(2, 9, LinkState::Connected),
        end(2, None),
        link(3, 2, LinkState::Connected),
        link(3, 4, LinkState::Waiting),
        end(3, None),
    ] {
        survey.hear(&event, at(10));
    }
    assert_eq!(places(&survey), [(key(4), 0)]);
    assert!(!survey.is_over(at(10)));
    let (_, map) = survey.settle(&mut mesh, &node(), &names(3), false);
    let how: Vec<_> = map.links.iter().map(|link| (link.a, link.b, link.how)).collect();
    // That node 2 has what node 1 does not: one of them will notice.
    let unlike = How::Connecting;
    assert_eq!(how[0], (0, 1, unlike));
    assert_eq!(how[3..], [(1, 2, How::Direct), (1, 3, How::Unknown), (2, 3, How::NotConnected)]);
    assert_eq!(map.links[3].rtt_us, Some(7_000));
    assert_eq!(map.links[5].a_says.as_ref().and_then(|says| says.reason.as_deref()), Some("no-answer"));
    assert_eq!(map.links[5].b_says, None);
    let answered: Vec<_> = map.nodes.iter().map(|node| node.answered).collect();
    assert_eq!(answered, [true, true, true, false]);
}

#[test]
fn a_long_answer_is_asked_for_part_by_part() {
    let (mut mesh, mut survey) = three_asked();
    survey.hear(&end(3, Some(64)), at(10));
    assert_eq!(places(&survey)[2], (key(3), 64));
    assert!(survey.poll_timeout() <= at(10), "at once");
    // One that never comes to an end is not followed in circles.
    survey.asked.push(survey.to_ask.pop_front().expect("it waits"));
    survey.hear(&end(3, Some(64)), at(20));
    assert_eq!(places(&survey).len(), 2);
    // And whoever was not asked is not heard.
    survey.hear(&end(3, Some(128)), at(20));
    assert_eq!(places(&survey).len(), 2);
    assert!(!survey.ask(&mut mesh, at(20)));
}

#[test]
fn a_question_is_asked_again_and_time_is_up_in_the_end() {
    let (mut mesh, mut survey) = three_asked();
    survey.hear(&end(2, None), at(10));
    assert_eq!(survey.poll_timeout(), at(0) + AGAIN);
    let late = at(0) + AGAIN;
    survey.asked[0].tries = TRIES;
    // One was asked often enough; to ask the other again fails here, where it is not connected.
    survey.ask(&mut mesh, late);
    assert!(survey.is_over(late));

    let (_, mut survey) = three_asked();
    survey.asked.iter_mut().for_each(|question| question.at = at(5_000));
    assert_eq!(survey.poll_timeout(), at(0) + PATIENCE);
    assert!(!survey.is_over(at(1_499)) && survey.is_over(at(1_500)));
}

/// The engine asks through any mediator, which need not be connected to whom the question is for: it is better to wait for one
/// that says it is, unless nobody will.
#[test]
fn who_is_not_connected_is_asked_once_somebody_else_is_connected_to_it() {
    let (mut mesh, mut survey) = three_asked();
    let question = |to| Question { to: key(to), from: 0, tries: 0, at: at(0) };
    survey.asked.truncate(1);
    survey.indirect = vec![question(3), question(4)];
    survey.ask(&mut mesh, at(1));
    assert_eq!(survey.indirect.len(), 2);
    survey.hear(&link(2, 4, LinkState::Connected), at(1));
    // To ask fails here, where nobody is connected.
    survey.ask(&mut mesh, at(1));
    assert_eq!((survey.indirect.len(), survey.indirect[0].to), (1, key(3)));
    survey.hear(&end(2, None), at(1));
    assert!(!survey.is_over(at(1)) && survey.poll_timeout() <= at(1));
    survey.ask(&mut mesh, at(1));
    assert!(survey.is_over(at(1)));
}

#[test]
fn each_time_a_question_goes_through_another_who_is_connected_there() {
    let (_, mut survey) = three_asked();
    let through =
        |survey: &Survey, tries| survey.connected_to(&Question { to: key(4), from: 0, tries, at: at(0) });
    assert_eq!(through(&survey, 1), None, "nobody has said so yet");
    survey.hear(&link(3, 4, LinkState::Waiting), at(1));
    survey.hear(&link(2, 3, LinkState::Connected), at(1));
    assert_eq!(through(&survey, 1), None);
    survey.hear(&link(2, 4, LinkState::Connected), at(1));
    assert_eq!(through(&survey, 1), Some(key(2)));
    survey.hear(&link(3, 4, LinkState::Connected), at(2));
    assert_ne!(through(&survey, 1), through(&survey, 2));
}

#[test]
fn a_mesh_that_is_too_large_is_shown_in_part() {
    let count = MAX_NODES + 10;
    let mut mesh = Box::new(Mesh::<512>::new());
    let mut names = Names::default();
    for n in 0..count {
        let mut bytes = [9; 32];
        bytes[..2].copy_from_slice(&(n as u16).to_be_bytes());
        let address = core::net::Ipv4Addr::from_bits(0x0a00_0001 + n as u32);
        mesh.add_peer(at(0), PublicKey::from_bytes(bytes), address.into()).expect("there is room");
        names.add(PublicKey::from_bytes(bytes));
    }
    mesh.handle_interface(at(0), Some(Interface { index: 1, public_key: key(1), listen_port: 51820 }));
    let mut survey = Survey::new(&mut mesh, &names, Ticket::for_test(1), at(0));
    assert_eq!(survey.indirect.len(), MAX_NODES);
    survey.ask(&mut mesh, at(0));
    let (_, map) = survey.settle(&mut mesh, &node(), &names, false);
    assert_eq!((map.nodes.len(), map.left_out), (MAX_NODES, 11));
    assert!(map.to_json().len() < 6_000_000, "{}", map.to_json().len());
}
