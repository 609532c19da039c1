//! A Linux router between two TUN devices, in a network namespace of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{self, Command, Stdio};

use etherparse::PacketBuilder;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::routes::{self, ROUTER, Side};
use crate::tun::Tun;

/// What the kernel made of a packet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// Sent on as these octets.
    Forwarded(Side, Vec<u8>),
    /// Sent on after the router wrote into its options.
    Options(Side, Vec<u8>),
    /// Sent on in pieces.
    Fragmented(Side, Vec<Vec<u8>>),
    /// Answered by an ICMP error of this type and code.
    Answered(u8, u8, Vec<u8>),
    /// Found to have no route. It is answered by network unreachable, 3/0, but for what
    /// may not be answered and for more than five or so of one source.
    NoRoute,
    /// Given to the router's own protocols, which have sent this.
    Replied(Vec<u8>),
    /// Given to the router's own protocols, or kept for reassembly.
    Delivered,
    /// Gone.
    Dropped,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forwarded(side, _) => write!(f, "forwarded:{}", side.device()),
            Self::Options(side, _) => write!(f, "options:{}", side.device()),
            Self::Fragmented(side, pieces) => write!(f, "fragmented:{}:{}", side.device(), pieces.len()),
            Self::Answered(kind, code, _) => write!(f, "icmp:{kind}/{code}"),
            Self::NoRoute => f.write_str("no_route"),
            Self::Replied(_) => f.write_str("replied"),
            Self::Delivered => f.write_str("delivered"),
            Self::Dropped => f.write_str("dropped"),
        }
    }
}

/// The router. It lives in the network namespace of the thread that made it, and so
/// must that thread.
#[derive(Debug)]
pub(crate) struct Router {
    inside: Tun,
    outside: Tun,
    marks: u64,
    idle: Counters,
}

/// Counters of the kernel, or the difference of two readings.
type Counters = BTreeMap<&'static str, i64>;

/// Those that matter here, as the files of `/proc/net` have them.
const COUNTERS: [&str; 5] =
    ["Ip:InDelivers", "Ip:OutRequests", "Ip:ReasmReqds", "Ip:FragCreates", "IpExt:InNoRoutes"];

/// Settings below `/proc/sys/net`, in the order of writing: the first resets others.
const SETTINGS: [(&str, &str); 14] = [
    ("ipv4/ip_forward", "1"),
    // Packets come from anywhere: validating sources (RFC 1812, 5.3.8) is not what is
    // compared. Own addresses, martians and broadcasts are refused without it, too.
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/accept_local", "0"),
    // Packets may leave where they came from; a redirect would be taken for an answer.
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    // As RFC 1812, 5.2.4.1, has it; off, the kernel drops source routes.
    ("ipv4/conf/all/accept_source_route", "1"),
    ("ipv4/conf/default/accept_source_route", "1"),
    ("ipv4/conf/all/log_martians", "0"),
    ("ipv4/conf/default/log_martians", "0"),
    // No type of ICMP message is limited, by destination or in all.
    ("ipv4/icmp_ratelimit", "0"),
    ("ipv4/icmp_ratemask", "0"),
    // Or the kernel would speak IPv6 on links that come up.
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
];

impl Router {
    /// Moves the calling thread into a new network namespace and sets a router up
    /// there. The namespace has no name left: it ends with the thread, however that
    /// ends.
    ///
    /// # Errors
    ///
    /// Why there can be none here.
    pub(crate) fn new() -> Result<Self, String> {
        enter_namespace()?;
        let ipv6 = Path::new("/proc/sys/net/ipv6").exists();
        for (setting, value) in SETTINGS.iter().filter(|(setting, _)| ipv6 || !setting.starts_with("ipv6")) {
            let written = fs::write(format!("/proc/sys/net/{setting}"), value);
            written.map_err(|error| format!("cannot set {setting}: {error}"))?;
        }
        let tun = |side: Side| {
            Tun::new(side.device()).map_err(|error| format!("no permission to make a TUN device: {error}"))
        };
        let (inside, outside) = (tun(Side::In)?, tun(Side::Out)?);
        ip(&["-batch", "-"], &routes::commands())?;
        let mut router = Self { inside, outside, marks: 0, idle: Counters::new() };
        // What the marks alone count.
        let (seen, idle) = router.observe(None);
        assert!(seen.is_empty(), "nobody sent {seen:?}");
        router.idle = idle;
        Ok(router)
    }

