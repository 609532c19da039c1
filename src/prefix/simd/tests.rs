//! All kinds of machines do the same.

use super::super::arena::zeroed;
use super::super::block::Encoded;
use super::super::chunk::CHILD;
use super::super::zone::Zone;
use super::*;

fn pass(machine: Machine, memory: &[Line], slots: &Half, mut next: Half) -> (Half, Half) {
    let mut best = [77; HALF];
    match machine {
        #[cfg(target_arch = "x86_64")]
        Machine::Wide(isa) => isa.pass(memory, slots, &mut next, &mut best),
        _ => Portable.pass(memory, slots, &mut next, &mut best),
    }
    (next, best)
}

/// Whatever is stored, a pass answers as on any machine; whatever an entry says, it reads
/// what is in memory.
#[test]
fn all_machines_agree() {
    let memory = zeroed::<Line>(17 * 8 + 1);
    let mut random = 7u32;
    let mut next = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        random >> 7
    };
    for round in 0..3_000u32 {
        let entries = core::array::from_fn(|nth| {
            let (mut slots, mut value) = ([0; 64], 0);
            for slot in &mut slots {
                if next() % 8 < round % 8 {
                    let kinds = [0, 1, CHILD, 1 << 20, 0x7fff_ff00];
                    value = match next() as usize % (2 + round as usize % 4) {
                        0 => 0,
                        kind => kinds[kind] | (next() % 99),
                    };
                }
                *slot = value;
            }
            let at = 16 + 16 * nth as u32;
            let made = Encoded::new(&slots, [0, 1 + next()][next() as usize % 2]).write(&memory, at);
            if next().is_multiple_of(8) { next() & !CHILD } else { made }
        });
        let slots = core::array::from_fn(|_| next() % 64);
        let any = entries.map(|_| CHILD | (next() << (next() % 8)));
        let (found, above) = pass(Machine::Portable, &memory, &slots, entries);
        for machine in Machine::all() {
            let (other, others) = pass(machine, &memory, &slots, entries);
            assert_eq!(other, found, "{machine:?}, round {round}");
            let on = (0..HALF).filter(|nth| found[*nth] & CHILD != 0);
            assert!({ on }.all(|nth| above[nth] == others[nth]), "{machine:?}, round {round}");
            _ = pass(machine, &memory, &slots, any);
            assert_eq!(pass(machine, &[], &slots, [5; HALF]).0, [5; HALF]);
        }
    }
}

fn pass_open(machine: Machine, memory: &[Line], high: u64, mut next: [u32; GROUP]) -> [u32; GROUP] {
    let mut at = [3; GROUP];
    let high = core::array::from_fn(|nth| high.rotate_left(nth as u32));
    match machine {
        #[cfg(target_arch = "x86_64")]
        Machine::Wide(isa) => isa.pass_open(memory, 1, &high, &mut next, &mut at),
        _ => Portable.pass_open(memory, 1, &high, &mut next, &mut at),
    }
    // Where it ended nobody asks.
    assert!(next.iter().zip(at).all(|(next, at)| next & CHILD == 0 || at <= 63));
    next
}

/// Open chunks above others, and above values.
#[test]
fn all_machines_pass_open_chunks() {
    let memory = zeroed::<Line>(120);
    let (mut random, mut seen) = (7u32, [0; 2]);
    for round in 0..2_000u64 {
        let mut next = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            random >> 7
        };
        let last: [u32; 8] = core::array::from_fn(|nth| {
            let slots = core::array::from_fn(|_| [0, 5, next()][next() as usize % 3]);
            Encoded::new(&slots, next()).write(&memory, 16 + 16 * nth as u32)
        });
        let open: [u32; 8] = core::array::from_fn(|nth| {
            let slots = core::array::from_fn(|_| [0, next(), last[nth]][next() as usize % 3]);
            Encoded::open(&slots).write(&memory, 160 + 8 * nth as u32)
        });
        let entries = core::array::from_fn(|nth| [open[nth % 8], last[nth % 8], 9][next() as usize % 3]);
        let high = u64::from(next()) << 40 | u64::from(next()) << 20 | round;
        let found = pass_open(Machine::Portable, &memory, high, entries);
        seen[0] += found.iter().filter(|next| **next == 0).count();
        seen[1] += found.iter().filter(|next| **next >> 31 == 0 && **next > 9).count();
        let any = entries.map(|_| CHILD | (next() << (next() % 8)));
        for machine in Machine::all() {
            let other = pass_open(machine, &memory, high, entries);
            assert_eq!(other, found, "{machine:?}, round {round}");
            _ = pass_open(machine, &memory, high, any);
            assert_eq!(pass_open(machine, &[], high, [5; GROUP]), [5; GROUP]);
        }
    }
    assert!(seen.iter().all(|count| *count > 1000), "{seen:?}");
}

