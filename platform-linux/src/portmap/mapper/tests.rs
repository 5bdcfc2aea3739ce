use std::sync::Mutex;

use rustix::event::{PollFd, PollFlags, poll};

use super::{
    super::{Handle, Protocol, gateway::Route},
    *,
};

const GATEWAY: [u8; 4] = [192, 168, 1, 1];

/// A gateway that answers as it is told to, or only when it is let.
#[derive(Default)]
struct Fake {
    answer: Mutex<Option<Answer>>,
    wanted: Mutex<Vec<Wanted>>,
    unmapped: Mutex<Vec<Mapping>>,
    held: Mutex<()>,
    /// What comes of IPv6, if there is any.
    v6: Mutex<Option<Result<Mapping, Why>>>,
}

#[derive(Clone)]
enum Answer {
    Maps([u8; 4], u32),
    Fails(Why),
}

impl Work for Fake {
    fn map(&self, wanted: &Wanted) -> Outcome {
        let _held = self.held.lock();
        self.wanted.lock().expect("no panic before").push(wanted.clone());
        let answer = self.answer.lock().expect("no panic before").clone();
        let v4 = match answer.expect("it was told what to answer") {
            Answer::Maps(ip, lease) => Ok(mapping(ip, lease, wanted.internal_port)),
            Answer::Fails(why) => Err(Failure { gateway: Some(GATEWAY.into()), protocol: None, why }),
        };
        let v6 = self.v6.lock().expect("no panic before").clone();
        let v6 = v6.map(|v6| v6.map_err(|why| Failure { gateway: None, protocol: None, why }));
        Outcome { v4, v6 }
    }

    fn unmap(&self, mappings: &[Mapping]) {
        self.unmapped.lock().expect("no panic before").extend_from_slice(mappings);
    }
}

fn mapping(ip: [u8; 4], lease: u32, internal_port: u16) -> Mapping {
    let source = IpAddr::from([192, 168, 1, 2]);
    Mapping {
        protocol: Protocol::Pcp,
        gateway: Route { gateway: GATEWAY.into(), interface: 2, source },
        external: (ip, 33723).into(),
        internal: SocketAddr::new(source, internal_port),
        lease,
        epoch: Some(1000),
        handle: Handle::Pcp([1; 12]),
    }
}

const HOME: [u8; 4] = [203, 0, 113, 7];
const MOVED: [u8; 4] = [203, 0, 113, 8];

struct Bench {
    fake: Arc<Fake>,
    mapper: Mapper,
}

fn at(seconds: u64) -> Instant {
    Instant::from_secs(1_000 + seconds)
}

impl Bench {
    fn new(answer: Answer) -> Self {
        let fake = Arc::new(Fake::default());
        *fake.answer.lock().expect("no panic before") = Some(answer);
        let mapper = Mapper::new(33723, b"secret", Arc::clone(&fake) as Arc<dyn Work>).expect("a descriptor");
        Self { fake, mapper }
    }

    fn answer(&self, answer: Answer) {
        *self.fake.answer.lock().expect("no panic before") = Some(answer);
    }

    /// Begins what is due and waits until it has ended, all at `now`. Whether the endpoints changed.
    fn turn(&mut self, now: Instant) -> bool {
        let mut changed = self.mapper.handle(now);
        changed |= wait_for(&mut self.mapper, now);
        changed
    }

    fn endpoints(&self) -> Vec<SocketAddr> {
        self.mapper.endpoints().collect()
    }

    fn asked(&self) -> usize {
        self.fake.wanted.lock().expect("no panic before").len()
    }

    fn reason(&self) -> Option<String> {
        self.mapper.status(at(0)).reason.map(|reason| reason.id)
    }
}

/// Waits until nothing is asked any more. Whether the endpoints changed.
fn wait_for(mapper: &mut Mapper, now: Instant) -> bool {
    let mut changed = false;
    while mapper.is_asking() {
        let [wake, _] = mapper.fds();
        poll(&mut [PollFd::new(&wake.expect("it has one"), PollFlags::IN)], None).expect("poll");
        changed |= mapper.handle(now);
    }
    changed
}

