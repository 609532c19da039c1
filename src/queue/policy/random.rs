//! Numbers that look random, and follow from a seed.

/// SplitMix64 (G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators",
/// OOPSLA 2014): 64 bits of state, no seed that is worse than another, an addition and two
/// multiplications a number. Not for secrets.
///
/// ```
/// use fastpath::queue::policy::Random;
///
/// let (mut one, mut same) = (Random::new(7), Random::new(7));
/// assert_eq!([one.bits(), one.bits()], [same.bits(), same.bits()]);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Random(u64);

impl Random {
    /// The sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 32 bits.
    #[inline(always)]
    pub const fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The upper half: of what the last step would mix, it is the better one.
        (mixed >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_all() {
        // The upper halves of the published sequence of seed 0; the last mixing step of the
        // generator leaves the upper 31 bits as they are.
        let mut random = Random::new(0);
        let published: [u64; 3] = [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f];
        for number in published {
            assert_eq!(random.bits() >> 1, (number >> 33) as u32);
        }
    }
}
