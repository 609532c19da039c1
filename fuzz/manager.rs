//! The slice manager, against etherparse.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    fastpath_fuzz::manager(input);
});