#[test]
fn nothing_is_asked_before_wireguard_has_a_port() {
    let mut bench = Bench::new(Answer::Maps(HOME, 600));
    bench.mapper.network_changed(at(0));
    bench.mapper.peer_lost(at(0));
    bench.mapper.set_source(at(0), 0, 0);
    assert_eq!(bench.mapper.poll_timeout(), None);
    assert!(!bench.turn(at(0)));
    bench.mapper.set_source(at(1), 51820, 7);
    assert_eq!(bench.mapper.poll_timeout(), Some(at(1)));
    assert!(bench.turn(at(1)));
    assert_eq!(bench.endpoints(), [(HOME, 33723).into()]);
    let wanted = bench.fake.wanted.lock().expect("no panic before");
    assert_eq!((wanted[0].internal_port, wanted[0].external_port, wanted[0].fwmark), (51820, 33723, 7));
}

#[test]
fn a_mapping_is_renewed_at_half_its_lease_within_bounds() {
    for (lease, next) in [(600, 300), (0, 30), (1, 30), (60, 30), (3600, 600), (u32::MAX, 600)] {
        let mut bench = Bench::new(Answer::Maps(HOME, lease));
        bench.mapper.set_source(at(0), 51820, 0);
        assert!(bench.turn(at(0)));
        assert_eq!(bench.mapper.poll_timeout(), Some(at(next)), "{lease}");
        assert!(!bench.turn(at(next)), "the same again");
        assert_eq!(bench.mapper.poll_timeout(), Some(at(2 * next)), "{lease}");
        assert_eq!(bench.asked(), 2);
        let status = bench.mapper.status(at(next));
        assert!((60..=86_400).contains(&status.mapped[0].lease_s), "{lease}: {status:?}");
    }
}

#[test]
fn another_external_address_is_noticed() {
    let mut bench = Bench::new(Answer::Maps(HOME, 600));
    bench.mapper.set_source(at(0), 51820, 0);
    bench.turn(at(0));
    bench.answer(Answer::Maps(MOVED, 600));
    // A peer was lost: sooner than half the lease, and not more often than every half minute.
    bench.mapper.peer_lost(at(5));
    assert_eq!(bench.mapper.poll_timeout(), Some(at(30)));
    assert!(bench.turn(at(30)));
    assert_eq!(bench.endpoints(), [(MOVED, 33723).into()]);
    bench.mapper.network_changed(at(40));
    assert_eq!(bench.mapper.poll_timeout(), Some(at(40) + SETTLE));
}

#[test]
fn failures_are_repeated_ever_more_rarely() {
    let mut bench = Bench::new(Answer::Fails(Why::NoAnswer));
    bench.mapper.set_source(at(0), 51820, 0);
    let mut now = at(0);
    for wait in [10, 20, 40, 80, 160, 320, 600, 600] {
        assert!(!bench.turn(now));
        let next = bench.mapper.poll_timeout().expect("another try");
        assert_eq!(next.duration_since(now).as_secs(), wait);
        now = next;
    }
    assert_eq!(bench.reason().as_deref(), Some("no-answer"));
    bench.answer(Answer::Maps(HOME, 600));
    assert!(bench.turn(now));
    assert_eq!(bench.reason(), None);
}

#[test]
fn a_mapping_outlives_a_silent_gateway_and_no_word_of_its_end() {
    let mut bench = Bench::new(Answer::Maps(HOME, 600));
    bench.mapper.set_source(at(0), 51820, 0);
    bench.turn(at(0));
    bench.answer(Answer::Fails(Why::NoAnswer));
    for now in [300, 310, 330, 370, 450] {
        assert!(!bench.turn(at(now)), "{now}");
        assert_eq!(bench.endpoints().len(), 1);
    }
    assert_eq!(bench.mapper.poll_timeout(), Some(at(600)));
    assert!(bench.turn(at(600)), "its lease has ended");
    assert_eq!(bench.endpoints(), []);

    for why in [
        Why::Refused("no".into()),
        Why::NotPublic([10, 0, 0, 1].into()),
        Why::NoGateway,
        Why::Public(HOME.into()),
    ] {
        let mut bench = Bench::new(Answer::Maps(HOME, 600));
        bench.mapper.set_source(at(0), 51820, 0);
        bench.turn(at(0));
        bench.answer(Answer::Fails(why.clone()));
        assert!(bench.turn(at(300)), "{why:?}");
        assert_eq!(bench.endpoints(), []);
    }
}

