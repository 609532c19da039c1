//! Any history of a table against one list of prefixes.

use std::collections::HashMap;
use std::num::NonZeroU32;

use fastpath::epoch::Epochs;
use fastpath::prefix::*;
use proptest::prelude::*;

pub(crate) type Model<A> = HashMap<Prefix<A>, u32>;

/// All prefixes of `key`, longest first.
fn matching<A: Address>(model: &Model<A>, key: A) -> Vec<(u32, u32)> {
    let mut all: Vec<_> = model.iter().filter(|(p, _)| p.covers(key)).map(|(p, v)| (p.len(), *v)).collect();
    all.sort_by(|a, b| b.cmp(a));
    all
}

pub(crate) fn check<A: Address>(
    read: &PrefixRead<A>, model: &Model<A>, keys: &[A],
) -> Result<(), TestCaseError> {
    let mut found = vec![None; keys.len()];
    read.lookup_batch(keys, &mut found);
    for (&key, &found) in keys.iter().zip(&found) {
        let want = matching(model, key);
        let first = want.first().and_then(|&(_, v)| NonZeroU32::new(v));
        prop_assert_eq!(found, first, "batch {:?}", key);
        read.prefetch(key);
        prop_assert_eq!(read.lookup(key), first, "single {:?}", key);
        prop_assert!(read.matches(key).eq(want), "matches {:?}", key);
    }
    let all: Model<A> = read.iter().collect();
    prop_assert_eq!(&all, model);
    prop_assert_eq!(read.iter().count(), model.len());
    for (&p, &v) in model {
        prop_assert_eq!(read.get(p), Some(v));
    }
    Ok(())
}

/// `low` bits that vary, from bit `at` of a word of `width` bits, and perhaps a bit that
/// all have in common.
fn word(width: u32, low: u32, bits: u128, at: u32, top: bool) -> u128 {
    let at = at.min(width - low);
    let rest = bits & ((1 << low) - 1);
    let word = rest << (width - low - at);
    if top && at > 2 { word | 1 << (width - 2) } else { word }
}

#[derive(Clone, Debug)]
struct Op {
    insert: bool,
    bits: u128,
    len: u32,
    value: u32,
    top: bool,
}

fn op(low: u32) -> impl Strategy<Value = Op> {
    // Values that fit into a leaf, and larger ones.
    let value = prop_oneof![4 => 1u32..5, 1 => 1u32..600, 1 => Just(0x7fff), 1 => 0x8000u32..0x8002, 1 => Just(MOST_VALUE)];
    (prop::bool::weighted(0.7), 0u128..1 << low, 0..=low + 2, value, prop::bool::weighted(0.9))
        .prop_map(|(insert, bits, len, value, top)| Op { insert, bits, len, value, top })
}

