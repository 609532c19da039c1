//! Schedulers.

use fastpath::conformance::{QueueSet, wdrr_scheduler};
use fastpath::id::QueueId;
use fastpath::queue::policy::{
    Choice, CoDel, CoDelConfig, Counted, PerQueue, Red, RedConfig, RedUnit, TimedCounts,
};
use fastpath::queue::{
    BoxedWdrr, Paced, Priority, Quantum, QueueManager, Rate, Scheduled, TailDrop, TokenBucket,
};
use fastpath::time::Nanos;

#[path = "queue/faulty.rs"]
mod faulty;

use faulty::{Fault, Faulty};

const QUEUES: [QueueId; 4] = [QueueId(0), QueueId(1), QueueId(2), QueueId(3)];
const SET: QueueSet<'_> =
    QueueSet { schedulers: &[&QUEUES], weight: 1, longest: 1500, overhead: 0, room: 40 };

type FourQueues = BoxedWdrr<u32>;

fn wdrr(unit: u32, longest: u32) -> FourQueues {
    BoxedWdrr::boxed(4, 160, 0, TailDrop, Quantum { unit, longest }).unwrap()
}

#[test]
fn wdrr_is_a_scheduler() {
    wdrr_scheduler(|| wdrr(1500, 1500), SET, 4, 1);
    // Quanta far below the longest packet.
    for unit in [1, 7, 100, 400, 1499] {
        wdrr_scheduler(|| wdrr(unit, 1500), SET, 4, u64::from(unit));
    }
    // Finer weights, other sizes.
    wdrr_scheduler(|| wdrr(10, 1500), QueueSet { weight: 150, ..SET }, 2, 2);
    wdrr_scheduler(|| wdrr(9000, 9000), QueueSet { longest: 9000, ..SET }, 2, 3);
    wdrr_scheduler(|| wdrr(1, 1), QueueSet { longest: 1, ..SET }, 2, 4);
    wdrr_scheduler(|| wdrr(1500, 1500), QueueSet { schedulers: &[&QUEUES[..1]], ..SET }, 2, 5);
}

#[test]
fn a_paced_scheduler_is_a_scheduler() {
    for (rate, overhead, burst) in
        [(1_000_000_000, 24, 0), (7_777_777, 0, 3_000_000), (400_000_000_000, 24, 20)]
    {
        let rate = Rate::bits_per_second(rate).unwrap();
        let new = || Paced::new(wdrr(1524, 1524), rate, overhead, Nanos(burst));
        wdrr_scheduler(new, QueueSet { longest: 1524 - overhead, overhead, ..SET }, 2, 1);
    }
}

#[test]
fn a_queue_manager_is_a_scheduler() {
    let queues: Vec<[QueueId; 3]> = (0..4).map(|n| [0, 1, 3].map(|queue| QueueId(n << 2 | queue))).collect();
    let schedulers: Vec<&[QueueId]> = queues.iter().map(|queues| &queues[..]).collect();
    let new = || {
        let schedulers: [_; 4] = std::array::from_fn(|n| {
            let rate = Rate::bits_per_second(1_000_000_000 / (n as u64 + 1)).unwrap();
            Paced::new(wdrr(1524, 1524), rate, 24, Nanos(n as u64 * 1000))
        });
        QueueManager::new(schedulers.map(Scheduled::new), 2)
    };
    let set = QueueSet { schedulers: &schedulers, overhead: 24, ..SET };
    wdrr_scheduler(new, set, 2, 1);
    let new = || {
        let schedulers = [wdrr(1500, 1500), wdrr(3000, 1500), wdrr(1500, 1500), wdrr(1500, 1500)];
        QueueManager::new(schedulers.map(Scheduled::new), 2)
    };
    wdrr_scheduler(new, QueueSet { schedulers: &schedulers, ..SET }, 2, 2);
}

#[test]
fn a_scheduler_with_policies_is_a_scheduler() {
    let (target, interval) = (Nanos::from_micros(50), Nanos::from_micros(500));
    let codel = Choice::CoDel(CoDel::new(CoDelConfig { target, interval, ..CoDelConfig::INTERNET }).unwrap());
    let red = RedConfig { weight: 4, ..RedConfig::recommended(RedUnit::Packets, 5, Nanos::from_micros(12)) };
    let red = Choice::Red(Red::new(red).unwrap());
    for choices in [[codel; 4], [red; 4], [codel, red, Choice::TailDrop, codel]] {
        let new = || {
            let policy = Counted::new(PerQueue::new(choices, 1), [TimedCounts::ZERO; 4]);
            let wdrr = BoxedWdrr::boxed(4, 160, 0, policy, Quantum::of_longest(1524)).unwrap();
            Paced::new(wdrr, Rate::bits_per_second(1_000_000_000).unwrap(), 24, Nanos::ZERO)
        };
        wdrr_scheduler(new, QueueSet { overhead: 24, ..SET }, 2, 1);
    }
}

