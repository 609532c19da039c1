//! The same work as the blocks, fused in C (`fused_same` of `fused.c`), behind a safe
//! face.

use std::ffi::c_void;

use fastpath::lookup::Filter;
use fastpath::stats::ROW;

use crate::fused::header;
use crate::world::{self, Buffer, HEADROOM, QUEUES, Route, Source, VECTOR};

unsafe extern "C" {
    fn fused_same_new(packets: u32, longer: u32) -> *mut c_void;
    fn fused_same_free(same: *mut c_void);
    fn fused_same_record(same: *mut c_void, record: u32, header: *const u8, mtu: u32);
    fn fused_same_route(same: *mut c_void, network: u32, len: u32, record: u32) -> i32;
    fn fused_same_filters(same: *mut c_void, rows: *const Row, n: u32) -> i32;
    fn fused_same_process(same: *mut c_void, now: u64, vector: *mut Packet, n: u32) -> u32;
    fn fused_same_drain(same: *mut c_void, now: u64, free: *mut *mut Buffer, budget: u32) -> u32;
    fn fused_same_counts(same: *const c_void, sent: *mut u64, queued: *mut u64, left: *mut u64);
}

/// A packet as the C side has it.
#[repr(C)]
struct Packet {
    buffer: *mut Buffer,
    start: u16,
    octets: u16,
    layer: u8,
    exit: u8,
    slice: u16,
}

/// A filter as the C side has it, value and mask with their upper halves first.
#[repr(C)]
struct Row {
    value: [u64; 2],
    mask: [u64; 2],
    record: u32,
}

/// What was counted: packets and octets.
#[derive(Debug, PartialEq)]
pub struct Counts {
    /// By queue: what left it.
    pub sent: [[u64; 2]; QUEUES],
    /// By record: what was queued.
    pub queued: [[u64; 2]; QUEUES],
    /// By slice and exit: what left early.
    pub left: [[[u64; 2]; ROW]; 2],
}

const _: () = assert!(ROW == 69 && size_of::<Packet>() == 16, "fused.c counts on it");

/// The C side, its pool and its free list.
pub struct Same {
    state: *mut c_void,
    /// Every buffer is in one of these two between calls, and in one place of it.
    free: Vec<*mut Buffer>,
    ready: Vec<Packet>,
}

impl Same {
    /// With `buffers` buffers and the `routes`.
    pub fn new(buffers: usize, routes: &[Route]) -> Self {
        let longer: std::collections::HashSet<_> =
            routes.iter().filter(|route| route.1 > 24).map(|route| route.0 >> 8).collect();
        // SAFETY: what is given back is checked, and given to the other functions, which
        // get arrays of the lengths that they read or write.
        let state = unsafe { fused_same_new(4096, longer.len() as u32) };
        assert!(!state.is_null());
        for record in 0..QUEUES as u32 {
            let header = header(record as u8);
            // SAFETY: see above; `header` has the 42 octets that are copied.
            unsafe { fused_same_record(state, record, header.as_ptr(), 1472) }
        }
        let mut routes = routes.to_vec();
        routes.sort_by_key(|route| route.1);
        for (network, len, record) in routes {
            assert!(len <= 32 && record < QUEUES as u32);
            // SAFETY: see above; a prefix of up to 32 bits stays inside the tables.
            assert_ne!(unsafe { fused_same_route(state, network, len.into(), record) }, 0);
        }
        let free = world::pool(buffers).into_iter().map(std::ptr::from_mut).collect();
        Self { state, free, ready: Vec::with_capacity(buffers) }
    }

    /// Takes filters, each with its record, in the place of the routes.
    pub fn filters(&mut self, filters: &[(Filter, u32)]) {
        let halves = |bits: u128| [(bits >> 64) as u64, bits as u64];
        let row = |&(filter, record): &(Filter, u32)| {
            assert!(filter.slice() == world::SLICE && record < QUEUES as u32);
            Row { value: halves(filter.value()), mask: halves(filter.mask()), record }
        };
        let rows: Vec<_> = filters.iter().map(row).collect();
        // SAFETY: as many rows are copied as there are.
        assert_ne!(unsafe { fused_same_filters(self.state, rows.as_ptr(), rows.len() as u32) }, 0);
    }

    /// A frame into each buffer.
    pub fn fill(&mut self, source: &mut Source) {
        self.fill_with(|buffer| crate::write(source, buffer));
    }

    /// A frame into each buffer, of which `write` tells the length.
    pub fn fill_with(&mut self, mut write: impl FnMut(&mut Buffer) -> usize) {
        for buffer in self.free.drain(..) {
            // SAFETY: it is a buffer of the pool, and stands here only.
            let octets = write(unsafe { &mut *buffer }) as u16;
            self.ready.push(Packet { buffer, start: HEADROOM as u16, octets, layer: 0, exit: 0, slice: 0 });
        }
    }

    /// All of them through the path.
    #[inline(never)]
    pub fn run(&mut self) {
        let Self { state, free, ready } = self;
        let drain = |free: &mut Vec<*mut Buffer>| {
            let room = free.spare_capacity_mut();
            assert!(room.len() >= VECTOR);
            // SAFETY: there is room for the budget, and as many are written as it says.
            unsafe {
                let sent = fused_same_drain(*state, 0, room.as_mut_ptr().cast(), VECTOR as u32) as usize;
                free.set_len(free.len() + sent);
                sent
            }
        };
        free.reserve(ready.len() + VECTOR);
        for vector in ready.chunks_mut(VECTOR) {
            // SAFETY: the packets are inside their buffers, with a headroom of 128 octets.
            let left = unsafe { fused_same_process(*state, 0, vector.as_mut_ptr(), vector.len() as u32) };
            if left > 0 {
                free.extend(vector.iter().filter(|packet| packet.exit != 0).map(|packet| packet.buffer));
            }
            drain(free);
        }
        while drain(free) > 0 {}
        ready.clear();
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        let mut counts =
            Counts { sent: [[0; 2]; QUEUES], queued: [[0; 2]; QUEUES], left: [[[0; 2]; ROW]; 2] };
        let Counts { sent, queued, left } = &mut counts;
        // SAFETY: the arrays have the lengths that are written.
        unsafe {
            let left = left.as_flattened_mut().as_flattened_mut().as_mut_ptr();
            let (sent, queued) = (sent.as_flattened_mut(), queued.as_flattened_mut());
            fused_same_counts(self.state, sent.as_mut_ptr(), queued.as_mut_ptr(), left);
        }
        counts
    }

    /// The buffers, to look at what was written.
    pub fn pool(&self) -> impl Iterator<Item = &Buffer> {
        // SAFETY: each is a buffer of the pool, and stands here only.
        self.free.iter().map(|&buffer| unsafe { &*buffer })
    }
}

impl Drop for Same {
    fn drop(&mut self) {
        // SAFETY: made by `fused_same_new`, used no more. The pool is never freed.
        unsafe { fused_same_free(self.state) }
    }
}