fn history<A: Address>(
    ops: &[Op], load: usize, low: u32, at: u32, form: Form, make: impl Fn(u128) -> A,
) -> Result<(), TestCaseError> {
    let prefix = |op: &Op| {
        let at = at.min(A::BITS - low);
        let len = match op.len {
            0 => 0,
            1 => at.min(3),
            len => at + len - 2,
        };
        Prefix::new(make(word(A::BITS, low, op.bits, at, op.top)), len).unwrap()
    };
    let mut model: Model<A> = HashMap::new();
    let first: Vec<_> = ops[..load.min(ops.len())].iter().map(|op| (prefix(op), op.value)).collect();
    model.extend(first.iter().copied());
    // The same table with one owner, and in halves with a reader that passes now and then.
    let mut trie = PrefixTrie::load(first.iter().copied(), form).unwrap();
    let (mut read, mut control) = PrefixTrie::load(first, form).unwrap().into_halves();
    let mut epochs = Epochs::new(1);
    let mut reader = epochs.reader().unwrap();

    let some = low.min(8);
    let mut keys: Vec<A> =
        (0..1u128 << some).map(|b| make(word(A::BITS, low, b << (low - some), at, true))).collect();
    keys.extend([make(0), make(u128::MAX), make(1), make(u128::MAX >> 1), make(u128::MAX / 3)]);
    keys.extend(ops.iter().map(|op| make(word(A::BITS, low, op.bits, at, op.top) | 1)));
    check(&read, &model, &keys)?;
    for (nth, op) in ops.iter().enumerate().skip(load) {
        let p = prefix(op);
        let change = |read: &PrefixRead<A>, control: &mut PrefixControl<A>, epochs: &mut Epochs| {
            if op.insert {
                control.insert(read, epochs, p, op.value)
            } else {
                control.remove(read, epochs, p).map_err(InsertError::from)
            }
        };
        let mut done = change(&read, &mut control, &mut epochs);
        if done == Err(UpdateError::Busy.into()) {
            reader.quiescent();
            done = change(&read, &mut control, &mut epochs);
        }
        if done == Err(UpdateError::RebuildDue.into()) {
            let form = control.larger(&read, p);
            (read, control) = control.rebuilt(&read, form);
            done = change(&read, &mut control, &mut epochs);
        }
        if op.insert {
            prop_assert_eq!(done, Ok(model.insert(p, op.value)));
            prop_assert_eq!(trie.insert(p, op.value), done);
        } else {
            prop_assert_eq!(done, Ok(model.remove(&p)));
            prop_assert_eq!(Ok(trie.remove(p)), done);
        }
        prop_assert_eq!((trie.len(), control.len()), (model.len(), model.len()));
        if nth % 32 == 0 {
            check(&read, &model, &keys)?;
        }
    }
    check(&read, &model, &keys)?;
    let (read, mut control) = trie.into_halves();
    check(&read, &model, &keys)?;
    let mut epochs = Epochs::new(0);
    let empty = PrefixTrie::<A>::new(form).octets();
    for p in model.keys().copied().collect::<Vec<_>>() {
        prop_assert_eq!(control.remove(&read, &mut epochs, p), Ok(model.remove(&p)));
    }
    check(&read, &model, &keys)?;
    prop_assert_eq!(control.blocks(), (0, 0), "nothing is left");
    let least =
        3 + if form.flat == Some(true) { 1 } else { 0 } + if form.ranges == Some(true) { 13 } else { 0 };
    prop_assert!(control.cost(&read) <= least && empty.waiting == 0);
    Ok(())
}

fn form() -> impl Strategy<Value = Form> {
    let maybe = || prop::option::of(prop::bool::ANY);
    (prop::option::of(2u32..14), prop::option::of(0u32..6), 0usize..200, [maybe(), maybe(), maybe()])
        .prop_map(|(direct_bits, skip, spare, [flat, open, ranges])| Form {
            direct_bits,
            skip,
            spare,
            flat,
            open,
            ranges,
            ..Form::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn thirty_two_bits(ops in prop::collection::vec(op(10), 1..160), load in 0usize..80, at in 0u32..22, form in form()) {
        history::<u32>(&ops, load, 10, at, form, |w| w as u32)?;
    }
    #[test]
    fn sixty_four_bits(ops in prop::collection::vec(op(12), 1..160), load in 0usize..80, at in 0u32..52, form in form()) {
        history::<u64>(&ops, load, 12, at, form, |w| w as u64)?;
    }
    #[test]
    fn all_bits(ops in prop::collection::vec(op(9), 1..160), load in 0usize..80, at in 0u32..119, form in form()) {
        history::<u128>(&ops, load, 9, at, form, |w| w)?;
    }
    /// Fields of 8 to 40 bits of a wider word.
    #[test]
    fn fields(ops in prop::collection::vec(op(8), 1..120), load in 0usize..60, at in 0u32..33, form in form()) {
        history::<u128>(&ops, load, 8, at, form, |w| w)?;
    }
}
