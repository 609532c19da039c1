//! Longest prefix match of addresses of any width: IPv4, IPv6, identifiers.
//!
//! A multibit trie: a direct table for the first bits, then chunks of six bits each, of
//! which a lookup touches one cache line. A large table has above that an octet for each slot
//! of its first two levels, a code for one of 254 values, so that most keys need no more; or, of
//! wider addresses, all of it a second time as ranges.
//!
//! - P. Gupta, S. Lin, N. McKeown, "Routing Lookups in Hardware at Memory Access Speeds",
//!   INFOCOM 1998: the direct table, and an entry for each of the first 24 bits.
//! - W. Eatherton, G. Varghese, Z. Dittia, "Tree bitmap: hardware/software IP lookups with
//!   incremental updates", CCR 34(2), 2004; H. Asai, Y. Ohara, "Poptrie: A Compressed Trie
//!   with Population Count", SIGCOMM 2015: chunks of 64 slots whose runs a bitmap counts.
//! - S. Nilsson, G. Karlsson, "IP-Address Lookup Using LC-Tries", JSAC 17(6), 1999; B. Lampson, V.
//!   Srinivasan, G. Varghese, "IP Lookups Using Multiway and Multicolumn Search", INFOCOM 1998: branches
//!   as wide as needed, and prefixes as ranges.
//! - J. Goldstein, R. Ramakrishnan, U. Shaft, "Compressing Relations and Indexes", ICDE 1998:
//!   values of a chunk as 16 bits above a frame, so that a table whose values all differ, but
//!   are in order, is as small as one with few next hops.
//!
//! Cost: one line of the direct table, one of each chunk on the way, and for what only short
//! prefixes cover one more; an Internet table of IPv4 has a chunk or none on the way, one of
//! IPv6 two to five. Batches go level by level; where the machine has AVX-512, 16 keys are
//! under way in a register, some 60 instructions and 48 elements gathered a level. Without
//! it a key takes some 70 instructions a level. Which it is, is found out at run time.
//!
//! Chunks of the first levels that lead to others are open in a table of 16,384 prefixes and more
//! of wider addresses, see [`Form::open`](Form#structfield.open): 256 octets, of which a lookup
//! reads one word; so a level is 16 elements gathered for 16 keys, and not 48. What covers such a chunk stands aside. A key
//! that ends where nothing is goes its way again for that, one of a thousand on the Internet's
//! routes of IPv6.
//!
//! Codes are for tables of 131,072 prefixes and more, of which seven eighths end in the first
//! two levels with values that have codes: [`Form::flat`]. Then such a key costs one line, and
//! one of the codes' values, which stays near; in a batch that is 2 elements
//! gathered. Any other key, of a longer prefix or of a value beyond the 254, costs those two
//! lines more. A value that comes later takes a code that no slot has any more.
//!
//! Ranges are for tables of 16,384 prefixes and more of wider addresses, see
//! [`Form::ranges`](Form#structfield.ranges): a direct table, branches of 8 to 256 entries, as wide as what is below
//! them is much, and leaves of up to 19 ranges, whose bounds stand in one line and are compared at once. A key
//! of the Internet's routes of IPv6 goes through 4.2 of them after the direct table, at most through eight branches and
//! a leaf of one to four lines; where that does not do, it goes through the chunks, as does a key of a short prefix alone.
//!
//! An update copies the chunks on the way, 32 to 512 octets each, and publishes them with one
//! store; lookups run meanwhile, and each answers as before or as after it. Where there are
//! codes it then stores a line of them for each entry of the direct table that it changed: one
//! for a prefix longer than that table's, at most 256 of 18 bits for others. The shortest
//! prefixes, of up to half the bits, change no entry and no code. Memory is
//! 12 octets for each entry of the direct table, 64 more where there are codes, and for a
//! prefix at most 74 octets in each chunk on its way, or 268 where that is open, whatever the
//! others are: an Internet table takes 42 octets a prefix for IPv4, of which 19 are for codes, and
//! 75 for IPv6. Use it
//! where prefixes are more than some dozens; below, a scan is as fast and smaller.
//!
//! ```
//! use fastpath::prefix::{Prefix, PrefixTable, PrefixTrie};
//!
//! let mut routes = PrefixTrie::<u32>::default();
//! let prefix = |a: [u8; 4], len| Prefix::new(u32::from_be_bytes(a), len).unwrap();
//! routes.insert(prefix([10, 0, 0, 0], 8), 1)?;
//! routes.insert(prefix([10, 1, 0, 0], 16), 2)?;
//!
//! let find = |a: [u8; 4]| routes.lookup(u32::from_be_bytes(a)).map(|value| value.get());
//! assert_eq!(find([10, 1, 2, 3]), Some(2));
//! assert_eq!(find([10, 2, 2, 3]), Some(1));
//! assert_eq!(find([11, 2, 2, 3]), None);
//! assert_eq!(routes.remove(prefix([10, 1, 0, 0], 16)), Some(2));
//! # Ok::<(), fastpath::prefix::InsertError>(())
//! ```
//!
//! With readers in other threads the table comes in two halves:
//!
//! ```
//! use fastpath::epoch::Epochs;
//! use fastpath::prefix::{Form, Prefix, PrefixTable, PrefixTrie};
//!
//! let form = Form { spare: 1000, ..Form::default() };
//! let (read, mut control) = PrefixTrie::<u128>::new(form).into_halves();
//! let mut epochs = Epochs::new(1);
//! let mut reader = epochs.reader().unwrap();
//! std::thread::scope(|scope| {
//!     scope.spawn(|| {
//!         for _ in 0..100 {
//!             assert!(matches!(read.lookup(1 << 127).map(|value| value.get()), None | Some(7)));
//!             reader.quiescent();
//!         }
//!     });
//!     control.insert(&read, &mut epochs, Prefix::new(1 << 127, 64).unwrap(), 7).unwrap();
//! });
//! assert_eq!(read.lookup(1 << 127).map(|value| value.get()), Some(7));
//! ```
//!
//! [`Classes`] turns prefixes into a few bits of a ternary key.

