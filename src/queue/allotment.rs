//! The rates of the schedulers of one external interface: never more, together, than it has.
//!
//! ```
//! use fastpath::queue::{Allotments, Oversubscribed, Rate};
//!
//! let gigabit = Rate::bits_per_second(1_000_000_000)?;
//! let mut interface = Allotments::new(gigabit, [None; 10]);
//! interface.set(0, Some(Rate::bits_per_second(600_000_000)?))?;
//! let more = interface.set(1, Some(Rate::bits_per_second(500_000_000)?));
//! assert_eq!(more, Err(Oversubscribed::Rate { asked: 500_000_000, left: 400_000_000 }));
//! // Nothing has changed; what a scheduler gives up, another may have.
//! interface.set(0, None)?;
//! interface.set(1, Some(Rate::bits_per_second(500_000_000)?))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::queue::Rate;
use crate::store::Store;

/// What schedulers on several cores or boards may send into one interface, each at a rate of
/// its own: the static form of section 4's "the sum of the rates never exceeds that of the
/// interface". Where rates follow the load, see [`exchange`](crate::queue::exchange).
///
/// `A` holds an `Option<Rate>` for each scheduler. Ask it before
/// [`Paced::set_rate`](crate::queue::Paced::set_rate); rates are on the wire, overhead included.
#[derive(Clone, Copy, Debug)]
pub struct Allotments<A> {
    interface: Rate,
    schedulers: A,
}

/// Why a rate was refused. Nothing has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Oversubscribed {
    /// More than the other schedulers leave.
    #[error("{asked} bit/s cannot be allotted: the others leave {left} of the interface's")]
    Rate {
        /// What was asked for, in bits per second.
        asked: u64,
        /// What the others leave.
        left: u64,
    },
    /// The interface would have less than is allotted already.
    #[error("an interface of {asked} bit/s is too slow for the {allotted} that are allotted")]
    Interface {
        /// The interface's rate that was asked for, in bits per second.
        asked: u64,
        /// What is allotted.
        allotted: u64,
    },
    /// There is no such scheduler.
    #[error("scheduler {scheduler} is out of range: the interface has {schedulers}")]
    UnknownScheduler {
        /// The scheduler asked for.
        scheduler: usize,
        /// How many there are.
        schedulers: usize,
    },
}

impl<A: Store<Item = Option<Rate>>> Allotments<A> {
    /// An interface of a rate, of which nothing is allotted.
    pub fn new(interface: Rate, mut schedulers: A) -> Self {
        schedulers.items_mut().fill(None);
        Self { interface, schedulers }
    }

    /// Allots a rate to a scheduler in the place of what it had, or takes it away.
    ///
    /// # Errors
    ///
    /// [`Oversubscribed::Rate`], [`Oversubscribed::UnknownScheduler`].
    pub fn set(&mut self, scheduler: usize, rate: Option<Rate>) -> Result<(), Oversubscribed> {
        let (asked, has) = (rate.map_or(0, Rate::get), self.of(scheduler).map_or(0, Rate::get));
        let left = self.left().saturating_add(has);
        let schedulers = self.schedulers.items().len();
        let unknown = Oversubscribed::UnknownScheduler { scheduler, schedulers };
        let place = self.schedulers.items_mut().get_mut(scheduler).ok_or(unknown)?;
        if asked > left {
            return Err(Oversubscribed::Rate { asked, left });
        }
        *place = rate;
        Ok(())
    }

    /// Changes the interface's own rate.
    ///
    /// # Errors
    ///
    /// [`Oversubscribed::Interface`].
    pub fn set_interface(&mut self, rate: Rate) -> Result<(), Oversubscribed> {
        let (asked, allotted) = (rate.get(), self.allotted());
        if asked < allotted {
            return Err(Oversubscribed::Interface { asked, allotted });
        }
        self.interface = rate;
        Ok(())
    }

    /// What a scheduler may send.
    pub fn of(&self, scheduler: usize) -> Option<Rate> {
        *self.schedulers.items().get(scheduler)?
    }

    /// What is allotted, in bits per second.
    pub fn allotted(&self) -> u64 {
        // Never more than the interface has: no overflow.
        self.schedulers.items().iter().flatten().map(|rate| rate.get()).sum()
    }

    /// What is left to allot, in bits per second.
    pub fn left(&self) -> u64 {
        self.interface.get().saturating_sub(self.allotted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is asked for in whatever order, and the most that is left is always had.
        #[test]
        fn an_interface_is_never_oversubscribed(
            steps in prop::collection::vec((0usize..5, 0u64..5000, any::<bool>()), 1..60),
        ) {
            let rate = |bits: u64| Rate::bits_per_second(bits).ok();
            let mut interface = Allotments::new(rate(5000).unwrap(), [None; 4]);
            let (mut model, mut whole) = ([0u64; 4], 5000);
            for (scheduler, bits, own) in steps {
                if own {
                    let Some(asked) = rate(bits) else { continue };
                    let fits = bits >= model.iter().sum();
                    prop_assert_eq!(interface.set_interface(asked).is_ok(), fits);
                    whole = if fits { bits } else { whole };
                    continue;
                }
                let asked = rate(bits).map_or(0, Rate::get);
                let others: u64 = model.iter().sum::<u64>() - model.get(scheduler).unwrap_or(&0);
                let refused = interface.set(scheduler, rate(bits)).err();
                let expected = match model.get_mut(scheduler) {
                    None => Some(Oversubscribed::UnknownScheduler { scheduler, schedulers: 4 }),
                    Some(_) if asked > whole - others => {
                        Some(Oversubscribed::Rate { asked, left: whole - others })
                    }
                    Some(has) => {
                        *has = asked;
                        None
                    }
                };
                prop_assert_eq!(refused, expected);
                prop_assert_eq!(interface.allotted() + interface.left(), whole);
                prop_assert_eq!(interface.allotted(), model.iter().sum::<u64>());
            }
        }
    }
}
