//! What other threads ask of a worker that runs.

use std::boxed::Box;
use std::fmt;
use std::io;
use std::string::String;
use std::sync::Arc;
use std::sync::mpsc::{Sender, sync_channel};
use std::thread;

use std::net::SocketAddr;

use crate::code_option::CodeOptionSet;
use crate::id::{InterfaceId, SliceId};
use crate::io::Buffers;
use crate::node::{
    Account, AdmitError, Forward, InterfaceConfig, InterfaceError, LinkError, LinkRequest, Monitor, Node,
    PoliceError, Policing, QueueError, QueueRequest, Remains, ShareRequest, SliceControl, SliceRequest,
};
use crate::queue::Rate;
use crate::runtime::bound::{BoxedPort, PortReport, PortView};
use crate::runtime::clock::Clock;
use crate::runtime::waker::Waker;
use crate::runtime::worker::{PortError, Report, Request, Worker};
use crate::slot::Layer;
use crate::time::Nanos;

/// The worker has stopped, or its thread is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the worker has stopped")]
pub struct Stopped;

/// Asks a worker for something, from any thread, while it runs.
///
/// What is asked is done by the worker between two turns, and woken for; each method waits for
/// the answer.
pub struct Handle<F: Forward, M> {
    requests: Sender<Request<F, M>>,
    waker: Arc<Waker>,
}

impl<F: Forward, M> Clone for Handle<F, M> {
    fn clone(&self) -> Self {
        Self { requests: self.requests.clone(), waker: self.waker.clone() }
    }
}

impl<F: Forward, M> fmt::Debug for Handle<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl<F, M> Handle<F, M>
where
    F: Forward + 'static,
    M: Buffers<F::Buffer> + 'static,
{
    /// Has the worker do anything, with its time, and waits for what that returns.
    ///
    /// # Errors
    ///
    /// [`Stopped`]; it was not done, unless it stopped the worker's thread.
    pub fn ask<T: Send + 'static>(
        &self, what: impl FnOnce(&mut Worker<F, M>, Nanos) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (answer, answered) = sync_channel(1);
        let request = move |worker: &mut Worker<F, M>, now| {
            // Who asked may be gone.
            let _ = answer.send(what(worker, now));
        };
        self.requests.send(Box::new(request)).map_err(|_| Stopped)?;
        self.waker.wake();
        answered.recv().map_err(|_| Stopped)
    }

    /// Has the worker look at its control soon: after commands of slice managers, that need
    /// not wait for its next look.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// [`Worker::add_port`]; a refused port is dropped.
    ///
    /// # Errors
    ///
    /// [`Stopped`]; then [`PortError`].
    pub fn add_port(
        &self, interface: InterfaceId, layer: Layer, port: BoxedPort<F::Buffer>,
    ) -> Result<Result<PortView, PortError>, Stopped>
    where
        F::Buffer: 'static,
    {
        self.ask(move |worker, _| worker.add_port(interface, layer, port))
    }

    /// [`Worker::remove_port`].
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    #[allow(clippy::type_complexity)]
    pub fn remove_port(
        &self, interface: InterfaceId,
    ) -> Result<Option<(BoxedPort<F::Buffer>, PortReport)>, Stopped>
    where
        F::Buffer: 'static,
    {
        self.ask(move |worker, _| worker.remove_port(interface))
    }

    /// [`Worker::report`]: where all packets are, between two turns.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub fn report(&self) -> Result<Report, Stopped> {
        self.ask(|worker, _| worker.report())
    }

    /// Has the worker receive no more, send what waits for at most `patience`, and end.
    ///
    /// # Errors
    ///
    /// [`Stopped`] already.
    pub fn stop(&self, patience: Nanos) -> Result<(), Stopped> {
        self.ask(move |worker, now| worker.stop(now + patience))
    }
}

