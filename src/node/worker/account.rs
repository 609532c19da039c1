//! Where a slice's packets are: counters of all workers, added up.

use super::*;

/// A slice's packets: received + injected = queued + slow path + dropped before the
/// queues, and queued = sent + dropped behind them + waiting.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Account {
    /// Sent by the slice's manager.
    pub injected: Count,
    /// Put into a queue.
    pub queued: Count,
    /// Left a queue and was sent.
    pub sent: Count,
    /// Dropped, for whatever reason.
    pub dropped: Count,
    /// Handed to the slow path.
    pub slow_path: Count,
    /// In queues now, in packets.
    pub waiting: u64,
}

impl Account {
    /// Packets that links must have brought, if nothing was lost: sent + slow path +
    /// dropped + waiting - injected. To be compared with who counted them.
    pub const fn received(&self) -> u64 {
        let left = self.slow_path.packets.wrapping_add(self.dropped.packets);
        let queued = self.sent.packets.wrapping_add(self.waiting);
        left.wrapping_add(queued).wrapping_sub(self.injected.packets)
    }
}

impl Account {
    /// What one worker counted, of packets that are in the queues as its counters say.
    pub(super) fn read(
        stats: &SharedCounters, slice: SliceId, results: core::ops::Range<u32>, queues: Option<&QueueMap>,
    ) -> Self {
        // Who leaves is read before who came: a worker that goes on counting leaves no less
        // than nothing.
        let queues = queues.into_iter().flat_map(QueueMap::sent);
        let sent = queues.map(|queue| stats.read(Event::Sent(queue))).sum::<Count>();
        let behind = [DropReason::TxFailed, DropReason::QueueDeleted, DropReason::QueueDelay];
        let behind = behind.map(|reason| stats.read(Event::Left(slice, reason.into())).packets);
        let queued = results.filter_map(EgressId::new).map(|id| stats.read(Event::Queued(id)));
        let queued = queued.sum::<Count>();
        let SliceAccount { injected, dropped, slow_path } = SliceAccount::read(stats, slice);
        let gone = sent.packets.wrapping_add(behind.into_iter().sum());
        let waiting = queued.packets.saturating_sub(gone);
        Self { injected, queued, sent, dropped, slow_path, waiting }
    }

    /// [`read`](Self::read) of several workers.
    pub(in crate::node) fn sum(
        stats: &[SharedCounters], slice: SliceId, results: &core::ops::Range<u32>, queues: Option<&QueueMap>,
    ) -> Self {
        stats
            .iter()
            .map(|stats| Self::read(stats, slice, results.clone(), queues))
            .fold(Self::default(), Self::plus)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            injected: self.injected + other.injected,
            queued: self.queued + other.queued,
            sent: self.sent + other.sent,
            dropped: self.dropped + other.dropped,
            slow_path: self.slow_path + other.slow_path,
            waiting: self.waiting.wrapping_add(other.waiting),
        }
    }
}

/// Reads a node's counters from any thread, while all workers count: the operator's view.
/// Reading costs them nothing but the cache lines it takes.
#[derive(Clone, Debug)]
pub struct Monitor {
    pub(super) stats: Box<[SharedCounters]>,
}

impl Monitor {
    /// How many packets of `slice` left by `exit`; those that no slice owns are
    /// [`SliceId::SUBSTRATE`]'s.
    pub fn count(&self, slice: SliceId, exit: Exit) -> Count {
        self.stats.iter().map(|stats| stats.read(Event::Left(slice, exit))).sum()
    }

    /// What left early of `slice`, and what its manager sent.
    pub fn early(&self, slice: SliceId) -> SliceAccount {
        let each = self.stats.iter().map(|stats| SliceAccount::read(stats, slice));
        each.fold(SliceAccount::default(), |sum, more| SliceAccount {
            injected: sum.injected + more.injected,
            dropped: sum.dropped + more.dropped,
            slow_path: sum.slow_path + more.slow_path,
        })
    }
}

impl<C: CodeOptionSet, B: AsRef<[u8]> + AsMut<[u8]>> Node<C, B> {
    /// The account of `slice` over all workers; that of [`SliceId::SUBSTRATE`] holds what no
    /// slice owns. While other workers run, it is as exact as counters are that go on.
    pub fn account(&self, slice: SliceId) -> Account {
        let (results, queues) = self.slice(slice).map_or((0..0, None), |state| {
            (state.first_result..state.first_result + state.results.len() as u32, Some(&state.map))
        });
        let others: Vec<_> = self.crew.stats().cloned().collect();
        self.here.account(slice).plus(Account::sum(&others, slice, &results, queues))
    }

    /// How many packets of `slice` left by `exit`.
    pub fn count(&self, slice: SliceId, exit: Exit) -> Count {
        self.stats().iter().map(|stats| stats.read(Event::Left(slice, exit))).sum()
    }

    /// The slices that are admitted, or withdrawn and not let go yet.
    pub fn slices(&self) -> impl Iterator<Item = SliceId> {
        self.slices.iter().flatten().map(|state| state.admission.slice)
    }

    /// Reads the node's counters from any thread.
    pub fn monitor(&self) -> Monitor {
        Monitor { stats: self.stats() }
    }

    /// The counters of all workers.
    pub(super) fn stats(&self) -> Box<[SharedCounters]> {
        core::iter::once(&self.here.path.stats).chain(self.crew.stats()).cloned().collect()
    }
}
