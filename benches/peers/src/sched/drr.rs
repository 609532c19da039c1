//! Deficit round robin by hand, in C: see `drr.c`.

use std::ffi::{c_int, c_void};
use std::ops::Range;

use crate::side::{ROUND, Side};
use crate::trace::{LONGEST, Packet, Trace};

unsafe extern "C" {
    fn peer_drr_new(queues: u32, room: u32, quanta: *const u32) -> *mut c_void;
    fn peer_drr_free(drr: *mut c_void);
    fn peer_drr_put(drr: *mut c_void, packets: *const Packet, n: u32, first: u32) -> c_int;
    fn peer_drr_run(
        drr: *mut c_void, packets: *const Packet, n: u32, batch: u32, first: u32, left: *mut u32,
    ) -> c_int;
    fn peer_drr_drain(drr: *mut c_void, n: u32, left: *mut u32) -> u32;
}

/// The bare algorithm.
pub struct Drr {
    state: *mut c_void,
    packets: Vec<Packet>,
    left: Vec<u32>,
}

impl Drr {
    pub fn new(trace: &Trace) -> Self {
        let quanta: Vec<u32> = (0..trace.queues as u32).map(|queue| trace.weight(queue) * LONGEST).collect();
        // SAFETY: as many quanta are read as there are queues; what is given back is checked.
        let state = unsafe { peer_drr_new(trace.queues as u32, trace.room() as u32, quanta.as_ptr()) };
        assert!(!state.is_null(), "no memory");
        Self { state, packets: trace.packets.clone(), left: vec![0; trace.waiting + ROUND] }
    }
}

impl Side for Drr {
    fn name(&self) -> &str {
        "bare DRR in C"
    }

    fn put(&mut self, packets: Range<usize>) {
        let (some, first) = (&self.packets[packets.clone()], packets.start as u32);
        // SAFETY: as many packets are read as there are, all of queues that there are.
        assert_eq!(unsafe { peer_drr_put(self.state, some.as_ptr(), some.len() as u32, first) }, 0);
    }

    #[inline(never)]
    fn run(&mut self, packets: Range<usize>, batch: usize) {
        let (some, first) = (&self.packets[packets.clone()], packets.start as u32);
        assert!(some.len().is_multiple_of(batch) && some.len() <= self.left.len());
        let (n, left) = (some.len() as u32, self.left.as_mut_ptr());
        // SAFETY: `n` packets are read and `n` numbers written.
        let wrong = unsafe { peer_drr_run(self.state, some.as_ptr(), n, batch as u32, first, left) };
        assert_eq!(wrong, 0, "it drops packets (1) or holds them back (2)");
    }

    fn leave(&mut self, packets: Range<usize>, batch: usize) -> Option<Vec<u32>> {
        self.run(packets.clone(), batch);
        let rest = &mut self.left[packets.len()..];
        // SAFETY: no more numbers are written than there is room for.
        let rest = unsafe { peer_drr_drain(self.state, rest.len() as u32, rest.as_mut_ptr()) };
        Some(self.left[..packets.len() + rest as usize].to_vec())
    }
}

impl Drop for Drr {
    fn drop(&mut self) {
        // SAFETY: made by `peer_drr_new`, used no more.
        unsafe { peer_drr_free(self.state) }
    }
}
