//! As many queues and packets as a large node has, once.

use fastpath::exit::DropReason;
use fastpath::id::QueueId;
use fastpath::queue::{Arrival, WdrrScheduler};
use fastpath::time::Nanos;

use crate::ledger::{config, wdrr};

const QUEUES: u32 = 1 << 20;
const PACKETS: u32 = 10_000_000;

/// 1,048,576 queues of mixed weights and 10 million packets, the tenth of them longer than most
/// quanta: all leave, in order.
#[test]
fn a_million_queues_and_ten_million_packets() {
    let mut wdrr = wdrr(QUEUES as usize, PACKETS as usize, 100, 1500);
    for queue in 0..QUEUES {
        wdrr.configure(QueueId(queue), config(0, 1 + queue % 97)).unwrap();
    }
    let octets = |handle: u32| if handle / QUEUES == 4 { 1500 } else { 64 };
    for handle in 0..PACKETS {
        wdrr.enqueue(Nanos::ZERO, QueueId(handle % QUEUES), handle, Arrival::new(octets(handle))).unwrap();
    }
    let refused = wdrr.enqueue(Nanos::ZERO, QueueId(7), 7, Arrival::new(64)).unwrap_err();
    assert_eq!((refused.reason, wdrr.waiting()), (DropReason::NoBuffer, PACKETS.into()));
    let mut sent = vec![0u8; QUEUES as usize];
    let mut places = [None; 64];
    let mut count = 0;
    loop {
        let left = wdrr.dequeue_batch(Nanos::ZERO, &mut places);
        for departure in places[..left].iter().flatten() {
            let sent = &mut sent[departure.queue.0 as usize];
            let handle = u32::from(*sent) * QUEUES + departure.queue.0;
            assert_eq!((departure.handle, departure.octets), (handle, octets(handle)));
            *sent += 1;
        }
        count += left;
        if left < places.len() {
            break;
        }
    }
    assert_eq!((count, wdrr.waiting(), wdrr.next_due(Nanos::ZERO)), (PACKETS as usize, 0, None));
    assert!((0..QUEUES).all(|queue| wdrr.backlog(QueueId(queue)) == 0));
}
