//! A packet lives in whatever buffer its owner has: the same pipeline takes them all.

use bytes::BytesMut;
use fastpath::prelude::*;
use std::cell::RefCell;
use std::net::SocketAddrV4;
use std::rc::Rc;

const QUANTUM: Quantum = Quantum::of_longest(1500);
const LINES: usize = fastpath::queue::lines(1, QUANTUM);

const INNER: [u8; 20] = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0xae, 0x2c, 192, 168, 0, 1, 10, 1, 2, 3];
const HEADROOM: u32 = 64;

/// What comes out: IPv4 and UDP of the tunnel, and one hop less to live.
const FORWARDED: [u8; 48] = [
    0x45, 0, 0, 48, 0, 0, 0x40, 0, 64, 17, 0x26, 0xb4, 10, 0, 0, 1, 10, 0, 0, 9, // outer IPv4
    0x4e, 0x21, 0x75, 0x30, 0, 28, 0, 0, // UDP
    0x45, 0, 0, 20, 0, 0, 0, 0, 63, 17, 0xaf, 0x2c, 192, 168, 0, 1, 10, 1, 2, 3, // inner IPv4
];

/// Takes a packet in `buf` through a pipeline and gives back what comes out.
fn through_the_pipeline<B: AsRef<[u8]> + AsMut<[u8]>>(buf: B) -> Packet<B> {
    let ours = SocketAddrV4::new([10, 0, 0, 1].into(), 20_001);
    let peer = SocketAddrV4::new([10, 0, 0, 9].into(), 30_000);
    let mut packet = Packet::with_headroom(buf, HEADROOM, &INNER).unwrap();
    let to_us = Egress::forward(&Tunnel::new(LinkLayer::Ip, peer, ours), QueueId(0), 1472).unwrap();
    packet.edit(packet.whole(), |p| to_us.encapsulate(p, &Outgoing::default(), &())).unwrap();

    let mut ports = UdpPorts::new([PortEntry::EMPTY; 8]);
    let admission = Admission { slice: SliceId(1), ..Admission::NONE };
    ports.open(*ours.ip(), ours.port(), PortConfig::new(admission)).unwrap();
    let mut table = LinearTcam::new([None; 1]);
    let (value, mask) = Ipv4Key::route(0x0a00_0000, 8);
    table.insert(Rank(0), Filter::new(SliceId(1), value, mask), EgressId::new(0).unwrap()).unwrap();
    let mut queues =
        Wdrr::new([Queue::NEW; 1], [const { Descriptor::NEW }; 4], [Line::NEW; LINES], QUANTUM).unwrap();
    queues.configure(QueueId(0), QueueConfig::new(SliceId(1))).unwrap();
    let mut fast_path = FastPath {
        decap: ports,
        options: (Ipv4::default(),),
        table,
        egress: [Egress::forward(&Tunnel::new(LinkLayer::Ip, ours, peer), QueueId(0), 1472).unwrap()],
        sram: NoSram,
        stats: Counters {
            egresses: [Count::ZERO; 1],
            queues: [Count::ZERO; 1],
            slices: [Count::ZERO; 2 * ROW],
        },
    };
    let mut vector = [Slot::new(packet, RxMeta::IP)];
    assert_eq!(fast_path.process(Nanos::ZERO, &mut vector, &mut queues, &mut NoSlowPath), 0);
    let packet = queues.dequeue(Nanos::ZERO).unwrap().handle;
    assert_eq!((packet.bytes(), packet.headroom()), (&FORWARDED[..], HEADROOM - 28));
    packet
}

#[test]
fn arrays_and_lent_slices() {
    through_the_pipeline([0u8; 128]);
    through_the_pipeline(vec![0u8; 128].into_boxed_slice());
    through_the_pipeline(vec![0u8; 128]);
    through_the_pipeline(&mut [0u8; 128][..]);
    let mut lent = [0u8; 128];
    through_the_pipeline(&mut lent);
    assert_eq!(lent[HEADROOM as usize - 28], 0x45, "the octets are in the lent buffer");
}

#[test]
fn bytes_mut_without_a_copy() {
    let buf = BytesMut::zeroed(128);
    let at = buf.as_ptr();
    let packet = through_the_pipeline(buf);
    assert_eq!(packet.into_buf().freeze().as_ptr(), at);
}

/// A handle whose buffer goes back to its pool when it is dropped, as an mbuf or a frame
/// of a UMEM does.
#[derive(Debug)]
struct Handle {
    frame: Option<Frame>,
    pool: Rc<RefCell<Vec<Frame>>>,
}

type Frame = Box<[u8]>;

impl AsRef<[u8]> for Handle {
    fn as_ref(&self) -> &[u8] {
        self.frame.as_deref().unwrap_or_default()
    }
}

impl AsMut<[u8]> for Handle {
    fn as_mut(&mut self) -> &mut [u8] {
        self.frame.as_deref_mut().unwrap_or_default()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.pool.borrow_mut().extend(self.frame.take());
    }
}

#[test]
fn a_lost_packet_is_a_freed_buffer() {
    let pool = Rc::new(RefCell::new(vec![vec![0u8; 128].into_boxed_slice()]));
    let handle = || Handle { frame: pool.borrow_mut().pop(), pool: pool.clone() };
    let packet = through_the_pipeline(handle());
    assert!(pool.borrow().is_empty(), "the packet has it");
    drop(packet);
    assert_eq!(pool.borrow().len(), 1);

    // One that waits when its queues go.
    let mut queues =
        Wdrr::new([Queue::NEW; 1], [const { Descriptor::NEW }; 4], [Line::NEW; LINES], QUANTUM).unwrap();
    queues.configure(QueueId(0), QueueConfig { limit_packets: 1, ..QueueConfig::new(SliceId(1)) }).unwrap();
    let packet = Packet::with_headroom(handle(), HEADROOM, &INNER).unwrap();
    queues.enqueue(Nanos::ZERO, QueueId(0), packet, Arrival::new(20)).unwrap();
    assert!(pool.borrow().is_empty(), "the queue has it");
    // One that finds no room there.
    pool.borrow_mut().push(vec![0u8; 128].into_boxed_slice());
    let packet = Packet::with_headroom(handle(), HEADROOM, &INNER).unwrap();
    let refused = queues.enqueue(Nanos::ZERO, QueueId(0), packet, Arrival::new(20));
    assert!(refused.is_err() && pool.borrow().is_empty(), "it was given back, not freed");
    drop(refused);
    assert_eq!(pool.borrow().len(), 1);
    drop(queues);
    assert_eq!(pool.borrow().len(), 2);
}
