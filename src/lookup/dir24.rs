//! IPv4 routes: the longest prefix in one read or two.
//!
//! P. Gupta, S. Lin, N. McKeown, "Routing Lookups in Hardware at Memory Access
//! Speeds", INFOCOM 1998 (DIR-24-8). 32 MiB for the first 24 bits of an address and
//! 512 octets for each /24 that holds longer prefixes, half as much again for updates.
//! Cost: one cache line, two for prefixes longer than /24. An update writes every
//! entry that the prefix covers: one for a /24, 65,536 for a /8.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hashbrown::HashTable;

use crate::arch::prefetch;
use crate::id::{EgressId, SliceId};
use crate::key::TableKey;
use crate::lookup::{AllMatches, Filter, Hit, Place, Rank, TableErrorKind, TernaryTable, TernaryUpdate};

/// Marks an entry of the first level that stands for a chunk.
const LONGER: u16 = 1 << 15;
const TOP: usize = 1 << 24;

/// Routes of one slice to prefixes of the low 32 bits of its keys.
///
/// Takes filters whose mask is such a prefix and whose rank is
/// [`Rank::longest_prefix`]; refuses all else as [`TableErrorKind::Unsupported`], and so
/// an egress past the first 32,767 (an entry has 15 bits).
pub struct Dir24 {
    slice: SliceId,
    /// An egress, or [`LONGER`] and the number of a chunk; 0 is none.
    top: Box<[u16; TOP]>,
    chunks: Vec<[u16; 256]>,
    /// Length of the prefix that wrote each entry; read by updates only.
    top_lens: Box<[u8; TOP]>,
    chunk_lens: Vec<[u8; 256]>,
    /// Prefixes longer than 24 bits in each chunk; a chunk with none is free.
    longer: Vec<u32>,
    free: Vec<u16>,
    routes: HashTable<Route>,
    most_routes: usize,
}

impl core::fmt::Debug for Dir24 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let chunks = self.chunks.len() - self.free.len();
        f.debug_struct("Dir24").field("routes", &self.len()).field("chunks", &chunks).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug)]
struct Route {
    network: u32,
    len: u8,
    egress: EgressId,
}

