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
            Command::Policy { queue, policy } => self.set_policy(slice, queue, policy),
        }
    }

    /// Changes a queue within what the slice was granted: the packets of this queue, and
    /// the weight of all its queues at the interface, unless slices have shares there.
    fn configure(&mut self, slice: SliceId, queue: u16, config: QueueConfig) -> Result<Done, ControlError> {
        let (id, own, before) = self.commanded(slice, queue)?;
        let (asked, granted) = (u64::from(config.limit_packets), u64::from(own.limit_packets));
        if asked > granted {
            return Err(ControlError::Granted { asked, granted });
        }
        let share = self.state(slice)?.weight(&own);
        let used = share.used - u64::from(before.weight) + u64::from(config.weight);
        if used > share.granted && !self.is_unbound(&own) {
            return Err(ControlError::Granted { asked: used, granted: share.granted });
        }
        self.put_queue(QueueSetting { queue: id, config, share: None, policy: None })?;
        let state = self.state(slice)?;
        state.set_weight(&own, Share { used, ..share });
        if let Some(Some(own)) = state.queues.get_mut(usize::from(queue)) {
            own.config = config;
        }
        Ok(Done::Configured)
    }

    fn set_policy(&mut self, slice: SliceId, queue: u16, policy: Policy) -> Result<Done, ControlError> {
        let (id, own, config) = self.commanded(slice, queue)?;
        let policy = Some(self.choice(own.interface, policy)?);
        self.put_queue(QueueSetting { queue: id, config, share: None, policy })?;
        Ok(Done::Configured)
    }

    fn put_queue(&mut self, setting: QueueSetting) -> Result<(), ControlError> {
        self.here.set_queue(&setting)?;
        self.crew.order(|| Change::Configure(Box::new(setting)));
        Ok(())
    }

    /// The queue that a command names.
    fn commanded(
        &mut self, slice: SliceId, queue: u16,
    ) -> Result<(QueueId, QueueRequest, QueueConfig), ControlError> {
        let state = self.state(slice)?;
        let unknown = ControlError::UnknownQueue { asked: queue, has: state.queues.len() };
        state.queue(queue).map(|own| (own.id, own.granted, own.config)).ok_or(unknown)
    }

    /// The slice's promises, which an executed command always finds.
    fn state(&mut self, slice: SliceId) -> Result<&mut Slice, ControlError> {
        self.slice_mut(slice).ok_or(ControlError::Withdrawn)
    }

    fn egress_id(&mut self, slice: SliceId, result: u32) -> Result<EgressId, ControlError> {
        let state = self.state(slice)?;
        let has = state.results.len() as u32;
        let unknown = ControlError::UnknownResult { asked: result, has };
        if result >= has {
            return Err(unknown);
        }
        EgressId::new(state.first_result + result).ok_or(unknown)
    }

    fn set_result(&mut self, slice: SliceId, result: u32, action: Action) -> Result<Done, ControlError> {
        let id = self.egress_id(slice, result)?;
        let (way, record) = match action {
            Action::Drop => (None, Egress::exit_with(DropReason::Filtered.into()).into()),
            Action::SlowPath(exception) => (None, Egress::exit_with(exception.into()).into()),
            Action::Forward { link, queue, word, next_hop } => {
                let (at, queue) = self.link_and_queue(slice, link, queue)?;
                let reachable =
                    |to: &SocketAddrV4| at.multipoint && is_destination(to.ip().to_bits(), to.port());
                let reachable = |to: &SocketAddrV4| at.peer.is_ipv4() && reachable(to);
                if let Some(to) = next_hop.filter(|to| !reachable(to)) {
                    return Err(ControlError::NextHop(to));
                }
                let next = next_hop.map_or(Next::Peer, Next::End);
                let way = WayOut { link, queue, word, next };
                (Some(way), self.record(id, &at, &way))
            }
            Action::Neighbour { link, queue, word, mac } => {
                let (at, queue) = self.link_and_queue(slice, link, queue)?;
                to_neighbour(at.encapsulation, mac).ok_or(ControlError::NoFrames(link))?;
                let way = WayOut { link, queue, word, next: Next::Neighbour(mac) };
                (Some(way), self.record(id, &at, &way))
            }
        };
        if let Some(place) = self.state(slice)?.results.get_mut(result as usize) {
            *place = way;
        }
        self.here.set_record(id, &record);
        self.crew.order(|| Change::Result(id, Box::new(record)));
        Ok(Done::ResultSet)
    }

    /// The slice's link and its queue, which are of the same interface.
    fn link_and_queue(
        &mut self, slice: SliceId, link: u16, queue: u16,
    ) -> Result<(LinkRequest, QueueId), ControlError> {
        let state = self.state(slice)?;
        let unknown = ControlError::UnknownLink { asked: link, has: state.links.len() };
        let at = state.links.get(usize::from(link)).copied().flatten().ok_or(unknown)?;
        let (queue_id, ..) = self.commanded(slice, queue)?;
        if self.here.queues.scheduler_of(queue_id) != usize::from(at.interface.0) {
            return Err(ControlError::Interface { link, queue });
        }
        Ok((at, queue_id))
    }
}

/// The encapsulation of a link of frames with another next hop; `None` as `mac` if packets are
/// frames already.
pub(super) fn to_neighbour(encapsulation: Encapsulation, mac: Option<[u8; 6]>) -> Option<Encapsulation> {
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
