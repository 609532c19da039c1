//! The resource manager at work: slices are admitted, and taken away (section 6).

use super::*;
use crate::egress::EgressError;

impl<C: CodeOptionSet, B: AsRef<[u8]> + AsMut<[u8]>> Node<C, B> {
    /// Admits a slice if all that it asks for is there, and gives out its control.
    ///
    /// # Errors
    ///
    /// [`AdmitError`]; nothing is reserved.
    pub fn admit(&mut self, request: SliceRequest) -> Result<SliceControl<B>, AdmitError> {
        self.reap();
        let free = self.slices.iter().position(Option::is_none);
        let at = free.ok_or(AdmitError::Slices(self.limits.slices))?;
        let slice = SliceId(at as u16 + 1);
        let admission = Admission { slice, option: request.option, ..Admission::NONE };
        self.check(&request)?;
        let first_result = self.free_results(&request)?;
        let queues = self.free_queues(&request)?;
        let settings = self.settings(slice, &request, &queues)?;
        let granted = self.grant(admission, &request, &settings).and_then(|()| self.writer(slice, &request));
        let writer = granted.inspect_err(|_| self.take_back(slice, &queues))?;
        for queue in queues.iter() {
            if let Some(used) = self.queues_used.get_mut(queue.0 as usize) {
                *used = true;
            }
        }
        let (commands, command_end) = command_channel(request.commands.max(1));
        let most = request.queues.len() + usize::from(request.more_queues);
        let map = QueueMap::new(most.min(usize::from(u16::MAX)), slice, &self.limits);
        queues.iter().enumerate().for_each(|(number, queue)| map.set(number, Some(*queue)));
        let withdrawn = Arc::new(AtomicBool::new(false));
        let holders = Arc::new(AtomicUsize::new(0));
        let own = |(setting, granted): (&QueueSetting, QueueRequest)| {
            Some(OwnQueue { id: setting.queue, granted, config: setting.config, leaving: None })
        };
        let policed: Vec<_> = (0..=u16::MAX)
            .zip(&request.links)
            .filter_map(|(number, link)| Some((Some(number), link.police?)))
            .chain(request.police.map(|policing| (None, policing)))
            .collect();
        let mut state = Slice {
            admission,
            links: request.links.iter().cloned().map(Some).collect(),
            queues: settings.iter().zip(request.queues.iter().copied()).map(own).collect(),
            map: map.clone(),
            weights: Vec::new(),
            shares: request.shares.clone(),
            policers: Vec::new(),
            first_result,
            results: alloc::vec![None; request.results as usize].into(),
            most_filters: request.filters,
            end: commands,
            holders: holders.clone(),
            withdrawn: withdrawn.clone(),
        };
        let granted: Vec<_> = state.granted().copied().collect();
        for queue in &granted {
            let sum = state.weight(queue).granted + u64::from(queue.weight);
            state.set_weight(queue, Share { granted: sum, used: sum });
        }
        if let Some(place) = self.slices.get_mut(at) {
            *place = Some(state);
        }
        for (link, policing) in policed {
            // `check` has seen that there is such a meter. Nothing comes in before it is there.
            let _ = self.put_policer(slice, link, Some(policing));
        }
        let control = SliceControl {
            slice,
            option: request.option,
            writer,
            most_filters: request.filters,
            end: command_end,
            packets: self.take_seats(
                admission,
                &request,
                &settings,
                (&map, first_result),
                &withdrawn,
                &holders,
            ),
            turn: 0,
            spread: self.spread.clone(),
            done: self.crew.done(),
            bank: self.here.path.sram.clone(),
            stats: self.stats(),
            first_result,
            results: request.results,
            queues: map.clone(),
            sent: 0,
            open: 0,
            withdrawn: withdrawn.clone(),
        };
        Ok(control)
    }

    /// A seat for the slice at each worker; returns the manager's ends of all of them. What a
    /// slice was promised of exceptions is divided among them.
    fn take_seats(
        &mut self, admission: Admission, request: &SliceRequest, settings: &[QueueSetting],
        (map, first_result): (&QueueMap, u32), withdrawn: &Arc<AtomicBool>, holders: &Arc<AtomicUsize>,
    ) -> Box<[crate::node::channel::ManagerEnd<B>]> {
        let workers = self.crew.len() + 1;
        let slow_path = request.slow_path;
        let part = |of: u32| of.div_ceil(workers as u32);
        let mut ends = Vec::with_capacity(workers);
        let mut seat = || {
            let (end, manager) = packet_channel(slow_path.waiting.max(1).div_ceil(workers));
            ends.push(manager);
            holders.fetch_add(1, Relaxed);
            Seat {
                admission,
                queues: map.clone(),
                first_result,
                results: request.results,
                exceptions: RateLimit::new(part(slow_path.per_second), part(slow_path.burst)),
                end,
                injected_at: None,
                withdrawn: withdrawn.clone(),
                holders: holders.clone(),
            }
        };
        self.here.take_seat(seat());
        let links = (0..=u16::MAX).zip(&request.links);
        let ports: Vec<_> =
            links.filter_map(|(number, link)| self.port(link, number, admission).ok()).collect();
        self.crew.order(|| {
            let admitted = Admitted { seat: seat(), ports: ports.clone(), queues: settings.to_vec() };
            Change::Admit(Box::new(admitted))
        });
        ends.into()
    }