#[test]
fn who_does_not_end_is_given_up_and_not_asked_twice_at_a_time() {
    let mut bench = Bench::new(Answer::Maps(HOME, 600));
    let fake = Arc::clone(&bench.fake);
    let held = fake.held.lock().expect("no panic before");
    bench.mapper.set_source(at(0), 51820, 0);
    assert!(!bench.mapper.handle(at(0)));
    assert_eq!(bench.mapper.poll_timeout(), Some(at(0) + LATE));
    assert!(!bench.mapper.handle(at(0) + LATE));
    assert_eq!(bench.reason().as_deref(), Some("too-late"));
    // The next asking is due, and waits for the thread.
    assert!(!bench.mapper.handle(at(60)));
    assert_eq!(bench.mapper.poll_timeout(), None);
    drop(held);
    assert!(bench.turn(at(61)), "what came too late does not count, and what is asked after it does");
    assert_eq!(bench.asked(), 2);
}

#[test]
fn another_port_of_wireguards_is_mapped_anew() {
    let mut bench = Bench::new(Answer::Maps(HOME, 600));
    bench.mapper.set_source(at(0), 51820, 0);
    bench.turn(at(0));
    bench.mapper.set_source(at(10), 51820, 0);
    assert_eq!(bench.mapper.poll_timeout(), Some(at(300)), "nothing new");
    bench.mapper.set_source(at(10), 51821, 0);
    bench.turn(at(10));
    let wanted = bench.fake.wanted.lock().expect("no panic before");
    assert_eq!(wanted[1].internal_port, 51821);
    assert_eq!(wanted[1].obsolete, [mapping(HOME, 600, 51820)]);
    assert_eq!(wanted[0].nonce, wanted[1].nonce);
}

#[test]
fn mappings_are_taken_back_at_the_end() {
    let mut bench = Bench::new(Answer::Maps(HOME, 600));
    bench.mapper.stop();
    assert_eq!(*bench.fake.unmapped.lock().expect("no panic before"), []);
    bench.mapper.set_source(at(0), 51820, 0);
    bench.turn(at(0));
    bench.mapper.stop();
    assert_eq!(*bench.fake.unmapped.lock().expect("no panic before"), [mapping(HOME, 600, 51820)]);
}

#[test]
fn announcements_are_news_if_they_tell_another_epoch_or_address() {
    let held = Held { mapping: mapping(HOME, 600, 51820), at: at(0), until: at(600) };
    let natpmp = |ip: [u8; 4], epoch: u32| [&[0, 128, 0, 0], &epoch.to_be_bytes()[..], &ip].concat();
    let pcp = |epoch: u32| [&[2, 0x80, 0, 0, 0, 0, 0, 0], &epoch.to_be_bytes()[..], &[0; 12]].concat();
    for (from, message, expected) in [
        (GATEWAY, natpmp(HOME, 1100), false),
        (GATEWAY, natpmp(MOVED, 1100), true),
        (GATEWAY, natpmp(HOME, 3), true),
        (GATEWAY, pcp(1100), false),
        (GATEWAY, pcp(0), true),
        (GATEWAY, vec![1; 60], false),
        ([192, 168, 1, 3], natpmp(MOVED, 3), false),
    ] {
        assert_eq!(is_news(&held, from.into(), &message, at(100)), expected, "{from:?} {message:?}");
    }
}

#[test]
fn a_pinhole_comes_and_goes_beside_the_mapping() {
    let mut bench = Bench::new(Answer::Maps(HOME, 3600));
    let v6 = |v6| *bench.fake.v6.lock().expect("no panic before") = v6;
    let external = "[2001:db8::7]:51820".parse().expect("an endpoint");
    v6(Some(Err(Why::NoAnswer)));
    bench.mapper.set_source(at(0), 51820, 0);
    let mut now = at(0);
    for wait in [10, 20, 40] {
        bench.mapper.handle(now);
        wait_for(&mut bench.mapper, now);
        let next = bench.mapper.poll_timeout().expect("another try");
        assert_eq!(next.duration_since(now).as_secs(), wait);
        now = next;
    }
    v6(Some(Ok(Mapping { external, ..mapping(HOME, 3600, 51820) })));
    bench.mapper.handle(now);
    wait_for(&mut bench.mapper, now);
    assert_eq!(bench.mapper.endpoints().collect::<Vec<_>>(), [(HOME, 33723).into(), external]);
    assert_eq!(bench.mapper.poll_timeout(), Some(now + CHECK));
    v6(None);
    now += CHECK;
    bench.mapper.handle(now);
    wait_for(&mut bench.mapper, now);
    assert_eq!(bench.mapper.endpoints().collect::<Vec<_>>(), [(HOME, 33723).into()]);
}
