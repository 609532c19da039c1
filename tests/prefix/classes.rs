//! A class matches the pattern of a prefix if and only if the prefix covers the address.

use std::collections::HashSet;

use fastpath::prefix::*;
use proptest::prelude::*;

fn agree<A: Address>(prefixes: &[Prefix<A>], keys: &[A]) -> Result<(), TestCaseError> {
    let unique: HashSet<_> = prefixes.iter().copied().collect();
    let Err(ClassesError::Bits { needed, bits: 32 }) = Classes::of(unique.iter().copied(), 32) else {
        return Err(TestCaseError::fail("there are 31 bits at most"));
    };
    if needed > 31 {
        return Ok(());
    }
    // At most a bit for each level of nesting more than numbers need.
    let depth =
        unique.iter().map(|p| unique.iter().filter(|q| q.len() <= p.len() && q.covers(p.bits())).count());
    let depth = depth.max().unwrap_or(0) as u32;
    prop_assert!(needed <= (unique.len() as u32 + 1).next_power_of_two().ilog2() + depth);
    for bits in [needed, needed + 1, 31] {
        let bits = bits.min(31);
        let classes = Classes::of(prefixes.iter().copied(), bits).unwrap();
        prop_assert_eq!((classes.needed(), classes.patterns().count()), (needed, unique.len()));
        for (prefix, pattern) in classes.patterns() {
            prop_assert!(unique.contains(&prefix));
            prop_assert_eq!(classes.pattern(prefix), Some(pattern));
            prop_assert_eq!(u64::from(pattern.mask) >> bits, 0);
            for &key in keys {
                let class = classes.class(key);
                prop_assert_eq!(u64::from(class) >> bits, 0);
                prop_assert_eq!(
                    pattern.matches(class),
                    prefix.covers(key),
                    "{:?} {:?} {:x?} class {:b}",
                    prefix,
                    pattern,
                    key,
                    class
                );
            }
        }
        for &key in keys {
            let covered = unique.iter().any(|prefix| !prefix.is_empty() && prefix.covers(key));
            prop_assert_eq!(classes.class(key) == 0, !covered);
        }
    }
    if let Some(fewer) = needed.checked_sub(1) {
        let error = Classes::of(prefixes.iter().copied(), fewer).unwrap_err();
        prop_assert_eq!(error, ClassesError::Bits { needed, bits: fewer });
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_class_matches_a_prefix_that_covers_the_address(
        prefixes in prop::collection::vec((any::<u16>(), 0u32..=16), 0..40),
    ) {
        let of = |bits: u16, len| Prefix::new(u128::from(bits & 0x7333) << 112, len).unwrap();
        let prefixes: Vec<_> = prefixes.into_iter().map(|(bits, len)| of(bits, len)).collect();
        let mut keys: Vec<u128> = prefixes.iter().flat_map(|p| [p.bits(), p.bits() | 1 << 100, p.bits() | 1 << 112]).collect();
        keys.extend([0, u128::MAX, 1 << 127]);
        agree(&prefixes, &keys)?;
    }
    #[test]
    fn chains_and_fans_of_32_bits(chain in 0u32..25, fan in 0u32..60, at in any::<u32>()) {
        let mut prefixes: Vec<_> = (1..=chain).map(|len| Prefix::new(at, len).unwrap()).collect();
        prefixes.extend((0..fan).map(|n| Prefix::new(at.wrapping_add(n << 8), 24).unwrap()));
        let keys: Vec<u32> = prefixes.iter().flat_map(|p| [p.bits(), p.bits() ^ 1, p.bits() ^ 1 << 9, !p.bits()]).collect();
        agree(&prefixes, &keys)?;
    }
}

#[test]
fn bits_are_as_few_as_numbers_need() {
    let of = |n: u32, len| Prefix::new(n << 16, len).unwrap();
    // Three side by side and "none": two bits.
    assert_eq!(Classes::of((1..4).map(|n| of(n, 16)), 2).unwrap().needed(), 2);
    assert_eq!(
        Classes::of((1..=4).map(|n| of(n, 16)), 2).unwrap_err(),
        ClassesError::Bits { needed: 3, bits: 2 }
    );
    // None at all, and the one that covers everything: none.
    assert_eq!(Classes::<u32>::of([], 0).unwrap().class(7), 0);
    let all = Classes::of([Prefix::<u32>::everything()], 0).unwrap();
    assert_eq!(all.pattern(Prefix::everything()), Some(Pattern { value: 0, mask: 0 }));
    // A chain of ten: a bit each.
    assert_eq!(Classes::of((1..=10).map(|len| of(0xffff, len)), 10).unwrap().needed(), 10);
    // 10,000 side by side in 14 bits, in 100 groups in one more.
    let many = || (1..=10_000u32).map(|n| Prefix::new(n << 8, 24).unwrap());
    assert_eq!(Classes::of(many(), 14).unwrap().needed(), 14);
    let groups = many().map(|p| Prefix::new(p.bits(), 17).unwrap());
    assert!(Classes::of(many().chain(groups), 31).unwrap().needed() <= 15);
}
