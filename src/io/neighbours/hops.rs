//! The table of destinations that a port sends to: the path asks and reads, the control side
//! answers.

use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use std::boxed::Box;
use std::sync::Arc;
use std::vec;

use rtrb::{Consumer, Producer, RingBuffer};

/// Destinations that share a place of the hash.
const WAYS: usize = 8;

/// Says of a cell that it has an address.
const RESOLVED: u64 = 1 << 63;

/// Why a destination was not pinned.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// All places where it could stand are pinned.
    #[error("no room for {destination}: attach the port with more destinations, twice those that are pinned")]
    Full {
        /// The destination asked for.
        destination: IpAddr,
    },
}

/// The path's side: next hops by destination. A look-up reads a cache line or two of its own
/// and one word that the control side writes.
#[derive(Debug)]
pub struct NextHops {
    entries: Box<[Entry]>,
    /// For each entry an address and the entry's generation, or not [`RESOLVED`].
    cells: Arc<[AtomicU64]>,
    requests: Producer<Request>,
    /// Which way is given up next.
    hand: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The destination, IPv4 mapped; 0 for none.
    key: u128,
    /// Tells answers apart from those for who stood here before. 15 bits.
    generation: u16,
    pinned: bool,
}

/// What the path wants to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) place: u32,
    pub(super) generation: u16,
    pub(super) destination: IpAddr,
}

/// The control side.
#[derive(Debug)]
pub(super) struct Requests {
    cells: Arc<[AtomicU64]>,
    requests: Consumer<Request>,
}

/// Both sides of a table of at least `destinations` destinations.
pub(super) fn pair(destinations: u32) -> (NextHops, Requests) {
    let entries = (destinations as usize).next_power_of_two().max(WAYS);
    let cells: Arc<[AtomicU64]> = (0..entries).map(|_| AtomicU64::new(0)).collect();
    let (asking, asked) = RingBuffer::new(entries);
    let entry = Entry { key: 0, generation: 0, pinned: false };
    let hops =
        NextHops { entries: vec![entry; entries].into(), cells: cells.clone(), requests: asking, hand: 0 };
    (hops, Requests { cells, requests: asked })
}

