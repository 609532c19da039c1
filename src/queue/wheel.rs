//! A timing wheel: who is due, and when somebody will be, exact to the nanosecond.
//!
//! G. Varghese, T. Lauck, "Hashed and Hierarchical Timing Wheels: Data Structures for the
//! Efficient Implementation of a Timer Facility", SOSP 1987, scheme 7: eleven levels of 64
//! slots. A time is in the level of the highest six bits in which it differs from the wheel's,
//! and goes down as these become the same; each slot knows its earliest time, so that the next
//! is found without a search.

const NONE: u32 = u32::MAX;
const LEVELS: usize = 11;
const SLOTS: usize = 64;
/// Bits of a time that a level tells apart.
const DIGIT: u32 = 6;

/// The list that a member is in: none, that of those who are ready, or a slot.
const IDLE: u16 = u16::MAX;
const READY: u16 = u16::MAX - 1;

/// When a member is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    due: u64,
    next: u32,
    before: u32,
    list: u16,
}

impl Timer {
    /// Not due.
    pub(super) const NEW: Self = Self { due: 0, next: NONE, before: NONE, list: IDLE };

    pub(super) const fn is_idle(&self) -> bool {
        self.list == IDLE
    }

    pub(super) const fn is_ready(&self) -> bool {
        self.list == READY
    }

    /// When it is due, if it waits for that.
    pub(super) const fn due(&self) -> u64 {
        self.due
    }
}

/// What has a timer.
pub(super) trait Timed {
    fn timer(&self) -> &Timer;
    fn timer_mut(&mut self) -> &mut Timer;
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

impl List {
    const EMPTY: Self = Self { first: NONE, last: NONE };

    #[inline(always)]
    fn push<T: Timed>(&mut self, timers: &mut [T], member: u32, list: u16) {
        let before = core::mem::replace(&mut self.last, member);
        match timers.get_mut(before as usize) {
            Some(last) => last.timer_mut().next = member,
            None => self.first = member,
        }
        if let Some(member) = timers.get_mut(member as usize) {
            let timer = member.timer_mut();
            (timer.next, timer.before, timer.list) = (NONE, before, list);
        }
    }

    #[inline(always)]
    fn unlink<T: Timed>(&mut self, timers: &mut [T], member: u32) {
        let Some(timer) = timers.get_mut(member as usize).map(Timed::timer_mut) else { return };
        let (before, next) = (timer.before, timer.next);
        timer.list = IDLE;
        match timers.get_mut(before as usize) {
            Some(before) => before.timer_mut().next = next,
            None => self.first = next,
        }
        match timers.get_mut(next as usize) {
            Some(next) => next.timer_mut().before = before,
            None => self.last = before,
        }
    }
}

/// Timers by number; and those that are due, in order.
#[derive(Clone, Debug)]
pub(super) struct Wheel {
    /// No time in a slot is earlier.
    now: u64,
    ready: List,
    /// A bit for each level with times, and in each level for each slot.
    some: u16,
    occupied: [u64; LEVELS],
    slots: [[Slot; SLOTS]; LEVELS],
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    list: List,
    earliest: u64,
}

impl Wheel {
    /// Nobody is due.
    pub(super) const fn new() -> Self {
        let slot = Slot { list: List::EMPTY, earliest: u64::MAX };
        Self { now: 0, ready: List::EMPTY, some: 0, occupied: [0; LEVELS], slots: [[slot; SLOTS]; LEVELS] }
    }

    /// Who is idle is due at `due`.
    #[inline(always)]
    pub(super) fn wait<T: Timed>(&mut self, timers: &mut [T], member: u32, due: u64) {
        let due = due.max(self.now);
        if let Some(member) = timers.get_mut(member as usize) {
            member.timer_mut().due = due;
        }
        let differs = (due ^ self.now) | 1;
        let level = ((63 - differs.leading_zeros()) / DIGIT) as usize;
        let digit = (due >> (DIGIT * level as u32)) as usize % SLOTS;
        let Some(slot) = self.slots.get_mut(level).and_then(|slots| slots.get_mut(digit)) else { return };
        slot.list.push(timers, member, (level * SLOTS + digit) as u16);
        slot.earliest = slot.earliest.min(due);
        if let Some(occupied) = self.occupied.get_mut(level) {
            *occupied |= 1 << digit;
        }
        self.some |= 1 << level;
    }

    /// Who is idle is due now, after those who are already.
    #[inline(always)]
    pub(super) fn make_ready<T: Timed>(&mut self, timers: &mut [T], member: u32) {
        self.ready.push(timers, member, READY);
    }

    /// Whoever it is, is idle then.
    pub(super) fn cancel<T: Timed>(&mut self, timers: &mut [T], member: u32) {
        let Some(Timer { list, .. }) = timers.get(member as usize).map(|member| *member.timer()) else {
            return;
        };
        match list {
            IDLE => {}
            READY => self.ready.unlink(timers, member),
            list => {
                let (level, digit) = (usize::from(list) / SLOTS, usize::from(list) % SLOTS);
                let Some(slot) = self.slots.get_mut(level).and_then(|slots| slots.get_mut(digit)) else {
                    return;
                };
                slot.list.unlink(timers, member);
                slot.earliest = u64::MAX;
                let mut at = slot.list.first;
                while let Some(timer) = timers.get(at as usize).map(Timed::timer) {
                    slot.earliest = slot.earliest.min(timer.due);
                    at = timer.next;
                }
                if slot.list.first == NONE {
                    self.clear(level, digit);
                }
            }
        }
    }