#[test]
fn a_class_before_another_is_a_scheduler() {
    // Four queues of each class, and one that is not used.
    let queues: [[QueueId; 4]; 2] = [[0, 1, 2, 4], [5, 6, 7, 9]].map(|ids| ids.map(QueueId));
    let schedulers = queues.each_ref().map(|queues| &queues[..]);
    // The kit takes from one class while it offers to the other: room for all of it in each.
    let class = || BoxedWdrr::boxed(5, 320, 0, TailDrop, Quantum { unit: 700, longest: 1524 }).unwrap();
    for (rate, burst) in [(1000, 1524), (300_000_000, 1524), (500_000_000, 20_000), (1_000_000_000_000, 4000)]
    {
        let rate = Rate::bits_per_second(rate).unwrap();
        let new = || {
            let bucket = TokenBucket::new(rate, burst).unwrap();
            Priority::new(class(), 5, class(), bucket, 1524).unwrap()
        };
        let set = QueueSet { schedulers: &schedulers, ..SET };
        wdrr_scheduler(new, set, 2, 1);
        // Time goes on as packets are sent, and one class or the other comes first.
        let link = Rate::bits_per_second(1_000_000_000).unwrap();
        let paced = || Paced::new(new(), link, 24, Nanos::ZERO);
        wdrr_scheduler(paced, QueueSet { overhead: 24, ..set }, 2, 2);
        // Either class alone.
        wdrr_scheduler(new, QueueSet { schedulers: &schedulers[..1], ..SET }, 2, 3);
        wdrr_scheduler(new, QueueSet { schedulers: &schedulers[1..], ..SET }, 2, 4);
    }
}

fn check(fault: Fault) {
    wdrr_scheduler(|| Faulty::new(fault), SET, 2, 1);
}

#[test]
fn the_kit_takes_the_algorithm_of_the_paper() {
    check(Fault::None);
}

macro_rules! caught {
    ($($name:ident: $fault:ident, $expected:literal;)+) => {$(
        #[test]
        #[should_panic(expected = $expected)]
        fn $name() {
            check(Fault::$fault);
        }
    )+};
}

caught! {
    the_kit_catches_plain_round_robin: RoundRobin, "unfair";
    the_kit_catches_weights_that_count_for_nothing: Unweighted, "unfair";
    the_kit_catches_a_stack: Lifo, "not first in, first out";
    the_kit_catches_a_queue_that_saves_credit: SavesCredit, "an idle queue saves no credit: unfair";
    the_kit_catches_a_lost_packet: LosesOne, "was lost";
    the_kit_catches_that_another_packet_is_given_back: SwapsRefused, "gave back another packet";
    the_kit_catches_a_scheduler_that_rests: Waits, "not work conserving";
    the_kit_catches_a_packet_that_stays: ForgetsTheLast, "not work conserving";
    the_kit_catches_a_limit_that_is_not_held: NoLimitInOctets, "took a packet beyond its limits";
    the_kit_catches_that_configuring_empties: ReconfigureEmpties, "backlog of queue";
    the_kit_catches_that_configuring_reverses: ReconfigureReverses, "reconfigured under way: not first in";
    the_kit_catches_a_weight_of_nothing: TakesWeightZero, "weight 0 for queue";
    the_kit_catches_a_refusal_that_takes_effect: RefusedWeightSticks, "refused packet 1 within its limits";
    the_kit_catches_a_wrong_backlog: BacklogStays, "backlog of queue";
    the_kit_catches_wrong_octets: OctetsAreRounded, "octets of a departure";
    the_kit_catches_a_time_that_is_not_kept: SaysDueTooLate, "next_due";
    the_kit_catches_stats_that_forget_the_most: ForgetsTheMost, "stats of queue";
    the_kit_catches_stats_of_octets_that_only_grow: CountsOctetsThatLeft, "stats of queue";
    the_kit_catches_stats_that_count_what_was_flushed_as_sent: CountsFlushed, "flushed: stats of queue";
    the_kit_catches_stats_that_miss_what_was_sent: CountsNoOctetsSent, "stats of queue";
    the_kit_catches_a_removal_with_packets: RemovesPackets, "removed with packets in it";
    the_kit_catches_a_removal_of_nothing: RemovesUnknown, "is not configured, and was removed";
    the_kit_catches_a_removal_that_is_none: RemovesNothing, "removed: ";
    the_kit_catches_a_refused_removal_that_takes_effect: RefusedRemovalEmpties, "backlog of queue";
    the_kit_catches_stats_that_outlive_a_removal: StatsOutliveRemoval, "removed and given to another: stats";
    the_kit_catches_an_owner_that_outlives_a_removal: OwnerOutlivesRemoval, "owner of queue";
    the_kit_catches_a_flush_from_the_end: FlushesTheLast, "flushed: not first in, first out";
    the_kit_catches_a_flush_to_be_sent: FlushSends, "verdict of a flush";
    the_kit_catches_a_flush_that_gives_nothing: FlushGivesUp, "and flush gives none";
    the_kit_catches_a_flush_of_another_queue: FlushesAnother, "takes from another";
    the_kit_catches_a_flush_that_takes_time: FlushTakesTime, "changes next_due";
    the_kit_catches_a_flush_that_others_pay: FlushCostsOthers, "one flushed: unfair";
    the_kit_catches_a_batch_of_others: BatchOfOneQueue, "other packets than dequeue";
    the_kit_catches_a_batch_that_stops_short: BatchStopsShort, "and more are due";
    the_kit_catches_a_batch_that_miscounts: BatchMiscounts, "dequeue_batch gives";
}
