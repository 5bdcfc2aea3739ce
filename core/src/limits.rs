//! Every limit of the engine: why this number, and what it costs.
//!
//! RAM is given per peer ("/peer") or per mesh.

use embassy_time::Duration;

/// The longest datagram we send or read, in bytes. Under the 1280 of IPv6's minimum MTU less the 80 of WireGuard over
/// IPv6 and less IPv6 + UDP headers inside the tunnel, so that no link between two nodes needs to fragment it.
/// The caller's buffer must have this size.
pub const MAX_DATAGRAM: usize = 1152;

/// Endpoints in one record: two families, each with one on the interface, one seen from outside and one spare.
/// 20 B each, /peer.
pub const MAX_RECORD_ENDPOINTS: usize = 6;

/// Configured endpoints kept per peer: what a name usually resolves to in two families. 18 B each, /peer.
pub const MAX_CONFIGURED_ENDPOINTS: usize = 4;

/// Endpoints that worked, kept per peer, newest first: the last place, and the one before a short stay elsewhere.
/// 18 B each, /peer.
pub const MAX_GOOD_ENDPOINTS: usize = 2;

/// Gossip secrets in use at once: the present one and the next, while the mesh is changing over. 33 B per mesh each.
pub const MAX_SECRETS: usize = 2;

/// Local addresses kept: a multi-homed host in two families. 17 B per mesh each.
pub const MAX_LOCAL_ADDRESSES: usize = 8;

/// Port mappings kept: one in each family. 18 B per mesh each.
pub const MAX_MAPPINGS: usize = 2;

/// Introductions that wait to be sent or for a fresh reading. When full, the asker is told to come back; 14 B per
/// mesh each. Sixty-four is one busy poll of a hub whose homes all boot together.
pub const MAX_INTRODUCTIONS: usize = 64;

/// Pairs introduced in the last two seconds, whose second request is ignored. When full, the oldest is forgotten,
/// which costs one superfluous attempt. 24 B per mesh each.
pub const MAX_RECENT_PAIRS: usize = 128;

/// How long the second request for one pair is ignored.
pub(crate) const PAIR_MEMORY: Duration = Duration::from_secs(2);

/// Questions that wait to be answered. When full, the question is dropped; a person asks again. 132 B per mesh each.
pub const MAX_TELLS: usize = 4;

/// Answers to our own questions that wait to be polled. When full, the oldest is forgotten. 96 B per mesh each.
pub const MAX_ANSWERS: usize = 4;

/// Links in one answer to a question for all of them: 13 B each at most, so that they fit in a datagram with all the rest. An
/// answer for another node is kept until it is polled, and so is one for us: 12 B per mesh each.
pub const MAX_LINKS_TOLD: usize = 64;

/// Questions for all links that are answered or passed on in a second, from all peers, and as many answers that are passed on: an
/// answer is up to eight times as long as its question. One who reaches fifty others through a single mediator gets all of their
/// answers; a member that goes on asking gets 60 kB/s out of a node, and makes it send nothing to anybody who has not asked.
pub(crate) const LINKS_PER_SECOND: u8 = 64;

/// Set reconciliations under way. When full, the next digest comparison tries again. 16 B per mesh each.
pub const MAX_RECONCILIATIONS: usize = 4;

/// Parts that the record set is divided into when two nodes look for the difference: 8 B each on the wire, so
/// that all fit in one datagram, and with 2,500 nodes the 39 records of a part fit in one too.
pub(crate) const BUCKETS: usize = 64;

/// Entries of one summary or pull: 64 x 16 B fit in a datagram. A larger part is sent from a random place on.
pub(crate) const MAX_SUMMARY: usize = 64;

/// Up to this many records a peer that has just come up gets the whole set at once (three datagrams), instead of a
/// reconciliation, which takes 1.5 round trips more.
pub(crate) const WHOLE_SET: usize = 48;