mod address;
mod arena;
mod batch;
mod block;
mod build;
mod change;
mod chunk;
mod classes;
mod codes;
mod control;
mod flat;
mod form;
mod leaf;
mod own;
mod ranges;
mod read;
mod refresh;
mod simd;
mod survey;
mod trie;
mod update;
mod walk;
mod zone;

pub use address::{Address, Prefix};
pub use classes::{Classes, ClassesError, Pattern};
pub use control::{Octets, PrefixControl};
pub use form::{Form, InsertError, MOST_VALUE, UpdateError};
pub use read::PrefixRead;
pub use trie::PrefixTrie;

use core::num::NonZeroU32;

/// The read side of a longest prefix match.
///
/// # Contract
///
/// - `lookup(a)` is what is stored with the longest prefix of `a`.
/// - `lookup_batch` is `lookup` of each address.
/// - Each answer is that of the table before or after any update that is under way.
/// - No method allocates, waits or panics.
pub trait PrefixTable<A> {
    /// What is stored with the longest prefix of `address`.
    fn lookup(&self, address: A) -> Option<NonZeroU32>;

    /// Starts fetching the first line that `lookup(address)` will read. A hint.
    #[inline(always)]
    fn prefetch(&self, _address: A) {}

    /// Starts fetching what that line leads to, which it waits for. A hint.
    #[inline(always)]
    fn prefetch_deeper(&self, _address: A) {}

    /// `lookup` of each address; stops at the shorter of the two slices.
    ///
    /// Groups of 32 are best: one pass for each line that is waited for.
    #[inline(always)]
    fn lookup_batch(&self, addresses: &[A], found: &mut [Option<NonZeroU32>])
    where
        A: Copy,
    {
        for (&address, found) in addresses.iter().zip(found) {
            *found = self.lookup(address);
        }
    }
}

impl<A: Copy, T: PrefixTable<A> + ?Sized> PrefixTable<A> for &T {
    #[inline(always)]
    fn lookup(&self, address: A) -> Option<NonZeroU32> {
        (**self).lookup(address)
    }
    #[inline(always)]
    fn prefetch(&self, address: A) {
        (**self).prefetch(address);
    }
    #[inline(always)]
    fn prefetch_deeper(&self, address: A) {
        (**self).prefetch_deeper(address);
    }
    #[inline(always)]
    fn lookup_batch(&self, addresses: &[A], found: &mut [Option<NonZeroU32>]) {
        (**self).lookup_batch(addresses, found);
    }
}
