//! Where our fast path does not do what the kernel does, and why it may.

/// Packets, what the kernel and we make of each, and the paragraph that ours follows.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) packets: &'static [&'static str],
    pub(crate) kernel: &'static str,
    pub(crate) ours: &'static str,
    pub(crate) because: &'static str,
}

/// All of them: one that is not here is a fault, and so is one that does not occur.
pub(crate) const DIFFERENCES: &[Difference] = &[
    // The slow path does more of the work.
    Difference {
        packets: &[
            "options: nop",
            "options: eol",
            "options: 40 octets of nop",
            "options: record route, full",
            "options: timestamp, prescribed to another",
            "options: router alert",
            "options: loose source route, used up",
            "options: loose source route, not for us",
            "options: source route, no room",
            "options: security",
            "options: stream id",
            "options: quick start",
            "options: an experiment",
            "options: an unknown option",
            "IPv4Option7.dat#1 routed",
        ],
        kernel: "forwarded:out",
        ours: "slow_path:options",
        because: "RFC 1812, 5.3.13: which options pass unchanged, the slow path finds out and passes them on",
    },
    Difference {
        packets: &["options: nop, to a blackhole", "IPv4Option6.dat#1", "IPv4Option7.dat#1"],
        kernel: "dropped",
        ours: "slow_path:options",
        because: "RFC 1812, 5.2.1.1: options are step 3, and the route only step 5",
    },
    Difference {
        packets: &["ttl 1, an icmp error", "ttl 1, a later fragment"],
        kernel: "dropped",
        ours: "slow_path:expired",
        because: "RFC 1812, 4.3.2.7: what not to answer is for whoever answers, the slow path",
    },
    Difference {
        packets: &["df, too long, an icmp error"],
        kernel: "dropped",
        ours: "slow_path:too_big",
        because: "RFC 1812, 4.3.2.7: what not to answer is for whoever answers, the slow path",
    },
    Difference {
        packets: &["IcmpPackets.pcap#3 routed", "IcmpPackets.pcap#4 routed"],
        kernel: "dropped",
        ours: "slow_path:expired",
        because: "RFC 1812, 4.3.2.7: router advertisements, which Linux takes for errors, may be answered",
    },
    Difference {
        packets: &[
            "to 224.0.0.5",
            "to 232.1.2.3",
            "to 239.255.255.255",
            "to another group, ttl 1",
            "IcmpPackets.pcap#1",
        ],
        kernel: "dropped",
        ours: "slow_path:multicast",
        because: "RFC 1812, 5.2.3: which groups this node belongs to, the slow path knows",
    },
    // Linux lets more addresses pass.
    Difference {
        packets: &["from 0.1.2.3"],
        kernel: "forwarded:out",
        ours: "drop:martian",
        because: "RFC 1812, 5.3.7: a source on network 0; RFC 1122, 3.2.1.3",
    },
    Difference {
        packets: &["from 240.0.0.1", "from 255.255.255.254"],
        kernel: "forwarded:out",
        ours: "drop:martian",
        because: "RFC 1812, 5.3.7: a source that is no unicast address; RFC 1112, 4",
    },
    Difference {
        packets: &["from 169.254.1.1", "to 169.254.3.1", "from 169.254.2.2, to 169.254.3.2"],
        kernel: "forwarded:out",
        ours: "drop:martian",
        because: "RFC 3927, 7: no router forwards from or to link-local addresses, whatever its routes",
    },
    Difference {
        packets: &["to 0.1.2.3"],
        kernel: "no_route",
        ours: "drop:martian",
        because: "RFC 1812, 5.3.7: a destination on network 0",
    },
    Difference {
        packets: &["to 240.0.0.1", "to 255.255.255.254"],
        kernel: "no_route",
        ours: "drop:martian",
        because: "RFC 1812, 5.3.7: a destination of class E",
    },
    Difference {
        packets: &["from 0.0.0.0, to 0.0.0.0"],
        kernel: "delivered",
        ours: "drop:martian",
        because: "RFC 1812, 4.2.3.1: a packet to 0.0.0.0 is silently discarded, not even delivered",
    },
];

/// Where our slow path does not do what the kernel does: all of them, as above. Fragments and
/// options that are alike to the last octet, and error messages from type to the last octet
/// quoted, are not here.
pub(crate) const SLOW_PATH: &[Difference] = &[
    Difference {
        packets: &["options: record route, twice"],
        kernel: "icmp:12/0",
        ours: "parameter_problem",
        because: "RFC 1812, 4.3.2.3: it is quoted as it came; the kernel has written into it, which may be",
    },
    Difference {
        packets: &["options: record route, ttl 1"],
        kernel: "icmp:11/0",
        ours: "time_exceeded",
        because: "RFC 1812, 4.3.2.3: it is quoted as it came; the kernel has written into it, which may be",
    },
    Difference {
        packets: &["options: record route, too long, df"],
        kernel: "icmp:3/4",
        ours: "fragmentation_needed",
        because: "RFC 1812, 4.3.2.3: it is quoted as it came; the kernel has written into it, which may be",
    },
    Difference {
        packets: &[
            "to the router, an echo request, record route",
            "to the router, an echo request, timestamp",
        ],
        kernel: "replied",
        ours: "echo_reply",
        because: "RFC 1122, 3.2.2.6: this node is put in once; the kernel does so coming and going",
    },
    Difference {
        packets: &["options: timestamp with address", "IPv4Option5.dat#1 routed"],
        kernel: "options:out",
        ours: "forwarded",
        because: "RFC 1812, 5.2.4.3: the address of the link on which it is sent; the kernel's is the other",
    },
    Difference {
        packets: &["options: strict source route, used up"],
        kernel: "icmp:12/0",
        ours: "parameter_problem",
        because: "RFC 1812, 4.3.2.6: the kernel answers along the route reversed; one that is complained of is none",
    },
    Difference {
        packets: &["IPv4Option6.dat#1"],
        kernel: "dropped",
        ours: "parameter_problem",
        because: "RFC 791: a strict source route leads by way of its destination, be there a route to that or not",
    },
    Difference {
        packets: &["IPv4Option7.dat#1"],
        kernel: "dropped",
        ours: "net_unreachable",
        because: "RFC 1812, 5.2.7.1: without a route it is answered, loose source route or not",
    },
    Difference {
        packets: &["IcmpPackets.pcap#3 routed", "IcmpPackets.pcap#4 routed"],
        kernel: "dropped",
        ours: "time_exceeded",
        because: "RFC 1812, 4.3.2.7: router advertisements, which Linux takes for errors, may be answered",
    },
    Difference {
        packets: &["options: nop, too long", "options: record route, too long"],
        kernel: "fragmented:out:2",
        ours: "fragmented",
        because: "RFC 791, 3.2: options that are not copied are left out; the kernel puts NOPs in their place",
    },
    Difference {
        packets: &["to the router, tcp"],
        kernel: "replied",
        ours: "protocol_unreachable",
        because: "RFC 1122, 3.2.2.1: without a host there is no TCP here that could reset a connection",
    },
];
