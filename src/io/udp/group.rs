//! Packets of a vector that go out as one message.

use super::outer::Outer;
use crate::io::sys::messages::MOST;
use crate::slot::Endpoint;

/// Datagrams that the kernel makes of one message (`UDP_MAX_SEGMENTS`; newer ones make more).
const SEGMENTS: u8 = 64;
/// Octets of the longest message: what fits an IPv4 packet of 65,535.
const LONGEST: u32 = 65_507;

/// Packets with one source, destination and class, all of one size, but for the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// The number of its socket.
    pub(super) socket: usize,
    pub(super) to: Endpoint,
    pub(super) class: u8,
    pub(super) hops: u8,
    /// Octets of its first packet.
    pub(super) segment: u16,
    /// Packets in it.
    pub(super) packets: u8,
    octets: u32,
    /// Whether a shorter packet came last, behind which there can be no other.
    closed: bool,
    /// When it began, among the others: a destination's order.
    began: u8,
}

impl Group {
    const NONE: Self = Self {
        socket: 0,
        to: Endpoint::NONE,
        class: 0,
        hops: 0,
        segment: 0,
        packets: 0,
        octets: 0,
        closed: true,
        began: 0,
    };

    /// A group for one of its packets.
    pub(super) const fn single(&self) -> Self {
        Self { packets: 1, ..*self }
    }

    /// Takes a packet of `octets` octets in; whether it can.
    fn join(&mut self, outer: &Outer, octets: u16) -> bool {
        let fits = !self.closed
            && self.packets < SEGMENTS
            && (self.class, self.hops) == (outer.class, outer.hops)
            && (1..=self.segment).contains(&octets)
            && self.octets + u32::from(octets) <= LONGEST;
        if fits {
            self.packets += 1;
            self.octets += u32::from(octets);
            self.closed = octets < self.segment;
        }
        fits
    }
}

/// The groups of up to [`MOST`] packets.
#[derive(Debug)]
pub(super) struct Groups {
    groups: [Group; MOST],
    count: usize,
}

impl Groups {
    pub(super) const fn new() -> Self {
        Self { groups: [Group::NONE; MOST], count: 0 }
    }

    /// Puts a packet into the last group to its destination, or into a new one, and returns
    /// that group's number. `join` says whether the socket's packets may be joined.
    pub(super) fn add(&mut self, socket: usize, outer: &Outer, octets: u16, join: bool) -> Option<usize> {
        let so_far = self.groups.get_mut(..self.count)?;
        let to = outer.destination;
        let last =
            so_far.iter_mut().enumerate().rev().find(|(_, group)| (group.socket, group.to) == (socket, to));
        if let Some((number, last)) = last
            && last.join(outer, octets)
        {
            return Some(number);
        }
        let number = self.count;
        *self.groups.get_mut(number)? = Group {
            socket,
            to,
            class: outer.class,
            hops: outer.hops,
            segment: octets,
            packets: 1,
            octets: octets.into(),
            closed: !join || octets == 0,
            began: number as u8,
        };
        self.count += 1;
        Some(number)
    }

    /// Sorts the groups by socket and returns, by number, at which packet each begins then.
    pub(super) fn sort(&mut self) -> [u8; MOST] {
        let groups = self.groups.get_mut(..self.count).unwrap_or_default();
        groups.sort_unstable_by_key(|group| (group.socket, group.began));
        let (mut starts, mut at) = ([0; MOST], 0);
        for group in groups {
            if let Some(start) = starts.get_mut(usize::from(group.began)) {
                *start = at;
            }
            at += group.packets;
        }
        starts
    }

    /// The groups, in order.
    pub(super) fn all(&self) -> &[Group] {
        self.groups.get(..self.count).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn outer((to, class): (u32, u8)) -> Outer {
        Outer { source: Endpoint::NONE, destination: Endpoint::v4(to, 1), class, hops: 64 }
    }

    proptest! {
        /// Every packet is in one group of its kind, a destination's packets keep their order,
        /// and only the last of a group is shorter.
        #[test]
        fn groups_are_what_the_kernel_takes_apart_again(
            packets in prop::collection::vec((0usize..2, (0u32..3, 0u8..2), 0u16..4), 0..=MOST), join: bool,
        ) {
            let mut groups = Groups::new();
            let numbers: Vec<_> = packets.iter()
                .map(|(socket, kind, octets)| groups.add(*socket, &outer(*kind), *octets, join).unwrap()).collect();
            let mut next = groups.sort();
            let mut placed = [None; MOST];
            for (packet, number) in packets.iter().zip(numbers) {
                prop_assert_eq!(placed[usize::from(next[number])].replace(*packet), None);
                next[number] += 1;
            }
            let mut sent = placed.into_iter().flatten();
            let mut order = Vec::new();
            for group in groups.all() {
                let own: Vec<_> = sent.by_ref().take(group.packets.into()).collect();
                let (last, others) = own.split_last().unwrap();
                prop_assert!(own.iter().all(|(socket, kind, _)| (*socket, outer(*kind).destination, kind.1)
                    == (group.socket, group.to, group.class)));
                prop_assert!(others.iter().all(|(_, _, octets)| *octets == group.segment));
                prop_assert!(last.2 <= group.segment && (others.is_empty() || last.2 > 0 && join));
                order.extend(own);
            }
            prop_assert_eq!(order.len(), packets.len());
            prop_assert!(groups.all().is_sorted_by_key(|group| group.socket));
            for key in (0..2).flat_map(|socket| (0..3).map(move |to| (socket, to))) {
                let of = |packets: &[(usize, (u32, u8), u16)]| -> Vec<_> {
                    packets.iter().filter(|(socket, kind, _)| (*socket, kind.0) == key).copied().collect()
                };
                prop_assert_eq!(of(&order), of(&packets));
            }
        }
    }

    #[test]
    fn a_vector_of_one_flow_is_one_group() {
        let mut groups = Groups::new();
        for octets in [100; 31].into_iter().chain([7]) {
            assert_eq!(groups.add(0, &outer((1, 0)), octets, true), Some(0));
        }
        assert_eq!(groups.add(0, &outer((1, 0)), 7, true), Some(1), "behind a shorter one");
        let mut groups = Groups::new();
        assert_eq!(
            [40_000, 40_000].map(|octets| groups.add(0, &outer((1, 0)), octets, true)),
            [Some(0), Some(1)]
        );
    }
}
