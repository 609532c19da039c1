//! Hosts that ask: ping, traceroute, tracepath, of both slices at once.

use std::thread;

use crate::world::{Plan, SLICES, World, with_world};

/// Runs a program at side A's host of each slice at once: what each printed.
pub(crate) fn both(world: &World, line: &str) -> Vec<Result<String, String>> {
    let net = &world.net;
    thread::scope(|scope| {
        let spawn = |slice: &crate::world::Slice| {
            let space = format!("{}a", slice.name);
            scope.spawn(move || net.run(&space, line))
        };
        let running: Vec<_> = SLICES.iter().map(spawn).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn hosts_of_both_slices_ping_through_two_routers() {
    with_world("ping", Plan::default(), |world| {
        // The first packets find the hosts.
        for said in both(world, "ping -n -c 3 -i 0.2 -W 3 192.168.2.2") {
            said.unwrap();
        }
        for octets in [56, 1400, 65_507] {
            for said in both(world, &format!("ping -n -c 5 -i 0.2 -W 2 -s {octets} 192.168.2.2")) {
                let said = said.unwrap();
                assert!(said.contains("5 received"), "{octets} octets: {said}");
                assert!(said.contains("ttl=62"), "two routers: {said}");
            }
        }
        // Of the routers themselves, the near and the far.
        for own in ["192.168.1.1", "192.168.2.1", "192.168.12.2"] {
            for said in both(world, &format!("ping -n -c 3 -i 0.2 -W 2 {own}")) {
                let said = said.unwrap();
                assert!(said.contains("3 received"), "{own}: {said}");
            }
        }
    });
}

#[test]
fn routers_write_their_addresses_into_record_routes() {
    with_world("record", Plan::default(), |world| {
        // The first packet has its host found, options and all.
        for said in both(world, "ping -n -R -c 2 -i 0.2 -W 3 192.168.2.2") {
            let said = said.unwrap();
            let route: Vec<_> = said.split_whitespace().filter(|word| word.starts_with("192.168.")).collect();
            // Host, two routers, host, and the way back: a router writes where it sends.
            for own in ["192.168.12.1", "192.168.2.1", "192.168.12.2", "192.168.1.1"] {
                assert!(route.contains(&own), "{own}: {said}");
            }
        }
    });
}

#[test]
fn a_narrow_way_is_told_to_who_forbids_fragments_and_cut_for_others() {
    with_world("narrow", Plan { mtu: 1200, ..Plan::default() }, |world| {
        for said in both(world, "ping -n -M do -c 2 -i 0.2 -W 3 -s 1300 192.168.2.2") {
            let said = said.expect_err("it is too long");
            assert!(said.contains("Frag needed") && said.contains("1200"), "{said}");
        }
        for said in both(world, "tracepath -n 192.168.2.2") {
            let said = said.unwrap();
            assert!(said.contains("Resume: pmtu 1200"), "{said}");
        }
        for octets in [1300, 20_000] {
            for said in both(world, &format!("ping -n -M dont -c 5 -i 0.2 -W 2 -s {octets} 192.168.2.2")) {
                let said = said.unwrap();
                assert!(said.contains("5 received"), "{octets} octets: {said}");
            }
        }
    });
}

#[test]
fn traceroute_names_both_routers_in_order() {
    with_world("trace", Plan::default(), |world| {
        both(world, "ping -n -c 2 -i 0.2 -W 3 192.168.2.2");
        for probes in ["", "-I"] {
            for said in both(world, &format!("traceroute {probes} -n -q 1 -w 2 192.168.2.2")) {
                let said = said.unwrap();
                let hops: Vec<_> =
                    said.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
                assert_eq!(hops, ["192.168.1.1", "192.168.12.2", "192.168.2.2"], "{said}");
            }
        }
    });
}

#[test]
fn a_network_without_a_route_is_said_to_be_unreachable() {
    with_world("noroute", Plan::default(), |world| {
        for said in both(world, "ping -n -c 1 -W 2 198.51.100.1") {
            let said = said.expect_err("there is no way");
            assert!(said.contains("From 192.168.1.1") && said.contains("Net Unreachable"), "{said}");
        }
    });
}
