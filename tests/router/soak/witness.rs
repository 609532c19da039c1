//! Who looks at every frame that a slice's host is sent: nothing of the other slice may be in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::frame::mark;
use super::raw::{self, Raw};
use crate::net::Net;
use crate::world::SLICES;

/// A thread that looks.
pub(super) struct Witness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// What it saw.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    host: String,
    frames: u64,
    /// Of these, with the slice's own mark.
    own: u64,
    /// The first that was the other slice's.
    foreign: Option<Vec<u8>>,
    missed: u64,
}

/// One at each host.
pub(super) fn all(net: &Net) -> Vec<Witness> {
    let hosts = ["a", "b"].into_iter().flat_map(|side| [(0, side), (1, side)]);
    hosts.map(|(slice, side)| Witness::start(net, slice, side)).collect()
}

impl Witness {
    fn start(net: &Net, slice: usize, side: &str) -> Self {
        let [host, other] = [slice, 1 - slice].map(|slice| format!("{}{side}", SLICES[slice].name));
        let foreigner = raw::mac(net, &other, &SLICES[1 - slice].device());
        let mut frames = Raw::new(net, &host, &SLICES[slice].device());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut seen = Seen { host, frames: 0, own: 0, foreign: None, missed: 0 };
            loop {
                let last = stopped.load(Ordering::Relaxed);
                if !frames.receive(|frame| seen.look(slice, foreigner, frame)) {
                    if last {
                        seen.missed = frames.missed();
                        return seen;
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        Self { stop, thread }
    }

    pub(super) fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Seen {
    /// `foreigner` is the MAC address of the other slice's host.
    fn look(&mut self, slice: usize, foreigner: [u8; 6], frame: &[u8]) {
        let holds = |mark: [u8; 8]| frame.windows(8).any(|octets| octets == mark);
        self.frames += 1;
        self.own += u64::from(holds(mark(slice)));
        let foreign = frame.starts_with(&foreigner) || holds(mark(1 - slice));
        if foreign && self.foreign.is_none() {
            self.foreign = Some(frame.to_vec());
        }
    }

    pub(super) fn check(self) {
        assert_eq!(self.foreign, None, "{}: a frame of the other slice", self.host);
        assert!(self.own > 0, "{self:?}: nothing was looked at");
    }
}

#[test]
fn a_foreign_frame_is_seen() {
    let clean = Seen { host: "red".into(), frames: 0, own: 0, foreign: None, missed: 0 };
    let other = [2, 0, 0, 0, 0, 7];
    for (frame, own, foreign) in [
        ([&[0; 33][..], &mark(0), &[1]].concat(), 1, false),
        ([&[0; 33][..], &mark(1)].concat(), 0, true),
        ([&other[..], &mark(0)].concat(), 1, true),
        (vec![0; 60], 0, false),
    ] {
        let mut seen = clean.clone();
        seen.look(0, other, &frame);
        assert_eq!((seen.own, seen.foreign.is_some()), (own, foreign), "{frame:?}");
    }
}
