//! Queues of a slice that runs: added, changed, removed; and what is promised of them.
//!
//! The node's owner does this; it costs the time of the slice's results and queues.

use super::*;
use crate::queue::ConfigError;
use crate::queue::policy::{Choice, QueueCounts};

/// What becomes of packets that wait in a queue when it is removed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Remains {
    /// They are sent in their turn; the queue is gone when the last is.
    #[default]
    Send,
    /// They are dropped as [`DropReason::QueueDeleted`] whenever their interface is asked to
    /// transmit, as many as it may send then.
    Drop,
}

/// What a slice asks for beyond what it has, at one interface.
struct Asked<'a> {
    queues: &'a [QueueRequest],
    /// Its share, if it had none yet or another one.
    share: Option<u32>,
    /// Of whom, and which of its queues is given up for it.
    slice: Option<SliceId>,
    instead_of: Option<u16>,
}

impl<C: CodeOptionSet, B: AsRef<[u8]> + AsMut<[u8]>> Node<C, B> {
    /// Gives a slice that runs another queue, and returns the slice's own number of it: the
    /// lowest that is free. Results lead there when the slice's manager says so.
    ///
    /// # Errors
    ///
    /// [`QueueError`]; nothing has changed.
    pub fn add_queue(&mut self, slice: SliceId, queue: QueueRequest) -> Result<u16, QueueError> {
        self.reap();
        let state = self.with_queues(slice)?;
        let most = state.map.most();
        let number = state.queues.iter().position(Option::is_none).unwrap_or(state.queues.len());
        if number >= most {
            return Err(QueueError::Numbers(most));
        }
        let had = state.share_at(queue.interface);
        let share = had.is_none().then_some(1).filter(|_| !queue.priority);
        self.check_queue(&queue)?;
        let asked =
            Asked { queues: core::slice::from_ref(&queue), share, slice: Some(slice), instead_of: None };
        self.check_promises(queue.interface, &asked)?;
        let mut next = alloc::vec![0; 2 * self.interfaces.len()];
        let id = self.free_queue(&queue, &mut next)?;
        let setting = self.setting(slice, id, &queue, had.or(share))?;
        self.here.set_queue(&setting).map_err(AdmitError::from)?;
        self.crew.order(|| Change::Configure(Box::new(setting)));
        if let Some(used) = self.queues_used.get_mut(id.0 as usize) {
            *used = true;
        }
        if let Some(state) = self.slice_mut(slice) {
            let own = OwnQueue { id, granted: queue, config: setting.config, leaving: None };
            match state.queues.get_mut(number) {
                Some(place) => *place = Some(own),
                None => state.queues.push(Some(own)),
            }
            state.map.set(number, Some(id));
            let (weight, Share { granted, used }) = (u64::from(queue.weight), state.weight(&queue));
            state.set_weight(&queue, Share { granted: granted + weight, used: used + weight });
        }
        Ok(number as u16)
    }

    /// Gives a queue of a slice that runs another weight, other limits or another policy, which
    /// begins anew; the slice is granted what is asked for. Packets that wait stay, in order: beyond a
    /// lower limit they hold their descriptors until they are sent, though these are promised anew.
    ///
    /// # Errors
    ///
    /// [`QueueError`]; nothing has changed.
    pub fn change_queue(
        &mut self, slice: SliceId, queue: u16, request: QueueRequest,
    ) -> Result<(), QueueError> {
        self.reap();
        let (id, granted, config) = self.own_queue(slice, queue)?;
        if (granted.interface, granted.priority) != (request.interface, request.priority) {
            return Err(QueueError::Moved(granted.interface.0));
        }
        self.check_queue(&request)?;
        let asked = Asked {
            queues: core::slice::from_ref(&request),
            share: None,
            slice: Some(slice),
            instead_of: Some(queue),
        };
        self.check_promises(request.interface, &asked)?;
        let share = self.reweighed(slice, &granted, config.weight, request.weight, request.weight)?;
        let setting = self.setting(slice, id, &request, None)?;
        self.here.set_queue(&setting).map_err(AdmitError::from)?;
        self.crew.order(|| Change::Configure(Box::new(setting)));
        if let Some(state) = self.slice_mut(slice) {
            state.set_weight(&request, share);
            if let Some(Some(own)) = state.queues.get_mut(usize::from(queue)) {
                (own.granted, own.config) = (request, setting.config);
            }
        }
        Ok(())
    }

