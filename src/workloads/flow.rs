//! The IPv4 key: a flow is a point in its 112 bits, a pattern a set of them.
//!
//! The layout is that of [`Ipv4Key`]; the class octet is 0 in flows and not looked at
//! by patterns of rules.

use crate::code_option::ipv4::Ipv4Key;
use crate::id::SliceId;
use crate::key::LookupKey;
use crate::lookup::Filter;

/// The 5-tuple of an IPv4 packet, in host byte order.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Flow {
    /// Source address, its first octet on top.
    pub source: u32,
    /// Destination address, its first octet on top.
    pub destination: u32,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Protocol number.
    pub protocol: u8,
}

impl Flow {
    /// The lookup key of a packet of this flow with traffic class 0.
    pub fn key(self) -> LookupKey {
        let Self { source, destination, source_port, destination_port, protocol } = self;
        Ipv4Key { class: 0, protocol, source_port, destination_port, source, destination }.into()
    }

    /// The flow of a key; its class is dropped.
    pub fn of(key: LookupKey) -> Self {
        let Ipv4Key { protocol, source_port, destination_port, source, destination, class: _ } = key.into();
        Self { source, destination, source_port, destination_port, protocol }
    }
}

/// A ternary pattern over lookup keys: a [`Filter`] that no slice owns yet.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Pattern {
    value: LookupKey,
    mask: LookupKey,
}

impl Pattern {
    /// Matches what equals `value` wherever `mask` is 1; other bits of `value` are
    /// cleared.
    pub const fn new(value: LookupKey, mask: LookupKey) -> Self {
        Self { value: LookupKey::new(value.bits() & mask.bits()), mask }
    }

    /// The bits a key must have where [`mask`](Self::mask) is 1.
    pub const fn value(&self) -> LookupKey {
        self.value
    }

    /// The bits that count.
    pub const fn mask(&self) -> LookupKey {
        self.mask
    }

    /// True if `key` falls under it.
    pub const fn matches(&self, key: LookupKey) -> bool {
        key.bits() & self.mask.bits() == self.value.bits()
    }

    /// The same as a filter of `slice`.
    pub const fn filter(&self, slice: SliceId) -> Filter {
        Filter::new(slice, self.value, self.mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_has_its_fields_in_header_order() {
        let flow = Flow {
            source: 0xa1a2_a3a4,
            destination: 0xb1b2_b3b4,
            source_port: 0xc1c2,
            destination_port: 0xd1d2,
            protocol: 0x11,
        };
        assert_eq!(flow.key().bits(), 0x0011_c1c2_d1d2_a1a2_a3a4_b1b2_b3b4);
        assert_eq!(Flow::of(flow.key()), flow);
    }

    #[test]
    fn a_pattern_and_its_filter_match_the_same() {
        let pattern = Pattern::new(LookupKey::new(0xab), LookupKey::new(0xf0));
        assert_eq!(pattern.value(), LookupKey::new(0xa0));
        let filter = pattern.filter(SliceId(3));
        for bits in 0..=255 {
            let key = LookupKey::new(bits);
            assert_eq!(pattern.matches(key), bits >> 4 == 0xa);
            let table_key = crate::key::TableKey::new(SliceId(3), key);
            assert_eq!(filter.matches(table_key), pattern.matches(key));
        }
    }
}
