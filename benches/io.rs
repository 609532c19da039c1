//! Time a packet to send it out of one port and to receive it at another of this machine, on
//! one core: both ports, and all of the kernel between them.
//!
//! The rows of a size are measured in turn, round by round, so that what else the machine does
//! falls on all of them. UDP goes over the loopback. Packet sockets and TUN devices need root:
//! they get a network namespace of their own.

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("these ports are those of Linux");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::net::{SocketAddr, UdpSocket};
    use std::process::{self, Command};
    use std::time::Instant;

    use etherparse::PacketBuilder;
    use fastpath::io::packet::{PacketConfig, PacketPort};
    use fastpath::io::tun::{TunConfig, TunPort};
    use fastpath::io::udp::{UdpConfig, UdpPort};
    use fastpath::io::{Buffers, MemoryPort, Pool, Port};
    use fastpath::packet::Packet;
    use fastpath::slot::Slot;
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    type Buffer = Box<[u8]>;

    const VECTOR: usize = 32;
    const ROUNDS: usize = 401;
    /// Vectors of a round: few, so that most rounds are not interrupted.
    const VECTORS: usize = 8;
    const SIZES: [usize; 3] = [64, 576, 1400];

    /// Two ports, and the packets that pass from one to the other.
    struct Pair<N, F> {
        near: N,
        far: F,
        packets: Vec<Vec<u8>>,
        pool: Pool,
    }

    /// Something that passes packets: how many nanoseconds one took in a round.
    trait Row {
        fn round(&mut self) -> f64;
    }

    impl<N: Port<Buffer>, F: Port<Buffer>> Row for Pair<N, F> {
        fn round(&mut self) -> f64 {
            let mut vector = [const { Slot::EMPTY }; VECTOR];
            let (start, before) = (Instant::now(), self.far.counters().received);
            for _ in 0..VECTORS {
                for (slot, octets) in vector.iter_mut().zip(&self.packets) {
                    let buffer = self.pool.take().expect("buffers come back");
                    slot.packet = Packet::with_headroom(buffer, 64, octets).ok();
                }
                self.near.send(&mut vector, &mut self.pool);
                // Until all came: joined datagrams need no more than one call.
                while self.far.receive(&mut vector, &mut self.pool) > 0 {
                    for packet in vector.iter_mut().filter_map(|slot| std::mem::take(slot).packet) {
                        self.pool.give(packet.into_buf());
                    }
                }
            }
            let received = self.far.counters().received - before;
            assert!(
                received as usize >= VECTORS * VECTOR * 9 / 10,
                "{received} received: {}",
                self.far.counters()
            );
            start.elapsed().as_nanos() as f64 / received as f64
        }
    }

    /// One datagram a call, by the standard library.
    struct Plain(UdpSocket, UdpSocket, Vec<u8>);

    impl Row for Plain {
        fn round(&mut self) -> f64 {
            let (to, mut octets) = (self.1.local_addr().unwrap(), [0; 2048]);
            let start = Instant::now();
            for _ in 0..VECTORS {
                for _ in 0..VECTOR {
                    self.0.send_to(&self.2, to).unwrap();
                }
                for _ in 0..VECTOR {
                    self.1.recv_from(&mut octets).unwrap();
                }
            }
            start.elapsed().as_nanos() as f64 / (VECTORS * VECTOR) as f64
        }
    }

    fn outer(from: SocketAddr, to: SocketAddr, octets: usize) -> Vec<u8> {
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else { panic!("IPv4 only") };
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv4(from.ip().octets(), to.ip().octets(), 64);
        builder.udp(from.port(), to.port()).write(&mut packet, &vec![7; octets]).unwrap();
        packet
    }

    fn pair<N: Port<Buffer> + 'static, F: Port<Buffer> + 'static>(
        near: N, far: F, packets: Vec<Vec<u8>>,
    ) -> Box<dyn Row> {
        Box::new(Pair { near, far, packets, pool: Pool::new(4 * VECTOR, 2112) })
    }

    /// UDP ports with packets to so many peers in turn.
    fn udp(octets: usize, peers: usize, joined: bool) -> Box<dyn Row> {
        let config = UdpConfig { join: joined, segment: joined, ..UdpConfig::default() };
        let (mut near, mut far) = (UdpPort::new(config).unwrap(), UdpPort::new(config).unwrap());
        let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let from = near.open(here).unwrap();
        let peers: Vec<_> = (0..peers).map(|_| far.open(here).unwrap()).collect();
        let packets = peers.iter().cycle().take(VECTOR).map(|to| outer(from, *to, octets)).collect();
        pair(near, far, packets)
    }

    /// Packet sockets on a pair of veth.
    fn packet(octets: usize) -> Box<dyn Row> {
        let open = |name| PacketPort::new(name, PacketConfig::default()).unwrap();
        let (near, far) = (open("near"), open("far"));
        let mut frame = vec![7; octets];
        frame[..6].copy_from_slice(&far.address());
        frame[12..14].copy_from_slice(&[0x88, 0xb5]);
        pair(near, far, vec![frame; VECTOR])
    }

    /// Two TUN devices between which the kernel routes.
    fn tun(octets: usize, number: usize) -> Box<dyn Row> {
        let open = |name: &str| TunPort::new(&format!("{name}{number}"), TunConfig::default()).unwrap();
        let (near, far) = (open("in"), open("out"));
        ip(&format!("address add 10.{number}.0.1/24 dev in{number}"));
        ip(&format!("address add 10.{number}.1.1/24 dev out{number}"));
        ip(&format!("link set in{number} up"));
        ip(&format!("link set out{number} up"));
        let mut inner = Vec::new();
        let builder = PacketBuilder::ipv4([10, number as u8, 0, 2], [10, number as u8, 1, 2], 64).udp(7, 9);
        builder.write(&mut inner, &vec![7; octets - 28]).unwrap();
        pair(near, far, vec![inner; VECTOR])
    }

    fn ip(command: &str) {
        let arguments = command.split_whitespace();
        assert!(
            Command::new("ip").args(arguments).status().is_ok_and(|status| status.success()),
            "ip {command}"
        );
    }

    /// A network namespace with a pair of veth, for this process.
    fn namespace() -> bool {
        let name = format!("fastpath-io-{}", process::id());
        let netns = |what: &str| Command::new("ip").args(["netns", what, &name]).output();
        if !netns("add").is_ok_and(|output| output.status.success()) {
            return false;
        }
        let file = std::fs::File::open(format!("/var/run/netns/{name}")).unwrap();
        let entered =
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network));
        let _ = netns("delete");
        if entered.is_err() {
            return false;
        }
        for command in
            ["link set lo up", "link add near type veth peer name far", "link set near up", "link set far up"]
        {
            ip(command);
        }
        for end in ["near", "far"] {
            let off = ["-K", end, "tx", "off", "tso", "off", "gso", "off", "gro", "off"];
            let _ = Command::new("ethtool").args(off).output();
        }
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").is_ok()
    }

    pub(super) fn main() {
        let privileged = namespace();
        if !privileged {
            println!("skipped: packet sockets and TUN devices, no permission to make a network namespace");
        }
        println!(
            "ns a packet, sent and received: median (and quartiles) of {ROUNDS} rounds of {VECTORS} vectors of {VECTOR}"
        );
        for (number, octets) in SIZES.into_iter().enumerate() {
            let bound = || UdpSocket::bind("127.0.0.1:0").unwrap();
            let (near, far) = MemoryPort::pair(VECTOR);
            let mut rows: Vec<(&str, Box<dyn Row>)> = vec![
                ("UDP, a call a datagram (std)", Box::new(Plain(bound(), bound(), vec![7; octets]))),
                ("UdpPort, not joined", udp(octets, 1, false)),
                ("UdpPort, one peer", udp(octets, 1, true)),
                ("UdpPort, 4 peers", udp(octets, 4, true)),
                ("UdpPort, 32 peers", udp(octets, 32, true)),
                ("MemoryPort", pair(near, far, vec![vec![7; octets]; VECTOR])),
            ];
            if privileged {
                rows.push(("PacketPort, veth", packet(octets)));
                rows.push(("TunPort, routed by the kernel", tun(octets, number)));
            }
            let mut times = vec![Vec::new(); rows.len()];
            for _ in 0..ROUNDS {
                for ((_, row), times) in rows.iter_mut().zip(&mut times) {
                    times.push(row.round());
                }
            }
            for ((name, _), mut times) in rows.iter().zip(times) {
                times.sort_by(f64::total_cmp);
                let at = |part: usize| times[times.len() * part / 4];
                println!("{octets:>5} octets  {name:<32} {:>7.0} ({:.0} to {:.0})", at(2), at(1), at(3));
            }
        }
    }
}
