//! Headers as words: what the packet path needs of the standard formats, read and
//! edited in place.
//!
//! These are views of a few octets, total on any input, for the path. Programs that
//! build or print whole packets are better served by etherparse.

pub mod checksum;
pub mod ecn;
pub mod ethernet;
pub mod geneve;
pub mod gre;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod ndp;
pub mod transport;
pub mod vxlan;

/// The `LEN` octets at `AT`. Out of range does not compile.
#[inline(always)]
pub fn octets<const AT: usize, const LEN: usize, const N: usize>(header: &[u8; N]) -> [u8; LEN] {
    const { assert!(AT + LEN <= N) };
    let mut out = [0; LEN];
    for (to, from) in out.iter_mut().zip(header.iter().skip(AT)) {
        *to = *from;
    }
    out
}

/// 16 bits at `AT`, in network order.
#[inline(always)]
pub fn be16<const AT: usize, const N: usize>(header: &[u8; N]) -> u16 {
    u16::from_be_bytes(octets::<AT, 2, N>(header))
}

/// 32 bits at `AT`, in network order.
#[inline(always)]
pub fn be32<const AT: usize, const N: usize>(header: &[u8; N]) -> u32 {
    u32::from_be_bytes(octets::<AT, 4, N>(header))
}

/// 64 bits at `AT`, in memory order: to compare under a mask.
#[inline(always)]
pub fn ne64<const AT: usize, const N: usize>(header: &[u8; N]) -> u64 {
    u64::from_ne_bytes(octets::<AT, 8, N>(header))
}

/// Writes `LEN` octets at `AT`. Out of range does not compile.
#[inline(always)]
pub fn put<const AT: usize, const LEN: usize, const N: usize>(header: &mut [u8; N], octets: [u8; LEN]) {
    const { assert!(AT + LEN <= N) };
    for (to, from) in header.iter_mut().skip(AT).zip(octets) {
        *to = from;
    }
}
