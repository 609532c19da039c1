//! What a slice that runs, and each of its links, may send in: set, changed, read.

use super::*;
use crate::queue::meter::MeterError;

impl<C: CodeOptionSet, B: AsRef<[u8]> + AsMut<[u8]>> Node<C, B> {
    /// Holds a slice that runs, or one of its links, to a rate from now on, with full bursts;
    /// `None` lets all of it in. What was counted stays, until there is no policer.
    ///
    /// A packet is metered by its link first, then by its slice.
    ///
    /// # Errors
    ///
    /// [`PoliceError`]; nothing has changed.
    pub fn set_policer(
        &mut self, slice: SliceId, link: Option<u16>, policing: Option<Policing>,
    ) -> Result<(), PoliceError> {
        match link {
            Some(link) => drop(self.link(slice, link)?),
            None => drop(self.running(slice)?),
        }
        self.put_policer(slice, link, policing)?;
        if let (Some(link), Some(state)) = (link, self.slice_mut(slice))
            && let Some(Some(link)) = state.links.get_mut(usize::from(link))
        {
            link.police = policing;
        }
        Ok(())
    }

    /// What holds a slice, or one of its links, to its rate, and what that did at all workers.
    pub fn policed(&self, slice: SliceId, link: Option<u16>) -> Option<(Policing, Policed)> {
        let policer = self.slice(slice)?.policers.iter().find(|policer| policer.link == link)?;
        Some((policer.policing, gates::policed(&policer.counts)))
    }

    pub(super) fn check_policing(&self, policing: &Policing) -> Result<(), MeterError> {
        policing.marker(self.workers(), self.limits.longest_frame).map(|_| ())
    }

    /// Workers that forward.
    pub(super) const fn workers(&self) -> usize {
        self.crew.len() + 1
    }

    pub(super) fn put_policer(
        &mut self, slice: SliceId, link: Option<u16>, policing: Option<Policing>,
    ) -> Result<(), MeterError> {
        let (workers, longest) = (self.workers(), self.limits.longest_frame);
        let Some(state) = self.slice_mut(slice) else { return Ok(()) };
        let at = state.policers.iter().position(|policer| policer.link == link);
        let Some(policing) = policing else {
            if let Some(at) = at {
                state.policers.swap_remove(at);
                self.here.gates.set(slice, link, None);
                self.crew.order(|| Change::Police { slice, link, gate: None });
            }
            return Ok(());
        };
        let counts = match at.and_then(|at| state.policers.get(at)) {
            Some(policer) => policer.counts.clone(),
            None => core::iter::repeat_with(GateCounts::default).take(workers).collect(),
        };
        let gates = counts.iter().map(|counts| Gate::new(&policing, workers, longest, counts.clone()));
        let mut gates = gates.collect::<Result<Vec<_>, _>>()?.into_iter();
        let policer = Policer { link, policing, counts };
        match at.and_then(|at| state.policers.get_mut(at)) {
            Some(place) => *place = policer,
            None => state.policers.push(policer),
        }
        self.here.gates.set(slice, link, gates.next());
        self.crew.order_each(|| Some(Change::Police { slice, link, gate: Some(Box::new(gates.next()?)) }));
        Ok(())
    }
}
