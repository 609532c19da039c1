//! Routes and cables that change while packets flow.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::Router;
use crate::traffic::{Pace, Stream};
use crate::world::{Plan, World, with_world};

const STEADY: Pace = Pace { octets: 64, at_once: 2, every: Duration::from_millis(2) };

fn stream(world: &World, slice: &str) -> Stream {
    let [from, at] = ["a", "b"].map(|side| format!("{slice}{side}"));
    Stream::start(&world.net, &from, (&at, "192.168.2.2"), STEADY)
}

/// Lets the hosts be found.
fn warm(world: &World, slice: &str) {
    world.net.run(&format!("{slice}a"), "ping -n -c 3 -i 0.2 -W 3 192.168.2.2").unwrap();
}

#[test]
fn a_route_that_is_replaced_under_load_loses_no_packet() {
    with_world("replace", Plan::default(), |world| {
        for slice in ["red", "blue"] {
            warm(world, slice);
        }
        let streams = ["red", "blue"].map(|slice| stream(world, slice));
        let until = Instant::now() + Duration::from_secs(3);
        let mut changes = 0;
        while Instant::now() < until {
            for way in ["spare", "middle"] {
                for slice in ["red", "blue"] {
                    let command = format!("route add {slice} 192.168.2.0/24 {slice}-{way} {slice}-out");
                    world.routers[0].tell(&command);
                    changes += 1;
                }
            }
        }
        let mut missing = 0;
        for stream in streams {
            let seen = stream.stop();
            println!("{} datagrams, {changes} changes, latency {:?}", seen.sent, seen.latency());
            assert!(!seen.arrived.is_empty());
            missing += seen.missing().len() as u64;
        }
        assert!(changes > 100, "{changes} changes are no load");
        let missed: u64 = world.routers.iter_mut().map(unharmed).sum();
        assert!(missing <= missed, "{missing} are missing, and only {missed} came too fast for a port");
    });
}

/// No slice's packet was dropped and none refused; the packets that came too fast for a port, as
/// they do where the machine stands still.
fn unharmed(router: &mut Router) -> u64 {
    let report: Value = serde_json::from_str(&router.tell("report")).unwrap();
    for slice in ["red", "blue"] {
        assert_eq!(report["slices"][slice]["dropped"], 0, "{report}");
    }
    let ports = report["ports"].as_object().unwrap().values();
    let missed = ports.map(|port| {
        assert_eq!(port["refused"], 0, "{report}");
        port["missed"].as_u64().unwrap()
    });
    missed.sum()
}

#[test]
fn a_route_that_is_rejected_and_deleted_ends_and_begins_again() {
    with_world("reject", Plan::default(), |world| {
        warm(world, "red");
        let ping = |world: &World| world.net.run("reda", "ping -n -c 1 -W 2 192.168.2.2");
        for command in ["route reject red 192.168.2.0/24", "route del red 192.168.2.0/24"] {
            world.routers[0].tell(command);
            let said = ping(world).expect_err(command);
            assert!(said.contains("Net Unreachable"), "{command}: {said}");
            // The other slice has a route of the same name.
            world.net.run("bluea", "ping -n -c 2 -i 0.2 -W 3 192.168.2.2").unwrap();
            world.routers[0].tell("route add red 192.168.2.0/24 red-middle red-out");
            ping(world).unwrap();
        }
        world.routers[0].tell("slice withdraw red");
        ping(world).expect_err("the slice is gone");
        world.routers[0].tell("slice admit red");
        warm(world, "red");
    });
}

#[test]
fn traffic_comes_back_when_a_cable_does() {
    with_world("cable", Plan::default(), |world| {
        warm(world, "red");
        // The kernel looks for a neighbour for three seconds before it gives up.
        for (end, down) in [("ra", 500), ("rb", 500), ("ra", 4500), ("rb", 4500)] {
            let stream = stream(world, "red");
            stream.wait_for(Instant::now());
            world.net.ip(end, "link set middle down").unwrap();
            thread::sleep(Duration::from_millis(down));
            let begun = Instant::now();
            world.net.ip(end, "link set middle up").unwrap();
            let up = Instant::now();
            // The command may return later than the interface is up.
            let back = stream.wait_for(begun);
            let [took, after] = [up - begun, back.saturating_duration_since(up)];
            println!("{end}: down {down} ms; `up` took {took:?}, what was sent {after:?} later arrives");
            stream.wait_for(Instant::now());
            let seen = stream.stop();
            let (missing, last) = (seen.missing(), seen.sent - 1);
            assert!(!missing.is_empty(), "{end}: nothing was lost: the cable was not down");
            assert!(!missing.contains(&last), "{end}: the last datagram is lost");
        }
    });
}