    /// Takes a slice away: its ports, filters and results at once, and ports and filters
    /// are free for another slice. What its [`SliceControl`] can reach, its number, memory,
    /// results, queues and counters, is free when that handle is dropped, what waits in the
    /// queues is sent, and a vector that [`inject`](Self::inject) put its packets into is
    /// processed, at each worker. Other workers follow when they next look at their control.
    pub fn withdraw(&mut self, slice: SliceId) {
        let Some(state) = self.slice_mut(slice).filter(|state| !state.is_withdrawn()) else { return };
        state.withdrawn.store(true, Relaxed);
        let results = state.first_result..state.first_result + state.results.len() as u32;
        let links = core::mem::take(&mut state.links);
        state.most_filters = 0;
        state.results.fill(None);
        state.policers.clear();
        let ports = links.iter().flatten().filter_map(|link| Some((self.address(link)?, link.kind().0)));
        let ports: Box<[_]> = ports.collect();
        let change = || Change::Withdraw { slice, ports: ports.clone(), results: results.clone() };
        self.here.apply(Nanos::ZERO, change());
        self.crew.order(change);
        self.tcam.revoke(slice);
    }

    /// Frees what withdrawn slices held, if nobody can reach it any more.
    pub(super) fn reap(&mut self) {
        self.reap_queues();
        for at in 0..self.slices.len() {
            let Some(Some(state)) = self.slices.get(at) else { continue };
            let slice = state.admission.slice;
            let seat = self.here.seats.0.get(at).and_then(Option::as_ref);
            // The seat here is the last one. What others counted comes before what follows.
            let idle = state.is_withdrawn()
                && state.end.commands.is_abandoned()
                && !self.tcam.is_given_out(slice)
                && state.holders.load(Acquire) <= 1
                && seat.is_none_or(|seat| self.here.is_done_with(seat));
            if let Some(state) = self.slices.get_mut(at).and_then(|place| place.take_if(|_| idle)) {
                self.free(&state, at);
            }
        }
    }

    fn free(&mut self, state: &Slice, at: usize) {
        let slice = state.admission.slice;
        self.here.give_up(at);
        // To none: that does not fail.
        let _ = self.here.path.sram.assign(slice, 0);
        // No worker counts for this slice any more.
        for stats in &mut self.stats() {
            stats.clear_slice(slice);
            (0..state.results.len()).for_each(|at| stats.egresses.clear(state.first_result as usize + at));
            state.map.sent().for_each(|queue| stats.queues.clear(queue.0 as usize));
        }
        for queue in state.map.iter() {
            if let Some(used) = self.queues_used.get_mut(queue.0 as usize) {
                *used = false;
            }
        }
    }

    fn check(&self, request: &SliceRequest) -> Result<(), AdmitError> {
        let has = self.here.path.options.count();
        if usize::from(request.option.0) >= has {
            return Err(AdmitError::UnknownOption { asked: request.option.0, has });
        }
        let used: u32 = self.slices.iter().flatten().map(|state| state.most_filters).sum();
        let left = self.limits.filters - used;
        if request.filters > left {
            return Err(AdmitError::Filters { asked: request.filters, left });
        }
        let Limits { lines, waiting, .. } = self.limits;
        if let Some(asked) = request.lines.filter(|asked| *asked > lines) {
            return Err(AdmitError::Lines { asked, most: lines });
        }
        let asked = request.commands.max(request.slow_path.waiting);
        if asked > waiting {
            return Err(AdmitError::Waiting { asked, most: waiting });
        }
        let (links, queues) = (request.links.len(), request.queues.len());
        if links > usize::from(u16::MAX) {
            return Err(AdmitError::Links(links));
        }
        if queues > usize::from(u16::MAX) {
            return Err(AdmitError::QueueCount(queues));
        }
        self.check_ports(links)?;
        request.links.iter().try_for_each(|link| self.check_link(link))?;
        if let Some(policing) = &request.police {
            self.check_policing(policing)?;
        }
        self.check_queues(request)
    }

