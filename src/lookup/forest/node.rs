//! Nodes: which bits of a word of the key, and a slot for each of their values.
//!
//! | word | what |
//! |---|---|
//! | -1 | only in a node of more than eight bits: the numbers of the ninth and those that follow |
//! | 0 | the numbers of the first eight bits, an octet each, and whether there are more |
//! | 1 | all of the bits, as a mask |
//! | 2 and on | slots |
//!
//! A slot leads to word 0. Numbers and mask say the same: machines gather by either. Octet i
//! of the numbers has the number of its bit less i, modulo 64: eight bits of the word from
//! there on have it at bit i.

/// The word of the mask, and of the first slot.
pub(super) const MASK: usize = 1;
pub(super) const SLOTS: usize = 2;

/// In an octet of numbers: there is such a bit.
const BIT: u64 = 0x80;
/// In the first numbers: there are others.
pub(super) const MORE: u64 = 0x40 << 56;

/// Words of a node in front of word 0.
pub(super) fn before(bits: u32) -> usize {
    usize::from(bits > 8)
}

/// Words of a node from word 0 on.
pub(super) fn size(bits: u32) -> usize {
    SLOTS + (1 << bits)
}

/// The numbers of the bits of a mask: the first eight, and the eight that follow.
pub(super) fn numbers(mask: u64) -> [u64; 2] {
    let set = (0..64u64).filter(|bit| mask >> bit & 1 != 0);
    let eight = |from: usize| {
        let octets = set.clone().skip(from).zip((0..64).step_by(8));
        octets.fold(0, |numbers, (bit, shift)| numbers | (BIT | ((bit + 64 - shift / 8) % 64)) << shift)
    };
    let more = if mask.count_ones() > 8 { MORE } else { 0 };
    [eight(0) | more, eight(8)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_bits() {
        assert_eq!(numbers(0), [0, 0]);
        assert_eq!(numbers(1 << 63 | 0b101), [0xbd_81_80, 0]);
        assert_eq!(numbers(0x1ff << 8), [0xc8_88_88_88_88_88_88_88, 0x90]);
        assert_eq!((before(8), before(9), size(3)), (0, 1, 10));
    }
}
