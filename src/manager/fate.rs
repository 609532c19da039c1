//! What became of a packet that a manager was given, and counts of it.

macro_rules! fates {
    ($($(#[$doc:meta])* $fate:ident = $name:literal,)+) => {
        /// What became of a packet that a manager was given: each has one fate, and is counted by
        /// it.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Fate {
            $($(#[$doc])* #[doc = concat!("\n\nIn metrics: `", $name, "`.")] $fate,)+
        }

        impl Fate {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$fate,)+];

            /// The name in metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$fate => $name,)+
                }
            }
        }
    };
}

fates! {
    /// Answered: time exceeded in transit, 11/0.
    TimeExceeded = "time_exceeded",
    /// Answered: network unreachable, 3/0.
    NetUnreachable = "net_unreachable",
    /// Answered: host unreachable, 3/1.
    HostUnreachable = "host_unreachable",
    /// Answered: protocol unreachable, 3/2.
    ProtocolUnreachable = "protocol_unreachable",
    /// Answered: port unreachable, 3/3.
    PortUnreachable = "port_unreachable",
    /// Answered: fragmentation needed and DF set, 3/4, with the MTU (RFC 1191).
    FragmentationNeeded = "fragmentation_needed",
    /// Answered: source route failed, 3/5.
    SourceRouteFailed = "source_route_failed",
    /// Answered: communication administratively prohibited, 3/13.
    Prohibited = "prohibited",
    /// Answered: parameter problem, 12/0, with a pointer to a wrong option.
    ParameterProblem = "parameter_problem",
    /// Answered: required option missing, 12/1.
    OptionMissing = "option_missing",
    /// Answered: echo reply.
    EchoReply = "echo_reply",
    /// Answered: timestamp reply.
    TimestampReply = "timestamp_reply",

    /// Sent on in one piece.
    Forwarded = "forwarded",
    /// Sent on in fragments.
    Fragmented = "fragmented",
    /// Handed to the host.
    Delivered = "delivered",

    /// Not answered: an ICMP message that reports an error, or might.
    AboutError = "about_error",
    /// Not answered: a fragment other than the first.
    AboutFragment = "about_fragment",
    /// Not answered: sent to a group or to all, in the slice or on the link.
    AboutGroup = "about_group",
    /// Not answered: the source is no single other host.
    AboutSource = "about_source",
    /// Not answered: more errors than the slice may send.
    SliceRate = "slice_rate",
    /// Not answered: more errors than one destination may get.
    DestinationRate = "destination_rate",
    /// Not answered: more replies than the slice may send.
    ReplyRate = "reply_rate",
    /// Not answered: this router has no address to answer from.
    NoAddress = "no_address",
    /// Not answered: the answer itself has no way.
    NoWayBack = "no_way_back",

    /// Dropped: not a sound IPv4 packet.
    Unsound = "unsound",
    /// Dropped: the filters say so.
    NoWay = "no_way",
    /// Dropped: no meaning is configured for such an exception.
    Meaningless = "meaningless",
    /// Dropped: it has a source route.
    SourceRoute = "source_route",
    /// Dropped: to a group that nobody here listens to.
    Multicast = "multicast",
    /// Dropped: to all, and nobody here listens.
    Broadcast = "broadcast",
    /// Dropped: for this node, which has no use for it and may not say so.
    Unwanted = "unwanted",
    /// Dropped: a fragment for this node, which does not put packets together.
    Reassembly = "reassembly",
    /// Dropped: a wrong checksum of ICMP or UDP.
    Checksum = "checksum",
    /// Dropped: congestion marked outside on a packet that is not ECN-capable (RFC 6040).
    Congestion = "congestion",
    /// Dropped: it cannot be cut into fragments that are IPv4.
    Uncut = "uncut",
    /// Dropped: it was sent by this manager, and would be again.
    Returned = "returned",
}

/// Counts of what a manager did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tally {
    fates: [u64; Fate::ALL.len()],
    /// Fragments sent, of packets sent on and of replies.
    pub fragments: u64,
    /// Redirects sent, beside the packet that is sent on.
    pub redirects: u64,
    /// Packets of the host's that were taken.
    pub from_host: u64,
}

impl Tally {
    pub(super) const NEW: Self =
        Self { fates: [0; Fate::ALL.len()], fragments: 0, redirects: 0, from_host: 0 };

    /// Packets that met `fate`.
    pub fn count(&self, fate: Fate) -> u64 {
        self.fates.get(fate as usize).copied().unwrap_or(0)
    }

    /// Packets in all, those of the host's included.
    pub fn taken(&self) -> u64 {
        self.fates.iter().sum()
    }

    pub(super) fn add(&mut self, fate: Fate) {
        if let Some(count) = self.fates.get_mut(fate as usize) {
            *count += 1;
        }
    }
}