/// A set larger than that is reconciled at most this often: while hundreds of links come up in the same second, every pair of
/// them differs, and what differs is on its way. The comparison of digests, half a second later, finds what it was not.
pub(crate) const RECONCILE_SPACING: Duration = Duration::from_millis(200);

/// Times that a reconciliation of a pair of digests is answered before the difference is taken to be for good: each side is
/// configured with peers that the other is not. Not once, since what follows the answer may be lost.
pub(crate) const RECONCILE_TRIES: u8 = 4;

/// One of the differences that were taken to be for good is tried again this often. All tries may have been in vain, and it is
/// less than 1 kB.
pub(crate) const RECONCILE_AGAIN: Duration = Duration::from_secs(600);

/// New records wait this long for company before they are pushed.
pub(crate) const PUSH_DELAY: Duration = Duration::from_millis(20);

/// Our own new record is pushed to all live peers up to this many...
pub(crate) const PUSH_ALL: usize = 32;
/// ...and above that to about this many random ones.
pub(crate) const PUSH_SOME: usize = 8;
/// A new record of another node is pushed on to about this many random live peers. With three, an epidemic of which
/// everybody who catches it passes it on once reaches 94 of 100 nodes; comparing digests sees to the rest.
pub(crate) const PUSH_ON: usize = 3;
/// A node with fewer live peers than this says so, and then gets every new record from each of them: the homes of one
/// hub have nobody else.
pub(crate) const LEAF_DEGREE: usize = 8;

/// The published live degree stops here: more than this nobody needs to know.
pub(crate) const DEGREE_SHOWN: usize = 8;

/// Digests are compared with one random live peer this long after the set changed...
pub(crate) const DIGEST_FIRST: Duration = Duration::from_millis(500);
/// ...then at doubled intervals up to this, for good (20 % either way).
pub(crate) const DIGEST_STEADY: Duration = Duration::from_secs(60);

/// A relayed record is forgotten this long after its subject was last heard first-hand by anybody.
pub(crate) const RECORD_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// A relayed record of a peer we still miss is asked for again at this age.
pub(crate) const RECORD_REFRESH: Duration = Duration::from_secs(8 * 60);

/// A relayed record may be newer by this many incarnations and no more, so that a liar cannot use up the numbers.
pub(crate) const MAX_INCARNATION_JUMP: u32 = 1 << 16;

/// This many refutations of records of ourselves in ten minutes mean that our key is used elsewhere...
pub(crate) const MAX_REFUTATIONS: u8 = 3;
/// ...counted over this time...
pub(crate) const REFUTATION_WINDOW: Duration = Duration::from_secs(600);
/// ...after which we refute once in this time.
pub(crate) const REFUTATION_PAUSE: Duration = Duration::from_secs(60);

/// WireGuard's own keepalive on a live link: the shortest common UDP mapping lasts 30 s.
pub(crate) const KEEPALIVE: u16 = 25;
/// The same for the side with the lower key. WireGuard puts its keepalive off by one that it hears, so that the shorter interval
/// sends them all, and the other side knows what is due and hears when it does not come. With equal intervals chance decides
/// each time: the kernel rounds a timer of this length up to the next two seconds or so (at 250 Hz; 512 jiffies), which is why it
/// is shorter by more than that.
pub(crate) const KEEPALIVE_SENDER: u16 = 21;
/// Where a NAT is before one side only, the other one sends them, this often: whoever is behind the NAT is then the first to
/// hear that something is wrong with it, and the only one who can do something about that...
pub(crate) const KEEPALIVE_TO_NAT: u16 = 13;
/// ...and sends one of its own when none came for so long: longer by more than the kernel's rounding, as above. It shows the other
/// side where we are now, when the router has got another address.
pub(crate) const KEEPALIVE_FROM_NAT: u16 = 15;
/// So many keepalives of the peer's in a row show that it is always the peer who sends them: one of ours is then a sign that the
/// peer's did not come.
pub(crate) const KEEPALIVES_HEARD: u8 = 2;