    pub(super) fn check_ports(&self, asked: usize) -> Result<(), AdmitError> {
        let open: usize = self.slices.iter().flatten().map(|state| state.open_links().count()).sum();
        let left = self.limits.ports.saturating_sub(open);
        if asked > left { Err(AdmitError::Ports { asked, left }) } else { Ok(()) }
    }

    pub(super) fn check_interface(&self, interface: InterfaceId) -> Result<(), AdmitError> {
        let unknown = AdmitError::UnknownInterface { asked: interface.0, has: self.interfaces.len() };
        self.interface(interface).map(|_| ()).map_err(|_| unknown)
    }

    /// Whether a slice may have such a link.
    pub(super) fn check_link(&self, link: &LinkRequest) -> Result<(), AdmitError> {
        self.check_interface(link.interface)?;
        let tunnel = self.tunnel(link, None);
        // To be told now and not when a result names the link.
        way_out(&tunnel, 0, QueueId(0), link.mtu)?;
        // GRE has no port.
        let gre = matches!(link.encapsulation, Encapsulation::Gre { .. });
        let port = if gre { 1 } else { link.peer.port() };
        let peer = SocketAddr::new(link.peer.ip(), port);
        let reachable = match peer {
            SocketAddr::V4(v4) => is_destination(v4.ip().to_bits(), port),
            SocketAddr::V6(_) => peer.ip().to_canonical().is_ipv6() && is_destination_at(peer.into()),
        };
        if !reachable || link.dscp > 63 {
            return Err(AdmitError::Peer(link.peer));
        }
        if self.address(link).is_none() {
            return Err(AdmitError::Address(link.interface.0));
        }
        if let Some(policing) = &link.police {
            self.check_policing(policing)?;
        }
        // A longer packet would be refused by the queue, where nobody answers it.
        let (mtu, header, longest) = (link.mtu, tunnel.octets(), self.limits.longest_frame);
        if usize::from(mtu) + header > longest as usize {
            return Err(AdmitError::Mtu { mtu, header, longest });
        }
        Ok(())
    }

    /// What is to be open for a link, and what it admits to.
    pub(super) fn port(
        &self, link: &LinkRequest, number: u16, admission: Admission,
    ) -> Result<(IpAddr, TunnelKind, TunnelConfig), AdmitError> {
        self.check_interface(link.interface)?;
        let address = self.address(link).ok_or(AdmitError::Address(link.interface.0))?;
        let admission = Admission { link: LinkId(number), dscp: link.dscp_model, ..admission };
        let (kind, ether_type, mac) = link.kind();
        let config = TunnelConfig {
            ether_type,
            mac,
            udp_checksum: link.udp_checksum,
            zero_checksum: link.zero_checksum,
            ..TunnelConfig::new(admission)
        };
        Ok((address, kind, config))
    }

    /// The first of `asked` results in one piece that no slice has.
    fn free_results(&self, request: &SliceRequest) -> Result<u32, AdmitError> {
        let asked = request.results;
        let mut taken: Vec<_> = self
            .slices
            .iter()
            .flatten()
            .map(|state| (state.first_result, state.results.len() as u32))
            .collect();
        taken.sort_unstable();
        let (mut first, mut left) = (0, 0);
        for (start, len) in taken.into_iter().chain([(self.limits.results, 0)]) {
            let gap = start.saturating_sub(first);
            if gap >= asked {
                return Ok(first);
            }
            left = left.max(gap);
            first = first.max(start + len);
        }
        Err(AdmitError::Results { asked, left })
    }

    /// Queues that no slice has and no packet waits in.
    fn free_queues(&self, request: &SliceRequest) -> Result<Vec<QueueId>, AdmitError> {
        let mut next = alloc::vec![0; 2 * self.interfaces.len()];
        request.queues.iter().map(|asked| self.free_queue(asked, &mut next)).collect()
    }

    /// The next one of these; `next` says where to look on at each interface, for each class:
    /// behind the last one given.
    pub(super) fn free_queue(&self, asked: &QueueRequest, next: &mut [u32]) -> Result<QueueId, AdmitError> {
        let none = AdmitError::Queues(asked.interface.0);
        let scheduler = usize::from(asked.interface.0);
        let numbers = self.scheduling(asked.interface).numbers(self.limits.queues, asked.priority);
        let place = next.get_mut(2 * scheduler + usize::from(asked.priority));
        let Some(next) = place else { return Err(none) };
        let free = |queue| {
            let id = self.here.queues.queue_id(scheduler, queue)?;
            let used = self.queues_used.get(id.0 as usize).copied().unwrap_or(true);
            (!used && self.here.queues.backlog(id) == 0).then_some((queue, id))
        };
        let found = (numbers.start.max(*next)..numbers.end).find_map(free);
        let (queue, id) = found.ok_or(none)?;
        *next = queue + 1;
        Ok(id)
    }

