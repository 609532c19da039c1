//! `idle_queues QUEUES UNIT PACKETS`: takes so many packets through one queue of a scheduler
//! that has so many, all configured. The queue must take as many instructions however many stand
//! idle; `idle_queues.sh` counts them. (Numbers of one width: an argument of another length would
//! move the stack.)

use std::hint::black_box;

use fastpath::id::{QueueId, SliceId};
use fastpath::queue::{Arrival, BoxedWdrr, Quantum, QueueConfig, TailDrop, WdrrScheduler};
use fastpath::time::Nanos;

fn main() {
    let arguments: Vec<u32> = std::env::args().skip(1).map(|number| number.parse().unwrap()).collect();
    let &[queues, unit, packets] = &arguments[..] else { panic!("idle_queues QUEUES UNIT PACKETS") };
    let quantum = Quantum { unit, longest: 1500 };
    let mut wdrr = BoxedWdrr::<u32>::boxed(queues as usize, 1 << 14, 0, TailDrop, quantum).unwrap();
    for queue in 0..queues {
        let config = QueueConfig { weight: 1 + queue % 7, ..QueueConfig::new(SliceId(1)) };
        wdrr.configure(QueueId(queue), config).unwrap();
    }
    // Of weight 4 in all cases.
    let sent = one_queue(&mut wdrr, QueueId(3), packets);
    assert_eq!(sent, u64::from(packets));
    println!("{sent}");
}

/// Bursts of 1 to 32 packets of all sizes into a queue and out of it.
#[inline(never)]
fn one_queue(wdrr: &mut BoxedWdrr<u32>, queue: QueueId, packets: u32) -> u64 {
    let (mut came, mut sent) = (0u32, 0);
    while came < packets {
        let burst = (1 + came * 7 % 32).min(packets - came);
        for n in 0..burst {
            let packet = Arrival::new(64 + (came + n) * 389 % 1437);
            wdrr.enqueue(Nanos::ZERO, queue, n, packet).unwrap();
        }
        came += burst;
        while let Some(departure) = black_box(wdrr.dequeue(Nanos::ZERO)) {
            sent += u64::from(departure.queue == queue);
        }
    }
    sent
}
