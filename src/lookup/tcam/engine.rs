//! The engines of a slice, as readers see them and as their writer does.
//!
//! Two at most: routes below, and above them whatever else there is. A part that is built
//! anew is published beside the other, which stays as it is.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU64;

use crate::epoch::Epochs;
use crate::id::SliceId;
use crate::key::LookupKey;
use crate::lookup::exact::{ExactControl, ExactError, ExactRead};
use crate::lookup::forest::{ForestControl, ForestRead, Inserted, Machine, Rule};
use crate::lookup::tcam::routes::{Routes, RoutesControl};
use crate::lookup::tcam::row::{Changed, Row};
use crate::lookup::tcam::shape::{FEW, Shape, Shaper};
use crate::lookup::{Filter, Hit, Place, RangedFilter, Rank};
use crate::prefix::Form;

/// What readers see of a slice.
#[derive(Debug)]
pub(super) struct Engine {
    /// Whether lookups read what may not be in the nearest cache, and is to be fetched ahead.
    far: bool,
    pub(super) upper: Option<Arc<Upper>>,
    pub(super) routes: Option<Arc<Routes>>,
    /// Another after every update.
    pub(super) generation: Arc<AtomicU64>,
    /// Octets of both parts when they were built.
    pub(super) octets: [usize; 2],
}

/// Filters that are no routes, or all if there are no routes.
#[derive(Debug)]
pub(super) enum Upper {
    Forest(ForestRead),
    Exact(ExactRead),
}

/// The writer's side of an [`Engine`].
#[derive(Debug, Default)]
pub(super) struct Control {
    pub(super) upper: Option<UpperControl>,
    pub(super) routes: Option<RoutesControl>,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each slice")]
pub(super) enum UpperControl {
    Forest(ForestControl),
    Exact(ExactControl),
}

/// What an engine is built for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) slice: SliceId,
    pub(super) machine: Machine,
    /// Lines that a lookup may touch.
    pub(super) bound: u32,
    pub(super) seed: u64,
}

/// What a slice would cost, where that is more than it may.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TooMuch(pub(super) u32);

impl Upper {
    #[inline(always)]
    pub(super) fn lookup(&self, key: u128) -> Option<u32> {
        match self {
            Self::Forest(forest) => forest.lookup(key),
            Self::Exact(exact) => exact.lookup(LookupKey::new(key)),
        }
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, key: u128) {
        match self {
            Self::Forest(forest) => forest.prefetch(),
            Self::Exact(exact) => exact.prefetch(LookupKey::new(key)),
        }
    }

    fn next_match(&self, control: &UpperControl, key: u128, after: Option<Place>) -> Option<Hit<u32>> {
        match (self, control) {
            (Self::Forest(forest), _) => forest.next_match(key, after),
            (Self::Exact(exact), UpperControl::Exact(control)) => {
                let filter = Filter::new(exact.slice(), LookupKey::new(key), exact.mask());
                let (place, value) = control.get(exact, &filter)?;
                (Some(place) > after).then_some(Hit { place, value })
            }
            _ => None,
        }
    }
}

impl Engine {
    #[inline(always)]
    pub(super) fn lookup(&self, key: u128) -> Option<u32> {
        if let Some(upper) = &self.upper
            && let Some(word) = upper.lookup(key)
        {
            // All filters above routes stand before them.
            return Some(word);
        }
        self.routes.as_ref()?.lookup(key)
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, key: u128) {
        if !self.far {
            return;
        }
        if let Some(upper) = &self.upper {
            upper.prefetch(key);
        }
        if let Some(routes) = &self.routes {
            routes.prefetch(key);
        }
    }

    /// Whether it has routes that do not stay in the nearest cache, beyond the line that is
    /// fetched first.
    #[inline(always)]
    pub(super) fn has_far_routes(&self) -> bool {
        self.far && self.routes.as_deref().is_some_and(|routes| !routes.is_near() && routes.goes_deeper())
    }

    /// Without filters but for these routes.
    pub(super) const fn new(routes: Option<Arc<Routes>>, generation: Arc<AtomicU64>) -> Self {
        Self { far: false, upper: None, routes, generation, octets: [0; 2] }
    }