impl<C, B, M> Handle<Node<C, B>, M>
where
    C: CodeOptionSet + 'static,
    B: AsRef<[u8]> + AsMut<[u8]> + Send + 'static,
    M: Buffers<B> + 'static,
{
    /// [`Node::admit`].
    ///
    /// # Errors
    ///
    /// [`Stopped`]; then [`AdmitError`].
    pub fn admit(&self, request: SliceRequest) -> Result<Result<SliceControl<B>, AdmitError>, Stopped> {
        self.ask(|worker, _| worker.forward_mut().admit(request))
    }

    /// [`Node::withdraw`].
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub fn withdraw(&self, slice: SliceId) -> Result<(), Stopped> {
        self.ask(move |worker, _| worker.forward_mut().withdraw(slice))
    }

    /// [`Node::add_interface`], with a port at this worker for frames of `layer`. Other workers
    /// are given theirs when they have the interface, too: soon after.
    ///
    /// # Errors
    ///
    /// [`Stopped`]; then [`InterfaceError`], the port is dropped.
    pub fn add_interface(
        &self, config: InterfaceConfig, layer: Layer, port: BoxedPort<B>,
    ) -> Result<Result<(InterfaceId, PortView), InterfaceError>, Stopped> {
        self.ask(move |worker, _| {
            let interface = worker.forward_mut().add_interface(config)?;
            // It is new: neither unknown, nor has it a port.
            let bound = worker.add_port(interface, layer, port);
            bound.map(|view| (interface, view)).map_err(|_| InterfaceError::Unknown(interface.0))
        })
    }

    /// [`Node::remove_interface`]; its port is dropped.
    ///
    /// # Errors
    ///
    /// [`Stopped`]; then [`InterfaceError`].
    pub fn remove_interface(
        &self, interface: InterfaceId,
    ) -> Result<Result<InterfaceConfig, InterfaceError>, Stopped> {
        self.ask(move |worker, _| {
            let config = worker.forward_mut().remove_interface(interface)?;
            drop(worker.remove_port(interface));
            Ok(config)
        })
    }

    /// [`Node::set_rate`].
    ///
    /// # Errors
    ///
    /// [`Stopped`]; then [`InterfaceError`].
    pub fn set_rate(
        &self, interface: InterfaceId, rate: Rate,
    ) -> Result<Result<(), InterfaceError>, Stopped> {
        self.ask(move |worker, now| worker.forward_mut().set_rate(now, interface, rate))
    }

    /// [`Node::open_link`].
    ///
    /// # Errors
    ///
    /// [`Stopped`]; then [`LinkError`].
    pub fn open_link(&self, slice: SliceId, link: LinkRequest) -> Result<Result<u16, LinkError>, Stopped> {
        self.ask(move |worker, _| worker.forward_mut().open_link(slice, link))
    }

    /// [`Node::close_link`].
    ///
    /// # Errors
    ///
    /// [`Stopped`]; then [`LinkError`].
    pub fn close_link(&self, slice: SliceId, link: u16) -> Result<Result<LinkRequest, LinkError>, Stopped> {
        self.ask(move |worker, _| worker.forward_mut().close_link(slice, link))
    }

    /// [`Node::set_peer`].
    ///
    /// # Errors
    ///
    /// [`Stopped`]; then [`LinkError`].
    pub fn set_peer(
        &self, slice: SliceId, link: u16, peer: SocketAddr,
    ) -> Result<Result<(), LinkError>, Stopped> {
        self.ask(move |worker, _| worker.forward_mut().set_peer(slice, link, peer))
    }

    /// [`Node::add_queue`].
    ///
    /// # Errors
    ///
    /// [`Stopped`]; then [`QueueError`].
    pub fn add_queue(&self, slice: SliceId, queue: QueueRequest) -> Result<Result<u16, QueueError>, Stopped> {
        self.ask(move |worker, _| worker.forward_mut().add_queue(slice, queue))
    }

    /// [`Node::change_queue`].
    ///
    /// # Errors
    ///
    /// [`Stopped`]; then [`QueueError`].
    pub fn change_queue(
        &self, slice: SliceId, queue: u16, request: QueueRequest,
    ) -> Result<Result<(), QueueError>, Stopped> {
        self.ask(move |worker, _| worker.forward_mut().change_queue(slice, queue, request))
    }

    /// [`Node::remove_queue`].
    ///
    /// # Errors
    ///
    /// [`Stopped`]; then [`QueueError`].
    pub fn remove_queue(
        &self, slice: SliceId, queue: u16, remains: Remains,
    ) -> Result<Result<QueueRequest, QueueError>, Stopped> {
        self.ask(move |worker, _| worker.forward_mut().remove_queue(slice, queue, remains))
    }

    /// [`Node::set_share`].
    ///
    /// # Errors
    ///
    /// [`Stopped`]; then [`QueueError`].
    pub fn set_share(&self, slice: SliceId, share: ShareRequest) -> Result<Result<(), QueueError>, Stopped> {
        self.ask(move |worker, _| worker.forward_mut().set_share(slice, share))
    }

    /// [`Node::set_policer`].
    ///
    /// # Errors
    ///
    /// [`Stopped`]; then [`PoliceError`].
    pub fn set_policer(
        &self, slice: SliceId, link: Option<u16>, policing: Option<Policing>,
    ) -> Result<Result<(), PoliceError>, Stopped> {
        self.ask(move |worker, _| worker.forward_mut().set_policer(slice, link, policing))
    }

    /// [`Node::account`]: over all workers.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub fn account(&self, slice: SliceId) -> Result<Account, Stopped> {
        self.ask(move |worker, _| worker.forward().account(slice))
    }

    /// [`Node::monitor`]: counters to be read from then on without asking.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub fn monitor(&self) -> Result<Monitor, Stopped> {
        self.ask(|worker, _| worker.forward().monitor())
    }
}

/// A worker in a thread of its own.
pub struct Running<F: Forward, M> {
    handle: Handle<F, M>,
    thread: thread::JoinHandle<(Worker<F, M>, Report)>,
}

impl<F: Forward, M> fmt::Debug for Running<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl<F, M> Worker<F, M>
where
    F: Forward,
    M: Buffers<F::Buffer>,
{
    /// Asks this worker for something from other threads; what is asked is done when it takes
    /// its turns.
    pub fn handle(&self) -> Handle<F, M> {
        let (requests, waker) = self.sender();
        Handle { requests, waker }
    }
}

impl<F, M> Worker<F, M>
where
    F: Forward + Send + 'static,
    F::Buffer: Send,
    M: Buffers<F::Buffer> + Send + 'static,
{
    /// [Runs](Self::run) in a thread of its own, which has this name.
    ///
    /// # Errors
    ///
    /// Those of starting a thread; the worker is gone.
    pub fn spawn(
        mut self, name: String, mut clock: impl Clock + Send + 'static,
    ) -> io::Result<Running<F, M>> {
        let handle = self.handle();
        let run = move || {
            let report = self.run(&mut clock);
            (self, report)
        };
        Ok(Running { handle, thread: thread::Builder::new().name(name).spawn(run)? })
    }
}

impl<F: Forward, M> Running<F, M> {
    /// Asks the worker for something.
    pub const fn handle(&self) -> &Handle<F, M> {
        &self.handle
    }

    /// Waits until the worker has stopped; returns it with what it did. `None` if its thread
    /// panicked.
    pub fn join(self) -> Option<(Worker<F, M>, Report)> {
        self.thread.join().ok()
    }
}