/// A live link on which the peer's WireGuard sends the keepalives is probed when nothing came for this long: one was due.
pub(crate) const SILENT_IDLE: Duration = Duration::from_secs(27);
/// One on which ours sends them hears nothing but a handshake every two minutes or so, which keys are due for.
pub(crate) const SILENT_SENDER: Duration = Duration::from_secs(190);
/// One without keepalives is quite silent. Where it is used, [`SILENT_BUSY`] sees to it.
pub(crate) const SILENT_UNGUARDED: Duration = Duration::from_secs(600);
/// Any of them, when what was sent goes unanswered.
pub(crate) const SILENT_BUSY: Duration = Duration::from_secs(3);
/// So many readings show that something is not answered: one may fall between a question and its answer.
pub(crate) const ENOUGH_UNANSWERED: u8 = 2;
/// A whole handshake, both sides' messages and two keepalives: more than this sent between two readings is somebody's
/// traffic.
pub(crate) const HANDSHAKE_BYTES: u64 = INITIATION_BYTES + RESPONSE_BYTES + 2 * KEEPALIVE_BYTES;
/// A keepalive as the counters show it. More than two sent without an answer are to be wondered at.
pub(crate) const KEEPALIVE_BYTES: u64 = 32;
/// Probes unanswered before a link is no longer live. With 15 % loss each way a probe fails in 28 of 100 cases: two
/// would take down a working link every other minute, four do so in 6 of 1000 probings.
pub(crate) const PROBES: u8 = 4;
/// Bounds of the wait for a probe's answer, which is twice the round trip.
pub(crate) const PROBE_MIN: Duration = Duration::from_millis(200);
/// See [`PROBE_MIN`].
pub(crate) const PROBE_MAX: Duration = Duration::from_millis(700);

/// A peer which WireGuard had a handshake with before we started is taken as live until a Hello goes unanswered this long.
pub(crate) const PRESUME: Duration = Duration::from_secs(1);

/// A live session whose peer's daemon does not answer shows itself by WireGuard's passive keepalive 10 s after our
/// probe. Until this has passed since a link went silent, only an introduction (which proves that the other daemon
/// lives and wants a new session) may re-add the peer.
pub(crate) const SESSION_DOUBT: Duration = Duration::from_millis(10_500);

/// The session of a link that went silent is kept for so long, unless we are to initiate: the peer's own keepalive comes within
/// this time (see [`KEEPALIVE_FROM_NAT`] and the kernel's rounding), wherever it is now.
pub(crate) const SESSION_KEPT: Duration = Duration::from_secs(30);

/// First contact without a mediator: the side with the lower key fires this much later, and only if nothing came.
pub(crate) const FIRST_CONTACT_YIELD: Duration = Duration::from_millis(250);
/// The side with the higher key asks for an introduction this much later than the lower: one request is enough.
pub(crate) const ASK_YIELD: Duration = Duration::from_millis(100);
/// A mediator that has not answered in this time (or 1.5 round trips) is passed over.
pub(crate) const MEDIATOR_TIMEOUT: Duration = Duration::from_millis(300);
/// Mediators asked in one go before the attempt backs off.
pub(crate) const MAX_MEDIATORS: usize = 4;
/// Mediators that have no time are waited for so often in one go; then that is a refusal.
pub(crate) const MAX_BUSY: u8 = 31;
/// The shortest time that a mediator may have a busy one wait: whoever names none would be asked all the time.
pub(crate) const MIN_BUSY: Duration = Duration::from_millis(50);
/// Openers are sent to each candidate this long after the introduction: at once, and twice more against loss.
pub(crate) const OPENER_TIMES: [Duration; 3] =
    [Duration::from_ticks(0), Duration::from_millis(100), Duration::from_millis(250)];
