//! Weights, units and sizes, drawn so that all orders of magnitude meet.

use fastpath::queue::QueueConfig;
use proptest::prelude::*;

/// 1 to 65,536, as many below 16 as above 4,096.
pub(crate) fn weight() -> impl Strategy<Value = u32> {
    (0..=16u32, any::<u32>())
        .prop_map(|(bits, low)| ((1 << bits) | low & ((1 << bits) - 1)).min(QueueConfig::MAX_WEIGHT))
}

/// A unit and a longest packet that go together: from a 4,095th of the packet to many packets.
pub(crate) fn quantum() -> impl Strategy<Value = (u32, u32)> {
    let longest = prop_oneof![Just(1500u32), Just(9018u32), 1..4096u32];
    (longest, 0..17u32, any::<u32>()).prop_map(|(longest, bits, low)| {
        let unit = (1 << bits) | low & ((1 << bits) - 1);
        (unit.clamp(longest.div_ceil(4095), 65_000), longest)
    })
}