/// Codes of all slots, by 32 and by 16, whatever stands below a slot's bits.
#[test]
fn all_machines_decode_the_same() {
    let flat = Flat::new(&Zone::new(0u32, 0, 7));
    for (nth, value) in flat.values.iter().enumerate().skip(1) {
        value.store(3 * nth as u32, Relaxed);
    }
    for (nth, word) in flat.lines.iter().flat_map(|line| &line.0).enumerate() {
        word.store((nth as u32).wrapping_mul(0x9e37_79b1) & [u32::MAX, 0x0101_0303][nth % 2], Relaxed);
    }
    let mut seen = [0; 2];
    for round in 0..300u32 {
        let slots: [u32; GROUP] =
            core::array::from_fn(|nth| [(round * 29 + nth as u32) % (64 << 7), (64 << 7) - 1][nth / 31]);
        let tops = slots.map(|slot| (slot << 19) + slot * 37 % (1 << 19));
        let half: &Half = tops.first_chunk().unwrap();
        let mut expected = [0; GROUP];
        let masks = Portable.decode(&flat, &tops, &mut expected);
        for (nth, slot) in slots.iter().enumerate() {
            let code = flat.code(*slot as usize);
            assert_eq!(expected[nth], flat.meaning(code, *slot as usize));
            assert_eq!(masks.0 >> nth & 1 == 1, code == BELOW);
            assert_eq!(masks.1 >> nth & 1 == 1, code == NOTHING);
        }
        seen = [seen[0] + masks.0.count_ones(), seen[1] + masks.1.count_ones()];
        for machine in Machine::all() {
            let (mut all, mut some) = ([0; GROUP], [0; HALF]);
            let bits = match machine {
                #[cfg(target_arch = "x86_64")]
                Machine::Wide(isa) => {
                    (isa.decode(&flat, &tops, &mut all), isa.decode(&flat, half, &mut some))
                }
                _ => (Portable.decode(&flat, &tops, &mut all), Portable.decode(&flat, half, &mut some)),
            };
            let low = (masks.0 & 0xffff, masks.1 & 0xffff);
            assert_eq!((bits.0, all), (masks, expected), "{machine:?}, {round}");
            assert_eq!((bits.1, &some[..]), (low, &expected[..HALF]), "{machine:?}, {round}");
        }
    }
    assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
}

/// Entries and cells within the memory and beyond its end.
#[test]
fn all_machines_fetch_the_same() {
    let entries: alloc::vec::Vec<AtomicU32> = (0..99).map(|n| AtomicU32::new(n * 3)).collect();
    let cells: alloc::vec::Vec<AtomicU64> = (0..50).map(|n| AtomicU64::new((n << 32) | (n * 7))).collect();
    for round in 0..200u32 {
        let index: Half = core::array::from_fn(|nth| [round * 7 + nth as u32, u32::MAX][nth / 15]);
        let old: Half = core::array::from_fn(|nth| (nth as u32 ^ round) & 1);
        let fetched = index.map(|at| 3 * at.min(98));
        let filled = core::array::from_fn(|nth| match (old[nth], index[nth]) {
            (0, at @ ..50) => at * 7,
            (old, _) => old,
        });
        for machine in Machine::all() {
            let mut found = old;
            let entries = match machine {
                #[cfg(target_arch = "x86_64")]
                Machine::Wide(isa) => {
                    isa.fetch_missing(&cells, &index, &mut found);
                    assert_eq!(isa.fetch(&[], &index), [0; HALF]);
                    isa.fetch(&entries, &index)
                }
                _ => {
                    Portable.fetch_missing(&cells, &index, &mut found);
                    assert_eq!(Portable.fetch(&[], &index), [0; HALF]);
                    Portable.fetch(&entries, &index)
                }
            };
            assert_eq!((entries, found), (fetched, filled), "{machine:?}, round {round}");
        }
    }
}
