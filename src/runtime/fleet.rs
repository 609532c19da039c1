//! Several workers for one node.

use std::format;
use std::io;
use std::vec::Vec;

use crate::code_option::CodeOptionSet;
use crate::io::Buffers;
use crate::node::{FollowError, Follower, Node};
use crate::runtime::clock::Clock;
use crate::runtime::handle::{Handle, Running, Stopped};
use crate::runtime::mesh::Mesh;
use crate::runtime::worker::{Report, Worker};
use crate::runtime::{Settings, rates};
use crate::time::Nanos;

/// A node's workers, each for a thread of its own. The first leads: slices are admitted there.
#[derive(Debug)]
pub struct Fleet<C: CodeOptionSet, B: AsRef<[u8]> + AsMut<[u8]>, M> {
    /// The worker that leads.
    pub first: Worker<Node<C, B>, M>,
    /// The others.
    pub others: Vec<Worker<Follower<C, B>, M>>,
}

/// Why there is no fleet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// The node refused.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// More workers than can share rates.
    #[error("{0} workers are more than can share an interface's rate")]
    TooMany(usize),
    /// A worker could not be made.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<C, B, M> Fleet<C, B, M>
where
    C: CodeOptionSet + Clone + Send + Sync + 'static,
    B: AsRef<[u8]> + AsMut<[u8]> + Send + 'static,
    M: Buffers<B> + Send + 'static,
{
    /// `workers` workers of `node`, all of whose slices are still to come, with the same
    /// options as it has and buffers that `buffers` makes for each. Ports are added to each
    /// worker for itself.
    ///
    /// # Errors
    ///
    /// [`FleetError`]; the node is gone.
    pub fn new(
        mut node: Node<C, B>, options: &C, workers: usize, mut buffers: impl FnMut(usize) -> M,
        settings: Settings,
    ) -> Result<Self, FleetError> {
        let workers = workers.max(1);
        let followers = node.followers(options, workers)?;
        let mut first = Worker::new(node, buffers(0), settings)?;
        let others = (1..).zip(followers).map(|(at, follower)| Worker::new(follower, buffers(at), settings));
        let mut others = others.collect::<io::Result<Vec<_>>>()?;
        if !others.is_empty() {
            let wakers = others.iter().map(|worker| worker.sender().1);
            let wakers: Vec<_> = core::iter::once(first.sender().1).chain(wakers).collect();
            let seats = rates::seats(workers, settings.period).ok_or(FleetError::TooMany(workers))?;
            let mut ends = Mesh::among(&wakers, settings.ring.max(1)).into_iter().zip(seats);
            if let Some((mesh, share)) = ends.next() {
                first.join(mesh, share);
            }
            for (worker, (mesh, share)) in others.iter_mut().zip(ends) {
                worker.join(mesh, share);
            }
        }
        Ok(Self { first, others })
    }

    /// Starts a thread for each worker; all go by copies of one clock.
    ///
    /// # Errors
    ///
    /// Those of starting threads.
    pub fn start(self, clock: impl Clock + Clone + Send + 'static) -> io::Result<RunningFleet<C, B, M>> {
        let first = self.first.spawn("worker 0".into(), clock.clone())?;
        let others =
            (1..).zip(self.others).map(|(at, worker)| worker.spawn(format!("worker {at}"), clock.clone()));
        Ok(RunningFleet { first, others: others.collect::<io::Result<_>>()? })
    }
}

/// A fleet whose workers run.
#[derive(Debug)]
pub struct RunningFleet<C: CodeOptionSet, B: AsRef<[u8]> + AsMut<[u8]>, M> {
    first: Running<Node<C, B>, M>,
    others: Vec<Running<Follower<C, B>, M>>,
}

impl<C, B, M> RunningFleet<C, B, M>
where
    C: CodeOptionSet + Clone + Send + Sync + 'static,
    B: AsRef<[u8]> + AsMut<[u8]> + Send + 'static,
    M: Buffers<B> + Send + 'static,
{
    /// Asks the worker that leads.
    pub const fn first(&self) -> &Handle<Node<C, B>, M> {
        self.first.handle()
    }

    /// Asks the others, for their ports and reports.
    pub fn others(&self) -> impl Iterator<Item = &Handle<Follower<C, B>, M>> {
        self.others.iter().map(Running::handle)
    }

    /// Stops all workers: none receives any more, each sends what waits, what others still hand
    /// over included, for at most `patience`. Returns the fleet as it stands, and what each
    /// worker did, the first one's first.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if a worker had stopped before, or panicked.
    #[allow(clippy::type_complexity)]
    pub fn stop(self, patience: Nanos) -> Result<(Fleet<C, B, M>, Vec<Report>), Stopped> {
        // All are told, whatever one of them says.
        let told = self.others.iter().map(|other| other.handle().stop(patience));
        let told: Vec<_> = core::iter::once(self.first.handle().stop(patience)).chain(told).collect();
        let (first, report) = self.first.join().ok_or(Stopped)?;
        let (mut others, mut reports) = (Vec::new(), std::vec![report]);
        for other in self.others {
            let (worker, report) = other.join().ok_or(Stopped)?;
            others.push(worker);
            reports.push(report);
        }
        told.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok((Fleet { first, others }, reports))
    }
}
