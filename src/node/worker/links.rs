//! Links of a slice that runs: opened, closed, led to another peer.
//!
//! The node's owner does this; it costs the time of the slice's results. Packets that wait
//! have their outer header already and are sent as it says.

use super::*;

impl<C: CodeOptionSet, B: AsRef<[u8]> + AsMut<[u8]>> Node<C, B> {
    /// Opens a further link for a slice that runs, and returns the slice's own number of it:
    /// the lowest that is free. Results lead there when the slice's manager says so.
    ///
    /// # Errors
    ///
    /// [`LinkError::UnknownSlice`], [`LinkError::Refused`]; nothing has changed.
    pub fn open_link(&mut self, slice: SliceId, link: LinkRequest) -> Result<u16, LinkError> {
        let state = self.running(slice)?;
        let free = state.links.iter().position(Option::is_none).unwrap_or(state.links.len());
        let admission = state.admission;
        let number = u16::try_from(free).ok().filter(|number| *number < u16::MAX);
        let number = number.ok_or(AdmitError::Links(free + 1))?;
        self.check_ports(1)?;
        self.check_link(&link)?;
        let (address, kind, config) = self.port(&link, number, admission)?;
        self.here.path.decap.open(address, kind, config).map_err(AdmitError::Port)?;
        if link.police.is_some() {
            // `check_link` has seen that there is such a meter. Nothing comes in before it is there.
            let _ = self.put_policer(slice, Some(number), link.police);
        }
        self.crew.order(|| Change::Open { address, kind, config });
        if let Some(state) = self.slice_mut(slice) {
            match state.links.get_mut(free) {
                Some(place) => *place = Some(link),
                None => state.links.push(Some(link)),
            }
        }
        Ok(number)
    }

    /// Closes a link of a slice that runs. Results that lead through it lead nowhere: their
    /// packets are dropped as [`DropReason::NoMatch`] until they are set anew.
    ///
    /// # Errors
    ///
    /// [`LinkError::UnknownSlice`], [`LinkError::UnknownLink`]; nothing has changed.
    pub fn close_link(&mut self, slice: SliceId, link: u16) -> Result<LinkRequest, LinkError> {
        let closed = self.link(slice, link)?;
        if let Some(state) = self.slice_mut(slice)
            && let Some(place) = state.links.get_mut(usize::from(link))
        {
            *place = None;
        }
        if let Some(address) = self.address(&closed) {
            let (kind, ..) = closed.kind();
            self.here.path.decap.close(address, kind);
            self.crew.order(|| Change::Close { address, kind });
        }
        self.lead_nowhere(slice, |way| way.link == link);
        self.put_policer(slice, Some(link), None).ok();
        Ok(closed)
    }

    /// Leads a link of a slice that runs to another peer, all results with it but those that
    /// name a next hop of their own. Packets from whichever sender come in as before.
    ///
    /// # Errors
    ///
    /// [`LinkError::UnknownSlice`], [`LinkError::UnknownLink`], [`LinkError::Refused`] for an
    /// address that no packet can be sent to or that is of another IP version; nothing has changed.
    pub fn set_peer(
        &mut self, slice: SliceId, link: u16, peer: impl Into<SocketAddr>,
    ) -> Result<(), LinkError> {
        let peer = peer.into();
        let old = self.link(slice, link)?;
        if old.peer.is_ipv4() != peer.is_ipv4() {
            return Err(AdmitError::Peer(peer).into());
        }
        let changed = LinkRequest { peer, ..old };
        self.check_link(&changed)?;
        if let Some(state) = self.slice_mut(slice)
            && let Some(place) = state.links.get_mut(usize::from(link))
        {
            *place = Some(changed);
        }
        self.lead(slice, link, &changed);
        Ok(())
    }

    /// The links of a slice, with its own numbers of them.
    pub fn links_of(&self, slice: SliceId) -> impl Iterator<Item = (u16, &LinkRequest)> {
        let links = self.slice(slice).map_or(&[][..], |state| &state.links);
        (0..=u16::MAX).zip(links).filter_map(|(number, link)| Some((number, link.as_ref()?)))
    }

    pub(super) fn running(&self, slice: SliceId) -> Result<&Slice, LinkError> {
        self.slice(slice).filter(|state| !state.is_withdrawn()).ok_or(LinkError::UnknownSlice(slice))
    }

    pub(super) fn link(&self, slice: SliceId, link: u16) -> Result<LinkRequest, LinkError> {
        let state = self.running(slice)?;
        let found = state.links.get(usize::from(link)).copied().flatten();
        found.ok_or(LinkError::UnknownLink { asked: link, has: state.links.len() })
    }

    /// Writes the records of all results that lead through a link anew.
    fn lead(&mut self, slice: SliceId, number: u16, link: &LinkRequest) {
        let through = |way: &WayOut| way.link == number;
        self.rewrite(slice, through, |node, id, way| node.record(id, link, way));
    }

    /// Has results that lead by such a way lead nowhere.
    pub(super) fn lead_nowhere(&mut self, slice: SliceId, by: impl Fn(&WayOut) -> bool) {
        self.rewrite(slice, &by, |_, _, _| Egress::NONE.into());
        if let Some(state) = self.slice_mut(slice) {
            state.results.iter_mut().for_each(|place| *place = place.filter(|way| !by(way)));
        }
    }

    fn rewrite(
        &mut self, slice: SliceId, by: impl Fn(&WayOut) -> bool,
        record: impl Fn(&Self, EgressId, &WayOut) -> Record,
    ) {
        let Some(state) = self.slice(slice) else { return };
        let ways = (0..).zip(&state.results).filter_map(|(at, way)| Some((at, way.as_ref()?)));
        let records = ways.filter(|(_, way)| by(way)).filter_map(|(at, way)| {
            let id = EgressId::new(state.first_result + at)?;
            Some((id, record(self, id, way)))
        });
        let records: Vec<_> = records.collect();
        for (id, record) in &records {
            self.here.set_record(*id, record);
        }
        if !records.is_empty() {
            self.crew.order(|| Change::Results(records.clone().into()));
        }
    }

    /// The record of a way out through `link`, and its template.
    pub(super) fn record(&self, id: EgressId, link: &LinkRequest, way: &WayOut) -> Record {
        let end = if let Next::End(end) = way.next { Some(end) } else { None };
        let tunnel = self.tunnel(link, end);
        let tunnel = match way.next {
            // Who set the result has seen that the link carries frames.
            Next::Neighbour(mac) => {
                tunnel.with(commands::to_neighbour(link.encapsulation, mac).unwrap_or(link.encapsulation))
            }
            Next::Peer | Next::End(_) => tunnel,
        };
        // `check_link` has seen that the MTU fits.
        let made = resource::way_out(&tunnel, id.index() as u32, way.queue, link.mtu);
        let made = made.unwrap_or(Egress::NONE.into());
        Record { egress: made.egress.with_word(way.word), ..made }
    }
}
