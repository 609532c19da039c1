//! Substrate Decap against what etherparse reads in the same frame.
#![no_main]

use fastpath_fuzz::{Cursor, Shape, decap, frame, seal, tunnels};

#[derive(Debug, arbitrary::Arbitrary)]
enum Input<'a> {
    /// Any octets.
    Raw(&'a [u8]),
    /// A frame that is right but for some octets and its length.
    Near { seed: &'a [u8], edits: [Option<(u8, u8)>; 4], sealed: bool, cut: u8 },
    /// A packet through a tunnel, and then damaged.
    Tunnel { seed: &'a [u8], edits: [Option<(u8, u8)>; 4], cut: u8 },
}

libfuzzer_sys::fuzz_target!(|input: Input<'_>| {
    match input {
        Input::Raw(octets) => {
            decap(octets);
        }
        Input::Near { seed, edits, sealed, cut } => {
            let Shape { mut octets, outer, .. } = frame(&mut Cursor(seed));
            for (at, octet) in edits.into_iter().flatten() {
                if let Some(old) = octets.get_mut(usize::from(at)) {
                    *old = octet;
                }
            }
            if sealed {
                seal(&mut octets, outer);
            }
            octets.truncate(octets.len().saturating_sub(usize::from(cut) / 4));
            decap(&octets);
        }
        Input::Tunnel { seed, edits, cut } => {
            let edits: Vec<_> = edits.into_iter().flatten().collect();
            tunnels(seed, &edits, cut);
        }
    }
});
