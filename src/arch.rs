//! A hint to the cache.

#![allow(unsafe_code)]

/// Starts fetching the cache line in which `at` begins. Does nothing on
/// architectures whose hint the stable compiler does not offer.
#[inline(always)]
pub fn prefetch<T>(at: &T) {
    hint(at);
}

/// Starts fetching line `line` of element `at` of an array, or of whatever would be there:
/// an index that is out of range costs no test and does no harm.
#[cfg(feature = "alloc")]
#[inline(always)]
pub(crate) fn prefetch_line<T>(array: &[T], at: usize, line: usize) {
    hint(array.as_ptr().wrapping_add(at).cast::<u8>().wrapping_add(64 * line));
}

#[inline(always)]
fn hint<T>(at: *const T) {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse"))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: PREFETCHT0 is a hint. It reads nothing that the program can
        // observe and does not fault, whatever the address. SSE, which it belongs to,
        // is a target feature here.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse")))]
    let _ = at;
}
