//! The resource manager at work: slices are admitted, and taken away (section 6).

use super::*;
use crate::egress::EgressError;
use crate::queue::ConfigError;

impl<C: CodeOptionSet, B: AsRef<[u8]> + AsMut<[u8]>> Node<C, B> {
    /// Admits a slice if all that it asks for is there, and gives out its control.
    ///
    /// # Errors
    ///
    /// [`AdmitError`]; nothing is reserved.
    pub fn admit(&mut self, request: SliceRequest) -> Result<SliceControl<B>, AdmitError> {
        self.reap();
        let free = self.slices.0.iter().position(Option::is_none);
        let at = free.ok_or(AdmitError::Slices(self.limits.slices))?;
        let slice = SliceId(at as u16 + 1);
        let admission = Admission { slice, option: request.option, ..Admission::NONE };
        self.check(&request)?;
        let first_result = self.free_results(&request)?;
        let queues = self.free_queues(&request)?;
        let granted = self.grant(admission, &request, &queues).and_then(|()| self.writer(slice, &request));
        let writer = granted.inspect_err(|_| self.take_back(slice))?;
        for queue in queues.iter() {
            if let Some(used) = self.queues_used.get_mut(queue.0 as usize) {
                *used = true;
            }
        }
        let links = request.links;
        let filters = request.filters;
        let slow_path = request.slow_path;
        let (node_end, end) = channel(request.commands.max(1), slow_path.waiting.max(1));
        let queues: Arc<[QueueId]> = queues.into();
        let withdrawn = Arc::new(AtomicBool::new(false));
        let mut shares = alloc::vec![Share::default(); self.interfaces.len()];
        for queue in &request.queues {
            if let Some(share) = shares.get_mut(usize::from(queue.interface.0)) {
                share.granted += u64::from(queue.weight);
                share.used = share.granted;
            }
        }
        let control = SliceControl {
            slice,
            writer,
            most_filters: filters,
            end,
            bank: self.path.sram.clone(),
            stats: self.path.stats.clone(),
            first_result,
            results: request.results,
            queues: queues.clone(),
            sent: 0,
            open: 0,
            withdrawn: withdrawn.clone(),
        };
        let state = Slice {
            admission,
            links,
            queues,
            weights: request.queues.iter().map(|queue| queue.weight).collect(),
            granted: request.queues,
            shares,
            first_result,
            results: request.results,
            most_filters: filters,
            exceptions: RateLimit::new(slow_path.per_second, slow_path.burst),
            end: node_end,
            injected_at: None,
            withdrawn,
        };
        if let Some(place) = self.slices.0.get_mut(at) {
            *place = Some(state);
        }
        Ok(control)
    }

    /// Takes a slice away: its ports, filters and results at once, and ports and filters
    /// are free for another slice. What its [`SliceControl`] can reach, its number, memory,
    /// results, queues and counters, is free when that handle is dropped, what waits in the
    /// queues is sent, and a vector that [`inject`](Self::inject) put its packets into is
    /// processed.
    pub fn withdraw(&mut self, slice: SliceId) {
        let Some(state) = self.slices.get_mut(slice).filter(|state| !state.is_withdrawn()) else { return };
        state.withdrawn.store(true, Relaxed);
        let (first, results) = (state.first_result as usize, state.results as usize);
        let links = core::mem::take(&mut state.links);
        state.most_filters = 0;
        state.end.close_packets();
        self.close_links(&links);
        self.tcam.revoke(slice);
        self.path
            .egress
            .records
            .iter_mut()
            .skip(first)
            .take(results)
            .for_each(|egress| *egress = Egress::NONE);
    }

