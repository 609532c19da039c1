//! `instructions STAGE VECTORS`: takes so many vectors of 32 packets to a stage of the
//! path. The same run every time; `run.sh` counts its instructions.

#[path = "../../world/mod.rs"]
mod world;

use world::{List, Source, Stage, VECTOR};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (stage, vectors) = (arguments.next().unwrap(), arguments.next().unwrap());
    let (_, stage) = Stage::ALL.into_iter().find(|(name, _)| *name == stage).unwrap();
    let vectors: usize = vectors.parse().unwrap();

    let routes = world::five_routes();
    let mut path = world::path(&routes);
    let mut queues = world::queues(1024);
    let mut list = List::new();
    let mut source = Source::new(world::SMALLEST, world::destinations(&routes, 1 << 12));
    let mut free = world::pool(VECTOR);
    let mut ready = Vec::with_capacity(VECTOR);
    for _ in 0..vectors {
        ready.extend(free.drain(..).map(|buffer| source.packet(buffer)));
        world::run::<_, _, _, _, _, VECTOR>(stage, &mut path, &mut queues, &mut list, &mut ready, &mut free);
    }
    assert_eq!(free.len(), VECTOR, "no packet is lost");
    println!("{:?}", path.stats);
}
