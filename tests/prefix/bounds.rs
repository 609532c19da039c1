//! Limits, memory and cost: what is refused, and that it changes nothing.

use fastpath::epoch::Epochs;
use fastpath::prefix::*;

use crate::history::{Model, check};

fn prefix<A: Address>(bits: A, len: u32) -> Prefix<A> {
    Prefix::new(bits, len).unwrap()
}

#[test]
fn values_are_checked() {
    let mut table = PrefixTrie::<u32>::default();
    let p = prefix(0, 0);
    assert_eq!(table.insert(p, 0), Err(InsertError::Value(0)));
    assert_eq!(table.insert(p, 1 << 31), Err(InsertError::Value(1 << 31)));
    assert!(PrefixTrie::load([(p, 0)], Form::default()).is_err());
    assert!(table.is_empty());
    assert_eq!(table.insert(p, MOST_VALUE), Ok(None));
    assert_eq!(table.lookup(5).map(|value| value.get()), Some(MOST_VALUE));
}

#[test]
fn a_batch_stops_at_the_shorter_slice() {
    let table = PrefixTrie::load([(prefix(1u32 << 31, 1), 9)], Form::default()).unwrap();
    let sentinel = std::num::NonZeroU32::new(77);
    for len in 0usize..70 {
        let keys: Vec<u32> = (0..len as u32).map(|n| n << 31).collect();
        for room in [len.saturating_sub(1), len, len + 3] {
            let mut found = vec![sentinel; room];
            table.lookup_batch(&keys, &mut found);
            for (at, found) in found.iter().enumerate() {
                let want = if at >= len { sentinel } else { table.lookup(keys[at]) };
                assert_eq!(*found, want, "{at} of {len} in {room}");
            }
        }
    }
}

fn numbers() -> impl Iterator<Item = u32> {
    std::iter::successors(Some(1u32), |x| Some(x.wrapping_mul(0x9e37_79b9).wrapping_add(12_345)))
}

/// Half a table whose memory is used up refuses and stays as it was. Removals still go; a
/// rebuilt table has room.
#[test]
fn a_full_half_is_unchanged() {
    let form = Form { direct_bits: Some(4), ..Form::default() };
    let (read, mut control) = PrefixTrie::<u32>::new(form).into_halves();
    let (mut epochs, mut model) = (Epochs::new(0), Model::new());
    let mut last = None;
    for x in numbers() {
        let (p, value) = (prefix(x, 4 + x % 29), 1 + (x >> 8 & 0xff));
        match control.insert(&read, &mut epochs, p, value) {
            Ok(old) => assert_eq!(old, model.insert(p, value)),
            Err(error) => {
                assert_eq!(error, UpdateError::RebuildDue.into());
                last = Some((p, value));
                break;
            }
        }
    }
    assert!(model.len() > 200, "{}", model.len());
    let keys: Vec<u32> =
        (0..2000u32).map(|i| i.wrapping_mul(0x85eb_ca6b)).chain(model.keys().map(|p| p.bits())).collect();
    check(&read, &model, &keys).unwrap();
    let (p, value) = last.unwrap();
    let (larger, mut other) = control.rebuilt(&read, control.larger(&read, p));
    check(&larger, &model, &keys).unwrap();
    assert_eq!(control.insert(&larger, &mut epochs, p, value), Err(UpdateError::NotPaired.into()));
    assert_eq!(other.insert(&larger, &mut epochs, p, value), Ok(None));
    for p in model.keys().copied().collect::<Vec<_>>() {
        assert_eq!(control.remove(&read, &mut epochs, p), Ok(model.remove(&p)));
    }
    assert_eq!((control.blocks(), control.cost(&read)), ((0, 0), 2));
}

/// With one owner memory grows, up to the prefixes that may come in; a removal is never
/// refused, however full and fragmented memory is.
#[test]
fn a_trie_grows_up_to_its_limit() {
    let form = Form { most: 3000, ..Form::default() };
    let mut table = PrefixTrie::<u32>::new(form);
    let mut model = Model::new();
    for x in numbers().take(20_000) {
        let p = prefix(x, 4 + x % 29);
        if x >> 30 == 0 {
            assert_eq!(table.remove(p), model.remove(&p));
        } else if model.len() < 3000 || model.contains_key(&p) {
            assert_eq!(table.insert(p, 1 + (x >> 8)), Ok(model.insert(p, 1 + (x >> 8))));
        } else {
            assert_eq!(table.insert(p, 1), Err(InsertError::Full(3000)));
            // Someone else's turn.
            let gone = *model.keys().min().unwrap();
            assert_eq!(table.remove(gone), model.remove(&gone));
        }
    }
    let some = table.iter().next().unwrap().0;
    assert_eq!(table.insert(some, 7).map(|old| old.is_some()), Ok(true), "replacing is no insertion");
    assert!(PrefixTrie::load(table.iter(), Form { most: model.len() - 1, ..form }).is_err());
    assert!(table.octets().total < 2_000_000, "{:?}", table.octets());
}

