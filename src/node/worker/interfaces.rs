//! Interfaces come, change their rate, and go.

use super::*;

impl<C: CodeOptionSet, B: AsRef<[u8]> + AsMut<[u8]>> Node<C, B> {
    /// Adds an interface with a scheduler of its own, at each worker. Its number is the lowest
    /// that is free.
    ///
    /// # Errors
    ///
    /// [`InterfaceError`]; the node is unchanged.
    pub fn add_interface(&mut self, config: InterfaceConfig) -> Result<InterfaceId, InterfaceError> {
        let free = self.interfaces.iter().position(Option::is_none);
        let number = free.unwrap_or(self.interfaces.len());
        if number >= Self::MAX_INTERFACES {
            let queues = self.limits.queues;
            return Err(InterfaceError::TooMany { interfaces: number + 1, queues });
        }
        self.put_scheduler(number, |node| node.scheduler(&config))?;
        if let Some(place) = self.interfaces.get_mut(number) {
            *place = Some(config);
        } else {
            self.interfaces.push(Some(config));
            self.queues_used.resize(self.queues_used.len() + self.limits.queues as usize, false);
        }
        Ok(InterfaceId(number as u16))
    }

    /// Takes an interface away that no slice has a link or a queue at, withdrawn slices that
    /// are not let go yet included. Its number is free for another.
    ///
    /// # Errors
    ///
    /// [`InterfaceError::Unknown`], [`InterfaceError::InUse`]; the node is unchanged.
    pub fn remove_interface(&mut self, interface: InterfaceId) -> Result<InterfaceConfig, InterfaceError> {
        self.reap();
        let config = *self.interface(interface)?;
        let uses = |slice: &&Slice| {
            let links = slice.open_links().map(|link| link.interface);
            links.chain(slice.granted().map(|queue| queue.interface)).any(|at| at == interface)
        };
        let slices = self.slices.iter().flatten().filter(uses).count();
        if slices > 0 {
            return Err(InterfaceError::InUse { interface: interface.0, slices });
        }
        let number = usize::from(interface.0);
        // Shares without queues are of nothing now.
        for state in self.slices.iter_mut().flatten() {
            state.shares.retain(|share| share.interface != interface);
        }
        // Nothing waits there: of what it had, memory is left.
        self.put_scheduler(number, |node| node.no_scheduler())?;
        if let Some(place) = self.interfaces.get_mut(number) {
            *place = None;
        }
        Ok(config)
    }

    /// Changes the rate of an interface, from the next packet on. Where there are several
    /// workers, their shares follow when they are next computed.
    ///
    /// # Errors
    ///
    /// [`InterfaceError::Unknown`], [`InterfaceError::Class`] if the class that comes first would leave the
    /// other queues nothing; the node is unchanged.
    pub fn set_rate(&mut self, now: Nanos, interface: InterfaceId, rate: Rate) -> Result<(), InterfaceError> {
        let config = InterfaceConfig { rate, ..*self.interface(interface)? };
        config.check_class()?;
        let (number, burst) = (usize::from(interface.0), self.burst(&config));
        if let Some(place) = self.interfaces.get_mut(number) {
            *place = Some(config);
        }
        let alone = self.crew.len() == 0;
        self.here.set_burst(now, number, burst);
        if alone {
            self.here.queues.change(now, number, |paced| paced.change_rate(now, rate));
        }
        self.here.set_whole(number, rate);
        self.crew.order(|| Change::Rate { number, rate, burst });
        Ok(())
    }

    /// The interfaces, with their numbers.
    pub fn interfaces(&self) -> impl Iterator<Item = (InterfaceId, &InterfaceConfig)> {
        let numbered = (0..=u16::MAX).map(InterfaceId).zip(&self.interfaces);
        numbered.filter_map(|(id, interface)| Some((id, interface.as_ref()?)))
    }

    /// An interface that is there.
    pub(super) fn interface(&self, interface: InterfaceId) -> Result<&InterfaceConfig, InterfaceError> {
        let found = self.interfaces.get(usize::from(interface.0)).and_then(Option::as_ref);
        found.ok_or(InterfaceError::Unknown(interface.0))
    }

    /// Makes a scheduler for each worker, or none.
    fn put_scheduler(
        &mut self, number: usize, make: impl Fn(&Self) -> Result<Scheduler<B>, InterfaceError>,
    ) -> Result<(), InterfaceError> {
        let own = make(self)?;
        let others = (0..self.crew.len()).map(|_| make(self).map(Box::new));
        let mut others = others.collect::<Result<Vec<_>, _>>()?.into_iter();
        // No packet waits there: no time passes.
        self.here.schedule(Nanos::ZERO, number, own);
        let mut next = || others.next();
        self.crew.order_each(|| Some(Change::Schedule { number, scheduler: next()? }));
        Ok(())
    }

    /// A scheduler without packets for an interface.
    pub(super) fn scheduler(&self, config: &InterfaceConfig) -> Result<Scheduler<B>, InterfaceError> {
        let Limits { queues, descriptors, slices, seed, .. } = self.limits;
        config.check_class()?;
        let longest = self.longest(config);
        let unit = if config.quantum == 0 { longest } else { config.quantum };
        let quantum = Quantum { unit, longest };
        let (slices, workers) = (slices.into(), self.workers());
        let size = Size { queues, descriptors, slices, quantum, seed, workers, rate: config.rate };
        let discipline = Discipline::new(config.scheduling, &size)?;
        Ok(Paced::new(discipline, config.rate, config.overhead, self.burst(config)))
    }

    /// What stands in the place of an interface that is gone.
    pub(super) fn no_scheduler(&self) -> Result<Scheduler<B>, InterfaceError> {
        Ok(Paced::new(Discipline::none()?, Rate::MAX, 0, Nanos::ZERO))
    }

    pub(super) const fn longest(&self, config: &InterfaceConfig) -> u32 {
        self.limits.longest_frame.saturating_add(config.overhead)
    }

    /// Who asks late catches up on the time of a hundred of the longest frames.
    fn burst(&self, config: &InterfaceConfig) -> Nanos {
        let burst = u128::from(self.longest(config)) * 800_000_000_000 / u128::from(config.rate.get());
        Nanos(u64::try_from(burst).unwrap_or(u64::MAX))
    }
}
