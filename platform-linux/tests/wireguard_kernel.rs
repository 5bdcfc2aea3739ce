//! The WireGuard adapter against the kernel's WireGuard, in a network namespace of its own.
//!
//! A kernel without the module cannot run this, whatever is installed: then it says so, unless `WGAUTOMESH_TEST_KERNEL` is
//! `required`, as in the emulated machine of `.ci/kernel`. The administrator's part is played by `wireguard-control`, whose
//! writing the adapter does not use.

mod support;

use core::{
    alloc::{GlobalAlloc, Layout},
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
};
use std::alloc::System as SystemAllocator;

use support::{add_address, in_namespaces, index, set_up, try_rtnetlink};
use wgautomesh::wireguard::{ReadError, System, WireGuard as _};
use wgautomesh_core::{ActionError, PeerAction, PeerReading, PublicKey};
use wireguard_control::{Backend, Device, DeviceUpdate, InterfaceName, Key, PeerConfigBuilder, PeerInfo};

/// Counts what is allocated.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: the system's allocator does it all.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as it was asked of us.
        unsafe { SystemAllocator.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: it comes from there.
        unsafe { SystemAllocator.dealloc(pointer, layout) }
    }
}

const INTERFACE: &str = "wgk";
const PRIVATE: [u8; 32] = [0x48; 32];
const A: Key = Key([0xa1; 32]);
const B: Key = Key([0xb2; 32]);
const C: Key = Key([0xc3; 32]);

#[test]
fn changes_what_it_is_told_and_nothing_else() {
    in_namespaces("changes_what_it_is_told_and_nothing_else", &[], inside);
}

fn name() -> InterfaceName {
    INTERFACE.parse().expect("a name")
}

/// `ip link add wgk type wireguard`
fn make() -> Result<(), i32> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_CREATE_EXCL: u16 = 0x600;
    let mut body = vec![0; 16];
    body.extend([8u16.to_ne_bytes(), 3u16.to_ne_bytes()].concat());
    body.extend(b"wgk\0");
    // IFLA_LINKINFO with IFLA_INFO_KIND in it.
    body.extend([20u16.to_ne_bytes(), 18u16.to_ne_bytes(), 14u16.to_ne_bytes(), 1u16.to_ne_bytes()].concat());
    body.extend(b"wireguard\0\0\0");
    try_rtnetlink(RTM_NEWLINK, NLM_F_CREATE_EXCL, &body)
}

fn peer(key: &Key) -> Option<PeerInfo> {
    let device = Device::get(&name(), Backend::Kernel).expect("the interface");
    let mut merged: Option<PeerInfo> = None;
    for peer in device.peers.into_iter().filter(|peer| peer.config.public_key == *key) {
        match &mut merged {
            Some(first) => first.config.allowed_ips.extend(peer.config.allowed_ips),
            None => merged = Some(peer),
        }
    }
    if let Some(peer) = &mut merged {
        peer.config.allowed_ips.sort_by_key(|ip| (ip.address, ip.cidr));
    }
    merged
}

fn administrator(change: impl FnOnce(DeviceUpdate) -> DeviceUpdate) {
    change(DeviceUpdate::new()).apply(&name(), Backend::Kernel).expect("the kernel accepts it");
}

fn mesh_key(key: &Key) -> PublicKey {
    PublicKey::from_bytes(key.0)
}

fn local(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], port))
}

type Peers = Vec<(PeerReading, Vec<(IpAddr, u8)>)>;

/// What the adapter shows, after many readings, is what it shows when it reads for the first time.
fn shows_what_there_is(wireguard: &mut System) {
    let read = |wireguard: &mut System| {
        let snapshot = wireguard.read().expect("it is there");
        let mut peers: Peers = snapshot.peers().map(|(peer, ips)| (peer, ips.collect())).collect();
        for (_, ips) in &mut peers {
            ips.sort();
        }
        (snapshot.interface(), snapshot.fwmark(), peers)
    };
    let first = read(&mut System::new(INTERFACE).expect("sockets"));
    assert_eq!(read(wireguard), first);
    // What is the same as before takes no memory.
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let again = wireguard.read().map(|_| ());
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
    again.expect("it is there");
    assert_eq!(read(wireguard), first);
}