    /// Frees what withdrawn slices held, if nobody can reach it any more.
    fn reap(&mut self) {
        let Self { path, tcam, queues, slices, queues_used, vectors, .. } = self;
        for place in &mut slices.0 {
            let idle = |state: &mut Slice<B>| {
                state.is_withdrawn()
                    && state.end.commands.is_abandoned()
                    && !tcam.is_given_out(state.admission.slice)
                    && state.injected_at != Some(*vectors)
                    && state.queues.iter().all(|queue| queues.backlog(*queue) == 0)
            };
            let Some(state) = place.take_if(idle) else { continue };
            let slice = state.admission.slice;
            // To none: that does not fail.
            let _ = path.sram.assign(slice, 0);
            path.stats.clear_slice(slice);
            for result in state.first_result..state.first_result + state.results {
                path.stats.egresses.clear(result as usize);
            }
            for queue in state.queues.iter() {
                path.stats.queues.clear(queue.0 as usize);
                if let Some(used) = queues_used.get_mut(queue.0 as usize) {
                    *used = false;
                }
            }
        }
    }

    fn check(&self, request: &SliceRequest) -> Result<(), AdmitError> {
        let has = self.path.options.count();
        if usize::from(request.option.0) >= has {
            return Err(AdmitError::UnknownOption { asked: request.option.0, has });
        }
        let used: u32 = self.slices.iter().map(|state| state.most_filters).sum();
        let left = self.limits.filters - used;
        if request.filters > left {
            return Err(AdmitError::Filters { asked: request.filters, left });
        }
        let Limits { lines, waiting, longest_frame, .. } = self.limits;
        if let Some(asked) = request.lines.filter(|asked| *asked > lines) {
            return Err(AdmitError::Lines { asked, most: lines });
        }
        let asked = request.commands.max(request.slow_path.waiting);
        if asked > waiting {
            return Err(AdmitError::Waiting { asked, most: waiting });
        }
        let has = self.interfaces.len();
        let interfaces = request.links.iter().map(|link| link.interface);
        for InterfaceId(asked) in interfaces.chain(request.queues.iter().map(|queue| queue.interface)) {
            if usize::from(asked) >= has {
                return Err(AdmitError::UnknownInterface { asked, has });
            }
        }
        let (links, queues) = (request.links.len(), request.queues.len());
        if links > usize::from(u16::MAX) {
            return Err(AdmitError::Links(links));
        }
        if queues > usize::from(u16::MAX) {
            return Err(AdmitError::QueueCount(queues));
        }
        let open: usize = self.slices.iter().map(|state| state.links.len()).sum();
        let left = self.limits.ports.saturating_sub(open);
        if links > left {
            return Err(AdmitError::Ports { asked: links, left });
        }
        for link in &request.links {
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
            // A longer packet would be refused by the queue, where nobody answers it.
            let (mtu, header) = (link.mtu, tunnel.octets());
            if usize::from(mtu) + header > longest_frame as usize {
                return Err(AdmitError::Mtu { mtu, header, longest: longest_frame });
            }
        }
        for queue in &request.queues {
            if queue.weight == 0 || queue.weight > QueueConfig::MAX_WEIGHT {
                return Err(ConfigError::Weight(queue.weight).into());
            }
        }
        for (interface, at) in (0..).zip(0..has) {
            let here = |queue: &&QueueRequest| usize::from(queue.interface.0) == at;
            let asked_and_left = |of: fn(&QueueRequest) -> u64, all: u64| {
                let granted = self.slices.iter().flat_map(|state| &state.granted);
                let granted: u64 = granted.filter(here).map(of).sum();
                let asked: u64 = request.queues.iter().filter(here).map(of).sum();
                (asked, all.saturating_sub(granted))
            };
            let descriptors = self.limits.descriptors as u64;
            let (asked, left) = asked_and_left(|queue| queue.limit_packets.into(), descriptors);
            if asked > left {
                return Err(AdmitError::Descriptors { interface, asked, left });
            }
            let (asked, left) = asked_and_left(|queue| queue.weight.into(), self.limits.weights.into());
            if asked > left {
                return Err(AdmitError::Weights { interface, asked, left });
            }
        }
        Ok(())
    }