/// Attempts whose openers are being sent. When full, a further one has a single opener, to the likeliest place. 16 B per mesh
/// each.
pub const MAX_OPENER_SERIES: usize = 64;
/// Peers that are asked where they hear our openers from: two tell what kind of NAT is between. 56 B per mesh each.
pub(crate) const MAX_OBSERVERS: usize = 2;
/// Answers to that question which wait to be sent. When full, the question goes unanswered, and is asked again. 26 B per mesh
/// each.
pub(crate) const MAX_OBSERVED: usize = 8;
/// The opener that was announced to a peer follows after this: its listener is to be open by then.
pub(crate) const OBSERVE_LEAD: Duration = Duration::from_millis(30);
/// For so long a peer listens for the opener that was announced to it.
pub(crate) const OBSERVE_LISTEN: Duration = Duration::from_secs(2);
/// A question that was not answered in this time is asked again...
pub(crate) const OBSERVE_WAIT: Duration = Duration::from_secs(1);
/// ...so many times in all.
pub(crate) const OBSERVE_TRIES: u8 = 3;
/// What was seen longer ago than this the NAT may have forgotten: the shortest keep a mapping without an answer for 30 s.
pub(crate) const OBSERVE_AGAIN: Duration = Duration::from_secs(20);
/// Openers that a second may bring before they are dropped undeciphered: several attempts' at a time.
pub(crate) const OPENERS_PER_SECOND: u16 = 256;
/// A peer's endpoints get the openers of at most [`SERIES_PER_WINDOW`] attempts in this time: three each of 65 B, 43 B/s, or
/// four from two IPv6 addresses of ours, 57 B/s.
pub(crate) const OPENER_WINDOW: Duration = Duration::from_secs(32);
/// See [`OPENER_WINDOW`]. An effort of [`ROUNDS`] and most of another. It fits three bits.
pub(crate) const SERIES_PER_WINDOW: u8 = 7;
/// Knocks that are answered in a second. Each answer is as long as what it answers, so that nobody gains by having it sent
/// elsewhere; a router that has come back needs one or two.
pub(crate) const CALL_BACKS_PER_SECOND: u8 = 8;
/// How long whoever knocked and was answered waits to be called: two probes of the other side's at their longest, and a
/// handshake.
pub(crate) const CALL_BACK: Duration = Duration::from_secs(2);
/// Whoever fires and knocks at the same time knocks so much later: an answer that came before the handshake's would have both
/// sides initiate, where the first fire was lost only because the other side had not been told of us yet.
pub(crate) const KNOCK_LEAD: Duration = Duration::from_millis(100);
/// A knock's answer is good for so long at the least, and twice that at the most.
pub(crate) const KNOCK_WINDOW: Duration = Duration::from_secs(4);
/// WireGuard takes no two initiations of a peer within 20 ms, and rounds their stamps to 17: closer together than this the
/// second one is lost, and has ended the first.
pub(crate) const FIRE_SPACING: Duration = Duration::from_millis(50);
/// Added to the round trip to the opener, before the initiator fires.
pub(crate) const OPENER_MARGIN: Duration = Duration::from_millis(30);
/// The longest wait a mediator may ask for.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(2);
/// A Hello staged in WireGuard is repeated this long after firing, and again.
pub(crate) const HELLO_REPEATS: [Duration; 2] = [Duration::from_millis(150), Duration::from_millis(400)];
/// A round of an attempt lasts 4 round trips + 300 ms, within these.
pub(crate) const ROUND_MIN: Duration = Duration::from_millis(700);
/// Rounds of a mediated effort, one after the other, before it backs off: each role with each of the likeliest two
/// candidates.
pub(crate) const ROUNDS: u8 = 4;
/// Times that the initiator of a mediated round fires: with 15 % loss each way, one handshake in three is lost.
pub(crate) const FIRES_PER_ROUND: u8 = 2;
/// Bounds of the time that a mediated handshake is given before the next one.
pub(crate) const FIRE_PATIENCE_MIN: Duration = Duration::from_millis(250);
/// See [`FIRE_PATIENCE_MIN`].
pub(crate) const FIRE_PATIENCE_MAX: Duration = Duration::from_millis(1200);
/// The first round of a first contact is shorter: where two nodes boot together, the first initiation finds a WireGuard
/// that has not been told of the peer yet. It ends before the lower key's [`FIRST_CONTACT_YIELD`], so that the two do not
/// cross; where the round trip is longer it costs one initiation.
pub(crate) const ROUND_FIRST: Duration = Duration::from_millis(180);
/// See [`ROUND_MIN`].
pub(crate) const ROUND_MAX: Duration = Duration::from_secs(2);
/// Re-adds in a row before WireGuard is left to its own 5 s cycle: a re-added peer forgets replay stamps.
pub(crate) const MAX_READDS: u8 = 4;
/// That cycle, with its jitter.
pub(crate) const NATURAL_CYCLE: Duration = Duration::from_millis(5_400);
/// While no peer is live, one fire per this time, never a longer back-off.
pub(crate) const ALONE_RETRY: Duration = Duration::from_secs(20);
/// Otherwise attempts back off from here...
pub(crate) const BACKOFF_MIN: Duration = Duration::from_secs(30);
/// ...doubling to here.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(30 * 60);
/// ...or to here, for a peer whose endpoint is configured: one public node that comes back is found by the first of many.
pub(crate) const BACKOFF_CONFIGURED: Duration = Duration::from_secs(60);
/// A crossed handshake is fired again after this by the higher key.
pub(crate) const CROSSED_PAUSE: Duration = Duration::from_millis(100);
/// The size of a WireGuard handshake initiation, as the receive counter shows it.
pub(crate) const INITIATION_BYTES: u64 = 148;
/// The size of the answer to it.
pub(crate) const RESPONSE_BYTES: u64 = 92;

