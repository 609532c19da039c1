//! The slice's filters as ways.

use alloc::vec::Vec;

use crate::code_option::ipv4::Ipv4Key;
use crate::manager::{Route, Way, Ways};
use crate::node::{Action, SliceControl};

/// What the slice's results lead to, as they were set: with the filters, which a
/// [`SliceControl`] knows, these are the slice's ways.
#[derive(Clone, Debug)]
pub struct Results {
    /// MTUs, by link.
    links: Vec<u16>,
    actions: Vec<(Action, Option<u32>)>,
    /// Whether ways name their results.
    direct: bool,
}

impl Results {
    /// No results yet; `links` are the MTUs of the slice's links, in the order of its request.
    pub fn new(links: impl IntoIterator<Item = u16>) -> Self {
        Self { links: links.into_iter().collect(), actions: Vec::new(), direct: true }
    }

    /// The same, with ways that do not name their results: what the manager sends goes in-band,
    /// through the slice's filters once more, and is counted and traced as what links bring.
    pub fn in_band(self) -> Self {
        Self { direct: false, ..self }
    }

    /// Result `result` leads to `action`, and there to the router `gateway` (first octet on top)
    /// if not to neighbours. A result that is not set drops.
    ///
    /// Holds as many as the highest number set.
    pub fn set(&mut self, result: u32, action: Action, gateway: Option<u32>) {
        let at = result as usize;
        if at >= self.actions.len() {
            self.actions.resize(at + 1, (Action::Drop, None));
        }
        if let Some(place) = self.actions.get_mut(at) {
            *place = (action, gateway);
        }
    }

    /// The ways of the slice that `control` controls.
    pub const fn ways<'a, B>(&'a self, control: &'a SliceControl<B>) -> FilterWays<'a, B> {
        FilterWays { results: self, control }
    }

    fn route(&self, result: u32) -> Route {
        match self.actions.get(result as usize) {
            Some((Action::Forward { link, .. } | Action::Neighbour { link, mac: Some(_), .. }, gateway)) => {
                match self.links.get(usize::from(*link)) {
                    Some(mtu) => {
                        let result = self.direct.then_some(result);
                        Route::Via(Way { link: *link, mtu: *mtu, result, gateway: *gateway })
                    }
                    None => Route::Drop,
                }
            }
            Some((Action::SlowPath(exception), _)) => Route::Exception(*exception),
            // Whole frames are sent there, no packets.
            Some((Action::Neighbour { mac: None, .. } | Action::Drop, _)) | None => Route::Drop,
        }
    }
}

/// A slice's filters, asked as the fast path asks them.
#[derive(Debug)]
pub struct FilterWays<'a, B> {
    results: &'a Results,
    control: &'a SliceControl<B>,
}

impl<B> Ways for FilterWays<'_, B> {
    fn route(&self, key: &Ipv4Key, _: u16) -> Route {
        self.control.lookup((*key).into()).map_or(Route::Drop, |result| self.results.route(result))
    }
}
