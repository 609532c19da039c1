//! Frames for several slices through all blocks: see `fastpath_fuzz::pipeline`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    fastpath_fuzz::pipeline(octets);
});