    /// Its queues as each worker sets them up.
    fn settings(
        &self, slice: SliceId, request: &SliceRequest, queues: &[QueueId],
    ) -> Result<Vec<QueueSetting>, AdmitError> {
        let interfaces = (0..).map(InterfaceId).take(self.interfaces.len());
        let shares = interfaces.map(|at| share_at(&request.shares, request.queues.iter(), at));
        let shares: Vec<_> = shares.collect();
        let settings = queues.iter().zip(&request.queues).map(|(id, asked)| {
            let share = shares.get(usize::from(asked.interface.0)).copied().flatten();
            self.setting(slice, *id, asked, share)
        });
        settings.collect()
    }

    /// Grants memory, links and queues; if that fails, some of it.
    fn grant(
        &mut self, admission: Admission, request: &SliceRequest, settings: &[QueueSetting],
    ) -> Result<(), AdmitError> {
        self.here.path.sram.assign(admission.slice, request.sram_words)?;
        self.open_links(&request.links, admission)?;
        for setting in settings {
            if let Err(error) = self.here.set_queue(setting) {
                self.close_links(&request.links);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// The writer of a slice's filters, with room for all of them and the bound that it asked
    /// for.
    fn writer(&mut self, slice: SliceId, request: &SliceRequest) -> Result<TcamWriter, AdmitError> {
        let promised = self.tcam.set_bound(slice, request.lines.unwrap_or(self.limits.lines));
        let promised = promised.and_then(|()| self.tcam.reserve(slice, request.filters as usize));
        let writer = promised.and_then(|()| self.tcam.writer(slice));
        Ok(writer.inspect_err(|_| self.close_links(&request.links))?)
    }

    /// Takes memory, filters and queues back that a slice was promised which is not admitted.
    fn take_back(&mut self, slice: SliceId, queues: &[QueueId]) {
        for queue in queues {
            // It may not be configured yet.
            let _ = self.here.queues.remove(*queue);
        }
        // To none: that does not fail.
        let _ = self.here.path.sram.assign(slice, 0);
        self.tcam.revoke(slice);
    }

    /// Opens the ports of all links, or none. A link has the slice's own number.
    fn open_links(&mut self, links: &[LinkRequest], admission: Admission) -> Result<(), AdmitError> {
        for (opened, link) in links.iter().enumerate() {
            let opening = self
                .port(link, opened as u16, admission)
                .and_then(|(address, kind, config)| Ok(self.here.path.decap.open(address, kind, config)?));
            if let Err(error) = opening {
                self.close_links(links.get(..opened).unwrap_or_default());
                return Err(error);
            }
        }
        Ok(())
    }

    fn close_links(&mut self, links: &[LinkRequest]) {
        for link in links {
            if let Some(address) = self.address(link) {
                self.here.path.decap.close(address, link.kind().0);
            }
        }
    }

    /// The node's address at a link, of the version that its peer has.
    pub(super) fn address(&self, link: &LinkRequest) -> Option<IpAddr> {
        let interface = self.interface(link.interface).ok()?;
        if link.peer.is_ipv4() {
            Some(interface.address.into())
        } else {
            interface.address_v6.map(IpAddr::from)
        }
    }

    pub(super) fn tunnel(&self, link: &LinkRequest, next_hop: Option<SocketAddrV4>) -> Tunnel {
        let interface = self.interface(link.interface).ok();
        let layer = interface.map(|interface| interface.link_layer).unwrap_or_default();
        let none = match link.peer {
            SocketAddr::V4(_) => IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED),
        };
        let source = SocketAddr::new(self.address(link).unwrap_or(none), link.port);
        let destination = next_hop.map_or(link.peer, SocketAddr::V4);
        Tunnel {
            dscp_model: link.dscp_model,
            dscp: link.dscp,
            multipoint: link.multipoint,
            zero_checksum: link.zero_checksum,
            ..Tunnel::new(layer, source, destination).with(link.encapsulation)
        }
    }
}

/// The record of a way out, and the template that it takes, if it takes one; both have the
/// same number.
pub(super) fn way_out(tunnel: &Tunnel, number: u32, queue: QueueId, mtu: u16) -> Result<Record, EgressError> {
    if !tunnel.needs_template() {
        return Ok(Egress::forward(tunnel, queue, mtu)?.into());
    }
    let template = Template::new(tunnel, &[])?;
    Ok(Record { egress: Egress::by_template(number, &template, queue, mtu)?, template: Some(template) })
}
