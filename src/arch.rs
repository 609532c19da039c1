//! A hint to the cache: the one place of the core that needs `unsafe`.

/// Starts fetching the cache line in which `at` begins. Does nothing on
/// architectures whose hint the stable compiler does not offer.
#[inline(always)]
#[allow(unsafe_code)]
pub fn prefetch<T>(at: &T) {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse"))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: PREFETCHT0 is a hint. It reads nothing that the program can
        // observe and does not fault, whatever the address; this one comes from a
        // live reference besides. SSE, which it belongs to, is a target feature here.
        unsafe { _mm_prefetch::<_MM_HINT_T0>((&raw const *at).cast()) }
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse")))]
    let _ = at;
}
