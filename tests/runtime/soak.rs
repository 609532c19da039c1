//! A history without end, in memory: `FASTPATH_SOAK_SECONDS` says for how long (2), and
//! `FASTPATH_SOAK_SEED` which. The same with interfaces and traffic of hosts is in `tests/router`.

use std::env;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::history::{World, end, op, schedulings};

/// More than can be in queues, rings and stores of two workers at a time.
const MOST_BUFFERS: usize = 6000;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}: {text}")))
}

#[test]
fn a_soak_in_memory_leaves_every_packet_and_buffer_accounted_for() {
    let length = Duration::from_secs(number("FASTPATH_SOAK_SECONDS").unwrap_or(2)) / 8;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = number("FASTPATH_SOAK_SEED").unwrap_or(now.as_nanos() as u64 & 0xffff_ffff);
    println!("FASTPATH_SOAK_SEED={seed}");
    for (workers, scheduling) in [1, 2].into_iter().flat_map(|workers| schedulings().map(|it| (workers, it)))
    {
        let mut octets = [0; 32];
        octets[..8].copy_from_slice(&seed.to_be_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &octets);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let (ops, mut world, since) = (op(), World::new(workers, 64, scheduling), Instant::now());
        let (mut steps, mut most) = (0_u64, 0);
        while since.elapsed() < length {
            world.step(ops.new_tree(&mut runner).unwrap().current());
            world.check().unwrap();
            world.tidy();
            most = most.max(world.buffers());
            assert!(most < MOST_BUFFERS, "after {steps} steps there are {most} buffers");
            steps += 1;
        }
        println!(
            "{workers} workers, {scheduling:?}: {steps} steps, {} packets, at most {most} buffers",
            world.arrived()
        );
        assert!(world.arrived() > 0);
        end(world, 1000).unwrap();
    }
}
