//! Links over IPv6, of every kind that routers can have between them; hosts are behind the
//! kernel's VXLAN devices.

use serde_json::Value;

use crate::net::{End, Net, Unable};
use crate::oracle;
use crate::program::Router;
use crate::scratch::Scratch;

/// A link between the routers: name, and what makes it beside the peer.
const MIDDLE: [(&str, &str); 5] = [
    ("udp", "port = 20_001\npeer = \"[fd02::P]:20001\""),
    ("zero", "port = 20_002\npeer = \"[fd02::P]:20002\"\nzero_udp_checksum = true"),
    ("geneve", "peer = \"fd02::P\"\ngeneve = { vni = 8 }"),
    ("gre", "peer = \"fd02::P\"\ngre = {}"),
    ("gre-sum", "peer = \"fd02::P\"\ngre = { key = 9, checksum = true }"),
];

/// The longest packet that goes through all of them.
const MTU: u32 = 1430;

#[test]
fn hosts_ping_through_links_of_every_kind_over_ipv6() {
    let mut net = match Net::new("kinds") {
        Ok(net) => net,
        Err(Unable(reason)) => return oracle::skip(&format!("links over IPv6: {reason}")),
    };
    join(&mut net).unwrap_or_else(|fault| panic!("the machines cannot be set up: {fault}"));
    let scratch = Scratch::new("router", "kinds");
    let mut routers = [(1, "udp"), (2, "packet:hosts")].map(|(side, hosts)| {
        let config = scratch.write(&format!("{side}.toml"), config(side, hosts));
        let started = Router::start(&net, &format!("r{side}"), &["--config", &config]);
        started.unwrap_or_else(|(status, said)| panic!("the router ends with {status}: {said}"))
    });
    for (name, _) in MIDDLE {
        for (router, there) in routers.iter_mut().zip([2, 1]) {
            router.tell(&format!("route add red 192.168.{there}.0/24 {name} middle"));
        }
        // The first packets find the machines and the hosts.
        let _ = net.run("a1", "ping -n -c 2 -i 0.2 -W 5 192.168.2.2");
        for octets in [56, MTU - 28, 4000] {
            let said = net.run("a1", &format!("ping -n -c 4 -i 0.1 -W 5 -s {octets} 192.168.2.2"));
            let said = said.unwrap_or_else(|said| panic!("{name}, {octets} octets: {said}"));
            assert!(said.contains("4 received") && said.contains("ttl=62"), "{name}: {said}");
        }
    }
    neighbours(&net, &mut routers[0]);
    for router in routers {
        router.quit();
    }
}

/// The host's kernel looks for the router over IPv6, and is satisfied; IPv4 goes on.
fn neighbours(net: &Net, router: &mut Router) {
    let state = |address: &str| net.ip("a1", &format!("-6 neighbour show {address} dev vx7")).unwrap();
    for address in ["fd21::1", "fe80::ff:fe00:1"] {
        // Nobody there forwards IPv6, so there is no reply: but it is known where the router is.
        let said = net.run("a1", &format!("ping -n -6 -I vx7 -c 1 -W 2 {address}"));
        let known = state(address);
        assert!(known.contains("lladdr 02:00:00:00:00:01 router"), "{address}: {known}: {said:?}");
        assert!(known.contains("REACHABLE") || known.contains("DELAY"), "{address}: {known}");
    }
    let _ = net.run("a1", "ping -n -6 -I vx7 -c 1 -W 1 fd21::7");
    let nobody = state("fd21::7");
    assert!(
        nobody.contains("FAILED") || nobody.contains("INCOMPLETE"),
        "nobody answers for others: {nobody}"
    );
    let report: Value = serde_json::from_str(&router.tell("report")).unwrap();
    assert!(report["managers"]["red"]["hosts_v6"].as_u64() > Some(0), "{report}");
    let said = net.run("a1", "ping -n -c 3 -i 0.1 -W 2 192.168.2.2").unwrap();
    assert!(said.contains("3 received"), "{said}");
}

/// Machines `h1 - r1 - r2 - h2`, with nothing but IPv6 between them, and hosts `a1` and `a2`.
fn join(net: &mut Net) -> Result<(), String> {
    for space in ["h1", "r1", "r2", "h2", "a1", "a2"] {
        net.space(space)?;
        for of in ["all", "default"] {
            net.set(space, &format!("ipv6/conf/{of}/disable_ipv6"), "0")?;
            net.set(space, &format!("ipv6/conf/{of}/accept_dad"), "0")?;
        }
    }
    net.cable(
        End { space: "r1", device: "middle", address: "fd02::1/64" },
        End { space: "r2", device: "middle", address: "fd02::2/64" },
    )?;
    for side in 1..=2 {
        let (machine, host) = (format!("h{side}"), format!("a{side}"));
        let (router, device) = (format!("r{side}"), "hosts");
        net.cable(
            End { space: &router, device, address: &format!("fd1{side}::1/64") },
            End { space: &machine, device: "router", address: &format!("fd1{side}::2/64") },
        )?;
        let ends = format!("local fd1{side}::2 remote fd1{side}::1");
        net.ip(&machine, &format!("link add vx7 type vxlan id 7 {ends} dstport 4789"))?;
        net.ip(&machine, &format!("link set vx7 netns {}", net.name(&host)))?;
        net.ip(&host, &format!("address add 192.168.{side}.2/24 dev vx7"))?;
        net.ip(&host, &format!("address add fd2{side}::2/64 dev vx7"))?;
        net.ip(&host, &format!("link set vx7 mtu {MTU} up"))?;
        net.ip(&host, &format!("route add default via 192.168.{side}.1"))?;
    }
    Ok(())
}

fn config(side: u8, hosts: &str) -> String {
    let peer = 3 - side;
    let spread = if hosts == "udp" { "source_ports = 4" } else { "" };
    let mut text = format!(
        r#"
[[interface]]
name = "hosts"
device = "{hosts}"
{spread}
address = "10.0.1.{side}"
address_v6 = "fd1{side}::1"
rate = 1_000_000_000

[[interface]]
name = "middle"
device = "packet:middle"
address = "10.0.2.{side}"
address_v6 = "fd02::{side}"
rate = 1_000_000_000

[[slice]]
name = "red"
option = "ipv4"
address = "192.168.{side}.1"

[[slice.queue]]
name = "in"
interface = "hosts"
weight = 1

[[slice.queue]]
name = "middle"
interface = "middle"
weight = 1

[[slice.link]]
name = "hosts"
interface = "hosts"
peer = "fd1{side}::2"
mtu = {MTU}
address = "192.168.{side}.1/24"
address_v6 = "fd2{side}::1"
vxlan = {{ vni = 7, mac = "02:00:00:00:00:0{side}" }}

[[slice.route]]
prefix = "192.168.{side}.0/24"
link = "hosts"
queue = "in"
"#
    );
    for (name, link) in MIDDLE {
        let link = link.replace('P', &peer.to_string());
        text +=
            &format!("\n[[slice.link]]\nname = \"{name}\"\ninterface = \"middle\"\nmtu = {MTU}\n{link}\n");
    }
    text
}