    /// After a change of its parts.
    fn complete(&mut self, control: &Control) {
        self.octets = control.parts(self);
        let upper = self.upper.as_deref().is_some_and(|upper| match upper {
            Upper::Forest(forest) => !forest.is_list(),
            Upper::Exact(_) => true,
        });
        self.far = upper || self.routes.as_deref().is_some_and(|routes| !routes.is_near());
    }

    /// Whether its parts are too large to be built anew for want of memory.
    pub(super) fn is_large(&self) -> bool {
        self.octets.iter().sum::<usize>() > LARGE
    }

    /// Octets that go when this goes and `next` is in its place.
    pub(super) fn octets_before(&self, next: Option<&Self>) -> usize {
        let same =
            |a: &Option<Arc<Routes>>| matches!((a, &self.routes), (Some(a), Some(b)) if Arc::ptr_eq(a, b));
        let [upper, routes] = self.octets;
        size_of::<Self>() + upper + if next.is_some_and(|next| same(&next.routes)) { 0 } else { routes }
    }

    pub(super) fn next_match(&self, control: &Control, key: u128, after: Option<Place>) -> Option<Hit<u32>> {
        let upper = self.upper.as_ref().zip(control.upper.as_ref());
        let first = upper.and_then(|(upper, control)| upper.next_match(control, key, after));
        first.or_else(|| self.routes.as_ref()?.next_match(key, after))
    }
}

impl Control {
    /// The most lines that a lookup touches, the engine's own and the parts' among them.
    pub(super) fn cost(&self, engine: &Engine) -> u32 {
        OWN_LINES + self.upper_cost() + self.routes_cost(engine)
    }

    fn upper_cost(&self) -> u32 {
        match &self.upper {
            Some(UpperControl::Forest(forest)) => forest.cost(),
            Some(UpperControl::Exact(_)) => 2,
            None => 0,
        }
    }

    fn routes_cost(&self, engine: &Engine) -> u32 {
        self.routes.as_ref().zip(engine.routes.as_ref()).map_or(0, |(control, routes)| control.cost(routes))
    }

    /// The most lines that a lookup of a key touches.
    pub(super) fn cost_of(&self, engine: &Engine, key: u128) -> u32 {
        let upper = match engine.upper.as_deref() {
            Some(Upper::Forest(forest)) => forest.cost_of(key),
            Some(Upper::Exact(_)) => 2,
            None => 0,
        };
        OWN_LINES + upper + self.routes_cost(engine)
    }

    pub(super) fn octets(&self, engine: &Engine) -> usize {
        let [upper, routes] = self.parts(engine);
        size_of::<Engine>() + upper + routes
    }

    /// Octets of the routes that wait for readers.
    pub(super) fn waiting(&self, engine: &Engine) -> usize {
        let routes = self.routes.as_ref().zip(engine.routes.as_ref());
        routes.map_or(0, |(control, routes)| control.waiting(routes))
    }

    /// Octets of the part above the routes, and of the routes.
    fn parts(&self, engine: &Engine) -> [usize; 2] {
        let upper = match (&self.upper, engine.upper.as_deref()) {
            (Some(UpperControl::Forest(forest)), _) => forest.bytes() + size_of::<ForestRead>(),
            (Some(UpperControl::Exact(control)), Some(Upper::Exact(exact))) => {
                exact.octets() + control.octets()
            }
            _ => 0,
        };
        let routes = self.routes.as_ref().zip(engine.routes.as_ref());
        [upper, routes.map_or(0, |(control, routes)| control.octets(routes))]
    }

    /// All filters, in no order.
    pub(super) fn rows<'a>(&'a self, engine: &'a Engine, slice: SliceId) -> impl Iterator<Item = Row> + 'a {
        let routes = engine.routes.iter().flat_map(|routes| routes.rows());
        self.upper_rows(engine, slice).into_iter().chain(routes)
    }

