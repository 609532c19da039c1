use super::*;
use crate::exit::DropReason;
use crate::id::SliceId;
use crate::queue::policy::{CoDelConfig, RedConfig, RedUnit};
use crate::queue::{BoxedWdrr, Quantum, QueueConfig, WdrrScheduler};
use std::vec::Vec;

type Scheduler = BoxedWdrr<u32, PerQueue<[Choice; 2]>>;

fn scheduler(choice: Choice) -> Scheduler {
    let policy = PerQueue::new([choice, Choice::TailDrop], 1);
    let mut wdrr = BoxedWdrr::boxed(3, 200, 0, policy, Quantum::of_longest(1000)).unwrap();
    for queue in 0..3 {
        wdrr.configure(QueueId(queue), QueueConfig::new(SliceId(1))).unwrap();
    }
    wdrr
}

fn codel() -> Choice {
    let config = CoDelConfig { target: Nanos(10_240), interval: Nanos(102_400), ..CoDelConfig::INTERNET };
    Choice::CoDel(CoDel::new(config).unwrap())
}

fn red() -> Choice {
    let config = RedConfig { weight: 2, ..RedConfig::recommended(RedUnit::Packets, 2, Nanos(1000)) };
    Choice::Red(Red::new(config).unwrap())
}

/// Packets refused and packets dropped as they left, of each queue, over a time of overload.
fn overload(wdrr: &mut Scheduler, from: u64) -> [[u32; 2]; 3] {
    let mut lost = [[0; 2]; 3];
    for step in from..from + 3000 {
        let now = Nanos(step * 1024);
        for queue in 0..3 {
            if wdrr.backlog(QueueId(queue)) < 60 {
                let refused = wdrr.enqueue(now, QueueId(queue), 0, Arrival::new(1000)).err();
                assert!(refused.is_none_or(|refused| refused.reason == DropReason::QueuePolicy));
                lost[queue as usize][0] += u32::from(refused.is_some());
            }
        }
        if let Some(departure) = wdrr.dequeue(now) {
            let dropped = departure.verdict == Verdict::Drop(DropReason::QueueDelay);
            lost[departure.queue.0 as usize][1] += u32::from(dropped);
        }
    }
    lost
}

#[test]
fn a_queue_gets_another_policy_under_traffic() {
    let mut wdrr = scheduler(Choice::TailDrop);
    assert_eq!(overload(&mut wdrr, 0), [[0; 2]; 3]);
    wdrr.policy_mut().set(QueueId(0), codel()).unwrap();
    let [[0, dropped], rest @ ..] = overload(&mut wdrr, 3000) else { panic!("CoDel drops at the way out") };
    assert!(dropped > 10 && rest == [[0; 2]; 2], "{dropped}");
    wdrr.policy_mut().set(QueueId(0), Choice::TailDrop).unwrap();
    wdrr.policy_mut().set(QueueId(1), red()).unwrap();
    let [first, [refused, 0], last] = overload(&mut wdrr, 6000) else { panic!("RED drops at the way in") };
    assert!(refused > 10 && [first, last] == [[0; 2]; 2], "{refused}");
    let unknown = ConfigError::UnknownQueue { queue: QueueId(2), queues: 2 };
    assert_eq!(wdrr.policy_mut().set(QueueId(2), red()), Err(unknown));
}

#[test]
fn what_is_dropped_costs_its_queue_no_share() {
    // Queue 0 loses many at the way out, and is sent as much of as the others.
    let mut wdrr = scheduler(codel());
    let lost = overload(&mut wdrr, 0);
    let sent: Vec<_> = (0..3).map(|queue| wdrr.stats(QueueId(queue)).out_packets).collect();
    assert!(lost[0][1] > 20, "{lost:?}");
    assert!(sent.iter().all(|count| count.abs_diff(sent[0]) <= 2), "{sent:?}");
}

#[test]
fn a_new_owner_inherits_parameters_and_no_state() {
    for (choice, average) in [(red(), true), (codel(), false)] {
        let mut wdrr = scheduler(choice);
        overload(&mut wdrr, 0);
        let state = |wdrr: &Scheduler| match wdrr.policy().get(QueueId(0)) {
            Some(Choice::Red(red)) => red.average() > 0,
            Some(Choice::CoDel(codel)) => codel.dropping().is_some(),
            _ => panic!("another policy"),
        };
        assert!(state(&wdrr), "{average}");
        while wdrr.flush(QueueId(0)).is_some() {}
        assert!(!state(&wdrr), "a queue that is emptied at once begins anew");
        overload(&mut wdrr, 3000);
        while wdrr.dequeue(Nanos(6000 << 10)).is_some() {}
        wdrr.configure(QueueId(0), QueueConfig::new(SliceId(2))).unwrap();
        assert!(!state(&wdrr));
    }
}