    /// Lets `packet` arrive on the inner side and tells what became of it.
    ///
    /// # Panics
    ///
    /// If the kernel does something that [`Fate`] has no word for.
    pub(crate) fn route(&mut self, packet: &[u8]) -> Fate {
        let (seen, mut counted) = self.observe(Some(packet));
        for (counter, idle) in &self.idle {
            *counted.entry(counter).or_default() -= idle;
        }
        let count = |counter: &str| counted.get(counter).copied().unwrap_or_default();
        // What the router has made itself, be it an error message or the answer of a
        // protocol, is sent to the tester and from an address of its own.
        let sends = count("Ip:OutRequests") > 0;
        let (own, forwarded): (Vec<_>, Vec<_>) = seen.into_iter().partition(|(side, octets)| {
            sends && *side == Side::In && octets.get(12..16).is_some_and(routes::is_own)
        });
        assert!(own.len() <= 1, "the router sends {own:02x?}");
        match (&forwarded[..], own.first().and_then(|(_, octets)| error(octets))) {
            ([(side, octets)], None) if touched_options(packet, octets) => {
                Fate::Options(*side, octets.clone())
            }
            ([(side, octets)], None) => Fate::Forwarded(*side, octets.clone()),
            ([(side, _), _, ..], None) if count("Ip:FragCreates") > 0 => {
                Fate::Fragmented(*side, forwarded.iter().map(|(_, octets)| octets.clone()).collect())
            }
            ([], _) if count("IpExt:InNoRoutes") > 0 => Fate::NoRoute,
            ([], Some((kind, code))) => Fate::Answered(kind, code, own[0].1.clone()),
            ([], None) if !own.is_empty() && count("Ip:InDelivers") > 0 => Fate::Replied(own[0].1.clone()),
            ([], None) if count("Ip:InDelivers") + count("Ip:ReasmReqds") > 0 => Fate::Delivered,
            ([], None) if own.is_empty() => Fate::Dropped,
            _ => panic!("sent on {forwarded:02x?} and itself {own:02x?}: {counted:?}"),
        }
    }

    /// Sends `packet`, and behind it a packet to be forwarded and a packet to be
    /// answered. All that comes out before these belongs to `packet`: queues keep the
    /// order, and no clock has a say.
    fn observe(&mut self, packet: Option<&[u8]>) -> (Vec<(Side, Vec<u8>)>, Counters) {
        self.marks += 1;
        let mark = [*b"the mark", self.marks.to_be_bytes()].concat();
        let mut seen = Vec::new();
        let before = counters();
        if let Some(packet) = packet {
            // A refusal is a drop; `Fate` is read off what comes out.
            let _ = self.inside.send(packet);
        }
        for marker in markers(&mark) {
            self.inside.send(&marker).expect("a marker is a good packet");
        }
        for (side, tun) in [(Side::In, &self.inside), (Side::Out, &self.outside)] {
            loop {
                let octets = tun.receive().expect("a marker comes out on either side");
                if octets.ends_with(&mark) {
                    break;
                }
                seen.push((side, octets));
            }
        }
        let mut counted = counters();
        for (counter, before) in before {
            *counted.entry(counter).or_default() -= before;
        }
        (seen, counted)
    }
}

/// A packet that is forwarded and an echo request that is answered, both ending with
/// `mark`.
fn markers(mark: &[u8]) -> [Vec<u8>; 2] {
    let (mut forwarded, mut answered) = (Vec::new(), Vec::new());
    let source = [10, 1, 200, 200];
    let udp = PacketBuilder::ipv4(source, [10, 2, 200, 200], 64).udp(9, 9);
    udp.write(&mut forwarded, mark).expect("a short packet fits");
    let echo = PacketBuilder::ipv4(source, ROUTER, 64).icmpv4_echo_request(9, 9);
    echo.write(&mut answered, mark).expect("a short packet fits");
    [forwarded, answered]
}

/// Type and code, if the packet is an ICMP error message.
fn error(packet: &[u8]) -> Option<(u8, u8)> {
    let ip = etherparse::Ipv4Slice::from_slice(packet).ok()?;
    let &[kind, code, ..] = ip.payload().payload else { return None };
    (ip.header().protocol() == etherparse::IpNumber::ICMP && matches!(kind, 3 | 4 | 5 | 11 | 12))
        .then_some((kind, code))
}

/// Whether a packet that came as `before` and left as `after` has options that the
/// router wrote into. A source route changes the destination as well.
fn touched_options(before: &[u8], after: &[u8]) -> bool {
    let options = |packet: &[u8]| {
        let header = usize::from(packet[0] & 15) * 4;
        packet[16..header].to_vec()
    };
    options(before) != options(after)
}

/// Moves the calling thread, and no other, into a new network namespace.
fn enter_namespace() -> Result<(), String> {
    let name = format!("fastpath-kernel-ipv4-{}", process::id());
    let refused = |why: String| format!("no permission to create a network namespace: {why}");
    ip(&["netns", "add", &name], "").map_err(refused)?;
    let entered = fs::File::open(format!("/var/run/netns/{name}")).and_then(|namespace| {
        Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
    });
    // The thread keeps it: even a killed test leaves none behind.
    let deleted = ip(&["netns", "delete", &name], "");
    entered.map_err(|error| refused(error.to_string())).and(deleted)
}

/// Runs ip(8) in the network namespace of the calling thread.
fn ip(arguments: &[&str], input: &str) -> Result<(), String> {
    let mut command = Command::new("ip");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("no program `ip`: {error}"))?;
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().and_then(|output| written.map(|()| output));
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The counters of the namespace that the calling thread is in.
fn counters() -> Counters {
    let mut counters = Counters::new();
    for file in ["snmp", "netstat"] {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).expect("Linux has counters");
        let lines: Vec<_> = text.lines().collect();
        // A line of names, then one of numbers, both after the same word.
        for pair in lines.as_chunks::<2>().0 {
            let [names, values] = pair.map(str::split_whitespace);
            let mut columns = names.zip(values);
            let group = columns.next().map(|(group, _)| group).unwrap_or_default();
            for (name, value) in columns {
                let wanted = |counter: &&&str| counter.strip_prefix(group) == Some(name);
                if let Some(counter) = COUNTERS.iter().find(wanted) {
                    counters.insert(counter, value.parse().expect("a counter is a number"));
                }
            }
        }
    }
    counters
}
