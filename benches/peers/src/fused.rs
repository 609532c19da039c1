//! The loop of `fused.c`, behind a safe face.

use std::ffi::c_void;

use fastpath::packet::Packet;
use fastpath::wire::{checksum, put};

use crate::world::{self, BUFFER, Buffer, HEADER, HEADROOM, QUEUES, Route, Source, VECTOR};

unsafe extern "C" {
    fn fused_new(pool: *mut u8, stride: usize, headroom: usize) -> *mut c_void;
    fn fused_free(fused: *mut c_void);
    fn fused_header(fused: *mut c_void, record: u32, header: *const u8);
    fn fused_route(fused: *mut c_void, network: u32, len: u32, record: u16);
    fn fused_process(fused: *mut c_void, vector: *const u32, octets: u32, ahead: u32);
    fn fused_drain(fused: *mut c_void, out: *mut u32, budget: u32) -> u32;
    fn fused_counts(fused: *const c_void, sent: *mut u64, refused: *mut u64);
}

/// The C loop, its pool and its free list.
pub struct Fused {
    state: *mut c_void,
    pool: Vec<Buffer>,
    free: Vec<u32>,
    ready: Vec<u32>,
    ahead: bool,
}

impl Fused {
    /// With `buffers` buffers, and the `routes` it can hold: those of up to 24 bits. Fetches
    /// the headers of a whole vector `ahead`, or none.
    pub fn new(buffers: usize, routes: &[Route], ahead: bool) -> Self {
        let mut pool = vec![[0; BUFFER]; buffers];
        // SAFETY: the pool stays where it is as long as `state` is used: it is a field
        // that is never resized. The other functions get the pointer this one gave, which
        // is checked, and arrays of the lengths they write.
        let state = unsafe { fused_new(pool.as_mut_ptr().cast(), BUFFER, HEADROOM as usize) };
        assert!(!state.is_null());
        for record in 0..QUEUES as u32 {
            let header = header(record as u8);
            // SAFETY: see above; `header` has the 42 octets that are copied.
            unsafe { fused_header(state, record, header.as_ptr()) }
        }
        let mut routes = routes.to_vec();
        routes.sort_by_key(|route| route.1);
        for (network, len, record) in routes {
            assert!(len <= 24 && record < QUEUES as u32);
            // SAFETY: see above; a prefix of up to 24 bits stays inside the table.
            unsafe { fused_route(state, network, len.into(), record as u16) }
        }
        Self { state, pool, free: (0..buffers as u32).collect(), ready: Vec::with_capacity(buffers), ahead }
    }

    /// A frame into each buffer.
    pub fn fill(&mut self, source: &mut Source) {
        for buffer in self.free.drain(..) {
            crate::write(source, &mut self.pool[buffer as usize]);
            self.ready.push(buffer);
        }
    }

    /// All of them through the path.
    #[inline(never)]
    pub fn run(&mut self, octets: usize) {
        let mut out = [0; VECTOR];
        let mut drain = |free: &mut Vec<u32>| {
            // SAFETY: `out` has room for the budget.
            let sent = unsafe { fused_drain(self.state, out.as_mut_ptr(), VECTOR as u32) } as usize;
            free.extend_from_slice(&out[..sent]);
            sent
        };
        for vector in self.ready.as_chunks::<VECTOR>().0 {
            // SAFETY: a vector has the 32 buffers that are read, all of them inside the pool.
            unsafe { fused_process(self.state, vector.as_ptr(), octets as u32, self.ahead.into()) }
            drain(&mut self.free);
        }
        while drain(&mut self.free) > 0 {}
        self.ready.clear();
    }

    /// Packets and octets by queue; what was refused.
    pub fn counts(&self) -> ([[u64; 2]; QUEUES], u64) {
        let (mut sent, mut refused) = ([[0; 2]; QUEUES], 0);
        // SAFETY: ten words are written, and one.
        unsafe { fused_counts(self.state, sent.as_flattened_mut().as_mut_ptr(), &mut refused) }
        (sent, refused)
    }

    /// The buffers, to look at what was written.
    pub fn pool(&self) -> &[Buffer] {
        &self.pool
    }
}

impl Drop for Fused {
    fn drop(&mut self) {
        // SAFETY: made by `fused_new`, used no more.
        unsafe { fused_free(self.state) }
    }
}

/// The outer header of a way out as the C loop wants it: lengths 0, and in the place of
/// the checksum the sum without them.
pub fn header(number: u8) -> [u8; HEADER] {
    let record = world::egress()[usize::from(number)];
    let mut packet = Packet::with_headroom([0; 128], 64, &[0; 20]).unwrap();
    packet.edit(packet.whole(), |p| record.encapsulate(p, &Default::default(), &())).unwrap();
    let mut header: [u8; HEADER] = *packet.bytes().first_chunk().unwrap();
    put::<16, 2, HEADER>(&mut header, [0; 2]);
    put::<38, 2, HEADER>(&mut header, [0; 2]);
    put::<24, 2, HEADER>(&mut header, [0; 2]);
    let sum = checksum::sum(&header[14..34]);
    put::<24, 2, HEADER>(&mut header, sum.to_be_bytes());
    header
}
