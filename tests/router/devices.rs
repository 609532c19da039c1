//! Ports of one kind only, where the others have both.

use crate::answers::both;
use crate::world::{Devices, Plan, World, with_world};

/// Hosts of both slices have answers, short and long, and each other's packets stay theirs.
fn answers(world: &World) {
    for octets in [56, 1372, 20_000] {
        for said in both(world, &format!("ping -n -c 4 -i 0.2 -W 3 -s {octets} 192.168.2.2")) {
            let said = said.unwrap();
            assert!(said.contains(" 0% packet loss") && said.contains("ttl=62"), "{octets} octets: {said}");
        }
    }
}

#[test]
fn vxlan_goes_through_udp_sockets_alone() {
    with_world("udp", Plan { devices: Devices::Udp, ..Plan::default() }, |world| answers(world));
}

#[test]
fn outer_packets_go_through_a_tun_device_and_the_kernels_routes() {
    with_world("tun", Plan { devices: Devices::Tun, ..Plan::default() }, |world| {
        answers(world);
        for said in both(world, "traceroute -n -q 1 -w 2 192.168.2.2") {
            let said = said.unwrap();
            let hops = ["192.168.1.1", "192.168.12.2", "192.168.2.2"];
            assert!(hops.iter().all(|hop| said.contains(hop)), "{said}");
        }
        // It is the kernel that routes.
        let ping = "ping -n -c 1 -W 1 192.168.2.2";
        world.net.set("ra", "ipv4/ip_forward", "0").unwrap();
        both(world, ping).into_iter().for_each(|said| drop(said.expect_err("nobody forwards")));
        world.net.set("ra", "ipv4/ip_forward", "1").unwrap();
        both(world, ping).into_iter().for_each(|said| drop(said.unwrap()));
    });
}
