//! Headers that are being written, and what stands behind them.

use core::ops::{Deref, DerefMut};

use crate::wire::{be16, checksum, put};

/// A header of up to 60 octets: an IPv4 header with its options.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    octets: [u8; 60],
    len: usize,
}

impl Head {
    /// A copy of the first 60 octets of `header`.
    pub(super) fn of(header: &[u8]) -> Self {
        let mut head = Self { octets: [0; 60], len: 0 };
        head.push(header);
        head
    }

    /// Appends octets, as many as there is room for.
    pub(super) fn push(&mut self, octets: &[u8]) {
        let room = self.octets.get_mut(self.len..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(octets) {
            *to = *from;
            self.len += 1;
        }
    }

    /// Appends ends of the option list until it is a number of whole words.
    pub(super) fn pad(&mut self) {
        while !self.len.is_multiple_of(4) {
            self.push(&[0]);
        }
    }

    /// The part that each header has.
    pub(super) fn fixed(&self) -> &[u8; 20] {
        // 60 octets have 20.
        self.octets.first_chunk().unwrap_or(&[0; 20])
    }

    fn fixed_mut(&mut self) -> Option<&mut [u8; 20]> {
        self.octets.first_chunk_mut()
    }

    pub(super) fn traffic_class(&self) -> u8 {
        let [_, class, ..] = *self.fixed();
        class
    }

    /// Flags and offset.
    pub(super) fn fragment(&self) -> u16 {
        be16::<6, 20>(self.fixed())
    }

    pub(super) fn ttl(&self) -> u8 {
        let [_, _, _, _, _, _, _, _, ttl, ..] = *self.fixed();
        ttl
    }

    pub(super) fn set_traffic_class(&mut self, to: u8) {
        let Some([_, class, ..]) = self.fixed_mut() else { return };
        *class = to;
    }

    pub(super) fn set_ttl(&mut self, to: u8) {
        let Some([_, _, _, _, _, _, _, _, ttl, ..]) = self.fixed_mut() else { return };
        *ttl = to;
    }

    pub(super) fn set_fragment(&mut self, to: u16) {
        let Some(fixed) = self.fixed_mut() else { return };
        put::<6, 2, 20>(fixed, to.to_be_bytes());
    }

    pub(super) fn set_destination(&mut self, to: u32) {
        let Some(fixed) = self.fixed_mut() else { return };
        put::<16, 4, 20>(fixed, to.to_be_bytes());
    }

    /// Writes the lengths, for `payload` octets behind it, and the checksum.
    pub(super) fn seal(&mut self, payload: usize) {
        let (words, total) = (self.len / 4, self.len + payload);
        let Some(fixed) = self.fixed_mut() else { return };
        let [version, ..] = fixed;
        *version = 0x40 | (words & 15) as u8;
        // No packet is longer: callers send what came, or cut it.
        put::<2, 2, 20>(fixed, (total.min(0xffff) as u16).to_be_bytes());
        put::<10, 2, 20>(fixed, [0; 2]);
        let sum = checksum::of(self);
        let Some(fixed) = self.fixed_mut() else { return };
        put::<10, 2, 20>(fixed, sum.to_be_bytes());
    }
}

impl Deref for Head {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}

impl DerefMut for Head {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.octets.get_mut(..self.len).unwrap_or_default()
    }
}

/// What stands behind a header, in up to three pieces.
///
/// Invariant: all pieces but the last have an even length, or the others behind are empty, so
/// that the checksum of the whole is the sum of theirs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Payload<'a>(pub(super) [&'a [u8]; 3]);

impl<'a> Payload<'a> {
    pub(super) fn one(octets: &'a [u8]) -> Self {
        Self([octets, &[], &[]])
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|piece| piece.len()).sum()
    }

    /// The octets from `start` to before `end`.
    pub(super) fn part(&self, mut start: usize, mut end: usize) -> Self {
        Self(self.0.map(|piece| {
            let len = piece.len();
            let part = piece.get(start.min(len)..end.min(len)).unwrap_or_default();
            (start, end) = (start.saturating_sub(len), end.saturating_sub(len));
            part
        }))
    }

    /// The one's complement sum of all.
    pub(super) fn sum(&self) -> u16 {
        self.0.iter().fold(0, |sum, piece| checksum::add16(sum, checksum::sum(piece)))
    }
}
