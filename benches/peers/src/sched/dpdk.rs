//! rte_sched of DPDK, where it is installed.

use crate::side::Side;
use crate::trace::Trace;

#[cfg(dpdk)]
pub use installed::{sched, start};

/// Why it is not among the sides.
#[cfg(not(dpdk))]
pub fn start() -> Result<(), String> {
    Err("pkg-config finds no libdpdk (Debian: libdpdk-dev)".into())
}

/// rte_sched: four queues of each pipe.
#[cfg(not(dpdk))]
pub fn sched(_: &Trace) -> Option<Box<dyn Side>> {
    None
}

#[cfg(dpdk)]
mod installed {
    use std::ffi::{c_int, c_void};
    use std::ops::Range;
    use std::sync::OnceLock;

    use super::{Side, Trace};
    use crate::side::{BATCH, ROUND};
    use crate::trace::{Packet, Traffic};

    unsafe extern "C" {
        fn peer_start() -> c_int;
        fn peer_sched_new(pipes: u32, packets: u32, room: u16, weights: *const u8) -> *mut c_void;
        fn peer_sched_free(sched: *mut c_void);
        fn peer_sched_put(sched: *mut c_void, packets: *const Packet, n: u32, first: u32) -> u32;
        fn peer_sched_run(
            sched: *mut c_void, packets: *const Packet, n: u32, batch: u32, first: u32, left: *mut u32,
        ) -> c_int;
        fn peer_sched_drain(sched: *mut c_void, n: u32, left: *mut u32) -> u32;
    }

    static STARTED: OnceLock<bool> = OnceLock::new();

    /// Starts DPDK. Without it there is no peer.
    pub fn start() -> Result<(), String> {
        // SAFETY: it takes nothing, and is called once.
        match STARTED.get_or_init(|| unsafe { peer_start() } == 0) {
            true => Ok(()),
            false => Err("it does not start: are 4 GB of memory free?".into()),
        }
    }

    struct Sched {
        state: *mut c_void,
        packets: Vec<Packet>,
        waiting: usize,
        left: Vec<u32>,
    }

    /// The most pipes.
    const PIPES: u32 = 4096;

    /// rte_sched: four queues of each pipe. All its queues have the same room, so that it does
    /// not take part where some are much more popular than others.
    pub fn sched(trace: &Trace) -> Option<Box<dyn Side>> {
        let (pipes, mbufs) = (trace.pipes(), trace.room());
        if STARTED.get() != Some(&true) || pipes > PIPES || trace.traffic != Traffic::Uniform {
            return None;
        }
        // Where queues are few, one may have nearly all that wait; else 64 are those of many users.
        let room = if trace.queues < 64 { 512 } else { 64 };
        let weights = [0, 1, 2, 3].map(|queue| trace.weights.of(queue * pipes, pipes) as u8);
        // SAFETY: four weights are read; what is given back is checked.
        let state = unsafe { peer_sched_new(pipes, mbufs as u32, room, weights.as_ptr()) };
        if state.is_null() {
            println!("rte_sched is left out: it has no room");
            return None;
        }
        let (packets, left) = (trace.packets.clone(), vec![0; trace.waiting + ROUND]);
        Some(Box::new(Sched { state, packets, waiting: trace.waiting, left }))
    }

    impl Side for Sched {
        fn name(&self) -> &str {
            "rte_sched"
        }

        /// Its eight grinders have a pipe each, and each call begins with the first of them: one by
        /// one, the pipes of the others would wait for ever.
        fn one_by_one(&self) -> bool {
            false
        }

        fn put(&mut self, packets: Range<usize>) {
            let (some, first) = (&self.packets[packets.clone()], packets.start as u32);
            assert!(some.len() <= self.waiting);
            // SAFETY: as many packets are read as there are, and there is an mbuf for each: all
            // that went in before have come out.
            let taken = unsafe { peer_sched_put(self.state, some.as_ptr(), some.len() as u32, first) };
            assert_eq!(taken as usize, some.len(), "rte_sched drops packets");
        }

        #[inline(never)]
        fn run(&mut self, packets: Range<usize>, batch: usize) {
            let (some, first) = (&self.packets[packets.clone()], packets.start as u32);
            assert!(some.len().is_multiple_of(batch) && batch <= BATCH && some.len() <= self.left.len());
            let (n, batch, left) = (some.len() as u32, batch as u32, self.left.as_mut_ptr());
            // SAFETY: `n` packets are read and `n` numbers written, and beside those that wait
            // there are mbufs for a batch.
            let wrong = unsafe { peer_sched_run(self.state, some.as_ptr(), n, batch, first, left) };
            assert_eq!(wrong, 0, "rte_sched drops packets (1) or holds them back (2), {batch} at a time");
        }

        fn leave(&mut self, packets: Range<usize>, batch: usize) -> Option<Vec<u32>> {
            self.run(packets.clone(), batch);
            let rest = &mut self.left[packets.len()..];
            let (n, left) = (rest.len() as u32, rest.as_mut_ptr());
            // SAFETY: `n` numbers are written at most.
            let count = packets.len() + unsafe { peer_sched_drain(self.state, n, left) } as usize;
            Some(self.left[..count].to_vec())
        }
    }

    impl Drop for Sched {
        fn drop(&mut self) {
            // SAFETY: made by `peer_sched_new`, used no more.
            unsafe { peer_sched_free(self.state) }
        }
    }
}
