//! What slice managers ask for between two vectors, carried out within what their slices
//! were granted.
//!
//! A command writes one record or one queue: all cost the same, however much a slice has.

use super::*;

impl<C: CodeOptionSet, B: AsRef<[u8]> + AsMut<[u8]>> Node<C, B> {
    pub(super) fn execute(&mut self, slice: SliceId, command: Command) -> Result<Done, ControlError> {
        match command {
            Command::SetResult { result, action } => self.set_result(slice, result, action),
            Command::Configure { queue, weight, limit_packets, limit_octets } => {
                let config = QueueConfig { owner: slice, weight, limit_packets, limit_octets };
                self.configure(slice, queue, config)
            }
        }
    }

    /// Changes a queue within what the slice was granted: the packets of this queue, and
    /// the weight of all its queues at the interface.
    fn configure(&mut self, slice: SliceId, queue: u16, config: QueueConfig) -> Result<Done, ControlError> {
        let at = usize::from(queue);
        let state = self.state(slice)?;
        let unknown = ControlError::UnknownQueue { asked: queue, has: state.queues.len() };
        let (Some(id), Some(own)) = (state.queues.get(at).copied(), state.granted.get(at).copied()) else {
            return Err(unknown);
        };
        let (asked, granted) = (u64::from(config.limit_packets), u64::from(own.limit_packets));
        if asked > granted {
            return Err(ControlError::Granted { asked, granted });
        }
        let share = state.shares.get(usize::from(own.interface.0)).copied().unwrap_or_default();
        let weight = state.weights.get(at).copied().unwrap_or(0);
        let asked = share.used - u64::from(weight) + u64::from(config.weight);
        if asked > share.granted {
            return Err(ControlError::Granted { asked, granted: share.granted });
        }
        self.queues.configure(id, config)?;
        let state = self.state(slice)?;
        if let Some(share) = state.shares.get_mut(usize::from(own.interface.0)) {
            share.used = asked;
        }
        if let Some(weight) = state.weights.get_mut(at) {
            *weight = config.weight;
        }
        Ok(Done::Configured)
    }

    /// The slice's promises, which an executed command always finds.
    fn state(&mut self, slice: SliceId) -> Result<&mut Slice<B>, ControlError> {
        self.slices.get_mut(slice).ok_or(ControlError::Withdrawn)
    }

    fn egress_id(&mut self, slice: SliceId, result: u32) -> Result<EgressId, ControlError> {
        let state = self.state(slice)?;
        let unknown = ControlError::UnknownResult { asked: result, has: state.results };
        if result >= state.results {
            return Err(unknown);
        }
        EgressId::new(state.first_result + result).ok_or(unknown)
    }

    fn set_result(&mut self, slice: SliceId, result: u32, action: Action) -> Result<Done, ControlError> {
        let id = self.egress_id(slice, result)?;
        let egress = match action {
            Action::Drop => Egress::exit_with(DropReason::Filtered.into()),
            Action::SlowPath(exception) => Egress::exit_with(exception.into()),
            Action::Forward { link, queue, word, next_hop } => {
                let state = self.state(slice)?;
                let unknown = ControlError::UnknownLink { asked: link, has: state.links.len() };
                let at = *state.links.get(usize::from(link)).ok_or(unknown)?;
                let reachable =
                    |to: &SocketAddrV4| at.multipoint && is_destination(to.ip().to_bits(), to.port());
                if let Some(to) = next_hop.filter(|to| !reachable(to)) {
                    return Err(ControlError::NextHop(to));
                }
                let unknown = ControlError::UnknownQueue { asked: queue, has: state.queues.len() };
                let queue_id = *state.queues.get(usize::from(queue)).ok_or(unknown)?;
                if self.queues.scheduler_of(queue_id) != usize::from(at.interface.0) {
                    return Err(ControlError::Interface { link, queue });
                }
                let egress = Egress::forward(&self.tunnel(&at, next_hop), queue_id, at.mtu);
                // `admit` has seen that the MTU fits.
                egress.unwrap_or(Egress::NONE).with_word(word)
            }
        };
        if let Some(place) = self.path.egress.get_mut(id.index()) {
            *place = egress;
        }
        Ok(Done::ResultSet)
    }

    /// Encapsulates and queues up to `budget` packets that slice managers send straight to
    /// a queue. Slices take turns, one packet each.
    pub(super) fn inject_direct(&mut self, now: Nanos, budget: usize) {
        let Self { path, queues, slices, direct_turn, .. } = self;
        let (mut taken, mut idle) = (0, 0);
        while taken < budget && idle < slices.0.len() {
            idle += 1;
            let Some(state) = slices.take_turn(direct_turn) else { continue };
            if !matches!(state.end.injections.peek(), Ok(Injection::Direct { .. })) {
                continue;
            }
            let Ok(Injection::Direct { mut packet, result, traffic_class }) = state.end.injections.pop()
            else {
                continue;
            };
            (taken, idle) = (taken + 1, 0);
            let slice = state.admission.slice;
            path.stats.record(Event::Injected(slice), packet.octets());
            let id = EgressId::new(state.first_result.wrapping_add(result));
            let egress = id.filter(|_| result < state.results).and_then(|id| path.egress.get(id.index()));
            let outgoing = Outgoing { traffic_class, destination: None };
            let whole = packet.whole();
            let put = packet.edit(whole, |packet| {
                let egress = egress.ok_or(DropReason::NoMatch)?;
                match egress.exit() {
                    Some(exit) => Err(exit),
                    None => Ok(egress.encapsulate(packet, &outgoing, &())?),
                }
            });
            let octets = packet.octets();
            let queued = match (put, egress) {
                (Ok(()), Some(egress)) => {
                    let ecn_capable = egress.ecn_capable(&outgoing);
                    let arrival = Arrival { octets, precedence: 0, ecn_capable };
                    let queued = queues.enqueue(now, egress.queue(), packet, arrival);
                    queued.map_err(|Rejected { reason, .. }| reason)
                }
                // A result that leads to the slow path leads back to the sender.
                (Err(Exit::Drop(reason)), _) => Err(reason),
                _ => Err(DropReason::Filtered),
            };
            match (queued, id) {
                (Ok(()), Some(id)) => path.stats.record(Event::Queued(id), octets),
                (Ok(()), None) => {}
                (Err(reason), _) => path.stats.record(Event::Left(slice, reason.into()), octets),
            }
        }
    }
}
