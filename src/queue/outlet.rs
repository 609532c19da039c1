//! Where packets go that leave a scheduler.

use core::slice::IterMut;

use crate::queue::Departure;

/// Takes packets, as many as it has room for.
pub(super) trait Outlet<H> {
    fn is_full(&self) -> bool;

    fn give(&mut self, departure: Departure<H>);
}

/// Has `turn` give packets to an outlet, which has room whenever it is asked, until there is none or
/// no more packet; how many turns that were.
#[inline(always)]
pub(super) fn turns<H, O: Outlet<H>>(outlet: &mut O, mut turn: impl FnMut(&mut O) -> Option<()>) -> usize {
    let mut turns = 0;
    while !outlet.is_full() && turn(outlet).is_some() {
        turns += 1;
    }
    turns
}

/// The places of a batch.
impl<H> Outlet<H> for IterMut<'_, Option<Departure<H>>> {
    #[inline(always)]
    fn is_full(&self) -> bool {
        self.len() == 0
    }

    #[inline(always)]
    fn give(&mut self, departure: Departure<H>) {
        if let Some(place) = self.next() {
            *place = Some(departure);
        }
    }
}

/// Gives up to `left` packets to a function.
pub(super) struct UpTo<F> {
    pub(super) left: usize,
    pub(super) each: F,
}

impl<H, F: FnMut(Departure<H>)> Outlet<H> for UpTo<F> {
    #[inline(always)]
    fn is_full(&self) -> bool {
        self.left == 0
    }

    #[inline(always)]
    fn give(&mut self, departure: Departure<H>) {
        self.left -= 1;
        (self.each)(departure);
    }
}
