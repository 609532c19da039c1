//! What is compared.

use std::ops::Range;
use std::time::Instant;

use fastpath::workloads::Flow;

use crate::memory;

/// Keys that are looked up together.
pub const BATCH: usize = 32;

/// A flow of a slice.
pub type Packet = (u16, Flow);

/// An identifier of 112 bits, such as a trigger's, which an exact filter asks for.
#[derive(Clone, Copy)]
pub struct Identifier(pub u128);

/// A route: address, length and next hop, from 1 on.
pub type Route<A> = (A, u8, u32);

/// A table that answers with numbers from 1 on, or with 0.
pub trait Side<K> {
    fn name(&self) -> &str;

    /// What building it took.
    fn built(&self) -> Built;

    /// Takes a trace, in the form in which its lookups want it.
    fn take(&mut self, keys: &[K]);

    /// Looks some keys of the trace up, `batch` at a time: 1 or [`BATCH`].
    fn run(&mut self, keys: Range<usize>, batch: usize);

    /// Reads some keys of the trace.
    fn touch(&self, keys: Range<usize>);

    /// What the lookups of all keys found last.
    fn answers(&self) -> Vec<u32>;
}

/// Memory and time of a table.
#[derive(Clone, Copy, Default)]
pub struct Built {
    /// What was allocated and is not freed.
    pub octets: usize,
    /// What the table says of itself.
    pub said: Option<usize>,
    pub ms: f64,
}

/// Builds a table of Rust and tells what that took.
pub fn build<T>(build: impl FnOnce() -> T) -> (T, Built) {
    let start = Instant::now();
    let (made, octets) = memory::of(build);
    (made, Built { octets, said: None, ms: start.elapsed().as_secs_f64() * 1e3 })
}

/// A table whose updates are timed.
pub trait Changing {
    /// Its name, and whether others read meanwhile.
    fn called(&self) -> &str;

    /// Takes each of these entries out and puts it in again; pushes what each of the two
    /// took, in nanoseconds.
    fn change(&mut self, entries: &[usize], took: &mut Vec<f64>);
}

/// A table whose lookups and updates are timed.
pub trait Both<K>: Side<K> + Changing {}

impl<K, T: Side<K> + Changing + ?Sized> Both<K> for T {}

/// Nanoseconds that `what` took.
pub fn time(what: impl FnOnce()) -> f64 {
    let start = Instant::now();
    what();
    start.elapsed().as_nanos() as f64
}
