//! Small names shared by every block.

use core::fmt;
use core::num::NonZeroU32;

/// One tenant of the fast path.
///
/// 16 bits, so that a slice id and a 112-bit lookup key fill one `u128`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SliceId(pub u16);

impl SliceId {
    /// The account of the substrate itself: packets that no slice owns.
    pub const SUBSTRATE: Self = Self(0);
}

impl fmt::Display for SliceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which member of a code option set a slice runs.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OptionId(pub u8);

impl OptionId {
    /// No option: what is admitted with it is an Ethernet frame for the slow path, as
    /// [`Exception::Frame`](crate::exit::Exception::Frame).
    pub const FRAME: Self = Self(u8::MAX);
}

/// A logical link (the paper's meta-interface): an external UDP port of the node
/// and the tunnel behind it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LinkId(pub u16);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A physical interface of the node, on which frames are received and sent.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct InterfaceId(pub u16);

/// A physical queue.
///
/// Slices name their queues by numbers of their own; the substrate maps such a
/// number to a `QueueId` when a filter is installed, so that no slice can name
/// another's queue (section 4).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct QueueId(pub u32);

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names the [`Egress`](crate::egress::Egress) a filter leads to, and the counter
/// that belongs to it.
///
/// Never 0 inside, so that `Option<EgressId>` is 4 octets and a table may store 0
/// for "no filter".
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EgressId(NonZeroU32);

impl EgressId {
    /// The egress that stands first.
    pub(crate) const FIRST: Self = Self(NonZeroU32::MIN);

    /// The egress that stands at `index`, or `None` for 2^32 - 1.
    pub const fn new(index: u32) -> Option<Self> {
        Self::from_raw(index.wrapping_add(1))
    }

    /// What [`raw`](Self::raw) gave; 0 stands for none.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match NonZeroU32::new(raw) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// A number for a table to store, never 0.
    pub const fn raw(self) -> u32 {
        self.0.get()
    }

    /// Where the egress stands.
    #[inline(always)]
    pub const fn index(self) -> usize {
        (self.0.get() - 1) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_egress_id_is_four_octets_and_never_zero() {
        assert_eq!(size_of::<Option<EgressId>>(), 4);
        assert_eq!(EgressId::from_raw(0), None);
        assert_eq!(EgressId::new(u32::MAX), None);
        let id = EgressId::new(7).unwrap();
        assert_eq!((id.index(), EgressId::from_raw(id.raw())), (7, Some(id)));
    }
}
