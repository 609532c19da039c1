//! What slice managers ask for between two vectors, carried out within what their slices
//! were granted.
//!
//! A command writes one record or one queue: all cost the same, however much a slice has.

use super::*;
use crate::egress::EgressTable;

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
        let (egress, template) = match action {
            Action::Drop => (Egress::exit_with(DropReason::Filtered.into()), None),
            Action::SlowPath(exception) => (Egress::exit_with(exception.into()), None),
            Action::Forward { link, queue, word, next_hop } => {
                let (at, queue_id) = self.link_and_queue(slice, link, queue)?;
                let reachable =
                    |to: &SocketAddrV4| at.multipoint && is_destination(to.ip().to_bits(), to.port());
                let reachable = |to: &SocketAddrV4| at.peer.is_ipv4() && reachable(to);
                if let Some(to) = next_hop.filter(|to| !reachable(to)) {
                    return Err(ControlError::NextHop(to));
                }
                self.way_out(&self.tunnel(&at, next_hop), id, queue_id, at.mtu, word)
            }
            Action::Neighbour { link, queue, word, mac } => {
                let (at, queue_id) = self.link_and_queue(slice, link, queue)?;
                let encapsulation =
                    to_neighbour(at.encapsulation, mac).ok_or(ControlError::NoFrames(link))?;
                self.way_out(&self.tunnel(&at, None).with(encapsulation), id, queue_id, at.mtu, word)
            }
        };
        let Egresses { records, templates } = &mut self.path.egress;
        if let (Some(place), Some(template)) = (templates.get_mut(id.index()), template) {
            *place = template;
        }
        if let Some(place) = records.get_mut(id.index()) {
            *place = egress;
        }
        Ok(Done::ResultSet)
    }

    /// The slice's link and its queue, which are of the same interface.
    fn link_and_queue(
        &mut self, slice: SliceId, link: u16, queue: u16,
    ) -> Result<(LinkRequest, QueueId), ControlError> {
        let state = self.state(slice)?;
        let unknown = ControlError::UnknownLink { asked: link, has: state.links.len() };
        let at = *state.links.get(usize::from(link)).ok_or(unknown)?;
        let unknown = ControlError::UnknownQueue { asked: queue, has: state.queues.len() };
        let queue_id = *state.queues.get(usize::from(queue)).ok_or(unknown)?;
        if self.queues.scheduler_of(queue_id) != usize::from(at.interface.0) {
            return Err(ControlError::Interface { link, queue });
        }
        Ok((at, queue_id))
    }

    /// What result `id` leads to. `admit` has seen that the MTU fits.
    fn way_out(
        &self, tunnel: &Tunnel, id: EgressId, queue: QueueId, mtu: u16, word: u64,
    ) -> (Egress, Option<Template>) {
        let made = resource::way_out(tunnel, id.index() as u32, queue, mtu);
        made.map_or((Egress::NONE, None), |(egress, template)| (egress.with_word(word), template))
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
            let (slice, option) = (state.admission.slice, state.admission.option);
            path.stats.record(Event::Injected(slice), packet.octets());
            let id = EgressId::new(state.first_result.wrapping_add(result));
            let egress = id.filter(|_| result < state.results).and_then(|id| path.egress.egress(id));
            let outgoing = Outgoing { traffic_class, destination: None };
            let whole = packet.whole();
            let put = packet.edit(whole, |packet| {
                let egress = egress.ok_or(DropReason::NoMatch)?;
                match egress.exit() {
                    Some(exit) => Err(exit),
                    None => {
                        let flow = |inner: &[u8]| path.options.flow_hash(option, inner);
                        Ok(egress.encapsulate_flow(packet, &outgoing, &path.egress, flow)?)
                    }
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

/// The encapsulation of a link of frames with another next hop; `None` as `mac` if packets are
/// frames already.
fn to_neighbour(encapsulation: Encapsulation, mac: Option<[u8; 6]>) -> Option<Encapsulation> {
    let to = |frame: Option<InnerEthernet>| {
        let frame = frame?;
        Some(mac.map(|destination| InnerEthernet { destination, ..frame }))
    };
    let framed = |payload| match payload {
        Payload::Frames(frame) => Some(Payload::Frames(to(frame)?)),
        Payload::Packets(_) => None,
    };
    Some(match encapsulation {
        Encapsulation::Udp => return None,
        Encapsulation::Vxlan { vni, frame } => Encapsulation::Vxlan { vni, frame: to(frame)? },
        Encapsulation::Geneve { vni, payload } => Encapsulation::Geneve { vni, payload: framed(payload)? },
        Encapsulation::Gre { key, checksum, payload } => {
            Encapsulation::Gre { key, checksum, payload: framed(payload)? }
        }
    })
}
