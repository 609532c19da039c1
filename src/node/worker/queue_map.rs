//! Which physical queues a slice has: written by who leads, read by its workers and by its
//! manager.

use super::*;

/// The physical queues of a slice by its own numbers. A number stays in use until no worker
/// has packets in the queue.
#[derive(Clone, Debug)]
pub(in crate::node) struct QueueMap {
    queues: Arc<[AtomicU32]>,
    /// Numbers from here on were never given out.
    end: Arc<AtomicU32>,
    /// A counter in the place of a queue's: of what queues have sent that the slice has no more.
    gone: QueueId,
}

const NONE: u32 = u32::MAX;

impl QueueMap {
    /// For up to `most` queues of `slice`.
    pub(super) fn new(most: usize, slice: SliceId, limits: &Limits) -> Self {
        let queues = core::iter::repeat_with(|| AtomicU32::new(NONE)).take(most).collect();
        Self { queues, end: Arc::default(), gone: Self::gone(slice, limits) }
    }

    /// Behind the counters of all queues there is one for each slice.
    fn gone(slice: SliceId, limits: &Limits) -> QueueId {
        QueueId(MAX_INTERFACES as u32 * limits.queues + u32::from(slice.0))
    }

    /// Counters of a node's queues.
    pub(super) fn counters(limits: &Limits) -> usize {
        QueueMap::gone(SliceId(limits.slices), limits).0 as usize + 1
    }

    /// How many numbers there are.
    pub(super) fn most(&self) -> usize {
        self.queues.len()
    }

    pub(super) fn set(&self, number: usize, queue: Option<QueueId>) {
        if let Some(place) = self.queues.get(number) {
            place.store(queue.map_or(NONE, |queue| queue.0), Relaxed);
            self.end.fetch_max(number as u32 + 1, Relaxed);
        }
    }

    pub(in crate::node) fn get(&self, number: usize) -> Option<QueueId> {
        let queue = self.queues.get(number)?.load(Relaxed);
        (queue != NONE).then_some(QueueId(queue))
    }

    /// Those that there are, with their numbers.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u16, QueueId)> {
        let end = self.end.load(Relaxed) as usize;
        (0..=u16::MAX)
            .zip(0..self.queues.len().min(end))
            .filter_map(|(number, at)| Some((number, self.get(at)?)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = QueueId> {
        self.numbered().map(|(_, queue)| queue)
    }

    /// Whatever counts what the slice has sent.
    pub(super) fn sent(&self) -> impl Iterator<Item = QueueId> {
        self.iter().chain([self.gone])
    }

    /// The slice has the queue no more: what it sent stays counted.
    pub(super) fn retire(&self, stats: &mut SharedCounters, queue: QueueId) {
        stats.queues.give(queue.0 as usize, self.gone.0 as usize);
    }
}
