//! What a router takes of the machine, while it runs.

use std::fs;
use std::time::{Duration, Instant};

use crate::program::Router;

const EVERY: Duration = Duration::from_millis(50);

/// Threads, descriptors, and KiB of memory.
type Taken = [u64; 3];

/// What both routers take, from time to time.
pub(super) struct Health {
    processes: Vec<(u32, Taken, Vec<u64>)>,
    next: Instant,
}

impl Health {
    /// Begins now, with all slices admitted.
    pub(super) fn new(routers: &[Router]) -> Self {
        let process = |router: &Router| (router.process(), taken(router.process()), Vec::new());
        Self { processes: routers.iter().map(process).collect(), next: Instant::now() }
    }

    /// Looks, if it is time.
    pub(super) fn sample(&mut self) {
        if Instant::now() >= self.next {
            self.next = Instant::now() + EVERY;
            for (process, _, memory) in &mut self.processes {
                memory.push(taken(*process)[2]);
            }
        }
    }

    /// With all slices admitted, there are as many threads and descriptors as there were; memory
    /// took no more in the last third than in the first, but for 2 % and 1 MiB.
    pub(super) fn end(self) {
        for (process, before, memory) in self.processes {
            let after = taken(process);
            println!(
                "process {process}: [threads, descriptors, KiB] {before:?}, {after:?}; most KiB of thirds of {} samples: {:?}",
                memory.len(),
                thirds(&memory)
            );
            assert_eq!(before[..2], after[..2], "threads, descriptors");
            assert!(is_flat(&memory), "memory grows: {memory:?}");
        }
    }
}

/// The most of each third.
fn thirds(memory: &[u64]) -> [u64; 3] {
    let third = memory.len() / 3;
    let parts = [&memory[..third], &memory[third..2 * third], &memory[2 * third..]];
    parts.map(|part| part.iter().copied().max().unwrap_or(0))
}

fn is_flat(memory: &[u64]) -> bool {
    let [first, _, last] = thirds(memory);
    first > 0 && last <= first + first / 50 + 1024
}

#[test]
fn memory_that_grows_is_not_flat() {
    let series = |step: u64| (0..300).map(|at| 50_000 + at * step).collect::<Vec<_>>();
    assert!(is_flat(&series(0)) && is_flat(&series(10)), "2 % and 1 MiB are 2,024 KiB");
    assert!(!is_flat(&series(11)) && !is_flat(&[]));
    let mut late = series(0);
    late[250] = 53_000;
    assert!(!is_flat(&late));
}

fn taken(process: u32) -> Taken {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).unwrap().count() as u64;
    [field("Threads:"), descriptors, field("VmRSS:")]
}
