//! The router: a worker with a node of two interfaces and one IPv4 slice.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use fastpath::code_option::ipv4::{Ipv4, Ipv4Key};
use fastpath::id::InterfaceId;
use fastpath::io::neighbours::{Adjacent, Neighbours};
use fastpath::io::packet::{PacketConfig, PacketPort};
use fastpath::io::tun::{TunConfig, TunPort};
use fastpath::io::udp::{UdpConfig, UdpPort};
use fastpath::io::{MemoryPort, Pool, Port};
use fastpath::node::{
    Action, InterfaceConfig, Limits, LinkRequest, Node, QueueRequest, SliceControl, SliceRequest,
};
use fastpath::prelude::*;
use fastpath::runtime::{Clock, Monotonic, Running, Settings, Worker};

use crate::Fault;
use crate::net::ip;
use crate::traffic::{Buffer, HEADROOM, OCTETS, Table};

type Open = Box<dyn Port<Buffer> + Send>;

/// UDP ports of the router's two links, and of the hosts at their other ends.
pub(crate) const LINKS: [u16; 2] = [20_001, 20_002];
pub(crate) const PEERS: [u16; 2] = [30_001, 30_002];

/// The router's two ports and what has to be kept while they are in use.
pub(crate) struct Ports {
    open: [Open; 2],
    /// The node's addresses on them.
    addresses: [Ipv4Addr; 2],
    keep: Vec<UdpSocket>,
    neighbours: Option<Neighbours>,
}

/// The addresses that the kernel's ends of the cables have.
fn of_cables(way: u8) -> [Ipv4Addr; 2] {
    [1, 2].map(|network| Ipv4Addr::new(10, way, network, 1))
}

impl Ports {
    fn plain(open: [Open; 2], addresses: [Ipv4Addr; 2]) -> Self {
        Self { open, addresses, keep: Vec::new(), neighbours: None }
    }

    /// Packet sockets, behind which next hops are found.
    pub(crate) fn packet(way: u8) -> Result<Self, Fault> {
        let (addresses, mut neighbours) = (of_cables(way), Neighbours::new()?);
        let (mut open, mut keep) = (Vec::new(), Vec::new());
        for (at, end) in (0..).zip(["a", "b"]) {
            // The kernel would tell hosts that nobody is at the port.
            keep.push(UdpSocket::bind((addresses[usize::from(at)], LINKS[usize::from(at)]))?);
            let (name, interface) = (format!("r{end}{way}"), InterfaceId(at));
            let config = PacketConfig { interface, headroom: HEADROOM, ..PacketConfig::default() };
            let port = PacketPort::new(&name, config)?;
            let mut hops = neighbours.attach(&name, 8)?;
            hops.pin(IpAddr::from([10, way, at as u8 + 1, 2]))?;
            open.push(Box::new(Adjacent::new(port.address(), port, hops)) as Open);
        }
        let open = open.try_into().map_err(|_| "not two")?;
        Ok(Self { open, addresses, keep, neighbours: Some(neighbours) })
    }

    /// UDP sockets.
    pub(crate) fn udp(way: u8) -> Result<Self, Fault> {
        let addresses = of_cables(way);
        let open = |at: u16| -> Result<Open, Fault> {
            let config = UdpConfig { interface: InterfaceId(at), headroom: HEADROOM, ..UdpConfig::default() };
            let (mut port, at) = (UdpPort::new(config)?, usize::from(at));
            port.open(SocketAddr::new(addresses[at].into(), LINKS[at]))?;
            Ok(Box::new(port))
        };
        Ok(Self::plain([open(0)?, open(1)?], addresses))
    }

    /// TUN devices, to and from which the kernel forwards.
    pub(crate) fn tun(way: u8) -> Result<Self, Fault> {
        let addresses = [3, 4].map(|network| Ipv4Addr::new(10, way, network, 2));
        let open = |at: u16| -> Result<Open, Fault> {
            let config = TunConfig { interface: InterfaceId(at), headroom: HEADROOM, queues: false };
            let (name, network) = (format!("tun{at}"), at + 3);
            let port = TunPort::new(&name, config)?;
            ip(&format!("address add 10.{way}.{network}.1/24 dev {name}\nlink set {name} up"))?;
            Ok(Box::new(port))
        };
        Ok(Self::plain([open(0)?, open(1)?], addresses))
    }