    pub(super) fn upper_rows(&self, engine: &Engine, slice: SliceId) -> Vec<Row> {
        match (&self.upper, engine.upper.as_deref()) {
            (Some(UpperControl::Forest(control)), Some(Upper::Forest(forest))) => {
                let rules = control.rules(forest).into_iter();
                rules
                    .map(|rule| Row { place: rule.place(), filter: rule.filter(slice), word: rule.word() })
                    .collect()
            }
            (Some(UpperControl::Exact(control)), Some(Upper::Exact(exact))) => {
                let rows = control.iter(exact);
                rows.map(|(place, filter, word)| Row { place, filter: filter.into(), word }).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The word of a filter that is there.
    pub(super) fn get(&self, engine: &Engine, rank: Rank, filter: &RangedFilter) -> Option<u32> {
        let upper = match (&self.upper, engine.upper.as_deref()) {
            (Some(UpperControl::Forest(control)), Some(Upper::Forest(forest))) => {
                control.get(forest, &Rule::new(rank, filter, 0))
            }
            (Some(UpperControl::Exact(control)), Some(Upper::Exact(exact))) if filter.is_ternary() => {
                let found = control.get(exact, filter.filter());
                found.filter(|(place, _)| place.rank() == rank).map(|(_, word)| word)
            }
            _ => None,
        };
        upper.or_else(|| self.routes.as_ref()?.get(engine.routes.as_ref()?, rank, filter))
    }

    /// Inserts a filter, or replaces the word of one that is `known` to be there.
    pub(super) fn insert(
        &mut self, engine: &Engine, epochs: &mut Epochs, row: &Row, known: bool, bound: u32,
    ) -> Changed {
        let (rank, filter) = (row.place.rank(), &row.filter);
        let (above, others) = (OWN_LINES + self.upper_cost(), OWN_LINES + self.routes_cost(engine));
        if let (Some(control), Some(routes)) = (&mut self.routes, engine.routes.as_deref())
            && rank.0 >= Rank::ROUTES
        {
            // What stands above leaves the routes less than they were built for.
            let most = control.most_lines(routes, rank, filter);
            if !known && above > OWN_LINES && above.saturating_add(most) > bound {
                return Changed::RebuildDue;
            }
            let inserted = control.insert(routes, epochs, rank, filter, row.word);
            return match inserted {
                Changed::Done(_) if !known && self.cost(engine) > bound => Changed::Over,
                inserted => inserted,
            };
        }
        match (&mut self.upper, engine.upper.as_deref()) {
            (Some(UpperControl::Forest(control)), Some(Upper::Forest(forest))) => {
                let rule = Rule::new(rank, filter, row.word);
                if known {
                    return Changed::Done(control.replace(forest, &rule));
                }
                if control.is_stale() {
                    return Changed::RebuildDue;
                }
                match control.insert_new(forest, epochs, &rule, bound.saturating_sub(others)) {
                    Inserted::Done(old) => Changed::Done(old),
                    Inserted::RebuildDue => Changed::RebuildDue,
                    Inserted::Deferred => Changed::Busy,
                }
            }
            (Some(UpperControl::Exact(control)), Some(Upper::Exact(exact))) => {
                if !filter.is_ternary() {
                    return Changed::Misfit;
                }
                match control.insert(exact, epochs, rank, filter.filter(), row.word) {
                    Ok(old) => Changed::Done(old),
                    Err(ExactError::Busy) => Changed::Busy,
                    Err(ExactError::Unsupported) => Changed::Misfit,
                    Err(_) => Changed::RebuildDue,
                }
            }
            _ => Changed::RebuildDue,
        }
    }

    /// Takes a filter out; what was stored with it.
    pub(super) fn remove(
        &mut self, engine: &Engine, epochs: &mut Epochs, rank: Rank, filter: &RangedFilter,
    ) -> Changed {
        let upper = match (&mut self.upper, engine.upper.as_deref()) {
            (Some(UpperControl::Forest(control)), Some(Upper::Forest(forest))) => {
                control.remove(forest, epochs, &Rule::new(rank, filter, 0))
            }
            (Some(UpperControl::Exact(control)), Some(Upper::Exact(exact))) if filter.is_ternary() => {
                control.remove(exact, epochs, rank, filter.filter())
            }
            _ => None,
        };
        if upper.is_some() {
            return Changed::Done(upper);
        }
        match (&mut self.routes, engine.routes.as_deref()) {
            (Some(control), Some(routes)) => control.remove(routes, epochs, rank, filter),
            _ => Changed::Done(None),
        }
    }
}

/// Routes to reserve room for besides so many. An eighth, but of a large table less: its next
/// routes stand beside others, and take a quarter of the room that is reserved for a route.
fn spare(routes: usize) -> usize {
    (routes / 8).clamp(64, 1 << 14).max(routes / 64)
}

/// Octets: some 30,000 routes, or as many filters.
const LARGE: usize = 4 << 20;

/// Lines of the table itself: the cell of the slice and its engine.
const OWN_LINES: u32 = 2;

/// Engines for `rows`, all of a slice, in the order of their places; a pure function of
/// them and of `order`.
pub(super) fn build(
    order: &Order, rows: &[Row], generation: Arc<AtomicU64>,
) -> Result<(Engine, Control), TooMuch> {
    let mut shaper = Shaper::default();
    rows.iter().for_each(|row| shaper.add(row.place, &row.filter));
    let distinct = || {
        let mut values: Vec<u128> = rows.iter().map(|row| row.filter.filter().value()).collect();
        values.sort_unstable();
        values.is_sorted_by(|a, b| a < b)
    };
    let shape = shaper.shape(distinct);
    let first_route = rows.partition_point(|row| row.place.rank().0 < Rank::ROUTES);
    let (above, below) = rows.split_at_checked(first_route).unwrap_or((rows, &[]));
    let (mut engine, mut control) = (Engine::new(None, generation), Control::default());
    match shape {
        Shape::Layers(field) => {
            let bound = order.bound.saturating_sub(OWN_LINES);
            let mut layers = |form: Form| -> Option<Result<(), TooMuch>> {
                let form = Form { spare: spare(below.len()), bound, ..form };
                let (routes, routes_control) = Routes::build(order.slice, field, below, form)?;
                engine.routes = Some(Arc::new(routes));
                control.routes = Some(routes_control);
                Some(build_upper(order, above, &mut engine, &mut control))
            };
            match layers(Form::default()) {
                Some(Ok(())) => {}
                // What lookups of routes would gain, the filters above them may need.
                Some(Err(_)) => layers(Form::plain()).unwrap_or(Err(TooMuch(u32::MAX)))?,
                None => forest(order, rows, &mut engine, &mut control)?,
            }
        }
        Shape::Exact { mask } => exact(order, rows, LookupKey::new(mask), &mut engine, &mut control)?,
        Shape::Any => forest(order, rows, &mut engine, &mut control)?,
    }
    engine.complete(&control);
    Ok((engine, control))
}

/// Builds what stands above the routes anew; the routes stay.
pub(super) fn build_upper(
    order: &Order, rows: &[Row], engine: &mut Engine, control: &mut Control,
) -> Result<(), TooMuch> {
    if rows.is_empty() {
        (engine.upper, control.upper) = (None, None);
    } else {
        forest(order, rows, engine, control)?;
    }
    engine.complete(control);
    Ok(())
}

fn forest(order: &Order, rows: &[Row], engine: &mut Engine, control: &mut Control) -> Result<(), TooMuch> {
    // Numbered anew: routes have no order, and what comes and goes for long many.
    let rules = rows
        .iter()
        .zip(0..)
        .map(|(row, order)| Rule::at(Place::new(row.place.rank(), order), &row.filter, row.word));
    let rules: Vec<Rule> = rules.collect();
    let others = OWN_LINES + control.routes_cost(engine);
    let built = ForestRead::build(order.machine, &rules, order.bound.saturating_sub(others));
    let (forest, forest_control) = built.ok_or(TooMuch(u32::MAX))?;
    let cost = others.saturating_add(forest_control.cost());
    if cost > order.bound {
        return Err(TooMuch(cost));
    }
    engine.upper = Some(Arc::new(Upper::Forest(forest)));
    control.upper = Some(UpperControl::Forest(forest_control));
    Ok(())
}

/// Seeds that are tried in a row: the second is needed less than once in a million times.
const SEEDS: u64 = 8;

fn exact(
    order: &Order, rows: &[Row], mask: LookupKey, engine: &mut Engine, control: &mut Control,
) -> Result<(), TooMuch> {
    if order.bound < OWN_LINES + 2 {
        return Err(TooMuch(OWN_LINES + 2));
    }
    let capacity = (rows.len() + rows.len() / 2).max(2 * FEW);
    for attempt in 0..SEEDS {
        let seed = u128::from(order.seed) << 64 | u128::from(order.seed.rotate_left(29) ^ attempt);
        let filters = rows.iter().map(|row| (row.place, *row.filter.filter(), row.word));
        if let Ok((exact_control, exact)) = ExactControl::build(order.slice, mask, capacity, seed, filters) {
            engine.upper = Some(Arc::new(Upper::Exact(exact)));
            control.upper = Some(UpperControl::Exact(exact_control));
            return Ok(());
        }
    }
    forest(order, rows, engine, control)
}
