//! The keyed hash: where a filter may stand is a secret.
//!
//! Three multiplications of 64 by 64 bits, each of all that is known so far with two
//! secret words added:
//!
//! ```text
//! p = (low + k0) * (high + k1)            128 bits
//! q = (low(p) + k2) * (high(p) + k3)      128 bits
//! r = (low(q) + k4) * (high(q) + k5)      128 bits
//! hash = low(r) ^ high(r)                 two choices of 32 bits
//! ```
//!
//! The first line is NH with one pair of words (J. Black, S. Halevi, H. Krawczyk,
//! T. Krovetz, P. Rogaway, "UMAC: Fast and Secure Message Authentication", CRYPTO 1999):
//! for any two different keys, chosen by someone who does not know `k0` and `k1`, both 128
//! bits of `p` are equal for at most one in 2^64 of the seeds. So among 2^20 filters some
//! two agree in `p` with probability below 2^-24, whoever chose them: that is a theorem.
//! The others spread `p` over all bits, so that keys in a row or on a grid do not stay so in
//! either half. That the folded product then looks like chance to one who does not know the
//! seed is what wyhash and ahash rest on too, and is not proven. Two lines were too few:
//! with 51 keys in a row in a table made for 51, one seed in 5,000 needed a rebuild; with
//! three lines, or words drawn at random, less than one in 100,000. `k2` to `k5` follow from
//! the others.
//!
//! The hash is not made to be seen: no method gives it out, and a lookup reads the same two
//! lines whether it finds something or not. Whether lines are in the cache can be measured
//! from outside, in principle; that is how a seed might leak.

/// The secret words.
#[derive(Clone, Copy)]
pub(super) struct Secret {
    words: [u64; 6],
}

/// Not printed.
impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// For seeds drawn with all values equally likely, so are the first two words.
    pub(super) fn new(seed: u128) -> Self {
        let first = mix(seed as u64);
        let second = mix((seed >> 64) as u64 ^ first);
        let mut words = [first, second, 0, 0, 0, 0];
        let mut last = second ^ first.rotate_left(32);
        for word in words.iter_mut().skip(2) {
            last = mix(last);
            *word = last;
        }
        Self { words }
    }

    /// Another seed, known to nobody who does not know this one.
    pub(super) fn next_seed(&self) -> u128 {
        let [first, second, .., fifth, sixth] = self.words;
        let (low, high) = (mix(sixth ^ first), mix(fifth ^ second.rotate_left(17)));
        u128::from(high) << 64 | u128::from(low)
    }

    #[inline(always)]
    pub(super) fn hash(&self, low: u64, high: u64) -> u64 {
        let [k0, k1, k2, k3, k4, k5] = self.words;
        let (low, high) = multiply(low.wrapping_add(k0), high.wrapping_add(k1));
        let (low, high) = multiply(low.wrapping_add(k2), high.wrapping_add(k3));
        let (low, high) = multiply(low.wrapping_add(k4), high.wrapping_add(k5));
        low ^ high
    }
}

/// All 128 bits of the product, low half first.
#[inline(always)]
const fn multiply(a: u64, b: u64) -> (u64, u64) {
    let product = a as u128 * b as u128;
    (product as u64, (product >> 64) as u64)
}

/// A permutation of 64 bits (the finaliser of SplitMix64: G. Steele, D. Lea, C. Flood,
/// OOPSLA 2014).
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