fn key(destination: IpAddr) -> u128 {
    match destination {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl NextHops {
    /// The Ethernet address that packets to `destination` are sent to; `None` while it is not
    /// known, in which case it was asked for.
    ///
    /// Where all places are taken, a destination that nobody answers for makes room, or else
    /// any that is not pinned.
    pub fn find(&mut self, destination: IpAddr) -> Option<[u8; 6]> {
        let place = self.place(destination)?;
        let generation = self.entries.get(place)?.generation;
        let cell = self.cells.get(place)?.load(Ordering::Relaxed);
        (cell >> 48 == RESOLVED >> 48 | u64::from(generation)).then(|| {
            let [_, _, address @ ..] = cell.to_be_bytes();
            address
        })
    }

    /// Keeps `destination` in the table, whatever else is sent to, and asks for it.
    ///
    /// # Errors
    ///
    /// [`PinError::Full`].
    pub fn pin(&mut self, destination: IpAddr) -> Result<(), PinError> {
        let entry = self.place(destination).and_then(|place| self.entries.get_mut(place));
        entry.map(|entry| entry.pinned = true).ok_or(PinError::Full { destination })
    }

    /// Lets others have the place of `destination`.
    pub fn unpin(&mut self, destination: IpAddr) {
        let key = key(destination);
        self.entries.iter_mut().filter(|entry| entry.key == key).for_each(|entry| entry.pinned = false);
    }

    /// Where `destination` stands; a new one is asked for.
    fn place(&mut self, destination: IpAddr) -> Option<usize> {
        let key = key(destination);
        let home = self.home(key);
        let ways = self.entries.get(home..home + WAYS)?;
        match ways.iter().position(|entry| entry.key == key) {
            Some(way) => Some(home + way),
            None => self.enter(home, key, destination),
        }
    }

    #[cold]
    fn enter(&mut self, home: usize, key: u128, destination: IpAddr) -> Option<usize> {
        let place = self.victim(home)?;
        let entry = self.entries.get_mut(place)?;
        let generation = (entry.generation + 1) & 0x7fff;
        let request = Request { place: place as u32, generation, destination };
        // Nobody can be asked now: the next packet tries again.
        self.requests.push(request).ok()?;
        *entry = Entry { key, generation, pinned: false };
        Some(place)
    }

    /// The place among the ways at `home` that a new destination takes: a free one, one that
    /// nobody answers for, or whose turn it is.
    fn victim(&mut self, home: usize) -> Option<usize> {
        self.hand = self.hand.wrapping_add(1);
        let ways = (0..WAYS).map(|way| home + (self.hand + way) % WAYS);
        let free = |place: &usize| self.entries.get(*place).is_some_and(|entry| !entry.pinned);
        let cost = |place: &usize| {
            let empty = self.entries.get(*place).is_some_and(|entry| entry.key == 0);
            let cell = self.cells.get(*place).map_or(0, |cell| cell.load(Ordering::Relaxed));
            if empty { 0 } else { 1 + (cell >> 63) }
        };
        ways.filter(free).min_by_key(cost)
    }

    fn home(&self, key: u128) -> usize {
        let folded = (key as u64 ^ (key >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let sets = self.entries.len() / WAYS;
        (folded >> 32) as usize % sets.max(1) * WAYS
    }
}

impl Requests {
    /// Whether the path is gone.
    pub(super) fn is_cut(&self) -> bool {
        self.requests.is_abandoned()
    }

    pub(super) fn take(&mut self) -> Option<Request> {
        self.requests.pop().ok()
    }

    /// Writes the answer for a destination, or that there is none.
    pub(super) fn answer(&self, place: u32, generation: u16, address: Option<[u8; 6]>) {
        let word = address.map_or(0, |[a, b, c, d, e, f]| {
            RESOLVED | u64::from(generation) << 48 | u64::from_be_bytes([0, 0, a, b, c, d, e, f])
        });
        if let Some(cell) = self.cells.get(place as usize) {
            // One word: whoever reads it needs nothing else of what was written.
            cell.store(word, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    fn at(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + n).into()
    }

    fn address(n: u32) -> [u8; 6] {
        [2, 0, 0, 0, 0, n as u8]
    }

    proptest! {
        /// Whatever is asked, answered and displaced: an address that is found is the last one
        /// answered for that destination.
        #[test]
        fn an_answer_is_for_its_destination(steps in prop::collection::vec((0u32..40, 0u8..4), 1..400)) {
            let (mut hops, mut requests) = pair(16);
            let mut known: BTreeMap<u32, Request> = BTreeMap::new();
            for (n, what) in steps {
                match what {
                    0 => {
                        while let Some(request) = requests.take() {
                            known.insert(request.place, request);
                        }
                    }
                    1 => for request in known.values() {
                        let IpAddr::V4(destination) = request.destination else { unreachable!() };
                        let n = destination.to_bits() - 0x0a00_0000;
                        // Some have no neighbour.
                        let answer = (n % 5 != 0).then(|| address(n));
                        requests.answer(request.place, request.generation, answer);
                    },
                    _ => if let Some(found) = hops.find(at(n)) {
                        prop_assert_eq!((found, n % 5 != 0), (address(n), true));
                    },
                }
            }
        }
    }

    #[test]
    fn pinned_destinations_stay() {
        let (mut hops, mut requests) = pair(8);
        for n in 0..7 {
            hops.pin(at(n)).unwrap();
        }
        while let Some(request) = requests.take() {
            requests.answer(request.place, request.generation, Some(address(1)));
        }
        for n in 100..1000 {
            assert_eq!(hops.find(at(n)), None);
            while let Some(request) = requests.take() {
                requests.answer(request.place, request.generation, Some(address(2)));
            }
            assert_eq!(hops.find(at(n)), Some(address(2)));
        }
        assert!((0..7).all(|n| hops.find(at(n)) == Some(address(1))));
        hops.pin(at(7)).unwrap();
        assert_eq!(hops.pin(at(8)), Err(PinError::Full { destination: at(8) }));
        hops.unpin(at(7));
        assert_eq!(hops.pin(at(8)), Ok(()));
    }

    #[test]
    fn who_asks_too_much_asks_again() {
        let (mut hops, mut requests) = pair(8);
        for n in 0..20 {
            assert_eq!(hops.find(at(n)), None);
        }
        assert_eq!(std::iter::from_fn(|| requests.take()).count(), 8, "the others found no room to ask");
        assert_eq!(hops.find(at(19)), None);
        let request = requests.take().unwrap();
        assert_eq!(request.destination, at(19));
        requests.answer(request.place, request.generation, Some(address(19)));
        assert_eq!(hops.find(at(19)), Some(address(19)));
        drop(hops);
        assert!(requests.is_cut());
    }
}