fn inside() {
    set_up(1);
    let mut wireguard = System::new(INTERFACE).expect("sockets");
    assert!(matches!(wireguard.read(), Err(ReadError::Absent)));
    if let Err(errno) = make() {
        let required = std::env::var("WGAUTOMESH_TEST_KERNEL").as_deref() == Ok("required");
        assert!(!required, "this kernel has no WireGuard (error {errno})");
        eprintln!("skipped: this kernel has no WireGuard (error {errno})");
        return;
    }
    assert_eq!(wireguard.read().expect("it is there").interface().public_key, PublicKey::from_bytes([0; 32]));

    let other =
        PeerConfigBuilder::new(&B).add_allowed_ip([10, 200, 0, 0].into(), 16).set_endpoint(local(3, 2222));
    administrator(|update| update.set_private_key(Key(PRIVATE)).set_listen_port(51834).set_fwmark(77));
    // 8 KiB of allowed IPs at a time is what that library sends.
    for chunk in 0..10u32 {
        let some = (chunk * 100..chunk * 100 + 100).fold(PeerConfigBuilder::new(&A), |peer, i| {
            peer.add_allowed_ip(IpAddr::from([10, (i / 256) as u8, (i % 256) as u8, 0]), 24)
        });
        administrator(|update| update.add_peer(some));
    }
    let settings = PeerConfigBuilder::new(&A)
        .set_preshared_key(Key([0x5e; 32]))
        .set_endpoint(local(2, 1111))
        .set_persistent_keepalive_interval(25);
    administrator(|update| update.add_peer(settings).add_peer(other));
    let before = peer(&A).expect("the peer");
    let foreign = peer(&B).expect("the other peer");
    assert_eq!(before.config.allowed_ips.len(), 1_000);

    let snapshot = wireguard.read().expect("it is there");
    let interface = snapshot.interface();
    assert_eq!(interface.public_key.as_bytes(), &Key(PRIVATE).get_public().0);
    assert_eq!((interface.listen_port, interface.index), (51834, index(INTERFACE)));
    let peers: Vec<_> = snapshot.peers().map(|(reading, ips)| (reading, ips.count())).collect();
    assert_eq!(peers.len(), 2, "one peer each, in however many pieces the kernel sends it");
    let (reading, ips) = peers.iter().find(|(reading, _)| reading.key == mesh_key(&A)).expect("the peer");
    assert_eq!((reading.endpoint, reading.keepalive, *ips), (Some(local(2, 1111)), 25, 1_000));

    shows_what_there_is(&mut wireguard);

    wireguard.apply(&mesh_key(&A), &PeerAction::Readd { endpoint: Some(local(9, 9999)) }).expect("done");
    let mut expected = before;
    expected.config.endpoint = Some(local(9, 9999));
    expected.config.persistent_keepalive_interval = Some(0);
    assert_eq!(peer(&A).expect("the peer").config, expected.config);
    wireguard.apply(&mesh_key(&A), &PeerAction::Readd { endpoint: None }).expect("done");
    expected.config.endpoint = None;
    assert_eq!(peer(&A).expect("the peer").config, expected.config);
    assert_eq!(
        wireguard.apply(&mesh_key(&C), &PeerAction::Readd { endpoint: None }),
        Err(ActionError::NoPeer)
    );

    wireguard.apply(&mesh_key(&A), &PeerAction::SetEndpoint(local(4, 4444))).expect("done");
    wireguard.apply(&mesh_key(&A), &PeerAction::SetKeepalive(21)).expect("done");
    expected.config.endpoint = Some(local(4, 4444));
    expected.config.persistent_keepalive_interval = Some(21);
    assert_eq!(peer(&A).expect("the peer").config, expected.config);
    wireguard.apply(&mesh_key(&C), &PeerAction::SetEndpoint(local(4, 4444))).expect("nothing to do");
    wireguard.apply(&mesh_key(&C), &PeerAction::SetKeepalive(25)).expect("nothing to do");
    assert_eq!(peer(&C), None, "a peer that the administrator removed stays away");

    let add = PeerAction::Add { address: [10, 201, 0, 3].into(), endpoint: Some(local(5, 5555)) };
    wireguard.apply(&mesh_key(&C), &add).expect("done");
    let added = peer(&C).expect("the new peer").config;
    assert_eq!((added.endpoint, added.allowed_ips.len()), (Some(local(5, 5555)), 1));
    shows_what_there_is(&mut wireguard);
    wireguard.apply(&mesh_key(&C), &PeerAction::Remove).expect("done");
    shows_what_there_is(&mut wireguard);
    assert_eq!(peer(&C), None);

    let nowhere = SocketAddr::from(([192, 0, 2, 1], 51820));
    let set = |endpoint| PeerAction::SetEndpoint(endpoint);
    assert_eq!(wireguard.apply(&mesh_key(&A), &set(nowhere)), Err(ActionError::Unroutable));
    set_up(index(INTERFACE));
    add_address(index(INTERFACE), [10, 98, 0, 1], 24);
    let within = SocketAddr::from(([10, 98, 0, 2], 51820));
    assert_eq!(wireguard.apply(&mesh_key(&A), &set(within)), Err(ActionError::RoutedIntoMesh));

    assert_eq!(peer(&A).expect("the peer").config, expected.config);
    assert_eq!(peer(&B).expect("the other peer").config, foreign.config);
    let device = Device::get(&name(), Backend::Kernel).expect("the interface");
    assert_eq!((device.fwmark, device.listen_port), (Some(77), Some(51834)));

    device.delete().expect("the interface goes");
    assert!(matches!(wireguard.read(), Err(ReadError::Absent)));
    assert_eq!(wireguard.apply(&mesh_key(&A), &set(local(4, 4444))), Err(ActionError::Failed));
}
