//! Histories of ternary tables against a scan: see `fastpath_fuzz::lookup_ops`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    fastpath_fuzz::lookup_ops(octets);
});