/// The interface is read this often while something is pending...
pub(crate) const READ_FAST: Duration = Duration::from_millis(200);
/// ...and else this often...
pub(crate) const READ_SLOW: Duration = Duration::from_secs(5);
/// ...or, when for [`READ_SLOWLY_FOR`] there was nothing but keepalives and new keys, this often: half of the wake-ups of a mesh
/// at rest. A keepalive that did not come, or the beginning of traffic on a broken path, is noticed up to seven seconds later.
pub(crate) const READ_RESTING: Duration = Duration::from_secs(12);
/// See [`READ_RESTING`].
pub(crate) const READ_SLOWLY_FOR: Duration = Duration::from_secs(30);
/// With user traffic it is read this often, as a path that breaks under it is noticed soon then; and while a lost peer's session is
/// kept ([`SESSION_KEPT`]).
pub(crate) const READ_BUSY: Duration = Duration::from_secs(2);
/// A reading at most this old is good enough to mediate by.
pub(crate) const READ_FRESH: Duration = Duration::from_millis(50);
/// Between two readings passes at least this much for each peer above [`READ_FREELY`]: a reading shows all of them, and where
/// hundreds are being connected at a time, one serves many.
pub(crate) const READ_SPACING_PER_PEER: Duration = Duration::from_micros(20);
/// With up to this many peers the interface is read whenever that tells something.
pub(crate) const READ_FREELY: usize = 64;
/// A reading that was asked for and did not come is asked for again after this.
pub(crate) const READ_LOST: Duration = Duration::from_secs(1);

/// The budget of endpoints fired at: this many per peer place at once, refilled at ten a second. An opener counts for one
/// eighth.
pub(crate) const TARGETS_PER_PEER: u32 = 4;
/// See [`TARGETS_PER_PEER`].
pub(crate) const TARGETS_PER_SECOND: u32 = 10;
/// Peers that may be tried at one public address and port: two share it while one's record is stale, more is a lie.
pub(crate) const PEERS_PER_TARGET: usize = 2;

/// Packets taken from one peer at once, and per second: a reconciliation of a large mesh is a burst, a flood is
/// dropped before it is decrypted.
pub(crate) const PACKETS_BURST: u16 = 256;