/// Routes are found by what the operator installed: the multiplication spreads what
/// networks have in common.
fn hash(network: u32, len: u8) -> u64 {
    let product = (u64::from(network) << 8 | u64::from(len)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
}

const fn prefix_mask(len: u8) -> u32 {
    match u32::MAX.checked_shl(32u32.saturating_sub(len as u32)) {
        Some(mask) => mask,
        None => 0,
    }
}

/// A first level, made on the heap: an array on the stack would be too large. Its
/// length is in its type, so that no index of 24 bits is checked.
fn zeroes<T: Copy + Default>() -> Box<[T; TOP]> {
    let zeroes = alloc::vec![T::default(); TOP].into_boxed_slice();
    match zeroes.try_into() {
        Ok(zeroes) => zeroes,
        Err(_) => unreachable!("the length is that of the array"),
    }
}

impl Dir24 {
    /// No route yet, room for `routes` of them, and for longer prefixes than /24 in
    /// `chunks` different /24 (at most 32,768).
    pub fn new(slice: SliceId, routes: usize, chunks: usize) -> Self {
        let chunks = chunks.min(usize::from(LONGER));
        Self {
            slice,
            top: zeroes(),
            chunks: alloc::vec![[0; 256]; chunks],
            top_lens: zeroes(),
            chunk_lens: alloc::vec![[0; 256]; chunks],
            longer: alloc::vec![0; chunks],
            free: (0..chunks as u16).rev().collect(),
            routes: HashTable::with_capacity(routes),
            most_routes: routes,
        }
    }

    /// Routes in the table.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Octets of memory that lookups may touch.
    pub fn lookup_octets(&self) -> usize {
        (TOP + 256 * (self.chunks.len() - self.free.len())) * size_of::<u16>()
    }

    /// The egress of the longest prefix of `address`, whoever asks.
    #[inline(always)]
    pub fn route(&self, address: u32) -> Option<EgressId> {
        let mut entry = *self.top.get((address >> 8) as usize)?;
        if entry & LONGER != 0 {
            let chunk = self.chunks.get(usize::from(entry & !LONGER))?;
            entry = *chunk.get(address as usize & 255)?;
        }
        EgressId::from_raw(u32::from(entry))
    }

    fn find(&self, network: u32, len: u8) -> Option<&Route> {
        self.routes.find(hash(network, len), |route| (route.network, route.len) == (network, len))
    }

    /// The longest route to `address` of at most `most` bits.
    fn covering(&self, address: u32, most: u8) -> Option<&Route> {
        (0..=most).rev().find_map(|len| self.find(address & prefix_mask(len), len))
    }

    /// The prefix that `filter` is, if this table can hold it.
    fn prefix(&self, rank: Rank, filter: &Filter) -> Result<(u32, u8), TableErrorKind> {
        if filter.slice() != self.slice {
            return Err(TableErrorKind::UnknownSlice);
        }
        let mask = TableKey::new(filter.slice(), crate::key::LookupKey::new(filter.mask())).key().bits();
        let len = (mask as u32).leading_ones() as u8;
        let prefix = mask == u128::from(prefix_mask(len));
        if !prefix || rank != Rank::longest_prefix(32, len) {
            return Err(TableErrorKind::Unsupported);
        }
        Ok((filter.value() as u32, len))
    }

    /// Writes `raw`, of a prefix of `new` bits, over all entries of `network/len` that
    /// a prefix accepted by `over` wrote.
    fn write(&mut self, network: u32, len: u8, raw: u16, new: u8, over: impl Fn(u8) -> bool) {
        if len > 24 {
            let Some(&entry) = self.top.get((network >> 8) as usize) else { return };
            let at = usize::from(entry & !LONGER);
            let (Some(chunk), Some(lens)) = (self.chunks.get_mut(at), self.chunk_lens.get_mut(at)) else {
                return;
            };
            write_range(chunk, lens, network as usize & 255, 1 << (32 - len), raw, new, &over);
            return;
        }
        let (first, count) = ((network >> 8) as usize, 1usize << (24 - len));
        for at in first..first + count {
            let (Some(entry), Some(written)) = (self.top.get_mut(at), self.top_lens.get_mut(at)) else {
                return;
            };
            if *entry & LONGER != 0 {
                let chunk = usize::from(*entry & !LONGER);
                if let (Some(chunk), Some(lens)) =
                    (self.chunks.get_mut(chunk), self.chunk_lens.get_mut(chunk))
                {
                    write_range(chunk, lens, 0, 256, raw, new, &over);
                }
            } else if over(*written) {
                (*entry, *written) = (raw, new);
            }
        }
    }

    /// Makes sure that the /24 of `address` has a chunk.
    fn deepen(&mut self, address: u32) -> Result<usize, TableErrorKind> {
        let at = (address >> 8) as usize;
        let (Some(entry), Some(&len)) = (self.top.get_mut(at), self.top_lens.get(at)) else {
            return Err(TableErrorKind::Full);
        };
        if *entry & LONGER != 0 {
            return Ok(usize::from(*entry & !LONGER));
        }
        let number = self.free.pop().ok_or(TableErrorKind::Full)?;
        let chunk = usize::from(number);
        if let (Some(hosts), Some(lens)) = (self.chunks.get_mut(chunk), self.chunk_lens.get_mut(chunk)) {
            hosts.fill(*entry);
            lens.fill(len);
        }
        *entry = LONGER | number;
        Ok(chunk)
    }

    /// Gives a chunk back that no prefix longer than 24 bits needs any more.
    fn flatten(&mut self, address: u32) {
        let at = (address >> 8) as usize;
        let Some(entry) = self.top.get_mut(at).filter(|entry| **entry & LONGER != 0) else { return };
        let number = *entry & !LONGER;
        let chunk = usize::from(number);
        let Some(longer) = self.longer.get_mut(chunk) else { return };
        *longer -= 1;
        if *longer > 0 {
            return;
        }
        let first = self.chunks.get(chunk).and_then(|chunk| chunk.first());
        let len = self.chunk_lens.get(chunk).and_then(|lens| lens.first());
        if let (Some(first), Some(len), Some(top_len)) = (first, len, self.top_lens.get_mut(at)) {
            (*entry, *top_len) = (*first, *len);
            self.free.push(number);
        }
    }
}

fn write_range(
    entries: &mut [u16; 256], lens: &mut [u8; 256], first: usize, count: usize, raw: u16, new: u8,
    over: &impl Fn(u8) -> bool,
) {
    let range = entries.iter_mut().zip(lens).skip(first).take(count);
    for (entry, written) in range.filter(|(_, written)| over(**written)) {
        (*entry, *written) = (raw, new);
    }
}

impl TernaryTable for Dir24 {
    type Value = EgressId;

    #[inline(always)]
    fn lookup(&self, key: TableKey) -> Option<EgressId> {
        if key.slice() == self.slice { self.route(key.bits() as u32) } else { None }
    }
    #[inline(always)]
    fn prefetch(&self, key: TableKey) {
        if let Some(entry) = self.top.get((key.bits() as u32 >> 8) as usize) {
            prefetch(entry);
        }
    }
}

impl AllMatches for Dir24 {
    fn next_match(&self, key: TableKey, after: Option<Place>) -> Option<Hit<EgressId>> {
        if key.slice() != self.slice {
            return None;
        }
        // The next rank has the next shorter prefix.
        let most = match after {
            None => 32,
            Some(place) => (Rank::longest_prefix(32, 0).0.checked_sub(place.rank().0 + 1)?).min(32) as u8,
        };
        let route = self.covering(key.bits() as u32, most)?;
        Some(Hit { place: Place::new(Rank::longest_prefix(32, route.len), 0), value: route.egress })
    }
}

impl TernaryUpdate for Dir24 {
    type Error = TableErrorKind;

    fn insert(
        &mut self, rank: Rank, filter: Filter, value: EgressId,
    ) -> Result<Option<EgressId>, Self::Error> {
        let (network, len) = self.prefix(rank, &filter)?;
        let raw = u16::try_from(value.raw()).ok().filter(|raw| raw & LONGER == 0);
        let raw = raw.ok_or(TableErrorKind::Unsupported)?;
        let known =
            self.routes.find_mut(hash(network, len), |route| (route.network, route.len) == (network, len));
        if let Some(route) = known {
            let old = core::mem::replace(&mut route.egress, value);
            self.write(network, len, raw, len, |written| written == len);
            return Ok(Some(old));
        }
        if self.routes.len() >= self.most_routes {
            return Err(TableErrorKind::Full);
        }
        if len > 24 {
            let chunk = self.deepen(network)?;
            if let Some(longer) = self.longer.get_mut(chunk) {
                *longer += 1;
            }
        }
        let route = Route { network, len, egress: value };
        self.routes.insert_unique(hash(network, len), route, |route| hash(route.network, route.len));
        self.write(network, len, raw, len, |written| written <= len);
        Ok(None)
    }

    fn remove(&mut self, rank: Rank, filter: &Filter) -> Result<Option<EgressId>, Self::Error> {
        let Ok((network, len)) = self.prefix(rank, filter) else { return Ok(None) };
        let same = |route: &Route| (route.network, route.len) == (network, len);
        let Ok(entry) = self.routes.find_entry(hash(network, len), same) else { return Ok(None) };
        let (removed, _) = entry.remove();
        let shorter = len.checked_sub(1).and_then(|most| self.covering(network, most)).copied();
        let (raw, new) = shorter.map_or((0, 0), |route| (route.egress.raw() as u16, route.len));
        self.write(network, len, raw, new, |written| written == len);
        if len > 24 {
            self.flatten(network);
        }
        Ok(Some(removed.egress))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code_option::ipv4::Ipv4Key;
    use crate::lookup::LinearTcam;
    use proptest::prelude::*;

    const SLICE: SliceId = SliceId(1);

    #[test]
    fn masks_of_all_lengths() {
        for len in 0..=32u8 {
            assert_eq!(prefix_mask(len), u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0), "{len}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        /// Whatever comes and goes, the longest prefix wins, as it does in the scan.
        #[test]
        fn routes_are_a_scan_by_length(
            history in prop::collection::vec((0u8..4, 0u32..0x800, 0usize..9, 0u32..40), 1..120),
        ) {
            let mut fast = Dir24::new(SLICE, 40, 3);
            let mut model = LinearTcam::new([None; 40]);
            for (kind, address, len, egress) in history {
                let len = [0, 14, 21, 22, 23, 24, 25, 31, 32][len];
                let (value, mask) = Ipv4Key::route(0x0a00_0000 | address, len);
                let (rank, filter) = (Rank::longest_prefix(32, len), Filter::new(SLICE, value, mask));
                let egress = EgressId::new(egress).unwrap();
                if kind == 0 {
                    prop_assert_eq!(fast.remove(rank, &filter), model.remove(rank, &filter));
                } else {
                    match fast.insert(rank, filter, egress) {
                        Ok(old) => prop_assert_eq!(model.insert(rank, filter, egress), Ok(old)),
                        Err(error) => {
                            prop_assert_eq!(error, TableErrorKind::Full);
                            prop_assert!(fast.free.is_empty() || fast.len() == 40);
                        }
                    }
                }
                prop_assert_eq!(fast.len(), model.len());
            }
            for address in (0x0a00_0000..0x0a00_0900).step_by(7).chain([0, 0x0a04_0000, u32::MAX]) {
                let key = TableKey::new(SLICE, Ipv4Key { destination: address, source: 5, ..Ipv4Key::default() }.into());
                prop_assert_eq!(fast.lookup(key), model.lookup(key));
                let values = |hit: Hit<_>| (hit.place.rank(), hit.value);
                prop_assert!(fast.matches(key).map(values).eq(model.matches(key).map(values)));
            }
        }
    }

    #[test]
    fn what_is_no_route_is_refused() {
        let mut table = Dir24::new(SLICE, 2, 1);
        let (value, mask) = Ipv4Key::route(0x0a00_0000, 8);
        let egress = EgressId::new(0).unwrap();
        let refused = [
            (Rank(8), Filter::new(SLICE, value, mask), egress),
            (
                Rank::longest_prefix(32, 8),
                Filter::new(SLICE, value, crate::key::LookupKey::new(0xff00_00ff)),
                egress,
            ),
            (Rank::longest_prefix(32, 8), Filter::new(SLICE, value, mask), EgressId::new(0x7fff).unwrap()),
        ];
        for (rank, filter, egress) in refused {
            assert_eq!(table.insert(rank, filter, egress), Err(TableErrorKind::Unsupported));
        }
        let foreign = Filter::new(SliceId(2), value, mask);
        assert_eq!(
            table.insert(Rank::longest_prefix(32, 8), foreign, egress),
            Err(TableErrorKind::UnknownSlice)
        );
        assert!(table.is_empty());
    }
}
