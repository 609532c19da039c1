//! Why a packet leaves the fast path early: one octet that indexes a counter.

use core::fmt;

macro_rules! reasons {
    (
        $(#[$doc:meta])* $kind:ident,
        { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)+ }
        own { $($own:ident = $own_name:literal,)+ }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum $kind {
            $($(#[$variant_doc])* #[doc = concat!("\n\nIn metrics: `", $name, "`.")] $variant,)+
            $(#[doc = concat!("A reason of the code option's own, in metrics: `", $own_name, "`.")] $own,)+
        }

        impl $kind {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+ $(Self::$own,)+];

            const OWN: &'static [Self] = &[$(Self::$own,)+];

            /// The name in metrics. It never changes once released.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                    $(Self::$own => $own_name,)+
                }
            }

            /// Reason `n` of a code option's own, 0 to 15; what it means is the
            /// option's to say. A larger `n` is taken modulo 16.
            // The remainder is a place of `OWN`.
            #[allow(clippy::indexing_slicing)]
            pub const fn own(n: u8) -> Self {
                Self::OWN[n as usize % Self::OWN.len()]
            }

            /// Its number.
            pub const fn index(self) -> usize {
                self as usize
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

reasons! {
    /// Why a packet was dropped.
    DropReason,
    {
    /// Shorter than a header it should hold, or than its length field says.
    Truncated = "truncated",
    /// A header field has a value that cannot be accepted.
    Malformed = "malformed",
    /// A header checksum, or a UDP checksum that is to be verified, is wrong.
    Checksum = "checksum",
    /// The outer packet is not of a protocol that this decapsulation admits.
    OuterProtocol = "outer_protocol",
    /// The outer packet is a fragment: fragments of a tunnel are not put together.
    OuterFragment = "outer_fragment",
    /// A tunnel header has an option that must not be overlooked, and is not known (RFC 8926, 3.5).
    CriticalOption = "critical_option",
    /// An inner Ethernet frame for another station, or with a tag on a link that takes none (RFC 7348, 6.1).
    ForeignFrame = "foreign_frame",
    /// Outer congestion mark on a packet that is not ECN-capable (RFC 6040, 4.2).
    EcnNotCapable = "ecn_not_capable",
    /// From or to an address that no forwarded packet may have (RFC 1812, 5.3.7).
    Martian = "martian",
    /// No slice has claimed the outer address and port.
    UnknownSlice = "unknown_slice",
    /// The slice runs a code option this set does not hold.
    UnknownOption = "unknown_option",
    /// Beyond what the slice or the link may send in (RFC 2697, RFC 2698).
    Policed = "policed",
    /// No filter matched, or what it named is gone.
    NoMatch = "no_match",
    /// A filter says so.
    Filtered = "filtered",
    /// The buffer has no room for the outer header.
    NoHeadroom = "no_headroom",
    /// Longer than the link can carry, and the code option did not see to it.
    TooLong = "too_long",
    /// The code option named an outer destination that the link may not reach.
    Destination = "destination",
    /// The queue is at its limit.
    QueueFull = "queue_full",
    /// The memory for waiting packets is used up, but for what other slices have reserved.
    NoBuffer = "no_buffer",
    /// The queue an egress names is not configured.
    UnknownQueue = "unknown_queue",
    /// A queue's drop policy (RED) did not let it in.
    QueuePolicy = "queue_policy",
    /// A queue's drop policy (CoDel) dropped it as it left: packets wait there for too long.
    QueueDelay = "queue_delay",
    /// The queue was deleted while the packet waited.
    QueueDeleted = "queue_deleted",
    /// More exceptions than the slice's rate limit lets through.
    SlowPathRate = "slow_path_rate",
    /// The slice manager does not take exceptions as fast as they come.
    SlowPathFull = "slow_path_full",
    /// The slice has no slow path.
    NoSlowPath = "no_slow_path",
    /// The interface could not send it.
    TxFailed = "tx_failed",
    /// The worker that its flow belongs to has no room for it.
    HandOver = "hand_over",
    }
    own { Own0 = "own_0", Own1 = "own_1", Own2 = "own_2", Own3 = "own_3", Own4 = "own_4", Own5 = "own_5",
    Own6 = "own_6", Own7 = "own_7", Own8 = "own_8", Own9 = "own_9", Own10 = "own_10", Own11 = "own_11",
    Own12 = "own_12", Own13 = "own_13", Own14 = "own_14", Own15 = "own_15", }
}

reasons! {
    /// Why a packet goes to the slice's slow path.
    Exception,
    {
    /// Addressed to this node, such as control traffic of the slice.
    Local = "local",
    /// Lifetime ran out; the slow path answers.
    Expired = "expired",
    /// Header options that the fast path does not handle.
    Options = "options",
    /// Longer than the link's inner MTU: to be fragmented, or answered.
    TooBig = "too_big",
    /// To a group: the fast path does not copy packets.
    Multicast = "multicast",
    /// From a link that carries Ethernet frames, one that is not forwarded: ARP, neighbour discovery, any
    /// frame to a group. The slice's packet begins with its inner Ethernet header.
    Frame = "frame",
    /// A filter says so.
    Filtered = "filtered",
    /// More than one filter may apply (I3 multicast), section 7.2.
    ManyMatches = "many_matches",
    }
    own { Own0 = "own_0", Own1 = "own_1", Own2 = "own_2", Own3 = "own_3", Own4 = "own_4", Own5 = "own_5",
    Own6 = "own_6", Own7 = "own_7", Own8 = "own_8", Own9 = "own_9", Own10 = "own_10", Own11 = "own_11",
    Own12 = "own_12", Own13 = "own_13", Own14 = "own_14", Own15 = "own_15", }
}

/// An early way out of the fast path. Made for `?` in a code option.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Exit {
    /// Count it and forget it.
    Drop(DropReason),
    /// Hand it to the slice manager.
    SlowPath(Exception),
}

impl Exit {
    /// How many there are, to size a row of counters.
    pub const COUNT: usize = DropReason::ALL.len() + Exception::ALL.len();

    /// Its place in such a row.
    #[inline(always)]
    pub const fn index(self) -> usize {
        match self {
            Self::Drop(reason) => reason.index(),
            Self::SlowPath(exception) => DropReason::ALL.len() + exception.index(),
        }
    }

    /// All of them, in the order of [`index`](Self::index).
    pub fn all() -> impl Iterator<Item = Self> {
        let drops = DropReason::ALL.iter().copied().map(Self::Drop);
        drops.chain(Exception::ALL.iter().copied().map(Self::SlowPath))
    }
}

impl From<DropReason> for Exit {
    #[inline(always)]
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

impl From<Exception> for Exit {
    #[inline(always)]
    fn from(exception: Exception) -> Self {
        Self::SlowPath(exception)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop(reason) => write!(f, "drop:{reason}"),
            Self::SlowPath(exception) => write!(f, "slow_path:{exception}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_has_a_place_and_a_name_of_its_own() {
        let all: [Exit; Exit::COUNT] = {
            let mut exits = Exit::all();
            core::array::from_fn(|_| exits.next().unwrap())
        };
        for (at, exit) in all.iter().enumerate() {
            assert_eq!(exit.index(), at, "{exit}");
        }
        let mut names: std::vec::Vec<_> = all.iter().map(std::string::ToString::to_string).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Exit::COUNT);
        assert_eq!(size_of::<DropReason>() + size_of::<Exception>(), 2);
        assert_eq!((DropReason::own(3), DropReason::own(19)), (DropReason::Own3, DropReason::Own3));
    }
}
