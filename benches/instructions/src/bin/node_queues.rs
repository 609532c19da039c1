//! `node_queues N VECTORS`: takes so many vectors of 32 packets through a `Node` whose queues
//! are of kind number `N`, in and out. The same run every time; `node_queues.sh` counts its
//! instructions.

use fastpath::code_option::ipv4::{Ipv4, Ipv4Key};
use fastpath::node::{
    Action, InterfaceConfig, Levels, Limits, LinkRequest, Node, Policing, Policy, PriorityClass,
    QueueRequest, Scheduling, SliceRequest,
};
use fastpath::prelude::*;
use fastpath::queue::Departure;
use fastpath::queue::policy::{CoDelConfig, RedConfig, RedUnit};

type Buffer = Box<[u8]>;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (kind, vectors) = (arguments.next().unwrap(), arguments.next().unwrap());
    let vectors: usize = vectors.parse().unwrap();
    let mut node: Node<_, Buffer> = Node::new((Ipv4::default(),), Limits::default());
    let config = InterfaceConfig::ip([10, 0, 0, 1].into(), Rate::MAX);
    let config = InterfaceConfig { scheduling: scheduling(&kind), ..config };
    let interface = node.add_interface(config).unwrap();
    let peer = "10.0.0.9:30000".parse().unwrap();
    let policy = policy(&kind);
    let queues = (0..4).map(|_| QueueRequest { policy, ..QueueRequest::new(interface, 1) });
    let police = |kinds: &[&str]| kinds.contains(&&*kind).then(|| Policing::limit(Rate::MAX, 1 << 20));
    let link = LinkRequest { police: police(&["8"]), ..LinkRequest::new(interface, 20_001, peer) };
    let mut control = node
        .admit(SliceRequest {
            links: vec![link],
            police: police(&["7", "8"]),
            queues: queues.collect(),
            ..SliceRequest::new(OptionId(0))
        })
        .unwrap();
    for queue in 0..4 {
        control.set_result(queue.into(), Action::forward(0, queue)).unwrap();
        let (value, mask) = Ipv4Key::route(0x0a01_0000 | u32::from(queue) << 8, 24);
        control.insert(Rank::longest_prefix(32, 24), value, mask, queue.into()).unwrap();
    }
    node.poll_control(Nanos::ZERO, 16);
    let frames: Vec<Vec<u8>> = (0..4).map(frame).collect();
    let mut free: Vec<Buffer> = (0..64).map(|_| vec![0; 256].into()).collect();
    let mut vector = [const { Slot::EMPTY }; 32];
    let mut now = Nanos::ZERO;
    for _ in 0..vectors {
        for (slot, frame) in vector.iter_mut().zip(frames.iter().cycle()) {
            let packet = Packet::with_headroom(free.pop().unwrap(), 128, frame).unwrap();
            *slot = Slot::new(packet, RxMeta::IP);
        }
        assert_eq!(node.process(now, &mut vector), 0);
        now += Nanos::from_micros(1);
        let back = std::cell::RefCell::new(&mut free);
        let send = |departure: Departure<Packet<Buffer>>| {
            back.borrow_mut().push(departure.handle.into_buf());
            Ok(())
        };
        let recycle = |packet: Packet<Buffer>| back.borrow_mut().push(packet.into_buf());
        node.transmit(now, interface, 32, send, recycle);
    }
    let account = node.account(control.slice());
    assert_eq!(account.received(), 32 * vectors as u64);
    println!("{account:?}");
}

fn scheduling(kind: &str) -> Scheduling {
    let rate = Rate::bits_per_second(1_000_000_000).unwrap();
    let priority = Some(PriorityClass { queues: 4, rate, burst: 4096 });
    match kind {
        "1" | "2" | "3" => Scheduling::POLICIES,
        "4" => Scheduling::HIERARCHY,
        "5" => Scheduling::Managed { levels: Levels::Queues, priority },
        "6" => Scheduling::Managed { levels: Levels::Slices, priority },
        _ => Scheduling::Plain,
    }
}

/// Within what none of them drops at.
fn policy(kind: &str) -> Policy {
    match kind {
        "2" => Policy::Red(RedConfig::recommended(RedUnit::Packets, 50, Nanos(1000))),
        "3" => Policy::CoDel(CoDelConfig::INTERNET),
        _ => Policy::TailDrop,
    }
}

/// UDP from 192.168.0.1 to 10.1.N.3 in the tunnel of the link.
fn frame(network: u8) -> Vec<u8> {
    let ip = |inner: usize, from: [u8; 4], to: [u8; 4]| {
        let mut ip = vec![0x45, 0, 0, 28 + inner as u8, 0, 0, 0, 0, 64, 17, 0, 0];
        ip.extend(from.into_iter().chain(to));
        let sum = ip.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        ip
    };
    let udp = |from: u16, to: u16, inner: &[u8]| {
        let mut udp = Vec::new();
        [from, to, 8 + inner.len() as u16, 0].iter().for_each(|word| udp.extend(word.to_be_bytes()));
        udp.extend(inner);
        udp
    };
    let mut inner = ip(12, [192, 168, 0, 1], [10, 1, network, 3]);
    inner.extend(udp(1000, 53, &[7; 12]));
    let mut outer = ip(inner.len(), [10, 0, 0, 9], [10, 0, 0, 1]);
    outer.extend(udp(30_000, 20_001, &inner));
    outer
}