    /// Memory; and the ends of the hosts.
    pub(crate) fn memory(way: u8) -> (Self, [Open; 2]) {
        let [(near, first), (far, second)] = [(); 2].map(|()| MemoryPort::pair(1024));
        (Self::plain([Box::new(first), Box::new(second)], of_cables(way)), [Box::new(near), Box::new(far)])
    }

    /// The address that hosts send to.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.addresses[0]
    }
}

/// The name of a router's thread.
pub(crate) fn thread_name(way: u8) -> String {
    format!("router-{way}")
}

/// A router that runs.
pub(crate) struct Router {
    running: Option<Running<Node<(Ipv4,), Buffer>, Pool>>,
    _control: SliceControl<Buffer>,
    ended: Arc<AtomicBool>,
    _keep: Vec<UdpSocket>,
}

impl Router {
    /// A router between the hosts of `way`, with a table.
    pub(crate) fn start(way: u8, ports: Ports, table: &Table) -> Result<Self, Fault> {
        let filters = u32::try_from(table.prefixes.len())?;
        let limits = Limits { filters: Limits::default().filters.max(5 * filters), ..Limits::default() };
        let mut node: Node<_, Buffer> = Node::new((Ipv4::default(),), limits);
        let mut links = Vec::new();
        for ((address, port), (peer, network)) in
            ports.addresses.into_iter().zip(LINKS).zip(PEERS.into_iter().zip(1..))
        {
            let interface = node.add_interface(InterfaceConfig::ip(address, Rate::MAX))?;
            links.push(LinkRequest::new(interface, port, SocketAddr::from(([10, way, network, 2], peer))));
        }
        let mut worker = Worker::new(node, Pool::new(8192, OCTETS), Settings::default())?;
        for (port, at) in ports.open.into_iter().zip(0..) {
            worker.add_port(InterfaceId(at), Layer::Ip, port)?;
        }
        let running = worker.spawn(thread_name(way), Monotonic::default())?;
        // Memory holds fewer packets than that: none is lost there.
        let queue = QueueRequest { limit_packets: 4096, ..QueueRequest::new(InterfaceId(1), 1) };
        let mut control = running.handle().admit(SliceRequest {
            filters,
            links,
            queues: vec![queue],
            ..SliceRequest::new(OptionId(0))
        })??;
        control.set_result(0, Action::forward(1, 0))?;
        let rows = table.prefixes.iter().map(|prefix| {
            let (value, mask) = Ipv4Key::route(prefix.address(), prefix.len());
            (Rank::longest_prefix(32, prefix.len()), value, mask, 0)
        });
        control.load(rows)?;
        let ended = Arc::new(AtomicBool::new(false));
        if let Some(neighbours) = ports.neighbours {
            follow(neighbours, ended.clone());
        }
        Ok(Self { running: Some(running), _control: control, ended, _keep: ports.keep })
    }

    /// Ends it; whether it knows where every packet is, and what its ports say.
    pub(crate) fn stop(mut self) -> Option<(bool, String)> {
        let running = self.running.take()?;
        running.handle().stop(Nanos::from_millis(500)).ok()?;
        let (_, report) = running.join()?;
        let ports: Vec<_> = report.ports.iter().map(|port| port.counters.to_string()).collect();
        Some((report.is_exact(), ports.join("; ")))
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
    }
}

/// Keeps next hops fresh until `ended`.
fn follow(mut neighbours: Neighbours, ended: Arc<AtomicBool>) {
    thread::spawn(move || {
        let mut clock = Monotonic::default();
        while !ended.load(Relaxed) && neighbours.poll(clock.now()).is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
    });
}
