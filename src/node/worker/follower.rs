//! The other workers of a node.

use super::*;
use crate::node::worker::change::Orders;

/// A worker of a [`Node`] that does as the first one did: for another thread.
///
/// It has ports, records, queues and counters of its own, which change as the node's do when
/// [`poll_control`](Forward::poll_control) is called, and shares tables and slice memory.
/// [`Node::followers`] makes it. Dropped, it is missed by nobody: commands wait for it no
/// more, and what its queues held is gone.
#[derive(Debug)]
pub struct Follower<C, B> {
    here: Forwarder<C, B>,
    orders: Orders<B>,
    /// Whether slices were withdrawn that have a seat here still.
    leaving: bool,
}

/// Why no worker was added. Nothing has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// [`Limits::workers`] says how many there may be, and they are made at once.
    #[error("the node is made for {0} workers in all, to be added at once")]
    Workers(u16),
    /// Workers are added before slices.
    #[error("the node has slices already: add workers first")]
    Slices,
}

/// What forwards on one thread: a [`Node`], or a [`Follower`] of it.
pub trait Forward {
    /// Its code options.
    type Options: CodeOptionSet;
    /// Its packets' buffers.
    type Buffer: AsRef<[u8]> + AsMut<[u8]>;

    /// What does the work.
    fn forwarder(&self) -> &Forwarder<Self::Options, Self::Buffer>;

    /// What does the work.
    fn forwarder_mut(&mut self) -> &mut Forwarder<Self::Options, Self::Buffer>;

    /// Takes care of control, up to `budget` changes: to be called between two vectors and
    /// while there are no packets. Returns how many there were.
    fn poll_control(&mut self, now: Nanos, budget: usize) -> usize;

    /// The rate of each interface, if this is who decides.
    fn rates(&self) -> Option<[Option<Rate>; MAX_INTERFACES]> {
        None
    }
}

impl<C: CodeOptionSet, B: AsRef<[u8]> + AsMut<[u8]>> Forward for Node<C, B> {
    type Options = C;
    type Buffer = B;

    #[inline(always)]
    fn forwarder(&self) -> &Forwarder<C, B> {
        &self.here
    }
    #[inline(always)]
    fn forwarder_mut(&mut self) -> &mut Forwarder<C, B> {
        &mut self.here
    }
    fn poll_control(&mut self, now: Nanos, budget: usize) -> usize {
        Node::poll_control(self, now, budget)
    }
    fn rates(&self) -> Option<[Option<Rate>; MAX_INTERFACES]> {
        Some(core::array::from_fn(|at| Some(self.interfaces.get(at)?.as_ref()?.rate)))
    }
}

impl<C: CodeOptionSet, B: AsRef<[u8]> + AsMut<[u8]>> Forward for Follower<C, B> {
    type Options = C;
    type Buffer = B;

    #[inline(always)]
    fn forwarder(&self) -> &Forwarder<C, B> {
        &self.here
    }
    #[inline(always)]
    fn forwarder_mut(&mut self) -> &mut Forwarder<C, B> {
        &mut self.here
    }
    fn poll_control(&mut self, now: Nanos, budget: usize) -> usize {
        self.here.path.table.quiescent();
        let mut done = 0;
        while done < budget
            && let Some(change) = self.orders.next()
        {
            self.leaving |= matches!(change, Change::Withdraw { .. });
            self.here.apply(now, change);
            self.orders.done();
            done += 1;
        }
        self.here.see_off();
        if self.leaving {
            self.here.let_go();
            self.leaving = self.here.seats.0.iter().flatten().any(Seat::is_withdrawn);
        }
        self.here.inject_direct(now, budget);
        done
    }
}

impl<C: CodeOptionSet, B: AsRef<[u8]> + AsMut<[u8]>> Node<C, B> {
    /// The other workers of a node of `workers` in all, for threads of their own, with the
    /// same options as the node. Once, and before slices are admitted.
    ///
    /// From now on no worker's schedulers send before they are told a
    /// [share](Forwarder::set_share) of their interface's rate.
    ///
    /// # Errors
    ///
    /// [`FollowError`]; the node is unchanged.
    pub fn followers(&mut self, options: &C, workers: usize) -> Result<Vec<Follower<C, B>>, FollowError>
    where
        C: Clone + Send + Sync + 'static,
    {
        if self.slices.iter().any(Option::is_some) {
            return Err(FollowError::Slices);
        }
        if self.crew.len() > 0 || workers > usize::from(self.limits.workers) {
            return Err(FollowError::Workers(self.limits.workers));
        }
        let others = (1..workers).map(|number| self.forwarder_at(number, workers, options.clone()));
        let others = others.collect::<Option<Vec<_>>>().ok_or(FollowError::Workers(self.limits.workers))?;
        if !others.is_empty() {
            self.here.workers = workers;
            for (number, interface) in self.interfaces.iter().enumerate() {
                if let Some(class) = interface.as_ref().and_then(|it| it.scheduling.priority()) {
                    self.here.set_workers(number, class, workers);
                }
            }
            (0..self.interfaces.len()).for_each(|at| self.here.hold(InterfaceId(at as u16), true));
            self.spread = Spread::new(options.clone(), workers);
        }
        let follow = |here: Forwarder<C, B>| {
            let orders = self.crew.join(here.path.stats.clone());
            Follower { here, orders, leaving: false }
        };
        Ok(others.into_iter().map(follow).collect())
    }

    fn forwarder_at(&self, number: usize, workers: usize, options: C) -> Option<Forwarder<C, B>> {
        let sram = self.here.path.sram.clone();
        let mut here = Forwarder::new(number, options, self.tcam.reader()?, sram, &self.limits);
        here.workers = workers;
        for (at, interface) in self.interfaces.iter().enumerate() {
            let scheduler = interface.as_ref().map_or_else(|| self.no_scheduler(), |it| self.scheduler(it));
            // The node has the same itself.
            here.schedule(Nanos::ZERO, at, scheduler.ok()?);
            if let Some(class) = interface.as_ref().and_then(|it| it.scheduling.priority()) {
                here.set_workers(at, class, workers);
            }
        }
        Some(here)
    }
}
