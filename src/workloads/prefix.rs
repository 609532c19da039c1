//! Address prefixes of both IP versions.

use core::fmt::{self, Debug};
use core::hash::Hash;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

mod sealed {
    /// Keeps [`Address`](super::Address) to the two there are.
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for u128 {}
}

/// An IP address as a number, its first octet on top: `u32` for IPv4, `u128` for IPv6.
pub trait Address: Copy + Debug + Eq + Hash + Ord + sealed::Sealed {
    /// Width in bits.
    const BITS: u8;

    /// The address in the low bits of a `u128`.
    fn bits(self) -> u128;

    /// The low bits of `bits`.
    fn from_bits(bits: u128) -> Self;

    /// The same as the standard library has it.
    fn ip(self) -> IpAddr;

    /// An address that may be routed on the Internet, made of random `bits`: 1.0.0.0 to
    /// 223.255.255.255 or 2000::/3, each as likely as any other.
    fn unicast(bits: u128) -> Self;
}

impl Address for u32 {
    const BITS: u8 = 32;

    fn bits(self) -> u128 {
        u128::from(self)
    }
    fn from_bits(bits: u128) -> Self {
        bits as u32
    }
    fn ip(self) -> IpAddr {
        Ipv4Addr::from_bits(self).into()
    }
    fn unicast(bits: u128) -> Self {
        // 64 bits for 223 octets: no octet is likelier than another by more than 2^-56.
        let first = 1 + (bits >> 64) as u64 % 223;
        (first as u32) << 24 | bits as u32 & 0x00ff_ffff
    }
}

impl Address for u128 {
    const BITS: u8 = 128;

    fn bits(self) -> u128 {
        self
    }
    fn from_bits(bits: u128) -> Self {
        bits
    }
    fn ip(self) -> IpAddr {
        Ipv6Addr::from_bits(self).into()
    }
    fn unicast(bits: u128) -> Self {
        1 << 125 | bits >> 3
    }
}

/// The addresses whose first bits are given, IPv4 unless said otherwise.
///
/// Invariant: the length is at most the width, and the bits behind it are 0.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Prefix<A = u32> {
    address: A,
    len: u8,
}

impl<A: Address> Prefix<A> {
    /// The prefix of `len` bits that `address` is in, or `None` if an address has fewer
    /// bits. Bits behind the length are cleared.
    pub fn new(address: A, len: u8) -> Option<Self> {
        let mask = mask::<A>(len)?;
        Some(Self { address: A::from_bits(address.bits() & mask), len })
    }

    /// `address/len` in the usual notation.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, len) = text.split_once('/')?;
        let address = match address.parse().ok()? {
            IpAddr::V4(v4) if A::BITS == 32 => u128::from(v4.to_bits()),
            IpAddr::V6(v6) if A::BITS == 128 => v6.to_bits(),
            _ => return None,
        };
        Self::new(A::from_bits(address), super::text::decimal(len)?)
    }

    /// The first address.
    pub fn address(&self) -> A {
        self.address
    }

    /// The length in bits: 0 to 32, or to 128.
    #[expect(clippy::len_without_is_empty, reason = "a length of 0 is the whole address space")]
    pub fn len(&self) -> u8 {
        self.len
    }

    /// Ones in place of the bits that count.
    pub fn mask(&self) -> A {
        A::from_bits(mask::<A>(self.len).unwrap_or_default())
    }

    /// True if `address` is in it.
    pub fn contains(&self, address: A) -> bool {
        address.bits() & self.mask().bits() == self.address.bits()
    }

    /// The address in it whose other bits are those of `bits`.
    pub(super) fn with_host_bits(&self, bits: u128) -> A {
        A::from_bits(self.address.bits() | bits & !self.mask().bits())
    }
}

/// `len` ones on top of an address, in the low bits of a `u128`.
fn mask<A: Address>(len: u8) -> Option<u128> {
    let host_bits = A::BITS.checked_sub(len)?;
    Some(u128::MAX.checked_shl(host_bits.into()).unwrap_or(0))
}

impl<A: Address> fmt::Display for Prefix<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address.ip(), self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn lengths_beyond_the_width_are_refused() {
        assert_eq!(Prefix::new(0u32, 33), None);
        assert_eq!(Prefix::new(0u128, 129), None);
        assert_eq!(Prefix::new(u32::MAX, 0), Some(Prefix::default()));
        assert_eq!(Prefix::<u32>::parse("::/0"), None);
        assert_eq!(Prefix::<u128>::parse("0.0.0.0/0"), None);
        assert_eq!(Prefix::new(0x0a01_0203u32, 8).unwrap().to_string(), "10.0.0.0/8");
    }

    proptest! {
        #[test]
        fn a_prefix_is_the_addresses_that_share_its_bits(address: u32, len in 0u8..=32, other: u32) {
            let prefix = Prefix::new(address, len).unwrap();
            let shared = (address ^ other).leading_zeros() >= u32::from(len);
            prop_assert_eq!(prefix.contains(other), shared);
            prop_assert!(prefix.contains(prefix.with_host_bits(u128::from(other))));
            prop_assert_eq!(Prefix::<u32>::parse(&prefix.to_string()), Some(prefix));
        }

        #[test]
        fn and_so_it_is_for_ipv6(address: u128, len in 0u8..=128, other: u128, near in 0u32..=128) {
            let prefix = Prefix::new(address, len).unwrap();
            let other = address ^ other.checked_shr(near).unwrap_or(0);
            let shared = (address ^ other).leading_zeros() >= u32::from(len);
            prop_assert_eq!(prefix.contains(other), shared);
            prop_assert_eq!(Prefix::<u128>::parse(&prefix.to_string()), Some(prefix));
        }
    }
}
