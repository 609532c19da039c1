//! What replaces a TCAM: one table for all slices, private to each, updated while other
//! cores read.
//!
//! Each slice has an engine of its own that fits its filters, and that is changed as they
//! change: [`Tcam::plan`] says which, and what a lookup may cost. A slice has a bound on
//! that, and a filter that cannot be kept within it is refused: a TCAM's constant time in
//! software.
//!
//! [`Tcam`] writes all slices, or [gives one out](Tcam::writer) to a [`TcamWriter`]. Writers
//! share no lock: while one slice is built anew, which may take a second, others go on.
//! Room for filters is counted in one place, where what a slice was promised is its own.
//!
//! ```
//! use fastpath::code_option::ipv4::Ipv4Key;
//! use fastpath::id::SliceId;
//! use fastpath::key::{LookupKey, TableKey};
//! use fastpath::lookup::{Filter, Rank, Tcam, TcamConfig, TernaryTable, TernaryUpdate};
//!
//! let slice = SliceId(1);
//! let mut tcam = Tcam::<u32>::new(TcamConfig::default());
//! for (number, len) in [(1, 8), (2, 16)] {
//!     let (value, mask) = Ipv4Key::route(0x0a01_0000, len);
//!     tcam.insert(Rank::longest_prefix(32, len), Filter::new(slice, value, mask), number)?;
//! }
//! // A reader for each core that forwards; what it sees changes as the table does.
//! let mut reader = tcam.reader().unwrap();
//! let key = |to| TableKey::new(slice, LookupKey::from(Ipv4Key { destination: to, ..Default::default() }));
//! assert_eq!((reader.lookup(key(0x0a01_0203)), reader.lookup(key(0x0a02_0203))), (Some(2), Some(1)));
//! let (value, mask) = Ipv4Key::route(0x0a01_0000, 16);
//! tcam.remove(Rank::longest_prefix(32, 16), &Filter::new(slice, value, mask))?;
//! assert_eq!(reader.lookup(key(0x0a01_0203)), Some(1));
//! // The end of a vector: what was removed may be reclaimed.
//! reader.quiescent();
//!
//! // A slice can be given to a writer of its own, in whichever thread.
//! let mut writer = tcam.writer(slice)?;
//! std::thread::spawn(move || writer.load([])).join().unwrap()?;
//! assert_eq!((reader.lookup(key(0x0a01_0203)), tcam.len(slice)), (None, 0));
//! # Ok::<(), fastpath::lookup::TcamError>(())
//! ```

mod config;
mod engine;
mod find;
mod reader;
mod refused;
mod report;
mod routes;
mod row;
mod shape;
mod share;
mod table;
#[cfg(test)]
#[cfg(all(feature = "conformance", not(loom)))]
mod tests;
mod writer;

pub use config::{TcamConfig, TcamError};
pub use reader::TcamReader;
pub use report::{Entry, Explanation, Handle, Match, Plan, Shadowed};
pub use table::Tcam;
pub use writer::TcamWriter;
