//! The kit of [`Decap`].

use alloc::vec;

use crate::decap::{Decap, Inner};
use crate::exit::DropReason;
use crate::id::SliceId;
use crate::slot::RxMeta;

use super::{Rng, near};

/// Checks that `decap` admits `sample_frame`, and what it makes of every truncation
/// and every bit flip of it, of random damage, of noise, and of frames too long:
///
/// - what it admits lies inside the frame and belongs to a slice, never to the
///   substrate;
/// - the answer is the same whenever it is asked, wherever the frame lies in memory,
///   and whatever frames came between.
///
/// # Panics
///
/// At the first breach, or if the sample is not admitted.
pub fn decap(decap: impl Decap, sample_frame: &[u8], meta: RxMeta, seed: u64) {
    let mut rng = Rng::new(seed);
    let admitted = ask(&decap, sample_frame, &meta);
    if let Err(reason) = admitted {
        panic!("decap: the sample must be a frame that is admitted, but was dropped: {reason}");
    }
    let mut frames = near(sample_frame, 4096, &mut rng);
    for padding in [1, 1500, 1 << 16, (1 << 16) + 1500] {
        let mut frame = sample_frame.to_vec();
        frame.resize(frame.len() + padding, 0);
        frames.push(frame);
    }
    let mut moved = vec![0; frames.iter().map(|frame| frame.len()).max().unwrap_or(0) + 64];
    for frame in &frames {
        let first = ask(&decap, frame, &meta);
        if rng.one_in(16) {
            let again = ask(&decap, sample_frame, &meta);
            assert_eq!(again, admitted, "decap: the answer for the sample depends on the frames before");
        }
        let start = rng.below(64) as usize;
        let elsewhere = &mut moved[start..start + frame.len()];
        elsewhere.copy_from_slice(frame);
        let second = ask(&decap, elsewhere, &meta);
        assert_eq!(first, second, "decap: the same frame got two answers: {frame:02x?}");
    }
}

fn ask(decap: &impl Decap, frame: &[u8], meta: &RxMeta) -> Result<Inner, DropReason> {
    let answer = decap.decap(frame, meta);
    if let Ok(inner) = answer {
        assert_ne!(
            inner.admission.slice,
            SliceId::SUBSTRATE,
            "decap: admitted a packet to the substrate's account: {frame:02x?}"
        );
        let end = usize::from(inner.offset) + usize::from(inner.len);
        assert!(
            end <= frame.len(),
            "decap: the packet is not inside the frame, it ends at octet {end} of {}: {frame:02x?}",
            frame.len()
        );
    }
    answer
}
