//! Reserves: what a slice has for itself of the descriptors, against a plain account.

use std::collections::BTreeMap;

use fastpath::exit::DropReason;
use fastpath::id::{QueueId, SliceId};
use fastpath::queue::{BoxedWdrr, ConfigError, Quantum, QueueConfig, TailDrop, WdrrScheduler};
use fastpath::time::Nanos;
use proptest::prelude::*;

use crate::ledger::Ledger;

const NOW: Nanos = Nanos::ZERO;
const QUEUES: usize = 5;
const PACKETS: u32 = 24;
const ACCOUNTS: usize = 3;

fn scheduler(accounts: usize) -> BoxedWdrr<u32> {
    let quantum = Quantum { unit: 100, longest: 1500 };
    BoxedWdrr::boxed(QUEUES, PACKETS as usize, accounts, TailDrop, quantum).unwrap()
}

/// Who has what, counted anew each time.
#[derive(Clone, Debug, Default)]
struct Account {
    owners: [Option<u16>; QUEUES],
    waiting: [u32; QUEUES],
    least: BTreeMap<u16, u32>,
}

impl Account {
    fn used(&self, slice: u16) -> u32 {
        let queues = self.owners.iter().zip(self.waiting).filter(|(owner, _)| **owner == Some(slice));
        queues.map(|(_, waiting)| waiting).sum()
    }

    fn least(&self, slice: u16) -> u32 {
        self.least.get(&slice).copied().unwrap_or(0)
    }

    /// Whether a slice has an account: a reserve, or a queue.
    fn known(&self, slice: u16) -> bool {
        self.least(slice) > 0 || self.owners.contains(&Some(slice))
    }

    fn full(&self) -> bool {
        (0..8).filter(|slice| self.known(*slice)).count() == ACCOUNTS
    }

    fn free(&self) -> u32 {
        PACKETS - self.waiting.iter().sum::<u32>()
    }

    fn takes(&self, queue: usize) -> Result<(), DropReason> {
        let Some(slice) = self.owners[queue] else { return Err(DropReason::UnknownQueue) };
        let kept: u32 = (0..8).map(|slice| self.least(slice).saturating_sub(self.used(slice))).sum();
        let room = if self.used(slice) < self.least(slice) { self.free() > 0 } else { self.free() > kept };
        if room { Ok(()) } else { Err(DropReason::NoBuffer) }
    }

    fn reserve(&mut self, slice: u16, least: u32) -> Result<(), ConfigError> {
        let others: u32 =
            self.least.iter().filter(|(other, _)| **other != slice).map(|(_, least)| least).sum();
        if others + least > PACKETS {
            return Err(ConfigError::Reserve { asked: least, left: PACKETS - others });
        }
        if !self.known(slice) && self.full() {
            return Err(ConfigError::Slices(ACCOUNTS));
        }
        self.least.insert(slice, least);
        Ok(())
    }

