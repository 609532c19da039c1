//! Whose turn it is: members with shares, that earn credit round by round.

use crate::queue::fifos::NONE;
use crate::queue::rounds::{Line, Lines, Ring};

/// What a member earns a round, and what it has earned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// Octets a round.
    pub(super) quantum: u32,
    /// Octets that it may send when its turn comes.
    pub(super) deficit: u32,
    /// Where it stands in the lists of the ring.
    place: u32,
}

impl Share {
    /// Earns nothing.
    pub(super) const NEW: Self = Self { quantum: 0, deficit: 0, place: NONE };

    /// Earns rounds until so many octets may be sent, one at least; how many.
    #[inline(always)]
    fn earn(&mut self, octets: u32) -> u32 {
        let earned = self.deficit.wrapping_add(self.quantum);
        if octets <= earned {
            self.deficit = earned;
            return 1;
        }
        let rounds = (octets - self.deficit).div_ceil(self.quantum.max(1));
        // Less than a round and the longest packet: within 32 bits, see `Quantum::rounds`.
        self.deficit = self.deficit.wrapping_add(rounds.wrapping_mul(self.quantum));
        rounds
    }
}

/// A member that stands elsewhere now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    pub(super) member: u32,
    place: u32,
}

impl Moved {
    pub(super) fn put(self, share: &mut Share) {
        share.place = self.place;
    }
}

/// The rounds of some members, each with packets or without.
///
/// A member with packets has its turn, and the credit for its first packet, or waits in the
/// list of the round in which it will have that. One without is in no list, and has no credit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turns {
    pub(super) ring: Ring,
    turn: u32,
}

impl Turns {
    /// Of members that have no packets.
    pub(super) const fn new(ring: Ring) -> Self {
        Self { ring, turn: NONE }
    }

    /// Gives up to `most` of whose turn it is, and of who comes next, to `each`, in order, and
    /// starts fetching the list of those who come then: for hints.
    #[inline(always)]
    pub(super) fn upcoming(&self, lines: &[Line], most: usize, mut each: impl FnMut(u32)) {
        let mut rest = most;
        if self.turn != NONE {
            each(self.turn);
            rest = rest.saturating_sub(1);
        }
        let mut upcoming = self.ring.upcoming(lines);
        upcoming.by_ref().take(rest).for_each(each);
        upcoming.fetch_block();
    }

    /// Whose turn it is.
    #[inline(always)]
    pub(super) fn turn(&mut self, lines: &mut Lines<'_>) -> Option<u32> {
        if self.turn == NONE {
            self.turn = self.ring.pop(lines)?;
        }
        Some(self.turn)
    }

    /// A member has got its first packet.
    #[inline(always)]
    pub(super) fn begin(&mut self, lines: &mut Lines<'_>, member: u32, share: &mut Share, first: u32) {
        let ahead = share.earn(first);
        share.place = self.ring.put(lines, ahead, member);
    }

    /// The member whose turn it is has sent something: `first` is its first packet now, if it
    /// has one. It goes on if it has the credit; whether it does.
    #[inline(always)]
    pub(super) fn go_on(
        &mut self, lines: &mut Lines<'_>, member: u32, share: &mut Share, first: Option<u32>,
    ) -> bool {
        match first {
            None => share.deficit = 0,
            Some(first) if share.deficit < first => self.begin(lines, member, share, first),
            Some(_) => return true,
        }
        self.turn = NONE;
        false
    }

    /// A member that had packets has another quantum than `before`, or another packet first, or
    /// none. What it has earned so far it keeps, up to a round's worth beside the longest
    /// packet, and from here on it earns anew.
    pub(super) fn change(
        &mut self, lines: &mut Lines<'_>, member: u32, share: &mut Share, first: Option<u32>, before: u32,
        longest: u32,
    ) -> Option<Moved> {
        if self.turn == member {
            share.deficit = share.deficit.min(share.quantum.saturating_add(longest));
            self.go_on(lines, member, share, first);
            return None;
        }
        let place = share.place;
        if let Some(first) = first {
            if share.quantum == before && share.deficit >= first {
                return None;
            }
            // In the list of the round that is served it has earned that round already.
            let ahead = self.ring.ahead(lines, place);
            share.deficit = share.deficit.saturating_sub(ahead.max(1).wrapping_mul(before));
            if ahead == 0 {
                share.deficit = share.deficit.saturating_add(share.quantum);
                if share.deficit >= first {
                    return None;
                }
            }
        }
        // Whoever takes its place is told of that before anybody else moves.
        let moved = self.ring.remove(lines, place).map(|member| Moved { member, place });
        match first {
            None => share.deficit = 0,
            Some(first) => self.begin(lines, member, share, first),
        }
        moved
    }
}
