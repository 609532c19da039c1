//! IPv6 prefixes: keys that are too wide for a ternary table of 112 bits.

use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

use fastpath::epoch::{Epochs, Reader};
use fastpath::prefix::{
    Form, InsertError, Prefix, PrefixControl, PrefixRead, PrefixTable, PrefixTrie, UpdateError,
};

/// A prefix and its number.
pub(crate) type Route = (Prefix<u128>, u32);

/// The IPv6 prefixes of a slice, with their numbers.
#[derive(Debug)]
pub(crate) struct Wide {
    /// Stores numbers from 1 on. Another one after a rebuild.
    shown: Shown,
    control: PrefixControl<u128>,
    epochs: Epochs,
}

/// Where readers find the table.
pub(crate) type Shown = RwLock<Arc<PrefixRead<u128>>>;

impl Wide {
    pub(crate) const ENGINE: &str = "IPv6 routes";

    /// `None` if there are no routes.
    pub(crate) fn new(routes: &[Route], bound: u32) -> Result<Option<Self>, InsertError> {
        if routes.is_empty() {
            return Ok(None);
        }
        let form = Form { spare: 1000, bound, ..Form::default() };
        let routes = routes.iter().map(|&(prefix, number)| (prefix, number + 1));
        let (read, control) = PrefixTrie::load(routes, form)?.into_halves();
        Ok(Some(Self { shown: RwLock::new(Arc::new(read)), control, epochs: Epochs::new(1) }))
    }

    /// The table, to look many keys up.
    pub(crate) fn read(&self) -> Arc<PrefixRead<u128>> {
        shown(&self.shown)
    }

    pub(crate) fn lookup(&self, address: u128) -> Option<u32> {
        self.read().lookup(address).map(number)
    }

    /// Length and number of all prefixes that the address is in, the longest first.
    pub(crate) fn matches(&self, address: u128) -> Vec<(u32, u32)> {
        self.read().matches(address).map(|(len, value)| (len, value - 1)).collect()
    }

    pub(crate) fn octets(&self) -> usize {
        self.control.octets(&self.read()).total
    }

    /// Cache lines that a lookup may touch.
    pub(crate) fn lines(&self) -> u32 {
        self.control.cost(&self.read())
    }

    /// The two sides, to look up in while it is changed.
    pub(crate) fn halves(&mut self) -> (&Shown, Option<Reader>, Changer<'_>) {
        let (reader, read) = (self.epochs.reader(), self.read());
        let Self { shown, control, epochs } = self;
        (shown, reader, Changer { shown, read, control, epochs })
    }
}

/// The table as it is now.
pub(crate) fn shown(shown: &Shown) -> Arc<PrefixRead<u128>> {
    Arc::clone(&shown.read().unwrap_or_else(PoisonError::into_inner))
}

/// What stands for the number in an answer.
fn number(value: NonZeroU32) -> u32 {
    value.get() - 1
}

/// Changes the table while others look up in it.
pub(crate) struct Changer<'a> {
    shown: &'a Shown,
    read: Arc<PrefixRead<u128>>,
    control: &'a mut PrefixControl<u128>,
    epochs: &'a mut Epochs,
}

impl Changer<'_> {
    pub(crate) fn insert(&mut self, (prefix, number): Route) -> Result<(), InsertError> {
        loop {
            match self.control.insert(&self.read, self.epochs, prefix, number + 1) {
                Err(InsertError::Update(why)) => self.make_room(why, prefix),
                done => return done.map(|_| ()),
            }
        }
    }

    pub(crate) fn remove(&mut self, (prefix, _): Route) {
        while let Err(why) = self.control.remove(&self.read, self.epochs, prefix) {
            self.make_room(why, prefix);
        }
    }

    /// Waits for readers if too much waits for them, or puts a larger table in the place of
    /// this one.
    fn make_room(&mut self, why: UpdateError, prefix: Prefix<u128>) {
        if why == UpdateError::Busy {
            return thread::yield_now();
        }
        let form = self.control.larger(&self.read, prefix);
        let (larger, control) = self.control.rebuilt(&self.read, form);
        (self.read, *self.control) = (Arc::new(larger), control);
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&self.read);
    }
}