    fn configure(&mut self, queue: usize, slice: u16) -> Result<(), ConfigError> {
        match self.owners[queue] {
            Some(owner) if owner == slice => return Ok(()),
            Some(owner) if self.waiting[queue] > 0 => return Err(ConfigError::Owner(SliceId(owner))),
            _ => {}
        }
        if !self.known(slice) && self.full() {
            return Err(ConfigError::Slices(ACCOUNTS));
        }
        self.owners[queue] = Some(slice);
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Reserve(u16, u32),
    Configure(usize, u16),
    Enqueue(usize),
    Dequeue,
    Flush(usize),
    Remove(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let queue = 0..QUEUES;
    prop_oneof![
        2 => (0..5u16, 0..PACKETS + 3).prop_map(|(slice, least)| Op::Reserve(slice, least)),
        3 => (queue.clone(), 0..5u16).prop_map(|(queue, slice)| Op::Configure(queue, slice)),
        14 => queue.clone().prop_map(Op::Enqueue),
        7 => Just(Op::Dequeue),
        1 => queue.clone().prop_map(Op::Flush),
        1 => queue.prop_map(Op::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn reserves_are_those_of_a_plain_account(history in prop::collection::vec(op(), 1..400)) {
        let (mut account, mut ledger) = (Account::default(), Ledger::new(scheduler(ACCOUNTS), QUEUES, 0));
        for op in history {
            match op {
                Op::Reserve(slice, least) => {
                    prop_assert_eq!(ledger.scheduler.reserve(SliceId(slice), least), account.reserve(slice, least));
                }
                Op::Configure(queue, slice) => {
                    let anew = account.owners[queue] != Some(slice);
                    let expected = account.configure(queue, slice);
                    let config = QueueConfig::new(SliceId(slice));
                    prop_assert_eq!(ledger.scheduler.configure(QueueId(queue as u32), config), expected);
                    if expected.is_ok() && anew {
                        ledger.removed(queue);
                    }
                }
                Op::Enqueue(queue) => {
                    let taken = ledger.offer(NOW, queue, 700).map(drop);
                    prop_assert_eq!(taken, account.takes(queue));
                    account.waiting[queue] += u32::from(taken.is_ok());
                }
                Op::Dequeue => {
                    if let Some(departure) = ledger.take(NOW) {
                        let queue = departure.queue.0 as usize;
                        prop_assert_eq!(Some(departure.owner.0), account.owners[queue]);
                        account.waiting[queue] -= 1;
                    }
                }
                Op::Flush(queue) => {
                    let flushed = ledger.flush(queue).is_some();
                    account.waiting[queue] -= u32::from(flushed);
                }
                Op::Remove(queue) => {
                    let removed = ledger.scheduler.remove(QueueId(queue as u32));
                    let may = account.owners[queue].is_some() && account.waiting[queue] == 0;
                    prop_assert_eq!(removed.is_ok(), may);
                    if may {
                        account.owners[queue] = None;
                        ledger.removed(queue);
                    }
                }
            }
        }
    }
}

/// Queue n of slice n.
fn slices(count: u16) -> Ledger<BoxedWdrr<u32>> {
    let mut ledger = Ledger::new(scheduler(ACCOUNTS), QUEUES, 0);
    for n in 0..count {
        ledger.scheduler.configure(QueueId(n.into()), QueueConfig::new(SliceId(n))).unwrap();
    }
    ledger
}

/// Offers so many packets; how many were taken, the rest for want of memory.
fn offer(ledger: &mut Ledger<BoxedWdrr<u32>>, queue: usize, packets: u32) -> u32 {
    let taken = (0..packets).map(|_| ledger.offer(NOW, queue, 64));
    taken.fold(0, |taken, offered| match offered {
        Ok(_) => taken + 1,
        Err(reason) => {
            assert_eq!(reason, DropReason::NoBuffer);
            taken
        }
    })
}

#[test]
fn what_is_reserved_is_always_had() {
    let mut ledger = slices(3);
    ledger.scheduler.reserve(SliceId(1), 5).unwrap();
    ledger.scheduler.reserve(SliceId(2), 7).unwrap();
    // The first takes all that nobody has reserved, as fast as it is given back.
    for _ in 0..1000 {
        offer(&mut ledger, 0, 100);
        assert!(ledger.pages[0].waiting.len() <= 12);
        let [one, two] = [1, 2].map(|queue| ledger.pages[queue].waiting.len() as u32);
        assert_eq!((offer(&mut ledger, 1, 5 - one), offer(&mut ledger, 2, 7 - two)), (5 - one, 7 - two));
        assert_eq!(offer(&mut ledger, 1, 1) + offer(&mut ledger, 2, 1) + offer(&mut ledger, 0, 1), 0);
        assert!((0..7).all(|_| ledger.take(NOW).is_some()));
    }
}

#[test]
fn a_reserve_that_grows_holds_as_the_packets_of_others_leave() {
    let mut ledger = slices(2);
    assert_eq!(offer(&mut ledger, 0, 100), PACKETS);
    ledger.scheduler.reserve(SliceId(1), 10).unwrap();
    assert_eq!(offer(&mut ledger, 1, 1), 0, "none is free");
    for left in 1..=10 {
        assert!(ledger.flush(0).is_some());
        assert_eq!(offer(&mut ledger, 0, 1), 0, "it is kept for the other");
        if left % 2 == 0 {
            assert_eq!(offer(&mut ledger, 1, 3), 2);
        }
    }
    assert_eq!(ledger.pages.iter().map(|page| page.waiting.len()).collect::<Vec<_>>()[..2], [14, 10]);
    assert_eq!((offer(&mut ledger, 0, 1), offer(&mut ledger, 1, 1)), (0, 0));
    assert!(ledger.flush(0).is_some());
    assert_eq!((offer(&mut ledger, 1, 1), offer(&mut ledger, 0, 1)), (1, 0), "the rest is for all");
}

#[test]
fn sums_beyond_the_memory_and_slices_beyond_the_accounts_are_refused() {
    let mut ledger = slices(3);
    ledger.scheduler.reserve(SliceId(0), 20).unwrap();
    let refused = ledger.scheduler.reserve(SliceId(1), 5);
    assert_eq!(refused, Err(ConfigError::Reserve { asked: 5, left: 4 }));
    let refused = ledger.scheduler.reserve(SliceId(0), u32::MAX);
    assert_eq!(refused, Err(ConfigError::Reserve { asked: u32::MAX, left: PACKETS }));
    assert_eq!(ledger.scheduler.reserve(SliceId(9), 1), Err(ConfigError::Slices(ACCOUNTS)));
    assert_eq!(offer(&mut ledger, 1, 100), 4, "nothing has changed");
    ledger.scheduler.reserve(SliceId(0), 0).unwrap();
    assert_eq!(offer(&mut ledger, 1, 100), PACKETS - 4);
    assert_eq!(scheduler(0).reserve(SliceId(1), 1), Err(ConfigError::Slices(0)));
}