    /// The first of those who are due at `now`.
    ///
    /// Cost: whoever becomes due is looked at once for each level that its time goes down.
    #[inline(always)]
    pub(super) fn first<T: Timed>(&mut self, timers: &mut [T], now: u64) -> Option<u32> {
        if self.some != 0 {
            self.advance(timers, now);
        }
        (self.ready.first != NONE).then_some(self.ready.first)
    }

    /// The first of those who are due comes last.
    #[inline(always)]
    pub(super) fn rotate<T: Timed>(&mut self, timers: &mut [T]) {
        let first = self.ready.first;
        if first != self.ready.last {
            self.ready.unlink(timers, first);
            self.ready.push(timers, first, READY);
        }
    }

    /// When somebody is due: 0 if somebody is.
    #[inline(always)]
    pub(super) fn next(&self) -> Option<u64> {
        if self.ready.first != NONE {
            return Some(0);
        }
        let (level, digit) = self.earliest()?;
        Some(self.slots.get(level)?.get(digit)?.earliest)
    }

    /// The slot of the earliest time: the first of the lowest level that has one.
    #[inline(always)]
    fn earliest(&self) -> Option<(usize, usize)> {
        let level = self.some.trailing_zeros() as usize;
        let digit = self.occupied.get(level)?.trailing_zeros() as usize;
        (digit < SLOTS).then_some((level, digit))
    }

    #[inline(always)]
    fn advance<T: Timed>(&mut self, timers: &mut [T], now: u64) {
        while let Some((level, digit)) = self.earliest()
            && let Some(slot) = self.slots.get_mut(level).and_then(|slots| slots.get_mut(digit))
            && slot.earliest <= now
        {
            let mut at = core::mem::replace(&mut slot.list, List::EMPTY).first;
            slot.earliest = u64::MAX;
            self.clear(level, digit);
            // The time at which the slot begins: no time is earlier.
            let below = DIGIT * level as u32;
            let above = u64::MAX.checked_shl(below + DIGIT).unwrap_or(0);
            self.now = self.now & above | (digit as u64) << below;
            while let Some(timer) = timers.get(at as usize).map(|member| *member.timer()) {
                if timer.due <= now {
                    self.ready.push(timers, at, READY);
                } else {
                    self.wait(timers, at, timer.due);
                }
                at = timer.next;
            }
        }
    }

    #[inline(always)]
    fn clear(&mut self, level: usize, digit: usize) {
        if let Some(occupied) = self.occupied.get_mut(level) {
            *occupied &= !(1 << digit);
            self.some &= !(u16::from(*occupied == 0) << level);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    impl Timed for Timer {
        fn timer(&self) -> &Timer {
            self
        }
        fn timer_mut(&mut self) -> &mut Timer {
            self
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Wait(u32, u64),
        Cancel(u32),
        Advance(u64),
        Take(usize),
    }

    fn span() -> impl Strategy<Value = u64> {
        (0u32..64, any::<u64>()).prop_map(|(bits, any)| any >> bits)
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u32..8, span()).prop_map(|(member, span)| Step::Wait(member, span)),
            1 => (0u32..8).prop_map(Step::Cancel),
            3 => span().prop_map(Step::Advance),
            3 => (0usize..4).prop_map(Step::Take),
        ]
    }

    proptest! {
        #[test]
        fn nobody_is_ready_too_early_or_too_late(steps in prop::collection::vec(step(), 1..200)) {
            let mut timers = [Timer::NEW; 8];
            let (mut wheel, mut now) = (Wheel::new(), 0u64);
            // When each is due, and whether it was seen to be.
            let mut model = [None::<u64>; 8];
            for step in steps {
                match step {
                    Step::Wait(member, span) => {
                        wheel.cancel(&mut timers, member);
                        let due = now.saturating_add(span);
                        wheel.wait(&mut timers, member, due);
                        model[member as usize] = Some(due);
                    }
                    Step::Cancel(member) => {
                        wheel.cancel(&mut timers, member);
                        model[member as usize] = None;
                    }
                    Step::Advance(span) => now = now.saturating_add(span),
                    Step::Take(count) => {
                        for _ in 0..count {
                            let first = wheel.first(&mut timers, now);
                            let due: Vec<u32> =
                                (0..8).filter(|at| model[*at as usize].is_some_and(|due| due <= now)).collect();
                            prop_assert_eq!(first.is_some(), !due.is_empty());
                            let Some(first) = first else { break };
                            prop_assert!(due.contains(&first) && timers[first as usize].is_ready());
                            wheel.cancel(&mut timers, first);
                            model[first as usize] = None;
                        }
                    }
                }
                let next = model.iter().flatten().min();
                let said = wheel.next().map(|due| due.max(now));
                prop_assert_eq!(said, next.map(|due| (*due).max(now)));
                for (timer, due) in timers.iter().zip(model) {
                    prop_assert_eq!(timer.is_idle(), due.is_none());
                }
            }
        }
    }

    #[test]
    fn who_is_ready_takes_turns() {
        let mut timers = [Timer::NEW; 3];
        let mut wheel = Wheel::new();
        wheel.wait(&mut timers, 2, 70);
        (0..2).for_each(|member| wheel.make_ready(&mut timers, member));
        let mut order = Vec::new();
        for now in [0, 0, 69, 70, 70, 70] {
            order.extend(wheel.first(&mut timers, now));
            wheel.rotate(&mut timers);
        }
        assert_eq!(order, [0, 1, 0, 1, 0, 2]);
    }
}