    /// Takes a queue from a slice that runs. Results that lead there lead nowhere: their
    /// packets are dropped as [`DropReason::NoMatch`] until they are set anew. Its number, and
    /// what was promised of it, are free when it is empty at all workers.
    ///
    /// # Errors
    ///
    /// [`QueueError`]; nothing has changed.
    pub fn remove_queue(
        &mut self, slice: SliceId, queue: u16, remains: Remains,
    ) -> Result<QueueRequest, QueueError> {
        self.reap();
        let (id, granted, config) = self.own_queue(slice, queue)?;
        let share = self.reweighed(slice, &granted, config.weight, 0, 0)?;
        self.lead_nowhere(slice, |way| way.queue == id);
        let holders = Arc::new(AtomicUsize::new(0));
        if let Some(state) = self.slice_mut(slice) {
            state.set_weight(&granted, share);
            if let Some(Some(own)) = state.queues.get_mut(usize::from(queue)) {
                own.leaving = Some(holders.clone());
            }
        }
        let leaving =
            Leaving { slice, queue: id, drops: remains == Remains::Drop, _holder: Holder::first(&holders) };
        self.crew.order(|| Change::Leave(leaving.clone()));
        self.here.leave(leaving);
        self.here.see_off();
        Ok(granted)
    }

    /// Gives a slice that runs another share of an interface that slices share.
    ///
    /// # Errors
    ///
    /// [`QueueError`]; nothing has changed.
    pub fn set_share(&mut self, slice: SliceId, share: ShareRequest) -> Result<(), QueueError> {
        self.reap();
        let state = self.with_queues(slice)?;
        let mut shares = state.shares.clone();
        shares.retain(|other| other.interface != share.interface);
        shares.push(share);
        self.check_share(&share)?;
        let asked = Asked { queues: &[], share: Some(share.weight), slice: Some(slice), instead_of: None };
        self.check_promises(share.interface, &asked)?;
        let number = usize::from(share.interface.0);
        self.here.set_share_of(number, slice, share.weight).map_err(AdmitError::from)?;
        self.crew.order(|| Change::Share { number, slice, weight: share.weight });
        if let Some(state) = self.slice_mut(slice) {
            state.shares = shares;
        }
        Ok(())
    }

    /// The queues of a slice, with its own numbers of them, as they were granted.
    pub fn queues_of(&self, slice: SliceId) -> impl Iterator<Item = (u16, &QueueRequest)> {
        let queues = self.slice(slice).map_or(&[][..], |state| &state.queues);
        (0..=u16::MAX).zip(queues).filter_map(|(number, queue)| {
            let queue = queue.as_ref().filter(|queue| queue.leaving.is_none())?;
            Some((number, &queue.granted))
        })
    }

    /// The physical queue that is a slice's own `queue`, for what a [`Forwarder`] counts.
    pub fn queue_id(&self, slice: SliceId, queue: u16) -> Option<QueueId> {
        Some(self.slice(slice)?.queue(queue)?.id)
    }

    /// What became of the packets of a slice's queue at this worker, by reason; `None` if the
    /// interface is [plain](Scheduling::Plain). Other workers' say their
    /// [`Forwarder::queue_counts`].
    pub fn queue_counts(&self, slice: SliceId, queue: u16) -> Option<QueueCounts> {
        self.here.queue_counts(self.queue_id(slice, queue)?)
    }

    /// Frees queues that were removed and are empty at all workers.
    pub(super) fn reap_queues(&mut self) {
        let Self { slices, queues_used, crew, .. } = self;
        for state in slices.iter_mut().flatten() {
            for (number, place) in state.queues.iter_mut().enumerate() {
                let is_gone = |own: &mut OwnQueue| {
                    own.leaving.as_ref().is_some_and(|holders| holders.load(Acquire) == 0)
                };
                let Some(own) = place.take_if(is_gone) else { continue };
                // Who is gone did not keep what it had sent.
                crew.orphans().for_each(|stats| state.map.retire(stats, own.id));
                state.map.set(number, None);
                if let Some(used) = queues_used.get_mut(own.id.0 as usize) {
                    *used = false;
                }
            }
        }
    }

    fn with_queues(&self, slice: SliceId) -> Result<&Slice, QueueError> {
        let state = self.slice(slice).filter(|state| !state.is_withdrawn());
        state.ok_or(QueueError::UnknownSlice(slice))
    }

    fn own_queue(
        &self, slice: SliceId, queue: u16,
    ) -> Result<(QueueId, QueueRequest, QueueConfig), QueueError> {
        let state = self.with_queues(slice)?;
        let unknown = QueueError::UnknownQueue { asked: queue, has: state.queues.len() };
        state.queue(queue).map(|own| (own.id, own.granted, own.config)).ok_or(unknown)
    }

    /// The weights of a slice's queues when one of them, which had `weight`, gets `used` of
    /// `granted`.
    fn reweighed(
        &self, slice: SliceId, old: &QueueRequest, weight: u32, used: u32, granted: u32,
    ) -> Result<Share, QueueError> {
        let share = self.with_queues(slice)?.weight(old);
        let used = share.used - u64::from(weight) + u64::from(used);
        let granted = share.granted - u64::from(old.weight) + u64::from(granted);
        let within = used <= granted || self.is_unbound(old);
        if within { Ok(Share { granted, used }) } else { Err(QueueError::Shifted { used, granted }) }
    }

    /// Whether weights of such queues are the slice's own business.
    pub(super) fn is_unbound(&self, queue: &QueueRequest) -> bool {
        self.scheduling(queue.interface).is_two_levels() && !queue.priority
    }

