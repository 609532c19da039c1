//! A slice: its queues and limits.

use fastpath::manager::SourceRoutes;
use fastpath::node::{QueueRequest, SliceRequest, SlowPathRequest};

use super::check::Reader;
use super::error::{ConfigError, What};
use super::file::{File, Kind, SliceTable, SlowPathTable, SourceRoutesName, Whole};
use super::link::Taken;
use super::{Plan, SlicePlan};

impl Reader<'_> {
    pub(super) fn slice(
        &self, file: &File, plan: &Plan, number: usize, table: &SliceTable, taken: &mut Taken,
    ) -> Result<SlicePlan, ConfigError> {
        let source = self.source;
        let limits = &plan.limits;
        let mut request = SliceRequest::new(table.option.option());
        for link in &table.link {
            let request_of = self.link(plan, table.option, link, taken)?;
            request.links.push(request_of);
        }
        let asked = taken.len() as u64;
        if let (true, Some(link)) = (asked > limits.ports as u64, table.link.last()) {
            let what = What::Limit { asked, limit: limits.ports as u64 };
            return Err(source.value("name", &link.name.span(), what));
        }
        for queue in &table.queue {
            let asked = self.queue(plan, queue)?;
            let others = plan.slices.iter().flat_map(|slice| &slice.request.queues);
            let class = |it: &QueueRequest| (it.interface, it.priority);
            let same = others.chain(&request.queues).filter(|other| class(other) == class(&asked));
            let limit = Self::room(plan, &asked);
            if same.count() as u64 >= limit {
                let interface = queue.interface.get_ref().clone();
                let what = What::Queues { interface, limit };
                return Err(source.value("name", &queue.name.span(), what));
            }
            request.queues.push(asked);
        }
        request.shares = table.share.iter().map(|share| self.share(share)).collect::<Result<_, _>>()?;
        request.police = table.police.as_ref().map(|police| self.police(police)).transpose()?;
        self.fitting(table)?;
        let (results, filters) = self.filters(file, &request, number, table)?;

        let limit = |key, value: Option<&Whole>, asked: u64, sum: u64, limit: u64| match asked + sum > limit {
            false => Ok(()),
            true => {
                let what = What::Limit { asked: asked + sum, limit };
                let (key, span) = value.map_or(("name", table.name.span()), |value| (key, value.span()));
                Err(source.value(key, &span, what))
            }
        };
        let used = |of: fn(&SliceRequest) -> u32| -> u64 {
            plan.slices.iter().map(|slice| u64::from(of(&slice.request))).sum()
        };
        let needed = filters.len().max(1) as u64;
        request.filters = source.whole_or(
            "filters",
            table.filters.as_ref(),
            needed..=limits.filters.into(),
            needed as u32,
        )?;
        let filters_used = used(|request| request.filters);
        limit(
            "filters",
            table.filters.as_ref(),
            request.filters.into(),
            filters_used,
            limits.filters.into(),
        )?;
        request.results = results.len().max(1) as u32;
        limit(
            "results",
            None,
            request.results.into(),
            used(|request| request.results),
            limits.results.into(),
        )?;
        let words = table.sram_words.as_ref();
        request.sram_words = source.whole_or("sram_words", words, 0..=limits.sram_words as u64, 0)?;
        let words_used = used(|request| request.sram_words);
        limit("sram_words", words, request.sram_words.into(), words_used, limits.sram_words as u64)?;
        request.slow_path = self.slow_path(table.slow_path.as_ref())?;
        let lines = table.lines.as_ref();
        request.lines = match lines {
            Some(_) => Some(source.whole_or("lines", lines, 1..=limits.lines.into(), 0)?),
            None => None,
        };
        Ok(SlicePlan {
            name: table.name.get_ref().clone(),
            kind: table.option,
            address: table.address.as_ref().map(|address| *address.get_ref()),
            request,
            source_routes: match table.source_routes {
                Some(SourceRoutesName::Refuse) => SourceRoutes::Refuse,
                Some(SourceRoutesName::Follow) => SourceRoutes::Follow,
                Some(SourceRoutesName::Drop) | None => SourceRoutes::Drop,
            },
            access: table.link.iter().map(|link| self.access(link)).collect::<Result<_, _>>()?,
            links: table.link.iter().map(|link| link.name.get_ref().clone()).collect(),
            queues: table.queue.iter().map(|queue| queue.name.get_ref().clone()).collect(),
            results,
            filters,
        })
    }

    /// Refuses keys that a code option has no use for.
    fn fitting(&self, table: &SliceTable) -> Result<(), ConfigError> {
        let foreign = match table.option {
            Kind::Ipv4 => table.label.first().map(|label| ("label", label.label.span())),
            Kind::Label => {
                let route = table.route.first().map(|route| ("prefix", route.prefix.span()));
                let filter = table.filter.first().map(|filter| ("rank", filter.rank.span()));
                let address = table.address.as_ref().map(|address| ("address", address.span()));
                route.or(filter).or(address)
            }
        };
        match foreign {
            None => Ok(()),
            Some((key, span)) => {
                let what = What::Option { option: table.option.name(), key };
                Err(self.source.value(key, &span, what))
            }
        }
    }

    fn slow_path(&self, table: Option<&SlowPathTable>) -> Result<SlowPathRequest, ConfigError> {
        let (source, default) = (self.source, SlowPathRequest::default());
        let Some(SlowPathTable { per_second, burst, waiting }) = table else { return Ok(default) };
        let second = 1..=1_000_000_000;
        Ok(SlowPathRequest {
            per_second: source.whole_or("per_second", per_second.as_ref(), second, default.per_second)?,
            burst: source.whole_or("burst", burst.as_ref(), 1..=1 << 20, default.burst)?,
            waiting: source.whole_or("waiting", waiting.as_ref(), 1..=1 << 20, default.waiting)?,
        })
    }
}