/// Why a peer is not connected is told once that has stood for this long.
pub(crate) const WAITING_GRACE: Duration = Duration::from_secs(5);

/// What is made of wake-ups that come late: every step of a handshake takes so much longer, here and, as far as is known,
/// on the other side. There are three of them, until the initiator hears something.
pub(crate) const LATE_STEPS: u32 = 3;
/// However late, an attempt is not given more than this for each step.
pub(crate) const LATEST: Duration = Duration::from_millis(500);

/// A wake-up that comes so much later than it was asked for means that the machine slept.
pub(crate) const OVERSLEPT: Duration = Duration::from_secs(15);

/// Dropped packets are reported at most this often.
pub(crate) const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// A peer that speaks the original's protocol is left alone for this long: each packet of ours would stall it for ten
/// seconds.
pub(crate) const ORIGINAL_PAUSE: Duration = Duration::from_secs(600);

/// Places where beacons are sent and heard: an IPv4 and an IPv6 address of each of four interfaces. Further ones are not
/// looked at. 28 B per mesh each.
pub const MAX_LAN_LINKS: usize = 8;

/// Places on the LAN at which a peer was heard and is not connected yet. Once it is connected there, its place is free again:
/// a LAN may have any number of peers. When full, the one heard longest ago makes room, barred ones last; where all of
/// them are, the new one is dropped and heard again with its next beacon. 88 B per mesh each.
pub const MAX_LAN_SIGHTINGS: usize = 16;

/// Proofs that wait to be sent. When full, a challenge is dropped; it comes again. 28 B per mesh each.
pub const MAX_LAN_PROOFS: usize = 8;

/// The size of a beacon and of a challenge, in bytes; what is shorter is dropped. As much as a proof takes on its way in
/// WireGuard's packet over IPv6, so that nothing makes us send more than was received.
pub const LAN_DATAGRAM: usize = 160;

/// Beacons at start and after a change of the links are sent so long after it: three, against loss and a peer that starts at
/// the same moment...
pub(crate) const LAN_SERIES: [Duration; 3] =
    [Duration::from_ticks(0), Duration::from_millis(250), Duration::from_millis(1000)];
/// ...and then one in this time, 20 % either way.
pub(crate) const LAN_STEADY: Duration = Duration::from_secs(60);
/// A place from which no beacon came for so long is forgotten: two may be lost.
pub(crate) const LAN_LIFETIME: Duration = Duration::from_secs(190);

/// What a source may send before it is dropped undeciphered, in each second: 3 beacons and challenges of two meshes, and
/// some more. Sources share this many counters, 1 B per mesh each.
pub(crate) const LAN_SOURCES: usize = 16;
/// See [`LAN_SOURCES`].
pub(crate) const LAN_PACKETS_PER_SECOND: u8 = 16;
/// Challenges and answered beacons in a second, whatever makes us send them.
pub(crate) const LAN_CHALLENGES_PER_SECOND: u8 = 8;
/// A peer that does not answer a challenge gets the next one with its next beacon after this, doubled each time...
pub(crate) const LAN_CHALLENGE_AGAIN: Duration = Duration::from_millis(200);
/// ...so many times: to 51 s.
pub(crate) const LAN_CHALLENGE_DOUBLINGS: u8 = 8;

/// A Hello must be echoed within this time after a session was moved to the LAN, or it is moved back.
pub(crate) const LAN_TRIAL: Duration = Duration::from_secs(1);
/// A place on the LAN where that failed is not tried again for this long.
pub(crate) const LAN_BAR: Duration = Duration::from_secs(600);
/// So many handshakes without an answer, one after the other, and other candidates come first...
pub(crate) const LAN_FIRES: u8 = 2;
/// ...for this long, doubled each time it happens again, up to [`LAN_BAR`].
pub(crate) const LAN_REST: Duration = Duration::from_secs(20);
