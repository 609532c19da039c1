//! Sixteen bits of a key that tell filters apart.

use super::block::WIDE;
use super::rule::Rule;
use super::simd::Isa;

/// Which bits, of both words of a key; sixteen in all. If there are others above bit 48 of
/// the high word, they come out above the sixteen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Signature {
    pub(super) low: u64,
    pub(super) high: u64,
}

const BITS: u32 = 16;
const KEY: u128 = (1 << 112) - 1;

impl Signature {
    /// The signature of a key: the bits of the low word below those of the high one.
    #[inline(always)]
    pub(super) fn of(self, isa: impl Isa, key: u128) -> u16 {
        let (low, high) = (isa.gather(key as u64, self.low), isa.gather((key >> 64) as u64, self.high));
        (low | high << self.low.count_ones()) as u16
    }

    /// For up to fifteen filters; one that is there already, if it parts them as well as any.
    pub(super) fn for_rules(rules: &[Rule], like: Option<Self>) -> Self {
        let mut cuts = [(0, 0); WIDE];
        cuts.iter_mut().zip(rules).for_each(|(cut, rule)| *cut = rule.cut());
        let cuts = cuts.get(..rules.len()).unwrap_or(&cuts);
        let like = like.filter(|like| like.parts(cuts));
        like.unwrap_or_else(|| Self::choose(cuts))
    }

    /// Whether it parts each two of these filters, value and mask, that any bit parts.
    fn parts(self, cuts: &[(u128, u128)]) -> bool {
        let chosen = u128::from(self.low) | u128::from(self.high) << 64;
        cuts.iter().zip(1..).all(|((value, mask), at)| {
            cuts.iter().skip(at).all(|(other, known)| {
                let parting = (value ^ other) & mask & known;
                parting == 0 || parting & chosen != 0
            })
        })
    }

    /// For filters of which these are value and mask.
    ///
    /// First bits that part the pairs of filters which any bit parts; then those which part
    /// the most, and of these those that the most filters know.
    fn choose(cuts: &[(u128, u128)]) -> Self {
        // Bits that are 1, or 0, in a filter, and in two; and a counter of known ones.
        let (mut one, mut ones, mut zero, mut zeros) = (0u128, 0u128, 0u128, 0u128);
        let (mut all, mut count) = (KEY, [0u128; 4]);
        for (value, mask) in cuts {
            let (set, clear) = (value & mask, !value & mask);
            ones |= one & set;
            one |= set;
            zeros |= zero & clear;
            zero |= clear;
            all &= mask;
            let mut carry = *mask;
            for plane in &mut count {
                (*plane, carry) = (*plane ^ carry, *plane & carry);
            }
        }
        // Known by two filters, or by four of eight or more.
        let [_, two, four, eight] = count;
        let half = if cuts.len() < 8 { two | four | eight } else { four | eight };
        let (part, parts) = (one & zero, ones & zeros);
        let classes =
            [parts & all, parts & half, parts, part & all, part & half, part, all, half, one | zero, KEY];
        let best = |bits: u128| {
            let of = classes.iter().map(|class| class & bits).find(|class| *class != 0)?;
            Some(of & of.wrapping_neg())
        };
        let mut chosen = 0u128;
        for ((value, mask), at) in cuts.iter().zip(1..) {
            for (other, known) in cuts.iter().skip(at) {
                let parting = (value ^ other) & mask & known;
                if parting & chosen == 0 && chosen.count_ones() < BITS {
                    chosen |= best(parting).unwrap_or(0);
                }
            }
        }
        while chosen.count_ones() < BITS
            && let Some(bit) = best(KEY & !chosen)
        {
            chosen |= bit;
        }
        Self { low: chosen as u64, high: (chosen >> 64) as u64 }
    }
}

/// The most of these values and masks that one signature matches at once.
pub(super) fn most_together(entries: &[(u16, u16)]) -> u32 {
    // Where any two agree, all do: what each bit is asked for is one value.
    let mut agree = [0u16; WIDE];
    for (agree, (value, mask)) in agree.iter_mut().zip(entries) {
        for ((other, known), at) in entries.iter().zip(0..WIDE) {
            *agree |= u16::from((value ^ other) & mask & known == 0) << at;
        }
    }
    fn most(left: u16, agree: &[u16; WIDE], least: u32) -> u32 {
        if left.count_ones() <= least {
            return 0;
        }
        let first = left.trailing_zeros() as usize;
        let others = left & (left - 1);
        let with = 1 + most(others & agree.get(first).unwrap_or(&0), agree, least.saturating_sub(1));
        with.max(most(others, agree, least.max(with)))
    }
    most(((1u32 << entries.len().min(WIDE)) - 1) as u16, &agree, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::forest::simd::Portable;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        /// Sixteen bits, of which a key's are those of each filter that it matches.
        #[test]
        fn a_key_has_the_signature_of_its_filters(
            cuts in proptest::collection::vec((any::<u128>(), any::<u128>(), any::<u128>()), 0..WIDE),
            noise: u128,
        ) {
            let cuts: Vec<_> = cuts.iter().map(|(value, a, b)| (value & KEY, a & b & KEY)).collect();
            let signature = Signature::choose(&cuts);
            prop_assert_eq!(signature.low.count_ones() + signature.high.count_ones(), BITS);
            prop_assert_eq!(signature.high >> 48, 0);
            for (value, mask) in cuts {
                let key = value & mask | noise & !mask;
                let [of_key, of_value, of_mask] = [key, value, mask].map(|bits| signature.of(Portable, bits));
                prop_assert_eq!((of_key ^ of_value) & of_mask, 0);
            }
        }

        /// As many as match some signature: tried with the values of all subsets.
        #[test]
        fn the_most_together_is_the_most_that_a_signature_matches(
            entries in proptest::collection::vec((0u16..32, 0u16..32), 0..=WIDE),
        ) {
            let of = |key: u16| entries.iter().filter(|(value, mask)| (key ^ value) & mask == 0).count() as u32;
            prop_assert_eq!(most_together(&entries), (0..32).map(of).max().unwrap_or(0));
        }
    }

    #[test]
    fn pairs_are_parted_if_a_bit_does() {
        // Fifteen filters that differ in one bit each from the first: fourteen bits part all.
        let cuts: Vec<_> = (0..15u32).map(|at| (if at == 0 { 0 } else { 1u128 << (7 * at) }, KEY)).collect();
        let signature = Signature::choose(&cuts);
        let mut found: Vec<_> = cuts.iter().map(|(value, _)| signature.of(Portable, *value)).collect();
        found.sort_unstable();
        found.dedup();
        assert!(found.len() == 15 && signature.parts(&cuts));
        let blind = Signature { low: 0, high: 0xffff };
        assert!(!blind.parts(&cuts) && blind.parts(&cuts[..1]));
    }
}