    /// The first of `asked` results in one piece that no slice has.
    fn free_results(&self, request: &SliceRequest) -> Result<u32, AdmitError> {
        let asked = request.results;
        let mut taken: Vec<_> = self.slices.iter().map(|state| (state.first_result, state.results)).collect();
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
        let mut given = Vec::with_capacity(request.queues.len());
        // Where to look on, for each interface: behind the last one given.
        let mut next = alloc::vec![0; self.interfaces.len()];
        for asked in &request.queues {
            let none = AdmitError::Queues(asked.interface.0);
            let scheduler = usize::from(asked.interface.0);
            let Some(next) = next.get_mut(scheduler) else { return Err(none) };
            let free = |queue| {
                let id = self.queues.queue_id(scheduler, queue)?;
                let used = self.queues_used.get(id.0 as usize).copied().unwrap_or(true);
                (!used && self.queues.backlog(id) == 0).then_some((queue, id))
            };
            let Some((queue, id)) = (*next..self.limits.queues).find_map(free) else { return Err(none) };
            *next = queue + 1;
            given.push(id);
        }
        Ok(given)
    }

    /// Grants memory, links and queues; if that fails, some of it.
    fn grant(
        &mut self, admission: Admission, request: &SliceRequest, queues: &[QueueId],
    ) -> Result<(), AdmitError> {
        self.path.sram.assign(admission.slice, request.sram_words)?;
        self.open_links(&request.links, admission)?;
        for (queue, asked) in queues.iter().zip(&request.queues) {
            let QueueRequest { weight, limit_packets, limit_octets, .. } = *asked;
            let config = QueueConfig { owner: admission.slice, weight, limit_packets, limit_octets };
            if let Err(error) = self.queues.configure(*queue, config) {
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

    /// Takes memory and filters back that a slice was promised which is not admitted.
    fn take_back(&mut self, slice: SliceId) {
        // To none: that does not fail.
        let _ = self.path.sram.assign(slice, 0);
        self.tcam.revoke(slice);
    }

    /// Opens the ports of all links, or none. A link has the slice's own number.
    fn open_links(&mut self, links: &[LinkRequest], admission: Admission) -> Result<(), AdmitError> {
        for (opened, link) in links.iter().enumerate() {
            // `check` has seen that it is there.
            let Some(address) = self.address(link) else { continue };
            let admission = Admission { link: LinkId(opened as u16), dscp: link.dscp_model, ..admission };
            let (kind, ether_type, mac) = link.kind();
            let config = TunnelConfig {
                ether_type,
                mac,
                udp_checksum: link.udp_checksum,
                zero_checksum: link.zero_checksum,
                ..TunnelConfig::new(admission)
            };
            if let Err(error) = self.path.decap.open(address, kind, config) {
                self.close_links(links.get(..opened).unwrap_or_default());
                return Err(error.into());
            }
        }
        Ok(())
    }

    pub(super) fn close_links(&mut self, links: &[LinkRequest]) {
        for link in links {
            if let Some(address) = self.address(link) {
                self.path.decap.close(address, link.kind().0);
            }
        }
    }

    /// The node's address at a link, of the version that its peer has.
    fn address(&self, link: &LinkRequest) -> Option<IpAddr> {
        let interface = self.interfaces.get(usize::from(link.interface.0))?;
        if link.peer.is_ipv4() {
            Some(interface.address.into())
        } else {
            interface.address_v6.map(IpAddr::from)
        }
    }

    pub(super) fn tunnel(&self, link: &LinkRequest, next_hop: Option<SocketAddrV4>) -> Tunnel {
        let interface = self.interfaces.get(usize::from(link.interface.0));
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
pub(super) fn way_out(
    tunnel: &Tunnel, number: u32, queue: QueueId, mtu: u16,
) -> Result<(Egress, Option<Template>), EgressError> {
    if !tunnel.needs_template() {
        return Ok((Egress::forward(tunnel, queue, mtu)?, None));
    }
    let template = Template::new(tunnel, &[])?;
    Ok((Egress::by_template(number, &template, queue, mtu)?, Some(template)))
}
