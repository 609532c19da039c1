//! The kernel's VXLAN devices, over IPv4 and IPv6, as the other end: in a network namespace
//! whose outer packets pass through a TUN device.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::panic;
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use fastpath::decap::{TunnelConfig, TunnelEntry, TunnelKind, Tunnels, UdpChecksum};
use fastpath::egress::{Encapsulation, InnerEthernet, LinkLayer, Tunnel};
use fastpath::id::OptionId;
use fastpath::slot::{Outgoing, RxMeta};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::oracle;
use crate::tun::Tun;
use crate::world::{ADMISSION, INNER_HERE, INNER_THERE, unwrap, wrap};

/// The kernel's end of each: `vx0` of network 7 over IPv4, `vx1` of network 8 over IPv6.
const SETUP: &str = "
link set lo up
link set under up mtu 1500
address add 10.9.0.9/24 dev under
address add fd09::9/64 dev under nodad
link add vx0 address 06:00:00:00:00:09 type vxlan id 7 local 10.9.0.9 remote 10.9.0.1 dstport 4789 dev under
link add vx1 address 06:00:00:00:00:09 type vxlan id 8 local fd09::9 remote fd09::1 dstport 4789 dev under
link set vx0 up
link set vx1 up
address add 192.168.0.9/24 dev vx0
address add 192.168.1.9/24 dev vx1
neighbour add 192.168.0.1 lladdr 06:00:00:00:00:01 dev vx0 nud permanent
neighbour add 192.168.1.1 lladdr 06:00:00:00:00:01 dev vx1 nud permanent
";

#[test]
fn the_kernels_vxlan_devices_understand_ours_and_we_theirs() {
    // The network namespace is the thread's.
    match thread::spawn(|| setup().map(|tun| talk(&tun))).join() {
        Ok(Ok(())) => (),
        Ok(Err(reason)) => oracle::skip(&format!("the kernel's VXLAN: {reason}")),
        Err(panic) => panic::resume_unwind(panic),
    }
}

fn talk(tun: &Tun) {
    let ends: [[IpAddr; 2]; 2] = [
        ["10.9.0.1", "10.9.0.9"].map(|end| end.parse().unwrap()),
        ["fd09::1", "fd09::9"].map(|end| end.parse().unwrap()),
    ];
    for (net, [here, there]) in (0..).zip(ends) {
        let host = |host, port| SocketAddr::from(([192, 168, net, host], port));
        let vni = 7 + u32::from(net);
        let mut tunnels = Tunnels::new([TunnelEntry::EMPTY; 4]);
        let config = TunnelConfig {
            udp_checksum: UdpChecksum::Verify,
            ..TunnelConfig::new(ADMISSION).with_mac(INNER_HERE)
        };
        tunnels.open(here, TunnelKind::vxlan(vni), config).unwrap();
        let socket = UdpSocket::bind(host(9, 5000)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();

        // Theirs: to a neighbour that is known, and to one that is asked for.
        let next = |wanted: &dyn Fn(OptionId, &[u8]) -> bool| loop {
            let packet = tun.receive_ip().expect("the kernel sends");
            if let Ok((inner, octets)) = unwrap(&tunnels, &packet, &RxMeta::IP)
                && wanted(inner.admission.option, octets)
            {
                break (inner, octets.to_vec());
            }
        };
        for len in [1, 50, 1200] {
            let payload = vec![0x5a; len];
            socket.send_to(&payload, host(1, 9)).unwrap();
            let (inner, octets) =
                next(&|option, octets| option == ADMISSION.option && octets.ends_with(&payload));
            assert_eq!((inner.source.address(), octets.len()), (there, 28 + len));
        }
        socket.send_to(&[1], host(2, 9)).unwrap();
        let (_, arp) =
            next(&|option, octets| option == OptionId::FRAME && octets.get(12..14) == Some(&[8, 6]));
        assert_eq!((&arp[..6], &arp[6..12]), (&[0xff; 6][..], &INNER_THERE[..]));
        assert_eq!(arp[38..42], [192, 168, net, 2], "who has it");

        // Ours. What has no checksum over IPv6 is not taken, as the device was not told.
        let frame = Some(InnerEthernet::ipv4(INNER_THERE, INNER_HERE));
        let to = SocketAddr::new(there, 4789);
        let tunnel = Tunnel::new(LinkLayer::Ip, SocketAddr::new(here, 0), to);
        let tunnel = tunnel.with(Encapsulation::Vxlan { vni, frame });
        for (len, zero_checksum) in [(9, true), (1, false), (50, false), (1199, false)] {
            let mut inner = Vec::new();
            let udp = PacketBuilder::ipv4([192, 168, net, 1], [192, 168, net, 9], 64).udp(9, 5000);
            udp.write(&mut inner, &vec![0xa5; len]).unwrap();
            let tunnel = Tunnel { zero_checksum, ..tunnel };
            let packet = wrap(&tunnel, &inner, Outgoing::default(), 0xcafe).unwrap();
            tun.send_ip(&packet).unwrap();
            if zero_checksum && here.is_ipv6() {
                continue;
            }
            let delivered = socket.recv_from(&mut [0; 2048]).ok();
            assert_eq!(delivered, Some((len, host(1, 9))), "delivered");
        }
    }
}

/// Moves the calling thread into a network namespace of its own, with the devices there.
fn setup() -> Result<Tun, String> {
    let name = format!("fastpath-vxlan-{}", process::id());
    ip(&["netns", "add", &name], "")?;
    let entered = File::open(format!("/var/run/netns/{name}")).and_then(|namespace| {
        Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
    });
    // The thread keeps it: even a killed test leaves none behind.
    ip(&["netns", "delete", &name], "")?;
    entered.map_err(|error| error.to_string())?;
    let tun = Tun::new("under").map_err(|error| error.to_string())?;
    ip(&["-batch", "-"], SETUP.trim_start())?;
    wait_for_address();
    Ok(tun)
}

/// Waits until packets to the IPv6 address are taken: the kernel adds the route for that from
/// a queue of work, after it has said that the address is there, and until then counts them as
/// `Ip6InAddrErrors`.
fn wait_for_address() {
    let end = Instant::now() + Duration::from_secs(60);
    while !ip(&["-6", "route", "show", "table", "local"], "").unwrap().contains("local fd09::9 ") {
        assert!(Instant::now() < end, "no local route to fd09::9");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs ip(8) in the network namespace of the calling thread.
fn ip(arguments: &[&str], input: &str) -> Result<String, String> {
    let mut command = Command::new("ip");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("no program `ip`: {error}"))?;
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    match child.wait_with_output().and_then(|output| written.map(|()| output)) {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