/// The bound on cache lines is a bound on the length of prefixes, whatever the order.
#[test]
fn what_fits_the_bound_does_not_depend_on_the_order() {
    let form = Form { bound: 6, ..Form::default() };
    let lengths = [8, 44, 45, 20, 128, 1, 32, 38, 64, 44];
    let mut accepted = Vec::new();
    for turn in 0..lengths.len() {
        let mut table = PrefixTrie::<u128>::new(form);
        let mut held = Vec::new();
        for nth in 0..lengths.len() {
            let which = (nth + turn) % lengths.len();
            let p = prefix((which as u128 + 1) << 123, lengths[which]);
            match table.insert(p, 1) {
                Ok(_) => held.push(which),
                Err(InsertError::Cost { needed, bound: 6 }) => assert!(needed > 6),
                Err(error) => panic!("{error}"),
            }
            assert!(table.cost() <= 6);
            assert_eq!(table.len(), held.len());
        }
        held.sort_unstable();
        accepted.push(held);
    }
    assert!(accepted.windows(2).all(|two| two[0] == two[1]), "{accepted:?}");
    assert_eq!(accepted[0].iter().map(|at| lengths[*at]).max(), Some(44));
    // Deep ones under what all have in common, and then one that has not.
    let mut table =
        PrefixTrie::load([(prefix(5u128 << 88, 44), 1), (prefix(5u128 << 88, 42), 2)], form).unwrap();
    for high in 0..16u128 {
        table.insert(prefix(high << 124 | 7, 44), 3).unwrap();
        assert!(table.cost() <= 6);
    }
}

/// A reader that never passes: updates go on until too much waits, then fail and change
/// nothing; when it has passed they go on.
#[test]
fn a_stalled_reader_bounds_what_waits() {
    let form = Form { spare: 1000, waiting: Some(10_000), ..Form::default() };
    let (read, mut control) = PrefixTrie::<u32>::new(form).into_halves();
    let mut epochs = Epochs::new(2);
    let (mut stalled, mut other) = (epochs.reader().unwrap(), epochs.reader().unwrap());
    let p = |n: u32| prefix(0x0a00_0000 | n << 4, 28);
    let mut done = 0;
    let refused = loop {
        match control.insert(&read, &mut epochs, p(done % 7), 1 + done) {
            Ok(_) => done += 1,
            Err(error) => break error,
        }
        other.quiescent();
    };
    assert_eq!(refused, UpdateError::Busy.into());
    assert!(done > 20 && control.octets(&read).waiting < 11_000, "{done} {:?}", control.octets(&read));
    let before: Vec<_> = read.iter().collect();
    assert_eq!(control.remove(&read, &mut epochs, p(0)), Err(UpdateError::Busy));
    assert!(before.into_iter().eq(read.iter()));
    // A rebuilt table waits for nobody.
    let (fresh, mut owner) = control.rebuilt(&read, form);
    assert!(owner.remove(&fresh, &mut epochs, p(0)).unwrap().is_some());
    stalled.quiescent();
    assert_eq!(control.insert(&read, &mut epochs, p(6), 5).map(|old| old.is_some()), Ok(true));
    assert!(control.octets(&read).waiting < 1000);
}

/// An update may copy all chunks of a direct entry's neighbourhood; a table that was made
/// without room to spare for them grows until they fit.
#[test]
fn the_largest_update_finds_room() {
    for (direct_bits, len) in [(18, 10), (20, 11), (17, 9)] {
        // Large values, all different: blocks of the largest size.
        let many = (0..1u32 << 14).map(|n| (prefix(0x0a00_0000 | n << 8, 24), (1 << 20) + n));
        let form = Form { direct_bits: Some(direct_bits), waiting: Some(0), ..Form::default() };
        let mut table = PrefixTrie::load(many, form).unwrap();
        let before = table.octets().total;
        assert_eq!(table.insert(prefix(0x0a00_0000, len), 7), Ok(None));
        assert_eq!(table.lookup(0x0a00_0001).map(|value| value.get()), Some(1 << 20));
        assert_eq!(
            table.lookup(0x0a00_0000 | 1 << 22).map(|value| value.get()),
            Some(7).filter(|_| len < 10)
        );
        assert_eq!(table.remove(prefix(0x0a00_0000, len)), Some(7));
        assert_eq!(table.len(), 1 << 14);
        println!("{direct_bits} bits: {before} octets, {} after", table.octets().total);
    }
}

/// Prefixes come and go for long in a table with room for a few more: as many as there are
/// never make a rebuild due, whatever sizes of blocks they leave behind.
#[test]
fn churn_makes_no_rebuild_due() {
    fn churn<A: Address>(of: impl Fn(u32) -> Prefix<A>) {
        let mut held: Vec<_> = numbers().map(&of).take(20_000).collect();
        held.sort();
        held.dedup();
        let value = |x: u32| 1 + (x >> 3) % [200, MOST_VALUE][x as usize % 2];
        let form = Form { spare: 1000, ..Form::default() };
        let loaded = held.iter().zip(numbers()).map(|(p, x)| (*p, value(x)));
        let (read, mut control) = PrefixTrie::load(loaded, form).unwrap().into_halves();
        let mut epochs = Epochs::new(1);
        let mut reader = epochs.reader().unwrap();
        let (mut gone, mut random) = (Vec::new(), numbers().skip(7));
        for turn in 0..60_000 {
            let mut next = || random.next().unwrap() >> 4;
            let out = if turn / 600 % 2 == 0 { 3 } else { 1 };
            if gone.is_empty() || gone.len() < 1000 && next() % 4 < out {
                let p = held.swap_remove(next() as usize % held.len());
                assert!(control.remove(&read, &mut epochs, p).unwrap().is_some());
                gone.push(p);
            } else {
                let p = gone.swap_remove(next() as usize % gone.len());
                assert_eq!(control.insert(&read, &mut epochs, p, value(next())), Ok(None));
                held.push(p);
            }
            // The room to spare does not count on readers that are quick.
            if turn % 16 == 0 {
                reader.quiescent();
            }
        }
        assert!(control.copied() > 1 << 20);
        held.iter().step_by(99).for_each(|p| assert!(read.get(*p).is_some()));
    }
    churn::<u32>(|x| prefix(x & 0x03ff_ffff, 14 + x.reverse_bits() % 19));
    churn::<u128>(|x| prefix(u128::from(x & 0xf_ffff) << 80, 36 + x.reverse_bits() % 29));
}