    pub(super) fn scheduling(&self, interface: InterfaceId) -> Scheduling {
        self.interface(interface).map(|config| config.scheduling).unwrap_or_default()
    }

    /// A queue as each worker sets it up.
    pub(super) fn setting(
        &self, slice: SliceId, queue: QueueId, request: &QueueRequest, share: Option<u32>,
    ) -> Result<QueueSetting, AdmitError> {
        let managed = self.scheduling(request.interface) != Scheduling::Plain;
        let policy = managed.then(|| request.policy.choice()).transpose()?;
        Ok(QueueSetting { queue, config: request.config(slice), share, policy })
    }

    /// The policy of a queue of an interface.
    pub(super) fn choice(&self, interface: InterfaceId, policy: Policy) -> Result<Choice, PolicyError> {
        if self.scheduling(interface) == Scheduling::Plain && policy != Policy::TailDrop {
            return Err(PolicyError::Plain(interface.0));
        }
        policy.choice()
    }

    /// Whether a slice may have such a queue, whatever is left.
    pub(super) fn check_queue(&self, queue: &QueueRequest) -> Result<(), AdmitError> {
        self.check_interface(queue.interface)?;
        if queue.weight == 0 || queue.weight > QueueConfig::MAX_WEIGHT {
            return Err(ConfigError::Weight(queue.weight).into());
        }
        if queue.priority && self.scheduling(queue.interface).priority().is_none() {
            return Err(AdmitError::NoPriority(queue.interface.0));
        }
        self.choice(queue.interface, queue.policy)?;
        Ok(())
    }

    fn check_share(&self, share: &ShareRequest) -> Result<(), AdmitError> {
        self.check_interface(share.interface)?;
        if share.weight == 0 || share.weight > QueueConfig::MAX_WEIGHT {
            return Err(ConfigError::Weight(share.weight).into());
        }
        Ok(())
    }

    /// Whether a slice may have all that it asks for of all interfaces.
    pub(super) fn check_queues(&self, request: &SliceRequest) -> Result<(), AdmitError> {
        request.queues.iter().try_for_each(|queue| self.check_queue(queue))?;
        request.shares.iter().try_for_each(|share| self.check_share(share))?;
        for interface in (0..).map(InterfaceId).take(self.interfaces.len()) {
            let share = share_at(&request.shares, request.queues.iter(), interface);
            let asked = Asked { queues: &request.queues, share, slice: None, instead_of: None };
            self.check_promises(interface, &asked)?;
        }
        Ok(())
    }

    /// Whether what is asked for of an interface is left of what it has to promise.
    fn check_promises(&self, interface: InterfaceId, asked: &Asked<'_>) -> Result<(), AdmitError> {
        let at = interface.0;
        let instead_of = asked.slice.zip(asked.instead_of);
        let stays = |slice: SliceId, number: usize| {
            instead_of.is_none_or(|(other, it)| (slice, number) != (other, usize::from(it)))
        };
        let granted = self.slices.iter().flatten().flat_map(|state| {
            let queues = state.queues.iter().enumerate();
            let queues = queues.filter(move |(number, _)| stays(state.admission.slice, *number));
            queues.filter_map(|(_, queue)| Some(&queue.as_ref()?.granted))
        });
        let here = |queue: &&QueueRequest| queue.interface == interface;
        let granted: Vec<_> = granted.filter(here).collect();
        let wanted: Vec<_> = asked.queues.iter().filter(here).collect();
        let sum = |of: &[&QueueRequest], what: fn(&QueueRequest) -> u64| -> u64 {
            of.iter().map(|queue| what(queue)).sum()
        };
        let over = |what: fn(&QueueRequest) -> u64, all: u64| {
            let (asked, left) = (sum(&wanted, what), all.saturating_sub(sum(&granted, what)));
            (asked > left).then_some((asked, left))
        };
        let weights = u64::from(self.limits.weights);
        let refused = |(asked, left)| Err(AdmitError::Weights { interface: at, asked, left });
        if let Some((asked, left)) = over(|queue| queue.limit_packets.into(), self.limits.descriptors as u64)
        {
            return Err(AdmitError::Descriptors { interface: at, asked, left });
        }
        let first = |queue: &QueueRequest| if queue.priority { u64::from(queue.weight) } else { 0 };
        if let Some(over) = over(first, weights) {
            return refused(over);
        }
        if !self.scheduling(interface).is_two_levels() {
            let rest = |queue: &QueueRequest| if queue.priority { 0 } else { u64::from(queue.weight) };
            return over(rest, weights).map_or(Ok(()), refused);
        }
        let others = self.slices.iter().flatten();
        let others = others.filter(|state| asked.slice != Some(state.admission.slice));
        let promised = others.filter_map(|state| state.share_at(interface)).map(u64::from).sum();
        let (asked, left) = (u64::from(asked.share.unwrap_or(0)), weights.saturating_sub(promised));
        if asked > left { refused((asked, left)) } else { Ok(()) }
    }
}
