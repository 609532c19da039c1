//! The Internet checksum, whole (RFC 1071) and incremental (RFC 1624).
//!
//! ```
//! use fastpath::wire::checksum;
//!
//! let header = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17];
//! let sum = checksum::of(&header);
//! // A field changes from 64,17 to 63,17: the checksum follows without a second pass.
//! let changed = [0x45, 0, 0, 28, 0, 0, 0, 0, 63, 17];
//! assert_eq!(checksum::update16(sum, 0x4011, 0x3f11), checksum::of(&changed));
//! ```

use crate::wire::{ne64, octets};

/// One's complement sum of two 16-bit words.
#[inline(always)]
pub const fn add16(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    // No second carry: a sum that overflowed is below 0xffff.
    sum.wrapping_add(carry as u16)
}

/// One's complement sum of the 16-bit words that `octets` spell in network order; a
/// last odd octet is the upper half of a word (RFC 1071).
///
/// Eight octets at a time: about 0.2 ns for each 16.
pub fn sum(octets: &[u8]) -> u16 {
    let (words, rest) = octets.as_chunks::<8>();
    let mut low = 0u64;
    let mut high = 0u64;
    for word in words {
        let word = u64::from_ne_bytes(*word);
        low = low.wrapping_add(word & 0xffff_ffff);
        high = high.wrapping_add(word >> 32);
    }
    let mut tail = [0; 8];
    for (to, from) in tail.iter_mut().zip(rest) {
        *to = *from;
    }
    let tail = u64::from_ne_bytes(tail);
    // Below 2^61 words of 32 bits each: no sum overflows.
    let total = low + high + (tail & 0xffff_ffff) + (tail >> 32);
    let folded = (total & 0xffff_ffff) + (total >> 32);
    let folded = (folded & 0xffff) + (folded >> 16 & 0xffff) + (folded >> 32);
    let folded = (folded & 0xffff) + (folded >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    // The sum is the same in either byte order, but for the order of its octets.
    u16::from_be(folded as u16)
}

/// The checksum of `octets`: the complement of their sum.
pub fn of(octets: &[u8]) -> u16 {
    !sum(octets)
}

/// The checksum after one 16-bit word of what it covers became `new` (RFC 1624,
/// equation 3).
#[inline(always)]
pub const fn update16(checksum: u16, old: u16, new: u16) -> u16 {
    !add16(add16(!checksum, !old), new)
}

/// The checksum after one 32-bit word of what it covers became `new`.
#[inline(always)]
pub const fn update32(checksum: u16, old: u32, new: u32) -> u16 {
    let checksum = update16(checksum, (old >> 16) as u16, (new >> 16) as u16);
    update16(checksum, old as u16, new as u16)
}

/// True if the checksum of a 20-octet header is right.
///
/// The one's complement sum of 16-bit words is the remainder of the number they
/// spell by 0xffff, in either byte order; it must be 0. That is asked by one
/// multiplication with the inverse of 0xffff modulo 2^64. A header of zeroes only
/// passes, too: its version is what is wrong with it.
#[inline(always)]
pub fn header20_ok(header: &[u8; 20]) -> bool {
    let (a, b) = (ne64::<0, 20>(header), ne64::<8, 20>(header));
    let c = u64::from(u32::from_ne_bytes(octets::<16, 4, 20>(header)));
    let (sum, carry) = a.overflowing_add(b);
    let (sum, more) = sum.overflowing_add(c + u64::from(carry));
    let sum = sum + u64::from(more);
    sum.wrapping_mul(0xfffe_fffe_fffe_ffff) <= u64::MAX / 0xffff
}

/// Sum of the IPv4 pseudo-header (RFC 768, RFC 9293): addresses, protocol, length.
pub const fn pseudo_v4(source: u32, destination: u32, protocol: u8, octets: u16) -> u16 {
    let addresses = add16(
        add16((source >> 16) as u16, source as u16),
        add16((destination >> 16) as u16, destination as u16),
    );
    add16(add16(addresses, protocol as u16), octets)
}

/// Sum of the IPv6 pseudo-header (RFC 8200, section 8.1): addresses, protocol, length.
pub fn pseudo_v6(source: u128, destination: u128, protocol: u8, octets: u32) -> u16 {
    let addresses = add16(sum(&source.to_be_bytes()), sum(&destination.to_be_bytes()));
    let length = add16((octets >> 16) as u16, octets as u16);
    add16(add16(addresses, protocol as u16), length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// By the book: 16 bits at a time.
    fn plain(octets: &[u8]) -> u16 {
        let words = octets.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)));
        let mut sum: u32 = words.sum();
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// 0 and 0xffff are the same number in one's complement.
    fn same(a: u16, b: u16) -> bool {
        a % 0xffff == b % 0xffff
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_book(octets: Vec<u8>) {
            prop_assert_eq!(sum(&octets), plain(&octets));
        }

        #[test]
        fn an_updated_checksum_is_that_of_the_whole(mut header: [u8; 20], at in 0usize..9, new: [u8; 4]) {
            let before = of(&header);
            let old = u32::from_be_bytes(*header[2 * at..].first_chunk().unwrap());
            header[2 * at..2 * at + 4].copy_from_slice(&new);
            let updated = update32(before, old, u32::from_be_bytes(new));
            prop_assert!(same(updated, of(&header)));
        }

        #[test]
        fn a_right_header_is_found_right_and_a_wrong_one_wrong(mut header: [u8; 20], flip in 0usize..160) {
            header[0] = 0x45;
            header[10..12].fill(0);
            let sum = of(&header).to_be_bytes();
            header[10..12].copy_from_slice(&sum);
            prop_assert!(header20_ok(&header));
            header[flip / 8] ^= 1 << (flip % 8);
            prop_assert!(!header20_ok(&header));
        }
    }

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }

    #[test]
    fn the_example_of_rfc_1624() {
        // Section 4: the checksum 0xdd2f, a field from 0x5555 to 0x3285.
        assert_eq!(update16(0xdd2f, 0x5555, 0x3285), 0x0000);
    }
}
