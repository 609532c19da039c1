//! A slice that sends too much, and one that does not.

use std::thread;
use std::time::Duration;

use crate::traffic::{Pace, Stream};
use crate::world::{Plan, with_world};

#[test]
fn a_flood_of_one_slice_costs_the_other_no_packet() {
    // Half of 10 Mbit/s is blue's, which sends 15 Mbit/s.
    with_world("flood", Plan { rate: 10_000_000, ..Plan::default() }, |world| {
        let to = |slice: &'static str| (slice, "192.168.2.2");
        let steady = Pace { octets: 200, at_once: 1, every: Duration::from_millis(5) };
        let flood = Pace { octets: 1000, at_once: 10, every: Duration::from_micros(5333) };
        let start = |from: &str, at, pace| Stream::start(&world.net, from, to(at), pace);
        // The first packets of each find its host.
        for (from, at) in [("reda", "redb"), ("bluea", "blueb")] {
            let first = start(from, at, steady);
            thread::sleep(Duration::from_millis(300));
            first.stop();
        }
        let alone = start("reda", "redb", steady);
        thread::sleep(Duration::from_secs(1));
        let alone = alone.stop();
        let (red, blue) = (start("reda", "redb", steady), start("bluea", "blueb", flood));
        thread::sleep(Duration::from_secs(4));
        let (red, blue) = (red.stop(), blue.stop());
        println!("red alone: {} datagrams, latency (p50, p99, max) {:?}", alone.sent, alone.latency());
        println!("red beside the flood: {} datagrams, {:?}", red.sent, red.latency());
        println!("blue: {} of {} datagrams arrived, {:?}", blue.arrived.len(), blue.sent, blue.latency());
        assert_eq!(alone.missing(), [0; 0], "red, alone");
        assert_eq!(red.missing(), [0; 0], "red, of {}", red.sent);
        // It was a flood, and blue got what red left.
        let arrived = blue.arrived.len() as u64;
        assert!(arrived < blue.sent, "blue lost nothing: {} datagrams", blue.sent);
        assert!(arrived * 3 > blue.sent, "blue got {arrived} of {}, not even its share", blue.sent);
    });
}
