//! The crate's blocks, their pool and their free list.

use fastpath::lookup::{Filter, Tcam, TcamConfig};
use fastpath::prelude::*;
use fastpath::stats::Count;

use crate::same::Counts;
use crate::world::{self, Buffer, HEADROOM, Handle, List, Path, Queues, Route, Source, Stage};

/// The path that `fused.c` is held against.
pub struct Ours {
    path: Box<Path>,
    queues: Queues,
    list: List,
    free: Vec<&'static mut Buffer>,
    ready: Vec<Handle>,
}

impl Ours {
    /// With `buffers` buffers and the `routes`.
    pub fn new(buffers: usize, routes: &[Route]) -> Self {
        Self {
            path: Box::new(world::path(routes)),
            queues: world::queues(4096),
            list: List::new(),
            free: world::pool(buffers),
            ready: Vec::with_capacity(buffers),
        }
    }

    /// Takes filters, each with its record, in the place of the routes.
    pub fn filters(&mut self, filters: &[(Filter, u32)]) {
        let (mut tcam, table) = Tcam::with_reader(TcamConfig::default());
        for &(filter, record) in filters {
            tcam.insert(Rank(0), filter, EgressId::new(record).unwrap()).unwrap();
        }
        self.path.table = table;
    }

    /// A frame into each buffer.
    pub fn fill(&mut self, source: &mut Source) {
        self.fill_with(|buffer| crate::write(source, buffer));
    }

    /// A frame into each buffer, of which `write` tells the length.
    pub fn fill_with(&mut self, mut write: impl FnMut(&mut Buffer) -> usize) {
        for buffer in self.free.drain(..) {
            let end = HEADROOM + write(buffer) as u32;
            self.ready.push(Packet::new(buffer, HEADROOM, end).unwrap());
        }
    }

    /// All of them through the path.
    #[inline(never)]
    pub fn run(&mut self) {
        let Self { path, queues, list, free, ready } = self;
        world::run::<_, _, _, _, _, { world::VECTOR }>(Stage::Queue, path, queues, list, ready, free);
    }

    /// All of them back to the pool, which is what a source costs.
    pub fn take_back(&mut self) {
        self.free.extend(self.ready.drain(..).map(|packet| packet.into_buf()));
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        let pair = |count: &Count| [count.packets, count.octets];
        let stats = &self.path.stats;
        Counts {
            sent: stats.queues.each_ref().map(pair),
            queued: stats.egresses.each_ref().map(pair),
            left: [0, 1].map(|slice| std::array::from_fn(|at| pair(&stats.slices[slice * ROW + at]))),
        }
    }

    /// The buffers, to look at what was written.
    pub fn pool(&self) -> impl Iterator<Item = &Buffer> {
        self.free.iter().map(|buffer| &**buffer)
    }
}
